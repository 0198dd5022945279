"""What a model knows of its training images (`model.familiar`), as arrays of a file."""

import reprlib
from typing import Any

import numpy as np

from tinynet.errors import ModelFileError, ShapeError, TinynetError
from tinynet.familiar import Familiar
from tinynet.nn.module import Module
from tinynet.saving.archive import said

BEGIN = "familiar."  # of the names of the arrays
MEMBERS = 1000  # of an ensemble, at most
_EXPECTED = Familiar(*(np.ones({"basis": (1, 1), "size": (2,)}.get(name, (1,)), "float32")
                    for name in Familiar.__dataclass_fields__))


def expected(where: str, count: Any) -> tuple[Familiar, ...]:
    """Placeholders for the members that a file counts, until their arrays are read."""
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MEMBERS:
        raise ModelFileError(f"{where}: familiar must be a number of members from 1 to {MEMBERS}, got "
                             f"{reprlib.repr(count)}; the file is damaged, save the model again")
    return (_EXPECTED,) * count


def arrays_of(model: Module) -> dict[str, np.ndarray]:
    """The arrays of what a model knows of its training images, by the names that they have in a file."""
    return {f"{BEGIN}{number}.{name}": array for number, one in enumerate(model.familiar or ())
            for name, array in one.arrays().items()}


def of_arrays(path: Any, arrays: dict[str, np.ndarray], count: int) -> tuple[Familiar, ...]:
    """What a model of `count` members knows of its training images, from the arrays of a file."""
    made = []
    try:
        for number in range(count):
            begin = f"{BEGIN}{number}."
            made.append(Familiar(**{name.removeprefix(begin): array.astype("float32") for name, array in arrays.items()
                                    if name.startswith(begin)}))
        if sum(len(one.arrays()) for one in made) != len(arrays):
            raise ShapeError("it has arrays of more members")
    except (TinynetError, TypeError, ValueError) as error:
        raise ModelFileError(f"load: {path} must hold what its model knows of its training images, and does not "
                             f"({said(error)}); the file is damaged, save the model again") from error
    return tuple(made)
