"""How tinynet compiles a function with Numba: the options of every `@njit`, and the only place that knows of them.

    nogil             other Python threads run while the function runs
    error_model       "numpy": a division by zero gives infinity. A loop that may raise ZeroDivisionError is not
                      vectorised
    no_cfunc_wrapper  no second entry to each function, for C: a tenth of the time to compile

A function that Python does not call has no entry for it, and no machine code of its own: a seventh of the time.

No fastmath: LLVM would round differently in the vectors of a loop and in its last elements. Where a x + b must be one
instruction, `intrinsics.fma` says so.

With NUMBA_DISABLE_JIT=1 this module raises ImportError, as it does without Numba. Overrides are then left out, and the
specification in `ops/` runs.
"""

# What Numba says of the types of its own functions is not what they take.
# mypy: disable-error-code="attr-defined, no-untyped-call"

from collections.abc import Callable
from functools import partial
from types import FunctionType, SimpleNamespace
from typing import Any

import numba
from numba.core import ccallback, compiler, sigutils
from numba.core.codegen import JITCodeLibrary

from tinynet.backend.cpu.runtime.assistant import is_assistant
from tinynet.backend.cpu.runtime.kernel_cache import KernelCache, note_source

if numba.config.DISABLE_JIT:
    raise ImportError("NUMBA_DISABLE_JIT is set: kernels are not compiled")

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "no_cfunc_wrapper": True}


class _InnerLibrary(JITCodeLibrary):
    """LLVM code that is linked into other functions, and not compiled to machine code by itself."""

    def _finalize_final_module(self) -> None:
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


def _no_entry(*overload: Any) -> None:
    """In place of the table of functions that Python may call."""


def _refuse(function: Any, *arguments: Any, **options: Any) -> None:
    raise TypeError(f"{function.__name__}: other compiled functions may call it, and Python may not; decorate it with "
                    "@njit(cache=True)")


class _Inner(compiler.Compiler):
    """Compiles a function that other compiled functions alone call: without machine code, and without an entry."""

    def __init__(self, typing: Any, target: Any, library: Any, *more: Any) -> None:
        super().__init__(typing, target, library or _InnerLibrary(target.codegen(), "inner"), *more)
        self.state.flags.no_compile = self.state.flags.no_cpython_wrapper = True

    def compile_extra(self, func: Any) -> Any:
        compiled, entry = super().compile_extra(func), object()
        compiled.target_context.insert_user_function(entry, compiled.fndesc, [compiled.library])
        return compiled._replace(entry_point=entry)


def njit(function: Callable[..., Any] | None = None, *, cache: bool | FunctionType = False, **more: Any) -> Any:
    """Compile a function when it is first called: `@njit`, or `@njit(cache=True)`.

    cache   True for functions that Python calls: their machine code is kept on disk. The others are kernels for
            `launch`, or are compiled into functions that call them; Python cannot call them. Another function instead
            of True: the code is kept under its name, and while its sources are unchanged
    more    options of `numba.njit`

    >>> @njit(cache=True)
    ... def twice(x):
    ...     return 2 * x
    >>> twice(3)
    6
    """
    def decorate(function: Any) -> Any:
        dispatcher: Any
        note_source(function)
        if cache:
            dispatcher = numba.njit(**OPTIONS, **more)(function)
            dispatcher._cache = KernelCache(function if cache is True else cache)
        else:
            dispatcher = numba.njit(**OPTIONS, **more, pipeline_class=_Inner)(function)
            dispatcher._insert, dispatcher._compile_for_args = _no_entry, partial(_refuse, function)
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


def compile_for_c(function: Any, signature: Any, on_miss: Callable[[], Any] | None = None) -> Any:
    """Compile a function at once, to be called from C by its `address`. Its code is kept on disk.

    `on_miss` is called before it is compiled, if it is not on disk. The assistant calls nothing, and compiles nothing.
    """
    if is_assistant():
        return SimpleNamespace(address=1)
    note_source(function)
    compiled = ccallback.CFunc(function, sigutils.normalize_signature(signature), {}, {"error_model": "numpy"})
    compiled._cache = KernelCache(function, on_miss)
    compiled.compile()
    return compiled
