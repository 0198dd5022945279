"""The layout of a folder of images, recognised by the names of its files alone.

    CLASS/*.png|jpg|webp|bmp|tif|gif              a user's own images
    train|test|val/CLASS/*.png|jpg|...            the same in parts; in Kaggle's chest X-rays the file names also hold
                                                  a number: person12_..., IM-0012-..., NORMAL2-IM-0012-...
    PATIENT/CLASS/PATIENT_idx5_xX_yY_classC.png   Kaggle's breast histopathology images (IDC)

The layout may begin in the folder itself or up to two levels below it. Names of classes are compared in the composed
form of Unicode (NFC), because macOS writes the decomposed one (NFD). .jpe, .jfif, .jif, .pjpeg and .pjp are JPEGs too.
"""

import re
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinynet.data.images.read import SUFFIXES, USUAL
from tinynet.errors import ArgumentError, DataError, counted, printable

SHOWN = 10  # entries of a list in a report or an error message

_PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test", "val": "val", "valid": "val",
          "validation": "val"}
_IDC = re.compile(r"(?P<group>\d+)_idx\d+_x(?P<x>\d{1,9})_y(?P<y>\d{1,9})_class(?P<label>\d)\.png", re.IGNORECASE)
_XRAY = re.compile(r"(?:NORMAL\d+-)?(IM-|person)(\d{1,9})[-_]", re.IGNORECASE)


class Skipped(NamedTuple):
    """A file that is not used: its name relative to the folder, and the reason, such as "is empty; copy it again"."""

    name: str
    reason: str


class Found(NamedTuple):
    """An image of a layout: its name, the part that it belongs to ("" without parts), and the name of its class."""

    name: str
    part: str
    label: str


class Layout(NamedTuple):
    """What the names of the files below a folder say.

    name        such as "a folder for each class"
    base        "" or the folder, with "/" at its end, in which the layout begins
    found       its images
    rejected    the files among them that are skipped
    elsewhere   names of images that lie outside the layout
    """

    name: str
    base: str
    found: list[Found]
    rejected: list[Skipped]
    elsewhere: list[str]

    def class_of(self, folder: str) -> str | None:
        """The class that a folder, such as "train/cat/", would be in this layout, or None."""
        pieces = folder.removeprefix(self.base).split("/")[:-1]
        if not folder.startswith(self.base) or len(pieces) != (1 if self.name == "a folder for each class" else 2):
            return None
        usual = (self.name != "in parts" or pieces[0].lower() in _PARTS) and (
            self.name != "IDC patches" or _is_idc(pieces))
        return unicodedata.normalize("NFC", pieces[-1]) if usual else None


def recognise(root: str, names: Iterable[str], skipped: Sequence[Skipped] = (), min_classes: int = 2) -> Layout:
    """Recognise a layout by the relative names of all files below a folder.

    skipped       what is not among `names`, for the error message
    min_classes   1: a layout with a single class is recognised too, if no layout has more

    Raises `DataError`, with `root` in its message, for no layout or more than one.
    """
    split = sorted((name.split("/") for name in names), key=lambda pieces: [natural(piece) for piece in pieces])
    for depth, least in [(depth, least) for least in range(2, min_classes - 1, -1) for depth in range(3)]:
        bases = dict.fromkeys(tuple(pieces[:depth]) for pieces in split if len(pieces) > depth)
        fits = [(base, fit) for base in bases
                if (fit := _fit([p[depth:] for p in split if tuple(p[:depth]) == base], least))]
        if len(fits) > 1:
            listed = ", ".join(printable("/".join(base)) for base, _ in fits[:SHOWN])
            raise DataError(f"scan_folder: {root} must hold one set of images, holds {len(fits)}: {listed}; name one")
        if fits:
            base, (layout, matched, rejected) = fits[0]
            prefix = "".join(f"{piece}/" for piece in base)
            found = [one._replace(name=prefix + one.name) for one in matched]
            missed = [one._replace(name=prefix + one.name) for one in rejected]
            used = {one.name for one in found} | {one.name for one in missed}
            elsewhere = [name for pieces in split if (name := "/".join(pieces)) not in used and _is_image(name)]
            return Layout(layout, prefix, found, missed, elsewhere)
    raise DataError(f"scan_folder: {root} must hold a folder of images for each of at least {min_classes} "
                    f"class{'es' * (min_classes > 1)}, or train/CLASS and test/CLASS, or PATIENT/CLASS as in IDC; "
                    f"found {_first(split)}{_also(skipped)}; sort the images into folders named after their classes")


