"""What users copy from the documentation runs, and the examples of 1.40's own description run as they are printed."""

from __future__ import annotations

import pathlib
import re

import pytest
from mock_servers.doc_examples import find_examples, run_page

PACKAGE = pathlib.Path(__file__).parent.parent
PAGES = {
    "quickstart": 3,
    "writing": 7,
    "reading": 2,
    "failures": 1,
    "asyncio": 1,
    "observing": 1,
}


@pytest.mark.parametrize(("page", "examples"), PAGES.items())
def test_the_examples_of_a_page_run(page, examples, ramen_server, tmp_path):
    names = {"hostname": ramen_server.hostname, "queue_dir": str(tmp_path / "queue")}
    assert run_page(PACKAGE / "docs" / f"{page}.md", names) >= examples
    if page == "quickstart":
        names["reader"].close()


def test_every_page_with_python_is_run():
    for path in (PACKAGE / "docs").glob("*.md"):
        wanted = [e for e in find_examples(path) if e.language == "python" and not e.skipped]
        assert bool(wanted) == (path.stem in PAGES), path


def seed_blocks():
    text = (PACKAGE / "tests" / "seed" / "usage.md").read_text("utf-8")
    return ["\n".join(re.findall(r"^    (.*)$", block, re.M)) for block in text.split("\n\n")]


def test_the_seed_examples_run_as_printed(ramen_server, tmp_path, monkeypatch, running):
    import infi.ramen_client.config as config_module

    real = config_module.QueueReaderConfig

    def beside_the_mock_server(values):
        assert values == {
            "sender": "imx",
            "system_serial": 1099,
            "system_version": "3.0.0.1",
            "hostname": "ramen.infinidat.com",
            "auth_token": "my-auth-token",
        }
        changed = {
            "hostname": ramen_server.hostname,
            "ssl": False,
            "queue_dir": str(tmp_path / "queue"),
        }
        return real({**values, **changed})

    monkeypatch.setattr(config_module, "QueueReaderConfig", beside_the_mock_server)
    ramen_server.tokens["my-auth-token"] = {}
    blocks = [block for block in seed_blocks() if "infi.ramen_client" in block or "reader" in block]
    assert len(blocks) >= 3
    names = {"my_data": {"a": 1}}
    exec("\n".join(blocks[: blocks.index(next(b for b in blocks if "queue_writer" in b))]), names)
    assert ramen_server.store.wait(1, 10)
    first = names["reader"]
    first.stop()
    for block in blocks:
        if "queue_writer" in block:
            exec(block, names)
        elif "QueueReader(config)" in block:
            *setup, run = block.strip().splitlines()
            assert run == "reader.run(blocking=True)"
            exec("\n".join(setup), names)
            running(names["reader"], lambda run=run: exec(run, names))
            assert ramen_server.store.wait(2, 10)
    names["self"] = type("Test", (), {"config": names["config"]})
    text = (PACKAGE / "tests" / "seed" / "usage.md").read_text("utf-8")
    lines = re.search(r"^qr = .*\n^res = .*$", text, re.M)[0]
    exec(lines, names)
    assert names["res"] is True
    for name in ("qr", "reader"):
        names[name].close()
    first.close()
    names["writer"].close()
