"""What loops in Numba are made of: views of arrays, and functions whose arrays lie apart."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from numba.core.errors import TypingError

from tinynet.backend.cpu.runtime.jit import njit, noalias
from tinynet.backend.cpu.runtime.vector import view


@njit
def double(x: Any, start: Any, length: Any) -> Any:
    part = view(x, start, length)
    for i in range(part.size):
        part[i] *= 2
    return part.size


@pytest.mark.parametrize("shape", [(24,), (4, 6), (2, 3, 4)])
@pytest.mark.parametrize("dtype", ["float32", "float64", "int8"])
def test_a_view_is_counted_through_all_axes(shape: tuple[int, ...], dtype: str) -> None:
    x, expected = np.arange(24, dtype=dtype).reshape(shape), np.arange(24, dtype=dtype)
    expected[5:12] *= 2
    assert double(x, 5, 7) == 7
    assert double(x, 24, 0) == 0
    np.testing.assert_array_equal(x.reshape(-1), expected)


def test_a_view_of_an_array_in_another_order_is_refused() -> None:
    with pytest.raises(TypingError, match="view: x must be an array in C order"):
        double(np.zeros((4, 6)).T, 0, 4)


def sum_of(x: Any, y: Any, z: Any) -> None:
    for i in range(x.size):
        z[i] = x[i] + y[i]


@pytest.mark.parametrize(("compiled", "asks"), [(njit, True), (noalias, False)])
def test_nobody_asks_whether_arrays_overlap_that_lie_apart(compiled: Callable[..., Any], asks: bool) -> None:
    x, y, z = np.arange(100.0), np.ones(100), np.empty(100)
    function = compiled(sum_of)
    function(x, y, z)
    np.testing.assert_array_equal(z, x + y)
    [code] = function.inspect_llvm().values()
    assert "vector.body" in code and ("vector.memcheck" in code) is asks
