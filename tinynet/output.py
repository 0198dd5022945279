"""What the program writes for its user: lines on stdout and stderr, and JSON.

Output is no reason for a training to fail. A stream may be missing (pythonw, services), closed, a pipe without a reader
(`| head`), on a full disk, or of an encoding without the letters.
"""

import json
import math
import os
import sys
from collections.abc import Mapping
from contextlib import suppress
from typing import Any


def say(text: object = "", *, error: bool = False) -> bool:
    """Write a line to stdout, or to stderr with `error`, at once. Returns whether it was written; raises no error.

    Letters that the stream's encoding lacks are written as escape sequences.

    >>> say("done")
    done
    True
    """
    stream = sys.stderr if error else sys.stdout
    try:
        stream.write(_encodable(f"{text}\n", stream))
        stream.flush()
    except BrokenPipeError:
        _discard(stream)
    except (AttributeError, OSError, ValueError):  # no stream, a full disk, a closed one
        pass
    else:
        return True
    return False


def is_terminal(stream: Any) -> bool:
    """Whether a stream, such as sys.stderr, is a terminal. A missing or closed one is not."""
    try:
        return bool(stream.isatty())
    except (AttributeError, OSError, ValueError):
        return False


def finish() -> bool:
    """At the end of a program: write what stdout still holds. Returns whether that was possible, or had no reader.

    Without it, Python reports a full disk or a pipe without a reader when it exits.
    """
    try:
        sys.stdout.flush()
    except BrokenPipeError:
        _discard(sys.stdout)
    except OSError:
        _discard(sys.stdout)
        return False
    except (AttributeError, ValueError):
        pass
    return True


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


def _encodable(text: str, stream: Any) -> str:
    encoding = getattr(stream, "encoding", None) or "utf-8"
    try:
        text.encode(encoding, getattr(stream, "errors", None) or "strict")
    except (UnicodeEncodeError, LookupError):
        return text.encode(encoding, "backslashreplace").decode(encoding)
    return text


def _discard(stream: Any) -> None:
    """Let what a stream still holds, and all that follows, go to nowhere: nothing reads its pipe."""
    with suppress(OSError, ValueError, AttributeError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, stream.fileno())
        os.close(nowhere)
