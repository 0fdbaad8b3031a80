"""A Golem provider in Python for the real daemon: market and payment by REST, exe-unit and VPN over the service bus.

Commands run in the exe-unit process of our own server, so that a service is the same here and there.
"""

import asyncio
import contextlib
import datetime

from mock_servers.yagna.config import ProviderConfig
from mock_servers.yagna.runtime import ExeUnit, ExeUnitError

PLATFORM = "erc20-holesky-tglm"
PAST = "2020-01-01T00:00:00Z"


def now():
    return datetime.datetime.now(datetime.timezone.utc).isoformat()


class BusProvider:
    """One provider. ``call(url, key, method, path, body)`` speaks REST, blocking."""

    def __init__(self, call, daemon, requestor_id, image, make_stack):
        self._call = call
        self._daemon = daemon
        self._requestor_id = requestor_id
        self._image = image
        self._make_stack = make_stack
        self.bus = None
        self.units = {}  # activity id -> ExeUnit
        self.results = {}  # batch id -> results
        self.stacks = {}  # network id -> Stack
        self.agreements = {}
        self._tasks = set()

    def start(self):
        for work in (self._negotiate(), self._activities(), self._agreements()):
            self._spawn(work)

    def _spawn(self, work):
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, method, path, body=None):
        return await asyncio.to_thread(
            self._call, self._daemon.url, self._daemon.provider_key, method, path, body
        )

    def _offer(self):
        settings = ProviderConfig("bus-provider")
        return {
            "properties": {
                "golem.node.id.name": settings.name,
                "golem.node.debug.subnet": settings.subnet,
                f"golem.com.payment.platform.{PLATFORM}.address": self._daemon.provider_id,
                "golem.com.payment.protocol.version": 3,
                "golem.com.scheme": "payu",
                "golem.com.scheme.payu.debit-note.interval-sec?": 120,
                "golem.com.scheme.payu.payment-timeout-sec?": 120,
                "golem.com.payment.debit-notes.accept-timeout?": 240,
                "golem.com.pricing.model": "linear",
                "golem.com.pricing.model.linear.coeffs": [0.0001, 0.0002, 0.0],
                "golem.com.usage.vector": ["golem.usage.duration_sec", "golem.usage.cpu_sec"],
                "golem.inf.cpu.architecture": "x86_64",
                "golem.inf.cpu.cores": 2,
                "golem.inf.cpu.threads": 4,
                "golem.inf.mem.gib": 4.0,
                "golem.inf.storage.gib": 20.0,
                "golem.runtime.name": "vm",
                "golem.runtime.version": "0.4.0",
                "golem.runtime.capabilities": ["vpn"],
                "golem.srv.caps.multi-activity": True,
            },
            "constraints": "(&(golem.srv.comp.expiration>0)(golem.node.debug.subnet=public))",
        }

    async def _negotiate(self):
        base = "/market-api/v1"
        _, offer = await self._ask("POST", f"{base}/offers", self._offer())
        while True:
            status, events = await self._ask(
                "GET", f"{base}/offers/{offer}/events?timeout=3&maxEvents=5"
            )
            for event in events if status == 200 else ():
                if event["eventType"] == "ProposalEvent":
                    path = f"{base}/offers/{offer}/proposals/{event['proposal']['proposalId']}"
                    await self._ask("POST", path, self._offer())
                elif event["eventType"] == "AgreementEvent":
                    identifier = event["agreement"]["agreementId"]
                    self.agreements[identifier] = []
                    await self._ask("POST", f"{base}/agreements/{identifier}/approve?timeout=5")

    async def _activities(self):
        after = PAST
        while True:
            path = f"/activity-api/v1/events?timeout=3&maxEvents=10&afterTimestamp={after}"
            status, events = await self._ask("GET", path)
            for event in events if status == 200 else ():
                after = event["eventDate"].replace("+", "%2B")
                activity = event["activityId"]
                if "CreateActivity" in event["eventType"]:
                    unit = await ExeUnit.start(
                        activity, image=self._image, environment={}, isolation="auto"
                    )
                    self.units[activity] = unit
                    self.agreements.setdefault(event["agreementId"], []).append(activity)
                    state = {"state": ["Initialized", None]}
                    await self._ask("PUT", f"/activity-api/v1/activity/{activity}/state", state)
                elif activity in self.units:
                    await self.units.pop(activity).close()

    async def _agreements(self):
        after = PAST
        while True:
            path = f"/market-api/v1/agreementEvents?timeout=3&maxEvents=10&afterTimestamp={after}"
            status, events = await self._ask("GET", path)
            for event in events if status == 200 else ():
                after = event["eventDate"].replace("+", "%2B")
                if event["eventType"] == "AgreementTerminatedEvent":
                    await self._invoice(event["agreementId"])

    async def _invoice(self, agreement):
        due = (
            datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(days=1)
        ).isoformat()
        body = {
            "agreementId": agreement,
            "activityIds": self.agreements.get(agreement, []),
            "amount": "0.01",
            "paymentDueDate": due,
        }
        _, invoice = await self._ask("POST", "/payment-api/v1/invoices", body)
        await self._ask("POST", f"/payment-api/v1/invoices/{invoice['invoiceId']}/send?timeout=10")

    # the bus -----------------------------------------------------------------------------------------------------

    async def handle(self, kind, node, identifier, method, data):
        """Answer a call of the bus; ``None`` is 'endpoint address not found'."""
        if kind == "vpn":
            stack = self.stacks.get(identifier)
            if method == "raw" and stack is not None:
                stack.frame(data)
            return {"Ok": None}
        unit = self.units.get(identifier)
        if unit is None:
            return None
        if method == "Exec":
            self.results[data["batchId"]] = []
            self._spawn(self._script(unit, data["batchId"], data["exeScript"]))
            return {"Ok": data["batchId"]}
        if method == "GetExecBatchResults":
            results = self.results.get(data["batchId"], [])
            for _ in range(100):
                if results and results[-1]["isBatchFinished"]:
                    break
                await asyncio.sleep(0.02)
            return {"Ok": results}
        return {"Ok": None}

    async def _script(self, unit, batch, script):
        for index, step in enumerate(script):
            ((command, arguments),) = step.items()
            message = None
            output = []
            try:
                if command == "deploy":
                    await unit.ask("deploy")
                    for network in arguments.get("net") or []:
                        self._join(unit, network["id"], network["nodeIp"])
                elif command == "run":
                    ended = await unit.ask(
                        "run",
                        lambda stream, text, output=output: output.append(text),
                        entry_point=arguments["entry_point"],
                        args=arguments["args"],
                    )
                    message = f"exited with code {ended['code']}" if ended["code"] else None
            except ExeUnitError as error:
                message = str(error)
            self.results[batch].append(
                {
                    "index": index,
                    "eventDate": now(),
                    "result": "Error" if message else "Ok",
                    "stdout": "".join(output) or None,
                    "stderr": None,
                    "message": message,
                    "isBatchFinished": bool(message) or index == len(script) - 1,
                }
            )
            if message:
                return

    def _join(self, unit, network, ip):
        async def connect(port):
            return await asyncio.open_connection(sock=await unit.connect(port, 5.0))

        address = f"/net/{self._requestor_id}/vpn/{network}/raw"
        caller = f"/net/{self._daemon.provider_id}"
        self.stacks[network] = self._make_stack(
            ip, lambda frame: self.bus.send(address, frame, caller), connect
        )

    async def close(self):
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        for stack in self.stacks.values():
            await stack.close()
        for unit in self.units.values():
            with contextlib.suppress(OSError):
                await unit.close()
