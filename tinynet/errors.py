"""What tinynet raises.

Every message has three parts: the op (or function) and the argument; the rule, with its numbers filled in;
the likely fix. Each class is also the built-in exception that a person would expect in its place.
"""


class TinynetError(Exception):
    """The base of all of them: ``except tn.errors.TinynetError`` catches what tinynet itself found wrong."""


class ShapeError(TinynetError, ValueError):
    """An array has the wrong rank or size."""


class DtypeError(TinynetError, TypeError):
    """An array holds the wrong kind of numbers: integers where floats are needed, or two precisions mixed."""


class ArgumentError(TinynetError, ValueError):
    """An option or a value is outside its range: a probability of 2, a label of 10 among ten classes."""


class DeviceError(TinynetError, RuntimeError):
    """Arrays live on different devices, or a device is not there."""


class GradientError(TinynetError, RuntimeError):
    """`backward()` cannot be run from here."""


class StateError(TinynetError, ValueError):
    """A state dictionary does not fit the module or the optimizer."""


class ModelFileError(TinynetError, ValueError):
    """A saved model is damaged, or is not one of ours."""


class DataError(TinynetError, ValueError):
    """A data file is missing, damaged, or not what it says it is."""


class CheckpointError(TinynetError, ValueError):
    """A checkpoint is missing, damaged, not one of ours, or of another run; or it cannot be written."""


class NonFiniteError(TinynetError, ArithmeticError):
    """A number became NaN or infinite in training."""


class Interrupted(KeyboardInterrupt):
    """Training was asked to stop, by Ctrl-C or SIGTERM, and did so after a whole step, with a checkpoint.

    No TinynetError, since nothing is wrong. `exit_code` is what a shell expects of a program that ends for it.
    """

    def __init__(self, message: str, signal: int) -> None:
        super().__init__(message)
        self.exit_code = 128 + signal
