"""Instructions that Python has no expression for. Numba makes them part of the function that names the intrinsic.

    words that threads share   load_word, store_word, replace_word
    waiting                    pause, yield_processor
    calls                      call_entry
    numbers                    fma
    stack frame                stack
    float32 elements           load_element, store_element
    float32 vectors            load_vector, store_vector, add_vectors, multiply_add, sum_of_vector
    for writers of LLVM code   word, call_symbol, call_one_of, move, load, store, prefetch, add_product, repeat,
                               repeat_lane

Addresses are integers of 64 bits, the type of all numbers here unless stated. Nothing is checked: an address outside of
an array reads or overwrites foreign memory.
"""

# What Numba says of the types of its own functions is not what they take.
# mypy: disable-error-code="call-arg, call-overload, no-untyped-call, var-annotated, misc"

import os
from collections.abc import Sequence
from typing import Any

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.core.datamodel.models import PrimitiveModel
from numba.extending import intrinsic, register_model

I64, I32, FLOAT = ir.IntType(64), ir.IntType(32), ir.FloatType()
FLOAT_POINTER = FLOAT.as_pointer()
ENTRY_TYPE = ir.FunctionType(I64, [I64] * 4)  # entry(arguments, shard, shards, turn) -> 0, or 1 if the kernel raised
_VOID_FUNCTION = ir.FunctionType(ir.VoidType(), [])


# --- words that threads share ---------------------------------------------------------------------------------------

@intrinsic
def load_word(typing: Any, address: Any, index: Any) -> Any:
    """The word at address + 8 index. An acquire: what its writer wrote before is visible after it."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load_atomic(_word_pointer(builder, *args), ordering="acquire", align=8)
    return types.int64(types.int64, types.int64), generate


@intrinsic
def store_word(typing: Any, address: Any, index: Any, value: Any) -> Any:
    """Write the word at address + 8 index. A release: what this thread wrote before becomes visible no later."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store_atomic(args[2], _word_pointer(builder, *args[:2]), ordering="release", align=8)
        return context.get_dummy_value()
    return types.void(*[types.int64] * 3), generate


@intrinsic
def replace_word(typing: Any, address: Any, index: Any, old: Any, new: Any) -> Any:
    """Compare and swap: write `new` if the word is `old`, in one atomic step. Returns whether it was.

    Both an acquire and a release.
    """
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        pointer = _word_pointer(builder, *args[:2])
        swapped = builder.cmpxchg(pointer, *args[2:], ordering="acq_rel", failordering="acquire")
        return builder.extract_value(swapped, 1)
    return types.boolean(*[types.int64] * 4), generate


def _word_pointer(builder: Any, address: Any, index: Any) -> Any:
    return builder.gep(builder.inttoptr(address, I64.as_pointer()), [index])


# --- waiting and calls ----------------------------------------------------------------------------------------------

@intrinsic
def pause(typing: Any) -> Any:
    """Tell the processor that a loop waits: it saves power, and the other thread of the same core runs faster."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if builder.module.triple.startswith(("x86_64", "i386", "i686")):
            builder.call(cgutils.get_or_insert_function(builder.module, _VOID_FUNCTION, "llvm.x86.sse2.pause"), [])
        return context.get_dummy_value()
    return types.void(), generate


@intrinsic
def yield_processor(typing: Any) -> Any:
    """Let the operating system run another thread on this processor."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        if os.name == "posix":
            function = ir.FunctionType(I32, [])
            builder.call(cgutils.get_or_insert_function(builder.module, function, "sched_yield"), [])
        return context.get_dummy_value()
    return types.void(), generate


