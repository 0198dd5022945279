"""The convolutions of ops/conv.py in Numba, for float32. Conv1D runs as Conv2D on images of height 1.

Layout

  quantity         here                                                 specification
  x, y, δy, δx     (N, H, W, C), (N, H', W', F), in C order             the same
  padded image     one at a time, flat: (padded.height, padded.width,   (N, H + ..., W + ..., C)
                   C); x itself where there is no padding
  W                packed (KH KW C, F); for δx flipped, (KH KW F, C),   (KH, KW, C, F)
                   or transposed, (F, KH KW C)
  δW, δb           (shards, KH, KW, C, F), (shards, F), then summed     (KH, KW, C, F), (F)
  cache            x without padding, W, the windows                    x with its padding, W, the windows

Names of the equations, and their counterparts here; `rows` and `columns` are the windows along the two axes

  t                (i, j), an output
  k                (kh, kw), an element of the convolution's kernel
  s, d             (rows.stride, columns.stride), (rows.dilation, columns.dilation)
  p                (rows.before, columns.before): 0 in a padded image, for δx in that of δy the negative padding
  t s + k d − p    (h, w), a pixel of the padded image: h = i rows.stride + kh rows.dilation − rows.before, w likewise
"""

from typing import Any, NamedTuple

import numpy as np

from tinynet.backend.cpu.conv_groups import dx_of_groups, of_groups, weights_of_groups
from tinynet.backend.cpu.runtime.gemm import PANEL, SHALLOW, product
from tinynet.backend.cpu.runtime.jit import inline, njit
from tinynet.backend.cpu.runtime.memory import contiguous, empty, zeros
from tinynet.backend.cpu.runtime.packing import packed, summed
from tinynet.backend.cpu.runtime.threads import launch, threads
from tinynet.backend.cpu.runtime.vector import add_row, copy, view
from tinynet.window import ONE_ROW, Window, window, windows

_NEAR = 1 << 16  # elements of δy that stay in the second-level cache
_CACHED = 1 << 17  # elements of W that stay there for all rows of an image
_WORTH = 1 << 18  # multiplications of a shard, which take longer than a launch


class _Padded(NamedTuple):
    """The geometry of a padded image: pixel (h, w) is moved to (top + h gap_h, left + w gap_w), the rest is zero."""

    height: int
    width: int
    top: int
    left: int
    gap_h: int
    gap_w: int


# --- Equations ------------------------------------------------------------------------------------------------------
# A row of the kernel multiplies KW C contiguous numbers of the padded image, and the next row of the kernel those
# `rows.dilation` lines below. So Σₖ is one product: its inner index runs over (kw, c), and its blocks are the KH rows.
# With a dilation along the width it is KW products, whose inner index runs over c. The image is not unfolded (im2col).

@inline
def _outputs(count: Any, KH: Any, KW: Any, C: Any, F: Any, first: Any, end: Any, image: Any, at: Any, line: Any,
             rows: Any, columns: Any, W: Any, places: Any, y: Any, out: Any, add: Any) -> None:
    """yₜ = Σₖ x[t s + k d − p] Wₖ for `count` consecutive t, added to y if `add` is true.

    Only for the filters from `first`, a multiple of PANEL, to `end`. `at` is the offset of pixel t s − p in the padded
    image, and `line` the length of a line there.
    """
    depth, parts = (KW * C, 1) if columns.dilation == 1 else (C, KW)
    for kw in range(parts):
        pixels = at + kw * columns.dilation * C, columns.stride * C, 1, rows.dilation * line
        weights = first // PANEL * places[1] + kw * C * places[0], *places, KW * C * places[0]
        product((count, end - first, depth, KH), image, pixels, W, weights,
                y, (out + first, F), add or kw > 0)  # (1) (2)


@inline
def _repeat(b: Any, y: Any, out: Any, count: Any) -> None:
    """yₜ = b for `count` consecutive t."""
    F = np.uint64(b.size)
    for j in range(np.uint64(count)):
        for f in range(F):
            y[np.uint64(out) + j * F + f] = b[f]  # (1)


@inline
def _shares(count: Any, taps: Any, F: Any, dy: Any, out: Any, W: Any, shares: Any) -> None:
    """δyₜ Wₖᵀ for `count` consecutive t and all k, in rows of `taps` numbers."""
    product((count, taps, F), dy, (out, F, 1), W, (0, PANEL, F * PANEL), shares, (0, taps), False)  # (2)


