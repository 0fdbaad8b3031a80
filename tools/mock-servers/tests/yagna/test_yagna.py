"""The local Golem through its REST and websocket API, with real provider processes."""

import os
import signal
import subprocess
import sys
import time

import pytest
import websockets.exceptions


def wait_until(condition, timeout_s=10.0):
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, "condition did not come true"
        time.sleep(0.01)


def test_request_without_known_key_is_refused_in_plain_text(golem):
    _, requestor = golem
    assert requestor.json("GET", "/me", key="wrong") == (401, "Invalid application key")
    requestor.key = ""
    assert requestor.json("GET", "/me") == (401, "Missing application key")
    assert requestor.json("GET", "/version/get")[0] == 200


def test_key_may_come_in_the_query(golem):
    server, requestor = golem
    requestor.key = ""
    status, me = requestor.json("GET", f"/me?authToken={server.config.app_key}")
    assert (status, me["role"]) == (200, "manager")


def test_service_answers_through_the_vpn_and_leaves_nothing(served, alive):
    server, requestor = served
    agreement, activity, address = requestor.service()
    path, pid = requestor.get(address, "/add/3/4").split()
    assert path == "/add/3/4"
    assert alive(pid)
    requestor.script(activity, {"terminate": {}})
    state = requestor.ok("GET", f"/activity-api/v1/activity/{activity}/state")
    assert state["state"] == ["Terminated", None]
    wait_until(lambda: not alive(pid))
    requestor.ok("POST", f"/market-api/v1/agreements/{agreement}/terminate", {"message": "done"})
    wait_until(lambda: not server.left_behind()["units"])
    left = server.left_behind()
    assert not left["activities"]
    assert not left["agreements"]


def test_every_agreement_ends_with_an_invoice_that_can_be_paid(golem):
    _, requestor = golem
    allocation = requestor.ok("POST", "/payment-api/v1/allocations", {"totalAmount": "2"})
    agreement, activity, _ = requestor.service()
    requestor.ok("POST", f"/market-api/v1/agreements/{agreement}/terminate", {"message": "done"})
    (event,) = requestor.ok("GET", "/payment-api/v1/invoiceEvents?timeout=10")
    invoice = requestor.ok("GET", f"/payment-api/v1/invoices/{event['invoiceId']}")
    assert invoice["activityIds"] == [activity]
    assert float(invoice["amount"]) > 0
    accept = f"/payment-api/v1/invoices/{event['invoiceId']}/accept"
    body = {"totalAmountAccepted": invoice["amount"], "allocationId": allocation["allocationId"]}
    requestor.ok("POST", accept, body)
    found = requestor.ok("GET", f"/payment-api/v1/allocations/{allocation['allocationId']}")
    assert float(found["spentAmount"]) == pytest.approx(float(invoice["amount"]))
    later = event["eventDate"].replace("+", "%2B")
    assert (
        requestor.ok("GET", f"/payment-api/v1/invoiceEvents?timeout=0&afterTimestamp={later}") == []
    )


def test_allocation_above_the_funds_is_refused(golem):
    _, requestor = golem
    status, problem = requestor.json("POST", "/payment-api/v1/allocations", {"totalAmount": "1001"})
    assert status == 400
    assert "Insufficient funds" in problem["detail"]


def test_released_allocation_is_gone(golem):
    _, requestor = golem
    made = requestor.ok("POST", "/payment-api/v1/allocations", {"totalAmount": "1"})
    path = f"/payment-api/v1/allocations/{made['allocationId']}"
    assert requestor.json("PUT", path, {"totalAmount": "3"})[1]["totalAmount"] == "3"
    assert requestor.json("DELETE", path) == (200, None)
    assert requestor.json("DELETE", path)[0] == 410
    assert requestor.json("GET", path)[0] == 410
    assert requestor.json("GET", path + "0")[0] == 404


def test_other_subnet_gets_no_offer(golem):
    _, requestor = golem
    demand = requestor.ok("POST", "/market-api/v1/demands", requestor.demand(subnet="elsewhere"))
    assert requestor.ok("GET", f"/market-api/v1/demands/{demand}/events?timeout=0") == []


def test_proposal_is_countered_once(golem):
    _, requestor = golem
    demand = requestor.ok("POST", "/market-api/v1/demands", requestor.demand())
    (event, *_) = requestor.ok("GET", f"/market-api/v1/demands/{demand}/events?timeout=5")
    path = f"/market-api/v1/demands/{demand}/proposals/{event['proposal']['proposalId']}"
    requestor.ok("POST", path, requestor.demand())
    assert requestor.json("POST", path, requestor.demand())[0] == 410
    assert requestor.json("POST", f"{path}/reject", {"message": "no"})[0] == 410


