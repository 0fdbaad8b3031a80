"""Model templates: settings with ``{{variable}}`` placeholders.

A group of methods of :class:`~loudml.client.Loud`; :class:`~loudml.aio.AsyncLoud` has the same, awaitable. Every
method also takes ``params``, ``pretty``, ``error_trace``, ``ignore``, ``request_timeout`` and ``idempotent``, see
:doc:`/calls`, and raises :class:`~loudml.errors.TransportError` or a subclass. Source: loudml-python 1.6.3,
``templates``.
"""

from __future__ import annotations

from typing import Any

from loudml._namespace import NamespacedClient, _make_path, query_params, require, require_settings

__all__ = ["TemplatesClient"]


class TemplatesClient(NamespacedClient):
    """What can be done with model templates."""

    @query_params("fields", "include_fields", "page", "per_page", "sort")
    def get(
        self, template_names: str | list[str] | None = None, params: dict[str, Any] | None = None
    ) -> Any:
        """Return model templates: ``GET /templates`` or ``GET /templates/a;b``.

        Args:
            template_names: One name or several; ``None`` for a page of all.
            params: Extra query parameters, sent first.

        Returns:
            A list of dicts with ``name``, ``params`` (the variables) and ``settings``. ``fields`` keeps (with
            ``include_fields=True``) or leaves out the keys it lists; ``page`` counts from 0, ``per_page`` is 1..100
            (server's default 50), ``sort`` is ``"field:1"`` or ``"field:-1"``.

        Raises:
            NotFoundError: A named model template does not exist.
        """
        return self.transport.perform_request(
            "GET", _make_path("templates", template_names), params=params
        )

    @query_params()
    def exists(self, template_name: str, params: dict[str, Any] | None = None) -> Any:
        """Return whether a model template exists: ``HEAD /templates/name``.

        Raises:
            ValueError: ``template_name`` is empty.
            TransportError: The answer is neither yes nor no.
        """
        require("template_name", template_name)
        return self._exists(_make_path("templates", template_name), params)

    @query_params("name")
    def create(self, settings: dict[str, Any], params: dict[str, Any] | None = None) -> Any:
        """Create a model template: ``POST /templates``.

        Args:
            settings: The model template, see the server's documentation.
            params: Extra query parameters, sent first.

        Returns:
            ``"success"``. The query parameter ``name`` names the template.

        Raises:
            TypeError: ``settings`` is not a mapping.
            ValueError: One of its keys is empty.
            RequestError: The server finds a mistake in it, and names the field.
        """
        require_settings(settings)
        return self.transport.perform_request("POST", "/templates", params=params, body=settings)

    @query_params()
    def delete(self, template_name: str, params: dict[str, Any] | None = None) -> Any:
        """Delete a model template, or several given as a list: ``DELETE /templates/name``.

        Returns:
            The empty str.

        Raises:
            ValueError: ``template_name`` is empty.
            NotFoundError: There is none of that name.
        """
        require("template_name", template_name)
        return self.transport.perform_request(
            "DELETE", _make_path("templates", template_name), params=params
        )

    def generator(
        self,
        template_names: str | list[str] | None = None,
        fields: list[str] | None = None,
        include_fields: bool | None = None,
        sort: str = "name:1",
        per_page: int = 100,
    ) -> Any:
        """Iterate over all model templates, fetching page after page.

        Args:
            template_names: Only these (one page, since the server does not page a listing by name); ``None`` for all.
            fields: Keys to keep or leave out, see :meth:`get`.
            include_fields: As for :meth:`get`.
            sort: ``"field:1"`` ascending or ``"field:-1"`` descending.
            per_page: Entries per request, 1..100.
        """
        options = {"fields": fields, "include_fields": include_fields, "sort": sort}
        return self._pages(template_names, per_page, options)
