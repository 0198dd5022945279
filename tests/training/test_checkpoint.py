"""Checkpoints: written whole or not at all, and refused if they are damaged or of another run."""

import errno
import os
import resource
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.errors import CheckpointError
from tinynet.training import checkpoint
from tinynet.training.checkpoint import FORMAT, State
from tinynet.training.run import Run

ROOT = Path(__file__).resolve().parents[2]
IMAGES = np.zeros((12, 3, 3, 1), "float32")
X, Y = np.random.default_rng(0).standard_normal((12, 3)).astype("float32"), np.arange(12) % 2


def state(step: int = 3) -> State:
    return State({"model/W": np.arange(6, dtype="float32").reshape(2, 3), "optimizer/steps": np.array(step)},
                 {"settings": {"seed": 0}, "step": step, "history": [{"loss": 0.1, "accuracy": float("nan")}]})


def trained(path: Path | None, resume: bool = False, epochs: int = 2, seed: int = 0, units: int = 4,
            options: dict[str, Any] | None = None, mode: bool = True, **more: Any) -> Any:
    tn.seed(seed)
    model = tn.nn.Sequential(tn.nn.Dense(3, units), tn.nn.Dropout(0.1), tn.nn.Dense(units, 2))
    optimizer = tn.optim.Adam(model.train(mode).parameters(), **(options or {}))
    loader = tn.data.Loader(X, Y, batch_size=5, shuffle=True)
    tn.fit(model, optimizer, **{"train": loader, "epochs": epochs, "checkpoint": path, "resume": resume,
                                "show": False, **more})
    return model


# --- there and back -------------------------------------------------------------------------------------------------

