"""What a resumed run is compared by: data, functions, surroundings; and the lock of its checkpoint."""

import functools
import os
import signal
import subprocess
import sys
import warnings
from pathlib import Path
from threading import Lock
from types import MethodType
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet import atomic, file_lock
from tinynet.errors import CheckpointError
from tinynet.op import op
from tinynet.training import checkpoint, fingerprint
from tinynet.training.lock import locked

X, Y = np.random.default_rng(0).random((12, 3), dtype=np.float32), np.arange(12) % 2


def smoothed(output: Any, labels: Any, factor: float = 1.0) -> Any:
    return tn.ops.cross_entropy(output, labels) * factor


def scaled(factor: float) -> Any:
    return lambda output, labels: tn.ops.cross_entropy(output, labels) * factor


def weighted(weight: Any) -> Any:
    return lambda output, labels: tn.ops.cross_entropy(output, labels, tn.Tensor(weight))


def by_default(factor: float) -> Any:
    def loss(output: Any, labels: Any, times: float = factor) -> Any:
        return smoothed(output, labels, times)
    return loss


def by_a_named_default(factor: float) -> Any:
    def loss(output: Any, labels: Any, *, times: float = factor) -> Any:
        return smoothed(output, labels, times)
    return loss


class Scaled:
    def __init__(self, factor: float) -> None:
        self.factor = factor

    def __call__(self, output: Any, labels: Any) -> Any:
        return smoothed(output, labels, self.factor)


class Chain:
    """Functions, one after the other."""

    def __init__(self, *functions: Any) -> None:
        self.functions = functions

    def __call__(self, output: Any, labels: Any) -> Any:
        value = smoothed(output, labels)
        for function in self.functions:
            value = function(value)
        return value


def chosen(output: Any, labels: Any, options: Any) -> Any:
    return smoothed(output, labels, **options)


def beside(factor: float) -> Any:
    """A loss with a number of its module."""
    code = compile("def loss(output, labels): return smoothed(output, labels) * FACTOR", "there", "exec")
    exec(code, names := {"smoothed": smoothed, "FACTOR": factor, "__name__": "there"})
    return names["loss"]


def calling(helper: Any) -> Any:
    """A loss that calls a function of its module."""
    code = compile("def loss(output, labels): return helper(smoothed(output, labels))", "there", "exec")
    exec(code, names := {"smoothed": smoothed, "helper": helper, "__name__": "there"})
    return names["loss"]


def around(helper: Any) -> Any:
    return lambda output, labels: helper(smoothed(output, labels))


def with_forward(forward: Any) -> Any:
    return type("Loss", (tn.nn.Module,), {"forward": forward})()


def fit(path: Path, *, x: Any = X, y: Any = Y, resume: bool = False, train: Any = None, transform: Any = None,
        augment: Any = None, **options: Any) -> Any:
    tn.seed(0)
    model = tn.nn.Sequential(tn.nn.Dense(3, 2))
    train = tn.data.Loader(x, y, batch_size=4, transform=transform, augment=augment) if train is None else train
    tn.fit(model, tn.optim.SGD(model.parameters()), train, checkpoint=path, resume=resume, show=False,
           **{"epochs": 2 if resume else 1, **options})
    return model



def halved(images: Any, labels: Any) -> Any:
    return images / 2, labels


def doubled(images: Any, labels: Any) -> Any:
    return images * 2, labels


def batches(x: Any) -> Any:
    return [(x[:6], Y[:6]), (x[6:], Y[6:])]


def bucketed(lengths: Any) -> Any:
    return tn.data.Loader(X, Y, batch_size=4, lengths=lengths, bucket=3)


