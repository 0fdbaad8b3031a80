"""Stores behind a server's cache."""
