"""Data: read from files that are not trusted, and given out in batches.

Digits
    load("auto" | "mnist" | "digits" | folder)   a Dataset, and a sentence that names it and its source
    load_mnist(folder)    MNIST from four IDX files        find_mnist()       its folder, or None
    load_digits()         scikit-learn's small digits      download_mnist()   from the network, verified
    read_idx(path, rank=3)                                 one IDX file, gzip or not, as a uint8 array

Your own images
    scan_folder(folder)                an ImageFolder: names, labels, patients, and a report()
    folder.images(size)                its images as one array (N,H,W,C), read when indexed; .in_memory() if they fit
    folds(folder)                      indices to train, validate and test on; no patient is in two of these parts
    cross_folds(folder, 5)             the same for cross-validation: each image is in the test part of one fold
    read_image(path, size=(224, 224))  one image file of any size and kind
    write_idc_stand_in, write_chest_xray_stand_in          generated images in the layouts of published ones

Batches
    Loader(images, labels, batch_size=128, shuffle=True)   one `for` over it is one epoch
    Loader(..., augment=Augment(rotate=10), threads=1)     images shifted, rotated, bent; made in the background
    Loader((x, mask), labels, lengths=..., bucket=50)      sequences: batches ((x, mask), labels) of similar lengths
    pad(sequences), length_mask(lengths)                   sequences of different lengths in one array, and their mask
    split(n, 0.1), split_groups(labels, groups, 0.2)       indices to train on, indices to validate on

digits/ holds the two sets of digits: idx.py reads the format of MNIST, download.py fetches it, load.py chooses a set.
images/ holds images in folders: read.py decodes files, layouts.py recognises layouts by file names, folder.py scans,
splits.py makes training, validation and test parts, stand_ins.py generates images. loader.py makes batches, prefetch.py
runs threads in the background, augment.py changes images. Each fault of a file is a `DataError` that names it.

>>> data, sentence = load("digits")
>>> data.train_images.shape, data.train_images.dtype.name, data.train_labels.dtype.name
((1437, 28, 28), 'uint8', 'int64')
>>> len(Loader(data.train_images, data.train_labels, batch_size=128, shuffle=True))
12
"""

from typing import TYPE_CHECKING

from tinynet.data.augment import Augment
from tinynet.data.digits.dataset import Dataset
from tinynet.data.digits.idx import read_idx
from tinynet.data.digits.load import load
from tinynet.data.digits.mnist import download_mnist, find_mnist, load_mnist
from tinynet.data.digits.small import load_digits
from tinynet.data.images.folder import ImageFolder, scan_folder
from tinynet.data.images.layouts import Skipped
from tinynet.data.images.read import Images, read_image
from tinynet.data.images.splits import Fold, cross_folds, folds, split_groups
from tinynet.data.images.stand_ins import write_chest_xray_stand_in, write_idc_stand_in
from tinynet.data.loader import Loader, split
from tinynet.data.sequences import length_mask, pad
from tinynet.elsewhere import in_modules

__all__ = ["Augment", "Dataset", "Fold", "ImageFolder", "Images", "Loader", "Skipped", "cross_folds",
           "download_mnist", "find_mnist",
           "folds", "length_mask", "load", "load_digits", "load_mnist", "pad", "read_idx", "read_image", "scan_folder",
           "split", "split_groups", "write_chest_xray_stand_in", "write_idc_stand_in"]

if not TYPE_CHECKING:
    __getattr__ = in_modules({"tn.data": __all__})
