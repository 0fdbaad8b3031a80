"""The web API over HTTP: statuses, bodies, paging, streams, rights, persistence, faults."""

import base64
import http.client
import itertools
import json
import socket
import xml.etree.ElementTree as ET

import pytest
from click.testing import CliRunner
from mock_servers.cli import main
from mock_servers.faults import Fault
from mock_servers.v3io.access import Grant
from mock_servers.v3io.server import V3ioServer


class Caller:
    """One keep-alive connection; every call returns (status, headers, body)."""

    def __init__(self, server, key="any"):
        self.connection = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
        self.headers = {"X-v3io-session-key": key} if key else {}

    def __call__(self, method, target, body=None, function=None, **headers):
        sent = dict(self.headers) | {name.replace("_", "-"): text for name, text in headers.items()}
        if function:
            sent["X-v3io-function"] = function
        payload = json.dumps(body) if isinstance(body, dict) else body
        self.connection.request(method, target, payload, sent)
        reply = self.connection.getresponse()
        return reply.status, reply.headers, reply.read()

    def call(self, function, target, status=200, method="PUT", **body):
        got, _, raw = self(method, target, body, function)
        assert got == status, raw
        return json.loads(raw) if raw else None


@pytest.fixture
def call(v3io_server):
    caller = Caller(v3io_server)
    yield caller
    caller.connection.close()


def put(call, key, status=200, **attributes):
    typed = {
        name: {"N": str(value)} if isinstance(value, int) else {"S": value}
        for name, value in attributes.items()
    }
    return call.call("PutItem", f"/users/t/{key}", status, Item=typed)


def test_containers_are_listed_with_numbers(call):
    _, _, raw = call("GET", "/")
    buckets = ET.fromstring(raw).findall("Buckets/Bucket")
    found = [(bucket.findtext("Name"), bucket.findtext("Id")) for bucket in buckets]
    assert found == [("bigdata", "1024"), ("projects", "1025"), ("users", "1026")]


def test_container_answers_to_its_number(call):
    call("PUT", "/users/o", b"x")
    assert call("GET", "/1026/o")[2] == b"x"


def test_object_is_written_appended_ranged_and_deleted(call):
    assert call("PUT", "/users/a/o", b"hello")[0] == 200
    assert call("POST", "/users/a/o", b" world", Range="-1")[0] == 200
    assert call("GET", "//users/a/o")[2] == b"hello world"
    assert call("GET", "/users/a/o", Range="bytes=6")[2] == b"world"
    status, headers, body = call("GET", "/users/a/o", Range="bytes=4-6")
    assert (status, body, headers["content-range"]) == (206, b"o w", "bytes 4-6/11")
    assert call("GET", "/users/a/o", Range="bytes=3-99")[2] == b"lo world"
    assert call("GET", "/users/a/o", Range="bytes=11-")[0] == 416
    assert call("GET", "/users/a/o", Range="lines=1")[0] == 400
    assert call("PUT", "/users/a/o", b"x", Range="bytes=1-2")[0] == 400
    status, headers, _ = call("HEAD", "/users/a/o")
    assert (status, headers["content-length"]) == (200, "11")
    assert headers["last-modified"].endswith("GMT")
    assert call("DELETE", "/users/a/o")[0] == 204
    assert call("DELETE", "/users/a/o")[0] == 404


def test_errors_are_json_and_name_what_is_missing(call):
    status, headers, raw = call("GET", "/nope/o")
    assert (status, headers["content-type"]) == (404, "application/json")
    assert raw == b'{\n\t"ErrorCode": -2,\n\t"ErrorMessage": "Container not found: nope"\n}'
    assert b"No such file or directory" in call("GET", "/users?prefix=nope")[2]
    assert call("GET", "/users/a/../b")[0] == 400
    assert call("PATCH", "/users/a")[0] == 405
    assert call("PUT", "/")[0] == 400
    assert call("PUT", "/users/x", {}, "OosRun")[0] == 501
    assert call("PUT", "/users/x", b"[1]", "PutItem")[0] == 400
    assert call("PUT", "/users/x", b"{", "PutItem")[0] == 400
    assert call.call("GetClusterMD", "/users/") == {"NumberOfVNs": 1}


def test_directory_cannot_be_deleted_while_it_holds_something(call):
    call("PUT", "/users/d/", b"")
    call("PUT", "/users/d/o", b"x")
    assert call("DELETE", "/users/d/")[0] == 409
    call("DELETE", "/users/d/o")
    assert call("DELETE", "/users/d/")[0] == 204
    assert call("PUT", "/users/d/p", b"x")[0] == 200


