"""The public names of a client, with signatures, defaults, bases and values; run as a script, never imported.

    python list_names.py <loudml | loudml_py>

Runs under the original release too, so it uses nothing but the standard library.
"""

import importlib
import inspect
import json
import sys
import types

MODULES = {
    "": "",
    "client": "Loud _normalize_hosts",
    "transport": "Transport get_host_info",
    "connection_pool": "ConnectionPool DummyConnectionPool ConnectionSelector RandomSelector RoundRobinSelector logger",
    "connection": "Connection RequestsHttpConnection Urllib3HttpConnection create_ssl_context",
    "connection.base": "Connection logger tracer",
    "connection.http_urllib3": "Urllib3HttpConnection create_ssl_context VERIFY_CERTS_DEFAULT",
    "connection.http_requests": "RequestsHttpConnection",
    "connection.pooling": "PoolingConnection",
    "serializer": "TextSerializer JSONSerializer Deserializer DEFAULT_SERIALIZERS",
    "errors": "",
    "utils": "NamespacedClient query_params _escape _make_path SKIP_IN_PATH GLOBAL_PARAMS string_types",
    "models": "ModelsClient ModelVersionsClient",
    "jobs": "JobsClient JobClient",
    "scheduled_jobs": "ScheduledJobsClient",
    "templates": "TemplatesClient",
    "buckets": "BucketsClient",
    "misc": "parse_addr parse_constraint parse_timedelta ts_to_datetime ts_to_str datetime_to_str str_to_datetime "
    "str_to_ts make_ts make_datetime format_buckets format_points format_model_versions format_jobs",
    "wave": "generate_data build_tag_dict dump_to_bucket main",
    "randevents": "EventGenerator FlatEventGenerator SinEventGenerator SawEventGenerator TriangleEventGenerator "
    "PatternGenerator CamelEventGenerator LoudMLEventGenerator periodic_saw_variate periodic_sin_variate "
    "periodic_triangle_variate randfloat example",
    "nab": "load_nab g_urls g_base_url",
    "cli": "main",
    "_version": "__version__ version_info",
}
"""Module -> what it offers; an empty text stands for all it has, without its own imports."""


def default(value):
    """Return a default as text that is the same under both clients."""
    if value is inspect.Parameter.empty:
        return None
    if isinstance(value, (type, types.FunctionType)):
        return value.__name__
    text = repr(value)
    return f"a {type(value).__name__}" if " at 0x" in text else text


def signature(function):
    """Return ``[[name, kind, default], ...]``."""
    return [
        [parameter.name, parameter.kind.name, default(parameter.default)]
        for parameter in inspect.signature(function).parameters.values()
    ]


def described(value):
    """Return the facts of one name."""
    if inspect.isclass(value):
        members = {}
        for name in dir(value):
            if name.startswith("__") and name != "__init__":
                continue
            if hasattr(BaseException, name) and name != "__init__":
                continue
            member = inspect.getattr_static(value, name)
            if inspect.isfunction(member):
                members[name] = signature(member)
            elif not name.startswith("_"):
                members[name] = type(member).__name__ if isinstance(member, property) else None
        bases = [base.__name__ for base in value.__mro__[1:-1]]
        return {"class": members, "bases": bases}
    if inspect.isfunction(value):
        return {"function": signature(value)}
    if isinstance(value, (str, int, tuple)) or value is None:
        return {"value": repr(value)}
    return {"value of type": type(value).__name__}


def main(root):
    """Print the names of all modules."""
    found = {}
    for module, names in MODULES.items():
        loaded = importlib.import_module(f"{root}.{module}" if module else root)
        chosen = names.split()
        if not chosen:
            chosen = [
                name
                for name, value in vars(loaded).items()
                if not name.startswith("_")
                and not inspect.ismodule(value)
                and type(value).__name__ != "_Feature"
            ]
            if not module:
                chosen += ["__versionstr__"]
        found[module] = {name: described(getattr(loaded, name)) for name in sorted(chosen)}
    print(json.dumps(found))


if __name__ == "__main__":
    main(sys.argv[1])
