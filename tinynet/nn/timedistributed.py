"""A layer at each step of a sequence."""

from typing import Any

from tinynet.nn.masks import as_mask, real_steps
from tinynet.nn.module import Module
from tinynet.tensor import Tensor
from tinynet.tracing import is_shapes_only
from tinynet.types import ArrayLike


class TimeDistributed(Module):
    """A module applied to each step of sequences on its own: to images of a film, to windows of a signal.

    Shapes: x (N, T, ...) -> (N, T, ...), where the module takes (N T, ...).

    With a mask, the module gets the real steps alone in training, so that a BatchNorm in it averages these; in
    evaluation it gets zeros for masked steps. The output is 0 at masked steps.

    >>> import tinynet as tn
    >>> layer = tn.nn.TimeDistributed(tn.nn.Sequential(tn.nn.Conv2D(1, 4, 3), tn.nn.GlobalAveragePool()))
    >>> layer(tn.Tensor([[[[[0.0]] * 5] * 5] * 3])).shape
    (1, 3, 4)
    """

    def __init__(self, module: Module) -> None:
        self.module = module

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        N, T = x.shape[:2]
        steps = real_steps(x, mask).reshape(N * T, *x.shape[2:])
        if mask is None or not self.training or is_shapes_only():
            return real_steps(self._of(self.module(steps), N, T), mask)
        real = as_mask(mask, x).numpy().reshape(-1)  # waits for a GPU
        if not real.any():
            return real_steps(self._of(self.module(steps), N, T), mask)
        chosen = Tensor(real.nonzero()[0], device=x.device)
        places = Tensor((real.cumsum() - 1).clip(0), device=x.device)  # of each step among the real ones
        y: Any = self.module(steps[chosen])
        return real_steps(self._of(y[places], N, T), mask)

    @staticmethod
    def _of(y: Tensor, N: int, T: int) -> Tensor:
        return y.reshape(N, T, *y.shape[1:])
