"""Folders of images: a user's own, and two layouts in which medical images are published.

    CLASS/*.png|jpg|jpeg                                  a user's own
    train|test|val/CLASS/*.png|jpg|jpeg                   the same in parts; so are Kaggle's chest X-rays, where the
                                                          file names hold a number: person12_..., (NORMAL2-)IM-0012-...
    PATIENT/CLASS/PATIENT_idx5_xX_yY_classC.png           Kaggle's breast histopathology, IDC

The layout is found by the names alone, in the folder itself or up to two levels below it. What else lies there is left
out, and `report()` says so. Hidden files are not looked at. Links to folders are not followed, nor are links to files
outside of the folder.
"""

import os
import re
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinynet.data.images.read import SUFFIXES, ImageFault, Images, Size, each, file_content, measure, shown
from tinynet.errors import ArgumentError, DataError

MAX_SKIPPED = 0.25  # of the files; if more of them cannot be used, something else is wrong
STAND_IN = "STAND-IN.txt"  # lies in folders of generated images

_PARTS = {"train": "train", "training": "train", "test": "test", "testing": "test", "val": "val", "valid": "val",
          "validation": "val"}
_DEEPEST = 5  # levels of folders that are looked into
_SHOWN = 10  # skipped files that a report or an error lists
_NO_FOLDERS = ("__MACOSX",)

_IDC = re.compile(r"(?P<group>\d+)_idx\d+_x(?P<x>\d{1,9})_y(?P<y>\d{1,9})_class(?P<label>\d)\.png", re.IGNORECASE)
_XRAY = re.compile(r"(?:NORMAL\d+-)?(IM-|person)(\d{1,9})[-_]", re.IGNORECASE)


class Skipped(NamedTuple):
    """A file that is not used, its name relative to the folder, and why: "is empty; copy it again"."""

    name: str
    reason: str


class _Found(NamedTuple):
    """A file where the layout has its images."""

    name: str
    part: str
    label: str


@dataclass(frozen=True, eq=False, repr=False)
class ImageFolder:
    """The images of a folder, by name; made by `scan_folder`.

    names       N names relative to `root`, with "/"
    labels      int64 (N), each an index into `classes`, the names of the classes
    groups      (N) what must not be parted, such as patients, as text, or None; `group_name` says what they are
    positions   int64 (N, 2), x and y of the patches in their slide, or None
    part_of     (N) "train", "test", "val", or "" for all where the folder has no parts
    sizes       int64 (N, 3), height, width and channels as they are in the files, or None if they were not looked at
    skipped     what is not used, and why; `notes`: further remarks
    stand_in    whether the images were generated, and stand for real ones
    """

    root: Path
    layout: str
    names: tuple[str, ...]
    labels: np.ndarray
    classes: tuple[str, ...]
    part_of: np.ndarray
    groups: np.ndarray | None = None
    group_name: str = ""
    positions: np.ndarray | None = None
    sizes: np.ndarray | None = None
    skipped: tuple[Skipped, ...] = ()
    notes: tuple[str, ...] = ()
    stand_in: bool = False

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"ImageFolder({shown(self.root)!r}: {len(self):,} images, {len(self.classes)} classes, {self.layout})"

    @property
    def parts(self) -> tuple[str, ...]:
        """Which of "train", "val" and "test" there are."""
        return tuple(part for part in ("train", "val", "test") if (self.part_of == part).any())

    def select(self, indices: Any) -> "ImageFolder":
        """Some of the images, by their indices (or by a boolean for each); all else stays the same."""
        indices = np.arange(len(self))[np.asarray(indices)]

        def some(array: np.ndarray | None) -> Any:
            return None if array is None else array[indices]

        return replace(self, names=tuple(self.names[index] for index in indices), labels=self.labels[indices],
                       part_of=self.part_of[indices], groups=some(self.groups), positions=some(self.positions),
                       sizes=some(self.sizes))

    def images(self, size: Size, channels: int = 3) -> Images:
        """The pictures, uint8 (N, height, width, channels), read when they are indexed. See `read_image`."""
        return Images(self.root, self.names, size=size, channels=channels)

    def report(self) -> str:
        """What was found, in plain words, a few lines."""
        lines = [f"{shown(self.root)}: {len(self):,} images, {self.layout}"]
        if self.stand_in:
            lines.append("These are generated images that stand for real ones: results on them mean nothing.")
        lines += [f"  {part or 'images'}: {self._counted(part)}" for part in self.parts or ("",)]
        if self.groups is not None:
            lines.append(f"  {len(np.unique(self.groups)):,} groups: {self.group_name}")
            if shared := self._shared():
                lines.append(f"  {shared:,} of them occur in more than one part")
        if self.sizes is not None and len(self):
            low, high = self.sizes.min(axis=0), self.sizes.max(axis=0)
            grey = int((self.sizes[:, 2] == 1).sum())
            size = f"{low[0]} x {low[1]}" + (f" to {high[0]} x {high[1]}" if (low[:2] < high[:2]).any() else "")
            lines.append(f"  height x width: {size}; {grey:,} are grey, {len(self) - grey:,} in colour")
        lines += [f"  {note}" for note in self.notes]
        if self.skipped:
            lines.append(f"  skipped {len(self.skipped):,} files:")
            lines += [f"    {line}" for line in _listed(self.skipped)]
        return "\n".join(lines)

    def _counted(self, part: str) -> str:
        counts = np.bincount(self.labels[self.part_of == part], minlength=len(self.classes))
        return ", ".join(f"{count:,} {shown(name)}" for name, count in zip(self.classes, counts, strict=True))

    def _shared(self) -> int:
        assert self.groups is not None
        pairs = {*zip(self.groups.tolist(), self.part_of.tolist(), strict=True)}
        return sum(count > 1 for count in Counter(group for group, _ in pairs).values())


