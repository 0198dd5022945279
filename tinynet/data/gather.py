"""Batches from a data set that is on a device as a whole."""

from typing import Any

from tinynet.op import Update


@Update
def gather(xp: Any, batch: Any, rows: Any, index: Any) -> None:
    """Copy the indexed rows into a batch, in place. Nothing passes through the host.

      (1)  batch[i] = rows[index[i]]

    batch (B,...) and rows (N,...) are arrays of one dtype, index (B) holds integers in [0, N); a GPU does not check.

    >>> import numpy as np
    >>> batch = np.empty((2, 3), "float32")
    >>> gather(batch, np.arange(12, dtype="float32").reshape(4, 3), np.array([3, 0]))
    >>> batch
    array([[ 9., 10., 11.],
           [ 0.,  1.,  2.]], dtype=float32)
    """
    batch[...] = rows[index]  # (1)
