"""Transports of the blocking client, and the words that its calls share.

``httpclient`` (the default, on transport_utils' native backend), ``requests`` and ``verifier`` (for tests) each hold
one ``Transport``.
"""

__all__ = ["Actions", "RaiseForStatus"]


class RaiseForStatus:
    """When a call raises :class:`~v3io.errors.HttpResponseError`; a list of accepted statuses is the third way."""

    never = "never"
    """Never; the caller looks at ``status_code``."""
    always = "always"
    """From status 300 up, which is also what ``None`` means."""


class Actions:
    """How far a transport takes a request."""

    encode_only = 1
    """Return the :class:`~v3io.dataplane.request.Request`."""
    encode_and_send = 2
    """Send it and return it; ``wait_response`` gets the answer."""
    send_and_receive = 3
    """Send it, wait, and return the response."""
