"""The same calls against our server and the real daemon: statuses and shapes must be equal."""

import json
import time
import urllib.parse

FAR = "2099-01-01T00:00:00Z"
PAST = "2020-01-01T00:00:00Z"
NO_UUID = "00000000-0000-0000-0000-000000000000"
PLATFORM = "erc20-holesky-tglm"


def shape(value):
    """Return the structure of a JSON value: keys and types, lists by their first element."""
    if isinstance(value, dict):
        return {key: shape(found) for key, found in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    if isinstance(value, bool) or value is None:
        return value
    if isinstance(value, (int, float)):
        return "number"
    return "text"


def nothing(answer):
    """Keep the status only: the text of an error is for people."""


def bus_error(answer):
    """Keep the two phrases yapapi looks for."""
    text = answer["message"]
    return "GSB error" in text, "endpoint address not found" in text


class Walk:
    """A requestor and a provider that trade through the REST API; every call is written down."""

    def __init__(self, call, url, requestor, provider, requestor_id):
        self._call, self._url = call, url
        self.requestor, self.provider = requestor, provider
        self.requestor_id = requestor_id
        self.record = {}

    def ask(self, name, key, method, path, body=None, keep=shape):
        status, answer = self._call(self._url, key, method, path, body)
        assert name not in self.record
        self.record[name] = (status, keep(answer))
        return answer

    def poll(self, key, path, wanted):
        """Take events until one satisfies ``wanted``; not written down, since their grouping is chance."""
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline:
            status, events = self._call(self._url, key, "GET", path)
            assert status == 200, (status, events)
            for event in events:
                if wanted(event):
                    return event
        raise AssertionError(f"no such event at {path}")

    def run(self):
        self.identity()
        allocation = self.allocations()
        agreement = self.market(allocation)
        activity = self.activity(agreement)
        self.payment(agreement, activity, allocation)
        self.end(agreement, allocation)
        self.network()
        return self.record

    def identity(self):
        self.ask("me", self.requestor, "GET", "/me")
        self.ask("me without key", None, "GET", "/me", keep=str)
        self.ask("me with wrong key", "wrong", "GET", "/me", keep=str)
        self.ask("version", None, "GET", "/version/get", keep=lambda answer: sorted(answer))

    def allocations(self):
        base = "/payment-api/v1/allocations"
        body = {
            "address": self.requestor_id,
            "paymentPlatform": PLATFORM,
            "totalAmount": "2",
            "makeDeposit": False,
            "timeout": FAR,
            "allocationId": "",
            "spentAmount": "",
            "remainingAmount": "",
            "timestamp": PAST,
        }
        made = self.ask("allocate", self.requestor, "POST", base, body)
        identifier = made["allocationId"]
        self.ask("allocation", self.requestor, "GET", f"{base}/{identifier}")
        self.ask("allocation unknown", self.requestor, "GET", f"{base}/{NO_UUID}")
        self.ask(
            "amend allocation", self.requestor, "PUT", f"{base}/{identifier}", {"totalAmount": "3"}
        )
        path = f"/payment-api/v1/demandDecorations?allocationIds={identifier}"
        self.ask(
            "decorations",
            self.requestor,
            "GET",
            path,
            keep=lambda answer: {
                "keys": [found["key"] for found in answer["properties"]],
                "version": answer["properties"][-1]["value"],
                "constraints": answer["constraints"],
            },
        )
        other = self.ask("allocate another", self.requestor, "POST", base, body)["allocationId"]
        self.ask("release", self.requestor, "DELETE", f"{base}/{other}")
        self.ask("release again", self.requestor, "DELETE", f"{base}/{other}", keep=nothing)
        quiet = f"timeout=0.1&afterTimestamp={FAR}"
        self.ask("quiet invoices", self.requestor, "GET", f"/payment-api/v1/invoiceEvents?{quiet}")
        self.ask("quiet notes", self.requestor, "GET", f"/payment-api/v1/debitNoteEvents?{quiet}")
        return identifier

    def market(self, allocation):
        demand = {
            "properties": {
                "golem.srv.comp.expiration": int((time.time() + 3600) * 1000),
                "golem.node.debug.subnet": "contract",
                f"golem.com.payment.platform.{PLATFORM}.address": self.requestor_id,
                "golem.com.payment.protocol.version": "3",
            },
            "constraints": "(&(golem.node.debug.subnet=contract)\n\t(golem.inf.mem.gib>=0.5))",
        }
        offer = {
            "properties": {
                "golem.node.debug.subnet": "contract",
                "golem.inf.mem.gib": 2.0,
                "golem.com.payment.protocol.version": 3,
                f"golem.com.payment.platform.{PLATFORM}.address": self.requestor_id,
            },
            "constraints": "(golem.srv.comp.expiration>0)",
        }
        base = "/market-api/v1"
        self.ask(
            "subscribe nonsense",
            self.requestor,
            "POST",
            f"{base}/demands",
            {"constraints": "()"},
            keep=lambda answer: answer["message"].partition(" at line")[0],
        )
        self.ask(
            "bad constraints",
            self.requestor,
            "POST",
            f"{base}/demands",
            {**demand, "constraints": "(("},
        )
        quiet = self.ask(
            "subscribe lonely demand",
            self.requestor,
            "POST",
            f"{base}/demands",
            {**demand, "constraints": "(golem.node.debug.subnet=nowhere)"},
        )
        self.ask(
            "quiet demand",
            self.requestor,
            "GET",
            f"{base}/demands/{quiet}/events?timeout=0.2&maxEvents=5",
        )
        self.ask("unsubscribe", self.requestor, "DELETE", f"{base}/demands/{quiet}")
        gone = f"{base}/demands/{quiet}/events?timeout=0.2"
        self.ask("unsubscribed events", self.requestor, "GET", gone, keep=nothing)
        self.ask(
            "unsubscribe again", self.requestor, "DELETE", f"{base}/demands/{quiet}", keep=nothing
        )
        offer_id = self.ask("subscribe offer", self.provider, "POST", f"{base}/offers", offer)
        demand_id = self.ask("subscribe demand", self.requestor, "POST", f"{base}/demands", demand)
        demand_events = f"{base}/demands/{demand_id}/events?timeout=5&maxEvents=5"
        offer_events = f"{base}/offers/{offer_id}/events?timeout=5&maxEvents=5"
        initial = self.poll(
            self.requestor, demand_events, lambda event: event["proposal"]["state"] == "Initial"
        )
        self.record["initial proposal"] = (
            initial["eventType"],
            sorted(set(initial["proposal"]) - {"prevProposalId"}),
        )
        proposal = initial["proposal"]["proposalId"]
        self.ask(
            "agree on an initial proposal",
            self.requestor,
            "POST",
            f"{base}/agreements",
            {"proposalId": proposal, "validTo": FAR},
            keep=nothing,
        )
        path = f"{base}/demands/{demand_id}/proposals/{proposal}"
        demand["properties"]["golem.com.payment.chosen-platform"] = PLATFORM
        self.ask("counter", self.requestor, "POST", path, demand)
        self.ask("counter again", self.requestor, "POST", path, demand, keep=nothing)
        asked = self.poll(
            self.provider, offer_events, lambda event: event["eventType"] == "ProposalEvent"
        )
        path = f"{base}/offers/{offer_id}/proposals/{asked['proposal']['proposalId']}"
        self.ask("provider counters", self.provider, "POST", path, offer)
        draft = self.poll(
            self.requestor, demand_events, lambda event: event["proposal"]["state"] == "Draft"
        )
        self.record["draft proposal"] = (draft["eventType"], sorted(draft["proposal"]))
        body = {"proposalId": draft["proposal"]["proposalId"], "validTo": FAR}
        agreement = self.ask("agree", self.requestor, "POST", f"{base}/agreements", body)
        self.ask("agree again", self.requestor, "POST", f"{base}/agreements", body, keep=nothing)
        one = f"{base}/agreements/{agreement}"
        self.ask(
            "agreement",
            self.requestor,
            "GET",
            one,
            keep=lambda answer: {
                "state": answer["state"],
                "demand": sorted(answer["demand"]),
                "offer": sorted(answer["offer"]),
            },
        )
        self.ask(
            "terminate too early",
            self.requestor,
            "POST",
            f"{one}/terminate",
            {"message": "x"},
            keep=nothing,
        )
        self.ask("confirm", self.requestor, "POST", f"{one}/confirm")
        self.ask("wait in vain", self.requestor, "POST", f"{one}/wait?timeout=0.2", keep=nothing)
        signing = self.poll(
            self.provider, offer_events, lambda event: event["eventType"] == "AgreementEvent"
        )
        theirs = signing["agreement"]["agreementId"]
        self.ask("approve", self.provider, "POST", f"{base}/agreements/{theirs}/approve?timeout=5")
        self.ask("wait", self.requestor, "POST", f"{one}/wait?timeout=5")
        self.ask(
            "approved agreement", self.requestor, "GET", one, keep=lambda answer: answer["state"]
        )
        self.ask("confirm again", self.requestor, "POST", f"{one}/confirm", keep=nothing)
        self.ask(
            "unknown agreement",
            self.requestor,
            "GET",
            f"{base}/agreements/{'0' * 64}",
            keep=nothing,
        )
        return agreement

    def activity(self, agreement):
        base = "/activity-api/v1"
        self.ask(
            "provider events without time",
            self.provider,
            "GET",
            f"{base}/events?timeout=0.1",
            keep=str,
        )
        quiet = urllib.parse.quote(FAR)
        path = f"{base}/events?timeout=0.2&afterTimestamp={quiet}"
        self.ask("quiet provider events", self.provider, "GET", path, keep=str)
        self.ask(
            "activity nobody starts",
            self.requestor,
            "POST",
            f"{base}/activity?timeout=0.5",
            agreement,
            keep=str,
        )
        _, events = self._call(
            self._url, self.provider, "GET", f"{base}/events?timeout=3&afterTimestamp={PAST}"
        )
        self.record["provider events"] = [
            (sorted(event), next(iter(event["eventType"]))) for event in events[:1]
        ]
        activity = events[0]["activityId"]
        self.ask("state", self.requestor, "GET", f"{base}/activity/{activity}/state", keep=sorted)
        path = f"{base}/activity/{activity}/exec"
        self.ask(
            "exec without a unit",
            self.requestor,
            "POST",
            path,
            {"text": json.dumps([{"terminate": {}}])},
            keep=bus_error,
        )
        self.ask("exec of nonsense", self.requestor, "POST", path, {"text": "{"}, keep=nothing)
        self.ask(
            "unknown activity", self.requestor, "GET", f"{base}/activity/{'0' * 32}/state", keep=str
        )
        return activity

    def payment(self, agreement, activity, allocation):
        base = "/payment-api/v1"
        body = {
            "agreementId": agreement,
            "activityIds": [activity],
            "amount": "0.01",
            "paymentDueDate": FAR,
        }
        invoice = self.ask("issue invoice", self.provider, "POST", f"{base}/invoices", body)
        one = f"{base}/invoices/{invoice['invoiceId']}"
        self.ask("send invoice", self.provider, "POST", f"{one}/send?timeout=10")
        path = f"{base}/invoiceEvents?timeout=5&afterTimestamp={PAST}"
        events = self.ask(
            "invoice events", self.requestor, "GET", path, keep=lambda answer: shape(answer[:1])
        )
        assert events[0]["eventType"] == "InvoiceReceivedEvent"
        self.ask("invoice", self.requestor, "GET", one)
        self.ask(
            "accept too little",
            self.requestor,
            "POST",
            f"{one}/accept?timeout=5",
            {"totalAmountAccepted": "0.001", "allocationId": allocation},
            keep=nothing,
        )
        self.ask(
            "accept",
            self.requestor,
            "POST",
            f"{one}/accept?timeout=5",
            {"totalAmountAccepted": "0.01", "allocationId": allocation},
        )
        self.ask(
            "accepted invoice", self.requestor, "GET", one, keep=lambda answer: answer["status"]
        )
        self.ask(
            "unknown invoice", self.requestor, "GET", f"{base}/invoices/{NO_UUID}", keep=nothing
        )
        self.ask(
            "spent",
            self.requestor,
            "GET",
            f"{base}/allocations/{allocation}",
            keep=lambda answer: float(answer["spentAmount"]),
        )

    def end(self, agreement, allocation):
        one = f"/market-api/v1/agreements/{agreement}"
        reason = {"message": "done", "golem.requestor.code": "Success"}
        self.ask("terminate", self.requestor, "POST", f"{one}/terminate", reason)
        self.ask(
            "terminate again", self.requestor, "POST", f"{one}/terminate", reason, keep=nothing
        )
        self.ask(
            "terminated agreement", self.requestor, "GET", one, keep=lambda answer: answer["state"]
        )
        self.ask(
            "end of allocation",
            self.requestor,
            "DELETE",
            f"/payment-api/v1/allocations/{allocation}",
        )

    def network(self):
        base = "/net-api/v1/net"
        made = self.ask(
            "create network",
            self.requestor,
            "POST",
            base,
            {"ip": "192.168.7.0", "mask": "255.255.255.0"},
        )
        one = f"{base}/{made['id']}"
        self.ask("network", self.requestor, "GET", one)
        self.ask("own address", self.requestor, "POST", f"{one}/addresses", {"ip": "192.168.7.1"})
        self.ask(
            "address outside",
            self.requestor,
            "POST",
            f"{one}/addresses",
            {"ip": "10.0.0.1"},
            keep=nothing,
        )
        node = {"id": "0x" + "12" * 20, "ip": "192.168.7.2"}
        self.ask("add node", self.requestor, "POST", f"{one}/nodes", node)
        self.ask("add node again", self.requestor, "POST", f"{one}/nodes", node)
        self.ask(
            "nodes", self.requestor, "GET", f"{one}/nodes", keep=lambda answer: sorted(answer[0])
        )
        self.ask("addresses", self.requestor, "GET", f"{one}/addresses")
        self.ask("connections", self.requestor, "GET", f"{one}/tcp")
        self.ask("remove node", self.requestor, "DELETE", f"{one}/nodes/{node['id']}")
        self.ask("remove network", self.requestor, "DELETE", one)
        self.ask("removed network", self.requestor, "GET", one, keep=nothing)


def test_our_server_answers_as_the_real_daemon(make_real_yagna, make_yagna, call, keys):
    ours = make_yagna(0, app_key=keys[0])
    ours.add_identity(keys[1], "provider")
    requestor_id = ours.daemon.requestor.node_id
    found = Walk(call, ours.url, *keys, requestor_id).run()
    daemon = make_real_yagna()
    expected = Walk(call, daemon.url, keys[0], daemon.provider_key, daemon.requestor_id).run()
    assert len(expected) >= 60
    differences = {
        name: (found.get(name), value)
        for name, value in expected.items()
        if found.get(name) != value
    }
    assert not differences, "\n".join(
        f"{name}: ours {mine!r}, the daemon's {theirs!r}"
        for name, (mine, theirs) in differences.items()
    )
