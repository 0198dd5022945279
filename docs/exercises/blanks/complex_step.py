"""Write the derivative of a function of one number by a complex step: one call, and no difference.

`f` takes and returns a number, and works for complex numbers.
"""

import numpy as np


def derivative(f, x):
    h = 1e-20
    return ...
