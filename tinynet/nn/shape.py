"""Layers that change the shape of each sample. Their math is in ops/shape.py."""

import math

from tinynet.nn.masks import real_steps
from tinynet.nn.module import Module
from tinynet.plain import shape_of
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike


class Flatten(Module):
    """All features of a sample along one axis: x (N, ...) -> (N, F). With a mask, masked steps become zeros.

    >>> import tinynet as tn
    >>> tn.nn.Flatten()(tn.Tensor([[[1.0, 2.0], [3.0, 4.0]]])).shape
    (1, 4)
    """

    ends_steps = True

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        x = real_steps(x, mask)
        return x.reshape(x.shape[0], math.prod(x.shape[1:]))


class Reshape(Module):
    """Each sample in another shape: x (N, ...) -> (N, *shape). One size may be -1: it is computed from the others.

    >>> import tinynet as tn
    >>> tn.nn.Reshape((2, 2))(tn.Tensor([[1.0, 2.0, 3.0, 4.0]])).shape
    (1, 2, 2)
    """

    ends_steps = True

    def __init__(self, shape: tuple[int, ...]) -> None:
        self.shape = shape_of("Reshape", "shape", shape, -1)

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        x, shape = real_steps(x, mask), self.shape
        if -1 in shape and not x.shape[0]:  # without a sample, its size tells
            rest = math.prod(x.shape[1:]) // max(1, -math.prod(shape))
            shape = tuple(rest if n == -1 else n for n in shape)
        return x.reshape(x.shape[0], *shape)
