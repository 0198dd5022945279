"""The arrays of "gpu-emulated" refuse what CuPy's refuse."""

import gc
import math
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.backend.cuda.runtime import emulator, fake_cuda, fake_cupy, graph, launch
from tinynet.errors import DeviceError

host = np.arange(6, dtype="float32").reshape(2, 3)


xp: Any = fake_cupy.namespace


class OtherArray(fake_cupy.DeviceArray):
    """An array of another device."""

    place = "other"


class OtherNamespace(fake_cupy.Namespace):
    ndarray = OtherArray


def test_arrays_come_and_go_as_copies() -> None:
    for make in (xp.asarray, xp.array):
        there = make(host)
        assert type(there) is xp.ndarray
        there += 1
        back = there.get()
        assert isinstance(back, np.ndarray)
        assert np.array_equal(back, host + 1)
        back[...] = 0
        assert np.array_equal(there.get(), host + 1)
    there = xp.asarray(host)
    assert xp.asarray(there) is there
    assert xp.asarray(there, "float64").dtype == np.float64


def test_the_limits_of_the_emulated_device_are_those_of_its_header() -> None:
    header = emulator.__file__.replace(".py", ".h")
    with open(header) as file:
        assert f"MOST_SHARED = {emulator.SHARED // 1024} * 1024," in file.read()
    assert launch.limits(xp.zeros(1)) == launch.Limits(emulator.SHARED, emulator.MULTIPROCESSORS)


def test_an_allocator_holds_until_its_block_ends_also_by_an_error() -> None:
    pool, asked = fake_cuda.MemoryPool(), list[int]()
    with pytest.raises(KeyError), fake_cuda.using_allocator(lambda size: asked.append(size) or pool.malloc(size)):
        xp.zeros(5, "float32")
        raise KeyError
    xp.zeros(7, "float32")
    assert asked == [20]


def test_a_large_recording_frees_what_is_unused_before_it_begins(monkeypatch: pytest.MonkeyPatch) -> None:
    """Memory, and the graphs and arrays that only refer to each other. A small one, beside a replay, takes no time."""
    class Held:
        itself: "Held"

    events = list[str]()
    monkeypatch.setattr(fake_cuda.default_pool, "free_all_blocks", lambda: events.append("freed"), raising=False)
    gc.disable()
    try:
        for is_large in (True, False):
            held = Held()
            held.itself, gone = held, weakref.ref(held)
            del held
            graph.capture("gpu-emulated", lambda: events.append("recorded"), is_large=is_large)
            assert (gone() is None) == is_large
    finally:
        gc.enable()
    assert events == ["freed", "recorded", "recorded"]
    for limit, frees in ((math.inf, 1), (100, 0)):
        events.clear()
        graph.record("gpu-emulated", lambda: None, [], limit)
        assert len(events) == frees


def test_python_collects_no_garbage_while_it_records() -> None:
    """Afterwards it does if it did before."""
    seen = list[bool]()
    for before in (True, False):
        try:
            if not before:
                gc.disable()
            graph.capture("gpu-emulated", lambda: seen.append(gc.isenabled()), is_large=False)
            assert gc.isenabled() == before
        finally:
            gc.enable()
    assert seen == [False, False]


def test_the_current_stream_records_if_it_does_not_wait_for_others() -> None:
    waiting, other = fake_cuda.Stream(), fake_cuda.Stream(non_blocking=True)
    for current, stream in ((waiting, waiting), (waiting, other)):
        with current, pytest.raises(RuntimeError, match="only the current stream can record, and only if it does not"):
            stream.begin_capture()


def test_a_graph_belongs_to_its_stream_and_may_just_fill_its_limit() -> None:
    (y, *_), made = graph.record("gpu-emulated", lambda: (xp.zeros(5, "float32"), 0), [], 20)
    assert made.is_current() and y.get().tolist() == [0] * 5
    with fake_cuda.Stream(non_blocking=True):
        assert not made.is_current()
    assert made.is_current()
    with pytest.raises(DeviceError, match="record: arrays must have 19 bytes at most, got 20; make batch_size smaller"):
        graph.record("gpu-emulated", lambda: xp.zeros(5, "float32"), [], 19)


