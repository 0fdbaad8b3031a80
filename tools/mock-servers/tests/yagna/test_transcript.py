"""A recorded conversation of yapapi with the daemon, replayed against our server: same statuses, types and shapes.

The recording is walked in order with the state it builds up: ids of the recording are replaced by those our server
gave in their place, times are moved to now. See ``TRANSCRIPT.txt``.
"""

import datetime
import json
import pathlib
import re
import time
import urllib.error
import urllib.parse
import urllib.request

import pytest
import websockets.exceptions
import websockets.sync.client
from mock_servers.yagna import gftp

RECORDING = json.loads(pathlib.Path(__file__).with_name("transcript.json").read_text())
CAPTURED = [entry for entry in RECORDING if entry["captured"]]
DERIVED = [entry for entry in RECORDING if not entry["captured"]]
RECORDED_AT = datetime.datetime(2026, 11, 24, 14, 21, 44, tzinfo=datetime.timezone.utc)
IMAGE_HASH = "ab" * 28
INSTANT = re.compile(r"2026-11-24T[\d:.]+(?:Z|\+00:00)")
IDENTIFIER = re.compile(r"(?:R-)?[0-9a-f-]{32,}|0x[0-9a-f]{40}")
AMOUNT = re.compile(r"0\.\d{4}")
ADDED = {
    # by daemon 0.17.6, see the contract suite of ya-httpx-client
    "createdTs", "updatedTs", "insertionTs", "updateTs", "golem.com.payment.protocol.version",
    # terms that were agreed on after the demand that the recording shows
    "golem.com.payment.debit-notes.accept-timeout?", "golem.com.payment.chosen-platform",
}  # fmt: skip
MEASURED = {
    ("GET", "/activity-api/v1/activity/{activityId}/state"): 500
}  # by daemon 0.17.6 instead of 404
QUIET_S = "0.2"  # instead of the recorded 5 s, where the recording waited in vain


def kind(value):
    """Return what a JSON value is, as far as a client relies on it."""
    if isinstance(value, bool):
        return value
    if isinstance(value, (dict, list)):
        return type(value).__name__
    return "number" if isinstance(value, (int, float)) else "text"


def differences(recorded, live, place="body"):
    """Yield where a live JSON value has not the structure of a recorded one; lists count by their first element."""
    if recorded is None or live is None:
        # null and absent are the same to clients, and differ between versions of the daemon
        if (recorded is None) != (live is None):
            yield f"{place} is {live!r} instead of {recorded!r}"
    elif kind(recorded) != kind(live):
        yield f"{place} is {live!r} instead of {recorded!r}"
    elif isinstance(recorded, dict) and recorded:  # an empty one stands for any
        for key in sorted(recorded.keys() | live.keys()):
            if key not in ADDED or key in recorded:
                yield from differences(recorded.get(key), live.get(key), f"{place}.{key}")
    elif isinstance(recorded, list) and recorded and live:
        yield from differences(recorded[0], live[0], f"{place}[0]")
    elif isinstance(recorded, list) and bool(recorded) != bool(live):
        yield f"{place} is {live!r} instead of {recorded!r}"


def pairs(recorded, live):
    """Yield the strings that stand at the same place in two JSON values."""
    if isinstance(recorded, dict) and isinstance(live, dict):
        for key in recorded.keys() & live.keys():
            yield from pairs(recorded[key], live[key])
    elif isinstance(recorded, list) and isinstance(live, list):
        for one, other in zip(recorded, live, strict=False):
            yield from pairs(one, other)
    elif isinstance(recorded, str) and isinstance(live, str):
        yield recorded, live


