"""MNIST: 60,000 and 10,000 images of handwritten digits, 28 x 28 (LeCun, Cortes, Burges)."""

import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tinynet import cache
from tinynet.data.digits.dataset import DIGITS, Dataset
from tinynet.data.digits.download import RemoteFile, download
from tinynet.data.digits.idx import read_idx
from tinynet.errors import DataError, counted

FILES = (
    RemoteFile("train-images-idx3-ubyte.gz", 9_912_422,
               "440fcabf73cc546fa21475e81ea370265605f56be210a4024d2ca8f203523609"),
    RemoteFile("train-labels-idx1-ubyte.gz", 28_881,
               "3552534a0a558bbed6aed32b30c495cca23d567ec52cac8be1a0730e8010255c"),
    RemoteFile("t10k-images-idx3-ubyte.gz", 1_648_877,
               "8d422c7b0a1c1c79245a5bcf07fe86e33eeafee792b84584aec276f5a2dbc4e6"),
    RemoteFile("t10k-labels-idx1-ubyte.gz", 4_542,
               "f7ae60f92e00ec6debd23a6088c31dbd2371eca3ffa0defaefb259924204aec6"),
)
MIRRORS = (
    "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "https://storage.googleapis.com/cvdf-datasets/mnist/",
)

_SIDE = 28


def load_mnist(folder: str | os.PathLike[str]) -> Dataset:
    """Read MNIST, or a part of it in the same format, from the four IDX files in `folder`.

    The files may be compressed or not, and have names like `train-images-idx3-ubyte` or `train-images.idx3-ubyte`, with
    or without `.gz`. Raises `DataError` if one is missing or damaged, or if images and labels do not match.

    >>> load_mnist("where/there/is/nothing")
    Traceback (most recent call last):
    tinynet.errors.DataError: load_mnist: where/there/is/nothing holds no train-images-idx3-ubyte.gz; ...
    """
    folder = Path(folder)
    train_images, train_labels = _read_part(folder, "train")
    test_images, test_labels = _read_part(folder, "t10k")
    return Dataset(train_images, train_labels, test_images, test_labels, name="mnist", classes=DIGITS)


def find_mnist() -> Path | None:
    """The folder of MNIST: $TINYNET_DATA or $TINYNET_DATA/mnist, else the cache, ~/.cache/tinynet/mnist; else None.

    One of the four files is enough under $TINYNET_DATA, so that `load_mnist` can name the missing ones. The cache must
    hold all four, since `download_mnist` completes it.
    """
    root = os.environ.get("TINYNET_DATA")
    folder = find_below(root) if root else None
    if folder is None and len(_paths(cache_folder())) == len(FILES):
        folder = cache_folder()
    return folder


def find_below(root: str | os.PathLike[str]) -> Path | None:
    """`root` or `root/mnist`: the first one with at least one of the four files, else None."""
    return next((folder for folder in (Path(root), Path(root, "mnist")) if _paths(folder)), None)


def download_mnist(folder: str | os.PathLike[str] | None = None, *, mirrors: Sequence[str] | None = None) -> Path:
    """Download the four files of MNIST, 11.6 MB, into `folder` (default: the user's cache). Returns it.

    Files that are already there with the right content are not fetched again. The mirrors get one attempt, and 3
    seconds in all to answer. The SHA-256 of each file is checked before it is written. Raises `DataError`, with the
    names, sizes and hashes of the missing files and the folder, if the download fails.
    """
    folder = cache_folder() if folder is None else Path(folder)
    download(FILES, MIRRORS if mirrors is None else mirrors, folder)
    return folder


def cache_folder() -> Path:
    """The folder of a downloaded MNIST: $XDG_CACHE_HOME/tinynet/mnist, else ~/.cache/tinynet/mnist."""
    return cache.cache_folder() / "mnist"


def _paths(folder: Path) -> dict[str, Path]:
    """The paths of those of the four files that `folder` holds, by their names on the mirrors."""
    try:
        present = set(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return {}
    except OSError as fault:
        raise DataError(f"find_mnist: {folder} cannot be read ({fault.strerror}); check its permissions") from fault
    paths = {}
    for file in FILES:
        dashed = file.name.removesuffix(".gz")
        dotted = dashed.replace("-idx", ".idx")
        for name in (file.name, dashed, f"{dotted}.gz", dotted):
            if name in present:
                paths[file.name] = folder / name
                break
    return paths


def _read_part(folder: Path, part: str) -> tuple[np.ndarray, np.ndarray]:
    """Images uint8 (N, 28, 28) and labels int64 (N)."""
    paths = _paths(folder)
    images_name, labels_name = (file.name for file in FILES if file.name.startswith(part))
    for name in (images_name, labels_name):
        if name not in paths:
            raise DataError(f"load_mnist: {folder} holds no {name}; all four files are needed: "
                            "name the folder that has them, or call tinynet.data.download_mnist()")
    images = read_idx(paths[images_name], rank=3)
    labels = read_idx(paths[labels_name], rank=1)
    if images.shape[1:] != (_SIDE, _SIDE):
        raise DataError(f"load_mnist: {paths[images_name]} must hold images of {_SIDE} x {_SIDE}, holds "
                        f"{images.shape[1]} x {images.shape[2]}; resize them")
    if len(images) != len(labels):
        raise DataError(f"load_mnist: {paths[images_name]} holds {counted(len(images), 'image')}, but "
                        f"{paths[labels_name]} {len(labels):,} labels; take both from the same source")
    if labels.max() >= len(DIGITS):
        index = int(labels.argmax())
        raise DataError(f"load_mnist: {paths[labels_name]} must hold labels of 0 to 9, label {index} is "
                        f"{labels[index]}; fetch it again")
    return images, labels.astype(np.int64)
