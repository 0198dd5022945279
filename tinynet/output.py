"""What the program writes for its user: lines on stdout and stderr, and JSON.

Output is no reason for a training to fail. A stream may be missing (pythonw, services), closed, a pipe without a reader
(`| head`), on a full disk, or of an encoding without the letters.
"""

import csv
import io
import json
import math
import os
import sys
import warnings
from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from tinynet.errors import printable

_RANKS = "PMI_RANK", "OMPI_COMM_WORLD_RANK"  # variables in which mpiexec tells each process its rank

_lost: list[str] = []  # why lines of stdout were lost


def is_first_rank() -> bool:
    """Whether this process is not one that mpiexec has started beside rank 0."""
    return not any(os.environ.get(name, "0").strip("0") for name in _RANKS)


def say(text: object = "", *, error: bool = False, strict: bool = False) -> None:
    """Write a line to stdout, or to stderr with `error`, at once. Of a job's ranks, rank 0 alone writes to stdout.

    Letters that the stream's encoding lacks are written as escape sequences. A missing or closed stream gets nothing.

    strict   raise BrokenPipeError if the pipe has no reader, OSError for a full disk. Else the line is lost, and
             `finish` tells so at the end of the program

    >>> say("done")
    done
    """
    stream = sys.stderr if error else sys.stdout
    if stream is None or getattr(stream, "closed", False) or not (error or is_first_rank()):
        return
    try:
        try:
            stream.write(f"{text}\n")
        except UnicodeEncodeError:
            stream.write(f"{text}\n".encode(stream.encoding, "backslashreplace").decode(stream.encoding))
        stream.flush()
    except OSError as fault:
        if isinstance(fault, BrokenPipeError):
            _discard(stream)
        elif not error:
            _lost.append(str(fault.strerror))
        if strict:
            raise
    except ValueError:  # closed below Python's stream
        pass


def warn(message: str, stacklevel: int) -> None:
    """Give a warning, as `warnings.warn` does, also where stderr is closed."""
    try:
        warnings.warn(message, stacklevel=stacklevel)
    except ValueError:  # written to a closed stream
        if not getattr(sys.stderr, "closed", False):
            raise


def is_terminal(stream: Any) -> bool:
    """Whether a stream, such as sys.stderr, is a terminal. A missing or closed one is not."""
    try:
        return bool(stream.isatty())
    except (AttributeError, OSError, ValueError):
        return False


def finish() -> str:
    """Write what stdout still holds, at the end of a program. Returns why lines were lost, or "".

    Without it, Python itself reports a full disk or a pipe without a reader when it exits.
    """
    try:
        if sys.stdout is not None:
            sys.stdout.flush()
    except OSError as fault:
        _discard(sys.stdout)
        if not isinstance(fault, BrokenPipeError):
            _lost.append(str(fault.strerror))
    except ValueError:  # a closed stream
        pass
    why = _lost[0] if _lost else ""
    _lost.clear()
    return why


def csv_text(lines: Iterable[Iterable[Any]]) -> str:
    """CSV of some lines, each with a line break. Texts are printable.

    >>> csv_text([["a,b", 0.5, None]])
    '"a,b",0.5,\\n'
    """
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(
        [printable(value) if isinstance(value, str) else value for value in line] for line in lines)
    return text.getvalue()


def json_text(value: Any, **options: Any) -> str:
    """JSON of a value. NaN and infinity, which JSON lacks, are null; NumPy's numbers and arrays are plain ones.

    options   of `json.dumps`

    >>> json_text({"auc": math.nan, "loss": 0.5})
    '{"auc": null, "loss": 0.5}'
    """
    return json.dumps(_plain(value), allow_nan=False, **options)


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _plain(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(one) for one in value]
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _discard(stream: Any) -> None:
    """Let what a stream still holds, and all that follows, go to nowhere: nothing reads its pipe."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
