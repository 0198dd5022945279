"""The rectifier of ops/activation.py in Numba, for float32.

Layout

  quantity        here                                        specification
  x, y, δy, δx    flat, in C order                            (...)
  cache           x > 0, a byte for each element; empty       x > 0
                  where no backward pass will follow
"""

from typing import Any

import numpy as np

from tinynet.backend import is_recording
from tinynet.backend.cpu.runtime.jit import inline, njit
from tinynet.backend.cpu.runtime.memory import contiguous, empty
from tinynet.backend.cpu.runtime.threads import launch, shards_for

# --- Equations ------------------------------------------------------------------------------------------------------

@inline
def _rectified(x: Any) -> Any:
    return np.float32(0) if x < 0 else x  # (1) NaN passes


@inline
def _passed(dy: Any, positive: Any) -> Any:
    return dy if positive else np.float32(0)  # (2)


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by memory: one pass over the elements, of which each thread takes an equal part.

@njit
def _relu(shard: Any, shards: Any, x: Any, y: Any, positive: Any) -> None:
    start, end = shard * x.size // shards, (shard + 1) * x.size // shards
    x, y = x[start:end], y[start:end]
    for i in range(end - start):
        y[i] = _rectified(x[i])
    if positive.size:
        positive = positive[start:end]
        for i in range(end - start):
            positive[i] = x[i] > 0


@njit
def _drelu(shard: Any, shards: Any, dy: Any, positive: Any, dx: Any) -> None:
    start, end = shard * dy.size // shards, (shard + 1) * dy.size // shards
    dy, positive, dx = dy[start:end], positive[start:end], dx[start:end]
    for i in range(end - start):
        dx[i] = _passed(dy[i], positive[i])


# --- Entry ----------------------------------------------------------------------------------------------------------

def relu(xp: Any, x: Any) -> Any:
    """See `tn.ops.relu`. float32."""
    if x.dtype != np.float32:
        return NotImplemented
    y, positive = empty(x.shape), empty(x.shape if is_recording() else (0,), np.bool_)
    launch(_relu, contiguous(x).reshape(-1), y.reshape(-1), positive.reshape(-1), shards=shards_for(x.size))
    return y, positive


def drelu(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.relu`."""
    positive, dx = cache, empty(dy.shape)
    launch(_drelu, contiguous(dy).reshape(-1), positive.reshape(-1), dx.reshape(-1),
           shards=shards_for(dy.size))
    return dx
