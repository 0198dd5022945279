"""relu, sigmoid and tanh of ops/activation.py on a GPU, for float32.

Layout

  quantity        here                      specification
  x, y, δy, δx    (...), in C order         (...)
  cache           y: y > 0 where x > 0      x > 0 (relu), y (sigmoid, tanh)
"""

from typing import Any

from tinynet.backend.cuda.runtime.launch import Kernels, one_each

# --- Equations ------------------------------------------------------------------------------------------------------

_cuda = Kernels("activation")

# --- Schedule -------------------------------------------------------------------------------------------------------
# Bound by memory, or by the launch where arrays are small.

def _forward(xp: Any, kernel: str, x: Any) -> Any:
    if x.dtype != xp.float32:
        return NotImplemented
    y = xp.empty(x.shape, x.dtype)
    _cuda.launch(kernel, one_each(x.size), xp.ascontiguousarray(x), y, x.size)
    return y, y


def _backward(xp: Any, kernel: str, y: Any, dy: Any) -> Any:
    dx = xp.empty(y.shape, y.dtype)
    _cuda.launch(kernel, one_each(y.size), y, xp.ascontiguousarray(dy), dx, y.size)
    return dx


# --- Entry ----------------------------------------------------------------------------------------------------------

def relu(xp: Any, x: Any) -> Any:
    """See `tn.ops.relu`. float32."""
    return _forward(xp, "relu", x)


def drelu(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.relu`."""
    return _backward(xp, "drelu", cache, dy)


def sigmoid(xp: Any, x: Any) -> Any:
    """See `tn.ops.sigmoid`. float32."""
    return _forward(xp, "sigmoid", x)


def dsigmoid(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.sigmoid`."""
    return _backward(xp, "dsigmoid", cache, dy)


def tanh(xp: Any, x: Any) -> Any:
    """See `tn.ops.tanh`. float32."""
    return _forward(xp, "hyperbolic_tangent", x)


def dtanh(xp: Any, dy: Any, *, cache: Any, needs: Any) -> Any:
    """See `tn.ops.tanh`."""
    return _backward(xp, "dhyperbolic_tangent", cache, dy)
