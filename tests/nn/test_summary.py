"""What a model costs: inferred by summary() without running it, and measured by profile()."""

import math
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from benchmarks import cases
from benchmarks.flops import layer_flops
from tests.support.complete import OPS
from tinynet import nn
from tinynet.backend.cuda.runtime import fake_cupy
from tinynet.errors import ArgumentError, ShapeError
from tinynet.nn.profiled import LayerProfile, Profile
from tinynet.nn.summary import rows
from tinynet.op import REGISTRY, op
from tinynet.shown import in_bytes

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples"))

import models

SUMMARY = """\
layer       output shape     parameters       FLOPs   activations
BatchNorm   (N, 28, 28, 1)            2       3,136        3.1 kB
Reshape     (N, 28, 28)               0           0           0 B
LSTM        (N, 28, 128)         80,384   4,519,424      103.5 kB
Dropout     (N, 28, 128)              0           0           0 B
Conv1D      (N, 26, 64)          24,640   1,279,616        6.7 kB
ReLU        (N, 26, 64)               0       1,664        6.7 kB
Dropout     (N, 26, 64)               0           0           0 B
Flatten     (N, 1664)                 0           0           0 B
Dense       (N, 10)              16,650      33,290          40 B
total                           121,676   5,837,130      120.0 kB"""


class Custom(nn.Module):
    """A model with a list, a layer that is called twice, a parameter and an op of its own."""

    def __init__(self) -> None:
        self.scale = nn.Parameter([2.0])
        self.blocks = [nn.Dense(3, 3, bias=False), nn.ReLU()]
        self.tied = self.blocks[0]
        self.inner = nn.Sequential(nn.BatchNorm(3), nn.Dropout(0.5))

    def forward(self, x: Any) -> Any:
        for block in (self.inner, *self.blocks, self.tied):
            x = block(x)
        return x * self.scale


def images(*shape: int) -> np.ndarray:
    return np.random.default_rng(0).uniform(0, 1, shape).astype("float32")


# --- summary --------------------------------------------------------------------------------------------------------

def test_the_summary_of_the_lstm_cnn() -> None:
    assert models.lstm_cnn().summary() == SUMMARY
    model = models.lstm_cnn()
    model.input_shape = None
    assert model.summary((28, 28, 1)) == SUMMARY


def test_a_summary_computes_and_changes_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = models.lstm_cnn()
    model[3].eval()
    before, modes = model.state_dict(), [module.training for _, module in model.modules()]
    for each in tn.op.REGISTRY.values():
        monkeypatch.setattr(each, "forward", None)
    assert model.summary() == SUMMARY
    wide = [line.rpartition("   ")[0].split() for line in model.astype("float64").summary().splitlines()]
    assert wide == [line.rpartition("   ")[0].split() for line in SUMMARY.splitlines()], "but for the memory"
    assert model.summary().endswith("240.0 kB")
    assert [module.training for _, module in model.modules()] == modes
    assert all((array == before[name]).all() for name, array in model.state_dict().items())
    assert tn.random.next_draw() == tn.random.next_draw() - 1


def test_a_summary_without_a_shape() -> None:
    assert nn.Sequential(nn.Dense(3, 2), nn.ReLU()).summary().splitlines() == [
        "layer   output shape   parameters",
        "Dense                           8",
        "ReLU                            0",
        "total                           8"]
    assert nn.Sequential(nn.Dense(3, 2), input_shape=(3,)).summary() == nn.Sequential(nn.Dense(3, 2)).summary((3,))
    assert nn.Dense(3, 2).summary((3,)).splitlines()[1].split() == ["Dense", "(N,", "2)", "8", "14", "8", "B"]


