"""Weights to and from PyTorch and Keras: compared with the libraries, or with recorded outputs if not installed."""

import json
import math
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from safetensors import safe_open

import tinynet as tn
from tests.support.exchange_models import BATCH, COLUMNS, MODELS, ROWS, inputs, lstm_cnn, spread
from tinynet import nn
from tinynet.errors import ArgumentError, ShapeError, StateError
from tinynet.saving.exchange import from_keras, from_torch, to_keras, to_torch

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "exchange.safetensors"


def outputs(model: Any, x: np.ndarray) -> np.ndarray:
    with tn.using("reference"):
        return tn.predict(model, x)


def assert_close(ours: Any, theirs: Any, error: float = 1e-12) -> None:
    assert ours.shape == theirs.shape
    assert np.abs(theirs).max() > 0.1
    assert np.abs(ours - theirs).max() <= error * np.abs(theirs).max()


def new(name: str) -> Any:
    return MODELS[name]().astype("float64")


# --- PyTorch, live --------------------------------------------------------------------------------------------------

@pytest.fixture
def torch_side() -> Any:
    pytest.importorskip("torch").set_num_threads(1)
    from tests.support import exchange_torch

    return exchange_torch


live = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


@live
@pytest.mark.parametrize("name", MODELS)
def test_from_pytorch(name: str, torch_side: Any) -> None:
    theirs, ours = torch_side.make(name), new(name)
    assert from_torch(ours, theirs.state_dict()) is ours
    assert_close(outputs(ours, inputs(ours)), torch_side.outputs(theirs, inputs(ours)))


@live
@pytest.mark.parametrize("name", MODELS)
def test_to_pytorch(name: str, torch_side: Any) -> None:
    import torch

    theirs, ours = torch_side.make(name), spread(new(name))
    state = to_torch(ours, like=theirs.state_dict())
    assert list(state) == list(theirs.state_dict())
    theirs.load_state_dict({key: torch.tensor(array) for key, array in state.items()})
    assert_close(torch_side.outputs(theirs, inputs(ours)), outputs(ours, inputs(ours)))


def test_a_model_of_pytorch_that_flattens_channels_last(torch_side: Any) -> None:
    import torch

    class Last(torch_side.LSTMCNN):
        def forward(self, x: Any) -> Any:
            y, _ = self.lstm(self.norm(x).permute(0, 2, 3, 1).flatten(2))
            return self.classes(torch.relu(self.features[1](y.transpose(1, 2))).transpose(1, 2).flatten(1))

    torch.manual_seed(0)
    theirs, ours = Last().double().eval(), new("lstm_cnn")
    ours.input_shape = None  # not needed then
    x = inputs(lstm_cnn())
    from_torch(ours, theirs.state_dict(), channels_last=True)
    assert_close(outputs(ours, x), torch_side.outputs(theirs, x))
    again = from_torch(new("lstm_cnn"), to_torch(ours, channels_last=True), channels_last=True)
    assert_close(outputs(again, x), outputs(ours, x))


def test_channels_of_the_input_itself(torch_side: Any) -> None:
    import torch

    theirs = torch.nn.Sequential(torch.nn.Flatten(), torch.nn.Linear(4 * 3 * 2, 3), torch.nn.Unflatten(1, (1, 1, 3)),
                                 torch.nn.Flatten()).double()
    ours = nn.Sequential(nn.AvgPool2D(1), nn.Flatten(), nn.Dense(24, 3), input_shape=(4, 3, 2)).astype("float64")
    from_torch(ours, theirs.state_dict())
    x = inputs(ours)
    assert_close(outputs(ours, x), torch_side.outputs(theirs, x))


@pytest.mark.parametrize("first", [nn.Conv1D(3, 3, 1), nn.MaxPool1D(2), nn.AvgPool1D(2), nn.Conv2D(3, 3, 1),
                                   nn.MaxPool2D(2), nn.AvgPool2D(2)], ids=repr)
