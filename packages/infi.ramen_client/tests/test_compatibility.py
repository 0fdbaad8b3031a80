"""Every call of 1.40 beside what this release does: recorded cases, and the differences, each with its reason."""

from __future__ import annotations

import base64
import copy
import datetime
import decimal
import importlib
import inspect
import json
import os
import pathlib
import pickle
import re
import time
import zlib

import pytest
from infi.ramen_client.config import QueueReaderConfig, QueueWriterConfig
from infi.ramen_client.errors import AutheticationError, DataError, EncodingError, ValidationError
from infi.ramen_client.queue import DefaultQueue, Queue
from infi.ramen_client.queue_reader import Blacklist, QueueReader
from infi.ramen_client.queue_writer import QueueWriter
from infi.ramen_client.serialization import compress, dump_json

VECTORS = json.loads(
    (pathlib.Path(__file__).parent / "seed" / "wire-vectors.json").read_text("utf-8")
)

PUBLIC = {
    "config": "QueueReaderConfig QueueWriterConfig validate_name validate_version",
    "queue": "DefaultQueue Queue QueueWriterConfig logger",
    "queue_reader": "AutheticationError Blacklist DefaultQueue QueueReader compress dump_json logger",
    "queue_writer": "DefaultQueue QueueWriter compress dump_json validate_name",
    "utils": "compress create_queue_reader_and_writer dump_json logger validate_name validate_version",
    "__version__": "__version__",
}

SIGNATURES = [
    (QueueWriter.push, "category data_type data_version data reqid=None"),
    (QueueWriter.queue_size, ""),
    (QueueReader.consume_one, ""),
    (QueueReader.run, "blocking=True"),
    (QueueReader.stop, ""),
    (QueueReader.test_connection, ""),
    (QueueReader.get_blacklist, ""),
    (Queue.push, "category data_type data_version data reqid=None"),
    (DefaultQueue.peek, ""),
    (DefaultQueue.pop, ""),
    (DefaultQueue.compact, ""),
    (Blacklist.add, "rule"),
    (Blacklist.matches, "item"),
    (Blacklist.check_match, "rule item"),
    (Blacklist.get_list, ""),
]


@pytest.mark.parametrize(("module", "names"), PUBLIC.items())
def test_public_names_are_where_they_were(module, names):
    found = importlib.import_module(f"infi.ramen_client.{module}")
    for name in names.split():
        assert hasattr(found, name)
        assert name in found.__all__


@pytest.mark.parametrize(("method", "expected"), SIGNATURES)
def test_signatures_are_as_they_were(method, expected):
    parameters = list(inspect.signature(method).parameters.values())[1:]
    shown = [
        p.name if p.default is p.empty else f"{p.name}={p.default}"
        for p in parameters
        if p.kind is not p.KEYWORD_ONLY
    ]
    assert shown == expected.split()


def test_status_numbers():
    assert (QueueReader.EMPTY, QueueReader.ACCEPTED, QueueReader.DROPPED, QueueReader.RETRY) == (
        0,
        1,
        2,
        3,
    )


def test_the_namespace_package_has_no_init_file():
    import infi.ramen_client

    assert not (pathlib.Path(infi.ramen_client.__file__).parent.parent / "__init__.py").exists()


# Configuration


@pytest.mark.parametrize(
    "case", VECTORS["config_cases"], ids=lambda case: json.dumps(case["data"])[-60:]
)
def test_configurations_convert_and_are_refused_as_recorded(case):
    cls = QueueWriterConfig if case["cls"] == "W" else QueueReaderConfig
    if case["data"].get("sender") == "ab\n":
        with pytest.raises(DataError):
            cls(case["data"]).validate()
        return
    stage = "construct"
    try:
        config = cls(case["data"])
        stage = "validate"
        assert config.validate() is None
        stage = "ok"
        primitive = config.to_primitive()
    except DataError as error:
        primitive = error.to_primitive()
        assert json.loads(str(error)) == primitive
    assert (stage, primitive) == (case["stage"], case["primitive"])
    assert list(primitive) == list(case["primitive"])


@pytest.fixture
def config(reader_values):
    return QueueReaderConfig({**reader_values, "hostname": "h", "auth_token": "secret"})


