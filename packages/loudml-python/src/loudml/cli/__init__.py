"""The command line tool ``loudml``: one command per call, or a shell.

click parses, rich shows tables on a terminal; into a pipe go the plain columns of loudml-python 1.6. The commands are
in the modules beside this one, each loaded when it is used. Source: loudml-python 1.6.3, ``cli``.
"""

from __future__ import annotations

import sys

__all__ = ["main"]


def main() -> None:
    """Run ``loudml`` with the arguments of the process and exit with its status."""
    from loudml.cli.app import app
    from loudml.cli.status import run

    sys.exit(run(app))
