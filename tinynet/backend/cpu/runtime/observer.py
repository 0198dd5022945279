"""The one hook of the runtime: an observer is told of each array from `memory.empty` and of each kernel launch.

The recorder in `graph.py` sets it. It holds for the thread that sets it alone: other threads compute unobserved.
"""

from contextvars import ContextVar
from typing import Any, Protocol


class Observer(Protocol):
    """What a recorder implements."""

    def on_empty(self, array: Any) -> None:
        """Called with each array that `memory.empty` returns."""

    def on_launch(self, launch: Any, shards: int, turns: int, arguments: tuple[Any, ...]) -> None:
        """Called before each launch, with its compiled launcher, its shards and turns, and the kernel's arguments."""


current: ContextVar[Observer | None] = ContextVar("observer", default=None)
