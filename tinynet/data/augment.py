"""Images moved, turned and bent at random while training, so that no two epochs see the same ones.

Output pixel p of an image takes its value from the place q of the original, between four pixels, bilinearly:

    (1)  q = centre + A (p - centre) + side * (shift + u(p))      A = rotation * shear / scale, mirrored by a flip
    (2)  u(p) = sum over the 4 x 4 nearest control points of b_i(p) b_j(p) d_ij          b: cubic B-splines
    (3)  value = 128 + gain (value - 128) + offset

All numbers of an image are drawn from a counter, key = (seed, stream("augment")), counter = (number // 4, image, epoch,
0): they depend on the seed, the epoch and the image's index alone, not on who draws them, or what was drawn before.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np

from tinynet.errors import ArgumentError, ShapeError
from tinynet.op import Update
from tinynet.random import philox, stream

CELLS = 4  # of elastic control points, along each axis of an image
BORDERS = ("zero", "edge", "reflect")

_FLIPS = {"": (False, False), "horizontal": (True, False), "vertical": (False, True), "both": (True, True)}
_POINTS = CELLS + 3  # control points along an axis: one cell has four
_FIRST = 12  # numbers for shift (2), rotate, scale, shear, flip (2), contrast, brightness; three are not used
_DRAWS = _FIRST + 2 * _POINTS**2  # and for elastic


@dataclass(frozen=True, kw_only=True)
class Augment:
    """Random changes to images; a `Loader` applies them to its first array: Loader(..., augment=Augment(rotate=10)).

    shift        up to this share of the height and of the width, each
    rotate       up to so many degrees, either way
    scale        by a factor between 1 / (1 + scale) and 1 + scale
    shear        up to so many degrees
    flip         "horizontal" (left and right), "vertical" or "both": each with probability 1/2
    elastic      bends the image: control points, 4 cells along each axis, move by up to this share of the side
    contrast     by a factor between 1 / (1 + contrast) and 1 + contrast, about 128
    brightness   by up to this share of 255
    border       what is beyond the border: "zero", "edge" (its nearest pixel), "reflect"

    All are drawn uniformly (factors: their logarithm), anew for each image in each epoch. A seed, an epoch and the
    index of an image give the same result whatever is drawn beside it, and by how many threads.

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
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= limit:
                raise ArgumentError(f"Augment: {name} must be a number between 0 and {limit}, got {value!r}; "
                                    f"{name}={10 if limit > 9 else 0.1}?")
        for name, known in (("flip", tuple(_FLIPS)), ("border", BORDERS)):
            if getattr(self, name) not in known:
                raise ArgumentError(f"Augment: {name} must be one of {', '.join(map(repr, known))}, got "
                                    f"{getattr(self, name)!r}; {name}={known[1]!r}?")

    def __call__(self, images: np.ndarray, index: np.ndarray, epoch: int, seed: int) -> np.ndarray:
        """The images changed: uint8 of the same shape.

        images        uint8 (n, height, width) or (n, height, width, channels)
        index         integers (n), what image each of them is; less than 2**32
        epoch, seed   integers in [0, 2**32)

        Raises `ShapeError` and `ArgumentError` for other arrays: scale to 0 ... 1 afterwards.
        """
        if images.dtype != np.uint8:
            raise ArgumentError(f"Augment: images must be uint8, got {images.dtype}; scale them afterwards, with "
                                "Loader(..., transform=...)")
        if images.ndim not in (3, 4) or len(index) != len(images):
            raise ShapeError(f"Augment: images must be (n,H,W) or (n,H,W,C) and index (n), got {images.shape} and "
                             f"({len(index)}); images[..., None]?")
        draws = _draws(np.asarray(index), epoch, seed, _DRAWS if self.elastic else _FIRST)
        matrices, levels, bends = self._affine(draws), self._levels(draws), self._bends(draws)
        n, height, width = images.shape[:3]
        out = np.empty(images.shape, np.uint8)
        four = (n, height, width, *images.shape[3:], 1)[:4]
        warp(out.reshape(four), np.ascontiguousarray(images).reshape(four), matrices, levels, bends,
             *_splines(height), *_splines(width), border=BORDERS.index(self.border))
        return out

    def _affine(self, draws: np.ndarray) -> np.ndarray:
        """(n, 6): the rows of A, and the shift in shares of the sides; y before x."""
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
        """(n, 2): gain and offset of (3), the latter with 128 (1 - gain) in it."""
        gain = (1 + self.contrast) ** (2 * draws[:, 7] - 1)
        offset = 255 * self.brightness * (2 * draws[:, 8] - 1)
        return np.stack([gain, 128 * (1 - gain) + offset], axis=1).astype(np.float32)

    def _bends(self, draws: np.ndarray) -> np.ndarray:
        """(n, points, points, 2): how far the control points move, in shares of the sides; no points for nothing."""
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
    """Write images, changed as (1) to (3) say, into `out`. All arithmetic is float32, in the order that stands here.

    out, images uint8 (N,H,W,C) · matrices float32 (N,6) · levels float32 (N,2) · bends float32 (N,P,P,2), P = 0: none
    splines     the cells and weights of the rows, and of the columns
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
    """(2): u (N,H,W,2), in shares of the sides; first along the columns of control points, then along their rows."""
    rows = sum(bends[:, cell_y + k] * weights_y[k][:, None, None] for k in range(4))  # (N,H,P,2)
    return sum(rows[:, :, cell_x + k] * weights_x[k][:, None] for k in range(4))  # (2)


def _splines(size: int) -> tuple[np.ndarray, np.ndarray]:
    """For each of `size` pixels the cell that it lies in, int64, and the cubic B-splines there, float32 (4, size)."""
    place = (np.arange(size) + 0.5) * CELLS / size
    cell = np.floor(place).astype(np.int64)
    t = place - cell
    return cell, np.stack([(1 - t) ** 3, 3 * t**3 - 6 * t**2 + 4, -3 * t**3 + 3 * t**2 + 3 * t + 1, t**3]
                          ).astype(np.float32) / np.float32(6)


def _pixel(xp: Any, images: Any, n: Any, y: Any, x: Any, border: int) -> Any:
    """The pixels at whole coordinates (N,H,W), which may lie beyond the border: float32 (N,H,W,C)."""
    _, H, W, _ = images.shape
    inside = ((y >= 0) & (y < H) & (x >= 0) & (x < W))[..., None]
    if BORDERS[border] == "reflect":
        y, x = _reflected(xp, y, H), _reflected(xp, x, W)
    rows = xp.minimum(xp.maximum(y, 0), H - 1).astype(xp.int64)
    columns = xp.minimum(xp.maximum(x, 0), W - 1).astype(xp.int64)
    value = images[n, rows, columns].astype(xp.float32)
    return value * inside if BORDERS[border] == "zero" else value


def _reflected(xp: Any, place: Any, size: int) -> Any:
    """Whole places beyond the border, mirrored back: -1 is 0, -2 is 1."""
    place = place - xp.floor(place / (2 * size)) * xp.float32(2 * size)
    return xp.minimum(place, xp.float32(2 * size - 1) - place)
