"""Bugs planted into single lines of overrides, and the comparison with the specification that has to find them.

The overrides of the CPU run as plain Python (`interpreted.py`), those of a GPU in the emulator. Cases are those of
`op_cases.py`; for an update in place, a case is the function that makes its arrays and options.
"""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, nullcontext
from functools import cache
from types import ModuleType
from typing import Any, NamedTuple
from unittest import mock

import numpy as np

from tests.support import interpreted, overrides
from tests.support.op_cases import as_tuple, difference, draw
from tests.support.overrides import BACKEND, Specification, claims, reached, read
from tinynet import backend
from tinynet.backend import cuda
from tinynet.backend.cuda.runtime import emulator
from tinynet.backend.cuda.runtime.launch import Kernels
from tinynet.errors import TinynetError
from tinynet.op import REGISTRY

TOLERANCE = 1e-5
DEVICES = {"cpu": "cpu", "cuda": "gpu-emulated"}  # the folder of the overrides, the device
Case = dict[str, Any] | Callable[[np.random.Generator], tuple[list[Any], dict[str, Any]]]
SPECIFICATIONS = overrides.specifications()


class Bug(NamedTuple):
    """`old` becomes `new` on the only line of a file that claims `number` and has `old`."""

    file: str  # with its folder: "cpu/lstm.py"
    number: int
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.file} ({self.number}): {self.new}"

    @property
    def line(self) -> int:
        """The line that it is planted into."""
        folder, _, name = self.file.partition("/")
        text = read(folder)[name]
        lines = text.split("\n")
        found = [line for line, numbers in claims(name, text).items()
                 if self.number in numbers and self.old in lines[line - 1]]
        assert len(found) == 1, f"{self.file}: {self.old!r} is on lines {found} of those that claim ({self.number})"
        return found[0]

    @property
    def text(self) -> str:
        """The file with the bug in it."""
        folder, _, name = self.file.partition("/")
        lines = read(folder)[name].split("\n")
        lines[self.line - 1] = lines[self.line - 1].replace(self.old, self.new, 1)
        return "\n".join(lines)

    @property
    def specifications(self) -> list[Specification]:
        """Those whose override takes the line."""
        folder, _, name = self.file.partition("/")
        return [each for each in SPECIFICATIONS.values()
                if any(part.file == name and part.first <= self.line <= part.last
                       for part in reached(read(folder), each))]


# --- planting -------------------------------------------------------------------------------------------------------

@contextmanager
def planted(folder: str, stem: str, name: str = "", text: str = "") -> Iterator[ModuleType]:
    """The overrides of `stem`.py, while the file of this name in their folder has this text."""
    if folder == "cpu":
        yield interpreted.module(BACKEND / folder / f"{stem}.py", text)
        return
    modules = {part: sys.modules[f"tinynet.backend.cuda.{part}"] for part in _stems(stem)}
    with mock.patch.dict(sys.modules), mock.patch.dict(vars(cuda)):
        if name.endswith(".py"):
            changed = name.removesuffix(".py")
            for part in [changed, *([stem] if stem != changed else [])]:
                modules[part] = _executed(part, text if part == changed else read(folder)[f"{part}.py"])
        elif name:
            for part in modules:
                modules[part] = _executed(part, read(folder)[f"{part}.py"])
            for module in modules.values():
                for value in vars(module).values():
                    if isinstance(value, Kernels):
                        vars(value)["source"] = value.source.replace(read(folder)[name], text)
        yield modules[stem]


def _stems(stem: str) -> list[str]:
    """The modules of kernels that an override uses, itself last."""
    names = [name.removesuffix(".py") for name in overrides.visible(read("cuda"), stem) if name.endswith(".py")]
    for name in names:
        __import__(f"tinynet.backend.cuda.{name}")
    return names[::-1]


def _executed(stem: str, text: str) -> ModuleType:
    """A module of the GPU's overrides with this text. Those that are executed after it import it."""
    name = f"tinynet.backend.cuda.{stem}"
    made = ModuleType(name)
    made.__file__, made.__package__ = str(BACKEND / "cuda" / f"{stem}.py"), "tinynet.backend.cuda"
    sys.modules[name] = vars(cuda)[stem] = made
    exec(compile(text, made.__file__, "exec"), vars(made))
    return made


# --- comparing ------------------------------------------------------------------------------------------------------

def error(folder: str, specification: Specification, functions: Sequence[Callable[..., Any]], case: Case) -> float:
    """The largest difference between what the functions of an override compute and the specification, in one case.

    Infinite if they refuse the case, or raise what NumPy, the interpreter or the emulator raises for a wrong index.
    """
    arrays, options, given, needs, expected = _expected(specification, case)
    device = DEVICES[folder]
    xp = backend.namespace(device)
    there = [None if array is None else backend.to_device(array.copy(), device) for array in arrays]
    checked = nullcontext() if folder == "cpu" else emulator.checked()
    try:
        with checked, np.errstate(all="ignore"):
            result = functions[0](xp, *there, **options)
            if result is NotImplemented:
                return np.inf
            if len(functions) == 1:
                results = there
            else:
                doutputs = [backend.to_device(array, device) for array in given]
                gradients = functions[1](xp, *doutputs, cache=result[1], needs=needs)
                results = [*as_tuple(result[0]), *as_tuple(gradients)]
            found = [None if array is None else backend.to_host(array) for array in results]
    except (TinynetError, ArithmeticError, AssertionError, IndexError, TypeError, ValueError):
        return np.inf
    return max(difference(a, b, 1e-2) for a, b in zip(found, expected, strict=True) if b is not None)


def _expected(specification: Specification, case: Case) -> tuple[list[Any], dict[str, Any], list[Any], Any, list[Any]]:
    """Inputs in float32, options, gradients of the outputs, needs, and what the specification makes of them.

    An op is specified in float64, an update in place in the dtypes of its arrays.
    """
    return _computed(specification.name, case if callable(case) else tuple(sorted(case.items(), key=str)))


@cache
def _computed(name: str, case: Any) -> Any:
    specification, rng = SPECIFICATIONS[name], np.random.default_rng(0)
    if len(specification.functions) == 1:
        arrays, options = case(rng)
        changed = [array.copy() for array in arrays]
        specification.functions[0](np, *changed, **options)
        return arrays, options, [], (), changed
    arrays, options = draw(REGISTRY[name], dict(case), rng, "float32")
    wide = [array.astype("float64") if array is not None and array.dtype.kind == "f" else array for array in arrays]
    outputs, cache = specification.functions[0](np, *wide, **options)
    given = [np.asarray(rng.standard_normal(np.shape(output)), "float32") for output in as_tuple(outputs)]
    needs = tuple(array is not None and array.dtype.kind == "f" for array in arrays)
    gradients = specification.functions[1](np, *(array.astype("float64") for array in given), cache=cache, needs=needs)
    return arrays, options, given, needs, [*as_tuple(outputs), *as_tuple(gradients)]


def agrees(folder: str, module: ModuleType, specification: Specification, cases: Sequence[Case]) -> bool:
    """Whether an override computes what its specification computes, in all cases."""
    functions = [getattr(module, name) for name in specification.names]
    return all(error(folder, specification, functions, case) <= TOLERANCE for case in cases)


def is_found(bug: Bug, cases: dict[str, Sequence[Case]]) -> bool:
    """Whether some override that takes the line of a bug disagrees with its specification now."""
    folder, _, name = bug.file.partition("/")
    for specification in bug.specifications:
        with planted(folder, specification.stem, name, bug.text) as module:
            if not agrees(folder, module, specification, cases[specification.name]):
                return True
    return False
