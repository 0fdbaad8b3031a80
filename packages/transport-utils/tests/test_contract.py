"""Every backend keeps the contract."""

import pytest
from transport_utils.aio.backends.native import AsyncNativeBackend
from transport_utils.backends import make_backend
from transport_utils.testing.bridge import AsyncAsSync
from transport_utils.testing.contract import BackendContract


class TestNative(BackendContract):
    interrupts = True

    def make_backend(self):
        return make_backend("native")


class TestNativeWithThePureParser(TestNative):
    @pytest.fixture(autouse=True)
    def pure(self, monkeypatch):
        monkeypatch.setattr("transport_utils.h1.head._llhttp", None)


class TestAsyncNative(BackendContract):
    def make_backend(self):
        return AsyncAsSync(AsyncNativeBackend())


class TestUrllib3(BackendContract):
    def make_backend(self):
        return make_backend("urllib3")


class TestRequests(BackendContract):
    knows_uds = False

    def make_backend(self):
        return make_backend("requests")


class TestHttpx(BackendContract):
    tolerates = frozenset(
        {"a bare LF", "a folded header", "length and chunks", "bytes after the message"}
    )
    deadline_in_head = False
    limits_fields = False

    def make_backend(self):
        return make_backend("httpx")
