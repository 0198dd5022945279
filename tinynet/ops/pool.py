"""Pooling: the maximum or the mean of each window. A one-dimensional op is the two-dimensional one on height 1."""

from typing import Any

from tinynet.op import Array, op
from tinynet.types import Pad, Pads, Pair
from tinynet.window import ONE_ROW, Window, padded, pool_window, pool_windows, taps, unpadded


def _sizes1d(name: str) -> Any:
    def sizes(known: dict[str, Any], size: int, stride: Any = None, padding: Any = "valid") -> dict[str, Any]:
        return {"T'": pool_window(name, "T", known["T"], size, stride, padding).outputs}
    return sizes


def _sizes2d(name: str) -> Any:
    def sizes(known: dict[str, Any], size: Any, stride: Any = None, padding: Any = "valid") -> dict[str, Any]:
        rows, columns = pool_windows(name, (known["H"], known["W"]), size, stride, padding)
        return {"H'": rows.outputs, "W'": columns.outputs, "KH": rows.width, "KW": columns.width}
    return sizes


def _max_pool(xp: Any, x: Array, rows: Window, columns: Window) -> tuple[Array, Any]:
    """The maximum of each window of x (N,H,W,C), and the number of its element in the window, both (N,H',W',C)."""
    shape = x.shape[1:3]
    x = padded(xp, x, rows, columns, value=-xp.inf)
    y = xp.full((x.shape[0], rows.outputs, columns.outputs, x.shape[3]), -xp.inf, x.dtype)
    is_inside = padded(xp, xp.ones((1, *shape, 1), bool), rows, columns)
    winner = xp.full(y.shape, -1, xp.int32)
    for k, (_, _, tap) in enumerate(taps(rows, columns)):
        is_first = is_inside[tap] & (winner < 0)  # of the elements of x: −∞ in the padding never wins
        better = is_first | (x[tap] > y) | ((x[tap] != x[tap]) & (y == y))  # the first NaN wins and stays
        y = xp.where(better, x[tap], y)  # (1)
        winner = xp.where(better, xp.int32(k), winner)
    return y, (winner, x.shape, rows, columns)


def _dmax_pool(xp: Any, dy: Array, cache: Any) -> Array:
    winner, shape, rows, columns = cache
    dx = xp.zeros(shape, dy.dtype)
    for k, (_, _, tap) in enumerate(taps(rows, columns)):
        dx[tap] += xp.where(winner == k, dy, xp.zeros((), dy.dtype))  # (2)
    return unpadded(dx, rows, columns)


def _avg_pool(xp: Any, x: Any, rows: Window, columns: Window) -> tuple[Any, Any]:
    """The mean of each window of x (N,H,W,C) over the elements that are not padding, (N,H',W',C)."""
    shape = x.shape
    count = padded(xp, xp.ones((1, *shape[1:3], 1), x.dtype), rows, columns)
    x = padded(xp, x, rows, columns)
    R = sum(count[tap] for _, _, tap in taps(rows, columns))  # (1,H',W',1)
    total = sum(x[tap] for _, _, tap in taps(rows, columns))
    return total / R, (R, x.shape, rows, columns)  # (1)


def _davg_pool(xp: Any, dy: Array, cache: Any) -> Array:
    R, shape, rows, columns = cache
    dx = xp.zeros(shape, dy.dtype)
    for _, _, tap in taps(rows, columns):
        dx[tap] += dy / R  # (2)
    return unpadded(dx, rows, columns)


_CASES1D: list[dict[str, Any]] = [
    {"T": 6, "size": 2}, {"T": 7, "size": 3, "stride": 2}, {"T": 5, "size": 2, "padding": "same"},
    {"T": 7, "size": 3, "stride": 1, "padding": 1}, {"T": 1, "N": 1, "size": 1}, {"T": 5, "size": 2, "stride": 3}]
_CASES2D: list[dict[str, Any]] = [
    {"H": 4, "W": 6, "size": 2}, {"H": 5, "W": 5, "size": 2, "padding": "same"}, {"H": 1, "W": 1, "N": 1, "size": 1},
    {"H": 5, "W": 7, "size": 3, "stride": 2}, {"H": 5, "W": 4, "size": (2, 3), "stride": (1, 2), "padding": (1, 0)}]


@op("x:(N,T,C) -> y:(N,T',C)", sizes=_sizes1d("max_pool1d"), analytic=False,
    flops=lambda s: s["size"], cases=[{**case, "x": "distinct"} for case in _CASES1D])
def max_pool1d(xp: Any, x: Array, size: int, stride: int | None = None, padding: Pad = "valid") -> tuple[Array, Any]:
    """The maximum of each window of `size` steps; `stride` is `size` by default.

    Shapes    x (N,T,C)  →  y (N,T',C)
    Forward   (1)  yₜ = maxₖ x[t s + k − p]        padding counts as −∞
    Backward  (2)  δx[t s + k − p] += δyₜ          for the first k at which the window has its maximum
    Because   yₜ copies one element of its window, with ∂yₜ/∂x = 1; the others have 0. Of equal ones, the first counts
    Cache     this k, 4 bytes an output
    Source    Zhou and Chellappa 1988

    >>> import tinynet as tn
    >>> tn.ops.max_pool1d(tn.Tensor([[[1.0], [3.0], [2.0], [0.0]]]), 2).numpy().ravel()
    array([3., 2.], dtype=float32)
    """
    columns = pool_window("max_pool1d", "T", x.shape[1], size, stride, padding)
    y, cache = _max_pool(xp, x[:, None], ONE_ROW, columns)  # (1)
    return y[:, 0], cache  # (N,T',C)


