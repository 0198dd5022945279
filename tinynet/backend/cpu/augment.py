"""The warp of data/augment.py in Numba, with the bits of the specification.

Layout    one row of pixels at a time

  quantity            here                                              specification
  images, out         uint8 (N, H, W, C)                                the same
  an image            uint8 (H + 1, W + 1, C): the last row and         (H, W, C)
                      column are zeros, for pixels beyond the border
  q                   qy, qx (W)                                        (N, H, W)
  nearest pixels      near_y, near_x int32 (2, W): before q, behind q   y0, y0 + 1, x0, x0 + 1
  shares              fy, fx (W): of the pixel behind q                 (N, H, W)
  u                   added to q; bent (P, 2) is its sum over i         (N, H, W, 2)
"""

from typing import Any

import numpy as np

from tinynet.backend.cpu.runtime.jit import njit, noalias
from tinynet.backend.cpu.runtime.threads import launch

_ZERO, _REFLECT = 0, 2  # indices into BORDERS of data/augment.py


# --- Equations ------------------------------------------------------------------------------------------------------
# Each function takes one row of pixels. All numbers are float32; the order of operations is the specification's.

@noalias
def _place(qy: Any, qx: Any, y: Any, middle_x: Any, matrices: Any, n: Any, start_y: Any, start_x: Any) -> None:
    """The place q that each pixel of image n comes from, without u. `matrices` (N, 6) has A, row by row."""
    a, b, c, d = matrices[n, 0], matrices[n, 1], matrices[n, 2], matrices[n, 3]
    for j in range(qy.size):
        x = np.float32(j) - middle_x
        qy[j] = (a * y + b * x) + start_y  # (1)
        qx[j] = (c * y + d * x) + start_x  # (1)


@noalias
def _bend(bent: Any, qy: Any, qx: Any, bends: Any, cell: Any, weights: Any, cell_x: Any, weights_x: Any, H: Any
          ) -> None:
    """Add side u(p) to q: first the sums over i, which all pixels of the row share, then those over j."""
    W = qy.size
    for p in range(bent.shape[0]):
        for axis in range(2):
            s = bends[cell, p, axis] * weights[0]  # (2)
            for k in range(1, 4):
                s += bends[cell + k, p, axis] * weights[k]  # (2)
            bent[p, axis] = s
    for j in range(W):
        p = cell_x[j]
        u_y, u_x = bent[p, 0] * weights_x[0, j], bent[p, 1] * weights_x[0, j]  # (2)
        for k in range(1, 4):
            u_y += bent[p + k, 0] * weights_x[k, j]  # (2)
            u_x += bent[p + k, 1] * weights_x[k, j]  # (2)
        qy[j] += u_y * np.float32(H)  # (1)
        qx[j] += u_x * np.float32(W)  # (1)


@noalias
def _neighbours(near: Any, share: Any, q: Any, size: Any, border: Any) -> None:
    """The indices before and behind each q in the image with its zeros, and the share of the one behind."""
    end = np.int32(size)
    for j in range(q.size):
        t = np.int32(q[j])
        t -= np.int32(np.float32(t) > q[j])  # towards minus infinity
        near[0, j], near[1, j], share[j] = t, t + np.int32(1), q[j] - np.float32(t)
    for side in range(2):
        indices = near[side]
        if border == _ZERO:
            for j in range(indices.size):
                indices[j] = indices[j] if np.uint32(indices[j]) < np.uint32(end) else end
        else:
            if border == _REFLECT:
                for j in range(indices.size):
                    index = indices[j] % (2 * end)
                    indices[j] = min(index, 2 * end - 1 - index)
            for j in range(indices.size):
                indices[j] = min(max(indices[j], np.int32(0)), end - np.int32(1))


@noalias
def _blend(out: Any, padded: Any, near_y: Any, near_x: Any, shares_y: Any, shares_x: Any, gain: Any, offset: Any
           ) -> None:
    """The bilinear mean of the four nearest pixels; `offset` has 128 (1 − gain) in it."""
    zero, one, most, half = np.float32(0), np.float32(1), np.float32(255), np.float32(0.5)
    C, line, pixels = padded.shape[2], padded.shape[1] * padded.shape[2], padded.reshape(-1)
    top, bottom, left, right = near_y[0], near_y[1], near_x[0], near_x[1]
    for j in range(shares_y.size):
        fy, fx = shares_y[j], shares_x[j]
        ey, ex = one - fy, one - fx
        t, b, l, r = np.int64(top[j]) * line, np.int64(bottom[j]) * line, np.int64(left[j]) * C, np.int64(right[j]) * C
        for k in range(C):  # unsigned: then Numba knows that no index counts from the end
            above = np.float32(pixels[np.uint64(t + l + k)]) * ex + np.float32(pixels[np.uint64(t + r + k)]) * fx
            below = np.float32(pixels[np.uint64(b + l + k)]) * ex + np.float32(pixels[np.uint64(b + r + k)]) * fx
            value = (above * ey + below * fy) * gain + offset  # (3)
            value = value if value > zero else zero
            value = value if value < most else most
            out[np.uint64(j * C + k)] = np.uint8(np.int32(value + half))


# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by the loads of four pixels, from addresses without a pattern, but near each other. No pixel is a special case:
# one beyond the border is read from the zeros, or from the index that the border gives. The calling thread, which
# prefetches batches, does all of it: the threads of the pool train meanwhile.

@njit
def _warp(shard: Any, shards: Any, out: Any, images: Any, matrices: Any, levels: Any, bends: Any, cell_y: Any,
          weights_y: Any, cell_x: Any, weights_x: Any, border: Any) -> None:
    N, H, W, C = images.shape
    middle_y, middle_x = np.float32((H - 1) / 2), np.float32((W - 1) / 2)
    padded = np.zeros((H + 1, W + 1, C), np.uint8)
    qy, qx, fy, fx = np.empty(W, np.float32), np.empty(W, np.float32), np.empty(W, np.float32), np.empty(W, np.float32)
    near_y, near_x = np.empty((2, W), np.int32), np.empty((2, W), np.int32)
    bent = np.empty((bends.shape[1], 2), np.float32)
    for n in range(shard * N // shards, (shard + 1) * N // shards):
        for i in range(H):
            padded[i, :W] = images[n, i]
        start_y, start_x = middle_y + matrices[n, 4] * np.float32(H), middle_x + matrices[n, 5] * np.float32(W)  # (1)
        for i in range(H):
            _place(qy, qx, np.float32(i) - middle_y, middle_x, matrices, n, start_y, start_x)
            if bent.size:
                _bend(bent, qy, qx, bends[n], cell_y[i], weights_y[:, i], cell_x, weights_x, H)
            _neighbours(near_y, fy, qy, H, border)
            _neighbours(near_x, fx, qx, W, border)
            _blend(out[n, i].reshape(-1), padded, near_y, near_x, fy, fx, levels[n, 0], levels[n, 1])


# --- Entry ----------------------------------------------------------------------------------------------------------

def warp(xp: Any, out: Any, images: Any, matrices: Any, levels: Any, bends: Any, *splines: Any, border: int) -> None:
    """See `tinynet.data.augment.warp`."""
    launch(_warp, out, images, matrices, levels, bends, *splines, border, shards=1)
