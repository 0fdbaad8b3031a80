"""The Numenta Anomaly Benchmark as test data: labelled time series with and without anomalies.

Used by ``loudml load-nab``. Source: loudml-python 1.6.3, ``nab``.
"""

from __future__ import annotations

import asyncio
import contextlib
import csv
import io
import pathlib
from collections.abc import Iterator
from typing import Any

from loudml.dates import make_ts

__all__ = ["FOLDERS", "g_base_url", "g_urls", "load_nab", "read_points"]

g_base_url = "https://raw.githubusercontent.com/numenta/NAB/master/data/"

FOLDERS: dict[str, tuple[str, ...]] = {
    "artificialNoAnomaly": (
        "art_daily_no_noise",
        "art_daily_perfect_square_wave",
        "art_daily_small_noise",
        "art_flatline",
        "art_noisy",
    ),
    "artificialWithAnomaly": (
        "art_daily_flatmiddle",
        "art_daily_jumpsdown",
        "art_daily_jumpsup",
        "art_daily_nojump",
        "art_increase_spike_density",
        "art_load_balancer_spikes",
    ),
    "realAWSCloudwatch": (
        "ec2_cpu_utilization_24ae8d",
        "ec2_cpu_utilization_53ea38",
        "ec2_cpu_utilization_5f5533",
        "ec2_cpu_utilization_77c1ca",
        "ec2_cpu_utilization_825cc2",
        "ec2_cpu_utilization_ac20cd",
        "ec2_cpu_utilization_c6585a",
        "ec2_cpu_utilization_fe7f93",
        "ec2_disk_write_bytes_1ef3de",
        "ec2_disk_write_bytes_c0d644",
        "ec2_network_in_257a54",
        "ec2_network_in_5abac7",
        "elb_request_count_8c0756",
        "grok_asg_anomaly",
        "iio_us-east-1_i-a2eb1cd9_NetworkIn",
        "rds_cpu_utilization_cc0c53",
        "rds_cpu_utilization_e47b3b",
    ),
    "realKnownCause": (
        "ambient_temperature_system_failure",
        "cpu_utilization_asg_misconfiguration",
        "ec2_request_latency_system_failure",
        "machine_temperature_system_failure",
        "nyc_taxi",
        "rogue_agent_key_hold",
        "rogue_agent_key_updown",
    ),
}
"""The series that are loaded, by folder of the benchmark."""

g_urls = [f"{folder}/{name}.csv" for folder, names in FOLDERS.items() for name in names]
"""Their paths below :data:`g_base_url`."""

_DOWNLOADS_AT_ONCE = 10
_DOWNLOAD_S = 10.0


async def load_nab(
    loud: Any,
    bucket_name: str,
    batch_size: int,
    from_date: str | float,
    directory: str | pathlib.Path | None = None,
) -> int:
    """Write the benchmark's series into a bucket, moved in time so that each begins at ``from_date``.

    The points have the field ``value`` and the tag ``file``, the name of the series.

    Args:
        loud: A :class:`~loudml.client.Loud`.
        bucket_name: The bucket.
        batch_size: Points per request.
        from_date: Of the first point of each series, see :func:`loudml.dates.make_ts`.
        directory: Folder with the benchmark's CSV files, or folders of them, to read instead of downloading them.

    Returns:
        The number of points written.

    Raises:
        FileNotFoundError: There is no CSV file in ``directory``.
        LoudMLException: A series could not be written.
        OSError: A series could not be downloaded.
    """
    start = make_ts(from_date)
    written = 0
    async with contextlib.aclosing(_series(directory)) as series:
        async for name, text in series:
            points = list(read_points(name, text, start))
            for at in range(0, len(points), batch_size):
                batch = points[at : at + batch_size]
                await loud.async_write_points(bucket_name, batch, interval=0.2)
            written += len(points)
    return written


def read_points(name: str, text: str, start: float) -> Iterator[dict[str, Any]]:
    """Yield the points of one series.

    Args:
        name: Value of the tag ``file``.
        text: CSV with a header and the columns ``timestamp`` and ``value``.
        start: Time of the first point, seconds since the epoch.
    """
    shift = None
    for row in csv.DictReader(io.StringIO(text)):
        ts = make_ts(row["timestamp"])
        shift = start - ts if shift is None else shift
        yield {"timestamp": ts + shift, "value": float(row["value"]), "tags": {"file": name}}


async def _series(directory: str | pathlib.Path | None) -> Any:
    """Yield ``(name, CSV text)`` of each series."""
    if directory is not None:
        paths = sorted(pathlib.Path(directory).rglob("*.csv"))
        if not paths:
            raise FileNotFoundError(f"no CSV file in {directory}")
        for path in paths:
            yield path.name, path.read_text()
        return
    from transport_utils.aio.transport import AsyncTransport
    from transport_utils.url import parse_node_url

    base = parse_node_url(g_base_url.rstrip("/"))
    room = asyncio.Semaphore(_DOWNLOADS_AT_ONCE)
    transport = AsyncTransport(g_base_url.rstrip("/"), timeout=_DOWNLOAD_S)

    async def download(url: str) -> tuple[str, str]:
        async with room:
            response = await transport.request("GET", f"/{url}")
            if response.status != 200:
                raise OSError(f"{base.host}: status {response.status} for {url}")
            return url.rpartition("/")[2], (await response.read()).decode()

    downloads = [asyncio.ensure_future(download(url)) for url in g_urls]
    try:
        for task in asyncio.as_completed(downloads):
            yield await task
    finally:
        for task in downloads:
            task.cancel()
        await asyncio.gather(*downloads, return_exceptions=True)
        await transport.aclose()
