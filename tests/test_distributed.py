"""Ranks: sums over processes that mpiexec has really started, and jobs that end as a whole."""

import importlib.util
import os
import subprocess
import sys
import time
import types
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from tinynet import distributed
from tinynet.distributed import MPI, Communicator, Repeatable, started, world
from tinynet.errors import DistributedError, Interrupted

ROOT = Path(__file__).resolve().parents[1]
MPIEXEC = Path(sys.executable).with_name("mpiexec")  # that of the package mpich
HAS_MPI = MPIEXEC.exists() and importlib.util.find_spec("mpi4py") is not None
with_mpi = pytest.mark.skipif(not HAS_MPI, reason="mpi4py and MPICH are not installed here: pip install mpi4py mpich")
BEGIN = """import sys, time
import numpy as np
from tinynet.distributed import MPI, world
ranks = world()
"""


def run(size: int, code: str) -> tuple[int, str, str, float]:
    """Run code in some ranks: the exit code, stdout, stderr, and the seconds that it took."""
    start = time.monotonic()
    done = subprocess.run([MPIEXEC, "-n", str(size), sys.executable, "-c", BEGIN + code], cwd=ROOT, timeout=120,
                          capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return done.returncode, done.stdout, done.stderr, time.monotonic() - start


@pytest.fixture(autouse=True)
def no_mpiexec(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PMI_SIZE", "OMPI_COMM_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("size", range(1, 6))
@pytest.mark.parametrize("count", [0, 1, 2, 5, 67, 128])
def test_rows_are_divided_once_and_evenly(size: int, count: int) -> None:
    found: list[int] = []
    lengths = []
    for rank in range(size):
        one = Communicator()
        one.rank, one.size = rank, size
        part = list(range(count))[one.rows(count)]
        found, lengths = found + part, [*lengths, len(part)]
    assert found == list(range(count))
    assert max(lengths) - min(lengths) <= 1


@pytest.mark.parametrize(("variables", "count"), [
    ({}, 1), ({"PMI_SIZE": "3"}, 3), ({"OMPI_COMM_WORLD_SIZE": "2"}, 2), ({"PMI_SIZE": ""}, 1), ({"PMI_SIZE": "1"}, 1),
    ({"PMI_SIZE": "-2"}, 1), ({"PMI_SIZE": "1", "OMPI_COMM_WORLD_SIZE": "2"}, 2)])
def test_mpiexec_is_noticed(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], count: int) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert started() == count


def test_without_mpiexec_a_process_is_alone(capsys: pytest.CaptureFixture[str]) -> None:
    alone = world.__wrapped__()
    assert type(alone) is Communicator and (alone.rank, alone.size) == (0, 1)
    for one in (alone, Repeatable(alone)):
        with pytest.raises(SystemExit) as ended:
            one.abort("the end")
        assert ended.value.code == 1 and capsys.readouterr() == ("", "the end\n")


def test_an_error_is_shown_before_it_ends_the_job(monkeypatch: pytest.MonkeyPatch) -> None:
    """All of it: what is printed after the end of the job is lost. Of an interrupt, the first rank alone tells."""
    told: list[Any] = []
    ranks = [SimpleNamespace(rank=rank, abort=lambda text: told.append(text), leave=lambda: None) for rank in range(2)]
    for rank in ranks:
        monkeypatch.setattr(distributed, "NCCL", lambda rank=rank: rank)
        monkeypatch.setattr(distributed, "started", lambda: 2)
        monkeypatch.setattr(distributed.atexit, "register", told.append)
        monkeypatch.setattr(sys, "excepthook", lambda kind, error, trace: told.append((kind, error, trace)))
        assert world.__wrapped__() is rank and told.pop() is rank.leave
        error, interrupt = ValueError("no"), Interrupted("fit: interrupted", 2)
        sys.excepthook(ValueError, error, None)
        assert told == [(ValueError, error, None), "ValueError: no; the job ends"]
        told.clear()
        sys.excepthook(Interrupted, interrupt, None)
        assert told == [(Interrupted, interrupt, None)] * (rank.rank == 0)
        told.clear()


def test_sums_of_work_that_is_repeated_are_sent_once() -> None:
    """Those of other arrays, and of more arrays, are not taken from the notes."""
    class Doubles(Communicator):
        sent = 0

        def sum(self, array: Any) -> Any:
            self.sent += 1
            array *= 2
            return array

    ranks = Repeatable(doubles := Doubles())
    with ranks.noted() as notes:
        assert [ranks.sum(np.array([number])).item() for number in (1.0, np.nan, 3.0)] == pytest.approx(
            [2, np.nan, 6], nan_ok=True)
    with ranks.repeated(notes):
        assert [ranks.sum(np.array([number])).item() for number in (1.0, np.nan, 4.0)] == pytest.approx(
            [2, np.nan, 4], nan_ok=True)
    assert [(given.item(), found.item()) for given, found in notes] == [(3, 6)]
    assert ranks.sum(np.ones(1)).item() == 2
    assert doubles.sent == 4


def test_ranks_whose_work_is_repeated_pass_the_rest_on() -> None:
    class Ranks(Communicator):
        rank, size = 2, 3

        def broadcast(self, array: Any, root: int = 0) -> Any:
            return array + root

        def gather(self, value: Any) -> list[Any]:
            return [value] * self.size

    ranks = Repeatable(Ranks())
    assert (ranks.rank, ranks.size, ranks.rows(6), ranks.gather("x")) == (2, 3, slice(4, 6), ["x"] * 3)
    assert [ranks.broadcast(np.array(5), root).item() for root in (0, 2)] == [5, 7]


def test_importing_tinynet_imports_no_mpi() -> None:
    code = "import sys, tinynet.distributed; sys.exit('mpi4py' in sys.modules)"
    subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=True,
                   env={**os.environ, "PMI_SIZE": "2", "PYTHONPATH": str(ROOT)})


