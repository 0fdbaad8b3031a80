"""Every example of the documentation runs as printed, whatever the order of starts."""

import random
import time

import pytest


def answers(lines):
    return [line for line in lines if line.startswith("b")]


WORKERS = [("worker1", "worker.py", "worker1"), ("worker2", "worker.py", "worker2")]


def test_seed_simple_client_server_prints_what_the_page_shows(cluster):
    one = cluster("standalone_single", [("server", "server.py")])
    assert one.finish() == ["Client got: b'you sent me a message'"]
    one.stop()
    assert one.lines("server") == ["TIME - my_server - WARNING - Got a message"]


def test_seed_pipeline_prints_what_the_page_shows(cluster):
    one = cluster("chained_single", [(each, f"{each}.py") for each in ("step1", "step2", "last")])
    lines = one.finish()
    assert lines == [
        "Client with the following connections:",
        f" *Listening to input from tcp://127.0.0.1:{one.port(5561)}",
        f" *Sending jobs to tcp://127.0.0.1:{one.port(5555)}",
        "Client got: b'ACK: got it too, after you sent me a message'",
    ]
    one.stop()
    for name, function in (("step1", "foo"), ("step2", "bar"), ("last", "baz")):
        assert one.lines(name)[:5] == [
            f"TIME - {name} - DEBUG - {name} Waiting for a message",
            f"TIME - {name} - DEBUG - {name} Got a message",
            f"TIME - {name} - DEBUG - Looking for {function}",
            f"TIME - {name} - WARNING - Got a message",
            f"TIME - {name} - DEBUG - {name} Waiting for a message",
        ]


@pytest.mark.parametrize(
    "name", ["first/parallel", "first/template", "first/perfcounting", "parallel", "template"]
)
def test_parallel_workers_process_ten_messages(cluster, name):
    one = cluster(name, [("master", "master.py"), *WORKERS])
    got = answers(one.finish())
    assert len(got) == 10
    assert set(got) <= {f"b'worker{each} processed a message'" for each in (1, 2)}


@pytest.mark.parametrize("name", ["first/cache", "cache"])
def test_workers_read_what_the_client_cached(cluster, name):
    one = cluster(name, [("master", "master.py"), *WORKERS])
    first, *got = answers(one.finish())
    assert first == "b' cached data '"
    assert len(got) == 10
    assert set(got) <= {f"b'worker{each} cached data a message'" for each in (1, 2)}


@pytest.mark.parametrize("name", ["first/scatter", "scatter"])
def test_scatter_triples_the_messages(cluster, name):
    one = cluster(name, [("master", "master.py"), *WORKERS])
    assert len(answers(one.finish())) == 30


@pytest.mark.parametrize("name", ["first/gather", "gather"])
def test_gather_changes_the_last_message(cluster, name):
    one = cluster(name, [("master", "master.py"), *WORKERS])
    got = answers(one.finish())
    assert len(got) == 30
    assert got[-1] == "b'final message'"


@pytest.mark.parametrize("name", ["first/logging", "logging"])
def test_logging_prints_the_masters_and_the_workers_lines(cluster, name):
    one = cluster(name, [("master", "master.py"), *WORKERS])
    assert len(answers(one.finish())) == 30
    one.stop()
    assert one.lines("master") == ["TIME - server - CRITICAL - Changing the payload of the message"]
    said = [line for each in ("worker1", "worker2") for line in one.lines(each)]
    assert sum("INFO - Processed 10 messages" in line for line in said) >= 2


@pytest.mark.parametrize("name", ["first/http", "http"])
def test_http_connection_brings_the_web_workers_results(cluster, name):
    one = cluster(name, [("master", "master.py"), ("web", "web_worker.py")])
    got = answers(one.finish())
    assert len(got) == 10
    assert set(got) <= {"b'a message processed online'", "b'0'"}


def test_error_example_prints_the_originals_payload_when_asked_to(cluster):
    for name in ("first/error", "error"):
        one = cluster(name, [("server", "server.py")], {"PYLM_ERRORS": "payload"})
        assert one.finish()[-1] == "Client got: b'0'"
        one.stop()
        assert any("User function gave an error" in line for line in one.lines("server"))


