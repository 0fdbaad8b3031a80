"""Every recorded call of v3io 0.7.2 builds and sends the same request, the bugs that were fixed excepted by name."""

import array
import base64
import datetime
import http.server
import inspect
import json
import pathlib
import threading
import urllib.parse

import pytest
from v3io._wire import RequestWriter
from v3io.aio import dataplane as aio_dataplane
from v3io.dataplane import Client
from v3io.dataplane.request import Request
from v3io.dataplane.response import Response
from v3io.dataplane.transport import abstract

VECTORS = json.loads((pathlib.Path(__file__).parent / "vectors" / "wire.json").read_text())
REQUESTS = [v for v in VECTORS["vectors"] if v["transport"] == "requests"]
AIOHTTP = [v for v in VECTORS["vectors"] if v["transport"] == "aiohttp"]
SYNC = [v for v in VECTORS["vectors"] if v["transport"] == "httpclient"]

FIXED_BODIES = {
    ("kv.get", "**"): '{"AttributesToGet":"**"}',
    ("kv.get", "age"): '{"AttributesToGet":"age"}',
    ("kv.new_cursor", None): '{"AttributesToGet":"*","Marker":"resume-here"}',
    ("new_items_cursor", None): '{"AttributesToGet":"age,feature","FilterExpression":"age > 15"}',
}
BOTH_GIVEN = "takes attributes or an expression, not both"
LISTING = b"""<ListBucketResult><Name>bigdata</Name><NextMarker>st/1</NextMarker><MaxKeys>1000</MaxKeys>
<IsTruncated>false</IsTruncated><Contents><Key>st/0</Key><Size>0</Size></Contents><Contents><Key>st/1</Key>
<Size>0</Size></Contents></ListBucketResult>"""


def python_value(value):
    if isinstance(value, list):
        return [python_value(item) for item in value]
    if not isinstance(value, dict):
        return value
    match list(value.items()):
        case [("__bytes_b64__", text)]:
            return base64.b64decode(text)
        case [("__bytearray_b64__", text)]:
            return bytearray(base64.b64decode(text))
        case [("__datetime__", text)]:
            return datetime.datetime.fromisoformat(text)
        case [("__array__", [typecode, values])]:
            return array.array(typecode, values)
    return {key: python_value(item) for key, item in value.items()}


def arguments(vector):
    given = {name: python_value(value) for name, value in vector["kwargs"].items()}
    if "tup" in given.get("attributes", {}):  # a tuple, which JSON cannot tell from a list
        given["attributes"]["tup"] = tuple(given["attributes"]["tup"])
    if not vector.get("upstream_bug") and "nan" in given.get("attributes", {}):
        del given["attributes"]["nan"]  # refused since 0.8
    return given


def method(client, vector):
    call = client
    for name in vector["call"].split("."):
        call = getattr(call, name)
    return call


class Recorder(abstract.Transport):
    """Keeps the requests and answers each as an empty table, listing or success."""

    def __init__(self):
        super().__init__(None)
        self.requests: list[Request] = []

    def send_request(self, request):
        self.requests.append(request)
        return request

    def wait_response(self, request, raise_for_status=None, num_retries=1):
        name = getattr(request.output, "__name__", "")
        body = {
            "GetItemsOutput": b'{"LastItemIncluded":"TRUE","Items":[]}',
            "GetContainerContentsOutput": LISTING,
        }
        return Response(request.output, 200, {}, body.get(name, b""))


def perform(vector):
    recorder = Recorder()
    client = Client(transport_kind=recorder, access_key="some-access-key", logger=object())
    result = method(client, vector)(**arguments(vector))
    if vector["call"].startswith("batch."):
        client.batch.wait()
    if vector["call"] in ("kv.new_cursor", "new_items_cursor"):
        result.all()
    return recorder.requests


def expected_body(vector, recorded):
    if vector.get("upstream_bug"):
        names = vector["kwargs"].get("attribute_names")
        return FIXED_BODIES[vector["call"], names if isinstance(names, str) else None].encode()
    if "body_b64" in recorded:
        return base64.b64decode(recorded["body_b64"])
    body = recorded["body"].replace(',"nan":{"N":"nan"}', "")  # refused since 0.8
    return body.replace("1580702706:789000034", "1580702706:789000000").encode()  # exact since 0.8


def own_headers(recorded):
    transport_level = {"host", "accept-encoding", "content-length"}
    return {
        name: value for name, value in recorded["headers"] if name.lower() not in transport_level
    }


@pytest.mark.filterwarnings("ignore:retention_period_hours=0")
@pytest.mark.parametrize("vector", SYNC, ids=[f"{i}-{v['call']}" for i, v in enumerate(SYNC)])
def test_the_call_builds_the_recorded_request(vector):
    if vector.get("upstream_bug") and "attributes" in vector["kwargs"]:
        with pytest.raises(RuntimeError, match=BOTH_GIVEN):
            perform(vector)
        return
    if "raises" in vector and not vector.get("upstream_bug"):
        with pytest.raises(Exception) as caught:
            perform(vector)
        assert type(caught.value).__name__ == vector["raises"]["type"]
        assert str(caught.value) == vector["raises"]["message"]
        return
    requests = perform(vector)
    if "method" not in vector:  # a batch call that 0.7.2 could not queue
        assert len(requests) >= 1
        return
    recordings = vector.get("requests", [vector])
    assert [(r.method, r.encode_path()) for r in requests] == [
        (r["method"], r["path"]) for r in recordings
    ]
    for request, recorded in zip(requests, recordings, strict=True):
        assert request.headers == own_headers(recorded)
        body = b"" if request.body is None else bytes(request.body)
        assert body == expected_body(vector, recorded)


