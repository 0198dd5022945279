"""Masks of sequences of different lengths, for layers: (N,T), not 0 at the real steps of x (N,T,...).

The rule for every layer: what stands in masked steps, NaN too, changes no output at a real step, no state, no statistic
and no gradient. So a layer replaces masked steps before it uses them.
"""

from typing import Any

from tinynet import ops
from tinynet.errors import ShapeError
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike
from tinynet.window import Window


def as_mask(mask: ArrayLike, x: ArrayLike) -> Tensor:
    """A mask as booleans on the device of x."""
    tensor = mask if isinstance(mask, Tensor) else Tensor(mask, device=as_tensor(x).device)
    return tensor if tensor.dtype == bool else tensor != 0


def as_tensor(x: ArrayLike) -> Tensor:
    """A tensor itself; an array or a list as a tensor. Errors: ShapeError for a tuple of tensors."""
    if isinstance(x, tuple) and any(isinstance(one, Tensor) for one in x):
        raise ShapeError(f"x must be one tensor, got a tuple of {len(x)}; return_state=False, or take one of them?")
    return x if isinstance(x, Tensor) else Tensor(x)


def real_steps(x: Tensor, mask: ArrayLike | None, value: float = 0.0) -> Tensor:
    """x with this value in place of its masked steps; x itself without a mask."""
    x = as_tensor(x)
    return x if mask is None else ops.mask_steps(x, as_mask(mask, x), value=value)


def masked_call(module: Any, x: Tensor, mask: ArrayLike | None) -> Any:
    """The module's output for x, and for the mask if there is one."""
    return module(x) if mask is None else module(x, mask=mask)


def both(mask: Tensor | None, other: Tensor | None) -> Tensor | None:
    """Where two masks are real; None if one of them is None."""
    if mask is None or other is None or mask is other:
        return None if other is None else mask
    return mask.astype("float32") * other.astype("float32") != 0


def of_windows(mask: Tensor, window: Window, padding: object) -> Any:
    """The mask (N,T') of outputs that are each made of a window. The rules stand in `Conv1D`."""
    T, span = mask.shape[1], (window.width - 1) * window.dilation
    if window.stride > 1:
        return mask[:, [max(0, t * window.stride - window.before) for t in range(window.outputs)]]
    if padding == "valid":
        real: Any = mask[:, window.tap(0)]
        for k in range(1, window.width):
            real = both(real, mask[:, window.tap(k)])
        return real
    own = span - window.before - window.after  # 0 for "same" and "causal": then the mask stays as it is
    return mask if own == 0 else mask[:, [min(max(0, t + own), T - 1) for t in range(window.outputs)]]