MIXED: list[Callable[[Any, Any, Any], Any]] = [
    lambda xp, x, other: x + other, lambda xp, x, other: other + x, lambda xp, x, other: other * x,
    lambda xp, x, other: other @ x.T, lambda xp, x, other: x.__iadd__(other),
    lambda xp, x, other: x.__setitem__(0, other[0]), lambda xp, x, other: x[other[0, :1]],
    lambda xp, x, other: x.fill(other), lambda xp, x, other: x.take(other),
    lambda xp, x, other: xp.maximum(x, other), lambda xp, x, other: xp.concatenate([x, other]),
    lambda xp, x, other: xp.stack((x, other)), lambda xp, x, other: xp.where(x > 0, x, other),
    lambda xp, x, other: xp.clip(x, None, other), lambda xp, x, other: xp.clip(x, 0, a_max=other),
    lambda xp, x, other: xp.add.at(x, 0, other[0]), lambda xp, x, other: xp.asarray([x, other]),
]


@pytest.mark.parametrize("mix", MIXED)
def test_arrays_of_the_host_and_of_other_devices_are_refused(mix: Callable[[Any, Any, Any], Any]) -> None:
    for other in (host.astype("int64"), OtherNamespace("other").asarray(host.astype("int64"))):
        with pytest.raises((DeviceError, TypeError)):
            mix(xp, xp.asarray(host), other)


@pytest.mark.parametrize("leak", [
    np.asarray, np.exp, lambda x: np.maximum(x, 1), lambda x: np.stack([x, x]), lambda x: np.ones(3) + x])
def test_arrays_do_not_turn_into_those_of_the_host(leak: Callable[[Any], Any]) -> None:
    with pytest.raises((DeviceError, TypeError)):
        leak(xp.asarray(host))


def test_results_are_arrays_without_axes_and_numbers_are_weak() -> None:
    there = xp.asarray(host)
    for result in (there.sum(), there.max(), there[0, 1], xp.zeros(()), there.mean() / 2):
        assert type(result) is xp.ndarray
        assert result.shape == ()
    assert (there * 2 + 1.5).dtype == np.float32
    assert np.array_equal((there @ there.T - 1).get(), host @ host.T - 1)
    assert np.array_equal((np.float32(2) * there).get(), 2 * host)


def test_views_share_memory_and_changes_are_made_in_place() -> None:
    there = same = xp.zeros((2, 3), xp.float32)
    for view in (there[1:], there.T, there.reshape(3, 2), there.transpose(1, 0), there.real, *there,
                 *xp.split(there, 2)):
        assert type(view) is xp.ndarray
        assert np.shares_memory(view._host, there._host)
    there += 1
    there.T[0] = 5
    there[1:].fill(7)
    xp.add.at(there, (0, xp.asarray([1, 1])), 2)
    assert there is same
    assert there.get().tolist() == [[5, 5, 1], [7, 7, 7]]
    tensor = type("Tensor", (), {"__array_ufunc__": None})()
    with pytest.raises(TypeError, match="'Tensor' does not support"):
        there += tensor


WAITS: list[Callable[[Any], Any]] = [
    float, int, bool, str, repr, lambda x: x.get(), lambda x: x.item(), lambda x: x.tolist(), lambda x: [0, 1][x],
    lambda x: 1 if x.max() > 0 else 0, lambda x: x.reshape(1)[x:], lambda x: x.set(np.asarray(1)),
    lambda x: x.reshape(1)[x.reshape(1) > 0], lambda x: x.reshape(1, 1)[:, x.reshape(1) > 0],
    lambda x: xp.where(x.reshape(1) > 0), lambda x: x.reshape(1).__setitem__(x.reshape(1) > 0, x.reshape(1)),
    lambda x: xp.add.at(x.reshape(1), x.reshape(1) > 0, 0)]


@pytest.mark.parametrize("wait", WAITS)
def test_what_makes_the_host_wait_is_counted_and_can_be_forbidden(wait: Callable[[Any], Any]) -> None:
    there, before = xp.asarray(np.asarray(1)), fake_cupy.waits
    wait(there)
    assert fake_cupy.waits == before + 1
    for copying in (False, True):
        with fake_cupy.no_waiting(copying), pytest.raises(DeviceError, match="nothing may make the host wait"):
            wait(there)
    wait(there)


def test_a_graph_needs_memory_of_its_own() -> None:
    with fake_cuda.Stream(non_blocking=True) as stream, pytest.raises(RuntimeError, match="needs memory of its own"):
        stream.begin_capture()
    assert not fake_cuda.is_capturing()


