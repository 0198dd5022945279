"""Write what a threshold does, and choose one.

`scores` are probabilities of class 1, `labels` are 0 or 1. An alarm is a score of at least the threshold. `choose`
returns the largest of the scores for which, as a threshold, at least the share `found` of class 1 raises an alarm.
"""

import numpy as np


def sensitivity(labels, scores, threshold):
    return ...          # the share of class 1 that raises an alarm


def specificity(labels, scores, threshold):
    return ...          # the share of class 0 that raises no alarm


def choose(labels, scores, found):
    return ...
