"""Clients of the first API: request-reply, parallel, loop, one-way, subscribed.

Re-exported by :mod:`pylm.standalone` and :mod:`pylm.chained`. Envelopes are of the old generation; a server of this
one is recognized by its handshake and then tells failures apart. Source: API reference, section A6; faults E-29, E-33.
"""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final, Literal

import zmq

from pylm import _wire
from pylm._cacheclient import CacheClient
from pylm._jobs import DEFAULT_TIMEOUT_S, UNSET, JobRunner, Timeout, Unset, as_payload
from pylm._lanes import Lanes, is_bare
from pylm._link import Link, wait_handshake
from pylm._plainsocket import PlainRequester
from pylm._probe import Peer, probe
from pylm._server import endpoint_of
from pylm.config import ConfigurationError, Overflow, ServerOptions
from pylm.errors import Malformed, TimedOut, from_failure
from pylm.security import Curve

__all__ = ["Client", "LoopClient", "OneWayClient", "ParallelClient", "SubscribedClient"]

_DONE_BYTES: Final = 3 + _wire.PLAIN_EXT_BYTES + len(_wire.COMPLETE)
"""Of the extension of an answer, its tag and size included."""


def _cache_field(cache: str | bytes | None) -> str | None:
    if cache is None:
        return None
    if isinstance(cache, bytes):
        return cache.decode()
    if isinstance(cache, str):
        return cache
    raise TypeError("Cache must be <bytes> or <str>")


