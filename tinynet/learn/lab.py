"""What the lab computes: functions on tinynet's own, called by the page over HTTP or from a worker in the browser.

`call` is the one entry. Arguments and plain results are JSON. Arrays among the results are float32.

A digit is 784 pixels, 0 ... 255, row by row. The model is tinynet.models.lstm_cnn with the weights of page/digit.npz,
which examples/lab_digit.py has trained. Its LSTM reads the 28 rows as a sequence.
"""

import json
from collections.abc import Callable, Sequence
from importlib import resources
from typing import Any

import numpy as np

from tinynet import models, nn, ops, optim
from tinynet.about import __version__
from tinynet.backend import using
from tinynet.learn.digits import STROKES, drawn
from tinynet.learn.small_widgets import SMALL
from tinynet.learn.trusted import break_it, source, v_curve
from tinynet.random import normal, seed, stream, uniform
from tinynet.tape import no_grad
from tinynet.tensor import Tensor
from tinynet.types import Array
from tinynet.window import taps, windows

T = 28  # rows of a digit, the time steps
_made: dict[str, Any] = {}  # the model, other layers, and the run of `training`


def model() -> nn.Sequential:
    """The trained model."""
    if "model" not in _made:
        file = resources.files("tinynet.learn") / "page" / "digit.npz"
        with file.open("rb") as opened, np.load(opened, allow_pickle=False) as arrays:
            made = models.lstm_cnn()
            made.load_state_dict(dict(arrays))
        _made["model"] = made.eval()
    found: nn.Sequential = _made["model"]
    return found


def _new(name: str, make: Callable[[], Any]) -> Any:
    """A layer that has learned nothing, the same at each call."""
    if name not in _made:
        seed(0)
        _made[name] = make()
    return _made[name]


def _image(pixels: Sequence[int]) -> Array:
    return np.asarray(pixels, np.float32).reshape(1, T, T, 1) / 255


def _through(layers: Sequence[nn.Module], x: Tensor) -> Tensor:
    for layer in layers:
        x = layer(x)
    return x


def _split() -> tuple[list[nn.Module], Any, list[nn.Module]]:
    """The layers before the LSTM, the LSTM, and the layers behind it."""
    layers = list(model())
    place = next(place for place, layer in enumerate(layers) if isinstance(layer, nn.LSTM))
    return layers[:place], layers[place], layers[place + 1:]


# --- reading a digit ------------------------------------------------------------------------------------------------

def start() -> dict[str, Any]:
    """What the page shows before anything is touched: ten digits (10,784) and their strokes, sizes, and the version."""
    return {"strokes": STROKES, "digits": np.rint(255 * drawn()).reshape(10, T * T), "version": __version__,
            "parameters": sum(p.size for p in model().parameters()), "source": source()["source"],
            "times": json.loads((resources.files("tinynet.learn") / "page" / "times.json").read_text("utf-8"))}


def gates(pixels: Sequence[int]) -> dict[str, Any]:
    """The cache of the LSTM's forward pass, and the model's prediction after each row.

      gates     (T,4,H), in the order f, i, C̃, o
      C, h      (T,H)
      reading   (T,10), the probabilities when the rows that follow are blank
      order     (H), the units by the row at which their state changes, for the heat maps
    """
    x = _image(pixels)
    before, layer, _ = _split()
    with no_grad():
        sequence = _through(before, Tensor(x)).numpy()
        _, (_, g, C, h, *_) = ops.lstm.forward(np, sequence, None, None, layer.W.numpy(), layer.b.numpy())
        seen = np.arange(T)[:, None] >= np.arange(T)  # (T,T): after row t, the rows up to t
        rows = np.where(seen[:, :, None, None], x, np.float32(0))  # (T,28,28,1)
        reading = ops.softmax(model()(Tensor(rows))).numpy()
    change = np.abs(np.diff(C[:, 0], axis=0))  # (T,H)
    centre = (change * np.arange(T)[:, None]).sum(axis=0) / np.maximum(change.sum(axis=0), 1e-9)
    return {"gates": g[:, :, 0], "C": C[1:, 0], "h": h[1:, 0], "reading": reading, "order": np.argsort(centre)}