def test_object_is_no_directory_and_a_directory_no_object(call):
    call("PUT", "/users/d/o", b"x")
    assert call("PUT", "/users/d/o/p", b"x")[0] == 400
    assert call("PUT", "/users/d", b"x")[0] == 400
    assert call("GET", "/users/d")[0] == 404
    assert call("HEAD", "/users/d/")[0] == 200
    assert call.call("GetItem", "/users/d", 404)["ErrorCode"] == -2


def test_listing_pages_by_marker_with_directories_among_objects(call):
    for name in ("b", "a/x", "c", "d/y"):
        call("PUT", f"/users/l/{name}", b"1")
    seen, marker = [], ""
    while True:
        root = ET.fromstring(call("GET", f"/users?prefix=/l/&max-keys=1&marker={marker}")[2])
        seen += [node.text for node in root.iter("Key")]
        seen += [node.text for node in root.iterfind("CommonPrefixes/Prefix")]
        marker = root.findtext("NextMarker")
        if root.findtext("IsTruncated") == "false":
            break
    assert seen == ["l/a/", "l/b", "l/c", "l/d/"]
    assert marker == "l/d"


def test_listing_details_and_limits(call):
    call("PUT", "/users/l/o", b"123")
    call("PUT", "/users/l/sub/", b"")
    root = ET.fromstring(call("GET", "/users?prefix=l&prefix-info=1")[2])
    assert root.findtext("Contents/Mode") == "0100664"
    assert root.findtext("CommonPrefixes/Mode") == "040775"
    assert root.findtext("Contents/Size") == "3"
    root = ET.fromstring(call("GET", "/users?prefix=l&prefix-only=1")[2])
    assert not root.findall("Contents")
    assert root.findtext("CommonPrefixes/Prefix") == "l/sub/"
    root = ET.fromstring(call("GET", "/users?prefix=l&max-keys=0")[2])
    assert (root.findtext("IsTruncated"), root.find("NextMarker").text) == ("false", None)
    assert call("GET", "/users?prefix=l/o")[0] == 404
    assert call("GET", "/users?max-keys=x")[0] == 400


def test_put_item_replaces_and_update_merges(call):
    put(call, "k", a=1, b=2)
    put(call, "k", c=3)
    assert call.call("GetItem", "/users/t/k") == {"Item": {"c": {"N": "3"}}}
    call.call(
        "PutItem", "/users/t/k", UpdateMode="CreateOrReplaceAttributes", Item={"d": {"S": "x"}}
    )
    assert call.call("GetItem", "/users/t/k", AttributesToGet="d,nope") == {
        "Item": {"d": {"S": "x"}}
    }
    raw = call("PUT", "/users/t/k", {"UpdateMode": "CreateNewItemOnly", "Item": {}}, "PutItem")[2]
    assert raw.count(b"ErrorCode") == 2
    assert b"369098809" in raw
    call.call("PutItem", "/users/t/k", 400, UpdateMode="Whatever", Item={})


def test_false_condition_is_the_documented_400(call):
    put(call, "k", age=1)
    body = {"Item": {}, "ConditionExpression": "age > 5"}
    status, _, raw = call("PUT", "/users/t/k", body, "PutItem")
    assert status == 400
    assert raw.count(b"ErrorCode") == 1
    assert b"16777244" in raw


def test_transaction_verifier_is_a_condition_that_holds_once(call):
    put(call, "k", age=1)
    verifier = call("PUT", "/users/t/k", {}, "GetItem")[1]["x-v3io-transaction-verifier"]
    update = {"UpdateExpression": "age = age + 1", "ConditionExpression": verifier}
    assert call("POST", "/users/t/k", update, "UpdateItem")[0] == 200
    assert call("POST", "/users/t/k", update, "UpdateItem")[0] == 400
    assert call.call("GetItem", "/users/t/k") == {"Item": {"age": {"N": "2"}}}


def test_update_takes_the_alternate_and_creates_the_item(call):
    body = {
        "UpdateExpression": "a = 1",
        "AlternateUpdateExpression": "b = 2",
        "ConditionExpression": "exists(a)",
    }
    call.call("UpdateItem", "/users/t/n", **body)
    assert call.call("GetItem", "/users/t/n") == {"Item": {"b": {"N": "2"}}}


def test_failed_update_changes_nothing(call):
    put(call, "k", age=1)
    call.call("UpdateItem", "/users/t/k", 400, UpdateExpression="age = 5; x = absent + 1")
    call.call("UpdateItem", "/users/t/k", 400, UpdateExpression="__size = 5")
    call.call("UpdateItem", "/users/t/k", 400)
    assert call.call("GetItem", "/users/t/k") == {"Item": {"age": {"N": "1"}}}


