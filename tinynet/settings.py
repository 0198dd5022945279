"""Settings that hold inside a `with` statement or a call, and that no exception leaves behind.

KeyboardInterrupt may be raised between any two instructions of Python, also at the start of `__exit__` and in a
`finally`. So code of Python cannot put a setting back in each case. Here a setting holds while a lock is held. The
`with` statement takes and releases the lock by functions in C, which are not interrupted.
"""

from collections.abc import Callable
from contextlib import ContextDecorator
from contextvars import ContextVar, copy_context
from threading import Lock
from typing import Any, Generic, TypeVar
from weakref import ref

from tinynet.errors import StateError

Value = TypeVar("Value")
Result = TypeVar("Result")
# A value, a function that returns the lock which is held while it holds, and the outer entry or None. The lock is
# referred to weakly: an exception between the body of a `with` statement and the call of `__exit__` leaves it held, but
# ends the `with` statement, which has the last reference.
Entry = tuple[Any, Callable[[], Any], Any]


class Setting(Generic[Value]):
    """A context variable with a default. `changed` gives it another value for a while.

    >>> setting = Setting("setting", 1)
    >>> with setting.changed(2):
    ...     setting.get()
    2
    >>> setting.get()
    1
    """

    def __init__(self, name: str, default: Value) -> None:
        self.default = default
        self.entry: ContextVar[Entry | None] = ContextVar(name, default=None)

    def get(self) -> Value:
        """The value that holds now."""
        entry = self.entry.get()
        while entry is not None:
            value, lock_of, entry = entry
            lock = lock_of()
            if lock is not None and lock.locked():
                return value
        return self.default

    def set(self, value: Value) -> None:
        """Change the value for the rest of the context."""
        lock = Lock()
        lock.acquire()
        self.entry.set((value, lambda: lock, None))

    def changed(self, value: Value) -> "Changed":
        """A context, or a decorator, in which the setting has this value."""
        return Changed(self, value)


class _Enter:
    """`__enter__`: a lookup prepares the entry, and gives the function in C that takes its lock."""

    def __get__(self, changed: "Changed | None", owner: type) -> Callable[..., Any]:
        return (lambda one: one.prepared().acquire()) if changed is None else changed.prepared().acquire


class _Exit:
    """`__exit__`: the function in C that releases the lock. `with` looks it up after or before `__enter__`."""

    def __get__(self, changed: "Changed | None", owner: type) -> Callable[..., Any]:
        return (lambda one, *raised: one.lock.release()) if changed is None else changed.lock.__exit__


class Changed(ContextDecorator):
    """A setting that has another value inside of a `with` statement, or of a decorated function."""

    __enter__ = _Enter()
    __exit__ = _Exit()

    def __init__(self, setting: Setting[Any], value: Any) -> None:
        self.setting, self.value, self.lock = setting, value, Lock()

    def _recreate_cm(self) -> "Changed":
        return Changed(self.setting, self.value)

    def prepared(self) -> Any:
        """The lock of an entry that is now the innermost one. It holds as soon as the lock is taken."""
        if self.lock.locked():
            raise StateError("with: a context must end before it begins again, and this one still holds; "
                             "make another one, such as tn.no_grad()")
        entry = self.setting.entry.get()
        while entry is not None and not ((lock := entry[1]()) is not None and lock.locked()):
            entry = entry[2]
        self.setting.entry.set((self.value, ref(self.lock), entry))
        return self.lock


def call_with(values: dict[Any, Any], function: Callable[..., Result], *arguments: Any) -> Result:
    """function(*arguments) in a copy of the context, with these values of settings or context variables.

    The copy ends with the call. Neither the caller nor another thread sees the values.

    >>> variable = ContextVar("variable", default=1)
    >>> call_with({variable: 2}, lambda x: x + variable.get(), 10), variable.get()
    (12, 1)
    """
    def call() -> Result:
        for variable, value in values.items():
            variable.set(value)
        return function(*arguments)
    return copy_context().run(call)


def exclusively(lock: Any, function: Callable[..., Result], *arguments: Any) -> Result:
    """function(*arguments) while this thread holds an RLock. An exception leaves the lock as it was before the call.

    A plain `with` statement can be interrupted after its body and before it releases the lock.

    >>> from threading import RLock
    >>> lock = RLock()
    >>> exclusively(lock, lock._is_owned), lock._is_owned()
    (True, False)
    """
    if lock._is_owned():
        return function(*arguments)
    try:
        with lock:
            return function(*arguments)
    except BaseException:
        if lock._is_owned():
            lock.release()
        raise
