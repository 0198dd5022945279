"""Models for the tests of the export: one for each layer and option, and modules that a user may write."""

from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np

import tinynet as tn
from tinynet import nn, ops
from tinynet.tensor import Tensor


class Case(NamedTuple):
    """A model, made by a function, and the shape of one sample."""

    name: str
    make: Callable[[], nn.Module]
    shape: tuple[int, ...]


def trained(model: nn.Module, shape: tuple[int, ...] = (), seed: int = 0) -> Any:
    """A model with biases and running averages that are not trivial."""
    rng = np.random.default_rng(seed)
    for name, tensor in model.tensors().items():
        if name.rpartition(".")[2] in ("b", "beta", "running_mean"):
            tensor.data[...] = rng.normal(size=tensor.shape) * 0.3
        elif name.rpartition(".")[2] in ("gamma", "running_var"):
            tensor.data[...] = rng.uniform(0.5, 2, tensor.shape)
    for _, module in model.modules():
        if isinstance(module, nn.BatchNorm):
            module.batches_seen = 10
    model.input_shape = shape or model.input_shape
    return model


class Own(nn.Module):
    """A module whose forward is a function of the module and x."""

    def __init__(self, function: Callable[[Any, Tensor], Any], **members: Any) -> None:
        self.function = function
        vars(self).update(members)

    def forward(self, x: Tensor) -> Any:
        return self.function(self, x)


def sequential(*layers: nn.Module) -> Callable[[], nn.Module]:
    return lambda: nn.Sequential(*layers)


def layer_cases() -> Iterator[Case]:
    """Every layer with every option."""
    for padding in ("valid", "same", "causal", 2):
        for stride, dilation in ((1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2)):
            yield Case(f"Conv1D {padding} {stride} {dilation}", lambda padding=padding, stride=stride,  # type: ignore
                       dilation=dilation: nn.Conv1D(3, 5, 3, stride=stride, padding=padding, dilation=dilation),
                       (11, 3))
    for padding2 in ("valid", "same", 1, ("same", "valid")):
        for stride2, dilation2 in ((1, 1), (2, 1), ((1, 3), 1), (1, 2), ((2, 1), (1, 2)), (3, (2, 1))):
            yield Case(f"Conv2D {padding2} {stride2} {dilation2}", lambda padding=padding2,  # type: ignore[misc]
                       stride=stride2, dilation=dilation2: nn.Conv2D(2, 4, (3, 2), stride=stride, padding=padding,
                                                                     dilation=dilation), (9, 8, 2))
    for layer in (nn.MaxPool1D, nn.AvgPool1D):
        for options in ((2,), (3, 1), (3, 2, "same"), (2, 1, 1)):
            yield Case(f"{layer.__name__} {options}",
                       lambda layer=layer, options=options: layer(*options), (9, 3))  # type: ignore[misc]
    for layer in (nn.MaxPool2D, nn.AvgPool2D):
        for options in ((2,), ((3, 2), 1), (3, 2, "same"), ((2, 3), (1, 2), (1, "valid"))):
            yield Case(f"{layer.__name__} {options}",
                       lambda layer=layer, options=options: layer(*options), (7, 8, 3))  # type: ignore[misc]
    for name, layers, shape in LAYERS:
        yield Case(name, sequential(*layers), shape)


class Symbols(nn.Module):
    """Turns floats into symbols."""

    def forward(self, x: Tensor) -> Tensor:
        return (ops.clip(x, -1.0, 1.0) + 1.0).astype("int64")


