"""The convolutions of ops/conv.py in Numba, for float32. Conv1D runs as Conv2D on images of height 1.

Layout

  quantity         here                                                 specification
  x, y, δy, δx     flat, in C order                                     (N, H, W, C), (N, H', W', F)
  canvas           flat (canvas.height, canvas.width, C), one image     x with its padding, (N, H + ..., W + ..., C)
                   at a time with its margins; x where it has none
  W                forward (KH KW C, F); in δx (KH KW F, C), turned     (KH, KW, C, F)
                   round, or (F, KH KW C); packed into panels
  δW, δb           (shards, KH, KW, C, F), (shards, F), then summed     (KH, KW, C, F), (F)
  cache            x without padding, W, the windows                    x with its padding, W, the windows

Names of the equations, and what they are in the kernels; `rows` and `columns` are the windows along the two axes

  t                (i, j), an output
  k                (kh, kw), an element of the kernel
  s, d             (rows.stride, columns.stride), (rows.dilation, columns.dilation)
  p                (rows.before, columns.before) where there are no margins, (0, 0) where they hold the padding
  t s + k d − p    (h, w), a pixel of the canvas: h = i rows.stride + kh rows.dilation − rows.before, w likewise
"""

from typing import Any, NamedTuple

import numpy as np

from tinynet.backend import home
from tinynet.backend.cpu.runtime.gemm import PANEL, SHALLOW, product
from tinynet.backend.cpu.runtime.jit import inline, njit
from tinynet.backend.cpu.runtime.memory import empty
from tinynet.backend.cpu.runtime.packing import packed, summed
from tinynet.backend.cpu.runtime.threads import launch, threads
from tinynet.backend.cpu.runtime.vector import add_row, view
from tinynet.window import ONE_ROW, Window, window, windows

_WORTH = 1 << 18  # multiplications that take longer than a launch


class _Canvas(NamedTuple):
    """An image with margins: pixel (h, w) of the image is at (top + h gap_h, left + w gap_w), the others are zero."""

    height: int
    width: int
    top: int
    left: int
    gap_h: int
    gap_w: int


# --- Equations ------------------------------------------------------------------------------------------------------
# A row of a kernel meets KW C numbers that lie side by side on the canvas, and the next row of the kernel meets those
# `rows.dilation` lines below. So Σₖ is one product: its inner index runs over (kw, c), its blocks are the KH rows. With
# a dilation along the width it is KW products, whose inner index runs over c. Nothing is unfolded.

@inline
def _outputs(count: Any, KH: Any, KW: Any, C: Any, F: Any, canvas: Any, at: Any, line: Any, rows: Any, columns: Any,
             W: Any, places: Any, y: Any, out: Any, add: Any) -> None:
    """`count` neighbouring outputs, added to y if `add`. `at` is t s − p on the canvas, `line` is a line of it."""
    depth, parts = (KW * C, 1) if columns.dilation == 1 else (C, KW)
    for kw in range(parts):
        pixels = at + kw * columns.dilation * C, columns.stride * C, 1, rows.dilation * line
        weights = kw * C * places[0], *places, KW * C * places[0]
        product((count, F, depth, KH), canvas, pixels, W, weights, y, (out, F), add or kw > 0)  # (1) (2)


@inline
def _repeat(b: Any, y: Any, out: Any, count: Any) -> None:
    F = np.uint64(b.size)
    for j in range(np.uint64(count)):
        for f in range(F):
            y[np.uint64(out) + j * F + f] = b[f]  # (1)


@inline
def _shares(count: Any, taps: Any, F: Any, dy: Any, out: Any, W: Any, shares: Any) -> None:
    """δyₜ Wₖᵀ for `count` neighbouring outputs and all k, in rows of `taps` numbers."""
    product((count, taps, F), dy, (out, F, 1), W, (0, PANEL, F * PANEL), shares, (0, taps), False)  # (2)


@inline
def _add_share(shares: Any, share: Any, taps: Any, canvas: Any, at: Any, step: Any, count: Any, C: Any) -> None:
    """Add what `count` outputs give back through one k to the pixels of the canvas from `at`, `step` apart."""
    for j in range(count):
        for c in range(C):
            canvas[np.uint64(at + j * step + c)] += shares[np.uint64(share + j * taps + c)]  # (2)


