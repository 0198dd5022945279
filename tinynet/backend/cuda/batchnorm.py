"""Batch normalisation of ops/batchnorm.py on a GPU, for float32 with the channels on the last axis.

Layout    R elements in each of C channels; the rows of x are added up in P stretches

  quantity         here                                      specification
  x, y, δy, δx     (R, C), in C order                        (..., C)
  μ, σ², γ, β      (C); of each stretch (P, C)               (C)
  sums             (2, P, C): Σ δy and Σ δy (x − μ)          Σ over the R elements of a channel, (C)
  mask             booleans, each for `span` rows of x, or   the first axes of x
                   None; the number of real rows (C), or of
                   those of all ranks
  cache            x, μ, σ², γ, ε, whether μ and σ² were     x̂, s, γ: here s and x̂ = (x − μ) / s are computed again
                   given, the mask, the number of real rows, `across`
"""

from typing import Any

from tinynet.backend.cuda.column_sums import share, whole
from tinynet.backend.cuda.runtime.launch import Kernels, here_and_there, one_each
from tinynet.parts import Across, alone

# --- Equations ------------------------------------------------------------------------------------------------------

_cuda = Kernels("batchnorm")

# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by memory, or by launches. Forward reads x three times, the second time from a cache, and writes y; backward
# reads x and δy twice and writes δx.

def _statistics(xp: Any, x: Any, real: Any, span: int) -> Any:
    """μ and σ² (C) of x (R, C), and with a mask the number of real rows (C), else None: those of this rank alone."""
    R, C = x.shape
    grid, rows, P = share(R, C)
    mean, var = xp.empty((P, C), x.dtype), xp.empty((P, C), x.dtype)
    counts = None if real is None else xp.empty((P, C), x.dtype)
    _cuda.launch("statistics", grid, x, real, mean, var, counts, R, C, rows, span)
    if P == 1:
        return mean[0], var[0], None if counts is None else counts[0]
    means, vars, mean, var = mean, var, xp.empty(C, x.dtype), xp.empty(C, x.dtype)
    count = None if counts is None else xp.empty(C, x.dtype)
    _cuda.launch("merged_statistics", whole(P, C), means, vars, counts, mean, var, count, P, R, C, rows)
    return mean, var, count


def _merged(xp: Any, mean: Any, var: Any, count: Any, across: Across) -> Any:
    """μ and σ² (C) and the number of rows (C) of all ranks. The squares of a rank are about its own mean."""
    total, rows = across(xp, count * mean, count)
    rows = xp.maximum(rows, 1)
    mu = total / rows
    squares, = across(xp, count * (var + (mean - mu) * (mean - mu)))
    return mu, squares / rows, rows


# --- Entry ----------------------------------------------------------------------------------------------------------

def batch_norm(xp: Any, x: Any, gamma: Any, beta: Any, mean: Any = None, var: Any = None, mask: Any = None, *,
               axis: int = -1, eps: float = 1e-5, across: Across = alone) -> Any:
    """See `tn.ops.batch_norm`. float32, channels last, with a mask of whole rows."""
    if (x.dtype != xp.float32 or not x.size or axis % x.ndim != x.ndim - 1 or (mean is None) != (var is None)
            or (mask is not None and mask.ndim == x.ndim)):
        return NotImplemented
    given, C, eps = mean is not None, x.shape[-1], float(eps)
    real, count = None if mask is None else xp.ascontiguousarray(mask != 0), None
    span = 1 if real is None else x.size // C // real.size
    x, gamma, beta = (xp.ascontiguousarray(array) for array in (x, gamma, beta))
    if given:
        mean, var = xp.ascontiguousarray(mean), xp.ascontiguousarray(var)
    else:
        mean, var, count = _statistics(xp, x.reshape(-1, C), real, span)
        if across is not alone:
            count = xp.full(C, x.size // C, x.dtype) if count is None else count
            mean, var, count = _merged(xp, mean, var, count, across)
    y = xp.empty(x.shape, x.dtype)
    _cuda.launch("normalise", one_each(x.size), x, mean, var, gamma, beta, real, y, eps, x.size, C, span)
    return (y, mean, var), (x, mean, var, gamma, eps, given, real, span, count, across)


def dbatch_norm(xp: Any, dy: Any, dmean: Any, dvar: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.batch_norm`."""
    x, mean, var, gamma, eps, given, real, span, count, across = cache
    C = x.shape[-1]
    R = x.size // C
    dy = xp.zeros_like(x) if dy is None else xp.ascontiguousarray(dy)
    arriving = (None if array is None else xp.ascontiguousarray(array) for array in (dmean, dvar))
    grid, rows, P = share(R, C)
    sums = xp.empty((2, P, C), x.dtype)
    _cuda.launch("dsums", grid, x, mean, real, dy, sums, R, C, rows, span)
    dgamma, dbeta, dmean, dvar = (xp.empty(C, x.dtype) for _ in range(4))
    _cuda.launch("dchannels", whole(P, C), sums, var, gamma, *arriving, dgamma, dbeta, dmean, dvar, eps, P, C)
    if not given and across is not alone:
        dvar, dmean = across(xp, dvar, dmean)
    dx = None
    if needs[0]:
        dx = xp.empty(x.shape, x.dtype)
        _cuda.launch("dnormalise", one_each(x.size), x, dy, mean, var, gamma, dmean, dvar, real, count, dx, eps, given,
                     x.size, R, C, span)
    return dx, dgamma, dbeta, dmean if given else None, dvar if given else None, None


def running_averages(xp: Any, running_mean: Any, running_var: Any, mean: Any, var: Any, mask: Any = None, *,
                     momentum: float, seen: Any, positions: int = 1, across: Across = alone) -> Any:
    """See `tinynet.ops.batchnorm`. float32 without a mask, one launch for both. `seen` is not read back."""
    if mean.dtype != xp.float32 or mask is not None:
        return NotImplemented
    momentum = float(momentum)
    _cuda.launch("running_averages", one_each(mean.size), running_mean, running_var, xp.ascontiguousarray(mean),
                 xp.ascontiguousarray(var), momentum, 1 - momentum, *here_and_there(xp, seen, xp.int64),
                 mean.size)
    return None
