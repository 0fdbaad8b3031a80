"""Access keys and what each may do.

``Access({"reader-key": [Grant("bigdata", mode="r")]})`` knows one key; ``Access()`` takes any key and
allows everything, which is what most tests want.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from mock_servers.v3io.errors import permission_denied, unauthorized

__all__ = ["Access", "Grant"]


@dataclass(frozen=True, slots=True)
class Grant:
    """A part of the data a key may use.

    Attributes:
        container: Name of the container, or ``*``.
        folder: Directory the grant covers with everything below, ``""`` for the whole container.
        mode: ``r`` to read, ``rw`` to write too.
    """

    container: str = "*"
    folder: str = ""
    mode: str = "rw"

    @classmethod
    def parse(cls, text: str) -> Grant:
        """Build from ``container[/folder][:r|rw]``, as on the command line.

        Raises:
            ValueError: The mode is neither ``r`` nor ``rw``.
        """
        where, _, mode = text.partition(":")
        if mode not in ("", "r", "rw"):
            raise ValueError(f"grant {text!r}: the mode is r or rw")
        container, _, folder = where.partition("/")
        return cls(container or "*", folder.strip("/"), mode or "rw")

    def covers(self, container: str, path: str, *, write: bool) -> bool:
        """Return whether this grant allows one request."""
        return (
            self.container in ("*", container)
            and (not self.folder or f"{path}/".startswith(f"{self.folder}/"))
            and (not write or self.mode == "rw")
        )


class Access:
    """The keys of a server.

    Args:
        keys: Access key -> grants; ``None`` takes any key that is not empty and allows everything.
    """

    def __init__(self, keys: Mapping[str, Sequence[Grant]] | None = None) -> None:
        self._keys = keys

    def check(
        self, key: str, authorization: str, container: str, path: str, *, write: bool
    ) -> None:
        """Let a request through.

        Args:
            key: The ``X-v3io-session-key`` header, may be empty.
            authorization: The ``Authorization`` header, may be empty; the pass word of ``Basic`` is taken as the key.
            container: Name of the container, empty for the list of containers.
            path: Clean path.
            write: Whether the request changes something.

        Raises:
            ServiceError: 401 for a missing or unknown key, 403 for one without the right.
        """
        key = key or _basic_password(authorization)
        if not key:
            raise unauthorized()
        if self._keys is None:
            return
        if key not in self._keys:
            raise unauthorized()
        if container and not any(
            grant.covers(container, path, write=write) for grant in self._keys[key]
        ):
            raise permission_denied()


def _basic_password(authorization: str) -> str:
    scheme, _, credentials = authorization.partition(" ")
    if scheme.lower() != "basic":
        return ""
    try:
        return base64.b64decode(credentials, validate=True).decode().partition(":")[2]
    except (binascii.Error, ValueError):
        return ""
