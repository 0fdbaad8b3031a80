"""Object calls of the blocking client; see :mod:`v3io.dataplane.request` for the bytes."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
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


class Model(BaseModel[Response]):
    """Object calls: ``client.object``."""

    def head(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> Response:
        """Ask for size and date of an object: headers ``Content-Length``, ``Last-Modified``.

        Args:
            container: Container name or number.
            path: Path within the container.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``HEAD``.
        """
        return self._client._send(
            container,
            access_key,
            raise_for_status,
            transport_actions,
            request.encode_head_object,
            {"path": path},
        )

    def get(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
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
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).
            offset: First byte; ``None`` or 0 from the start.
            num_bytes: Number of bytes; ``None`` or 0 up to the end.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``GET``, header ``Range``.
        """
        return self._client.get_object(
            container, path, access_key, raise_for_status, transport_actions, offset, num_bytes
        )

    def put(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
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
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).
            body: bytes, str (sent as UTF-8), dict (sent as JSON), file or iterable of bytes; ``None`` for an
                empty object.
            append: Append instead of replacing. Not idempotent.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``PUT``, with ``Range: -1`` to append.
        """
        return self._client.put_object(
            container, path, access_key, raise_for_status, transport_actions, body, append
        )

    def delete(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> Response:
        """Delete an object or an empty directory.

        Args:
            container: Container name or number.
            path: Path within the container.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``DELETE``.
        """
        return self._client.delete_object(
            container, path, access_key, raise_for_status, transport_actions
        )

    def read_parts(
        self,
        container: str,
        path: str,
        *,
        offset: int = 0,
        part_bytes: int = PART_BYTES,
        access_key: str | None = None,
    ) -> Iterator[bytes]:
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
        size, modified = size_and_date(self.head(container, path, access_key))
        for start, length in part_ranges(offset, size, part_bytes):
            response = self.get(container, path, access_key, offset=start, num_bytes=length)
            yield check_part(path, response, length, modified)

    def download(
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

        Returns:
            The object's size in bytes.

        Raises:
            HttpResponseError: As :meth:`get`.
            ObjectChanged: The object was changed meanwhile.
            OSError: The file cannot be written.
        """
        with target_file(target) as file:
            head = self.head(container, path, access_key)
            at_once = self._client._transport.max_connections
            parts = Download(path, head, part_bytes, at_once, file, progress)
            for group in parts.groups:
                batch = self._client.create_batch()
                for start, length in group:
                    batch.object.get(container, path, access_key, offset=start, num_bytes=length)
                parts.write(group, batch.wait())
        return parts.size

    def upload(
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
                    outcome, _ = size_and_date(self.head(container, path, access_key))
                else:
                    outcome = self.put(container, path, access_key, body=piece, append=append)
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
