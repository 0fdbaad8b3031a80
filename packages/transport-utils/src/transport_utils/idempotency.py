"""The rules that say whether a request may be sent a second time.

Used by :mod:`transport_utils.retry` and by clients that resend on their own (pylm, ya-httpx-client). Policy floor.

Three facts decide: what the method promises (RFC 9110, 9.2.2), what the caller promises (``idempotent=`` or an
idempotency key), and how far the request got (:class:`~transport_utils.errors.SentState`).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from transport_utils.errors import SentState

__all__ = [
    "IDEMPOTENCY_KEY_HEADER",
    "IDEMPOTENT_METHODS",
    "is_idempotent",
    "may_resend",
    "new_idempotency_key",
]

IDEMPOTENT_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PUT", "TRACE"})
"""Methods whose repetition has the effect of one request (RFC 9110, 9.2.2)."""

IDEMPOTENCY_KEY_HEADER = "idempotency-key"
"""Lower-case name of the header by which a server recognises a repeated request."""


def is_idempotent(
    method: str,
    idempotent: bool | None = None,
    headers: Mapping[str, str | None] | None = None,
    methods: Iterable[str] = IDEMPOTENT_METHODS,
) -> bool:
    """Return whether repeating a request does no harm.

    Args:
        method: Upper-case method.
        idempotent: The caller's word, which wins over everything; ``None`` leaves it to the rest.
        headers: Headers of the request; an ``idempotency-key`` with a value makes any method idempotent.
        methods: Upper-case methods that are idempotent by themselves.
    """
    if idempotent is not None:
        return idempotent
    if method in methods:
        return True
    if headers:
        return any(
            value and name.lower() == IDEMPOTENCY_KEY_HEADER for name, value in headers.items()
        )
    return False


def may_resend(idempotent: bool, sent: SentState) -> bool:
    """Return whether a request that failed after getting as far as ``sent`` may be sent again."""
    return idempotent or sent is SentState.NOT_SENT


def new_idempotency_key() -> str:
    """Return a fresh random key, 36 characters: one per *operation*, the same for all its attempts."""
    import uuid  # only here, since it loads a good deal more on older Pythons

    return str(uuid.uuid4())
