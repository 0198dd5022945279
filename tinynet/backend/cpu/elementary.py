"""tanh and the logistic function for Numba's loops, written so that LLVM turns them into vector instructions.

In float32 tanh is a quotient of two polynomials, odd of degree 13 over even of degree 6, within 3e-7 of the true value.
float64 takes the C library's tanh: exact, and slow. Two options matter as much as the formula: `error_model="numpy"`,
because a division that may raise ZeroDivisionError is not vectorised, and fastmath without `nnan` and `ninf`, because
NaN must stay NaN.

Source of the coefficients: the rational approximation of the Eigen library (`generic_fast_tanh_float`).
"""

import math
from typing import Any

import numpy as np
from numba import njit, types
from numba.extending import overload

OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "fastmath": {"contract", "arcp", "reassoc", "nsz"}}

_LIMIT = np.float32(7.90531110763549805)  # beyond it tanh is 1 to 2.7e-7
_A13, _A11, _A9, _A7, _A5, _A3, _A1 = (np.float32(a) for a in (
    -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05,
    6.37261928875436e-04, 4.89352455891786e-03))
_B6, _B4, _B2, _B0 = (np.float32(b) for b in (
    1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03))


def tanh(x: Any) -> Any:
    """The hyperbolic tangent of a number, inside of a Numba function."""
    return math.tanh(x)


@overload(tanh, jit_options=OPTIONS)  # type: ignore[arg-type]
def _tanh(x):  # type: ignore[no-untyped-def]  # Numba compares the two signatures to the letter
    if x != types.float32:
        return lambda x: math.tanh(x)

    def rational(x):  # type: ignore[no-untyped-def]
        clipped = -_LIMIT if x < -_LIMIT else x  # NaN passes
        clipped = _LIMIT if clipped > _LIMIT else clipped
        s = clipped * clipped
        odd = _A1 + s * (_A3 + s * (_A5 + s * (_A7 + s * (_A9 + s * (_A11 + s * _A13)))))
        even = _B0 + s * (_B2 + s * (_B4 + s * _B6))
        return clipped * odd / even
    return rational


@njit(cache=True, **OPTIONS)
def logistic(z: Any) -> Any:
    """1 / (1 + exp(-z)), as (1 + tanh(z / 2)) / 2."""
    half = type(z)(0.5)
    return half + half * tanh(half * z)
