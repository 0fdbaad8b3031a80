"""loudml from built wheels, over transport-utils from built wheels, against three nodes of which one dies."""

import json
import pathlib
import subprocess

import pytest

USER = pathlib.Path(__file__).with_name("loudml_user.py")


@pytest.mark.timeout(180)
@pytest.mark.parametrize("connection", ["native", "urllib3"])
def test_installed_loudml_works_through_the_loss_of_a_node(connection, installed, loudml_cluster):
    python = installed("transport-utils", "loudml-python")
    first, second, _ = loudml_cluster.nodes
    with subprocess.Popen(
        [python, "-W", "error", USER, first.host, connection],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as user:
        assert user.stdout.readline() == "ready\n", user.stderr.read()
        second.kill()
        output, errors = user.communicate("killed\n", timeout=60)
    assert user.returncode == 0, errors
    seen = json.loads(output)
    assert seen.pop("peak") == pytest.approx(70, abs=1)
    assert seen == {"nodes": 3, "writes": ["done"] * 4, "reads": 60, "nodes_after": 2}


@pytest.mark.timeout(180)
def test_installed_command_line_lists_models(installed, loudml_server):
    python = installed("transport-utils", "loudml-python")
    loudml_server.cluster.models.create(
        {
            "name": "shown",
            "type": "donut",
            "bucket_interval": "15m",
            "interval": 60,
            "offset": 10,
            "span": 2,
            "features": [{"name": "v", "metric": "avg", "field": "v"}],
        }
    )
    address = loudml_server.hosts[0]
    run = subprocess.run(
        [python.with_name("loudml"), "-A", address, "-e", "list-models"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stdout) == (0, "shown\n"), run.stderr
