"""Whole tables out, in picklable segments.

Called by users. :func:`segments` splits a scan into tasks that other threads, processes or machines run;
:mod:`v3io.dask` builds a Dask DataFrame of them.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator, Sequence
from typing import TYPE_CHECKING, Any

from v3io.frames import arrow_table, data_frame

if TYPE_CHECKING:
    from concurrent.futures import Future

    import pandas
    import pyarrow

__all__ = ["MAX_SEGMENTS", "Segment", "parallel_scan", "segments"]

MAX_SEGMENTS = 1024
"""Most segments of one scan."""


@dataclasses.dataclass(frozen=True)
class Segment:
    """One part of a scan, which any process with access to the platform can run; pickles.

    Args:
        endpoint: Base URL of the web API.
        access_key: Sent with each request; hidden in ``repr``.
        container: Container name or number.
        table_path: Directory of the table.
        segment: Which part, 0-based.
        total_segments: Number of parts.
        attribute_names: As for ``kv.scan``.
        filter_expression: As for ``kv.scan``, as text.
    """

    endpoint: str
    access_key: str | None = dataclasses.field(repr=False)
    container: str
    table_path: str
    segment: int
    total_segments: int
    attribute_names: str | tuple[str, ...] = "*"
    filter_expression: str | None = None

    def items(self, client: Any = None) -> Iterator[dict[str, Any]]:
        """Yield the items of this part.

        Args:
            client: Client to use; ``None`` opens one for the duration of the iteration.
        """
        if client is None:
            from v3io.dataplane import Client

            with Client(
                endpoint=self.endpoint, access_key=self.access_key, max_connections=1
            ) as client:
                yield from self.items(client)
            return
        yield from client.kv.new_cursor(
            self.container,
            self.table_path,
            access_key=self.access_key,
            attribute_names=self.attribute_names,
            filter_expression=self.filter_expression,
            segment=self.segment,
            total_segments=self.total_segments,
        )

    def to_arrow(self) -> pyarrow.Table:
        """Return this part as an Arrow table."""
        return arrow_table(self.items())

    def to_pandas(self) -> pandas.DataFrame:
        """Return this part as a DataFrame."""
        return data_frame(self.items())


def segments(
    client: Any,
    container: str,
    table_path: str,
    total_segments: int,
    *,
    attribute_names: str | Iterable[str] = "*",
    filter_expression: object = None,
) -> list[Segment]:
    """Split a table's scan into parts; each item is in exactly one.

    Args:
        client: Gives endpoint and access key.
        container: Container name or number.
        table_path: Directory of the table.
        total_segments: Number of parts, 1..1024.
        attribute_names: As for ``kv.scan``.
        filter_expression: As for ``kv.scan``; ``None`` for all items.

    Raises:
        ValueError: ``total_segments`` is out of range.
    """
    if not 1 <= total_segments <= MAX_SEGMENTS:
        raise ValueError(f"total_segments={total_segments}: expected 1..{MAX_SEGMENTS}")
    names = attribute_names if isinstance(attribute_names, str) else tuple(attribute_names)
    text = None if filter_expression is None else str(filter_expression)
    return [
        Segment(
            client._transport._endpoint,
            client._access_key,
            container,
            table_path,
            index,
            total_segments,
            names,
            text,
        )
        for index in range(total_segments)
    ]


def parallel_scan(
    client: Any,
    container: str,
    table_path: str,
    total_segments: int = 8,
    *,
    attribute_names: str | Iterable[str] = "*",
    filter_expression: object = None,
    buffer_items: int = 10_000,
) -> Iterator[dict[str, Any]]:
    """Yield all items of a table, read by one thread per segment, in no particular order.

    Args:
        client: Shared by the threads; its ``max_connections`` bounds how many read at once.
        container: Container name or number.
        table_path: Directory of the table.
        total_segments: Number of threads, 1..1024.
        attribute_names: As for ``kv.scan``.
        filter_expression: As for ``kv.scan``.
        buffer_items: Most items read ahead of the caller, >= 1.

    Raises:
        HttpResponseError: A page failed; the other threads are stopped.

    Closing the generator, or leaving the loop and dropping it, stops the threads.
    """
    import concurrent.futures
    import queue
    import threading

    parts = segments(
        client,
        container,
        table_path,
        total_segments,
        attribute_names=attribute_names,
        filter_expression=filter_expression,
    )
    ready: queue.Queue[dict[str, Any] | None] = queue.Queue(max(1, buffer_items))
    stopped = threading.Event()

    def put(item: dict[str, Any] | None) -> None:
        while not stopped.is_set():
            try:
                return ready.put(item, timeout=0.1)
            except queue.Full:
                continue
        return None

    def read(part: Segment) -> None:
        try:
            for item in part.items(client):
                put(item)
                if stopped.is_set():
                    return
        finally:
            put(None)

    with concurrent.futures.ThreadPoolExecutor(
        total_segments, thread_name_prefix="v3io-scan"
    ) as executor:
        readers = [executor.submit(read, part) for part in parts]
        try:
            running = len(readers)
            while running:
                item = ready.get()
                if item is None:
                    running -= 1
                    _raise_first(readers)
                else:
                    yield item
            _raise_first(readers, wait=True)
        finally:
            stopped.set()


def _raise_first(readers: Sequence[Future[None]], *, wait: bool = False) -> None:
    for reader in readers:
        if wait or reader.done():
            reader.result()
