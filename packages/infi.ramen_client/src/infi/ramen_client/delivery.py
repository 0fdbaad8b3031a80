"""Which message is sent next, and what becomes of it: the rules of both readers, without network and without sleep.

Order is kept within one path (category, data type, version): a message that fails holds its path, and only its path,
until its time has come; failures of the network and of the server as a whole pause everything. Accepted messages are
removed by number, in batches; one that was accepted and not yet removed when the process is killed is sent once more
under the same request id.
"""

from __future__ import annotations

import functools
import logging
import time
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

from infi.ramen_client.blacklist import Blacklist
from infi.ramen_client.config import QueueReaderConfig
from infi.ramen_client.diskqueue import DeadLetters, DiskQueue, Outcome
from infi.ramen_client.errors import DataError, QueueError, QueueFull
from infi.ramen_client.replies import Reply, Verdict, Verdicts, judge

if TYPE_CHECKING:
    import random

__all__ = [
    "ACCEPTED",
    "DROPPED",
    "EMPTY",
    "RETRY",
    "Delivery",
    "Path",
    "Stats",
    "path_of",
    "reqid_of",
    "status_of",
]

logger = logging.getLogger("ramen_client")

EMPTY, ACCEPTED, DROPPED, RETRY = range(4)

Path: TypeAlias = tuple[str, str, str]

BATCH = 100
SCAN = 10_000
FLUSH_AFTER_S = 0.1
DEFAULT_POLLING_S = 5.0
DEFAULT_RETRY_S = 30.0


def _ignore(*_arguments: Any, **_facts: Any) -> None:
    """Take an event nobody wants."""


@functools.cache
def _jitter() -> random.Random:
    from random import Random

    return Random()


def path_of(row: Mapping[str, Any] | Any) -> Path:
    """Return what order is kept within."""
    return (str(row["category"]), str(row["data_type"]), str(row["data_version"]))


def reqid_of(row: Mapping[str, Any] | Any) -> str:
    """Return the request id of a message; one that 1.40 stored without has its number, as there."""
    reqid = row["reqid"]
    if isinstance(reqid, bytes):
        reqid = reqid.decode("utf-8", "replace")
    return str(reqid) if reqid not in (None, "") else str(row["id"])


class _Hold(NamedTuple):
    until: float
    first_id: int


class Stats:
    """What a reader has done since it was made.

    Attributes:
        accepted: Messages the server took.
        dropped: Messages it did not want, sent or not.
        dead: Messages set aside.
        retries: Attempts that have to be repeated.
        last_error: Text of the last failure, ``None`` for none.
        last_error_at: When it was, seconds since 1970.
        last_accepted_at: When the last message was accepted, seconds since 1970; ``None`` for never.
    """

    def __init__(self) -> None:
        self.accepted = 0
        self.dropped = 0
        self.dead = 0
        self.retries = 0
        self.last_error: str | None = None
        self.last_error_at: float | None = None
        self.last_accepted_at: float | None = None

    def note(self, error: str) -> None:
        """Remember a failure as the last one."""
        self.last_error = error
        self.last_error_at = time.time()

    def __repr__(self) -> str:
        return f"Stats({', '.join(f'{name}={value!r}' for name, value in vars(self).items())})"


