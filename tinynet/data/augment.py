"""Random changes of images in training: shifted, rotated, scaled, sheared, flipped, bent, differently in each epoch.

Output pixel p takes its value from position q of the original image, interpolated bilinearly between four pixels:

    (1)  q = centre + A (p - centre) + side * (shift + u(p))      A = rotation * shear / scale, mirrored by a flip
    (2)  u(p) = sum over the 4 x 4 nearest control points of b_i(p) b_j(p) d_ij          b: cubic B-splines
    (3)  value = 128 + gain (value - 128) + offset

The random numbers of an image come from a counter-based generator with key (seed, stream("augment")) and counter
(number // 4, image, epoch, 0). They depend only on the seed, the epoch and the index of the image, not on the thread
that draws them or on earlier draws.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynet.errors import ArgumentError, ShapeError
from tinynet.op import Update
from tinynet.plain import plain, whole
from tinynet.random import philox, stream

CELLS = 4  # of the grid of elastic control points, along each axis of an image
BORDERS = ("zero", "edge", "reflect")

_FLIPS = {"": (False, False), "horizontal": (True, False), "vertical": (False, True), "both": (True, True)}
_POINTS = CELLS + 3  # control points along an axis: one cell has four
_FIRST = 12  # numbers for shift (2), rotate, scale, shear, flip (2), contrast, brightness; three are unused
_DRAWS = _FIRST + 2 * _POINTS**2  # with those for elastic


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes to images, which a `Loader` applies to its first array: Loader(..., augment=Augment(rotate=10)).

    shift        up to this share of the height and of the width, in both directions
    rotate       up to this angle in degrees, either way
    scale        by a factor between 1 / (1 + scale) and 1 + scale
    shear        up to this angle in degrees, either way
    flip         "horizontal" (left and right), "vertical" or "both", each with probability 1/2
    elastic      moves the control points of a grid, 4 cells along each axis, by up to this share of the side
    contrast     by a factor between 1 / (1 + contrast) and 1 + contrast, about 128
    brightness   by up to this share of 255
    border       the values beyond the border: "zero", "edge" (the nearest pixel) or "reflect"

    All values are drawn uniformly (of a factor, its logarithm), for each image in each epoch. The result depends only
    on the seed, the epoch and the index of the image, not on its batch or the number of threads.

    >>> augment = Augment(shift=0.1, rotate=15, elastic=0.05)
    >>> images = np.full((3, 28, 28, 1), 255, np.uint8)
    >>> some = augment(images, index=np.array([5, 6, 7]), epoch=0, seed=0)
    >>> some.shape, some.dtype.name, bool((augment(images[1:], np.array([6, 7]), 0, 0) == some[1:]).all())
    ((3, 28, 28, 1), 'uint8', True)
    """

    shift: float = 0.0
    rotate: float = 0.0
    scale: float = 0.0
    shear: float = 0.0
    flip: str = ""
    elastic: float = 0.0
    contrast: float = 0.0
    brightness: float = 0.0
    border: str = "zero"

    def __post_init__(self) -> None:
        limits = {"shift": 1, "rotate": 180, "scale": 9, "shear": 80, "elastic": 1, "contrast": 9, "brightness": 1}
        for name, limit in limits.items():
            value = plain(getattr(self, name))
            object.__setattr__(self, name, value)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= limit:
                raise ArgumentError(f"Augment: {name} must be a number between 0 and {limit}, got {value!r}; "
                                    f"{name}={10 if limit > 9 else 0.1}?")
        for name, known in (("flip", tuple(_FLIPS)), ("border", BORDERS)):
            if getattr(self, name) not in known:
                raise ArgumentError(f"Augment: {name} must be one of {', '.join(map(repr, known))}, got "
                                    f"{getattr(self, name)!r}; {name}={known[1]!r}?")

    def __call__(self, images: np.ndarray, index: np.ndarray, epoch: int, seed: int) -> np.ndarray:
        """Apply the changes to some images. Returns uint8 of the same shape.

        images        uint8 (n, height, width) or (n, height, width, channels)
        index         integers (n), the index of each image in the data set; less than 2**32
        epoch, seed   integers in [0, 2**32)

        Raises `ShapeError` or `ArgumentError` for other arrays. Scale to 0 ... 1 afterwards.
        """
        if images.dtype != np.uint8:
            raise ArgumentError(f"Augment: images must be uint8, got {images.dtype}; scale them afterwards, with "
                                "Loader(..., transform=...)")
        if images.ndim not in (3, 4) or len(index) != len(images):
            raise ShapeError(f"Augment: images must be (n,H,W) or (n,H,W,C) and index (n), got {images.shape} and "
                             f"({len(index)}); images[..., None]?")
        epoch = whole("Augment", "epoch", epoch, 0, 2**32 - 1, usual="epoch=0")
        seed = whole("Augment", "seed", seed, 0, 2**32 - 1, usual="seed=0")
        draws = _draws(np.asarray(index), epoch, seed, _DRAWS if self.elastic else _FIRST)
        matrices, levels, bends = self._affine(draws), self._levels(draws), self._bends(draws)
        n, height, width = images.shape[:3]
        out = np.empty(images.shape, np.uint8)
        four = (n, height, width, *images.shape[3:], 1)[:4]
        warp(out.reshape(four), np.ascontiguousarray(images).reshape(four), matrices, levels, bends,
             *_splines(height), *_splines(width), border=BORDERS.index(self.border))
        return out

    def _affine(self, draws: np.ndarray) -> np.ndarray:
        """float32 (n, 6): the rows of A, then the shift in shares of the sides; y before x."""
        signed = 2 * draws - 1
        angle, slant = np.radians(self.rotate) * signed[:, 2], np.tan(np.radians(self.shear) * signed[:, 4])
        factor = (1 + self.scale) ** -signed[:, 3]
        across, down = ((draws[:, 5 + axis] < 0.5) * 2.0 - 1 if flips else 1.0
                        for axis, flips in enumerate(_FLIPS[self.flip]))
        cosine, sine = factor * np.cos(angle), factor * np.sin(angle)
        return np.stack([down * cosine, across * (slant * cosine + sine), -down * sine,
                         across * (cosine - slant * sine), self.shift * signed[:, 0], self.shift * signed[:, 1]],
                        axis=1).astype(np.float32)

    def _levels(self, draws: np.ndarray) -> np.ndarray:
        """float32 (n, 2): gain of (3), and offset plus 128 (1 - gain)."""
        gain = (1 + self.contrast) ** (2 * draws[:, 7] - 1)
        offset = 255 * self.brightness * (2 * draws[:, 8] - 1)
        return np.stack([gain, 128 * (1 - gain) + offset], axis=1).astype(np.float32)

    def _bends(self, draws: np.ndarray) -> np.ndarray:
        """float32 (n, P, P, 2): d_ij of (2), in shares of the sides. P = 0 without `elastic`."""
        if not self.elastic:
            return np.zeros((len(draws), 0, 0, 2), np.float32)
        moved = self.elastic * (2 * draws[:, _FIRST:] - 1)
        return moved.reshape(-1, _POINTS, _POINTS, 2).astype(np.float32)


