"""Stream calls of the blocking client; see :mod:`v3io.dataplane.request` for the bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from v3io.dataplane.model import Model as BaseModel
from v3io.dataplane.response import Response
from v3io.dataplane.stream_deletion import delete_steps, send_steps
from v3io.paths import shard_path

__all__ = ["Model"]


class Model(BaseModel[Response]):
    """Stream calls: ``client.stream``."""

    def create(
        self,
        container: str,
        stream_path: str,
        shard_count: int,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
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
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).
            retention_period_hours: Hours that records are kept; ``None`` and 0 mean 24.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``POST``, function CreateStream.
        """
        return self._client.create_stream(
            container,
            stream_path,
            shard_count,
            access_key,
            raise_for_status,
            transport_actions,
            retention_period_hours,
        )

    def update(
        self,
        container: str,
        stream_path: str,
        shard_count: int,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> Response:
        """Raise the number of shards.

        Args:
            container: Container name or number.
            stream_path: Directory of the stream.
            shard_count: Number of shards, >= 1.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``POST``, function UpdateStream.
        """
        return self._client.update_stream(
            container, stream_path, shard_count, access_key, raise_for_status, transport_actions
        )

    def describe(
        self,
        container: str,
        stream_path: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> Response:
        """Ask for number of shards and retention.

        Args:
            container: Container name or number.
            stream_path: Directory of the stream.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``PUT``, function DescribeStream.
        """
        return self._client.describe_stream(
            container, stream_path, access_key, raise_for_status, transport_actions
        )

    def seek(
        self,
        container: str,
        stream_path: str,
        shard_id: int | str,
        seek_type: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
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
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).
            starting_sequence_number: With ``SEQUENCE``: the first record wanted.
            timestamp_sec: With ``TIME``: seconds since 1970.
            timestamp_nsec: With ``TIME``: nanoseconds; ``None`` means 0.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``PUT``, function SeekShard.
        """
        return self._client.seek_shard(
            container,
            shard_path(stream_path, shard_id),
            seek_type,
            access_key,
            raise_for_status,
            transport_actions,
            starting_sequence_number,
            timestamp_sec,
            timestamp_nsec,
        )

    def put_records(
        self,
        container: str,
        stream_path: str,
        records: Sequence[Mapping[str, Any]],
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
    ) -> Response:
        """Append records; failed ones are told per record in the output. Not idempotent.

        Args:
            container: Container name or number.
            stream_path: Directory of the stream.
            records: Dicts with ``data`` and optionally ``client_info``, ``shard_id``, ``partition_key``; at most 1000.
            access_key: Overrides the client's key for this call; ``None`` uses it.
            raise_for_status: ``None`` raises from status 300 up, ``RaiseForStatus.never`` never, a list raises for
                every status that is not in it.
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``POST``, function PutRecords.
        """
        return self._client.put_records(
            container, stream_path, records, access_key, raise_for_status, transport_actions
        )

    def get_records(
        self,
        container: str,
        stream_path: str,
        shard_id: int | str,
        location: str,
        access_key: str | None = None,
        raise_for_status: Any = None,
        transport_actions: int | None = None,
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
            transport_actions: What the transport does with the request; ``None`` sends it and waits (used by batches).
            limit: Most entries of the answer; ``None`` leaves it to the platform, 0 asks for none.

        Raises:
            HttpResponseError: The status is not accepted; the subclass says why (see :mod:`v3io.errors`).
            ValueError: Container or path is empty or not a str.

        Source: ``PUT``, function GetRecords.
        """
        return self._client.get_records(
            container,
            shard_path(stream_path, shard_id),
            location,
            access_key,
            raise_for_status,
            transport_actions,
            limit,
        )

    def delete(
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
        return send_steps(
            self._client, container, access_key, raise_for_status, delete_steps(stream_path)
        )
