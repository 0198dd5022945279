"""Whole models to and from PyTorch, live: the same outputs, and an error for what the other side lacks."""

from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.export.models import trained
from tinynet import nn
from tinynet.errors import StateError
from tinynet.saving.exchange import from_torch_module, to_torch_module

torch = pytest.importorskip("torch")
T: Any = torch.nn
pytestmark = pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel")


def varied(module: Any) -> Any:
    """A module of PyTorch in evaluation, with statistics that are not trivial."""
    generator = torch.Generator().manual_seed(0)
    for name, value in module.state_dict().items():
        if name.endswith("num_batches_tracked"):
            value.fill_(7)
        elif name.endswith("running_var"):
            value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
        elif value.ndim == 1:
            value.copy_(torch.randn(value.shape, generator=generator) * 0.3)
    return module.eval()


def last(array: Any) -> Any:
    """An array with the channels at the end."""
    return np.moveaxis(array, 1, -1)


def assert_close(ours: Any, theirs: Any) -> None:
    assert ours.shape == theirs.shape
    assert np.abs(theirs).max() > 1e-2
    np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * max(1, np.abs(theirs).max()))


def test_a_layer_that_is_used_at_two_places() -> None:
    """What follows its first call has the shape of that one."""
    relu = nn.ReLU()
    model = nn.Sequential(nn.Conv2D(2, 3, 2), relu, nn.MaxPool2D((2, 3), stride=1, padding="same"), nn.Flatten(),
                          nn.Dense(3 * 4 * 5, 6), relu, nn.Dense(6, 2), input_shape=(5, 6, 2))
    x = np.random.default_rng(0).standard_normal((3, 5, 6, 2)).astype("float32")
    assert_close(tn.predict(model, x), theirs_of(to_torch_module(model), np.moveaxis(x, -1, 1)))


def theirs_of(module: Any, x: Any) -> Any:
    with torch.no_grad():
        return module(torch.tensor(x)).numpy()


IMAGES: list[tuple[str, Any, tuple[int, ...]]] = [
    ("a usual one", lambda: T.Sequential(
        T.Conv2d(3, 8, 3, padding=1), T.BatchNorm2d(8), T.ReLU(), T.MaxPool2d(2), T.Conv2d(8, 6, (3, 2), stride=(1, 2)),
        T.ReLU(), T.Dropout(0.3), T.Flatten(), T.Linear(6 * 2 * 2, 7), T.ReLU(), T.Linear(7, 4)), (3, 8, 9)),
    ("nested", lambda: T.Sequential(
        T.Sequential(T.Conv2d(2, 4, 3, bias=False, padding="same", dilation=2), T.Tanh()),
        T.Sequential(T.AvgPool2d(3, 2), T.Identity(), T.Flatten(), T.BatchNorm1d(36), T.Dropout(0.0),
                     T.Linear(36, 3, bias=False), T.Softmax(dim=1))), (2, 7, 8)),
    ("global pooling", lambda: T.Sequential(
        T.Conv2d(3, 5, 3), T.Sigmoid(), T.AdaptiveAvgPool2d(1), T.Flatten(), T.Linear(5, 2)), (3, 6, 6)),
    ("pooling with padding", lambda: T.Sequential(
        T.Conv2d(1, 4, 3), T.MaxPool2d((3, 2), stride=(1, 2), padding=1),
        T.AvgPool2d(3, padding=1, count_include_pad=False), T.Flatten(), T.Linear(4 * 3 * 2, 3)), (1, 9, 9)),
    ("ends in a convolution", lambda: T.Sequential(T.Conv2d(2, 3, 3), T.Softmax(dim=1)), (2, 5, 6)),
    ("sequences", lambda: T.Sequential(
        T.Conv1d(3, 6, 3, stride=2), T.BatchNorm1d(6, momentum=None), T.ReLU(), T.MaxPool1d(2),
        T.Conv1d(6, 5, 2, padding=1), T.Flatten(), T.Linear(5 * 4, 3)), (3, 14)),
    ("pooled sequences", lambda: T.Sequential(
        T.Conv1d(3, 6, 3), T.AvgPool1d(2), T.AdaptiveAvgPool1d(1), T.Flatten(), T.Linear(6, 2)), (3, 14)),
    ("groups", lambda: T.Sequential(T.Conv2d(4, 6, 3, groups=2), T.ReLU(), T.Conv2d(6, 6, (3, 2), groups=6, stride=2)),
     (4, 8, 9)),
    ("sequences in groups", lambda: T.Sequential(T.Conv1d(4, 6, 3, groups=2), T.Conv1d(6, 12, 2, groups=6)), (4, 8)),
    ("features", lambda: T.Sequential(T.Linear(5, 8), T.BatchNorm1d(8), T.ReLU(), T.Linear(8, 3)), (5,)),
    ("rectifiers", lambda: T.Sequential(T.Linear(5, 8), T.LeakyReLU(0.2), T.Linear(8, 8), T.ELU(0.7), T.Linear(8, 8),
                                        T.GELU(), T.Linear(8, 3), T.SiLU()), (5,)),
    ("flattened images", lambda: T.Sequential(T.Flatten(), T.Linear(3 * 4 * 5, 6), T.ReLU(), T.Linear(6, 2)),
     (3, 4, 5)),
]


