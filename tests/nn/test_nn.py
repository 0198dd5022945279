"""Layers: what they hold, what they compute, and what they keep. Every layer of tn.nn is found by itself."""

import collections
import copy
import inspect
import itertools
import math
import types
from contextlib import nullcontext
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import nn
from tinynet.errors import ArgumentError, DtypeError, ShapeError, StateError
from tinynet.random import keep_mask, stream

LAYERS = [getattr(nn, name) for name in nn.__all__
          if issubclass(getattr(nn, name), nn.Module)
          and name not in ("Module", "Sequential", "Bidirectional", "Embedding")]  # see test_sequence_layers.py

# What the tests give for a constructor's argument of this name. A new layer is covered once its arguments stand here.
FIRST = {"inputs": 3, "units": 2, "features": 3, "filters": 3, "width": 2, "size": 2, "p": 0.25, "shape": (3, -1),
         "module": nn.Tanh(), "branches": [nn.Sigmoid(), nn.Tanh()]}
OTHER = {"bias": False, "stride": 2, "padding": 1, "dilation": 2, "axis": 1, "momentum": 0.5, "eps": 0.1,
         "return_sequences": False, "return_state": True, "go_backwards": True, "dropout": 0.5,
         "recurrent_dropout": 0.25, "merge_mode": "mul", "negative_slope": 0.3, "alpha": 0.4,
         "groups": 3}
# The shape of an input, in all but these layers (2, 3).
INPUTS = {"LSTM": (2, 4, 3), "GRU": (2, 4, 3), "SimpleRNN": (2, 4, 3),
          "Conv1D": (2, 4, 3), "MaxPool1D": (2, 4, 3), "AvgPool1D": (2, 4, 3),
          "Conv2D": (2, 4, 5, 3), "MaxPool2D": (2, 4, 5, 3), "AvgPool2D": (2, 4, 5, 3), "GlobalAveragePool": (2, 4, 3),
          "GlobalMaxPool": (2, 4, 3), "TimeDistributed": (2, 4, 3),
          "Flatten": (2, 4, 3), "Reshape": (2, 4, 3), "BatchNorm": (4, 3, 3)}


def variants() -> Any:
    """Every layer with its defaults, and with each option at another value."""
    for layer in LAYERS:
        parameters = inspect.signature(layer).parameters.values()
        required = {p.name: FIRST[p.name] for p in parameters if p.default is p.empty}
        yield pytest.param(layer, required, id=layer.__name__)
        for p in parameters:
            if p.default is not p.empty:
                yield pytest.param(layer, {**required, p.name: OTHER[p.name]}, id=f"{layer.__name__}-{p.name}")


VARIANTS = list(variants())


def input_of(layer: type, seed: int = 0) -> np.ndarray:
    """Numbers without ties, none of them close to 0."""
    shape = INPUTS.get(layer.__name__, (2, 3))
    drawn = np.random.default_rng(seed).permutation(math.prod(shape)) - math.prod(shape) // 2
    return (drawn.reshape(shape) + 0.3) * 0.15


def lstm_cnn(inputs: int = 4) -> Any:
    return nn.Sequential(nn.BatchNorm(1), nn.Reshape((6, inputs)), nn.LSTM(inputs, 5), nn.Dropout(0.2),
                         nn.Conv1D(5, 3, 3), nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Dense(12, 4))


# --- every layer ----------------------------------------------------------------------------------------------------

def test_layers_are_found() -> None:
    assert len(LAYERS) >= 17
    assert {nn.LSTM, nn.BatchNorm, nn.Dense} <= set(LAYERS)


@pytest.mark.parametrize(("layer", "options"), VARIANTS)
def test_a_layer_keeps_its_arguments_and_can_be_made_again(layer: Any, options: dict[str, Any]) -> None:
    """Each argument is an attribute of the same name: saving and repr rely on it."""
    made = layer(**options)
    for name, parameter in inspect.signature(layer).parameters.items():
        assert getattr(made, name) == options.get(name, parameter.default), name
    assert made.config().keys() == inspect.signature(layer).parameters.keys()
    again = layer(**made.config())
    assert again.config() == made.config()
    assert repr(again) == repr(made)
    assert [(n, t.shape, t.dtype) for n, t in again.tensors().items()] == [
        (n, t.shape, t.dtype) for n, t in made.tensors().items()]


@pytest.mark.parametrize("dtype", ["int32", bool, np.uint8])
def test_a_model_is_made_of_floats(dtype: Any) -> None:
    layer = nn.Dense(3, 2)
    before = layer.W.numpy().copy()
    with pytest.raises(DtypeError, match=rf"^astype: dtype must be one of floats, got {np.dtype(dtype)}; model.astype"):
        layer.astype(dtype)
    assert (layer.W.numpy() == before).all() and layer.astype(np.float64).W.dtype == "float64"


@pytest.mark.parametrize(("layer", "options"), VARIANTS)
def test_repr_shows_what_is_not_the_default(layer: Any, options: dict[str, Any]) -> None:
    made = layer(**options)
    assert repr(made) == f"{layer.__name__}({', '.join(f'{name}={value!r}' for name, value in options.items())})"
    assert repr(eval(repr(made), vars(nn)).config()) == repr(made.config())


@pytest.mark.parametrize(("layer", "options"), VARIANTS)
def test_gradients_of_input_and_parameters(layer: Any, options: dict[str, Any]) -> None:
    made = layer(**options).astype("float64")
    x, h = input_of(layer), np.full((2, 2), 0.3)
    arguments = [x, h, -h] if layer is nn.LSTM else [x]
    if layer is nn.LSTM and (made.dropout or made.recurrent_dropout):
        made.calls.data = _Still(made.calls.data)
    if layer is nn.Dropout:
        made.calls.data = _Still(made.calls.data)
    check_gradients(made, *arguments)
    if layer is nn.BatchNorm:
        made.train()(tn.Tensor(x))
    check_gradients(made.eval(), *arguments)


class _Still(np.ndarray):
    """A counter that does not count, so that a mask stays the same."""

    def __new__(cls, array: np.ndarray) -> "_Still":
        return array.view(cls)

    def __iadd__(self, other: Any) -> "_Still":  # type: ignore[override,misc]
        return self


def check_gradients(model: Any, *inputs: np.ndarray) -> None:
    """Of the inputs, and of each parameter: parameters become arguments by standing in for the attribute."""
    places = [(module, name, parameter) for _, module in model.modules() for name, parameter in vars(module).items()
              if isinstance(parameter, nn.Parameter)]
    for _, _, parameter in places:  # no zeros and ones
        parameter.data += 0.1 * np.cos(1.0 + np.arange(parameter.size)).reshape(parameter.shape)

    def f(*tensors: tn.Tensor) -> Any:
        for (module, name, _), tensor in zip(places, tensors[len(inputs):], strict=True):
            setattr(module, name, tensor)
        return model(*tensors[:len(inputs)])

    try:
        report = tn.gradcheck(f, *inputs, *[parameter.numpy() for _, _, parameter in places], mode="richardson")
    finally:
        for module, name, parameter in places:
            setattr(module, name, parameter)
    assert report.ok, report
    report = tn.gradcheck(model, *inputs)  # with the parameters where they are
    assert report.ok, report


@pytest.mark.parametrize("training", [True, False])
def test_gradients_of_whole_models(training: bool) -> None:
    x = np.random.default_rng(0).uniform(0, 1, (3, 6, 4, 1))
    model = lstm_cnn().astype("float64")
    model.layers[5] = nn.Tanh()  # a step of a difference may go over a ReLU's kink
    model(tn.Tensor(x))
    for layer in model:
        if isinstance(layer, nn.Dropout):
            layer.calls.data = _Still(layer.calls.data)
    check_gradients(model.train(training), x)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize(("layer", "options"), VARIANTS)
