"""Jobs, schedules and the work of models over time, on a clock that moves when told."""

import pytest
from loudml_client import BUCKET, DAY_S, MODEL, NOW, call, daily_points
from mock_servers.clock import ManualClock


@pytest.fixture
def make_server(make_loudml_server):
    def make(**options):
        server = make_loudml_server(clock=ManualClock(NOW), tick_s=1.0, **options)
        call(server, "POST", "/buckets", BUCKET)
        call(server, "POST", "/models", MODEL)
        return server

    return make


@pytest.fixture
def server(make_server):
    return make_server()


@pytest.fixture
def trained(server):
    call(server, "POST", "/buckets/b/_write", daily_points())
    server.advance()
    call(server, "POST", "/models/m/_train?from=now-10d&to=now&max_evals=3")
    server.advance()
    return server


def job(server, job_id):
    return call(server, "GET", f"/jobs/{job_id}").json[0]


def test_job_waits_runs_and_is_done_with_progress(make_server):
    server = make_server(evaluation_s=2.0)
    server.cluster.buckets.save("b", daily_points(2), None)
    job_id = call(server, "POST", "/models/m/_train?from=now-2d&max_evals=2").json
    seen = [job(server, job_id)]
    for _ in range(2):
        server.advance(2)
        seen.append(job(server, job_id))
    assert [entry["state"] for entry in seen] == ["waiting", "running", "done"]
    assert seen[1]["progress"] == {"eval": 1, "max_evals": 2}
    assert seen[1]["remaining_time"] == 1.0
    assert (seen[2]["duration"], seen[2]["end_timestamp"] - seen[2]["start_timestamp"]) == (
        4.0,
        4.0,
    )
    assert seen[2]["start_date"] == "Sun Sep 13 12:26:40 2020"
    assert "error" not in seen[2]


def test_finished_jobs_vanish_after_their_time_to_live(server):
    job_id = call(server, "POST", "/buckets/b/_write", [{"timestamp": 1, "v": 1}]).json
    server.advance(60)
    assert call(server, "HEAD", f"/jobs/{job_id}").status == 200
    server.advance(60)
    assert call(server, "HEAD", f"/jobs/{job_id}").status == 404


def test_canceled_job_stays_canceled(make_server):
    server = make_server(evaluation_s=10.0)
    server.cluster.buckets.save("b", daily_points(2), None)
    job_id = call(server, "POST", "/models/m/_train?from=now-2d").json
    server.advance(1)
    assert call(server, "POST", f"/jobs/{job_id}/_cancel").status == 204
    assert job(server, job_id)["state"] == "canceling"
    server.advance(1)
    assert (job(server, job_id)["state"], job(server, job_id)["error"]) == (
        "canceled",
        "job canceled",
    )
    server.advance(30)
    assert job(server, job_id)["state"] == "canceled"
    reply = call(server, "POST", f"/jobs/{job_id}/_cancel")
    assert (reply.status, reply.json) == (
        409,
        {"error": "job is already stopped (state = canceled)"},
    )
    assert call(server, "GET", "/models/m").json[0]["state"] == {"trained": False}


def test_jobs_are_found_singly_or_several_and_head_wants_all(server):
    ids = [
        call(server, "POST", "/buckets/b/_write", [{"timestamp": 1, "v": 1}]).json for _ in range(2)
    ]
    assert len(call(server, "GET", f"/jobs/{ids[0]};{ids[1]};nope").json) == 2
    assert call(server, "HEAD", f"/jobs/{ids[0]};{ids[1]}").status == 200
    assert call(server, "HEAD", f"/jobs/{ids[0]};nope").status == 404
    assert [entry["id"] for entry in call(server, "GET", "/jobs").json] == sorted(ids)


def test_second_training_waits_for_the_first_and_time_goes_on(make_server):
    server = make_server(evaluation_s=2.0)
    server.cluster.buckets.save("b", daily_points(2), None)
    path = "/models/m/_train?from=now-2d&max_evals=1"
    first, second = (call(server, "POST", path).json for _ in range(2))
    server.advance(2)
    assert [job(server, each)["state"] for each in (first, second)] == ["done", "running"]
    server.advance(2)
    assert job(server, second)["state"] == "done"


