"""Convolutions of groups of channels in Numba, for float32: G groups of C channels each, and F outputs in all.

Layout    m = F / G outputs of each group

  quantity         here                                                 specification
  x, y, δy, δx     (N, H, W, G C), (N, H', W', F), in C order           the same
  plane c          some padded lines of an image, (lines, width, F):    x with its padding, (N, H + ..., W + ..., G C)
                   for each of the F outputs, channel c of its group
  W                (KH, KW, C, F); for δx flipped, (KH, KW, m, G C)     (KH, KW, C, F)
  δW, δb           (shards, KH, KW, C, F), (shards, F), then summed     (KH, KW, C, F), (F)

Names of the equations: those of conv.py. With plane c in the place of x, each of the F outputs is the sum over k of
plane c times W[k, c], number by number. So all loops run over F contiguous numbers, whatever the groups are.
"""

from typing import Any

import numpy as np

from tinynet.backend.cpu.runtime.jit import inline, njit
from tinynet.backend.cpu.runtime.memory import contiguous, zeros
from tinynet.backend.cpu.runtime.rows import add_products
from tinynet.backend.cpu.runtime.threads import launch, threads
from tinynet.backend.cpu.runtime.vector import add_row, clear, copy, view
from tinynet.window import Window

_BAND = 1 << 17  # numbers of a plane at a time, which stay in the cache

# --- Equations ------------------------------------------------------------------------------------------------------

@inline
def _line_of_outputs(C: Any, rows: Any, columns: Any, line: Any, plane: Any, at: Any, W: Any, c: Any, begin: Any,
                     start: Any, y: Any, out: Any, F: Any) -> None:
    """A line of yₜ = b + Σₖ x[t s + k d − p] Wₖ, the part of plane c. `begin` holds b, or the sums so far.

    `at` is the offset of pixel t s − p in the plane, and `line` the length of a line there.
    """
    pixels = at, columns.stride * F, rows.dilation * line, columns.dilation * F
    weights = c * F, 0, columns.width * C * F, C * F
    add_products((columns.outputs, F, rows.width, columns.width), plane, pixels, W, weights, begin, start,
                 y, (out, F))  # (1) (2)


@inline
def _add_line_of_gradients(C: Any, columns: Any, plane: Any, at: Any, dy: Any, out: Any, dW: Any, first: Any,
                           F: Any) -> None:
    """δWₖ += Σ x[t s + k d − p] δyₜ over a line of t, for the k of one row of the kernel."""
    pixels, sums = (at, columns.dilation * F, 0, columns.stride * F), (first, C * F)
    add_products((columns.width, F, 1, columns.outputs), plane, pixels, dy, (out, 0, 0, F), dW, sums, dW, sums)  # (3)


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by loads, or by memory. Planes are made for some lines at a time. Threads take lines of outputs, or for δW
# images. δx is a convolution of δy by the flipped kernel, in which C and m are exchanged: see conv.py.