class Client(JobRunner):
    """Calls the functions of one request-reply server.

    Args:
        connection: ``rep_address`` of the server.
        server_name: Its name.
        pipeline: Pipeline id of the messages; ``None`` for a fresh uuid per job.
        timeout: Seconds a call may take; ``None`` waits for ever. Servers may be started after their clients.
        errors: See :class:`pylm.clients.Client`.
        curve: Keys of the cluster.
        context: ZeroMQ context; ``None`` for the process-wide one.
        plain_socket: Speak the protocol over a socket of its own instead of through ZeroMQ: about half the time per
            call, for ``tcp://`` and ``ipc://`` without keys.

    Raises:
        ConfigurationError: ``plain_socket`` with keys or an ``inproc://`` address.

    Thread-safe: one request at a time. Source: ``pylm.standalone.clients.Client`` of 0.8.
    """

    def __init__(
        self,
        connection: str,
        server_name: str,
        pipeline: str | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        errors: Literal["raise", "payload"] | None = None,
        curve: Curve | None = None,
        context: zmq.Context[Any] | None = None,
        plain_socket: bool = False,
    ) -> None:
        super().__init__(timeout, errors, "block")
        self.connection = connection
        self.server_name = server_name
        self.pipeline = pipeline
        self.uuid = _wire.new_uuid()
        self._peer = Peer("ROUTER") if curve is not None else Peer()
        self._requests: CacheClient | PlainRequester
        if plain_socket:
            if curve is not None:
                raise ConfigurationError(
                    "a plain socket has no keys; leave plain_socket or curve out"
                )
            self._requests = PlainRequester(connection, server_name)
        else:
            self._requests = CacheClient(
                connection,
                server_name,
                self.uuid,
                _wire.OldPalmMessage,
                ServerOptions(curve=curve, context=context),
            )
        self._templates: dict[tuple[str, str | None, str | bytes | None], _wire.Template] = {}
        self._lanes = Lanes(_wire.OldPalmMessage)

    @property
    def req(self) -> Any:
        """The socket to the server: ZeroMQ's, or with ``plain_socket`` the system's."""
        if isinstance(self._requests, PlainRequester):
            return self._requests.stream
        return self._requests.socket

    def _template(
        self, function: str, pipeline: str | None, cache: str | bytes | None
    ) -> _wire.Template:
        message = _wire.OldPalmMessage(
            pipeline=_wire.new_uuid() if pipeline is None else pipeline,
            client=self.uuid,
            stage=0,
            function=f"{self.server_name}.{function}",
        )
        tag = _cache_field(cache)
        if tag is not None:
            message.cache = tag
        if len(self._templates) > 100:
            self._templates.clear()
        made = self._templates[function, pipeline, cache] = _wire.Template(message)
        return made

    def job(
        self,
        function: str,
        data: bytes,
        pipeline: str | None = None,
        cache: str | bytes | None = None,
        *,
        timeout: Timeout = UNSET,
        idempotent: bool = False,
    ) -> bytes:
        """Call a function and return its result.

        Args:
            function: Its bare name.
            data: Its argument.
            pipeline: Pipeline id of this message; ``None`` for the client's own, else a fresh one.
            cache: Tag sent along; a function with two parameters gets it as the second.
            timeout: Seconds; ``None`` for ever.
            idempotent: It may run twice: ask again when a quarter of the time brought nothing.

        Raises:
            TypeError: ``data`` is not ``bytes``, or ``cache`` neither ``bytes`` nor ``str``.
            RemoteError: The function raised (servers of this generation; originals answer ``b'0'``).
            TimedOut: No answer in time.
        """
        payload = data if type(data) is bytes else as_payload(data, f"job {function!r}")
        peer = self._peer
        if not peer.is_known:
            peer = self._peer = probe(self.connection)
        ext = self.ids.next()[1] if peer.is_new else b""
        if pipeline is None:
            pipeline = self.pipeline
        template = self._templates.get((function, pipeline, cache))
        if template is None:
            template = self._template(function, pipeline, cache)
        make = template.renewed if pipeline is None else template.frame
        frame = make(payload, ext)
        limit = self.timeout if timeout is UNSET else self.limit(timeout)
        answer = self._requests.exchange(frame, timeout_s=limit, resend=idempotent)
        # Nearly every answer is the request with another payload and a mark at the end.
        if ext and answer.endswith(ext + _wire.COMPLETE):
            at = template.size
            if answer.startswith(frame[: at + 1]):
                size = answer[at + 1]
                if size < 128 and at + 2 + size + _DONE_BYTES == len(answer):
                    return answer[at + 2 : at + 2 + size]
        return self._result(answer)

    def _result(self, answer: bytes) -> bytes:
        plain = self._lanes.read(answer) if type(answer) is bytes else None
        if plain is not None and is_bare(plain[3]):
            return plain[2]
        try:
            message, payload = _wire.decode_old(answer)
        except Malformed:
            # An answer that is no envelope says nothing about the next one.
            raise Malformed(
                f"{self.server_name} at {self.connection} could not read the request: {len(answer)} bytes came back"
            ) from None
        ext = message.ext
        if ext and _wire.has_more(ext) and self.errors == "raise":
            extension = _wire.parse_extension(ext)
            if extension.HasField("error"):
                raise from_failure(extension.error)
        return payload

    def _call(self, function: str, data: bytes, key: str | None = None) -> bytes:
        pipeline = self.pipeline if self.pipeline is not None else self.uuid
        return self.job(function, data, pipeline=pipeline, cache=key)

    def set(self, data: bytes, key: str | None = None) -> bytes:
        """Store a value in the server; return its key.

        Raises:
            PylmError: As for :meth:`job`.
        """
        return self._call("set", data, key)

    def get(self, key: str) -> bytes:
        """Return a stored value.

        Raises:
            RemoteError: The key is absent (an original answers ``b'0'``).
            PylmError: As for :meth:`job`.
        """
        return self._call("get", key.encode())

    def delete(self, key: str) -> bytes:
        """Remove a stored value; return its key.

        Raises:
            RemoteError: The key is absent.
            PylmError: As for :meth:`job`.
        """
        return self._call("delete", key.encode())

    def close(self) -> None:
        """Close the socket; idempotent."""
        self._requests.close()

    clean = close

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class ParallelClient(JobRunner):
    """Sends jobs to a master and iterates over the answers.

    Args:
        push_address: Where the *server* pushes answers; the client listens there.
        pull_address: Where the *server* pulls jobs.
        db_address: Of the server's cache.
        server_name: Of the first server.
        pipeline: Pipeline id of the messages; ``None`` for a fresh uuid per job.
        timeout: Seconds: of a cache request, of silence in a job; ``None`` waits for ever.
        errors: See :class:`pylm.clients.Client`.
        overflow: See :class:`pylm.clients.Client`.
        curve: Keys of the cluster.
        context: ZeroMQ context; ``None`` for the process-wide one.

    With servers of this generation each client gets its own answers; an original deals them out to all clients in
    turn. Thread-safe. Source: ``pylm.standalone.clients.ParallelClient`` of 0.8.
    """

    _shares_answers = False
    """Also listen on the server's shared address although the first server is of this generation."""

    def __init__(
        self,
        push_address: str,
        pull_address: str,
        db_address: str,
        server_name: str,
        pipeline: str | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        errors: Literal["raise", "payload"] | None = None,
        overflow: Overflow = "block",
        curve: Curve | None = None,
        context: zmq.Context[Any] | None = None,
    ) -> None:
        super().__init__(timeout, errors, overflow)
        self.push_address = push_address
        self.pull_address = pull_address
        self.db_address = db_address
        self.server_name = server_name
        self.pipeline = pipeline
        self.uuid = _wire.new_uuid()
        self._options = ServerOptions(curve=curve, context=context)
        self._cache = CacheClient(
            db_address, server_name, self.uuid, _wire.OldPalmMessage, self._options
        )
        self._link: Link | None = None
        self._link_lock = threading.Lock()
        self._peer = Peer()
        self._reply_to = ""

    def _connected(self) -> Link:
        with self._link_lock:
            if self._link is None:
                self._link = self._connect()
            return self._link

    def _connect(self) -> Link:
        """Find out who is there, then open the two sockets."""
        if self._options.curve is not None:
            self._peer = Peer("ROUTER")
        else:
            self._peer = self._await_peer()
        push = self._options.open_socket(zmq.PUSH, connect=self.pull_address)
        try:
            answers = self._open_answers()
        except BaseException:
            push.close(0)
            raise
        return Link(push, answers, self.uuid, lambda: f"{self.server_name} at {self.pull_address}")

    def _await_peer(self) -> Peer:
        """Wait for the server, as the first request of the original would."""
        deadline = time.monotonic() + (DEFAULT_TIMEOUT_S if self.timeout is None else self.timeout)
        while True:
            peer = probe(self.db_address)
            if peer.is_known:
                return peer
            if time.monotonic() >= deadline:
                raise TimedOut(
                    f"{self.server_name} at {self.db_address} did not answer: is a server running there?"
                )
            time.sleep(0.05)

    def _open_answers(self) -> zmq.Socket[bytes]:
        answers = self._options.open_socket(zmq.PULL)
        try:
            if self._peer.is_new and (
                self._peer.local_host or self.db_address.startswith("inproc:")
            ):
                host = self._peer.local_host
                own = f"tcp://{host}:*" if host else f"inproc://answers-{self.uuid}"
                if self._options.curve is not None:
                    self._options.curve.apply(answers, as_server=True)
                answers.bind(own)
                self._reply_to = endpoint_of(answers)
            if not self._reply_to or self._shares_answers:
                if self._options.curve is not None:
                    answers.curve_server = False
                    self._options.curve.apply(answers, as_server=False)
                answers.connect(self.push_address)
        except BaseException:
            answers.close(0)
            raise
        return answers

    def _message(self, function: str, cache: str | None) -> _wire.Template:
        message = _wire.OldPalmMessage(
            pipeline=_wire.new_uuid() if self.pipeline is None else self.pipeline,
            client=self.uuid,
            stage=0,
            function=f"{self.server_name}.{function}",
        )
        if cache is not None:
            message.cache = cache
        return _wire.Template(message)

    def job(
        self,
        function: str,
        generator: Iterable[bytes],
        cache: str | bytes | None = None,
        messages: int = sys.maxsize,
        *,
        timeout: Timeout = UNSET,
        idempotent: bool = False,
    ) -> Iterator[bytes]:
        """Send every payload of ``generator``, yield the answers as they come.

        Args:
            function: Bare name of a function of the first server, or of its workers.
            generator: Payloads, ``bytes``.
            cache: Tag sent along.
            messages: Answers to wait for; see :meth:`pylm.clients.Client.job` for when the job ends without it.
            timeout: Longest silence, seconds; ``None`` for ever.
            idempotent: The job may run twice; see :meth:`pylm.clients.Client.job`.

        Raises:
            TypeError: A payload is not ``bytes``, or ``cache`` neither ``bytes`` nor ``str``.
            PylmError: See :meth:`pylm.clients.Client.job`.
        """
        template = self._message(function, _cache_field(cache))
        return self._run_job(function, template, generator, messages, timeout, idempotent)

    def _run_job(
        self,
        function: str,
        template: _wire.Template,
        generator: Iterable[bytes],
        messages: int,
        timeout: Timeout,
        idempotent: bool,
    ) -> Iterator[bytes]:
        link = self._connected()
        for answer in self.run(
            link,
            generator,
            messages,
            template=template,
            uses_ids=self._peer.is_new,
            timeout_s=self.limit(timeout),
            explicit=not isinstance(timeout, Unset),
            idempotent=idempotent,
            describe=f"job '{self.server_name}.{function}'",
            extra={"reply_to": self._reply_to} if self._reply_to else None,
        ):
            yield answer[1] if answer[2] is None and not answer[3] else self.result(answer)

    def set(self, data: bytes, key: str | None = None) -> bytes:
        """Store a value in the server's cache; return its key.

        Raises:
            TypeError: ``data`` is not ``bytes``.
            TimedOut: No answer in time.
        """
        if not isinstance(data, bytes):
            raise TypeError(f"a value of the cache must be bytes, not {type(data).__name__}")
        return self._cache.ask("set", data, key=key, timeout_s=self.timeout, resend=key is not None)

    def get(self, key: str) -> bytes:
        """Return a value of the server's cache; ``b''`` when absent.

        Raises:
            TimedOut: No answer in time.
        """
        return self._cache.ask("get", key.encode(), timeout_s=self.timeout)

    def delete(self, key: str) -> bytes:
        """Remove a key from the server's cache; return it.

        Raises:
            TimedOut: No answer in time.
        """
        return self._cache.ask("delete", key.encode(), timeout_s=self.timeout)

    def close(self) -> None:
        """Close every socket; idempotent."""
        self._cache.close()
        if self._link is not None:
            self._link.close()

    clean = close

    def __enter__(self) -> ParallelClient:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LoopClient(ParallelClient):
    """Sends jobs into a chain of servers and iterates over what the last one answers.

    Prints its connections, as the first release did. Parameters as in :class:`ParallelClient`.
    """

    _shares_answers = True

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        print("Client with the following connections:")
        print(f" *Listening to input from {self.push_address}")
        print(f" *Sending jobs to {self.pull_address}", flush=True)


