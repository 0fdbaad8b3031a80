"""Faults of the best-known shared transport (elastic-transport 9.4.2), and pains users of such libraries keep
reporting.

Each test is named after the fault or pain it keeps away, with the number it has in the compatibility page. Here are
those that the policy floor shows without a socket; the rest stand beside the drivers and backends.
"""

import collections
import importlib.metadata
import pickle
import random
import sys
import threading
import time

import pytest
from transport_utils import errors
from transport_utils.backoff import Exponential
from transport_utils.compression import Compression
from transport_utils.deadline import Deadline
from transport_utils.endpoint import Endpoint
from transport_utils.errors import SentState
from transport_utils.headers import Headers
from transport_utils.health import HealthPolicy, Outcome, outcome_of_error, outcome_of_status
from transport_utils.messages import Request
from transport_utils.nodes import NodePool
from transport_utils.retry import Raise, RetryAfter, RetryPolicy, Return
from transport_utils.serializers import SerializerRegistry
from transport_utils.trace import curl

POLICY = RetryPolicy(backoff=Exponential(1.0, cap_s=5.0, jitter="equal"), rng=random.Random(1))


def begin(method="GET", policy=POLICY, **options):
    return policy.start(method, started=0.0, deadline=Deadline(), **options)


def pool_of(count, **options):
    endpoints = [Endpoint("http", f"n{number}", 9200) for number in range(count)]
    return NodePool(endpoints, randomize=False, **options)


def refused(state, **options):
    return state.on_error(errors.ConnectError("refused"), SentState.NOT_SENT, 0.0, **options)


# --- the faults


def test_fault_1_every_status_retry_waits():
    state = begin()
    delays = [state.on_response(status, {}, 0.0).delay_s for status in (503, 503, 429)]
    assert 0.5 <= delays[0] <= 1.0
    assert 1.0 <= delays[1] <= 2.0
    assert 2.0 <= delays[2] <= 4.0


def test_fault_2_retry_after_is_obeyed():
    assert begin().on_response(503, {"retry-after": "17"}, 0.0).delay_s == 17.0


def test_fault_3_the_last_response_survives_a_later_network_failure():
    state = begin(policy=POLICY.replace(max_retries=1))
    response = object()
    state.on_response(503, {}, 0.0, response=response)
    assert refused(state) == Return(response)


def test_fault_4_the_error_names_its_cause_and_its_attempts():
    state = begin()
    for _ in range(3):
        refused(state)
    error = refused(state).error
    assert "refused" in str(error)
    assert "attempt 4 of 4" in str(error)
    assert [str(one) for one in error.attempts] == ["refused"] * 3


@pytest.mark.parametrize("status", [299, 304, 405, 406, 410, 412, 413, 415, 422, 429])
def test_fault_5_what_the_client_did_does_not_eject_a_node(status):
    pool = pool_of(2)
    for _ in range(20):
        pool.record(pool.nodes[0], outcome_of_status(status), 0.0, 0.0)
    assert len(pool.available) == 2


