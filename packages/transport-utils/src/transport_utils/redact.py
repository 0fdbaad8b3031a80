"""Takes secrets out of what people and logs get to see: headers, URLs and free text.

Used by :mod:`transport_utils.trace`, :mod:`transport_utils.telemetry` and by clients for their own messages. Policy
floor.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from transport_utils.headers import SECRET_HEADERS

__all__ = ["HIDDEN", "SECRET_PARAMS", "redact_headers", "redact_url"]

HIDDEN = "<hidden>"
"""What stands in the place of a secret."""

SECRET_PARAMS = frozenset(
    {
        "access_token",
        "api_key",
        "apikey",
        "auth",
        "awsaccesskeyid",
        "client_secret",
        "key",
        "passwd",
        "password",
        "secret",
        "sig",
        "signature",
        "token",
        "x-amz-credential",
        "x-amz-security-token",
        "x-amz-signature",
        "x-goog-signature",
    }
)
"""Lower-case names of query parameters whose values are hidden."""

_USERINFO = re.compile(r"^([A-Za-z][A-Za-z0-9+.\-]*://)[^/?#]*@")
_PARAM = re.compile(r"(?<=[?&;])([^=&;#]+)=([^&;#]*)")


def redact_headers(
    headers: Mapping[str, str] | Iterable[tuple[str, str]], secret: Iterable[str] = ()
) -> list[tuple[str, str]]:
    """Return header fields with secrets hidden; repeated fields and the order are kept.

    Args:
        headers: A mapping or pairs.
        secret: Lower-case names to hide besides :data:`~transport_utils.headers.SECRET_HEADERS`.
    """
    hidden = SECRET_HEADERS.union(secret)
    pairs = headers.items() if isinstance(headers, Mapping) else headers
    return [
        (name, _hide(name, value) if name.lower() in hidden else value) for name, value in pairs
    ]


def redact_url(url: str, secret: Iterable[str] = ()) -> str:
    """Return a URL or target without user information, and with the values of secret parameters hidden.

    Args:
        url: Absolute, or a path with a query.
        secret: Lower-case parameter names to hide besides :data:`SECRET_PARAMS`.
    """
    hidden = SECRET_PARAMS.union(secret)
    if "@" in url:
        url = _USERINFO.sub(rf"\1{HIDDEN}@", url)
    if "=" not in url:
        return url
    return _PARAM.sub(
        lambda match: (
            f"{match[1]}={HIDDEN}" if match[1].lower() in hidden and match[2] else match[0]
        ),
        url,
    )


def _hide(name: str, value: str) -> str:
    scheme, _, rest = value.partition(" ")
    return f"{scheme} {HIDDEN}" if rest and "authorization" in name.lower() else HIDDEN