@njit
def _make_plane(x: Any, n: Any, c: Any, C: Any, m: Any, padded: Any, first: Any, lines: Any, plane: Any) -> None:
    """The lines from `first` on of plane c of image n. Its columns of padding are zeros already."""
    _, height, width, channels = x.shape
    _, columns, top, left, gap_h, gap_w = padded
    F, pixels = channels // C * m, x.reshape(-1)
    for line in range(lines):
        h = (first + line - top) // gap_h
        if h < 0 or h >= height or top + h * gap_h != first + line:
            clear(view(plane, line * columns * F, columns * F))
            continue
        together = width if C == 1 and m == 1 and gap_w == 1 else 1  # pixels that are contiguous in both
        for w in range(0, width, together):
            source, place = ((n * height + h) * width + w) * channels, (line * columns + left + w * gap_w) * F
            if C == 1 and m == 1:
                copy(view(pixels, source, together * F), view(plane, place, together * F))
                continue
            for g in range(channels // C):
                for i in range(m):
                    plane[place + g * m + i] = pixels[source + g * C + c]


@njit
def _lines(rows: Any, outputs: Any) -> Any:
    """The lines of a plane that some lines of outputs read."""
    return (outputs - 1) * rows.stride + (rows.width - 1) * rows.dilation + 1


@njit
def _band(rows: Any, line: Any) -> Any:
    """The lines of outputs for which a plane is made at a time."""
    return max(1, (_BAND // line - _lines(rows, 1)) // rows.stride + 1)


@njit
def _outputs(shard: Any, shards: Any, x: Any, C: Any, padded: Any, rows: Any, columns: Any, W: Any, b: Any,
             y: Any) -> None:
    """(1), or (2) with the flipped kernel, for the shard's lines of outputs."""
    rows, columns = Window(*rows), Window(*columns)
    (_, Hy, Wy, F), N = y.shape, x.shape[0]
    m, line = F // (x.shape[3] // C), padded[1] * F
    outputs, band = y.reshape(-1), _band(rows, line)
    plane = np.zeros(_lines(rows, band) * line, x.dtype)
    at, high = shard * N * Hy // shards, (shard + 1) * N * Hy // shards
    while at < high:
        top = at % Hy
        count = min(band, high - at, Hy - top)
        for c in range(C):
            _make_plane(x, at // Hy, c, C, m, padded, top * rows.stride - rows.before, _lines(rows, count), plane)
            for i in range(count):
                pixel, out = i * rows.stride * line - columns.before * F, (at + i) * Wy * F
                if c == 0:
                    _line_of_outputs(C, rows, columns, line, plane, pixel, W, c, b, (0, 0), outputs, out, F)
                else:
                    _line_of_outputs(C, rows, columns, line, plane, pixel, W, c, outputs, (out, F), outputs, out,
                                     F)
        at += count


@njit
def weights_of_groups(shard: Any, shards: Any, x: Any, padded: Any, rows: Any, columns: Any, dy: Any, dW: Any,
             db: Any) -> None:
    """The shard's part of (3) and (4), that of its images."""
    rows, columns = Window(*rows), Window(*columns)
    (N, Hy, Wy, F), C = dy.shape, dW.shape[3]
    m, line = F // (x.shape[3] // C), padded[1] * F
    gradients, weights, band = dy.reshape(-1), dW.reshape(-1), _band(rows, line)
    plane, total = np.zeros(_lines(rows, band) * line, x.dtype), view(db, shard * F, F)
    for n in range(shard * N // shards, (shard + 1) * N // shards):
        for top in range(0, Hy, band):
            count = min(band, Hy - top)
            for c in range(C):
                _make_plane(x, n, c, C, m, padded, top * rows.stride, _lines(rows, count), plane)
                for i in range(count):
                    for kh in range(rows.width):
                        first = ((shard * rows.width + kh) * columns.width * C + c) * F
                        _add_line_of_gradients(C, columns, plane, (i * rows.stride + kh * rows.dilation) * line,
                                               gradients, (n * Hy + top + i) * Wy * F, weights, first, F)
            for t in range((n * Hy + top) * Wy, (n * Hy + top + count) * Wy):
                add_row(view(gradients, t * F, F), total)  # (4)


def of_groups(x: Any, W: Any, b: Any, geometry: Any, y: Any) -> None:
    """y (N,H',W',F) of x (N,H,W,G C), W (KH,KW,C,F) or (K,C,F), and b (F) or None, with a geometry of conv.py."""
    C, F = W.shape[-2:]
    bias = zeros((F,)) if b is None else contiguous(b)
    launch(_outputs, x, C, *geometry, contiguous(W).reshape(-1), bias, y,
           shards=max(1, min(threads(), y.shape[0] * y.shape[1])))


def dx_of_groups(dy: Any, W: Any, geometry: Any, dx: Any) -> None:
    """δx (N,H,W,G C) of δy (N,H',W',F) and W (KH,KW,C,F)."""
    KH, KW, C, F = W.shape
    G = dx.shape[3] // C
    flipped = contiguous(W[::-1, ::-1].reshape(KH, KW, C, G, F // G).transpose(0, 1, 4, 3, 2))
    of_groups(dy, flipped.reshape(KH, KW, F // G, G * C), None, geometry, dx)
