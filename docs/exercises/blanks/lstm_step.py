"""Write one step of an LSTM: equations (1) to (6).

The shapes are `x` (N,D), `h` and `C` (N,H), `W` (H+D,4H) and `b` (4H). The first H rows of W belong to h, and the other
D to x. Its column blocks belong to f, i, C~ and o, in this order.
"""

import numpy as np


def sigma(z):
    return 1 / (1 + np.exp(-z))


def step(x, h, C, W, b):
    H = h.shape[1]
    z = ...            # (N,4H)
    f = ...            # (1)
    i = ...            # (2)
    candidate = ...    # (3)
    C = ...            # (4)
    o = ...            # (5)
    h = ...            # (6)
    return f, i, candidate, C, o, h
