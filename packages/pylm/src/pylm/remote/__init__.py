"""Functions behind a web server, for :class:`pylm.parts.connections.HttpConnection`."""
