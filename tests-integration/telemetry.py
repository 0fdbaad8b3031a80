"""A telemetry pipeline on four clients, as an application would write it.

Readings lie in a v3io stream. A consumer hands each day's readings to a pylm master, whose workers compute statistics;
the results become items of a v3io table and messages of the Ramen queue. What arrives at the Ramen server is written
into a Loud ML bucket, a model learns it, and the days it finds unusual are the answer. Run by
``test_telemetry_pipeline.py`` and, behind fault proxies, by the chaos suite.
"""

import contextlib
import datetime
import itertools
import json
import pathlib
import socket
import statistics
import threading

from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.queue_reader import QueueReader
from infi.ramen_client.queue_writer import QueueWriter
from loudml import Loud, NativeHttpConnection
from pylm.clients import Client as PylmClient
from pylm.servers import Master, Worker
from v3io.dataplane import Client as V3ioClient
from v3io.streams import Consumer, GroupSettings, Producer

RIDES = pathlib.Path(__file__).parent.parent / "tools" / "chapters" / "data" / "bikeshare.csv"
CONTAINER = "bigdata"
STREAM = "/telemetry"
TABLE = "daily"
DEFINITIONS = json.loads((RIDES.parent / "rides.json").read_text(encoding="utf-8"))
MODEL, BUCKET = DEFINITIONS["model"], DEFINITIONS["bucket"]


class Statistics(Worker):
    """Computes the figures of one day."""

    def day(self, payload):
        """Return count, sum, mean and peak hour of a day's readings, and the readings."""
        readings = json.loads(payload)
        rides = [reading["rides"] for reading in readings]
        peak = max(readings, key=lambda reading: reading["rides"])
        figures = {
            "day": readings[0]["at"][:10],
            "hours": len(rides),
            "rides": sum(rides),
            "mean": statistics.fmean(rides),
            "peak_hour": int(peak["at"][11:13]),
            "readings": readings,
        }
        return json.dumps(figures).encode()


def free_addresses(count):
    """Return so many ``tcp://127.0.0.1`` addresses that nobody listens on."""
    with contextlib.ExitStack() as stack:
        sockets = [
            stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)
        ]
        return [f"tcp://127.0.0.1:{one.getsockname()[1]}" for one in sockets]


@contextlib.contextmanager
def statistics_cluster(workers=2):
    """Run a master and its workers in threads; yield the address that clients need."""
    pull, publish, worker_pull, worker_push, db = free_addresses(5)
    master = Master("statistics", pull, publish, worker_pull, worker_push, db)
    members = [master]
    threads = [threading.Thread(target=master.start, name="master")]
    threads[0].start()
    for number in range(workers):
        worker = Statistics(f"worker{number}", db)
        members.append(worker)
        threads.append(threading.Thread(target=worker.start, name=worker.name))
        threads[-1].start()
    try:
        yield db
    finally:
        for member in reversed(members):
            member.stop()
        for thread in threads:
            thread.join(10)
        for member in members:
            member.close()


def readings():
    """Return the readings of the file as dicts, oldest first."""
    rows = (line.split(",") for line in RIDES.read_text().splitlines()[1:])
    return [{"at": at, "rides": int(rides)} for at, rides in rows]


def produce(v3io: V3ioClient, found):
    """Put the readings on the stream, one day on one shard."""
    v3io.stream.create(CONTAINER, STREAM, 4)
    with Producer(v3io, CONTAINER, STREAM) as producer:
        for reading in found:
            producer.put(json.dumps(reading), partition_key=reading["at"][:10])


def consume_days(v3io: V3ioClient):
    """Return the payload of each day, in order, from the stream."""
    settings = GroupSettings(1, fetch_records=500, poll_s=0.02)
    with Consumer(
        v3io, CONTAINER, STREAM, group="statistics", settings=settings, stop_when_idle=True
    ) as consumer:
        found = sorted((json.loads(record.data) for record in consumer), key=lambda one: one["at"])
    days = itertools.groupby(found, key=lambda one: one["at"][:10])
    return [json.dumps(list(group)).encode() for _, group in days]


def compute(db_address, days):
    """Return the figures of each day, in order."""
    with PylmClient("statistics", db_address) as client:
        results = client.map("statistics.day", days, idempotent=True, timeout=30)
        return [json.loads(result) for result in results]


def store(v3io: V3ioClient, figures):
    """Write one item for each day."""
    for one in figures:
        item = {name: value for name, value in one.items() if name != "readings"}
        v3io.batch.kv.put(CONTAINER, TABLE, one["day"], item)
    v3io.batch.wait()


def ship(hostname, queue_dir, figures):
    """Queue one message for each day, and send until the queue is empty."""
    config = QueueReaderConfig(
        {
            "sender": "telemetry",
            "system_serial": 1,
            "system_version": "1.0",
            "hostname": hostname,
            "auth_token": "good-token",
            "ssl": False,
            "queue_dir": str(queue_dir),
            "retry_delay": 1,
        }
    )
    writer = QueueWriter(config)
    for one in figures:
        writer.push("telemetry", "rides", "v1", one, reqid=one["day"])
    reader = QueueReader(config)
    sent = 0
    while writer.queue_size():
        sent += reader.run(blocking=False)
    reader.close()
    writer.close()
    return sent


def learn(loud: Loud, points, train_until):
    """Write the points, train on those before a day, and return the unusual hours per day after it."""
    loud.buckets.create(BUCKET)
    for job_id in loud.buckets.write("rides", points, batch_size=1000):
        loud.jobs.id(job_id).wait(0.05)
    loud.models.create(MODEL)
    last = points[-1]["timestamp"][:10]
    name = MODEL["name"]
    training = loud.models.train(
        name, _from=points[0]["timestamp"][:10], _to=train_until, max_evals=12
    )
    loud.jobs.id(training).wait(0.05)
    job = loud.jobs.id(
        loud.models.eval_model(name, _from=train_until, _to=last, flag_abnormal_data=True)
    )
    job.wait(0.05)
    result = job.fetch_result()
    unusual = {}
    for at, statistics_of_hour in zip(result["timestamps"], result["stats"], strict=True):
        day = datetime.datetime.fromtimestamp(at, datetime.timezone.utc).date().isoformat()
        unusual[day] = unusual.get(day, 0) + bool(statistics_of_hour["anomaly"])
    return unusual


def connect_loud(hosts):
    """Return a client of the Loud ML cluster that has the pool's safety on."""
    return Loud(hosts, sniff_on_connection_fail=True, connection_class=NativeHttpConnection)
