"""The number of processors that this process may use."""

import math
import os
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path, PurePosixPath

VARIABLES = ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS")


def processors(environment: Mapping[str, str] = os.environ, root: Path = Path("/")) -> int:
    """The processors that this process may run on, limited by the quota of its container and by its environment.

    The smallest of: the set of processors of the process; the quota of its control group and of those above it,
    rounded up (`docker run --cpus=1.5` gives 2); NUMBA_NUM_THREADS; OMP_NUM_THREADS. At least 1.

    environment, root   the variables, and the folder that holds proc and sys

    >>> processors({"OMP_NUM_THREADS": "1"})
    1
    """
    allowed = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, min([allowed, *_variables(environment), *map(math.ceil, _quotas(root))]))


def _variables(environment: Mapping[str, str]) -> Iterator[int]:
    for name in VARIABLES:
        first = environment.get(name, "").partition(",")[0].strip()  # OpenMP takes a list, a number for each level
        if first.isdecimal() and int(first) > 0:
            yield int(first)


def _quotas(root: Path) -> Iterator[float]:
    """The quotas of the control groups of this process, in processors: of both versions, innermost first."""
    try:
        lines = (root / "proc/self/cgroup").read_text(encoding="utf-8").splitlines()
    except OSError:  # no Linux
        return
    mount = root / "sys/fs/cgroup"
    for line in lines:
        _, controllers, path = line.split(":", 2) if line.count(":") >= 2 else ("", "-", "")
        places = [mount, mount / "unified"] if not controllers else [mount / controllers, mount / "cpu"]
        if controllers and "cpu" not in controllers.split(","):
            continue
        # Inside a container the path may be that of the host, and the mounted folder is the container's own group.
        group = PurePosixPath("/", path)
        for folder in (place / str(one).lstrip("/") for one in (group, *group.parents) for place in places):
            with suppress(OSError, ValueError, IndexError, ZeroDivisionError):
                yield _quota(folder, not controllers)


def _quota(folder: Path, is_unified: bool) -> float:
    """The quota of a control group. Errors: OSError for a missing file; ValueError for no quota."""
    if is_unified:
        quota, period = (folder / "cpu.max").read_text(encoding="ascii").split()[:2]
    else:
        quota, period = ((folder / f"cpu.cfs_{name}_us").read_text(encoding="ascii") for name in ("quota", "period"))
    if quota == "max" or int(quota) <= 0:
        raise ValueError("no quota")
    return int(quota) / int(period)
