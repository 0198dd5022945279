"""Recordings: the bits of the function that was recorded, and a fingerprint that notices what it depends on."""

import gc
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support.cuda_places import DEVICES
from tinynet import backend, nn
from tinynet.backend.cuda.runtime import fake_cupy
from tinynet.errors import ArgumentError, DeviceError
from tinynet.op import REGISTRY, op
from tinynet.recording import SHAPES, Fingerprint, Recording, Recordings, Watched
from tinynet.settings import call_with
from tinynet.tape import in_training
from tinynet.tensor import Tensor

pytest.importorskip("numba")

RNG = np.random.default_rng(0)


@pytest.fixture(params=["cpu", *DEVICES])
def device(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def draw(*shape: int, device: str = "cpu") -> Tensor:
    return Tensor(RNG.standard_normal(shape), dtype="float32", device=device)


# --- recordings -----------------------------------------------------------------------------------------------------

def two(x: Tensor) -> Any:
    return tn.ops.relu(x), tn.ops.relu(tn.ops.relu(x))


@pytest.mark.parametrize(("function", "shapes"), [
    (tn.ops.relu, [(4, 3)]), (tn.ops.dense, [(4, 3), (3, 5)]), (tn.ops.dense, [(4, 3), (3, 5), (5,)]),
    (tn.ops.lstm, [(2, 7, 3), (2, 4), (2, 4), (7, 16), (16,)]), (two, [(4, 3)]),
])
def test_any_number_of_inputs_and_outputs(device: str, function: Callable[..., Any], shapes: Any) -> None:
    first, second = ([draw(*shape, device=device) for shape in shapes] for _ in range(2))
    with tn.no_grad():
        function(*first)
        recording = Recording(device, function, first, [])
        for inputs in second, first:
            expected, outputs = function(*inputs), recording.replay(*inputs)
            assert isinstance(outputs, tuple) == isinstance(expected, tuple)
            pairs = zip(expected, outputs, strict=True) if isinstance(expected, tuple) else [(expected, outputs)]
            assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in pairs)
        assert outputs is recording.outputs
        with pytest.raises(tn.errors.ArgumentError, match="as many inputs"):
            recording.replay(*first, first[0])


def test_an_op_without_kernels_may_return_a_view_beside_a_new_array() -> None:
    @op("x:(N,D) -> y:(N,D) z:(D,N)", cases=[])
    def turned(xp: Any, x: Any) -> Any:
        return (2 * x, x.T), None

    def function(x: Tensor) -> Any:
        y, z = turned(x)
        return tn.ops.relu(y), tn.ops.relu(z)

    del REGISTRY["turned"]
    first, second = draw(4, 3), draw(4, 3)
    with tn.no_grad():
        function(first)
        outputs = Recording("cpu", function, [first], []).replay(second)
        for output, wanted in zip(outputs, function(second), strict=True):
            np.testing.assert_array_equal(output.numpy(), wanted.numpy())


def test_the_inputs_of_the_recording_are_its_own(device: str) -> None:
    x = draw(4, 3, device=device)
    with tn.no_grad():
        tn.ops.relu(x)
        recording = Recording(device, tn.ops.relu, [x], [])
        before = x.numpy().copy()
        recording.replay(draw(4, 3, device=device))
    assert np.array_equal(x.numpy(), before)


def test_a_function_that_changes_what_it_depends_on(device: str) -> None:
    layer, x = nn.Dropout(0.5), draw(4, 3, device=device)

    def function(x: Tensor) -> Any:
        layer.p /= 2
        return tn.ops.relu(x)

    with tn.no_grad():
        tn.ops.relu(x)
        recording = Recording(device, function, [x], [Watched("layers.1", layer)])
    assert recording.changed == ["layers.1.p"]
    assert recording.arrays() is None


def test_what_cannot_be_recorded_is_an_error_with_the_reason(device: str) -> None:
    x = draw(4, 3, device=device)
    with tn.no_grad():
        tn.ops.relu(x)
        with pytest.raises(DeviceError, match="NumPy made" if device == "cpu" else "something does"):
            Recording(device, lambda x: Tensor(x.numpy() + float(x.data[0, 0]), device=device), [x], [])
        with pytest.raises(DeviceError, match="must have 40 bytes at most, got "):
            Recording(device, tn.ops.relu, [x], [], limit=40)
        y = Recording(device, tn.ops.relu, [x], []).replay(x)
    assert np.array_equal(y.numpy(), np.maximum(x.numpy(), 0))


def test_a_replay_takes_as_many_inputs_as_were_recorded() -> None:
    dense, x = tn.nn.Dense(3, 2), tn.Tensor([[1.0, 2.0, 3.0]])
    with tn.no_grad():
        recording = Recording("cpu", dense.forward, [x], [Watched("", dense)])
    for inputs in ((), (x, x)):
        with pytest.raises(ArgumentError, match=rf"as many inputs as were recorded, 1, got {len(inputs)}"):
            recording.replay(*inputs)


