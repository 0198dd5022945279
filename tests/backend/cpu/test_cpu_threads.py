"""The thread pool: workers that sleep, wake and end; callers that interrupt, fork and leave."""

import atexit
import os
import re
import runpy
import signal
import subprocess
import sys
import threading
import time
from ctypes import CFUNCTYPE, c_int64
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_cpu_mailbox import together

import tinynet as tn
from tests.support.child import in_a_child
from tests.support.kernels import count, needs_fork, run_script, wait_for
from tinynet.backend.cpu.runtime import memory
from tinynet.backend.cpu.runtime import threads as runtime
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.threads import Pool, launch, running_pool, set_threads, shards_for, threads
from tinynet.backend.threads import MOST, MOST_BY_DEFAULT
from tinynet.errors import ArgumentError


def all_workers_sleep() -> bool:
    return len(running_pool().sleepers) == threads() - 1


def test_one_thread_and_one_shard_start_no_threads() -> None:
    set_threads(1)
    before = threading.active_count()
    launch(count, np.zeros((2, 2), np.int64))
    assert threading.active_count() == before and threads() == 1
    set_threads(3)
    assert threading.active_count() == before  # not yet
    launch(count, np.zeros((4, 4), np.int64))
    assert threading.active_count() == before + 2 and threads() == 3


@pytest.mark.parametrize("started", [0, 1])
def test_at_the_limit_of_threads_those_that_exist_run_all_shards(started: int, monkeypatch: pytest.MonkeyPatch) -> None:
    left, start = [None] * started, threading.Thread.start

    def limited(thread: threading.Thread) -> None:
        if not left:
            raise RuntimeError("can't start new thread")
        left.pop()
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", limited)
    before = threading.active_count()
    set_threads(4)
    for _ in range(20):
        runs = np.zeros((8, 8), np.int64)
        for shards in (4, 7):
            launch(count, runs, shards=shards)
        assert runs.sum(axis=1).tolist() == [0, 0, 0, 0, 4, 0, 0, 7] and runs.max() == 1
    assert threads() == 4 and threading.active_count() == before + started


@pytest.mark.parametrize("number", [0, -3, 2.0, "2", None, True, 2**63])
@pytest.mark.parametrize("setter", [tn.set_threads, set_threads])
def test_what_is_no_number_of_threads(setter: Any, number: Any) -> None:
    before = threads()
    with pytest.raises(ArgumentError, match=re.escape(f"must be an integer from 1 to 65535, got {number!r}; count=1")):
        setter(number)
    assert tn.threads() == threads() == before


def test_the_texts_name_the_numbers_of_threads() -> None:
    assert f"one for each processor that this process may use, {MOST_BY_DEFAULT} at most" in str(tn.threads.__doc__)
    assert f"an integer from 1 to {MOST}" in str(tn.set_threads.__doc__)


@pytest.mark.parametrize(("available", "expected"), [(1, 1), (3, 3), (16, 16), (17, 16), (500, 16)])
def test_by_default_there_is_a_thread_for_each_processor_up_to_16(available: int, expected: int,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    hooks = list[Any]()
    monkeypatch.setattr("tinynet.processors.processors", lambda: available)
    monkeypatch.setattr(os, "register_at_fork", lambda **given: hooks.append(given), raising=False)
    monkeypatch.setattr(atexit, "register", hooks.append)
    module = runpy.run_path(str(runtime.__file__))
    assert module["_threads"] == module["threads"]() == expected and module["_pool"] is None
    assert hooks[:2] == [module["_stop"], {"before": module["_stop"], "after_in_child": module["_replace_locks"]}]
    assert [*hooks[2]] == ["before", "after_in_parent", "after_in_child"]  # it is run before the one above


def test_the_public_number_of_threads_is_that_of_the_pool() -> None:
    tn.set_threads(np.int64(3))  # type: ignore[arg-type]
    assert tn.threads() == threads() == 3
    set_threads(2)
    assert tn.threads() == 2


WITHOUT_KERNELS = """
import sys
{setup}
import tinynet as tn
assert "numba" not in sys.modules or sys.modules["numba"] is None
tn.set_threads(5)
try:
    tn.set_threads(0)
except tn.errors.ArgumentError as error:
    print(tn.threads(), error)
"""


@pytest.mark.parametrize(("setup", "disabled"), [("sys.modules['numba'] = None", "0"), ("", "1")])
def test_without_kernels_there_is_one_thread(setup: str, disabled: str) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(tn.__file__).parents[1]), "NUMBA_DISABLE_JIT": disabled}
    done = subprocess.run([sys.executable, "-c", WITHOUT_KERNELS.format(setup=setup)], env=environment, text=True,
                          capture_output=True)
    assert done.stdout.startswith("1 set_threads: count must be"), done.stderr