def test_what_stands_between_a_flatten_and_a_dense_has_features_in_the_order_of_pytorch(first: Any) -> None:
    """Row 3 c + t of an array for PyTorch is row 3 t + c of ours, of 3 channels and as many places."""
    shape = (3, 3) if "1D" in repr(first) else (3, 1, 3)
    if "Pool" in repr(first):
        shape = (*(2 * size for size in shape[:-1]), 3)
    model = nn.Sequential(first, nn.ReLU(), nn.Flatten(), nn.LayerNorm(9), nn.BatchNorm(9), nn.Tanh(), nn.Dense(9, 9),
                          nn.LayerNorm(9), nn.Dense(9, 9), input_shape=shape)
    spread(model)
    state, ours = to_torch(model), model.state_dict()
    moved = np.arange(9).reshape(3, 3).T.ravel()
    for theirs, mine in (("3.weight", "3.gamma"), ("3.bias", "3.beta"), ("4.weight", "4.gamma"), ("4.bias", "4.beta"),
                         ("4.running_mean", "4.running_mean"), ("4.running_var", "4.running_var")):
        np.testing.assert_array_equal(state[theirs], ours[mine][moved], err_msg=theirs)
    np.testing.assert_array_equal(state["6.weight"], ours["6.W"][moved].T)
    for theirs, mine in (("6.bias", "6.b"), ("7.weight", "7.gamma"), ("7.bias", "7.beta"), ("8.bias", "8.b")):
        np.testing.assert_array_equal(state[theirs], ours[mine], err_msg=theirs)
    np.testing.assert_array_equal(state["8.weight"], ours["8.W"].T)
    again = from_torch(model, {name: np.array(array) for name, array in state.items()}).state_dict()
    assert all(np.array_equal(again[name], array) for name, array in ours.items())


@pytest.mark.parametrize("layer", [nn.LSTM(4, 5), nn.Dense(4, 5), nn.Reshape((5, 4))], ids=repr)
def test_behind_what_has_features_last_in_pytorch_too(layer: Any) -> None:
    """Flatten gets (N,T,C), also after a convolution."""
    model = nn.Sequential(nn.Conv1D(3, 4, 2), layer, nn.Flatten())
    features = math.prod(model(tn.Tensor(np.zeros((1, 6, 3), "float32"))).shape)
    model.layers.append(nn.Dense(features, 2))
    model.input_shape = (6, 3)
    np.testing.assert_array_equal(to_torch(model)["3.weight"], model[3].W.numpy().T)


def test_an_lstm_without_biases(torch_side: Any) -> None:
    import torch

    torch.manual_seed(0)
    theirs, ours = torch.nn.LSTM(3, 4, bias=False, batch_first=True).double(), nn.LSTM(3, 4).astype("float64")
    from_torch(ours, theirs.state_dict())
    assert not ours.b.numpy().any()
    x = np.random.default_rng(0).normal(size=(2, 5, 3))
    assert_close(outputs(ours, x), theirs(torch.tensor(x))[0].detach().numpy())


def test_arrays_that_numpy_does_not_know(torch_side: Any) -> None:
    import torch

    layer = torch.nn.Linear(3, 2)
    with pytest.raises(StateError, match=r"from_torch: weight must be an array, and NumPy says .*; \.detach\(\)"):
        from_torch(nn.Dense(3, 2), layer.bfloat16().state_dict())
    with pytest.raises(StateError, match=r"must be an array, and NumPy says"):
        from_torch(nn.Dense(3, 2), dict(torch.nn.Linear(3, 2).named_parameters()))


def test_weights_are_in_a_mapping_of_any_kind() -> None:
    layer, other = spread(nn.Dense(3, 2)), spread(nn.Dense(3, 2), seed=2)
    for to, load in ((to_torch, from_torch), (to_keras, from_keras)):
        assert not np.array_equal(load(nn.Dense(3, 2), to(other)).W.numpy(), layer.W.numpy())
        assert np.array_equal(load(nn.Dense(3, 2), MappingProxyType(to(layer))).W.numpy(), layer.W.numpy())
        with pytest.raises(ArgumentError, match=rf"{load.__name__}: weights must be a dictionary, got list; "):
            load(nn.Dense(3, 2), list(to(layer).values()))


