"""Four clients carry readings from a stream to the anomalies that are really in them."""

import json
import sys

import pytest

sys.path.append(__file__.rpartition("/")[0])
import telemetry
from v3io.dataplane import Client as V3ioClient


@pytest.mark.timeout(120)
def test_the_storms_in_the_readings_are_found_at_the_end_of_the_pipeline(
    v3io_server, ramen_server, make_loudml_server, tmp_path
):
    found = telemetry.readings()
    with V3ioClient(endpoint=v3io_server.url, access_key="k", logger_verbosity="ERROR") as v3io:
        telemetry.produce(v3io, found)
        days = telemetry.consume_days(v3io)
        with telemetry.statistics_cluster() as db_address:
            figures = telemetry.compute(db_address, days)
        assert [one["day"] for one in figures] == sorted({one["at"][:10] for one in found})
        telemetry.store(v3io, figures)
        stored = {item["day"]: item["rides"] for item in v3io.kv.scan("bigdata", "daily")}
        assert sum(stored.values()) == sum(one["rides"] for one in found)

    assert telemetry.ship(ramen_server.hostname, tmp_path, figures) == len(figures)
    arrived = ramen_server.store.messages()
    assert len(arrived) == len(figures)

    points = [
        {"timestamp": reading["at"], "rides": reading["rides"]}
        for message in arrived
        for reading in json.loads(message["body"])["readings"]
    ]
    server = make_loudml_server(nodes=3, tick_s=0.02, evaluation_s=0.02)
    with telemetry.connect_loud(server.hosts) as loud:
        unusual = telemetry.learn(loud, points, "2011-08-25")
    worst = sorted(unusual, key=unusual.get)[-3:]
    assert set(worst) == {"2011-08-27", "2011-09-05", "2011-09-07"}  # Irene, Labor Day, Lee