@pytest.mark.parametrize(("make", "shape"), [one[1:] for one in IMAGES], ids=[one[0] for one in IMAGES])
def test_from_pytorch_and_back(make: Any, shape: tuple[int, ...]) -> None:
    theirs = varied(make())
    x = np.random.default_rng(0).normal(size=(4, *shape)).astype("float32")
    ours = from_torch_module(theirs, input_shape=(*shape[1:], shape[0]) if len(shape) > 1 else shape)
    expected = theirs_of(theirs, x)
    found = tn.predict(ours, last(x) if len(shape) > 1 else x)
    assert_close(found, last(expected) if expected.ndim > 2 else expected)
    assert not ours.training
    if len(shape) == 3 or not isinstance(theirs[0], T.Flatten):
        assert_close(theirs_of(to_torch_module(ours), x), expected)


def test_options_that_only_training_shows_go_both_ways() -> None:
    ours = nn.Sequential(nn.Dense(4, 5), nn.BatchNorm(5, momentum=0.75, eps=1e-3), nn.LeakyReLU(0.2), nn.Dropout(0.3),
                         nn.Dense(5, 5), nn.ELU(0.7), nn.Dropout(0.1), nn.Dense(5, 2), input_shape=(4,))
    theirs = to_torch_module(ours)
    assert [one.p for one in theirs if isinstance(one, T.Dropout)] == [0.3, 0.1]
    assert [(one.momentum, one.eps) for one in theirs if isinstance(one, T.BatchNorm1d)] == [(0.25, 1e-3)]
    again = from_torch_module(theirs, input_shape=(4,))
    assert [layer.config() for layer in again] == [layer.config() for layer in ours]
    for given, ours_has in ((0.25, 0.75), (1.0, 0.0), (None, 1.0)):  # None: the mean of all batches
        model: Any = from_torch_module(T.Sequential(T.BatchNorm1d(3, momentum=given)))
        assert model[0].momentum == ours_has


@pytest.mark.parametrize("kind", ["LSTM", "GRU", "RNN"])
@pytest.mark.parametrize("options", [{}, {"num_layers": 3, "dropout": 0.2}, {"bias": False}, {"batch_first": True},
                                     {"num_layers": 2, "bidirectional": True, "dropout": 0.1}])
def test_recurrent_layers(kind: str, options: dict[str, Any]) -> None:
    theirs = getattr(T, kind)(3, 5, **options).eval()
    x = np.random.default_rng(0).normal(size=(4, 6, 3)).astype("float32")
    first = x if theirs.batch_first else x.transpose(1, 0, 2)
    with torch.no_grad():
        expected = theirs(torch.tensor(np.ascontiguousarray(first)))[0].numpy()
    ours = from_torch_module(theirs, input_shape=(6, 3))
    assert_close(tn.predict(ours, x), expected if theirs.batch_first else expected.transpose(1, 0, 2))
    assert [type(layer).__name__ for layer in ours].count("Dropout") == (
        options.get("num_layers", 1) - 1)


