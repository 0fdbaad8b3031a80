"""What a local Golem consists of, and the knobs that make it misbehave.

Everything here may be changed while the server runs, from Python or through the control API (``control.py``).
"""

from __future__ import annotations

import dataclasses
import pathlib
from collections.abc import Mapping

__all__ = ["ProviderConfig", "Trigger", "YagnaConfig"]

CAPABILITIES = ("inet", "vpn", "manifest-support")


@dataclasses.dataclass(slots=True)
class Trigger:
    """One fault that fires once, when a provider's VPN traffic has passed a number of bytes since it was armed.

    Attributes:
        action: ``"kill"`` ends the provider's node, ``"crash"`` its processes only, ``"cut"`` closes the websocket,
            ``"freeze"`` stops the processes with SIGSTOP.
        sent_bytes: Fire once this many bytes went from the requestor to the provider; ``0`` fires when a websocket
            opens; ``None`` does not look at this direction.
        received_bytes: Fire before the byte after this many would reach the requestor; ``0`` holds back the whole
            answer; ``None`` does not look at this direction.
    """

    action: str = "kill"
    sent_bytes: int | None = None
    received_bytes: int | None = None


@dataclasses.dataclass(slots=True)
class ProviderConfig:
    """One provider node: what it offers and how it behaves.

    Attributes:
        name: Shown to requestors as ``golem.node.id.name``; also its name in the control API.
        slots: Agreements it can hold at the same time.
        subnet: ``golem.node.debug.subnet``.
        price_per_hour, cpu_price_per_hour, fixed_price: GLM.
        capabilities: Entries of ``golem.runtime.capabilities``.
        cpu_threads, mem_gib, storage_gib: Hardware it claims.
        agreements: ``"approve"``, ``"reject"`` or ``"silent"`` (never answers).
        proposals: ``"counter"``, ``"reject"`` or ``"silent"``.
        fail: Name of the first command (``deploy``, ``start``, ``run``, ``transfer``) that fails, or ``None``.
        start_delay_s: Pause before the ``start`` command is answered.
        latency_s: Delay of every chunk that passes the VPN, each direction.
        refuse_connections: Number of coming VPN connections answered with 504; ``-1`` means all.
        trigger: Fault armed on the VPN traffic, or ``None``.
    """

    name: str
    slots: int = 1
    subnet: str = "public"
    price_per_hour: float = 0.36
    cpu_price_per_hour: float = 0.72
    fixed_price: float = 0.0
    capabilities: tuple[str, ...] = CAPABILITIES
    cpu_threads: int = 4
    mem_gib: float = 4.0
    storage_gib: float = 20.0
    agreements: str = "approve"
    proposals: str = "counter"
    fail: str | None = None
    start_delay_s: float = 0.0
    latency_s: float = 0.0
    refuse_connections: int = 0
    trigger: Trigger | None = None


@dataclasses.dataclass(slots=True)
class YagnaConfig:
    """A whole local Golem.

    Attributes:
        providers: The provider nodes.
        images: Image hash (hexadecimal) -> folder whose contents are the image's root.
        unknown_images: What happens to a hash that is not in ``images``: ``"404"`` at the registry, or
            ``"deploy-error"`` on the provider.
        app_key: Application key of the requestor.
        funds_glm: What the requestor's account holds; allocations above it are refused.
        platform: Payment platform of the account.
        debit_note_interval_s: Seconds between debit notes of an activity; ``None`` sends none.
        isolation: ``"auto"``, ``"netns"`` (each activity has its own network namespace, real port numbers) or
            ``"ports"`` (addresses in commands are rewritten to free ports of this machine).
        seed: Seed of node ids, so that runs are comparable.
    """

    providers: list[ProviderConfig] = dataclasses.field(default_factory=list)
    images: Mapping[str, pathlib.Path] = dataclasses.field(default_factory=dict)
    unknown_images: str = "404"
    app_key: str = "local-app-key"
    funds_glm: float = 1000.0
    platform: str = "erc20-holesky-tglm"
    debit_note_interval_s: float | None = None
    isolation: str = "auto"
    seed: int = 0

    @classmethod
    def of(cls, providers: int, *, slots: int = 1, **settings: object) -> YagnaConfig:
        """Return a configuration with ``providers`` equal nodes named ``provider-1`` onwards."""
        nodes = [
            ProviderConfig(f"provider-{number + 1}", slots=slots) for number in range(providers)
        ]
        return cls(providers=nodes, **settings)  # type: ignore[arg-type]
