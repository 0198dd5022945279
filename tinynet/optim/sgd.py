"""Stochastic gradient descent, with momentum."""

from collections.abc import Mapping
from typing import Any, ClassVar

from tinynet.op import Update
from tinynet.optim.optimizer import Optimizer, Weights, scalar
from tinynet.optim.rules import Rule, at_least_0
from tinynet.types import Array, Rate


@Update
def sgd(xp: Any, value: Array, gradient: Array, velocity: Array, *, lr: Rate, momentum: float, nesterov: bool,
        weight_decay: float) -> None:
    """One step of gradient descent on flat arrays (n), in place. `lr` may be a 0-d array.

      (1)  g = gradient + λ value              λ the weight decay
      (2)  velocity ← μ velocity + g           μ the momentum
      (3)  value ← value − lr velocity,        or value − lr (g + μ velocity) with Nesterov's momentum

    Because   by (2), velocity = Σₖ μᵏ g of k steps ago. For a constant g it tends to g / (1 − μ): the step grows by
              the factor 1 / (1 − μ). Nesterov takes g at the point θ' = θ − lr μ velocity that momentum alone leads to.
              `value` holds θ', so θ ← θ − lr velocity becomes θ' ← θ' − lr (g + μ velocity).
    Source    Sutskever, Martens, Dahl, Hinton 2013, with lr outside of the velocity as in PyTorch
    """
    g = gradient + weight_decay * value if weight_decay else gradient  # (1)
    velocity *= momentum
    velocity += g  # (2)
    value -= scalar(lr, value) * (g + momentum * velocity if nesterov else velocity)  # (3)


class SGD(Optimizer):
    """Stochastic gradient descent. The math: `tinynet.optim.sgd.sgd`.

    >>> import tinynet as tn
    >>> w = tn.nn.Parameter([1.0])
    >>> optimizer = tn.optim.SGD([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step()
    >>> w.numpy()
    array([0.8], dtype=float32)
    """

    moments: ClassVar[tuple[str, ...]] = ("velocity",)
    own_options: ClassVar[tuple[str, ...]] = ("lr", "weight_decay")
    rules: ClassVar[Mapping[str, Rule]] = {**Optimizer.rules, "momentum": at_least_0("momentum", "0.9", below=1),
                                           "weight_decay": at_least_0("weight_decay", "1e-4")}

    def __init__(self, parameters: Weights, lr: Rate = 1e-2, *, momentum: float = 0.0,
                 nesterov: bool = False, weight_decay: float = 0.0) -> None:
        self.momentum, self.nesterov, self.weight_decay = momentum, bool(nesterov), weight_decay
        super().__init__(parameters, lr)

    def update(self, value: Array, gradient: Array, *moments: Array) -> None:
        sgd(value, gradient, *moments, lr=self.lr, momentum=self.momentum, nesterov=self.nesterov,
            weight_decay=self.weight_decay)
