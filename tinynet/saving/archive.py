"""A file of named arrays and a JSON header, with a checksum: what saved models and checkpoints have in common.

The file is a safetensors table. The header is one entry of its metadata, under the name of the format, such as
"tinynet 1"; it also holds the checksum, "crc32". Nothing in such a file can run.
"""

import json
import os
import reprlib
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinynet.atomic import write_whole
from tinynet.errors import TinynetError, printable

_DTYPES = {"F16": "float16", "F32": "float32", "F64": "float64", "I32": "int32", "I64": "int64"}
_OTHERS = (  # what files of other programs are, how they begin, and what reads them
    ("a ZIP archive, such as a file of PyTorch or of Keras", b"PK\x03\x04", "tn.exchange.from_torch or from_keras?"),
    ("an HDF5 file, such as one of Keras", b"\x89HDF", "tn.exchange.from_keras?"),
    ("a pickle, such as an old file of PyTorch", b"\x80\x02", "tn.exchange.from_torch?"),
    ("an array of NumPy", b"\x93NUMPY", "np.load, and model.load_state_dict?"))
_LONGEST = 200  # characters of another error's message that a message repeats


class Format(NamedTuple):
    """A kind of archive, and the words of its errors.

    name          of the metadata entry that holds the header
    what          the kind of file, as in "must be a saved model"
    error         the class of its errors
    write, read   the operations that errors name; tn.<write> writes such a file
    fix           the advice for a damaged file
    sealed        whether the checksum is required, and covers the header too
    """

    name: str
    what: str
    error: type[TinynetError]
    write: str
    read: str
    fix: str
    sealed: bool


class Archive(NamedTuple):
    """An open archive: its header, without the checksum, and for each array its dtype and shape."""

    header: Any
    kinds: dict[str, tuple[str, tuple[int, ...]]]
    arrays: Callable[[], dict[str, np.ndarray]]  # read them and compare the checksum


def write(path: str | os.PathLike[str], form: Format, header: Mapping[str, Any],
          arrays: Mapping[str, np.ndarray]) -> None:
    """Write an archive, whole or not at all: `path` holds the old content or the new one.

    Errors: the format's, if the file cannot be written.

    >>> import tempfile
    >>> from tinynet.errors import DataError
    >>> table = Format("table 1", "a table", DataError, "save", "load", "save it again", sealed=True)
    >>> path = Path(tempfile.mkdtemp()) / "table.safetensors"
    >>> write(path, table, {"unit": "m"}, {"length": np.ones(2)})
    >>> with opened(path, table) as archive:
    ...     print(archive.header, archive.kinds, archive.arrays())
    {'unit': 'm'} {'length': ('float64', (2,))} {'length': array([1., 1.])}
    """
    from safetensors.numpy import save

    plain = {name: np.ascontiguousarray(array).reshape(array.shape) for name, array in arrays.items()}
    text = json.dumps({**header, "crc32": _checksum(form, header, plain)})
    try:
        write_whole(path, save(plain, {form.name: text}))
    except OSError as error:
        kept = "the old file is unchanged" if os.path.exists(path) else "no file was written"
        raise form.error(f"{form.write}: {path} cannot be written ({error.strerror or error}), {kept}; "
                         "is there enough space, and permission to write?") from error


@contextmanager
def opened(path: str | os.PathLike[str], form: Format) -> Iterator[Archive]:
    """Open an archive. Its arrays are read on demand, so that their shapes can be checked before memory is taken.

    Errors: the format's, if the file is missing, damaged or of another format.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if not Path(path).is_file():
            found = "a folder" if Path(path).is_dir() else "not there"
            raise form.error(f"{form.read}: {path} must be {form.what}, but it is {found}; tn.{form.write} writes one")
        with safe_open(path, framework="numpy") as file:
            header, crc32 = _header(path, form, file.metadata() or {})
            names = list(file.keys())

            def arrays() -> dict[str, np.ndarray]:
                found = {name: file.get_tensor(name) for name in names}
                if (crc32 is not None or form.sealed) and crc32 != _checksum(form, header, found):
                    raise form.error(f"{form.read}: {path} must be as it was written, but its checksum does not fit, "
                                     f"so it is damaged; {form.fix}")
                return found

            slices = {name: file.get_slice(name) for name in names}
            yield Archive(header, {name: (_DTYPES.get(one.get_dtype(), one.get_dtype()), tuple(one.get_shape()))
                                   for name, one in slices.items()}, arrays)
    except SafetensorError as error:
        with open(path, "rb") as unknown:
            content = unknown.read(8)
        for what, begin, fix in _OTHERS:
            if content.startswith(begin):
                raise form.error(f"{form.read}: {path} must be a safetensors file, and begins as {what}; "
                                 f"{fix}") from error
        raise form.error(f"{form.read}: {path} must be a whole safetensors file, but it is damaged ({said(error)}); "
                         f"{form.fix}") from error
    except OSError as error:
        raise form.error(f"{form.read}: {path} cannot be read ({error.strerror or error}); "
                         "is there permission to read it?") from error


def said(error: Exception) -> str:
    """The message of an error, short and printable, since it may repeat the content of a file.

    >>> said(ValueError("no\\x1b[2J"))
    'no\\\\x1b[2J'
    """
    text = printable(str(error))
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST // 2]} ... {text[-_LONGEST // 2 :]}"


def _header(path: Any, form: Format, metadata: dict[str, str]) -> tuple[Any, Any]:
    """The header and the checksum, if there is one."""
    if form.name not in metadata:
        raise form.error(f"{form.read}: {path} must be of format {form.name!r}, got {reprlib.repr(sorted(metadata))}; "
                         f"was it written by tn.{form.write}, and by this version?")
    try:
        header = json.loads(metadata[form.name])
    except (ValueError, RecursionError) as error:
        raise form.error(f"{form.read}: the header of {path} must be JSON, and is not ({said(error)}), so the file is "
                         f"damaged; {form.fix}") from error
    return header, header.pop("crc32", None) if isinstance(header, dict) else None


def _checksum(form: Format, header: Mapping[str, Any], arrays: Mapping[str, np.ndarray]) -> int:
    crc = zlib.crc32(json.dumps(header, sort_keys=True).encode()) if form.sealed else 0
    for name in sorted(arrays):
        array = np.ascontiguousarray(arrays[name])
        label = f"{name} {array.dtype} {array.shape}" if form.sealed else name
        crc = zlib.crc32(array.data, zlib.crc32(label.encode(), crc))
    return crc
