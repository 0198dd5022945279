"""The layer normalisation layer. Its math is in ops/layernorm.py."""

from tinynet import init, ops
from tinynet.nn.masks import real_steps
from tinynet.nn.module import Module
from tinynet.nn.parameter import Parameter
from tinynet.plain import number, sizes
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike


class LayerNorm(Module):
    """Layer normalisation of the last axis, each position on its own. The math: `tn.ops.layer_norm`.

    Shapes: x (..., features) -> the same. Parameters: gamma, beta (features). Errors: ArgumentError unless eps >= 0.

    >>> import tinynet as tn
    >>> tn.nn.LayerNorm(2)(tn.Tensor([[1.0, 3.0]])).numpy().round(3)
    array([[-1.,  1.]], dtype=float32)
    """

    def __init__(self, features: int, *, eps: float = 1e-5) -> None:
        features, = sizes("LayerNorm", features=features)
        self.features, self.eps = features, number("LayerNorm", "eps", eps, 0, usual="1e-5")
        self.gamma, self.beta = Parameter(init.ones((features,))), Parameter(init.zeros((features,)))

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        return ops.layer_norm(real_steps(x, mask), self.gamma, self.beta, eps=self.eps)
