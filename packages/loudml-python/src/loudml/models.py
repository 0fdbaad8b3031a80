"""Models: settings, training, evaluation, forecasts, versions.

A group of methods of :class:`~loudml.client.Loud`; :class:`~loudml.aio.AsyncLoud` has the same, awaitable. Every
method also takes ``params``, ``pretty``, ``error_trace``, ``ignore``, ``request_timeout`` and ``idempotent``, see
:doc:`/calls`, and raises :class:`~loudml.errors.TransportError` or a subclass. Source: loudml-python 1.6.3, ``models``.
"""

from __future__ import annotations

from typing import Any

from loudml._namespace import NamespacedClient, _make_path, query_params, require, require_settings
from loudml.errors import NotFoundError
from loudml.model_hooks import ModelHooksClient

__all__ = ["ModelVersionsClient", "ModelsClient"]


class ModelVersionsClient(NamespacedClient):
    """What can be done with the versions of a model; each training makes one."""

    _names_end_paging = False

    @query_params("fields", "include_fields", "page", "per_page", "sort")
    def get(self, model_name: str, params: dict[str, Any] | None = None) -> Any:
        """Return the versions of a model: ``GET /models/name/versions``.

        Returns:
            A list of model dicts, each with ``version`` (``{"name": "00", "active": bool}``); the keywords are those of
            :meth:`ModelsClient.get`.

        Raises:
            ValueError: ``model_name`` is empty.
            NotFoundError: There is no such model.
        """
        require("model_name", model_name)
        path = _make_path("models", model_name, "versions")
        return self.transport.perform_request("GET", path, params=params)

    @query_params("version")
    def load(self, model_name: str, params: dict[str, Any] | None = None) -> Any:
        """Make a version the active one: ``POST /models/name/_restore?version=00``.

        Returns:
            The empty str.

        Raises:
            ValueError: ``model_name`` is empty.
            RequestError: ``version`` is missing.
            NotFoundError: There is no such model or version.
        """
        require("model_name", model_name)
        path = _make_path("models", model_name, "_restore")
        return self.transport.perform_request("POST", path, params=params)

    @query_params()
    def exists(
        self, model_name: str, version_name: str, params: dict[str, Any] | None = None
    ) -> Any:
        """Return whether a model has a version.

        ``HEAD /models/name/versions/00`` first; servers of 1.6 have no such route, so a 404 is checked in the listing.

        Raises:
            ValueError: A name is empty.
            TransportError: The answer is neither yes nor no.
        """
        path = self._version_path(model_name, version_name)
        return self._exists(path, params) or self._is_listed(model_name, version_name)

    def _version_path(self, model_name: str, version_name: str) -> str:
        require("model_name", model_name)
        require("version_name", version_name)
        return _make_path("models", model_name, "versions", version_name)

    def _is_listed(self, model_name: str, version_name: str) -> Any:
        try:
            return any(
                entry["version"]["name"] == version_name for entry in self.generator(model_name)
            )
        except NotFoundError:
            return False

    def generator(
        self,
        model_name: str | None = None,
        fields: list[str] | None = None,
        include_fields: bool | None = None,
        sort: str | None = None,
        per_page: int = 100,
    ) -> Any:
        """Iterate over all versions of a model, fetching page after page; see :meth:`ModelsClient.generator`.

        Raises:
            ValueError: ``model_name`` is empty; raised by the iteration.
        """
        options = {"fields": fields, "include_fields": include_fields, "sort": sort}
        return self._pages(model_name, per_page, options)


