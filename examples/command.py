"""What the scripts share as commands: exit codes, and the types of options.

Exit codes: 0 done, 1 an error in the data or a file, 2 in an option or the device, 130 ended by Ctrl-C, 143 by SIGTERM.
The error is one sentence on stderr.
"""

import argparse
from collections.abc import Callable

from tinynet.commands import answers
from tinynet.errors import DeviceError, Interrupted, TinynetError
from tinynet.output import finish, say

positive, seed = answers.positive, answers.seed  # types of options


def run(work: Callable[[argparse.Namespace], object], options: argparse.Namespace,
        again: str = "the same command again") -> int:
    """Do the work and return the exit code, which is the work's own if it returns an integer.

    `again` describes the command that continues interrupted work.
    """
    try:
        ended = work(options)
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
        return _complain(f"\nInterrupted. To continue: {again}.", 130)
    finally:
        lost = finish()
    if lost:
        return _complain(f"The work is done, but not all lines could be written to stdout: {lost}", 1)
    return ended if isinstance(ended, int) else 0


def _complain(what: object, code: int) -> int:
    say(what, error=True)
    return code