def test_fault_6_one_outage_seen_by_eight_threads_is_one_outage():
    pool = pool_of(2, health=HealthPolicy(jitter=0.0))
    node = pool.nodes[0]
    gate = threading.Barrier(8)

    def report():
        gate.wait()
        pool.record(node, Outcome.NETWORK, 0.0, 1.0)

    threads = [threading.Thread(target=report) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert (node.health.ejections, node.health.until) == (1, 2.0)


def test_fault_7_short_lived_threads_share_one_round_robin():
    pool = pool_of(4)
    picked = []
    for _ in range(40):
        thread = threading.Thread(target=lambda: picked.append(pool.pick(0.0)))
        thread.start()
        thread.join()
    assert set(collections.Counter(picked).values()) == {10}


@pytest.mark.parametrize("sent", [SentState.PARTIAL, SentState.SENT, SentState.RESPONSE_STARTED])
def test_fault_8_a_post_is_not_resent_after_an_ambiguous_failure(sent):
    error = errors.ConnectionReset("reset")
    assert begin("POST").on_error(error, sent, 0.0) == Raise(error)


def test_fault_9_a_failure_whose_body_does_not_parse_is_still_that_failure():
    body, reason = SerializerRegistry().decode(b"<html>", "application/json", 502)
    assert body == b"<html>"
    assert "not JSON" in reason
    assert isinstance(begin().on_response(502, {}, 0.0), RetryAfter)
    assert outcome_of_status(502) is Outcome.SERVER


def test_fault_10_a_body_of_unknown_mimetype_is_kept():
    assert SerializerRegistry().loads(b"\x00\xff", "application/x-unheard-of") == b"\x00\xff"


def test_fault_11_repeated_response_headers_are_all_kept():
    headers = Headers.from_raw([(b"Set-Cookie", b"a=1"), (b"Set-Cookie", b"b=2")])
    assert headers.get_all("set-cookie") == ["a=1", "b=2"]


def test_fault_12_retries_against_a_single_node_are_spaced():
    state = begin()
    assert all(refused(state).delay_s >= 0.5 for _ in range(3))


def test_fault_16_a_step_of_the_wall_clock_changes_nothing(monkeypatch):
    monkeypatch.setattr(time, "time", lambda: pytest.fail("the wall clock was read"))
    pool = pool_of(2)
    pool.record(pool.pick(0.0), Outcome.NETWORK, 0.0, 0.0)
    pool.pick(0.5)
    begin().on_response(503, {"retry-after": "1"}, 0.0)


# --- the pains


def test_pain_1_retries_outlast_a_short_outage():
    state = begin(policy=POLICY.replace(max_retries=10))
    waited = sum(state.on_response(503, {}, 0.0).delay_s for _ in range(10))
    assert waited > 20


def test_pain_2_a_retry_after_of_an_hour_does_not_block_the_caller():
    decision = begin().on_response(503, {"retry-after": "3600"}, 0.0)
    assert isinstance(decision.error, errors.RetryAfterExceeded)
    capped = POLICY.replace(retry_after_excess="cap")
    assert begin(policy=capped).on_response(503, {"retry-after": "3600"}, 0.0).delay_s == 60.0


def test_pain_3_a_write_that_timed_out_is_not_doubled_unless_the_caller_says_so():
    policy = POLICY.replace(on_timeout=True)
    error = errors.ReadTimeout("silence")
    assert begin("POST", policy).on_error(error, SentState.SENT, 0.0) == Raise(error)
    allowed = begin("POST", policy, idempotent=True)
    assert isinstance(allowed.on_error(error, SentState.SENT, 0.0), RetryAfter)


def test_pain_4_no_pause_goes_beyond_the_total_timeout():
    state = POLICY.start("GET", started=0.0, deadline=Deadline.after(0.4, 0.0))
    assert state.on_response(503, {}, 0.0, response="r") == Return("r")


def calls_of(function):
    count = 0

    def profile(frame, event, argument):
        nonlocal count
        count += event == "call"

    sys.setprofile(profile)
    try:
        function()
    finally:
        sys.setprofile(None)
    return count


def test_pain_7_picking_costs_the_same_for_two_nodes_and_for_a_thousand():
    few, many = pool_of(2), pool_of(1000)
    assert calls_of(lambda: few.pick(0.0)) == calls_of(lambda: many.pick(0.0)) <= 4


def test_a_call_that_succeeds_at_once_pays_four_python_calls_for_all_policy():
    pool = pool_of(3)

    def call():
        node = pool.pick(0.0)
        POLICY.settles(200)
        pool.record(node, Outcome.OK, 0.0, 0.1)

    assert calls_of(call) - 1 == 4  # pick, select, settles, record


def test_pain_11_slowness_on_our_side_never_marks_a_node():
    for kind in (errors.PoolTimeout, errors.TotalTimeout, errors.SerializationError):
        assert outcome_of_error(kind("x")) is Outcome.LOCAL
    pool = pool_of(2)
    for _ in range(2):
        pool.record(pool.nodes[0], outcome_of_error(errors.ReadTimeout("x")), 0.0, 0.0)
    assert len(pool.available) == 2


@pytest.mark.parametrize(
    "name", [name for name in errors.__all__ if name.endswith(("Error", "Timeout"))]
)
def test_pain_14_no_error_is_without_a_message_or_loses_its_cause_in_a_log(name):
    kind = getattr(errors, name)
    extra = {"status": 500} if kind is errors.HttpStatusError else {}
    error = kind("refused by 10.0.0.1", node="http://n0:9200", method="GET", target="/x", **extra)
    text = str(pickle.loads(pickle.dumps(error)))
    assert all(part in text for part in ("refused by 10.0.0.1", "http://n0:9200", "GET /x"))


def test_pain_15_the_level_of_compression_is_a_choice():
    body = b"".join(b'{"id": %d, "name": "document"}' % number for number in range(2000))
    fast, small = Compression(level=1).compress(body), Compression(level=9).compress(body)
    assert len(small) < len(fast) < len(body)


def test_pain_19_a_request_can_be_seen_as_curl():
    request = Request("POST", "/_search", {"content-type": "application/json"}, body=b"{}")
    assert curl(request, Endpoint("http", "n0", 9200)) == (
        "curl --silent --show-error --request POST --header 'content-type: application/json' "
        "--data-raw '{}' http://n0:9200/_search"
    )


def test_pain_20_fast_json_is_as_tolerant_as_the_standard_library():
    registry = SerializerRegistry()
    for text in ("[NaN]", "[123456789012345678901234567890]", '["\\ud800"]', '{"1": [-Infinity]}'):
        value = registry.loads(text.encode())
        assert repr(registry.loads(registry.dumps(value))) == repr(value)


def test_pain_22_429_and_a_503_with_retry_after_count_as_throttling():
    assert outcome_of_status(429) is Outcome.OVERLOAD
    assert outcome_of_status(503, retry_after=True) is Outcome.OVERLOAD
    assert isinstance(begin("POST").on_response(429, {}, 0.0), RetryAfter)


def test_pain_23_no_dependency_takes_the_name_of_another_package():
    required = " ".join(importlib.metadata.requires("transport-utils") or [])
    assert "niquests" not in required
    assert "urllib3-future" not in required
