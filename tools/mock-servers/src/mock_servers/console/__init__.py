"""Console: a web page that shows what the mock servers are asked, what they hold, and lets faults loose on them.

``mock-servers up`` starts all servers and the console; a program adds its own servers to a
:class:`~mock_servers.console.page.Console`.
"""

from mock_servers.console.page import Console

__all__ = ["Console"]