class Replay:
    """Sends recorded calls to a live server."""

    def __init__(self, server):
        self.server = server
        self.known = {"<APPKEY>": server.config.app_key}
        self.shift = datetime.datetime.now(datetime.timezone.utc) - RECORDED_AT

    def translate(self, text):
        """Return recorded text with live ids and times."""
        for recorded in sorted(self.known, key=len, reverse=True):
            text = text.replace(recorded, self.known[recorded])

        def moved(found):
            then = datetime.datetime.fromisoformat(found[0].replace("Z", "+00:00"))
            return (then + self.shift).isoformat()

        text = INSTANT.sub(moved, text)
        milliseconds = int(self.shift.total_seconds() * 1000)
        return re.sub(
            r'(comp\.expiration": )(\d{13})',
            lambda found: found[1] + str(int(found[2]) + milliseconds),
            text,
        )

    def learn(self, recorded, live):
        """Remember which live id stands for a recorded one."""
        for one, other in pairs(recorded, live):
            if one != other and (IDENTIFIER.fullmatch(one) or AMOUNT.fullmatch(one)):
                self.known.setdefault(one, other)

    def send(self, entry, **query):
        """Send one call; return status, media type and decoded body."""
        query = {**entry["query"], **query}
        path = self.translate(entry["path"])
        if query:
            path += "?" + self.translate(urllib.parse.urlencode(query, safe=":+")).replace(
                "+", "%2B"
            )
        body = entry["request_json"]
        headers = entry.get("request_headers", {"Authorization": "Bearer <APPKEY>"})
        request = urllib.request.Request(
            self.server.url + path,
            method=entry["method"],
            data=None if body is None else self.translate(json.dumps(body)).encode(),
            headers={name: self.translate(value) for name, value in headers.items()},
        )
        try:
            answer = urllib.request.urlopen(request, timeout=30)
        except urllib.error.HTTPError as error:
            answer = error
        with answer:
            raw, media_type = answer.read(), answer.headers.get("Content-Type")
        is_json = media_type is not None and "json" in media_type
        value = json.loads(raw) if is_json else raw.decode() or None
        return answer.status, media_type and media_type.partition(";")[0], value

    def answer_of(self, entry):
        """Send a call, again as long as it waits for an event that has not come; return what came."""
        if "upgrade" in entry["note"]:
            return self.upgrade(entry), None, None
        recorded = entry["response_json"]
        if entry["method"] != "GET" or not isinstance(recorded, list):
            return self.send(entry)
        if not recorded:
            now = datetime.datetime.now(datetime.timezone.utc).isoformat()
            times = {"afterTimestamp": now} if "afterTimestamp" in entry["query"] else {}
            return self.send(entry, timeout=QUIET_S, **times)
        for _ in range(20):
            status, media_type, live = self.send(entry)
            if status != 200 or len(live) >= len(recorded):
                break
        return status, media_type, live

    def upgrade(self, entry, patience_s=10.0):
        """Open a websocket, again while nobody listens yet; return the status of the handshake."""
        deadline = time.monotonic() + patience_s
        while (status := self.handshake(entry)) == 504 != entry["status"]:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        return status

    def handshake(self, entry):
        """Return the status of one attempt to open a websocket."""
        url = self.server.url.replace("http", "ws") + self.translate(entry["path"])
        key = {"Authorization": f"Bearer {self.server.config.app_key}"}
        try:
            with websockets.sync.client.connect(url, additional_headers=key) as websocket:
                return websocket.response.status_code
        except websockets.exceptions.InvalidStatus as refused:
            return refused.response.status_code


def compare(entry, answer):
    """Yield a line for each way in which an answer is not what was recorded."""
    status, media_type, live = answer
    call = f"{entry['method']} {entry['path']}"
    if status != entry["status"]:
        yield f"{call}: status {status} instead of {entry['status']}: {live}"
        return
    if "response_content_type" in entry and media_type != entry["response_content_type"]:
        yield f"{call}: {media_type} instead of {entry['response_content_type']}"
    for line in differences(entry["response_json"], live):
        yield f"{call}: {line}"


@pytest.fixture
def replay(make_yagna, image, tmp_path, monkeypatch):
    monkeypatch.setenv("MOCK_YAGNA_GFTP", str(tmp_path / "addresses"))
    return Replay(make_yagna(1, images={IMAGE_HASH: image}, debit_note_interval_s=1.0))


