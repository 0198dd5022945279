"""The gated recurrent unit: equations (1) to (4), their gradients (5) to (10), and masked steps, (11) to (15).

Derivation. The loss depends on hₜ = n + z ⊙ (hₜ₋₁ − n) (4), where the gates are functions of a = x W_x + b and of q =
hₜ₋₁ W_h + b_h. By (4), δn = δh ⊙ (1 − z), δz = δh ⊙ (hₜ₋₁ − n), and hₜ₋₁ itself gets δh ⊙ z. With tanh' = 1 − n² and
σ' = σ (1 − σ), n gives (5) for its a, and z gives (6) for the sum of its a and q. In (3), r is a factor of q_n, so δr
= δa_n ⊙ q_n, which gives (7), and δq_n = δa_n ⊙ r. So a and q have the same gradients for r and z, and differ in n.
(8) and (9) are the gradients of the two products, derived in ops/dense.py; (8) adds the part of (4). All steps share W
and the biases, which is why (10) sums over time.

At a masked step h is that of the step before (12), so δh passes unchanged (15). Its x, which may be NaN, is replaced
(11) and reaches no output: δa = δq = 0 (14). y = 0 (13) depends on nothing, so δy is left out there.
"""

from typing import Any

from tinynet.op import Array, Gradients, op
from tinynet.ops.activation import logistic


@op("x:(N,T,D) h0?:(N,H) W:(H+D,3H) b?:(3H) b_h?:(3H) mask?:any(N,T) -> y:(N,T,H) h:(N,H)",
    flops=lambda s: 6 * (s["H"] + s["D"]) + 16, keeps=lambda s: s["N"] * s["T"] * (5 * s["H"] + s["D"]),
    cases=[{"N": 3, "T": 5, "D": 2, "H": 4}, {"N": 1, "T": 1, "D": 3, "H": 2},
           {"N": 2, "T": 3, "D": 5, "H": 3, "h0": None, "b": None, "b_h": None},
           {"N": 2, "T": 3, "D": 1, "H": 3, "b_h": None}, {"N": 3, "T": 5, "D": 2, "H": 2, "mask": "boolean"},
           {"N": 4, "T": 3, "D": 1, "H": 2, "mask": "boolean", "h0": None, "b": None}])
