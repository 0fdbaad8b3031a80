"""Server, Pipeline and Sink with the client of the same API, over TCP."""

import itertools
import logging
import threading

import pytest
from pylm import errors
from pylm.config import ConfigurationError, ServerOptions
from pylm.servers import Pipeline, Server, Sink, remote


class MyServer(Server):
    def foo(self, message):
        return b"you sent me " + message

    def fails(self, message):
        raise KeyError("missing")

    def nothing(self, message):
        return None

    def text(self, message):
        return "text"

    def typed(self, message: int) -> int:
        return message * 2

    def liar(self, message: int) -> int:
        return str(message)

    def tag(self, message):
        return self.message.cache.encode()


class MyPipeline(Pipeline):
    def foo(self, message):
        return b"and I pipelined " + message

    def quiet(self, message):
        return None


class MySink(Sink):
    def foo(self, message):
        return b"and gathered " + message


@pytest.fixture
def server(address, running):
    return running(
        MyServer("my_server", address(), address(), address(), log_level=logging.CRITICAL)
    )


def test_a_thousand_evaluations_lose_nothing(server, client):
    talk = client("my_server", server.db_address)
    for number in range(1000):
        assert talk.eval("my_server.foo", b"%d" % number) == b"you sent me %d" % number


def test_a_job_ends_by_itself_when_every_message_is_answered(server, client):
    talk = client("my_server", server.db_address)
    assert list(talk.job("my_server.foo", [b"a", b"b"])) == [b"you sent me a", b"you sent me b"]


def test_a_job_reads_an_endless_iterable_only_as_far_as_needed(server, client):
    talk = client("my_server", server.db_address)
    answers = list(talk.job("my_server.foo", itertools.repeat(b"a message"), messages=3000))
    assert answers == [b"you sent me a message"] * 3000


def test_a_generator_may_wait_for_the_answers_it_causes(server, client):
    talk = client("my_server", server.db_address)
    got = threading.Semaphore(1)

    def payloads():
        for number in range(20):
            assert got.acquire(timeout=5)
            yield b"%d" % number

    answers = []
    for answer in talk.job("my_server.foo", payloads(), messages=20):
        answers.append(answer)
        got.release()
    assert len(answers) == 20


def test_a_job_left_early_does_not_disturb_the_next(server, client):
    talk = client("my_server", server.db_address)
    for _ in talk.job("my_server.foo", [b"old"] * 50):
        break
    assert talk.eval("my_server.foo", b"new") == b"you sent me new"


def test_zero_messages_returns_at_once(server, client):
    assert client("my_server", server.db_address).eval("my_server.foo", b"x", messages=0) == []


