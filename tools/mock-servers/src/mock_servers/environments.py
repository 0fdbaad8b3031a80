"""Virtual environments made for one purpose: an original release, or wheels as a user would install them.

uv is used where it is installed, venv and pip elsewhere; packages come from the index that these are configured for.
"""

from __future__ import annotations

import pathlib
import shutil
import subprocess
import sys
from collections.abc import Sequence

__all__ = ["create", "install"]


def create(folder: pathlib.Path) -> pathlib.Path:
    """Make an empty environment of the running Python in a folder and return its interpreter.

    Raises:
        RuntimeError: It could not be made; the message holds the tool's words.
    """
    if uv := shutil.which("uv"):
        _run([uv, "venv", "-q", "--python", sys.executable, str(folder)])
    else:
        _run([sys.executable, "-m", "venv", str(folder)])
    return folder / "bin" / "python"


def install(python: pathlib.Path, *requirements: str, dependencies: bool = True) -> None:
    """Install packages into the environment of an interpreter.

    Args:
        python: The interpreter.
        requirements: As pip takes them; files too.
        dependencies: Whether what they need is installed as well.

    Raises:
        RuntimeError: They could not be installed; the message holds the installer's words.
    """
    if uv := shutil.which("uv"):
        command = [uv, "pip", "install", "-q", "--python", str(python)]
    else:
        command = [str(python), "-m", "pip", "install", "-q"]
    _run([*command, *([] if dependencies else ["--no-deps"]), *requirements])


def _run(command: Sequence[str]) -> None:
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        raise RuntimeError(f"{' '.join(command)} failed: {result.stderr.strip()}")
