"""Heartbeats of a worker: they come from a thread of their own, so that user code cannot hold them back.

Started by :mod:`pylm._worker` on the acknowledged channel. Source: wire reference, section G5.
"""

from __future__ import annotations

import contextlib
import threading
import time

import zmq

from pylm.config import ServerOptions

__all__ = ["Heart"]


class Heart:
    """Tells the master that the worker lives, from a thread that user code cannot block.

    Args:
        options: Interval, context, keys.
        address: The master's acknowledged channel.
        ready: Encoded introduction, sent again when the master does not know the worker.
        identity: Routing id of the worker's own socket.
    """

    def __init__(self, options: ServerOptions, address: str, ready: bytes, identity: bytes) -> None:
        self._options = options
        self._address = address
        self._ready = ready
        self._identity = identity
        self._stop = threading.Event()
        self._heard_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name="pylm-heartbeat", daemon=True)

    def start(self) -> None:
        """Start the thread."""
        self._thread.start()

    def is_silent(self) -> bool:
        """Return whether the master has not answered three heartbeats."""
        return time.monotonic() - self._heard_at > 3 * self._options.heartbeat_s

    def _run(self) -> None:
        socket = self._options.open_socket(zmq.DEALER, connect=self._address, linger_ms=0)
        socket.sndhwm = 10
        try:
            while not self._stop.wait(self._options.heartbeat_s):
                with contextlib.suppress(zmq.Again):
                    socket.send(b"H" + self._identity, zmq.DONTWAIT)
                while socket.poll(0):
                    self._heard_at = time.monotonic()
                    if socket.recv_multipart()[:1] == [b"?"]:
                        with contextlib.suppress(zmq.Again):
                            socket.send(b"W" + self._ready, zmq.DONTWAIT)
        finally:
            socket.close(0)

    def stop(self) -> None:
        """End the thread."""
        self._stop.set()
        if self._thread.is_alive():
            self._thread.join()