def test_there_and_back(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "checkpoint.safetensors"
    checkpoint.write(path, state())
    found = checkpoint.read(path, like=state(0))
    assert repr(found.facts) == repr(state().facts)  # NaN is not equal to itself
    for name, array in state().arrays.items():
        assert found.arrays[name].dtype == array.dtype
        np.testing.assert_array_equal(found.arrays[name], array)
    assert [one.name for one in path.parent.iterdir()] == [path.name]


@pytest.mark.parametrize("measure", ["accuracy", "mae", ""])
def test_all_that_is_captured_is_restored(tmp_path: Path, measure: str) -> None:
    """Each number is unlike that of a new run, and has more digits than float32."""
    def made(seed: int) -> Run:
        tn.seed(seed)
        model = tn.nn.Sequential(tn.nn.Dense(3, 4), tn.nn.BatchNorm(4), tn.nn.Dropout(0.1), tn.nn.Dense(4, 2))
        optimizer = tn.optim.Adam(model.parameters(), lr=0.1)
        callbacks = (tn.callbacks.EarlyStopping(patience=9), tn.callbacks.BestModel(tmp_path / "best"),
                     tn.callbacks.EMA(0.5), tn.callbacks.EarlyStopping("train_loss"))
        return Run(model, optimizer, tn.data.Loader(X, Y, batch_size=5, shuffle=True), 9,
                   tn.data.Loader(X, Y, batch_size=3), tn.optim.Cosine(optimizer, steps=20), callbacks)

    run, other = made(0), made(0)
    for _ in range(3):
        tn.ops.cross_entropy(run.model(tn.Tensor(X)), Y).backward()
        run.optimizer.step()
        run.schedule.step()  # type: ignore[union-attr]
        run.callbacks[2].on_step(run)
    next(iter(run.validation))  # type: ignore[arg-type]
    assert len(list(islice(run.train, 2))) == 2
    run.epoch, run.batch, run.step, run.validating, run.stopped = 3, 2, 7, True, "enough"
    run.history = [{"epoch": 1, "validation_loss": 1 / 3}, {"epoch": 2, "validation_loss": float("nan")}]
    run.sums = {"images": 11, "loss": 2 / 3, "right": 7.0, "seconds": 1 / 7, "measure": measure}
    first, second, _, last = run.callbacks[:4]
    first.load_state_dict({"best": 1 / 9, "waited": 4})
    second.load_state_dict({"best": 1 / 11})
    last.load_state_dict({"best": None, "waited": 1})
    kept = checkpoint.capture(run, {"settings": {}})
    checkpoint.write(tmp_path / "c", kept)
    run.sums["loss"] = run.history[0]["validation_loss"] = 0.0
    for array in run.callbacks[2].arrays(run).values():
        array[...] = 0  # what was captured is a copy
    found = checkpoint.read(tmp_path / "c", like=kept)
    checkpoint.restore(other, found)
    again = checkpoint.capture(other, {"settings": {}})
    assert repr(again.facts) == repr(kept.facts) == repr(found.facts)
    assert again.facts["sums"] == {"images": 11, "loss": 2 / 3, "right": 7.0, "seconds": 1 / 7, "measure": measure}
    assert again.facts["callbacks"][:2] == [{"best": 1 / 9, "waited": 4}, {"best": 1 / 11}]
    assert again.facts["loaders"] == [{"epoch": 0, "batch": 2}, {"epoch": 0, "batch": 1}]
    assert (other.epoch, other.batch, other.step, other.validating, other.stopped) == (3, 2, 7, True, "enough")
    assert again.arrays.keys() == kept.arrays.keys() and other.optimizer.lr == run.optimizer.lr != 0.1
    for name, array in kept.arrays.items():
        np.testing.assert_array_equal(again.arrays[name], array, err_msg=name)
    assert any(name.startswith("callback 2/") and array.any() for name, array in kept.arrays.items())


def test_checkpoints_of_earlier_versions_measure_the_accuracy() -> None:
    model = tn.nn.Sequential(tn.nn.Dense(3, 2))
    run = Run(model, tn.optim.SGD(model.parameters()), [], 3)
    kept = checkpoint.capture(run, {"settings": {}})
    del kept.facts["sums"]["measure"]
    checkpoint.restore(run, kept)
    assert run.sums == {"images": 0, "loss": 0.0, "right": 0.0, "seconds": 0.0, "measure": "accuracy"}


def test_what_a_callback_remembers_must_be_words_and_numbers() -> None:
    class Remembers(tn.callbacks.Callback):
        def state_dict(self) -> dict[str, Any]:
            return {"weights": np.zeros(3)}

    with pytest.raises(CheckpointError, match=r"a callback's state_dict\(\) must return what JSON.*ndarray"):
        trained(None, callbacks=[Remembers()])


# --- damaged --------------------------------------------------------------------------------------------------------

def test_a_file_cut_off_anywhere_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "c"
    checkpoint.write(path, state())
    whole = path.read_bytes()
    for length in range(len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"resume: .*damaged"):
            checkpoint.read(path, like=state())
    path.write_bytes(whole + b"more")
    with pytest.raises(CheckpointError, match="damaged"):
        checkpoint.read(path, like=state())


def test_every_bit_counts(tmp_path: Path) -> None:
    """A flipped bit is found in a weight, in the header and in a name."""
    path = tmp_path / "c"
    checkpoint.write(path, state())
    whole = bytearray(path.read_bytes())
    for place in range(len(whole)):
        damaged = bytearray(whole)
        damaged[place] ^= 1 << place % 8
        path.write_bytes(damaged)
        try:
            found = checkpoint.read(path, like=state())
        except CheckpointError:
            continue
        assert repr(found) == repr(state()), f"byte {place}"  # the byte was a separator, such as a space


@pytest.mark.parametrize(("metadata", "message"), [
    (None, r"must be of format 'tinynet checkpoint 1', got \[\]; was it written by tn.fit"),
    ({"tinynet 1": "{}"}, r"must be of format 'tinynet checkpoint 1', got \['tinynet 1'\]"),
    ({FORMAT: "{"}, r"must be JSON, and is not"),
    ({FORMAT: "[" * 100_000}, r"must be JSON, and is not"),
    ({FORMAT: "[1]"}, r"must have settings, and has none"),
    ({FORMAT: '{"settings": 3}'}, r"must have settings, and has none"),
    ({FORMAT: '{"settings": {"seed": 0}}'}, r"checksum does not fit"),
])
def test_foreign_files(tmp_path: Path, metadata: Any, message: str) -> None:
    from safetensors.numpy import save_file

    path = tmp_path / "c"
    save_file(state().arrays, path, metadata)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.read(path, like=state())


def test_what_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match=r"a checkpoint, but it is not there; tn.fit writes one"):
        checkpoint.read(tmp_path / "c", like=state())
    with pytest.raises(CheckpointError, match="a folder"):
        checkpoint.read(tmp_path, like=state())
    with pytest.raises(CheckpointError, match="a folder"):
        trained(tmp_path, resume=True)


