"""Products of matrices: `a @ b`, and the dense layer x W + b."""

from typing import Any

from tinynet.op import op
from tinynet.ops.elementwise import broadcast, unbroadcast


def _matmul_sizes(known: dict[str, Any]) -> dict[str, Any]:
    return {"...Y": broadcast("matmul", known["...A"], known["...B"])}


@op("a:(...A,M,K) b:(...B,K,P) -> y:(...Y,M,P)", sizes=_matmul_sizes,
    cases=[{"...A": (), "...B": ()}, {"...A": (2, 1), "...B": (3,)}, {"...A": (2,), "...B": (), "M": 1}])
def matmul(xp: Any, a: Any, b: Any) -> Any:
    """The product of two matrices, or of two stacks of matrices.

    Shapes    a (...A,M,K) · b (...B,K,P)  →  y (...Y,M,P); the axes in front broadcast
    Forward   (1)  y = a b,  yᵢⱼ = Σₖ aᵢₖ bₖⱼ
    Backward  (2)  δa = δy bᵀ        because ∂yᵢⱼ/∂aᵢₖ = bₖⱼ, summed over j
              (3)  δb = aᵀ δy        because ∂yᵢⱼ/∂bₖⱼ = aᵢₖ, summed over i
    Cache     a and b

    >>> import tinynet as tn
    >>> tn.ops.matmul(tn.Tensor([[1.0, 2.0]]), tn.Tensor([[3.0], [4.0]])).numpy()
    array([[11.]], dtype=float32)
    """
    return a @ b, (a, b)  # (1)


@matmul.gradient
def dmatmul(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    a, b = cache
    da = unbroadcast(xp, dy @ xp.swapaxes(b, -1, -2), a.shape) if needs[0] else None  # (2)
    db = unbroadcast(xp, xp.swapaxes(a, -1, -2) @ dy, b.shape) if needs[1] else None  # (3)
    return da, db


@op("x:(...,D) W:(D,F) b?:(F) -> y:(...,F)",
    cases=[{"...": (4,)}, {"...": (2, 3), "b": None}, {"...": (), "D": 1}, {"...": (1, 7), "F": 1}])
def dense(xp: Any, x: Any, W: Any, b: Any = None) -> Any:
    """A fully connected layer: every output is a weighted sum of all the features on the last axis.

    Shapes    x (...,D) · W (D,F) · b (F) or None  →  y (...,F)
    Forward   (1)  y = x W + b
    Backward  (2)  δx = δy Wᵀ
              (3)  δW = xᵀ δy,  summed over all positions
              (4)  δb = Σ δy,   summed over all positions
    Cache     x and W
    Source    Rosenblatt 1958; the gradients are those of a product of matrices

    >>> import tinynet as tn
    >>> x, W, b = tn.Tensor([[1.0, 2.0]]), tn.Tensor([[1.0], [3.0]]), tn.Tensor([0.5])
    >>> tn.ops.dense(x, W, b).numpy()
    array([[7.5]], dtype=float32)
    """
    y = x.reshape(-1, x.shape[-1]) @ W  # (1) (R,F)
    if b is not None:
        y += b
    return y.reshape(*x.shape[:-1], W.shape[1]), (x, W)  # (...,F)


@dense.gradient
def ddense(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    x, W = cache
    need_x, need_W, need_b = needs
    dy = dy.reshape(-1, W.shape[1])  # (R,F)
    dx = (dy @ W.T).reshape(x.shape) if need_x else None  # (2)
    dW = x.reshape(-1, W.shape[0]).T @ dy if need_W else None  # (3)
    db = dy.sum(axis=0) if need_b else None  # (4)
    return dx, dW, db
