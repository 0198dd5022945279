"""Gradients that can be trusted, for the lab: an edited backward pass in three checks, and the V-curve."""

import inspect
import textwrap
from typing import Any

import numpy as np

from tinynet import ops
from tinynet.gradcheck import gradcheck
from tinynet.random import normal, stream
from tinynet.tensor import Tensor
from tinynet.types import Array

TORCH_TOLERANCE = 1e-3  # relative, the default of torch.autograd.gradcheck


def source() -> dict[str, Any]:
    """The source of the LSTM's backward pass."""
    lines = textwrap.dedent(inspect.getsource(ops.lstm.backward)).split("\n")
    return {"source": "\n".join(line for line in lines if not line.startswith("@")).rstrip()}


def break_it(text: str) -> dict[str, Any]:
    """Check an edited backward pass of the LSTM in three ways, input by input.

    Returns verdicts, by checker and input [right, error]: the complex step and central differences, both of
    `gradcheck`, and the same differences with the tolerance of PyTorch's checker. Or an error, in one sentence.
    """
    op = ops.lstm
    names: dict[str, Any] = dict(vars(inspect.getmodule(op.forward)))
    key, shapes = (0, stream("lab")), {"x": (2, 4, 3), "h0": (2, 4), "c0": (2, 4), "W": (7, 16), "b": (16,)}
    arrays = {name: normal(shape, key, step=step).astype(float)
              for step, (name, shape) in enumerate(shapes.items())}
    true, found = op.backward, {}
    del names["dlstm"]
    try:
        exec(compile(text, "dlstm", "exec"), names)
        op.backward = names["dlstm"]
        for checker, mode, tolerance in (("complex step", "complex", None), ("differences", "central", None),
                                         ("PyTorch's tolerance", "central", TORCH_TOLERANCE)):
            found[checker] = {name: _checked(arrays, name, mode, tolerance) for name in arrays}
    except SyntaxError as error:
        return {"error": f"line {error.lineno}: {error.msg}"}
    except Exception as error:
        return {"error": f"{type(error).__name__}: {error}"}
    finally:
        op.backward = true
    return {"verdicts": found}


def _checked(arrays: dict[str, Array], name: str, mode: str, tolerance: float | None) -> list[Any]:
    def function(value: Tensor) -> Any:
        return ops.lstm(*[value if other == name else Tensor(array) for other, array in arrays.items()])
    report = gradcheck(function, arrays[name], mode=mode, tol=tolerance)
    return [bool(report.ok), float(report.error)]


def v_curve() -> dict[str, Any]:
    """The error of a derivative against the step s, for the gradient of a small LSTM by W in one direction.

      rows   log10 s, and the relative errors of forward differences, central differences and the complex step
    """
    key = 0, stream("lab")
    x, W, b, along = (normal(shape, key, step=step).astype(float)
                      for step, shape in enumerate([(1, 5, 3), (7, 16), (16,), (7, 16)]))

    def loss(weights: Array) -> Any:
        return ops.lstm.forward(np, x.astype(weights.dtype), None, None, weights, b)[0][0].sum()

    (y, h, C), cache = ops.lstm.forward(np, x, None, None, W, b)
    dW = ops.lstm.backward(np, np.ones_like(y), 0 * h, 0 * C, cache=cache, needs=(True,) * 7)[3]
    true, rows = float((dW * along).sum()), []
    for exponent in range(-20, 0):
        s = 10.0**exponent
        found = ((loss(W + s * along) - loss(W)) / s, (loss(W + s * along) - loss(W - s * along)) / (2 * s),
                 loss(W + 1j * s * along).imag / s)
        rows.append([exponent, *(max(abs(float(one) - true) / abs(true), 1e-17) for one in found)])
    return {"rows": rows}
