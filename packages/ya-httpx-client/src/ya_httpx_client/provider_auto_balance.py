"""The original's load balancer: a handful of providers by the growth of the queue. ``TargetLoad`` is the better one."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ya_httpx_client.cluster import Cluster

__all__ = ["SimpleLoadBalancer"]

RECOMPUTE_S = 10
FIRST_CNT = 3


class SimpleLoadBalancer:
    """A size for :meth:`ya_httpx_client.session.Session.set_cluster_size`: give the class itself.

    Every 10 seconds: three providers at first; one if the queue is empty now and was at the last look; one more, up
    to :attr:`MAX_PROVIDER_CNT`, if it grew; else as many as before.

    Args:
        cluster: The cluster whose queue is watched.
    """

    MAX_PROVIDER_CNT = 5

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.cnt: int | None = None
        self.prev_queue_size: int | None = None
        self.prev_queue_check_at: datetime | None = None

    def __int__(self) -> int:
        now = datetime.now()
        since = None if self.prev_queue_check_at is None else now - self.prev_queue_check_at
        if self.cnt is None or since is None or since.total_seconds() >= RECOMPUTE_S + 1:
            size = self.cluster.request_queue.qsize()
            self.cnt = self._new_cnt(size)
            self.prev_queue_size = size
            self.prev_queue_check_at = now
        return self.cnt

    def _new_cnt(self, size: int) -> int:
        if self.cnt is None or self.prev_queue_size is None:
            return FIRST_CNT
        if size == 0 and self.prev_queue_size == 0:
            return 1
        if size > self.prev_queue_size:
            return min(self.cnt + 1, self.MAX_PROVIDER_CNT)
        return self.cnt