def test_second_agreement_from_one_proposal_conflicts(golem):
    _, requestor = golem
    demand = requestor.ok("POST", "/market-api/v1/demands", requestor.demand())
    body = {
        "proposalId": requestor.draft(demand)["proposalId"],
        "validTo": "2099-01-01T00:00:00+00:00",
    }
    requestor.ok("POST", "/market-api/v1/agreements", body)
    assert requestor.json("POST", "/market-api/v1/agreements", body)[0] == 409


@pytest.mark.parametrize(("behaviour", "status"), [("reject", 410), ("silent", 408)])
def test_provider_that_does_not_sign(golem, behaviour, status):
    server, requestor = golem
    for name in ("provider-1", "provider-2"):
        server.change(name, agreements=behaviour)
    demand = requestor.ok("POST", "/market-api/v1/demands", requestor.demand())
    body = {
        "proposalId": requestor.draft(demand)["proposalId"],
        "validTo": "2099-01-01T00:00:00+00:00",
    }
    agreement = requestor.ok("POST", "/market-api/v1/agreements", body)
    requestor.ok("POST", f"/market-api/v1/agreements/{agreement}/confirm")
    assert (
        requestor.json("POST", f"/market-api/v1/agreements/{agreement}/wait?timeout=0.5")[0]
        == status
    )


def test_provider_with_a_free_slot_offers_again(make_yagna, make_requestor):
    server = make_yagna(1, slots=2)
    requestor = make_requestor(server.url, server.config.app_key)
    demand = requestor.ok("POST", "/market-api/v1/demands", requestor.demand())
    first, _ = requestor.agreement(demand)
    second, _ = requestor.agreement(demand)
    assert requestor.ok("GET", f"/market-api/v1/demands/{demand}/events?timeout=0.2") == []
    requestor.ok("POST", f"/market-api/v1/agreements/{first}/terminate", {"message": "done"})
    third, _ = requestor.agreement(demand)
    assert len({first, second, third}) == 3


def test_failing_command_ends_the_script_with_its_output(golem):
    _, requestor = golem
    agreement, _ = requestor.agreement()
    activity = requestor.ok("POST", "/activity-api/v1/activity?timeout=20", agreement)
    run = {"entry_point": "/bin/sh", "args": ["-c", "echo out; echo err >&2; exit 3"]}
    never = {"entry_point": "/bin/sh", "args": ["-c", "true"]}
    results = requestor.script(
        activity, {"deploy": {}}, {"start": {}}, {"run": run}, {"run": never}
    )
    assert len(results) == 3
    last = results[-1]
    assert (last["result"], last["stdout"], last["stderr"]) == ("Error", "out\n", "err\n")
    assert last["message"] == "ExeScript command exited with code 3"
    assert last["isBatchFinished"]


def test_command_that_leaves_a_background_child_does_not_block(golem):
    _, requestor = golem
    agreement, _ = requestor.agreement()
    activity = requestor.ok("POST", "/activity-api/v1/activity?timeout=20", agreement)
    run = {"entry_point": "/bin/sh", "args": ["-c", "sleep 1000 & echo started"]}
    started = time.monotonic()
    results = requestor.script(activity, {"deploy": {}}, {"start": {}}, {"run": run})
    assert results[-1]["stdout"] == "started\n"
    assert time.monotonic() - started < 5


def test_unknown_image_is_not_found_at_the_registry(golem):
    _, requestor = golem
    assert requestor.json("GET", "/v1/image/info?hash=00&count=true")[0] == 404
    known = requestor.ok("GET", f"/v1/image/info?hash={'ab' * 28}&count=true")
    assert known["sha3"] == "ab" * 28


def test_gone_unit_answers_with_the_bus_error_requestors_look_for(golem):
    server, requestor = golem
    _, activity, _ = requestor.service()
    for name in ("provider-1", "provider-2"):
        server.kill(name)
    status, answer = requestor.json(
        "POST", f"/activity-api/v1/activity/{activity}/exec", {"text": "[]"}
    )
    assert status == 500
    assert "GSB error" in answer["message"]
    assert "endpoint address not found" in answer["message"]
    state = requestor.ok("GET", f"/activity-api/v1/activity/{activity}/state")
    assert state["state"][0] == "Terminated"


def test_vanished_node_answers_no_question(golem):
    server, requestor = golem
    _, activity, _ = requestor.service()
    for name in ("provider-1", "provider-2"):
        server.vanish(name)
    assert requestor.json("GET", f"/activity-api/v1/activity/{activity}/state")[0] == 500


def test_port_nobody_listens_on_is_a_gateway_timeout(golem):
    _, requestor = golem
    _, _, address = requestor.service()
    with pytest.raises(websockets.exceptions.InvalidStatus) as failure:
        requestor.websocket(address.removesuffix("80") + "81")
    assert failure.value.response.status_code == 504
    with pytest.raises(websockets.exceptions.InvalidStatus) as failure:
        requestor.websocket(address.replace("192.168.0.2", "192.168.0.9"))
    assert failure.value.response.status_code == 400


