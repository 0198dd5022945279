"""Write the backward passes of ReLU, max pooling and dropout.

`x` is the input and `dy` the gradient of the loss with respect to the output; both have one axis. Each function
returns the gradient with respect to the input. The windows of `dmax_pool` have `size` elements and do not overlap; in a
tie, the first element gets the gradient. `keep` is True where dropout kept an element, which has the probability 1 − p.
"""

import numpy as np


def drelu(dy, x):
    return ...


def dmax_pool(dy, x, size):
    dx = np.zeros(len(x))
    for t in range(len(dy)):
        window = x[t * size : (t + 1) * size]
        ...
    return dx


def ddropout(dy, keep, p):
    return ...