@inline
def _dweights(depth: Any, F: Any, count: Any, blocks: Any, canvas: Any, at: Any, step: Any, block: Any, dy: Any,
              out: Any, dW: Any, first: Any) -> None:
    """Add xᵀ δy over `count` outputs in each of some blocks to `depth` rows of δW."""
    pixels, outputs = (at, 1, step, block), (out, F, PANEL, count * F)
    product((depth, F, count, blocks), canvas, pixels, dy, outputs, dW, (first, F), True)  # (3)


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by the products: 2 N H' W' KH KW C F operations forward, twice that backward. One product makes a row of
# outputs. Threads take images, or rows or pixels of outputs where there are fewer images than threads.
#
# δx is a convolution of δy by the kernel turned round: δx[h] = Σₖ δy[(h + p − k d) / s] Wₖᵀ. On its canvas δy has gaps
# of s − 1 zeros and margins of (K − 1) d, and the same loop makes δx. With few channels most columns of that product
# would be empty, so δx is made output by output instead. Each thread has its own sums δW and δb.
#
# Indices are unsigned in loops over channels: one that cannot be negative lets LLVM vectorise them.

@njit
def _draw(image: Any, first: Any, size: Any, canvas: Any, low: Any, high: Any, pixels: Any) -> None:
    """Draw those pixels of an image (h, w, C) that fall on the lines from `low` to `high` of a canvas of zeros."""
    height, width, C = size
    for i in range(height):
        line = canvas.top + i * canvas.gap_h
        for j in range(width if low <= line < high else 0):
            pixel = np.uint64(first + (i * width + j) * C)
            place = np.uint64((line * canvas.width + canvas.left + j * canvas.gap_w) * C)
            for c in range(np.uint64(C)):
                pixels[place + c] = image[pixel + c]


