"""Where arrays live (`devices.py`, `arrays.py`), and which code runs an op there (`overrides.py`)."""

from tinynet.backend import repeat
from tinynet.backend.arrays import (
    add_to,
    as_array,
    copy_all,
    empty,
    from_dlpack,
    full,
    is_on_device,
    sum_of,
    to_device,
    to_host,
)
from tinynet.backend.devices import (
    Device,
    common_device,
    device_name,
    device_of,
    forget_devices,
    namespace,
    out_of_memory,
)
from tinynet.backend.observer import call, incremented
from tinynet.backend.overrides import (
    current_precision,
    find_override,
    implementations,
    is_recording,
    is_reference,
    precision,
    record,
    recording,
    using,
)

__all__ = ["Device", "add_to", "as_array", "call", "common_device", "copy_all", "current_precision", "device_name",
           "device_of", "empty", "find_override", "forget_devices", "from_dlpack", "full", "implementations",
           "incremented", "is_on_device", "is_recording", "is_reference", "namespace", "out_of_memory", "precision",
           "record", "recording", "repeat", "sum_of", "to_device", "to_host", "using"]
