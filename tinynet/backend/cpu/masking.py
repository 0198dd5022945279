"""Masked steps of ops/masking.py in Numba, for float32.

Layout

  quantity        here                                    specification
  x, y, δy, δx    (N T F), flat, in C order               (N, T, ...), F the elements of a step
  mask, cache     real, bytes (N T)                       (N, T), whether it is not 0
"""

from typing import Any

import numpy as np

from tinynet.backend import call
from tinynet.backend.cpu.runtime.jit import inline, njit
from tinynet.backend.cpu.runtime.memory import contiguous, empty
from tinynet.backend.cpu.runtime.threads import launch, shards_for
from tinynet.backend.cpu.runtime.vector import view

ALL_REAL = np.empty((0, 0), np.uint8)  # `real` in the place of no mask


# --- Equations ------------------------------------------------------------------------------------------------------
# Each takes the elements of one step. Backward, the value is 0.

@inline
def _masked(x: Any, is_real: Any, value: Any, y: Any) -> None:
    for j in range(x.size):
        y[j] = x[j] if is_real else value  # (1) (2)


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by memory: one pass over the steps, of which each thread takes an equal part.

@njit
def _steps(shard: Any, shards: Any, x: Any, real: Any, value: Any, y: Any) -> None:
    F = x.size // max(1, real.size)
    for step in range(shard * real.size // shards, (shard + 1) * real.size // shards):
        _masked(view(x, step * F, F), real[step] != 0, value, view(y, step * F, F))


def _run(x: Any, real: Any, value: float) -> Any:
    y = empty(x.shape)
    launch(_steps, contiguous(x).reshape(-1), real, np.float32(value), y.reshape(-1),
           shards=shards_for(x.size))
    return y


@njit
def is_real_at(real: Any, n: Any, t: Any) -> Any:
    """Whether step t of sequence n is real."""
    return real.size == 0 or real[n, t] != 0


# --- Entry ----------------------------------------------------------------------------------------------------------

def mask_steps(xp: Any, x: Any, mask: Any, *, value: float = 0.0) -> Any:
    """See `tn.ops.mask_steps`. float32."""
    if x.dtype != np.float32:
        return NotImplemented
    real = bytes_of(mask).reshape(-1)
    return _run(x, real, value), real


def dmask_steps(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.mask_steps`."""
    return _run(dy, cache, 0.0), None


def cleared(x: Any, real: Any) -> Any:
    """x (N,T,...) with zeros at masked steps; `real` from `bytes_of`."""
    return _run(x, real.reshape(-1), 0.0)


def bytes_of(mask: Any) -> Any:
    """Where a mask is not 0, as bytes in C order. Booleans in C order are not copied."""
    if mask.dtype == bool:
        return contiguous(mask).view(np.uint8)
    real = empty(mask.shape, bool)
    call(np.not_equal, mask, 0, real)
    return real.view(np.uint8)
