"""A user's program on loudml: finds the cluster from one address, trains, and reads on while a node dies.

Run by the interpreter of a clean environment with the first node's address and the kind of connection; prints ``ready``
when the node may be killed, reads a line from standard input once it was, and ends with one JSON object.
"""

import json
import math
import sys

from loudml import Loud, NativeHttpConnection, Urllib3HttpConnection

NOW = 1_600_000_000
CONNECTIONS = {"native": NativeHttpConnection, "urllib3": Urllib3HttpConnection}

host, connection = sys.argv[1:]
with Loud(
    [host],
    connection_class=CONNECTIONS[connection],
    sniff_on_start=True,
    sniff_on_connection_fail=True,
) as loud:
    nodes = len(loud.transport.connection_pool.connections)
    loud.buckets.create(
        {"name": "b", "type": "influxdb", "addr": "x", "database": "d", "measurement": "m"}
    )
    points = [
        {"timestamp": NOW - 4 * 86400 + i * 900, "v": 50 + 20 * math.sin(i / 96 * 2 * math.pi)}
        for i in range(4 * 96)
    ]
    writes = [loud.jobs.id(job) for job in loud.buckets.write("b", points, batch_size=100)]
    for job in writes:
        job.wait(0.02)
    loud.models.create(
        {
            "name": "m",
            "type": "donut",
            "bucket_interval": "15m",
            "interval": 60,
            "offset": 10,
            "span": 2,
            "default_bucket": "b",
            "features": [{"name": "v", "metric": "avg", "field": "v"}],
        }
    )
    job = loud.jobs.id(loud.models.train("m", _from=NOW - 4 * 86400, _to=NOW, max_evals=2))
    job.wait(0.02)
    print("ready", flush=True)
    sys.stdin.readline()
    trained = [loud.models.get(["m"])[0]["state"]["trained"] for _ in range(60)]
    job = loud.jobs.id(loud.models.forecast("m", _from=NOW, _to=NOW + 86400))
    job.wait(0.02)
    forecast = job.fetch_result()["predicted"]["v"]
    json.dump(
        {
            "nodes": nodes,
            "writes": [write.state for write in writes],
            "reads": sum(trained),
            "nodes_after": len(loud.transport.connection_pool.connections),
            "peak": max(forecast),
        },
        sys.stdout,
    )
