"""The one hook of the CPU: an observer is told of arrays that are made, of kernel launches, and of work of NumPy.

The recorder in `cpu/runtime/graph.py` sets it. It holds for the thread that sets it alone: other threads compute
unobserved.
"""

from collections.abc import Callable
from contextvars import ContextVar
from typing import Any, Protocol, TypeVar


class Observer(Protocol):
    """What a recorder implements. New arrays are taken from `blocks`, see `cpu/runtime/memory.py`."""

    blocks: Any

    def on_empty(self, array: Any) -> None:
        """Called with each array that `memory.empty` returns."""

    def on_launch(self, launch: Any, shards: int, turns: int, arguments: tuple[Any, ...]) -> None:
        """Called before each launch, with its compiled launcher, its shards and turns, and the kernel's arguments."""

    def on_call(self, function: Callable[..., None], arguments: tuple[Any, ...], options: dict[str, Any]) -> None:
        """Called before each function that `call` calls."""


Count = TypeVar("Count", int, Any)  # a number, or a 0-d array
current: ContextVar[Observer | None] = ContextVar("observer", default=None)


def call(function: Callable[..., Any], *arguments: object, **options: Any) -> None:
    """Call a function that changes arrays in place, or checks them. A recording repeats it; its result is ignored.

    For small work of NumPy between kernels. What changes from step to step must be in arrays: a replay passes the same
    arguments again.

    >>> import numpy as np
    >>> total = np.zeros(2)
    >>> call(np.add, total, 1.0, total)
    >>> total
    array([1., 1.])
    """
    if (watching := current.get()) is not None:
        watching.on_call(function, arguments, options)
    function(*arguments, **options)


def incremented(number: Count) -> Count:
    """number + 1. A 0-d array of any device is changed in place, and returned: a recording counts on.

    >>> incremented(1)
    2
    """
    if not hasattr(number, "dtype"):
        return number + 1
    call(_increment, number)
    return number


def _increment(number: Any) -> None:
    number += 1
