"""Parts by themselves and in templates; the web worker; the old components; persistence."""

import concurrent.futures
import io
import json
import logging
import threading
import time
import urllib.error
import urllib.request

import pytest
import zmq
from pylm import _wire, components
from pylm.components import connections as old_connections
from pylm.components import endpoints
from pylm.components import services as old_services
from pylm.components.servers import ServerTemplate as OldTemplate
from pylm.parts.connections import (
    HttpConnection,
    PullBypassConnection,
    PullConnection,
    PushBypassConnection,
    PushConnection,
    RepConnection,
    SubConnection,
)
from pylm.parts.core import BypassInbound, Router
from pylm.parts.servers import ServerTemplate
from pylm.parts.services import (
    CacheService,
    HttpService,
    PubService,
    PullService,
    PushService,
    RepService,
)
from pylm.persistence import etcd
from pylm.persistence.kv import DictDB
from pylm.remote.server import DebugServer, RequestHandler, WSGIApplication
from pylm.standalone import ParallelClient, Worker


def frame(payload=b"x", **fields):
    return _wire.PalmMessage(
        **{"client": "c", "function": "s.foo", **fields, "payload": payload}
    ).SerializeToString()


@pytest.fixture
def socket():
    made = []

    def make(kind, **where):
        one = zmq.Context.instance().socket(kind)
        made.append(one)
        one.linger = 0
        one.rcvtimeo = 10_000
        if "subscribe" in where:
            one.subscribe(where["subscribe"])
        if "bind" in where:
            one.bind(where["bind"])
        if "connect" in where:
            one.connect(where["connect"])
        return one

    yield make
    for one in made:
        one.close(0)


@pytest.fixture
def template():
    return ServerTemplate(logging.CRITICAL)


def test_requests_are_answered_with_the_feedback_of_a_blocking_route(
    template, address, socket, running
):
    where, out = address(), address()
    template.register_inbound(RepService, "Rep", where, route="Push", block=True, log="in")
    template.register_outbound(PushService, "Push", out, log="out")
    running(template)
    pull, req = socket(zmq.PULL, connect=out), socket(zmq.REQ, connect=where)
    req.send(frame())
    assert pull.recv() == frame()
    assert req.recv() == b""


def test_a_part_without_a_route_answers_one(template, address, socket, running):
    where = address()
    template.register_inbound(RepService, "Rep", where)
    running(template)
    req = socket(zmq.REQ, connect=where)
    req.send(frame())
    assert req.recv() == b"1"


def test_a_route_to_nowhere_is_answered_zero_and_logged(template, address, socket, running):
    where = address()
    template.register_inbound(RepService, "Rep", where, route="Nowhere", block=True)
    running(template)
    req = socket(zmq.REQ, connect=where)
    req.send(frame())
    assert req.recv() == b"0"


def test_connected_parts_pass_messages_on(template, address, socket, running):
    source, target, feed, asked = (address() for _ in range(4))
    push, pull = socket(zmq.PUSH, bind=source), socket(zmq.PULL, bind=target)
    pub, req = socket(zmq.XPUB, bind=feed), socket(zmq.REQ, bind=asked)
    template.register_inbound(PullConnection, "Pull", source, route="Push")
    template.register_inbound(SubConnection, "Sub", feed, route="Push", previous="before")
    template.register_inbound(RepConnection, "Rep", asked, route="Push")
    template.register_outbound(PushConnection, "Push", target)
    running(template)
    push.send(frame(b"pulled"))
    assert pull.recv() == frame(b"pulled")
    assert pub.recv() == b"\x01before"
    pub.send_multipart([b"before2", frame(b"not mine")])
    pub.send_multipart([b"before", frame(b"published")])
    message = _wire.PalmMessage.FromString(pull.recv())
    assert message.payload == b"published"
    assert len(message.cache) == 36
    req.send(frame(b"asked"))
    assert req.recv() == b"1"


