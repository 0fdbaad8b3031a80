"""Every call under every fault ends as the table of ``docs/delivery.md`` says, the state on the server included."""

import inspect
import pathlib

import pytest
from mock_servers.faults import Fault
from mock_servers.v3io.server import V3ioServer
from transport_utils.deadline import Timeout
from v3io.aio import dataplane as aio_dataplane
from v3io.dataplane import Client
from v3io.errors import HttpResponseError, IllegalLocation

PAGE = pathlib.Path(__file__).parent.parent / "docs" / "delivery.md"
PATIENT = Timeout(connect=20, read=20, write=20, pool=20)
SILENCE = Timeout(connect=20, read=0.15, write=20, pool=20)


class Quiet:
    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def setup(client):
    """Make what the calls need."""
    client.object.put("users", "o", body="0123456789")
    client.kv.put("users", "t", "k", {"n": 1})
    client.stream.create("users", "st", 2)
    client.stream.put_records("users", "st", [{"data": "x", "shard_id": 0}])
    client.location = client.stream.seek("users", "st", 0, "EARLIEST").output.location


CALLS = {
    "get_containers": lambda c: c.get_containers(),
    "container.list": lambda c: c.container.list("users", ""),
    "object.head": lambda c: c.object.head("users", "o"),
    "object.get": lambda c: c.object.get("users", "o"),
    "object.put": lambda c: c.object.put("users", "new", body="x"),
    "object.put, append": lambda c: c.object.put("users", "o", body="x", append=True),
    "object.delete": lambda c: c.object.delete("users", "o"),
    "kv.get": lambda c: c.kv.get("users", "t", "k"),
    "kv.put": lambda c: c.kv.put("users", "t", "k", {"n": 2}),
    "kv.put, condition": lambda c: c.kv.put("users", "t", "k", {"n": 2}, condition="n == 1"),
    "kv.update, attributes": lambda c: c.kv.update("users", "t", "k", attributes={"m": 2}),
    "kv.update, new item only": lambda c: c.kv.update(
        "users", "t", "new", attributes={"m": 2}, update_mode="CreateNewItemOnly"
    ),
    "kv.update, expression": lambda c: c.kv.update("users", "t", "k", expression="n = n + 1"),
    "kv.scan": lambda c: c.kv.scan("users", "t"),
    "kv.delete": lambda c: c.kv.delete("users", "t", "k"),
    "kv.create_schema": lambda c: c.kv.create_schema("users", "t", key="id", fields=[]),
    "stream.create": lambda c: c.stream.create("users", "new", 1),
    "stream.update": lambda c: c.stream.update("users", "st", 3),
    "stream.describe": lambda c: c.stream.describe("users", "st"),
    "stream.seek": lambda c: c.stream.seek("users", "st", 0, "LATEST"),
    "stream.put_records": lambda c: c.stream.put_records(
        "users", "st", [{"data": "y", "shard_id": 1}]
    ),
    "stream.delete": lambda c: c.stream.delete("users", "st"),
    "stream.get_records": lambda c: c.stream.get_records("users", "st", 0, c.location),
}
FAULTS = {
    "reset before": Fault("reset", times=1),
    "answer lost": Fault("drop", apply=True, times=1),
    "answer cut": Fault("truncate", times=1),
    "silence": Fault("hang", times=1),
    "503 once": Fault("status", status=503, times=1),
    "not JSON": Fault("status", status=200, body="{not json", times=1),
    "redirect": Fault("status", status=307, headers={"Location": "/users/elsewhere"}, times=1),
}


def limits(fault):
    """Return how long the call under a fault may take: no longer than need be, and only where silence is to end."""
    return SILENCE if fault == "silence" else PATIENT


def documented(kind):
    """Return {(call, fault): outcome} of one of the two tables."""
    text = PAGE.read_text().split(f"<!-- table: {kind} -->")[1].split("<!-- end -->")[0]
    rows = [
        [cell.strip() for cell in line.strip("|").split("|")]
        for line in text.splitlines()
        if line.startswith("|")
    ]
    faults = rows[0][1:]
    return {
        (row[0].strip("`"), fault): outcome
        for row in rows[2:]
        for fault, outcome in zip(faults, row[1:], strict=True)
    }


def digest(server):
    """Return what the server holds, times apart."""
    return server.store.sql.execute(
        "SELECT container, folder, name, kind, attributes, size, shard_count, next_sequence FROM nodes"
        " ORDER BY container, folder, name"
    ).fetchall()


