"""The cache folder of tinynet: files that can be made or downloaded again.

    mnist/     the four files of MNIST
    kernels/   machine code of kernels, mode 700
    onnxruntime-web-1.30.0/   what runs a model in a web page, mode 700

Machine code is run as it is found. So `private_folder` refuses a folder in which another user could have put it.
"""

import os
from pathlib import Path


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/tinynet, or ~/.cache/tinynet where that variable is not an absolute path. It need not exist."""
    base = os.environ.get("XDG_CACHE_HOME", "")
    return Path(base if os.path.isabs(base) else os.path.expanduser("~/.cache"), "tinynet")


def private_folder(path: str | os.PathLike[str]) -> Path:
    """Make a folder, and the missing ones above it, that only this user may read and write (mode 700). Returns it.

    An existing folder of this user gets mode 700.

    Errors: OSError if the folder cannot be made, belongs to another user, or is relative: a user without a home has no
    cache folder.

    >>> import tempfile
    >>> folder = private_folder(Path(tempfile.mkdtemp()) / "a" / "b")
    >>> folder.is_dir(), oct(folder.stat().st_mode & 0o777)
    (True, '0o700')
    """
    path = Path(path)
    if not path.is_absolute():
        raise FileNotFoundError(f"cache: the folder must have an absolute path, got {path}; set XDG_CACHE_HOME")
    for folder in reversed([path, *path.parents]):
        if not folder.is_dir():
            folder.mkdir(mode=0o700, exist_ok=True)
    if hasattr(os, "geteuid"):
        found = path.stat()
        if found.st_uid != os.geteuid():
            raise PermissionError(f"cache: {path} must belong to this user, got user {found.st_uid}; "
                                  "set XDG_CACHE_HOME to a folder of yours")
        if found.st_mode & 0o077:
            path.chmod(0o700)
    return path
