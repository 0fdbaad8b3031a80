import pytest
from transport_utils.errors import SentState
from transport_utils.idempotency import is_idempotent, may_resend, new_idempotency_key


@pytest.mark.parametrize(
    ("method", "word", "headers", "expected"),
    [
        ("GET", None, None, True),
        ("PUT", None, None, True),
        ("DELETE", None, None, True),
        ("POST", None, None, False),
        ("PATCH", None, {}, False),
        ("POST", True, None, True),
        ("GET", False, None, False),
        ("POST", None, {"Idempotency-Key": "k"}, True),
        ("POST", None, {"Idempotency-Key": None}, False),
        ("POST", False, {"idempotency-key": "k"}, False),
        ("POST", None, {"x": "y"}, False),
    ],
)
def test_the_callers_word_beats_the_key_and_the_key_beats_the_method(
    method, word, headers, expected
):
    assert is_idempotent(method, word, headers) is expected


@pytest.mark.parametrize("sent", list(SentState))
def test_only_an_unsent_request_may_be_repeated_without_idempotency(sent):
    assert may_resend(True, sent)
    assert may_resend(False, sent) is (sent is SentState.NOT_SENT)


def test_each_operation_gets_its_own_key():
    keys = {new_idempotency_key() for _ in range(100)}
    assert len(keys) == 100
    assert {len(key) for key in keys} == {36}
