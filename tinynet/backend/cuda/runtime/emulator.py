"""Run the kernels of a .cu file without a GPU: g++ compiles the same text with emulator.h, and ctypes calls the result.

Compiled kernels are kept in the user's cache folder, under a hash of the text and of the compiler's flags.
$TINYNET_EMULATOR_FLAGS adds flags: "-O0" is for stepping through a kernel in a debugger.

Inside `checked()`, each launch runs on copies of its arrays, in several orders of its threads and blocks, and each
access to memory is noted. These are errors: an element that two threads access, one of them to write, with no barrier
between; an access outside an array; and results that differ.
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
from functools import cached_property, partial
from pathlib import Path
from typing import Any, ClassVar

import numpy as np

from tinynet.atomic import write_whole
from tinynet.backend.cuda.runtime.source import Parameter, signatures
from tinynet.cache import cache_folder, private_folder
from tinynet.errors import DeviceError

FLAGS = ("-std=c++17", "-O2", "-g", "-fPIC", "-ffp-contract=off", "-Wall", "-Wno-unknown-pragmas")
_NOTING = ("-fsanitize=thread", "-fno-exceptions", "-nodefaultlibs")  # calls emulator.h, not ThreadSanitizer
ORDERS = 2  # ascending, shuffled: see emulator.h
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
    """Inside, run every launch in several orders of its threads, demand the same bits, and note each access to memory.

    Errors: KernelError, from the launch, for a race or for an access outside an array.
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
    return "\n".join(['#include "emulated_functions.h"', source, '#line 1 "<entries>"', *entries, ""])


def _entry(name: str, parameters: Sequence[Parameter]) -> str:
    types = [parameter.type + "*" * parameter.is_pointer for parameter in parameters]
    values = ", ".join(f"*({type_}*)values[{i}]" for i, type_ in enumerate(types))
    return (f'extern "C" const char* launch_{name}(void** values, const unsigned* shape, int order, '
            "const emulator::Range* watched, unsigned count) { return emulator::launch([](void** values) "
            f"{{ {name}({values}); }}, values, shape, order, watched, count); }}")


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


def compiled(text: str, flags: Sequence[str] = FLAGS) -> Path:
    """The shared library of a program, from the cache or compiled now. Errors: DeviceError if that is not possible."""
    flags = [*flags, *shlex.split(os.environ.get("TINYNET_EMULATOR_FLAGS", ""))]
    headers = [Path(__file__).with_name(name) for name in ("emulator.h", "emulated_functions.h")]
    texts = [header.read_text(encoding="utf-8") for header in headers]
    key = hashlib.sha256("\0".join([text, *texts, *flags, platform.machine()]).encode())
    library = cache_folder() / "kernels" / f"{key.hexdigest()[:32]}.so"
    try:
        private_folder(library.parent)
        if not library.exists():
            write_whole(library, _build(text, [*flags, f"-I{headers[0].parent}"]))
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


class _Range(ctypes.Structure):
    """`Range` of emulator.h: an array between its margins."""

    _fields_: ClassVar[Any] = [
        *((name, ctypes.c_void_p) for name in ("low", "start", "end", "high")),
        *((name, ctypes.c_uint) for name in ("element", "shift")),
        *((name, ctypes.c_bool) for name in ("is_written", "is_shared")), ("name", ctypes.c_char_p)]


