"""Write files whole or not at all."""

import glob
import os
from contextlib import suppress
from pathlib import Path


def write_whole(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file so that `path` holds the old content or the new, also after a crash or on a full disk.

    The content is written to a temporary file in the same folder and flushed to the disk; then that file replaces
    `path`. Missing folders are made.

    Errors: OSError if that is not possible; `path` is unchanged then.

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
        with suppress(OSError):  # some file systems cannot flush a folder; the file is there all the same
            folder = os.open(path.parent, os.O_RDONLY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)


def remove_parts(path: str | os.PathLike[str]) -> None:
    """Remove the temporary files of a killed `write_whole(path)`. No other process may be writing `path`."""
    path = Path(path)
    for part in path.parent.glob(f".{glob.escape(path.name)}.*.part"):
        part.unlink(missing_ok=True)
