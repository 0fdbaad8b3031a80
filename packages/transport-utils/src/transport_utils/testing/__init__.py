"""Tools to test clients with: a server that misbehaves on command, recording backends, a clock, the backend contract.

Shipped for users' own suites. Nothing here is imported by the transport.
"""

from transport_utils.testing.clock import FakeClock
from transport_utils.testing.faults import (
    Answer,
    Close,
    Drip,
    FaultServer,
    RecordedRequest,
    Reset,
    Silence,
    blackhole,
    refused_port,
)
from transport_utils.testing.recording import AsyncRecordingBackend, RecordingBackend

__all__ = [
    "Answer",
    "AsyncRecordingBackend",
    "Close",
    "Drip",
    "FakeClock",
    "FaultServer",
    "RecordedRequest",
    "RecordingBackend",
    "Reset",
    "Silence",
    "blackhole",
    "refused_port",
]
