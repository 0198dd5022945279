"""Checks for a GPU: `CASES` holds functions of a device by name, and each raises an exception for a fault.

`test_devices.py` runs them under the mark `gpu`, and some of them on the emulator. `benchmarks/gpu.py` runs them on
machines without pytest, so this file does not import it.
"""

import gc
import itertools
from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np

import tinynet as tn
from tests.backend.equations_cuda import LARGE
from tests.support.complete import OPS
from tests.support.op_cases import Trial, as_tuple, assert_close, draw, falling_back, largest
from tinynet import backend
from tinynet.backend.cuda.runtime.gemm import matmul
from tinynet.op import Op
from tinynet.optim.adam import adam
from tinynet.optim.sgd import sgd
from tinynet.recording import Recording, evaluations
from tinynet.training.recorded import RecordedStep

FLOAT32, TF32, BF16 = 1e-5, 1e-3, 8e-3  # relative errors: the last two round to 10 and 7 bits
CASES: dict[str, Callable[[str], None]] = {}


def case(function: Callable[[str], None]) -> Callable[[str], None]:
    CASES[function.__name__] = function
    return function


def there(value: Any, device: str) -> Any:
    return backend.to_device(value, device) if isinstance(value, np.ndarray) else value


def here(value: Any) -> Any:
    return np.asarray(value) if isinstance(value, np.generic) else backend.to_host(value)


# --- ops ------------------------------------------------------------------------------------------------------------

def op_agrees(op: Op, options: dict[str, Any], device: str) -> None:
    """Compare values and gradients in float32 on the device with the specification in float64 on the host."""
    rng = np.random.default_rng(0)
    arrays, options = draw(op, options, rng, "float32")
    wide = [array.astype("float64") if array is not None and array.dtype.kind == "f" else array for array in arrays]
    exact = Trial(op, (op.forward, op.backward), wide, options)
    expected = exact.forward()[0]
    weights = [np.asarray(rng.standard_normal(np.shape(output)), "float32") for output in expected]
    xp, fast = backend.namespace(device), backend.find_override(op.module, (op.name, f"d{op.name}"), device)
    forward, backward = falling_back(fast, op) if fast else (op.forward, op.backward)
    outputs, cache = forward(xp, *(there(array, device) for array in arrays), **options)
    gradients = as_tuple(backward(xp, *(there(weight, device) for weight in weights), cache=cache, needs=exact.needs()))
    floor = max(1e-2, *(largest([wide[i]]) for i in exact.floats)) if exact.floats else 1e-2
    for output, value in zip(as_tuple(outputs), expected, strict=True):
        assert_close(f"{op.name}", here(output), value, FLOAT32, floor)
    for i in exact.floats:
        wanted = exact.gradients(weights)[i]
        assert gradients[i].dtype == np.float32
        assert_close(f"d{op.name}, input {i}", here(gradients[i]), wanted, FLOAT32, largest([*weights, wanted]))


for _op in OPS.values():
    for _number, _options in enumerate([*_op.cases, *LARGE.get(_op.name, [])]):
        CASES[f"op {_op.name} {_number}"] = partial(op_agrees, _op, _options)


@case
def adam_agrees(device: str) -> None:
    _kernel_agrees(device, adam, 4, {"betas": (0.9, 0.999), "eps": 1e-8, "weight_decay": 0.1, "decoupled": True,
                                     "lr": 0.01})


@case
def sgd_agrees(device: str) -> None:
    _kernel_agrees(device, sgd, 3, {"momentum": 0.9, "nesterov": True, "weight_decay": 0.1, "lr": 0.01})


def _kernel_agrees(device: str, kernel: Any, count: int, options: dict[str, Any]) -> None:
    arrays = abs(np.random.default_rng(0).standard_normal((count, 5003))).astype("float32")
    on_device, exact = [there(array, device) for array in arrays], arrays.astype("float64")
    for step in (1, 2, 3):
        more = {"step": step} if kernel is adam else {}
        kernel(*on_device, **options, **more)
        kernel.specification(np, *exact, **options, **more)
    for array, wanted in zip(on_device, exact, strict=True):
        assert_close(kernel.name, here(array), wanted, 1e-6)


# --- products -------------------------------------------------------------------------------------------------------

@case
def products_of_views(device: str) -> None:
    """All transposes, with and without gaps, in C and in Fortran order, written to or added to the output."""
    rng = np.random.default_rng(0)
    for M, K, N in ((1, 1, 1), (33, 70, 17), (1, 50, 3), (64, 1, 5), (128, 128, 512)):
        for ta, tb, gaps, accumulate in itertools.product((False, True), repeat=4):
            A, B, out = (rng.standard_normal((rows, columns + 3 * gaps)).astype("float32") for rows, columns in
                         ((K, M) if ta else (M, K), (N, K) if tb else (K, N), (M, N)))
            cut = slice(0, -3 if gaps else None)
            wanted = (A[:, cut].T if ta else A[:, cut]).astype("float64") @ (B[:, cut].T if tb else B[:, cut])
            a, b, c = (there(X, device)[:, cut] for X in (A, B, out))
            found = matmul(a, b, transpose_a=ta, transpose_b=tb, out=c, accumulate=accumulate)
            assert_close(f"matmul {M, K, N}", here(found), wanted + out[:, cut] * accumulate, FLOAT32, 1.0)
            turned = matmul(b.T, a.T, transpose_a=tb, transpose_b=ta)
            assert_close(f"matmul of transposes {M, K, N}", here(turned), wanted.T, FLOAT32, 1.0)