def test_precision_is_kept(layer: Any, options: dict[str, Any], dtype: str) -> None:
    made = layer(**options).astype(dtype)
    x, arrays = tn.Tensor(input_of(layer).astype(dtype), requires_grad=True), [t.data for t in made.tensors().values()]
    y = made(x)
    for output in y if isinstance(y, tuple) else (y,):
        assert output.dtype == dtype
    (y[0] if isinstance(y, tuple) else y).sum().backward()
    assert x.grad.dtype == dtype
    assert all(p.grad.dtype == dtype for p in made.parameters())
    assert all(t.dtype in (dtype, "int64") for t in made.tensors().values())
    assert all(t.data is array for t, array in zip(made.tensors().values(), arrays, strict=True)), "changed in place"


@pytest.mark.parametrize(("layer", "options"), VARIANTS)
def test_a_layer_works_without_the_tape_and_says_its_shape_beforehand(layer: Any, options: dict[str, Any]) -> None:
    made, x = layer(**options), input_of(layer).astype("float32")
    made(tn.Tensor(x))
    with tn.no_grad():
        y = made.eval()(tn.Tensor(x))
    y = y[0] if isinstance(y, tuple) else y
    assert not y.requires_grad
    line = made.summary(x.shape[1:]).splitlines()[-2]
    assert "(" + ", ".join(["N", *map(str, y.shape[1:])]) + ")" in line


# --- parameters and their initial values ----------------------------------------------------------------------------

@pytest.mark.parametrize(("layer", "expected"), [
    (lambda: nn.Dense(3, 2), {"W": (3, 2), "b": (2,)}),
    (lambda: nn.Dense(3, 2, bias=False), {"W": (3, 2)}),
    (lambda: nn.LSTM(3, 2), {"W": (5, 8), "b": (8,)}),
    (lambda: nn.Conv1D(3, 2, 4), {"W": (4, 3, 2), "b": (2,)}),
    (lambda: nn.Conv2D(3, 2, 4, bias=False), {"W": (4, 4, 3, 2)}),
    (lambda: nn.Conv2D(3, 2, (5, 4)), {"W": (5, 4, 3, 2), "b": (2,)}),
    (lambda: nn.BatchNorm(3), {"gamma": (3,), "beta": (3,)}),
    (lambda: nn.Dropout(0.5), {}), (nn.ReLU, {}), (nn.Flatten, {}), (lambda: nn.MaxPool1D(2), {})])
def test_names_and_shapes_of_parameters(layer: Any, expected: dict[str, tuple[int, ...]]) -> None:
    made = layer()
    assert {name: p.shape for name, p in made.parameters().items()} == expected
    assert all(p.dtype == "float32" and p.requires_grad and type(p) is nn.Parameter for p in made.parameters())


def test_buffers_are_state_and_no_parameters() -> None:
    assert list(nn.BatchNorm(3).state_dict()) == ["gamma", "beta", "running_mean", "running_var", "batches_seen"]
    assert list(nn.Dropout(0.5).state_dict()) == ["calls"]
    assert list(nn.LSTM(2, 3).state_dict()) == ["W", "b"]
    assert list(nn.LSTM(2, 3, dropout=0.5).state_dict()) == ["W", "b", "calls"]


def test_initial_values_of_the_lstm() -> None:
    D, H = 30, 20
    layer = nn.LSTM(D, H)
    W, b = layer.W.numpy(), layer.b.numpy()
    assert b.tolist() == [1.0] * H + [0.0] * 3 * H
    limit = math.sqrt(6 / (D + H))
    blocks = [W[:, gate * H:(gate + 1) * H] for gate in range(4)]
    for block in blocks:
        np.testing.assert_allclose(block[:H].T @ block[:H], np.eye(H), atol=1e-5)
        assert 0.98 * limit < np.abs(block[H:]).max() <= limit
        assert abs(block[H:].var() / (limit**2 / 3) - 1) < 4 * math.sqrt(2 / (D * H))
    for one, other in itertools.combinations(blocks, 2):
        assert (one != other).all()


@pytest.mark.parametrize(("make", "limit"), [
    (lambda: nn.Dense(300, 100), math.sqrt(6 / 400)), (lambda: nn.Conv1D(50, 40, 3), math.sqrt(6 / 150)),
    (lambda: nn.Conv2D(20, 40, (3, 2)), math.sqrt(6 / 120))])
def test_initial_values_are_uniform(make: Any, limit: float) -> None:
    layer = make()
    W = layer.W.numpy()
    assert 0.995 * limit < np.abs(W).max() <= limit
    assert abs(W.var() / (limit**2 / 3) - 1) < 4 * math.sqrt(2 / W.size)
    assert not layer.b.numpy().any()


def test_initial_values_of_batch_normalisation() -> None:
    layer = nn.BatchNorm(2)
    assert [t.numpy().tolist() for t in layer.tensors().values()] == [[1, 1], [0, 0], [0, 0], [1, 1]]


def test_the_same_seed_makes_the_same_model() -> None:
    def state(seed: int) -> dict[str, Any]:
        tn.seed(seed)
        return lstm_cnn().state_dict()

    first, again, other = state(1), state(1), state(2)
    assert all((first[name] == again[name]).all() for name in first)
    assert (first["2.W"] != other["2.W"]).any()


# --- the LSTM -------------------------------------------------------------------------------------------------------

def sequence(N: int = 2, T: int = 5, D: int = 3, seed: int = 0) -> tn.Tensor:
    return tn.Tensor(np.random.default_rng(seed).standard_normal((N, T, D)).astype("float32"))


def by_hand(layer: Any, x: np.ndarray, h: np.ndarray, c: np.ndarray, mask: Any = 1.0) -> tuple[np.ndarray, ...]:
    W, b, H = layer.W.numpy(), layer.b.numpy(), layer.units
    y = []
    for t in range(x.shape[1]):
        z = np.concatenate([mask * h, x[:, t]], axis=1) @ W + b
        f, i, o = (1 / (1 + np.exp(-z[:, k * H:(k + 1) * H])) for k in (0, 1, 3))
        c = f * c + i * np.tanh(z[:, 2 * H:3 * H])
        h = o * np.tanh(c)
        y.append(h)
    return np.stack(y, axis=1), h, c


def test_what_an_lstm_returns() -> None:
    tn.seed(0)
    x, layer = sequence(), nn.LSTM(3, 4)
    zeros = np.zeros((2, 4), "float32")
    y, h, c = by_hand(layer, x.numpy(), zeros, zeros)
    np.testing.assert_allclose(layer(x).numpy(), y, atol=1e-6)
    layer.return_sequences = False
    np.testing.assert_allclose(layer(x).numpy(), h, atol=1e-6)
    layer.return_state = True
    for output, expected in zip(layer(x), (h, h, c), strict=True):
        np.testing.assert_allclose(output.numpy(), expected, atol=1e-6)
    layer.return_sequences = True
    for output, expected in zip(layer(x), (y, h, c), strict=True):
        np.testing.assert_allclose(output.numpy(), expected, atol=1e-6)


def test_an_lstm_goes_on_from_given_states() -> None:
    x, layer = sequence(T=6), nn.LSTM(3, 4, return_state=True)
    y, h, c = layer(x)
    first, h1, c1 = layer(x[:, :2])
    second, h2, c2 = layer(x[:, 2:], h1, c1)
    for parts, whole in (([first, second], y), ([h2], h), ([c2], c)):
        np.testing.assert_allclose(np.concatenate([p.numpy() for p in parts], axis=1), whole.numpy(), atol=1e-6)