@pytest.mark.parametrize(
    "attribute",
    [{"N": "x"}, {"S": 5}, {"B": "?"}, {"TS": "5"}, {"BOOL": "true"}, {"X": "1"}, {}, "x"],
)
def test_malformed_attribute_is_refused(call, attribute):
    assert (
        "InvalidArgument"
        in call.call("PutItem", "/users/t/k", 400, Item={"a": attribute})["ErrorMessage"]
    )


def test_attribute_name_must_be_an_identifier(call):
    call.call("PutItem", "/users/t/k", 400, Item={"1a": {"N": "1"}})


def test_key_in_the_body_names_the_item_and_is_an_attribute(call):
    call.call("PutItem", "/users/", TableName="t", Key={"id": {"S": "k"}}, Item={"a": {"N": "1"}})
    assert call.call("GetItem", "/users/t/k")["Item"] == {"a": {"N": "1"}, "id": {"S": "k"}}


def pages(call, **body):
    while True:
        page = call.call("GetItems", "/users/t/", **body)
        yield page["Items"]
        if page["LastItemIncluded"] == "TRUE":
            assert "NextMarker" not in page
            return
        body["Marker"] = page["NextMarker"]


def names(found):
    return [item["__name"]["S"] for page in found for item in page]


def test_scan_pages_and_filters_without_losing_an_item(v3io_server, call):
    for number in range(20):
        put(call, f"k{number:02}", n=number)
    put(call, "empty")
    call("PUT", "/users/t/sub/x", b"no item of t")
    everything = sorted(["empty", *(f"k{number:02}" for number in range(20))])
    assert names(pages(call)) == everything
    assert names(pages(call, Limit=3)) == everything
    v3io_server.knobs.page_rows = 2
    found = list(pages(call, FilterExpression="n >= 15", AttributesToGet="*,__size"))
    assert names(found) == [f"k{number}" for number in range(15, 20)]
    assert [] in found
    v3io_server.knobs.empty_page_every = 2
    assert names(pages(call, Limit=5)) == everything


def test_scan_by_segment_gives_each_item_to_one_segment(call):
    for number in range(30):
        put(call, f"k{number}", n=number)
    parts = [names(pages(call, Segment=str(part), TotalSegment=4)) for part in range(4)]
    assert sorted(itertools.chain(*parts)) == sorted(f"k{number}" for number in range(30))
    assert all(parts)


def test_scan_by_sharding_key_takes_start_and_leaves_end(call):
    for name in ("a.1", "a.2", "a.3", "b.1", "a"):
        put(call, name)
    assert names(pages(call, ShardingKey="a")) == ["a.1", "a.2", "a.3"]
    ranged = pages(call, ShardingKey="a", SortKeyRangeStart="2", SortKeyRangeEnd="3")
    assert names(ranged) == ["a.2"]


@pytest.mark.parametrize(
    "body",
    [
        {"Segment": 4, "TotalSegment": 4},
        {"Segment": 0},
        {"Segment": 0, "TotalSegment": 2, "ShardingKey": "a"},
        {"SortKeyRangeStart": "a"},
        {"Marker": "bogus"},
        {"Marker": "Ym9ndXM="},
        {"Limit": "x"},
        {"AttributesToGet": 5},
        {"FilterExpression": "a =="},
    ],
)
def test_bad_scan_argument_is_refused(call, body):
    put(call, "k")
    call.call("GetItems", "/users/t/", 400, **body)


def test_scan_of_a_missing_table_is_404(call):
    assert "ResourceNotFound" in call.call("GetItems", "/users/none/", 404)["ErrorMessage"]


def b64(text):
    return base64.b64encode(text.encode()).decode()


def read(call, shard, location, **body):
    reply = call.call("GetRecords", f"/users/st/{shard}/", Location=location, **body)
    return [base64.b64decode(record["Data"]).decode() for record in reply["Records"]], reply