def test_a_view_takes_no_memory_of_a_pool() -> None:
    """So a pool that goes does not overwrite what lies outside."""
    there, pool = xp.ones((2, 3), xp.float32), fake_cuda.MemoryPool()
    with fake_cuda.using_allocator(pool.malloc):
        made = xp.ones((2, 2), xp.float32)
        views = there[1:], there.T, there.reshape(3, 2), *xp.split(there, 2), made[0], made.T
    assert pool.total_bytes() == 16 and len(pool.arrays) == 1
    del pool
    gc.collect()
    assert all(np.all(view.get() == 1) for view in views[:-2]) and np.isnan(made.get()).all()


def test_there_are_no_warnings_of_numpy() -> None:
    """A GPU gives none: in changes of arrays, in new ones, and in a graph."""
    there = xp.asarray(np.full(3, 3e38, np.float32))
    there *= 10
    there -= there
    assert np.isnan((there * 2).get()).all()
    there.fill(3e38)

    def work() -> Any:
        made = there * 10
        made -= made
        return made

    made, recorded = graph.capture("gpu-emulated", work)
    recorded.launch()
    assert np.isnan(made.get()).all()


def test_launches_are_checked_no_more_after_an_error() -> None:
    assert not emulator._checked.get()
    with pytest.raises(ZeroDivisionError), emulator.checked():
        with emulator.checked():
            pass
        assert emulator._checked.get()
        raise ZeroDivisionError
    assert not emulator._checked.get()


def test_after_a_block_the_stream_before_it_is_current_again() -> None:
    before, streams = fake_cuda.get_current_stream(), [fake_cuda.Stream(non_blocking=True) for _ in range(2)]
    with pytest.raises(ZeroDivisionError), streams[0]:
        with streams[1]:
            assert fake_cuda.get_current_stream() is streams[1]
        assert fake_cuda.get_current_stream() is streams[0]
        raise ZeroDivisionError
    assert fake_cuda.get_current_stream() is before


def test_waiting_is_allowed_again_after_an_error() -> None:
    with pytest.raises(ZeroDivisionError), fake_cupy.no_waiting():
        raise ZeroDivisionError
    assert bool(xp.asarray(np.asarray(1)))


def test_copying_from_the_host_can_be_forbidden_and_numbers_pass() -> None:
    there = xp.asarray(host)
    with fake_cupy.no_waiting():
        there[there > 4] = 0  # the host need not know how many these are
        xp.where(there > 0, there, 1.0)
        for index in ([0, 1], (slice(None), [0, 1])):
            with pytest.raises(DeviceError, match="copying an index from the host"):
                there[index]
        assert xp.full((2,), 3.0).shape == xp.asarray([3.0, 4.0]).shape == (2,)
        for make in (xp.asarray, xp.array):
            with pytest.raises(DeviceError, match="nothing may make the host wait here, and copying"):
                make(host)
        with fake_cupy.no_waiting(copying=True):
            assert xp.asarray(host).shape == (2, 3)
        with pytest.raises(DeviceError, match="copying"):
            xp.asarray(host)


@pytest.mark.parametrize(("dtype", "value"), [("float32", np.nan), ("float64", np.nan), ("complex64", np.nan),
                                              ("int64", 2**63 - 1), ("uint8", 255), ("bool", True)])
def test_memory_that_was_never_written_is_nan(dtype: str, value: Any) -> None:
    like, other = xp.zeros((3, 2), dtype), xp.zeros((3, 2))
    for made in (xp.empty((3, 2), dtype), xp.empty_like(other, dtype), xp.empty_like(like)):
        assert made.dtype == dtype
        np.testing.assert_array_equal(made.get(), np.full((3, 2), value, dtype))
    assert xp.empty(3).dtype == np.float64


def test_an_array_tells_of_itself_what_numpys_tells() -> None:
    for own in (host, host.T.astype("float64"), host[:, ::2], host.astype("complex64"), np.asarray(3), host[:0]):
        there = xp.ndarray(own)
        for name in ("shape", "ndim", "size", "dtype", "itemsize", "nbytes", "strides"):
            assert getattr(there, name) == getattr(own, name), name
        assert (there.data.ptr, there.data.device_id) == (own.ctypes.data, 0)
        assert there.flags.c_contiguous == own.flags.c_contiguous
        for name in ("real", "imag", "T"):
            np.testing.assert_array_equal(getattr(there, name).get(), getattr(own, name))
        assert own.ndim == 0 or len(there) == len(own)
        assert own.size != 1 or there.item() == own


