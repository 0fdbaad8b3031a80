"""Faults on demand: which requests they strike, and what they do to them.

A :class:`Fault` names a method, a path pattern and a node, what happens, and how often; a :class:`FaultBoard` holds the
active ones of a server. :class:`mock_servers.control.Controlled` asks the board for every request. Faults are set from
Python (``server.faults.add(Fault("status", status=503, times=2))``) or over HTTP (``POST /_mock/faults``).
"""

from __future__ import annotations

import fnmatch
import itertools
import random
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any, Literal, get_args

__all__ = ["Action", "Fault", "FaultBoard"]

Action = Literal["delay", "drip", "drop", "hang", "reset", "status", "truncate"]


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault and the requests it strikes.

    Attributes:
        action: ``delay`` waits and goes on; ``status`` answers with ``status``, ``headers`` and ``body``; ``reset``
            ends the connection with RST, ``drop`` with FIN; ``hang`` never answers; ``truncate`` sends the real
            reply's head and half of its body, then FIN; ``drip`` sends its head and then its body byte by byte.
        path: Shell pattern matched against the decoded path, ``*`` also matching ``/``.
        method: HTTP method, or ``*``.
        node: Name of one node, or ``*``.
        apply: Whether the request is carried out before the fault strikes: with ``reset`` and ``apply`` the work is
            done and the client cannot know it. ``truncate`` and ``drip`` always apply.
        times: Requests struck before the fault removes itself; ``None`` strikes until removed.
        skip: Matching requests let through first.
        probability: Chance that a matching request is struck, 0..1; drawn from the board's seeded generator.
        delay_s: Wait before the action, for ``drip`` before every byte, seconds.
        status: Status of the reply of ``status``, 200..599.
        headers: Headers of that reply, such as ``{"Retry-After": "1"}``.
        body: Body of that reply.

    Raises:
        ValueError: A value is outside its range; the message names the field and what is accepted.
    """

    action: Action
    path: str = "*"
    method: str = "*"
    node: str = "*"
    apply: bool = False
    times: int | None = None
    skip: int = 0
    probability: float = 1.0
    delay_s: float = 0.0
    status: int = 503
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""

    def __post_init__(self) -> None:
        if self.action not in get_args(Action):
            raise ValueError(
                f"action is {self.action!r}: expected one of {', '.join(get_args(Action))}"
            )
        if self.times is not None and self.times < 1:
            raise ValueError(f"times is {self.times}: expected 1 or more, or null for every time")
        if not 200 <= self.status <= 599:
            raise ValueError(f"status is {self.status}: expected 200..599")
        if not 0.0 <= self.probability <= 1.0:
            raise ValueError(f"probability is {self.probability}: expected 0..1")
        if self.delay_s < 0 or self.skip < 0:
            raise ValueError("delay_s and skip must not be negative")

    @classmethod
    def from_json(cls, values: Any) -> Fault:
        """Build a fault from decoded JSON.

        Raises:
            ValueError: Not an object, an unknown field, a value of the wrong type or out of range.
        """
        if not isinstance(values, dict):
            raise ValueError("expected a JSON object with the fields of a fault")
        known = {name: values[name] for name in values if name in cls.__dataclass_fields__}
        if unknown := sorted(set(values) - set(known)):
            raise ValueError(
                f"unknown field {unknown[0]!r}: expected some of {', '.join(cls.__dataclass_fields__)}"
            )
        try:
            return cls(**known)
        except TypeError as cause:
            raise ValueError(f"a field is missing or has the wrong type: {cause}") from cause

    def matches(self, method: str, path: str, node: str) -> bool:
        """Whether a request is one this fault may strike."""
        return (
            self.method in ("*", method)
            and self.node in ("*", node)
            and (self.path == "*" or fnmatch.fnmatchcase(path, self.path))
        )


@dataclass(slots=True)
class _Active:
    fault: Fault
    skip: int
    left: int | None
    struck: int = 0


class FaultBoard:
    """The active faults of a server, shared by its nodes; thread-safe.

    Args:
        seed: Seed of the generator behind ``probability``; the same seed strikes the same requests.
    """

    def __init__(self, seed: int = 0) -> None:
        self._active: dict[int, _Active] = {}
        self._numbers = itertools.count(1)
        self._random = random.Random(seed)
        self._lock = threading.Lock()

    def add(self, fault: Fault) -> int:
        """Activate a fault and return the number that removes it."""
        with self._lock:
            number = next(self._numbers)
            self._active[number] = _Active(fault, fault.skip, fault.times)
            return number

    def remove(self, number: int) -> bool:
        """Deactivate one fault; return whether it was active."""
        with self._lock:
            return self._active.pop(number, None) is not None

    def clear(self) -> None:
        """Deactivate all faults."""
        with self._lock:
            self._active.clear()

    def shown(self) -> list[dict[str, Any]]:
        """Return the active faults as JSON values with ``id``, ``struck`` and ``left``, in order of their number."""
        with self._lock:
            return [
                {"id": number, "struck": entry.struck, "left": entry.left, **asdict(entry.fault)}
                for number, entry in self._active.items()
            ]

    def take(self, method: str, path: str, node: str) -> Fault | None:
        """Return the fault that strikes this request and count it; ``None`` for most requests.

        The earliest added fault that matches wins.
        """
        if not self._active:
            return None
        with self._lock:
            for number, entry in self._active.items():
                if not entry.fault.matches(method, path, node):
                    continue
                if entry.skip > 0:
                    entry.skip -= 1
                    continue
                if entry.fault.probability < 1 and self._random.random() >= entry.fault.probability:
                    continue
                entry.struck += 1
                if entry.left is not None:
                    entry.left -= 1
                    if entry.left == 0:
                        del self._active[number]
                return entry.fault
        return None
