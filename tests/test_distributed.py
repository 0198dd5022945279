"""Ranks: sums over processes that mpiexec has really started, and jobs that end as a whole."""

import importlib.util
import os
import subprocess
import sys
import time
import types
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet.distributed import MPI, NCCL, Communicator, Repeatable, started, world
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


# --- the end of a rank, without mpiexec -------------------------------------------------------------------------------

class Job:
    """A communicator of mpi4py that notes what it is asked for."""

    def __init__(self, ended_at: float, now: list[float]) -> None:
        self.ended_at, self.now, self.calls = ended_at, now, list[Any]()
        for name in ("Isend", "Irecv"):
            setattr(self, name, lambda empty, rank, tag, name=name: self.calls.append((name, empty.size, rank, tag)))

    def Iprobe(self, tag: int, status: Any) -> bool:
        assert tag == 1
        return self.now[0] >= self.ended_at

    def Abort(self, code: int) -> None:
        self.calls.append(("Abort", code))


@pytest.fixture
def rank_of(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Make a rank of three whose clock goes on by a tenth of a second with each look."""
    now, slept = [0.0], list[float]()

    def tick() -> float:
        now[0] += 0.1
        assert now[0] < 10, "a rank waits for ever"
        return now[0]

    def made(rank: int, ended_at: float = np.inf) -> Any:
        now[0] = 0.0
        one: Any = object.__new__(MPI)
        one.rank, one.size, one.patience, one.now, one.slept = rank, 3, 3.0, now, slept
        one._all = Job(ended_at, now)
        one._library = types.SimpleNamespace(Status=lambda: types.SimpleNamespace(Get_source=lambda: 2))
        return one

    monkeypatch.setattr("tinynet.distributed.time", types.SimpleNamespace(monotonic=tick, sleep=slept.append))
    return made


@pytest.mark.parametrize(("rank", "ended_at", "seconds", "why"), [
    (0, np.inf, 3.1, "another rank has not answered for 3 s"),
    (1, np.inf, 3.6, "another rank has not answered for 3 s"),
    (0, 0.45, 2.5, "rank 2 has ended"), (1, 0.45, 3.0, "rank 2 has ended"), (0, 2.45, 3.1, "rank 2 has ended"),
    (2, 2.95, 4.1, "rank 2 has ended")])
def test_how_long_a_rank_waits(rank: int, ended_at: float, seconds: float, why: str, rank_of: Any,
                               capsys: pytest.CaptureFixture[str]) -> None:
    """Each rank half a second longer than the one before it; two seconds at most for one that has ended."""
    one = rank_of(rank, ended_at)
    with pytest.raises(SystemExit) as caught:
        one._wait(lambda: False)
    assert one.now[0] == pytest.approx(seconds + 0.1, abs=0.11)
    assert caught.value.code == 1 and one._all.calls == [("Abort", 1)] and one.slept[-1] == 0.3
    assert capsys.readouterr() == ("", f"rank {rank} of 3: {why}; the job ends\n")


@pytest.mark.parametrize("looks", [1, 2, 20])
def test_a_rank_waits_no_longer_than_until_it_is_answered(looks: int, rank_of: Any) -> None:
    one, answers = rank_of(0, 0.0), iter([False] * (looks - 1) + [True])
    one._wait(lambda: next(answers))
    assert one._all.calls == [] and next(answers, "all") == "all"


def test_a_rank_that_leaves_tells_each_other_one(rank_of: Any) -> None:
    one, tested = rank_of(1), list[int]()
    one._library.Request = types.SimpleNamespace(
        Testall=lambda requests: tested.append(len(requests)) or len(tested) > 2)
    one.leave()
    assert one._all.calls == [("Isend", 0, 0, 1), ("Isend", 0, 2, 1), ("Irecv", 0, 0, 1), ("Irecv", 0, 2, 1)]
    assert tested == [4] * 3 and one.slept == [0.01] * 2


@pytest.mark.parametrize("rank", [0, 1])
def test_an_error_ends_the_job_and_an_interrupt_is_told_by_rank_0_alone(rank: int, monkeypatch: pytest.MonkeyPatch
                                                                       ) -> None:
    """All ranks have an interrupt after the same step. What is printed after the end of the job is lost."""
    told, last = list[Any](), list[Any]()
    found = types.SimpleNamespace(rank=rank, abort=told.append, leave=lambda: None)
    monkeypatch.setenv("PMI_SIZE", "2")
    monkeypatch.setattr("tinynet.distributed.NCCL", lambda: found)
    monkeypatch.setattr("tinynet.distributed.atexit", types.SimpleNamespace(register=last.append))
    monkeypatch.setattr(sys, "excepthook", lambda *error: told.append(error))
    assert world.__wrapped__() is found and last == [found.leave]
    stopped = Interrupted, Interrupted("stopped", 2), None
    fault = ValueError, ValueError("the image is damaged"), None
    sys.excepthook(*stopped)
    assert told == [stopped] * (rank == 0)
    told.clear()
    sys.excepthook(*fault)
    assert told == [fault, "ValueError: the image is damaged; the job ends"]


# --- NCCL, without GPUs: what it is asked for. tests/backend/cuda/test_nccl.py runs it with CuPy ----------------------

class Device:
    """A GPU that notes when it is the current one."""

    def __init__(self, bus: str) -> None:
        self.pci_bus_id, self.is_current = bus, False

    def __enter__(self) -> None:
        self.is_current = True

    def __exit__(self, *error: object) -> None:
        self.is_current = False


def on_a_gpu(dtype: str) -> Any:
    """An array as CuPy has them, on the GPU "there"."""
    kind = type("ndarray", (), {"__module__": "cupy"})
    array: Any = kind()
    array.dtype, array.size, array.device = np.dtype(dtype), 6, Device("there")
    array.data = types.SimpleNamespace(ptr=1000)
    return array


class Rank(NCCL):
    """A rank of two that are not there: `answers` has what they gather."""

    patience = 60.0

    def __init__(self, rank: int, *answers: Any) -> None:
        self.rank, self.size, self.told, self.answers, self.looked = rank, 2, list[Any](), list(answers), 0

    def gather(self, value: Any) -> list[Any]:
        self.told.append(value)
        return list(self.answers.pop(0))

    def _wait(self, is_done: Any) -> None:
        while not is_done():
            self.looked += 1


class Between:
    """NCCL's communicator."""

    def __init__(self, size: int, identity: bytes, rank: int) -> None:
        self.made, self.calls = (size, identity, rank), list[Any]()
        self.allReduce = lambda *given: self.calls.append(("allReduce", *given))
        self.bcast = lambda *given: self.calls.append(("bcast", *given))

    def check_async_error(self) -> None:
        self.calls.append("checked")


class Event:
    """It is done when it is asked for the third time."""

    def __init__(self, disable_timing: bool) -> None:
        assert disable_timing
        self.asked = 0

    def record(self, stream: Any) -> None:
        assert stream.ptr == 7

    @property
    def done(self) -> bool:
        self.asked += 1
        return self.asked == 3


@pytest.fixture
def library(monkeypatch: pytest.MonkeyPatch) -> Any:
    """In the place of `cupy.cuda.nccl`."""
    nccl = types.SimpleNamespace(available=True, NCCL_FLOAT32=70, NCCL_INT64=40, NCCL_SUM=5, NcclCommunicator=Between,
                                 get_unique_id=lambda: (1, 2, 255))
    cupy: Any = types.ModuleType("cupy")
    cupy.cuda = types.ModuleType("cupy.cuda")
    cupy.cuda.nccl, cupy.cuda.Event = nccl, Event
    cupy.cuda.get_current_stream = lambda: types.SimpleNamespace(ptr=7)
    for name, module in (("cupy", cupy), ("cupy.cuda", cupy.cuda)):
        monkeypatch.setitem(sys.modules, name, module)
    for name in ("sum", "broadcast"):
        monkeypatch.setattr(MPI, name, lambda self, *given, name=name: (f"host {name}", *given[1:]))
    monkeypatch.setattr("tinynet.distributed.platform.node", lambda: "here")
    return nccl


APART = [["here", "there"], ["here", "elsewhere"]]


def test_nccl_is_asked_for_sums_and_broadcasts_on_the_stream_of_the_array(library: Any) -> None:
    ranks, array, numbers = Rank(1, APART, [[1, 2, 255], None]), on_a_gpu("float32"), on_a_gpu("int64")
    assert ranks.sum(array) is array and ranks.broadcast(numbers, root=1) is numbers
    between = ranks._nccl[1]
    assert between.made == (2, b"\x01\x02\xff", 1) and ranks.told == [["here", "there"], None]
    assert between.calls == [("allReduce", 1000, 1000, 6, 70, 5, 7), *["checked"] * 3,
                             ("bcast", 1000, 6, 40, 1, 7), *["checked"] * 3]
    assert ranks.looked == 4 and not array.device.is_current
    assert ranks.broadcast(array) is array and between.calls[-4] == ("bcast", 1000, 6, 70, 0, 7)


def test_rank_0_gives_the_identity_and_the_gpu_of_the_array_is_the_current_one(library: Any) -> None:
    array, seen = on_a_gpu("float32"), list[bool]()

    class Seen(Between):
        def __init__(self, *given: Any) -> None:
            super().__init__(*given)
            seen.append(array.device.is_current)
            self.allReduce = lambda *given: seen.append(array.device.is_current)

    library.NcclCommunicator = Seen
    ranks = Rank(0, APART, [[1, 2, 255], None])
    ranks.sum(array)
    assert ranks.told == [["here", "there"], [1, 2, 255]] and seen == [True, True]
    ranks.sum(array)
    assert len(ranks.told) == 2, "ranks join once"


@pytest.mark.parametrize(("places", "why"), [
    ([["here", "there"], ["beside", "there"]], ""), ([["here", "there"], ["here", "there"]], "two ranks share a GPU"),
    ([["here", "there"], None], "a rank has no NCCL; pip install nvidia-nccl-cu13")])
@pytest.mark.parametrize("rank", [0, 1])
def test_where_nccl_cannot_send_arrays_pass_through_the_host(places: Any, why: str, rank: int, library: Any) -> None:
    """With a warning of rank 0."""
    ranks, array = Rank(rank, places, [[1, 2, 255], None]), on_a_gpu("float32")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        found = ranks.sum(array), ranks.broadcast(array, 1)
    assert found == ((("host sum",), ("host broadcast", 1)) if why else (array, array))
    assert [str(one.message) for one in caught] == [f"distributed: arrays pass through the host, since {why}"] * (
        bool(why) and rank == 0)


def test_arrays_of_the_host_and_of_dtypes_that_nccl_lacks_pass_through_the_host(library: Any) -> None:
    ranks = Rank(0)
    assert ranks.sum(np.ones(3)) == ("host sum",) and ranks.broadcast(np.ones(3), 1) == ("host broadcast", 1)
    assert not ranks.told, "for arrays of NumPy no rank joins"
    library.available, other = False, Rank(1, [["here", "there"], None])
    assert other.sum(on_a_gpu("float32")) == ("host sum",) and other.told == [None]
    library.available, last = True, Rank(1, APART, [[1, 2, 255], None])
    assert last.sum(on_a_gpu("int16")) == ("host sum",) and last.broadcast(on_a_gpu("int16"), 1)[1:] == (1,)
