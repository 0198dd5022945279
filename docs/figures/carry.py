"""How much of a gradient reaches each earlier row: LSTMs with four forget biases, a trained one, and no gates."""

import numpy as np

import tinynet as tn
from docs.figures.digit import reading, weights
from docs.site.drawing import Drawing, powers

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


def rnn_norms() -> np.ndarray:
    """|δhₜ| of a network without gates, likewise."""
    tn.seed(0)
    x = reading().image[None]
    layer = tn.nn.SimpleRNN(x.shape[2], UNITS)
    W, b = layer.W.numpy().astype(np.float64), layer.b.numpy().astype(np.float64)
    _, (_, h, *_) = tn.ops.simple_rnn.forward(np, x, None, W, b)
    norms = [1.0]
    for t in reversed(range(x.shape[1])):
        outputs, cache = tn.ops.simple_rnn.forward(np, x[:, t:], h[t], W, b)
        arriving = np.zeros_like(outputs[0]), np.full((1, UNITS), UNITS**-0.5)
        gradients = tn.ops.simple_rnn.backward(np, *arriving, cache=cache, needs=(True,) * 4 + (False,))
        norms.append(float(np.linalg.norm(gradients[1])))
    return np.array(norms[::-1])


def draw() -> Drawing:
    drawing = Drawing("The size of a gradient on its way back through the 28 rows of a digit", height=320)
    axes = drawing.axes(46, 36, 360, 228, x=(28, 0), y=(1e-10, 3), log="y", xticks=(28, 21, 14, 7, 0),
                        yticks=powers(-10, -8, -6, -4, -2, 0), ylabel="size of the gradient at row t",
                        xlabel="row t; the gradient starts at row 28, and goes back")
    named = [(f"bias {bias:g}".replace("-", "−"), lstm_norms(*untrained(bias)), color, "")
             for bias, color in zip(BIASES, ("i", "o", "Ctilde", "f"), strict=True)]
    named += [("no gates", rnn_norms(), "C", "5 4"), ("trained", lstm_norms(*weights()[:2]), "ink", "")]
    places: list[float] = []
    for name, norms, color, dash in sorted(named, key=lambda each: -each[1][0]):
        axes.curve(range(29), norms, color, dash=dash)
        y = axes.at(0, norms[0])[1]
        y = max([y, *(place + 17 for place in places)])
        places.append(y)
        drawing.text(14 + 46 + 360, y + 4, name, color, bold=True)
    return drawing
