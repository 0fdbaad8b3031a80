"""Every call of the reference, run by one client against a recording server; run as a script, never imported.

    python wire_calls.py <loudml | loudml_py> <port>

Before each call a marker request ``GET /__call__/<name>`` goes to the server, so that what follows on the wire is that
call's. Prints a JSON object: call -> what it returned or raised. Runs under the original release too, so it uses
nothing but the standard library and the client.
"""

import datetime
import decimal
import http.client
import importlib
import itertools
import json
import logging
import sys
import uuid

logging.disable(logging.CRITICAL)
UTC = datetime.timezone.utc
WHEN = datetime.datetime(2020, 1, 2, 3, 4, 5)
SETTINGS = {"name": "m", "type": "donut", "features": [{"name": "é", "default": None}], "span": 5}
POINTS = [
    {"timestamp": 1, "f": 1.5, "tags": {"a": "b"}},
    {"timestamp": 2, "f": 0},
    {"timestamp": 3},
]


def listing(group, names):
    """Return the calls that every group has."""
    return {
        "get": lambda c: getattr(c, group).get(),
        "get by name": lambda c: getattr(c, group).get("a"),
        "get by names": lambda c: getattr(c, group).get(["a", "b"]),
        "get with all listing parameters": lambda c: getattr(c, group).get(
            sort="name:1", per_page=5, page=2, include_fields=True, fields=["x", "y"]
        ),
        "get keyword": lambda c: getattr(c, group).get(**{names: ("a", "b")}),
        "generator": lambda c: list(getattr(c, group).generator()),
        "generator with options": lambda c: list(
            getattr(c, group).generator(fields=["a"], include_fields=False, sort="x:-1", per_page=7)
        ),
        "exists": lambda c: getattr(c, group).exists("a"),
        "exists not": lambda c: getattr(c, group).exists("missing"),
        "exists without a name": lambda c: getattr(c, group).exists(""),
    }


CALLS = {
    f"{group}.{name}": call
    for group, names in (
        ("models", "model_names"),
        ("jobs", "job_names"),
        ("scheduled_jobs", "scheduled_job_names"),
        ("templates", "template_names"),
        ("buckets", "bucket_names"),
    )
    for name, call in listing(group, names).items()
}
for group in ("models", "scheduled_jobs", "templates", "buckets"):
    CALLS.update(
        {
            f"{group}.create": lambda c, g=group: getattr(c, g).create(SETTINGS),
            f"{group}.create empty": lambda c, g=group: getattr(c, g).create({}),
            f"{group}.create with empty key": lambda c, g=group: getattr(c, g).create({"": 1}),
            f"{group}.delete": lambda c, g=group: getattr(c, g).delete("a"),
            f"{group}.delete list": lambda c, g=group: getattr(c, g).delete(["a", "b"]),
            f"{group}.delete without a name": lambda c, g=group: getattr(c, g).delete(None),
            f"{group}.delete missing": lambda c, g=group: getattr(c, g).delete("missing"),
            f"{group}.get name with a space": lambda c, g=group: getattr(c, g).get("a b"),
        }
    )