@case
def products_in_batches(device: str) -> None:
    rng = np.random.default_rng(0)
    A, B = (rng.standard_normal(shape).astype("float32") for shape in ((6, 9, 5), (6, 5, 7)))
    wanted = A.astype("float64") @ B
    a, b = there(A, device), there(B, device)
    assert_close("a batch", here(matmul(a, b)), wanted, FLOAT32)
    assert_close("transposed", here(matmul(a.swapaxes(-1, -2), b, transpose_a=True)), wanted, FLOAT32)
    assert_close("with a matrix", here(matmul(a, b[0])), A.astype("float64") @ B[0], FLOAT32)


@case
def precisions(device: str) -> None:
    """float32 is not TF32, and each precision has its relative error."""
    rng = np.random.default_rng(0)
    A, B = (rng.standard_normal((256, 256)).astype("float32") for _ in range(2))
    wanted, a, b = A.astype("float64") @ B, there(A, device), there(B, device)
    for precision, tolerance in (("float32", 2e-6), ("tf32", TF32), ("bf16", BF16)):
        with tn.precision(precision):
            assert_close(precision, here(matmul(a, b)), wanted, tolerance)


# --- training -------------------------------------------------------------------------------------------------------

def small_net() -> tn.nn.Sequential:
    tn.seed(0)
    nn = tn.nn
    return nn.Sequential(nn.BatchNorm(1), nn.Reshape((8, 8)), nn.LSTM(8, 12), nn.Dropout(0.2), nn.Conv1D(12, 6, 3),
                         nn.ReLU(), nn.Dropout(0.2), nn.Flatten(), nn.Dense(36, 4))


def losses(device: str, steps: int) -> tuple[list[float], dict[str, np.ndarray]]:
    """The losses of a number of steps, and the weights after them."""
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 4, 64)
    images = (rng.standard_normal((64, 8, 8, 1)) + labels[:, None, None, None]).astype("float32")
    model = small_net().to(device)
    optimizer = tn.optim.Adam(model.parameters(), lr=3e-3)
    found = []
    for step in range(steps):
        part = slice(step * 16 % 64, step * 16 % 64 + 16)
        loss = tn.ops.cross_entropy(model(tn.Tensor(images[part], device=device)),
                                    tn.Tensor(labels[part], device=device))
        optimizer.zero_grad()
        loss.backward()
        tn.optim.clip_global_norm(model.parameters(), 1.0)
        optimizer.step()
        found.append(float(loss))
    return found, model.state_dict()


@case
def training_takes_the_course_of_the_host(device: str) -> None:
    ours, weights = losses(device, 50)
    expected, others = losses("cpu", 50)
    assert max(abs(a - b) for a, b in zip(ours, expected, strict=True)) <= 1e-3, (ours, expected)
    for name, array in weights.items():
        assert_close(name, array, others[name], 1e-3, 0.1)
    assert expected[-1] < expected[0]


@case
def training_twice_gives_the_same_bits(device: str) -> None:
    first, second = losses(device, 10), losses(device, 10)
    assert first[0] == second[0]
    assert all(np.array_equal(array, second[1][name]) for name, array in first[1].items())


@case
def masks_are_those_of_the_host(device: str) -> None:
    ones, options = np.ones((130, 77), "float32"), {"p": 0.3, "key": (2**32 - 1, 7), "counter": 2**33 + 5}
    fast = backend.find_override(tn.ops.dropout.module, ("dropout", "ddropout"), device)
    forward = fast[0] if fast else tn.ops.dropout.forward
    found, _ = forward(backend.namespace(device), there(ones, device), **options)
    assert np.array_equal(here(found), tn.ops.dropout.forward(np, ones, **options)[0])


@case
def fit_evaluate_predict(device: str) -> None:
    rng = np.random.default_rng(0)
    labels = np.arange(96) % 4
    images = (rng.standard_normal((96, 8, 8, 1)) + labels[:, None, None, None]).astype("float32")
    model = small_net().to(device)
    batches = tn.data.Loader(images, labels, batch_size=20, shuffle=True, threads=1)
    optimizer = tn.optim.Adam(model.parameters(), lr=1e-2)
    history = tn.fit(model, optimizer, batches, epochs=3, validation=batches, show=False)
    assert history[-1]["train_loss"] < history[0]["train_loss"]
    assert tn.predict(model, images).shape == (96, 4)


