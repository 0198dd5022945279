"""The real digits that come with scikit-learn, for machines without a network."""

import numpy as np

from tinynet.data.digits.dataset import DIGITS, Dataset
from tinynet.errors import DataError
from tinynet.random import permutation, stream

_SIDE = 28
_BRIGHTEST = 16  # in scikit-learn's images
_TEST_SIZE = 360


def load_digits() -> Dataset:
    """1,797 digits written by 43 people, 8 x 8 pixels, enlarged to 28 x 28: 1,437 to train and 360 to test.

    The split is fixed. Raises `DataError` without scikit-learn.

    >>> load_digits()
    Dataset('digits': 1,437 images to train and 360 to test, 28 x 28, 10 classes)

    Source: Alpaydin, Kaynak, "Optical recognition of handwritten digits", UCI Machine Learning Repository, 1998.
    """
    try:
        from sklearn import datasets
    except ImportError as fault:
        raise DataError(f"load_digits: the digits come with scikit-learn, which cannot be imported ({fault}); "
                        "pip install scikit-learn") from fault
    source = datasets.load_digits()
    images = enlarge(source.images.astype(np.int64), _SIDE, _BRIGHTEST)
    labels = source.target.astype(np.int64)
    order = permutation(len(labels), key=(0, stream("digits")), step=0)
    test, train = np.sort(order[:_TEST_SIZE]), np.sort(order[_TEST_SIZE:])
    return Dataset(images[train], labels[train], images[test], labels[test], name="digits", classes=DIGITS)


def enlarge(images: np.ndarray, side: int, brightest: int) -> np.ndarray:
    """Square images of integers in [0, brightest], (N, S, S), as uint8 in [0, 255], (N, side, side), bilinearly.

    Pixels are squares, interpolated between their centres; beyond the outermost centres the border value is repeated.
    The arithmetic is in integers, for equal results on every machine.

    >>> enlarge(np.array([[[0, 1], [0, 1]]]), 4, brightest=1)[0, 0]
    array([  0,  64, 191, 255], dtype=uint8)
    """
    weights, unit = _bilinear(images.shape[-1], side)
    scaled = weights @ images @ weights.T  # (N, side, side), in units of 1 / unit²
    whole = unit**2 * brightest
    return ((2 * 255 * scaled + whole) // (2 * whole)).astype(np.uint8)  # rounded, half up


def _bilinear(old: int, new: int) -> tuple[np.ndarray, int]:
    """The weights of `old` pixels in each of `new` pixels, int64 (new, old), and the unit that they sum to."""
    unit = 2 * new
    # centre of new pixel i on the old axis: (i + 1/2) old / new - 1/2
    centre = np.clip((2 * np.arange(new) + 1) * old - new, 0, (old - 1) * unit)
    before, share = np.divmod(centre, unit)
    weights = np.zeros((new, old), dtype=np.int64)
    weights[np.arange(new), before] = unit - share
    weights[np.arange(new), np.minimum(before + 1, old - 1)] += share
    return weights, unit
