"""Test doubles of the first API: they send or answer so many messages and stop.

Source: API reference, section A6.
"""

from __future__ import annotations

import logging
from typing import Any

import zmq

from pylm import _wire
from pylm.errors import TimedOut
from pylm.parts.core import open_socket

__all__ = ["PullEndPoint", "PushEndPoint", "ReqConnection", "ReqEndPoint"]

WAIT_MS = 10_000


class _EndPoint:
    """A socket that plays one side of a conversation.

    Args:
        name: Of the double.
        address: Of its socket.
        logger: Unused; kept from the original.
    """

    kind = zmq.REQ
    binds = True

    def __init__(self, name: str, address: str, logger: logging.Logger | None = None) -> None:
        self.name = name
        self.logger = logger
        self.socket = open_socket(self.kind)
        self.socket.rcvtimeo = self.socket.sndtimeo = WAIT_MS
        if self.binds:
            self.socket.bind(address)
        else:
            self.socket.connect(address)

    def start(
        self, function: str = "none", payload: bytes = b"0", nmessages: int = 10
    ) -> list[bytes]:
        """Exchange ``nmessages`` messages; return the payloads that came in.

        Raises:
            TimedOut: The peer did not play along within 10 s.
        """
        got = []
        try:
            for _ in range(nmessages):
                got += self._turn(function, payload)
        except zmq.Again as error:
            raise TimedOut(
                f"{self.name} waited 10 s for its peer after {len(got)} messages"
            ) from error
        finally:
            self.socket.close()
        return got

    def _turn(self, function: str, payload: bytes) -> list[bytes]:
        raise NotImplementedError

    @staticmethod
    def _message(function: str, payload: bytes) -> bytes:
        message: Any = _wire.OldPalmMessage(
            pipeline=_wire.new_uuid(), client=_wire.new_uuid(), stage=0, function=function
        )
        return _wire.encode(message, payload)


class ReqEndPoint(_EndPoint):
    """Sends requests on a bound socket."""

    def _turn(self, function: str, payload: bytes) -> list[bytes]:
        self.socket.send(self._message(function, payload))
        return [_payload(self.socket.recv())]


class ReqConnection(ReqEndPoint):
    """Sends requests on a connected socket."""

    binds = False


class PushEndPoint(_EndPoint):
    """Pushes messages."""

    kind = zmq.PUSH
    binds = False

    def _turn(self, function: str, payload: bytes) -> list[bytes]:
        self.socket.send(self._message(function, payload))
        return []


class PullEndPoint(_EndPoint):
    """Pulls messages."""

    kind = zmq.PULL
    binds = False

    def _turn(self, function: str, payload: bytes) -> list[bytes]:
        return [_payload(self.socket.recv())]


def _payload(frame: bytes) -> bytes:
    return bytes(_wire.decode_old(frame)[1])
