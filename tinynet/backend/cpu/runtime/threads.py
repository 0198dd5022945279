"""One pool of threads for all kernels. A kernel is an ordinary Numba function that does one share of the work:

    @njit(**OPTIONS)
    def scale_rows(shard, shards, x, y, factor):
        N = x.shape[0]
        for n in range(shard * N // shards, (shard + 1) * N // shards):
            for j in range(x.shape[1]):
                y[n, j] = factor * x[n, j]

    launch(scale_rows, x, y, np.float32(2))  # all shards at once; returns when the last one is done

Why not Numba's own `prange`: its OpenMP layer does not survive a fork, its workqueue layer takes 100 µs for a launch
and aborts the process when two threads launch at once, and `parallel=True` doubles the time to compile.

How a launch works. For each kernel and types of arguments `launch` compiles a launcher. It lays the arguments into its
stack frame, has a C function `entry(arguments, shard, shards, turn)` that finds them there and calls the kernel, and
writes the addresses of both into a mailbox. Workers watch the mailbox: Python threads in a compiled loop, which do not
hold the interpreter's lock. Each thread, the caller's included, has a slot there. Whoever claims a slot runs its
shards: its owner first, but then anybody who has nothing left to do. So a launch never waits for a worker that sleeps
or that the system has put aside: the caller does what nobody else has begun. A worker that sees no launch for a while
first lets others have its processor, and soon sleeps.

Which thread runs a shard is left to chance; what a shard computes is not. Results depend on the number of shards alone.
A caller that finds the pool in use, by another thread of the program, runs its shards alone, one after the other.

A kernel of many steps, each of which needs all of the last, may take turns: see `launch_in_turns`. A thread keeps the
slots that it claimed for all turns, and a barrier separates the turns.
"""

# What Numba says of the types of its own functions is not what they take.
# mypy: disable-error-code="call-arg, call-overload, no-untyped-call, var-annotated, assignment, misc"

import atexit
import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from threading import Lock, RLock, Thread
from types import FunctionType
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils, compiler
from numba.core.compiler_lock import global_compiler_lock
from numba.core.errors import TypingError
from numba.extending import intrinsic

import tinynet.backend.cpu.runtime.notice  # noqa: F401  # it listens from now on
from tinynet.backend.cpu.runtime import observer
from tinynet.backend.cpu.runtime.memory import PAIR
from tinynet.errors import ArgumentError, DeviceError

MOST_THREADS = 16  # by default; set_threads may ask for more
LOOKS = 4_000  # into the mailbox before a worker sleeps: about a millisecond; to wake one takes a tenth of that
WORTH = 8_192  # elements of a pass that take about as long as a launch
PATIENCE = 2_000  # looks, some 50 µs, before one who waits lets others have the processor in between


def launch(kernel: Any, *arguments: Any, shards: int | None = None) -> None:
    """Run kernel(shard, shards, *arguments) for every shard, at once on the threads of the pool.

    kernel     a function decorated with `@njit(**OPTIONS)`. Its code is kept on disk without `cache=True`
    arguments  whatever Numba takes. A kernel returns nothing and does not raise
    shards     into how many parts it divides the work; by default one for each thread. 1 for work that is too small
               to share: a launch costs about 2 µs

    Errors: RuntimeError if a shard failed, as it does when there is no memory for an array.

    >>> import numpy as np
    >>> from numba import njit
    >>> @njit
    ... def double(shard, shards, x):
    ...     for i in range(shard, x.size, shards):
    ...         x[i] *= 2
    >>> x = np.arange(5)
    >>> launch(double, x)
    >>> x
    array([0, 2, 4, 6, 8])
    """
    _run(kernel, 2, shards, 1, arguments)


