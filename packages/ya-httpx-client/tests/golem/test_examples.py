"""The published examples run as printed, on a local Golem."""

import asyncio
import contextlib
import os
import pathlib
import re
import signal
import socket
import subprocess
import sys
import time

import httpx
import pytest
from mock_servers.yagna.config import ProviderConfig
from ya_httpx_client.session import Session

HERE = pathlib.Path(__file__).parent
SEED = (HERE.parent / "seed/README.md").read_text()
EXAMPLES = HERE.parent.parent / "docs/examples"


def seed_blocks():
    return re.findall(r"```python\n(.*?)```", SEED, flags=re.DOTALL)


@pytest.fixture
def seed_golem(make_seed_golem):
    return make_seed_golem("devnet-beta.2")


async def test_quickstart_of_the_seed_runs_as_printed(seed_golem, nothing_left):
    (quickstart,) = [block for block in seed_blocks() if "@session.startup" in block]
    names = {"Session": Session}
    exec(compile(quickstart, "seed/README.md", "exec"), names)
    await names["run"]()
    nothing_left(seed_golem)


async def test_sizes_of_the_seed_run_as_printed(seed_golem):
    quickstart, *sizes = (block for block in seed_blocks() if "cluster" in block)
    names = {"Session": Session}
    exec(compile(quickstart, "seed/README.md", "exec"), names)
    assert len(sizes) == 2
    for block in sizes:
        exec(compile(block, "seed/README.md", "exec"), names)
        cluster = names["session"].clusters["http://some_name"]
        assert int(cluster.expected_cnt) in (0, 1)
    async with names["session"].client() as client:
        # the last balancer wants nobody while nothing waits: this request starts a provider
        assert (
            await client.post("http://some_name/do/something", json={"foo": "bar"})
        ).status_code == 200
    await names["session"].close()


def example_environment(golem, **more):
    return {**os.environ, **golem.variables, "PYTHONWARNINGS": "ignore", **more}


@pytest.fixture
def calculator(make_yagna):
    return make_yagna(3, images={"ca1c" * 14: EXAMPLES / "calculator/image"})


def test_calculator_does_its_additions(calculator, nothing_left):
    done = subprocess.run(
        [sys.executable, str(EXAMPLES / "calculator/run_calculator.py")],
        env=example_environment(calculator),
        capture_output=True,
        text=True,
        timeout=50,
    )
    assert done.returncode == 0, done.stderr
    lines = sorted(line for line in done.stdout.splitlines() if line.startswith("CALCULATED"))
    assert lines == sorted(f"CALCULATED: {x} + 1 = {x + 1}" for x in range(50))
    nothing_left(calculator)


def test_calculator_ends_cleanly_on_ctrl_c(calculator, nothing_left):
    calculator.change("provider-1", latency_s=0.3)
    calculator.change("provider-2", latency_s=0.3)
    calculator.change("provider-3", latency_s=0.3)
    with subprocess.Popen(
        [sys.executable, str(EXAMPLES / "calculator/run_calculator.py")],
        env=example_environment(calculator),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    ) as process:
        process.stdout.readline()
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=30)
    assert process.returncode == 0
    nothing_left(calculator)


