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
    "DEFAULT_TIMEOUT_S",
    "READY_ITERABLES",
    "UNSET",
    "JobRunner",
    "Timeout",
    "Unset",
    "as_payload",
    "with_progress",
]

DEFAULT_TIMEOUT_S: Final = 60.0

_WINDOW = 1000
_BURST = 64
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
        self,
        link: Link,
        template: _wire.Template,
        payloads: Iterable[Any],
        messages: int,
        *,
        uses_ids: bool,
        timeout_s: float | None,
        explicit: bool,
        idempotent: bool = False,
        serializer: str = "",
        describe: str,
        extra: dict[str, Any] | None = None,
    ) -> Iterator[Answer]:
        """Send every payload, yield every answer, until ``messages`` answers or until all are known to be in.

        Args:
            link: The sockets.
            template: The envelope.
            payloads: What to send; lists, tuples, ranges and ``itertools.repeat`` are read in this thread, anything
                else in a thread of its own, since it may wait for answers.
            messages: Answers to yield.
            uses_ids: The peer returns message ids.
            timeout_s: Longest silence, seconds; ``None`` for ever.
            explicit: The timeout was given for this call, so servers learn it as the deadline of each message.
            idempotent: Unanswered messages may be sent again.
            serializer: Of the payloads; empty for bytes.
            describe: Names function and server in errors.
            extra: Further fields of the extension.

        Raises:
            TimedOut: Nothing came for ``timeout_s``.
            TypeError: A payload is not ``bytes`` (without a serializer).
            Exception: Whatever iterating over ``payloads`` raises.
        """
        fail: _tracing.Fail | None = None
        with contextlib.ExitStack() as stack:
            if _tracing.client_span is not None:
                span = _tracing.client_span(describe.partition(" ")[2].strip("'"))
                carrier, fail = stack.enter_context(span)
                if carrier:
                    extra = {**(extra or {}), "trace": carrier}
            call = Call(uses_ids=uses_ids, keep=idempotent and uses_ids)
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
            state = _Job(self, link, call, template, dumps, suffix, timeout_s, describe)
            try:
                for answer in state.run(payloads, messages):
                    if answer[2] is not None and fail is not None:
                        fail(answer[2])
                    yield answer
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


class _Job:
    """One run of :meth:`JobRunner.run`."""

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
    ) -> None:
        self.runner = runner
        self.link = link
        self.call = call
        self.template = template
        self.dumps = dumps
        self.suffix = suffix
        self.timeout_s = timeout_s
        self.describe = describe
        self.received = 0

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
            while not call.exhausted and sent < _BURST and call.sent - self.received < allowed:
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
            if not answers and (sent == _BURST):
                link.poll()
            while answers and self.received < messages:
                self.received += 1
                yield answers.popleft()
            if self.received >= messages:
                if messages <= 0 and not call.exhausted:
                    continue
                return
            if sent == _BURST:
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
        resend_s = _RESEND_S
        deadline = self.deadline()
        resend_at = time.monotonic() + resend_s
        linger_at = float("inf")
        again: collections.deque[bytes] = collections.deque()
        while self.received < messages:
            if again:
                self._resend(again)
            if answers:
                self.received += 1
                yield answers.popleft()
                if not answers:
                    deadline = self.deadline()
                    resend_at, linger_at = time.monotonic() + resend_s, float("inf")
                continue
            if call.error is not None:
                raise call.error
            if call.exhausted and call.uses_ids and call.complete >= call.sent:
                linger_at = min(linger_at, time.monotonic() + _LINGER_S)
            wake_at = min(deadline, linger_at)
            if call.kept is not None:
                wake_at = min(wake_at, resend_at)
            if not call.exhausted:
                wake_at = min(wake_at, time.monotonic() + 0.1)
            if again:
                wake_at = min(wake_at, time.monotonic() + 0.01)
            if link.wait(call, wake_at) or call.error is not None:
                continue
            now = time.monotonic()
            if now >= linger_at:
                return
            if now >= deadline and (call.exhausted or call.complete < call.sent):
                raise TimedOut(
                    f"{self.describe}: no answer for {self.timeout_s} s; "
                    f"{self.received} answers to {call.sent} messages so far",
                    elapsed_s=self.timeout_s,
                )
            if call.kept and now >= resend_at:
                again = collections.deque(call.kept)
                resend_s = min(resend_s * 2, _RESEND_CAP_S)
                resend_at = now + resend_s

    def _resend(self, again: collections.deque[bytes]) -> None:
        """Send some of the messages with these ids again, as far as they are unanswered and there is room."""
        assert self.call.kept is not None
        for _ in range(min(_BURST, len(again))):
            frame = self.call.kept.get(again[0])
            if frame is not None and not self.link.try_send(frame):
                return
            again.popleft()


def with_progress(answers: Iterator[Answer], count: int, label: str) -> Iterator[Answer]:
    """Yield the answers, drawing a bar on standard error."""
    from rich.console import Console
    from rich.progress import track

    yield from track(answers, description=label, total=count, console=Console(stderr=True))