def test_the_summary_of_nested_and_custom_modules() -> None:
    model = nn.Sequential(nn.Sequential(nn.Dense(3, 4), nn.ReLU()), nn.Dense(4, 2))
    assert [(row.name, row.layer) for row in rows(model, (3,))] == [("0.0", "Dense"), ("0.1", "ReLU"), ("1", "Dense")]
    for shape in ((3,), None):
        found = {(row.name, row.layer, row.parameters) for row in rows(Custom(), shape)}
        assert found >= {("", "Custom", 1), ("blocks.0", "Dense", 9), ("inner.0", "BatchNorm", 6)}
        assert sum(row.parameters for row in rows(Custom(), shape)) == 1 + 9 + 6
    called = [(row.layer, row.parameters, row.flops) for row in rows(Custom(), (3,))]
    assert called == [("BatchNorm", 6, 12), ("Dropout", 0, 0), ("Dense", 9, 18), ("ReLU", 0, 3), ("Dense", 0, 18),
                      ("Custom", 1, 3)]


class Between(nn.Module):
    """An op of its own, a layer, and another op."""

    def __init__(self) -> None:
        self.dense = nn.Dense(3, 3, bias=False)

    def forward(self, x: Any) -> Any:
        return self.dense(tn.ops.relu(x)) * 2


def test_ops_before_a_layer_are_those_of_its_module() -> None:
    assert [(row.layer, row.flops) for row in rows(Between(), (3,))] == [("Dense", 18), ("Between", 6)]


def test_a_summary_of_a_wrong_shape_says_what_is_wrong() -> None:
    with pytest.raises(ShapeError, match="reshape: shape must have as many elements as x"):
        models.lstm_cnn().summary((28, 27, 1))
    assert tn.Tensor([1.0]).sum().item() == 1.0, "shapes alone are over"
    for wrong in ((28, -1), (2.5,), ("28",), "28", 28):
        with pytest.raises(ArgumentError, match="summary: input_shape must be the shape of one sample"):
            nn.Dense(28, 2).summary(wrong)  # type: ignore[arg-type]
    for right in ((np.int64(28),), [28]):
        assert nn.Dense(28, 2).summary(right) == nn.Dense(28, 2).summary((28,))  # type: ignore[arg-type]
    assert nn.ReLU().summary(()).splitlines()[1].split() == ["ReLU", "(N)", "0", "1", "4", "B"]
    assert nn.ReLU().summary((0, 3)).splitlines()[1].split() == ["ReLU", "(N,", "0,", "3)", "0", "0", "0", "B"]


@pytest.mark.parametrize(("layer", "shape", "flops"), [
    (nn.Dense(5, 7), (5,), 5 * 7 * 2 + 7),
    (nn.Dense(5, 7), (3, 5), 3 * (5 * 7 * 2 + 7)), (nn.Dense(5, 7, bias=False), (5,), 5 * 7 * 2),
    (nn.Conv1D(5, 7, 3, bias=False), (6, 5), 4 * 7 * 5 * 3 * 2),
    (nn.LSTM(5, 7), (4, 5), 4 * (4 * 7 * (2 * 12 + 1) + 4 * 7 + 5 * 7)),  # z = [h, x] W + b, four functions, (4), (6)
    (nn.Conv1D(5, 7, 3), (6, 5), 4 * (7 * 5 * 3 * 2 + 7)),
    (nn.Conv1D(6, 4, 3, groups=2), (6, 6), 4 * 4 * (3 * 3 * 2 + 1)),
    (nn.Conv2D(6, 6, 2, groups=3, bias=False), (5, 5, 6), 4 * 4 * 6 * (2 * 4 * 2)),
    (nn.Conv2D(5, 7, (3, 2), padding="same", stride=2), (6, 8, 5), 3 * 4 * (7 * 5 * 6 * 2 + 7)),
    (nn.MaxPool1D(3, 1), (7, 2), 5 * 2 * 3),
    (nn.AvgPool2D(2), (6, 4, 3), 3 * 2 * 3 * 4), (nn.MaxPool2D((3, 2)), (6, 4, 3), 2 * 2 * 3 * 6),
    (nn.GlobalAveragePool(), (6, 4, 3), 6 * 4 * 3),
    (nn.ReLU(), (6, 4), 24), (nn.Sigmoid(), (3,), 3), (nn.BatchNorm(3), (4, 3), 4 * 12), (nn.Softmax(), (4, 3), 3 * 12),
    (nn.Flatten(), (6, 4), 0), (nn.Reshape((4, 6)), (6, 4), 0), (nn.Dropout(0.5), (6, 4), 0)])
