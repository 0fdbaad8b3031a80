"""Any sequence of events, in any order: what must hold of retries, of a node's health, of a pool and of the budgets."""

import collections
import random

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
)
from transport_utils import errors
from transport_utils.backoff import Exponential
from transport_utils.budget import RateLimiter, RetryBudget
from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.errors import SentState
from transport_utils.health import HealthPolicy, NodeChange, Outcome
from transport_utils.nodes import NodePool
from transport_utils.retry import RetryAfter, RetryPolicy, Return

seconds = st.floats(0, 20)
outcomes = st.sampled_from(Outcome)


class RetryMachine(RuleBasedStateMachine):
    """Calls in a row on one policy, made by a driver that obeys."""

    @initialize(
        max_retries=st.integers(0, 6),
        on_timeout=st.booleans(),
        excess=st.sampled_from(["raise", "cap"]),
        tokens=st.none() | st.integers(1, 60),
        seed=st.integers(0, 1000),
    )
    def configure(self, max_retries, on_timeout, excess, tokens, seed):
        self.budget = None if tokens is None else RetryBudget(tokens)
        self.policy = RetryPolicy(
            max_retries=max_retries,
            on_timeout=on_timeout,
            retry_after_excess=excess,
            budget=self.budget,
            backoff=Exponential(0.1, 2, 10),
            rng=random.Random(seed),
        )
        self.now = 0.0
        self.over = True

    @precondition(lambda self: self.over)
    @rule(
        method=st.sampled_from(["GET", "POST", "PUT", "PATCH"]),
        idempotent=st.none() | st.booleans(),
        replayable=st.booleans(),
        total=st.none() | st.floats(0.1, 60),
    )
    def begin(self, method, idempotent, replayable, total):
        self.deadline = Deadline.after(total, self.now)
        self.state = self.policy.start(
            method,
            started=self.now,
            deadline=self.deadline,
            idempotent=idempotent,
            replayable=replayable,
        )
        self.harmless = idempotent if idempotent is not None else method in ("GET", "PUT")
        self.replayable = replayable
        self.sent = 1
        self.last_response = None
        self.over = False

    def obey(self, decision):
        if isinstance(decision, RetryAfter):
            assert decision.delay_s >= 0
            self.now += decision.delay_s
            assert not self.deadline.expired(self.now), "slept past the deadline"
            self.sent += 1
        else:
            self.over = True
        if isinstance(decision, Return):
            assert decision.response is self.last_response is not None

    @precondition(lambda self: not self.over)
    @rule(
        status=st.sampled_from([200, 400, 404, 429, 500, 502, 503, 504]),
        retry_after=st.none() | st.integers(0, 100),
        took=seconds,
    )
    def answered(self, status, retry_after, took):
        self.now += took
        self.last_response = object()
        headers = {} if retry_after is None else {"retry-after": str(retry_after)}
        decision = self.state.on_response(status, headers, self.now, response=self.last_response)
        if isinstance(decision, RetryAfter):
            assert status in self.policy.on_status
            assert self.harmless or status in (429, 503)
            assert self.replayable
            if retry_after is not None:
                assert decision.delay_s >= min(retry_after, 60)
        self.obey(decision)

    @precondition(lambda self: not self.over)
    @rule(
        kind=st.sampled_from(
            [
                errors.BadResponse,
                errors.CertificateError,
                errors.ConnectError,
                errors.ConnectTimeout,
                errors.ConnectionReset,
                errors.DecodeBomb,
                errors.PoolTimeout,
                errors.ReadTimeout,
                errors.StaleConnection,
                errors.TransportClosed,
                errors.TruncatedBody,
            ]
        ),
        sent=st.sampled_from(SentState),
        took=seconds,
        other_node=st.booleans(),
    )
    def failed(self, kind, sent, took, other_node):
        self.now += took
        decision = self.state.on_error(kind("x"), sent, self.now, other_node=other_node)
        if isinstance(decision, RetryAfter):
            assert sent is SentState.NOT_SENT or (self.harmless and self.replayable)
        self.obey(decision)

    @invariant()
    def bounded(self):
        if hasattr(self, "state"):
            assert self.sent <= self.policy.max_retries + 1 + 1
            assert self.state.retries <= self.policy.max_retries
            assert len(self.state.history) == self.state.attempts
            if self.budget is not None:
                assert 0 <= self.budget.tokens <= self.budget.capacity


