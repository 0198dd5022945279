"""Residual and Parallel: values, shapes that do not fit, and what they are made of."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import nn
from tinynet.errors import ArgumentError, ShapeError, StateError
from tinynet.tensor import Tensor

X = np.random.default_rng(0).standard_normal((4, 3)).astype("float32")


def test_residual_adds_its_input() -> None:
    module = nn.Dense(3, 3)
    np.testing.assert_array_equal(nn.Residual(module)(Tensor(X)).numpy(), X + module(Tensor(X)).numpy())


@pytest.mark.parametrize(("mode", "merge"), [
    ("concat", lambda a, b: np.concatenate([a, b], axis=-1)), ("sum", np.add), ("mul", np.multiply),
    ("ave", lambda a, b: (a + b) / 2)])
def test_merge_modes(mode: str, merge: Callable[..., Any]) -> None:
    a, b = nn.Dense(3, 2), nn.Tanh() if mode == "concat" else nn.Dense(3, 2)
    expected = merge(a(Tensor(X)).numpy(), b(Tensor(X)).numpy())
    np.testing.assert_allclose(nn.Parallel([a, b], mode)(Tensor(X)).numpy(), expected, rtol=1e-6)


@pytest.mark.parametrize(("mode", "merge"), [
    ("concat", lambda parts: np.concatenate(parts, axis=-1)), ("sum", lambda parts: sum(parts)),
    ("mul", lambda parts: parts[0] * parts[1] * parts[2]), ("ave", lambda parts: sum(parts) / 3),
    ("one", lambda parts: parts[0])])
def test_any_number_of_branches_is_merged(mode: str, merge: Callable[..., Any]) -> None:
    branches: list[Any] = [nn.Dense(3, 2) for _ in range(3)]
    expected, alone = merge([branch(Tensor(X)).numpy() for branch in branches]), mode == "one"
    for kind in ("concat", "sum", "mul", "ave") if alone else (mode,):
        found = nn.Parallel(tuple(branches[:1] if alone else branches), kind)(Tensor(X)).numpy()
        np.testing.assert_allclose(found, expected, rtol=1e-5)


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: nn.Residual(nn.Dense(3, 2))(Tensor(X)), ShapeError, r"Residual: parts must have equal shapes, got \(4,"),
    (lambda: nn.Parallel([nn.Dense(3, 2), nn.Tanh()], "sum")(Tensor(X)), ShapeError, "Parallel: parts must have equal"),
    (lambda: nn.Residual(nn.LSTM(3, 4, return_sequences=False))(Tensor(np.ones((4, 4, 3), "float32"))), ShapeError,
     "Residual: parts must have equal shapes"),
    (lambda: nn.Parallel([]), ArgumentError, r"Parallel: branches must be a list of layers, got \[\]; Par"),
    (lambda: nn.Parallel(3), ArgumentError, "Parallel: branches must be a list of layers, got 3; Parallel"),
    (lambda: nn.Parallel([nn.ReLU()], "max"), ArgumentError, "Parallel: merge_mode must be one of concat, sum, mul,"),
    (lambda: nn.Bidirectional(nn.LSTM(3, 4), "max"), ArgumentError, "^Bidirectional: merge_mode must be one of"),
    (lambda: nn.Parallel([nn.ReLU]), StateError, "Parallel: branch 0 must be a layer, got type"),
    (lambda: nn.Residual(3), StateError, "Residual: module must be a layer, got int; tn.nn.ReLU"),
    (lambda: nn.TimeDistributed([nn.ReLU()]), StateError,
     r"TimeDistributed: module must be a layer, got list; tn.nn.Sequential\(\*layers\)\?")])
def test_what_does_not_fit_is_said(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


def net() -> Any:
    tn.seed(0)
    return nn.Sequential(nn.Dense(3, 4), nn.Residual(nn.Sequential(nn.Dense(4, 4), nn.ReLU())),
                         nn.Parallel([nn.Dense(4, 2), nn.Dense(4, 3)]), nn.Dense(5, 2), input_shape=(3,))


def test_names_and_summary() -> None:
    assert net().parameters().names == (
        "0.W", "0.b", "1.module.0.W", "1.module.0.b", "2.branches.0.W", "2.branches.0.b", "2.branches.1.W",
        "2.branches.1.b", "3.W", "3.b")
    lines = [line.split() for line in net().summary().splitlines()]
    assert [line[0] for line in lines] == ["layer", "Dense", "Dense", "ReLU", "Residual", "Dense", "Dense", "Parallel",
                                           "Dense", "total"]
    assert lines[4][1:] == ["(N,", "4)", "0", "4", "16", "B"]


@pytest.mark.parametrize("device", ["cpu", "gpu-emulated"])
def test_a_net_with_branches_learns(device: str) -> None:
    model = net().to(device)
    history = tn.fit(model, tn.optim.Adam(model.parameters(), lr=0.05), [(X, np.array([0, 1, 0, 1]))] * 4, epochs=10,
                     show=False)
    assert history[-1]["train_loss"] < 0.3 * history[0]["train_loss"]
    again = net().load_state_dict(model.state_dict())
    np.testing.assert_allclose(again(Tensor(X)).numpy(), tn.predict(model, X), atol=1e-5)
