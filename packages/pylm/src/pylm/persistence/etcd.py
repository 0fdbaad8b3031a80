"""The etcd version 2 client of the originals, kept for its import; that API is gone from etcd since 3.6.

Source: ``pylm.persistence.etcd`` of 0.14.4. Deprecated: use a client of etcd version 3.
"""

from __future__ import annotations

import json
import logging
import sys
import time
import urllib.error
import urllib.parse
import urllib.request
import warnings
from typing import Any

import zmq

from pylm import _wire
from pylm.parts.core import Part, open_socket

__all__ = ["Client", "EtcdError", "EtcdPoller"]


class EtcdError(Exception):
    """The etcd server refused, or could not be reached."""

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message


class Client:
    """Keys and values of an etcd server that still speaks version 2.

    Args:
        host: Of the server.
        port: Of the server.
        version_prefix: Path before ``/keys``.

    Warns:
        DeprecationWarning: Always.
    """

    def __init__(
        self, host: str = "127.0.0.1", port: int = 4001, version_prefix: str = "/v2"
    ) -> None:
        warnings.warn(
            "pylm.persistence.etcd speaks etcd's version 2 API, which is gone since etcd 3.6",
            DeprecationWarning,
            stacklevel=2,
        )
        self.uri = f"http://{host}:{port}{version_prefix}"

    def _request(
        self, method: str, key: str, params: dict[str, Any], timeout_s: float | None = 10.0
    ) -> Any:
        data = urllib.parse.urlencode(params)
        url = f"{self.uri}/keys{key if key.startswith('/') else '/' + key}"
        body = None
        if method == "PUT":
            body = data.encode()
        elif data:
            url = f"{url}?{data}"
        request = urllib.request.Request(url, body, method=method)  # noqa: S310 - the caller's host
        try:
            with urllib.request.urlopen(request, timeout=timeout_s) as answer:  # noqa: S310
                return json.loads(answer.read())
        except urllib.error.HTTPError as error:
            raise EtcdError(f"{method} {key}: {error.code} {error.read()[:200]!r}") from error
        except (OSError, ValueError) as error:
            raise EtcdError(f"{method} {key} on {self.uri}: {error}") from error

    def get(self, key: str, retries: int = 5, params: dict[str, Any] | None = None) -> str:
        """Return the value of a key, trying ``retries`` times half a second apart.

        Raises:
            EtcdError: The last attempt failed.
        """
        for attempt in range(max(1, retries)):
            try:
                return str(self._request("GET", key, params or {})["node"]["value"])
            except EtcdError:
                if attempt >= retries - 1:
                    raise
                time.sleep(0.5)
        raise EtcdError(f"GET {key}: no attempt was allowed")

    def list(self, key: str) -> list[Any]:
        """Return the nodes of a directory."""
        nodes = self._request("GET", key, {})["node"].get("nodes", [])
        return [*nodes]

    def wait(self, key: str, wait_index: int | bool = False) -> str:
        """Return the next value of a key; waits for a change, at most a minute.

        Raises:
            EtcdError: No change in time, or the request failed.
        """
        params: dict[str, Any] = {"wait": "true"}
        if wait_index:
            params["waitIndex"] = wait_index
        return str(self._request("GET", key, params, 60.0)["node"]["value"])

    def put(self, key: str, value: str = "", directory: bool = False) -> Any:
        """Set a key, or make a directory; return etcd's answer."""
        return self._request("PUT", key, {"dir": "true"} if directory else {"value": value})

    def delete(self, key: str, directory: bool = False) -> Any:
        """Delete a key or a directory; return etcd's answer."""
        return self._request("DELETE", key, {"dir": "true"} if directory else {})


class EtcdPoller(Part):
    """Sends a message to the router whenever a key changes.

    Args:
        name: Of the part.
        key: To watch.
        function: Of the message.
        broker_address: ``inbound_address`` of the router.
        logger: Of the server.
        messages: Stop after so many messages.
    """

    def __init__(
        self,
        name: str,
        key: str,
        function: str = "update",
        broker_address: str = "inproc://broker",
        logger: logging.Logger | None = None,
        messages: int = sys.maxsize,
    ) -> None:
        super().__init__(name, logger, None, messages)
        self.key = key
        self.function = function
        self.broker_address = broker_address
        self.client = Client()

    def start(self) -> bytes:
        """Watch until :meth:`stop` or the message limit; return the name."""
        broker = open_socket(zmq.REQ)
        broker.identity = self.name
        broker.connect(self.broker_address)
        try:
            for _ in range(self.messages):
                if self._stop.is_set():
                    break
                message = _wire.PalmMessage(
                    pipeline=_wire.new_uuid(), client=_wire.new_uuid(), function=self.function
                )
                try:
                    value = self.client.wait(self.key)
                except EtcdError as error:
                    self.logger.error("%s", error)
                    self._stop.wait(1.0)
                    continue
                broker.send(_wire.encode(message, value.encode()))
                if self._receive(broker) is None:
                    break
        finally:
            broker.close(0)
        return self.name

    def cleanup(self) -> None:
        """Nothing is open outside :meth:`start`."""