CALLS.update(
    {
        "info": lambda c: c.info(),
        "info with options": lambda c: c.info(request_timeout=5, pretty=True, error_trace=False),
        "version": lambda c: c.version(),
        "version with options": lambda c: c.version(pretty=True),
        "ping": lambda c: c.ping(),
        "write_points": lambda c: c.write_points("a", POINTS, interval=0.01),
        "write_points none": lambda c: c.write_points("a", []),
        "models.create from template": lambda c: c.models.create({"a": 1}, from_template="t"),
        "models.train": lambda c: c.models.train("m"),
        "models.train with all": lambda c: c.models.train(
            "m", _continue=True, max_evals=3, epochs=7, _to="now", _from="now-30d"
        ),
        "models.train with datetime": lambda c: c.models.train("m", _from=WHEN),
        "models.train with quoted from": lambda c: c.models.train("m", **{"from": WHEN}),
        "models.train from None": lambda c: c.models.train("m", _from=None, _to="now"),
        "models.train unknown keyword": lambda c: c.models.train("m", foo=1),
        "models.train without a name": lambda c: c.models.train(""),
        "models.eval_model": lambda c: c.models.eval_model("m"),
        "models.eval_model with all": lambda c: c.models.eval_model(
            "m",
            flag_abnormal_data=True,
            save_output_data=False,
            output_bucket="o",
            input_bucket="i",
            bg=False,
            _to=2,
            _from=1,
        ),
        "models.forecast": lambda c: c.models.forecast("m"),
        "models.forecast with all": lambda c: c.models.forecast(
            "m",
            save_output_data=True,
            constraint="f:low:3",
            p_val=0.68,
            output_bucket="o",
            input_bucket="i",
            bg=True,
            _to="now+1d",
            _from="now",
        ),
        "models.start_inference": lambda c: c.models.start_inference("m"),
        "models.start_inference with all": lambda c: c.models.start_inference(
            "m", flag_abnormal_data=True, save_output_data=True
        ),
        "models.start_inference list": lambda c: c.models.start_inference(["a", "b"]),
        "models.start_inference with output_bucket": lambda c: c.models.start_inference(
            "m", output_bucket="o"
        ),
        "models.stop_inference": lambda c: c.models.stop_inference("m"),
        "models.stop_inference list": lambda c: c.models.stop_inference(["a", "b"]),
        "models.generator by name": lambda c: list(
            itertools.islice(c.models.generator(["paged"]), 5)
        ),
        "models.versions.get": lambda c: c.models.versions.get("m", fields=["version"]),
        "models.versions.get without a name": lambda c: c.models.versions.get(None),
        "models.versions.load": lambda c: c.models.versions.load("m", version="00"),
        "models.versions.exists": lambda c: c.models.versions.exists("missing", "00"),
        "models.versions.generator": lambda c: list(c.models.versions.generator("m")),
        "jobs.cancel_job": lambda c: c.jobs.cancel_job("a"),
        "jobs.cancel_jobs": lambda c: c.jobs.cancel_jobs("a"),
        "jobs.cancel_jobs list": lambda c: c.jobs.cancel_jobs(["a", "b"]),
        "job.get": lambda c: c.jobs.id("a").get(fields=["x"]),
        "job.exists": lambda c: c.jobs.id("a").exists(),
        "job.cancel": lambda c: c.jobs.id("a").cancel(),
        "job.fetch": lambda c: facts(c.jobs.id("a")),
        "job.fetch_result": lambda c: c.jobs.id("a").fetch_result(),
        "job.wait": lambda c: c.jobs.id("a").wait(0.01),
        "templates.create named": lambda c: c.templates.create({"a": 1}, name="t"),
        "buckets.clear": lambda c: c.buckets.clear("a"),
        "buckets.read": lambda c: c.buckets.read("a"),
        "buckets.read with all": lambda c: c.buckets.read(
            "a", features=["avg(x)", "count(y)"], bucket_interval="1m", _to=2, _from=1
        ),
        "buckets.write": lambda c: list(c.buckets.write("a", POINTS, 2)),
        "buckets.write with options": lambda c: list(
            c.buckets.write("a", POINTS, 2, measurement="x", precision="s")
        ),
        "buckets.write not iterated": lambda c: c.buckets.write("a", POINTS, 2) and None,
        "params": lambda c: c.models.get(params={"z": True, "y": 1.5}, pretty=True, fields="a"),
        "escapes": lambda c: c.models.get(
            "é/+%", fields=["ä", "a b"], sort=datetime.date(2020, 1, 31), params={"q": "ü&=+ "}
        ),
        "ignored status": lambda c: c.models.get("missing", ignore=404),
        "ignored statuses": lambda c: c.models.get("missing", ignore=(400, 404)),
        "status 400": lambda c: c.models.get("status-400"),
        "status 401": lambda c: c.models.get("status-401"),
        "status 403": lambda c: c.models.get("status-403"),
        "status 404": lambda c: c.models.get("status-404"),
        "status 409": lambda c: c.models.get("status-409"),
        "status 405": lambda c: c.models.get("status-405"),
        "status 500": lambda c: c.models.get("status-500"),
        "error object": lambda c: c.models.get("error-object"),
        "error text": lambda c: c.models.get("error-text"),
        "html answer": lambda c: c.models.get("html"),
        "perform_request": lambda c: c.transport.perform_request(
            "PUT", "/x", headers={"x-a": "b"}, params={"p": 1}, body="text"
        ),
        "perform_request bytes": lambda c: c.transport.perform_request("POST", "/x", body=b"\xff"),
        "perform_request GET with a body": lambda c: c.transport.perform_request(
            "GET", "/x", body={"a": 1}
        ),
        "values": lambda c: c.transport.perform_request(
            "POST",
            "/x",
            body={
                "date": WHEN,
                "day": datetime.date(2020, 1, 31),
                "utc": WHEN.replace(tzinfo=UTC),
                "decimal": decimal.Decimal("1.5"),
                "uuid": uuid.UUID(int=1),
                "nan": float("nan"),
                "big": 2**70,
                "text": "é\u2028",
                "list": [1, 0.1, True, None, ()],
                1: 2,
            },
        ),
        "lone surrogate": lambda c: c.transport.perform_request("POST", "/x", body={"a": "\ud800"}),
        "unserializable": lambda c: c.transport.perform_request("POST", "/x", body={"a": object}),
    }
)

