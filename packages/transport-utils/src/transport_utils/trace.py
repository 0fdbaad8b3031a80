"""Shows requests to people: as curl commands that can be pasted into a shell, and as one log line per attempt.

Used by the drivers when the logger ``transport_utils.transport`` is enabled, by :func:`enable_debug`, and by clients
with a trace log of their own. Secrets are hidden unless asked for.
"""

from __future__ import annotations

import base64
import logging
import re
import shlex
import sys
from collections.abc import Iterable, Mapping
from typing import IO, Any

from transport_utils.endpoint import Endpoint
from transport_utils.hooks import Attempt, Hooks
from transport_utils.messages import Request, ResponseMeta
from transport_utils.redact import redact_headers, redact_url

__all__ = ["curl", "curl_hooks", "enable_debug", "log_hooks"]

_TRACE = logging.getLogger("transport_utils.trace")
_TRANSPORT = logging.getLogger("transport_utils.transport")
_PRINTABLE = re.compile(r"[\t\n\x20-\x7e\u00a0-\ud7ff\ue000-\U0010ffff]*")


def curl(
    request: Request,
    endpoint: Endpoint,
    *,
    redact: bool = True,
    secret: Iterable[str] = (),
    headers: Mapping[str, str] | None = None,
) -> str:
    """Return the curl command that sends the same request, quoted for a POSIX shell.

    A body that is not text is carried through ``base64 -d``; of a body that is a file or an iterator only a remark is
    left, since reading it here would take it from the request.

    Args:
        request: The request.
        endpoint: The node it goes to.
        redact: Whether secrets are replaced by ``<hidden>``; the command then runs, but is refused where they matter.
        secret: Lower-case header and query names to hide besides the known ones.
        headers: Headers added for this attempt.
    """
    secret = frozenset(secret)
    before, words = "", ["curl", "--silent", "--show-error"]
    if request.method == "HEAD":
        words.append("--head")
    else:
        words += ["--request", request.method]
    if endpoint.uds is not None:
        words += ["--unix-socket", endpoint.uds]
    if endpoint.proxy is not None:
        words += ["--proxy", redact_url(endpoint.proxy, secret) if redact else endpoint.proxy]
    if endpoint.tls is not None and getattr(endpoint.tls, "verify", True) is False:
        words.append("--insecure")
    fields = list(_merged(endpoint.headers, request.headers, headers).items())
    for name, value in redact_headers(fields, secret) if redact else fields:
        words += ["--header", f"{name}: {value}" if value else f"{name};"]
    body = request.body
    if isinstance(body, (bytes, bytearray, memoryview)):
        text = _as_text(bytes(body))
        if text is None:
            encoded = base64.b64encode(bytes(body)).decode("ascii")
            before = f"printf %s {encoded} | base64 -d | "
            words += ["--data-binary", "@-"]
        elif text:
            # An @ in front would make curl read a file.
            words += ["--data-raw", text]
    url = _url(endpoint, request.target)
    words.append(redact_url(url, secret) if redact else url)
    after = (
        ""
        if body is None or isinstance(body, (bytes, bytearray, memoryview))
        else "  # body is streamed"
    )
    return before + " ".join(shlex.quote(word) for word in words) + after


def curl_hooks(
    logger: logging.Logger = _TRACE, *, level: int = logging.INFO, redact: bool = True
) -> Hooks:
    """Return hooks that log the curl command of every attempt, and its answer as a comment.

    Args:
        logger: By default ``transport_utils.trace``.
        level: Level of the lines; nothing is formatted while the logger is off.
        redact: See :func:`curl`.
    """

    def on_attempt(attempt: Attempt) -> None:
        if logger.isEnabledFor(level):
            command = curl(
                attempt.request, attempt.endpoint, redact=redact, headers=attempt.headers
            )
            logger.log(level, "%s", command)

    def on_response(attempt: Attempt, meta: ResponseMeta, now: float) -> None:
        if logger.isEnabledFor(level):
            logger.log(level, "# %d in %.3f s", meta.status, now - attempt.started)

    def on_error(attempt: Attempt, error: BaseException, now: float) -> None:
        if logger.isEnabledFor(level):
            logger.log(level, "# %s in %.3f s", type(error).__name__, now - attempt.started)

    return Hooks(on_attempt=on_attempt, on_response=on_response, on_error=on_error)


def log_hooks(logger: logging.Logger = _TRANSPORT) -> Hooks:
    """Return hooks that write one line per attempt: DEBUG for answers, INFO for retries, WARNING for changed nodes.

    Args:
        logger: By default ``transport_utils.transport``.
    """

    def on_response(attempt: Attempt, meta: ResponseMeta, now: float) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s -> %d in %.3f s", _line(attempt), meta.status, now - attempt.started)

    def on_error(attempt: Attempt, error: BaseException, now: float) -> None:
        if logger.isEnabledFor(logging.DEBUG):
            logger.debug("%s -> %s: %s", _line(attempt), type(error).__name__, error)

    def on_retry(attempt: Attempt, delay_s: float) -> None:
        if logger.isEnabledFor(logging.INFO):
            logger.info("%s is tried again in %.3f s", _line(attempt), delay_s)

    def on_node_state(endpoint: Endpoint, change: Any) -> None:
        logger.warning("node %s is %s", endpoint.base_url, change.value)

    return Hooks(
        on_response=on_response, on_error=on_error, on_retry=on_retry, on_node_state=on_node_state
    )


def enable_debug(level: int = logging.DEBUG, file: IO[str] | None = None) -> logging.Handler:
    """Write everything the transport logs to a file, with times; for use at a prompt or in a failing job.

    Args:
        level: Lowest level that is written.
        file: An open text file; ``None`` for standard error.

    Returns:
        The handler, to be removed from the logger ``transport_utils`` to end it.
    """
    handler = logging.StreamHandler(sys.stderr if file is None else file)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)-7s %(name)s: %(message)s"))
    logger = logging.getLogger("transport_utils")
    logger.addHandler(handler)
    logger.setLevel(level)
    return handler


def _line(attempt: Attempt) -> str:
    target = redact_url(attempt.request.target)
    return (
        f"{attempt.request.method} {attempt.endpoint.base_url}{target} (attempt {attempt.number})"
    )


def _url(endpoint: Endpoint, target: str) -> str:
    base = endpoint.base_url if endpoint.uds is None else f"http://localhost{endpoint.path_prefix}"
    return base + target


def _merged(*layers: Mapping[str, str | None] | None) -> dict[str, str]:
    """Return headers of several layers, the later ones winning; ``None`` takes a header out."""
    merged: dict[str, str] = {}
    names: dict[str, str] = {}
    for layer in layers:
        for name, value in (layer or {}).items():
            merged.pop(names.pop(name.lower(), ""), None)
            if value is not None:
                merged[name] = value
                names[name.lower()] = name
    return merged


def _as_text(body: bytes) -> str | None:
    try:
        text = body.decode()
    except UnicodeDecodeError:
        return None
    return text if _PRINTABLE.fullmatch(text) else None
