"""How tinynet compiles a function with Numba: the options of every `@njit`, and the only place that knows of them.

    nogil             other Python threads run while the function runs
    error_model       "numpy": a division by zero gives infinity. A loop that may raise ZeroDivisionError is not
                      vectorised
    no_cfunc_wrapper  no second entry to each function, for C: a tenth of the time to compile

No fastmath: LLVM would round differently in the vectors of a loop and in its last elements. Where a x + b must be one
instruction, `intrinsics.fma` says so.

With NUMBA_DISABLE_JIT=1 this module raises ImportError, as it does without Numba. Overrides are then left out, and the
specification in `ops/` runs.
"""

# What Numba says of the types of its own functions is not what they take.
# mypy: disable-error-code="attr-defined, no-untyped-call"

from collections.abc import Callable
from types import FunctionType
from typing import Any

import numba
from numba.core import ccallback, sigutils

from tinynet.backend.cpu.runtime.kernel_cache import KernelCache, note_source

if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set: kernels are not compiled")

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


def njit(function: Callable[..., Any] | None = None, *, cache: bool | FunctionType = False, **more: Any) -> Any:
    """Compile a function when it is first called: `@njit`, or `@njit(cache=True)`.

    cache   True to keep the machine code on disk: for functions that Python calls. What they call is compiled into
            them. Another function instead of True: the code is kept under its name, and while its sources are unchanged
    more    options of `numba.njit`

    >>> @njit
    ... def twice(x):
    ...     return 2 * x
    >>> twice(3)
    6
    """
    def decorate(function: Any) -> Any:
        note_source(function)
        dispatcher = numba.njit(**OPTIONS, **more)(function)
        if cache:
            dispatcher._cache = KernelCache(function if cache is True else cache)
        return dispatcher
    return decorate if function is None else decorate(function)


def inline(function: Callable[..., Any]) -> Any:
    """`@njit` for a function that is copied into each caller, and compiled there.

    A function that is compiled by itself costs a tenth of a second when kernels are compiled for the first time.
    """
    return njit(function, inline="always")


def noalias(function: Callable[..., Any]) -> Any:
    """`@njit` for a function whose array arguments do not overlap. It is inlined into its caller.

    Without it, LLVM tests before each vectorised loop whether any two of the arrays overlap: for ten arrays, that takes
    as long as a row of 128 numbers.
    """
    dispatcher = njit(function, forceinline=True)
    dispatcher._compiler._customize_flags = _set_noalias
    return dispatcher


def _set_noalias(flags: Any) -> Any:
    flags.noalias = True
    return flags


def compile_for_c(function: Any, signature: Any) -> Any:
    """Compile a function at once, to be called from C by its `address`. Its code is kept on disk."""
    note_source(function)
    compiled = ccallback.CFunc(function, sigutils.normalize_signature(signature), {}, {"error_model": "numpy"})
    compiled._cache = KernelCache(function)
    compiled.compile()
    return compiled
