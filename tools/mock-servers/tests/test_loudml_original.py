"""The original client takes the server for the original server."""

import json
import pathlib
import subprocess

import pytest
from mock_servers.originals import LOUDML, interpreter

JOB = pathlib.Path(__file__).with_name("original_loudml_job.py")


@pytest.mark.originals
@pytest.mark.timeout(300)
def test_loudml_python_1_6_3_does_its_whole_job(loudml_cluster):
    run = subprocess.run(
        [interpreter(LOUDML), "-W", "ignore", JOB, *loudml_cluster.hosts],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    assert json.loads(run.stdout) == {
        "version": "1.6.0",
        "ping": True,
        "nodes": 3,
        "bucket": True,
        "created": "success",
        "training": ["training(m)", "done", 3, 3],
        "state": True,
        "versions": [{"name": "00", "active": True}],
        "evaluation": ["observed", "predicted", "stats", "timestamps"],
        "forecast": ["avg_v", "lower_avg_v", "upper_avg_v"],
        "started": "",
        "scheduled": ["_eval(m)"],
        "stopped": "",
        "read": ["avg_v"],
        "templates": [["n"]],
        "generated": ["m"],
        "errors": [
            ["NotFoundError", 404, "Model (nope) not found"],
            ["RequestError", 400, "data is invalid: model has no type"],
            ["NotFoundError", 404, "Model (nope) not found"],
            ["ConflictError", 409, "job is already stopped (state = done)"],
        ],
        "deleted": ["", "", ""],
    }