class PoolMachine(RuleBasedStateMachine):
    """A pool under requests that overlap, last for any time and end in any way; nodes come and go."""

    @initialize(
        count=st.integers(1, 6),
        ratio=st.sampled_from([0.0, 0.5, 1.0]),
        selector=st.sampled_from(["round_robin", "random", "least_outstanding", "weighted"]),
        seed=st.integers(0, 1000),
    )
    def begin(self, count, ratio, selector, seed):
        self.ratio = ratio
        self.now = 0.0
        self.names = count
        self.flying = []
        self.probes = {}
        self.pool = NodePool(
            [Endpoint("http", f"n{number}", 80) for number in range(count)],
            health=HealthPolicy(max_ejection_ratio=ratio),
            selector=selector,
            rng=random.Random(seed),
        )

    def ejected(self):
        return [node for node in self.pool.nodes if node.health.ejected]

    @rule(step=st.floats(0.001, 40))
    def time_passes(self, step):
        self.now += step

    @rule(tries=st.integers(0, 3))
    def send(self, tries):
        # A clock never shows two threads the same time here, as the monotonic one of the system.
        self.now += 1e-6
        tried = [node for node, _ in self.flying[-tries:]] if tries else []
        ejected = set(self.ejected())
        due = {node for node in ejected if node.health.due() <= self.now}
        available = self.pool.available
        node = self.pool.pick(self.now, tried=tried)
        assert node in self.pool.nodes
        if node in ejected and available:
            assert node in due, "an ejected node was picked before its time"
            assert node not in tried
            last = self.probes.get(node)
            assert last is None or self.now >= last + 30, "two probes at a time"
            self.probes[node] = self.now
        if not node.health.ejected and node.health.slow_until > self.now:
            assert all(one in tried or one.health.slow_until > self.now for one in available), (
                "a node that asked for less was picked although another was there"
            )
        if any(one not in tried for one in available):
            assert node not in tried, "a retry met the same node although another was there"
        self.flying.append((node, self.now))

    @precondition(lambda self: self.flying)
    @rule(data=st.data(), outcome=outcomes, slow_s=st.none() | seconds)
    def end(self, data, outcome, slow_s):
        index = data.draw(st.integers(0, len(self.flying) - 1))
        node, started = self.flying.pop(index)
        before, was_ejected = node.health.ejections, node.health.ejected
        ejected_at = node.health._ejected_at
        share = len(self.ejected()) / len(self.pool.nodes)
        change = self.pool.record(node, outcome, started, self.now, slow_s=slow_s)
        if self.probes.get(node) == started:
            del self.probes[node]
        after = node.health.ejections
        if after > before:
            assert after == before + 1
            assert started >= ejected_at, "an outage was counted twice"
            assert outcome in (Outcome.SERVER, Outcome.NETWORK)
        if change is NodeChange.EJECTED and node in self.pool.nodes:
            assert len(self.ejected()) / len(self.pool.nodes) <= self.ratio
            assert not was_ejected
        if outcome is Outcome.LOCAL:
            assert (node.health.ejected, change) == (was_ejected, None)
        if outcome in (Outcome.CLIENT, Outcome.OK, Outcome.OVERLOAD) and started >= ejected_at:
            assert not node.health.ejected
            self.probes.pop(node, None)
        assert share <= 1

    @rule()
    def add(self):
        self.pool.add(Endpoint("http", f"n{self.names}", 80))
        self.names += 1

    @precondition(lambda self: len(self.pool) > 1)
    @rule(data=st.data())
    def remove(self, data):
        node = data.draw(st.sampled_from(self.pool.nodes))
        assert self.pool.remove(node.endpoint) is node
        self.probes.pop(node, None)

    @invariant()
    def consistent(self):
        if not hasattr(self, "pool"):
            return
        nodes, available = self.pool.nodes, self.pool.available
        assert available == tuple(node for node in nodes if not node.health.ejected)
        for node in nodes:
            # Each ejection is at most the cap and its jitter away, so every node comes back.
            assert node.health.until <= self.now + 33
            assert node.health.ejected or not node.health.ejections
        if self.pool._counts:
            flying = collections.Counter(node for node, _ in self.flying)
            assert all(node.outstanding == flying[node] for node in nodes)


class LimiterMachine(RuleBasedStateMachine):
    """A rate limiter under any mix of answers."""

    def __init__(self):
        super().__init__()
        self.limiter = RateLimiter(min_rate=0.5)
        self.now = 0.0
        self.throttled = False

    @rule(step=st.floats(0, 5))
    def time_passes(self, step):
        self.now += step

    @rule()
    def send(self):
        wait = self.limiter.reserve(self.now)
        assert wait >= 0
        if not self.throttled:
            assert wait == 0
        self.now += wait

    @rule()
    def succeed(self):
        before = self.limiter.rate
        self.limiter.on_success(self.now)
        assert self.throttled or before == self.limiter.rate

    @rule()
    def throttle(self):
        before = self.limiter.rate
        self.limiter.on_throttle(self.now)
        self.throttled = True
        assert self.limiter.rate <= max(before, 0.5)

    @rule()
    def give_back(self):
        self.limiter.reserve(self.now)
        self.limiter.cancel()

    @invariant()
    def sane(self):
        assert self.limiter.rate >= 0.5


_settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestRetry = RetryMachine.TestCase
TestPool = PoolMachine.TestCase
TestLimiter = LimiterMachine.TestCase
TestRetry.settings = TestPool.settings = TestLimiter.settings = _settings