@intrinsic
def call_entry(typing: Any, entry: Any, arguments: Any, shard: Any, shards: Any, turn: Any) -> Any:
    """Call the function of ENTRY_TYPE at the address `entry`."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.call(builder.inttoptr(args[0], ENTRY_TYPE.as_pointer()), args[1:])
    return types.int64(*[types.int64] * 5), generate


# --- numbers and vectors --------------------------------------------------------------------------------------------

@intrinsic
def fma(typing: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c for three numbers of one type: rounded once where the processor has an instruction for it, else twice."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        kind = args[0].type
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3),
                                                  f"llvm.fmuladd.{kind.intrinsic_name}")
        return builder.call(function, args)
    return a(a, a, a), generate


@intrinsic(prefer_literal=True)
def stack(typing: Any, floats: Any) -> Any:
    """The address of `floats` float32 elements in the stack frame of the caller. `floats` is a constant."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        with builder.goto_entry_block():
            memory = builder.alloca(ir.ArrayType(FLOAT, floats.literal_value))
        return builder.ptrtoint(memory, I64)
    return types.int64(floats), generate


@intrinsic
def load_element(typing: Any, address: Any, index: Any) -> Any:
    """The float32 at address + 4 index."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.load(builder.gep(builder.inttoptr(args[0], FLOAT_POINTER), [args[1]]), align=4)
    return types.float32(types.int64, types.int64), generate


@intrinsic
def store_element(typing: Any, address: Any, index: Any, value: Any) -> Any:
    """Write the float32 at address + 4 index."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        builder.store(args[2], builder.gep(builder.inttoptr(args[0], FLOAT_POINTER), [args[1]]), align=4)
        return context.get_dummy_value()
    return types.void(types.int64, types.int64, types.float32), generate


class Vector(types.Opaque):
    """Numba's type of a vector of `width` float32 elements. Only the intrinsics below take one."""

    def __init__(self, width: int) -> None:
        self.width = width
        super().__init__(name=f"tinynet_vector_{width}")


@register_model(Vector)
class _VectorModel(PrimitiveModel):
    def __init__(self, manager: Any, type: Any) -> None:
        super().__init__(manager, type, ir.VectorType(FLOAT, type.width))


@intrinsic(prefer_literal=True)
def load_vector(typing: Any, width: Any, address: Any, count: Any) -> Any:
    """A vector of the first `count` elements at an address, at most `width`, and then zeros. `width` is a constant."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return load(builder, builder.inttoptr(args[1], FLOAT_POINTER), width.literal_value, args[2])
    return Vector(width.literal_value)(width, types.int64, types.int64), generate


@intrinsic(prefer_literal=True)
def store_vector(typing: Any, width: Any, address: Any, value: Any, count: Any) -> Any:
    """Write the first `count` elements of a vector, at most `width`, to an address. `width` is a constant."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        store(builder, args[2], builder.inttoptr(args[1], FLOAT_POINTER), args[3])
        return context.get_dummy_value()
    return types.void(width, types.int64, value, types.int64), generate


