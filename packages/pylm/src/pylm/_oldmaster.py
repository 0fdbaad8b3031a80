"""Masters and workers of the first API: between them travels a BrokerMessage, the client's envelope stays behind.

Re-exported by :mod:`pylm.standalone.servers` and :mod:`pylm.chained.servers`. Source: API reference, sections A6, B3.
"""

from __future__ import annotations

import collections
import logging
import sys
from collections.abc import Iterable, Iterator
from typing import Any, Final

import zmq

from pylm import _wire
from pylm._master import MasterEngine
from pylm._oldstages import OldEngine
from pylm._outlet import PushOutlet
from pylm._probe import probe
from pylm._replies import ReplyOutlet
from pylm._services import Services
from pylm._worker import WorkerEngine
from pylm.config import ServerOptions
from pylm.errors import Malformed, TimedOut, WrongServer

__all__ = ["ChainedMaster", "OldBaseMaster", "OldWorker", "StandaloneMaster", "parse_broker"]

OUT_LIMIT: Final = 100_000
"""Envelopes kept for jobs that are out; beyond, the oldest are given up: their workers are gone."""


class OldBaseMaster:
    """The functions a master's author may override; here messages are serialized."""

    @staticmethod
    def change_payload(message: bytes, new_payload: bytes) -> bytes:
        """Return the serialized message with another payload.

        Raises:
            Malformed: ``message`` is neither an envelope nor a BrokerMessage.
        """
        broker = parse_broker(message)
        if broker is not None:
            broker.payload = new_payload
            return bytes(broker.SerializeToString())
        envelope, _ = _wire.decode_old(message)
        return _wire.encode(envelope, new_payload)

    @staticmethod
    def change_call(message: bytes, next_server: str, next_call: str) -> bytes:
        """Return the serialized message addressed to another function.

        Raises:
            Malformed: ``message`` is not an envelope.
        """
        envelope, payload = _wire.decode_old(message)
        envelope.function = f"{next_server}.{next_call}"
        return _wire.encode(envelope, payload)

    def scatter(self, message: bytes) -> Iterable[bytes]:
        """Yield the serialized messages that go to workers for one that came in."""
        yield message

    def gather(self, message: bytes) -> Iterable[bytes]:
        """Yield the serialized messages that go on for one that came back."""
        yield message


def parse_broker(data: bytes) -> _wire.BrokerMessage | None:
    """Return the BrokerMessage in ``data``; ``None`` when it is an envelope, whose field 3 is a number."""
    try:
        broker = _wire.BrokerMessage.FromString(data)
    except _wire.DecodeError:
        return None
    if not broker.IsInitialized():
        return None
    envelope = _wire.OldPalmMessage()
    try:
        envelope.MergeFromString(data)
    except _wire.DecodeError:
        return broker
    return None if envelope.IsInitialized() else broker


