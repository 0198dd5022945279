"""Write McNemar's exact test for two classifiers on the same samples.

`labels` are the true classes, `first` and `second` the predictions of the two classifiers: arrays of the same length.
Count the samples that only the first or only the second one gets right. If both are equally good, each of these is a
fair coin toss. Return the two counts, and the two-sided probability of a split at least as uneven.
"""

import math


def mcnemar(labels, first, second):
    only_first = ...
    only_second = ...
    n = only_first + only_second
    fewer = min(only_first, only_second)
    p = ...                     # math.comb(n, k) counts the ways to choose k of n
    return only_first, only_second, min(p, 1.0)