def test_the_surface_of_a_configuration(config, reader_values):
    assert config["sender"] == config.sender == config.get("sender") == "imx"
    assert config.get("nothing", 5) == 5
    assert "sender" in config
    assert "nothing" not in config
    assert list(config) == list(config.keys()) == list(QueueReaderConfig.fields)
    assert dict(config) == dict(config.items()) == config.to_primitive() == config.to_native()
    assert config == QueueReaderConfig(config.to_primitive())
    assert config != QueueReaderConfig({**config.to_primitive(), "ssl": True})
    assert config.import_data({"ssl": "1"}) is config
    assert config.ssl is True
    assert issubclass(QueueReaderConfig, QueueWriterConfig)
    writer = QueueWriterConfig(
        {name: reader_values[name] for name in QueueWriterConfig.fields if name in reader_values}
    )
    assert QueueReaderConfig(writer).sender == "imx"
    config["ssl"] = False
    assert config.ssl is False
    with pytest.raises(KeyError):
        config["nothing"]
    with pytest.raises(KeyError):
        config["nothing"] = 1


def test_assigned_values_are_judged_by_validate(config):
    config.server_timeout = "abc"
    with pytest.raises(DataError, match="is not int"):
        config.validate()
    config.server_timeout = "5"
    config.validate()
    assert config.server_timeout == 5


def test_configurations_copy_pickle_and_hide_their_secrets(config):
    assert copy.deepcopy(config) == pickle.loads(pickle.dumps(config)) == config
    config.proxy = "http://u:p@proxy/"
    assert "secret" not in repr(config)
    assert "u:p" not in repr(config)
    assert repr(config).startswith("<QueueReaderConfig ")


def test_keywords_are_accepted_too():
    assert QueueWriterConfig(sender="imx", system_serial="5").system_serial == 5
    with pytest.raises(DataError):
        QueueWriterConfig(nothing=1)


def test_bytes_and_their_limits():
    assert QueueWriterConfig({"sender": b"imx"}).sender == "imx"
    with pytest.raises(DataError, match="UTF-8"):
        QueueWriterConfig({"sender": b"\xff"})


def test_errors_pickle_and_compare():
    error = DataError({"sender": ["This field is required."]})
    again = pickle.loads(pickle.dumps(error))
    assert again == error
    assert again.errors == error.messages
    assert "sender" in repr(again)
    assert str(pickle.loads(pickle.dumps(ValidationError("x")))) == "x"
    auth = pickle.loads(pickle.dumps(AutheticationError("A - b", {"code": "A"})))
    assert (str(auth), auth.args, auth.reply) == ("A - b", ("A - b", {"code": "A"}), {"code": "A"})


def test_handlers_of_schematics_catch_our_errors_where_it_is_installed(monkeypatch):
    import sys
    import types

    from infi.ramen_client import errors

    theirs = types.ModuleType("schematics.exceptions")
    theirs.DataError = type("DataError", (Exception,), {"__module__": "schematics.exceptions"})
    theirs.ValidationError = type(
        "ValidationError", (ValueError,), {"__module__": "schematics.exceptions"}
    )
    monkeypatch.setitem(sys.modules, "schematics", types.ModuleType("schematics"))
    monkeypatch.setitem(sys.modules, "schematics.exceptions", theirs)
    monkeypatch.setattr(errors, "_combined", {})
    with pytest.raises(theirs.DataError) as caught:
        QueueWriterConfig({}).validate()
    assert isinstance(caught.value, DataError)
    assert caught.value.to_primitive()["sender"] == ["This field is required."]
    with pytest.raises(theirs.ValidationError):
        importlib.import_module("infi.ramen_client.names").validate_name("a b")


@pytest.mark.parametrize("cls", [QueueWriter, DefaultQueue, QueueReader])
def test_constructors_want_a_configuration(cls):
    kind = "Reader" if cls is QueueReader else "Writer"
    with pytest.raises(AssertionError, match=f"Queue{kind}Config instance is required"):
        cls({})


def test_constructors_validate(writer_values):
    with pytest.raises(DataError):
        QueueWriter(QueueWriterConfig({**writer_values, "sender": "a b"}))
    with pytest.raises(TypeError):
        QueueWriter(QueueWriterConfig({**writer_values, "queue_dir": None}))


# Pushing


@pytest.mark.parametrize("case", VECTORS["push_cases"], ids=lambda case: repr(case["args"]))
def test_names_are_refused_as_recorded(case, writer_values):
    expected = case["result"]
    if case["args"][0] == "metrics\n":
        expected = "AssertionError: Invalid characters in category"  # a newline passed by mistake
    with QueueWriter(QueueWriterConfig(writer_values)) as writer:
        try:
            assert writer.push(*case["args"], {}) is None
            result = "accepted"
        except AssertionError as error:
            result = f"AssertionError: {error}"
        assert result == expected
        assert writer.queue_size() == (result == "accepted")


