"""What every op should compute, written a second time: one element after another, with nothing shared with tinynet.

`REFERENCES[name]` takes the inputs and options of the op `name` and returns its outputs. `KINKS[name]` takes them and
the output's gradient, and returns the gradient of each input where the op has a kink or a tie: there, differences
measure nothing and a convention decides. All are slow, and meant to be read beside the equations.
"""

import itertools
import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

Array = np.ndarray
REFERENCES: dict[str, Callable[..., Any]] = {}
KINKS: dict[str, Callable[..., Any]] = {}


def reference(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        REFERENCES[name] = function
        return function
    return enter


def kink(name: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    def enter(function: Callable[..., Any]) -> Callable[..., Any]:
        KINKS[name] = function
        return function
    return enter


# --- arithmetic -----------------------------------------------------------------------------------------------------

def is_nan(value: float) -> bool:
    return value != value


def larger(a: float, b: float) -> float:
    return a if is_nan(a) or a > b else b


def smaller(a: float, b: float) -> float:
    return a if is_nan(a) or a < b else b


def logistic(z: float) -> float:
    return 1 / (1 + math.exp(-z))


def each(function: Callable[..., float], *arrays: Array) -> Array:
    """A function of numbers, at every place of arrays that broadcast."""
    places = np.broadcast(*arrays)
    return np.array([function(*map(float, values)) for values in places]).reshape(places.shape)


SCALARS: dict[str, Callable[..., float]] = {
    "add": lambda a, b: a + b,
    "subtract": lambda a, b: a - b,
    "multiply": lambda a, b: a * b,
    "divide": lambda a, b: a / b,
    "maximum": larger,
    "minimum": smaller,
    "negative": lambda x: -x,
    "exp": math.exp,
    "expm1": math.expm1,
    "log1p": math.log1p,
    "erf": math.erf,
    "float_power": math.pow,
    "sign": lambda x: x if is_nan(x) else float((x > 0) - (x < 0)),
    "log": math.log,
    "sqrt": math.sqrt,
    "absolute": abs,
    "relu": lambda x: larger(x, 0.0),
    "sigmoid": logistic,
    "tanh": math.tanh,
    "gelu": lambda x: x * math.erfc(-x / math.sqrt(2)) / 2,
    "silu": lambda x: x * logistic(x),
}
for _name, _function in SCALARS.items():
    REFERENCES[_name] = lambda *arrays, _function=_function: each(_function, *arrays)


@reference("leaky_relu")
def leaky_relu(x: Array, negative_slope: float = 0.01) -> Array:
    return each(lambda value: value if value > 0 else negative_slope * value, x)


@reference("elu")
def elu(x: Array, alpha: float = 1.0) -> Array:
    return each(lambda value: value if value > 0 else alpha * (math.exp(value) - 1), x)


@reference("where")
def where(condition: Array, a: Array, b: Array) -> Array:
    places = np.broadcast(condition, a, b)
    return np.array([x if yes else y for yes, x, y in places]).reshape(places.shape)


@reference("power")
def power(x: Array, exponent: float) -> Array:
    return each(lambda value: math.pow(value, exponent), x)


@reference("clip")
def clip(x: Array, low: float | None, high: float | None = None) -> Array:
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    return each(lambda value: smaller(larger(value, low), high), x)


@reference("astype")
def astype(x: Array, dtype: Any) -> Array:
    return np.array([np.dtype(dtype).type(value) for value in x.flat]).reshape(x.shape)


# --- shapes ---------------------------------------------------------------------------------------------------------

@reference("reshape")
def reshape(x: Array, shape: tuple[int, ...]) -> Array:
    rest = math.prod(size for size in shape if size != -1)
    sizes = [x.size // rest if size == -1 else size for size in shape]
    y = np.empty(sizes)
    for place, value in zip(np.ndindex(*sizes), x.flat, strict=True):
        y[place] = value
    return y


@reference("transpose")
def transpose(x: Array, axes: tuple[int, ...]) -> Array:
    axes = tuple(axis % x.ndim for axis in axes)
    y = np.empty([x.shape[axis] for axis in axes])
    for place in np.ndindex(*x.shape):
        y[tuple(place[axis] for axis in axes)] = x[place]
    return y


@reference("getitem")
def getitem(x: Array, index: Any) -> Array:
    numbers = np.array(range(x.size)).reshape(x.shape)[index]  # where each element comes from
    return np.array([x.flat[number] for number in numbers.flat]).reshape(numbers.shape)


@reference("take_along_axis")
def take_along_axis(x: Array, indices: Array, *, axis: int = -1) -> Array:
    axis %= x.ndim
    y = np.empty([i if place == axis else max(n, i) for place, (n, i) in enumerate(zip(x.shape, indices.shape,
                                                                                       strict=True))])
    for place in np.ndindex(*y.shape):
        there = list(place)
        there[axis] = indices[tuple(min(i, n - 1) for i, n in zip(place, indices.shape, strict=True))]
        y[place] = x[tuple(i if j == axis else min(i, x.shape[j] - 1) for j, i in enumerate(there))]
    return y


@reference("concatenate")
def concatenate(*xs: Array, axis: int = 0) -> Array:
    axis %= xs[0].ndim
    sizes = list(xs[0].shape)
    sizes[axis] = sum(x.shape[axis] for x in xs)
    y, start = np.empty(sizes), 0
    for x in xs:
        for place in np.ndindex(*x.shape):
            y[(*place[:axis], place[axis] + start, *place[axis + 1 :])] = x[place]
        start += x.shape[axis]
    return y


@reference("pad")
def pad(x: Array, width: Any, *, value: float = 0.0) -> Array:
    widths = np.broadcast_to(np.array(width), (x.ndim, 2)).tolist()  # number, pair, or a pair for each axis
    y = np.full([before + size + after for size, (before, after) in zip(x.shape, widths, strict=True)], value)
    for place in np.ndindex(*x.shape):
        y[tuple(i + before for i, (before, _) in zip(place, widths, strict=True))] = x[place]
    return y


# --- reductions -----------------------------------------------------------------------------------------------------

def groups(shape: tuple[int, ...], axis: Any, keepdims: bool) -> tuple[tuple[int, ...], list[list[tuple[int, ...]]]]:
    """The shape of a reduction, and for each of its elements the places in x that it is made of, in order."""
    axes = range(len(shape)) if axis is None else axis if isinstance(axis, tuple) else (axis,)
    reduced = {one % len(shape) for one in axes}
    out = tuple(1 if i in reduced else size for i, size in enumerate(shape))
    members: dict[tuple[int, ...], list[tuple[int, ...]]] = {place: [] for place in np.ndindex(*out)}
    for place in np.ndindex(*shape):
        members[tuple(0 if i in reduced else k for i, k in enumerate(place))].append(place)
    return out if keepdims else tuple(s for i, s in enumerate(shape) if i not in reduced), list(members.values())


def largest(values: Sequence[float]) -> float:
    return math.nan if any(map(is_nan, values)) else sorted(values)[-1]


def mean(values: Sequence[float]) -> float:
    return math.fsum(values) / len(values)


def variance(values: Sequence[float]) -> float:
    return mean([(value - mean(values)) ** 2 for value in values])


REDUCTIONS: dict[str, Callable[[Sequence[float]], float]] = {
    "sum": math.fsum, "mean": mean, "var": variance,
    "max": largest, "min": lambda values: -largest([-value for value in values]),
    "logsumexp": lambda values: math.log(math.fsum(math.exp(value) for value in values)),
}


def reduce(function: Callable[[Sequence[float]], float], x: Array, axis: Any = None, keepdims: bool = False) -> Array:
    shape, members = groups(x.shape, axis, keepdims)
    return np.array([function([float(x[place]) for place in places]) for places in members]).reshape(shape)


for _name, _function in REDUCTIONS.items():
    REFERENCES[_name] = lambda x, _function=_function, **options: reduce(_function, x, **options)


# --- products -------------------------------------------------------------------------------------------------------

@reference("matmul")
def matmul(a: Array, b: Array) -> Array:
    stack = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    (M, K), P = a.shape[-2:], b.shape[-1]
    a, b = np.broadcast_to(a, (*stack, M, K)), np.broadcast_to(b, (*stack, K, P))
    y = np.empty((*stack, M, P))
    for *s, i, j in np.ndindex(*y.shape):
        y[(*s, i, j)] = math.fsum(a[(*s, i, k)] * b[(*s, k, j)] for k in range(K))
    return y


@reference("dense")
def dense(x: Array, W: Array, b: Array | None = None) -> Array:
    D, F = W.shape
    y = np.empty((*x.shape[:-1], F))
    for *place, f in np.ndindex(*y.shape):
        y[(*place, f)] = math.fsum(x[(*place, d)] * W[d, f] for d in range(D)) + (0.0 if b is None else b[f])
    return y


# --- windows --------------------------------------------------------------------------------------------------------

def pair(value: Any) -> tuple[Any, Any]:
    return tuple(value) if isinstance(value, tuple | list) else (value, value)


def window_places(size: int, width: int, stride: int, padding: Any, dilation: int = 1) -> list[list[int]]:
    """For each output, where its window meets an axis of `size` elements. Places outside of [0, size) are padding.

    "same" pads as TensorFlow does: ceil(size / stride) outputs, and of the padding that they need half in front, the
    odd element at the end.
    """
    span = dilation * (width - 1) + 1
    if padding == "same":
        outputs = math.ceil(size / stride)
        front = max(0, (outputs - 1) * stride + span - size) // 2
    else:
        front, back = {"valid": (0, 0), "causal": (span - 1, 0)}.get(padding, (padding, padding))
        outputs = len(range(0, size + front + back - span + 1, stride))
    return [[t * stride + k * dilation - front for k in range(width)] for t in range(outputs)]


def windows2d(shape: tuple[int, ...], size: Any, stride: Any, padding: Any, dilation: Any = 1) -> list[list[list[int]]]:
    options = zip(pair(size), pair(stride), pair(padding), pair(dilation), strict=True)
    return [window_places(shape[axis], *values) for axis, values in enumerate(options, start=1)]


@reference("conv2d")
def conv2d(x: Array, W: Array, b: Array | None = None, *, stride: Any = 1, padding: Any = "valid",
           dilation: Any = 1, groups: int = 1) -> Array:
    rows, columns = windows2d(x.shape, W.shape[:2], stride, padding, dilation)
    y = np.empty((len(x), len(rows), len(columns), W.shape[3]))
    for n, t, u, f in np.ndindex(*y.shape):
        total = 0.0 if b is None else float(b[f])
        for (k, i), (j, l) in itertools.product(enumerate(rows[t]), enumerate(columns[u])):
            inside = 0 <= i < x.shape[1] and 0 <= l < x.shape[2]
            for c in range(W.shape[2]):
                channel = f * groups // W.shape[3] * W.shape[2] + c
                total += (float(x[n, i, l, channel]) if inside else 0.0) * float(W[k, j, c, f])
        y[n, t, u, f] = total
    return y


@reference("conv1d")
def conv1d(x: Array, W: Array, b: Array | None = None, *, stride: int = 1, padding: Any = "valid",
           dilation: int = 1, groups: int = 1) -> Array:
    places = window_places(x.shape[1], len(W), stride, padding, dilation)
    y = np.empty((len(x), len(places), W.shape[2]))
    for n, t, f in np.ndindex(*y.shape):
        y[n, t, f] = 0.0 if b is None else float(b[f])
        for k, i in enumerate(places[t]):
            for c in range(W.shape[1]):
                channel = f * groups // W.shape[2] * W.shape[1] + c
                y[n, t, f] += (float(x[n, i, channel]) if 0 <= i < x.shape[1] else 0.0) * float(W[k, c, f])
    return y


def pooled(shape: tuple[int, ...], size: Any, stride: Any = None, padding: Any = "valid",
           ) -> tuple[tuple[int, ...], Iterator[tuple[tuple[int, ...], list[tuple[int, ...]]]]]:
    """The shape of a pooling of x, and each place in it with the places of x in its window, row by row."""
    stride = size if stride is None else stride
    if len(shape) == 3:
        axes = [window_places(shape[1], size, stride, padding)]
    else:
        stride = tuple(own or other for own, other in zip(pair(stride), pair(size), strict=True))
        axes = windows2d(shape, size, stride, padding)
    out = (shape[0], *map(len, axes), shape[-1])

    def members() -> Iterator[tuple[tuple[int, ...], list[tuple[int, ...]]]]:
        for place in np.ndindex(*out):
            n, *middle, c = place
            meets = itertools.product(*[axis[t] for axis, t in zip(axes, middle, strict=True)])
            yield place, [(n, *at, c) for at in meets
                          if all(0 <= i < limit for i, limit in zip(at, shape[1:-1], strict=True))]
    return out, members()


def pool(function: Callable[[Sequence[float]], float], x: Array, size: Any, stride: Any = None,
         padding: Any = "valid") -> Array:
    shape, members = pooled(x.shape, size, stride, padding)
    y = np.empty(shape)
    for place, inside in members:
        y[place] = function([float(x[at]) for at in inside])
    return y


for _name, _function in {"max_pool": largest, "avg_pool": mean}.items():
    for _rank in ("1d", "2d"):
        REFERENCES[_name + _rank] = lambda x, *a, _function=_function, **options: pool(_function, x, *a, **options)


# --- probabilities --------------------------------------------------------------------------------------------------

def log_of_softmax(z: Sequence[float]) -> list[Any]:
    """In extended precision, and with the largest taken out, so that it is as exact as a float64 can tell."""
    wide = [np.longdouble(value) for value in z]
    shift = np.longdouble(largest([float(value) for value in z]))
    total = sum(np.exp(value - shift) for value in wide)
    return [value - shift - np.log(total) for value in wide]


def along(function: Callable[[Sequence[float]], Iterable[Any]], x: Array, axis: int) -> Array:
    """A function of a row of numbers that returns as many, for every row along an axis."""
    y, axis = np.empty(x.shape), axis % x.ndim
    for place in np.ndindex(*x.shape[:axis], *x.shape[axis + 1 :]):
        row = (*place[:axis], slice(None), *place[axis:])
        y[row] = [float(value) for value in function(x[row].tolist())]
    return y


@reference("log_softmax")
def log_softmax(x: Array, *, axis: int = -1) -> Array:
    return along(log_of_softmax, x, axis)


@reference("softmax")
def softmax(x: Array, *, axis: int = -1) -> Array:
    return along(lambda z: [np.exp(value) for value in log_of_softmax(z)], x, axis)


@reference("cross_entropy")
def cross_entropy(logits: Array, labels: Array, weight: Array | None = None, sample_weight: Array | None = None, *,
                  label_smoothing: float = 0.0, reduction: str = "mean", ignore_index: int | None = None) -> Array:
    K = logits.shape[-1]
    w = [1.0] * K if weight is None else weight.tolist()
    losses, divisor = np.zeros(logits.shape[:-1]), 0.0
    for place in np.ndindex(*losses.shape):
        logp = log_of_softmax(logits[place].tolist())
        importance = 1.0 if sample_weight is None else sample_weight[place]
        if labels.dtype.kind == "f":
            hard, share = labels[place].tolist(), 1.0
        elif labels[place] == ignore_index:
            continue
        else:
            hard, share = [float(k == labels[place]) for k in range(K)], w[labels[place]]
        target = [label_smoothing / K + (1 - label_smoothing) * value for value in hard]
        losses[place] = float(-sum(importance * w[k] * target[k] * logp[k] for k in range(K)))
        divisor += importance * share
    if reduction == "none":
        return losses
    return np.array(math.fsum(losses.flat) / (divisor if reduction == "mean" else 1.0))


@reference("binary_cross_entropy")
def binary_cross_entropy(logits: Array, targets: Array, pos_weight: Array | None = None, *,
                         reduction: str = "mean") -> Array:
    def one(z: float, t: float, w: float) -> float:
        return -w * t * math.log(logistic(z)) - (1 - t) * math.log(logistic(-z))
    return reduced_loss(each(one, logits, targets, np.ones(()) if pos_weight is None else pos_weight), reduction)


@reference("mse")
def mse(prediction: Array, target: Array, *, reduction: str = "mean") -> Array:
    squares = each(lambda a, b: (a - b) ** 2, prediction, target)
    if reduction == "none":
        return squares
    return np.array(math.fsum(squares.flat) / (squares.size if reduction == "mean" else 1))


@reference("mae")
def mae(prediction: Array, target: Array, *, reduction: str = "mean") -> Array:
    return reduced_loss(each(lambda a, b: abs(a - b), prediction, target), reduction)


@reference("huber")
def huber(prediction: Array, target: Array, *, delta: float = 1.0, reduction: str = "mean") -> Array:
    def one(a: float, b: float) -> float:
        return (a - b) ** 2 / 2 if abs(a - b) <= delta else delta * (abs(a - b) - delta / 2)
    return reduced_loss(each(one, prediction, target), reduction)


def reduced_loss(losses: Array, reduction: str) -> Array:
    if reduction == "none":
        return losses
    return np.array(math.fsum(losses.flat) / (losses.size if reduction == "mean" else 1))


# --- layers ---------------------------------------------------------------------------------------------------------

@reference("batch_norm")
def batch_norm(x: Array, gamma: Array, beta: Array, mean: Array | None = None, var: Array | None = None,
               mask: Array | None = None, *, axis: int = -1, eps: float = 1e-5) -> tuple[Array, Array, Array]:
    channels = np.moveaxis(x, axis, 0)  # (C,...)
    real = np.ones(x.shape, bool)
    if mask is not None:
        real[mask == 0] = False
    there = np.moveaxis(real, axis, 0)
    means = np.array([np.mean(c[r]) for c, r in zip(channels, there, strict=True)]) if mean is None else mean
    variances = np.array([np.var(c[r]) for c, r in zip(channels, there, strict=True)]) if var is None else var
    y = np.empty(channels.shape)
    for c, channel in enumerate(channels):
        y[c] = gamma[c] * (channel - means[c]) / np.sqrt(variances[c] + eps) + beta[c]
    y[~there] = 0.0
    return np.moveaxis(y, 0, axis), means, variances


@reference("lstm")
def lstm(x: Array, h0: Array | None, c0: Array | None, W: Array, b: Array,
         recurrent_mask: Array | None = None, mask: Array | None = None) -> tuple[Array, Array, Array]:
    """The paper's equations (1) to (6), for one sequence, one step and one unit after the other."""
    N, T, H = *x.shape[:2], W.shape[1] // 4
    y, h, c = np.empty((N, T, H)), np.zeros((N, H)), np.zeros((N, H))
    for n in range(N):
        hidden = [0.0] * H if h0 is None else h0[n].tolist()
        state = [0.0] * H if c0 is None else c0[n].tolist()
        kept = [1.0] * H if recurrent_mask is None else recurrent_mask[n].tolist()
        for t in range(T):
            if mask is not None and mask[n, t] == 0:
                y[n, t] = 0.0
                continue
            row = [m * value for m, value in zip(kept, hidden, strict=True)] + x[n, t].tolist()

            def z(gate: int, unit: int, row: list[float] = row) -> float:
                column = gate * H + unit
                bias = 0.0 if b is None else float(b[column])
                return sum(value * float(W[k, column]) for k, value in enumerate(row)) + bias

            forget = [logistic(z(0, unit)) for unit in range(H)]
            take = [logistic(z(1, unit)) for unit in range(H)]
            candidate = [math.tanh(z(2, unit)) for unit in range(H)]
            show = [logistic(z(3, unit)) for unit in range(H)]
            state = [f * old + i * new for f, old, i, new in zip(forget, state, take, candidate, strict=True)]
            hidden = [o * math.tanh(value) for o, value in zip(show, state, strict=True)]
            y[n, t] = hidden
        h[n], c[n] = hidden, state
    return y, h, c


@reference("layer_norm")
def layer_norm(x: Array, gamma: Array, beta: Array, *, eps: float = 1e-5) -> Array:
    def row(values: Sequence[float]) -> list[float]:
        deviation = math.sqrt(variance(values) + eps)
        return [float(g) * (value - mean(values)) / deviation + float(b)
                for value, g, b in zip(values, gamma, beta, strict=True)]
    return along(row, x, -1)


@reference("gru")
def gru(x: Array, h0: Array | None, W: Array, b: Array | None = None, b_h: Array | None = None,
        mask: Array | None = None) -> tuple[Array, Array]:
    N, T, H = *x.shape[:2], W.shape[1] // 3
    y, h = np.zeros((N, T, H)), np.zeros((N, H))
    for n in range(N):
        hidden = [0.0] * H if h0 is None else h0[n].tolist()
        for t in range(T):
            if mask is not None and mask[n, t] == 0:
                continue

            inputs = x[n, t].tolist()

            def a(column: int, row: list[float] = inputs) -> float:
                bias = 0.0 if b is None else float(b[column])
                return sum(value * float(W[H + k, column]) for k, value in enumerate(row)) + bias

            def q(column: int, row: list[float] = hidden) -> float:
                bias = 0.0 if b_h is None else float(b_h[column])
                return sum(value * float(W[k, column]) for k, value in enumerate(row)) + bias

            reset = [logistic(a(u) + q(u)) for u in range(H)]
            update = [logistic(a(H + u) + q(H + u)) for u in range(H)]
            new = [math.tanh(a(2 * H + u) + reset[u] * q(2 * H + u)) for u in range(H)]
            hidden = [(1 - update[u]) * new[u] + update[u] * hidden[u] for u in range(H)]
            y[n, t] = hidden
        h[n] = hidden
    return y, h


@reference("simple_rnn")
def simple_rnn(x: Array, h0: Array | None, W: Array, b: Array | None = None,
               mask: Array | None = None) -> tuple[Array, Array]:
    N, T, H = *x.shape[:2], W.shape[1]
    y, h = np.zeros((N, T, H)), np.zeros((N, H))
    for n in range(N):
        hidden = [0.0] * H if h0 is None else h0[n].tolist()
        for t in range(T):
            if mask is None or mask[n, t] != 0:
                row = hidden + x[n, t].tolist()
                hidden = [math.tanh(sum(value * float(W[k, u]) for k, value in enumerate(row))
                                    + (0.0 if b is None else float(b[u]))) for u in range(H)]
                y[n, t] = hidden
        h[n] = hidden
    return y, h


@reference("mask_steps")
def mask_steps(x: Array, mask: Array, *, value: float = 0.0) -> Array:
    y = np.array(x)
    for n, t in np.ndindex(*mask.shape):
        if not mask[n, t]:
            y[n, t] = value
    return y


ROUNDS, WORD = 10, 2**32


def philox(counter: tuple[int, int, int, int], key: tuple[int, int]) -> tuple[int, int, int, int]:
    """Philox-4x32-10 as its paper writes it, in Python's integers.

    In each round, the words (L0, R0), (L1, R1) are changed by the high and low halves of two products. The key is
    increased by the golden ratio and by sqrt(3) - 1, as fractions of 2**32.
    """
    for number in range(ROUNDS):
        k0, k1 = (key[0] + number * 0x9E3779B9) % WORD, (key[1] + number * 0xBB67AE85) % WORD
        high0, low0 = divmod(0xD2511F53 * counter[0], WORD)
        high1, low1 = divmod(0xCD9E8D57 * counter[2], WORD)
        counter = (high1 ^ counter[1] ^ k0, low1, high0 ^ counter[3] ^ k1, low0)
    return counter


@reference("dropout")
def dropout(x: Array, p: float, *, key: tuple[int, int], counter: int, first: int = 0) -> Array:
    y = np.empty(x.shape)
    for number, (place, value) in enumerate(np.ndenumerate(x), first):
        words = philox((number // 4, counter % WORD, counter // WORD, 0), key)
        y[place] = value * (words[number % 4] >= math.floor(p * WORD)) / (1 - p)
    return y


# --- what happens at kinks and ties ---------------------------------------------------------------------------------

@kink("relu")
def relu_kink(x: Array, *, dy: Array) -> list[Array]:
    return [each(lambda value, d: d if value > 0 else 0.0, x, dy)]  # 0 at 0


@kink("sign")
def sign_kink(x: Array, *, dy: Array) -> list[Array]:
    return [np.zeros_like(dy)]


@kink("absolute")
def absolute_kink(x: Array, *, dy: Array) -> list[Array]:
    return [each(lambda value, d: d * ((value > 0) - (value < 0)), x, dy)]  # 0 at 0


@kink("clip")
def clip_kink(x: Array, low: float | None, high: float | None = None, *, dy: Array) -> list[Array]:
    low, high = -math.inf if low is None else low, math.inf if high is None else high
    return [each(lambda value, d: d if low <= value <= high else 0.0, x, dy)]


def _summed_back(gradient: Array, shape: tuple[int, ...]) -> Array:
    """The sum over the places where an element of an array of `shape` stood."""
    result = np.zeros(shape)
    for place, value in np.ndenumerate(gradient):
        own = place[len(place) - len(shape) :]
        result[tuple(0 if size == 1 else i for i, size in zip(own, shape, strict=True))] += value
    return result


def _between_two(first_wins: Callable[[float, float], bool]) -> Callable[..., list[Array]]:
    def gradients(a: Array, b: Array, *, dy: Array) -> list[Array]:
        da = each(lambda x, y, d: d if first_wins(x, y) else 0.0, a, b, dy)
        db = each(lambda x, y, d: 0.0 if first_wins(x, y) else d, a, b, dy)
        return [_summed_back(da, a.shape), _summed_back(db, b.shape)]
    return gradients


KINKS["maximum"] = _between_two(lambda a, b: a >= b)
KINKS["minimum"] = _between_two(lambda a, b: a <= b)


def _to_the_first(values: Array, members: Iterable[list[tuple[int, ...]]], dy: Array, sign: int) -> list[Array]:
    """Each output's gradient goes to the first of its members that is the largest (sign 1) or smallest (sign -1)."""
    dx = np.zeros(values.shape)
    for inside, d in zip(members, dy.flat, strict=True):
        numbers = [sign * float(values[at]) for at in inside]
        dx[inside[numbers.index(max(numbers))]] += d
    return [dx]


def _reduction_kink(sign: int) -> Callable[..., list[Array]]:
    def gradients(x: Array, axis: Any = None, keepdims: bool = False, *, dy: Array) -> list[Array]:
        return _to_the_first(x, groups(x.shape, axis, keepdims)[1], dy, sign)
    return gradients


def _pool_kink(x: Array, *args: Any, dy: Array, **options: Any) -> list[Array]:
    return _to_the_first(x, (inside for _, inside in pooled(x.shape, *args, **options)[1]), dy, 1)


KINKS |= {"max": _reduction_kink(1), "min": _reduction_kink(-1), "max_pool1d": _pool_kink, "max_pool2d": _pool_kink}
