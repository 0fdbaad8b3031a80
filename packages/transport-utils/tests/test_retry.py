import pickle
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from transport_utils import errors
from transport_utils.backoff import Constant
from transport_utils.budget import RetryBudget
from transport_utils.deadline import Deadline
from transport_utils.errors import SentState
from transport_utils.headers import Headers
from transport_utils.retry import Raise, RetryAfter, RetryPolicy, Return, retry_after_s

NEVER = Deadline()
ONE_SECOND = RetryPolicy(backoff=Constant(1.0))


def begin(policy=ONE_SECOND, method="GET", deadline=NEVER, **kwargs):
    return policy.start(method, started=0.0, deadline=deadline, **kwargs)


class Response:
    def __init__(self, status):
        self.meta = {"status": status}
        self.content = b"body"


@pytest.mark.parametrize("status", [429, 502, 503, 504])
def test_a_retried_status_is_tried_again_after_the_pause(status):
    assert not ONE_SECOND.settles(status)
    assert begin().on_response(status, {}, 0.0) == RetryAfter(1.0)


@pytest.mark.parametrize("status", [200, 304, 400, 404, 409, 413, 422, 500, 501])
def test_any_other_status_goes_to_the_caller(status):
    assert ONE_SECOND.settles(status)
    assert begin().on_response(status, {}, 0.0, response="r") == Return("r")


def test_the_last_response_is_returned_when_retries_are_used_up():
    state = begin()
    for _ in range(3):
        assert isinstance(state.on_response(503, {}, 0.0), RetryAfter)
    assert state.on_response(503, {}, 0.0, response="last") == Return("last")
    assert (state.attempts, state.retries, state.history) == (4, 3, (503,) * 4)


def test_no_retries_means_one_attempt():
    assert begin(ONE_SECOND.replace(max_retries=0)).on_response(503, {}, 0, response=1) == Return(1)


def test_retries_without_a_limit_go_on_until_the_deadline():
    state = begin(ONE_SECOND.replace(max_retries=None), deadline=Deadline(100.0))
    now = 0.0
    while isinstance(
        state.on_error(errors.ConnectError("refused"), SentState.NOT_SENT, now), RetryAfter
    ):
        now += 1.0
    assert now == 99.0


@pytest.mark.parametrize(
    ("method", "idempotent", "status", "again"),
    [
        ("POST", None, 429, True),
        ("POST", None, 503, True),
        ("POST", None, 502, False),
        ("POST", None, 504, False),
        ("POST", True, 504, True),
        ("GET", None, 502, True),
        ("GET", False, 502, False),
        ("PUT", None, 504, True),
    ],
)
def test_a_gateway_failure_is_no_licence_to_repeat_a_write(method, idempotent, status, again):
    decision = begin(method=method, idempotent=idempotent).on_response(status, {}, 0.0)
    assert isinstance(decision, RetryAfter) is again


@pytest.mark.parametrize("sent", list(SentState))
@pytest.mark.parametrize(
    "kind",
    [errors.ConnectionReset, errors.StaleConnection, errors.TruncatedBody, errors.BadResponse],
)
def test_a_write_is_sent_again_only_if_nothing_of_it_was_sent(kind, sent):
    decision = begin(method="POST").on_error(kind("x"), sent, 0.0)
    assert isinstance(decision, RetryAfter) is (sent is SentState.NOT_SENT)


@pytest.mark.parametrize(
    "error",
    [
        errors.BodyNotReplayable("x"),
        errors.ConfigurationError("x"),
        errors.DecodeBomb("x"),
        errors.HeaderTooLarge("x"),
        errors.LocalProtocolError("x"),
        errors.NoNodeAvailable("x"),
        errors.PoolTimeout("x"),
        errors.SerializationError("x"),
        errors.TotalTimeout("x"),
        errors.TransportClosed("x"),
        errors.CertificateError("x"),
        errors.FingerprintMismatch("x"),
        errors.ReadTimeout("x"),
        errors.WriteTimeout("x"),
        KeyboardInterrupt(),
        RuntimeError("bug"),
    ],
)
def test_what_another_attempt_cannot_cure_is_raised_at_once(error):
    assert begin().on_error(error, SentState.NOT_SENT, 0.0) == Raise(error)


@pytest.mark.parametrize(
    "kind",
    [
        errors.ConnectError,
        errors.DnsError,
        errors.ConnectTimeout,
        errors.TlsError,
        errors.ProxyError,
    ],
)
def test_a_failed_connection_is_tried_at_once_elsewhere_and_then_with_pauses(kind):
    state = begin(method="POST")
    assert state.on_error(kind("x"), SentState.NOT_SENT, 0.0, other_node=True) == RetryAfter(0.0)
    assert state.on_error(kind("x"), SentState.NOT_SENT, 0.0, other_node=True) == RetryAfter(1.0)


