"""Images of every kind are read as the pixels that they show, and damaged ones raise one clear error."""

import io
import os
import struct
import sys
import zlib

import numpy as np
import pytest

pytest.importorskip("PIL")
from PIL import Image

from tinynet.data import Images, read_image
from tinynet.data.images import formats
from tinynet.data.images import read as images
from tinynet.errors import ArgumentError, DataError

RGB = np.arange(4 * 6 * 3, dtype=np.uint8).reshape(4, 6, 3) * 3
GREY = RGB[..., 0]


def written(tmp_path, array, name="a.png", mode=None, **options):
    path = tmp_path / name
    (array if isinstance(array, Image.Image) else Image.fromarray(array, mode)).save(path, **options)
    return path


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, bits, colour, rows, *extra, behind=()):
    """The bytes of a PNG file, made by hand: rows are bytes without their filter byte."""
    header = struct.pack(">IIBBBBB", width, height, bits, colour, 0, 0, 0)
    body = zlib.compress(b"".join(b"\0" + row for row in rows))
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + b"".join([
        *extra, chunk(b"IDAT", body), *behind, chunk(b"IEND", b"")])


# --- pixels ---------------------------------------------------------------------------------------------

def test_colours_and_grey(tmp_path):
    path = written(tmp_path, RGB)
    np.testing.assert_array_equal(read_image(path), RGB, strict=True)
    np.testing.assert_array_equal(read_image(str(path)), RGB)
    luma = (RGB @ np.array([0.299, 0.587, 0.114]))[..., None]
    assert np.abs(read_image(path, channels=1) - luma).max() <= 0.51
    path = written(tmp_path, GREY)
    np.testing.assert_array_equal(read_image(path, channels=1), GREY[..., None], strict=True)
    np.testing.assert_array_equal(read_image(path), np.repeat(GREY[..., None], 3, axis=-1), strict=True)


def test_bytes_and_open_files(tmp_path):
    path = written(tmp_path, RGB)
    content = path.read_bytes()
    for source in (content, bytearray(content), memoryview(content), io.BytesIO(content)):
        np.testing.assert_array_equal(read_image(source), RGB)
    with path.open("rb") as file:
        np.testing.assert_array_equal(read_image(file, size=4, channels=1), read_image(path, size=4, channels=1))
        with pytest.raises(DataError, match=r"a\.png is empty"):  # read to its end
            read_image(file)
    with pytest.raises(DataError, match=r"a\.png cannot be read \(.*closed"):
        read_image(file)
    with pytest.raises(DataError, match="read_image: the image is damaged"):
        read_image(content[:40])
    with open(os.open(path, os.O_RDONLY), "rb") as numbered, pytest.raises(DataError, match="read_image: the image is"):
        numbered.read()
        read_image(numbered)  # its name is a number
    for source in (None, 3, RGB, io.StringIO("text"), [path]):
        with pytest.raises(ArgumentError, match="source must be a path, bytes, or a file"):
            read_image(source)


def test_bytes_that_are_too_many(monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 10)
    for source in (b"x" * 11, io.BytesIO(b"x" * 11)):
        with pytest.raises(DataError, match="must have at most"):
            read_image(source)


def test_just_as_many_bytes_and_pixels_as_are_allowed(tmp_path, monkeypatch):
    assert (images.MAX_BYTES, images.MAX_PIXELS, images.MEMORY) == (2**28, 2**26, 2**31)
    path = written(tmp_path, RGB)
    content = path.read_bytes()
    monkeypatch.setattr(images, "MAX_BYTES", len(content))
    monkeypatch.setattr(images, "MAX_PIXELS", 4 * 6)
    for source in (path, content, io.BytesIO(content)):
        np.testing.assert_array_equal(read_image(source, size=(4, 6)), RGB)
    with pytest.raises(DataError, match="must have at most"):
        read_image(io.BytesIO(content + b"x"))
    path.write_bytes(content + b"x")
    with pytest.raises(DataError, match="must have at most"):
        read_image(path)
    monkeypatch.setattr(images, "MAX_PIXELS", 4 * 6 - 1)
    with pytest.raises(DataError, match="must have 1 to 23 pixels, its header promises 4 x 6"):
        read_image(content)


