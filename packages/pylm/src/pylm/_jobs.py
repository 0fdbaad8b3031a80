"""Running jobs over a link: windows, deadlines, resending, what ends a job. Shared by the clients of both generations.

Source: API reference, sections A2 and D; faults E-17, E-33.
"""

from __future__ import annotations

import collections
import contextlib
import itertools
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Literal, TypeAlias

from pylm import _tracing, _wire, serializers
from pylm._link import Answer, Call, Link
from pylm.config import Overflow, check_choice, check_seconds
from pylm.errors import TimedOut, WrongType

__all__ = [
    "BURST",
    "DEFAULT_TIMEOUT_S",
    "READY_ITERABLES",
    "UNSET",
    "InOrder",
    "JobRun",
    "JobRunner",
    "Timeout",
    "Unset",
    "as_payload",
    "progress_bar",
]

DEFAULT_TIMEOUT_S: Final = 60.0

_WINDOW = 1000
BURST: Final = 64
_LINGER_S = 0.5
_RESEND_S = 4.0
_RESEND_CAP_S = 8.0
READY_ITERABLES = (list, tuple, range, itertools.repeat)


class Unset:
    """The type of :data:`UNSET`: the argument was not given."""

    def __repr__(self) -> str:
        return "the client's timeout"


UNSET = Unset()
Timeout: TypeAlias = float | Unset | None


def as_payload(payload: Any, describe: str) -> bytes | memoryview:
    """Return a payload that is ``bytes`` or has a buffer of contiguous bytes, for one that may be sent.

    Args:
        payload: ``bytes``, ``bytearray``, ``memoryview``, ``array``, ``mmap``, a NumPy array ...
        describe: Names the call in the error.

    Raises:
        TypeError: It has no such buffer.
    """
    if type(payload) is bytes:
        return payload
    try:
        return memoryview(payload).cast("B")
    except TypeError:
        raise WrongType(
            f"{describe}: the payload is {type(payload).__name__}; without a serializer it must be bytes, "
            "or an object with a contiguous buffer"
        ) from None


def errors_default() -> Literal["raise", "payload"]:
    """Return what ``PYLM_ERRORS`` asks for: ``payload`` for the original's ``b'0'``, else ``raise``."""
    return "payload" if os.environ.get("PYLM_ERRORS") == "payload" else "raise"


class JobRunner:
    """Runs jobs over a link; what the clients of both generations share.

    Args:
        timeout: See :class:`Client`.
        errors: See :class:`Client`.
        overflow: See :class:`Client`.
    """

    def __init__(
        self, timeout: float | None, errors: Literal["raise", "payload"] | None, overflow: Overflow
    ) -> None:
        check_seconds("timeout", timeout)
        check_choice("overflow", overflow, ("block", "drop-oldest", "raise"))
        self.timeout = timeout
        self.errors: Literal["raise", "payload"] = errors_default() if errors is None else errors
        check_choice("errors", self.errors, ("raise", "payload"))
        self.overflow: Overflow = overflow
        self.ids = _wire.MessageIds()

    def limit(self, timeout: Timeout) -> float | None:
        """Return the seconds that apply to a call."""
        if isinstance(timeout, Unset):
            return self.timeout
        check_seconds("timeout", timeout)
        return timeout

    def run(
        self, link: Link, payloads: Iterable[Any], messages: int, **terms: Any
    ) -> Iterator[Answer]:
        """Send every payload, yield every answer, until ``messages`` answers or until all are known to be in.

        Args:
            link: The sockets.
            payloads: What to send; lists, tuples, ranges and ``itertools.repeat`` are read in this thread, anything
                else in a thread of its own, since it may wait for answers.
            messages: Answers to yield.
            terms: See :meth:`opened`.

        Raises:
            TimedOut: Nothing came for ``timeout_s``.
            TypeError: A payload is not ``bytes`` (without a serializer).
            Exception: Whatever iterating over ``payloads`` raises.
        """
        with self.opened(link, Call, **terms) as job:
            for answer in job.run(payloads, messages):
                yield answer if answer[2] is None else job.noted(answer)

    @contextlib.contextmanager
    def opened(
        self,
        link: Link,
        kind: type[Call],
        *,
        template: _wire.Template,
        uses_ids: bool,
        timeout_s: float | None,
        explicit: bool,
        idempotent: bool = False,
        serializer: str = "",
        describe: str,
        extra: dict[str, Any] | None = None,
    ) -> Iterator[JobRun]:
        """Open a job and finish it in the end.

        Args:
            link: The sockets.
            kind: Of the call.
            template: The envelope.
            uses_ids: The peer returns message ids.
            timeout_s: Longest silence, seconds; ``None`` for ever.
            explicit: The timeout was given for this call, so servers learn it as the deadline of each message.
            idempotent: Unanswered messages may be sent again.
            serializer: Of the payloads; empty for bytes.
            describe: Names function and server in errors.
            extra: Further fields of the extension.
        """
        fail: _tracing.Fail | None = None
        with contextlib.ExitStack() as stack:
            if _tracing.client_span is not None:
                span = _tracing.client_span(describe.partition(" ")[2].strip("'"))
                carrier, fail = stack.enter_context(span)
                if carrier:
                    extra = {**(extra or {}), "trace": carrier}
            call = kind(uses_ids=uses_ids, keep=idempotent and uses_ids)
            link.open(call)
            dumps = serializers.lookup(serializer).dumps if serializer else None
            fields: dict[str, Any] = dict(extra or {})
            if idempotent:
                fields["idempotent"] = True
            if explicit and timeout_s is not None:
                fields["deadline_ms"] = max(1, int(timeout_s * 1000))
            if serializer:
                fields["serializer"] = serializer
            suffix = _wire.Extension(**fields).SerializeToString() if fields and uses_ids else b""
            try:
                yield JobRun(self, link, call, template, dumps, suffix, timeout_s, describe, fail)
            finally:
                link.finish(call)

    def result(self, answer: Answer) -> Any:
        """Return an answer's value, or raise its failure.

        Raises:
            PylmError: The remote side failed, unless ``errors="payload"``.
        """
        _, payload, failure, serializer = answer
        if failure is not None:
            if self.errors == "raise":
                raise failure
            return payload
        return serializers.lookup(serializer).loads(payload) if serializer else payload


