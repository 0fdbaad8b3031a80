"""What users need to test their servers: any topology in one process, a fake clock, and leaks that fail the test.

::

    def test_my_server():
        with Kit() as kit:
            server = kit.run(MyServer("s", *kit.addresses(3), options=kit.options()))
            client = kit.client("s", server.db_address)
            assert client.eval("s.foo", b"x") == b"..."

Everything is on ``inproc://`` sockets of a context of its own; at the end all is stopped, and a socket or thread that
is left is an :class:`AssertionError`.
"""

from __future__ import annotations

import contextlib
import itertools
import threading
import types
from typing import Any, TypeVar

import zmq

from pylm._dispatch import Dispatcher
from pylm._publish import Publisher
from pylm.clients import Client
from pylm.config import ServerOptions
from pylm.security import stop_authenticator

__all__ = ["FakeClock", "Kit"]

T = TypeVar("T")
_numbers = itertools.count(1)


class FakeClock:
    """Monotonic seconds that move only when told to; give it to :class:`pylm._loop.Loop` or pass ``clock()`` as now.

    Args:
        now: First reading.
    """

    def __init__(self, now: float = 1000.0) -> None:
        self.now = now

    def __call__(self) -> float:
        """Return the present reading."""
        return self.now

    def advance(self, seconds: float) -> float:
        """Move on and return the reading.

        Raises:
            ValueError: ``seconds`` is negative; the clock is monotonic.
        """
        if seconds < 0:
            raise ValueError(f"a monotonic clock does not go back by {seconds} s")
        self.now += seconds
        return self.now


class Kit:
    """Runs servers, workers and clients in this process for the length of a ``with`` block.

    Args:
        timeout: Of clients, seconds; a test that hangs fails after it.

    ``dispatcher`` and ``publisher`` give the pure machines of a master and a publishing server, to be driven by a
    :class:`FakeClock`.
    """

    def __init__(self, timeout: float = 10.0) -> None:
        self.context: zmq.Context[Any] = zmq.Context()
        self.timeout = timeout
        self._stack = contextlib.ExitStack()
        self._threads = set(threading.enumerate())

    def __enter__(self) -> Kit:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: types.TracebackType | None,
    ) -> None:
        self._stack.close()
        stop_authenticator(self.context)
        left = [each for each in self.context._sockets if not each.closed]
        for each in left:
            each.close(0)
        watchdog = threading.Thread(target=self.context.term, name="pylm-kit-term", daemon=True)
        watchdog.start()
        watchdog.join(5.0)
        threads = [
            thread
            for thread in set(threading.enumerate()) - self._threads
            if thread.is_alive() and thread is not watchdog and "pylm" in thread.name
        ]
        if kind is None:
            assert not left, f"{len(left)} sockets were left open: {left}"
            assert not watchdog.is_alive(), (
                "the context does not terminate: a socket is open somewhere"
            )
            assert not threads, f"threads were left running: {[thread.name for thread in threads]}"

    def address(self) -> str:
        """Return a fresh ``inproc://`` address."""
        return f"inproc://pylm-kit-{next(_numbers)}"

    def addresses(self, count: int) -> list[str]:
        """Return so many fresh addresses."""
        return [self.address() for _ in range(count)]

    def options(self, **changes: Any) -> ServerOptions:
        """Return options with the kit's context; keywords as for :class:`~pylm.config.ServerOptions`."""
        return ServerOptions(**{"heartbeat_s": 0.1, **changes, "context": self.context})

    def run(self, server: T) -> T:
        """Start a server or worker in a thread; return it. It is stopped at the end, the last started first."""
        self._stack.enter_context(server.running())  # type: ignore[attr-defined]
        return server

    def client(self, *args: Any, **kwargs: Any) -> Client:
        """Return a :class:`pylm.clients.Client` that is closed at the end."""
        client = Client(*args, **{"timeout": self.timeout, **kwargs, "context": self.context})
        self._stack.callback(client.close)
        return client

    def manage(self, resource: T) -> T:
        """Close anything with a ``close`` method at the end; return it."""
        self._stack.callback(resource.close)  # type: ignore[attr-defined]
        return resource

    @staticmethod
    def dispatcher(max_attempts: int = 5) -> Dispatcher:
        """Return the job table of a master, without a master: give it ``now`` from a :class:`FakeClock`."""
        return Dispatcher(max_attempts)

    @staticmethod
    def publisher(hold_s: float = 5.0) -> Publisher:
        """Return the publishing rules of a server, without a server: give it ``now`` from a :class:`FakeClock`."""
        return Publisher(hold_s=hold_s)