class OneWayClient(JobRunner):
    """Sends jobs into a chain and does not wait for answers.

    Args:
        pull_address: Where the first server pulls.
        db_address: Of its cache.
        server_name: Its name.
        pipeline: Pipeline id of the messages; ``None`` for a fresh uuid per job.
        timeout: Seconds a send may wait for room; ``None`` for ever.
        overflow: See :class:`pylm.clients.Client`.
        curve: Keys of the cluster.
        context: ZeroMQ context; ``None`` for the process-wide one.

    Source: ``pylm.chained.clients.Client`` of 0.8.
    """

    def __init__(
        self,
        pull_address: str,
        db_address: str,
        server_name: str,
        pipeline: str | None = None,
        *,
        timeout: float | None = DEFAULT_TIMEOUT_S,
        overflow: Overflow = "block",
        curve: Curve | None = None,
        context: zmq.Context[Any] | None = None,
    ) -> None:
        super().__init__(timeout, None, overflow)
        self._inner = ParallelClient(
            "", pull_address, db_address, server_name, pipeline, timeout=timeout, overflow=overflow,
            curve=curve, context=context,
        )  # fmt: skip
        self.pull_address = pull_address
        self.db_address = db_address
        self.server_name = server_name
        self.pipeline = pipeline
        self._push = self._inner._options.open_socket(
            zmq.PUSH, connect=pull_address, linger_ms=5000
        )

    def job(
        self,
        function: str,
        generator: Iterable[bytes],
        cache: str | bytes | None = None,
        messages: int = sys.maxsize,
    ) -> None:
        """Send up to ``messages`` payloads in the calling thread.

        Raises:
            TypeError: A payload is not ``bytes``.
            TimedOut: No room in the queue in time: nobody pulls.
        """
        template = self._inner._message(function, _cache_field(cache))
        self._push.sndtimeo = -1 if self.timeout is None else int(self.timeout * 1000)
        for index, payload in enumerate(generator):
            if index >= messages:
                return
            data = as_payload(payload, f"job {function!r}")
            try:
                self._push.send(template.frame(data, b""))
            except zmq.Again:
                raise TimedOut(
                    f"{self.server_name} at {self.pull_address} took nothing for {self.timeout} s; "
                    f"{index} messages were handed over"
                ) from None

    def set(self, data: bytes, key: str | None = None) -> bytes:
        """See :meth:`ParallelClient.set`."""
        return self._inner.set(data, key)

    def get(self, key: str) -> bytes:
        """See :meth:`ParallelClient.get`."""
        return self._inner.get(key)

    def delete(self, key: str) -> bytes:
        """See :meth:`ParallelClient.delete`."""
        return self._inner.delete(key)

    def close(self) -> None:
        """Close every socket; what was handed over has five seconds to leave. Idempotent."""
        self._inner.close()
        self._push.close()

    clean = close


