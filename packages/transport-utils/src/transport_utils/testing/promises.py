"""What the parts of the backend contract share: the backend under test, exchanges, expected errors."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any, ClassVar

import pytest

from transport_utils import errors
from transport_utils.backends import HttpBackend
from transport_utils.deadline import Deadline, Timeout
from transport_utils.endpoint import Endpoint
from transport_utils.errors import SentState
from transport_utils.messages import Request, Response
from transport_utils.testing.faults import Answer, FaultServer

__all__ = ["HELLO", "QUICK", "Promises", "in_time"]

QUICK = Timeout(connect=2.0, read=2.0, write=2.0, pool=2.0)
"""Limits that a test can wait for."""
HELLO = Answer(body=b"hello")
"""The usual answer."""


def in_time(total_s: float, run: Callable[[], object]) -> None:
    """Check that ``run`` ends within ``total_s`` plus 10 % and 50 ms; a busy machine gets three tries."""
    took = []
    for _ in range(3):
        began = time.monotonic()
        run()
        took.append(time.monotonic() - began)
        if took[-1] <= total_s * 1.1 + 0.05:
            return
    raise AssertionError(f"took {took} s, allowed {total_s} s + 10 % + 50 ms")


class Promises:
    """Override :meth:`make_backend`, and the class attributes where the backend differs."""

    tolerates: ClassVar[frozenset[str]] = frozenset()
    """Keys of :data:`~transport_utils.testing.corpus.MALFORMED` that the library below accepts."""
    deadline_in_head: ClassVar[bool] = True
    """Whether the deadline holds while a response's head drips in."""
    knows_uds: ClassVar[bool] = True
    """Whether unix sockets are supported."""
    interrupts: ClassVar[bool] = False
    """Whether :meth:`HttpBackend.close` ends exchanges in progress."""
    limits_fields: ClassVar[bool] = True
    """Whether the number of header fields is limited to 256."""

    def make_backend(self) -> HttpBackend:
        """Return a new backend."""
        raise NotImplementedError

    @pytest.fixture
    def backend(self) -> Iterator[HttpBackend]:
        backend = self.make_backend()
        yield backend
        backend.close()

    def send(
        self,
        backend: HttpBackend,
        endpoint: Endpoint | FaultServer,
        method: str = "GET",
        target: str = "/x",
        total_s: float | None = None,
        **options: Any,
    ) -> Response:
        """Make one exchange."""
        if isinstance(endpoint, FaultServer):
            endpoint = self.endpoint(endpoint)
        options.setdefault("timeout", QUICK)
        deadline = Deadline.after(total_s, time.monotonic())
        return backend.request(endpoint, Request(method, target, **options), deadline)

    def endpoint(self, server: FaultServer, **options: Any) -> Endpoint:
        """Return the endpoint of a server; the same object each time, as a transport does."""
        known = self.__dict__.setdefault("_endpoints", {})
        key = (server.url, *sorted(options))
        if key not in known:
            known[key] = Endpoint.from_url(server.url, **options)
        endpoint: Endpoint = known[key]
        return endpoint

    @contextlib.contextmanager
    def fails(
        self, kind: type[errors.TransportError], sent: SentState | None = None
    ) -> Iterator[None]:
        """Expect a typed error that names node and request."""
        with pytest.raises(kind) as caught:
            yield
        error = caught.value
        assert error.node is not None
        assert error.node in str(error)
        if sent is not None:
            assert error.sent is sent

    def another(self, backend: HttpBackend) -> HttpBackend:
        """Return a second backend, closed with the first."""
        other = self.make_backend()
        close = backend.close

        def close_both(drain_s: float = 0.0) -> None:
            other.close(drain_s)
            close(drain_s)

        backend.close = close_both  # type: ignore[method-assign]
        return other
