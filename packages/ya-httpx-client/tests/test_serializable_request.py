import json

import httpx
import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from ya_httpx_client.serializable_request import Request, Response

bodies = st.binary(max_size=200)
names = st.from_regex(r"[A-Za-z][A-Za-z0-9-]{0,10}", fullmatch=True)
values = st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=20)
header_lists = st.lists(st.tuples(names, values), max_size=6)


@given(bodies, header_lists)
def test_request_survives_its_json_form(data, headers):
    request = Request("POST", "http://calc/add?x=1&y=2", data, headers)
    back = Request.from_json(request.as_json())
    assert (back.method, back.url, back.data) == ("POST", "http://calc/add?x=1&y=2", data)
    assert back.header_items == headers
    assert back.headers == dict(headers)


@given(st.integers(100, 599), bodies, header_lists)
def test_response_survives_its_json_form(status, data, headers):
    back = Response.from_json(Response(status, data, headers).as_json())
    assert (back.status, back.data, back.header_items) == (status, data, headers)


@given(header_lists)
def test_text_bodies_have_the_original_file_format(headers):
    values = Request("GET", "http://calc/", "grün".encode(), dict(headers)).as_dict()
    assert values == {
        "method": "GET",
        "url": "http://calc/",
        "data": "grün",
        "headers": dict(headers),
    }
    answer = Response(200, b"text", dict(headers)).as_dict()
    assert answer == {"status": 200, "data": "text", "headers": dict(headers)}


def test_file_of_the_original_is_read():
    text = json.dumps({"method": "PUT", "url": "http://a/b", "data": "x", "headers": {"A": "1"}})
    request = Request.from_json(text)
    assert (request.method, request.data, request.headers) == ("PUT", b"x", {"A": "1"})


def test_binary_body_is_carried_beside_an_empty_text():
    values = Request("POST", "http://a/", b"\xff\xfe", {}).as_dict()
    assert values["data"] == ""
    assert Request.from_dict(values).data == b"\xff\xfe"


def test_repeated_fields_are_kept_beside_the_mapping():
    answer = Response(200, b"", [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")])
    values = answer.as_dict()
    assert values["headers"] == {"Set-Cookie": "b=2"}
    assert Response.from_dict(values).header_items == [("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]


def test_changed_headers_win_over_what_was_read():
    request = Request("GET", "http://a/", b"", [("A", "1"), ("A", "2")])
    request.headers["B"] = "3"
    assert dict(Request.from_json(request.as_json()).headers) == {"A": "2", "B": "3"}


def test_files_round_trip(tmp_path):
    Request("GET", "http://a/", b"\x00", {"A": "1"}).to_file(str(tmp_path / "r"))
    assert Request.from_file(str(tmp_path / "r")).data == b"\x00"
    Response(204).to_file(str(tmp_path / "s"))
    assert Response.from_file(str(tmp_path / "s")).status == 204


@pytest.mark.parametrize(
    ("url", "base", "path", "target"),
    [
        ("http://calc/add/1?x=2", "http://calc", "/add/1", "/add/1?x=2"),
        ("http://calc:8080", "http://calc:8080", "", "/"),
        ("https://a.b/c/", "https://a.b", "/c/", "/c/"),
    ],
)
def test_parts_of_the_url(url, base, path, target):
    request = Request("GET", url)
    assert (request.base_url, request.path, request.target) == (base, path, target)


def test_request_is_pointed_at_another_server():
    request = Request("GET", "http://localhost:5000/add/3/4?x=1")
    request.replace_mount_url("http://provider_http_server/")
    assert request.url == "http://provider_http_server/add/3/4?x=1"
    with pytest.raises(ValueError, match="Missing schema in url calc"):
        request.replace_mount_url("calc")


def test_httpx_request_and_back():
    original = httpx.Request(
        "POST", "http://calc/x?a=b", content=b"\xffbin", headers=[("X", "1"), ("X", "2")]
    )
    request = Request.from_httpx_request(original)
    assert request.data == b"\xffbin"
    assert [item for item in request.header_items if item[0].lower() == "x"] == [
        ("X", "1"),
        ("X", "2"),
    ]
    again = request.as_httpx_request()
    assert (again.method, str(again.url), again.read()) == ("POST", "http://calc/x?a=b", b"\xffbin")
    assert again.headers.get_list("x") == ["1", "2"]


def test_httpx_response_loses_what_described_its_encoding():
    response = httpx.Response(
        200,
        headers=[("content-encoding", "identity"), ("set-cookie", "a=1"), ("set-cookie", "b=2")],
        content=b"x",
    )
    answer = Response.from_httpx_response(response)
    assert answer.header_items == [("set-cookie", "a=1"), ("set-cookie", "b=2")]
    assert answer.as_quart_response() == (b"x", 200, answer.header_items)


def test_old_transport_arguments():
    class Stream:
        def read(self):
            return b"body"

    request = Request.from_httpx_handle_request_args(
        b"POST", (b"http", b"calc", 81, b"/x?y=1"), [(b"A", b"1")], Stream()
    )
    assert (request.url, request.data, request.headers) == (
        "http://calc:81/x?y=1",
        b"body",
        {"A": "1"},
    )


def test_requests_request_and_response():
    made = Request("POST", "http://a/b", b"x", {"A": "1"}).as_requests_request()
    assert isinstance(made, requests.Request)
    assert made.prepare().body == b"x"
    response = requests.Response()
    response.status_code, response._content = 201, b"y"
    response.headers["A"] = "1"
    answer = Response.from_requests_response(response)
    assert (answer.status, answer.data, answer.header_items) == (201, b"y", [("A", "1")])


def test_raw_text_has_the_query_and_a_line_of_its_own():
    raw = Request("POST", "http://a/b?c=d", b"body", {"Host": "a"}).as_raw_request_str()
    assert raw == "POST /b?c=d HTTP/1.0\r\nHost: a\r\n\r\nbody"


def test_response_from_two_websocket_messages():
    answer = Response.from_wsmessages("HTTP/1.1 404 Not Found\r\nA: 1\r\nA: 2\r\n\r\n", b"gone")
    assert (answer.status, answer.data, answer.header_items) == (
        404,
        b"gone",
        [("A", "1"), ("A", "2")],
    )