def test_scatter_of_a_part_and_exceptions_in_it(template, address, socket, running):
    class Twice(PullService):
        def scatter(self, message):
            if message.payload == b"bad":
                raise RuntimeError("no")
            yield message
            yield message

    where, out = address(), address()
    template.register_inbound(Twice, "Pull", where, route="Push")
    template.register_outbound(PushService, "Push", out)
    running(template)
    push, pull = socket(zmq.PUSH, connect=where), socket(zmq.PULL, connect=out)
    for payload in (b"bad", b"good"):
        push.send(frame(payload))
    push.send(b"\xff garbage")
    assert {_wire.PalmMessage.FromString(pull.recv()).payload for _ in range(2)} == {b"good"}


def test_an_exception_in_an_outbound_part_is_sent_as_the_failure(
    template, address, socket, running
):
    class Failing(PushService):
        def scatter(self, message):
            if message.payload == b"bad":
                raise RuntimeError("no")
            yield message

    where, out = address(), address()
    template.register_inbound(PullService, "Pull", where, route="Push")
    template.register_outbound(Failing, "Push", out)
    running(template)
    push, pull = socket(zmq.PUSH, connect=where), socket(zmq.PULL, connect=out)
    push.send(frame(b"bad"))
    assert _wire.PalmMessage.FromString(pull.recv()).payload == b"0"


def test_a_pipelined_publisher_names_the_server_and_counts_the_stage(
    template, address, socket, running
):
    where, out = address(), address()
    template.register_inbound(PullService, "Pull", where, route="Pub")
    template.register_outbound(PubService, "Pub", out, pipelined=True, server="me")
    running(template)
    sub = socket(zmq.SUB, connect=out, subscribe=b"me")
    socket(zmq.PUSH, connect=where).send(frame())
    topic, body = sub.recv_multipart()
    assert topic == b"me"
    assert _wire.PalmMessage.FromString(body).stage == 1


def test_http_messages_come_in_by_post(template, address, socket, running):
    out = address()
    template.register_inbound(HttpService, "Http", route="Push", hostname="127.0.0.1", port=0)
    template.register_outbound(PushService, "Push", out)
    part = template.inbound_components["Http"]
    running(template)
    pull = socket(zmq.PULL, connect=out)
    with urllib.request.urlopen(
        f"http://127.0.0.1:{part.port}/", frame(b"posted"), timeout=10
    ) as answer:
        assert (answer.status, answer.read()) == (200, b"1")
    assert _wire.PalmMessage.FromString(pull.recv()).payload == b"posted"
    with urllib.request.urlopen(f"http://127.0.0.1:{part.port}/", b"\xff", timeout=10) as answer:
        assert answer.read() == b"0"
    for announced in ("-1", "many", "9" * 30):
        request = urllib.request.Request(
            f"http://127.0.0.1:{part.port}/", b"x", {"Content-Length": announced}
        )
        with pytest.raises(urllib.error.HTTPError, match="413") as refused:
            urllib.request.urlopen(request, timeout=10)
        refused.value.close()


def test_a_dead_part_ends_the_template_with_a_line_that_says_so(caplog):
    class Dies(BypassInbound):
        def start(self):
            raise RuntimeError("part is dead")

    template = ServerTemplate()
    template.register_bypass(Dies, "dies", "inproc://dies", socket_type=zmq.PULL)
    template.start()
    template.close()
    assert "This is critical, one of the parts died" in caplog.text


def test_the_router_refuses_unknown_parts(socket, running):
    router = Router("inproc://in-test", "inproc://out-test", messages=1)
    thread = threading.Thread(target=router.start)
    thread.start()
    req = socket(zmq.REQ)
    req.identity = b"stranger"
    req.connect("inproc://in-test")
    req.send(b"x")
    assert req.recv() == b"0"
    thread.join(5)


def test_bypass_connections_send_and_receive(address, socket):
    one, two = address(), address()
    pull, push = socket(zmq.PULL, bind=one), socket(zmq.PUSH, bind=two)
    out, back = PushBypassConnection("out", one), PullBypassConnection("back", two)
    assert out.send(b"hello") is None
    assert pull.recv() == b"hello"
    push.send(b"there")
    assert back.recv() == b"there"
    out.cleanup()
    back.cleanup()