@pytest.fixture
def time_zone(monkeypatch):
    def use(name):
        monkeypatch.setenv("TZ", name)
        time.tzset()

    yield use
    monkeypatch.undo()
    time.tzset()


# What is not here differs on purpose, see the tests below.
VALUES = {
    "Decimal('3.14')": decimal.Decimal("3.14"),
    "Decimal('12345678901234567890.123')": decimal.Decimal("12345678901234567890.123"),
    "datetime(2020,1,2,3,4,5,678999)": datetime.datetime(2020, 1, 2, 3, 4, 5, 678999),
    "date(2020,1,2)": datetime.date(2020, 1, 2),
    "keys": {1: 4, None: 3, 1.5: 5},
    "tuple": (1, 2),
    "unicode": "\u05e9\u2028\u007f\ud800",
    "2**70": 2**70,
    "1e22": 1e22,
    "nested": {"a": [{"b": None, "c": True}], "z": {}},
}


@pytest.mark.parametrize(
    "case",
    [case for case in VECTORS["serialization"] if case["value"] in VALUES],
    ids=lambda case: f"{case['tz']} {case['value']}",
)
def test_values_are_written_as_recorded(case, time_zone):
    time_zone(case["tz"])
    assert dump_json(VALUES[case["value"]]) == case["json"]


def test_aware_datetimes_are_converted(time_zone):
    zone = datetime.timezone(datetime.timedelta(hours=2))
    moment = datetime.datetime(2020, 1, 2, 3, 4, 5, 678999, zone)
    for name in ("UTC", "Asia/Jerusalem"):
        time_zone(name)
        assert dump_json(moment) == "1577927045678"


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (datetime.time(1, 2), "data"),
        ({"a": [1, {"b": b"x"}]}, "data['a'][1]['b']"),
        ((1, object()), "data[1]"),
        ({"f": (n for n in ())}, "data['f']"),
        (bytearray(b"x"), "data"),
    ],
)
def test_what_became_null_is_an_error_that_names_the_place(value, place):
    with pytest.raises(EncodingError, match="no JSON form") as caught:
        dump_json(value)
    assert str(caught.value).startswith(place + " is of type")
    assert isinstance(caught.value, TypeError)


def test_sets_identifiers_enums_and_paths_have_a_form():
    import enum
    import uuid

    number = uuid.UUID(int=5)
    kind = enum.Enum("kind", {"A": "a"})
    value = {"s": {3, 1, 2}, "m": {"x"}, "u": number, "e": kind.A, "p": pathlib.Path("/a/b")}
    assert dump_json(value) == f'{{"s":[1,2,3],"m":["x"],"u":"{number}","e":"a","p":"/a/b"}}'
    assert json.loads(dump_json({1, "a"})) in ([1, "a"], ["a", 1])


def test_names_given_as_members_of_a_str_enum_are_stored_as_their_values(writer_values):
    import enum

    class Kind(str, enum.Enum):
        EVENT = "event"

    with QueueWriter(QueueWriterConfig(writer_values)) as writer:
        writer.push(Kind.EVENT, Kind.EVENT, "v1", {})
        row = writer._queue.peek()
    assert (row["category"], row["data_type"]) == ("event", "event")


@pytest.mark.parametrize("value", [float("nan"), {"a": [float("inf")]}, decimal.Decimal("NaN")])
def test_nan_is_an_error_unless_allowed(value, writer_values):
    with pytest.raises(ValueError, match="NaN or infinite"):
        dump_json(value)
    with QueueWriter(QueueWriterConfig(writer_values)) as writer:
        with pytest.raises(ValueError, match="allow_nan"):
            writer.push("m", "t", "v1", value)
        assert writer.queue_size() == 0
    dump_json(value, allow_nan=True)


def test_nan_may_be_let_through(writer_values):
    with QueueWriter(QueueWriterConfig(writer_values), allow_nan=True) as writer:
        writer.push("m", "t", "v1", [float("nan")])
        assert zlib.decompress(writer._queue.peek()["data"]) == b"[NaN]"


@pytest.mark.parametrize("value", [{(1, 2): 3}, {"a": {b"x": 1}}])
def test_keys_without_a_form_are_an_error(value):
    with pytest.raises(TypeError):
        dump_json(value)


def test_a_structure_that_contains_itself_is_an_error():
    value = []
    value.append(value)
    with pytest.raises(ValueError, match="Circular"):
        dump_json(value)