@pytest.mark.parametrize(("start", "kind"), [
    (b"II+\0", "TIFF"), (b"MM\0+", "TIFF"), (b"MM\0*", "TIFF"), (b"GIF87a", "GIF"), (b"RIFF\0\0\0\0WEBP", "WebP"),
    (b"RIFF\0\0\0\0WAVE", None), (b"", None)])
def test_the_first_bytes_tell_the_format(start, kind):
    assert formats.kind_of(start) == kind


def test_equal_channels_stay_what_they_are_in_grey(tmp_path):
    values = np.arange(256, dtype=np.uint8).reshape(16, 16)
    path = written(tmp_path, np.repeat(values[..., None], 3, axis=-1))
    np.testing.assert_array_equal(read_image(path, channels=1)[..., 0], values)


def test_black_and_white_and_palette(tmp_path):
    bits = GREY > 30
    np.testing.assert_array_equal(read_image(written(tmp_path, bits), channels=1)[..., 0], 255 * bits)
    palette = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 200, 100, 50, 7, 8, 9])
    colours = np.array([[10, 20, 30], [200, 100, 50], [7, 8, 9]], np.uint8)
    np.testing.assert_array_equal(read_image(written(tmp_path, palette)), colours[[[0, 1], [2, 1]]])


@pytest.mark.parametrize("channels", [1, 3])
def test_what_is_transparent_is_white(tmp_path, channels):
    alpha = np.array([[0, 255, 128]], np.uint8)
    black = np.zeros((1, 3, 4), np.uint8)
    black[..., 3] = alpha
    assert read_image(written(tmp_path, black), channels=channels)[0, :, 0].tolist() == [255, 0, 127]
    black_and_alpha = Image.merge("LA", [Image.new("L", (3, 1), 0), Image.fromarray(alpha)])
    assert read_image(written(tmp_path, black_and_alpha), channels=channels)[0, :, 0].tolist() == [255, 0, 127]
    palette = Image.fromarray(np.array([[0, 1]], np.uint8), "P")
    palette.putpalette([10, 10, 10, 200, 200, 200])
    path = written(tmp_path, palette, transparency=0)
    assert read_image(path, channels=channels)[0, :, 0].tolist() == [255, 200]
    path = written(tmp_path, palette, transparency=bytes([255, 0]))
    assert read_image(path, channels=channels)[0, :, 0].tolist() == [10, 255]
    palette = palette.convert("PA")
    palette.putalpha(Image.fromarray(np.array([[0, 255]], np.uint8)))
    palette.save(tmp_path / "palette.tif")
    assert read_image(tmp_path / "palette.tif", channels=channels)[0, :, 0].tolist() == [255, 200]


@pytest.mark.parametrize("mode", ["RGB", "RGBA"])
@pytest.mark.parametrize("lossless", [False, True])
def test_the_size_in_the_header_of_a_webp(tmp_path, mode, lossless):
    Image.new(mode, (5, 3)).save(tmp_path / "a.webp", lossless=lossless)
    assert formats._webp_size((tmp_path / "a.webp").read_bytes()) == (5, 3)


@pytest.mark.parametrize("channels", [1, 3])
def test_of_16_bits_the_high_byte_counts(tmp_path, channels):
    values = np.array([[0, 255, 256, 65535], [1, 32767, 32768, 65280]], np.uint16)
    path = written(tmp_path, values)
    with Image.open(path) as image:
        assert image.mode.startswith("I")
    np.testing.assert_array_equal(read_image(path, channels=channels)[..., 0], values >> 8)
    colour = tmp_path / "colour.png"
    colour.write_bytes(png(2, 1, 16, 2, [struct.pack(">6H", 0, 255, 65535, 256, 512, 40000)]))
    assert read_image(colour).tolist() == [[[0, 0, 255], [1, 2, 156]]]