CHANGED = X.copy()
CHANGED[11, 2] += 1
OTHERS: dict[str, tuple[dict[str, Any], dict[str, Any], str]] = {
    "labels": ({}, {"y": 1 - Y}, r"training data, array 1: int64 \(12,\) \w+ there, int64 \(12,\) \w+ here"),
    "one number": ({}, {"x": CHANGED}, "training data, array 0"),
    "the second batch": ({"train": batches(X)}, {"train": batches(CHANGED)}, "training data, all batches"),
    "validation": ({"validation": batches(X)}, {"validation": batches(CHANGED)}, "validation data, all batches"),
    "partial": ({"loss": functools.partial(smoothed, factor=0.5)}, {"loss": functools.partial(smoothed, factor=0.25)},
                r"loss: smoothed\(factor=0.5\) there, smoothed\(factor=0.25\) here"),
    "closure": ({"loss": scaled(0.5)}, {"loss": scaled(0.25)}, r"loss: .* with 0.5 there, .* with 0.25 here"),
    "a default": ({"loss": by_default(0.5)}, {"loss": by_default(0.25)}, r"loss: .* with 0.5 there, .* with 0.25 here"),
    "a default by name": ({"loss": by_a_named_default(0.5)}, {"loss": by_a_named_default(0.25)},
                          r"loss: .* with 0.5 there, .* with 0.25 here"),
    "an array in a closure": ({"loss": weighted(X[0, :2])}, {"loss": weighted(X[1, :2])},
                               r"loss: .* with float32 \(2,\)"),
    "a tensor in a closure": ({"loss": weighted(tn.Tensor(X[0, :2]))}, {"loss": weighted(tn.Tensor(X[1, :2]))},
                              r"loss: .* with float32 \(2,\)"),
    "a tuple in a closure": ({"loss": weighted((1.0, 2.0))}, {"loss": weighted((2.0, 1.0))},
                            r"loss: .* with \[1.0, 2.0\]"),
    "object": ({"loss": Scaled(0.5)}, {"loss": Scaled(0.25)}, r"loss: Scaled\(factor=0.5\) there"),
    "functions of an object": ({"loss": Chain(tn.ops.absolute, tn.ops.exp)},
                               {"loss": Chain(tn.ops.exp, tn.ops.absolute)},
                               r"loss: Chain\(functions=\[.*absolute, .*exp\]\) there, Chain"),
    "transform": ({"transform": halved}, {"transform": doubled}, "transform of training data: halved there, doubled"),
    "augment": ({"augment": lambda x, index, epoch, seed: x + 1}, {"augment": lambda x, index, epoch, seed: x + 2},
                "the code of augment of training data"),
    "transform of the validation": ({"validation": tn.data.Loader(X, Y, batch_size=6, transform=halved)}, {
        "validation": tn.data.Loader(X, Y, batch_size=6, transform=doubled)}, "transform of validation data: halved"),
    "method": ({"loss": Scaled(0.5).__call__}, {"loss": Scaled(0.25).__call__},
               r"loss: Scaled\(factor=0.5\).__call__ there"),
    "code of a method": ({"loss": MethodType(lambda one, output, labels: smoothed(output, labels) * 2, 1)},
                         {"loss": MethodType(lambda one, output, labels: smoothed(output, labels) * 3, 1)},
                         "the code of loss"),
    "code of a partial": ({"loss": functools.partial(lambda output, labels: smoothed(output, labels) * 2)},
                          {"loss": functools.partial(lambda output, labels: smoothed(output, labels) * 3)},
                          "the code of loss"),
    "code of a module": ({"loss": with_forward(lambda one, output, labels: smoothed(output, labels) * 2)},
                         {"loss": with_forward(lambda one, output, labels: smoothed(output, labels) * 3)},
                         "the code of loss"),
    "a number outside": ({"loss": beside(2.0)}, {"loss": beside(3.0)}, "the code of loss"),
    "a function outside": ({"loss": calling(lambda value: value * 2)}, {"loss": calling(lambda value: value * 3)},
                           "the code of loss"),
    "a function in a closure": ({"loss": around(lambda value: value * 2)}, {"loss": around(lambda value: value * 3)},
                                "the code of loss"),
    "a function inside": ({"loss": lambda output, labels: (lambda value: value * 2)(smoothed(output, labels))},
                          {"loss": lambda output, labels: (lambda value: value * 3)(smoothed(output, labels))},
                          "the code of loss"),
    "options by name": ({"loss": functools.partial(chosen, options={"factor": 0.5})},
                        {"loss": functools.partial(chosen, options={"factor": 0.25})},
                        r"loss: chosen\(options={factor: 0.5}\) there"),
    "code": ({"loss": lambda output, labels: smoothed(output, labels) * 2},
             {"loss": lambda output, labels: smoothed(output, labels) * 3}, r"the code of loss"),
    "metric": ({"validation": batches(X), "metrics": {"m": lambda labels, outputs: 1.0}},
               {"validation": batches(X), "metrics": {"m": lambda labels, outputs: 2.0}}, "the code of metric m"),
    "what stops it": ({"callbacks": [tn.callbacks.EarlyStopping("train_loss")]},
                      {"callbacks": [tn.callbacks.EarlyStopping("train_accuracy")]}, "metric of EarlyStopping"),
    "which end is better": ({"callbacks": [tn.callbacks.EarlyStopping("train_loss")]},
                            {"callbacks": [tn.callbacks.EarlyStopping("train_loss", mode="max")]},
                            "mode of EarlyStopping"),
    "how long it averages": ({"callbacks": [tn.callbacks.EMA(0.5)]}, {"callbacks": [tn.callbacks.EMA(0.25)]},
                             "decay of EMA"),
    "lengths": ({"train": bucketed(np.arange(12))}, {"train": bucketed(np.arange(12)[::-1])},
                "training data, lengths"),
}


