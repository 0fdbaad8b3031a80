"""TCP fault proxy: put it between any client and any server, and make the network between them as bad as it gets."""

from mock_servers.proxy.link import Conditions, FaultProxy

__all__ = ["Conditions", "FaultProxy"]