def test_backwards_is_the_reversed_sequence_in_the_order_of_reading() -> None:
    x, layer = sequence(), nn.LSTM(3, 4, return_state=True)
    forwards = [output.numpy().copy() for output in layer(tn.Tensor(x.numpy()[:, ::-1].copy()))]
    layer.go_backwards = True
    for output, expected in zip(layer(x), forwards, strict=True):
        np.testing.assert_array_equal(output.numpy(), expected)


@pytest.mark.parametrize("what", ["dropout", "recurrent_dropout"])
def test_masks_of_the_lstm(what: str) -> None:
    """One mask per sequence, the same for all steps and gates: what the op gives with this mask."""
    layer = nn.LSTM(3, 4, **{what: 0.5})
    model = nn.Sequential(nn.ReLU(), layer)
    x = sequence(N=6)
    x = tn.Tensor(np.abs(x.numpy()))
    zeros = np.zeros((6, 4), "float32")
    for step in range(3):
        y = model(x).numpy()
        name, features = ("inputs", 3) if what == "dropout" else ("recurrent", 4)
        mask = keep_mask(np, (6, features), 0.5, (0, stream(f"1.{name}")), step) / 0.5
        assert len({tuple(row) for row in mask}) > 1, "sequences have masks of their own"
        if what == "dropout":
            expected = by_hand(layer, x.numpy() * mask[:, None], zeros, zeros)
        else:
            expected = by_hand(layer, x.numpy(), zeros, zeros, mask)
        np.testing.assert_allclose(y, expected[0], atol=1e-6)
    assert layer.calls.item() == 3
    np.testing.assert_allclose(model.eval()(x).numpy(), by_hand(layer, x.numpy(), zeros, zeros)[0], atol=1e-6)
    assert layer.calls.item() == 3


@pytest.mark.parametrize("options", [
    dict(zip(("return_sequences", "return_state", "go_backwards"), chosen, strict=True))
    for chosen in itertools.product([False, True], repeat=3)])
@pytest.mark.parametrize("rates", [{}, {"dropout": 0.5, "recurrent_dropout": 0.3}, {"recurrent_dropout": 0.5}])
@pytest.mark.parametrize("training", [True, False])
def test_options_of_the_lstm_together(options: dict[str, bool], rates: dict[str, float], training: bool) -> None:
    """In training and in evaluation, with the tape and without it, from given states."""
    layer = nn.LSTM(3, 4, **options, **rates).train(training)
    model, x = nn.Sequential(nn.ReLU(), layer).train(training), tn.Tensor(np.abs(sequence(N=6).numpy()))
    h0, c0 = np.random.default_rng(3).standard_normal((2, 6, 4)).astype("float32")
    steps = x.numpy()[:, ::-1] if options["go_backwards"] else x.numpy()
    for call in range(2):
        masks = {name: keep_mask(np, (6, width), rates[rate], (0, stream(f"1.{name}")), call) / (1 - rates[rate])
                 for name, rate, width in (("inputs", "dropout", 3), ("recurrent", "recurrent_dropout", 4))
                 if training and rate in rates}
        given = steps * masks["inputs"][:, None] if "inputs" in masks else steps
        for states in ((), (h0, c0)):
            y, h, c = by_hand(layer, given, *(states or (0 * h0, 0 * c0)), masks.get("recurrent", 1.0))
            output = y if options["return_sequences"] else h
            expected = [output, h, c] if options["return_state"] else [output]
            if states and training and rates:
                continue  # a call of the layer alone draws from another stream
            with tn.no_grad() if call else nullcontext():
                found = layer(x, *map(tn.Tensor, states)) if states else model(x)
            for one, wanted in zip(found if options["return_state"] else [found], expected, strict=True):
                np.testing.assert_allclose(one.numpy(), wanted, atol=2e-6)


