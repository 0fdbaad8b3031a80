"""Typed attributes: what is written is what is read back, and what cannot be stored is refused by name."""

import array
import datetime
import decimal
import enum
import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st
from v3io import attributes
from v3io.dataplane import kv_array, kv_timestamp

UTC = datetime.timezone.utc
SCALARS = st.one_of(
    st.text(max_size=20),
    st.integers(),
    st.floats(allow_nan=False),
    st.booleans(),
    st.binary(max_size=30).filter(
        lambda raw: not raw.startswith(kv_array.ITEM_HEADER_MAGIC_AND_VERSION)
    ),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
    st.lists(st.floats(allow_nan=False), min_size=1, max_size=5),
    st.datetimes(timezones=st.just(UTC)),
)


@given(st.dictionaries(st.text(max_size=5), SCALARS, max_size=5))
def test_attributes_survive_the_round_trip(item):
    assert attributes.decode(attributes.encode(item)) == item


@given(st.datetimes(timezones=st.just(UTC)))
def test_timestamps_are_exact_to_the_microsecond(moment):
    assert kv_timestamp.decode(kv_timestamp.encode(moment)) == moment


def test_timestamps_round_nanoseconds_and_floor_seconds_before_1970():
    assert (
        kv_timestamp.encode(datetime.datetime(1969, 12, 31, 23, 59, 59, 500000, UTC))
        == "-1:500000000"
    )
    assert kv_timestamp.decode("0:1500").microsecond == 2
    assert kv_timestamp.decode("0:999999999") == datetime.datetime(1970, 1, 1, 0, 0, 1, 0, UTC)


@pytest.mark.parametrize("text", ["", "1", "1:", ":1", "1:-1", "1:1000000000", "a:b"])
def test_malformed_timestamps_are_refused(text):
    with pytest.raises(ValueError):
        kv_timestamp.decode(text)


@given(st.binary(max_size=60))
def test_decoding_any_bytes_as_an_array_ends_in_a_list_or_value_error(raw):
    for candidate in (raw, kv_array.ITEM_HEADER_MAGIC_AND_VERSION + raw):
        try:
            assert isinstance(kv_array.decode(candidate), list)
        except ValueError as refused:
            assert str(refused) == "Not an encoded array"


@pytest.mark.parametrize("typecode", "bBhHiIlLqQ")
def test_every_integer_array_decodes_to_its_elements(typecode):
    encoded = attributes.encode({"a": array.array(typecode, [0, 1, 100])})
    assert attributes.decode(encoded) == {"a": [0, 1, 100]}


@pytest.mark.parametrize("typecode", "fd")
def test_every_float_array_decodes_to_its_elements(typecode):
    assert attributes.decode(attributes.encode({"a": array.array(typecode, [0.5, -2.0])})) == {
        "a": [0.5, -2.0]
    }


def test_the_length_limit_counts_bytes():
    attributes.encode({"s": "x" * 61199})
    with pytest.raises(
        AttributeError, match=r"Attribute s is too long\(61200 bytes\) when max is 61199 bytes"
    ):
        attributes.encode({"s": "€" * 20400})


@pytest.mark.parametrize(
    ("value", "error", "text"),
    [
        (None, AttributeError, "Attribute x has unsupported type <class 'NoneType'>"),
        ({}, AttributeError, "unsupported type"),
        (float("nan"), ValueError, "NaN"),
        ([1, 2.5], struct.error, "integer"),
    ],
)
def test_what_the_platform_cannot_store_is_refused(value, error, text):
    with pytest.raises(error, match=text):
        attributes.encode({"x": value})


@pytest.mark.filterwarnings("ignore:The 'u' type code")
def test_an_array_of_characters_is_refused():
    with pytest.raises(ValueError, match="typecode"):
        attributes.encode({"x": array.array("u", "ab")})


class Level(enum.IntEnum):
    HIGH = 3


class Name(str):
    __slots__ = ()

    def __str__(self):
        return "not the value"


def test_subclasses_are_stored_as_their_base():
    encoded = attributes.encode({"e": Level.HIGH, "d": decimal.Decimal("1.50"), "s": Name("n")})
    assert encoded["e"] == {"N": "3"}
    assert encoded["d"] == {"N": "1.50"}


def test_a_registered_type_is_encoded_by_its_encoder():
    attributes.register(complex, lambda name, value: {"S": str(value)})
    assert attributes.encode({"c": 1j}) == {"c": {"S": "1j"}}


def test_numpy_values_are_stored_as_python_values_and_array_blobs():
    np = pytest.importorskip("numpy")
    encoded = attributes.encode(
        {
            "i": np.int32(3),
            "f": np.float64(0.5),
            "b": np.bool_(True),
            "l": np.arange(3),
            "d": np.array([0.5], "f4"),
        }
    )
    assert attributes.decode(encoded) == {"i": 3, "f": 0.5, "b": True, "l": [0, 1, 2], "d": [0.5]}
    with pytest.raises(AttributeError, match="2 dimensions"):
        attributes.encode({"m": np.zeros((2, 2))})