def test_bucket_of_the_feature_is_read_before_any_other(make_server):
    server = make_server()
    feature = {**MODEL["features"][0], "bucket": "own"}
    call(server, "POST", "/models", {**MODEL, "name": "n", "features": [feature]})
    job_id = call(server, "POST", "/models/n/_train?from=now-1d&input=b").json
    server.advance()
    assert job(server, job_id)["error"] == "Bucket not found (name = 'own')"


def test_training_without_points_says_which_range_was_empty(server):
    job_id = call(server, "POST", "/models/m/_train?from=1600000000&to=1600003600").json
    server.advance()
    assert job(server, job_id)["error"] == (
        "no data found for time range 2020-09-13T12:26:40.000Z-2020-09-13T13:26:40.000Z"
    )


def test_each_training_adds_a_version_and_restore_goes_back(trained):
    call(trained, "POST", "/models/m/_train?from=now-5d&max_evals=1")
    trained.advance()
    versions = call(trained, "GET", "/models/m/versions").json
    assert [entry["version"] for entry in versions] == [
        {"name": "00", "active": False},
        {"name": "01", "active": True},
    ]
    assert call(trained, "POST", "/models/m/_restore?version=00").status == 204
    [model] = call(trained, "GET", "/models/m").json
    assert model["state"] == versions[0]["state"]
    assert model["training"]["state"] == "done"
    assert call(trained, "POST", "/models/m/_restore?version=07").json == {
        "error": "Model (m version 07) not found"
    }
    assert call(trained, "GET", "/models/m/versions?fields=version").status == 400
    assert call(trained, "GET", "/models/m/training").json["type"] == "training"


def test_evaluation_finds_the_spike_and_nothing_else(trained):
    query = "from=now-1d&to=now&flag_abnormal_data=true"
    result = call(trained, "POST", f"/models/m/_eval?{query}").json
    assert len(result["timestamps"]) == 289
    flagged = [
        at
        for at, stats in zip(result["timestamps"], result["stats"], strict=True)
        if stats["anomaly"]
    ]
    first = (NOW - DAY_S / 2) // 300 * 300
    spike = [first + index * 300 for index in range(5)]
    assert set(spike) <= set(flagged)
    assert len(flagged) <= len(spike) + 3
    peak = max(result["stats"], key=lambda entry: entry["score"])
    assert peak["anomalies"]["avg_v"]["type"] == "high"
    inside = sum(
        low <= value <= high
        for low, value, high in zip(
            result["predicted"]["lower_avg_v"],
            result["observed"]["avg_v"],
            result["predicted"]["upper_avg_v"],
            strict=True,
        )
        if value is not None
    )
    assert inside >= 275


