"""The kernels of the GPU: every override in float32 against the specification in float64.

They run in the emulator and, if there is one, on a GPU. The emulator makes each launch in two orders of threads and
blocks, and checks each access to memory (emulator.checked). A wait of the host for the device is an error. Sizes are
odd, large enough for several blocks and stretches of rows, and not multiples of either.
"""

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tests.backend.equations_cuda import LARGE
from tests.support.complete import OPS, overridden
from tests.support.cuda_places import DEVICES, without_waiting
from tests.support.op_cases import Pair, Trial, as_tuple, difference, draw
from tinynet import backend
from tinynet.backend.cuda import gru_persistent, lstm_persistent
from tinynet.backend.cuda.column_sums import column_sums, share
from tinynet.backend.cuda.copies import copy
from tinynet.backend.cuda.persistent import Plan
from tinynet.backend.cuda.runtime import emulator
from tinynet.backend.cuda.runtime.emulator import KernelError
from tinynet.backend.cuda.runtime.launch import Kernels, Limits
from tinynet.data.gather import gather
from tinynet.op import REGISTRY
from tinynet.ops.batchnorm import running_averages
from tinynet.ops.loss import tally
from tinynet.optim.adam import adam

TOLERANCE = 1e-5

OVERRIDDEN = {name: pair for name in overridden("cuda")
              if (pair := backend.find_override(OPS[name].module, (name, f"d{name}"), "gpu-emulated"))}
(OVERRIDING_TALLY,) = backend.find_override(tally.module, ("tally",), "gpu-emulated") or (None,)
CASES = [(name, case) for name in OVERRIDDEN for case in [*OPS[name].cases, *LARGE[name]]]


class Place:
    """A device to test on."""

    def __init__(self, device: str) -> None:
        self.device = device
        self.xp = backend.namespace(device)

    def to(self, value: Any) -> Any:
        """Copy a NumPy array to the device; return other values as they are."""
        return backend.to_device(value, self.device) if isinstance(value, np.ndarray) else value

    def hosted(self, pair: Pair) -> Pair:
        """An override that takes and returns NumPy arrays."""
        def forward(_: Any, *arrays: Any, **options: Any) -> Any:
            given = [self.to(array) for array in arrays]
            with without_waiting(self.device):
                result = pair[0](self.xp, *given, **options)
            return result if result is NotImplemented else (tuple(map(on_host, as_tuple(result[0]))), result[1])

        def backward(_: Any, *doutputs: Any, cache: Any, needs: Any) -> Any:
            given = [None if d is None else self.to(np.asarray(d)) for d in doutputs]
            with without_waiting(self.device):
                gradients = pair[1](self.xp, *given, cache=cache, needs=needs)
            return tuple(map(on_host, as_tuple(gradients)))
        return forward, backward

    def trials(self, name: str, case: dict[str, Any]) -> tuple[Trial, Trial, list[Any]]:
        """The override in float32, the specification at the same point in float64, and gradients of the outputs."""
        op, rng = OPS[name], np.random.default_rng(1)
        if self.device == "gpu-emulated" and "N" in case:  # it has two multiprocessors: fewer sequences fill them
            case = {**case, "N": min(case["N"], 41)}
        arrays, options = draw(op, case, rng, "float32")
        wide = [None if array is None else array.astype("float64") if array.dtype.kind == "f" else array
                for array in arrays]
        exact = Trial(op, (op.forward, op.backward), wide, options)
        weights = [np.asarray(rng.standard_normal(np.shape(output)), "float32") for output in exact.forward()[0]]
        return Trial(op, self.hosted(OVERRIDDEN[name]), arrays, options), exact, weights


def on_host(value: Any) -> Any:
    return value if value is None else backend.to_host(value)


@pytest.fixture(params=DEVICES)
def place(request: pytest.FixtureRequest) -> Iterator[Place]:
    with emulator.checked():
        yield Place(request.param)


