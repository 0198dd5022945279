"""What can be chosen in a training on a folder, and what is chosen if nothing is said."""

from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from tinynet import models, nn
from tinynet.data.augment import Augment
from tinynet.data.images.folder import MAX_SKIPPED, ImageFolder
from tinynet.data.images.read import Images
from tinynet.errors import ArgumentError, printable

LARGEST = 128  # pixels a side, if no size is given
MEMORY = 1 << 30  # bytes: more images than that are read when they are needed
UNEQUAL = 0.5  # the smallest class, as a share of the largest one, below which classes get weights
AUGMENT = {"shift": 0.1, "rotate": 10.0, "scale": 0.1, "shear": 5.0, "contrast": 0.1, "brightness": 0.05}


@dataclass(frozen=True)
class Settings:
    """The options of `tinynet train`.

    size            pixels a side; None for the usual side of the images
    class_weights   "auto": if the smallest class has less than half of the images of the largest one; "on" or "off"
    folds           of cross-validation; None for one split
    threshold       of the second of two classes, or "balanced"
    sensitivity     the share of the second class that the threshold must find, or None
    positive        the name of the class that counts as the second of two
    groups          as in `scan_folder`
    """

    folder: Path
    size: int | None = None
    epochs: int = 40
    patience: int = 12
    batch_size: int = 32
    lr: float = 2e-3
    augment: bool = False
    flip: str | None = None
    class_weights: str = "auto"
    folds: int | None = None
    threshold: float | str = 0.5
    sensitivity: float | None = None
    positive: str | None = None
    groups: str | None = "auto"
    max_skipped: float = MAX_SKIPPED
    device: str = "cpu"
    seed: int = 0
    out: Path = field(default_factory=lambda: Path("runs/folder"))
    resume: bool = False

    def facts(self) -> dict[str, Any]:
        """The settings as JSON can represent them."""
        return {name: str(value) if isinstance(value, Path) else value for name, value in vars(self).items()}

    @property
    def chooses_threshold(self) -> bool:
        """Whether the threshold is another than 0.5."""
        return self.sensitivity is not None or self.threshold != 0.5

    def augmentation(self) -> Augment | None:
        """The random changes of the training images."""
        changes: dict[str, Any] = {**(AUGMENT if self.augment else {}), **({"flip": self.flip} if self.flip else {})}
        return Augment(**changes, border="edge") if changes else None


class Samples:
    """The images of a folder, at the size of the model: in memory if they fit, else read when they are needed."""

    def __init__(self, folder: ImageFolder, size: int, channels: int) -> None:
        self.folder, self.shape = folder, (size, size, channels)
        sizes = None if folder.sizes is None else np.median(folder.sizes[:, :2], axis=0)
        self.usual = None if sizes is None else (int(sizes[0]), int(sizes[1]))  # height and width in the files
        self.images: np.ndarray | Images = folder.images(size, channels).in_memory(MEMORY)

    def part(self, indices: np.ndarray) -> Any:
        """Some of the images: an array (n,H,W,C), or `Images`."""
        if isinstance(self.images, Images):
            return self.folder.select(indices).images(self.shape[:2], self.shape[2])
        return self.images[indices]


def with_positive(folder: ImageFolder, positive: str | None) -> ImageFolder:
    """The folder, in which the class `positive` is the second of two. Errors: ArgumentError."""
    if positive is None or folder.classes[1:] == (positive,):
        return folder
    if len(folder.classes) != 2 or positive not in folder.classes:
        raise ArgumentError("train: --positive must name one of two classes, got "
                            f"{printable(positive)!r} of {', '.join(map(printable, folder.classes))}; leave it out?")
    return replace(folder, classes=folder.classes[::-1], labels=1 - folder.labels)


def usual_size(folder: ImageFolder) -> int:
    """The median of the images' shorter sides, rounded down to a multiple of 4 and limited to 16 ... LARGEST."""
    sides = np.median(folder.sizes[:, :2].min(axis=1)) if folder.sizes is not None else LARGEST
    return int(np.clip(sides // 4 * 4, 16, LARGEST))


def usual_channels(folder: ImageFolder) -> int:
    """1 if all images are grey, else 3."""
    return 1 if folder.sizes is not None and (folder.sizes[:, 2] == 1).all() else 3


def choose(size: int, channels: int, classes: int) -> nn.Sequential:
    """The paper's LSTM-CNN for images of the size of MNIST, a CNN + LSTM for all others."""
    if (size, channels) == (28, 1):
        return models.lstm_cnn(classes)
    return models.image_cnn_lstm(size, size, channels, classes)


def class_weights(labels: np.ndarray, classes: int, option: str) -> np.ndarray | None:
    """The weights of the classes in the loss, float64 (K) with the mean 1 over the images; None for equal ones.

    >>> class_weights(np.array([0, 0, 0, 1]), 2, "auto").round(2)
    array([0.67, 2.  ])
    """
    counts = np.bincount(labels, minlength=classes)
    if option == "off" or (option == "auto" and counts.min() >= UNEQUAL * counts.max()):
        return None
    return np.asarray(len(labels) / (classes * np.maximum(counts, 1)))