def natural(name: str) -> list[Any]:
    """A sort key by which "2" comes before "10"."""
    return [(0, int(piece), piece) if piece.isdecimal() and piece.isascii() and len(piece) < 19 else (1, 0, piece)
            for piece in re.split(r"(\d+)", name) if piece]


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _fit(split: list[list[str]], least: int) -> tuple[str, list[Found], list[Skipped]] | None:
    """The name of the layout that the files below one folder have, its images and skipped files; None without one."""
    for layout, reader in (("in parts", _in_parts), ("IDC patches", _idc), ("a folder for each class", _by_class)):
        found = [one for pieces in split if (one := reader(pieces))]
        images = [one for one in found if isinstance(one, Found)]
        if len({one.label for one in images}) >= least:
            return layout, images, [one for one in found if isinstance(one, Skipped)]
    return None


def _in_parts(pieces: list[str]) -> Found | Skipped | None:
    if len(pieces) != 3 or pieces[0].lower() not in _PARTS:
        return None
    return _image("/".join(pieces), _PARTS[pieces[0].lower()], pieces[1])


def _by_class(pieces: list[str]) -> Found | Skipped | None:
    return _image("/".join(pieces), "", pieces[0]) if len(pieces) == 2 else None


def _idc(pieces: list[str]) -> Found | Skipped | None:
    if len(pieces) != 3 or not _is_idc(pieces):
        return None
    name, match = "/".join(pieces), _IDC.fullmatch(pieces[2])
    if not match:
        return Skipped(name, "must have a name of the form PATIENT_idx5_xX_yY_classC.png; rename it")
    if (match["group"], match["label"]) != (pieces[0], pieces[1]):
        return Skipped(name, f"is in {pieces[0]}/{pieces[1]}, but its name says patient {match['group']}, class "
                             f"{match['label']}; move it")
    return _image(name, "", pieces[1])


def _is_idc(pieces: list[str]) -> bool:
    return pieces[0].isdecimal() and re.fullmatch(r"\d", pieces[1]) is not None


def _image(name: str, part: str, label: str) -> Found | Skipped:
    if _is_image(name):
        return Found(name, part, unicodedata.normalize("NFC", label))
    return Skipped(name, f"is not named {USUAL}; convert it")


def _first(split: list[list[str]]) -> str:
    if not split:
        return "no files at all"
    return f"{counted(len(split), 'file')}, the first is {printable('/'.join(split[0]))}"


def _also(skipped: Sequence[Skipped]) -> str:
    if not skipped:
        return ""
    first = skipped[0]
    return (f", and {len(skipped):,} that cannot be used, the first is {printable(first.name)}, which "
            f"{first.reason.partition(';')[0]}")


IDC_NAME, XRAY_NAME = "patients", "numbers in the file names"


def grouped(files: list[str], groups: str | None) -> tuple[np.ndarray | None, str, np.ndarray | None]:
    """The group of each file by its name (N), the name of the groups, and the positions (N, 2) in the names of IDC.

    `groups` as in `scan_folder`. Without groups the first is None, and without positions the last.
    """
    idc = [_IDC.fullmatch(file) for file in files]
    positions = np.array([[m["x"], m["y"]] for m in idc if m], np.int64) if all(idc) else None
    if groups is None:
        return None, "", positions
    if groups != "auto":
        return _by_pattern(files, groups), f"what {groups!r} finds in the file names", positions
    if all(idc):
        return np.array([m["group"] for m in idc if m]), IDC_NAME, positions
    xray = [_XRAY.match(file) for file in files]
    if all(xray):
        return np.array([f"{m[1]}{int(m[2])}" for m in xray if m]), XRAY_NAME, None
    return None, "", None


def _by_pattern(files: list[str], pattern: str) -> np.ndarray:
    try:
        compiled = re.compile(pattern)
    except re.error as fault:
        raise ArgumentError(f"scan_folder: groups must be a regular expression, {pattern!r} is invalid "
                            rf"({fault}); try r'patient(\d+)'") from fault
    if compiled.groups != 1:
        raise ArgumentError(f"scan_folder: groups must have one group in parentheses, {pattern!r} has "
                            rf"{compiled.groups}; try r'patient(\d+)'")
    found = []
    for file in files:
        match = compiled.search(file)
        if match is None or match[1] is None:
            raise DataError(f"scan_folder: groups must be found in every file name, {pattern!r} is not in "
                            f"{printable(file)}; change it, or rename the file")
        found.append(match[1])
    return np.array(found)
