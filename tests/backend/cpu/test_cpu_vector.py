"""Views of arrays inside kernels, and their tanh."""

from typing import Any

import numpy as np
import pytest
from numba.core.errors import TypingError

from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.vector import logistic, tanh, view


@njit(cache=True)
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


@njit(cache=True)
def curves(x: Any, y: Any, z: Any) -> None:
    for i in range(x.size):
        y[i], z[i] = tanh(x[i]), logistic(x[i])


@pytest.mark.parametrize(("dtype", "tolerance"), [("float32", 3e-7), ("float64", 1e-15)])
def test_tanh_and_the_logistic_function(dtype: str, tolerance: float) -> None:
    x = np.concatenate([np.linspace(-12, 12, 24_001), [-1e30, 1e30, -np.inf, np.inf, 0, np.nan]]).astype(dtype)
    y, z, wide = np.empty_like(x), np.empty_like(x), x.astype("float64")
    curves(x, y, z)
    np.testing.assert_allclose(y, np.tanh(wide), rtol=0, atol=tolerance)
    np.testing.assert_allclose(z, (1 + np.tanh(wide / 2)) / 2, rtol=0, atol=tolerance)