def test_masks_of_the_lstm_keep_the_expectation() -> None:
    """Inputs on average; the linear part of a tiny state on average."""
    layer = nn.LSTM(3, 4, dropout=0.3, recurrent_dropout=0.3)
    masks = []
    layer.W.data *= 1e-3
    for _ in range(300):
        _, mask = layer._masked(tn.Tensor(np.ones((8, 1, 3), "float32")))
        masks.append(mask.numpy())
    mask = np.stack(masks)
    assert set(np.unique(mask)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs(mask.mean() - 1) < 4 * math.sqrt(0.3 / 0.7 / mask.size)


def test_dropout_of_an_lstm_needs_a_batch() -> None:
    with pytest.raises(ArgumentError, match=r"lstm: x must be \(N,T,D\), got \(4, 3\); x\[None\] adds a batch of one"):
        nn.LSTM(3, 2, dropout=0.5)(tn.Tensor(np.ones((4, 3), "float32")))


WINDOWS: dict[str, Any] = {"Conv1D": (2, 3, 2), "Conv2D": (2, 3, 2), "MaxPool1D": (2,), "MaxPool2D": (2,),
                           "AvgPool1D": (2,), "AvgPool2D": (2,)}


@pytest.mark.parametrize("layer", WINDOWS)
@pytest.mark.parametrize(("option", "value"), [
    *(("stride", value) for value in (0, -1, 1.5, True, "1", (1, 2, 3), ())),
    *(("padding", value) for value in ("smae", -1, 1.5, True, None)),
    *(("dilation", value) for value in (0, 1.5, True)),
    ("padding", "causal"), ("padding", np.int64(2))])
def test_options_of_windows_are_checked_when_the_layer_is_made(layer: str, option: str, value: Any) -> None:
    def make() -> nn.Module:
        return getattr(nn, layer)(*WINDOWS[layer], **{option: value})

    if "Conv" in layer and (value == "causal" or isinstance(value, np.integer)):
        make()  # a pool may have no window in the padding alone
    elif "Conv" in layer or option != "dilation":
        with pytest.raises(ArgumentError, match=f"^{layer}: {option} must be"):
            make()


@pytest.mark.parametrize("make", [lambda p: nn.Dropout(p), lambda p: nn.LSTM(2, 3, dropout=p),
                                  lambda p: nn.LSTM(2, 3, recurrent_dropout=p)])
@pytest.mark.parametrize("p", [-0.1, 1.0, 1.5, float("nan"), "0.5", None])
def test_rates_are_shares(make: Any, p: Any) -> None:
    with pytest.raises(ArgumentError, match=r"(Dropout: p|LSTM: \w+) must be in \[0, 1\), the share that is dropped"):
        make(p)


# --- dropout --------------------------------------------------------------------------------------------------------

def test_masks_of_dropout_are_a_function_of_seed_path_and_call() -> None:
    tn.seed(7)
    model = nn.Sequential(nn.ReLU(), nn.Sequential(nn.Dropout(0.4)), nn.Dropout(0.4))
    x = tn.Tensor(np.ones((3, 5), "float32"))
    for step in range(3):
        masks = [keep_mask(np, (3, 5), 0.4, (7, stream(path)), step) / 0.6 for path in ("1.0", "2")]
        assert (masks[0] != masks[1]).any()
        np.testing.assert_allclose(model(x).numpy(), masks[0] * masks[1], rtol=1e-6)
    assert model.state_dict()["1.0.calls"] == 3


def test_dropouts_alone_have_masks_of_their_own() -> None:
    x = tn.Tensor(np.ones((50,), "float32"))

    def drawn(seed: int) -> list[list[float]]:
        tn.seed(seed)
        one, other = nn.Dropout(0.5), nn.Dropout(0.5)
        return [layer(x).numpy().tolist() for layer in (one, other, one)]

    first = drawn(0)
    assert first[0] != first[1] != first[2] != first[0]
    assert drawn(0) == first
    assert drawn(1)[0] != first[0]


def test_masks_go_on_after_a_state_was_loaded() -> None:
    x = tn.Tensor(np.ones((4, 6), "float32"))
    tn.seed(0)
    model = nn.Sequential(nn.Dropout(0.5))
    model(x)
    state = model.state_dict()
    expected = model(x).numpy()
    again = nn.Sequential(nn.Dropout(0.5)).load_state_dict(state)
    np.testing.assert_array_equal(again(x).numpy(), expected)


def test_dropout_keeps_the_expectation_and_evaluation_does_nothing() -> None:
    x = tn.Tensor(np.ones((100, 100), "float32"))
    layer = nn.Dropout(0.3)
    y = layer(x).numpy()
    assert set(np.unique(y)) == {np.float32(0), np.float32(1 / 0.7)}
    assert abs(y.mean() - 1) < 4 * math.sqrt(0.3 / 0.7 / y.size)
    assert layer.eval()(x) is x
    assert layer.calls.item() == 1
    assert nn.Dropout(0.0)(x) is x


# --- batch normalisation --------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("shape", "axis"), [((6, 3), -1), ((2, 4, 3), -1), ((2, 3, 4), 1), ((2, 2, 2, 3), -1)])
def test_batch_normalisation(shape: tuple[int, ...], axis: int) -> None:
    """Momentum is the share that is kept, the variance that of a population, and evaluation the same formula."""
    rng = np.random.default_rng(0)
    layer = nn.BatchNorm(3, axis=axis, momentum=0.8, eps=0.01).astype("float64")
    layer.gamma.data[:], layer.beta.data[:] = [1, 2, 3], [0.1, 0.2, 0.3]
    along = tuple(3 if i == axis % len(shape) else 1 for i in range(len(shape)))
    others = tuple(i for i in range(len(shape)) if i != axis % len(shape))

    def formula(x: np.ndarray, mean: np.ndarray, var: np.ndarray) -> np.ndarray:
        mean, var, gamma, beta = (a.reshape(along) for a in (mean, var, layer.gamma.numpy(), layer.beta.numpy()))
        return gamma * (x - mean) / np.sqrt(var + 0.01) + beta

    mean, var = np.zeros(3), np.ones(3)
    for step in range(7):
        x = rng.normal(step, 1 + step, shape)
        np.testing.assert_allclose(layer(tn.Tensor(x)).numpy(), formula(x, x.mean(others), x.var(others)), atol=1e-12)
        k = min(0.8, step / (step + 1))
        mean, var = k * mean + (1 - k) * x.mean(others), k * var + (1 - k) * x.var(others)
        np.testing.assert_allclose(layer.running_mean.numpy(), mean, atol=1e-12)
        np.testing.assert_allclose(layer.running_var.numpy(), var, atol=1e-12)
    before = layer.state_dict()
    x = rng.normal(0, 1, shape)
    np.testing.assert_allclose(layer.eval()(tn.Tensor(x)).numpy(), formula(x, mean, var), atol=1e-12)
    assert all((before[name] == array).all() for name, array in layer.state_dict().items())
    assert before["batches_seen"] == 7


def test_evaluation_before_any_batch_is_an_error() -> None:
    layer, x = nn.BatchNorm(3), tn.Tensor(np.ones((2, 3), "float32"))
    with pytest.raises(StateError, match=r"BatchNorm: evaluation needs running averages, and no batch was seen"):
        layer.eval()(x)
    fresh = nn.BatchNorm(3).load_state_dict(layer.state_dict()).eval()
    with pytest.raises(StateError, match="no batch was seen"):
        fresh(x)
    layer.train()(x)
    layer.eval()(x)
    fresh.load_state_dict(layer.state_dict())(x)


@pytest.mark.parametrize("shape", [(1,), (), (2, 1), (1, 2), (3,)])
def test_a_state_has_the_shapes_of_the_model(shape: tuple[int, ...]) -> None:
    """NumPy would broadcast one number into a bias of two, or a row into a matrix."""
    layer = nn.Dense(3, 2)
    before = layer.state_dict()
    with pytest.raises(ShapeError, match=r"load_state_dict: b must be \(2,\), got"):
        layer.load_state_dict({**before, "W": before["W"] + 1, "b": np.ones(shape)})
    with pytest.raises(ShapeError, match=r"load_state_dict: W must be \(3, 2\), got"):
        layer.load_state_dict({**before, "W": np.ones((1, 2))})
    assert all(np.array_equal(array, before[name]) for name, array in layer.state_dict().items())


def test_running_averages_from_elsewhere_are_believed() -> None:
    """Arrays without the counter, as other libraries write them."""
    state = {"gamma": np.ones(2), "beta": np.zeros(2), "running_mean": np.array([1.0, 2]), "running_var": np.ones(2)}
    layer = nn.BatchNorm(2, eps=0.0).load_state_dict(state).eval()
    assert layer(tn.Tensor([[2.0, 2.0]])).numpy().tolist() == [[1.0, 0.0]]


@pytest.mark.parametrize(("momentum", "seen"), [(0.9, 9), (0.99, 99), (0.5, 1), (0.0, 0)])
def test_a_batch_moves_averages_from_elsewhere_by_one_minus_momentum(momentum: float, seen: int) -> None:
    layer = nn.BatchNorm(1, momentum=momentum)
    state = layer.state_dict() | {"running_mean": np.array([4.0])}
    del state["batches_seen"]
    layer.load_state_dict(state)
    assert seen <= layer.batches_seen <= seen + 1
    layer(tn.Tensor([[2.0], [2.0]]))
    np.testing.assert_allclose(layer.running_mean.numpy(), 4 * momentum + 2 * (1 - momentum), rtol=1e-6)


def test_with_momentum_1_the_averages_are_means_of_all_batches() -> None:
    layer = nn.BatchNorm(1, momentum=1.0)
    for value in (1.0, 2.0, 6.0):
        layer(tn.Tensor([[value], [value]]))
    assert layer.running_mean.item() == pytest.approx(3)
    layer.load_state_dict({name: array for name, array in layer.state_dict().items() if name != "batches_seen"})
    layer(tn.Tensor([[50.0], [50.0]]))
    assert layer.running_mean.item() == pytest.approx(3)
    counter = layer.state_dict()["batches_seen"]
    assert layer.batches_seen > 2**32
    assert (counter.dtype, counter.shape, int(counter)) == ("int64", (), layer.batches_seen)


def test_from_the_tenth_batch_on_the_averages_are_as_without_the_correction() -> None:
    """Bit for bit."""
    layer, rng = nn.BatchNorm(3), np.random.default_rng(0)
    for step in range(12):
        before = layer.running_mean.numpy().copy()
        x = rng.normal(size=(4, 3)).astype("float32")
        _, mean, _ = tn.ops.batch_norm(tn.Tensor(x), layer.gamma, layer.beta)
        layer(tn.Tensor(x))
        usual = before * 0.9 + (1 - 0.9) * mean.numpy()
        assert (layer.running_mean.numpy() == usual).all() == (step >= 9)


def test_a_batch_of_one_element_for_each_channel_leaves_the_averages() -> None:
    """Its variance is 0, whatever the element is."""
    layer, x = nn.BatchNorm(2), np.random.default_rng(0).normal(size=(9, 2)).astype("float32")
    assert layer(tn.Tensor(x[:1])).numpy().tolist() == [[0.0, 0.0]]
    assert layer.batches_seen == 0
    layer(tn.Tensor(x))
    before = layer.state_dict()
    layer(tn.Tensor(x[:1]))
    assert all((before[name] == array).all() for name, array in layer.state_dict().items())


@pytest.mark.parametrize(("shape", "real", "enters"), [
    ((2, 3, 4), 0, False), ((2, 3, 4), 1, False), ((2, 3, 4), 2, True), ((2, 3, 1, 4), 1, False),
    ((2, 3, 5, 4), 0, False), ((2, 3, 5, 4), 1, True)])
def test_a_batch_with_one_real_element_for_each_channel_leaves_the_averages(shape: tuple[int, ...], real: int,
                                                                            enters: bool) -> None:
    layer, x = nn.BatchNorm(4), np.random.default_rng(0).normal(3, 2, shape).astype("float32")
    layer(tn.Tensor(x))
    before = layer.running_mean.numpy().copy(), layer.running_var.numpy().copy()
    layer(tn.Tensor(x), mask=np.arange(6).reshape(2, 3) < real)
    after = layer.running_mean.numpy(), layer.running_var.numpy()
    assert [(a == b).all() for a, b in zip(before, after, strict=True)] == [not enters] * 2


def test_after_five_steps_a_model_evaluates_as_it_trains() -> None:
    """With running averages that start at 0 and 1 and are not corrected, 59 % of them would be these."""
    tn.seed(0)
    x = np.random.default_rng(0).normal(50, 20, (64, 6)).astype("float32")
    labels = (x[:, 0] > 50).astype("int64")
    model = nn.Sequential(nn.BatchNorm(6), nn.Dense(6, 2))
    tn.fit(model, tn.optim.Adam(model.parameters(), lr=1e-3), [(x, labels)], epochs=5, show=False)
    in_evaluation = tn.predict(model, x)
    np.testing.assert_allclose(in_evaluation, model(tn.Tensor(x)).numpy(), atol=1e-4)


def test_gradients_do_not_flow_into_running_averages() -> None:
    layer = nn.BatchNorm(2)
    layer(tn.Tensor([[1.0, 2.0], [3.0, 5.0]])).sum().backward()
    assert layer.running_mean.grad is None
    assert not layer.running_mean.requires_grad


# --- shapes and pools -----------------------------------------------------------------------------------------------

def test_flatten_and_reshape() -> None:
    x = tn.Tensor(np.arange(24.0).reshape(2, 3, 4))
    assert nn.Flatten()(x).numpy().tolist() == x.numpy().reshape(2, 12).tolist()
    assert nn.Reshape((2, -1))(x).shape == (2, 2, 6)
    assert nn.Reshape([4, 3]).shape == (4, 3)
    empty = tn.Tensor(np.zeros((0, 3, 4), "float32"))
    assert nn.Flatten()(empty).shape == (0, 12)
    with pytest.raises(ShapeError, match=r"reshape: shape must have as many elements as x, 24 in"):
        nn.Reshape((5,))(x)


@pytest.mark.parametrize(("make", "option"), [
    (lambda value: nn.Conv1D(2, 3, value), "width"), (lambda value: nn.Conv2D(2, 3, (2, value)), "size"),
    (nn.MaxPool1D, "size"), (nn.AvgPool1D, "size"), (nn.MaxPool2D, "size"),
    (lambda value: nn.AvgPool2D((value, 2)), "size"),
    (lambda value: nn.MaxPool1D(2, value), "stride"), (lambda value: nn.Conv1D(2, 3, 4, dilation=value), "dilation")])
@pytest.mark.parametrize("value", [0, -1, 1.5, "2", True])
def test_a_size_of_a_window_is_checked_by_its_name(make: Any, option: str, value: Any) -> None:
    fix = f"{option}={3 if option in ('width', 'size') else 1}"
    with pytest.raises(ArgumentError, match=rf"D: {option} must be an integer of at least 1, got {value!r}; {fix}\?$"):
        make(value)


@pytest.mark.parametrize("make", [nn.MaxPool1D, nn.AvgPool1D, lambda pair: nn.MaxPool1D(2, pair),
                                  lambda pair: nn.Conv1D(2, 3, 4, stride=pair)])
def test_a_pair_is_no_size_along_one_axis(make: Any) -> None:
    with pytest.raises(ArgumentError, match=r"1D: \w+ must be an integer of at least 1, got \(2, 2\)"):
        make((2, 2))


@pytest.mark.parametrize(("layer", "options"), VARIANTS)
def test_a_batch_may_have_no_sample(layer: Any, options: dict[str, Any]) -> None:
    """The output has the shape of that of others, and all gradients are 0."""
    made, shape = layer(**options), INPUTS.get(layer.__name__, (2, 3))
    others = made(tn.Tensor(np.ones(shape, "float32")))
    x = tn.Tensor(np.zeros((0, *shape[1:]), "float32"), requires_grad=True)
    if layer is nn.BatchNorm:
        with pytest.raises(ShapeError, match="skip empty batches"):
            made(x)
        made.eval()
    y = made(x)
    for one, other in zip(*(made if isinstance(made, tuple) else (made,) for made in (y, others)), strict=True):
        assert one.shape == (0, *other.shape[1:])
    (y[0] if isinstance(y, tuple) else y).sum().backward()
    assert x.grad.shape == x.shape
    assert all(p.grad is not None and not p.grad.any() for p in made.parameters())


def test_global_average() -> None:
    x = np.arange(24.0, dtype="float32").reshape(2, 2, 3, 2)
    np.testing.assert_allclose(nn.GlobalAveragePool()(tn.Tensor(x)).numpy(), x.mean(axis=(1, 2)))
    with pytest.raises(ShapeError, match=r"GlobalAveragePool: x must be \(N,...,C\) with an axis to pool over, got"):
        nn.GlobalAveragePool()(tn.Tensor(np.ones((2, 3), "float32")))


@pytest.mark.parametrize(("layer", "shape", "message"), [
    (lambda: nn.Dense(3, 2), (4, 5), r"dense: x must be \(...,D\) with D = 3 \(from W\), got \(4,5\)"),
    (lambda: nn.LSTM(3, 2), (4, 5), r"lstm: x must be \(N,T,D\).*, got \(4,5\)"),
    (lambda: nn.Conv2D(3, 2, 2), (8, 3, 5, 5), r"conv2d: x must be \(N,H,W,C\) .*channels come last here"),
    (lambda: nn.BatchNorm(3), (4, 5), r"batch_norm: x must have C = 3 \(from beta\) on axis -1, got 5")])
def test_wrong_shapes_are_named(layer: Any, shape: tuple[int, ...], message: str) -> None:
    with pytest.raises(ShapeError, match=message):
        layer()(tn.Tensor(np.ones(shape, "float32")))


def test_mixed_precision_is_named() -> None:
    with pytest.raises(DtypeError, match=r"dense: x is float32, W float64; all float arguments share one dtype"):
        nn.Dense(3, 2).astype("float64")(tn.Tensor(np.ones((2, 3), "float32")))


# --- modules --------------------------------------------------------------------------------------------------------

class Custom(nn.Module):
    """A model with a list, a tuple, a nested module and weights that are used twice."""

    def __init__(self) -> None:
        self.scale = nn.Parameter([2.0])
        self.blocks = [nn.Dense(3, 3, bias=False), nn.ReLU(), nn.Dense(3, 3)]
        self.tied = self.blocks[0]
        self.pair = (nn.BatchNorm(3), nn.Dropout(0.5))
        self.notes = ["no module", 5]
        self.counter = nn.Buffer([0.0])
        self.again = self.blocks[2].b

    def forward(self, x: Any) -> Any:
        for block in (*self.pair, *self.blocks, self.tied):
            x = block(x)
        return x * self.scale


def test_names_and_order_of_parameters() -> None:
    model = Custom()
    parameters = model.parameters()
    assert parameters.names == ("scale", "again", "blocks.0.W", "blocks.2.W", "pair.0.gamma", "pair.0.beta")
    assert [p.shape for p in parameters] == [(1,), (3,), (3, 3), (3, 3), (3,), (3,)]
    assert list(model.state_dict()) == [
        "scale", "counter", "again", "blocks.0.W", "blocks.2.W", "pair.0.gamma", "pair.0.beta", "pair.0.running_mean",
        "pair.0.running_var", "pair.1.calls", "pair.0.batches_seen"]
    assert parameters["blocks.0.W"] is parameters[2] is model.tied.W
    with pytest.raises(KeyError, match=r"blocks\.1\.W"):
        parameters["blocks.1.W"]
    assert len(parameters) == 6
    assert parameters[1:3].names == ("again", "blocks.0.W")
    assert repr(parameters).splitlines()[2] == "blocks.0.W (3, 3) float32"
    assert repr(model) == "Custom()"


def test_a_module_that_does_not_keep_its_arguments_is_shown_without_them() -> None:
    class Own(nn.Module):
        def __init__(self, units: int = 3) -> None:
            self.width = 2 * units

    class Other(Own):
        def config(self) -> dict[str, Any]:
            return {"width": self.width}

    assert [repr(made) for made in (Own(4), Other(4))] == ["Own()", "Other()"]


def test_paths_of_modules() -> None:
    assert [path for path, _ in Custom().modules()] == [
        "", "blocks.0", "blocks.1", "blocks.2", "tied", "pair.0", "pair.1"]
    assert [path for path, _ in nn.Sequential(nn.Sequential(nn.ReLU()), nn.ReLU()).modules()] == ["", "0", "0.0", "1"]


def test_a_layer_used_twice_gets_both_gradients() -> None:
    model = Custom().astype("float64")
    model.pair[1].p = 0.0
    check_gradients(model, np.random.default_rng(1).uniform(0.5, 1, (4, 3)))


def test_training_and_evaluation_reach_every_module() -> None:
    model = Custom()
    assert all(module.training for _, module in model.modules())
    assert model.eval() is model
    assert not any(module.training for _, module in model.modules())
    model.pair[0].train()
    assert [module.training for _, module in model.modules()].count(True) == 1
    assert model.train() is model
    assert all(module.training for _, module in model.modules())


def test_a_module_without_forward_says_so() -> None:
    class Empty(nn.Module):
        pass

    with pytest.raises(NotImplementedError, match=r"Empty: a module needs a forward\(self, x\)"):
        Empty()(1)


def test_zero_grad() -> None:
    model = nn.Dense(2, 2)
    model(tn.Tensor([[1.0, 2.0]])).sum().backward()
    assert all(p.grad is not None for p in model.parameters())
    model.zero_grad()
    assert all(p.grad is None for p in model.parameters())


def test_sequential() -> None:
    model = nn.Sequential(nn.Dense(2, 3), nn.ReLU())
    assert len(model) == 2
    assert list(model) == [model[0], model[1]]
    assert model[-1] is model.layers[1]
    assert repr(model) == "Sequential(\n    0: Dense(inputs=2, units=3)\n    1: ReLU()\n)"
    with pytest.raises(StateError, match=r"Sequential: layer 1 must be a layer, got type; tn.nn.ReLU"):
        nn.Sequential(nn.Dense(2, 3), nn.ReLU)
    for layers in ([nn.ReLU()], (nn.ReLU(),)):
        kind = type(layers).__name__
        with pytest.raises(StateError, match=rf"must be a layer, got {kind}; tn.nn.Sequential\(\*layers\)\?$"):
            nn.Sequential(layers)
    assert nn.Sequential()(5) == 5


def test_part_of_a_sequential_and_another_layer_in_it() -> None:
    model = nn.Sequential(nn.Dense(2, 3), nn.ReLU(), nn.Dense(3, 4))
    part = model[:2]
    assert type(part) is nn.Sequential
    assert [*part] == [model[0], model[1]]
    model[-1] = nn.Dense(3, 5)
    assert model(np.ones((1, 2), "float32")).shape == (1, 5)
    assert model.parameters().names == ("0.W", "0.b", "2.W", "2.b")
    with pytest.raises(StateError, match=r"Sequential: layer 1 must be a layer, got type; tn.nn.ReLU"):
        model[1] = nn.ReLU  # type: ignore[call-overload]
    with pytest.raises(IndexError):
        model[3] = nn.ReLU()


def test_a_parameter_or_a_buffer_stays_a_tensor() -> None:
    dense, norm = nn.Dense(2, 3), nn.BatchNorm(3)
    for layer, name, value, got in ((dense, "W", np.ones((2, 3), "float32"), "ndarray"), (dense, "b", 0.0, "float"),
                                    (norm, "running_mean", [0.0] * 3, "list")):
        before = getattr(layer, name)
        with pytest.raises(StateError, match=rf"^\w+: {name} must stay a tensor, got {got}; "
                                             rf"layer.{name}.data\[...\] = array\?$"):
            setattr(layer, name, value)
        assert getattr(layer, name) is before
    dense.W, dense.b = nn.Parameter(np.full((2, 3), 2.0, "float32")), None
    np.testing.assert_array_equal(dense(np.ones((1, 2), "float32")).numpy(), [[4.0, 4.0, 4.0]])


def test_parameters_are_trained_and_buffers_are_not() -> None:
    assert nn.Parameter([1.0]).requires_grad
    assert not nn.Buffer([1.0]).requires_grad
    with pytest.raises(DtypeError, match="requires_grad needs floats"):
        nn.Parameter(np.array([1]))


# --- state ----------------------------------------------------------------------------------------------------------

def test_a_state_is_a_copy() -> None:
    model = lstm_cnn()
    state = model.state_dict()
    assert all(type(array) is np.ndarray for array in state.values())
    before = {name: array.copy() for name, array in state.items()}
    model(tn.Tensor(np.random.default_rng(0).uniform(0, 1, (2, 6, 4, 1)).astype("float32")))
    for parameter in model.parameters():
        parameter.data += 1
    assert all((state[name] == before[name]).all() for name in state)
    model.load_state_dict(state)
    for array in state.values():
        array[...] = 7
    assert all((array == before[name]).all() for name, array in model.state_dict().items())


def test_loading_writes_into_the_same_tensors() -> None:
    model, other = lstm_cnn(), lstm_cnn()
    arrays = {name: tensor.data for name, tensor in model.tensors().items()}
    assert model.load_state_dict(other.state_dict()) is model
    assert all(tensor.data is arrays[name] for name, tensor in model.tensors().items())
    assert all((array == other.state_dict()[name]).all() for name, array in model.state_dict().items())


def test_loading_takes_tensors_and_other_precisions() -> None:
    model = nn.Dense(2, 1)
    model.load_state_dict({"W": tn.Tensor([[1.0], [2.0]]), "b": np.array([3.0], "float64")})
    assert [p.numpy().tolist() for p in model.parameters()] == [[[1.0], [2.0]], [3.0]]
    model.load_state_dict({"W": np.array([[4], [5]], "int8"), "b": np.array([6], "uint8")})
    assert [p.numpy().tolist() for p in model.parameters()] == [[[4.0], [5.0]], [6.0]]
    assert model.b.dtype == "float32"
    model = nn.Sequential(nn.BatchNorm(1), nn.Dropout(0.5))
    counters = {"0.batches_seen": np.array(7, "uint8"), "1.calls": np.array(8, "uint16")}
    state = model.load_state_dict({**model.state_dict(), **counters}).state_dict()
    assert [(state[name].item(), str(state[name].dtype)) for name in counters] == [(7, "int64"), (8, "int64")]


@pytest.mark.parametrize(("change", "error", "message"), [
    (lambda s: s.pop("8.b"), StateError,
     "load_state_dict: names must be those of Sequential.state_dict(), missing ['8.b'], unexpected none; "
     "was it saved from a model of the same layers?"),
    (lambda s: s.update(x=np.zeros(1)), StateError,
     "load_state_dict: names must be those of Sequential.state_dict(), missing none, unexpected ['x']; "
     "was it saved from a model of the same layers?"),
    (lambda s: s.update({"8.b": np.zeros((4, 1))}), ShapeError,
     "load_state_dict: 8.b must be (4,), got (4, 1); was it saved from a model of the same sizes?"),
    (lambda s: s.update({"0.batches_seen": np.zeros(1, int)}), ShapeError,
     "load_state_dict: 0.batches_seen must be (), got (1,); was it saved from a model of the same sizes?"),
    (lambda s: s.update({"8.b": np.zeros(4, complex)}), StateError,
     "load_state_dict: 8.b must be floats, got complex128; is the file damaged?"),
    (lambda s: s.update({"8.b": np.zeros(4, bool)}), StateError,
     "load_state_dict: 8.b must be floats, got bool; is the file damaged?"),
    (lambda s: s.update({"3.calls": np.array(True)}), StateError,
     "load_state_dict: 3.calls must be integers, got bool; is the file damaged?"),
    (lambda s: s.update({"3.calls": np.array(np.nan)}), StateError,
     "load_state_dict: 3.calls must be integers, got float64; is the file damaged?"),
    (lambda s: s.update({"0.batches_seen": np.array(np.nan)}), StateError,
     "load_state_dict: 0.batches_seen must be integers, got float64; is the file damaged?")])
def test_loading_is_all_or_nothing(change: Any, error: type[Exception], message: str) -> None:
    model, other = lstm_cnn(), lstm_cnn()
    before, state = model.state_dict(), other.state_dict()
    change(state)
    with pytest.raises(error) as caught:
        model.load_state_dict(state)
    assert str(caught.value) == message
    assert all((array == before[name]).all() for name, array in model.state_dict().items())


def test_astype_changes_floats_in_place() -> None:
    model = lstm_cnn()
    tensors = model.tensors()
    x = np.random.default_rng(0).uniform(0, 1, (2, 6, 4, 1))
    model(tn.Tensor(x.astype("float32"))).sum().backward()
    gradients = {name: parameter.grad.copy() for name, parameter in model.parameters().items()}
    assert model.astype("float64") is model
    for name, tensor in model.tensors().items():
        assert tensor is tensors[name]
        assert tensor.dtype == ("int64" if name.endswith("calls") else "float64")
        assert tensor.grad is None or tensor.grad.dtype == "float64"
        assert (tensor.grad is not None) == (name in gradients)
        assert name not in gradients or np.array_equal(tensor.grad, gradients[name])
    assert model(tn.Tensor(x)).dtype == "float64"


def test_to_the_cpu_changes_nothing() -> None:
    model = lstm_cnn()
    arrays = [tensor.data for tensor in model.tensors().values()]
    assert model.to("cpu") is model
    assert all(tensor.data is array for tensor, array in zip(model.tensors().values(), arrays, strict=True))


def test_parameters_in_a_list_are_found() -> None:
    class Sum(nn.Module):
        def __init__(self) -> None:
            self.weights = [nn.Parameter([1.0]), nn.Parameter([2.0])]

        def forward(self, x: tn.Tensor, *, negative: bool = False) -> tn.Tensor:
            total = self.weights[0] * x + self.weights[1] * x
            return -total if negative else total

    model = Sum()
    assert model.parameters().names == ("weights.0", "weights.1")
    model(tn.Tensor([3.0]), negative=True).sum().backward()
    assert [parameter.grad.tolist() for parameter in model.parameters()] == [[-3.0], [-3.0]]


# --- wrong calls ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "ours"), [
    ("Linear", "Dense"), ("Conv2d", "Conv2D"), ("conv1d", "Conv1D"), ("BatchNorm2d", "BatchNorm"), ("LSTm", "LSTM"),
    ("MaxPooling2D", "MaxPool2D"), ("MaxPool2d", "MaxPool2D")])