class ModelsClient(NamespacedClient):
    """What can be done with models.

    Attributes:
        versions: The :class:`ModelVersionsClient`.
        hooks: The :class:`~loudml.model_hooks.ModelHooksClient`.
    """

    _versions_class = ModelVersionsClient
    _hooks_class = ModelHooksClient

    def __init__(self, client: Any) -> None:
        super().__init__(client)
        self.versions = self._versions_class(client)
        self.hooks = self._hooks_class(client)

    @query_params("fields", "include_fields", "page", "per_page", "sort")
    def get(
        self, model_names: str | list[str] | None = None, params: dict[str, Any] | None = None
    ) -> Any:
        """Return models: ``GET /models`` or ``GET /models/a;b``.

        Args:
            model_names: One name or several; ``None`` for a page of all.
            params: Extra query parameters, sent first.

        Returns:
            A list of dicts with ``settings``, ``state`` (``{"trained": bool, "loss": number}``) and, after a
            training, ``training``. ``fields`` keeps (with ``include_fields=True``) or leaves out the keys it lists;
            ``page`` counts from 0, ``per_page`` is 1..100 (server's default 50), ``sort`` is ``"field:1"`` or
            ``"field:-1"``.

        Raises:
            NotFoundError: A named model does not exist.
        """
        return self.transport.perform_request(
            "GET", _make_path("models", model_names), params=params
        )

    @query_params()
    def exists(self, model_name: str, params: dict[str, Any] | None = None) -> Any:
        """Return whether a model exists: ``HEAD /models/name``.

        Raises:
            ValueError: ``model_name`` is empty.
            TransportError: The answer is neither yes nor no.
        """
        require("model_name", model_name)
        return self._exists(_make_path("models", model_name), params)

    @query_params("from_template")
    def create(self, settings: dict[str, Any], params: dict[str, Any] | None = None) -> Any:
        """Create a model: ``POST /models``.

        Args:
            settings: The model, see the server's documentation.
            params: Extra query parameters, sent first.

        Returns:
            ``"success"``. With ``from_template`` the settings are the variables of that template.

        Raises:
            TypeError: ``settings`` is not a mapping.
            ValueError: One of its keys is empty.
            RequestError: The server finds a mistake in it, and names the field.
        """
        require_settings(settings)
        return self.transport.perform_request("POST", "/models", params=params, body=settings)

    @query_params()
    def delete(self, model_name: str, params: dict[str, Any] | None = None) -> Any:
        """Delete a model, or several given as a list: ``DELETE /models/name``.

        Returns:
            The empty str.

        Raises:
            ValueError: ``model_name`` is empty.
            NotFoundError: There is none of that name.
        """
        require("model_name", model_name)
        return self.transport.perform_request(
            "DELETE", _make_path("models", model_name), params=params
        )

    def generator(
        self,
        model_names: str | list[str] | None = None,
        fields: list[str] | None = None,
        include_fields: bool | None = None,
        sort: str = "name:1",
        per_page: int = 100,
    ) -> Any:
        """Iterate over all models, fetching page after page.

        Args:
            model_names: Only these (one page, since the server does not page a listing by name); ``None`` for all.
            fields: Keys to keep or leave out, see :meth:`get`.
            include_fields: As for :meth:`get`.
            sort: ``"field:1"`` ascending or ``"field:-1"`` descending.
            per_page: Entries per request, 1..100.
        """
        options = {"fields": fields, "include_fields": include_fields, "sort": sort}
        return self._pages(model_names, per_page, options)

    @query_params()
    def update(
        self,
        model_name: str | list[str],
        settings: dict[str, Any],
        params: dict[str, Any] | None = None,
    ) -> Any:
        """Replace the settings of a model, or of several given as a list: ``PATCH /models/name``.

        Not in 1.6.3. The training is kept; if ``interval`` changes, inference goes on at the new one.

        Args:
            model_name: The model; servers of 1.6 create one that does not exist.
            settings: All settings, as for :meth:`create`; the name in them does not matter.
            params: Extra query parameters, sent first.

        Returns:
            The empty str.

        Raises:
            ValueError: ``model_name`` or a key is empty.
            TypeError: ``settings`` is not a mapping.
            RequestError: The server finds a mistake in it, and names the field.
        """
        require("model_name", model_name)
        require_settings(settings)
        path = _make_path("models", model_name)
        return self.transport.perform_request("PATCH", path, params=params, body=settings)

    @query_params()
    def training(self, model_name: str, params: dict[str, Any] | None = None) -> Any:
        """Return the last training job of a model, a dict as in ``jobs.get``: ``GET /models/name/training``.

        Not in 1.6.3.

        Raises:
            ValueError: ``model_name`` is empty.
            NotFoundError: There is no such model, or it was not trained since the server started.
        """
        require("model_name", model_name)
        path = _make_path("models", model_name, "training")
        return self.transport.perform_request("GET", path, params=params)

    @query_params("from", "to", "epochs", "max_evals", "continue")
    def train(self, model_name: str, params: dict[str, Any] | None = None) -> Any:
        """Start training: ``POST /models/name/_train``.

        Keywords: ``_from`` (required by the server) and ``_to`` (default now): dates, seconds or ``"now-30d"``;
        ``max_evals``: how many sets of hyperparameters to try, 10 if not given; ``epochs``; ``_continue``.

        Returns:
            The id of the training job, a str: see ``loud.jobs.id``.

        Raises:
            ValueError: ``model_name`` is empty.
            RequestError: ``_from`` is missing, or a date is malformed.
            NotFoundError: There is no such model.
        """
        require("model_name", model_name)
        params = {} if params is None else params
        params.setdefault("max_evals", 10)
        path = _make_path("models", model_name, "_train")
        return self.transport.perform_request("POST", path, params=params)

    @query_params(
        "from",
        "to",
        "bg",
        "input_bucket",
        "output_bucket",
        "save_output_data",
        "flag_abnormal_data",
    )
    def eval_model(self, model_name: str, params: dict[str, Any] | None = None) -> Any:
        """Predict past values and score what was observed: ``POST /models/name/_eval``.

        Keywords: ``_from`` and ``_to`` (required by the server); ``bg``: answer at once with a job (``True`` if not
        given) or wait for the result; ``input_bucket``, ``output_bucket``; ``save_output_data``: write predictions to
        the output bucket; ``flag_abnormal_data``: score each point.

        Returns:
            The id of a job, a str; with ``bg=False`` its result: ``{"timestamps": [seconds, ...], "observed": {"<f>":
            [...]}, "predicted": {"<f>": [...], "lower_<f>": [...], "upper_<f>": [...]}}``, lists of one length,
            ``None`` where there is no value; with ``flag_abnormal_data`` also ``"stats"``, one per time.

        Raises:
            ValueError: ``model_name`` is empty.
            RequestError: A keyword is missing or malformed.
        """
        return self._infer("_eval", model_name, params)

    @query_params(
        "from",
        "to",
        "bg",
        "input_bucket",
        "output_bucket",
        "p_val",
        "constraint",
        "save_output_data",
    )
    def forecast(self, model_name: str, params: dict[str, Any] | None = None) -> Any:
        """Predict the future: ``POST /models/name/_forecast``.

        Keywords: ``_from`` (now if not given) and ``_to`` (required by the server); ``bg`` and the buckets as for
        :meth:`eval_model`; ``p_val``: probability of the band, 0..1; ``constraint``: ``"feature:low|high:threshold"``.

        Returns:
            As for :meth:`eval_model`.

        Raises:
            ValueError: ``model_name`` is empty.
            RequestError: A keyword is missing or malformed.
            NotFoundError: There is no such model.
        """
        return self._infer("_forecast", model_name, params)

    def _infer(self, action: str, model_name: str, params: dict[str, Any] | None) -> Any:
        require("model_name", model_name)
        params = {} if params is None else params
        params.setdefault("bg", True)
        path = _make_path("models", model_name, action)
        return self.transport.perform_request("POST", path, params=params)

    @query_params("save_output_data", "flag_abnormal_data", "output_bucket")
    def start_inference(
        self, model_names: str | list[str], params: dict[str, Any] | None = None
    ) -> Any:
        """Let the server evaluate new data at each interval: ``POST /models/name/_start``, one request per model.

        Keywords: ``save_output_data``, ``flag_abnormal_data``, ``output_bucket`` as for :meth:`eval_model`.

        Returns:
            The empty str.

        Raises:
            ValueError: ``model_names`` is empty.
            RequestError: The model is not trained.
            NotFoundError: There is no such model. All names are tried before the first failure is raised.
        """
        return self._switch("_start", model_names, params)

    @query_params()
    def stop_inference(
        self, model_names: str | list[str], params: dict[str, Any] | None = None
    ) -> Any:
        """End what :meth:`start_inference` began: ``POST /models/name/_stop``, one request per model.

        Returns:
            The empty str.

        Raises:
            ValueError: ``model_names`` is empty.
            NotFoundError: A model is unknown or not started. All names are tried before the first failure is raised.
        """
        return self._switch("_stop", model_names, params)

    def _switch(
        self, action: str, model_names: str | list[str], params: dict[str, Any] | None
    ) -> Any:
        require("model_names", model_names)
        return self._each(
            model_names,
            lambda name: self.transport.perform_request(
                "POST", _make_path("models", name, action), params=dict(params or {})
            ),
        )
