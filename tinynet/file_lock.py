"""A lock of the operating system on an open file. It ends with the file, and with the process."""

import sys

if sys.platform == "win32":
    import msvcrt

    def take(descriptor: int) -> None:
        """Take the lock. Errors: BlockingIOError if it is held, another OSError for a file system without locks."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError as error:
            raise BlockingIOError(*error.args) from error
elif sys.platform == "emscripten":
    def take(descriptor: int) -> None:
        """Take no lock: a browser has one process for a page, and files of its own for it."""
else:
    import fcntl

    def take(descriptor: int) -> None:
        """Take the lock. Errors: BlockingIOError if it is held, another OSError for a file system without locks."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