def scan_folder(root: str | os.PathLike[str], *, groups: str | None = "auto", check: bool = True,
                max_skipped: float = MAX_SKIPPED, threads: int | None = None) -> ImageFolder:
    """Find out what images a folder holds, and in which layout; see the text of the module.

    groups        "auto": the patient or number, where all file names are of a known form. A regular expression with a
                  group in parentheses: what it finds in a file's name, such as r"patient(\\d+)". None: no groups
    check         decode every file once, in threads, and skip what is empty, damaged or no image. Otherwise a file that
                  cannot be read is an error when it is needed
    max_skipped   the share of files that may be skipped

    Classes are in the order of their names, numbers by value. Raises `DataError` where there is no layout, where more
    than `max_skipped` of the files cannot be used, or where fewer than two classes are left.

    >>> import tempfile
    >>> from tinynet.data import write_chest_xray_stand_in
    >>> folder = scan_folder(write_chest_xray_stand_in(tempfile.mkdtemp(), train=6, test=4, size=32, seed=0))
    >>> folder.classes, folder.parts, len(folder)
    (('NORMAL', 'PNEUMONIA'), ('train', 'test'), 10)
    """
    root = Path(root)
    if not root.is_dir():
        raise DataError(f"scan_folder: {shown(root)} is {'not a folder' if root.exists() else 'not there'}; name the "
                        "folder that holds the folders of the classes")
    names, outside, skipped = _walk(root)
    layout, found, rejected, elsewhere = recognise(shown(root), names)
    skipped += [*rejected, *(Skipped(one.name, "is a link out of the folder; copy what it holds") for one in found
                             if one.name in outside)]
    found = [one for one in found if one.name not in outside]
    sizes: list[Any] = [None] * len(found)
    if check:
        sizes = list(each(lambda one: _measured(root / one.name), found, threads))
        skipped += [Skipped(one.name, size) for one, size in zip(found, sizes, strict=True) if isinstance(size, str)]
    kept = [(one, size) for one, size in zip(found, sizes, strict=True) if not isinstance(size, str)]
    _refuse(root, len(kept), skipped, max_skipped)
    return _folder(root, layout, kept, sorted(skipped), elsewhere, groups, check)


