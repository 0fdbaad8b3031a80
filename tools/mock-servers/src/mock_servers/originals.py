"""Environments in which the original releases run, for tests that set them beside ours.

The originals are never dependencies: each is installed on first use into a virtual environment of its own, in the
user's cache folder, from the package index that pip is configured for. Used by tests
marked ``originals`` and by benchmarks.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import pathlib
import shutil
import sys
from dataclasses import dataclass

from mock_servers import environments

__all__ = ["LOUDML", "PYLM", "RAMEN", "STOREY", "V3IO", "Original", "interpreter"]


@dataclass(frozen=True, slots=True)
class Original:
    """How to install one original release.

    Attributes:
        requirement: The release, ``loudml-python==1.6.3``.
        dependencies: What it needs, as versions that exist and build today; its own pins are not followed.
        forget: Requirements to strike from its metadata, because it checks them at import.
    """

    requirement: str
    dependencies: tuple[str, ...] = ()
    forget: tuple[str, ...] = ()


LOUDML = Original(
    "loudml-python==1.6.3",
    (
        "aiohttp",
        "async_timeout",
        "certifi",
        "dateutils",
        "pytz",
        "pyyaml",
        "requests",
        "setuptools<81",
        "tqdm",
        "urllib3",
    ),
    forget=("pyyaml",),
)
"""loudml-python 1.6.3; imported as ``loudml_py``. It pins a PyYAML that does not build and checks the pin at import."""

PYLM = Original("pylm==0.14.4", ("protobuf==3.20.3", "pyzmq>=26", "requests", "setuptools<81"))
"""pylm 0.14.4; newer protobuf refuses its generated code."""

RAMEN = Original(
    "infi.ramen_client==1.40.post3", ("future", "requests", "schematics", "setuptools<81", "six")
)
"""infi.ramen_client 1.40.post3; needs pkg_resources."""


V3IO = Original("v3io==0.7.2", ("aiohttp~=3.8", "orjson>=3.9.15,<4", "requests>=2.19.1"))
"""v3io 0.7.2 with its asyncio client."""


STOREY = Original(
    "storey==1.14.1",
    (
        "aiohttp~=3.8",
        "certifi",
        "fsspec",
        "httptools>=0.6",
        "nuclio-sdk",
        "numpy<1.27",
        "orjson>=3.9.15,<4",
        "packaging",
        "pandas>=2,<2.4",
        "pyarrow<24",
        "pybase64>=1.3",
        "requests>=2.19.1",
        "v3io==0.7.2",
        "v3iofs==0.1.18",
        "xxhash",
    ),
)
"""storey and v3iofs on v3io 0.7.2, with all that ours needs, so that it can be put in front of the original."""


def interpreter(original: Original) -> pathlib.Path:
    """Return the Python of the environment with an original release, made on first use (some seconds).

    Safe to call from several processes at once.

    Raises:
        RuntimeError: It could not be installed; the message holds the installer's words.
    """
    tag = f"{original}{sys.version_info[:2]}".encode()
    name = f"{original.requirement}-{hashlib.sha256(tag).hexdigest()[:8]}"
    cache = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    folder = cache / "service-clients" / "originals" / name
    complete = folder / "complete"
    folder.parent.mkdir(parents=True, exist_ok=True)
    with open(folder.parent / f"{name}.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not complete.exists():
            shutil.rmtree(folder, ignore_errors=True)
            _install(original, folder)
            complete.touch()
    return folder / "bin" / "python"


def _install(original: Original, folder: pathlib.Path) -> None:
    python = environments.create(folder)
    environments.install(python, original.requirement, dependencies=False)
    if original.dependencies:
        environments.install(python, *original.dependencies)
    distribution = original.requirement.partition("==")[0].replace("-", "_")
    for metadata in folder.glob(f"lib/*/site-packages/{distribution}-*.dist-info/METADATA"):
        lines = metadata.read_text(encoding="utf-8").splitlines(keepends=True)
        metadata.write_text("".join(line for line in lines if not _is_struck(line, original)))


def _is_struck(line: str, original: Original) -> bool:
    field, _, value = line.partition(":")
    return field == "Requires-Dist" and value.strip().lower().startswith(original.forget)
