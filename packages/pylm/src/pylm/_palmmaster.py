"""Master and Hub of the present API: workers get the client's envelope, answers are published.

Re-exported by :mod:`pylm.servers`. Source: API reference, section A1; faults E-8, E-14, E-19 to E-21.
"""

from __future__ import annotations

import logging
import sys
from typing import Any, Final

import zmq

from pylm import _wire
from pylm._lanes import Lanes, Plain, is_bare
from pylm._logs import server_logger
from pylm._master import BaseMaster, MasterEngine
from pylm._outlet import PubOutlet
from pylm._steering import SteeringEngine
from pylm.config import ServerOptions

__all__ = ["Hub", "Master"]

CACHE_HEAD: Final = b"\x2a\x24"
"""Tag and length of a uuid in the field cache."""


class _PalmMaster(SteeringEngine, MasterEngine, BaseMaster):
    """Master and Hub of the present API: workers get the client's envelope."""

    def __init__(
        self,
        name: str,
        pub_address: str,
        worker_pull_address: str,
        worker_push_address: str,
        db_address: str,
        pipelined: bool,
        cache: Any,
        log_level: int,
        options: ServerOptions | None,
        messages: int,
    ) -> None:
        super().__init__(name, server_logger(name, log_level), cache, messages, options)
        self.pipelined = pipelined
        self.pub_address = pub_address
        self.db_address = db_address
        self._open_cache(db_address)
        self.pub_socket = self._open(zmq.XPUB, bind=pub_address)
        self._outlet = PubOutlet(self.pub_socket, self.stats, self.options)
        self._router_address = self._open_workers(worker_pull_address, worker_push_address)
        self._lanes = Lanes(_wire.PalmMessage)
        self._uuids = _wire.Uuids()
        self._own_topic = name.encode()

    def _common_keys(self) -> dict[str, str]:
        return {
            "name": self.name,
            "db_address": self.db_address,
            "pub_address": self.pub_address,
            "worker_pull_address": self.worker_pull_address,
            "worker_push_address": self.worker_push_address,
            "worker_router_address": self._router_address,
        }

    def _accept(self, frame: bytes | memoryview, plain: Plain | None = None) -> None:
        self._counted()
        if not (self._scatters or self._guards):
            if plain is None and type(frame) is bytes:
                plain = self._lanes.read(frame)
            if plain is not None and is_bare(plain[3]):
                lane, head, _, _ = plain
                self.stats.received += 1
                self.stats.bytes_in += len(frame)
                at = len(head)
                if at - lane.size == (head[1] + 2 if head[0] == 0x0A else 0):  # no cache field
                    frame = b"".join((head, CACHE_HEAD, self._uuids.next(), frame[at:]))
                self._dispatch_frame(frame)  # type: ignore[arg-type]
                return
        decoded = self._decode(frame)
        if decoded is not None:
            message, payload = decoded
            if not message.cache:
                message.cache = self._uuids.next().decode()
            self._take(message, payload)

    def _forward(self, frame: bytes) -> bool:
        """See :meth:`MasterEngine._forward`: a plain result goes to the client in the bytes it came in."""
        if self._gathers or self._scatters or self._steers:
            return False
        plain = self._lanes.read(frame)
        if plain is None or not is_bare(plain[3]):
            return False
        lane, head, payload, ext = plain
        topic = lane.topic
        if self.pipelined:
            topic = self._own_topic
            frame = _wire.write(_wire.PalmMessage, lane.next_head(head), payload, ext)
        self.stats.answered += 1
        self.stats.bytes_out += len(frame)
        assert self._outlet is not None
        kept = self._outlet.send(topic, frame, per_call=not ext and topic == lane.topic)
        if kept and self._outlet.is_full():
            self._check_backlog()
        return True


class Master(_PalmMaster):
    """Distributes jobs over workers.

    Args:
        name: Of the server.
        pull_address: Where jobs come in (binds PULL).
        pub_address: Where answers go out (binds XPUB).
        worker_pull_address: Where workers send results (binds PULL).
        worker_push_address: Where workers get jobs (binds PUSH); the acknowledged channel gets a free port beside it.
        db_address: Cache and addresses (binds).
        pipelined: Send results on to the next server instead of back to the client.
        cache: Store of the cache; ``None`` for an own :class:`~pylm.persistence.kv.DictDB`.
        log_level: Of the logger, which has the server's name.
        options: Everything the original did not have.
        messages: Stop after so many messages; for tests.

    Raises:
        zmq.ZMQError: An address is in use or not an address.

    Source: ``pylm.servers.Master`` of 0.14.4, whose default cache was one object for all masters of a process.
    """

    def __init__(
        self,
        name: str,
        pull_address: str,
        pub_address: str,
        worker_pull_address: str,
        worker_push_address: str,
        db_address: str,
        pipelined: bool = False,
        cache: object = None,
        log_level: int = logging.INFO,
        *,
        options: ServerOptions | None = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(
            name, pub_address, worker_pull_address, worker_push_address, db_address, pipelined, cache,
            log_level, options, messages,
        )  # fmt: skip
        self.pull_address = pull_address
        self.pull_socket = self._open(zmq.PULL, bind=pull_address)
        self._inputs.append(
            (self.pull_socket, lambda: self._drain_input(self.pull_socket, self._accept))
        )
        self._publish_keys(**self._common_keys(), pull_address=pull_address)


class Hub(_PalmMaster):
    """A master fed by a previous server; parameters as in :class:`Master` and :class:`~pylm.servers.Pipeline`.

    Args:
        name: Of the server.
        sub_address: ``pub_address`` of the previous server (connects).
        pub_address: Where answers go out (binds).
        worker_pull_address: Where workers send results (binds).
        worker_push_address: Where workers get jobs (binds).
        db_address: Cache and addresses (binds).
        previous: Name of the previous server, or the topic its ``handle_stream`` chooses.
        pipelined: Send results on to the next server instead of back to the client.
        cache: Store of the cache; ``None`` for an own one.
        log_level: Of the logger.
        options: Everything the original did not have.
        messages: Stop after so many messages; for tests.

    Raises:
        zmq.ZMQError: An address is in use or not an address.

    Source: ``pylm.servers.Hub`` of 0.14.4.
    """

    _inbound_name = "Sub"

    def __init__(
        self,
        name: str,
        sub_address: str,
        pub_address: str,
        worker_pull_address: str,
        worker_push_address: str,
        db_address: str,
        previous: str,
        pipelined: bool = False,
        cache: object = None,
        log_level: int = logging.INFO,
        *,
        options: ServerOptions | None = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(
            name, pub_address, worker_pull_address, worker_push_address, db_address, pipelined, cache,
            log_level, options, messages,
        )  # fmt: skip
        self.sub_address = sub_address
        self.previous = previous
        self.sub_socket = self._subscribe(sub_address, previous, self._lanes, self._accept)
        self._publish_keys(**self._common_keys(), sub_address=sub_address)
