"""The operations that the products of a model need: the floor of its time is their number over the machine's peak.

Counted are the products alone, two operations for a multiplication and an addition. Everything else that a layer
does (activations, dropout, normalisation, Adam) is a few operations an element, and not counted.
"""

import math
from typing import Any

from benchmarks.cases import Case, output_shapes

WITH_PARAMETERS = ("BatchNorm", "LSTM", "Conv1D", "Conv2D", "Dense")


def layer_flops(kind: str, options: dict[str, Any], x: tuple[int, ...], y: tuple[int, ...]) -> int:
    """Of the forward of one layer, for an input and an output of these shapes."""
    if kind == "LSTM":
        return 2 * x[0] * x[1] * (options["units"] + options["inputs"]) * 4 * options["units"]
    if kind == "Dense":
        return 2 * math.prod(x[:-1]) * options["inputs"] * options["units"]
    if kind == "Conv1D":
        return 2 * math.prod(y) * options["width"] * options["inputs"]
    if kind == "Conv2D":
        return 2 * math.prod(y) * options["size"] ** 2 * options["inputs"]
    return 0


def flops(case: Case) -> dict[str, int]:
    """By op: "lstm" forward, "dlstm" backward, ... Backward computes the gradients of weights and input, each as much
    as the forward; that of the input only where parameters stand before the layer."""
    totals: dict[str, int] = {}
    x, trained_before = case.shape, case.objective == "product"
    for (kind, options), y in zip(case.layers, output_shapes(case), strict=True):
        count = layer_flops(kind, options, x, y)
        if count:
            op = kind.lower()
            totals[op] = totals.get(op, 0) + count
            if case.work in ("step", "backward"):
                totals[f"d{op}"] = totals.get(f"d{op}", 0) + count * (1 + trained_before)
        trained_before = trained_before or kind in WITH_PARAMETERS
        x = y
    return totals
