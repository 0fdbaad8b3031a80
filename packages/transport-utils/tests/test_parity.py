"""The two transports offer the same, name for name: an option that only one of them has is a bug of its own kind."""

import inspect

import pytest
from transport_utils import AsyncResponse, AsyncTransport, Response, Transport
from transport_utils.backends import AsyncHttpBackend, HttpBackend

RENAMED = {
    "close": "aclose",
    "iter_bytes": "aiter_bytes",
    "__enter__": "__aenter__",
    "__exit__": "__aexit__",
}
SAME = {"backend"}
PAIRS = [(Transport, AsyncTransport), (Response, AsyncResponse), (HttpBackend, AsyncHttpBackend)]
# In the asynchronous world reading is a method of its own, since a property cannot be awaited.
ONLY_ASYNC = {"read"}


def offers(cls):
    return {
        name
        for name, value in inspect.getmembers(cls)
        if (callable(value) or isinstance(value, property))
        and (name in RENAMED or name in RENAMED.values() or not name.startswith("_"))
    }


@pytest.mark.parametrize(("sync", "asynchronous"), PAIRS)
def test_both_offer_the_same_names(sync, asynchronous):
    assert {RENAMED.get(name, name) for name in offers(sync)} == offers(asynchronous) - ONLY_ASYNC


def parameters(function):
    return [
        (parameter.name, parameter.kind, parameter.default)
        for parameter in inspect.signature(function).parameters.values()
    ]


@pytest.mark.parametrize(("sync", "asynchronous"), PAIRS)
def test_every_method_takes_the_same_arguments_with_the_same_defaults(sync, asynchronous):
    assert parameters(sync) == parameters(asynchronous)
    for name in offers(sync):
        method = getattr(sync, name)
        if callable(method):
            assert parameters(method) == parameters(
                getattr(asynchronous, RENAMED.get(name, name))
            ), name
