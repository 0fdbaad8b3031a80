"""The command line tool ``loudml``: one command per call, or a shell.

click parses, rich shows tables on a terminal; into a pipe go the plain columns of loudml-python 1.6. The commands are
in the modules beside this one, each loaded when it is used. Source: loudml-python 1.6.3, ``cli``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence

__all__ = ["main"]


def main(argv: Sequence[str] | None = None) -> None:
    """Run ``loudml`` and exit with its status.

    Args:
        argv: Arguments, without the name of the command; ``None`` for those of the process.
    """
    from loudml.cli.app import app
    from loudml.cli.status import run

    sys.exit(run(app, argv))