class _OldMaster(MasterEngine, OldEngine, OldBaseMaster):
    """What the two masters share."""

    hooks = OldBaseMaster
    _outbound_name = "Push"

    def __init__(
        self,
        name: str,
        pull_address: str,
        worker_pull_address: str,
        worker_push_address: str,
        db_address: str,
        log_address: str | None,
        perf_address: str | None,
        ping_address: str | None,
        cache: Any,
        palm: bool,
        debug_level: int,
        options: ServerOptions | None,
        messages: int,
    ) -> None:
        OldEngine.__init__(
            self,
            name,
            log_address,
            perf_address,
            ping_address,
            cache,
            debug_level,
            messages,
            options,
        )
        self.palm = palm
        self.pull_address = pull_address
        self.db_address = db_address
        self._out: collections.OrderedDict[str, _wire.Envelope] = collections.OrderedDict()
        self._open_cache(db_address)
        self.pull_socket = self._open(zmq.PULL, bind=pull_address)
        router = self._open_workers(worker_pull_address, worker_push_address)
        self._inputs.append(
            (self.pull_socket, lambda: self._drain_input(self.pull_socket, self._accept))
        )
        self._publish_keys(name=name, pull_address=pull_address, worker_router_address=router)

    def _accept(self, frame: bytes | memoryview) -> None:
        self._counted()
        decoded = self._decode(frame, old=True)
        if decoded is not None:
            self._take(*decoded)

    def _to_worker(self, message: _wire.Envelope, payload: bytes) -> bytes:
        key = self._key(message)
        self._out[key] = message
        if len(self._out) > OUT_LIMIT:
            self._out.popitem(last=False)
            self.stats.dropped += 1
        broker = _wire.BrokerMessage(
            key=key,
            payload=payload,
            instruction=message.function.partition(".")[2],
            pipeline=message.pipeline,
        )
        if message.ext:
            broker.ext = message.ext
        return bytes(broker.SerializeToString())

    def _key(self, message: _wire.Envelope) -> str:
        if not message.cache:
            return _wire.new_uuid()
        key = f"_{message.pipeline}{message.cache}"
        if key not in self._out:
            return key
        other = key + _wire.new_uuid()[:8]
        self.logger.error("Message key %s found, changed to %s", key, other)
        return other

    def _from_worker(self, frame: bytes | memoryview) -> tuple[_wire.Envelope, bytes] | None:
        try:
            broker = _wire.BrokerMessage.FromString(bytes(frame))
        except _wire.DecodeError:
            return None
        message = self._out.pop(broker.key, None)
        if message is None:
            return None
        if message.ext and broker.ext:
            message.ext = broker.ext
        return message, broker.payload

    def _scatter(self, message: _wire.Envelope, payload: bytes) -> Iterator[tuple[Any, bytes]]:
        for item in self.scatter(_wire.encode(message, payload)):
            yield _wire.decode_old(item)

    def _gather(self, message: _wire.Envelope, payload: bytes) -> Iterator[tuple[Any, bytes]]:
        for item in self.gather(_wire.encode(message, payload)):
            yield _wire.decode_old(item)

    def _answer(self, message: _wire.Envelope, payload: bytes, *, failed: bool = False) -> None:
        self._send_answer(message.ext, message, payload, failed=failed, per_call=False)


