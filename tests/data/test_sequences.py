"""Padding, masks, batches of several inputs and of similar length; training, evaluation and prediction with them."""

from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import nn
from tinynet.data import Loader, length_mask, pad
from tinynet.data.buckets import by_length
from tinynet.errors import ArgumentError, ShapeError
from tinynet.random import permutation, stream

RNG = np.random.default_rng(0)
LENGTHS = RNG.integers(1, 12, 37)
SEQUENCES = [RNG.standard_normal((length, 3)).astype("float32") for length in LENGTHS]
LABELS = RNG.integers(0, 2, 37)


@pytest.mark.parametrize("side", ["right", "left"])
@pytest.mark.parametrize("length", [None, 15, np.int64(12)])
def test_padding(side: str, length: Any) -> None:
    x, mask = pad(SEQUENCES, side=side, value=-7.0, length=length)
    T = length or LENGTHS.max()
    assert x.shape == (37, T, 3) and x.dtype == np.float32
    assert mask.shape == (37, T) and mask.dtype == bool
    for row, real, sequence in zip(x, mask, SEQUENCES, strict=True):
        place = slice(len(sequence)) if side == "right" else slice(T - len(sequence), None)
        assert np.array_equal(row[place], sequence) and real[place].all() and real.sum() == len(sequence)
        assert (row[~real] == -7.0).all()
    if side == "right":
        assert np.array_equal(mask, length_mask(LENGTHS, length))


@pytest.mark.parametrize(("sequences", "dtype"), [
    ([[1, 2], [3]], "int64"), ([[1.0], [2.0, 3.0]], "float32"), ([np.ones(2), np.ones(1, "float32")], "float64"),
    ([np.ones(2, "uint8"), np.full(1, 0.5)], "float64"),
    (iter([np.ones((1, 2), "uint8")]), "uint8"), ([tn.Tensor([1.0, 2.0])], "float32")])
def test_dtypes(sequences: Any, dtype: str) -> None:
    x, _ = pad(sequences)
    assert x.dtype == dtype


@pytest.mark.parametrize(("value", "dtype", "held"), [
    (0.5, "int64", False), (np.nan, "int64", False), (np.inf, "int32", False), (-1, "uint8", False),
    (256, "uint8", False), (2, "bool", False), (255, "uint8", True), (-1.0, "int64", True), (True, "bool", True),
    (np.nan, "float32", True), (0.1, "float32", True), (np.float32(7), "int8", True)])
def test_a_value_that_the_dtype_cannot_hold_is_refused(value: Any, dtype: str, held: bool) -> None:
    sequences = [np.ones(2, dtype), np.ones(1, dtype)]
    if held:
        x, _ = pad(sequences, value=value)
        assert x.dtype == dtype and np.array_equal(x[1, 1], np.asarray(value, dtype), equal_nan=dtype == "float32")
    else:
        with pytest.raises(ArgumentError, match=f"pad: value must be one that {dtype} can hold, got "):
            pad(sequences, value=value)


def test_lengths_make_a_mask() -> None:
    assert np.array_equal(length_mask([2, 0], 3), [[True, True, False], [False] * 3])
    assert np.array_equal(length_mask(np.array([2, 0], np.uint8), 2), [[True, True], [False] * 2])
    assert length_mask([0, 0]).shape == length_mask([0, 0], 0).shape == (2, 0)


@pytest.mark.parametrize(("make", "error", "message"), [
    (lambda: pad([]), ArgumentError, "sequences must be at least one, got none"),
    (lambda: pad([[1.0], []]), ArgumentError, r"at least one step, got shape \(0,\) for sequence 1; leave it out"),
    (lambda: pad([1.0]), ArgumentError, "at least one step"),
    (lambda: pad([[1.0]], side="front"), ArgumentError, 'side must be "right" or "left"'),
    (lambda: pad([[1.0, 2.0]], length=1), ArgumentError, "pad: length must be at least .* 2, got 1"),
    (lambda: pad([np.ones((2, 3)), np.ones((2, 4))]), ShapeError, "must have one shape"),
    (lambda: length_mask([-1]), ArgumentError, "length_mask: lengths must be integers"),
    (lambda: length_mask([1.5]), ArgumentError, "integers of 0 or more"),
    (lambda: length_mask([[1]]), ArgumentError, "integers of 0 or more"),
    *((lambda length=length: length_mask([3], length), ArgumentError, f"length_mask: length must be .* got {length}")
      for length in (2, 0, -1, True, 3.0)),
    (lambda: length_mask([1], True), ArgumentError, "length_mask: length must be .* got True"),
    (lambda: length_mask(np.zeros(0, int)), ArgumentError, "integers of 0 or more"),
    (lambda: pad([[1.0]], length=0), ArgumentError, "pad: length must be at least .* 1, got 0"),
    (lambda: Loader(LABELS, batch_size=4, bucket=2), ArgumentError, "bucket must be .* and come with lengths"),
    (lambda: Loader(LABELS, batch_size=4, lengths=LENGTHS), ArgumentError, "bucket must be"),
    (lambda: Loader(LABELS, batch_size=4, lengths=LENGTHS, bucket=0), ArgumentError, "bucket must be"),
    (lambda: Loader(LABELS, batch_size=4, lengths=LENGTHS, bucket=True), ArgumentError, "bucket must be .* got True"),
    *((lambda lengths=lengths: Loader(LABELS, batch_size=4, lengths=lengths, bucket=1), ArgumentError,
       "must be 37 integers") for lengths in (LENGTHS[1:], LENGTHS[:, None], LENGTHS.astype(float))),
    (lambda: Loader((LABELS, LENGTHS[1:]), batch_size=4), ArgumentError, "must have the same length, got 37, 36"),
    (lambda: tn.predict(model(), (X, MASK[1:])), ArgumentError, "must have one length, got 37, 36"),
])
def test_what_is_wrong_is_said(make: Any, error: type[Exception], message: str) -> None:
    with pytest.raises(error, match=message):
        make()


