"""Sequences of different lengths in one array: the steps where a mask is 0 are padding."""

from typing import Any

from tinynet.op import Array, Gradients, op


@op("x:any(N,T,...) mask:any(N,T) -> y:any(N,T,...)", flops=0,
    cases=[{"N": 3, "T": 5, "...": (2,), "mask": "boolean"}, {"T": 3, "...": (), "mask": "boolean", "value": 7.0},
           {"N": 1, "T": 4, "...": (2, 3), "mask": "boolean"}])
def mask_steps(xp: Any, x: Array, mask: Array, *, value: float = 0.0) -> tuple[Array, Any]:
    """Sequences with a constant in place of their masked steps, which may hold NaN.

    A step is real where the mask is not 0. The mask holds booleans or numbers, and has no gradient.

    Shapes    x (N,T,...) · mask (N,T)  →  y (N,T,...)
    Forward   (1)  y = x at the real steps, value at the masked ones
    Backward  (2)  δx = δy at the real steps, 0 at the masked ones
    Because   y copies x at the real steps, with ∂y/∂x = 1, and is constant at the others
    Cache     where the mask is not 0
    Source    Chollet et al., Keras: the layer Masking

    >>> import tinynet as tn
    >>> tn.ops.mask_steps(tn.Tensor([[1.0, 2.0, float("nan")]]), [[1, 1, 0]]).numpy()
    array([[1., 2., 0.]], dtype=float32)
    """
    real = (mask != 0).reshape(*mask.shape, *[1] * (x.ndim - 2))  # (N,T,1,...)
    return xp.where(real, x, xp.full((), value, x.dtype)), real  # (1)


@mask_steps.gradient
def dmask_steps(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Gradients:
    return xp.where(cache, dy, xp.zeros((), dy.dtype)), None  # (2)