def test_stream_keeps_order_by_shard_and_tells_of_each_record(call):
    call.call("CreateStream", "/users/st/", 204, ShardCount=2, RetentionPeriodHours=1)
    call.call("CreateStream", "/users/st/", 409, ShardCount=2)
    assert call.call("DescribeStream", "/users/st/") == {"ShardCount": 2, "RetentionPeriodHours": 1}
    call.call("SeekShard", "/users/st/1/", 404, Type="EARLIEST")
    records = [{"Data": b64(text), "ShardId": 1} for text in "abc"]
    records += [{"Data": b64("bad"), "ShardId": 5}, {"Data": "?"}, {"Data": b64("x" * 3_000_000)}]
    reply = call.call("PutRecords", "/users/st/", Records=records)
    assert [result.get("SequenceNumber") for result in reply["Records"]] == [
        1,
        2,
        3,
        None,
        None,
        None,
    ]
    assert reply["FailedRecordCount"] == 3
    start = call.call("SeekShard", "/users/st/1/", Type="EARLIEST")["Location"]
    first, page = read(call, 1, start, Limit=2)
    assert (first, page["RecordsBehindLatest"]) == (["a", "b"], 1)
    rest, page = read(call, 1, page["NextLocation"])
    assert (rest, page["RecordsBehindLatest"]) == (["c"], 0)
    assert read(call, 1, page["NextLocation"])[0] == []


def test_every_seek_type(v3io_server, call):
    now = [10_000_000_000]
    v3io_server.store.clock = lambda: now[0]
    call.call("CreateStream", "/users/st/", 204, ShardCount=1)
    for text in "abc":
        now[0] += 1_000_000_000
        call.call("PutRecords", "/users/st/", Records=[{"Data": b64(text)}])

    def seek(**body):
        return read(call, 0, call.call("Seek", "/users/st/0/", **body)["Location"])[0]

    assert seek(Type="LATEST") == []
    assert seek(Type="SEQUENCE", StartingSequenceNumber=2) == ["b", "c"]
    assert seek(Type="SEQUENCE", StartingSequenceNumber=4) == []
    assert seek(Type="TIME", TimestampSec=12, TimestampNSec=None) == ["b", "c"]
    assert seek(Type="TIME", TimestampSec=12, TimestampNSec=1) == ["c"]
    assert seek(Type="TIME", TimestampSec=99) == []
    for body in (
        {"Type": "SEQUENCE", "StartingSequenceNumber": 5},
        {"Type": "SEQUENCE"},
        {"Type": "earliest"},
    ):
        call.call("SeekShard", "/users/st/0/", 400, **body)


def test_expired_records_go_and_their_location_is_illegal(v3io_server, call):
    now = [10**18]
    v3io_server.store.clock = lambda: now[0]
    call.call("CreateStream", "/users/st/", 204, ShardCount=1, RetentionPeriodHours=1)
    call.call("PutRecords", "/users/st/", Records=[{"Data": b64("old")}])
    old = call.call("SeekShard", "/users/st/0/", Type="EARLIEST")["Location"]
    now[0] += 2 * 3600 * 10**9
    call.call("PutRecords", "/users/st/", Records=[{"Data": b64("new")}])
    refused = call.call("GetRecords", "/users/st/0/", 400, Location=old)
    assert "IllegalLocation" in refused["ErrorMessage"]
    fresh = call.call("SeekShard", "/users/st/0/", Type="EARLIEST")["Location"]
    assert read(call, 0, fresh)[0] == ["new"]


def test_partition_key_stays_on_one_shard_and_turns_start_at_0(call):
    call.call("CreateStream", "/users/st/", 204, ShardCount=4)
    keyed = [{"Data": "", "PartitionKey": "p"}] * 3 + [{"Data": ""}, {"Data": ""}]
    shards = [r["ShardId"] for r in call.call("PutRecords", "/users/st/", Records=keyed)["Records"]]
    assert len(set(shards[:3])) == 1
    assert shards[3:] == [0, 1]


def test_stream_grows_and_never_shrinks(call):
    call.call("CreateStream", "/users/st/", 204, ShardCount=2)
    call.call("UpdateStream", "/users/st/", 400, ShardCount=2)
    call.call("UpdateStream", "/users/st/", 204, ShardCount=3)
    call("PUT", "/users/plain/", b"")
    assert "NotStream" in call.call("DescribeStream", "/users/plain/", 400)["ErrorMessage"]
    call.call("PutRecords", "/users/none/", 404, Records=[])
    call.call("PutRecords", "/users/st/", 400, Records=[{"Data": ""}] * 1001)
    call.call("PutRecords", "/users/st/", 400, Records="x")
    call.call("SeekShard", "/users/st/7/", 404, Type="LATEST")
    call.call("GetRecords", "/users/st/0/", 404, Location="x")
    call.call("CreateStream", "/users/st2/", 400, ShardCount=0)


def test_shard_shows_its_type_and_last_sequence(call):
    call.call("CreateStream", "/users/st/", 204, ShardCount=1)
    call.call("PutRecords", "/users/st/", Records=[{"Data": b64("x")}])
    condition = {"ConditionExpression": "__obj_type == 3", "Item": {"a": {"N": "1"}}}
    call.call("PutItem", "/users/st/0", UpdateMode="CreateOrReplaceAttributes", **condition)
    root = ET.fromstring(call("GET", "/users?prefix=st&prefix-info=1")[2])
    assert root.findtext("Contents/LastSequenceId") == "1"
    call.call("GetRecords", "/users/st/0/", 400, Location="AAAA")


