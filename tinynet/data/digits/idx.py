"""The IDX format, in which MNIST is published: a header of big-endian integers, then the elements.

    00 00  type  rank   |   rank sizes, 4 bytes each   |   the elements, in C order

`type` is 08 for unsigned bytes, the only type that is read here. A file compressed with gzip is recognised by its
first two bytes, not by its name. The header is not trusted: memory grows with the bytes that are read, in chunks of one
MiB, and never beyond the size in the header.
"""

import gzip
import math
import os
import struct
import zlib
from contextlib import nullcontext
from io import BufferedReader
from pathlib import Path

import numpy as np

from tinynet.errors import DataError
from tinynet.plain import whole

MAX_BYTES = 1 << 30

_Stream = gzip.GzipFile | BufferedReader
_GZIP_MAGIC = b"\x1f\x8b"
_UNSIGNED_BYTE = 0x08
_MAX_RANK = 64  # NumPy's
_PIECE = 1 << 20


def read_idx(path: str | os.PathLike[str], *, rank: int, limit: int = MAX_BYTES) -> np.ndarray:
    """Read an array of `rank` axes from an IDX file of unsigned bytes, compressed with gzip or not.

    Returns a uint8 array of the shape in the header. Raises `DataError` if the file is missing, cannot be read, is
    damaged, has another rank, or has more than `limit` bytes by its header.

    >>> import pathlib, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = pathlib.Path(folder, "labels")
    ...     _ = path.write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 1]))
    ...     read_idx(path, rank=1)
    array([7, 2, 1], dtype=uint8)
    """
    rank, path = whole("read_idx", "rank", rank, 1, _MAX_RANK, usual="do images have 3, and labels 1"), Path(path)
    try:
        _check_file(path)
        with path.open("rb") as file:
            compressed = file.read(len(_GZIP_MAGIC)) == _GZIP_MAGIC
            file.seek(0)
            with gzip.GzipFile(fileobj=file) if compressed else nullcontext(file) as stream:
                shape = _read_header(stream, path, rank, limit)
                return np.frombuffer(_read_elements(stream, path, shape), dtype=np.uint8).reshape(shape)
    except (EOFError, zlib.error, gzip.BadGzipFile) as fault:
        raise _error(path, f"starts as a gzip file but is damaged ({fault})", "fetch it again") from fault
    except OSError as fault:
        raise _error(path, f"cannot be read ({fault.strerror or fault})", "check its permissions") from fault


def _error(path: Path, fault: str, fix: str) -> DataError:
    return DataError(f"read_idx: {path} {fault}; {fix}")


def _check_file(path: Path) -> None:
    if path.is_dir():
        raise _error(path, "is a folder, not a file", "name the file in it")
    if not path.exists():
        raise _error(path, "is not there", "check the path")
    if not path.is_file():  # reading a pipe or a device may never end
        raise _error(path, "is not a regular file", "copy its content into one")


def _read_header(stream: _Stream, path: Path, rank: int, limit: int) -> tuple[int, ...]:
    header = stream.read(4 + 4 * rank)
    if not header:
        raise _error(path, "is empty", "fetch it again")
    if len(header) < 4 or header[:2] != bytes(2):
        raise _error(path, f"must start with 00 00 {_UNSIGNED_BYTE:02x} {rank:02x} (IDX, unsigned bytes, rank {rank}) "
                           f"or {_GZIP_MAGIC.hex(' ')} (gzip), starts with {header[:4].hex(' ')}", "fetch it again")
    if header[2] != _UNSIGNED_BYTE:
        raise _error(path, f"must hold unsigned bytes (type {_UNSIGNED_BYTE:02x}), has type {header[2]:02x}",
                     "convert it to unsigned bytes")
    if header[3] != rank:
        raise _error(path, f"must have rank {rank}, has rank {header[3]}", "are images and labels swapped?")
    if len(header) < 4 + 4 * rank:
        raise _error(path, f"ends within its header of {4 + 4 * rank} bytes, after {len(header)}", "fetch it again")
    shape = struct.unpack(f">{rank}I", header[4:])
    if not 0 < math.prod(shape) <= limit:
        raise _error(path, f"must hold 1 to {limit:,} bytes, its header promises {_product(shape)}",
                     "fetch it again, or raise `limit` if that is right")
    return shape


def _read_elements(stream: _Stream, path: Path, shape: tuple[int, ...]) -> bytearray:
    size = math.prod(shape)
    elements = bytearray()
    while piece := stream.read(min(_PIECE, size - len(elements))):
        elements += piece
    if len(elements) < size:
        raise _error(path, f"promises {_product(shape)} bytes but ends after {len(elements):,}", "fetch it again")
    if stream.read(1):  # at the end of a gzip stream, this read also verifies the checksum
        raise _error(path, f"holds more than the {_product(shape)} bytes that its header promises", "fetch it again")
    return elements


def _product(shape: tuple[int, ...]) -> str:
    return f"{' x '.join(map(str, shape))} = {math.prod(shape):,}" if len(shape) > 1 else f"{shape[0]:,}"
