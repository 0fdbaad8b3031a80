"""What can be started and stopped, as a context manager: the base class of every server, proxy and the console."""

from __future__ import annotations

import abc
from types import TracebackType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing_extensions import Self

__all__ = ["Started"]


class Started(abc.ABC):
    """Runs while a ``with`` block does."""

    @abc.abstractmethod
    def start(self) -> Self:
        """Start, and return the object itself."""

    @abc.abstractmethod
    def stop(self) -> object:
        """Stop; idempotent."""

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()