def _draws(index: np.ndarray, epoch: int, seed: int, count: int) -> np.ndarray:
    """The first `count` uniform numbers in (0, 1) of each image, float64 (n, count)."""
    quads = -(-count // 4)
    number, image = np.meshgrid(np.arange(quads, dtype=np.uint32), index.astype(np.uint32))
    words = philox(np, (number, image, np.full_like(image, epoch), np.zeros_like(image)), (seed, stream("augment")))
    return (np.stack(words, axis=-1).reshape(len(index), 4 * quads)[:, :count] + 0.5) / 2.0**32


@Update
def warp(xp: Any, out: Any, images: Any, matrices: Any, levels: Any, bends: Any, *splines: Any, border: int) -> None:
    """Write images, changed by (1) to (3), into `out`. All arithmetic is float32, in the order written here.

    out, images uint8 (N,H,W,C) · matrices float32 (N,6) · levels float32 (N,2) · bends float32 (N,P,P,2), P = 0: no (2)
    splines     the results of `_splines` for the rows and for the columns
    border      an index into BORDERS
    """
    N, H, W, _ = images.shape
    f = xp.float32
    a, b, c, d, down, right = (matrices[:, k, None, None] for k in range(6))
    y = (xp.arange(H, dtype=f) - f((H - 1) / 2))[:, None]
    x = (xp.arange(W, dtype=f) - f((W - 1) / 2))[None, :]
    qy = (a * y + b * x) + (f((H - 1) / 2) + down * f(H))  # (1) (N,H,W)
    qx = (c * y + d * x) + (f((W - 1) / 2) + right * f(W))
    if bends.size:
        u = _bent(bends, *splines)
        qy, qx = qy + u[..., 0] * f(H), qx + u[..., 1] * f(W)
    y0, x0 = xp.floor(qy), xp.floor(qx)
    fy, fx = qy - y0, qx - x0
    n = xp.arange(N)[:, None, None]
    above, below = (
        _pixel(xp, images, n, y0 + f(k), x0, border) * (f(1) - fx)[..., None]
        + _pixel(xp, images, n, y0 + f(k), x0 + f(1), border) * fx[..., None] for k in range(2))
    value = above * (f(1) - fy)[..., None] + below * fy[..., None]
    value = value * levels[:, 0, None, None, None] + levels[:, 1, None, None, None]  # (3)
    out[...] = xp.floor(xp.minimum(xp.maximum(value, f(0)), f(255)) + f(0.5)).astype(xp.uint8)


def _bent(bends: Any, cell_y: Any, weights_y: Any, cell_x: Any, weights_x: Any) -> Any:
    """(2): u (N,H,W,2), in shares of the sides: the sum over i, then the sum over j."""
    rows = sum(bends[:, cell_y + k] * weights_y[k][:, None, None] for k in range(4))  # (N,H,P,2)
    return sum(rows[:, :, cell_x + k] * weights_x[k][:, None] for k in range(4))  # (2)


def _splines(size: int) -> tuple[np.ndarray, np.ndarray]:
    """The cell of each of `size` pixels, int64 (size), and the cubic B-splines there, float32 (4, size)."""
    place = (np.arange(size) + 0.5) * CELLS / size
    cell = np.floor(place).astype(np.int64)
    t = place - cell
    return cell, np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
                          ).astype(np.float32) / np.float32(6)


def _pixel(xp: Any, images: Any, n: Any, y: Any, x: Any, border: int) -> Any:
    """The pixels at integer coordinates (N,H,W), which may be beyond the border: float32 (N,H,W,C)."""
    _, H, W, _ = images.shape
    inside = ((y >= 0) & (y < H) & (x >= 0) & (x < W))[..., None]
    if BORDERS[border] == "reflect":
        y, x = _reflected(xp, y, H), _reflected(xp, x, W)
    rows = xp.minimum(xp.maximum(y, 0), H - 1).astype(xp.int64)
    columns = xp.minimum(xp.maximum(x, 0), W - 1).astype(xp.int64)
    value = images[n, rows, columns].astype(xp.float32)
    return value * inside if BORDERS[border] == "zero" else value


def _reflected(xp: Any, place: Any, size: int) -> Any:
    """Integer coordinates, mirrored at the border: -1 becomes 0, -2 becomes 1."""
    place = place - xp.floor(place / (2 * size)) * xp.float32(2 * size)
    return xp.minimum(place, xp.float32(2 * size - 1) - place)