class StandaloneMaster(_OldMaster):
    """Distributes jobs over workers, answers whoever pulls.

    Args:
        name: Of the server.
        pull_address: Where jobs come in (binds).
        push_address: Where clients pull answers (binds).
        worker_pull_address: Where workers send results (binds).
        worker_push_address: Where workers get jobs (binds).
        db_address: Cache (binds).
        log_address: Of a log collector; ``None`` for none.
        perf_address: Of a performance collector; ``None`` for none.
        ping_address: Of a ping collector; ``None`` for none.
        cache: Store; ``None`` for an own one.
        palm: Accepted and ignored: functions are always called (the original's default called none).
        debug_level: Of the logger, which has the server's name.
        options: Everything the original did not have.
        messages: Stop after so many messages; for tests.

    Source: ``pylm.standalone.servers.Master`` of 0.8.
    """

    def __init__(
        self,
        name: str,
        pull_address: str,
        push_address: str,
        worker_pull_address: str,
        worker_push_address: str,
        db_address: str,
        log_address: str | None = None,
        perf_address: str | None = None,
        ping_address: str | None = None,
        cache: Any = None,
        palm: bool = False,
        debug_level: int = logging.INFO,
        *,
        options: ServerOptions | None = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(
            name, pull_address, worker_pull_address, worker_push_address, db_address, log_address,
            perf_address, ping_address, cache, palm, debug_level, options, messages,
        )  # fmt: skip
        self.push_address = push_address
        self.push_socket = self._open(zmq.PUSH, bind=push_address)
        self._outlet = ReplyOutlet(self.push_socket, self.stats, self.options)


class ChainedMaster(_OldMaster):
    """Distributes jobs over workers, pushes results on to the next server of a chain.

    Args:
        name: Of the server.
        pull_address: Where jobs come in (binds).
        next_address: ``pull_address`` of the next server (connects).
        worker_pull_address: Where workers send results (binds).
        worker_push_address: Where workers get jobs (binds).
        db_address: Cache (binds).
        log_address: Of a log collector; ``None`` for none.
        perf_address: Of a performance collector; ``None`` for none.
        ping_address: Of a ping collector; ``None`` for none.
        cache: Store; ``None`` for an own one.
        palm: Accepted and ignored.
        debug_level: Of the logger.
        options: Everything the original did not have.
        messages: Stop after so many messages; for tests.

    Override ``gather`` with :meth:`change_call` to name the next function. Source: ``pylm.chained.servers.Master``.
    """

    def __init__(
        self,
        name: str,
        pull_address: str,
        next_address: str,
        worker_pull_address: str,
        worker_push_address: str,
        db_address: str,
        log_address: str | None = None,
        perf_address: str | None = None,
        ping_address: str | None = None,
        cache: Any = None,
        palm: bool = False,
        debug_level: int = logging.DEBUG,
        *,
        options: ServerOptions | None = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(
            name, pull_address, worker_pull_address, worker_push_address, db_address, log_address,
            perf_address, ping_address, cache, palm, debug_level, options, messages,
        )  # fmt: skip
        self.next_address = next_address
        self.push_socket = self._open(zmq.PUSH)
        if self.options.curve is not None:
            self.options.curve.apply(self.push_socket, as_server=False)
        self.push_socket.connect(next_address)
        self._outlet = PushOutlet(self.push_socket, self.stats, self.options)


class OldWorker(WorkerEngine):
    """Works for a master of the first API.

    Args:
        name: Of the worker.
        push_address: The address the *master* pushes on.
        pull_address: The address the *master* pulls from.
        db_address: Of the master's cache.
        log_address: Of a log collector; ``None`` for none.
        perf_address: Of a performance collector; ``None`` for none.
        ping_address: Of a ping collector; ``None`` for none.
        debug_level: Of the logger.
        messages: Stop after so many jobs; for tests.
        options: Everything the original did not have.

    Source: ``pylm.standalone.servers.Worker`` of 0.8.
    """

    def __init__(
        self,
        name: str,
        push_address: str,
        pull_address: str,
        db_address: str,
        log_address: str | None = None,
        perf_address: str | None = None,
        ping_address: str | None = None,
        debug_level: int = logging.INFO,
        messages: int = sys.maxsize,
        *,
        options: ServerOptions | None = None,
    ) -> None:
        super().__init__(name, db_address, debug_level, messages, options, _wire.OldPalmMessage)
        self.push_address = push_address
        self.pull_address = pull_address
        self._services = Services(self.logger, log_address, perf_address, ping_address)
        self.perfcounter = self._services.counter

    def start(self) -> None:
        """Wait for the master, connect, work; see :meth:`pylm.servers.Worker.start`."""
        try:
            self._connect()
            self._services.start()
        except BaseException:
            self.close()
            raise
        super().start()

    def _connect(self) -> None:
        """Use the acknowledged channel if the master shows itself to be of this generation."""
        if self.options.channel != "push":
            peer = probe(self.db_address)
            if peer.is_new or self.options.curve is not None:
                try:
                    router = self.get("worker_router_address").decode()
                except TimedOut:
                    router = ""
                if router:
                    self._connect_router(router)
                    return
            if self.options.channel == "router":
                raise WrongServer(f"the master at {self.db_address} has no acknowledged channel")
        self._connect_pair(self.push_address, self.pull_address)

    def set(self, value: bytes, key: str | None = None) -> bytes:
        """Store a value in the master's cache; return its key.

        Raises:
            TimedOut: No answer in time.
        """
        return self._set(value, key)

    def _unpack(self, frame: bytes | memoryview) -> tuple[Any, bytes, str, bytes]:
        try:
            broker = _wire.BrokerMessage.FromString(bytes(frame))
        except _wire.DecodeError as error:
            raise Malformed(f"{len(frame)} bytes are not a BrokerMessage") from error
        if not (broker.IsInitialized() and isinstance(broker.instruction, str)):
            raise Malformed(f"{len(frame)} bytes are not a BrokerMessage")
        return broker, broker.payload, broker.instruction, broker.ext

    def _pack(self, context: Any, payload: bytes, ext: bytes) -> bytes:
        context.payload = payload
        if ext:
            context.ext = _wire.add_complete(ext)
        return bytes(context.SerializeToString())

    def close(self) -> None:
        """Close every socket and service; idempotent."""
        super().close()
        self._services.close()
