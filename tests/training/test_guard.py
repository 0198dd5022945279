"""The first tensor that is not finite is named, and the last good checkpoint is kept."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load_file

import tinynet as tn
from tinynet import nn, optim
from tinynet.backend.cuda.runtime import fake_cupy
from tinynet.errors import NonFiniteError
from tinynet.op import op
from tinynet.training import checkpoint, session

pytestmark = pytest.mark.filterwarnings("ignore::RuntimeWarning")  # NumPy's, of intended overflows

X = np.random.default_rng(0).uniform(0.5, 1, (24, 6)).astype("float32")
Y = np.arange(24) % 3


@op("x:(...) -> y:(...)", cases=[{}])
def bad_backward(xp: Any, x: Any) -> Any:
    """The identity, with an infinite gradient where x is larger than 50."""
    return x + 0, x


@bad_backward.gradient
def dbad_backward(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    return xp.where(cache > 50, xp.inf, dy)


del tn.op.REGISTRY["bad_backward"]  # it is not an op of tinynet


class Bad(nn.Module):
    def forward(self, x: Any) -> Any:
        return bad_backward(x)


class Scaled(nn.Module):
    """Multiplies by a parameter."""

    def __init__(self, value: float) -> None:
        self.scale = nn.Parameter([value])

    def forward(self, x: Any) -> Any:
        return x * self.scale


def model(*first: nn.Module) -> Any:
    return nn.Sequential(*first, nn.BatchNorm(6), nn.Dense(6, 8), nn.Tanh(), nn.Dropout(0.3), nn.Dense(8, 3))


def fit(network: Any, x: np.ndarray = X, optimizer: Any = optim.SGD, batches: Any = None, epochs: int = 3,
        lr: float = 0.1, **options: Any) -> Any:
    loader = tn.data.Loader(x, Y, batch_size=8) if batches is None else batches
    return tn.fit(network, optimizer(network.parameters(), lr), loader, epochs=epochs, show=False, **options)


def with_value(value: float, *at: int) -> np.ndarray:
    x = X.copy()
    x[at] = value
    return x


class Spoil(tn.callbacks.Callback):
    """Set a parameter to NaN after a step. Repeated steps are not affected, as after a hardware fault."""

    def __init__(self, network: Any, step: int) -> None:
        self._network, self._step = network, step

    def on_step(self, run: Any) -> None:
        if run.step == self._step:
            self._network[1].W.data[0, 0] = np.nan


class Two(nn.Module):
    """A model of two inputs, of which none is a mask."""

    def __init__(self) -> None:
        self.first, self.second = nn.Dense(6, 3), nn.Dense(2, 3)

    def forward(self, x: Any, z: Any) -> Any:
        return self.first(x) + self.second(z)


SHARED = Scaled(1e10)


def scaled_loss(factor: float, at: int) -> Any:
    """A loss that is multiplied by `factor` if the first label of the batch is `at`."""
    def loss(output: Any, labels: Any) -> Any:
        value = tn.ops.cross_entropy(output, labels)
        return value * factor if labels.numpy()[0] == at else value
    return loss


@pytest.mark.parametrize(("train", "message"), [
    (lambda: fit(nn.Sequential(nn.Dense(6, 1)), batches=[(X, with_value(np.nan, 5, 0)[:, :1])], loss=tn.ops.mse),
     r"in step 1 .* the labels, the target of the loss, is the first .*: nan at \[5, 0\], 1 of its 24 numbers"),
    (lambda: fit(Two(), batches=[((with_value(np.nan, 5, 0), X[:, :2]), Y)]),
     r"in step 1 .* the input of the model is the first .*: nan at \[5, 0\], 1 of its 144 numbers"),
    # a layer in two places, by the first of them
    (lambda: fit(nn.Sequential(SHARED, nn.ReLU(), SHARED, nn.Dense(6, 3)), with_value(1e30, 1, 1)),
     r"in step 1 .* the output of layer 0 \(Scaled\) is the first that is not finite: inf at \[1, 1\]"),
    (lambda: fit(Scaled(1e30), with_value(1e9, 9, 1)), r"in step 2 .* the output of the model \(Scaled\) is the first"),
    (lambda: fit(model(), with_value(np.nan, 11, 2), loss=lambda y, labels: tn.ops.cross_entropy(nn.Tanh()(y), labels)),
     r"in step 2 .* the input of the model is the first"),
    # an image of the second batch
    (lambda: fit(model(), with_value(np.nan, 11, 2)),
     r"in step 2 \(epoch 1, batch 2\) the input of the model is the first that is not finite: nan at \[3, 2\], 1 of "
     r"its 48 numbers; the model is back at step 0, the last good state"),
    (lambda: fit(model(), with_value(np.inf, 17, 0)), r"in step 3 \(epoch 1, batch 3\) the input .* inf at"),
    # a layer
    (lambda: fit(nn.Sequential(Scaled(1e30), Scaled(1e-30), nn.Dense(6, 3)), with_value(1e9, 9, 1)),
     r"in step 2 .* the output of layer 0 \(Scaled\) is the first that is not finite: inf at \[1, 1\], 1 of its 48"),
    # the loss: its value is infinite, all before it is not
    (lambda: fit(model(), loss=scaled_loss(np.inf, at=2)), r"in step 2 .* the loss is the first .*: inf, 1 of its 1 "),
    # a gradient between layers
    (lambda: fit(model(Scaled(1.0), Bad()), with_value(60.0, 20, 4)),
     r"in step 3 .* the gradient that bad_backward of layer 1 \(Bad\) passes back is the first .*: inf at \[4, 4\]"),
    # the gradient of a parameter
    (lambda: fit(nn.Sequential(Scaled(1e-30), nn.Dense(6, 3)), with_value(1e30, 9, 1), loss=scaled_loss(1e10, at=2)),
     r"in step 2 .* the gradient of 0.scale, from multiply of layer 0 \(Scaled\), is the first .*: -?inf"),
    # a weight, by too high a learning rate
    (lambda: fit(model(), lr=1e39), r"in step 1 .* after the update the parameter 0.gamma is the first"),
    # a moment of the optimizer: the weights stay finite, but are never changed again
    (lambda: fit(nn.Sequential(nn.Dense(6, 3)), optimizer=optim.Adam, loss=scaled_loss(1e25, at=2)),
     r"in step 2 .* after the update the optimizer's 0.W.v is the first that is not finite: inf"),
    # a running average
    (lambda: fit(model(), with_value(1e25, 9, 1)),
     r"in step 2 .* (the buffer 0.running_var|the output of layer 0 \(BatchNorm\)) is the first"),
])
def test_the_first_tensor_is_named(train: Any, message: str) -> None:
    with tn.using("reference"), pytest.raises(NonFiniteError, match=message):
        train()


@pytest.mark.parametrize("shape", [(8, 4, 4), (8, 4, 3), (8, 8, 8)])
def test_masked_steps_may_hold_anything(shape: tuple[int, ...]) -> None:
    """The guard looks at the steps that count, and names what is wrong in the others' neighbourhood."""
    x, mask = np.random.default_rng(0).standard_normal(shape).astype("float32"), np.ones(shape[:2], bool)
    x[:, -1], mask[:, -1] = np.nan, False
    network = nn.Sequential(nn.LSTM(shape[2], 3, return_sequences=False), nn.Dense(3, 2))
    batches = [((x, mask), np.arange(8) % 2)] * 2
    tn.fit(network, optim.SGD(network.parameters()), batches, epochs=1, show=False)
    with pytest.raises(NonFiniteError, match=r"in step 1 .* after the update the parameter"):
        tn.fit(network, optim.SGD(network.parameters(), lr=1e39), batches, epochs=1, show=False)
    x[0, 0, 0] = np.nan
    with pytest.raises(NonFiniteError, match=r"in step 1 .* the input of the model is the first .* nan at \[0, 0, 0\]"):
        tn.fit(network, optim.SGD(network.parameters()), batches, epochs=1, show=False)