def test_forecast_follows_the_daily_season(trained):
    job_id = call(trained, "POST", "/models/m/_forecast?from=now&to=now%2B1d&bg=true").json
    trained.advance()
    result = job(trained, job_id)["result"]
    truth = [point["v"] for point in daily_points(1, NOW + DAY_S)]
    expected = result["predicted"]["avg_v"]
    errors = sorted(abs(a - b) for a, b in zip(expected, truth, strict=False))
    assert errors[len(errors) // 2] < 3.0
    assert result["observed"]["avg_v"][-1] is None


@pytest.mark.parametrize(
    ("constraint", "status", "message"),
    [
        ("x", 400, b"data is invalid: invalid format for 'constraint' parameter"),
        ("avg_v:odd:1", 400, b"data is invalid: invalid threshold type for 'constraint' parameter"),
        ("avg_v:low:x", 400, b"data is invalid: invalid threshold for 'constraint' parameter"),
    ],
)
def test_bad_constraint_is_refused(trained, constraint, status, message):
    reply = call(trained, "POST", f"/models/m/_forecast?to=now%2B1h&constraint={constraint}")
    assert (reply.status, reply.body) == (status, message)


def test_constraint_names_the_first_violation(trained):
    path = "/models/m/_forecast?from=now&to=now%2B1d&constraint="
    broken = call(trained, "POST", path + "avg_v:low:40").json["constraint"]
    assert broken["date"].startswith("2020-09-13T") or broken["date"].startswith("2020-09-14T")
    assert call(trained, "POST", path + "avg_v:high:1000").json["constraint"]["date"] is None


def test_saved_prediction_carries_band_score_and_tags(trained):
    out = {**BUCKET, "name": "out"}
    call(trained, "POST", "/buckets", out)
    query = "from=now-1h&to=now&save_output_data=true&output_bucket=out&flag_abnormal_data=true"
    assert call(trained, "POST", f"/models/m/_eval?{query}").status == 200
    for field in ("avg_v", "lower_avg_v", "upper_avg_v", "@avg_v", "score"):
        match = [{"tag": "model", "value": "m"}, {"tag": "is_anomaly", "value": "False"}]
        times, _ = trained.cluster.store.read_points("out", field, NOW - 3900, NOW, None, match)
        assert len(times) >= 12, field


def test_unknown_output_bucket_is_refused_or_ignored_when_faithful(trained, make_server):
    query = "from=now-1h&to=now&save_output_data=true&output_bucket=nope"
    reply = call(trained, "POST", f"/models/m/_eval?{query}")
    assert (reply.status, reply.json) == (404, {"error": "Bucket not found (name = 'nope')"})
    faithful = make_server(profile="faithful")
    faithful.cluster.buckets.save("b", daily_points(2), None)
    call(faithful, "POST", "/models/m/_train?from=now-2d&max_evals=1")
    faithful.advance()
    assert call(faithful, "POST", f"/models/m/_eval?{query}").status == 200


def test_untrained_or_unknown_model_fails_the_evaluation_job(server):
    for name, error in (("m", "Model not trained"), ("nope", "Model (nope) not found")):
        job_id = call(server, "POST", f"/models/{name}/_eval?from=now-1h&to=now&bg=true").json
        server.advance()
        assert job(server, job_id)["error"] == error
        reply = call(server, "POST", f"/models/{name}/_eval?from=now-1h&to=now")
        assert (reply.status, reply.json) == (500, {"error": error})


def test_started_model_is_evaluated_every_interval_over_http(trained):
    assert call(trained, "POST", "/models/m/_start?save_output_data=true").status == 204
    [schedule] = call(trained, "GET", "/scheduled_jobs").json
    assert schedule["name"] == "_eval(m)"
    assert schedule["params"] == {"from": "now-70s", "to": "now-10s", "save_output_data": True}
    trained.advance(120)
    runs = trained.traffic.seen("POST", "/models/m/_eval")
    assert [run.status for run in runs] == [200, 200]
    assert runs[0].target == "/models/m/_eval?from=1599999990&to=1600000050&save_output_data=true"
    [schedule] = call(trained, "GET", "/scheduled_jobs/_eval(m)").json
    assert (schedule["ok"], schedule["status_code"]) == (True, 200)
    assert call(trained, "POST", "/models/m/_stop").status == 204
    assert call(trained, "POST", "/models/m/_stop").body == b"model is not scheduled"
    assert "run" not in call(trained, "GET", "/models/m").json[0]["settings"]


def test_start_of_an_untrained_model_or_of_a_list_is_refused(server):
    assert call(server, "POST", "/models/m/_start").json == {"error": "Model not trained"}
    assert call(server, "POST", "/models/m;n/_start").status == 400


def test_changed_interval_replaces_the_running_schedule(trained):
    call(trained, "POST", "/models/m/_start")
    call(trained, "PATCH", "/models/m", {**MODEL, "interval": "5m"})
    [schedule] = call(trained, "GET", "/scheduled_jobs").json
    assert schedule["every"] == {"count": 300.0, "unit": "seconds"}


def test_deleted_model_is_unscheduled_and_its_training_canceled(make_server):
    server = make_server(evaluation_s=5.0)
    server.cluster.buckets.save("b", daily_points(2), None)
    call(server, "POST", "/models/m/_train?from=now-2d&max_evals=1")
    server.advance(5)
    call(server, "POST", "/models/m/_start")
    job_id = call(server, "POST", "/models/m/_train?from=now-2d").json
    assert call(server, "DELETE", "/models/m").status == 204
    server.advance()
    assert job(server, job_id)["state"] == "canceled"
    assert call(server, "GET", "/scheduled_jobs").json == []


def test_scheduled_job_notes_how_its_run_went(server):
    settings = {
        "name": "get it every minute",
        "method": "get",
        "relative_url": "/models/nope",
        "every": {"count": 1, "unit": "minute"},
    }
    assert call(server, "POST", "/scheduled_jobs", settings).body == b'""\n'
    server.advance(61)
    [shown] = call(server, "GET", "/scheduled_jobs/get%20it%20every%20minute").json
    assert (shown["ok"], shown["status_code"], shown["error"]) == (False, 404, "Not Found")
    assert shown["last_run_timestamp"] == NOW + 60
    assert call(server, "DELETE", "/scheduled_jobs").status == 204
    assert call(server, "GET", "/scheduled_jobs").json == []


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"every": {"count": 1, "unit": "x"}}, "invalid field every.unit: not a valid value"),
        ({"every": {"count": 0, "unit": "day"}}, "invalid field every.count: not a valid value"),
        ({"method": "put"}, "invalid field method: not a valid value"),
        ({"params": {"a": []}}, "invalid field params.a: not a valid value"),
        ({"json": 1}, "invalid field json: expected a dictionary"),
        ({"name": ""}, "invalid field name: not a valid value"),
        ({"every": ...}, "invalid field every: required key not provided"),
        ({"every": 1}, "invalid field every: expected a dictionary"),
        ({"every": {"count": 1}}, "invalid field every.unit: required key not provided"),
        (
            {"every": {"unit": "day", "at": "noon"}},
            "invalid field every.at: does not match regular expression",
        ),
        (
            {"relative_url": "/x?y=1"},
            "invalid field relative_url: You have attempted to access a restricted URL,"
            " the URL contains invalid query.",
        ),
        (
            {"relative_url": "http://x/"},
            "invalid field relative_url: You have attempted to access a restricted URL,"
            " the URL contains invalid path.",
        ),
    ],
)
def test_bad_scheduled_job_is_refused(server, change, message):
    settings = {
        "name": "s",
        "method": "get",
        "relative_url": "/",
        "every": {"count": 1, "unit": "day", "at": "06:30"},
    }
    settings = {key: value for key, value in {**settings, **change}.items() if value is not ...}
    reply = call(server, "POST", "/scheduled_jobs", settings)
    assert (reply.status, reply.json) == (400, message)