@pytest.mark.parametrize("case", VECTORS["compression"], ids=lambda case: case["input"])
def test_compress_gives_the_recorded_stream(case):
    data = b"a" * 2000 if case["input_base64"] is None else base64.b64decode(case["input_base64"])
    recorded = base64.b64decode(case["output_base64"])
    assert zlib.decompress(compress(data)) == zlib.decompress(recorded) == data
    if zlib.ZLIB_RUNTIME_VERSION.startswith("1.2") or zlib.ZLIB_RUNTIME_VERSION == "1.3":
        assert compress(data) == recorded


# Requests

ANY_REQID = r"[0-9a-f]{16}-[0-9a-f]+"

CALLS = {
    "basic": ("metrics", "san_totals", "v1", {"a": 1}),
    "int-version": ("metrics", "san_totals", 1, [0, 1, 2]),
    "reqid": ("metrics", "san_totals", "v1", {}, "abc-123"),
    "text": ("events", "x", "v1", '{"b": 2}'),
    "bytes": ("events", "x", "v1", b"\x00\xffraw"),
    "unicode": ("events", "x", "v1", {"c": "\u05e9\u05dc\u05d5\u05dd"}),
    "unicode-text": ("events", "x", "v1", '{"c":"\u05e9"}'),
    "types": (
        "events",
        "x",
        "v1",
        {
            "d": decimal.Decimal("3.14"),
            "date": datetime.date(2020, 1, 2),
            "dt": datetime.datetime(2020, 1, 2, 3, 4, 5, 678999),
        },
    ),
    "empty-string": ("events", "x", "v1", ""),
    "large": ("m", "t", "v1", "x" * 20000),
    "numeric-string-version": ("metrics", "san_totals", "008", {}),
}
DIFFERENT_LINES = {"numeric-string-version": "/ramen/v1/metrics/1099/imx.san_totals.008/"}


@pytest.mark.parametrize("name", CALLS)
def test_requests_are_those_recorded(name, recorder, make_pair, time_zone):
    time_zone("UTC")
    vector = next(vector for vector in VECTORS["requests"] if vector["id"] == name)
    expected = vector["sent"][0]
    reader, writer = make_pair(recorder)
    writer.push(*CALLS[name])
    assert reader.consume_one() == reader.ACCEPTED
    assert writer.queue_size() == vector["left_in_queue"]
    (lines, body) = recorder.requests[0]
    line = re.sub(f"reqid={ANY_REQID} ", "reqid=1 ", lines[0])
    if name in DIFFERENT_LINES:
        assert DIFFERENT_LINES[name] in line
    else:
        assert line == expected["request_line"]
    recorded = [
        (field, value)
        for field, value in expected["headers"]
        if field not in ("Host", "User-Agent", "Content-Length")
    ]
    sent = [tuple(field.split(": ", 1)) for field in lines[1:]]
    assert [pair for pair in sent if pair[0] not in ("Host", "User-Agent", "Content-Length")] == [
        tuple(pair) for pair in recorded
    ]
    assert [field for field, _ in sent] == [field for field, _ in expected["headers"]]
    assert zlib.decompress(body) == zlib.decompress(base64.b64decode(expected["body_base64"]))


@pytest.mark.parametrize(
    ("reqid", "sent"),
    [
        ("a b&c=d", "a%20b%26c%3Dd"),
        ("#x", "%23x"),
        ("é", "%C3%A9"),
        ("%41", "%2541"),
        ("a/b?c", "a%2Fb%3Fc"),
        ("+", "%2B"),
        ("%", "%25"),
        (";", "%3B"),
        ('"<>', "%22%3C%3E"),
        (5, "5"),
        (1.5, "1.5"),
        (0, "0"),
        (b"by", "by"),
        ("A.b_c~d-1", "A.b_c~d-1"),
    ],
)
def test_request_ids_arrive_as_they_were_given(reqid, sent, recorder, make_pair):
    reader, writer = make_pair(recorder)
    writer.push("m", "t", "v1", {}, reqid=reqid)
    reader.consume_one()
    assert f"&reqid={sent} " in recorder.requests[0][0][0]


@pytest.mark.parametrize("reqid", [None, ""])
def test_a_request_id_is_made_when_none_is_given(reqid, recorder, make_pair):
    reader, writer = make_pair(recorder)
    writer.push("m", "t", "v1", {}, reqid=reqid)
    reader.consume_one()
    assert re.search(f"&reqid={ANY_REQID} ", recorder.requests[0][0][0])


def test_three_messages_use_one_connection_and_are_counted(recorder, make_pair):
    reader, writer = make_pair(recorder)
    for number in range(3):
        writer.push("m", "t", "v1", {"i": number})
    assert reader.run(blocking=False) == 3
    assert recorder.connections == 1
    assert [zlib.decompress(body) for _, body in recorder.requests] == [
        b'{"i":0}',
        b'{"i":1}',
        b'{"i":2}',
    ]


