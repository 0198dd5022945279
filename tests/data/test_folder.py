"""Folders of images: each layout is recognised and reported, and parts never share a patient."""

import os
import re
import stat
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("PIL")
from PIL import Image

from tinynet import random
from tinynet.data import (
    Images,
    cross_folds,
    folds,
    scan_folder,
    split_groups,
    write_chest_xray_stand_in,
    write_idc_stand_in,
)
from tinynet.data.images import folder, splits, stand_ins
from tinynet.data.images.layouts import Layout, grouped, natural, recognise
from tinynet.errors import ArgumentError, DataError


def fill(root, *names, size=(4, 5)):
    for name in names:
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix.lower() in (".png", ".jpg", ".jpeg"):
            Image.new("RGB", size[::-1], (3, 3, 3)).save(path, {".png": "PNG"}.get(path.suffix.lower(), "JPEG"))
        else:
            path.write_bytes(b"something")
    return Path(root)


def idc(patient, label, x, y):
    return f"{patient}/{label}/{patient}_idx5_x{x}_y{y}_class{label}.png"


# --- layouts --------------------------------------------------------------------------------------------------------

def test_a_folder_for_each_class(tmp_path):
    fill(tmp_path, "cat/b.png", "cat/a.JPG", "dog/1.jpeg", "10/x.png", "9/x.png", ".hidden/x.png", "cat/.DS_Store")
    found = scan_folder(tmp_path)
    assert found.layout == "a folder for each class" and found.classes == ("9", "10", "cat", "dog")
    assert found.names == ("9/x.png", "10/x.png", "cat/a.JPG", "cat/b.png", "dog/1.jpeg")
    assert found.labels.tolist() == [0, 1, 2, 2, 3] and found.labels.dtype == np.int64
    assert found.groups is None and found.positions is None and found.parts == () and not found.skipped
    np.testing.assert_array_equal(found.sizes, [[4, 5, 3]] * 5)
    assert found.report() == (f"{tmp_path}: 5 images, a folder for each class\n"
                              "  images: 1 9, 1 10, 2 cat, 1 dog\n"
                              "  height x width: 4 x 5; 0 grey, 5 in colour\n"
                              "  3 images equal to others, byte for byte\n"
                              "  2 identical images in more than one class\n"
                              "    9/x.png = 10/x.png = cat/b.png\n"
                              "    cat/a.JPG = dog/1.jpeg")
    assert repr(found) == f"ImageFolder('{tmp_path}': 5 images, 4 classes, a folder for each class)"


@pytest.mark.parametrize("above", ["", "data/", "kaggle/data/"])
def test_chest_xrays(tmp_path, above):
    fill(tmp_path / above, "train/NORMAL/IM-0115-0001.jpeg", "train/NORMAL/NORMAL2-IM-0115-0002.jpeg",
         "train/PNEUMONIA/person12_virus_4.jpeg", "test/NORMAL/IM-0007-0001-0002.jpeg",
         "test/PNEUMONIA/person12_bacteria_46.jpeg", "val/PNEUMONIA/person3_bacteria_1.jpeg",
         "__MACOSX/train/NORMAL/._IM-0115-0001.jpeg", "chest_xray/train/NORMAL/IM-0115-0001.jpeg")
    found = scan_folder(tmp_path)
    assert found.layout == "chest X-rays in parts" and found.classes == ("NORMAL", "PNEUMONIA")
    assert found.parts == ("train", "val", "test")
    by_name = {name.removeprefix(above): index for index, name in enumerate(found.names)}
    assert len(by_name) == len(found) == 6
    for name, part, label, group in [("train/NORMAL/IM-0115-0001.jpeg", "train", 0, "IM-115"),
                                     ("train/NORMAL/NORMAL2-IM-0115-0002.jpeg", "train", 0, "IM-115"),
                                     ("test/PNEUMONIA/person12_bacteria_46.jpeg", "test", 1, "person12"),
                                     ("val/PNEUMONIA/person3_bacteria_1.jpeg", "val", 1, "person3")]:
        index = by_name[name]
        assert (found.part_of[index], found.labels[index], found.groups[index]) == (part, label, group)
    report = found.report()
    assert "train: 2 NORMAL, 1 PNEUMONIA" in report and "4 groups: numbers in the file names" in report
    assert "1 group in more than one part" in report
    assert f"left out 1 file elsewhere in the folder, the first is {above}chest_xray/train/NORMAL/IM" in report


@pytest.mark.parametrize(("classes", "name"), [
    (("NORMAL", "PNEUMONIA", "COVID"), "IM-0115-0001.jpeg"), (("NORMAL", "PNEUMONIA"), "1.jpeg"),
    (("NORMAL", "OTHER"), "IM-0115-0001.jpeg")])
def test_what_is_only_like_the_chest_xrays(tmp_path, classes, name):
    found = scan_folder(fill(tmp_path, *(f"{part}/{one}/{name}" for part in ("train", "test") for one in classes)))
    assert found.layout == "in parts" and found.classes == tuple(sorted(classes))


@pytest.mark.parametrize("groups", ["auto", None, r"^(\d+)_"])
def test_the_positions_of_patches_do_not_depend_on_groups(tmp_path, groups):
    fill(tmp_path, idc(8863, 0, 51, 1), idc(8863, 1, 101, 151), idc(8864, 0, 1, 201))
    found = scan_folder(tmp_path, groups=groups)
    assert found.positions.tolist() == [[51, 1], [101, 151], [1, 201]]
    assert (None if found.groups is None else found.groups.tolist()) == (groups and ["8863", "8863", "8864"])
    assert found.select([2, 0]).positions.tolist() == [[1, 201], [51, 1]]


def test_names_may_be_in_upper_case():
    groups, name, positions = grouped(["9_IDX5_X1_Y2_CLASS0.PNG"], "auto")
    assert (groups.tolist(), name, positions.tolist()) == (["9"], "patients", [[1, 2]])
    assert grouped(["PERSON12_x.JPEG", "im-007-1.jpeg"], "auto")[0].tolist() == ["PERSON12", "im-7"]


@pytest.mark.parametrize(("name", "part"), [
    ("train", "train"), ("Training", "train"), ("test", "test"), ("testing", "test"), ("val", "val"), ("valid", "val"),
    ("VALIDATION", "val")])
def test_names_of_parts(name, part):
    found = recognise("x", [f"{name}/a/1.png", f"{name}/b/1.png"])
    assert found.name == "in parts" and [one.part for one in found.found] == [part] * 2


@pytest.mark.parametrize(("mode", "channels"), [("1", 1), ("L", 1), ("LA", 1), ("I;16", 1), ("P", 3), ("RGB", 3),
                                                ("RGBA", 3)])
def test_which_images_count_as_grey(tmp_path, mode, channels):
    for number in range(2):
        fill(tmp_path, f"{'ab'[number]}/x.png")
        Image.new(mode, (6, 5)).save(tmp_path / "ab"[number] / "x.png")
    assert scan_folder(tmp_path).sizes.tolist() == [[5, 6, channels]] * 2


@pytest.mark.parametrize("above", ["", "IDC_regular_ps50_idx5/"])
def test_idc(tmp_path, above):
    fill(tmp_path / above, idc(9, 0, 1, 51), idc(9, 1, 101, 7), idc(10, 0, 5, 6), idc(10, 1, 8, 9), size=(50, 50))
    found = scan_folder(tmp_path)
    assert found.layout == "IDC patches" and found.classes == ("0", "1")
    assert found.names == tuple(above + name for name in (idc(9, 0, 1, 51), idc(9, 1, 101, 7), idc(10, 0, 5, 6),
                                                          idc(10, 1, 8, 9)))
    assert found.groups.tolist() == ["9", "9", "10", "10"] and found.group_name == "patients"
    assert found.positions.tolist() == [[1, 51], [101, 7], [5, 6], [8, 9]] and found.labels.tolist() == [0, 1, 0, 1]


