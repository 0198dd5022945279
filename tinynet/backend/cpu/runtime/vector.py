"""Parts of kernels that LLVM turns into vector instructions: tanh, the logistic function, row operations, views.

All are Numba functions, for use inside of others. In float32, tanh is a rational function: an odd polynomial of degree
13 over an even one of degree 6, within 3e-7 of the true value. In float64 it is the C library's: exact, and slow.

Source of the coefficients: the rational approximation of the Eigen library (`generic_fast_tanh_float`).
"""

# What Numba says of the types of its own functions is not what they take.
# mypy: disable-error-code="no-untyped-call, var-annotated"

import math
from typing import Any

import numpy as np
from numba import types
from numba.core.errors import TypingError
from numba.extending import intrinsic, overload
from numba.np.arrayobj import populate_array

from tinynet.backend.cpu.runtime.intrinsics import fma
from tinynet.backend.cpu.runtime.jit import njit, noalias

_LIMIT = np.float32(7.90531110763549805)  # beyond it tanh is 1 to 2.7e-7
_A13, _A11, _A9, _A7, _A5, _A3, _A1 = (np.float32(a) for a in (
    -2.76076847742355e-16, 2.00018790482477e-13, -8.60467152213735e-11, 5.12229709037114e-08, 1.48572235717979e-05,
    6.37261928875436e-04, 4.89352455891786e-03))
_B6, _B4, _B2, _B0 = (np.float32(b) for b in (
    1.19825839466702e-06, 1.18534705686654e-04, 2.26843463243900e-03, 4.89352518554385e-03))


@noalias
def add_row(row: Any, total: Any) -> None:
    """total += row, for two vectors."""
    for j in range(row.size):
        total[j] += row[j]


@noalias
def copy(row: Any, into: Any) -> None:
    """into[...] = row, for two vectors."""
    for j in range(row.size):
        into[j] = row[j]


@noalias
def clear(row: Any) -> None:
    """row[...] = 0, for a vector."""
    for j in range(row.size):
        row[j] = 0


@intrinsic
def view(typing: Any, x: Any, start: Any, length: Any) -> Any:
    """x.reshape(-1)[start : start + length], for an array in C order.

    Cheaper than a slice: bounds are not checked, and no reference to x is held.
    """
    if not isinstance(x, types.Array) or x.layout != "C":
        raise TypingError(f"view: x must be an array in C order, got {x}; np.ascontiguousarray(x)?")

    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        start, length = (context.cast(builder, value, type, types.intp)
                         for value, type in zip(args[1:], signature.args[1:], strict=True))
        source = context.make_array(x)(context, builder, args[0])
        made = context.make_array(signature.return_type)(context, builder)
        size = context.get_constant(types.intp, context.get_abi_sizeof(context.get_data_type(x.dtype)))
        populate_array(made, data=builder.gep(source.data, [start]), shape=[length], strides=[size], itemsize=size,
                       meminfo=None)
        return made._getvalue()
    return x.copy(ndim=1)(x, start, length), generate


def tanh(x: Any) -> Any:
    """The hyperbolic tangent of a number."""
    return math.tanh(x)


@overload(tanh, jit_options={"error_model": "numpy"})
def _tanh(x):  # type: ignore[no-untyped-def]  # Numba demands the same signature as that of `tanh`
    if x != types.float32:
        return lambda x: math.tanh(x)

    def rational(x):  # type: ignore[no-untyped-def]
        clipped = -_LIMIT if x < -_LIMIT else x  # NaN passes
        clipped = _LIMIT if clipped > _LIMIT else clipped
        s = clipped * clipped
        odd = fma(s, fma(s, fma(s, fma(s, fma(s, fma(s, _A13, _A11), _A9), _A7), _A5), _A3), _A1)
        even = fma(s, fma(s, fma(s, _B6, _B4), _B2), _B0)
        return clipped * odd / even
    return rational


@njit
def logistic(z: Any) -> Any:
    """1 / (1 + exp(-z)), as (1 + tanh(z / 2)) / 2."""
    half = type(z)(0.5)
    return fma(half, tanh(half * z), half)
