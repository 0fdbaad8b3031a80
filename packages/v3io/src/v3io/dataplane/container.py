"""Container calls of the blocking client; see :mod:`v3io.dataplane.request` for the bytes."""

from __future__ import annotations

from typing import Any

from v3io.dataplane.model import Model as BaseModel
from v3io.dataplane.response import Response

__all__ = ["Model"]


class Model(BaseModel[Response]):
    """Container calls: ``client.container``."""

    def list(
        self,
        container: str,
        path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
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
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).
            get_all_attributes: Also mode, times, owner and inode of each entry.
            directories_only: Leave out files.
            limit: Most entries of the answer; ``None`` leaves it to the platform, 0 asks for none.
            marker: Where to go on, from the previous page; ``None`` for the start.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``GET /<container>?prefix=``.
        """
        return self._client.get_container_contents(
            container,
            path,
            access_key,
            raise_for_status,
            transport_actions,
            get_all_attributes,
            directories_only,
            limit,
            marker,
        )
