"""KeyboardInterrupt before any instruction: no mode, lock or setting stays changed, and no interrupt is lost."""

import contextlib
import itertools
import sys
from collections.abc import Callable
from types import FrameType
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import backend
from tinynet.backend.cpu.runtime import memory, threads
from tinynet.errors import StateError
from tinynet.tracing import is_observed, observe

FILES = ("tinynet", "contextlib.py")
X = np.ones((4, 3), "float32")
LABELS = np.array([0, 1, 1, 0])


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

    before = sys.gettrace()
    try:
        sys.settrace(trace)
        function()
    except KeyboardInterrupt:
        return True
    finally:
        sys.settrace(before)
    assert left >= 0, "the interrupt was lost"
    return False


def model() -> Any:
    tn.seed(0)
    return tn.nn.Sequential(tn.nn.BatchNorm(3), tn.nn.Dense(3, 5), tn.nn.ReLU(), tn.nn.Dropout(0.5), tn.nn.Dense(5, 2))


def settings() -> tuple[Any, ...]:
    locks = threads._changing, threads.running_pool().free, memory._changing
    return (backend.is_recording(), backend.is_reference(), backend.current_precision(), is_observed(),
            [lock._is_owned() for lock in locks])


def within(context: Callable[[], Any]) -> Callable[[], None]:
    def enter() -> None:
        with context(), context():
            pass
    return enter


CONTEXTS = {"no_grad": tn.no_grad, "using": lambda: tn.using("reference"), "precision": lambda: tn.precision("tf32"),
            "observe": lambda: observe(op=lambda call, run: run())}


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
    recording = tn.no_grad()(backend.is_recording)
    assert (recording(), recording(), backend.is_recording()) == (False, False, True)
    one = tn.no_grad()
    with one, pytest.raises(StateError, match="must end before it begins again"), one:
        pass
    assert backend.is_recording()


@pytest.mark.parametrize(("name", "step"), [("predict", 41), ("evaluate", 41), ("summary", 401), ("a step", 97)])
def test_a_call_ends(name: str, step: int) -> None:
    """The modes stay, and the same call made again gives the same bits."""
    net = model()
    net(tn.Tensor(X))
    optimizer = tn.optim.SGD(net.parameters(), lr=0.1)

    def train() -> None:
        tn.ops.cross_entropy(net(tn.Tensor(X)), LABELS).backward()
        optimizer.zero_grad()

    function: Callable[[], Any] = {
        "predict": lambda: tn.predict(net, X), "evaluate": lambda: tn.evaluate(net, [(X, LABELS)]),
        "summary": lambda: net.summary((3,)), "a step": train}[name]
    for _ in range(3):  # kernels are compiled, and evaluations recorded: Numba's callbacks from LLVM lose interrupts
        function()
    before, modes = settings(), [module.training for _, module in net.modules()]
    found = tn.predict(net, X)
    for at in itertools.count(0, step):
        if not interrupted(function, at):
            break
        assert (settings(), [module.training for _, module in net.modules()]) == (before, modes), at
        assert "own_stream" not in vars(net[3])
    assert at > 100
    if name != "a step":
        np.testing.assert_array_equal(tn.predict(net, X), found)


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
