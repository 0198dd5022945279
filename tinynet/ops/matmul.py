"""Products of matrices, a @ b."""

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
