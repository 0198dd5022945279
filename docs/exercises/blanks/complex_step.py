"""Compute the derivative f'(x) by a complex step: with one call of `f`, and without a difference.

`f` is an analytic function of one number. It accepts complex numbers, and is real for real ones.
"""

import numpy as np


def derivative(f, x):
    h = 1e-20
    return ...
