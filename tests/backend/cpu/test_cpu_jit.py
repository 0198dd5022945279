"""The one way to compile: its options, and what happens where nothing can be compiled."""

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numba
import numpy as np
import pytest

import tinynet as tn
from tinynet.backend.cpu.runtime.jit import compile_for_c, njit, noalias

SOURCES = Path(tn.__file__).parent


def sum_of(x: Any, y: Any, z: Any) -> None:
    for i in range(x.size):
        z[i] = x[i] + y[i]


@pytest.mark.parametrize(("compiled", "asks"), [(njit, True), (noalias, False)])
def test_noalias_spares_the_test_for_overlap(compiled: Callable[..., Any], asks: bool) -> None:
    x, y, z = np.arange(100.0), np.ones(100), np.empty(100)
    inner = compiled(sum_of)

    @njit(cache=True)
    def function(x: Any, y: Any, z: Any) -> None:
        inner(x, y, z)

    function(x, y, z)
    np.testing.assert_array_equal(z, x + y)
    [code] = function.inspect_llvm().values()
    assert "vector.body" in code and ("vector.memcheck" in code) is asks


def test_a_division_by_zero_gives_infinity() -> None:
    def divide(x: Any, y: Any) -> Any:
        return x / y

    assert njit(cache=True)(divide)(1.0, 0.0) == np.inf
    with pytest.raises(ZeroDivisionError):
        numba.njit(divide)(1.0, 0.0)


def test_a_function_without_an_entry() -> None:
    """It is compiled into its callers. Python cannot call it, neither before nor after that."""
    twice = njit(lambda x: 2 * x)
    with pytest.raises(TypeError, match=r"<lambda>: other compiled functions may call it, and Python may not"):
        twice(3)
    assert njit(cache=True)(lambda x: twice(x) + 1)(3) == 7
    with pytest.raises(TypeError, match="decorate it with @njit"):
        twice(3)


def test_a_function_for_c() -> None:
    compiled = compile_for_c(lambda x, y: x - 2 * y, "int64(int64, int64)")
    assert compiled.ctypes(7, 2) == 3


USES = re.compile(r"@?\b(numba\.(njit|jit|cfunc|vectorize)|(from numba import .*\b(njit|jit|cfunc|vectorize)\b))")


def test_everything_is_compiled_through_it() -> None:
    found = [f"{path.name}: {line}" for path in SOURCES.rglob("*.py") for line in path.read_text().splitlines()
             if USES.search(line)]
    assert [line.split(":")[0] for line in found] == ["jit.py"] * len(found) and found
    assert USES.search("from numba import njit, types") and USES.search("@numba.njit(nogil=True)")


STEP = """
import numpy as np
import tinynet as tn
lstm = tn.nn.LSTM(3, 5)
x = tn.Tensor(np.linspace(-1, 1, 24, dtype="float32").reshape(2, 4, 3), requires_grad=True)
with tn.using({which!r}):
    (lstm(x) ** 2).sum().backward()
    with tn.no_grad():
        y = tn.nn.Sequential(tn.nn.ReLU(), tn.nn.Dense(3, 4))(x)
print(x.grad.tobytes().hex(), y.numpy().tobytes().hex())
"""


def test_numba_disable_jit_runs_the_specification() -> None:
    def bits(which: str, disabled: str) -> str:
        environment = {**os.environ, "PYTHONPATH": str(SOURCES.parent), "NUMBA_DISABLE_JIT": disabled}
        done = subprocess.run([sys.executable, "-c", STEP.format(which=which)], env=environment, text=True,
                              capture_output=True)
        assert done.returncode == 0 and done.stderr == "", done.stderr
        return done.stdout

    assert bits("fast", "1") == bits("reference", "0") != ""
