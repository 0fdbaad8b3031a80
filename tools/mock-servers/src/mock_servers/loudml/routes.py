"""The REST routes of the Loud ML server, and the three ways in which they say that something went wrong.

``resource`` routes answer with JSON strings, ``action`` routes with ``{"error": ...}``, ``text`` routes with bare text:
an inconsistency of the original that clients print, hence kept. Source: REST module of Loud ML server 1.6.0.
"""

from __future__ import annotations

import asyncio
import gzip
import json
import logging
import zlib
from collections.abc import Awaitable, Callable
from typing import Any, Literal

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Receive, Scope, Send

from mock_servers.loudml.cluster import Cluster
from mock_servers.loudml.dates import parse_duration
from mock_servers.loudml.errors import Invalid, LoudError, NotFound
from mock_servers.loudml.jobs import Job, JobCanceled
from mock_servers.loudml.query import flag, listing, moment, only_fields, whole_number
from mock_servers.loudml.settings import check_name

__all__ = ["Api"]

Style = Literal["action", "resource", "text"]
Handler = Callable[[Request], Awaitable[Response]]

BAD_REQUEST = "The browser (or proxy) sent a request that this server could not understand."
NOT_ALLOWED = "The method is not allowed for the requested URL."
logger = logging.getLogger(__name__)


class BadJson(Exception):
    """The body is no JSON."""


def reply(value: Any, status: int = 200) -> Response:
    """Return a JSON response: compact, keys sorted, newline at the end."""
    text = json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False) + "\n"
    return Response(text, status, media_type="application/json")


def text_reply(text: str, status: int) -> Response:
    """Return plain text, which the original labels as HTML."""
    return Response(text, status, media_type="text/html")


def no_content() -> Response:
    """Return an empty 204."""
    return Response(status_code=204)


def names_in(request: Request) -> list[str]:
    """Return the names of the path, which are separated by ``;``."""
    return str(request.path_params["names"]).split(";")


class Endpoint:
    """ASGI endpoint of one path: a handler per method, errors rendered in the path's style."""

    def __init__(self, style: Style, **methods: Handler) -> None:
        self._style = style
        self._methods = {method.upper(): handler for method, handler in methods.items()}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        request = Request(scope, receive)
        method = request.method
        handler = self._methods.get("GET" if method == "HEAD" else method)
        response = self._not_allowed() if handler is None else await self._handled(handler, request)
        if method == "HEAD" and handler is not None:
            response = text_reply("", response.status_code)
        await response(scope, receive, send)

    async def _handled(self, handler: Handler, request: Request) -> Response:
        try:
            return await handler(request)
        except LoudError as error:
            return self._failed(str(error), error.status)
        except BadJson:
            if self._style == "resource":
                return reply({"message": BAD_REQUEST}, 400)
            return self._failed(BAD_REQUEST, 400)
        except Exception:
            logger.debug("%s %s failed", request.method, request.url.path, exc_info=True)
            if self._style == "resource":
                return reply({"message": "Internal Server Error"}, 500)
            return text_reply("internal server error", 500)

    def _failed(self, message: str, status: int) -> Response:
        if self._style == "resource":
            return reply(message, status)
        if self._style == "action":
            return reply({"error": message}, status)
        return text_reply(message, status)

    def _not_allowed(self) -> Response:
        if self._style == "resource":
            response = reply({"message": NOT_ALLOWED}, 405)
        else:
            response = text_reply("method not allowed", 405)
        allowed = {*self._methods, *(["HEAD"] if "GET" in self._methods else [])}
        response.headers["Allow"] = ", ".join(sorted(allowed))
        return response