def launch_in_turns(kernel: Any, turns: int, *arguments: Any, shards: int | None = None) -> None:
    """Run kernel(shard, shards, turn, *arguments) for every shard, turn by turn: for steps that need all of the last.

    Turns come in pairs. The shards wait for each other before turns 2, 4, 6, ...: there a shard finds what all of them
    did up to the last even turn. In an odd turn it has what itself did, and can go on with that while the others'
    results are on their way; so waiting costs next to nothing, where a `launch` for each step would cost 2 µs.

    >>> import numpy as np
    >>> from numba import njit
    >>> @njit
    ... def add_neighbours(shard, shards, turn, x):
    ...     t = (turn + 1) // 2
    ...     for i in range(shard, x.shape[1], shards):
    ...         if turn % 2:
    ...             x[t, i] = x[t - 1, i]
    ...         elif t > 0:
    ...             x[t, i] += x[t - 1, i - 1]
    >>> x = np.zeros((4, 4), int)
    >>> x[0, 0] = 1
    >>> launch_in_turns(add_neighbours, 7, x)
    >>> x[3]
    array([1, 3, 3, 1])
    """
    _run(kernel, 3, shards, turns, arguments)


def run_kept(launches: Any) -> None:
    """Make some launches, one after the other: what `keep` gave for each, as rows of a `table`."""
    if _launch(_perform_kept, _threads, launches):
        _raised("a kernel that was kept")


def keep(launch: Any, shards: int, turns: int, arguments: Any) -> Any:
    """A launch as a row of words. Arrays among the arguments are for the caller to keep alive.

    Errors: DeviceError if there are too many arguments.
    """
    words = np.zeros(KEPT, np.int64)
    words[:3] = launch(words.ctypes.data + PAIR, 0, 0, *arguments), shards, turns
    if not words[0]:
        raise DeviceError(f"keep: arguments must fit into {8 * KEPT - PAIR} bytes, got more; pass fewer arrays")
    return words


