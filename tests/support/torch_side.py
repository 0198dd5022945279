"""What PyTorch computes in the cases of `comparison.py`: its own functions, between two changes of layout.

The leaves are arrays in our layout, channels last, so PyTorch's autograd gives their gradients in our layout, too.
"""

import math
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from tests.support.comparison import BATCHES, COLUMNS, ROWS, STEPS, Results, Run, as_tuple, weighting

Tensor = torch.Tensor


def channels_first(x: Tensor) -> Tensor:
    return x.movedim(-1, 1)


def channels_last(x: Tensor) -> Tensor:
    return x.movedim(1, -1)


def _recurrent(layer: Any, weights: Any, x: Tensor, states: Any, mask: Tensor | None) -> tuple[Tensor, Any]:
    """The outputs and last states of a recurrent layer; behind the end of a sequence, 0."""
    if mask is None:
        return torch.func.functional_call(layer, weights, (x, states))  # type: ignore[no-any-return]
    packed = torch.nn.utils.rnn.pack_padded_sequence(x, mask.sum(1), batch_first=True, enforce_sorted=False)
    y, last = torch.func.functional_call(layer, weights, (packed, states))
    return torch.nn.utils.rnn.pad_packed_sequence(y, batch_first=True, total_length=x.shape[1])[0], last


def gru(x: Tensor, W: Tensor, h0: Tensor, b: Tensor | None = None, b_h: Tensor | None = None,
        mask: Tensor | None = None) -> tuple[Tensor, ...]:
    """PyTorch has a matrix for x and one for h, transposed, with the gates in our order."""
    D, H = x.shape[2], W.shape[1] // 3
    weights = {"weight_hh_l0": W[:H].T, "weight_ih_l0": W[H:].T}
    if b is not None:
        weights |= {"bias_ih_l0": b, "bias_hh_l0": b_h}
    layer = torch.nn.GRU(D, H, bias=b is not None, batch_first=True, dtype=x.dtype)
    y, h = _recurrent(layer, weights, x, h0[None], mask)
    return y, h[0]


def lstm(x: Tensor, W: Tensor, b: Tensor, h0: Tensor | None = None, c0: Tensor | None = None,
         mask: Tensor | None = None) -> tuple[Tensor, ...]:
    """PyTorch has a matrix for x and one for h, transposed, gates in the order i, f, g, o, and two biases."""
    (N, _, D), H = x.shape, W.shape[1] // 4

    def reordered(columns: Tensor) -> Tensor:
        f, i, C, o = columns.split(H, dim=-1)
        return torch.cat([i, f, C, o], dim=-1)

    weights = {"weight_hh_l0": reordered(W[:H]).T, "weight_ih_l0": reordered(W[H:]).T,
               "bias_hh_l0": 0.25 * reordered(b), "bias_ih_l0": 0.75 * reordered(b)}
    zeros = torch.zeros((N, H), dtype=x.dtype)
    states = tuple((zeros if state is None else state)[None] for state in (h0, c0))
    layer = torch.nn.LSTM(D, H, batch_first=True, dtype=x.dtype)
    y, (h, c) = _recurrent(layer, weights, x, states, mask)
    return y, h[0], c[0]


def _pairs(value: Any, rank: int) -> tuple[Any, ...]:
    return tuple(value) if isinstance(value, tuple) else (value,) * rank


def _margins(sizes: Any, widths: Any, strides: Any, padding: str, dilations: Any) -> list[int]:
    """TensorFlow's "same", or "causal", for F.pad: (before, after) of the last axis first."""
    margins: list[int] = []
    for size, width, stride, dilation in zip(sizes, widths, strides, dilations, strict=True):
        span = (width - 1) * dilation
        total = span if padding == "causal" else max((math.ceil(size / stride) - 1) * stride + span + 1 - size, 0)
        before = span if padding == "causal" else total // 2
        margins = [before, total - before, *margins]
    return margins


