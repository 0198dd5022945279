"""Where arrays live (`devices.py`, `arrays.py`), and which code runs an op there (`overrides.py`)."""

from tinynet.backend.arrays import as_array, from_dlpack, to_device, to_host
from tinynet.backend.devices import (
    Device,
    common_device,
    device_name,
    device_of,
    forget_devices,
    namespace,
    out_of_memory,
)
from tinynet.backend.overrides import (
    Home,
    current_precision,
    find_override,
    home,
    implementations,
    is_recording,
    is_reference,
    precision,
    record,
    recording,
    room,
    using,
)

__all__ = ["Device", "Home", "as_array", "common_device", "current_precision", "device_name", "device_of",
           "find_override", "forget_devices", "from_dlpack", "home", "implementations", "is_recording", "is_reference",
           "namespace", "out_of_memory", "precision", "record", "recording", "room", "to_device", "to_host", "using"]
