"""What a reply of the server means for the message that was sent; no I/O.

Only two things take a message out of the queue for good: Ramen's acceptance and Ramen's explicit DROPPED. A reply that
says "never" in Ramen's own voice (JSON with a ``code``) sets it aside as a dead letter; everything else, which may come
from a proxy or a portal in between, keeps it.

Source: section C2 of the protocol notes; 1.40 removed the message after every status but 401, 403, 429 and 5xx.
"""

from __future__ import annotations

import enum
import json
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

__all__ = ["Reply", "Verdict", "Verdicts", "judge"]


class Verdicts(enum.Enum):
    """What to do with the message."""

    ACCEPTED = "accepted"
    """The server has it: remove."""
    DROPPED = "dropped"
    """The server does not want it: remove, keep the rule."""
    DEAD = "dead"
    """The server will never take it: set aside."""
    HOLD = "hold"
    """Not now: try this path again later, go on with others."""
    PAUSE = "pause"
    """Nothing now: try everything again later."""
    REFUSED = "refused"
    """The token is not good: try everything again much later."""


class Reply:
    """A complete reply.

    Args:
        status: HTTP status.
        headers: Headers of the reply, or what returns them when they are wanted.
        body: Decoded body.

    Attributes:
        status: HTTP status.
        body: Decoded body.
    """

    __slots__ = ("_headers", "body", "status")

    def __init__(
        self, status: int, headers: Mapping[str, str] | Callable[[], Mapping[str, str]], body: bytes
    ) -> None:
        self.status = status
        self.body = body
        self._headers = headers

    @property
    def headers(self) -> Mapping[str, str]:
        """Headers of the reply, looked up without regard to case."""
        if callable(self._headers):
            self._headers = self._headers()
        return self._headers

    def json(self) -> Any:
        """Return the body as JSON, ``None`` when it is not."""
        try:
            return json.loads(self.body)
        except (ValueError, RecursionError):
            return None

    def text(self, limit: int = 1024) -> str:
        """Return at most ``limit`` bytes of the body as text, for logs."""
        return self.body[:limit].decode("utf-8", "replace")


class Verdict(NamedTuple):
    """What a reply means.

    Attributes:
        kind: What to do.
        reason: Why, for people.
        rule: Rule that came with DROPPED, as sent; ``None`` for none.
        answer: Decoded reply, or its text when it is not JSON.
    """

    kind: Verdicts
    reason: str
    rule: Any = None
    answer: Any = None


_USUAL = b'{"code":"ACCEPTED","details":null}'
_ACCEPTED = Verdict(Verdicts.ACCEPTED, "ACCEPTED")
_FINAL = frozenset({400, 413, 415})
_LATER = frozenset({408, 425})


def judge(reply: Reply) -> Verdict:
    """Return what a reply means for the message that was sent."""
    status = reply.status
    if status == 202 and reply.body == _USUAL:
        return _ACCEPTED
    answer = reply.json()
    code = answer.get("code") if isinstance(answer, dict) else None
    if status == 202:
        return _judge_accepted(answer, code, reply)
    said = f"HTTP {status}: {reply.text(200) or 'without a body'}"
    if status in (401, 403):
        return Verdict(
            Verdicts.REFUSED, said, answer=answer if answer is not None else reply.text()
        )
    if status in (429, 503):
        return Verdict(Verdicts.PAUSE, said)
    if status >= 500 or status in _LATER or 300 <= status < 400:
        return Verdict(Verdicts.HOLD, said)
    if status in _FINAL or isinstance(code, str):
        return Verdict(Verdicts.DEAD, said)
    return Verdict(Verdicts.HOLD, f"{said} (not an answer of Ramen)")


def _judge_accepted(answer: Any, code: Any, reply: Reply) -> Verdict:
    if not isinstance(code, str):
        return Verdict(
            Verdicts.HOLD,
            f"HTTP 202 without a code, not an answer of Ramen: {reply.text(200) or 'no body'}",
        )
    if code == "DROPPED":
        return Verdict(Verdicts.DROPPED, "dropped by the server", rule=answer.get("rule"))
    return Verdict(Verdicts.ACCEPTED, code)