def test_replaced_schedule_runs_once_or_twice_when_faithful(make_server):
    for profile, runs in (("fixed", 1), ("faithful", 2)):
        server = make_server(profile=profile)
        settings = {
            "name": "s",
            "method": "head",
            "relative_url": "/",
            "every": {"count": 30, "unit": "seconds"},
        }
        call(server, "POST", "/scheduled_jobs", settings)
        call(server, "POST", "/scheduled_jobs", settings)
        server.traffic.clear()
        server.advance(30)
        assert len(server.traffic.seen("HEAD", "/")) == runs


def test_faithful_canceled_job_runs_again_and_then_never_ends(make_server):
    server = make_server(evaluation_s=2.0, profile="faithful")
    server.cluster.buckets.save("b", daily_points(2), None)
    board = server.cluster.jobs
    job_id = call(server, "POST", "/models/m/_train?from=now-2d").json
    server.advance(1)
    call(server, "POST", f"/jobs/{job_id}/_cancel")
    server.advance(1)
    assert job(server, job_id)["state"] == "canceled"
    board.report(board.get(job_id), "progress", (1, 10))
    server.advance(1)
    assert job(server, job_id)["state"] == "running"
    call(server, "POST", f"/jobs/{job_id}/_cancel")
    server.advance(5)
    assert job(server, job_id)["state"] == "canceling"


def test_state_survives_a_restart_in_its_file(make_loudml_server, tmp_path):
    options = {"data": tmp_path / "loudml.sqlite", "tick_s": 1.0}
    first = make_loudml_server(clock=ManualClock(NOW), **options)
    call(first, "POST", "/buckets", BUCKET)
    call(first, "POST", "/models", MODEL)
    first.cluster.buckets.save("b", daily_points(3), None)
    call(first, "POST", "/models/m/_train?from=now-3d&max_evals=1")
    first.advance()
    call(first, "POST", "/models/m/_start")
    before = call(first, "GET", "/models/m?fields=training").json
    first.stop()
    second = make_loudml_server(clock=ManualClock(NOW), **options)
    assert call(second, "GET", "/models/m").json == before
    second.advance(60)
    assert len(second.traffic.seen("POST", "/models/m/_eval")) == 1
