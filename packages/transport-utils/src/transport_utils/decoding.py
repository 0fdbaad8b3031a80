"""Undoes the content coding of a response, whole or streamed, within limits.

Used by :mod:`transport_utils.call`; the codecs are in :mod:`transport_utils.compression`.
"""

from __future__ import annotations

from collections.abc import Iterator

from transport_utils.compression import BodyDecoder, DecodeLimits, decode_body
from transport_utils.errors import ProtocolError
from transport_utils.messages import AsyncBodySource, AsyncResponse, BodySource, Response

__all__ = ["decode_response"]


def decode_response(response: Response | AsyncResponse, limits: DecodeLimits) -> None:
    """Make ``response`` yield its body decompressed.

    The body of a failure status that cannot be decoded stays as it is, with the reason in ``decode_error``.

    Raises:
        ProtocolError: The status is below 400 and the body cannot be decoded, or grows beyond the limits; ``meta`` and
            ``body`` hold the response.
    """
    encoding = response.headers.get("content-encoding")
    if not encoding:
        return
    if response.is_streaming:
        wrap = _DecodingSource if isinstance(response, Response) else _AsyncDecodingSource
        response.wrap_source(lambda source: wrap(source, BodyDecoder(encoding, limits)))
        return
    content = response.content
    try:
        response.replace_content(decode_body(content, encoding, limits))
    except ProtocolError as error:
        if response.status >= 400:
            response.decode_error = error.message
            return
        error.meta, error.body = response.meta, content
        raise


class _DecodingSource:
    """Decompresses a streamed body; see :class:`transport_utils.messages.BodySource`."""

    def __init__(self, source: BodySource, decoder: BodyDecoder) -> None:
        self._source = source
        self._decoder = decoder
        self._parts: Iterator[bytes] = iter(())
        self._rest = b""
        self._ended = False

    def read(self, limit: int) -> bytes:
        """Return up to ``limit`` bytes; empty at the end."""
        while not self._rest:
            part = next(self._parts, None)
            if part is not None:
                self._rest = part
            elif self._ended:
                return b""
            else:
                self._refill(self._source.read(limit))
        data, self._rest = self._rest[:limit], self._rest[limit:]
        return data

    def _refill(self, data: bytes) -> None:
        if data:
            self._parts = self._decoder.decode(data)
        else:
            self._ended = True
            self._decoder.finish()

    def read_into(self, buffer: memoryview) -> int:
        """Fill a part of ``buffer``."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        """Give up the rest."""
        self._source.close()


class _AsyncDecodingSource:
    """The asynchronous :class:`_DecodingSource`."""

    def __init__(self, source: AsyncBodySource, decoder: BodyDecoder) -> None:
        self._source = source
        self._decoder = decoder
        self._parts: Iterator[bytes] = iter(())
        self._rest = b""
        self._ended = False

    async def read(self, limit: int) -> bytes:
        """Return up to ``limit`` bytes; empty at the end."""
        while not self._rest:
            part = next(self._parts, None)
            if part is not None:
                self._rest = part
            elif self._ended:
                return b""
            elif data := await self._source.read(limit):
                self._parts = self._decoder.decode(data)
            else:
                self._ended = True
                self._decoder.finish()
        data, self._rest = self._rest[:limit], self._rest[limit:]
        return data

    def close(self) -> None:
        """Give up the rest."""
        self._source.close()