class Outcome:
    """Runs one call under one fault and names how it ended."""

    def __init__(self, server, name, fault):
        self.server = server
        self.before = digest(server)
        self.call = CALLS[name]
        server.faults.add(FAULTS[fault])

    def name(self, response, error, after):
        now = digest(self.server)
        assert now in (self.before, after), "the server holds neither the state before nor after"
        done = "" if self.before == after else (", done" if now == after else ", not done")
        if error is not None:
            return type(error).__name__ + done
        try:
            assert response.status_code < 300
            _ = response.output
        except HttpResponseError:
            return "bad output" + done
        return "ok" if done != ", not done" else "ok, not done"


@pytest.fixture(scope="module")
def after_states():
    """What the server holds after each call when nothing goes wrong."""
    states = {}
    for name, call in CALLS.items():
        with (
            V3ioServer() as server,
            Client(logger=Quiet(), endpoint=server.url, access_key="k") as client,
        ):
            setup(client)
            assert call(client).status_code < 300
            states[name] = digest(server)
    return states


CASES = [(name, fault) for name in CALLS for fault in FAULTS]


@pytest.mark.parametrize(("name", "fault"), CASES, ids=["-".join(case) for case in CASES])
def test_blocking_call_ends_as_documented(v3io_server, after_states, name, fault):
    with Client(
        logger=Quiet(), endpoint=v3io_server.url, access_key="k", timeout=PATIENT
    ) as patient:
        setup(patient)
        client = patient.with_options(timeout=limits(fault))
        client.location = patient.location
        outcome = Outcome(v3io_server, name, fault)
        response = error = None
        try:
            response = outcome.call(client)
        except Exception as caught:
            error = caught
        assert (
            outcome.name(response, error, after_states[name]) == documented("blocking")[name, fault]
        )
        v3io_server.faults.clear()
        assert patient.get_containers().status_code == 200


@pytest.mark.parametrize(("name", "fault"), CASES, ids=["-".join(case) for case in CASES])
async def test_asyncio_call_ends_as_documented(v3io_server, after_states, name, fault):
    with Client(logger=Quiet(), endpoint=v3io_server.url, access_key="k") as blocking:
        setup(blocking)
    async with aio_dataplane.Client(
        logger=Quiet(), endpoint=v3io_server.url, access_key="k", timeout=PATIENT
    ) as patient:
        await patient.get_containers()
        client = patient.with_options(timeout=limits(fault))
        client.location = blocking.location
        outcome = Outcome(v3io_server, name, fault)
        response = error = None
        try:
            response = await outcome.call(client)
        except Exception as caught:
            error = caught
        assert (
            outcome.name(response, error, after_states[name]) == documented("asyncio")[name, fault]
        )
        v3io_server.faults.clear()
        assert (await patient.get_containers()).status_code == 200


def test_both_tables_cover_every_call_and_fault():
    for kind in ("blocking", "asyncio"):
        assert set(documented(kind)) == set(CASES)


def test_every_call_of_the_models_is_in_the_table(v3io_server):
    with Client(logger=Quiet(), endpoint=v3io_server.url, access_key="k") as client:
        for group in ("kv", "object", "stream", "container"):
            model = type(getattr(client, group))
            for name, _ in inspect.getmembers(model, inspect.isfunction):
                if not name.startswith("_") and name not in COMPOSITE:
                    assert any(call.startswith(f"{group}.{name}") for call in CALLS), name


COMPOSITE = {"new_cursor", "delete_stream", "read_parts", "download", "upload"}
"""Calls made of several of those in the table."""


async def test_a_location_older_than_the_retention_is_told_by_its_name():
    now = [10**18]
    with V3ioServer(clock=lambda: now[0]) as server:
        with Client(logger=Quiet(), endpoint=server.url, access_key="k") as client:
            client.stream.create("users", "st", 1, retention_period_hours=1)
            client.stream.put_records("users", "st", [{"data": "old"}])
            location = client.stream.seek("users", "st", 0, "EARLIEST").output.location
            now[0] += 2 * 3600 * 10**9
            client.stream.put_records("users", "st", [{"data": "new"}])
            with pytest.raises(IllegalLocation):
                client.stream.get_records("users", "st", 0, location)
        async with aio_dataplane.Client(
            logger=Quiet(), endpoint=server.url, access_key="k"
        ) as client:
            with pytest.raises(IllegalLocation):
                await client.stream.get_records("users", "st", 0, location)
            fresh = await client.stream.seek("users", "st", 0, "EARLIEST")
            records = await client.stream.get_records("users", "st", 0, fresh.output.location)
            assert [record.data for record in records.output.records] == [b"new"]


def test_a_redirect_is_not_followed_and_its_target_is_told(v3io_server):
    v3io_server.faults.add(FAULTS["redirect"])
    with (
        Client(logger=Quiet(), endpoint=v3io_server.url, access_key="k") as client,
        pytest.raises(HttpResponseError, match="/users/elsewhere"),
    ):
        client.object.get("users", "o")
    assert [exchange.path for exchange in v3io_server.traffic.requests] == ["/users/o"]
