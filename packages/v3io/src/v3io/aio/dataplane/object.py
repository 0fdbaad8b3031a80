"""Object calls of the asyncio client; see :mod:`v3io.dataplane.object`."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Callable, Coroutine
from typing import IO, Any

from v3io.dataplane import request
from v3io.dataplane.model import Model as BaseModel
from v3io.dataplane.response import Response
from v3io.transfers import (
    PART_BYTES,
    Download,
    Source,
    check_part,
    part_ranges,
    pieces,
    size_and_date,
    target_file,
    upload_steps,
)

__all__ = ["Model"]


class Model(BaseModel[Coroutine[Any, Any, Response]]):
    """Object calls: ``client.object``."""

    async def head(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
    ) -> Response:
        """Ask for size and date of an object; see :meth:`v3io.dataplane.object.Model.head`."""
        return await self._client._send(
            container,
            access_key,
            raise_for_status,
            None,
            request.encode_head_object,
            {"path": path},
        )

    async def get(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        offset: int | None = None,
        num_bytes: int | None = None,
    ) -> Response:
        """Read an object into ``response.body``, whole or a range; see :meth:`v3io.dataplane.object.Model.get`."""
        return await self._client.get_object(
            container, path, access_key, raise_for_status, None, offset, num_bytes
        )

    async def put(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        body: Any = None,
        append: bool | None = None,
    ) -> Response:
        """Write an object, or append to it; see :meth:`v3io.dataplane.object.Model.put`."""
        return await self._client.put_object(
            container, path, access_key, raise_for_status, None, body, append
        )

    async def delete(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
    ) -> Response:
        """Delete an object or an empty directory; see :meth:`v3io.dataplane.object.Model.delete`."""
        return await self._client.delete_object(container, path, access_key, raise_for_status, None)

    async def read_parts(
        self,
        container: str,
        path: str,
        *,
        offset: int = 0,
        part_bytes: int = PART_BYTES,
        access_key: str | None = None,
    ) -> AsyncIterator[bytes]:
        """Yield an object in parts; see :meth:`v3io.dataplane.object.Model.read_parts`."""
        size, modified = size_and_date(await self.head(container, path, access_key))
        for start, length in part_ranges(offset, size, part_bytes):
            response = await self.get(container, path, access_key, offset=start, num_bytes=length)
            yield check_part(path, response, length, modified)

    async def download(
        self,
        container: str,
        path: str,
        target: str | os.PathLike[str] | IO[bytes],
        *,
        part_bytes: int = PART_BYTES,
        progress: Callable[[int, int], object] | None = None,
        access_key: str | None = None,
    ) -> int:
        """Read an object into a file, several ranges at once; see :meth:`v3io.dataplane.object.Model.download`."""
        with target_file(target) as file:
            head = await self.head(container, path, access_key)
            at_once = self._client._transport.max_connections
            parts = Download(path, head, part_bytes, at_once, file, progress)
            for group in parts.groups:
                batch = self._client.create_batch()
                for start, length in group:
                    batch.object.get(container, path, access_key, offset=start, num_bytes=length)
                parts.write(group, await batch.wait())
        return parts.size

    async def upload(
        self,
        container: str,
        path: str,
        source: Source,
        *,
        part_bytes: int = PART_BYTES,
        progress: Callable[[int], object] | None = None,
        access_key: str | None = None,
    ) -> int:
        """Write an object from a file or stream of any length; see :meth:`v3io.dataplane.object.Model.upload`."""
        steps = upload_steps(path, pieces(source, part_bytes))
        step = next(steps)
        while True:
            piece, append, written = step
            outcome: Any
            try:
                if piece is None:
                    outcome, _ = size_and_date(await self.head(container, path, access_key))
                else:
                    outcome = await self.put(container, path, access_key, body=piece, append=append)
            except Exception as error:
                outcome = error
            try:
                step = steps.send(outcome)
            except StopIteration as end:
                if progress is not None:
                    progress(end.value)
                return int(end.value)
            if progress is not None and step[2] > written:
                progress(step[2])
