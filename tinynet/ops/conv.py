"""Convolutions, one- and two-dimensional. Conv1D is Conv2D on images of height 1.

Derivation. A convolution is a sum of matrix products. Output t reads, for element k of the kernel, the input position
u = t s + k d − p, with stride s, dilation d and padding p in front:

    y[n,t] = Σₖ x[n, t s + k d − p] W[k] + b        x[n,u] (C), W[k] (C,F), y[n,t] (F)

Each term is a product of a row x[n,u] and a matrix W[k], with the gradients of ops/dense.py: δy[n,t] W[k]ᵀ for x[n,u]
and x[n,u]ᵀ δy[n,t] for W[k]. Adding them over all terms in which x[n,u] or W[k] occurs gives (2) and (3); b occurs once
in each output, which gives (4). In (2) these are the terms with t = (u + p − k d) / s, where s divides u + p − k d:

    δx[n,u] = Σₖ δy[n, (u + p − k d) / s] W[k]ᵀ

As k grows, the position in δy falls: (2) is a correlation of δy with the flipped kernel. The code flips nothing. It
adds δy W[k]ᵀ to the positions that the forward pass read for k, which is the same sum in another order.

With groups, x has `groups` blocks of C channels, W and y have as many blocks of F / groups columns, and each block of y
is a convolution of the block of x at the same place. (1) to (4) hold for each block; in the code they are the first
axis of the matrices.
"""

from typing import Any

from tinynet.errors import ShapeError
from tinynet.op import Array, Gradients, op
from tinynet.types import Pad, Pads, Pair
from tinynet.window import ONE_ROW, Window, padded, taps, unpadded, window, windows


