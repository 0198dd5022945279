"""For each exercise of docs/exercises: a right answer, as edits of its blank lines, and wrong ones.

Beside a wrong one stands what the check says of it. A wrong answer differs from the right one in the given edits.
"""

from typing import Any

ANSWERS: dict[str, list[Any]] = {
    "complex_step": [
        [("return ...", "return f(x + 1j * h).imag / h")],
        ({"return ...": "return (f(x + h) - f(x - h)) / (2 * h)"}, "is zero everywhere"),
        ({"return ...": "return f(x + 1j * h).imag"}, "off by the factor 1e-20"),
        ({"return ...": "return f(x + 1j * h) / h"}, "must be"),
    ],
    "rectify": [
        [("def drelu(dy, x):\n    return ...", "def drelu(dy, x):\n    return dy * (x > 0)"),
         ("        ...", "        dx[t * size + window.argmax()] = dy[t]"),
         ("p):\n    return ...", "p):\n    return dy * keep / (1 - p)")],
        ({"def drelu(dy, x):\n    return ...": "def drelu(dy, x):\n    return dy * (x >= 0)"}, "drelu: is wrong in"),
        ({"        ...": "        dx[t * size : (t + 1) * size] += dy[t] * (window == window.max())"},
         "dmax_pool: is wrong in"),
        ({"p):\n    return ...": "p):\n    return dy * keep"}, "ddropout: off by the factor 0.75"),
    ],
    "lstm_step": [
        [("z = ...", "z = np.concatenate([h, x], axis=1) @ W + b"), ("f = ...", "f = sigma(z[:, :H])"),
         (" i = ...", " i = sigma(z[:, H : 2 * H])"), ("candidate = ...", "candidate = np.tanh(z[:, 2 * H : 3 * H])"),
         ("C = ...", "C = f * C + i * candidate"), (" o = ...", " o = sigma(z[:, 3 * H :])"),
         (" h = ...", " h = o * np.tanh(C)")],
        ({" h = ...": " h = o * C"}, "(6) h: is wrong in 100%"),
        ({"z = ...": "z = np.concatenate([x, h], axis=1) @ W + b"}, "(1) f: is wrong in 100%"),
        ({"candidate = ...": "candidate = sigma(z[:, 2 * H : 3 * H])"}, "(3) C~: is wrong in 100%"),
    ],
}