def test_the_cache_part_serves_and_survives(template, address, socket, running):
    where = address()
    template.register_bypass(CacheService, "Cache", where)
    template.preset_cache(name="s", number=b"1")
    running(template)
    req = socket(zmq.REQ, connect=where)
    for request, answer in (
        (frame(b"name", function="s.get"), b"s"),
        (frame(b"v", function="s.set", cache="k"), b"k"),
        (b"\xff\xff", b""),
        (frame(b"k", function="_.get"), b"v"),
        (frame(b"k", function="_.nothing"), b""),
    ):
        req.send(request)
        assert req.recv() == answer
    assert template.name == "s"


# The web worker


class Web(RequestHandler):
    def foo(self, payload):
        return payload + b" online"

    def fails(self, payload):
        raise KeyError("missing")


def call(body, method="POST"):
    said = {}

    def start_response(status, headers):
        said["status"] = status

    environ = {
        "REQUEST_METHOD": method,
        "CONTENT_LENGTH": str(len(body)),
        "wsgi.input": io.BytesIO(body),
        "wsgi.errors": io.StringIO(),
    }
    return said, b"".join(WSGIApplication(Web)(environ, start_response))


def test_the_web_application_answers_by_status():
    said, body = call(frame(b"x"))
    assert (said["status"], _wire.PalmMessage.FromString(body).payload) == ("200 OK", b"x online")
    assert call(b"", "GET")[0]["status"] == "405 Method not allowed"
    assert call(b"\xff")[0]["status"].startswith("500")
    assert call(frame(function="s.fails"))[0]["status"].startswith("500")
    _, ext = _wire.MessageIds().next()
    said, body = call(frame(function="s.fails", ext=ext))
    assert said["status"] == "200 OK"
    assert (
        _wire.parse_extension(_wire.PalmMessage.FromString(body).ext).error.type
        == "builtins.KeyError"
    )


def test_the_debug_server_serves_one_request():
    server = DebugServer("127.0.0.1", 0, Web)
    thread = threading.Thread(target=server.handle_request)
    thread.start()
    with urllib.request.urlopen(
        f"http://127.0.0.1:{server.port}/", frame(b"x"), timeout=10
    ) as answer:
        assert _wire.PalmMessage.FromString(answer.read()).payload == b"x online"
    thread.join(5)
    server.close()


# The first API's components


class Hand(Worker):
    def foo(self, message):
        return b"w" + message


def test_a_template_of_the_first_api_carries_jobs(address, running):
    pull, push, wpull, wpush, db = (address() for _ in range(5))
    template = OldTemplate(logging_level=logging.CRITICAL)
    template.palm = True
    template.register_inbound(old_services.PullService, "Pull", pull, route="WorkerPush")
    template.register_inbound(old_services.WorkerPullService, "WorkerPull", wpull, route="Push")
    template.register_outbound(old_services.WorkerPushService, "WorkerPush", wpush)
    template.register_outbound(old_services.PushService, "Push", push)
    template.register_bypass(old_services.CacheService, "Cache", db)
    running(template)
    running(Hand("w", wpush, wpull, db, debug_level=logging.CRITICAL))
    with ParallelClient(push, pull, db, "s", timeout=10) as talk:
        assert list(talk.job("foo", [b"1", b"2"], messages=2, cache="tag")) == [b"w1", b"w2"]
        assert list(talk.job("foo", [b"3"], messages=1)) == [b"w3"]


def test_endpoints_play_the_other_side(address, running):
    where, out = address(), address()
    template = OldTemplate(logging_level=logging.CRITICAL)
    template.register_inbound(old_services.PullService, "Pull", where, route="Push")
    template.register_outbound(old_services.PushService, "Push", out)
    running(template)
    results = []
    thread = threading.Thread(
        target=lambda: results.extend(endpoints.PullEndPoint("pull", out).start(nmessages=3))
    )
    thread.start()
    endpoints.PushEndPoint("push", where).start("s.foo", b"x", 3)
    thread.join(10)
    assert results == [b"x"] * 3