MODELS: list[tuple[str, list[nn.Module], tuple[int, ...]]] = [
    ("same padding with a stride", [nn.Conv2D(2, 4, 3, stride=2, padding="same"), nn.MaxPool2D(2, 2, "same"),
                                    nn.AvgPool2D(2, 2, "same"), nn.Flatten()], (10, 7, 2)),
    ("same padding of sequences", [nn.Conv1D(3, 4, 3, stride=2, padding="same"), nn.MaxPool1D(2, 2, "same"),
                                   nn.Flatten()], (10, 3)),
    ("average pools", [nn.AvgPool2D(3, 2, "same"), nn.AvgPool2D(2), nn.Flatten()], (8, 8, 3)),
    ("causal", [nn.Conv1D(3, 4, 3, padding="causal", dilation=2), nn.ReLU(), nn.Dense(4, 2), nn.Flatten()], (8, 3)),
    ("LSTM and Conv1D", [nn.LSTM(3, 4), nn.Conv1D(4, 5, 3), nn.LSTM(5, 2, go_backwards=True), nn.Flatten()], (8, 3)),
    ("last step", [nn.LSTM(3, 4, return_sequences=False), nn.BatchNorm(4), nn.Dense(4, 2), nn.Softmax()], (8, 3)),
    ("BatchNorm behind an LSTM", [nn.LSTM(3, 4), nn.BatchNorm(4), nn.GlobalAveragePool()], (8, 3)),
    ("BatchNorm axis 1", [nn.LSTM(3, 4), nn.BatchNorm(8, axis=1), nn.Flatten()], (8, 3)),
    ("softmax over rows", [nn.Conv2D(1, 2, 3), nn.Softmax(axis=1), nn.Flatten()], (6, 5, 1)),
    ("softmax over columns", [nn.Conv2D(1, 2, 3), nn.Softmax(axis=2), nn.Flatten()], (6, 5, 1)),
    ("both directions", [nn.Bidirectional(nn.LSTM(3, 4)), nn.Bidirectional(nn.LSTM(8, 3), "mul"),
                         nn.Bidirectional(nn.LSTM(3, 2, return_sequences=False), "ave")], (8, 3)),
    ("both directions, last", [nn.Conv1D(3, 4, 2), nn.Bidirectional(nn.LSTM(4, 3, return_sequences=False)),
                               nn.Dense(6, 2)], (8, 3)),
    ("branches", [nn.Conv2D(2, 4, 3, padding="same"), nn.Residual(nn.Sequential(nn.Conv2D(4, 4, 3, padding="same"),
                                                                               nn.ReLU())),
                  nn.Parallel([nn.Conv2D(4, 3, 1), nn.Sequential(nn.ReLU(), nn.Conv2D(4, 2, 1))]), nn.MaxPool2D(2),
                  nn.Parallel([nn.Flatten(), nn.Sequential(nn.Tanh(), nn.Flatten())], "ave")], (6, 5, 2)),
    ("each step", [nn.TimeDistributed(nn.Sequential(nn.Conv2D(1, 3, 2), nn.GlobalAveragePool())), nn.LSTM(3, 2),
                   nn.Residual(nn.Residual(nn.Dense(2, 2))), nn.Flatten()], (4, 5, 5, 1)),
    ("GRU", [nn.GRU(3, 4), nn.GRU(4, 3, go_backwards=True), nn.Bidirectional(nn.GRU(3, 2, bias=False)),
             nn.LSTM(4, 2, bias=False), nn.GRU(2, 2, return_sequences=False)], (8, 3)),
    ("SimpleRNN", [nn.SimpleRNN(3, 4, go_backwards=True), nn.Bidirectional(nn.SimpleRNN(4, 2))], (8, 3)),
    ("groups", [nn.Conv2D(4, 6, 3, groups=2, padding="same"), nn.Conv2D(6, 6, 3, groups=6, stride=2),
                nn.Flatten()], (8, 9, 4)),
    ("maxima", [nn.Conv1D(3, 4, 2), nn.GlobalMaxPool()], (8, 3)),
    ("sequences behind a pool", [nn.Conv1D(3, 4, 2), nn.GlobalAveragePool(), nn.Reshape((2, 2)),
                                 nn.LSTM(2, 3, return_sequences=False)], (8, 3)),
    ("rectifiers", [nn.Conv1D(3, 4, 2), nn.LeakyReLU(0.3), nn.GELU(), nn.Dense(4, 3), nn.ELU(0.5), nn.SiLU()], (8, 3)),
    ("reshape", [nn.Conv2D(1, 2, 3), nn.Reshape((3, -1)), nn.LSTM(8, 3, return_sequences=False)], (5, 6, 1)),
]


