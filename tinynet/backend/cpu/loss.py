"""The cross-entropy of ops/loss.py in Numba, for float32, without weights, reduced to a mean or a sum.

Left to the specification: (7) (8) (9) of cross_entropy, and all calls with weights, ignored labels, probabilities as
labels, or no reduction.

Layout    R positions

  quantity          here                         specification
  logits, δlogits   (R, K), in C order           (..., K)
  labels            int64 (R)                    integers (...)
  q                 not stored                   (..., K)
  S                 R for the mean, else 1       Σ w[label] for the mean: all w are 1 here
  cache             ln p, labels, ε, S           ln p, q, w, whether k = label, S, the loss
"""

import math
from typing import Any

import numpy as np

from tinynet.backend import call
from tinynet.backend.cpu.runtime.jit import inline, njit
from tinynet.backend.cpu.runtime.memory import contiguous, empty, zeros
from tinynet.backend.cpu.runtime.threads import launch
from tinynet.backend.cpu.runtime.vector import view

# --- Equations ------------------------------------------------------------------------------------------------------

@inline
def _target(true: Any, K: Any, smoothing: Any) -> Any:
    """q of a class, float64; `true` says whether it is that of the label."""
    return (1 - smoothing) * (1.0 if true else 0.0) + smoothing / K  # (2)


@inline
def _loss(z: Any, label: Any, smoothing: Any, logp: Any, total: Any) -> None:
    """ln p (K) of a position with scores z (K). Its loss is added to total[0], in float64."""
    K = z.size
    largest = 0
    for k in range(K):
        if z[k] > z[largest] or (z[k] != z[k] and z[largest] == z[largest]):  # the first NaN counts as the largest
            largest = k
    rest = 0.0
    for k in range(K):
        if k != largest:
            rest += math.exp(z[k] - z[largest])
    log_of_sum = math.log1p(rest)
    for k in range(K):
        logp[k] = z[k] - z[largest] - log_of_sum  # (1)
        q = _target(k == label, K, smoothing)
        if q != 0:
            total[0] -= q * logp[k]  # (3)


@inline
def _dloss(dl: Any, logp: Any, label: Any, smoothing: Any, dz: Any) -> None:
    """δz (K) of a position; Σ q is 1."""
    K = logp.size
    for k in range(K):
        dz[k] = dl * (math.exp(logp[k]) - _target(k == label, K, smoothing))  # (6)


# --- Schedule -------------------------------------------------------------------------------------------------------
# A batch has a few thousand scores, for which a launch on several threads takes too long. One pass by one thread
# replaces the twenty passes of array code.

@njit
def _forward(shard: Any, shards: Any, logits: Any, labels: Any, smoothing: Any, logp: Any, total: Any) -> None:
    R, K = logits.shape
    for r in range(R):
        _loss(view(logits, r * K, K), labels[r], smoothing, view(logp, r * K, K), total)


@njit
def _backward(shard: Any, shards: Any, dl: Any, labels: Any, smoothing: Any, logp: Any, dlogits: Any) -> None:
    R, K = logp.shape
    for r in range(R):
        _dloss(dl[0], view(logp, r * K, K), labels[r], smoothing, view(dlogits, r * K, K))


def _divide(number: Any, S: int, result: Any) -> None:
    """In the dtype of `number`, then rounded to that of `result`."""
    result[...] = number / S  # (4) (5)


# --- Entry ----------------------------------------------------------------------------------------------------------

def cross_entropy(xp: Any, logits: Any, labels: Any, weight: Any = None, sample_weight: Any = None, *,
                  label_smoothing: float = 0.0, reduction: str = "mean", ignore_index: int | None = None) -> Any:
    """See `tn.ops.cross_entropy`. float32, class numbers, without weights and ignored labels, the mean or the sum."""
    if (logits.dtype != np.float32 or labels.dtype.kind == "f" or weight is not None or sample_weight is not None
            or reduction == "none" or ignore_index is not None or not labels.size):
        return NotImplemented
    labels = contiguous(labels.reshape(-1), np.int64)
    S = labels.size if reduction == "mean" else 1
    total, logp, loss = zeros((), np.float64), empty(logits.shape), empty((), logits.dtype)
    launch(_forward, contiguous(logits).reshape(labels.size, -1), labels, label_smoothing,
           logp.reshape(labels.size, -1), total.reshape(1), shards=1)
    call(_divide, total, S, loss)
    return loss, (logp, labels, label_smoothing, S)


def dcross_entropy(xp: Any, dloss: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.cross_entropy`."""
    logp, labels, label_smoothing, S = cache
    dl, dlogits = empty((1,)), empty(logp.shape)
    call(_divide, dloss, S, dl)
    launch(_backward, dl, labels, label_smoothing, logp.reshape(labels.size, -1), dlogits.reshape(labels.size, -1),
           shards=1)
    return dlogits, None, None, None
