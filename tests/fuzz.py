"""Feed millions of damaged files to every reader: it must return the file's content or raise one clear error.

    python -m tests.fuzz --inputs 1000000
    python -m tests.fuzz --inputs 1000000 --state runs/fuzz.json      continues where it was stopped

Input n depends on --seed and n alone, so a failure can be repeated: --first N --inputs 1. One process, about 100 MB.
The same checks run on fewer inputs, chosen by hypothesis, in tests/data/test_data_fuzz.py.
"""

import argparse
import io
import json
import math
import struct
import sys
import tempfile
import time
import traceback
import warnings
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from random import Random as OtherRandom
from typing import Any

import numpy as np

from tests.support import model_files
from tinynet.atomic import write_whole
from tinynet.data import read_idx, scan_folder
from tinynet.data.images import read as images
from tinynet.data.images.layouts import Found, recognise
from tinynet.errors import DataError

Random = np.random.Generator

IDX_LIMIT = 1 << 16  # bytes
MOST_PIXELS = 1 << 18  # instead of images.MAX_PIXELS, which would allow slow inputs
SAVED_EVERY = 20_000


# --- damage ---------------------------------------------------------------------------------------------------------

def damaged(random: Random, content: bytes, other: bytes) -> bytes:
    """`content` with some bits, bytes or pieces changed, removed, or copied from `other`."""
    changed = bytearray(content)
    for _ in range(int(random.integers(1, 5))):
        place = int(random.integers(0, len(changed) + 1))
        length = int(random.integers(0, 1 + min(20, len(changed))))
        match int(random.integers(0, 7)):
            case 0 if changed:
                changed[place % len(changed)] ^= 1 << int(random.integers(0, 8))
            case 1 if changed:
                changed[place % len(changed)] = int(random.choice([0, 1, 127, 128, 255, int(random.integers(0, 256))]))
            case 2:
                del changed[place:]
            case 3:
                del changed[place : place + length]
            case 4:
                changed[place:place] = random.bytes(length)
            case 5:
                start = int(random.integers(0, len(other) + 1))
                changed[place : place + length] = other[start : start + length]
            case 6 if place + 4 <= len(changed):
                changed[place : place + 4] = struct.pack(">I", int(random.choice([0, 1, 2**16, 2**31, 2**32 - 1])))
    return bytes(changed)


# --- IDX ------------------------------------------------------------------------------------------------------------

def meaning(content: bytes, rank: int) -> np.ndarray | None:
    """The array in `content` by the definition of the format; None if it is invalid."""
    start = 4 + 4 * rank
    if len(content) < start or content[:4] != bytes([0, 0, 8, rank]):
        return None
    shape = struct.unpack(f">{rank}I", content[4:start])
    if not 0 < math.prod(shape) <= IDX_LIMIT or len(content) != start + math.prod(shape):
        return None
    return np.frombuffer(content[start:], np.uint8).reshape(shape)


def idx(random: Random, folder: Path) -> bool:
    """Read a small IDX file, often damaged, sometimes compressed; the result must be its `meaning`."""
    rank = int(random.integers(1, 4))
    shape = random.integers(1, 5, rank)
    content = bytes([0, 0, 8, rank]) + struct.pack(f">{rank}I", *shape) + random.bytes(int(shape.prod()))
    if random.random() < 0.9:
        content = damaged(random, content, content)
    packed, path = random.random() < 0.5, folder / "idx"
    written = zlib.compress(content, wbits=31) if packed else content
    broken = packed and random.random() < 0.5
    path.write_bytes(damaged(random, written, content) if broken else written)
    expected = meaning(content, rank)
    try:
        array = read_idx(path, rank=rank, limit=IDX_LIMIT)
    except DataError as error:
        check_message(str(error))
        assert expected is None or broken, "a good file was refused"
        return False
    if not broken and not content.startswith(b"\x1f\x8b"):
        assert expected is not None, "a bad file was read"
        np.testing.assert_array_equal(array, expected, strict=True)
    assert array.dtype == np.uint8 and array.ndim == rank and 0 < array.size <= IDX_LIMIT
    return True


# --- images ---------------------------------------------------------------------------------------------------------

