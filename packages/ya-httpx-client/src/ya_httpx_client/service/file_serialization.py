"""A server reached by files: each request is uploaded, sent by a command on the provider, and its answer downloaded.

For images and providers without VPN. Takes one to two seconds a request and holds bodies in memory.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from transport_utils import errors
from transport_utils.errors import SentState
from yapapi.rest.activity import BatchError

from ya_httpx_client import serializable_request
from ya_httpx_client.errors import library_of
from ya_httpx_client.exchange import Timeouts
from ya_httpx_client.instance import State
from ya_httpx_client.service.service_base import AbstractServiceBase, Scripts

__all__ = ["FileSerializationService"]

REQUEST_FILE, RESPONSE_FILE = "/golem/work/req.json", "/golem/work/res.json"
BODY_LIMIT_BYTES = 128 * 1024 * 1024
DROPPED = frozenset({"transfer-encoding"})


class _Job:
    """A request on its way to the provider."""

    def __init__(self, request: serializable_request.Request) -> None:
        self.request = request
        self.sent = SentState.NOT_SENT
        self.answer: asyncio.Future[serializable_request.Response] = (
            asyncio.get_running_loop().create_future()
        )

    def fail(self, error: errors.TransportError) -> None:
        if not self.answer.done():
            self.answer.set_exception(error)


class _ByFiles:
    """Executes requests as jobs of a service."""

    connections = 0

    def __init__(self) -> None:
        self.jobs: asyncio.Queue[_Job] = asyncio.Queue()
        self.current: _Job | None = None
        self.dead = False

    async def execute(
        self,
        request: Any,
        timeouts: Timeouts,
        finished: Callable[[errors.TransportError | None], None],
        *,
        settle: bool,
    ) -> Any:
        """Execute a request; see :class:`ya_httpx_client.instance.Executor`."""
        body = await request.aread()
        items = [
            (name.decode("latin-1"), value.decode("latin-1")) for name, value in request.headers.raw
        ]
        kept = [(name, value) for name, value in items if name.lower() not in DROPPED]
        job = _Job(serializable_request.Request(request.method, str(request.url), body, kept))
        if self.dead:
            raise errors.ConnectError("the provider was lost", sent=SentState.NOT_SENT)
        self.jobs.put_nowait(job)
        try:
            await asyncio.wait((job.answer,), timeout=timeouts.read)
        finally:
            if not job.answer.done():
                job.answer.cancel()
        if job.answer.cancelled():
            raise errors.ReadTimeout(f"no answer within {timeouts.read} s", sent=job.sent)
        answer = job.answer.result()
        library = library_of(request)
        response = library.Response(
            status_code=answer.status,
            headers=answer.header_items,
            stream=library.ByteStream(answer.data),
        )
        finished(None)
        return response

    def abort(self) -> None:
        """Fail everything in progress."""
        self.dead = True
        waiting = [] if self.current is None else [self.current]
        while not self.jobs.empty():
            waiting.append(self.jobs.get_nowait())
        for job in waiting:
            job.fail(errors.ConnectionReset("the provider was lost", sent=job.sent))


class FileSerializationService(AbstractServiceBase):
    """The user's server listens on a unix socket; ``python -m ya_httpx_client`` in the image talks to it."""

    REQUIRED_CAPABILITIES: list[str] = []
    LISTEN_ON = "unix:///tmp/golem.sock"

    async def _get_ready(self) -> Scripts:
        socket = self.LISTEN_ON.removeprefix("unix://")
        script = self._ctx.new_script()
        wait = f"for i in $(seq 100); do [ -S {socket} ] && exit 0; sleep 0.1; done; exit 1"
        script.run("/bin/sh", "-c", wait)
        yield script
        self._executor = _ByFiles()
        self.instance.ready(self._executor)

    async def run(self) -> Scripts:
        """Execute jobs one after the other until the instance is dead."""
        executor = self._executor
        while self.instance.state is not State.DEAD:
            job = await self._next_job()
            if job is None:
                continue
            executor.current = job
            received: list[bytes] = []

            async def keep(data: bytes, received: list[bytes] = received) -> None:
                received.append(data)

            script = self._ctx.new_script()
            script.upload_bytes(job.request.as_json().encode(), REQUEST_FILE)
            script.run(
                "/bin/sh",
                "-c",
                f"python -m ya_httpx_client --url {self.LISTEN_ON} {REQUEST_FILE} {RESPONSE_FILE}",
            )
            script.download_bytes(RESPONSE_FILE, keep, limit=BODY_LIMIT_BYTES)
            job.sent = SentState.SENT
            try:
                await (yield script)
                answer = serializable_request.Response.from_json(b"".join(received).decode())
            except BatchError as error:
                job.fail(
                    errors.ConnectionReset(f"the provider's command failed: {error}", sent=job.sent)
                )
                await self._alive()
            except (KeyError, ValueError) as error:
                job.fail(
                    errors.BadResponse(
                        f"the provider's answer is no response: {error}", sent=job.sent
                    )
                )
            else:
                if not job.answer.done():
                    job.answer.set_result(answer)
            finally:
                executor.current = None

    async def _next_job(self) -> _Job | None:
        """Return the next job whose caller still waits; ``None`` after a look at the provider's state."""
        get = asyncio.ensure_future(self._executor.jobs.get())
        attention = asyncio.ensure_future(self.instance.attention.wait())
        try:
            await asyncio.wait(
                (get, attention),
                timeout=self.owner.options.liveness_s,
                return_when=asyncio.FIRST_COMPLETED,
            )
        finally:
            attention.cancel()
            if not get.done():
                get.cancel()
        self.instance.attention.clear()
        if get.done() and not get.cancelled():
            job = get.result()
            return None if job.answer.done() else job
        if self.instance.state is not State.DEAD:
            await self._alive()
            if self.instance.state is State.SUSPECT:
                self.instance.ready()
        return None