def test_further_arrays_may_be_written() -> None:
    """What is neither an input nor an array of a watched object is refused on a CPU, unless it is given."""
    x, total = draw(4, 3), np.zeros((4, 3), "float32")

    def function(x: Tensor) -> Tensor:
        kernels = backend.find_override("tinynet.ops.activation", ("relu", "drelu"), "cpu")
        assert kernels
        return Tensor.of(kernels[0](np, total)[0])

    with tn.no_grad():
        with pytest.raises(DeviceError, match="NumPy made"):
            Recording("cpu", function, [x], [])
        recording = Recording("cpu", function, [x], [], arrays=[total])
        total += 3
        assert np.array_equal(recording.replay(x).numpy(), total)


@pytest.mark.parametrize("pick", [lambda x, index: x[index], lambda x, index: x[:, index],
                                  lambda x, index: x[1:][..., index]])
def test_an_index_that_is_an_array_ends_a_recording(pick: Callable[..., Any]) -> None:
    """A replay would take the elements that the first call took."""
    with tn.no_grad(), pytest.raises(DeviceError):
        Recording("cpu", lambda x: tn.ops.relu(pick(x, x.data[0].argsort())), [draw(4, 3)], [])


def test_a_recording_inside_of_another_runs_as_usual(device: str) -> None:
    """As an evaluated model in the loss of a training step does."""
    inner = nn.Sequential(nn.ReLU()).eval()
    x, other = (draw(4, 3, device=device) for _ in range(2))
    with tn.no_grad():
        for _ in range(4):
            inner(x)
        recording = Recording(device, lambda x: inner(tn.ops.relu(x)), [x], [])
        assert np.array_equal(recording.replay(other).numpy(), np.maximum(other.numpy(), 0))
        inner(x)
        assert np.array_equal(recording.replay(other).numpy(), np.maximum(other.numpy(), 0))


def test_recordings_are_kept_by_shape_and_dtype_and_not_for_ever(device: str) -> None:
    known, made = Recordings(), []

    def call(*inputs: Tensor) -> Any:
        def record() -> Recording:
            made.append(inputs)
            return Recording(device, tn.ops.dense, inputs, [])
        return known(record, *inputs)

    W = draw(3, 2, device=device)
    with tn.no_grad():
        for number, N in enumerate(range(1, 3 * SHAPES)):
            x = draw(N, 3, device=device)
            tn.ops.dense(x, W)
            outputs = [call(x, W) for _ in range(3)]
            assert outputs[0] is None and len(made) == number + 1
            assert all(np.array_equal(y.numpy(), tn.ops.dense(x, W).numpy()) for y in outputs[1:])
            assert len(known.known) <= SHAPES
        assert call(x, W) is not call(x, W)  # arrays of their own
        other = Tensor(x.data.astype("float64"))
        assert call(other, W) is None and call(x, W) is not None
    assert call(x, W) is None  # the tape records


# --- fingerprints ---------------------------------------------------------------------------------------------------

class Thing(nn.Module):
    def __init__(self) -> None:
        self.number, self.name, self.flag, self.nothing = 0.5, "a", True, None
        self.sizes, self.table, self.pair = [1, [2, 3]], {"a": 1, "b": [2]}, (1, [2])
        self.array, self.part = np.arange(3.0), nn.Dense(2, 2)
        self.weights = [nn.Parameter([1.0, 2.0]), nn.Parameter([3.0])]


OLD: list[Any] = []
SETTING = "a setting, a class or requires_grad"


def another_array(tensor: Tensor) -> None:
    OLD.append(tensor.data)  # still there: it is not enough to notice that it is gone
    tensor.data = tensor.data.copy()


