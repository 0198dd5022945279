"""KeyboardInterrupt before any instruction: no mode, lock or setting stays changed, and no interrupt is lost."""

import contextlib
import itertools
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import backend, recording
from tinynet.backend.cpu.runtime import memory, threads
from tinynet.errors import StateError
from tinynet.tracing import is_observed, observe, shapes_only
from tinynet.training.signals import Signals

ROOT = Path(__file__).resolve().parents[2]
FILES = ("tinynet", "contextlib.py")


def interrupted(function: Callable[[], Any], at: int) -> bool:
    """Call a function and raise KeyboardInterrupt before instruction `at`. False if it has fewer instructions."""
    left = at

    def trace(frame: FrameType, event: str, argument: Any) -> Any:
        nonlocal left
        if not any(name in frame.f_code.co_filename for name in FILES):
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            left -= 1
            if left == -1:
                sys.settrace(None)
                raise KeyboardInterrupt
        return trace

    def in_a_generator() -> Iterator[None]:
        yield function()

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        next(in_a_generator())
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    assert left >= 0, "the interrupt was lost"
    return False


def settings() -> tuple[Any, ...]:
    locks = threads._changing, threads.running_pool().free, memory._changing
    return (backend.is_recording(), backend.is_reference(), backend.current_precision(), is_observed(),
            [lock._is_owned() for lock in locks])


# The frame of the user is interrupted, too: its name of a file is one of FILES.
USERS: dict[str, Any] = {"suppress": contextlib.suppress}
exec(compile("def nested(context):\n    with context(), context():\n        pass\n"
             "def suppressed():\n    with suppress(RuntimeError):\n        raise RuntimeError",
             "of tinynet's user", "exec"), USERS)


def test_an_interrupt_leaves_no_exception_behind() -> None:
    """CPython 3.11 keeps a handled exception as the current one if the interrupt comes where `with` leaves it.

    It would be the context of each later exception. In a generator it ends with the generator.
    """
    for at in itertools.count():
        if not interrupted(USERS["suppressed"], at):
            break
        assert sys.exc_info()[1] is None, at
    assert at > 10


def within(context: Callable[[], Any]) -> Callable[[], None]:
    return lambda: USERS["nested"](context)


CONTEXTS = {"no_grad": tn.no_grad, "using": lambda: tn.using("reference"), "precision": lambda: tn.precision("tf32"),
            "observe": lambda: observe(op=lambda call, run: run()), "shapes": shapes_only}


@pytest.mark.parametrize("name", CONTEXTS)
def test_a_context_ends(name: str) -> None:
    before = settings()
    for at in itertools.count():
        if not interrupted(within(CONTEXTS[name]), at):
            break
        assert settings() == before, at
    assert at > 20


def test_contexts_nest_decorate_and_do_not_overlap_with_themselves() -> None:
    with tn.using("reference"), tn.using("fast"):
        assert not backend.is_reference()
    with contextlib.ExitStack() as stack:
        stack.enter_context(tn.no_grad())
        assert not backend.is_recording()
    kept = tn.no_grad()
    for _ in range(2):
        with contextlib.ExitStack() as stack:
            assert stack.enter_context(kept) and not backend.is_recording()
        assert backend.is_recording()
    recording = tn.no_grad()(backend.is_recording)
    assert (recording(), recording(), backend.is_recording()) == (False, False, True)

    @tn.no_grad()
    def depth(left: int) -> int:  # calls itself: each call is a context of its own
        return 0 if backend.is_recording() or not left else 1 + depth(left - 1)

    assert (depth(3), backend.is_recording()) == (3, True)
    one = tn.no_grad()
    with one, pytest.raises(StateError, match="must end before it begins again"), one:
        pass
    assert backend.is_recording()


def handler(number: int) -> Any:
    """The handler that acts on a signal: one that an interrupt left behind passes it on to the one before."""
    found: Any = signal.getsignal(number)
    while isinstance(noted := getattr(found, "__self__", None), Signals) and not noted.running.locked():
        found = noted.before[number]
    return found


def small() -> Any:
    return tn.nn.Sequential(tn.nn.BatchNorm(1), tn.nn.Flatten(), tn.nn.Dense(36, 5), tn.nn.Dropout(0.5),
                            tn.nn.Dense(5, 2))


def lstm_cnn() -> Any:
    return tn.nn.Sequential(
        tn.nn.BatchNorm(1), tn.nn.Reshape((6, 6)), tn.nn.LSTM(6, 8, dropout=0.1, recurrent_dropout=0.1),
        tn.nn.Reshape((6, 8, 1)), tn.nn.Conv2D(1, 4, 3), tn.nn.ReLU(), tn.nn.MaxPool2D(2), tn.nn.Dropout(0.5),
        tn.nn.Flatten(), tn.nn.Dense(24, 2))


