"""How much of a gradient reaches each earlier row: four forget biases, a trained LSTM, and a plain network."""

from functools import cache

import numpy as np

import tinynet as tn
from docs.figures.digit import reading, weights
from docs.site.drawing import Drawing, in_powers, powers

UNITS, BIASES = 32, (-1.0, 0.0, 1.0, 3.0)


def untrained(bias: float) -> tuple[np.ndarray, np.ndarray]:
    """W and b of an LSTM before its training, with a forget bias."""
    tn.seed(0)
    W, b = tn.nn.LSTM(28, UNITS).W.numpy().astype(np.float64), np.zeros(4 * UNITS)
    b[:UNITS] = bias
    return W, b


def lstm_norms(W: np.ndarray, b: np.ndarray) -> np.ndarray:
    """|δCₜ| for t = 0 ... T, from a gradient of size 1 that arrives at C of the last step."""
    x = reading().image[None]
    _, (_, _, C, h, *_) = tn.ops.lstm.forward(np, x, None, None, W, b)
    norms = [1.0]
    for t in reversed(range(x.shape[1])):
        outputs, cache = tn.ops.lstm.forward(np, x[:, t:], h[t], C[t], W, b)
        arriving = np.zeros_like(outputs[0]), np.zeros((1, UNITS)), np.full((1, UNITS), UNITS**-0.5)
        gradients = tn.ops.lstm.backward(np, *arriving, cache=cache, needs=(True,) * 5 + (False, False))
        norms.append(float(np.linalg.norm(gradients[2])))
    return np.array(norms[::-1])


def forget_gates(W: np.ndarray, b: np.ndarray) -> np.ndarray:
    """f (T,H) of the LSTM that reads the digit."""
    _, (_, gates, *_) = tn.ops.lstm.forward(np, reading().image[None], None, None, W, b)
    return np.asarray(gates[:, 0, 0])


def plain_network() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """W and b of a network without gates, before its training, and its h (1+T,1,H) while it reads the digit."""
    tn.seed(0)
    layer = tn.nn.SimpleRNN(28, UNITS)
    W, b = layer.W.numpy().astype(np.float64), layer.b.numpy().astype(np.float64)
    _, (_, h, *_) = tn.ops.simple_rnn.forward(np, reading().image[None], None, W, b)
    return W, b, h


def rnn_norms() -> np.ndarray:
    """|δhₜ| of a network without gates, likewise."""
    x, (W, b, h) = reading().image[None], plain_network()
    norms = [1.0]
    for t in reversed(range(x.shape[1])):
        outputs, cache = tn.ops.simple_rnn.forward(np, x[:, t:], h[t], W, b)
        arriving = np.zeros_like(outputs[0]), np.full((1, UNITS), UNITS**-0.5)
        gradients = tn.ops.simple_rnn.backward(np, *arriving, cache=cache, needs=(True,) * 4 + (False,))
        norms.append(float(np.linalg.norm(gradients[1])))
    return np.array(norms[::-1])


@cache
def in_text() -> dict[str, str]:
    """For each LSTM: the mean of f, and sizes of gradients by the carry and by both paths; then of a plain network."""
    found = {}
    for name, parameters in [*((f"{bias:+g}", untrained(bias)) for bias in BIASES), ("trained", weights()[:2])]:
        f, norms = forget_gates(*parameters), lstm_norms(*parameters)
        products = f.prod(axis=0)
        found |= {f"f {name}": f"{f.mean():.2f}", f"carry {name}": in_powers(float(np.sqrt((products**2).mean()))),
                  f"all {name}": in_powers(norms[0])}
        if name == "trained":
            found |= {"least": f"{norms.min():.1f}", "most": f"{norms.max():.1f}", "best unit": f"{products.max():.2f}",
                      "best f": f"{products.max() ** (1 / len(f)):.2f}"}
    norms, h = rnn_norms(), plain_network()[2][1:]
    return found | {"all plain": in_powers(norms[0]), "a row": f"{norms[0] ** (1 / len(h)):.2f}",
                    "h": f"{np.sqrt((h**2).mean()):.2f}", "slope": f"{(1 - h**2).mean():.2f}"}


def draw() -> Drawing:
    drawing = Drawing("The size of a gradient on its way back through the 28 rows of a digit", height=320)
    axes = drawing.axes(46, 36, 360, 228, x=(28, 0), y=(1e-10, 3), log="y", xticks=(28, 21, 14, 7, 0),
                        yticks=powers(-10, -8, -6, -4, -2, 0), ylabel="size of the gradient at row t",
                        xlabel="row t; the gradient starts at row 28, and goes back")
    named = [(f"bias {bias:g}".replace("-", "−"), lstm_norms(*untrained(bias)), color, "")
             for bias, color in zip(BIASES, ("i", "o", "Ctilde", "f"), strict=True)]
    named += [("plain", rnn_norms(), "C", "5 4"), ("trained", lstm_norms(*weights()[:2]), "ink", "")]
    places: list[float] = []
    for name, norms, color, dash in sorted(named, key=lambda each: -each[1][0]):
        axes.curve(range(29), norms, color, dash=dash)
        y = axes.at(0, norms[0])[1]
        y = max([y, *(place + 17 for place in places)])
        places.append(y)
        drawing.text(14 + 46 + 360, y + 4, name, color, bold=True)
    return drawing
