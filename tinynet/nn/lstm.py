"""The LSTM layer. Its math, equations (1) to (17), is in ops/lstm.py."""

from typing import Any, ClassVar, Generic, Literal, overload

from tinynet import init, ops
from tinynet.errors import ArgumentError
from tinynet.nn.dropout import check_rate
from tinynet.nn.masks import real_steps
from tinynet.nn.parameter import Buffer, Parameter
from tinynet.nn.recurrent import Recurrent, weights
from tinynet.op import Result, incremented
from tinynet.parts import part
from tinynet.plain import sizes
from tinynet.tensor import Tensor, ones
from tinynet.types import ArrayLike

GATES = 4  # f, i, C̃, o: column blocks of W and b


class LSTM(Recurrent, Generic[Result]):
    """Long short-term memory over a sequence. The math: `tn.ops.lstm`, derived in ops/lstm.py.

    Shapes: x (N, T, inputs) -> y (N, T, units), or h (N, units) if `return_sequences` is False.
    With `return_state` the result is (y or h, h, c), with the last states h and c (N, units). `layer(x, h0, c0)` starts
    from the given states instead of zeros. `layer(x, mask=mask)` passes over masked steps: the states stay, and y is 0.

    go_backwards       read the sequence from its end; the output is in the order of reading, as in Keras
    dropout            the share of the input features to drop in training, the same ones at all steps
    recurrent_dropout  the share of h to drop on its way to the next step in training, the same units at all steps

    Parameters: W (units + inputs, 4 units), rows [h, x], column blocks f, i, C̃, o. In each block the rows of h are
    orthogonal and those of x Glorot uniform. b (4 units) is 1 for the forget gate, so that the state of a new LSTM
    decays slowly, and 0 for the others (Gers et al. 2000; Jozefowicz et al. 2015).

    >>> import tinynet as tn
    >>> tn.nn.LSTM(2, 5)(tn.Tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])).shape
    (1, 3, 5)
    """

    added_options: ClassVar[dict[str, Any]] = {"bias": True}

    @overload
    def __init__(self: "LSTM[tuple[Tensor, Tensor, Tensor]]", inputs: int, units: int, *, return_state: Literal[True],
                 return_sequences: bool = True, go_backwards: bool = False, dropout: float = 0.0,
                 recurrent_dropout: float = 0.0, bias: bool = True) -> None: ...
    @overload
    def __init__(self: "LSTM[Tensor]", inputs: int, units: int, *, return_state: bool = False,
                 return_sequences: bool = True, go_backwards: bool = False, dropout: float = 0.0,
                 recurrent_dropout: float = 0.0, bias: bool = True) -> None: ...
    def __init__(self, inputs: int, units: int, *, return_sequences: bool = True, return_state: bool = False,
                 go_backwards: bool = False, dropout: float = 0.0, recurrent_dropout: float = 0.0,
                 bias: bool = True) -> None:
        inputs, units = sizes("LSTM", inputs=inputs, units=units)
        self.inputs, self.units, self.bias = inputs, units, bias
        self.return_sequences, self.return_state, self.go_backwards = return_sequences, return_state, go_backwards
        self.dropout = dropout = check_rate("LSTM", "dropout", dropout)
        self.recurrent_dropout = recurrent_dropout = check_rate("LSTM", "recurrent_dropout", recurrent_dropout)
        self.W = Parameter(weights(inputs, units, GATES))  # (H+D,4H)
        self.b = Parameter(ops.concatenate([init.ones((units,)), init.zeros(((GATES - 1) * units,))])) if bias else None
        if dropout or recurrent_dropout:
            self.calls = Buffer(init.zeros((), "int64"))  # the number of masks drawn

    def forward(self, x: Tensor, h0: Tensor | None = None, c0: Tensor | None = None,
                mask: ArrayLike | None = None) -> Result:
        x, real = self.read(x, mask)
        x, recurrent_mask = self._masked(x, real)
        states = ops.lstm(x, h0, c0, self.W, self.b, recurrent_mask=recurrent_mask, mask=real)
        return self.result(*states)

    def _masked(self, x: Tensor, real: Tensor | None = None) -> tuple[Tensor, Tensor | None]:
        """x after dropout, and the recurrent mask (N,H) or None."""
        if not self.training or not (self.dropout or self.recurrent_dropout):
            return x, None
        if x.ndim != 3:
            raise ArgumentError(f"lstm: x must be (N,T,D), got {x.shape}; x[None] adds a batch of one")
        recurrent_mask = None
        if self.dropout:
            x = real_steps(x, real) * self._mask(x, "inputs", self.inputs, self.dropout).reshape(-1, 1, self.inputs)
        if self.recurrent_dropout:
            recurrent_mask = self._mask(x, "recurrent", self.units, self.recurrent_dropout)
        incremented(self.calls.data)
        return x, recurrent_mask

    def _mask(self, x: Tensor, what: str, features: int, p: float) -> Tensor:
        """A mask (N,features) of 0 and 1 / (1 - p): dropout of ones."""
        return ops.dropout(ones((x.shape[0], features), x), p, key=self.random_key(what), counter=self.calls.data,
                           first=part().first(x.shape[0] * features))
