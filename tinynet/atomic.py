"""Write files whole or not at all."""

import errno
import glob
import hashlib
import os
import stat
from contextlib import suppress
from pathlib import Path

_LONGEST = 100  # bytes of a name that the names of temporary files repeat; some file systems allow 143 in all


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that `path` holds the old content or the new, also after a crash or on a full disk.

    The content is written to a temporary file in the same folder and flushed to the disk; then that file replaces
    `path`. Missing folders are made. An existing file keeps its mode, and its owner where that is allowed. A link stays
    a link: the file that it names is replaced. A device or a pipe is not replaced, but written to.

    Errors: OSError with the name of the file if that is not possible; `path` is unchanged then.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "results.json"
    >>> write_whole(path, b"{}"); path.read_bytes()
    b'{}'
    """
    try:
        _write(path, content)
    except OSError as error:
        error.filename, error.filename2 = os.fspath(path), None
        raise
    except ValueError as error:  # a NUL byte in the name, or no name
        raise OSError(errno.EINVAL, f"invalid name: {error}", os.fspath(path)) from error


def _write(path: str | os.PathLike[str], content: bytes) -> None:
    found = os.stat(path) if os.path.exists(path) else None
    if found and not stat.S_ISREG(found.st_mode):
        with open(path, "wb") as stream:  # IsADirectoryError for a folder
            stream.write(content)
        return
    path = Path(os.path.realpath(path) if os.path.islink(path) else path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = beside(path, f"{os.urandom(8).hex()}.part")
    try:
        with temporary.open("xb") as file:
            if found:
                _make_like(temporary, found)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        with suppress(OSError):  # some file systems cannot flush a folder; the file is there all the same
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def beside(path: str | os.PathLike[str], ending: str) -> Path:
    """The hidden file of a file: in its folder, under its name and `ending`. A long name is replaced by a digest.

    >>> beside("runs/c", "lock").as_posix()
    'runs/.c.lock'
    """
    path = Path(os.path.realpath(path) if os.path.islink(path) else path)
    name = os.fsencode(path.name)
    return path.with_name(f".{path.name if len(name) <= _LONGEST else hashlib.sha256(name).hexdigest()}.{ending}")


def remove_parts(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files of a killed `write_whole(path)`. No other process may be writing `path`."""
    name = beside(path, "")
    for part in name.parent.glob(f"{glob.escape(name.name)}*.part"):
        part.unlink(missing_ok=True)


def _make_like(temporary: Path, found: os.stat_result) -> None:
    """Give a file the owner and the mode of another one."""
    if hasattr(os, "chown"):
        with suppress(PermissionError):
            os.chown(temporary, found.st_uid, found.st_gid)
    temporary.chmod(stat.S_IMODE(found.st_mode))
