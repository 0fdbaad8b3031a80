"""Response of every API call, and the list of responses of a composite one.

Returned by the transports; downstream code matches the error texts, so they are those of 0.7.2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import orjson

from v3io.dataplane.transport import RaiseForStatus
from v3io.errors import HttpResponseError, of_response

__all__ = ["HttpResponseError", "Response", "Responses"]


class Response:
    """What the platform answered.

    Args:
        output: Class of the parsed answer, called with the parsed body; ``None`` when the API has none.
        status_code: HTTP status.
        headers: Response headers, looked up without regard to case.
        body: The raw body, bytes.
        meta: Facts about the exchange (attempts, duration, node); ``None`` from transports without them.

    A response is not thread-safe while ``output`` is being read for the first time.
    """

    __slots__ = (
        "__dict__",  # for what applications attach
        "__weakref__",
        "_output",
        "_parsed_output",
        "body",
        "headers",
        "meta",
        "status_code",
    )

    def __init__(
        self,
        output: Callable[[Any], Any] | None,
        status_code: int,
        headers: Mapping[str, str],
        body: bytes,
        meta: Any = None,
    ) -> None:
        self._output = output
        self._parsed_output: Any = None
        self.status_code = status_code
        self.headers = headers
        self.body = body
        self.meta = meta

    def __repr__(self) -> str:
        return f"<Response {self.status_code}, {len(self.body)} bytes>"

    @property
    def output(self) -> Any:
        """The parsed answer; ``None`` when the API has no output or the body is empty.

        Raises:
            HttpResponseError: The body is neither JSON nor XML, or not of the shape that the API promises.
        """
        if self._parsed_output is None and self.body and self._output is not None:
            try:
                self._parsed_output = _decode(self._output, self.body)
            except (ValueError, TypeError, AttributeError, LookupError) as cause:
                raise HttpResponseError(
                    f"Failed to parse response with status {self.status_code}, "
                    f"body {self.body!r}, headers={self.headers}",
                    self.status_code,
                ) from cause
        return self._parsed_output

    def raise_for_status(self, expected_statuses: str | Iterable[int] | None = None) -> None:
        """Raise unless the status is accepted.

        Args:
            expected_statuses: ``RaiseForStatus.never``: nothing is raised. ``RaiseForStatus.always``, ``None`` or
                empty: anything from 300 up raises. A list of ints: anything not in it raises, 200 too.

        Raises:
            HttpResponseError: Of the subclass that fits the status and the error body.
            ValueError: ``expected_statuses`` is another str.
        """
        status = self.status_code
        if not expected_statuses or expected_statuses == RaiseForStatus.always:
            accepted = status < 300
        elif expected_statuses == RaiseForStatus.never:
            accepted = True
        elif isinstance(expected_statuses, str):
            raise ValueError(
                f"raise_for_status={expected_statuses!r}: expected 'never', 'always' or a list of statuses"
            )
        else:
            accepted = status in expected_statuses
        if not accepted:
            raise of_response(status, self.headers, self.body)


class Responses:
    """Responses of a call that sends several requests.

    Attributes:
        responses: list of :class:`Response`, in order.
        success: Whether every status was 2xx (0.7.2 counted only 200).
    """

    def __init__(self) -> None:
        self.responses: list[Response] = []
        self.success = True

    def add_response(self, response: Response) -> None:
        """Append one response and fold its status into ``success``."""
        self.responses.append(response)
        self.success = self.success and 200 <= response.status_code < 300

    def raise_for_status(self) -> None:
        """Raise when one of the responses failed.

        Raises:
            HttpResponseError: With the text of 0.7.2, ``Failed to put items``.
        """
        if not self.success:
            raise HttpResponseError("Failed to put items")


def _decode(output: Callable[[Any], Any], body: bytes) -> Any:
    from_body = getattr(output, "from_body", None)
    fast = from_body(body) if from_body is not None else None
    return output(_parse(body)) if fast is None else fast


def _parse(body: bytes) -> Any:
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as cause:
        from xml.etree import ElementTree  # only listings are XML

        if b"<!DOCTYPE" in body:
            raise ValueError(
                "the platform's XML has no document type; refusing entity definitions"
            ) from cause
        try:
            return ElementTree.fromstring(body)  # noqa: S314
        except ElementTree.ParseError:
            raise cause from None
