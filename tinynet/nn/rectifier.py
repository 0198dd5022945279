"""Relatives of the rectifier as layers. Their math is in ops/rectifier.py."""

from tinynet import ops
from tinynet.nn.masks import real_steps
from tinynet.nn.module import Module
from tinynet.plain import number
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike


class LeakyReLU(Module):
    """x where it is positive, else `negative_slope` times x. The math: `tn.ops.leaky_relu`.

    >>> import tinynet as tn
    >>> tn.nn.LeakyReLU(0.1)(tn.Tensor([-1.0, 2.0])).numpy()
    array([-0.1,  2. ], dtype=float32)
    """

    def __init__(self, negative_slope: float = 0.01) -> None:
        self.negative_slope = number("LeakyReLU", "negative_slope", negative_slope, 0, usual="0.01")

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        return ops.leaky_relu(real_steps(x, mask), negative_slope=self.negative_slope)


class ELU(Module):
    """x where it is positive, else alpha (exp(x) - 1). The math: `tn.ops.elu`.

    >>> import tinynet as tn
    >>> tn.nn.ELU()(tn.Tensor([-1.0, 2.0])).numpy().round(3)
    array([-0.632,  2.   ], dtype=float32)
    """

    def __init__(self, alpha: float = 1.0) -> None:
        self.alpha = number("ELU", "alpha", alpha, 0, usual="1.0")

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        return ops.elu(real_steps(x, mask), alpha=self.alpha)


class GELU(Module):
    """x times the normal distribution function of x, not its approximation by tanh. The math: `tn.ops.gelu`.

    >>> import tinynet as tn
    >>> tn.nn.GELU()(tn.Tensor([-1.0, 2.0])).numpy().round(3)
    array([-0.159,  1.954], dtype=float32)
    """

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        return ops.gelu(real_steps(x, mask))


class SiLU(Module):
    """x times the logistic function of x, also called swish. The math: `tn.ops.silu`.

    >>> import tinynet as tn
    >>> tn.nn.SiLU()(tn.Tensor([-1.0, 2.0])).numpy().round(3)
    array([-0.269,  1.762], dtype=float32)
    """

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        return ops.silu(real_steps(x, mask))
