"""Training in ranks that mpiexec has really started: the same weights, and an end of all ranks in each case."""

import importlib.util
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.support import job
from tests.support.ranks import difference
from tinynet.backend.threads import set_threads, threads
from tinynet.processors import processors
from tinynet.saving import archive
from tinynet.training import checkpoint

ROOT = Path(__file__).resolve().parents[2]
MPIEXEC = Path(sys.executable).with_name("mpiexec")  # that of the package mpich
HAS_MPI = MPIEXEC.exists() and importlib.util.find_spec("mpi4py") is not None
pytestmark = pytest.mark.skipif(not HAS_MPI, reason="mpi4py and MPICH are not installed here: pip install mpi4py mpich")
MODELS = ["lstm_cnn", "cnn", "deep_lstm_cnn", "pneumonia_cnn_lstm"]


def started(size: int, *arguments: object, **options: Any) -> "subprocess.Popen[str]":
    others = ("PMI_", "OMP_", "NUMBA_NUM")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(others)}
    return subprocess.Popen([MPIEXEC, "-n", str(size), sys.executable, "-m", "tests.support.job", *map(str, arguments)],
                            cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True,
                            env={**environment, "PYTHONPATH": str(ROOT), **options})


def ended(process: "subprocess.Popen[str]", seconds: float = 120) -> tuple[int, str, str]:
    try:
        said, complaints = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired:
        process.kill()
        raise
    return process.returncode, said, complaints


# --- the same run ---------------------------------------------------------------------------------------------------

@pytest.fixture(scope="module")
def one_process() -> Any:
    """The weights of one process with one thread."""
    before = threads()
    try:
        return job.exact(MODELS, threads=1)
    finally:
        set_threads(before)


@pytest.mark.parametrize(("size", "names"), [(2, MODELS), (3, MODELS), (4, ["lstm_cnn"])])
def test_weights_after_30_steps(size: int, names: list[str], one_process: Any, tmp_path: Path) -> None:
    """The weights of ranks and those of one process differ by rounding."""
    code, said, complaints = ended(started(size, "exact", tmp_path / "found.npz", *names))
    assert code == 0, said + complaints
    found = dict(np.load(tmp_path / "found.npz"))
    assert found.pop("threads") == max(1, processors({}) // size)
    for name in names:
        keys = [key for key in found if key.startswith(f"{name}/")]
        away = np.concatenate([(np.abs(found[key] - one_process[key]) / np.abs(one_process[key]).max()).ravel()
                               for key in keys])
        assert np.quantile(away, 0.99) <= 1e-4 and away.max() <= 1e-2, name
        assert np.median(away) <= 1e-6, name
        assert found[f"right/{name}"] == pytest.approx(one_process[f"right/{name}"], abs=2 / 135)


# --- nothing hangs --------------------------------------------------------------------------------------------------

def saved_step(folder: Path) -> int:
    """The step of a checkpoint, all of which is read."""
    with archive.opened(folder / "run.ckpt", checkpoint._CHECKPOINT) as file:
        assert file.arrays()
        return int(file.header["step"])


@pytest.mark.parametrize(("fate", "message"), [
    ("raises", "rank 1 of 2: ValueError: the image is damaged; the job ends"),
    ("exits", "rank 0 of 2: rank 1 has ended; the job ends"),
    ("stalls", "rank 0 of 2: another rank has not answered for 2 s; the job ends"),
    ("is killed", "Killed (signal 9)"),
])
def test_a_rank_that_fails_in_a_training_ends_the_job(fate: str, message: str, tmp_path: Path) -> None:
    code, said, complaints = ended(started(2, "run", tmp_path, fate, TINYNET_PATIENCE="2" if fate == "stalls" else ""))
    assert code != 0
    assert (said + complaints).count(message) == 1
    assert saved_step(tmp_path) == job.FATAL - 1
    late = time.time() - (tmp_path / "step1").stat().st_mtime
    assert late < 30  # the limit of an idle machine is 10


@pytest.mark.parametrize(("number", "send"), [(signal.SIGTERM, os.kill), (signal.SIGINT, os.killpg)])
def test_a_signal_ends_all_ranks_after_the_same_step(number: signal.Signals, send: Any, tmp_path: Path) -> None:
    """A terminal sends the SIGINT of Ctrl-C to the process group, a scheduler the SIGTERM to mpiexec alone."""
    process = started(2, "run", tmp_path, "signal")
    while process.poll() is None and not (tmp_path / "step1").exists():
        time.sleep(0.05)
    time.sleep(0.3)
    send(process.pid, number)
    code, _, complaints = ended(process)
    assert code != 0
    assert f"Interrupted: fit: stopped by {number.name} after" in complaints
    steps = [int((tmp_path / f"step{rank}").read_text()) for rank in range(2)]
    assert steps == [saved_step(tmp_path)] * 2


# --- checkpoints do not know the ranks ------------------------------------------------------------------------------

def result(folder: Path) -> dict[str, Any]:
    return dict(np.load(folder / "end.npz"))


def test_a_killed_job_is_resumed_with_any_number_of_ranks(tmp_path: Path) -> None:
    """Bit for bit with the same number; with another one but for rounding, after one warning."""
    whole = tmp_path / "whole"
    whole.mkdir()
    code, _, complaints = ended(started(2, "run", whole, "none"))
    assert code == 0, complaints
    chosen = random.Random(os.getpid())
    for size in (2, 3, 1):
        folder = tmp_path / str(size)
        folder.mkdir()
        process = started(2, "run", folder, "killed at random")
        until = chosen.randint(2, 15)
        while process.poll() is None and not ((folder / "step1").exists()
                                              and int((folder / "step1").read_text() or 0) >= until):
            time.sleep(0.01)
        process.kill()
        process.communicate(timeout=60)  # until the ranks have ended, too, which hold its pipes
        code, _, complaints = ended(started(size, "run", folder, "none", "resume"))
        assert code == 0, complaints
        found, expected = result(folder), result(whole)
        if size == 2:
            assert all(np.array_equal(found[name], expected[name]) for name in expected)
            assert "bit for bit" not in complaints
        else:
            assert all(difference(found[name], expected[name]) < 1e-3 for name in expected)
            assert complaints.count(f"ranks: 2 there, {size} here") == 1
