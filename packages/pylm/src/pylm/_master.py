"""What masters of both generations are: jobs in, workers around, answers out.

Two channels to workers: PUSH/PULL, which every original worker speaks and nobody acknowledges, and a ROUTER whose
address is the cache key ``worker_router_address``; there the master knows who holds what. Subclassed by
:mod:`pylm._palmmaster` and :mod:`pylm._oldmaster`. Source: API reference, sections A1 and G5; faults E-8, E-10 to
E-12, E-14, E-19 to E-21.
"""

from __future__ import annotations

import math
import struct
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

import zmq

from pylm import _wire
from pylm._dispatch import Dispatcher, Group, Job
from pylm._frames import DONTWAIT, LARGE, SNDMORE, recv_body, recv_routed, sender_of
from pylm._loop import DRAIN
from pylm._outlet import MORE_NOW
from pylm._proto.palm_new_pb2 import WorkerReady
from pylm._server import FAILED_PAYLOAD, Engine, endpoint_of
from pylm._steering import Steered
from pylm.errors import Malformed, Overloaded, TimedOut, WorkerLost

__all__ = ["BaseMaster", "MasterEngine"]

PUSH_WINDOW: Final = 16
"""Jobs on the unacknowledged channel at a time while workers of the other one exist."""


class BaseMaster(Steered):
    """The functions a master's author may override."""

    @staticmethod
    def change_payload(message: Any, new_payload: bytes) -> Any:
        """Return the message with another payload."""
        message.payload = new_payload
        return message

    def scatter(self, message: Any) -> Iterable[Any]:
        """Yield the messages that go to workers for one that came in: none, one or many."""
        yield message

    def gather(self, message: Any) -> Iterable[Any]:
        """Yield the messages that go on for one that came back from a worker: none, one or many."""
        yield message


