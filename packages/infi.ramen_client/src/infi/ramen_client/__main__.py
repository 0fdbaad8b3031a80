"""Entry point of ``python -m infi.ramen_client``."""

from infi.ramen_client.cli import main

main(prog_name="ramen-client")
