"""The time loop of the LSTM in one launch, by the kernels of lstm_persistent.cu, for up to 128 units.

What bounds it: the steps of a sequence wait for each other, and N sequences fill the multiprocessors (132 on an H200)
with one or two each. A step of one sequence is 4 H² multiply-adds, which one multiprocessor does in H² / 32 cycles: 128
for H = 64, 512 for H = 128. That is the floor for many sequences. For few of them a chain comes on top, in which each
link waits for the one before: barrier and first read 60 cycles; adding the lanes' sums up, 60 forward, 110 back; the
gates 70; C, tanh C and h 90, or (7) to (13) 40. W_h must not be read from shared memory: at 128 bytes a cycle that
takes H² / 8 cycles, four times the floor.

The tricks: all of W_h stays in registers for H = 64, and three quarters of it for H = 128, which has 256 KB, as much as
there are registers; a thread's tile has 8 columns, so that each number of h that it reads is used 8 times; one barrier
a step; what step t+1 needs of the input is on its way during step t; two sequences in a block, where there are more
sequences than multiprocessors, read the rest of W_h once, and share the work on the gates, which is done twice else.

Predicted, before any measurement, in cycles a step (of 1/1.98 µs on an H200), from the instructions in the loop:

    units, sequences of a block     issued by each scheduler, forward, back     cycles, forward, back     for T = 28
    64, one                           293    265                                 440    400                 6 µs    6 µs
    64, two                           455    430                                 680    640                10 µs    9 µs
    128, one                          900    830                                1100   1050                16 µs   15 µs
    128, two                         1490   1450                                1650   1620                23 µs   23 µs

and once for a launch 3 µs, and reading W_h, 1 µs for 64 units, 2 to 4 µs for 128. For 128 units and one sequence,
shared memory is as busy as the arithmetic: 512 cycles for a quarter of W_h, 128 to 256 for h, 64 for shuffles.
"""

from typing import Any, NamedTuple

from tinynet.backend.cuda.runtime.launch import Grid, Kernels, limits

_cuda = Kernels("lstm_persistent")


class Size(NamedTuple):
    """The kernels for at most `units` units: as in the .cu file, tiles have rows, some of them in shared memory."""

    units: int
    forward: str
    backward: str
    rows: int
    rows_shared: int
    blocks: int  # that a multiprocessor has registers for


COLUMNS = 8  # of a tile
SIZES = (Size(64, "lstm_forward_64", "lstm_backward_64", 16, 0, 2),
         Size(128, "lstm_forward_128", "lstm_backward_128", 32, 8, 1))
_ELEMENTS_MOST = 2**31 - 1  # of an array: the kernels count them in an int


class Plan(NamedTuple):
    """How the sequences of a batch are shared out."""

    size: Size
    blocks: int
    threads: int
    sequences: int  # in a block at a time

    def forward(self, *arrays: Any) -> None:
        """lstm_forward of lstm_persistent.cu, its arrays and N, T, H."""
        _cuda.launch(self.size.forward, self.grid(self.size.units), *arrays, self.sequences)

    def backward(self, *arrays: Any) -> None:
        """lstm_backward of lstm_persistent.cu, its arrays and N, T, H."""
        _cuda.launch(self.size.backward, self.grid(4 * self.size.units), *arrays, self.sequences)

    def grid(self, factors: int) -> Grid:
        """With room for two vectors of each sequence, and for what the registers do not hold of the tiles."""
        tiles = 8 * self.size.rows * self.size.rows_shared * COLUMNS
        return Grid((self.blocks, 1, 1), (self.threads, 1, 1), 4 * (2 * self.sequences * factors + tiles))


def plan(y: Any) -> Plan | None:
    """For the sequences of y (N,T,H) on its device; None where there are no kernels for them."""
    (N, T, H), device = y.shape, limits(y)
    if N * (T + 1) * 4 * H > _ELEMENTS_MOST:
        return None
    for size in SIZES:
        if 0 < H <= size.units:
            sequences = 2 if device.multiprocessors < N else 1
            blocks = min(-(-N // sequences), device.multiprocessors * size.blocks)
            made = Plan(size, blocks, 32 * -(-H // 16), sequences)  # a warp for 16 units
            return made if made.grid(4 * size.units).shared <= device.shared else None
    return None
