"""CPU graphs: a replay of each override with other inputs, and what cannot be recorded."""

import os
import threading
import weakref
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from numpy.lib.array_utils import byte_bounds
from test_cpu_kernels import LARGE, OVERRIDDEN

import tinynet as tn
from tests.support.child import in_a_child
from tests.support.op_cases import as_tuple, draw
from tinynet.errors import DeviceError
from tinynet.op import REGISTRY

pytest.importorskip("numba")

from tinynet import backend
from tinynet.backend import observer
from tinynet.backend.cpu.runtime import graph, memory
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.memory import SMALL, empty, zeros
from tinynet.backend.cpu.runtime.threads import launch, launch_in_turns, set_threads, threads

MOST = 1 << 24


@pytest.fixture(autouse=True)
def nothing_is_left() -> Iterator[None]:
    count = threads()
    yield
    set_threads(count)
    assert observer.current.get() is None


@njit
def double(shard: Any, shards: Any, x: Any, y: Any) -> None:
    for i in range(shard, x.size, shards):
        y[i] = 2 * x[i]


def doubled(x: Any) -> Any:
    y = empty(x.shape)
    launch(double, x, y)
    return y


def ones(size: int = 5) -> Any:
    return np.ones(size, np.float32)


# --- what an op gives for other inputs ------------------------------------------------------------------------------

def repeats(forward: Any, arrays: list[Any], others: list[Any], options: dict[str, Any]) -> bool:
    """Whether a forward pass recorded with `arrays` gives the bits of a usual one for `others`."""
    outputs = len(as_tuple(forward(np, *arrays, **options)[0]))
    recorded = [graph.record("cpu", lambda i=i: as_tuple(forward(np, *arrays, **options)[0])[i],
                              [array for array in arrays if array is not None], MOST) for i in range(outputs)]
    for array, other in zip(arrays, others, strict=True):
        if array is not None:
            array[...] = other
    expected = as_tuple(forward(np, *arrays, **options)[0])
    for (output, made), value in zip(recorded, expected, strict=True):
        made.launch()
        if not np.array_equal(output, value):
            return False
    return True


CAN_BE_RECORDED = {"lstm", "gru", "conv1d", "conv2d", "dense", "relu", "batch_norm", "max_pool1d", "max_pool2d",
                   "avg_pool1d", "avg_pool2d", "dropout", "mask_steps", "cross_entropy"}


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_what_is_recorded_gives_for_other_inputs_what_they_give(name: str) -> None:
    op, found = REGISTRY[name], 0
    for case in [*op.cases, *LARGE[name]]:
        first, second = np.random.default_rng(1), np.random.default_rng(2)
        (arrays, options), (others, _) = draw(op, case, first, "float32"), draw(op, case, second, "float32")
        with tn.no_grad():
            if OVERRIDDEN[name][0](np, *arrays, **options) is NotImplemented:
                continue
            try:
                assert repeats(OVERRIDDEN[name][0], arrays, others, options)
            except DeviceError:
                continue
        found += 1
    assert found or name not in CAN_BE_RECORDED


def test_what_numpy_does_to_an_array_that_kernels_write_to_is_found() -> None:
    """Plant a bug: a forward pass in which NumPy changes an array of a kernel. The check above must find it."""
    def honest(xp: Any, x: Any) -> Any:
        return doubled(x), None

    def dishonest(xp: Any, x: Any) -> Any:
        y = doubled(x)
        y += x
        return y, None

    assert repeats(honest, [ones()], [ones() * 3], {})
    assert not repeats(dishonest, [ones()], [ones() * 3], {})


@pytest.mark.parametrize("number", [1, 2, 3])
def test_launches_in_turn_with_any_number_of_threads(number: int) -> None:
    set_threads(number)
    x = np.arange(1000, dtype=np.float32)
    y, made = graph.record("cpu", lambda: doubled(doubled(doubled(x))), [x], MOST)
    assert np.array_equal(y, 8 * x)
    for factor in (1, 2):
        x *= factor
        y.fill(0)
        made.launch()
        assert np.array_equal(y, 8 * x)
    assert made.is_current()
    set_threads(number + 1)
    assert not made.is_current()
    made.launch()
    assert np.array_equal(y, 8 * x)


