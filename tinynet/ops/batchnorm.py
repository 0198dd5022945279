"""Batch normalisation.

Why the gradient has three terms. Each channel of R elements is centred and scaled by numbers that are made of the very
elements they act on, so x moves y in three ways:

    y = γ x̂ + β,   x̂ = (x − μ) / s,   s = √(σ² + ε),   μ = Σ x / R,   σ² = Σ (x − μ)² / R

  directly, through x̂ with μ and σ² held still:    ∂x̂/∂x = 1/s
  through σ²:   ∂x̂/∂σ² = −(x − μ) / 2s³ = −x̂ / 2s²,   so δσ² = −Σ δx̂ x̂ / 2s²;   ∂σ²/∂x = 2 (x − μ) / R
                (the part of ∂σ²/∂x that goes through μ is −2 Σ (x − μ) / R² = 0)
  through μ:    ∂x̂/∂μ = −1/s,   so δμ = −Σ δx̂ / s;   ∂μ/∂x = 1/R

Their sum is (10). Put into one line, with bars for means over the channel, it is the formula of the books:
δx = (δx̂ − mean(δx̂) − x̂ mean(δx̂ x̂)) / s. We keep the three terms apart: with given statistics (evaluation) the first
alone is left, and δμ and δσ² are the gradients of the statistics that were given.
"""

import math
from typing import Any

from tinynet.errors import ArgumentError, ShapeError
from tinynet.op import kernel, op


def _channel_axis(known: dict[str, Any], axis: int = -1, eps: float = 1e-5) -> dict[str, Any]:
    shape, C = known["..."], known["C"]
    rank = len(shape)
    if not -rank <= axis < rank:
        raise ArgumentError(f"batch_norm: axis must be in [-{rank}, {rank}) for x of shape {shape}, got {axis}; "
                            "axis=-1 is the channels")
    if shape[axis] != C:
        hint = (f"channels come last here, x.transpose({','.join(map(str, (0, *range(2, rank), 1)))})?"
                if rank > 2 and axis in (-1, rank - 1) and shape[1] == C else "make gamma and beta for this axis")
        raise ShapeError(f"batch_norm: x must have C = {C} (from beta) on axis {axis}, got {shape[axis]} in {shape}; "
                         f"{hint}")
    if math.prod(shape) == 0:
        raise ShapeError(f"batch_norm: x must have at least one element for each channel, got {shape}; "
                         "leave empty batches out")
    return {}


@op("x:(...) gamma:(C) beta:(C) mean?:(C) var?:(C) -> y:(...) mean:(C) var:(C)", sizes=_channel_axis,
    cases=[{"...": (6, 4), "C": 4, "mean": None, "var": None}, {"...": (3, 5, 2), "C": 2, "mean": None, "var": None},
           {"...": (2, 3, 4), "C": 3, "axis": 1, "eps": 0.1, "mean": None, "var": None},
           {"...": (2, 2, 3, 2), "C": 2, "mean": None, "var": None},
           {"...": (3, 4), "C": 4, "var": "positive"}, {"...": (2, 3, 2), "C": 3, "axis": -2, "var": "positive"}])
def batch_norm(xp: Any, x: Any, gamma: Any, beta: Any, mean: Any = None, var: Any = None, *, axis: int = -1,
               eps: float = 1e-5) -> Any:
    """Batch normalisation: every channel with mean β and standard deviation γ, whatever it was before.

    Without `mean` and `var` the statistics are those of the batch, over every axis but `axis`; var is that of a
    population (divided by R). They are returned, for whoever keeps running averages: the op itself is pure. With
    `mean` and `var`, as in evaluation, these are used and returned.

    Shapes    x (...) with C channels on `axis` · gamma, beta (C) · mean, var (C) or None  →  y (...) · mean, var (C)
    Forward   for each channel, over its R elements
      (1)  μ = Σ x / R
      (2)  σ² = Σ (x − μ)² / R
      (3)  x̂ = (x − μ) / s        with s = √(σ² + ε)
      (4)  y = γ x̂ + β
    Backward  given δy, and the gradients δmean, δvar that arrive at the returned statistics
      (5)  δβ = Σ δy
      (6)  δγ = Σ δy x̂
      (7)  δx̂ = δy γ
      (8)  δσ² = δvar − Σ δx̂ x̂ / 2s²
      (9)  δμ = δmean − Σ δx̂ / s
      (10) δx = δx̂ / s + δσ² 2 (x − μ) / R + δμ / R        with statistics of the batch
      (11) δx = δx̂ / s                                      with given ones, whose gradients are (8) and (9)
    Cache     x̂, s and γ: x − μ is x̂ s, so x itself is not kept
    Source    Ioffe and Szegedy 2015. The derivation stands at the top of this file.

    >>> import tinynet as tn
    >>> x, one, zero = tn.Tensor([[1.0], [3.0]]), tn.Tensor([1.0]), tn.Tensor([0.0])
    >>> y, mean, var = tn.ops.batch_norm(x, one, zero, eps=0.0)
    >>> y.numpy().ravel(), mean.item(), var.item()
    (array([-1.,  1.], dtype=float32), 2.0, 1.0)
    """
    if (mean is None) != (var is None):
        alone = "var" if mean is None else "mean"
        raise ArgumentError(f"batch_norm: mean and var must be given both or neither, got {alone} alone; "
                            "leave both out to use those of the batch")
    given = mean is not None
    axis %= x.ndim
    others = tuple(i for i in range(x.ndim) if i != axis)
    along = tuple(-1 if i == axis else 1 for i in range(x.ndim))  # (C) -> (1,...,C,...,1)
    if not given:
        mean = x.mean(axis=others)  # (1) (C)
        centred = x - mean.reshape(along)
        var = (centred * centred).mean(axis=others)  # (2) (C)
    else:
        centred = x - mean.reshape(along)
    s = xp.sqrt(var + eps)
    xhat = centred / s.reshape(along)  # (3)
    y = gamma.reshape(along) * xhat + beta.reshape(along)  # (4)
    return (y, mean, var), (xhat, s, gamma, others, along, given)


@batch_norm.gradient
def dbatch_norm(xp: Any, dy: Any, dmean: Any, dvar: Any, *, cache: Any, needs: Any) -> Any:
    xhat, s, gamma, others, along, given = cache
    dbeta = dy.sum(axis=others)  # (5) (C)
    dgamma = (dy * xhat).sum(axis=others)  # (6) (C)
    dxhat = dy * gamma.reshape(along)  # (7)
    dvar = dvar - (dxhat * xhat).sum(axis=others) / (2 * s * s)  # (8) (C)
    dmean = dmean - dxhat.sum(axis=others) / s  # (9) (C)
    if given:
        dx = dxhat / s.reshape(along)  # (11)
        return dx, dgamma, dbeta, dmean, dvar
    R = xhat.size // s.size
    dx = dxhat / s.reshape(along) + (dvar * 2 * s / R).reshape(along) * xhat + (dmean / R).reshape(along)  # (10)
    return dx, dgamma, dbeta, None, None


@kernel
def running_averages(xp: Any, running_mean: Any, running_var: Any, mean: Any, var: Any, *, momentum: float) -> None:
    """Take the statistics of a batch, arrays (C), into running averages, in place.

      (12)  running ← momentum running + (1 − momentum) batch

    Source    Ioffe and Szegedy, ICML 2015, with the biased variance, as Keras has it.
    """
    for running, batch in ((running_mean, mean), (running_var, var)):
        running *= momentum
        running += (1 - momentum) * batch  # (12)
