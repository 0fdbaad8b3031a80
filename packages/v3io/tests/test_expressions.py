"""Expressions quote safely, render with the platform's precedence, parse back, and evaluate as the server does."""

import datetime
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st
from v3io.expression_parser import ExpressionSyntaxError, parse
from v3io.expressions import (
    attr,
    binary,
    call,
    element,
    if_else,
    if_not_exists,
    increment,
    remove,
    set_,
    value,
)

BUILT = [
    (attr("age") > 15, "age > 15"),
    ((attr("a") > 1) & (attr("b") == "x"), "a > 1 AND b == 'x'"),
    ((attr("a") > 1) | (attr("b") == "x") & (attr("c") != 2), "a > 1 OR b == 'x' AND c != 2"),
    (((attr("a") > 1) | (attr("b") <= 2)) & (attr("c") < 3), "(a > 1 OR b <= 2) AND c < 3"),
    (~attr("state").exists(), "NOT (exists(state))"),
    (attr("sum") >= 1, "`sum` >= 1"),
    (attr("name").isin("x", "y"), "name IN ('x', 'y')"),
    (attr("q") == "it's", 'q == "it\'s"'),
    (attr("arr")[1] * 2 + 1, "arr[1] * 2 + 1"),
    (attr("arr")[0:5], "arr[0..4]"),
    (attr("x") - (attr("y") - 1), "x - (y - 1)"),
    (2 * (1 + attr("x")), "2 * (1 + x)"),
    (3 - attr("x"), "3 - x"),
    (-attr("x") / 2, "-x / 2"),
    (attr("x") % 2 == 0, "x % 2 == 0"),
    (attr("ok") == True, "ok == true"),  # noqa: E712
    (
        attr("s").contains("a") & attr("s").startswith("b") & attr("s").endswith("c"),
        "contains(s, 'a') AND starts(s, 'b') AND ends(s, 'c')",
    ),
    (attr("s").length() == 6, "length(s) == 6"),
    (attr("t") > datetime.datetime(2020, 2, 3, tzinfo=datetime.timezone.utc), "t > 1580688000:0"),
    (if_else(attr("x") > 1, 1, "two"), "if_else(x > 1, 1, 'two')"),
]


@pytest.mark.parametrize(("expression", "text"), BUILT, ids=[text for _, text in BUILT])
def test_an_expression_renders_parses_back_and_pickles(expression, text):
    assert str(expression) == text
    assert str(parse(text)) == text
    assert str(pickle.loads(pickle.dumps(expression))) == text


def test_updates_join_their_actions_in_order():
    update = (
        set_("a", 1) & set_(attr("arr")[2], attr("arr")[2] + 5.0) & remove("x") & increment("n")
    )
    assert str(update) == (
        "SET a = 1; SET arr[2] = arr[2] + 5.0; REMOVE x; SET n = if_not_exists(n, 0) + 1"
    )


@pytest.mark.parametrize(
    ("text", "item", "holds"),
    [
        ("age > 15", {"age": 42}, True),
        ("age > 15", {}, False),
        ("NOT (age > 15)", {}, True),
        ("NOT age > 15", {"age": 42}, False),
        ("not_there == 1 OR x == 1", {"x": 1}, True),
        ("x != 1", {}, False),
        ("x != 1", {"x": "1"}, True),
        ("x < 'a'", {"x": 1}, False),
        ("x == 1.0", {"x": 1}, True),
        ("x <> 1", {"x": 2}, True),
        ("x IN (1, 'b')", {"x": "b"}, True),
        ("exists(x) and not exists(y)", {"x": None}, True),
        ("starts(s, 'ab') OR ends(s, 'yz')", {"s": "xyz"}, True),
        ("contains(s, 'q')", {"s": "xyz"}, False),
        ("length('abc' + s) == 6", {"s": "xyz"}, True),
        ("arr[1] == 2 AND length(arr[0..1]) == 2", {"arr": [1, 2, 3]}, True),
        ("a + b * 2 == 7", {"a": 1, "b": 3}, True),
        ("7 / 2 == 3 AND 7 % 4 == 3", {}, True),
        ("-a == 0 - 1", {"a": 1}, True),
        ("flag", {"flag": True}, True),
        ("flag", {}, False),
        ("`sum` >= .5e1", {"sum": 5}, True),
        ("if_not_exists(n, 3) == 3", {}, True),
        ("if_else(x > 1, missing, 1) == 1", {"x": 0}, True),
        (
            "t < 1580702706:0",
            {"t": datetime.datetime(2020, 1, 1, tzinfo=datetime.timezone.utc)},
            True,
        ),
        ("max(a, 9) == 9 and min(a, 9) == 1 and isnan(n)", {"a": 1, "n": float("nan")}, True),
    ],
)
def test_a_condition_matches_as_on_the_server(text, item, holds):
    assert parse(text).matches(item) is holds


