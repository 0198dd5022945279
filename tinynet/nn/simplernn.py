"""The simplest recurrent layer. Its math, equations (1) to (10), is in ops/simplernn.py."""

from tinynet import init, ops
from tinynet.nn.parameter import Parameter
from tinynet.nn.recurrent import Recurrent, weights
from tinynet.plain import sizes
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike


class SimpleRNN(Recurrent):
    """A recurrent layer without gates, to learn why gradients vanish. The math: `tn.ops.simple_rnn`.

    Shapes: x (N, T, inputs) -> y (N, T, units), or h (N, units) if `return_sequences` is False. With `return_state`
    the result is (y or h, h). `layer(x, h0)` starts from a given state; `mask` and `go_backwards` are as for the LSTM.

    Parameters: W (units + inputs, units), rows [h, x], those of h orthogonal and those of x Glorot uniform; b (units),
    zeros.

    >>> import tinynet as tn
    >>> tn.nn.SimpleRNN(2, 5)(tn.Tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])).shape
    (1, 3, 5)
    """

    def __init__(self, inputs: int, units: int, *, return_sequences: bool = True, return_state: bool = False,
                 go_backwards: bool = False, bias: bool = True) -> None:
        self.inputs, self.units = sizes("SimpleRNN", inputs=inputs, units=units)
        self.return_sequences, self.return_state, self.go_backwards = return_sequences, return_state, go_backwards
        self.bias = bias
        self.W = Parameter(weights(self.inputs, self.units, 1))  # (H+D,H)
        self.b = Parameter(init.zeros((self.units,))) if bias else None

    def forward(self, x: Tensor, h0: Tensor | None = None,
                mask: ArrayLike | None = None) -> Tensor | tuple[Tensor, Tensor]:
        x, real = self.read(x, mask)
        return self.result(*ops.simple_rnn(x, h0, self.W, self.b, mask=real))
