"""Entry point of ``python -m mock_servers``."""

from mock_servers.cli import main

main(prog_name="mock-servers")
