"""Batch normalisation.

Derivation. A channel has R elements x. Its mean and variance are made of the same elements that they normalise,

    μ = Σ x / R,   σ² = Σ (x − μ)² / R,   s = √(σ² + ε),   x̂ = (x − μ) / s,   y = γ x̂ + β

so x changes y in three ways, and δx is the sum of three terms. With δx̂ = δy γ (7):

    directly     ∂x̂/∂x = 1 / s
    through σ²   ∂x̂/∂σ² = −(x − μ) / 2s³ = −x̂ / 2s², so δσ² = −Σ δx̂ x̂ / 2s² (8);   ∂σ²/∂x = 2 (x − μ) / R
                 (the part of ∂σ²/∂x through μ is 0: it is −2 Σ (x − μ) / R²)
    through μ    ∂x̂/∂μ = −1 / s, so δμ = −Σ δx̂ / s (9);   ∂μ/∂x = 1 / R

Their sum is (10), the usual formula δx = (δx̂ − mean(δx̂) − x̂ mean(δx̂ x̂)) / s with means over the channel.
With a mask, the R elements are those of the real steps; the others have no part in any sum, and y and δx are 0 there.
The returned statistics are outputs as well: their gradients δvar and δmean are added in (8) and (9). If the statistics
are given, the direct term alone is left (11). Where ranks hold the rows of one batch, a channel has the elements of all
ranks: Σ x, R, Σ (x − μ)², δσ² and δμ are added up over them. Each y contains β and γ: ∂y/∂β = 1 gives (5), ∂y/∂γ = x̂
gives (6).
"""

from typing import Any

from tinynet.errors import ArgumentError, ShapeError
from tinynet.op import Array, Gradients, Update, op
from tinynet.parts import Across, alone
from tinynet.plain import number


def _channel_axis(known: dict[str, Any], axis: int = -1, eps: float = 1e-5) -> dict[str, Any]:
    shape, C = known["..."], known["C"]
    rank = len(shape)
    number("batch_norm", "eps", eps, 0, usual="1e-5")
    if not -rank <= axis < rank:
        raise ArgumentError(f"batch_norm: axis must be in [-{rank}, {rank}) for x of shape {shape}, got {axis}; "
                            "axis=-1 is the last axis")
    if shape[axis] != C:
        hint = (f"channels come last here, x.transpose({','.join(map(str, (0, *range(2, rank), 1)))})?"
                if rank > 2 and axis in (-1, rank - 1) and shape[1] == C else "make gamma and beta for this axis")
        raise ShapeError(f"batch_norm: x must have C = {C} (from beta) on axis {axis}, got {shape[axis]} in {shape}; "
                         f"{hint}")
    masked = known.get("...M", ())
    if masked != shape[:len(masked)]:
        raise ShapeError(f"batch_norm: mask must have the first axes of x, got {masked} for x of shape {shape}; "
                         "(N,T) for x (N,T,C)?")
    return {}


@op("x:(...) gamma:(C) beta:(C) mean?:(C) var?:(C) mask?:any(...M) -> y:(...) mean:(C) var:(C)", sizes=_channel_axis,
    flops=lambda s: 4 if s["mean"] else 7,
    cases=[{"...": (6, 4), "C": 4, "mean": None, "var": None}, {"...": (3, 5, 2), "C": 2, "mean": None, "var": None},
           {"...": (2, 3, 4), "C": 3, "axis": 1, "eps": 0.1, "mean": None, "var": None},
           {"...": (2, 2, 3, 2), "C": 2, "eps": 0.1, "mean": None, "var": None},
           {"...": (3, 4), "C": 4, "eps": 0.1, "var": "positive"},
           {"...": (2, 3, 2), "C": 3, "axis": -2, "var": "positive"},
           {"...": (3, 5, 2), "C": 2, "...M": (3, 5), "mask": "boolean", "mean": None, "var": None},
           {"...": (3, 2, 2), "C": 2, "...M": (3,), "mask": "boolean", "var": "positive"},
           {"...": (4, 2, 3), "C": 2, "axis": 1, "...M": (4,), "mask": "boolean", "mean": None, "var": None}])
