"""Batch normalisation of ops/batchnorm.py on a GPU, by the kernels of batchnorm.cu, for channels on the last axis.

What bounds it: memory. Forward reads x three times and writes y; backward reads x and dy twice and writes dx.
"""

from typing import Any

from tinynet.backend.cuda.columns import column_grid, stretches
from tinynet.backend.cuda.launch import Kernels, one_each

_cuda, _columns = Kernels("batchnorm"), Kernels("columns")


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
        sums, mean, var = xp.empty((stretches(R), C), x.dtype), xp.empty(C, x.dtype), xp.empty(C, x.dtype)
        _columns.launch("column_sums", column_grid(R, C), x, sums, 1.0, R, C)
        _cuda.launch("mean_of_sums", one_each(C), sums, mean, len(sums), R, C)  # (1)
        _cuda.launch("squares", column_grid(R, C), x, mean, sums, R, C)
        _cuda.launch("mean_of_sums", one_each(C), sums, var, len(sums), R, C)  # (2)
    y = xp.empty(x.shape, x.dtype)
    _cuda.launch("normalise", one_each(x.size), x, mean, var, gamma, beta, y, eps, x.size, C)  # (3) (4)
    return (y, mean, var), (x, mean, var, gamma, eps, given)


def dbatch_norm(xp: Any, dy: Any, dmean: Any, dvar: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.batch_norm`."""
    x, mean, var, gamma, eps, given = cache
    C = x.shape[-1]
    R = x.size // C
    dy, dmean, dvar = (xp.ascontiguousarray(array) for array in (dy, dmean, dvar))
    sums = xp.empty((2, stretches(R), C), x.dtype)
    _cuda.launch("dsums", column_grid(R, C), x, mean, dy, sums, R, C)
    channels = [xp.empty(C, x.dtype) for _ in range(4)]
    _cuda.launch("dchannels", one_each(C), sums, var, gamma, dmean, dvar, *channels, eps, stretches(R), C)  # (5) to (9)
    dgamma, dbeta, dmean, dvar = channels
    dx = None
    if needs[0]:
        dx = xp.empty(x.shape, x.dtype)
        _cuda.launch("dnormalise", one_each(x.size), x, dy, mean, var, gamma, dmean, dvar, dx, eps, given, x.size, R,
                     C)  # (10) (11)
    return dx, dgamma, dbeta, dmean if given else None, dvar if given else None


def running_averages(xp: Any, running_mean: Any, running_var: Any, mean: Any, var: Any, *, momentum: float) -> Any:
    """See `tinynet.ops.batchnorm`. float32, in one launch: there is little to compute."""
    if mean.dtype != xp.float32:
        return NotImplemented
    momentum = float(momentum)
    _cuda.launch("running_averages", one_each(mean.size), running_mean, running_var, xp.ascontiguousarray(mean),
                 xp.ascontiguousarray(var), momentum, 1 - momentum, mean.size)  # (12)
    return None
