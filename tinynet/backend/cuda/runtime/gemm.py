"""Matrix products on a device, by cuBLAS in the precision of `tn.precision`, or by the arrays' own `@`.

cuBLAS stores matrices in column-major order, and our arrays are row-major. The memory of a row-major X (r,c) is that of
a column-major Xᵀ (c,r), so no copy and no transpose is needed:

    C = A B  (row-major)    is    Cᵀ = Bᵀ Aᵀ  (column-major)

cuBLAS gets B as its first factor, A as its second, and writes C. The leading dimension is the distance between two
rows; in a view it is larger than a row. The transpose X.T is the memory of X with the flag for transposing negated. A
view with gaps within its rows (every second column) is copied.
"""

from typing import Any, NamedTuple

from tinynet import backend
from tinynet.backend.cuda.runtime import cublas
from tinynet.backend.cuda.runtime.cublas import Matrix
from tinynet.errors import ArgumentError, ShapeError

_KNOWN = 1 << 10  # forms of products that are remembered


def matmul(A: Any, B: Any, *, transpose_a: bool = False, transpose_b: bool = False, out: Any = None,
           accumulate: bool = False) -> Any:
    """The product A B of matrices (M,K) and (K,N), of two batches (...,M,K) and (...,K,N), or of a batch and a matrix.

    transpose_a, transpose_b   use Aᵀ of an A (...,K,M), or Bᵀ of a B (...,N,K)
    out                        an array (...,M,N) for the product; any view that does not overlap A or B
    accumulate                 add the product to `out`

    Returns `out`, or a new array. Errors: ShapeError for sizes that do not match; ArgumentError for `accumulate`
    without `out`; DeviceError for a precision other than float32 on a GPU without cuBLAS.

    >>> import numpy as np
    >>> A, B = np.ones((3, 2)), np.ones((3, 4))
    >>> matmul(A, B, transpose_a=True)
    array([[3., 3., 3., 3.],
           [3., 3., 3., 3.]])
    """
    binding = cublas.load(backend.namespace(backend.device_of(A)))
    if binding is None:
        return _checked(None, A, B, transpose_a, transpose_b, out, accumulate, None)
    form = (type(B), A.shape, A.strides, A.dtype, B.shape, B.strides, B.dtype, transpose_a, transpose_b, accumulate,
            backend.current_precision(), None if out is None else (type(out), out.shape, out.strides, out.dtype))
    known = binding.known.get(form)
    if known is None:
        return _checked(binding, A, B, transpose_a, transpose_b, out, accumulate, form)
    if out is None:
        out = binding.cupy.empty(known.shape, A.dtype)
    first, second = (A, B) if known.is_swapped else (B, A)
    known.multiply(first.data.ptr, second.data.ptr, out.data.ptr)
    return out


class _Known(NamedTuple):
    """A product of arrays whose form was checked: the shape of the result, and the function of the addresses.

    The function takes the address of B first or, if `is_swapped`, that of A.
    """

    shape: tuple[int, ...]
    is_swapped: bool
    multiply: cublas.Product


def _checked(binding: Any, A: Any, B: Any, transpose_a: bool, transpose_b: bool, out: Any, accumulate: bool,
             form: Any) -> Any:
    """The product of arrays of a form that is not known yet."""
    shape = _shape(A, B, transpose_a, transpose_b, out)
    if out is None and accumulate:
        raise ArgumentError("matmul: accumulate needs the array to add to, and got none; out=y?")
    if binding is None or not binding.takes(A.dtype, B.dtype, backend.current_precision()):
        return _by_the_arrays(A, B, transpose_a, transpose_b, out, accumulate)
    xp = binding.cupy
    written = out if out is not None and out.dtype == A.dtype and _is_writable(out) else xp.empty(shape, A.dtype)
    adds = accumulate and written is out
    if written.size and shape[-1] and A.size and B.size:
        known = _by_cublas(binding, A, B, transpose_a, transpose_b, written, adds)
        if known is not None and (out is None or written is out):
            if len(binding.known) >= _KNOWN:
                binding.known.clear()
            binding.known[form] = known._replace(shape=shape)
    elif not adds:
        written[...] = 0  # K = 0: an empty sum
    if out is None or written is out:
        return written
    return _put(written, out, accumulate)


