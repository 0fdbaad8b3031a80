import gzip

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transport_utils.compression import DEFAULT_DECODE_LIMITS, DecodeLimits
from transport_utils.decoding import decode_response
from transport_utils.errors import (
    BadResponse,
    DecodeBomb,
    SerializationError,
    TransportError,
    TruncatedBody,
)
from transport_utils.headers import Headers
from transport_utils.messages import AsyncResponse, Response, ResponseHead

BODY = bytes(range(256)) * 300
PACKED = gzip.compress(BODY)


class Source:
    """A body that arrives in pieces and remembers whether it was given up."""

    def __init__(self, data, piece):
        self.data, self.piece, self.closed = data, piece, False

    def read(self, limit):
        size = min(limit, self.piece)
        taken, self.data = self.data[:size], self.data[size:]
        return taken

    def read_into(self, buffer):
        taken = self.read(len(buffer))
        buffer[: len(taken)] = taken
        return len(taken)

    def close(self):
        self.closed = True


class AsyncSource(Source):
    async def read(self, limit):
        return super().read(limit)


def head(status=200, encoding="gzip"):
    return ResponseHead(
        status, "", "1.1", Headers({"content-encoding": encoding} if encoding else {})
    )


def streamed(data, piece=1000, *, kind=Response, limits=DEFAULT_DECODE_LIMITS, **options):
    source = (Source if kind is Response else AsyncSource)(data, piece)
    response = kind(head(**options), None, "http://n", source=source)
    decode_response(response, limits)
    return response, source


def whole(data, limits=DEFAULT_DECODE_LIMITS, **options):
    response = Response(head(**options), data, "http://n")
    decode_response(response, limits)
    return response


def test_a_whole_body_is_decompressed():
    assert whole(PACKED).content == BODY
    assert whole(BODY, encoding=None).content == BODY


def test_a_failure_keeps_a_body_that_does_not_decode_and_says_why():
    response = whole(b"<html>", status=502)
    assert response.content == b"<html>"
    assert "not valid gzip" in response.decode_error


def test_a_success_that_does_not_decode_raises_with_the_response():
    with pytest.raises(BadResponse) as caught:
        whole(b"<html>")
    assert (caught.value.meta.status, caught.value.body) == (200, b"<html>")


@given(st.integers(1, 500), st.integers(1, 100_000))
def test_a_streamed_body_is_decompressed_however_it_arrives_and_is_read(piece, limit):
    response, _ = streamed(PACKED, piece)
    pieces = list(response.iter_bytes(limit))
    assert b"".join(pieces) == BODY
    assert all(0 < len(one) <= limit for one in pieces)


def test_a_streamed_body_is_read_into_a_buffer():
    response, _ = streamed(PACKED)
    buffer = bytearray(len(BODY))
    assert response.read_into(buffer) == len(BODY)
    assert buffer == BODY


async def test_the_asynchronous_response_reads_the_same():
    response, _ = streamed(PACKED, kind=AsyncResponse)
    assert b"".join([piece async for piece in response.aiter_bytes(777)]) == BODY
    response, _ = streamed(PACKED, kind=AsyncResponse)
    assert await response.read() == BODY
    response, _ = streamed(PACKED, kind=AsyncResponse)
    assert await response.read_into(bytearray(len(BODY))) == len(BODY)


@pytest.mark.parametrize(
    ("data", "limits", "error"),
    [
        (PACKED[:-20], DEFAULT_DECODE_LIMITS, TruncatedBody),
        (b"garbage", DEFAULT_DECODE_LIMITS, BadResponse),
        (PACKED, DecodeLimits(max_size=5000), DecodeBomb),
    ],
)
def test_a_streamed_body_that_cannot_be_decoded_gives_up_its_connection(data, limits, error):
    response, source = streamed(data, limits=limits)
    with pytest.raises(error):
        _ = response.content
    assert source.closed or not source.data
    response, source = streamed(data, limits=limits)
    with pytest.raises(error):
        list(response.iter_bytes())
    assert source.closed


async def test_and_so_does_the_asynchronous_one():
    response, source = streamed(PACKED, kind=AsyncResponse, limits=DecodeLimits(max_size=5000))
    with pytest.raises(DecodeBomb):
        await response.read()
    assert source.closed


def test_a_coding_nobody_knows_is_said_and_gives_up_the_connection():
    source = Source(b"?", 1)
    response = Response(head(encoding="lzma"), None, "http://n", source=source)
    with pytest.raises(SerializationError, match="lzma") as caught:
        decode_response(response, DEFAULT_DECODE_LIMITS)
    assert source.closed
    assert caught.value.meta.status == 200
    with pytest.raises(SerializationError):
        whole(b"?", encoding="lzma")
    assert whole(b"?", encoding="lzma", status=500).content == b"?"


def test_a_streamed_body_is_taken_once():
    response, source = streamed(PACKED)
    next(response.iter_bytes(10))
    with pytest.raises(TransportError, match="already taken"):
        _ = response.content
    response, source = streamed(PACKED)
    with response:
        pass
    assert source.closed


def test_a_buffer_that_is_too_small_is_refused():
    response, source = streamed(PACKED)
    with pytest.raises(ValueError, match="longer than the buffer"):
        response.read_into(bytearray(100))
    assert source.closed
    with pytest.raises(ValueError, match="the buffer 3"):
        whole(PACKED).read_into(bytearray(3))
    buffer = bytearray(len(BODY))
    assert whole(PACKED).read_into(buffer) == len(BODY)
    assert list(whole(PACKED).iter_bytes(70_000)) == [BODY[:70_000], BODY[70_000:]]


async def test_an_asynchronous_body_is_read_before_it_is_looked_at():
    response, _ = streamed(PACKED, kind=AsyncResponse)
    with pytest.raises(TransportError, match=r"await response\.read"):
        _ = response.content
    await response.read()
    assert response.content == BODY
    assert [piece async for piece in response.aiter_bytes(70_000)] == [BODY[:70_000], BODY[70_000:]]
    response, source = streamed(PACKED, kind=AsyncResponse)
    async with response:
        pass
    assert source.closed


def test_a_response_shows_what_it_is():
    assert repr(whole(PACKED)) == "<Response 200 from http://n, 76800 bytes>"
    assert repr(streamed(PACKED)[0]) == "<Response 200 from http://n, streaming>"
