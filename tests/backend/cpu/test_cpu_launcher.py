"""Launchers: arguments of every kind arrive at every shard, and what a kernel must not do is an error."""

from typing import Any

import numpy as np
import pytest
from numba.core.errors import TypingError

from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.launcher import launch_as_row, launchers
from tinynet.backend.cpu.runtime.mailbox import ROW_WORDS
from tinynet.backend.cpu.runtime.memory import aligned_words
from tinynet.backend.cpu.runtime.threads import launch, launch_rows, set_threads
from tinynet.errors import ArgumentError, DeviceError


@njit
def scale_rows(shard: Any, shards: Any, x: Any, y: Any, factor: Any) -> None:
    N = x.shape[0]
    for n in range(shard * N // shards, (shard + 1) * N // shards):
        for j in range(x.shape[1]):
            y[n, j] = factor * x[n, j]


@pytest.mark.parametrize("number", [1, 2, 3])
def test_arguments_of_every_kind_arrive(number: int) -> None:
    set_threads(number)
    x = np.arange(70, dtype=np.float32).reshape(10, 7)
    frozen = x.copy()
    frozen.setflags(write=False)
    for source, factor in [(x, np.float32(2)), (x[::-1, ::2], 3), (x.T, 0.5), (frozen, True), (x[:0], 1.0)]:
        y = np.full(source.shape, np.nan, np.float32)
        launch(scale_rows, source, y, factor)
        np.testing.assert_array_equal(y, source * np.float32(factor))


@njit
def fill(shard: Any, shards: Any, target: Any, scale: Any) -> None:
    arrays, (first, second) = target
    scratch = np.empty(1000)
    scratch[:] = first + second
    for i in range(shard, arrays.size, shards):
        arrays[i] = scratch[i] * (1 if scale is None else scale)


def test_tuples_none_and_arrays_made_inside() -> None:
    set_threads(3)
    target = np.zeros(1000)
    launch(fill, (target, (1, 2.5)), None)
    assert (target == 3.5).all()
    launch(fill, (target, (1, 2.5)), 2)
    assert (target == 7).all()


@pytest.mark.parametrize("number", [1, 2])
def test_rows_launch_what_they_were_made_from(number: int) -> None:
    set_threads(number)
    x, y = np.ones((4, 3), np.float32), np.zeros((4, 3), np.float32)
    launch(scale_rows, x, y, 2)
    rows = aligned_words(3, ROW_WORDS)
    for row, (factor, shards) in zip(rows, [(3, 1), (5, 2), (7, 4)], strict=True):
        row[:] = launch_as_row(launchers[scale_rows], shards, 1, (x, y, factor))
    for i in range(3):
        launch_rows(rows[i:i + 1])
        np.testing.assert_array_equal(y, x * (3, 5, 7)[i])
    x += 1
    launch_rows(rows)
    np.testing.assert_array_equal(y, x * 7)


def test_arguments_that_do_not_fit_into_a_row() -> None:
    many = tuple(np.ones(3) for _ in range(80))
    launch(first_of, many, np.zeros(3))
    with pytest.raises(DeviceError, match="record: arguments must fit into 3968 bytes, got more; pass fewer arrays"):
        launch_as_row(launchers[first_of], 1, 1, (many, np.zeros(3)))


@njit
def first_of(shard: Any, shards: Any, many: Any, y: Any) -> None:
    y[:] = many[0]


# --- what a kernel must not do --------------------------------------------------------------------------------------

@njit
def raising(shard: Any, shards: Any, which: Any) -> None:
    if shard == which:
        raise ValueError("no")


@pytest.mark.parametrize("shards", [1, 2, 4])
def test_a_kernel_that_raises(shards: int) -> None:
    set_threads(2)
    with pytest.raises(RuntimeError, match="a shard of raising raised"):
        launch(raising, shards - 1, shards=shards)
    launch(raising, -1, shards=shards)
    rows = aligned_words(3, ROW_WORDS)
    for row, which in zip(rows, (-1, shards - 1, -1), strict=True):
        row[:] = launch_as_row(launchers[raising], shards, 1, (which,))
    with pytest.raises(RuntimeError, match="a shard of a recorded kernel raised"):
        launch_rows(rows)
    launch_rows(rows[2:])


@pytest.mark.parametrize("shards", [0, -1])
def test_no_shards(shards: int) -> None:
    with pytest.raises(ArgumentError, match="launch: shards must be at least 1, got"):
        launch(raising, 5, shards=shards)


def test_a_kernel_that_returns_something() -> None:
    @njit
    def returning(shard: Any, shards: Any) -> Any:
        return shard

    with pytest.raises(TypingError, match="launch: returning must return nothing, it returns int64"):
        launch(returning)
