"""The cluster file and everything the command line does with it."""

import contextlib
import importlib.util
import io
import json
import os
import pathlib
import random
import signal
import socket
import subprocess
import sys
import time
import xml.etree.ElementTree

import pytest
from click.testing import CliRunner
from pylm.__main__ import main
from pylm.cluster import deploy
from pylm.cluster.check import check
from pylm.cluster.config import load
from pylm.cluster.role import make_client
from pylm.cluster.watch import Reading, Watch, as_line, draw, table
from pylm.config import ConfigurationError
from rich.console import Console

GOLDEN = pathlib.Path(__file__).parent / "golden"

MODULE = """
from pylm.servers import Master, Pipeline, Server, Worker


class First(Server):
    def foo(self, message):
        return b"1" + message


class Second(Pipeline):
    def foo(self, message):
        return b"2" + message


class Hand(Worker):
    def foo(self, message):
        return b"w" + message


def talk(client):
    print("answer", client.eval(["first.foo", "second.foo"], b"x"), flush=True)
"""

TOML = """
[cluster]
name = "text"
base_port = {port}

[[server]]
name = "first"
kind = "server"
class = "{module}:First"

[[server]]
name = "second"
kind = "pipeline"
class = "{module}:Second"
after = ["first"]

[[server]]
name = "crew"
kind = "master"

[[worker]]
of = "crew"
class = "{module}:Hand"
replicas = 2

[[client]]
name = "talk"
class = "{module}:talk"
server = "first"
last = "second"
"""


def free_block(count):
    while True:
        with contextlib.ExitStack() as stack:
            base = random.randint(20000, 32000)  # below the ports the system hands out by itself
            with contextlib.suppress(OSError):
                for offset in range(count):
                    stack.enter_context(socket.socket()).bind(("127.0.0.1", base + offset))
                return base


@pytest.fixture
def file(tmp_path):
    module = f"roles_{os.getpid()}_{tmp_path.name.replace('-', '_')}"
    (tmp_path / f"{module}.py").write_text(MODULE, "utf-8")
    path = tmp_path / "text.toml"
    path.write_text(TOML.format(port=free_block(15), module=module), "utf-8")
    return path


def changed(file, old, new):
    text = file.read_text("utf-8")
    assert old in text
    file.write_text(text.replace(old, new, 1), "utf-8")
    return file


@pytest.fixture
def command():
    def run(*arguments):
        return CliRunner().invoke(main, [str(each) for each in arguments])

    return run


def test_toml_yaml_and_ini_describe_the_same_cluster(file, tmp_path):
    import yaml

    cluster = load(file)
    tables = {
        "cluster": {"name": "text", "base_port": cluster.base_port},
        "server": [
            {
                key: value
                for key, value in (
                    ("name", each.name),
                    ("kind", each.kind),
                    ("after", list(each.after)),
                    ("class", each.target),
                )
                if value
            }
            for each in cluster.servers
        ],
        "worker": [{"of": "crew", "class": cluster.workers[0].target, "replicas": 2}],
    }
    other = tmp_path / "text.yaml"
    other.write_text(yaml.safe_dump(tables), "utf-8")
    assert load(other).servers == cluster.servers
    assert load(other).workers == cluster.workers
    ini = tmp_path / "text.ini"
    target = cluster.workers[0].target.partition(":")[0]
    ini.write_text(
        f"[first]\nScript = {target}:First\nRole = server\n[second]\nScript = {target}:Second\nRole = pipeline\n"
        f"Connected = first\n[crew]\nRole = master\n[hands]\nScript = {target}:Hand\nRole = worker\n"
        "Connected = crew\nReplicas = 2\n",
        "utf-8",
    )
    assert load(ini).servers == cluster.servers
    assert load(ini).instances() == cluster.instances()


@pytest.mark.parametrize(
    ("old", "new", "text"),
    [
        ('after = ["first"]', 'after = ["nobody"]', "names no server"),
        ('after = ["first"]', "", "is after 1 servers, not 0"),
        ('kind = "pipeline"', 'kind = "tube"', "is none of"),
        ('name = "second"', 'name = "first"', "two entries"),
        ('name = "second"', 'name = "a.b"', "is no name"),
        ('of = "crew"', 'of = "first"', "no master or hub"),
        ('server = "first"', 'server = "zero"', "no server is called"),
        ('name = "text"', 'name = "text"\nhost = "0.0.0.0"', "reachable from outside"),
        ('name = "text"', 'name = "text"\ncurve = "keys"', "pylm keys new"),
        (":Second", ":Missing", "cannot be imported"),
        (":Second", ":First", "is not a subclass of pylm.servers.Pipeline"),
        (":talk", ":nobody", "cannot be imported"),
    ],
)
def test_check_names_what_is_wrong(file, command, old, new, text):
    result = command("check", changed(file, old, new))
    assert result.exit_code == 1
    assert text in result.output


