"""Activations as layers. Their math is in ops/activation.py."""

from tinynet import ops
from tinynet.nn.module import Module
from tinynet.tensor import Tensor


class ReLU(Module):
    """max(x, 0), elementwise. The math: `tn.ops.relu`.

    >>> import tinynet as tn
    >>> tn.nn.ReLU()(tn.Tensor([-1.0, 2.0])).numpy()
    array([0., 2.], dtype=float32)
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.relu(x)


class Sigmoid(Module):
    """1 / (1 + exp(-x)), elementwise. The math: `tn.ops.sigmoid`.

    >>> import tinynet as tn
    >>> tn.nn.Sigmoid()(tn.Tensor([0.0])).numpy()
    array([0.5], dtype=float32)
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.sigmoid(x)


class Tanh(Module):
    """The hyperbolic tangent, elementwise. The math: `tn.ops.tanh`.

    >>> import tinynet as tn
    >>> tn.nn.Tanh()(tn.Tensor([0.0])).numpy()
    array([0.], dtype=float32)
    """

    def forward(self, x: Tensor) -> Tensor:
        return ops.tanh(x)


class Softmax(Module):
    """Probabilities along an axis. The math: `tn.ops.softmax`.

    `tn.ops.cross_entropy` includes it: a classifier trained with that loss ends in a Dense layer instead.

    >>> import tinynet as tn
    >>> tn.nn.Softmax()(tn.Tensor([1.0, 1.0])).numpy()
    array([0.5, 0.5], dtype=float32)
    """

    def __init__(self, axis: int = -1) -> None:
        self.axis = axis

    def forward(self, x: Tensor) -> Tensor:
        return ops.softmax(x, axis=self.axis)