@pytest.mark.parametrize(("name", "case"), CASES)
def test_values_of_both_passes(place: Place, name: str, case: dict[str, Any]) -> None:
    fast, exact, weights = place.trials(name, case)
    if fast.pair[0](np, *fast.arrays, **fast.options) is NotImplemented:
        assert case not in LARGE[name]
    else:
        check_values(fast, exact, weights)


def check_values(fast: Trial, exact: Trial, weights: list[Any]) -> None:
    outputs, cache = fast.forward()
    for output, value in zip(outputs, exact.forward()[0], strict=True):
        assert output.dtype == np.float32
        assert difference(output, value) <= TOLERANCE
    kept = [output.copy() for output in outputs]
    gradients, again = fast.backward(weights, cache), fast.backward(weights, cache)
    for i, gradient in enumerate(exact.gradients(weights)):
        if i not in exact.floats:
            continue
        assert gradients[i].dtype == np.float32
        assert difference(gradients[i], gradient, 1e-2) <= TOLERANCE
        assert np.array_equal(gradients[i], again[i]), "backward, run twice, gives two results"
    assert all(map(np.array_equal, outputs, kept)), "an output was changed by backward"


RECURRENT: list[dict[str, Any]] = [
    {"N": 5, "T": 7, "D": 2, "H": 1}, {"N": 3, "T": 2, "D": 3, "H": 3, "recurrent_mask": None},
    {"N": 7, "T": 2, "D": 1, "H": 32}, {"N": 5, "T": 7, "D": 5, "H": 63}, {"N": 3, "T": 1, "D": 2, "H": 64},
    {"N": 5, "T": 2, "D": 2, "H": 64, "recurrent_mask": None}, {"N": 5, "T": 2, "D": 2, "H": 65},
    {"N": 3, "T": 7, "D": 4, "H": 128}, {"N": 1, "T": 1, "D": 1, "H": 128, "recurrent_mask": None},
    {"N": 5, "T": 0, "D": 1, "H": 5}, {"N": 0, "T": 2, "D": 1, "H": 5}]