class Work:
    """Calls that may be interrupted: each is made a few times first, so that kernels are compiled and recorded.

    Numba's callbacks from LLVM lose interrupts.
    """

    def __init__(self, folder: Path, net: Any, batch_size: int = 4) -> None:
        tn.seed(0)
        self.net = net
        self.x = np.random.default_rng(0).random((8, 6, 6, 1), dtype=np.float32)
        self.labels = np.array([0, 1] * 4)
        self.optimizer = tn.optim.Adam(self.net.parameters())
        self.loader = tn.data.Loader(self.x, self.labels, batch_size=batch_size, shuffle=True)
        counts = itertools.cycle((1, 2))

        def fit(**options: Any) -> Any:
            return tn.fit(self.net, self.optimizer, self.loader, epochs=1, show=False, **options)

        self.calls: dict[str, Callable[[], Any]] = {
            "step": self.step, "predict": lambda: tn.predict(self.net, self.x),
            "evaluate": lambda: tn.evaluate(self.net, self.loader), "no_grad": within(tn.no_grad),
            "using": within(CONTEXTS["using"]), "summary": lambda: self.net.summary((6, 6, 1)),
            "profile": lambda: self.net.profile(self.x, repeat=1),
            "set_threads": lambda: tn.set_threads(next(counts)), "fit": fit,
            "fit with a checkpoint": lambda: fit(checkpoint=folder / "c")}
        for call in [*self.calls.values()] * 4:
            call()

    def step(self) -> None:
        tn.ops.cross_entropy(self.net(tn.Tensor(self.x)), self.labels).backward()
        self.optimizer.step()
        self.optimizer.zero_grad()

    def state(self) -> tuple[Any, ...]:
        """All that must be as before after an interrupt."""
        recordings = [one._is_free._is_owned() for one in recording.evaluations.values()]
        return (settings(), any(recordings), [module.training for _, module in self.net.modules()],
                handler(signal.SIGINT), handler(signal.SIGTERM))


# Of each call, every how many instructions are tried in the fast form, and in the `long` one.
STEPS = {"predict": (541, 1), "evaluate": (1499, 1), "step": (997, 1), "no_grad": (1, 1), "using": (1, 1),
         "summary": (2003, 11), "profile": (9001, 101), "fit": (9001, 101), "fit with a checkpoint": (12007, 101)}


def check_a_call(name: str, step: int, work: Work) -> None:
    call, before = work.calls[name], work.state()
    found = tn.predict(work.net, work.x)
    for at in itertools.count(0, step):
        if not interrupted(call, at):
            break
        assert work.state() == before, at
        assert not any("own_stream" in vars(module) for _, module in work.net.modules())
    assert at > 20
    if name in ("predict", "evaluate", "summary", "profile"):
        np.testing.assert_array_equal(tn.predict(work.net, work.x), found)
    for each in work.calls.values():
        each()


@pytest.mark.parametrize("name", STEPS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")  # the file of a lock that was left, closed by the collector
def test_a_call_ends(name: str, tmp_path: Path) -> None:
    """Modes, locks and handlers stay, the same call made again gives the same bits, and each call can be made again."""
    check_a_call(name, STEPS[name][0], Work(tmp_path, lstm_cnn()))


def test_memory_is_whole_after_an_interrupt() -> None:
    """At each instruction of `empty`. A block of memory that came back half described broke the next array."""
    for kept in (0, 2):  # blocks that wait for the next array
        memory.release()
        for at in itertools.count():
            waiting = [memory.empty((64, 8)) for _ in range(kept)]
            del waiting
            if not interrupted(lambda: memory.empty((64, 8)), at):
                break
            arrays = [memory.empty((64, 8)) for _ in range(4)]
            for i, array in enumerate(arrays):
                array.fill(i)
            assert [array.mean() for array in arrays] == [0, 1, 2, 3], at
            del array, arrays
        assert at > 20
        memory.release()
        assert memory._made == sum(block.memory.nbytes for block in memory.shared.lent)
        assert all(loan() is not None for loan in memory.shared.lent.values())


@pytest.mark.long
@pytest.mark.parametrize("name", STEPS)
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_a_call_ends_at_each_instruction(name: str, tmp_path: Path) -> None:
    check_a_call(name, STEPS[name][1], Work(tmp_path, small(), batch_size=8))


def check_signals(number: int, folder: Path) -> None:
    """Send SIGINT at random times during random calls: each must be raised as KeyboardInterrupt."""
    work, chosen = Work(folder, lstm_cnn()), random.Random(number)
    before, threads_before, delay, send = work.state(), tn.threads(), 0.0, threading.Event()

    def sender() -> None:
        while send.wait():
            send.clear()
            time.sleep(delay)
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=sender, daemon=True).start()
    caught = 0
    for _ in range(number):
        name, call = chosen.choice([*work.calls.items()])
        delay = chosen.random() * 0.004
        try:
            send.set()
            end = time.monotonic() + 20
            while time.monotonic() < end:
                call()
            raise AssertionError(f"an interrupt of {name} was lost")
        except KeyboardInterrupt:
            caught += 1
        assert work.state() == before, name
    assert caught == number
    tn.set_threads(threads_before)


@pytest.mark.parametrize("number", [200, pytest.param(10_000, marks=pytest.mark.long)])
@pytest.mark.skipif(not hasattr(os, "fork"), reason="os.kill sends no SIGINT to this process on Windows")
def test_signals_at_random_times(number: int, tmp_path: Path) -> None:
    """In a process of its own."""
    code = ("import sys, pathlib; from tests.core.test_interrupts import check_signals\n"
            "sys.unraisablehook = lambda lost: print('lost', lost.exc_type, lost.object, flush=True)\n"
            "check_signals(int(sys.argv[1]), pathlib.Path(sys.argv[2])); print('all')")
    done = subprocess.run([sys.executable, "-c", code, str(number), str(tmp_path)], capture_output=True, text=True,
                          cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)})
    assert done.stdout == "all\n", done.stdout + done.stderr[-3000:]


def test_set_threads_ends() -> None:
    before, modes = tn.threads(), settings()
    try:
        for at in itertools.count():
            if not interrupted(lambda: tn.set_threads(2), at):
                break
            assert tn.threads() in (before, 2)
            assert settings() == modes, at  # which starts a pool
        tn.set_threads(before)
        assert tn.threads() == before
    finally:
        tn.set_threads(before)
