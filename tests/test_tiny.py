"""The value and the gradient of each op, in numbers that can be checked by hand. Start reading the tests here.

A row holds an op, its inputs, its value y, and the gradient of each input. The gradients are those of loss = Σ δy y,
where δy is a column of its own, or 1 at every element. The equations stand in the text of the op: `help(tn.ops.dense)`.

    python -m pytest tests/test_tiny.py            all of them, in about a second
    python -m pytest tests/test_tiny.py -k lstm    one of them
"""

import math
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import pytest

import tinynet as tn
from tinynet import ops

E, LN2, LN3, TANH1 = math.e, math.log(2), math.log(3), math.tanh(1)


class Row(NamedTuple):
    op: str
    function: Callable[..., Any]
    inputs: list[Any]
    value: Any
    gradients: list[Any]  # one for each input
    dy: Any = 1.0


ROWS = [
    # Arithmetic. A broadcast input gets the sum of the gradients of its copies.
    Row("add", ops.add, [[1, 2], [3, 4]], [4, 6], [[1, 1], [1, 1]]),
    Row("add, broadcast", ops.add, [[1, 2], 3], [4, 5], [[1, 10], 11], dy=[1, 10]),
    Row("subtract", ops.subtract, [[1, 2], [3, 5]], [-2, -3], [[1, 1], [-1, -1]]),
    Row("multiply", ops.multiply, [[2, 3], [5, 7]], [10, 21], [[5, 7], [2, 3]]),
    Row("divide", ops.divide, [[6, 8], [2, 4]], [3, 2], [[0.5, 0.25], [-1.5, -0.5]]),
    Row("negative", ops.negative, [[1, -2]], [-1, 2], [[-1, -1]]),
    Row("power", lambda x: ops.power(x, 3), [[2, -1]], [8, -1], [[12, 3]]),
    Row("exp", ops.exp, [[0, 1]], [1, E], [[1, E]]),
    Row("log", ops.log, [[1, 2]], [0, LN2], [[1, 0.5]]),
    Row("sqrt", ops.sqrt, [[4, 9]], [2, 3], [[1 / 4, 1 / 6]]),
    Row("absolute", ops.absolute, [[-3, 0, 3]], [3, 0, 3], [[-1, 0, 1]]),
    Row("maximum", ops.maximum, [[1, 5, 2], [3, 4, 2]], [3, 5, 2], [[0, 1, 1], [1, 0, 0]]),
    Row("minimum", ops.minimum, [[1, 5, 2], [3, 4, 2]], [1, 4, 2], [[1, 0, 1], [0, 1, 0]]),
    Row("clip", lambda x: ops.clip(x, 0, 1), [[-1, 0.5, 2]], [0, 0.5, 1], [[0, 1, 0]]),
    Row("where", lambda a, b: ops.where(np.array([True, False]), a, b), [[1, 2], [3, 4]], [1, 4], [[1, 0], [0, 1]]),
    # Sums, means and extremes over axes.
    Row("sum", lambda x: ops.sum(x, axis=0), [[[1, 2], [3, 4]]], [4, 6], [[[1, 10], [1, 10]]], dy=[1, 10]),
    Row("mean", ops.mean, [[1, 2, 3, 6]], 3, [[0.25, 0.25, 0.25, 0.25]]),
    Row("var", ops.var, [[1, 3, 5]], 8 / 3, [[-4 / 3, 0, 4 / 3]]),
    Row("std", ops.std, [[1, 3]], 1, [[-0.5, 0.5]]),
    Row("max", ops.max, [[1, 4, 4]], 4, [[0, 1, 0]]),
    Row("min", ops.min, [[5, 2, 2]], 2, [[0, 1, 0]]),
    # Elements that move. Each takes its gradient along.
    Row("reshape", lambda x: ops.reshape(x, (2, 2)), [[1, 2, 3, 4]], [[1, 2], [3, 4]], [[5, 6, 7, 8]],
        dy=[[5, 6], [7, 8]]),
    Row("transpose", lambda x: ops.transpose(x, (1, 0)), [[[1, 2], [3, 4]]], [[1, 3], [2, 4]], [[[5, 7], [6, 8]]],
        dy=[[5, 6], [7, 8]]),
    Row("getitem", lambda x: ops.getitem(x, [0, 2, 2]), [[1, 2, 3]], [1, 3, 3], [[5, 0, 6 + 7]], dy=[5, 6, 7]),
    Row("concatenate", lambda a, b: ops.concatenate([a, b]), [[1], [2, 3]], [1, 2, 3], [[5], [6, 7]], dy=[5, 6, 7]),
    Row("pad", lambda x: ops.pad(x, (1, 2)), [[1, 2]], [0, 1, 2, 0, 0], [[6, 7]], dy=[5, 6, 7, 8, 9]),
    Row("astype", lambda x: ops.astype(x, "float32"), [[1, 2]], [1, 2], [[1, 1]]),
    # Activations. σ(ln 3) = 3/4; the softmax of 0, 0, ln 2 is 1/4, 1/4, 1/2.
    Row("relu", ops.relu, [[-1, 0, 2]], [0, 0, 2], [[0, 0, 1]]),
    Row("sigmoid", ops.sigmoid, [[0, LN3]], [1 / 2, 3 / 4], [[1 / 4, 3 / 16]]),
    Row("tanh", ops.tanh, [[0, LN3]], [0, 4 / 5], [[1, 9 / 25]]),
    Row("softmax", ops.softmax, [[0, 0, LN2]], [1 / 4, 1 / 4, 1 / 2], [[3 / 16, -1 / 16, -1 / 8]], dy=[1, 0, 0]),
    Row("log_softmax", ops.log_softmax, [[0, 0, LN2]], [-2 * LN2, -2 * LN2, -LN2], [[3 / 4, -1 / 4, -1 / 2]],
        dy=[1, 0, 0]),
    # Losses. The gradient of the cross-entropy is p − y: here p = (1/4, 3/4) and y = (0, 1).
    Row("cross_entropy", lambda z: ops.cross_entropy(z, np.array([1])), [[[0, LN3]]], -math.log(3 / 4),
        [[[1 / 4, -1 / 4]]]),
    Row("mse", ops.mse, [[1, 5], [2, 2]], 5, [[-1, 3], [1, -3]]),
    # Products of matrices. x = (1, 2), W has the rows (3, 4) and (5, 6), b = (7, 8).
    Row("matmul", ops.matmul, [[[1, 2]], [[3, 4], [5, 6]]], [[13, 16]], [[[43, 65]], [[1, 10], [2, 20]]],
        dy=[[1, 10]]),
    Row("dense", ops.dense, [[[1, 2]], [[3, 4], [5, 6]], [7, 8]], [[20, 24]],
        [[[43, 65]], [[1, 10], [2, 20]], [1, 10]], dy=[[1, 10]]),
    # Convolutions and pooling. One channel; the kernel (-1, 1) takes differences.
    Row("conv1d", ops.conv1d, [[[[1], [2], [4]]], [[[-1]], [[1]]], [7]], [[[1 + 7], [2 + 7]]],
        [[[[-1], [1 - 10], [10]]], [[[1 + 20]], [[2 + 40]]], [11]], dy=[[[1], [10]]]),
    Row("conv2d", ops.conv2d, [[[[[1], [2]], [[3], [4]]]], [[[[5]], [[6]]], [[[7]], [[8]]]], [9]], [[[[70 + 9]]]],
        [[[[[5], [6]], [[7], [8]]]], [[[[1]], [[2]]], [[[3]], [[4]]]], [1]]),
    Row("max_pool1d", lambda x: ops.max_pool1d(x, 2), [[[[1], [3], [2], [0]]]], [[[3], [2]]],
        [[[[0], [5], [6], [0]]]], dy=[[[5], [6]]]),
    Row("max_pool2d", lambda x: ops.max_pool2d(x, 2), [[[[[1], [3]], [[2], [0]]]]], [[[[3]]]],
        [[[[[0], [1]], [[0], [0]]]]]),
    Row("avg_pool1d", lambda x: ops.avg_pool1d(x, 2), [[[[1], [3], [2], [0]]]], [[[2], [1]]],
        [[[[2], [2], [3], [3]]]], dy=[[[4], [6]]]),
    Row("avg_pool2d", lambda x: ops.avg_pool2d(x, 2), [[[[[1], [3]], [[2], [0]]]]], [[[[1.5]]]],
        [[[[[1 / 4], [1 / 4]], [[1 / 4], [1 / 4]]]]]),
    # Two elements become -1 and 1, whatever they are: x has no gradient, γ has Σ δy x̂, β has Σ δy.
    Row("batch_norm", lambda x, gamma, beta: ops.batch_norm(x, gamma, beta, eps=0.0)[0], [[[1], [3]], [2], [10]],
        [[8], [12]], [[[0], [0]], [-3 + 5], [3 + 5]], dy=[[3], [5]]),
    # This mask drops the first element; the others are doubled.
    Row("dropout", lambda x: ops.dropout(x, 0.5, key=(0, 0), counter=0), [[1, 2, 3, 4]], [0, 4, 6, 8], [[0, 2, 2, 2]]),
]


