"""Write a checker that finds what is wrong with a backward pass.

`forward(x)` returns an array y, and `backward(x, dy)` the gradient of the loss by x. Return one of the words "right",
"shape" (the gradient has another shape than x), "impure" (x or dy was changed), "wrong" (the derivative disagrees).
Measure the derivative by a complex step: `forward` works for complex numbers.
"""

import numpy as np


def verdict(forward, backward, x):
    dy = np.random.default_rng(0).standard_normal(forward(x).shape)
    dx = backward(x, dy)
    ...
    return "right"
