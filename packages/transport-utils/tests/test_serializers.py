import collections
import dataclasses
import datetime
import decimal
import enum
import json
import math
import uuid

import numpy
import pytest
from hypothesis import given
from hypothesis import strategies as st
from transport_utils.errors import ConfigurationError, SerializationError
from transport_utils.serializers import (
    BytesSerializer,
    JsonSerializer,
    NdjsonSerializer,
    SerializerRegistry,
    TextSerializer,
)

FAST = JsonSerializer()
SLOW = JsonSerializer(fast=False)

any_text = st.text(st.characters(codec=None))
any_scalar = st.none() | st.booleans() | st.integers() | st.floats() | any_text
any_json = st.recursive(
    any_scalar,
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(any_text | st.integers() | st.booleans() | st.none(), inner, max_size=4)
    ),
    max_leaves=20,
)


def same(one, other):
    """Equal, where NaN equals NaN and 1 differs from 1.0 and True."""
    if type(one) is not type(other):
        return False
    if isinstance(one, float):
        return one == other or (math.isnan(one) and math.isnan(other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


def attempt(serializer, data):
    try:
        return serializer.loads(data)
    except SerializationError as error:
        return error.body


@given(st.dictionaries(any_text, any_json) | st.lists(any_json))
def test_the_fast_way_and_the_standard_library_agree_on_every_value(data):
    fast, slow = FAST.dumps(data), SLOW.dumps(data)
    assert same(json.loads(fast), json.loads(slow))
    assert same(FAST.loads(slow), SLOW.loads(fast))


@given(st.binary() | st.text().map(str.encode))
def test_they_agree_on_what_is_not_json(data):
    results = [attempt(serializer, data) for serializer in (FAST, SLOW)]
    assert same(*results)


@pytest.mark.parametrize("length", [1, 30, 5000])
@pytest.mark.parametrize(
    "number", [2**64, -(2**63) - 1, 10**40, 2**63 - 1, -(2**63), 2**64 - 1, 1234567890123456789]
)
@given(offset=st.integers(0, 11))
def test_long_integers_stay_exact_wherever_they_stand(number, length, offset):
    document = {"a" * offset: ["x" * length, number, "y" * length]}
    assert FAST.loads(json.dumps(document).encode()) == document
    assert FAST.loads(FAST.dumps(document)) == document


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (float("nan"), "NaN"),
        ([None, float("-inf")], "[null,-Infinity]"),
        ({"a": None, "b": {"c": (float("inf"),)}}, '{"a":null,"b":{"c":[Infinity]}}'),
        ([numpy.array([1.0, float("nan")])], "[[1.0,NaN]]"),
        (numpy.array([[1, 2], [3, 4]]), "[[1,2],[3,4]]"),
        (numpy.float64(2.5), "2.5"),
        ({1: 2, None: 3, False: 4}, '{"1":2,"null":3,"false":4}'),
        (["\ud800"], '["\\ud800"]'),
        (["ä€"], '["ä€"]'),
        (datetime.date(2026, 1, 2), '"2026-01-02"'),
        (
            datetime.datetime(2026, 1, 2, 3, 4, 5, 6, tzinfo=datetime.timezone.utc),
            '"2026-01-02T03:04:05.000006+00:00"',
        ),
        (datetime.time(1, 2, tzinfo=datetime.timezone.utc), '"01:02:00+00:00"'),
        (uuid.UUID(int=5), '"00000000-0000-0000-0000-000000000005"'),
        (decimal.Decimal("1.5"), "1.5"),
        (collections.namedtuple("Pair", "a b")(1, 2), "[1,2]"),
        (enum.Enum("Colour", "RED").RED, "1"),
        (dataclasses.make_dataclass("Point", ["x", "_y"])(1, 2), '{"x":1,"_y":2}'),
    ],
)
def test_values_have_one_spelling(value, text):
    assert FAST.dumps(value).decode() == SLOW.dumps(value).decode() == text


def test_bodies_that_are_json_already_pass():
    assert FAST.dumps(b"{ }") == FAST.dumps("{ }") == b"{ }"


def test_an_empty_body_is_none():
    assert FAST.loads(b"") is None


def test_a_byte_order_mark_is_read():
    assert FAST.loads(b"\xef\xbb\xbf[1]") == [1]


def circle():
    items = []
    items.append(items)
    return items


@pytest.mark.parametrize("value", [object(), {"a": object()}, {1, 2}, circle(), int], ids=repr)
def test_objects_without_a_json_form_are_refused_by_name(value):
    for serializer in (FAST, SLOW):
        with pytest.raises(SerializationError, match="no JSON form"):
            serializer.dumps(value)


def test_other_objects_can_be_given_a_form():
    serializer = JsonSerializer(default=lambda value: "ours")
    assert serializer.dumps([object()]) == b'["ours"]'


