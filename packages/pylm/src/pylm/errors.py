"""Every error of pylm: one root, one class per thing that can happen to a message.

::

    PylmError (transport_utils.errors.TransportError)
    ├── RemoteError              the remote function raised; its type, text and traceback came back
    ├── UnknownFunction          no callable function of that name there, or the route is malformed
    ├── WrongServer (ValueError) the message or the client names another server
    ├── WrongType (TypeError)    an argument or a result is not of the declared type, or not bytes
    ├── TooLarge                 a message exceeds the limit
    ├── TimedOut (TimeoutError)  the deadline of a call passed
    ├── WorkerLost               the worker died with the job, which was not allowed to run again
    ├── Overloaded               a queue is full and the policy says not to wait
    ├── Undelivered              an answer found no reader in time
    ├── Malformed                bytes that are not an envelope
    └── Closed                   used after, or interrupted by, close()

Servers turn failures into the :class:`Failure` record of the envelope, clients turn it back: both through this module.
"""

from __future__ import annotations

import os
import traceback as _traceback
import types
from typing import Any

import transport_utils.errors

from pylm._proto.palm_new_pb2 import Failure

__all__ = [
    "Closed",
    "Malformed",
    "Overloaded",
    "PylmError",
    "RemoteError",
    "TimedOut",
    "TooLarge",
    "Undelivered",
    "UnknownFunction",
    "WorkerLost",
    "WrongServer",
    "WrongType",
]


class PylmError(transport_utils.errors.TransportError):
    """Root of pylm's errors; see the module's table.

    Args:
        message: What failed, on what, after how long, and what to try.
        remote_type: Class of the remote exception, ``module.Name``; empty when nothing was raised there.
        remote_traceback: Its formatted traceback; empty when there is none.
        server: Name of the server or worker that failed; empty when the failure is local.
        function: Function of that server.
        stage: Position in the pipeline, counted from 0.
        kwargs: See :class:`transport_utils.errors.TransportError`.
    """

    def __init__(
        self,
        message: str,
        *,
        remote_type: str = "",
        remote_traceback: str = "",
        server: str = "",
        function: str = "",
        stage: int = 0,
        **kwargs: Any,
    ) -> None:
        super().__init__(message, **kwargs)
        self.remote_type = remote_type
        self.remote_traceback = remote_traceback
        self.server = server
        self.function = function
        self.stage = stage

    def __str__(self) -> str:
        """Return the message, followed by the remote traceback where there is one."""
        text = super().__str__()
        return f"{text}\n\n{self.remote_traceback.rstrip()}" if self.remote_traceback else text


class RemoteError(PylmError):
    """A remote function raised; ``remote_type`` and ``remote_traceback`` say what and where."""


class UnknownFunction(PylmError):
    """The named function does not exist there, may not be called from outside, or the route is malformed."""


class WrongServer(PylmError, ValueError):
    """A message for another server arrived, or a client was given the address of another server."""


class WrongType(PylmError, TypeError):
    """An argument or a result is not of the declared type; without a serializer only ``bytes`` travel."""


class TooLarge(PylmError):
    """A message exceeds the size limit of the side that refused it."""


class TimedOut(PylmError, transport_utils.errors.TimedOut):
    """A deadline passed; whether the job ran is unknown unless ``sent`` says it was never sent."""


class WorkerLost(PylmError):
    """The worker stopped answering with the job in its hands; resend it only if running it twice is harmless."""


class Overloaded(PylmError):
    """A queue is at its high-water mark and the chosen policy is not to wait."""


class Undelivered(PylmError):
    """No reader subscribed to an answer in time."""


class Malformed(PylmError):
    """The bytes are not an envelope of either generation."""


class Closed(PylmError):
    """The client or server was closed before or during the call."""


_KINDS: dict[str, type[PylmError]] = {
    kind.__name__: kind
    for kind in (
        RemoteError,
        UnknownFunction,
        WrongServer,
        WrongType,
        TooLarge,
        TimedOut,
        WorkerLost,
        Overloaded,
        Undelivered,
        Malformed,
        Closed,
    )
}

_TRACEBACK_LIMIT = 64 * 1024
_OWN_FOLDER = os.path.dirname(__file__) + os.sep


def to_failure(error: BaseException, *, server: str, function: str, stage: int = 0) -> Failure:
    """Return the record that carries ``error`` to the client; a foreign exception becomes a ``RemoteError``."""
    failure = Failure(server=server, function=function, stage=stage)
    if isinstance(error, PylmError):
        failure.kind = type(error).__name__
        failure.text = error.message
        failure.type = error.remote_type
        failure.traceback = error.remote_traceback
        return failure
    kind = type(error)
    failure.kind = "RemoteError"
    failure.type = f"{kind.__module__}.{kind.__qualname__}"
    failure.text = str(error).encode(errors="replace").decode()[:_TRACEBACK_LIMIT]
    text = "".join(_traceback.format_exception(kind, error, user_traceback(error)))
    failure.traceback = text.encode(errors="replace").decode()[-_TRACEBACK_LIMIT:]
    return failure


def user_traceback(error: BaseException) -> types.TracebackType | None:
    """Return the traceback without our own frames at its top: it begins in the user's function."""
    trace = error.__traceback__
    while (
        trace is not None
        and trace.tb_next is not None
        and trace.tb_frame.f_code.co_filename.startswith(_OWN_FOLDER)
    ):
        trace = trace.tb_next
    return trace


def from_failure(failure: Failure) -> PylmError:
    """Return the exception a client raises for ``failure``; an unknown kind becomes a :class:`RemoteError`."""
    kind = _KINDS.get(failure.kind, RemoteError)
    where = f"{failure.server}.{failure.function}" if failure.function else failure.server
    head = f"{failure.type}: {failure.text}" if failure.type else failure.text
    return kind(
        f"{where} failed: {head}" if kind is RemoteError else head,
        remote_type=failure.type,
        remote_traceback=failure.traceback,
        server=failure.server,
        function=failure.function,
        stage=failure.stage,
    )
