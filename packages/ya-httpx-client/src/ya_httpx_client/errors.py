"""How failures reach the caller: as the error classes of the HTTP library the request was made with.

Inside this package failures are those of :mod:`transport_utils.errors`, which know how far a request got.
:data:`HTTPX_NAMES` maps each to the name of a class of httpx (or httpx2, or another library with httpx's tree);
:func:`to_httpx` makes one, with the request attached and what happened on every provider in its message and in its
``attempts``.
"""

from __future__ import annotations

import dataclasses
import sys
from collections.abc import Sequence
from types import ModuleType
from typing import Any

from transport_utils import errors

__all__ = ["HTTPX_NAMES", "Attempt", "library_of", "to_httpx"]

HTTPX_NAMES: dict[type[errors.TransportError], str] = {
    errors.BadResponse: "RemoteProtocolError",
    errors.BodyNotReplayable: "WriteError",
    errors.ConnectError: "ConnectError",
    errors.ConnectTimeout: "ConnectTimeout",
    errors.ConnectionReset: "RemoteProtocolError",
    errors.HeaderTooLarge: "RemoteProtocolError",
    errors.LocalProtocolError: "LocalProtocolError",
    errors.NoNodeAvailable: "ConnectError",
    errors.PoolTimeout: "PoolTimeout",
    errors.ReadTimeout: "ReadTimeout",
    errors.StaleConnection: "RemoteProtocolError",
    errors.TotalTimeout: "PoolTimeout",
    errors.TransportClosed: "ConnectError",
    errors.TruncatedBody: "RemoteProtocolError",
    errors.WriteTimeout: "WriteTimeout",
}
"""Every error that can leave this package -> name of the httpx class the caller sees."""


@dataclasses.dataclass(frozen=True, slots=True)
class Attempt:
    """One execution of a request, or an attempt that did not get that far.

    Attributes:
        provider: Name of the provider.
        sent: How far the request got.
        elapsed_s: From the moment a provider was at hand until the failure, seconds.
        error: What happened, as text.
    """

    provider: str
    sent: errors.SentState
    elapsed_s: float
    error: str

    def __str__(self) -> str:
        progress = self.sent.name.lower().replace("_", " ")
        return f"{self.provider}: {self.error} (request {progress}, {self.elapsed_s:.2f} s)"


def library_of(value: Any) -> ModuleType:
    """Return the HTTP library an object comes from: ``httpx``, ``httpx2`` ... by the class's module.

    A subclass made by the user counts for the library of its base class.

    Raises:
        TypeError: None of its classes belongs to a library with httpx's names.
    """
    for kind in type(value).__mro__:
        module = sys.modules.get(kind.__module__.partition(".")[0])
        if module is not None and hasattr(module, "AsyncBaseTransport"):
            return module
    raise TypeError(f"{type(value)!r} is no request of httpx or a library like it")


def to_httpx(
    error: errors.TransportError, request: Any, attempts: Sequence[Attempt] = ()
) -> Exception:
    """Return the httpx error for a failure.

    Args:
        error: What happened last.
        request: The request the caller made; its library decides whose classes are used.
        attempts: What happened on each provider, oldest first; kept as ``attempts`` of the result.
    """
    library = library_of(request)
    for kind in type(error).__mro__:
        if name := HTTPX_NAMES.get(kind):
            break
    else:
        name = "TransportError"
    message = error.args[0] if error.args else str(error)
    if len(attempts) > 1 or (attempts and attempts[-1].error not in message):
        message += "; tried " + "; ".join(str(attempt) for attempt in attempts)
    made: Exception = getattr(library, name)(message, request=request)
    made.attempts = tuple(attempts)  # type: ignore[attr-defined]
    made.__cause__ = error
    return made
