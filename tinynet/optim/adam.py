"""Adam, and AdamW: Adam with weight decay that bypasses the moments."""

from collections.abc import Mapping
from typing import Any, ClassVar

from tinynet.op import Update
from tinynet.optim.optimizer import Optimizer, Weights, scalar
from tinynet.optim.rules import Rule, at_least_0, betas
from tinynet.types import Array, Rate


@Update
def adam(xp: Any, value: Array, gradient: Array, m: Array, v: Array, *, lr: Rate, betas: tuple[float, float],
         eps: float, step: int | Array, weight_decay: float, decoupled: bool) -> None:
    """One step of Adam on flat arrays (n), in place. `step` t counts from 1; `step` and `lr` may be 0-d arrays.

      (1)  g = gradient + λ value,    or, decoupled (AdamW),  value ← value − lr λ value
      (2)  m ← β₁ m + (1 − β₁) g                      moving average of the gradient
      (3)  v ← β₂ v + (1 − β₂) g²                     moving average of its square
      (4)  m̂ = m / (1 − β₁ᵗ),  v̂ = v / (1 − β₂ᵗ)      correction of the bias towards m = v = 0 of the start
      (5)  value ← value − lr m̂ / (√v̂ + ε)

    Because   by (2), m = (1 − β₁) Σₛ β₁ᵗ⁻ˢ gₛ over the steps s = 1 … t. If E[g] is the same at all steps,
              E[m] = (1 − β₁) (1 + β₁ + … + β₁ᵗ⁻¹) E[g] = (1 − β₁ᵗ) E[g], so E[m̂] = E[g]; likewise E[v̂] = E[g²].
              At t = 1, m̂ = g and v̂ = g²: the first step is −lr g / (|g| + ε) ≈ −lr sign(g), whatever the scale of g.
    Source    Kingma and Ba 2015; AdamW: Loshchilov and Hutter 2019
    """
    beta1, beta2 = betas
    g = gradient
    if decoupled:
        value -= scalar(lr, value) * (weight_decay * value)  # (1)
    elif weight_decay:
        g = gradient + weight_decay * value  # (1)
    m *= beta1
    m += (1 - beta1) * g  # (2)
    v *= beta2
    v += (1 - beta2) * g * g  # (3)
    mhat, vhat = m / scalar(1 - beta1**step, m), v / scalar(1 - beta2**step, v)  # (4)
    value -= scalar(lr, value) * mhat / (xp.sqrt(vhat) + eps)  # (5)


class Adam(Optimizer):
    """Adam. `weight_decay` is added to the gradient. The math: `tinynet.optim.adam.adam`.

    t counts the steps of each parameter: those in which it had a gradient.

    >>> import tinynet as tn
    >>> w = tn.nn.Parameter([1.0])
    >>> optimizer = tn.optim.Adam([w], lr=0.1)
    >>> (w * w).sum().backward(); optimizer.step()
    >>> w.numpy()
    array([0.9], dtype=float32)
    """

    moments: ClassVar[tuple[str, ...]] = ("m", "v")
    own_options: ClassVar[tuple[str, ...]] = ("lr", "weight_decay")
    rules: ClassVar[Mapping[str, Rule]] = {**Optimizer.rules, "betas": betas, "eps": at_least_0("eps", "1e-8"),
                                           "weight_decay": at_least_0("weight_decay", "0.01")}
    counts_steps: ClassVar[bool] = True
    decoupled: ClassVar[bool] = False

    def __init__(self, parameters: Weights, lr: Rate = 1e-3, *, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.0) -> None:
        self.betas, self.eps, self.weight_decay = betas, eps, weight_decay
        super().__init__(parameters, lr)

    def update(self, value: Array, gradient: Array, *moments: Array) -> None:
        adam(value, gradient, *moments, lr=self.lr, betas=self.betas, eps=self.eps, step=self.count,
             weight_decay=self.weight_decay, decoupled=self.decoupled)


class AdamW(Adam):
    """Adam with decoupled weight decay, applied to the weights directly. The math: `tinynet.optim.adam.adam`.

    >>> import tinynet as tn
    >>> optimizer = tn.optim.AdamW(tn.nn.Dense(3, 2).parameters(), lr=1e-3, weight_decay=0.01)
    """

    decoupled: ClassVar[bool] = True

    def __init__(self, parameters: Weights, lr: Rate = 1e-3, *, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.01) -> None:
        super().__init__(parameters, lr, betas=betas, eps=eps, weight_decay=weight_decay)
