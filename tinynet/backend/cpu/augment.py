"""The warp of data/augment.py in Numba, row by row: where a pixel comes from, which four lie there, and their mean.

What bounds it: the four loads, from places that follow no pattern, though near each other. No pixel is a special case:
the image is copied with one more row and column of zeros, and what lies beyond its border is looked up there, or where
the border says. No fastmath: the bits are those of the specification. It runs in the calling thread alone: those of the
pool are training meanwhile.
"""

from typing import Any

import numpy as np

from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.threads import launch

_ZERO, _REFLECT = 0, 2


def warp(xp: Any, out: Any, images: Any, matrices: Any, levels: Any, bends: Any, *splines: Any, border: int) -> None:
    """See `tinynet.data.augment.warp`."""
    launch(_warp, out, images, matrices, levels, bends, *splines, border, shards=1)


@njit
def _warp(shard: Any, shards: Any, out: Any, images: Any, matrices: Any, levels: Any, bends: Any, cell_y: Any,
          weights_y: Any, cell_x: Any, weights_x: Any, border: Any) -> None:
    N, H, W, C = images.shape
    middle_y, middle_x = np.float32((H - 1) / 2), np.float32((W - 1) / 2)
    padded = np.zeros((H + 1, W + 1, C), np.uint8)
    qy, qx, fy, fx = np.empty(W, np.float32), np.empty(W, np.float32), np.empty(W, np.float32), np.empty(W, np.float32)
    near_y, near_x = np.empty((2, W), np.int32), np.empty((2, W), np.int32)
    row = np.empty((bends.shape[1], 2), np.float32)
    for n in range(shard * N // shards, (shard + 1) * N // shards):
        for i in range(H):
            padded[i, :W] = images[n, i]
        a, b, c, d = matrices[n, 0], matrices[n, 1], matrices[n, 2], matrices[n, 3]
        from_y, from_x = middle_y + matrices[n, 4] * np.float32(H), middle_x + matrices[n, 5] * np.float32(W)
        for i in range(H):
            y = np.float32(i) - middle_y
            for j in range(W):
                x = np.float32(j) - middle_x
                qy[j] = (a * y + b * x) + from_y  # (1)
                qx[j] = (c * y + d * x) + from_x
            if row.size:
                _bend(row, qy, qx, bends[n], cell_y[i], weights_y[:, i], cell_x, weights_x, H)  # (2)
            _neighbours(near_y, fy, qy, H, border)
            _neighbours(near_x, fx, qx, W, border)
            _blend(out[n, i].reshape(-1), padded, near_y, near_x, fy, fx, levels[n, 0], levels[n, 1])  # (3)


@njit
def _neighbours(near: Any, share: Any, q: Any, size: Any, border: Any) -> None:
    """The places before and behind each q in the padded image, and the share of the one behind."""
    end = np.int32(size)
    for j in range(q.size):
        t = np.int32(q[j])
        t -= np.int32(np.float32(t) > q[j])  # towards minus infinity
        near[0, j], near[1, j], share[j] = t, t + np.int32(1), q[j] - np.float32(t)
    for side in range(2):
        places = near[side]
        if border == _ZERO:
            for j in range(places.size):
                places[j] = places[j] if np.uint32(places[j]) < np.uint32(end) else end
        else:
            if border == _REFLECT:
                for j in range(places.size):
                    place = places[j] % (2 * end)
                    places[j] = min(place, 2 * end - 1 - place)
            for j in range(places.size):
                places[j] = min(max(places[j], np.int32(0)), end - np.int32(1))


@njit
def _blend(out: Any, padded: Any, near_y: Any, near_x: Any, shares_y: Any, shares_x: Any, gain: Any, offset: Any
           ) -> None:
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
            value = (above * ey + below * fy) * gain + offset
            value = value if value > zero else zero
            value = value if value < most else most
            out[np.uint64(j * C + k)] = np.uint8(np.int32(value + half))


@njit
def _bend(row: Any, qy: Any, qx: Any, bends: Any, cell: Any, weights: Any, cell_x: Any, weights_x: Any, H: Any) -> None:
    """Add the displacements of one row of pixels to where they come from; first along the columns of points."""
    W = qy.size
    for p in range(row.shape[0]):
        for axis in range(2):
            s = bends[cell, p, axis] * weights[0]
            for k in range(1, 4):
                s += bends[cell + k, p, axis] * weights[k]
            row[p, axis] = s
    for j in range(W):
        p = cell_x[j]
        y, x = row[p, 0] * weights_x[0, j], row[p, 1] * weights_x[0, j]
        for k in range(1, 4):
            y += row[p + k, 0] * weights_x[k, j]
            x += row[p + k, 1] * weights_x[k, j]
        qy[j] += y * np.float32(H)
        qx[j] += x * np.float32(W)