def test_the_same_masks_in_the_steps_that_are_made_again() -> None:
    """The output overflows only where dropout keeps an element, so repeated steps must draw the same masks."""
    network = nn.Sequential(nn.Dropout(0.5), Scaled(1e38))
    x = np.full((24, 3), 1.0, "float32")
    x[:, 0] = 2.0  # 2 * 2 * 1e38 is infinite
    steps = []
    for seed in range(5):
        tn.seed(seed)
        with pytest.raises(NonFiniteError, match=r"in step \d+ .* the output of layer 1 \(Scaled\)") as found:
            fit(network, x, batches=tn.data.Loader(x, Y, batch_size=1, shuffle=True), lr=0.0)
        steps.append(str(found.value).split()[3])
    assert len(set(steps)) > 1


@pytest.mark.parametrize("seconds", [0, 1e9])
def test_the_last_good_checkpoint_stays(tmp_path: Path, seconds: float) -> None:
    """The model is restored to it."""
    path, network = tmp_path / "c", model()
    message = r"in step 8 \(epoch 3, batch 2\) the loss .* back at step \d, the last good state, which is in .*c; "
    with pytest.raises(NonFiniteError, match=message):
        fit(network, checkpoint=path, checkpoint_seconds=seconds, loss=loss_that_ends(network, 8))
    kept = load_file(path)
    assert all(np.isfinite(array).all() for array in kept.values())
    assert int(kept["optimizer/steps"]) == (7 if seconds == 0 else 6)
    for name, array in network.state_dict().items():
        np.testing.assert_array_equal(array, kept[f"model/{name}"])


