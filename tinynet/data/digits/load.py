"""The data set that a person names: what stands behind the option `--data` of the examples."""

import os

from tinynet.data.digits.dataset import Dataset
from tinynet.data.digits.mnist import cache_folder, download_mnist, find_below, find_mnist, load_mnist
from tinynet.data.digits.small import load_digits
from tinynet.errors import DataError


def load(source: str | os.PathLike[str] = "auto") -> tuple[Dataset, str]:
    """A data set of digits, and one sentence that says which it is and why.

    `source` is
    "mnist"     MNIST, where `find_mnist` finds it or else downloaded;
    "digits"    scikit-learn's small digits;
    "auto"      MNIST if it is there or can be downloaded, else the small digits;
    any other   a folder that holds the files of MNIST, itself or in its subfolder `mnist`; "./auto" if it is so called.

    Raises `DataError` where it is not to be had. Files of MNIST that are found but damaged are always an error.

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
                f"MNIST is neither in TINYNET_DATA nor in {cache_folder()} and could not be downloaded ('mnist' "
                "instead of 'auto' says why), so these are scikit-learn's 1,797 real 8x8 digits, enlarged to 28x28.")
    return _mnist(folder)