class Library:
    """The kernels of a source text, compiled for this processor. `signatures` holds their parameters by name."""

    def __init__(self, source: str) -> None:
        self.signatures, self._program = signatures(source), program(source)

    @cached_property
    def _plain(self) -> Any:
        return ctypes.CDLL(str(compiled(self._program)))

    @cached_property
    def _noting(self) -> Any:
        """The same kernels, which note their accesses to memory."""
        return ctypes.CDLL(str(compiled(self._program, [*FLAGS, *_NOTING])))

    def run(self, name: str, blocks: Shape, threads: Shape, shared: int, values: Sequence[Any]) -> None:
        """Run a kernel on NumPy arrays, numbers and structs of the dtypes in its signature. 0 is a null pointer."""
        def call(library: Any, values: Sequence[Any], order: int, watched: Sequence[_Range]) -> None:
            function = getattr(library, f"launch_{name}")
            function.restype = ctypes.c_char_p
            held = [np.asarray(np.uint64(value.ctypes.data) if isinstance(value, np.ndarray) else value)
                    for value in values]  # an address where the kernel has a pointer, else the bytes of the argument
            places = (ctypes.c_void_p * len(held))(*[one.ctypes.data for one in held])
            with _lock:
                error = function(places, (ctypes.c_uint * 7)(*blocks, *threads, shared), order,
                                 (_Range * len(watched))(*watched), len(watched))
            if error:
                raise KernelError(f"{name}: {error.decode()}")

        if _checked.get():
            _run_checked(name, self.signatures[name], values, partial(call, self._noting))
        else:
            call(self._plain, values, 0, ())


_Call = Callable[[Sequence[Any], int, Sequence[_Range]], None]  # runs a kernel on arguments, in an order of the threads


def _run_checked(name: str, parameters: Sequence[Parameter], values: Sequence[Any], call: _Call) -> None:
    _check_no_overlap(name, parameters, values)
    results = [_between_margins(parameters, values, call, order) for order in range(ORDERS)]
    written = [(p, value) for p, value in _arrays(parameters, values) if p.is_written]
    for i, (parameter, value) in enumerate(written):
        if any(result[i].tobytes() != results[0][i].tobytes() for result in results):
            raise KernelError(f"{name}: {parameter.name} must not depend on the order in which threads run, and does; "
                              "does it hold what an atomic operation returned?")
        value.reshape(-1)[...] = results[0][i]


def _between_margins(parameters: Sequence[Parameter], values: Sequence[Any], call: _Call, order: int
                     ) -> list[np.ndarray]:
    """What a kernel writes into copies of its arrays, which lie between margins that it must not access."""
    copies = [_guarded(value) if isinstance(value, np.ndarray) else value for value in values]
    arrays = _arrays(parameters, copies)
    call([_inner(copy) if isinstance(copy, np.ndarray) else copy for copy in copies], order,
         [_watched(parameter, copy) for parameter, copy in arrays])
    return [_inner(copy) for parameter, copy in arrays if parameter.is_written]


def _arrays(parameters: Sequence[Parameter], values: Sequence[Any]) -> list[tuple[Parameter, Any]]:
    """The arrays among the arguments, with their parameters."""
    return [(p, value) for p, value in zip(parameters, values, strict=True) if isinstance(value, np.ndarray)]


def _guarded(array: np.ndarray) -> np.ndarray:
    """A flat copy with margins."""
    wide = np.zeros(array.size + 2 * _MARGIN, array.dtype)
    _inner(wide)[...] = array.reshape(-1)
    return wide


def _inner(wide: np.ndarray) -> np.ndarray:
    return wide[_MARGIN : wide.size - _MARGIN]


def _watched(parameter: Parameter, copy: np.ndarray) -> _Range:
    low, start = copy.ctypes.data, _inner(copy).ctypes.data
    return _Range(low, start, start + _inner(copy).nbytes, low + copy.nbytes, copy.itemsize, 0, parameter.is_written,
                  False, parameter.name.encode())


def _check_no_overlap(name: str, parameters: Sequence[Parameter], values: Sequence[Any]) -> None:
    for (p, a), (q, b) in itertools.combinations(_arrays(parameters, values), 2):
        if (p.is_written or q.is_written) and np.may_share_memory(a, b):
            raise KernelError(f"{name}: what a kernel writes must be no other argument too, and {p.name} and {q.name} "
                              "share memory; pass one of them, or a copy")
