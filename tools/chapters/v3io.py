"""v3io: files, a table with a query, a stream with two consumers, a batch against one by one, and a lost answer."""

from __future__ import annotations

import threading
import time

from mock_servers.faults import Fault
from mock_servers.v3io.server import V3ioServer
from stage import Stage, Step
from v3io.dataplane import Client
from v3io.expressions import attr, increment
from v3io.streams import Consumer, GroupSettings, Producer
from v3io.tables import parallel_scan

TITLE = "v3io: rides as a file, a table and a stream; batches; a lost answer"

CONTAINER = "bigdata"
TABLE = "rides"
STREAM = "/ride-events"
ONE_BY_ONE = 200
SHARDS = 4


def run(stage: Stage) -> None:
    """Walk through the job of v3io."""
    server = stage.enter(V3ioServer())
    stage.address("v3io", server.url)
    client = stage.enter(Client(endpoint=server.url, access_key="demo", logger_verbosity="ERROR"))

    with stage.step("Upload a file, append to it, read a range back") as step:
        content = (stage.data / "bikeshare.csv").read_bytes()
        client.object.put(CONTAINER, "rides.csv", body=content)
        client.object.put(CONTAINER, "rides.csv", body=b"# end\n", append=True)
        head = client.object.get(CONTAINER, "rides.csv", offset=0, num_bytes=10).body
        size = int(client.object.head(CONTAINER, "rides.csv").headers["content-length"])
        step.note(f"{size:,} bytes, beginning {head!r}")
        step.check(size == len(content) + 6, "the file is not what was sent")

    rows = read_rows(content.decode())
    with stage.step(
        f"Write {len(rows):,} items in a batch, {ONE_BY_ONE} of them one by one"
    ) as step:
        compare_batch(client, rows, step)

    with stage.step("Query: the busiest hours") as step:
        busy = (attr("rides") >= 560) & (attr("hour") < 18)
        scan = client.kv.scan(CONTAINER, TABLE, filter_expression=busy)
        items = sorted(scan, key=lambda item: -item["rides"])
        step.note(str(busy))
        step.table(["day", "hour", "rides"], [[i["day"], i["hour"], i["rides"]] for i in items[:5]])
        expected = sum(1 for _, row in rows if row["rides"] >= 560 and row["hour"] < 18)
        step.check(len(items) == expected, f"found {len(items)} of {expected}")

    with stage.step("Scan the table in four segments at once") as step:
        total = sum(item["rides"] for item in parallel_scan(client, CONTAINER, TABLE, 4))
        step.note(f"{total:,} rides")
        step.check(total == sum(row["rides"] for _, row in rows), "the sum is not that of the file")

    with stage.step(f"Stream a week through {SHARDS} shards to two consumers") as step:
        stream_a_week(client, [row for _, row in rows[:168]], step)

    with stage.step("Count a visit while answers get lost") as step:
        survive(client, server, step)


def read_rows(text: str) -> list[tuple[str, dict[str, int | str]]]:
    """Return (key, attributes) of every hour."""
    found = []
    for line in text.splitlines()[1:]:
        at, rides = line.split(",")
        found.append(
            (at.replace(":", ""), {"day": at[:10], "hour": int(at[11:13]), "rides": int(rides)})
        )
    return found


def compare_batch(client: Client, rows: list[tuple[str, dict[str, int | str]]], step: Step) -> None:
    """Write some rows one by one and all of them in a batch; show what one call costs in each."""
    started = time.perf_counter()
    for key, attributes in rows[:ONE_BY_ONE]:
        client.kv.put(CONTAINER, TABLE, key, attributes)
    single_us = (time.perf_counter() - started) / ONE_BY_ONE * 1e6
    started = time.perf_counter()
    for key, attributes in rows:
        client.batch.kv.put(CONTAINER, TABLE, key, attributes)
    responses = client.batch.wait()
    batch_us = (time.perf_counter() - started) / len(rows) * 1e6
    step.table(
        ["", "µs per item"], [["one by one", round(single_us)], ["in a batch", round(batch_us)]]
    )
    step.check(all(response.status_code == 200 for response in responses), "a write failed")


def stream_a_week(client: Client, rows: list[dict[str, int | str]], step: Step) -> None:
    """Send rows by day to one shard each, and read them with two members of a group."""
    client.stream.create(CONTAINER, STREAM, SHARDS)
    with Producer(client, CONTAINER, STREAM) as producer:
        for row in rows:
            producer.put(f"{row['hour']},{row['rides']}", partition_key=str(row["day"]))
    settings = GroupSettings(2, heartbeat_s=0.5, poll_s=0.02)
    received: dict[str, int] = {}

    def consume(name: str) -> None:
        with Consumer(
            client,
            CONTAINER,
            STREAM,
            group="demo",
            member_id=name,
            settings=settings,
            stop_when_idle=True,
        ) as consumer:
            joined.wait(5)
            received[name] = sum(1 for _ in consumer)

    joined = threading.Barrier(2)
    members = [threading.Thread(target=consume, args=(name,)) for name in ("alice", "bob")]
    for member in members:
        member.start()
    for member in members:
        member.join()
    step.note(", ".join(f"{name} {count}" for name, count in sorted(received.items())))
    step.check(
        sum(received.values()) == len(rows), f"received {sum(received.values())} of {len(rows)}"
    )


def survive(client: Client, server: V3ioServer, step: Step) -> None:
    """Lose the answers of reads and of an update: reads are repeated, the update is not, and says so."""
    client.kv.put(CONTAINER, "visits", "page", {"count": 0})
    server.faults.add(Fault("reset", path="*/visits/page", times=1, apply=True))
    count = client.kv.get(CONTAINER, "visits", "page").output.item["count"]
    step.check(count == 0, "the read was not repeated")
    server.faults.add(Fault("reset", path="*/visits/page", times=1, apply=True))
    try:
        client.kv.update(CONTAINER, "visits", "page", expression=increment("count"))
        step.check(False, "the lost answer went unnoticed")
    except ConnectionError as error:
        step.note(f"update: {type(error).__name__}, not repeated")
    count = client.kv.get(CONTAINER, "visits", "page").output.item["count"]
    step.note(f"counted {count}")
    step.check(count == 1, f"counted {count} instead of 1")
