"""The smaller pieces: start context, addresses, market record, status socket, command line."""

import asyncio
import dataclasses
import io
import json
import sys

import pytest
from click.testing import CliRunner
from rich.console import Console
from ya_httpx_client import requirement, status_socket
from ya_httpx_client.cli import main, table
from ya_httpx_client.market import MarketRecord
from ya_httpx_client.network_wrapper import NetworkWrapper
from ya_httpx_client.start_context import StartContext
from ya_httpx_client.stats import Latency, ProviderStats, UrlStats


class Script:
    """Records what a yapapi script is told."""

    def __init__(self, **settings):
        self.settings = settings
        self.timeout = None
        self.commands = []

    def __getattr__(self, name):
        return lambda *args: self.commands.append((name, *args))


class Work:
    id, provider_id, provider_name = "activity", "0x1", "provider"

    def new_script(self, **settings):
        return Script(**settings)


def test_commands_are_recorded_in_one_script():
    context = StartContext(Work())
    context.run("/bin/a", "b", env={"K": "V"})
    context.run("/bin/c")
    context.send_bytes("/dst", b"data")
    context.send_json("/dst", {})
    context.send_file("src", "dst")
    context.upload_bytes(b"data", "/dst")
    context.upload_json({}, "/dst")
    context.upload_file("src", "dst")
    context.download_file("src", "dst")
    context.download_bytes("src", print)
    context.download_json("src", print, 5)
    context.terminate()
    context.deploy()
    context.start()
    (script,) = context.scripts()
    assert script.commands == [
        ("run", "/usr/bin/env", "K=V", "/bin/a", "b"),
        ("run", "/bin/c"),
        ("upload_bytes", b"data", "/dst"),
        ("upload_json", {}, "/dst"),
        ("upload_file", "src", "dst"),
        ("upload_bytes", b"data", "/dst"),
        ("upload_json", {}, "/dst"),
        ("upload_file", "src", "dst"),
        ("download_file", "src", "dst"),
        ("download_bytes", "src", print, 1048576),
        ("download_json", "src", print, 5),
        ("terminate",),
    ]
    assert (context.id, context.provider_id, context.provider_name) == (
        "activity",
        "0x1",
        "provider",
    )


def test_commit_begins_another_script():
    context = StartContext(Work())
    assert context.commit() is None
    context.run("/bin/a")
    context.commit(timeout=5)
    context.run("/bin/b")
    first, second = context.scripts()
    assert (first.timeout, len(first.commands), len(second.commands)) == (5, 1, 1)
    assert context.new_script(timeout=1).settings == {"timeout": 1, "wait_for_results": True}


def test_addresses_are_used_again_and_run_out():
    wrapper = NetworkWrapper(None)
    given = [wrapper.take_address() for _ in range(253)]
    assert given[0] == "192.168.0.2"
    assert len(set(given)) == 253
    with pytest.raises(RuntimeError, match="253 instances"):
        wrapper.take_address()
    wrapper.return_address("192.168.0.7")
    assert wrapper.take_address() == "192.168.0.7"


async def test_network_is_made_once_and_removed():
    class Network:
        network_id = "n"
        removed = 0

        async def remove(self):
            Network.removed += 1

    class Manager:
        made = 0

        async def create_network(self, ip):
            assert ip == "192.168.0.1/24"
            Manager.made += 1
            await asyncio.sleep(0)
            return Network()

    wrapper = NetworkWrapper(Manager())
    assert wrapper.network_id is None
    first, second = await asyncio.gather(wrapper.network(), wrapper.network())
    assert first is second
    assert (Manager.made, wrapper.network_id) == (1, "n")
    await wrapper.remove_network()
    await wrapper.remove_network()
    assert Network.removed == 1
    await wrapper.network()
    wrapper.forget()
    assert wrapper.network_id is None


def event(kind, **values):
    return type(kind, (), values)()


def failed(kind, text):
    return event(kind, exc_info=(ValueError, ValueError(text), None))


@pytest.mark.parametrize(
    ("events", "explained"),
    [
        ([], "no offer matched"),
        (
            [event("ProposalReceived"), event("ProposalRejected", reason="Score too low")],
            "Score too low",
        ),
        ([event("ProposalReceived"), event("ProposalRejected", reason=None)], "no reason given"),
        ([event("ProposalReceived"), event("AgreementRejected")], "1 agreements were refused"),
        ([failed("ActivityCreateFailed", "timeout")], "ActivityCreateFailed: timeout"),
        ([event("SubscriptionFailed", reason="down")], "SubscriptionFailed: down"),
        ([failed("PaymentFailed", "no money")], "a payment failed: no money"),
    ],
)
def test_market_record_explains(events, explained):
    record = MarketRecord()
    for found in events:
        record.note(found)
    assert explained in record.explain()