def test_a_layer_by_another_name_is_answered_by_ours(name, ours):
    with pytest.raises(AttributeError, match=rf"^tn.nn has no attribute {name!r}; tn.nn.{ours}\?$"):
        getattr(nn, name)
    assert not hasattr(nn, "Nonsense") and hasattr(nn, ours)


class Tower(nn.Module):
    def __init__(self):
        self.blocks = [nn.Sequential(nn.Dense(3, 4), nn.Dense(5, 6)), nn.Dense(2, 2)]

    def forward(self, x):
        return self.blocks[0](x)


def test_a_shape_error_inside_a_model_names_the_layer():
    x = tn.Tensor(np.ones((2, 3), "float32"))
    with pytest.raises(ShapeError, match=r"^layer blocks.0.1 \(Dense\): dense: x must be .* got \(2,4\); "):
        Tower()(x)
    with pytest.raises(ShapeError, match=r"^layer 1.blocks.0.0 \(Dense\): dense: x must be .* got \(2,2\); "):
        nn.Sequential(nn.Dense(3, 2), Tower())(x)
    with pytest.raises(ShapeError, match=r"^dense: x must be "):
        nn.Dense(7, 2)(x)
    model = nn.Sequential(nn.ReLU(), nn.Dense(7, 2))
    for _ in range(4):  # recorded or not
        with pytest.raises(ShapeError, match=r"^layer 1 \(Dense\): dense: x must be "), tn.no_grad():
            model(x)


