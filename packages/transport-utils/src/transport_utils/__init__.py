"""The transport that the clients of service-clients share: see ``docs/index.md``.

Every public name can be imported from here or from its module. A module is loaded when one of its names is first used,
so ``import transport_utils`` is cheap and loads no optional library.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from transport_utils._version import __version__

if TYPE_CHECKING:
    from transport_utils.aio.transport import AsyncTransport
    from transport_utils.auth import Auth, BasicAuth, BearerAuth
    from transport_utils.backoff import Backoff, Constant, Exponential, Schedule, exponential
    from transport_utils.budget import RateLimiter, RetryBudget
    from transport_utils.compression import Compression, DecodeLimits
    from transport_utils.deadline import Deadline, Timeout
    from transport_utils.discovery import Discovery
    from transport_utils.endpoint import Endpoint
    from transport_utils.errors import (
        BadResponse,
        BodyNotReplayable,
        CertificateError,
        ConfigurationError,
        ConnectError,
        ConnectionFailed,
        ConnectionReset,
        ConnectTimeout,
        DecodeBomb,
        DiscoveryError,
        DnsError,
        FingerprintMismatch,
        HeaderTooLarge,
        HttpStatusError,
        LocalProtocolError,
        NoNodeAvailable,
        PoolTimeout,
        ProtocolError,
        ProxyError,
        ReadTimeout,
        RetryAfterExceeded,
        RetryBudgetExhausted,
        SentState,
        SerializationError,
        StaleConnection,
        TimedOut,
        TlsError,
        TotalTimeout,
        TransportClosed,
        TransportError,
        TruncatedBody,
        WriteTimeout,
    )
    from transport_utils.headers import Headers
    from transport_utils.health import HealthPolicy, NodeChange, NodeHealth, Outcome
    from transport_utils.hooks import Attempt, Hooks, PoolEvent
    from transport_utils.idempotency import is_idempotent, new_idempotency_key
    from transport_utils.messages import AsyncResponse, Body, Request, Response, ResponseMeta
    from transport_utils.nodes import Node, NodePool
    from transport_utils.redact import redact_headers, redact_url
    from transport_utils.retry import Decision, RetryPolicy, RetryState
    from transport_utils.selectors import (
        LeastOutstandingSelector,
        RandomSelector,
        RoundRobinSelector,
        Selector,
        StickySelector,
        WeightedSelector,
        ZoneAwareSelector,
    )
    from transport_utils.serializers import (
        BytesSerializer,
        JsonSerializer,
        NdjsonSerializer,
        Serializer,
        SerializerRegistry,
        TextSerializer,
    )
    from transport_utils.telemetry import telemetry_hooks
    from transport_utils.tls import TlsConfig
    from transport_utils.trace import curl, curl_hooks, enable_debug, log_hooks
    from transport_utils.transport import Transport

__all__ = [
    "AsyncResponse",
    "AsyncTransport",
    "Attempt",
    "Auth",
    "Backoff",
    "BadResponse",
    "BasicAuth",
    "BearerAuth",
    "Body",
    "BodyNotReplayable",
    "BytesSerializer",
    "CertificateError",
    "Compression",
    "ConfigurationError",
    "ConnectError",
    "ConnectTimeout",
    "ConnectionFailed",
    "ConnectionReset",
    "Constant",
    "Deadline",
    "Decision",
    "DecodeBomb",
    "DecodeLimits",
    "Discovery",
    "DiscoveryError",
    "DnsError",
    "Endpoint",
    "Exponential",
    "FingerprintMismatch",
    "HeaderTooLarge",
    "Headers",
    "HealthPolicy",
    "Hooks",
    "HttpStatusError",
    "JsonSerializer",
    "LeastOutstandingSelector",
    "LocalProtocolError",
    "NdjsonSerializer",
    "NoNodeAvailable",
    "Node",
    "NodeChange",
    "NodeHealth",
    "NodePool",
    "Outcome",
    "PoolEvent",
    "PoolTimeout",
    "ProtocolError",
    "ProxyError",
    "RandomSelector",
    "RateLimiter",
    "ReadTimeout",
    "Request",
    "Response",
    "ResponseMeta",
    "RetryAfterExceeded",
    "RetryBudget",
    "RetryBudgetExhausted",
    "RetryPolicy",
    "RetryState",
    "RoundRobinSelector",
    "Schedule",
    "Selector",
    "SentState",
    "SerializationError",
    "Serializer",
    "SerializerRegistry",
    "StaleConnection",
    "StickySelector",
    "TextSerializer",
    "TimedOut",
    "Timeout",
    "TlsConfig",
    "TlsError",
    "TotalTimeout",
    "Transport",
    "TransportClosed",
    "TransportError",
    "TruncatedBody",
    "WeightedSelector",
    "WriteTimeout",
    "ZoneAwareSelector",
    "__version__",
    "curl",
    "curl_hooks",
    "enable_debug",
    "exponential",
    "is_idempotent",
    "log_hooks",
    "new_idempotency_key",
    "redact_headers",
    "redact_url",
    "telemetry_hooks",
]

_MODULES = {
    "aio.transport": "AsyncTransport",
    "auth": "Auth BasicAuth BearerAuth",
    "backoff": "Backoff Constant Exponential Schedule exponential",
    "budget": "RateLimiter RetryBudget",
    "compression": "Compression DecodeLimits",
    "deadline": "Deadline Timeout",
    "discovery": "Discovery",
    "endpoint": "Endpoint",
    "errors": (
        "BadResponse BodyNotReplayable CertificateError ConfigurationError ConnectError "
        "ConnectTimeout ConnectionFailed ConnectionReset DecodeBomb DiscoveryError DnsError "
        "FingerprintMismatch HeaderTooLarge HttpStatusError LocalProtocolError NoNodeAvailable "
        "PoolTimeout ProtocolError ProxyError ReadTimeout RetryAfterExceeded "
        "RetryBudgetExhausted SentState SerializationError StaleConnection TimedOut TlsError "
        "TotalTimeout TransportClosed TransportError TruncatedBody WriteTimeout"
    ),
    "headers": "Headers",
    "health": "HealthPolicy NodeChange NodeHealth Outcome",
    "hooks": "Attempt Hooks PoolEvent",
    "idempotency": "is_idempotent new_idempotency_key",
    "messages": "AsyncResponse Body Request Response ResponseMeta",
    "nodes": "Node NodePool",
    "redact": "redact_headers redact_url",
    "retry": "Decision RetryPolicy RetryState",
    "selectors": (
        "LeastOutstandingSelector RandomSelector RoundRobinSelector Selector StickySelector "
        "WeightedSelector ZoneAwareSelector"
    ),
    "serializers": (
        "BytesSerializer JsonSerializer NdjsonSerializer Serializer SerializerRegistry "
        "TextSerializer"
    ),
    "telemetry": "telemetry_hooks",
    "tls": "TlsConfig",
    "trace": "curl curl_hooks enable_debug log_hooks",
    "transport": "Transport",
}
_HOME = {name: module for module, names in _MODULES.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    """Load a public name from its module at its first use."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
