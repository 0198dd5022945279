"""Activations as layers. Their math is in ops/activation.py."""

from tinynet import ops
from tinynet.nn.masks import as_tensor, real_steps
from tinynet.nn.module import Module
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike


class ReLU(Module):
    """max(x, 0), elementwise. The math: `tn.ops.relu`.

    >>> import tinynet as tn
    >>> tn.nn.ReLU()(tn.Tensor([-1.0, 2.0])).numpy()
    array([0., 2.], dtype=float32)
    """

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        return ops.relu(real_steps(x, mask))


class Sigmoid(Module):
    """1 / (1 + exp(-x)), elementwise. The math: `tn.ops.sigmoid`.

    >>> import tinynet as tn
    >>> tn.nn.Sigmoid()(tn.Tensor([0.0])).numpy()
    array([0.5], dtype=float32)
    """

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        return ops.sigmoid(real_steps(x, mask))


class Tanh(Module):
    """The hyperbolic tangent, elementwise. The math: `tn.ops.tanh`.

    >>> import tinynet as tn
    >>> tn.nn.Tanh()(tn.Tensor([0.0])).numpy()
    array([0.], dtype=float32)
    """

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        return ops.tanh(real_steps(x, mask))


class Softmax(Module):
    """Probabilities along an axis. The math: `tn.ops.softmax`.

    With a mask, the probabilities along axis 1 are those of the real steps, and 0 at the others.
    `tn.ops.cross_entropy` includes it: a classifier trained with that loss ends in a Dense layer instead.

    >>> import tinynet as tn
    >>> tn.nn.Softmax()(tn.Tensor([1.0, 1.0])).numpy()
    array([0.5, 0.5], dtype=float32)
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        x = as_tensor(x)
        if mask is None or self.axis % x.ndim != 1:
            return ops.softmax(real_steps(x, mask), axis=self.axis)
        return real_steps(ops.softmax(real_steps(x, mask, -1e30), axis=self.axis), mask)  # -inf alone gives NaN
