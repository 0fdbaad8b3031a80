"""The whole surface against the mock server: what users do, and what they get back."""

import pytest
from cpu_model import BUCKET, SETTINGS
from loudml import JobFailed, Loud, NativeHttpConnection, NotFoundError, RequestError

POINTS = [{"timestamp": 1_700_000_000 + 60 * n, "load": 10 + n % 7} for n in range(600)]
RANGE = {"_from": 1_700_000_000, "_to": 1_700_030_000}


@pytest.fixture
def loud(loudml_server):
    with Loud(loudml_server.hosts, connection_class=NativeHttpConnection) as client:
        yield client


@pytest.fixture
def trained(loud):
    loud.buckets.create(BUCKET)
    loud.write_points("metrics", POINTS, interval=0.01)
    loud.models.create(SETTINGS)
    loud.jobs.id(loud.models.train("cpu", max_evals=2, **RANGE)).wait(0.02, check=True)
    return loud


def test_server_introduces_itself(loud):
    assert loud.ping() is True
    assert loud.version() == loud.info()["version"] == "1.6.0"


def test_model_lives_from_creation_to_deletion(loud):
    assert loud.models.exists("cpu") is False
    assert loud.models.create(SETTINGS) == "success"
    assert loud.models.exists("cpu") is True
    (model,) = loud.models.get("cpu", fields=["state"], include_fields=True)
    assert model == {"state": {"trained": False}}
    assert [entry["settings"]["name"] for entry in loud.models.generator()] == ["cpu"]
    assert loud.models.delete("cpu") == ""
    with pytest.raises(NotFoundError, match="Model"):
        loud.models.get("cpu")


def test_generator_over_named_models_ends(loud):
    loud.models.create(SETTINGS)
    assert len(list(loud.models.generator(["cpu"]))) == 1


def test_trained_model_predicts_forecasts_and_has_versions(trained):
    (model,) = trained.models.get("cpu")
    assert model["state"]["trained"] is True
    result = trained.models.eval_model("cpu", bg=False, flag_abnormal_data=True, **RANGE)
    assert set(result["predicted"]) == {"avg_load", "lower_avg_load", "upper_avg_load"}
    job = trained.jobs.id(trained.models.forecast("cpu", _from=1_700_030_000, _to=1_700_036_000))
    job.wait(0.02)
    assert job.success()
    assert len(job.fetch_result()["timestamps"]) == 101
    assert trained.models.versions.exists("cpu", "00") is True
    assert trained.models.versions.exists("cpu", "99") is False
    assert trained.models.versions.load("cpu", version="00") == ""
    assert len(list(trained.models.versions.generator("cpu"))) == 1


def test_inference_of_several_models_starts_and_stops(trained):
    assert trained.models.start_inference(["cpu"], save_output_data=True) == ""
    assert [job["name"] for job in trained.scheduled_jobs.get()] == ["_eval(cpu)"]
    assert trained.models.stop_inference(["cpu"]) == ""
    with pytest.raises(NotFoundError):
        trained.models.stop_inference(["cpu", "other"])


def test_settings_can_be_replaced_and_the_last_training_shown(trained):
    assert trained.models.update("cpu", {**SETTINGS, "interval": "5m"}) == ""
    (model,) = trained.models.get("cpu")
    assert (model["settings"]["interval"], model["state"]["trained"]) == ("5m", True)
    assert trained.models.training("cpu")["state"] == "done"
    with pytest.raises(RequestError, match="span"):
        trained.models.update("cpu", {**SETTINGS, "span": 0})


def test_hooks_of_a_model(loud):
    loud.models.create(SETTINGS)
    config = {"type": "a", "text": "{desc}"}
    hook = {"name": "mark", "type": "annotations", "config": config}
    assert loud.models.hooks.get("cpu") == []
    assert loud.models.hooks.create("cpu", hook) == "success"
    assert loud.models.hooks.get("cpu") == ["mark"]
    assert loud.models.hooks.get("cpu", "mark") == {"type": "annotations", "config": config}
    assert loud.models.hooks.delete("cpu", "mark") == "success"
    with pytest.raises(NotFoundError):
        loud.models.hooks.delete("cpu", "mark")
    with pytest.raises(ValueError, match="'hook_name'"):
        loud.models.hooks.delete("cpu", "")


def test_points_can_be_read_back(trained):
    job_id = trained.buckets.read("metrics", bucket_interval="1m", features=["avg(load)"], **RANGE)
    job = trained.jobs.id(job_id)
    job.wait(0.02, check=True)
    assert job.fetch_result()["observed"]["avg_load"][:3] == [10.0, 11.0, 12.0]
    assert trained.buckets.clear("metrics") == ""


def test_failed_write_is_not_silent(loud):
    loud.buckets.create(BUCKET)
    with pytest.raises(JobFailed, match="write"):
        loud.write_points("metrics", [{"timestamp": "no date", "load": 1}], interval=0.01)


def test_canceled_job_ends_waiting(make_loudml_server):
    server = make_loudml_server(evaluation_s=0.2)
    with Loud(server.hosts, connection_class=NativeHttpConnection) as loud:
        loud.buckets.create(BUCKET)
        loud.write_points("metrics", POINTS, interval=0.01)
        loud.models.create(SETTINGS)
        job = loud.jobs.id(loud.models.train("cpu", max_evals=50, **RANGE))
        job.cancel()
        job.wait(0.02)
        assert job.state == "canceled"


def test_templates_and_scheduled_jobs(loud):
    template = {**SETTINGS, "name": "{{name}}"}
    assert loud.templates.create(template, name="load") == "success"
    assert loud.templates.exists("load")
    assert loud.templates.get("load")[0]["params"] == ["name"]
    assert loud.models.create({"name": "made"}, from_template="load") == "success"
    assert loud.templates.delete("load") == ""
    name = "forecast(x) every five minutes"
    schedule = {
        "name": name,
        "method": "get",
        "relative_url": "/",
        "every": {"count": 5, "unit": "minutes"},
    }
    assert loud.scheduled_jobs.create(schedule) == ""
    assert loud.scheduled_jobs.exists(name)
    assert loud.scheduled_jobs.delete(name) == ""
    assert list(loud.scheduled_jobs.generator()) == []