@pytest.mark.timeout(120)
def test_captured_conversation_has_the_same_statuses_and_shapes(replay, tmp_path):
    files = gftp.Files()
    (tmp_path / "sent").write_text("content")
    (sent, received) = sorted(set(re.findall(r"gftp://\w+/\w+", json.dumps(CAPTURED))))
    replay.known[sent] = files.publish(str(tmp_path / "sent"))
    replay.known[received] = files.receive(str(tmp_path / "received"))
    broken, results = [], []
    for entry in CAPTURED:
        if "response_sse" in entry:
            continue  # illustrative; the event stream has a test of its own
        if entry["path"] == "/market-api/v1/agreements":
            # the recording was trimmed to one of three providers: the agreement is with another one's draft
            draft = [found for found in replay.known if found.startswith("R-")][-1]
            replay.known[entry["request_json"]["proposalId"]] = replay.known[draft]
        status, media_type, live = replay.answer_of(entry)
        recorded = entry["response_json"]
        replay.learn(recorded, live)
        if entry["path"].endswith("/exec"):
            results += finished(replay, entry, live)
        elif entry["path"].endswith("/events") and recorded:
            # the one provider offers anew where, in the recording, another one's draft was next
            wanted, found = recorded[0]["proposal"], live[0]["proposal"]
            if (wanted["state"], found["state"]) == ("Draft", "Initial"):
                found["prevProposalId"] = "-"
        broken += compare(entry, (status, media_type, live))
    assert not broken, "\n".join(broken)
    assert [result["result"] for result in results] == ["Ok"] * 7
    assert (tmp_path / "received").read_text() == "content"
    left = replay.server.left_behind()
    assert not any(left.values()), left


def finished(replay, entry, batch):
    """Wait until a script has ended, so that the next call finds what it did; return its results."""
    poll = {**entry, "method": "GET", "request_json": None, "path": f"{entry['path']}/{batch}"}
    while True:
        _, _, results = replay.send(poll, timeout="5")
        if results and results[-1]["isBatchFinished"]:
            return results


def events_of(lines):
    """Yield the server-sent events of a stream as dicts: event, id, data (decoded)."""
    event = {}
    for line in lines:
        name, _, value = line.decode().rstrip("\n").partition(": ")
        if name == "" and event:
            yield {**event, "data": json.loads(event["data"])}
            event = {}
        elif name:
            event[name] = value


def test_streamed_results_are_the_recorded_events(golem):
    server, requestor = golem
    [entry] = [entry for entry in CAPTURED if "response_sse" in entry]
    agreement, _ = requestor.agreement()
    activity = requestor.ok("POST", "/activity-api/v1/activity?timeout=20", agreement)
    script = [
        {"deploy": {}},
        {"start": {}},
        {"run": {"entry_point": "/bin/sh", "args": ["-c", "echo hi; sleep 0.2; echo oops >&2"]}},
    ]
    for command in script[2:]:
        command["run"]["capture"] = {"stdout": {"stream": {}}, "stderr": {"stream": {}}}
    path = f"/activity-api/v1/activity/{activity}/exec"
    batch = requestor.ok("POST", path, {"text": json.dumps(script)})
    headers = {"Authorization": f"Bearer {requestor.key}", "Accept": "text/event-stream"}
    request = urllib.request.Request(f"{server.url}{path}/{batch}", headers=headers)
    with urllib.request.urlopen(request, timeout=20) as stream:
        assert stream.headers["Content-Type"].startswith(entry["response_content_type"])
        found = list(events_of(stream))  # the stream ends with the script
    assert [int(event["id"]) for event in found] == list(range(len(found)))
    assert {event["data"]["batch_id"] for event in found} == {batch}
    of_the_run = [event for event in found if event["data"]["index"] == 2]
    recorded = entry["response_sse"]
    assert [event["event"] for event in of_the_run] == [event["event"] for event in recorded]
    recorded[0]["data"]["kind"]["started"]["command"] = script[2]
    for one, other in zip(recorded, of_the_run, strict=True):
        assert list(differences(one["data"], other["data"])) == []
        assert one["data"]["kind"] == other["data"]["kind"]


