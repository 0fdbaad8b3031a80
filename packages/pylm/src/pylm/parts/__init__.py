"""The low-level building blocks of servers: parts around a router, each in a thread of its own.

The high-level servers do not pass through them; they are for servers of another shape.
"""
