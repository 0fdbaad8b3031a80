import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transport_utils.errors import BadResponse, HeaderTooLarge, LocalProtocolError, TruncatedBody
from ya_httpx_client._wire import ResponseParser, encode_chunk, encode_head

MESSAGES = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\nabc\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;x=y\r\nhello\r\n0\r\nTrailer: 1\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 404 \r\nContent-Length: 1\r\nConnection: close\r\n\r\nx",
    b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx",
]


def parse(pieces, **options):
    parser = ResponseParser(**options)
    body = b""
    for piece in pieces:
        parser.feed(piece)
        body += parser.take()
    return parser, body


def oracle(raw):
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(raw)
    status, headers, body = None, None, b""
    while True:
        event = connection.next_event()
        if isinstance(event, h11.Response):
            status, headers = event.status_code, list(event.headers)
        elif isinstance(event, h11.Data):
            body += bytes(event.data)
        elif isinstance(event, h11.EndOfMessage):
            keep_alive = connection.their_state is not h11.MUST_CLOSE
            return status, [(name.lower(), value) for name, value in headers], body, keep_alive


@pytest.mark.parametrize("raw", MESSAGES)
def test_every_split_gives_what_h11_gives(raw):
    status, headers, body, keep_alive = oracle(raw)
    for cut in range(len(raw) + 1):
        parser, parsed = parse([piece for piece in (raw[:cut], raw[cut:]) if piece])
        assert parser.complete
        assert (parser.status, parsed) == (status, body)
        assert [(name.lower(), value) for name, value in parser.headers] == headers
        assert parser.keep_alive == keep_alive


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=8), st.data())
def test_chunked_body_is_put_together_however_it_arrives(chunks, data):
    raw = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    raw += b"".join(encode_chunk(chunk) for chunk in chunks) + encode_chunk(b"")
    cuts = sorted(data.draw(st.lists(st.integers(0, len(raw)), max_size=5)))
    pieces = [raw[a:b] for a, b in zip([0, *cuts], [*cuts, len(raw)], strict=True)]
    parser, body = parse([piece for piece in pieces if piece])
    assert parser.complete
    assert body == b"".join(chunks)


def test_head_answer_has_no_body_whatever_its_length_says():
    parser, body = parse([b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n"], head_only=True)
    assert parser.complete
    assert parser.keep_alive
    assert body == b""
    parser.feed(b"surprise")
    assert not parser.keep_alive
    assert parser.take() == b""


def test_body_without_length_ends_with_the_connection():
    parser, body = parse([b"HTTP/1.1 200 OK\r\n\r\nsome"])
    assert not parser.complete
    parser.end()
    assert parser.complete
    assert not parser.keep_alive
    assert body == b"some"


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel",
        b"HTTP/1.1 200 O",
    ],
)
def test_connection_that_ends_too_early_is_an_error(raw):
    parser, _ = parse([raw])
    with pytest.raises(TruncatedBody):
        parser.end()


@pytest.mark.parametrize(
    "raw",
    [
        b"garbage\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 101 Switching\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n",
    ],
)
def test_broken_answer_is_refused(raw):
    with pytest.raises(BadResponse):
        parse([raw])


@pytest.mark.parametrize("junk", [b"HTTP/1.1 200 OK\r\n\r\n", b"junk"])
def test_bytes_after_the_answer_end_the_connections_use(junk):
    parser, body = parse([b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" + junk])
    assert parser.complete
    assert body == b"ok"
    assert not parser.keep_alive


def test_endless_head_is_refused():
    parser = ResponseParser()
    parser.feed(b"HTTP/1.1 200 OK\r\n")
    fields = b"".join(b"X-%d: %s\r\n" % (number, b"y" * 50) for number in range(10_000))
    with pytest.raises(HeaderTooLarge):
        parser.feed(fields)


@given(st.binary(max_size=300))
def test_arbitrary_bytes_never_hang_or_crash(raw):
    parser = ResponseParser()
    try:
        parser.feed(raw)
        parser.end()
    except (BadResponse, TruncatedBody, HeaderTooLarge):
        pass


def test_head_keeps_order_and_repetition():
    head = encode_head(b"GET", b"/a?b=c", [(b"Host", b"calc"), (b"X", b"1"), (b"X", b"2")])
    assert head == b"GET /a?b=c HTTP/1.1\r\nHost: calc\r\nX: 1\r\nX: 2\r\n\r\n"


@pytest.mark.parametrize("field", [(b"X", b"a\r\nY: b"), (b"X\r\n", b"a"), (b"X", b"\x00")])
def test_header_injection_is_refused(field):
    with pytest.raises(LocalProtocolError):
        encode_head(b"GET", b"/", [field])


def test_announced_length():
    assert parse([MESSAGES[0]])[0].content_length() == 5
    assert parse([MESSAGES[2]])[0].content_length() is None
