"""Training, validation and test parts that share no patient.

Images of one patient resemble each other. A model that was trained on some of them recognises the others, and its
accuracy on them does not hold for a new patient. So each group of images goes into one part as a whole.
"""

from dataclasses import dataclass, replace

import numpy as np

from tinynet.data.images.folder import ImageFolder
from tinynet.errors import ArgumentError, DataError, counted
from tinynet.plain import whole
from tinynet.random import permutation, seed_or_current, stream

_TRIES = 16  # random orders of the groups, of which the best is used
_SMALL = 0.02  # of the training part: a smaller `val` is too noisy to validate on, and joins the training part


@dataclass(frozen=True, eq=False, repr=False)
class Fold:
    """Sorted int64 indices of the training, validation and test images, and a sentence that describes the split."""

    train: np.ndarray
    validation: np.ndarray
    test: np.ndarray
    sentence: str

    def __repr__(self) -> str:
        return (f"Fold({counted(len(self.train), 'image')} to train on, {len(self.validation):,} to validate, "
                f"{len(self.test):,} to test; {self.sentence})")


def split_groups(labels: np.ndarray, groups: np.ndarray | None, fraction: float, seed: int | None = None
                 ) -> tuple[np.ndarray, np.ndarray]:
    """Split 0 ... N - 1 into indices to train on and about N * fraction indices to validate on, by whole groups.

    labels   int64 (N), the class of each element; the classes get about the same shares in both parts
    groups   (N), comparable values, such as the number of a patient; None if each element is a group
    seed     None stands for the seed last set by `tn.seed`

    The second part is filled greedily in 16 random orders of the groups; the one closest to `fraction` in each class is
    used. Without groups the shares are exact up to rounding. Both results are sorted int64.
    Raises `ArgumentError` if one part would be empty.

    >>> labels, patients = np.array([0, 0, 1, 1, 0, 1, 0, 1]), np.array([3, 3, 3, 3, 5, 5, 8, 8])
    >>> train, validation = split_groups(labels, patients, 0.25, seed=0)
    >>> sorted({*patients[validation].tolist()} & {*patients[train].tolist()}), np.bincount(labels[validation])
    ([], array([1, 1]))
    """
    labels = np.asarray(labels)
    if not 0 < fraction < 1:
        raise ArgumentError(f"split_groups: fraction must lie between 0 and 1, got {fraction!r}; try 0.2")
    if groups is not None and len(groups) != len(labels):
        raise ArgumentError(f"split_groups: groups must have the length of labels, {len(labels)}, got {len(groups)}; "
                            "one for each image")
    seed = seed_or_current("split_groups", seed)
    chosen = _chosen(labels, fraction, seed) if groups is None else _chosen_groups(labels, groups, fraction, seed)
    if not chosen.any() or chosen.all():
        what = counted(len(labels), "image") if groups is None else counted(len(np.unique(groups)), "group")
        raise ArgumentError(f"split_groups: both parts must have at least 1 element, but fraction {fraction} of {what} "
                            "leaves one empty; change fraction, or take more data")
    return np.flatnonzero(~chosen), np.flatnonzero(chosen)