def gru(xp: Any, x: Array, h0: Array | None, W: Array, b: Array | None = None, b_h: Array | None = None,
        mask: Array | None = None) -> tuple[tuple[Array, Array], Any]:
    """A gated recurrent unit over a whole sequence, with the reset gate behind the product, as in cuDNN.

    W has the rows of h, W_h, above those of x, W_x, and a block of H columns for each of r, z, n. None means zeros for
    the initial state h0 and for the two biases. Steps are real where `mask`, of booleans or numbers, is not 0.

    Shapes    x (N,T,D) · h0 (N,H) · W (H+D,3H) · b, b_h (3H) · mask (N,T)  →  y (N,T,H) · h (N,H)
    Forward   for t = 1 … T, from h₀ = h0, with a = xₜ W_x + b and q = hₜ₋₁ W_h + b_h        σ the logistic function
      (1)  r = σ(a_r + q_r)                    reset gate
      (2)  z = σ(a_z + q_z)                    update gate
      (3)  n = tanh(a_n + r ⊙ q_n)             candidate state
      (4)  hₜ = n + z ⊙ (hₜ₋₁ − n)             yₜ = hₜ, and h = h_T
    Backward  for t = T … 1, given δyₜ, and δh from step t+1 (at t = T: that of the output h); δh ← δh + δyₜ
      (5)  δa_n = δh ⊙ (1 − z) ⊙ (1 − n²)      and δq_n = δa_n ⊙ r
      (6)  δa_z = δq_z = δh ⊙ (hₜ₋₁ − n) ⊙ z ⊙ (1 − z)
      (7)  δa_r = δq_r = δa_n ⊙ q_n ⊙ r ⊙ (1 − r)
      (8)  δhₜ₋₁ = δh ⊙ z + δq W_hᵀ
      (9)  δxₜ = δa W_xᵀ
      (10) δW_h = Σₜ hₜ₋₁ᵀ δq,  δW_x = Σₜ xₜᵀ δa,  δb = Σₜ δa,  δb_h = Σₜ δq
    Masked    at the steps of a sequence where its mask is 0
      (11) xₜ counts as 0
      (12) hₜ = hₜ₋₁
      (13) yₜ = 0                              and δyₜ is left out
      (14) δa = δq = 0
      (15) δhₜ₋₁ = δh
    Because   the derivation stands at the top of this file
    Cache     r, z, n, q_n and hₜ₋₁ (5H) and x (D) for each step and sequence; W and the mask
    Source    Cho et al. 2014; the reset gate behind the product: Chetlur et al. 2014 (cuDNN)

    >>> import tinynet as tn
    >>> y, h = tn.ops.gru(tn.Tensor([[[1.0], [1.0]]]), None, tn.Tensor([[0.0] * 3, [1.0] * 3]))
    >>> y.numpy().round(3).ravel()
    array([0.205, 0.355], dtype=float32)
    """
    (N, T, _), H = x.shape, W.shape[1] // 3
    real = None if mask is None else (mask != 0)[..., None]  # (N,T,1)
    if real is not None:
        x = xp.where(real, x, xp.zeros((), x.dtype))  # (11)
    h, gates = xp.empty((T + 1, N, H), x.dtype), xp.empty((T, 4, N, H), x.dtype)
    h[0] = 0 if h0 is None else h0
    for t in range(T):
        a, q = x[:, t] @ W[H:], h[t] @ W[:H]  # (N,3H)
        a, q = a if b is None else a + b, q if b_h is None else q + b_h
        r = logistic(xp, a[:, :H] + q[:, :H])  # (1)
        z = logistic(xp, a[:, H : 2 * H] + q[:, H : 2 * H])  # (2)
        n = xp.tanh(a[:, 2 * H :] + r * q[:, 2 * H :])  # (3)
        h[t + 1] = n + z * (h[t] - n)  # (4)
        gates[t, 0], gates[t, 1], gates[t, 2], gates[t, 3] = r, z, n, q[:, 2 * H :]
        if real is not None:
            h[t + 1] = xp.where(real[:, t], h[t + 1], h[t])  # (12)
    y = h[1:].transpose(1, 0, 2)  # (N,T,H)
    if real is not None:
        y = xp.where(real, y, xp.zeros((), y.dtype))  # (13)
    return (y, h[T]), (x, gates, h, W, real)


@gru.gradient
def dgru(xp: Any, dy: Array, dh: Array, *, cache: Any, needs: Any) -> Gradients:
    x, gates, h, W, real = cache
    (N, T, D), H = x.shape, W.shape[1] // 3
    da, dq = xp.empty((T, N, 3 * H), dy.dtype), xp.empty((T, N, 3 * H), dy.dtype)
    for t in reversed(range(T)):
        r, z, n, q_n = gates[t]
        past, dh = dh, dh + dy[:, t]
        da[t, :, 2 * H :] = dh * (1 - z) * (1 - n * n)  # (5)
        da[t, :, H : 2 * H] = dh * (h[t] - n) * z * (1 - z)  # (6)
        da[t, :, :H] = da[t, :, 2 * H :] * q_n * r * (1 - r)  # (7)
        if real is not None:
            da[t] = xp.where(real[:, t], da[t], xp.zeros((), dy.dtype))  # (14)
        dq[t, :, : 2 * H], dq[t, :, 2 * H :] = da[t, :, : 2 * H], da[t, :, 2 * H :] * r  # (5)
        dh = dh * z + dq[t] @ W[:H].T  # (8)
        if real is not None:
            dh = xp.where(real[:, t], dh, past)  # (15)
    dx = (da @ W[H:].T).transpose(1, 0, 2) if needs[0] else None  # (9) (N,T,D)
    da, dq = da.reshape(T * N, 3 * H), dq.reshape(T * N, 3 * H)
    dW_h = h[:T].reshape(T * N, H).T @ dq  # (10)
    dW_x = x.transpose(1, 0, 2).reshape(T * N, D).T @ da  # (10)
    db = da.sum(axis=0) if needs[3] else None  # (10)
    db_h = dq.sum(axis=0) if needs[4] else None  # (10)
    return dx, dh if needs[1] else None, xp.concatenate([dW_h, dW_x]) if needs[2] else None, db, db_h, None
