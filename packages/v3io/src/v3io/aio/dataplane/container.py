"""Container calls of the asyncio client; see :mod:`v3io.dataplane.container`."""

from __future__ import annotations

from collections.abc import Coroutine
from typing import Any

from v3io.dataplane.model import Model as BaseModel
from v3io.dataplane.response import Response

__all__ = ["Model"]


class Model(BaseModel[Coroutine[Any, Any, Response]]):
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
        """List one directory; see :meth:`v3io.dataplane.container.Model.list`."""
        return await self._client.get_container_contents(
            container,
            path,
            access_key,
            raise_for_status,
            None,
            get_all_attributes,
            directories_only,
            limit,
            marker,
        )