def test_a_list_that_a_loss_appends_to_does_not_count(tmp_path: Path) -> None:
    losses: list[float] = []

    def noted(output: Any, labels: Any) -> Any:
        value = tn.ops.cross_entropy(output, labels)
        losses.append(value.item())
        return value

    fit(tmp_path / "c", loss=noted)
    fit(tmp_path / "c", loss=noted, resume=True)
    assert len(losses) == 6


@pytest.mark.parametrize("name", OTHERS)
def test_another_run_is_refused_and_the_same_one_goes_on(tmp_path: Path, name: str) -> None:
    one, other, message = OTHERS[name]
    fit(tmp_path / "c", **one)
    with pytest.raises(CheckpointError, match=f"differ in {message}.*give the options of that run"):
        fit(tmp_path / "c", resume=True, **other)
    assert os.listdir(tmp_path) == ["c"]
    fit(tmp_path / "c", resume=True, **one)


def test_functions_of_layers_are_compared() -> None:
    class Own(tn.nn.Module):
        def __init__(self, function: Any) -> None:
            self.function = function

    def prints(function: Any) -> dict[str, str]:
        model = tn.nn.Sequential(tn.nn.Dense(3, 2), Own(function))
        return fingerprint.fingerprint(tn.callbacks.Run(model, None, batches(X), 1))  # type: ignore[arg-type]

    def times(factor: float) -> Any:
        return lambda x: x * factor

    two = prints(times(2.0))
    assert two == prints(times(2.0)) and two["function of layer 1"].endswith(" with 2.0")
    assert fingerprint.differences(prints(times(3.0)), two) == [
        f"function of layer 1: {two['function of layer 1']} there, {two['function of layer 1'][:-3]}3.0 here"]
    changed, = fingerprint.differences(prints(lambda x: x + 1), prints(lambda x: x - 1))
    assert changed.startswith("the code of function of layer 1")


def test_the_same_functions_in_another_process(tmp_path: Path) -> None:
    """Nothing in a fingerprint depends on addresses, or on the order of a set of strings."""
    code = ("import functools, numpy as np; from tests.training.test_fingerprint import *\n"
            "for loss in (functools.partial(smoothed, factor=0.5), scaled(0.5), Scaled(0.5), lambda a: a in {'x', 'y'},"
            " lambda a: (lambda b: b)(a),"
            " tn.ops.mse, np.mean, print):\n"
            "    print(fingerprint.fingerprint(tn.callbacks.Run(tn.nn.Dense(3, 2), None, batches(X), 1), loss=loss))")
    said = {subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True,
                           env={**os.environ, "PYTHONHASHSEED": seed}).stdout for seed in "123"}
    assert len(said) == 1
    assert "0x" not in said.pop()


@pytest.mark.parametrize("array", [X, X.astype("float16"), Y, Y == 1, X.tolist(), np.array(["a", "b"], object), X[:0],
                                   np.float32(3), np.array(["2020-01-01"], "datetime64[D]"), X[:, ::2], tn.Tensor(X)])
def test_a_checksum_of_any_array(array: Any) -> None:
    assert fingerprint.checksum(array) == fingerprint.checksum(array) != fingerprint.checksum(X + 1)
    assert fingerprint.checksum((array, Y)) != fingerprint.checksum((array, 1 - Y))