def batch_norm(xp: Any, x: Array, gamma: Array, beta: Array, mean: Array | None = None, var: Array | None = None,
               mask: Array | None = None, *, axis: int = -1, eps: float = 1e-5, across: Across = alone
               ) -> tuple[tuple[Array, Array, Array], Any]:
    """Batch normalisation: each channel is shifted and scaled to mean β and standard deviation γ.

    Without `mean` and `var` (training), the statistics are those of the batch, over all axes but `axis`; var is the
    population variance, divided by R. With `mean` and `var` (evaluation), these are used. The statistics used are
    returned, for the layer's running averages. `mask` has the first axes of x, (N,T) for sequences; elements where it
    is 0 are left out, and y is 0 there. `across(xp, *sums)` adds up sums over the ranks of a job that hold parts of one
    batch; see `tinynet.distributed`.

    Shapes    x (...) with C channels on `axis` · gamma, beta (C) · mean, var (C) or None · mask (...M) or None
              →  y (...) · mean, var (C)
    Forward   for each channel, Σ over its R elements where the mask is not 0
      (1)  μ = Σ x / R
      (2)  σ² = Σ (x − μ)² / R
      (3)  x̂ = (x − μ) / s        with s = √(σ² + ε)
      (4)  y = γ x̂ + β
    Backward  given δy, and δmean and δvar of the returned statistics
      (5)  δβ = Σ δy
      (6)  δγ = Σ δy x̂
      (7)  δx̂ = δy γ
      (8)  δσ² = δvar − Σ δx̂ x̂ / 2s²
      (9)  δμ = δmean − Σ δx̂ / s
      (10) δx = δx̂ / s + δσ² 2 (x − μ) / R + δμ / R        with the statistics of the batch
      (11) δx = δx̂ / s                                      with given statistics; (8) and (9) are their gradients
    Because   the derivation stands at the top of this file
    Cache     x̂, s and γ; not x, since x − μ = x̂ s; the mask, and R
    Source    Ioffe and Szegedy 2015

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
    if not given and not x.size:
        raise ShapeError(f"batch_norm: x must have at least one element for each channel, got {x.shape}; "
                         "skip empty batches")
    axis %= x.ndim
    others = tuple(i for i in range(x.ndim) if i != axis)
    along = tuple(-1 if i == axis else 1 for i in range(x.ndim))  # (C) -> (1,...,C,...,1)
    real, R = None, x.size // x.shape[axis]
    if mask is not None:
        real = xp.broadcast_to((mask != 0).reshape(mask.shape + (1,) * (x.ndim - mask.ndim)), x.shape)
        R = real.sum(axis=others).astype(x.real.dtype)  # (C)
    x = _selected(xp, x, real)
    if mean is None:
        total, R = across(xp, x.sum(axis=others), R)  # (C)
        R = R if real is None else xp.maximum(R, 1)
        mean = total / R  # (1) (C)
    centred = _selected(xp, x - mean.reshape(along), real)
    if var is None:
        squares, = across(xp, (centred * centred).sum(axis=others))  # (C)
        var = squares / R  # (2) (C)
    s = xp.sqrt(var + eps)
    xhat = centred / s.reshape(along)  # (3)
    y = _selected(xp, gamma.reshape(along) * xhat + beta.reshape(along), real)  # (4)
    return (y, mean, var), (xhat, s, gamma, others, along, given, real, R, across)


def _selected(xp: Any, x: Array, real: Array | None) -> Array:
    """x where the mask is not 0, and 0 elsewhere."""
    return x if real is None else xp.where(real, x, xp.zeros((), x.dtype))


@batch_norm.gradient
def dbatch_norm(xp: Any, dy: Array, dmean: Array, dvar: Array, *, cache: Any, needs: Any) -> Gradients:
    xhat, s, gamma, others, along, given, real, R, across = cache
    dy = _selected(xp, dy, real)
    dbeta = dy.sum(axis=others)  # (5) (C)
    dgamma = (dy * xhat).sum(axis=others)  # (6) (C)
    dxhat = dy * gamma.reshape(along)  # (7)
    dvar = dvar - (dxhat * xhat).sum(axis=others) / (2 * s * s)  # (8) (C)
    dmean = dmean - dxhat.sum(axis=others) / s  # (9) (C)
    if given:
        dx = dxhat / s.reshape(along)  # (11)
        return dx, dgamma, dbeta, dmean, dvar, None
    dvar, dmean = across(xp, dvar, dmean)  # (C)
    dx = dxhat / s.reshape(along) + (dvar * 2 * s / R).reshape(along) * xhat + (dmean / R).reshape(along)  # (10)
    return _selected(xp, dx, real), dgamma, dbeta, None, None, None


@Update
def running_averages(xp: Any, running_mean: Array, running_var: Array, mean: Array, var: Array,
                     mask: Array | None = None, *, momentum: float, seen: int | Array, positions: int = 1,
                     across: Across = alone) -> None:
    """Update the running averages (C) of mean and variance by the statistics (C) of a batch, in place.

    `seen` is n, the number of batches before this one. It may be a 0-d array. With `mask`, R is the number of
    elements for each channel: `positions` for each element of the mask that is not 0. One element alone has no
    variance, so that such a batch does not enter.

      (12)  k = min(momentum, n / (n + 1)), and 1 if R ≤ 1
      (13)  running ← k running + (1 − k) batch

    Because   with k = momentum alone, running = momentumⁿ initial + Σⱼ (1 − momentum) momentumʲ batch of j batches ago.
              The weights of n batches sum to 1 − momentumⁿ: after 6 batches, 53 % of the average is the initial value.
              With k = n / (n + 1), running is the mean of the n + 1 batches, and the initial value has the weight 0.
              From n = momentum / (1 − momentum) on, k = momentum: about the mean of 1 / (1 − momentum) batches.
    Source    Ioffe and Szegedy 2015, with the population variance, as in Keras; (12) is the correction of the bias of
              Kingma and Ba 2015 by an average of another kind
    """
    smaller: Any = xp.minimum if hasattr(seen, "dtype") else min
    k = smaller(momentum, seen / (seen + 1))
    if mask is not None:
        R, = across(xp, (mask != 0).sum() * positions)
        k = xp.where(R > 1, k, 1.0)  # (12)
    keep, take = (w.astype(running_mean.dtype) if hasattr(w, "dtype") else w for w in (k, 1 - k))
    for running, batch in ((running_mean, mean), (running_var, var)):
        running *= keep
        running += take * batch  # (13)
