"""The client of the present API: ``eval``, ``job``, ``map``, and the server's cache.

Source: ``pylm.clients`` of 0.14.4; API reference, section A2.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal

import zmq

from pylm import _tracing, _wire
from pylm._cacheclient import CacheClient
from pylm._jobs import (
    DEFAULT_TIMEOUT_S,
    READY_ITERABLES,
    UNSET,
    InOrder,
    JobRunner,
    Timeout,
    Unset,
    as_payload,
    progress_bar,
)
from pylm._link import Answer, Call, Link, wait_handshake
from pylm._logs import server_logger
from pylm.config import Overflow, ServerOptions
from pylm.errors import Overloaded, TimedOut, WrongServer
from pylm.security import Curve

__all__ = ["DEFAULT_TIMEOUT_S", "Client"]

INFINITE: Final = float("inf")
CLIENT_FORMAT: Final = "%(asctime)s - %(levelname)s - %(message)s"


class Client(JobRunner):
    """Talks to one server, or to the first server of a pipeline.

    Args:
        server_name: Name the server must have.
        db_address: Its ``db_address``.
        push_address: Where to send; ``None`` asks the server.
        sub_address: Where answers are published, that is ``pub_address`` of the pipeline's last server; ``None`` for
            a single server.
        session: Pipeline id of all messages, and prefix of keys set without one; ``None`` for a fresh uuid.
        logging_level: Of the client's logger.
        this_config: Do not ask the server for its configuration.
        timeout: Seconds: of a cache request or ``eval`` as a whole, of silence in a ``job``; ``None`` waits for ever.
        errors: ``raise`` raises remote failures; ``payload`` returns the original's ``b'0'``; ``None`` reads the
            environment variable ``PYLM_ERRORS`` and else raises.
        overflow: When the queue to the server is full: ``block`` until the timeout, ``raise``, or ``drop-oldest``.
        curve: Keys of the cluster.
        context: ZeroMQ context; ``None`` for the process-wide one.

    Raises:
        ValueError: The server has another name (:class:`~pylm.errors.WrongServer`).
        TimedOut: No server answered within ``timeout``; servers may be started after their clients.

    Thread-safe: calls of several threads share the sockets and do not mix. Make a new client after a fork.
    Source: ``pylm.clients.Client`` of 0.14.4.
    """

    def __init__(
        self,
        server_name: str,
        db_address: str,
        push_address: str | None = None,
        sub_address: str | None = None,
        session: str | None = None,
        logging_level: int = logging.INFO,
        this_config: bool = False,
        *,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        errors: Literal["raise", "payload"] | None = None,
        overflow: Overflow = "block",
        curve: Curve | None = None,
        context: zmq.Context[Any] | None = None,
    ) -> None:
        super().__init__(timeout, errors, overflow)
        self.server_name = server_name
        self.db_address = db_address
        self.session_set = session is not None
        self.pipeline = session if session is not None else _wire.new_uuid()
        self.uuid = _wire.new_uuid()
        self._options = ServerOptions(curve=curve, context=context)
        self.logger = server_logger(self.uuid, logging_level, CLIENT_FORMAT)
        self.sub_address = sub_address
        self.push_address = push_address
        self._peer_is_new: bool | None = None
        self._publisher_is_new = False
        self._link: Link | None = None
        self._templates: dict[tuple[str, str], _wire.Template] = {}
        self._link_lock = threading.Lock()
        self._cache = CacheClient(
            db_address, server_name, self.uuid, _wire.PalmMessage, self._options, self.uuid.encode()
        )
        try:
            self._configure(this_config)
        except BaseException:
            self._cache.close()
            raise

    @property
    def db(self) -> zmq.Socket[bytes]:
        """The socket to the server's cache."""
        return self._cache.socket

    def _configure(self, this_config: bool) -> None:
        if this_config:
            self.logger.warning("Not fetching config from the server")
            return
        self.logger.info("Fetching configuration from the server")
        name = self._fetch("name")
        if name != self.server_name:
            raise WrongServer(
                f"You are connecting to the wrong server: {self.db_address} is {name!r}, not {self.server_name!r}"
            )
        if not self.sub_address:
            self.sub_address = self._fetch("pub_address")
            self.logger.info("CLIENT %s: Got subscription address: %s", self.uuid, self.sub_address)
            self._publisher_is_new = True
        if not self.push_address:
            self.push_address = self._fetch("pull_address")
            self.logger.info("CLIENT %s: Got push address: %s", self.uuid, self.push_address)
        self._peer_is_new = bool(self._fetch("pylm_version"))
        self._publisher_is_new = self._publisher_is_new and self._peer_is_new

    def _fetch(self, key: str) -> str:
        return self._cache.ask("get", key.encode(), timeout_s=self.timeout).decode()

    def _connected(self) -> Link:
        link = self._link
        if link is not None:
            return link
        with self._link_lock:
            if self._link is None:
                self._link = self._connect()
            return self._link

    def _connect(self) -> Link:
        if not self.push_address or not self.sub_address:
            raise WrongServer(
                f"client of {self.server_name}: push_address and sub_address are needed when the server is not asked"
            )
        if self._peer_is_new is None:
            try:
                version = self._cache.ask("get", b"pylm_version", timeout_s=1.0)
            except TimedOut:
                version = b""
            self._peer_is_new = bool(version)
        push = self._options.open_socket(zmq.PUSH, connect=self.push_address)
        answers = self._options.open_socket(zmq.SUB)
        try:
            answers.subscribe(self.uuid.encode())
            if self._options.curve is not None:
                self._options.curve.apply(answers, as_server=False)
            address = self.sub_address
            if self._publisher_is_new or address.startswith("inproc:"):
                answers.connect(address)
            else:
                # A publisher of the original drops what it sends before it has seen the subscription.
                limit = 60.0 if self.timeout is None else self.timeout
                if not wait_handshake(answers, address, limit):
                    raise TimedOut(
                        f"nobody publishes at {address} after {limit} s: is the server running?"
                    )
                time.sleep(0.03)
        except BaseException:
            push.close(0)
            answers.close(0)
            raise
        return Link(push, answers, self.uuid, lambda: f"{self.server_name} at {self.push_address}")

    def _template(self, function: str | list[str], cache: str) -> tuple[_wire.Template, str]:
        route = function if isinstance(function, str) else " ".join(function)
        found = self._templates.get((route, cache))
        if found is not None:
            return found, route
        message = _wire.PalmMessage(
            pipeline=self.pipeline, client=self.uuid, function=route, cache=cache
        )
        if len(self._templates) >= 100:
            self._templates.clear()
        found = self._templates[route, cache] = _wire.Template(message)
        return found, route

    def job(
        self,
        function: str | list[str],
        generator: Iterable[Any],
        messages: int = sys.maxsize,
        cache: str = "",
        *,
        timeout: Timeout = UNSET,
        idempotent: bool = False,
        serializer: str = "",
    ) -> Iterator[Any]:
        """Send every payload of ``generator``, yield the answers as they come.

        Nothing happens before the first ``next``. The job ends after ``messages`` answers, or, with servers of this
        generation, half a second after the last message was answered.

        Args:
            function: ``"server.function"``, or one such entry per server of the pipeline.
            generator: Payloads; ``bytes`` unless there is a serializer.
            messages: Answers to wait for.
            cache: Sent along in the field ``cache``, for functions that look at it.
            timeout: Longest silence, seconds; ``None`` for ever.
            idempotent: The job may run twice: what is lost with a worker or a server is sent again.
            serializer: ``json``, ``msgpack`` or another name of :mod:`pylm.serializers`.

        Raises:
            TimedOut: Silence for ``timeout``.
            RemoteError: A function raised; with ``errors="payload"`` ``b'0'`` is yielded instead.
            TypeError: A payload is not ``bytes``.
            PylmError: See :mod:`pylm.errors`.
            Exception: Whatever ``generator`` raises.
        """
        link = self._connected()
        terms = self._terms("job", function, cache, timeout, idempotent, serializer)
        for answer in self.run(link, generator, messages, **terms):
            yield answer[1] if answer[2] is None and not answer[3] else self.result(answer)

    def _terms(
        self,
        verb: str,
        function: str | list[str],
        cache: str,
        timeout: Timeout,
        idempotent: bool,
        serializer: str,
    ) -> dict[str, Any]:
        """Return the terms of a job, see :meth:`JobRunner.opened`; the client must be connected."""
        template, route = self._template(function, cache)
        return {
            "template": template,
            "uses_ids": bool(self._peer_is_new),
            "timeout_s": self.limit(timeout),
            "explicit": not isinstance(timeout, Unset),
            "idempotent": idempotent,
            "serializer": serializer,
            "describe": f"{verb} {route!r}",
        }

    def eval(
        self,
        function: str | list[str],
        payload: Any,
        messages: int = 1,
        cache: str = "",
        *,
        timeout: Timeout = UNSET,
        idempotent: bool = False,
        serializer: str = "",
    ) -> Any:
        """Send one payload; return its answer, or a list of ``messages`` answers when that is not 1.

        Args:
            function: As for :meth:`job`.
            payload: ``bytes`` unless there is a serializer.
            messages: Answers to wait for; 0 returns ``[]`` at once.
            cache: As for :meth:`job`.
            timeout: As for :meth:`job`; here it bounds the call, for one answer.
            idempotent: As for :meth:`job`.
            serializer: As for :meth:`job`.

        Raises:
            PylmError: As for :meth:`job`.
            TypeError: The payload is not ``bytes``.
        """
        is_plain = messages == 1 and not idempotent and not serializer
        if is_plain and isinstance(timeout, Unset) and _tracing.client_span is None:
            return self._evaluate(function, payload, cache)
        results = list(
            self.job(
                function,
                [payload],
                messages,
                cache,
                timeout=timeout,
                idempotent=idempotent,
                serializer=serializer,
            )
        )
        return results[0] if messages == 1 else results

    def _evaluate(self, function: str | list[str], payload: Any, cache: str) -> Any:
        """Do what ``job`` does for one message and one answer, without its machinery."""
        link = self._link if self._link is not None else self._connected()
        template, route = self._template(function, cache)
        if type(payload) is not bytes:
            payload = as_payload(payload, f"job {route!r}")
        limit = self.timeout
        deadline = INFINITE if limit is None else time.monotonic() + limit
        call = Call(uses_ids=bool(self._peer_is_new), keep=False)
        link.open(call)
        try:
            ext = b""
            if call.uses_ids:
                identity, ext = self.ids.next()
                link.expect(call, identity)
            frame = template.frame(payload, ext)
            if not link.try_send(frame) and not link.send(
                frame, deadline, self.overflow, feeding=False
            ):
                raise Overloaded(
                    f"job {route!r}: the queue to the server is full; nothing was sent"
                )
            if not link.wait(call, deadline):
                raise TimedOut(
                    f"job {route!r}: no answer for {limit} s; 0 answers to 1 messages so far",
                    elapsed_s=limit,
                )
            return self.result(call.answers.popleft())
        finally:
            link.finish(call)

    def map(
        self,
        function: str | list[str],
        payloads: Iterable[Any],
        *,
        ordered: bool = True,
        progress: bool = False,
        timeout: Timeout = UNSET,
        idempotent: bool = False,
        serializer: str = "",
        return_exceptions: bool = False,
    ) -> Iterator[Any]:
        """Scatter payloads, gather one result each.

        Args:
            function: As for :meth:`job`.
            payloads: As for :meth:`job`.
            ordered: Yield in the order of the payloads; else as completed. Needs servers of this generation.
            progress: Show a progress bar on standard error.
            timeout: As for :meth:`job`.
            idempotent: As for :meth:`job`.
            serializer: As for :meth:`job`.
            return_exceptions: Yield failures as exception objects instead of raising the first.

        Raises:
            PylmError: As for :meth:`job`; :class:`~pylm.errors.WrongServer` when order is asked of an original server.
        """
        link = self._connected()
        payloads, count = self._mapped(payloads, ordered=ordered)
        terms = self._terms("map", function, "", timeout, idempotent, serializer)
        order = InOrder(ordered=ordered)
        with progress_bar(terms["describe"], count, shown=progress) as advance:
            for answer in self.run(link, payloads, count, **terms):
                advance()
                for each in order.take(answer):
                    yield self._outcome(each, return_exceptions)

    def _mapped(self, payloads: Iterable[Any], *, ordered: bool) -> tuple[Iterable[Any], int]:
        """Return what a map sends, and how much it is."""
        if ordered and not self._peer_is_new:
            raise WrongServer(
                f"{self.server_name} does not return message ids, so results have no order; use ordered=False"
            )
        known = payloads if isinstance(payloads, READY_ITERABLES) else list(payloads)
        if isinstance(known, (list, tuple, range)):
            return known, len(known)
        return known, known.__length_hint__()

    def _outcome(self, answer: Answer, return_exceptions: bool) -> Any:
        if return_exceptions and answer[2] is not None:
            return answer[2]
        return self.result(answer)

    def set(self, value: bytes, key: str | None = None) -> str:
        """Store a value in the server's cache.

        Args:
            value: What to store.
            key: Where; with a session the session is put before it. ``None``: the server invents one.

        Returns:
            The key to ``get`` it by.

        Raises:
            TypeError: ``value`` is not ``bytes``.
            TimedOut: No answer in time.
        """
        if not isinstance(value, bytes):
            raise TypeError(f"First argument {type(value).__name__} must be of type <bytes>")
        stored = f"{self.pipeline}{key}" if key is not None and self.session_set else key
        return self._cache.ask(
            "set", value, key=stored, timeout_s=self.timeout, resend=key is not None
        ).decode()

    def get(self, key: str) -> bytes:
        """Return the value of a key as :meth:`set` returned it; ``b''`` when it is absent or empty.

        Raises:
            TimedOut: No answer in time.
        """
        return self._cache.ask("get", key.encode(), timeout_s=self.timeout)

    def delete(self, key: str) -> str:
        """Remove a key from the server's cache; return it. An absent key is no error.

        Raises:
            TimedOut: No answer in time.
        """
        return self._cache.ask("delete", key.encode(), timeout_s=self.timeout).decode()

    def clean(self) -> None:
        """Close the connection to the cache and all others."""
        self.close()

    def close(self) -> None:
        """Close every socket; calls in other threads end with :class:`~pylm.errors.Closed`. Idempotent."""
        self._cache.close()
        if self._link is not None:
            self._link.close()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
