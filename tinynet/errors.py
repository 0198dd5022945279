"""The exceptions of tinynet.

A message has three parts: the op or function and its argument; the rule, with its numbers; the likely fix. Each class
is also the built-in exception that fits, such as ValueError.
"""

import os
from collections.abc import Iterable, Mapping, Sequence
from types import CodeType
from typing import Any, Protocol


def printable(name: str | os.PathLike[str]) -> str:
    """The name of a file for a message, with line breaks, escape sequences and undecodable bytes escaped.

    >>> printable("a\\nb")
    'a\\\\nb'
    """
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode("ascii")
                   for letter in os.fspath(name))


def counted(number: int, noun: str, plural: str = "") -> str:
    """A number with its noun, as a message says it. The plural is formed by an s unless it is given.

    >>> counted(1, "file"), counted(2000, "image"), counted(2, "class", "classes")
    ('1 file', '2,000 images', '2 classes')
    """
    return f"{number:,} {noun if number == 1 else plural or f'{noun}s'}"


class _Root(Protocol):
    def modules(self) -> Iterable[tuple[str, Any]]: ...


def name_layer(error: Exception, call: CodeType, root: _Root) -> None:
    """Put the path and the type of the innermost module that an error passed through before its message.

    call   the code of `Module.__call__`, whose frames are searched
    root   the outermost module, to which the path is relative
    """
    paths, where, trace = {id(module): path for path, module in root.modules()}, "", error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code is call:
            module = trace.tb_frame.f_locals["self"]
            if path := paths.get(id(module)):
                where = f"layer {path} ({type(module).__name__}): "
        trace = trace.tb_next
    error.args = (f"{where}{error}",)


class TinynetError(Exception):
    """The base of all others: ``except tn.errors.TinynetError`` catches every error that tinynet itself raises."""


class ShapeError(TinynetError, ValueError):
    """An array has the wrong rank or size."""


class DtypeError(TinynetError, TypeError):
    """An array holds the wrong kind of numbers: integers where floats are needed, or two precisions mixed."""


class ArgumentError(TinynetError, ValueError):
    """An option or a value is outside its range: a probability of 2, a label of 10 among ten classes."""


class CallError(TinynetError, TypeError):
    """A function was called with arguments that it does not have, or without those that it needs."""


class DeviceError(TinynetError, RuntimeError):
    """Arrays are on different devices, or a device is not available."""


class GradientError(TinynetError, RuntimeError):
    """`backward()` cannot be run from here."""


class StateError(TinynetError, ValueError):
    """A state dictionary does not fit the module or the optimizer."""


class ModelFileError(TinynetError, ValueError):
    """A saved model is missing, damaged or not a model of tinynet; or a model cannot be saved."""


class ExportError(TinynetError, ValueError):
    """A model cannot be expressed in another format, or a package for that is missing."""


class DataError(TinynetError, ValueError):
    """A data file is missing, damaged, or of another kind than it claims."""


class CheckpointError(TinynetError, ValueError):
    """A checkpoint is missing, damaged, not a checkpoint, or of another run; or it cannot be written."""


class DistributedError(TinynetError, RuntimeError):
    """Processes that mpiexec has started do not find each other."""


class NonFiniteError(TinynetError, ArithmeticError):
    """A number became NaN or infinite in training."""


class Interrupted(KeyboardInterrupt):
    """Training stopped after a whole step, because of Ctrl-C or SIGTERM. The model has the weights of that step.

    Not a TinynetError, since nothing is wrong.

    exit_code   the shell's convention: 128 + the signal's number
    history     the finished epochs, as `fit` would have returned them
    """

    def __init__(self, message: str, signal: int, history: Sequence[Mapping[str, float]] = ()) -> None:
        super().__init__(message)
        self.exit_code, self.history = 128 + signal, list(history)
