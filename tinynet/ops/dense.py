"""The dense layer, x W + b."""

import math
from typing import Any

from tinynet.op import Array, Gradients, op


@op("x:(...,D) W:(D,F) b?:(F) -> y:(...,F)", flops=lambda s: 2 * s["D"] + s["b"],
    cases=[{"...": (4,)}, {"...": (2, 3), "b": None}, {"...": (), "D": 1}, {"...": (1, 7), "F": 1}])
def dense(xp: Any, x: Array, W: Array, b: Array | None = None) -> tuple[Array, Any]:
    """A fully connected layer: each output is a weighted sum of the features on the last axis.

    Shapes    x (...,D) · W (D,F) · b (F) or None  →  y (...,F)
    Forward   (1)  y = x W + b
    Backward  (2)  δx = δy Wᵀ
              (3)  δW = xᵀ δy        summed over all positions
              (4)  δb = Σ δy         summed over all positions
    Because   at position r, y[r,f] = Σ_d x[r,d] W[d,f] + b[f]. The chain rule gives, with the three derivatives
              ∂y[r,f]/∂x[r,d] = W[d,f]        δx[r,d] = Σ_f δy[r,f] W[d,f] = (δy Wᵀ)[r,d]
              ∂y[r,f]/∂W[d,f] = x[r,d]        δW[d,f] = Σ_r x[r,d] δy[r,f] = (xᵀ δy)[d,f]
              ∂y[r,f]/∂b[f] = 1               δb[f] = Σ_r δy[r,f]
    Cache     x and W
    Source    Rosenblatt 1958

    >>> import tinynet as tn
    >>> x, W, b = tn.Tensor([[1.0, 2.0]]), tn.Tensor([[1.0], [3.0]]), tn.Tensor([0.5])
    >>> tn.ops.dense(x, W, b).numpy()
    array([[7.5]], dtype=float32)
    """
    R = math.prod(x.shape[:-1])
    y = x.reshape(R, x.shape[-1]) @ W  # (1) (R,F)
    if b is not None:
        y += b
    return y.reshape(*x.shape[:-1], W.shape[1]), (x, W)  # (...,F)


@dense.gradient
def ddense(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Gradients:
    x, W = cache
    need_x, need_W, need_b = needs
    R = math.prod(x.shape[:-1])
    dy = dy.reshape(R, W.shape[1])  # (R,F)
    dx = (dy @ W.T).reshape(x.shape) if need_x else None  # (2)
    dW = x.reshape(R, W.shape[0]).T @ dy if need_W else None  # (3)
    db = dy.sum(axis=0) if need_b else None  # (4)
    return dx, dW, db
