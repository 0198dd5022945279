"""What the ranks of a job add up, and what they agree on.

Each rank computes its rows of a batch. With L the mean loss of the batch, Lᵣ that of the rows of the rank r, and wᵣ
what this mean divides by, such as the number of rows,

    L = Σ wᵣ Lᵣ / Σ wᵣ,   ∂L/∂θ = Σ ∂(wᵣ Lᵣ)/∂θ / Σ wᵣ        sums over the ranks

One flat array holds the gradient of wᵣ Lᵣ, and behind it wᵣ and a few other numbers. One message for each step adds it
up. Afterwards all ranks have the same bits, so the same weights.
"""

import itertools
import os
import platform
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import cache, partial
from typing import Any

import numpy as np

from tinynet import backend, ops
from tinynet.backend.threads import MOST_BY_DEFAULT, set_threads, threads
from tinynet.data.loader import Loader
from tinynet.distributed import Communicator, world
from tinynet.nn.parameter import Parameter
from tinynet.parts import Part
from tinynet.processors import VARIABLES, processors
from tinynet.tensor import Tensor
from tinynet.training.run import Loss, Run, no_sums
from tinynet.training.step import add_batch, inputs_of, pair

_NUMBERS = 5  # that are added up behind the gradients: wᵣ, wᵣ Lᵣ, the right answers, and what `Exchange.ask` asks


