"""Stream calls of the asyncio client; see :mod:`v3io.dataplane.request` for the bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from v3io.dataplane import output, request
from v3io.dataplane.model import Model as BaseModel
from v3io.dataplane.response import Response
from v3io.dataplane.stream_deletion import delete_steps
from v3io.paths import shard_path

__all__ = ["Model"]


class Model(BaseModel):
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
        """Create a stream; an existing one is 409.

        Args:
            container: Container name or number.
            stream_path: Directory of the stream.
            shard_count: Number of shards, >= 1.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            retention_period_hours: Hours that records are kept; ``None`` and 0 mean 24.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``POST``, function CreateStream.
        """
        response: Response = await self._request(
            container,
            access_key or self._client._access_key,
            raise_for_status,
            None,
            request.encode_create_stream,
            {
                "path": stream_path,
                "shard_count": shard_count,
                "retention_period_hours": retention_period_hours,
            },
            None,
        )
        return response

    async def update(
        self,
        container: str,
        stream_path: str,
        shard_count: int,
        access_key: str | None = None,
        raise_for_status: Any = None,
    ) -> Response:
        """Raise the number of shards.

        Args:
            container: Container name or number.
            stream_path: Directory of the stream.
            shard_count: Number of shards, >= 1.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``POST``, function UpdateStream.
        """
        response: Response = await self._request(
            container,
            access_key or self._client._access_key,
            raise_for_status,
            None,
            request.encode_update_stream,
            {"path": stream_path, "shard_count": shard_count},
            None,
        )
        return response

    async def describe(
        self,
        container: str,
        stream_path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
    ) -> Response:
        """Ask for number of shards and retention.

        Args:
            container: Container name or number.
            stream_path: Directory of the stream.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``PUT``, function DescribeStream.
        """
        response: Response = await self._request(
            container,
            access_key or self._client._access_key,
            raise_for_status,
            None,
            request.encode_describe_stream,
            {"path": stream_path},
            output.DescribeStreamOutput,
        )
        return response

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
        """Get a position in a shard; a shard without records is 404.

        Args:
            container: Container name or number.
            stream_path: Directory of the stream.
            shard_id: Shard number, 0-based.
            seek_type: ``EARLIEST``, ``LATEST``, ``TIME`` or ``SEQUENCE``, case-sensitive.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            starting_sequence_number: With ``SEQUENCE``: the first record wanted.
            timestamp_sec: With ``TIME``: seconds since 1970.
            timestamp_nsec: With ``TIME``: nanoseconds; ``None`` means 0.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``PUT``, function SeekShard.
        """
        response: Response = await self._request(
            container,
            access_key or self._client._access_key,
            raise_for_status,
            None,
            request.encode_seek_shard,
            {
                "path": shard_path(stream_path, shard_id),
                "seek_type": seek_type,
                "starting_sequence_number": starting_sequence_number,
                "timestamp_sec": timestamp_sec,
                "timestamp_nsec": timestamp_nsec,
            },
            output.SeekShardOutput,
        )
        return response

    async def put_records(
        self,
        container: str,
        stream_path: str,
        records: Sequence[Mapping[str, Any]],
        access_key: str | None = None,
        raise_for_status: Any = None,
    ) -> Response:
        """Append records; failed ones are told per record in the output. Not idempotent.

        Args:
            container: Container name or number.
            stream_path: Directory of the stream.
            records: Dicts with ``data`` and optionally ``client_info``, ``shard_id``, ``partition_key``; at most 1000.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``POST``, function PutRecords.
        """
        response: Response = await self._request(
            container,
            access_key or self._client._access_key,
            raise_for_status,
            None,
            request.encode_put_records,
            {"path": stream_path, "records": records},
            output.PutRecordsOutput,
        )
        return response

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
        """Read records from a location on.

        Args:
            container: Container name or number.
            stream_path: Directory of the stream.
            shard_id: Shard number, 0-based.
            location: From ``seek`` or the previous ``next_location``.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            limit: Most entries of the answer; ``None`` leaves it to the platform, 0 asks for none.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``PUT``, function GetRecords.
        """
        response: Response = await self._request(
            container,
            access_key or self._client._access_key,
            raise_for_status,
            None,
            request.encode_get_records,
            {"path": shard_path(stream_path, shard_id), "location": location, "limit": limit},
            output.GetRecordsOutput,
        )
        return response

    async def delete(
        self,
        container: str,
        stream_path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
    ) -> Response:
        """Delete a stream: its shards and whatever else lies in its directory, then the directory.

        Args: as for :meth:`describe`.

        Returns:
            The last response; with ``RaiseForStatus.never`` that of the first step that failed.

        Raises:
            HttpResponseError: A step's status is not accepted.
        """
        steps = delete_steps(stream_path)
        step = next(steps)
        while True:
            response: Response = await self._client._send(
                container, access_key, raise_for_status, None, *step
            )
            try:
                step = steps.send(response)
            except StopIteration:
                return response
