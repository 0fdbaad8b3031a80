"""The commands ``loudml`` and ``loudml-wave``: what they send, show and exit with."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import time

import pytest
import yaml
from cpu_model import BUCKET, SETTINGS
from loudml import Loud, NativeHttpConnection
from loudml.cli.app import COMMANDS, app
from loudml.cli.status import run
from loudml.cli.wave import wave
from mock_servers.faults import Fault

SCHEDULE = {
    "name": "every minute",
    "method": "get",
    "relative_url": "/",
    "every": {"count": 1, "unit": "minute"},
}
POINTS = [{"timestamp": 1_700_000_000 + 60 * n, "load": 10 + n % 7} for n in range(300)]
RANGE = ["-f", "1700000000", "-t", "1700018000"]


@pytest.fixture
def loudml(loudml_server, capsys, monkeypatch):
    """Return a function that runs a command line and gives exit status, output and error output."""
    monkeypatch.setenv("LOUDML_ADDR", loudml_server.nodes[0].host)
    monkeypatch.setattr("loudml.cli.session._POLL_S", 0.02)

    def loudml(*arguments, command=app):
        capsys.readouterr()
        status = run(command, [str(one) for one in arguments])
        output = capsys.readouterr()
        return status, output.out, output.err

    return loudml


@pytest.fixture
def file(tmp_path):
    """Return a function that writes data to a file and gives its path."""

    def write(data, suffix=".json"):
        path = tmp_path / f"file{len(list(tmp_path.iterdir()))}{suffix}"
        path.write_text(json.dumps(data) if suffix == ".json" else yaml.safe_dump(data))
        return path

    return write


@pytest.fixture
def trained(loudml, file):
    loudml("create-bucket", file(BUCKET))
    loudml("write-bucket", "metrics", "-d", file(POINTS), "-b", 100)
    loudml("create-model", file(SETTINGS))
    assert loudml("train-model", "cpu", *RANGE, "-m", 2)[0] == 0
    return loudml


def test_buckets(loudml, file):
    assert loudml("list-buckets") == (0, "", "")
    assert loudml("create-bucket", file(BUCKET, ".yaml")) == (0, "", "")
    assert loudml("create-bucket", "-f", file(BUCKET)) == (0, "", "")
    assert loudml("list-buckets") == (0, "metrics\n", "")
    assert yaml.safe_load(loudml("list-buckets", "--all")[1]) == [BUCKET]
    assert yaml.safe_load(loudml("show-bucket", "metrics")[1]) == BUCKET
    assert loudml("write-bucket", "metrics", "-d", file(POINTS[:3]))[0] == 0
    arguments = ("-f", "1699999980", "-t", "1700000160", "-i", "1m", "-F", "avg(load)")
    status, table, _ = loudml("read-bucket", "metrics", *arguments)
    assert (status, table.splitlines()) == (
        0,
        [
            "timestamp     @avg_load     ",
            "1699999980.0  10.           ",
            "1700000040.0  11.           ",
            "1700000100.0  12.           ",
        ],
    )
    status, job_id, _ = loudml("read-bucket", "metrics", *arguments, "--bg")
    assert (status, len(job_id.strip())) == (0, 36)
    assert loudml("clear-bucket", "metrics") == (0, "", "")
    assert loudml("delete-bucket", "metrics") == (0, "", "")


def test_points_from_standard_input(loudml, file, monkeypatch):
    loudml("create-bucket", file(BUCKET))
    monkeypatch.setattr(sys, "stdin", io.StringIO(json.dumps(POINTS)))
    assert loudml("write-bucket", "metrics")[0] == 0
    monkeypatch.setattr(sys, "stdin", io.StringIO("{}"))
    assert loudml("write-bucket", "metrics")[::2] == (
        1,
        "Error: expected a list of points, got dict\n",
    )


def test_models_from_training_to_forecast(trained):
    assert trained("list-models") == (0, "cpu\n", "")
    shown = yaml.safe_load(trained("show-model", "cpu")[1])
    assert "state" not in shown
    assert yaml.safe_load(trained("show-model", "-a", "cpu")[1])["state"]["trained"] is True
    assert yaml.safe_load(trained("list-models", "-a")[1])[0]["settings"]["name"] == "cpu"
    header, first = trained("list-model-versions", "cpu")[1].splitlines()
    assert (header.split(), first.split()[:2]) == (
        ["version", "active", "loss", "trained"],
        ["00", "*"],
    )
    assert len(yaml.safe_load(trained("list-model-versions", "-a", "cpu")[1])) == 1
    assert trained("load-model-version", "cpu", "00") == (0, "", "")
    status, table, _ = trained("eval-model", "cpu", *RANGE, "-a")
    assert status == 0
    assert table.splitlines()[0].split() == ["timestamp", "@avg_load", "loudml.avg_load"]
    assert "[" in table.splitlines()[1]
    status, table, _ = trained("forecast-model", "cpu", "-f", "1700018000", "-t", "1700018300")
    assert len(table.splitlines()) == 7
    assert trained("-q", "forecast-model", "cpu", "-f", "1700018000", "-t", "1700018300")[1] == ""
    status, job_id, _ = trained("forecast-model", "cpu", *RANGE, "--bg", "-c", "avg_load:low:3")
    assert (status, len(job_id.strip())) == (0, 36)
    assert trained("start-model", "cpu") == (0, "", "")
    assert trained("list-scheduled-jobs") == (0, "_eval(cpu)\n", "")
    assert trained("stop-model", "cpu") == (0, "", "")
    assert "training(cpu)" in trained("list-jobs")[1]
    assert trained("train-model", "*", *RANGE, "-m", 1, "--bg")[0] == 0
    assert trained("delete-model", "cpu") == (0, "", "")


def test_output_bucket_is_sent_only_with_save(trained, loudml_server):
    for save in ([], ["-s"]):
        trained("eval-model", "cpu", *RANGE, "-o", "metrics", *save)
    first, second = loudml_server.traffic.seen("POST", "/models/cpu/_eval")
    assert "output_bucket" not in first.target
    assert "output_bucket=metrics&save_output_data=true" in second.target


def test_templates_and_scheduled_jobs(loudml, file):
    template = file({**SETTINGS, "name": "{{name}}"})
    assert loudml("create-model-template", "t", template) == (0, "", "")
    assert loudml("create-model-template", "t", template, "--force") == (0, "", "")
    assert loudml("list-model-templates") == (0, "t\n", "")
    assert len(yaml.safe_load(loudml("list-model-templates", "-a")[1])) == 1
    variables = file({"name": "made"})
    assert loudml("create-model", "-t", "t", variables) == (0, "", "")
    assert loudml("create-model", "-t", "t", variables, "-f") == (0, "", "")
    assert loudml("delete-model-template", "t") == (0, "", "")
    assert loudml("create-scheduled-job", file(SCHEDULE)) == (0, "", "")
    assert loudml("create-scheduled-job", file(SCHEDULE), "-f") == (0, "", "")
    assert loudml("list-scheduled-jobs") == (0, "every minute\n", "")
    assert len(yaml.safe_load(loudml("list-scheduled-jobs", "-a")[1])) == 1
    assert loudml("delete-scheduled-job", "every minute") == (0, "", "")


def test_failures_exit_with_1(loudml, file, tmp_path):
    assert loudml("show-model", "nope") == (1, "", "Error: Model (nope) not found (status 404)\n")
    assert loudml("cancel-job", "nope")[0] == 1
    assert loudml("plot-model", "m")[0] == 1
    assert loudml("create-model", tmp_path / "missing.json")[0] == 1
    bad = tmp_path / "bad.yaml"
    bad.write_text("a: [")
    assert "bad.yaml" in loudml("create-model", bad)[2]
    loudml("create-bucket", file(BUCKET))
    loudml("create-model", file(SETTINGS))
    status, _, error = loudml("train-model", "cpu", *RANGE)
    assert status == 1
    assert "training(cpu) failed: no data found" in error


def test_empty_answers_are_not_found(loudml, loudml_server):
    loudml_server.faults.add(Fault("status", status=200, body="[]"))
    for command in ("show-model", "show-bucket"):
        assert loudml(command, "x")[::2] == (1, "Error: Not found: x\n")


def test_misuse_and_unreachable_servers_exit_with_2(loudml):
    status, _, error = loudml("list-modles")
    assert status == 2
    assert "Did you mean 'list-models'?" in error
    assert loudml("train-model", "m")[0] == 2
    assert "'-f' / '--from'" in loudml("eval-model", "m", "-t", "now")[2]
    assert loudml("list-models", "--nope")[0] == 2
    assert loudml("-e", "version", "version")[0] == 2
    assert loudml("forecast-model", "m", *RANGE, "-c", "f:mid:3")[0] == 2
    status, _, error = loudml("-A", "127.0.0.1:1", "version")
    assert status == 2
    assert "Please check your connection settings" in error
    assert loudml("-A", "ftp://x", "version")[0] == 2


def test_version_and_help(loudml):
    assert loudml("--version") == (0, "1.6.0\n", "")
    assert loudml("version") == (0, "1.6.0\n", "")
    status, listing, _ = loudml("help")
    assert [line.split(" : ")[0].strip() for line in listing.splitlines()] == list(COMMANDS)
    status, text, _ = loudml("--help")
    for piece in ("train-model", "Examples:", "130", "LOUDML_ADDR"):
        assert piece in text
    for command in COMMANDS:
        status, text, _ = loudml(command, "--help")
        assert status == 0
        assert "Usage:" in text
    assert loudml("quit") == (0, "", "")


def test_one_command_quoted_as_a_whole(loudml):
    assert loudml("--execute", "list-models -a") == (0, "[]\n", "")
    assert loudml("-e", "show-model 'a b'")[0] == 1
    assert loudml("-e", "frobnicate")[0] == 2


def test_shell(loudml, loudml_server, monkeypatch):
    text = "version\n\nshow-model nope\nfrob\n'unclosed\nquit\nversion\n"
    monkeypatch.setattr(sys, "stdin", io.StringIO(text))
    status, output, error = loudml()
    assert status == 0
    assert output == (
        f"Connected to {loudml_server.nodes[0].host} version 1.6.0\nLoud ML shell 1.7.0\n"
        "> 1.6.0\n> > > > > "
    )
    assert error.splitlines()[0] == "Error: Model (nope) not found (status 404)"
    assert "No such command 'frob'" in error
    assert "Error: No closing quotation" in error


def test_shell_ends_with_its_input_and_survives_ctrl_c(loudml, monkeypatch):
    lines = iter([KeyboardInterrupt(), "version", EOFError()])

    def read(prompt):
        line = next(lines)
        if isinstance(line, str):
            return line
        raise line

    monkeypatch.setattr("builtins.input", read)
    status, output, _ = loudml()
    assert status == 0
    assert output.endswith("1.6.0\n")


def test_shell_says_when_nobody_answers(loudml):
    status, _, error = loudml("-A", "127.0.0.1:1")
    assert status == 2
    assert "loudmld" in error


def looked_at_job(server):
    """Return whether a training has been started and asked about."""
    started = server.traffic.seen("POST", "/models/cpu/_train")
    return bool(started) and server.traffic.total > started[0].number


def test_ctrl_c_cancels_the_job(make_loudml_server, file):
    server = make_loudml_server(evaluation_s=0.5)
    with Loud(server.hosts, connection_class=NativeHttpConnection) as loud:
        loud.buckets.create(BUCKET)
        loud.write_points("metrics", POINTS, interval=0.01)
        loud.models.create(SETTINGS)
        command = [sys.executable, "-m", "loudml", "-A", server.hosts[0]]
        process = subprocess.Popen(
            [*command, "train-model", "cpu", *RANGE, "-m", "50"],
            stderr=subprocess.PIPE,
            text=True,
        )
        while process.poll() is None and not looked_at_job(server):
            time.sleep(0.02)
        process.send_signal(signal.SIGINT)
        _, error = process.communicate(timeout=20)
        assert process.returncode == 130
        assert "Signal received. Canceled job:" in error
        (job,) = [one for one in loud.jobs.get() if one["type"] == "training"]
        assert job["state"] in ("canceling", "canceled")


def test_tables_and_progress_on_a_terminal(trained, loudml_server):
    main, terminal = pty.openpty()
    command = [sys.executable, "-m", "loudml", "-A", loudml_server.hosts[0]]
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "120"}
    process = subprocess.Popen(
        [*command, "eval-model", "cpu", *RANGE, "-a"],
        stdout=terminal,
        stderr=terminal,
        env=environment,
    )
    os.close(terminal)
    shown = b""
    while True:
        try:
            piece = os.read(main, 65536)
        except OSError:
            break
        if not piece:
            break
        shown += piece
    os.close(main)
    assert process.wait(20) == 0
    text = shown.decode()
    assert "@avg_load" in text
    assert "prediction(cpu)" in text
    assert "points are abnormal" in text


def test_wave_writes_the_shape(loudml, file):
    loudml("create-bucket", file(BUCKET))
    options = ["--shape", "flat", "--sigma", "0", "--base", "2", "--tags", "a:b", "--field", "load"]
    dates = ["-f", "2020-01-01T00:00:00", "-t", "2020-01-01T00:10:00"]
    status, output, error = loudml("metrics", *dates, "-v", "--clear", *options, command=wave)
    assert status == 0
    assert output.startswith("Connected to 127.0.0.1:")
    assert "a=b" in output
    assert error == "20 points written\n"
    assert loudml("metrics", "--tags", "nonsense", command=wave)[0] == 1
    assert loudml("metrics", "-A", "127.0.0.1:1", command=wave)[0] == 2
    assert loudml("metrics", "--shape", "round", command=wave)[0] == 2


def test_wave_explains_itself(loudml):
    status, text, _ = loudml("--help", command=wave)
    assert status == 0
    assert "--shape [flat|saw|sin|triangle|camel|loudml]" in text


def test_load_nab_from_a_folder(loudml, file, tmp_path):
    loudml("create-bucket", file(BUCKET))
    folder = tmp_path / "nab"
    folder.mkdir()
    (folder / "a.csv").write_text("timestamp,value\n2014-04-01 00:00:00,1\n2014-04-01 00:05:00,2\n")
    assert loudml("load-nab", "metrics", "--directory", folder) == (0, "2 points written\n", "")
    assert loudml("load-nab", "metrics", "--directory", tmp_path / "nothing")[0] == 1


def test_module_can_be_run(loudml_server):
    result = subprocess.run(
        [sys.executable, "-m", "loudml", "-A", loudml_server.hosts[0], "version"],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (result.returncode, result.stdout) == (0, "1.6.0\n")


@pytest.mark.parametrize("entry", ["loudml.cli:main", "loudml.wave:main"])
def test_entry_points_exit_with_the_status(entry, monkeypatch):
    import importlib

    module, _, name = entry.partition(":")
    main = getattr(importlib.import_module(module), name)
    monkeypatch.setattr(sys, "argv", [name, "--help"])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 0
