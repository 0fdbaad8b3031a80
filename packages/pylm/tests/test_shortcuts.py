"""A message laid out like those before it takes a short cut; whatever it is, the outcome is that of the long way."""

import logging

import pytest
import zmq
from hypothesis import given, settings
from hypothesis import strategies as st
from pylm import _lanes, _link, _wire
from pylm.config import ServerOptions
from pylm.servers import Pipeline, Server
from pylm.standalone.servers import Server as RequestServer

CLIENT = "c" * 36


def work(server, payload):
    """Do what the first byte of the payload says."""
    what = payload[:1]
    if what == b"!":
        raise ValueError("no")
    if what == b"m":
        server.message.cache = "touched"
    return {b"l": payload + payload, b"e": b"", b"a": bytearray(payload), b"n": None, b"i": 7}.get(
        what, payload
    )


class Whole(Server):
    """Answers clients."""

    def foo(self, payload):
        return work(self, payload)


class Part(Pipeline):
    """Feeds another stage."""

    def foo(self, payload):
        return work(self, payload)


class Asked(RequestServer):
    """Answers requests."""

    def foo(self, payload):
        return payload if payload[:1] == b"m" else work(self, payload)


def made(kind, context):
    options = {"log_level": logging.CRITICAL, "options": ServerOptions(context=context)}
    if kind is Whole:
        return Whole("s", "inproc://db", "inproc://in", "inproc://out", **options)
    if kind is Part:
        return Part("s", "inproc://db", "inproc://in", "inproc://out", "p", False, **options)
    return Asked("s", "inproc://rep", **options)


def outcomes(kind, frames, steady):
    """Return what a server sends for the frames, and its counters."""
    context = zmq.Context()
    sent = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(_lanes, "STEADY", steady)
        with made(kind, context) as server:
            if kind is Asked:
                sent += [server._lanes.alike(each) or server._answer(each) for each in frames]
            else:
                server._outlet.send = lambda topic, frame, **_: sent.append((topic, frame))
                for frame in frames:
                    server._handle(frame)
            short = server._lanes.alike is not _lanes.never
            figures = server.stats.snapshot()
            figures["times"] = sum(server.stats.latency.counts)
    context.term()
    changing = ("pid", "uptime_s", "p50_s", "p99_s")
    sent = [without_traceback(each) for each in sent]
    return sent, {key: value for key, value in figures.items() if key not in changing}, short


def without_traceback(sent):
    topic, frame = sent if isinstance(sent, tuple) else (b"", sent)
    message = _wire.decode_new(frame)[0]
    if not (message.ext and _wire.has_more(message.ext)):
        return topic, frame
    extension = _wire.parse_extension(message.ext)
    extension.error.traceback = ""
    return topic, message.payload, message.stage, message.function, str(extension)


SIZES = (1, 63, 64, 126, 127, 128, 129, 8191, 8192, 16383, 16384, 16385)
PAYLOADS = st.one_of(
    st.sampled_from([b"x1", b"x2", b"!1", b"m1", b"l1", b"e1", b"a1", b"n1", b"i1", b""]),
    st.builds(
        lambda what, size: what * size, st.sampled_from([b"x", b"l"]), st.sampled_from(SIZES)
    ),
)


@settings(deadline=None, max_examples=300)
@given(
    kind=st.sampled_from([_wire.PalmMessage, _wire.OldPalmMessage]),
    first=st.sampled_from(SIZES[:10]),
    size=st.one_of(st.sampled_from(SIZES), st.integers(1, 40000)),
    noise=st.binary(max_size=20),
    at=st.integers(0, 200),
    cut=st.integers(0, 20),
)
def test_a_payload_is_found_where_the_runtime_finds_it(kind, first, size, noise, at, cut):
    ids = _wire.MessageIds()

    def frame(payload):
        return kind(
            pipeline="p" * 36,
            client=CLIENT,
            stage=1,
            function="s.f",
            payload=payload,
            ext=ids.next()[1],
        ).SerializeToString()

    like = frame(b"l" * first)
    find = _lanes.body_finder(like, len(like) - 15 - first, len(like) - 15)
    other = frame(b"o" * size)
    body = find(other)
    assert bool(body) == (size < 16384)
    assert not body or other[body:-15] == b"o" * size
    for broken in (other[:at] + noise + other[at + cut :], other[:-at], noise):
        body = find(broken)
        if body:
            message = kind.FromString(broken)
            assert message.payload == broken[body:-15]
            assert message.ext == broken[-12:]


