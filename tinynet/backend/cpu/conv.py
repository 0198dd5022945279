"""The convolutions of ops/conv.py in Numba: sums of products straight from the image, nothing is unfolded.

What bounds it: the products, 2 N H' W' KH KW C F operations forward and twice that backward. The trick: for one row of
outputs, the pixels that a row of the kernel meets lie one after the other, channels included; a stride is a stride, and
the rows of the kernel are the outer level of the product's double loop. So a row of outputs is a single product of
(W', KW C) with (KW C, F), summed over the KH rows. The gradient of x is a convolution of δy, spread out by the stride
and padded, with the kernel turned round, and runs through the same loop; but an image of few channels would leave most
columns of that product empty, and gets its gradient output by output.
"""

from typing import Any

import numpy as np

from tinynet.backend import home
from tinynet.backend.cpu.runtime.gemm import PANEL, SHALLOW, product
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.memory import empty
from tinynet.backend.cpu.runtime.packing import packed, summed
from tinynet.backend.cpu.runtime.threads import launch, threads
from tinynet.backend.cpu.runtime.vector import add_row, view
from tinynet.window import ONE_ROW, Window, window, windows

_WORTH = 1 << 18  # multiplications that take longer than a launch


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


def _convolve(x: Any, W: Any, b: Any, rows: Window, columns: Window) -> Any:
    N, F = x.shape[0], W.shape[-1]
    x = np.ascontiguousarray(x)
    y = empty((N, rows.outputs, columns.outputs, F))
    bias = np.empty(0, x.dtype) if b is None else np.ascontiguousarray(b)
    kernel, places = np.ascontiguousarray(W), (F, PANEL)
    if N * rows.outputs > 1:  # a single product packs what it needs
        kernel, places = packed(W.reshape(-1, F)), (PANEL, W.size // F * PANEL)
    shards, unit = _units(y, W.size)
    launch(_correlate, unit, x, _frame(x, rows, columns), (1, 1), kernel.reshape(-1), places, bias,
           (rows.width, columns.width), _steps(rows, columns), (0, 0), y, shards=shards)  # (1)
    return y, (x, W, rows, columns)


def _dconvolve(dy: Any, cache: Any, needs: Any) -> Any:
    x, W, rows, columns = cache
    N, KH, KW, (C, F), shape = x.shape[0], rows.width, columns.width, W.shape[-2:], W.shape
    W = W.reshape(KH, KW, C, F)
    dy = np.ascontiguousarray(dy)
    dx = dW = db = None
    if needs[0]:
        dx = empty(x.shape)
        frame = _frame(x, rows, columns)
        if C <= PANEL // 2:
            launch(_scatter, dy, packed(W.reshape(-1, F).T), W.shape, frame, _steps(rows, columns), dx,
                   shards=_shards(N))  # (2)
        else:
            turned = packed(np.ascontiguousarray(W[::-1, ::-1].transpose(0, 1, 3, 2)).reshape(-1, C))  # (KH KW F,C)
            top, left = (KH - 1) * rows.dilation, (KW - 1) * columns.dilation
            shards, unit = _units(dx, W.size)
            launch(_correlate, unit, dy, (top, left, frame[2] + top, frame[3] + left), (rows.stride, columns.stride),
                   turned.reshape(-1), (PANEL, KH * KW * F * PANEL), np.empty(0, x.dtype), (KH, KW),
                   (1, 1, rows.dilation, columns.dilation), frame[:2], dx, shards=shards)  # (2)
    if needs[1] or needs[2]:
        shards = _shards(N)
        parts_W, parts_b = np.zeros((shards, *W.shape), x.dtype), np.zeros((shards, F), x.dtype)
        launch(_weights, x, _frame(x, rows, columns), dy, _steps(rows, columns), parts_W, parts_b,
               shards=shards)  # (3) (4)
        dW = summed(parts_W.reshape(shards, *shape), home(needs[1])) if needs[1] else None
        db = summed(parts_b, home(needs[2])) if needs[2] else None
    return dx, dW, db


def _frame(x: Any, rows: Window, columns: Window) -> tuple[int, int, int, int]:
    """Where an image begins inside of its margins, and how large it is with them."""
    height, width = x.shape[1:3]
    return rows.before, columns.before, rows.before + height + rows.after, columns.before + width + columns.after


def _steps(rows: Window, columns: Window) -> tuple[int, int, int, int]:
    """Strides and dilations."""
    return rows.stride, columns.stride, rows.dilation, columns.dilation


def _shards(N: int) -> int:
    return max(1, min(threads(), N))


def _units(y: Any, taps: int) -> tuple[int, int]:
    """How many shards for outputs y, each of which costs so many multiplications in all its channels; and how many
    outputs they do not divide: those of an image, or where there are few images those of a row, or one."""
    N, rows, columns, _ = y.shape
    shards = max(_shards(N), min(threads(), N * rows * columns * taps // _WORTH))
    return shards, rows * columns if shards <= N else columns if N * rows >= shards else 1


# Places are unsigned in the loops over channels: an index that cannot be negative lets them become vector instructions.

@njit
def _put(image: Any, start: Any, size: Any, frame: Any, gaps: Any, top: Any, bottom: Any, canvas: Any) -> None:
    """Put an image of this size (h,w,C) on a canvas of zeros, its pixels `gaps` apart: what is from `top` to `bottom`
    there."""
    height, width, C = size
    for i in range(height):
        row = frame[0] + i * gaps[0]
        for j in range(width if top <= row < bottom else 0):
            pixel = np.uint64(start + (i * width + j) * C)
            place = np.uint64((row * frame[3] + frame[1] + j * gaps[1]) * C)
            for c in range(np.uint64(C)):
                canvas[place + c] = image[pixel + c]


@njit
def _repeat(b: Any, y: Any, start: Any, count: Any) -> None:
    """Write b `count` times, one after the other."""
    F = np.uint64(b.size)
    for j in range(np.uint64(count)):
        for f in range(F):
            y[np.uint64(start) + j * F + f] = b[f]


@njit
def _correlate(shard: Any, shards: Any, unit: Any, x: Any, frame: Any, gaps: Any, W: Any, places: Any, b: Any,
               kernel: Any, steps: Any, origin: Any, y: Any) -> None:
    """y = b + the sum over the kernel of slices of x times W, for the shard's outputs: whole units of them."""
    N, height, width, C = x.shape
    _, rows, columns, F = y.shape
    KH, KW = kernel
    stride_h, stride_w, dilation_h, dilation_w = steps
    canvas_h, canvas_w = frame[2], frame[3]
    direct = canvas_h == height and canvas_w == width and gaps[0] == 1 and gaps[1] == 1
    canvas = np.zeros(0 if direct else canvas_h * canvas_w * C, x.dtype)
    pixels, outputs = x.reshape(-1), y.reshape(-1)
    depth, parts = (KW * C, 1) if dilation_w == 1 else (C, KW)  # a row of the kernel at once, or tap by tap
    row = canvas_w * C
    units = N * rows * columns // unit
    low, high = shard * units // shards * unit, (shard + 1) * units // shards * unit
    top, bottom = low // columns, (high + columns - 1) // columns  # rows, counted through all images
    for n in range(top // rows, (bottom + rows - 1) // rows):
        source, first = pixels, n * height * row
        begin, end = max(0, top - n * rows), min(rows, bottom - n * rows)
        if not direct:
            _put(pixels, n * height * width * C, (height, width, C), frame, gaps, origin[0] + begin * stride_h,
                 origin[0] + (end - 1) * stride_h + (KH - 1) * dilation_h + 1, canvas)
            source, first = canvas, 0
        for i in range(begin, end):
            left, right = max(0, low - (n * rows + i) * columns), min(columns, high - (n * rows + i) * columns)
            out = ((n * rows + i) * columns + left) * F
            if b.size:
                _repeat(b, outputs, out, right - left)
            start = first + (origin[0] + i * stride_h) * row + (origin[1] + left * stride_w) * C
            for part in range(parts):
                product((right - left, F, depth, KH),
                        source, (start + part * dilation_w * C, stride_w * C, 1, dilation_h * row),
                        W, (part * C * places[0], *places, KW * C * places[0]), y, (out, F), b.size > 0 or part > 0)


@njit
def _scatter(shard: Any, shards: Any, dy: Any, W: Any, kernel: Any, frame: Any, steps: Any, dx: Any) -> None:
    """What each output of the shard's images gives back, W times dy, added to the pixels that it came from."""
    N, height, width, C = dx.shape
    _, rows, columns, F = dy.shape
    KH, KW = kernel[:2]
    stride_h, stride_w, dilation_h, dilation_w = steps
    top, left, canvas_h, canvas_w = frame
    taps = W.shape[0] * PANEL  # KH KW C, and what fills the last panel up
    shares = np.empty(columns * taps, dx.dtype)
    drawn = np.empty(canvas_h * canvas_w * C, dx.dtype)
    for n in range(shard * N // shards, (shard + 1) * N // shards):
        for place in range(drawn.size):
            drawn[place] = 0
        for i in range(rows):
            product((columns, taps, F), dy, ((n * rows + i) * columns * F, F, 1), W, (0, PANEL, F * PANEL),
                    shares, (0, taps), False)
            for k in range(KH):
                for q in range(KW):
                    start = ((i * stride_h + k * dilation_h) * canvas_w + q * dilation_w) * C
                    _add_apart(shares, (k * KW + q) * C, taps, drawn, start, stride_w * C, columns, C)
        for i in range(height):
            for j in range(width):
                for c in range(C):
                    dx[n, i, j, c] = drawn[((top + i) * canvas_w + left + j) * C + c]


@njit
def _add_apart(source: Any, s: Any, s_step: Any, target: Any, t: Any, t_step: Any, count: Any, C: Any) -> None:
    """Add `count` times C elements, `s_step` apart, to others, `t_step` apart."""
    for j in range(count):
        for c in range(C):
            target[np.uint64(t + j * t_step + c)] += source[np.uint64(s + j * s_step + c)]


@njit
def _weights(shard: Any, shards: Any, x: Any, frame: Any, dy: Any, steps: Any, dW: Any, db: Any) -> None:
    """The shard's share of dW and db: a product over an image, or over some at once if they are a single row."""
    N, height, width, C = x.shape
    _, rows, columns, F = dy.shape
    KH, KW = dW.shape[1], dW.shape[2]
    stride_h, stride_w, dilation_h, dilation_w = steps
    canvas_h, canvas_w = frame[2], frame[3]
    row, image = canvas_w * C, canvas_h * canvas_w * C
    direct = canvas_h == height and canvas_w == width
    low, high = shard * N // shards, (shard + 1) * N // shards
    together = max(1, SHALLOW // columns) if rows == 1 else 1
    canvas = np.zeros(0 if direct else together * image, x.dtype)
    pixels, gradients = x.reshape(-1), dy.reshape(-1)
    depth, parts = (KW * C, 1) if dilation_w == 1 else (C, KW)
    total = view(db, shard * F, F)
    for n in range(low, high, together):
        images = min(together, high - n)
        blocks, block = (images, image) if rows == 1 else (rows, stride_h * row)
        source, first = pixels, n * image
        if not direct:
            for i in range(images):
                _put(pixels, (n + i) * height * width * C, (height, width, C), (frame[0] + i * canvas_h, *frame[1:]),
                     (1, 1), 0, images * canvas_h, canvas)
            source, first = canvas, 0
        for k in range(KH):
            for part in range(parts):
                start = first + k * dilation_h * row + part * dilation_w * C
                product((depth, F, columns, blocks), source, (start, 1, stride_w * C, block),
                        dy, (n * rows * columns * F, F, PANEL, columns * F),
                        dW, (((shard * KH + k) * KW + part) * C * F, F), True)
        for pixel in range(n * rows * columns, (n + images) * rows * columns):
            add_row(view(gradients, pixel * F, F), total)