def _chosen(labels: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    """The elements of the second part without groups: bool (N). The shares of the classes differ by rounding only."""
    order = permutation(len(labels), key=(seed, stream("split")), step=0)
    order = order[np.argsort(labels[order], kind="stable")]  # sorted by class, random within each
    ends = np.floor(fraction * np.arange(1, len(labels) + 1) + 0.5).astype(np.int64)
    chosen = np.zeros(len(labels), bool)
    chosen[order] = np.diff(ends, prepend=0) > 0
    return chosen


def _chosen_groups(labels: np.ndarray, groups: np.ndarray, fraction: float, seed: int) -> np.ndarray:
    _, group = np.unique(groups, return_inverse=True)
    _, label = np.unique(labels, return_inverse=True)
    counts = np.zeros((group.max(initial=-1) + 1, label.max(initial=-1) + 1))
    np.add.at(counts, (group, label), 1)
    counts /= np.maximum(counts.sum(axis=0), 1)  # the share that each group has of each class
    best, least = np.zeros(len(counts), bool), np.inf
    for attempt in range(_TRIES):
        taken = _filled(counts, fraction, permutation(len(counts), key=(seed, stream("split")), step=attempt))
        distance = float(((counts[taken].sum(axis=0) - fraction) ** 2).sum())
        if distance < least and taken.any() and not taken.all():
            best, least = taken, distance
    return best[group]


def _filled(counts: np.ndarray, fraction: float, order: np.ndarray) -> np.ndarray:
    """The groups, visited in order, that bring the shares of the classes closer to `fraction`."""
    taken = np.zeros(len(counts), bool)
    missing = np.full(counts.shape[1], fraction)
    for group in order:
        after = missing - counts[group]
        if after @ after < missing @ missing:
            missing, taken[group] = after, True
    return taken


def strip(positions: np.ndarray, labels: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    """Split the patches of one slide by a straight line: indices of about N * (1 - fraction), and of the strip.

    positions   (N, 2), x and y of each patch; patches in one column or row stay together

    Of the four strips at the left, right, top and bottom, the one with the most similar class shares to the whole is
    used. Raises `ArgumentError` if no strip leaves two parts.

    >>> rest, end = strip(np.array([[x, 0] for x in range(10)]), np.array([0, 1] * 5), 0.2)
    >>> rest.tolist(), end.tolist()
    ([2, 3, 4, 5, 6, 7, 8, 9], [0, 1])
    """
    if not 0 < fraction < 1:
        raise ArgumentError(f"strip: fraction must lie between 0 and 1, got {fraction!r}; try 0.2")
    share = np.bincount(labels) / max(1, len(labels))
    best, least = None, np.inf
    for along in (*positions.T, *-positions.T) if len(labels) else ():
        inside = along <= np.quantile(along, fraction)
        if inside.all():
            continue
        distance = float(np.abs(np.bincount(labels[inside], minlength=len(share)) / inside.sum() - share).sum())
        if distance < least:
            best, least = inside, distance
    if best is None:
        raise ArgumentError(f"strip: patches must be in at least 2 columns or rows, got {len(labels)} in one; "
                            "take another slide")
    return np.flatnonzero(~best), np.flatnonzero(best)


def folds(folder: ImageFolder, *, validation: float = 0.2, test: float = 0.2, seed: int | None = None) -> list[Fold]:
    """Split a folder of images into training, validation and test: usually one way, with few patients several.

    With parts     `test` is the folder's part. So is `val`, unless it has less than 2 % of the images of `train`, as in
                   Kaggle's X-rays: then it joins `train`, and validation is a share of `train`.
    With groups    Three or more: test and validation are shares, by whole groups. Fewer, with positions, as in IDC: one
                   fold for each patient, which is the test part; validation is a strip of the other patient's slide. A
                   single patient: both are strips of its slide.
    With neither   At random, with equal shares of each class. Files with the same bytes stay in one part.

    The sentence of a fold says how many images to evaluate on are byte for byte the same as one to train on.

    validation, test   shares of all images (of `train`, if the folder has a part `test`)

    Raises `DataError` for one or two groups without positions.

    >>> import tempfile
    >>> from tinynet.data import scan_folder, write_idc_stand_in
    >>> folder = scan_folder(write_idc_stand_in(tempfile.mkdtemp(), patients=2, patches=30, seed=0))
    >>> [fold.sentence for fold in folds(folder)]
    ['test: patient 90001; validation: a strip of the slide of the others', ...]
    """
    return [_told(folder, fold) for fold in _folds(folder, validation, test, seed)]


def cross_folds(folder: ImageFolder, count: int, *, validation: float = 0.2, seed: int | None = None) -> list[Fold]:
    """Split a folder so that each image is in the test part of one fold: cross-validation, by whole groups.

    count        of folds, at least 2; as many as there are groups, if these are fewer
    validation   the share of the images that are not in the test part of a fold

    A part `test` of the folder is in none of the folds; `train` and `val` are one. Without groups, files with the same
    bytes stay in one part. If a single group is left to train on, validation is a strip of its slide, or without
    positions a share of its images.

    Raises `DataError` for a single group.

    >>> import tempfile
    >>> from tinynet.data import scan_folder, write_chest_xray_stand_in
    >>> folder = scan_folder(write_chest_xray_stand_in(tempfile.mkdtemp(), train=40, test=10, size=32, seed=0))
    >>> found = cross_folds(folder, 4)
    >>> len(found), len(np.unique(np.concatenate([fold.test for fold in found])))
    (4, 40)
    """
    count = whole("cross_folds", "count", count, 2, usual="count=5")
    seed = seed_or_current("cross_folds", seed)
    rest = everything = np.flatnonzero(folder.part_of != "test")
    groups = None if folder.groups is None else np.unique(folder.groups[everything])
    if groups is not None and len(groups) < 2:
        raise DataError(f"cross_folds: groups must be at least 2, got {len(groups)} in {folder.root}; take more "
                        "patients, or scan_folder(..., groups=None) if these are not patients")
    parts = []
    if folder.groups is not None and groups is not None and len(groups) <= count:
        parts = [everything[folder.groups[everything] == group] for group in groups]
    else:
        for left in range(count, 1, -1):
            rest, part = _split(folder, rest, 1 / left, seed)
            parts.append(part)
        parts.append(rest)
    how = _how(folder) if groups is None or len(groups) > count else f"one for each of the {folder.group_name}"
    found = []
    for number, part in enumerate(parts, 1):
        train, middle = _inner(folder, np.setdiff1d(everything, part), validation, seed)
        found.append(_told(folder, Fold(train, middle, part, f"fold {number} of {len(parts)}, {how}")))
    return found


def _inner(folder: ImageFolder, indices: np.ndarray, validation: float, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation images among those that are not in the test part of a fold."""
    groups = len(indices) if folder.groups is None else len(np.unique(folder.groups[indices]))
    if groups > 1:
        return _split(folder, indices, max(validation, 1 / groups), seed)  # at least one group
    if folder.positions is not None:
        return _strip(folder, indices, validation)
    return _split(replace(folder, groups=None), indices, validation, seed)


def _folds(folder: ImageFolder, validation: float, test: float, seed: int | None) -> list[Fold]:
    if "test" in folder.parts or "train" in folder.parts:
        return [_by_parts(folder, validation, test, seed)]
    everything = np.arange(len(folder))
    if folder.groups is None or len(np.unique(folder.groups)) >= 3:
        rest, last = _split(folder, everything, test, seed)
        train, middle = _split(folder, rest, validation / (1 - test), seed)
        sentence = f"test and validation: shares of {test:.0%} and {validation:.0%}, {_how(folder)}"
        return [Fold(train, middle, last, sentence)]
    if folder.positions is None:
        raise DataError(f"folds: groups must be at least 3, got {len(np.unique(folder.groups))} in {folder.root}; "
                        "take more patients, or scan_folder(..., groups=None) if these are not patients")
    return _leave_one_out(folder, everything, validation, test)


def _by_parts(folder: ImageFolder, validation: float, test: float, seed: int | None) -> Fold:
    train, middle, last = (np.flatnonzero(folder.part_of == part) for part in ("train", "val", "test"))
    said = [f"test: the part `test`, {counted(len(last), 'image')}"]
    if not len(last):
        train, last = _split(folder, train, test, seed)
        said = [f"test: {test:.0%} of `train`, {_how(folder)}"]
    if len(middle) < max(1, _SMALL * len(train)):
        added = f" (and of `val`, which has {counted(len(middle), 'image')})" if len(middle) else ""
        train, middle = _split(folder, np.sort(np.concatenate([train, middle])), validation, seed)
        said.append(f"validation: {validation:.0%} of `train`{added}, {_how(folder)}")
    else:
        said.append(f"validation: the part `val`, {counted(len(middle), 'image')}")
    return Fold(train, middle, last, "; ".join(said))


def _leave_one_out(folder: ImageFolder, everything: np.ndarray, validation: float, test: float) -> list[Fold]:
    assert folder.groups is not None
    patients = np.unique(folder.groups)
    if len(patients) == 1:
        rest, last = _strip(folder, everything, test)
        train, middle = _strip(folder, rest, validation / (1 - test))
        return [Fold(train, middle, last, f"test and validation: strips of the slide of patient {patients[0]}, the "
                                          "only one; this says nothing about other patients")]
    found = []
    for patient in patients:
        last, rest = np.flatnonzero(folder.groups == patient), np.flatnonzero(folder.groups != patient)
        train, middle = _strip(folder, rest, validation)
        found.append(Fold(train, middle, last,
                          f"test: patient {patient}; validation: a strip of the slide of the others"))
    return found


def _split(folder: ImageFolder, indices: np.ndarray, fraction: float, seed: int | None
           ) -> tuple[np.ndarray, np.ndarray]:
    if folder.groups is not None:
        first, second = split_groups(folder.labels[indices], folder.groups[indices], fraction, seed)
        return indices[first], indices[second]
    copies = indices if folder.copies is None else folder.copies[indices]
    _, one_of_each, kind = np.unique(copies, return_index=True, return_inverse=True)
    first, second = split_groups(folder.labels[indices[one_of_each]], None, fraction, seed)
    return indices[np.isin(kind, first)], indices[np.isin(kind, second)]


def _strip(folder: ImageFolder, indices: np.ndarray, fraction: float) -> tuple[np.ndarray, np.ndarray]:
    assert folder.positions is not None
    first, second = strip(folder.positions[indices], folder.labels[indices], fraction)
    return indices[first], indices[second]


def _told(folder: ImageFolder, fold: Fold) -> Fold:
    """The fold, whose sentence says if an image to evaluate on is byte for byte the same as one to train on."""
    if folder.copies is None:
        return fold
    known, said = folder.copies[fold.train], fold.sentence
    for name, part in (("validation", fold.validation), ("test", fold.test)):
        if count := int(np.isin(folder.copies[part], known).sum()):
            said += f"; {counted(count, f'{name} image')} identical to training images"
    return replace(fold, sentence=said)


def _how(folder: ImageFolder) -> str:
    return "at random, class by class" if folder.groups is None else f"by {folder.group_name}"
