"""The machine that a benchmark runs on: processor, memory, versions, commit."""

import os
import platform
import re
import subprocess
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from tinynet.about import instructions
from tinynet.about import versions as installed

ROOT = Path(__file__).resolve().parents[1]


def cores() -> list[int]:
    """The processors that this process may use, one of each core: the first of those that share it."""
    allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else range(os.cpu_count() or 1)
    chosen, taken = [], set()
    for cpu in allowed:
        siblings = _read(f"/sys/devices/system/cpu/cpu{cpu}/topology/thread_siblings_list") or str(cpu)
        if siblings not in taken:
            taken.add(siblings)
            chosen.append(cpu)
    return chosen


def describe() -> dict[str, Any]:
    """The machine and the system."""
    memory = re.search(r"MemTotal:\s+(\d+) kB", _read("/proc/meminfo"))
    return {
        "cpu": _cpuinfo("model name") or platform.processor() or platform.machine(),
        "family": _cpuinfo("cpu family"), "model": _cpuinfo("model"),
        "cores": len(cores()), "processors": _read("/proc/cpuinfo").count("processor\t:") or os.cpu_count(),
        "features": features(),
        "memory_gib": round(int(memory[1]) / 2**20, 1) if memory else None,
        "system": platform.platform(), "python": platform.python_version(),
        "load": [round(load, 2) for load in os.getloadavg()] if hasattr(os, "getloadavg") else None,
    }


def features() -> list[str]:
    """The extensions of the instruction set that are used: those of NUMBA_CPU_FEATURES where it is set."""
    told = os.environ.get("NUMBA_CPU_FEATURES")
    return [name for name in instructions() if told is None or f"+{name}" in told.split(",")]


def commit(said: str | None = None) -> dict[str, Any]:
    """The commit of the working tree, and whether its files differ from it, those of results excepted.

    `said` is the commit of a copy without git's history.
    """
    def git(*arguments: str) -> str:
        done = subprocess.run(["git", *arguments], cwd=ROOT, capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else ""

    if said:
        return {"commit": said, "changed": None}
    try:
        changed = git("status", "--porcelain", "--", ".", ":!benchmarks/results", ":!benchmarks/RESULTS.md",
                      ":!benchmarks/scale.json")
        return {"commit": git("rev-parse", "HEAD") or None, "changed": bool(changed)}
    except OSError:  # no git
        return {"commit": None, "changed": None}


def versions(packages: list[str]) -> dict[str, str]:
    """The versions of those of these packages that are installed."""
    return {package: found for package, found in installed(packages).items() if package in packages}


def installed_bytes(packages: tuple[str, ...]) -> int:
    """The size on the disk of these packages and all that they require."""
    seen: set[str] = set()
    waiting, total = list(packages), 0
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = distribution(name)
        except PackageNotFoundError:  # required on other systems only
            continue
        files = [Path(str(found.locate_file(file))) for file in found.files or []]
        total += sum(file.stat().st_size for file in files if file.is_file() and file.suffix != ".pyc")
        waiting += [re.split(r"[^\w.-]", requirement)[0] for requirement in found.requires or []
                    if "extra ==" not in requirement]
    return total


def folder_bytes(folder: Path) -> int:
    """The size of the files of a folder, without compiled ones."""
    return sum(file.stat().st_size for file in folder.rglob("*") if file.is_file() and "__pycache__" not in file.parts)


def _cpuinfo(field: str) -> str:
    found = re.search(rf"^{re.escape(field)}\s*:\s*(.*)$", _read("/proc/cpuinfo"), re.M)
    return found[1].strip() if found else ""


def _read(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:
        return ""