def test_calls_of_many_threads_do_not_mix(server, client):
    talk = client("my_server", server.db_address)
    wrong = []

    def work(label):
        for number in range(100):
            payload = b"%s-%d" % (label, number)
            if talk.eval("my_server.foo", payload) != b"you sent me " + payload:
                wrong.append(payload)

    threads = [threading.Thread(target=work, args=(b"t%d" % each,)) for each in range(5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


def test_map_returns_results_in_the_order_of_the_payloads(server, client):
    talk = client("my_server", server.db_address)
    payloads = [b"%d" % number for number in range(100)]
    assert list(talk.map("my_server.foo", payloads)) == [
        b"you sent me " + each for each in payloads
    ]


def test_map_may_return_failures_as_values(server, client):
    talk = client("my_server", server.db_address)
    (failure,) = talk.map("my_server.fails", [b"x"], return_exceptions=True)
    assert isinstance(failure, errors.RemoteError)


def test_map_draws_its_progress_on_standard_error(server, client, capsys):
    talk = client("my_server", server.db_address)
    assert len(list(talk.map("my_server.foo", [b"x"] * 5, progress=True, ordered=False))) == 5
    assert "my_server.foo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("function", "kind", "text"),
    [
        ("my_server.fails", errors.RemoteError, "KeyError"),
        ("my_server.nothing", errors.WrongType, "returned None"),
        ("my_server.text", errors.WrongType, "returned str"),
        ("my_server.unknown", errors.UnknownFunction, "unknown"),
        ("my_server._log_failure", errors.UnknownFunction, "_log_failure"),
        ("my_server.start", errors.UnknownFunction, "start"),
        ("my_server.__init__", errors.UnknownFunction, "__init__"),
        ("nodot", errors.UnknownFunction, "server.function"),
        ("other.foo", errors.WrongServer, "instead of my_server"),
        ("my_server.foo.bar", errors.UnknownFunction, "foo.bar"),
    ],
)
def test_each_failure_comes_back_as_its_own_error_and_the_server_lives(
    server, client, function, kind, text
):
    talk = client("my_server", server.db_address)
    with pytest.raises(kind, match=text):
        talk.eval(function, b"x")
    assert talk.eval("my_server.foo", b"x") == b"you sent me x"


def test_a_remote_error_shows_the_users_traceback(server, client):
    talk = client("my_server", server.db_address)
    with pytest.raises(errors.RemoteError) as caught:
        talk.eval("my_server.fails", b"x")
    assert 'raise KeyError("missing")' in caught.value.remote_traceback
    assert caught.value.server == "my_server"
    assert "pylm" not in caught.value.remote_traceback.replace(__file__, "")


def test_the_originals_failure_payload_is_a_choice(server, client, monkeypatch):
    assert (
        client("my_server", server.db_address, errors="payload").eval("my_server.fails", b"x")
        == b"0"
    )
    monkeypatch.setenv("PYLM_ERRORS", "payload")
    assert client("my_server", server.db_address).eval("my_server.fails", b"x") == b"0"


def test_type_hints_are_checked_on_both_ends(server, client):
    talk = client("my_server", server.db_address)
    assert talk.eval("my_server.typed", 21, serializer="json") == 42
    with pytest.raises(errors.WrongType, match="argument"):
        talk.eval("my_server.typed", "x", serializer="json")
    with pytest.raises(errors.WrongType, match="result"):
        talk.eval("my_server.liar", 1, serializer="json")


def test_msgpack_payloads_travel(server, client):
    assert (
        client("my_server", server.db_address).eval("my_server.typed", 4, serializer="msgpack") == 8
    )


def test_a_payload_that_is_not_bytes_is_refused_before_it_is_sent(server, client):
    talk = client("my_server", server.db_address)
    with pytest.raises(TypeError, match="int"):
        talk.eval("my_server.foo", 1)
    with pytest.raises(TypeError, match="str"):
        list(talk.job("my_server.foo", (each for each in ["text"]), messages=1))


def test_a_generator_that_raises_raises_in_the_caller(server, client):
    def payloads():
        yield b"x"
        raise RuntimeError("no more")

    with pytest.raises(RuntimeError, match="no more"):
        list(client("my_server", server.db_address).job("my_server.foo", payloads(), messages=5))


def test_the_message_in_work_is_visible_to_the_function(server, client):
    talk = client("my_server", server.db_address)
    assert talk.eval("my_server.tag", b"x", cache="label") == b"label"


def test_the_cache_keeps_values_and_protects_the_servers_own(server, client):
    talk = client("my_server", server.db_address)
    assert talk.set(b"value", "key") == "key"
    assert talk.get("key") == b"value"
    assert talk.delete("key") == "key"
    assert talk.get("key") == b""
    assert talk.set(b"tcp://evil", "pull_address") == ""
    assert talk.get("pull_address") == server.pull_address.encode()
    with pytest.raises(TypeError, match="bytes"):
        talk.set("text")


def test_a_session_prefixes_the_keys_it_sets(server, client):
    talk = client("my_server", server.db_address, session="S")
    assert talk.set(b"value", "key") == "Skey"
    assert talk.get("Skey") == b"value"


def test_a_client_of_another_name_is_told(server, client):
    with pytest.raises(ValueError, match="You are connecting to the wrong server"):
        client("other", server.db_address)


def test_a_missing_server_is_an_error_in_time(address, client):
    with pytest.raises(errors.TimedOut, match="is a server running there"):
        client("nobody", address(), timeout=0.3)


def test_a_server_started_after_its_client_answers(address, client, running):
    db, pull, pub = address(), address(), address()
    results = []
    thread = threading.Thread(
        target=lambda: results.append(client("my_server", db).eval("my_server.foo", b"x"))
    )
    thread.start()
    running(MyServer("my_server", db, pull, pub))
    thread.join(10)
    assert results == [b"you sent me x"]


def test_an_eval_nobody_answers_times_out(address, running, client):
    class Slow(Server):
        def foo(self, message):
            release.wait(10)
            return message

    release = threading.Event()
    server = running(Slow("slow", address(), address(), address()))
    talk = client("slow", server.db_address)
    with pytest.raises(errors.TimedOut, match=r"no answer for 0\.2 s"):
        talk.eval("slow.foo", b"x", timeout=0.2)
    release.set()
    assert talk.eval("slow.foo", b"y") == b"y"


@pytest.fixture
def pipeline(address, running):
    first = running(
        MyServer(
            "my_server", address(), address(), address(), pipelined=True, log_level=logging.CRITICAL
        )
    )
    second = running(
        MyPipeline(
            "my_pipeline",
            address(),
            first.pub_address,
            address(),
            "my_server",
            log_level=logging.CRITICAL,
        )
    )
    return first, second


def test_a_pipeline_composes_its_functions(pipeline, client):
    first, second = pipeline
    talk = client("my_server", first.db_address, sub_address=second.pub_address)
    route = ["my_server.foo", "my_pipeline.foo"]
    assert talk.eval(route, b"a message") == b"and I pipelined you sent me a message"


def test_a_failure_passes_the_later_stages_untouched(pipeline, client):
    first, second = pipeline
    talk = client("my_server", first.db_address, sub_address=second.pub_address)
    with pytest.raises(errors.RemoteError, match="KeyError"):
        talk.eval(["my_server.fails", "my_pipeline.foo"], b"x")
    assert (second.stats.received, second.stats.answered, second.stats.failed) == (1, 0, 1)


def test_a_route_with_too_few_stages_is_an_error_of_that_stage(pipeline, client):
    first, second = pipeline
    talk = client("my_server", first.db_address, sub_address=second.pub_address)
    with pytest.raises(errors.WrongServer, match="my_pipeline"):
        talk.eval("my_server.foo", b"x")
    assert talk.eval(["my_server.foo", "my_pipeline.foo"], b"x").startswith(b"and")


def test_a_pipeline_started_late_gets_what_was_sent_before(address, running, client):
    first = running(MyServer("my_server", address(), address(), address(), pipelined=True))
    db, pub = address(), address()
    talk = client("my_server", first.db_address, sub_address=pub)
    results = []
    thread = threading.Thread(
        target=lambda: results.append(talk.eval(["my_server.foo", "late.foo"], b"x"))
    )
    thread.start()
    running(MyPipeline("late", db, first.pub_address, pub, "my_server"))
    thread.join(10)
    assert results == [b"and I pipelined you sent me x"]


def test_a_server_does_not_work_for_one_whose_name_begins_alike(address, running, client):
    class Steering(Server):
        def handle_stream(self, message):
            message.stage += 1
            return "even2", message

    first = running(Steering("s", address(), address(), address(), pipelined=True))
    even = running(MyPipeline("even", address(), first.pub_address, address(), "even"))
    even2 = running(MyPipeline("even2", address(), first.pub_address, address(), "even2"))
    talk = client("s", first.db_address, sub_address=even2.pub_address)
    assert talk.eval(["s.echo", "even2.foo"], b"x") == b"and I pipelined x"
    assert even.stats.received == 0


def test_a_sink_gathers_two_streams(address, running, client):
    class Steering(Server):
        def foo(self, message):
            return message

        def handle_stream(self, message):
            message.stage += 1
            return ("even" if int(message.payload) % 2 == 0 else "odd"), message

    first = running(Steering("s", address(), address(), address(), pipelined=True))
    parts = [
        running(MyPipeline("p", address(), first.pub_address, address(), topic, to_client=False))
        for topic in ("even", "odd")
    ]
    sink = running(
        MySink("k", address(), [each.pub_address for each in parts], address(), ["p", "p"])
    )
    talk = client("s", first.db_address, sub_address=sink.pub_address)
    route = ["s.foo", "p.foo", "k.foo"]
    answers = list(talk.job(route, [b"%d" % each for each in range(10)], messages=10))
    assert sorted(answers) == sorted(
        b"and gathered and I pipelined %d" % each for each in range(10)
    )


def test_a_sink_refuses_lists_of_different_length(address):
    with pytest.raises(ConfigurationError, match="2 addresses but 1"):
        Sink("k", address(), [address(), address()], address(), ["p"])


def test_a_message_that_ends_in_a_pipeline_is_counted(pipeline, client):
    first, second = pipeline
    talk = client("my_server", first.db_address, sub_address=second.pub_address)
    with pytest.raises(errors.TimedOut):
        talk.eval(["my_server.foo", "my_pipeline.quiet"], b"x", timeout=0.2)
    assert second.stats.ended == 1


def test_only_marked_functions_are_open_once_one_is_marked(address, running, client):
    class Marked(Server):
        @remote
        def open(self, message):
            return message

        def closed(self, message):
            return message

    server = running(Marked("m", address(), address(), address(), log_level=logging.CRITICAL))
    talk = client("m", server.db_address)
    assert talk.eval("m.open", b"x") == b"x"
    with pytest.raises(errors.UnknownFunction):
        talk.eval("m.closed", b"x")


def test_a_large_payload_travels_whole(server, client):
    payload = b"z" * 3_000_000
    assert client("my_server", server.db_address).eval("my_server.foo", payload)[12:] == payload


def test_options_are_checked_before_anything_is_opened():
    for wrong in (
        {"overflow": "x"},
        {"credit": 0},
        {"hold_s": -1},
        {"drain_s": None},
        {"max_message_bytes": 0},
    ):
        with pytest.raises(ConfigurationError):
            ServerOptions(**wrong)


def test_an_address_in_use_leaves_nothing_open(server, address):
    import zmq

    with pytest.raises(zmq.ZMQError):
        MyServer("second", address(), server.pull_address, address())
