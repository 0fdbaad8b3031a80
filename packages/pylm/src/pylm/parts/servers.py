"""A server put together from parts.

Source: ``pylm.parts.servers`` of 0.14.4; API reference, section A4; faults E-8, E-18, E-19, E-21.
"""

from __future__ import annotations

import contextlib
import inspect
import itertools
import logging
import sys
import threading
import traceback
from collections.abc import Iterator
from typing import Any

from pylm._logs import server_logger
from pylm._master import BaseMaster
from pylm._signals import on_signals
from pylm._version import __version__
from pylm.parts.core import Router
from pylm.persistence.kv import DictDB

__all__ = ["BaseMaster", "ServerTemplate"]

_numbers = itertools.count(1)


class ServerTemplate:
    """Register parts, then start: each part runs in a thread of its own around a router.

    Args:
        logging_level: Of the logger.
        router_messages: Stop the router after so many messages; for tests.

    Any number of templates may run in one process. :meth:`stop` is thread-safe; SIGINT and SIGTERM stop it too.
    """

    router_class = Router

    def __init__(
        self, logging_level: int = logging.INFO, router_messages: int = sys.maxsize
    ) -> None:
        self.name = ""
        self.logging_level = logging_level
        self.cache: Any = DictDB()
        self.inbound_components: dict[str, Any] = {}
        self.outbound_components: dict[str, Any] = {}
        self.bypass_components: dict[str, Any] = {}
        number = next(_numbers)
        self.logger = server_logger(f"pylm-template-{number}", logging_level)
        self.router = self.router_class(
            inbound_address=f"inproc://inbound-{number}",
            outbound_address=f"inproc://outbound-{number}",
            logger=self.logger,
            cache=self.cache,
            messages=router_messages,
        )
        self._stop = threading.Event()

    def register_inbound(
        self,
        part: Any,
        name: str = "",
        listen_address: str = "",
        route: str = "",
        block: bool = False,
        log: str = "",
        **kwargs: Any,
    ) -> None:
        """Make an inbound part of class ``part``; further keywords go to it.

        Args:
            part: Class of the part.
            name: Of the part.
            listen_address: Of its outer socket.
            route: Name of the outbound part its messages go to.
            block: Answer it with that part's feedback.
            log: Logged for each message, at INFO.
            kwargs: Further arguments of ``part``.
        """
        instance = self._make(
            part, name, listen_address, kwargs, broker_address=self.router.inbound_address
        )
        key = instance.name.decode()
        self.inbound_components[key] = instance
        self.router.register_inbound(key, route, block, log)

    def register_outbound(
        self,
        part: Any,
        name: str = "",
        listen_address: str = "",
        route: str = "",
        log: str = "",
        **kwargs: Any,
    ) -> None:
        """Make an outbound part of class ``part``; see :meth:`register_inbound`."""
        instance = self._make(
            part, name, listen_address, kwargs, broker_address=self.router.outbound_address
        )
        key = instance.name.decode()
        self.outbound_components[key] = instance
        self.router.register_outbound(key, route, log)

    def register_bypass(
        self, part: Any, name: str = "", listen_address: str = "", **kwargs: Any
    ) -> None:
        """Make a part that does not use the router; see :meth:`register_inbound`."""
        self.bypass_components[name] = self._make(part, name, listen_address, kwargs)

    def _make(
        self, part: Any, name: str, listen_address: str, kwargs: dict[str, Any], **more: Any
    ) -> Any:
        arguments = {"cache": self.cache, "logger": self.logger, **more, **kwargs}
        if listen_address:
            arguments["listen_address"] = listen_address
        if name:
            arguments["name"] = name
        known = inspect.signature(part).parameters
        injected = {"cache", "logger", *more}
        return part(
            **{
                key: value
                for key, value in arguments.items()
                if key in known or key not in injected
            }
        )

    def preset_cache(self, **kwargs: Any) -> None:
        """Put values into the cache before the start; ``str`` is encoded."""
        for key, value in kwargs.items():
            self.cache.set(key, value.encode() if isinstance(value, str) else value)
        self.cache.set("pylm_version", __version__.encode())
        if "name" in kwargs and not self.name:
            self.name = str(kwargs["name"])

    def start(self) -> None:
        """Run router and parts until :meth:`stop`, SIGINT or SIGTERM, or until the router reached its limit."""
        log = self.logger.info
        log("Starting the router")
        threads = [self._thread("router", self.router)]
        for kind, parts in (
            ("inbound", self.inbound_components),
            ("outbound", self.outbound_components),
            ("bypass", self.bypass_components),
        ):
            for name, part in parts.items():
                log("Starting %s part %s", kind, name)
                threads.append(self._thread(name, part))
        log("Launch router")
        with on_signals(lambda _: self._stop.set()):
            for thread in threads:
                thread.start()
            while not self._stop.is_set() and threads[0].is_alive():
                threads[0].join(0.1)
        for part in self._parts():
            part.stop()
        for thread in threads:
            thread.join(5.0)

    def _parts(self) -> list[Any]:
        return [
            *self.inbound_components.values(),
            *self.outbound_components.values(),
            *self.bypass_components.values(),
            self.router,
        ]

    def _thread(self, name: str, part: Any) -> threading.Thread:
        def run() -> None:
            try:
                part.start()
            except Exception:
                self.logger.error("This is critical, one of the parts died")
                for line in traceback.format_exc().rstrip().splitlines():
                    self.logger.error("%s", line)
                self._stop.set()

        return threading.Thread(target=run, name=f"pylm-part-{name}", daemon=True)

    def stop(self) -> None:
        """End :meth:`start`; thread-safe."""
        self._stop.set()

    @contextlib.contextmanager
    def running(self) -> Iterator[ServerTemplate]:
        """Run in a background thread for the length of a ``with`` block."""
        thread = threading.Thread(target=self.start, name="pylm-template", daemon=True)
        thread.start()
        try:
            yield self
        finally:
            self.stop()
            thread.join()

    def close(self) -> None:
        """Close what was made and never started; idempotent."""
        for part in self._parts():
            part.cleanup()
