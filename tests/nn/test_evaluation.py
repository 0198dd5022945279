"""Recorded evaluations: a replay gives the bits of a usual evaluation, whatever has changed since the recording."""

import gc
import os
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support.child import in_a_child
from tests.support.cuda_places import DEVICES, on_cupy
from tinynet import backend, nn
from tinynet.backend.cuda.runtime import fake_cupy
from tinynet.errors import ArgumentError, DeviceError, DtypeError, ShapeError
from tinynet.recording import LIMITS, SHAPES, Recording, evaluations
from tinynet.tensor import Tensor
from tinynet.tracing import observe, shapes_only

pytest.importorskip("numba")

from tinynet.backend.cpu.runtime.threads import set_threads, threads

RNG = np.random.default_rng(0)


def inputs(*shape: int) -> Tensor:
    return Tensor(RNG.standard_normal(shape).astype("float32"))


def lstm_cnn() -> Any:
    return nn.Sequential(nn.BatchNorm(1), nn.Reshape((14, 9)), nn.LSTM(9, 70), nn.Dropout(0.2), nn.Conv1D(70, 5, 3),
                         nn.ReLU(), nn.MaxPool1D(2), nn.Flatten(), nn.Dense(30, 3))


def cnn_lstm() -> Any:
    return nn.Sequential(nn.BatchNorm(1), nn.Conv2D(1, 4, 3, padding="same"), nn.ReLU(), nn.MaxPool2D(2),
                         nn.Sequential(nn.Reshape((7, 16)), nn.LSTM(16, 6, return_sequences=False)), nn.Dense(6, 3))


def ready(make: Callable[[], Any] = lstm_cnn) -> Any:
    """A model in evaluation mode, with running averages."""
    tn.seed(1)
    model = make()
    model(inputs(4, 14, 9, 1))
    return model.eval()


def recorded(model: Any) -> list[Recording]:
    known = evaluations[model].known if model in evaluations else {}
    return [one for one in known.values() if isinstance(one, Recording)]


def as_usual(model: Any, x: Tensor) -> Any:
    with tn.no_grad():
        return model.through(x).numpy()


def makes_a_recording(model: Any, x: Tensor, *, times: int = 3) -> bool:
    """Call a model several times and check each output. Returns whether a new recording was made."""
    before = [one.graph for one in recorded(model)]
    with tn.no_grad():
        for i in range(times):
            shifted = Tensor(x.data + np.float32(i))
            y = model(shifted)
            assert np.array_equal(y.numpy(), as_usual(model, shifted), equal_nan=True)
    return [one.graph for one in recorded(model)] not in ([], before)


