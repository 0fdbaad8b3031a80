"""Ways to run a service beside the usual one: by files, by start functions, and services that cannot run."""

import asyncio
import json
import logging
import subprocess
import sys

import httpx
import pytest
from click.testing import CliRunner
from ya_httpx_client import Cluster, Session
from ya_httpx_client.cli import main
from ya_httpx_client.status_socket import read_all

IMAGE_HASH = "ab" * 28
SERVE = f"{sys.executable} /golem/run/server.py"


@pytest.fixture
def by_files(monkeypatch):
    monkeypatch.setattr(Cluster, "USE_VPN", False)


@pytest.fixture
def unix_image(image):
    """The image's server on the unix socket of file mode; bodies may be binary."""
    server = image / "golem/run/server.py"
    text = server.read_text()
    server.write_text(
        text.replace("import urllib.parse\n", "import socket\nimport urllib.parse\n").replace(
            '    host, port = sys.argv[1].rsplit(":", 1)\n    Server((host, int(port)), Handler).serve_forever()\n',
            "    class Unix(Server):\n"
            "        address_family = socket.AF_UNIX\n"
            "        def server_bind(self):\n"
            "            self.socket.bind(self.server_address)\n"
            "    Handler.address_string = lambda self: 'client'\n"
            "    Handler.disable_nagle_algorithm = False\n"
            '    Unix(sys.argv[1].removeprefix("unix://"), Handler).serve_forever()\n',
        )
    )
    return image


async def test_requests_by_files(by_files, unix_image, golem, running, nothing_left):
    session = Session({"budget": 1, "subnet_tag": "public"}, liveness_s=0.5)

    @session.startup("http://calc", IMAGE_HASH)
    def start(ctx, listen_on):
        assert listen_on == "unix:///tmp/golem.sock"
        ctx.run("/bin/sh", "-c", f"exec {SERVE} {listen_on} >/dev/null 2>&1 &")

    async with session.client() as client:
        answer = await client.post("http://calc/echo?a=1", content=b"\xff\x00")
        head, _, body = answer.content.partition(b"\n")
        assert json.loads(head)["path"] == "/echo?a=1"
        assert body == b"\xff\x00"
        cookies = await client.get("http://calc/cookies")
        assert cookies.headers.get_list("set-cookie") == ["a=1", "b=2"]
        late = client.get("http://calc/slow?s=3", timeout=httpx.Timeout(20, read=0.5))
        with pytest.raises(httpx.ReadTimeout):
            await late
        assert (await client.get("http://calc/echo", timeout=20)).status_code == 200
        (provider,) = [found.provider for found in session.stats()["http://calc"].providers]
        pending = asyncio.create_task(client.get("http://calc/slow?s=2", timeout=40))
        await asyncio.sleep(0.5)
        await asyncio.to_thread(golem.kill, provider)
        assert (await pending).status_code == 200
    await session.close()
    nothing_left(golem)


@pytest.mark.parametrize("kind", ["function", "coroutine", "generator"])
async def test_start_functions_of_every_kind(golem, kind):
    session = Session({"budget": 1, "subnet_tag": "public"})
    command = f"exec {SERVE} 0.0.0.0:80 >/dev/null 2>&1 &"

    def function(ctx, listen_on):
        assert ctx.provider_name.startswith("provider-")
        ctx.deploy()
        ctx.start()
        ctx.send_bytes("/golem/work/settings", b"x")
        ctx.send_json("/golem/work/values", {"a": 1})
        ctx.commit()
        ctx.run("/bin/sh", "-c", 'test "$(cat /golem/work/settings)$WHO" = xme', env={"WHO": "me"})
        ctx.run("/bin/sh", "-c", command)

    async def coroutine(ctx, listen_on):
        await asyncio.sleep(0)
        function(ctx, listen_on)

    async def generator(ctx, listen_on):
        script = ctx.new_script()
        result = script.run("/bin/sh", "-c", "echo from the provider")
        yield script
        assert (await result).stdout == "from the provider\n"
        function(ctx, listen_on)

    session.add_startup(locals()[kind], "http://calc", image_hash=IMAGE_HASH, init_cluster_size=1)
    async with session.client() as client:
        assert (await client.get("http://calc/echo")).status_code == 200
    await session.close()


async def test_several_urls_clients_and_sessions_in_turn(golem, running, nothing_left):
    session = Session({"budget": 1, "subnet_tag": "public"})
    entrypoint = ("/bin/sh", "-c", f"{SERVE} 0.0.0.0:80 >/dev/null 2>&1 &")
    session.add_url("http://one", IMAGE_HASH, entrypoint)
    with pytest.raises(KeyError, match="Service for url http://one already exists"):
        session.startup("http://one", IMAGE_HASH)
    with pytest.raises(KeyError):
        session.set_cluster_size("http://none", 1)
    async with session.client() as first:
        one = (await first.get("http://one/pid")).text
        session.add_url("http://two", IMAGE_HASH, entrypoint, slots=2)
        async with session.client(headers={"X-Mine": "1"}) as second:
            two = (await second.get("http://two/pid")).text
            assert (await second.get("http://one/pid")).text == one
            assert two != one
    await session.close()
    nothing_left(golem)


