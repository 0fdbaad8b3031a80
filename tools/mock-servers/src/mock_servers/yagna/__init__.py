"""A local Golem: the daemon's REST and websocket API with providers that run real processes on this machine.

``mock-servers yagna --providers 3`` starts it; tests take the ``yagna`` fixture. Unmodified yapapi 0.13 finds offers,
signs agreements, runs services, reaches them through the VPN websocket and pays invoices against it.
"""
