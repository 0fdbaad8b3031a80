"""The original 1.6.3 and this package side by side: the same calls, the same bytes on the wire.

``wire_calls.py`` makes every call of the reference with either client against the same recording server. Requests are
compared byte by byte; the differences there are meant to be are listed by name, each with what it is.
"""

import json
import pathlib
import re
import subprocess
import sys

import pytest

pytestmark = [pytest.mark.originals, pytest.mark.timeout(180)]

SCRIPT = pathlib.Path(__file__).with_name("wire_calls.py")

ON_EVERY_REQUEST = """
header-names: all are sent in lower case (they are case-insensitive in HTTP)
content-length-last: it follows the other headers
user-agent: names this package instead of urllib3
"""

DIFFERENT_REQUESTS = {
    "models.get name with a space": "a space in a path is %20, which servers understand, not +",
    "scheduled_jobs.get name with a space": "likewise",
    "templates.get name with a space": "likewise",
    "buckets.get name with a space": "likewise",
    "version with options": "options of version() are sent, not dropped",
    "models.train from None": "None is left out, not sent as from=None",
    "models.start_inference list": "one request per model, since the server takes one only",
    "models.stop_inference list": "likewise",
    "models.start_inference with output_bucket": "accepted, not a TypeError",
    "jobs.cancel_jobs list": "one request per job, likewise",
    "models.generator by name": "ends after its one page instead of never",
    "models.versions.exists": "looks into the listing after the 404 that servers of 1.6 always give",
    "as POST: HEAD with a body": "stays HEAD; only GET is turned into POST",
    "as source: HEAD with a body": "stays as it is; only a GET's body goes into the query",
    "compressed: get": "no content-encoding without a body",
    "compressed: create": "a short body is not compressed",
    "compressed: create large": "gzip level 1 instead of 9",
    "compressed: GET with a body": "a short body is not compressed",
    "compressed: HEAD with a body": "likewise",
    "lone surrogate": "sent as its JSON escape instead of bytes that are not UTF-8",
}
DIFFERENT_OUTCOMES = {
    "write_points none": "does nothing instead of failing with range()",
    "version with options": "see the requests",
    "models.start_inference with output_bucket": "see the requests",
    "models.generator by name": "see the requests",
    "html answer": "text/* is returned as text instead of a SerializationError",
    "as POST: HEAD with a body": "a bool, as for every HEAD",
}

JOB = {
    "id": "a",
    "type": "training",
    "model": "m",
    "state": "done",
    "result": {"x": 1},
    "progress": {"eval": 3, "max_evals": 10},
    "version": {"name": "01"},
}


@pytest.fixture
def server(recording_server, http_reply):
    def answer(head, body):
        method, target = head.decode("latin-1").split(" ")[:2]
        empty = {"head": method == "HEAD"}
        if status := re.search(r"status-(\d+)", target):
            return http_reply(int(status[1]), b'"failed"', **empty)
        if "error-object" in target:
            return http_reply(500, b'{"error":{"type":"t","reason":"r"}}')
        if "error-text" in target:
            return http_reply(501, b"oops", content_type="text/html; charset=utf-8")
        if "html" in target:
            return http_reply(200, b"<p>", content_type="text/html; charset=utf-8")
        if "missing" in target:
            return http_reply(404, b'"not found"', **empty)
        if method == "DELETE":
            return http_reply(204)
        if method == "GET" and target == "/":
            return http_reply(200, b'{"version":"1.6.0"}')
        if method == "GET":
            pages = re.search(r"[?&]page=([1-9]\d*)", target) and "paged" not in target
            return http_reply(200, b"[]" if pages else json.dumps([JOB]).encode())
        return http_reply(202, b'"id"', **empty)

    return recording_server(answer)


def run(python, module, server):
    """Return what was sent for each call, and each call's outcome."""
    server.requests.clear()
    result = subprocess.run(
        [python, "-W", "ignore", SCRIPT, module, str(server.port)],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert result.returncode == 0, result.stderr
    outcomes = json.loads(result.stdout)
    names = {f"/__call__/{name.replace(' ', '_')}".encode(): name for name in outcomes}
    sent = {name: [] for name in outcomes}
    current = None
    for head, body in server.requests:
        target = head.split(b" ")[1]
        if target in names:
            current = names[target]
        else:
            sent[current].append((head, body))
    return sent, outcomes


def normalized(request):
    """Return a request without the three differences that every request has; see ``ON_EVERY_REQUEST``."""
    head, body = request
    line, *fields = head.split(b"\r\n")
    kept = []
    length = []
    for field in fields:
        name, _, value = field.partition(b":")
        name = name.lower()
        if name == b"content-length":
            length = [name + b":" + value]
        elif name != b"user-agent":
            kept.append(name + b":" + value)
    return b"\r\n".join([line, *kept, *length]), body


def test_every_call_sends_the_same_bytes_and_ends_the_same_way(server):
    from mock_servers.originals import LOUDML, interpreter

    theirs, their_outcomes = run(interpreter(LOUDML), "loudml_py", server)
    ours, our_outcomes = run(sys.executable, "loudml", server)
    assert len(ours) > 120
    wrong = {
        name: (list(map(normalized, theirs[name])), list(map(normalized, ours[name])))
        for name in theirs
        if name not in DIFFERENT_REQUESTS
        and list(map(normalized, theirs[name])) != list(map(normalized, ours[name]))
    }
    assert wrong == {}
    wrong = {
        name: (their_outcomes[name], our_outcomes[name])
        for name in their_outcomes
        if name not in DIFFERENT_OUTCOMES and their_outcomes[name] != our_outcomes[name]
    }
    assert wrong == {}
    idle = [
        name
        for name in DIFFERENT_REQUESTS
        if list(map(normalized, theirs[name])) == list(map(normalized, ours[name]))
    ]
    idle += [name for name in DIFFERENT_OUTCOMES if their_outcomes[name] == our_outcomes[name]]
    assert idle == [], "listed as different, but the same"
