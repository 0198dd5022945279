"""Launchers: for each kernel, and for each combination of argument types, one compiled function that launches it.

A launcher is launcher(mailbox, shards, turns, *arguments) -> 0, or 1 if a shard raised. It

    1. stores the arguments as one struct in its stack frame, aligned to two cache lines;
    2. contains the entry of the kernel, a C function entry(arguments, shard, shards, turn) -> 0 or 1, which loads the
       struct and calls the kernel, compiled into the same module;
    3. passes the addresses of both to `mailbox.perform`, which returns when all shards are done. Until then the frame
       exists, and with it the arguments that the other threads read.

With shards = 0 a launcher records a launch instead: it stores the struct at the address `mailbox`, and returns the
address of the entry.

A kernel counts no references to its arrays: all threads would write to the counters, and the caller's reference
outlives the launch.
"""

# What Numba says of the types of its own functions is not what they take.
# mypy: disable-error-code="call-arg, call-overload, no-untyped-call, assignment, misc"

from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import types
from numba.core import cgutils, compiler
from numba.core.errors import TypingError
from numba.extending import intrinsic

from tinynet.backend.cpu.runtime import assistant
from tinynet.backend.cpu.runtime.intrinsics import ENTRY_TYPE, I64, call_symbol
from tinynet.backend.cpu.runtime.jit import compile_for_c, njit
from tinynet.backend.cpu.runtime.mailbox import ROW_WORDS, perform
from tinynet.backend.cpu.runtime.memory import PAIR
from tinynet.errors import DeviceError

launchers: dict[Any, Any] = {}  # by kernel


def make_launcher(kernel: Any, places: int) -> Any:
    """Make the launcher of a kernel, and enter it in `launchers`.

    places  how many of (shard, shards, turn) the kernel takes before its arguments: 2 or 3
    """
    def launcher(mailbox, shards, turns, *arguments):  # type: ignore[no-untyped-def]
        entry, address = bind(kernel, arguments, places)
        if shards == 0:
            return store_arguments(mailbox, entry, arguments)
        return call_perform(mailbox, shards, turns, entry, address)

    function = kernel.py_func
    launcher.__qualname__ = f"{function.__module__}.{function.__qualname__}"  # LLVM's symbol, unique for each kernel
    launchers[kernel] = njit(launcher, cache=function, _nrt=False)
    return launchers[kernel]


def launch_as_row(launcher: Any, shards: int, turns: int, arguments: Any) -> Any:
    """A launch as ROW_WORDS words, for `mailbox.perform_rows`. The arrays among the arguments must be kept alive.

    Errors: DeviceError if the arguments do not fit.
    """
    words = np.zeros(ROW_WORDS, np.int64)
    words[:3] = launcher(words.ctypes.data + PAIR, 0, 0, *arguments), shards, turns
    if not words[0]:
        raise DeviceError(f"record: arguments must fit into {8 * ROW_WORDS - PAIR} bytes, got more; pass fewer arrays")
    return words


# The first function of a process. Where the cache lacks it, it lacks all others, since its sources are among theirs.
_perform = compile_for_c(perform.py_func, types.int64(*[types.int64] * 5), on_miss=assistant.start)
llvm.add_symbol("tinynet_perform", _perform.address)


@intrinsic
def call_perform(typing: Any, mailbox: Any, shards: Any, turns: Any, entry: Any, arguments: Any) -> Any:
    """`mailbox.perform`, which is compiled once for all launchers."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return call_symbol(builder, "tinynet_perform", args, I64)
    return types.int64(*[types.int64] * 5), generate


@intrinsic(prefer_literal=True)
def bind(typing: Any, kernel: Any, arguments: Any, places: Any) -> Any:
    """Store a tuple of arguments in the caller's stack frame. Returns the addresses of the entry and of the tuple."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        size = context.get_abi_sizeof(args[1].type)
        memory = cgutils.alloca_once(builder, ir.ArrayType(ir.IntType(8), -(-size // PAIR) * PAIR))
        memory.align = PAIR  # else this thread would write to the same cache lines: false sharing with the readers
        packed = builder.bitcast(memory, args[1].type.as_pointer())
        builder.store(args[1], packed)
        entry = ir.Function(builder.module, ENTRY_TYPE, f"entry.{kernel.dispatcher.py_func.__name__}")
        entry.linkage = "internal"
        compiled = _compile(context, kernel.dispatcher, places.literal_value, arguments)
        _write_entry(entry, packed.type, context, compiled, places.literal_value)
        return context.make_tuple(builder, signature.return_type,
                                  [builder.ptrtoint(pointer, I64) for pointer in (entry, packed)])
    return types.UniTuple(types.int64, 2)(kernel, arguments, places), generate


@intrinsic
def store_arguments(typing: Any, address: Any, entry: Any, arguments: Any) -> Any:
    """Store a tuple of arguments at an address, as `bind` does. Returns the entry, or 0 if a row is too short."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if context.get_abi_sizeof(args[2].type) > 8 * ROW_WORDS - PAIR:
            return I64(0)
        builder.store(args[2], builder.inttoptr(args[0], args[2].type.as_pointer()))
        return args[1]
    return types.int64(types.int64, types.int64, arguments), generate


def _compile(context: Any, kernel: Any, places: int, arguments: Any) -> Any:
    """Compile the kernel into the module of its launcher: LLVM then optimises both together, once."""
    flags = compiler.Flags()
    kernel.targetdescr.options.parse_as_flags(flags, kernel.targetoptions)
    flags.no_compile = flags.no_cpython_wrapper = flags.no_cfunc_wrapper = flags.nrt = True
    compiled = compiler.compile_internal(context.typing_context, context, context.active_code_library, kernel.py_func,
                                         (*[types.int64] * places, *arguments), None, flags, {})
    if compiled.signature.return_type != types.none:
        raise TypingError(f"launch: {kernel.__name__} must return nothing, it returns {compiled.signature.return_type}")
    return compiled


def _write_entry(entry: Any, packed: Any, context: Any, kernel: Any, places: int) -> None:
    builder = ir.IRBuilder(entry.append_basic_block())
    address, *place = entry.args
    arguments = cgutils.unpack_tuple(builder, builder.load(builder.inttoptr(address, packed)))
    arguments = [_uncounted(context, builder, *pair)
                 for pair in zip(kernel.signature.args[places:], arguments, strict=True)]
    function = context.declare_function(builder.module, kernel.fndesc)
    status, _ = context.call_conv.call_function(builder, function, types.none, kernel.signature.args,
                                                [*place[:places], *arguments], attrs=["noinline"])
    builder.ret(builder.zext(status.is_error, I64))


def _uncounted(context: Any, builder: Any, kind: Any, value: Any) -> Any:
    """An argument whose arrays have no owner, so that Numba counts no references."""
    if isinstance(kind, types.BaseTuple):
        parts = zip(kind, cgutils.unpack_tuple(builder, value), strict=True)
        return context.make_tuple(builder, kind, [_uncounted(context, builder, *part) for part in parts])
    if not isinstance(kind, types.Array):
        return value
    array = context.make_array(kind)(context, builder, value)
    array.meminfo, array.parent = (cgutils.get_null_value(owner.type) for owner in (array.meminfo, array.parent))
    return array._getvalue()
