"""A transport for tests: hands the i-th request to the i-th callable and returns what it returns."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from v3io.dataplane.request import Request
from v3io.dataplane.transport import abstract

__all__ = ["Transport"]


class Transport(abstract.Transport):
    """Passes requests to callables instead of a server.

    Args:
        request_verifiers: One callable per expected request; takes the
            :class:`~v3io.dataplane.request.Request`, returns what the call shall return.
    """

    def __init__(self, request_verifiers: Sequence[Callable[[Request], Any]]) -> None:
        super().__init__(None)
        self._request_verifiers = list(request_verifiers)
        self._received = 0

    def send_request(self, request: Request) -> Request:
        """Verify the request.

        Raises:
            IndexError: More requests than verifiers.
        """
        if self._received >= len(self._request_verifiers):
            raise IndexError(
                f"request {self._received + 1} ({request.method} {request.path}): "
                f"only {len(self._request_verifiers)} verifiers were given"
            )
        verifier = self._request_verifiers[self._received]
        self._received += 1
        request.transport = verifier(request)
        return request

    def wait_response(
        self, request: Request, raise_for_status: Any = None, num_retries: int = 1
    ) -> Any:
        """Return what the verifier returned."""
        del raise_for_status, num_retries
        return request.transport