@pytest.mark.parametrize(("bits", "colour", "transparent", "row", "expected"), [
    (16, 0, [513], struct.pack(">3H", 512, 513, 514), [2, 255, 2]),
    (16, 0, [0], struct.pack(">3H", 0, 1, 65535), [255, 0, 255]),
    (16, 2, [512, 513, 514], struct.pack(">9H", 512, 513, 514, 512, 513, 515, 0, 0, 0), [255, 2, 0]),
    (8, 2, [1, 2, 3], bytes([1, 2, 3, 1, 2, 4, 0, 0, 0]), [255, 2, 0]),
    (4, 0, [3], bytes([0x36, 0x90]), [255, 102, 153]),
    (2, 0, [1], bytes([0b00011000]), [0, 255, 170]),
    (1, 0, [0], bytes([0b01000000]), [255, 255, 255]),
])
def test_one_transparent_value_at_every_depth(bits, colour, transparent, row, expected):
    chunks = chunk(b"tRNS", struct.pack(f">{len(transparent)}H", *transparent))
    content = png(3, 1, bits, colour, [row], chunks)
    np.testing.assert_allclose(images.decode(content, None, 1).ravel(), expected, atol=0.5)
    assert images.measure(content) == (1, 3, 1 if colour == 0 else 3)


@pytest.mark.parametrize("kind", [b"zTXt", b"iTXt", b"iCCP"])
@pytest.mark.parametrize("where", ["extra", "behind"])
def test_metadata_of_any_size_does_not_matter(kind, where):
    start = {b"iTXt": b"Comment\0\1\0\0\0"}.get(kind, b"Comment\0\0")
    large = [chunk(kind, start + zlib.compress(bytes([65]) * (2 << 20)))] * 40  # decompressed 80 MB
    rows = [bytes(row.reshape(-1)) for row in RGB]
    content = png(6, 4, 8, 2, rows, *large) if where == "extra" else png(6, 4, 8, 2, rows, behind=large)
    np.testing.assert_array_equal(images.decode(content, None, 3), RGB)
    assert images.measure(content) == (4, 6, 3)
    with pytest.raises(images.ImageFault, match="is damaged"):
        images.decode(content[: content.index(b"IDAT") + 8], None, 3)


def test_cmyk(tmp_path):
    cmyk = Image.merge("CMYK", [Image.new("L", (16, 16), value) for value in (255, 0, 0, 0)])
    path = written(tmp_path, cmyk, "a.jpg", quality=95)
    assert np.abs(read_image(path).astype(int) - [0, 255, 255]).max() < 8


FORMATS = {"webp": {"lossless": True, "exact": True}, "bmp": {}, "tif": {}, "tiff": {"compression": "tiff_lzw"}}


@pytest.mark.parametrize("suffix", FORMATS)
def test_other_formats_give_the_same_pixels(tmp_path, suffix):
    path = written(tmp_path, RGB, f"a.{suffix}", **FORMATS[suffix])
    np.testing.assert_array_equal(read_image(path), RGB, strict=True)
    assert images.measure(path.read_bytes()) == (4, 6, 3)
    if suffix != "bmp":
        alpha = np.concatenate([np.zeros_like(RGB), np.array([[[0], [255]] * 3] * 4, np.uint8)], axis=2)
        assert read_image(written(tmp_path, alpha, f"b.{suffix}", **FORMATS[suffix]))[0, :2, 0].tolist() == [255, 0]


@pytest.mark.parametrize(("suffix", "options"), [("gif", {}), ("webp", {"lossless": True}), ("tif", {}), ("png", {})])
def test_of_several_frames_the_first_counts(tmp_path, suffix, options):
    first, other = (Image.fromarray(np.full((4, 6), value, np.uint8)) for value in (40, 200))
    path = written(tmp_path, first, f"a.{suffix}", save_all=True, append_images=[other], **options)
    assert np.abs(read_image(path, channels=1).astype(int) - 40).max() <= 1


def test_a_gif_has_colours_and_transparency(tmp_path):
    palette = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 200, 100, 50, 7, 8, 9])
    found = read_image(written(tmp_path, palette, "a.gif", transparency=2))
    np.testing.assert_array_equal(found, [[[10, 20, 30], [200, 100, 50]], [[255] * 3, [200, 100, 50]]])