def test_idc_twice_as_kaggle_packs_it(tmp_path):
    fill(tmp_path, *(above + name for above in ("", "IDC_regular_ps50_idx5/")
                     for name in (idc(9, 0, 1, 51), idc(9, 1, 101, 7))))
    found = scan_folder(tmp_path)
    assert found.names == (idc(9, 0, 1, 51), idc(9, 1, 101, 7))
    assert "left out 2 files elsewhere" in found.report()


def test_other_files_among_patients_are_elsewhere(tmp_path):
    """Folders that are no class of a patient, and files that lie higher or deeper."""
    fill(tmp_path, idc(9, 0, 1, 51), idc(9, 1, 101, 7), "9/mask/a.png", "notes/0/a.png", "9/12/a.png", "9/0/deep/a.png",
         "9/7", "9/a.png")
    found = scan_folder(tmp_path)
    assert found.names == (idc(9, 0, 1, 51), idc(9, 1, 101, 7)) and not found.skipped
    assert "left out 5 files elsewhere in the folder, the first is 9/0/deep/a.png" in found.report()


@pytest.mark.parametrize(("name", "folders"), [
    ("a folder for each class", {"x/cat/": "cat", "cat/": None, "x/": None, "x/cat/deep/": None}),
    ("in parts", {"x/train/cat/": "cat", "x/Test/cat/": "cat", "x/other/cat/": None, "train/cat/": None, "x/cat/": None,
                  "x/train/cat/deep/": None}),
    ("IDC patches", {"x/9/1/": "1", "x/9/12/": None, "x/a/1/": None, "x/9/": None, "9/1/": None, "x/9/a/": None})])
def test_the_class_that_a_folder_would_be(name, folders):
    layout = Layout(name, "x/", [], [], [])
    assert {folder: layout.class_of(folder) for folder in folders} == folders


def test_idc_of_one_patient_alone(tmp_path):
    found = scan_folder(fill(tmp_path, idc(9, 0, 1, 51), idc(9, 1, 101, 7)) / "9")
    assert found.layout == "a folder for each class" and found.groups.tolist() == ["9", "9"]
    assert found.positions.tolist() == [[1, 51], [101, 7]]


def test_idc_names_that_do_not_fit(tmp_path):
    good = [idc(9, label, x, 1) for label in (0, 1) for x in range(1, 301, 50)]
    fill(tmp_path, *good, "9/0/9_idx5_x1_y1_class1.png", "9/1/8_idx5_x1_y1_class1.png", "9/1/other.png")
    assert [(one.name, one.reason) for one in scan_folder(tmp_path).skipped] == [
        ("9/0/9_idx5_x1_y1_class1.png", "is in 9/0, but its name says patient 9, class 1; move it"),
        ("9/1/8_idx5_x1_y1_class1.png", "is in 9/1, but its name says patient 8, class 1; move it"),
        ("9/1/other.png", "must have a name of the form PATIENT_idx5_xX_yY_classC.png; rename it")]


def test_groups_by_a_pattern(tmp_path):
    fill(tmp_path, "a/p1_x.png", "a/p1_y.png", "b/p22_x.png")
    assert scan_folder(tmp_path).groups is None
    found = scan_folder(tmp_path, groups=r"^p(\d+)_")
    assert found.groups.tolist() == ["1", "1", "22"] and found.group_name == r"what '^p(\\d+)_' finds in the file names"
    for pattern, error, message in ((r"p(\d", ArgumentError, "must be a regular expression"),
                                    (r"p\d+", ArgumentError, "must have one group in parentheses, .* has 0"),
                                    (r"(p)(\d+)", ArgumentError, "must have one group in parentheses, .* has 2"),
                                    (r"p1|p(22)", DataError, r"must be found in every file name, .* is not in p1_x"),
                                    ("(y)", DataError, r"must be found in every file name, '\(y\)' is not in p1_x")):
        with pytest.raises(error, match=f"scan_folder: groups {message}"):
            scan_folder(tmp_path, groups=pattern)
    fill(tmp_path / "x", "NORMAL/IM-0001-1.jpeg", "SICK/person1_x.jpeg")
    assert scan_folder(tmp_path / "x").groups.tolist() == ["IM-1", "person1"]
    assert scan_folder(tmp_path / "x", groups=None).groups is None


@pytest.mark.parametrize(("names", "message"), [
    ([], "found no files at all; sort the images"),
    (["a.png", "b.png"], "found 2 files, the first is a.png"),
    (["a/x.png", "a/y.png"], "must hold a folder of images for each of at least 2 classes"),
    (["a/x.txt", "b/x.txt"], "found 2 files, the first is a/x.txt"),
    (["1/a/x.png", "1/b/x.png", "2/a/x.png", "2/b/x.png"], "must hold one set of images, holds 2: 1, 2; name one"),
    (["1/2/3/a/x.png", "1/2/3/b/x.png"], "found 2 files"),
])
def test_no_layout(tmp_path, names, message):
    with pytest.raises(DataError, match=rf"scan_folder: .*{message}"):
        scan_folder(fill(tmp_path, *names))


def test_folders_that_are_none(tmp_path):
    with pytest.raises(DataError, match=r"nothing is not there; name the folder"):
        scan_folder(tmp_path / "nothing")
    with pytest.raises(DataError, match=r"file\.txt is not a folder; name"):
        scan_folder(fill(tmp_path, "file.txt") / "file.txt")


def test_natural_order():
    names = ["", "09", "9", "10", "A", "a", "a9b", "a10b", "²"]
    assert sorted(names[::-1], key=natural) == names
    assert sorted(["20230102101500", "3", "9999999999999"], key=natural) == ["3", "9999999999999", "20230102101500"]
    for digits in (400, 5000):  # Python reads no integer of that many
        assert sorted(["1" * digits, "2"], key=natural) == ["2", "1" * digits]
    assert sorted(["\u0662", "10"], key=natural) == ["10", "\u0662"]  # other digits count as letters


# --- unusable files --------------------------------------------------------------------------------------------

def many(root, count=20):
    return fill(root, *(f"{label}/{number}.png" for label in "ab" for number in range(count)))


def test_unusable_files_are_named_and_skipped(tmp_path):
    outside = fill(tmp_path / "outside", "x.png")
    root = many(tmp_path / "root")
    good = (root / "a" / "0.png").read_bytes()
    for name, content in [("empty.png", b""), ("cut.png", good[:-32]), ("text.png", b"hello"), ("notes.txt", b"x")]:
        (root / "a" / name).write_bytes(content)
    os.symlink(outside / "x.png", root / "a" / "out.png")
    os.symlink(fill(tmp_path / "root-2", "y.png") / "y.png", root / "a" / "beside.png")
    os.symlink(root / "a" / "1.png", root / "a" / "inside.png")
    os.symlink(root / "nothing.png", root / "b" / "broken.png")
    os.symlink(outside, root / "c")
    os.symlink(root / "b" / "loop.png", root / "b" / "loop.png")
    os.mkfifo(root / "b" / "pipe.png")
    (root / "b" / "line\nbreak.png").write_bytes(b"")
    Path(os.fsdecode(os.fsencode(root) + b"/b/\xff.png")).write_bytes(good)
    found = scan_folder(root)
    assert len(found) == 41 and "a/inside.png" in found.names
    reasons = {one.name: one.reason for one in found.skipped}
    assert len(reasons) == len(found.skipped) == 12 and list(reasons) == sorted(reasons)
    for name, reason in [("a/empty.png", "is empty; copy it again"), ("a/cut.png", "is damaged"),
                         ("a/text.png", "must be a PNG, JPEG, WebP, BMP, TIFF or GIF, starts with 68 65 6c"),
                         ("a/notes.txt", "is not named .png, .jpg, .webp, .bmp, .tif or .gif; convert it"),
                         ("a/out.png", "is a link out of the folder; copy the file itself"),
                         ("a/beside.png", "is a link out of the folder; copy the file itself"),
                         ("b/broken.png", "is not there"), ("c/", "is a link to a folder; copy the folder itself"),
                         ("b/loop.png", "is not there|cannot be read"),
                         ("b/pipe.png", "is not a regular file"), ("b/line\nbreak.png", "is empty"),
                         ("b/\udcff.png", "has a name that is not UTF-8; rename it")]:
        assert re.match(reason, reasons[name])
    report = found.report()
    assert "skipped 12 files:" in report and "a/empty.png is empty" in report
    assert all(line.isprintable() for line in report.split("\n")) and "b/line\\nbreak.png is empty" in report


