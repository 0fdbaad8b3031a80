"""Errors: texts, arguments, pickling, and the table from transport-utils."""

import inspect
import pickle
import ssl

import pytest
from loudml import errors
from transport_utils import errors as transport_errors

CAUSE = OSError("boom")


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (errors.TransportError(500, "x", None), "TransportError(500, 'x')"),
        (errors.NotFoundError(404, {"a": 1}, None), "NotFoundError(404, {'a': 1})"),
        (errors.TransportError("N/A", "x"), "TransportError(N/A, 'x')"),
        (errors.ConnectionError("N/A", "x", CAUSE), "ConnectionError(x) caused by: OSError(boom)"),
        (errors.SSLError("N/A", "x", CAUSE), "ConnectionError(x) caused by: OSError(boom)"),
        (
            errors.ConnectionTimeout("TIMEOUT", "x", CAUSE),
            "ConnectionTimeout caused by - OSError(boom)",
        ),
    ],
)
def test_texts(error, text):
    assert str(error) == text
    assert (error.status_code, error.error) == error.args[:2]
    assert error.info == (error.args[2] if len(error.args) > 2 else None)


def unpicklable():
    return ssl.create_default_context()


@pytest.mark.parametrize(
    "error",
    [
        errors.TransportError(500, "x", {"error": "x"}),
        errors.TransportError("N/A"),
        errors.ConnectionError("N/A", "x", transport_errors.ConnectError("y", node="http://h")),
        errors.SerializationError("data", ValueError("x")),
        errors.JobFailed("job failed: x", "id"),
        errors.JobTimeout("late", "id"),
    ],
)
def test_errors_pickle_with_their_attributes(error):
    if isinstance(error, errors.TransportError):
        error.attempts = (503, transport_errors.ConnectError("z"))
        error.node = "http://h"
        error.headers = {"a": "b"}
    copy = pickle.loads(pickle.dumps(error))
    assert type(copy) is type(error)
    assert str(copy) == str(error)
    assert copy.args[:2] == error.args[:2] or isinstance(error, errors.SerializationError)
    assert {name: str(value) for name, value in vars(copy).items()} == {
        name: str(value) for name, value in vars(error).items()
    }


def test_what_does_not_pickle_in_an_error_becomes_text():
    error = errors.ConnectionError("N/A", "x", unpicklable())
    error.node = unpicklable()
    copy = pickle.loads(pickle.dumps(error))
    assert copy.info.startswith("<ssl.SSLContext")
    assert copy.node.startswith("<ssl.SSLContext")


def leaves():
    for _, kind in inspect.getmembers(transport_errors, inspect.isclass):
        if issubclass(kind, transport_errors.TransportError):
            yield kind


@pytest.mark.parametrize("kind", list(leaves()), ids=lambda kind: kind.__name__)
def test_every_error_of_the_transport_has_its_historic_one(kind):
    extra = {"RetryAfterExceeded": {"delay_s": 1.0}, "HttpStatusError": {"status": 500}}
    cause = kind("why", node="http://h", **extra.get(kind.__name__, {}))
    error = errors.from_transport(cause)
    expected = errors.ConnectionError
    if issubclass(kind, transport_errors.ConfigurationError):
        expected = errors.ImproperlyConfigured
    elif issubclass(kind, transport_errors.SerializationError):
        expected = errors.SerializationError
    elif issubclass(kind, transport_errors.TimedOut):
        expected = errors.ConnectionTimeout
    elif issubclass(kind, transport_errors.TlsError):
        expected = errors.SSLError
    assert type(error) is expected
    assert "why" in str(error)
    if isinstance(error, errors.ConnectionError):
        assert error.status_code == ("TIMEOUT" if expected is errors.ConnectionTimeout else "N/A")
        assert (error.info, error.node) == (cause, "http://h")


def test_only_errors_of_the_transport_are_translated():
    with pytest.raises(TypeError, match="not an error of transport-utils"):
        errors.from_transport(ValueError("x"))


def test_statuses_have_their_classes():
    assert {status: kind.__name__ for status, kind in errors.HTTP_EXCEPTIONS.items()} == {
        400: "RequestError",
        401: "AuthenticationException",
        403: "AuthorizationException",
        404: "NotFoundError",
        409: "ConflictError",
    }