@pytest.mark.parametrize(("elements", "most", "expected"), [
    (0, None, 1), (8192, None, 1), (16384, None, 2), (10**9, None, 3), (10**9, 2, 2), (10**9, 0, 1),
])
def test_shards_are_worth_a_launch(elements: int, most: int | None, expected: int) -> None:
    set_threads(3)
    assert shards_for(elements, most) == expected


def test_workers_that_sleep_wake_up() -> None:
    set_threads(2)
    for _ in range(3):
        launch(count, np.zeros((9, 9), np.int64))
        wait_for(all_workers_sleep)
        wait_for(lambda: together(2))


def test_two_sleepers_are_woken_and_those_that_are_awake_are_passed_over() -> None:
    """Each of them wakes two more. The last ones to fall asleep wake up first."""
    for sleeping in ([], [True], [True] * 5, [True, True, True, True, False]):
        bells = [threading.Lock() for _ in sleeping]
        for bell, sleeps in zip(bells, sleeping, strict=True):
            assert not sleeps or bell.acquire()
        Pool.wake(SimpleNamespace(sleepers=bells))  # type: ignore[arg-type]
        assert [bell.locked() for bell in bells] == [sleeps and i + 2 < len(bells) for i, sleeps in enumerate(sleeping)]


def test_workers_have_names_and_do_not_keep_python_from_ending() -> None:
    set_threads(4)
    launch(count, np.zeros((9, 9), np.int64))
    workers = running_pool()._workers
    assert [worker.name for worker in workers] == ["tinynet-1", "tinynet-2", "tinynet-3"]
    assert all(worker.daemon and worker.is_alive() for worker in workers)
    set_threads(2)
    wait_for(lambda: not any(worker.is_alive() for worker in workers))


def test_a_worker_that_wakes_up_wakes_others() -> None:
    set_threads(8)
    launch(count, np.zeros((9, 9), np.int64))
    wait_for(all_workers_sleep)
    bells = list(running_pool().sleepers)  # each sleep has a bell of its own
    running_pool().wake()
    wait_for(lambda: all_workers_sleep() and not set(bells) & set(running_pool().sleepers))


def test_a_launch_does_not_wait_for_workers() -> None:
    set_threads(3)
    running_pool().wake = lambda: None  # type: ignore[method-assign]  # let them sleep
    launch(count, np.zeros((9, 9), np.int64))
    wait_for(all_workers_sleep)
    runs = np.zeros((9, 9), np.int64)
    launch(count, runs)
    assert all_workers_sleep() and runs[3, :3].tolist() == [1, 1, 1]
    del running_pool().wake


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


@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="needs signals")
def test_an_interrupt_does_not_leave_the_pool_locked() -> None:
    set_threads(2)
    runs, interrupts = np.zeros((9, 9), np.int64), 0
    launch(count, runs)  # compile it before: LLVM's objects do not survive an interrupt

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


# --- processes ------------------------------------------------------------------------------------------------------

@needs_fork
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


@needs_fork
def test_locks_that_another_thread_may_hold_are_new_in_a_forked_process() -> None:
    set_threads(2)
    launch(count, np.zeros((9, 9), np.int64))
    before = [runtime._changing, memory._changing, running_pool().free]

    def in_the_child() -> None:
        assert runtime._pool is None
        memory.empty((5, memory.SMALL)).fill(1)
        after = [runtime._changing, memory._changing, running_pool().free]
        assert not any(new is old for new, old in zip(after, before, strict=True))

    assert in_a_child(in_the_child) == 0
    assert [runtime._changing, memory._changing] == before[:2]


@needs_fork
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


@needs_fork
def test_the_interpreter_ends_cleanly(tmp_path: Path) -> None:
    lines = run_script("""
from threading import Thread
from kernel import add
from tinynet.backend.cpu.runtime.threads import launch, running_pool, set_threads
set_threads(2)
launch(add, np.zeros(5), shards=1)  # compiled once, for all children

def spinning():
    launch(add, np.zeros(5))

def sleeping():
    launch(add, np.zeros(5))
    while not running_pool().sleepers:
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
from numba.core.compiler_lock import global_compiler_lock
from tinynet.backend.cpu.runtime.jit import njit
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


@needs_fork
def test_a_fork_while_another_thread_compiles() -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path(tn.__file__).parents[1])}
    result = subprocess.run([sys.executable, "-W", "ignore", "-c", FORK_WHILE_COMPILING], env=environment,
                            capture_output=True, text=True, timeout=1200)
    assert result.stdout == "2\n", result.stderr
