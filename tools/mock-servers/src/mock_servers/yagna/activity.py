"""Activities: creation, scripts of commands, their results by polling or as an event stream (``/activity-api/v1``).

An activity runs commands only when somebody serves it: a built-in provider registers an :class:`Executor`. Without
one every command is answered with the bus error the daemon gives when the unit is gone. Source: Golem activity API.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import time
import uuid
from collections.abc import Callable
from datetime import datetime
from typing import Any, Protocol

from mock_servers.yagna.bell import Bell, stamp
from mock_servers.yagna.errors import ApiError
from mock_servers.yagna.market import Agreement, Market

__all__ = ["Activities", "Activity", "Batch", "CommandFailed", "Executor"]

COMMANDS = frozenset({"deploy", "start", "run", "transfer", "terminate", "sign"})


class CommandFailed(Exception):
    """A command of a script ended with an error; the script stops there."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class Executor(Protocol):
    """Whoever runs an activity's commands."""

    async def execute(
        self, command: str, arguments: dict[str, Any], on_output: Callable[[str, str], None]
    ) -> str | None:
        """Run one command, report its output, and return the result's ``stdout`` if it is no process.

        Raises:
            CommandFailed: The command ended with an error.
        """

    async def usage(self) -> list[float]:
        """Return the usage counters, in the order of the offer's usage vector."""


@dataclasses.dataclass(slots=True)
class Batch:
    """One script that was sent for execution."""

    id: str
    script: list[dict[str, Any]]
    results: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    events: list[dict[str, Any]] = dataclasses.field(default_factory=list)
    delivered: int = 0
    finished: bool = False

    def record(self, index: int, kind: dict[str, Any]) -> None:
        """Add one event of the stream."""
        moment = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime())
        self.events.append({"batch_id": self.id, "index": index, "timestamp": moment, "kind": kind})


@dataclasses.dataclass(slots=True)
class Activity:
    """One activity. ``state`` is the pair the API shows: present state and the one it is moving to."""

    id: str
    agreement: Agreement
    state: tuple[str, str | None] = ("New", None)
    reason: str | None = None
    error: str | None = None
    executor: Executor | None = None
    batches: dict[str, Batch] = dataclasses.field(default_factory=dict)
    tasks: set[asyncio.Task[None]] = dataclasses.field(default_factory=set)
    lost: bool = False
    last_usage: list[float] = dataclasses.field(default_factory=lambda: [0.0, 0.0])

    @property
    def terminated(self) -> bool:
        """Whether it has ended."""
        return self.state[0] == "Terminated"


