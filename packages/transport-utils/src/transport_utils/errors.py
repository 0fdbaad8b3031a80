"""Every error of the transport, one tree.

::

    TransportError
    ├── ConfigurationError (ValueError)      an option is wrong; raised at construction, before any I/O
    ├── TransportClosed                      used after, or interrupted by, close()
    ├── SerializationError                   a body could not be encoded or decoded
    ├── BodyNotReplayable                    a retry would need a body that can only be read once
    ├── ConnectionFailed (OSError)           the network said no
    │   ├── DnsError  ConnectError  ConnectionReset  StaleConnection  ProxyError
    │   └── TlsError
    │       ├── CertificateError  FingerprintMismatch
    ├── TimedOut (TimeoutError)              a limit of Timeout was reached
    │   ├── PoolTimeout  ConnectTimeout  WriteTimeout  ReadTimeout  TotalTimeout
    ├── ProtocolError                        the bytes are not the HTTP we accept
    │   ├── BadResponse  TruncatedBody  HeaderTooLarge  DecodeBomb  LocalProtocolError
    ├── NoNodeAvailable                      every node was refused, with the reason of each
    ├── DiscoveryError                       the list of nodes could not be fetched
    ├── RetryAfterExceeded                   the server asks for a longer pause than allowed
    ├── RetryBudgetExhausted                 the retry budget is empty
    └── HttpStatusError                      the server answered with a failure status (only for clients that ask)

Clients map this tree to their historic classes in one table each. Policy floor: standard library only.

Source: section 4.6 of the transport reference; ``attempts`` newest first follows elastic-transport.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

__all__ = [
    "BadResponse",
    "BodyNotReplayable",
    "CertificateError",
    "ConfigurationError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionFailed",
    "ConnectionReset",
    "DecodeBomb",
    "DiscoveryError",
    "DnsError",
    "FingerprintMismatch",
    "HeaderTooLarge",
    "HttpStatusError",
    "LocalProtocolError",
    "NoNodeAvailable",
    "PoolTimeout",
    "ProtocolError",
    "ProxyError",
    "ReadTimeout",
    "RetryAfterExceeded",
    "RetryBudgetExhausted",
    "SentState",
    "SerializationError",
    "StaleConnection",
    "TimedOut",
    "TlsError",
    "TotalTimeout",
    "TransportClosed",
    "TransportError",
    "TruncatedBody",
    "WriteTimeout",
]


class SentState(enum.IntEnum):
    """How far a request got before it failed; ordered, so ``sent >= PARTIAL`` asks "may it have been applied?"."""

    NOT_SENT = 0
    """No byte left this process: resending is always safe."""
    PARTIAL = 1
    """Some bytes were written; the server cannot have had the whole request, but may act on a part."""
    SENT = 2
    """Everything was written and nothing came back: the server may have applied it."""
    RESPONSE_STARTED = 3
    """An answer began and did not complete: the server has most likely applied it."""


class TransportError(Exception):
    """Root of all errors of the transport.

    Args:
        message: What failed, on what, and what to try; the attempt figures are added by ``str()``.
        node: Base URL of the node without credentials; ``None`` before one was chosen.
        method: Request method; ``None`` when no request is involved.
        target: Path and query as sent; ``None`` when no request is involved.
        sent: How far the last attempt got.
        attempts: Errors or statuses of the earlier attempts of the call, newest first; empty when the first one failed.
        attempt_limit: The most attempts the policy would have made; 0 when it is not known.
        elapsed_s: Seconds since the call began; ``None`` when not measured.
        meta: Facts of the last response (status, headers, ...) if one arrived; kept also when a later attempt failed.
        body: Undecoded body of that response.

    Errors pickle, with their attributes; ``__cause__`` is dropped by pickling as for every Python exception, so its
    text is part of the message.
    """

    def __init__(
        self,
        message: str,
        *,
        node: str | None = None,
        method: str | None = None,
        target: str | None = None,
        sent: SentState = SentState.NOT_SENT,
        attempts: tuple[object, ...] = (),
        attempt_limit: int = 0,
        elapsed_s: float | None = None,
        meta: Any = None,
        body: bytes | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.node = node
        self.method = method
        self.target = target
        self.sent = sent
        self.attempts = attempts
        self.attempt_limit = attempt_limit
        self.elapsed_s = elapsed_s
        self.meta = meta
        self.body = body

    def __reduce__(self) -> tuple[Any, ...]:
        """Rebuild without calling ``__init__``, so that subclasses with other signatures pickle too."""
        return _rebuild, (type(self), self.args, self.__dict__)

    def __str__(self) -> str:
        """Return the message with node, attempt count, sent state and elapsed time where they are known."""
        parts = []
        if self.method is not None:
            # What was refused for its control characters must not bring them into a log.
            parts.append(f"{self.method} {self.target}".encode("unicode_escape").decode("ascii"))
        if self.node is not None and self.node not in self.message:
            parts.append(f"on {self.node}")
        details = []
        if self.attempts or self.attempt_limit:
            limit = f" of {self.attempt_limit}" if self.attempt_limit else ""
            details.append(f"attempt {len(self.attempts) + 1}{limit}")
        if self.method is not None:
            details.append(_SENT_TEXT[self.sent])
        if self.elapsed_s is not None:
            details.append(f"total {self.elapsed_s:.1f} s")
        head = " ".join(parts)
        tail = f" ({', '.join(details)})" if details else ""
        return f"{self.message}{': ' + head if head else ''}{tail}"


_SENT_TEXT: Mapping[SentState, str] = {
    SentState.NOT_SENT: "nothing sent",
    SentState.PARTIAL: "request partly sent",
    SentState.SENT: "request fully sent",
    SentState.RESPONSE_STARTED: "response begun",
}


def _rebuild(
    cls: type[TransportError], args: tuple[Any, ...], state: dict[str, Any]
) -> TransportError:
    error = cls.__new__(cls)
    Exception.__init__(error, *args)
    error.__dict__.update(state)
    return error


class ConfigurationError(TransportError, ValueError):
    """An option is unknown, of the wrong type, out of range or at odds with another; nothing was opened."""


class TransportClosed(TransportError):
    """The transport was closed before or during the call."""


class SerializationError(TransportError):
    """A body could not be encoded, or a 2xx body could not be decoded; ``meta`` and ``body`` hold the answer."""


class BodyNotReplayable(TransportError):
    """A retry is due, but the body came from an iterator or file that cannot be rewound."""


class ConnectionFailed(TransportError, OSError):
    """The network failed; the subclass says in which phase."""


class DnsError(ConnectionFailed):
    """The host name does not resolve."""


class ConnectError(ConnectionFailed):
    """No connection could be opened: refused, unreachable."""


class ConnectionReset(ConnectionFailed):
    """The peer closed or reset a connection in the middle of an exchange."""


class StaleConnection(ConnectionReset):
    """A kept-alive connection was already closed by the peer: not one byte of an answer came back."""


class ProxyError(ConnectionFailed):
    """The proxy refused or failed."""


class TlsError(ConnectionFailed):
    """The TLS handshake failed."""


class CertificateError(TlsError):
    """The peer's certificate is not trusted, expired, or of another host."""


