"""Every refusal of the web API: status, error code and text, with the body the platform sends.

Raised anywhere below :mod:`mock_servers.v3io.app`, which turns it into the reply. Clients match substrings of these
messages (``Container not found``, ``ResourceNotFound``, ``16777244`` ...): they are part of the protocol.
"""

from __future__ import annotations

import json

__all__ = [
    "ServiceError",
    "condition_failed",
    "container_not_found",
    "illegal_location",
    "invalid_argument",
    "invalid_shard_count",
    "item_exists",
    "no_such_file",
    "not_a_stream",
    "not_empty",
    "permission_denied",
    "range_past_end",
    "resource_in_use",
    "resource_not_found",
    "shard_out_of_range",
    "unauthorized",
    "unsupported_function",
]

NO_ENTRY = -2
NO_ACCESS = -13
EXISTS = -17
BAD_ARGUMENT = -22
NOT_EMPTY = -39
CONDITION_FALSE = -16777244
ITEM_EXISTS = -369098809


class ServiceError(Exception):
    """A refusal.

    Args:
        status: HTTP status.
        code: The negative ``ErrorCode`` of the body.
        message: The ``ErrorMessage`` of the body.
    """

    def __init__(self, status: int, code: int, message: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message

    def body(self) -> bytes:
        """Return the JSON body, indented by tabs as the platform writes it."""
        return json.dumps(
            {"ErrorCode": self.code, "ErrorMessage": self.message}, indent="\t"
        ).encode()


def unauthorized() -> ServiceError:
    """No credentials, or unknown ones."""
    return ServiceError(401, NO_ACCESS, "Unauthorized: missing or unknown access key")


def permission_denied() -> ServiceError:
    """The key is known and may not do this here."""
    return ServiceError(403, NO_ACCESS, "Permission denied")


def container_not_found(name: str) -> ServiceError:
    """The first segment of the path names no container."""
    return ServiceError(404, NO_ENTRY, f"Container not found: {name}")


def no_such_file(path: str) -> ServiceError:
    """No object, item or directory of that path."""
    return ServiceError(404, NO_ENTRY, f"No such file or directory: {path}")


def resource_not_found(path: str) -> ServiceError:
    """No table, stream or shard of that path."""
    return ServiceError(404, NO_ENTRY, f"ResourceNotFoundException: {path} does not exist")


def resource_in_use(path: str) -> ServiceError:
    """The stream, or something else of its name, exists."""
    return ServiceError(409, EXISTS, f"ResourceInUseException: {path} already exists")


def not_a_stream(path: str) -> ServiceError:
    """A stream function on something else."""
    return ServiceError(400, BAD_ARGUMENT, f"ResourceNotStreamException: {path} is not a stream")


def condition_failed() -> ServiceError:
    """The condition is false and there is no alternate expression."""
    return ServiceError(400, CONDITION_FALSE, "Condition evaluated to false")


def item_exists(path: str) -> ServiceError:
    """CreateNewItemOnly on an item that exists; the inner code is quoted in the text, as clients look for it there."""
    return ServiceError(
        400, EXISTS, f"Failed to create {path}: ErrorCode {ITEM_EXISTS}, the item exists"
    )


def invalid_shard_count(asked: object, present: int) -> ServiceError:
    """A stream can only grow."""
    return ServiceError(
        400,
        BAD_ARGUMENT,
        f"InvalidShardCountException: {asked!r} is not a number of shards above {present}",
    )


def shard_out_of_range(shard: object, count: int) -> ServiceError:
    """The shard number is not below the shard count."""
    return ServiceError(
        404,
        NO_ENTRY,
        f"ResourceNotFoundException: ShardIDRangeException: shard {shard} is not in 0..{count - 1}",
    )


def illegal_location(reason: str) -> ServiceError:
    """The location is malformed, of another shard, or its records have expired."""
    return ServiceError(400, BAD_ARGUMENT, f"IllegalLocationException: {reason}")


def invalid_argument(reason: str) -> ServiceError:
    """Anything wrong with the request itself."""
    return ServiceError(400, BAD_ARGUMENT, f"InvalidArgumentException: {reason}")


def not_empty(path: str) -> ServiceError:
    """DELETE of a directory that holds something."""
    return ServiceError(409, NOT_EMPTY, f"Directory not empty: {path}")


def range_past_end(start: int, size: int) -> ServiceError:
    """A range that begins at or after the end."""
    return ServiceError(
        416, BAD_ARGUMENT, f"Range begins at {start} and the object has {size} bytes"
    )


def unsupported_function(name: str) -> ServiceError:
    """An ``X-v3io-function`` that this server does not know."""
    return ServiceError(501, BAD_ARGUMENT, f"Function {name!r} is not supported")
