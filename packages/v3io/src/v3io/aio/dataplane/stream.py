"""Stream calls of the asyncio client; see :mod:`v3io.dataplane.stream`."""

from __future__ import annotations

from collections.abc import Coroutine, Mapping, Sequence
from typing import Any

from v3io.dataplane.model import Model as BaseModel
from v3io.dataplane.response import Response
from v3io.dataplane.stream_deletion import delete_steps
from v3io.paths import shard_path

__all__ = ["Model"]


class Model(BaseModel[Coroutine[Any, Any, Response]]):
    """Stream calls: ``client.stream``."""

    async def create(
        self,
        container: str,
        stream_path: str,
        shard_count: int,
        access_key: str | None = None,
        raise_for_status: Any = None,
        retention_period_hours: int | None = None,
    ) -> Response:
        """Create a stream (an existing one is 409); see :meth:`v3io.dataplane.stream.Model.create`."""
        return await self._client.create_stream(
            container,
            stream_path,
            shard_count,
            access_key,
            raise_for_status,
            None,
            retention_period_hours,
        )

    async def update(
        self,
        container: str,
        stream_path: str,
        shard_count: int,
        access_key: str | None = None,
        raise_for_status: Any = None,
    ) -> Response:
        """Raise the number of shards; see :meth:`v3io.dataplane.stream.Model.update`."""
        return await self._client.update_stream(
            container, stream_path, shard_count, access_key, raise_for_status, None
        )

    async def describe(
        self,
        container: str,
        stream_path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
    ) -> Response:
        """Ask for number of shards and retention; see :meth:`v3io.dataplane.stream.Model.describe`."""
        return await self._client.describe_stream(
            container, stream_path, access_key, raise_for_status, None
        )

    async def seek(
        self,
        container: str,
        stream_path: str,
        shard_id: int | str,
        seek_type: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        starting_sequence_number: int | None = None,
        timestamp_sec: int | None = None,
        timestamp_nsec: int | None = None,
    ) -> Response:
        """Get a position in a shard (one without records is 404); see :meth:`v3io.dataplane.stream.Model.seek`."""
        return await self._client.seek_shard(
            container,
            shard_path(stream_path, shard_id),
            seek_type,
            access_key,
            raise_for_status,
            None,
            starting_sequence_number,
            timestamp_sec,
            timestamp_nsec,
        )

    async def put_records(
        self,
        container: str,
        stream_path: str,
        records: Sequence[Mapping[str, Any]],
        access_key: str | None = None,
        raise_for_status: Any = None,
    ) -> Response:
        """Append records; see :meth:`v3io.dataplane.stream.Model.put_records`."""
        return await self._client.put_records(
            container, stream_path, records, access_key, raise_for_status, None
        )

    async def get_records(
        self,
        container: str,
        stream_path: str,
        shard_id: int | str,
        location: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        limit: int | None = None,
    ) -> Response:
        """Read records from a location on; see :meth:`v3io.dataplane.stream.Model.get_records`."""
        return await self._client.get_records(
            container,
            shard_path(stream_path, shard_id),
            location,
            access_key,
            raise_for_status,
            None,
            limit,
        )

    async def delete(
        self,
        container: str,
        stream_path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
    ) -> Response:
        """Delete a stream; see :meth:`v3io.dataplane.stream.Model.delete`."""
        steps = delete_steps(stream_path)
        step = next(steps)
        while True:
            response = await self._client._send(
                container, access_key, raise_for_status, None, *step
            )
            try:
                step = steps.send(response)
            except StopIteration:
                return response