def recognise(root: str, names: Iterable[str]) -> tuple[str, list[_Found], list[Skipped], list[str]]:
    """The layout, the images, what is skipped where images are, and what lies elsewhere, from relative names alone.

    Raises `DataError`, which speaks of `root`, where there is no layout or more than one of them.
    """
    split = sorted((name.split("/") for name in names), key=lambda pieces: [natural(piece) for piece in pieces])
    for depth in range(3):
        bases = dict.fromkeys(tuple(pieces[:depth]) for pieces in split if len(pieces) > depth)
        fits = [(base, fit) for base in bases if (fit := _fit([p[depth:] for p in split if tuple(p[:depth]) == base]))]
        if len(fits) > 1:
            listed = ", ".join(shown("/".join(base)) for base, _ in fits[:_SHOWN])
            raise DataError(f"scan_folder: {root} must hold one set of images, holds {len(fits)}: {listed}; name one")
        if fits:
            base, (layout, matched, rejected) = fits[0]
            prefix = "".join(f"{piece}/" for piece in base)
            found = [one._replace(name=prefix + one.name) for one in matched]
            missed = [one._replace(name=prefix + one.name) for one in rejected]
            used = {one.name for one in found} | {one.name for one in missed}
            elsewhere = [name for pieces in split if (name := "/".join(pieces)) not in used and _is_image(name)]
            return layout, found, missed, elsewhere
    raise DataError(f"scan_folder: {root} must hold a folder of PNG or JPEG files for each of at least 2 classes, or "
                    f"train/CLASS and test/CLASS, or PATIENT/CLASS as in IDC; found {_first(split)}; sort the images "
                    "into folders that are called like their classes")


def natural(name: str) -> list[Any]:
    """A key by which "2" comes before "10"."""
    return [(0, int(piece), piece) if piece.isdecimal() and piece.isascii() and len(piece) < 19 else (1, 0, piece)
            for piece in re.split(r"(\d+)", name) if piece]


def _walk(root: Path) -> tuple[list[str], set[str], list[Skipped]]:
    """The files below a folder, relative to it; those of them that are links to outside; and what cannot be used."""
    names, outside, skipped = list[str](), set[str](), list[Skipped]()
    waiting, real = [""], os.path.realpath(root)
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(root / folder))
        except OSError as fault:
            if not folder:
                raise DataError(f"scan_folder: {shown(root)} cannot be read ({fault.strerror}); check its permissions"
                                ) from fault
            skipped.append(Skipped(folder, f"cannot be read ({fault.strerror}); check its permissions"))
            continue
        for entry in entries:
            name = folder + entry.name
            if entry.name.startswith(".") or entry.name in _NO_FOLDERS or name == STAND_IN:
                continue
            if not _is_text(name):
                skipped.append(Skipped(name, "has a name that is not UTF-8; rename it"))
            elif entry.is_dir(follow_symlinks=False):
                if name.count("/") < _DEEPEST:
                    waiting.append(f"{name}/")
            elif entry.is_symlink() and os.path.isdir(entry.path):
                skipped.append(Skipped(f"{name}/", "is a link to a folder; copy what it holds"))
            else:
                names.append(name)
                if entry.is_symlink() and os.path.commonpath([real, os.path.realpath(entry.path)]) != real:
                    outside.add(name)
    return names, outside, skipped


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def _is_image(name: str) -> bool:
    return name.lower().endswith(SUFFIXES)


def _fit(split: list[list[str]]) -> tuple[str, list[_Found], list[Skipped]] | None:
    """The layout of files below one folder, if there is one: its name, the images, and what is skipped among them."""
    for layout, reader in (("in parts", _in_parts), ("IDC patches", _idc), ("a folder for each class", _by_class)):
        found = [one for pieces in split if (one := reader(pieces))]
        images = [one for one in found if isinstance(one, _Found)]
        if len({one.label for one in images}) >= 2:
            return layout, images, [one for one in found if isinstance(one, Skipped)]
    return None


def _in_parts(pieces: list[str]) -> _Found | Skipped | None:
    if len(pieces) != 3 or pieces[0].lower() not in _PARTS:
        return None
    return _image("/".join(pieces), _PARTS[pieces[0].lower()], pieces[1])


def _by_class(pieces: list[str]) -> _Found | Skipped | None:
    return _image("/".join(pieces), "", pieces[0]) if len(pieces) == 2 else None


def _idc(pieces: list[str]) -> _Found | Skipped | None:
    if len(pieces) != 3 or not pieces[0].isdecimal() or not re.fullmatch(r"\d", pieces[1]):
        return None
    name, match = "/".join(pieces), _IDC.fullmatch(pieces[2])
    if not match:
        return Skipped(name, "must be called PATIENT_idx5_xX_yY_classC.png; rename it")
    if (match["group"], match["label"]) != (pieces[0], pieces[1]):
        return Skipped(name, f"lies in {pieces[0]}/{pieces[1]}, but its name says patient {match['group']}, class "
                             f"{match['label']}; move it")
    return _image(name, "", pieces[1])


