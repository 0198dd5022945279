"""Data: reading it from files that are not trusted, and giving it out in batches.

    load("auto" | "mnist" | "digits" | folder)   a Dataset, and one sentence that says which and why
    load_mnist(folder)    MNIST from four IDX files        find_mnist()       the folder where it lies, or None
    load_digits()         scikit-learn's small digits      download_mnist()   from the network, verified
    read_idx(path, rank=3)                                 one IDX file, gzip or not, as a uint8 array
    Loader(images, labels, batch_size=128, shuffle=True)   batches; one `for` over it is one epoch
    split(n, 0.1)                                          indices to train on, indices to validate on

Files: idx.py reads the format, download.py the network, mnist.py and digits.py know the two sets, sources.py chooses,
loader.py makes batches. Whatever is wrong with a file is a `DataError` that names it.

>>> data, sentence = load("digits")
>>> data.train_images.shape, data.train_images.dtype.name, data.train_labels.dtype.name
((1437, 28, 28), 'uint8', 'int64')
>>> len(Loader(data.train_images, data.train_labels, batch_size=128, shuffle=True))
12
"""

from tinynet.data.dataset import Dataset
from tinynet.data.digits import load_digits
from tinynet.data.idx import read_idx
from tinynet.data.loader import Loader, split
from tinynet.data.mnist import download_mnist, find_mnist, load_mnist
from tinynet.data.sources import load

__all__ = ["Dataset", "Loader", "download_mnist", "find_mnist", "load", "load_digits", "load_mnist", "read_idx",
           "split"]