class SubscribedClient(ParallelClient):
    """A client whose answers are published rather than pushed.

    Args:
        sub_address: Where answers are published (connects SUB).
        pull_address: Where the server pulls jobs.
        db_address: Of the server's cache.
        server_name: Of the first server.
        pipeline: Pipeline id of the messages.
        kwargs: See :class:`ParallelClient`.

    Source: ``pylm.standalone.clients.SubscribedClient`` of 0.8.
    """

    def __init__(
        self,
        sub_address: str,
        pull_address: str,
        db_address: str,
        server_name: str,
        pipeline: str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(sub_address, pull_address, db_address, server_name, pipeline, **kwargs)
        self.sub_address = sub_address

    def _open_answers(self) -> zmq.Socket[bytes]:
        answers = self._options.open_socket(zmq.SUB)
        try:
            answers.subscribe(self.uuid.encode())
            if self._options.curve is not None:
                self._options.curve.apply(answers, as_server=False)
            if self._peer.is_new:
                answers.connect(self.push_address)
            elif wait_handshake(answers, self.push_address, self.timeout or DEFAULT_TIMEOUT_S):
                time.sleep(0.03)
            else:
                raise TimedOut(f"nobody publishes at {self.push_address}: is the server running?")
        except BaseException:
            answers.close(0)
            raise
        return answers
