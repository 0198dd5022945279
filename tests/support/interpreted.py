"""The overrides of the CPU as plain Python, in a moment and without compiling: for bugs planted into single lines.

A kernel of Numba's is a Python function too. What it calls and Python has not (the product of machine code, views
without a check, launches) is here in NumPy. Compiled kernels are tested by `test_cpu_kernels.py`.
"""

import re
from collections.abc import Mapping
from pathlib import Path
from types import FunctionType, ModuleType
from typing import Any

import numpy as np
from numba.core.dispatcher import Dispatcher

from tinynet.backend.cpu.runtime import packing
from tinynet.backend.cpu.runtime.gemm import PANEL

SHARDS = 2  # of a launch: enough for the lines that share the work out to be taken


class RaceError(Exception):
    pass


def launch(kernel: Any, *arguments: Any, shards: int | None = None) -> None:
    """Run the shards one after the other, and check that no two of them change the same element."""
    arrays = [argument for argument in arguments if isinstance(argument, np.ndarray)]
    changed = [np.zeros(array.nbytes, bool) for array in arrays]
    for shard in range(count := SHARDS if shards is None else shards):
        before = list(map(_bytes, arrays))
        kernel(shard, count, *arguments)
        for array, old, already in zip(arrays, before, changed, strict=True):
            now = _bytes(array) != old
            if (now & already).any():
                raise RaceError("two shards change the same element: with threads, one change may be lost")
            already |= now


def _bytes(array: np.ndarray) -> np.ndarray:
    return np.frombuffer(array.tobytes(), np.uint8)


def launch_in_turns(kernel: Any, turns: int, *arguments: Any, shards: int | None = None) -> None:
    for turn in range(turns):
        for shard in range(count := SHARDS if shards is None else shards):
            kernel(shard, count, turn, *arguments)


def view(x: Any, start: int, length: int) -> Any:
    assert x.flags.c_contiguous
    start, length = int(start), int(length)
    assert 0 <= start <= start + length <= x.size or length <= 0, f"[{start}, {start + length}) of {x.size} elements"
    return x.reshape(-1)[start : start + length]


def product(sizes: Any, A: Any, a: Any, B: Any, b: Any, C: Any, c: Any, accumulate: Any) -> None:
    M, N, K, blocks = (*sizes, 1)[:4]
    (a0, a_row, a_k, a_block), (b0, b_k, b_panel, b_block) = (*a, 0)[:4], (*b, 0)[:4]
    c0, c_row, c_panel = (*c, PANEL)[:3]
    i, p, k, j = np.arange(M), np.arange(blocks)[:, None], np.arange(K), np.arange(N)
    left = A.reshape(-1)[a0 + i[:, None] * a_row + (p * a_block + k * a_k).reshape(-1)]
    right = B.reshape(-1)[b0 + (p * b_block + k * b_k).reshape(-1, 1) + j // PANEL * b_panel + j % PANEL]
    at = c0 + i[:, None] * c_row + j // PANEL * c_panel + j % PANEL
    assert C.flags.c_contiguous
    C.reshape(-1)[at] = left @ right + (C.reshape(-1)[at] if accumulate else np.float32(0))


def add_products(sizes: Any, A: Any, a: Any, B: Any, b: Any, D: Any, d: Any, C: Any, c: Any) -> None:
    m, n, i, j = map(np.arange, sizes)

    def places(start: int, *strides: int) -> Any:
        return start + m[:, None, None, None] * strides[0] + i[:, None, None] * strides[1] + j[:, None] * strides[2] + n

    total = (A.reshape(-1)[places(*a)] * B.reshape(-1)[places(b[0], 0, *b[1:])]).sum(axis=(1, 2))
    sums, begin = (start + m[:, None] * stride + n for start, stride in (c, d))
    C.reshape(-1)[sums] = D.reshape(-1)[begin] + total


def pack(sizes: Any, B: Any, b: Any, panels: Any, p: Any) -> None:
    (K, N), (b0, b_k, b_j), (p0, p_panel) = sizes, b, p
    k, j = np.arange(K)[:, None], np.arange(-(-N // PANEL) * PANEL)
    matrix = B.reshape(-1)[np.where(j < N, b0 + k * b_k + j * b_j, 0)] if K and N else np.zeros((K, len(j)), "float32")
    panels.reshape(-1)[p0 + j // PANEL * p_panel + k * PANEL + j % PANEL] = np.where(j < N, matrix, np.float32(0))


def logistic(z: Any) -> Any:
    return type(z)(1 / (1 + np.exp(-np.float64(z))))


def tanh(x: Any) -> Any:
    return type(x)(np.tanh(np.float64(x)))


def empty(shape: Any, dtype: Any = np.float32) -> Any:
    """With what spoils every result that it gets into."""
    return np.full(shape, np.nan if np.dtype(dtype).kind == "f" else 1, dtype)


OWN = {"launch": launch, "launch_in_turns": launch_in_turns, "view": view, "product": product, "pack": pack,
       "add_products": add_products, "total": np.sum, "dot": np.dot,
       "logistic": logistic, "tanh": tanh, "empty": empty, "threads": lambda: SHARDS,
       "shards_for": lambda *given: SHARDS}


def module(path: Path, texts: Mapping[str, str] | None = None) -> ModuleType:
    """A file of the backend as Python runs it, and the files beside it from which it takes functions.

    `texts` holds, by file name, the texts that take the place of the files' own.
    """
    texts = texts or {}
    made = ModuleType(f"interpreted.{path.stem}")
    made.__file__ = str(path)
    exec(compile(texts.get(path.name) or path.read_text(encoding="utf-8"), str(path), "exec"), vars(made))
    for name, value in list(vars(made).items()):
        function = value.py_func if isinstance(value, Dispatcher) else value
        home = str(getattr(function, "__module__", ""))
        if name in OWN:
            setattr(made, name, OWN[name])
        elif isinstance(function, FunctionType) and re.fullmatch(r"tinynet\.backend\.cpu\.\w+", home):
            file = path.with_name(f"{home.rpartition('.')[2]}.py")
            setattr(made, name, getattr(module(file, texts), function.__name__))
        elif isinstance(value, Dispatcher):
            setattr(made, name, function)
    return made


_packing = module(Path(packing.__file__))
OWN.update(packed=_packing.packed, summed=_packing.summed, shards_of_rows=_packing.shards_of_rows)
