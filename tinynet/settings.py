"""Change a context variable for a while, so that no exception can leave it changed.

KeyboardInterrupt may be raised between any two instructions of Python, also in a `finally`.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from typing import Any, TypeVar

Value = TypeVar("Value")
Result = TypeVar("Result")


@contextmanager
def changed(variable: ContextVar[Value], value: Value) -> Iterator[None]:
    """A context in which the variable has this value.

    >>> variable = ContextVar("variable", default=1)
    >>> with changed(variable, 2):
    ...     variable.get()
    2
    >>> variable.get()
    1
    """
    before = variable.get()
    try:
        try:
            variable.set(value)
            yield
        finally:
            variable.set(before)
    finally:
        variable.set(before)  # an interrupt may have been raised before the same line above


def call_with(values: dict[ContextVar[Any], Any], function: Callable[..., Result], *arguments: Any) -> Result:
    """function(*arguments) in a copy of the context, with these values of context variables.

    The copy ends with the call. Neither the caller nor another thread sees the values.

    >>> variable = ContextVar("variable", default=1)
    >>> call_with({variable: 2}, lambda x: x + variable.get(), 10), variable.get()
    (12, 1)
    """
    def call() -> Result:
        for variable, value in values.items():
            variable.set(value)
        return function(*arguments)
    return copy_context().run(call)
