"""The steps of the GRU in one launch, by the kernels of gru_persistent.cu, for up to 128 units.

Layout    as in gru.py

Bound by the steps, as the LSTM: see lstm_persistent.py. A step of one sequence is 3 H² multiply-adds, and all of W_h
stays in registers: 192 of each thread for 128 units.
"""

from typing import Any

from tinynet.backend.cuda.persistent import Plan, Size, divide
from tinynet.backend.cuda.runtime.launch import Kernels, limits

kernels = Kernels("gru_persistent")
SIZES = (Size(64, "gru_forward_64", "gru_backward_64", 16, 0, 2),
         Size(128, "gru_forward_128", "gru_backward_128", 32, 0, 1))


def plan(y: Any) -> Plan | None:
    """The plan for the sequences of y (N,T,H) on its device; None if no kernel can take them."""
    return divide(*y.shape, limits(y), SIZES)
