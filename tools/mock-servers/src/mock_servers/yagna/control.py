"""Control API of the local Golem, ``/_golem/*``: what providers do, and what a requestor has left behind.

=========================================== ==========================================================================
``GET /_golem/providers``                   one row per provider
``PATCH /_golem/providers/{name}``          change its knobs: fields of ``ProviderConfig``, ``trigger`` as object
``POST /_golem/providers/{name}/{action}``  ``kill``, ``vanish``, ``crash``, ``revive``, ``freeze``, ``thaw``
``GET /_golem/left``                        ids of demands, agreements, activities ... that are still open
``POST /_golem/restart?down=SECONDS``       the daemon loses its state
=========================================== ==========================================================================
"""

from __future__ import annotations

import dataclasses
from typing import Any, Protocol

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from mock_servers.yagna.config import ProviderConfig, Trigger
from mock_servers.yagna.daemon import Daemon

__all__ = ["ACTIONS", "Restartable", "act", "change", "control_routes"]

ACTIONS = ("kill", "vanish", "crash", "revive", "freeze", "thaw")


def change(config: ProviderConfig, settings: dict[str, Any]) -> None:
    """Set fields of a provider's configuration, all or none.

    Raises:
        ValueError: A field does not exist or cannot be changed.
    """
    known = {field.name for field in dataclasses.fields(ProviderConfig)} - {"name"}
    if unknown := sorted(set(settings) - known):
        raise ValueError(
            f"unknown field {unknown[0]!r}: expected some of {', '.join(sorted(known))}"
        )
    values = dict(settings)
    if isinstance(values.get("trigger"), dict):
        try:
            values["trigger"] = Trigger(**values["trigger"])
        except TypeError as error:
            raise ValueError(f"trigger: {error}") from error
    for name, value in values.items():
        setattr(config, name, value)


async def act(daemon: Daemon, name: str, action: str) -> None:
    """Carry out one of :data:`ACTIONS` on a provider.

    Raises:
        KeyError: No such provider.
        ValueError: No such action.
    """
    provider = daemon.provider(name)
    if action == "kill":
        await daemon.kill_provider(provider)
    elif action == "vanish":
        await daemon.kill_provider(provider, state_visible=False)
    elif action == "crash":
        await provider.crash()
    elif action == "revive":
        provider.revive()
    elif action in ("freeze", "thaw"):
        await provider.freeze(action == "freeze")
    else:
        raise ValueError(f"unknown action {action!r}: expected one of {', '.join(ACTIONS)}")


class Restartable(Protocol):
    """What the control API acts on; :class:`mock_servers.yagna.app.Application`."""

    daemon: Daemon

    async def restart(self, down_s: float = 0.0) -> None:
        """Lose all state; unreachable for ``down_s`` seconds."""


def control_routes(app: Restartable) -> list[Route]:
    """Return the routes of the control API."""

    async def providers(request: Request) -> Response:
        return JSONResponse(app.daemon.status())

    async def knobs(request: Request) -> Response:
        try:
            change(app.daemon.provider(request.path_params["name"]).config, await request.json())
        except KeyError:
            return JSONResponse({"error": "no such provider"}, status_code=404)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        app.daemon.market.bell.ring()
        return Response(status_code=204)

    async def action(request: Request) -> Response:
        try:
            await act(app.daemon, request.path_params["name"], request.path_params["action"])
        except KeyError:
            return JSONResponse({"error": "no such provider"}, status_code=404)
        except ValueError as error:
            return JSONResponse({"error": str(error)}, status_code=400)
        return Response(status_code=204)

    async def left(request: Request) -> Response:
        return JSONResponse(app.daemon.left_behind())

    async def restart(request: Request) -> Response:
        await app.restart(float(request.query_params.get("down", "0")))
        return Response(status_code=204)

    return [
        Route("/_golem/providers", providers, methods=["GET"]),
        Route("/_golem/providers/{name}", knobs, methods=["PATCH"]),
        Route("/_golem/providers/{name}/{action}", action, methods=["POST"]),
        Route("/_golem/left", left, methods=["GET"]),
        Route("/_golem/restart", restart, methods=["POST"]),
    ]
