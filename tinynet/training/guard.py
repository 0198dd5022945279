"""Find the tensor that was the first to become NaN or infinite.

During training only the sum of the losses is checked, which stays NaN or infinite once a loss was. On a device it is
read only now and then. Gradients and weights need no check of their own: their faults reach the next loss, or the check
of a state before it is saved. Then the run is reset to its last good state and repeats the steps since, which gives the
same bits; this time each tensor is checked (`probing`).
"""

import itertools
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

from tinynet.nn.masks import real_steps
from tinynet.nn.module import Module
from tinynet.nn.parameter import Buffer
from tinynet.optim.optimizer import Optimizer
from tinynet.tape import Node, nodes_behind
from tinynet.tensor import Tensor
from tinynet.tracing import observe
from tinynet.training.run import Loss, Run

Fault = tuple[int, str]  # the number of a check, and what was found


@contextmanager
def probing(run: Run, loss: Loss) -> Iterator[tuple[Callable[..., Any], Loss, list[Fault]]]:
    """Check each tensor of the steps made inside, in the order in which they are computed.

    Yields the model and the loss to call, and a list that gets the first tensor that is not finite, with the number of
    its check. Checked are inputs, outputs of layers, the loss, the gradients that ops pass back, and after the update
    weights, moments and buffers. The step goes on after a fault: other ranks wait for this one in its sums.
    """
    faults: list[Fault] = []
    numbers = itertools.count()
    names = {id(parameter): name for name, parameter in run.model.parameters().items()}
    titles = {id(module): _title(path, module) for path, module in reversed(list(run.model.modules()))}
    made_by: dict[Node, str] = {}

    def check(what: str, array: Any) -> None:
        number = next(numbers)
        if not faults and array.dtype.kind == "f" and not bool((array - array == 0).all()):
            faults.append((number, _described(what, array)))

    def forward(module: Module, compute: Callable[[], Any]) -> Any:
        output = compute()
        if id(module) in titles:  # else a module of the loss
            for one in output if isinstance(output, tuple) else (output,):
                note(titles[id(module)], one)
                check(f"the output of {titles[id(module)]}", one.data)
        return output

    def note(title: str, output: Tensor) -> None:
        for node in nodes_behind(output):
            made_by.setdefault(node, title)

    def backward(node: Node, compute: Callable[[], Any]) -> Any:
        gradients, source = compute(), f"{node.op.name} of {made_by[node]}"
        for edge, gradient in zip(node.edges or (), gradients, strict=False):
            if edge is not None and gradient is not None:
                name = names.get(id(edge))
                check(f"the gradient of {name}, from {source}," if name else
                       f"the gradient that {source} passes back", gradient)
        return gradients

    def step(optimizer: Optimizer, compute: Callable[[], Any]) -> None:
        for name, parameter in optimizer.parameters.items():
            if parameter.grad is not None:
                check(f"the gradient of {name}", parameter.grad)
        compute()
        for name, tensor in run.model.tensors().items():
            what = "the buffer" if isinstance(tensor, Buffer) else "after the update the parameter"
            check(f"{what} {name}", tensor.data)
        for name, array in optimizer.state_dict().items():
            check(f"after the update the optimizer's {name}", array)

    def watched_model(*inputs: Tensor) -> Any:
        x, *others = inputs
        mask = next((one for one in others if one.shape == x.shape[:2]), None)  # masked steps may hold anything
        check("the input of the model", real_steps(x, mask).data)
        return run.model(*inputs)

    def watched_loss(output: Tensor, target: Any) -> Tensor:
        check("the labels, the target of the loss,", target.data)
        value = loss(output, target)
        note("the loss", value)
        check("the loss", value.data)
        return value

    with np.errstate(all="ignore"), observe(module=forward, backward=backward, step=step):
        yield watched_model, watched_loss, faults


def _described(what: str, array: Any) -> str:
    values = Tensor(array).numpy()
    bad = ~np.isfinite(values)
    first = tuple(int(i) for i in np.argwhere(bad)[0])
    where = f" at {list(first)}" if first else ""
    return (f"{what} is the first that is not finite: {values[first]}{where}, {int(bad.sum()):,} of its "
            f"{values.size:,} numbers")


def _title(path: str, module: Module) -> str:
    return f"layer {path} ({type(module).__name__})" if path else f"the model ({type(module).__name__})"
