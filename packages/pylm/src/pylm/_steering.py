"""How an answer finds its way out of a server that publishes: the topic is what ``handle_stream`` says.

Shared by Server, Pipeline and Sink (:mod:`pylm._stages`) and by Master and Hub (:mod:`pylm._palmmaster`). Messages
that need no look take a shorter way in those modules. Source: API reference, section A1.
"""

from __future__ import annotations

from typing import Any

from pylm import _wire
from pylm._server import FAILED_PAYLOAD, Engine

__all__ = ["Steered", "SteeringEngine"]


class Steered:
    """The function that a server's author may override to steer a stream."""

    pipelined: bool
    name: str

    def handle_stream(self, message: Any) -> tuple[str, Any]:
        """Return topic and message of an answer; override to steer a stream.

        The default sends the answer to the next server (topic = own name, stage + 1) when pipelined, else to the
        client.
        """
        if self.pipelined:
            message.stage += 1
            return self.name, message
        return message.client, message


class SteeringEngine(Engine, Steered):
    """An engine that publishes its answers."""

    _marks_complete = False
    """Whether the client hears from here that an answer is its message's last."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self._steers = type(self).handle_stream is not Steered.handle_stream

    def _answer(self, message: _wire.Envelope, payload: bytes, *, failed: bool = False) -> None:
        client, ext = message.client, message.ext
        if self._steers:
            try:
                message.payload = payload
                topic, message = self.handle_stream(message)
                payload = message.payload
            except Exception as error:
                self._log_failure(error)
                self._mark_failed(message, error, self.name, "handle_stream")
                topic, payload, failed = client, FAILED_PAYLOAD, True
        elif self.pipelined:
            topic = self.name
            message.stage += 1
        else:
            topic = client
            if self._marks_complete and ext and not failed:
                message.ext = _wire.add_complete(ext)
        per_call = not ext and topic == client
        self._send_answer(topic.encode(), message, payload, failed=failed, per_call=per_call)
