"""A folder of photos with everything wrong in it, from `tinynet train` to the other commands."""

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tinynet.__main__ import main

UNUSABLE = {
    "cat/empty.jpg": "is empty; copy it again", "cat/cut.jpg": "is damaged", "dog/text.png": "must be a PNG, JPEG",
    "dog/photo.heic": "is not named .png", "dog/notes.txt": "is not named .png",
    "dog/linked": "is a link to a folder", "cat/float.tif": "has pixels that are floats",
}


def photo(rng: np.random.Generator, dark: bool, height: int = 40, width: int = 56) -> Image.Image:
    pixels = rng.integers(0, 120, (height, width, 3)) + 100 * (not dark)
    return Image.fromarray(pixels.astype(np.uint8))


def messy(root: Path) -> Path:
    """Photos of cats, which are dark, and of dogs: all formats, modes and sizes, and what does not belong there."""
    rng = np.random.default_rng(0)
    for name in ("cat", "dog", "cow", "cat/inner"):
        (root / name).mkdir(parents=True)
    for number in range(17):
        photo(rng, True).save(root / "cat" / f"IMG_{number}.JPG", "JPEG", quality=90)
    for number in range(6):
        photo(rng, False).save(root / "dog" / f"{number}.jpeg")
    cat, dog = root / "cat", root / "dog"
    exif = Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    photo(rng, True, 600, 800).save(cat / "turned.jpg", exif=exif)
    photo(rng, True).convert("CMYK").save(cat / "cmyk.jpg")
    photo(rng, True).convert("L").save(cat / "größe 1 (copy).webp")
    Image.fromarray(np.asarray(photo(rng, True))[..., 0].astype(np.uint16) << 8).save(cat / "deep.png")
    photo(rng, False).save(dog / "pages.tif", save_all=True, append_images=[photo(rng, True)])
    other = photo(rng, True).quantize(16)
    photo(rng, False).quantize(16).save(dog / "moving.gif", save_all=True, append_images=[other])
    photo(rng, False).save(dog / "plain.bmp")
    photo(rng, False, 1, 1).save(dog / "one pixel.png")
    photo(rng, False, 4, 900).save(dog / "strip.png")
    photo(rng, False).convert("RGBA").save(dog / "alpha.png")
    photo(rng, False).save(dog / "line\nbreak.png")
    shutil.copy(cat / "IMG_3.JPG", dog / "the same cat.jpg")  # a wrong label
    shutil.copy(cat / "IMG_4.JPG", cat / "IMG_4 (1).JPG")
    photo(rng, True).save(cat / "inner" / "deep.jpg")
    (cat / "empty.jpg").write_bytes(b"")
    (cat / "cut.jpg").write_bytes((cat / "IMG_0.JPG").read_bytes()[:900])
    (dog / "text.png").write_text("<html>404</html>")
    (dog / "photo.heic").write_bytes(b"\0\0\0\x18ftypheic")
    (dog / "notes.txt").write_text("cats")
    Image.fromarray(rng.random((9, 9)).astype(np.float32)).save(cat / "float.tif")
    for name in ("Thumbs.db", ".DS_Store", "desktop.ini"):
        (dog / name).write_bytes(b"x")
    os.symlink(cat / "inner", dog / "linked")
    return root


def test_everything_wrong(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder, out = messy(tmp_path / "my photos"), tmp_path / "out"
    assert main(["train", str(folder), "--out", str(out), "--size", "16", "--epochs", "6", "--batch-size", "8",
                 "--augment", "--folds", "2"]) == 0
    printed = capsys.readouterr().out
    for name, reason in UNUSABLE.items():
        assert any(f" {name}" in line and reason in line for line in printed.splitlines()), name
    assert "cow/ is not a class: it holds no images" in printed and "cat/inner/deep.jpg" in printed
    assert "1 identical image in more than one class\n    cat/IMG_3.JPG = dog/the same cat.jpg" in printed
    assert "2 images equal to others" in printed and "line\\nbreak" not in printed  # it can be used
    assert "resized to 16 x 16 x 3" in printed and "Thumbs.db" not in printed
    results = json.loads((out / "results.json").read_text())
    assert {name for name, _ in results["skipped"]} == {name + "/" * (name == "dog/linked") for name in UNUSABLE}
    assert results["out_of_fold"]["images"] == 36 and results["classes"] == ["cat", "dog"]

    model = str(out / "model.safetensors")
    assert main(["evaluate", model, str(folder)]) == 0
    assert "36 images, a folder for each class" in capsys.readouterr().out
    assert main(["predict", "--csv", model, str(folder), str(folder / "dog" / "moving.gif")]) == 1
    told = capsys.readouterr()
    assert told.err.count("tinynet: read_image: ") == 4  # those named as images
    assert len(told.out.splitlines()) == 1 + 37 + 4 + 1  # the one in cat/inner, too


def test_nothing_but_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = messy(tmp_path / "mine")
    for name in ("cat", "dog"):
        for number in range(12):
            (folder / name / f"broken{number}.gif").write_bytes(b"GIF89a")
    assert main(["train", str(folder), "--out", str(tmp_path / "out")]) == 1
    assert "at most 25% may be unusable, but 31 of" in (err := capsys.readouterr().err) and "--max-skipped" in err
    assert main(["train", str(folder), "--out", str(tmp_path / "out"), "--max-skipped", "0.5", "--epochs", "1",
                 "--size", "16"]) == 0
