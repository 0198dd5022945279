"""Kernels that count, and processes that launch some: for the tests of the CPU's runtime."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tinynet as tn
from tinynet.backend.cpu.runtime.jit import njit

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")


@njit
def count(shard: Any, shards: Any, runs: Any) -> None:
    """Count in runs (shards, shard) how often a shard runs."""
    runs[shards, shard] += 1


def wait_for(condition: Callable[[], bool], seconds: float = 120.0) -> None:
    """Wait; only a fault takes long, or an emulated processor (tests/arm64.sh)."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


KERNEL = """
from tinynet.backend.cpu.runtime.jit import njit
from helper import amount
@njit
def add(shard, shards, x):
    for i in range(shard, x.size, shards):
        x[i] += amount()
@njit(cache=True)
def plus(x):
    return x + amount()
"""
HELPER = """
from tinynet.backend.cpu.runtime.jit import njit
@njit
def amount():
    return {}
"""
IN_CHILDREN = """
import os, sys, time
from pathlib import Path
import numpy as np
from tinynet.backend.cpu.runtime.jit import njit
njit(cache=True)(lambda x: x)(0.0)  # Numba's tables, which the children have in common

def child(work, *arguments):
    sys.stdout.flush()
    number = os.fork()
    if number == 0:
        work(*arguments)
        sys.exit()  # the interpreter ends as it always does
    for _ in range(30_000):
        ended, status = os.waitpid(number, os.WNOHANG)
        if ended:
            assert status == 0, status
            return
        time.sleep(0.01)
    os.kill(number, 9)
    raise SystemExit("a child hangs")
"""


def run_script(text: str, folder: Path, **environment: str) -> list[str]:
    """The lines that a process prints, which forks into children that have imported what takes long to import.

    `kernel` and `helper` can be imported from `folder`. Nothing may be written to stderr but the notice of compiling.
    """
    (folder / "kernel.py").write_text(KERNEL)
    (folder / "helper.py").write_text(HELPER.format(1))
    path = os.pathsep.join([str(Path(tn.__file__).parents[1]), str(folder)])
    environment = {**os.environ, "PYTHONPATH": path, "NUMBA_CACHE_DIR": str(folder / "cache"),
                   "PYTHONWARNINGS": "error", "PYTHONFAULTHANDLER": "1", **environment}
    done = subprocess.run([sys.executable, "-c", IN_CHILDREN + text], env=environment, capture_output=True, text=True,
                          timeout=1200)
    unexpected = [line for line in done.stderr.splitlines() if not line.startswith("tinynet: compiling kernels")]
    assert done.returncode == 0 and not unexpected, done.stderr
    return done.stdout.split("\n")[:-1]
