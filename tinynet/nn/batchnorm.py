"""The batch normalisation layer. Its math is in ops/batchnorm.py."""

import math
from typing import ClassVar

from tinynet import init, ops
from tinynet.errors import StateError
from tinynet.nn.masks import as_mask, as_tensor, real_steps
from tinynet.nn.module import Module
from tinynet.nn.parameter import Buffer, Parameter
from tinynet.op import incremented
from tinynet.ops.batchnorm import running_averages
from tinynet.parts import part
from tinynet.plain import number, sizes
from tinynet.tensor import Tensor
from tinynet.tracing import is_shapes_only
from tinynet.types import ArrayLike


class BatchNorm(Module):
    """Batch normalisation of the channels on `axis`, over all other axes, for arrays of any rank.

    In training, a batch is normalised by its own mean and population variance, which also update running averages:
    running = k * running + (1 - k) * batch, k = min(momentum, n / (n + 1)) after n batches. In evaluation, the running
    averages are used. A batch with one element for each channel has no variance, and does not enter the averages.

    With a mask, the statistics are those of the real steps.

    `batches_seen` is n. Averages that are loaded without it count as n = momentum / (1 - momentum) batches.

    Shapes: x (..., features, ...) -> the same. Parameters: gamma, beta (features). Buffers: running_mean, running_var
    (features). Errors: StateError in evaluation before the first batch of training; ArgumentError unless momentum is
    in [0, 1] and eps >= 0. The math: `tn.ops.batch_norm`, `tinynet.ops.batchnorm.running_averages`.

    >>> import tinynet as tn
    >>> layer = tn.nn.BatchNorm(2)
    >>> layer(tn.Tensor([[0.0, 1.0], [2.0, 5.0]])).numpy().round(2)
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    """

    host_state: ClassVar[dict[str, int]] = {"batches_seen": 9}
    step_counters: ClassVar[tuple[str, ...]] = ("batches_seen",)

    def __init__(self, features: int, *, axis: int = -1, momentum: float = 0.9, eps: float = 1e-5) -> None:
        features, = sizes("BatchNorm", features=features)
        self.features, self.axis = features, axis
        self.momentum = number("BatchNorm", "momentum", momentum, 0, 1, usual="0.9")
        self.eps = number("BatchNorm", "eps", eps, 0, usual="1e-5")
        self.gamma = Parameter(init.ones((features,)))
        self.beta = Parameter(init.zeros((features,)))
        self.running_mean = Buffer(init.zeros((features,)))
        self.running_var = Buffer(init.ones((features,)))
        self.batches_seen = 0  # on the host: reading it from a device would synchronise

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        x = as_tensor(x)
        if self.training:
            real, positions, across = None, x.size // self.features, part().across
            if mask is not None:
                real = as_mask(mask, x)
                positions //= max(1, real.size)
            y, mean, var = ops.batch_norm(x, self.gamma, self.beta, mask=real, axis=self.axis, eps=self.eps,
                                          across=across)
            if part().whole(x.size) > self.features:  # else the variance is 0 whatever x is
                batch = mean.data.real, var.data.real  # in a complex step the batch is complex
                running_averages(self.running_mean.data, self.running_var.data, *batch,
                                 None if real is None else real.data, momentum=self.momentum,
                                 seen=self.batches_seen, positions=positions, across=across)
                self.running_mean.version += 1
                self.running_var.version += 1
                self.batches_seen = incremented(self.batches_seen)
        else:
            if isinstance(self.batches_seen, int) and not self.batches_seen and not is_shapes_only():
                raise StateError("BatchNorm: evaluation needs running averages, and no batch was seen in training; "
                                 "call model.train() and run a batch, or load_state_dict first")
            y, _, _ = ops.batch_norm(real_steps(x, mask), self.gamma, self.beta, axis=self.axis, eps=self.eps,
                                     mean=self.running_mean, var=self.running_var)
        return y

    def without_counter(self, name: str) -> int:
        """The batches that averages from elsewhere count as: from there on k is `momentum`."""
        return 1 << 53 if self.momentum == 1 else math.ceil(self.momentum / (1 - self.momentum))