@pytest.mark.parametrize("tracked", [None, 0, 3, 500])
def test_averages_of_pytorch_without_a_count_are_kept(tracked: int | None) -> None:
    """One batch moves them by 1 - momentum; a count that is given is kept."""
    state = {"weight": np.ones(2), "bias": np.zeros(2), "running_mean": np.full(2, 5.0), "running_var": np.full(2, 4.0),
             **({} if tracked is None else {"num_batches_tracked": np.array(tracked)})}
    layer = from_torch(nn.BatchNorm(2), state)
    assert layer.batches_seen == tracked if tracked else layer.batches_seen >= 9
    again = to_torch(layer)
    assert all(np.array_equal(again[name], state[name]) for name in ("running_mean", "running_var"))
    layer(tn.Tensor(np.ones((4, 2), "float32")))
    keep = 0.75 if tracked == 3 else 0.9
    np.testing.assert_allclose(layer.running_mean.numpy(), 5 * keep + 1 - keep, rtol=1e-6)


def test_averages_of_keras_are_kept() -> None:
    weights = {"0/gamma": np.ones(2), "0/beta": np.zeros(2), "0/moving_mean": np.full(2, 5.0),
               "0/moving_variance": np.full(2, 4.0)}
    layer = from_keras(nn.BatchNorm(2, momentum=0.99), weights)
    assert np.array_equal(to_keras(layer)["moving_mean"], weights["0/moving_mean"])
    layer(tn.Tensor(np.ones((4, 2), "float32")))
    np.testing.assert_allclose(layer.running_mean.numpy(), 4.96, rtol=1e-6)


# --- PyTorch, as it was written down ---------------------------------------------------------------------------------

def golden(name: str) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """A PyTorch model and its outputs."""
    with safe_open(GOLDEN, framework="numpy") as file:
        order = json.loads(file.metadata()["description"])["orders"][name]
        return {key: file.get_tensor(f"{name}/{key}") for key in order}, file.get_tensor(f"{name} outputs")


@pytest.mark.parametrize("name", MODELS)
def test_from_golden_pytorch(name: str) -> None:
    state, theirs = golden(name)
    assert_close(outputs(from_torch(new(name), state), inputs(new(name))), theirs)


@pytest.mark.parametrize("name", MODELS)
def test_back_to_golden_pytorch(name: str) -> None:
    """Weights from PyTorch go back unchanged, except for the two biases, of which only the sum counts."""
    state, _ = golden(name)
    again = to_torch(from_torch(new(name), state), like=state)
    assert list(again) == list(state)
    for key, array in state.items():
        if "bias_hh" in key:
            assert not again[key].any()
        elif "bias_ih" in key:
            np.testing.assert_array_equal(again[key], array + state[key.replace("_ih_", "_hh_")])
        else:
            np.testing.assert_array_equal(again[key], array)
            assert again[key].flags.c_contiguous


def test_the_golden_file_is_small() -> None:
    assert GOLDEN.stat().st_size < 100_000


# --- Keras ----------------------------------------------------------------------------------------------------------

def keras_lstm(x: np.ndarray, kernel: np.ndarray, recurrent: np.ndarray, bias: np.ndarray) -> np.ndarray:
    """Keras's LSTM by its documentation: z = x kernel + h recurrent_kernel + bias; i, f, c, o = split(z)."""
    N, T, _ = x.shape
    h = c = np.zeros((N, recurrent.shape[0]))
    steps = []
    for t in range(T):
        i, f, candidate, o = np.split(x[:, t] @ kernel + h @ recurrent + bias, 4, axis=1)
        i, f, o = (1 / (1 + np.exp(-gate)) for gate in (i, f, o))
        c = f * c + i * np.tanh(candidate)
        h = o * np.tanh(c)
        steps.append(h)
    return np.stack(steps, axis=1)


