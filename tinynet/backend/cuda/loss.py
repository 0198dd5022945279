"""The cross-entropy of ops/loss.py on a GPU, by the kernels of loss.cu: unweighted and reduced.

What bounds it: launches, two forward and one backward. Nothing comes back to the host: the loss stays on the device.
"""

from typing import Any

from tinynet.backend.cuda.columns import column_sums
from tinynet.backend.cuda.launch import Kernels, one_each

_WARP = 32  # threads for one row

_cuda = Kernels("loss")


def cross_entropy(xp: Any, logits: Any, labels: Any, weight: Any = None, *, label_smoothing: float = 0.0,
                  reduction: str = "mean") -> Any:
    """See `tn.ops.cross_entropy`. float32, without weights, the mean or the sum."""
    if logits.dtype != xp.float32 or weight is not None or reduction == "none" or not logits.size:
        return NotImplemented
    R, K = labels.size, logits.shape[-1]
    logits, labels = xp.ascontiguousarray(logits), xp.ascontiguousarray(labels.astype(xp.int64, copy=False))
    logp, losses = xp.empty(logits.shape, logits.dtype), xp.empty((R, 1), logits.dtype)
    _cuda.launch("cross_entropy", one_each(R * _WARP), logits, labels, logp, losses, float(label_smoothing), R, K)
    one_over_S = 1 / R if reduction == "mean" else 1.0
    loss = column_sums(xp, losses, one_over_S).reshape(())  # (4) ()
    return loss, (logp, labels, float(label_smoothing), one_over_S)


def dcross_entropy(xp: Any, dloss: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.cross_entropy`."""
    logp, labels, label_smoothing, one_over_S = cache
    dlogits = xp.empty(logp.shape, logp.dtype)
    _cuda.launch("dcross_entropy", one_each(logp.size), logp, labels, xp.ascontiguousarray(dloss), dlogits,
                 label_smoothing, one_over_S, logp.size, logp.shape[-1])
    return dlogits, None, None