def test_check_finds_cycles(file):
    text = file.read_text("utf-8").replace(
        'kind = "server"', 'kind = "pipeline"\nafter = ["second"]'
    )
    file.write_text(text, "utf-8")
    assert any("after itself" in problem for problem in check(load(file), imports=False))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[cluster", "is not TOML"),
        ("[other]", "unknown table"),
        ("[cluster]\nnme = 'x'", "unknown key 'nme'"),
        ("[cluster]\nbase_port = 'x'", "is not of type int"),
        ("[[server]]\nname = 'x'", "kind is missing"),
        ("server = 1", "is a list of tables"),
        ("server = [1]", "is a table"),
        ("[[worker]]\nof = 'x'\nclass = 'm:C'\nreplicas = 0", "below 1"),
    ],
)
def test_a_file_that_cannot_be_understood_is_an_error(tmp_path, text, message):
    path = tmp_path / "c.toml"
    path.write_text(text, "utf-8")
    with pytest.raises(ConfigurationError, match=message):
        load(path)


def test_a_missing_file_and_wrong_yaml_are_errors(tmp_path):
    with pytest.raises(ConfigurationError, match="cannot be read"):
        load(tmp_path / "none.toml")
    (tmp_path / "c.yaml").write_text("{", "utf-8")
    with pytest.raises(ConfigurationError, match="is not YAML"):
        load(tmp_path / "c.yaml")
    (tmp_path / "c.ini").write_text("x", "utf-8")
    with pytest.raises(ConfigurationError, match="is not an INI"):
        load(tmp_path / "c.ini")


def test_check_says_when_all_is_well(file, command):
    result = command("check", file)
    assert result.exit_code == 0, result.output
    assert "3 servers, 5 processes: sound" in result.output


def test_run_starts_supervises_and_stops_a_cluster(file):
    process = subprocess.Popen(
        [sys.executable, "-u", "-m", "pylm", "run", str(file)],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONWARNINGS": ""},
    )
    lines = []
    try:
        for line in process.stdout:
            lines.append(line)
            if "| answer" in line:
                break
        assert "| answer b'21x'" in lines[-1]
        cluster = load(file)
        with make_client(cluster, "crew", timeout=20) as client:
            assert client.eval("crew.foo", b"x") == b"wx"
        watch = Watch(cluster, timeout_s=5.0)
        readings = {each.name: each for each in watch.read()}
        assert {each.state for each in readings.values()} == {"up"}
        victim = readings["first"].figures["pid"]
        os.kill(victim, signal.SIGKILL)
        deadline = time.monotonic() + 20
        while True:
            again = {each.name: each for each in watch.read()}["first"]
            if again.state == "up" and again.figures["pid"] != victim:
                break
            assert time.monotonic() < deadline
            time.sleep(0.2)
        shown = CliRunner().invoke(main, ["top", "--once", str(file)])
        assert "crew" in shown.output
        picture = file.parent / "live.svg"
        drawn = CliRunner().invoke(main, ["graph", "--live", "-o", str(picture), str(file)])
        assert drawn.exit_code == 0, drawn.output
        assert "received" in picture.read_text("utf-8")
    finally:
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=30)
    assert process.returncode == 0
    assert any("ended with status -9" in line for line in [*lines, *rest.splitlines()])


