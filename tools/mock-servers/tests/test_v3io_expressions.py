"""The expression language against the rules of the platform's reference."""

import base64
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mock_servers.v3io.errors import ServiceError
from mock_servers.v3io.expressions import compile_condition, compile_update
from mock_servers.v3io.functions import EvaluationError
from mock_servers.v3io.values import Array, Timestamp, decode, encode, parse_blob

ITEM = {
    "age": 42,
    "name": "linda",
    "ratio": 0.5,
    "ok": True,
    "arr": Array("q", [1, 2, 3, 4, 5]),
    "dbl": Array("d", [1.5, 2.5]),
    "at": Timestamp(100, 5),
    "sum": 7,
}


@pytest.mark.parametrize(
    "text",
    [
        "age == 42",
        "age==42 and name=='linda'",
        'name == "linda"',
        "age > 15 AND NOT (age >= 43)",
        "age != 41 or absent == 1",
        "age <> 41",
        "not(exists(state))",
        "exists(age)",
        "NOT(absent == 1)",
        "absent == 1 or age == 42",
        "age in (1, 42)",
        "name IN ('bob', 'linda')",
        "starts(name, 'lin') and ends(name, 'da') and contains(name, 'ind')",
        "length(name) == 5",
        "length(arr[1..3]) == 3",
        "length('abc' + 'efg') == 6",
        "arr[0] + arr[4] == 6",
        "arr[age - 40] == 3",
        "2 + 3 * 4 == 14",
        "(2 + 3) * 4 == 20",
        "7 / 2 == 3",
        "-7 / 2 == -3",
        "-7 % 3 == -1",
        "7.0 / 2 == 3.5",
        "-age == -42",
        "age > 1e1",
        "age < inf",
        "age < maxdbl",
        "at == 100:5",
        "at < 100:6",
        "`sum` == 7",
        "min(arr) == 1 and max(arr[0..2]) == 3",
        "max(1.0, 9) == 9.0",
        "min('a', 'b') == 'a'",
        "ok",
        "ok == true",
        "isnan(nan)",
        "name == 'it\\'s' or true",
        "age == 42.0",
        "name < 'z' and 'Z' < name",
        "sqrt(16) == 4 and to_int('7') == 7 and str(5) == '5'",
        "avg(dbl) == 2 and stddev(dbl) == 0.5",
        "nanaszero(nan) == 0",
        "if_else(age > 50, absent, 1) == 1",
        "if_not_exists(absent, 5) == 5",
        "order_in == 1 or true",
    ],
)
def test_condition_holds(text):
    assert compile_condition(text)(dict(ITEM)) is True


@pytest.mark.parametrize(
    "text",
    [
        "absent == 1",
        "absent != 1",
        "absent",
        "name == 42",
        "name > 5",
        "exists(absent)",
        "absent in (1, 2)",
        "arr[5] == 1",
        "age / 0 == 1",
        "name * 2 == 4",
        "arr > 1",
        "length(age) == 2",
        "contains(age, 'x')",
        "sqrt(0 - 1) == 1",
    ],
)
def test_condition_is_false(text):
    assert compile_condition(text)(dict(ITEM)) is False


@pytest.mark.parametrize(
    "text",
    ["", "age ==", "age = = 1", "sum == 1", "nosuch(age)", "age == 1)", "length()", "a b", "'open"],
)
def test_bad_condition_is_refused_with_400(text):
    with pytest.raises(ServiceError, match="expression") as caught:
        compile_condition(text)
    assert caught.value.status == 400


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("age = age + 1", "age", 43),
        ("SET age = age + 1; age = age * 2;", "age", 86),
        ("set a = 'x'; remove age", "a", "x"),
        ("a = if_not_exists(a, 5) + 1", "a", 6),
        ("a = init_array(2, 'int')", "a", Array("q", [0, 0])),
        ("a = init_array(2,'double',0.5); a[1] = 3", "a", Array("d", [0.5, 3.0])),
        (
            "a=init_array(2,'double',0.0);a[0..1]=pmax(a[0..1], dbl[0..1])",
            "a",
            Array("d", [1.5, 2.5]),
        ),
        ("arr[2..4]=psum(arr[2..4], arr[0..2])", "arr", Array("q", [1, 2, 4, 6, 8])),
        ("arr[1]=arr[1]*2", "arr", Array("q", [1, 4, 3, 4, 5])),
        ("b = arr[0..1]", "b", Array("q", [1, 2])),
        (
            "x=if_else((if_not_exists(_x_a,0:0)<1580700000:0),init_array(3,'double',0.0),x);"
            "x[2]=if_else((if_not_exists(_x_a,0:0)>1580700000:0),x[2],x[2]+5.0)",
            "x",
            Array("d", [0.0, 0.0, 5.0]),
        ),
        ("m = max(true, 0)", "m", True),
        ("m = min(arr[0], 0.5)", "m", 0.5),
    ],
)
def test_update_expression_writes(text, name, value):
    item = dict(ITEM)
    compile_update(text)(item)
    assert item[name] == value


def test_blob_of_an_array_acts_as_the_array():
    blob = base64.b64encode(Array("q", [1, 1, 1, 1, 1]).blob()).decode()
    item = dict(ITEM)
    compile_update(f"arr[0..4] = psum(arr[0..4], blob('{blob}'))")(item)
    assert item["arr"] == Array("q", [2, 3, 4, 5, 6])


def test_delete_and_remove_take_an_attribute_away():
    item = dict(ITEM)
    compile_update("delete(age); REMOVE name; remove absent")(item)
    assert "age" not in item
    assert "name" not in item


@pytest.mark.parametrize(
    "text",
    [
        "a = absent + 1",
        "a = absent",
        "arr[9] = 1",
        "arr[0..1] = dbl[0..0]",
        "arr[0] = 'x'",
        "a = name + 1",
        "a = init_array(2, 'text')",
        "a = psum(arr, dbl)",
        "age[0] = 1",
        "a = blob('??')",
        "arr[3..1] = arr[0..1]",
    ],
)
def test_update_that_cannot_be_carried_out_raises(text):
    with pytest.raises(EvaluationError):
        compile_update(text)(dict(ITEM))


values = st.one_of(
    st.text(),
    st.integers(),
    st.floats(allow_nan=False),
    st.booleans(),
    st.binary(max_size=40),
    st.builds(Timestamp, st.integers(-(10**10), 10**10), st.integers(0, 999_999_999)),
    st.builds(Array, st.just("q"), st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5)),
    st.builds(Array, st.just("d"), st.lists(st.floats(allow_nan=False), max_size=5)),
)


@given(values)
def test_every_value_survives_the_wire(value):
    assert decode(encode(value)) == value


@given(st.binary(max_size=64))
def test_any_blob_parses_to_itself_or_to_an_array_of_the_same_bytes(raw):
    parsed = parse_blob(raw)
    assert (parsed.blob() if isinstance(parsed, Array) else parsed) == raw


@given(st.text(alphabet="ab1.='\"`()[]<>;, +-*/%:\\notadri", max_size=30))
def test_any_text_compiles_or_is_refused(text):
    for compile_text in (compile_condition, compile_update):
        with contextlib.suppress(ServiceError):
            compile_text(text)
