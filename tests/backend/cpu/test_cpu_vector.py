"""Views of arrays inside kernels."""

from typing import Any

import numpy as np
import pytest
from numba.core.errors import TypingError

from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.vector import view


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
