"""One run at a time for a checkpoint."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import FileIO
from pathlib import Path
from typing import Any
from weakref import WeakSet

from tinynet import file_lock
from tinynet.atomic import beside
from tinynet.errors import CheckpointError
from tinynet.training.run import PathLike

_TRIES = 10


class _LockFile(FileIO):
    """An open file with a lock of the operating system. C code closes it when it has no references left."""

    running: Any = None


_held: WeakSet[_LockFile] = WeakSet()  # of this process


@contextmanager
def locked(path: PathLike | None, running: Any) -> Iterator[None]:
    """Hold the lock of a checkpoint inside `with`; for None, and where the file system has no locks, do nothing.

    The lock is the operating system's, on an empty file beside the checkpoint, and ends with the process. The file is
    removed at the end. That of a killed run stays, and stops no other run.

    running   a `threading.Lock` that is held for the whole run. An exception at the end of `with` may leave the file
              open, with its lock; if `running` is free, the next run closes it

    Errors: CheckpointError if another run holds it, of this process or another one.
    """
    lock = None if path is None or _is_special(path) else beside(path, "lock")
    file = None if lock is None else _taken(lock, running)
    if file is None or lock is None:
        yield
        return
    if file.closed:
        raise CheckpointError(f"fit: {path} must be the checkpoint of one run at a time, and another run is writing it "
                              "now; give another checkpoint, or wait until that run ends")
    try:
        yield
    finally:
        if not file.closed:  # as in a forked child
            with suppress(OSError):  # Windows removes no file that is open
                lock.unlink()
            file.close()


def _is_special(path: PathLike) -> bool:
    """Whether it is a device or a pipe, which any number of runs may write."""
    return os.path.exists(path) and not os.path.isfile(path)


def _taken(lock: Path, running: Any) -> _LockFile | None:
    """The file, whose lock is held now; a closed file if another run holds it; None if there can be no lock."""
    for _ in range(_TRIES):
        try:
            lock.parent.mkdir(parents=True, exist_ok=True)
            file = _LockFile(lock, "a+", opener=lambda name, flags: os.open(name, flags, 0o600))
        except OSError:  # writing the checkpoint will say why
            return None
        file.running = running
        _held.add(file)
        try:
            file_lock.take(file.fileno())
        except BlockingIOError:
            file.close()
            left = [one for one in _held if not one.closed and not one.running.locked()]
            for one in left:
                one.close()
            if left:
                continue
            return file
        except OSError:  # a file system without locks
            file.close()
            return None
        if os.path.exists(lock) and os.path.samestat(os.fstat(file.fileno()), os.stat(lock)):
            return file
        file.close()  # a run that ended meanwhile has removed the file: take the lock of the next one
    return None


def _release_in_child() -> None:
    """In a forked child: it must not keep the locks of its parent, which may be killed."""
    for file in list(_held):
        with suppress(OSError):
            file.close()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_release_in_child)
