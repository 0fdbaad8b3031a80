"""Finding the nodes of a cluster: at the start, from time to time, after a failure."""

import gc
import json
import logging
import threading
import weakref

import pytest
from loudml import ConnectionError, Loud, NativeHttpConnection, TransportError, _clock
from loudml.transport import get_host_info
from mock_servers.faults import Fault

NODES = "/_nodes/_all/http"


@pytest.fixture
def cluster(make_loudml_server):
    return make_loudml_server(nodes=3)


def hosts_of(loud):
    return sorted(connection.host for connection in loud.transport.connection_pool.orig_connections)


def urls_of(cluster):
    return sorted(node.url for node in cluster.nodes if node.is_running)


def client(hosts, **options):
    return Loud(hosts, connection_class=NativeHttpConnection, **options)


def test_start_finds_all_nodes_from_one(cluster):
    with client(cluster.hosts[:1], sniff_on_start=True) as loud:
        assert hosts_of(loud) == urls_of(cluster)
        assert repr(loud).count("'host'") == 1, "the client is described by its seeds"


def test_start_asks_the_next_seed_when_one_is_silent(cluster):
    with client(["127.0.0.1:1", cluster.hosts[0]], sniff_on_start=True) as loud:
        assert hosts_of(loud) == urls_of(cluster)


def test_start_fails_with_the_reason_when_nobody_answers(loudml_server):
    with pytest.raises(TransportError, match="Unable to sniff hosts") as error:
        client("127.0.0.1:1", sniff_on_start=True)
    assert error.value.status_code == "N/A"
    assert isinstance(error.value.info, ConnectionError)
    loudml_server.faults.add(Fault("status", path=NODES, status=404))
    with pytest.raises(TransportError, match="Unable to sniff hosts"):
        client(loudml_server.hosts, sniff_on_start=True)


def test_masters_are_left_out(cluster):
    cluster.nodes[0].roles = ["master"]
    with client(cluster.hosts[:1], sniff_on_start=True) as loud:
        assert hosts_of(loud) == sorted(node.url for node in cluster.nodes[1:])
    for node in cluster.nodes:
        node.roles = ["master"]
    with pytest.raises(TransportError, match="no viable hosts found"):
        client(cluster.hosts, sniff_on_start=True)


def test_callback_decides_about_each_node(cluster):
    def choose(node_info, host):
        return host if node_info["name"] == "loudml-2" else None

    with client(cluster.hosts[:1], sniff_on_start=True, host_info_callback=choose) as loud:
        assert hosts_of(loud) == [cluster.nodes[1].url]
    assert get_host_info({"roles": ["compute"]}, {"host": "h"}) == {"host": "h"}


def test_list_is_refreshed_from_time_to_time(cluster, monkeypatch):
    now_s = [1000.0]
    monkeypatch.setattr(_clock, "now", lambda: now_s[0])
    with client(cluster.hosts[:1], sniffer_timeout=60) as loud:
        loud.info()
        assert len(hosts_of(loud)) == 1
        now_s[0] += 59.9
        loud.info()
        assert len(hosts_of(loud)) == 1
        now_s[0] += 0.2
        loud.info()
        assert hosts_of(loud) == urls_of(cluster)


def test_slow_refresh_does_not_fail_the_request_that_met_it(cluster, monkeypatch, caplog):
    now_s = [1000.0]
    monkeypatch.setattr(_clock, "now", lambda: now_s[0])
    cluster.faults.add(Fault("hang", path=NODES))
    with client(cluster.hosts[:1], sniffer_timeout=1, sniff_timeout=0.05) as loud:
        now_s[0] += 2
        with caplog.at_level(logging.WARNING, "loudml"):
            assert loud.version() == "1.6.0"
        assert "could not be refreshed" in caplog.text


def test_failure_refreshes_the_list_and_the_request_goes_on(cluster):
    with client(cluster.hosts[:2], sniff_on_connection_fail=True, randomize_hosts=False) as loud:
        cluster.nodes[0].kill()
        assert loud.version() == "1.6.0"
        assert hosts_of(loud) == urls_of(cluster)


def test_failing_refresh_never_masks_the_error_of_the_request(loudml_server):
    loudml_server.faults.add(Fault("status", status=503))
    with client(loudml_server.hosts, sniff_on_connection_fail=True) as loud:
        with pytest.raises(TransportError) as error:
            loud.info()
        assert error.value.status_code == 503
    loud = client("127.0.0.1:1", sniff_on_connection_fail=True)
    with loud, pytest.raises(ConnectionError, match=r"127\.0\.0\.1:1"):
        loud.info()