def test_without_mpi4py_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", None)
    with pytest.raises(DistributedError, match=r"started 2 processes, and mpi4py cannot be imported \(.*\); pip inst"):
        world.__wrapped__()


def test_two_mpis_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each process would be rank 0 of 1."""
    library: Any = types.ModuleType("mpi4py")
    library.MPI = types.SimpleNamespace(COMM_WORLD=types.SimpleNamespace(rank=0, size=1))
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setitem(sys.modules, "mpi4py", library)
    with pytest.raises(DistributedError, match="started 2 processes, and mpi4py counts 1; they are of two MPIs"):
        MPI()


@pytest.mark.parametrize(("said", "given", "patience"), [("", None, 60), ("7.5", None, 7.5), ("7.5", 3, 3)])
def test_patience_is_that_of_the_environment(monkeypatch: pytest.MonkeyPatch, said: str, given: float | None,
                                             patience: float) -> None:
    library: Any = types.ModuleType("mpi4py")
    library.MPI = types.SimpleNamespace(COMM_WORLD=types.SimpleNamespace(rank=1, size=2))
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setenv("TINYNET_PATIENCE", said)
    monkeypatch.setitem(sys.modules, "mpi4py", library)
    made = MPI(given)
    assert (made.patience, made.rank, made.size) == (patience, 1, 2)
    monkeypatch.setenv("TINYNET_PATIENCE", "long")
    with pytest.raises(DistributedError, match="TINYNET_PATIENCE must be a number of seconds, got 'long'"):
        MPI()


@with_mpi
@pytest.mark.parametrize("size", [2, 3])
def test_sums_broadcasts_and_values_of_all_ranks(size: int) -> None:
    code, said, complaints, _ = run(size, """
x = np.arange(5, dtype="float32") + ranks.rank
total = ranks.sum(x)
assert total is x and x.tolist() == [ranks.size * i + sum(range(ranks.size)) for i in range(5)]
assert ranks.sum(np.array(2.0)) == 2 * ranks.size
y = np.full((2, 3), ranks.rank, "int64")
assert (ranks.broadcast(y, root=1) == 1).all()
assert ranks.gather({"rank": ranks.rank, "text": "\\u00e9" * ranks.rank}) == [
    {"rank": rank, "text": "\\u00e9" * rank} for rank in range(ranks.size)]
assert list(ranks.gather({"b": 1, "a": 2})[-1]) == ["b", "a"]  # the columns of a row keep their order
assert len(set(ranks.gather(ranks.sum(np.full(1000, 0.1) * (1 + ranks.rank)).tobytes().hex()))) == 1
assert world() is ranks
if ranks.rank == 0:
    print(ranks.size, "ranks agree")
""")
    assert (code, said) == (0, f"{size} ranks agree\n"), complaints


ENDS = {
    "raises": ('raise ValueError("the image is damaged")', "rank 1 of 2: ValueError: the image is damaged; the job"),
    "stalls": ("time.sleep(100)", "rank 0 of 2: another rank has not answered for 1 s; the job ends"),
    "is killed": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "Killed (signal 9)"),
    "exits": ("sys.exit(3)", "rank 0 of 2: rank 1 has ended; the job ends"),
}


@with_mpi
@pytest.mark.parametrize("fate", ENDS)
def test_a_rank_that_fails_ends_the_job(fate: str) -> None:
    act, message = ENDS[fate]
    code, said, complaints, seconds = run(2, f"""
ranks.patience = {1 if fate == "stalls" else 60}
ranks.sum(np.ones(3))
if ranks.rank == 1:
    {act}
ranks.sum(np.ones(3))
print("not reached")
""")
    assert code != 0
    assert message in said + complaints
    assert "not reached" not in said
    assert seconds < 60  # a rank waits that long for one that does not answer


@with_mpi
def test_a_rank_may_work_longer_than_the_others() -> None:
    """One that has ended does not end the job."""
    code, said, complaints, _ = run(2, """
ranks.sum(np.ones(3))
if ranks.rank == 0:
    time.sleep(4)
    print("the last one")
""")
    assert (code, said) == (0, "the last one\n"), complaints
