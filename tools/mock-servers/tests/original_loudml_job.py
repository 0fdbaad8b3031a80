"""The whole job of loudml-python 1.6.3, run by its own interpreter against the server whose nodes are the arguments.

Prints one JSON object of what it saw.
"""

import json
import logging
import math
import random
import sys
import time

from loudml_py import Loud, errors

logging.disable(logging.CRITICAL)
loud = Loud(sys.argv[1:], sniff_on_start=True)
seen = {
    "version": loud.version(),
    "ping": loud.ping(),
    "nodes": len(loud.transport.connection_pool.connections),
}


def finished(job_id):
    job = loud.jobs.id(job_id)
    job.wait(0.02)
    assert job.success(), job.error
    return job


def failure(call):
    try:
        call()
    except errors.TransportError as error:
        return [type(error).__name__, error.status_code, error.error]


settings = {
    "name": "m",
    "type": "donut",
    "bucket_interval": "5m",
    "interval": 60,
    "offset": 10,
    "span": 5,
    "default_bucket": "b",
    "features": [{"name": "avg_v", "metric": "avg", "field": "v"}],
}
now = time.time()
noise = random.Random(1)
points = [
    {
        "timestamp": now - 4 * 86400 + index * 300,
        "v": 50 + 20 * math.sin(index / 288 * 2 * math.pi) + noise.gauss(0, 2),
    }
    for index in range(4 * 288)
]
loud.buckets.create(
    {"name": "b", "type": "influxdb", "addr": "x", "database": "d", "measurement": "m"}
)
loud.write_points("b", points, interval=0.02)
seen["bucket"] = loud.buckets.exists("b")
seen["created"] = loud.models.create(settings)
training = finished(loud.models.train("m", _from="now-4d", _to="now", max_evals=3))
seen["training"] = [training.name, training.state, training.total, training.step]
seen["state"] = loud.models.get(["m"], fields=["state"], include_fields=True)[0]["state"]["trained"]
seen["versions"] = [entry["version"] for entry in loud.models.versions.get("m")]
result = finished(
    loud.models.eval_model("m", _from="now-1d", _to="now", flag_abnormal_data=True)
).fetch_result()
seen["evaluation"] = sorted(result)
seen["forecast"] = sorted(
    finished(loud.models.forecast("m", _from="now", _to="now+1h")).fetch_result()["predicted"]
)
seen["started"] = loud.models.start_inference("m", save_output_data=True)
seen["scheduled"] = [entry["name"] for entry in loud.scheduled_jobs.get()]
seen["stopped"] = loud.models.stop_inference("m")
reading = finished(
    loud.buckets.read("b", _from="now-1h", _to="now", bucket_interval="5m", features="avg(v)")
)
seen["read"] = sorted(reading.fetch_result()["observed"])
loud.templates.create({"name": "{{n}}"}, name="t")
seen["templates"] = [entry["params"] for entry in loud.templates.get()]
seen["generated"] = [entry["settings"]["name"] for entry in loud.models.generator()]
seen["errors"] = [
    failure(lambda: loud.models.delete("nope")),
    failure(lambda: loud.models.create({"name": "m"})),
    failure(lambda: loud.models.forecast("nope", _to="now")),
    failure(lambda: loud.jobs.cancel_job(reading.id)),
]
seen["deleted"] = [loud.models.delete("m"), loud.buckets.delete("b"), loud.templates.delete("t")]
loud.transport.close()
json.dump(seen, sys.stdout)
