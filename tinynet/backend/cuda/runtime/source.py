"""Read a .cu file: its text, with our own headers put in place, and the signatures of its kernels.

A GPU takes arguments as bytes. A Python float where the kernel has a `float` is no error there, only a wrong result.
So the launcher checks each argument against the signature that is read from the text.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinynet.errors import DtypeError

FOLDER = Path(__file__).resolve().parents[1]  # of the .cu files
_TYPES = {"float": np.float32, "int": np.int32, "unsigned": np.uint32, "long long": np.int64,
          "unsigned short": np.uint16, "unsigned char": np.uint8, "bool": np.bool_}
_TYPE = "|".join(sorted(_TYPES, key=len, reverse=True))
_KERNEL = re.compile(r'extern\s+"C"\s+__global__\s+void\s+(?:__launch_bounds__\s*\([^)]*\)\s*)?(\w+)\s*\(([^)]*)\)')
_PARAMETER = re.compile(r"(const\s+)?(\w[\w ]*?)\s*(\*)?\s*(?:(__restrict__|OR_NULL)\s+)?\b(\w+)")
_STRUCT = re.compile(r"\bstruct\s+(\w+)\s*\{([^{}]*)\}\s*;")
_FIELD = r"\w+(?:\[\d+\])?"
_FIELDS = re.compile(rf"\s*({_TYPE})\s+({_FIELD}(?:\s*,\s*{_FIELD})*)\s*")
_COMMENT = re.compile(r"//[^\n]*|/\*.*?\*/", re.S)
_INCLUDE = re.compile(r'^#include "(\w+\.h)"$', re.M)


class Parameter(NamedTuple):
    """A parameter of a kernel: a number, a struct of numbers, or a pointer to numbers.

    type    the type in C, without `const` and `*`
    dtype   the same in NumPy; a structured dtype for a struct
    """

    name: str
    type: str
    dtype: np.dtype[Any]
    is_pointer: bool
    is_written: bool
    is_optional: bool = False


def assemble(path: Path) -> str:
    """The text of a .cu file, with the headers that it includes from its own folder put in place.

    A compiler then needs no include path, and a cache of compiled code by source text notices a changed header.
    """
    text = path.read_text(encoding="utf-8")

    def header(match: re.Match[str]) -> str:
        name = path.with_name(match[1])
        line = text[: match.end()].count("\n") + 2
        return f'#line 1 "{name}"\n{name.read_text(encoding="utf-8")}\n#line {line} "{path}"'

    return f'#line 1 "{path}"\n' + _INCLUDE.sub(header, text)


def signatures(text: str) -> dict[str, tuple[Parameter, ...]]:
    """The parameters of each kernel in a source text, by the kernel's name.

    Errors: DtypeError for a parameter that is not a number, a struct of numbers, or a pointer to numbers.

    >>> text = 'extern "C" __global__ void scale(const float* x, float* y, float factor, int n) {}'
    >>> [(parameter.name, parameter.is_pointer) for parameter in signatures(text)["scale"]]
    [('x', True), ('y', True), ('factor', False), ('n', False)]
    """
    text = _COMMENT.sub(" ", text)
    structs = dict(_STRUCT.findall(text))
    return {name: tuple(_parameter(name, part.strip(), structs) for part in parts.split(","))
            for name, parts in _KERNEL.findall(text)}


def _parameter(kernel: str, text: str, structs: Mapping[str, str]) -> Parameter:
    found = _PARAMETER.fullmatch(text)
    dtype = found and _dtype(found[2], structs)
    if not found or dtype is None or (found[3] and dtype.names):
        raise DtypeError(f"{kernel}: every parameter must be a number of type {', '.join(_TYPES)}, a struct of these, "
                         f"or a pointer to numbers, got {text!r}; float64 is slow on a GPU, use float")
    return Parameter(found[5], found[2], dtype, bool(found[3]), bool(found[3]) and not found[1], found[4] == "OR_NULL")


def _dtype(name: str, structs: Mapping[str, str]) -> np.dtype[Any] | None:
    """The dtype of a type in C: of a number, or of a struct of numbers and arrays of them, aligned as C aligns them."""
    if name in _TYPES:
        return np.dtype(_TYPES[name])
    declarations = [_FIELDS.fullmatch(line) for line in structs.get(name, "").split(";") if line.strip()]
    if not declarations or None in declarations:
        return None
    return np.dtype([(field, (_TYPES[declaration[1]], int(length)) if length else _TYPES[declaration[1]])
                     for declaration in declarations if declaration
                     for field, length in re.findall(r"(\w+)(?:\[(\d+)\])?", declaration[2])], align=True)
