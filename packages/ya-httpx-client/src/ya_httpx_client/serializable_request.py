"""HTTP requests and responses as values that survive a file: what a requestor and a provider exchange in file mode.

Used by the provider's command, by ``FileSerializationService`` and by proxies that forward any request. Only the
standard library is imported at the top; Flask, Quart, requests and httpx are imported by the method that needs them.

The file format is that of the original: ``{"method", "url", "data", "headers"}`` and ``{"status", "data",
"headers"}``, ``data`` as UTF-8 text. Two keys are added and ignored by older readers: ``data_b64`` carries a body
that is not UTF-8 (``data`` is then empty), ``headers_list`` carries repeated header fields in order.
"""

from __future__ import annotations

import base64
import json
import pathlib
import urllib.parse
from collections.abc import Iterable, Mapping
from typing import Any

__all__ = ["Request", "Response"]

HeaderItems = list[tuple[str, str]]


class _Message:
    """What requests and responses share: a body and headers, and their two spellings in a file."""

    data: bytes
    headers: dict[str, str]

    def __init__(
        self, data: bytes, headers: Mapping[str, str] | Iterable[tuple[str, str]] | None
    ) -> None:
        items = headers.items() if isinstance(headers, Mapping) else (headers or ())
        self.data = data
        self.header_items: HeaderItems = [(str(name), str(value)) for name, value in items]
        self.headers = dict(self.header_items)

    def _content(self) -> dict[str, Any]:
        try:
            body: dict[str, Any] = {"data": self.data.decode("utf-8")}
        except UnicodeDecodeError:
            body = {"data": "", "data_b64": base64.b64encode(self.data).decode("ascii")}
        body["headers"] = self.headers
        if len(self._items()) != len(self.headers):
            body["headers_list"] = [list(item) for item in self._items()]
        return body

    def _items(self) -> HeaderItems:
        """Return the header fields; a changed ``headers`` mapping wins over the list read at first."""
        return (
            self.header_items
            if dict(self.header_items) == self.headers
            else list(self.headers.items())
        )

    @staticmethod
    def _read_content(values: Mapping[str, Any]) -> tuple[bytes, HeaderItems]:
        encoded = values.get("data_b64")
        data = values["data"].encode("utf-8") if encoded is None else base64.b64decode(encoded)
        pairs = values.get("headers_list")
        items = (
            [(name, value) for name, value in pairs]
            if pairs is not None
            else list(values["headers"].items())
        )
        return data, items

    def as_dict(self) -> dict[str, Any]:
        """Return the file's contents as JSON values."""
        raise NotImplementedError

    def as_json(self) -> str:
        """Return the file's contents as text."""
        return json.dumps(self.as_dict())

    def to_file(self, fname: str) -> None:
        """Write the file ``fname``, UTF-8."""
        pathlib.Path(fname).write_text(self.as_json(), encoding="utf-8")


