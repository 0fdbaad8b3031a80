"""The asyncio side of the transport: the same names and options as the synchronous one."""
