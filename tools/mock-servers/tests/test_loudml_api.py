# ruff: noqa: E501 - the tables of messages stay one row per refusal
"""Ring two: the REST behaviour of the Loud ML server over real sockets, on a clock that moves when told."""

import gzip
import json

import pytest
from loudml_client import BUCKET, MODEL, NOW, call
from mock_servers.clock import ManualClock


@pytest.fixture
def server(make_loudml_server):
    return make_loudml_server(clock=ManualClock(NOW), tick_s=1.0)


@pytest.fixture
def faithful(make_loudml_server):
    return make_loudml_server(clock=ManualClock(NOW), tick_s=1.0, profile="faithful")


def test_root_names_host_tagline_and_version(server):
    reply = call(server, "GET", "/")
    assert reply.json["version"] == "1.6.0"
    assert reply.json["tagline"] == "The Disruptive Machine Learning API"
    assert len(reply.json["host_id"]) == 32
    assert call(server, "HEAD", "/").status == 200


def test_json_is_compact_sorted_and_ends_with_a_newline(server):
    call(server, "POST", "/buckets", {"z": 1, "name": "b", "a": [1, 2]})
    reply = call(server, "GET", "/buckets")
    assert reply.body == b'[{"a":[1,2],"name":"b","z":1}]\n'
    assert reply.headers["Content-Type"] == "application/json"
    assert "Server" not in reply.headers


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "content"),
    [
        ("GET", "/nope", None, 404, b"unknown endpoint"),
        ("GET", "/_nodes", None, 404, b"unknown endpoint"),
        ("GET", "/_nodes/x/http", None, 404, b"Node not found: x"),
        ("GET", "/models/x", None, 404, b'"Model (x) not found"\n'),
        ("GET", "/models/a%20b", None, 400, b'"model_name is invalid: does not match regular expression"\n'),
        ("DELETE", "/models/x", None, 404, b'"Model (x) not found"\n'),
        ("POST", "/models", None, 500, b'{"message":"Internal Server Error"}\n'),
        ("POST", "/models?from_template=t", {}, 404, b'"Model (t) not found"\n'),
        ("POST", "/models", b"{", 400, b'{"message":"The browser (or proxy) sent a request that this server could not understand."}\n'),
        ("PUT", "/models", None, 405, b'{"message":"The method is not allowed for the requested URL."}\n'),
        ("GET", "/models/x/_train", None, 405, b"method not allowed"),
        ("POST", "/models/x/_train", None, 400, b'{"error":"data is invalid: \'from\' parameter is required"}\n'),
        ("POST", "/models/x/_train?from=soon", None, 400, b'{"error":"from is invalid: expected absolute or relative date"}\n'),
        ("POST", "/models/x/_train?from=now-1d", None, 404, b'{"error":"Model (x) not found"}\n'),
        ("POST", "/models/x/_forecast?to=now", None, 404, b"Model (x) not found"),
        ("POST", "/models/x/_start", None, 404, b'{"error":"Model (x) not found"}\n'),
        ("POST", "/models/x/_stop", None, 404, b"Model (x) not found"),
        ("POST", "/models/x/_restore", None, 400, b'{"error":"data is invalid: invalid value for parameter \'version\'"}\n'),
        ("GET", "/models/x/_top?from=1&to=2", None, 500, b"internal server error"),
        ("GET", "/models/x/training", None, 404, b"training job not found"),
        ("GET", "/buckets/x", None, 404, b'"Bucket not found (name = \'x\')"\n'),
        ("POST", "/buckets", {"no": "name"}, 500, b'{"message":"Internal Server Error"}\n'),
        ("PATCH", "/buckets/x", {}, 500, b'{"message":"Internal Server Error"}\n'),
        ("POST", "/buckets/x/_clear", None, 404, b'{"error":"Bucket not found (name = \'x\')"}\n'),
        ("POST", "/buckets/x/_write", None, 400, b'{"error":"data is invalid: request body is empty"}\n'),
        ("POST", "/buckets/x/_write", [], 400, b'{"error":"data is invalid: request body is empty"}\n'),
        ("POST", "/buckets/x/_write", [{}], 404, b'{"error":"Bucket not found (name = \'x\')"}\n'),
        ("POST", "/buckets/x/_read?from=1&to=2", None, 400, b'{"error":"data is invalid: invalid value for parameter \'bucket_interval\'"}\n'),
        ("POST", "/buckets/x/_read?from=1&to=2&bucket_interval=1q", None, 400, b'{"error":"data is invalid: invalid time delta unit"}\n'),
        ("POST", "/buckets/x/_read?from=1&to=2&bucket_interval=1m", None, 400, b'{"error":"data is invalid: invalid value for parameter \'features\'"}\n'),
        ("GET", "/jobs/x", None, 404, b'"job(s) not found"\n'),
        ("POST", "/jobs/x/_cancel", None, 404, b"job not found"),
        ("GET", "/scheduled_jobs/x", None, 404, b'"job(s) not found"\n'),
        ("DELETE", "/scheduled_jobs/x", None, 204, b""),
        ("DELETE", "/templates/x", None, 404, b'"Template (x) not found"\n'),
        ("POST", "/templates", {}, 400, b'"data is invalid: \'name\' parameter is required"\n'),
    ],
)  # fmt: skip
def test_refusals_speak_in_the_style_of_their_route(server, method, path, body, status, content):
    reply = call(server, method, path, body)
    assert (reply.status, reply.body) == (status, content)
    expected = (
        "application/json" if content[:1] in b'"{[' and content else "text/html; charset=utf-8"
    )
    if status != 204:
        assert reply.headers["Content-Type"] == expected


