"""The long short-term memory: equations (1) to (6) of the paper and their gradients (7) to (14); masks, (15) to (22).

Derivation. δq means ∂loss/∂q. The loss depends on the cell state Cₜ through hₜ = oₜ ⊙ tanh Cₜ (6), and through the next
state Cₜ₊₁ = fₜ₊₁ ⊙ Cₜ + iₜ₊₁ ⊙ C̃ₜ₊₁ (4). The two contributions add up:

    δCₜ = δhₜ ⊙ oₜ ⊙ (1 − tanh² Cₜ)  +  δCₜ₊₁ ⊙ fₜ₊₁        (7); the second term is (13) of step t+1

The loss depends on hₜ through the output yₜ = hₜ, and through [hₜ, xₜ₊₁] of the next step: δhₜ is δyₜ plus what (12)
gives at step t+1. In the products of (4), the gradient of one factor is δC times the other factor: δf = δC ⊙ Cₜ₋₁,
δi = δC ⊙ C̃, δC̃ = δC ⊙ i. Likewise δo = δh ⊙ tanh C, from (6). Each gate is σ or tanh of its z = [h, x] W + b. With
σ' = σ (1 − σ) and tanh' = 1 − tanh², the four gradients become (8), (9), (10) and (11).

The four z stand side by side, as the column blocks of W do. So (12) and (14) are the gradients of one matrix product,
derived in ops/dense.py. All steps share W and b, which is why (14) sums over time.

With a recurrent mask m, the gates read h̃ₜ₋₁ = m ⊙ hₜ₋₁ (15) in place of hₜ₋₁. This product passes δh̃ on to both of its
factors: δh = m ⊙ δh̃ (16) and δm = h ⊙ δh̃ (17). All steps share m, so (17) sums over time.

At a masked step of a shorter sequence, h and C are those of the step before (19), so δh and δC pass it unchanged (22).
Its x, which may be NaN, is replaced (18) and reaches no output: it has δz = 0 (21), and with it no part in (12), (14)
and (17). y = 0 (20) depends on nothing, so δy is left out there.
"""

from typing import Any

from tinynet.op import Array, Gradients, op
from tinynet.ops.activation import logistic


@op("x:(N,T,D) h0?:(N,H) c0?:(N,H) W:(H+D,4H) b?:(4H) recurrent_mask?:(N,H) mask?:any(N,T) -> "
    "y:(N,T,H) h:(N,H) c:(N,H)",
    flops=lambda s: 8 * (s["H"] + s["D"]) + 13 + s["recurrent_mask"],
    keeps=lambda s: s["N"] * s["T"] * (7 * s["H"] + s["D"]),  # the cache, of which the outputs are views
    cases=[{"N": 3, "T": 7, "D": 2, "H": 4, "recurrent_mask": None}, {"N": 1, "T": 1, "D": 3, "H": 2},
           {"N": 3, "T": 2, "D": 5, "H": 3, "h0": None, "c0": None, "recurrent_mask": None},
           {"N": 2, "T": 2, "D": 1, "H": 3, "h0": None}, {"N": 1, "T": 7, "D": 4, "H": 1, "c0": None},
           {"N": 3, "T": 5, "D": 2, "H": 2, "mask": "boolean", "b": None},
           {"N": 4, "T": 3, "D": 1, "H": 2, "mask": "boolean", "h0": None, "c0": None, "recurrent_mask": None}])
