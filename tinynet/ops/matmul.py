"""The matrix product, a @ b."""

from typing import Any

from tinynet.op import Array, Gradients, op
from tinynet.ops.axes import broadcasting, unbroadcast


@op("a:(...A,M,K) b:(...B,K,P) -> y:(...Y,M,P)", sizes=broadcasting("matmul"), flops=lambda s: 2 * s["K"],
    cases=[{"...A": (), "...B": ()}, {"...A": (2, 1), "...B": (3,)}, {"...A": (2,), "...B": (), "M": 1}])
def matmul(xp: Any, a: Array, b: Array) -> tuple[Array, Any]:
    """The product of two matrices, or of two stacks of matrices. The axes before the last two broadcast.

    Shapes    a (...A,M,K) · b (...B,K,P)  →  y (...Y,M,P)
    Forward   (1)  y = a b
    Backward  (2)  δa = δy bᵀ        summed over the axes along which a was broadcast
              (3)  δb = aᵀ δy        summed over the axes along which b was broadcast
    Because   yᵢⱼ = Σₖ aᵢₖ bₖⱼ. Row i of y alone reads aᵢₖ, with ∂yᵢⱼ/∂aᵢₖ = bₖⱼ: δaᵢₖ = Σⱼ δyᵢⱼ bₖⱼ = (δy bᵀ)ᵢₖ.
              Column j of y alone reads bₖⱼ, with ∂yᵢⱼ/∂bₖⱼ = aᵢₖ: δbₖⱼ = Σᵢ aᵢₖ δyᵢⱼ = (aᵀ δy)ₖⱼ.
    Cache     a and b

    >>> import tinynet as tn
    >>> tn.ops.matmul(tn.Tensor([[1.0, 2.0]]), tn.Tensor([[3.0], [4.0]])).numpy()
    array([[11.]], dtype=float32)
    """
    return a @ b, (a, b)  # (1)


@matmul.gradient
def dmatmul(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Gradients:
    a, b = cache
    da = unbroadcast(xp, dy @ xp.swapaxes(b, -1, -2), a.shape) if needs[0] else None  # (2)
    db = unbroadcast(xp, xp.swapaxes(a, -1, -2) @ dy, b.shape) if needs[1] else None  # (3)
    return da, db