def keras_lstm_cnn(x: np.ndarray, w: dict[str, np.ndarray]) -> np.ndarray:
    """The LSTM-CNN by Keras's equations, channels last throughout."""
    gamma, beta, mean, var = (w[f"bn/{name}"] for name in ("gamma", "beta", "moving_mean", "moving_variance"))
    x = ((x - mean) / np.sqrt(var + 1e-5) * gamma + beta).reshape(BATCH, ROWS, COLUMNS)
    y = keras_lstm(x, *(w[f"lstm/lstm_cell/{name}"] for name in ("kernel", "recurrent_kernel", "bias")))
    kernel = w["conv1d/kernel"]
    y = sum(y[:, k : k + ROWS - 2] @ kernel[k] for k in range(3)) + w["conv1d/bias"]
    return np.maximum(y, 0).reshape(BATCH, -1) @ w["dense/kernel"] + w["dense/bias"]


KERAS_NAMES = ["bn/gamma", "bn/beta", "bn/moving_mean", "bn/moving_variance", "lstm/lstm_cell/kernel",
               "lstm/lstm_cell/recurrent_kernel", "lstm/lstm_cell/bias", "conv1d/kernel", "conv1d/bias",
               "dense/kernel", "dense/bias"]


def test_to_keras_by_its_equations() -> None:
    ours = spread(new("lstm_cnn"))
    arrays = to_keras(ours, like=KERAS_NAMES)
    assert list(arrays) == KERAS_NAMES
    assert_close(keras_lstm_cnn(inputs(ours), arrays), outputs(ours, inputs(ours)))


def test_from_keras_by_its_equations() -> None:
    rng = np.random.default_rng(0)
    ours = new("lstm_cnn")
    arrays = {name: rng.normal(0, 0.5, array.shape) for name, array in to_keras(ours, like=KERAS_NAMES).items()}
    arrays["bn/moving_variance"] = abs(arrays["bn/moving_variance"])
    from_keras(ours, {**arrays, "dropout/seed_generator/seed_generator_state": np.array([0, 1], "uint32")})
    assert_close(outputs(ours, inputs(ours)), keras_lstm_cnn(inputs(ours), arrays))


@pytest.mark.parametrize("name", MODELS)
def test_there_and_back(name: str) -> None:
    """Under the names of tinynet and of TensorFlow, and without the biases, which may be missing."""
    ours = spread(new(name))
    for arrays, back in ((to_torch(ours), from_torch), (to_keras(ours), from_keras),
                         ({f"{key}:0": array for key, array in to_keras(ours).items()}, from_keras)):
        again = back(new(name), arrays)
        for key, tensor in ours.tensors().items():
            if tensor.dtype.kind == "f":
                np.testing.assert_array_equal(again.tensors()[key].numpy(), tensor.numpy())
    without = {key: array for key, array in to_keras(ours).items() if not key.endswith("/bias")}
    assert not any(p.numpy().any() for key, p in from_keras(new(name), without).parameters().items()
                   if key.endswith(".b"))


