"""Images in files, of any size and kind, as arrays of bytes: PNG, JPEG, WebP, BMP, TIFF, GIF.

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

Of an animation, or a TIFF of several pages, the first frame counts. A TIFF of 32 bits, whose range is unknown, is
refused if a value is outside of 0 ... 65535 or a float.

Files are not trusted. The format is determined by the first bytes, not by the name, and no other decoder is tried
(`formats.py`). The size is checked before memory is allocated. Texts and colour profiles of a PNG are not read,
whatever their size. Each fault is a `DataError` that names the file. A decoder does not notice all damage: a wrong byte
in the middle of a JPEG gives a wrong picture, not an error.
"""

import os
import stat
from collections.abc import Iterable
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from tinynet.data.images.formats import ImageFault, damaged, opened
from tinynet.data.images.pixels import check_range, pixels_of
from tinynet.data.prefetch import prefetch
from tinynet.errors import ArgumentError, DataError, printable
from tinynet.types import Array

MAX_PIXELS = 1 << 26  # 8192 x 8192
MAX_BYTES = 1 << 28
MEMORY = 2 << 30  # the default limit of `in_memory`, in bytes
CHUNK = 64  # files that a thread decodes at once
SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp", ".tif", ".tiff", ".gif",
            ".dib", ".jpe", ".jfif", ".jif", ".pjpeg", ".pjp")
USUAL = ".png, .jpg, .webp, .bmp, .tif or .gif"  # for messages

Size = int | tuple[int, int]
ImageSource = str | os.PathLike[str] | bytes | bytearray | memoryview | BinaryIO


def read_image(source: ImageSource, *, size: Size | None = None, channels: int = 3) -> np.ndarray:
    """Read an image file as a uint8 array (height, width, channels), converted as the module describes.

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
    image = opened(content, MAX_PIXELS)
    try:
        return pixels_of(image, size, channels)
    except ImageFault:
        raise
    except Exception as fault:  # a decoder raises all kinds of errors for a damaged file
        raise damaged(fault) from fault


def measure(content: bytes) -> tuple[int, int, int]:
    """Height, width and channels of the image in the content of a file, which is decoded to check it.

    Raises `ImageFault`.
    """
    image = opened(content, MAX_PIXELS)
    (width, height), mode = image.size, image.mode
    try:
        if image.format == "JPEG":
            image.draft(None, (1, 1))  # reads all of the file, computes an eighth of the size
        image.load()
        check_range(image)
    except ImageFault:
        raise
    except Exception as fault:
        raise damaged(fault) from fault
    return height, width, 1 if mode in ("1", "L", "LA") or mode.startswith("I") else 3


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


def _too_long() -> ImageFault:
    return ImageFault(f"must have at most {MAX_BYTES:,} bytes, has more; make it smaller")
