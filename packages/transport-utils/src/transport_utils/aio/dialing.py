"""Opens connections for the asynchronous pool: looks names up, races addresses, shakes hands, leaves nothing behind.

Used by :mod:`transport_utils.aio.pool`; the counterpart of :func:`transport_utils.sockets.dial`. asyncio's own
``create_connection`` loses sockets when it is cancelled in the middle of connecting, and its name look-up keeps
``asyncio.run`` waiting; so both are done here.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import ssl
import time
from collections.abc import Iterator

from transport_utils.aio.connection import AsyncConnection
from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.errors import ConnectError, ConnectTimeout, TransportError
from transport_utils.sockets import (
    Address,
    look_up,
    numeric_addresses,
    set_options,
    usable_addresses,
)

__all__ = ["dial"]

_STAGGER_S = 0.25


async def dial(endpoint: Endpoint, deadline: Deadline) -> AsyncConnection:
    """Open a connection.

    Args:
        endpoint: Where to.
        deadline: When all of it must be done.

    Raises:
        ConnectError: As :func:`transport_utils.sockets.dial`, like ConnectTimeout, DnsError and TlsError.
    """
    started = time.monotonic()
    where = endpoint.base_url
    try:
        with _until(deadline):
            sock = await _open_socket(endpoint)
            return await _wrap(sock, endpoint)
    except (TimeoutError, asyncio.TimeoutError) as cause:
        if isinstance(cause, TransportError):
            raise
        raise ConnectTimeout(
            f"connection to {where} did not open in {time.monotonic() - started:.1f} s", node=where
        ) from cause
    except OSError as cause:
        if isinstance(cause, TransportError):
            raise
        raise ConnectError(f"cannot connect to {where}: {cause}", node=where) from cause


@contextlib.contextmanager
def _until(deadline: Deadline) -> Iterator[None]:
    """Turn the end of the time into ``TimeoutError`` where the task waits; a cancellation from outside passes."""
    if deadline.at == math.inf:
        yield
        return
    task = asyncio.current_task()
    assert task is not None
    fired = False

    def fire() -> None:
        nonlocal fired
        fired = True
        task.cancel()

    left = max(0.0, deadline.at - time.monotonic())
    timer = asyncio.get_running_loop().call_later(left, fire)
    try:
        yield
    except asyncio.CancelledError as cause:
        # Before Python 3.11 two cancellations at once cannot be told from one.
        if not fired or (hasattr(task, "uncancel") and task.uncancel() > 0):
            raise
        raise TimeoutError("no time left") from cause
    finally:
        timer.cancel()


async def _open_socket(endpoint: Endpoint) -> socket.socket:
    if endpoint.uds is not None:
        return await _connect(socket.AF_UNIX, endpoint.uds, endpoint)
    addresses = numeric_addresses(endpoint.host, endpoint.port)
    if addresses is None:
        addresses = await _resolve(endpoint)
    if len(addresses) == 1:
        return await _connect(*addresses[0], endpoint)
    return await _race(addresses, endpoint)


async def _resolve(endpoint: Endpoint) -> list[tuple[int, Address]]:
    loop = asyncio.get_running_loop()
    found: asyncio.Future[list[tuple[int, Address]]] = loop.create_future()

    def deliver(result: object) -> None:
        if found.done():
            return
        try:
            found.set_result(usable_addresses(result, endpoint.host, endpoint.base_url))
        except TransportError as error:
            found.set_exception(error)

    def done(result: object) -> None:
        with contextlib.suppress(RuntimeError):  # the loop may be gone
            loop.call_soon_threadsafe(deliver, result)

    look_up(endpoint.host, endpoint.port, done)
    return await found


async def _connect(family: int, address: Address | str, endpoint: Endpoint) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setblocking(False)
        if family != socket.AF_UNIX:
            set_options(sock, endpoint.socket_options)
        await asyncio.get_running_loop().sock_connect(sock, address)
    except BaseException:
        sock.close()
        raise
    return sock


async def _race(addresses: list[tuple[int, Address]], endpoint: Endpoint) -> socket.socket:
    """Race the addresses: a new attempt begins when the last one failed or has taken 250 ms (RFC 8305)."""
    waiting = list(reversed(addresses))
    pending: set[asyncio.Task[socket.socket]] = set()
    failures: list[str] = []
    winner: socket.socket | None = None
    try:
        while True:
            if waiting:
                family, address = waiting.pop()
                pending.add(asyncio.ensure_future(_connect(family, address, endpoint)))
            done, _ = await asyncio.wait(
                pending,
                timeout=_STAGGER_S if waiting else None,
                return_when=asyncio.FIRST_COMPLETED,
            )
            for task in done:
                error = task.exception()
                if error is None and winner is None:
                    pending.discard(task)
                    winner = task.result()
                elif error is not None:
                    pending.discard(task)
                    failures.append(str(error))
            if winner is not None:
                return winner
            if not pending and not waiting:
                raise OSError("; ".join(failures))
    finally:
        for task in pending:
            task.cancel()
            task.add_done_callback(_close_late)


def _close_late(task: asyncio.Task[socket.socket]) -> None:
    if not task.cancelled() and task.exception() is None:
        task.result().close()


async def _wrap(sock: socket.socket, endpoint: Endpoint) -> AsyncConnection:
    loop = asyncio.get_running_loop()
    where = endpoint.base_url
    if endpoint.scheme == "http":
        try:
            _, connection = await loop.create_connection(lambda: AsyncConnection(loop), sock=sock)
        except BaseException:
            sock.close()
            raise
        return connection
    from transport_utils.tls import check_pins, context_for, server_name, tls_error

    try:
        transport, connection = await loop.create_connection(
            lambda: AsyncConnection(loop),
            sock=sock,
            ssl=context_for(endpoint),
            server_hostname=server_name(endpoint),
        )
    except (ssl.SSLError, ConnectionError) as cause:
        sock.close()
        raise tls_error(cause, where) from cause
    except BaseException:
        sock.close()
        raise
    try:
        check_pins(transport.get_extra_info("ssl_object"), endpoint)
    except BaseException:
        transport.abort()
        raise
    return connection
