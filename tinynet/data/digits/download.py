"""Download files whose size and SHA-256 are known.

All mirrors are asked at once, in threads, because the time of a name resolver cannot be limited in another way. The
first mirror to answer is used; if it fails, the next one is. Only a file of the right size and SHA-256 is written.
"""

import queue
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tinynet.atomic import write_whole
from tinynet.errors import DataError, counted

CONNECT_SECONDS = 3.0  # for all mirrors together
STALL_SECONDS = 10.0  # without a single byte
TRANSFER_SECONDS = 300.0  # for one file

_PIECE = 1 << 16


@dataclass(frozen=True)
class RemoteFile:
    """A file: its name on the mirrors, its size in bytes, its SHA-256 in hexadecimal."""

    name: str
    size: int
    sha256: str

    def is_in(self, folder: Path) -> bool:
        """Whether `folder` holds this file with the right content."""
        path = folder / self.name
        try:
            return path.stat().st_size == self.size and self.matches(path.read_bytes())
        except OSError:
            return False

    def matches(self, content: bytes) -> bool:
        """Whether `content` is that of this file."""
        import hashlib

        return len(content) == self.size and hashlib.sha256(content).hexdigest() == self.sha256


class _MirrorError(Exception):
    """A mirror failed, or sent a wrong file. Another one may work."""


def download(files: Sequence[RemoteFile], mirrors: Sequence[str], folder: Path) -> None:
    """Fetch those of `files` that `folder` lacks, from the first of `mirrors` (addresses ending in "/") to answer.

    Raises `DataError`, with the sizes and hashes of the missing files, if no mirror answers within `CONNECT_SECONDS`,
    if all send wrong bytes, or if the folder cannot be written. Files fetched before a failure stay; temporary files
    are removed.
    """
    missing = [file for file in files if not file.is_in(folder)]
    if not missing:
        return
    faults = {mirror: f"no answer within {CONNECT_SECONDS:g} seconds" for mirror in mirrors}
    for mirror in _answering(mirrors, min(missing, key=lambda file: file.size).name, faults):
        try:
            while missing:
                content = _fetch(mirror, missing[0])
                _write(folder / missing[0].name, content)
                missing.pop(0)
            return
        except _MirrorError as fault:
            faults[mirror] = str(fault)
    reasons = "".join(f"\n  {mirror}  {fault}" for mirror, fault in faults.items())
    listing = "".join(f"\n  {file.name}  {file.size:,} bytes  SHA-256 {file.sha256}" for file in missing)
    raise DataError(f"download: {len(missing)} of {counted(len(files), 'file')} could not be fetched:{reasons}\n"
                    f"Check the network, or put these files into {folder} yourself:{listing}")


def _answering(mirrors: Sequence[str], name: str, faults: dict[str, str]) -> Iterator[str]:
    """Yield the mirrors that offer the file `name`, in the order of their answers; `faults` gets those of others."""
    answers: queue.SimpleQueue[tuple[str, str]] = queue.SimpleQueue()

    def ask(mirror: str) -> None:
        try:
            _open(mirror + name, CONNECT_SECONDS).close()
            answers.put((mirror, ""))
        except _MirrorError as fault:
            answers.put((mirror, str(fault)))

    deadline = time.monotonic() + CONNECT_SECONDS
    for mirror in mirrors:
        threading.Thread(target=ask, args=(mirror,), daemon=True).start()
    for _ in mirrors:
        try:
            mirror, fault = answers.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return
        faults[mirror] = fault
        if not fault:
            yield mirror


def _open(url: str, seconds: float) -> Any:
    """The response to a request, an `http.client.HTTPResponse`. Each network operation may take `seconds`."""
    from http.client import HTTPException
    from urllib.error import HTTPError
    from urllib.request import urlopen

    try:
        return urlopen(url, timeout=seconds)
    except HTTPError as fault:
        fault.close()
        raise _MirrorError(str(fault)) from fault
    except (OSError, HTTPException, ValueError) as fault:
        raise _MirrorError(str(fault) or type(fault).__name__) from fault


def _fetch(mirror: str, file: RemoteFile) -> bytes:
    """The verified content of `file`. At most one byte beyond its size is read."""
    from http.client import HTTPException

    deadline = time.monotonic() + TRANSFER_SECONDS
    content = bytearray()
    with _open(mirror + file.name, STALL_SECONDS) as response:
        try:
            while piece := response.read1(min(_PIECE, file.size + 1 - len(content))):
                content += piece
                if time.monotonic() > deadline:
                    raise TimeoutError(f"not finished after {TRANSFER_SECONDS:g} seconds")
        except (OSError, HTTPException) as fault:
            raise _MirrorError(f"{file.name} broke off after {len(content):,} bytes ({fault})") from fault
    if not file.matches(bytes(content)):
        size = f"more than {file.size:,}" if len(content) > file.size else f"{len(content):,} of {file.size:,}"
        raise _MirrorError(f"{file.name} is not the right file ({size} bytes came, or the SHA-256 differs)")
    return bytes(content)


def _write(path: Path, content: bytes) -> None:
    try:
        write_whole(path, content)
    except OSError as fault:
        raise DataError(f"download: {path} cannot be written ({fault.strerror or fault}); name another folder"
                        ) from fault