def test_wrong_method_names_the_allowed_ones(server):
    assert call(server, "PUT", "/models").headers["Allow"] == "GET, HEAD, POST"


@pytest.mark.parametrize(
    ("change", "status", "message"),
    [
        ({"type": None}, 400, "data is invalid: model has no type"),
        ({"type": "x"}, 501, "Unsupported model (type = 'x')"),
        ({"interval": ...}, 400, "invalid field interval: required key not provided"),
        ({"interval": 0}, 400, "data is invalid: time delta must be > 0 seconds"),
        ({"interval": "x"}, 400, "data is invalid: invalid time delta value"),
        ({"offset": -1}, 400, "data is invalid: time delta must be >= 0 seconds"),
        ({"features": []}, 400, "invalid field features: not a valid value"),
        ({"features": [1]}, 400, "invalid field features.0: expected a dictionary"),
        ({"features": [{"name": "f", "metric": "avg"}]}, 400, "invalid field features.0.field: required key not provided"),
        ({"features": [{**MODEL["features"][0], "default": "x"}]}, 400, "invalid field features.0.default: not a valid value"),
        ({"features": [{**MODEL["features"][0], "match_all": [{"tag": "t"}]}]}, 400, "invalid field features.0.match_all.0.value: required key not provided"),
        ({"features": {"o": MODEL["features"]}}, 400, "data is invalid: model has no input feature"),
        ({"features": MODEL["features"] * 2}, 500, "This model type supports one unique feature"),
        ({"name": "a b"}, 400, "invalid field name: does not match regular expression"),
        ({"name": "n" * 257}, 400, "invalid field name: length of value must be at most 256"),
        ({"span": 0}, 400, "invalid field span: not a valid value"),
        ({"default_bucket": 5}, 400, "invalid field default_bucket: not a valid value"),
        ({"seasonality": 1}, 400, "invalid field seasonality: expected a dictionary"),
        ({"features": [{"name": "a b", "metric": "avg", "field": "v"}]}, 400, "invalid field features.0.name: does not match regular expression"),
        ({"features": [{"name": "f", "metric": "a b", "field": "v"}]}, 400, "invalid field features.0.metric: does not match regular expression"),
        ({"features": [{**MODEL["features"][0], "match_all": 1}]}, 400, "invalid field features.0.match_all: expected a list"),
        ({"features": [{**MODEL["features"][0], "transform": "log"}]}, 400, "invalid field features.0.transform: not a valid value"),
        ({"max_threshold": 101}, 400, "invalid field max_threshold: not a valid value"),
        ({"seasonality": {"daytime": 1}}, 400, "invalid field seasonality.daytime: expected bool"),
    ],
)  # fmt: skip
def test_bad_model_settings_are_refused(server, change, status, message):
    settings = {key: value for key, value in {**MODEL, **change}.items() if value is not ...}
    reply = call(server, "POST", "/models", settings)
    assert (reply.status, reply.json) == (status, message)


def test_created_model_reads_back_with_defaults(server):
    assert call(server, "POST", "/models", MODEL).json == "success"
    [model] = call(server, "GET", "/models").json
    assert model["state"] == {"trained": False}
    assert model["settings"] == {
        **MODEL,
        "grace_period": 0,
        "max_threshold": 0,
        "min_threshold": 0,
        "seasonality": {"daytime": False, "weekday": False},
        "features": [{**MODEL["features"][0], "io": "io"}],
    }
    assert call(server, "POST", "/models", MODEL).status == 409
    assert call(server, "HEAD", "/models/m").status == 200
    assert call(server, "HEAD", "/models/x").headers["Content-Length"] == "0"


def test_features_by_direction_are_converted(server):
    call(server, "POST", "/models", {**MODEL, "features": {"i": MODEL["features"]}})
    assert call(server, "GET", "/models/m").json[0]["settings"]["features"][0]["io"] == "i"


