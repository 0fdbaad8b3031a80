"""Request and response as every backend takes and returns them.

Used by the drivers, the backends and the clients' own wire layers. ``Headers`` is the multi-value, case-insensitive
mapping of :mod:`transport_utils.headers`.
"""

from __future__ import annotations

import dataclasses
from collections.abc import AsyncIterable, AsyncIterator, Callable, Iterable, Iterator, Mapping
from types import TracebackType
from typing import IO, Any, Protocol, TypeAlias

from transport_utils.deadline import DEFAULT_TIMEOUT, Timeout
from transport_utils.errors import SentState, TransportError
from transport_utils.headers import Headers

__all__ = [
    "AsyncBodySource",
    "AsyncResponse",
    "Body",
    "BodySource",
    "HeadLike",
    "Request",
    "Response",
    "ResponseHead",
    "ResponseMeta",
]

PIECE_BYTES = 65536
"""Longest piece that streaming yields unless told otherwise."""

Body: TypeAlias = (
    "bytes | bytearray | memoryview | Iterable[bytes] | AsyncIterable[bytes] | IO[bytes] | None"
)


@dataclasses.dataclass(slots=True)
class Request:
    """One HTTP request, without the node that will serve it.

    Args:
        method: Upper-case token.
        target: Origin form, percent-encoded: path with leading ``/`` and optional query. An endpoint's
            ``path_prefix`` is put in front by the backend.
        headers: Extra headers, on top of the endpoint's; a ``None`` value removes an inherited one.
        body: Whole bytes, or a file or iterable that is streamed (chunked unless ``content-length`` is given).
        timeout: Limits of the exchange; ``total`` is the driver's, a backend gets it as a deadline.
        stream: When true the backend returns after the header block and the body is read from the response.
        extensions: Options of one backend, by name; unknown ones are ignored by the others.
        idempotent: Whether repeating the request does no harm; ``None`` to go by the method. Looked at by the drivers.
    """

    method: str
    target: str
    headers: Mapping[str, str | None] | None = None
    body: Body = None
    timeout: Timeout = DEFAULT_TIMEOUT
    stream: bool = False
    extensions: Mapping[str, Any] | None = None
    idempotent: bool | None = None


@dataclasses.dataclass(slots=True)
class ResponseMeta:
    """Facts about a response and about how it was obtained.

    Args:
        status: HTTP status, 200..599.
        reason: Reason phrase as sent, may be empty.
        http_version: ``"1.1"`` or ``"1.0"`` (a backend that speaks HTTP/2 says ``"2"``).
        headers: Response headers, repeated ones kept.
        node: Base URL of the node that answered, without credentials.
        duration_s: Seconds from the start of the call to its end, all attempts included.
        attempts: Attempts made, >= 1.
        reused: Whether the connection had served a request before.
        decode_error: Why a non-2xx body was left undecoded; ``None`` otherwise.
    """

    status: int
    reason: str
    http_version: str
    headers: Headers
    node: str
    duration_s: float = 0.0
    attempts: int = 1
    reused: bool = False
    decode_error: str | None = None

    @property
    def mimetype(self) -> str:
        """Return the content type without parameters, lower case; empty when the server sent none."""
        value = self.headers.get("content-type") or ""
        return value.partition(";")[0].strip().lower()


class ResponseHead:
    """Status line and headers as a backend that does not parse them itself hands them over.

    Args:
        status: HTTP status.
        reason: Reason phrase, may be empty.
        http_version: ``"1.0"``, ``"1.1"`` or ``"2"``.
        headers: Response headers.
    """

    __slots__ = ("headers", "http_version", "reason", "status")

    @property
    def is_encoded(self) -> bool:
        """Whether the body has a content coding."""
        return "content-encoding" in self.headers

    def __init__(self, status: int, reason: str, http_version: str, headers: Headers) -> None:
        self.status = status
        self.reason = reason
        self.http_version = http_version
        self.headers = headers


class HeadLike(Protocol):
    """What :class:`Response` needs of a head: :class:`ResponseHead`, or ``h1.Head``, which decodes on first use."""

    @property
    def status(self) -> int:
        """HTTP status."""

    @property
    def reason(self) -> str:
        """Reason phrase, may be empty."""

    @property
    def http_version(self) -> str:
        """``"1.0"``, ``"1.1"`` or ``"2"``."""

    @property
    def headers(self) -> Headers:
        """Response headers."""

    @property
    def is_encoded(self) -> bool:
        """Whether the body has a content coding."""


