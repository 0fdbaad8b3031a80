"""Ramen server: takes messages, recognizes repetitions, applies blacklist rules, and shows what it has.

:class:`mock_servers.ramen.server.RamenServer` runs it; ``mock-servers ramen`` does so from a shell.
"""