def test_patch_replaces_settings_and_keeps_the_name(server):
    call(server, "POST", "/models", MODEL)
    assert call(server, "PATCH", "/models/m", {**MODEL, "name": "x", "span": 7}).status == 204
    assert call(server, "GET", "/models/m").json[0]["settings"]["span"] == 7


def test_delete_stops_at_the_first_missing_model(server):
    for name in "abc":
        call(server, "POST", "/models", {**MODEL, "name": name})
    assert call(server, "DELETE", "/models/a;x;c").status == 404
    assert [entry["settings"]["name"] for entry in call(server, "GET", "/models").json] == [
        "b",
        "c",
    ]


def test_listing_pages_sorts_and_filters(server):
    for name in ("b2", "b1", "b3"):
        call(server, "POST", "/buckets", {"name": name, "type": "influxdb"})

    def names(query: str) -> list[str]:
        return [entry["name"] for entry in call(server, "GET", f"/buckets?{query}").json]

    assert names("") == ["b1", "b2", "b3"]
    assert names("sort=name:-1&per_page=2") == ["b3", "b2"]
    assert names("page=1&per_page=2") == ["b3"]
    assert names("page=9") == []
    assert call(server, "GET", "/buckets/b2;b1?page=5").json[0]["name"] == "b2"
    included = call(server, "GET", "/buckets?fields=name;bogus&include_fields=yes").json
    assert included[0] == {"name": "b1", "bogus": None}
    assert call(server, "GET", "/buckets/b1?fields=type").json == [{"name": "b1"}]


@pytest.mark.parametrize(
    "query", ["per_page=0", "per_page=101", "page=-1", "page=x", "include_fields=maybe"]
)
def test_bad_listing_parameters_are_named(server, query):
    name = query.partition("=")[0]
    reply = call(server, "GET", f"/models?{query}")
    assert (reply.status, reply.json) == (
        400,
        f"data is invalid: invalid value for parameter '{name}'",
    )


@pytest.mark.parametrize(
    "query", ["sort=name", "sort=name:x", "sort=bogus:1", "fields=state&include_fields=true"]
)
def test_impossible_sort_is_a_server_error_as_upstream(server, query):
    call(server, "POST", "/models", MODEL)
    assert call(server, "GET", f"/models?{query}").status == 500


def test_bucket_secrets_are_never_shown(server):
    assert call(server, "POST", "/buckets", BUCKET).body == b'""\n'
    assert "dbuser_password" not in call(server, "GET", "/buckets/b").json[0]
    assert "hidden" not in call(server, "GET", "/_mock/state").body.decode()


def test_written_points_are_read_back_aggregated(server):
    call(server, "POST", "/buckets", BUCKET)
    points = [
        {"timestamp": 60, "v": 1, "tags": {"host": "a"}},
        {"timestamp": "1970-01-01T00:01:30Z", "v": 3},
        {"timestamp": 190, "v": 7},
    ]
    job_id = call(server, "POST", "/buckets/b/_write", points).json
    server.advance()
    [job] = call(server, "GET", f"/jobs/{job_id}").json
    assert (job["state"], job["type"], job["result"]) == ("done", "write", None)
    query = "from=61&to=239&bucket_interval=1m&features=avg(v);count(m.v);max(other.v)"
    job_id = call(server, "POST", f"/buckets/b/_read?{query}").json
    server.advance()
    assert call(server, "GET", f"/jobs/{job_id}").json[0]["result"] == {
        "timestamps": [60.0, 120.0, 180.0],
        "observed": {"avg_v": [2.0, None, 7.0], "count_v": [2.0, None, 1.0], "max_v": [None] * 3},
    }


def test_read_of_nothing_has_empty_columns(server):
    call(server, "POST", "/buckets", BUCKET)
    query = "from=1&to=100&bucket_interval=1m&features=avg(v)"
    job_id = call(server, "POST", f"/buckets/b/_read?{query}").json
    server.advance()
    assert call(server, "GET", f"/jobs/{job_id}").json[0]["result"] == {
        "timestamps": [],
        "observed": {"avg_v": []},
    }


@pytest.mark.parametrize(
    ("settings", "points", "error"),
    [
        ({**BUCKET, "type": "x"}, [{"timestamp": 1, "v": 1}], "Unsupported bucket type (type = 'x')"),
        ({"name": "b", "type": "influxdb"}, [{"timestamp": 1, "v": 1}], "invalid field addr: required key not provided"),
        (BUCKET, [{"v": 1}], "data is invalid: point 0 has no timestamp"),
        (BUCKET, [{"timestamp": 1, "v": "x"}], "data is invalid: field 'v' of point 0 is no finite number"),
        (BUCKET, [{"timestamp": "x", "v": 1}], "timestamp is invalid: expected absolute or relative date"),
    ],
)  # fmt: skip
def test_what_is_wrong_with_a_bucket_or_point_fails_the_job(server, settings, points, error):
    call(server, "POST", "/buckets", settings)
    job_id = call(server, "POST", "/buckets/b/_write", points).json
    server.advance()
    [job] = call(server, "GET", f"/jobs/{job_id}").json
    assert (job["state"], job["error"]) == ("failed", error)


