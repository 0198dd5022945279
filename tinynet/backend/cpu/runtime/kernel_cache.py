"""Machine code of kernels, kept on disk: one file for each function, types of its arguments, and kind of processor.

The folder is $NUMBA_CACHE_DIR/tinynet where that variable is set, else `kernels` in tinynet's cache folder (cache.py).
Nothing is written beside the sources. Where the folder cannot be made, each process compiles anew, into memory.

A file's name holds a digest of everything that the code depends on: the sources, the types, the processor with its
features, and the versions of Python, NumPy, Numba and llvmlite. So environments with equal versions and copies of one
version of tinynet share their files, and two versions of tinynet do not disturb each other. A file that no process has
used for 90 days is removed when another one is written. A file begins with a SHA-256 sum of its content: a damaged one
is compiled and written again.

Two processes do not compile the same function at the same time: one holds the lock of a file beside it, and the other
waits for its code.

A process that finds all of its kernels does without most of Numba. What Numba imports and compiles before it compiles a
first function would be a quarter of the memory of training. So a file also names what its code refers to in other
libraries. Only where LLVM does not know one of these names, Numba is asked to register all, which takes that memory.

The sources of a function are its own file, the files of all functions that it can call, and all files of this folder,
whose intrinsics and templates end up inside kernels.
"""

# What Numba says of the types of its own functions is not what they take.
# mypy: disable-error-code="attr-defined, no-untyped-call"

import hashlib
import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import cache
from pathlib import Path
from types import CodeType, FunctionType, ModuleType
from typing import Any

import llvmlite
import llvmlite.binding as llvm
import numba
import numpy as np
from numba import cloudpickle
from numba.core.caching import _Cache
from numba.core.compiler import CompileResult
from numba.core.runtime import _nrt_python
from numba.core.serialize import dumps

from tinynet import file_lock
from tinynet.atomic import beside, write_whole
from tinynet.cache import cache_folder, private_folder
from tinynet.output import say

_PATIENCE = 1.0  # seconds of compiling before the notice
_MOST_WAITED = 20.0  # seconds that a process waits for another one, which may have failed and hold the lock
_POLL = 0.01  # seconds between two looks at a lock
_LIFETIME = 90 * 24 * 3600  # seconds without a use, after which a file is removed
_SUM = hashlib.sha256().digest_size


def kernel_folder() -> Path:
    """The folder of compiled kernels, made if it is missing. Errors: OSError where that is not possible."""
    chosen = numba.config.CACHE_DIR
    return private_folder(Path(chosen).absolute() / "tinynet" if chosen else cache_folder() / "kernels")


class KernelCache(_Cache):
    """The machine code of one function on disk, as Numba's dispatchers ask for it.

    function  its name, source and sources stand for what is compiled. One that was not defined in a file, or that has
              variables of an enclosing function other than numbers and strings, is not kept
    on_miss   called when the code is not on disk
    """

    def __init__(self, function: Any, on_miss: Callable[[], Any] | None = None) -> None:
        self._on_miss = on_miss
        self._lock = Path()
        self._descriptor: int | None = None  # of the lock, while the function is compiled
        code = function.__code__
        outer = [cell.cell_contents for cell in function.__closure__ or ()]
        self._name = f"{function.__module__}.{function.__qualname__}".replace("<", "").replace(">", "")
        self._key = repr((code.co_firstlineno, code.co_code, outer, sys.implementation.cache_tag))
        self._stamp = stamp_of(function) if all(isinstance(value, int | str) for value in outer) else None

    @property
    def cache_path(self) -> str | None:
        with suppress(OSError):
            return str(kernel_folder())
        return None

    def load_overload(self, signature: Any, context: Any) -> Any:
        """The compiled function for these types, or None: then Numba compiles it, and calls `save_overload`."""
        found = self._loaded(signature, context)
        if found is None:
            notice.on_start()
            if self._stamp:
                self._take_lock(signature, context.codegen())
                found = self._loaded(signature, context)  # another process may have compiled it meanwhile
            if found is not None:
                self._end()
            elif self._on_miss:
                self._on_miss()
        return found

    def _loaded(self, signature: Any, context: Any) -> Any:
        with suppress(Exception):  # OSError, or anything that a damaged file can lead to
            path = self._path(signature, context.codegen())
            content = path.read_bytes()
            if self._stamp and content[:_SUM] == _sum(self._stamp, content[_SUM:]):
                with suppress(OSError):  # a folder that can only be read
                    os.utime(path)
                names, parts = cloudpickle.loads(content[_SUM:])
                if not all(map(llvm.address_of_symbol, names)):
                    context.refresh()
                return CompileResult._rebuild(context, *parts)
        return None

    def _take_lock(self, signature: Any, codegen: Any) -> None:
        """Take the lock of a file that is missing. While another process has it, wait: it is writing the file."""
        self._release()  # after a failed try
        with suppress(OSError):  # no folder, one that can only be read, or a file system without locks
            self._lock = beside(self._path(signature, codegen), "lock")
            self._descriptor = os.open(self._lock, os.O_RDWR | os.O_CREAT, 0o600)
            end = time.monotonic() + _MOST_WAITED
            while time.monotonic() < end:
                with suppress(BlockingIOError):
                    file_lock.take(self._descriptor)
                    break
                time.sleep(_POLL)

    def _release(self) -> None:
        if self._descriptor is not None:
            with suppress(OSError):  # Windows removes no file that is open
                self._lock.unlink()
            os.close(self._descriptor)
            self._descriptor = None

    def _end(self) -> None:
        """The function is there, compiled by this process or another one."""
        notice.on_end()
        self._release()

    def save_overload(self, signature: Any, compiled: Any) -> None:
        # Not code with addresses of this process.
        if self._stamp and not compiled.lifted and not compiled.library.has_dynamic_globals:
            with suppress(OSError):  # no folder, or no space: the code stays in memory
                path, content = self._path(signature, compiled.codegen), dumps((_outside(compiled), compiled._reduce()))
                write_whole(path, _sum(self._stamp, content) + content)
                remove_unused(path.parent)
        self._end()

    def _path(self, signature: Any, codegen: Any) -> Path:
        key = repr((self._stamp, self._key, signature, codegen.magic_tuple()))
        return kernel_folder() / f"{self._name}-{hashlib.sha256(key.encode()).hexdigest()[:16]}.kernel"

    def enable(self) -> None:
        """Part of Numba's interface; there is nothing to do."""

    disable = flush = enable