@pytest.mark.parametrize("change", [
    {"epoch": -1}, {"epoch": "1"}, {"batch": True}, {"step": 2**63}, {"history": 7}, {"sums": {}}, {"random": {}},
    {"random": {"seed": -1, "draws": 0}}, {"streams": {"no layer": "x"}}, {"streams": 3}, {"callbacks": [{}]},
    {"loaders": []}, {"loaders": [{"epoch": 0, "batch": 99}]}, {"loaders": [{"epoch": -1, "batch": 0}]},
    {"history": [[1]]}, {"stopped": None, "sums": {"images": -1}},
])
def test_a_description_that_makes_no_sense(tmp_path: Path, change: dict[str, Any]) -> None:
    """The checksum fits: the file was forged."""
    path = tmp_path / "c"
    trained(path)
    kept: list[State] = []

    def peek(path: Any, like: State) -> State:
        kept.append(original(path, like))
        return kept[0]
    original = checkpoint.read
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "read", peek)
        trained(path, resume=True)
    checkpoint.write(path, State(kept[0].arrays, {**kept[0].facts, **change}))
    with pytest.raises(CheckpointError, match=r"does not make sense \(.*\); it is damaged"):
        trained(path, resume=True)


# --- of another run -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("other", "message"), [
    ({"seed": 1}, r"differ in seed: 0 there, 1 here; give the options of that run"),
    ({"units": 5}, r"differ in layer 0: \['Dense', {.*; layer 2: .*; array model/0.W: .*, and 8 more; give"),
    ({"seed": 1, "options": {"lr": 0.5}, "max_norm": 1.0}, r"differ in seed: .*; max_norm: none there, 1.0 here; give"),
    ({"options": {"betas": (0.5, 0.9)}}, r"differ in optimizer: "),
    ({"options": {"lr": 0.5}}, r"differ in learning rate at the start: 0.001 there, 0.5 here"),
    ({"train": tn.data.Loader(X, Y, batch_size=6, shuffle=True)}, r"differ in training data: "),
    ({"callbacks": [tn.callbacks.Callback()]}, r"differ in callbacks: \[\] there, \['Callback'\] here"),
    ({"loss": lambda output, labels: tn.ops.cross_entropy(output, labels)}, r"differ in loss: cross_entropy there"),
    ({"max_norm": 1.0}, r"differ in max_norm: none there, 1.0 here"),
])
def test_another_run_is_told(tmp_path: Path, other: dict[str, Any], message: str) -> None:
    path = tmp_path / "c"
    trained(path)
    with pytest.raises(CheckpointError, match=message):
        trained(path, resume=True, **other)


LAYERS: list[tuple[Any, dict[str, Any]]] = [
    (tn.nn.Dropout, {"p": 0.25}), (tn.nn.Conv1D, {"stride": 2, "padding": "same", "dilation": 2,
                                                                  "groups": 3}),
    (tn.nn.LSTM, {"go_backwards": True, "return_sequences": False, "dropout": 0.5, "recurrent_dropout": 0.5}),
    (tn.nn.BatchNorm, {"momentum": 0.5, "eps": 1e-3, "axis": 1}), (tn.nn.MaxPool1D, {"stride": 1, "padding": "same"}),
    (tn.optim.SGD, {"momentum": 0.5, "nesterov": True, "weight_decay": 0.1}),
    (tn.optim.AdamW, {"betas": (0.5, 0.5), "eps": 0.1, "weight_decay": 0.5}),
    (tn.optim.StepDecay, {"every": 3, "factor": 0.3}), (tn.optim.Cosine, {"steps": 9, "final": 0.3}),
    (tn.optim.OneCycle, {"peak": 3.0, "steps": 9, "warmup": 0.5}),
    (tn.data.Loader, {"batch_size": 3, "shuffle": True, "drop_last": True, "seed": 3})]
ARGUMENTS: dict[Any, tuple[Any, ...]] = {
    tn.nn.Conv1D: (3, 3, 2), tn.nn.LSTM: (3, 3), tn.nn.BatchNorm: (4,), tn.nn.MaxPool1D: (2,)}
REQUIRED: dict[Any, dict[str, Any]] = {
    tn.nn.Dropout: {"p": 0.5},
    tn.optim.StepDecay: {"every": 2}, tn.optim.Cosine: {"steps": 5}, tn.optim.OneCycle: {"peak": 1.0, "steps": 5},
    tn.data.Loader: {"batch_size": 4}}


@pytest.mark.parametrize(("kind", "name", "value"), [
    (kind, name, value) for kind, options in LAYERS for name, value in options.items()])