def test_an_array_may_be_made_of_another_one_with_its_memory_in_another_order_or_dtype() -> None:
    there = xp.asarray(host)
    assert xp.array(there)._host is not there._host and not np.shares_memory(xp.array(there)._host, there._host)
    assert xp.array(there, order="F").flags.f_contiguous and xp.array(there.T).flags.f_contiguous
    assert xp.array(there.T, order="C").flags.c_contiguous
    assert xp.array(there, "int64").dtype == np.int64
    assert np.shares_memory(xp.array(there, copy=None)._host, there._host)
    there.set(host + 1)
    np.testing.assert_array_equal(there.get(), host + 1)


def test_while_a_stream_records_no_list_is_copied_from_the_host() -> None:
    """A list of arrays of the device is one of the host, too."""
    for make in (xp.asarray, xp.array):
        with pytest.raises(DeviceError, match=r"capture: nothing may wait for gpu-emulated.*copying from the host"):
            graph.capture("gpu-emulated", lambda make=make: make([1.0, 2.0]))
    assert xp.asarray([1.0, 2.0]).get().tolist() == [1, 2]


def test_the_error_of_the_work_is_told_and_not_that_of_ending_its_recording(monkeypatch: pytest.MonkeyPatch) -> None:
    def fails() -> None:
        raise KeyError("work")

    end = fake_cuda.Stream.end_capture

    def invalid(stream: Any) -> Any:
        end(stream)
        raise RuntimeError("the capture is invalid")

    monkeypatch.setattr(fake_cuda.Stream, "end_capture", invalid)
    with pytest.raises(KeyError, match="work"):
        graph.capture("gpu-emulated", fails)
    assert not fake_cuda.is_capturing() and gc.isenabled()
    with pytest.raises(DeviceError, match=r"capture: nothing may wait .*\(the capture is invalid\)"):
        graph.capture("gpu-emulated", lambda: None)
    assert not fake_cuda.is_capturing()


@pytest.mark.parametrize(("operate", "expected"), [
    (lambda x: x / 0, [np.nan, np.inf, np.inf]), (lambda x: x * 1e38, [0, 3e38, np.inf]),
    (lambda x: x - x, [0, 0, np.nan]), (lambda x: x * 1e-30 * 1e-30, [0, 0, np.inf])])
def test_a_gpu_gives_no_warnings(operate: Any, expected: list[float]) -> None:
    """Of divisions by 0, overflow, invalid operations and underflow, also where NumPy is to raise errors."""
    x = xp.asarray(np.array([0, 3, np.inf], "float32"))
    with np.errstate(all="raise"):
        np.testing.assert_allclose(operate(x).get(), expected, rtol=1e-6)


def test_a_function_that_cupy_may_not_have_is_refused() -> None:
    for name in ("nanargmax", "fft"):
        with pytest.raises(AttributeError, match=f"cupy.{name} is not in the lists .*; does CuPy have it"):
            getattr(xp, name)


@pytest.mark.skipif(emulator.missing() is not None, reason="no g++")
def test_threads_take_turns_on_the_emulated_device() -> None:
    """A launch of the emulator keeps its state in static variables."""
    rng, wrong = np.random.default_rng(0), list[int]()
    arrays = [rng.standard_normal(shape).astype("float32") for shape in ((3, 4, 2), (10, 32), (32,))]
    x, W, b = (tn.Tensor(array, device="gpu-emulated") for array in arrays)
    expected = tn.ops.lstm(x, None, None, W, b)[0].numpy()

    def call() -> None:
        for _ in range(20):
            wrong.extend([1] * (not np.array_equal(tn.ops.lstm(x, None, None, W, b)[0].numpy(), expected)))

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not wrong


@pytest.mark.skipif(emulator.missing() is not None, reason="no g++")
def test_a_launch_waits_for_the_one_of_another_thread() -> None:
    x, done = tn.Tensor([-1.0, 2.0], device="gpu-emulated"), list[Any]()
    tn.ops.relu(x)
    thread = threading.Thread(target=lambda: done.append(tn.ops.relu(x).numpy().tolist()))
    with emulator._lock:
        thread.start()
        thread.join(0.2)
        assert thread.is_alive() and not done
    thread.join()
    assert done == [[0, 2]]
