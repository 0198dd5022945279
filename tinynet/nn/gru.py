"""The GRU layer. Its math, equations (1) to (15), is in ops/gru.py."""

from tinynet import init, ops
from tinynet.nn.parameter import Parameter
from tinynet.nn.recurrent import Recurrent, weights
from tinynet.plain import sizes
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike


class GRU(Recurrent):
    """Gated recurrent unit over a sequence, with the reset gate behind the product. The math: `tn.ops.gru`.

    Shapes: x (N, T, inputs) -> y (N, T, units), or h (N, units) if `return_sequences` is False. With `return_state`
    the result is (y or h, h). `layer(x, h0)` starts from a given state; `mask` and `go_backwards` are as for the LSTM.

    Parameters: W (units + inputs, 3 units), rows [h, x], column blocks r, z, n. In each block the rows of h are
    orthogonal and those of x Glorot uniform. Two biases (3 units), zeros: b beside x W, and b_h beside h W.

    >>> import tinynet as tn
    >>> tn.nn.GRU(2, 5)(tn.Tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])).shape
    (1, 3, 5)
    """

    def __init__(self, inputs: int, units: int, *, return_sequences: bool = True, return_state: bool = False,
                 go_backwards: bool = False, bias: bool = True) -> None:
        inputs, units = sizes("GRU", inputs=inputs, units=units)
        self.inputs, self.units, self.bias = inputs, units, bias
        self.return_sequences, self.return_state, self.go_backwards = return_sequences, return_state, go_backwards
        self.W = Parameter(weights(inputs, units, 3))  # (H+D,3H)
        self.b, self.b_h = (Parameter(init.zeros((3 * units,))) if bias else None for _ in range(2))

    def forward(self, x: Tensor, h0: Tensor | None = None,
                mask: ArrayLike | None = None) -> Tensor | tuple[Tensor, Tensor]:
        x, real = self.read(x, mask)
        return self.result(*ops.gru(x, h0, self.W, self.b, self.b_h, mask=real))
