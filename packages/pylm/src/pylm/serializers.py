"""Payload formats by name: bytes (the default), ``json``, ``msgpack``, and ``pickle`` for those who insist.

A client names the format, the envelope carries the name, servers decode and encode with it. ``pickle`` runs code of
whoever sends it: a server refuses it until :func:`allow_pickle` was called in its process.
"""

from __future__ import annotations

import dataclasses
import json
import warnings
from collections.abc import Callable
from typing import Any

from pylm.errors import WrongType

__all__ = ["Serializer", "allow_pickle", "lookup", "names", "register"]


@dataclasses.dataclass(frozen=True, slots=True)
class Serializer:
    """One payload format.

    Args:
        name: As it travels in the envelope.
        dumps: Object to bytes.
        loads: Bytes to object.
        has_none: ``None`` is a value of the format, so a function may return it as a result.
    """

    name: str
    dumps: Callable[[Any], bytes]
    loads: Callable[[bytes], Any]
    has_none: bool = True


_registry: dict[str, Serializer] = {}
_pickle_allowed = False


def register(serializer: Serializer) -> None:
    """Add or replace a format; both sides of a call need it."""
    _registry[serializer.name] = serializer


def names() -> list[str]:
    """Return the names that :func:`lookup` knows, sorted."""
    return sorted({*_registry, "json", "msgpack", "pickle"})


def allow_pickle() -> None:
    """Let this process read and write pickled payloads; whoever reaches its ports can then run code in it.

    Warns:
        UserWarning: Always, so that it is not done unnoticed.
    """
    global _pickle_allowed
    warnings.warn(
        "pickled payloads run code of whoever sends them; use CURVE keys and trusted peers only",
        UserWarning,
        stacklevel=2,
    )
    _pickle_allowed = True


def lookup(name: str) -> Serializer:
    """Return the format of that name.

    Raises:
        WrongType: It is unknown here, its library is not installed, or it is pickle and was not allowed.
    """
    if name == "pickle" and not _pickle_allowed:
        raise WrongType("pickled payloads are refused here; see pylm.serializers.allow_pickle")
    found = _registry.get(name)
    if found is None:
        found = _build(name)
        if found is None:
            raise WrongType(f"unknown serializer {name!r}; known are {', '.join(names())}")
        _registry[name] = found
    return found


def _build(name: str) -> Serializer | None:
    if name == "json":
        return Serializer("json", _json_bytes, _guard(json.loads, "JSON"))
    if name == "pickle":
        import pickle

        return Serializer("pickle", pickle.dumps, pickle.loads)
    if name == "msgpack":
        try:
            import msgpack
        except ImportError as error:
            raise WrongType(
                "the msgpack serializer needs the extra: pip install pylm[msgpack]"
            ) from error
        return Serializer("msgpack", msgpack.packb, _guard(msgpack.unpackb, "msgpack"))
    return None


def _json_bytes(value: Any) -> bytes:
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except (TypeError, ValueError) as error:
        raise WrongType(f"{type(value).__name__} cannot be written as JSON: {error}") from error


def _guard(loads: Callable[[bytes], Any], label: str) -> Callable[[bytes], Any]:
    def load(data: bytes) -> Any:
        try:
            return loads(data)
        except Exception as error:
            raise WrongType(f"a payload of {len(data)} bytes is not {label}: {error}") from error

    return load