def test_a_checksum_does_not_depend_on_the_device() -> None:
    for array in (X, Y, X[:, ::2]):
        there = tn.Tensor(array, device="gpu-emulated")
        assert fingerprint.checksum(there) == fingerprint.checksum(there.data) == fingerprint.checksum(array)


@pytest.mark.parametrize("parts", [3, 7])
def test_rows_of_a_large_array(parts: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A large array is read in parts, also with a shorter one at the end, and each row counts."""
    whole = fingerprint.checksum(X)
    monkeypatch.setattr(fingerprint, "CHUNK", X.nbytes // parts)
    assert fingerprint.checksum(X) == fingerprint.checksum(tn.Tensor(X)) == whole
    assert fingerprint.checksum(np.asfortranarray(X)) == whole
    for row in range(len(X)):
        changed = X.copy()
        changed[row, -1] += 1
        assert fingerprint.checksum(changed) != whole


def test_images_in_files(tmp_path: Path) -> None:
    from PIL import Image

    for name, size in (("a.png", 8), ("b.png", 8), ("c.png", 9)):
        Image.new("RGB", (size, 8)).save(tmp_path / name)
    one, other = (tn.data.Images(tmp_path, names, size=(8, 8)) for names in (["a.png", "b.png"], ["b.png", "a.png"]))
    assert fingerprint.checksum(one) != fingerprint.checksum(other)
    before = fingerprint.checksum(one)
    (tmp_path / "a.png").write_bytes((tmp_path / "c.png").read_bytes() + b" ")
    assert fingerprint.checksum(one) != before


def test_surroundings_are_those_of_now() -> None:
    found = fingerprint.surroundings("cpu")
    assert (found["threads"], found["ops"], found["precision"], found["ranks"]) == (
        str(tn.backend.threads.threads()), "fast", "float32", "1")
    assert {"version of numpy", "version of numba", "version of llvmlite"} <= found.keys()
    with tn.using("reference"), tn.precision("tf32"):
        changed = {name for name, text in fingerprint.surroundings("gpu-emulated").items() if text != found[name]}
    assert changed == {"device", "ops", "precision"}


def test_other_surroundings_are_one_warning(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fit(tmp_path / "c")
    monkeypatch.setattr(checkpoint, "surroundings", lambda device: {
        **fingerprint.surroundings(device), "threads": "77", "processor": "z80", "version of numpy": "0.1"})
    with pytest.warns(UserWarning, match=r"from here on .* not bit for bit .* differ in threads: \d+ there, 77 here; "
                                         r"processor: .* version of numpy") as warned:
        fit(tmp_path / "c", resume=True)
    assert len(warned) == 1
    assert warned[0].filename == __file__


def test_a_checkpoint_of_an_earlier_version_is_resumed_with_a_warning(tmp_path: Path) -> None:
    path, kept = tmp_path / "c", []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(checkpoint, "write", lambda path, state: kept.append(state))
        fit(path)
    facts = {name: value for name, value in kept[-1].facts.items() if name not in ("fingerprint", "surroundings")}
    checkpoint.write(path, checkpoint.State(kept[-1].arrays, facts))
    with pytest.warns(UserWarning, match="has no fingerprint of its data and loss"):
        resumed = fit(path, resume=True)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        fit(path, resume=True, epochs=3)  # now it has one
        assert (resumed[0].W.numpy() == fit(tmp_path / "d", epochs=2)[0].W.numpy()).all()


# --- the lock -------------------------------------------------------------------------------------------------------

def test_a_second_run_is_refused(tmp_path: Path) -> None:
    """Also under another name of the file, and with a long name."""
    (tmp_path / "link").symlink_to(tmp_path / "c")
    with (running := Lock()), locked(tmp_path / "new" / "c", running), pytest.raises(CheckpointError, match="one run"):
        fit(tmp_path / "new" / "c")
    os.rmdir(tmp_path / "new")
    with running, locked(tmp_path / "c", running):
        for name in ("c", "link", os.path.join("..", tmp_path.name, "c")):
            with pytest.raises(CheckpointError, match="one run at a time, and another run is writing it now; give"):
                fit(tmp_path / name)
        fit(tmp_path / ("d" * 250))
    fit(tmp_path / "c")
    assert sorted(os.listdir(tmp_path)) == ["c", "d" * 250, "link"]


def test_an_error_releases_the_lock(tmp_path: Path) -> None:
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "c", loss=lambda output, labels: 1 / 0)
    fit(tmp_path / "c")
    assert os.listdir(tmp_path) == ["c"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_killed_run_leaves_no_lock(tmp_path: Path) -> None:
    """Also if a process that it forked lives on."""
    code = ("import os, sys, threading, time; from tinynet.training.lock import locked\n"
            "with (running := threading.Lock()), locked(sys.argv[1], running):\n"
            "    if os.fork():\n        print('held', flush=True)\n"
            "    time.sleep(60)")
    process = subprocess.Popen([sys.executable, "-c", code, tmp_path / "c"], stdout=subprocess.PIPE, text=True,
                               start_new_session=True)
    try:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        with pytest.raises(CheckpointError, match="one run at a time"):
            fit(tmp_path / "c")
        process.kill()
        process.wait()
        fit(tmp_path / "c")
        assert os.listdir(tmp_path) == ["c"]
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.stdout.close()  # type: ignore[union-attr]


def test_the_lock_of_a_run_that_is_over_is_taken(tmp_path: Path) -> None:
    """As after an interrupt at the end of `with`."""
    running = Lock()
    left = locked(tmp_path / "c", running)
    with running:
        left.__enter__()
        with pytest.raises(CheckpointError, match="one run at a time"):
            fit(tmp_path / "c")
    with locked(tmp_path / "c", taken := Lock()), taken, pytest.raises(CheckpointError, match="one run at a time"):
        fit(tmp_path / "c")
    fit(tmp_path / "c")
    with pytest.raises(StopIteration):
        next(left.gen)  # type: ignore[attr-defined]
    assert os.listdir(tmp_path) == ["c"]


@pytest.mark.parametrize("again", [False, True])
def test_a_lock_that_another_run_has_removed_is_made_again(again: bool, tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    """Between the opening of its file and the lock; also if a third run has made the file again."""
    take, lock, removed = file_lock.take, atomic.beside(tmp_path / "c", "lock"), list[Any]()

    def slow(descriptor: int) -> None:
        if not removed:
            removed.append(lock.unlink())
            if again:
                lock.touch()
        take(descriptor)

    monkeypatch.setattr("tinynet.file_lock.take", slow)
    with (running := Lock()), locked(tmp_path / "c", running):
        assert lock.exists() and (again or lock.stat().st_mode & 0o777 == 0o600)
        with pytest.raises(CheckpointError, match="one run at a time"):
            fit(tmp_path / "c")
    assert not lock.exists()


def test_without_locks_a_run_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def unsupported(descriptor: int) -> None:
        raise OSError("no locks available")

    monkeypatch.setattr("tinynet.file_lock.take", unsupported)
    with locked(tmp_path / "c", Lock()), locked(tmp_path / "c", Lock()):
        pass
    with locked("/dev/null", Lock()), locked(None, Lock()):
        assert not os.path.exists("/dev/.null.lock")


def test_an_op_is_described_by_its_name_and_compared_by_its_code() -> None:
    text = fingerprint.described(functools.partial(tn.ops.cross_entropy, label_smoothing=0.1))
    assert text.startswith("op tinynet.ops.loss.cross_entropy") and text.endswith("(label_smoothing=0.1)")
    assert "logits" not in text

    def made(factor: float) -> Any:
        @op("x:(...) labels:int(...) -> loss:()", cases=[])
        def own(xp: Any, x: Any, labels: Any) -> tuple[Any, Any]:
            return (x * factor).sum(), None
        return own

    run = tn.callbacks.Run(tn.nn.Module(), None, [], epochs=1)  # type: ignore[arg-type]
    prints = [fingerprint.fingerprint(run, loss=made(factor)) for factor in (2.0, 2.0, 3.0)]
    assert prints[0] == prints[1] != prints[2]


def test_what_is_trained_is_no_data_of_a_function() -> None:
    """It differs after each step, while weights of classes stay."""
    from tinynet.training.fingerprint import described

    def made(weight: tn.Tensor) -> Any:
        return lambda y, t: tn.ops.cross_entropy(y, t, weight)

    fixed, trained = tn.Tensor([1.0, 2.0]), tn.nn.Parameter([1.0, 2.0])
    assert described(made(fixed)) != described(made(tn.Tensor([1.0, 3.0])))
    assert described(made(trained)) == described(made(tn.nn.Parameter([1.0, 3.0])))