@cache
def ranks() -> Communicator:
    """The communicator of this process. With several ranks, those of a machine divide its threads among them.

    A number of threads that was set before, by `tn.set_threads` or by the environment, stays.
    """
    found = world()
    if found.size > 1:
        allowed = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
        own = [platform.node(), allowed]
        sharing = found.gather(own).count(own)  # the ranks that may run on the same processors
        if threads() == min(processors(), MOST_BY_DEFAULT) and not any(map(os.environ.get, VARIABLES)):
            set_threads(max(1, processors() // sharing))
    return found


def parts(function: str, batches: Iterable[Any], ranks: Communicator) -> Iterator[tuple[Part, Any]]:
    """Of each batch (inputs, labels), the rows of this rank. Errors as of `pair`, in the name of the function."""
    if ranks.size == 1:
        return ((Part(ranks), batch) for batch in batches)
    if isinstance(batches, Loader) and type(batches).__iter__ is Loader.__iter__:
        return batches.parts(ranks)  # does not read the others
    return (_cut(function, batch, ranks) for batch in batches)


def parts_left(run: Run) -> Iterator[tuple[Part, Any]]:
    """As `run.batches_left`, but of each batch the rows of this rank."""
    is_loader = hasattr(run.train, "load_state_dict") and not run.validating
    return parts("fit", run.train if is_loader else run.batches_left(), run.ranks)


def _cut(function: str, batch: Any, ranks: Communicator) -> tuple[Part, Any]:
    inputs, labels = pair(function, batch)
    part = Part.of(ranks, len(labels))
    own = tuple(array[part.rows] for array in inputs_of(inputs))
    return part, (own if isinstance(inputs, tuple) else own[0], labels[part.rows])


def divided_by(loss: Any, labels: Tensor) -> Any:
    """What the mean of a loss divides by: the number of rows, or of `cross_entropy` the sum of its weights of classes.

    >>> divided_by(partial(ops.cross_entropy, ignore_index=2), Tensor([0, 1, 2, 2])).item()
    2
    """
    options: dict[str, Any] = {}
    while isinstance(loss, partial):
        loss, options = loss.func, {**loss.keywords, **options}
    weight, ignored = options.get("weight"), options.get("ignore_index")
    if loss is not ops.cross_entropy or labels.dtype.kind not in "iu" or (weight is None and ignored is None):
        return len(labels)
    classes, xp = labels.data, backend.namespace(labels.device)
    counts = xp.ones(classes.shape, bool) if ignored is None else classes != ignored
    if weight is None:
        return counts.sum()
    weights = Tensor(weight, device=labels.device).data
    return (weights[xp.clip(classes, 0, len(weights) - 1)] * counts).sum()


class Exchange:
    """Adds up over the ranks, by one message for a batch: the gradients of parameters, and the numbers of the batch."""

    def __init__(self, ranks: Communicator, parameters: Iterable[Parameter] = (), device: str = "cpu") -> None:
        self.ranks, self.parameters, self.device = ranks, list(parameters), device
        xp = backend.namespace(device)
        ends = [0, *itertools.accumulate(parameter.size for parameter in self.parameters)]
        dtypes = {parameter.dtype for parameter in self.parameters}
        dtype = np.result_type(*dtypes) if dtypes else np.dtype("float64")
        self.flat = xp.zeros(ends[-1] + len(self.parameters) + _NUMBERS, dtype)
        self.asked, self.own = xp.zeros(2, dtype), no_sums()  # of the present batch
        self.gradients, self.others = self.flat[: ends[-1]], self.flat[ends[-1] :]
        self.places = [self.gradients[start:end].reshape(parameter.shape)
                       for parameter, (start, end) in zip(self.parameters, itertools.pairwise(ends), strict=True)]

    def ask(self, *questions: bool) -> None:
        """Set what the ranks are asked with the next batch: two questions."""
        for place, question in enumerate(questions):
            self.asked[place] = question

    def answers(self) -> list[bool]:
        """For each question that was asked with the last batch, whether it is true on one of the ranks."""
        return [count > 0 for count in backend.to_host(self.others).tolist()[-2:]]

    def arrays(self) -> list[Any]:
        """The arrays that `add` reads and writes, besides those that it is given."""
        return [self.flat, self.asked, *(total for total in self.own.values() if hasattr(total, "dtype"))]

    def add(self, part: Part, sums: dict[str, Any], loss: Loss, value: Tensor, output: Tensor, labels: Tensor) -> None:
        """Add up a batch over the ranks: the gradients, and its numbers, which are added to `sums`.

        value   what `loss` returned for the rows of this rank; its backward pass is run here

        The parameters have the gradient of the mean loss of the whole batch then. All of it may be recorded: while a
        step is repeated, the same parameters have a gradient.
        """
        for name in ("loss", "right"):
            if not hasattr(sums[name], "dtype"):
                sums[name] = backend.as_array(sums[name], "float64", self.device)
            if hasattr(self.own[name], "dtype"):
                backend.call(_fill, self.own[name], 0)
        add_batch(self.own, loss, value, output, labels)
        divisor = backend.empty((), "float64", self.device)
        backend.call(_set_divisor, divisor, loss, labels.data)
        if self.parameters:
            share = backend.empty(value.shape, value.dtype, self.device)
            backend.call(_set_share, share, divisor, part.total)
            value.backward(share)
        numbers = divisor, value.data, self.own["right"]
        backend.call(self._sum, part, self._collect(), *numbers, sums["loss"], sums["right"])
        self._distribute()
        sums["images"] += part.total
        sums["measure"] = self.own["measure"]

    def _collect(self) -> tuple[bool, ...]:
        """Copy the gradients into the flat array. Returns which parameters have one."""
        held, targets = [parameter.held for parameter in self.parameters], list[Any]()
        for place, gradient in zip(self.places, held, strict=True):
            if gradient is None:
                backend.call(_fill, place, 0)
            else:
                targets.append(place)
        backend.copy_all(targets, [gradient for gradient in held if gradient is not None])
        return tuple(gradient is not None for gradient in held)

    def _sum(self, part: Part, has_gradient: tuple[bool, ...], divisor: Any, value: Any, right: Any, losses: Any,
             rights: Any) -> None:
        """Send the message, and add the numbers of the batch to `losses` and `rights`."""
        numbers = *has_gradient, divisor, divisor * value.reshape(()), right, *self.asked
        for place, number in enumerate(numbers):
            self.others[place] = number
        if not part.counts:
            self.flat[: self.flat.size - 2] = 0
        self.ranks.sum(self.flat)
        total, loss, correct = backend.to_host(self.others).tolist()[-_NUMBERS:-2]
        total = total or 1.0
        if total != part.total:
            self.gradients /= total / part.total
        losses += loss / total * part.total
        rights += correct

    def _distribute(self) -> None:
        """Give the parameters the sum of their gradients, also those that have none on this rank."""
        for place, parameter, count in zip(self.places, self.parameters, backend.to_host(self.others).tolist(),
                                           strict=False):
            parameter.held = place.astype(parameter.dtype, copy=False) if count else None


def _fill(array: Any, number: float) -> None:
    array[...] = number


def _set_divisor(divisor: Any, loss: Any, labels: Any) -> None:
    divisor[...] = divided_by(loss, Tensor.of(labels))


def _set_share(share: Any, divisor: Any, total: int) -> None:
    share[...] = divisor / total


def joined(ranks: Communicator, seen: list[tuple[Part, Any]]) -> Any:
    """The rows of all batches in order, on every rank, from those of this rank: NumPy arrays, one for each batch."""
    if ranks.size == 1:
        return np.concatenate([rows for _, rows in seen])
    whole = np.zeros((sum(part.total for part, _ in seen), *seen[0][1].shape[1:]), seen[0][1].dtype)
    start = 0
    for part, rows in seen:
        if part.counts:
            whole[start + part.begin : start + part.begin + part.count] = rows
        start += part.total
    ranks.sum(whole.view("uint8") if whole.dtype == bool else whole)
    return whole


def checksum(run: Run) -> int:
    """The CRC-32 of the weights, the buffers and the optimizer's moments."""
    found = 0
    for array in (*(tensor.data for tensor in run.model.tensors().values()), *run.optimizer.arrays()):
        content: Any = np.ascontiguousarray(backend.to_host(array)).reshape(-1).view("uint8")
        found = zlib.crc32(content, found)
    return found


def on_first(ranks: Communicator, work: Callable[[], None], kind: type[Exception]) -> None:
    """Do work on rank 0, while the others wait for it. An error of this kind is raised on all ranks."""
    failed: Exception | None = None
    if ranks.rank == 0:
        try:
            work()
        except kind as error:
            failed = error
    message = ranks.gather(str(failed) if failed else "")[0]
    if message:
        raise failed or kind(message)
