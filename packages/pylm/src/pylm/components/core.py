"""Part base classes of the first API.

Source: API reference, sections A6 and B3. ``scatter`` and the hooks see serialized messages; between the parts of one
server travels a BrokerMessage, while the client's envelope waits in the server's cache under the broker key.
"""

from __future__ import annotations

import logging
import sys
from typing import Any

from pylm import _wire
from pylm._oldmaster import parse_broker
from pylm.errors import Malformed
from pylm.parts.core import BypassInbound as ComponentBypassInbound
from pylm.parts.core import BypassOutbound as ComponentBypassOutbound
from pylm.parts.core import Inbound, Outbound, Router, zmq_context

__all__ = [
    "ComponentBypassInbound",
    "ComponentBypassOutbound",
    "ComponentInbound",
    "ComponentOutbound",
    "FixedComponent",
    "Router",
    "zmq_context",
]


class _Serialized:
    """Between the envelope outside and the BrokerMessage inside."""

    cache: Any
    keeps_broker = False
    """The outer peers are workers: they speak BrokerMessage."""

    def to_broker(self, data: bytes) -> bytes:
        """Return the BrokerMessage for an envelope, which is put into the cache; others pass."""
        if parse_broker(data) is not None:
            return data
        message, payload = _wire.decode_old(data)
        key = f"_{message.pipeline}{message.cache}" if message.cache else _wire.new_uuid()
        if key in self.cache:
            key += _wire.new_uuid()[:8]
        self.cache.set(key, data)
        broker = _wire.BrokerMessage(
            key=key,
            payload=payload,
            instruction=message.function.partition(".")[2],
            pipeline=message.pipeline,
        )
        if message.ext:
            broker.ext = message.ext
        return bytes(broker.SerializeToString())

    def from_broker(self, data: bytes) -> bytes:
        """Return the envelope for a BrokerMessage, with its payload, and forget it; others pass.

        Raises:
            Malformed: No envelope waits under the key.
        """
        broker = parse_broker(data)
        if broker is None or self.keeps_broker:
            return data
        waiting = self.cache.get(broker.key)
        if waiting is None:
            raise Malformed(f"no message waits under the key {broker.key}")
        self.cache.delete(broker.key)
        message, _ = _wire.decode_old(waiting)
        if broker.ext:
            message.ext = broker.ext
        return _wire.encode(message, broker.payload)


class ComponentInbound(_Serialized, Inbound):
    """Takes serialized messages from outside; parameters as in :class:`pylm.parts.core.Inbound`.

    ``palm`` is accepted and ignored: envelopes are recognized by their bytes.
    """

    def __init__(
        self,
        name: str,
        listen_address: str,
        socket_type: int,
        reply: bool = True,
        broker_address: str = "inproc://broker",
        bind: bool = False,
        palm: bool = False,
        logger: logging.Logger | None = None,
        cache: Any = None,
        messages: int = sys.maxsize,
    ) -> None:
        Inbound.__init__(
            self, name, listen_address, socket_type, reply, broker_address, bind, logger, cache, messages
        )  # fmt: skip
        self.palm = palm

    def _translate_from_broker(self, data: bytes) -> Any:
        return data

    def _translate_to_broker(self, message: Any) -> bytes:
        return self.to_broker(message)

    def reply_feedback(self) -> bytes:
        """Return the envelope of the router's feedback, or the feedback as it is."""
        try:
            return self.from_broker(self.last_message)
        except Malformed:
            return self.last_message


class ComponentOutbound(_Serialized, Outbound):
    """Sends serialized messages outside; parameters as in :class:`pylm.parts.core.Outbound`."""

    def __init__(
        self,
        name: str,
        listen_address: str,
        socket_type: int,
        reply: bool = True,
        broker_address: str = "inproc://broker",
        bind: bool = False,
        palm: bool = False,
        logger: logging.Logger | None = None,
        cache: Any = None,
        messages: int = sys.maxsize,
    ) -> None:
        Outbound.__init__(
            self, name, listen_address, socket_type, reply, broker_address, bind, logger, cache, messages
        )  # fmt: skip
        self.palm = palm

    def _translate_from_broker(self, data: bytes) -> Any:
        return self.from_broker(data)

    def _deliver(self, message: Any) -> None:
        self._transmit(self.listen_to, message)
        if self.reply:
            feedback = self._receive(self.listen_to)
            if feedback is not None:
                self.handle_feedback(feedback)


class FixedComponent:
    """A part whose socket its class settles; see :class:`pylm.parts._fixed.Fixed`, parameters plus ``palm``."""

    kind: int
    replies = False
    binds = True

    def __init__(
        self,
        name: str,
        listen_address: str,
        broker_address: str = "inproc://broker",
        palm: bool = False,
        logger: logging.Logger | None = None,
        cache: Any = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(  # type: ignore[call-arg]
            name, listen_address, self.kind, self.replies, broker_address, self.binds, palm, logger,
            cache, messages,
        )  # fmt: skip
