"""Transports of the asyncio client: ``native``, and ``aiohttp`` as its name of 0.7.2."""
