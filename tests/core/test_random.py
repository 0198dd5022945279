"""The random numbers: Random123's own vectors, independence of size, and statistics that a broken generator fails."""

import math
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.errors import ArgumentError
from tinynet.random import (
    current_seed,
    keep_mask,
    next_draw,
    normal,
    permutation,
    philox,
    seed_or_current,
    stream,
    uniform,
    words,
)

KEY = (7, 11)

# Random123, examples/kat_vectors: counter, key, result of philox4x32 with 10 rounds
KNOWN = [
    ("00000000 00000000 00000000 00000000", "00000000 00000000", "6627e8d5 e169c58d bc57ac4c 9b00dbd8"),
    ("ffffffff ffffffff ffffffff ffffffff", "ffffffff ffffffff", "408f276d 41c83b0e a20bc7c6 6d5451fd"),
    ("243f6a88 85a308d3 13198a2e 03707344", "a4093822 299f31d0", "d16cfe09 94fdcceb 5001e420 24126ea1"),
]


def hexadecimal(text: str) -> tuple[int, ...]:
    return tuple(int(word, 16) for word in text.split())


@pytest.mark.parametrize(("counter", "key", "result"), KNOWN)
def test_philox_gives_the_published_words(counter: str, key: str, result: str) -> None:
    arrays = tuple(np.array([word], np.uint32) for word in hexadecimal(counter))
    found = philox(np, arrays, hexadecimal(key))  # type: ignore[arg-type]
    assert all(word.dtype == np.uint32 for word in found)
    assert tuple(int(word[0]) for word in found) == hexadecimal(result)