class Api:
    """Routes over a cluster.

    Args:
        cluster: The shared state.
        nodes: Returns the ``nodes`` object of ``/_nodes/_all/http`` for a ``Host`` header, or raises when that lacks a
            port and the profile is faithful.
        host_id: Identifier of the node that serves these routes.
    """

    def __init__(
        self, cluster: Cluster, nodes: Callable[[str], dict[str, Any]], host_id: str
    ) -> None:
        self._cluster = cluster
        self._nodes = nodes
        self._host_id = host_id

    def application(self) -> Starlette:
        """Return the ASGI application."""
        paths = {
            "/": Endpoint("action", get=self.info),
            "/_nodes/{node}/http": Endpoint("text", get=self.node_info),
            "/models": Endpoint("resource", get=self.list_models, post=self.create_model),
            "/models/{names}": Endpoint(
                "resource", get=self.get_models, patch=self.patch_models, delete=self.delete_models
            ),
            "/models/{name}/versions": Endpoint("resource", get=self.list_versions),
            "/models/{name}/training": Endpoint("text", get=self.get_training),
            "/models/{name}/_train": Endpoint("action", post=self.train),
            "/models/{name}/_eval": Endpoint("action", post=self.evaluate),
            "/models/{name}/_forecast": Endpoint("text", post=self.forecast),
            "/models/{name}/_start": Endpoint("action", post=self.start_inference),
            "/models/{name}/_stop": Endpoint("text", post=self.stop_inference),
            "/models/{name}/_restore": Endpoint("action", post=self.restore),
            "/models/{name}/_top": Endpoint("action", get=self.top),
            "/models/{name}/hooks": Endpoint(
                "resource", get=self.list_hooks, post=self.create_hook
            ),
            "/models/{name}/hooks/{hook}": Endpoint(
                "resource", get=self.get_hook, post=self.update_hook, delete=self.delete_hook
            ),
            "/models/{name}/hooks/{hook}/_test": Endpoint("text", post=self.test_hook),
            "/templates": Endpoint("resource", get=self.list_templates, post=self.create_template),
            "/templates/{names}": Endpoint(
                "resource", get=self.get_templates, delete=self.delete_templates
            ),
            "/buckets": Endpoint("resource", get=self.list_buckets, post=self.create_bucket),
            "/buckets/{names}": Endpoint(
                "resource",
                get=self.get_buckets,
                patch=self.patch_bucket,
                delete=self.delete_buckets,
            ),
            "/buckets/{name}/_clear": Endpoint("action", post=self.clear_bucket),
            "/buckets/{name}/_write": Endpoint("action", post=self.write_bucket),
            "/buckets/{name}/_read": Endpoint("action", post=self.read_bucket),
            "/jobs": Endpoint("resource", get=self.list_jobs),
            "/jobs/{names}": Endpoint("resource", get=self.get_jobs),
            "/jobs/{name}/_cancel": Endpoint("action", post=self.cancel_job),
            "/scheduled_jobs": Endpoint(
                "resource",
                get=self.list_scheduled,
                post=self.create_scheduled,
                delete=self.delete_all_scheduled,
            ),
            "/scheduled_jobs/{names}": Endpoint(
                "resource", get=self.get_scheduled, delete=self.delete_scheduled
            ),
        }
        return Starlette(
            routes=[Route(path, endpoint) for path, endpoint in paths.items()],
            exception_handlers={404: _unknown_endpoint},
        )

    async def _body(self, request: Request) -> Any:
        """Return the decoded JSON body, ``None`` when there is none or it is not labelled as JSON."""
        raw = await request.body()
        if request.headers.get("content-type", "").partition(";")[0].strip() != "application/json":
            return None
        if not raw:
            return None
        try:
            if request.headers.get("content-encoding") == "gzip" and not self._cluster.is_faithful:
                raw = gzip.decompress(raw)
            return json.loads(raw)
        except (ValueError, OSError, EOFError, zlib.error):
            raise BadJson from None

    async def _object(self, request: Request) -> dict[str, Any]:
        body = await self._body(request)
        if not isinstance(body, dict):
            raise TypeError("the body is no JSON object")  # compat: 500
        return body

    def _now(self) -> float:
        return self._cluster.clock.now()

    async def _accepted(self, request: Request, job: Job) -> Response:
        """Answer with the job's id, or with its result when the request asked to wait for it."""
        if flag(request.query_params, "bg"):
            return reply(job.id, 202)
        try:
            result = await asyncio.shield(asyncio.wrap_future(job.outcome))
        except JobCanceled:
            raise LoudError("job canceled") from None
        except LoudError as error:
            raise LoudError(str(error)) from error
        return reply(result)

    # Root and nodes

    async def info(self, request: Request) -> Response:
        """``GET /``."""
        return reply(
            {
                "host_id": self._host_id,
                "tagline": "The Disruptive Machine Learning API",
                "version": "1.6.0",
            }
        )

    async def node_info(self, request: Request) -> Response:
        """``GET /_nodes/{_all|host_id}/http``."""
        nodes = self._nodes(request.headers.get("host", ""))
        wanted = request.path_params["node"]
        if wanted != "_all":
            if wanted not in nodes:
                raise NotFound(f"Node not found: {wanted}")
            nodes = {wanted: nodes[wanted]}
        count = len(nodes)
        return reply(
            {
                "_nodes": {"failed": 0, "successful": count, "total": count},
                "cluster_name": "loudml",
                "nodes": nodes,
            }
        )

    # Models

    async def list_models(self, request: Request) -> Response:
        """``GET /models``."""
        models = self._cluster.models.get()
        return reply(listing(models, request.query_params, sort="name:1", inside="settings"))

    async def get_models(self, request: Request) -> Response:
        """``GET /models/a;b``."""
        return reply(only_fields(self._cluster.models.get(names_in(request)), request.query_params))

    async def create_model(self, request: Request) -> Response:
        """``POST /models``."""
        template = request.query_params.get("from_template")
        settings = await self._body(request)
        if template is not None:
            settings = self._cluster.templates.render(template, settings or {})
        self._cluster.models.create(settings)
        return reply("success", 201)

    async def patch_models(self, request: Request) -> Response:
        """``PATCH /models/a;b``."""
        self._cluster.models.patch(names_in(request), await self._object(request))
        return no_content()

    async def delete_models(self, request: Request) -> Response:
        """``DELETE /models/a;b``."""
        self._cluster.models.delete(names_in(request))
        return no_content()

    async def list_versions(self, request: Request) -> Response:
        """``GET /models/{m}/versions``."""
        query = request.query_params
        fields = query.get("fields", "").split(";")
        if "version" in fields and not flag(query, "include_fields"):
            raise Invalid("'version' cannot be excluded")
        versions = self._cluster.models.versions(request.path_params["name"])
        return reply(listing(versions, query, sort="name:1", inside="version"))

    async def restore(self, request: Request) -> Response:
        """``POST /models/{m}/_restore``."""
        version = request.query_params.get("version")
        if not version:
            raise Invalid("invalid value for parameter 'version'")
        self._cluster.models.restore(request.path_params["name"], version)
        return no_content()

    async def get_training(self, request: Request) -> Response:
        """``GET /models/{m}/training``."""
        training = self._cluster.models.training_of(request.path_params["name"])
        if training is None:
            raise NotFound("training job not found")
        return reply(training)

    async def train(self, request: Request) -> Response:
        """``POST /models/{m}/_train``."""
        query, now = request.query_params, self._now()
        start, end = moment(query, "from", now), moment(query, "to", now, "now")
        evaluations = whole_number(query, "max_evals", 0, low=1) or None
        bucket = query.get("input")
        job = self._cluster.models.train(
            request.path_params["name"], start, end, evaluations, bucket
        )
        return reply(job.id, 202)

    async def evaluate(self, request: Request) -> Response:
        """``POST /models/{m}/_eval``."""
        query, now = request.query_params, self._now()
        job = self._cluster.models.evaluate(
            check_name(request.path_params["name"], "model_name"),
            moment(query, "from", now),
            moment(query, "to", now),
            save=flag(query, "save_output_data"),
            output_bucket=query.get("output_bucket"),
            flag_abnormal=flag(query, "flag_abnormal_data"),
        )
        return await self._accepted(request, job)

    async def forecast(self, request: Request) -> Response:
        """``POST /models/{m}/_forecast``."""
        query, now = request.query_params, self._now()
        job = self._cluster.models.forecast(
            request.path_params["name"],
            moment(query, "from", now, "now"),
            moment(query, "to", now),
            save=flag(query, "save_output_data"),
            output_bucket=query.get("output_bucket"),
            constraint=query.get("constraint"),
        )
        return await self._accepted(request, job)

    async def start_inference(self, request: Request) -> Response:
        """``POST /models/{m}/_start``."""
        query = request.query_params
        options: dict[str, Any] = {
            name: flag(query, name)
            for name in ("save_output_data", "flag_abnormal_data")
            if name in query
        }
        if "output_bucket" in query:
            options["output_bucket"] = query["output_bucket"]
        self._cluster.models.start_inference(request.path_params["name"], options)
        return no_content()

    async def stop_inference(self, request: Request) -> Response:
        """``POST /models/{m}/_stop``."""
        self._cluster.models.stop_inference(request.path_params["name"])
        return no_content()

    async def top(self, request: Request) -> Response:
        """``GET /models/{m}/_top``: no bucket type of the original implements it."""
        raise NotImplementedError

    # Hooks

    async def list_hooks(self, request: Request) -> Response:
        """``GET /models/{m}/hooks``."""
        return reply(list(self._cluster.models.hooks(request.path_params["name"])))

    async def create_hook(self, request: Request) -> Response:
        """``POST /models/{m}/hooks``."""
        body = await self._object(request)
        self._cluster.models.create_hook(request.path_params["name"], body)
        return reply("success", 201)

    async def get_hook(self, request: Request) -> Response:
        """``GET /models/{m}/hooks/{h}``."""
        parts = request.path_params
        return reply(self._cluster.models.hook(parts["name"], parts["hook"]))

    async def update_hook(self, request: Request) -> Response:
        """``POST /models/{m}/hooks/{h}``: new configuration of an existing hook."""
        parts = request.path_params
        current = self._cluster.models.hook(parts["name"], parts["hook"])
        body = await self._object(request)
        hook = {"type": current["type"], "config": body.get("config", body), "name": parts["hook"]}
        self._cluster.models.create_hook(parts["name"], hook)
        return reply("success")

    async def delete_hook(self, request: Request) -> Response:
        """``DELETE /models/{m}/hooks/{h}``."""
        parts = request.path_params
        self._cluster.models.delete_hook(parts["name"], parts["hook"])
        return reply("success")

    async def test_hook(self, request: Request) -> Response:
        """``POST /models/{m}/hooks/{h}/_test``: fails in the original, whatever the hook."""
        raise NotImplementedError

    # Templates

    async def list_templates(self, request: Request) -> Response:
        """``GET /templates``."""
        templates = self._cluster.templates.get()
        return reply(listing(templates, request.query_params, sort="name:1"))

    async def get_templates(self, request: Request) -> Response:
        """``GET /templates/a;b``."""
        templates = self._cluster.templates.get(names_in(request))
        return reply(only_fields(templates, request.query_params))

    async def create_template(self, request: Request) -> Response:
        """``POST /templates?name=t``."""
        name = request.query_params.get("name")
        if not name:
            raise Invalid("'name' parameter is required")
        self._cluster.templates.create(name, await self._object(request))
        return reply("success", 201)

    async def delete_templates(self, request: Request) -> Response:
        """``DELETE /templates/a;b``."""
        self._cluster.templates.delete(names_in(request))
        return no_content()

    # Buckets

    async def list_buckets(self, request: Request) -> Response:
        """``GET /buckets``."""
        return reply(listing(self._cluster.buckets.get(), request.query_params, sort="name:1"))

    async def get_buckets(self, request: Request) -> Response:
        """``GET /buckets/a;b``."""
        buckets = self._cluster.buckets.get(names_in(request))
        return reply(only_fields(buckets, request.query_params))

    async def create_bucket(self, request: Request) -> Response:
        """``POST /buckets``."""
        self._cluster.buckets.create(await self._object(request))
        return reply("", 201)

    async def patch_bucket(self, request: Request) -> Response:
        """``PATCH /buckets/{b}``: not implemented by the original either."""
        raise NotImplementedError

    async def delete_buckets(self, request: Request) -> Response:
        """``DELETE /buckets/a;b``."""
        self._cluster.buckets.delete(names_in(request))
        return no_content()

    async def clear_bucket(self, request: Request) -> Response:
        """``POST /buckets/{b}/_clear``."""
        self._cluster.buckets.clear(request.path_params["name"])
        return no_content()

    async def write_bucket(self, request: Request) -> Response:
        """``POST /buckets/{b}/_write``."""
        points = await self._body(request)
        if not points:
            raise Invalid("request body is empty")
        if not isinstance(points, list):
            points = [points]
        measurement = request.query_params.get("measurement")
        job = self._cluster.buckets.write(request.path_params["name"], points, measurement)
        return reply(job.id, 202)

    async def read_bucket(self, request: Request) -> Response:
        """``POST /buckets/{b}/_read``."""
        query, now = request.query_params, self._now()
        start, end = moment(query, "from", now), moment(query, "to", now)
        if "bucket_interval" not in query:
            raise Invalid("invalid value for parameter 'bucket_interval'")
        interval_s = parse_duration(query["bucket_interval"], above=0)
        features = query.get("features")
        if not features:
            raise Invalid("invalid value for parameter 'features'")
        job = self._cluster.buckets.read(
            request.path_params["name"], start, end, interval_s, features
        )
        return reply(job.id, 202)

    # Jobs

    async def list_jobs(self, request: Request) -> Response:
        """``GET /jobs``."""
        now = self._now()
        jobs = [job.shown(now) for job in self._cluster.jobs.all()]
        return reply(listing(jobs, request.query_params, sort="id:1"))

    async def get_jobs(self, request: Request) -> Response:
        """``GET /jobs/a;b``: those found; ``HEAD`` wants all of them."""
        now = self._now()
        found = [self._cluster.jobs.get(name) for name in dict.fromkeys(names_in(request))]
        known = [job.shown(now) for job in found if job is not None]
        if not known or (request.method == "HEAD" and len(known) < len(found)):
            raise NotFound("job(s) not found")
        return reply(only_fields(known, request.query_params))

    async def cancel_job(self, request: Request) -> Response:
        """``POST /jobs/{id}/_cancel``."""
        try:
            self._cluster.jobs.cancel(request.path_params["name"])
        except NotFound as error:
            return text_reply(str(error), 404)
        return no_content()

    # Scheduled jobs

    async def list_scheduled(self, request: Request) -> Response:
        """``GET /scheduled_jobs``."""
        return reply(listing(self._cluster.scheduler.get(), request.query_params, sort="name:1"))

    async def get_scheduled(self, request: Request) -> Response:
        """``GET /scheduled_jobs/a;b``: those found."""
        jobs = self._cluster.scheduler.get(names_in(request))
        return reply(only_fields(jobs, request.query_params))

    async def create_scheduled(self, request: Request) -> Response:
        """``POST /scheduled_jobs``."""
        self._cluster.scheduler.add(await self._body(request))
        return reply("", 201)

    async def delete_scheduled(self, request: Request) -> Response:
        """``DELETE /scheduled_jobs/a;b``: unknown names are ignored."""
        for name in names_in(request):
            self._cluster.scheduler.remove(name)
        return no_content()

    async def delete_all_scheduled(self, request: Request) -> Response:
        """``DELETE /scheduled_jobs``."""
        self._cluster.scheduler.clear()
        return no_content()


async def _unknown_endpoint(request: Request, error: Exception) -> Response:
    return text_reply("unknown endpoint", 404)