@pytest.mark.parametrize(("layers", "shape"), [one[1:] for one in MODELS], ids=[one[0] for one in MODELS])
def test_to_pytorch(layers: list[nn.Module], shape: tuple[int, ...]) -> None:
    compare(trained(nn.Sequential(*layers, input_shape=shape)))


@pytest.mark.parametrize("name", ["lstm_cnn", "cnn_lstm", "cnn", "deep_lstm_cnn", "idc_lstm_cnn"])
def test_models_of_the_paper(name: str) -> None:
    model = trained(getattr(tn.models, name)())
    theirs = compare(model)
    assert sum(one.numel() for one in theirs.parameters()) >= sum(one.size for one in model.parameters())


def compare(model: Any) -> Any:
    theirs = to_torch_module(model)
    x = np.random.default_rng(0).normal(size=(3, *model.input_shape)).astype("float32")
    channels_first = x.ndim == 4 or isinstance(model[0], nn.Conv1D)  # not of sequences of images
    assert_close(theirs_of(theirs, np.ascontiguousarray(np.moveaxis(x, -1, 1)) if channels_first else x),
                 tn.predict(model, x))
    assert all(one.requires_grad for one in theirs.parameters()), "it can be trained on"
    return theirs


@pytest.mark.parametrize("decides", [nn.Conv1D(3, 4, 2), nn.MaxPool1D(2), nn.LSTM(3, 4), nn.Dense(3, 4)])
@pytest.mark.parametrize("layer", [nn.ReLU(), nn.LeakyReLU(), nn.ELU(), nn.GELU(), nn.SiLU(), nn.Sigmoid(), nn.Tanh(),
                                   nn.Softmax(), nn.Dropout(0.5), nn.BatchNorm(3)])
def test_the_order_of_axes_is_that_of_the_first_layer_that_has_one(layer: nn.Module, decides: nn.Module) -> None:
    model = trained(nn.Sequential(layer, decides, nn.GlobalAveragePool(), input_shape=(8, 3)))
    x = np.random.default_rng(0).normal(size=(2, 8, 3)).astype("float32")
    channels_first = isinstance(decides, nn.Conv1D | nn.MaxPool1D)
    assert_close(theirs_of(to_torch_module(model), np.ascontiguousarray(last(x)) if channels_first else x),
                 tn.predict(model, x))


@pytest.mark.parametrize("layer", [nn.LSTM(3, 4, return_state=True),
                                   nn.Bidirectional(nn.LSTM(3, 4, return_state=True), "sum"),
                                   nn.GRU(3, 4, return_state=True),
                                   nn.Bidirectional(nn.GRU(3, 4, return_state=True), "sum")])
def test_states(layer: nn.Module) -> None:
    model: Any = nn.Sequential(layer, input_shape=(5, 3))
    x = np.random.default_rng(0).normal(size=(2, 5, 3)).astype("float32")
    for mine, their in zip(model(tn.Tensor(x)), to_torch_module(model)(torch.tensor(x)), strict=True):
        np.testing.assert_allclose(their.detach().numpy(), mine.numpy(), atol=1e-5)


def test_a_model_can_be_saved_and_trained_on(tmp_path: Any) -> None:
    theirs = varied(IMAGES[0][1]())
    model = from_torch_module(theirs, input_shape=(8, 9, 3))
    tn.save(tmp_path / "model", model)
    x = np.random.default_rng(0).normal(size=(4, 8, 9, 3)).astype("float32")
    np.testing.assert_array_equal(tn.predict(tn.load(tmp_path / "model"), x), tn.predict(model, x))
    before = model.state_dict()["0.W"]
    tn.fit(model, tn.optim.Adam(model.parameters()), tn.data.Loader(x, np.arange(4), batch_size=2), epochs=1)
    assert np.abs(model.state_dict()["0.W"] - before).max() > 0