def test_cleared_bucket_is_empty_and_deleted_bucket_is_gone(server):
    call(server, "POST", "/buckets", BUCKET)
    call(server, "POST", "/buckets/b/_write", [{"timestamp": 1, "v": 1}])
    server.advance()
    assert call(server, "GET", "/_mock/state").json["buckets"][0]["points"] == 1
    assert call(server, "POST", "/buckets/b/_clear").status == 204
    assert call(server, "GET", "/_mock/state").json["buckets"][0]["points"] == 0
    assert call(server, "DELETE", "/buckets/b").status == 204
    assert call(server, "HEAD", "/buckets/b").status == 404


def test_gzip_body_is_understood_unless_faithful(server, faithful):
    body = gzip.compress(json.dumps(BUCKET).encode())
    headers = {"Content-Encoding": "gzip"}
    assert call(server, "POST", "/buckets", body, headers).status == 201
    assert call(faithful, "POST", "/buckets", body, headers).status == 400


def test_template_lists_its_variables_and_makes_models(server):
    template = {
        **MODEL,
        "name": "{{name}}",
        "span": "{{span}}",
        "default_bucket": "of-{{name}}",
        "short_desc": "counts",
    }
    assert call(server, "POST", "/templates?name=t", template).status == 201
    [shown] = call(server, "GET", "/templates").json
    assert (shown["name"], shown["params"], shown["short_desc"]) == (
        "t",
        ["name", "span"],
        "counts",
    )
    assert call(server, "HEAD", "/templates/t").status == 200
    reply = call(server, "POST", "/models?from_template=t", {"name": "n", "span": 3})
    assert reply.status == 201
    settings = call(server, "GET", "/models/n").json[0]["settings"]
    assert (settings["span"], settings["default_bucket"]) == (3, "of-n")
    assert call(server, "POST", "/models?from_template=t", {}).status == 400
    assert call(server, "POST", "/templates?name=t", template).status == 409
    assert call(server, "DELETE", "/templates/t").status == 204


def test_faithful_template_errors_are_server_errors(faithful):
    call(faithful, "POST", "/templates?name=t", {})
    assert call(faithful, "POST", "/templates?name=t", {}).status == 500
    assert call(faithful, "DELETE", "/templates/x").status == 500


def test_hooks_are_created_shown_changed_and_deleted(server):
    call(server, "POST", "/models", MODEL)
    hook = {"name": "h", "type": "annotations", "config": {"type": "x", "text": "{desc}"}}
    assert call(server, "POST", "/models/m/hooks", hook).json == "success"
    assert call(server, "GET", "/models/m/hooks").json == ["h"]
    assert call(server, "GET", "/models/m/hooks/h").json == {
        "config": hook["config"],
        "type": "annotations",
    }
    assert call(server, "POST", "/models/m/hooks/h", {"config": {"type": "y"}}).json == "success"
    assert call(server, "GET", "/models/m/hooks/h").json["config"] == {"type": "y"}
    assert call(server, "DELETE", "/models/m/hooks/h").json == "success"
    assert call(server, "DELETE", "/models/m/hooks/h").json == "hook not found"
    assert call(server, "POST", "/models/m/hooks/h/_test").status == 500
    assert call(server, "PUT", "/models/m/hooks/h", {}).status == 405


@pytest.mark.parametrize(
    ("hook", "status", "message"),
    [
        ({"name": "h"}, 400, "type is missing"),
        ({"type": "annotations"}, 400, "name is missing"),
        ({"name": "h", "type": "x"}, 404, "unknown hook type"),
        ({"name": "h", "type": "annotations"}, 500, "invalid hook configuration"),
    ],
)
def test_bad_hooks_are_refused(server, hook, status, message):
    call(server, "POST", "/models", MODEL)
    reply = call(server, "POST", "/models/m/hooks", hook)
    assert (reply.status, reply.json) == (status, message)


def test_reset_empties_the_cluster(server):
    call(server, "POST", "/models", MODEL)
    call(server, "POST", "/buckets", BUCKET)
    assert call(server, "POST", "/_mock/reset").status == 204
    state = call(server, "GET", "/_mock/state").json
    assert (state["models"], state["buckets"], state["jobs"]) == ([], [], [])


def test_faithful_node_information_needs_a_port_in_host(server, faithful):
    bare = {"Host": "localhost"}
    assert call(server, "GET", "/_nodes/_all/http", headers=bare).status == 200
    assert call(faithful, "GET", "/_nodes/_all/http", headers=bare).status == 500