@njit
def add_in_turn(shard: Any, shards: Any, turn: Any, x: Any, y: Any) -> None:
    for i in range(shard, x.size, shards):
        y[i] = (10 * y[i] if turn else 0) + x[i]


@pytest.mark.parametrize("number", [1, 2])
def test_a_kernel_in_turns_is_repeated_in_all_of_them(number: int) -> None:
    set_threads(number)
    x = ones()

    def work() -> Any:
        y = empty(x.shape)
        launch_in_turns(add_in_turn, 3, x, y)
        return y

    y, made = graph.record("cpu", work, [x], MOST)
    assert y.tolist() == [111] * 5
    x += np.arange(5, dtype=np.float32)
    made.launch()
    assert y.tolist() == [111, 222, 333, 444, 555]


# --- work of NumPy, and memory --------------------------------------------------------------------------------------

def test_work_in_place_is_repeated_in_turn_with_launches() -> None:
    x, counter = ones(), np.zeros((), np.int64)

    def work() -> Any:
        y, total = doubled(x), zeros((), np.float64)
        observer.call(np.add, y, 1, y)
        observer.call(np.sum, y, None, None, total)
        observer.incremented(counter)
        return doubled(y), total

    (y, total), made = graph.record("cpu", work, [x, counter], MOST)
    x += 1
    made.launch()
    assert y.tolist() == [10] * 5 and total == 25 and counter == 2


def test_arrays_of_a_graph_take_turns_in_memory_of_its_own() -> None:
    x = np.arange(SMALL, dtype=np.float32)

    def work() -> Any:
        y = x
        for _ in range(6):
            y = doubled(y)
        return y

    before = work()  # its memory is kept, and taken over
    del before
    y, made = graph.record("cpu", work, [x], MOST)
    assert len(made._blocks.lent) == 2
    others = [empty(x.shape) for _ in range(4)]
    for other in others:
        other.fill(7)
    x += 1
    made.launch()
    assert np.array_equal(y, 64 * x) and all((other == 7).all() for other in others)
    z = made.beside(lambda: doubled(x))
    assert np.array_equal(z, 2 * x) and len(made._blocks.lent) == 2
    assert np.array_equal(y, 64 * x)


def test_small_arrays_of_a_graph_are_not_given_to_others() -> None:
    x = ones()
    y, made = graph.record("cpu", lambda: doubled(doubled(x)), [x], MOST)
    others = [np.full(5, 7, np.float32) for _ in range(50)]
    x += 1
    made.launch()
    assert y.tolist() == [8] * 5 and all((other == 7).all() for other in others)


@pytest.mark.parametrize("dtypes", [("float32", "float32"), ("float32", "float64"), ("float64", "float32"),
                                    ("int64", "int32")])
def test_what_makes_and_adds_arrays_is_repeated(dtypes: tuple[str, str]) -> None:
    """Of every function for arrays of any device, beside the dtype of a sum."""
    a, b = np.arange(5).astype(dtypes[0]), np.arange(5).astype(dtypes[1])

    def work() -> Any:
        total, full = backend.sum_of(a, b), backend.full((5,), 7, "float32", "cpu")
        copies = [backend.empty((5,), one.dtype, "cpu") for one in (a, b)]
        backend.copy_all(copies, [a, b])
        backend.copy_all([], [])
        return total, full, backend.add_to(backend.sum_of(a, a), a), *copies

    outputs, made = graph.record("cpu", work, [a, b], MOST)
    for _ in range(2):
        a += 3
        b *= 2
        for output in outputs:
            output.fill(99)
        made.launch()
        for output, wanted in zip(outputs, (a + b, np.full(5, 7, "float32"), 3 * a, a, b), strict=True):
            assert output.dtype == wanted.dtype
            np.testing.assert_array_equal(output, wanted)


NUMBER = np.array(3)


