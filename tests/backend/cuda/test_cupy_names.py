"""Every name of CuPy in our code, and every keyword, exists in the CuPy that is installed. This needs no GPU."""

import ast
import importlib.util
import inspect
import re
from collections.abc import Iterator
from functools import reduce
from pathlib import Path
from typing import Any

import pytest

import tinynet
from tinynet.backend.cuda.runtime import fake_cupy

pytestmark = [pytest.mark.cupy, pytest.mark.skipif(importlib.util.find_spec("cupy") is None, reason="no CuPy")]

FOLDER = Path(tinynet.__file__).parent
# Modules and folders with NumPy's arrays alone.
ON_THE_HOST = ("backend/cpu/", "data/digits/", "data/images/", "gradcheck.py", "intervals.py", "learn/", "saving/")
UFUNC = {"out", "dtype", "casting"}  # keywords of all of CuPy's ufuncs
ROOTS = {"xp": (), "cupy": (), "runtime": ("cuda", "runtime")}  # names that our code gives to modules of CuPy

Chain = tuple[str, ...]


def chain(node: ast.AST) -> Chain | None:
    """The attribute of CuPy that an expression names: ("cuda", "Stream") for self.cupy.cuda.Stream."""
    if isinstance(node, ast.Name):
        return ROOTS.get(node.id)
    if not isinstance(node, ast.Attribute):
        return None
    if node.attr == "cupy":
        return ()
    before = chain(node.value)
    return None if before is None else (*before, node.attr)


def nodes() -> Iterator[ast.AST]:
    for path in FOLDER.rglob("*.py"):
        inside = path.relative_to(FOLDER).as_posix()
        if not inside.startswith(ON_THE_HOST) and not path.name.startswith("fake_"):
            found = list(ast.walk(ast.parse(path.read_text(encoding="utf-8"))))
            for node in found:
                if isinstance(node, ast.Name) and node.id == "runtime" and not inside.startswith("backend/cuda/"):
                    node.id = "another_runtime"
            yield from found


def found(module: Any, names: Chain) -> Any:
    return reduce(getattr, names, module)


def missing(module: Any, names: Chain) -> bool:
    try:
        found(module, names)
    except ImportError:  # a library of CUDA that is not installed: the name is there
        return False
    except AttributeError:
        return True
    return False


def takes(function: Any, keyword: str) -> bool:
    """Whether a function has a keyword. Compiled ones have no signature, but the first line of their documentation."""
    if type(function).__name__ == "ufunc":
        return keyword in UFUNC
    try:
        parameters = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return keyword in (inspect.getdoc(function) or "").split("\n\n")[0]
    names_others = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    described = re.search(rf"^\s*{keyword} ?\(", inspect.getdoc(function) or "", re.M)
    return keyword in parameters or bool(names_others and described)


def test_names_of_modules() -> None:
    import cupy
    used = {names for node in nodes() if isinstance(node, ast.Attribute) and (names := chain(node))}
    assert ("cuda", "runtime", "deviceGetAttribute") in used and ("cuda", "Stream") in used and len(used) > 60
    assert not [".".join(names) for names in sorted(used) if missing(cupy, names)]


def test_names_of_arrays_and_in_the_lists_of_the_emulated_gpu() -> None:
    import cupy
    methods = [*fake_cupy.METHODS, *(f"__{name}__" for name in fake_cupy.OPERATORS + fake_cupy.IN_PLACE),
               *(name for name in vars(fake_cupy.DeviceArray) if name[0] != "_" and name not in ("compute", "change",
                                                                                                 "place"))]
    assert not [name for name in methods if not hasattr(cupy.ndarray, name)]
    assert not [name for name in sorted(fake_cupy.FUNCTIONS | fake_cupy.SHARED) if not hasattr(cupy, name)]


def test_keywords() -> None:
    import cupy
    calls = [node for node in nodes() if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    wrong, checked = [], 0
    for call in calls:
        names = chain(call.func)
        if names:
            function, title = found(cupy, names) if not missing(cupy, names) else None, ".".join(names)
        elif call.func.attr in fake_cupy.METHODS:  # type: ignore[attr-defined]
            function, title = getattr(cupy.ndarray, call.func.attr), f"ndarray.{call.func.attr}"  # type: ignore[attr-defined]
        else:
            continue
        for keyword in call.keywords:
            checked += 1
            if keyword.arg and not takes(function, keyword.arg):
                wrong.append(f"{title}({keyword.arg}=)")
    assert checked > 30
    assert not sorted(set(wrong))


def test_a_wrong_name_and_a_wrong_keyword_are_found() -> None:
    import cupy
    assert missing(cupy, ("cuda", "runtime", "cudaDevAttrComputeCapabilityMajor"))
    assert not takes(cupy.pad, "values") and takes(cupy.pad, "constant_values") and takes(cupy.ndarray.sum, "keepdims")
    assert not takes(cupy.exp, "where")
