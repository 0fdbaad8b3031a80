"""Faults of the originals in parts and gateways, numbered E-1 to E-38."""

import logging
import os
import threading
import time
import urllib.error
import urllib.request

import pytest
import zmq
from pylm import _wire, errors
from pylm.parts.connections import HttpConnection
from pylm.parts.gateways import GatewayDealer, GatewayRouter, HttpGateway
from pylm.parts.servers import ServerTemplate
from pylm.parts.services import (
    CacheService,
    PubService,
    PullService,
    PushPullService,
    WorkerPullService,
    WorkerPushService,
)
from pylm.servers import Worker

QUIET = {"log_level": logging.CRITICAL}
CALM = {"debug_level": logging.CRITICAL}


def http_template(address, url):
    template = ServerTemplate(logging.CRITICAL)
    pull, pub, db = address(), address(), address()
    template.register_inbound(PullService, "Pull", pull, route="Http")
    template.register_outbound(HttpConnection, "Http", url, route="Pub")
    template.register_outbound(PubService, "Pub", pub, server="server")
    template.register_bypass(CacheService, "Cache", db)
    template.preset_cache(name="server", pull_address=pull, pub_address=pub)
    return template, db


def test_e22_a_web_server_that_is_down_is_a_failure_not_the_payload(
    address, running, client, monkeypatch
):
    monkeypatch.setattr("pylm.parts.connections.STARTING_S", (0.01,))
    template, db = http_template(address, "http://127.0.0.1:1/")
    running(template)
    talk = client("server", db, logging_level=logging.CRITICAL)
    with pytest.raises(errors.RemoteError, match="URLError"):
        talk.eval("server.foo", b"mine")
    talk.errors = "payload"
    assert talk.eval("server.foo", b"mine") == b"0"


def test_e23_the_gateway_tells_failures_by_status(address, running):
    template = ServerTemplate(logging.CRITICAL)
    db, pull, push = address(), address(), address()
    gateway = f"inproc://gateway-{os.getpid()}"
    template.register_inbound(GatewayRouter, "gateway_router", gateway, route="WorkerPush")
    template.register_inbound(WorkerPullService, "WorkerPull", pull, route="gateway_dealer")
    template.register_outbound(WorkerPushService, "WorkerPush", push)
    template.register_outbound(GatewayDealer, "gateway_dealer", gateway)
    template.register_bypass(HttpGateway, "web", gateway, hostname="127.0.0.1", port=0)
    template.register_bypass(CacheService, "Cache", db)
    template.preset_cache(name="server", worker_pull_address=pull, worker_push_address=push)
    running(template)

    class Web(Worker):
        def function(self, message):
            return b"got " + message

        def fails(self, message):
            raise KeyError("missing")

    running(Web("w", db, **QUIET))
    base = f"http://127.0.0.1:{template.bypass_components['web'].port}"

    def fetch(path, data=None):
        try:
            with urllib.request.urlopen(base + path, data, timeout=10) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            with error:
                return error.code, error.read()

    assert fetch("/function") == (200, b"got No Payload")
    assert fetch("/function", b"body") == (200, b"got body")
    assert fetch("/")[0] == 404
    assert fetch("/unknown")[0] == 404
    status, text = fetch("/fails")
    assert status == 500
    assert b"KeyError" in text


def test_e25_the_push_pull_part_brings_an_answer_back(address):
    context = zmq.Context.instance()
    broker = context.socket(zmq.ROUTER)
    broker.router_mandatory = 1
    where = f"inproc://e25-{os.getpid()}"
    broker.bind(where)
    push, pull = address(), address()
    part = PushPullService("part", push, pull, broker_address=where, messages=1)
    thread = threading.Thread(target=part.start)
    thread.start()
    frame = _wire.PalmMessage(function="s.foo", payload=b"x").SerializeToString()
    answer = _wire.PalmMessage(function="s.foo", payload=b"done").SerializeToString()
    with context.socket(zmq.PULL) as peer_in, context.socket(zmq.PUSH) as peer_out:
        peer_in.connect(push)
        peer_out.connect(pull)
        for _ in range(500):
            try:
                broker.send_multipart([b"part", b"", frame])
                break
            except zmq.ZMQError:
                time.sleep(0.01)
        assert peer_in.poll(5000)
        assert peer_in.recv() == frame
        peer_out.send(answer)
        assert broker.poll(5000)
        assert broker.recv_multipart() == [b"part", b"", answer]
    thread.join(5)
    broker.close(0)
