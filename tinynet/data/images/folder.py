"""Folders of images: find the images, check that they can be read, and describe them.

The layouts are those of layouts.py. `report()` accounts for each file and folder: images elsewhere in the folder are
left out, and a folder of a class without a usable image is named. Links to folders, and links to files outside the
folder, are not followed. Hidden files and those that Windows leaves behind (Thumbs.db, desktop.ini) are ignored. Files
with the same bytes are copies of one image; `folds` keeps them in one part.
"""

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinynet.data.images.formats import NAMED, ImageFault
from tinynet.data.images.layouts import SHOWN, XRAY_NAME, Found, Layout, Skipped, grouped, natural, recognise
from tinynet.data.images.read import CHUNK, SUFFIXES, Images, Size, file_content, measure
from tinynet.data.prefetch import prefetch
from tinynet.errors import ArgumentError, DataError, counted, printable
from tinynet.shown import Text
from tinynet.types import ArrayLike

MAX_SKIPPED = 0.25  # of the files; with more unusable ones it is probably the wrong folder
STAND_IN = "STAND-IN.txt"  # marks a folder of generated images

_DEEPEST = 5  # levels of folders that are searched
_IGNORED = ("__macosx", "thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "$recycle.bin",
            "system volume information", "@eadir")  # what systems leave in folders, in lower case


