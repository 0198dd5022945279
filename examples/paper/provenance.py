"""The origin of a run's numbers: the commit of this program and the hardware. The versions: `tn.about()`."""

import platform
import subprocess
from pathlib import Path
from typing import Any

import tinynet as tn


def commit() -> str:
    """The hash of the commit of this program; "unknown" without git.

    With a "+" if files have changed since, or if tinynet is that of another folder.
    """
    root = Path(__file__).resolve().parents[2]

    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(root), *words], capture_output=True, text=True, check=True,
                              timeout=60).stdout.strip()

    try:
        changed = git("status", "--porcelain", "--untracked-files=no", "--", "tinynet", "examples/*.py")
        is_elsewhere = Path(tn.__file__).resolve().parents[1] != root
        return git("rev-parse", "HEAD") + "+" * bool(changed or is_elsewhere)
    except (OSError, subprocess.SubprocessError):
        return "unknown"


def hardware(device: str) -> dict[str, Any]:
    """The processor with its instruction set, the system, the device that computes, and the threads of its kernels."""
    known = {one.name: one.title for one in tn.devices()}
    return {"processor": known["cpu"], "instructions": " ".join(tn.about().instructions),
            "threads": tn.threads(), "system": f"{platform.system()} {platform.machine()}",
            "device": "cpu" if device == "cpu" else known[tn.backend.device_name(device)]}