class JobRun:
    """One job: its messages, its answers, and when it sends again, lingers or gives up.

    ``run`` sends and receives in threads; :mod:`pylm._aiolink` does the same in an event loop.
    """

    def __init__(
        self,
        runner: JobRunner,
        link: Link,
        call: Call,
        template: _wire.Template,
        dumps: Callable[[Any], bytes] | None,
        suffix: bytes,
        timeout_s: float | None,
        describe: str,
        fail: _tracing.Fail | None,
    ) -> None:
        self.runner = runner
        self.link = link
        self.call = call
        self.template = template
        self.dumps = dumps
        self.suffix = suffix
        self.timeout_s = timeout_s
        self.describe = describe
        self.fail = fail
        self.received = 0
        self._again: collections.deque[bytes] = collections.deque()
        self._resend_s = _RESEND_S
        self._ends_at = self._resend_at = self._linger_at = float("inf")

    def frame(self, payload: Any) -> bytes:
        """Return the next message."""
        if type(payload) is not bytes:
            payload = as_payload(payload, self.describe) if self.dumps is None else payload
        if self.dumps is not None:
            payload = self.dumps(payload)
        call = self.call
        if not call.uses_ids:
            call.sent += 1
            return self.template.frame(payload, b"")
        identity, ext = self.runner.ids.next()
        frame = self.template.frame(payload, ext + self.suffix if self.suffix else ext)
        if call.kept is not None:
            call.kept[identity] = frame
        self.link.expect(call, identity)
        return frame

    def deadline(self) -> float:
        """Return when the present silence ends the job."""
        return float("inf") if self.timeout_s is None else time.monotonic() + self.timeout_s

    def noted(self, answer: Answer) -> Answer:
        """Return the answer; a failure marks the job's span."""
        if answer[2] is not None and self.fail is not None:
            self.fail(answer[2])
        return answer

    def is_ahead(self) -> bool:
        """Return whether so many answers wait to be read that no more should be asked for."""
        return len(self.call.answers) >= _WINDOW

    def run(self, payloads: Iterable[Any], messages: int) -> Iterator[Answer]:
        """Send and receive, one inside the other or with a feeding thread."""
        if messages <= 0 and isinstance(payloads, itertools.repeat):
            return
        if isinstance(payloads, READY_ITERABLES):
            yield from self._interleaved(iter(payloads), messages)
            return
        thread = threading.Thread(
            target=self._feed, args=(iter(payloads),), name="pylm-job-feeder", daemon=True
        )
        thread.start()
        yield from self._collect(messages)

    def _feed(self, payloads: Iterator[Any]) -> None:
        call = self.call
        try:
            for payload in payloads:
                while self.is_ahead() and not call.stopped:
                    time.sleep(0.002)
                if call.stopped:
                    return
                self.link.send(
                    self.frame(payload), self.deadline(), self.runner.overflow, feeding=True
                )
        except BaseException as error:
            call.error = error
        finally:
            call.exhausted = True

    def _interleaved(self, payloads: Iterator[Any], messages: int) -> Iterator[Answer]:
        call, link, runner = self.call, self.link, self.runner
        answers = call.answers
        allowed = _WINDOW
        waiting: bytes | None = None
        while messages > self.received or not call.exhausted:
            sent = 0
            while not call.exhausted and sent < BURST and call.sent - self.received < allowed:
                if waiting is None:
                    try:
                        waiting = self.frame(next(payloads))
                    except StopIteration:
                        call.exhausted = True
                        break
                if not link.try_send(waiting):
                    if runner.overflow != "block":
                        link.send(waiting, 0.0, runner.overflow, feeding=False)
                        waiting = None
                    break
                waiting = None
                sent += 1
            if not answers and (sent == BURST):
                link.poll()
            while answers and self.received < messages:
                self.received += 1
                yield answers.popleft()
            if self.received >= messages:
                if messages <= 0 and not call.exhausted:
                    continue
                return
            if sent == BURST:
                continue
            if call.exhausted:
                yield from self._collect(messages)
                return
            blocked_at = self.deadline()
            while not link.wait(call, min(time.monotonic() + 0.02, blocked_at)):
                if waiting is None:  # the window was full, but not every message has an answer
                    allowed += _WINDOW
                    break
                if link.try_send(waiting):
                    waiting = None
                    break
                if time.monotonic() >= blocked_at:
                    raise TimedOut(
                        f"{self.describe}: the server took nothing for {self.timeout_s} s; "
                        f"{self.received} answers to {call.sent} messages so far"
                    )

    def _collect(self, messages: int) -> Iterator[Answer]:
        call, link = self.call, self.link
        answers = call.answers
        self.answered()
        while self.received < messages:
            if self._again:
                self.send_again()
            if answers:
                self.received += 1
                yield answers.popleft()
                if not answers:
                    self.answered()
                continue
            if call.error is not None:
                raise call.error
            if link.wait(call, self.wake_at()) or call.error is not None:
                continue
            if self.is_over():
                return

    def answered(self) -> None:
        """Begin a silence: everything that has come was taken."""
        now = time.monotonic()
        self._ends_at = float("inf") if self.timeout_s is None else now + self.timeout_s
        self._resend_at, self._linger_at = now + self._resend_s, float("inf")

    def wake_at(self) -> float:
        """Return until when to wait for an answer, in monotonic seconds; then ask :meth:`is_over`."""
        call = self.call
        now = time.monotonic()
        if call.exhausted and call.uses_ids and call.complete >= call.sent:
            self._linger_at = min(self._linger_at, now + _LINGER_S)
        wake_at = min(self._ends_at, self._linger_at)
        if call.kept is not None:
            wake_at = min(wake_at, self._resend_at)
        if not call.exhausted:
            wake_at = min(wake_at, now + 0.1)
        if self._again:
            wake_at = min(wake_at, now + 0.01)
        return wake_at

    def is_over(self) -> bool:
        """Return whether all answers are in; after a wait that brought none.

        Raises:
            TimedOut: The silence has been too long.
        """
        call = self.call
        now = time.monotonic()
        if now >= self._linger_at:
            return True
        if now >= self._ends_at and (call.exhausted or call.complete < call.sent):
            raise self.silence()
        if call.kept and now >= self._resend_at:
            self._again = collections.deque(call.kept)
            self._resend_s = min(self._resend_s * 2, _RESEND_CAP_S)
            self._resend_at = now + self._resend_s
        return False

    def silence(self) -> TimedOut:
        """Return the error that says that nothing came."""
        return TimedOut(
            f"{self.describe}: no answer for {self.timeout_s} s; "
            f"{self.received} answers to {self.call.sent} messages so far",
            elapsed_s=self.timeout_s,
        )

    def send_again(self) -> None:
        """Send some of the messages that are due again, as far as they are unanswered and there is room."""
        again = self._again
        if not again:
            return
        assert self.call.kept is not None
        for _ in range(min(BURST, len(again))):
            frame = self.call.kept.get(again[0])
            if frame is not None and not self.link.try_send(frame):
                return
            again.popleft()


class InOrder:
    """Puts the answers of a job into the order of its messages; ``ordered`` false lets them pass as they come."""

    def __init__(self, *, ordered: bool) -> None:
        self._early: dict[int, Answer] | None = {} if ordered else None
        self._following = 0

    def take(self, answer: Answer) -> Iterator[Answer]:
        """Yield the answers whose turn it is now that this one has come."""
        if self._early is None:
            yield answer
            return
        self._early[answer[0]] = answer
        while self._following in self._early:
            yield self._early.pop(self._following)
            self._following += 1


@contextlib.contextmanager
def progress_bar(label: str, count: int, *, shown: bool) -> Iterator[Callable[[], object]]:
    """Draw a bar on standard error; its value is called once per answer."""
    if not shown:
        yield bool
        return
    from rich.console import Console
    from rich.progress import Progress

    with Progress(console=Console(stderr=True)) as bar:
        task = bar.add_task(label, total=count)
        yield lambda: bar.advance(task)
