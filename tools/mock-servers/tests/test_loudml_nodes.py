"""Several nodes that share one state: what sniffing and fail-over see."""

import json
import sqlite3

import pytest
from loudml_client import BUCKET, MODEL, call
from mock_servers.faults import Fault
from mock_servers.loudml import LoudmlServer


def listed(node):
    return call(node, "GET", "/_nodes/_all/http").json


def test_every_node_answers_from_the_same_state(loudml_cluster):
    first, second, third = loudml_cluster.nodes
    call(first, "POST", "/models", MODEL)
    assert [call(node, "HEAD", "/models/m").status for node in (second, third)] == [200, 200]


def test_all_live_nodes_are_listed_with_distinct_ids_and_addresses(loudml_cluster):
    reply = listed(loudml_cluster.nodes[0])
    assert reply["_nodes"] == {"failed": 0, "successful": 3, "total": 3}
    entries = reply["nodes"].values()
    assert {entry["http"]["publish_address"] for entry in entries} == set(loudml_cluster.hosts)
    assert {entry["name"] for entry in entries} == {"loudml-1", "loudml-2", "loudml-3"}


def test_one_node_is_shown_by_its_id(loudml_cluster):
    node = loudml_cluster.nodes[1]
    reply = call(loudml_cluster, "GET", f"/_nodes/{node.id}/http").json
    assert list(reply["nodes"]) == [node.id]


def test_killed_node_disappears_and_returns_at_its_address(loudml_cluster):
    first, second, _ = loudml_cluster.nodes
    address = second.host
    second.kill()
    assert len(listed(first)["nodes"]) == 2
    with pytest.raises(ConnectionRefusedError):
        call(second, "GET", "/")
    second.start()
    assert second.host == address
    assert len(listed(first)["nodes"]) == 3


def test_node_is_listed_at_the_address_it_was_asked_by_unless_told_otherwise(loudml_server):
    node = loudml_server.nodes[0]
    port = node.host.rpartition(":")[2]

    def published():
        reply = call(node, "GET", "/_nodes/_all/http", headers={"Host": f"localhost:{port}"})
        return reply.json["nodes"][node.id]["http"]["publish_address"]

    assert published() == f"127.0.0.1:{port}"
    node.publish_address = "10.0.0.1:9999"
    assert published() == "10.0.0.1:9999"


def test_roles_are_configurable(loudml_server):
    loudml_server.nodes[0].roles = ["master"]
    [entry] = listed(loudml_server.nodes[0])["nodes"].values()
    assert entry["roles"] == ["master"]
    assert entry["name"] == "loudml"


def test_fault_strikes_one_node_only(loudml_cluster):
    loudml_cluster.faults.add(Fault("status", status=502, node="loudml-2"))
    assert [call(node, "GET", "/").status for node in loudml_cluster.nodes] == [200, 502, 200]


def test_traffic_of_all_nodes_is_one_record(loudml_cluster):
    for node in loudml_cluster.nodes:
        call(node, "GET", "/")
    assert [entry.node for entry in loudml_cluster.traffic.requests] == [
        "loudml-1",
        "loudml-2",
        "loudml-3",
    ]


def test_real_clock_applies_job_reports_by_itself(loudml_server):
    call(loudml_server, "POST", "/buckets", BUCKET)
    job_id = call(loudml_server, "POST", "/buckets/b/_write", [{"timestamp": 1, "v": 1}]).json
    while (state := call(loudml_server, "GET", f"/jobs/{job_id}").json[0]["state"]) != "done":
        assert state in ("waiting", "running")
    with pytest.raises(TypeError, match="ManualClock"):
        loudml_server.advance(1)


def test_taken_port_leaves_nothing_running(loudml_server):
    port = int(loudml_server.hosts[0].rpartition(":")[2])
    with pytest.raises(OSError, match="in use"):
        LoudmlServer(2, port=port - 1).start()


def test_failed_write_leaves_the_store_usable(loudml_server):
    store = loudml_server.cluster.store
    store.put("bucket", "b", BUCKET)
    store._database.execute("PRAGMA max_page_count = 1")
    points = [{"timestamp": index, "v": index} for index in range(20_000)]
    with pytest.raises(sqlite3.OperationalError, match="full"):
        store.write_points("b", points, "m", 0.0)
    store._database.execute("PRAGMA max_page_count = 1000000")
    assert store.write_points("b", points, "m", 0.0) == 20_000


def test_server_needs_a_node():
    with pytest.raises(ValueError, match="at least one"):
        LoudmlServer(0)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("p.csv", "time,v,host,tag:rack\n1,2,web,7\n61,,web,7\n"),
        ("p.json", json.dumps([{"timestamp": 1, "v": 2, "tags": {"host": "web", "rack": "7"}}])),
        ("p.ndjson", '{"timestamp": 1, "v": 2, "tags": {"host": "web", "rack": "7"}}\n\n'),
    ],
)
def test_files_are_loaded_into_a_bucket_made_for_them(loudml_server, tmp_path, name, text):
    (tmp_path / name).write_text(text)
    assert loudml_server.load("new", tmp_path / name) == 1
    match = [{"tag": "host", "value": "web"}, {"tag": "rack", "value": "7"}]
    times, values = loudml_server.cluster.store.read_points("new", "v", 0, 100, "new", match)
    assert (times.tolist(), values.tolist()) == ([1.0], [2.0])


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("p.xml", "", "expected .csv, .json"),
        ("p.csv", "", "is empty"),
        ("p.csv", "time,v\n1,2,3\n", "line 2: more cells than columns"),
        ("p.json", "{", "is no JSON"),
        ("p.json", "{}", "holds no list"),
    ],
)
def test_unreadable_file_is_refused_with_its_name(loudml_server, tmp_path, name, text, message):
    (tmp_path / name).write_text(text)
    with pytest.raises(Exception, match=message):
        loudml_server.load("new", tmp_path / name)
