"""Modules that PyTorch lacks, for `to_torch_module`. They are made on first use, since PyTorch is imported late."""

from collections.abc import Sequence
from typing import Any

_made: dict[str, Any] = {}


def modules(torch: Any) -> dict[str, Any]:
    """The classes by name. A state_dict of a model that has them holds plain names."""
    if _made:
        return _made

    class Permute(torch.nn.Module):  # type: ignore[misc]
        """The axes in another order."""

        def __init__(self, axes: Sequence[int]) -> None:
            super().__init__()
            self.axes = tuple(axes)

        def forward(self, x: Any) -> Any:
            return x.permute(self.axes)

        def extra_repr(self) -> str:
            return str(self.axes)

    class Reshape(torch.nn.Module):  # type: ignore[misc]
        """Each sample in another shape."""

        def __init__(self, shape: Sequence[int]) -> None:
            super().__init__()
            self.shape = tuple(shape)

        def forward(self, x: Any) -> Any:
            return x.reshape(x.shape[0], *self.shape)

        def extra_repr(self) -> str:
            return str(self.shape)

    class Recurrent(torch.nn.Module):  # type: ignore[misc]
        """The outputs of a recurrent module, or the last one, and its states if they are asked for."""

        def __init__(self, rnn: Any, layer: Any, merge: str = "concat") -> None:
            super().__init__()
            self.rnn, self.backwards, self.merge = rnn, layer.go_backwards, merge
            self.sequences, self.state = layer.return_sequences, layer.return_state

        def forward(self, x: Any) -> Any:
            y, states = self.rnn(x.flip(1) if self.backwards else x)
            states = states if isinstance(states, tuple) else (states,)
            halves = y.chunk(len(states[0]), dim=-1) if self.sequences else tuple(states[0])
            output = merged(halves, self.merge)
            return (output, *(one for both in zip(*states, strict=True) for one in both)) if self.state else output

    class AveragePool(torch.nn.Module):  # type: ignore[misc]
        """The mean of each window, of the elements that are not padding."""

        def __init__(self, pad: Any, pool: Any) -> None:
            super().__init__()
            self.pad, self.pool = pad, pool

        def forward(self, x: Any) -> Any:
            return self.pool(self.pad(x)) / self.pool(self.pad(torch.ones_like(x)))

    class Residual(torch.nn.Module):  # type: ignore[misc]
        """A path around a module."""

        def __init__(self, module: Any) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: Any) -> Any:
            return x + self.module(x)

    class Parallel(torch.nn.Module):  # type: ignore[misc]
        """Several modules on the same input, and their outputs merged."""

        def __init__(self, branches: Sequence[Any], merge: str) -> None:
            super().__init__()
            self.branches, self.merge = torch.nn.ModuleList(branches), merge

        def forward(self, x: Any) -> Any:
            return merged([branch(x) for branch in self.branches], self.merge)

    class TimeDistributed(torch.nn.Module):  # type: ignore[misc]
        """A module applied to each step of sequences on its own."""

        def __init__(self, module: Any) -> None:
            super().__init__()
            self.module = module

        def forward(self, x: Any) -> Any:
            y = self.module(x.reshape(-1, *x.shape[2:]))
            return y.reshape(*x.shape[:2], *y.shape[1:])

    def merged(parts: Sequence[Any], merge: str) -> Any:
        """Tensors side by side on the last axis, or their sum, product or mean."""
        if merge == "concat":
            return torch.cat(tuple(parts), dim=-1)
        stacked = torch.stack(tuple(parts))
        return {"sum": stacked.sum, "mul": stacked.prod, "ave": stacked.mean}[merge](dim=0)

    _made.update({one.__name__: one for one in (
        Permute, Reshape, Recurrent, AveragePool, Residual, Parallel, TimeDistributed)})
    return _made
