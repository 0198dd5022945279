"""Files are written whole or not at all."""

import glob
import os
from contextlib import suppress
from pathlib import Path


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that whoever opens `path` finds the old content or the new, also after a crash or a full disk.

    The content goes to a temporary name in the same folder, to the disk, and then takes the place of `path`.
    Missing folders are made. Raises OSError where that is not possible; `path` is unchanged then.

    >>> import tempfile
    >>> path = Path(tempfile.mkdtemp()) / "results.json"
    >>> write_whole(path, b"{}"); path.read_bytes()
    b'{}'
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.name}.{os.urandom(8).hex()}.part")
    try:
        with temporary.open("xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":
        with suppress(OSError):  # the file is there; that its name reaches the disk, too, not every file system can do
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def remove_parts(path: str | os.PathLike[str]) -> None:
    """Remove what `write_whole` left beside `path` where it was killed. Only for files that nobody else is writing."""
    path = Path(path)
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        part.unlink(missing_ok=True)
