"""What is known of a device: its name, what it is, how much memory it has, or why it cannot be used."""

import os
import platform
import re
from dataclasses import dataclass
from pathlib import Path

GIBIBYTE = 2**30


@dataclass(frozen=True, repr=False)
class Device:
    """A line of `tn.devices()`: `name` is what `.to(name)` takes, memory is in bytes, `lack` says what is missing."""

    name: str
    title: str = ""
    memory: int | None = None
    free: int | None = None
    lack: str | None = None

    @property
    def is_available(self) -> bool:
        """Whether it can be computed on."""
        return self.lack is None

    def __str__(self) -> str:
        if self.lack is not None:
            return f"{self.name} (not available: {self.lack})"
        known = [self.title] if self.title else []
        if self.memory is not None and self.free is not None:
            known.append(f"{self.free / GIBIBYTE:.1f} of {self.memory / GIBIBYTE:.1f} GiB free")
        return f"{self.name} ({', '.join(known)})"

    __repr__ = __str__


def host() -> Device:
    """The processor, and the memory of this machine."""
    model = re.search(r"^model name\s*:\s*(.+)$", _text("/proc/cpuinfo"), re.M)
    title = model[1].strip() if model else platform.processor() or platform.machine()
    total, free = (_meminfo(field) for field in ("MemTotal", "MemAvailable"))
    return Device("cpu", f"{title}, {os.cpu_count()} processors", total, free)


def _meminfo(field: str) -> int | None:
    found = re.search(rf"^{field}:\s+(\d+) kB", _text("/proc/meminfo"), re.M)
    return int(found[1]) * 1024 if found else None


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except OSError:  # not a Linux
        return ""
