"""Errors of the v3io client.

::

    HttpResponseError                 the platform answered with a status that the caller does not accept
    ├── InvalidArgument       400     a malformed argument, expression or location
    │   ├── ConditionFailed   400     the condition of an update was false
    │   ├── ItemExists        400     CreateNewItemOnly met an existing item
    │   └── IllegalLocation   400     a stream location that has expired; seek again
    ├── Unauthorized          401
    ├── PermissionDenied      403
    ├── NotFound              404
    ├── Conflict              409     the stream exists, the directory is not empty
    ├── ServerError           5xx
    │   └── Overloaded        503     try again later
    ├── ObjectChanged                 an object changed while it was downloaded in parts
    └── UploadConflict                an object changed while it was uploaded in parts

Failures of the network are those of ``transport_utils.errors``; where 0.7 raised a more specific built-in exception,
the classes here are both::

    ClientClosed        TransportClosed and RuntimeError
    ConnectionBroken    transport_utils.errors.ConnectionReset and ConnectionResetError
    ConnectionRefused   transport_utils.errors.ConnectError and ConnectionRefusedError
    ConnectionStale     transport_utils.errors.StaleConnection and ConnectionBroken

Timeouts are ``transport_utils.errors.TimedOut``, which is a ``TimeoutError``; TLS failures are ``OSError``.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from transport_utils import errors as transport_errors

__all__ = [
    "ClientClosed",
    "ConditionFailed",
    "Conflict",
    "ConnectionBroken",
    "ConnectionRefused",
    "ConnectionStale",
    "HttpResponseError",
    "IllegalLocation",
    "InvalidArgument",
    "ItemExists",
    "NotFound",
    "ObjectChanged",
    "Overloaded",
    "PermissionDenied",
    "ServerError",
    "Unauthorized",
    "UploadConflict",
    "of_response",
    "of_transport",
]

CONDITION_FALSE_CODE = 16777244
"""Inner error code of a false condition, as it appears in the body (there negative)."""
ITEM_EXISTS_CODE = 369098809
"""Inner error code of CreateNewItemOnly on an existing item."""


class HttpResponseError(Exception):
    """The platform answered with a status that the caller's ``raise_for_status`` does not accept.

    Args:
        message: ``str()`` of the error; holds the body as 0.7 did, since callers match substrings of it.
        status_code: HTTP status; ``None`` when no response is involved.
        code: ``ErrorCode`` of the platform's error body, negative; ``None`` when there is none.
        error_message: ``ErrorMessage`` of that body; ``None`` when there is none.

    Source: ``v3io.dataplane.response.HttpResponseError`` of 0.7.2.
    """

    def __init__(
        self,
        message: str = "",
        status_code: int | None = None,
        *,
        code: int | None = None,
        error_message: str | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.status_code = status_code
        self.code = code
        self.error_message = error_message

    def __reduce__(self) -> tuple[Any, ...]:
        """Pickle with all attributes."""
        return type(self), (self.message, self.status_code), self.__dict__

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.message!r}, {self.status_code})"


class InvalidArgument(HttpResponseError):
    """400: an argument, expression or location is malformed."""


class ConditionFailed(InvalidArgument):
    """400 with inner code 16777244: the condition is false and there is no alternate expression."""


class ItemExists(InvalidArgument):
    """400 with inner code 369098809: ``CreateNewItemOnly`` met an existing item."""


class IllegalLocation(InvalidArgument):
    """400: the stream location lies before the oldest retained record; seek to ``EARLIEST``."""


class Unauthorized(HttpResponseError):
    """401: no access key, or an unknown one."""


class PermissionDenied(HttpResponseError):
    """403: the access key may not do this."""


class NotFound(HttpResponseError):
    """404: container, object, item, table, stream or shard does not exist."""


class Conflict(HttpResponseError):
    """409: the stream exists already, or a directory to be deleted is not empty."""


class ServerError(HttpResponseError):
    """5xx: the platform failed."""


class Overloaded(ServerError):
    """503: the platform asks to try again later."""


class ObjectChanged(HttpResponseError):
    """An object was replaced or changed between two parts of one download."""


class UploadConflict(HttpResponseError):
    """An object grew or shrank by another hand in the middle of an upload; what it holds is not to be trusted."""


class ClientClosed(transport_errors.TransportClosed, RuntimeError):
    """The client was closed before or during the call."""


class ConnectionBroken(transport_errors.ConnectionReset, ConnectionResetError):
    """The platform closed or reset the connection in the middle of an exchange."""


class ConnectionRefused(transport_errors.ConnectError, ConnectionRefusedError):
    """No connection could be opened: refused, unreachable."""


class ConnectionStale(transport_errors.StaleConnection, ConnectionBroken):
    """A kept-alive connection was closed by the platform before a byte of the answer came."""


_OF_TRANSPORT: Mapping[
    type[transport_errors.TransportError], type[transport_errors.TransportError]
] = {
    transport_errors.ConnectError: ConnectionRefused,
    transport_errors.ConnectionReset: ConnectionBroken,
    transport_errors.StaleConnection: ConnectionStale,
    transport_errors.TransportClosed: ClientClosed,
}
"""What is not here keeps its class: it has been of the right built-in family all along."""


def of_transport(error: transport_errors.TransportError) -> transport_errors.TransportError:
    """Return an error of the transport as this client raises it, with all its attributes and its cause."""
    kind = _OF_TRANSPORT.get(type(error))
    if kind is None:
        return error
    mapped = kind(error.message)
    mapped.__dict__.update(error.__dict__)
    mapped.__cause__ = error.__cause__
    return mapped


_BY_STATUS: Mapping[int, type[HttpResponseError]] = {
    400: InvalidArgument,
    401: Unauthorized,
    403: PermissionDenied,
    404: NotFound,
    409: Conflict,
    503: Overloaded,
}
_BY_BODY: tuple[tuple[re.Pattern[bytes], type[HttpResponseError]], ...] = (
    (re.compile(rb"\b%d\b" % CONDITION_FALSE_CODE), ConditionFailed),
    (re.compile(rb"\b%d\b" % ITEM_EXISTS_CODE), ItemExists),
    (re.compile(rb"IllegalLocationException"), IllegalLocation),
)


def of_response(status_code: int, headers: Mapping[str, str], body: bytes) -> HttpResponseError:
    """Return the error of a response, of the class that fits it.

    Args:
        status_code: HTTP status.
        headers: Response headers, looked up without regard to case.
        body: Undecoded body.
    """
    location = headers.get("Location") if 300 <= status_code <= 399 else None
    if 308 <= status_code <= 399:
        message = "Request failed due to a Permanent Redirect."
        if location:
            message += f" Please change URL to: {location}"
    else:
        message = f"Request failed with status {status_code}: {body!r}"
        if location:
            message += (
                f"; a redirect to {location}, which is not followed: the access key would go along"
            )
    kind = _BY_STATUS.get(status_code)
    if kind is InvalidArgument:
        kind = next((special for text, special in _BY_BODY if text.search(body)), kind)
    if kind is None:
        kind = ServerError if status_code >= 500 else HttpResponseError
    code, error_message = _parse_error(body)
    return kind(message, status_code, code=code, error_message=error_message)


def _parse_error(body: bytes) -> tuple[int | None, str | None]:
    try:
        parsed = json.loads(body)
    except ValueError:
        return None, None
    if not isinstance(parsed, dict):
        return None, None
    code, text = parsed.get("ErrorCode"), parsed.get("ErrorMessage")
    return (
        code if isinstance(code, int) else None,
        text if isinstance(text, str) else None,
    )