def _by_groups(x: Array, groups: int) -> Array:
    """The columns of a matrix in blocks of equal width: (R, groups n) to (groups, R, n)."""
    R, columns = x.shape
    return x.reshape(R, groups, columns // groups).transpose(1, 0, 2)


def _side_by_side(blocks: Array) -> Array:
    """The inverse of `_by_groups`."""
    groups, R, n = blocks.shape
    return blocks.transpose(1, 0, 2).reshape(R, groups * n)


def _convolve(xp: Any, x: Array, W: Array, b: Array | None, rows: Window, columns: Window,
              groups: int) -> tuple[Array, Any]:
    """The forward pass of both ops: x (N,H,W,groups C), W (KH,KW,C,F) and b (F) or None to y (N,H',W',F)."""
    N, C, F = x.shape[0], W.shape[2], W.shape[3]
    R = N * rows.outputs * columns.outputs
    x = padded(xp, x, rows, columns)
    y = xp.zeros((groups, R, F // groups), x.dtype)
    if b is not None:
        y += b.reshape(groups, 1, F // groups)
    for i, j, tap in taps(rows, columns):
        y += _by_groups(x[tap].reshape(R, groups * C), groups) @ _by_groups(W[i, j], groups)  # (1) (R,C) (C,F)
    return _side_by_side(y).reshape(N, rows.outputs, columns.outputs, F), (x, W, rows, columns, groups)


def _dconvolve(xp: Any, dy: Array, cache: Any, needs: Any) -> Gradients:
    """The backward pass of both ops: δx (N,H,W,groups C), δW (KH,KW,C,F) and δb (F) of δy (N,H',W',F)."""
    x, W, rows, columns, groups = cache
    need_x, need_W, need_b = needs
    N, C, F = x.shape[0], W.shape[2], W.shape[3]
    R = N * rows.outputs * columns.outputs
    dy = dy.reshape(R, F)
    db = dy.sum(axis=0) if need_b else None  # (4)
    dy = _by_groups(dy, groups)
    dx: Any = xp.zeros_like(x) if need_x else None
    dW: Any = xp.empty_like(W) if need_W else None
    for i, j, tap in taps(rows, columns):
        if need_x:
            share = _side_by_side(dy @ _by_groups(W[i, j], groups).transpose(0, 2, 1))  # (2)
            dx[tap] += share.reshape(N, rows.outputs, columns.outputs, groups * C)
        if need_W:
            pixels = _by_groups(x[tap].reshape(R, groups * C), groups)
            dW[i, j] = _side_by_side(pixels.transpose(0, 2, 1) @ dy)  # (3)
    return unpadded(dx, rows, columns) if need_x else None, dW, db


def _conv1d_sizes(known: dict[str, Any], stride: int = 1, padding: Pad = "valid", dilation: int = 1,
                  groups: int = 1) -> dict[str, Any]:
    _check_groups("conv1d", known["F"], groups)
    return {"T'": window("conv1d", "T", known["T"], known["K"], stride, padding, dilation).outputs}


def _check_groups(op: str, F: int, groups: int) -> None:
    if F % groups:
        raise ShapeError(f"{op}: W must have a multiple of groups = {groups} columns, got F = {F}; "
                         f"F = {F + -F % groups}?")


@op("x:(N,T,groups*C) W:(K,C,F) b?:(F) -> y:(N,T',F)", sizes=_conv1d_sizes,
    flops=lambda s: 2 * s["K"] * s["C"] + s["b"],
    cases=[{"K": 3, "T": 7}, {"K": 3, "T": 7, "b": None}, {"K": 2, "T": 2, "N": 1}, {"K": 1, "T": 1},
           {"K": 3, "T": 8, "stride": 2}, {"K": 3, "T": 7, "stride": 3, "padding": "same"},
           {"K": 4, "T": 6, "stride": 1, "padding": "same"}, {"K": 4, "T": 1, "padding": "same"},
           {"K": 1, "T": 8, "stride": 3, "padding": "same"},
           {"K": 3, "T": 5, "dilation": 2, "padding": "causal"}, {"K": 2, "T": 7, "dilation": 3, "stride": 2},
           {"K": 3, "T": 5, "padding": 2, "stride": 2},
           {"K": 3, "T": 6, "C": 2, "F": 6, "groups": 3, "padding": "same", "stride": 2}])
def conv1d(xp: Any, x: Array, W: Array, b: Array | None = None, *, stride: int = 1, padding: Pad = "valid",
           dilation: int = 1, groups: int = 1) -> tuple[Array, Any]:
    """A one-dimensional convolution: F kernels of K steps slide over sequences.

    The kernel is not flipped (a correlation), as in other libraries. `padding` is "valid" (none), "same" (as TensorFlow
    pads, the odd step at the end), "causal" (all in front), or a number of steps on both sides. With `groups`, each
    block of F / groups outputs depends on the block of C channels at the same place.

    Shapes    x (N,T,groups C) · W (K,C,F) · b (F) or None  →  y (N,T',F)
    Forward   (1)  yₜ = Σₖ x[t s + k d − p] Wₖ + b        s stride, d dilation, p padding in front
    Backward  (2)  δx[t s + k d − p] += δyₜ Wₖᵀ           for all t and k
              (3)  δWₖ = Σ x[t s + k d − p]ᵀ δyₜ          over t and the batch
              (4)  δb = Σ δyₜ                             over t and the batch
    Because   the derivation stands at the top of this file
    Cache     x with its padding, and W
    Source    LeCun et al. 1989; Waibel et al. 1989 (over time)

    >>> import tinynet as tn
    >>> x, W = tn.Tensor([[[1.0], [2.0], [4.0]]]), tn.Tensor([[[-1.0]], [[1.0]]])
    >>> tn.ops.conv1d(x, W).numpy().ravel()
    array([1., 2.], dtype=float32)
    """
    columns = window("conv1d", "T", x.shape[1], W.shape[0], stride, padding, dilation)
    y, cache = _convolve(xp, x[:, None], W[None], b, ONE_ROW, columns, groups)  # (1)
    return y[:, 0], cache  # (N,T',F)


@conv1d.gradient
def dconv1d(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Gradients:
    dx, dW, db = _dconvolve(xp, dy, cache, needs)  # (2) (3) (4)
    return None if dx is None else dx[:, 0], None if dW is None else dW[0], db  # (N,T,C), (K,C,F), (F)


def _conv2d_sizes(known: dict[str, Any], stride: Any = 1, padding: Any = "valid", dilation: Any = 1,
                  groups: int = 1) -> dict[str, Any]:
    _check_groups("conv2d", known["F"], groups)
    rows, columns = windows("conv2d", (known["H"], known["W"]), (known["KH"], known["KW"]), stride, padding, dilation)
    return {"H'": rows.outputs, "W'": columns.outputs}


@op("x:(N,H,W,groups*C) W:(KH,KW,C,F) b?:(F) -> y:(N,H',W',F)", sizes=_conv2d_sizes,
    flops=lambda s: 2 * s["KH"] * s["KW"] * s["C"] + s["b"],
    cases=[{"H": 5, "W": 6, "KH": 3, "KW": 2}, {"H": 5, "W": 4, "KH": 3, "KW": 3, "padding": "same", "b": None},
           {"H": 7, "W": 6, "KH": 3, "KW": 3, "stride": 2, "padding": "same"},
           {"H": 1, "W": 1, "KH": 1, "KW": 1, "N": 1},
           {"H": 6, "W": 7, "KH": 2, "KW": 3, "stride": (2, 1), "padding": (1, 0), "dilation": (1, 2)},
           {"H": 5, "W": 5, "KH": 2, "KW": 2, "stride": 3, "padding": 1},
           {"H": 4, "W": 5, "KH": 3, "KW": 2, "C": 1, "F": 3, "groups": 3, "padding": "same"},
           {"H": 5, "W": 4, "KH": 2, "KW": 2, "C": 3, "F": 4, "groups": 2, "dilation": 2, "padding": 1, "b": None}])
def conv2d(xp: Any, x: Array, W: Array, b: Array | None = None, *, stride: Pair = 1,
           padding: Pads = "valid", dilation: Pair = 1, groups: int = 1) -> tuple[Array, Any]:
    """A two-dimensional convolution: F kernels of KH x KW pixels slide over images, channels last.

    The kernel is not flipped (a correlation), as in other libraries. `stride`, `padding` and `dilation` are one value,
    or a pair (height, width); padding is "valid", "same" (as TensorFlow pads) or a number of pixels on both sides. With
    `groups`, each block of F / groups outputs depends on the block of C channels at the same place; with C = 1 that is
    a depthwise convolution.

    Shapes    x (N,H,W,groups C) · W (KH,KW,C,F) · b (F) or None  →  y (N,H',W',F)
    Forward   (1)  yₜ = Σₖ x[t s + k d − p] Wₖ + b        t, k, s, d, p: pairs, one number for each axis
    Backward  (2)  δx[t s + k d − p] += δyₜ Wₖᵀ           for all t and k
              (3)  δWₖ = Σ x[t s + k d − p]ᵀ δyₜ          over t and the batch
              (4)  δb = Σ δyₜ                             over t and the batch
    Because   the derivation stands at the top of this file
    Cache     x with its padding, and W
    Source    LeCun et al. 1989

    >>> import tinynet as tn
    >>> x, W = tn.Tensor([[[[1.0], [2.0]], [[3.0], [4.0]]]]), tn.Tensor([[[[1.0]], [[1.0]]]])
    >>> tn.ops.conv2d(x, W).numpy().ravel()
    array([3., 7.], dtype=float32)
    """
    rows, columns = windows("conv2d", x.shape[1:3], W.shape[:2], stride, padding, dilation)
    return _convolve(xp, x, W, b, rows, columns, groups)  # (1)


@conv2d.gradient
def dconv2d(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Gradients:
    return _dconvolve(xp, dy, cache, needs)  # (2) (3) (4)
