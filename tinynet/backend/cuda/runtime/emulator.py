"""Kernels of a .cu file without a GPU: g++ compiles the very same text (emulator.h says how), and ctypes calls it.

What was compiled is kept in the user's cache folder, under a name made of the text and the flags, to which
$TINYNET_EMULATOR_FLAGS adds some: "-O0" for stepping through a kernel. Inside `checked()`, a launch is made in three
orders of the threads and blocks, on copies of the arrays, and once more with other numbers around these; results that
differ, and numbers written beside an array, are errors.
"""

import ctypes
import hashlib
import itertools
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet.atomic import write_whole
from tinynet.errors import DeviceError

if TYPE_CHECKING:
    from tinynet.backend.cuda.runtime.launch import Grid
    from tinynet.backend.cuda.runtime.source import Parameter

FLAGS = ("-std=c++17", "-O2", "-g", "-fPIC", "-ffp-contract=off", "-Wall", "-Wno-unknown-pragmas")
ORDERS = 3  # ascending, descending, shuffled: see emulator.h
SHARED = 227 * 1024  # bytes of shared memory that a block may have, as on sm_90 and in emulator.h
MULTIPROCESSORS = 2  # few, so that small arrays keep all of them busy, too
_MARGIN = 1 << 13  # elements before and after a copy of an array: as far as a wrong index may go without harm

_checked: ContextVar[bool] = ContextVar("checked", default=False)
_lock = threading.Lock()  # threads and blocks of the emulated device are counted in one place


class KernelError(DeviceError):
    """A kernel has a fault that a GPU would not report: a race, a barrier not all reach, a wrong address."""


@contextmanager
def checked() -> Iterator[None]:
    """Inside, every launch is made in several orders of the threads, and has to give the same bits in each.

    Errors: KernelError, from the launch, for a race or for numbers written outside of an array. What is read from
    outside is NaN.
    """
    token = _checked.set(True)
    try:
        yield
    finally:
        _checked.reset(token)


_DYNAMIC_SHARED = re.compile(r"extern __shared__ (\w+) (\w+)\[\];")


def program(source: str, signatures: Mapping[str, Sequence["Parameter"]]) -> str:
    """What g++ compiles: the header, the kernels, and a function for each of them that ctypes can call.

    An array `extern __shared__` becomes a pointer: C++ has no way to leave its place to the launch.
    """
    source = _DYNAMIC_SHARED.sub(r"\1* \2 = (\1*)emulator::dynamic_shared;", source)
    entries = [_entry(name, parameters) for name, parameters in signatures.items()]
    return "\n".join(['#include "emulator.h"', source, '#line 1 "<entries>"', *entries, ""])


def _entry(name: str, parameters: Sequence["Parameter"]) -> str:
    types = [parameter.type + "*" * parameter.is_pointer for parameter in parameters]
    values = ", ".join(f"*({type_}*)values[{i}]" for i, type_ in enumerate(types))
    return (f'extern "C" const char* launch_{name}(void** values, const unsigned* shape, int order) '
            f"{{ return emulator::launch([](void** values) {{ {name}({values}); }}, values, shape, order); }}")


