"""A built-in provider: takes part in the market like any other party and runs activities as processes here.

One asyncio task per provider listens to its offer's and its activities' events. Called by ``daemon``.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import pathlib
import shutil
import urllib.request
from collections.abc import Callable, Mapping
from decimal import Decimal
from typing import Any

from mock_servers.yagna.activity import Activity, CommandFailed
from mock_servers.yagna.config import ProviderConfig
from mock_servers.yagna.errors import ApiError
from mock_servers.yagna.grid import Grid
from mock_servers.yagna.market import Agreement
from mock_servers.yagna.runtime import ExeUnit, ExeUnitError

__all__ = ["Provider", "Unit"]

USAGE_VECTOR = ("golem.usage.duration_sec", "golem.usage.cpu_sec")
CONSTRAINTS = "(&(golem.srv.comp.expiration>0)(golem.node.debug.subnet={subnet}))"


class Unit:
    """One activity on a provider: executes its commands in an :class:`ExeUnit`."""

    def __init__(self, provider: Provider, activity: Activity, exe: ExeUnit, image: str) -> None:
        self.provider = provider
        self.activity = activity
        self.exe = exe
        self.image = image
        self.networks: dict[str, str] = {}  # network id -> own address in it

    async def usage(self) -> list[float]:
        """Return seconds since the start and processor seconds."""
        try:
            found = await self.exe.ask("usage")
        except ExeUnitError:
            return self.activity.last_usage
        return [float(found["duration_s"]), float(found["cpu_s"])]

    async def execute(
        self, command: str, arguments: dict[str, Any], on_output: Callable[[str, str], None]
    ) -> str | None:
        """Run one command of a script; see :class:`mock_servers.yagna.activity.Executor`."""
        if self.provider.config.fail == command:
            raise CommandFailed(f"ExeScript command '{command}' failed as configured")
        try:
            return await getattr(self, f"_{command}")(arguments, on_output)  # type: ignore[no-any-return]
        except ExeUnitError as error:
            if error.kind == "Gone":
                await (
                    asyncio.Event().wait()
                )  # a dead unit answers nothing; the activity's end cancels this
            raise CommandFailed(f"ExeScript command failed: {error}") from error

    async def _deploy(self, arguments: dict[str, Any], _: Callable[[str, str], None]) -> str | None:
        if self.image not in self.provider.grid.config.images:
            raise CommandFailed(f"Deployment failed: image {self.image} not found")
        await self.exe.ask("deploy")
        for network in arguments.get("net") or []:
            self.networks[network["id"]] = network["nodeIp"]
        self._move("Deployed")
        return json.dumps({"valid": {"Ok": ""}})

    async def _start(self, _: dict[str, Any], __: Callable[[str, str], None]) -> str | None:
        if self.activity.state[0] != "Deployed":
            raise CommandFailed("Invalid state: the activity is not deployed")
        await asyncio.sleep(self.provider.config.start_delay_s)
        self._move("Ready")
        return None

    async def _run(
        self, arguments: dict[str, Any], on_output: Callable[[str, str], None]
    ) -> str | None:
        if self.activity.state[0] != "Ready":
            raise CommandFailed("Invalid state: the activity is not started")
        ended = await self.exe.ask(
            "run", on_output, entry_point=arguments["entry_point"], args=arguments.get("args") or []
        )
        if ended["code"]:
            raise CommandFailed(
                f"ExeScript command exited with code {ended['code']}", ended["code"]
            )
        return None

    async def _transfer(
        self, arguments: dict[str, Any], _: Callable[[str, str], None]
    ) -> str | None:
        try:
            source, target = (
                await self._local(arguments["from"]),
                await self._local(arguments["to"]),
            )
            await asyncio.get_running_loop().run_in_executor(None, _copy, source, target)
        except (OSError, ValueError) as error:
            raise CommandFailed(f"Transfer error: {error}") from error
        return None

    async def _local(self, url: str) -> str:
        scheme, _, rest = url.partition(":")
        if scheme == "container":
            return str(await self.exe.ask("path", path=rest))
        if scheme == "gftp":
            return self.provider.grid.files.path(url)
        if scheme in ("http", "https"):
            return url
        raise ValueError(f"unsupported transfer location {url}")

    async def _sign(self, _: dict[str, Any], __: Callable[[str, str], None]) -> str | None:
        return json.dumps({"output": "", "sig": ""})

    async def _terminate(self, _: dict[str, Any], __: Callable[[str, str], None]) -> str | None:
        asyncio.get_running_loop().call_soon(
            self.provider.grid.activities.set_state, self.activity, ("Terminated", None)
        )
        return None

    def _move(self, state: str) -> None:
        self.provider.grid.activities.set_state(self.activity, (state, None))


def _copy(source: str, target: str) -> None:
    if target.startswith("http"):
        raise ValueError("uploading to http is not supported")
    pathlib.Path(target).parent.mkdir(parents=True, exist_ok=True)
    if source.startswith("http"):
        with urllib.request.urlopen(source, timeout=60) as response, open(target, "wb") as file:
            shutil.copyfileobj(response, file)
    else:
        shutil.copyfile(source, target)


class Provider:
    """One provider node."""

    def __init__(self, grid: Grid, config: ProviderConfig, node_id: str) -> None:
        self.grid = grid
        self.config = config
        self.node_id = node_id
        self.units: dict[str, Unit] = {}
        self.agreements: dict[str, Agreement] = {}
        self.online = True
        self.carried_bytes = 0  # over the VPN, both directions
        self.offer_id: str | None = None
        self._events_seen = 0
        self._tasks: set[asyncio.Task[Any]] = set()

    def start(self) -> None:
        """Enter the market."""
        self._spawn(self._negotiate())
        self._spawn(self._serve_activities())

    def _spawn(self, work: Any) -> asyncio.Task[Any]:
        task: asyncio.Task[Any] = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    def offer(self) -> dict[str, Any]:
        """Return the properties of the node's offer."""
        settings = self.config
        return {
            "golem.node.id.name": settings.name,
            "golem.node.debug.subnet": settings.subnet,
            f"golem.com.payment.platform.{self.grid.config.platform}.address": self.node_id,
            "golem.com.payment.protocol.version": 3,
            "golem.com.scheme": "payu",
            "golem.com.scheme.payu.debit-note.interval-sec?": 120,
            "golem.com.scheme.payu.payment-timeout-sec?": 120,
            "golem.com.payment.debit-notes.accept-timeout?": 240,
            "golem.com.pricing.model": "linear",
            "golem.com.pricing.model.linear.coeffs": [
                float(settings.price_per_hour) / 3600,
                float(settings.cpu_price_per_hour) / 3600,
                float(settings.fixed_price),
            ],
            "golem.com.usage.vector": list(USAGE_VECTOR),
            "golem.inf.cpu.architecture": "x86_64",
            "golem.inf.cpu.cores": max(1, settings.cpu_threads // 2),
            "golem.inf.cpu.threads": settings.cpu_threads,
            "golem.inf.mem.gib": float(settings.mem_gib),
            "golem.inf.storage.gib": float(settings.storage_gib),
            "golem.runtime.name": "vm",
            "golem.runtime.version": "0.4.0",
            "golem.runtime.capabilities": list(settings.capabilities),
            "golem.activity.caps.transfer.protocol": ["http", "https", "gftp"],
            "golem.srv.caps.multi-activity": True,
            "golem.srv.caps.payload-manifest": True,
        }

    # market ------------------------------------------------------------------------------------------------------

    async def _negotiate(self) -> None:
        market = self.grid.market
        while True:
            await market.bell.until(
                lambda: self.online and len(self.agreements) < self.config.slots, 3600.0
            )
            constraints = CONSTRAINTS.format(subnet=self.config.subnet)
            offer = market.subscribe("offer", self.node_id, self.offer(), constraints)
            self.offer_id = offer
            with contextlib.suppress(ApiError):
                while self.online and len(self.agreements) < self.config.slots:
                    for event in await market.collect("offer", offer, self.node_id, 3600.0, 1):
                        if event["eventType"] == "ProposalEvent":
                            self._on_proposal(offer, event["proposal"])
                        elif event["eventType"] == "AgreementEvent":
                            self._on_agreement(event["agreement"]["agreementId"])
                    if offer not in market.subscriptions:
                        break
            # every agreement is followed by a new offer, so that live demands get a fresh proposal
            self._withdraw(offer)

    def _withdraw(self, offer: str) -> None:
        waiting = self.grid.market.subscriptions.get(offer)
        with contextlib.suppress(ApiError):
            self.grid.market.unsubscribe("offer", offer, self.node_id)
        for event in waiting.events if waiting else ():
            if event["eventType"] == "AgreementEvent":
                with contextlib.suppress(ApiError):
                    self.grid.market.decline(
                        event["agreement"]["agreementId"], self.node_id, {"message": "No capacity"}
                    )

    def _on_proposal(self, offer: str, proposal: Mapping[str, Any]) -> None:
        market, identifier = self.grid.market, proposal["proposalId"]
        with contextlib.suppress(ApiError):
            if self.config.proposals == "counter":
                constraints = CONSTRAINTS.format(subnet=self.config.subnet)
                market.counter("offer", offer, identifier, self.node_id, self.offer(), constraints)
            elif self.config.proposals == "reject":
                market.reject(
                    "offer", offer, identifier, self.node_id, {"message": "Proposal rejected"}
                )

    def _on_agreement(self, identifier: str) -> None:
        market = self.grid.market
        if self.config.agreements == "silent":
            return
        if self.config.agreements == "reject" or len(self.agreements) >= self.config.slots:
            with contextlib.suppress(ApiError):
                market.decline(identifier, self.node_id, {"message": "No capacity"})
            return
        with contextlib.suppress(ApiError):
            market.approve(identifier, self.node_id)
            agreement = market.agreements[identifier]
            self.agreements[identifier] = agreement
            self._spawn(self._keep(agreement))
            if self.offer_id and len(self.agreements) < self.config.slots:
                self.grid.market.unsubscribe("offer", self.offer_id, self.node_id)

    async def _keep(self, agreement: Agreement) -> None:
        """Hold an agreement until it ends, then end its activities and send the invoice."""
        expires = agreement.demand["properties"].get("golem.srv.comp.expiration")
        notes = self._spawn(self._debit_notes(agreement))
        try:
            if expires is None:
                await self.grid.market.ended(agreement)
            else:
                left = float(expires) / 1000 - self.grid.wall_clock()
                with contextlib.suppress(asyncio.TimeoutError):
                    await asyncio.wait_for(self.grid.market.ended(agreement), max(0.0, left))
            if agreement.state == "Approved":
                self.grid.market.close(agreement, "Terminated", {"message": "Agreement expired"})
        finally:
            notes.cancel()
        mine = [a for a in self.grid.activities.all.values() if a.agreement is agreement]
        cost = Decimal(0)
        for activity in mine:
            cost += await self._cost(activity)
            await self._end(activity)
        self.agreements.pop(agreement.id, None)
        self._invoice(agreement, mine, cost)
        self.grid.market.bell.ring()

    async def _cost(self, activity: Activity) -> Decimal:
        usage = (await self.grid.activities.usage(activity))["currentUsage"]
        *rates, fixed = activity.agreement.offer["properties"][
            "golem.com.pricing.model.linear.coeffs"
        ]
        total = float(fixed) + sum(rate * used for rate, used in zip(rates, usage, strict=True))
        return Decimal(format(total, ".12f"))

    def _invoice(self, agreement: Agreement, activities: list[Activity], cost: Decimal) -> None:
        payments = self.grid.payments
        invoice = payments.issue(
            "invoice",
            self.node_id,
            agreement.requestor,
            agreement.id,
            {
                "activityIds": [activity.id for activity in activities],
                "amount": format(cost, "f"),
                "paymentDueDate": self.grid.due_date(),
            },
        )
        payments.send(invoice)

    async def _debit_notes(self, agreement: Agreement) -> None:
        previous: dict[str, str] = {}
        while (interval := self.grid.config.debit_note_interval_s) is not None:
            await asyncio.sleep(interval)
            for unit in list(self.units.values()):
                activity = unit.activity
                if activity.agreement is not agreement or activity.terminated:
                    continue
                cost = await self._cost(activity)
                body = {
                    "activityId": activity.id,
                    "totalAmountDue": format(cost, "f"),
                    "usageCounterVector": activity.last_usage,
                }
                if activity.id in previous:
                    body["previousDebitNoteId"] = previous[activity.id]
                note = self.grid.payments.issue(
                    "debitNote", self.node_id, agreement.requestor, agreement.id, body
                )
                self.grid.payments.send(note)
                previous[activity.id] = note.id

    # activities --------------------------------------------------------------------------------------------------

    async def _serve_activities(self) -> None:
        activities = self.grid.activities
        while True:
            await activities.bell.until(
                lambda: len(activities.provider_events) > self._events_seen, 3600.0
            )
            fresh = activities.provider_events[self._events_seen :]
            self._events_seen += len(fresh)
            for to, event in fresh:
                if to != self.node_id or not self.online:
                    continue
                activity = activities.all[event["activityId"]]
                if "CreateActivity" in event["eventType"]:
                    self._spawn(self._create(activity))

    async def _create(self, activity: Activity) -> None:
        package = str(
            activity.agreement.demand["properties"].get("golem.srv.comp.task_package", "")
        )
        image = package.split(":")[2] if package.startswith("hash:") else ""
        exe = await ExeUnit.start(
            activity.id,
            image=self.grid.config.images.get(image),
            environment=self.grid.environment,
            isolation=self.grid.config.isolation,
        )
        unit = Unit(self, activity, exe, image)
        self.units[activity.id] = unit
        activity.executor = unit
        self.grid.activities.set_state(activity, ("Initialized", None))
        self._spawn(self._reap(activity))

    async def _reap(self, activity: Activity) -> None:
        while not activity.terminated:
            await self.grid.activities.bell.until(lambda: activity.terminated, 3600.0)
        await self._end(activity)

    async def _end(self, activity: Activity) -> None:
        """Stop an activity and everything that runs in it; return when nothing is left."""
        unit = self.units.get(activity.id)
        if unit is None:
            return
        activity.last_usage = await unit.usage()
        if not activity.terminated:
            self.grid.activities.set_state(activity, ("Terminated", None))
        for task in list(activity.tasks):
            task.cancel()
        await unit.exe.close()
        self.units.pop(activity.id, None)

    # faults ------------------------------------------------------------------------------------------------------

    async def crash(self) -> None:
        """Kill the processes of every activity; the node itself and its agreements live on."""
        for unit in list(self.units.values()):
            with contextlib.suppress(ExeUnitError):
                await unit.exe.ask("kill")

    async def kill(self, *, state_visible: bool = True) -> None:
        """Take the whole node off the network, processes and all.

        Args:
            state_visible: ``True`` leaves the activities ``Terminated`` for whoever asks; ``False`` makes every
                question about them fail as when the node cannot be reached.
        """
        self.online = False
        if self.offer_id is not None:
            with contextlib.suppress(ApiError):
                self.grid.market.unsubscribe("offer", self.offer_id, self.node_id)
        for unit in list(self.units.values()):
            unit.activity.lost = not state_visible
            await self._end(unit.activity)
        self.grid.market.bell.ring()

    def revive(self) -> None:
        """Bring a killed node back; it makes offers again."""
        self.online = True
        self.grid.market.bell.ring()

    async def freeze(self, frozen: bool) -> None:
        """Stop (SIGSTOP) or continue every process of the node's activities."""
        for unit in list(self.units.values()):
            with contextlib.suppress(ExeUnitError):
                await unit.exe.freeze(frozen)

    async def close(self) -> None:
        """End everything this provider does."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for unit in list(self.units.values()):
            await self._end(unit.activity)
