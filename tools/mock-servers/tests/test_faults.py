import pytest
from hypothesis import given
from hypothesis import strategies as st
from mock_servers.faults import Fault, FaultBoard


def test_fault_strikes_the_stated_number_of_times():
    board = FaultBoard()
    board.add(Fault("status", times=2))
    assert [board.take("GET", "/", "n") is not None for _ in range(3)] == [True, True, False]
    assert board.shown() == []


def test_fault_lets_the_skipped_requests_through():
    board = FaultBoard()
    board.add(Fault("drop", skip=1, times=1))
    assert [board.take("GET", "/", "n") is not None for _ in range(3)] == [False, True, False]


@pytest.mark.parametrize(
    ("fault", "struck"),
    [
        (Fault("drop", method="POST"), False),
        (Fault("drop", method="GET"), True),
        (Fault("drop", path="/models*"), True),
        (Fault("drop", path="/models"), False),
        (Fault("drop", node="node-2"), False),
        (Fault("drop", node="node-1"), True),
    ],
)
def test_fault_strikes_only_the_requests_it_names(fault, struck):
    board = FaultBoard()
    board.add(fault)
    assert (board.take("GET", "/models/a", "node-1") is not None) is struck


def test_removed_fault_strikes_no_more():
    board = FaultBoard()
    number = board.add(Fault("drop"))
    assert board.remove(number)
    assert not board.remove(number)
    assert board.take("GET", "/", "n") is None


def test_same_seed_strikes_the_same_requests():
    def struck(seed: int) -> list[bool]:
        board = FaultBoard(seed)
        board.add(Fault("drop", probability=0.5))
        return [board.take("GET", "/", "n") is not None for _ in range(50)]

    assert struck(1) == struck(1)
    assert 0 < sum(struck(1)) < 50


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([], "expected a JSON object"),
        ({}, "missing"),
        ({"action": "explode"}, "expected one of delay, drip, drop, hang"),
        ({"action": "drop", "colour": 1}, "unknown field 'colour'"),
        ({"action": "drop", "times": 0}, "times is 0"),
        ({"action": "drop", "times": "x"}, "wrong type"),
        ({"action": "status", "status": 99}, "status is 99"),
        ({"action": "drop", "probability": 2}, "probability is 2"),
        ({"action": "delay", "delay_s": -1}, "must not be negative"),
    ],
)
def test_bad_fault_is_refused_with_what_was_expected(values, message):
    with pytest.raises(ValueError, match=message):
        Fault.from_json(values)


@given(st.integers(1, 5), st.integers(0, 5), st.integers(0, 20))
def test_strikes_never_exceed_times_after_skip(times, skip, requests):
    board = FaultBoard()
    board.add(Fault("drop", times=times, skip=skip))
    struck = [board.take("GET", "/", "n") is not None for _ in range(requests)]
    assert sum(struck) == min(times, max(requests - skip, 0))
    assert not any(struck[:skip])
