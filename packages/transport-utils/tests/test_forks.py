"""A fork in the moment a lock is held leaves the child able to work."""

import os

import pytest
from transport_utils.backends.native import NativeBackend
from transport_utils.budget import RateLimiter, RetryBudget
from transport_utils.endpoint import Endpoint
from transport_utils.nodes import NodePool

ENDPOINT = Endpoint("http", "127.0.0.1", 1)
USES = {
    "backend": (NativeBackend, lambda backend: backend.channel(ENDPOINT)),
    "nodes": (
        lambda: NodePool([ENDPOINT]),
        lambda pool: pool.add(Endpoint("http", "127.0.0.1", 2)),
    ),
    "budget": (RetryBudget, lambda budget: budget.acquire(1)),
    "limiter": (RateLimiter, lambda limiter: limiter.reserve(0.0)),
}


@pytest.mark.parametrize("name", USES)
@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork:DeprecationWarning")
def test_a_child_forked_while_the_lock_is_held_is_not_stuck(name):
    make, use = USES[name]
    thing = make()
    with thing._lock:
        child = os.fork()
        if child == 0:
            try:
                use(thing)
                os._exit(0)
            finally:
                os._exit(1)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
