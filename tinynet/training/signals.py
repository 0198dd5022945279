"""Ctrl-C and SIGTERM, noted now and handled after the current step."""

import os
import signal
import threading
from contextlib import suppress
from typing import Any, Self


class Signals:
    """Inside `with`, the first of these signals is noted in `received`; a second one acts at once.

    Only the main thread can handle signals: in another thread nothing is noted.

    running   a `threading.Lock` that is held for the whole run. An exception at the start of `__exit__` leaves the
              handler in place; if `running` is free, the handler passes signals on to the one before it
    show      write a line to stderr when a signal is noted

    >>> with (running := threading.Lock()), Signals(running, signal.SIGINT) as signals:
    ...     signal.raise_signal(signal.SIGINT)
    >>> signals.name
    'SIGINT'
    """

    def __init__(self, running: Any, *numbers: int, show: bool = True) -> None:
        self.numbers = numbers if threading.current_thread() is threading.main_thread() else ()
        self.received = 0
        self.before: dict[int, Any] = {}
        self.running, self.show = running, show

    def __enter__(self) -> Self:
        for number in self.numbers:
            handler = signal.getsignal(number)
            if handler not in (signal.SIG_IGN, None):  # nohup ignores them; so must the training
                self.before[number] = handler
                signal.signal(number, self._note)
        return self

    def __exit__(self, *error: object) -> None:
        for number, handler in self.before.items():
            if signal.getsignal(number) == self._note:
                signal.signal(number, handler)

    @property
    def name(self) -> str:
        """The name of the signal that was received, such as SIGINT."""
        return signal.Signals(self.received).name

    def _note(self, number: int, frame: Any) -> None:
        self.received = number
        self.__exit__()
        if not self.running.locked():
            signal.raise_signal(number)
            return
        with suppress(OSError):  # not print: its buffer may be locked by the code that was interrupted
            if self.show:
                os.write(2, b"\nstopping after this step; once more, and it stops at once\n")