@inline
def _add_share(shares: Any, share: Any, taps: Any, image: Any, at: Any, step: Any, count: Any, C: Any) -> None:
    """δx[t s + k d − p] += δyₜ Wₖᵀ for `count` consecutive t and one k. The first pixel is at `at`, the next one `step`
    elements further."""
    for j in range(count):
        for c in range(C):
            image[np.uint64(at + j * step + c)] += shares[np.uint64(share + j * taps + c)]  # (2)


@inline
def _dweights(depth: Any, F: Any, count: Any, blocks: Any, image: Any, at: Any, step: Any, block: Any, dy: Any,
              out: Any, dW: Any, first: Any) -> None:
    """δWₖ += Σ x[t s + k d − p]ᵀ δyₜ over `blocks` times `count` t: `depth` rows of δW, from element `first`."""
    pixels, outputs = (at, 1, step, block), (out, F, PANEL, count * F)
    product((depth, F, count, blocks), image, pixels, dy, outputs, dW, (first, F), True)  # (3)


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by the products: 2 N H' W' KH KW C F operations forward, twice that backward. One product makes a row of
# outputs. Threads take images, or rows or pixels of outputs where there are fewer images than threads. Of a W that is
# too large for the second-level cache, all rows of an image use some filters before the next ones.
#
# δx is a convolution of δy by the flipped kernel: δx[h] = Σₖ δy[(h + p − k d) / s] Wₖᵀ. So δy is padded by (K − 1) d,
# with s − 1 zeros between its pixels, and the same Numba kernel computes δx. With few channels most columns of that
# product would be padding: then δyₜ Wₖᵀ of each row of outputs is added to δx instead.
#
# Each thread has its own sums δW and δb. It takes as many rows of δy as stay in its cache for all k and for δb. δb is
# first summed for each place in a row: with few filters, a sum for each filter would wait for the addition before.
#
# Indices in loops over channels are unsigned: LLVM vectorises these loops only if the index cannot be negative.

@njit
def _pad(image: Any, first: Any, size: Any, padded: Any, low: Any, high: Any, buffer: Any) -> None:
    """Copy the lines `low` to `high` of a padded image into a buffer of zeros. The image is (h, w, C) at `first`."""
    height, width, C = size
    parts, length = (1, width * C) if padded.gap_w == 1 else (width, C)  # of a line
    for i in range(height):
        line = padded.top + i * padded.gap_h
        for j in range(parts if low <= line < high else 0):
            place = (line * padded.width + padded.left + j * padded.gap_w) * C
            copy(view(image, first + i * width * C + j * length, length), view(buffer, place, length))


