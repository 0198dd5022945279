"""Tensor: an array with a gradient, and NumPy's interface to it.

The tape (`tape.py`) records what was computed; `ops/operators.py` attaches arithmetic and methods such as `.sum()`.
"""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from tinynet import backend
from tinynet.errors import ArgumentError, DeviceError, DtypeError, GradientError, ShapeError
from tinynet.graph import graph
from tinynet.plain import ForNumPy, numpy_function
from tinynet.shown import Text
from tinynet.tape import Node, backward
from tinynet.tracing import is_shapes_only
from tinynet.types import Array, ArrayLike, Axes, DType, DTypeLike, Index, Shape, SharesMemory


class Tensor:
    """An array with a gradient, and with the node of the tape that made it.

    `data` is anything that NumPy makes an array of. An array is shared, not copied; lists of Python floats become
    float32. `.grad` is a plain array of the same shape, dtype and device; it is None before the first `backward()`,
    and each one adds to it.

    Errors: DtypeError for data that are not numbers, and for `requires_grad` on integers.

    >>> import tinynet as tn
    >>> x = tn.Tensor([1.0, 2.0, 3.0], requires_grad=True)
    >>> (x * x).sum().backward()
    >>> x.grad
    array([2., 4., 6.], dtype=float32)
    """

    __slots__ = ("__weakref__", "data", "grad", "origin", "requires_grad")
    is_constant: bool = False  # see Constant
    version: int = 0  # counts changes in place by tinynet, of a parameter or buffer
    __array_ufunc__ = ForNumPy()  # for `array + tensor` to call Tensor.__radd__
    __pandas_priority__ = 10_000  # above that of a table, which would look into the tensor element by element

    def __init__(self, data: ArrayLike, requires_grad: bool = False, *, dtype: DTypeLike | None = None,
                 device: str | None = None) -> None:
        if isinstance(data, Tensor):
            data = data.data
        self.data: Array = backend.as_array(data, dtype, device)
        if self.data.dtype.kind not in "fciub":
            raise DtypeError(f"Tensor: data must be numbers, got an array of {self.data.dtype}; "
                             'np.asarray(data, "float32")? (rows of unequal length make an array of objects)')
        if requires_grad and self.data.dtype.kind not in "fc":
            raise DtypeError(f"Tensor: requires_grad needs floats, got {self.data.dtype}; "
                             'Tensor(data, requires_grad=True, dtype="float32")?')
        self.requires_grad: bool = requires_grad
        self.grad: Array | None = None
        self.origin: tuple[Node, int] | None = None  # None for a leaf, else the node and the number of its output

    @classmethod
    def of(cls, array: Array) -> "Tensor":
        """A tensor around an array that an op has computed. Nothing is checked."""
        tensor = cls.__new__(cls)
        tensor.data, tensor.requires_grad, tensor.grad, tensor.origin = array, False, None, None
        return tensor

    @property
    def shape(self) -> Shape:
        """The size of each axis."""
        return tuple(self.data.shape)

    @property
    def ndim(self) -> int:
        """The number of axes."""
        return int(self.data.ndim)

    @property
    def size(self) -> int:
        """The number of elements."""
        return int(self.data.size)

    @property
    def dtype(self) -> DType:
        """The dtype of the elements, one of NumPy's."""
        return self.data.dtype

    @property
    def device(self) -> str:
        """The device of the array: "cpu", "gpu" (the first one), "gpu:1", ..., "gpu-emulated"."""
        return backend.device_of(self.data)

    def numpy(self) -> Array:
        """The values as a NumPy array: a read-only view on the CPU, a copy from another device."""
        view = backend.to_host(self.data).view()
        view.flags.writeable = False
        return view

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> Array:
        if self.device != "cpu":
            raise DeviceError(f"__array__: a tensor on {self.device} does not become a NumPy array by itself, since "
                              'that waits for the device and copies; call .numpy(), or .to("cpu") first')
        view = self.numpy()
        same = dtype is None or view.dtype == dtype
        if copy is False and not same:
            raise ArgumentError(f"__array__: copy=False cannot make an array of {dtype} of one of {view.dtype}; "
                                "np.asarray(tensor, dtype) copies")
        return view if same and not copy else view.astype(dtype or view.dtype)

    def __dlpack__(self, **options: Any) -> object:
        """Share the memory with another library: `torch.from_dlpack(tensor)`. No gradient passes."""
        return self._dlpack("__dlpack__")(**options)

    def __dlpack_device__(self) -> tuple[int, int]:
        """The device type and the index of the device, as numbers of the DLPack protocol."""
        kind, index = self._dlpack("__dlpack_device__")()
        return int(kind), int(index)

    def _dlpack(self, method: str) -> Any:
        if not hasattr(self.data, method):
            raise DeviceError(f"{method}: other libraries cannot share memory on {self.device}, only on the CPU or a "
                              'GPU; call .to("cpu") first')
        return getattr(self.data, method)

    def item(self) -> float:
        """The value of a tensor of size 1, as a Python number. This waits for a GPU.

        Errors: ShapeError for a tensor of another size.
        """
        if self.size != 1:
            raise ShapeError(f"item: a tensor must have one element to be a number, got shape {self.shape}; "
                             "take .sum(), .mean() or an element first")
        return self.data.item()

    def __float__(self) -> float:
        return float(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __bool__(self) -> bool:
        return bool(self.item())

    def __len__(self) -> int:
        return len(self.data)

    def __iter__(self) -> Iterator["Tensor"]:
        return (self[i] for i in range(len(self)))

    def __repr__(self) -> str:
        values = backend.to_host(self.data)
        flags = "".join([f", device={self.device!r}" if self.device != "cpu" else "",
                         ", requires_grad=True" if self.requires_grad else ""])
        name = f"{type(self).__name__}("
        rows = str(values).replace("\n", "\n" + " " * len(name))  # below one another
        return f"{name}{rows}, dtype={self.dtype}{flags})"

    def __format__(self, spec: str) -> str:
        return format(self.item(), spec) if spec else str(self)

    def detach(self) -> "Tensor":
        """A tensor that shares the array and has no node of the tape."""
        return Tensor.of(self.data)

    def to(self, device: str) -> "Tensor":
        """This tensor on a device, "cpu", "gpu", "gpu:1" or "gpu-emulated"; itself if it is there already.

        Errors: DeviceError if there is no such device, or if its memory is full; GradientError for a tensor that an
        op made and that requires a gradient.
        """
        if backend.device_name(device) == self.device:
            return self
        if self.origin is not None and self.requires_grad:
            raise GradientError(f"to: a tensor made by {self.origin[0].op.name} cannot change its device, since its "
                                "gradient would be lost; move the inputs before computing, or call .detach() first")
        return Tensor(backend.to_device(self.data, device), self.requires_grad)

    def zero_grad(self) -> None:
        """Set the gradient to None."""
        self.grad = None

    def backward(self, gradient: ArrayLike | None = None) -> None:
        """Add d(self)/d(leaf) to the `.grad` of every leaf with `requires_grad` that self depends on.

        `gradient` is the gradient of the loss with respect to self, of the same shape; by default 1, for one element.
        The tape is used up: one backward pass for each forward pass.

        Errors: ShapeError if `gradient` has another shape. GradientError if self requires no gradient, if it has
        several elements and `gradient` is missing, or if the tape is used up. GradientError also if an input was
        changed that the backward pass reads. Changes by optimizers and `load_state_dict` are noticed everywhere.
        Other changes are noticed on the CPU alone, in a sample of the elements if an array has more than 4 KiB.
        """
        if not self.requires_grad:
            raise GradientError("backward: nothing that this tensor was made of has requires_grad; make it outside of "
                                "tn.no_grad(), from tensors with requires_grad=True or from a model's parameters")
        backward(self, self._seed(gradient))

    def graph(self) -> Text:
        """The ops that led here, as a table; in a notebook as a picture. See graph.py.

        >>> x = Tensor([1.0, 2.0], requires_grad=True)
        >>> print((x * 3).sum().graph())
        node   op         outputs   inputs
        1      multiply   (2)       leaf (2), constant ()
        2      sum        ()        node 1
        """
        return graph(self)

    def place(self, dvalue: Array) -> Array:
        """Make `.grad`, an array for a first gradient like `dvalue` to be copied into."""
        self.grad = backend.namespace(self.device).empty(self.shape, dvalue.dtype)
        return self.grad

    def take(self, dvalue: Array) -> bool:
        """Make a new array, a first gradient, `.grad` itself; return False if it must be copied."""
        if not dvalue.flags.c_contiguous:
            return False
        self.grad = dvalue
        return True

    def accumulate(self, dvalue: Array) -> bool:
        """Add to `.grad`, and return True; return False before the first gradient."""
        if self.grad is not None:
            self.grad += dvalue
        return self.grad is not None

    def _seed(self, gradient: ArrayLike | None) -> Array:
        if gradient is None:
            if self.size != 1:
                raise GradientError(f"backward: starts at a tensor of one element, got {self.shape}; take a loss such "
                                    "as .mean() first, or pass the gradient: y.backward(dy)")
            return backend.full(self.shape, 1, self.dtype, self.device)
        given = gradient.data if isinstance(gradient, Tensor) else gradient
        array = backend.as_array(given, self.dtype, self.device)
        if array.shape != self.shape:
            raise ShapeError(f"backward: gradient must have the shape of the tensor, {self.shape}, got {array.shape}; "
                             "pass one number for each element")
        return array

    __array_function__ = numpy_function

    if TYPE_CHECKING:  # attached by ops/operators.py: this file knows no op
        def __add__(self, other: ArrayLike) -> "Tensor": ...
        __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __matmul__ = __add__
        __lt__ = __le__ = __gt__ = __ge__ = __add__
        def __eq__(self, other: object) -> "Tensor": ...  # type: ignore[override]
        def __ne__(self, other: object) -> "Tensor": ...  # type: ignore[override]
        def __getitem__(self, index: Index) -> "Tensor": ...
        def __pow__(self, other: float) -> "Tensor": ...
        def __neg__(self) -> "Tensor": ...
        __abs__ = flatten = __neg__
        def sum(self, axis: Axes = None, keepdims: bool = False) -> "Tensor": ...
        mean = var = std = max = min = sum
        def argmax(self, axis: Axes = None) -> "Tensor": ...
        argmin = squeeze = argmax
        def reshape(self, *shape: int | Shape) -> "Tensor": ...
        transpose = reshape
        def astype(self, dtype: DTypeLike) -> "Tensor": ...
        @property
        def T(self) -> "Tensor": ...


class Constant(Tensor):
    """A number of Python as an argument of an op: no other code refers to it, so its value stays.

    >>> import tinynet as tn
    >>> Constant.of(tn.init.ones(())).is_constant
    True
    """

    __slots__ = ()
    is_constant = True


_REMEMBERED = 256
_constants: dict[tuple[float, DType], Tensor] = {}  # by number and dtype


def constant_of(value: float, dtype: DType) -> Tensor:
    """A number of Python as a Constant. It is remembered, read-only, but for 0, which is equal to -0.0."""
    constant = _constants.get((value, dtype))
    if constant is None:
        constant = Constant.of(np.array(value, dtype))
        if value:
            constant.data.flags.writeable = False  # an op may return it as its output
            if len(_constants) >= _REMEMBERED:
                _constants.clear()
            _constants[value, dtype] = constant
    return constant


def from_dlpack(data: SharesMemory, requires_grad: bool = False) -> Tensor:
    """A tensor that shares the memory of an array of another library, by the DLPack protocol.

    `data` is an array of PyTorch, JAX, CuPy, NumPy, ... on a CPU or an NVIDIA GPU. A change in one is a change in the
    other. `torch.from_dlpack(tensor)` and the like lead back.

    Errors: DeviceError for memory of another kind; DtypeError for data that are not an array, have a dtype that NumPy
    lacks, or require a gradient.

    >>> import numpy as np
    >>> theirs = np.array([1.0, 2.0])
    >>> ours = from_dlpack(theirs)
    >>> theirs[0] = 5.0
    >>> ours.numpy()
    array([5., 2.])
    """
    return Tensor(backend.from_dlpack(data), requires_grad)


def blank(shape: Shape, dtype: DTypeLike = "float32") -> Tensor:
    """A tensor of zeros that takes the memory of one number."""
    xp = backend.namespace("cpu")
    return Tensor(xp.broadcast_to(xp.zeros((), dtype), shape))


def stand_in(array: Array) -> Array:
    """An array on the host with the shape and dtype of this one: itself if it is there, else zeros without memory."""
    return array if backend.device_of(array) == "cpu" else blank(array.shape, array.dtype).data


def has_values(x: Tensor) -> bool:
    """Whether there are elements to look at without waiting: on the host, and not while shapes alone are computed.

    The arrays that an export traces are of another type.
    """
    return type(x.data) is backend.namespace("cpu").ndarray and x.size > 0 and not is_shapes_only()


def ones(shape: Shape, beside: Tensor) -> Tensor:
    """Ones with the dtype and on the device of another tensor."""
    return Tensor(backend.full(shape, 1, beside.dtype, beside.device))


def tensor_like(found: Any, array: Array) -> Tensor:
    """A tensor of what a method of an array returns: an array of its class, or a number."""
    return Tensor.of(found) if isinstance(found, type(array)) else Tensor(found)  # a traced array stays one


def namespace_of(op: str, *named: tuple[str, Tensor]) -> Any:
    """The module of array functions for tensors, given as (argument, tensor). DeviceError for two devices."""
    device = backend.common_device(tensor.data for _, tensor in named)
    return backend.namespace(device or on_two_devices(op, named))


def on_two_devices(op: str, named: Sequence[tuple[str, Tensor]]) -> Any:
    """Raise the DeviceError that names the first two tensors on different devices."""
    first, device = named[0][0], named[0][1].device
    second, other = next((name, tensor.device) for name, tensor in named if tensor.device != device)
    raise DeviceError(f"{op}: {first} is on {device}, {second} on {other}; "
                      f'call {first}.to("{other}") or model.to("{device}")')
