"""The steps of deleting a stream, without I/O: list its directory page by page, delete every file, then itself.

Driven by ``stream.delete`` of the blocking and the asyncio client. 0.7.2 listed one page only and left the rest behind.
"""

from __future__ import annotations

from collections.abc import Callable, Generator, Mapping
from typing import Any, TypeAlias

from v3io.dataplane import output, request
from v3io.dataplane.flat import FlatCalls
from v3io.dataplane.response import Response
from v3io.paths import with_trailing_slash

__all__ = ["Step", "delete_steps", "send_steps"]

Step: TypeAlias = tuple[Callable[..., Any], Mapping[str, Any], Callable[[Any], Any] | None]
"""Encoder, its arguments, and the class of the answer."""


def delete_steps(stream_path: str) -> Generator[Step, Response, None]:
    """Yield the requests that delete a stream; the generator is sent each response, and ends after the last.

    Args:
        stream_path: Directory of the stream.
    """
    directory = with_trailing_slash(stream_path)
    marker: str | None = None
    while True:
        listing = yield (
            request.encode_get_container_contents,
            {
                "path": directory,
                "get_all_attributes": None,
                "directories_only": None,
                "limit": None,
                "marker": marker,
            },
            output.GetContainerContentsOutput,
        )
        if listing.status_code >= 300:
            return
        page = listing.output
        for content in page.contents if page is not None else ():
            yield request.encode_delete_object, {"path": content.key}, None
        if page is None or not page.truncated or page.next_marker in (None, marker):
            break
        marker = page.next_marker
    yield request.encode_delete_object, {"path": directory}, None


def send_steps(
    client: FlatCalls[Response, Any],
    container: str,
    access_key: str | None,
    raise_for_status: Any,
    steps: Generator[Step, Response, None],
) -> Response:
    """Send the steps one after the other through a blocking client; return the last response."""
    step = next(steps)
    while True:
        response = client._send(container, access_key, raise_for_status, None, *step)
        try:
            step = steps.send(response)
        except StopIteration:
            return response
