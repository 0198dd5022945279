"""How the scripts run as commands: one way to end, and the options that several of them have.

Exit codes: 0 done, 1 something is wrong with the data or a file, 2 with an option or the device, 130 ended by Ctrl-C,
143 by SIGTERM. What is wrong is one sentence on stderr.
"""

import argparse
import sys
from collections.abc import Callable
from typing import Any

from tinynet.errors import DeviceError, Interrupted, TinynetError


def run(work: Callable[[argparse.Namespace], object], options: argparse.Namespace,
        again: str = "the same command again") -> int:
    """Do the work; the exit code. `again` is what goes on with a work that was interrupted."""
    try:
        work(options)
    except DeviceError as error:
        return _complain(error, 2)
    except TinynetError as error:
        return _complain(error, 1)
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        return _complain(f"{place}{error.strerror or error}; choose another folder with --out", 1)
    except Interrupted as interrupted:
        return _complain(f"{interrupted}: {again}", interrupted.exit_code)
    except KeyboardInterrupt:
        return _complain(f"\nInterrupted. To go on: {again}.", 130)
    return 0


def _complain(what: object, code: int) -> int:
    print(what, file=sys.stderr)
    return code


def positive(kind: type) -> Any:
    """The type of an option that is a number above 0."""
    def convert(text: str) -> Any:
        value = kind(text)
        if not 0 < value < float("inf"):
            raise argparse.ArgumentTypeError(f"must be positive, got {text}")
        return value
    convert.__name__ = kind.__name__
    return convert


def seed(text: str) -> int:
    """The type of an option that is a seed."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"must be in [0, 2**32), got {text}")
    return value