@njit
def _correlate(shard: Any, shards: Any, unit: Any, x: Any, padded: Any, rows: Any, columns: Any, W: Any, places: Any,
               b: Any, y: Any) -> None:
    """(1), or (2) with the flipped kernel, for the shard's units of outputs."""
    padded, rows, columns = _Padded(*padded), Window(*rows), Window(*columns)
    N, height, width, C = x.shape
    KH, KW, Hy, Wy, F = rows.width, columns.width, rows.outputs, columns.outputs, y.shape[3]
    direct = padded.height == height and padded.width == width and padded.gap_h == 1 and padded.gap_w == 1
    buffer = np.zeros(0 if direct else padded.height * padded.width * C, x.dtype)
    pixels, outputs, line = x.reshape(-1), y.reshape(-1), padded.width * C
    wide = max(1, _CACHED // (KH * KW * C * PANEL)) * PANEL  # filters
    units = N * Hy * Wy // unit
    low, high = shard * units // shards * unit, (shard + 1) * units // shards * unit
    top, bottom = low // Wy, (high + Wy - 1) // Wy  # rows, counted through all images
    for n in range(top // Hy, (bottom + Hy - 1) // Hy):
        source, first = pixels, n * height * line
        begin, end = max(0, top - n * Hy), min(Hy, bottom - n * Hy)
        if not direct:
            _pad(pixels, n * height * width * C, (height, width, C), padded, begin * rows.stride - rows.before,
                 (end - 1) * rows.stride + (KH - 1) * rows.dilation - rows.before + 1, buffer)
            source, first = buffer, 0
        for f in range(0, F, wide):
            for i in range(begin, end):
                left, right = max(0, low - (n * Hy + i) * Wy), min(Wy, high - (n * Hy + i) * Wy)
                out = ((n * Hy + i) * Wy + left) * F
                if f == 0 and b.size:
                    _repeat(b, outputs, out, right - left)
                at = first + (i * rows.stride - rows.before) * line + (left * columns.stride - columns.before) * C
                _outputs(right - left, KH, KW, C, F, f, min(F, f + wide), source, at, line, rows, columns, W, places,
                         outputs, out, b.size > 0)


@njit
def _scatter(shard: Any, shards: Any, dy: Any, W: Any, padded: Any, rows: Any, columns: Any, dx: Any) -> None:
    """(2) for the shard's images, output by output."""
    padded, rows, columns = _Padded(*padded), Window(*rows), Window(*columns)
    N, height, width, C = dx.shape
    _, Hy, Wy, F = dy.shape
    taps = W.shape[0] * PANEL  # KH KW C, rounded up to whole panels
    shares, line = np.empty(Wy * taps, dx.dtype), padded.width * C
    buffer, gradients = np.empty(padded.height * line, dx.dtype), dy.reshape(-1)
    for n in range(shard * N // shards, (shard + 1) * N // shards):
        for place in range(buffer.size):
            buffer[place] = 0
        for i in range(Hy):
            _shares(Wy, taps, F, gradients, (n * Hy + i) * Wy * F, W, shares)
            for kh in range(rows.width):
                for kw in range(columns.width):
                    at = (i * rows.stride + kh * rows.dilation) * line + kw * columns.dilation * C
                    _add_share(shares, (kh * columns.width + kw) * C, taps, buffer, at, columns.stride * C, Wy, C)
        for i in range(height):
            for j in range(width):
                for c in range(C):
                    dx[n, i, j, c] = buffer[((padded.top + i) * padded.width + padded.left + j) * C + c]


@njit
def _weights(shard: Any, shards: Any, x: Any, padded: Any, rows: Any, columns: Any, dy: Any, dW: Any, db: Any) -> None:
    """The shard's part of (3) and (4): a product over the rows of an image, or over images of a single row."""
    padded, rows, columns = _Padded(*padded), Window(*rows), Window(*columns)
    N, height, width, C = x.shape
    _, Hy, Wy, F = dy.shape
    KH, KW = rows.width, columns.width
    line, image = padded.width * C, padded.height * padded.width * C
    direct = padded.height == height and padded.width == width
    low, high = shard * N // shards, (shard + 1) * N // shards
    together = max(1, SHALLOW // Wy) if Hy == 1 else 1
    near = max(1, _NEAR // (Wy * F))
    buffer = np.zeros(0 if direct else together * image, x.dtype)
    pixels, gradients, sums = x.reshape(-1), dy.reshape(-1), np.zeros(Wy * F, x.dtype)
    depth, parts = (KW * C, 1) if columns.dilation == 1 else (C, KW)
    for n in range(low, high, together):
        images = min(together, high - n)
        lines, block = (images, image) if Hy == 1 else (Hy, rows.stride * line)
        source, first = pixels, n * image
        if not direct:
            for i in range(images):
                _pad(pixels, (n + i) * height * width * C, (height, width, C),
                     _Padded(padded.height, padded.width, padded.top + i * padded.height, padded.left, 1, 1),
                     0, images * padded.height, buffer)
            source, first = buffer, 0
        for top in range(0, lines, near):
            blocks, out = min(near, lines - top), (n * Hy + top) * Wy * F
            for kh in range(KH):
                for kw in range(parts):
                    at = first + top * block + kh * rows.dilation * line + kw * columns.dilation * C
                    _dweights(depth, F, Wy, blocks, source, at, columns.stride * C, block, gradients, out, dW,
                              ((shard * KH + kh) * KW + kw) * C * F)
            for i in range(blocks):
                add_row(view(gradients, out + i * Wy * F, Wy * F), sums)  # (4), for each place in a row
    for j in range(Wy):
        add_row(view(sums, j * F, F), view(db, shard * F, F))  # (4)


def _shards(N: int) -> int:
    return max(1, min(threads(), N))


def _units(y: Any, taps: int) -> tuple[int, int]:
    """The number of shards for outputs y of `taps` multiplications each, and the number of outputs in a unit.

    A shard computes whole units. A unit is an image; if there are few images, it is a row, or one output.
    """
    N, rows, columns, _ = y.shape
    shards = max(_shards(N), min(threads(), N * rows * columns * taps // _WORTH))
    return shards, rows * columns if shards <= N else columns if N * rows >= shards else 1


_Numbers = tuple[int, int, int, int, int, int]  # a _Padded or a Window: Numba is slow to infer types of NamedTuples


def _geometry(x: Any, rows: Window, columns: Window) -> tuple[_Numbers, _Numbers, _Numbers]:
    """The geometry of x with its padding, and the windows on it."""
    _, height, width, _ = x.shape
    return ((rows.before + height + rows.after, columns.before + width + columns.after, rows.before, columns.before,
             1, 1), (rows.width, rows.stride, rows.dilation, 0, 0, rows.outputs),
            (columns.width, columns.stride, columns.dilation, 0, 0, columns.outputs))


def _dgeometry(x: Any, rows: Window, columns: Window) -> tuple[_Numbers, _Numbers, _Numbers]:
    """The geometry of δy, dilated by the strides, and the windows of stride 1 whose outputs are the pixels of x."""
    _, height, width, _ = x.shape
    top, left = (rows.width - 1) * rows.dilation, (columns.width - 1) * columns.dilation
    return ((top + rows.before + height + rows.after, left + columns.before + width + columns.after, top, left,
             rows.stride, columns.stride), (rows.width, 1, rows.dilation, -rows.before, 0, height),
            (columns.width, 1, columns.dilation, -columns.before, 0, width))


def _convolve(x: Any, W: Any, b: Any, rows: Window, columns: Window) -> Any:
    N, F = x.shape[0], W.shape[-1]
    x = contiguous(x)
    y = empty((N, rows.outputs, columns.outputs, F))
    if x.shape[3] > W.shape[-2]:
        of_groups(x, W.reshape(rows.width, columns.width, -1, F), b, rows, columns, y)
        return y, (x, W, rows, columns)
    bias = np.empty(0, x.dtype) if b is None else contiguous(b)
    kernel, places = contiguous(W), (F, PANEL)
    if N * rows.outputs > 1:  # a single product packs what it needs
        kernel, places = packed(W.reshape(-1, F)), (PANEL, W.size // F * PANEL)
    shards, unit = _units(y, W.size)
    launch(_correlate, unit, x, *_geometry(x, rows, columns), kernel.reshape(-1), places, bias, y, shards=shards)
    return y, (x, W, rows, columns)


def _dconvolve(dy: Any, cache: Any, needs: Any) -> Any:
    x, W, rows, columns = cache
    N, (C, F), shape = x.shape[0], W.shape[-2:], W.shape
    W = W.reshape(rows.width, columns.width, C, F)
    dy = contiguous(dy)
    geometry = _geometry(x, rows, columns)
    dx = dW = db = None
    if needs[0]:
        dx = empty(x.shape)
        if x.shape[3] > C:
            dx_of_groups(dy, W, rows, columns, dx)
        elif C <= PANEL // 4:
            launch(_scatter, dy, packed(W.reshape(-1, F).T), *geometry, dx, shards=_shards(N))
        else:
            flipped = packed(contiguous(W[::-1, ::-1].transpose(0, 1, 3, 2)).reshape(-1, C))  # (KH KW F,C)
            shards, unit = _units(dx, W.size)
            launch(_correlate, unit, dy, *_dgeometry(x, rows, columns), flipped.reshape(-1),
                   (PANEL, W.size // C * PANEL), np.empty(0, x.dtype), dx, shards=shards)
    if needs[1] or needs[2]:
        shards = _shards(N)
        parts_W, parts_b = zeros((shards, *W.shape), x.dtype), zeros((shards, F), x.dtype)
        if x.shape[3] > C:
            weights_of_groups(x, rows, columns, dy, parts_W, parts_b, shards)
        else:
            launch(_weights, x, *geometry, dy, parts_W, parts_b, shards=shards)
        dW = summed(parts_W.reshape(shards, *shape)) if needs[1] else None
        db = summed(parts_b) if needs[2] else None
    return dx, dW, db


# --- Entry ----------------------------------------------------------------------------------------------------------

def conv1d(xp: Any, x: Any, W: Any, b: Any = None, *, stride: int = 1, padding: Any = "valid",
           dilation: int = 1, groups: int = 1) -> Any:
    """See `tn.ops.conv1d`. float32."""
    if x.dtype != np.float32 or not W.size:
        return NotImplemented
    columns = window("conv1d", "T", x.shape[1], W.shape[0], stride, padding, dilation)
    y, cache = _convolve(x[:, None], W, b, ONE_ROW, columns)
    return y[:, 0], cache  # (N,T',F)


def dconv1d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.conv1d`."""
    dx, dW, db = _dconvolve(dy[:, None], cache, needs)
    return None if dx is None else dx[:, 0], dW, db


def conv2d(xp: Any, x: Any, W: Any, b: Any = None, *, stride: Any = 1, padding: Any = "valid",
           dilation: Any = 1, groups: int = 1) -> Any:
    """See `tn.ops.conv2d`. float32."""
    if x.dtype != np.float32 or not W.size:
        return NotImplemented
    return _convolve(x, W, b, *windows("conv2d", x.shape[1:3], W.shape[:2], stride, padding, dilation))


def dconv2d(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.conv2d`."""
    return _dconvolve(dy, cache, needs)
