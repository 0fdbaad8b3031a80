"""An emulator of the Iguazio web API: objects, key-value tables, streams and access keys.

:class:`mock_servers.v3io.server.V3ioServer` runs it; nothing is imported here, so that the pytest plugin stays cheap.
"""
