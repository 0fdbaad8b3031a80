"""Container calls of the asyncio client; see :mod:`v3io.dataplane.request` for the bytes."""

from __future__ import annotations

from typing import Any

from v3io.dataplane import output, request
from v3io.dataplane.model import Model as BaseModel
from v3io.dataplane.response import Response

__all__ = ["Model"]


class Model(BaseModel):
    """Container calls: ``client.container``."""

    async def list(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        get_all_attributes: bool | None = None,
        directories_only: bool | None = None,
        limit: int | None = None,
        marker: str | None = None,
    ) -> Response:
        """List one directory.

        Args:
            container: Container name or number.
            path: Path within the container.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            get_all_attributes: Also mode, times, owner and inode of each entry.
            directories_only: Leave out files.
            limit: Most entries of the answer; ``None`` leaves it to the platform, 0 asks for none.
            marker: Where to go on, from the previous page; ``None`` for the start.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``GET /<container>?prefix=``.
        """
        response: Response = await self._request(
            container,
            access_key or self._client._access_key,
            raise_for_status,
            None,
            request.encode_get_container_contents,
            {
                "path": path,
                "get_all_attributes": get_all_attributes,
                "directories_only": directories_only,
                "limit": limit,
                "marker": marker,
            },
            output.GetContainerContentsOutput,
        )
        return response
