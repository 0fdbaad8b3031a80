"""The one-pass judgement of usual heads never differs from the full one."""

from hypothesis import given, settings
from hypothesis import strategies as st
from transport_utils.errors import TransportError
from transport_utils.h1 import parse_head, parse_head_pure
from transport_utils.messages import Response

NAMES = st.sampled_from(
    "Content-Length,content-length,CONTENT-LENGTH,Content-Length ,Connection,connection,Transfer-Encoding,"
    "Content-Encoding,Content-Type,Date,X,T,c,".split(",")
)
VALUES = st.sampled_from(
    [
        *" 5,5, 5\t,, close,keep-alive, chunked,+5,0x5,\x00,\x80, 12345678901234567,a\tb, gzip".split(
            ","
        ),
        *(" 5, 5", " 123456789012345678901"),
    ]
)


def judged(parse, block, method):
    try:
        head = parse(block, method)
    except TransportError as error:
        return type(error).__name__
    return head.status, head.minor, head.length, head.keep_alive


@settings(max_examples=500)
@given(
    st.sampled_from(["HTTP/1.1", "HTTP/1.0", "HTTP/1.2", "http/1.1"]),
    st.sampled_from(["200", "204", "304", "404", "100", "101", "600", "099", "20"]),
    st.sampled_from([" OK", "", " ", "\tX", " \x01"]),
    st.lists(st.tuples(NAMES, VALUES), max_size=5),
    st.sampled_from(["GET", "HEAD"]),
    st.sampled_from(["\r\n", "\n"]),
)
def test_both_ways_agree_on_every_head(version, status, reason, fields, method, end):
    lines = [f"{version} {status}{reason}", *(f"{name}:{value}" for name, value in fields), "", ""]
    block = end.join(lines).encode("latin-1")
    assert judged(parse_head, block, method) == judged(parse_head_pure, block, method)


def test_equal_heads_are_one_object_whose_headers_are_not_shared():
    block = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Seen: no\r\n\r\n"
    first, second = (Response(parse_head(block, "GET"), b"ok", "http://node") for _ in range(2))
    assert first.head is second.head
    first.headers["x-seen"] = "yes"
    assert first.headers["x-seen"] == first.meta.headers["x-seen"] == "yes"
    assert second.headers["x-seen"] == "no"


def test_mismatch_of_a_long_head_is_found_in_no_time():
    block = b"HTTP/1.1 200 OK\r\n" + b"Content-Length: 1\r\n" + b"a:\r\n" * 240 + b"\x00\r\n\r\n"
    assert judged(parse_head, block, "GET") == "BadResponse"