WAYS = {"one sequence in a block": Limits(227 * 1024, 7), "two sequences": Limits(227 * 1024, 1), "step by step": None}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("case", RECURRENT, ids=lambda case: "-".join(f"{key}{case[key]}" for key in "NTH"))
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_all_ways_of_a_recurrent_op(place: Place, name: str, case: dict[str, Any], way: str,
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """Kernels for all steps and kernels for one step, on any device. In some cases half of the last block is empty."""
    device, launched, launch = WAYS[way], set[str](), Kernels.launch
    monkeypatch.setattr(Kernels, "launch", lambda self, name, *rest: (launched.add(name), launch(self, name, *rest)))
    for module in lstm_persistent, gru_persistent:
        monkeypatch.setattr(module, "limits", lambda array: device or Limits(0, 1))
    if name == "gru":  # h0 may be missing, and the mask may be there, where the LSTM's cases have no dropout
        case = {key: case[key] for key in "NTDH"} | ({"h0": None, "mask": "boolean"} if len(case) > 4 else {})
    trials = fast, exact, _ = place.trials(name, case)
    for trial in fast, exact:
        trial.arrays[3 if name == "lstm" else 2] /= 8  # type: ignore[operator]  # else rounding errors grow with t
    check_values(*trials)
    assert (f"{name}_backward_64" in launched or f"{name}_backward_128" in launched) == (device is not None)
    assert device or not case["T"] or f"{name}_dgates" in launched


def test_an_lstm_takes_no_more_shared_memory_than_there_is(monkeypatch: pytest.MonkeyPatch) -> None:
    def plan(N: int, H: int, T: int = 7) -> Plan | None:
        return lstm_persistent.plan(np.broadcast_to(np.float32(0), (N, T, H)))

    monkeypatch.setattr(lstm_persistent, "limits", lambda array: Limits(64 * 1024, 40))  # of sm_75
    assert plan(5, 64) and not plan(5, 65)
    monkeypatch.setattr(lstm_persistent, "limits", lambda array: Limits(99 * 1024, 40))  # of sm_86
    plans = [plan(N, H) for N, H in ((40, 64), (41, 64), (500, 64), (500, 65), (500, 128), (5, 17))]
    assert [(plan.blocks, plan.threads, plan.sequences) for plan in plans if plan] == [
        (40, 128, 1), (21, 128, 2), (80, 128, 2), (40, 160, 2), (40, 256, 2), (5, 64, 1)]
    assert not plan(5, 129) and not plan(5, 0)
    assert plan(2**10, 64, 2**13 - 2) and not plan(2**10, 64, 2**13 - 1)


@pytest.mark.parametrize("place", DEVICES[:1], indirect=True)
@pytest.mark.parametrize(("N", "H"), [(1, 64), (3, 64), (1, 128), (3, 128)])
@pytest.mark.parametrize("name", ["lstm", "gru"])
def test_all_of_the_shared_memory_is_needed(place: Place, name: str, N: int, H: int,
                                            monkeypatch: pytest.MonkeyPatch) -> None:
    """With 16 bytes less, the kernels access what lies behind it."""
    fast, _, weights = place.trials(name, {"N": N, "T": 1, "D": 1, "H": H})
    _, cache = fast.forward()
    grid = Plan.grid
    monkeypatch.setattr(Plan, "grid", lambda *args: (g := grid(*args))._replace(shared=g.shared - 16))
    with pytest.raises(KernelError, match=f"{name}_forward_{H}: .* beside the shared memory"):
        fast.forward()
    with pytest.raises(KernelError, match=f"{name}_backward_{H}: .* beside the shared memory"):
        fast.backward(weights, cache)


@pytest.mark.long
@pytest.mark.parametrize("seed", range(1, 6))
def test_tolerances_hold_with_the_errors_of_a_gpu(seed: int, tmp_path: Path) -> None:
    """With errors such as CUDA documents for its functions, and with fused products."""
    flags = f"-DEMULATED_ERRORS={seed}u -ffp-contract=fast -mfma"
    done = subprocess.run([sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", __file__, "-k",
                           "gpu-emulated and (values_of_both_passes or all_ways or adam or tally)"],
                          env={**os.environ, "TINYNET_EMULATOR_FLAGS": flags, "XDG_CACHE_HOME": str(tmp_path)},
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-3000:]


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_double_precision_is_refused_or_kept(place: Place, name: str) -> None:
    for case in OPS[name].cases:
        _, exact, _ = place.trials(name, case)
        found = OVERRIDDEN[name][0](place.xp, *map(place.to, exact.arrays), **exact.options)
        for output, value in zip(as_tuple(found[0]), exact.forward()[0], strict=True) if found is not NotImplemented \
                else ():
            assert output.dtype == np.float64
            np.testing.assert_allclose(on_host(output), value, atol=1e-12)


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_a_gradient_that_is_not_needed_is_left_out(place: Place, name: str) -> None:
    fast, _, weights = place.trials(name, LARGE[name][0])
    _, cache = fast.forward()
    everything = fast.backward(weights, cache)
    for i in fast.floats:
        alone = fast.backward(weights, cache, fast.needs(i))
        assert np.array_equal(alone[i], everything[i])


@pytest.mark.parametrize("name", OVERRIDDEN)
def test_arrays_with_gaps_and_inputs_left_alone(place: Place, name: str) -> None:
    fast, _, weights = place.trials(name, LARGE[name][0])

    def scattered(array: Any) -> Any:
        """The same values on the device, as every second element of a larger array in Fortran order."""
        if array is None or array.ndim == 0:
            return place.to(array)
        larger = np.full([2 * size for size in array.shape], 99, array.dtype, order="F")
        half = tuple(slice(None, None, 2) for _ in array.shape)
        larger[half] = array
        return place.to(larger)[half]

    given, doutputs = [scattered(array) for array in fast.arrays], [scattered(weight) for weight in weights]
    forward, backward = OVERRIDDEN[name]
    outputs, cache = forward(place.xp, *given, **fast.options)
    gradients = as_tuple(backward(place.xp, *doutputs, cache=cache, needs=fast.needs()))
    expected, cache = fast.forward()
    assert all(np.array_equal(on_host(a), b) for a, b in zip(as_tuple(outputs), expected, strict=True))
    wanted = fast.backward(weights, cache)
    assert all(np.array_equal(on_host(gradients[i]), wanted[i]) for i in fast.floats)
    for array, before in zip([*given, *doutputs], [*fast.arrays, *weights], strict=True):
        assert array is None or np.array_equal(on_host(array), before), "an input was changed"


@pytest.mark.parametrize(("name", "case"), [(name, case) for name in OVERRIDDEN for case in LARGE[name]
                                           if len(OPS[name].contract.outputs) > 1])
def test_an_unused_output_counts_as_zero(place: Place, name: str, case: dict[str, Any]) -> None:
    fast, _, weights = place.trials(name, case)
    _, cache = fast.forward()
    for used in range(len(weights)):
        found = fast.backward([weight if i == used else None for i, weight in enumerate(weights)], cache)
        wanted = fast.backward([weight * (i == used) for i, weight in enumerate(weights)], cache)
        assert all(np.array_equal(found[i], wanted[i]) for i in fast.floats)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", OVERRIDDEN)
def test_nan_and_infinity_as_in_the_specification(place: Place, name: str, value: float) -> None:
    fast, exact, _ = place.trials(name, LARGE[name][0])
    for trial in (fast, exact):
        trial.arrays[0].reshape(-1)[3] = value  # type: ignore[union-attr]
    with np.errstate(all="ignore"):
        for output, wanted in zip(fast.forward()[0], exact.forward()[0], strict=True):
            finite = np.isfinite(wanted)
            assert np.array_equal(np.isnan(output), np.isnan(wanted))
            assert np.array_equal(output[~finite], wanted[~finite].astype("float32"), equal_nan=True)
            assert difference(output[finite], wanted[finite]) <= TOLERANCE


@pytest.mark.parametrize("on", ["host", "device"])
@pytest.mark.parametrize(("p", "key", "counter"), [(0.3, (5, 2**32 - 1), 2**40 + 3), (0.0, (0, 0), 0),
                                                  (0.5, (1, 2), 7)])
def test_dropout_has_the_bits_of_the_host(place: Place, on: str, p: float, key: tuple[int, int],
                                          counter: int) -> None:
    ones = np.ones((7, 143), "float32")
    expected, _ = REGISTRY["dropout"].forward(np, ones, p, key=key, counter=counter)
    forward, backward = OVERRIDDEN["dropout"]
    step = counter if on == "host" else place.to(np.asarray(counter))
    y, cache = forward(place.xp, place.to(ones), p, key=key, counter=step)
    assert np.array_equal(y.get(), expected)
    if on == "device":
        if counter < 2**31:
            same, _ = forward(place.xp, place.to(ones), p, key=key, counter=place.to(np.asarray(counter, "int32")))
            assert np.array_equal(same.get(), expected)
        step += 1  # the next draw; this one's backward keeps its own
    dx = backward(place.xp, place.to(ones), cache=cache, needs=(True,))
    assert np.array_equal(dx.get(), expected)


@pytest.mark.parametrize("C", [1, 3, 300])
def test_running_averages(place: Place, C: int) -> None:
    arrays = np.random.default_rng(0).standard_normal((4, C)).astype("float32")
    exact, device = arrays.astype("float64"), [place.to(array) for array in arrays]
    for seen in (0, 1, place.to(np.asarray(7)), 8, 9, place.to(np.asarray(100))):
        running_averages(*device, momentum=0.9, seen=seen)
        running_averages.specification(np, *exact, momentum=0.9, seen=int(seen))
    for real, positions in ((0, 2), (1, 1), (1, 2), (2, 1)):  # where no element or one alone is real, nothing changes
        mask = np.arange(6).reshape(2, 3) < real
        for array, wanted in zip(device[:2], exact[:2], strict=True):
            wanted += 1
            array += 1
        before = on_host(device[0])
        running_averages(*device, place.to(mask), momentum=0.9, seen=3, positions=positions)
        running_averages.specification(np, *exact, mask, momentum=0.9, seen=3, positions=positions)
        assert np.array_equal(on_host(device[0]), before) == (real * positions < 2)
    for array, wanted in zip(device, exact, strict=True):
        assert difference(array.get(), wanted) <= 1e-6


@pytest.mark.parametrize(("N", "K"), [(1, 1), (37, 3), (150, 70)])
def test_tally(place: Place, N: int, K: int) -> None:
    """Of equal scores the first counts. NaN counts as the largest."""
    rng = np.random.default_rng(0)
    scores, labels = rng.integers(-1, 2, (N, K)).astype("float32"), rng.integers(0, K, N)
    scores[: N // 3] = -np.inf
    scores[N // 2 :: 5, K // 2 :] = np.nan
    arrays = np.float32(0.5).reshape(()), np.asarray(3), np.asarray(1.25, "float32"), scores, labels
    device, exact = [place.to(np.array(array)) for array in arrays], [np.array(array) for array in arrays]
    for _ in range(2):
        with without_waiting(place.device):
            assert OVERRIDING_TALLY(place.xp, *device) is None
        tally.specification(np, *exact)
    assert device[0].get() == exact[0] == 0.5 + 2 * 1.25 * N
    assert device[1].get() == exact[1] == 3 + 2 * (scores.argmax(axis=-1) == labels).sum()
    several = place.to(scores[:, None]), place.to(labels[:, None])
    assert OVERRIDING_TALLY(place.xp, *device[:3], *several) is NotImplemented


@pytest.mark.parametrize("on", ["host", "device"])
@pytest.mark.parametrize("options", [{}, {"weight_decay": 0.1}, {"weight_decay": 0.1, "decoupled": True},
                                     {"betas": (0.0, 0.99)}])
def test_adam(place: Place, options: dict[str, Any], on: str) -> None:
    rng = np.random.default_rng(0)
    arrays = rng.standard_normal((4, 1003)).astype("float32")
    arrays[3] = abs(arrays[3])
    exact, device = arrays.astype("float64"), [place.to(array) for array in arrays]
    settings: dict[str, Any] = {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.0, "decoupled": False, **options}
    for step in (1, 2, 3):
        lr, count = (0.01, step) if on == "host" else (place.to(np.array(0.01, "float32")), place.to(np.array(step)))
        with without_waiting(place.device):
            adam(*device, lr=lr, step=count, **settings)
        adam.specification(np, *exact, lr=0.01, step=step, **settings)
    for array, wanted in zip(device, exact, strict=True):
        assert difference(array.get(), wanted) <= 1e-6


@pytest.mark.parametrize("dtype", ["float32", "uint8", "int64", "float64"])
@pytest.mark.parametrize("shape", [(), (3,), (5, 7), (4, 2)])
def test_gather(place: Place, dtype: str, shape: tuple[int, ...]) -> None:
    rows = np.random.default_rng(0).integers(0, 100, (50, *shape)).astype(dtype)
    index = np.random.default_rng(1).permutation(50)[:33]
    batch = place.xp.empty((33, *shape), dtype)
    gather(batch, place.to(rows), place.to(index))
    assert np.array_equal(batch.get(), rows[index])
    gather(batch[:0], place.to(rows), place.to(index[:0]))


def test_gather_of_arrays_of_two_dtypes_or_with_gaps(place: Place) -> None:
    rows, index = np.arange(160, dtype="uint8").reshape(20, 8), np.array([3, 0, 19], "int32")
    wide = place.xp.zeros((3, 16), "uint8")
    for batch, given in ((place.xp.zeros((3, 8), "float32"), place.to(rows)), (wide[:, ::2], place.to(rows)),
                         (place.xp.zeros((3, 4), "uint8"), place.to(rows)[:, ::2]),
                         (place.xp.zeros((3, 8), "uint8"), place.to(rows.astype("float32")))):
        gather(batch, given, place.to(index))
        assert np.array_equal(on_host(batch), on_host(given)[index])
    assert not on_host(wide)[:, 1::2].any()


def test_large_images_are_unfolded_a_few_at_a_time(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynet.backend.cuda import conv
    fast, _, weights = place.trials("conv2d", LARGE["conv2d"][0])
    expected, cache = fast.forward()
    gradients = fast.backward(weights, cache)
    for most in (2 * 9 * 13 * 9 * 17, 1):  # two of three images, and less than one
        monkeypatch.setattr(conv, "_UNFOLDED", most)
        outputs, cache = fast.forward()
        assert difference(outputs[0], expected[0]) <= TOLERANCE
        found = fast.backward(weights, cache)
        assert all(difference(a, b) <= TOLERANCE for a, b in zip(found, gradients, strict=True))
        dx, *others = fast.backward(weights, cache, fast.needs(1, 2))
        assert dx is None and all(map(np.array_equal, others, found[1:]))


@pytest.mark.parametrize("name", ["max_pool1d", "max_pool2d"])
@pytest.mark.parametrize("value", [np.nan, -np.inf])
def test_the_first_element_wins_a_window_of_equal_ones(place: Place, name: str, value: float) -> None:
    """Not the padding, which counts as minus infinity."""
    case = next(case for case in LARGE[name] if case.get("padding") not in (None, "valid"))
    fast, exact, weights = place.trials(name, case)
    for trial in (fast, exact):
        trial.arrays[0][...] = value  # type: ignore[index]
    found, wanted = fast.gradients(weights)[0], exact.gradients(weights)[0]
    assert difference(found, wanted) <= TOLERANCE and wanted.any()


def test_windows_of_more_elements_than_bytes_can_number(place: Place) -> None:
    forward, backward = OVERRIDDEN["max_pool2d"]
    for size in ((16, 17), (256, 256), (256, 257)):
        x = np.zeros((1, *size, 1), "float32")
        x[0, -1, -1, 0] = 1
        made = forward(place.xp, place.to(x), size)
        if size == (256, 257):
            assert made is NotImplemented
        else:
            assert int(made[1][0].item()) == size[0] * size[1] - 1
        if size == (16, 17):
            dx = backward(place.xp, place.to(x[:, -1:, -1:]), cache=made[1], needs=(True,))
            assert np.array_equal(on_host(dx), x)


def test_sums_of_several_stretches_are_multiplied_once(place: Place) -> None:
    x = np.random.default_rng(0).integers(0, 9, (9000, 8)).astype("float32")
    assert share(*x.shape).stretches > 1
    assert np.array_equal(on_host(column_sums(place.xp, place.to(x), 0.5)), x.sum(axis=0) / 2)


def test_copies_of_more_arrays_than_one_launch_takes(place: Place) -> None:
    """What the kernel cannot copy is given back: here two arrays with gaps, and one of another dtype."""
    sources = [np.arange(size, dtype="float32") + size for size in range(37)]
    given, targets = list(map(place.to, sources)), [place.xp.zeros(size, "float32") for size in range(37)]
    given[20], targets[21] = place.to(np.repeat(sources[20], 2))[::2], place.xp.zeros(42, "float32")[::2]
    given[33] = place.to(sources[33].astype("float64"))
    left, theirs = copy(targets, given)
    others = [0, 20, 21, 33]  # one without elements among them
    assert [*map(id, left)] == [id(targets[i]) for i in others] and [*map(id, theirs)] == [id(given[i]) for i in others]
    for i, (target, source) in enumerate(zip(targets, sources, strict=True)):
        assert np.array_equal(on_host(target), source * (i not in others))
