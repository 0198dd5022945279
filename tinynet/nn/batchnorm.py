"""The batch normalisation layer. Its math is in ops/batchnorm.py."""

from typing import ClassVar

from tinynet import init, ops
from tinynet.errors import StateError
from tinynet.nn.module import Module
from tinynet.nn.parameter import Buffer, Parameter
from tinynet.ops.batchnorm import running_averages
from tinynet.tensor import Tensor
from tinynet.tracing import is_shapes_only


class BatchNorm(Module):
    """Batch normalisation of the channels on `axis`, over all other axes, for arrays of any rank.

    In training, a batch is normalised by its own mean and population variance, which also update running averages:
    running = momentum * running + (1 - momentum) * batch. In evaluation, the running averages are used.

    Shapes: x (..., features, ...) -> the same. Parameters: gamma, beta (features). Buffers: running_mean, running_var
    (features). Errors: StateError in evaluation before the first batch of training. The math: `tn.ops.batch_norm`.

    >>> import tinynet as tn
    >>> layer = tn.nn.BatchNorm(2)
    >>> layer(tn.Tensor([[0.0, 1.0], [2.0, 5.0]])).numpy().round(2)
    array([[-1., -1.],
           [ 1.,  1.]], dtype=float32)
    """

    host_state: ClassVar[dict[str, int]] = {"batches_seen": 1}

    def __init__(self, features: int, *, axis: int = -1, momentum: float = 0.9, eps: float = 1e-5) -> None:
        self.features, self.axis, self.momentum, self.eps = features, axis, momentum, eps
        self.gamma = Parameter(init.ones((features,)))
        self.beta = Parameter(init.zeros((features,)))
        self.running_mean = Buffer(init.zeros((features,)))
        self.running_var = Buffer(init.ones((features,)))
        self.batches_seen = 0  # on the host: reading it from a device would synchronise

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            y, mean, var = ops.batch_norm(x, self.gamma, self.beta, axis=self.axis, eps=self.eps)
            running_averages(self.running_mean.data, self.running_var.data, mean.data.real, var.data.real,
                             momentum=self.momentum)  # in a complex step the batch is complex
            self.batches_seen += 1
        else:
            if not self.batches_seen and not is_shapes_only():
                raise StateError("BatchNorm: evaluation needs running averages, and no batch was seen in training; "
                                 "call model.train() and run a batch, or load_state_dict first")
            y, _, _ = ops.batch_norm(x, self.gamma, self.beta, axis=self.axis, eps=self.eps,
                                     mean=self.running_mean, var=self.running_var)
        return y