@pytest.mark.parametrize(("option", "is_repeated"), [
    (3, True), (np.int64(3), True), (NUMBER, True), ((1, [NUMBER]), True), (None, True), ([1, 2], True),
    (np.array([3]), False), ([np.array([3])], False), ((1, [np.array([3])]), False)])
def test_an_op_without_kernels_is_repeated_unless_arrays_select_what_it_does(option: Any, is_repeated: bool) -> None:
    """They may select another number of elements in a replay."""
    def function(xp: Any, x: Any, *, option: Any) -> Any:
        return 2 * x, None

    x, work = ones(), lambda: backend.repeat.forward(function, np, [x], [False], {"option": option}, False)[0]
    if not is_repeated:
        with pytest.raises(DeviceError, match=r"an array of shape \(5,\) that NumPy made"):
            graph.record("cpu", work, [x], MOST)
        return
    y, made = graph.record("cpu", work, [x, NUMBER], MOST)
    x += 1
    made.launch()
    assert y.tolist() == [4] * 5


@pytest.mark.parametrize("is_traced", [False, True])
def test_both_passes_of_an_op_without_kernels_are_repeated(is_traced: bool) -> None:
    """A constant is passed on as it is. The cache, a gradient that is a view and one that is not needed take part."""
    constant, asked = np.full(5, 10.0, np.float32), list[Any]()

    def function(xp: Any, x: Any, constant: Any, *, factor: float) -> Any:
        return (factor * x + constant, x[:2]), x.copy()

    def gradient(xp: Any, dy: Any, dz: Any, *, cache: Any, needs: Any) -> Any:
        asked.append(needs)
        return dy, None, dy * cache, dz[:1]

    def work() -> Any:
        (y, z), cache = backend.repeat.forward(function, np, [x, constant], [False, True], {"factor": 2.0}, is_traced)
        if not is_traced:
            return y, z
        return y, z, *(one for one in backend.repeat.backward(gradient, np, [y, z], cache, (True, False))
                       if one is not None)

    x = ones()
    outputs, made = graph.record("cpu", work, [x], MOST)
    x += np.arange(5, dtype=np.float32)
    made.launch()
    y = 2 * x + 10
    wanted = [y, x[:2], y, y * x, x[:1]]
    for output, value in zip(outputs, wanted if is_traced else wanted[:2], strict=True):
        np.testing.assert_array_equal(output, value)
    assert asked == [(True, False)] * 2 * is_traced


def test_underflow_is_no_error_in_a_replay() -> None:
    """As in a usual step, whose updates allow it."""
    x = ones()

    def work() -> Any:
        y = doubled(x)
        with np.errstate(under="ignore"):
            observer.call(np.multiply, y, np.float32(1e-30), y)
            observer.call(np.multiply, y, np.float32(1e-30), y)
        return y

    y, made = graph.record("cpu", work, [x], MOST)
    with np.errstate(all="raise"):
        made.launch()
    assert y.tolist() == [0] * 5


