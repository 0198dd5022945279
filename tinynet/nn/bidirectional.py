"""A recurrent layer that reads a sequence in both directions."""

from typing import Any, Generic, overload

from tinynet import ops
from tinynet.errors import ArgumentError
from tinynet.nn.branches import check_merge, merged
from tinynet.nn.lstm import LSTM
from tinynet.nn.masks import as_mask
from tinynet.nn.module import Module
from tinynet.op import Result
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike


class Bidirectional(Module, Generic[Result]):
    """A recurrent layer, and a second one with the same options that reads from the end; their outputs merged.

    Shapes: x (N, T, inputs) -> y (N, T, 2 units) with merge_mode "concat", else (N, T, units): modes as of `Parallel`.
    The backward part is in the order of time: step t of it has read x from its end to t. If `return_sequences` is
    False, the last states of both are merged. With `return_state`, the result is the output, the last states of the
    forward layer, and those of the backward layer. `layer(x, *states)` takes initial states in the same order.

    >>> import tinynet as tn
    >>> tn.nn.Bidirectional(tn.nn.LSTM(2, 5))(tn.Tensor([[[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]]])).shape
    (1, 3, 10)
    """

    @overload
    def __init__(self: "Bidirectional[tuple[Tensor, Tensor, Tensor, Tensor, Tensor]]",
                 layer: LSTM[tuple[Tensor, Tensor, Tensor]], merge_mode: str = "concat") -> None: ...
    @overload
    def __init__(self: "Bidirectional[Tensor]", layer: Module, merge_mode: str = "concat") -> None: ...
    def __init__(self, layer: Module, merge_mode: str = "concat") -> None:
        check_merge("Bidirectional", merge_mode)
        if getattr(layer, "go_backwards", None) is not False:
            raise ArgumentError("Bidirectional: layer must be a recurrent one that reads forwards, got "
                                f"{layer!r}; tn.nn.Bidirectional(tn.nn.LSTM(inputs, units))?")
        self.layer: Any = layer
        self.merge_mode = merge_mode
        self.backwards: Any = type(layer)(**{**layer.config(), "go_backwards": True})

    def forward(self, x: Tensor, *states: Tensor | None, mask: ArrayLike | None = None) -> Result:
        real, half = None if mask is None else as_mask(mask, x), len(states) // 2
        results = self.layer(x, *states[:half], mask=real), self.backwards(x, *states[half:], mask=real)
        (y, *after), (z, *before) = (one if isinstance(one, tuple) else (one,) for one in results)
        output = merged("Bidirectional", [y, ops.flip(z, 1) if self.layer.return_sequences else z], self.merge_mode)
        return (output, *after, *before) if after else output  # type: ignore[return-value]

    def output_mask(self, mask: Tensor) -> Tensor | None:
        return self.layer.output_mask(mask)