def test_keys_and_their_rights():
    keys = {"reader": [Grant.parse("users/in:r")], "writer": [Grant("users")]}
    with V3ioServer(keys=keys) as server:
        reader, writer, nobody = (Caller(server, key) for key in ("reader", "writer", "stranger"))
        assert writer("PUT", "/users/in/o", b"x")[0] == 200
        assert writer("GET", "/bigdata/o")[0] == 403
        assert reader("GET", "/users/in/o")[2] == b"x"
        assert reader("GET", "/users?prefix=in/")[0] == 200
        status, _, raw = reader("PUT", "/users/in/o", b"y")
        assert (status, json.loads(raw)["ErrorCode"]) == (403, -13)
        assert reader("GET", "/users/out/o")[0] == 403
        assert reader("PUT", "/users/in/o", {}, "GetItem")[0] == 200
        assert nobody("GET", "/")[0] == 401
        basic = base64.b64encode(b"user:reader").decode()
        keyless = Caller(server, "")
        assert keyless("GET", "/")[0] == 401
        assert keyless("GET", "/", Authorization="Basic ?")[0] == 401
        assert keyless("GET", "/", Authorization=f"Basic {basic}")[0] == 200
        for caller in (reader, writer, nobody, keyless):
            caller.connection.close()
    with pytest.raises(ValueError, match="mode"):
        Grant.parse("users:x")


def test_data_outlive_the_server(tmp_path):
    for expected in (404, 200):
        with V3ioServer(data=tmp_path / "data") as server:
            caller = Caller(server)
            assert caller("GET", "/users/o")[0] == expected
            caller("PUT", "/users/o", b"kept")
            caller.connection.close()


def test_reset_empties_and_state_counts(call):
    call("PUT", "/users/o", b"123")
    put(call, "first", n=1)
    put(call, "second", n=2, text="a")
    call.call("CreateStream", "/users/st/", 204, ShardCount=2)
    records = [{"Data": b64(text), "ShardId": 1} for text in ("old", "new")]
    call.call("PutRecords", "/users/st/", Records=records)
    state = json.loads(call("GET", "/_mock/state")[2])
    assert {"name": "users", "objects": 4, "bytes": 9} in state["containers"]
    assert state["tables"] == [
        {
            "table": "users/t",
            "items": 2,
            "newest": [{"item": "second", "n": "2", "text": "a"}, {"item": "first", "n": "1"}],
        }
    ]
    empty, filled = state["streams"][0]["shards"]
    assert state["streams"][0]["stream"] == "users/st"
    assert empty == {"shard": 0, "records": 0, "newest": ""}
    assert filled == {"shard": 1, "records": 2, "newest": "new"}
    assert [found["object"] for found in state["newest_objects"]] == ["users/o"]
    call("POST", "/_mock/reset")
    assert call("GET", "/users/o")[0] == 404
    assert call("PUT", "/users/o", b"1")[0] == 200


def test_fault_drops_the_connection_after_the_append_was_applied(v3io_server, call):
    call("PUT", "/users/o", b"a")
    v3io_server.faults.add(Fault("drop", path="/users/o", apply=True, times=1))
    with pytest.raises(http.client.RemoteDisconnected):
        call("PUT", "/users/o", b"b", Range="-1")
    call.connection.close()
    assert call("GET", "/users/o")[2] == b"ab"


def test_chunked_body_and_expect_continue_are_served(v3io_server):
    with socket.create_connection(("127.0.0.1", v3io_server.port), timeout=5) as sock:
        head = (
            b"PUT /users/o HTTP/1.1\r\nHost: x\r\nX-v3io-session-key: k\r\nExpect: 100-continue\r\n"
        )
        sock.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        assert b"100 Continue" in sock.recv(1000)
        sock.sendall(b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        assert b"200 OK" in sock.recv(1000)
    assert v3io_server.store.read(v3io_server.store.find(1026, "o"), 0, 9) == b"abcde"


def test_command_has_help():
    result = CliRunner().invoke(main, ["v3io", "--help"])
    assert result.exit_code == 0
    assert "--data" in result.output
    assert CliRunner().invoke(main, ["v3io", "--key", "=x"]).exit_code == 2
    assert CliRunner().invoke(main, ["v3io", "--key", "k=users:z"]).exit_code == 2