def test_a_failed_connection_on_the_only_node_waits():
    assert begin().on_error(errors.ConnectError("x"), SentState.NOT_SENT, 0.0) == RetryAfter(1.0)


def test_an_untrusted_certificate_is_worth_another_node_only():
    error = errors.CertificateError("expired")
    assert begin().on_error(error, SentState.NOT_SENT, 0.0, other_node=True) == RetryAfter(0.0)


def test_timeouts_are_retried_when_asked_and_harmless():
    policy = ONE_SECOND.replace(on_timeout=True)
    error = errors.ReadTimeout("x")
    assert begin(policy).on_error(error, SentState.SENT, 0.0) == RetryAfter(1.0)
    assert begin(policy, "POST").on_error(error, SentState.SENT, 0.0) == Raise(error)


def test_a_stale_connection_is_resent_once_on_the_same_node_for_free():
    state = begin(ONE_SECOND.replace(max_retries=1))
    stale = errors.StaleConnection("closed")
    assert state.on_error(stale, SentState.SENT, 0.0) == RetryAfter(0.0, same_node=True)
    assert state.retries == 0
    assert state.on_error(stale, SentState.SENT, 0.0) == RetryAfter(1.0)
    assert isinstance(state.on_error(stale, SentState.SENT, 0.0), Raise)


def test_the_free_resend_can_be_switched_off():
    policy = ONE_SECOND.replace(resend_stale=False, max_retries=0)
    assert isinstance(begin(policy).on_error(errors.StaleConnection("x"), SentState.SENT, 0), Raise)


def test_a_body_that_can_be_read_once_is_resent_only_if_unsent():
    state = begin(replayable=False)
    assert isinstance(state.on_error(errors.ConnectError("x"), SentState.NOT_SENT, 0.0), RetryAfter)
    reset = errors.ConnectionReset("x")
    decision = state.on_error(reset, SentState.PARTIAL, 0.0)
    assert isinstance(decision.error, errors.BodyNotReplayable)
    assert decision.error.__cause__ is reset
    assert begin(replayable=False).on_response(503, {}, 0.0, response=1) == Return(1)


def test_a_pause_that_would_pass_the_deadline_is_not_begun():
    late = Deadline(0.5)
    assert begin(deadline=late).on_response(503, {}, 0.0, response="r") == Return("r")
    error = errors.ConnectError("x")
    assert begin(deadline=late).on_error(error, SentState.NOT_SENT, 0.0) == Raise(error)


@pytest.mark.parametrize(
    ("headers", "pause"),
    [
        ({"retry-after": "7"}, 7.0),
        ({"Retry-After": "7"}, 7.0),
        (Headers({"Retry-After": "7"}), 7.0),
        ({"retry-after": "0"}, 1.0),
        ({"retry-after": "1.5"}, 1.5),
        ({"retry-after-ms": "2500", "retry-after": "9"}, 2.5),
        ({"x-ms-retry-after-ms": "1250"}, 1.25),
        ({"retry-after": "Thu, 01 Jan 1970 00:16:50 GMT"}, 10.0),
        (
            {
                "retry-after": "Wed, 21 Oct 2026 07:28:30 GMT",
                "date": "Wed, 21 Oct 2026 07:28:00 GMT",
            },
            30.0,
        ),
        ({"retry-after": "Wed, 21 Oct 1965 07:28:30 GMT"}, 1.0),
        ({"retry-after": "soon"}, 1.0),
        ({"retry-after": "-5"}, 1.0),
        ({"retry-after": "nan"}, 1.0),
        ({"retry-after": ""}, 1.0),
    ],
)
def test_retry_after_wins_over_the_schedule_when_it_is_longer(headers, pause):
    policy = ONE_SECOND.replace(wall_clock=lambda: 1000.0)
    assert begin(policy).on_response(503, headers, 0.0) == RetryAfter(pause)


def test_a_retry_after_of_an_hour_raises_and_keeps_the_answer():
    response = Response(503)
    state = begin()
    decision = state.on_response(503, {"retry-after": "3600"}, 2.0, response=response)
    error = decision.error
    assert isinstance(error, errors.RetryAfterExceeded)
    assert (error.delay_s, error.meta, error.body) == (3600.0, response.meta, b"body")
    assert "3600 s" in str(error)


def test_a_retry_after_of_an_hour_can_be_capped():
    policy = ONE_SECOND.replace(retry_after_excess="cap", retry_after_max_s=20)
    assert begin(policy).on_response(503, {"retry-after": "3600"}, 0.0) == RetryAfter(20.0)


@given(st.text(), st.none() | st.text())
def test_no_header_value_breaks_the_reading_of_retry_after(text, date):
    headers = {"retry-after": text} | ({} if date is None else {"date": date})
    seconds = retry_after_s(headers, lambda: 0.0)
    assert seconds is None or seconds >= 0