def table(rows: int, words: int) -> Any:
    """Rows of words, zeros, in memory that begins with a pair of lines."""
    memory = np.zeros(rows * words + _WORDS, np.int64)
    return memory[-memory.ctypes.data // 8 % _WORDS:][:rows * words].reshape(rows, words)


def _run(kernel: Any, places: int, shards: int | None, turns: int, arguments: tuple[Any, ...]) -> None:
    launch = _launchers.get(kernel) or _launcher(kernel, places)
    shards = _threads if shards is None else shards
    if shards < 1:
        raise ArgumentError(f"launch: shards must be at least 1, got {shards}; leave it out for one for each thread")
    if (watching := observer.current.get()) is not None:
        watching.on_launch(launch, shards, turns, arguments)
    if _launch(launch, shards, turns, *arguments):
        _raised(kernel.__name__)


def _launch(launch: Any, shards: int, *arguments: Any) -> Any:
    pool = _pool or _start()
    if shards == 1 or pool.free._is_owned():  # a kernel may launch another
        return launch(0, shards, *arguments)
    try:
        if not pool.free.acquire(blocking=False):
            return launch(0, shards, *arguments)
        if pool.sleepers:
            pool.wake()
        return launch(pool.address, shards, *arguments)
    finally:  # a signal may interrupt after any call: here the first one releases
        try:  # noqa: SIM105  # suppress() would come before
            pool.free.release()
        except RuntimeError:  # it is not ours
            pass


def _raised(kernel: str) -> None:
    raise RuntimeError(f"launch: a shard of {kernel} raised, which kernels must not; is there enough memory?")


def threads() -> int:
    """How many threads run kernels, the caller's included. By default one for each processor, but at most 16."""
    return _threads


def shards_for(elements: int, most: int | None = None) -> int:
    """How many shards for a pass over so many elements: one for each thread, but no less than a launch is worth to
    each, and `most` at most."""
    shards = max(1, min(_threads, elements // WORTH))
    return shards if most is None else max(1, min(shards, most))


def set_threads(count: int) -> None:
    """Run kernels on `count` threads, the caller's included. 1 starts no threads at all.

    Errors: ArgumentError for less than 1.

    >>> set_threads(2)
    >>> threads()
    2
    """
    global _threads
    if count < 1:
        raise ArgumentError(f"set_threads: count must be at least 1, got {count}; 1 runs everything in the caller")
    with _changing:
        _stop()
        _threads = count


# --- the threads ----------------------------------------------------------------------------------------------------

# The mailbox is an array of words: some for the launch, some for each slot. What different threads write lies in
# different lines of the cache, and in different pairs of lines, since a processor may fetch both at once.
_WORDS = PAIR // 8
_SEQUENCE, _ENTRY, _ARGUMENTS, _SHARDS, _TURNS, _SLOTS, _FAILED = range(7)  # the launch
_CLAIMED, _DONE = 0, _WORDS  # a slot
_SLOT = 2 * _WORDS  # words of a slot; the first one's come after those of the launch
_STOP = -1  # in place of the number of a launch: there will be no more

KEPT = 4096 // 8  # words of a launch that is kept: its entry, shards, turns, and after the first pair its arguments

# Turns are counted through, from launch to launch: _SEQUENCE is the number of the last turn of a launch, and tells the
# launch from others; _DONE is how far a slot is. _CLAIMED is the launch in which a slot was last claimed, and by whom.
_OWNER = 16  # bits


class _Pool:
    """A mailbox and the workers that watch it. They start with the pool and end with `stop`."""

    def __init__(self, threads: int) -> None:
        self.threads = threads
        self.free: Any = RLock()  # held while somebody launches
        self.sleepers: list[Lock] = []  # the bell of each worker that sleeps; to release it wakes the worker
        self._mailbox = table(1, _WORDS + threads * _SLOT)[0]
        self._mailbox[_SLOTS] = threads
        self.address = self._mailbox.ctypes.data
        self._workers: list[Thread] = []
        _serve(self.address, 0, 0, 0)  # compiled before there are workers to wait for it
        with suppress(RuntimeError):  # the system gives no more threads: those that there are do everything
            for slot in range(1, threads):
                worker = Thread(target=self._work, args=(slot,), name=f"tinynet-{slot}", daemon=True)
                worker.start()
                self._workers.append(worker)

    def wake(self) -> None:
        """Wake two of those who sleep; they wake the others. Each strikes itself off the list."""
        for bell in self.sleepers[-2:]:
            with suppress(RuntimeError):  # somebody has rung it, and the sleeper is not up yet
                bell.release()

    def stop(self) -> None:
        """End the workers. Who still launches here finds the pool in use for ever, and works alone."""
        if self.free.acquire(timeout=1):
            self._mailbox[_SEQUENCE] = _STOP
            self.wake()
            for worker in self._workers:
                worker.join(timeout=1)

    def _work(self, slot: int) -> None:
        seen = 0
        while (seen := _serve(self.address, slot, seen, LOOKS)) != _STOP:
            bell = Lock()
            bell.acquire()
            self.sleepers.append(bell)
            if self._mailbox[_SEQUENCE] == seen:
                bell.acquire()
            self.sleepers.remove(bell)
            self.wake()


_pool: _Pool | None = None
_threads = min(MOST_THREADS, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1)
_changing = RLock()  # held while the two change


def _start() -> _Pool:
    global _pool
    with _changing:
        if _pool is None:
            _pool = _Pool(_threads)
        return _pool


def _stop() -> None:
    """End the pool; the next launch starts another."""
    global _pool
    with _changing:
        if _pool is not None:
            _pool.stop()
        _pool = None


def _forget() -> None:
    """In a forked child: it has none of the threads, and who knows who held the locks."""
    global _pool, _changing
    _pool, _changing = None, RLock()


atexit.register(_stop)
if hasattr(os, "register_at_fork"):
    os.register_at_fork(before=_stop, after_in_child=_forget)
    # A thread that compiles does not come along into the child, but the lock that it holds would.
    os.register_at_fork(before=global_compiler_lock.acquire, after_in_parent=global_compiler_lock.release,
                        after_in_child=global_compiler_lock.release)


# --- a launch -------------------------------------------------------------------------------------------------------

@njit(nogil=True, cache=True)
def _serve(mailbox: Any, slot: Any, seen: Any, looks: Any) -> Any:
    """Take part in launches until there is none for so many looks. Returns the number of the last one."""
    idle = 0
    while idle < looks:
        sequence = _load(mailbox, _SEQUENCE)
        if sequence == seen:
            _wait(idle)
            idle += 1
        elif sequence == _STOP:
            return sequence
        else:
            _take_part(mailbox, slot, sequence)
            seen, idle = sequence, 0
    return seen


@njit(nogil=True)
def _perform(mailbox: Any, shards: Any, turns: Any, entry: Any, arguments: Any) -> Any:
    """Launch, take part, and wait for the others; without a mailbox run every shard here. Whether one failed."""
    if mailbox == 0:
        failed = 0
        for turn in range(turns):
            for shard in range(shards):
                failed |= _call(entry, arguments, shard, shards, turn)
        return failed
    sequence = _load(mailbox, _SEQUENCE) + turns
    _store(mailbox, _ENTRY, entry)
    _store(mailbox, _ARGUMENTS, arguments)
    _store(mailbox, _SHARDS, shards)
    _store(mailbox, _TURNS, turns)
    _store(mailbox, _FAILED, 0)
    _store(mailbox, _SEQUENCE, sequence)
    _take_part(mailbox, 0, sequence)
    _wait_for_all(mailbox, sequence)
    return _load(mailbox, _FAILED)


@njit(nogil=True, cache=True)
def _perform_kept(mailbox: Any, shards: Any, launches: Any) -> Any:
    failed = 0
    for i in range(launches.shape[0]):
        entry, shards, turns = launches[i, 0], launches[i, 1], launches[i, 2]
        arguments = launches.ctypes.data + 8 * i * KEPT + PAIR
        failed |= _perform(mailbox if shards > 1 else 0, shards, turns, entry, arguments)
    return failed


@njit(nogil=True)
def _take_part(mailbox: Any, slot: Any, sequence: Any) -> None:
    """Run the shards of every slot that nobody has claimed, the own one first: all turns of what was claimed.

    The caller too claims all slots that are left and then waits until they are done. So a claim succeeds only while the
    launch is going on, however late the worker looked at its number; and the launch lasts until the worker is done.
    """
    slots = _load(mailbox, _SLOTS)
    mine = (sequence << _OWNER) + slot
    turns = 0
    for i in range(slots):
        claimed = (slot + i) % slots
        place = _WORDS + claimed * _SLOT
        before = _load(mailbox, place + _CLAIMED)
        if before >> _OWNER < sequence and _replace(mailbox, place + _CLAIMED, before, mine):
            if claimed < _load(mailbox, _SHARDS):
                turns = _load(mailbox, _TURNS)
                _take_turn(mailbox, claimed, sequence - turns, 0)
            else:  # there is nothing to do there
                _store(mailbox, place + _DONE, sequence)
    for turn in range(1, turns):
        if turn % 2 == 0:
            _wait_for_all(mailbox, sequence - turns + turn - 1)
        for claimed in range(slots):
            place = _WORDS + claimed * _SLOT
            if _load(mailbox, place + _CLAIMED) == mine and _load(mailbox, place + _DONE) < sequence:
                _take_turn(mailbox, claimed, sequence - turns, turn)


@njit(nogil=True)
def _take_turn(mailbox: Any, slot: Any, before: Any, turn: Any) -> None:
    """Run the shards of a slot for a turn. `before` is the number of the last turn of the launch before."""
    shards, slots = _load(mailbox, _SHARDS), _load(mailbox, _SLOTS)
    for shard in range(slot, shards, slots):
        if _call(_load(mailbox, _ENTRY), _load(mailbox, _ARGUMENTS), shard, shards, turn):
            _store(mailbox, _FAILED, 1)
    if turn % 2 == 0 or turn + 1 == _load(mailbox, _TURNS):
        _store(mailbox, _WORDS + slot * _SLOT + _DONE, before + turn + 1)


@njit(nogil=True)
def _wait_for_all(mailbox: Any, turn: Any) -> None:
    """Until every slot has done the turn of this number."""
    for slot in range(_load(mailbox, _SLOTS)):
        looks = 0
        while _load(mailbox, _WORDS + slot * _SLOT + _DONE) < turn:
            _wait(looks)
            looks += 1


_WORD = ir.IntType(64)
_ENTRY_TYPE = ir.FunctionType(_WORD, [_WORD] * 4)  # entry(arguments, shard, shards, turn) -> whether it failed


@intrinsic
def _load(typing: Any, mailbox: Any, word: Any) -> Any:
    """A word of the mailbox, and with it the sight of everything that its writer wrote before."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_pointer(builder, *args), ordering="acquire", align=8)
    return types.int64(types.int64, types.int64), generate


@intrinsic
def _store(typing: Any, mailbox: Any, word: Any, value: Any) -> Any:
    """Write a word of the mailbox, after everything that was written before."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[2], _pointer(builder, *args[:2]), ordering="release", align=8)
        return context.get_dummy_value()
    return types.void(*[types.int64] * 3), generate


@intrinsic
def _replace(typing: Any, mailbox: Any, word: Any, old: Any, new: Any) -> Any:
    """Write a word if it is `old`, in one step that no other thread can come between; whether it was."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        swapped = builder.cmpxchg(_pointer(builder, *args[:2]), *args[2:], ordering="acq_rel", failordering="acquire")
        return builder.extract_value(swapped, 1)
    return types.boolean(*[types.int64] * 4), generate


def _pointer(builder: Any, mailbox: Any, word: Any) -> Any:
    return builder.gep(builder.inttoptr(mailbox, _WORD.as_pointer()), [word])


@njit(nogil=True)
def _wait(looks: Any) -> None:
    """Pass the time between two looks: at first without losing any, then let others have the processor."""
    if looks < PATIENCE:
        _pause()
    else:
        _yield()


@intrinsic
def _pause(typing: Any) -> Any:
    """Tell the processor that this loop waits."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if builder.module.triple.startswith(("x86_64", "i386", "i686")):
            void = ir.FunctionType(ir.VoidType(), [])
            builder.call(cgutils.get_or_insert_function(builder.module, void, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()
    return types.void(), generate


@intrinsic
def _yield(typing: Any) -> Any:
    """Tell the system that another thread may run here."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if os.name == "posix":
            function = ir.FunctionType(ir.IntType(32), [])
            builder.call(cgutils.get_or_insert_function(builder.module, function, "sched_yield"), [])
        return context.get_dummy_value()
    return types.void(), generate


@intrinsic
def _call(typing: Any, entry: Any, arguments: Any, shard: Any, shards: Any, turn: Any) -> Any:
    """entry(arguments, shard, shards, turn), from its address."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.call(builder.inttoptr(args[0], _ENTRY_TYPE.as_pointer()), args[1:])
    return types.int64(*[types.int64] * 5), generate


# --- launchers ------------------------------------------------------------------------------------------------------

_launchers: dict[Any, Any] = {}
_kernel: Any = None  # among the globals of a launcher it is its kernel


def _launcher(kernel: Any, places: int) -> Any:
    """Make the compiled function launch(mailbox, shards, turns, *arguments) of a kernel. Without shards it writes the
    arguments to where the mailbox would be, and returns the entry.

    `places` is how many of (shard, shards, turn) the kernel takes.

    It passes for a function of the kernel's file: so Numba keeps its code beside that file, and makes it anew when the
    file changes. `name` does this for the files that the kernel's own file imports functions from: it tells what they
    hold, and as the variable of a closure it is part of what Numba looks the code up by.
    """
    function = kernel.py_func
    template = _template(f"{kernel.__name__}.{_digest(function)}", places)
    code = template.__code__.replace(co_filename=function.__code__.co_filename,
                                     co_firstlineno=function.__code__.co_firstlineno)
    launch = FunctionType(code, {**globals(), "__name__": function.__module__, "_kernel": kernel},
                          closure=template.__closure__)
    launch.__qualname__ = f"{function.__qualname__}.launch"
    lasting = os.path.isfile(code.co_filename) and not function.__closure__
    _launchers[kernel] = njit(nogil=True, no_cfunc_wrapper=True, cache=lasting)(launch)
    return _launchers[kernel]


def _template(name: str, places: int) -> Callable[..., Any]:
    def launch(mailbox, shards, turns, *arguments):  # type: ignore[no-untyped-def]
        entry, address = _bind(_kernel, arguments, name, places)
        if shards == 0:
            return _keep(mailbox, entry, arguments)
        return _perform(mailbox, shards, turns, entry, address)
    return launch


def _digest(function: Any) -> str:
    """Of the function itself, and of every file from which its own one has functions."""
    digest = hashlib.sha256(function.__code__.co_code)
    functions = [getattr(value, "py_func", value) for value in function.__globals__.values()]
    for file in sorted({f.__code__.co_filename for f in functions if isinstance(f, FunctionType)}):
        with suppress(OSError):
            digest.update(Path(file).read_bytes())
    return digest.hexdigest()[:16]


@intrinsic(prefer_literal=True)
def _bind(typing: Any, kernel: Any, arguments: Any, name: Any, places: Any) -> Any:
    """The addresses of an entry to the kernel, made under this name, and of the arguments in the caller's frame."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        size = context.get_abi_sizeof(args[1].type)
        room = cgutils.alloca_once(builder, ir.ArrayType(ir.IntType(8), -(-size // PAIR) * PAIR))
        room.align = PAIR  # for nobody to write beside what all threads read
        packed = builder.bitcast(room, args[1].type.as_pointer())
        builder.store(args[1], packed)
        entry = ir.Function(builder.module, _ENTRY_TYPE, name.literal_value)
        entry.linkage = "internal"
        compiled = _compile(context, kernel.dispatcher, places.literal_value, arguments)
        _fill(entry, packed.type, context, compiled, places.literal_value)
        return context.make_tuple(builder, signature.return_type,
                                  [builder.ptrtoint(pointer, _WORD) for pointer in (entry, packed)])
    return types.UniTuple(types.int64, 2)(kernel, arguments, name, places), generate


@intrinsic
def _keep(typing: Any, address: Any, entry: Any, arguments: Any) -> Any:
    """Write the arguments to an address. Returns the entry; 0 if they are too many."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if context.get_abi_sizeof(args[2].type) > 8 * KEPT - PAIR:
            return _WORD(0)
        builder.store(args[2], builder.inttoptr(args[0], args[2].type.as_pointer()))
        return args[1]
    return types.int64(types.int64, types.int64, arguments), generate


def _compile(context: Any, kernel: Any, places: int, arguments: Any) -> Any:
    """Compile the kernel into the module that is being made, for both to be optimised together, once."""
    flags = compiler.Flags()
    kernel.targetdescr.options.parse_as_flags(flags, kernel.targetoptions)
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = True
    compiled = compiler.compile_internal(context.typing_context, context, context.active_code_library, kernel.py_func,
                                         (*[types.int64] * places, *arguments), None, flags, {})
    if compiled.signature.return_type != types.none:
        raise TypingError(f"launch: {kernel.__name__} must return nothing, it returns {compiled.signature.return_type}")
    return compiled


def _fill(entry: Any, packed: Any, context: Any, kernel: Any, places: int) -> None:
    builder = ir.IRBuilder(entry.append_basic_block())
    address, *place = entry.args
    arguments = cgutils.unpack_tuple(builder, builder.load(builder.inttoptr(address, packed)))
    arguments = [_uncounted(context, builder, *pair)
                 for pair in zip(kernel.signature.args[places:], arguments, strict=True)]
    function = context.declare_function(builder.module, kernel.fndesc)
    status, _ = context.call_conv.call_function(builder, function, types.none, kernel.signature.args,
                                                [*place[:places], *arguments], attrs=["noinline"])
    builder.ret(builder.zext(status.is_error, _WORD))


def _uncounted(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """An argument as a kernel gets it. Numba counts who looks at an array, and threads that count at the same place
    wait for each other. The launch lasts longer than all who look at it, so nobody need count."""
    if isinstance(kind, types.BaseTuple):
        parts = zip(kind, cgutils.unpack_tuple(builder, value), strict=True)
        return context.make_tuple(builder, kind, [_uncounted(context, builder, *part) for part in parts])
    if not isinstance(kind, types.Array):
        return value
    array = context.make_array(kind)(context, builder, value)
    array.meminfo, array.parent = (cgutils.get_null_value(owner.type) for owner in (array.meminfo, array.parent))
    return array._getvalue()
