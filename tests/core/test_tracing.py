"""Observers see each part of a step, once and in order, and change nothing; shapes alone give the calls of the ops."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import nn
from tinynet.errors import ArgumentError
from tinynet.tape import Node
from tinynet.tensor import blank
from tinynet.tracing import UNOBSERVED, Call, observe, observers, shapes_only


def model() -> nn.Sequential:
    tn.seed(1)
    return nn.Sequential(nn.Dense(3, 4), nn.Tanh())


def step(network: nn.Module, optimizer: tn.optim.Optimizer) -> float:
    x = tn.Tensor(np.linspace(-1, 1, 6, dtype="float32").reshape(2, 3))
    loss = (network(x) ** 2).sum()
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    return loss.item()


class Notes:
    """Observers of all kinds, which note the name of what they see."""

    def __init__(self, log: list[str], prefix: str = "") -> None:
        def noting(name: Callable[[Any], str]) -> Callable[[Any, Callable[[], Any]], Any]:
            def observer(part: Any, run: Callable[[], Any]) -> Any:
                log.append(prefix + name(part))
                result = run()
                log.append(f"{prefix}end of {name(part)}")
                return result
            return observer

        self.observers: dict[str, Any] = {
            "module": noting(lambda module: type(module).__name__), "op": noting(lambda call: call.op),
            "backward": noting(lambda node: f"d{node.op.name}"), "step": noting(lambda made: type(made).__name__)}


def test_every_part_is_seen_once_and_in_order() -> None:
    log = list[str]()
    network = model()
    optimizer = tn.optim.Adam(network.parameters())
    with observe(**Notes(log).observers):
        step(network, optimizer)
    assert [line for line in log if not line.startswith("end")] == [
        "Sequential", "Dense", "dense", "Tanh", "tanh", "power", "sum", "dsum", "dpower", "dtanh", "ddense", "Adam"]
    assert log[log.index("tanh") : log.index("power")] == ["tanh", "end of tanh", "end of Tanh", "end of Sequential"]
    assert observers.get() is UNOBSERVED


def test_an_observed_step_has_the_same_bits() -> None:
    observed, usual = model(), model()
    pairs = [(network, tn.optim.Adam(network.parameters())) for network in (observed, usual)]
    for _ in range(3):
        with observe(**Notes([]).observers):
            seen = step(*pairs[0])
        assert seen == step(*pairs[1])
    for one, other in zip(observed.parameters(), usual.parameters(), strict=True):
        np.testing.assert_array_equal(one.numpy(), other.numpy())


def test_the_outer_observer_is_called_around_the_inner_one() -> None:
    log = list[str]()
    with observe(op=Notes(log, "outer ").observers["op"]):
        with observe(**Notes(log, "inner ").observers):
            tn.ops.tanh(tn.Tensor([1.0]))
        tn.ops.exp(tn.Tensor([1.0]))
    assert log == ["outer tanh", "inner tanh", "inner end of tanh", "outer end of tanh",
                   "outer exp", "outer end of exp"]


def test_a_call_holds_the_tensors_and_the_options() -> None:
    seen = list[Call]()

    def look(call: Call, run: Callable[[], Any]) -> Any:
        assert not call.outputs
        seen.append(call)
        return run()

    x, W = tn.Tensor(np.ones((2, 3), "float32")), tn.Tensor(np.ones((3, 4), "float32"))
    with observe(op=look):
        tn.ops.softmax(tn.ops.dense(x, W), axis=0)
    dense, softmax = seen
    assert dense.inputs[0] is x and dense.inputs[1] is W and dense.inputs[2] is None
    assert dense.sizes == {"...": (2,), "D": 3, "F": 4}
    assert softmax.options == {"axis": 0}


@pytest.mark.parametrize("call", [
    lambda: nn.Embedding(4, 2)(tn.Tensor([-1])), lambda: nn.Embedding(4, 2)(tn.Tensor([4])),
    lambda: tn.ops.one_hot([3], 3), lambda: tn.ops.take_along_axis(np.ones(3), [3]),
    lambda: tn.ops.cross_entropy(np.ones((1, 3)), np.array([3]))])
def test_symbols_and_labels_are_checked_while_a_step_is_observed(call: Callable[[], Any]) -> None:
    """NumPy would take the last row for -1, and a label beyond the classes would have no 1 in its row."""
    with observe(**Notes([]).observers), pytest.raises(ArgumentError, match="must be in "):
        call()


def test_gradients_are_seen_before_they_are_added_up() -> None:
    seen = dict[str, Any]()

    def look(node: Node, run: Callable[[], Any]) -> Any:
        gradients = run()
        assert node.edges is not None
        seen[node.op.name] = [gradient.tolist() for gradient in gradients]
        return gradients

    x = tn.Tensor([2.0], requires_grad=True)
    with observe(backward=look):
        (x * x).sum().backward()
    assert seen == {"sum": [[1.0]], "multiply": [[2.0], [2.0]]}
    assert x.grad.tolist() == [4.0]


@pytest.mark.parametrize("kind", ["module", "op", "backward", "step"])
def test_an_error_of_an_observer_ends_the_observation(kind: str) -> None:
    def fail(part: Any, run: Callable[[], Any]) -> Any:
        raise KeyError(kind)

    network = model()
    optimizer = tn.optim.SGD(network.parameters(), 0.1)
    with pytest.raises(KeyError, match=kind), observe(**{kind: fail}):
        step(network, optimizer)
    assert observers.get() is UNOBSERVED
    before = step(network, optimizer)
    assert step(network, optimizer) < before


def test_shapes_alone_give_a_graph() -> None:
    """The tensor that one call returns is, as an object, the input of the next: what an export follows."""
    network = model().eval()
    x = blank((5, 3))
    calls: list[Any] = []
    with tn.no_grad(), shapes_only(calls):
        y = network(x)
    assert [call.op for call in calls] == ["dense", "tanh"]
    dense, tanh = calls
    assert dense.inputs[0] is x and dense.inputs[1] is network[0].W and dense.inputs[2] is network[0].b
    assert tanh.inputs == dense.outputs and tanh.inputs[0] is dense.outputs[0]
    assert tanh.outputs[0] is y
    assert y.shape == (5, 4)
    assert y.data.strides == (0, 0)


def test_shapes_alone_are_observed_and_end_with_their_context() -> None:
    log = list[str]()
    calls: list[Any] = []
    with observe(op=Notes(log).observers["op"]), shapes_only(calls):
        h = tn.ops.lstm(blank((2, 7, 3)), None, None, blank((7, 16)), blank((16,)))[1]
        with observe(op=Notes(log, "inner ").observers["op"]):
            assert tn.ops.tanh(h).data.strides == (0, 0)
    assert [call.op for call in calls] == ["lstm", "tanh"]
    assert [line for line in log if "end" not in line] == ["lstm", "tanh", "inner tanh"]
    assert tn.ops.tanh(tn.Tensor([0.5])).data.strides == (4,)
    assert len(calls) == 2


@pytest.mark.skipif(not tn.devices()[-1].is_available, reason="there is no C++ compiler for the emulator")
def test_steps_on_a_gpu_are_observed_instead_of_launched() -> None:
    log = list[str]()
    network = model().to("gpu-emulated")
    batches = [(np.ones((2, 3), "float32"), np.array([0, 1]))] * 5
    with observe(**Notes(log).observers):
        tn.fit(network, tn.optim.SGD(network.parameters(), 0.1), batches, epochs=2, show=False)
    assert [log.count(name) for name in ("Sequential", "dense", "ddense", "SGD")] == [10] * 4
