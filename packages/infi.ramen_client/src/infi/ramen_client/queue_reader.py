"""Taking messages from the queue and sending them to the server.

Source: ``infi.ramen_client.queue_reader`` of 1.40: the same class, methods, results and log lines. What a reply or a
failure does to a message is decided in :mod:`infi.ramen_client.replies` and :mod:`infi.ramen_client.delivery`.
"""

from __future__ import annotations

import contextlib
import logging
import os
import threading
import time
import weakref
from collections.abc import Callable
from types import TracebackType
from typing import TYPE_CHECKING, Any

from infi.ramen_client._wire import Wire
from infi.ramen_client.blacklist import Blacklist
from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.delivery import (
    ACCEPTED,
    DROPPED,
    EMPTY,
    RETRY,
    Delivery,
    Stats,
    reqid_of,
    status_of,
)
from infi.ramen_client.diskqueue import DeadLetters, FileLock, Sleeper
from infi.ramen_client.errors import AuthenticationError, AutheticationError, QueueError
from infi.ramen_client.exchange import Call, Exchange, Failure
from infi.ramen_client.queue import DefaultQueue
from infi.ramen_client.replies import Verdict, Verdicts, judge
from infi.ramen_client.serialization import compress, dump_json
from infi.ramen_client.status import StatusFile
from infi.ramen_client.telemetry import guarded, with_telemetry

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = [
    "AuthenticationError",
    "AutheticationError",
    "Blacklist",
    "DefaultQueue",
    "QueueReader",
    "compress",
    "dump_json",
    "logger",
]

logger = logging.getLogger("ramen_client")

STOP_GRACE_S = 0.05
ERROR_PAUSE_S = 1.0
PLACE_CHECK_S = 1.0
STANDBY_S = 0.1
"""How often a stand-by asks whether the active reader has gone, seconds."""


