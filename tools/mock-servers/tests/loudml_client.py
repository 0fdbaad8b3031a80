"""A bare HTTP client for the tests of the Loud ML server: no code is shared with the clients under test elsewhere."""

from __future__ import annotations

import contextlib
import http.client
import json
import math
import random
from typing import Any

from mock_servers.loudml import LoudmlNode, LoudmlServer

NOW = 1_600_000_000.0
DAY_S = 86400

BUCKET = {
    "name": "b",
    "type": "influxdb",
    "addr": "localhost",
    "database": "d",
    "measurement": "m",
    "dbuser_password": "hidden",
}
MODEL = {
    "name": "m",
    "type": "donut",
    "bucket_interval": "5m",
    "interval": 60,
    "offset": 10,
    "span": 5,
    "default_bucket": "b",
    "features": [{"name": "avg_v", "metric": "avg", "field": "v"}],
}


class Reply:
    def __init__(self, status: int, headers: http.client.HTTPMessage, body: bytes) -> None:
        self.status = status
        self.headers = headers
        self.body = body

    @property
    def json(self) -> Any:
        return json.loads(self.body)


def call(
    server: LoudmlServer | LoudmlNode,
    method: str,
    path: str,
    body: Any = None,
    headers: dict[str, str] | None = None,
) -> Reply:
    node = server.nodes[0] if isinstance(server, LoudmlServer) else server
    sent = dict(headers or {})
    if body is not None and not isinstance(body, bytes):
        body = json.dumps(body).encode()
    if body is not None:
        sent.setdefault("Content-Type", "application/json")
    with contextlib.closing(http.client.HTTPConnection(node.host, timeout=30)) as connection:
        connection.request(method, path, body, sent)
        reply = connection.getresponse()
        return Reply(reply.status, reply.headers, reply.read())


def daily_points(days: int = 10, end: float = NOW) -> list[dict[str, Any]]:
    """Return five-minute points of a daily sine with noise; half a day before the end, 25 minutes are 60 too high."""
    noise = random.Random(7)
    start = end - days * DAY_S
    points = []
    for index in range(days * 288):
        at = start + index * 300
        value = 50 + 20 * math.sin(2 * math.pi * at / DAY_S) + noise.gauss(0, 2)
        if 0 <= at - (end - DAY_S / 2) < 1500:
            value += 60
        points.append({"timestamp": at, "v": value})
    return points