def unsigned_agreement(requestor, server, behaviour):
    """Return the id of an agreement that its provider rejects or leaves unanswered."""
    for provider in server.config.providers:
        server.change(provider.name, agreements=behaviour)
    demand = requestor.ok("POST", "/market-api/v1/demands", requestor.demand())
    body = {
        "proposalId": requestor.draft(demand)["proposalId"],
        "validTo": "2099-01-01T00:00:00+00:00",
    }
    agreement = requestor.ok("POST", "/market-api/v1/agreements", body)
    requestor.ok("POST", f"/market-api/v1/agreements/{agreement}/confirm")
    for provider in server.config.providers:
        server.change(provider.name, agreements="approve")
    return agreement


@pytest.fixture
def placed(make_yagna, image, make_requestor):
    """A server in the states that errors and rare calls presuppose: (replay, path as recorded -> live path)."""
    server = make_yagna(4, images={IMAGE_HASH: image})
    requestor = make_requestor(server.url, server.config.app_key)
    unknown = "0" * 32
    silent = unsigned_agreement(requestor, server, "silent")
    rejected = unsigned_agreement(requestor, server, "reject")
    allocations = [
        requestor.ok("POST", "/payment-api/v1/allocations", {"totalAmount": "1"})["allocationId"]
        for _ in range(2)
    ]
    requestor.ok("DELETE", f"/payment-api/v1/allocations/{allocations[0]}")
    demand = requestor.ok("POST", "/market-api/v1/demands", requestor.demand())
    (event, *_) = requestor.ok("GET", f"/market-api/v1/demands/{demand}/events?timeout=5")
    proposal = event["proposal"]["proposalId"]
    _, activity, address = requestor.service()
    network = address.rpartition("/tcp/")[0].rpartition("/")[2]
    ids = {
        ("GET", "/payment-api/v1/allocations/{allocationId}", 410): allocations[:1],
        ("PUT", "/payment-api/v1/allocations/{allocationId}", 200): allocations[1:],
        ("GET", "/market-api/v1/demands/{subscriptionId}/events", 404): [unknown],
        ("POST", "/market-api/v1/agreements/{agreementId}/wait", 410): [rejected],
        ("POST", "/market-api/v1/agreements/{agreementId}/wait", 408): [silent],
        ("POST", "/activity-api/v1/activity/{activityId}/exec", 500): [activity],
        ("GET", "/activity-api/v1/activity/{activityId}/state", 404): [unknown],
        ("GET", "/net-api/v1/net/{networkId}/tcp/{ip}/{port}", 504): [network, "192.168.0.2", "81"],
        ("GET", "/net-api/v1/net/{networkId}/tcp/{ip}/{port}", 404): [unknown, "192.168.0.2", "80"],
        ("DELETE", "/net-api/v1/net/{networkId}", 404): [unknown],
        ("POST", "/market-api/v1/demands/{subscriptionId}/proposals/{proposalId}/reject", 204): [
            demand,
            proposal,
        ],
    }
    return Replay(server), ids


@pytest.mark.timeout(120)
def test_errors_and_rare_calls_have_the_same_statuses_and_shapes(placed):
    replay, ids = placed
    # the unit must be gone for the one call, and there for all others
    ordered = sorted(DERIVED, key=lambda entry: entry["path"].endswith("/exec"))
    broken = []
    for entry in ordered:
        wanted = MEASURED.get((entry["method"], entry["path"]), entry["status"])
        values = iter(ids.get((entry["method"], entry["path"], entry["status"]), ()))
        path = re.sub(r"\{\w+\}", lambda _, values=values: next(values), entry["path"])
        sent = {**entry, "path": path, "status": wanted}
        if "no Authorization" in entry["note"]:
            sent["request_headers"] = {}
        if entry["path"].endswith("/exec"):
            for provider in replay.server.config.providers:
                replay.server.kill(provider.name)
        query = {"timeout": QUIET_S} if "timeout" in entry["query"] else {}
        is_tunnel = "/tcp/" in path
        opened = (replay.upgrade(sent), None, entry["response_json"]) if is_tunnel else None
        answer = opened or replay.send(sent, **query)
        broken += compare(sent, answer)
        if isinstance(entry["response_json"], str) and entry["response_json"] not in answer[2]:
            broken.append(f"{path}: {answer[2]!r} does not say {entry['response_json']!r}")
    assert not broken, "\n".join(broken)
