"""What the training images of a model are like, and how unlike them another image is.

An image is described by features: statistics of its pixels, and the last hidden layer of the model. `Familiar` keeps
their mean and their principal components over the training images. The score of an image is its Mahalanobis distance in
these features, as a multiple of a limit: the 99.5th percentile of the validation images.

Source: Lee et al. 2018 (Mahalanobis distance of hidden layers); Tipping, Bishop 1999 (components, and one variance for
all others).
"""

from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from tinynet.errors import ArgumentError, ShapeError
from tinynet.types import Array

PERCENTILE = 99.5  # of the validation images, beyond which an image is unlike the training images
COMPONENTS = 32  # kept at most
ENOUGH = 200  # validation images; with fewer, the limit is no lower than that of a normal distribution of logarithms
STEEPEST = 2.576  # deviations above the mean: the 99.5th percentile of a normal distribution
SMALLEST = 1e-3  # score, if all validation images are the same
FLOOR = 0.01  # the least deviation of a feature; pixels count from 0 to 1 in statistics


@dataclass(frozen=True, eq=False)
class Familiar:
    """The training images of one model.

    mean, deviation   (C) of the pixels of each channel, 0 ... 255
    size              (2), the usual height and width in the files
    center, scale     (F), mean and deviation of the features
    basis, spread     (R,F) principal components of the scaled features, and (R) their variances
    rest              (1), the mean variance of all other directions
    limit             (1), the distance that counts as 1
    """

    mean: Array
    deviation: Array
    size: Array
    center: Array
    scale: Array
    basis: Array
    spread: Array
    rest: Array
    limit: Array

    def __post_init__(self) -> None:
        shapes = {field.name: np.shape(getattr(self, field.name)) for field in fields(self)}
        features, count = shapes["center"][:1], shapes["basis"][:1]
        wanted = {"mean": shapes["deviation"], "size": (2,), "center": features, "scale": features,
                  "basis": (*count, *features), "spread": count, "rest": (1,), "limit": (1,)}
        wrong = [name for name, shape in wanted.items() if shapes[name] != shape]
        if wrong or not features or not all(np.isfinite(getattr(self, name)).all() for name in shapes):
            raise ShapeError(f"Familiar: arrays must be finite and of shapes that fit each other, and "
                             f"{wrong or 'some'} are not; is the file damaged?")
        if not all((getattr(self, name) > 0).all() for name in ("scale", "spread", "rest", "limit")):
            raise ArgumentError("Familiar: scale, spread, rest and limit must be positive; is the file damaged?")

    @classmethod
    def fit(cls, features: Array, validation: Array, *, mean: Array, deviation: Array, size: Any) -> "Familiar":
        """Describe training images by their features (N,F), with the limit from validation images (M,F).

        Errors: ArgumentError without images.

        >>> from tinynet.random import normal
        >>> kept = Familiar.fit(normal((900, 5), (0, 0), 0), normal((400, 5), (0, 0), 1), mean=np.zeros(1),
        ...                     deviation=np.ones(1), size=(8, 8))
        >>> bool(kept.score(np.zeros((1, 5)))[0] < 1), bool(kept.score(np.full((1, 5), 9.0))[0] > 1)
        (True, True)
        """
        if not len(features) or not len(validation):
            raise ArgumentError(f"Familiar: there must be images to train on and to validate, got {len(features)} and "
                                f"{len(validation)}; take more images")
        features = np.asarray(features, np.float64)
        center, scale = features.mean(axis=0), np.maximum(features.std(axis=0), FLOOR)
        z = (features - center) / scale
        count = max(1, min(COMPONENTS, z.shape[1] - 1, len(z) // 4))
        basis, variances = _components(z, count)
        rest = ((z * z).mean(axis=0).sum() - variances.sum()) / max(1, z.shape[1] - count)
        arrays = [mean, deviation, size, center, scale, basis, np.maximum(variances, FLOOR), [max(rest, FLOOR)], [1.0]]
        one = cls(*(np.asarray(array, np.float32) for array in arrays))
        scores = np.maximum(one.score(validation), SMALLEST)
        limit = float(np.percentile(scores, PERCENTILE))
        if len(scores) < ENOUGH:
            logs = np.log(scores)
            limit = max(limit, float(np.exp(logs.mean() + STEEPEST * logs.std())))
        return cls(**{**one.arrays(), "limit": np.array([limit], np.float32)})

    def score(self, features: Array) -> Array:
        """How unlike the training images some are, by their features (N,F): float64 (N), above 1 for unlike.

        Errors: ShapeError for another number of features.
        """
        if features.ndim != 2 or features.shape[1] != len(self.center):
            raise ShapeError(f"Familiar: features must be (N, {len(self.center)}), got {features.shape}; are the model "
                             "and its familiar images of one file?")
        z = (np.asarray(features, np.float64) - self.center) / self.scale
        along = z @ self.basis.T.astype(np.float64)  # (N,R)
        others = np.maximum((z * z).sum(axis=1) - (along * along).sum(axis=1), 0)
        distance = np.sqrt(((along * along / self.spread).sum(axis=1) + others / self.rest) / len(self.center))
        return np.asarray(distance / self.limit[0])

    def arrays(self) -> dict[str, Array]:
        """The arrays by name."""
        return {field.name: getattr(self, field.name) for field in fields(self)}


def _components(z: Array, count: int) -> tuple[Array, Array]:
    """The first principal components of centered rows (N,F), as rows (count,F), and their variances (count).

    They are the eigenvectors of zᵀz / N, or where there are fewer rows than columns, zᵀ times those of zzᵀ / N.
    """
    is_wide = z.shape[1] > len(z)
    variances, vectors = np.linalg.eigh((z @ z.T if is_wide else z.T @ z) / len(z))
    order = np.argsort(-variances)[:count]
    variances, basis = np.maximum(variances[order], 0), vectors[:, order].T
    if is_wide:
        basis = basis @ z / np.sqrt(np.maximum(variances, FLOOR * FLOOR) * len(z))[:, None]
    return basis, variances


def statistics(pixels: Array) -> Array:
    """Statistics of images, uint8 (N,H,W,C): float64 (N,S).

    Of each channel: mean, deviation, and five percentiles. Of the mean over the channels: the mean difference to the
    next pixel and to the second next, along both axes. Of three channels: the differences between them. Pixels count
    from 0 to 1.

    >>> statistics(np.zeros((2, 8, 8, 1), np.uint8)).shape, statistics(np.zeros((2, 8, 8, 3), np.uint8)).shape
    ((2, 11), (2, 27))
    """
    x = np.asarray(pixels, np.float32) / 255
    flat = x.reshape(len(x), -1, x.shape[3])
    found = [flat.mean(axis=1), flat.std(axis=1), *np.percentile(flat, (1, 25, 50, 75, 99), axis=1)]
    grey = x.mean(axis=3)
    for step in (1, 2):
        for axis in (1, 2):
            near, far = (grey.take(range(*ends), axis) for ends in
                         ((0, max(1, grey.shape[axis] - step)), (min(step, grey.shape[axis] - 1), grey.shape[axis])))
            found.append(np.abs(far - near).mean(axis=(1, 2))[:, None])
    if x.shape[3] == 3:
        found += [np.abs(x[..., 0] - x[..., 1]).mean(axis=(1, 2))[:, None],
                  np.abs(x[..., 1] - x[..., 2]).mean(axis=(1, 2))[:, None]]
    return np.concatenate(found, axis=1).astype(np.float64)
