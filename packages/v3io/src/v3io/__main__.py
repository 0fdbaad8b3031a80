"""Entry point of ``python -m v3io``."""

from __future__ import annotations

from v3io.cli import main

main(prog_name="v3io")