def test_an_option_of_a_part_is_compared(kind: Any, name: str, value: Any) -> None:
    """Of layers, optimizers, schedules and loaders: each option alone makes another run."""
    def settings(**options: Any) -> dict[str, Any]:
        def made(wanted: Any, *arguments: Any, **usual: Any) -> Any:
            if kind is not wanted:
                return wanted(*arguments, **usual)
            return wanted(*arguments, **{**usual, **options})

        tn.seed(0)
        layer = kind if issubclass(kind, tn.nn.Module) else tn.nn.BatchNorm
        model = tn.nn.Sequential(made(layer, *ARGUMENTS.get(layer, ()), **REQUIRED.get(layer, {})), tn.nn.Dense(4, 2))
        optimizer = made(kind if issubclass(kind, tn.optim.Optimizer) else tn.optim.SGD, model.parameters())
        schedule = kind if issubclass(kind, tn.optim.Schedule) else tn.optim.Cosine
        return checkpoint.settings(Run(model, optimizer, made(tn.data.Loader, X, **REQUIRED[tn.data.Loader]), 3,
                                       schedule=made(schedule, optimizer, **REQUIRED[schedule])))

    usual, other = settings(), settings(**{name: value})
    assert settings() == usual != other
    assert sum(usual[key] != other[key] for key in usual) in (1, 2)  # the rate at the start, too


@pytest.mark.parametrize("other", [{"steps": 9}, {"final": 0.5}, {"behind": 3}])
def test_the_schedule_behind_a_warmup_is_compared(other: dict[str, Any]) -> None:
    def settings(steps: int = 5, final: float = 0.0, behind: int = 2) -> dict[str, Any]:
        optimizer = tn.optim.SGD((model := tn.nn.Sequential(tn.nn.Dense(3, 2))).parameters())
        schedule = tn.optim.Warmup(tn.optim.Cosine(optimizer, steps=steps, final=final), steps=behind)
        return checkpoint.settings(Run(model, optimizer, [], 3, schedule=schedule))

    assert settings() == settings() != settings(**other)


@pytest.mark.parametrize(("usual", "other"), [
    ({"groups": [(1, {}), (1, {})]}, {"groups": [(2, {}), (0, {})]}),
    ({"groups": [(1, {"lr": 0.1}), (1, {})]}, {"groups": [(1, {"lr": 0.2}), (1, {})]}),
    ({"groups": [(1, {}), (1, {"weight_decay": 0.1})]}, {"groups": [(1, {}), (1, {"weight_decay": 0.2})]}),
    ({}, {"bucket": 2}), ({"bucket": 2}, {"bucket": 3}),
    ({}, {"validation": 2}), ({"validation": 2}, {"validation": 3}),
    ({"augment": tn.data.Augment()}, {}), ({"augment": tn.data.Augment()}, {"augment": tn.data.Augment(rotate=3.0)}),
])
def test_groups_and_buckets_are_compared(usual: dict[str, Any], other: dict[str, Any]) -> None:
    def settings(groups: Any = ((2, {}),), bucket: int | None = None, validation: int | None = None,
                 augment: Any = None) -> dict[str, Any]:
        parameters = list(tn.nn.Sequential(tn.nn.Dense(3, 2)).parameters())
        parts = [{"parameters": [parameters.pop(0) for _ in range(count)], **options} for count, options in groups]
        lengths = {} if bucket is None else {"bucket": bucket, "lengths": np.arange(12)}
        return checkpoint.settings(Run(tn.nn.Sequential(), tn.optim.SGD([one for one in parts if one["parameters"]]),
                                       tn.data.Loader(IMAGES, batch_size=2, augment=augment, **lengths), 3,
                                       validation and tn.data.Loader(IMAGES, batch_size=validation)))

    assert settings(**usual) == settings(**usual) != settings(**other)


@pytest.mark.parametrize("other", [
    {"epochs": 3}, {"guard": False}, {"graph": False}, {"checkpoint_seconds": 1e9}, {"show": True}, {"mode": False}])
def test_the_same_run_with_other_comforts_goes_on(tmp_path: Path, other: dict[str, Any]) -> None:
    """Neither the mode of the model nor how a run is watched decides what it computes."""
    class Stop(tn.callbacks.Callback):
        def on_step(self, run: Any) -> None:
            if run.step == 4 and len(run.history) < 2:
                raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        trained(tmp_path / "c", callbacks=[Stop()], checkpoint_seconds=0, epochs=2)
    mode = other.pop("mode", True)
    stop = Stop()
    stop.on_step = lambda run: None  # type: ignore[method-assign]
    model = trained(tmp_path / "c", resume=True, mode=mode, callbacks=[stop], **other)
    whole = trained(None, callbacks=[stop], epochs=other.get("epochs", 2))
    assert all(np.array_equal(array, whole.state_dict()[name]) for name, array in model.state_dict().items())


