"""The long short-term memory: the paper's equations (1) to (6), and their way back.

Where the backward equations come from. The loss L depends on the cell state Cₜ in two ways: through hₜ = oₜ ⊙ tanh Cₜ,
and through the next state Cₜ₊₁ = fₜ₊₁ ⊙ Cₜ + ... So, writing δz for ∂L/∂z,

    δCₜ = δhₜ ⊙ oₜ ⊙ (1 − tanh² Cₜ)  +  δCₜ₊₁ ⊙ fₜ₊₁                                       that is (7), after (13)

and on hₜ through the output yₜ and through [hₜ, xₜ₊₁] W at the next step: δhₜ = δyₜ + (what (12) sent back from t+1).
From δC, (4) is a sum of products, and each factor gets the other: δf = δC ⊙ Cₜ₋₁, δi = δC ⊙ C̃, δC̃ = δC ⊙ i; from (6),
δo = δh ⊙ tanh C. Each gate is σ or tanh of its z = [h, x] W + b, with σ' = σ (1 − σ) and tanh' = 1 − tanh²: that makes
(8) to (11). The four z stand side by side, as the columns of W do, so the rest is the gradient of a product of
matrices: δ[h, x] = δz Wᵀ, δW = [h, x]ᵀ δz, δb = δz, the last two summed over time and the batch, since one W serves
every step.
"""

from typing import Any

from tinynet.op import op
from tinynet.ops.activation import logistic


@op("x:(N,T,D) h0?:(N,H) c0?:(N,H) W:(H+D,4H) b:(4H) recurrent_mask?:(N,H) -> y:(N,T,H) h:(N,H) c:(N,H)",
    cases=[{"N": 3, "T": 7, "D": 2, "H": 4, "recurrent_mask": None}, {"N": 1, "T": 1, "D": 3, "H": 2},
           {"N": 3, "T": 2, "D": 5, "H": 3, "h0": None, "c0": None, "recurrent_mask": None},
           {"N": 2, "T": 2, "D": 1, "H": 3, "h0": None}, {"N": 1, "T": 7, "D": 4, "H": 1, "c0": None}])
