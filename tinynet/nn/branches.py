"""Branches: a path around a module, and several modules on one input."""

from collections.abc import Callable, Sequence
from functools import reduce

from tinynet import ops
from tinynet.errors import ArgumentError, ShapeError
from tinynet.nn.masks import both, masked_call, real_steps
from tinynet.nn.module import Module, checked
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike

MERGE: dict[str, Callable[[Sequence[Tensor]], Tensor]] = {
    "concat": lambda parts: ops.concatenate(parts, axis=-1), "sum": lambda parts: reduce(ops.add, parts),
    "mul": lambda parts: reduce(ops.multiply, parts), "ave": lambda parts: reduce(ops.add, parts) / float(len(parts))}


def check_merge(layer: str, merge_mode: str) -> None:
    """ArgumentError for an unknown mode."""
    if merge_mode not in [*MERGE]:  # a list, too, which has no hash
        raise ArgumentError(f"{layer}: merge_mode must be one of {', '.join(MERGE)}, got {merge_mode!r}; "
                            'merge_mode="concat"?')


def merged(layer: str, parts: Sequence[Tensor], merge_mode: str) -> Tensor:
    """Tensors side by side on the last axis, or their sum, product or mean. Errors: ShapeError for unequal shapes."""
    if len({part.shape[:-1] if merge_mode == "concat" else part.shape for part in parts}) > 1:
        raise ShapeError(f"{layer}: parts must have equal shapes{', but for the last axis' * (merge_mode == 'concat')}"
                         f", got {' and '.join(str(part.shape) for part in parts)}; padding=\"same\", or other sizes?")
    return MERGE[merge_mode](parts)


class Parallel(Module):
    """Several modules on the same input, and their outputs merged, real where all of them are real.

    merge_mode   "concat" puts them side by side on the last axis; "sum", "mul" and "ave" add, multiply and average them

    >>> import tinynet as tn
    >>> tn.nn.Parallel([tn.nn.Dense(3, 2), tn.nn.Dense(3, 4)])(tn.Tensor([[1.0, 2.0, 3.0]])).shape
    (1, 6)
    """

    def __init__(self, branches: Sequence[Module], merge_mode: str = "concat") -> None:
        check_merge("Parallel", merge_mode)
        if not isinstance(branches, list | tuple) or not branches:
            raise ArgumentError(f"Parallel: branches must be a list of layers, got {branches!r}; Parallel([a, b])?")
        self.branches = [checked("Parallel", f"branch {i}", branch) for i, branch in enumerate(branches)]
        self.merge_mode = merge_mode

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        return merged("Parallel", [masked_call(branch, x, mask) for branch in self.branches], self.merge_mode)

    def output_mask(self, mask: Tensor) -> Tensor | None:
        return reduce(both, [branch.output_mask(mask) for branch in self.branches])


class Residual(Module):
    """x + module(x): a path around a module whose output has the shape of its input.

    Source: He, Zhang, Ren, Sun 2016.

    >>> import tinynet as tn
    >>> block = tn.nn.Residual(tn.nn.Sequential(tn.nn.Dense(3, 8), tn.nn.ReLU(), tn.nn.Dense(8, 3)))
    >>> block(tn.Tensor([[1.0, 2.0, 3.0]])).shape
    (1, 3)
    """

    def __init__(self, module: Module) -> None:
        self.module = checked("Residual", "module", module)

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        return merged("Residual", [real_steps(x, mask), masked_call(self.module, x, mask)], "sum")

    def output_mask(self, mask: Tensor) -> Tensor | None:
        return self.module.output_mask(mask)
