"""Object calls of the asyncio client; see :mod:`v3io.dataplane.request` for the bytes."""

from __future__ import annotations

from typing import Any

from v3io.dataplane import request
from v3io.dataplane.model import Model as BaseModel
from v3io.dataplane.response import Response

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
            {"path": path, "offset": offset, "num_bytes": num_bytes},
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
            {"path": path, "body": body, "append": append},
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