def lstm(xp: Any, x: Array, h0: Array | None, c0: Array | None, W: Array, b: Array | None,
         recurrent_mask: Array | None = None, mask: Array | None = None) -> tuple[tuple[Array, Array, Array], Any]:
    """Long short-term memory over a whole sequence.

    W has the rows of h above those of x, and a block of H columns for each of f, i, C̃, o, in this order. h0 and c0 are
    the initial states; None means zeros, as it does for b. `recurrent_mask` is the mask of recurrent dropout, the same
    at all steps; None means ones. `mask` says which steps are real: it is not 0 there. It holds booleans or numbers,
    and has no gradient; None means that all steps are real.

    Shapes    x (N,T,D) · h0, c0 (N,H) · W (H+D,4H) · b (4H) · recurrent_mask (N,H) · mask (N,T)
              →  y (N,T,H) · h, c (N,H)
    Forward   for t = 1 … T, from h₀ = h0 and C₀ = c0        ⊙ elementwise, σ the logistic function
      (1)  fₜ = σ([hₜ₋₁, xₜ] W_f + b_f)             forget gate
      (2)  iₜ = σ([hₜ₋₁, xₜ] W_i + b_i)             input gate
      (3)  C̃ₜ = tanh([hₜ₋₁, xₜ] W_C + b_C)          candidate state
      (4)  Cₜ = fₜ ⊙ Cₜ₋₁ + iₜ ⊙ C̃ₜ                 cell state
      (5)  oₜ = σ([hₜ₋₁, xₜ] W_o + b_o)             output gate
      (6)  hₜ = oₜ ⊙ tanh Cₜ                        hidden state; yₜ = hₜ, h = h_T and c = C_T
    Backward  for t = T … 1, given δyₜ, and δh and δC from step t+1 (at t = T: those of the outputs h and c)
      (7)  δC ← δC + δh ⊙ o ⊙ (1 − tanh² C)         after δh ← δh + δyₜ
      (8)  δz_f = δC ⊙ Cₜ₋₁ ⊙ f ⊙ (1 − f)
      (9)  δz_i = δC ⊙ C̃ ⊙ i ⊙ (1 − i)
      (10) δz_C = δC ⊙ i ⊙ (1 − C̃²)
      (11) δz_o = δh ⊙ tanh C ⊙ o ⊙ (1 − o)
      (12) [δhₜ₋₁, δxₜ] = δz Wᵀ
      (13) δCₜ₋₁ = δC ⊙ f                           the carry: gradients survive many steps while f is near 1
      (14) δW = Σₜ [hₜ₋₁, xₜ]ᵀ δz,  δb = Σₜ δz
    Dropout   with m = recurrent_mask, h̃ takes the place of h in (1), (2), (3), (5), (12) and (14)
      (15) h̃ₜ₋₁ = m ⊙ hₜ₋₁
      (16) δhₜ₋₁ = m ⊙ δh̃ₜ₋₁
      (17) δm = Σₜ hₜ₋₁ ⊙ δh̃ₜ₋₁
    Masked    at the steps of a sequence where its mask is 0
      (18) xₜ counts as 0
      (19) hₜ = hₜ₋₁,  Cₜ = Cₜ₋₁                    so h and c are those of the last real step
      (20) yₜ = 0                                   and δyₜ is left out
      (21) δz = 0                                   so δxₜ = 0
      (22) δhₜ₋₁ = δh,  δCₜ₋₁ = δC
    Because   the derivation stands at the top of this file
    Cache     [h̃ₜ₋₁, xₜ] (H+D), the four gates (4H), Cₜ (H) and hₜ (H) for each step and sequence: 4 (7H + D) bytes in
              float32; W, and the masks. The backward pass computes tanh C again
    Source    Hochreiter and Schmidhuber 1997; Gers, Schmidhuber, Cummins 2000 (the forget gate)

    >>> import tinynet as tn
    >>> x, W, b = tn.Tensor([[[1.0], [1.0]]]), tn.Tensor([[0.0] * 4, [1.0] * 4]), tn.Tensor([0.0] * 4)
    >>> y, h, c = tn.ops.lstm(x, None, None, W, b)
    >>> y.numpy().round(3).ravel(), c.numpy().round(3).ravel()
    (array([0.37 , 0.545], dtype=float32), array([0.964], dtype=float32))
    """
    (N, T, D), H = x.shape, W.shape[1] // 4
    zero, real = xp.zeros((), x.dtype), None if mask is None else (mask != 0)[..., None]  # (N,T,1)
    if real is not None:
        x = xp.where(real, x, zero)  # (18)
    hx = xp.empty((T, N, H + D), x.dtype)  # [h̃ₜ₋₁, xₜ] of all steps: δW (14) is one product
    hx[:, :, H:] = x.transpose(1, 0, 2)  # (T,N,D)
    gates = xp.empty((T, 4, N, H), x.dtype)
    C = xp.empty((T + 1, N, H), x.dtype)  # C[t] and h[t]: the states before step t
    h = xp.empty((T + 1, N, H), x.dtype)
    C[0] = 0 if c0 is None else c0
    h[0] = 0 if h0 is None else h0
    for t in range(T):
        hx[t, :, :H] = h[t] if recurrent_mask is None else recurrent_mask * h[t]  # (15)
        z = hx[t] @ W if b is None else hx[t] @ W + b  # (N,4H)
        z_f, z_i, z_C, z_o = z[:, :H], z[:, H : 2 * H], z[:, 2 * H : 3 * H], z[:, 3 * H :]  # (N,H)
        f = logistic(xp, z_f)  # (1)
        i = logistic(xp, z_i)  # (2)
        Ctilde = xp.tanh(z_C)  # (3)
        C[t + 1] = f * C[t] + i * Ctilde  # (4)
        o = logistic(xp, z_o)  # (5)
        h[t + 1] = o * xp.tanh(C[t + 1])  # (6)
        gates[t, 0], gates[t, 1], gates[t, 2], gates[t, 3] = f, i, Ctilde, o
        if real is not None:
            h[t + 1] = xp.where(real[:, t], h[t + 1], h[t])  # (19)
            C[t + 1] = xp.where(real[:, t], C[t + 1], C[t])  # (19)
    y = h[1:].transpose(1, 0, 2)  # (N,T,H)
    if real is not None:
        y = xp.where(real, y, zero)  # (20)
    return (y, h[T], C[T]), (hx, gates, C, h, W, recurrent_mask, real)


