"""Training on the emulated GPU, and on a real one: weights are those of the CPU, and no step waits for the device."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support.cuda_places import DEVICES, without_waiting
from tests.support.op_cases import difference
from tinynet import backend
from tinynet.backend.cuda.runtime import emulator

STEPS = 6

on_each_device = pytest.mark.parametrize("device", DEVICES)


def lstm_cnn() -> Any:
    """A small LSTM-CNN, with every op that has CUDA kernels in training."""
    nn = tn.nn
    return nn.Sequential(nn.BatchNorm(9), nn.LSTM(9, 20, recurrent_dropout=0.1), nn.BatchNorm(20), nn.Dropout(0.2),
                         nn.Conv1D(20, 18, 3), nn.ReLU(), nn.MaxPool1D(2), nn.Flatten(), nn.Dense(36, 4))


def batches() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    rng = np.random.default_rng(0)
    for _ in range(STEPS):
        yield rng.standard_normal((11, 7, 9)).astype("float32"), rng.integers(0, 4, 11)


def train(device: str, which: str = "fast") -> tuple[dict[str, Any], list[float]]:
    """The state after some steps of Adam, and the losses."""
    tn.seed(3)
    model = lstm_cnn().to(device)
    optimizer = tn.optim.Adam(model.parameters(), lr=1e-2)
    losses = []
    with tn.using(which):
        for x, labels in batches():
            loss = tn.ops.cross_entropy(model(tn.Tensor(x).to(device)), tn.Tensor(labels).to(device))
            optimizer.zero_grad()
            loss.backward()
            tn.optim.clip_global_norm(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss.item())
    return {name: backend.to_host(backend.as_array(value)) for name, value in model.state_dict().items()}, losses


@on_each_device
def test_training_ends_with_the_weights_of_the_cpu(device: str) -> None:
    expected, losses = train("cpu", "reference")
    with emulator.checked():
        state, ours = train(device)
    assert state.keys() == expected.keys()
    for name, array in state.items():
        assert difference(array, expected[name]) <= 1e-4, name
    assert difference(ours, losses) <= 1e-5


@on_each_device
def test_training_twice_gives_the_same_bits(device: str) -> None:
    (first, losses), (second, again) = train(device), train(device)
    assert losses == again
    assert all(np.array_equal(first[name], second[name]) for name in first)


@on_each_device
def test_initial_weights_are_those_of_the_cpu_bit_for_bit(device: str) -> None:
    tn.seed(3)
    here = lstm_cnn()
    tn.seed(3)
    there = lstm_cnn().to(device)
    for name, parameter in there.parameters().items():
        assert parameter.device == device
        assert np.array_equal(parameter.numpy(), here.parameters()[name].numpy())


@on_each_device
@pytest.mark.parametrize("shape", [(4, 7), (3, 5, 2)])
def test_masks_of_layers_are_those_of_the_cpu_bit_for_bit(device: str, shape: tuple[int, ...]) -> None:
    masks = []
    for place in ("cpu", device):
        tn.seed(5)
        layer, ones = tn.nn.Dropout(0.4).to(place), tn.Tensor(np.ones(shape, "float32")).to(place)
        masks.append([layer(ones).numpy() for _ in range(3)])
    assert all(map(np.array_equal, *masks))
    assert not np.array_equal(masks[0][0], masks[0][1])


@on_each_device
def test_a_step_does_not_wait_for_the_device(device: str) -> None:
    tn.seed(3)
    model = lstm_cnn().to(device)
    optimizer = tn.optim.Adam(model.parameters(), lr=1e-2)
    inputs = [(tn.Tensor(x).to(device), tn.Tensor(labels).to(device)) for x, labels in batches()]
    losses = []
    with without_waiting(device):
        for x, labels in inputs:
            loss = tn.ops.cross_entropy(model(x), labels)
            optimizer.zero_grad()
            loss.backward()
            tn.optim.clip_global_norm(model.parameters(), 1.0)
            optimizer.step()
            losses.append(loss)
    assert np.isfinite([loss.item() for loss in losses]).all()


@on_each_device
def test_every_kernel_of_the_step_was_ours(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynet.backend.cuda.runtime.launch import Kernels
    launched, launch = set[str](), Kernels.launch

    def noting(self: Kernels, name: str, *rest: Any) -> None:
        launched.add(name)
        launch(self, name, *rest)

    monkeypatch.setattr(Kernels, "launch", noting)
    train(device)
    assert launched >= {"lstm_forward_64", "lstm_backward_64", "normalise", "dnormalise", "statistics", "dropout",
                        "unfold", "fold", "relu", "drelu", "max_pool", "dmax_pool", "add_bias", "column_sums",
                        "cross_entropy", "dcross_entropy", "adam"}


@on_each_device
def test_evaluation_and_the_way_back(device: str) -> None:
    tn.seed(3)
    model = lstm_cnn()
    x, _ = next(batches())
    model(tn.Tensor(x))
    expected = model.eval()(tn.Tensor(x)).numpy()
    there = model.to(device)
    with tn.no_grad():
        assert difference(there(tn.Tensor(x).to(device)).numpy(), expected) <= 1e-5
    assert np.array_equal(there.to("cpu")(tn.Tensor(x)).numpy(), expected)
