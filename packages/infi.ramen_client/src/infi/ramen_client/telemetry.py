"""OpenTelemetry metrics of readers and writers; needs ``opentelemetry-api``, which is not a dependency.

Readers and writers report by themselves when the application has imported OpenTelemetry's metrics by the time they are
made. Metrics:

===================================  =========  =============================================================
``ramen_client.messages``            counter    ``outcome``: accepted, dropped, dead, trimmed, vanished
``ramen_client.retries``             counter    attempts that have to be repeated; ``reason``: retry, refused
``ramen_client.damage``              counter    databases salvaged or replaced
``ramen_client.queue.messages``      gauge      messages in the queue
``ramen_client.queue.size``          gauge      their bytes on disk
===================================  =========  =============================================================

Every one has ``ramen.sender`` and ``ramen.system_serial``.
"""

from __future__ import annotations

import logging
import os
import sys
import weakref
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any, TypeAlias

from infi.ramen_client.errors import QueueError

if TYPE_CHECKING:
    from infi.ramen_client.config import QueueWriterConfig
    from infi.ramen_client.diskqueue import DiskQueue

__all__ = [
    "Events",
    "guarded",
    "observe_if_wanted",
    "observe_queue",
    "telemetry_events",
    "with_telemetry",
]

Events: TypeAlias = Callable[..., None]
"""Called with the name of an event and its facts as keyword arguments."""

logger = logging.getLogger("ramen_client")

_SWITCH = "OTEL_PYTHON_DISABLED_INSTRUMENTATIONS"


def _is_wanted() -> bool:
    if "opentelemetry.metrics" not in sys.modules:
        return False
    disabled = {name.strip() for name in os.environ.get(_SWITCH, "").split(",")}
    return (
        "ramen_client" not in disabled and os.environ.get("OTEL_SDK_DISABLED", "").lower() != "true"
    )


def _attributes(config: QueueWriterConfig) -> dict[str, str | int]:
    return {"ramen.sender": config.sender, "ramen.system_serial": config.system_serial}


def guarded(on_event: Events | None) -> Events | None:
    """Return ``on_event`` so that what it raises is logged: it must not end a reader, nor make a stored push fail."""
    if on_event is None:
        return None
    wanted = on_event

    def call(name: str, **facts: Any) -> None:
        try:
            wanted(name, **facts)
        except Exception:
            logger.exception("on_event has failed on %r; going on", name)

    return call


def with_telemetry(on_event: Events | None, config: QueueWriterConfig) -> Events | None:
    """Return ``on_event``, guarded, which also feeds OpenTelemetry when the application uses it."""
    on_event = guarded(on_event)
    if not _is_wanted():
        return on_event
    report = telemetry_events(config)
    if on_event is None:
        return report
    wanted = on_event

    def both(name: str, **facts: Any) -> None:
        report(name, **facts)
        wanted(name, **facts)

    return both


def telemetry_events(config: QueueWriterConfig, meter_provider: Any = None) -> Events:
    """Return an ``on_event`` that counts into OpenTelemetry.

    Args:
        config: Gives the attributes.
        meter_provider: Source of the meter; ``None`` for the global one.

    Raises:
        ImportError: ``opentelemetry-api`` is not installed.
    """
    meter = _meter(meter_provider)
    messages = meter.create_counter("ramen_client.messages", "{message}", "Messages, by outcome")
    retries = meter.create_counter("ramen_client.retries", "{attempt}", "Attempts to be repeated")
    damage = meter.create_counter("ramen_client.damage", "{database}", "Salvaged or replaced")
    common = _attributes(config)

    def report(name: str, **facts: Any) -> None:
        if name in ("accepted", "dropped", "dead"):
            messages.add(1, {**common, "outcome": name})
        elif name in ("trimmed", "vanished"):
            messages.add(facts["count"], {**common, "outcome": name})
        elif name in ("retry", "refused"):
            retries.add(1, {**common, "reason": name})
        elif name in ("damage", "replaced"):
            damage.add(1, {**common, "reason": name})

    return report


def observe_queue(queue: DiskQueue, config: QueueWriterConfig, meter_provider: Any = None) -> None:
    """Let OpenTelemetry ask for a queue's length and size while the queue is open; asking opens nothing.

    Args:
        queue: The queue.
        config: Gives the attributes.
        meter_provider: Source of the meter; ``None`` for the global one.

    Raises:
        ImportError: ``opentelemetry-api`` is not installed.
    """
    from opentelemetry.metrics import Observation

    meter = _meter(meter_provider)
    alive = weakref.ref(queue)
    common = _attributes(config)

    def observer(ask: Callable[[DiskQueue], int]) -> Callable[[Any], Iterable[Any]]:
        def observe(_options: Any) -> Iterable[Any]:
            found = alive()
            try:
                if found is None or not found.is_open:
                    return []
                return [Observation(ask(found), common)]
            except QueueError:
                return []

        return observe

    for name, unit, ask in (
        ("ramen_client.queue.messages", "{message}", lambda found: found.size()),
        ("ramen_client.queue.size", "By", lambda found: found.bytes_on_disk()),
    ):
        meter.create_observable_gauge(name, [observer(ask)], unit)


def observe_if_wanted(queue: DiskQueue, config: QueueWriterConfig) -> None:
    """Call :func:`observe_queue` when the application uses OpenTelemetry."""
    if _is_wanted():
        observe_queue(queue, config)


def _meter(meter_provider: Any) -> Any:
    from infi.ramen_client._version import __version__
    from opentelemetry import metrics

    return metrics.get_meter("infi.ramen_client", __version__, meter_provider)