def test_operations(layer: Any, shape: tuple[int, ...], flops: int) -> None:
    row, = rows(layer, shape)
    assert row.flops == flops


BESIDE_PRODUCTS = {"LSTM": 13, "Dense": 1, "Conv1D": 1, "Conv2D": 1}  # the bias; for an LSTM four, and (1) to (6)


@pytest.mark.parametrize("name", ["lstm_cnn", "cnn_lstm", "lstm", "cnn", "deep_lstm_cnn", "pneumonia_cnn_lstm"])
def test_operations_are_those_that_the_benchmark_counts(name: str) -> None:
    """The benchmark counts the products of each layer from shapes alone."""
    case = cases.case(name, "forward", getattr(models, name)(), 1)
    layers, x, counted = rows(getattr(models, name)(), case.shape[1:]), case.shape, 0
    for row, (kind, options), y in zip(layers, case.layers, cases.output_shapes(case), strict=True):
        assert row.layer == kind
        if kind in BESIDE_PRODUCTS:
            steps = x[1] * options["units"] if kind == "LSTM" else math.prod(y)
            assert row.flops == layer_flops(kind, options, x, y) + BESIDE_PRODUCTS[kind] * steps
            counted += 1
        x = y
    assert counted >= 2


class OwnOp(nn.Module):
    """Calls an op that does not say what it costs."""

    def forward(self, x: Any) -> Any:
        return wait(x)


class OwnArrays(nn.Module):
    """Computes without ops."""

    def forward(self, x: Any) -> Any:
        return tn.Tensor(x.numpy() * 2)


class OwnWeights(nn.Module):
    """Its output is a tensor of its own."""

    def __init__(self) -> None:
        self.W = nn.Parameter(np.ones((1, 2), "float32"))

    def forward(self, x: Any) -> Any:
        return self.W


def test_a_parameter_as_an_output_costs_nothing() -> None:
    assert [(row.layer, row.flops, row.activations) for row in rows(nn.Sequential(OwnWeights(), nn.ReLU()), (3,))] == [
        ("OwnWeights", 0, 0), ("ReLU", 2, 8)]


def test_what_is_not_known_is_not_made_up() -> None:
    model = nn.Sequential(nn.Dense(3, 2), OwnOp(), nn.Sequential(OwnArrays()), nn.ReLU())
    assert [(row.layer, row.flops, row.activations) for row in rows(model, (3,))] == [
        ("Dense", 14, 8), ("OwnOp", None, 8), ("OwnArrays", None, None), ("ReLU", 2, 8)]
    assert model.summary((3,)).splitlines() == [
        "layer       output shape   parameters   FLOPs   activations",
        "Dense       (N, 2)                  8      14           8 B",
        "OwnOp       (N, 2)                  0       ?           8 B",
        "OwnArrays   (N, 2)                  0       ?             ?",
        "ReLU        (N, 2)                  0       2           8 B",
        "total                               8       ?             ?"]


class Moves(nn.Module):
    """Some steps, with the features before them."""

    def __init__(self, steps: Any) -> None:
        self.steps = steps

    def forward(self, x: Any) -> Any:
        return x[:, self.steps].transpose(0, 2, 1)


