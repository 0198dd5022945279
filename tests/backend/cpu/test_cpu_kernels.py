"""The fast kernels of the CPU: every override in float32 against the specification in float64, values of both passes.

The ordinary check of an op (op_cases.py) runs in float64, for which kernels decline; here they may not. Sizes are odd
and large enough to fill vectors, tiles and panels, and to leave remainders of each.
"""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.backend.equations_cpu import LARGE
from tests.support.complete import OPS, overridden
from tests.support.op_cases import Trial, as_tuple, difference, draw
from tinynet import backend

pytest.importorskip("numba")

from tinynet.backend.cpu import conv, lstm_by_units
from tinynet.backend.cpu.runtime import threads as pool_of_threads
from tinynet.backend.cpu.runtime.threads import set_threads, threads

TOLERANCE = 2e-5  # of float32, for sums of some hundred products, and through some steps of an LSTM

OVERRIDDEN = {name: pair for name in overridden("cpu")
              if (pair := backend.find_override(OPS[name].module, (name, f"d{name}"), "cpu"))}
CASES = [(name, case) for name in OVERRIDDEN for case in [*OPS[name].cases, *LARGE[name]]]


def trials(name: str, case: dict[str, Any]) -> tuple[Trial, Trial, list[Any]]:
    """The override in float32, the specification at the same point in float64, and gradients of the outputs."""
    op, rng = OPS[name], np.random.default_rng(1)
    arrays, options = draw(op, case, rng, "float32")
    wide = [None if array is None else array.astype("float64") if array.dtype.kind == "f" else array
            for array in arrays]
    exact = Trial(op, (op.forward, op.backward), wide, options)
    weights = [rng.standard_normal(np.shape(output)) for output in exact.forward()[0]]
    return Trial(op, OVERRIDDEN[name], arrays, options), exact, weights


def narrow(weights: list[Any]) -> list[Any]:
    return [np.asarray(weight, "float32") for weight in weights]


def declines(trial: Trial) -> bool:
    return trial.pair[0](np, *trial.arrays, **trial.options) is NotImplemented


@pytest.mark.parametrize(("name", "case"), CASES)
def test_values_of_both_passes(name: str, case: dict[str, Any]) -> None:
    fast, exact, weights = trials(name, case)
    kept = [None if array is None else array.copy() for array in fast.arrays]
    if declines(fast):  # this is a forward pass, too
        assert case not in LARGE[name]
        return
    outputs, cache = fast.forward()
    for output, value in zip(outputs, exact.forward()[0], strict=True):
        assert output.dtype == np.float32
        assert difference(output, value) <= TOLERANCE
    given = narrow(weights)
    gradients, again = fast.backward(given, cache), fast.backward(given, cache)
    for i, gradient in enumerate(exact.gradients(weights)):
        if i not in exact.floats:
            continue
        assert gradients[i].dtype == np.float32
        assert difference(gradients[i], gradient, 1e-2) <= TOLERANCE
        assert np.array_equal(gradients[i], again[i]), "backward, run twice, gives two results"
    assert all(map(np.array_equal, given, narrow(weights))), "a gradient of an output was changed"
    assert all(array is None or np.array_equal(array, copy) for array, copy in zip(fast.arrays, kept, strict=True))


