"""The arrays of the emulated device refuse what those of a GPU refuse."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tinynet.backend.cuda import emulated
from tinynet.errors import DeviceError

xp = emulated.namespace
host = np.arange(6, dtype="float32").reshape(2, 3)


def test_arrays_come_and_go_as_copies() -> None:
    for make in (emulated.array, xp.asarray, xp.array):
        there = make(host)
        assert isinstance(there, emulated.Array)
        there += 1
        back = there.get()
        assert isinstance(back, np.ndarray)
        assert np.array_equal(back, host + 1)
        back[...] = 0
        assert np.array_equal(there.get(), host + 1)


@pytest.mark.parametrize("mix", [
    lambda x: x + host, lambda x: host + x, lambda x: host @ x.T, lambda x: x.__iadd__(host),
    lambda x: x.__setitem__(0, host[0]), lambda x: x[np.array([0])], lambda x: xp.maximum(x, host),
    lambda x: xp.concatenate([x, host]), lambda x: np.maximum(x, 1), lambda x: np.asarray(x),
    lambda x: np.stack([x, x]),
])
def test_arrays_of_the_host_are_refused(mix: Callable[[Any], Any]) -> None:
    with pytest.raises((DeviceError, TypeError)):
        mix(emulated.array(host))


def test_results_are_arrays_without_axes_and_numbers_are_weak() -> None:
    there = emulated.array(host)
    for result in (there.sum(), there.max(), there[0, 1], xp.zeros(()), there.mean() / 2):
        assert isinstance(result, emulated.Array)
        assert result.shape == ()
    assert (there * 2 + 1.5).dtype == np.float32
    assert np.array_equal((there @ there.T - 1).get(), host @ host.T - 1)


WAITS: list[Callable[[Any], Any]] = [
    float, int, bool, str, repr, lambda x: x.get(), lambda x: x.item(), lambda x: x.tolist(), lambda x: [0, 1][x]]


@pytest.mark.parametrize("wait", WAITS)
def test_what_makes_the_host_wait_is_counted_and_can_be_forbidden(wait: Callable[[Any], Any]) -> None:
    there, before = emulated.array(np.asarray(1)), emulated.waits
    wait(there)
    assert emulated.waits == before + 1
    with emulated.no_waiting(), pytest.raises(DeviceError, match="nothing may make the host wait"):
        wait(there)
    wait(there)


def test_copying_from_the_host_can_be_forbidden_and_numbers_pass() -> None:
    with emulated.no_waiting():
        assert xp.full((2,), 3.0).shape == (2,)
        for make in (emulated.array, xp.asarray, xp.array):
            with pytest.raises(DeviceError, match="copying"):
                make(host)


@pytest.mark.parametrize("dtype", ["float32", "int64", "uint8"])
def test_memory_that_nobody_wrote_to_is_no_sensible_number(dtype: str) -> None:
    values = xp.empty((3, 2), dtype).get()
    assert np.isnan(values).all() if dtype == "float32" else (values == np.iinfo(dtype).max).all()
    assert xp.empty_like(emulated.array(host)).dtype == np.float32


def test_a_function_that_cupy_may_not_have_is_refused() -> None:
    with pytest.raises(AttributeError, match="does CuPy have it"):
        xp.nanargmax(host)