@lstm.gradient
def dlstm(xp: Any, dy: Array, dh: Array, dC: Array, *, cache: Any, needs: Any) -> Gradients:
    hx, gates, C, h, W, m, real = cache
    (T, N, HD), H = hx.shape, C.shape[2]
    dz = xp.empty((T, N, 4 * H), dy.dtype)
    dx = xp.empty((N, T, HD - H), dy.dtype)
    dm, zero = None if m is None else xp.zeros_like(m), xp.zeros((), dy.dtype)
    for t in reversed(range(T)):
        f, i, Ctilde, o = gates[t]
        tanhC = xp.tanh(C[t + 1])
        dh_past, dC_past = dh, dC
        dh = dh + dy[:, t]
        dC = dC + dh * o * (1 - tanhC * tanhC)  # (7)
        dz[t, :, :H] = dC * C[t] * f * (1 - f)  # (8)
        dz[t, :, H : 2 * H] = dC * Ctilde * i * (1 - i)  # (9)
        dz[t, :, 2 * H : 3 * H] = dC * i * (1 - Ctilde * Ctilde)  # (10)
        dz[t, :, 3 * H :] = dh * tanhC * o * (1 - o)  # (11)
        if real is not None:
            dz[t] = xp.where(real[:, t], dz[t], zero)  # (21)
        dhx = dz[t] @ W.T  # (12) (N,H+D)
        dh, dx[:, t] = dhx[:, :H], dhx[:, H:]
        dC = dC * f  # (13)
        if m is not None:
            dm += h[t] * dh  # (17)
            dh = m * dh  # (16)
        if real is not None:
            dh, dC = xp.where(real[:, t], dh, dh_past), xp.where(real[:, t], dC, dC_past)  # (22)
    dz = dz.reshape(T * N, 4 * H)  # (TN,4H)
    dW = hx.reshape(T * N, HD).T @ dz if needs[3] else None  # (14)
    db = dz.sum(axis=0) if needs[4] else None  # (14)
    return dx, dh if needs[1] else None, dC if needs[2] else None, dW, db, dm, None