class Delivery:
    """State of one reader's work; used by one thread or task at a time.

    Args:
        config: Delays are read anew whenever they are needed.
        queue: Where messages come from.
        blacklist: Rules in force.
        dead: Where messages go that the server refuses for good.
        max_retry_delay_s: Longest pause between attempts, seconds; never below ``retry_delay``.
        dead_after: A message is set aside after so many failed attempts, ``None`` for never.
        on_event: Called with ``accepted``, ``dropped``, ``dead``, ``retry``, ``refused`` and facts.
        on_batch: Called with the numbers between which messages will be sent next: trimming spares them.
        clock: Monotonic seconds.
        is_stopped: Whether the reader is to end: a long search is then given up.
    """

    def __init__(
        self,
        config: QueueReaderConfig,
        queue: DiskQueue,
        blacklist: Blacklist,
        dead: DeadLetters,
        *,
        max_retry_delay_s: float = 600.0,
        dead_after: int | None = None,
        on_event: Callable[..., None] | None = None,
        on_batch: Callable[[int, int], None] = _ignore,
        clock: Callable[[], float] = time.monotonic,
        is_stopped: Callable[[], bool] = lambda: False,
    ) -> None:
        self._is_stopped = is_stopped
        self._config = config
        self._queue = queue
        self._blacklist = blacklist
        self._dead = dead
        self._max_retry_delay_s = max_retry_delay_s
        self._dead_after = dead_after
        self._on_event = on_event or _ignore
        self._on_batch = on_batch
        self._clock = clock
        self.stats = Stats()
        self._batch: deque[Any] = deque()
        self._given: dict[int, Any] = {}  # out of the batch, and nothing has become of them yet
        self._after = 0
        self._done: list[int] = []
        self._done_outcome = Outcome.ACCEPTED
        self._done_since = 0.0
        self._generation = -1
        self._holds: dict[Path, _Hold] = {}
        self._failures: dict[Path, int] = {}
        self._paused_until = 0.0
        self._pauses = 0
        self._network_failures = 0

    # Choosing

    def next(self, now: float, *, at_once: bool = False) -> Any | None:
        """Return the next message to be sent, ``None`` when there is none or its time has not come.

        Args:
            now: Monotonic seconds.
            at_once: Take a message that is held rather than none.

        Raises:
            QueueError: The queue cannot be read or written.
        """
        if not at_once and now < self._paused_until:
            return None
        if self._given:
            self._take_back()
        self._release(now)
        if self._generation != self._queue.generation:
            self._start_over()
        if not self._batch:
            self._fill()
        if not self._batch and at_once and self._holds:
            self.forget_holds()
            self._fill()
        if not self._batch:
            return None
        row = self._batch.popleft()
        self._given[row["id"]] = row
        return row

    def _take_back(self) -> None:
        """Take back what was given out and never settled: an exception, such as an interrupt, was faster."""
        for number in sorted(self._given, reverse=True):
            self._batch.appendleft(self._given[number])
        self._given.clear()

    def _release(self, now: float) -> None:
        due = [path for path, hold in self._holds.items() if hold.until <= now]
        for path in due:
            self._after = min(self._after, self._holds.pop(path).first_id - 1)
        if due:
            # What waits in the batch may be older than what was held.
            self.reread()

    def _fill(self) -> None:
        self.flush()
        rows = self._read()
        if self._generation != self._queue.generation:
            # The file was replaced: numbers mean something else now.
            self._start_over()
            rows = self._queue.read(0, BATCH)
        self._batch.extend(rows)
        if rows:
            self._after = rows[-1]["id"]
            self._on_batch(rows[0]["id"], self._after)

    def _read(self) -> list[Any]:
        """Read the next batch; in short steps, which a stop ends, while held messages have to be passed over."""
        if not self._holds:
            return self._queue.read(self._after, BATCH)
        last = self._queue.last_number()
        while True:
            rows = self._queue.read(self._after, BATCH, self._holds, within=SCAN)
            changed = self._generation != self._queue.generation
            if rows or changed or self._after + SCAN >= last or self._is_stopped():
                return rows
            self._after += SCAN

    def _start_over(self) -> None:
        self._generation = self._queue.generation
        self._batch.clear()
        self._given.clear()
        self._done.clear()
        self._holds.clear()
        self._after = 0

    def forget_holds(self) -> None:
        """Let every message be tried at once."""
        self._release(float("inf"))
        self._paused_until = 0.0

    def reread(self) -> None:
        """Read the next batch anew: messages may have gone while nothing was sent."""
        if self._batch:
            self._after = min(self._after, self._batch[0]["id"] - 1)
            self._batch.clear()

    def due_in_s(self, now: float) -> tuple[float, bool]:
        """Return how long to wait for the next message, in seconds, and whether a new push may end the wait."""
        if now < self._paused_until:
            return self._paused_until - now, False
        polling_s = self._config.polling_delay or DEFAULT_POLLING_S
        nearest = min((hold.until - now for hold in self._holds.values()), default=polling_s)
        return max(0.0, min(polling_s, nearest)), True

    def is_held(self) -> bool:
        """Whether a failure keeps messages from being sent now."""
        return bool(self._holds) or self._clock() < self._paused_until

    # Settling

    def blacklisted(self, row: Any) -> bool:
        """Remove a message that a rule forbids to send; return whether there was one."""
        rule = self._blacklist.find(row)
        if rule is None:
            return False
        rule.dropped += 1
        self._remove(row, Outcome.DROPPED)
        self.stats.dropped += 1
        self._on_event("dropped", reason=str(rule), reqid=reqid_of(row), sent=False)
        return True

    def ahead(self) -> Any | None:
        """Return the message that :meth:`next` will give if the one in progress is accepted.

        ``None`` when that depends on anything else: on a held path, a rule, or the next batch.
        """
        if not self._batch or self._holds or self._generation != self._queue.generation:
            return None
        row = self._batch[0]
        return row if self._blacklist.find(row) is None else None

    def take_ahead(self) -> None:
        """Take the message that :meth:`ahead` gave: it is being sent."""
        row = self._batch.popleft()
        self._given[row["id"]] = row

    def settle(self, row: Any, reply: Reply, verdict: Verdict | None = None) -> Verdict:
        """Do what a reply asks for.

        Args:
            row: The message.
            reply: The reply.
            verdict: What it means, if that is known already.

        Returns:
            What it was; see :func:`status_of` for 1.40's number.

        Raises:
            QueueError: The queue cannot be written; the message is still there.
        """
        self._network_failures = 0
        verdict = verdict or judge(reply)
        kind = verdict.kind
        if kind is Verdicts.ACCEPTED or kind is Verdicts.DROPPED:
            self._pauses = 0
            if self._failures:
                self._failures.pop(path_of(row), None)
            if kind is Verdicts.ACCEPTED:
                self.stats.accepted += 1
                self.stats.last_accepted_at = time.time()
                self._remove(row, Outcome.ACCEPTED)
                if self._on_event is not _ignore:
                    self._on_event("accepted", reqid=reqid_of(row))
            else:
                self.take_rule(verdict.rule)
                self.stats.dropped += 1
                self._remove(row, Outcome.DROPPED)
                self._on_event("dropped", reason=verdict.reason, reqid=reqid_of(row), sent=True)
        elif kind is Verdicts.DEAD:
            self._pauses = 0
            if not self.bury(row, verdict.reason, reply):
                return verdict._replace(kind=Verdicts.HOLD)
        elif self._fail(row, verdict, reply):
            return verdict._replace(kind=Verdicts.DEAD)
        return verdict

    def take_rule(self, rule: Any) -> None:
        """Put a rule of the server in force; one that names nothing, or cannot be understood, is only reported."""
        if not rule:
            logger.warning(
                "The server dropped a message by a rule without any field; it is taken for that message only"
            )
            return
        try:
            self._blacklist.add(rule)
        except (DataError, TypeError, ValueError) as error:
            logger.warning("Ignoring a blacklist rule that cannot be understood: %s", error)

    def _fail(self, row: Any, verdict: Verdict, reply: Reply) -> bool:
        """Put a message off; return whether it was set aside instead, having failed too often."""
        path = path_of(row)
        asked_s = self._asked_s(reply)
        if verdict.kind is Verdicts.HOLD:
            failures = self._failures[path] = self._failures.get(path, 0) + 1
            if self._dead_after is not None and failures >= self._dead_after:
                return self.bury(row, f"{verdict.reason} ({failures} attempts)", reply)
            self._hold(row, path, max(self._delay_s(failures), asked_s))
        elif verdict.kind is Verdicts.REFUSED:
            self._pause(row, self._cap_s())
        else:
            self._pauses += 1
            self._pause(row, max(self._delay_s(self._pauses), asked_s))
        self._note_failure(row, verdict.reason, refused=verdict.kind is Verdicts.REFUSED)
        return False

    def fail(self, row: Any, error: BaseException, *, sent: bool) -> bool:
        """Keep a message whose request brought no reply.

        Args:
            row: The message.
            error: What happened.
            sent: Whether the request, or a part of it, reached the server. The first such failure may be the
                message's own fault and holds its path; a second one in a row, or one before sending, pauses all.

        Returns:
            Whether it was set aside instead, having failed too often.
        """
        self._network_failures += 1
        path = path_of(row)
        if sent and self._network_failures == 1:
            failures = self._failures[path] = self._failures.get(path, 0) + 1
            if self._dead_after is not None and failures >= self._dead_after:
                return self.bury(row, f"{error} ({failures} attempts)", None)
            self._hold(row, path, self._delay_s(failures))
        else:
            self._pauses += 1
            self._pause(row, self._delay_s(self._pauses))
        self._note_failure(row, str(error), refused=False)
        return False

    def put_back(self, row: Any) -> None:
        """Give back a message that was not sent after all."""
        self._given.pop(row["id"], None)
        self._batch.appendleft(row)

    def bury(self, row: Any, reason: str, reply: Reply | None) -> bool:
        """Set a message aside as a dead letter.

        Returns:
            Whether it was; one that cannot be written as a dead letter holds its path, and is sent again later.

        Raises:
            QueueError: The queue cannot be written; the message is still there.
        """
        self.flush()
        add = functools.partial(
            self._dead.add,
            row,
            reqid=reqid_of(row),
            reason=reason,
            status=reply.status if reply else None,
            headers=dict(reply.headers) if reply else None,
            body=reply.body if reply else b"",
        )
        try:
            try:
                add()
            except QueueFull:
                self._queue.make_room()
                add()
        except QueueError as error:
            logger.error("%s", error)
            failures = self._failures[path_of(row)] = self._failures.get(path_of(row), 0) + 1
            self._hold(row, path_of(row), self._delay_s(failures))
            self._note_failure(row, f"{reason}; {error}", refused=False)
            return False
        self._failures.pop(path_of(row), None)
        self._remove(row, Outcome.DEAD)
        self.flush()
        self.stats.dead += 1
        logger.warning("Message %s is set aside: %s", reqid_of(row), reason)
        self._on_event("dead", reason=reason, reqid=reqid_of(row))
        return True

    def _note_failure(self, row: Any, reason: str, *, refused: bool) -> None:
        self.stats.retries += 1
        self.stats.note(reason)
        self._on_event("refused" if refused else "retry", reason=reason, reqid=reqid_of(row))

    def _cap_s(self) -> float:
        return max(self._config.retry_delay or DEFAULT_RETRY_S, self._max_retry_delay_s)

    def _delay_s(self, attempt: int) -> float:
        from transport_utils.backoff import Exponential

        base_s = self._config.retry_delay or DEFAULT_RETRY_S
        schedule = Exponential(base_s, 2.0, self._cap_s(), "equal")
        return schedule.delay(attempt, 0.0, _jitter())

    def _asked_s(self, reply: Reply) -> float:
        from transport_utils.retry import retry_after_s

        return min(retry_after_s(reply.headers) or 0.0, self._cap_s())

    def _hold(self, row: Any, path: Path, delay_s: float) -> None:
        self._given.pop(row["id"], None)
        self._holds[path] = _Hold(self._clock() + delay_s, row["id"])
        kept = [other for other in self._batch if path_of(other) != path]
        self._batch = deque(kept)

    def _pause(self, row: Any, delay_s: float) -> None:
        self._paused_until = self._clock() + delay_s
        self.put_back(row)
        self.reread()

    # Removing

    def _remove(self, row: Any, outcome: Outcome) -> None:
        if self._done and outcome is not self._done_outcome:
            self.flush()
        if not self._done:
            self._done_since = self._clock()
            self._done_outcome = outcome
        self._done.append(row["id"])
        self._given.pop(row["id"], None)
        if len(self._done) >= BATCH or self._clock() - self._done_since >= FLUSH_AFTER_S:
            self.flush()

    def flush(self) -> None:
        """Take out of the queue what is settled.

        Raises:
            QueueError: The queue cannot be written; the messages are kept in mind and taken out later.
        """
        if not self._done:
            return
        numbers = list(self._done)
        removed = self._queue.remove(numbers, self._done_outcome, generation=self._generation)
        self._done.clear()
        if removed < len(numbers):
            logger.warning(
                "%d messages left the queue %s while they were being sent: is another reader, of 1.40, running?",
                len(numbers) - removed,
                self._queue.files.database,
            )


def status_of(verdict: Verdict) -> int:
    """Return what ``consume_one`` of 1.40 called a verdict; a dead letter counts as dropped."""
    if verdict.kind is Verdicts.ACCEPTED:
        return ACCEPTED
    if verdict.kind in (Verdicts.DROPPED, Verdicts.DEAD):
        return DROPPED
    return RETRY