@pytest.mark.parametrize(
    ("settings", "environment", "kind", "text"),
    [
        ({"image": "00" * 28}, {}, httpx.ConnectError, "is not in the registry"),
        ({"budget": 5000}, {}, httpx.ConnectError, "Insufficient funds"),
        ({}, {"YAGNA_APPKEY": None}, httpx.ConnectError, "YAGNA_APPKEY"),
        ({}, {"YAGNA_APPKEY": "wrong"}, httpx.ConnectError, "401|refused|cannot be served"),
        ({}, {"PATH": "/nowhere"}, httpx.ConnectError, "no gftp executable"),
        ({"subnet": "elsewhere"}, {}, httpx.PoolTimeout, "no offer matched"),
        ({"agreements": "reject"}, {}, httpx.PoolTimeout, "refused or not answered"),
        ({"fail": "start"}, {}, httpx.PoolTimeout, "did not start"),
        ({"price_per_hour": 10_000.0}, {}, httpx.PoolTimeout, "rejected"),
    ],
)
async def test_caller_learns_why_nothing_comes(
    golem, monkeypatch, settings, environment, kind, text
):
    for name, value in environment.items():
        if value is None:
            monkeypatch.delenv(name)
        else:
            monkeypatch.setenv(name, value)
    knobs = {name: settings[name] for name in ("agreements", "fail") if name in settings}
    for number in (1, 2, 3):
        golem.change(f"provider-{number}", **knobs)
        if "price_per_hour" in settings:
            golem.kill(f"provider-{number}")
            golem.change(f"provider-{number}", price_per_hour=settings["price_per_hour"])
            golem.revive(f"provider-{number}")
    budget, subnet = settings.get("budget", 1), settings.get("subnet", "public")
    session = Session({"budget": budget, "subnet_tag": subnet}, liveness_s=0.3)
    session.add_url("http://calc", settings.get("image", IMAGE_HASH), ("/bin/true",))
    try:
        async with session.client(timeout=httpx.Timeout(6)) as client:
            with pytest.raises(kind, match=text):
                await client.get("http://calc/")
    finally:
        await session.close()


async def test_status_of_a_running_session(golem, running, monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with running(1) as run:
        await run.client.get("http://calc/echo")
        await run.ready(1)
        (found,) = await asyncio.to_thread(read_all)
        assert found["urls"]["http://calc"]["served"] == 1
        shown = await asyncio.to_thread(CliRunner().invoke, main, ["status", "--once"])
        assert shown.exit_code == 0
        assert "http://calc" in shown.output
        assert "ready" in shown.output
        lines = await asyncio.to_thread(CliRunner().invoke, main, ["status", "--json"])
        assert json.loads(lines.output)["urls"]["http://calc"]["wanted"] == 1
    gone = CliRunner().invoke(main, ["status", "--once"])
    assert gone.exit_code == 1
    assert "no session" in gone.output


def test_command_explains_itself():
    done = subprocess.run(
        [sys.executable, "-m", "ya_httpx_client.cli", "--help"], capture_output=True, text=True
    )
    assert CliRunner().invoke(main, ["status", "--help"]).output.startswith("Usage:")
    assert done.returncode == 0


async def test_failing_event_callback_hurts_nobody(golem, caplog):
    caplog.set_level(logging.ERROR)

    def fail(event):
        raise RuntimeError("my fault")

    session = Session({"budget": 1, "subnet_tag": "public"}, on_event=fail)
    session.add_url(
        "http://calc", IMAGE_HASH, ("/bin/sh", "-c", f"{SERVE} 0.0.0.0:80 >/dev/null 2>&1 &")
    )
    async with session, session.client() as client:
        assert (await client.get("http://calc/echo")).status_code == 200
    assert "my fault" in caplog.text


async def test_instances_are_replaced_before_their_agreements_end(golem, running):
    async with running(1) as run:
        await run.client.get("http://calc/echo")
        (before,) = run.cluster.instances
        for provider in golem.app.daemon.providers:
            provider.config.start_delay_s = 2.0
        run.cluster._renew_at = 0.0
        await run.until(lambda: run.providers("starting") == 1)
        assert (await run.client.get("http://calc/echo", timeout=1)).status_code == 200
        assert before.served == 2  # it serves until the other is ready
        await run.until(lambda: before not in run.cluster.instances and run.providers("ready") == 1)
        assert (await run.client.get("http://calc/echo")).status_code == 200
        assert run.cluster.failed == 0