CHANGES: dict[str, tuple[Callable[[Any], Any], str]] = {
    "a number": (lambda thing: setattr(thing, "number", 0.25), "x.number"),
    "a string": (lambda thing: setattr(thing, "name", "b"), "x.name"),
    "a flag": (lambda thing: setattr(thing, "flag", False), "x.flag"),
    "training": (lambda thing: thing.eval(), "x.training"),
    "an array in the place of nothing": (lambda thing: setattr(thing, "nothing", np.ones(3)), "x.nothing"),
    "an array in the place of a number": (lambda thing: setattr(thing, "number", np.full(2, 0.5)), "x.number"),
    "another array": (lambda thing: setattr(thing, "array", thing.array.copy()), "x.array"),
    "another module": (lambda thing: setattr(thing, "part", nn.Dense(2, 2)), "x.part"),
    "an element": (lambda thing: thing.sizes.append(4), "x.sizes"),
    "an element of an element": (lambda thing: thing.sizes[1].append(4), "x.sizes"),
    "an entry": (lambda thing: thing.table.update(a=2), "x.table"),
    "an element of an entry": (lambda thing: thing.table["b"].append(2), "x.table"),
    "an element in a pair": (lambda thing: thing.pair[1].clear(), "x.pair"),
    "one attribute more": (lambda thing: setattr(thing, "more", 1), "x.more"),
    "one attribute less": (lambda thing: delattr(thing, "name"), "x.name"),
    "another tensor": (lambda thing: thing.weights.__setitem__(1, nn.Parameter([3.0])), "x.weights"),
    "another tensor of two": (lambda thing: thing.weights.__setitem__(0, nn.Parameter([1.0, 2.0])), "x.weights"),
    "a number in the place of a tensor": (lambda thing: thing.weights.__setitem__(0, 1.0), "x.weights"),
    "another array in a tensor": (lambda thing: another_array(thing.weights[1]), "x.weights.1"),
    "an array that is gone": (lambda thing: setattr(thing.weights[0], "data", np.ones(2)), "x.weights.0"),
    "no array": (lambda thing: setattr(thing.weights[0], "data", None), "x.weights.0"),
    "requires_grad": (lambda thing: setattr(thing.weights[0], "requires_grad", False), SETTING),
    "the class": (lambda thing: setattr(thing, "__class__", nn.Module), SETTING),
    "the seed": (lambda thing: tn.seed(7), SETTING),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_is_noticed_and_named(what: str) -> None:
    thing = Thing().train()
    fingerprint = Fingerprint([Watched("x", thing, ["counted"])])
    assert fingerprint.is_current() and fingerprint.changes() == []
    change, name = CHANGES[what]
    change(thing)
    assert not fingerprint.is_current()
    assert fingerprint.changes() == [name]


@pytest.mark.parametrize("setting", [lambda: tn.precision("tf32"), lambda: tn.using("reference"), tn.no_grad])
def test_a_setting_is_noticed(setting: Callable[[], Any]) -> None:
    fingerprint = Fingerprint([])
    with setting():
        assert not fingerprint.is_current() and len(fingerprint.changes()) == 1
    assert fingerprint.is_current()


@pytest.mark.parametrize("mode", [False, True])
def test_a_mode_of_all_modules_is_noticed(mode: bool) -> None:
    """That of `evaluate` and `profile`, for a while: no attribute tells of it."""
    fingerprint = Fingerprint([])
    assert not call_with({in_training: mode}, fingerprint.is_current)
    assert call_with({in_training: mode}, fingerprint.changes) == [SETTING]
    assert fingerprint.is_current()


def test_forward_that_is_replaced_is_noticed(monkeypatch: pytest.MonkeyPatch) -> None:
    fingerprint = Fingerprint([Watched("", nn.ReLU())])
    assert fingerprint.is_current()
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x)
    assert fingerprint.changes() == [SETTING]


def test_what_is_no_change() -> None:
    thing = Thing()
    thing.counted = 0
    fingerprint = Fingerprint([Watched("", thing, ["counted"])])
    thing.counted += 1
    thing.weights[0].data += 1
    thing.weights[0].grad = np.ones(2)
    thing.number, thing.sizes, thing.pair = float("0.5"), [1, [2, 3]], (1, [2])  # other objects, equal values
    assert fingerprint.is_current() and fingerprint.changes() == []
    thing.sizes.append(4)  # also in an object that came later
    assert fingerprint.changes() == ["sizes"]


def test_a_fingerprint_keeps_no_old_weights() -> None:
    """Nor an object whose attributes are watched instead."""
    thing = Thing()
    gone = weakref.ref(thing), weakref.ref(thing.weights[0].data)
    fingerprint = Fingerprint([Watched("", vars(thing))])
    thing.weights[0].data = np.ones(2)
    assert gone[1]() is None
    del thing
    gc.collect()
    assert gone[0]() is None and fingerprint.changes() == ["weights.0"]


def test_an_array_that_takes_the_place_of_one_that_is_gone_is_noticed() -> None:
    """Of the same id."""
    tensor = Tensor(np.ones(3))
    fingerprint = Fingerprint([Watched("", {"x": tensor})])
    before = id(tensor.data)
    tensor.data = None
    others = [np.ones(3) for _ in range(50)]
    tensor.data = next((one for one in others if id(one) == before), others[0])
    assert not fingerprint.is_current() and fingerprint.changes()


def test_an_array_of_any_device_in_the_place_of_nothing_is_noticed(device: str) -> None:
    thing = Thing()
    fingerprint = Fingerprint([Watched("", thing)])
    thing.nothing = draw(3, device=device).data
    with fake_cupy.no_waiting():
        assert not fingerprint.is_current()
    assert not fingerprint.is_current() and fingerprint.changes() == ["nothing"]