@pytest.mark.parametrize(("layer", "shape", "elements"), [
    (nn.Dense(5, 7), (3, 5), 21), (nn.LSTM(5, 7), (4, 5), 4 * (7 * 7 + 5)), (nn.Flatten(), (3, 4), 0),
    (nn.GRU(5, 7), (4, 5), 4 * (5 * 7 + 5)), (nn.SimpleRNN(5, 7), (4, 5), 4 * (7 + 5)),
    (Moves(slice(1, 3)), (4, 6), 0), (Moves([0, 2, 2]), (4, 6), 3 * 6),  # views, and a copy
    (nn.LSTM(5, 7, return_sequences=False), (4, 5), 4 * (7 * 7 + 5)), (nn.MaxPool2D(2), (4, 6, 3), 2 * 3 * 3)])
def test_memory_for_the_way_back(layer: Any, shape: tuple[int, ...], elements: int) -> None:
    row, = rows(layer, shape)
    assert row.activations == 4 * elements


@pytest.mark.parametrize(("layer", "shape", "elements"), [
    (nn.Dense(5, 7), (3, 5), 21),
    (nn.Conv1D(2, 3, 3, padding=50), (4, 2), 102 * 3),
    (nn.Conv1D(9, 1, 3, padding=50), (4, 9), 104 * 9),
    (nn.Conv1D(9, 1, 3, padding="causal", dilation=20), (4, 9), 44 * 9),
    (nn.Conv2D(3, 1, (1, 3), padding=(0, 1), stride=2), (4, 6, 3), 4 * 8 * 3),
    (nn.Conv1D(6, 2, 3, padding=50, groups=2), (4, 6), 104 * 6),
    (nn.Conv2D(4, 4, 1, padding=2, stride=3, groups=4), (4, 6, 4), 8 * 10 * 4),
    (nn.Conv2D(3, 1, 1, stride=(1, 4), padding=(0, 30)), (4, 6, 3), 4 * 66 * 3),
    (nn.MaxPool1D(9, 1, padding="same"), (4, 2), 12 * 2),
    (nn.AvgPool2D((9, 2), padding="same"), (4, 6, 3), 9 * 6 * 3)])
def test_the_largest_array(layer: Any, shape: tuple[int, ...], elements: int) -> None:
    row, = rows(layer, shape)
    assert row.largest == 4 * elements


def test_bytes_in_words() -> None:
    assert [in_bytes(n) for n in (0, 999, 1000, 999_949, 999_950, 10**9, 10**13)] == [
        "0 B", "999 B", "1.0 kB", "999.9 kB", "1.0 MB", "1.0 GB", "10,000.0 GB"]


# --- profile --------------------------------------------------------------------------------------------------------

class Clock:
    now = 0.0


@op("x:(...) -> y:(...)", cases=[{}])
def wait(xp: Any, x: Any) -> Any:
    """The same, after 20 seconds of the clock."""
    Clock.now += 20.0
    return x + 0, None


