"""Compile CUDA C, of CuPy's or ours, for the processor: g++ with emulator.h, and one entry for each kernel."""

import ctypes
import hashlib
import importlib.util
import re
import subprocess
import tempfile
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

from tinynet.atomic import write_whole
from tinynet.backend.cuda.runtime import emulator
from tinynet.cache import cache_folder, private_folder

_INCLUDE = Path(__file__).with_name("include")
_FLAGS = ("-std=c++17", "-O1", "-w", "-fPIC", "-fpermissive", "-ffp-contract=off")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(')
_MARKS = re.compile(r"\b(?:OR_NULL|__restrict__)\b")
_NAME = re.compile(r"\s*\b\w+\s*$")  # of a parameter, behind its type


class Kernel(NamedTuple):
    """A compiled kernel: its entry, and the sizes of its parameters in bytes."""

    name: str
    entry: Any
    sizes: list[int]

    def run(self, values: list[bytes], shape: tuple[int, ...]) -> str | None:
        """Run it. `shape` is blocks x, y, z, threads x, y, z, and bytes of shared memory. Returns a message or None."""
        held = [ctypes.create_string_buffer(value, max(len(value), 16)) for value in values]
        places = (ctypes.c_void_p * max(len(held), 1))(*map(ctypes.addressof, held))
        error = self.entry(places, (ctypes.c_uint * 7)(*shape))
        return error.decode() if error else None


def kernel(library: ctypes.CDLL, name: str) -> Kernel | None:
    """A kernel of a compiled library; None if it has no kernel of this name."""
    entry = getattr(library, f"launch_{name}", None)
    if entry is None:
        return None
    count = ctypes.c_int.in_dll(library, f"count_{name}").value
    entry.restype = ctypes.c_char_p
    return Kernel(name, entry, list((ctypes.c_int * max(count, 1)).in_dll(library, f"sizes_{name}"))[:count])


@cache
def compiled(source: str) -> Path:
    """The library of a source text, from the user's cache folder or compiled now. Errors: RuntimeError, as NVRTC's."""
    text = _program(source)
    found = importlib.util.find_spec("cupy")
    assert found and found.origin
    folders = [_INCLUDE, Path(emulator.__file__).parent, Path(found.origin).parent / "_core" / "include"]
    key = hashlib.sha256("\0".join([text, *_FLAGS, *_headers(), *map(str, folders)]).encode())
    library = cache_folder() / "cupy_on_cpu" / f"{key.hexdigest()[:32]}.so"
    private_folder(library.parent)
    if not library.exists():
        with tempfile.TemporaryDirectory() as folder:
            output = Path(folder, "kernels.so")
            done = subprocess.run(["g++", *_FLAGS, *(f"-I{one}" for one in folders), "-shared", "-x", "c++", "-", "-o",
                                   output], input=text, capture_output=True, text=True)
            if done.returncode:
                raise RuntimeError(f"g++ cannot compile these kernels:\n{done.stderr[:3000]}")
            write_whole(library, output.read_bytes())
    return library


@cache
def _headers() -> list[str]:
    return [path.read_text(encoding="utf-8") for path in
            (*sorted(_INCLUDE.rglob("*.h")), Path(emulator.__file__).with_name("emulator.h"))]


def _program(source: str) -> str:
    """The text for g++. An array `extern __shared__` becomes a pointer, because its place depends on the launch."""
    clean = _COMMENT.sub(" ", source)
    entries = [_entry(found[1], _types(clean, found.end())) for found in _KERNEL.finditer(clean)]
    source = re.sub(r"extern __shared__ (\w+) (\w+)\[\];", r"\1* \2 = (\1*)emulator::dynamic_shared;", source)
    return "\n".join(['#include "cuda_on_cpu.h"', source, '#line 1 "<entries>"', *entries, ""])


def _entry(name: str, types: list[str]) -> str:
    values = ", ".join(f"*(std::remove_const<{type_}>::type*)values[{i}]" for i, type_ in enumerate(types))
    sizes = ", ".join(f"(int)sizeof({type_})" for type_ in types) or "0"
    return (f'extern "C" const char* launch_{name}(void** values, const unsigned* shape) {{ FlushDenormals flushing; '
            f"return emulator::launch([](void** values) {{ {name}({values}); }}, values, shape, 0, nullptr, 0); }}\n"
            f'extern "C" {{ int count_{name} = {len(types)}; int sizes_{name}[] = {{{sizes}}}; }}')


def _types(text: str, start: int) -> list[str]:
    """The types of the parameters of a kernel. `start` is behind its opening parenthesis."""
    parts, part, depth = [], "", 0
    for at in range(start, len(text)):
        character = text[at]
        depth += (character in "(<") - (character in ")>")
        if depth < 0:
            break
        if character == "," and not depth:
            parts, part = [*parts, part], ""
        else:
            part += character
    return [_NAME.sub("", _MARKS.sub("", one.strip())) for one in [*parts, part] if one.strip()]
