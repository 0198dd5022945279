"""Masks of sequences of different lengths: what stands in masked steps changes nothing, and padding is as if not there.

A layer that takes a mask needs a line in `LAYERS`.
"""

from collections.abc import Callable, Iterator
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support.cuda_places import EMULATED
from tinynet import nn
from tinynet.nn.masks import as_mask
from tinynet.tensor import Tensor

N, T, D = 5, 9, 3
LENGTHS = np.array([9, 4, 1, 7, 6])
RIGHT = np.arange(T) < LENGTHS[:, None]
LEFT = RIGHT[:, ::-1].copy()
GAPS = RIGHT & (np.arange(T) % 3 != 1)
GAPS[:, 0] = True
MASKS = {"right": RIGHT, "left": LEFT, "gaps": GAPS}

# Layers for x (N,T,D); with padding on the right, those of LAYERS give what they give for a sequence alone.
LAYERS: dict[str, Callable[[], Any]] = {
    "LSTM": lambda: nn.LSTM(D, 4),
    "LSTM, last state": lambda: nn.LSTM(D, 4, return_sequences=False),
    "LSTM, dropout": lambda: nn.LSTM(D, 4, dropout=0.6, recurrent_dropout=0.3),
    "LSTM, backwards, last state": lambda: nn.LSTM(D, 4, go_backwards=True, return_sequences=False),
    "GRU": lambda: nn.GRU(D, 4),
    "GRU, last state": lambda: nn.GRU(D, 4, return_sequences=False, bias=False),
    "SimpleRNN": lambda: nn.SimpleRNN(D, 4),
    "SimpleRNN, backwards": lambda: nn.SimpleRNN(D, 4, go_backwards=True, return_sequences=False, bias=False),
    "Bidirectional GRU": lambda: nn.Bidirectional(nn.GRU(D, 4), "ave"),
    "LayerNorm": lambda: nn.LayerNorm(D),
    "Dense": lambda: nn.Dense(D, 2),
    "Dropout": lambda: nn.Dropout(0.5),
    "BatchNorm": lambda: nn.BatchNorm(D),
    "ReLU": nn.ReLU, "Sigmoid": nn.Sigmoid, "Tanh": nn.Tanh, "Softmax": nn.Softmax,
    "LeakyReLU": nn.LeakyReLU, "ELU": nn.ELU, "GELU": nn.GELU, "SiLU": nn.SiLU,
    "Softmax of steps": lambda: nn.Softmax(axis=1), "Softmax of steps from the end": lambda: nn.Softmax(axis=-2),
    "Conv1D, same": lambda: nn.Conv1D(D, 2, 3, padding="same"),
    "Conv1D, same, even": lambda: nn.Conv1D(D, 2, 4, padding="same", dilation=2),
    "Conv1D, causal": lambda: nn.Conv1D(D, 2, 3, padding="causal", dilation=2),
    "Conv1D, groups": lambda: nn.Conv1D(D, 2 * D, 3, padding="same", groups=D),
    "Conv1D, valid": lambda: nn.Conv1D(D, 2, 3),
    "Conv1D, valid, dilation 2": lambda: nn.Conv1D(D, 2, 2, dilation=2),
    "Conv1D, 1": lambda: nn.Conv1D(D, 2, 4, padding=1),
    "Conv1D, 3": lambda: nn.Conv1D(D, 2, 2, padding=3),
    "MaxPool1D, stride 1": lambda: nn.MaxPool1D(2, 1),
    "MaxPool1D, stride 1, same": lambda: nn.MaxPool1D(3, 1, "same"),
    "AvgPool1D, stride 1": lambda: nn.AvgPool1D(2, 1),
    "AvgPool1D, stride 1, same": lambda: nn.AvgPool1D(3, 1, "same"),
    "GlobalAveragePool": nn.GlobalAveragePool,
    "GlobalMaxPool": nn.GlobalMaxPool,
    "Bidirectional": lambda: nn.Bidirectional(nn.LSTM(D, 3)),
    "Bidirectional, mul, last states": lambda: nn.Bidirectional(nn.LSTM(D, 3, return_sequences=False), "mul"),
    "LSTM, no bias": lambda: nn.LSTM(D, 3, bias=False),
    "TimeDistributed": lambda: nn.TimeDistributed(nn.Sequential(nn.Reshape((D, 1)), nn.Conv1D(1, 2, 2), nn.BatchNorm(2),
                                                                nn.GlobalAveragePool())),
    "Residual": lambda: nn.Residual(nn.Sequential(nn.Conv1D(D, D, 3, padding="same"), nn.ReLU())),
    "Parallel": lambda: nn.Parallel([nn.Dense(D, 2), nn.LSTM(D, 2)]),
    "Parallel, without steps": lambda: nn.Parallel([nn.LSTM(D, 2, return_sequences=False), nn.GlobalMaxPool()]),
    "Parallel, valid": lambda: nn.Parallel([nn.Conv1D(D, 2, 3), nn.MaxPool1D(3, 1)]),
    "all in a row": lambda: nn.Sequential(
        nn.BatchNorm(D), nn.LSTM(D, 4), nn.Dropout(0.2), nn.Conv1D(4, 5, 3), nn.ReLU(), nn.MaxPool1D(2, 1),
        nn.Sequential(nn.LSTM(5, 4), nn.Dense(4, 3)), nn.GlobalMaxPool(), nn.Dense(3, 2)),
}
TOO_WIDE = {"Parallel, valid", "Conv1D, valid", "Conv1D, valid, dilation 2", "Conv1D, 1", "MaxPool1D, stride 1",
            "AvgPool1D, stride 1", "all in a row"}  # for one step
