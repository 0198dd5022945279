"""Images in files: PNG and JPEG of any size and kind, as arrays of bytes.

The result is always uint8 of shape (height, width, channels), with 1 or 3 channels:

    orientation     turned as the EXIF orientation says, which cameras write; in a PNG also from behind the pixels
    16 bits         the high byte of each value: 0 ... 65535 becomes 0 ... 255
    alpha           composited onto white; a single transparent value is compared at its full depth
    palette, CMYK, black and white      converted to the colours that they stand for
    channels        grey is repeated for 3 channels; 1 channel is 0.299 R + 0.587 G + 0.114 B
    size            resized to the requested size, stretched if the proportions differ, with Pillow's BILINEAR filter,
                    which averages over all pixels that fall into one
    large JPEG      decoded at 1/2, 1/4 or 1/8 of its size ("draft"), if that is at least twice the requested size;
                    the pixels are averages, and this is much faster

Files are not trusted. The format is determined by the first bytes, not by the name, and no other decoder is tried. The
size is checked before memory is allocated. Texts and colour profiles of a PNG are not read, whatever their size. Each
fault is a `DataError` that names the file. A decoder does not notice all damage: a wrong byte in the middle of a JPEG
gives a wrong picture, not an error.
"""

import os
import stat
import struct
from collections.abc import Iterable
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tinynet.data.prefetch import prefetch
from tinynet.errors import ArgumentError, DataError, printable
from tinynet.types import Array

