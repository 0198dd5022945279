"""Training with several ranks, as threads of this process: the results are those of one process.

`tests/training/test_jobs.py` starts real ranks.
"""

import itertools
import shutil
import signal
import threading
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tests.support import ranks
from tinynet import nn
from tinynet.distributed import Communicator
from tinynet.errors import CheckpointError, DistributedError, Interrupted, NonFiniteError
from tinynet.parts import Part
from tinynet.training import checkpoint, evaluate, fit, session
from tinynet.training.ranks import Exchange, divided_by
from tinynet.training.ranks import ranks as of_this_process
from tinynet.training.recorded import RecordedStep
from tinynet.training.signals import Signals

ROWS, STEPS, CLASSES = 41, 6, 3
own = threading.local()
RNG = np.random.default_rng(0)
X = RNG.normal(size=(ROWS, STEPS, 4)).astype("float32")
Y = RNG.integers(0, CLASSES, ROWS)
TIMES = {"seconds", "images_per_second"}


@pytest.fixture(autouse=True)
def each_thread_has_a_rank(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (fit, evaluate):
        monkeypatch.setattr(module, "ranks", lambda: getattr(own, "rank", None) or Communicator())


def in_ranks(size: int, work: Callable[[Any], Any]) -> list[Any]:
    def one(rank: Any) -> Any:
        own.rank = rank
        return work(rank)
    return ranks.run(size, one) if size > 1 else [work(Communicator())]


def network(dtype: str = "float64") -> nn.Sequential:
    """Everything that needs the whole batch: statistics, masks, counters."""
    return nn.Sequential(nn.BatchNorm(4), nn.LSTM(4, 5, dropout=0.2, recurrent_dropout=0.2, return_sequences=False),
                         nn.Dropout(0.3), nn.BatchNorm(5), nn.Dense(5, CLASSES)).astype(dtype)


def loader(dtype: str = "float64", batch_size: int = 16, **options: Any) -> tn.data.Loader:
    return tn.data.Loader(X.astype(dtype), Y, batch_size=batch_size, **{"shuffle": True, "seed": 3, **options})


def trained(size: int, make: Callable[[], Any] = network, batches: Callable[[], Any] = loader,
            callbacks: Callable[[Any], Any] = lambda rank: [], epochs: int = 3,
            validation: Callable[[], Any] = lambda: None, **options: Any) -> list[Any]:
    """For each rank the history without times, the state of the model and the number of steps."""
    tn.seed(7)
    models = [make() for _ in range(size)]  # of different weights: rank 0 gives its own to the others

    def work(rank: Any) -> Any:
        model = models[rank.rank]
        optimizer = tn.optim.Adam(model.parameters(), lr=0.05)
        schedule = tn.optim.OneCycle(optimizer, peak=0.05, steps=12)
        history = tn.fit(model, optimizer, batches(), epochs=epochs, max_norm=0.5, schedule=schedule, show=False,
                         callbacks=callbacks(rank), validation=validation(), **options)
        rows = [{name: value for name, value in row.items() if name not in TIMES} for row in history]
        return rows, model.state_dict(), int(optimizer.steps)

    return in_ranks(size, work)


def same(many: list[Any], one: Any, tolerance: float = 1e-9) -> bool:
    """Whether all ranks are equal bit for bit, and equal to one process but for rounding."""
    history, state, steps = many[0]
    for other in many[1:]:
        assert (other[0], other[2]) == (history, steps)
        assert all(np.array_equal(state[name], other[1][name]) for name in state)
    return bool(steps == one[2] and [*map(list, history)] == [*map(list, one[0])]
                and all(np.allclose([*row.values()], [*expected.values()], rtol=tolerance * 10)
                        for row, expected in zip(history, one[0], strict=True))
                and all(ranks.difference(state[name], one[1][name]) < tolerance for name in state))


def recall(labels: Any, outputs: Any) -> float:
    return float((outputs.argmax(axis=-1) * labels * (1 + np.arange(len(labels)))).sum())  # depends on the order


@pytest.mark.parametrize(("dtype", "tolerance"), [("float64", 1e-9), ("float32", 1e-3)])
@pytest.mark.parametrize("size", [2, 3])
def test_a_run_is_that_of_one_process(size: int, dtype: str, tolerance: float) -> None:
    options: dict[str, Any] = {"make": lambda: network(dtype), "batches": lambda: loader(dtype),
                               "callbacks": lambda rank: [tn.callbacks.EMA(0.8)],
                               "validation": lambda: loader(dtype, 7, shuffle=False), "metrics": {"recall": recall}}
    one, = trained(1, **options)
    assert same(trained(size, **options), one, tolerance)
    assert one[2] == 9


def test_a_run_on_a_device_is_that_of_one_process(steps: list[RecordedStep]) -> None:
    """The sums pass through the host, so that no step is recorded."""
    if not shutil.which("g++"):
        pytest.skip("kernels are emulated with g++, which is not here")

    def make() -> Any:
        return network("float32").to("gpu-emulated")

    def batches() -> Any:
        return loader("float32", device="gpu-emulated")
    found = trained(2, make, batches, epochs=2)
    assert not steps and same(found, trained(1, make, batches, epochs=2)[0], 1e-3)


@pytest.mark.parametrize("fault", ["dropout", "batch norm", "mean of means", "clipped before"])
def test_a_planted_mistake_is_found(fault: str, monkeypatch: pytest.MonkeyPatch) -> None:
    one, = trained(1)
    if fault == "dropout":
        monkeypatch.setattr(Part, "first", lambda self, size: 0)
    elif fault == "batch norm":
        monkeypatch.setattr(Part, "across", property(lambda self: lambda xp, *sums: sums))
    elif fault == "mean of means":
        monkeypatch.setattr("tinynet.training.ranks.divided_by", lambda loss, labels: 1)
    else:
        usual = Exchange._collect

        def clipped(self: Any, *arguments: Any) -> Any:
            tn.optim.clip_global_norm(self.parameters, 0.5)
            return usual(self, *arguments)
        monkeypatch.setattr(Exchange, "_collect", clipped)
    try:
        assert not same(trained(2), one)
    except DistributedError as error:  # the ranks' own averages of BatchNorm drift apart
        assert fault == "batch norm"
        assert "after epoch 1 rank 1 of 2 has others than rank 0" in str(error)


def test_a_loss_with_weights_divides_by_those_of_all_ranks() -> None:
    loss = partial(tn.ops.cross_entropy, weight=tn.Tensor(np.array([0.2, 1.0, 5.0])), ignore_index=1)
    assert same(trained(2, loss=loss, validation=loader), trained(1, loss=loss, validation=loader)[0])


def test_a_batch_of_ignored_labels_alone() -> None:
    loss = partial(tn.ops.cross_entropy, ignore_index=1)

    def batches() -> Any:
        return [(X[:16].astype("float64"), np.ones(16, int)), (X[16:].astype("float64"), Y[16:])]
    one, = trained(1, batches=batches, loss=loss, epochs=2)
    assert np.isfinite(one[0][-1]["train_loss"])
    assert same(trained(2, batches=batches, loss=loss, epochs=2), one)


def test_the_gradient_of_a_loss_with_weights_has_the_scale_of_one_process() -> None:
    """Without a limit of its norm, and by an optimizer whose steps grow with it."""
    loss, ends = partial(tn.ops.cross_entropy, weight=tn.Tensor(np.array([0.2, 1.0, 5.0]))), list[Any]()
    for size in (1, 2, 3):
        tn.seed(7)
        models = [network() for _ in range(size)]

        def work(rank: Any, models: Any = models) -> Any:
            model = models[rank.rank]
            tn.fit(model, tn.optim.SGD(model.parameters(), lr=0.1), loader(), epochs=1, loss=loss, show=False)
            return model.state_dict()

        ends.append(in_ranks(size, work)[-1])
    for other in ends[1:]:
        assert all(ranks.difference(array, other[name]) < 1e-9 for name, array in ends[0].items())


def test_of_options_given_twice_the_last_ones_count() -> None:
    """In a partial of a partial with a name, which Python does not make one of."""
    labels = tn.Tensor(np.array([0, 1, 2, 2, 2, 1]))
    inner: Any = partial(tn.ops.cross_entropy, ignore_index=0)
    inner.__name__ = "without_the_first"
    assert divided_by(inner, labels).item() == 5 and divided_by(partial(inner, ignore_index=2), labels).item() == 3


def test_what_the_mean_of_a_loss_divides_by() -> None:
    """The weights of the classes that count; an ignored class may be none of them. Of probabilities, the rows."""
    loss, labels = partial(tn.ops.cross_entropy, weight=[0.5, 2.0, 4.0]), tn.Tensor(np.array([0, 1, 2, 2]))
    assert divided_by(loss, labels).item() == 10.5
    assert divided_by(partial(loss, ignore_index=2), labels).item() == 2.5
    assert divided_by(partial(loss, ignore_index=-1), tn.Tensor(np.array([0, -1, 1, -1]))).item() == 2.5
    assert divided_by(partial(loss, ignore_index=9), tn.Tensor(np.array([0, 9, 1, 9]))).item() == 2.5
    assert divided_by(loss, tn.Tensor(np.full((4, 3), 1 / 3))) == divided_by(tn.ops.mse, labels) == 4


@pytest.mark.parametrize("masked", [False, True])
def test_batches_of_a_list_and_batches_smaller_than_the_ranks(masked: bool) -> None:
    rows = [slice(0, 16), slice(16, 18), slice(18, 41)]
    x, mask = X.astype("float64"), np.arange(STEPS) <= np.arange(ROWS)[:, None] % STEPS

    def batches() -> Any:
        return [((x[some], mask[some]) if masked else x[some], Y[some]) for some in rows]
    one, = trained(1, batches=batches, validation=batches)
    assert same(trained(3, batches=batches, validation=batches), one)


def test_a_loader_with_a_loop_of_its_own_gives_the_batches_that_are_cut() -> None:
    class Doubled(tn.data.Loader):
        def __iter__(self) -> Any:
            return ((2 * x, y) for x, y in super().__iter__())

    def batches() -> Any:
        return Doubled(X.astype("float64"), Y, batch_size=16, shuffle=True, seed=3)
    one, = trained(1, batches=batches, epochs=2)
    assert same(trained(2, batches=batches, epochs=2), one)


def test_batches_of_similar_length_are_cut_alike() -> None:
    lengths = RNG.integers(1, STEPS + 1, ROWS)
    mask = np.arange(STEPS) < lengths[:, None]

    def batches() -> Any:
        return tn.data.Loader((X.astype("float64"), mask), Y, batch_size=16, shuffle=True, seed=1, lengths=lengths,
                              bucket=2)
    assert same(trained(2, batches=batches), trained(1, batches=batches)[0])
    steps = [[batch[0][0].shape[1] for _, batch in batches().parts(rank)] for rank in in_ranks(3, lambda rank: rank)]
    assert steps[0] == steps[1] == steps[2] and len({*steps[0]}) > 1


class Counted:
    """Rows that note which of them are read."""

    def __init__(self, read: list[int]) -> None:
        self.shape, self.read = X.shape, read

    def __len__(self) -> int:
        return len(X)

    def __getitem__(self, index: Any) -> Any:
        self.read += np.asarray(index).tolist()
        return X[index]


def test_each_rank_reads_augments_and_computes_its_own_rows_alone() -> None:
    read: list[list[int]] = [[] for _ in range(3)]
    augmented: list[list[int]] = [[] for _ in range(3)]
    computed = [0] * 3
    tn.seed(0)

    class Counts(nn.Module):
        def __init__(self, rank: int) -> None:
            self._rank = rank

        def forward(self, x: tn.Tensor) -> tn.Tensor:
            computed[self._rank] += len(x)
            return x

    models = [nn.Sequential(Counts(rank), nn.Flatten(), nn.Dense(4 * STEPS, CLASSES)) for rank in range(3)]

    def work(rank: Any) -> None:
        def augment(rows: Any, index: Any, epoch: int, seed: int) -> Any:
            augmented[rank.rank].extend(index.tolist())
            return rows

        model = models[rank.rank]
        batches = tn.data.Loader(Counted(read[rank.rank]), Y, batch_size=16, shuffle=True, seed=2, augment=augment)
        tn.fit(model, tn.optim.SGD(model.parameters()), batches, epochs=1, show=False)

    in_ranks(3, work)
    assert sorted(itertools.chain(*read)) == list(range(ROWS))
    assert augmented == read
    assert computed == [len(rows) for rows in read] == [5 + 5 + 3, 5 + 5 + 3, 6 + 6 + 3]


def test_a_layer_without_a_gradient_on_one_rank() -> None:
    """The others' gradients count, and no rank waits for ever."""
    class Either(nn.Module):
        def __init__(self) -> None:
            self.left, self.right = nn.Dense(4, CLASSES), nn.Dense(4, CLASSES)
            self.unused = nn.Dense(4, CLASSES)

        def forward(self, x: tn.Tensor) -> tn.Tensor:
            last = x[:, -1]
            return self.left(last) if float(last.numpy()[0, 0]) > 0 else self.right(last)

    tn.seed(1)
    unused = Either().state_dict()["unused.W"]
    tn.seed(1)
    found = trained(2, make=Either, batches=lambda: loader("float32", 4))
    assert same(found, found[0])
    assert np.array_equal(found[0][1]["unused.W"].shape, unused.shape)


def test_the_guard_names_the_rank_and_restores_all() -> None:
    rows = X.astype("float64")
    rows[30] = np.nan

    def work(rank: Any) -> Any:
        model = models[rank.rank]
        batches = tn.data.Loader(rows, Y, batch_size=20)  # the row 30 is in the half of rank 1 of the second batch
        with pytest.raises(NonFiniteError) as error:
            tn.fit(model, tn.optim.Adam(model.parameters()), batches, epochs=1, show=False)
        return str(error.value), {name: array.tolist() for name, array in model.state_dict().items()}

    tn.seed(0)
    models = [network() for _ in range(2)]
    first, second = in_ranks(2, work)
    assert first == second
    assert ("in step 2 (epoch 1, batch 2) the input of the model is the first that is not finite: nan at [0, 0, 0], "
            "24 of its 240 numbers, on rank 1; the model is back at step 0") in first[0]


class StopsOne(tn.callbacks.Callback):
    """Stop one rank, after a step or an epoch, as a clock would. Each notes the reason at the end."""

    def __init__(self, rank: Any, after: str, reasons: list[str]) -> None:
        self._rank, self._after, self._reasons = rank.rank, after, reasons

    def on_end(self, run: Any) -> None:
        self._reasons.append(run.stopped)

    def on_step(self, run: Any) -> None:
        if self._after == "step" and self._rank == 1 and run.step == 4:
            run.stop("it is late")

    def on_epoch(self, run: Any) -> None:
        if self._after == "epoch" and self._rank == 1:
            run.stop("it is late")


@pytest.mark.parametrize(("after", "steps"), [("step", 4), ("epoch", 3)])
def test_a_callback_that_stops_one_rank_stops_all(after: str, steps: int) -> None:
    reasons = list[str]()
    found = trained(3, callbacks=lambda rank: [StopsOne(rank, after, reasons)])
    assert [one[2] for one in found] == [steps] * 3 and reasons == ["it is late"] * 3


def test_the_times_of_all_ranks_are_those_of_rank_0() -> None:
    """So that callbacks that read them decide alike."""
    def work(rank: Any) -> Any:
        model = models[rank.rank]
        return tn.fit(model, tn.optim.SGD(model.parameters()), loader(), epochs=2, show=False)

    models = [network() for _ in range(3)]
    first, *others = in_ranks(3, work)
    assert len(first) == 2 and all(other == first for other in others)


def test_a_checkpoint_that_cannot_be_written_ends_all_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After the first one, by the same error."""
    written, write = list[int](), checkpoint.write

    def full(path: Any, state: Any) -> None:
        if written:
            raise CheckpointError("the disk is full")
        written.append(state.facts["step"])
        write(path, state)

    def work(rank: Any) -> str:
        with pytest.raises(CheckpointError) as caught:
            tn.fit(models[rank.rank], tn.optim.SGD(models[rank.rank].parameters()), loader(), epochs=2, show=False,
                   checkpoint=tmp_path / "c")
        return str(caught.value)

    models = [network() for _ in range(2)]
    monkeypatch.setattr(checkpoint, "write", full)
    assert in_ranks(2, work) == ["the disk is full"] * 2 and written == [0]


def test_ranks_may_have_other_seeds_and_nothing_else() -> None:
    """They take over that of rank 0."""
    class Other(Communicator):
        rank, size, there = 1, 2, dict[str, Any]()

        def gather(self, value: Any) -> list[Any]:
            return [{**value, **self.there}, value]

    model = nn.Sequential(nn.Dense(3, 2))
    run = tn.callbacks.Run(model, tn.optim.SGD(model.parameters()), [], 3)
    state = checkpoint.capture(run, {"settings": checkpoint.settings(run, max_norm=None)})
    ranks = Other()
    ranks.there = {"seed": 99}
    taken = checkpoint.shared(state, ranks)
    assert taken.arrays.keys() == state.arrays.keys() and taken.facts == {"seed": 99}
    for there, said in (({"max_norm": 1.0}, "max_norm is None on rank 1 and 1.0 on rank 0"),
                        ({"loss": "mse"}, "loss is None on rank 1 and mse on rank 0"),
                        ({"array model/0.b": "float64 (2,)"}, r"float32 \(2,\) on rank 1 and float64 \(2,\) on")):
        ranks.there = there
        with pytest.raises(DistributedError, match=rf"^fit: all ranks must train the same, but .*{said}.*; does the "):
            checkpoint.shared(state, ranks)


class Signalled(tn.callbacks.Callback):
    """Rank 1 notes a signal after the first step."""

    def on_step(self, run: Any) -> None:
        if own.rank.rank == 1 and run.step == 1:
            own.signals.received = signal.SIGTERM


def test_a_signal_in_one_rank_ends_all_within_the_epoch(monkeypatch: pytest.MonkeyPatch) -> None:
    """After the next of its three steps, in which the ranks tell each other."""
    def noting(*arguments: Any, **options: Any) -> Signals:
        own.signals = Signals(*arguments, **options)
        return own.signals

    monkeypatch.setattr(fit, "Signals", noting)
    with pytest.raises(Interrupted, match="stopped by SIGTERM after 2 steps, 0 of 3 epochs"):
        trained(2, callbacks=lambda rank: [Signalled()])


def test_early_stopping_decides_alike() -> None:
    def callbacks(rank: Any) -> Any:
        return [tn.callbacks.EarlyStopping("train_loss", patience=1, min_delta=0.5)]
    assert same(trained(2, callbacks=callbacks, epochs=9), trained(1, callbacks=callbacks, epochs=9)[0])


class Drifts(tn.callbacks.Callback):
    """Change a weight, or a moment, of one rank in the last step of the second epoch."""

    def __init__(self, is_this: bool, what: str) -> None:
        self._is_this, self._what = is_this, what

    def on_step(self, run: Any) -> None:
        if self._is_this and run.step == 6:
            array = run.model[-1].b.data if self._what == "weight" else run.optimizer.arrays()[1]
            array.reshape(-1)[0] += 1e-3


@pytest.mark.parametrize(("what", "drifting", "named"), [
    ("weight", 1, "1"), ("moment", 1, "1"), ("weight", 2, "2"), ("weight", 0, "1, 2")])
def test_ranks_that_drift_apart_are_noticed(what: str, drifting: int, named: str) -> None:
    with pytest.raises(DistributedError, match=f"the same weights, and after epoch 2 rank {named} of 3 has others than "
                                               "rank 0; does a layer or a callback use a clock"):
        trained(3, callbacks=lambda rank: [Drifts(rank.rank == drifting, what)])


def test_ranks_that_train_something_else_are_refused() -> None:
    with pytest.raises(DistributedError, match=r"must train the same, but training data is .* does the script make"):
        trained(2, batches=lambda: loader(batch_size=10 + own.rank.rank))


def test_rank_0_alone_writes_and_prints(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def callbacks(rank: Any) -> Any:
        return [tn.callbacks.Log(tmp_path / f"log{rank.rank}.csv"),
                tn.callbacks.BestModel(tmp_path / f"best{rank.rank}.safetensors", "train_loss")]

    def work(rank: Any) -> Any:
        model = models[rank.rank]
        tn.fit(model, tn.optim.Adam(model.parameters()), loader(), epochs=2, callbacks=callbacks(rank),
               checkpoint=tmp_path / f"run{rank.rank}.ckpt")

    models = [network() for _ in range(2)]
    in_ranks(2, work)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["best0.safetensors", "log0.csv", "run0.ckpt"]
    said = capsys.readouterr().out.splitlines()
    assert [line.partition("  ")[0] for line in said] == ["epoch 1/2", "epoch 2/2"]


class Ends(tn.callbacks.Callback):
    """End the run after a step."""

    def on_step(self, run: Any) -> None:
        if run.step == 5:
            raise KeyError("ended")


def listed() -> list[Any]:
    return [(X[some].astype("float64"), Y[some]) for some in (slice(0, 16), slice(16, 32), slice(32, 41))]


@pytest.mark.parametrize(("before", "after", "batches"), [(2, 1, loader), (2, 3, loader), (1, 2, loader),
                                                          (2, 2, loader), (2, 2, listed)])
def test_a_run_is_resumed_with_another_number_of_ranks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, before: int,
                                                       after: int, batches: Callable[[], Any]) -> None:
    size = [0]
    monkeypatch.setattr("tinynet.training.fingerprint.world", lambda: Part.of(ranks.Threads(0, size[0], {}), 9).ranks)
    options: dict[str, Any] = {"batches": batches, "checkpoint": tmp_path / "run.ckpt", "checkpoint_seconds": 0.0}
    one, = trained(1, batches=batches)
    size[0] = before
    with pytest.raises(KeyError, match="ended"):
        trained(before, callbacks=lambda rank: [Ends()], **options)
    size[0] = after
    monkeypatch.setattr(Ends, "on_step", tn.callbacks.Callback.on_step)
    if before == after:
        found = trained(after, callbacks=lambda rank: [Ends()], resume=True, **options)
    else:
        with pytest.warns(UserWarning, match=f"ranks: {before} there, {after} here") as caught:
            found = trained(after, callbacks=lambda rank: [Ends()], resume=True, **options)
        assert len(caught) == 1
    assert same(found, one)


def test_evaluate_and_its_metrics_are_those_of_one_process() -> None:
    model = network()
    tn.seed(0)
    model(tn.Tensor(X.astype("float64")))
    one, two, three = (in_ranks(size, lambda rank: tn.evaluate(model, loader(batch_size=5), metrics={"r": recall}))
                       for size in (1, 2, 3))
    assert (two, three) == ([two[0]] * 2, [three[0]] * 3)
    assert two[0] == pytest.approx(one[0], rel=1e-12)
    assert three[0] == pytest.approx(one[0], rel=1e-12)


def test_labels_may_be_booleans() -> None:
    labels = np.stack([Y == 0, Y == 1, Y == 2], axis=1)

    def work(rank: Any) -> Any:
        count = {"count": lambda labels, outputs: float((labels * [1, 2, 3]).sum())}
        return tn.evaluate(nn.Sequential(nn.Flatten(), layer), tn.data.Loader(X, labels, batch_size=16),
                           loss=tn.ops.binary_cross_entropy, metrics=count)

    layer = nn.Dense(4 * STEPS, CLASSES)
    assert in_ranks(2, work) == [pytest.approx(in_ranks(1, work)[0])] * 2


@pytest.mark.parametrize("size", [2, 3])
def test_replayed_steps_of_ranks_end_as_usual_ones_bit_for_bit(size: int, steps: list[RecordedStep]) -> None:
    """Messages are recorded with the steps, also the number of labels that count."""
    rows = [slice(0, 16), slice(16, 33), slice(33, 41)]  # rank 0 of 3 has 5 of 16, and 5 of 17
    listed = [(X[some], Y[some]) for some in rows]
    for options in {}, {"loss": partial(tn.ops.cross_entropy, ignore_index=1)}, {"batches": lambda: listed}:
        options = {"batches": lambda: loader("float32"), **options}
        usual, replayed = (trained(size, lambda: network("float32"), epochs=4, graph=graph, **options)
                           for graph in (False, True))
        assert [(one.is_proven, one.reason) for one in steps[-size:]] == [(True, "")] * size
        for (history, state, count), other in zip(usual, replayed, strict=True):
            assert (history, count) == (other[0], other[2])
            assert all(np.array_equal(array, other[1][name]) for name, array in state.items())


def test_each_step_sends_the_same_messages(steps: list[RecordedStep]) -> None:
    """A replayed one, too, and one that is computed twice."""
    sent: list[list[int]] = [[], []]

    class Notes(tn.callbacks.Callback):
        def on_step(self, run: Any) -> None:
            sent[run.ranks.rank].append(run.ranks.ranks.sums)

    trained(2, lambda: network("float32"), lambda: loader("float32", 20), callbacks=lambda rank: [Notes()], epochs=4)
    assert [one.is_proven for one in steps] == [True, True]
    for counts in sent:
        between = [np.diff(counts[first : first + 3]).tolist() for first in range(0, 12, 3)]
        assert between == [between[0]] * 4


def test_a_rank_without_recordings_trains_with_ranks_that_have_them(monkeypatch: pytest.MonkeyPatch,
                                                                     steps: list[RecordedStep]) -> None:
    usual = trained(2, lambda: network("float32"), lambda: loader("float32"), epochs=4, graph=False)
    may = session.Session._may_record
    monkeypatch.setattr(session.Session, "_may_record", lambda self: may(self) and self.run.ranks.rank == 1)
    mixed = trained(2, lambda: network("float32"), lambda: loader("float32"), epochs=4)
    assert [one.is_proven for one in steps] == [True]
    assert all(np.array_equal(array, mixed[0][1][name]) for name, array in usual[0][1].items())
    assert same(mixed, mixed[0])


@pytest.mark.parametrize(("size", "processors", "variable", "set_before", "expected"), [
    (5, 8, "", None, [2]), (5, 3, "", None, [1]), (5, 2, "", None, [1]), (5, 40, "", None, [13]),
    (5, 8, "8", None, []), (5, 8, "", 5, []), (2, 8, "", None, [4]), (1, 8, "", None, [])])
def test_ranks_that_share_a_machine_divide_its_threads(size: int, processors: int, variable: str,
                                                      set_before: int | None, expected: list[int],
                                                      monkeypatch: pytest.MonkeyPatch) -> None:
    """Three of five ranks are here. A number that was set before stays; without one it is 16 at most."""
    class Some(Communicator):
        def gather(self, value: Any) -> list[Any]:
            return [value, value, ["another", value[1]], value, [value[0], ["other processors"]]][:size]

    Some.size = size
    chosen = list[int]()
    for name, value in {"world": Some, "processors": lambda: processors, "set_threads": chosen.append,
                        "threads": lambda: set_before or min(processors, 16)}.items():
        monkeypatch.setattr(f"tinynet.training.ranks.{name}", value)
    for name in ("NUMBA_NUM_THREADS", "OMP_NUM_THREADS"):
        monkeypatch.delenv(name, raising=False)
    if variable:
        monkeypatch.setenv("OMP_NUM_THREADS", variable)
    assert type(of_this_process.__wrapped__()) is Some and chosen == expected
