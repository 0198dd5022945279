"""Convolutions of groups of channels in Numba, for float32: G groups of C channels each, and F outputs in all.

Layout    m = F / G outputs of each group

  quantity         here                                                 specification
  x, y, δy, δx     (N, H, W, G C), (N, H', W', F), in C order           the same
  plane c          some lines of an image, (lines, width, F): for each  x, (N, H, W, G C)
                   of the F outputs, channel c of its group; the image
                   itself where C = m = 1
  W                (KH, KW, C, F); for δx flipped, (KH, KW, m, G C)     (KH, KW, C, F)
  δW, δb           (shards, KH, KW, C, F), (shards, F), then summed     (KH, KW, C, F), (F)

Names of the equations: those of conv.py. With plane c in the place of x, each of the F outputs is the sum over k of
plane c times W[k, c], number by number. So all loops run over F contiguous numbers, whatever the groups are. Nothing is
padded: an output at an edge sums over those k whose pixels exist.
"""

from typing import Any

import numpy as np

from tinynet.backend.cpu.runtime.jit import inline, njit
from tinynet.backend.cpu.runtime.memory import contiguous, zeros
from tinynet.backend.cpu.runtime.rows import add_products
from tinynet.backend.cpu.runtime.threads import launch, threads
from tinynet.backend.cpu.runtime.vector import add_row, clear, copy, view
from tinynet.window import Window

_BAND = 1 << 16  # numbers of a plane at a time, which stay in the cache

# --- Equations ------------------------------------------------------------------------------------------------------

