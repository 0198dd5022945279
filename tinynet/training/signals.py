"""Ctrl-C and SIGTERM, noted now and handled after the current step."""

import os
import signal
import threading
from contextlib import suppress
from typing import Any, Self


class Signals:
    """Inside `with`, the first SIGINT or SIGTERM is noted in `received`; a second one acts at once.

    active   whether to handle signals at all; only the main thread can
    """

    def __init__(self, active: bool) -> None:
        self.active = active and threading.current_thread() is threading.main_thread()
        self.received = 0
        self.before: dict[int, Any] = {}

    def __enter__(self) -> Self:
        for number in (signal.SIGINT, signal.SIGTERM) if self.active else ():
            if signal.getsignal(number) not in (signal.SIG_IGN, None):  # nohup ignores them; so must the training
                self.before[number] = signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            signal.signal(number, handler)
        self.before = {}

    @property
    def name(self) -> str:
        """The name of the signal that was received, such as SIGINT."""
        return signal.Signals(self.received).name

    def _note(self, number: int, frame: Any) -> None:
        self.received = number
        self.__exit__()
        with suppress(OSError):  # not print: its buffer may be locked by the code that was interrupted
            os.write(2, b"\nstopping after this step; once more, and it stops at once\n")
