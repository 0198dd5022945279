"""Bugs planted into single lines of overrides, and the comparison with the specification that has to find them.

The overrides of the CPU run as plain Python (`interpreted.py`), those of a GPU in the emulator.
"""

import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any
from unittest import mock

import numpy as np

from tests.support import interpreted, update_cases
from tests.support.op_cases import as_tuple, difference, draw
from tests.support.overrides import BACKEND, Bug, Specification, headers, read, specifications, visible
from tinynet import backend
from tinynet.backend import cuda
from tinynet.backend.cuda.runtime import emulator
from tinynet.backend.cuda.runtime.launch import Kernels
from tinynet.op import REGISTRY

TOLERANCE = 1e-5
DEVICES = {"cpu": "cpu", "cuda": "gpu-emulated"}  # the folder of the overrides, and the device
SPECIFICATIONS = specifications()
Cases = dict[str, list[dict[str, Any]]]  # of ops, by name


# --- planting -------------------------------------------------------------------------------------------------------

@contextmanager
def planted(folder: str, stem: str, file: str = "", text: str = "") -> Iterator[ModuleType]:
    """The module of an override, where a file of its folder has another text."""
    if folder == "cpu":
        yield interpreted.module(BACKEND / folder / f"{stem}.py", {file: text} if file else {})
        return
    backend.namespace(DEVICES[folder])  # imports the runtime, which must not be imported twice
    texts = read(folder)
    if file:
        texts[file] = text
    with mock.patch.dict(sys.modules), mock.patch.dict(vars(cuda)), tempfile.TemporaryDirectory() as copy:
        for name in reversed([name for name in visible(texts, stem) if name.endswith(".py")]):
            module = _execute(name.removesuffix(".py"), texts[name])
            for value in vars(module).values():
                if isinstance(value, Kernels) and file in (value.path.name, *headers(texts[value.path.name])):
                    value.path = Path(copy, value.path.name)
        for name, content in texts.items():
            Path(copy, name).write_text(content, encoding="utf-8")
        yield module


def _execute(stem: str, text: str) -> ModuleType:
    """A module of the GPU's overrides with this text, in the place of the real one."""
    name = f"{cuda.__name__}.{stem}"
    made = ModuleType(name)
    made.__file__ = str(BACKEND / "cuda" / f"{stem}.py")
    sys.modules[name] = vars(cuda)[stem] = made
    exec(compile(text, made.__file__, "exec"), vars(made))
    return made


# --- comparing ------------------------------------------------------------------------------------------------------

def agrees(folder: str, module: ModuleType, specification: Specification, cases: Cases) -> bool:
    """Whether an override computes what its specification computes. A race, or a fault in the emulator, is a no."""
    functions, device = [getattr(module, name) for name in specification.names], DEVICES[folder]
    try:
        with nullcontext() if folder == "cpu" else emulator.checked(), np.errstate(all="ignore"):
            if len(functions) == 1:
                return not update_cases.faults(specification.name, specification.functions[0],
                                               _in_place(specification, functions[0], device), device)
            return all(error(specification.name, functions, case, device) <= TOLERANCE
                       for case in cases.get(specification.name) or REGISTRY[specification.name].cases)
    except (emulator.KernelError, interpreted.RaceError):
        return False


def _in_place(specification: Specification, function: Callable[..., Any], device: str) -> Callable[..., None]:
    xp = backend.namespace(device)

    def update(*arrays: Any, **options: Any) -> None:
        if function(xp, *arrays, **options) is NotImplemented:
            specification.functions[0](xp, *arrays, **options)
    return update


def error(name: str, functions: Sequence[Callable[..., Any]], case: dict[str, Any], device: str) -> float:
    """The largest difference of an override's outputs and gradients, in float32, from the op's in float64."""
    arrays, options, given, needs, expected = _expected(name, tuple(case.items()))
    xp = backend.namespace(device)

    def there(values: Sequence[Any]) -> list[Any]:
        return [None if array is None else backend.to_device(array.copy(), device) for array in values]

    outputs, cache = functions[0](xp, *there(arrays), **options)
    results = [*as_tuple(outputs), *as_tuple(functions[1](xp, *there(given), cache=cache, needs=needs))]
    return max(difference(backend.to_host(a), b, 1e-2) for a, b in zip(results, expected, strict=True) if b is not None)


@cache
def _expected(name: str, case: tuple[tuple[str, Any], ...]) -> tuple[Any, ...]:
    """Inputs in float32, options, gradients of the outputs, needs; and what the specification makes of them."""
    op, rng = REGISTRY[name], np.random.default_rng(0)
    arrays, options = draw(op, dict(case), rng, "float32")
    wide = [array.astype("float64") if array is not None and array.dtype.kind == "f" else array for array in arrays]
    outputs, cache = op.forward(np, *wide, **options)
    given = [np.asarray(rng.standard_normal(np.shape(output)), "float32") for output in as_tuple(outputs)]
    needs = tuple(array is not None and array.dtype.kind == "f" for array in arrays)
    gradients = op.backward(np, *(array.astype("float64") for array in given), cache=cache, needs=needs)
    return arrays, options, given, needs, [*as_tuple(outputs), *as_tuple(gradients)]


def escapes(bug: Bug, cases: Cases) -> list[str]:
    """The overrides that come to the line of a bug, and still agree with their specifications."""
    found, specifications = list[str](), bug.specifications
    for stem in {specification.stem: None for specification in specifications}:
        with planted(bug.folder, stem, bug.file, bug.text) as module:
            found += [each.name for each in specifications
                      if each.stem == stem and agrees(bug.folder, module, each, cases)]
    return found