def test_grey_tiffs_of_16_and_32_bits(tmp_path):
    values = np.array([[0, 255, 256, 65535], [1, 32767, 32768, 65280]], np.uint16)
    path = written(tmp_path, values, "a.tif")
    np.testing.assert_array_equal(read_image(path)[..., 0], values >> 8)
    assert images.measure(path.read_bytes()) == (2, 4, 1)
    inverted = tmp_path / "b.tif"
    Image.fromarray(values).save(inverted, tiffinfo={262: 0})
    if b"\x06\x01\x03\0\x01\0\0\0\0\0" in inverted.read_bytes():  # the tag was written
        np.testing.assert_array_equal(read_image(inverted)[..., 0], (65535 - values) >> 8)
    np.testing.assert_array_equal(read_image(written(tmp_path, values.astype(np.int32), "c.tif"))[..., 0], values >> 8)
    for array, message in ((values.astype(np.int32) * 2, "pixels from 0 to 131070, whose range is unknown"),
                           (values.astype(np.int32) - 1, "pixels from -1 to 65534, whose range is unknown"),
                           (values.astype(np.float32) / 65535, "pixels that are floats")):
        path = written(tmp_path, array, "d.tif")
        with pytest.raises(DataError, match=f"{message}.*; convert it to 8 or 16 bits"):
            read_image(path, size=2)
        with pytest.raises(images.ImageFault, match=message):
            images.measure(path.read_bytes())


@pytest.mark.parametrize(("suffix", "options"), [("tif", {}), ("tif", {"compression": "tiff_lzw"}),
                                                 ("webp", {"lossless": True})])
@pytest.mark.parametrize("orientation", [1, 3, 6, 8])
def test_the_orientation_of_other_formats(tmp_path, suffix, options, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    path = written(tmp_path, RGB, f"a.{suffix}", exif=exif, **options)
    np.testing.assert_array_equal(read_image(path), ORIENTED[orientation](RGB))


ORIENTED = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
            5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, -1), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
            8: lambda a: np.rot90(a)}


