"""A layer at each step of a sequence."""

from typing import Any

from tinynet.nn.masks import as_mask, as_tensor, real_steps
from tinynet.nn.module import Module, checked
from tinynet.tensor import Tensor
from tinynet.tracing import is_shapes_only
from tinynet.types import ArrayLike


class TimeDistributed(Module):
    """A module applied to each step of sequences, such as images of a film: x (N, T, ...) -> (N, T, ...).

    With a mask, the module gets the real steps alone in training, so that a BatchNorm in it averages these. In
    evaluation it gets zeros for masked steps. The output is 0 there.

    >>> import tinynet as tn
    >>> layer = tn.nn.TimeDistributed(tn.nn.Sequential(tn.nn.Conv2D(1, 4, 3), tn.nn.GlobalAveragePool()))
    >>> layer(tn.Tensor([[[[[0.0]] * 5] * 5] * 3])).shape
    (1, 3, 4)
    """

    def __init__(self, module: Module) -> None:
        self.module = checked("TimeDistributed", "module", module)

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        x = as_tensor(x)
        N, T = x.shape[:2]
        steps = real_steps(x, mask).reshape(N * T, *x.shape[2:])
        chosen: Any = None
        if mask is not None and self.training and not is_shapes_only():
            chosen = as_mask(mask, x).numpy().reshape(-1)  # waits for a GPU
        if chosen is None or not chosen.any():
            y: Any = self.module(steps)
        else:
            places = (chosen.cumsum() - 1).clip(0)  # of each step among the real ones
            y = self.module(steps[Tensor(chosen.nonzero()[0], device=x.device)])[Tensor(places, device=x.device)]
        return real_steps(y.reshape(N, T, *y.shape[1:]), mask)