@pytest.mark.parametrize("name", MODELS)
def test_live_keras(name: str) -> None:
    """With any backend of Keras, if it is installed. Its default float32 bounds the error."""
    keras = pytest.importorskip("keras")
    from keras import layers

    def convert(layer: nn.Module) -> Any:
        options = layer.config()
        match layer:
            case nn.Dense():
                return layers.Dense(layer.units)
            case nn.LSTM():
                return layers.LSTM(layer.units, return_sequences=layer.return_sequences)
            case nn.Conv1D():
                return layers.Conv1D(layer.filters, layer.width)
            case nn.Conv2D():
                return layers.Conv2D(layer.filters, layer.size, padding=layer.padding, use_bias=layer.bias)
            case nn.BatchNorm():
                return layers.BatchNormalization(momentum=layer.momentum, epsilon=layer.eps)
            case nn.Reshape():
                return layers.Reshape(layer.shape)
            case nn.Dropout():
                return layers.Dropout(layer.p)
            case nn.MaxPool2D():
                return layers.MaxPooling2D(layer.size)
        assert not options
        return {nn.ReLU: layers.ReLU, nn.Flatten: layers.Flatten}[type(layer)]()

    ours = spread(MODELS[name]())
    theirs = keras.Sequential([keras.Input(ours.input_shape), *map(convert, ours)])
    x = inputs(ours).astype("float32")
    theirs.set_weights(list(to_keras(ours, like=[w.path for w in theirs.weights]).values()))
    assert_close(outputs(ours, x), np.asarray(theirs(x, training=False)), 1e-5)
    theirs.set_weights(list(to_keras(spread(MODELS[name](), seed=5)).values()))
    again = from_keras(MODELS[name](), {w.path: np.asarray(w) for w in theirs.weights})
    assert_close(outputs(again, x), np.asarray(theirs(x, training=False)), 1e-5)


# --- what does not fit ----------------------------------------------------------------------------------------------

def test_weights_of_other_layers() -> None:
    ours = nn.Sequential(nn.Dense(3, 4), nn.ReLU(), nn.Dense(4, 2))
    before = ours.state_dict()
    good = to_torch(ours)

    def refused(error: type[Exception], text: str, state: dict[str, Any]) -> None:
        with pytest.raises(error) as caught:
            from_torch(ours, {key: np.ones_like(value) for key, value in state.items()})
        assert text in str(caught.value)
        assert all((array == before[name]).all() for name, array in ours.state_dict().items())

    refused(StateError, "from_torch: there must be weights of 2 layers (0 Dense, 2 Dense), got those of 1 (0); are",
            {key: value for key, value in good.items() if key.startswith("0")})
    refused(StateError, "from_torch: Dense 2 must have weight, bias, missing ['weight'], unexpected ['gamma']; are",
            {**{key: value for key, value in good.items() if key != "2.weight"}, "2.gamma": np.ones(2)})
    refused(ShapeError, "from_torch: 2.weight must be (2, 4), got (4, 2); are the layers of the same sizes?",
            {**good, "2.weight": good["2.weight"].T})
    refused(StateError, "weights of 2 layers (0 Dense, 2 Dense), got those of 3 (",
            {**good, "2.weight_ih_l0_reverse": np.ones(2)})
    with pytest.raises(ArgumentError, match=r"^from_torch: weights must be a .*, got str; theirs.state_dict\(\)\?"):
        from_torch(ours, "model.pt")  # type: ignore[arg-type]
    with pytest.raises(ArgumentError, match=r"^from_keras: weights must be a .*, got list; {w.path: w.numpy\(\)"):
        from_keras(ours, [np.ones((3, 4))])  # type: ignore[arg-type]
    with pytest.raises(StateError, match=r"to_torch: there must be weights of 2 layers .* got those of 1 \(a\)"):
        to_torch(ours, like=["a.weight", "a.bias"])
    with pytest.raises(StateError, match=r"to_torch: Dense 2 must have weight, bias, missing \['bias'\]"):
        to_torch(ours, like=["a.weight", "a.bias", "b.weight"])


def test_models_that_cannot_be_exchanged() -> None:
    class Scale(nn.Module):
        def __init__(self) -> None:
            self.scale = nn.Parameter([1.0])

    with pytest.raises(StateError, match=r"to_keras: weights must be those of Dense, .* and 0 is a Scale"):
        to_keras(nn.Sequential(Scale()))
    model = nn.Sequential(nn.Conv2D(1, 2, 1), nn.Flatten(), nn.Dense(8, 2))
    with pytest.raises(ShapeError, match=r"to_torch: input_shape must be known, since PyTorch flattens channels first"):
        to_torch(model)
    model = nn.Sequential(nn.Conv2D(1, 2, 1), nn.Flatten(), nn.Reshape((2, 4)), nn.LSTM(4, 2), input_shape=(2, 2, 1))
    with pytest.raises(StateError, match="to_torch: after a Flatten there must be a Dense before Reshape"):
        to_torch(model)