@max_pool1d.gradient
def dmax_pool1d(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    return _dmax_pool(xp, dy[:, None], cache)[:, 0]  # (2) (N,T,C)


@op("x:(N,H,W,C) -> y:(N,H',W',C)", sizes=_sizes2d("max_pool2d"), analytic=False,
    flops=lambda s: s["KH"] * s["KW"], cases=[{**case, "x": "distinct"} for case in _CASES2D])
def max_pool2d(xp: Any, x: Array, size: Pair, stride: Pair | None = None, padding: Pads = "valid") -> tuple[Array, Any]:
    """The maximum of each window of an image; options are one number, or a pair (height, width).

    Shapes    x (N,H,W,C)  →  y (N,H',W',C)
    Forward   (1)  yₜ = maxₖ x[t s + k − p]        t, k, s, p: pairs; padding counts as −∞
    Backward  (2)  δx[t s + k − p] += δyₜ          for the first k, row by row, at which the window has its maximum
    Because   yₜ copies one element of its window, with ∂yₜ/∂x = 1; the others have 0. Of equal ones, the first counts
    Cache     this k, 4 bytes an output
    Source    Zhou and Chellappa 1988

    >>> import tinynet as tn
    >>> tn.ops.max_pool2d(tn.Tensor([[[[1.0], [3.0]], [[2.0], [0.0]]]]), 2).numpy().ravel()
    array([3.], dtype=float32)
    """
    rows, columns = pool_windows("max_pool2d", x.shape[1:3], size, stride, padding)
    return _max_pool(xp, x, rows, columns)  # (1)


@max_pool2d.gradient
def dmax_pool2d(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    return _dmax_pool(xp, dy, cache)  # (2)


@op("x:(N,T,C) -> y:(N,T',C)", sizes=_sizes1d("avg_pool1d"), flops=lambda s: s["size"], cases=_CASES1D)
def avg_pool1d(xp: Any, x: Array, size: int, stride: int | None = None, padding: Pad = "valid") -> tuple[Array, Any]:
    """The mean of each window of `size` steps; `stride` is `size` by default. Padding is not counted.

    Shapes    x (N,T,C)  →  y (N,T',C)
    Forward   (1)  yₜ = Σₖ x[t s + k − p] / Rₜ        over the Rₜ elements of the window that are not padding
    Backward  (2)  δx[t s + k − p] += δyₜ / Rₜ        for all t and k
    Because   ∂yₜ/∂x[t s + k − p] = 1 / Rₜ, in every window t that holds the element
    Cache     Rₜ
    Source    LeCun et al. 1990

    >>> import tinynet as tn
    >>> tn.ops.avg_pool1d(tn.Tensor([[[1.0], [3.0], [2.0]]]), 2, padding="same").numpy().ravel()
    array([2., 2.], dtype=float32)
    """
    columns = pool_window("avg_pool1d", "T", x.shape[1], size, stride, padding)
    y, cache = _avg_pool(xp, x[:, None], ONE_ROW, columns)  # (1)
    return y[:, 0], cache  # (N,T',C)


@avg_pool1d.gradient
def davg_pool1d(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    return _davg_pool(xp, dy[:, None], cache)[:, 0]  # (2) (N,T,C)


@op("x:(N,H,W,C) -> y:(N,H',W',C)", sizes=_sizes2d("avg_pool2d"), flops=lambda s: s["KH"] * s["KW"], cases=_CASES2D)
def avg_pool2d(xp: Any, x: Array, size: Pair, stride: Pair | None = None, padding: Pads = "valid") -> tuple[Array, Any]:
    """The mean of each window of an image; options are one number, or a pair (height, width). Padding is not counted.

    Shapes    x (N,H,W,C)  →  y (N,H',W',C)
    Forward   (1)  yₜ = Σₖ x[t s + k − p] / Rₜ        over the Rₜ pixels of the window that are not padding
    Backward  (2)  δx[t s + k − p] += δyₜ / Rₜ        for all t and k
    Because   ∂yₜ/∂x[t s + k − p] = 1 / Rₜ, in every window t that holds the pixel
    Cache     Rₜ
    Source    LeCun et al. 1990

    >>> import tinynet as tn
    >>> tn.ops.avg_pool2d(tn.Tensor([[[[1.0], [3.0]], [[2.0], [0.0]]]]), 2).numpy().ravel()
    array([1.5], dtype=float32)
    """
    rows, columns = pool_windows("avg_pool2d", x.shape[1:3], size, stride, padding)
    return _avg_pool(xp, x, rows, columns)  # (1)


@avg_pool2d.gradient
def davg_pool2d(xp: Any, dy: Array, *, cache: Any, needs: Any) -> Array:
    return _davg_pool(xp, dy, cache)  # (2)
