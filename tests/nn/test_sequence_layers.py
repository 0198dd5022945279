"""Bidirectional, Embedding and TimeDistributed: values, gradients, states, and what they refuse."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import nn
from tinynet.errors import ArgumentError, DtypeError
from tinynet.tensor import Tensor

N, T, D, H = 3, 5, 2, 4
RNG = np.random.default_rng(0)
X = RNG.standard_normal((N, T, D)).astype("float32")


# --- Bidirectional --------------------------------------------------------------------------------------------------

MERGES = {"concat": lambda a, b: np.concatenate([a, b], axis=-1), "sum": np.add, "mul": np.multiply,
          "ave": lambda a, b: (a + b) / 2}


@pytest.mark.parametrize("sequences", [True, False])
@pytest.mark.parametrize("mode", MERGES)
def test_bidirectional_is_two_layers(mode: str, sequences: bool) -> None:
    both = nn.Bidirectional(nn.LSTM(D, H, return_sequences=sequences, return_state=True), mode)
    x, states = Tensor(X), [Tensor(RNG.standard_normal((N, H)).astype("float32")) for _ in range(4)]
    y, *after = both(x, *states)
    forwards, *last = both.layer(x, *states[:2])
    backwards, *first = both.backwards(x, *states[2:])
    there = backwards.numpy()[:, ::-1] if sequences else backwards.numpy()
    np.testing.assert_allclose(y.numpy(), MERGES[mode](forwards.numpy(), there), rtol=1e-6)
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(after, [*last, *first], strict=True))


def test_the_backward_part_has_read_what_comes_after() -> None:
    """In the order of time: step t depends on steps t ... T - 1."""
    both, changed = nn.Bidirectional(nn.LSTM(D, H)), X.copy()
    changed[:, 2] += 1
    difference = np.abs(both(Tensor(X)).numpy() - both(Tensor(changed)).numpy()).max(axis=(0, 2))
    parts = np.abs(both(Tensor(X)).numpy() - both(Tensor(changed)).numpy()).max(axis=0)
    assert (difference > 0).all()
    assert (parts[:2, :H] == 0).all() and (parts[2:, :H] > 0).any(axis=1).all()
    assert (parts[3:, H:] == 0).all() and (parts[:3, H:] > 0).any(axis=1).all()


def test_gradients_of_bidirectional() -> None:
    both = nn.Bidirectional(nn.LSTM(D, 3)).astype("float64")
    mask = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0], [1, 0, 0, 0, 0]])
    assert tn.gradcheck(lambda x: both(x, mask=mask), X.astype("float64"))


@pytest.mark.parametrize("layer", [lambda: nn.Dense(D, H), lambda: nn.LSTM(D, H, go_backwards=True), lambda: "lstm"])
def test_bidirectional_takes_a_recurrent_layer(layer: Any) -> None:
    with pytest.raises(ArgumentError, match="Bidirectional: layer must be a recurrent one that reads forwards, got"):
        nn.Bidirectional(layer())


def test_bidirectional_layers_in_a_row_are_saved(tmp_path: Path) -> None:
    model = nn.Sequential(nn.Bidirectional(nn.LSTM(D, H)), nn.Bidirectional(nn.LSTM(2 * H, 3, bias=False), "sum"),
                          nn.GlobalMaxPool(), input_shape=(T, D))
    assert model.parameters().names == ("0.layer.W", "0.layer.b", "0.backwards.W", "0.backwards.b", "1.layer.W",
                                        "1.backwards.W")
    tn.save(tmp_path / "model", model)
    assert np.array_equal(tn.load(tmp_path / "model")(Tensor(X)).numpy(), model(Tensor(X)).numpy())
    assert "Bidirectional" in model.summary()


def test_an_lstm_without_bias() -> None:
    layer, other = nn.LSTM(D, H, bias=False), nn.LSTM(D, H)
    assert layer.parameters().names == ("W",)
    other.W.data[...], other.b.data[...] = layer.W.data, 0
    for mode in ("fast", "reference"):
        with tn.using(mode):
            assert np.array_equal(layer(Tensor(X)).numpy(), other(Tensor(X)).numpy())
    layer(Tensor(X)).sum().backward()
    other(Tensor(X)).sum().backward()
    assert np.array_equal(layer.W.grad, other.W.grad)


# --- Embedding ------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("dtype", ["int64", "uint8"])
def test_embedding_looks_rows_up(dtype: str) -> None:
    layer, x = nn.Embedding(6, 3), RNG.integers(0, 6, (4, 5)).astype(dtype)
    y = layer(Tensor(x))
    assert np.array_equal(y.numpy(), layer.W.data[x])
    dy = RNG.standard_normal(y.shape).astype("float32")
    y.backward(dy)
    expected = np.zeros((6, 3))
    for symbol, one in zip(x.ravel(), dy.reshape(-1, 3), strict=True):
        expected[symbol] += one
    np.testing.assert_allclose(layer.W.grad, expected, atol=1e-6)
    assert layer(Tensor(x[:0])).shape == (0, 5, 3)
    assert all(np.array_equal(layer(one).numpy(), y.numpy()) for one in (x, x.tolist()))


@pytest.mark.parametrize("padding", [0, 1, 3])
def test_padding_has_no_vector_and_no_gradient(padding: int) -> None:
    layer, others = nn.Embedding(4, 2, padding_index=padding), [i for i in range(4) if i != padding]
    y = layer(Tensor(np.array([[0, 1, 2, 3]])))
    assert not y.numpy()[0, padding].any() and y.numpy()[0, others].any(axis=1).all()
    y.sum().backward()
    assert not layer.W.grad[padding].any() and layer.W.grad[others].all()


def test_masked_symbols_are_not_looked_up() -> None:
    layer, x = nn.Embedding(4, 2), np.array([[0, 3, 99, -5]])
    y = layer(Tensor(x), mask=[[1, 1, 0, 0]])
    assert not y.numpy()[0, 2:].any()
    y.sum().backward()
    assert layer.W.grad[[0, 3]].all() and not layer.W.grad[1:3].any()


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: nn.Embedding(4, 2)(Tensor([[0.0]])), DtypeError, "Embedding: x must hold integers, got float32"),
    (lambda: nn.Embedding(4, 2)(Tensor([[4]])), ArgumentError, r"in \[0, vocabulary\) = \[0, 4\), got values from 4"),
    (lambda: nn.Embedding(4, 2)(Tensor([[-1, 1]])), ArgumentError, "got values from -1 to 1"),
    *[(lambda index=index: nn.Embedding(4, 2, index), ArgumentError,
       f"Embedding: padding_index must be an integer from 0 to 3, got {index!r}; padding_index=0")
      for index in (4, -1, 1.5, True, "1")]])
def test_what_an_embedding_refuses(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


@pytest.mark.parametrize("device", ["cpu", "gpu-emulated"])
def test_a_model_of_symbols_learns(device: str, tmp_path: Path) -> None:
    tn.seed(0)
    model = nn.Sequential(nn.Embedding(5, 4), nn.Bidirectional(nn.LSTM(4, 6, return_sequences=False)),
                          nn.Dense(12, 2), input_shape=(7,)).to(device)
    x = RNG.integers(0, 5, (64, 7))
    batches = tn.data.Loader(x, (x[:, 0] == x[:, -1]).astype("int64"), batch_size=16, seed=0, shuffle=True)
    history = tn.fit(model, tn.optim.Adam(model.parameters(), lr=0.02), batches, epochs=12, show=False)
    assert history[-1]["train_accuracy"] > 0.75
    tn.save(tmp_path / "model", model)
    np.testing.assert_allclose(tn.predict(tn.load(tmp_path / "model"), x), tn.predict(model, x), atol=1e-5)


# --- TimeDistributed ------------------------------------------------------------------------------------------------

def test_a_layer_at_each_step() -> None:
    inner = nn.Sequential(nn.Conv2D(1, 3, 2), nn.ReLU(), nn.GlobalAveragePool())
    films = RNG.standard_normal((2, 4, 5, 6, 1)).astype("float32")
    y = nn.TimeDistributed(inner)(Tensor(films)).numpy()
    for t in range(4):
        np.testing.assert_allclose(y[:, t], inner(Tensor(films[:, t])).numpy(), atol=1e-6)


@pytest.mark.parametrize("device", ["cpu", "gpu-emulated"])
def test_statistics_are_those_of_real_steps(device: str) -> None:
    layer = nn.TimeDistributed(nn.BatchNorm(D)).to(device)
    mask = np.arange(T) < np.array([5, 2, 1])[:, None]
    x = np.where(mask[..., None], X, np.nan)
    y = layer(Tensor(x, device=device), mask=Tensor(mask, device=device)).numpy()
    np.testing.assert_allclose(layer.module.running_mean.numpy(), X[mask].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(y[mask].mean(axis=0), 0, atol=1e-5)
    assert not y[~mask].any()
    assert np.isfinite(layer(Tensor(x, device=device), mask=Tensor(mask & False, device=device)).numpy()).all()