@njit
def _taps(window: Any, t: Any, size: Any) -> Any:
    """The k, from one to before another, whose t s + k d − p lies in an axis of `size`; and for how many t from this
    one on they are the same."""
    first = t * window.stride - window.before
    low = min(window.width, max(0, -(first // window.dilation)))
    high = max(low, min(window.width, (size - 1 - first) // window.dilation + 1))
    if low > 0 or high < window.width:
        return low, high, 1
    last = (size - 1 + window.before - (window.width - 1) * window.dilation) // window.stride
    return low, high, min(window.outputs, last + 1) - t


@inline
def _add_to_outputs(i: Any, end: Any, rows: Any, columns: Any, size: Any, plane: Any, origin: Any, W: Any, C: Any,
                    c: Any, begin: Any, kept: Any, y: Any, first: Any, F: Any) -> None:
    """Lines i to `end` of yₜ = b + Σₖ x[t s + k d − p] Wₖ, the part of plane c.

    size          (height, width) of the image; its pixel (0, 0) is element `origin` of the plane
    begin, kept   b and 0, or the outputs so far and 1
    first         the element of y where line 0 begins
    """
    (height, width), Wy = size, columns.outputs
    while i < end:
        low, high, lines = _taps(rows, i, height)
        lines, t = min(lines, end - i), 0
        h = i * rows.stride + low * rows.dilation - rows.before
        while t < Wy:
            left, right, count = _taps(columns, t, width)
            at = origin + (h * width + t * columns.stride + left * columns.dilation - columns.before) * F
            weights = ((low * columns.width + left) * C + c) * F, columns.width * C * F, C * F
            # Outputs one after the other: those of a line, or at an edge those of a column.
            strips, outputs, step, pixel = (lines, count, 1, columns.stride) if count > 1 else \
                (1, lines, Wy, rows.stride * width)
            for strip in range(strips):
                pixels = (at + strip * rows.stride * width * F, pixel * F, rows.dilation * width * F,
                          columns.dilation * F)
                out = first + ((i + strip) * Wy + t) * F
                add_products((outputs, F, high - low, right - left), plane, pixels, W, weights, begin,
                             (kept * out, kept * step * F), y, (out, step * F))  # (1) (2)
            t += count
        i += lines


@inline
def _add_to_gradients(top: Any, end: Any, rows: Any, columns: Any, size: Any, plane: Any, origin: Any, dy: Any,
                      first: Any, dW: Any, start: Any, C: Any, F: Any) -> None:
    """δWₖ += Σ x[t s + k d − p] δyₜ over lines `top` to `end` of t, the part of plane c."""
    (height, width), Wy = size, columns.outputs
    for kh in range(rows.width):
        shift, t = kh * rows.dilation - rows.before, 0
        low, high = max(top, -(shift // rows.stride)), min(end, (height - 1 - shift) // rows.stride + 1)
        while t < Wy:
            left, right, count = _taps(columns, t, width)
            w = t * columns.stride + left * columns.dilation - columns.before
            pixels = (origin + ((low * rows.stride + shift) * width + w) * F, columns.dilation * F,
                      rows.stride * width * F, columns.stride * F)
            outputs = first + (low * Wy + t) * F, Wy * F, F
            sums = start + (kh * columns.width + left) * C * F, C * F
            add_products((right - left, F, high - low, count), plane, pixels, dy, outputs, dW, sums, dW, sums)  # (3)
            t += count


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by loads, or by memory. Some lines of an image are computed at a time. Threads take lines of outputs, or for δW
# images. δx is a convolution of δy by the flipped kernel, in which C and m are exchanged: see conv.py.

@njit
def _make_plane(x: Any, n: Any, c: Any, C: Any, m: Any, gaps: Any, first: Any, lines: Any, plane: Any) -> None:
    """The lines from `first` on of plane c of image n. What lies between its pixels is zeros already."""
    _, height, columns, channels = x.shape
    F, pixels, width = channels // C * m, x.reshape(-1), (columns - 1) * gaps[1] + 1
    for line in range(lines):
        h, gap = divmod(first + line, gaps[0])
        if gap:
            clear(view(plane, line * width * F, width * F))
            continue
        for w in range(columns):
            source, place = ((n * height + h) * columns + w) * channels, (line * width + w * gaps[1]) * F
            if C == 1 and m == 1:
                copy(view(pixels, source, F), view(plane, place, F))
                continue
            for g in range(channels // C):
                for i in range(m):
                    plane[place + g * m + i] = pixels[source + g * C + c]


@njit
def _lines(rows: Any, top: Any, end: Any, height: Any) -> Any:
    """The lines of an image, from one to before another, that lines `top` to `end` of the outputs read."""
    first = max(0, top * rows.stride - rows.before)
    last = (end - 1) * rows.stride + (rows.width - 1) * rows.dilation - rows.before
    return first, max(first, min(height, last + 1))


@njit
def _sizes(x: Any, C: Any, m: Any, gaps: Any, rows: Any) -> Any:
    """(height, width) of x with gaps between its pixels; how many lines of outputs to compute at a time; and the
    elements of their plane, 0 if it is x itself."""
    height, width = (x.shape[1] - 1) * gaps[0] + 1, (x.shape[2] - 1) * gaps[1] + 1
    line, reach = width * x.shape[3] // C * m, (rows.width - 1) * rows.dilation + 1
    band = max(1, (_BAND // line - reach) // rows.stride + 1)
    is_x = C == 1 and m == 1 and gaps[0] == 1 and gaps[1] == 1
    return (height, width), band, 0 if is_x else ((band - 1) * rows.stride + reach) * line


@njit
def _outputs(shard: Any, shards: Any, x: Any, C: Any, gaps: Any, rows: Any, columns: Any, W: Any, b: Any,
             y: Any) -> None:
    """(1), or (2) with the flipped kernel, for the shard's lines of outputs."""
    rows, columns = Window(*rows), Window(*columns)
    (N, Hy, Wy, F), m = y.shape, y.shape[3] // (x.shape[3] // C)
    size, band, elements = _sizes(x, C, m, gaps, rows)
    pixels, outputs, plane = x.reshape(-1), y.reshape(-1), np.zeros(elements, x.dtype)
    at, high = shard * N * Hy // shards, (shard + 1) * N * Hy // shards
    while at < high:
        n, top = at // Hy, at % Hy
        end = min(Hy, top + band, top + high - at)
        first, last = _lines(rows, top, end, size[0])
        for c in range(C):
            source, origin = pixels, n * size[0] * size[1] * F
            if elements:
                _make_plane(x, n, c, C, m, gaps, first, last - first, plane)
                source, origin = plane, -first * size[1] * F
            begin, kept = (outputs, 1) if c else (b, 0)
            _add_to_outputs(top, end, rows, columns, size, source, origin, W, C, c, begin, kept, outputs,
                            n * Hy * Wy * F, F)
        at += end - top


@njit
def _weights(shard: Any, shards: Any, x: Any, rows: Any, columns: Any, dy: Any, dW: Any, db: Any) -> None:
    """The shard's part of (3) and (4), that of its images."""
    rows, columns = Window(*rows), Window(*columns)
    (N, Hy, Wy, F), C, gaps = dy.shape, dW.shape[3], (1, 1)
    m = F // (x.shape[3] // C)
    size, band, elements = _sizes(x, C, m, gaps, rows)
    pixels, gradients, weights, plane = x.reshape(-1), dy.reshape(-1), dW.reshape(-1), np.zeros(elements, x.dtype)
    total = view(db, shard * F, F)
    for n in range(shard * N // shards, (shard + 1) * N // shards):
        for top in range(0, Hy, band):
            end = min(Hy, top + band)
            first, last = _lines(rows, top, end, size[0])
            for c in range(C):
                source, origin = pixels, n * size[0] * size[1] * F
                if elements:
                    _make_plane(x, n, c, C, m, gaps, first, last - first, plane)
                    source, origin = plane, -first * size[1] * F
                _add_to_gradients(top, end, rows, columns, size, source, origin, gradients, n * Hy * Wy * F, weights,
                                  (shard * rows.width * columns.width * C + c) * F, C, F)
            for t in range((n * Hy + top) * Wy, (n * Hy + end) * Wy):
                add_row(view(gradients, t * F, F), total)  # (4)


def _convolve(x: Any, gaps: tuple[int, int], W: Any, b: Any, rows: Window, columns: Window, y: Any) -> None:
    launch(_outputs, x, W.shape[2], gaps, tuple(rows), tuple(columns), contiguous(W).reshape(-1), b, y,
           shards=max(1, min(threads(), y.shape[0] * y.shape[1])))


def of_groups(x: Any, W: Any, b: Any, rows: Window, columns: Window, y: Any) -> None:
    """y (N,H',W',F) of x (N,H,W,G C), W (KH,KW,C,F) and b (F) or None."""
    _convolve(x, (1, 1), W, zeros((W.shape[3],)) if b is None else contiguous(b), rows, columns, y)


def dx_of_groups(dy: Any, W: Any, rows: Window, columns: Window, dx: Any) -> None:
    """δx (N,H,W,G C) of δy (N,H',W',F) and W (KH,KW,C,F)."""
    (KH, KW, C, _), (_, height, width, channels) = W.shape, dx.shape
    flipped = contiguous(W[::-1, ::-1].reshape(KH, KW, C, channels // C, -1).transpose(0, 1, 4, 3, 2))
    _convolve(dy, (rows.stride, columns.stride), flipped.reshape(KH, KW, -1, channels), zeros((channels,)),
              _dwindow(rows, height), _dwindow(columns, width), dx)


def _dwindow(window: Window, size: int) -> Window:
    """The window over δy, dilated by the stride, whose outputs are the `size` pixels of x along an axis."""
    return Window(window.width, 1, window.dilation, (window.width - 1) * window.dilation - window.before, 0, size)


def weights_of_groups(x: Any, rows: Window, columns: Window, dy: Any, dW: Any, db: Any, shards: int) -> None:
    """Add δW (shards,KH,KW,C,F) and δb (shards,F) of x (N,H,W,G C) and δy (N,H',W',F)."""
    launch(_weights, x, tuple(rows), tuple(columns), dy, dW, db, shards=shards)