@pytest.fixture
def work_is_shared_out(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """However small it is, among any number of threads."""
    count = threads()
    monkeypatch.setattr(conv, "_WORTH", 1)
    monkeypatch.setattr(lstm_by_units, "_WORTH", 1)
    monkeypatch.setattr(pool_of_threads, "WORTH", 1)
    yield
    set_threads(count)


@pytest.mark.parametrize("number", [2, 3, 5])
@pytest.mark.parametrize(("name", "case"), [(name, case) for name in OVERRIDDEN for case in LARGE[name]])
@pytest.mark.usefixtures("work_is_shared_out")
def test_values_of_shards(name: str, case: dict[str, Any], number: int) -> None:
    set_threads(number)
    test_values_of_both_passes(name, case)


@pytest.mark.parametrize("number", [1, 2, 3, 5])
@pytest.mark.parametrize(("name", "case"), [*(("lstm", {"N": 1, "T": 30, "D": 3, "H": 70, "recurrent_mask": None,
                                                        **without}) for without in ({}, {"h0": None}, {"b": None})),
                                            *((name, case) for name in OVERRIDDEN for case in LARGE[name])])
@pytest.mark.usefixtures("work_is_shared_out")
def test_values_where_nothing_is_recorded(name: str, case: dict[str, Any], number: int) -> None:
    """Without a backward pass to come, a forward may take another way, with any number of threads."""
    fast, exact, _ = trials(name, case)
    if name == "lstm":
        for trial in (fast, exact):
            trial.arrays[3] *= 0.25  # type: ignore[operator]  # large weights make errors grow from step to step
    set_threads(number)
    with tn.no_grad():
        (outputs, _), (again, _) = fast.forward(), fast.forward()
    for output, value, other in zip(outputs, exact.forward()[0], again, strict=True):
        assert output.dtype == np.float32
        assert difference(output, value) <= TOLERANCE
        assert np.array_equal(output, other), "forward, run twice, gives two results"


@pytest.mark.parametrize(("name", "case"), [(name, case) for name in OVERRIDDEN for case in LARGE[name]])
def test_a_gradient_that_is_not_needed_is_left_out(name: str, case: dict[str, Any]) -> None:
    fast, _, weights = trials(name, case)
    given, (_, cache) = narrow(weights), fast.forward()
    everything = fast.backward(given, cache)
    for i in fast.floats:
        alone = as_tuple(fast.pair[1](np, *given, cache=cache, needs=fast.needs(i)))
        assert np.array_equal(alone[i], everything[i])


@pytest.mark.parametrize(("name", "case"), [(name, case) for name in OVERRIDDEN for case in LARGE[name]
                                           if len(OPS[name].contract.outputs) > 1])
def test_an_unused_output_counts_as_zero(name: str, case: dict[str, Any]) -> None:
    fast, _, weights = trials(name, case)
    given, (_, cache) = narrow(weights), fast.forward()
    for used in range(len(given)):
        found = fast.backward([dy if i == used else None for i, dy in enumerate(given)], cache)
        wanted = fast.backward([dy * (i == used) for i, dy in enumerate(given)], cache)
        assert all(np.array_equal(found[i], wanted[i]) for i in fast.floats)


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_any_layout_of_the_arrays(name: str) -> None:
    fast, _, weights = trials(name, LARGE[name][0])
    given = narrow(weights)
    def scattered(array: Any) -> Any:
        """The same values, every second element of a larger array, in Fortran's order."""
        if array is None or array.ndim == 0:
            return array
        filler = np.nan if array.dtype.kind == "f" else 10**6
        larger = np.full([2 * size for size in array.shape], filler, array.dtype, order="F")
        larger[tuple(slice(None, None, 2) for _ in array.shape)] = array
        return larger[tuple(slice(None, None, 2) for _ in array.shape)]
    other = fast.at([scattered(array) for array in fast.arrays])
    outputs, cache = other.forward()
    assert all(map(np.array_equal, outputs, fast.forward()[0]))
    gradients, expected = other.backward([scattered(w) for w in given], cache), fast.gradients(given)
    assert all(np.array_equal(gradients[i], expected[i]) for i in fast.floats)


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_two_live_forwards_do_not_share_memory(name: str) -> None:
    fast, _, weights = trials(name, LARGE[name][0])
    given = narrow(weights)
    outputs, cache = fast.forward()
    kept, expected = [output.copy() for output in outputs], fast.backward(given, cache)
    other = fast.at([array * 3 if array is not None and array.dtype.kind == "f" else array for array in fast.arrays])
    other.backward(given, other.forward()[1])
    assert all(map(np.array_equal, outputs, kept))
    again = fast.backward(given, cache)
    assert all(np.array_equal(again[i], expected[i]) for i in fast.floats)


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_the_number_of_threads(name: str) -> None:
    """Results are the same bits for the same number of threads, and the same values for any."""
    before, results = threads(), []
    fast, _, weights = trials(name, LARGE[name][0])
    try:
        for count in (1, 2, 3, 2):
            set_threads(count)
            outputs, cache = fast.forward()
            results.append([*outputs, *(g for g in fast.backward(narrow(weights), cache) if g is not None)])
    finally:
        set_threads(before)
    for other in results:
        assert all(difference(a, b, 1e-2) <= TOLERANCE for a, b in zip(results[0], other, strict=True))
    assert all(map(np.array_equal, results[1], results[3]))


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_two_callers_at_once(name: str) -> None:
    fast, _, _ = trials(name, LARGE[name][0])
    expected, wrong = fast.forward()[0], []
    def call() -> None:
        for _ in range(20):
            if not all(difference(a, b) <= TOLERANCE for a, b in zip(fast.forward()[0], expected, strict=True)):
                wrong.append(name)
    callers = [threading.Thread(target=call) for _ in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", OVERRIDDEN)
def test_nan_and_infinity_as_in_the_specification(name: str, value: float) -> None:
    fast, exact, _ = trials(name, LARGE[name][0])
    for trial in (fast, exact):
        trial.arrays[0].reshape(-1)[3] = value  # type: ignore[union-attr]
    with np.errstate(all="ignore"):
        for output, wanted in zip(fast.forward()[0], exact.forward()[0], strict=True):
            finite = np.isfinite(wanted)
            assert np.array_equal(np.isnan(output), np.isnan(wanted))
            assert np.array_equal(output[~finite], wanted[~finite].astype("float32"), equal_nan=True)
            assert difference(output[finite], wanted[finite]) <= TOLERANCE


@pytest.mark.parametrize("name", ["max_pool1d", "max_pool2d"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_the_first_element_wins_a_window_of_equal_ones(name: str, value: float) -> None:
    """Not the padding, which counts as minus infinity."""
    case = next(case for case in LARGE[name] if case.get("padding") not in (None, "valid"))
    fast, exact, weights = trials(name, case)
    for trial in (fast, exact):
        trial.arrays[0][...] = value  # type: ignore[index]
    found, wanted = fast.gradients(narrow(weights))[0], exact.gradients(weights)[0]
    assert difference(found, wanted) <= TOLERANCE and wanted.any()


@pytest.mark.parametrize("size", [(15, 17), (16, 17)])
def test_windows_of_more_elements_than_a_byte_can_number(size: tuple[int, int]) -> None:
    x = tn.Tensor(np.zeros((1, *size, 2), "float32"), True)
    x.data[0, -1, -1, 0] = 1
    tn.ops.max_pool2d(x, size).backward(tn.Tensor([[[[2.0, 3.0]]]]))
    expected = np.zeros(x.shape)
    expected[0, -1, -1, 0], expected[0, 0, 0, 1] = 2, 3
    np.testing.assert_array_equal(x.grad, expected)


@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled": True}])
def test_adam(options: dict[str, Any]) -> None:
    from tinynet.optim.adam import adam
    rng = np.random.default_rng(0)
    value, gradient, m, v = rng.standard_normal((4, 1003)).astype("float32")
    v = abs(v)
    exact = [array.astype("float64") for array in (value, gradient, m, v)]
    settings = {"lr": 0.01, "betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "decoupled": False, **options}
    for step in (1, 2, 3):
        adam(value, gradient, m, v, step=step, **settings)
        adam.specification(np, *exact, step=step, **settings)
    for array, wanted in zip((value, gradient, m, v), exact, strict=True):
        assert difference(array, wanted) <= 1e-6


def sizes_of_0(name: str) -> list[dict[str, Any]]:
    """The cases of an op with an empty batch, and the first of them with each other size that it names as 0."""
    first, *more = LARGE[name]
    batches = [{**case, **({"N": 0} if "N" in case else {"...": (0, *case["..."][1:])})} for case in (first, *more)]
    return [*batches, *({**first, letter: 0} for letter in first if letter in OPS[name].contract.letters
                        and letter not in ("N", "K" * (name == "cross_entropy")) and isinstance(first[letter], int))]


@pytest.mark.filterwarnings("ignore:Mean of empty slice")
@pytest.mark.parametrize("name", OVERRIDDEN)
def test_empty_arrays(name: str) -> None:
    """They give empty outputs and zero gradients, or the error of the specification."""
    for empty in sizes_of_0(name):
        arrays, options = draw(OPS[name], empty, np.random.default_rng(0), "float32")
        found = []
        for mode in ("fast", "reference"):
            tensors = [None if a is None else tn.Tensor(a, a.dtype.kind == "f") for a in arrays]
            with tn.using(mode), np.errstate(all="ignore"):
                try:
                    outputs = as_tuple(OPS[name](*tensors, **options))
                    sum((output.sum() for output in outputs), tn.Tensor(0.0)).backward()
                    found.append([*(o.numpy() for o in outputs), *(t.grad for t in tensors if t is not None)])
                except (tn.errors.ShapeError, tn.errors.ArgumentError) as error:
                    found.append(str(error))
        if isinstance(found[0], str) or isinstance(found[1], str):
            assert found[0] == found[1]
            continue
        for fast, wanted in zip(*found, strict=True):
            assert (fast is None) == (wanted is None)
            assert fast is None or (fast.shape == wanted.shape and difference(fast, wanted) <= TOLERANCE)


@pytest.mark.parametrize("mode", ["fast", "reference"])
def test_statistics_of_a_million_elements(mode: str) -> None:
    """Far from 0, in float32."""
    x = (np.random.default_rng(0).standard_normal((10**6, 1)) + 30).astype("float32")
    one = tn.Tensor(np.ones(1, "float32"))
    with tn.using(mode):
        _, mean, var = tn.ops.batch_norm(tn.Tensor(x), one, one)
        error = tn.ops.mse(tn.Tensor(x), tn.Tensor(x[::-1])).item()
    wide = x.astype("float64")
    assert abs(mean.item() / wide.mean() - 1) < 1e-5 and abs(var.item() / wide.var() - 1) < 1e-4
    assert abs(error / ((wide - wide[::-1]) ** 2).mean() - 1) < 1e-5


@pytest.mark.parametrize("first", [-1e6, 0, 1e3, 1e18, 3e38])
@pytest.mark.parametrize("masked", [False, True])
def test_statistics_hold_where_the_first_element_is_far_from_the_others(first: float, masked: bool) -> None:
    """The kernel sums differences from it. A masked one may be NaN, and is no element."""
    x = (np.random.default_rng(0).standard_normal((10_000, 3)) + 1000).astype("float32")
    x[0] = first
    mask, real = np.ones(len(x), bool), x.astype("float64")
    if masked:
        x = np.concatenate([np.full((2, 3), np.nan, "float32"), x])
        mask = np.concatenate([np.zeros(2, bool), mask])
    one = tn.Tensor(np.ones(3, "float32"))
    with np.errstate(over="ignore"):  # the last variance is above float32
        _, mean, var = tn.ops.batch_norm(tn.Tensor(x), one, one, mask=tn.Tensor(mask) if masked else None)
        np.testing.assert_allclose(var.numpy(), real.var(axis=0).astype("float32"), rtol=2e-7)
    np.testing.assert_allclose(mean.numpy(), real.mean(axis=0), rtol=2e-7)


@pytest.mark.parametrize("mode", ["fast", "reference"])
@pytest.mark.parametrize("given", [False, True])
@pytest.mark.parametrize("wrong", [np.inf, np.nan])
def test_what_is_masked_reaches_no_gradient(wrong: float, given: bool, mode: str) -> None:
    x, mask = np.random.default_rng(0).standard_normal((4, 3, 2)).astype("float32"), np.ones((4, 3), bool)
    mask[1, 2] = mask[3, 0] = False
    found = []
    for filler in (0, wrong):
        x[~mask] = filler
        vectors = [[1, 2], [3, 4], *([[0.1, 0.2], [1, 2]] if given else [])]
        inputs = [tn.Tensor(np.array(values, "float32"), requires_grad=True) for values in (x, *vectors)]
        with tn.using(mode):
            y, *_ = tn.ops.batch_norm(*inputs, mask=tn.Tensor(mask))  # type: ignore[arg-type]
            (y * y * y).sum().backward()
        found.append([y.numpy(), *(one.grad for one in inputs)])
    for plain, filled in zip(*found, strict=True):
        np.testing.assert_array_equal(plain, filled)
        assert np.isfinite(filled).all()


@pytest.mark.parametrize("mode", ["fast", "reference"])
@pytest.mark.parametrize("wrong", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", [0, 1])
def test_statistics_of_what_is_not_finite(wrong: float, mode: str, place: int) -> None:
    x, one = np.ones((4, 2), "float32"), tn.Tensor(np.ones(2, "float32"))
    x[place, 0] = wrong
    with tn.using(mode), np.errstate(invalid="ignore"):
        y, mean, var = (each.numpy() for each in tn.ops.batch_norm(tn.Tensor(x), one, one))
    np.testing.assert_array_equal(mean, [wrong, 1])
    np.testing.assert_array_equal(var, [np.nan, 0])
    assert np.isnan(y[place, 0]) and np.isfinite(y[:, 1]).all()


@pytest.mark.parametrize("reduction", ["mean", "sum"])
def test_a_sum_over_a_million_positions_is_exact(reduction: str) -> None:
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((10**6, 2)).astype("float32"), rng.integers(0, 2, 10**6)
    found = tn.ops.cross_entropy(tn.Tensor(logits), labels, reduction=reduction).item()
    wide = logits.astype("float64")
    exact = (np.logaddexp(wide[:, 0], wide[:, 1]) - wide[np.arange(10**6), labels]).sum()
    assert abs(found / (exact / 10**6 if reduction == "mean" else exact) - 1) < 3e-7


def test_a_model_trains_to_the_same_weights_as_the_specification() -> None:
    results = []
    for mode in ("fast", "reference"):
        tn.seed(3)
        model = tn.nn.Sequential(tn.nn.BatchNorm(9), tn.nn.LSTM(9, 20), tn.nn.Dropout(0.2), tn.nn.Conv1D(20, 18, 3),
                                 tn.nn.ReLU(), tn.nn.Flatten(), tn.nn.Dense(18 * 5, 4))
        optimizer = tn.optim.Adam(model.parameters(), lr=1e-3)
        rng = np.random.default_rng(0)
        images, labels = rng.standard_normal((8, 11, 7, 9)).astype("float32"), rng.integers(0, 4, (8, 11))
        with tn.using(mode):
            for x, y in zip(images, labels, strict=True):
                loss = tn.ops.cross_entropy(model(tn.Tensor(x)), y)
                optimizer.zero_grad()
                loss.backward()
                optimizer.step()
        results.append(model.state_dict())
    for name, array in results[0].items():
        assert difference(array, results[1][name]) <= 1e-4, name


@pytest.mark.parametrize("shape", [(17, 5, 7, 19), (1, 9, 3, 64), (5, 0, 3, 4), (5, 1, 3, 4), (40, 6, 28, 33)])
def test_an_lstm_that_keeps_nothing_gives_the_same(shape: tuple[int, ...]) -> None:
    N, T, D, H = shape
    rng = np.random.default_rng(0)
    arrays = [rng.standard_normal(size).astype("float32")
              for size in ((N, T, D), (N, H), (N, H), (H + D, 4 * H), (4 * H,), (N, H))]
    expected = tn.ops.lstm(*map(tn.Tensor, arrays))
    with tn.no_grad():
        outputs = tn.ops.lstm(*map(tn.Tensor, arrays))
    assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(outputs, expected, strict=True))


ONE_STEP = """
import hashlib, sys
import numpy as np
import tinynet as tn

tn.seed(0)
model = tn.nn.Sequential(tn.nn.LSTM(28, 128), tn.nn.Flatten(), tn.nn.Dense(640, 3))
optimizer = tn.optim.Adam(model.parameters())
x = tn.random.normal((32, 5, 28), (0, 1), 0).astype("float32")
for _ in range(3):
    tn.ops.cross_entropy(model(tn.Tensor(x)), np.arange(32) % 3).backward()
    optimizer.step()
print(hashlib.sha256(b"".join(array.tobytes() for array in model.state_dict().values())).hexdigest())
"""


def test_equal_bits_from_kernels_just_compiled_and_from_the_disk(tmp_path: Path) -> None:
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path), "PYTHONPATH": str(Path(tn.__file__).parents[1])}
    first, second = (subprocess.run([sys.executable, "-c", ONE_STEP], env=environment, capture_output=True, text=True,
                                    check=True) for _ in range(2))
    assert "compiling" in first.stderr and "compiling" not in second.stderr
    assert first.stdout == second.stdout