def nodes_reply(*addresses):
    return {
        "nodes": {
            str(number): {"http": {"publish_address": address}}
            for number, address in enumerate(addresses)
        }
    }


@pytest.fixture
def seed(recording_server, http_reply):
    """A node that tells of others; its answer can be set."""

    def answer(head, body):
        return http_reply(200, json.dumps(seed.nodes).encode())

    seed = recording_server(answer)
    seed.nodes = nodes_reply()
    return seed


def test_sniffed_nodes_keep_credentials_tls_and_prefix(seed):
    seed.nodes = nodes_reply("node.example/10.0.0.1:1", "[::1]:2", "bad host:3", "none", None)
    with client(f"http://user:secret@{seed.host}/prefix", sniff_on_start=True) as loud:
        assert [options for _, options in loud.transport.connection_pool.connection_opts] == [
            {
                "host": "node.example",
                "port": 1,
                "http_auth": "user:secret",
                "url_prefix": "/prefix",
            },
            {"host": "::1", "port": 2, "http_auth": "user:secret", "url_prefix": "/prefix"},
        ]
    assert seed.requests[0][0].startswith(b"GET /prefix/_nodes/_all/http ")
    assert b"authorization: Basic" in seed.requests[0][0]


@pytest.mark.parametrize("nodes", [{}, [], {"nodes": []}, "text", {"nodes": None}])
def test_answers_that_are_no_list_of_nodes_are_refused(seed, nodes):
    seed.nodes = nodes
    with pytest.raises(TransportError, match="Unable to sniff hosts"):
        client(seed.host, sniff_on_start=True)


def test_connections_are_kept_and_dead_ones_stay_dead(seed):
    seed.nodes = nodes_reply("127.0.0.1:1", "127.0.0.1:2", seed.host)
    with client(seed.host, sniff_on_start=True) as loud:
        transport = loud.transport
        before = dict(zip(hosts_of(loud), transport.connection_pool.orig_connections, strict=True))
        (dead, _) = transport.connection_pool.connection_opts[0]
        transport.connection_pool.mark_dead(dead)
        transport.sniff_hosts()
        assert set(transport.connection_pool.orig_connections) == set(before.values())
        assert dead not in transport.connection_pool.connections
        assert transport.connection_pool.dead_count[dead] == 1


def test_connections_of_removed_nodes_are_closed_when_nobody_uses_them(cluster):
    with client(cluster.hosts[:1], sniff_on_start=True) as loud:
        removed = [
            weakref.ref(connection)
            for connection in loud.transport.connection_pool.orig_connections
            if connection not in loud.transport.seed_connections
        ]
        for _ in range(6):
            loud.info()
        for node in cluster.nodes[1:]:
            node.roles = ["master"]
        loud.transport.sniff_hosts()
        gc.collect()
        assert len(removed) == 2
        assert [one() for one in removed] == [None, None]


def test_many_threads_ask_for_the_list_once(cluster, monkeypatch):
    now_s = [1000.0]
    monkeypatch.setattr(_clock, "now", lambda: now_s[0])
    with client(cluster.hosts[:1], sniffer_timeout=1) as loud:
        now_s[0] += 5
        threads = [threading.Thread(target=loud.info) for _ in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(cluster.traffic.seen("GET", NODES)) == 1


def test_a_failed_explicit_refresh_may_be_tried_again_at_once(loudml_server):
    with client(loudml_server.hosts, sniffer_timeout=60) as loud:
        before = loud.transport.last_sniff
        loudml_server.faults.add(Fault("status", path=NODES, status=500, times=1))
        with pytest.raises(TransportError):
            loud.transport.sniff_hosts()
        assert loud.transport.last_sniff == before
        loud.transport.sniff_hosts()
        assert loud.transport.last_sniff > before


# A node that is killed while connections come in leaves some of them to the garbage collector.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_killing_two_of_three_nodes_loses_no_call_that_may_be_repeated(cluster):
    failures, done = [], []
    with client(cluster.hosts, sniff_on_connection_fail=True, maxsize=10) as loud:

        def work():
            for _ in range(30):
                try:
                    done.append(loud.version())
                except TransportError as error:
                    failures.append(error)

        threads = [threading.Thread(target=work) for _ in range(8)]
        for thread in threads:
            thread.start()
        cluster.nodes[0].kill()
        cluster.nodes[2].kill()
        for thread in threads:
            thread.join()
    assert failures == []
    assert done == ["1.6.0"] * 240
