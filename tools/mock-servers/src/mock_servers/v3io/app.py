"""The ASGI application: from an HTTP request to the handler of its function, and back.

No router and no request objects: this is the hot path of other people's test suites. A request is
``/<container>/<path>``; with an ``X-v3io-function`` header it is that function on the path, else object access.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qsl

import orjson
from starlette.types import Receive, Scope, Send

from mock_servers.v3io import items, objects
from mock_servers.v3io.access import Access
from mock_servers.v3io.errors import ServiceError, invalid_argument, unsupported_function
from mock_servers.v3io.items import ScanKnobs
from mock_servers.v3io.reply import JSON, Reply
from mock_servers.v3io.store import Store
from mock_servers.v3io.streams import Streams

__all__ = ["V3ioApplication"]

READING = frozenset(
    {"DescribeStream", "GetClusterMD", "GetItem", "GetItems", "GetRecords", "Seek", "SeekShard"}
)
BODY_REQUIRED = frozenset({"PutItem", "UpdateItem", "PutRecords", "CreateStream", "UpdateStream"})


class V3ioApplication:
    """The web API over one store.

    Args:
        store: The data.
        access: Keys and rights.
        knobs: How scans page.
    """

    def __init__(self, store: Store, access: Access, knobs: ScanKnobs) -> None:
        self.store = store
        self.access = access
        self.knobs = knobs
        self._streams = Streams(store)

    def reset(self) -> None:
        """Back to the empty containers of the start."""
        self.store.clear()
        self._streams = Streams(self.store)

    async def __call__(
        self,
        scope: Scope,
        receive: Receive,
        send: Send,
    ) -> None:
        """Serve one ASGI scope."""
        if scope["type"] != "http":
            await _lifespan(receive, send)
            return
        message = await receive()
        body = message.get("body", b"")
        if message.get("more_body"):
            parts = [body]
            while message.get("more_body"):
                message = await receive()
                if message["type"] == "http.disconnect":
                    return
                parts.append(message.get("body", b""))
            body = b"".join(parts)
        try:
            reply = self.answer(scope, body)
        except ServiceError as error:
            reply = Reply(error.status, error.body(), (JSON,))
        if self.store.sql.in_transaction:
            self.store.commit()  # before the reply: what was acknowledged survives a kill
        headers = list(reply.headers)
        if reply.status != 204 and not (scope["method"] == "HEAD" and reply.status == 200):
            headers.append((b"content-length", b"%d" % len(reply.body)))
        await send({"type": "http.response.start", "status": reply.status, "headers": headers})
        await send({"type": "http.response.body", "body": reply.body})

    def answer(self, scope: Scope, body: bytes) -> Reply:
        """Return the reply to one request.

        Raises:
            ServiceError: The request is refused.
        """
        function = key = authorization = ""
        wanted = None
        for name, value in scope["headers"]:
            if name == b"x-v3io-session-key":
                key = value.decode("latin-1")
            elif name == b"x-v3io-function":
                function = value.decode("latin-1")
            elif name == b"range":
                wanted = value.decode("latin-1")
            elif name == b"authorization":
                authorization = value.decode("latin-1")
        method = scope["method"]
        path: str = scope["path"]
        parts = [part for part in path.split("/") if part]
        if ".." in parts or "." in parts or "\0" in path:
            raise invalid_argument(f"path {path!r}: . and .. are not allowed")
        container_name = parts[0] if parts else ""
        clean = "/".join(parts[1:])
        write = method not in ("GET", "HEAD") and function not in READING
        if not function and method in ("GET", "HEAD") and len(parts) == 1:
            prefix = dict(parse_qsl(scope["query_string"].decode("latin-1"))).get("prefix", "")
            self.access.check(key, authorization, container_name, prefix.strip("/"), write=False)
        else:
            self.access.check(key, authorization, container_name, clean, write=write)
        if not parts:
            if method in ("GET", "HEAD"):
                return objects.list_containers(self.store)
            raise invalid_argument("the path names no container")
        container = self.store.container(container_name)
        if function:
            return self._call(function, container, clean, _decode(function, body))
        return self._access_object(
            scope, container, container_name, clean, body, wanted, directory=path.endswith("/")
        )

    def _access_object(
        self,
        scope: Scope,
        container: int,
        name: str,
        path: str,
        body: bytes,
        wanted: str | None,
        *,
        directory: bool,
    ) -> Reply:
        method = scope["method"]
        if method in ("GET", "HEAD"):
            if not path:
                query = dict(
                    parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True)
                )
                return objects.list_contents(self.store, container, name, query)
            return objects.get_object(self.store, container, path, wanted, head=method == "HEAD")
        if not path:
            raise invalid_argument("the path names no object")
        if method in ("PUT", "POST"):
            return objects.put_object(
                self.store, container, path, body, wanted, directory=directory
            )
        if method == "DELETE":
            return objects.delete_object(self.store, container, path)
        raise ServiceError(405, -22, f"Method {method} is not supported")

    def _call(self, function: str, container: int, path: str, body: dict[str, Any]) -> Reply:
        for name in ("TableName", "StreamName"):
            if body.get(name):
                extra = [part for part in str(body[name]).split("/") if part]
                path = "/".join([*([path] if path else []), *extra])
        if function in ("PutItem", "UpdateItem", "GetItem") and body.get("Key"):
            path = _with_key(path, body)
        if function == "GetItem":
            return items.get_item(self.store, container, path, body)
        if function == "PutItem":
            return items.put_item(self.store, container, path, body)
        if function == "GetItems":
            return items.scan(self.store, container, path, body, self.knobs)
        if function == "UpdateItem":
            return items.update_item(self.store, container, path, body)
        if function in self._streams.functions:
            return self._streams.functions[function](container, path, body)
        if function == "GetClusterMD":
            return Reply(200, b'{"NumberOfVNs":1}', (JSON,))
        raise unsupported_function(function)


def _decode(function: str, body: bytes) -> dict[str, Any]:
    if not body and function not in BODY_REQUIRED:
        return {}
    try:
        decoded = orjson.loads(body)
    except ValueError as error:
        raise invalid_argument(f"the body of {function} is not JSON: {error}") from error
    if not isinstance(decoded, dict):
        raise invalid_argument(f"the body of {function} is not a JSON object")
    return decoded


def _with_key(path: str, body: dict[str, Any]) -> str:
    """Return the item's path when its name comes as ``Key``, which then is an attribute too."""
    try:
        ((name, typed),) = body["Key"].items()
        ((_, value),) = typed.items()
    except (AttributeError, ValueError):
        raise invalid_argument("Key: expected one attribute with one type") from None
    if "Item" in body and isinstance(body["Item"], dict):
        body["Item"].setdefault(name, typed)
    return f"{path}/{value}" if path else str(value)


async def _lifespan(receive: Receive, send: Send) -> None:
    while True:
        message = await receive()
        await send({"type": f"{message['type']}.complete"})
        if message["type"] == "lifespan.shutdown":
            return