LAYERS: list[tuple[str, list[nn.Module], tuple[int, ...]]] = [
    ("LSTM", [nn.LSTM(3, 4)], (6, 3)),
    ("LSTM last", [nn.LSTM(3, 4, return_sequences=False)], (6, 3)),
    ("LSTM backwards", [nn.LSTM(3, 4, go_backwards=True)], (6, 3)),
    ("LSTM backwards last", [nn.LSTM(3, 4, go_backwards=True, return_sequences=False)], (6, 3)),
    ("LSTM state", [nn.LSTM(3, 4, return_state=True)], (6, 3)),
    ("LSTM state last", [nn.LSTM(3, 4, return_state=True, return_sequences=False)], (6, 3)),
    ("LSTM one step", [nn.LSTM(3, 4)], (1, 3)),
    ("LSTM one feature", [nn.LSTM(1, 1)], (5, 1)),
    ("LSTM dropouts, stacked", [nn.LSTM(3, 4, dropout=0.5, recurrent_dropout=0.5), nn.Dropout(0.5), nn.LSTM(4, 2)],
     (6, 3)),
    ("LSTM Conv1D LSTM", [nn.LSTM(3, 4), nn.Conv1D(4, 6, 3, padding="causal"), nn.ReLU(), nn.LSTM(6, 2)], (6, 3)),
    ("BatchNorm first", [nn.BatchNorm(3)], (5, 4, 3)),
    ("BatchNorm behind Conv2D", [nn.Conv2D(2, 4, 3, bias=False), nn.BatchNorm(4, eps=0.1), nn.ReLU()], (7, 6, 2)),
    ("BatchNorm behind Conv1D", [nn.Conv1D(2, 4, 3, bias=False), nn.BatchNorm(4), nn.ReLU()], (7, 2)),
    ("BatchNorm behind LSTM", [nn.LSTM(3, 4), nn.BatchNorm(4)], (6, 3)),
    ("BatchNorm axis 1", [nn.BatchNorm(3, axis=1)], (3, 4, 5)),
    ("BatchNorm axis 1 behind Conv1D", [nn.Conv1D(2, 4, 3), nn.BatchNorm(5, axis=1, eps=0.1), nn.ReLU()], (7, 2)),
    ("BatchNorm of features", [nn.Dense(3, 4), nn.BatchNorm(4)], (3,)),
    ("Dense", [nn.Dense(5, 3)], (5,)),
    ("Dense on sequences", [nn.LSTM(3, 4), nn.Dense(4, 2)], (6, 3)),
    ("Dense behind Conv1D", [nn.Conv1D(3, 4, 2), nn.Dense(4, 2)], (6, 3)),
    ("Flatten behind Conv2D", [nn.Conv2D(2, 4, 3), nn.Flatten(), nn.Dense(4 * 4 * 5, 3)], (6, 7, 2)),
    ("Flatten behind one channel", [nn.Conv2D(2, 1, 3), nn.Flatten()], (6, 7, 2)),
    ("Reshape", [nn.Reshape((2, -1)), nn.LSTM(12, 3)], (4, 3, 2)),
    ("GlobalAveragePool", [nn.Conv2D(2, 4, 3), nn.GlobalAveragePool()], (6, 7, 2)),
    ("GlobalAveragePool behind LSTM", [nn.LSTM(3, 4), nn.GlobalAveragePool()], (6, 3)),
    ("GlobalMaxPool", [nn.Conv1D(2, 4, 3), nn.GlobalMaxPool()], (6, 2)),
    ("Residual", [nn.Residual(nn.Sequential(nn.Conv1D(3, 3, 3, padding="same"), nn.ReLU())), nn.LSTM(3, 2)], (6, 3)),
    ("Bidirectional", [nn.Bidirectional(nn.LSTM(3, 4)), nn.Bidirectional(nn.LSTM(8, 2), "ave")], (6, 3)),
    ("Bidirectional last", [nn.Bidirectional(nn.LSTM(3, 4, return_sequences=False))], (6, 3)),
    ("GRU", [nn.GRU(3, 4), nn.GRU(4, 2, go_backwards=True, bias=False)], (6, 3)),
    ("LayerNorm", [nn.LayerNorm(3), nn.Conv1D(3, 4, 2), nn.LayerNorm(4, eps=0.1)], (6, 3)),
    ("groups", [nn.Conv2D(4, 6, 3, groups=2, padding="same"), nn.Conv2D(6, 6, 3, groups=6, stride=2),
                nn.Reshape((-1, 6)), nn.Conv1D(6, 4, 2, groups=2, dilation=2)], (9, 8, 4)),
    ("SimpleRNN", [nn.SimpleRNN(3, 4, return_state=True)], (6, 3)),
    ("SimpleRNN Bidirectional", [nn.Bidirectional(nn.SimpleRNN(3, 4)), nn.SimpleRNN(8, 2, bias=False)], (6, 3)),
    ("GRU state", [nn.GRU(3, 4, return_state=True)], (6, 3)),
    ("LSTM no bias", [nn.LSTM(3, 4, bias=False)], (6, 3)),
    ("TimeDistributed", [nn.TimeDistributed(nn.Sequential(nn.Conv1D(3, 4, 2), nn.GlobalMaxPool()))], (5, 4, 3)),
    ("Embedding", [Symbols(), nn.Embedding(5, 3, padding_index=0), nn.LSTM(3, 2)], (6,)),
    ("Parallel", [nn.Parallel([nn.LSTM(3, 4), nn.Conv1D(3, 4, 3, padding="same")])], (6, 3)),
    ("Parallel ave", [nn.Parallel([nn.LSTM(3, 4), nn.Dense(3, 4)], "ave"), nn.Flatten()], (6, 3)),
    ("Parallel mul", [nn.Parallel([nn.Sigmoid(), nn.Tanh(), nn.ReLU()], "mul")], (3,)),
    ("Parallel convolutions", [nn.Parallel([nn.Conv1D(3, 4, 2), nn.Conv1D(3, 2, 2)])], (6, 3)),
    ("activations", [nn.Sigmoid(), nn.Tanh(), nn.ReLU()], (3, 4)),
    ("rectifiers", [nn.Dense(4, 4), nn.LeakyReLU(0.3), nn.ELU(0.7), nn.Dense(4, 5), nn.GELU(), nn.SiLU()], (3, 4)),
    ("Softmax", [nn.Softmax()], (5,)),
    ("Softmax axis 1 behind Conv1D", [nn.Conv1D(3, 4, 2), nn.Softmax(axis=1)], (6, 3)),
    ("nested", [nn.Sequential(nn.Dense(4, 3), nn.Sequential(nn.Tanh())), nn.Sequential()], (2, 4)),
    ("LSTM of one channel", [nn.Conv2D(1, 1, 3, padding="same"), nn.Reshape((4, 5)), nn.LSTM(5, 2)], (4, 5, 1)),
    ("pools behind pools", [nn.MaxPool2D(2), nn.AvgPool2D(2), nn.Flatten()], (8, 8, 3)),
]