@wait.gradient
def dwait(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    Clock.now += 10.0
    return dy


del tn.op.REGISTRY["wait"]  # the tests of all ops are not for it


class Wait(nn.Module):
    """Takes 20 seconds of the clock forward and 10 backward."""

    def forward(self, x: Any) -> Any:
        return wait(x)


class Outer(nn.Module):
    def __init__(self) -> None:
        self.before, self.waits = nn.Dense(3, 3), [Wait(), Wait()]

    def forward(self, x: Any) -> Any:
        x = self.before(x)
        for one in self.waits:
            x = one(x)
        return x + 1.0


def test_time_is_that_of_the_layer_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tinynet.nn.profile.time.perf_counter", lambda: Clock.now)
    profile = Outer().profile(images(2, 3), repeat=2)
    assert [(row.name, row.layer) for row in profile.rows] == [
        ("before", "Dense"), ("waits.0", "Wait"), ("waits.1", "Wait"), ("", "Outer")]
    assert [(row.forward, row.backward) for row in profile.rows] == [(0, 0), (20, 10), (20, 10), (0, 0)]
    assert (profile.forward, profile.backward) == (40, 20)
    monkeypatch.undo()
    profile = Outer().profile(images(2, 3), repeat=2)
    assert all(row.forward > 0 and row.backward > 0 for row in profile.rows)


def test_a_profile_is_the_median_of_training_steps_without_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    seconds, modes = iter([1000.0, 30.0, 5.0, 7.0]), []

    class Warm(nn.Module):
        def forward(self, x: Any) -> Any:
            modes.append(self.training)
            Clock.now += next(seconds)
            return x * 1.0

    monkeypatch.setattr("tinynet.nn.profile.time.perf_counter", lambda: Clock.now)
    profile = Warm().eval().profile(images(2, 3), repeat=3)
    assert profile.forward == profile.rows[0].forward == 7 and modes == [True] * 4


def test_a_profile_as_a_table() -> None:
    text = str(models.lstm_cnn().profile(images(4, 28, 28, 1), repeat=1))
    lines = text.splitlines()
    assert lines[0].split() == ["layer", "name", "forward", "backward", "share", "kept"]
    assert [line.split()[0] for line in lines[1:-1]] == [
        "BatchNorm", "Reshape", "LSTM", "Dropout", "Conv1D", "ReLU", "Dropout", "Flatten", "Dense"]
    assert lines[-1].startswith("batch of 4 ")
    shares = [int(line.split("%")[0].split()[-1]) for line in lines[1:-1]]
    assert 95 < sum(shares) < 105
    assert len({len(line) for line in lines}) == 1


def test_the_numbers_of_that_table() -> None:
    """Times in milliseconds, and shares of what the layers take together."""
    layers = [LayerProfile("0", "Dense", 0.001, 0.002, 2000), LayerProfile("1.0", "ReLU", 0.0005, 0.0005, 500)]
    assert [" ".join(line.split()) for line in str(Profile(layers, 0.0016, 1.5, 8)).splitlines()[1:]] == [
        "Dense 0 1.00 ms 2.00 ms 75% 2.0 kB", "ReLU 1.0 0.50 ms 0.50 ms 25% 500 B",
        "batch of 8 1.60 ms 1,500.00 ms 2.5 kB"]


@pytest.mark.parametrize("name", ["lstm_cnn", "cnn_lstm", "lstm", "cnn"])
def test_memory_is_about_what_the_summary_says(name: str) -> None:
    """On the specification, without dropout. What a convolution gives is dropped once its ReLU has a mask of it."""
    model = getattr(models, name)()
    for _, module in model.modules():
        if isinstance(module, nn.Dropout):
            module.p = 0.0
    with tn.using("reference"):
        profile = model.profile(images(8, 28, 28, 1), repeat=1)
    inferred = 8 * sum(row.activations for row in rows(model, (28, 28, 1)))
    assert 0.3 * inferred < profile.kept < 1.2 * inferred
    measured = {row.layer: row.kept for row in profile.rows}
    lstms = [row for row in rows(model, (28, 28, 1)) if row.layer == "LSTM"]
    for row in lstms:
        assert measured["LSTM"] == pytest.approx(8 * row.activations, rel=0.05)


def test_memory_is_counted_once() -> None:
    """What is kept by two, or is a view, counts once, for the layer that made it; x and W were there before."""
    with tn.using("reference"):
        profile = nn.Sequential(nn.Tanh(), nn.Flatten(), nn.Dense(12, 5), nn.Tanh(), nn.Sigmoid()).profile(
            images(8, 3, 4), repeat=1)
    assert [row.kept for row in profile.rows] == [8 * 12 * 4, 0, 0, 8 * 5 * 4, 8 * 5 * 4]
    with tn.using("reference"):
        profile = nn.Sequential(nn.Dense(3, 5), nn.ReLU(), nn.Tanh(), nn.Dense(5, 2)).profile(images(8, 3), repeat=1)
    assert [row.kept for row in profile.rows] == [0, 8 * 5, 8 * 5 * 4, 0]  # of the Dense nothing, of the ReLU a mask


def test_a_profile_changes_nothing() -> None:
    model = models.lstm_cnn()
    optimizer = tn.optim.Adam(model.parameters())
    x, labels = tn.Tensor(images(4, 28, 28, 1)), np.arange(4)
    tn.ops.cross_entropy(model(x), labels).backward()
    model[3].eval()
    state = model.state_dict()
    gradients = [parameter.grad.copy() for parameter in model.parameters()]
    modes = [module.training for _, module in model.modules()]
    model.profile(x, repeat=2)
    assert [module.training for _, module in model.modules()] == modes
    assert all((array == state[name]).all() for name, array in model.state_dict().items())
    for parameter, gradient in zip(model.parameters(), gradients, strict=True):
        np.testing.assert_array_equal(parameter.grad, gradient)
        assert parameter.home is not None
    optimizer.step()
    assert (model[2].W.numpy() != state["2.W"]).any()


def test_a_profile_that_fails_changes_nothing() -> None:
    model = models.lstm_cnn().eval()
    with pytest.raises(ShapeError):
        model.profile(images(4, 28, 27, 1))
    assert not any(module.training for _, module in model.modules())
    with pytest.raises(ArgumentError, match="profile: repeat must be an integer of at least 1, got 0; repeat=5"):
        model.profile(images(4, 28, 28, 1), repeat=0)


def test_a_model_without_parameters_has_no_way_back() -> None:
    profile = nn.Sequential(nn.Tanh(), nn.Flatten()).profile(images(2, 3, 4), repeat=1)
    assert profile.backward == 0
    assert profile.kept == 0
    assert len(profile.rows) == 2
    assert len(str(profile).splitlines()) == 4


class LastState(nn.Module):
    def __init__(self) -> None:
        self.lstm, self.dense = nn.LSTM(3, 4, return_state=True), nn.Dense(4, 2)

    def forward(self, x: Any) -> Any:
        y, _, c = self.lstm(x)
        return self.dense(c), y


class HalfKnown(nn.Module):
    """One output of an op, and one that no op made."""

    def forward(self, x: Any) -> Any:
        return tn.ops.relu(x), tn.Tensor(x.numpy() * 2)


def test_one_output_that_no_op_made_makes_the_costs_unknown() -> None:
    assert [(row.flops, row.activations) for row in rows(HalfKnown(), (3,))] == [(None, None)]


def test_the_largest_array_of_several_ops_is_that_of_one() -> None:
    assert [row.largest for row in rows(Between(), (3,))] == [12, 12]
    assert [row.largest for row in rows(nn.LSTM(2, 3), (5, 2))] == [4 * 5 * 3]


def test_a_layer_of_several_outputs_is_shown_by_its_first_one() -> None:
    x = images(2, 5, 3)
    for profile in (LastState().profile(x, repeat=1), nn.LSTM(3, 4, return_state=True).profile(x, repeat=1)):
        assert profile.rows[0].layer == "LSTM" and profile.rows[0].kept > 0 and profile.rows[0].backward > 0
    assert [(row.name, row.layer, row.shape) for row in rows(LastState(), (5, 3))] == [
        ("lstm", "LSTM", (5, 4)), ("dense", "Dense", (2,))]


def test_a_profile_on_a_device_waits_for_each_layer() -> None:
    with tn.using("reference"):
        model = models.lstm_cnn().to("gpu-emulated")
        before = fake_cupy.waits
        profile = model.profile(images(2, 28, 28, 1), repeat=1)
        layers = len(profile.rows)
        assert fake_cupy.waits - before > 2 * 2 * layers, "two runs, forward and backward"
        assert profile.kept > 0 and profile.backward > 0
        assert {parameter.device for parameter in model.parameters()} == {"gpu-emulated"}


@pytest.mark.parametrize(("number", "text"), [
    (0, "0 B"), (10**15, "1,000,000.0 GB"), (10**400, "more than 1,000,000 GB")])
def test_any_number_of_bytes_can_be_said(number: int, text: str) -> None:
    from tinynet.shown import in_bytes

    assert in_bytes(number) == text


@pytest.mark.parametrize(("name", "sizes", "count"), [
    ("matmul", {"K": 7}, 14), ("dense", {"D": 5, "b": True}, 11), ("dense", {"D": 5, "b": False}, 10),
    ("conv1d", {"K": 3, "C": 4, "b": True}, 25), ("conv2d", {"KH": 2, "KW": 3, "C": 4, "b": False}, 48),
    ("max_pool1d", {"size": 3}, 3), ("avg_pool1d", {"size": 3}, 3), ("max_pool2d", {"KH": 2, "KW": 3}, 6),
    ("avg_pool2d", {"KH": 2, "KW": 3}, 6),
    # [h, x] W + b, functions, states: (1) and (2) of an RNN; four gates; three gates, of which one resets
    ("simple_rnn", {"H": 4, "D": 5, "b": False}, 2 * 9 + 1), ("simple_rnn", {"H": 4, "D": 5, "b": True}, 2 * 9 + 2),
    ("lstm", {"H": 4, "D": 5, "recurrent_mask": False}, 4 * (2 * 9 + 1) + 4 + 5),
    ("lstm", {"H": 4, "D": 5, "recurrent_mask": True}, 4 * (2 * 9 + 1) + 4 + 6),
    ("gru", {"H": 4, "D": 5}, 3 * 2 * 9 + 16),
    ("batch_norm", {"mean": False}, 7), ("batch_norm", {"mean": True}, 4)])
def test_operations_for_each_element_of_the_output(name: str, sizes: dict[str, int], count: int) -> None:
    """A multiplication and an addition are two."""
    assert REGISTRY[name].flops(sizes) == count  # type: ignore[operator]


FIXED = {  # by the number of operations for each element, whatever the sizes are
    0: "astype concatenate getitem mask_steps pad reshape take_along_axis transpose where",
    1: "absolute add divide exp expm1 float_power leaky_relu log log1p max maximum mean min minimum multiply negative "
       "power relu sigmoid sign sqrt subtract sum tanh",
    2: "clip dropout elu gelu mae silu", 3: "log_softmax logsumexp mse softmax", 4: "var", 5: "huber",
    8: "cross_entropy layer_norm", 12: "binary_cross_entropy", 25: "erf"}


def test_operations_of_ops_whose_sizes_do_not_matter() -> None:
    fixed = {name: one.flops for name, one in OPS.items() if not callable(one.flops)}
    assert fixed == {name: count for count, names in FIXED.items() for name in names.split()}


def test_views_and_choices_say_what_they_keep() -> None:
    """A view has no memory of its own; the index of a choice has as many elements as the result."""
    keeps = {name: one.keeps for name, one in OPS.items() if one.keeps is not None}
    assert keeps.keys() == {"reshape", "transpose", "getitem", "take_along_axis", "lstm", "gru", "simple_rnn"}
    assert keeps["reshape"] == keeps["transpose"] == 0
    assert keeps["take_along_axis"]({"...Y": (2, 3)}) == 6  # type: ignore[operator]


def test_the_way_back_through_a_layer_is_that_of_all_its_ops(monkeypatch: pytest.MonkeyPatch) -> None:
    class Twice(nn.Module):
        def forward(self, x: tn.Tensor) -> tn.Tensor:
            return tn.ops.relu(tn.ops.tanh(tn.ops.relu(x * self.factor)))

        def __init__(self) -> None:
            self.factor = nn.Parameter(np.ones(3, np.float32))

    now = iter(range(10**6))
    monkeypatch.setattr("tinynet.nn.profile.time.perf_counter", lambda: float(next(now)))
    row, = nn.Sequential(Twice()).profile(np.ones((2, 3), np.float32), repeat=1).rows
    assert row.layer == "Twice" and row.backward == 4, "of four ops, a second each"