def test_trigger_cuts_the_answer_after_a_number_of_bytes(golem):
    server, requestor = golem
    _, _, address = requestor.service()
    for name in ("provider-1", "provider-2"):
        server.change(name, trigger={"action": "cut", "received_bytes": 10})
    with requestor.websocket(address) as websocket:
        websocket.send(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        received = b"".join(websocket)
    assert received == b"HTTP/1.1 2"
    assert requestor.get(address).startswith("/ ")  # it fired once


def test_unknown_knob_is_refused_with_the_known_ones(golem):
    server, requestor = golem
    status, answer = requestor.json("PATCH", "/_golem/providers/provider-1", {"colour": 1})
    assert status == 400
    assert "latency_s" in answer["error"]
    assert requestor.json("PATCH", "/_golem/providers/nobody", {})[0] == 404
    assert requestor.json("POST", "/_golem/providers/provider-1/dance")[0] == 400
    with pytest.raises(KeyError):
        server.kill("nobody")


def test_restarted_daemon_has_forgotten_everything(golem, alive):
    server, requestor = golem
    agreement, _, address = requestor.service()
    pid = requestor.get(address).split()[1]
    server.restart()
    assert not alive(pid)
    assert requestor.json("GET", f"/market-api/v1/agreements/{agreement}")[0] == 404
    requestor.service()


def test_outside_provider_trades_through_the_rest_api(golem, make_requestor):
    server, requestor = golem
    for name in ("provider-1", "provider-2"):
        server.kill(name)
    server.add_identity("provider-key", "outside")
    provider = make_requestor(server.url, "provider-key")
    offer_terms = {
        "properties": {"golem.node.debug.subnet": "public", "golem.runtime.capabilities": ["vpn"]},
        "constraints": "()",
    }
    offer = provider.ok("POST", "/market-api/v1/offers", offer_terms)
    demand = requestor.ok("POST", "/market-api/v1/demands", requestor.demand())
    (initial,) = requestor.ok("GET", f"/market-api/v1/demands/{demand}/events?timeout=5")
    path = f"/market-api/v1/demands/{demand}/proposals/{initial['proposal']['proposalId']}"
    requestor.ok("POST", path, requestor.demand())
    (asked,) = provider.ok("GET", f"/market-api/v1/offers/{offer}/events?timeout=5")
    path = f"/market-api/v1/offers/{offer}/proposals/{asked['proposal']['proposalId']}"
    provider.ok("POST", path, offer_terms)
    (draft,) = requestor.ok("GET", f"/market-api/v1/demands/{demand}/events?timeout=5")
    body = {"proposalId": draft["proposal"]["proposalId"], "validTo": "2099-01-01T00:00:00+00:00"}
    agreement = requestor.ok("POST", "/market-api/v1/agreements", body)
    requestor.ok("POST", f"/market-api/v1/agreements/{agreement}/confirm")
    (signing,) = provider.ok("GET", f"/market-api/v1/offers/{offer}/events?timeout=5")
    assert signing["agreement"]["agreementId"] == agreement
    provider.ok("POST", f"/market-api/v1/agreements/{agreement}/approve?timeout=1")
    requestor.ok("POST", f"/market-api/v1/agreements/{agreement}/wait?timeout=5")
    # nobody initialises the activity: creation blocks, then times out and tells the provider
    assert requestor.json("POST", "/activity-api/v1/activity?timeout=0.2", agreement)[0] == 408
    events = provider.ok(
        "GET", "/activity-api/v1/events?timeout=1&afterTimestamp=2020-01-01T00:00:00Z"
    )
    assert [next(iter(event["eventType"])) for event in events] == [
        "CreateActivity",
        "DestroyActivity",
    ]
    assert provider.json("GET", "/activity-api/v1/events?timeout=0")[0] == 400
    quiet = "/activity-api/v1/events?timeout=0&afterTimestamp=2099-01-01T00:00:00Z"
    assert provider.json("GET", quiet) == (408, {"message": "Timeout"})


def test_killed_server_takes_daemonised_processes_with_it(image, make_requestor, alive):
    command = [sys.executable, "-m", "mock_servers", "yagna", "--port", "0", "--providers", "1"]
    with subprocess.Popen(
        [*command, "--image", f"{'ab' * 28}={image}"],
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as server:
        url = server.stdout.readline().split(" at ")[1].partition(";")[0]
        requestor = make_requestor(url, "local-app-key")
        _, _, address = requestor.service()
        pid = requestor.get(address).split()[1]
        assert alive(pid)
        server.send_signal(signal.SIGKILL)
    wait_until(lambda: not alive(pid))


def test_interrupted_command_ends_cleanly(image):
    command = [sys.executable, "-m", "mock_servers", "yagna", "--port", "0"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as server:
        lines = [server.stdout.readline() for _ in range(5)]
        assert any(line.startswith("export YAGNA_APPKEY=local-app-key") for line in lines)
        server.send_signal(signal.SIGINT)
        _, errors = server.communicate(timeout=20)
    assert server.returncode == 0
    assert errors == ""