def test_a_response_seen_before_the_network_failed_is_returned():
    state = begin(ONE_SECOND.replace(max_retries=1))
    state.on_response(503, {}, 0.0, response="the 503")
    assert state.on_error(errors.ConnectError("x"), SentState.NOT_SENT, 1.0) == Return("the 503")


def test_or_is_attached_to_the_error():
    response = Response(503)
    state = begin(ONE_SECOND.replace(max_retries=1, prefer_response=False))
    state.on_response(503, {}, 0.0, response=response)
    error = state.on_error(errors.ConnectError("refused"), SentState.NOT_SENT, 3.0).error
    assert (error.meta, error.body) == (response.meta, b"body")
    assert error.attempts == (503,)
    assert str(error) == "refused (attempt 2 of 2, total 3.0 s)"


def test_a_limit_of_the_caller_is_never_hidden_behind_an_old_response():
    state = begin()
    state.on_response(503, {}, 0.0, response="the 503")
    error = errors.TotalTimeout("too long")
    assert state.on_error(error, SentState.SENT, 1.0) == Raise(error)


def test_the_error_lists_the_earlier_attempts_newest_first_and_pickles():
    state = begin()
    earlier = [errors.ConnectError(f"refused {n}") for n in range(3)]
    for n, error in enumerate(earlier):
        state.on_error(error, SentState.NOT_SENT, float(n))
    last = state.on_error(errors.ConnectError("refused 3"), SentState.NOT_SENT, 9.5).error
    assert last.attempts == tuple(reversed(earlier))
    assert str(last) == "refused 3 (attempt 4 of 4, total 9.5 s)"
    assert str(pickle.loads(pickle.dumps(last))) == str(last)


def test_earlier_errors_let_go_of_the_frames_of_their_attempt():
    with pytest.raises(errors.ConnectError) as caught:
        raise errors.ConnectError("x")
    begin().on_error(caught.value, SentState.NOT_SENT, 0.0)
    assert caught.value.__traceback__ is None


def test_an_empty_budget_stops_retries_and_says_so():
    policy = ONE_SECOND.replace(budget=RetryBudget(capacity=20, retry_cost=14))
    state = begin(policy)
    assert isinstance(
        state.on_error(errors.ConnectError("refused"), SentState.NOT_SENT, 0), RetryAfter
    )
    error = state.on_error(errors.ConnectError("refused"), SentState.NOT_SENT, 1.0).error
    assert isinstance(error, errors.RetryBudgetExhausted)
    assert "refused" in str(error)
    assert isinstance(error.__cause__, errors.ConnectError)
    assert begin(policy).on_response(502, {}, 0.0, response="r") == Return("r")


def test_success_gives_the_budget_back_what_the_retries_took():
    budget = RetryBudget(capacity=100)
    policy = ONE_SECOND.replace(budget=budget)
    state = begin(policy)
    state.on_response(502, {}, 0.0)
    state.on_response(503, {}, 0.0)
    assert budget.tokens == 100 - 14 - 5
    state.on_response(200, {}, 0.0)
    assert budget.tokens == 100
    budget.acquire(10)
    assert policy.settles(200)
    assert budget.tokens == 91


def test_classify_adds_and_removes_causes_but_never_lifts_the_rule_on_writes():
    verdicts = {500: True, 503: False}
    policy = ONE_SECOND.replace(
        classify=lambda cause: verdicts.get(cause) if isinstance(cause, int) else True
    )
    assert not policy.settles(500)
    assert begin(policy).on_response(500, {}, 0.0) == RetryAfter(1.0)
    assert begin(policy).on_response(503, {}, 0.0, response=1) == Return(1)
    assert begin(policy).on_response(502, {}, 0.0) == RetryAfter(1.0)
    assert begin(policy, "POST").on_response(500, {}, 0.0, response=1) == Return(1)
    assert begin(policy).on_error(RuntimeError(), SentState.SENT, 0.0) == RetryAfter(1.0)
    assert isinstance(begin(policy, "POST").on_error(OSError(), SentState.SENT, 0.0), Raise)


@pytest.mark.parametrize(
    "options",
    [
        {"max_retries": -1},
        {"max_retries": True},
        {"max_retries": 1.5},
        {"retry_after_max_s": -1},
        {"retry_after_max_s": float("inf")},
        {"retry_after_excess": "ignore"},
        {"on_status": [99]},
        {"on_status": ["503"]},
        {"idempotent_methods": ["get"]},
    ],
)
def test_bad_options_are_refused_at_construction(options):
    with pytest.raises(errors.ConfigurationError, match="expected"):
        RetryPolicy(**options)


def test_policies_are_values():
    assert RetryPolicy(on_status=[503]) == RetryPolicy(on_status={503})
    assert RetryPolicy(rng=random.Random(1)) == RetryPolicy()