def lstm(xp: Any, x: Any, h0: Any, c0: Any, W: Any, b: Any, recurrent_mask: Any = None) -> Any:
    """Long short-term memory over a whole sequence.

    h0 and c0 may be None, which means zeros. W has rows for [h, x] and column blocks for f, i, C̃, o, in the order of
    the equations. `recurrent_mask` m multiplies hₜ₋₁ on its way into the gates, the same at every step (recurrent
    dropout); None means ones.

    Shapes    x (N,T,D) · h0, c0 (N,H) · W (H+D,4H) · b (4H) · recurrent_mask (N,H)  →  y (N,T,H) · h, c (N,H)
    Forward   for t = 1 … T                          ⊙ elementwise, σ the logistic function
      (1)  fₜ = σ([m ⊙ hₜ₋₁, xₜ] W_f + b_f)         what to forget
      (2)  iₜ = σ([m ⊙ hₜ₋₁, xₜ] W_i + b_i)         what to take in
      (3)  C̃ₜ = tanh([m ⊙ hₜ₋₁, xₜ] W_C + b_C)      what there is to take in
      (4)  Cₜ = fₜ ⊙ Cₜ₋₁ + iₜ ⊙ C̃ₜ                 the cell's state
      (5)  oₜ = σ([m ⊙ hₜ₋₁, xₜ] W_o + b_o)         what to show
      (6)  hₜ = oₜ ⊙ tanh Cₜ                        yₜ = hₜ; at the end h = h_T and c = C_T
    Backward  for t = T … 1, given δyₜ and the δh, δC that arrive from t+1        (δz means ∂loss/∂z)
      (7)  δC ← δC + δh ⊙ o ⊙ (1 − tanh² C)         with δh ← δh + δyₜ
      (8)  δz_f = δC ⊙ Cₜ₋₁ ⊙ f ⊙ (1 − f)
      (9)  δz_i = δC ⊙ C̃ ⊙ i ⊙ (1 − i)
      (10) δz_C = δC ⊙ i ⊙ (1 − C̃²)
      (11) δz_o = δh ⊙ tanh C ⊙ o ⊙ (1 − o)
      (12) [δ(m ⊙ hₜ₋₁), δxₜ] = δz Wᵀ
      (13) δCₜ₋₁ = δC ⊙ f                            the carry: what keeps long sequences alive
      (14) δhₜ₋₁ = m ⊙ δ(m ⊙ hₜ₋₁)
      (15) δm = Σₜ hₜ₋₁ ⊙ δ(m ⊙ hₜ₋₁)
      (16) δW = Σₜ [m ⊙ hₜ₋₁, xₜ]ᵀ δz
      (17) δb = Σₜ δz
    Cache     [m ⊙ hₜ₋₁, xₜ] (H+D), the four gates (4H), Cₜ (H) and hₜ (H) for every step and sequence: 4 (7H + D)
              bytes in float32. tanh C is computed again, which costs less than reading it back.
    Source    Hochreiter and Schmidhuber 1997; Gers, Schmidhuber, Cummins 2000 (the forget gate). The derivation stands
              at the top of this file.

    >>> import tinynet as tn
    >>> x, W, b = tn.Tensor([[[1.0], [1.0]]]), tn.Tensor([[0.0] * 4, [1.0] * 4]), tn.Tensor([0.0] * 4)
    >>> y, h, c = tn.ops.lstm(x, None, None, W, b)
    >>> y.numpy().round(3).ravel(), c.numpy().round(3).ravel()
    (array([0.37 , 0.545], dtype=float32), array([0.964], dtype=float32))
    """
    (N, T, D), H = x.shape, W.shape[1] // 4
    hx = xp.empty((T, N, H + D), x.dtype)  # [m ⊙ hₜ₋₁, xₜ] for every t, so that (16) is one product
    hx[:, :, H:] = x.transpose(1, 0, 2)  # (T,N,D)
    gates = xp.empty((T, 4, N, H), x.dtype)
    C = xp.empty((T + 1, N, H), x.dtype)  # C[t] is the state before step t, h[t] likewise
    h = xp.empty((T + 1, N, H), x.dtype)
    C[0] = 0 if c0 is None else c0
    h[0] = 0 if h0 is None else h0
    for t in range(T):
        hx[t, :, :H] = h[t] if recurrent_mask is None else recurrent_mask * h[t]
        z = hx[t] @ W + b  # (N,4H)
        z_f, z_i, z_C, z_o = z[:, :H], z[:, H : 2 * H], z[:, 2 * H : 3 * H], z[:, 3 * H :]  # (N,H)
        f = logistic(xp, z_f)  # (1)
        i = logistic(xp, z_i)  # (2)
        Ctilde = xp.tanh(z_C)  # (3)
        C[t + 1] = f * C[t] + i * Ctilde  # (4)
        o = logistic(xp, z_o)  # (5)
        h[t + 1] = o * xp.tanh(C[t + 1])  # (6)
        gates[t, 0], gates[t, 1], gates[t, 2], gates[t, 3] = f, i, Ctilde, o
    y = h[1:].transpose(1, 0, 2)  # (N,T,H)
    return (y, h[T], C[T]), (hx, gates, C, h, W, recurrent_mask)


@lstm.gradient
def dlstm(xp: Any, dy: Any, dh: Any, dC: Any, *, cache: Any, needs: Any) -> Any:
    hx, gates, C, h, W, m = cache
    (T, N, HD), H = hx.shape, C.shape[2]
    dz = xp.empty((T, N, 4 * H), dy.dtype)
    dx = xp.empty((N, T, HD - H), dy.dtype)
    dm = None if m is None else xp.zeros_like(m)
    for t in reversed(range(T)):
        f, i, Ctilde, o = gates[t]
        tanhC = xp.tanh(C[t + 1])
        dh = dh + dy[:, t]
        dC = dC + dh * o * (1 - tanhC * tanhC)  # (7)
        dz[t, :, :H] = dC * C[t] * f * (1 - f)  # (8)
        dz[t, :, H : 2 * H] = dC * Ctilde * i * (1 - i)  # (9)
        dz[t, :, 2 * H : 3 * H] = dC * i * (1 - Ctilde * Ctilde)  # (10)
        dz[t, :, 3 * H :] = dh * tanhC * o * (1 - o)  # (11)
        dhx = dz[t] @ W.T  # (12) (N,H+D)
        dh, dx[:, t] = dhx[:, :H], dhx[:, H:]
        dC = dC * f  # (13)
        if m is not None:
            dm += h[t] * dh  # (15)
            dh = m * dh  # (14)
    dz = dz.reshape(T * N, 4 * H)  # (TN,4H)
    dW = hx.reshape(T * N, HD).T @ dz if needs[3] else None  # (16)
    db = dz.sum(axis=0) if needs[4] else None  # (17)
    return dx, dh if needs[1] else None, dC if needs[2] else None, dW, db, dm