@contextlib.contextmanager
def proxy(golem, *command, **environment):
    """Run a proxy on a free port, yield its address, end it with Ctrl-C."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    words = [word.format(port=port) for word in command]
    with subprocess.Popen(
        [sys.executable, *words],
        env=example_environment(golem, PORT=str(port), **environment),
        cwd=EXAMPLES / "requestor_proxy",
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port)):
                break
            assert process.poll() is None, process.stderr.read()
            assert time.monotonic() < deadline
            time.sleep(0.05)
        try:
            yield f"http://localhost:{port}"
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=30)


@pytest.mark.parametrize(
    "command",
    [
        ("requestor_proxy.py", "devnet-beta"),
        ("-m", "uvicorn", "asgi_proxy:app", "--port", "{port}", "--log-level", "warning"),
    ],
    ids=["quart", "asgi"],
)
def test_proxy_forwards_any_request(make_yagna, command, nothing_left):
    golem = make_yagna(0, images={"ec60" * 14: EXAMPLES / "requestor_proxy/image"})
    golem.add_provider(ProviderConfig("provider", subnet="devnet-beta"))
    with (
        proxy(golem, *command, YAGNA_SUBNET="devnet-beta") as url,
        httpx.Client(timeout=40) as client,
    ):
        assert client.get(f"{url}/add/3/4").text == "7"
        hello = client.get(f"{url}/")
        assert hello.text == "Hi, this is an echo server"
        assert hello.headers["foo"] == "bar"
        assert client.get(f"{url}/missing").status_code == 404
        assert client.post(f"{url}/").status_code == 405
        assert client.get(f"{url}/bug").status_code == 500
        head = client.head(f"{url}/")
        assert (head.status_code, head.content) == (200, b"")
        for method, settings in (
            ("GET", {"params": {"a": ["1", "2"], "b": " "}}),
            ("POST", {"data": {"k": "v"}}),
            ("POST", {"json": {"k": [1, 2]}}),
            ("POST", {"files": {"f": ("name.txt", b"text")}}),
            ("PUT", {"content": "grün".encode()}),
            ("PATCH", {"content": b"x", "headers": {"X-Custom": "1"}}),
            ("DELETE", {"headers": {"Cookie": "c=1"}}),
            ("OPTIONS", {"auth": ("user", "secret")}),
        ):
            answer = client.request(method, f"{url}/echo/some/path", **settings)
            received = answer.json()["req"]
            assert received["method"] == method
            sent = httpx.Request(
                method,
                f"{url}/echo/some/path",
                **{k: v for k, v in settings.items() if k != "auth"},
            )
            assert received["url"].partition("?")[2] == str(sent.url).partition("?")[2]
            if "files" not in settings:
                assert received["data"] == sent.read().decode()
            fields = {name.lower(): value for name, value in received["headers"].items()}
            for name in ("x-custom", "cookie"):
                assert fields.get(name) == sent.headers.get(name)
    nothing_left(golem)


async def test_asgi_proxy_streams_both_ways(golem, image):
    from ya_httpx_client.asgi_proxy import Proxy

    session = Session({"budget": 1, "subnet_tag": "public"}, slots=4)
    command = (
        "/bin/sh",
        "-c",
        f"{sys.executable} /golem/run/server.py 0.0.0.0:80 >/dev/null 2>&1 &",
    )
    session.add_url("http://calc", "ab" * 28, command)
    app = Proxy(session, "http://calc")
    sent, events = [], asyncio.Queue()

    async def send(message):
        sent.append(message)

    events.put_nowait({"type": "lifespan.startup"})
    life = asyncio.create_task(app({"type": "lifespan"}, events.get, send))
    scope = {"type": "http", "method": "POST", "raw_path": b"/echo", "query_string": b"q=1"}
    headers = [(b"host", b"local"), (b"transfer-encoding", b"chunked")]
    body = asyncio.Queue()
    while not sent:
        await asyncio.sleep(0.01)
    for number in range(3):
        body.put_nowait({"type": "http.request", "body": b"%d" % number, "more_body": number < 2})
    await app({**scope, "headers": headers}, body.get, send)
    assert sent[1]["status"] == 200
    assert b"".join(message.get("body", b"") for message in sent[2:]).endswith(b"\n012")
    del sent[1:]
    body.put_nowait({"type": "http.request", "body": b""})
    get = {**scope, "method": "GET", "raw_path": b"/stream", "query_string": b"n=3", "headers": []}
    await app(get, body.get, send)
    assert (
        b"".join(message.get("body", b"") for message in sent[2:]) == b"piece 0\npiece 1\npiece 2\n"
    )
    with pytest.raises(RuntimeError, match="cannot forward websocket"):
        await app({"type": "websocket"}, body.get, send)
    events.put_nowait({"type": "lifespan.shutdown"})
    await life
    assert sent[-1] == {"type": "lifespan.shutdown.complete"}
