"""The cross-entropy of ops/loss.py in Numba, unweighted and reduced: one pass over the scores.

What bounds it: a handful of numbers is not worth threads, and not the twenty passes of array code either.
"""

import math
from typing import Any

import numpy as np

from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.memory import empty
from tinynet.backend.cpu.runtime.threads import launch


def cross_entropy(xp: Any, logits: Any, labels: Any, weight: Any = None, *, label_smoothing: float = 0.0,
                  reduction: str = "mean") -> Any:
    """See `tn.ops.cross_entropy`. float32, without weights, the mean or the sum."""
    if logits.dtype != np.float32 or weight is not None or reduction == "none" or not labels.size:
        return NotImplemented
    labels = np.ascontiguousarray(labels.reshape(-1), np.int64)
    S = labels.size if reduction == "mean" else 1
    total, logp = np.zeros(1), empty(logits.shape)
    launch(_forward, np.ascontiguousarray(logits).reshape(labels.size, -1), labels, label_smoothing,
           logp.reshape(labels.size, -1), total, shards=1)
    return np.asarray(total[0] / S, logits.dtype), (logp, labels, label_smoothing, S)  # (4) ()


def dcross_entropy(xp: Any, dloss: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.cross_entropy`."""
    logp, labels, label_smoothing, S = cache
    dlogits = empty(logp.shape)
    launch(_backward, np.float32(dloss / S), labels, label_smoothing, logp.reshape(labels.size, -1),
           dlogits.reshape(labels.size, -1), shards=1)
    return dlogits, None, None


@njit
def _forward(shard: Any, shards: Any, logits: Any, labels: Any, smoothing: Any, logp: Any, total: Any) -> None:
    R, K = logits.shape
    for r in range(R):
        largest = 0
        for k in range(K):
            z, best = logits[r, k], logits[r, largest]
            if z > best or (z != z and best == best):  # the first NaN is the largest
                largest = k
        rest = 0.0
        for k in range(K):
            if k != largest:
                rest += math.exp(logits[r, k] - logits[r, largest])
        log_of_sum = math.log1p(rest)
        for k in range(K):
            logp[r, k] = logits[r, k] - logits[r, largest] - log_of_sum  # (1)
            total[0] -= _share(k == labels[r], K, smoothing) * logp[r, k]  # (2) (3)


@njit
def _backward(shard: Any, shards: Any, dl: Any, labels: Any, smoothing: Any, logp: Any, dlogits: Any) -> None:
    R, K = logp.shape
    for r in range(R):
        for k in range(K):
            q = _share(k == labels[r], K, smoothing)
            dlogits[r, k] = dl * (math.exp(logp[r, k]) - q)  # (5) (6), where the sum of q is 1


@njit
def _share(true: Any, K: Any, smoothing: Any) -> Any:
    """Of a class in the target."""
    return (1 - smoothing) * (1.0 if true else 0.0) + smoothing / K
