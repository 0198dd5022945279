"""Which code runs an op: the specification in `ops/`, or an override for one device.

The pair of functions in `ops/` defines an op; it is array code that runs on any device. A file of the same name in
`backend/cpu` or `backend/cuda` may hold a faster pair: `ops/lstm.py` has `lstm` and `dlstm`, and so has
`backend/cpu/lstm.py`. Nothing else is needed to override an op, or an update in place, which is one function.
`using("reference")` leaves the overrides out. An override returns NotImplemented for arguments that it has no fast
code for.

Overrides get one optimisation that the specification does not: the gradient of an output that was not used is None
instead of zeros. They return new arrays.
"""

import math
import re
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

from tinynet.backend.devices import FOLDERS, module_for
from tinynet.elsewhere import is_ours
from tinynet.errors import ArgumentError, DeviceError, GradientError
from tinynet.settings import Setting

Functions = tuple[Callable[..., Any], ...]


PRECISIONS = ("float32", "tf32", "bf16")
_reference = Setting("reference", False)
recording = Setting("recording", True)  # set by `tape.no_grad`
_precision = Setting("precision", "float32")
_overrides: dict[tuple[str, str, tuple[str, ...]], Any] = {}  # Functions or None, once looked up


def using(which: str) -> AbstractContextManager[None]:
    """Choose the code that runs: "reference" for the specification in `ops/`, "fast" for the overrides (the default).

    >>> import tinynet as tn
    >>> with tn.using("reference"):
    ...     y = tn.ops.relu(tn.Tensor([-1.0, 2.0]))
    """
    if which not in ("reference", "fast"):
        raise ArgumentError(f'using: which must be "reference" or "fast", got {which!r}; with tn.using("reference"):')
    return _reference.changed(which == "reference")


def precision(which: str) -> AbstractContextManager[None]:
    """Choose the precision of float32 matrix products on a GPU: "float32" (the default), "tf32" or "bf16".

    tf32 rounds the factors to 10 bits of mantissa, bf16 to 7. Both accumulate in float32, and are several times faster
    on GPUs with tensor cores. Forward and backward each take the precision in force when they run, so put the whole
    training inside. Other arithmetic, float64 and other devices are unchanged. Without cuBLAS a product in another
    precision than float32 is a DeviceError.

    >>> import tinynet as tn
    >>> with tn.precision("tf32"):
    ...     y = tn.Tensor([[1.0, 2.0]]) @ tn.Tensor([[3.0], [4.0]])
    """
    if which not in PRECISIONS:
        raise ArgumentError(f'precision: which must be "float32", "tf32" or "bf16", got {which!r}; '
                            'with tn.precision("tf32"):')
    return _precision.changed(which)


def is_reference() -> bool:
    """Whether `using("reference")` holds."""
    return _reference.get()


def current_precision() -> str:
    """The precision of matrix products in force."""
    return _precision.get()


def is_recording() -> bool:
    """Whether ops leave nodes on the tape: True, except inside `no_grad()`.

    If False, the backward is never called, and the forward of an override may return any cache.
    """
    return recording.get()


def find_override(module: str, names: tuple[str, ...], device: str) -> Functions | None:
    """The functions of these names that override those of `module` on a device; None to run the specification.

    Errors: GradientError for an override with a forward and no backward, or the other way round.
    """
    if _reference.get():
        return None
    key = device, module, names
    if key not in _overrides:  # the `lstm.py` of a user is not overridden by tinynet's
        _overrides[key] = _look_up(device.partition(":")[0], module, names) if is_ours(module) else None
    return _overrides[key]


def _look_up(device: str, module: str, names: tuple[str, ...]) -> Functions | None:
    stem = module.rpartition(".")[2]
    try:
        functions = vars(module_for(device, stem))
    except ImportError as error:  # no such file, or Numba or CuPy is missing: the specification needs NumPy alone
        if is_ours(error.name or "") and error.name != f"{FOLDERS[device]}.{stem}":
            raise  # a mistake in an override
        return None
    missing = [name for name in names if name not in functions]
    if missing and len(missing) < len(names):
        raise GradientError(f"{names[0]}: {_path(f'{FOLDERS[device]}.{stem}')} must define both {' and '.join(names)}, "
                            f"and {missing[0]} is missing; write it, or remove the other one")
    return None if missing else tuple(functions[name] for name in names)


def implementations(module: str, names: tuple[str, ...]) -> str:
    """The files that define these functions, as text: the specification, and overrides by device. Nothing is imported.

    >>> implementations("tinynet.ops.lstm", ("lstm", "dlstm"))
    'specification ops/lstm.py · cpu backend/cpu/lstm.py · gpu backend/cuda/lstm.py'
    """
    found = {"specification": _path(module)}
    for device in ("cpu", "gpu") if is_ours(module) else ():
        path = _path(f"{FOLDERS[device]}.{module.rpartition('.')[2]}")
        file = Path(__file__).parents[1] / path
        text = file.read_text(encoding="utf-8") if file.exists() else ""
        if all(re.search(rf"^(def )?{name}\b *[(=]", text, re.M) for name in names):
            found[device] = path
    return " · ".join(f"{where} {file}" for where, file in found.items())


def _path(module: str) -> str:
    return f"{module.removeprefix('tinynet.').replace('.', '/')}.py"


def record(device: str, work: Callable[[], Any], given: Sequence[Any] = (), limit: float = math.inf) -> tuple[Any, Any]:
    """Do `work` once on a device and record its kernel launches. Returns its result and a graph that does it again.

    given   arrays that `work` may read and write besides those that it makes; on a GPU it may use any
    limit   bytes of the arrays that it makes

    `graph.launch()` repeats the launches: on the same memory, into the arrays of the result. `graph.is_current()` tells
    whether it may be launched now. See `runtime/graph.py` of `backend/cpu` and `backend/cuda`.

    Errors: DeviceError if `work` does what cannot be recorded or exceeds the limit. A CPU has then done the work, a GPU
    has not.
    """
    try:
        graph = module_for(device, "runtime.graph")
    except ImportError as error:
        if device == "cpu":
            work()
        raise DeviceError(f"record: only kernels are recorded, and these need Numba ({error}); install it") from error
    return graph.record(device, work, given, limit)
