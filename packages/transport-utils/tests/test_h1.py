"""The HTTP/1.1 parser: equal to h11 on what both accept, at every split point; strict, bounded, never stuck."""

import itertools

import h11
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transport_utils import errors
from transport_utils.h1 import (
    CHUNKED,
    LIMITS,
    UNTIL_CLOSE,
    ChunkedDecoder,
    HeadTemplate,
    Limits,
    ResponseParser,
    chunk,
    parse_head,
    parse_head_pure,
)
from transport_utils.testing.corpus import MALFORMED

CORPUS = [
    b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello",
    b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 204 No Content\r\nServer: x\r\n\r\n",
    b"HTTP/1.1 304 Not Modified\r\nContent-Length: 99\r\n\r\n",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\nConnection: keep-alive\r\n\r\nok",
    b"HTTP/1.1 200 \r\nContent-Length: 2\r\nConnection: close\r\n\r\nok",
    b"HTTP/1.1 404 Not Found\r\nX-A:   b \t\r\nx-a: c\r\nContent-Length: 1\r\n\r\n!",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n0A;x=y\r\n0123456789\r\n0\r\nX-Sum: 1\r\nY: \r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early\r\nLink: x\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok",
    b"HTTP/1.1 200 OK\r\nServer: x\r\n\r\nuntil the end",
    b"HTTP/1.1 200 \xe9t\xe9\r\nX: \xff\r\nContent-Length: 0\r\n\r\n",
]


def folded(name, value):
    """Return a field as h11 shows it: one value in lower case."""
    return name, value.lower() if name == b"transfer-encoding" else value


def ours(pieces, method="GET", *, pure=False, eof=True):
    """Return what our parser makes of the pieces: (status, fields, body, complete), or the error's name."""
    parser = ResponseParser(method, pure=pure)
    body = b""
    try:
        for piece in pieces:
            parser.feed(piece)
            body += parser.take(7)
        if eof and parser.started:
            parser.feed_eof()
    except errors.ProtocolError as error:
        return type(error).__name__
    body += parser.take()
    if parser.head is None:
        return None
    fields = [folded(name.lower(), value) for name, value in parser.head.raw_fields()]
    return parser.head.status, fields, body, parser.complete


