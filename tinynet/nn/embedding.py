"""A vector for each symbol of a vocabulary."""

from tinynet import init, ops
from tinynet.errors import ArgumentError, DtypeError
from tinynet.nn.masks import real_steps
from tinynet.nn.module import Module
from tinynet.nn.parameter import Parameter
from tinynet.tensor import Tensor
from tinynet.tracing import is_observed, is_shapes_only
from tinynet.types import ArrayLike


class Embedding(Module):
    """A vector of `features` numbers for each of `vocabulary` symbols: row i of W for the symbol i.

    Shapes: x (...) of integers in [0, vocabulary) -> (..., features). Parameter: W (vocabulary, features), Glorot
    uniform. The math: `tn.ops.getitem`; on a GPU its gradient adds repeated symbols in no fixed order.

    padding_index   a symbol whose vector is zero and is not trained

    With a mask, what stands in masked steps is not looked up. Errors: DtypeError for x that are not integers;
    ArgumentError, on the CPU, for symbols out of range.

    >>> import tinynet as tn
    >>> tn.nn.Embedding(10, 4)(tn.Tensor([[1, 2, 2], [9, 0, 1]])).shape
    (2, 3, 4)
    """

    def __init__(self, vocabulary: int, features: int, padding_index: int | None = None) -> None:
        if padding_index is not None and not 0 <= padding_index < vocabulary:
            raise ArgumentError(f"Embedding: padding_index must be in [0, {vocabulary}), got {padding_index}; "
                                "0 is usual")
        self.vocabulary, self.features, self.padding_index = vocabulary, features, padding_index
        self.W = Parameter(init.glorot_uniform((vocabulary, features)))

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        if x.dtype.kind not in "iu":
            if not is_shapes_only():
                raise DtypeError(f'Embedding: x must hold integers, got {x.dtype}; x.astype("int64")?')
            x = x.astype("int64")
        if mask is not None:
            x = real_steps(x, mask)
        if x.device == "cpu" and not is_observed() and x.size:
            low, high = int(x.data.min()), int(x.data.max())
            if low < 0 or high >= self.vocabulary:
                raise ArgumentError(f"Embedding: x must be in [0, vocabulary) = [0, {self.vocabulary}), got values "
                                    f"from {low} to {high}; does the vocabulary lack a symbol?")
        y = self.W[x]
        if self.padding_index is not None:
            y = ops.where(ops.expand_dims(x == self.padding_index, -1), 0.0, y)
        return y if mask is None else real_steps(y, mask)
