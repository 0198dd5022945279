"""Whatever is in a file, its reader gives what it holds or a clear error: never another exception.

A million inputs and more: python -m tests.fuzz
"""

import gzip
import math
import struct
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests import fuzz as checks
from tinynet.data import load_mnist, read_idx
from tinynet.data.images import read as images
from tinynet.errors import DataError

LIMIT = checks.IDX_LIMIT
MEMORY = 4 << 20
fuzz = settings(max_examples=4 * settings().max_examples, deadline=5000)  # milliseconds for each example


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzz") / "images"


def read(path, content, rank):
    """The result of `read_idx` for `content`, or None for a `DataError`. Other exceptions fail the test."""
    path.write_bytes(content)
    tracemalloc.start()
    try:
        return read_idx(path, rank=rank, limit=LIMIT)
    except DataError as error:
        assert str(error).startswith(f"read_idx: {path} ") and "; " in str(error)
        return None
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < MEMORY


def assert_equal(array, expected):
    assert (array is None) == (expected is None)
    if expected is not None:
        assert array.dtype == np.uint8
        np.testing.assert_array_equal(array, expected, strict=True)


ranks = st.integers(1, 3)
sizes = st.one_of(st.integers(0, 4), st.sampled_from([255, 2**16, 2**31, 2**32 - 1]))


@st.composite
def almost_idx(draw):
    """Mostly valid headers, with about the number of bytes in the header."""
    rank = draw(ranks)
    shape = draw(st.lists(sizes, min_size=rank, max_size=rank))
    kind = draw(st.sampled_from([8, 8, 8, 8, 9, 0x0D]))
    count = max(0, min(math.prod(shape), 1000) + draw(st.sampled_from([0, 0, 0, -1, 1])))
    elements = draw(st.binary(min_size=count, max_size=count))
    return bytes([0, 0, kind, rank]) + struct.pack(f">{rank}I", *shape) + elements


@fuzz
@given(content=st.one_of(st.binary(max_size=200), almost_idx()), rank=ranks, packed=st.booleans())
@example(content=b"\0\0\x08\1\0\0\0\1\7", rank=1, packed=True)
def test_any_content(path, content, rank, packed):
    assert_equal(read(path, gzip.compress(content) if packed else content, rank),
                 None if content.startswith(b"\x1f\x8b") else checks.meaning(content, rank))


@fuzz
@given(content=st.binary(max_size=200))
def test_anything_that_starts_like_gzip(path, content):
    assert read(path, b"\x1f\x8b\x08" + content, 1) is None


ARRAY = np.random.default_rng(0).integers(0, 256, (3, 5, 7), dtype=np.uint8)
PLAIN = b"\0\0\x08\3" + struct.pack(">3I", *ARRAY.shape) + ARRAY.tobytes()
PACKED = gzip.compress(PLAIN, mtime=0)


def test_every_truncation(path):
    for content in (PLAIN, PACKED):
        for length in range(len(content)):
            assert read(path, content[:length], 3) is None