@pytest.mark.parametrize(
    "text",
    [
        "",
        "age >",
        "age > > 1",
        "(a",
        "a b",
        "'open",
        "a[1",
        "f(",
        "x IN ()",
        "a ! b",
        "sum > 1",
        "1:-1",
        "(" * 300,
    ],
)
def test_malformed_text_is_refused_with_its_position(text):
    with pytest.raises(ExpressionSyntaxError):
        parse(text)


@given(st.text(max_size=30))
def test_parsing_any_text_ends_in_an_expression_or_a_syntax_error(text):
    try:
        parsed = parse(text)
    except ExpressionSyntaxError:
        return
    except ValueError as refused:  # a name or literal that the language cannot hold
        assert "expected" in str(refused) or "takes" in str(refused)
        return
    assert str(parse(str(parsed))) == str(parsed)


_LEAVES = st.one_of(
    st.sampled_from([attr("a"), attr("b"), attr("sum")]),
    st.integers(0, 10**6).map(value),
    st.text(st.characters(exclude_characters="'\"", codec="utf-8"), max_size=5).map(value),
    st.booleans().map(value),
)


def _grown(children):
    return st.one_of(
        st.builds(
            binary,
            st.sampled_from(["==", "!=", "<", "<=", ">", ">=", "+", "-", "*", "/", "%"]),
            children,
            children,
        ),
        st.builds(lambda left, right: left & right, children, children),
        st.builds(lambda left, right: left | right, children, children),
        st.builds(lambda one: ~one, children),
        st.builds(lambda one: -one, children),
        st.builds(lambda one, two: one.isin(two), children, children),
        st.builds(lambda one, two: call("max", one, two), children, children),
    )


@given(st.recursive(_LEAVES, _grown, max_leaves=12))
def test_rendering_and_parsing_are_inverse(expression):
    assert str(parse(str(expression))) == str(expression)


@pytest.mark.parametrize(
    ("build", "error"),
    [
        (lambda: attr("1a"), ValueError),
        (lambda: attr("a b"), ValueError),
        (lambda: attr("x") == "both ' and \"", ValueError),
        (lambda: attr("x") == float("nan"), ValueError),
        (lambda: attr("x") == None, TypeError),  # noqa: E711
        (lambda: attr("x") > 1 and attr("y") > 1, TypeError),
        (lambda: attr("x") & 1, TypeError),
        (lambda: attr("x").isin(), ValueError),
        (lambda: attr("x")[1:], ValueError),
        (lambda: list(attr("x")), TypeError),
        (lambda: set_(attr("x") + 1, 1), TypeError),
        (lambda: call("exists", attr("x"), 1), ValueError),
        (lambda: call("a b"), ValueError),
        (lambda: binary("**", 1, 2), ValueError),
        (lambda: attr("x").evaluate({}), LookupError),
        (lambda: call("psum", attr("x"), 1).evaluate({"x": 1}), NotImplementedError),
    ],
)
def test_bad_use_is_refused(build, error):
    with pytest.raises(error):
        build()


def test_an_element_and_a_value_evaluate_for_one_item():
    assert element(attr("a"), 0).evaluate({"a": [7]}) == 7
    assert if_not_exists("a", 3).evaluate({"a": 1}) == 1
