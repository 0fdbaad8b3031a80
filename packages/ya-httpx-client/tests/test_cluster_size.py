"""How many instances a cluster wants, whatever the size is given as."""

import pytest
from ya_httpx_client.cluster import Cluster
from ya_httpx_client.options import ServiceOptions
from ya_httpx_client.provider_auto_balance import SimpleLoadBalancer


@pytest.fixture
def cluster():
    return Cluster(
        None, "hash", ("run",), None, url="http://calc", options=ServiceOptions(max_size=20)
    )


@pytest.mark.parametrize(
    ("size", "wanted"),
    [(3, 3), (0, 0), (-2, 0), (True, 1), (50, 20), (lambda cluster: 7, 7), (2.0, 2)],
)
async def test_sizes_of_every_kind(cluster, size, wanted):
    cluster.set_size(size)
    assert cluster._evaluate() == wanted


async def test_function_is_asked_again(cluster):
    numbers = iter([1, 2, 3])
    cluster.set_size(lambda cluster: next(numbers))
    assert [cluster._evaluate(), cluster._evaluate()] == [2, 3]


async def test_class_of_the_seed_is_made_once_and_asked_often(cluster):
    class LoadBalancer:
        made = 0

        def __init__(self, cluster):
            self.cluster = cluster
            LoadBalancer.made += 1

        def __int__(self):
            return 0 if self.cluster.request_queue.empty() else 1

    cluster.set_size(LoadBalancer)
    assert [cluster._evaluate(), cluster._evaluate()] == [0, 0]
    assert LoadBalancer.made == 1
    cluster.set_size(SimpleLoadBalancer)
    assert cluster._evaluate() == 3


async def test_exception_keeps_the_last_good_number(cluster, caplog):
    answers = iter([4, 4])

    def size(cluster):
        return next(answers)

    cluster.set_size(size)
    cluster._wanted = cluster._evaluate()
    assert cluster._evaluate() == 4
    assert "cannot be evaluated" in caplog.text


async def test_exception_when_set_reaches_the_caller(cluster):
    with pytest.raises(ZeroDivisionError):
        cluster.set_size(lambda cluster: 1 // 0)
    with pytest.raises(TypeError, match="expected a number"):
        cluster.set_size(object())


async def test_nothing_runs_before_the_start(cluster):
    cluster.set_size(5)
    assert cluster.cnt == 0
    assert cluster.request_queue.qsize() == 0
    assert cluster.request_queue.empty()


@pytest.mark.parametrize(
    "settings",
    [
        {"slots": 0},
        {"max_queue": 0},
        {"max_size": -1},
        {"restart": "maybe"},
        {"port": 0},
        {"liveness_s": 0},
        {"start_timeout_s": 0},
    ],
)
def test_options_out_of_range_are_refused(settings):
    with pytest.raises(ValueError, match="expected"):
        ServiceOptions(**settings)