STRIDED: dict[str, Callable[[], Any]] = {
    "Conv1D, stride 2": lambda: nn.Conv1D(D, 2, 3, stride=2), "Flatten": nn.Flatten,
    "Conv1D, stride 2, dilation 3": lambda: nn.Conv1D(D, 2, 3, stride=2, dilation=3),
    "Conv1D, stride 2, dilation 3, 2": lambda: nn.Conv1D(D, 2, 3, stride=2, dilation=3, padding=2),
    "Conv1D, stride 3, same": lambda: nn.Conv1D(D, 2, 4, stride=3, padding="same"),
    "MaxPool1D": lambda: nn.MaxPool1D(2), "AvgPool1D, same": lambda: nn.AvgPool1D(4, 2, "same"),
    "LSTM, backwards": lambda: nn.LSTM(D, 4, go_backwards=True),
    "Reshape": lambda: nn.Reshape((-1,)),
    "windows behind the end of a mask": lambda: nn.Sequential(nn.Flatten(), nn.Reshape((T, D)), nn.Conv1D(D, 2, 3)),
    "Parallel, both directions": lambda: nn.Parallel([nn.LSTM(D, 2, go_backwards=True), nn.Dense(D, 2)]),
    "Residual, backwards": lambda: nn.Residual(nn.LSTM(D, D, go_backwards=True)),
    "Parallel, three": lambda: nn.Parallel([nn.ReLU(), nn.Dense(D, D), nn.LSTM(D, D, go_backwards=True)], "ave"),
}


def inputs(mask: np.ndarray, spoil: float | None = None) -> Tensor:
    x = np.random.default_rng(0).standard_normal((*mask.shape, D)).astype("float32")
    x[~mask] = 0.0 if spoil is None else np.resize([np.nan, np.inf, spoil], x[~mask].shape)
    return Tensor(x, requires_grad=True)


def made(make: Callable[[], Any]) -> Any:
    tn.seed(3)
    return make()


