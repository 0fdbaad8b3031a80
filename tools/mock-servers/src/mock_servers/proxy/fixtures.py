"""Pytest fixture of the fault proxy, re-exported by :mod:`mock_servers.pytest_plugin`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from mock_servers.proxy import FaultProxy

__all__ = ["make_proxy"]


@pytest.fixture
def make_proxy() -> Iterator[Callable[..., FaultProxy]]:
    """Return a function that starts a fault proxy to ``host:port``; all stop at the end.

    It takes the arguments of :class:`mock_servers.proxy.FaultProxy`.
    """
    from mock_servers.proxy import FaultProxy

    started: list[FaultProxy] = []

    def make(upstream: str, **options: Any) -> FaultProxy:
        proxy = FaultProxy(upstream, **options)
        started.append(proxy)
        return proxy.start()

    yield make
    for proxy in started:
        proxy.stop()