def test_the_test_message_is_compressed_and_has_a_uuid(recorder, make_pair):
    reader, _ = make_pair(recorder)
    assert reader.test_connection() is True
    lines, body = recorder.requests[0]
    assert re.match(
        r"POST /ramen/v1/metrics/1099/imx\.test\.v1/\?version=3\.0\.0\.1&reqid=[0-9a-f]{32} ",
        lines[0],
    )
    assert zlib.decompress(body) == b"{}"


def test_real_gzip_is_sent_on_demand(recorder, make_pair):
    import gzip

    reader, writer = make_pair(recorder, encoding="gzip")
    writer.push("m", "t", "v1", {"a": 1})
    reader.consume_one()
    assert gzip.decompress(recorder.requests[0][1]) == b'{"a":1}'
    with pytest.raises(ValueError, match="expected one of"):
        make_pair(recorder, encoding="br")


# Replies

KEPT = (204, 301, 302, 303, 307, 308, 408, 425)
"""Statuses after which 1.40 removed the message, and this release keeps it."""


@pytest.mark.parametrize(
    "case", VECTORS["replies"], ids=lambda case: f"{case['status']} {case['body'][:40]}"
)
def test_replies_do_what_is_recorded_or_keep_the_message(case, recorder, make_pair):
    reader, writer = make_pair(recorder)
    recorder.answers = [recorder.reply(case["status"], case["body"].encode())]
    writer.push("m", "t", "v1", {"a": 1})
    try:
        result = ("EMPTY", "ACCEPTED", "DROPPED", "RETRY")[reader.consume_one()]
    except AutheticationError as error:
        result = f"raises {error}"
    left = writer.queue_size()
    expected, expected_left = case["result"], case["left_in_queue"]
    if case["status"] in KEPT:
        assert (result, left) == ("RETRY", 1)
    elif case["status"] in (401, 403):
        assert result.startswith("raises ")
        assert left == 1
        if '"code"' in case["body"]:
            reply = json.loads(case["body"])
            assert result == f"raises {reply['code']} - {reply['details']}"
    elif expected.startswith("raises") and '"DROPPED"' in case["body"]:
        assert (result, left) == ("DROPPED", 0)  # a rule that cannot be understood is ignored
        assert reader.get_blacklist() == []
    elif expected.startswith("raises"):
        assert (result, left) == ("RETRY", 1)
    else:
        assert (result, left) == (expected, expected_left)
        shown = [str(rule) for rule in reader.get_blacklist()]
        assert shown == [rule for rule in case.get("blacklist", []) if rule != "Rule()"]
    if result == "DROPPED" and case["status"] != 202:
        assert [row["status"] for row in reader._dead.list()] == [case["status"]]


# The queue itself


@pytest.mark.parametrize("number", [0, 1], ids=["clean", "kill"])
def test_recorded_queues_of_140_are_read_row_by_row(number, tmp_path, writer_values):
    recorded = VECTORS["queue_files"][number]
    folder = tmp_path / "queue"
    folder.mkdir()
    for name, content in recorded["files_base64"].items():
        (folder / name).write_bytes(base64.b64decode(content))
    queue = DefaultQueue(QueueWriterConfig(writer_values))
    assert len(queue) == len(recorded["rows"])
    for expected in recorded["rows"]:
        row = queue.peek()
        assert row["id"] == expected[0]
        assert [row[name] for name in ("ts", "category", "data_type", "data_version", "reqid")] == (
            expected[1:6]
        )
        assert row["data"] == base64.b64decode(expected[6])
        assert queue.pop()["id"] == row["id"]
    assert queue.peek() is None
    assert queue.pop() is None
    queue.compact()
    queue.close()


def test_a_row_is_a_mapping_by_name_and_by_position(writer_values):
    queue = DefaultQueue(QueueWriterConfig(writer_values))
    queue.push("m", "t", 7, zlib.compress(b"{}"), "r")
    row = queue.peek()
    assert row.keys() == ["id", "ts", "category", "data_type", "data_version", "reqid", "data"]
    assert (row[2], row["data_version"], row["reqid"]) == ("m", 7, "r")
    assert row is not None
    assert bool(queue)
    assert os.path.basename(queue._path) == "imx_1099.db"
    queue.close()


def test_an_abstract_queue_does_nothing(writer_values):
    queue = Queue(QueueWriterConfig(writer_values))
    for call in (
        queue.peek,
        queue.pop,
        queue.compact,
        lambda: queue.push("m", "t", "v1", b""),
    ):
        with pytest.raises(NotImplementedError):
            call()
