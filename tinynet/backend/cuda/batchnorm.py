"""Batch normalisation of ops/batchnorm.py on a GPU, by the kernels of batchnorm.cu, for channels on the last axis.

What bounds it: memory, or launches. Forward reads x three times, the second time from the cache, and writes y; backward
reads x and dy twice and writes dx.
"""

from typing import Any

from tinynet.backend import room
from tinynet.backend.cuda.column_sums import share, whole
from tinynet.backend.cuda.runtime.launch import Kernels, one_each

_cuda = Kernels("batchnorm")


def batch_norm(xp: Any, x: Any, gamma: Any, beta: Any, mean: Any = None, var: Any = None, *, axis: int = -1,
               eps: float = 1e-5) -> Any:
    """See `tn.ops.batch_norm`. float32, channels last."""
    if x.dtype != xp.float32 or axis % x.ndim != x.ndim - 1 or (mean is None) != (var is None):
        return NotImplemented
    given, C, eps = mean is not None, x.shape[-1], float(eps)
    R = x.size // C
    x, gamma, beta = (xp.ascontiguousarray(array) for array in (x, gamma, beta))
    if given:
        mean, var = xp.ascontiguousarray(mean), xp.ascontiguousarray(var)
    else:
        mean, var = _statistics(xp, x.reshape(R, C))
    y = xp.empty(x.shape, x.dtype)
    _cuda.launch("normalise", one_each(x.size), x, mean, var, gamma, beta, y, eps, x.size, C)  # (3) (4)
    return (y, mean, var), (x, mean, var, gamma, eps, given)


def dbatch_norm(xp: Any, dy: Any, dmean: Any, dvar: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.batch_norm`."""
    x, mean, var, gamma, eps, given = cache
    C = x.shape[-1]
    R = x.size // C
    dy = xp.zeros_like(x) if dy is None else xp.ascontiguousarray(dy)
    arriving = (None if array is None else xp.ascontiguousarray(array) for array in (dmean, dvar))
    grid, rows, P = share(R, C)
    sums = xp.empty((2, P, C), x.dtype)
    _cuda.launch("dsums", grid, x, mean, dy, sums, R, C, rows)
    dgamma, dbeta = room(xp, needs[1], gamma), room(xp, needs[2], gamma)
    dmean, dvar = xp.empty(C, x.dtype), xp.empty(C, x.dtype)
    _cuda.launch("dchannels", whole(P, C), sums, var, gamma, *arriving, dgamma, dbeta, dmean, dvar, eps, P,
                 C)  # (5) to (9)
    dx = None
    if needs[0]:
        dx = xp.empty(x.shape, x.dtype)
        _cuda.launch("dnormalise", one_each(x.size), x, dy, mean, var, gamma, dmean, dvar, dx, eps, given, x.size, R,
                     C)  # (10) (11)
    return dx, dgamma, dbeta, dmean if given else None, dvar if given else None


def _statistics(xp: Any, x: Any) -> Any:
    """Mean and variance of the columns of x (R,C)."""
    R, C = x.shape
    grid, rows, P = share(R, C)
    mean, var = xp.empty((P, C), x.dtype), xp.empty((P, C), x.dtype)
    _cuda.launch("statistics", grid, x, mean, var, R, C, rows)  # (1) (2)
    if P == 1:
        return mean[0], var[0]
    means, vars, mean, var = mean, var, xp.empty(C, x.dtype), xp.empty(C, x.dtype)
    _cuda.launch("merged_statistics", whole(P, C), means, vars, mean, var, P, R, C, rows)
    return mean, var


def running_averages(xp: Any, running_mean: Any, running_var: Any, mean: Any, var: Any, *, momentum: float) -> Any:
    """See `tinynet.ops.batchnorm`. float32, in one launch: there is little to compute."""
    if mean.dtype != xp.float32:
        return NotImplemented
    momentum = float(momentum)
    _cuda.launch("running_averages", one_each(mean.size), running_mean, running_var, xp.ascontiguousarray(mean),
                 xp.ascontiguousarray(var), momentum, 1 - momentum, mean.size)  # (12)
    return None
