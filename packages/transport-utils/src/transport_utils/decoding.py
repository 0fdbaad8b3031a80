"""Undoes the content coding of a response, whole or streamed, within limits.

Used by :mod:`transport_utils.call`; the codecs are in :mod:`transport_utils.compression`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from transport_utils.compression import BodyDecoder, DecodeLimits, decode_body
from transport_utils.errors import ProtocolError, SerializationError
from transport_utils.messages import AsyncResponse, Response

__all__ = ["decode_response"]


def decode_response(response: Response | AsyncResponse, limits: DecodeLimits) -> None:
    """Make ``response`` yield its body decompressed.

    The body of a failure status that cannot be decoded stays as it is, with the reason in ``decode_error``.

    Raises:
        ProtocolError: The status is below 400 and the body cannot be decoded, or grows beyond the limits; ``meta`` and
            ``body`` hold the response.
        SerializationError: Its coding is unknown; likewise.
    """
    encoding = response.headers.get("content-encoding")
    if not encoding:
        return
    if response.is_streaming:
        wrap = _DecodingSource if isinstance(response, Response) else _AsyncDecodingSource
        try:
            decoder = BodyDecoder(encoding, limits)
        except SerializationError as error:
            response.give_up()
            error.meta = response.meta
            raise
        response.wrap_source(lambda source: wrap(source, decoder))
        return
    content = response.content
    try:
        response.replace_content(decode_body(content, encoding, limits))
    except (ProtocolError, SerializationError) as error:
        if response.status >= 400:
            response.decode_error = error.message
            return
        error.meta, error.body = response.meta, content
        raise


class _DecodedParts:
    """What both kinds of source share: the decoder, and what it made of the bytes so far."""

    def __init__(self, source: Any, decoder: BodyDecoder) -> None:
        self._source = source
        self._decoder = decoder
        self._parts: Iterator[bytes] = iter(())
        self._rest = b""
        self._ended = False

    def _next_part(self) -> bool:
        """Take the next part; return whether there was one.

        Raises:
            ProtocolError: The body cannot be decoded; the connection is given up.
        """
        try:
            self._rest = next(self._parts, b"")
        except ProtocolError:
            self.close()
            raise
        return bool(self._rest)

    def _feed(self, data: bytes) -> None:
        """Take a piece of the encoded body; none means that it is complete."""
        if data:
            self._parts = self._decoder.decode(data)
        else:
            self._ended = True
            self._decoder.finish()

    def _take(self, limit: int) -> bytes:
        data, self._rest = self._rest[:limit], self._rest[limit:]
        return data

    def close(self) -> None:
        """Give up the rest."""
        self._source.close()


class _DecodingSource(_DecodedParts):
    """Decompresses a streamed body; see :class:`transport_utils.messages.BodySource`."""

    def read(self, limit: int) -> bytes:
        """Return up to ``limit`` bytes; empty at the end."""
        while not (self._rest or self._next_part() or self._ended):
            self._feed(self._source.read(limit))
        return self._take(limit)

    def read_into(self, buffer: memoryview) -> int:
        """Fill a part of ``buffer``."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)


class _AsyncDecodingSource(_DecodedParts):
    """The asynchronous :class:`_DecodingSource`."""

    async def read(self, limit: int) -> bytes:
        """Return up to ``limit`` bytes; empty at the end."""
        while not (self._rest or self._next_part() or self._ended):
            self._feed(await self._source.read(limit))
        return self._take(limit)