def back(pixels: Sequence[int], label: int) -> dict[str, Any]:
    """The gradients at each step, on their way back: the op's own backward pass, for one step at a time.

      dC, dh   (T,H)
      carry    (T,H), dC of the step before
      forget   (T), the product of f from each row to the last, its mean over the units
      plain    (T), for an RNN without gates, the mean factor by which W and tanh' change a gradient on the same way
      loss     of the label
    """
    before, layer, behind = _split()
    with no_grad():
        sequence = _through(before, Tensor(_image(pixels))).numpy()
    _, (_, g, C, h, *_) = ops.lstm.forward(np, sequence, None, None, layer.W.numpy(), layer.b.numpy())
    y = Tensor(h[1:].transpose(1, 0, 2), requires_grad=True)  # (1,T,H)
    loss = ops.cross_entropy(_through(behind, y), Tensor(np.array([label])))
    loss.backward()
    dh, carry = _steps_back(sequence, h, C, layer.W, layer.b, np.asarray(y.grad))
    dC = carry[1:] + dh * g[:, 3, 0] * (1 - np.tanh(C[1:, 0]) ** 2)  # (7)
    forget = np.cumprod(g[::-1, 0, 0], axis=0)[::-1].mean(axis=1)
    return {"dC": dC, "dh": dh, "carry": carry[:-1], "forget": forget, "plain": _plain_rnn(sequence, layer.units),
            "loss": float(loss.item())}


def _steps_back(sequence: Array, h: Array, C: Array, W: Tensor, b: Tensor, dy: Array) -> tuple[Array, Array]:
    """dh (T,H) of each output, and carry (T+1,H), the gradient of each state by way of the next step.

    Each step is a call of the op with one row of the sequence, from the states h and C (T+1,1,H) before it.
    """
    dh, carry = np.zeros((T, h.shape[2]), np.float32), np.zeros((T + 1, h.shape[2]), np.float32)
    past: Array = np.zeros(1, np.float32)
    for t in reversed(range(T)):
        dh[t] = dy[0, t] + past
        h0, c0 = Tensor(h[t], requires_grad=True), Tensor(C[t], requires_grad=True)
        _, last, state = ops.lstm(Tensor(sequence[:, t : t + 1]), h0, c0, W, b)
        ((last * Tensor(dh[t])).sum() + (state * Tensor(carry[t + 1])).sum()).backward()
        past, carry[t] = np.asarray(h0.grad)[0], np.asarray(c0.grad)[0]
    return dh, carry


def _plain_rnn(sequence: Array, units: int) -> Array:
    """By how much a plain RNN, newly made, scales gradients of random directions from the last row back to each row."""
    layer = _new("SimpleRNN", lambda: nn.SimpleRNN(sequence.shape[2], units))
    W, b = layer.W.numpy(), layer.b.numpy()
    h, slopes = np.zeros((1, units), np.float32), []
    for t in range(T):
        h = np.tanh(np.concatenate([h, sequence[:, t]], axis=1) @ W + b)
        slopes.append(1 - h**2)
    d = normal((32, units), (0, stream("lab")), step=0).astype(np.float32)
    start, factors = np.linalg.norm(d, axis=1), []
    for slope in reversed(slopes):
        d = (d * slope) @ W[:units].T
        factors.append((np.linalg.norm(d, axis=1) / start).mean())
    return np.array(factors[::-1])


def forget_bias(pixels: Sequence[int]) -> dict[str, Any]:
    """The size of the carry at each step of new LSTMs with the forget biases -1, 0, 1 and 3: norms (4,T).

    The gradient of the last output is 1 for each unit, and 0 for the outputs before.
    """
    before, trained, _ = _split()
    with no_grad():
        sequence = _through(before, Tensor(_image(pixels))).numpy()
    layer, norms = _new("LSTM", lambda: nn.LSTM(sequence.shape[2], trained.units)), []
    for bias in (-1.0, 0.0, 1.0, 3.0):
        b = layer.b.numpy().copy()
        b[: layer.units] = bias
        _, (_, _, C, h, *_) = ops.lstm.forward(np, sequence, None, None, layer.W.numpy(), b)
        dy = np.zeros((1, T, layer.units), np.float32)
        dy[:, -1] = 1
        norms.append(np.linalg.norm(_steps_back(sequence, h, C, layer.W, Tensor(b), dy)[1][:-1], axis=1))
    return {"biases": [-1, 0, 1, 3], "norms": np.array(norms)}


# --- convolution and batch normalisation ----------------------------------------------------------------------------

def convolve(pixels: Sequence[int], kernel: Sequence[float]) -> dict[str, Any]:
    """A kernel of 3 x 3 numbers over a digit, with padding "same".

      y      (28,28)
      taps   (28,28,9), the nine products that each y is the sum of
    """
    x = _image(pixels).astype(float)
    W = np.asarray(kernel, float).reshape(3, 3, 1, 1)
    y = ops.conv2d.forward(np, x, W, padding="same")[0]
    rows, columns = windows("convolve", (T, T), (3, 3), 1, "same", 1)
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    products = [padded[tap][0, ..., 0] * W[i, j, 0, 0] for i, j, tap in taps(rows, columns)]
    return {"y": y[0, ..., 0], "taps": np.stack(products, axis=-1)}


