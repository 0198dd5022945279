"""Layer normalisation."""

from typing import Any

from tinynet.op import Array, Gradients, op


@op("x:(...,D) gamma:(D) beta:(D) -> y:(...,D)", flops=8,
    cases=[{"...": (3,), "D": 4}, {"...": (2, 3), "D": 5, "eps": 0.1}, {"...": (), "D": 3}])
def layer_norm(xp: Any, x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5) -> tuple[Array, Any]:
    """Layer normalisation: the features of each position are shifted and scaled to mean 0 and variance 1, then by γ, β.

    Shapes    x (...,D) · gamma, beta (D)  →  y (...,D)
    Forward   for each position, with the mean over its D features
      (1)  s = √(mean((x − μ)²) + ε)        with μ = mean(x)
      (2)  x̂ = (x − μ) / s
      (3)  y = γ x̂ + β
    Backward  δx̂ = δy γ; sums over all positions
      (4)  δx = (δx̂ − mean(δx̂) − x̂ mean(δx̂ x̂)) / s
      (5)  δγ = Σ δy x̂
      (6)  δβ = Σ δy
    Because   as for batch_norm, with the features of a position in place of the elements of a channel: x changes x̂
              directly, ∂x̂/∂x = 1 / s, and through s and μ, of which the two means are the gradients; ∂y/∂γ = x̂
    Cache     x̂, s and γ
    Source    Ba, Kiros, Hinton 2016

    >>> import tinynet as tn
    >>> tn.ops.layer_norm(tn.Tensor([[1.0, 3.0]]), tn.Tensor([1.0, 1.0]), tn.Tensor([0.0, 0.0])).numpy().round(3)
    array([[-1.,  1.]], dtype=float32)
    """
    centred = x - x.mean(axis=-1, keepdims=True)
    s = xp.sqrt((centred * centred).mean(axis=-1, keepdims=True) + eps)  # (1)
    xhat = centred / s  # (2)
    return gamma * xhat + beta, (xhat, s, gamma)  # (3)


@layer_norm.gradient
def dlayer_norm(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Gradients:
    xhat, s, gamma = cache
    d, positions = dy * gamma, tuple(range(dy.ndim - 1))
    dx = (d - d.mean(axis=-1, keepdims=True) - xhat * (d * xhat).mean(axis=-1, keepdims=True)) / s  # (4)
    return dx, (dy * xhat).sum(axis=positions), dy.sum(axis=positions)  # (5) (6)