def cache_folder() -> Path:
    """Where compiled kernels are kept: $XDG_CACHE_HOME/tinynet/kernels, ~/.cache if that is not an absolute path."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base if os.path.isabs(base) else os.path.expanduser("~/.cache"), "tinynet", "kernels")


def missing() -> str | None:
    """What kernels cannot be emulated without, and what to do about it; None if they can."""
    if sys.platform != "linux":
        return f"kernels are compiled by g++ on Linux, got {sys.platform}; on Windows, use WSL"
    if not shutil.which("g++"):
        return "kernels are compiled by g++, and there is none; apt install g++ (Debian, Ubuntu)"
    return None


def compiled(text: str) -> Path:
    """The shared library of a program: compiled now, or earlier. DeviceError where that is not possible."""
    flags = [*FLAGS, *shlex.split(os.environ.get("TINYNET_EMULATOR_FLAGS", ""))]
    header = Path(__file__).with_name("emulator.h")
    key = hashlib.sha256("\0".join([text, header.read_text(encoding="utf-8"), *flags, platform.machine()]).encode())
    library = cache_folder() / f"{key.hexdigest()[:32]}.so"
    if library.exists():
        return library
    if missing():
        raise DeviceError(f"gpu-emulated: {missing()}, or use cpu")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "kernels.so")
        done = subprocess.run(["g++", *flags, f"-I{header.parent}", "-shared", "-x", "c++", "-", "-o", output],
                              input=text, capture_output=True, text=True)
        if done.returncode:
            raise KernelError(f"gpu-emulated: g++ must be able to compile the kernels, got\n{done.stderr}\n"
                              "mend the line that it names")
        try:
            write_whole(library, output.read_bytes())
        except OSError as error:
            raise DeviceError(f"gpu-emulated: compiled kernels are kept in {library.parent}, which cannot be written "
                              f"({error}); set XDG_CACHE_HOME to a folder of yours") from None
    return library


class Library:
    """The kernels of one source, compiled for this processor."""

    def __init__(self, source: str, signatures: Mapping[str, Sequence["Parameter"]]) -> None:
        self._library = ctypes.CDLL(str(compiled(program(source, signatures))))

    def run(self, name: str, parameters: Sequence["Parameter"], grid: "Grid", values: Sequence[Any]) -> None:
        """Run a kernel on NumPy arrays and numbers, which are as the signature wants them. 0 is a null pointer."""
        if _checked.get():
            self._run_checked(name, parameters, grid, values)
        else:
            self._call(name, grid, values, order=0)

    def _call(self, name: str, grid: "Grid", values: Sequence[Any], order: int) -> None:
        function = getattr(self._library, f"launch_{name}")
        function.restype = ctypes.c_char_p
        bytes_ = [np.asarray(np.uint64(value.ctypes.data) if isinstance(value, np.ndarray) else value)
                  for value in values]  # numbers, structs, and addresses of arrays
        places = (ctypes.c_void_p * len(bytes_))(*[one.ctypes.data for one in bytes_])
        with _lock:
            error = function(places, (ctypes.c_uint * 7)(*grid.blocks, *grid.threads, grid.shared), order)
        if error:
            raise KernelError(f"{name}: {error.decode()}")

    def _run_checked(self, name: str, parameters: Sequence["Parameter"], grid: "Grid", values: Sequence[Any]) -> None:
        _check_apart(name, parameters, values)
        results = [self._between_margins(name, parameters, grid, values, order, _nonsense) for order in range(ORDERS)]
        self._between_margins(name, parameters, grid, values, 0, _own_number)  # NaN beside NaN would not be seen
        written = [(p, value) for p, value in _arrays(parameters, values) if p.is_written]
        for i, (parameter, value) in enumerate(written):
            if any(result[i].tobytes() != results[0][i].tobytes() for result in results):
                raise KernelError(f"{name}: {parameter.name} must not depend on the order in which threads run, and "
                                  "does; is there a barrier missing, or do two threads write to one place?")
            value.reshape(-1)[...] = results[0][i]

    def _between_margins(self, name: str, parameters: Sequence["Parameter"], grid: "Grid", values: Sequence[Any],
                         order: int, margin: Callable[[Any, int], Any]) -> list[np.ndarray]:
        """Run a kernel on copies of the arrays with margins full of margin(dtype, number of the argument), which must
        stay as they are. Returns what is written."""
        copies = [_guarded(value, margin(value.dtype, i)) if isinstance(value, np.ndarray) else value
                  for i, value in enumerate(values)]
        kept = [copy.copy() for copy in copies]
        self._call(name, grid, [_inner(copy) if isinstance(copy, np.ndarray) else copy for copy in copies], order)
        for (parameter, copy), (_, before) in zip(_arrays(parameters, copies), _arrays(parameters, kept), strict=True):
            _check_margins(name, parameter, copy, before)
        return [_inner(copy) for parameter, copy in _arrays(parameters, copies) if parameter.is_written]


def _arrays(parameters: Sequence["Parameter"], values: Sequence[Any]) -> list[tuple["Parameter", Any]]:
    """The arrays among the arguments, with what they are called."""
    return [(p, value) for p, value in zip(parameters, values, strict=True) if isinstance(value, np.ndarray)]


def _nonsense(dtype: Any, number: int) -> Any:
    """What spoils every result that it gets into."""
    return np.nan if dtype.kind == "f" else np.zeros((), dtype) if dtype.kind == "b" else np.iinfo(dtype).max


def _own_number(dtype: Any, number: int) -> Any:
    """Another one for each argument: one that is computed of those of others, or copied, is another one, too."""
    return np.asarray(number + (0.5 if dtype.kind == "f" else 1)).astype(dtype)


def _guarded(array: np.ndarray, margin: Any) -> np.ndarray:
    """A flat copy with margins."""
    wide = np.full(array.size + 2 * _MARGIN, margin, array.dtype)
    _inner(wide)[...] = array.reshape(-1)
    return wide


def _inner(wide: np.ndarray) -> np.ndarray:
    return wide[_MARGIN : wide.size - _MARGIN]


def _check_margins(name: str, parameter: "Parameter", copy: np.ndarray, before: np.ndarray) -> None:
    fixed = [slice(_MARGIN), slice(-_MARGIN, None)] if parameter.is_written else [slice(None)]
    if any(copy[part].tobytes() != before[part].tobytes() for part in fixed):
        raise KernelError(f"{name}: numbers were written beside {parameter.name}, which has {copy.size - 2 * _MARGIN} "
                          "elements, or it is a constant; look at the index and at what stops the last threads")


def _check_apart(name: str, parameters: Sequence["Parameter"], values: Sequence[Any]) -> None:
    for (p, a), (q, b) in itertools.combinations(_arrays(parameters, values), 2):
        if (p.is_written or q.is_written) and np.may_share_memory(a, b):
            raise KernelError(f"{name}: what a kernel writes must be no other argument too, and {p.name} and {q.name} "
                              "share memory; pass one of them, or a copy")