# --- batches --------------------------------------------------------------------------------------------------------

X, MASK = pad(SEQUENCES, value=np.nan)


def test_a_batch_of_several_inputs() -> None:
    (x, mask), labels = next(iter(Loader((X, MASK), LABELS, batch_size=5)))
    assert np.array_equal(x, X[:5], equal_nan=True) and np.array_equal(mask, MASK[:5])
    assert np.array_equal(labels, LABELS[:5])
    (inputs,) = next(iter(Loader((X, MASK), batch_size=5)))
    assert len(inputs) == 2


@pytest.mark.parametrize("device", ["cpu", "gpu-emulated"])
@pytest.mark.parametrize(("side", "first"), [("right", 0), ("left", 0), ("right", 2)])
def test_batches_of_similar_length(side: str, first: int, device: str) -> None:
    """The sequences may be given behind other arrays."""
    x, mask = pad(SEQUENCES, side=side, value=np.nan)
    given: list[Any] = [LABELS, np.arange(37)]
    given.insert(first, (x, mask))
    loader = Loader(*given, batch_size=4, shuffle=True, seed=5, lengths=LENGTHS, bucket=3, device=device)
    batches = [[list(batch) for batch in loader] for _ in range(2)]
    epochs = [[tuple(map(tn.backend.to_host, (*batch.pop(first), *batch))) for batch in epoch] for epoch in batches]
    for epoch in epochs:
        rows = np.concatenate([index for *_, index in epoch])
        assert sorted(rows) == list(range(37))
        assert [len(index) for *_, index in epoch] == [4] * 9 + [1]
        for cut, real, labels, index in epoch:
            assert real.shape == (len(index), LENGTHS[index].max()) == cut.shape[:2]  # no step is padding in all rows
            whole = x[index][:, : cut.shape[1]] if side == "right" else x[index][:, -cut.shape[1] :]
            assert np.array_equal(cut, whole, equal_nan=True) and (real.sum(axis=1) == LENGTHS[index]).all()
            assert np.array_equal(labels, LABELS[index])
    spread = np.mean([np.ptp(LENGTHS[index]) for *_, index in epochs[0]])
    plain = np.mean([np.ptp(LENGTHS[index]) for index, in Loader(np.arange(37), batch_size=4, shuffle=True, seed=5)])
    assert spread < plain / 2
    assert not np.array_equal(epochs[0][0][3], epochs[1][0][3])


def test_lengths_of_few_rows_without_a_mask() -> None:
    """Fewer than a batch. Lengths may be unsigned, and equal ones keep their order."""
    lengths = np.array([3, 1, 2, 1], np.uint8)
    for shuffle in (False, True):
        ((both, rows),) = Loader((np.arange(4), np.arange(4)), np.arange(4), batch_size=5, shuffle=shuffle, seed=0,
                                 lengths=lengths, bucket=1)
        assert lengths[rows].tolist() == [1, 1, 2, 3] and np.array_equal(both, [rows, rows])
    many = np.concatenate([rows for rows, in Loader(np.arange(60), batch_size=9, lengths=np.arange(60) % 2, bucket=7)])
    assert many.tolist() == [*range(0, 60, 2), *range(1, 60, 2)]


def test_rows_without_real_steps_take_no_room() -> None:
    """Beside others. A batch of such rows alone keeps all steps."""
    mask = np.zeros((4, 6), bool)
    mask[1, 1:3] = mask[2, 2:5] = True
    for rows, first, behind in (([0, 1], 1, 3), ([0, 1, 2], 1, 5), ([2, 3], 2, 5), ([0, 3], 0, 6)):
        loader = Loader((mask[rows] * 1.0, mask[rows]), batch_size=4, lengths=mask[rows].sum(axis=1), bucket=1)
        (((x, real),),) = loader
        assert sorted(map(tuple, real)) == sorted(map(tuple, mask[rows, first:behind])) and x.shape == real.shape