def test_market_record_is_quiet_when_all_is_well():
    record = MarketRecord()
    for found in (event("ProposalReceived"), event("AgreementConfirmed"), event("JobStarted")):
        assert record.note(found) is None
    record.note(event("AgreementRejected"))
    record.settle()
    assert record.explain() is None


def test_quantiles():
    latency = Latency()
    assert latency.quantile(0.5) is None
    for value in range(100):
        latency.add(value)
    assert (latency.quantile(0.5), latency.quantile(0.99), latency.quantile(1.0)) == (50, 99, 99)


STATS = {
    "http://calc": UrlStats(
        "http://calc",
        2,
        (
            ProviderStats("one", "ready", 1, 5, 0, 1, 0.36),
            ProviderStats(None, "pending", 0, 0, 0, 0, None),
        ),
        3,
        1,
        5,
        1,
        2,
        0.1,
        0.01,
        None,
        0.36,
        "no offers",
    )
}


async def test_status_goes_from_one_process_to_another(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    (tmp_path / "ya-httpx").mkdir()
    stale = status_socket.StatusSocket(dict)
    stale.open()
    stale._path.rename(tmp_path / "ya-httpx/0.sock")
    stale.close()
    (tmp_path / "ya-httpx/junk.sock").write_text("")
    served = status_socket.StatusSocket(lambda: STATS)
    served.open()
    (found,) = await asyncio.to_thread(status_socket.read_all)
    assert found["urls"]["http://calc"]["queued"] == 3
    assert not (tmp_path / "ya-httpx/0.sock").exists()
    monkeypatch.setenv("COLUMNS", "160")
    shown = await asyncio.to_thread(CliRunner().invoke, main, ["status", "--once"])
    for text in ("http://calc", "1 of 2 ready", "10.0 ms", "no offers", "one", "pending"):
        assert text in shown.output
    lines = await asyncio.to_thread(CliRunner().invoke, main, ["status", "--json"])
    assert json.loads(lines.output)["urls"]["http://calc"]["wanted"] == 2
    served.close()
    served.close()
    empty = CliRunner().invoke(main, ["status", "--once"])
    assert empty.exit_code == 1
    assert "no session of this user is running" in empty.output


def test_status_is_followed_until_ctrl_c(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))

    def interrupt(seconds):
        raise KeyboardInterrupt

    monkeypatch.setattr("ya_httpx_client.cli.time.sleep", interrupt)
    assert CliRunner().invoke(main, ["status"]).exit_code == 0


async def test_session_runs_without_a_place_for_its_socket(monkeypatch, tmp_path, caplog):
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path / "file"))
    caplog.set_level("INFO")
    socket = status_socket.StatusSocket(dict)
    socket.open()
    socket.close()
    assert "no status socket" in caplog.text
    monkeypatch.delenv("XDG_RUNTIME_DIR")
    assert status_socket.status_folder().name.startswith("ya-httpx-")


def test_table_needs_no_session():
    assert table({"pid": 1, "urls": {}}).title == "session of process 1"


def test_table_shows_what_others_wrote_as_it_is():
    stats = dataclasses.asdict(STATS["http://calc"]) | {"trouble": "[/b] no offers"}
    stats["providers"][0]["provider"] = "[/one]"
    shown = io.StringIO()
    Console(file=shown, width=200).print(table({"pid": 1, "urls": {"http://[::1]": stats}}))
    assert all(text in shown.getvalue() for text in ("[/b] no offers", "[/one]", "http://[::1]"))


@pytest.mark.parametrize(
    ("missing", "text"),
    [("yapapi", r"ya-httpx-client\[requestor\]"), ("pkg_resources", "setuptools<82")],
)
def test_missing_requirement_is_named(monkeypatch, missing, text):
    class Finder:
        def find_spec(self, name, path=None, target=None):
            if name == "yapapi":
                raise ModuleNotFoundError(f"No module named {missing!r}", name=missing)

    monkeypatch.delitem(sys.modules, "yapapi", raising=False)
    monkeypatch.setattr(sys, "meta_path", [Finder(), *sys.meta_path])
    with pytest.raises(ImportError, match=text):
        requirement.require_yapapi()