def _image(name: str, part: str, label: str) -> _Found | Skipped:
    return _Found(name, part, label) if _is_image(name) else Skipped(name, "is no PNG or JPEG by its name; convert it")


def _first(split: list[list[str]]) -> str:
    if not split:
        return "no files at all"
    return f"{len(split):,} files, the first is {shown('/'.join(split[0]))}"


def _measured(path: Path) -> tuple[int, int, int] | str:
    """Height, width and channels, or what is wrong."""
    try:
        return measure(file_content(path))
    except ImageFault as fault:
        return str(fault)


def _listed(skipped: Iterable[Skipped]) -> list[str]:
    skipped = list(skipped)
    lines = [f"{shown(one.name)} {one.reason}" for one in skipped[:_SHOWN]]
    return lines + ([f"... and {len(skipped) - _SHOWN:,} more"] if len(skipped) > _SHOWN else [])


def _refuse(root: Path, kept: int, skipped: list[Skipped], max_skipped: float) -> None:
    total = kept + len(skipped)
    if len(skipped) > max_skipped * total:
        lines = "".join(f"\n  {line}" for line in _listed(sorted(skipped)))
        raise DataError(f"scan_folder: of the files in {shown(root)} at most {max_skipped:.0%} may be unusable, but "
                        f"{len(skipped):,} of {total:,} are; mend or remove them, or raise max_skipped:{lines}")


def _folder(root: Path, layout: str, kept: list[tuple[_Found, Any]], skipped: list[Skipped], elsewhere: list[str],
            groups: str | None, check: bool) -> ImageFolder:
    found = [one for one, _ in kept]
    classes = tuple(sorted({one.label for one in found}, key=natural))
    if len(classes) < 2:
        raise DataError(f"scan_folder: {shown(root)} must hold images of at least 2 classes, holds readable ones of "
                        f"{len(classes)}; add some of another class, or copy the damaged files again")
    number = {name: index for index, name in enumerate(classes)}
    files = [one.name.rpartition("/")[2] for one in found]
    group_of, group_name, positions = _grouped(files, groups)
    if layout == "in parts" and group_name == _XRAY_NAME and set(classes) == {"NORMAL", "PNEUMONIA"}:
        layout = "chest X-rays in parts"
    notes = []
    if elsewhere:
        notes.append(f"left out {len(elsewhere):,} files elsewhere in the folder, the first is {shown(elsewhere[0])}")
    return ImageFolder(
        root, layout, tuple(one.name for one in found), np.array([number[one.label] for one in found], np.int64),
        classes, np.array([one.part for one in found]), group_of, group_name, positions,
        np.array([size for _, size in kept], np.int64).reshape(-1, 3) if check else None,
        tuple(skipped), tuple(notes), (root / STAND_IN).is_file())


_IDC_NAME, _XRAY_NAME = "patients", "numbers in the file names"


def _grouped(files: list[str], groups: str | None) -> tuple[np.ndarray | None, str, np.ndarray | None]:
    """What belongs together by the names of the files, what it is, and the positions that the names hold."""
    idc = [_IDC.fullmatch(file) for file in files]
    positions = np.array([[m["x"], m["y"]] for m in idc if m], np.int64) if all(idc) else None
    if groups is None:
        return None, "", positions
    if groups != "auto":
        return _by_pattern(files, groups), f"what {groups!r} finds in the file names", positions
    if all(idc):
        return np.array([m["group"] for m in idc if m]), _IDC_NAME, positions
    xray = [_XRAY.match(file) for file in files]
    if all(xray):
        return np.array([f"{m[1]}{int(m[2])}" for m in xray if m]), _XRAY_NAME, None
    return None, "", None


def _by_pattern(files: list[str], pattern: str) -> np.ndarray:
    try:
        compiled = re.compile(pattern)
    except re.error as fault:
        raise ArgumentError(f"scan_folder: groups must be a regular expression, {pattern!r} is none ({fault}); "
                            r"try r'patient(\d+)'") from fault
    if compiled.groups != 1:
        raise ArgumentError(f"scan_folder: groups must have one group in parentheses, {pattern!r} has "
                            rf"{compiled.groups}; try r'patient(\d+)'")
    found = []
    for file in files:
        match = compiled.search(file)
        if match is None or match[1] is None:
            raise DataError(f"scan_folder: groups must be found in every file name, {pattern!r} is not in "
                            f"{shown(file)}; change it, or rename the file")
        found.append(match[1])
    return np.array(found)
