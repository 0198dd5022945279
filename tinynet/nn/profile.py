"""Where a step of training spends time and memory, layer by layer: `print(model.profile(x))`.

The model is called in training mode. Observers (`tracing.observe`) time each module and the gradients of each op. One
step warms up, and the times are medians over `repeat` more. On a GPU the observers synchronise after each layer, so the
sum exceeds the time of a step that is not observed.
"""

import copy
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any
from weakref import ref

from tinynet.nn.module import Module
from tinynet.nn.profiled import LayerProfile, Profile
from tinynet.plain import whole
from tinynet.settings import call_with
from tinynet.tape import Node, in_training, nodes_behind
from tinynet.tensor import Tensor, ones
from tinynet.tracing import observe
from tinynet.types import ArrayLike

Owners = dict[int, tuple["ref[Any]", LayerProfile]]  # by id of an array: the layer whose output it is


def profile(model: Module, x: ArrayLike, *, repeat: int = 5) -> Profile:
    """Time and memory of each layer in a step of training on a batch x (N, ...): forward and backward.

    The result prints as a table; `.rows` are its numbers. A copy of the model makes the steps.

    Errors: ArgumentError if `repeat` is less than 1.

    >>> import tinynet as tn
    >>> profile = tn.nn.Sequential(tn.nn.Dense(3, 2), tn.nn.ReLU()).profile(tn.init.ones((8, 3)))
    >>> [row.layer for row in profile.rows], profile.forward > 0, profile.backward > 0
    (['Dense', 'ReLU'], True, True)
    """
    repeat = whole("profile", "repeat", repeat, 1, usual="repeat=5")
    device = next((parameter.device for parameter in model.parameters()), None)
    batch = Tensor(x, device=device)
    model = copy.deepcopy(model)  # so that also an interrupt leaves the model as it was
    for parameter in model.parameters():
        parameter.grad = parameter.home = None
    runs = [call_with({in_training: True}, _run, model, batch) for _ in range(1 + repeat)][1:]
    rows = [LayerProfile(same[0].name, same[0].layer, _median(same, "forward"), _median(same, "backward"), same[0].kept)
            for same in zip(*(run.rows for run in runs), strict=True)]
    return Profile(rows, _median(runs, "forward"), _median(runs, "backward"), len(batch))


def _run(model: Module, x: Tensor) -> Profile:
    """One step, without a loss: the gradient of every output is 1."""
    paths = {id(module): path for path, module in reversed(list(model.modules()))}
    rows: list[LayerProfile] = []
    nodes: dict[Node, LayerProfile] = {}
    made: Owners = {}
    inside = [0.0]  # a stack: seconds in the modules called by each running module

    def forward(module: Module, run: Callable[[], Any]) -> Any:
        inside.append(0.0)
        start = time.perf_counter()
        output = run()
        first = _first(output)
        _wait_for(first.data)
        seconds = time.perf_counter() - start
        row = LayerProfile(paths[id(module)], type(module).__name__, seconds - inside.pop(), 0.0, 0)
        inside[-1] += seconds
        own = [node for node in nodes_behind(first) if node not in nodes]
        if own or not list(module.children()):
            rows.append(row)
            nodes.update(dict.fromkeys(own, row))
            memory = _memory(first.data)
            if _owner(made, memory) is None:  # else it is a view of the output of another layer
                made[id(memory)] = ref(memory), row
        return output

    def backward(node: Node, run: Callable[[], Any]) -> Any:
        start = time.perf_counter()
        gradients = run()
        for gradient in gradients:
            if gradient is not None:
                _wait_for(gradient)
        nodes[node].backward += time.perf_counter() - start
        return gradients

    with observe(module=forward, backward=backward):
        output = _first(model(x))
        whole = Profile(rows, inside[0], 0.0, len(x))
        _share_out_memory(nodes, made, {id(_memory(tensor.data)) for tensor in (x, *model.parameters())})
        if output.requires_grad:
            gradient = ones(output.shape, output)
            start = time.perf_counter()
            output.backward(gradient)
            whole.backward = time.perf_counter() - start
    model.zero_grad()
    return whole


def _share_out_memory(nodes: dict[Node, LayerProfile], made: Owners, known: set[int]) -> None:
    """Count each array in the caches once: for the layer whose output it is, else for the layer that keeps it."""
    for node in sorted(nodes, key=lambda node: node.number):
        for array in map(_memory, _arrays(node.cache)):
            if id(array) not in known:
                known.add(id(array))
                (_owner(made, array) or nodes[node]).kept += array.nbytes


def _owner(made: Owners, array: Any) -> LayerProfile | None:
    alive, row = made.get(id(array), (None, None))
    return row if alive is not None and alive() is array else None


def _arrays(cache: Any) -> Iterator[Any]:
    if isinstance(cache, tuple | list):
        for one in cache:
            yield from _arrays(one)
    elif hasattr(cache, "nbytes"):
        yield cache


def _memory(array: Any) -> Any:
    """The array that holds the memory of a view."""
    while hasattr(getattr(array, "base", None), "dtype"):
        array = array.base
    return array


def _first(output: Any) -> Tensor:
    return output[0] if isinstance(output, tuple) else output


def _wait_for(array: Any) -> None:
    """Return when an array has been computed, by reading one of its elements from the device."""
    Tensor(array[(slice(1),) * array.ndim]).numpy()


def _median(runs: Any, name: str) -> float:
    return statistics.median(getattr(run, name) for run in runs)


Module.profile = profile  # type: ignore[assignment, method-assign]