class MasterEngine(Engine):
    """What masters of both generations share; subclasses translate between clients' and workers' envelopes.

    Subclasses open the way in and out and call :meth:`_open_workers`.
    """

    hooks: type = BaseMaster
    """The class whose ``scatter`` and ``gather`` do nothing."""
    worker_pull_socket: zmq.Socket[bytes]
    worker_push_socket: zmq.Socket[bytes]
    worker_router_socket: zmq.Socket[bytes]
    _inbound_name = "Pull"
    _outbound_name = "Pub"

    def _open_workers(self, pull_address: str, push_address: str) -> str:
        """Bind both channels; return the address of the acknowledged one."""
        self.worker_pull_address = pull_address
        self.worker_push_address = push_address
        self.worker_pull_socket = self._open(zmq.PULL, bind=pull_address)
        self.worker_push_socket = self._open(zmq.PUSH, bind=push_address)
        self.worker_push_socket.linger = 0
        router = self.options.router_address
        scheme, _, rest = (router or push_address).partition("://")
        host = rest.rpartition(":")[0] if scheme == "tcp" else rest
        if router is None:
            router = f"tcp://{host}:*" if scheme == "tcp" else f"{scheme}://{rest}-router"
        self.worker_router_socket = self._open(zmq.ROUTER, bind=router)
        self.worker_router_socket.router_mandatory = 1
        self.worker_router_socket.router_handover = 1  # a worker that connects again is the same
        self._dispatcher = Dispatcher(self.options.max_attempts)
        self._pushed = self._pulled = 0
        self._push_seen = 0.0
        self._scatters = type(self).scatter is not self.hooks.scatter  # type: ignore[attr-defined]
        self._gathers = type(self).gather is not self.hooks.gather  # type: ignore[attr-defined]
        self._results = [
            (self.worker_pull_socket, self._on_worker_pull),
            (self.worker_router_socket, self._on_router),
        ]
        self._deaf = False
        self._push_to_worker = sender_of(self.worker_push_socket)
        self._route_to_worker = sender_of(self.worker_router_socket)
        self.stats.gauges["queue"] = lambda: len(self._dispatcher.queue)
        self.stats.gauges["requeued"] = lambda: self._dispatcher.requeued
        self.stats.gauges["workers"] = self._describe_workers
        port = endpoint_of(self.worker_router_socket)
        if scheme == "tcp" and host in ("*", "0.0.0.0"):  # noqa: S104 - what the user bound to
            return f"tcp://_:{port.rpartition(':')[2]}"
        return port

    def _describe_workers(self) -> list[dict[str, Any]]:
        now = time.monotonic()
        return [
            {
                "name": worker.name,
                "busy": len(worker.jobs),
                "done": worker.done,
                "seen_s": round(now - worker.seen, 3),
            }
            for worker in list(self._dispatcher.workers.values())
        ]

    def _begin(self, cache_messages: int) -> None:
        log = self.logger.info
        log("Starting the router")
        log("Starting inbound part %s", self._inbound_name)
        log("Starting inbound part WorkerPull")
        log("Starting outbound part WorkerPush")
        log("Starting outbound part %s", self._outbound_name)
        log("Starting bypass part Cache")
        self._alone = None  # workers speak too
        super()._begin(cache_messages)
        assert self._loop is not None
        for socket, handler in self._results:
            self._loop.add_reader(socket, handler)
        self._loop.call_later(self._tick_s(), self._on_tick)
        log("Launch router")
        log("Inbound %s connects to WorkerPush", self._inbound_name)
        log("Inbound WorkerPull connects to %s", self._outbound_name)
        log("Outbound WorkerPush connects to exterior")
        log("Outbound %s connects to exterior", self._outbound_name)
        for part in (self._inbound_name, "WorkerPull", "WorkerPush"):
            log("%r successfully started", part.encode())
        log("%s successfully started", self.name)

    def _busy(self) -> int:
        return self._dispatcher.in_work()

    # Translation, overridden by the old generation

    def _to_worker(self, message: _wire.Envelope, payload: bytes) -> bytes:
        return _wire.encode(message, payload)

    def _from_worker(self, frame: bytes | memoryview) -> tuple[_wire.Envelope, bytes] | None:
        return _wire.decode_new(frame)

    def _answer(self, message: _wire.Envelope, payload: bytes, *, failed: bool = False) -> None:
        raise NotImplementedError

    def _scatter(self, message: _wire.Envelope, payload: bytes) -> Iterator[tuple[Any, bytes]]:
        message.payload = payload
        for item in self.scatter(message):  # type: ignore[attr-defined]
            yield item, item.payload

    def _gather(self, message: _wire.Envelope, payload: bytes) -> Iterator[tuple[Any, bytes]]:
        message.payload = payload
        for item in self.gather(message):  # type: ignore[attr-defined]
            yield item, item.payload

    # Jobs in

    def _take(self, message: _wire.Envelope, payload: bytes) -> None:
        """Hand a message from outside to a worker."""
        idempotent = False
        deadline = math.inf
        ext = message.ext
        try:
            if ext and _wire.has_more(ext):
                extension = _wire.parse_extension(ext)
                if extension.HasField("error"):
                    self.stats.failed += 1
                    self._answer(message, payload, failed=True)
                    return
                idempotent = extension.idempotent
                if extension.deadline_ms:
                    assert self._loop is not None
                    deadline = self._loop.clock() + extension.deadline_ms / 1000
            if self._guards:
                self._admit(payload)
            waiting = len(self._dispatcher.queue)
            if self.options.overflow == "raise" and waiting >= self.options.queue_limit:
                raise Overloaded(f"{self.name} has {waiting} jobs waiting for workers; try later")
            if not self._scatters:
                self._dispatch(Job(self._to_worker(message, payload), None, idempotent, deadline))
                return
            copies = [self._to_worker(*item) for item in self._scatter(message, payload)]
        except Exception as error:
            self._log_failure(error)
            where = "scatter" if self._scatters else message.function.rpartition(".")[2]
            self._mark_failed(message, error, self.name, where)
            self._answer(message, FAILED_PAYLOAD, failed=True)
            return
        group = Group(len(copies))
        for frame in copies:
            self._dispatch(Job(frame, None, idempotent, deadline, group))

    def _dispatch(self, job: Job) -> None:
        if self._dispatcher.queue or not self._place(job):
            queue = self._dispatcher.queue
            if len(queue) >= self.options.queue_limit and self.options.overflow == "drop-oldest":
                self._fail(
                    queue.popleft(),
                    Overloaded(f"{self.name} dropped the oldest of {len(queue) + 1} waiting jobs"),
                )
            self._dispatcher.enqueue(job)
            self._watch_push()
            self._check_backlog()

    def _place(self, job: Job) -> bool:
        dispatcher = self._dispatcher
        worker = dispatcher.free_worker() if dispatcher.workers else None
        if worker is not None:
            assert self._loop is not None
            identity = dispatcher.assign(job, worker, self._loop.clock())
            try:
                send = self._route_to_worker
                send(worker.identity, MORE_NOW)
                send(b"J" + identity, SNDMORE)
                send(job.frame, 0, len(job.frame) < LARGE)
            except zmq.ZMQError:
                dispatcher.unassign(job, worker)  # gone, or its connection is, or it does not read
                return self._place(job)
            return True
        if dispatcher.workers and self._pushed - self._pulled >= PUSH_WINDOW:
            return False
        try:
            self._push_to_worker(job.frame, DONTWAIT, len(job.frame) < LARGE)
        except zmq.Again:
            return False
        self._pushed += 1
        return True

    def _refill(self) -> None:
        queue = self._dispatcher.queue
        while queue:
            job = queue.popleft()
            if not self._place(job):
                queue.appendleft(job)
                break
        self._watch_push()

    def _watch_push(self) -> None:
        assert self._loop is not None
        queue = self._dispatcher.queue
        capped = self._dispatcher.workers and self._pushed - self._pulled >= PUSH_WINDOW
        if queue and not capped:
            self._loop.add_writer(self.worker_push_socket, self._refill)
        else:
            self._loop.remove_writer(self.worker_push_socket)

    def _check_backlog(self) -> None:
        """Stop reading new work while too many jobs wait, and results as well while too many answers do."""
        loop, outlet = self._loop, self._outlet
        assert loop is not None
        if self.options.overflow != "block" or outlet is None:
            return
        limit, queued = self.options.queue_limit, len(self._dispatcher.queue)
        if not self._paused and (queued >= limit or outlet.is_full()):
            self._paused = True
            for socket, _ in self._inputs:
                loop.remove_reader(socket)
        elif self._paused and queued * 2 <= limit and outlet.has_room():
            self._paused = False
            for socket, handler in self._inputs:
                loop.add_reader(socket, handler)
        # Whatever waits for workers leaves only while their results are read.
        if not self._deaf and outlet.is_full():
            self._deaf = True
            for socket, _ in self._results:
                loop.remove_reader(socket)
        elif self._deaf and outlet.has_room():
            self._deaf = False
            for socket, handler in self._results:
                loop.add_reader(socket, handler)
        if self._paused:
            self._check_later()

    def _dispatch_frame(self, frame: bytes) -> None:
        """Dispatch a job that is nothing but its frame; the unacknowledged channel needs no record of it."""
        dispatcher = self._dispatcher
        if not (dispatcher.workers or dispatcher.queue):
            try:
                self._push_to_worker(frame, DONTWAIT)
            except zmq.Again:
                pass
            else:
                self._pushed += 1
                return
        self._dispatch(Job(frame))

    # Results back

    def _forward(self, frame: bytes) -> bool:
        """Publish a result that needs no look, if it is one; return whether it was."""
        return False

    def _on_worker_pull(self) -> None:
        receive, forward = self.worker_pull_socket.recv, self._forward
        large = False
        for _ in range(DRAIN):
            try:
                frame = recv_body(receive, DONTWAIT, large)
            except zmq.Again:
                break
            large = len(frame) >= LARGE
            self._pulled += 1
            if large or not forward(frame):  # type: ignore[arg-type]
                self._result(frame, None)
        if self._dispatcher.queue:
            self._refill()

    def _on_router(self) -> None:
        assert self._loop is not None
        router = self.worker_router_socket
        dispatcher = self._dispatcher
        now = self._loop.clock()
        for _ in range(DRAIN):
            try:
                identity, head, frame = recv_routed(router, DONTWAIT)
            except zmq.Again:
                break
            kind, subject = head[:1], head[1:]
            if kind == b"R" and frame is not None:
                job = dispatcher.finish(identity, subject, now)
                if job is not None:
                    if job.group is not None:
                        job.group.left -= 1
                    if dispatcher.queue:
                        self._refill()
                    if not self._forward(frame):
                        self._result(frame, job)
            elif kind == b"P" and frame is not None:
                if dispatcher.holds(identity, subject) is not None:
                    self._result(frame, None)
            elif kind == b"D":
                if dispatcher.finish(identity, subject) is not None:
                    self.stats.ended += 1
            elif kind == b"H":
                self._tell(identity, b"A" if dispatcher.seen(subject, now) else b"?")
            elif kind == b"W" and frame is None:
                self._on_ready(subject, now)
            elif kind == b"Q" and len(subject) == 8:
                dispatcher.answered(identity, struct.unpack(">d", subject)[0])
            elif kind == b"B":
                dispatcher.leaving(subject)
            elif kind == b"X":
                dispatcher.give_back(identity, subject)
            else:
                self.stats.malformed += 1
                self.logger.error("Message could not be decoded")
        if dispatcher.queue:
            self._refill()

    def _tell(self, identity: bytes, text: bytes) -> None:
        """Tell a worker that its heartbeat arrived, or ask it who it is or what it has."""
        try:
            self.worker_router_socket.send_multipart([identity, text], DONTWAIT)
        except zmq.ZMQError:
            self.logger.debug("a worker left before it could be told")

    def _on_ready(self, data: bytes, now: float) -> None:
        try:
            ready = WorkerReady.FromString(data)
        except _wire.DecodeError:
            ready = WorkerReady()
        if not (
            ready.identity and ready.credit
        ):  # no worker says so: it would be given jobs and lose them
            self.stats.malformed += 1
            self.logger.error("Message could not be decoded")
            return
        beat_s = ready.heartbeat_ms / 1000 or self.options.heartbeat_s
        self._dispatcher.ready(
            ready.identity, ready.name, min(ready.credit, 1024), min(beat_s, 60.0), now
        )

    def _result(self, frame: bytes | memoryview, job: Job | None) -> None:
        """Publish what a worker returned."""
        try:
            found = self._from_worker(frame)
        except Malformed:
            found = None
        if found is None:
            self.stats.malformed += 1
            self.logger.error("Message could not be decoded")
            return
        message, payload = found
        ext = message.ext
        failed = bool(ext) and _wire.has_more(ext) and _wire.parse_extension(ext).HasField("error")
        if failed:
            self.stats.failed += 1
        if not (self._gathers or self._scatters) or failed:
            self._answer(message, payload, failed=failed)
            return
        if ext:
            message.ext = _wire.strip_complete(ext)
        complete = bool(ext) and job is not None and (job.group is None or job.group.left == 0)
        try:
            items = list(self._gather(message, payload)) if self._gathers else [(message, payload)]
        except Exception as error:
            self._log_failure(error)
            self._mark_failed(message, error, self.name, "gather")
            self._answer(message, FAILED_PAYLOAD, failed=True)
            return
        for index, (item, new_payload) in enumerate(items):
            if complete and index == len(items) - 1:
                item.ext = _wire.add_complete(item.ext)
            self._answer(item, new_payload)
        if not items:
            self.stats.ended += 1

    def _fail(self, job: Job, error: Exception) -> None:
        """Answer a job that no worker will answer."""
        self.logger.error("%s", error.message if hasattr(error, "message") else error)
        found = self._from_worker(job.frame)
        if found is None:
            self.stats.dropped += 1
            return
        message, _ = found
        self._mark_failed(message, error, self.name, message.function.rpartition(".")[2])
        self._answer(message, FAILED_PAYLOAD, failed=True)

    def _tick_s(self) -> float:
        return min(0.25, self.options.heartbeat_s / 2)

    def _on_tick(self) -> None:
        assert self._loop is not None
        now = self._loop.clock()
        if self._deaf:  # to their heartbeats too
            for worker in self._dispatcher.workers.values():
                worker.seen = now
        lost, late = self._dispatcher.expire(now)
        for job in lost:
            self._fail(
                job,
                WorkerLost(
                    f"{self.name} lost the job with its worker, or on the way, after {job.attempt} attempts; "
                    "send it as idempotent if it may run twice"
                ),
            )
        for job in late:
            self._fail(job, TimedOut(f"{self.name} had no result before the deadline of the job"))
        for worker in self._dispatcher.to_ask(now):
            self._tell(worker.identity, b"Q" + struct.pack(">d", now))
        if self._pulled != self._push_seen:
            self._push_seen, self._push_at = self._pulled, now
        elif self._pushed > self._pulled and now - getattr(self, "_push_at", now) > 5.0:
            self._pushed = self._pulled  # their workers are gone, and with them the jobs
        self._refill()
        self._loop.call_later(self._tick_s(), self._on_tick)
