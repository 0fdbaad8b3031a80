import io

import pytest
from transport_utils.bodies import BodyStream, measure
from transport_utils.errors import BodyNotReplayable, LocalProtocolError

PIECES = [b"ab", b"", bytearray(b"cd"), memoryview(b"e")]


async def later():
    for piece in PIECES:
        yield piece


class Later:
    """An asynchronous body that can be read again."""

    def __aiter__(self):
        return later()


class Pipe:
    """A file that cannot be rewound."""

    def __init__(self, data):
        self.read = io.BytesIO(data).read

    def seekable(self):
        return False


def test_whole_bodies_stay_bytes():
    assert measure(None) is None
    assert measure(b"x") == measure(bytearray(b"x")) == measure(memoryview(b"x")) == b"x"
    stream = measure([b"x"])
    assert measure(stream) is stream


@pytest.mark.parametrize(
    ("body", "length", "replayable"),
    [
        (list(PIECES), None, True),
        (iter(PIECES), None, False),
        (io.BytesIO(b"abcde"), 5, True),
        (Pipe(b"abcde"), None, False),
    ],
    ids=["list", "iterator", "file", "pipe"],
)
def test_a_body_in_pieces_comes_whole_and_again_if_it_can(body, length, replayable):
    stream = BodyStream(body)
    assert (stream.length, stream.replayable) == (length, replayable)
    assert b"".join(stream.pieces()) == b"abcde"
    if replayable:
        assert b"".join(stream.pieces()) == b"abcde"
    else:
        with pytest.raises(BodyNotReplayable):
            stream.pieces()


def test_no_empty_piece_is_handed_on_for_it_would_end_a_chunked_body():
    assert all(BodyStream(PIECES).pieces())


def test_a_file_is_sent_from_where_it_stands():
    file = io.BytesIO(b"skip:rest")
    file.seek(5)
    stream = BodyStream(file)
    assert stream.length == 4
    assert [b"".join(stream.pieces()) for _ in range(2)] == [b"rest", b"rest"]


async def test_an_asynchronous_body_needs_the_asynchronous_transport():
    stream = BodyStream(Later())
    assert stream.replayable
    for _ in range(2):
        assert b"".join([piece async for piece in stream.apieces()]) == b"abcde"
    with pytest.raises(LocalProtocolError, match="asynchronous transport"):
        stream.pieces()
    once = BodyStream(later())
    assert b"".join([piece async for piece in once.apieces()]) == b"abcde"
    with pytest.raises(BodyNotReplayable):
        _ = [piece async for piece in once.apieces()]


async def test_the_asynchronous_transport_takes_plain_bodies_too():
    assert [piece async for piece in BodyStream([b"a", b"b"]).apieces()] == [b"a", b"b"]


@pytest.mark.parametrize("body", ["text", {"a": 1}, 5, object()])
def test_what_is_no_body_is_refused_by_type(body):
    with pytest.raises(LocalProtocolError, match=type(body).__name__):
        measure(body)


@pytest.mark.parametrize("pieces", [["text"], [1], iter(b"abc"), io.StringIO("text")])
def test_what_is_no_piece_is_refused_by_type(pieces):
    with pytest.raises(LocalProtocolError, match="body piece of type"):
        list(BodyStream(pieces).pieces())
