"""One run at a time for a checkpoint."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from tinynet.atomic import beside
from tinynet.errors import CheckpointError
from tinynet.training.run import PathLike

_TRIES = 10
_held: set[int] = set()  # file descriptors of this process's locks


@contextmanager
def locked(path: PathLike | None) -> Iterator[None]:
    """Hold the lock of a checkpoint inside `with`; for None, and where the file system has no locks, do nothing.

    The lock is the operating system's, on an empty file beside the checkpoint, and ends with the process. The file is
    removed at the end. That of a killed run stays, and stops no other run.

    Errors: CheckpointError if another run holds it, of this process or another one.
    """
    lock = None if path is None or _is_special(path) else beside(path, "lock")
    descriptor = None if lock is None else _taken(lock)
    if descriptor is None or lock is None:
        yield
        return
    if descriptor < 0:
        raise CheckpointError(f"fit: {path} must be the checkpoint of one run at a time, and another run is writing it "
                              "now; give another checkpoint, or wait until that run ends")
    _held.add(descriptor)
    try:
        yield
    finally:
        if descriptor in _held:  # not in a forked child
            _held.discard(descriptor)
            with suppress(OSError):  # Windows removes no file that is open
                lock.unlink()
            os.close(descriptor)


def _is_special(path: PathLike) -> bool:
    """Whether it is a device or a pipe, which any number of runs may write."""
    return os.path.exists(path) and not os.path.isfile(path)


def _taken(lock: Path) -> int | None:
    """The descriptor of the file, whose lock is held now; -1 if another run holds it; None if there can be no lock."""
    for _ in range(_TRIES):
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(lock, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError:  # writing the checkpoint will say why
            return None
        try:
            _take(descriptor)
        except (BlockingIOError, PermissionError):
            os.close(descriptor)
            return -1
        except OSError:  # a file system without locks
            os.close(descriptor)
            return None
        if os.path.exists(lock) and os.path.samestat(os.fstat(descriptor), os.stat(lock)):
            return descriptor
        os.close(descriptor)  # a run that ended meanwhile has removed the file: take the lock of the next one
    return None


if sys.platform == "win32":
    import msvcrt

    def _take(descriptor: int) -> None:
        """Take the lock. Errors: PermissionError if it is held."""
        msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
else:
    import fcntl

    def _take(descriptor: int) -> None:
        """Take the lock. Errors: BlockingIOError if it is held."""
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _release_in_child() -> None:
    """In a forked child: it must not keep the locks of its parent, which may be killed."""
    for descriptor in _held:
        with suppress(OSError):
            os.close(descriptor)
    _held.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)
