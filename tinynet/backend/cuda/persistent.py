"""How a batch of sequences is divided among blocks that take them through all steps in one launch: persistent.h."""

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, NamedTuple

from tinynet.backend.cuda.runtime.launch import Grid, Kernels, Limits

COLUMNS = 8  # of a tile with rows in shared memory
_ELEMENTS_MOST = 2**31 - 1  # of an array: the kernels count elements in an int


class Size(NamedTuple):
    """The kernels for at most `units` units. A tile has `rows` rows, of which `rows_shared` are in shared memory."""

    units: int
    forward: str
    backward: str
    rows: int
    rows_shared: int
    blocks: int  # that the registers of a multiprocessor allow


class Plan(NamedTuple):
    """The division of a batch: kernels, blocks, threads of a block, and sequences of a block at a time."""

    size: Size
    blocks: int
    threads: int
    sequences: int

    def forward(self, kernels: Kernels, *arrays: Any) -> None:
        """Launch the forward kernel on its arrays and N, T, H."""
        kernels.launch(self.size.forward, self.grid(self.size.units), *arrays, self.sequences)

    def backward(self, kernels: Kernels, *arrays: Any) -> None:
        """Launch the backward kernel on its arrays and N, T, H."""
        kernels.launch(self.size.backward, self.grid(4 * self.size.units), *arrays, self.sequences)

    def grid(self, factors: int) -> Grid:
        """The grid, with shared memory for two vectors of `factors` numbers a sequence, and for rows of the tiles."""
        tiles = 8 * self.size.rows * self.size.rows_shared * COLUMNS
        return Grid((self.blocks, 1, 1), (self.threads, 1, 1), 4 * (2 * self.sequences * factors + tiles))


@lru_cache(1 << 10)
def divide(N: int, T: int, H: int, device: Limits, sizes: Sequence[Size]) -> Plan | None:
    """The plan for N sequences of T steps of H units on a device; None if no kernel can take them."""
    if N * (T + 1) * 4 * H > _ELEMENTS_MOST:
        return None
    for size in sizes:
        if 0 < H <= size.units:
            sequences = 2 if device.multiprocessors < N else 1
            blocks = min(-(-N // sequences), device.multiprocessors * size.blocks)
            made = Plan(size, blocks, 32 * -(-H // 16), sequences)  # a warp for 16 units
            return made if made.grid(4 * size.units).shared <= device.shared else None
    return None
