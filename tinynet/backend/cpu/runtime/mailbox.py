"""The mailbox: words of memory through which threads share a launch, and the compiled loops that read and write them.

Layout. Words of 64 bits, initially zero. The header, each CLAIMED and each DONE have two adjacent cache lines of their
own, to prevent false sharing.

    header             written by  meaning
    SEQUENCE           caller      number of the last turn of the current launch; STOP ends the workers
    ENTRY, ARGUMENTS   caller      addresses of the entry, a C function, and of the arguments that it reads
    SHARDS, TURNS      caller      how many of each the launch has
    SLOTS              pool        the number of slots, one for each thread; slot 0 is the caller's
    FAILED             any thread  1 if a shard raised

    slot               written by  meaning
    CLAIMED            claimer     SEQUENCE of the launch that the slot was last claimed in, and the slot of the claimer
    DONE               claimer     number of the last turn that is complete in this slot

Protocol of a launch of one turn:

    1. The caller writes ENTRY, ARGUMENTS, SHARDS, TURNS, FAILED = 0, and adds 1 to SEQUENCE.
    2. Each thread that reads the new SEQUENCE claims slots, its own first, then the others. To claim is to replace an
       older CLAIMED by compare-and-swap.
    3. The claimer of slot s runs shards s, s + SLOTS, s + 2 SLOTS, ..., and then sets DONE to SEQUENCE.
    4. The caller claims too, and then waits until DONE of every slot has reached SEQUENCE.

A launch does not wait for a worker that sleeps, or is descheduled before it claims: another thread claims its slot, if
need be the caller. A late worker does no harm: after step 4 each CLAIMED is at least as recent as the SEQUENCE that the
worker has read, so it claims nothing.

A launch of several turns adds their number to SEQUENCE: turns have consecutive numbers from launch to launch. A thread
keeps the slots that it claimed for all turns. Before turns 2, 4, 6, ... there is a barrier: every claimer waits as in
step 4. An odd turn begins without waiting. DONE is set after even turns and after the last one.

Memory ordering. Words are stored with release and loaded with acquire semantics. So the reader of a new SEQUENCE sees
the words of step 1 and the caller's arrays, and the reader of DONE sees the results of the slot's shards.

Any thread may run a shard. What a shard computes depends on its number and on SHARDS alone.
"""

from typing import Any

from tinynet.backend.cpu.runtime.intrinsics import (
    call_entry,
    load_word,
    pause,
    replace_word,
    store_word,
    yield_processor,
)
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.memory import PAIR, aligned_words

PAIR_WORDS = PAIR // 8
SEQUENCE, ENTRY, ARGUMENTS, SHARDS, TURNS, SLOTS, FAILED = range(7)
CLAIMED, DONE = 0, PAIR_WORDS  # in a slot
SLOT_WORDS = 2 * PAIR_WORDS
STOP = -1
OWNER_BITS = 16  # of CLAIMED: the slot of the claimer. Above them: SEQUENCE

ROW_WORDS = 4096 // 8  # of a recorded launch: its entry, shards and turns, and from word PAIR_WORDS its arguments

PATIENCE = 2_000  # polls, about 50 µs, before a waiting thread starts to yield its processor


def new_mailbox(slots: int) -> Any:
    """A new mailbox for as many threads as slots, the caller's included."""
    [mailbox] = aligned_words(1, PAIR_WORDS + slots * SLOT_WORDS)
    mailbox[SLOTS] = slots
    return mailbox


# Below, `mailbox` is an address: compiled code needs no array to read words.

@njit(cache=True)
def serve(mailbox: Any, slot: Any, seen: Any, polls: Any) -> Any:
    """The loop of a worker: take part in each launch, until `polls` polls in a row find no new one.

    `seen` is the SEQUENCE of the last launch that the worker knows. Returns the current one, or STOP.
    """
    idle = 0
    while idle < polls:
        sequence = load_word(mailbox, SEQUENCE)
        if sequence == seen:
            wait(idle)
            idle += 1
        elif sequence == STOP:
            return sequence
        else:
            take_part(mailbox, slot, sequence)
            seen, idle = sequence, 0
    return seen


