"""The command ``loudml-wave``, and what it is made of under its old address.

Source: loudml-python 1.6.3, ``wave``.
"""

from __future__ import annotations

import sys

from loudml.shapes import SHAPES, build_tag_dict, dump_to_bucket, generate_data

__all__ = ["SHAPES", "build_tag_dict", "dump_to_bucket", "generate_data", "main"]


def main() -> None:
    """Run the command ``loudml-wave``; the exit status is that of ``loudml``."""
    from loudml.cli.status import run
    from loudml.cli.wave import wave

    sys.exit(run(wave))