def graphed_net() -> tn.nn.Sequential:
    """A net with every kind of layer that has state, and both kernels of the LSTM."""
    tn.seed(0)
    nn = tn.nn
    return nn.Sequential(nn.BatchNorm(1), nn.Reshape((8, 8)), nn.LSTM(8, 12, dropout=0.1, recurrent_dropout=0.1),
                         nn.Dropout(0.2), nn.LSTM(12, 130), nn.BatchNorm(130), nn.Conv1D(130, 6, 3), nn.ReLU(),
                         nn.MaxPool1D(2), nn.Flatten(), nn.Dense(18, 4))


def fitted(device: str, graph: bool) -> tuple[list[RecordedStep], dict[str, np.ndarray]]:
    """The recorded steps, weights and sums of a run in which the rate changes and a layer is frozen."""
    rng = np.random.default_rng(0)
    labels = np.arange(88) % 4
    images = (rng.standard_normal((88, 8, 8, 1)) + labels[:, None, None, None]).astype("float32")
    model = graphed_net().to(device)
    optimizer = tn.optim.AdamW(model.parameters())
    batches = tn.data.Loader(images, labels, batch_size=16, shuffle=True, device=device)
    schedule = tn.optim.OneCycle(optimizer, peak=1e-2, steps=4 * len(batches))
    made: list[RecordedStep] = []

    class Freeze(tn.callbacks.Callback):
        def on_step(self, run: Any) -> None:
            if run.step == 14:
                model[2].W.requires_grad = False

    start = RecordedStep.__init__
    RecordedStep.__init__ = lambda self, *given: (made.append(self), start(self, *given))[1]  # type: ignore[method-assign]
    try:
        history = tn.fit(model, optimizer, batches, epochs=4, schedule=schedule, max_norm=1.0, graph=graph, show=False,
                         callbacks=[Freeze()])
    finally:
        RecordedStep.__init__ = start  # type: ignore[method-assign]
    sums = {f"{name} {row['epoch']}": np.array(row[name]) for row in history for name in row if "train" in name}
    return made, {**model.state_dict(), **optimizer.state_dict(), **sums}


@case
def steps_of_a_graph_are_those_without(device: str) -> None:
    """The bits are equal, also after the graphs of the first run are freed."""
    _, usual = fitted(device, graph=False)
    for _ in range(2):
        made, launched = fitted(device, graph=True)
        assert all(one.recording and one.is_proven for one in made), [one.reason for one in made]
        assert bool(made) == (device != "cpu")
        assert launched.keys() == usual.keys()
        different = [name for name, array in launched.items() if not np.array_equal(array, usual[name])]
        assert not different, different
        del made
        gc.collect()


@case
def a_recorded_evaluation_gives_the_bits_of_a_usual_one(device: str) -> None:
    """The result follows weights that change in place, and each output is a new array."""
    model = graphed_net().to(device)
    first, *others = (tn.Tensor(np.random.default_rng(i).standard_normal((5, 8, 8, 1)).astype("float32"), device=device)
                      for i in range(4))
    model(first)
    model.eval()
    with tn.no_grad():
        for _ in range(3):
            model(first)
        recorded, = evaluations[model].known.values()
        assert isinstance(recorded, Recording), recorded
        for factor in 1.0, 0.5:
            model[-1].W.data *= factor
            for x, y in [(x, model(x)) for x in others]:
                assert np.array_equal(here(y.data), here(model.through(x).data))
        assert [recorded] == [*evaluations[model].known.values()]


@case
def memory_that_is_full_is_an_error_with_a_remedy(device: str) -> None:
    x, y = (tn.Tensor(np.zeros(shape, "float32"), device=device) for shape in ((2**24, 1), (1, 2**24)))
    try:
        x + y  # 1 PiB
    except tn.errors.DeviceError as error:
        assert "add: an array does not fit into the memory of" in str(error), error
    else:
        raise AssertionError("1 PiB was found")
    assert float((x + x).sum()) == 0


@case
def arrays_are_shared_with_cupy_and_pytorch(device: str) -> None:
    if device in ("cpu", "gpu-emulated"):
        return
    x = tn.Tensor(np.arange(6, dtype="float32"), device=device)
    import cupy

    theirs = cupy.from_dlpack(x)
    assert theirs.data.ptr == x.data.data.ptr == tn.from_dlpack(theirs).data.data.ptr
    try:
        import torch
    except ImportError:
        return
    if torch.cuda.is_available():
        shared = torch.from_dlpack(x)
        assert shared.data_ptr() == x.data.data.ptr
        shared += 1
        torch.cuda.synchronize()
        assert x.numpy().tolist() == [1, 2, 3, 4, 5, 6]
        assert tn.from_dlpack(shared).device == tn.Tensor(shared).device == device


def failures(device: str, names: list[str]) -> dict[str, str]:
    """Run the cases of these names and return the messages of those that fail, by name."""
    found = {}
    for name in names:
        try:
            tn.seed(0)
            CASES[name](device)
        except Exception as error:
            found[name] = f"{type(error).__name__}: {str(error)[:300]}"
    return found
