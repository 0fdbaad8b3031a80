"""The original SDK and what is built on it: unmodified on the server, and the same on our SDK."""

import base64
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest
import v3io
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from mock_servers import environments
from mock_servers.originals import STOREY, V3IO, interpreter
from mock_servers.v3io.server import V3ioServer

HERE = pathlib.Path(__file__).parent
PACKAGES = HERE.parent / "packages"
OURS = os.pathsep.join(str(PACKAGES / name / "src") for name in ("v3io", "transport-utils"))

pytestmark = [pytest.mark.originals, pytest.mark.timeout(300)]


def run(script, url, *, ours):
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    if ours:
        environment["PYTHONPATH"] = OURS
    done = subprocess.run(
        [interpreter(STOREY), "-W", "ignore", HERE / script, url],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env=environment,
    )
    assert done.returncode == 0, done.stderr
    seen = json.loads(done.stdout)
    assert (seen.pop("sdk") == "0.7.2") is not ours
    return seen


@pytest.mark.parametrize("script", ["v3io_filesystem_user.py", "v3io_flow_user.py"])
def test_downstream_library_sees_the_same_on_both_sdks(script):
    with V3ioServer() as server:
        original = run(script, server.url, ours=False)
    with V3ioServer() as server:
        ours = run(script, server.url, ours=True)
    assert ours == original
    assert original


def flow_on(python):
    """Return the version of the SDK on which a storey flow ran in an environment, as it was installed there."""
    environment = {name: text for name, text in os.environ.items() if name != "PYTHONPATH"}
    with V3ioServer() as server:
        done = subprocess.run(
            [python, "-W", "ignore", HERE / "v3io_flow_user.py", server.url],
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
            env=environment,
        )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["sdk"]


def test_our_wheel_replaces_the_one_that_storey_asks_for(wheel, tmp_path):
    """The way for pip in ``compatibility.md``: storey first, then ours without its dependencies."""
    python = environments.create(tmp_path / "environment")
    environments.install(python, STOREY.requirement, *STOREY.dependencies)
    environments.install(
        python, str(wheel("v3io")), str(wheel("transport-utils")), dependencies=False
    )
    assert flow_on(python) == v3io.__version__


@pytest.mark.skipif(shutil.which("uv") is None, reason="the other way is uv's")
def test_override_of_uv_installs_ours_beside_storey(wheel, tmp_path):
    python = environments.create(tmp_path / "environment")
    folders = [f"--find-links={wheel(name).parent}" for name in ("v3io", "transport-utils")]
    others = [name for name in STOREY.dependencies if not name.startswith("v3io==")]
    wanted = [*folders, STOREY.requirement, *others, "v3io>=0.8,<0.9"]
    with pytest.raises(RuntimeError, match=r"depends on v3io.*<0\.8"):
        environments.install(python, *wanted)  # the pin is still there
    overrides = tmp_path / "overrides.txt"
    overrides.write_text("v3io>=0.8,<0.9\n")
    environments.install(python, f"--override={overrides}", *wanted)
    assert flow_on(python) == v3io.__version__


