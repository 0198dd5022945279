"""The decorators with which every function of tinynet is compiled by Numba, and their options.

    nogil        other threads of Python run meanwhile
    error_model  "numpy": a division by zero gives infinity. One that could raise ZeroDivisionError is not vectorised

No fastmath: it rounds differently in the vectors of a loop and in its last elements, so results would depend on the
compiler. Where a x + b must be one instruction, `intrinsics.fma` says so.
"""

from collections.abc import Callable
from typing import Any

import numba

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy"}


def njit(function: Callable[..., Any] | None = None, **more: Any) -> Any:
    """Compile a function when it is first called: `@njit`, or `@njit(forceinline=True)` for more of Numba's options.

    >>> @njit
    ... def twice(x):
    ...     return 2 * x
    >>> twice(3)
    6
    """
    decorate = numba.njit(**OPTIONS, **more)
    return decorate if function is None else decorate(function)


def noalias(function: Callable[..., Any]) -> Any:
    """`@njit` for a function whose array arguments do not overlap. It is inlined into its caller.

    Without it LLVM tests before each vectorised loop whether any two of the arrays overlap: for ten arrays, that takes
    as long as a row of 128 numbers.
    """
    dispatcher = njit(function, forceinline=True)
    dispatcher._compiler._customize_flags = _set_noalias
    return dispatcher


def _set_noalias(flags: Any) -> Any:
    flags.noalias = True
    return flags