@pytest.mark.parametrize(("make", "message"), [
    (lambda: T.Sequential(T.GELU(approximate="tanh")), "layer 0 must be a layer with approximate=none"),
    (lambda: T.Sequential(T.Conv2d(2, 4, 3, padding=1, padding_mode="reflect")), "with padding_mode=zeros"),
    (lambda: T.Sequential(T.ReLU(), T.Sequential(T.Mish())), "layer 1.0 must be one of Sequential"),
    (lambda: T.Sequential(T.AvgPool2d(2, padding=1)), "count_include_pad=False"),
    (lambda: T.Sequential(T.MaxPool2d(2, ceil_mode=True)), "ceil_mode=False"),
    (lambda: T.Sequential(T.MaxPool2d(2, dilation=2)), "dilation"),
    (lambda: T.Sequential(T.AvgPool2d(2, divisor_override=3)), "divisor_override=None"),
    (lambda: T.Sequential(T.BatchNorm2d(2, track_running_stats=False)), "track_running_stats=True"),
    (lambda: T.Sequential(T.AdaptiveAvgPool2d(2)), "output_size=1"),
    (lambda: T.Sequential(T.AdaptiveAvgPool2d(1)), "must be followed by a Flatten"),
    (lambda: T.Sequential(T.AdaptiveAvgPool2d(1), T.ReLU()), "layer 1 must be a Flatten"),
    (lambda: T.Sequential(T.Conv2d(2, 4, 3), T.Linear(3, 2)), "behind a Flatten"),
    (lambda: T.Sequential(T.Flatten(), T.Linear(3, 2)), "input_shape be given"),
    (lambda: T.Sequential(T.Conv2d(2, 4, 3), T.Flatten(), T.Linear(9, 2)), "a Linear of a multiple of 4"),
    (lambda: T.Sequential(T.Flatten(0)), "start_dim=1"),
    (lambda: T.Sequential(T.Flatten(1, 2)), "end_dim=-1"),
    (lambda: T.Sequential(T.Conv2d(2, 4, 3), T.Softmax(dim=2)), "a Softmax of the channels"),
    (lambda: T.Sequential(T.Conv1d(2, 4, 3), T.Softmax(dim=-1)), "a Softmax of the channels"),
    (lambda: T.Sequential(T.Conv1d(2, 4, 3), T.Linear(4, 2)), "behind a Flatten"),
    (lambda: T.Sequential(T.Conv1d(2, 4, 3), T.ReLU(), T.MaxPool1d(2), T.Linear(4, 2)), "behind a Flatten"),
    (lambda: T.Sequential(T.Conv2d(2, 4, 3), T.Linear(4, 2)), "behind a Flatten"),
    (lambda: T.RNN(3, 2, nonlinearity="relu"), "nonlinearity=tanh"),
    (lambda: T.Sequential(T.MaxPool1d(2, return_indices=True)), "return_indices=False"),
    (lambda: T.Sequential(T.BatchNorm1d(2, affine=False)), "affine=True"),
    (lambda: T.Sequential(T.LSTM(3, 2)), "the whole model"),
    (lambda: T.LSTM(3, 2, proj_size=1), "proj_size=0"),
])
def test_what_tinynet_lacks(make: Any, message: str) -> None:
    with pytest.raises(StateError, match=r"^from_torch_module: ") as caught:
        from_torch_module(make())
    assert message in str(caught.value)
    assert "tn.exchange.to_torch" not in str(caught.value)


@pytest.mark.parametrize(("model", "message"), [
    (nn.Sequential(nn.Dense(3, 2)), "with an input_shape"),
    (nn.Dense(3, 2), "must be a Sequential"),
    (nn.Sequential(nn.LSTM(3, 2, recurrent_dropout=0.5), input_shape=(4, 3)), "layer 0 must be an LSTM without"),
    (nn.Sequential(nn.BatchNorm(5, axis=2), input_shape=(4, 5, 3)), "a BatchNorm of the last or the first axis"),
    (nn.Sequential(nn.BatchNorm(3), input_shape=(2, 4, 5, 3)), "a BatchNorm of samples with at most three axes"),
])
def test_what_pytorch_lacks(model: Any, message: str) -> None:
    with pytest.raises(StateError, match=message):
        to_torch_module(trained(model) if model.input_shape else model)