IMAGE = np.arange(2 * 3 * 4).reshape(2, 3, 4)  # the features of (H,W,C), flattened by tinynet
FEW = np.arange(2 * 3 * 2).reshape(2, 3, 2)


def conv(filters: int = 4) -> Any:
    return nn.Conv2D(2, filters, 1)


def flat() -> Any:
    return nn.Sequential(conv(2), nn.Flatten())


@pytest.mark.parametrize("before, shape, order", [
    ([nn.Parallel([conv(2), conv(2)])], (2, 3, 2), IMAGE.transpose(2, 0, 1)),
    ([nn.Parallel([conv(), nn.AvgPool2D(1)]), nn.Conv2D(6, 4, 1)], (2, 3, 2), IMAGE.transpose(2, 0, 1)),
    ([nn.Parallel([conv(), conv()], "sum")], (2, 3, 2), IMAGE.transpose(2, 0, 1)),
    ([nn.Residual(conv(2)), conv()], (2, 3, 2), IMAGE.transpose(2, 0, 1)),
    ([nn.Residual(nn.MaxPool2D(1)), nn.Sequential(conv(), nn.ReLU())], (2, 3, 2), IMAGE.transpose(2, 0, 1)),
    ([nn.Parallel([flat(), flat()])], (2, 3, 2),
     np.concatenate([FEW.transpose(2, 0, 1).ravel(), 12 + FEW.transpose(2, 0, 1).ravel()])),
    ([nn.Parallel([nn.Sequential(nn.Flatten(), nn.Dense(12, 5)), flat()])], (2, 3, 2),
     np.concatenate([np.arange(5), 5 + FEW.transpose(2, 0, 1).ravel()])),
    ([nn.Parallel([flat(), flat()], "ave")], (2, 3, 2), FEW.transpose(2, 0, 1)),
    ([nn.TimeDistributed(conv())], (3, 2, 3, 2), np.arange(3 * 24).reshape(3, 2, 3, 4).transpose(0, 3, 1, 2)),
    ([nn.TimeDistributed(flat())], (3, 2, 3, 2), 12 * np.arange(3)[:, None] + FEW.transpose(2, 0, 1).ravel()),
    ([nn.TimeDistributed(nn.Sequential(flat(), nn.Dense(12, 4)))], (3, 2, 3, 2), np.arange(12)),
    ([nn.Conv1D(2, 4, 1), nn.Parallel([nn.ReLU(), nn.Tanh()], "mul")], (3, 2), np.arange(12).reshape(3, 4).T),
    ([nn.Parallel([nn.Conv1D(2, 4, 1), nn.LSTM(2, 4)], "sum"), nn.LSTM(4, 4)], (3, 2), np.arange(12)),
], ids=repr)
def test_rows_behind_a_flatten_of_branches(before: list[Any], shape: tuple[int, ...], order: Any) -> None:
    """`order` is that of our features in PyTorch, which merges branches on the axis of its channels."""
    order = order.ravel()
    model = nn.Sequential(*before, nn.Flatten(), nn.Dense(len(order), 2), input_shape=shape)
    assert model(tn.Tensor(np.zeros((1, *shape), "float32"))).shape == (1, 2)
    name = f"{len(before) + 1}.weight"
    np.testing.assert_array_equal(to_torch(model)[name], model[-1].W.numpy()[order].T)
    state = {name: np.array(array) for name, array in to_torch(model).items()}
    ours = model[-1].W.numpy().copy()
    np.testing.assert_array_equal(from_torch(model, state)[-1].W.numpy(), ours)