def test_after_the_limit_arrays_are_freed_as_usual() -> None:
    """Nothing comes of such a recording."""
    freed = list[bool]()

    def work() -> Any:
        kept = empty((MOST // 4 + 1,))
        for size in (5, SMALL):
            array = empty((size,))
            assert size == 5 or any(loan() is array.base.base for loan in memory.shared.lent.values())
            reference = weakref.ref(array)
            del array
            freed.append(reference() is None)
        return doubled(kept[:5])

    with pytest.raises(DeviceError, match="arrays must have 16777216 bytes at most"):
        graph.record("cpu", work, [], MOST)
    assert freed == [True] * 2


# --- what is refused ------------------------------------------------------------------------------------------------

def test_what_cannot_be_recorded() -> None:
    x = ones()
    refused = [
        (lambda: doubled(np.sqrt(x)), r"record: kernels must do all the work, .* got an array of shape \(5,\)"),
        (lambda: doubled(x) + 1, r"record: .* got an array of shape \(5,\) that NumPy made; write a kernel"),
        (lambda: launch(into_a_pair, (x, np.zeros_like(x))) or x, r"record: .* an array of shape \(5,\)"),
        (lambda: x, r"record: .* got no kernel"),
        (lambda: doubled(empty((MOST,))[:5]), r"record: arrays must have 16777216 bytes at most, got \d+; make batch"),
    ]
    for work, message in refused:
        with pytest.raises(DeviceError, match=message):
            graph.record("cpu", work, [x], MOST)
    y, made = graph.record("cpu", lambda: doubled(x[1:3]), [x], MOST)
    x += 1
    made.launch()
    assert y.tolist() == [4, 4]


def test_a_limit_may_be_met_exactly() -> None:
    x = ones()
    y, made = graph.record("cpu", lambda: doubled(x), [x], x.nbytes)
    x += 1
    made.launch()
    assert y.tolist() == [4] * 5
    with pytest.raises(DeviceError, match=r"arrays must have 19 bytes at most, got 20"):
        graph.record("cpu", lambda: doubled(x), [x], x.nbytes - 1)


def test_arrays_of_any_argument_of_a_call_are_checked_and_those_without_elements_are_none() -> None:
    """An array of an option, of a list and of the result; one of no elements lies nowhere."""
    def changed(target: Any, *others: Any, **options: Any) -> None:
        target += 1

    def call(*arguments: Any, **options: Any) -> Any:
        def work() -> Any:
            backend.call(changed, y := doubled(x), *arguments, **options)
            return y
        return work

    x = ones()
    for work in (call(ones()), call([ones()]), call((x, [ones()])), call(other=ones()), call(others=[x, ones()]),
                 lambda: (doubled(x), ones())):
        with pytest.raises(DeviceError, match=r"an array of shape \(5,\) that NumPy made"):
            graph.record("cpu", work, [x], MOST)
    for work in (call(), call([x], other=x), call(np.zeros(0), other=np.zeros((3, 0)))):
        y, made = graph.record("cpu", work, [x], MOST)
        before = x.copy()
        x += 1
        made.launch()
        assert y.tolist() == (2 * before + 3).tolist()


@njit
def into_a_pair(shard: Any, shards: Any, pair: Any) -> None:
    pair[1][:] = pair[0]


def test_work_that_fails_is_not_recorded() -> None:
    def fails() -> Any:
        doubled(ones())
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        graph.record("cpu", fails, [], MOST)


def test_what_other_threads_do_meanwhile_is_not_recorded() -> None:
    x, others, failed = ones(), np.zeros(5, np.float32), []

    def work() -> Any:
        def elsewhere() -> None:
            try:
                others[...] = doubled(np.sqrt(ones() * 4))  # which would be refused
            except BaseException as error:
                failed.append(error)

        y = doubled(x)
        thread = threading.Thread(target=elsewhere)
        thread.start()
        thread.join()
        return y

    y, made = graph.record("cpu", work, [x], MOST)
    assert others.tolist() == [4] * 5 and not failed
    x += 1
    made.launch()
    assert y.tolist() == [4] * 5 and others.tolist() == [4] * 5


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_fork_while_another_thread_records() -> None:
    begun, done = threading.Event(), threading.Event()

    def slowly() -> Any:
        begun.set()
        done.wait(60)
        return doubled(x)

    def in_the_child() -> None:
        assert observer.current.get() is None
        y, made = graph.record("cpu", lambda: doubled(x), [x], MOST)
        x[...] += 1
        made.launch()
        assert y.tolist() == [4] * 5

    x = ones()
    recorder = threading.Thread(target=lambda: graph.record("cpu", slowly, [x], MOST))
    recorder.start()
    begun.wait(60)
    status = in_a_child(in_the_child)
    done.set()
    recorder.join()
    assert status == 0


def test_an_array_that_overlaps_a_known_one_is_foreign_unless_all_of_it_is_known() -> None:
    big = np.zeros(10, np.float32)
    known = [byte_bounds(big[2:6])]
    for part, lies_in in ((big[2:6], True), (big[3:5], True), (big[5:2:-1], True), (big[4:4], True), (big[9:9], True),
                          (big[1:5], False), (big[3:7], False), (big, False), (big[6:8], False), (big[2::2], False)):
        assert graph._lies_in(known, part) is lies_in
