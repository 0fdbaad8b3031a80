"""Entry point of ``python -m v3io``."""

from v3io.cli import main

main(prog_name="v3io")
