"""The dropout layer. Its math is in ops/dropout.py."""

from tinynet import init, ops
from tinynet.errors import ArgumentError
from tinynet.nn.masks import real_steps
from tinynet.nn.module import Module
from tinynet.nn.parameter import Buffer
from tinynet.op import incremented
from tinynet.parts import part
from tinynet.plain import plain
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike


class Dropout(Module):
    """In training, set each element to 0 with probability p and divide the others by 1 - p; in evaluation, return x.

    A mask is a function of the seed (`tn.seed`), the path of the layer in the model, and the number of earlier calls in
    training (the buffer `calls`). The math: `tn.ops.dropout`.

    >>> import tinynet as tn
    >>> tn.nn.Dropout(0.5).eval()(tn.Tensor([1.0, 2.0])).numpy()
    array([1., 2.], dtype=float32)
    """

    def __init__(self, p: float) -> None:
        self.p = check_rate("Dropout", "p", p)
        self.calls = Buffer(init.zeros((), "int64"))

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        x = real_steps(x, mask)
        if not self.training or self.p == 0:
            return x
        y = ops.dropout(x, self.p, key=self.random_key(), counter=self.calls.data, first=part().first(x.size))
        incremented(self.calls.data)
        return y


def check_rate(layer: str, name: str, p: float) -> float:
    """The rate p as Python's number. ArgumentError unless 0 <= p < 1."""
    if isinstance(p, bool) or not isinstance(plain(p), float | int) or not 0 <= p < 1:
        raise ArgumentError(f"{layer}: {name} must be in [0, 1), the share that is dropped, got {p!r}; 0.5 drops half")
    rate: float = plain(p)
    return rate
