"""Exit statuses: what a script that calls the tool can rely on.

Used by ``loudml`` and ``loudml-wave``.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import click

from loudml import errors

__all__ = ["EXIT_STATUS_HELP", "Failed", "run"]

DONE, FAILED, MISUSED, INTERRUPTED = 0, 1, 2, 130

EXIT_STATUS_HELP = """\
Exit status:

\b
  0    done
  1    the server refused, something was not found, or a job failed
  2    wrong usage, or the server cannot be reached
  130  interrupted with Ctrl-C; a job that was waited for is canceled
"""


class Failed(click.ClickException):
    """The command could not do its work; shown as ``Error: ...``, status 1."""

    exit_code = FAILED


def run(command: click.Command, arguments: Sequence[str] | None = None, **options: Any) -> int:
    """Run a command, show its failure on standard error, and return the exit status.

    Args:
        command: What to run.
        arguments: Its arguments; ``None`` for those of the process.
        options: Passed on to click, such as ``obj``.
    """
    try:
        status = command.main(
            args=None if arguments is None else list(arguments), standalone_mode=False, **options
        )
    except click.exceptions.Exit as stop:
        return stop.exit_code
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except (click.Abort, KeyboardInterrupt):
        print("Interrupted.", file=sys.stderr)
        return INTERRUPTED
    except errors.ConnectionError as error:
        print(f"Error: {explain(error)}", file=sys.stderr)
        return MISUSED
    except (errors.LoudMLException, OSError, ValueError) as error:
        print(f"Error: {explain(error)}", file=sys.stderr)
        return FAILED
    except errors.ImproperlyConfigured as error:
        print(f"Error: {error}", file=sys.stderr)
        return MISUSED
    return status if isinstance(status, int) else DONE


def explain(error: Exception) -> str:
    """Return a failure as a person wants to read it."""
    if isinstance(error, errors.ConnectionError):
        return (
            f"{error.error}\nPlease check your connection settings and ensure 'loudmld' is running."
        )
    if isinstance(error, errors.TransportError):
        return f"{error.error} (status {error.status_code})"
    return str(error)
