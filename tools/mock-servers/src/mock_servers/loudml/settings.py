"""What the server accepts as settings of a model, a scheduled job or a hook, and the defaults it adds.

One checker per object, driven by tables; every refusal is an :class:`~mock_servers.loudml.errors.Invalid` that names
the field by its path. Source: schemas of Loud ML server 1.6.0.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from mock_servers.loudml.dates import parse_duration
from mock_servers.loudml.errors import Invalid, LoudError, Unsupported

__all__ = ["check_model", "check_name", "check_scheduled_job"]

NAME = re.compile(r"[a-zA-Z0-9\-_@]+")
KEY = re.compile(r"[a-zA-Z0-9\-_@.]+")
NOT_VALID = "not a valid value"
MISSING = "required key not provided"
NO_MATCH = "does not match regular expression"
TIME_UNITS = ("second", "minute", "hour", "day", "week")
WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")
UNITS = frozenset({*TIME_UNITS, *(f"{unit}s" for unit in TIME_UNITS), *WEEKDAYS})

Check = Callable[[Any], bool]


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _percent(value: Any) -> bool:
    return value is None or (_is_number(value) and 0 <= value <= 100)


def _one_of(*accepted: Any) -> Check:
    return lambda value: any(value is choice or value == choice for choice in accepted)


def check_name(name: Any, field: str) -> str:
    """Return a name used in a URL.

    Raises:
        Invalid: ``<field> is invalid: does not match regular expression``.
    """
    if not isinstance(name, str) or len(name) > 256 or not NAME.fullmatch(name):
        raise Invalid(NO_MATCH, field)
    return name


MODEL_FIELDS: Mapping[str, Check] = {
    "span": lambda value: value in (None, "auto") or _count(value),
    "min_span": _count,
    "max_span": _count,
    "forecast": _count,
    "max_evals": _count,
    "threshold": _percent,
    "min_threshold": _percent,
    "max_threshold": _percent,
    "default_bucket": lambda value: value is None or isinstance(value, str),
    "run": lambda value: isinstance(value, dict),
}
MODEL_DURATIONS = {"bucket_interval": None, "interval": None, "offset": 0.0, "grace_period": 0.0}
MODEL_REQUIRED = ("name", "type", "bucket_interval", "interval", "offset", "span", "features")

FEATURE_FIELDS: Mapping[str, Check] = {
    "bucket": lambda value: value is None or isinstance(value, str),
    "measurement": lambda value: value is None or isinstance(value, str),
    "default": lambda value: value in (None, "previous") or _is_number(value),
    "io": _one_of("io", "i", "o"),
    "anomaly_type": _one_of("low", "high", "low_high"),
    "transform": _one_of("diff", None),
    "scores": _one_of("min_max", "normalize", "standardize", None),
    "script": lambda value: value is None or isinstance(value, str),
}


def check_model(settings: Any) -> dict[str, Any]:
    """Return model settings with the server's defaults added.

    Raises:
        Invalid: A field is missing or has a value that is not accepted.
        Unsupported: The type is not ``donut``.
        LoudError: More than one feature (500, as upstream).
    """
    if not settings.get("type"):
        raise Invalid("model has no type")
    if settings["type"] != "donut":
        raise Unsupported("model", settings["type"])
    checked = dict(settings)
    for field, value in settings.items():
        _check_model_field(field, value)
    for field in MODEL_REQUIRED:
        if field not in settings:
            raise Invalid.field(field, MISSING)
    checked["features"] = _features(settings["features"])
    if not any(feature["io"] in ("i", "io") for feature in checked["features"]):
        raise Invalid("model has no input feature")
    if len(checked["features"]) > 1:
        raise LoudError("This model type supports one unique feature")
    checked["seasonality"] = {"daytime": False, "weekday": False, **settings.get("seasonality", {})}
    for field in ("grace_period", "max_threshold", "min_threshold"):
        checked.setdefault(field, 0)
    return checked


def _check_model_field(field: str, value: Any) -> None:
    if field == "name":
        if not isinstance(value, str) or not NAME.fullmatch(value):
            raise Invalid.field("name", NO_MATCH)
        if len(value) > 256:
            raise Invalid.field("name", "length of value must be at most 256")
    elif field in MODEL_DURATIONS:
        minimum = MODEL_DURATIONS[field]
        parse_duration(value, minimum=minimum, above=0.0 if minimum is None else None)
    elif field == "seasonality":
        if not isinstance(value, dict):
            raise Invalid.field(field, "expected a dictionary")
        for key, flag in value.items():
            if not isinstance(flag, bool):
                raise Invalid.field(f"{field}.{key}", "expected bool")
    elif field in MODEL_FIELDS and not MODEL_FIELDS[field](value):
        raise Invalid.field(field, NOT_VALID)


def _features(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict) and value and set(value) <= {"i", "o", "io"}:
        value = [
            {**feature, "io": direction}
            for direction in ("io", "o", "i")
            for feature in value.get(direction) or ()
        ]
    if not isinstance(value, list) or not value:
        raise Invalid.field("features", NOT_VALID)
    return [_feature(feature, f"features.{index}") for index, feature in enumerate(value)]


def _feature(feature: Any, path: str) -> dict[str, Any]:
    if not isinstance(feature, dict):
        raise Invalid.field(path, "expected a dictionary")
    for field, value in feature.items():
        if field == "name":
            if not isinstance(value, str) or not NAME.fullmatch(value):
                raise Invalid.field(f"{path}.name", NO_MATCH)
        elif field in ("metric", "field"):
            if not isinstance(value, str) or not KEY.fullmatch(value):
                raise Invalid.field(f"{path}.{field}", NO_MATCH)
        elif field == "match_all":
            _check_match_all(value, f"{path}.match_all")
        elif field in FEATURE_FIELDS and not FEATURE_FIELDS[field](value):
            raise Invalid.field(f"{path}.{field}", NOT_VALID)
    for field in ("name", "metric", "field"):
        if field not in feature:
            raise Invalid.field(f"{path}.{field}", MISSING)
    return {"io": "io", **feature}


def _check_match_all(value: Any, path: str) -> None:
    if not isinstance(value, list):
        raise Invalid.field(path, "expected a list")
    for index, entry in enumerate(value):
        for key in ("tag", "value"):
            if not isinstance(entry, dict) or key not in entry:
                raise Invalid.field(f"{path}.{index}.{key}", MISSING)


def check_scheduled_job(settings: Any) -> dict[str, Any]:
    """Return the settings of a scheduled job.

    Raises:
        Invalid: A field is missing or has a value that is not accepted.
    """
    if not isinstance(settings, dict):
        raise Invalid("expected a dictionary")
    for field in ("name", "method", "relative_url", "every"):
        if field not in settings:
            raise Invalid.field(field, MISSING)
    if not isinstance(settings["name"], str) or not 0 < len(settings["name"]) <= 256:
        raise Invalid.field("name", NOT_VALID)
    if settings["method"] not in ("head", "get", "post", "patch", "delete"):
        raise Invalid.field("method", NOT_VALID)
    _check_relative_url(settings["relative_url"])
    for field in ("params", "json"):
        values = settings.get(field)
        if values is not None and not isinstance(values, dict):
            raise Invalid.field(field, "expected a dictionary")
        for key, value in (values or {}).items():
            if not isinstance(value, (int, float, str, bool)):
                raise Invalid.field(f"{field}.{key}", NOT_VALID)
    _check_every(settings["every"])
    return dict(settings)


def _check_relative_url(value: Any) -> None:
    problem = None
    if not isinstance(value, str) or not value.startswith("/") or value.startswith("//"):
        problem = "path"
    elif "#" in value:
        problem = "fragment"
    elif "?" in value:
        problem = "query"
    if problem:
        raise Invalid.field(
            "relative_url",
            f"You have attempted to access a restricted URL, the URL contains invalid {problem}.",
        )


def _check_every(every: Any) -> None:
    if not isinstance(every, dict):
        raise Invalid.field("every", "expected a dictionary")
    if "unit" not in every:
        raise Invalid.field("every.unit", MISSING)
    if every["unit"] not in UNITS:
        raise Invalid.field("every.unit", NOT_VALID)
    if not _is_number(every.get("count", 1)) or every.get("count", 1) <= 0:
        raise Invalid.field("every.count", NOT_VALID)
    at = every.get("at")
    if at is not None and not (isinstance(at, str) and re.fullmatch(r"[:0-9]+", at)):
        raise Invalid.field("every.at", NO_MATCH)
