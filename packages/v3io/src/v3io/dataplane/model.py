"""Base of the grouped calls (``client.kv``, ``client.object``, ``client.stream``, ``client.container``)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeAlias

from v3io.paths import with_trailing_slash

__all__ = ["Model", "Sender", "Trace"]

Trace: TypeAlias = Callable[[Callable[..., Any]], Callable[..., Any]]
"""Puts a span around a transport's ``request``."""


class Sender(Protocol):
    """What a model needs of its client."""

    _access_key: str | None
    _trace: Trace | None
    _transport: Any

    def create_batch(self) -> Any:
        """Return a new batch."""

    def _send(
        self,
        container: str | None,
        access_key: str | None,
        raise_for_status: Any,
        transport_actions: int | None,
        encoder: Callable[..., Any],
        encoder_args: Mapping[str, Any],
        output: Callable[[Any], Any] | None = None,
    ) -> Any: ...


class Model:
    """A group of calls of one client; as thread- or task-safe as the client.

    Args:
        client: The client whose transport and access key the calls use.
    """

    def __init__(self, client: Sender) -> None:
        self._client = client
        request = client._transport.request
        self._request: Callable[..., Any] = (
            request if client._trace is None else client._trace(request)
        )

    @staticmethod
    def _ensure_path_ends_with_slash(path: str) -> str:
        return with_trailing_slash(path)
