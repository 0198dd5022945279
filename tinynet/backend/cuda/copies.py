"""Copies of many arrays in one launch, by the kernel of copies.cu: gradients into an optimizer's flat array."""

import itertools
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

from tinynet.backend.cuda.runtime.launch import Kernels, one_each

_AT_ONCE = 16  # arrays in a launch: the fields of `Copies` in copies.cu

_cuda = Kernels("copies")


def copy(targets: Sequence[Any], sources: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Copy arrays, and return those that the kernel cannot copy: not float32, or with gaps."""
    pairs = list(zip(targets, sources, strict=True))
    dense = [pair for pair in pairs if pair[0].size and all(array.dtype == "float32" and array.flags.c_contiguous
                                                            for array in pair)]
    for some in (dense[at : at + _AT_ONCE] for at in range(0, len(dense), _AT_ONCE)):
        ends = list(itertools.accumulate(target.size for target, _ in some))
        fields = {f"from{i}": 0 for i in range(_AT_ONCE)} | {f"to{i}": 0 for i in range(_AT_ONCE)}
        fields |= {f"end{i}": ends[-1] for i in range(_AT_ONCE)} | {f"end{i}": end for i, end in enumerate(ends)}
        for i, (target, source) in enumerate(some):
            fields |= {f"from{i}": source.data.ptr, f"to{i}": target.data.ptr}
        _cuda.launch("copies", one_each(ends[-1]), some[0][1], SimpleNamespace(**fields), ends[-1])
    copied = {id(target) for target, _ in dense}
    rest = [pair for pair in pairs if id(pair[0]) not in copied]
    return [target for target, _ in rest], [source for _, source in rest]
