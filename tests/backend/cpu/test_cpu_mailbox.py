"""The mailbox: every shard of every turn runs once, whichever threads take part, sleep or come late."""

import threading
import time
from typing import Any

import numpy as np
import pytest

from tests.support.kernels import count, wait_for
from tinynet.backend.cpu.runtime import mailbox
from tinynet.backend.cpu.runtime.intrinsics import load_word, pause, store_word
from tinynet.backend.cpu.runtime.jit import njit
from tinynet.backend.cpu.runtime.mailbox import CLAIMED, DONE, PAIR_WORDS, SEQUENCE, SLOT_WORDS, new_mailbox, serve
from tinynet.backend.cpu.runtime.memory import PAIR
from tinynet.backend.cpu.runtime.threads import launch, launch_in_turns, set_threads

# --- one turn -------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("number", [1, 2, 3, 5])
def test_every_shard_runs_once_whatever_the_number_of_threads(number: int) -> None:
    set_threads(number)
    runs = np.zeros((9, 9), np.int64)
    for shards in range(1, 9):
        launch(count, runs, shards=shards)
    launch(count, runs)
    expected = np.tri(9, 9, -1, dtype=np.int64)  # shards 0 ... S-1 of S
    expected[number, :number] += 1
    np.testing.assert_array_equal(runs, expected)


def test_thousands_of_launches() -> None:
    random = np.random.default_rng(0)
    runs, expected = np.zeros((9, 9), np.int64), np.zeros((9, 9), np.int64)
    for number in (2, 5, 3):
        set_threads(number)
        for shards in random.integers(1, 9, size=2000):
            launch(count, runs, shards=int(shards))
            expected[shards, :shards] += 1
    np.testing.assert_array_equal(runs, expected)


@njit
def meet(shard: Any, shards: Any, arrived: Any, met: Any, looks: Any) -> None:
    """Each shard waits for the others: a while, because alone it would wait for ever."""
    address = arrived.ctypes.data
    store_word(address, shard, 1)
    for _ in range(looks):
        here = 0
        for other in range(shards):
            here += load_word(address, other)
        if here == shards:
            met[shard] = 1
            break


def together(shards: int, looks: int = 20_000_000) -> bool:
    """Whether all shards ran at the same time."""
    arrived, met = np.zeros(shards, np.int64), np.zeros(shards, np.int64)
    launch(meet, arrived, met, looks, shards=shards)
    return bool(met.all())


def test_shards_run_at_the_same_time() -> None:
    set_threads(2)
    wait_for(lambda: together(2))
    assert not together(3, looks=10_000)  # three shards on two threads cannot meet


def test_a_late_worker_claims_nothing() -> None:
    """A worker that has read the number of a launch, and looks at the slots only after its end, must not run them."""
    mailbox = new_mailbox(2)
    mailbox[SEQUENCE] = 7
    for slot in range(2):
        mailbox[PAIR_WORDS + slot * SLOT_WORDS + CLAIMED] = 7 << 16
        mailbox[PAIR_WORDS + slot * SLOT_WORDS + DONE] = 7
    before = mailbox.copy()
    assert serve(mailbox.ctypes.data, 1, 6, 10) == 7  # with no entry to call: to run a shard would crash
    np.testing.assert_array_equal(mailbox, before)


def test_a_worker_waits_as_long_again_after_a_launch(monkeypatch: pytest.MonkeyPatch) -> None:
    words, parts, waits = iter([6, 6, 7, 7, 7, 7]), list[int](), list[int]()
    monkeypatch.setattr(mailbox, "load_word", lambda place, word: next(words))
    monkeypatch.setattr(mailbox, "take_part", lambda place, slot, sequence: parts.append(sequence))
    monkeypatch.setattr(mailbox, "wait", waits.append)
    assert getattr(serve, "py_func", serve)(0, 1, 6, 3) == 7
    assert parts == [7] and waits == [0, 1, 0, 1, 2]


def test_what_different_threads_write_lies_in_different_pairs_of_lines() -> None:
    address = new_mailbox(3).ctypes.data
    assert address % PAIR == 0
    places = [0, *(PAIR_WORDS + slot * SLOT_WORDS + word for slot in range(3) for word in (CLAIMED, DONE))]
    assert len({(address + 8 * place) // PAIR for place in places}) == len(places) == 7


# --- several turns --------------------------------------------------------------------------------------------------

@njit
def mix(shard: Any, shards: Any, turn: Any, x: Any, waits: Any) -> None:
    """In two turns, of each row the next one: numbers of all shards. A shard that is late makes the others wait."""
    t, size = turn // 2, x.shape[1]
    low, high = shard * size // shards, (shard + 1) * size // shards
    if turn % 2 and t < x.shape[0] - 1:
        for i in range(low, high):
            x[t + 1, i] = x[t, i] * 3  # what the shard itself has made
    elif t > 0:
        for i in range(low, high):
            x[t, i] = (x[t, i] + x[t - 1, size - 1 - i] * 5 + i) % 1_000_003  # what another has
        for _ in range(waits[(turn + shard) % waits.size]):
            pause()


def mixed(x: Any) -> Any:
    for t in range(1, x.shape[0]):
        x[t] = (x[t - 1] * 3 + x[t - 1, ::-1] * 5 + np.arange(x.shape[1])) % 1_000_003
    return x


@pytest.mark.parametrize("number", [1, 2, 3, 5])
@pytest.mark.parametrize("longest", [1, 40, 3000])
def test_in_turns_each_finds_what_the_others_made(number: int, longest: int) -> None:
    set_threads(number)
    random = np.random.default_rng(number)
    for shards in (1, 2, 3, 4, 7):
        for steps in (1, 2, 30):
            x = np.zeros((steps, 23), np.int64)
            x[0] = random.integers(1000, size=23)
            expected = mixed(x.copy())
            launch_in_turns(mix, 2 * steps - 1, x, random.integers(longest, size=29), shards=shards)
            np.testing.assert_array_equal(x, expected)
            launch(count, np.zeros((9, 9), np.int64), shards=shards)


def test_in_turns_while_others_launch_and_sleep() -> None:
    set_threads(3)
    wrong = []

    def go(seed: int) -> None:
        random = np.random.default_rng(seed)
        for _ in range(60):
            x = np.zeros((9, 23), np.int64)
            x[0] = random.integers(1000, size=23)
            expected = mixed(x.copy())
            launch_in_turns(mix, 17, x, random.integers(300, size=29))
            wrong.extend([] if np.array_equal(x, expected) else [seed])
            time.sleep(float(random.choice([0, 0.001, 0.004])))

    callers = [threading.Thread(target=go, args=(seed,)) for seed in range(3)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join()
    assert not wrong


@pytest.mark.parametrize("shards", [1, 2])
def test_no_turns_and_a_turn_that_raises(shards: int) -> None:
    set_threads(2)
    x = np.zeros((3, 23), np.int64)
    launch_in_turns(mix, 0, x, np.zeros(1, np.int64), shards=shards)
    assert not x.any()
    with pytest.raises(RuntimeError, match="mix_and_fail raised"):
        launch_in_turns(mix_and_fail, 5, x, shards=shards)
    launch_in_turns(mix, 5, x, np.zeros(1, np.int64), shards=shards)
    np.testing.assert_array_equal(x, mixed(np.zeros((3, 23), np.int64)))


@njit
def mix_and_fail(shard: Any, shards: Any, turn: Any, x: Any) -> None:
    if turn == 2:
        raise ValueError("no")