def results(make: Callable[[], Any], mask: np.ndarray, spoil: float | None, training: bool,
            mode: str) -> dict[str, Any]:
    """Outputs at real steps, gradients and state of a layer; masked outputs have no part in the loss."""
    layer, x = made(make), inputs(mask, spoil)
    if not training:
        layer(inputs(mask), mask=mask)
        layer.eval()
    with tn.using(mode):
        y = layer(x, mask=mask)
        after = layer.output_mask(as_mask(mask, x))
        dy = np.random.default_rng(1).standard_normal(y.shape).astype("float32")
        if after is not None:
            dy[~after.numpy()] = 0.0
        y.backward(dy)
    real = y.numpy() if after is None else y.numpy()[after.numpy()]
    return {"y": real, "x": x.grad, **{f"gradient of {name}": one.grad for name, one in layer.parameters().items()},
            **layer.state_dict()}


@pytest.mark.parametrize("mode", ["fast", "reference"])
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@pytest.mark.parametrize("name", [*LAYERS, *STRIDED])
def test_what_stands_in_masked_steps_changes_nothing(name: str, training: bool, mode: str) -> None:
    make = (LAYERS | STRIDED)[name]
    for mask in MASKS.values():
        clean, spoiled = (results(make, mask, spoil, training, mode) for spoil in (None, 1e30))
        for key, value in clean.items():
            assert np.isfinite(value).all(), key
            assert np.array_equal(value, spoiled[key]), key
        assert not clean["x"][~mask].any()


@pytest.mark.parametrize("mode", ["fast", "reference"])
@pytest.mark.parametrize("name", LAYERS)
def test_padding_on_the_right_is_as_if_it_were_not_there(name: str, mode: str) -> None:
    layer, x = made(LAYERS[name]), inputs(RIGHT, 7.0)
    layer(inputs(RIGHT), mask=RIGHT)
    layer.eval()
    with tn.using(mode):
        y = layer(x, mask=RIGHT).numpy()
        after = layer.output_mask(as_mask(RIGHT, x))
        for n, length in enumerate(LENGTHS):
            if length < 4 and name in TOO_WIDE:
                continue
            alone = layer(Tensor(x.data[n : n + 1, :length])).numpy()[0]
            found = y[n] if after is None else y[n][after.numpy()[n]]
            assert found.shape == alone.shape
            np.testing.assert_allclose(found, alone, atol=1e-6)


@pytest.mark.parametrize("kind", ["bool", "int64", "float32", "uint8", "list", "tensor", "below 0"])
def test_a_mask_may_be_of_any_kind(kind: str) -> None:
    layer, x = made(LAYERS["LSTM"]), inputs(RIGHT)
    made_of: dict[str, Any] = {"list": RIGHT * 3, "tensor": RIGHT * 3, "below 0": RIGHT * -0.5}
    mask: Any = made_of[kind] if kind in made_of else RIGHT.astype(kind)
    mask = mask.tolist() if kind == "list" else Tensor(mask) if kind == "tensor" else mask
    assert np.array_equal(layer(x, mask=mask).numpy(), layer(x, mask=RIGHT).numpy())
    y, _, _ = tn.ops.lstm(x, None, None, layer.W, layer.b, mask=mask)
    assert np.array_equal(y.numpy(), layer(x, mask=RIGHT).numpy())


@pytest.mark.parametrize("device", [EMULATED])
def test_a_mask_of_the_host_goes_to_the_device_of_the_sequences(device: str) -> None:
    for name in ("Dense", "LSTM", "GlobalAveragePool"):
        layer, expected = made(LAYERS[name]).to(device), made(LAYERS[name])(inputs(RIGHT), mask=RIGHT)
        found = layer(inputs(RIGHT).to(device), mask=RIGHT)
        assert found.device == device
        np.testing.assert_allclose(found.numpy(), expected.numpy(), atol=1e-6)


WEIGHTS = {"lstm": 16, "gru": 12, "simple_rnn": 4}