def _convolution(x: Tensor, W: Tensor, b: Tensor | None = None, *, stride: Any = 1, padding: Any = "valid",
                 dilation: Any = 1) -> Tensor:
    x, W = channels_first(x), W.movedim((-1, -2), (0, 1))
    rank = x.ndim - 2
    stride, dilation = _pairs(stride, rank), _pairs(dilation, rank)
    if padding == "causal" or (padding == "same" and max(stride) > 1):  # for the rest PyTorch has the word
        x = F.pad(x, _margins(x.shape[2:], W.shape[2:], stride, padding, dilation))
        padding = "valid"
    convolve = F.conv1d if rank == 1 else F.conv2d
    return channels_last(convolve(x, W, b, stride=stride, padding=padding, dilation=dilation))


def _pooling(pool: Any, rank: int, x: Tensor, size: Any, stride: Any = None, padding: Any = "valid") -> Tensor:
    x, is_max = channels_first(x), pool in (F.max_pool1d, F.max_pool2d)
    size = _pairs(size, rank)
    stride = size if stride is None else _pairs(stride, rank)
    if padding == "same":
        margins = _margins(x.shape[2:], size, stride, padding, (1,) * rank)
        if is_max:
            return channels_last(pool(F.pad(x, margins, value=-math.inf), size, stride))
        counted = pool(F.pad(torch.ones_like(x), margins), size, stride)
        return channels_last(pool(F.pad(x, margins), size, stride) / counted)
    options = {} if is_max else {"count_include_pad": False}
    return channels_last(pool(x, size, stride, 0 if padding == "valid" else padding, **options))


def batch_norm(x: Tensor, gamma: Tensor, beta: Tensor, mean: Tensor | None = None, var: Tensor | None = None, *,
               axis: int, eps: float) -> tuple[Tensor, ...]:
    first = x.movedim(axis, 1)
    y = F.batch_norm(first, mean, var, gamma, beta, training=mean is None, eps=eps)
    if mean is None or var is None:
        others = [i for i in range(x.ndim) if i != 1]
        mean, var = first.mean(others), first.var(others, unbiased=False)
    return y.movedim(1, axis), mean, var


def cross_entropy(logits: Tensor, labels: Tensor, weight: Tensor | None = None, **options: Any) -> Tensor:
    labels = channels_first(labels) if labels.is_floating_point() else labels
    return F.cross_entropy(channels_first(logits), labels, weight, **options)


def binary_cross_entropy(logits: Tensor, targets: Tensor, pos_weight: Tensor | None = None, **options: Any) -> Tensor:
    return F.binary_cross_entropy_with_logits(logits, targets, pos_weight=pos_weight, **options)


FUNCTIONS: dict[str, Any] = {
    "gru": gru, "getitem": lambda x, index: F.embedding(torch.tensor(index), x), "erf": lambda x: torch.erf(x),
    "layer_norm": lambda x, gamma, beta, eps=1e-5: F.layer_norm(x, x.shape[-1:], gamma, beta, eps),
    "logsumexp": lambda x, axis, keepdims=False: torch.logsumexp(x, axis, keepdims),
    "take_along_axis": lambda x, indices, axis: torch.gather(x, axis, indices),
    "float_power": lambda x, exponent: torch.pow(x, exponent),
    "lstm": lstm, "conv1d": _convolution, "conv2d": _convolution, "batch_norm": batch_norm,
    "max_pool1d": lambda x, **options: _pooling(F.max_pool1d, 1, x, **options),
    "max_pool2d": lambda x, **options: _pooling(F.max_pool2d, 2, x, **options),
    "avg_pool1d": lambda x, **options: _pooling(F.avg_pool1d, 1, x, **options),
    "avg_pool2d": lambda x, **options: _pooling(F.avg_pool2d, 2, x, **options),
    "cross_entropy": cross_entropy, "binary_cross_entropy": binary_cross_entropy,
    "mae": lambda prediction, target, **options: F.l1_loss(prediction, target, **options),
    "huber": lambda prediction, target, **options: F.huber_loss(prediction, target, **options),
    "mse": lambda prediction, target, **options: F.mse_loss(prediction, target, **options),
    "softmax": lambda x, axis=-1: F.softmax(x, axis), "log_softmax": lambda x, axis=-1: F.log_softmax(x, axis),
    "sigmoid": lambda x: torch.sigmoid(x), "tanh": lambda x: torch.tanh(x), "relu": lambda x: torch.relu(x),
    "dense": lambda x, W, b=None: F.linear(x, W.T, b),
}


