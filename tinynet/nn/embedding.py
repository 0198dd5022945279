"""A vector for each symbol of a vocabulary."""

from tinynet import init, ops
from tinynet.errors import ArgumentError, DtypeError
from tinynet.nn.masks import as_tensor, real_steps
from tinynet.nn.module import Module
from tinynet.nn.parameter import Parameter
from tinynet.plain import sizes, whole
from tinynet.tensor import Tensor, has_values
from tinynet.tracing import is_shapes_only
from tinynet.types import ArrayLike


class Embedding(Module):
    """A vector of `features` numbers for each of `vocabulary` symbols: row i of W for the symbol i.

    Shapes: x (...) of integers in [0, vocabulary) -> (..., features). Parameter: W (vocabulary, features), Glorot
    uniform. The vector of `padding_index` is zero and is not trained. The math: `tn.ops.getitem`; on a GPU its gradient
    adds repeated symbols in no fixed order.

    Errors: DtypeError for x that are not integers; ArgumentError, on the CPU, for symbols out of range.

    >>> import tinynet as tn
    >>> tn.nn.Embedding(10, 4)(tn.Tensor([[1, 2, 2], [9, 0, 1]])).shape
    (2, 3, 4)
    """

    def __init__(self, vocabulary: int, features: int, padding_index: int | None = None) -> None:
        vocabulary, features = sizes("Embedding", vocabulary=vocabulary, features=features)
        if padding_index is not None:
            padding_index = whole("Embedding", "padding_index", padding_index, 0, vocabulary - 1,
                                  usual="padding_index=0")
        self.vocabulary, self.features, self.padding_index = vocabulary, features, padding_index
        self.W = Parameter(init.glorot_uniform((vocabulary, features)))

    def forward(self, x: Tensor, mask: ArrayLike | None = None) -> Tensor:
        x = as_tensor(x)
        if x.dtype.kind not in "iu":
            if not is_shapes_only():
                raise DtypeError(f'Embedding: x must hold integers, got {x.dtype}; x.astype("int64")?')
            x = x.astype("int64")
        x = real_steps(x, mask)
        if has_values(x) and ((low := int(x.data.min())) < 0 or int(x.data.max()) >= self.vocabulary):
            raise ArgumentError(f"Embedding: x must be in [0, vocabulary) = [0, {self.vocabulary}), got values from "
                                f"{low} to {x.data.max()}; does the vocabulary lack a symbol?")
        y = self.W[x]
        if self.padding_index is not None:
            y = ops.where(ops.expand_dims(x == self.padding_index, -1), 0.0, y)
        return real_steps(y, mask)