def test_broken_json_says_where_and_shows_the_beginning():
    with pytest.raises(SerializationError, match=r"not JSON.*column 2.*'\{oops'") as caught:
        FAST.loads(b"{oops")
    assert caught.value.body == b"{oops"


def test_without_orjson_all_is_the_same(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "orjson", None)
    serializer = JsonSerializer()
    assert serializer.dumps({"a": [1, "ä"]}) == FAST.dumps({"a": [1, "ä"]})
    assert serializer.loads(b"[1]") == [1]


def test_lines_end_and_come_back():
    ndjson = NdjsonSerializer()
    body = ndjson.dumps([{"a": 1}, '{"b": 2}', b'{"c": 3}\n'])
    assert body == b'{"a":1}\n{"b": 2}\n{"c": 3}\n'
    assert ndjson.loads(body + b"\n") == [{"a": 1}, {"b": 2}, {"c": 3}]
    assert ndjson.dumps('{"a": 1}') == b'{"a": 1}\n'
    assert ndjson.dumps(iter([{}])) == b"{}\n"
    assert ndjson.dumps([]) == b""


@pytest.mark.parametrize("value", [{"a": 1}, 5, None])
def test_ndjson_wants_many_documents(value):
    with pytest.raises(SerializationError, match="iterable"):
        NdjsonSerializer().dumps(value)


@given(any_text)
def test_text_comes_back(text):
    serializer = TextSerializer()
    assert serializer.loads(serializer.dumps(text)) == text


def test_text_and_bytes_refuse_objects():
    with pytest.raises(SerializationError):
        TextSerializer().dumps({"a": 1})
    with pytest.raises(SerializationError):
        BytesSerializer().dumps("text")
    assert BytesSerializer().dumps(memoryview(b"x")) == b"x"


@pytest.mark.parametrize(
    ("content_type", "body", "value"),
    [
        ("application/json", b"[1]", [1]),
        ("Application/JSON; charset=utf-8", b"[1]", [1]),
        ("application/problem+json", b"[1]", [1]),
        ("application/x-ndjson", b"1\n2\n", [1, 2]),
        ("text/html", "ä".encode(), "ä"),
        ("text/plain; charset=iso-8859-1", b"\xe4", "ä"),
        ('text/plain; format=flowed; charset="utf-8"', "ä".encode(), "ä"),
        ("application/octet-stream", b"\x00", b"\x00"),
        ("image/png", b"\x89PNG", b"\x89PNG"),
        (None, b"[1]", [1]),
        ("", b"[1]", [1]),
    ],
)
def test_bodies_are_read_by_content_type_and_unknown_ones_stay_bytes(content_type, body, value):
    assert SerializerRegistry().loads(body, content_type) == value


def test_bodies_are_written_by_content_type():
    registry = SerializerRegistry()
    assert registry.dumps({"a": 1}) == b'{"a":1}'
    assert registry.dumps([1], "application/x-ndjson") == b"1\n"
    assert registry.dumps(b"x", "image/png") == b"x"
    with pytest.raises(SerializationError, match="image/png"):
        registry.dumps({"a": 1}, "image/png")


@pytest.mark.parametrize("status", [400, 502, 302])
def test_a_failure_status_is_not_hidden_by_its_body(status):
    value, reason = SerializerRegistry().decode(b"<html>", "application/json", status)
    assert value == b"<html>"
    assert "not JSON" in reason
    assert SerializerRegistry().decode(b"{}", "application/json", status) == ({}, None)


def test_a_success_that_does_not_decode_is_an_error():
    with pytest.raises(SerializationError):
        SerializerRegistry().decode(b"<html>", "application/json", 200)


def test_an_unknown_charset_is_said():
    with pytest.raises(SerializationError, match="klingon"):
        SerializerRegistry().loads(b"x", "text/plain; charset=klingon")


class Upper:
    mimetype = "application/x-upper"

    def dumps(self, data):
        return data.upper().encode()

    def loads(self, data):
        return data.decode().lower()


@pytest.mark.parametrize("given_as", [[Upper()], {"application/x-upper": Upper()}])
def test_own_serializers_are_added(given_as):
    registry = SerializerRegistry(given_as)
    assert registry.dumps("abc", "application/x-upper") == b"ABC"
    assert registry.loads(b"ABC", "application/x-upper") == "abc"


def test_own_serializers_replace_and_serve_whole_types():
    registry = SerializerRegistry({"application/json": Upper(), "image/*": Upper()})
    assert registry.dumps("abc") == b"ABC"
    assert registry.loads(b"ABC", "image/png") == "abc"


@pytest.mark.parametrize(
    "serializer", [object(), Upper, type("Half", (), {"mimetype": "a/b", "dumps": print})()]
)
def test_what_is_no_serializer_is_refused(serializer):
    with pytest.raises(ConfigurationError):
        SerializerRegistry().register(serializer, None if serializer is not Upper else "nothing")
