"""Hooks of a model: what the server does when the model finds an anomaly.

A group of methods of :class:`~loudml.client.Loud`, ``loud.models.hooks``; :class:`~loudml.aio.AsyncLoud` has the same,
awaitable. The options and errors are those of :mod:`loudml.models`. Source: server 1.6.0, ``/models/{name}/hooks``;
loudml-python 1.6.3 had no methods for it.
"""

from __future__ import annotations

from typing import Any

from loudml._namespace import (
    NamespacedClient,
    _make_path,
    query_params,
    require,
    require_settings,
)

__all__ = ["ModelHooksClient"]


class ModelHooksClient(NamespacedClient):
    """What can be done with the hooks of a model."""

    @query_params()
    def get(
        self, model_name: str, hook_name: str | None = None, params: dict[str, Any] | None = None
    ) -> Any:
        """Return the names of a model's hooks, or one hook: ``GET /models/name/hooks[/hook]``.

        Returns:
            A list of names; with ``hook_name`` ``{"type": str, "config": dict}``.

        Raises:
            ValueError: ``model_name`` is empty.
            NotFoundError: There is no such model or hook.
        """
        require("model_name", model_name)
        path = _make_path("models", model_name, "hooks", hook_name)
        return self.transport.perform_request("GET", path, params=params)

    @query_params()
    def create(
        self, model_name: str, settings: dict[str, Any], params: dict[str, Any] | None = None
    ) -> Any:
        """Add a hook: ``POST /models/name/hooks``.

        Args:
            model_name: The model.
            settings: ``{"name": str, "type": "annotations", "config": {"type": str, "text": str}}``; ``{desc}`` in the
                text stands for the description of the anomaly.
            params: Extra query parameters, sent first.

        Returns:
            ``"success"``.

        Raises:
            ValueError: ``model_name`` or a key is empty.
            TypeError: ``settings`` is not a mapping.
            RequestError: Name or type is missing.
            NotFoundError: There is no such model, or the type is unknown.
        """
        require("model_name", model_name)
        require_settings(settings)
        path = _make_path("models", model_name, "hooks")
        return self.transport.perform_request("POST", path, params=params, body=settings)

    @query_params()
    def delete(self, model_name: str, hook_name: str, params: dict[str, Any] | None = None) -> Any:
        """Remove a hook: ``DELETE /models/name/hooks/hook``.

        Returns:
            ``"success"``.

        Raises:
            ValueError: A name is empty.
            NotFoundError: There is no such model or hook.
        """
        require("model_name", model_name)
        require("hook_name", hook_name)
        path = _make_path("models", model_name, "hooks", hook_name)
        return self.transport.perform_request("DELETE", path, params=params)
