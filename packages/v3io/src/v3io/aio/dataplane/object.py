"""Object calls of the asyncio client; see :mod:`v3io.dataplane.request` for the bytes."""

from __future__ import annotations

import os
import pathlib
from collections.abc import AsyncIterator, Callable
from typing import IO, Any

from v3io.dataplane import request
from v3io.dataplane.model import Model as BaseModel
from v3io.dataplane.response import Response
from v3io.transfers import (
    PART_BYTES,
    Source,
    check_part,
    part_ranges,
    pieces,
    size_and_date,
    upload_steps,
)

__all__ = ["Model"]


class Model(BaseModel):
    """Object calls: ``client.object``."""

    async def head(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
    ) -> Response:
        """Ask for size and date of an object: headers ``Content-Length``, ``Last-Modified``.

        Args:
            container: Container name or number.
            path: Path within the container.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``HEAD``.
        """
        response: Response = await self._request(
            container,
            access_key or self._client._access_key,
            raise_for_status,
            None,
            request.encode_head_object,
            {"path": path},
            None,
        )
        return response

    async def get(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        offset: int | None = None,
        num_bytes: int | None = None,
    ) -> Response:
        """Read an object into ``response.body``, whole or a range.

        Args:
            container: Container name or number.
            path: Path within the container.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            offset: First byte; ``None`` or 0 from the start.
            num_bytes: Number of bytes; ``None`` or 0 up to the end.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``GET``, header ``Range``.
        """
        response: Response = await self._request(
            container,
            access_key or self._client._access_key,
            raise_for_status,
            None,
            request.encode_get_object,
            (path, offset, num_bytes),
            None,
        )
        return response

    async def put(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        body: Any = None,
        append: bool | None = None,
    ) -> Response:
        """Write an object, or append to it.

        Args:
            container: Container name or number.
            path: Path within the container.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            body: bytes, str (sent as UTF-8), dict (sent as JSON), file or iterable of bytes; ``None`` for an
                empty object.
            append: Append instead of replacing. Not idempotent.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``PUT``, with ``Range: -1`` to append.
        """
        response: Response = await self._request(
            container,
            access_key or self._client._access_key,
            raise_for_status,
            None,
            request.encode_put_object,
            (path, body, append),
            None,
        )
        return response

    async def delete(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
    ) -> Response:
        """Delete an object or an empty directory.

        Args:
            container: Container name or number.
            path: Path within the container.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``DELETE``.
        """
        response: Response = await self._request(
            container,
            access_key or self._client._access_key,
            raise_for_status,
            None,
            request.encode_delete_object,
            {"path": path},
            None,
        )
        return response

    async def read_parts(
        self,
        container: str,
        path: str,
        *,
        offset: int = 0,
        part_bytes: int = PART_BYTES,
        access_key: str | None = None,
    ) -> AsyncIterator[bytes]:
        """Yield an object in parts, in order, holding one at a time.

        Args:
            container: Container name or number.
            path: Path within the container.
            offset: First byte.
            part_bytes: Bytes of each part, the last one may be shorter.
            access_key: Overrides the client's key; ``None`` uses it.

        Raises:
            HttpResponseError: As :meth:`get`.
            ObjectChanged: The object was changed between two parts.
        """
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
        """Read an object into a file, several ranges at once.

        Args:
            container: Container name or number.
            path: Path within the container.
            target: Path of a file, which appears only when it is complete, or a binary file to write to.
            part_bytes: Bytes of each range; ``max_connections`` of them are held at a time.
            progress: Called with the bytes written so far and in all, after each part.
            access_key: Overrides the client's key; ``None`` uses it.

        The file is written on the loop's thread.

        Returns:
            The object's size in bytes.

        Raises:
            HttpResponseError: As :meth:`get`.
            ObjectChanged: The object was changed meanwhile.
            OSError: The file cannot be written.
        """
        if isinstance(target, (str, os.PathLike)):
            partial = pathlib.Path(f"{os.fspath(target)}.part")
            try:
                with partial.open("wb") as file:
                    size = await self.download(
                        container,
                        path,
                        file,
                        part_bytes=part_bytes,
                        progress=progress,
                        access_key=access_key,
                    )
                partial.replace(target)
            finally:
                partial.unlink(missing_ok=True)
            return size
        size, modified = size_and_date(await self.head(container, path, access_key))
        ranges = part_ranges(0, size, part_bytes)
        window = self._client._transport.max_connections
        done = 0
        for first in range(0, len(ranges), window):
            batch = self._client.create_batch()
            group = ranges[first : first + window]
            for start, length in group:
                batch.object.get(container, path, access_key, offset=start, num_bytes=length)
            for (_, length), response in zip(group, await batch.wait(), strict=True):
                target.write(check_part(path, response, length, modified))
                done += length
                if progress is not None:
                    progress(done, size)
        return size

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
        """Write an object from a file or stream of any length, part by part.

        The first part replaces the object, the others are appended; readers see it grow. After a lost answer the
        object's size tells whether the part was written: no part is written twice.

        Args:
            container: Container name or number.
            path: Path within the container.
            source: Path of a file, bytes, a binary file, or an iterable of bytes.
            part_bytes: Bytes of each part, 1..10 MiB; one is held at a time.
            progress: Called with the bytes written so far, after each part.
            access_key: Overrides the client's key; ``None`` uses it.

        Returns:
            The bytes written.

        Raises:
            HttpResponseError: As :meth:`put`.
            TransportError: A part failed on the network for good.
            UploadConflict: Somebody else changed the object meanwhile.
            OSError: The file cannot be read.
        """
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
