"""Any sequence of leases, returns, losses, pauses, forks and closes: what must hold of the pool of connections."""

import contextlib
import socket

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from transport_utils import pool as pool_module
from transport_utils import sockets
from transport_utils.deadline import Deadline, Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.errors import ConnectError, PoolTimeout, TransportClosed
from transport_utils.hooks import PoolEvent
from transport_utils.testing import FakeClock

AT_ONCE = Timeout(pool=1e-9)
IDLE_S, AGE_S = 20.0, 60.0


class Clock(FakeClock):
    """A clock that moves a little whenever it is looked at, so that the shortest waits end."""

    def monotonic(self):
        self.now += 1e-6
        return self.now


class PoolMachine(RuleBasedStateMachine):
    """One pool over socket pairs, on a clock of its own."""

    def __init__(self):
        super().__init__()
        self.clock = Clock()
        self.patch = pytest.MonkeyPatch()
        self.patch.setattr(pool_module, "time", self.clock)
        self.patch.setattr(sockets, "time", self.clock)
        self.patch.setattr(sockets, "dial", self.dial)
        self.peers = {}
        self.lost = set()
        self.refusing = False
        self.leased = []
        self.inherited = []
        self.events = dict.fromkeys(PoolEvent, 0)

    @initialize(limit=st.integers(1, 4))
    def make(self, limit):
        self.limit = limit
        endpoint = Endpoint(
            "http", "h", 80, max_connections=limit, max_idle_s=IDLE_S, max_age_s=AGE_S
        )
        self.pool = pool_module.ConnectionPool(endpoint, self.count)

    def count(self, endpoint, event):
        self.events[event] += 1

    def dial(self, endpoint, deadline, generation):
        if self.refusing:
            raise ConnectError("refused")
        ours, theirs = socket.socketpair()
        connection = sockets.Connection(ours, generation)
        self.peers[connection] = theirs
        return connection

    def lease_one(self):
        return self.pool.lease(AT_ONCE, Deadline(), self.clock.now)

    @precondition(lambda self: not self.pool.closed)
    @rule(refusing=st.booleans())
    def lease(self, refusing):
        self.refusing = refusing
        full = len(self.leased) == self.limit
        idle = self.pool.idle_count
        try:
            connection = self.lease_one()
        except PoolTimeout:
            assert full
            return
        except ConnectError:
            assert refusing
            assert not full
            return
        finally:
            self.refusing = False
        assert not full
        assert connection not in self.leased
        assert connection.sock.fileno() >= 0
        assert self.clock.now - connection.opened_at < AGE_S
        if idle and connection.idle_since < self.clock.now:
            assert self.clock.now - connection.idle_since < IDLE_S
        if connection in self.lost:
            assert self.clock.now - connection.idle_since < 1.0
        self.leased.append(connection)

    @precondition(lambda self: self.leased)
    @rule(data=st.data(), lost=st.booleans())
    def release(self, data, lost):
        connection = self.leased.pop(data.draw(st.integers(0, len(self.leased) - 1)))
        self.pool.release(connection)
        assert (connection.sock.fileno() < 0) == self.pool.closed
        if lost:
            self.peers[connection].close()
            self.lost.add(connection)

    @precondition(lambda self: self.leased)
    @rule(data=st.data())
    def discard(self, data):
        connection = self.leased.pop(data.draw(st.integers(0, len(self.leased) - 1)))
        self.pool.discard(connection)
        assert connection.sock.fileno() < 0

    def alive(self):
        return [connection for connection in self.peers if connection.sock.fileno() >= 0]

    @rule(seconds=st.sampled_from([0.5, 1.5, 1.5, 15.0, 15.0, IDLE_S]))
    def time_passes(self, seconds):
        self.clock.advance(seconds)

    @precondition(lambda self: not self.pool.closed)
    @rule(dice=st.integers(1, 10))
    def fork(self, dice):
        """What a child does first; the parent's connections must be neither lent nor counted."""
        if dice < 10:
            return
        self.inherited += self.leased
        self.leased = []
        pool_module._after_fork()
        assert (self.pool.open_count, self.pool.idle_count) == (0, 0)

    @precondition(lambda self: self.inherited)
    @rule(back=st.booleans())
    def give_back_what_was_the_parents(self, back):
        connection = self.inherited.pop()
        (self.pool.release if back else self.pool.discard)(connection)
        assert connection.sock.fileno() < 0

    @rule(dice=st.integers(1, 20))
    def close(self, dice):
        if dice < 20:  # seldom, since little can happen afterwards
            return
        self.pool.close()
        for connection in self.leased:
            connection.sock.settimeout(5)
            assert connection.sock.recv(1) == b"", "a reader would wait for ever"
        with pytest.raises(TransportClosed):
            self.lease_one()

    @invariant()
    def every_connection_is_lent_or_idle_and_no_more_than_allowed(self):
        if not hasattr(self, "pool"):
            return
        assert self.pool.open_count == len(self.leased) + self.pool.idle_count <= self.limit
        if self.pool.closed:
            assert self.pool.idle_count == 0

    @invariant()
    def nothing_stays_open_that_the_pool_does_not_know(self):
        if not hasattr(self, "pool"):
            return
        assert len(self.alive()) == self.pool.open_count
        assert self.pool.is_full == (not self.pool.idle_count and len(self.leased) >= self.limit)

    def teardown(self):
        if hasattr(self, "pool"):
            for connection in self.leased:
                self.pool.discard(connection)
            self.pool.close()
            assert self.pool.open_count == 0
            assert self.events[PoolEvent.OPENED] == len(self.peers)
        for connection, peer in self.peers.items():
            with contextlib.suppress(OSError):
                peer.close()
            assert connection.sock.fileno() < 0
        self.patch.undo()


TestPool = PoolMachine.TestCase
TestPool.settings = settings(max_examples=300, stateful_step_count=50, deadline=None)
