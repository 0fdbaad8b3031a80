"""Imports yapapi with a clear message when it, or something it needs, is missing.

Called before ``manager`` and ``service`` are imported.
"""

from __future__ import annotations

import warnings

__all__ = ["require_yapapi"]


def require_yapapi() -> None:
    """Import yapapi, without the warning it causes about ``pkg_resources``.

    Raises:
        ImportError: It is not installed, or setuptools is too new for it.
    """
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "pkg_resources is deprecated", UserWarning)
        try:
            import yapapi  # noqa: F401
        except ModuleNotFoundError as cause:
            if cause.name == "pkg_resources":
                raise ImportError(
                    "yapapi imports pkg_resources, which setuptools 82 removed: pip install 'setuptools<82'"
                ) from cause
            raise ImportError(
                f"running services needs yapapi ({cause}): pip install 'ya-httpx-client[requestor]'"
            ) from cause