@pytest.mark.filterwarnings("ignore:retention_period_hours=0")
@pytest.mark.parametrize("vector", SYNC, ids=[f"{i}-{v['call']}" for i, v in enumerate(SYNC)])
def test_the_bytes_on_the_wire_are_the_recorded_ones(vector):
    if "method" not in vector or "raises" in vector or vector.get("upstream_bug"):
        pytest.skip("sends nothing, or a fault of 0.7.2")
    writer = RequestWriter("127.0.0.1:PORT")
    for request, recorded in zip(perform(vector), vector.get("requests", [vector]), strict=True):
        body = expected_body(vector, recorded)
        fields = [
            (name, str(len(body)) if name == "Content-Length" else value)
            for name, value in recorded["headers"]
        ]
        lines = [f"{recorded['method']} {recorded['path']} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in fields]
        head = "\r\n".join([*lines, "", ""]).encode()
        assert writer.write(request.encoded, request.access_key) == head + body


OURS = {"content-type", "range", "x-v3io-function", "x-v3io-session-key"}
"""Headers that the SDK sets; the others are those of the HTTP library, which is another one now."""


class RecordingHandler(http.server.BaseHTTPRequestHandler):
    """Writes down each request and answers it as an empty table, a listing or a success."""

    protocol_version = "HTTP/1.1"

    def answer(self):
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.server.seen.append((self.command, self.path, headers, body))
        text = b""
        if headers.get("x-v3io-function") == "GetItems":
            text = b'{"LastItemIncluded":"TRUE","Items":[]}'
        elif "prefix=" in self.path:
            text = LISTING
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    do_DELETE = do_GET = do_HEAD = do_POST = do_PUT = answer

    def log_message(self, *_):
        """Say nothing."""


@pytest.fixture
def recorder():
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), RecordingHandler) as server:
        server.seen = []
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def check(vector, seen):
    """Compare what arrived with what 0.7.2 sent, by meaning where aiohttp had ways of its own.

    Those are its escaping, a doubled slash, and a content type for every body that had none.
    """
    if "method" not in vector:  # 0.7.2 could not send it
        assert seen
        return
    recordings = vector.get("requests", [vector])
    is_aiohttp = vector["transport"] == "aiohttp"
    readable = urllib.parse.unquote if is_aiohttp else str
    assert [(command, readable(path)) for command, path, _, _ in seen] == [
        (recorded["method"], readable("/" + recorded["path"].lstrip("/")))
        for recorded in recordings
    ]
    for (_, _, headers, body), recorded in zip(seen, recordings, strict=True):
        expected = {name.lower(): value for name, value in recorded["headers"]}
        if is_aiohttp and expected.get("content-type") == "application/octet-stream":
            del expected["content-type"]
        assert {name: headers.get(name) for name in OURS} == {
            name: expected.get(name) for name in OURS
        }
        assert body == expected_body(vector, recorded)


def refused(vector):
    """Return the error that the call is to end with, or ``None``: type name and text."""
    if vector.get("upstream_bug"):
        return ("RuntimeError", BOTH_GIVEN) if "attributes" in vector["kwargs"] else None
    told = vector.get("raises")
    return told and (told["type"], told["message"])


@pytest.mark.filterwarnings("ignore:retention_period_hours=0")
@pytest.mark.parametrize(
    "vector", REQUESTS, ids=[f"{i}-{v['call']}" for i, v in enumerate(REQUESTS)]
)
def test_the_requests_transport_sends_the_recorded_request(recorder, vector):
    with Client(
        endpoint=f"http://127.0.0.1:{recorder.server_port}",
        access_key="some-access-key",
        logger=object(),
        transport_kind="requests",
    ) as client:
        error = refused(vector)
        if error is not None:
            with pytest.raises(Exception) as caught:
                method(client, vector)(**arguments(vector))
            assert type(caught.value).__name__ == error[0]
            assert error[1] in str(caught.value)
            return
        result = method(client, vector)(**arguments(vector))
        if vector["call"].startswith("batch."):
            client.batch.wait()
        if vector["call"] in ("kv.new_cursor", "new_items_cursor"):
            result.all()
    check(vector, recorder.seen)


@pytest.mark.filterwarnings("ignore:retention_period_hours=0")
@pytest.mark.parametrize("vector", AIOHTTP, ids=[f"{i}-{v['call']}" for i, v in enumerate(AIOHTTP)])
async def test_the_asyncio_client_sends_the_recorded_request(recorder, vector):
    async with aio_dataplane.Client(
        endpoint=f"http://127.0.0.1:{recorder.server_port}",
        access_key="some-access-key",
        logger=object(),
    ) as client:
        error = refused(vector)
        if error is not None:
            with pytest.raises(Exception) as caught:
                await method(client, vector)(**arguments(vector))
            assert type(caught.value).__name__ == error[0]
            assert error[1] in str(caught.value)
            return
        result = method(client, vector)(**arguments(vector))
        if inspect.isawaitable(result):
            result = await result
        if vector["call"] == "kv.new_cursor":
            await result.all()
    check(vector, recorder.seen)