def test_error_example_raises_the_remote_error_by_default(cluster):
    one = cluster("error", [("server", "server.py")])
    assert one.processes["client"].wait(30) == 1
    assert any("NameError" in line for line in one.lines("client"))


def test_single_server(cluster):
    one = cluster("single", [("server", "server.py")])
    *said, last = one.finish()
    assert last == "Client got: b'you sent me a message'"
    assert said == [
        "TIME - INFO - Fetching configuration from the server",
        f"TIME - INFO - CLIENT UUID: Got subscription address: tcp://127.0.0.1:{one.port(5557)}",
        f"TIME - INFO - CLIENT UUID: Got push address: tcp://127.0.0.1:{one.port(5556)}",
    ]
    one.stop()
    said = [line for line in one.lines("server") if "DEBUG" in line and "Cache Service" not in line]
    first = said.index("TIME - my_server - DEBUG - Got message 1")
    assert said[first + 1 : first + 3] == [
        "TIME - my_server - DEBUG - Looking for foo",
        "TIME - my_server - DEBUG - Server waiting for messages",
    ]


def test_pipeline_and_tee(cluster, example):
    one = cluster("pipeline", [("server", "server.py"), ("pipeline", "pipeline.py")])
    assert one.finish()[-1] == "Client got: b'and I pipelined you sent me a message'"
    one.stop()
    one = example("tee")
    roles = ["server", "pipeline", "echo"]
    random.shuffle(roles)
    for role in roles:
        one.start(role, f"{role}.py")
    one.knock(1)
    one.start("client", "client.py")
    assert one.finish()[-1] == "Client got: b'and I pipelined you sent me a message'"


def test_stream_steers_every_second_message(cluster):
    one = cluster(
        "stream", [("server", "server.py"), ("pipeline", "pipeline.py"), ("echo", "echo.py")]
    )
    assert answers(one.finish()) == ["b'and I pipelined you sent me a message'"] * 5
    one.stop()
    said = [line.rpartition(" - ")[2] for line in one.lines("server")]
    assert said.count("Even") == said.count("Odd") == 5


@pytest.mark.parametrize(
    ("name", "stages"), [("sink", ["pipeline"]), ("stream_sink", ["even", "odd"])]
)
def test_sinks_gather(cluster, name, stages):
    roles = [
        ("server", "server.py"),
        ("sink", "sink.py"),
        *((each, f"{each}.py") for each in stages),
    ]
    one = cluster(name, roles)
    assert answers(one.finish()) == ["b'and gathered and I pipelined you sent me a message'"] * 10


def test_master_pipeline(cluster):
    roles = [("master", "master.py"), ("pipeline", "pipeline.py"), WORKERS[0]]
    got = answers(cluster("master_pipeline", roles).finish())
    assert got == ["b'and I pipelined worker1 processed a message'"] * 10


def test_server_hub(cluster):
    roles = [("server", "server.py"), ("hub", "hub.py"), WORKERS[0]]
    assert cluster("server_hub", roles).finish()[-1] == (
        "Client got: b'worker1 processed you sent me a message'"
    )


def test_mux_worker_sends_several_answers(cluster):
    one = cluster("mux_parallel", [("master", "master.py"), *WORKERS])
    got = answers(one.finish())
    assert len(got) == 20
    assert sum("first" in each for each in got) == 10


def test_gateway_answers_http(example):
    one = example("gateway")
    one.start("worker", "worker.py", "worker1")
    one.start("master", "microservice.py")
    for _ in range(100):
        if any("HttpGateway' successfully started" in line for line in one.lines("master")):
            break
        time.sleep(0.1)
    one.start("client", "client.py")
    assert one.finish() == ["acknowledged"]


def test_applications_take_their_addresses_as_arguments(example, address):
    one = example("applications")
    addresses = {flag: address() for flag in ("--pull", "--pub", "--wpull", "--wpush", "--db")}
    db = addresses["--db"]
    one.start("client", "client.py", "--server", "server", "--function", "foo", "--db", db)
    one.start("worker", "worker.py", "--name", "worker1", "--db", db)
    one.start("master", "master.py", "--name", "server", *sum(addresses.items(), ()))
    assert answers(one.finish()) == ["b'worker1 processed a message'"] * 10