def pictures() -> list[bytes]:
    """Small valid image files of every kind."""
    from PIL import Image

    pixels = np.random.default_rng(0).integers(0, 256, (9, 12, 4), dtype=np.uint8)
    colour, exif = Image.fromarray(pixels[..., :3]), Image.Exif()
    exif[0x0112], exif[0x010F] = 6, "a camera"
    palette = colour.quantize(7)
    made: list[tuple[Any, str, dict[str, Any]]] = [
        (colour, "PNG", {}), (colour.convert("L"), "PNG", {}), (colour.convert("1"), "PNG", {}), (palette, "PNG", {}),
        (palette, "PNG", {"transparency": 2}), (palette, "PNG", {"transparency": bytes(range(7))}),
        (Image.fromarray(pixels), "PNG", {}), (Image.fromarray(pixels).convert("LA"), "PNG", {}),
        (Image.fromarray(pixels.view(np.uint16)[..., 0]), "PNG", {}), (colour, "PNG", {"exif": exif}),
        (colour, "PNG", {"save_all": True, "append_images": [colour.rotate(180)]}),
        (colour, "WebP", {"lossless": True}), (Image.fromarray(pixels), "WebP", {}), (colour, "WebP", {"exif": exif}),
        (colour, "BMP", {}), (palette, "BMP", {}), (palette, "GIF", {"transparency": 2}), (colour, "TIFF", {}),
        (palette, "GIF", {"save_all": True, "append_images": [palette.rotate(180)]}),
        (colour, "TIFF", {"compression": "tiff_lzw", "exif": exif}), (colour.convert("1"), "TIFF", {}),
        (Image.fromarray(pixels.view(np.uint16)[..., 0]), "TIFF", {}), (colour.convert("CMYK"), "TIFF", {}),
        (colour, "JPEG", {}), (colour.convert("L"), "JPEG", {}), (colour.convert("CMYK"), "JPEG", {}),
        (colour, "JPEG", {"progressive": True}), (colour, "JPEG", {"exif": exif, "optimize": True}),
        (colour.resize((70, 90)), "JPEG", {"exif": exif}), (colour, "JPEG", {"restart_marker_rows": 1}),
    ]
    contents = []
    for image, kind, options in made:
        buffer = io.BytesIO()
        image.save(buffer, kind, **options)
        contents.append(buffer.getvalue())
    return contents


def with_checksums(content: bytes) -> bytes:
    """A PNG file with correct checksums of its chunks, so that damage gets past the first check."""
    mended, place = bytearray(content[:8]), 8
    while place + 12 <= len(content):
        length = int.from_bytes(content[place : place + 4])
        piece = content[place + 4 : place + 8 + length]
        mended += content[place : place + 4] + piece + struct.pack(">I", zlib.crc32(piece))
        place += 12 + length
    return bytes(mended) + content[place:]


def image(random: Random, folder: Path) -> bool:
    """Decode an image file, mostly damaged: an array of the right shape, or a fault in one line."""
    known = known_pictures()
    content = known[int(random.integers(0, len(known)))]
    if random.random() < 0.97:
        content = damaged(random, content, known[int(random.integers(0, len(known)))])
    if content.startswith(b"\x89PNG") and random.random() < 0.7:
        content = with_checksums(content)
    return check_image(content, (int(random.integers(1, 30)), int(random.integers(1, 30))),
                       int(random.choice([1, 3])), bool(random.random() < 0.5))


def check_image(content: bytes, size: tuple[int, int], channels: int, resized: bool) -> bool:
    """Decode and measure the content of a file. Returns whether it is an image."""
    results = []
    for function in (lambda: images.decode(content, size if resized else None, channels),
                     lambda: images.measure(content)):
        try:
            results.append(function())
        except images.ImageFault as fault:
            check_message(f"file {fault}")
            results.append(None)
    pixels, measured = results
    if pixels is not None:
        assert pixels.dtype == np.uint8 and pixels.ndim == 3 and pixels.shape[2] == channels
        assert 0 < pixels.size <= 3 * MOST_PIXELS and (not resized or pixels.shape[:2] == size)
        if measured is not None and not resized:
            assert pixels.shape[:2] in (measured[:2], measured[1::-1])
    return pixels is not None


_pictures: list[bytes] = []


def known_pictures() -> list[bytes]:
    if not _pictures:
        _pictures.extend(pictures())
    return _pictures


# --- folders --------------------------------------------------------------------------------------------------------

PIECES = ["train", "test", "val", "Validation", "NORMAL", "PNEUMONIA", "0", "1", "9", "10", "08", "cat", "²", "٣", "ﬁ",
          "IDC_regular_ps50_idx5", "chest_xray", "x" * 60, "a\nb", "\x1b[31m", " ", "~", "..."]
FILES = ["a.png", "b.JPG", "c.jpeg", "d.txt", "noise", ".png", "IM-0001-0001.jpeg", "NORMAL2-IM-0001-0001.jpeg",
         "person1_virus_2.jpeg", "9_idx5_x1_y51_class0.png", "9_idx5_x51_y1_class1.png", "10_idx5_x1_y1_class0.png",
         "9_idx5_x99999999999_y1_class1.png", "é.png"]