@pytest.mark.parametrize("place", ["fast", "reference", EMULATED])
@pytest.mark.parametrize("name", [*WEIGHTS, "mask_steps", "batch_norm"])
def test_every_number_but_0_marks_a_real_step_of_an_op(name: str, place: str) -> None:
    """Also one below 0, or a small one."""
    def run(mask: np.ndarray) -> list[np.ndarray]:
        x, real = Tensor(Tensor(inputs(RIGHT).numpy()).to(device), requires_grad=True), Tensor(mask).to(device)
        if name in WEIGHTS:
            W = np.random.default_rng(1).standard_normal((D + 4, WEIGHTS[name])).astype("float32")
            found = [*getattr(tn.ops, name)(x, W=Tensor(W).to(device), mask=real)]
        else:
            more = [Tensor(np.full(D, value, "float32")).to(device) for value in (2.0, 1.0)]
            found = [tn.ops.mask_steps(x, real)] if name == "mask_steps" else [*tn.ops.batch_norm(x, *more, mask=real)]
        found[0].sum().backward()
        return [*[one.numpy() for one in found], Tensor(x.grad).numpy()]

    device = place if place == "gpu-emulated" else "cpu"
    with tn.using(place) if device == "cpu" else nullcontext():
        expected = run(RIGHT)
        for mask in (RIGHT * 3, RIGHT * -1, RIGHT * np.float32(0.25), RIGHT * np.uint8(128), RIGHT * np.int64(256)):
            for one, other in zip(run(mask), expected, strict=True):
                np.testing.assert_array_equal(one, other)


def test_a_sequence_without_a_real_step() -> None:
    x, mask = inputs(RIGHT), np.zeros_like(RIGHT)
    h0, c0 = Tensor(np.ones((N, 4), "float32")), Tensor(np.full((N, 4), 2.0, "float32"))
    layer = nn.LSTM(D, 4, return_state=True)
    y, h, c = layer(x, h0, c0, mask=mask)
    assert not y.numpy().any() and (h.numpy() == 1).all() and (c.numpy() == 2).all()
    for name in ("GlobalMaxPool", "GlobalAveragePool"):
        assert not LAYERS[name]()(x, mask=mask).numpy().any()
    assert not nn.Softmax(axis=1)(x, mask=mask).numpy().any()


@pytest.mark.parametrize("place", ["fast", "reference", EMULATED])
def test_a_batch_without_a_real_step_is_neither_normalised_nor_averaged(place: str) -> None:
    """A mean of no elements would be NaN."""
    device = place if place == "gpu-emulated" else "cpu"
    layer, x = nn.BatchNorm(D).to(device), Tensor(Tensor(inputs(RIGHT).numpy()).to(device), requires_grad=True)
    with tn.using(place) if device == "cpu" else nullcontext():
        y = layer(x, mask=np.zeros_like(RIGHT))
        y.sum().backward()
    assert not y.numpy().any() and not Tensor(x.grad).numpy().any()
    assert [(layer.running_mean.numpy() == 0).all(), (layer.running_var.numpy() == 1).all()] == [True, True]
    assert not any(Tensor(one.grad).numpy().any() for one in layer.parameters())


MASK_AFTER = [
    ("Conv1D, same", GAPS), ("Conv1D, causal", GAPS),
    ("Conv1D, valid", GAPS[:, :-2] & GAPS[:, 1:-1] & GAPS[:, 2:]),
    ("Conv1D, valid, dilation 2", GAPS[:, :-2] & GAPS[:, 2:]),
    ("Conv1D, stride 2, dilation 3", GAPS[:, 0:3:2]), ("Conv1D, stride 2, dilation 3, 2", GAPS[:, [0, 0, 2, 4]]),
    ("Conv1D, stride 2", GAPS[:, 0:7:2]), ("MaxPool1D", GAPS[:, 0:8:2]),
    ("MaxPool1D, stride 1", GAPS[:, :-1] & GAPS[:, 1:]),
    ("AvgPool1D, same", GAPS[:, [0, 1, 3, 5, 7]]),  # the first window begins before the first step
    ("Conv1D, 1", GAPS[:, 1:]), ("Conv1D, 3", GAPS[:, [0, 0, 0, 0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 8]]),
    ("LSTM, backwards", GAPS[:, ::-1]), ("Dense", GAPS), ("Flatten", None), ("GlobalMaxPool", None),
    ("Residual", GAPS), ("Residual, backwards", GAPS[:, ::-1]), ("Parallel, both directions", GAPS & GAPS[:, ::-1]),
    ("Parallel, three", GAPS & GAPS[:, ::-1]),
    ("Parallel, valid", GAPS[:, :-2] & GAPS[:, 1:-1] & GAPS[:, 2:]),
    ("Bidirectional", GAPS), ("Bidirectional, mul, last states", None), ("TimeDistributed", GAPS),
    ("LSTM, last state", None), ("windows behind the end of a mask", None),
    ("Parallel, without steps", None), ("all in a row", None)]