def test_orders_that_cannot_be_kept() -> None:
    twice = nn.Dense(12, 12)
    model = nn.Sequential(flat(), twice, twice, input_shape=(2, 3, 2))
    with pytest.raises(StateError, match="to_torch: Dense must have its features in one order in all its calls"):
        to_torch(model)
    model = nn.Sequential(nn.Parallel([flat(), nn.Flatten()], "sum"), nn.Dense(12, 2), input_shape=(2, 3, 2))
    model[0].branches[1] = nn.Sequential(nn.Flatten(), nn.Dense(12, 12))
    with pytest.raises(StateError, match="from_torch: the parts of a sum must have their features in one order"):
        from_torch(model, {})


def test_features_of_a_sequence_in_front_of_a_convolution_keep_their_order() -> None:
    """Without a convolution or pooling before it, a Flatten gets (N,T,C) in PyTorch too."""
    model = nn.Sequential(nn.ReLU(), nn.Flatten(), nn.Dense(6, 6), nn.Reshape((3, 2)), nn.Conv1D(2, 2, 1),
                          input_shape=(3, 2))
    np.testing.assert_array_equal(to_torch(model)["2.weight"], model[2].W.numpy().T)


def test_the_count_of_batches_may_be_missing_among_the_names() -> None:
    names = ["norm.weight", "norm.bias", "norm.running_mean", "norm.running_var"]
    state = to_torch(nn.BatchNorm(2), like=names)
    assert {name: array.tolist() for name, array in state.items()} == dict(
        zip(names, ([1, 1], [0, 0], [0, 0], [1, 1]), strict=True))


def test_nothing_but_weights_changes() -> None:
    model = lstm_cnn()
    modes = [module.training for _, module in model.modules()]
    calls = model[3].calls.item()
    from_torch(model, to_torch(model))
    assert [module.training for _, module in model.modules()] == modes
    assert model[3].calls.item() == calls


def test_a_layer_in_two_places_counts_once() -> None:
    layer = nn.Dense(3, 3)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert list(to_torch(model)) == ["0.weight", "0.bias"]
    from_torch(model, {"x.weight": np.eye(3), "x.bias": np.zeros(3)})
    np.testing.assert_array_equal(layer.W.numpy(), np.eye(3))


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of Keras, with PyTorch
def test_gru_and_layers_without_bias_of_keras() -> None:
    keras = pytest.importorskip("keras")
    layers = keras.layers
    theirs = keras.Sequential([keras.Input((6, 3)), layers.GRU(4, return_sequences=True),
                               layers.LSTM(3, return_sequences=True, use_bias=False),
                               layers.SimpleRNN(4, return_sequences=True), layers.GRU(2, use_bias=False)])
    rng = np.random.default_rng(0)
    theirs.set_weights([rng.normal(size=array.shape) for array in theirs.get_weights()])
    ours = nn.Sequential(nn.GRU(3, 4), nn.LSTM(4, 3, bias=False), nn.SimpleRNN(3, 4),
                         nn.GRU(4, 2, bias=False, return_sequences=False))
    from_keras(ours, {array.path: keras.ops.convert_to_numpy(array) for array in theirs.weights})
    x = rng.normal(size=(5, 6, 3)).astype("float32")
    assert_close(outputs(ours, x), theirs.predict(x, verbose=0), 1e-5)
    for mine, their in zip(to_keras(ours).values(), theirs.get_weights(), strict=True):
        np.testing.assert_allclose(mine, their, atol=1e-7)


def test_gru_of_pytorch() -> None:
    """The names of a state_dict, with the two biases of a GRU in their places."""
    ours: Any = nn.Sequential(nn.GRU(3, 4), nn.Dense(4, 2))
    ours[0].b_h.data[...] = np.arange(12) / 7
    other: Any = from_torch(nn.Sequential(nn.GRU(3, 4), nn.Dense(4, 2)), to_torch(ours))
    for mine, their in zip(ours.state_dict().values(), other.state_dict().values(), strict=True):
        np.testing.assert_array_equal(mine, their)
    assert (to_torch(ours)["0.bias_hh_l0"] == np.arange(12, dtype="float32") / 7).all()
