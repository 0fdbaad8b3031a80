"""Historic import path of :mod:`loudml._namespace`."""

from loudml._namespace import (
    GLOBAL_PARAMS,
    SKIP_IN_PATH,
    NamespacedClient,
    _escape,
    _make_path,
    query_params,
    string_types,
)

__all__ = [
    "GLOBAL_PARAMS",
    "SKIP_IN_PATH",
    "NamespacedClient",
    "_escape",
    "_make_path",
    "query_params",
    "string_types",
]
