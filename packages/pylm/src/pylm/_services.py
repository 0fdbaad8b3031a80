"""Log, performance and ping services of the first API: a server pushes text to collectors.

Constructed by the servers of :mod:`pylm.standalone` and :mod:`pylm.chained` when an address is given; re-exported by
``pylm.components.utils``. Source: API reference, section A6; fault E-35.
"""

from __future__ import annotations

import collections
import contextlib
import logging
import sys
import threading
import time
from typing import Any

import zmq

from pylm._logs import SERVER_FORMAT

__all__ = [
    "EndPoint",
    "LogCollector",
    "PerformanceCollector",
    "PerformanceCounter",
    "Pinger",
    "PushHandler",
    "Services",
]


def _push(address: str) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PUSH)
    socket.linger = 500
    socket.connect(address)
    return socket


def _pull(address: str) -> zmq.Socket[bytes]:
    socket: zmq.Socket[bytes] = zmq.Context.instance().socket(zmq.PULL)
    socket.linger = 0
    socket.bind(address)
    return socket


class PushHandler(logging.Handler):
    """Sends each formatted record as one utf-8 frame; records nobody takes are dropped.

    Args:
        listen_address: Where a collector pulls.
    """

    def __init__(self, listen_address: str) -> None:
        super().__init__()
        self.setFormatter(logging.Formatter(SERVER_FORMAT))
        self._socket = _push(listen_address)

    def emit(self, record: logging.LogRecord) -> None:
        """Send one record."""
        if self._socket.closed:
            return
        try:
            self._socket.send_string(self.format(record), zmq.DONTWAIT)
        except zmq.Again:
            return
        except Exception:
            self.handleError(record)

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()
        super().close()


class PerformanceCounter:
    """Sends ``label: #n: seconds`` for every tick, n counted per label, seconds since construction.

    Args:
        listen_address: Where a collector pulls.
    """

    def __init__(self, listen_address: str) -> None:
        self._socket = _push(listen_address)
        self._counts: collections.Counter[str] = collections.Counter()
        self._began = time.perf_counter()

    def tick(self, label: str) -> None:
        """Count and send; dropped when nobody takes it."""
        self._counts[label] += 1
        text = f"{label}: #{self._counts[label]}: {time.perf_counter() - self._began}"
        try:
            self._socket.send_string(text, zmq.DONTWAIT)
        except zmq.Again:
            return

    __call__ = tick

    def close(self) -> None:
        """Close the socket."""
        self._socket.close()


class Pinger:
    """Sends ``ping`` at once and then at every interval, from a thread.

    Args:
        listen_address: Where a collector pulls.
        every: Seconds between pings.
        pings: Stop after so many.
    """

    def __init__(self, listen_address: str, every: float = 1, pings: int = sys.maxsize) -> None:
        self.listen_address = listen_address
        self.every = every
        self.pings = pings
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, name="pylm-pinger", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def _run(self) -> None:
        socket = _push(self.listen_address)
        try:
            for _ in range(self.pings):
                with contextlib.suppress(zmq.Again):
                    socket.send(b"ping", zmq.DONTWAIT)
                if self._stop.wait(self.every):
                    return
        finally:
            socket.close()

    def close(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()


class Services:
    """The three services of one server, as far as their addresses were given.

    Args:
        logger: Gets a :class:`PushHandler`.
        log_address: Of a log collector, or ``None``.
        perf_address: Of a performance collector, or ``None``.
        ping_address: Of a ping collector, or ``None``.
    """

    def __init__(
        self,
        logger: logging.Logger,
        log_address: str | None,
        perf_address: str | None,
        ping_address: str | None,
    ) -> None:
        self._logger = logger
        self._handler = PushHandler(log_address) if log_address else None
        if self._handler is not None:
            logger.addHandler(self._handler)
        self.counter = PerformanceCounter(perf_address) if perf_address else _NoCounter()
        self._pinger = Pinger(ping_address, every=30.0) if ping_address else None

    def start(self) -> None:
        """Start what has a thread."""
        if self._pinger is not None:
            self._pinger.start()

    def close(self) -> None:
        """Close all; idempotent."""
        if self._handler is not None:
            self._logger.removeHandler(self._handler)
            self._handler.close()
            self._handler = None
        if self._pinger is not None:
            self._pinger.close()
        self.counter.close()


class _NoCounter(PerformanceCounter):
    """Counts nothing: no collector was named."""

    def __init__(self) -> None:
        pass

    def tick(self, label: str) -> None:
        """Do nothing."""

    __call__ = tick

    def close(self) -> None:
        """Do nothing."""


class _Collector:
    """Pulls frames from an address and prints them.

    Args:
        bind_address: Where the servers push to.
        messages: Stop after so many.
    """

    form = "{count} {text}"

    def __init__(self, bind_address: str, messages: int = sys.maxsize) -> None:
        self.socket = _pull(bind_address)
        self.messages = messages
        self._stop = threading.Event()

    def start(self) -> None:
        """Print until ``messages`` came or :meth:`stop`; then close."""
        self.socket.rcvtimeo = 100
        count = 0
        try:
            while count < self.messages and not self._stop.is_set():
                try:
                    data = self.socket.recv()
                except zmq.Again:
                    continue
                count += 1
                text = data.decode(errors="replace")
                print(self.form.format(count=count, text=text), flush=True)
        finally:
            self.socket.close()

    def stop(self) -> None:
        """End :meth:`start`; thread-safe."""
        self._stop.set()


class LogCollector(_Collector):
    """Prints what :class:`PushHandler` sends."""

    form = "LOG ENTRY #{count:<8}: {text}"

    def __init__(
        self, bind_address: str = "inproc://LogCollector", messages: int = sys.maxsize
    ) -> None:
        super().__init__(bind_address, messages)


class PerformanceCollector(_Collector):
    """Prints what :class:`PerformanceCounter` sends."""

    form = "TICK #{count:<8}: {text}"

    def __init__(
        self, bind_address: str = "inproc://PerformenceCollector", messages: int = sys.maxsize
    ) -> None:
        super().__init__(bind_address, messages)


class EndPoint:
    """Collects logs, ticks and pings of many servers in one place.

    Args:
        name: Of the endpoint.
        log_address: Binds PULL for logs.
        perf_address: Binds PULL for ticks.
        ping_address: Binds PULL for pings.
        messages: Stop after so many.

    Source: ``pylm.standalone.endpoints.EndPoint`` of 0.8.
    """

    def __init__(
        self,
        name: str,
        log_address: str,
        perf_address: str,
        ping_address: str,
        messages: int = sys.maxsize,
    ) -> None:
        self.name = name
        self.messages = messages
        self._stop = threading.Event()
        self._sockets: dict[Any, str] = {}
        for label, address in (("LOG", log_address), ("PRF", perf_address), ("PNG", ping_address)):
            self._sockets[_pull(address)] = label

    def start_debug(self) -> None:
        """Print what arrives, with ``LOG:``, ``PRF:`` or ``PNG:`` before it, until :meth:`stop`."""
        poller = zmq.Poller()
        for socket in self._sockets:
            poller.register(socket, zmq.POLLIN)
        left = self.messages
        while left > 0 and not self._stop.is_set():
            for socket, _ in poller.poll(100):
                text = socket.recv().decode(errors="replace")
                print(f"{self._sockets[socket]}: {text}", flush=True)
                left -= 1

    def stop(self) -> None:
        """End :meth:`start_debug`; thread-safe."""
        self._stop.set()

    def cleanup(self) -> None:
        """Close the sockets."""
        for socket in self._sockets:
            socket.close()