def _residual(own: Any, x: Tensor) -> Tensor:
    """A residual, of tensors that are stored in different orders."""
    return own.conv(own.rnn(x)) + own.rnn(x)


def _compared(own: Any, x: Tensor) -> Tensor:
    """Each comparison with a number that many elements are equal to."""
    y = ops.clip(x, -0.5, 0.5)
    masks: Any = y < 0.5, y <= -0.5, y > -0.5, y >= 0.5, y == 0.5, y != -0.5
    return sum((ops.where(mask, 2.0**i, 0.0) for i, mask in enumerate(masks)), y)


def _from_states(own: Any, x: Tensor) -> Tensor:
    _, h, c = own.first(x)
    y, _, _ = own.second(x, h, c)
    return y


OWN = [
    Case("residual", lambda: Own(_residual, rnn=nn.LSTM(3, 4), conv=nn.Conv1D(4, 4, 3, padding="same")), (6, 3)),
    Case("states", lambda: Own(_from_states, first=nn.LSTM(3, 4, return_state=True),
                               second=nn.LSTM(3, 4, return_state=True)), (6, 3)),
    Case("h0 alone", lambda: Own(lambda own, x: own.rnn(x, own.dense(x[:, 0])), rnn=nn.LSTM(3, 4),
                                 dense=nn.Dense(3, 4)), (6, 3)),
    Case("c0 alone", lambda: Own(lambda own, x: own.rnn(x, None, own.dense(x[:, -1])), rnn=nn.LSTM(3, 4),
                                 dense=nn.Dense(3, 4)), (6, 3)),
    Case("tied weights", lambda: Own(lambda own, x: ops.dense(own.dense(x), own.dense.W.T), dense=nn.Dense(5, 2)),
         (5,)),
    Case("computed weights", lambda: Own(lambda own, x: ops.conv1d(x, own.conv.W / own.conv.W.std()),
                                         conv=nn.Conv1D(3, 4, 2)), (6, 3)),
    Case("steps as samples", lambda: Own(lambda own, x: own.dense(x.reshape(-1, 3)).reshape(x.shape[0], 6, 2),
                                         dense=nn.Dense(3, 2)), (6, 3)),
    Case("mask by a comparison", lambda: Own(lambda own, x: ops.where(x > 0.1, x, -2.0 * x)), (4, 3)),
    Case("all comparisons", lambda: Own(lambda own, x: sum(
        (ops.where(mask, 1.0, 2.0) for mask in (x < 0.0, x <= 0.1, x == x, x != x, x >= 0.2, x < 0.3)), x)), (4, 3)),
    Case("comparisons with the same number", lambda: Own(_compared), (4, 3)),
    Case("an index beside a float", lambda: Own(lambda own, x: ops.where(x.argmax(axis=1) < 0.5, x[:, 0], 0.0)),
         (4, 3)),
    Case("an index of all beside a float", lambda: Own(lambda own, x: ops.where(x.argmin() < 0.5, x, -x)), (4, 3)),
    Case("comparisons of comparisons", lambda: Own(lambda own, x: ops.where(
        (x[:, 0] > 0) == (x[:, 1] > 0), x[:, 2], x.detach()[:, 1])), (4, 3)),
    Case("comparisons of what is detached", lambda: Own(lambda own, x: x * (x.detach() > 0.5).astype("float32")), (4,)),
    Case("a condition of integers", lambda: Own(lambda own, x: ops.where(x.argmax(axis=1), x[:, 0], 0.0)), (4, 3)),
    Case("limits of 0", lambda: Own(lambda own, x: ops.clip(x, 0.0) - 2.0 * ops.clip(x, -1.0, 0.0)), (4, 3)),
    Case("two outputs", lambda: Own(lambda own, x: (x * 2, x.argmax(axis=1))), (4, 3)),
    Case("two masks", lambda: Own(lambda own, x: x * (x > 0).astype("float32")), (4,)),
    Case("std", lambda: Own(lambda own, x: (x - x.mean(axis=1, keepdims=True)) / x.std(axis=1, keepdims=True)), (9,)),
    Case("std of zeros", lambda: Own(lambda own, x: (x * 0).std(axis=1)), (9,)),
    Case("attention", lambda: Own(lambda own, x: ops.softmax(x @ x.transpose(0, 2, 1)) @ x), (5, 4)),
    Case("a filter of every order", lambda: Own(lambda own, x: x[:, ::-2, [0, 2, 2]] + x[:, :3, None, 1]), (6, 3)),
    Case("a table of indices and a new axis", lambda: Own(lambda own, x: x[:, [[0, 2], [1, 1]], None, 1:]), (4, 3)),
    Case("constants of the same bytes", lambda: Own(lambda own, x: (x.reshape(x.shape[0], 12) + own.row).reshape(
        x.shape[0], 4, 3) * (own.row.reshape(4, 3) + 1.0) + np.zeros(3, "float32") + ops.where(
            (x > 0).astype("int32") == Tensor(np.zeros(3, "int32")), 1.0, 0.0),
        row=nn.Parameter(np.arange(12, dtype="float32"))), (4, 3)),
    Case("reversed batch", lambda: Own(lambda own, x: x[::-1]), (3,)),
    Case("batch mean", lambda: Own(lambda own, x: x - x.mean(axis=0)), (3,)),
    Case("batch statistics", lambda: Own(lambda own, x: ops.batch_norm(x, own.norm.gamma, own.norm.beta),
                                         norm=nn.BatchNorm(3)), (4, 3)),
    Case("stack", lambda: Own(lambda own, x: ops.stack([x, x * x], axis=1)), (4, 3)),
    Case("table", lambda: Own(lambda own, x: own.W[x.argmax(axis=-1)], W=nn.Parameter(np.arange(12.0).reshape(4, 3)
                                                                                      .astype("float32"))), (5, 4)),
    Case("detached", lambda: Own(lambda own, x: Tensor(x.detach()) * 3), (4,)),
    Case("powers of tensors", lambda: Own(lambda own, x: (x * x + 1) ** own.p + 2 ** x,
                                          p=nn.Parameter([0.5, 1.0, 2.0])), (4, 3)),
    Case("sums of exponentials", lambda: Own(lambda own, x: ops.logsumexp(3 * x, axis=1) + ops.logsumexp(
        x, axis=(1, 2), keepdims=True)[:, 0] + ops.erf(2 * x)[:, 0]), (4, 3)),
    Case("choices", lambda: Own(lambda own, x: ops.take_along_axis(x.transpose(0, 2, 1), ops.expand_dims(
        x.argmax(axis=1), 2))[..., 0] + ops.one_hot(x.argmax(axis=2), 3).sum(axis=1)), (4, 3)),
    Case("argmax over the batch", lambda: Own(lambda own, x: x + x.argmax(axis=0).astype("float32")), (4, 3)),
    Case("a count", lambda: Own(lambda own, x: (x > 0).sum(axis=1)), (4, 3)),
    Case("argmin of all", lambda: Own(lambda own, x: x + x.argmin().astype("float32")), (3,)),
]


def class_names(count: int) -> tuple[str, ...]:
    return tuple(f"class {i}" for i in range(count))


def saved_classifier(path: Any, shape: tuple[int, int, int] = (8, 9, 3), classes: int = 3) -> nn.Module:
    """A small model of images with class names and a scaling, saved to a file."""
    tn.seed(0)
    rows, columns, channels = shape
    model: nn.Module = trained(nn.Sequential(
        nn.Conv2D(channels, 4, 3), nn.BatchNorm(4), nn.ReLU(), nn.MaxPool2D(2), nn.Flatten(),
        nn.Dense((rows - 2) // 2 * ((columns - 2) // 2) * 4, classes), input_shape=shape))
    model.classes = class_names(classes)
    model.scaling = nn.Scaling(mean=(10.0, 20.0, 30.0)[:channels], scale=50.0)
    tn.save(path, model)
    return model.eval()
