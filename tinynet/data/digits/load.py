"""The data set of digits for a source, such as that of the examples' option `--data`."""

import os

from tinynet.data.digits.dataset import Dataset
from tinynet.data.digits.mnist import cache_folder, download_mnist, find_below, find_mnist, load_mnist
from tinynet.data.digits.small import load_digits
from tinynet.errors import DataError


def load(source: str | os.PathLike[str] = "auto") -> tuple[Dataset, str]:
    """Load a data set of digits. Returns it, and a sentence that names it and its source.

    `source` is
    "mnist"     MNIST from the folder of `find_mnist`, or else downloaded
    "digits"    scikit-learn's small digits
    "auto"      MNIST if it is found or can be downloaded, else the small digits
    any other   a folder with the files of MNIST, or whose subfolder `mnist` has them; "./auto" for a folder named auto

    Raises `DataError` if the data cannot be loaded. Damaged files of MNIST are always an error.

    >>> load("digits")
    (Dataset('digits': ...), "scikit-learn's 1,797 real 8x8 digits, enlarged to 28x28.")
    """
    if source == "digits":
        return load_digits(), "scikit-learn's 1,797 real 8x8 digits, enlarged to 28x28."
    if source == "mnist":
        return _mnist(find_mnist() or download_mnist())
    if source == "auto":
        return _mnist_or_digits()
    folder = find_below(source)
    if folder is None:
        raise DataError(f"load: source must be 'auto', 'mnist', 'digits' or a folder with the files of MNIST, but "
                        f"{os.fspath(source)!r} holds none of them; the first is train-images-idx3-ubyte.gz")
    return _mnist(folder)


def _mnist(folder: os.PathLike[str]) -> tuple[Dataset, str]:
    return load_mnist(folder), f"MNIST from {os.fspath(folder)}."


def _mnist_or_digits() -> tuple[Dataset, str]:
    folder = find_mnist()
    if folder is None:
        try:
            folder = download_mnist()
        except DataError as no_mnist:
            try:
                digits = load_digits()
            except DataError as no_digits:
                raise DataError(f"{no_digits}\n{no_mnist}") from no_mnist
            return digits, (
                "scikit-learn's 1,797 real 8x8 digits, enlarged to 28x28, in place of MNIST, which could not be "
                "downloaded: --data mnist tells the reason, and files of MNIST in the folder "
                f"{cache_folder()} or in TINYNET_DATA are used.")
    return _mnist(folder)
