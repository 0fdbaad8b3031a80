"""Configuration of writers and readers.

Source: ``infi.ramen_client.config`` of 1.40: the same fields, defaults, rules and error texts.
"""

from __future__ import annotations

from infi.ramen_client._model import Field, Model, to_bool, to_float, to_int, to_str
from infi.ramen_client.names import validate_name, validate_version

__all__ = ["QueueReaderConfig", "QueueWriterConfig", "validate_name", "validate_version"]


class QueueWriterConfig(Model):
    """What a :class:`~infi.ramen_client.queue_writer.QueueWriter` needs.

    Attributes:
        sender: Name of the sending program: letters, digits, dashes and underscores. Required.
        system_serial: Serial number of the system, >= 0. Required.
        system_version: Version of the system: letters, digits, periods, dashes and underscores. Required.
        queue_dir: Folder of the queue; several systems may share it. Created with mode 0700 when missing.
        max_queue_size: Soft limit of the queue on disk in bytes, >= 10240; beyond it the oldest messages are dropped,
            counted and reported. ``None`` means no limit.
    """

    fields = {
        "sender": Field(to_str, required=True, rule=validate_name),
        "system_serial": Field(to_int, required=True, low=0),
        "system_version": Field(to_str, required=True, rule=validate_version),
        "queue_dir": Field(to_str, default="/var/ramen_client/"),
        "max_queue_size": Field(to_int, default=5 * 1024**3, low=10 * 1024),
    }

    sender: str
    system_serial: int
    system_version: str
    queue_dir: str | None
    max_queue_size: int | None


class QueueReaderConfig(QueueWriterConfig):
    """What a :class:`~infi.ramen_client.queue_reader.QueueReader` needs, besides what a writer needs.

    Attributes:
        hostname: The Ramen server, with ``:port`` where it is not the usual one. Required.
        auth_token: Sent as ``X-API-Token``; never shown by ``repr``. Required.
        ssl: Whether to use HTTPS; certificates are always verified.
        proxy: URL of an HTTP proxy, credentials may be part of it; ``None`` for none.
        server_timeout: Limit of one whole request in seconds, 1..3600; ``None`` means none.
        polling_delay: Longest time in seconds until a message of a foreign writer is noticed, 0.01..3600. Writers of
            this package wake the reader at once. ``None`` means the default.
        retry_delay: First pause in seconds after a failure, 0.01..3600; it grows while the failure lasts. ``None``
            means the default.
        blacklist_ttl: Life of a blacklist rule in seconds, 1..86400. ``None`` means the default.
    """

    fields = {
        **QueueWriterConfig.fields,
        "hostname": Field(to_str, required=True),
        "auth_token": Field(to_str, required=True, secret=True),
        "ssl": Field(to_bool, default=True),
        "proxy": Field(to_str, secret=True),
        "server_timeout": Field(to_int, default=20, low=1, high=3600),
        "polling_delay": Field(to_float, default=5.0, low=0.01, high=3600),
        "retry_delay": Field(to_float, default=30.0, low=0.01, high=3600),
        "blacklist_ttl": Field(to_int, default=3600, low=1, high=86400),
    }

    hostname: str
    auth_token: str
    ssl: bool | None
    proxy: str | None
    server_timeout: int | None
    polling_delay: float | None
    retry_delay: float | None
    blacklist_ttl: int | None
