"""The versions and the machine that results come from, for bug reports and result files: `tn.about()`."""

import os
import platform
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from tinynet.backend.devices import devices, module_for, text_of
from tinynet.backend.threads import threads

__version__ = "0.1.0"

PACKAGES = ("numpy", "numba", "llvmlite", "safetensors", "cupy", "cupy-cuda12x", "cupy-cuda13x")
INSTRUCTIONS = ("sse4_2", "avx", "avx2", "fma", "avx512f", "avx512bw", "avx512vl", "avx512_bf16", "amx_tile", "asimd",
                "sve")  # the extensions that kernels gain from; others are not listed


@dataclass(frozen=True, repr=False)
class About:
    """The result of `about`. `as_dict()` gives it as a dictionary that JSON can represent.

    versions       of Python, tinynet and the installed ones of `PACKAGES`, by name
    platform       system, its version, architecture
    processor      its name and the number of logical processors
    instructions   the extensions of its instruction set, those of `INSTRUCTIONS`
    threads        used by kernels
    kernels        the folder where compiled kernels are kept, or the reason why they are not
    devices        the lines of `tn.devices()`

    >>> About({"tinynet": "0.1.0"}, "Linux", "a processor", [], 2, "/cache", ["cpu (...)"])
    tinynet       0.1.0
    platform      Linux
    processor     a processor
    instructions
    threads       2
    kernels       /cache
    devices       cpu (...)
    """

    versions: dict[str, str]
    platform: str
    processor: str
    instructions: list[str]
    threads: int
    kernels: str
    devices: list[str]

    def __str__(self) -> str:
        rows = [*self.versions.items(), ("platform", self.platform), ("processor", self.processor),
                ("instructions", " ".join(self.instructions)), ("threads", self.threads), ("kernels", self.kernels),
                *((" " * bool(i) or "devices", line) for i, line in enumerate(self.devices))]
        return "\n".join(f"{name:<14}{value}".rstrip() for name, value in rows)

    __repr__ = __str__

    def as_dict(self) -> dict[str, Any]:
        """The fields by name."""
        return asdict(self)


def about() -> About:
    """Versions, processor, threads and devices, to be printed into a bug report or stored with results.

    >>> import tinynet as tn
    >>> print(tn.about())                             # doctest: +ELLIPSIS
    python        3...
    tinynet       ...
    numpy         ...
    >>> tn.about().versions["tinynet"] == tn.__version__
    True
    """
    found = devices()
    return About(versions(), platform.platform(), found[0].title, instructions(), threads(), _kernels(),
                 [str(device) for device in found])


def _kernels() -> str:
    """The folder of compiled kernels, or why they are not kept."""
    try:
        module_for("cpu", "runtime.jit")  # ImportError where kernels cannot be compiled
        folder = module_for("cpu", "runtime.kernel_cache").kernel_folder()
    except ImportError as error:
        return f"there are no kernels: {error}"
    except OSError as error:
        return f"compiled again in each process: {error}"
    return str(folder) if os.access(folder, os.W_OK) else f"compiled again in each process: {folder} is read-only"


def versions(packages: Iterable[str] = PACKAGES) -> dict[str, str]:
    """The versions of Python, tinynet and the installed ones of some packages, by name."""
    found = {"python": platform.python_version(), "tinynet": __version__}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def instructions() -> list[str]:
    """The extensions of this processor's instruction set, of `INSTRUCTIONS`. Empty where /proc/cpuinfo is missing."""
    found = re.search(r"^(?:flags|Features)\s*:(.*)$", text_of("/proc/cpuinfo"), re.M)
    flags = found[1].split() if found else []
    return [name for name in INSTRUCTIONS if name in flags]