class Activities:
    """All activities of one local Golem."""

    def __init__(self, market: Market) -> None:
        self._market = market
        self.all: dict[str, Activity] = {}
        self.provider_events: list[tuple[str, dict[str, Any]]] = []
        self.bell = Bell()

    def get(self, identifier: str, party: str) -> Activity:
        """Return an activity of one of ``party``'s agreements.

        Raises:
            ApiError: 500 unknown, as the daemon has it; 403 of somebody else.
        """
        found = self.all.get(identifier)
        if found is None:
            raise ApiError(500, f"DAO error: Not found: agreement id for activity: {identifier}")
        if party not in (found.agreement.requestor, found.agreement.provider):
            raise ApiError(403, "Forbidden")
        return found

    async def create(self, owner: str, agreement_id: str, timeout_s: float) -> Activity:
        """Ask the provider for an activity and wait until it is initialised.

        Raises:
            ApiError: 404 unknown agreement; 400 not in force; 408 the provider did not react in ``timeout_s``.
        """
        agreement = self._market.agreement(agreement_id, owner)
        if agreement.state != "Approved":
            raise ApiError(400, f"Agreement {agreement_id} is not in Approved state")
        activity = Activity(uuid.uuid4().hex, agreement)
        self.all[activity.id] = activity
        self._tell_provider(activity, "CreateActivity")
        if not await self.bell.until(lambda: activity.state[0] != "New", timeout_s):
            self._tell_provider(activity, "DestroyActivity")
            activity.state = ("Terminated", None)
            self.bell.ring()
            raise ApiError(408, "Timeout")
        return activity

    def _tell_provider(self, activity: Activity, kind: str) -> None:
        event = {
            "activityId": activity.id,
            "agreementId": activity.agreement.id,
            "eventType": {kind: {}},
            "eventDate": stamp(),
        }
        self.provider_events.append((activity.agreement.provider, event))
        self.bell.ring()

    async def events_after(
        self, provider: str, after: datetime, timeout_s: float, limit: int
    ) -> list[dict[str, Any]]:
        """Return a provider's events strictly later than ``after``.

        Raises:
            ApiError: 408 when there was none for ``timeout_s``.
        """

        def found() -> list[dict[str, Any]]:
            return [
                event
                for to, event in self.provider_events
                if to == provider
                and datetime.fromisoformat(event["eventDate"].replace("Z", "+00:00")) > after
            ]

        if not await self.bell.until(lambda: bool(found()), timeout_s):
            raise ApiError(408, "Timeout")
        return found()[:limit]

    def set_state(
        self,
        activity: Activity,
        state: tuple[str, str | None],
        reason: str | None = None,
        error: str | None = None,
    ) -> None:
        """Record the state the provider reports."""
        if not activity.terminated:
            activity.state, activity.reason, activity.error = state, reason, error
        self.bell.ring()

    async def usage(self, activity: Activity) -> dict[str, Any]:
        """Return the usage counters as the API shows them; after the end, the last ones known."""
        if activity.executor is not None and not activity.terminated:
            activity.last_usage = await activity.executor.usage()
        return {"currentUsage": activity.last_usage, "timestamp": int(time.time())}

    def destroy(self, activity: Activity) -> None:
        """End an activity at the requestor's wish; again is no error."""
        if not activity.terminated:
            self.set_state(activity, ("Terminated", None))
            self._tell_provider(activity, "DestroyActivity")

    # scripts -----------------------------------------------------------------------------------------------------

    def _gone(self, activity: Activity, method: str) -> ApiError:
        path = f"/net/{activity.agreement.provider}/exeunit/{activity.id}/{method}"
        return ApiError(
            500,
            f"GSB error: Remote service at `{path}` error: "
            "GSB failure: Bad request: endpoint address not found",
        )

    def execute(self, activity: Activity, text: Any) -> str:
        """Start a script; return its batch id.

        Args:
            activity: Where to run it.
            text: JSON list of one-key objects, as text.

        Raises:
            ApiError: 400 not a script; 500 nobody serves the activity.
        """
        try:
            script = json.loads(text)
            commands = [next(iter(step)) for step in script if len(step) == 1]
            if not isinstance(script, list) or len(commands) != len(script):
                raise ValueError("a script is a list of objects with one command each")
            if unknown := sorted(set(commands) - COMMANDS):
                raise ValueError(f"unknown variant `{unknown[0]}`")
        except (TypeError, ValueError) as error:
            raise ApiError(400, f"Bad request: {error}") from error
        if activity.terminated or activity.executor is None:
            raise self._gone(activity, "Exec")
        batch = Batch(uuid.uuid4().hex, script)
        activity.batches[batch.id] = batch
        task = asyncio.get_running_loop().create_task(self._run(activity, batch))
        activity.tasks.add(task)
        task.add_done_callback(activity.tasks.discard)
        return batch.id

    async def _run(self, activity: Activity, batch: Batch) -> None:
        executor = activity.executor
        assert executor is not None
        for index, step in enumerate(batch.script):
            ((command, arguments),) = step.items()
            output: dict[str, list[str]] = {"stdout": [], "stderr": []}

            def on_output(stream: str, text: str, index: int = index, output: Any = output) -> None:
                output[stream].append(text)
                batch.record(index, {stream: text})
                self.bell.ring()

            batch.record(index, {"started": {"command": step}})
            self.bell.ring()
            returned, message, code = None, None, 0
            try:
                returned = await executor.execute(command, arguments, on_output)
            except CommandFailed as error:
                message, code = str(error), error.code
            batch.finished = message is not None or index == len(batch.script) - 1
            batch.results.append(
                {
                    "index": index,
                    "eventDate": stamp(),
                    "result": "Ok" if message is None else "Error",
                    "stdout": "".join(output["stdout"]) or returned,
                    "stderr": "".join(output["stderr"]) or None,
                    "message": message,
                    "isBatchFinished": batch.finished,
                }
            )
            batch.record(index, {"finished": {"return_code": code, "message": message}})
            self.bell.ring()
            if batch.finished:
                return

    def batch(self, activity: Activity, identifier: str) -> Batch:
        """Return a script's record.

        Raises:
            ApiError: 500 nobody serves the activity any more; 404 unknown batch.
        """
        found = activity.batches.get(identifier)
        if activity.lost or (found is None and activity.executor is None):
            raise self._gone(activity, "GetExecBatchResults")
        if activity.terminated and not (found and found.finished):
            raise self._gone(activity, "GetExecBatchResults")
        if found is None:
            raise ApiError(404, f"Batch not found: {identifier}")
        return found

    async def results(
        self, activity: Activity, identifier: str, timeout_s: float, index: int | None
    ) -> list[dict[str, Any]]:
        """Return all results of a script so far, as soon as there is one that was not returned before.

        Raises:
            ApiError: As :meth:`batch`, also while waiting.
        """
        batch = self.batch(activity, identifier)
        wanted = batch.delivered if index is None else index
        await self.bell.until(
            lambda: len(batch.results) > wanted or batch.finished or activity.terminated, timeout_s
        )
        self.batch(activity, identifier)
        batch.delivered = len(batch.results)
        return batch.results if index is None else batch.results[: index + 1]
