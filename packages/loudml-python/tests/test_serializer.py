"""Bodies to objects and back."""

import datetime
import decimal
import json
import math
import uuid

import pytest
from hypothesis import given
from hypothesis import strategies as st
from loudml import ImproperlyConfigured, SerializationError
from loudml.serializer import DEFAULT_SERIALIZERS, Deserializer, JSONSerializer, TextSerializer

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


class SetEncoder(JSONSerializer):
    def default(self, obj):
        if isinstance(obj, (set, datetime.date)):
            return "seen"
        return JSONSerializer.default(self, obj)


@given(json_values)
def test_json_comes_back(value):
    serializer = JSONSerializer()
    assert serializer.loads(serializer.dumps([value])) == json.loads(json.dumps([value]))


def test_json_is_compact_text_as_before():
    moment = datetime.datetime(2020, 1, 2, 3, 4, 5, 6)
    value = {
        "é": [1, 2.5, True, None],
        "date": moment,
        "day": moment.date(),
        "uuid": uuid.UUID(int=1),
        "decimal": decimal.Decimal("1.5"),
    }
    assert JSONSerializer().dumps(value) == (
        '{"é":[1,2.5,true,null],"date":"2020-01-02T03:04:05.000006","day":"2020-01-02",'
        '"uuid":"00000000-0000-0000-0000-000000000001","decimal":1.5}'
    )


def test_values_that_only_the_standard_library_writes():
    assert (
        JSONSerializer().dumps([math.nan, 2**70, {1: 2}]) == '[NaN,1180591620717411303424,{"1":2}]'
    )
    assert math.isnan(JSONSerializer().loads("[NaN]")[0])


def test_text_and_bytes_pass_through():
    assert JSONSerializer().dumps("[1]") == "[1]"
    assert JSONSerializer().dumps(b"[1]") == b"[1]"
    assert JSONSerializer().loads(b"[1]") == [1]


def test_an_overridden_default_sees_all_that_json_does_not_know():
    assert SetEncoder().dumps([{1}, datetime.date(2020, 1, 1), uuid.UUID(int=0)]) == (
        '["seen","seen","00000000-0000-0000-0000-000000000000"]'
    )


def test_what_has_no_form_is_an_error_with_the_data():
    with pytest.raises(SerializationError) as error:
        JSONSerializer().dumps({"a": object})
    assert error.value.args[0] == {"a": object}
    assert isinstance(error.value.args[1], TypeError)
    with pytest.raises(SerializationError) as error:
        JSONSerializer().loads("{")
    assert error.value.args[0] == "{"
    assert isinstance(error.value.args[1], ValueError)


def test_text():
    assert TextSerializer().loads("a") == TextSerializer().dumps("a") == "a"
    with pytest.raises(SerializationError, match="Cannot serialize"):
        TextSerializer().dumps(5)


@pytest.mark.parametrize(
    ("mimetype", "value"),
    [
        (None, [1]),
        ("", [1]),
        ("application/json", [1]),
        (" Application/JSON ; charset=UTF-8", [1]),
        ("text/plain", "[1]"),
        ("text/html; charset=utf-8", "[1]"),
    ],
)
def test_serializer_is_chosen_by_mimetype(mimetype, value):
    assert Deserializer(DEFAULT_SERIALIZERS).loads("[1]", mimetype) == value


def test_unknown_mimetypes_and_missing_defaults_are_errors():
    with pytest.raises(SerializationError, match="unable to deserialize: image/png"):
        Deserializer(DEFAULT_SERIALIZERS).loads("x", "image/png")
    with pytest.raises(ImproperlyConfigured, match=r"Cannot find default serializer \(x/y\)"):
        Deserializer(DEFAULT_SERIALIZERS, "x/y")
