"""Arrays on any device: made from user data, and copied from one device to another."""

from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from tinynet.backend.devices import device_name, device_of, module_for, namespace, out_of_memory, type_of
from tinynet.backend.observer import call
from tinynet.errors import DeviceError, DtypeError
from tinynet.plain import plain_array
from tinynet.types import Array, ArrayLike, DTypeLike, Shape, SharesMemory

_DLPACK_CPU, _DLPACK_CUDA = 1, 2  # numbers of the DLPack protocol


def as_array(data: ArrayLike, dtype: DTypeLike | None = None, device: str | None = None) -> Array:
    """`data` as a plain array, see `tinynet/plain.py`. An array on the device is shared, not copied; Python floats
    become float32.

    An array of another library on a GPU is shared, too, if it has a `__cuda_array_interface__`.
    """
    if isinstance(data, bool | int | float) and device not in (None, "cpu"):  # made on the device, without a copy
        return namespace(device).full((), data, dtype or as_array(data).dtype)
    array: Any = data
    if type(data) is not np.ndarray and not is_on_device(data):
        array = _from_elsewhere(data)
        if not hasattr(data, "__array__") and dtype is None and array.dtype == np.float64:
            dtype = np.float32
    if not array.dtype.isnative:
        array = array.astype(array.dtype.newbyteorder("="))
    if dtype is not None and array.dtype != dtype:
        array = array.astype(dtype)
    return array if device is None or device == device_of(array) else to_device(array, device)


def from_dlpack(data: SharesMemory) -> Array:
    """An array that shares the memory of an array of another library, by the DLPack protocol."""
    if not hasattr(data, "__dlpack_device__"):
        raise DtypeError("from_dlpack: data must be an array that can be shared by the DLPack protocol, got "
                         f"{type(data).__name__}; tn.Tensor(data)?")
    kind, index = data.__dlpack_device__()
    try:
        if kind == _DLPACK_CPU:
            return np.from_dlpack(data)
        if kind == _DLPACK_CUDA:
            return namespace(device_name(f"gpu:{index}")).from_dlpack(data)
    except (BufferError, RuntimeError) as error:
        if isinstance(error, DeviceError):
            raise
        raise DtypeError(f"from_dlpack: data must be numbers that NumPy knows, in memory that may be shared, got "
                         f"{getattr(data, 'dtype', type(data).__name__)} ({error}); convert or detach it first, in the "
                         "library it is from") from error
    raise DeviceError(f"from_dlpack: the array must be on a CPU or an NVIDIA GPU (DLPack's device types {_DLPACK_CPU} "
                      f"and {_DLPACK_CUDA}), got type {int(kind)}; move it to the CPU first, in the library it is from")


def to_host(array: Array) -> Array:
    """A NumPy array of the same values. A NumPy array is returned as it is."""
    return array if isinstance(array, np.ndarray) else array.get()


def to_device(array: Array, device: str) -> Array:
    """A copy of the array on `device`; an array that is there already is returned as it is.

    Errors: DeviceError, with the remedy, if this machine or installation lacks the device, or its memory is full.
    """
    device, here = device_name(device), device_of(array)
    if device == here:
        return array
    if device == "cpu":
        return to_host(array)
    xp = namespace(device)
    if not isinstance(array, xp.ndarray):  # from another library: through the host
        array = to_host(array)
    try:
        return xp.asarray(array)
    except MemoryError as error:
        raise out_of_memory("to", device, error) from None


def copy_all(targets: Sequence[Any], sources: Sequence[Any]) -> None:
    """Copy arrays of one device into others, of the same shapes: on a GPU in one launch for many of them."""
    device = device_of(targets[0]) if targets else "cpu"
    if device != "cpu":
        targets, sources = module_for(device, "copies").copy(targets, sources)
    for target, source in zip(targets, sources, strict=True):
        if device == "cpu":
            call(np.copyto, target, source)
        else:
            target[...] = source


def empty(shape: Shape, dtype: DTypeLike, device: str) -> Array:
    """A new array with arbitrary elements."""
    return _memory().empty(shape, dtype) if device == "cpu" else namespace(device).empty(shape, dtype)


def full(shape: Shape, value: float, dtype: DTypeLike, device: str) -> Array:
    """A new array whose elements are all `value`."""
    if device != "cpu":
        return namespace(device).full(shape, value, dtype)
    array = empty(shape, dtype, device)
    call(np.ndarray.fill, array, value)
    return array


def sum_of(a: Array, b: Array) -> Array:
    """The sum of two arrays of one shape, in a new array."""
    if device_of(a) != "cpu":
        return a + b
    total = empty(a.shape, a.dtype if a.dtype == b.dtype else np.result_type(a, b), "cpu")
    call(np.add, a, b, total)
    return total


def add_to(total: Array, array: Array) -> Array:
    """Add an array to another one in place, and return that."""
    if device_of(total) == "cpu":
        call(np.add, total, array, total)
    else:
        total += array
    return total


@cache
def _memory() -> Any:
    """The module with the memory of a CPU's arrays."""
    return module_for("cpu", "runtime.memory")


def is_on_device(data: object) -> bool:
    """Whether it is an array of CuPy's or of the emulated GPU, and not of the CPU or of another library."""
    return isinstance(data, (type_of("cupy", "ndarray"), type_of("tinynet.backend.cuda.runtime.fake_cupy", "Array")))


def _from_elsewhere(data: Any) -> Array:
    if hasattr(data, "__cuda_array_interface__"):
        return namespace("gpu").asarray(data)
    if isinstance(data, list | tuple) and _require_gradients(data):
        raise DtypeError("Tensor: data must not be a list of tensors that require gradients, which would be lost; "
                         "tn.ops.stack(tensors)?")
    return plain_array(data)


def _require_gradients(data: Any) -> bool:
    """Whether it requires a gradient, or is a list or tuple with such elements at any depth."""
    if not isinstance(data, list | tuple):
        return bool(getattr(data, "requires_grad", False))
    kinds = {*map(type, data)}  # few, and found in less time than values are looked at
    has_any = any(issubclass(kind, list | tuple) or hasattr(kind, "requires_grad") for kind in kinds)
    return has_any and any(map(_require_gradients, data))
