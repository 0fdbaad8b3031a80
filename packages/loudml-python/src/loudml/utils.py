"""Historic import path of ``loudml._namespace``."""

from loudml._namespace import GLOBAL_PARAMS as GLOBAL_PARAMS
from loudml._namespace import SKIP_IN_PATH as SKIP_IN_PATH
from loudml._namespace import NamespacedClient as NamespacedClient
from loudml._namespace import _escape as _escape
from loudml._namespace import _make_path as _make_path
from loudml._namespace import query_params as query_params
from loudml._namespace import string_types as string_types
