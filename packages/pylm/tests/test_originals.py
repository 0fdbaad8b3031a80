"""The original 0.14.4 and this release in one topology, both ways.

The original runs in an environment of its own under the user's cache directory, made on first use.
"""

import contextlib
import subprocess

import pytest
from mock_servers import originals

pytestmark = [pytest.mark.originals, pytest.mark.timeout(240)]


@pytest.fixture(scope="module")
def original():
    """Return the interpreter of an environment that holds the original."""
    try:
        return str(originals.interpreter(originals.PYLM))
    except RuntimeError as error:
        pytest.skip(f"the original cannot be installed: {str(error)[-300:]}")


def answers(lines):
    return [line for line in lines if line.startswith("b")]


SERVERS = {
    "single": [("server", "server.py")],
    "pipeline": [("server", "server.py"), ("pipeline", "pipeline.py")],
    "tee": [("server", "server.py"), ("pipeline", "pipeline.py"), ("echo", "echo.py")],
    "stream": [("server", "server.py"), ("pipeline", "pipeline.py"), ("echo", "echo.py")],
    "sink": [("server", "server.py"), ("pipeline", "pipeline.py"), ("sink", "sink.py")],
    "stream_sink": [("server", "server.py"), ("even", "even.py"), ("odd", "odd.py"), ("sink", "sink.py")],
    "parallel": [("master", "master.py"), ("worker", "worker.py", "worker1")],
    "template": [("master", "master.py"), ("worker", "worker.py", "worker1")],
    "cache": [("master", "master.py"), ("worker", "worker.py", "worker1")],
    "scatter": [("master", "master.py"), ("worker", "worker.py", "worker1")],
    "gather": [("master", "master.py"), ("worker", "worker.py", "worker1")],
    "mux_parallel": [("master", "master.py"), ("worker", "worker.py", "worker1")],
    "master_pipeline": [
        ("master", "master.py"), ("worker", "worker.py", "worker1"), ("pipeline", "pipeline.py"),
    ],
    "server_hub": [("server", "server.py"), ("hub", "hub.py"), ("worker", "worker.py", "worker1")],
    "http": [("master", "master.py"), ("web", "web_worker.py")],
}  # fmt: skip

EXPECTED = {
    "single": ["Client got: b'you sent me a message'"],
    "pipeline": ["Client got: b'and I pipelined you sent me a message'"],
    "tee": ["Client got: b'and I pipelined you sent me a message'"],
    "stream": ["b'and I pipelined you sent me a message'"] * 5,
    "sink": ["b'and gathered and I pipelined you sent me a message'"] * 10,
    "stream_sink": ["b'and gathered and I pipelined you sent me a message'"] * 10,
    "parallel": ["b'worker1 processed a message'"] * 10,
    "template": ["b'worker1 processed a message'"] * 10,
    "cache": ["b' cached data '", *["b'worker1 cached data a message'"] * 10],
    "scatter": ["b'worker1 processed a message'"] * 30,
    "gather": [*["b'worker1 processed a message'"] * 29, "b'final message'"],
    "mux_parallel": ["b'worker1 first a message'", "b'worker1 second a message'"] * 10,
    "master_pipeline": ["b'and I pipelined worker1 processed a message'"] * 10,
    "server_hub": ["Client got: b'worker1 processed you sent me a message'"],
    "http": ["b'a message processed online'"] * 10,
}

CASES = [
    # who is the original; the rest is this release
    *[(name, ("client",)) for name in SERVERS],
    *[
        (name, tuple(role[0] for role in roles))
        for name, roles in SERVERS.items()
    ],
    *[
        (name, ("worker",))
        for name in ("parallel", "cache", "scatter", "mux_parallel", "server_hub", "master_pipeline")
    ],
    *[(name, ("master", "client")) for name in ("parallel", "cache", "gather", "mux_parallel")],
    ("pipeline", ("server",)),
    ("pipeline", ("pipeline",)),
    ("sink", ("sink",)),
    ("sink", ("server", "sink")),
    ("stream_sink", ("even",)),
    ("server_hub", ("hub",)),
    ("server_hub", ("server", "worker")),
]  # fmt: skip


def wait_for_stages(one, name, roles, who):
    """Original publishers drop what is sent before a stage has subscribed: knock until every branch answers."""
    if len(roles) > 1 and {"server", "master", "pipeline", "even", "hub"} & set(who):
        one.knock(2 if name == "stream" else 4)  # half of that stream ends on the way


def output(example, original, name, who, limit_s):
    """Return what the example's client prints, with these of its programs run by the original."""
    roles = SERVERS[name]
    one = example(name)
    try:
        for label, file, *args in roles:
            one.start(label, file, *args, **({"python": original} if label in who else {}))
        wait_for_stages(one, name, roles, who)
        one.start("client", "client.py", **({"python": original} if "client" in who else {}))
        return one.finish(limit_s=limit_s)
    finally:
        one.stop()


@pytest.mark.parametrize(("name", "who"), CASES, ids=str)
def test_original_and_successor_work_together(example, original, name, who):
    # An original publisher and an original client lose answers between them (fault E-1), whoever else there is.
    for _ in range(4 if {"master", "client"} <= set(who) else 0):
        with contextlib.suppress(subprocess.TimeoutExpired):
            lines = output(example, original, name, who, 12)
            break
    else:
        lines = output(example, original, name, who, 30)
    got = lines[-1:] if EXPECTED[name][0].startswith("Client") else answers(lines)
    assert sorted(got) == sorted(EXPECTED[name])


def test_an_original_client_loses_no_evaluation_against_our_server(example, original):
    one = example("single")
    one.start("server", "server.py")
    program = one.folder / "client.py"
    text = program.read_text("utf-8").replace(
        'result = client.eval("my_server.foo", b"a message")\n',
        'for _ in range(60):\n    result = client.eval("my_server.foo", b"a message")\n',
    )
    program.write_text(text, "utf-8")
    one.start("client", "client.py", python=original)
    assert one.finish()[-1] == "Client got: b'you sent me a message'"


def test_our_client_loses_no_evaluation_against_an_original_server(example, original):
    one = example("single")
    one.start("server", "server.py", python=original)
    program = one.folder / "client.py"
    text = program.read_text("utf-8").replace(
        'result = client.eval("my_server.foo", b"a message")\n',
        'for _ in range(200):\n    result = client.eval("my_server.foo", b"a message")\n',
    )
    program.write_text(text, "utf-8")
    one.start("client", "client.py")
    assert one.finish()[-1] == "Client got: b'you sent me a message'"


@pytest.mark.parametrize("who", [("client",), ("server",)])
def test_an_exception_is_the_originals_payload_when_one_side_is_original(example, original, who):
    one = example("error")
    for label in ("server", "client"):
        one.start(label, f"{label}.py", **({"python": original} if label in who else {}))
    assert one.finish()[-1] == "Client got: b'0'"