def _shape(A: Any, B: Any, transpose_a: bool, transpose_b: bool, out: Any) -> tuple[int, ...]:
    """The shape of the product."""
    if A.ndim < 2 or B.ndim < 2:
        raise ShapeError(f"matmul: A and B must have at least 2 axes, got {A.shape} and {B.shape}; "
                         "x[None] makes a row of a vector")
    M, K = A.shape[:-3:-1] if transpose_a else A.shape[-2:]
    L, N = B.shape[:-3:-1] if transpose_b else B.shape[-2:]
    batch = A.shape[:-2] or B.shape[:-2]
    if K != L or any(X.shape[:-2] not in ((), batch) for X in (A, B)):
        raise ShapeError(f"matmul: A must be (...,M,K) and B (...,K,N) after transposing, got {A.shape}"
                         f"{' transposed' * transpose_a} and {B.shape}{' transposed' * transpose_b}; "
                         "transpose_a or transpose_b the other way?")
    shape = (*batch, M, N)
    if out is not None and tuple(out.shape) != shape:
        raise ShapeError(f"matmul: out must be {shape}, got {tuple(out.shape)}; xp.empty({shape}, A.dtype)?")
    return shape


def _by_the_arrays(A: Any, B: Any, transpose_a: bool, transpose_b: bool, out: Any, accumulate: bool) -> Any:
    A, B = map(_without_gaps, (A, B))  # NumPy's product of a view with gaps has other bits
    product = (A.swapaxes(-1, -2) if transpose_a else A) @ (B.swapaxes(-1, -2) if transpose_b else B)
    return product if out is None else _put(product, out, accumulate)


def _put(product: Any, out: Any, accumulate: bool) -> Any:
    if accumulate:
        out += product
    else:
        out[...] = product
    return out


def _by_cublas(binding: Any, A: Any, B: Any, transpose_a: bool, transpose_b: bool, C: Any,
               accumulate: bool) -> _Known | None:
    """Multiply. Returns what later products of this form may use; None if an array had to be copied."""
    given = A.data.ptr, B.data.ptr, C.data.ptr
    if A.ndim > 2 and B.ndim == 2 and not transpose_a:  # one product, of A (...M,K)
        A, C = A.reshape(-1, A.shape[-1]), C.reshape(-1, C.shape[-1])
    batch = None
    if C.ndim > 2:
        A, B, C = (X if X.ndim <= 3 else X.reshape(-1, *X.shape[-2:]) for X in (A, B, C))
        batch = C.shape[0]
    is_swapped = not _is_row_major(C)
    if is_swapped:  # then Cᵀ = Bᵀ Aᵀ is row-major
        A, B, C = B, A, C.swapaxes(-1, -2)
        transpose_a, transpose_b = not transpose_b, not transpose_a
    M, N = C.shape[-2:]
    K = A.shape[-2 if transpose_a else -1]
    first, second, written = _matrix(B, transpose_b), _matrix(A, transpose_a), _matrix(C, False)
    if not cublas.fits(M, N, K, batch or 0, first.leading, second.leading, written.leading):
        raise ArgumentError(f"matmul: cuBLAS counts to 2**31 - 1, got a product of {(M, K)} and {(K, N)}; use smaller "
                            "batches")
    multiply = binding.product(first, second, written, (N, M, K), C.dtype, backend.current_precision(), accumulate,
                               batch)
    multiply(first.pointer, second.pointer, written.pointer)
    used = second.pointer, first.pointer
    is_copied = (used[::-1] if is_swapped else used) != given[:2] or written.pointer != given[2]
    return None if is_copied else _Known((), is_swapped, multiply)


def _matrix(X: Any, transposed: bool) -> Matrix:
    """A matrix (r,c), or a batch (n,r,c), in the form that cuBLAS takes; copied if its rows have gaps."""
    X = _without_gaps(X)
    if not _is_row_major(X):
        X, transposed = X.swapaxes(-1, -2), not transposed
    rows, columns = X.shape[-2:]
    leading = X.strides[-2] // X.itemsize if rows > 1 else columns
    stride = X.strides[0] // X.itemsize if X.ndim > 2 else 0
    return Matrix(X, X.data.ptr, leading, transposed, stride)


def _without_gaps(X: Any) -> Any:
    """The same matrices, copied unless they or their transposes are row-major."""
    return X if _is_row_major(X) or _is_row_major(X.swapaxes(-1, -2)) else X.copy(order="C")


def _is_row_major(X: Any) -> bool:
    """Whether rows have no gaps and do not overlap. The stride of an axis of size 1 does not matter."""
    rows, columns = X.shape[-2:]
    row, column = X.strides[-2] // X.itemsize, X.strides[-1] // X.itemsize
    return (columns == 1 or column == 1) and (rows == 1 or row >= columns) and X.strides[0] >= 0


def _is_writable(C: Any) -> bool:
    """Whether cuBLAS can write into C: a row-major or column-major matrix, or a batch without gaps."""
    return C.flags.c_contiguous if C.ndim > 2 else _is_row_major(C) or _is_row_major(C.T)