def test_the_order_depends_on_seed_and_epoch_alone() -> None:
    def loader(seed: int = 1, **options: Any) -> Loader:
        return Loader(np.arange(37), batch_size=4, seed=seed, lengths=LENGTHS, bucket=2, **options)

    def order(one: Loader) -> list[int]:
        return [int(row) for rows, in one for row in rows]

    first, again = loader(shuffle=True), loader(shuffle=True, threads=2)
    assert [order(first), order(first)] == [order(again), order(again)]
    assert order(loader(shuffle=True)) != order(loader(seed=2, shuffle=True))
    assert order(loader()) == order(loader(seed=2))
    for seed in (1, 2):
        shuffled, moved = (partial(permutation, key=(seed, stream(name)), step=0) for name in ("shuffle", "buckets"))
        assert order(loader(seed, shuffle=True)) == by_length(shuffled(37), LENGTHS, 4, 2, moved).tolist()
    whole, resumed = loader(shuffle=True), loader(shuffle=True)
    batches = iter(whole)
    next(batches)
    resumed.load_state_dict(whole.state_dict())
    assert [rows.tolist() for rows, in batches] == [rows.tolist() for rows, in resumed]


# --- training, evaluation, prediction -------------------------------------------------------------------------------

def model() -> Any:
    tn.seed(1)
    return nn.Sequential(nn.LSTM(3, 6), nn.BatchNorm(6), nn.Conv1D(6, 5, 3, padding="same"), nn.ReLU(),
                         nn.GlobalMaxPool(), nn.Dense(5, 2))


def train(x: np.ndarray, mask: np.ndarray, device: str = "cpu", **options: Any) -> tuple[Any, Any]:
    net = model().to(device)
    loader = Loader((x, mask), LABELS, batch_size=8, shuffle=True, seed=0, lengths=LENGTHS, bucket=2)
    history = tn.fit(net, tn.optim.Adam(net.parameters(), lr=1e-2), loader, validation=loader, show=False,
                     **{"epochs": 2, **options})
    return net, [{name: value for name, value in row.items() if "second" not in name} for row in history]


@pytest.mark.parametrize("device", ["cpu", "gpu-emulated"])
def test_training_on_padding_that_holds_nan(device: str) -> None:
    (net, history), (clean, same) = (train(x, MASK, device) for x in (X, np.where(MASK[..., None], X, 0)))
    assert history == same and history[-1]["train_loss"] < history[0]["train_loss"]
    states = [one.state_dict().values() for one in (net, clean)]
    assert all(map(np.array_equal, *states))
    net.eval()
    outputs = tn.predict(net, (X, MASK), batch_size=10)
    assert np.array_equal(outputs, tn.predict(net, Loader((X, MASK), LABELS, batch_size=10)))
    with tn.no_grad():
        alone = np.concatenate([net(tn.Tensor(one[None], device=device)).numpy() for one in SEQUENCES])
    np.testing.assert_allclose(outputs, alone, atol=1e-5)
    found = tn.evaluate(net, Loader((X, MASK), LABELS, batch_size=10))
    assert found["accuracy"] == (outputs.argmax(axis=1) == LABELS).mean()
    assert tn.predict(net, (X[:0], MASK[:0])).shape == (0, 2)


def test_a_recorded_step_takes_a_mask(monkeypatch: pytest.MonkeyPatch) -> None:
    from tinynet.training.recorded import RecordedStep

    made: list[RecordedStep] = []
    start = RecordedStep.__init__
    monkeypatch.setattr(RecordedStep, "__init__", lambda self, *rest: (made.append(self), start(self, *rest))[1])
    states = []
    for graph in (True, False):
        net = model().to("gpu-emulated")
        tn.fit(net, tn.optim.Adam(net.parameters()), Loader((X, MASK), LABELS, batch_size=9), epochs=3, graph=graph,
               show=False)
        states.append(net.state_dict())
    assert made[0].recording is not None and made[0].is_proven, made[0].reason
    assert all(map(np.array_equal, *(state.values() for state in states)))


def test_a_run_with_masks_resumes(tmp_path: Path) -> None:
    class Stop(tn.callbacks.Callback):
        def on_step(self, run: Any) -> None:
            if run.step == 7:
                raise KeyboardInterrupt

    whole, history = train(X, MASK)
    with pytest.raises(KeyboardInterrupt):
        train(X, MASK, checkpoint=tmp_path / "run.ckpt", callbacks=[Stop()])
    Stop.on_step = lambda self, run: None  # type: ignore[method-assign]
    resumed, same = train(X, MASK, checkpoint=tmp_path / "run.ckpt", callbacks=[Stop()], resume=True)
    assert history == same
    assert all(map(np.array_equal, whole.state_dict().values(), resumed.state_dict().values()))


def test_the_guard_names_what_is_not_finite_beside_a_mask() -> None:
    bad = X.copy()
    bad[3, 0, 0] = np.inf
    with pytest.raises(tn.errors.NonFiniteError, match="the input of the model is the first"):
        train(bad, MASK)
