"""Carries requests over connection objects that a subclass of the transport makes.

Used by :class:`v3io.dataplane.transport.httpclient.Transport` when ``_create_connection`` is overridden: the tests of
downstream projects put in connections that misbehave. A connection has ``request(method, path, body, headers)``, called
positionally, ``getresponse()`` and ``close()``. Each one is closed exactly once, when it failed or with the transport,
and after failures exactly as many as before are there.
"""

from __future__ import annotations

import queue
from collections.abc import Callable
from typing import Any

from v3io.dataplane.request import Request
from v3io.dataplane.response import Response
from v3io.errors import ClientClosed
from v3io.resending import is_idempotent

__all__ = ["CustomConnections"]


class CustomConnections:
    """A fixed number of connections made by a callable; thread-safe.

    Args:
        make: Returns a new connection.
        count: How many there are.
    """

    def __init__(self, make: Callable[[], Any], count: int) -> None:
        self._make = make
        self._free: queue.Queue[Any] = queue.Queue()
        self._closed = False
        for _ in range(count):
            self._free.put(make())

    def send(self, request: Request) -> Any:
        """Send a request and return its connection, or the error that sending ended in.

        Raises:
            ClientClosed: The transport was closed.
        """
        if self._closed:
            raise ClientClosed("Cannot send request on a closed client")
        connection = self._free.get()
        try:
            connection.request(request.method, request.encode_path(), request.body, request.headers)
        except Exception as error:
            self._replace(connection)
            return error
        return connection

    def receive(self, request: Request, num_retries: int) -> Response:
        """Return the answer; a call that failed is repeated when that does no harm.

        Raises:
            Exception: What the connection raised.
        """
        sent = request.transport
        while True:
            if not isinstance(sent, Exception):
                try:
                    return self._read(sent, request)
                except Exception as error:
                    self._replace(sent)
                    sent = error
            repeatable = is_idempotent(
                request.method, request.function, request.own_headers, request.content
            )
            if num_retries <= 0 or not repeatable:
                raise sent
            num_retries -= 1
            sent = self.send(request)

    def abandon(self, request: Request) -> None:
        """Give up a request that was sent; its connection is closed."""
        if not isinstance(request.transport, Exception):
            self._replace(request.transport)

    def _read(self, connection: Any, request: Request) -> Response:
        reply = connection.getresponse()
        body = reply.read()
        self._free.put(connection)
        return Response(request.output, reply.code, reply.headers, body)

    def _replace(self, connection: Any) -> None:
        connection.close()
        self._free.put(self._make())

    def close(self) -> None:
        """Close the connections that are free; idempotent."""
        self._closed = True
        while True:
            try:
                self._free.get_nowait().close()
            except queue.Empty:
                return
