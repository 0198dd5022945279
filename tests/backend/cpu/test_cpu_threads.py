"""The pool of threads: every shard runs once, whoever launches, sleeps, forks or leaves."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from ctypes import CFUNCTYPE, c_int64
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numba.core.errors import TypingError

from tests.support.child import in_a_child
from tinynet.backend.cpu.runtime import threads as pool
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.threads import launch, launch_in_turns, set_threads, threads
from tinynet.errors import ArgumentError


@pytest.fixture(autouse=True)
def same_threads_afterwards() -> Iterator[None]:
    count = threads()
    yield
    set_threads(count)


@njit
def scale_rows(shard: Any, shards: Any, x: Any, y: Any, factor: Any) -> None:
    N = x.shape[0]
    for n in range(shard * N // shards, (shard + 1) * N // shards):
        for j in range(x.shape[1]):
            y[n, j] = factor * x[n, j]


@njit
def count(shard: Any, shards: Any, runs: Any) -> None:
    runs[shards, shard] += 1


@njit
def meet(shard: Any, shards: Any, arrived: Any, met: Any, looks: Any) -> None:
    """Each shard waits for the others: a while, because alone it would wait for ever."""
    address = arrived.ctypes.data
    pool._store(address, shard, 1)
    for _ in range(looks):
        here = 0
        for other in range(shards):
            here += pool._load(address, other)
        if here == shards:
            met[shard] = 1
            break


def together(shards: int, looks: int = 20_000_000) -> bool:
    """Whether all shards ran at the same time."""
    arrived, met = np.zeros(shards, np.int64), np.zeros(shards, np.int64)
    launch(meet, arrived, met, looks, shards=shards)
    return bool(met.all())


def wait_for(condition: Any, seconds: float = 10.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.001)


def everybody_sleeps() -> bool:
    return len(pool._start().sleepers) == threads() - 1


# --- results --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_every_shard_runs_once_whatever_the_number_of_threads(number: int) -> None:
    set_threads(number)
    runs = np.zeros((9, 9), np.int64)
    for shards in range(1, 9):
        launch(count, runs, shards=shards)
    launch(count, runs)
    expected = np.tri(9, 9, -1, dtype=np.int64)  # shards 0 ... S-1 of S
    expected[number, :number] += 1
    np.testing.assert_array_equal(runs, expected)


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


def test_thousands_of_launches() -> None:
    random = np.random.default_rng(0)
    runs, expected = np.zeros((9, 9), np.int64), np.zeros((9, 9), np.int64)
    for number in (2, 5, 3):
        set_threads(number)
        for shards in random.integers(1, 9, size=2000):
            launch(count, runs, shards=int(shards))
            expected[shards, :shards] += 1
    np.testing.assert_array_equal(runs, expected)


@njit
def mix(shard: Any, shards: Any, turn: Any, x: Any, waits: Any) -> None:
    """In two turns, of each row the next one: numbers of all shards. A shard that is late makes the others wait."""
    t, size = turn // 2, x.shape[1]
    low, high = shard * size // shards, (shard + 1) * size // shards
    if turn % 2 and t < x.shape[0] - 1:
        for i in range(low, high):
            x[t + 1, i] = x[t, i] * 3  # what the shard itself has made
    elif t > 0:
        for i in range(low, high):
            x[t, i] = (x[t, i] + x[t - 1, size - 1 - i] * 5 + i) % 1_000_003  # what another has
        for _ in range(waits[(turn + shard) % waits.size]):
            pool._pause()


def mixed(x: Any) -> Any:
    for t in range(1, x.shape[0]):
        x[t] = (x[t - 1] * 3 + x[t - 1, ::-1] * 5 + np.arange(x.shape[1])) % 1_000_003
    return x


@pytest.mark.parametrize("number", [1, 2, 3, 5])
@pytest.mark.parametrize("longest", [1, 40, 3000])
def test_in_turns_each_finds_what_the_others_made(number: int, longest: int) -> None:
    set_threads(number)
    random = np.random.default_rng(number)
    for shards in (1, 2, 3, 4, 7):
        for steps in (1, 2, 30):
            x = np.zeros((steps, 23), np.int64)
            x[0] = random.integers(1000, size=23)
            expected = mixed(x.copy())
            launch_in_turns(mix, 2 * steps - 1, x, random.integers(longest, size=29), shards=shards)
            np.testing.assert_array_equal(x, expected)
            launch(count, np.zeros((9, 9), np.int64), shards=shards)


def test_in_turns_while_others_launch_and_sleep() -> None:
    set_threads(3)
    wrong = []

    def go(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(60):
            x = np.zeros((9, 23), np.int64)
            x[0] = random.integers(1000, size=23)
            expected = mixed(x.copy())
            launch_in_turns(mix, 17, x, random.integers(300, size=29))
            wrong.extend([] if np.array_equal(x, expected) else [seed])
            time.sleep(float(random.choice([0, 0.001, 0.004])))

    callers = [threading.Thread(target=go, args=(seed,)) for seed in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.parametrize("shards", [1, 2])
def test_no_turns_and_a_turn_that_raises(shards: int) -> None:
    set_threads(2)
    x = np.zeros((3, 23), np.int64)
    launch_in_turns(mix, 0, x, np.zeros(1, np.int64), shards=shards)
    assert not x.any()
    with pytest.raises(RuntimeError, match="mix_and_fail raised"):
        launch_in_turns(mix_and_fail, 5, x, shards=shards)
    launch_in_turns(mix, 5, x, np.zeros(1, np.int64), shards=shards)
    np.testing.assert_array_equal(x, mixed(np.zeros((3, 23), np.int64)))


@njit
def mix_and_fail(shard: Any, shards: Any, turn: Any, x: Any) -> None:
    if turn == 2:
        raise ValueError("no")


# --- who runs what --------------------------------------------------------------------------------------------------

def test_shards_run_at_the_same_time() -> None:
    set_threads(2)
    wait_for(lambda: together(2))
    assert not together(3, looks=10_000)  # three shards on two threads cannot meet


def test_one_thread_and_one_shard_start_no_threads() -> None:
    set_threads(1)
    before = threading.active_count()
    launch(count, np.zeros((2, 2), np.int64))
    assert threading.active_count() == before and threads() == 1
    set_threads(3)
    assert threading.active_count() == before  # not yet
    launch(count, np.zeros((4, 4), np.int64))
    assert threading.active_count() == before + 2 and threads() == 3


@pytest.mark.parametrize("number", [0, -3])
def test_fewer_than_one_thread(number: int) -> None:
    with pytest.raises(ArgumentError, match=f"set_threads: count must be at least 1, got {number}; 1 runs"):
        set_threads(number)


def test_workers_that_sleep_wake_up() -> None:
    set_threads(2)
    for _ in range(3):
        launch(count, np.zeros((9, 9), np.int64))
        wait_for(everybody_sleeps)
        wait_for(lambda: together(2))


def test_who_wakes_up_wakes_the_others() -> None:
    set_threads(8)
    launch(count, np.zeros((9, 9), np.int64))
    wait_for(everybody_sleeps)
    bells = list(pool._start().sleepers)  # each sleep has a bell of its own
    pool._start().wake()
    wait_for(lambda: everybody_sleeps() and not set(bells) & set(pool._start().sleepers))


def test_a_launch_does_not_wait_for_workers() -> None:
    set_threads(3)
    pool._start().wake = lambda: None  # type: ignore[method-assign]  # let them sleep
    launch(count, np.zeros((9, 9), np.int64))
    wait_for(everybody_sleeps)
    runs = np.zeros((9, 9), np.int64)
    launch(count, runs)
    assert everybody_sleeps() and runs[3, :3].tolist() == [1, 1, 1]
    del pool._start().wake


def test_several_callers_at_once() -> None:
    set_threads(3)
    tables = [np.zeros((9, 9), np.int64) for _ in range(4)]

    def repeat(runs: Any) -> None:
        for _ in range(500):
            launch(count, runs)

    callers = [threading.Thread(target=repeat, args=(runs,)) for runs in tables]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    for runs in tables:
        assert runs[3, :3].tolist() == [500] * 3 and runs.sum() == 1500


def test_a_kernel_that_launches_another() -> None:
    set_threads(2)
    runs = np.zeros((9, 9), np.int64)
    launch(count, runs, shards=1)
    call_back = CFUNCTYPE(None, c_int64)(lambda shards: launch(count, runs, shards=shards))

    @njit
    def nested(shard: Any, shards: Any) -> None:
        call_back(4 + shard)

    launch(nested)
    assert runs[4, :4].tolist() == [1] * 4 and runs[5, :5].tolist() == [1] * 5 and runs.sum() == 10


def test_the_number_of_threads_changes_while_another_thread_launches() -> None:
    runs, done = np.zeros((9, 9), np.int64), threading.Event()
    launches = 0

    def repeat() -> None:
        nonlocal launches
        while not done.is_set():
            launch(count, runs, shards=3)
            launches += 1

    caller = threading.Thread(target=repeat)
    caller.start()
    for number in (2, 3, 1, 5, 2, 4):
        set_threads(number)
        time.sleep(0.01)
    done.set()
    caller.join(60)
    assert launches > 0 and runs[3, :3].tolist() == [launches] * 3


# --- what kernels may not do ----------------------------------------------------------------------------------------

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


@pytest.mark.parametrize("shards", [0, -1])
def test_no_shards(shards: int) -> None:
    with pytest.raises(ArgumentError, match="launch: shards must be at least 1, got"):
        launch(raising, 5, shards=shards)


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals")
def test_an_interrupt_does_not_leave_the_pool_locked() -> None:
    set_threads(2)
    runs, interrupts = np.zeros((9, 9), np.int64), 0

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        end = time.monotonic() + 1
        while time.monotonic() < end:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0.0005)
                while True:
                    launch(count, runs)
            except KeyboardInterrupt:
                interrupts += 1
        signal.setitimer(signal.ITIMER_REAL, 0)
    except KeyboardInterrupt:
        pass
    finally:
        signal.signal(signal.SIGALRM, before)
    assert interrupts > 10
    assert together(2)


def test_a_kernel_that_returns_something() -> None:
    @njit
    def returning(shard: Any, shards: Any) -> Any:
        return shard

    with pytest.raises(TypingError, match="launch: returning must return nothing, it returns int64"):
        launch(returning)


# --- processes ------------------------------------------------------------------------------------------------------

@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_after_a_fork_both_go_on() -> None:
    set_threads(2)

    def work() -> None:
        runs = np.zeros((9, 9), np.int64)
        launch(count, runs)
        assert runs[2, :2].tolist() == [1, 1]
        wait_for(lambda: together(2))

    work()
    assert in_a_child(work) == 0
    work()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_another_thread_launches() -> None:
    set_threads(2)
    done, runs = threading.Event(), np.zeros((9, 9), np.int64)

    def repeat() -> None:
        while not done.is_set():
            launch(count, runs)

    def work() -> None:
        mine = np.zeros((9, 9), np.int64)
        launch(count, mine)
        assert mine[2, :2].tolist() == [1, 1]

    caller = threading.Thread(target=repeat)
    caller.start()
    try:
        assert [in_a_child(work) for _ in range(10)] == [0] * 10
    finally:
        done.set()
        caller.join(60)
    assert runs[2, 0] == runs[2, 1] > 0


KERNEL = """
import numpy as np
from numba import njit
from helper import amount
@njit
def add(shard, shards, x):
    for i in range(shard, x.size, shards):
        x[i] += amount()