def theirs(data, method="GET"):
    """Return the same by h11."""
    connection = h11.Connection(h11.CLIENT)
    connection.send(h11.Request(method=method, target="/", headers=[("Host", "x")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    head, body = None, b""
    try:
        fed_eof = False
        while True:
            event = connection.next_event()
            if event is h11.NEED_DATA:
                if fed_eof:
                    return "error"
                fed_eof = True
                connection.receive_data(b"")
            elif isinstance(event, h11.Response):
                head = event
            elif isinstance(event, h11.Data):
                body += bytes(event.data)
            elif isinstance(event, h11.EndOfMessage):
                fields = [(bytes(name).lower(), bytes(value)) for name, value in head.headers]
                fields = [folded(*field) for field in fields]
                return head.status_code, fields, body, True
            elif event is h11.PAUSED or isinstance(event, h11.ConnectionClosed):
                return "error"
    except h11.RemoteProtocolError:
        return "error"


@pytest.mark.parametrize("message", CORPUS)
@pytest.mark.parametrize("pure", [False, True])
def test_every_split_gives_what_h11_makes_of_the_whole(message, pure):
    expected = theirs(message)
    assert ours([message], pure=pure) == expected
    for at in range(1, len(message)):
        assert ours([message[:at], message[at:]], pure=pure) == expected
    assert ours([message[at : at + 1] for at in range(len(message))], pure=pure) == expected
    for first, second in itertools.combinations(range(1, len(message), 7), 2):
        pieces = [message[:first], message[first:second], message[second:]]
        assert ours(pieces, pure=pure) == expected


@pytest.mark.parametrize("message", CORPUS)
def test_message_cut_short_is_never_complete(message):
    ends_with_the_connection = b"until the end" in message
    for at in range(1, len(message)):
        result = ours([message[:at]])
        if not (ends_with_the_connection and at >= message.index(b"\r\n\r\n") + 4):
            assert isinstance(result, str)


@pytest.mark.parametrize("what", MALFORMED)
@pytest.mark.parametrize("pure", [False, True])
def test_malformed_message_is_refused_at_every_split(what, pure):
    message = MALFORMED[what]
    for at in range(1, len(message)):
        assert isinstance(ours([message[:at], message[at:]], pure=pure), str)


TOKENS = st.sampled_from(
    [
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 103 Early\r\n",
        b"HTTP/1.0 200\r\n",
        b"HTTP/1.1 204 X\r\n",
        b"Content-Length: 5\r\n",
        b"Content-Length: 0\r\n",
        b"content-length:5 \r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: keep-alive, x\r\n",
        b"Content-Encoding: gzip\r\n",
        b"X: \x80\r\n",
        b"\r\n",
        b"\r\n\r\n",
        b"hello",
        b"5\r\nhello\r\n",
        b"0\r\n\r\n",
        b"0;a\r\nT: v\r\n\r\n",
        b"00000\r\n",
        b"\n",
        b"\r",
        b" ",
        b"\x00",
    ]
)


@settings(max_examples=600, deadline=None)
@given(
    st.lists(TOKENS, max_size=9).map(b"".join), st.integers(0, 60), st.sampled_from(["GET", "HEAD"])
)
def test_what_we_accept_h11_reads_in_the_same_way(message, at, method):
    whole = ours([message], method)
    assert ours([message[:at], message[at:]], method) == whole
    assert ours([message], method, pure=True) == whole
    if isinstance(whole, tuple):
        assert theirs(message, method) == whole


@settings(max_examples=600, deadline=None)
@given(
    st.sampled_from(CORPUS),
    st.lists(st.tuples(st.integers(0, 150), st.integers(0, 255)), max_size=3),
    st.integers(0, 150),
)
def test_changed_bytes_are_read_like_h11_does_or_refused(message, changes, at):
    data = bytearray(message)
    for index, value in changes:
        if index < len(data):
            data[index] = value
    message = bytes(data)
    whole = ours([message])
    assert ours([message[:at], message[at:]]) == whole
    assert ours([message], pure=True) == whole
    if isinstance(whole, tuple):
        assert theirs(message) == whole
        assert len(whole[2]) <= len(message)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.binary(max_size=40), max_size=6), st.integers(1, 20))
def test_chunks_survive_any_split(pieces, step):
    wire = b"".join(chunk(piece) for piece in pieces if piece) + chunk(b"") + b"next"
    decoder = ChunkedDecoder()
    out = b""
    for at in range(0, len(wire), step):
        if decoder.complete:
            break
        out += b"".join(decoder.feed(wire[at : at + step]))
    assert out == b"".join(pieces)
    assert decoder.complete
    assert b"next".startswith(decoder.excess)


def feed_all(data, limits=LIMITS, step=4096):
    parser = ResponseParser("GET", limits)
    for at in range(0, len(data), step):
        parser.feed(data[at : at + step])
    return parser


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X: " + b"v" * 70_000,
        b"HTTP/1.1 200 OK\r\n" + b"X: v\r\n" * 300 + b"\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"x" * 5000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X: v\r\n" * 5000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
        + b"X: v\r\n" * 3000
        + b"\r\n",
    ],
    ids=["head", "fields", "chunk line", "endless trailers", "long trailers"],
)
def test_memory_is_bounded_by_limits(data):
    with pytest.raises(errors.HeaderTooLarge):
        feed_all(data)


def test_interim_responses_are_bounded():
    with pytest.raises(errors.BadResponse, match="8 interim"):
        feed_all(b"HTTP/1.1 103 Early\r\n\r\n" * 9)


@pytest.mark.parametrize("parse", [parse_head, parse_head_pure])
@pytest.mark.parametrize("fields", [b"Upgrade: x\r\nConnection: upgrade\r\n", b""])
def test_an_unasked_switch_of_protocols_is_named(parse, fields):
    with pytest.raises(errors.BadResponse, match="switched protocols, which was not asked for"):
        parse(b"HTTP/1.1 101 Switching\r\n" + fields + b"\r\n", "GET")


