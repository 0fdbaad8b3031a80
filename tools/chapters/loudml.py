"""Loud ML: three nodes learn a city's bike rides, find the storms, forecast a day, and lose a node on the way."""

from __future__ import annotations

import datetime
import json
import pathlib
import threading
import time
from typing import Any

from loudml import Loud
from mock_servers.loudml import LoudmlServer
from stage import Stage, Step

TITLE = "Loud ML: learn from bike rides, find the storms, forecast, survive a lost node"

RIDES = json.loads(
    pathlib.Path(__file__).with_name("data").joinpath("rides.json").read_text("utf-8")
)
MODEL, BUCKET = RIDES["model"], RIDES["bucket"]
KNOWN_DAYS = {
    datetime.date(2011, 8, 27): "Hurricane Irene",
    datetime.date(2011, 9, 5): "Labor Day",
    datetime.date(2011, 9, 7): "remains of tropical storm Lee",
}
READERS = 6


def run(stage: Stage) -> None:
    """Walk through the job of Loud ML."""
    server = stage.enter(LoudmlServer(nodes=3, tick_s=0.05, evaluation_s=0.04))
    for node in server.nodes:
        stage.address(node.name, node.url)
    loud = stage.enter(Loud(server.hosts[:1], sniff_on_start=True, sniff_on_connection_fail=True))

    with stage.step("Find the cluster from one address") as step:
        found = {connection.host for connection in loud.transport.connection_pool.connections}
        step.note(f"{len(found)} nodes, version {loud.version()}")
        step.check(found == {node.url for node in server.nodes}, f"found {sorted(found)}")

    points = read_points(stage)
    with stage.step("Write ten weeks of rides per hour") as step:
        loud.buckets.create(BUCKET)
        jobs = [loud.jobs.id(job) for job in loud.buckets.write("rides", points, batch_size=500)]
        for done, job in enumerate(jobs, start=1):
            job.wait(0.05)
            step.progress(done, len(jobs))
            step.check(job.success(), f"a batch failed: {job.error}")
        step.note(f"{len(points):,} points in {len(jobs)} batches")

    with stage.step("Train on June to 24 August") as step:
        loud.models.create(MODEL)
        job = loud.jobs.id(
            loud.models.train(MODEL["name"], _from="2011-06-01", _to="2011-08-25", max_evals=12)
        )
        job.wait(0.05, lambda *_: step.progress(job.step, 12))
        [model] = loud.models.get([MODEL["name"]])
        loss = model["state"]["loss"]
        step.note(f"loss {loss:.3f}")
        step.check(loss < 0.15, "the model explains too little")

    with stage.step("Find what was unusual in the two weeks after") as step:
        result = finished(
            loud,
            loud.models.eval_model(
                MODEL["name"], _from="2011-08-25", _to="2011-09-08", flag_abnormal_data=True
            ),
        )
        days = unusual_days(result)
        step.table(
            ["day", "rides", "expected", "unusual hours", "what happened"],
            [[*day, KNOWN_DAYS.get(day[0], "")] for day in days[:5]],
        )
        missed = KNOWN_DAYS.keys() - {day[0] for day in days[:5]}
        step.check(not missed, f"not among the five most unusual days: {missed}")

    with stage.step("Forecast the day after") as step:
        job_id = loud.models.forecast(MODEL["name"], _from="2011-09-08", _to="2011-09-09")
        forecast = finished(loud, job_id)["predicted"]
        step.table(
            ["hour", "rides", "from", "to"],
            [
                [f"{hour:02d}:00"]
                + [round(forecast[key][hour]) for key in ("rides", "lower_rides", "upper_rides")]
                for hour in (3, 8, 12, 17, 22)
            ],
        )
        step.check(forecast["rides"][8] > 5 * abs(forecast["rides"][3]), "no morning commute")

    with stage.step(f"Lose a node under {READERS} reading threads") as step:
        lose_a_node(server, loud, step)

    with stage.step("Start the node again and find it by sniffing") as step:
        server.nodes[1].start()
        loud.transport.sniff_hosts()
        pool = loud.transport.connection_pool
        found = {connection.host for connection in pool.orig_connections}
        step.check(server.nodes[1].url in found, "the node is not back in the pool")


def read_points(stage: Stage) -> list[dict[str, Any]]:
    """Return the rides as Loud ML points."""
    rows = (stage.data / "bikeshare.csv").read_text().splitlines()[1:]
    cells = (row.split(",") for row in rows)
    return [{"timestamp": at, "rides": int(rides)} for at, rides in cells]


def finished(loud: Loud, job_id: str) -> Any:
    """Wait for a job and return its result."""
    job = loud.jobs.id(job_id)
    job.wait(0.05)
    return job.fetch_result()


def unusual_days(result: dict[str, Any]) -> list[tuple[datetime.date, int, int, int]]:
    """Return (day, rides, expected rides, unusual hours), the most unusual day first."""
    days: dict[datetime.date, list[float]] = {}
    for index, at in enumerate(result["timestamps"]):
        moment = datetime.datetime.fromtimestamp(at, datetime.timezone.utc)
        day = days.setdefault(moment.date(), [0, 0, 0])
        day[0] += result["observed"]["rides"][index]
        day[1] += result["predicted"]["rides"][index]
        day[2] += result["stats"][index]["anomaly"]
    ranked = sorted(days.items(), key=lambda entry: -entry[1][2])
    return [(day, round(seen), round(hoped), round(hours)) for day, (seen, hoped, hours) in ranked]


def lose_a_node(server: LoudmlServer, loud: Loud, step: Step) -> None:
    """Kill a node while threads read; every read must succeed."""
    failures: list[Exception] = []
    reads = [0] * READERS
    stop = threading.Event()

    def read(reader: int) -> None:
        while not stop.is_set():
            try:
                loud.models.get([MODEL["name"]], fields=["state"], include_fields=True)
                reads[reader] += 1
            except Exception as error:
                failures.append(error)

    threads = [threading.Thread(target=read, args=(index,)) for index in range(READERS)]
    for thread in threads:
        thread.start()
    try:
        wait_for(lambda: sum(reads) > 200)
        server.nodes[1].kill()
        before = sum(reads)
        wait_for(lambda: sum(reads) > before + 500)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    step.note(f"{sum(reads):,} reads, {len(failures)} failed")
    step.check(not failures, f"a read failed: {failures[:1]}")


def wait_for(condition: Any, limit_s: float = 15.0) -> None:
    """Return once a condition holds.

    Raises:
        TimeoutError: It does not within the limit.
    """
    deadline = time.monotonic() + limit_s
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError(f"waited {limit_s} s")
        time.sleep(0.005)