class QueueReader:
    """Sends the messages of one queue, one after the other over one connection.

    One reader per queue is active at a time, over all threads and processes; others stand by and take over within 0.1 s
    when it ends, however it ends. :meth:`stop`, :meth:`get_blacklist` and the attributes may be used from any thread;
    the methods that send, from one at a time. A reader that was made before a fork may be used in the child.

    Args:
        config: A valid configuration.
        encoding: ``"zlib"`` sends the body as 1.40 did (zlib under ``Content-Encoding: gzip``), ``"gzip"`` real gzip.
        trust_env: Use ``HTTP(S)_PROXY``, ``NO_PROXY`` and ``.netrc``. ``REQUESTS_CA_BUNDLE`` or ``CURL_CA_BUNDLE``, a
            file of the certificates to be trusted instead of the usual ones, is used in any case, as in 1.40.
        max_retry_delay: Longest pause between attempts in seconds; the first is ``config.retry_delay``.
        dead_after: Set a message aside after so many failed attempts; ``None`` tries for ever.
        on_event: Called with a name (``accepted``, ``dropped``, ``dead``, ``retry``, ``refused``, ``active``,
            ``standby`` and those of the queue) and facts as keyword arguments, in the thread that sends.

    Raises:
        AssertionError: ``config`` is no :class:`QueueReaderConfig`.
        DataError: ``config`` is not valid.
        OSError: The queue's folder cannot be created.
        ValueError: Unknown ``encoding``.
    """

    EMPTY = EMPTY
    ACCEPTED = ACCEPTED
    DROPPED = DROPPED
    RETRY = RETRY

    def __init__(
        self,
        config: QueueReaderConfig,
        *,
        encoding: str = "zlib",
        trust_env: bool = False,
        max_retry_delay: float = 600.0,
        dead_after: int | None = None,
        on_event: Callable[..., None] | None = None,
    ) -> None:
        if not isinstance(config, QueueReaderConfig):
            raise AssertionError("QueueReaderConfig instance is required")
        config.validate()
        self._config = config
        delivery_events = with_telemetry(on_event, config)
        self._on_event = guarded(on_event) or (lambda *_args, **_facts: None)
        self._queue = DefaultQueue(config, on_event=on_event)
        files = self._queue.disk.files
        self._blacklist = Blacklist(config, files.blacklist)
        self._wire = Wire(config, encoding=encoding, trust_env=trust_env)
        self._dead = DeadLetters(files)
        self._options: dict[str, Any] = {
            "max_retry_delay_s": max_retry_delay,
            "dead_after": dead_after,
            "on_event": delivery_events,
        }
        self._status = StatusFile(files)
        self._sleeper: Sleeper | None = None
        self._make_state()
        _readers.add(self)

    def _make_state(self) -> None:
        files = self._queue.disk.files
        self._session = Exchange(self._wire)
        # A reader that is dropped without close() leaves no open connection behind.
        weakref.finalize(self, self._session.close).atexit = False
        self._lock = FileLock(files, files.reader)
        self._stop = threading.Event()
        self._delivery = Delivery(
            self._config,
            self._queue.disk,
            self._blacklist,
            self._dead,
            on_batch=self._mark,
            is_stopped=self._stop.is_set,
            **self._options,
        )
        self._flying: tuple[Any, Call] | None = None
        self._guard = threading.RLock()
        self._ended = threading.Event()
        self._runs = 0
        self._ever_ran = False

    @property
    def stats(self) -> Stats:
        """What this reader has done so far."""
        return self._delivery.stats

    @property
    def dead_letters(self) -> DeadLetters:
        """Messages that were set aside."""
        return self._dead

    def queue_size(self) -> int:
        """Return the number of messages in the queue.

        Raises:
            QueueError: The queue cannot be read.
        """
        return self._queue.disk.size()

    def get_blacklist(self) -> list[Any]:
        """Return the live list of the rules in force."""
        return self._blacklist.get_list()

    def consume_one(self) -> int:
        """Send the next message, if there is one.

        A message that failed before is tried again at once; others come first.

        Returns:
            ``EMPTY``: there is none. ``ACCEPTED``: the server took it. ``DROPPED``: the server does not want it, a rule
            forbids it, or it was set aside as a dead letter. ``RETRY``: it is still in the queue, or another reader is
            active.

        Raises:
            AutheticationError: The server refuses the token; the message is still in the queue.
            QueueError: The queue cannot be used.
        """
        self._session.start()
        if not self._lock.try_acquire_current():
            return self.RETRY if self._queue.disk.size() else self.EMPTY
        try:
            row = self._delivery.next(time.monotonic(), at_once=True)
            if row is None:
                return self.EMPTY
            status, verdict = self._deliver(row)
            self._delivery.flush()
        finally:
            self._leave()
        if verdict is not None and verdict.kind is Verdicts.REFUSED:
            raise refusal(verdict)
        return status

    def run(self, blocking: bool = True) -> int:
        """Send messages until stopped, or until there is nothing left to send.

        Args:
            blocking: With ``True`` wait for messages and for the time of the next attempt, until :meth:`stop`. With
                ``False`` return when the queue is empty, or holds only messages that failed just now.

        Returns:
            How many messages left the queue: accepted, dropped or set aside.

        Raises:
            AutheticationError: The server refuses the token; the messages are still in the queue.
            QueueError: The queue cannot be used (only with ``blocking=False``; else it is logged and tried again).
        """
        return self._run(blocking, raise_refusal=True)

    def run_forever(self) -> int:
        """Send messages until :meth:`stop`, whatever happens: a refused token is reported and tried again, seldom.

        What :func:`~infi.ramen_client.utils.create_queue_reader_and_writer` runs in its thread.

        Returns:
            As :meth:`run`.
        """
        return self._run(True, raise_refusal=False)

    def _run(self, blocking: bool, *, raise_refusal: bool) -> int:
        with self._guard:
            # A stop that came before the first run was meant for it; an older one is over.
            if not blocking or self._ever_ran:
                self._stop.clear()
            self._ever_ran = True
            self._runs += 1
            if self._runs == 1:
                self._ended = (
                    threading.Event()
                )  # a stop of the run before must not cut this one off
            if self._sleeper is None:
                self._sleeper = Sleeper(self._queue.disk.files)
            sleeper = self._sleeper
        if not self._stop.is_set():
            self._session.start()
        try:
            sleeper.listen()
            if not self._stand_by(blocking, sleeper):
                return 0
            self._on_event("active")
            self._queue.disk.reserve()
            self._delivery.forget_holds()
            return self._loop(blocking, raise_refusal, sleeper)
        finally:
            self._land()
            with self._guard:
                self._runs -= 1
                self._stop.clear()
                if self._runs == 0:
                    self._ended.set()
                    self._sleeper = None
                    sleeper.close()
            self._leave()

    def _stand_by(self, blocking: bool, sleeper: Sleeper) -> bool:
        """Wait to become the active reader; return whether this one is."""
        told = False
        while not self._stop.is_set():
            try:
                if self._lock.try_acquire_current():
                    return True
            except QueueError as error:
                if not blocking:
                    raise
                self._bear(error, sleeper)
                continue
            if not blocking:
                return False
            if not told:
                self._on_event("standby")
                told = True
            sleeper.sleep(STANDBY_S, for_pushes=False)
        return False

    def _bear(self, error: QueueError, sleeper: Sleeper) -> None:
        """Report a failure of the queue, and wait before it is used again."""
        logger.error("%s; trying again", error)
        self._delivery.stats.note(str(error))
        self._on_event("queue-error", error=str(error))
        sleeper.sleep(ERROR_PAUSE_S, for_pushes=False)

    def _leave(self) -> None:
        """Stop being the active reader."""
        self._mark(0, 0)
        self._lock.release()

    def _loop(self, blocking: bool, raise_refusal: bool, sleeper: Sleeper) -> int:
        count = 0
        untidied = False
        look_at = 0.0
        while self._flying is not None or not self._stop.is_set():
            try:
                call = None
                if self._flying is not None:
                    (row, call), self._flying = self._flying, None
                else:
                    now = time.monotonic()
                    if now >= look_at:
                        look_at = now + PLACE_CHECK_S
                        if not self._keep_place(blocking, sleeper):
                            break
                    row = self._delivery.next(now)
                if row is not None:
                    status, verdict = self._deliver(row, call, ahead=True)
                    if status in (self.ACCEPTED, self.DROPPED):
                        count += 1
                        untidied = True
                    elif raise_refusal and verdict and verdict.kind is Verdicts.REFUSED:
                        self._delivery.flush()
                        raise refusal(verdict)
                    self._status.note(self._delivery)
                    continue
                self._delivery.flush()
                if untidied:
                    self._queue.disk.tidy()
                    untidied = False
            except QueueError as error:
                if not blocking:
                    raise
                self._bear(error, sleeper)
                continue
            if not blocking:
                break
            self._mark(0, 0)
            self._report()
            self._delivery.reread()
            wait_s, for_pushes = self._delivery.due_in_s(time.monotonic())
            sleeper.sleep(wait_s, for_pushes=for_pushes)
        try:
            self._delivery.flush()
        except QueueError as error:
            logger.error("%s; what was sent last may be sent again", error)
        self._report()
        return count

    def _keep_place(self, blocking: bool, sleeper: Sleeper) -> bool:
        """Become the active reader anew when the folder was removed or replaced; return whether this one is active."""
        if self._lock.is_current():
            return True
        sleeper.reopen()
        return self._stand_by(blocking, sleeper)

    def _report(self) -> None:
        """Leave what others may ask for beside the queue."""
        self._status.note(self._delivery, idle=True)
        self._blacklist.save()

    def _deliver(
        self, row: Any, call: Call | None = None, *, ahead: bool = False
    ) -> tuple[int, Verdict | None]:
        """Send one message and settle it; return 1.40's status and what the server said.

        Args:
            row: The message.
            call: Its request, if it has been sent already.
            ahead: Send the next message, too, as soon as this one is accepted; settling this one then does not keep the
                server waiting.
        """
        delivery = self._delivery
        if call is None and delivery.blacklisted(row):
            return self.DROPPED, None
        following = prepared = None
        try:
            if call is None:
                try:
                    body = self._wire.body(row["data"])
                except (ValueError, TypeError) as error:
                    buried = delivery.bury(row, f"damaged on disk, {error}", None)
                    return self.DROPPED if buried else self.RETRY, None
                call = self._session.prepare(row, reqid_of(row), body)
                self._session.begin(call)
            if ahead and (following := delivery.ahead()) is not None:
                with contextlib.suppress(ValueError, TypeError):  # met again when its turn comes
                    body = self._wire.body(following["data"])
                    prepared = self._session.prepare(following, reqid_of(following), body)
            reply = self._session.end(call)
        except Failure as failure:
            if failure.stopped:
                delivery.put_back(row)
            elif delivery.fail(row, failure, sent=failure.sent):
                return self.DROPPED, None
            return self.RETRY, None
        except BaseException:  # an interrupt: the next request needs the connection
            if call is not None:
                self._session.abandon(call)
            raise
        verdict = judge(reply)
        if prepared is not None and verdict.kind is Verdicts.ACCEPTED and not self._stop.is_set():
            delivery.take_ahead()
            self._flying = following, prepared
            self._session.begin(prepared)
        verdict = delivery.settle(row, reply, verdict)
        return status_of(verdict), verdict

    def _land(self) -> None:
        """Give back a message that was sent ahead and whose reply nobody will wait for."""
        if self._flying is not None:
            (row, call), self._flying = self._flying, None
            self._session.abandon(call)
            self._delivery.put_back(row)

    def _mark(self, first: int, last: int) -> None:
        """Say, in the lock file, which messages are being sent: trimming spares them."""
        self._lock.write(b"%-19d %-19d\n" % (first, last))

    def stop(self) -> None:
        """End :meth:`run` within 0.1 s, also in the middle of a request; does not wait for it.

        A request in flight is given 50 ms to end; one that is cut off is sent again, under the same request id, by the
        next run. Before the first run this ends that run as soon as it begins; after a run it has no effect. May be
        called from any thread and from signal handlers.
        """
        with self._guard:
            self._stop.set()
            if self._sleeper is not None:
                self._sleeper.wake()
            if self._runs == 0:
                return
            ended = self._ended
        cutter = threading.Thread(
            target=self._cut_off, args=(ended,), name="ramen-reader-stop", daemon=True
        )
        try:
            cutter.start()
        except RuntimeError:  # the interpreter is ending
            self._session.stop()

    def _cut_off(self, ended: threading.Event) -> None:
        if not ended.wait(STOP_GRACE_S):
            self._session.stop()

    def test_connection(self) -> bool:
        """Send one test message, which does not pass through the queue.

        Returns:
            Whether the server accepted it; ``False`` also when the token is refused or no answer came. A rule in a
            DROPPED reply is taken over.
        """
        import uuid

        row = {"category": "metrics", "data_type": "test", "data_version": "v1"}
        self._session.start()
        try:
            reply = self._session.send(row, uuid.uuid4().hex, self._wire.test_body())
        except Failure as failure:
            logger.warning("The connection test failed: %s", failure)
            return False
        verdict = judge(reply)
        if verdict.kind is Verdicts.DROPPED and isinstance(verdict.rule, dict):
            self._delivery.take_rule(verdict.rule)
        return verdict.kind is Verdicts.ACCEPTED

    def close(self) -> None:
        """Stop and close everything; a later use opens it again. Idempotent."""
        self.stop()
        self._session.close()
        self._queue.close()
        with self._guard:
            if self._runs == 0:
                self._lock.forget()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _after_fork(self) -> None:
        self._lock.forget()
        if self._sleeper is not None:
            self._sleeper.close()
            self._sleeper = None
        self._make_state()


def refusal(verdict: Verdict) -> AutheticationError:
    """Return the error for a reply that refuses the token."""
    answer = verdict.answer
    if isinstance(answer, dict) and "code" in answer:
        return AutheticationError(f"{answer['code']} - {answer.get('details')}", answer)
    return AutheticationError(verdict.reason, answer)


_readers: weakref.WeakSet[QueueReader] = weakref.WeakSet()


def _before_fork() -> None:
    """Import now what a reader in the child would import first; see the same of the queue."""
    for reader in list(_readers):
        reader._session.load()


def _after_fork_in_child() -> None:
    for reader in list(_readers):
        reader._after_fork()


os.register_at_fork(before=_before_fork, after_in_child=_after_fork_in_child)
