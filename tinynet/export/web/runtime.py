"""onnxruntime-web, which runs a model in a browser: three files of one version, each verified by its SHA-256."""

import hashlib
import os
import shutil
import subprocess
import tarfile
import tempfile
from contextlib import suppress
from pathlib import Path

from tinynet.atomic import write_whole
from tinynet.cache import cache_folder, private_folder
from tinynet.errors import ExportError, printable

PACKAGE, VERSION = "onnxruntime-web", "1.30.0"
LIBRARY, GLUE, WASM = "ort.wasm.min.js", "ort-wasm-simd-threaded.mjs", "ort-wasm-simd-threaded.wasm"
CHECKSUMS = {
    LIBRARY: "faece07e84faa9001f5104bbe4e5c70861d06cb2376a0dea1fa0ad33a67adc81",
    GLUE: "e13f7f94fc51b4ca72b12faeb1ee95f4ace6dfbc8939bc718aabdc0a27c4299b",
    WASM: "3398c10d07d229bd91b364548e130e0e51a8e5704b88c7c083ebbeb78842dee2",
}
PATIENCE = 300  # seconds for npm


def runtime_files(folder: str | os.PathLike[str] | None = None) -> dict[str, bytes]:
    """The content of the three files, by name.

    They are read from `folder`, if it is given: it holds them, or a folder `dist` that does, as the npm package has it.
    Else they are taken from the cache folder of tinynet; else npm fetches the package, and they are kept there.

    Errors: ExportError if they cannot be had, or one has another content.

    >>> runtime_files("nowhere")
    Traceback (most recent call last):
    tinynet.errors.ExportError: export: nowhere must hold ort.wasm.min.js, ort-wasm-simd-threaded.mjs and ...
    """
    if folder is not None:
        found = _read(Path(folder)) or _read(Path(folder, "dist")) or _read(Path(folder, "package", "dist"))
        if found is None:
            raise ExportError(f"export: {printable(folder)} must hold {LIBRARY}, {GLUE} and {WASM} of {PACKAGE} "
                              f"{VERSION}, and one of them is missing; npm pack {PACKAGE}@{VERSION} fetches them")
        return _verified(found, printable(folder))
    kept = cache_folder() / f"{PACKAGE}-{VERSION}"
    found = _read(kept)
    if found is None:
        found = _verified(_fetched(kept), f"what npm has fetched as {PACKAGE} {VERSION}")
        with suppress(OSError):  # without a cache folder, the next export fetches again
            private_folder(kept)
            for name, content in found.items():
                write_whole(kept / name, content)
    return _verified(found, printable(kept))


def _read(folder: Path) -> dict[str, bytes] | None:
    """The files in a folder; None if one is missing."""
    try:
        return {name: (folder / name).read_bytes() for name in CHECKSUMS}
    except OSError:
        return None


def _verified(found: dict[str, bytes], where: str) -> dict[str, bytes]:
    for name, content in found.items():
        digest = hashlib.sha256(content).hexdigest()
        if digest != CHECKSUMS[name]:
            raise ExportError(f"export: {name} in {where} must be that of {PACKAGE} {VERSION}, with SHA-256 "
                              f"{CHECKSUMS[name]}, got {digest}; delete it, and fetch it again")
    return found


def _fetched(kept: Path) -> dict[str, bytes]:
    """The files of the package, which npm fetches. They are read from its archive, and nothing of it is run."""
    npm = shutil.which("npm")
    manual = (f"put {LIBRARY}, {GLUE} and {WASM} of the npm package {PACKAGE} {VERSION} into {printable(kept)}, "
              "or name their folder with --runtime")
    if npm is None:
        raise ExportError(f"export: a web page needs {PACKAGE}, and npm, which would fetch it, is not installed; "
                          f"{manual}")
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run([npm, "pack", "--silent", f"{PACKAGE}@{VERSION}"], cwd=folder, check=True, timeout=PATIENCE,
                           capture_output=True, stdin=subprocess.DEVNULL)
            with tarfile.open(next(Path(folder).glob("*.tgz"))) as archive:
                return {name: _member(archive, f"package/dist/{name}") for name in CHECKSUMS}
        except (OSError, subprocess.SubprocessError, tarfile.TarError, StopIteration, KeyError) as error:
            raise ExportError(f"export: npm must fetch {PACKAGE} {VERSION}, and does not ({type(error).__name__}); "
                              f"{manual}") from error


def _member(archive: tarfile.TarFile, name: str) -> bytes:
    file = archive.extractfile(name)
    if file is None:
        raise KeyError(name)
    return file.read()