@intrinsic(prefer_literal=True)
def add_vectors(typing: Any, width: Any, a: Any, b: Any) -> Any:
    """The sum of two vectors."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return builder.fadd(*args[1:])
    return a(width, a, b), generate


@intrinsic(prefer_literal=True)
def multiply_add(typing: Any, width: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c for three vectors, number by number, rounded as by `fma`."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        return add_product(builder, *args[1:])
    return a(width, a, b, c), generate


@intrinsic(prefer_literal=True)
def sum_of_vector(typing: Any, width: Any, value: Any) -> Any:
    """The sum of the numbers of a vector, in an order that the processor decides."""
    def generate(context: Any, builder: Any, signature: Any, args: Any) -> Any:
        vector = args[1].type
        function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(FLOAT, [FLOAT, vector]),
                                                  f"llvm.vector.reduce.fadd.v{vector.count}f32")
        return builder.call(function, [ir.Constant(FLOAT, -0.0), args[1]], fastmath=("reassoc",))
    return types.float32(width, value), generate


# --- for writers of LLVM code ---------------------------------------------------------------------------------------

def word(value: int) -> Any:
    """A constant of 64 bits."""
    return ir.Constant(I64, value)


def call_symbol(builder: Any, symbol: str, args: Sequence[Any], result: Any) -> Any:
    """Call the C function of this name, which `llvm.add_symbol` has made known; its arguments are words."""
    function = ir.FunctionType(result, [I64] * len(args))
    return builder.call(cgutils.get_or_insert_function(builder.module, function, symbol), args)


def repeat(builder: Any, number: Any, width: int) -> Any:
    """A vector that holds `number` in each of its `width` elements."""
    undefined = ir.Constant(ir.VectorType(number.type, width), ir.Undefined)
    first = builder.insert_element(undefined, number, ir.Constant(I32, 0))
    return repeat_lane(builder, first, 0)


def repeat_lane(builder: Any, vector: Any, lane: int) -> Any:
    """A vector that holds one element of a vector in each of its elements."""
    width = vector.type.count
    return builder.shuffle_vector(vector, ir.Constant(vector.type, ir.Undefined),
                                  ir.Constant(ir.VectorType(I32, width), [lane] * width))


def move(builder: Any, pointer: Any, *distances: Any) -> Any:
    """A pointer some elements further."""
    for distance in distances:
        pointer = builder.gep(pointer, [distance])
    return pointer


def load(builder: Any, pointer: Any, width: int, count: Any = None) -> Any:
    """The vector of `width` elements at a pointer, or of the first `count` of them, and then zeros."""
    vector = ir.VectorType(FLOAT, width)
    pointer = builder.bitcast(pointer, vector.as_pointer())
    if count is None:
        return builder.load(pointer, align=4)
    mask = _mask(builder, width, count)
    function = _masked(builder, "load", vector, [pointer.type, I32, mask.type, vector], vector)
    return builder.call(function, [pointer, ir.Constant(I32, 4), mask, ir.Constant(vector, None)])


def store(builder: Any, value: Any, pointer: Any, count: Any = None) -> None:
    """Write a vector to a pointer, or its first `count` elements."""
    vector = value.type
    pointer = builder.bitcast(pointer, vector.as_pointer())
    if count is None:
        builder.store(value, pointer, align=4)
        return
    mask = _mask(builder, vector.count, count)
    function = _masked(builder, "store", ir.VoidType(), [vector, pointer.type, I32, mask.type], vector)
    builder.call(function, [value, pointer, ir.Constant(I32, 4), mask])


def add_product(builder: Any, a: Any, b: Any, c: Any) -> Any:
    """a b + c for three vectors, rounded as by `fma`."""
    kind = a.type
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(kind, [kind] * 3),
                                              f"llvm.fmuladd.v{kind.count}f32")
    return builder.call(function, [a, b, c])


def prefetch(builder: Any, pointer: Any) -> None:
    """Bring the cache line at a pointer near, for writing."""
    byte = ir.IntType(8).as_pointer()
    function = cgutils.get_or_insert_function(builder.module, ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32]),
                                              "llvm.prefetch.p0")
    builder.call(function, [builder.bitcast(pointer, byte), *(ir.Constant(I32, flag) for flag in (1, 3, 1))])


def call_one_of(builder: Any, functions: dict[int, Any], number: Any, args: Sequence[Any]) -> None:
    """Call the function of this number."""
    done = builder.append_basic_block()
    switch = builder.switch(number, done)
    for case, function in functions.items():
        with builder.goto_block(builder.append_basic_block()):
            switch.add_case(case, builder.block)
            function.linkage = "internal"
            builder.call(function, args)
            builder.branch(done)
    builder.position_at_end(done)


def _mask(builder: Any, width: int, count: Any) -> Any:
    """Bits that are set for the first `count` elements. LLVM drops the mask where it knows that all are set."""
    numbers = ir.Constant(ir.VectorType(I64, width), list(range(width)))
    return builder.icmp_signed("<", numbers, repeat(builder, count, width))


def _masked(builder: Any, name: str, result: Any, args: Sequence[Any], vector: Any) -> Any:
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, args),
                                          f"llvm.masked.{name}.v{vector.count}f32.p0")
