"""A day of a storey user: a flow that aggregates into a table, writes a stream, and a flow that queries the table.

``python v3io_flow_user.py URL`` in an environment that holds storey; prints what was seen as one JSON document.
"""

import datetime
import json
import sys

import storey
import v3io
import v3io.dataplane
from storey.dtypes import FieldAggregator, SlidingWindows

URL = sys.argv[1]
START = datetime.datetime(2026, 1, 31, 12, tzinfo=datetime.timezone.utc)
seen = {"sdk": v3io.__version__}


def make_table():
    return storey.Table("users/flow/stocks/", storey.V3ioDriver(URL, "any"))


table = make_table()
flow = storey.build_flow(
    [
        storey.SyncEmitSource(key_field="who", time_field="when"),
        storey.AggregateByKey(
            [
                FieldAggregator(
                    "amount",
                    "amount",
                    ["sum", "avg", "min", "max", "count"],
                    SlidingWindows(["1h", "2h"], "10m"),
                )
            ],
            table,
        ),
        [storey.NoSqlTarget(table)],
        [storey.StreamTarget(storey.V3ioDriver(URL, "any"), "users/flow/out/", shards=2)],
        [storey.Reduce([], lambda found, event: [*found, event])],
    ]
).run()
for number in range(20):
    moment = START + datetime.timedelta(minutes=5 * number)
    flow.emit({"who": ("bob", "linda")[number % 2], "amount": number, "when": moment})
flow.terminate()
results = flow.await_termination()
seen["events"] = len(results)
seen["last"] = {
    name: results[-1][name] for name in sorted(results[-1]) if name.startswith("amount_")
}

query = storey.build_flow(
    [
        storey.SyncEmitSource(key_field="who", time_field="when"),
        storey.QueryByKey(
            ["amount_sum_1h", "amount_max_2h", "amount"], make_table(), key_field="who"
        ),
        storey.Reduce([], lambda found, event: [*found, event]),
    ]
).run()
end = START + datetime.timedelta(minutes=100)
for who in ("bob", "linda", "nobody"):
    query.emit({"who": who, "when": end})
query.terminate()
seen["queried"] = [
    {name: value for name, value in event.items() if name != "when"}
    for event in query.await_termination()
]

client = v3io.dataplane.Client(endpoint=URL, access_key="any")
records = []
for shard in range(2):
    location = client.stream.seek("users", "flow/out", shard, "EARLIEST").output.location
    page = client.stream.get_records("users", "flow/out", shard, location).output
    records += [json.loads(record.data) for record in page.records]
seen["records"] = sorted(record["amount"] for record in records)
seen["keys"] = sorted(item["__name"] for item in client.kv.new_cursor("users", "flow/stocks").all())
client.close()
print(json.dumps(seen, default=str))
