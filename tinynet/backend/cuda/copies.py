"""Copies of many arrays in one launch, by the kernel of copies.cu: gradients into an optimizer's flat array."""

import itertools
from collections.abc import Sequence
from typing import Any, NamedTuple

from tinynet.backend.cuda.runtime.launch import Kernels, one_each

_AT_ONCE = 16  # arrays in a launch: the lengths in struct Copies of copies.cu

_cuda = Kernels("copies")


class _Copies(NamedTuple):
    """struct Copies of copies.cu."""

    sources: tuple[int, ...]
    targets: tuple[int, ...]
    ends: tuple[int, ...]


def copy(targets: Sequence[Any], sources: Sequence[Any]) -> tuple[list[Any], list[Any]]:
    """Copy arrays, and return those that the kernel cannot copy: not float32, or with gaps."""
    pairs = list(zip(targets, sources, strict=True))
    dense = [(target, source) for target, source in pairs if source.size and source.flags.c_contiguous
             and source.dtype.char == target.dtype.char == "f" and target.flags.c_contiguous]
    for some in (dense[at : at + _AT_ONCE] for at in range(0, len(dense), _AT_ONCE)):
        ends = list(itertools.accumulate(target.size for target, _ in some))
        rest = [0] * (_AT_ONCE - len(some))
        copies = _Copies(tuple([source.data.ptr for _, source in some] + rest),
                         tuple([target.data.ptr for target, _ in some] + rest), tuple(ends + rest))
        _cuda.launch("copies", one_each(ends[-1]), some[0][1], copies, ends[-1])
    copied = {id(target) for target, _ in dense}
    left = [pair for pair in pairs if id(pair[0]) not in copied]
    return [target for target, _ in left], [source for _, source in left]
