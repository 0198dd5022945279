"""What a resumed run is compared by, besides its settings: its data, its functions, and where it runs.

`fingerprint` describes what must be the same in both runs. `surroundings` describes what may differ, although the
results are then no longer equal bit for bit. Both are dictionaries of short texts that JSON can represent. Arrays and
functions stand in them by checksums. A name that only one of two fingerprints has is not compared.
"""

import functools
import platform
import sys
import zlib
from collections.abc import Iterator, Mapping, Sequence
from types import CodeType, FunctionType, MethodType
from typing import Any

import numpy as np

from tinynet import backend
from tinynet.about import instructions, versions
from tinynet.backend.threads import threads
from tinynet.data.images.read import Images
from tinynet.distributed import world
from tinynet.nn.module import Module
from tinynet.op import Op
from tinynet.tensor import Tensor
from tinynet.training.run import Run

CHUNK = 64 * 2**20  # bytes of an array that are read at a time
_OTHERS = {"tinynet", "numpy", *sys.stdlib_module_names} - {"__main__"}  # packages whose code is not compared
_VERSIONS = ("numpy", "numba", "llvmlite")
_CODE = f"the code of {{}}, compiled by Python {sys.version_info.major}.{sys.version_info.minor}"


def fingerprint(run: Run, **functions: Any) -> dict[str, str]:
    """The content of the data of a run, and its functions: those given by name, of its loaders, layers and callbacks.

    >>> batches = [(np.ones((2, 3)), np.array([0, 1]))]
    >>> fingerprint(Run(Module(), None, batches, epochs=1))["training data"]
    'batch 0: float64 (2, 3) 1466da09, int64 (2,) 20114bcb'
    """
    found: dict[str, str] = {}
    for name, batches in (("training data", run.train), ("validation data", run.validation)):
        found.update(_data(name, batches))
        functions |= {f"{one} of {name}": getattr(batches, one, None) for one in ("transform", "augment")}
    for path, module in run.model.modules():
        functions |= {f"{name} of layer {path or '(the model)'}": value for name, value in vars(module).items()
                      if callable(value) and not isinstance(value, Module)}
    for callback in run.callbacks:
        found.update({f"{option} of {type(callback).__name__}": str(getattr(callback, option))
                      for option in ("metric", "mode", "decay") if hasattr(callback, option)})
    for name, function in functions.items():
        if function is not None:
            found[name] = described(function)
            if code := "".join(_code(function, set())):
                found[_CODE.format(name)] = _sum(code.encode())
    return found


def surroundings(device: str) -> dict[str, str]:
    """Where a run computes: what its bits depend on, and its results hardly."""
    return {"threads": str(threads()), "device": device,
            "ops": "reference" if backend.is_reference() else "fast", "precision": backend.current_precision(),
            "processor": " ".join([platform.machine(), *instructions()]), "ranks": str(world().size),
            **{f"version of {name}": version for name, version in versions(_VERSIONS).items() if name != "python"}}


def differences(here: Mapping[str, Any], there: Mapping[str, Any]) -> list[str]:
    """The names that both have, with different texts, and these texts."""
    return [f"{name}: {there[name]} there, {value} here" for name, value in here.items()
            if name in there and there[name] != value]


# --- data -----------------------------------------------------------------------------------------------------------

def _data(name: str, batches: Any) -> Iterator[tuple[str, str]]:
    """The arrays of a loader, or those of a sequence of batches. Other iterables may be consumed by reading them."""
    arrays = getattr(batches, "arrays", None)
    if isinstance(arrays, tuple | list):
        yield from ((f"{name}, array {i}", checksum(array)) for i, array in enumerate(arrays))
        if (lengths := getattr(batches, "lengths", None)) is not None:
            yield f"{name}, lengths", checksum(lengths)
    elif isinstance(batches, Sequence) and not isinstance(batches, str):
        parts = [", ".join(map(checksum, batch)) for batch in batches if isinstance(batch, tuple | list)]
        for i, text in enumerate(parts[:1]):
            yield name, f"batch {i}: {text}"
        if len(parts) > 1:
            yield f"{name}, all batches", f"{len(parts)} of checksum {_sum(repr(parts).encode())}"