def _outside(compiled: Any) -> list[str]:
    """The names of other libraries in compiled code. Functions of Numba, _ZN..., are compiled into it."""
    module = compiled.library._final_module
    return [each.name for each in (*module.functions, *module.global_variables)
            if each.is_declaration and not each.name.startswith(("_ZN", "llvm."))]


# Numba tells LLVM of its functions for memory in `context.refresh`, beside all that a process needs that compiles.
for _name, _address in _nrt_python.c_helpers.items():
    llvm.add_symbol(_name if _name.startswith("_") else f"NRT_{_name}", _address)


@cache
def remove_unused(folder: Path) -> None:
    """Remove files that no process has used for a long time, and parts of files; once in this process."""
    oldest = time.time() - _LIFETIME
    for path in (*folder.glob("*.kernel"), *folder.glob(".*.part"), *folder.glob(".*.lock")):
        with suppress(OSError):  # another process was faster
            if path.stat().st_mtime < oldest:
                path.unlink()


# --- sources --------------------------------------------------------------------------------------------------------

_digests: dict[str, bytes] = {}  # of source files, read when their functions were defined: they may change later
_OTHERS = {"numba", "llvmlite", "numpy"}  # packages whose sources are not read: their versions are in the stamp


def note_source(function: Any) -> None:
    """Remember the content of a function's file, while it still is what the function was made from."""
    note_file(function.__code__.co_filename)


def note_file(file: str) -> None:
    """Remember the content of a source file."""
    with suppress(OSError):  # "<stdin>" is not a file
        _digests[file] = hashlib.sha256(Path(file).read_bytes()).digest()


def stamp_of(function: Any) -> bytes | None:
    """A digest of all that a function is compiled from; None where a source is not a file."""
    versions = sys.version_info[:3], numba.__version__, llvmlite.__version__, np.__version__
    stamp, files = hashlib.sha256(repr(versions).encode()), set(_RUNTIME)
    for reached in reachable(function):
        if isinstance(reached, FunctionType):
            files.add(reached.__code__.co_filename)
        else:
            stamp.update(repr(reached).encode())
    for file in sorted(files):
        if file not in _digests:
            note_file(file)
        if file not in _digests:
            return None
        stamp.update(_digests[file])
    return stamp.digest()


def reachable(function: Any) -> Iterator[Any]:
    """The function, and all functions and numbers that it names, itself or through another one."""
    seen, left = {function}, [function]
    for function in left:  # which grows meanwhile
        yield function
        names = list(_names(function.__code__))
        for value in map(function.__globals__.get, names):
            # Of a module, what is named as its attribute.
            values = [getattr(value, name, None) for name in names] if isinstance(value, ModuleType) else [value]
            for each in values:
                each = getattr(each, "__wrapped__", each)  # the function in a dispatcher or an intrinsic
                if isinstance(each, int | float | np.generic):
                    yield each
                elif isinstance(each, FunctionType) and str(each.__module__).partition(".")[0] not in _OTHERS:
                    left += {each} - seen
                    seen.add(each)


def _names(code: CodeType) -> Iterator[str]:
    """The global names and attributes in a function, those of the functions inside it included."""
    yield from code.co_names
    for inner in code.co_consts:
        if isinstance(inner, CodeType):
            yield from _names(inner)


def _sum(*parts: bytes) -> bytes:
    return hashlib.sha256(b"".join(parts)).digest()


_RUNTIME = [str(path) for path in Path(__file__).parent.glob("*.py")]
for _file in _RUNTIME:
    note_file(_file)


# --- the notice -----------------------------------------------------------------------------------------------------

class Notice:
    """Adds up the seconds of compiling, and says once on stderr what takes so long."""

    def __init__(self) -> None:
        self._since, self.seconds, self.said = 0.0, 0.0, False

    def on_start(self) -> None:
        if self.seconds > _PATIENCE and not self.said:
            self.said = True
            try:
                where = f"once; they are kept in {kernel_folder()}"
            except OSError as error:
                where = f"in each process anew ({error}); NUMBA_CACHE_DIR may name another folder"
            say(f"tinynet: compiling kernels for this processor, {where}", error=True)
        self._since = time.perf_counter()

    def on_end(self) -> None:
        self.seconds += time.perf_counter() - self._since


notice = Notice()