def test_arrays_that_do_not_fit_are_named(tmp_path: Path) -> None:
    path = tmp_path / "c"
    checkpoint.write(path, state())
    for like, message in (
            (np.zeros((2, 4), "float32"), r"array model/W: float32 \(2, 3\) there, float32 \(2, 4\) here"),
            (np.zeros((2, 3)), r"array model/W: float32 \(2, 3\) there, float64 \(2, 3\) here")):
        with pytest.raises(CheckpointError, match=message):
            checkpoint.read(path, State({**state().arrays, "model/W": like}, state().facts))
    with pytest.raises(CheckpointError, match=r"array model/W: float32 \(2, 3\) there, none here"):
        checkpoint.read(path, State({"optimizer/steps": np.array(0)}, state().facts))


@pytest.mark.parametrize("name", ["", "a\0b"])
def test_a_checkpoint_needs_the_name_of_a_file(name: str) -> None:
    with pytest.raises(tn.errors.ArgumentError) as refused:
        trained(name)  # type: ignore[arg-type]
    assert str(refused.value).startswith(f"fit: checkpoint must be the name of a file, got {name!r}; checkpoint=")


def test_resume_needs_a_checkpoint() -> None:
    with pytest.raises(tn.errors.ArgumentError, match=r"fit: resume needs the checkpoint to go on from, and got none"):
        trained(None, resume=True)


# --- a full disk ----------------------------------------------------------------------------------------------------

@contextmanager
def small_disk() -> Iterator[None]:
    """Inside, a file larger than 600 bytes is an OSError. So is pytest's own output: leave before the test ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


def test_a_full_disk(tmp_path: Path) -> None:
    path = tmp_path / "c"
    large = State({"model/W": np.zeros(1000, "float32")}, {"settings": {}})
    with small_disk():
        checkpoint.write(path, state(1))
        with pytest.raises(CheckpointError, match=r"cannot be written \(File too large\), the old file is unchanged"):
            checkpoint.write(path, large)
        with pytest.raises(CheckpointError, match=r"cannot be written \(File too large\), no file was written"):
            checkpoint.write(tmp_path / "d", large)
    assert checkpoint.read(path, like=state()).facts["step"] == 1
    assert [one.name for one in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("failing", ["fsync", "replace"])
def test_a_disk_that_is_full_while_training(tmp_path: Path, failing: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The training ends with an error. The previous checkpoint is whole, and the run can be resumed from it."""
    path = tmp_path / "c"
    calls = 0

    def full(*args: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls > 3:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return original(*args)

    owner: Any = os if failing == "fsync" else Path
    original = getattr(owner, failing)
    with monkeypatch.context() as patch:
        patch.setattr(owner, failing, full)
        with pytest.raises(CheckpointError, match=r"No space left on device\), the old file is unchanged"):
            trained(path, checkpoint_seconds=0)
    assert [one.name for one in tmp_path.iterdir()] == ["c"]
    one, other = trained(path, resume=True), trained(None)
    assert all((a == b).all() for a, b in zip(one.state_dict().values(), other.state_dict().values(), strict=True))


def test_a_folder_that_cannot_be_written_is_told_at_the_start(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CheckpointError, match=r"cannot be written .*no file was written"):
        trained(tmp_path / "file" / "c")


# --- killed while writing -------------------------------------------------------------------------------------------

def test_kills_while_saving() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.kill", "--saves", "15"], cwd=ROOT, capture_output=True,
                          text=True, timeout=1200, check=False)
    assert done.returncode == 0, done.stderr
    assert "left a whole checkpoint each time" in done.stdout


def test_what_kills_left_is_cleared_away(tmp_path: Path) -> None:
    for name in (".c.0123456789abcdef.part", ".other.0123456789abcdef.part", "c.part"):
        (tmp_path / name).write_text("half")
    trained(tmp_path / "c")
    assert sorted(one.name for one in tmp_path.iterdir()) == [".other.0123456789abcdef.part", "c", "c.part"]


def test_an_optimizer_without_groups_is_that_of_earlier_versions() -> None:
    model = tn.nn.Sequential(tn.nn.Dense(2, 2))
    found = checkpoint.settings(tn.callbacks.Run(model, tn.optim.Adam(model.parameters()), [], epochs=1))
    assert found["optimizer"] == ["Adam", {"betas": [0.9, 0.999], "eps": 1e-08, "weight_decay": 0.0}]
