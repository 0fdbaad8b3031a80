"""How a URL's service is run: everything that can be set beside image, command and size.

Given to ``Session(...)`` for all URLs and to ``startup`` or ``add_url`` for one.
"""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Literal

from ya_httpx_client.delivery import Rules

__all__ = ["ServiceOptions"]


@dataclasses.dataclass(frozen=True, slots=True)
class ServiceOptions:
    """Settings of one URL's service.

    Args:
        slots: Requests a provider serves at the same time, >= 1. The default is the original's: one.
        max_queue: Requests that may wait for a slot; more wait outside the queue, >= 1.
        max_size: Largest number of instances whatever the size function says, >= 0.
        restart: ``"always"`` replaces instances that end unasked; ``"never"`` does not, and the size shrinks.
        rules: When requests are executed again.
        port: TCP port the server listens on in the provider's VPN.
        ready_path: Path that must answer below 500 before requests are sent, and again when an instance is suspected;
            ``None`` asks only that the port accepts connections.
        start_timeout_s: Longest time from agreement to readiness, seconds.
        liveness_s: Time between looks at an instance, seconds.
        probe_timeout_s: Longest wait for an answer to a probe, seconds.
        min_mem_gib, min_storage_gib, min_cpu_threads: Smallest hardware to run on.
        lifetime: When the market agreements end, ``None`` for yapapi's three hours. Services live on: instances are
            replaced before their agreements end.

    Raises:
        TypeError: A value is no number where one is expected.
        ValueError: A value is outside its range.
    """

    slots: int = 1
    max_queue: int = 1000
    max_size: int = 250
    restart: Literal["always", "never"] = "always"
    rules: Rules = dataclasses.field(default_factory=Rules)
    port: int = 80
    ready_path: str | None = None
    start_timeout_s: float = 300.0
    liveness_s: float = 2.0
    probe_timeout_s: float = 5.0
    min_mem_gib: float = 0.5
    min_storage_gib: float = 2.0
    min_cpu_threads: int = 1
    lifetime: timedelta | None = None

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> ServiceOptions:
        """Return the settings given by name.

        Raises:
            TypeError: A setting does not exist; the message says which is like it.
            TypeError, ValueError: As for the constructor.
        """
        _check_names(settings)
        return cls(**settings)

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            value = getattr(self, field.name)
            if field.type in ("int", "float") and not isinstance(value, (int, float)):
                raise TypeError(f"{field.name}={value!r}: expected a number")
        for name, good, expected in (
            ("slots", self.slots >= 1, "1 or more"),
            ("max_queue", self.max_queue >= 1, "1 or more"),
            ("max_size", self.max_size >= 0, "0 or more"),
            ("restart", self.restart in ("always", "never"), "'always' or 'never'"),
            ("port", 1 <= self.port <= 65535, "1..65535"),
            ("start_timeout_s", self.start_timeout_s > 0, "seconds above 0"),
            ("probe_timeout_s", self.probe_timeout_s > 0, "seconds above 0"),
            ("liveness_s", self.liveness_s > 0, "seconds above 0"),
        ):
            if not good:
                raise ValueError(f"{name}={getattr(self, name)!r}: expected {expected}")

    def replace(self, **changes: Any) -> ServiceOptions:
        """Return a copy with some settings changed.

        Raises:
            TypeError: A setting does not exist.
            ValueError: A value is outside its range.
        """
        _check_names(changes)
        return dataclasses.replace(self, **changes)


def _check_names(settings: Mapping[str, Any]) -> None:
    known = [field.name for field in dataclasses.fields(ServiceOptions)]
    for name in settings:
        if name not in known:
            like = difflib.get_close_matches(name, known, 1)
            hint = f"did you mean {like[0]!r}?" if like else f"there are: {', '.join(known)}"
            raise TypeError(f"unknown option {name!r}: {hint}")