def test_the_name_of_a_folder_is_printable(tmp_path):
    odd = fill(tmp_path / "red\x1b[31m\nline", "cat/1.png")
    with pytest.raises(DataError, match=r"scan_folder: .*red.x1b\[31m.nline must hold a folder of images"):
        scan_folder(odd)


def test_too_many_unusable_files_are_refused(tmp_path):
    root = many(tmp_path, 8)
    for number in range(5):
        (root / "a" / f"empty{number}.png").write_bytes(b"")
    found = scan_folder(root)
    assert len(found) == 16 and len(found.skipped) == 5
    (root / "a" / "empty5.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"at most 25% may be unusable, but 6 of 22 are; (?s:.*)\n  a/empty0.png is"):
        scan_folder(root)
    assert len(scan_folder(root, max_skipped=0.5)) == len(scan_folder(root, max_skipped=6 / 22)) == 16
    unchecked = scan_folder(root, check=False)
    assert len(unchecked) == 22 and unchecked.sizes is None and "height" not in unchecked.report()


def test_images_are_listed_in_natural_order(tmp_path):
    fill(tmp_path, "b/10.png", "b/9.PNG", "a.jpeg", "b/c/1.jpg", "notes.txt", ".hidden/1.png")
    assert folder.list_images(tmp_path) == (["a.jpeg", "b/9.PNG", "b/10.png", "b/c/1.jpg"], ["notes.txt"])
    fill(tmp_path / "empty", "notes.txt")
    with pytest.raises(DataError, match=r"must hold images, PNG, JPEG, .* or GIF, and holds none"):
        folder.list_images(tmp_path / "empty")


def test_a_long_list_of_skipped_files_is_cut(tmp_path):
    root = many(tmp_path)
    for number in range(13):
        (root / "a" / f"empty{number}.png").write_bytes(b"")
    report = scan_folder(root).report()
    assert report.count("is empty") == 10 and report.endswith("... and 3 more")
    for number in range(3):
        (root / "a" / f"empty{number}.png").unlink()
    report = scan_folder(root).report()
    assert report.count("is empty") == 10 and "..." not in report


@pytest.mark.parametrize("count", [10, 11])
def test_a_long_list_of_copies_is_cut(tmp_path, count):
    """Of the images, and of the copies of one."""
    pairs = np.arange(2 * count)
    made = folder.ImageFolder(tmp_path, "by hand", tuple(f"{i}.png" for i in pairs), pairs % 2, ("a", "b"),
                              np.full(2 * count, ""), copies=pairs // 2)
    report = made.report()
    assert f"{count} identical images in more than one class" in report and report.count(" = ") == 10
    assert report.endswith("    ...") == (count > 10)
    report = replace(made, copies=np.where(pairs < count, 0, pairs)).report()
    assert report.count(" = ") == 9 and report.endswith("9.png" + " and 1 more" * (count > 10))


def test_a_class_of_damaged_images_alone(tmp_path):
    root = fill(tmp_path, *(f"a/{number}.png" for number in range(9)))
    (root / "b").mkdir()
    (root / "b" / "x.png").write_bytes(b"")
    with pytest.raises(DataError, match="must hold images of at least 2 classes, holds readable ones of 1; add"):
        scan_folder(root)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_unreadable_folder_and_file(tmp_path):
    root = many(tmp_path)
    (root / "a" / "0.png").chmod(0)
    (root / "c").mkdir(stat.S_IWUSR)
    reasons = {one.name: one.reason for one in scan_folder(root).skipped}
    assert reasons.keys() == {"a/0.png", "c/"} and all("Permission denied" in reason for reason in reasons.values())


def test_unreadable_folders_are_named(tmp_path, monkeypatch):
    root, listing = many(tmp_path), os.scandir

    def scandir(path):
        if str(path).endswith("/a/deep"):
            raise PermissionError(13, "Permission denied")
        return listing(path)

    monkeypatch.setattr(os, "scandir", scandir)
    (root / "a" / "deep").mkdir()
    found = scan_folder(root)
    assert len(found) == 40
    assert found.skipped == (("a/deep/", "cannot be read (Permission denied); check its permissions"),)


def test_a_folder_that_cannot_be_read_is_an_error(tmp_path, monkeypatch):
    def scandir(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(os, "scandir", scandir)
    for read in (scan_folder, folder.list_images):
        with pytest.raises(DataError, match=r"cannot be read \(Permission denied\); check its permissions"):
            read(tmp_path)


def test_images_are_checked_by_as_many_threads_as_are_asked_for(tmp_path, monkeypatch):
    """Not at all without a check."""
    asked, prefetch, root = [], folder.prefetch, many(tmp_path, 70)
    monkeypatch.setattr(folder, "prefetch", lambda *given: asked.append(given[1:]) or prefetch(*given))
    expected = scan_folder(root)
    for threads in (0, 3):
        assert (scan_folder(root, threads=threads).copies == expected.copies).all()
    assert asked == [(range(0, 140, 64), threads) for threads in (None, 0, 3)]
    scan_folder(root, check=False)
    assert len(asked) == 3


def test_a_deep_layout_of_two_classes_comes_before_one_of_a_single_class(tmp_path):
    fill(tmp_path, "top/a.png", "data/x/cat/1.png", "data/x/dog/1.png")
    found = scan_folder(tmp_path, min_classes=1)
    assert found.classes == ("cat", "dog") and "left out 1 file elsewhere" in found.report()


def test_a_name_of_a_stand_in_counts_at_the_top_alone(tmp_path):
    fill(many(tmp_path, 2), "b/STAND-IN.txt")
    found = scan_folder(tmp_path)
    assert not found.stand_in and [one.name for one in found.skipped] == ["b/STAND-IN.txt"]


def test_deep_folders_end(tmp_path):
    deep = many(tmp_path) / Path(*"cdefghijkl")
    fill(deep, "x.png")
    found = scan_folder(tmp_path)
    assert len(found) == 40
    assert [one.name for one in found.skipped] == ["c/d/e/f/g/h/"]


# --- every folder and file is accounted for -----

@pytest.mark.parametrize(("names", "note"), [
    (["c/"], "c/ is not a class: it holds no images"),
    (["c/1/x.png", "c/2/x.png"], "c/ is not a class: it has 2 images in folders inside it only; move them up"),
    (["c/empty.png", "c/empty.jpg"], "c/ is not a class: it holds 2 files and no usable image"),
    (["c/notes.txt"], "c/ is not a class: it holds 1 file and no usable image"),
    (["c/deep/"], "c/ is not a class: it holds no images"),
])
@pytest.mark.parametrize("part", ["", "data/", "train/"])
def test_a_folder_of_a_class_without_images_is_named(tmp_path, names, note, part):
    many(tmp_path / part)
    if part == "train/":
        many(tmp_path / "test", 2)
    for name in names:
        if name.endswith("/"):
            (tmp_path / part / name).mkdir(parents=True)
        elif "empty" in name:
            fill(tmp_path / part, name)
            (tmp_path / part / name).write_bytes(b"")
        else:
            fill(tmp_path / part, name)
    found = scan_folder(tmp_path)
    assert found.classes == ("a", "b") and f"\n  {part}{note}" in found.report()
    assert found.report().count("is not a class") == 1


def test_classes_that_differ_in_case_alone_are_named(tmp_path):
    fill(tmp_path, "Cat/1.png", "cat/1.png", "dog/1.png", "dog/2.png")
    if len(os.listdir(tmp_path)) < 3:
        pytest.skip("this file system does not tell upper from lower case")
    found = scan_folder(tmp_path)
    assert found.classes == ("Cat", "cat", "dog")
    assert "  Cat and cat are 2 classes whose names differ in case alone; move their images into one" in found.report()


def test_a_relative_folder_stays_after_chdir(tmp_path, monkeypatch):
    fill(tmp_path / "here" / "data", "a/1.png", "b/1.png")
    (tmp_path / "there").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    found, images = scan_folder("data"), Images("data", ["a/1.png"], size=(8, 8))
    monkeypatch.chdir(tmp_path / "there")
    assert found.root == tmp_path / "here" / "data"
    assert len(found.images((8, 8))[:]) == 2 and len(images[:]) == 1


def test_the_last_but_one_class_is_named_in_the_error(tmp_path):
    fill(tmp_path, *(f"a/{number}.png" for number in range(9)), "b/x.png")
    (tmp_path / "b" / "x.png").write_bytes(b"")
    with pytest.raises(DataError, match=r"readable ones of 1; .*; b/ is not a class: it holds 1 file and no us"):
        scan_folder(tmp_path)


@pytest.mark.parametrize("name", ["Thumbs.db", "desktop.ini", "ehthumbs.db", "DESKTOP.INI", "@eaDir/x.png", "Icon\r",
                                  "$RECYCLE.BIN/x.png", "System Volume Information/x.png"])
def test_files_that_systems_leave_behind_are_ignored(tmp_path, name):
    found = scan_folder(fill(tmp_path, "a/x.png", "b/x.png", f"a/{name}", f"b/{name}", name))
    assert len(found) == 2 and not found.skipped and not found.notes


@pytest.mark.parametrize(("make", "reason"), [
    (lambda root, store: [(root / name).symlink_to(store / name) for name in "ab"], "is a link to a folder"),
    (lambda root, store: [os.rename(store / name, os.fsencode(root) + b"/\xff" + name.encode()) for name in "ab"],
     "has a name that is not UTF-8"),
])
def test_an_error_without_a_layout_says_what_was_skipped(tmp_path, make, reason):
    many(tmp_path / "store", 2)
    (tmp_path / "root").mkdir()
    make(tmp_path / "root", tmp_path / "store")
    with pytest.raises(DataError, match=f"found no files at all, and 2 that cannot be used, .* is .*/, which {reason}"):
        scan_folder(tmp_path / "root")


def test_one_class_among_links_is_named(tmp_path):
    root = many(tmp_path / "root")
    (root / "c").symlink_to(root / "a")
    report = scan_folder(root).report()
    assert "c/ is a link to a folder" in report and "is not a class" not in report


def test_spellings_of_one_name_are_one_class(tmp_path):
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    found = scan_folder(fill(tmp_path, f"{decomposed}/x.png", f"{composed}/y.png", "tea/z.png"))
    assert found.classes == (composed, "tea") and found.labels.tolist() == [0, 0, 1]
    assert (tmp_path / found.names[0]).exists() and (tmp_path / found.names[1]).exists()
    names = f"train/{decomposed}/x.png", f"test/{composed}/y.png", "train/b/z.png"
    found = scan_folder(fill(tmp_path / "parts", *names))
    assert found.classes == ("b", composed) and not found.notes


@pytest.mark.parametrize("suffix", [".jfif", ".JFIF", ".jpe", ".jif", ".pjpeg", ".pjp", ".webp", ".bmp", ".dib", ".tif",
                                    ".tiff", ".gif"])
def test_other_names_of_jpeg(tmp_path, suffix):
    """The content tells the format."""
    for name in "ab":
        os.rename(fill(tmp_path, f"{name}/x.jpg") / name / "x.jpg", tmp_path / name / f"x{suffix}")
    assert scan_folder(tmp_path).names == (f"a/x{suffix}", f"b/x{suffix}")


@pytest.mark.parametrize("names", [["cat/x.png"], ["test/cat/x.png"], ["data/cat/x.png"]])
def test_one_class_if_that_is_enough(tmp_path, names):
    fill(tmp_path, *names, "x.png")
    with pytest.raises(DataError, match="at least 2 classes"):
        scan_folder(tmp_path)
    found = scan_folder(tmp_path, min_classes=1)
    assert found.classes == ("cat",) and len(found) == 1
    fill(tmp_path, *(name.replace("cat", "dog") for name in names))
    assert scan_folder(tmp_path, min_classes=1).names == scan_folder(tmp_path).names
    with pytest.raises(ArgumentError, match="min_classes must be 1 or 2, got 0"):
        scan_folder(tmp_path, min_classes=0)


def coloured(root, *names):
    """Images whose pixels depend on the file name without its folder, so that equal names are equal files."""
    for name in names:
        path = Path(root, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (3, 3), (int(path.stem.partition("_")[0]), 0, 0)).save(path)
    return Path(root)


def together(found, fold):
    parts = [set(found.copies[part].tolist()) for part in (fold.train, fold.validation, fold.test)]
    return not (parts[0] & parts[1] or parts[0] & parts[2] or parts[1] & parts[2])


@pytest.mark.parametrize("seed", range(3))
def test_copies_of_an_image_stay_in_one_part(tmp_path, seed):
    names = [f"{'ab'[number % 2]}/{number}_{copy}.png" for number in range(30) for copy in range(1 + number % 3)]
    found = scan_folder(coloured(tmp_path, *names), groups=None)
    assert "  30 images equal to others, byte for byte" in found.report() and "more than one" not in found.report()
    fold, = folds(found, seed=seed)
    assert_parts(np.arange(60), fold.train, fold.validation, fold.test)
    assert together(found, fold) and "identical" not in fold.sentence
    part = found.select(np.arange(10, 60))
    fold, = folds(part, seed=seed)
    assert together(part, fold)
    plain, = folds(scan_folder(tmp_path, groups=None, check=False), seed=seed)  # what is not read is not compared
    assert not together(found, plain)


def test_copies_in_given_parts_are_said(tmp_path):
    names = [f"{part}/{'ab'[number % 2]}/{number}_{part}.png" for part, start in (("train", 0), ("test", 37))
             for number in range(start, start + 40)]
    found = scan_folder(coloured(tmp_path, *names))
    assert "  3 identical images in more than one part" in found.report()
    fold, = folds(found, seed=0)
    count = len(set(found.copies[fold.test]) & set(found.copies[fold.train]))
    assert count and f"; {count} test images identical to training images" in fold.sentence


@pytest.mark.parametrize("part", ["val", "test"])
def test_copies_in_one_given_part_are_said_of_it_alone(tmp_path, part):
    names = [f"{where}/{'ab'[number % 2]}/{number}_{where}.png" for where, start in (("train", 0), ("val", 50),
             ("test", 100)) for number in range(start, start + 20)]
    names += [f"{part}/a/{number}_copy.png" for number in (0, 2, 4)]
    fold, = folds(scan_folder(coloured(tmp_path, *names)), seed=0)
    what = {"val": "validation", "test": "test"}[part]
    assert fold.sentence.endswith(f"; 3 {what} images identical to training images")
    assert fold.sentence.count("identical") == 1


def test_copies_in_both_given_parts_are_said_of_each(tmp_path):
    names = [f"{where}/{'ab'[number % 2]}/{number}_{where}.png" for where, start in (("train", 0), ("val", 50),
             ("test", 100)) for number in range(start, start + 20)]
    names += [f"{part}/a/{number}_copy.png" for part, some in (("val", (0, 2, 4)), ("test", (6, 8))) for number in some]
    fold, = folds(scan_folder(coloured(tmp_path, *names)), seed=0)
    for said in ("3 validation images", "2 test images"):
        assert f"; {said} identical to training images" in fold.sentence


def test_copies_of_patients_do_not_join_them(tmp_path):
    names = [f"{'ab'[number % 2]}/{number // 2}_p{number % 8}.png" for number in range(80)]
    found = scan_folder(coloured(tmp_path, *names), groups=r"_p(\d+)")
    assert "40 identical images in more than one class" in found.report()
    fold, = folds(found, seed=0)
    assert not set(found.groups[fold.train]) & set(found.groups[fold.test])
    assert "test images identical to training images" in fold.sentence


# --- the images -----------------------------------------------------------------------------------------------------

def test_images_and_selections(tmp_path):
    fill(tmp_path, "train/a/x.png", "train/b/x.png", "test/a/x.png", "test/b/y.png")
    Image.new("L", (9, 9), 200).save(tmp_path / "test" / "b" / "y.png")
    found = scan_folder(tmp_path, groups="(.)")
    part = found.select(found.part_of == "test")
    assert part.names == ("test/a/x.png", "test/b/y.png") and part.labels.tolist() == [0, 1]
    assert part.groups.tolist() == ["x", "y"] and part.parts == ("test",) and part.classes == ("a", "b")
    assert part.sizes.tolist() == [[4, 5, 3], [9, 9, 1]] and "4 x 5 to 9 x 9; 1 grey" in part.report()
    pictures = part.images((6, 7), channels=1)
    assert pictures.shape == (2, 6, 7, 1) and pictures[[1, 0]][:, 0, 0, 0].tolist() == [200, 3]
    assert part.copies.tolist() == found.copies[found.part_of == "test"].tolist() and len(part.copies) == 2
    assert found.select([3, 1]).names == (found.names[3], found.names[1])


def test_a_listing_has_the_size_of_each_file(tmp_path):
    fill(tmp_path, "a/1.png", "b/2.png")
    sizes = [(tmp_path / name).stat().st_size for name in ("a/1.png", "b/2.png")]
    pictures = scan_folder(tmp_path).images(8)
    assert pictures.listing() == f"a/1.png {sizes[0]}\nb/2.png {sizes[1]}"
    Image.new("RGB", (90, 90), (3, 3, 3)).save(tmp_path / "b" / "2.png")
    grown = (tmp_path / "b" / "2.png").stat().st_size
    (tmp_path / "a" / "1.png").unlink()
    assert grown != sizes[1] and pictures.listing() == f"a/1.png 0\nb/2.png {grown}"


# --- splits ---------------------------------------------------------------------------------------------------------

def assert_parts(whole, *parts):
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), whole)
    assert all(part.dtype == np.int64 and (np.diff(part) > 0).all() and len(part) for part in parts)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("parts", [("",), ("train/", "test/"), ("train/", "val/", "test/"), ("train/", "val/")])
def test_no_patient_is_in_two_parts_wherever_its_images_lie(tmp_path, seed, parts):
    """Patients alternate in both classes and parts; with parts, each part has patients of its own."""
    fill(tmp_path, *(f"{part}{label}/{i:02d}_p{12 * k + i * 5 % 12}.png" for k, part in enumerate(parts)
                     for label in "ab" for i in range(36)))
    found = scan_folder(tmp_path, groups=r"_p(\d+)")
    fold, = folds(found, seed=seed)
    groups = [{*found.groups[part].tolist()} for part in (fold.train, fold.validation, fold.test)]
    assert all(groups) and sum(map(len, groups)) == len({*found.groups.tolist()}) == 12 * len(parts)
    assert sorted([*fold.train, *fold.validation, *fold.test]) == list(range(len(found)))


@pytest.mark.parametrize("seed", range(5))
def test_groups_stay_together_and_classes_balanced(seed):
    rng = np.random.default_rng(seed)
    groups = rng.integers(0, 120, 1000) * 7
    labels = (rng.random(1000) < 0.2 + 0.5 * (groups % 2)).astype(int)
    train, validation = split_groups(labels, groups, 0.2, seed=seed)
    assert_parts(np.arange(1000), train, validation)
    assert not {*groups[train]} & {*groups[validation]}
    for label in (0, 1):
        assert abs((labels[validation] == label).sum() / (labels == label).sum() - 0.2) < 0.02


def test_labels_and_groups_may_be_lists():
    labels, groups = [0, 0, 1, 1, 0, 1, 0, 1], [3, 3, 3, 3, 5, 5, 8, 8]
    for given in (None, groups):
        for lists, arrays in zip(split_groups(labels, given, 0.25, seed=0),
                                 split_groups(np.array(labels), given and np.array(given), 0.25, seed=0), strict=True):
            np.testing.assert_array_equal(lists, arrays)


def test_without_groups_every_class_is_parted_alike():
    labels = np.repeat([0, 1, 2], [100, 50, 10])
    train, validation = split_groups(labels, None, 0.2, seed=3)
    assert_parts(np.arange(160), train, validation)
    assert np.bincount(labels[validation]).tolist() == [20, 10, 2]
    assert validation[:20].tolist() != list(range(20))


def test_splits_depend_on_the_seed_alone():
    labels, groups = np.arange(300) % 3, np.arange(300) // 5
    for given in (groups, None):
        first, again, other = (split_groups(labels, given, 0.3, seed=seed)[1].tolist() for seed in (1, 1, 2))
        assert first == again != other
        random.seed(2)
        assert split_groups(labels, given, 0.3)[1].tolist() == other


def test_splits_are_fixed():
    """A newer version must repeat the runs of an older one."""
    labels, groups = np.arange(24) % 3, np.arange(24) // 2 % 9
    assert split_groups(labels, None, 0.3, seed=0)[1].tolist() == [1, 10, 12, 13, 14, 17, 21]
    assert split_groups(labels, groups, 0.3, seed=0)[1].tolist() == [6, 7, 8, 9, 16, 17]
    assert split_groups(labels, groups, 0.25, seed=5)[1].tolist() == [6, 7, 8, 9, 10, 11]


def test_the_best_of_sixteen_orders_of_the_groups_is_used(monkeypatch):
    """Of some seed the last one, and no more."""
    rng = np.random.default_rng(0)
    groups = rng.integers(0, 12, 80)
    labels = (rng.random(80) < 0.3 + 0.3 * (groups % 2)).astype(int)
    orders = []
    monkeypatch.setattr(splits, "permutation", lambda *given, **key: orders.append(key["step"]) or random.permutation(
        *given, **key))
    for seed in (11, 1):
        taken = split_groups(labels, groups, 0.3, seed=seed)[1]
        counts = np.stack([np.bincount(groups[labels == k], minlength=12) / (labels == k).sum() for k in (0, 1)], 1)
        each = []
        for step in range(16):
            missing, chosen = np.full(2, 0.3), np.zeros(12, bool)
            for group in random.permutation(12, (seed, random.stream("split")), step):
                after = missing - counts[group]
                if (after**2).sum() < (missing**2).sum():
                    missing, chosen[group] = after, True
            each.append(((missing**2).sum(), np.flatnonzero(chosen[groups]).tolist()))
        assert taken.tolist() == min(each, key=lambda one: one[0])[1]
    assert orders == [*range(16)] * 2 and min(range(16), key=lambda step: each[step][0]) != 15


@pytest.mark.parametrize(("labels", "groups", "fraction", "message"), [
    ([0, 1], None, 0.0, "fraction must lie between 0 and 1, got 0.0; try 0.2"),
    ([0, 1], None, 1.5, "fraction must lie between 0 and 1"),
    ([0, 1], [1], 0.5, "groups must have the length of labels, 2, got 1; one for each image"),
    ([0, 1], [1, 1], 0.5, "both parts must have at least 1 element, but fraction 0.5 of 1 group leaves one empty"),
    ([0], None, 0.5, "fraction 0.5 of 1 image leaves one empty; change fraction, or take more data"),
    ([], None, 0.5, "of 0 images"), ([], [], 0.5, "of 0 groups"),
])
def test_split_arguments(labels, groups, fraction, message):
    with pytest.raises(ArgumentError, match=f"split_groups: .*{message}"):
        split_groups(np.array(labels, int), None if groups is None else np.array(groups), fraction, seed=0)


def test_strip_is_a_strip_with_all_classes():
    x, y = (axis.reshape(-1) for axis in np.meshgrid(np.arange(20) * 50, np.arange(10) * 50))
    labels = (y > 220).astype(int)  # horizontal halves: only a strip at the left or right has both
    rest, end = splits.strip(np.stack([x, y], axis=1), labels, 0.2)
    assert_parts(np.arange(200), rest, end)
    assert x[end].max() < x[rest].min() or x[end].min() > x[rest].max()
    assert len(end) == 40 and labels[end].mean() == 0.5
    with pytest.raises(ArgumentError, match="strip: patches must be in at least 2 columns or rows, got 3 in one"):
        splits.strip(np.zeros((3, 2), int), np.array([0, 1, 0]), 0.2)
    with pytest.raises(ArgumentError, match="strip: fraction"):
        splits.strip(np.zeros((3, 2), int), np.array([0, 1, 0]), 1.0)


def test_the_strip_of_the_most_similar_shares_is_taken_not_the_largest():
    """Four patches of one class on the left, three of both on the right."""
    x = np.array([0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8])
    labels = np.array([0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 1, 1])
    for axis in (0, 1):
        positions = np.zeros((12, 2), int)
        positions[:, axis] = x
        for sign in (1, -1):
            rest, end = splits.strip(sign * positions, labels, 0.2)
            assert end.tolist() == [9, 10, 11] and rest.tolist() == list(range(9))


def test_a_strip_may_lack_the_last_class():
    positions = np.stack([np.arange(10), np.zeros(10, int)], axis=1)
    rest, end = splits.strip(positions, np.array([0, 1, 0, 1, 2, 2, 0, 1, 0, 0]), 0.2)
    assert end.tolist() == [0, 1] and rest.tolist() == list(range(2, 10))


def test_a_slide_without_patches():
    with pytest.raises(ArgumentError, match="strip: patches must be in at least 2 columns or rows, got 0 in one"):
        splits.strip(np.zeros((0, 2), int), np.zeros(0, int), 0.2)


def test_folds_of_many_patients(tmp_path):
    found = scan_folder(write_idc_stand_in(tmp_path / "x", patients=10, patches=20, seed=1), check=False)
    fold, = folds(found, seed=4)
    assert_parts(np.arange(200), fold.train, fold.validation, fold.test)
    groups = [{*found.groups[part]} for part in (fold.train, fold.validation, fold.test)]
    assert [len(each) for each in groups] == [6, 2, 2] and len(set.union(*groups)) == 10
    assert fold.sentence == "test and validation: shares of 20% and 20%, by patients"
    assert folds(found, seed=5)[0].test.tolist() != fold.test.tolist()
    fold, = folds(found, validation=0.1, test=0.3, seed=4)
    assert [len(fold.train), len(fold.validation), len(fold.test)] == [120, 20, 60]
    assert fold.sentence.startswith("test and validation: shares of 30% and 10%")


def test_folds_of_two_patients_leave_one_out(tmp_path):
    found = scan_folder(write_idc_stand_in(tmp_path / "x", patients=2, patches=64, seed=1), check=False)
    first, second = folds(found)
    for fold, patient in ((first, "90001"), (second, "90002")):
        assert_parts(np.arange(128), fold.train, fold.validation, fold.test)
        assert {*found.groups[fold.test]} == {patient} and patient not in found.groups[fold.train]
        inside, outside = found.positions[fold.validation], found.positions[fold.train]
        assert any(inside[:, axis].max() < outside[:, axis].min() or inside[:, axis].min() > outside[:, axis].max()
                   for axis in (0, 1))
        assert fold.sentence == f"test: patient {patient}; validation: a strip of the slide of the others"


def test_folds_of_one_patient(tmp_path):
    found = scan_folder(write_idc_stand_in(tmp_path / "x", patients=1, patches=64, seed=1), check=False)
    fold, = folds(found)
    assert_parts(np.arange(64), fold.train, fold.validation, fold.test)
    assert "the only one" in fold.sentence
    wide, = folds(found, validation=0.4, test=0.1)
    assert len(wide.validation) > len(fold.validation) > 0 and len(wide.test) < len(fold.test)


def test_the_share_to_validate_is_the_one_that_is_asked_for(tmp_path):
    """Of the slides of other patients, of the part `train`, and of what is not in the test part of a fold."""
    def patients(count, patches):
        number = np.arange(count * patches)
        return folder.ImageFolder(tmp_path, "by hand", tuple(map(str, number)), number % 2, ("a", "b"),
                                  np.full(len(number), ""), groups=number // patches, group_name="patients",
                                  positions=np.stack([number // 8, number % 8], axis=1))

    two = patients(2, 64)
    for fold in folds(two, validation=0.5):
        assert len(fold.validation) == len(fold.train) == 32
    names = [f"{part}/{'ab'[number % 2]}/{number}.png" for part in ("train", "test") for number in range(100)]
    kept = folder._folder(Path("x"), "in parts", [(one, None) for one in recognise("x", names).found], [], [], None,
                          False, 2)
    fold, = folds(kept, validation=0.3, test=0.9, seed=0)
    assert [len(fold.train), len(fold.validation), len(fold.test)] == [70, 30, 100] and "30% of" in fold.sentence
    without = replace(kept, part_of=np.full(200, "train"))
    fold, = folds(without, validation=0.5, test=0.25, seed=0)
    assert [len(fold.train), len(fold.validation), len(fold.test)] == [75, 75, 50]
    for fold in cross_folds(kept, 4, validation=0.4, seed=0):
        assert [len(fold.train), len(fold.validation), len(fold.test)] == [45, 30, 25]
    for fold in cross_folds(kept, 4, seed=0):
        assert [len(fold.train), len(fold.validation), len(fold.test)] == [60, 15, 25], "a fifth by default"
    five = patients(5, 20)
    for fold in cross_folds(five, 5, validation=0.01, seed=0):
        assert [len(fold.train), len(fold.validation), len(fold.test)] == [60, 20, 20], "one patient at least"


def test_a_single_patient_to_train_on_without_positions(tmp_path):
    """A share of the images is to validate on."""
    names = [f"{'ab'[number % 2]}/{number}_p{number // 10}.png" for number in range(20)]
    found = scan_folder(fill(tmp_path, *names), groups=r"_p(\d)", check=False)
    for fold in cross_folds(found, 2, validation=0.3, seed=0):
        assert [len(fold.train), len(fold.validation), len(fold.test)] == [7, 3, 10]


def test_the_last_seed_divides_where_none_is_given(tmp_path):
    names = [f"{'ab'[number % 2]}/{number}.png" for number in range(40)]
    found = scan_folder(fill(tmp_path, *names), groups=None, check=False)
    for split in (lambda **seed: folds(found, **seed)[0], lambda **seed: cross_folds(found, 3, **seed)[0]):
        random.seed(3)
        last, same, other = split(), split(seed=3), split(seed=4)
        for part in ("train", "validation", "test"):
            assert getattr(last, part).tolist() == getattr(same, part).tolist() != getattr(other, part).tolist()


def test_strips_of_one_slide_are_shares_of_all_its_patches(tmp_path):
    """A hundred in a row: 20 to test, and of the other 80, 20 to validate."""
    labels, groups = np.arange(100) % 2, np.full(100, "7")
    positions = np.stack([np.arange(100) * 50, np.zeros(100, int)], axis=1)
    made = folder.ImageFolder(tmp_path, "by hand", tuple(f"{i}.png" for i in range(100)), labels, ("a", "b"),
                              np.full(100, ""), groups=groups, positions=positions)
    fold, = splits.folds(made, validation=0.2, test=0.2)
    assert [len(fold.train), len(fold.validation), len(fold.test)] == [60, 20, 20]
    fold, = splits.folds(replace(made, groups=None), validation=0.2, test=0.2, seed=0)
    assert [len(fold.train), len(fold.validation), len(fold.test)] == [60, 20, 20]


def test_folds_of_parts(tmp_path):
    found = scan_folder(write_chest_xray_stand_in(tmp_path / "x", train=80, test=20, size=16, seed=1), check=False)
    fold, = folds(found, seed=1)
    assert_parts(np.arange(100), fold.train, fold.validation, fold.test)
    assert (found.part_of[fold.test] == "test").all() and len(fold.test) == 20
    assert not {*found.groups[fold.train]} & {*found.groups[fold.validation]} and 14 <= len(fold.validation) <= 18
    assert fold.sentence == ("test: the part `test`, 20 images; validation: 20% of `train`, by numbers in the file "
                             "names")


@pytest.mark.parametrize(("counts", "sizes", "said"), [
    ({"train": 200, "val": 3}, None, "(and of `val`, which has 3 images)"),
    ({"train": 100, "val": 20, "test": 30}, [100, 20, 30], "validation: the part `val`, 20 images"),
    ({"train": 100, "val": 2, "test": 30}, [100, 2, 30], "validation: the part `val`, 2 images"),  # just large enough
    ({"train": 100, "val": 1, "test": 30}, [81, 20, 30], "(and of `val`, which has 1 image)"),
    ({"train": 100, "test": 30}, [80, 20, 30], "20% of `train`, at random"),
    ({"train": 100}, [64, 16, 20], "test: 20% of `train`"),
])
def test_folds_of_parts_of_all_kinds(counts, sizes, said):
    names = [f"{part}/{'ab'[number % 2]}/{number}.png" for part, count in counts.items() for number in range(count)]
    found = recognise("x", names).found
    kept = folder._folder(Path("x"), "in parts", [(one, None) for one in found], [], [], None, False, 2)
    fold, = folds(kept, seed=0)
    assert_parts(np.arange(len(names)), fold.train, fold.validation, fold.test)
    assert said in fold.sentence
    if sizes:
        assert [len(fold.train), len(fold.validation), len(fold.test)] == sizes


def test_folds_of_two_groups_without_positions(tmp_path):
    found = scan_folder(fill(tmp_path, "a/p1.png", "b/p2.png"), groups=r"p(\d)")
    with pytest.raises(DataError, match=r"folds: groups must be at least 3, got 2 in .*; take more patients, or"):
        folds(found)


# --- stand-ins ------------------------------------------------------------------------------------------------------

def contents(root):
    return {path.relative_to(root).as_posix(): path.read_bytes() for path in Path(root).rglob("*") if path.is_file()}


def test_stand_ins_are_said_to_be_some(tmp_path):
    root = write_idc_stand_in(tmp_path / "x", patients=2, patches=12, seed=0)
    assert b"stand for real ones" in (root / "STAND-IN.txt").read_bytes()
    found = scan_folder(root)
    assert found.stand_in and "results on them mean nothing" in found.report() and not found.skipped
    assert (found.sizes == [50, 50, 3]).all() and (np.bincount(found.labels) >= 4).all()


def test_what_stand_ins_hold_by_default(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(stand_ins, "_tissue", lambda draw, label, tint: np.zeros((50, 50, 3)))
    monkeypatch.setattr(stand_ins, "_chest", lambda draw, size, sick: np.zeros((size, size, 3)))
    monkeypatch.setattr(stand_ins, "_save", lambda path, pixels: saved.append((path.name, pixels.shape)))
    write_idc_stand_in(tmp_path / "idc")
    assert len(saved) == 4 * 60 and saved[0][0] == "90001_idx5_x1_y1_class0.png"
    assert saved[-1][0] == "90004_idx5_x151_y351_class1.png"
    saved.clear()
    write_chest_xray_stand_in(tmp_path / "xray")
    assert len(saved) == 80 + 20 and {shape for _, shape in saved} == {(224, 224, 3)}
    assert [name for name, _ in saved[4:12]] == [
        "NORMAL2-IM-0002-0001.jpeg", "person2_virus_3.jpeg", "NORMAL2-IM-0002-0002.jpeg", "person2_virus_4.jpeg",
        "IM-0003-0001.jpeg", "person3_bacteria_5.jpeg", "IM-0003-0002.jpeg", "person3_bacteria_6.jpeg"]
    assert saved[-1][0] == "person2005_virus_2010.jpeg"


def test_the_files_of_stand_ins_are_what_they_are_named(tmp_path):
    """X-rays are grey JPEGs, and the tissue of each patient has its own colour in PNGs. The seed is 0 by default."""
    root, same = (write_chest_xray_stand_in(tmp_path / name, train=4, test=2, size=24, **seed)
                  for name, seed in (("x", {}), ("same", {"seed": 0})))
    assert contents(root) == contents(same)
    found = scan_folder(root)
    pictures = found.images(24)[:].astype(int)
    assert np.abs(np.diff(pictures, axis=-1)).max() <= 1 and (found.sizes == [24, 24, 3]).all()
    assert all(content.startswith(b"\xff\xd8\xff") for name, content in contents(root).items() if ".jpeg" in name)
    root, same = (write_idc_stand_in(tmp_path / name, patients=3, patches=8, **seed)
                  for name, seed in (("y", {}), ("y same", {"seed": 0})))
    assert contents(root) == contents(same)
    assert all(content.startswith(b"\x89PNG") for name, content in contents(root).items() if ".png" in name)
    found = scan_folder(root)
    colours = found.images(50)[:].mean(axis=(1, 2))
    healthy = found.labels == 0
    of_patient = np.array([colours[healthy & (found.groups == one)].mean(axis=0) for one in np.unique(found.groups)])
    assert np.ptp(of_patient, axis=0).max() > 8


def test_a_fold_says_how_large_its_parts_are():
    fold = splits.Fold(np.arange(1000), np.arange(20), np.arange(3), "by hand")
    assert repr(fold) == "Fold(1,000 images to train on, 20 to validate, 3 to test; by hand)"


def test_stand_ins_are_seeded(tmp_path):
    for write, options in ((write_idc_stand_in, {"patients": 2, "patches": 6}),
                           (write_chest_xray_stand_in, {"train": 6, "test": 4, "size": 24})):
        roots = [write(tmp_path / f"{write.__name__}{number}", seed=seed, **options)
                 for number, seed in enumerate((0, 0, 1))]
        first, again, other = (contents(root) for root in roots)
        assert first == again and first != other
        assert len(first) == len({*first.values()})  # no two images are equal


@pytest.mark.parametrize("write", [write_idc_stand_in, write_chest_xray_stand_in])
def test_stand_ins_never_mix_with_what_is_there(tmp_path, write):
    (tmp_path / "mine.png").write_bytes(b"")
    with pytest.raises(DataError, match=f"{write.__name__}: .* must be a new or an empty folder"):
        write(tmp_path)
    assert contents(tmp_path) == {"mine.png": b""}
    with pytest.raises(DataError, match=r"mine\.png must be a new or an empty folder, it is not; name another"):
        write(tmp_path / "mine.png")
    with pytest.raises(ArgumentError, match="must be an integer of at least 1, got 0"):
        write(tmp_path / "x", **{"patients" if "idc" in write.__name__ else "train": 0})


@pytest.mark.parametrize(("write", "options", "size"), [
    (write_idc_stand_in, {"patients": 3, "patches": 40}, 50),
    (write_chest_xray_stand_in, {"train": 120, "test": 40, "size": 48}, 48),
])
def test_stand_ins_can_be_learned_but_not_by_heart(tmp_path, write, options, size):
    """The nearest class mean of a few simple features is better than chance, and one pixel is not enough."""
    found = scan_folder(write(tmp_path / "x", seed=3, **options))
    pictures = found.images(size, channels=1).in_memory().astype(float)
    features = np.stack([pictures.mean(axis=(1, 2, 3)), pictures.std(axis=(1, 2, 3)),
                         np.abs(np.diff(pictures, axis=1)).mean(axis=(1, 2, 3))], axis=1)
    features = (features - features.mean(axis=0)) / features.std(axis=0)
    half = np.arange(len(found)) % 2 == 0 if write is write_idc_stand_in else np.arange(len(found)) // 2 % 2 == 0
    means = np.stack([features[half & (found.labels == label)].mean(axis=0) for label in (0, 1)])
    guess = ((features[~half][:, None] - means) ** 2).sum(axis=-1).argmin(axis=1)
    assert (guess == found.labels[~half]).mean() > 0.6


def blocks(pictures, across):
    """The mean red of the blocks of some pictures, across x across."""
    N, H, W = pictures.shape[:3]
    return pictures[..., 0].reshape(N, across, H // across, across, W // across).mean(axis=(0, 2, 4))


def test_what_tells_stand_ins_apart_lies_where_their_text_says():
    """Nuclei are everywhere in tissue; clouds are in both lungs, and nowhere else."""
    healthy, ill = (blocks(np.stack([stand_ins._tissue(stand_ins._random(0, f"a/{n}"), label, np.zeros(3))
                                     for n in range(60)]), 2) for label in (0, 1))
    assert (np.abs(healthy - ill - 20) < 4).all() and np.ptp(healthy) < 4
    healthy, ill = (blocks(np.stack([stand_ins._chest(stand_ins._random(0, f"b/{n}"), 64, sick)
                                     for n in range(60)]), 4) for sick in (False, True))
    lungs = np.zeros((4, 4), bool)
    lungs[1:3, 1:3] = True
    assert (ill - healthy)[lungs].min() > 8 > np.abs(ill - healthy)[~lungs].max()
    assert healthy[:, 1:3][[0, 3]].min() > 125 > 110 > healthy[lungs].max()


# --- cross-validation -----------------------------------------------------------------------------------------------

def whole_groups(found, one):
    """Assert that no group is in two parts of a fold, and that the test parts hold each image once."""
    seen = np.concatenate([fold.test for fold in one])
    np.testing.assert_array_equal(np.sort(seen), np.flatnonzero(found.part_of != "test"))
    for fold in one:
        both = np.sort(np.concatenate([fold.train, fold.validation, fold.test]))
        np.testing.assert_array_equal(both, np.flatnonzero(found.part_of != "test"))
        if found.groups is not None and len(np.unique(found.groups)) > 2:
            parts = [set(found.groups[part].tolist()) for part in (fold.train, fold.validation, fold.test)]
            assert sum(map(len, parts)) == len(set.union(*parts)) and all(parts)


def test_cross_folds_without_groups(tmp_path):
    names = [f"{label}/{number}.png" for label, count in (("a", 31), ("b", 12)) for number in range(count)]
    found = scan_folder(coloured(tmp_path, *names))  # with copies
    several = cross_folds(found, 5, seed=0)
    whole_groups(found, several)
    for fold in several:
        assert 3 <= len(fold.test) <= 14
        assert not {*found.copies[fold.train]} & {*found.copies[fold.test]}
    again, other = cross_folds(found, 5, seed=0), cross_folds(found, 5, seed=1)
    assert all((a.test == b.test).all() for a, b in zip(several, again, strict=True))
    assert any(len(a.test) != len(b.test) or (a.test != b.test).any() for a, b in zip(several, other, strict=True))
    assert several[1].sentence == "fold 2 of 5, at random, class by class"
    assert [fold.sentence for fold in cross_folds(found, 2, seed=0)] == [
        "fold 1 of 2, at random, class by class", "fold 2 of 2, at random, class by class"]
    for count in (1, 2.5, True):
        with pytest.raises(ArgumentError, match="cross_folds: count must be"):
            cross_folds(found, count)


@pytest.mark.parametrize(("patients", "count"), [(9, 4), (3, 3), (3, 9), (2, 5)])
def test_cross_folds_by_patient(tmp_path, patients, count):
    found = scan_folder(write_idc_stand_in(tmp_path, patients=patients, patches=20, seed=0))
    several = cross_folds(found, count, seed=3)
    assert len(several) == min(patients, count)
    whole_groups(found, several)
    how = "by patients" if patients > count else "one for each of the patients"
    assert [fold.sentence for fold in several] == [f"fold {k} of {len(several)}, {how}"
                                                   for k in range(1, len(several) + 1)]
    if patients == 2:
        for fold, other in zip(several, folds(found), strict=True):
            assert all((getattr(fold, part) == getattr(other, part)).all() for part in ("train", "validation", "test"))
    alone = found.select(found.groups == found.groups[0])
    with pytest.raises(DataError, match="groups must be at least 2, got 1"):
        cross_folds(alone, 2)


def test_cross_folds_leave_the_test_part_alone(tmp_path):
    found = scan_folder(write_chest_xray_stand_in(tmp_path, train=30, test=10, size=24, seed=0))
    several = cross_folds(found, 3)
    whole_groups(found, several)
    assert sum(len(fold.test) for fold in several) == 30


def test_copies_count_once_in_the_shares_of_the_classes(tmp_path):
    """Ten images of one class, each there twice, and ten of another: two of each are a fifth."""
    labels = np.repeat([0, 1], [20, 10])
    copies = np.concatenate([np.repeat(np.arange(10), 2), np.arange(10, 20)])
    made = folder.ImageFolder(tmp_path, "by hand", tuple(f"{i}.png" for i in range(30)), labels, ("a", "b"),
                              np.full(30, ""), copies=copies)
    for seed in range(5):
        fold, = splits.folds(made, validation=0.2, test=0.2, seed=seed)
        for part in (fold.validation, fold.test):
            assert [len(np.unique(copies[part[labels[part] == k]])) for k in (0, 1)] == [2, 2]
            assert len(part) == 6
        assert len(np.unique(np.concatenate([fold.train, fold.validation, fold.test]))) == 30


def test_the_report_says_height_before_width_and_how_many_are_grey(tmp_path):
    for number, (width, height, mode) in enumerate(((40, 10, "L"), (30, 20, "RGB"), (35, 15, "RGB"))):
        (tmp_path / "ab"[number % 2]).mkdir(exist_ok=True)
        Image.new(mode, (width, height)).save(tmp_path / "ab"[number % 2] / f"{number}.png")
    found = scan_folder(tmp_path)
    assert "  height x width: 10 x 30 to 20 x 40; 1 grey, 2 in colour" in found.report()
    wider = replace(found, sizes=np.array([[10, 30, 3], [10, 40, 3], [10, 30, 3]]))
    assert "  height x width: 10 x 30 to 10 x 40; 0 grey" in wider.report()