@pytest.mark.parametrize("row", ROWS, ids=[row.op for row in ROWS])
def test_value_and_gradients(row: Row) -> None:
    inputs = [tn.Tensor(np.array(values, float), requires_grad=True) for values in row.inputs]
    y = row.function(*inputs)
    np.testing.assert_allclose(y.numpy(), row.value, rtol=1e-12, atol=1e-12)
    (y * np.broadcast_to(np.asarray(row.dy, y.dtype), y.shape)).sum().backward()
    for tensor, expected in zip(inputs, row.gradients, strict=True):
        assert tensor.grad is not None and tensor.grad.shape == tensor.shape
        np.testing.assert_allclose(tensor.grad, expected, rtol=1e-12, atol=1e-12)


def test_lstm() -> None:
    """One step of one unit with W = 0 and b = 0: all z are 0, the gates are f = i = o = 1/2, and C̃ = 0."""
    x, h0, c0, W, b = (tn.Tensor(np.array(values, float), requires_grad=True)
                       for values in ([[[5]]], [[3]], [[2]], np.zeros((2, 4)), np.zeros(4)))
    _, h, c = ops.lstm(x, h0, c0, W, b)
    assert c.item() == 1  # f c0 + i C̃
    assert h.item() == pytest.approx(TANH1 / 2)  # o tanh C

    h.sum().backward()
    dC = (1 - TANH1**2) / 2  # o (1 - tanh² C)
    dz = [dC * 2 / 4, 0, dC / 2, TANH1 / 4]  # (8) to (11), with σ' = 1/4 and tanh' = 1
    np.testing.assert_allclose(b.grad, dz, rtol=1e-12)
    np.testing.assert_allclose(W.grad, np.outer([3, 5], dz), rtol=1e-12)  # the rows of h0 = 3 and x = 5
    np.testing.assert_allclose(c0.grad, [[dC / 2]], rtol=1e-12)  # (13), the carry
    assert not h0.grad.any() and not x.grad.any()  # δz Wᵀ, and W = 0