def loss_that_ends(network: Any, step: int) -> Any:
    """A loss that is infinite in one step, counted by the calls of the dropout layer."""
    def loss(output: Any, labels: Any) -> Any:
        value = tn.ops.cross_entropy(output, labels)
        return value * np.inf if network[3].calls.item() == step else value
    return loss


def test_good_runs_are_as_without_a_guard() -> None:
    histories, states = [], []
    for guarded in (True, False):
        tn.seed(0)
        network = model()
        histories.append([row["train_loss"] for row in fit(network, guard=guarded)])
        states.append(network.state_dict())
    assert histories[0] == histories[1]
    assert all((states[0][name] == array).all() for name, array in states[1].items())


def test_without_a_guard_nothing_is_said() -> None:
    network = model()
    fit(network, with_value(np.nan, 11, 2), guard=False)
    assert np.isnan(network[1].W.numpy()).all()


def test_what_does_not_happen_again_is_told() -> None:
    network = model()
    with pytest.raises(NonFiniteError, match=r"not finite in one of the steps 4 to 5, but not when they were made"):
        fit(network, callbacks=[Spoil(network, 4)])
    assert all(np.isfinite(array).all() for array in network.state_dict().values())


def test_weights_that_are_bad_from_the_start() -> None:
    network = model()
    network[1].W.data[0, 0] = np.inf
    with pytest.raises(NonFiniteError, match=r"all weights must be finite at the start, and model/1.W is not"):
        fit(network)


def test_weights_that_are_bad_where_a_run_goes_on(tmp_path: Path) -> None:
    """A run without the guard has saved them."""
    network = model()
    network[1].W.data[0, 0] = np.inf
    fit(network, epochs=1, checkpoint=tmp_path / "c", guard=False)
    with pytest.raises(NonFiniteError, match=r"all weights must be finite at the start, and model/\S+ is not"):
        fit(model(), epochs=1, checkpoint=tmp_path / "c", resume=True)


def test_on_a_device_no_step_waits() -> None:
    """The number of reads does not depend on the number of steps."""
    waits = []
    with tn.using("reference"):
        for images in (48, 240):
            x, labels = np.repeat(X, images // 24, axis=0), np.repeat(Y, images // 24)
            before = fake_cupy.waits
            fit(model().to("gpu-emulated"), batches=tn.data.Loader(x, labels, batch_size=8), epochs=1)
            waits.append(fake_cupy.waits - before)
    assert waits[0] == waits[1] > 0  # 6 steps and 30


def test_on_a_device_the_step_is_found_afterwards(tmp_path: Path) -> None:
    with tn.using("reference"):
        network = model().to("gpu-emulated")
        with pytest.raises(NonFiniteError, match=r"in step 2 .* the input of the model .* at \[3, 2\]"):
            fit(network, with_value(np.nan, 11, 2), checkpoint=tmp_path / "c")
        assert network[1].W.device == "gpu-emulated"
    assert all(np.isfinite(array).all() for array in load_file(tmp_path / "c").values())


def test_on_a_device_the_losses_are_read_now_and_then(monkeypatch: pytest.MonkeyPatch) -> None:
    """A fault is found before the epoch ends."""
    monkeypatch.setattr(session, "READ_EVERY", 4)
    steps: list[int] = []

    class Count(tn.callbacks.Callback):
        def on_step(self, run: Any) -> None:
            steps.append(run.step)

    with tn.using("reference"), pytest.raises(NonFiniteError, match="in step 2 "):
        x = np.repeat(X, 4, axis=0)
        x[8 + 3] = np.nan
        fit(model().to("gpu-emulated"), batches=tn.data.Loader(x, np.repeat(Y, 4), batch_size=8), callbacks=[Count()])
    assert steps == [1, 2, 3]


def test_not_finite_names_an_array() -> None:
    arrays = {"a": np.zeros(3), "steps": np.array(3), "b": np.array([0.0, -np.inf])}
    assert checkpoint.not_finite(checkpoint.State(arrays, {})) == "b"
    assert checkpoint.not_finite(checkpoint.State({"a": np.zeros(3)}, {})) is None
