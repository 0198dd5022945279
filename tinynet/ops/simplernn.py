"""The simplest recurrent network: equation (1), its gradients (2) to (5), and masked steps, (6) to (10).

Derivation. In (1), hₜ is tanh of a = hₜ₋₁ W_h + xₜ W_x + b, with tanh' = 1 − tanh² = 1 − hₜ², which gives (2). (3), (4)
and (5) are the gradients of the two products and of a bias, derived in ops/dense.py. All steps share W and b, which is
why (5) sums over time. At a masked step h is that of the step before (7), so δh passes unchanged (10). Its x, which may
be NaN, is replaced (6) and reaches no output: δa = 0 (9). y = 0 (8) depends on nothing, so δy is left out there.

Why gradients vanish. By (2) and (3), one step back multiplies δh by the matrix diag(1 − hₜ²) W_hᵀ. From step T to step
1 that are T − 1 such matrices. With 1 − hₜ² below 1 and W_h of norm 1, their product falls exponentially with T; with a
larger W_h it may grow exponentially. The LSTM adds to its state instead: (13) of ops/lstm.py multiplies δC by f alone.
"""

from typing import Any

from tinynet.op import Array, Gradients, op


@op("x:(N,T,D) h0?:(N,H) W:(H+D,H) b?:(H) mask?:any(N,T) -> y:(N,T,H) h:(N,H)",
    flops=lambda s: 2 * (s["H"] + s["D"]) + 1 + s["b"], keeps=lambda s: s["N"] * s["T"] * (s["H"] + s["D"]),
    cases=[{"N": 3, "T": 5, "D": 2, "H": 4}, {"N": 1, "T": 1, "D": 3, "H": 2},
           {"N": 2, "T": 3, "D": 5, "H": 3, "h0": None, "b": None}, {"N": 3, "T": 5, "D": 2, "H": 2, "mask": "boolean"},
           {"N": 4, "T": 3, "D": 1, "H": 2, "mask": "boolean", "h0": None, "b": None}])
def simple_rnn(xp: Any, x: Array, h0: Array | None, W: Array, b: Array | None = None,
               mask: Array | None = None) -> tuple[tuple[Array, Array], Any]:
    """A recurrent network without gates over a whole sequence: the state is tanh of a product of state and input.

    W has the rows of h, W_h, above those of x, W_x. None means zeros for the initial state h0 and for b. Steps are real
    where `mask`, of booleans or numbers, is not 0.

    Shapes    x (N,T,D) · h0 (N,H) · W (H+D,H) · b (H) · mask (N,T)  →  y (N,T,H) · h (N,H)
    Forward   for t = 1 … T, from h₀ = h0
      (1)  hₜ = tanh(hₜ₋₁ W_h + xₜ W_x + b)        yₜ = hₜ, and h = h_T
    Backward  for t = T … 1, given δyₜ, and δh from step t+1 (at t = T: that of the output h); δh ← δh + δyₜ
      (2)  δa = δh ⊙ (1 − hₜ²)
      (3)  δhₜ₋₁ = δa W_hᵀ
      (4)  δxₜ = δa W_xᵀ
      (5)  δW_h = Σₜ hₜ₋₁ᵀ δa,  δW_x = Σₜ xₜᵀ δa,  δb = Σₜ δa
    Masked    at the steps of a sequence where its mask is 0
      (6)  xₜ counts as 0
      (7)  hₜ = hₜ₋₁
      (8)  yₜ = 0                                  and δyₜ is left out
      (9)  δa = 0
      (10) δhₜ₋₁ = δh
    Because   the derivation stands at the top of this file, with the reason why gradients vanish
    Cache     x and all hₜ; W and the mask
    Source    Elman 1990; vanishing gradients: Hochreiter 1991; Bengio, Simard, Frasconi 1994

    >>> import tinynet as tn
    >>> y, h = tn.ops.simple_rnn(tn.Tensor([[[1.0], [1.0]]]), None, tn.Tensor([[1.0], [1.0]]))
    >>> y.numpy().round(3).ravel()
    array([0.762, 0.943], dtype=float32)
    """
    (N, T, _), H = x.shape, W.shape[1]
    real = None if mask is None else (mask != 0)[..., None]  # (N,T,1)
    if real is not None:
        x = xp.where(real, x, xp.zeros((), x.dtype))  # (6)
    h = xp.empty((T + 1, N, H), x.dtype)
    h[0] = 0 if h0 is None else h0
    a = x @ W[H:]  # (N,T,H)
    a = a if b is None else a + b
    for t in range(T):
        h[t + 1] = xp.tanh(h[t] @ W[:H] + a[:, t])  # (1)
        if real is not None:
            h[t + 1] = xp.where(real[:, t], h[t + 1], h[t])  # (7)
    y = h[1:].transpose(1, 0, 2)  # (N,T,H)
    if real is not None:
        y = xp.where(real, y, xp.zeros((), y.dtype))  # (8)
    return (y, h[T]), (x, h, W, real)


@simple_rnn.gradient
def dsimple_rnn(xp: Any, dy: Array, dh: Array, *, cache: Any, needs: Any) -> Gradients:
    x, h, W, real = cache
    (N, T, D), H = x.shape, W.shape[1]
    da = xp.empty((T, N, H), dy.dtype)
    for t in reversed(range(T)):
        past, dh = dh, dh + dy[:, t]
        da[t] = dh * (1 - h[t + 1] * h[t + 1])  # (2)
        if real is not None:
            da[t] = xp.where(real[:, t], da[t], xp.zeros((), dy.dtype))  # (9)
        dh = da[t] @ W[:H].T  # (3)
        if real is not None:
            dh = xp.where(real[:, t], dh, past)  # (10)
    dx = (da @ W[H:].T).transpose(1, 0, 2) if needs[0] else None  # (4) (N,T,D)
    da = da.reshape(T * N, H)
    dW_h = h[:T].reshape(T * N, H).T @ da  # (5)
    dW_x = x.transpose(1, 0, 2).reshape(T * N, D).T @ da  # (5)
    db = da.sum(axis=0) if needs[3] else None  # (5)
    return dx, dh if needs[1] else None, xp.concatenate([dW_h, dW_x]) if needs[2] else None, db, None
