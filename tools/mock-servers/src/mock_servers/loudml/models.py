"""Models and the work done on them: create, train, evaluate, forecast, schedule; their versions and hooks.

Routes call the methods here; each returns plain values or raises a :class:`~mock_servers.loudml.errors.LoudError`.
Thread-safe: what reads and then writes holds one lock.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

from mock_servers.loudml.buckets import Buckets
from mock_servers.loudml.dates import parse_duration
from mock_servers.loudml.errors import (
    Invalid,
    LoudError,
    ModelExists,
    ModelNotFound,
    ModelNotTrained,
    NotFound,
)
from mock_servers.loudml.jobs import FINAL_STATES, Job, JobBoard, JobHandle
from mock_servers.loudml.prediction import Constraint, Model, output_points
from mock_servers.loudml.schedule import Scheduler
from mock_servers.loudml.seasonal import Fit
from mock_servers.loudml.settings import check_model, check_name
from mock_servers.loudml.store import Store

__all__ = ["Models"]


class Models:
    """The models of a cluster.

    Args:
        store: Where documents and points are kept.
        jobs: Where their work runs.
        buckets: Where they read and save.
        scheduler: What runs their inference.
        is_faithful: Keep the faults of the original: an untrained model fails with a Python error text, constraints
            fail every forecast, results for an unknown bucket vanish silently.
        evaluation_s: Least time a training evaluation takes on the clock.
    """

    def __init__(
        self,
        store: Store,
        jobs: JobBoard,
        buckets: Buckets,
        scheduler: Scheduler,
        *,
        is_faithful: bool,
        evaluation_s: float,
    ) -> None:
        self.store = store
        self.jobs = jobs
        self.buckets = buckets
        self.scheduler = scheduler
        self.is_faithful = is_faithful
        self.evaluation_s = evaluation_s
        self._lock = threading.RLock()
        self._trainings: dict[str, str] = {}
        self._predictions: dict[str, Any] = {}

    def forget_all(self) -> None:
        """Forget which jobs trained what; the store is cleared by the cluster."""
        with self._lock:
            self._trainings.clear()
            self._predictions.clear()

    def get(self, names: Sequence[str] | None = None) -> list[dict[str, Any]]:
        """Return models as the API shows them, all or those named, in that order.

        Raises:
            Invalid: A name has characters that no model has.
            ModelNotFound: One does not exist.
        """
        documents = self.store.documents("model")
        if names is None:
            return [self._shown_model(name, body) for name, body in documents.items()]
        shown = []
        for name in names:
            check_name(name, "model_name")
            if name not in documents:
                raise ModelNotFound(name)
            shown.append(self._shown_model(name, documents[name]))
        return shown

    def _shown_model(self, name: str, body: Mapping[str, Any]) -> dict[str, Any]:
        shown = {"settings": body["settings"], "state": self._state(self._active(body))}
        training = self.training_of(name)
        if training is not None:
            shown["training"] = {"job_id": training["id"], "state": training["state"]}
            if "progress" in training:
                shown["training"]["progress"] = training["progress"]
        return shown

    @staticmethod
    def _active(body: Mapping[str, Any]) -> dict[str, Any] | None:
        version: dict[str, Any] | None = body["versions"].get(body["active"])
        return version

    @staticmethod
    def _state(version: Mapping[str, Any] | None) -> dict[str, Any]:
        return {"trained": False} if version is None else {"trained": True, "loss": version["loss"]}

    def _model(self, name: str) -> dict[str, Any]:
        check_name(name, "model_name")
        body: dict[str, Any] | None = self.store.document("model", name)
        if body is None:
            raise ModelNotFound(name)
        return body

    def create(self, settings: Any) -> None:
        """Create a model.

        Raises:
            ModelExists: The name is taken.
            LoudError: As :func:`~mock_servers.loudml.settings.check_model`.
        """
        settings = check_model(settings)
        with self._lock:
            if self.store.document("model", settings["name"]) is not None:
                raise ModelExists
            self._put(settings["name"], settings)

    def _put(self, name: str, settings: Mapping[str, Any]) -> None:
        body = self.store.document("model", name) or {"versions": {}, "active": None, "hooks": {}}
        self.store.put("model", name, {**body, "settings": settings})

    def patch(self, names: Sequence[str], settings: Any) -> None:
        """Replace the settings of models; one that does not exist is created, as upstream."""
        for name in names:
            check_name(name, "model_name")
            checked = check_model({**settings, "name": name})
            with self._lock:
                before = (self.store.document("model", name) or {}).get("settings", {})
                self._put(name, checked)
                if "run" in before and before["interval"] != checked["interval"]:
                    self.start_inference(name, before["run"])

    def delete(self, names: Sequence[str]) -> None:
        """Delete models one after the other: unschedule, cancel training, forget.

        Raises:
            ModelNotFound: At the first that is missing; the earlier ones are gone.
        """
        for name in names:
            with self._lock:
                self._model(name)
                self.scheduler.remove(f"_eval({name})")
                job = self.jobs.get(self._trainings.pop(name, ""))
                if job is not None and job.state not in FINAL_STATES:
                    self.jobs.cancel(job.id)
                self.store.delete("model", name)
                self._predictions.pop(name, None)

    def versions(self, name: str) -> list[dict[str, Any]]:
        """Return the versions of a model as the API shows them, oldest first."""
        body = self._model(name)
        return [
            {
                "settings": body["settings"],
                "state": self._state(version),
                "version": {"name": number, "active": number == body["active"]},
            }
            for number, version in body["versions"].items()
        ]

    def restore(self, name: str, version: str) -> None:
        """Make an earlier version the active one.

        Raises:
            ModelNotFound: The model or the version does not exist.
        """
        with self._lock:
            body = self._model(name)
            if version not in body["versions"]:
                raise ModelNotFound(name, version)
            self.store.put("model", name, {**body, "active": version})

    def predictions(self) -> dict[str, Any]:
        """Return the result of the last evaluation of each model since the server started."""
        with self._lock:
            return dict(self._predictions)

    def training_of(self, name: str) -> dict[str, Any] | None:
        """Return the last training job of a model since the server started, or ``None``."""
        job = self.jobs.get(self._trainings.get(name, ""))
        return None if job is None else job.shown(self.jobs.clock.now())

    def train(
        self, name: str, start: float, end: float, evaluations: int | None, bucket: str | None
    ) -> Job:
        """Start the training of a model on a range of a bucket (``None``: its default bucket)."""
        body = self._model(name)
        settings = body["settings"]

        def work(handle: JobHandle) -> None:
            source = self._source(settings, bucket)
            training = Model(settings, self.store).train(source, start, end, evaluations)
            while True:
                try:
                    done, total = next(training)
                except StopIteration as end_of_training:
                    self._add_version(name, end_of_training.value)
                    return
                handle.sleep(self.evaluation_s)
                handle.progress(done, total)

        job = self.jobs.start("training", name, work)
        with self._lock:
            self._trainings[name] = job.id
        return job

    def _source(self, settings: Mapping[str, Any], bucket: str | None = None) -> str:
        """Return the bucket a model reads: its feature's own, else the one given, else its default."""
        own = settings["features"][0].get("bucket")
        return self.buckets.usable(own or bucket or settings.get("default_bucket"))

    def _add_version(self, name: str, fitted: Fit) -> None:
        with self._lock:
            body = self.store.document("model", name)
            if body is None:
                raise ModelNotFound(name)
            number = f"{len(body['versions']):02d}"
            version = {"loss": fitted.loss, "fit": fitted.to_json()}
            versions = {**body["versions"], number: version}
            self.store.put("model", name, {**body, "versions": versions, "active": number})

    def _trained(self, name: str) -> tuple[Mapping[str, Any], Fit]:
        body = self._model(name)
        version = self._active(body)
        if version is None:
            if self.is_faithful:
                raise LoudError("'NoneType' object has no attribute 'get'")
            raise ModelNotTrained
        return body["settings"], Fit.from_json(version["fit"])

    def evaluate(
        self,
        name: str,
        start: float,
        end: float,
        *,
        save: bool = False,
        output_bucket: str | None = None,
        flag_abnormal: bool = False,
    ) -> Job:
        """Start the evaluation of a range; an unknown model fails the job, not the request.

        Raises:
            BucketNotFound: The output bucket is unknown (``faithful``: nothing is raised and nothing saved).
        """
        self._check_output(save, output_bucket)

        def work(handle: JobHandle) -> Any:
            settings, fitted = self._trained(name)
            bucket = self._source(settings)
            model = Model(settings, self.store)
            result = model.evaluate(fitted, bucket, start, end, flag_abnormal)
            with self._lock:
                self._predictions[name] = result
            if save:
                self._save(name, settings, result, output_bucket)
            return result

        return self.jobs.start("prediction", name, work)

    def forecast(
        self,
        name: str,
        start: float,
        end: float,
        *,
        save: bool = False,
        output_bucket: str | None = None,
        constraint: str | None = None,
    ) -> Job:
        """Start a forecast.

        Raises:
            ModelNotFound: The model does not exist.
            Invalid: The constraint cannot be understood.
            BucketNotFound: As :meth:`evaluate`.
        """
        self._model(name)
        limit = Constraint.parse(constraint) if constraint else None
        self._check_output(save, output_bucket)

        def work(handle: JobHandle) -> Any:
            settings, fitted = self._trained(name)
            if limit is not None and self.is_faithful:
                raise LoudError("'DonutModel' object has no attribute 'test_constraint'")
            bucket = self._source(settings)
            result = Model(settings, self.store).forecast(fitted, bucket, start, end, limit)
            if save:
                self._save(name, settings, result, output_bucket)
            return result

        return self.jobs.start("forecast", name, work)

    def _check_output(self, save: bool, output_bucket: str | None) -> None:
        if save and output_bucket and not self.is_faithful:
            self.buckets.settings(output_bucket)

    def _save(
        self,
        name: str,
        settings: Mapping[str, Any],
        result: Mapping[str, Any],
        output_bucket: str | None,
    ) -> None:
        target = output_bucket or settings.get("default_bucket")
        if self.is_faithful and self.store.document("bucket", str(target)) is None:
            return
        points = output_points(name, settings, result)
        self.buckets.save(target, points, name)

    def start_inference(self, name: str, options: Mapping[str, Any]) -> None:
        """Schedule the evaluation of a model every ``interval``; doing it again changes the options.

        Args:
            name: The model.
            options: ``save_output_data``, ``output_bucket``, ``flag_abnormal_data``, those that were given.

        Raises:
            ModelNotTrained: It cannot predict yet.
        """
        with self._lock:
            body = self._model(name)
            if self._active(body) is None:
                raise ModelNotTrained
            self._check_output(bool(options.get("save_output_data")), options.get("output_bucket"))
            settings = {**body["settings"], "run": dict(options)}
            self.store.put("model", name, {**body, "settings": settings})
            interval_s = parse_duration(settings["interval"])
            offset_s = parse_duration(settings["offset"])
            self.scheduler.add(
                {
                    "name": f"_eval({name})",
                    "method": "post",
                    "relative_url": f"/models/{name}/_eval",
                    "params": {
                        "from": f"now-{offset_s + interval_s:g}s",
                        "to": f"now-{offset_s:g}s",
                        **options,
                    },
                    "every": {"count": interval_s, "unit": "seconds"},
                }
            )

    def stop_inference(self, name: str) -> None:
        """Unschedule the evaluation of a model.

        Raises:
            NotFound: ``model is not scheduled``.
        """
        with self._lock:
            body = self._model(name)
            if not self.scheduler.remove(f"_eval({name})"):
                raise NotFound("model is not scheduled")
            settings = {key: value for key, value in body["settings"].items() if key != "run"}
            self.store.put("model", name, {**body, "settings": settings})

    def hooks(self, model: str) -> dict[str, Any]:
        """Return the hooks of a model by name."""
        return dict(self._model(model)["hooks"])

    def create_hook(self, model: str, hook: Mapping[str, Any]) -> None:
        """Create or replace a hook.

        Raises:
            Invalid: ``type`` or ``name`` is missing.
            NotFound: The type is unknown.
        """
        for field in ("type", "name"):
            if not hook.get(field):
                raise Invalid.because(f"{field} is missing")
        if hook["type"] != "annotations":
            raise NotFound("unknown hook type")
        if not isinstance(hook.get("config"), dict) or "type" not in hook["config"]:
            raise LoudError("invalid hook configuration")
        with self._lock:
            body = self._model(model)
            hooks = {
                **body["hooks"],
                hook["name"]: {"type": hook["type"], "config": hook["config"]},
            }
            self.store.put("model", model, {**body, "hooks": hooks})

    def hook(self, model: str, name: str) -> Any:
        """Return one hook.

        Raises:
            NotFound: ``hook not found``.
        """
        hooks = self._model(model)["hooks"]
        if name not in hooks:
            raise NotFound("hook not found")
        return hooks[name]

    def delete_hook(self, model: str, name: str) -> None:
        """Delete one hook.

        Raises:
            NotFound: ``hook not found``.
        """
        with self._lock:
            self.hook(model, name)
            body = self._model(model)
            hooks = {key: value for key, value in body["hooks"].items() if key != name}
            self.store.put("model", model, {**body, "hooks": hooks})
