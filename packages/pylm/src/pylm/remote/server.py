"""A WSGI application whose functions take payloads, and a server to try it with.

Source: ``pylm.remote.server`` of 0.14.4; API reference, section A4.
"""

from __future__ import annotations

import traceback
import wsgiref.simple_server
from collections.abc import Callable, Iterable
from typing import Any

from pylm import _calls, _wire
from pylm.errors import Malformed, to_failure

__all__ = ["DebugServer", "RequestHandler", "WSGIApplication"]


class RequestHandler:
    """Handles one request; subclass it with functions that take and return ``bytes``.

    Args:
        environ: WSGI environment of the request.

    Raises:
        Malformed: The body is not an envelope.
    """

    def __init__(self, environ: dict[str, Any]) -> None:
        self.environ = environ
        size = int(environ.get("CONTENT_LENGTH") or 0)
        self.message, self.payload = _wire.decode_new(environ["wsgi.input"].read(size))

    def handle(self) -> bytes:
        """Call the function and return the envelope with its result.

        Raises:
            Exception: Whatever the function raises.
        """
        _, name = _calls.split_route(self.message.function, self.message.stage)
        function = _calls.FunctionTable(self, type(self).__name__)(name)
        return _wire.encode(self.message, _calls.check_bytes(function(self.payload), name))


class WSGIApplication:
    """The application: POST an envelope, get it back with the result.

    Args:
        handler: Class with the functions.

    A failure answers 500 without a body, or, to a peer that asked for failures, the envelope that carries it.
    """

    def __init__(self, handler: type[RequestHandler]) -> None:
        self.handler = handler

    def __call__(
        self, environ: dict[str, Any], start_response: Callable[..., Any]
    ) -> Iterable[bytes]:
        """Serve one request."""
        headers = [("Content-Type", "application/octet-stream")]
        if environ["REQUEST_METHOD"] != "POST":
            start_response("405 Method not allowed", headers)
            return [b""]
        handler: RequestHandler | None = None
        try:
            handler = self.handler(environ)
            body = handler.handle()
        except Malformed:
            start_response("500 Internal Server Error", headers)
            return [b""]
        except Exception as error:
            environ["wsgi.errors"].write(traceback.format_exc())
            if handler is None or not handler.message.ext:
                start_response("500 Internal Server Error", headers)
                return [b""]
            failure = to_failure(error, server="web", function=handler.message.function)
            handler.message.ext = _wire.add_failure(handler.message.ext, failure)
            body = _wire.encode(handler.message, b"0")
        start_response("200 OK", [*headers, ("Content-Length", str(len(body)))])
        return [body]


class _QuietHandler(wsgiref.simple_server.WSGIRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing per request."""


class DebugServer:
    """Serves an application for trying things out; one request at a time.

    Args:
        host: Where to listen.
        port: Where to listen; 0 for any.
        handler: Class with the functions.
    """

    def __init__(self, host: str, port: int, handler: type[RequestHandler]) -> None:
        self.server = wsgiref.simple_server.make_server(
            host, port, WSGIApplication(handler), handler_class=_QuietHandler
        )
        self.port = self.server.server_port

    def serve_forever(self) -> None:
        """Serve until interrupted or :meth:`shutdown`."""
        try:
            self.server.serve_forever(poll_interval=0.1)
        finally:
            self.server.server_close()

    def handle_request(self) -> None:
        """Serve one request."""
        self.server.handle_request()

    def shutdown(self) -> None:
        """End :meth:`serve_forever`; thread-safe."""
        self.server.shutdown()

    def close(self) -> None:
        """Close the listening socket."""
        self.server.server_close()