def test_a_tensor_that_is_used_twice_gets_the_sum_of_both_gradients() -> None:
    x = tn.Tensor(3.0, requires_grad=True)
    (x * x + x).backward()
    assert x.grad == 2 * 3 + 1


def test_the_chain_rule() -> None:
    """y = tanh(2 x): dy/dx = 2 (1 - y²). With x = ln(3) / 2, y = 4/5."""
    x = tn.Tensor(np.array(LN3 / 2), requires_grad=True)
    ops.tanh(2 * x).backward()
    assert x.grad == pytest.approx(2 * 9 / 25)


@pytest.mark.parametrize(("optimizer", "expected"), [
    (tn.optim.SGD, [1 - 0.1 * 4, 1 + 0.1 * 0.25]),  # value - lr g
    (tn.optim.Adam, [1 - 0.1, 1 + 0.1]),  # the first step: value - lr sign(g)
])
def test_the_first_step_of_an_optimizer(optimizer: Callable[..., tn.optim.Optimizer], expected: list[float]) -> None:
    w = tn.nn.Parameter(np.array([1.0, 1.0]))
    (w * np.array([4, -0.25])).sum().backward()  # g = (4, -1/4)
    optimizer([w], lr=0.1).step()
    np.testing.assert_allclose(w.numpy(), expected, rtol=1e-6)


def test_a_gradient_check_measures_what_backward_computes() -> None:
    assert tn.gradcheck(lambda x: ops.tanh(x) * x, [0.5, -1.0]).ok