class BodySource(Protocol):
    """Where a streamed body comes from; the backend's side of :class:`Response`."""

    def read(self, limit: int) -> bytes:
        """Return up to ``limit`` bytes, at least one; empty at the end. Closes itself at the end and on an error."""

    def read_into(self, buffer: memoryview) -> int:
        """Fill a part of ``buffer``, at least one byte, and return how many; 0 at the end."""

    def close(self) -> None:
        """Give the connection up unless the body has been read; idempotent."""


class AsyncBodySource(Protocol):
    """The asynchronous :class:`BodySource`."""

    async def read(self, limit: int) -> bytes:
        """See :meth:`BodySource.read`."""

    def close(self) -> None:
        """See :meth:`BodySource.close`."""


class _ResponseFacts:
    """What both kinds of response share: everything but reading a streamed body."""

    __slots__ = (
        "_content",
        "_headers",
        "_meta",
        "_source",
        "attempts",
        "decode_error",
        "duration_s",
        "head",
        "node",
        "reused",
        "status",
    )

    def __init__(
        self,
        head: HeadLike,
        content: bytes | None,
        node: str,
        reused: bool = False,
        source: Any = None,
    ) -> None:
        self.head = head
        self.status = head.status
        self.node = node
        self.reused = reused
        self.duration_s = 0.0
        self.attempts = 1
        self.decode_error: str | None = None
        self._content = content
        self._source = source
        self._headers: Headers | None = None
        self._meta: ResponseMeta | None = None

    @property
    def reason(self) -> str:
        """Reason phrase as sent, may be empty."""
        return self.head.reason

    @property
    def headers(self) -> Headers:
        """Response headers, repeated ones kept."""
        if self._headers is None:
            self._headers = self.head.headers
        return self._headers

    @property
    def meta(self) -> ResponseMeta:
        """The facts of this response without its body; picklable."""
        if self._meta is None:
            head = self.head
            self._meta = ResponseMeta(
                self.status,
                head.reason,
                head.http_version,
                self.headers,
                self.node,
                self.duration_s,
                self.attempts,
                self.reused,
                self.decode_error,
            )
        return self._meta

    @property
    def sent(self) -> SentState:
        """How far the exchange got: a response began."""
        return SentState.RESPONSE_STARTED

    def note_attempts(self, attempts: int) -> None:
        """Note how many attempts the call has made."""
        self.attempts = attempts
        self._meta = None

    def replace_content(self, content: bytes) -> None:
        """Put a decoded body in the place of the one received."""
        self._content = content

    def wrap_source(self, wrap: Callable[[Any], Any]) -> None:
        """Put ``wrap(source)`` in the place of the source of a streamed body."""
        self._source = wrap(self._source)

    def give_up(self) -> None:
        """Close a streamed body that nobody will read, and its connection with it."""
        if self._source is not None:
            self._source.close()

    @property
    def is_streaming(self) -> bool:
        """Whether the body is still to be read from the connection."""
        return self._content is None

    def __repr__(self) -> str:
        size = "streaming" if self._content is None else f"{len(self._content)} bytes"
        return f"<{type(self).__name__} {self.status} from {self.node}, {size}>"


