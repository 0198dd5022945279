"""The GRU layer. Its math, equations (1) to (15), is in ops/gru.py."""

from tinynet import init, ops
from tinynet.nn.masks import as_mask
from tinynet.nn.module import Module
from tinynet.nn.parameter import Parameter
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike

GATES = 3  # r, z, n: column blocks of W, b and b_h


class GRU(Module):
    """Gated recurrent unit over a sequence, with the reset gate behind the product. The math: `tn.ops.gru`.

    Shapes: x (N, T, inputs) -> y (N, T, units), or h (N, units) if `return_sequences` is False. With `return_state`
    the result is (y or h, h), with the last state h (N, units). `layer(x, h0)` starts from the given state instead of
    zeros. `layer(x, mask=mask)` passes over masked steps: the state stays, and y is 0.

    go_backwards   read the sequence from its end; the output is in the order of reading

    Parameters: W (units + inputs, 3 units), rows [h, x], column blocks r, z, n. In each block the rows of h are
    orthogonal and those of x Glorot uniform. Two biases (3 units), zeros: b beside x W, and b_h beside h W.

    >>> import tinynet as tn
    >>> tn.nn.GRU(2, 5)(tn.Tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])).shape
    (1, 3, 5)
    """

    def __init__(self, inputs: int, units: int, *, return_sequences: bool = True, return_state: bool = False,
                 go_backwards: bool = False, bias: bool = True) -> None:
        self.inputs, self.units, self.bias = inputs, units, bias
        self.return_sequences, self.return_state, self.go_backwards = return_sequences, return_state, go_backwards
        gates = [ops.concatenate([init.orthogonal((units, units)), init.glorot_uniform((inputs, units))])
                 for _ in range(GATES)]
        self.W = Parameter(ops.concatenate(gates, axis=1))  # (H+D,3H)
        self.b, self.b_h = (Parameter(init.zeros((GATES * units,))) if bias else None for _ in range(2))

    def forward(self, x: Tensor, h0: Tensor | None = None,
                mask: ArrayLike | None = None) -> Tensor | tuple[Tensor, Tensor]:
        real = None if mask is None else as_mask(mask, x)
        if self.go_backwards:
            x, real = ops.flip(x, 1), None if real is None else ops.flip(real, 1)
        y, h = ops.gru(x, h0, self.W, self.b, self.b_h, mask=real)
        output = y if self.return_sequences else h
        return (output, h) if self.return_state else output

    def output_mask(self, mask: Tensor) -> Tensor | None:
        if not self.return_sequences:
            return None
        return ops.flip(mask, 1) if self.go_backwards else mask
