"""Plain envelopes cut as bytes say exactly what the protobuf runtime says, or leave it to the runtime."""

import pytest
import zmq
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pylm import _intake, _lanes, _wire

KINDS = [_wire.PalmMessage, _wire.OldPalmMessage]
TEXT = st.one_of(st.text(max_size=12), st.sampled_from(["", "s.f", "a" * 36, "x" * 130]))
PAYLOADS = st.one_of(
    st.binary(max_size=300), st.sampled_from([b"", b"p" * 127, b"p" * 128, b"p" * 20000])
)
EXTS = st.one_of(st.binary(max_size=20), st.sampled_from([b"", b"e" * 127, b"e" * 128, b"e" * 300]))


def parsed(kind, frame):
    """Return a frame as the runtime understands it, or ``None`` when it does not."""
    try:
        message = kind.FromString(frame)
    except _wire.DecodeError:
        return None
    return message if message.IsInitialized() else None


def agrees(kind, lanes, frame):
    """Check one reading against the runtime; return whether the frame was plain."""
    plain = lanes.read(frame)
    if plain is None:
        return False
    lane, head, payload, ext = plain
    message = parsed(kind, frame)
    assert message is not None
    assert (lane.client, lane.stage, lane.function) == (
        message.client,
        message.stage,
        message.function,
    )
    assert lane.topic == message.client.encode()
    assert (payload, ext) == (message.payload, message.ext)
    before = kind.FromString(head)
    assert (before.pipeline, before.cache) == (message.pipeline, message.cache)
    answer = kind()
    answer.CopyFrom(message)
    answer.payload = b"answer"
    answer.stage += 1
    assert kind.FromString(_wire.write(kind, lane.next_head(head), b"answer", ext)) == answer
    return True


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None)
@given(
    pipeline=TEXT, client=TEXT, stage=st.sampled_from([0, 1, 2, 127, 128, -1]), function=TEXT,
    cache=TEXT, payload=PAYLOADS, ext=EXTS,
)  # fmt: skip
def test_a_plain_envelope_is_read_as_the_runtime_reads_it(
    kind, pipeline, client, stage, function, cache, payload, ext
):
    message = kind(
        pipeline=pipeline, client=client, stage=stage, function=function, payload=payload
    )
    if cache:
        message.cache = cache
    if ext:
        message.ext = ext
    frame = message.SerializeToString()
    lanes = _lanes.Lanes(kind)
    first = agrees(kind, lanes, frame)
    assert agrees(kind, lanes, frame) == first
    if client.isascii() and function.isascii() and client and function and stage in (0, 1, 2):
        usual = all(len(each) < 128 for each in (pipeline, client, function, cache, ext))
        if usual and pipeline.isascii() and cache.isascii() and payload and pipeline:
            assert first


USUAL = _wire.PalmMessage(
    pipeline="p" * 36,
    client="c" * 36,
    stage=1,
    function="s.f",
    cache="k",
    payload=b"pay",
    ext=b"e" * 12,
).SerializeToString()


@pytest.mark.parametrize("kind", KINDS)
@settings(deadline=None, max_examples=500)
@given(noise=st.binary(max_size=80), at=st.integers(0, len(USUAL)), cut=st.integers(0, 40))
@example(noise=b"\x0a\xa4\x01", at=0, cut=2)
def test_bytes_that_are_not_plain_are_never_read_differently(kind, noise, at, cut):
    lanes = _lanes.Lanes(kind)
    lanes.read(USUAL)
    agrees(kind, lanes, noise)
    agrees(kind, lanes, USUAL[:at] + noise + USUAL[at + cut :])


@settings(deadline=None)
@given(payload=PAYLOADS, ext=EXTS, kind=st.sampled_from(KINDS))
def test_frames_are_written_in_the_bytes_of_the_runtime(payload, ext, kind):
    fields = {"pipeline": "p", "client": "c", "stage": 0, "function": "s.f"}
    head = kind(**fields).SerializePartialToString()
    message = kind(**fields, payload=payload)
    if ext:
        message.ext = ext
    assert _wire.write(kind, head, payload, ext) == message.SerializeToString()
    template = _wire.Template(kind(**fields))
    assert template.frame(memoryview(payload), ext) == message.SerializeToString()
    message.pipeline = kind.FromString(template.renewed(payload, ext)).pipeline
    assert len(message.pipeline) == 36
    assert kind.FromString(template.renewed(payload, ext)).pipeline != message.pipeline


def test_an_extension_with_other_fields_is_not_bare():
    _, ext = _wire.MessageIds().next()
    for more in (b"", _wire.COMPLETE):
        assert _lanes.is_bare(ext + more)
    assert _lanes.is_bare(b"")
    idempotent = ext + _wire.Extension(idempotent=True).SerializeToString()
    assert len(idempotent) == len(ext + _wire.COMPLETE)
    assert not _lanes.is_bare(idempotent)


def test_the_number_of_lanes_kept_is_bounded():
    lanes = _lanes.Lanes(_wire.PalmMessage)
    for number in range(1000):
        frame = _wire.PalmMessage(
            client=f"c{number}", function="s.f", payload=b"x"
        ).SerializeToString()
        assert lanes.read(frame)[0].client == f"c{number}"
    assert len(lanes._known) <= 256


@pytest.mark.parametrize("topic", [b"t", b""])
def test_messages_of_one_or_three_parts_put_no_one_out_of_step(topic):
    context = zmq.Context()
    pub, sub = context.socket(zmq.XPUB), context.socket(zmq.SUB)
    try:
        pub.bind("inproc://pub")
        sub.subscribe(topic)
        sub.rcvtimeo = 300
        sub.connect("inproc://pub")
        pub.recv()
        bodies = []
        lanes = _lanes.Lanes(_wire.PalmMessage)
        intake = _intake.PublishedIntake(sub, topic, lanes, lambda body, _: bodies.append(body))
        good = [
            _wire.PalmMessage(
                client="c", function="s.f", payload=b"%d" % number
            ).SerializeToString()
            for number in range(8)
        ]
        big = _wire.PalmMessage(
            client="c", function="s.f", payload=b"b" * 100_000
        ).SerializeToString()
        sent = [
            [b"t", good[0]], [b"t"], [b"t", good[1]], [b"t", good[2], b"t"], [b"t", good[3]],
            [b"t", good[4], b"x", b"t"], [b"t", good[5]], [b"t2", good[6]], [b"t", big], [b"t", good[6]],
            [b"t", b"no envelope"], [b"t", b"x", b"y"], [b"t", big], [b"t", b"x", b"y"], [b"t", good[7]],
        ]  # fmt: skip
        for parts in sent:
            pub.send_multipart(parts)
        while sub.poll(300):
            intake.take(sub.recv())
        got = [bytes(body) for body in bodies if body is not None]
        kept = [good[0], good[1], good[3], good[5], big, good[6], b"no envelope", big, good[7]]
        if not topic:
            kept.insert(4, good[6])
        assert [frame for frame in got if frame in kept] == kept
    finally:
        context.destroy(0)