# --- containers and cycles ------------------------------------------------------------------------------------------

class Contained(nn.Module):
    def __init__(self) -> None:
        self.heads = {"left": nn.Dense(2, 1), "right": [nn.Dense(2, 1), nn.BatchNorm(1)]}
        self.blocks = [[nn.Dense(2, 2)], (nn.Dense(2, 2), {"deep": nn.Dropout(0.5)})]
        self.queue = collections.deque([nn.Parameter([1.0])])
        self.words = {"a": 1, "b": [2]}
        self.blocks.append(self.blocks)  # type: ignore[arg-type]

    def forward(self, x: tn.Tensor) -> tn.Tensor:
        return self.heads["left"](self.blocks[0][0](x)) * self.queue[0]


def test_layers_in_containers_are_found() -> None:
    model = Contained()
    assert model.parameters().names == (
        "queue.0", "heads.left.W", "heads.left.b", "heads.right.0.W", "heads.right.0.b", "heads.right.1.gamma",
        "heads.right.1.beta", "blocks.0.0.W", "blocks.0.0.b", "blocks.1.0.W", "blocks.1.0.b")
    assert not model.eval().blocks[1][1]["deep"].training
    other = Contained().load_state_dict(model.state_dict())
    x = tn.Tensor(np.ones((3, 2), "float32"))
    np.testing.assert_array_equal(model(x).numpy(), other(x).numpy())
    before = model.heads["left"].W.numpy().copy()
    optimizer = tn.optim.SGD(model.parameters(), lr=0.1)
    model(x).sum().backward()
    optimizer.step()
    assert (model.heads["left"].W.numpy() != before).any()