def one_word(index: int, key: tuple[int, int], step: int) -> int:
    """A second writing of the generator, in Python's integers, one word at a time."""
    mask = 2**32 - 1
    c = [index // 4, step & mask, step >> 32, 0]
    k = list(key)
    for _ in range(10):
        high, low = divmod(0xD2511F53 * c[0], 2**32)
        high2, low2 = divmod(0xCD9E8D57 * c[2], 2**32)
        c = [high2 ^ c[1] ^ k[0], low2, high ^ c[3] ^ k[1], low]
        k = [(k[0] + 0x9E3779B9) & mask, (k[1] + 0xBB67AE85) & mask]
    return c[index % 4]


@pytest.mark.parametrize("step", [0, 1, 2**32 - 1, 2**32, 2**40 + 5, 2**63 - 1])
def test_words_come_from_index_and_step(step: int) -> None:
    """The counter is (index // 4, step low, step high, 0): steps have 64 bits."""
    expected = [one_word(i, KEY, step) for i in range(11)]
    assert words(np, 11, KEY, step).tolist() == expected
    assert words(np, 11, KEY, np.array(step)).tolist() == expected


@pytest.mark.parametrize("key", [(0, 0), (2**32 - 1, 2**32 - 1), (5, 2**31)])
def test_words_of_extreme_keys(key: tuple[int, int]) -> None:
    """Also of NumPy's integers, whose sums overflow with a warning."""
    expected = [one_word(i, key, 3) for i in range(5)]
    assert words(np, 5, key, 3).tolist() == expected
    assert words(np, 5, (np.uint32(key[0]), np.uint32(key[1])), 3).tolist() == expected  # type: ignore[arg-type]


def test_the_first_words_do_not_depend_on_the_size() -> None:
    many = words(np, 1000, KEY, 5)
    assert many.dtype == np.uint32
    for size in (0, 1, 2, 3, 4, 5, 999):
        assert words(np, size, KEY, 5).tolist() == many[:size].tolist()


def test_keys_and_steps_give_other_words() -> None:
    drawn = [words(np, 64, key, step).tobytes() for key in ((0, 0), (0, 1), (1, 0)) for step in (0, 1, 2**32)]
    assert len(set(drawn)) == len(drawn)


@pytest.mark.parametrize("p", [0.0, 0.1, 0.25, 1 / 3, 0.5, 0.9, 1 - 2**-33])
def test_the_threshold_of_a_mask_is_an_integer(p: float) -> None:
    """True where word >= floor(p 2**32): compared as integers, and never rounded up to 2**32."""
    drawn = [int(word) for word in words(np, 35, KEY, 2)]
    mask = keep_mask(np, (5, 7), p, KEY, 2)
    assert mask.dtype == bool
    assert mask.ravel().tolist() == [word >= math.floor(p * 2**32) for word in drawn]


def test_the_threshold_itself_is_kept() -> None:
    word = int(words(np, 1, KEY, 0)[0])
    assert keep_mask(np, (1,), word / 2**32, KEY, 0).tolist() == [True]
    assert keep_mask(np, (1,), (word + 1) / 2**32, KEY, 0).tolist() == [False]


def test_masks_drop_the_share_they_should() -> None:
    for p in (0.1, 0.5, 0.8):
        dropped = 1 - keep_mask(np, (100_000,), p, KEY, 9).mean()
        assert abs(dropped - p) < 5 * math.sqrt(p * (1 - p) / 100_000)


def test_uniform_numbers() -> None:
    n = 100_000
    u = uniform((n,), KEY, 1)
    assert u.dtype == np.float64
    assert u.min() > 0
    assert u.max() < 1
    np.testing.assert_array_equal(u[:4] * 2**32 - 0.5, [one_word(i, KEY, 1) for i in range(4)])
    assert np.abs(np.sort(u) - (np.arange(n) + 0.5) / n).max() < 1.95 / math.sqrt(n)  # Kolmogorov and Smirnov, 0.1 %
    assert abs(np.corrcoef(u[:-1], u[1:])[0, 1]) < 4 / math.sqrt(n)


def test_the_extreme_words_stay_inside_of_the_open_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither 0, which has no logarithm, nor 1."""
    extremes = np.array([0, 2**32 - 1] * 4, np.uint32)
    monkeypatch.setattr(tn.random, "words", lambda xp, size, key, step: extremes[:size])
    assert 0 < uniform((2,), KEY, 0)[0] < uniform((2,), KEY, 0)[1] < 1
    assert np.isfinite(normal((4,), KEY, 0)).all()


def test_normal_numbers() -> None:
    n = 100_000
    z = normal((n,), KEY, 1)
    assert z.dtype == np.float64
    assert abs(z.mean()) < 4 / math.sqrt(n)
    assert abs(z.var() - 1) < 4 * math.sqrt(2 / n)
    assert abs((z**3).mean()) < 4 * math.sqrt(15 / n)
    assert abs((z**4).mean() - 3) < 4 * math.sqrt(96 / n)
    assert abs(np.corrcoef(z[0::2], z[1::2])[0, 1]) < 6 / math.sqrt(n)  # the two of one pair
    expected = np.array([math.erf(x / math.sqrt(2)) for x in (1, 2, 3)])
    assert np.abs([(np.abs(z) < x).mean() for x in (1, 2, 3)] - expected).max() < 5 * 0.5 / math.sqrt(n)


@pytest.mark.parametrize("shape", [(), (1,), (3,), (2, 3), (0,), (3, 0)])
def test_shapes(shape: tuple[int, ...]) -> None:
    assert uniform(shape, KEY, 0).shape == normal(shape, KEY, 0).shape == shape
    assert keep_mask(np, shape, 0.5, KEY, 0).shape == shape


def test_permutations() -> None:
    order = permutation(1000, KEY, 3)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(1000))
    assert (order != permutation(1000, KEY, 4)).any()
    assert (order == permutation(1000, KEY, 3)).all()
    assert [permutation(n, KEY, 0).tolist() for n in (0, 1)] == [[], [0]]
    keys = [one_word(2 * i, KEY, 3) << 32 | one_word(2 * i + 1, KEY, 3) for i in range(50)]
    assert permutation(50, KEY, 3).tolist() == sorted(range(50), key=keys.__getitem__)


@pytest.mark.parametrize("size", [2**16 - 1, 2**16 + 1, 10**5])
def test_permutations_and_words_of_many_elements(size: int) -> None:
    """More than 16 bits count."""
    order = permutation(size, KEY, 1)
    assert np.array_equal(np.sort(order), np.arange(size)) and np.any(order[2**15 :] > 2**15)
    drawn = words(np, 4 * size, KEY, 3)
    assert len(np.unique(drawn)) > 4 * size * (1 - 4 * size / 2**32)
    for place in (0, 5, 2**16 + 3, 4 * size - 1):
        assert int(drawn.reshape(-1)[place]) == one_word(place, KEY, 3)


def test_all_permutations_are_equally_likely() -> None:
    counts: dict[tuple[int, ...], int] = {}
    for step in range(3000):
        order = tuple(permutation(3, KEY, step).tolist())
        counts[order] = counts.get(order, 0) + 1
    assert len(counts) == 6
    assert sum((count - 500) ** 2 / 500 for count in counts.values()) < 20.5  # χ² of 5 degrees, 0.1 %


def test_a_state_that_is_loaded_goes_on_with_its_draws() -> None:
    before = tn.random.state_dict()
    tn.seed(5)
    next_draw()
    state, following = tn.random.state_dict(), [next_draw(), next_draw()]
    tn.seed(6)
    tn.random.load_state_dict(state)
    assert current_seed() == 5 and [next_draw(), next_draw()] == following == [1, 2]
    tn.random.load_state_dict(before)


def test_a_state_that_is_loaded_is_checked_and_made_of_numbers_of_python() -> None:
    before = tn.random.state_dict()
    with pytest.raises(ArgumentError, match="load_state_dict: seed must be an integer"):
        tn.random.load_state_dict({"seed": -1, "draws": 3})
    for missing in ("seed", "draws"):
        with pytest.raises(ArgumentError, match=f"load_state_dict: {missing} must be .*, got None; was it saved"):
            tn.random.load_state_dict({name: 3 for name in before if name != missing})
    assert tn.random.state_dict() == before
    loaded: Any = {"seed": np.int64(5), "draws": np.array(7)}
    tn.random.load_state_dict(loaded)
    assert tn.random.state_dict() == {"seed": 5, "draws": 7}
    assert {type(number) for number in tn.random.state_dict().values()} == {int}
    tn.random.load_state_dict(before)


def test_streams_have_names() -> None:
    assert (stream("init"), stream("1.recurrent")) == (0xC674E474, 0xD436B8AA)  # CRC-32
    assert len({stream(name) for name in ("", "init", "shuffle", "split", "1", "2", "2.inputs", "2.recurrent")}) == 8
    assert all(0 <= stream(name) < 2**32 for name in ("", "1", "σ"))


def test_seed_starts_the_count_of_draws_again() -> None:
    tn.seed(5)
    assert (current_seed(), next_draw(), next_draw()) == (5, 0, 1)
    tn.seed(np.int64(6))
    assert (current_seed(), next_draw()) == (6, 0)
    assert type(current_seed()) is int


@pytest.mark.parametrize("value", [-1, 2**32, 1.0, "0", None, True, np.float64(3)])
def test_a_seed_is_a_number_of_32_bits(value: Any) -> None:
    tn.seed(3)
    with pytest.raises(ArgumentError, match=r"seed: value must be an integer from 0 to 4294967295, got .*; tn.seed"):
        tn.seed(value)
    assert current_seed() == 3


def test_a_seed_that_is_given_counts_even_if_it_is_0() -> None:
    tn.seed(5)
    assert [seed_or_current("f", seed) for seed in (None, 0, 7)] == [5, 0, 7]
    with pytest.raises(ArgumentError, match=r"f: seed must be an integer from 0 to 4294967295, got -1; seed=0"):
        seed_or_current("f", -1)
