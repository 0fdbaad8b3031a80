"""The asyncio client: :mod:`v3io.aio.dataplane`."""