def test_run_ends_with_its_clients_when_asked_to(file):
    done = subprocess.run(
        [sys.executable, "-m", "pylm", "run", "--until-clients-end", str(file)],
        capture_output=True, text=True, timeout=50, check=False, env={**os.environ, "PYTHONWARNINGS": ""},
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    assert "| answer b'21x'" in done.stdout


def test_the_picture_is_svg_with_every_server(file, command):
    result = command("graph", file)
    root = xml.etree.ElementTree.fromstring(result.output)
    text = "".join(root.itertext())
    for name in ("first", "second", "crew", "2 workers"):
        assert name in text


def test_the_picture_shows_states_and_rates(file):
    cluster = load(file)
    readings = [
        Reading("first", "server", "up", {"received": 7}, 12.0),
        Reading("second", "pipeline", "opaque", {}, 3.0),
        Reading("crew", "master", "down", {}, None),
    ]
    picture = draw(cluster, readings)
    assert "up, 12/s, 7 received" in picture
    assert ">3/s<" in picture
    assert "down" in picture


def test_the_table_shows_names_of_workers_as_they_are(file):
    figures = {"workers": [{"name": "[/w]", "busy": 1, "seen_s": 0.5}]}
    shown = io.StringIO()
    Console(file=shown, width=200).print(
        table(load(file), [Reading("crew", "master", "up", figures, None)])
    )
    assert "[/w] 1 0.5s" in shown.getvalue()


def test_servers_that_do_not_answer_are_down(file, command):
    result = command("top", "--once", file)
    assert result.output.count("down") == 3


def test_readings_are_lines_of_json_for_programs(file, command):
    found = json.loads(command("top", "--once", "--json", file).output)
    assert [server["name"] for server in found["servers"]] == ["first", "second", "crew"]
    line = as_line(load(file), [Reading("crew", "master", "up", {"received": 7}, 2.0)])
    [shown] = json.loads(line)["servers"]
    assert shown == {"name": "crew", "kind": "master", "state": "up", "rate": 2.0, "received": 7}


def test_keys_are_made_shown_and_not_overwritten(tmp_path, command):
    folder = tmp_path / "keys"
    assert command("keys", "new", folder).exit_code == 0
    shown = command("keys", "show", folder).output
    assert "server.key" in shown
    assert "allowed/client.key" in shown
    secret = (folder / "server.key_secret").read_text("utf-8")
    assert shown.split()[1] not in ("", None)
    assert "secret-key" in secret
    again = command("keys", "new", folder)
    assert again.exit_code == 1
    assert "exists" in again.output


def plain(tmp_path):
    path = tmp_path / "text.toml"
    path.write_text(TOML.format(port=5555, module="roles"), "utf-8")
    return path


@pytest.mark.parametrize("target", ["compose", "k8s"])
def test_rendered_deployments_equal_their_golden_files(tmp_path, command, target):
    result = command("deploy", target, "--image", "registry.example/text:1", plain(tmp_path))
    assert result.exit_code == 0, result.output
    json.loads(result.output)
    assert result.output == (GOLDEN / f"{target}.json").read_text("utf-8")


def test_rendered_units_equal_their_golden_file(tmp_path, command):
    result = command("deploy", "systemd", "-o", tmp_path / "units", plain(tmp_path))
    assert result.exit_code == 0, result.output
    units = deploy.systemd(load(plain(tmp_path)))
    written = {path.name: path.read_text("utf-8") for path in (tmp_path / "units").iterdir()}
    assert written == units
    golden = (GOLDEN / "first.service").read_text("utf-8")
    assert units["pylm-text-first.service"] == golden


def test_an_unsound_file_is_not_rendered(tmp_path, command):
    path = changed(plain(tmp_path), 'of = "crew"', 'of = "nobody"')
    result = command("deploy", "compose", path)
    assert result.exit_code == 1
    assert "no master or hub" in result.output


def test_every_command_explains_itself(command):
    for arguments in (
        [],
        ["keys"],
        ["deploy"],
        ["run"],
        ["top"],
        ["graph"],
        ["check"],
        ["role"],
        ["client"],
    ):
        result = command(*arguments, "--help")
        assert result.exit_code == 0
        assert "Usage" in result.output


def test_roles_bound_to_a_wildcard_advertise_their_host(file):
    from pylm.cluster.role import make_role

    cluster = load(file)
    server = make_role(cluster, "first", bind="0.0.0.0", hosts=lambda name: f"{name}.example")
    try:
        assert (
            server.cache.get("pull_address")
            == f"tcp://first.example:{cluster.port('first', 'pull')}".encode()
        )
    finally:
        server.close()


@pytest.mark.skipif(
    importlib.util.find_spec("distributed") is None, reason="the extra dask is not installed"
)
@pytest.mark.filterwarnings("ignore")
@pytest.mark.timeout(120)
def test_a_cluster_on_dask_survives_the_death_of_a_dask_worker(file):
    from distributed import Client, LocalCluster
    from pylm.cluster.dask import DaskCluster

    cluster = load(file)
    with (
        LocalCluster(
            n_workers=3, threads_per_worker=4, processes=True, dashboard_address=None
        ) as engine,
        Client(engine) as client,
        DaskCluster(cluster, client).running() as running,
        running.connect("crew", timeout=60) as talk,
    ):
        assert talk.eval("crew.foo", b"x") == b"wx"
        where = client.who_has()
        processing = client.processing()
        homes = {task: worker for worker, tasks in processing.items() for task in map(str, tasks)}
        victim = homes["pylm-text-crew-worker-1"]
        assert where is not None
        nanny = next(each for each in engine.workers.values() if each.worker_address == victim)
        os.kill(nanny.pid, signal.SIGKILL)
        answers = list(
            talk.job("crew.foo", [b"x"] * 2000, messages=2000, idempotent=True, timeout=60)
        )
        assert answers == [b"wx"] * 2000