class FingerprintMismatch(TlsError):
    """None of the pinned fingerprints matches the peer's certificate."""


class TimedOut(TransportError, TimeoutError):
    """A limit of :class:`~transport_utils.deadline.Timeout` was reached; the subclass says which."""


class PoolTimeout(TimedOut):
    """No connection of the pool became free in time; says nothing about the node's health."""


class ConnectTimeout(TimedOut):
    """The connection (name look-up, TCP, TLS) did not open in time; nothing was sent."""


class WriteTimeout(TimedOut):
    """The peer did not take the request's bytes in time."""


class ReadTimeout(TimedOut):
    """The peer sent nothing for the read timeout."""


class TotalTimeout(TimedOut):
    """The whole call, with pool wait, retries and pauses, did not end in time."""


class ProtocolError(TransportError):
    """The bytes on the wire are not HTTP as we accept it; the connection was closed."""


class BadResponse(ProtocolError):
    """The response is malformed."""


class TruncatedBody(ProtocolError):
    """The connection ended before the announced end of the body."""


class HeaderTooLarge(ProtocolError):
    """Status line, header block, header count or trailers exceed the limits."""


class DecodeBomb(ProtocolError):
    """A compressed body grows beyond the allowed size or ratio."""


class LocalProtocolError(ProtocolError, ValueError):
    """Our own request is not valid HTTP (for example CR or LF in a header); it was not sent."""


class NoNodeAvailable(TransportError):
    """No node may be used; ``attempts`` holds the reason of each."""


class DiscoveryError(TransportError):
    """The current list of nodes could not be fetched from any node."""


class RetryAfterExceeded(TransportError):
    """The server's ``Retry-After`` is longer than the policy or the deadline allows.

    Args:
        message: See :class:`TransportError`.
        delay_s: The pause the server asked for, seconds.
        kwargs: See :class:`TransportError`.
    """

    def __init__(self, message: str, *, delay_s: float, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.delay_s = delay_s


class RetryBudgetExhausted(TransportError):
    """A retry was due, but recent failures have used up the retry budget."""


class HttpStatusError(TransportError):
    """The server answered with a failure status; raised only by clients that ask for it.

    ``status`` is the HTTP status; ``meta`` and ``body`` hold the answer.
    """

    def __init__(self, message: str, *, status: int, **kwargs: Any) -> None:
        super().__init__(message, **kwargs)
        self.status = status