@pytest.mark.parametrize("kind", [Whole, Part, Asked])
@settings(deadline=None, max_examples=60)
@given(
    payloads=st.lists(PAYLOADS, max_size=12),
    odd=st.sampled_from(["", "pipeline", "id", "tag", "more", "field", "cut"]),
)
def test_the_short_cut_of_a_server_ends_as_the_long_way_does(kind, payloads, odd):
    is_old = kind is Asked
    ids = _wire.MessageIds()
    frames = []
    for number, payload in enumerate([b"x0"] * 8 + payloads + [b"x9"] * 2):
        message = (_wire.OldPalmMessage if is_old else _wire.PalmMessage)(
            pipeline="p" * 36, client=CLIENT, stage=0, function="s.foo", payload=payload
        )
        message.ext = ids.next()[1]
        if is_old:
            message.pipeline = f"{number:036}"
        if number % 3 == 2 and number > 8:
            if odd == "pipeline":
                message.pipeline = "é" * 18
            elif odd == "id":
                message.ClearField("ext")
            elif odd == "tag":
                message.cache = "tag"
            elif odd == "more":
                message.ext += _wire.Extension(idempotent=True).SerializeToString()
        frame = message.SerializeToString()
        if odd == "field" and number % 3 == 2 and number > 8:
            frame = frame.replace(b"\xca\x3e\x0c", b"\xd2\x3e\x0c")
        frames.append(frame[:-1] if odd == "cut" and number == 10 else frame)
    *short, is_short = outcomes(kind, frames, 4)
    *long, is_long = outcomes(kind, frames, 10**6)
    assert short == long
    assert is_short
    assert not is_long


@settings(deadline=None, max_examples=60)
@given(
    payloads=st.lists(PAYLOADS, max_size=12), odd=st.sampled_from(["", "open", "failed", "twice"])
)
def test_the_short_cut_of_a_client_hands_out_what_the_long_way_does(payloads, odd):
    def run(steady):
        context = zmq.Context()
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(_lanes, "STEADY", steady)
            link = _link.Link(
                context.socket(zmq.PUSH), context.socket(zmq.SUB), CLIENT, lambda: "peer"
            )
            call = _link.Call(uses_ids=True, keep=True)
            link.open(call)
            for number, payload in enumerate([b"x0"] * 8 + payloads + [b"x9"] * 2):
                identity = number.to_bytes(8, "big")
                call.kept[identity] = b"frame"
                link.expect(call, identity)
                answer = _wire.PalmMessage(
                    pipeline="p" * 36, client=CLIENT, function="s.foo", payload=payload
                )
                answer.ext = _wire.MessageIds().next()[1][:4] + identity
                if number % 3 or odd != "open":
                    answer.ext = _wire.add_complete(answer.ext)
                if odd == "failed" and number % 3 == 0:
                    answer.ext = _wire.add_failure(answer.ext, _wire.Failure(kind="RemoteError"))
                frame = answer.SerializeToString()
                for _ in range(2 if odd == "twice" else 1):
                    if not link._lanes.alike(frame):
                        link._deliver(frame, link._lanes.read(frame))
            short = link._lanes.alike is not _lanes.never
            link.close()
        context.term()
        answers = [(index, payload, str(error)) for index, payload, error, _ in call.answers]
        return answers, call.complete, call.kept, link.strays, list(link._routes), short

    *short, is_short = run(4)
    *long, is_long = run(10**6)
    assert short == long
    assert is_short or odd in ("open", "failed")
    assert not is_long
