"""Sums between GPUs: NCCL's part of the ranks, in processes of mpiexec with the real CuPy on a CPU and a stand-in."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.cuda_places import CUPY
from tests.test_distributed import MPIEXEC, with_mpi

ROOT = Path(__file__).resolve().parents[3]
pytestmark = CUPY
BEGIN = """
import sys, time
import numpy as np
from tests.support import cupy_on_cpu
cupy = cupy_on_cpu.install()
from tests.support import fake_nccl
from tinynet.distributed import NCCL, world
ranks = world()
def on_own_gpu(): return cupy.cuda.Device(ranks.rank)
"""


def run(code: str, size: int = 2) -> tuple[int, str]:
    """Run code in some ranks: the exit code and all output."""
    done = subprocess.run([MPIEXEC, "-n", str(size), sys.executable, "-c", BEGIN + code], cwd=ROOT,
                          timeout=120, capture_output=True, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)})
    return done.returncode, done.stdout + done.stderr


@with_mpi
def test_arrays_on_gpus_are_added_up_and_sent_by_nccl() -> None:
    code, said = run("""
fake_nccl.install()
with on_own_gpu():
    for dtype in ("float32", "float64", "int64", "uint8"):
        x = cupy.arange(6, dtype=dtype).reshape(2, 3) + ranks.rank
        assert ranks.sum(x) is x and x.get().tolist() == [[1, 3, 5], [7, 9, 11]]
        y = cupy.full((3,), ranks.rank, dtype)
        assert ranks.broadcast(y, root=1) is y and y.get().tolist() == [1, 1, 1]
    stream = cupy.cuda.Stream(non_blocking=True)
    with stream:  # the work before is waited for
        z = cupy.ones(1000, "float32") * (1 + ranks.rank)
        ranks.sum(z)
        z *= 2
        assert (z.get() == 6).all()
    assert fake_nccl.calls == fake_nccl.Counter(get_unique_id=1 - ranks.rank, allReduce=5, bcast=4), fake_nccl.calls
    host = ranks.sum(np.ones(2))
    half = ranks.sum(cupy.ones(2, "int16"))  # NCCL has no such dtype
    assert host.tolist() == half.get().tolist() == [2, 2] and fake_nccl.calls["allReduce"] == 5
if ranks.rank == 0:
    print("agreed")
""")
    assert (code, said) == (0, "agreed\n")


@with_mpi
def test_without_nccl_arrays_pass_through_the_host() -> None:
    """No rank has NCCL, one has none, two share a GPU."""
    code, said = run("""
import importlib.util
def passes(device):
    ranks._nccl = None
    with cupy.cuda.Device(device):
        x = ranks.sum(cupy.ones(3, "float32"))
        y = ranks.broadcast(cupy.full(3, ranks.rank, "float32"), 1)
        assert x.get().tolist() == [2, 2, 2] and y.get().tolist() == [1, 1, 1]
        assert not fake_nccl.calls and ranks._nccl == ()
if not importlib.util.find_spec("nvidia.nccl"):
    passes(ranks.rank)
fake_nccl.install()
fake_nccl.available = False
passes(ranks.rank)
fake_nccl.available = ranks.rank == 0
passes(ranks.rank)
fake_nccl.available = True
passes(0)
""")
    assert code == 0, said
    assert said.count("since a rank has no NCCL; pip install nvidia-nccl-cu13") in (2, 3)  # from rank 0 alone
    assert said.count("since two ranks share a GPU") == 1 and "could not be loaded" not in said


ENDS = {
    "stalls": ("time.sleep(100)", "rank 0 of 2: another rank has not answered for 1 s; the job ends"),
    "exits": ("sys.exit(3)", "rank 0 of 2: rank 1 has ended; the job ends"),
    "has an error of NCCL": ("ranks._nccl[1].error = OSError('a cable'); ranks.sum(x)",
                             "rank 1 of 2: OSError: a cable; the job ends"),
}


@with_mpi
@pytest.mark.parametrize("fate", ENDS)
def test_a_rank_that_fails_ends_the_job(fate: str) -> None:
    """The stand-in's communication lets the host go on, as a GPU does."""
    act, message = ENDS[fate]
    code, said = run(f"""
fake_nccl.install()
ranks.patience = {1 if fate == "stalls" else 60}
with on_own_gpu():
    x = cupy.ones(3, "float32")
    ranks.sum(x)
    if ranks.rank == 1:
        {act}
    ranks.sum(x)
print("not reached")
""")
    assert code != 0 and message in said and "not reached" not in said


@with_mpi
def test_a_run_on_two_gpus_is_that_of_one() -> None:
    code, said = run("""
fake_nccl.install()
import tinynet as tn
from tinynet.distributed import Communicator
from tinynet.training import fit
def train(device):
    tn.seed(0)
    model = tn.nn.Sequential(tn.nn.Dense(4, 5), tn.nn.BatchNorm(5), tn.nn.ReLU(), tn.nn.Dense(5, 2)).to(device)
    x, y = np.random.default_rng(0).normal(size=(22, 4)).astype("float32"), np.arange(22) % 2
    batches = tn.data.Loader(x, y, batch_size=8)
    tn.fit(model, tn.optim.SGD(model.parameters(), lr=0.1), batches, epochs=2, show=False)
    return model.state_dict()
several = train(f"gpu:{ranks.rank}")
assert fake_nccl.calls["allReduce"] >= 6, fake_nccl.calls
fit.ranks = Communicator
one = train(f"gpu:{ranks.rank}")
assert all(np.allclose(several[name], one[name], atol=1e-5) for name in one)
if ranks.rank == 0:
    print("equal")
""")
    assert (code, said) == (0, "equal\n")