def test_limits_can_be_set():
    with pytest.raises(errors.HeaderTooLarge):
        feed_all(b"HTTP/1.1 200 OK\r\nX: yyyyyyyyyyyy\r\n\r\n", Limits(head_bytes=30))


def test_head_that_drips_in_costs_linear_time():
    feed_all(b"HTTP/1.1 200 OK\r\nX: " + b"v" * 60_000 + b"\r\n\r\n", step=1)


def test_bytes_after_the_message_poison_the_connection():
    for extra in (b"x", b"HTTP/1.1 200 OK\r\n\r\n"):
        for message in CORPUS[:2]:
            parser = ResponseParser("GET")
            parser.feed(message + extra)
            assert parser.complete
            assert not parser.reusable
            parser = ResponseParser("GET")
            parser.feed(message)
            assert parser.reusable
            parser.feed(extra)
            assert not parser.reusable


@pytest.mark.parametrize("parse", [parse_head, parse_head_pure])
@pytest.mark.parametrize(
    ("head", "length", "keep_alive"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\n\r\n", 7, True),
        (b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n", CHUNKED, True),
        (b"HTTP/1.1 200 OK\r\nX: y\r\n\r\n", UNTIL_CLOSE, False),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\n", 1, False),
        (
            b"HTTP/1.1 200 OK\r\nConnection: x\r\nConnection: Close\r\nContent-Length: 1\r\n\r\n",
            1,
            False,
        ),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n", 1, False),
        (b"HTTP/1.0 200 OK\r\nConnection: Keep-Alive\r\nContent-Length: 1\r\n\r\n", 1, True),
    ],
)
def test_framing_and_keep_alive_follow_from_the_head(parse, head, length, keep_alive):
    parsed = parse(head, "GET")
    assert (parsed.length, parsed.keep_alive) == (length, keep_alive)
    assert parse(head, "HEAD").length == 0
    assert parse(head, "GET").length == length


TEMPLATE = HeadTemplate("h:1", "/p", {"Accept": "a", "X-Both": "mine"})


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from(["GET", "POST", "DELETE", "PROPFIND"]),
    st.text("/az%20?=&", max_size=12).map(lambda text: "/" + text),
    st.dictionaries(
        st.sampled_from(["X-A", "x-both", "X-C", "ACCEPT", "x-d"]),
        st.none() | st.text(st.characters(codec="latin-1", exclude_categories=["Cc"]), max_size=8),
    ),
    st.none() | st.binary(max_size=20),
)
def test_h11_server_reads_back_what_we_encode(method, target, headers, body):
    encoded = TEMPLATE.encode(method, target, headers, None if body is None else len(body))
    server = h11.Connection(h11.SERVER)
    server.receive_data(encoded + (body or b""))
    request = server.next_event()
    assert (request.method.decode(), request.target.decode()) == (method, "/p" + target)
    got = {name.decode(): value.decode("latin-1") for name, value in request.headers}
    expected = {"host": "h:1", "accept": "a", "x-both": "mine"}
    for name, value in headers.items():
        if value is None:
            expected.pop(name.lower(), None)
        else:
            expected[name.lower()] = value.strip(" \t")
    if body is not None or method == "POST":
        expected["content-length"] = str(len(body or b""))
    assert got == expected
    assert (
        TEMPLATE.fields(method, target, headers, None if body is None else len(body)).keys()
        == got.keys()
    )


@settings(max_examples=300, deadline=None)
@given(st.text(max_size=8), st.text(max_size=8), st.text(max_size=8), st.text(max_size=8))
def test_nothing_a_caller_passes_can_add_a_line(method, target, name, value):
    try:
        encoded = TEMPLATE.encode(method, "/" + target, {name: value})
    except errors.LocalProtocolError:
        return
    assert encoded.count(b"\r\n") <= 6
    assert encoded.count(b"\r") == encoded.count(b"\n") == encoded.count(b"\r\n")
    assert len(encoded.split(b"\r\n")[0].split(b" ")) == 3
