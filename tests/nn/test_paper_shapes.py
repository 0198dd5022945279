"""A step of each model of the paper at its own shapes: the kernels in float32 beside the specification in float64."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import tinynet as tn

BATCH = {"lstm_cnn": 40, "cnn_lstm": 9, "lstm": 40, "cnn": 9, "deep_lstm_cnn": 40, "idc_lstm_cnn": 9}
NEAR_KINKS = 1e-3  # ReLU and max pooling may decide otherwise where two numbers differ by a rounding


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    count = tn.threads()
    tn.set_threads(2)
    yield
    tn.set_threads(count)


def step(name: str, dtype: str) -> dict[str, np.ndarray]:
    """Loss, gradients and weights after a step of Adam, with dropout, and averages of batch normalisation."""
    tn.seed(1)
    model: Any = getattr(tn.models, name)()
    N, rng = BATCH[name], np.random.default_rng(0)
    x = rng.uniform(0, 1, (N, *model.input_shape))
    labels = rng.integers(0, model[-1].units, N)
    model = model.astype(dtype)
    optimizer = tn.optim.Adam(model.parameters(), lr=0.01)
    loss = tn.ops.cross_entropy(model(tn.Tensor(x.astype(dtype))), tn.Tensor(labels))
    loss.backward()
    found = {f"gradient {name}": parameter.grad.copy() for name, parameter in model.parameters().items()}
    optimizer.step()
    averages = {key: array for key, array in model.state_dict().items() if "running" in key}
    return {"loss": loss.numpy(), **found, **averages}


@pytest.mark.parametrize("name", BATCH)
def test_a_step_is_that_of_the_specification(name: str) -> None:
    fast = step(name, "float32")
    with tn.using("reference"):
        exact = step(name, "float64")
    assert fast.keys() == exact.keys() and len(fast) > 4
    for key, array in exact.items():
        scale = np.abs(array).max()
        assert np.abs(fast[key] - array).max() <= (1e-6 if key == "loss" else NEAR_KINKS) * scale, key
