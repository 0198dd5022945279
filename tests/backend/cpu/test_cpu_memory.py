"""Memory that is used again: never two arrays at once, never too much."""

import functools
import gc
import types
from typing import Any

import numpy as np
import pytest

from tinynet.backend import sum_of
from tinynet.backend.cpu.runtime import graph, memory, packing, threads
from tinynet.backend.cpu.runtime.memory import SMALL, empty, release

SHAPE = (SMALL // 4, 3)


@pytest.fixture(autouse=True)
def nothing_kept() -> Any:
    gc.collect()
    release()
    yield
    release()


def address(array: Any) -> int:
    return int(array.__array_interface__["data"][0])


def test_an_array_like_any_other() -> None:
    for shape, dtype in ((SHAPE, "float32"), ((5, 0, 7), "float32"), ((), "float64"), ((SMALL, 1, 2), "uint8"),
                         ((SMALL,), "bool")):
        array = empty(shape, dtype)
        assert array.shape == shape and array.dtype == dtype and array.flags.c_contiguous and array.flags.writeable
        assert type(array) is np.ndarray
        array[...] = 1
        assert (array == 1).all()


def test_arrays_are_aligned_wherever_their_memory_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (0, 8, 64, 120):
        def at_place(size: int, dtype: Any, place: int = place) -> Any:
            made: Any = np.zeros(size + 2 * memory.PAIR, np.uint8)
            return made[(place - made.ctypes.data) % memory.PAIR:][:size]

        monkeypatch.setattr(memory.np, "empty", at_place)
        array = empty(SHAPE)
        assert address(array) % memory.PAIR == 0
        assert {address(block.memory) % memory.PAIR for block in memory.shared.lent} == {place}
        del array
        release()


def test_sizes_are_rounded_up_to_eight_steps_for_each_power_of_two() -> None:
    sizes = range(2**17, 2**18, 97)
    assert len({memory._rounded(size) for size in sizes}) == 9
    assert all(0 <= memory._rounded(size) - size < size / 8 for size in sizes)


def test_memory_is_used_again_when_the_array_is_gone() -> None:
    array = empty(SHAPE)
    place = address(array)
    del array
    assert address(empty(SHAPE)) == place
    smaller = empty((SHAPE[0] - 1, SHAPE[1]))
    assert address(smaller) == place, "sizes that differ little take each other's place"


def test_not_while_a_view_of_it_is_alive() -> None:
    array = empty(SHAPE)
    array[:] = 5
    view = array.reshape(-1)[10:20].view()
    del array
    for _ in range(3):
        empty(SHAPE)[:] = 7
    assert (view == 5).all()


def test_two_live_arrays_share_nothing() -> None:
    arrays = [empty(SHAPE) for _ in range(5)]
    for i, array in enumerate(arrays):
        array[:] = i
    assert all((array == i).all() for i, array in enumerate(arrays))


def test_no_more_is_kept_than_twice_what_was_in_use_at_once() -> None:
    memory._most = 0
    for rows in range(SHAPE[0], 40 * SHAPE[0], SHAPE[0]):  # each of another size, one at a time
        empty((rows, 3))
    kept = sum(size * len(blocks) for size, blocks in memory.shared.kept.items())
    largest = memory._rounded(39 * SHAPE[0] * 3 * 4 + memory.PAIR)  # never more in use at once
    assert memory._most == largest and 0 < kept <= 3 * largest
    assert memory._made == kept
    release()
    assert memory._made == 0 and not any(memory.shared.kept.values())


def test_when_the_system_has_none_left_what_is_kept_is_given_back(monkeypatch: pytest.MonkeyPatch) -> None:
    del_me = empty(SHAPE)
    del del_me
    refusals = [True]
    real = np.empty

    def sparing(size: Any, dtype: Any) -> Any:
        if refusals:
            refusals.pop()
            raise MemoryError
        return real(size, dtype)
    monkeypatch.setattr(memory.np, "empty", sparing)
    array = empty((2 * SHAPE[0], 3))
    assert array.size and not any(memory.shared.kept.values())


def test_memory_that_the_system_refuses_is_not_counted() -> None:
    """Else it would count as in use for ever, and any amount would be kept."""
    before = memory._made, memory._most
    for elements in (2**58, 2**70):
        with pytest.raises((MemoryError, ValueError)):
            empty((elements,))
    assert (memory._made, memory._most) == before


def test_memory_comes_back_without_code_of_python() -> None:
    """An interrupt in a `__del__` or a callback of Python would be lost."""
    array = empty(SHAPE)
    [(block, loan)] = [(block, loan) for block, loan in memory.shared.lent.items() if loan() is array.base.base]
    assert isinstance(loan.__callback__, functools.partial)
    assert isinstance(loan.__callback__.func, types.BuiltinMethodType)
    assert type(block).__hash__ is object.__hash__ and type(block).__eq__ is object.__eq__
    del array
    assert any(block in blocks for blocks in memory.shared.kept.values())
    release()
    assert block not in memory.shared.lent


def test_what_is_counted_is_what_there_is_also_after_recordings() -> None:
    """A recording takes kept blocks over, which are then not shared any more."""
    def counted() -> bool:
        kept = sum(block.memory.nbytes for blocks in memory.shared.kept.values() for block in blocks)
        used = sum(block.memory.nbytes for block, loan in memory.shared.lent.items() if loan() is not None)
        return memory._made == kept + used

    x = empty(SHAPE)
    x.fill(1)
    for _ in range(3):
        before = [empty((rows, 3)) for rows in (SHAPE[0], SHAPE[0], 2 * SHAPE[0])]
        assert counted()
        del before
        assert counted()
        total, recorded = graph.record("cpu", lambda: sum_of(sum_of(x, x), x), [x], 1 << 30)
        assert counted() and len(recorded._blocks.lent) == 2
        assert not any(block in memory.shared.lent for block in recorded._blocks.lent)
        others = [empty(SHAPE) for _ in range(4)]
        for other in others:
            other.fill(7)
        recorded.launch()
        assert (total == 3).all() and all((other == 7).all() for other in others) and counted()
        del total, recorded, others, other


def test_rows_of_words_are_zeros_at_pairs_of_cache_lines() -> None:
    kept = list[Any]()
    for words in (1, 3, 16, 17, 400):
        for rows in (1, 2, 5):
            made = memory.aligned_words(rows, words)
            assert made.shape == (rows, words) and made.dtype == np.int64 and made.flags.c_contiguous
            assert address(made) % memory.PAIR == 0 and not made.any()
            made[...] = 7
            kept.append(made)
    assert all((made == 7).all() for made in kept)


def test_a_copy_is_made_for_another_order_or_dtype_alone() -> None:
    array = np.arange(6.0).reshape(2, 3)
    assert memory.contiguous(array) is memory.contiguous(array, "float64") is array
    for given, dtype in ((array.T, None), (array, "float32"), (array, "int64"), (array.T, "float64"),
                         (array[:, ::2], None)):
        for made in (memory.contiguous(given, dtype), memory.copied(given, dtype)):
            assert made.flags.c_contiguous and made.dtype == (dtype or given.dtype)
            np.testing.assert_array_equal(made, given)
            assert not np.shares_memory(made, array)
    assert not np.shares_memory(memory.copied(array), array)
    assert memory.zeros((2, 3), "int64").dtype == np.int64 and not memory.zeros(SHAPE).any()
    assert memory.zeros((0, 3)).shape == (0, 3) and memory.zeros((2,)).dtype == memory.empty((2,)).dtype == np.float32


@pytest.mark.parametrize("count", [1, 2, 3])
def test_a_sum_over_parts_in_any_number_of_shards_reads_no_memory_of_others(count: int) -> None:
    before = threads.threads()
    try:
        threads.set_threads(count)
        for shape in ((3, 4 * threads.WORTH + 1), (2, threads.WORTH, 3), (1, 3 * threads.WORTH), (4, 5)):
            parts = np.random.default_rng(0).standard_normal(shape).astype("float32")
            empty(shape[1:]).fill(np.nan)  # the sum takes this memory
            np.testing.assert_allclose(packing.summed(parts), parts.sum(axis=0), rtol=1e-5, atol=1e-5)
    finally:
        threads.set_threads(before)
