"""Write the roofline of an LSTM step: what a machine can do at best.

A step of an LSTM with H units, D inputs and a batch of N sequences multiplies [h, x] (N,H+D) by W (H+D,4H). Count a
multiplication and an addition as two operations. Of the bytes, count those of W alone, in float32, read once.
"""


def operations(N, D, H):
    return ...


def bytes_of_W(D, H):
    return ...


def attainable(operations, bytes, peak, bandwidth):
    """Operations in a second: `peak` bounds the arithmetic, `bandwidth` the bytes in a second."""
    return ...


def batch_at_the_ridge(peak, bandwidth):
    """The batch (not rounded) from which on the arithmetic is the limit."""
    return ...
