"""How many processors a process may use: in containers of both kinds, and by environment variables."""

import math
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.test_cli import ROOT
from tinynet import processors as module
from tinynet.processors import processors

ONE = {"cpu.max": "100000 100000"}
UNLIMITED = {"cpu.max": "max 100000"}


def v1(quota: int) -> dict[str, str]:
    return {"cpu.cfs_quota_us": str(quota), "cpu.cfs_period_us": "50000"}


def machine(root: Path, own: str, groups: dict[str, dict[str, str]]) -> Path:
    (root / "proc/self").mkdir(parents=True)
    (root / "proc/self/cgroup").write_text(own)
    for name, files in groups.items():
        folder = root / "sys/fs/cgroup" / name
        folder.mkdir(parents=True, exist_ok=True)
        for file, content in files.items():
            (folder / file).write_text(content + "\n")
    return root


@pytest.fixture(autouse=True)
def _sixteen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "sched_getaffinity", lambda pid: range(16), raising=False)


@pytest.mark.parametrize(("own", "groups", "expected"), [
    ("0::/\n", {"": ONE}, 1),
    ("0::/\n", {"": {"cpu.max": "150000 100000"}}, 2),
    ("0::/\n", {"": {"cpu.max": "1000 100000"}}, 1),
    ("0::/\n", {"": UNLIMITED}, 16),
    ("0::/\n", {"": {}}, 16),
    ("0::/\n", {"": {"cpu.max": "9900000 100000"}}, 16),
    ("0::/a/b\n", {"a/b": UNLIMITED, "a": {"cpu.max": "300000 100000"}, "": {}}, 3),  # of the group above
    ("0::/a/b\n", {"a/b": {"cpu.max": "200000 100000"}, "a": {"cpu.max": "300000 100000"}}, 2),
    ("0::/of/the/host\n", {"": ONE}, 1),  # the container sees its own group only
    ("0::/../..\n", {"": ONE}, 1),
    ("3:memory:/m\n1:cpu:/x\n0::/\n", {"cpu/x": v1(25_000), "memory/m": {}}, 1),
    ("4:cpu,cpuacct:/docker/1\n", {"cpu,cpuacct": v1(100_000)}, 2),
    ("4:cpu,cpuacct:/x\n", {"cpu/x": v1(200_000)}, 4),  # by the link of the usual name
    ("4:cpu,cpuacct:/x\n", {"cpu/x": v1(-1)}, 16),
    ("4:cpuset:/x\n", {"cpuset/x": v1(50_000)}, 16),
    ("1:cpu:/\n0::/\n", {"cpu": v1(-1), "unified": ONE}, 1),
    ("0::/a:b\n", {"a:b": ONE}, 1),
    ("nonsense\n\n", {"": ONE}, 16),
    ("0::/\n", {"": {"cpu.max": "nonsense"}}, 16),
    ("0::/\n", {"": {"cpu.max": "100000 0"}}, 16),
])
def test_a_quota(tmp_path: Path, own: str, groups: Any, expected: int) -> None:
    assert processors({}, machine(tmp_path, own, groups)) == expected


@pytest.mark.parametrize(("environment", "expected"), [
    ({}, 16), ({"OMP_NUM_THREADS": "3"}, 3), ({"NUMBA_NUM_THREADS": "5"}, 5), ({"OMP_NUM_THREADS": "4,2"}, 4),
    ({"OMP_NUM_THREADS": " 2 "}, 2), ({"OMP_NUM_THREADS": "2", "NUMBA_NUM_THREADS": "3"}, 2),
    ({"OMP_NUM_THREADS": "99"}, 16), ({"OMP_NUM_THREADS": "0"}, 16), ({"OMP_NUM_THREADS": "all"}, 16),
    ({"OMP_NUM_THREADS": "-1"}, 16), ({"OMP_NUM_THREADS": ""}, 16),
])
def test_variables(tmp_path: Path, environment: dict[str, str], expected: int) -> None:
    assert processors(environment, tmp_path) == expected


def test_where_there_are_no_sets_of_processors(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(os, "cpu_count", lambda: 7)
    assert processors({}, tmp_path) == 7
    monkeypatch.setattr(os, "cpu_count", lambda: None)
    assert processors({}, tmp_path) == 1


@pytest.mark.parametrize("variable", module.VARIABLES)
def test_the_pool_has_as_many_threads(variable: str) -> None:
    done = subprocess.run([sys.executable, "-c", "import tinynet as tn; print(tn.threads())"], capture_output=True,
                          text=True, cwd=ROOT, check=True, env={**os.environ, variable: "1"})
    assert int(done.stdout) == 1
    assert math.isfinite(processors())
