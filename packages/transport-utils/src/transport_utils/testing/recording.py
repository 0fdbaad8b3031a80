"""Backends without a network: they note what is asked of them and give prepared answers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TypeAlias

from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.errors import TransportClosed, TransportError
from transport_utils.headers import Headers
from transport_utils.messages import AsyncResponse, HeadLike, Request, Response, ResponseHead

__all__ = ["AsyncRecordingBackend", "Prepared", "RecordingBackend"]

Prepared: TypeAlias = (
    "int | tuple[int, bytes] | tuple[int, bytes, Mapping[str, str]] | TransportError"
)
"""One prepared answer."""


class _Recorder:
    """What both backends share: the notes and the answers."""

    name = "recording"

    def __init__(
        self,
        answers: Iterable[Prepared] = (),
    ) -> None:
        self._answers = list(answers)
        self.requests: list[tuple[Endpoint, Request]] = []
        self.forgotten: list[Endpoint] = []
        self.closed = False

    def _next(self, endpoint: Endpoint, request: Request) -> tuple[HeadLike, bytes]:
        if self.closed:
            raise TransportClosed("the backend has been closed", node=endpoint.base_url)
        self.requests.append((endpoint, request))
        answer = self._answers.pop(0) if len(self._answers) > 1 else (self._answers or [200])[0]
        if isinstance(answer, TransportError):
            answer.node, answer.method, answer.target = (
                endpoint.base_url,
                request.method,
                request.target,
            )
            raise answer
        if isinstance(answer, int):
            answer = (answer, b"")
        headers = answer[2] if len(answer) == 3 else None
        return ResponseHead(answer[0], "", "1.1", Headers(headers)), answer[1]

    def forget(self, endpoint: Endpoint) -> None:
        """Note that the endpoint was given up."""
        self.forgotten.append(endpoint)


class RecordingBackend(_Recorder):
    """A backend that answers from a list.

    Args:
        answers: What the exchanges bring, in order: a status, ``(status, body)``, ``(status, body, headers)``, or an
            error to raise; the last one is repeated. Without any, 200 with an empty body.

    Attributes:
        requests: ``(endpoint, request)`` of every exchange, in order.
        forgotten: Endpoints the transport has given up.
        closed: Whether the backend has been closed.
    """

    def request(self, endpoint: Endpoint, request: Request, deadline: Deadline) -> Response:
        """Note the request and return the next answer."""
        head, body = self._next(endpoint, request)
        return Response(head, body, endpoint.base_url)

    def close(self, drain_s: float = 0.0) -> None:
        """Refuse further requests."""
        self.closed = True


class AsyncRecordingBackend(_Recorder):
    """The asynchronous :class:`RecordingBackend`."""

    async def request(
        self, endpoint: Endpoint, request: Request, deadline: Deadline
    ) -> AsyncResponse:
        """Note the request and return the next answer."""
        head, body = self._next(endpoint, request)
        return AsyncResponse(head, body, endpoint.base_url)

    async def aclose(self, drain_s: float = 0.0) -> None:
        """Refuse further requests."""
        self.closed = True
