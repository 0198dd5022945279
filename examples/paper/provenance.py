"""Where the numbers of a run come from: the commit of this program, the versions of its packages, the hardware."""

import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import tinynet as tn


def versions() -> dict[str, str]:
    """Of Python, and of what computes."""
    found = {"python": platform.python_version(), "tinynet": tn.__version__}
    for package in ("numpy", "numba", "cupy", "cupy-cuda12x", "cupy-cuda13x"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def commit() -> str:
    """The commit of this program, with a "+" if files of it have been changed since; "unknown" without git."""
    root = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True,
                              timeout=60).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "tinynet", "examples/*.py")
        return git("rev-parse", "HEAD") + "+" * bool(changed)
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def hardware(device: str) -> dict[str, Any]:
    """The processor, and the device that computes."""
    known = {one.name: one.title for one in tn.devices()}
    return {"processor": known["cpu"], "system": f"{platform.system()} {platform.machine()}",
            "device": "cpu" if device == "cpu" else known[tn.backend.device_name(device)]}