class Response(_ResponseFacts):
    """One response.

    A streamed response (``Request.stream``) holds a connection until its body has been read to the end or
    :meth:`close` is called; use it as a context manager. Not thread-safe while it streams.

    Attributes:
        head: Status line and headers as the backend gave them.
        status: HTTP status.
        node: Base URL of the node that answered.
        reused: Whether the connection had served a request before.
        duration_s: See :class:`ResponseMeta`.
        attempts: See :class:`ResponseMeta`.
        decode_error: See :class:`ResponseMeta`.
    """

    __slots__ = ()

    @property
    def content(self) -> bytes:
        """The whole body; reads it first if it is streamed.

        Raises:
            TransportError: The body could not be read, or a part of it was already taken by another method.
        """
        if self._content is None:
            source = self._take_source()
            pieces = []
            while piece := source.read(PIECE_BYTES * 4):
                pieces.append(piece)
            self._content = b"".join(pieces)
        return self._content

    def iter_bytes(self, limit: int = PIECE_BYTES) -> Iterator[bytes]:
        """Yield the body in pieces of 1 to ``limit`` bytes, as they arrive.

        Raises:
            TransportError: As for :attr:`content`.
        """
        if self._content is not None:
            for at in range(0, len(self._content), limit):
                yield self._content[at : at + limit]
            return
        source = self._take_source()
        try:
            while piece := source.read(limit):
                yield piece
        finally:
            source.close()

    def read_into(self, buffer: bytearray | memoryview) -> int:
        """Read the body into ``buffer`` and return its length; a streamed one without a copy in between.

        Args:
            buffer: Writable, at least as long as the body.

        Raises:
            ValueError: The body is longer than the buffer; a streamed one is given up.
            TransportError: As for :attr:`content`.
        """
        view = memoryview(buffer).cast("B")
        if self._content is not None:
            if len(self._content) > len(view):
                raise ValueError(f"the body has {len(self._content)} bytes, the buffer {len(view)}")
            view[: len(self._content)] = self._content
            return len(self._content)
        source = self._take_source()
        done = 0
        try:
            while done < len(view):
                count = source.read_into(view[done:])
                if not count:
                    return done
                done += count
            if source.read(1):
                raise ValueError(f"the body is longer than the buffer of {len(view)} bytes")
            return done
        finally:
            source.close()

    def close(self) -> None:
        """Give up a body that has not been read to its end, and its connection with it; idempotent."""
        self.give_up()

    def _take_source(self) -> BodySource:
        source: BodySource | None = self._source
        self._source = None
        if source is None:
            raise _already_taken(self)
        return source

    def __enter__(self) -> Response:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class AsyncResponse(_ResponseFacts):
    """One response of the asynchronous transport; see :class:`Response`.

    Belongs to the event loop that made it.
    """

    __slots__ = ()

    @property
    def content(self) -> bytes:
        """The whole body.

        Raises:
            TransportError: It is streamed and has not been read: ``await response.read()`` first.
        """
        if self._content is None:
            raise TransportError(
                "the body is streamed: await response.read() first", node=self.node
            )
        return self._content

    async def read(self) -> bytes:
        """Return the whole body; reads it first if it is streamed.

        Raises:
            TransportError: The body could not be read, or a part of it was already taken by another method.
        """
        if self._content is None:
            self._content = b"".join([piece async for piece in self.aiter_bytes(PIECE_BYTES * 4)])
        return self._content

    async def aiter_bytes(self, limit: int = PIECE_BYTES) -> AsyncIterator[bytes]:
        """Yield the body in pieces of 1 to ``limit`` bytes, as they arrive.

        Raises:
            TransportError: As for :meth:`read`.
        """
        if self._content is not None:
            for at in range(0, len(self._content), limit):
                yield self._content[at : at + limit]
            return
        source: AsyncBodySource | None = self._source
        self._source = None
        if source is None:
            raise _already_taken(self)
        try:
            while piece := await source.read(limit):
                yield piece
        finally:
            source.close()

    async def read_into(self, buffer: bytearray | memoryview) -> int:
        """Read the body into ``buffer`` and return its length.

        Raises:
            ValueError: The body is longer than the buffer; a streamed one is given up.
            TransportError: As for :meth:`read`.
        """
        view = memoryview(buffer).cast("B")
        done = 0
        pieces = self.aiter_bytes()
        try:
            async for piece in pieces:
                if done + len(piece) > len(view):
                    raise ValueError(f"the body is longer than the buffer of {len(view)} bytes")
                view[done : done + len(piece)] = piece
                done += len(piece)
        finally:
            await pieces.aclose()  # type: ignore[attr-defined]
        return done

    async def aclose(self) -> None:
        """Give up a body that has not been read to its end, and its connection with it; idempotent."""
        self.give_up()

    async def __aenter__(self) -> AsyncResponse:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.aclose()


def _already_taken(response: _ResponseFacts) -> TransportError:
    return TransportError(
        "the streamed body was already taken or given up", node=response.node, meta=response.meta
    )