"""
HELPER = """
from numba import njit
@njit
def amount():
    return {}
"""
IN_CHILDREN = """
import os, sys, time
from pathlib import Path
import numpy as np
from tinynet.backend.cpu.runtime.threads import _launchers, _start, launch, set_threads
set_threads(2)
_start()  # all that the children have in common

def child(work, *arguments):
    sys.stdout.flush()
    number = os.fork()
    if number == 0:
        work(*arguments)
        sys.exit()  # the interpreter ends as it always does
    for _ in range(2000):
        ended, status = os.waitpid(number, os.WNOHANG)
        if ended:
            assert status == 0, status
            return
        time.sleep(0.01)
    os.kill(number, 9)
    raise SystemExit("a child hangs")
"""


def script(text: str, folder: Path) -> list[str]:
    """The lines that a process prints, which forks into children that have imported all that takes long to import."""
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(Path(pool.__file__).parents[4]), str(folder)]),
                   "NUMBA_CACHE_DIR": str(folder / "cache"), "PYTHONWARNINGS": "error", "PYTHONFAULTHANDLER": "1"}
    result = subprocess.run([sys.executable, "-c", IN_CHILDREN + text], env=environment, capture_output=True,
                            text=True, timeout=120)
    notice = "tinynet: compiling its kernels for this processor, once ...\n"  # on a slow machine
    assert result.returncode == 0 and result.stderr.replace(notice, "") == "", result.stderr
    return result.stdout.split("\n")[:-1]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_second_process_takes_the_code_from_the_disk(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)
    (tmp_path / "helper.py").write_text(HELPER.format(1))
    lines = script(f"""
