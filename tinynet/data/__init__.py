"""Data: reading it from files that are not trusted, and giving it out in batches.

Digits
    load("auto" | "mnist" | "digits" | folder)   a Dataset, and one sentence that says which and why
    load_mnist(folder)    MNIST from four IDX files        find_mnist()       the folder where it lies, or None
    load_digits()         scikit-learn's small digits      download_mnist()   from the network, verified
    read_idx(path, rank=3)                                 one IDX file, gzip or not, as a uint8 array

Images of your own
    scan_folder(folder)                what a folder holds: an ImageFolder, with names, labels, patients, a report()
    folder.images(size)                its pictures as one array (N,H,W,C), read when indexed; .in_memory() if they fit
    folds(folder)                      indices to train, validate and test on, which share no patient
    read_image(path, size=(224, 224))  one PNG or JPEG, of any size and kind
    write_idc_stand_in, write_chest_xray_stand_in          generated images in the layouts of published ones

Batches
    Loader(images, labels, batch_size=128, shuffle=True)   one `for` over it is one epoch
    Loader(..., augment=Augment(rotate=10), threads=1)     images moved, turned, bent; made ahead in the background
    split(n, 0.1), split_groups(labels, groups, 0.2)       indices to train on, indices to validate on

Files: idx.py and images.py read formats, download.py the network, mnist.py and digits.py know the two sets, sources.py
chooses; folder.py knows layouts of folders, splits.py parts them; loader.py makes batches, ahead.py runs its threads,
augment.py changes images; stand_ins.py generates some. Whatever is wrong with a file is a `DataError` that names it.

>>> data, sentence = load("digits")
>>> data.train_images.shape, data.train_images.dtype.name, data.train_labels.dtype.name
((1437, 28, 28), 'uint8', 'int64')
>>> len(Loader(data.train_images, data.train_labels, batch_size=128, shuffle=True))
12
"""

from tinynet.data.augment import Augment
from tinynet.data.digits.dataset import Dataset
from tinynet.data.digits.idx import read_idx
from tinynet.data.digits.load import load
from tinynet.data.digits.mnist import download_mnist, find_mnist, load_mnist
from tinynet.data.digits.small import load_digits
from tinynet.data.images.folder import ImageFolder, scan_folder
from tinynet.data.images.layouts import Skipped
from tinynet.data.images.read import Images, read_image
from tinynet.data.images.splits import Fold, folds, split_groups
from tinynet.data.images.stand_ins import write_chest_xray_stand_in, write_idc_stand_in
from tinynet.data.loader import Loader, split

__all__ = ["Augment", "Dataset", "Fold", "ImageFolder", "Images", "Loader", "Skipped", "download_mnist", "find_mnist",
           "folds", "load", "load_digits", "load_mnist", "read_idx", "read_image", "scan_folder", "split",
           "split_groups", "write_chest_xray_stand_in", "write_idc_stand_in"]
