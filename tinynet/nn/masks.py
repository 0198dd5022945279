"""Masks of sequences of different lengths, for layers: (N,T), not 0 at the real steps of x (N,T,...).

The rule for every layer: what stands in masked steps, NaN too, changes no output at a real step, no state, no statistic
and no gradient. So a layer replaces masked steps before it uses them.
"""

from tinynet import ops
from tinynet.tensor import Tensor
from tinynet.types import ArrayLike
from tinynet.window import Window


def as_mask(mask: ArrayLike, x: Tensor) -> Tensor:
    """A mask as booleans on the device of x."""
    tensor = mask if isinstance(mask, Tensor) else Tensor(mask, device=x.device)
    return tensor if tensor.dtype == bool else tensor != 0


def as_tensor(x: ArrayLike) -> Tensor:
    """A tensor itself; an array or a list as a tensor."""
    return x if isinstance(x, Tensor) else Tensor(x)


def real_steps(x: Tensor, mask: ArrayLike | None, value: float = 0.0) -> Tensor:
    """x with this value in place of its masked steps; x itself without a mask."""
    x = as_tensor(x)
    return x if mask is None else ops.mask_steps(x, as_mask(mask, x), value=value)


def count(mask: Tensor, x: Tensor) -> Tensor:
    """The number of real steps of each sequence, at least 1: (N,1) in the dtype of x."""
    return ops.maximum(mask.astype(x.dtype).sum(axis=1, keepdims=True), 1.0)


def of_windows(mask: Tensor, window: Window, padding: object) -> Tensor:
    """The mask (N,T') of outputs that are each made of a window.

    With stride 1 an output is real like its own step, without padding if all steps of its window are real. With another
    stride it is real like the first step of its window.
    """
    T, span = mask.shape[1], (window.width - 1) * window.dilation
    if window.stride > 1:
        return mask[:, [max(0, t * window.stride - window.before) for t in range(window.outputs)]]
    if padding == "valid":
        real = mask[:, window.tap(0)].astype("float32")
        for k in range(1, window.width):
            real = real * mask[:, window.tap(k)].astype("float32")
        return real != 0
    own = span - window.before - window.after  # 0 for "same" and "causal": then the mask stays as it is
    return mask if own == 0 else mask[:, [min(max(0, t + own), T - 1) for t in range(window.outputs)]]