def work():
    from kernel import add
    x = np.zeros(5)
    launch(add, x)
    stats = _launchers[add].stats
    print(x[0], sum(stats.cache_hits.values()), sum(stats.cache_misses.values()))
child(work)
child(work)
Path({str(tmp_path / "helper.py")!r}).write_text({HELPER.format(2)!r})  # the kernel's own file is as it was
child(work)
child(work)
""", tmp_path)
    assert lines == ["1.0 0 1", "1.0 1 0", "2.0 0 1", "2.0 1 0"]  # value, found, made


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_the_interpreter_ends_cleanly(tmp_path: Path) -> None:
    (tmp_path / "kernel.py").write_text(KERNEL)
    (tmp_path / "helper.py").write_text(HELPER.format(1))
    lines = script("""
from threading import Thread
from kernel import add
launch(add, np.zeros(5), shards=1)  # compiled once, for all children

def spinning():
    launch(add, np.zeros(5))

def sleeping():
    launch(add, np.zeros(5))
    while not _start().sleepers:
        time.sleep(0.001)

def launching():  # a thread of the program's that does not end with it
    def repeat():
        while True:
            launch(add, np.zeros(5))
    Thread(target=repeat, daemon=True).start()
    time.sleep(0.005)

def stopped():
    launch(add, np.zeros(5))
    set_threads(3)

for work in (spinning, sleeping, launching, stopped):
    for _ in range(2):
        child(work)
print("done")
""", tmp_path)
    assert lines == ["done"]


FORK_WHILE_COMPILING = """
import os, threading, time
import numpy as np
from numba import njit
from numba.core.compiler_lock import global_compiler_lock
from tinynet.backend.cpu.runtime.threads import launch

begun = threading.Event()
def compile_for_long():
    with global_compiler_lock:
        begun.set()
        time.sleep(0.5)
threading.Thread(target=compile_for_long).start()
begun.wait()
child = os.fork()
if not child:
    @njit
    def count(shard, shards, x):
        x[shard] = 1
    x = np.zeros(2)
    launch(count, x, shards=2)
    os._exit(int(x.sum()))
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_fork_while_another_thread_compiles() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(pool.__file__).parents[4])}
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK_WHILE_COMPILING], env=environment,
                            capture_output=True, text=True, timeout=120)
    assert result.stdout == "2\n", result.stderr