@dataclass(frozen=True, eq=False, repr=False)
class ImageFolder:
    """The images of a folder, by name. The result of `scan_folder`.

    root        the folder, as an absolute path
    names       N names relative to it, with "/"
    labels      int64 (N), each an index into `classes`, the names of the classes
    part_of     (N) "train", "test" or "val"; "" for all images of a folder without parts
    groups      str (N), the patient or another unit that must not be split between parts, or None
    group_name  the name of these units, such as "patients"
    positions   int64 (N, 2), x and y of the patches in their slide in pixels, or None
    sizes       int64 (N, 3), height, width and channels in the files, or None if the files were not checked
    skipped     files that are not used, with reasons
    notes       further remarks for the report
    stand_in    whether the images are generated ones that stand for real ones
    copies      int64 (N), equal for files with the same bytes, or None if the files were not checked
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
    copies: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return (f"ImageFolder({printable(self.root)!r}: {counted(len(self), 'image')}, "
                f"{counted(len(self.classes), 'class', 'classes')}, {self.layout})")

    def _repr_html_(self) -> str:
        return self.report()._repr_html_()

    @property
    def parts(self) -> tuple[str, ...]:
        """The parts that have images, of "train", "val" and "test"."""
        return tuple(part for part in ("train", "val", "test") if (self.part_of == part).any())

    def select(self, indices: ArrayLike) -> "ImageFolder":
        """A folder with some of the images, given by their indices or by a boolean for each image."""
        chosen = np.arange(len(self))[np.asarray(indices)]

        def some(array: np.ndarray | None) -> Any:
            return None if array is None else array[chosen]

        return replace(self, names=tuple(self.names[index] for index in chosen), labels=self.labels[chosen],
                       part_of=self.part_of[chosen], groups=some(self.groups), positions=some(self.positions),
                       sizes=some(self.sizes), copies=some(self.copies))

    def images(self, size: Size, channels: int = 3) -> Images:
        """The images, uint8 (N, height, width, channels), read when they are indexed. See `read_image`."""
        return Images(self.root, self.names, size=size, channels=channels)

    def report(self) -> Text:
        """A description of the folder, a few lines of text."""
        lines = [f"{printable(self.root)}: {counted(len(self), 'image')}, {self.layout}"]
        if self.stand_in:
            lines.append("These are generated images that stand for real ones: results on them mean nothing.")
        lines += [f"  {part or 'images'}: {self._counted(part)}" for part in self.parts or ("",)]
        if self.groups is not None:
            lines.append(f"  {counted(len(np.unique(self.groups)), 'group')}: {self.group_name}")
            if shared := _shared(self.groups, self.part_of):
                lines.append(f"  {counted(len(shared), 'group')} in more than one part")
        if self.sizes is not None and len(self):
            low, high = self.sizes.min(axis=0), self.sizes.max(axis=0)
            grey = int((self.sizes[:, 2] == 1).sum())
            size = f"{low[0]} x {low[1]}" + (f" to {high[0]} x {high[1]}" if (low[:2] < high[:2]).any() else "")
            lines.append(f"  height x width: {size}; {grey:,} grey, {len(self) - grey:,} in colour")
        lines += self._copied()
        lines += [f"  {note}" for note in self.notes]
        if self.skipped:
            lines.append(f"  skipped {counted(len(self.skipped), 'file')}:")
            lines += [f"    {line}" for line in _listed(self.skipped)]
        return Text("\n".join(lines))

    def _counted(self, part: str) -> str:
        counts = np.bincount(self.labels[self.part_of == part], minlength=len(self.classes))
        return ", ".join(f"{count:,} {printable(name)}" for name, count in zip(self.classes, counts, strict=True))

    def _copied(self) -> list[str]:
        """Lines about images that are byte for byte the same."""
        if self.copies is None or (count := len(self) - len(np.unique(self.copies))) == 0:
            return []
        lines = [f"  {counted(count, 'image')} equal to others, byte for byte"]
        for what, places in (("part", self.part_of), ("class", self.labels)):
            if shared := _shared(self.copies, places):
                lines.append(f"  {counted(len(shared), 'identical image')} in more than one {what}")
                for one in shared[:SHOWN]:
                    same = [printable(self.names[index]) for index in np.flatnonzero(self.copies == one)]
                    more = f" and {len(same) - SHOWN:,} more" if len(same) > SHOWN else ""
                    lines.append(f"    {' = '.join(same[:SHOWN])}{more}")
                lines += ["    ..."] * (len(shared) > SHOWN)
        return lines


def _shared(groups: np.ndarray, parts: np.ndarray) -> list[Any]:
    """The groups with elements in more than one part. Both are arrays (N)."""
    pairs = {*zip(groups.tolist(), parts.tolist(), strict=True)}
    return sorted(group for group, count in Counter(group for group, _ in pairs).items() if count > 1)


def scan_folder(root: str | os.PathLike[str], *, groups: str | None = "auto", check: bool = True,
                max_skipped: float = MAX_SKIPPED, min_classes: int = 2, threads: int | None = None) -> ImageFolder:
    """Find the images of a folder, in one of the layouts of `tinynet.data.images.layouts`.

    groups        "auto": the patient or number in the file names, if all of them have a known form. A regular
                  expression with one group in parentheses: what the group matches, such as r"patient(\\d+)". None: no
                  groups
    check         decode every file once, in threads, and skip those that are empty, damaged or not images. Without it
                  a file that cannot be read is an error when it is needed
    max_skipped   the share of files that may be skipped
    min_classes   1 or 2: the least number of classes; 1 for a folder to evaluate a trained model on
    threads       threads that decode; None for one per processor, at most 8

    Classes are sorted by name, with numbers in order of value. Raises `DataError` if there is no layout, if more than
    `max_skipped` of the files cannot be used, or if fewer than `min_classes` classes are left.

    >>> import tempfile
    >>> from tinynet.data import write_chest_xray_stand_in
    >>> folder = scan_folder(write_chest_xray_stand_in(tempfile.mkdtemp(), train=6, test=4, size=32, seed=0))
    >>> folder.classes, folder.parts, len(folder)
    (('NORMAL', 'PNEUMONIA'), ('train', 'test'), 10)
    """
    root = Path(os.path.abspath(root))  # also after os.chdir
    if not root.is_dir():
        raise DataError(f"scan_folder: {printable(root)} is {'not a folder' if root.exists() else 'not there'}; name "
                        "the folder that holds the folders of the classes")
    if min_classes not in (1, 2):
        raise ArgumentError(f"scan_folder: min_classes must be 1 or 2, got {min_classes!r}; min_classes=1 to evaluate?")
    names, folders, outside, skipped = _walk(root)
    layout = recognise(printable(root), names, skipped, min_classes)
    skipped += [*layout.rejected, *(Skipped(one.name, "is a link out of the folder; copy the file itself")
                                    for one in layout.found if one.name in outside)]
    found = [one for one in layout.found if one.name not in outside]
    checked: list[Any] = [None] * len(found)
    if check:
        def measured(start: int) -> list[_Measured | str]:
            return [_measured(root / one.name) for one in found[start : start + CHUNK]]

        checked = [one for part in prefetch(measured, range(0, len(found), CHUNK), threads) for one in part]
        skipped += [Skipped(one.name, fault) for one, fault in zip(found, checked, strict=True)
                    if isinstance(fault, str)]
    kept = [(one, size) for one, size in zip(found, checked, strict=True) if not isinstance(size, str)]
    _refuse(root, len(kept), skipped, max_skipped)
    notes = _left_out(layout, folders, {one.label for one, _ in kept}, skipped)
    notes += _alike({one.label for one, _ in kept})
    return _folder(root, layout.name, kept, sorted(skipped), notes, groups, check, min_classes)


def list_images(root: str | os.PathLike[str]) -> tuple[list[str], list[str]]:
    """The names of the image files below a folder, relative to it and in natural order, and those of the other files.

    Their content is not read.

    Errors: DataError if the folder cannot be read, or holds no image.
    """
    names, others = list[str](), list[str]()
    for name in sorted(_walk(Path(root))[0], key=natural):
        (names if name.lower().endswith(SUFFIXES) else others).append(name)
    if not names:
        raise DataError(f"read_image: {printable(root)} must hold images, {NAMED}, and holds none; "
                        "name another folder")
    return names, others


def _walk(root: Path) -> tuple[list[str], list[str], set[str], list[Skipped]]:
    """The names of the files below a folder, relative to it; the folders; links out of it; and what is unusable.

    The name of a folder ends in "/".
    """
    names, folders, outside, skipped = list[str](), list[str](), set[str](), list[Skipped]()
    waiting, real = [""], os.path.realpath(root)
    while waiting:
        folder = waiting.pop()
        try:
            entries = list(os.scandir(root / folder))
        except OSError as fault:
            if not folder:
                raise DataError(f"scan_folder: {printable(root)} cannot be read ({fault.strerror}); check its "
                                "permissions") from fault
            skipped.append(Skipped(folder, f"cannot be read ({fault.strerror}); check its permissions"))
            continue
        for entry in entries:
            name = folder + entry.name
            if entry.name.startswith(".") or entry.name.lower() in _IGNORED or name == STAND_IN:
                continue
            if not _is_text(name):
                name += "/" * os.path.isdir(entry.path)
                skipped.append(Skipped(name, "has a name that is not UTF-8; rename it"))
            elif entry.is_dir(follow_symlinks=False):
                folders.append(f"{name}/")
                if name.count("/") < _DEEPEST:
                    waiting.append(f"{name}/")
                else:
                    skipped.append(Skipped(f"{name}/", f"lies more than {_DEEPEST} folders deep; move it up"))
            elif entry.is_symlink() and os.path.isdir(entry.path):
                skipped.append(Skipped(f"{name}/", "is a link to a folder; copy the folder itself"))
            else:
                names.append(name)
                if entry.is_symlink() and os.path.commonpath([real, os.path.realpath(entry.path)]) != real:
                    outside.add(name)
    return names, folders, outside, skipped


def _left_out(layout: Layout, folders: list[str], classes: set[str], skipped: list[Skipped]) -> list[str]:
    """Notes on images elsewhere in the folder, and on folders of classes without a usable image."""
    notes, named = [], {one.name for one in skipped}
    if layout.elsewhere:
        notes.append(f"left out {counted(len(layout.elsewhere), 'file')} elsewhere in the folder, the first is "
                     f"{printable(layout.elsewhere[0])}")
    for folder in sorted(folders, key=natural):
        name = layout.class_of(folder)
        if name is not None and name not in classes and folder not in named:
            below = sum(other.startswith(folder) for other in layout.elsewhere)
            unusable = sum(one.name.startswith(folder) for one in skipped)
            why = (f"it has {counted(below, 'image')} in folders inside it only; move them up" if below
                   else f"it holds {counted(unusable, 'file')} and no usable image" if unusable
                   else "it holds no images")
            notes.append(f"{printable(folder)} is not a class: {why}")
    return notes


def _alike(classes: set[str]) -> list[str]:
    """Notes on classes whose names differ in upper and lower case alone."""
    same: dict[str, list[str]] = {}
    for name in sorted(classes, key=natural):
        same.setdefault(name.casefold(), []).append(printable(name))
    return [f"{' and '.join(names)} are {len(names)} classes whose names differ in case alone; move their images into "
            "one folder if they are one class" for names in same.values() if len(names) > 1]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


class _Measured(NamedTuple):
    size: tuple[int, int, int]  # height, width, channels
    digest: bytes  # of the content


def _measured(path: Path) -> _Measured | str:
    """Size and digest, or the fault."""
    try:
        content = file_content(path)
        return _Measured(measure(content), hashlib.blake2b(content, digest_size=16).digest())
    except ImageFault as fault:
        return str(fault)


def _listed(skipped: Iterable[Skipped]) -> list[str]:
    skipped = list(skipped)
    lines = [f"{printable(one.name)} {one.reason}" for one in skipped[:SHOWN]]
    return lines + ([f"... and {len(skipped) - SHOWN:,} more"] if len(skipped) > SHOWN else [])


def _refuse(root: Path, kept: int, skipped: list[Skipped], max_skipped: float) -> None:
    total = kept + len(skipped)
    if len(skipped) > max_skipped * total:
        lines = "".join(f"\n  {line}" for line in _listed(sorted(skipped)))
        raise DataError(f"scan_folder: of the files in {printable(root)} at most {max_skipped:.0%} may be unusable, "
                        f"but {len(skipped):,} of {total:,} are; replace or remove them, or raise max_skipped "
                        f"(--max-skipped of tinynet train):{lines}")


def _folder(root: Path, layout: str, kept: list[tuple[Found, Any]], skipped: list[Skipped], notes: list[str],
            groups: str | None, check: bool, min_classes: int) -> ImageFolder:
    found = [one for one, _ in kept]
    classes = tuple(sorted({one.label for one in found}, key=natural))
    if len(classes) < min_classes:
        raise DataError(f"scan_folder: {printable(root)} must hold images of at least {min_classes} "
                        f"class{'es' * (min_classes > 1)}, holds readable ones of {len(classes)}; add some of another "
                        f"class, or copy the damaged files again{''.join(f'; {note}' for note in notes[:SHOWN])}")
    number = {name: index for index, name in enumerate(classes)}
    files = [one.name.rpartition("/")[2] for one in found]
    group_of, group_name, positions = grouped(files, groups)
    if layout == "in parts" and group_name == XRAY_NAME and set(classes) == {"NORMAL", "PNEUMONIA"}:
        layout = "chest X-rays in parts"
    number_of = dict[bytes, int]()
    copies = [number_of.setdefault(one.digest, index) for index, (_, one) in enumerate(kept)] if check else None
    return ImageFolder(
        root, layout, tuple(one.name for one in found), np.array([number[one.label] for one in found], np.int64),
        classes, np.array([one.part for one in found]), group_of, group_name, positions,
        np.array([one.size for _, one in kept], np.int64).reshape(-1, 3) if check else None,
        tuple(skipped), tuple(notes), (root / STAND_IN).is_file(),
        None if copies is None else np.array(copies, np.int64))