CLIENTS = {
    "default": {},
    "as POST": {"send_get_body_as": "POST"},
    "as source": {"send_get_body_as": "source"},
    "auth": {"http_auth": ("user", "p:ä")},
    "auth text": {"http_auth": "user:secret"},
    "headers": {"headers": {"X-A": "b", "Content-Type": "application/x"}},
    "prefix": {"url_prefix": "/a/b/"},
    "compressed": {"http_compress": True},
    "one retry": {"max_retries": 1},
}
"""Clients by name: keywords of ``Loud``; each makes a few calls."""


def with_client(options):
    """Return calls made by a client of its own."""
    if "max_retries" in options:
        return {"GET": lambda c: c.models.get("status-503")}
    return {
        "get": lambda c: c.models.get("m"),
        "create": lambda c: c.models.create(SETTINGS),
        "create large": lambda c: c.models.create({**SETTINGS, "text": "x" * 2000}),
        "GET with a body": lambda c: c.transport.perform_request("GET", "/x", body={"a": 1}),
        "HEAD with a body": lambda c: c.transport.perform_request("HEAD", "/x", body={"a": 1}),
    }


def facts(job):
    """Return what a job knows after a look at the server."""
    job.fetch()
    return [job.id, job.name, job.state, job.error, job.total, job.step, job.done(), job.success()]


def outcome(call, client):
    """Return what a call returned or raised, in a form that is the same under both clients."""
    try:
        return {"returned": repr(call(client))}
    except Exception as error:
        named = type(error).__module__.partition(".")[0] in ("loudml", "loudml_py")
        facts = [repr(value) for value in error.args[:2]] if named else []
        return {"raised": type(error).__name__, "args": facts}


def main(module, port):
    """Run every call and print the outcomes."""
    client_module = importlib.import_module(module)
    marker = http.client.HTTPConnection("127.0.0.1", port)
    outcomes = {}
    plans = [("", CALLS, {})]
    plans += [(f"{name}: ", with_client(options), options) for name, options in CLIENTS.items()]
    for prefix, calls, options in plans:
        client = client_module.Loud([{"host": "127.0.0.1", "port": port}], **options)
        for name, call in calls.items():
            marker.request("GET", f"/__call__/{(prefix + name).replace(' ', '_')}")
            marker.getresponse().read()
            outcomes[prefix + name] = outcome(call, client)
        client.transport.close()
    marker.close()
    print(json.dumps(outcomes))


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
