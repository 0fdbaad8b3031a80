"""A recorded request as a shell line that sends it again."""

from __future__ import annotations

import base64
import shlex

from mock_servers.secrets import is_secret, split
from mock_servers.traffic import Exchange

__all__ = ["SECRET_VARIABLE", "curl_line"]

SECRET_VARIABLE = "SECRET"
OWN_HEADERS = frozenset(
    {"accept", "accept-encoding", "connection", "content-length", "host", "user-agent"}
)
"""Headers that curl writes itself, or that describe the connection of the recorded request."""


def curl_line(exchange: Exchange, url: str) -> str:
    """Return the line for a POSIX shell.

    A hidden header becomes ``"name: $SECRET"``, so that the line holds no secret and runs with the variable set; so do
    the secrets of a JSON body and of a query. A binary body travels as base64 through a pipe. A body that the record
    cut is named as cut in a comment.

    Args:
        exchange: The recorded request.
        url: Base address of the node, without a slash at the end.
    """
    words = ["curl", "-sS"]
    if exchange.method == "HEAD":
        words.append("-I")
    else:
        words += ["-X", shlex.quote(exchange.method)]
    for name, value in exchange.request_headers:
        if name in OWN_HEADERS:
            continue
        if is_secret(name):
            words += ["-H", f'"{name}: ${SECRET_VARIABLE}"']
        else:
            words += ["-H", shlex.quote(f"{name}: {value}")]
    body, before = exchange.request_body, ""
    if body:
        if not any(name == "content-type" for name, _ in exchange.request_headers):
            words += ["-H", "content-type:"]  # else curl says it is a form
        try:
            text = body.decode()
        except UnicodeDecodeError:
            text = "\0"
        if "\0" in text:
            before = f"printf %s {base64.b64encode(body).decode()} | base64 -d | "
            words += ["--data-binary", "@-"]
        else:
            words += ["--data-raw", _quote(text)]
    words.append(_quote(url + exchange.target))
    cut = exchange.request_size - len(body)
    return (
        before
        + " ".join(words)
        + (f"  # {cut} more bytes of the body were not kept" if cut else "")
    )


def _quote(text: str) -> str:
    """Return a text as one word of the shell, the variable in the place of its secrets."""
    return f'"${SECRET_VARIABLE}"'.join(map(shlex.quote, split(text)))
