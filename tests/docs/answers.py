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
    "mcnemar": [
        [("only_first = ...", "only_first = sum((first == labels) & (second != labels))"),
         ("only_second = ...", "only_second = sum((first != labels) & (second == labels))"),
         ("p = ...", "p = 2 * sum(math.comb(int(n), k) for k in range(fewer + 1)) / 2 ** int(n)")],
        ({"p = ...": "p = sum(math.comb(int(n), k) for k in range(fewer + 1)) / 2 ** int(n)"},
         "p: off by the factor 0.5"),
        ({"only_first = ...": "only_first = sum(first == labels)"}, "only the first: off by"),
        ({"p = ...": "p = 2 * math.comb(int(n), int(fewer)) / 2 ** int(n)"}, "p: off by"),
    ],
    "threshold": [
        [("return ...          # the share of class 1 that raises an alarm",
          "return (scores[labels == 1] >= threshold).mean()"),
         ("return ...          # the share of class 0 that raises no alarm",
          "return (scores[labels == 0] < threshold).mean()"),
         ("found):\n    return ...",
          "found):\n    return max(s for s in scores if sensitivity(labels, scores, s) >= found)")],
        ({"return ...          # the share of class 1 that raises an alarm":
          "return (scores[labels == 1] > threshold).mean()"}, "sensitivity at"),
        ({"return ...          # the share of class 0 that raises no alarm":
          "return (scores[labels == 0] >= threshold).mean()"}, "specificity at"),
        ({"found):\n    return ...": "found):\n    return np.quantile(scores, 1 - found)"}, "choose"),
    ],
    "checker": [
        [("    dx = backward(x, dy)\n    ...",
          "    kept = x.copy(), dy.copy()\n    dx = backward(x, dy)\n"
          "    if not (np.array_equal(x, kept[0]) and np.array_equal(dy, kept[1])):\n        return 'impure'\n"
          "    if dx.shape != x.shape:\n        return 'shape'\n    for index in np.ndindex(x.shape):\n"
          "        moved = x.astype(complex)\n        moved[index] += 1e-20j\n"
          "        slope = (forward(moved).imag / 1e-20 * dy).sum()\n"
          "        if abs(slope - dx[index]) > 1e-9 * abs(slope):\n            return 'wrong'")],
        ({"    dx = backward(x, dy)\n    ...": "    dx = backward(x, dy)"}, "tanh without its square: is 'wrong'"),
        ({"    dx = backward(x, dy)\n    ...": "    dx = backward(x, dy)\n    if dx.shape != x.shape:\n"
          "        return 'shape'\n    moved = x.astype(complex)\n    moved[0, 0] += 1e-20j\n"
          "    slope = (forward(moved).imag / 1e-20 * dy).sum()\n    if abs(slope - dx[0, 0]) > 1e-3 * abs(slope):\n"
          "        return 'wrong'"}, "a factor of 1.0001: is 'wrong'"),
    ],
    "roofline": [
        [("def operations(N, D, H):\n    return ...", "def operations(N, D, H):\n    return 2 * N * (H + D) * 4 * H"),
         ("def bytes_of_W(D, H):\n    return ...", "def bytes_of_W(D, H):\n    return 4 * (H + D) * 4 * H"),
         ('in a second."""\n    return ...', 'in a second."""\n    return min(peak, bandwidth * operations / bytes)'),
         ('is the limit."""\n    return ...', 'is the limit."""\n    return 2 * peak / bandwidth')],
        ({"def operations(N, D, H):\n    return ...": "def operations(N, D, H):\n    return N * (H + D) * 4 * H"},
         "operations: off by the factor 0.5"),
        ({'in a second."""\n    return ...': 'in a second."""\n    return peak'}, "attainable: off by"),
        ({'is the limit."""\n    return ...': 'is the limit."""\n    return peak / bandwidth'},
         "batch_at_the_ridge: off by the factor 0.5"),
    ],
    "threads": [
        [("return ...                      # as few", "return -(-size // threads)  # as few"),
         ("return ...                      # the number", "return block * threads + thread  # the number"),
         ("return ...                      # threads of", "return -size % threads  # threads of"),
         ("columns):\n    return ...", "columns):\n    return divmod(at, columns)")],
        ({"return ...                      # as few": "return size // threads  # as few"}, "blocks(20, 8): "),
        ({"return ...                      # the number": "return thread * threads + block  # the number"},
         "element(2, 3, 8): "),
        ({"columns):\n    return ...": "columns):\n    return at % columns, at // columns"}, "row_and_column(17, 5): "),
    ],
}
