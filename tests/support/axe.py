"""axe-core, which finds what a page withholds from people who cannot see or point: npm fetches it once, and its hash is
compared."""

import hashlib
import io
import os
import shutil
import subprocess
import tarfile
import tempfile
from pathlib import Path
from typing import Any

from tinynet.atomic import write_whole
from tinynet.cache import cache_folder

VERSION = "4.14.1"
SHA256 = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"


def axe_source() -> str | None:
    """The text of axe.min.js, or None where it is not in the cache and npm cannot fetch it."""
    kept = cache_folder() / f"axe-core-{VERSION}.js"
    content = kept.read_bytes() if kept.exists() else _fetched()
    if content is None or hashlib.sha256(content).hexdigest() != SHA256:
        return None
    if not kept.exists():
        os.makedirs(kept.parent, exist_ok=True)
        write_whole(kept, content)
    return content.decode()


def _fetched() -> bytes | None:
    npm = shutil.which("npm")
    if npm is None:
        return None
    with tempfile.TemporaryDirectory() as folder:
        try:
            subprocess.run([npm, "pack", "--silent", f"axe-core@{VERSION}"], cwd=folder, check=True, timeout=120,
                           capture_output=True, stdin=subprocess.DEVNULL)
            archive = next(Path(folder).glob("*.tgz")).read_bytes()
            with tarfile.open(fileobj=io.BytesIO(archive)) as opened:
                file = opened.extractfile("package/axe.min.js")
                return file.read() if file else None
        except (OSError, subprocess.SubprocessError, tarfile.TarError, StopIteration, KeyError):
            return None


def serious_faults(page: Any, axe: str) -> list[str]:
    """The serious and critical faults of a page, one line each."""
    page.evaluate(axe)
    found = page.evaluate("""axe.run().then(done => done.violations
        .filter(one => ["serious", "critical"].includes(one.impact))
        .map(one => `${one.id}: ${one.nodes.map(node => node.html).join(" ").slice(0, 300)}`))""")
    return list(found)
