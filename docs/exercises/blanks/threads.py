"""Write the numbers of a launch: which thread computes what.

A kernel computes `size` elements with blocks of `threads` threads. `row_and_column` is for a matrix with `columns`
columns in C order, whose elements are numbered row by row.
"""


def blocks(size, threads):
    return ...                      # as few as possible


def element(block, thread, threads):
    return ...                      # the number of the element of this thread


def idle(size, threads):
    return ...                      # threads of the launch that have no element


def row_and_column(at, columns):
    return ...