@njit
def perform(mailbox: Any, shards: Any, turns: Any, entry: Any, arguments: Any) -> Any:
    """Launch, and return when all shards are done; with mailbox 0, run them in this thread. Returns 1 if one raised.

    The caller holds the lock of the pool: a mailbox holds one launch at a time.
    """
    if mailbox == 0:
        failed = 0
        for turn in range(turns):
            for shard in range(shards):
                failed |= call_entry(entry, arguments, shard, shards, turn)
        return failed
    sequence = load_word(mailbox, SEQUENCE) + turns
    store_word(mailbox, ENTRY, entry)
    store_word(mailbox, ARGUMENTS, arguments)
    store_word(mailbox, SHARDS, shards)
    store_word(mailbox, TURNS, turns)
    store_word(mailbox, FAILED, 0)
    store_word(mailbox, SEQUENCE, sequence)  # last: with it the words above become visible
    take_part(mailbox, 0, sequence)
    wait_for_all(mailbox, sequence)
    return load_word(mailbox, FAILED)


@njit(cache=True)
def perform_rows(mailbox: Any, shards: Any, rows: Any) -> Any:
    """Replay the recorded launches in `rows` (launches, ROW_WORDS) in order. Returns 1 if a shard raised.

    `shards` is not used: each row has its own number. Launches of one shard do not use the mailbox.
    """
    failed = 0
    for i in range(rows.shape[0]):
        entry, shards, turns = rows[i, 0], rows[i, 1], rows[i, 2]
        arguments = rows.ctypes.data + 8 * i * ROW_WORDS + PAIR
        failed |= perform(mailbox if shards > 1 else 0, shards, turns, entry, arguments)
    return failed


@njit
def take_part(mailbox: Any, slot: Any, sequence: Any) -> None:
    """Claim slots that are free, this thread's own first, and run their shards in all turns: steps 2 and 3."""
    slots = load_word(mailbox, SLOTS)
    mine = (sequence << OWNER_BITS) + slot
    turns = 0
    for i in range(slots):
        claimed = (slot + i) % slots
        place = PAIR_WORDS + claimed * SLOT_WORDS
        before = load_word(mailbox, place + CLAIMED)
        if before >> OWNER_BITS < sequence and replace_word(mailbox, place + CLAIMED, before, mine):
            if claimed < load_word(mailbox, SHARDS):
                turns = load_word(mailbox, TURNS)
                take_turn(mailbox, claimed, sequence - turns, 0)
            else:  # a slot without shards
                store_word(mailbox, place + DONE, sequence)
    for turn in range(1, turns):
        if turn % 2 == 0:
            wait_for_all(mailbox, sequence - turns + turn - 1)
        for claimed in range(slots):
            place = PAIR_WORDS + claimed * SLOT_WORDS
            if load_word(mailbox, place + CLAIMED) == mine and load_word(mailbox, place + DONE) < sequence:
                take_turn(mailbox, claimed, sequence - turns, turn)


@njit
def take_turn(mailbox: Any, slot: Any, before: Any, turn: Any) -> None:
    """Run the shards of a slot in one turn. `before` is SEQUENCE of the previous launch."""
    shards, slots = load_word(mailbox, SHARDS), load_word(mailbox, SLOTS)
    for shard in range(slot, shards, slots):
        if call_entry(load_word(mailbox, ENTRY), load_word(mailbox, ARGUMENTS), shard, shards, turn):
            store_word(mailbox, FAILED, 1)
    if turn % 2 == 0 or turn + 1 == load_word(mailbox, TURNS):
        store_word(mailbox, PAIR_WORDS + slot * SLOT_WORDS + DONE, before + turn + 1)


@njit
def wait_for_all(mailbox: Any, turn: Any) -> None:
    """A barrier: return when every slot has completed the turn of this number."""
    for slot in range(load_word(mailbox, SLOTS)):
        polls = 0
        while load_word(mailbox, PAIR_WORDS + slot * SLOT_WORDS + DONE) < turn:
            wait(polls)
            polls += 1


@njit
def wait(polls: Any) -> None:
    """Wait before the next poll, after `polls` polls: at first a few cycles, then by yielding the processor."""
    if polls < PATIENCE:
        pause()
    else:
        yield_processor()
