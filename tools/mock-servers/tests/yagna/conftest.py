"""A requestor that speaks the daemon's REST API with nothing but the standard library."""

import json
import pathlib
import sys
import time
import urllib.error
import urllib.request

import pytest
import websockets.sync.client

IMAGE_HASH = "ab" * 28
SERVER = """
import http.server, os, sys
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        body = (self.path + " " + str(os.getpid())).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
    def log_message(self, *args):
        pass
host, port = sys.argv[1].split(":")
server = http.server.ThreadingHTTPServer((host, int(port)), Handler)
if os.fork():
    os._exit(0)
os.setsid()
if os.fork():
    os._exit(0)
server.serve_forever()
"""


@pytest.fixture
def image(tmp_path):
    """An image whose ``/golem/run/server.py`` daemonises a small web server."""
    folder = tmp_path / "image"
    (folder / "golem/run").mkdir(parents=True)
    (folder / "golem/run/server.py").write_text(SERVER)
    return folder


class Requestor:
    """Speaks to one server; ``json`` returns (status, decoded body)."""

    def __init__(self, url, key):
        self.url, self.key = url, key

    def json(self, method, path, body=None, key=None):
        request = urllib.request.Request(
            self.url + path,
            method=method,
            data=None if body is None else json.dumps(body).encode(),
            headers={
                "Authorization": f"Bearer {key or self.key}",
                "Content-Type": "application/json",
            },
        )
        try:
            with urllib.request.urlopen(request, timeout=20) as response:
                raw, status = response.read(), response.status
        except urllib.error.HTTPError as error:
            with error:
                raw, status = error.read(), error.code
        try:
            return status, json.loads(raw) if raw else None
        except ValueError:
            return status, raw.decode()

    def ok(self, method, path, body=None):
        status, value = self.json(method, path, body)
        assert status < 300, (method, path, status, value)
        return value

    def demand(self, subnet="public", **properties):
        expiration = int((time.time() + 3600) * 1000)
        package = f"hash:sha3:{IMAGE_HASH}:{self.url}/images/{IMAGE_HASH}.gvmi"
        return {
            "properties": {
                "golem.srv.comp.expiration": expiration,
                "golem.node.debug.subnet": subnet,
                "golem.srv.comp.task_package": package,
                **properties,
            },
            "constraints": f"(&(golem.node.debug.subnet={subnet})\n\t(golem.runtime.capabilities=vpn))",
        }

    def draft(self, demand_id):
        """Counter the first initial proposal and return the provider's answer."""
        (initial,) = self.ok(
            "GET", f"/market-api/v1/demands/{demand_id}/events?timeout=5&maxEvents=1"
        )
        assert initial["proposal"]["state"] == "Initial"
        path = f"/market-api/v1/demands/{demand_id}/proposals/{initial['proposal']['proposalId']}"
        self.ok("POST", path, self.demand())
        while True:
            for event in self.ok(
                "GET", f"/market-api/v1/demands/{demand_id}/events?timeout=5&maxEvents=1"
            ):
                if event["proposal"]["state"] == "Draft":
                    return event["proposal"]

    def agreement(self, demand_id=None):
        """Return the id of an approved agreement and its provider's node id."""
        demand_id = demand_id or self.ok("POST", "/market-api/v1/demands", self.demand())
        proposal = self.draft(demand_id)
        body = {"proposalId": proposal["proposalId"], "validTo": "2099-01-01T00:00:00+00:00"}
        agreement = self.ok("POST", "/market-api/v1/agreements", body)
        self.ok("POST", f"/market-api/v1/agreements/{agreement}/confirm")
        self.ok("POST", f"/market-api/v1/agreements/{agreement}/wait?timeout=5")
        return agreement, proposal["issuerId"]

    def script(self, activity, *commands):
        """Run commands to their end and return the results."""
        path = f"/activity-api/v1/activity/{activity}/exec"
        batch = self.ok("POST", path, {"text": json.dumps(commands)})
        while True:
            results = self.ok("GET", f"{path}/{batch}?timeout=5")
            if results and results[-1]["isBatchFinished"]:
                return results

    def service(self):
        """Start the image's web server in a VPN; return (agreement, activity, websocket address)."""
        agreement, node = self.agreement()
        activity = self.ok("POST", "/activity-api/v1/activity?timeout=20", agreement)
        network = self.ok("POST", "/net-api/v1/net", {"ip": "192.168.0.0", "mask": "255.255.255.0"})
        self.ok("POST", f"/net-api/v1/net/{network['id']}/nodes", {"id": node, "ip": "192.168.0.2"})
        deploy = {"net": [{"id": network["id"], "nodeIp": "192.168.0.2"}]}
        command = {"entry_point": sys.executable, "args": ["/golem/run/server.py", "0.0.0.0:80"]}
        results = self.script(
            activity, {"deploy": deploy}, {"start": {"args": []}}, {"run": command}
        )
        assert [result["result"] for result in results] == ["Ok"] * 3, results
        address = (
            f"{self.url.replace('http', 'ws')}/net-api/v1/net/{network['id']}/tcp/192.168.0.2/80"
        )
        return agreement, activity, address

    def websocket(self, address):
        return websockets.sync.client.connect(
            address, additional_headers={"Authorization": f"Bearer {self.key}"}, compression=None
        )

    def get(self, address, path="/"):
        """Send a GET through a new websocket and return the answer's body."""
        with self.websocket(address) as websocket:
            websocket.send(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
            return b"".join(websocket).partition(b"\r\n\r\n")[2].decode()


@pytest.fixture
def make_requestor():
    return Requestor


@pytest.fixture(params=["auto", "ports"])
def served(request, make_yagna, image):
    """A local Golem with the image on two providers, and a requestor for it; in both kinds of isolation."""
    server = make_yagna(2, images={IMAGE_HASH: image}, isolation=request.param)
    return server, Requestor(server.url, server.config.app_key)


@pytest.fixture
def golem(make_yagna, image):
    server = make_yagna(2, images={IMAGE_HASH: image})
    return server, Requestor(server.url, server.config.app_key)


@pytest.fixture
def alive():
    """Whether a process exists and is no zombie."""

    def check(pid):
        try:
            return (
                pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
            )
        except FileNotFoundError:
            return False

    return check
