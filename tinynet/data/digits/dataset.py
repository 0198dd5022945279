"""A data set of images in memory."""

from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False, repr=False)
class Dataset:
    """Images with labels, in a training part and a test part.

    Images are uint8 of shape (N, height, width), 0 the background; labels are int64 of shape (N), each an index into
    `classes`, the names of the classes.
    """

    train_images: np.ndarray
    train_labels: np.ndarray
    test_images: np.ndarray
    test_labels: np.ndarray
    name: str
    classes: tuple[str, ...]

    def __repr__(self) -> str:
        height, width = self.train_images.shape[1:]
        return (f"Dataset({self.name!r}: {len(self.train_images):,} images to train and {len(self.test_images):,} "
                f"to test, {height} x {width}, {len(self.classes)} classes)")


DIGITS = tuple("0123456789")
