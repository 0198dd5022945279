"""Run the kernels of a .cu file without a GPU: g++ compiles the same text with emulator.h, and ctypes calls the result.

Compiled kernels are kept in the user's cache folder, under a hash of the text and of the compiler's flags.
$TINYNET_EMULATOR_FLAGS adds flags: "-O0" is for stepping through a kernel in a debugger.

Inside `checked()`, each launch runs four times on copies of the arrays: in three orders of its threads and blocks, and
once more with other values around the arrays. Results that differ are an error, and so is a write outside an array.
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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from pathlib import Path
from typing import Any

import numpy as np

from tinynet.atomic import write_whole
from tinynet.backend.cuda.runtime.source import Parameter, signatures
from tinynet.cache import cache_folder, private_folder
from tinynet.errors import DeviceError

FLAGS = ("-std=c++17", "-O2", "-g", "-fPIC", "-ffp-contract=off", "-Wall", "-Wno-unknown-pragmas")
ORDERS = 3  # ascending, descending, shuffled: see emulator.h
SHARED = 227 * 1024  # bytes of shared memory that a block may have, as on sm_90 and in emulator.h
MULTIPROCESSORS = 2  # few, so that small arrays occupy all of them, too
_MARGIN = 1 << 13  # elements before and after a copy of an array: a wrong index that far away is caught

Shape = tuple[int, int, int]  # of a grid or a block: along x, y and z

_checked: ContextVar[bool] = ContextVar("checked", default=False)
_lock = threading.Lock()  # emulator.h keeps the state of the running launch in static variables


class KernelError(DeviceError):
    """A kernel has a fault that a GPU would not report: a race, a barrier that some threads miss, a wrong address."""


@contextmanager
def checked() -> Iterator[None]:
    """Inside, run every launch in several orders of its threads, and demand the same bits from each.

    Values read from outside an array are NaN. Errors: KernelError, from the launch, for a race or for a write outside
    an array.
    """
    token = _checked.set(True)
    try:
        yield
    finally:
        _checked.reset(token)


_DYNAMIC_SHARED = re.compile(r"extern __shared__ (\w+) (\w+)\[\];")


def program(source: str) -> str:
    """The text for g++: emulator.h, the kernels, and for each kernel a function that ctypes can call.

    An array `extern __shared__` becomes a pointer, because C++ has no array whose place the launch decides.
    """
    entries = [_entry(name, parameters) for name, parameters in signatures(source).items()]
    source = _DYNAMIC_SHARED.sub(r"\1* \2 = (\1*)emulator::dynamic_shared;", source)
    return "\n".join(['#include "emulator.h"', source, '#line 1 "<entries>"', *entries, ""])


def _entry(name: str, parameters: Sequence[Parameter]) -> str:
    types = [parameter.type + "*" * parameter.is_pointer for parameter in parameters]
    values = ", ".join(f"*({type_}*)values[{i}]" for i, type_ in enumerate(types))
    return (f'extern "C" const char* launch_{name}(void** values, const unsigned* shape, int order) '
            f"{{ return emulator::launch([](void** values) {{ {name}({values}); }}, values, shape, order); }}")


def missing() -> str | None:
    """What the emulator lacks on this machine, with the remedy; None if it can run."""
    if sys.platform != "linux":
        return f"kernels are compiled by g++ on Linux, got {sys.platform}; on Windows, use WSL"
    if not shutil.which("g++"):
        return "kernels are compiled by g++, which is missing; apt install g++ (Debian, Ubuntu)"
    target, here = subprocess.run(["g++", "-dumpmachine"], capture_output=True, text=True).stdout, platform.machine()
    if {target.partition("-")[0], here} == {"x86_64", "aarch64"}:  # a cross compiler, or an emulated processor
        return f"kernels are compiled by g++ for this processor, {here}, got one for {target.strip()}; apt install g++"
    return None


def compiled(text: str) -> Path:
    """The shared library of a program, from the cache or compiled now. Errors: DeviceError if that is not possible."""
    flags = [*FLAGS, *shlex.split(os.environ.get("TINYNET_EMULATOR_FLAGS", ""))]
    header = Path(__file__).with_name("emulator.h")
    key = hashlib.sha256("\0".join([text, header.read_text(encoding="utf-8"), *flags, platform.machine()]).encode())
    library = cache_folder() / "kernels" / f"{key.hexdigest()[:32]}.so"
    try:
        private_folder(library.parent)
        if not library.exists():
            write_whole(library, _build(text, [*flags, f"-I{header.parent}"]))
    except OSError as error:
        raise DeviceError(f"gpu-emulated: compiled kernels are kept in {library.parent}, which cannot be written "
                          f"({error}); set XDG_CACHE_HOME to a folder of yours") from None
    return library


def _build(text: str, flags: Sequence[str]) -> bytes:
    """The shared library of a program, as g++ makes it."""
    if missing():
        raise DeviceError(f"gpu-emulated: {missing()}, or use cpu")
    with tempfile.TemporaryDirectory() as folder:
        output = Path(folder, "kernels.so")
        done = subprocess.run(["g++", *flags, "-shared", "-x", "c++", "-", "-o", output], input=text,
                              capture_output=True, text=True)
        if done.returncode:
            raise KernelError(f"gpu-emulated: g++ must be able to compile the kernels, got\n{done.stderr}\n"
                              "correct the line that it names")
        return output.read_bytes()


class Library:
    """The kernels of a source text, compiled for this processor. `signatures` holds their parameters by name."""

    def __init__(self, source: str) -> None:
        self.signatures = signatures(source)
        self._library = ctypes.CDLL(str(compiled(program(source))))

    def run(self, name: str, blocks: Shape, threads: Shape, shared: int, values: Sequence[Any]) -> None:
        """Run a kernel on NumPy arrays, numbers and structs of the dtypes in its signature. 0 is a null pointer."""
        def call(values: Sequence[Any], order: int) -> None:
            function = getattr(self._library, f"launch_{name}")
            function.restype = ctypes.c_char_p
            held = [np.asarray(np.uint64(value.ctypes.data) if isinstance(value, np.ndarray) else value)
                    for value in values]  # an address where the kernel has a pointer, else the bytes of the argument
            places = (ctypes.c_void_p * len(held))(*[one.ctypes.data for one in held])
            with _lock:
                error = function(places, (ctypes.c_uint * 7)(*blocks, *threads, shared), order)
            if error:
                raise KernelError(f"{name}: {error.decode()}")

        if _checked.get():
            _run_checked(name, self.signatures[name], values, call)
        else:
            call(values, 0)


_Call = Callable[[Sequence[Any], int], None]  # runs a kernel on arguments, in an order of the threads


def _run_checked(name: str, parameters: Sequence[Parameter], values: Sequence[Any], call: _Call) -> None:
    _check_no_overlap(name, parameters, values)
    results = [_between_margins(name, parameters, values, call, order, _nonsense) for order in range(ORDERS)]
    _between_margins(name, parameters, values, call, 0, _own_number)  # NaN written beside NaN would go unnoticed
    written = [(p, value) for p, value in _arrays(parameters, values) if p.is_written]
    for i, (parameter, value) in enumerate(written):
        if any(result[i].tobytes() != results[0][i].tobytes() for result in results):
            raise KernelError(f"{name}: {parameter.name} must not depend on the order in which threads run, and "
                              "does; is there a barrier missing, or do two threads write to one place?")
        value.reshape(-1)[...] = results[0][i]


def _between_margins(name: str, parameters: Sequence[Parameter], values: Sequence[Any], call: _Call, order: int,
                     margin: Callable[[Any, int], Any]) -> list[np.ndarray]:
    """What a kernel writes into copies of its arrays, which lie between margins that must stay as they are."""
    copies = [_guarded(value, margin(value.dtype, i)) if isinstance(value, np.ndarray) else value
              for i, value in enumerate(values)]
    before = [copy.copy() for copy in copies]
    call([_inner(copy) if isinstance(copy, np.ndarray) else copy for copy in copies], order)
    for (parameter, copy), (_, old) in zip(_arrays(parameters, copies), _arrays(parameters, before), strict=True):
        _check_margins(name, parameter, copy, old)
    return [_inner(copy) for parameter, copy in _arrays(parameters, copies) if parameter.is_written]


def _arrays(parameters: Sequence[Parameter], values: Sequence[Any]) -> list[tuple[Parameter, Any]]:
    """The arrays among the arguments, with their parameters."""
    return [(p, value) for p, value in zip(parameters, values, strict=True) if isinstance(value, np.ndarray)]


def _nonsense(dtype: Any, number: int) -> Any:
    """A value that shows in every result computed from it: NaN, or the largest integer."""
    return np.nan if dtype.kind == "f" else np.zeros((), dtype) if dtype.kind == "b" else np.iinfo(dtype).max


def _own_number(dtype: Any, number: int) -> Any:
    """A different value for each argument, so that a value copied or computed from another margin differs, too."""
    return np.asarray(number + (0.5 if dtype.kind == "f" else 1)).astype(dtype)


def _guarded(array: np.ndarray, margin: Any) -> np.ndarray:
    """A flat copy with margins."""
    wide = np.full(array.size + 2 * _MARGIN, margin, array.dtype)
    _inner(wide)[...] = array.reshape(-1)
    return wide


def _inner(wide: np.ndarray) -> np.ndarray:
    return wide[_MARGIN : wide.size - _MARGIN]


def _check_margins(name: str, parameter: Parameter, copy: np.ndarray, before: np.ndarray) -> None:
    fixed = [slice(_MARGIN), slice(-_MARGIN, None)] if parameter.is_written else [slice(None)]
    if any(copy[part].tobytes() != before[part].tobytes() for part in fixed):
        raise KernelError(f"{name}: numbers were written beside {parameter.name}, which has {copy.size - 2 * _MARGIN} "
                          "elements, or it is a constant; check the index, and the bound that stops the last threads")


def _check_no_overlap(name: str, parameters: Sequence[Parameter], values: Sequence[Any]) -> None:
    for (p, a), (q, b) in itertools.combinations(_arrays(parameters, values), 2):
        if (p.is_written or q.is_written) and np.may_share_memory(a, b):
            raise KernelError(f"{name}: what a kernel writes must be no other argument too, and {p.name} and {q.name} "
                              "share memory; pass one of them, or a copy")
