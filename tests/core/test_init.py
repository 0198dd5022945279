"""Initial values: their distributions, their independence, and that the same seed gives the same bits."""

import math
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import init
from tinynet.errors import ArgumentError
from tinynet.tracing import shapes_only

# fan_in and fan_out of some shapes: inputs before outputs, a kernel's field multiplies both
FANS = {(300, 200): (300, 200), (3, 100, 50): (300, 150), (3, 4, 20, 30): (240, 360)}
VARIANCES = {"he_normal": lambda i, o: 2 / i, "he_uniform": lambda i, o: 2 / i,
             "glorot_normal": lambda i, o: 2 / (i + o), "glorot_uniform": lambda i, o: 2 / (i + o)}
WEIGHTS = [*VARIANCES, "orthogonal"]


@pytest.mark.parametrize("shape", FANS)
@pytest.mark.parametrize("name", VARIANCES)
def test_variance(name: str, shape: tuple[int, ...]) -> None:
    values = getattr(init, name)(shape, "float64")
    n, variance = values.size, VARIANCES[name](*FANS[shape])
    assert values.shape == shape
    assert abs(values.mean()) < 4 * math.sqrt(variance / n)
    assert abs(values.var() / variance - 1) < 4 * math.sqrt(2 / n)
    limit = math.sqrt(3 * variance)
    if name.endswith("uniform"):
        assert 0.995 * limit < np.abs(values).max() <= limit
        assert abs((np.abs(values) < limit / 2).mean() - 0.5) < 4 * 0.5 / math.sqrt(n)
    else:
        assert abs((np.abs(values) < math.sqrt(variance)).mean() - math.erf(math.sqrt(0.5))) < 4 * 0.5 / math.sqrt(n)


@pytest.mark.parametrize("dtype", ["float32", "float64", "float16"])
@pytest.mark.parametrize("name", ["zeros", "ones", *WEIGHTS])
def test_values_have_the_dtype_asked_for(name: str, dtype: str) -> None:
    values = getattr(init, name)((4, 5), dtype)
    assert values.dtype == dtype and getattr(init, name)((4, 5)).dtype == np.float32
    if name in ("zeros", "ones"):
        assert (values == ("zeros", "ones").index(name)).all()


@pytest.mark.parametrize("shape", [(4, 4), (7, 3), (3, 7), (1, 5), (5, 1), (2, 3, 4), (3, 2, 2, 20)])
def test_orthogonal(shape: tuple[int, ...]) -> None:
    Q = init.orthogonal(shape, "float64")
    assert Q.shape == shape
    Q = Q.reshape(-1, shape[-1])
    gram = Q @ Q.T if Q.shape[0] < Q.shape[1] else Q.T @ Q
    np.testing.assert_allclose(gram, np.eye(min(Q.shape)), atol=1e-14)


def test_orthogonal_matrices_are_equally_likely() -> None:
    """Without the signs of R's diagonal, the first elements would all be negative."""
    drawn = np.array([init.orthogonal((2, 2), "float64") for _ in range(400)])
    assert abs((drawn[:, 0, 0] > 0).mean() - 0.5) < 4 * 0.5 / math.sqrt(400)
    assert abs((np.linalg.det(drawn) > 0).mean() - 0.5) < 4 * 0.5 / math.sqrt(400)
    angles = np.arctan2(drawn[:, 1, 0], drawn[:, 0, 0])
    assert abs(np.cos(2 * angles).mean()) < 4 * math.sqrt(0.5 / 400)


@pytest.mark.parametrize("name", WEIGHTS)
def test_each_call_draws_new_numbers_and_a_seed_the_same(name: str) -> None:
    draw = getattr(init, name)
    tn.seed(1)
    first, second = draw((4, 5)), draw((4, 5))
    tn.seed(1)
    again = draw((4, 5))
    tn.seed(2)
    other = draw((4, 5))
    assert (first != second).any()
    assert (first != other).any()
    np.testing.assert_array_equal(first, again)


def test_the_bits_are_these() -> None:
    """So that no version draws others unnoticed: the numbers are a function of seed, stream "init" and draw."""
    tn.seed(3)
    init.zeros((2, 2))  # draws nothing
    values = init.he_uniform((2, 3), "float64")
    u = tn.random.uniform((2, 3), (3, tn.random.stream("init")), 0)
    np.testing.assert_array_equal(values, math.sqrt(3) * (2 * u - 1))
    z = tn.random.normal((2, 3), (3, tn.random.stream("init")), 1)
    np.testing.assert_array_equal(init.glorot_normal((2, 3), "float64"), math.sqrt(0.4) * z)


@pytest.mark.parametrize("name", [*WEIGHTS, "zeros", "ones"])
def test_dtypes(name: str) -> None:
    draw = getattr(init, name)
    assert draw((3, 4)).dtype == np.float32
    tn.seed(0)
    wide = draw((3, 4), "float64")
    tn.seed(0)
    np.testing.assert_array_equal(draw((3, 4)), wide.astype("float32"))


def test_constants() -> None:
    assert init.zeros((2, 1)).tolist() == [[0.0], [0.0]]
    assert init.ones((2,)).tolist() == [1.0, 1.0]
    assert init.zeros(()).shape == ()
    assert init.zeros((np.int64(2), np.uint8(3))).shape == init.ones((np.int64(2), np.uint8(3))).shape == (2, 3)
    a = init.zeros((2,))
    a += 1
    assert init.zeros((2,)).tolist() == [0.0, 0.0]


@pytest.mark.parametrize("name", WEIGHTS)
@pytest.mark.parametrize("shape", [(), (3,), (0, 3), (3, 0)])
def test_weights_have_inputs_and_outputs(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=r"init: shape must have at least two axes, .*; tn.init.zeros"):
        getattr(init, name)(shape)


@pytest.mark.parametrize("name", [*WEIGHTS, "zeros", "ones"])
@pytest.mark.parametrize("shape", [(2.5, 3), (3, "4"), (3, True), (3, None), (-1, 3)])
def test_sizes_are_integers(name: str, shape: tuple[int, ...]) -> None:
    with pytest.raises(ArgumentError, match=r"init: shape must be integers of at least 0, got .*; are the sizes"):
        getattr(init, name)(shape)


@pytest.mark.parametrize("name", [*WEIGHTS, "zeros", "ones"])
def test_shapes_alone_take_no_memory_and_draw_nothing(name: str) -> None:
    for options in ({}, {"dtype": "float64"}, {"dtype": "float16"}):
        with shapes_only():
            values: Any = getattr(init, name)((10**6, 10**6), **options)
        assert values.shape == (10**6, 10**6)
        assert values.strides == (0, 0) and values.dtype == options.get("dtype", "float32")
    assert tn.random.next_draw() == 0
