"""The steps of the LSTM in one launch, by the kernels of lstm_persistent.cu, for up to 128 units.

Layout    as in lstm.py

Bound by the steps, which wait for each other. N sequences fill the multiprocessors (132 on an H200) with one or two
each. A step of one sequence is 4 H² multiply-adds, H² / 32 cycles of a multiprocessor: 128 for H = 64, 512 for H = 128.
This is the limit for many sequences.

With few sequences, a chain of dependent operations is added to it. Barrier and first read take 60 cycles. The sum over
the lanes takes 60 forward, 110 backward. The gates take 70; C, tanh C and h take 90, or (7) to (13) take 40.

- W_h is not read from shared memory: at 128 bytes a cycle that takes H² / 8 cycles, four times the limit. For H = 64,
  all of it stays in registers; for H = 128, three quarters of its 256 KB, which is the size of all registers.
- A tile has 8 columns, so that each element of h that a thread reads is used 8 times.
- A step has one barrier. The input of step t+1 is loaded during step t.
- Where there are more sequences than multiprocessors, a block takes two. They share the reads of W_h from shared memory
  and the work on the gates, which a single sequence does twice.

Predicted from the instructions in the loop, before any measurement, in cycles a step (of 1/1.98 µs on an H200):

    units, sequences of a block     issued by each scheduler, forward, back     cycles, forward, back     for T = 28
    64, one                           293    265                                 440    400                 6 µs    6 µs
    64, two                           455    430                                 680    640                10 µs    9 µs
    128, one                          900    830                                1100   1050                16 µs   15 µs
    128, two                         1490   1450                                1650   1620                23 µs   23 µs

A launch adds 3 µs, and reading W_h adds 1 µs for 64 units, 2 to 4 µs for 128. For 128 units and one sequence, shared
memory is as busy as the arithmetic: 512 cycles for a quarter of W_h, 128 to 256 for h, 64 for shuffles.
"""

from typing import Any

from tinynet.backend.cuda.persistent import Plan, Size, divide
from tinynet.backend.cuda.runtime.launch import Kernels, limits

kernels = Kernels("lstm_persistent")
SIZES = (Size(64, "lstm_forward_64", "lstm_backward_64", 16, 0, 2),
         Size(128, "lstm_forward_128", "lstm_backward_128", 32, 8, 1))


def plan(y: Any) -> Plan | None:
    """The plan for the sequences of y (N,T,H) on its device; None if no kernel can take them."""
    return divide(*y.shape, limits(y), SIZES)
