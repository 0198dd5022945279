"""The cross-entropy of ops/loss.py on a GPU, for float32, without weights, reduced to a mean or a sum; and the tally.

Left to the specification: (7) (8) (9) of cross_entropy, and all calls with weights, probabilities as labels, or without
a reduction.

Layout    R positions

  quantity          here                                   specification
  logits, δlogits   (R, K), in C order                     (..., K)
  labels            int64 (R)                              integers (...)
  q                 not stored                             (..., K)
  1 / S             1 / R for the mean, else 1             1 / Σ w[label] for the mean: all w are 1 here
  losses            (blocks, 1): the part of each block    Σ l
  cache             ln p, labels, ε, 1 / S                 ln p, q, w, whether k = label, S, the loss
  tally             int64 right (), one label a sample     L labels a sample
"""

from typing import Any

from tinynet.backend.cuda.column_sums import column_sums
from tinynet.backend.cuda.runtime.launch import Grid, Kernels, one_each

# --- Equations ------------------------------------------------------------------------------------------------------

_cuda = Kernels("loss")

# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by launches: one forward, one backward. One block has all rows if these are few. The loss stays on the device.

_WARP, _WARPS = 32, 32  # threads for one row, and rows at once in a block, at most
_ROWS_ALONE = 4 * _WARPS  # rows that one block has, at most; with several blocks, a warp has one row


# --- Entry ----------------------------------------------------------------------------------------------------------

def cross_entropy(xp: Any, logits: Any, labels: Any, weight: Any = None, sample_weight: Any = None, *,
                  label_smoothing: float = 0.0, reduction: str = "mean", ignore_index: int | None = None) -> Any:
    """See `tn.ops.cross_entropy`. float32, class numbers, without weights and ignored labels, the mean or the sum."""
    if (logits.dtype != xp.float32 or labels.dtype.kind == "f" or weight is not None or sample_weight is not None
            or reduction == "none" or ignore_index is not None or not logits.size):
        return NotImplemented
    R, K = labels.size, logits.shape[-1]
    logits, labels = xp.ascontiguousarray(logits), xp.ascontiguousarray(labels.astype(xp.int64, copy=False))
    one_over_S, smoothing = 1 / R if reduction == "mean" else 1.0, float(label_smoothing)
    rows = R if R <= _ROWS_ALONE else _WARPS
    blocks = -(-R // rows)
    logp, losses = xp.empty(logits.shape, logits.dtype), xp.empty((blocks, 1), logits.dtype)
    _cuda.launch("cross_entropy", Grid((blocks, 1, 1), (_WARP * min(rows, _WARPS), 1, 1)), logits, labels, logp, losses,
                 smoothing, one_over_S if blocks == 1 else 1.0, R, K, rows)
    loss = losses if blocks == 1 else column_sums(xp, losses, one_over_S)  # (4)
    return loss.reshape(()), (logp, labels, smoothing, one_over_S)


def dcross_entropy(xp: Any, dloss: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.cross_entropy`."""
    logp, labels, label_smoothing, one_over_S = cache
    dlogits = xp.empty(logp.shape, logp.dtype)
    _cuda.launch("dcross_entropy", one_each(logp.size), logp, labels, xp.ascontiguousarray(dloss), dlogits,
                 label_smoothing, one_over_S, logp.size, logp.shape[-1])
    return dlogits, None, None, None


def tally(xp: Any, total: Any, right: Any, loss: Any, scores: Any, labels: Any) -> Any:
    """See `tinynet.ops.loss`. float32, and one label for each sample, in one launch."""
    arrays = (total, right, loss, scores)
    if labels.ndim != 1 or [array.dtype for array in arrays] != [xp.float32, xp.int64, xp.float32, xp.float32]:
        return NotImplemented
    _cuda.launch("tally", one_each(labels.size * _WARP), total, right, loss, xp.ascontiguousarray(scores),
                 xp.ascontiguousarray(labels.astype(xp.int64, copy=False)), *scores.shape)
    return None