@pytest.mark.parametrize(("name", "wanted"), MASK_AFTER, ids=[name for name, _ in MASK_AFTER])
def test_the_mask_of_the_output(name: str, wanted: Any) -> None:
    found = made((LAYERS | STRIDED)[name]).output_mask(Tensor(GAPS))
    assert (found is None) == (wanted is None)
    assert wanted is None or np.array_equal(found.numpy(), wanted)


@pytest.mark.parametrize("order", [1, -1])
def test_branches_have_no_mask_if_one_of_them_has_none(order: int) -> None:
    with_steps, without = nn.LSTM(D, 3), nn.LSTM(D, 3, return_sequences=False)
    assert with_steps.output_mask(Tensor(GAPS)) is not None
    assert nn.Parallel([with_steps, without][::order]).output_mask(Tensor(GAPS)) is None


def test_batch_norm_averages_real_steps() -> None:
    layer, x = nn.BatchNorm(D), inputs(GAPS)
    layer(x, mask=GAPS)
    np.testing.assert_allclose(layer.running_mean.numpy(), x.data[GAPS].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(layer.running_var.numpy(), x.data[GAPS].var(axis=0), atol=1e-6)


@pytest.mark.parametrize("name", ["GlobalAveragePool", "GlobalMaxPool"])
def test_pixels_of_real_steps_are_pooled(name: str) -> None:
    """Over a sequence of images, all of a real one: (N,T,H,W,C)."""
    x = np.random.default_rng(0).standard_normal((N, T, 2, 3, D)).astype("float32") - 5
    found = LAYERS[name]()(Tensor(x), mask=GAPS).numpy()
    pooled = np.mean if name == "GlobalAveragePool" else np.max
    for n in range(N):
        np.testing.assert_allclose(found[n], pooled(x[n][GAPS[n]], axis=(0, 1, 2)), rtol=1e-5)


def test_a_two_dimensional_layer_refuses_a_mask() -> None:
    with pytest.raises(tn.errors.ArgumentError, match="a mask needs sequences"):
        nn.MaxPool2D(2)(Tensor(np.zeros((2, 4, 4, 1), "float32")), mask=np.ones((2, 4)))


def passes() -> Iterator[Any]:
    yield made(lambda: nn.Sequential(nn.LSTM(D, 4), nn.Conv1D(4, 5, 3, padding="same"), nn.ReLU(), nn.Dropout(0.2),
                                     nn.LSTM(5, 4, return_sequences=False), nn.Dense(4, 2)))
    yield made(LAYERS["all in a row"])


def test_an_evaluation_with_a_mask_is_recorded() -> None:
    from tinynet.recording import Recording, evaluations

    for model, recorded in zip(passes(), (True, False), strict=True):
        model(inputs(RIGHT), mask=RIGHT)
        model.eval()
        with tn.no_grad():
            for mask in (RIGHT, LEFT, GAPS, RIGHT, LEFT):
                x = inputs(mask, 5.0)
                assert np.array_equal(model(x, mask=mask).numpy(), model.through(x, Tensor(mask)).numpy())
        assert any(isinstance(one, Recording) for one in evaluations[model].known.values()) == recorded
