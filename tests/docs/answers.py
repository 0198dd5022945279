"""For each exercise: a right answer as edits of its blank lines, then wrong ones with what the check says of them.

A wrong answer differs from the right one in the edits that are given.
"""

from typing import Any

ANSWERS: dict[str, list[Any]] = {
    "complex_step": [
        [("return ...", "return f(x + 1j * h).imag / h")],
        ({"return ...": "return (f(x + h) - f(x - h)) / (2 * h)"}, "is zero everywhere"),
        ({"return ...": "return f(x + 1j * h).imag"}, "off by the factor 1e-20"),
        ({"return ...": "return f(x + 1j * h) / h"}, "must be"),
    ],
    "tape": [
        [("key=lambda number: ...", "key=lambda number: -number.order"),
         ("            ...", "            parent.grad += derivative * number.grad")],
        ({"            ...": "            parent.grad = derivative * number.grad"}, "gradient of x"),
        ({"key=lambda number: ...": "key=lambda number: number.order"}, "is"),
    ],
    "dense": [
        [("dx = ...", "dx = dy @ W.T"), ("dW = ...", "dW = x.T @ dy"), ("db = ...", "db = dy.sum(axis=0)")],
        ({"db = ...": "db = dy.mean(axis=0)"}, "(4) db: off by the factor 0.2"),
        ({"dW = ...": "dW = dy.T @ x"}, "(3) dW: has the shape (2, 3), and must have (3, 2)"),
        ({"dx = ...": "dx = -dy @ W.T"}, "(2) dx: has the wrong sign"),
    ],
    "softmax": [
        [("return ...", "return (p - np.eye(p.shape[1])[labels]) / len(p)")],
        ({"return ...": "return p - np.eye(p.shape[1])[labels]"}, "off by the factor 4"),
        ({"return ...": "return (np.eye(p.shape[1])[labels] - p) / len(p)"}, "has the wrong sign"),
        ({"return ...": "return p / len(p)"}, "is wrong in"),
    ],
}