@pytest.mark.parametrize("make", [
    list, tuple, collections.deque, collections.UserList, lambda layers: np.array(layers, dtype=object),
    lambda layers: np.array(layers, dtype=object)[:, None],
    lambda layers: dict(enumerate(layers)), lambda layers: collections.OrderedDict(enumerate(layers)),
    lambda layers: collections.UserDict(enumerate(layers)),
    lambda layers: types.MappingProxyType(dict(enumerate(layers))),
    lambda layers: collections.defaultdict(list, {0: layers}),
    lambda layers: collections.namedtuple("Two", "a b")(*layers)])
def test_layers_in_any_container_are_found(make: Any) -> None:
    class Holds(nn.Module):
        def __init__(self) -> None:
            self.layers = make([nn.LSTM(2, 2), nn.Dense(2, 2)])

    names = Holds().parameters().names
    assert [name.rpartition(".")[2] for name in names] == ["W", "b"] * 2
    assert [name.split(".")[1:-1] for name in names[::2]] in ([["0"], ["1"]], [["0", "0"], ["0", "1"]])


def test_a_layer_may_know_its_parent_and_its_neighbours() -> None:
    model = nn.Sequential(nn.Dense(2, 3), nn.Dense(3, 2))
    model[0].parent = model[1].parent = model
    model[1].before = model[0]
    assert model.parameters().names == ("0.W", "0.b", "1.W", "1.b")
    assert not any(layer.training for layer in model.eval())
    assert model(tn.Tensor([[1.0, 2.0]])).shape == (1, 2)
    assert copy.deepcopy(model)[1].before.parent is not model
    assert "Dense" in model.summary((2,))


