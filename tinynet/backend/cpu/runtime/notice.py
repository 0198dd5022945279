"""Who waits longer than a second for kernels to be compiled is told what for.

Numba compiles a kernel when it first meets it, and keeps the code beside the file: it happens once. Whatever is the
first to be compiled imports this file before it.
"""

import sys
from time import perf_counter
from typing import Any

from numba.core import event

_PATIENCE = 1.0  # seconds


class _Notice(event.Listener):
    """Adds up the time that compiling takes, and says so once it is long."""

    def __init__(self) -> None:
        self.depth, self.since, self.seconds, self.said = 0, 0.0, 0.0, False

    def on_start(self, event: Any) -> None:
        if self.depth == 0:
            self.since = perf_counter()
            if self.seconds > _PATIENCE and not self.said:
                self.said = True
                print("tinynet: compiling its kernels for this processor, once ...", file=sys.stderr, flush=True)
        self.depth += 1

    def on_end(self, event: Any) -> None:
        self.depth -= 1
        if self.depth == 0:
            self.seconds += perf_counter() - self.since


event.register("numba:compile", _Notice())  # type: ignore[no-untyped-call]