class Worker:
    """An SDK in a process of its own, on a server of its own whose clock ticks by the call."""

    def __init__(self, python, *mode):
        self.now = 10**18
        self.server = V3ioServer(clock=lambda: self.now).start()
        self.process = subprocess.Popen(
            [python, HERE / "v3io_sdk_worker.py", self.server.url, *mode],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = json.loads(self.process.stdout.readline())

    def __call__(self, name, arguments):
        self.now += 1_000_000
        self.process.stdin.write(json.dumps([name, arguments]) + "\n")
        self.process.stdin.flush()
        return json.loads(self.process.stdout.readline())

    def state(self):
        nodes = self.server.store.sql.execute(
            "SELECT container, folder, name, kind, attributes, size, shard_count, next_sequence FROM nodes"
            " ORDER BY container, folder, name"
        ).fetchall()
        records = self.server.store.sql.execute(
            "SELECT sequence, data, client_info, partition_key FROM records ORDER BY node, sequence"
        ).fetchall()
        return nodes, records

    def reset(self):
        self.now = 10**18
        self.server.store.clear()

    def close(self):
        self.process.communicate()
        self.server.close()


@pytest.fixture
def workers(request):
    pair = Worker(interpreter(V3IO), *request.param), Worker(sys.executable, *request.param)
    assert pair[0].version == "0.7.2"
    assert pair[1].version != "0.7.2"
    yield pair
    for worker in pair:
        worker.close()


def in_bytes(raw):
    return {"bytes": base64.b64encode(raw).decode()}


names = st.sampled_from(["a", "b b", "c/d", "\u05e9", "e?f#g%h"])
keys = st.sampled_from(["k0", "k1", "k2.x", "sp ace"])
tables = st.sampled_from(["t0", "t1/sub"])
policies = st.sampled_from([None, "never", [200, 204, 404]])
attributes = st.dictionaries(
    st.sampled_from(["age", "name", "tags", "raw", "ok", "at"]),
    st.one_of(
        st.integers(-(10**20), 10**20),
        st.floats(allow_nan=False),
        st.text(max_size=8),
        st.booleans(),
        st.binary(max_size=8).map(in_bytes),
        st.lists(st.integers(-9, 9), max_size=3),
        st.lists(st.floats(-9, 9), max_size=3),
        # whole seconds: 0.7.2 sends fractions through a float
        st.integers(0, 2**31).map(lambda s: {"datetime": f"{1970 + s % 60}-02-03T04:05:06+00:00"}),
    ),
    max_size=4,
)
conditions = st.sampled_from(
    [None, "", "age > 3", "not(exists(name))", "name == 'x'", "age ==", "ok"]
)
expressions = st.sampled_from(
    ["age = if_not_exists(age, 0) + 1", "SET name = 'x'; REMOVE age", "age = age * 2", "bad ="]
)
records = st.lists(
    st.fixed_dictionaries(
        {"data": st.text(max_size=5)},
        optional={
            "shard_id": st.integers(0, 3),
            "partition_key": st.sampled_from(["p", "q"]),
            "client_info": st.text(max_size=3),
        },
    ),
    max_size=4,
)


def call(name, **arguments):
    fields = {"container": st.sampled_from(["users"] * 9 + ["nope"]), **arguments}
    return st.tuples(st.just(name), st.fixed_dictionaries(fields))


def policed(name, **arguments):
    return call(name, raise_for_status=policies, **arguments)


GROUPED = [
    policed(
        "object.put", path=names, body=st.text(max_size=20), append=st.sampled_from([None, True])
    ),
    policed("object.get", path=names, offset=st.integers(0, 9), num_bytes=st.integers(0, 9)),
    policed("object.head", path=names),
    policed("object.delete", path=names),
    policed(
        "container.list",
        path=st.sampled_from(["", "/", "c", "t0/", "st"]),
        limit=st.sampled_from([None, 1, 3]),
    ),
    policed("kv.put", table_path=tables, key=keys, attributes=attributes, condition=conditions),
    policed("kv.update", table_path=tables, key=keys, attributes=attributes, condition=conditions),
    policed("kv.update", table_path=tables, key=keys, expression=expressions, condition=conditions),
    policed(
        "kv.get",
        table_path=tables,
        key=keys,
        attribute_names=st.sampled_from([["*"], ["age", "__size"], ["**"]]),
    ),
    policed(
        "kv.scan",
        table_path=tables,
        limit=st.sampled_from([None, 1, 2]),
        filter_expression=conditions,
    ),
    call("kv.new_cursor", table_path=tables, limit=st.sampled_from([None, 0, 1, 3])),
    policed("stream.create", stream_path=st.just("st"), shard_count=st.integers(1, 3)),
    policed("stream.update", stream_path=st.just("st"), shard_count=st.integers(1, 5)),
    policed("stream.describe", stream_path=st.just("st")),
    policed("stream.put_records", stream_path=st.just("st"), records=records),
    policed(
        "stream.seek",
        stream_path=st.just("st"),
        shard_id=st.integers(0, 2),
        seek_type=st.sampled_from(["EARLIEST", "LATEST"]),
    ),
    call(
        "stream.get_records",
        stream_path=st.just("st"),
        shard_id=st.integers(0, 2),
        location=st.integers(0, 3).map(lambda n: {"location": n}),
        limit=st.sampled_from([None, 1, 10]),
    ),
    call("stream.delete", stream_path=st.just("st")),
]
KV_DELETE = policed("kv.delete", table_path=tables, key=keys)
"""Fails in every asyncio client of 0.7.2."""
FLAT = [
    policed("put_item", path=st.just("/t0/flat"), attributes=attributes),
    policed("get_item", path=st.just("t0/flat")),
    call("put_items", path=st.just("/t0"), items=st.dictionaries(keys, attributes, max_size=2)),
]
"""Only the blocking client of 0.7.2 has them."""
batched = st.one_of(
    call("object.put", path=names, body=st.text(max_size=5)),
    call("object.get", path=names),
    call("kv.put", table_path=tables, key=keys, attributes=attributes),
    call("kv.get", table_path=tables, key=keys),
)
calls = st.one_of(
    *GROUPED,
    KV_DELETE,
    *FLAT,
    st.tuples(st.just("batch"), st.lists(batched, min_size=1, max_size=1)),
)
asyncio_calls = st.one_of(*GROUPED)


def comparable(outcome):
    """Return an outcome without the markers of scans, which are opaque and new for every page."""
    if isinstance(outcome, dict) and "last" in (outcome.get("output") or {}):
        outcome["output"].pop("next_marker")
    return outcome


PRELUDE = [
    ("stream.create", {"container": "users", "stream_path": "st", "shard_count": 2}),
    (
        "stream.put_records",
        {
            "container": "users",
            "stream_path": "st",
            "records": [{"data": text, "shard_id": n % 2} for n, text in enumerate("abcdef")],
        },
    ),
    ("object.put", {"container": "users", "path": "a", "body": "0123456789"}),
    *(
        (
            "kv.put",
            {
                "container": "users",
                "table_path": "t0",
                "key": f"k{n}",
                "attributes": {"age": n, "name": "x", "ok": bool(n % 2), "raw": in_bytes(b"\0")},
            },
        )
        for n in range(3)
    ),
    (
        "stream.seek",
        {"container": "users", "stream_path": "st", "shard_id": 0, "seek_type": "EARLIEST"},
    ),
]
"""What is there before each sequence."""


def compare(workers, sequence):
    for worker in workers:
        worker.reset()
    for name, arguments in [*PRELUDE, *sequence]:
        original, ours = (worker(name, arguments) for worker in workers)
        assert comparable(ours) == comparable(original), (name, arguments)
    original_state, our_state = (worker.state() for worker in workers)
    assert our_state == original_state


@pytest.mark.parametrize("workers", [()], indirect=True, ids=["blocking"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(sequence=st.lists(calls, min_size=1, max_size=12))
def test_any_sequence_of_calls_gives_the_same_outputs_and_state(workers, sequence):
    compare(workers, sequence)


@pytest.mark.parametrize("workers", [("aio",)], indirect=True, ids=["asyncio"])
@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(sequence=st.lists(asyncio_calls, min_size=1, max_size=12))
def test_any_sequence_of_asyncio_calls_gives_the_same_outputs_and_state(workers, sequence):
    compare(workers, sequence)