# --- the same bits --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("make", [lstm_cnn, cnn_lstm])
@pytest.mark.parametrize("N", [1, 3, 20])
def test_equal_bits(make: Callable[[], Any], N: int, monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = ready(make), inputs(N, 14, 9, 1)
    assert makes_a_recording(model, x)
    spoiled = x.data.copy()
    spoiled[0, 0, 0], spoiled[-1, 1, 1] = np.nan, np.inf
    others = [Tensor(x.data[::-1]), Tensor(np.asfortranarray(x.data)), Tensor(spoiled), inputs(N, 14, 9, 1)]
    expected = [as_usual(model, other) for other in others]
    monkeypatch.setattr(type(model), "through", None)  # nothing runs as usual from here on
    with tn.no_grad():
        outputs = [model(other) for other in others]
    for output, value in zip(outputs, expected, strict=True):
        assert np.array_equal(output.numpy(), value, equal_nan=True)
        assert not output.requires_grad and output.data.flags.writeable
        assert not any(np.shares_memory(output.data, array) for array in recorded(model)[0].graph._arrays)


@pytest.mark.parametrize("make", [lstm_cnn, cnn_lstm])
def test_equal_bits_on_the_emulated_gpu(make: Callable[[], Any], monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = ready(make).to("gpu-emulated"), inputs(2, 14, 9, 1).to("gpu-emulated")
    assert makes_a_recording(model, x)
    others = [inputs(2, 14, 9, 1).to("gpu-emulated") for _ in range(3)]
    expected = [as_usual(model, other) for other in others]
    monkeypatch.setattr(type(model), "through", None)
    with tn.no_grad(), fake_cupy.no_waiting():
        outputs = [model(other) for other in others]
    for output, value in zip(outputs, expected, strict=True):
        assert np.array_equal(output.numpy(), value)
    monkeypatch.undo()
    model[8 if make is lstm_cnn else 5].W.data *= 2
    before, doubled = expected[0], makes_a_recording(model, others[0], times=1)
    assert not doubled and not np.array_equal(as_usual(model, others[0]), before)  # still the same recording
    model.to("cpu").to("gpu-emulated")
    assert makes_a_recording(model, x)


@on_cupy
def test_on_a_gpu() -> None:
    """Private memory, two GPUs, streams, and inputs in another order."""
    for device in ("gpu", "gpu:1"):
        model = ready().to(device)
        assert makes_a_recording(model, inputs(2, 14, 9, 1).to(device))
        before, x = recorded(model), inputs(2, 14, 9, 1).to(device)
        expected = as_usual(model, x)
        tn.Tensor([1.0], device="gpu")  # which makes the first GPU the current one
        with tn.no_grad():
            assert np.array_equal(model(x).numpy(), expected)
        assert len(before) == 1 and recorded(model) == before
    model, x = ready().to("gpu"), inputs(2, 14, 9, 1).to("gpu")
    assert makes_a_recording(model, x)
    with backend.namespace("gpu").cuda.Stream(non_blocking=True):
        assert makes_a_recording(model, x)  # recorded anew, for this stream
    assert len(recorded(model)) == 1 and not makes_a_recording(model, x, times=1) and not recorded(model)
    turned = inputs(9, 14, 1, 2).to("gpu").data.transpose(3, 1, 0, 2)
    assert turned.shape == x.shape and not turned.flags.c_contiguous
    with tn.no_grad():
        assert [model(Tensor(turned)).shape for _ in range(3)] == [(2, 3)] * 3 and not recorded(model)
    assert makes_a_recording(model, x)


@pytest.mark.parametrize("device", DEVICES)
def test_too_much_memory_on_a_gpu_runs_as_usual(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(LIMITS, "gpu", 2 * 8 * 8 * 8)
    model = nn.Sequential(nn.Tanh(), nn.Sigmoid()).eval()
    assert not makes_a_recording(model, inputs(90, 8).to(device))
    assert "bytes at most" in str(next(iter(evaluations[model].known.values())))


def test_the_first_two_calls_run_as_usual() -> None:
    model, x = ready(), inputs(1, 14, 9, 1)
    with tn.no_grad():
        assert [len(recorded(model)) for _ in range(3) if model(x).size] == [0, 1, 1]


def test_outputs_are_not_overwritten_by_later_calls() -> None:
    model, x = ready(), inputs(1, 14, 9, 1)
    with tn.no_grad():
        outputs = [model(Tensor(x.data * factor)) for factor in (1, 1, 2, 3)]
        for y, factor in zip(outputs, (1, 1, 2, 3), strict=True):
            assert np.array_equal(y.numpy(), as_usual(model, Tensor(x.data * factor)))


# --- what has changed is noticed ------------------------------------------------------------------------------------

def swap(model: Any) -> None:
    model.layers[5] = nn.Dropout(0.1).eval()


def new_weights(model: Any) -> None:
    model[8].W = nn.Parameter(model[8].W.data * 2)


def other_array(model: Any) -> None:
    model[2].W.data = model[2].W.data * np.float32(1.5)


OLD: list[Any] = []


def other_array_beside_the_old_one(model: Any) -> None:
    OLD.append(model[2].W.data)  # still referenced: a dead reference does not give the change away
    other_array(model)


def trained(model: Any) -> None:
    model.train()
    model(inputs(4, 14, 9, 1))
    model.eval()


CHANGES: list[Callable[[Any], Any]] = [
    swap, new_weights, other_array, other_array_beside_the_old_one, trained,
    lambda model: tn.seed(tn.random.current_seed() + 1),
    lambda model: model.layers.insert(5, nn.ReLU().eval()),
    lambda model: setattr(model[4], "padding", "causal") or setattr(model[4], "dilation", 1),
    lambda model: setattr(model[0], "eps", 0.5),
    lambda model: setattr(model[4], "b", None),
    lambda model: set_threads(threads() + 1),
]


@pytest.mark.parametrize("number", range(len(CHANGES)))
def test_changes_are_noticed(number: int) -> None:
    def make() -> Any:  # whatever the length of what comes to the last layer
        layers = list(lstm_cnn())
        return nn.Sequential(*layers[:7], nn.Conv1D(5, 3, 2), nn.Dense(3, 3))

    count, model, x = threads(), ready(make), inputs(1, 14, 9, 1)
    try:
        assert makes_a_recording(model, x)
        CHANGES[number](model)
        assert makes_a_recording(model, x)
        model.layers.insert(5, MyReLU().eval())  # which may do anything
        assert not makes_a_recording(model, x)
    finally:
        set_threads(count)


CHANGES_IN_PLACE: list[Callable[[Any], Any]] = [
    lambda model: model[2].W.data.__imul__(2),
    lambda model: model[0].running_mean.data.__iadd__(1),
    lambda model: model[0].running_var.data.__imul__(3),
    lambda model: model[0].gamma.data.__imul__(3),
    lambda model: model.load_state_dict({name: value + 1 for name, value in model.state_dict().items()
                                         if value.dtype.kind == "f"}),
]


@pytest.mark.parametrize("number", range(len(CHANGES_IN_PLACE)))
def test_weights_may_change_in_place(number: int) -> None:
    model, x = ready(), inputs(1, 14, 9, 1)
    assert makes_a_recording(model, x)
    before, was = as_usual(model, x), [one.graph for one in recorded(model)]
    CHANGES_IN_PLACE[number](model)
    with tn.no_grad():
        y = model(x).numpy()
    assert np.array_equal(y, as_usual(model, x)) and not np.array_equal(y, before)
    if number < len(CHANGES_IN_PLACE) - 1:  # the last one also says how many batches were seen
        assert [one.graph for one in recorded(model)] == was


def test_weights_in_any_order_of_memory_may_change_in_place() -> None:
    """Kernels take copies of them in C order, which each replay has to make again."""
    model, x = ready(), inputs(1, 14, 9, 1)
    for parameter in model.parameters():
        larger = np.zeros([2 * size for size in parameter.shape], "float32", order="F")
        places = tuple(slice(None, None, 2) for _ in parameter.shape)
        larger[places] = parameter.data
        parameter.data = larger[places]
    assert makes_a_recording(model, x)
    graphs = [one.graph for one in recorded(model)]
    for parameter in model.parameters():
        before = as_usual(model, x)
        parameter.data[...] = parameter.data * np.float32(1.5) + np.float32(0.25)
        with tn.no_grad():
            y = model(x).numpy()
        assert np.array_equal(y, as_usual(model, x)) and not np.array_equal(y, before)
    assert [one.graph for one in recorded(model)] == graphs


ARRAY_CODE: dict[str, list[Any]] = {
    "Residual": [nn.Residual(nn.Sequential(nn.Conv1D(3, 3, 3, padding="same"), nn.ReLU())), nn.LSTM(3, 2)],
    "Parallel": [nn.Parallel([nn.LSTM(3, 2), nn.Conv1D(3, 4, 3, padding="same")]), nn.Dense(6, 2)],
    "Parallel ave": [nn.Parallel([nn.Dense(3, 4), nn.GRU(3, 4), nn.Dense(3, 4)], "ave"), nn.Flatten()],
    "Parallel mul": [nn.Parallel([nn.Sigmoid(), nn.Tanh()], "mul")],
    "Bidirectional": [nn.Bidirectional(nn.GRU(3, 4)), nn.Bidirectional(nn.LSTM(8, 2, return_sequences=False), "sum")],
    "activations": [nn.Dense(3, 4), nn.ELU(), nn.GELU(), nn.SiLU(), nn.LeakyReLU(), nn.Softmax()],
    "SimpleRNN": [nn.SimpleRNN(3, 4), nn.LayerNorm(4), nn.GlobalMaxPool()],
    "groups": [nn.Conv1D(3, 6, 3, groups=3), nn.GlobalAveragePool()],
}


@pytest.mark.parametrize("name", ARRAY_CODE)
def test_branches_and_array_code_are_recorded(name: str) -> None:
    assert makes_a_recording(nn.Sequential(*ARRAY_CODE[name]).eval(), inputs(2, 7, 3), times=4)


def test_symbols_out_of_range_are_an_error_in_every_call() -> None:
    model, x = nn.Sequential(nn.Embedding(4, 2), nn.LSTM(2, 3)).eval(), np.array([[0, 3, 1]])
    for _ in range(4):
        assert np.array_equal(model(Tensor(x)).numpy(), as_usual(model, Tensor(x)))
        with pytest.raises(ArgumentError, match="got values from 0 to 4"):
            model(Tensor(np.array([[0, 4, 1]])))


# --- what runs as usual ---------------------------------------------------------------------------------------------

class Shift(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x + 1.0


class MyReLU(nn.ReLU):
    pass


@pytest.mark.parametrize("layer", [Shift(), MyReLU()])
def test_layers_of_others(layer: Any) -> None:
    model = nn.Sequential(nn.Dense(4, 3), layer).eval()
    assert not makes_a_recording(model, inputs(2, 4))
    reason, = evaluations[model].known.values()
    assert reason == f"record: layers must be tinynet's, got {type(layer).__name__}; it runs as usual"


def patched(model: Any) -> None:
    usual = model[1].forward
    model[1].forward = lambda x: usual(x)


def scalar(model: Any) -> None:
    model[2].calls.data = model[2].calls.data * 0  # NumPy gives a number


@pytest.mark.parametrize("spoil", [
    patched, scalar,
    lambda model: setattr(model, "predict", model.forward),
    lambda model: setattr(model[0], "note", np.ones(2)),
    lambda model: setattr(model[0], "notes", {"scale": np.ones(2)}),
])
def test_attributes_that_are_not_plain(spoil: Callable[[Any], Any]) -> None:
    model = nn.Sequential(nn.Dense(4, 4), nn.ReLU(), nn.Dropout(0.5)).eval()
    spoil(model)
    assert not makes_a_recording(model, inputs(2, 4))


def test_a_forward_that_gives_no_tensor() -> None:
    model = nn.Sequential(nn.ReLU(), nn.LSTM(3, 64, return_state=True)).eval()
    x = inputs(1, 13, 3)
    with tn.no_grad():
        usual = model.through(x)
        for _ in range(4):
            assert all(np.array_equal(a.numpy(), b.numpy()) for a, b in zip(model(x), usual, strict=True))


class Equal(nn.Sequential):
    def __eq__(self, other: object) -> bool:
        return isinstance(other, Equal)


def test_a_model_that_has_no_hash() -> None:
    model = Equal(nn.Dense(4, 4)).eval()
    with tn.no_grad():
        assert [model(inputs(2, 4)).shape for _ in range(4)] == [(2, 4)] * 4


def test_a_plain_tensor_in_the_place_of_a_parameter() -> None:
    model, x = nn.Sequential(nn.Dense(4, 4), nn.ReLU(), nn.Dense(4, 4)).eval(), inputs(2, 4)
    model[2].W = Tensor(model[0].W.data.T)
    makes_a_recording(model, x)
    model[2].W.data = np.ones((4, 4), "float32")
    makes_a_recording(model, x)


def test_code_that_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    model, x = nn.Sequential(nn.Dense(4, 4), nn.ReLU()).eval(), inputs(2, 4)
    assert makes_a_recording(model, x)
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: x * 2.0)
    assert not makes_a_recording(model, x)
    monkeypatch.undo()
    model = nn.Sequential(*model.layers).eval()
    assert makes_a_recording(model, x)
    model[1].__class__ = nn.Tanh
    assert makes_a_recording(model, x)
    model[1].__class__ = nn.ReLU
    monkeypatch.setattr(nn.ReLU, "forward", lambda self, x: tn.ops.relu(x))  # code of a user may do anything
    model = nn.Sequential(*model.layers).eval()
    assert not makes_a_recording(model, x)


def test_a_tensor_that_has_lost_its_array() -> None:
    model, x = nn.Sequential(nn.Dense(4, 4), nn.ReLU()).eval(), inputs(2, 4)
    assert makes_a_recording(model, x)
    model[0].W.data = None
    gc.collect()
    with tn.no_grad(), pytest.raises(AttributeError):
        model(x)


def test_float64_and_batches_that_are_large() -> None:
    assert makes_a_recording(nn.Sequential(nn.Dense(4, 3)).eval().astype("float64"), Tensor(np.ones((2, 4))))
    assert makes_a_recording(nn.Sequential(nn.Dense(4, 300)).eval(), inputs(6900, 4))
    assert not makes_a_recording(nn.Sequential(nn.Dense(4, 300)).eval(), inputs(7000, 4))


def test_training_recording_the_specification_and_parts_of_a_model() -> None:
    model, x = ready(), inputs(1, 14, 9, 1)
    for _ in range(4):
        assert model(x).requires_grad  # leaves a tape
        model.forward(x)
    with tn.no_grad():
        model[0].train()
        for _ in range(4):
            model(x)
        assert model[0].batches_seen == 5
        model.eval()
        with tn.using("reference"):
            for _ in range(4):
                model(x)
        for _ in range(4):
            model.forward(x)
            with observe(module=lambda module, run: run()):
                model(x)
        with shapes_only():
            for _ in range(4):
                model(x)
        assert recorded(model) == []
    assert makes_a_recording(model, x)
    with tn.no_grad(), tn.using("reference"):
        usual = model.through(x).numpy()
        assert np.array_equal(model(x).numpy(), usual)
    model.train()
    with tn.no_grad():
        a, b = model(x).numpy(), model(x).numpy()
    assert not np.array_equal(a, b)  # dropout


def test_another_dtype_is_an_error_as_in_a_usual_call() -> None:
    model, x = ready(), inputs(1, 14, 9, 1)
    assert makes_a_recording(model, x)
    for _ in range(4):
        with tn.no_grad(), pytest.raises(DtypeError):
            model(Tensor(x.data.astype("float64")))
    assert makes_a_recording(ready(), x)


def test_another_device_is_an_error_as_in_a_usual_call() -> None:
    model, x = ready().to("gpu-emulated"), inputs(1, 14, 9, 1)
    assert makes_a_recording(model, x.to("gpu-emulated"))
    for _ in range(4):
        with tn.no_grad(), pytest.raises(DeviceError, match=r"batch_norm: x is on cpu, gamma on gpu-emulated"):
            model(x)
    assert len(recorded(model)) == 1


def test_errors_are_those_of_a_usual_call() -> None:
    model = ready()
    with tn.no_grad():
        for _ in range(4):
            with pytest.raises(ShapeError, match="reshape"):
                model(inputs(1, 14, 8, 1))
    assert makes_a_recording(model, inputs(1, 14, 9, 1))


# --- life -----------------------------------------------------------------------------------------------------------

def test_shapes_are_kept_apart_and_not_for_ever() -> None:
    model = nn.Sequential(nn.Dense(4, 3)).eval()
    for N in range(1, 40):
        assert makes_a_recording(model, inputs(N, 4))
        assert len(recorded(model)) <= SHAPES


def test_a_model_goes_with_all_that_was_recorded() -> None:
    model = ready()
    assert makes_a_recording(model, inputs(1, 14, 9, 1))
    gone = weakref.ref(model), weakref.ref(recorded(model)[0])
    del model
    gc.collect()
    assert gone[0]() is None and gone[1]() is None


def test_arrays_that_a_model_has_no_more_are_gone() -> None:
    model, x = ready(), inputs(1, 14, 9, 1)
    assert makes_a_recording(model, x) and makes_a_recording(model, inputs(2, 14, 9, 1))
    gone = [weakref.ref(tensor.data) for tensor in model.tensors().values() if tensor.data.size > 4]
    model.astype("float64")
    gc.collect()
    assert gone and all(array() is None for array in gone)
    with tn.no_grad():
        model.astype("float32")(x)
    assert recorded(model) == []


def test_several_threads_at_once() -> None:
    model, wrong = ready(), []
    x = [inputs(1, 14, 9, 1) for _ in range(4)]
    expected = [as_usual(model, one) for one in x]

    def go(number: int) -> None:
        with tn.no_grad():
            for i in range(200):
                k = (number + i) % 4
                if not np.array_equal(model(x[k]).numpy(), expected[k]):
                    wrong.append((number, i))

    callers = [threading.Thread(target=go, args=(number,)) for number in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong and recorded(model)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.filterwarnings(r"ignore:os\.fork\(\) was called:RuntimeWarning")  # by JAX, where other tests imported it
def test_after_a_fork() -> None:
    model, x = ready(), inputs(1, 14, 9, 1)
    assert makes_a_recording(model, x)
    expected = as_usual(model, x)

    def in_the_child() -> None:
        with tn.no_grad():
            assert all(np.array_equal(model(x).numpy(), expected) for _ in range(3))
        assert makes_a_recording(ready(cnn_lstm), x)

    assert in_a_child(in_the_child) == 0
    assert makes_a_recording(model, inputs(2, 14, 9, 1))