def batch_norm(steps: int, mean: float, deviation: float) -> dict[str, Any]:
    """The running averages of a BatchNorm layer during some training steps, with batches of 16 numbers.

      mean   for each step: of its batch; the layer's running average; an average with momentum 0.9 that starts at 0,
             without the correction (12)
      var    the same for the variance, the last one starting at 1
    """
    layer, key = nn.BatchNorm(1), (0, stream("lab batches"))
    plain = {"mean": np.zeros(1), "var": np.ones(1)}
    found: dict[str, list[list[float]]] = {"mean": [], "var": []}
    for step in range(min(max(int(steps), 1), 60)):
        x = (mean + deviation * normal((16, 1), key, step=step)).astype(np.float32)
        layer(Tensor(x))
        running = {"mean": layer.running_mean.numpy(), "var": layer.running_var.numpy()}
        for name, batch in (("mean", x.mean(axis=0)), ("var", x.var(axis=0))):
            plain[name] = 0.9 * plain[name] + 0.1 * batch
            found[name].append([float(batch[0]), float(running[name][0]), float(plain[name][0])])
    return {"mean": found["mean"], "var": found["var"]}


# --- a training run -------------------------------------------------------------------------------------------------

def training(restart: bool, lr: float, steps: int = 5) -> dict[str, Any]:
    """Some steps of training a small LSTM on drawn digits that are shifted at random, from where the last call ended.

    Returns the loss of each step, and after them the accuracy on digits that are shifted otherwise.
    """
    if restart or "training" not in _made:
        seed(0)
        made = nn.Sequential(nn.LSTM(T, 48, return_sequences=False), nn.Dense(48, 10))
        _made["training"] = made, optim.Adam(made.parameters()), [0]
    made, optimizer, done = _made["training"]
    optimizer.lr = float(lr)
    losses = []
    for _ in range(min(max(int(steps), 1), 20)):
        x, labels = shifted(done[0])
        optimizer.zero_grad()
        loss = ops.cross_entropy(made(Tensor(x)), Tensor(labels))
        loss.backward()
        optimizer.step()
        done[0] += 1
        losses.append(float(loss.item()))
    x, labels = shifted(10_000)
    with no_grad():
        right = float((made(Tensor(x)).numpy().argmax(axis=1) == labels).mean())
    return {"losses": losses, "step": done[0], "accuracy": right}


def shifted(step: int) -> tuple[Array, Array]:
    """A batch of 50 drawn digits (50,28,28), each moved by up to 3 pixels, and their labels."""
    labels = np.arange(50) % 10
    shares = uniform((50, 2), (0, stream("lab digits")), step=step)
    moves = np.rint(6 * shares - 3).astype(int)
    images = [np.roll(image, tuple(move), axis=(0, 1)) for image, move in zip(drawn()[labels], moves, strict=True)]
    return np.stack(images), labels


# --- the entry ------------------------------------------------------------------------------------------------------

CALLS: dict[str, Callable[..., dict[str, Any]]] = {
    **SMALL, **{function.__name__: function for function in (
        start, gates, back, forget_bias, source, break_it, v_curve, convolve, batch_norm, training)}}


def call_json(name: str, arguments: str) -> bytes:
    """`call` with the arguments as JSON."""
    return call(name, json.loads(arguments))


def call(name: str, arguments: Sequence[Any]) -> bytes:
    """Call a function of the lab: 4 bytes with the size of a JSON head, the head, and all arrays as float32.

    Errors: ValueError for an unknown name, wrong arguments, or an error of the function, in one sentence.
    """
    if name not in CALLS:
        raise ValueError(f"lab: name must be one of {', '.join(CALLS)}, got {name!r}")
    try:
        with using("reference"):  # nothing to compile, and what the browser runs
            result = CALLS[name](*arguments)
    except Exception as error:
        raise ValueError(f"{name}: {type(error).__name__}: {error}") from error
    plain, arrays, blocks, at = {}, {}, [], 0
    for key, value in result.items():
        if isinstance(value, np.ndarray):
            block = np.ascontiguousarray(value, "<f4")
            arrays[key] = [list(block.shape), at]
            blocks.append(block.tobytes())
            at += block.size
        else:
            plain[key] = value
    head = json.dumps({"plain": plain, "arrays": arrays}).encode()
    head += b" " * (-len(head) % 4)
    return len(head).to_bytes(4, "little") + head + b"".join(blocks)