class Request(_Message):
    """One HTTP request.

    Args:
        method: HTTP method.
        url: Absolute URL.
        data: Body.
        headers: Mapping, or pairs where fields repeat.

    Attributes:
        headers: Last value of each field.
        header_items: All fields in order.
    """

    def __init__(
        self,
        method: str,
        url: str,
        data: bytes = b"",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> None:
        super().__init__(data, headers)
        self.method = method
        self.url = url

    def __repr__(self) -> str:
        return f"<Request {self.method} {self.url} {len(self.data)} bytes>"

    @property
    def path(self) -> str:
        """Path of the URL without its query (:attr:`target` has both)."""
        return urllib.parse.urlsplit(self.url).path

    @property
    def target(self) -> str:
        """Path and query, as a request line has them."""
        parts = urllib.parse.urlsplit(self.url)
        return (parts.path or "/") + (f"?{parts.query}" if parts.query else "")

    @property
    def base_url(self) -> str:
        """``scheme://host[:port]`` of the URL."""
        parts = urllib.parse.urlsplit(self.url)
        return f"{parts.scheme}://{parts.netloc}"

    def replace_mount_url(self, new_base_url: str) -> None:
        """Point the request at another server; path and query stay.

        Args:
            new_base_url: ``scheme://host[:port]``, a ``/`` at the end is ignored.

        Raises:
            ValueError: It has no ``://``.
        """
        if "://" not in new_base_url:
            raise ValueError(f"Missing schema in url {new_base_url}")
        self.url = self.url.replace(self.base_url, new_base_url.rstrip("/"), 1)

    # files -------------------------------------------------------------------------------------------------------

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"method", "url", "data", "headers"}`` (see the module for two optional keys)."""
        return {"method": self.method, "url": self.url, **self._content()}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Request:
        """Return the request written by :meth:`as_dict` or by the original release.

        Raises:
            KeyError: A key is missing.
        """
        data, items = cls._read_content(d)
        return cls(d["method"], d["url"], data, items)

    @classmethod
    def from_json(cls, s: str) -> Request:
        """Return the request written by :meth:`as_json`.

        Raises:
            ValueError: Not JSON.
            KeyError: A key is missing.
        """
        return cls.from_dict(json.loads(s))

    @classmethod
    def from_file(cls, fname: str) -> Request:
        """Return the request written by :meth:`to_file`.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not JSON.
        """
        return cls.from_json(pathlib.Path(fname).read_text(encoding="utf-8"))

    # frameworks --------------------------------------------------------------------------------------------------

    @classmethod
    def from_flask_request(cls) -> Request:
        """Return the request Flask is serving now."""
        from flask import request

        return cls(request.method, request.url, request.get_data(), list(request.headers.items()))

    @classmethod
    async def from_quart_request(cls) -> Request:
        """Return the request Quart is serving now."""
        from quart import request

        data = await request.get_data(as_text=False)
        return cls(request.method, request.url, data, list(request.headers.items()))

    @classmethod
    def from_httpx_handle_request_args(
        cls,
        method: bytes,
        url: tuple[bytes, bytes, int | None, bytes],
        headers: Iterable[tuple[bytes, bytes]],
        stream: Any,
    ) -> Request:
        """Return a request from the arguments httpx up to 0.18 gave its transports; ``stream`` has ``read()``."""
        scheme, host, port, path = url
        location = host.decode() + (f":{port}" if port else "")
        items = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]
        return cls(
            method.decode(), f"{scheme.decode()}://{location}{path.decode()}", stream.read(), items
        )

    @classmethod
    def from_httpx_request(cls, req: Any) -> Request:
        """Return a request from an ``httpx.Request`` whose body is at hand or can be read without awaiting."""
        return cls(req.method, str(req.url), req.read(), _raw_items(req.headers))

    def as_requests_request(self) -> Any:
        """Return an unprepared ``requests.Request``; of repeated fields the last wins, as there is no room for more."""
        import requests

        return requests.Request(self.method, self.url, data=self.data, headers=self.headers)

    def as_httpx_request(self) -> Any:
        """Return an ``httpx.Request``."""
        import httpx

        return httpx.Request(self.method, self.url, content=self.data, headers=self._items())

    # wire --------------------------------------------------------------------------------------------------------

    def raw_headers_str(self) -> str:
        """Return the header fields as lines that end in CRLF."""
        return "".join(f"{name}: {value}\r\n" for name, value in self._items())

    def raw_body_str(self) -> str:
        """Return the body as text.

        Raises:
            UnicodeDecodeError: It is not UTF-8.
        """
        return self.data.decode("utf-8")

    def as_raw_request_str(self) -> str:
        """Return the request as HTTP/1.0 text: request line with the query, header fields, empty line, body.

        Raises:
            UnicodeDecodeError: The body is not UTF-8.
        """
        return f"{self.method} {self.target} HTTP/1.0\r\n{self.raw_headers_str()}\r\n{self.raw_body_str()}"


class Response(_Message):
    """One HTTP response.

    Args:
        status: HTTP status.
        data: Body.
        headers: Mapping, or pairs where fields repeat.
    """

    def __init__(
        self,
        status: int,
        data: bytes = b"",
        headers: Mapping[str, str] | Iterable[tuple[str, str]] | None = None,
    ) -> None:
        super().__init__(data, headers)
        self.status = int(status)

    def __repr__(self) -> str:
        return f"<Response {self.status} {len(self.data)} bytes>"

    def as_dict(self) -> dict[str, Any]:
        """Return ``{"status", "data", "headers"}`` (see the module for two optional keys)."""
        return {"status": self.status, **self._content()}

    @classmethod
    def from_dict(cls, d: Mapping[str, Any]) -> Response:
        """Return the response written by :meth:`as_dict` or by the original release.

        Raises:
            KeyError: A key is missing.
        """
        data, items = cls._read_content(d)
        return cls(d["status"], data, items)

    @classmethod
    def from_json(cls, s: str) -> Response:
        """Return the response written by :meth:`as_json`.

        Raises:
            ValueError: Not JSON.
            KeyError: A key is missing.
        """
        return cls.from_dict(json.loads(s))

    @classmethod
    def from_file(cls, fname: str) -> Response:
        """Return the response written by :meth:`to_file`.

        Raises:
            OSError: The file cannot be read.
            ValueError: It is not JSON.
        """
        return cls.from_json(pathlib.Path(fname).read_text(encoding="utf-8"))

    @classmethod
    def from_wsmessages(cls, headers_msg: str | bytes, content_msg: str | bytes) -> Response:
        """Return the response whose head is the first message and whose body is the second.

        Raises:
            ValueError: The head is not that of an HTTP response.
        """
        head = headers_msg.decode("latin-1") if isinstance(headers_msg, bytes) else headers_msg
        body = content_msg.encode() if isinstance(content_msg, str) else content_msg
        line, *fields = head.strip().split("\r\n")
        _, status, *_ = line.split(" ")
        items = [
            (name.strip(), value.strip())
            for name, _, value in (field.partition(":") for field in fields)
        ]
        return cls(int(status), body, items)

    @classmethod
    def from_requests_response(cls, res: Any) -> Response:
        """Return a response from a ``requests.Response``, repeated fields kept."""
        raw = getattr(res.raw, "headers", None)
        items = list(raw.items()) if raw is not None else list(res.headers.items())
        return cls(res.status_code, res.content, items)

    @classmethod
    def from_httpx_response(cls, res: Any) -> Response:
        """Return a response from an ``httpx.Response`` whose body was read.

        The body is decoded already, so fields that described its encoding are left out.
        """
        dropped = {"content-encoding", "content-length", "transfer-encoding"}
        items = [
            (name, value) for name, value in _raw_items(res.headers) if name.lower() not in dropped
        ]
        return cls(res.status_code, res.content, items)

    def as_flask_response(self) -> tuple[bytes, int, HeaderItems]:
        """Return body, status and headers, as a Flask view may."""
        return self.data, self.status, self._items()

    def as_quart_response(self) -> tuple[bytes, int, HeaderItems]:
        """Return body, status and headers, as a Quart view may."""
        return self.as_flask_response()


def _raw_items(headers: Any) -> HeaderItems:
    """Return an httpx ``Headers`` object's fields in order, repeated ones kept."""
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers.raw]