@pytest.mark.parametrize("orientation", [*ORIENTED, 0, 9])
def test_exif_orientation(tmp_path, orientation):
    exif = Image.Exif()
    exif[0x0112] = orientation
    expected = ORIENTED.get(orientation, ORIENTED[1])(RGB)
    np.testing.assert_array_equal(read_image(written(tmp_path, RGB, exif=exif)), expected)

    rows, late = [bytes(row.reshape(-1)) for row in RGB], chunk(b"eXIf", exif.tobytes()[6:])
    np.testing.assert_array_equal(images.decode(png(6, 4, 8, 2, rows, behind=[late]), None, 3), expected)
    assert images.decode(png(6, 4, 8, 2, rows, behind=[late]), (3, 2), 1).shape == (3, 2, 1)

    big = np.zeros((64, 128, 3), np.uint8)
    big[:32, :32] = 255
    path = written(tmp_path, big, "a.jpg", exif=exif, quality=95)
    expected = ORIENTED.get(orientation, ORIENTED[1])(big)
    assert read_image(path).shape == expected.shape
    tiny, wanted = read_image(path, size=(expected.shape[0] // 16, expected.shape[1] // 16)), expected[8::16, 8::16]
    np.testing.assert_array_equal(tiny > 128, wanted > 128)  # decoded at a fraction of its size, and turned


def test_damaged_exif_does_not_matter(tmp_path):
    path = written(tmp_path, RGB, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff")
    np.testing.assert_array_equal(read_image(path), RGB)


@pytest.mark.parametrize("size", [np.int64(5), (np.int32(5), 5), [5, 5], (5, np.uint8(5))], ids=repr)
def test_sizes_may_be_numbers_of_numpy_and_lists(tmp_path, size):
    path = written(tmp_path, RGB)
    np.testing.assert_array_equal(read_image(path, size=size), read_image(path, size=5))
    pictures = Images(tmp_path, iter(["a.png"]), size=size)
    assert pictures.shape == (1, 5, 5, 3) and {type(side) for side in pictures.size} == {int}


def test_a_palette_in_grey_is_its_colours_in_grey(tmp_path):
    palette = Image.fromarray(np.array([[0, 1], [2, 1]], np.uint8), "P")
    palette.putpalette([10, 20, 30, 200, 100, 50, 7, 8, 9])
    expected = np.array([[10, 20, 30], [200, 100, 50], [7, 8, 9]]) @ [0.299, 0.587, 0.114]
    found = read_image(written(tmp_path, palette), channels=1)[..., 0]
    assert np.abs(found - expected[[[0, 1], [2, 1]]]).max() <= 1


def test_resizing_averages(tmp_path):
    checks = np.indices((32, 48)).sum(axis=0) % 2 * 255
    path = written(tmp_path, checks.astype(np.uint8))
    small = read_image(path, size=(4, 6), channels=1)
    assert small.shape == (4, 6, 1) and np.abs(small.astype(int) - 127.5).max() < 8
    ramp = np.repeat(np.arange(0, 250, 10, dtype=np.uint8)[None], 20, axis=0)
    large = read_image(written(tmp_path, ramp), size=(7, 50), channels=1)
    assert large.shape == (7, 50, 1) and (np.diff(large[3, :, 0].astype(int)) >= 0).all()
    np.testing.assert_array_equal(read_image(written(tmp_path, RGB), size=(4, 6)), RGB)
    assert read_image(written(tmp_path, RGB), size=5).shape == (5, 5, 3)


def test_large_jpegs_are_decoded_small_and_look_the_same(tmp_path):
    y, x = np.mgrid[:700, :1000]
    picture = np.stack([127 + 100 * np.sin(x / 90), 127 + 100 * np.cos(y / 70), (x + y) / 8], axis=-1).astype(np.uint8)
    path = written(tmp_path, picture, "a.jpg", quality=95)
    expected = np.asarray(Image.fromarray(picture).resize((100, 70), Image.Resampling.BILINEAR)).astype(int)
    assert np.abs(read_image(path, size=(70, 100)) - expected).max() < 6


def test_a_turned_jpeg_is_decoded_large_enough(tmp_path):
    """128 wide, as it is seen, and wanted 64 wide: its stripes of 4 must stay, whatever happens to the other axis."""
    stripes = (np.arange(128) + 2) // 4 % 2 * 255
    exif = Image.Exif()
    exif[0x0112] = 6
    path = written(tmp_path, np.repeat(stripes[:, None], 1024, axis=1).astype(np.uint8), "a.jpg", exif=exif, quality=95)
    assert read_image(path, size=(16, 64), channels=1).std() > 90


# --- what is wrong --------------------------------------------------------------------------------------------------

def jpeg():
    buffer = io.BytesIO()
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (60, 60, 3), dtype=np.uint8)).save(buffer, "JPEG")
    return buffer.getvalue()


def webp():
    buffer = io.BytesIO()
    Image.fromarray(RGB).save(buffer, "WebP", lossless=True)
    return buffer.getvalue()


GOOD = png(6, 4, 8, 2, [bytes(row.reshape(-1)) for row in RGB])
FAULTS = {
    "empty": (b"", "is empty; copy it again"),
    "text": (b"hello", "must be a PNG, JPEG, WebP, BMP, TIFF or GIF, starts with 68 65 6c 6c; convert it"),
    "another format": (b"8BPS" + bytes(30), "must be a PNG, JPEG, .* starts with 38 42 50 53"),
    "gif": (b"GIF89a" + bytes(30), "is damaged|must have 1 to"),
    "webp without a chunk": (b"RIFF\0\0\0\0WEBP", "must have 1 to"),
    "webp bomb": (b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\xff\xff" * 2,
                  ".*promises 16,777,216 x 16,777,216"),
    "lossless webp bomb": (b"RIFF\x1e\0\0\0WEBPVP8L\x0a\0\0\0/" + struct.pack("<Ib", 15999 | 11999 << 14, 0),
                           ".*promises 12,000 x 16,000"),
    "lossy webp bomb": (b"RIFF\x1e\0\0\0WEBPVP8 \x0a\0\0\0" + bytes(3) + b"\x9d\x01\x2a"
                        + struct.pack("<HH", 16000 | 1 << 14, 12000 | 2 << 14), ".*promises 12,000 x 16,000"),
    "webp cut": (webp()[:40], "is damaged"),
    "bmp alone": (b"BM", "is damaged"),
    "tiff alone": (b"II*\0", "is damaged"),
    "png signature alone": (GOOD[:8], "is damaged"),
    "png cut in its header": (GOOD[:20], "is damaged"),
    "png cut": (GOOD[:-30], "is damaged"),
    "png without data": (GOOD[:33] + GOOD[-12:], "is damaged"),
    "png checksum": (GOOD[:30] + b"\0" + GOOD[31:], "is damaged"),
    "jpeg start alone": (b"\xff\xd8\xff", "is damaged"),
    "jpeg cut": (jpeg()[:-400], "is damaged .*truncated"),
    "jpeg header": (jpeg()[:100], "is damaged"),
    "no pixels": (png(0, 4, 8, 2, []), "must have 1 to 67,108,864 pixels, its header promises 4 x 0|is damaged"),
    "bomb": (png(60000, 60000, 1, 0, []), "must have 1 to 67,108,864 pixels, its header promises 60,000 x 60,000;"),
    "little more than allowed": (png(8193, 8192, 8, 0, []), "must have .* its header promises 8,192 x 8,193"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_damage_is_one_error_that_names_file_and_fault(tmp_path, fault):
    content, message = FAULTS[fault]
    path = tmp_path / "picture.png"
    path.write_bytes(content)
    for options in ({}, {"size": 8, "channels": 1}):
        with pytest.raises(DataError, match=f"^read_image: .*picture.png ({message})") as caught:
            read_image(path, **options)
        assert "\n" not in str(caught.value)
    with pytest.raises(images.ImageFault, match=message):
        images.measure(content)


def test_paths_that_are_no_files(tmp_path):
    with pytest.raises(DataError, match="is a folder, not a file"):
        read_image(tmp_path)
    with pytest.raises(DataError, match="is not there; check the path"):
        read_image(tmp_path / "nothing.png")
    with pytest.raises(DataError, match="cannot be read"):
        read_image(tmp_path / "zero\0byte.png")
    with pytest.raises(DataError, match="null is not a regular file"):
        read_image("/dev/null")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(DataError, match="is not a regular file"):
        read_image(tmp_path / "pipe.png")


def test_a_name_cannot_write_to_the_terminal(tmp_path):
    path = tmp_path / "red\x1b[31m\nnew line \udcff.png"
    path.write_bytes(b"")
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert str(caught.value).isprintable() and "red\\x1b[31m\\nnew line \\udcff.png is empty" in str(caught.value)


def test_large_files_are_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(images, "MAX_BYTES", 100)
    path = tmp_path / "a.png"
    path.write_bytes(GOOD + bytes(200))
    with pytest.raises(DataError, match="must have at most 100 bytes, has more; make it smaller"):
        read_image(path)


@pytest.mark.parametrize(("options", "message"), [
    ({"channels": 2}, r"channels must be 1 \(grey\) or 3 \(colours\), got 2; channels=3\?"),
    ({"size": 0}, r"size must be \(height, width\).* got 0; size=\(224, 224\)"),
    ({"size": (3, 4, 5)}, "size must be"), ({"size": (3.0, 4)}, "size must be"), ({"size": "a"}, "size must be"),
    ({"size": True}, "size must be"), ({"size": (0, 4)}, "size must be"), ({"size": (4, 0)}, "size must be"),
    ({"size": (-2, -2)}, "size must be"), ({"size": (2**20, 2**20)}, ".*67,108,864 pixels at most"),
])
def test_arguments(options, message):
    with pytest.raises(ArgumentError, match=f"read_image: {message}"):
        read_image("a.png", **options)


def test_without_pillow(tmp_path, monkeypatch):
    path = written(tmp_path, RGB)
    monkeypatch.setitem(sys.modules, "PIL.PngImagePlugin", None)
    with pytest.raises(DataError, match=r"images are read by Pillow.*; pip install pillow"):
        read_image(path)


def test_a_pillow_that_cannot_read_webp_is_said(tmp_path, monkeypatch):
    from PIL import WebPImagePlugin

    monkeypatch.setattr(WebPImagePlugin, "SUPPORTED", False)
    (tmp_path / "a.webp").write_bytes(webp())
    with pytest.raises(DataError, match=r"a\.webp is a WebP, which this installation of Pillow cannot read; convert"):
        read_image(tmp_path / "a.webp")


def test_a_fault_without_words_is_named_by_its_kind():
    assert str(formats.damaged(MemoryError())) == "is damaged (MemoryError); copy it again"
    assert str(formats.damaged(OSError("cut\n"))) == r"is damaged (cut\n); copy it again"


# --- many -----------------------------------------------------------------------------------------------------------

@pytest.fixture
def source(tmp_path):
    rng = np.random.default_rng(0)
    pictures = rng.integers(0, 256, (150, 5, 4, 3), dtype=np.uint8)
    for number, picture in enumerate(pictures):
        written(tmp_path, picture, f"{number}.png")
    return Images(tmp_path, [f"{number}.png" for number in range(150)], size=(5, 4)), pictures


def test_images_are_an_array(source):
    source, pictures = source
    assert source.shape == pictures.shape and source.dtype == np.uint8 and len(source) == 150 and source.ndim == 4
    assert source.nbytes == pictures.nbytes and repr(source).endswith("150 x 5 x 4 x 3)")
    for index in (np.array([3, 0, 3]), [7], slice(2, 9, 3), np.arange(150) % 2 == 0, np.array([], int), 5, -1):
        np.testing.assert_array_equal(source[index], pictures[index], strict=True)
    with pytest.raises(IndexError):
        source[150]


@pytest.mark.parametrize("threads", [None, 1, 3])
def test_images_in_memory_if_they_fit(source, threads, monkeypatch):
    source, pictures = source
    asked, prefetch = [], images.prefetch
    monkeypatch.setattr(images, "prefetch", lambda *given: asked.append(given[2:]) or prefetch(*given))
    np.testing.assert_array_equal(source.in_memory(threads=threads), pictures, strict=True)
    assert asked == [(threads,)]
    assert source.in_memory(pictures.nbytes) is not source
    assert source.in_memory(pictures.nbytes - 1) is source


def test_an_image_that_became_unreadable(source):
    source, _ = source
    (source.root / "77.png").write_bytes(b"")
    for use in (lambda: source[[1, 77]], lambda: source.in_memory(threads=2)):
        with pytest.raises(DataError, match=r"Images: .*77\.png is empty"):
            use()


def test_images_need_a_size(tmp_path):
    with pytest.raises(ArgumentError, match="Images: size must be given"):
        Images(tmp_path, ["a.png"], size=None)


@pytest.mark.parametrize("size", [(40, 30), (30, 40), (20, 25), 30])
@pytest.mark.parametrize("shape", [(30, 40), (40, 30), (30, 30)])
def test_the_shape_is_the_one_asked_for(tmp_path, shape, size):
    """Also where the picture has these sides the other way round."""
    path = written(tmp_path, np.zeros((*shape, 3), np.uint8))
    assert read_image(path, size=size).shape == (*(size if isinstance(size, tuple) else (size, size)), 3)


def test_the_largest_picture_is_read(tmp_path, monkeypatch):
    path = written(tmp_path, np.zeros((3, 4), np.uint8))
    monkeypatch.setattr(images, "MAX_PIXELS", 12)
    assert read_image(path, channels=1).shape == (3, 4, 1)
    assert read_image(path, size=(4, 3)).shape == (4, 3, 3)
    monkeypatch.setattr(images, "MAX_BYTES", path.stat().st_size)
    assert read_image(path).shape == (3, 4, 3)
    for name, most in (("MAX_PIXELS", 11), ("MAX_BYTES", path.stat().st_size - 1)):
        with monkeypatch.context() as patch, pytest.raises(DataError, match="must have"):
            patch.setattr(images, name, most)
            read_image(path)