def theirs(op: str, inputs: Results, options: dict[str, Any], constant: tuple[str, ...] = ()) -> Results:
    """The outputs of an op and the gradients of its inputs, by PyTorch."""
    tensors = {name: torch.tensor(array, requires_grad=array.dtype.kind == "f" and name not in constant)
               for name, array in inputs.items()}
    outputs = as_tuple(FUNCTIONS[op](**tensors, **options))
    weights = [torch.from_numpy(np.asarray(weighting(i, tuple(y.shape)))).to(y.dtype) for i, y in enumerate(outputs)]
    sum((output * weight).sum() for output, weight in zip(outputs, weights, strict=True)).backward()
    results = {f"output {i}": output.detach().numpy() for i, output in enumerate(outputs)}
    return results | _gradients(tensors)


def _gradients(tensors: dict[str, Tensor]) -> Results:
    return {f"gradient {name}": tensor.grad.numpy() for name, tensor in tensors.items() if tensor.grad is not None}


class LSTMCNN:
    """The model of `comparison.lstm_cnn`, with the parameters of a dictionary."""

    def __init__(self, begin: Results) -> None:
        self.parameters = {name: torch.tensor(array, requires_grad=True)
                           for name, array in begin.items() if name not in ("images", "labels")}
        self.running_mean, self.running_var = (torch.full((1,), value, dtype=torch.float64) for value in (0.0, 1.0))

    def loss(self, images: Any, labels: Any) -> Tensor:
        p, x = self.parameters, torch.tensor(images)
        x = F.batch_norm(channels_first(x), self.running_mean, self.running_var, p["0.gamma"], p["0.beta"],
                         training=True, momentum=0.1)
        x = lstm(x.reshape(-1, ROWS, COLUMNS), p["2.W"], p["2.b"])[0]
        x = F.relu(_convolution(x, p["4.W"], p["4.b"]))
        return F.cross_entropy(F.linear(x.flatten(1), p["8.W"].T, p["8.b"]), torch.tensor(labels))


def their_gradients(begin: Results) -> Results:
    model = LSTMCNN(begin)
    loss = model.loss(begin["images"][0], begin["labels"][0])
    loss.backward()
    return {"loss": loss.detach().numpy(), **_gradients(model.parameters)}


def clip(parameters: list[Tensor], max_norm: float) -> float:
    """PyTorch's clip_grad_norm_, without the 1e-6 that it adds to the norm."""
    gradients = [parameter.grad for parameter in parameters]
    norm = torch.nn.utils.get_total_norm(gradients)
    for gradient in gradients:
        gradient.mul_(min(1.0, max_norm / float(norm)))
    return float(norm)


def their_run(run: Run, begin: Results) -> Results:
    model = LSTMCNN(begin)
    parameters = list(model.parameters.values())
    optimizer = getattr(torch.optim, run.optimizer)(parameters, **run.options)
    schedule = run.their_schedule and getattr(torch.optim.lr_scheduler, run.their_schedule[0])(
        optimizer, **run.their_schedule[1])
    losses, rates, norms = [], [], []
    for step in range(STEPS):
        loss = model.loss(begin["images"][step % BATCHES], begin["labels"][step % BATCHES])
        optimizer.zero_grad()
        loss.backward()
        if run.max_norm is not None:
            norms.append(clip(parameters, run.max_norm))
        rates.append(optimizer.param_groups[0]["lr"])
        optimizer.step()
        losses.append(loss.item())
        if schedule:
            schedule.step()
    elements = begin["images"][0].size  # of a channel in a batch
    return {"losses": np.array(losses), "rates": np.array(rates), "norms": np.array(norms),
            **{name: parameter.detach().numpy() for name, parameter in model.parameters.items()},
            "0.running_mean": model.running_mean.numpy(),
            "0.running_var": of_population(model.running_var.numpy(), elements, STEPS)}


def of_population(running_var: Any, elements: int, batches: int, momentum: float = 0.9) -> Any:
    """A running variance as tinynet keeps it. PyTorch normalises by that of a population (divided by R) and yet
    averages that of a sample (divided by R - 1); the share of the initial 1 is the same."""
    initial = momentum**batches
    return initial + (running_var - initial) * (elements - 1) / elements
