"""Modules one after the other."""

from collections.abc import Iterator
from functools import reduce
from typing import Any, overload

from tinynet.nn.masks import as_mask, masked_call
from tinynet.nn.module import Module, checked, is_outermost
from tinynet.plain import shape_of
from tinynet.recording import evaluation
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike


class Sequential(Module):
    """Modules one after the other. `model(x, mask=mask)` gives each layer the mask of its input.

    `model[0]` is a layer, `model[:2]` a Sequential of layers of this one; `model[-1] = layer` replaces one.

    The evaluation of a Sequential of tinynet's own layers inside of `no_grad()` is recorded. From the third call with
    inputs of a shape on, the recording is replayed: in less time, with the same bits. See `tinynet/recording.py`.

    >>> import tinynet as tn
    >>> model = tn.nn.Sequential(tn.nn.Dense(3, 2), tn.nn.ReLU())
    >>> model(tn.Tensor([[1.0, 2.0, 3.0]])).shape
    (1, 2)
    """

    def __init__(self, *layers: Module, input_shape: tuple[int, ...] | None = None) -> None:
        self.layers = [checked("Sequential", f"layer {i}", layer) for i, layer in enumerate(layers)]
        self.input_shape = None if input_shape is None else shape_of("Sequential", "input_shape", input_shape)

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        inputs = (x,) if mask is None else (x, as_mask(mask, x))
        y = evaluation(self, self.through, *inputs) if type(self) is Sequential and is_outermost(self) else None
        return self.through(*inputs) if y is None else y

    def through(self, x: Tensor, mask: Tensor | None = None) -> Tensor:
        """The layers' output, without a recording."""
        for layer in self.layers:
            x, mask = masked_call(layer, x, mask), None if mask is None else layer.output_mask(mask)
        return x

    def output_mask(self, mask: Tensor | None) -> Tensor | None:
        return reduce(lambda real, layer: None if real is None else layer.output_mask(real), self.layers, mask)

    def children(self) -> Iterator[tuple[str, Module]]:
        return ((name.removeprefix("layers."), layer) for name, layer in super().children())

    def config(self) -> dict[str, Any]:
        return {"layers": self.layers, "input_shape": self.input_shape}

    def __len__(self) -> int:
        return len(self.layers)

    def __iter__(self) -> Iterator[Module]:
        return iter(self.layers)

    @overload
    def __getitem__(self, index: int) -> Module: ...
    @overload
    def __getitem__(self, index: slice) -> "Sequential": ...
    def __getitem__(self, index: int | slice) -> Module:
        return Sequential(*self.layers[index]) if isinstance(index, slice) else self.layers[index]

    def __setitem__(self, index: int, layer: Module) -> None:
        self.layers[index] = checked("Sequential", f"layer {index}", layer)

    def __repr__(self) -> str:
        return "Sequential(\n" + "".join(f"    {i}: {layer!r}\n" for i, layer in enumerate(self.layers)) + ")"
