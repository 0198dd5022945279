"""Random changes of the grey levels of training images, for X-rays of other machines and other exposures.

    (1)  value v of an image in 0 ... 1 becomes ((1 - m) v + m c(v)) ^ g     c: the share of its pixels that are <= v
    (2)  pixels become (1 - b) x + b B x                                     B: the binomial filter 1 4 6 4 1, both ways
    (3)  a square becomes the mean of its image

The random numbers of an image depend only on the seed, the epoch and the index of the image.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

import tinynet as tn
from tinynet.random import stream, uniform

Change = Callable[[np.ndarray, np.ndarray, int, int], np.ndarray]  # of images, by index, epoch and seed

_FILTER = np.array([1, 4, 6, 4, 1], np.float32) / 16
_DRAWS = 6  # numbers of an image: gamma, equalise, blur, side of the square, its place (2)


@dataclass(frozen=True, kw_only=True)
class Appearance:
    """Changes of uint8 images (n,H,W) or (n,H,W,C), drawn uniformly for each image (of g, its logarithm).

    gamma      g of (1) is between 1 / (1 + gamma) and 1 + gamma
    equalise   m of (1) is up to this: 1 is the equalised image
    blur       b of (2) is up to this
    cut        the side of the square of (3) is up to this share of the image

    >>> change = Appearance(gamma=1.0, cut=0.5)
    >>> image = np.full((1, 8, 8), 64, np.uint8)
    >>> change(image, np.array([3]), 0, 0).shape
    (1, 8, 8)
    """

    gamma: float = 0.0
    equalise: float = 0.0
    blur: float = 0.0
    cut: float = 0.0

    def __call__(self, images: np.ndarray, index: np.ndarray, epoch: int, seed: int) -> np.ndarray:
        out = np.empty_like(images)
        for place, (image, number) in enumerate(zip(images, np.asarray(index).tolist(), strict=True)):
            draws = uniform((_DRAWS,), key=(seed, stream(f"appearance/{epoch}")), step=number)
            changed = self._levels(image, draws) if self.gamma or self.equalise else image
            changed = self._blurred(changed, draws[2]) if self.blur else changed
            out[place] = self._cut(changed, draws[3:]) if self.cut else changed
        return out

    def _levels(self, image: np.ndarray, draws: np.ndarray) -> np.ndarray:
        counts = np.bincount(image.reshape(-1), minlength=256)
        share = self.equalise * draws[1]
        values = (1 - share) * np.arange(256) / 255 + share * np.cumsum(counts) / image.size
        return np.rint(255 * values ** (1 + self.gamma) ** (2 * draws[0] - 1)).astype(np.uint8)[image]  # (1)

    def _blurred(self, image: np.ndarray, draw: float) -> np.ndarray:
        blurred = image.astype(np.float32)
        for axis in (0, 1):
            size, edge = image.shape[axis], [(2, 2) if axis == one else (0, 0) for one in range(image.ndim)]
            padded = np.moveaxis(np.pad(blurred, edge, mode="edge"), axis, 0)
            blurred = np.moveaxis(sum(weight * padded[k : k + size] for k, weight in enumerate(_FILTER)), 0, axis)
        share = np.float32(self.blur * draw)
        return np.rint((1 - share) * image + share * blurred).astype(np.uint8)  # (2)

    def _cut(self, image: np.ndarray, draws: np.ndarray) -> np.ndarray:
        changed = image.copy()
        sides = [round(float(self.cut * draws[0] * side)) for side in image.shape[:2]]
        top, left = (int(draw * (side - part + 1)) for draw, side, part in
                     zip(draws[1:], image.shape[:2], sides, strict=True))
        changed[top : top + sides[0], left : left + sides[1]] = round(float(image.mean()))  # (3)
        return changed


@dataclass(frozen=True)
class Both:
    """One change after the other."""

    first: Change
    second: Change

    def __call__(self, images: np.ndarray, index: np.ndarray, epoch: int, seed: int) -> np.ndarray:
        return self.second(self.first(images, index, epoch, seed), index, epoch, seed)


def augmentation(settings: Mapping[str, Any]) -> Change | None:
    """The change with the options of `tn.data.Augment` and of `Appearance`, in this order; None without options.

    >>> augmentation({"rotate": 10.0, "gamma": 0.5})
    Both(first=Augment(..., rotate=10.0, ...), second=Appearance(gamma=0.5, equalise=0.0, blur=0.0, cut=0.0))
    """
    names = {field.name for field in fields(Appearance)}
    ours = {name: value for name, value in settings.items() if name in names}
    theirs = {name: value for name, value in settings.items() if name not in names}
    if not ours:
        return tn.data.Augment(**theirs) if theirs else None
    return Both(tn.data.Augment(**theirs), Appearance(**ours)) if theirs else Appearance(**ours)
