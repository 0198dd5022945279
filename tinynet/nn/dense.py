"""The dense layer. Its math is in ops/dense.py."""

from tinynet import init, ops
from tinynet.nn.masks import real_steps
from tinynet.nn.module import Module
from tinynet.nn.parameter import Parameter
from tinynet.plain import sizes
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike


class Dense(Module):
    """A fully connected layer on the last axis: x W + b.

    Shapes: x (..., inputs) -> (..., units). Parameters: W (inputs, units), Glorot uniform; b (units), zeros.
    The math: `tn.ops.dense`.

    >>> import tinynet as tn
    >>> tn.nn.Dense(3, 2)(tn.Tensor([[1.0, 2.0, 3.0]])).shape
    (1, 2)
    """

    def __init__(self, inputs: int, units: int, *, bias: bool = True) -> None:
        inputs, units = sizes("Dense", inputs=inputs, units=units)
        self.inputs, self.units, self.bias = inputs, units, bias
        self.W = Parameter(init.glorot_uniform((inputs, units)))
        self.b = Parameter(init.zeros((units,))) if bias else None

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        return ops.dense(real_steps(x, mask), self.W, self.b)
