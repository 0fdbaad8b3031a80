"""What all parties of the local Golem share: configuration, market, activities, payments, networks, published files.

``provider`` works on it; ``daemon`` adds who takes part and how they come and go.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import timedelta
from decimal import Decimal

from mock_servers.yagna.activity import Activities
from mock_servers.yagna.bell import now, stamp
from mock_servers.yagna.config import YagnaConfig
from mock_servers.yagna.gftp import Files
from mock_servers.yagna.market import Market
from mock_servers.yagna.net import Networks
from mock_servers.yagna.payment import Payments

__all__ = ["Grid"]


class Grid:
    """The shared state, empty at first."""

    def __init__(self, config: YagnaConfig, environment: Mapping[str, str] | None = None) -> None:
        self.config = config
        self.environment = dict(environment or {})
        self.market = Market()
        self.activities = Activities(self.market)
        self.payments = Payments(Decimal(str(config.funds_glm)), config.platform)
        self.networks = Networks()
        self.files = Files()

    def wall_clock(self) -> float:
        """Return seconds since the epoch, which expirations are given in."""
        return time.time()

    def due_date(self) -> str:
        """Return when a document issued now must be paid."""
        return stamp(now() + timedelta(days=1))