def names(random: Random) -> list[str]:
    """Names of files in folders that resemble one of the layouts."""
    pool = [str(piece) for piece in random.choice(PIECES, int(random.integers(1, 6)))]
    files = [str(file) for file in random.choice(FILES, int(random.integers(1, 6)))]
    found = ["/".join([*(pool[i] for i in random.integers(0, len(pool), int(random.integers(0, 5)))),
                       files[int(random.integers(0, len(files)))]]) for _ in range(int(random.integers(0, 12)))]
    if random.random() < 0.5:
        above = "/".join(pool[: int(random.integers(0, 3))])
        found += [f"{above}/{label}/{file}".lstrip("/") for label in pool for file in files]
    return list(dict.fromkeys(found))


def layout(random: Random, folder: Path) -> bool:
    """Recognise a list of names: each is in the result at most once, and there are at least two classes."""
    return check_layout(names(random))


def check_layout(given: list[str]) -> bool:
    try:
        _, _, found, skipped, elsewhere = recognise("folder", given)
    except DataError as error:
        check_message(str(error))
        return False
    used = [one.name for one in found] + [one.name for one in skipped] + elsewhere
    assert len({*used}) == len(used) and {*used} <= {*given}
    assert all(isinstance(one, Found) and one.name.lower().endswith(images.SUFFIXES) for one in found)
    assert len({one.label for one in found}) >= 2
    return True


def folder_of_files(random: Random, folder: Path) -> bool:
    """Scan folders of good and damaged files: found images can be read, and the rest is reported."""
    known = known_pictures()
    with tempfile.TemporaryDirectory(dir=folder) as made:
        for name in names(random)[:15]:
            path = Path(made, name)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                content = known[int(random.integers(0, len(known)))]
                path.write_bytes(damaged(random, content, content) if random.random() < 0.2 else content)
            except OSError:  # a file where a folder should be
                continue
        try:
            found = scan_folder(made, threads=1, max_skipped=1.0)
        except DataError as error:
            check_message(str(error))
            return False
        assert found.images(4)[:].shape == (len(found), 4, 4, 3)
        assert len(found.labels) == len(found.part_of) == len(found.sizes) == len(found) >= len(found.classes) >= 2
        check_message(found.report())
    return True


# --- models ---------------------------------------------------------------------------------------------------------

_models: list[bytes] = []


def model(random: Random, folder: Path) -> bool:
    """Load a saved model, damaged or with a forged description: see `model_files.py`."""
    if not _models:
        _models.extend(model_files.originals())
    content = model_files.changed(OtherRandom(int(random.integers(0, 2**63))), _models)
    return model_files.check(content, folder / "model.safetensors")


# --- the run --------------------------------------------------------------------------------------------------------

def check_message(text: str) -> None:
    """Assert that a message is printable."""
    assert text and all(line.isprintable() for line in text.split("\n")), f"not printable: {text!r}"


TARGETS: dict[Callable[[Random, Path], bool], float] = {idx: 0.3, image: 0.4, model: 0.2, layout: 0.09,
                                                        folder_of_files: 0.01}


def inputs(seed: int, first: int, count: int, folder: Path) -> Iterator[tuple[str, bool]]:
    """Try inputs first ... first + count - 1. Yields the reader's name, and whether it accepted the input."""
    targets, edges = list(TARGETS), np.cumsum(list(TARGETS.values()))
    for number in range(first, first + count):
        random = np.random.default_rng([seed, number])
        target = targets[int(np.searchsorted(edges, random.random() * edges[-1]))]
        try:
            yield target.__name__, target(random, folder)
        except Exception as fault:
            raise RuntimeError(f"input {number} of seed {seed}, {target.__name__}: {type(fault).__name__}") from fault


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--inputs", type=int, default=100_000, help="the number of inputs (default: 100000)")
    parser.add_argument("--first", type=int, default=0, help="the number of the first one (default: 0)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--state", type=Path, help="a file for the progress of the run")
    parser.add_argument("--seconds", type=float, default=math.inf, help="stop after this time")
    options = parser.parse_args(arguments)
    warnings.simplefilter("ignore")
    images.MAX_PIXELS = MOST_PIXELS
    state = {"seed": options.seed, "done": 0, "counts": {}}
    if options.state and options.state.exists():
        state = json.loads(options.state.read_text())
    start, counts, done = time.monotonic(), Counter(state["counts"]), state["done"]
    with tempfile.TemporaryDirectory() as folder:
        try:
            for name, good in inputs(state["seed"], options.first + done, options.inputs - done, Path(folder)):
                counts[f"{name} {'read' if good else 'refused'}"] += 1
                done += 1
                over = time.monotonic() - start > options.seconds
                if options.state and (over or done % SAVED_EVERY == 0 or done == options.inputs):
                    write_whole(options.state, json.dumps({**state, "done": done, "counts": counts}).encode())
                if over:
                    break
        except RuntimeError:
            traceback.print_exc()
            return 1
    listed = ", ".join(f"{count:,} {name}" for name, count in sorted(counts.items()))
    print(f"{done:,} of {options.inputs:,} inputs, no failure: {listed}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
