"""Every error of the client, with the historic names, bases and arguments.

::

    Exception
    ├── ImproperlyConfigured
    └── LoudMLException
        ├── SerializationError
        ├── JobError                         JobFailed, JobCanceled, JobTimeout
        └── TransportError                   (status_code, error, info)
            ├── ConnectionError              status "N/A"
            │   ├── SSLError
            │   └── ConnectionTimeout        status "TIMEOUT"
            └── RequestError 400 · AuthenticationException 401 · AuthorizationException 403 · NotFoundError 404
                · ConflictError 409

The connections raise them; :func:`from_transport` is the one table from the errors of transport-utils to these. They
pickle, keep their cause and never hold a credential. Source: loudml-python 1.6.3, ``errors``.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from transport_utils import errors as transport_errors

__all__ = [
    "HTTP_EXCEPTIONS",
    "AuthenticationException",
    "AuthorizationException",
    "ConflictError",
    "ConnectionError",
    "ConnectionTimeout",
    "ImproperlyConfigured",
    "JobCanceled",
    "JobError",
    "JobFailed",
    "JobTimeout",
    "LoudMLException",
    "NotFoundError",
    "RequestError",
    "SSLError",
    "SerializationError",
    "TransportError",
]


class ImproperlyConfigured(Exception):
    """An option is unknown, impossible or at odds with another; raised before anything is sent."""


class LoudMLException(Exception):
    """Root of all errors of a call."""

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with attributes; an argument that does not pickle is replaced by its text."""
        return _rebuild, (
            type(self),
            tuple(map(_picklable, self.args)),
            {name: _picklable(value) for name, value in self.__dict__.items()},
        )


class SerializationError(LoudMLException):
    """A body could not be encoded or decoded; ``args`` is ``(data, cause)`` or ``(message,)``.

    Attributes:
        status_code: Status of the response that could not be decoded; ``None`` for a request body.
        raw: The undecoded text of that response; ``None`` for a request body.
    """

    status_code: int | None = None
    raw: str | None = None


class TransportError(LoudMLException):
    """The server answered with a failure status, or (subclasses) did not answer; ``args`` is ``(status, error, info)``.

    Attributes:
        method: Request method; ``None`` where no request is involved.
        path: Path of the request, without host and query; ``None`` likewise.
        node: Base URL of the node that was tried last, without credentials; ``None`` before one was chosen.
        attempts: Statuses and errors of all attempts of the call, newest first; empty where a call makes only one.
        elapsed_s: Seconds since the call began; ``None`` when not measured.
        headers: Headers of the failure response, empty without one.
    """

    method: str | None = None
    path: str | None = None
    node: str | None = None
    attempts: tuple[object, ...] = ()
    elapsed_s: float | None = None
    headers: Mapping[str, str] = MappingProxyType({})

    @property
    def status_code(self) -> int | str:
        """HTTP status, or ``"N/A"`` / ``"TIMEOUT"`` when there was no answer."""
        status: int | str = self.args[0]
        return status

    @property
    def error(self) -> Any:
        """What the server said, or what failed."""
        return self.args[1] if len(self.args) > 1 else None

    @property
    def info(self) -> Any:
        """The decoded JSON of the error response (``None`` when it was none), or the exception that was the cause."""
        return self.args[2] if len(self.args) > 2 else None

    def __str__(self) -> str:
        return f"{type(self).__name__}({self.status_code}, {self.error!r})"


class ConnectionError(TransportError):
    """No usable answer: refused, reset, malformed; ``info`` is the cause."""

    def __str__(self) -> str:
        return f"ConnectionError({self.error}) caused by: {type(self.info).__name__}({self.info})"


class SSLError(ConnectionError):
    """The TLS handshake failed, or the certificate is not trusted."""


class ConnectionTimeout(ConnectionError):
    """A limit of time was reached; ``info`` is the cause and names the limit."""

    def __str__(self) -> str:
        return f"ConnectionTimeout caused by - {type(self.info).__name__}({self.info})"


class NotFoundError(TransportError):
    """404."""


class ConflictError(TransportError):
    """409."""


class RequestError(TransportError):
    """400."""


class AuthenticationException(TransportError):
    """401."""


class AuthorizationException(TransportError):
    """403."""


class JobError(LoudMLException):
    """A job did not end well.

    Args:
        message: What happened to which job, with the server's own text.
        job_id: The job.
    """

    def __init__(self, message: str, job_id: str) -> None:
        super().__init__(message)
        self.job_id = job_id


class JobFailed(JobError):
    """The server reports the job as failed."""


class JobCanceled(JobError):
    """The job was canceled."""


class JobTimeout(JobError):
    """The job had not ended when the time given to ``wait`` was over; it goes on running."""


HTTP_EXCEPTIONS: dict[int, type[TransportError]] = {
    400: RequestError,
    401: AuthenticationException,
    403: AuthorizationException,
    404: NotFoundError,
    409: ConflictError,
}
"""Status -> class; every other status outside 200..299 is a plain :class:`TransportError`."""

_TABLE: tuple[tuple[type[BaseException], type[ConnectionError], str], ...] = (
    (transport_errors.ConnectTimeout, ConnectionTimeout, "TIMEOUT"),
    (transport_errors.TimedOut, ConnectionTimeout, "TIMEOUT"),
    (transport_errors.TlsError, SSLError, "N/A"),
    (transport_errors.TransportError, ConnectionError, "N/A"),
)


def from_transport(
    cause: transport_errors.TransportError,
) -> LoudMLException | ImproperlyConfigured:
    """Return the historic error for an error of transport-utils; raise it ``from cause``.

    =====================================  =================================
    transport_utils.errors                 loudml.errors
    =====================================  =================================
    ``ConfigurationError``                 ``ImproperlyConfigured``
    ``SerializationError``                 ``SerializationError``
    ``TimedOut`` and its subclasses        ``ConnectionTimeout``
    ``TlsError`` and its subclasses        ``SSLError``
    every other                            ``ConnectionError``
    =====================================  =================================
    """
    if isinstance(cause, transport_errors.ConfigurationError):
        return ImproperlyConfigured(str(cause))
    if isinstance(cause, transport_errors.SerializationError):
        return SerializationError(str(cause))
    for theirs, ours, status in _TABLE:
        if isinstance(cause, theirs):
            error = ours(status, str(cause), cause)
            error.node = cause.node
            error.method = cause.method
            return error
    raise TypeError(f"not an error of transport-utils: {cause!r}")


def _picklable(value: object) -> object:
    import pickle  # only while an error is pickled

    try:
        pickle.dumps(value)
    except Exception:  # any failure to pickle has the same remedy
        return repr(value)
    return value


def _rebuild(
    cls: type[LoudMLException], args: tuple[Any, ...], state: dict[str, Any]
) -> LoudMLException:
    error = cls.__new__(cls, *args)
    error.args = args
    error.__dict__.update(state)
    return error