def test_layers_beside_those_of_a_sequential_are_trained() -> None:
    class Head(nn.Sequential):
        def __init__(self) -> None:
            super().__init__(nn.Dense(2, 2))
            self.head = nn.Dense(2, 1)

    assert Head().parameters().names == ("0.W", "0.b", "head.W", "head.b")


@pytest.mark.parametrize(("value", "message"), [
    (lambda: {nn.Dense(1, 1)}, "layers and parameters must be in an order, and a set has none"),
    (lambda: {1: nn.Dense(1, 1), "1": nn.Dense(1, 1)}, "each tensor needs a name of its own, and 4 of them have 2")])
def test_layers_that_cannot_be_named_are_refused(value: Any, message: str) -> None:
    model = nn.Module()
    model.layers = value()
    with pytest.raises(StateError, match=message):
        model.parameters()


SEQUENCE = np.ones((2, 6, 6), "float32")


@pytest.mark.parametrize("layer", [
    nn.Flatten(), nn.Reshape((36,)), nn.ReLU(), nn.Dense(6, 2), nn.Dropout(0.5), nn.Softmax(), nn.GlobalAveragePool(),
    nn.GlobalMaxPool(), nn.MaxPool1D(2), nn.AvgPool1D(2), nn.BatchNorm(6), nn.LSTM(6, 3), nn.Conv1D(6, 2, 3),
    nn.LSTM(6, 3, dropout=0.5), nn.GRU(6, 3, go_backwards=True), nn.SimpleRNN(6, 3), nn.Bidirectional(nn.GRU(6, 3)),
    nn.Softmax(1), nn.TimeDistributed(nn.Dense(6, 2)), nn.Parallel([nn.Dense(6, 2)]), nn.Residual(nn.Tanh()),
    nn.Sequential(nn.Flatten())], ids=lambda layer: type(layer).__name__)
def test_a_layer_makes_a_tensor_of_an_array_or_a_list(layer):
    """Also with a mask."""
    mask = [[1] * 6, [1, 1, 1, 0, 0, 0]]
    for mode in (True, False):
        layer.train(mode)
        for x in (SEQUENCE, SEQUENCE.tolist(), tn.Tensor(SEQUENCE)):
            assert isinstance(layer(x), tn.Tensor)
            assert isinstance(layer(x, mask=mask), tn.Tensor)


def test_a_wrong_shape_of_an_array_names_the_layer():
    with pytest.raises(ShapeError, match=r"^layer 0 \(Reshape\): reshape: shape must have as many elements as x"):
        nn.Sequential(nn.Reshape((5, 7)))(SEQUENCE)


@pytest.mark.parametrize(("kind", "sizes", "op", "options"), [
    (nn.Conv1D, (4, 6, 3), tn.ops.conv1d, {"stride": 2, "padding": 1, "dilation": 2}),
    (nn.Conv1D, (4, 6, 3), tn.ops.conv1d, {"padding": "causal", "groups": 2}),
    (nn.Conv2D, (4, 6, (2, 3)), tn.ops.conv2d, {"stride": (1, 2), "padding": (2, 1), "dilation": (2, 1)}),
    (nn.Conv2D, (4, 6, (2, 3)), tn.ops.conv2d, {"padding": "same", "groups": 2}),
    (nn.MaxPool1D, (), tn.ops.max_pool1d, {"size": 3, "stride": 2, "padding": 1}),
    (nn.AvgPool1D, (), tn.ops.avg_pool1d, {"size": 3, "stride": 2, "padding": 1}),
    (nn.MaxPool2D, (), tn.ops.max_pool2d, {"size": (3, 2), "stride": (1, 2), "padding": (1, 0)}),
    (nn.AvgPool2D, (), tn.ops.avg_pool2d, {"size": (3, 2), "stride": (1, 2), "padding": (1, 0)}),
    (nn.LayerNorm, (4,), tn.ops.layer_norm, {"eps": 0.3}), (nn.ELU, (), tn.ops.elu, {"alpha": 0.4}),
    (nn.LeakyReLU, (), tn.ops.leaky_relu, {"negative_slope": 0.4}), (nn.Softmax, (), tn.ops.softmax, {"axis": 1})])
def test_a_layer_passes_all_its_options_on(kind: Any, sizes: Any, op: Any, options: dict[str, Any]) -> None:
    """The op with the layer's arrays and these options computes the same, and without one of them something else."""
    layer, other = kind(*sizes, **options), kind(*sizes, **{name: options[name] for name in options if name == "size"})
    x = tn.Tensor(np.random.default_rng(0).normal(size=(2, 7, 9, 4) if "2D" in kind.__name__ else (2, 9, 4)))
    y = layer.astype("float64")(x).numpy()
    assert np.array_equal(y, op(x, *layer.parameters(), **options).numpy())
    assert not np.array_equal(y, other.astype("float64")(x).numpy())


USUAL = {"bias": True, "padding": "valid", "dilation": 1, "groups": 1, "return_sequences": True, "return_state": False,
         "go_backwards": False, "dropout": 0.0, "recurrent_dropout": 0.0, "axis": -1, "momentum": 0.9, "eps": 1e-5,
         "alpha": 1.0, "negative_slope": 0.01, "merge_mode": "concat", "padding_index": None, "input_shape": None}


@pytest.mark.parametrize("layer", [*LAYERS, nn.Sequential, nn.Bidirectional, nn.Embedding])
def test_what_is_not_given_is_as_usual(layer: Any) -> None:
    given = {name: p.default for name, p in inspect.signature(layer).parameters.items() if p.default is not p.empty}
    usual = {**USUAL, "stride": 1 if layer in (nn.Conv1D, nn.Conv2D) else None}
    assert repr(given) == repr({name: usual[name] for name in given})


@pytest.mark.parametrize("layer", [nn.Dense(2, 2), nn.ReLU(), nn.Flatten(), nn.LayerNorm(2)], ids=str)
def test_a_layer_takes_one_tensor_and_not_the_states_of_another(layer: nn.Module) -> None:
    model = nn.Sequential(nn.LSTM(3, 2, return_state=True, return_sequences=False), layer)
    with tn.no_grad(), pytest.raises(ShapeError, match=r"^layer 1 \(\w+\): x must be one tensor, got a tuple of 3;"):
        model(np.ones((2, 4, 3), "float32"))