def test_request_endpoints_get_their_answers(address, running):
    where = address()
    template = OldTemplate(logging_level=logging.CRITICAL)
    template.register_inbound(old_services.RepService, "Rep", where)
    running(template)
    req = zmq.Context.instance().socket(zmq.REQ)
    req.connect(where)
    req.send(
        _wire.OldPalmMessage(
            pipeline="p", client="c", stage=0, function="s.f", payload=b"x"
        ).SerializeToString()
    )
    assert req.poll(5000)
    assert req.recv() == b"1"
    req.close(0)
    assert components.__doc__
    assert old_connections.HttpConnection.keeps_broker is False


def test_a_web_server_may_start_after_the_message_came(address, running, client):
    pull, pub, db, web = (address() for _ in range(4))
    port = int(web.rpartition(":")[2])
    template = ServerTemplate(logging.CRITICAL)
    template.register_inbound(PullService, "Pull", pull, route="Http")
    template.register_outbound(HttpConnection, "Http", f"http://127.0.0.1:{port}/", route="Pub")
    template.register_outbound(PubService, "Pub", pub, server="server")
    template.register_bypass(CacheService, "Cache", db)
    template.preset_cache(name="server", pull_address=pull, pub_address=pub)
    running(template)

    class Handler(RequestHandler):
        def foo(self, payload):
            return payload + b" done"

    with concurrent.futures.ThreadPoolExecutor(1) as pool:
        answer = pool.submit(client("server", db).eval, "server.foo", b"mine", timeout=20)
        with pytest.raises(concurrent.futures.TimeoutError):
            answer.result(0.2)
        web = DebugServer("127.0.0.1", port, Handler)
        serving = threading.Thread(target=web.serve_forever)
        serving.start()
        try:
            assert answer.result(20) == b"mine done"
        finally:
            web.shutdown()
            serving.join()


# Persistence


def test_the_store_bounds_its_size_and_cleans_by_prefix():
    store = DictDB(max_bytes=10)
    store.set("a1", b"12345")
    store.set("a2", b"12345")
    with pytest.raises(ValueError, match="limit is 10"):
        store.set("a3", b"1")
    store.set("a1", b"1")
    store.clean("a")
    assert "a1" not in store
    with pytest.raises(KeyError):
        store.delete("a1")


def test_the_etcd_client_warns_and_speaks_version_two():
    import http.server

    asked = []

    class Etcd(http.server.BaseHTTPRequestHandler):
        def _do(self):
            size = int(self.headers.get("content-length") or 0)
            asked.append((self.command, self.path, self.rfile.read(size)))
            status = 404 if "absent" in self.path else 200
            body = json.dumps({"node": {"value": "v", "nodes": [1]}}).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_PUT = do_DELETE = _do

        def log_message(self, *_):
            pass

    web = http.server.HTTPServer(("127.0.0.1", 0), Etcd)
    thread = threading.Thread(target=web.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        with pytest.warns(DeprecationWarning, match="version 2"):
            client = etcd.Client(port=web.server_address[1])
        assert client.get("k") == "v"
        assert client.list("/d") == [1]
        assert client.wait("k", wait_index=3) == "v"
        client.put("k", "v")
        client.put("d", directory=True)
        client.delete("k")
        with pytest.raises(etcd.EtcdError, match="404"):
            client.get("absent", retries=1)
    finally:
        web.shutdown()
        web.server_close()
        thread.join()
    assert asked[0] == ("GET", "/v2/keys/k", b"")
    assert asked[3] == ("PUT", "/v2/keys/k", b"value=v")
    assert "waitIndex=3" in asked[2][1]


def test_an_unreachable_etcd_is_an_error():
    with pytest.warns(DeprecationWarning, match="version 2"):
        client = etcd.Client(port=1)
    began = time.monotonic()
    with pytest.raises(etcd.EtcdError):
        client.get("k", retries=1)
    assert time.monotonic() - began < 5
