"""Functions of tensors that are not ops themselves: each calls one op or several, which have the gradients.

`argmax` and `argmin` have no gradient: their results are integers.
"""

from collections.abc import Iterable

from tinynet.errors import ArgumentError, DtypeError, ShapeError
from tinynet.ops.axes import axes_of, one_axis
from tinynet.ops.elementwise import sqrt, where
from tinynet.ops.indexing import concatenate, getitem
from tinynet.ops.reduce import var
from tinynet.ops.shape import astype, reshape
from tinynet.plain import whole
from tinynet.tensor import Tensor, has_values, namespace_of, tensor_like
from tinynet.types import ArrayLike, Axes


def stack(tensors: Iterable[Tensor], axis: int = 0) -> Tensor:
    """Join tensors of one shape along a new axis.

    >>> import tinynet as tn
    >>> tn.ops.stack([tn.Tensor([1.0, 2.0]), tn.Tensor([3.0, 4.0])]).shape
    (2, 2)
    """
    return concatenate([expand_dims(tensor, axis) for tensor in tensors], axis=axis)


def expand_dims(x: Tensor, axis: int) -> Tensor:
    """x with a new axis of size 1: axis `axis` of the result.

    >>> import tinynet as tn
    >>> tn.ops.expand_dims(tn.Tensor([1.0, 2.0]), -1).shape
    (2, 1)
    """
    x = _tensor(x)
    place = one_axis("expand_dims", axis, x.ndim + 1)
    return reshape(x, (*x.shape[:place], 1, *x.shape[place:]))


def squeeze(x: Tensor, axis: Axes = None) -> Tensor:
    """x without its axes of size 1: without all of them, or without those in `axis`.

    Errors: ArgumentError if a named axis has another size.

    >>> import tinynet as tn
    >>> tn.Tensor([[[1.0], [2.0]]]).squeeze().shape
    (2,)
    """
    x = _tensor(x)
    if axis is None:
        return reshape(x, tuple(size for size in x.shape if size != 1))
    axes = axes_of("squeeze", axis, x.ndim)
    if any(x.shape[one] != 1 for one in axes):
        raise ArgumentError(f"squeeze: axis must name axes of size 1, got {axis} for shape {x.shape}; "
                            "index one element instead, x[0]?")
    return reshape(x, tuple(size for i, size in enumerate(x.shape) if i not in axes))


def flatten(x: Tensor) -> Tensor:
    """All elements of x along one axis.

    >>> import tinynet as tn
    >>> tn.Tensor([[1.0], [2.0]]).flatten().shape
    (2,)
    """
    return reshape(x, (-1,))


def flip(x: Tensor, axis: int) -> Tensor:
    """x with the order of its elements reversed along `axis`.

    >>> import tinynet as tn
    >>> tn.ops.flip(tn.Tensor([1.0, 2.0]), 0).numpy()
    array([2., 1.], dtype=float32)
    """
    x = _tensor(x)
    backwards = axes_of("flip", axis, x.ndim)
    return getitem(x, tuple(slice(None, None, -1) if i in backwards else slice(None) for i in range(x.ndim)))


def std(x: Tensor, axis: Axes = None, keepdims: bool = False) -> Tensor:
    """The population standard deviation over axes: y = √(var x), with the gradient δx = δy (x − μ) / (R y).

    That is the chain rule: sqrt has δvar = δy / 2y, and var has δx = δvar 2 (x − μ) / R. Where y = 0, all x are equal,
    no derivative exists, and the gradient is 0.

    >>> import tinynet as tn
    >>> tn.Tensor([1.0, 3.0]).std().item()
    1.0
    """
    y = var(x, axis=axis, keepdims=keepdims)
    is_zero = Tensor(y.data == 0)
    return where(is_zero, 0.0, sqrt(where(is_zero, 1.0, y)))


def argmax(x: Tensor, axis: int | None = None) -> Tensor:
    """The index of the first maximum along `axis`, or in the flattened array, as integers.

    >>> import tinynet as tn
    >>> tn.Tensor([[1.0, 3.0], [2.0, 0.0]]).argmax(axis=1).numpy()
    array([1, 0])
    """
    return _where_largest("argmax", x, axis)


def argmin(x: Tensor, axis: int | None = None) -> Tensor:
    """The index of the first minimum along `axis`, or in the flattened array, as integers.

    >>> import tinynet as tn
    >>> tn.Tensor([1.0, 3.0, 0.5]).argmin().item()
    2
    """
    return _where_largest("argmin", x, axis)


def one_hot(labels: ArrayLike, classes: int, *, dtype: str = "float32") -> Tensor:
    """Class numbers (...) as rows with a 1 at the number and 0 elsewhere: (..., classes). They have no gradient.

    Errors: DtypeError unless labels are integers; on the host, ArgumentError for a label that is not in [0, classes).

    >>> import tinynet as tn
    >>> tn.ops.one_hot([2, 0], 3).numpy()
    array([[0., 0., 1.],
           [1., 0., 0.]], dtype=float32)
    """
    x, count = _tensor(labels), whole("one_hot", "classes", classes, 1, usual="classes=10")
    if x.dtype.kind not in "iu":
        raise DtypeError(f'one_hot: labels must hold integers, got {x.dtype}; labels.astype("int64")?')
    if has_values(x) and not 0 <= x.data.min() <= x.data.max() < count:
        raise ArgumentError(f"one_hot: labels must be in [0, classes) = [0, {count}), got values from {x.data.min()} "
                            f"to {x.data.max()}; do labels count from 1?")
    xp = namespace_of("one_hot", ("labels", x))
    return astype(expand_dims(x, -1) == Tensor(xp.arange(count)), dtype)


def _where_largest(name: str, x: Tensor, axis: int | None) -> Tensor:
    x = _tensor(x)
    place = None if axis is None else one_axis(name, axis, x.ndim)
    if (x.size if place is None else x.shape[place]) == 0:
        raise ShapeError(f"{name}: x must have elements to compare, got shape {x.shape} over axis {axis}; "
                         "skip empty batches")
    namespace_of(name, ("x", x))
    return tensor_like(getattr(x.data, name)(axis=place), x.data)


def _tensor(x: ArrayLike) -> Tensor:
    return x if isinstance(x, Tensor) else Tensor(x)