MAX_PIXELS = 1 << 26  # 8192 x 8192
MAX_BYTES = 1 << 28
MEMORY = 2 << 30  # the default limit of `in_memory`, in bytes
CHUNK = 64  # files that a thread decodes at once
SUFFIXES = (".png", ".jpg", ".jpeg", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp")

Size = int | tuple[int, int]
ImageSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO

_PNG, _JPEG = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_ORIENTATION = 0x0112  # the EXIF tag
_METADATA = (b"tEXt", b"zTXt", b"iTXt", b"iCCP")  # chunks of a PNG that do not change the pixels
_DRAFT = 2  # a JPEG is decoded at no less than twice the requested size


class ImageFault(Exception):
    """A fault of a file, worded to follow its name: "is empty"."""


def read_image(source: ImageSource, *, size: Size | None = None, channels: int = 3) -> np.ndarray:
    """Read a PNG or JPEG file as a uint8 array (height, width, channels), converted as the module describes.

    source     a path, the bytes of a file, or a file that is open for reading bytes
    size       (height, width), or one number for both; None keeps the size of the file
    channels   1 for grey, 3 for red, green, blue

    Raises `DataError`, which names the file, if it is missing, empty, damaged, of another format, or larger than
    `MAX_PIXELS` pixels or `MAX_BYTES` bytes; `ArgumentError` for another source. Needs Pillow: pip install pillow.

    >>> import tempfile
    >>> from PIL import Image
    >>> path = Path(tempfile.mkdtemp(), "grey.png")
    >>> Image.new("L", (40, 30), 200).save(path)
    >>> read_image(path).shape, read_image(path, size=28, channels=1)[0, 0].tolist()
    ((30, 40, 3), [200])
    """
    size, channels = checked_size("read_image", size, channels)
    try:
        return decode(_content(source), size, channels)
    except ImageFault as fault:
        raise DataError(f"read_image: {_name_of(source)} {fault}") from fault


def _content(source: Any) -> bytes:
    """The content of an image file. Raises `ImageFault`."""
    if isinstance(source, str | os.PathLike):
        return file_content(Path(source))
    if hasattr(source, "read"):
        try:
            source = source.read(MAX_BYTES + 1)
        except (OSError, ValueError) as fault:  # ValueError: it is closed
            raise ImageFault(f"cannot be read ({getattr(fault, 'strerror', None) or fault}); is it open?") from fault
    if not isinstance(source, bytes | bytearray | memoryview):
        raise ArgumentError(f"read_image: source must be a path, bytes, or a file that is open for reading bytes, got "
                            f"{type(source).__name__}; open(path, 'rb')?")
    if len(source) > MAX_BYTES:
        raise _too_long()
    return bytes(source)


def _name_of(source: Any) -> str:
    """What a message calls an image."""
    name = source if isinstance(source, str | os.PathLike) else getattr(source, "name", None)
    return printable(name) if isinstance(name, str | os.PathLike) else "the image"


class Images:
    """Images in files as one array (N, height, width, channels) that is read when it is indexed.

        images[indices]    uint8 (n, height, width, channels), for an array or list of integers, or a slice
        images[3]          uint8 (height, width, channels)

    Pass it to a `Loader` in place of an array; the loader's threads decode in the background. `ImageFolder.images`
    returns one. Reading a file raises the `DataError` of `read_image`.

    >>> import tempfile
    >>> from PIL import Image
    >>> folder = Path(tempfile.mkdtemp())
    >>> for name in ("a.png", "b.png"):
    ...     Image.new("RGB", (20, 10)).save(folder / name)
    >>> images = Images(folder, ["a.png", "b.png"], size=(8, 9))
    >>> images.shape, images[[1, 0, 1]].shape, type(images.in_memory()).__name__
    ((2, 8, 9, 3), (3, 8, 9, 3), 'ndarray')
    """

    dtype = np.dtype(np.uint8)
    ndim = 4

    def __init__(self, root: str | os.PathLike[str], names: Iterable[str], *, size: Size, channels: int = 3) -> None:
        checked, self.channels = checked_size("Images", size, channels)
        if checked is None:
            raise ArgumentError("Images: size must be given, got None; size=(224, 224)?")
        self.root, self.names, self.size = Path(os.path.abspath(root)), tuple(names), checked  # also after os.chdir
        self.shape = (len(self.names), *self.size, self.channels)

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"Images({printable(self.root)!r}: {' x '.join(map(str, self.shape))})"

    @property
    def nbytes(self) -> int:
        """The size of all images in memory, in bytes."""
        return int(np.prod(self.shape, dtype=np.int64))

    def __getitem__(self, index: int | slice | Array) -> np.ndarray:
        positions = np.arange(len(self.names))[index]
        if positions.ndim == 0:
            return self._read(int(positions))
        out = np.empty((len(positions), *self.shape[1:]), np.uint8)
        for row, position in enumerate(positions):
            out[row] = self._read(int(position))
        return out

    def listing(self) -> str:
        """Names and sizes in bytes of the files, a line for each: other images of these names mostly differ in size."""
        files = [(name, os.path.join(self.root, name)) for name in self.names]
        return "\n".join(f"{name} {os.path.getsize(file) if os.path.exists(file) else 0}" for name, file in files)

    def in_memory(self, limit: int = MEMORY, *, threads: int | None = None) -> "np.ndarray | Images":
        """All images as an array, decoded by threads, if it has at most `limit` bytes; else this object.

        threads   None for one per processor, at most 8
        """
        if self.nbytes > limit:
            return self
        out = np.empty(self.shape, np.uint8)

        def fill(start: int) -> None:
            for position in range(start, min(start + CHUNK, len(out))):
                out[position] = self._read(position)

        for _ in prefetch(fill, range(0, len(out), CHUNK), threads):
            pass
        return out

    def _read(self, position: int) -> np.ndarray:
        path = self.root / self.names[position]
        try:
            return read(path, self.size, self.channels)
        except ImageFault as fault:
            raise DataError(f"Images: {printable(path)} {fault}") from fault


def checked_size(function: str, size: Any, channels: int) -> tuple[tuple[int, int] | None, int]:
    """`size` as a pair (or None), and `channels`. Raises `ArgumentError` for invalid ones."""
    if channels not in (1, 3):
        raise ArgumentError(f"{function}: channels must be 1 (grey) or 3 (colours), got {channels!r}; channels=3?")
    if size is None:
        return None, channels
    sides = tuple(size) if isinstance(size, tuple | list) else (size, size)
    whole = all(isinstance(side, int | np.integer) and not isinstance(side, bool) for side in sides)
    if len(sides) != 2 or not whole or min(sides) < 1 or sides[0] * sides[1] > MAX_PIXELS:
        raise ArgumentError(f"{function}: size must be (height, width), at least 1 each and {MAX_PIXELS:,} pixels at "
                            f"most, got {size!r}; size=(224, 224)?")
    return (int(sides[0]), int(sides[1])), channels


def read(path: Path, size: tuple[int, int] | None, channels: int) -> np.ndarray:
    """Read an image as `read_image` does, with checked arguments. Raises `ImageFault`."""
    return decode(file_content(path), size, channels)


def decode(content: bytes, size: tuple[int, int] | None, channels: int) -> np.ndarray:
    """The image in the content of a file, uint8 (height, width, channels). Raises `ImageFault`."""
    image = _opened(content)
    try:
        return _pixels(image, size, channels)
    except Exception as fault:  # a decoder raises all kinds of errors for a damaged file
        raise _damaged(fault) from fault


def measure(content: bytes) -> tuple[int, int, int]:
    """Height, width and channels of the image in the content of a file, which is decoded to check it.

    Raises `ImageFault`.
    """
    image = _opened(content)
    (width, height), mode = image.size, image.mode
    try:
        if image.format == "JPEG":
            image.draft(None, (1, 1))  # reads all of the file, computes an eighth of the size
        image.load()
    except Exception as fault:
        raise _damaged(fault) from fault
    return height, width, 1 if mode in ("1", "L", "LA", "I", "I;16") else 3


def file_content(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):  # reading a pipe or a device may never end
            raise ImageFault("is a folder, not a file" if stat.S_ISDIR(status.st_mode) else "is not a regular file")
        with path.open("rb") as file:
            content = file.read(MAX_BYTES + 1)
    except FileNotFoundError as fault:
        raise ImageFault("is not there; check the path") from fault
    except (OSError, ValueError) as fault:
        raise ImageFault(f"cannot be read ({getattr(fault, 'strerror', None) or fault}); check its permissions"
                         ) from fault
    if len(content) > MAX_BYTES:
        raise _too_long()
    return content


def _opened(content: bytes) -> Any:
    """An image with only its header read. `Image.open` would try dozens of formats."""
    try:
        from PIL.JpegImagePlugin import JpegImageFile
        from PIL.PngImagePlugin import PngImageFile
    except ImportError as fault:
        raise DataError(f"read_image: images are read by Pillow, which cannot be imported ({fault}); "
                        "pip install pillow") from fault
    if not content:
        raise ImageFault("is empty; copy it again")
    if not content.startswith((_PNG, _JPEG)):
        raise ImageFault(f"must be a PNG or a JPEG, starts with {content[:4].hex(' ')}; convert it")
    image: Any
    try:
        if content.startswith(_PNG):
            content = _without_metadata(content)
            image = PngImageFile(BytesIO(content))
            _scale_transparency(image, content[24])
            if image.mode == "RGB" and content[24] == 16 and "transparency" in image.info:
                low = image.info["low"] = PngImageFile(BytesIO(content))
                low.tile = [tile._replace(args="RGB;16L") for tile in low.tile]  # decodes the low bytes
        else:
            image = JpegImageFile(BytesIO(content))
    except Exception as fault:
        raise _damaged(fault) from fault
    width, height = image.size
    if not 1 <= width * height <= MAX_PIXELS:
        raise ImageFault(f"must have 1 to {MAX_PIXELS:,} pixels, its header promises {height:,} x {width:,}; "
                         "make it smaller")
    return image


def _without_metadata(content: bytes) -> bytes:
    """A PNG without texts and colour profile. Pillow refuses large ones, although the pixels are good."""
    kept, start = [content[: len(_PNG)]], len(_PNG)
    while start + 8 <= len(content):
        length, name = struct.unpack_from(">I4s", content, start)
        if name not in _METADATA:
            kept.append(content[start : start + 12 + length])  # length, name, data, checksum
        start += 12 + length
    return b"".join(kept)


def _scale_transparency(image: Any, bits: int) -> None:
    """Scale the transparent grey value as Pillow scales the pixels of 1, 2 and 4 bits: to 0 ... 255."""
    value = image.info.get("transparency")
    if image.mode in ("1", "L") and isinstance(value, int) and bits < 8:
        image.info["transparency"] = value * 255 // ((1 << bits) - 1)


def _too_long() -> ImageFault:
    return ImageFault(f"must have at most {MAX_BYTES:,} bytes, has more; make it smaller")


def _damaged(fault: Exception) -> ImageFault:
    return ImageFault(f"is damaged ({printable(str(fault)) or type(fault).__name__}); copy it again")


def _pixels(image: Any, size: tuple[int, int] | None, channels: int) -> np.ndarray:
    from PIL import Image

    if image.format == "PNG":
        image.load()  # the chunk with the orientation may follow the pixels
    turn = _turn(image, Image.Transpose)
    if size is not None and image.format == "JPEG":
        height, width = size if turn is None or turn in _UPRIGHT else size[::-1]
        image.draft(None, (_DRAFT * width, _DRAFT * height))
    image = _in_mode(image, "L" if channels == 1 else "RGB", Image)
    if turn is not None:
        image = image.transpose(Image.Transpose(turn))
    if size is not None and image.size != size[::-1]:
        image = image.resize(size[::-1], Image.Resampling.BILINEAR)
    return np.array(image, np.uint8).reshape(image.height, image.width, channels)


_UPRIGHT = (0, 1, 3)  # Pillow's numbers of the transpositions that keep height and width: two mirrors, half a turn


def _turn(image: Any, ways: Any) -> int | None:
    """The transposition that the EXIF orientation of an image asks for, or None."""
    if "exif" not in image.info:
        return None
    try:
        orientation = image.getexif().get(_ORIENTATION)
    except Exception:  # the pixels are good all the same
        return None
    return {2: ways.FLIP_LEFT_RIGHT, 3: ways.ROTATE_180, 4: ways.FLIP_TOP_BOTTOM, 5: ways.TRANSPOSE,
            6: ways.ROTATE_270, 7: ways.TRANSVERSE, 8: ways.ROTATE_90}.get(orientation)


def _in_mode(image: Any, mode: str, Image: Any) -> Any:
    """The image in mode L or RGB."""
    if image.mode.startswith("I"):
        image.load()
        values = np.asarray(image).astype(np.uint16)
        high = (values >> 8).astype(np.uint8)
        high[values == image.info.get("transparency", -1)] = 255
        return Image.fromarray(high).convert(mode)
    if "low" in image.info:
        pixels = np.array(image)
        values = pixels.astype(np.uint16) << 8 | np.asarray(image.info["low"])
        pixels[(values == image.info["transparency"]).all(axis=-1)] = 255
        return Image.fromarray(pixels).convert(mode)
    if image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    if image.mode == "P":
        image = image.convert("RGB")
    return image.convert(mode)