@njit
def _correlate(shard: Any, shards: Any, unit: Any, x: Any, canvas: Any, rows: Any, columns: Any, W: Any, places: Any,
               b: Any, y: Any) -> None:
    """(1), or (2) with the kernel turned round, for the shard's outputs: whole units of them."""
    canvas, rows, columns = _Canvas(*canvas), Window(*rows), Window(*columns)
    N, height, width, C = x.shape
    KH, KW, Hy, Wy, F = rows.width, columns.width, rows.outputs, columns.outputs, y.shape[3]
    direct = canvas.height == height and canvas.width == width and canvas.gap_h == 1 and canvas.gap_w == 1
    drawn = np.zeros(0 if direct else canvas.height * canvas.width * C, x.dtype)
    pixels, outputs, line = x.reshape(-1), y.reshape(-1), canvas.width * C
    units = N * Hy * Wy // unit
    low, high = shard * units // shards * unit, (shard + 1) * units // shards * unit
    top, bottom = low // Wy, (high + Wy - 1) // Wy  # rows, counted through all images
    for n in range(top // Hy, (bottom + Hy - 1) // Hy):
        source, first = pixels, n * height * line
        begin, end = max(0, top - n * Hy), min(Hy, bottom - n * Hy)
        if not direct:
            _draw(pixels, n * height * width * C, (height, width, C), canvas, begin * rows.stride - rows.before,
                  (end - 1) * rows.stride + (KH - 1) * rows.dilation - rows.before + 1, drawn)
            source, first = drawn, 0
        for i in range(begin, end):
            left, right = max(0, low - (n * Hy + i) * Wy), min(Wy, high - (n * Hy + i) * Wy)
            out = ((n * Hy + i) * Wy + left) * F
            if b.size:
                _repeat(b, outputs, out, right - left)
            at = first + (i * rows.stride - rows.before) * line + (left * columns.stride - columns.before) * C
            _outputs(right - left, KH, KW, C, F, source, at, line, rows, columns, W, places, outputs, out, b.size > 0)


@njit
def _scatter(shard: Any, shards: Any, dy: Any, W: Any, canvas: Any, rows: Any, columns: Any, dx: Any) -> None:
    """(2) for the shard's images: what each output gives back is added to the pixels that it came from."""
    canvas, rows, columns = _Canvas(*canvas), Window(*rows), Window(*columns)
    N, height, width, C = dx.shape
    _, Hy, Wy, F = dy.shape
    taps = W.shape[0] * PANEL  # KH KW C, and what fills the last panel up
    shares, line = np.empty(Wy * taps, dx.dtype), canvas.width * C
    drawn, gradients = np.empty(canvas.height * line, dx.dtype), dy.reshape(-1)
    for n in range(shard * N // shards, (shard + 1) * N // shards):
        for place in range(drawn.size):
            drawn[place] = 0
        for i in range(Hy):
            _shares(Wy, taps, F, gradients, (n * Hy + i) * Wy * F, W, shares)
            for kh in range(rows.width):
                for kw in range(columns.width):
                    at = (i * rows.stride + kh * rows.dilation) * line + kw * columns.dilation * C
                    _add_share(shares, (kh * columns.width + kw) * C, taps, drawn, at, columns.stride * C, Wy, C)
        for i in range(height):
            for j in range(width):
                for c in range(C):
                    dx[n, i, j, c] = drawn[((canvas.top + i) * canvas.width + canvas.left + j) * C + c]


@njit
def _weights(shard: Any, shards: Any, x: Any, canvas: Any, rows: Any, columns: Any, dy: Any, dW: Any, db: Any) -> None:
    """The shard's part of (3) and (4): a product over the rows of an image, or over images of a single row."""
    canvas, rows, columns = _Canvas(*canvas), Window(*rows), Window(*columns)
    N, height, width, C = x.shape
    _, Hy, Wy, F = dy.shape
    KH, KW = rows.width, columns.width
    line, image = canvas.width * C, canvas.height * canvas.width * C
    direct = canvas.height == height and canvas.width == width
    low, high = shard * N // shards, (shard + 1) * N // shards
    together = max(1, SHALLOW // Wy) if Hy == 1 else 1
    drawn = np.zeros(0 if direct else together * image, x.dtype)
    pixels, gradients = x.reshape(-1), dy.reshape(-1)
    depth, parts = (KW * C, 1) if columns.dilation == 1 else (C, KW)
    total = view(db, shard * F, F)
    for n in range(low, high, together):
        images = min(together, high - n)
        blocks, block = (images, image) if Hy == 1 else (Hy, rows.stride * line)
        source, first = pixels, n * image
        if not direct:
            for i in range(images):
                _draw(pixels, (n + i) * height * width * C, (height, width, C),
                      _Canvas(canvas.height, canvas.width, canvas.top + i * canvas.height, canvas.left, 1, 1),
                      0, images * canvas.height, drawn)
            source, first = drawn, 0
        for kh in range(KH):
            for kw in range(parts):
                at = first + kh * rows.dilation * line + kw * columns.dilation * C
                _dweights(depth, F, Wy, blocks, source, at, columns.stride * C, block, gradients, n * Hy * Wy * F, dW,
                          ((shard * KH + kh) * KW + kw) * C * F)
        for t in range(n * Hy * Wy, (n + images) * Hy * Wy):
            add_row(view(gradients, t * F, F), total)  # (4)


def _shards(N: int) -> int:
    return max(1, min(threads(), N))


def _units(y: Any, taps: int) -> tuple[int, int]:
    """The number of shards for outputs y, each of which costs `taps` multiplications, and the outputs of a unit.

    No two shards divide a unit. It is an image; where there are few images it is a row, or one output.
    """
    N, rows, columns, _ = y.shape
    shards = max(_shards(N), min(threads(), N * rows * columns * taps // _WORTH))
    return shards, rows * columns if shards <= N else columns if N * rows >= shards else 1


_Numbers = tuple[int, int, int, int, int, int]  # a _Canvas or a Window; Numba is slow to recognise a NamedTuple


def _with_padding(x: Any, rows: Window, columns: Window) -> tuple[_Numbers, _Numbers, _Numbers]:
    """The canvas of x with the padding as its margins, and the windows on it."""
    _, height, width, _ = x.shape
    return ((rows.before + height + rows.after, columns.before + width + columns.after, rows.before, columns.before,
             1, 1), (rows.width, rows.stride, rows.dilation, 0, 0, rows.outputs),
            (columns.width, columns.stride, columns.dilation, 0, 0, columns.outputs))


def _with_gaps(x: Any, rows: Window, columns: Window) -> tuple[_Numbers, _Numbers, _Numbers]:
    """The canvas of δy, spread out by the strides, and the windows of stride 1 whose outputs are the pixels of x."""
    _, height, width, _ = x.shape
    top, left = (rows.width - 1) * rows.dilation, (columns.width - 1) * columns.dilation
    return ((top + rows.before + height + rows.after, left + columns.before + width + columns.after, top, left,
             rows.stride, columns.stride), (rows.width, 1, rows.dilation, -rows.before, 0, height),
            (columns.width, 1, columns.dilation, -columns.before, 0, width))


def _convolve(x: Any, W: Any, b: Any, rows: Window, columns: Window) -> Any:
    N, F = x.shape[0], W.shape[-1]
    x = np.ascontiguousarray(x)
    y = empty((N, rows.outputs, columns.outputs, F))
    bias = np.empty(0, x.dtype) if b is None else np.ascontiguousarray(b)
    kernel, places = np.ascontiguousarray(W), (F, PANEL)
    if N * rows.outputs > 1:  # a single product packs what it needs
        kernel, places = packed(W.reshape(-1, F)), (PANEL, W.size // F * PANEL)
    shards, unit = _units(y, W.size)
    launch(_correlate, unit, x, *_with_padding(x, rows, columns), kernel.reshape(-1), places, bias, y, shards=shards)
    return y, (x, W, rows, columns)


def _dconvolve(dy: Any, cache: Any, needs: Any) -> Any:
    x, W, rows, columns = cache
    N, (C, F), shape = x.shape[0], W.shape[-2:], W.shape
    W = W.reshape(rows.width, columns.width, C, F)
    dy = np.ascontiguousarray(dy)
    padded = _with_padding(x, rows, columns)
    dx = dW = db = None
    if needs[0]:
        dx = empty(x.shape)
        if C <= PANEL // 2:
            launch(_scatter, dy, packed(W.reshape(-1, F).T), *padded, dx, shards=_shards(N))
        else:
            turned = packed(np.ascontiguousarray(W[::-1, ::-1].transpose(0, 1, 3, 2)).reshape(-1, C))  # (KH KW F,C)
            shards, unit = _units(dx, W.size)
            launch(_correlate, unit, dy, *_with_gaps(x, rows, columns), turned.reshape(-1),
                   (PANEL, W.size // C * PANEL), np.empty(0, x.dtype), dx, shards=shards)
    if needs[1] or needs[2]:
        shards = _shards(N)
        parts_W, parts_b = np.zeros((shards, *W.shape), x.dtype), np.zeros((shards, F), x.dtype)
        launch(_weights, x, *padded, dy, parts_W, parts_b, shards=shards)
        dW = summed(parts_W.reshape(shards, *shape), home(needs[1])) if needs[1] else None
        db = summed(parts_b, home(needs[2])) if needs[2] else None
    return dx, dW, db


# --- Entry ----------------------------------------------------------------------------------------------------------

def conv1d(xp: Any, x: Any, W: Any, b: Any = None, *, stride: int = 1, padding: Any = "valid",
           dilation: int = 1) -> Any:
    """See `tn.ops.conv1d`. float32."""
    if x.dtype != np.float32:
        return NotImplemented
    columns = window("conv1d", "T", x.shape[1], W.shape[0], stride, padding, dilation)
    y, cache = _convolve(x[:, None], W, b, ONE_ROW, columns)
    return y[:, 0], cache  # (N,T',F)


def dconv1d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.conv1d`."""
    dx, dW, db = _dconvolve(dy[:, None], cache, needs)
    return None if dx is None else dx[:, 0], dW, db


def conv2d(xp: Any, x: Any, W: Any, b: Any = None, *, stride: Any = 1, padding: Any = "valid",
           dilation: Any = 1) -> Any:
    """See `tn.ops.conv2d`. float32."""
    if x.dtype != np.float32:
        return NotImplemented
    return _convolve(x, W, b, *windows("conv2d", x.shape[1:3], W.shape[:2], stride, padding, dilation))


def dconv2d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.conv2d`."""
    return _dconvolve(dy, cache, needs)
