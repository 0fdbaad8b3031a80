"""The envelope: recorded bytes of the originals, both dialects, and hostile bytes."""

import contextlib
import json
import pathlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pylm import _wire, errors

VECTORS = json.loads((pathlib.Path(__file__).parent / "wire" / "vectors.json").read_text("utf-8"))
OLD_CLASSES = {"PalmMessage": _wire.OldPalmMessage, "BrokerMessage": _wire.BrokerMessage}


def envelope_frames():
    for recording in VECTORS["recordings"]:
        for step in recording["steps"]:
            for frame, decoded in zip(step["frames_hex"], step["decoded"], strict=True):
                if isinstance(decoded, dict) and decoded["message"] == "PalmMessage":
                    yield recording["generation"], bytes.fromhex(frame), decoded


@pytest.mark.parametrize("vector", VECTORS["encode"])
def test_fixed_fields_give_the_recorded_bytes(vector):
    fields = dict(vector["fields"])
    payload = bytes.fromhex(fields.pop("payload"))
    kind = OLD_CLASSES[vector["message"]] if vector["envelope"] == "old" else _wire.PalmMessage
    message = kind(**fields)
    assert _wire.encode(message, payload).hex() == vector["hex"]


@pytest.mark.parametrize("generation", ["OA", "OB", "N"])
def test_recorded_envelopes_survive_decode_and_encode_unchanged(generation):
    frames = [entry for entry in envelope_frames() if entry[0] == generation]
    assert frames
    for _, frame, decoded in frames:
        for decode in (_wire.decode_new, _wire.decode_old):
            message, payload = decode(frame)
            assert isinstance(message, _wire.PalmMessage) == (generation == "N")
            assert message.function == decoded["function"]
            assert message.stage == decoded.get("stage", 0)
            assert message.cache == decoded.get("cache", "")
            assert _wire.encode(message, payload) == frame


def test_a_message_of_0_12_is_answered_in_its_own_dialect():
    frame = _wire.PalmMessage012(
        pipeline="p", client="c", function="s.f", payload=b"x"
    ).SerializeToString()
    for decode in (_wire.decode_new, _wire.decode_old):
        message, payload = decode(frame)
        assert payload == b"x"
        assert _wire.encode(message, payload) == frame


TEXT = st.text(max_size=40)


@settings(deadline=None)
@given(
    st.sampled_from([_wire.PalmMessage, _wire.OldPalmMessage]),
    TEXT,
    TEXT,
    st.integers(-(2**63), 2**63 - 1),
    TEXT,
    TEXT,
    st.binary(max_size=200),
    st.sampled_from([0, _wire.SPLIT_BYTES, _wire.SPLIT_BYTES + 130]),
)
def test_both_dialects_round_trip_at_every_size(
    kind, pipeline, client, stage, function, cache, tail, padding
):
    payload = tail + b"x" * padding
    message = kind(pipeline=pipeline, client=client, stage=stage, function=function)
    if cache:
        message.cache = cache
    _, ext = _wire.MessageIds().next()
    message.ext = ext
    frame = _wire.encode(message, payload)
    for decode in (_wire.decode_new, _wire.decode_old):
        again, got = decode(frame)
        assert bytes(got) == payload
        assert (again.pipeline, again.client, again.stage) == (pipeline, client, stage)
        assert (again.function, again.cache, again.ext) == (function, cache, ext)


@settings(deadline=None)
@given(st.binary(max_size=300), st.booleans())
def test_random_bytes_decode_or_are_refused_as_malformed(noise, large):
    frame = noise + b"\x00" * _wire.SPLIT_BYTES if large else noise
    for decode in (_wire.decode_new, _wire.decode_old):
        with contextlib.suppress(errors.Malformed):
            decode(frame)


def test_a_large_frame_equals_what_the_runtime_would_write():
    payload = b"z" * (_wire.SPLIT_BYTES + 1)
    fields = {"pipeline": "p", "client": "c", "stage": 3, "function": "s.f", "cache": "k"}
    for kind in (_wire.PalmMessage, _wire.OldPalmMessage):
        assert (
            _wire.encode(kind(**fields), payload)
            == kind(**fields, payload=payload).SerializeToString()
        )


def test_the_default_pool_stays_free_for_the_originals_descriptors():
    from google.protobuf import descriptor_pool

    with pytest.raises(KeyError):
        descriptor_pool.Default().FindMessageTypeByName("PalmMessage")


def test_a_failure_travels_in_the_extension_and_keeps_the_id():
    identity, ext = _wire.MessageIds().next()
    assert _wire.message_id(ext) == identity
    assert not _wire.has_more(_wire.add_complete(ext))
    full = _wire.add_failure(ext, errors.to_failure(ValueError("no"), server="s", function="f"))
    assert _wire.has_more(full)
    parsed = _wire.parse_extension(full)
    error = errors.from_failure(parsed.error)
    assert parsed.message_id == identity
    assert parsed.complete
    assert (type(error), error.remote_type) == (errors.RemoteError, "builtins.ValueError")


def test_an_unreadable_extension_is_malformed():
    with pytest.raises(errors.Malformed):
        _wire.parse_extension(b"\xff\xff\xff")


def test_uuids_have_the_shape_the_wire_shows():
    import uuid

    assert uuid.UUID(_wire.new_uuid()).version == 4


def test_an_extension_with_one_more_flag_is_parsed():
    _, ext = _wire.MessageIds().next()
    idempotent = ext + _wire.Extension(idempotent=True).SerializeToString()
    assert _wire.has_more(idempotent)
    assert not _wire.is_complete(idempotent)
    complete = _wire.add_complete(idempotent)
    assert _wire.is_complete(complete)
    assert _wire.parse_extension(complete).idempotent
    assert not _wire.is_complete(_wire.strip_complete(complete))
    assert _wire.strip_complete(_wire.add_complete(ext)) == ext


def test_errors_pickle_with_what_came_back():
    import pickle

    failure = errors.to_failure(KeyError("k"), server="s", function="f", stage=2)
    error = pickle.loads(pickle.dumps(errors.from_failure(failure)))
    assert (error.server, error.function, error.stage) == ("s", "f", 2)
    assert "KeyError" in str(error)
    unknown = errors.from_failure(_wire.Failure(kind="FromTheFuture", text="new", server="s"))
    assert type(unknown) is errors.RemoteError


@pytest.mark.parametrize("field", [b"\x0a", b"\x12", b"\x22", b"\x3a"])
@pytest.mark.parametrize("size", [1, 100_000])
def test_a_text_of_the_first_dialect_that_is_none_is_malformed(field, size):
    good = _wire.OldPalmMessage(pipeline="pp", client="cc", stage=0, function="ff", cache="xx")
    frame = _wire.encode(good, b"x" * size)
    at = frame.index(field + b"\x02") + 2
    with pytest.raises(errors.Malformed):
        _wire.decode_old(frame[:at] + b"\xff\xfe" + frame[at + 2 :])
