"""What both kinds of service share: start the user's server, keep an eye on the instance, end in an orderly way.

yapapi calls ``start``, ``run`` and ``shutdown``; requests come through :class:`ya_httpx_client.instance.Instance`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
from abc import ABC, abstractmethod
from collections.abc import AsyncGenerator, Callable
from typing import Any, Protocol

import aiohttp
from ya_activity.exceptions import ApiException
from yapapi.script import Script
from yapapi.services import Service

from ya_httpx_client.instance import Instance, State
from ya_httpx_client.options import ServiceOptions
from ya_httpx_client.start_context import StartContext

__all__ = ["NO_SCRIPTS", "AbstractServiceBase", "Owner", "Scripts"]

logger = logging.getLogger("ya_httpx_client")

STATE_FAILURES = 3
"""Unanswered questions for the activity's state after which the provider counts as lost."""

Scripts = AsyncGenerator[Script, Any]
NO_SCRIPTS: tuple[Script, ...] = ()


class Owner(Protocol):
    """Whom an instance belongs to; :class:`ya_httpx_client.cluster.Cluster`."""

    url: str
    manager: Any
    options: ServiceOptions

    def instance_starting(self, instance: Instance) -> None:
        """Take note that a provider was found and begins to start."""


class AbstractServiceBase(ABC, Service):  # type: ignore[misc]
    """One instance of a user's server on one provider.

    Args:
        instance: The instance it is the yapapi side of.
        owner: The cluster the instance belongs to.
        entrypoint: Program and arguments that start the server, or ``None``.
        start_steps: Function of a start context and an address that starts the server, or ``None``.
    """

    REQUIRED_CAPABILITIES: list[str] = []
    LISTEN_ON = ""

    def __init__(
        self,
        *args: Any,
        instance: Instance,
        owner: Owner,
        entrypoint: tuple[str, ...] | None = None,
        start_steps: Callable[..., Any] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(*args, **kwargs)
        self.instance = instance
        self.owner = owner
        self.entrypoint = entrypoint
        self.start_steps = start_steps
        self._unanswered = 0

    @property
    def restart_condition(self) -> bool:
        """Never: the cluster starts a new instance instead, with a new demand on the market's patience."""
        return False

    # yapapi's life cycle -----------------------------------------------------------------------------------------

    async def start(self) -> Scripts:
        """Deploy, start the user's server, and return when it answers."""
        if self.instance.surplus or self.instance.state is State.DEAD:
            self.instance.die(None)
            return
        self.instance.starting(self.provider_id, self.provider_name, self._price_per_hour())
        self.owner.instance_starting(self.instance)
        try:
            async for script in super().start():
                yield script
            async for script in self._start_server():
                yield script
            async for script in self._get_ready():
                yield script
        except Exception as error:
            self.instance.die(f"the service did not start on {self.provider_name}: {error}")
            raise
        logger.info("STARTED ON %s", self.provider_name)

    async def _start_server(self) -> Scripts:
        if self.entrypoint:
            script = self._ctx.new_script()
            script.run(*self.entrypoint)
            yield script
        if self.start_steps is None:
            return
        context = StartContext(self._ctx)
        made = self.start_steps(context, self.LISTEN_ON)
        if inspect.isasyncgen(made):
            async for script in made:
                yield script
        elif inspect.isawaitable(made):
            await made
        for script in context.scripts():
            yield script

    @abstractmethod
    def _get_ready(self) -> Scripts:
        """Return when the server answers, having told the instance; may yield scripts."""

    async def shutdown(self) -> Scripts:
        """End the activity, unless the provider is gone anyway."""
        if self.instance.lost_because is None:
            async for script in super().shutdown():
                yield script

    # liveness ----------------------------------------------------------------------------------------------------

    async def is_activity_responsive(self) -> bool:
        """Answer yapapi's health check; unlike yapapi's own, a terminated activity is not taken for healthy."""
        return self.instance.state is not State.DEAD

    async def _alive(self) -> bool:
        """Ask the daemon for the activity's state; a provider that is gone ends the instance."""
        try:
            found = await asyncio.wait_for(self._ctx.get_raw_state(), 10.0)
        except (ApiException, aiohttp.ClientError, asyncio.TimeoutError, OSError) as error:
            self._unanswered += 1
            gone = isinstance(error, ApiException) and error.status == 404
            if gone or self._unanswered >= STATE_FAILURES:
                self.instance.die(f"the activity's state cannot be read: {error}")
                return False
            return True
        self._unanswered = 0
        if "Terminated" in found.state:
            reason = found.error_message or found.reason or "no reason given"
            self.instance.die(f"the provider terminated the activity ({reason})")
            return False
        return True

    async def _sleep(self, seconds: float) -> None:
        """Wait until the instance needs attention, at most ``seconds``."""
        try:
            await asyncio.wait_for(self.instance.attention.wait(), seconds)
        except asyncio.TimeoutError:
            return
        self.instance.attention.clear()

    def _price_per_hour(self) -> float | None:
        """Return what an hour of the provider's time costs, GLM; processor time is not known before it is used."""
        model = getattr(self._ctx, "_payment_model", None)
        per_second = getattr(model, "price_for", {}).get("golem.usage.duration_sec")
        return None if per_second is None else float(per_second) * 3600
