"""Layer normalisation of ops/layernorm.py in Numba, for float32.

Layout    R positions of D features

  quantity         here                                        specification
  x, y, δy, δx     (R, D), in C order                          (..., D)
  μ, 1 / s         (R, 2), both of a position side by side     (..., 1)
  δγ, δβ           float64 (shards, 2, D), then summed         (D)
  cache            x, γ, μ and 1 / s                           x̂, s and γ: x̂ is computed again
"""

from typing import Any

import numpy as np

from tinynet.backend import call
from tinynet.backend.cpu.runtime.jit import inline, njit, noalias
from tinynet.backend.cpu.runtime.memory import contiguous, empty, zeros
from tinynet.backend.cpu.runtime.rows import dot, total
from tinynet.backend.cpu.runtime.threads import launch, shards_for
from tinynet.backend.cpu.runtime.vector import add_row, clear, view

_TOGETHER = 64  # positions whose δγ and δβ are summed in float32

# --- Equations ------------------------------------------------------------------------------------------------------
# Each function takes the features of one position.

@noalias
def _centre(x: Any, mean: Any, y: Any) -> None:
    for d in range(y.size):
        y[d] = x[d] - mean


@inline
def _inverse_deviation(centred: Any, eps: Any) -> Any:
    return np.float32(1) / np.sqrt(dot(centred, centred) / np.float32(centred.size) + eps)  # (1)


@noalias
def _scale_and_shift(inverse: Any, gamma: Any, beta: Any, y: Any) -> None:
    """y holds x − μ before."""
    for d in range(y.size):
        y[d] = y[d] * inverse * gamma[d] + beta[d]  # (2) (3)


@noalias
def _gradients(x: Any, mean: Any, inverse: Any, gamma: Any, dy: Any, xhat: Any, dxhat: Any, dgamma: Any,
               dbeta: Any) -> None:
    for d in range(xhat.size):
        xhat[d] = (x[d] - mean) * inverse
        dxhat[d] = dy[d] * gamma[d]
        dgamma[d] += dy[d] * xhat[d]  # (5)
        dbeta[d] += dy[d]  # (6)


@noalias
def _combine(inverse: Any, by_xhat: Any, constant: Any, xhat: Any, dxhat: Any, dx: Any) -> None:
    """`constant` is mean(δx̂), and `by_xhat` mean(δx̂ x̂)."""
    for d in range(dx.size):
        dx[d] = (dxhat[d] - constant - xhat[d] * by_xhat) * inverse  # (4)


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by memory: each pass over a position finds it in the nearest cache. Threads take equal numbers of positions.

@njit
def _normalised(shard: Any, shards: Any, x: Any, gamma: Any, beta: Any, eps: Any, y: Any, statistics: Any) -> None:
    R, D = y.shape
    for r in range(shard * R // shards, (shard + 1) * R // shards):
        row, result = view(x, r * D, D), view(y, r * D, D)
        mean = total(row) / np.float32(D)
        _centre(row, mean, result)
        inverse = _inverse_deviation(result, eps)
        statistics[r, 0], statistics[r, 1] = mean, inverse
        _scale_and_shift(inverse, gamma, beta, result)


@njit
def _backward(shard: Any, shards: Any, x: Any, gamma: Any, statistics: Any, dy: Any, dx: Any, sums: Any) -> None:
    R, D = dx.shape
    low, high = shard * R // shards, (shard + 1) * R // shards
    xhat, dxhat = np.empty(D, x.dtype), np.empty(D, x.dtype)
    dgamma, dbeta = np.empty(D, x.dtype), np.empty(D, x.dtype)
    for first in range(low, high, _TOGETHER):
        clear(dgamma)
        clear(dbeta)
        for r in range(first, min(first + _TOGETHER, high)):
            inverse = statistics[r, 1]
            _gradients(view(x, r * D, D), statistics[r, 0], inverse, gamma, view(dy, r * D, D), xhat, dxhat, dgamma,
                       dbeta)
            constant, by_xhat = total(dxhat) / np.float32(D), dot(dxhat, xhat) / np.float32(D)
            _combine(inverse, by_xhat, constant, xhat, dxhat, view(dx, r * D, D))
        add_row(dgamma, view(sums, 2 * shard * D, D))
        add_row(dbeta, view(sums, (2 * shard + 1) * D, D))


# --- Entry ----------------------------------------------------------------------------------------------------------

def layer_norm(xp: Any, x: Any, gamma: Any, beta: Any, *, eps: float = 1e-5) -> Any:
    """See `tn.ops.layer_norm`. float32."""
    if x.dtype != np.float32 or not x.size:
        return NotImplemented
    x, gamma, D = contiguous(x), contiguous(gamma), x.shape[-1]
    y, statistics = empty(x.shape), empty((x.size // D, 2))
    launch(_normalised, x, gamma, contiguous(beta), np.float32(eps), y.reshape(-1, D), statistics,
           shards=shards_for(x.size))
    return y, (x, gamma, statistics)


def dlayer_norm(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.layer_norm`."""
    x, gamma, statistics = cache
    shards, D = shards_for(x.size), x.shape[-1]
    dx, sums, results = empty(x.shape), zeros((shards, 2, D), np.float64), empty((2, D))
    launch(_backward, x, gamma, statistics, contiguous(dy), dx.reshape(-1, D), sums, shards=shards)
    call(np.sum, sums, axis=0, out=results)
    return dx, results[0], results[1]
