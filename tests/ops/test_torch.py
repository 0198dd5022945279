"""Live comparison with PyTorch, where it is installed: outputs, gradients, ten steps of training."""

import re

import numpy as np
import pytest

pytest.importorskip("torch")

import torch

import tinynet as tn
from tests.support import comparison, torch_side
from tests.support.comparison import CASES, RUNS, TRAJECTORIES, assert_equal

pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


@pytest.fixture(autouse=True, scope="module")
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def begin() -> comparison.Results:
    return comparison.start()


@pytest.mark.parametrize("name", CASES)
def test_ops_are_those_of_pytorch(name: str) -> None:
    case = CASES[name]
    assert_equal(comparison.ours(*case), torch_side.theirs(*case))


@pytest.mark.parametrize("backend", ["reference", "fast"])
@pytest.mark.parametrize("T", [1, 2, 7, 28])
def test_the_lstm_is_that_of_pytorch_at_larger_sizes(T: int, backend: str) -> None:
    case = comparison._lstm(5, T, 28, 32)
    case.inputs["W"] *= 0.3
    with tn.using(backend):
        assert_equal(comparison.ours(*case), torch_side.theirs(*case))


def test_the_comparison_can_fail() -> None:
    case = CASES["lstm, two steps"]
    theirs = torch_side.theirs(*case)
    for name, array in theirs.items():
        spoiled = np.where(np.abs(array) == np.abs(array).max(), array * (1 + 1e-9), array)
        with pytest.raises(AssertionError, match=name):
            assert_equal(comparison.ours(*case), {**theirs, name: spoiled})


@pytest.mark.parametrize("name", [name for name in CASES if re.fullmatch(r".*(softmax|entropy), large.*", name)])
def test_large_logits_are_exact_in_float32(name: str) -> None:
    """What float32 computes is what float64 computes of the same numbers, also at 1e4."""
    op, inputs, options, constant = CASES[name]
    narrow = {key: array.astype(np.float32) if array.dtype.kind == "f" else array for key, array in inputs.items()}
    wide = {key: array.astype(np.float64) if array.dtype.kind == "f" else array for key, array in narrow.items()}
    ours = comparison.ours(op, narrow, options, constant)
    assert all(array.dtype == np.float32 for array in ours.values())
    assert_equal(ours, torch_side.theirs(op, wide, options, constant), values=3e-7, gradients=3e-7)


def test_loss_and_all_gradients_of_the_lstm_cnn(begin: comparison.Results) -> None:
    assert_equal(comparison.our_gradients(begin), torch_side.their_gradients(begin))


@pytest.mark.parametrize("name", RUNS)
def test_ten_steps_of_training(name: str, begin: comparison.Results) -> None:
    ours, theirs = comparison.our_run(RUNS[name], begin), torch_side.their_run(RUNS[name], begin)
    assert_equal(ours, theirs, values=TRAJECTORIES)
    assert not np.allclose(ours["8.W"], begin["8.W"], rtol=1e-3), "nothing was learned"


def test_running_averages_of_batch_normalisation() -> None:
    rng = np.random.default_rng(0)
    ours, theirs = tn.nn.BatchNorm(3).astype("float64"), torch.nn.BatchNorm1d(3, dtype=torch.float64)
    state = ours.state_dict()
    del state["batches_seen"]
    ours.load_state_dict(state)  # both start from averages that are given
    for batch in range(1, 6):
        x = rng.normal(batch, 1 + batch, (4, 3))
        ours(tn.Tensor(x))
        theirs(torch.tensor(x))
        var = torch_side.of_population(theirs.running_var.numpy(), 4, batch)
        assert_equal({"mean": ours.running_mean.numpy(), "var": ours.running_var.numpy()},
                     {"mean": theirs.running_mean.numpy(), "var": var})
    x = rng.normal(0, 1, (2, 3))
    theirs.running_var.copy_(torch.tensor(ours.running_var.numpy()))
    assert_equal({"y": ours.eval()(tn.Tensor(x)).numpy()}, {"y": theirs.eval()(torch.tensor(x)).detach().numpy()})


@pytest.mark.parametrize("max_norm", [0.5, 1e3])
def test_clipping(max_norm: float) -> None:
    rng = np.random.default_rng(0)
    gradients = [rng.normal(size=shape) for shape in ((3, 4), (5,), ())]
    ours = [tn.nn.Parameter(np.zeros_like(g)) for g in gradients]
    theirs = [torch.nn.Parameter(torch.zeros(g.shape, dtype=torch.float64)) for g in gradients]
    for mine, yours, gradient in zip(ours, theirs, gradients, strict=True):
        mine.grad, yours.grad = np.array(gradient), torch.tensor(gradient)
    norm = tn.optim.clip_global_norm(ours, max_norm)
    assert float(norm) == pytest.approx(float(torch.nn.utils.clip_grad_norm_(theirs, max_norm)), rel=1e-12)
    for mine, yours in zip(ours, theirs, strict=True):
        np.testing.assert_allclose(mine.grad, yours.grad.numpy(), rtol=1e-5)  # PyTorch adds 1e-6 to the norm
