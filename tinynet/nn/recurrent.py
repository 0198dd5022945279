"""What recurrent layers have in common: the direction of reading, the mask, and what they return."""

from typing import Any

from tinynet import init, ops
from tinynet.nn.masks import as_mask, as_tensor
from tinynet.nn.module import Module
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike


class Recurrent(Module):
    """The base of LSTM, GRU and SimpleRNN."""

    return_sequences, return_state, go_backwards = True, False, False
    units: int
    b: Tensor | None

    def read(self, x: Tensor, mask: ArrayLike | None) -> tuple[Tensor, Tensor | None]:
        """x and the mask in the order of reading."""
        x = as_tensor(x)
        real = None if mask is None else as_mask(mask, x)
        return (ops.flip(x, 1), None if real is None else ops.flip(real, 1)) if self.go_backwards else (x, real)

    def result(self, y: Tensor, *states: Tensor) -> Any:
        """The output, y or the last h, and with `return_state` the states (h, ...) too."""
        output = y if self.return_sequences else states[0]
        return (output, *states) if self.return_state else output

    def output_mask(self, mask: Tensor) -> Tensor | None:
        after = ops.flip(mask, 1) if self.go_backwards else mask
        return after if self.return_sequences else None


def weights(inputs: int, units: int, gates: int) -> Tensor:
    """W (units + inputs, gates units): in each block orthogonal rows of h above Glorot uniform rows of x."""
    return ops.concatenate([ops.concatenate([init.orthogonal((units, units)), init.glorot_uniform((inputs, units))])
                            for _ in range(gates)], axis=1)