def test_every_bit_of_a_plain_file(path):
    for bit in range(8 * len(PLAIN)):
        flipped = bytearray(PLAIN)
        flipped[bit // 8] ^= 1 << bit % 8
        assert_equal(read(path, bytes(flipped), 3), checks.meaning(bytes(flipped), 3))


def test_every_bit_of_a_gzip_file(path):
    survived = set()
    for bit in range(8 * len(PACKED)):
        flipped = bytearray(PACKED)
        flipped[bit // 8] ^= 1 << bit % 8
        array = read(path, bytes(flipped), 3)
        if array is not None:
            np.testing.assert_array_equal(array, ARRAY)
            survived.add(bit // 8)
    trailer = set(range(len(PACKED) - 8, len(PACKED)))  # checksum and length
    assert survived and not survived & {0, 1, 2, *trailer}


@fuzz
@given(cuts=st.lists(st.tuples(st.integers(0, len(PACKED)), st.integers(0, 20), st.binary(max_size=20)),
                     min_size=1, max_size=4), packed=st.booleans())
def test_pieces_replaced(path, cuts, packed):
    content = PACKED if packed else PLAIN
    for start, length, piece in cuts:
        content = content[:start] + piece + content[start + length :]
    array = read(path, content, 3)
    if content.startswith(b"\x1f\x8b"):
        assert array is None or np.array_equal(array, ARRAY)  # the checksum excludes all else
    else:
        assert_equal(array, checks.meaning(content, 3))


@fuzz
@given(damage=st.dictionaries(st.sampled_from(["train-images-idx3-ubyte", "train-labels-idx1-ubyte",
                                               "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte"]),
                              st.one_of(st.binary(max_size=100), almost_idx()), min_size=1))
def test_damaged_mnist(path, damage):
    folder = path.parent / "mnist"
    folder.mkdir(exist_ok=True)
    for part in ("train", "t10k"):
        (folder / f"{part}-images-idx3-ubyte").write_bytes(
            b"\0\0\x08\3" + struct.pack(">3I", 2, 28, 28) + bytes(2 * 28 * 28))
        (folder / f"{part}-labels-idx1-ubyte").write_bytes(b"\0\0\x08\1\0\0\0\2\7\1")
    assert load_mnist(folder).train_labels.tolist() == [7, 1]
    for name, content in damage.items():
        (folder / name).write_bytes(content)
    try:
        data = load_mnist(folder)
    except DataError:
        return
    assert data.train_images.shape == data.test_images.shape == (2, 28, 28)  # the damage was two other labels
    assert max(data.train_labels.max(), data.test_labels.max()) <= 9


# --- images and folders ---------------------------------------------------------------------------------------------

@pytest.fixture
def few_pixels(monkeypatch):
    """Refuse headers with many pixels early, to save time, and ignore Pillow's warnings about odd files."""
    pytest.importorskip("PIL")
    monkeypatch.setattr(images, "MAX_PIXELS", checks.MOST_PIXELS)


sides = st.integers(1, 30)


@pytest.mark.filterwarnings("ignore")
@settings(fuzz, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), cuts=st.lists(st.tuples(st.integers(0, 400), st.integers(0, 20), st.binary(max_size=20)),
                                     max_size=4),
       size=st.tuples(sides, sides), channels=st.sampled_from([1, 3]), resized=st.booleans(), mended=st.booleans())
def test_pictures_with_pieces_replaced(few_pixels, data, cuts, size, channels, resized, mended):
    content = data.draw(st.sampled_from(checks.known_pictures()))
    for start, length, piece in cuts:
        content = content[:start] + piece + content[start + length :]
    read = checks.check_image(checks.with_checksums(content) if mended else content, size, channels, resized)
    assert read or cuts


@pytest.mark.filterwarnings("ignore")
@settings(fuzz, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(start=st.sampled_from([b"", b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff\xe0"]), content=st.binary(max_size=200))
def test_anything_that_starts_like_a_picture(few_pixels, start, content):
    checks.check_image(start + content, (4, 5), 3, True)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("channels", [1, 3])
def test_every_truncation_of_a_picture(few_pixels, channels):
    for content in checks.known_pictures():
        read = [checks.check_image(content[:length], (4, 5), channels, False) for length in range(len(content))]
        assert not any(read[: len(content) * 2 // 5])  # the second half of an animation may be missing


pieces = st.one_of(st.sampled_from(checks.PIECES), st.text(st.characters(codec="utf-8", exclude_characters="/\0"),
                                                           min_size=1, max_size=8))


@fuzz
@given(st.lists(st.tuples(st.lists(pieces, max_size=4), st.one_of(st.sampled_from(checks.FILES), pieces)), max_size=12))
def test_any_names_of_files(given):
    checks.check_layout(list(dict.fromkeys("/".join([*folders, name]) for folders, name in given)))


@pytest.mark.filterwarnings("ignore")
def test_the_long_run_in_short(few_pixels, tmp_path):
    found = {}
    for name, good in checks.inputs(seed=1, first=0, count=1500, folder=tmp_path):
        found.setdefault(name, set()).add(good)
    assert found == {target.__name__: {True, False} for target in checks.TARGETS}


def test_the_long_run_finds_what_is_wrong(monkeypatch, tmp_path):
    monkeypatch.setattr(checks, "read_idx", lambda path, **_: np.frombuffer(Path(path).read_bytes(), np.uint8))
    with pytest.raises(RuntimeError, match=r"input \d+ of seed 0, idx: AssertionError"):
        list(checks.inputs(seed=0, first=0, count=100, folder=tmp_path))


def test_the_long_run_goes_on_where_it_stopped(monkeypatch, tmp_path, capsys):
    seen = []
    monkeypatch.setattr(checks, "TARGETS", {lambda random, folder: seen.append(random.random()) or True: 1.0})
    monkeypatch.setattr(images, "MAX_PIXELS", images.MAX_PIXELS)  # restored afterwards
    state = ["--state", str(tmp_path / "state.json"), "--inputs"]
    assert checks.main([*state, "8", "--seconds", "0"]) == 0 and len(seen) == 1
    assert checks.main([*state, "8"]) == 0 and len(seen) == 8
    assert checks.main(["--inputs", "8"]) == 0 and seen[8:] == seen[:8] and len({*seen}) == 8
    assert "8 of 8 inputs, no failure: 8 <lambda> read" in capsys.readouterr().out
