"""Fixtures shared by the suite of infi.ramen_client."""

from __future__ import annotations

import json
import pathlib

import pytest
from infi.ramen_client.diskqueue import DiskQueue, QueueFiles

HERE = pathlib.Path(__file__).parent


@pytest.fixture(autouse=True)
def _nothing_leaks(no_leaks):
    return no_leaks


@pytest.fixture
def vectors():
    return json.loads((HERE / "seed" / "wire-vectors.json").read_text("utf-8"))


@pytest.fixture
def writer_values(tmp_path):
    return {
        "sender": "imx",
        "system_serial": 1099,
        "system_version": "3.0.0.1",
        "queue_dir": str(tmp_path / "queue"),
    }


@pytest.fixture
def files(tmp_path):
    return QueueFiles(tmp_path / "queue", "imx", 1099)


@pytest.fixture
def make_queue(files):
    made = []

    def make(**options):
        made.append(DiskQueue(files, **options))
        return made[-1]

    yield make
    for queue in made:
        queue.close()


@pytest.fixture
def queue(make_queue):
    return make_queue()