def checksum(array: Any) -> str:
    """The dtype, the shape and the checksum of an array, of a tensor, or of images in files (their names and sizes).

    >>> checksum(np.arange(3, dtype="float32"))
    'float32 (3,) 30c8bc70'
    """
    if isinstance(array, tuple):
        return f"({', '.join(map(checksum, array))})"
    if isinstance(array, Images):
        return f"images {array.shape} {_sum(array.listing().encode())}"
    array = array.data if isinstance(array, Tensor) else array
    kind = f"{getattr(array, 'dtype', type(array).__name__)} {tuple(getattr(array, 'shape', ()))}"
    count = max(1, -(-getattr(array, "nbytes", 0) // CHUNK))
    rows, found = -(-len(array) // count) if count > 1 else 0, 0
    try:
        for chunk in (array[i * rows : (i + 1) * rows] for i in range(count)) if rows else (array,):
            chunk = backend.to_host(chunk) if backend.is_on_device(chunk) else chunk
            if not isinstance(chunk, list | tuple) and not hasattr(chunk, "__array__"):
                return kind  # an object that gives rows one by one
            plain = np.ascontiguousarray(chunk)
            text: Any = repr(plain.tolist()).encode() if plain.dtype.hasobject else plain.reshape(-1).view(np.uint8)
            found = zlib.crc32(text, found)
    except (AttributeError, TypeError, ValueError):
        return kind  # an array that NumPy cannot take, such as one on a device of another library
    return f"{kind} {found:08x}"


def _sum(content: Any) -> str:
    return f"{zlib.crc32(content):08x}"


# --- functions ------------------------------------------------------------------------------------------------------

def described(thing: Any) -> str:
    """A function or an object with options, as text without addresses.

    >>> described(functools.partial(round, ndigits=2))
    'round(ndigits=2)'
    """
    if isinstance(thing, functools.partial):
        given = [*map(described, thing.args), *(f"{name}={described(value)}" for name, value in thing.keywords.items())]
        return f"{getattr(thing.func, '__qualname__', None) or described(thing.func)}({', '.join(given)})"
    if isinstance(thing, Op):  # its code is compared, its text is not
        return f"op {thing.module}.{described(thing.forward)}"
    if thing is None or isinstance(thing, bool | int | float | str | bytes):
        return repr(thing)
    if isinstance(thing, np.ndarray | np.generic | Tensor):
        return checksum(thing)
    if isinstance(thing, tuple | list):
        return f"[{', '.join(map(described, thing))}]"
    if isinstance(thing, Mapping):
        return f"{{{', '.join(f'{name}: {described(value)}' for name, value in thing.items())}}}"
    if isinstance(thing, MethodType):
        return f"{described(thing.__self__)}.{thing.__name__}"
    if isinstance(thing, FunctionType):
        inner = [_content(cell) for cell in thing.__closure__ or ()]
        plain = [_text(value) for value in [*_defaults(thing), *inner] if _is_data(value)]
        return thing.__qualname__ + f" with {', '.join(plain)}" * bool(plain)
    if isinstance(thing, type) or not hasattr(thing, "__dict__"):
        return str(getattr(thing, "__qualname__", type(thing).__qualname__))
    options = [f"{name}={described(value)}" for name, value in vars(thing).items()
               if _is_data(value) or isinstance(value, tuple)]
    return f"{type(thing).__qualname__}({', '.join(options)})"


def _defaults(function: FunctionType) -> list[Any]:
    return [*(function.__defaults__ or ()), *(function.__kwdefaults__ or {}).values()]


def _is_number(value: Any) -> bool:
    return isinstance(value, bool | int | float | str | np.generic)


def _is_data(value: Any) -> bool:
    """Whether it is a number, an array, or a tuple of these. A list, and what is trained, may differ after a run."""
    if isinstance(value, tuple):
        return all(map(_is_data, value))
    return _is_number(value) or isinstance(value, np.ndarray) or (isinstance(value, Tensor) and not value.requires_grad)


def _text(value: Any) -> str:
    return repr(value) if _is_number(value) else described(value)


def _content(cell: Any) -> Any:
    try:
        return cell.cell_contents
    except ValueError:  # the variable has no value yet
        return None


def _code(thing: Any, seen: set[int]) -> Iterator[str]:
    """The instructions and constants of a function, and of those that it calls, except those of `_OTHERS`."""
    if id(thing) in seen:
        return
    seen.add(id(thing))
    if isinstance(thing, functools.partial):
        parts = [thing.func, *thing.args, *thing.keywords.values()]
    elif isinstance(thing, MethodType):
        parts = [thing.__func__]
    elif isinstance(thing, Op):
        parts = [thing.forward, thing.backward]
    elif isinstance(thing, FunctionType):
        if str(thing.__module__).partition(".")[0] in _OTHERS:
            return
        yield from _constants(thing.__code__)
        yield from map(described, _defaults(thing))
        parts = [_content(cell) for cell in thing.__closure__ or ()]
        for name in thing.__code__.co_names:
            value = thing.__globals__.get(name)
            parts.append(value)
            if _is_data(value):
                yield f"{name}={_text(value)}"
    else:
        parts = [vars(type(thing)).get(name) for name in ("__call__", "forward")]
    for part in parts:
        if callable(part) and not isinstance(part, type):
            yield from _code(part, seen)


def _constants(code: CodeType) -> Iterator[str]:
    yield f"{code.co_code.hex()} {code.co_names}"
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _constants(constant)
        else:  # the order of a set of strings differs from process to process
            yield repr(sorted(map(repr, constant)) if isinstance(constant, frozenset) else constant)
