"""The adapters of the peers: each computes what tinynet computes, in training and in evaluation."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from benchmarks.cases import case, write_data
from benchmarks.peers import OURS, names, peer
from benchmarks.process import ROOT
from tests.support.peer_side import computed, of_folder

nn = tn.nn
CASES = {
    "images": case("", "backward", nn.Sequential(
        nn.Conv2D(1, 2, 3, padding="same"), nn.ReLU(), nn.BatchNorm(2, momentum=0.75), nn.MaxPool2D(2),
        nn.Reshape((2, 4)), nn.LSTM(4, 3), nn.Conv1D(3, 2, 3, padding="same"), nn.ReLU(),
        nn.LSTM(2, 2, return_sequences=False),
        nn.Dense(2, 3)), 3, (4, 4, 1)),
    "averages": case("", "step", nn.Sequential(nn.BatchNorm(3, momentum=0.75), nn.Flatten(), nn.Dense(15, 3)), 30,
                     (5, 3)),
    "rows": case("", "backward", nn.Sequential(nn.BatchNorm(3, eps=0.1), nn.Conv1D(3, 4, 3, padding="same"),
                                               nn.Flatten(), nn.Dense(20, 2)), 4, (5, 3)),
    "dropout": case("", "backward", nn.Sequential(nn.Dropout(0.25), nn.Dropout(0.25)), 20, (20,)),
    "adam": case("", "update", nn.Sequential(nn.LSTM(2, 3), nn.Conv1D(3, 4, 2), nn.Dense(4, 2)), 1, (5, 2))}
AFTER = 1e-2  # PyTorch's running variance is divided by n - 1
QUICK = {"DEV": "PYTHON"}  # tinygrad without a compiler
JAX = {"platform": "cpu", "step": "one jit, donated", "random numbers": "threefry"}
WAITS = {"waited": 4, "has_new_numbers": True, "platforms": "cpu"}
FACTS = {
    "jax": {"settings": JAX, "model": "benchmarks.peers.jax", **WAITS, "waited": 5},  # also for a product
    "keras": {"settings": {**JAX, "backend": "jax", "step": "stateless calls in one jit, donated"},
              "model": "benchmarks.peers.keras", **WAITS}}


@pytest.mark.parametrize(("kernel", "padding", "rows"), [((5,), "same", 9), ((4,), "valid", 6), ((3, 3), "same", 9)])
def test_convolutions_of_tinygrad_have_the_shape_of_ours(kernel: tuple[int, ...], padding: str, rows: int) -> None:
    """No kernel is compiled."""
    tinygrad = pytest.importorskip("tinygrad")
    from benchmarks.peers.tinygrad import _convolution

    x, W = tinygrad.Tensor.empty(2, *(9,) * len(kernel), 3), tinygrad.Tensor.empty(4, 3, *kernel)
    y = _convolution(x, {"W": W, "b": tinygrad.Tensor.empty(4)}, {"padding": padding})
    assert y.shape == (2, *(rows,) * len(kernel), 4)


@pytest.mark.parametrize("name", [pytest.param(name, marks=[pytest.mark.long] if name == "tinygrad" else [])
                                  for name in names() if name not in (OURS, "compile")])
def test_a_peer_computes_what_tinynet_does(name: str, tmp_path: Path) -> None:
    """Its running averages show in the output after some steps; dropout is off in evaluation and on in training."""
    if importlib.util.find_spec(peer(name).module) is None:
        pytest.skip(f"{name} is not installed")
    for title, work in CASES.items():
        write_data(work, tmp_path / f"{title}.npz")
        (tmp_path / f"{title}.json").write_text(json.dumps(work.as_json()))
    environment = {**os.environ, **peer(name).environment(tmp_path / "cache"), **QUICK}
    environment.pop("KERAS_BACKEND", None)  # which the start sets, too
    subprocess.run([sys.executable, "-m", "tests.support.peer_side", name, str(tmp_path)], cwd=ROOT, check=True,
                   env=environment)
    with tn.using("reference"):
        of_folder(OURS, tmp_path)
    for title in (*CASES, "product"):
        file = tmp_path / f"{title} {name}.npz"
        if title == "product" and not file.exists():
            continue
        mine, theirs = np.load(tmp_path / f"{title} {OURS}.npz"), np.load(file)
        assert {*mine.files} == {*theirs.files}
        for array in mine.files:
            if (title, array) != ("dropout", "gradient x"):
                np.testing.assert_allclose(theirs[array], mine[array], atol=AFTER if array == "output after" else 2e-5,
                                           rtol=1e-4, err_msg=f"{title}: {array}")
    with np.load(tmp_path / "dropout.npz") as data, np.load(tmp_path / f"dropout {name}.npz") as found:
        share = found["gradient x"] / data["target"]
        assert {*np.unique(share.round(4))} == {0, np.float32(1.7778)}, "of two layers"
        assert abs((share == 0).mean() - 0.4375) < 0.12, "each draws its own"
    said = json.loads((tmp_path / "facts").read_text())
    assert said.pop("unknown") in ("KeyError", "NotImplementedError"), "no layer is left out"
    assert said == FACTS.get(name, said)


TINY = {
    "images": case("", "backward", nn.Sequential(
        nn.Conv2D(1, 2, 3, padding="same"), nn.ReLU(), nn.BatchNorm(2, eps=0.1), nn.MaxPool2D(2), nn.Reshape((2, 2)),
        nn.LSTM(2, 2), nn.Conv1D(2, 3, 2), nn.Flatten(), nn.Dense(3, 2, bias=False)), 2, (2, 4, 1)),
    "steps": case("", "step", nn.Sequential(nn.BatchNorm(2, momentum=0.75), nn.LSTM(2, 2, return_sequences=False),
                                            nn.Dense(2, 2)), 2, (2, 2)),
    "adam": case("", "update", nn.Sequential(nn.LSTM(1, 1), nn.Conv1D(1, 2, 2)), 1, (2, 1))}


def test_tinygrad_computes_what_tinynet_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Tiny cases, without a compiler: outputs, gradients, steps and dropout; the least of what is tested as long."""
    pytest.importorskip("tinygrad")
    from tinygrad import Device, Tensor
    from tinygrad.helpers import DEV

    monkeypatch.setattr(DEV, "value", Device.DEFAULT)  # restored at the end
    monkeypatch.setenv("NUM_CPU_THREADS", "")
    side = peer("tinygrad")
    with monkeypatch.context() as changed:
        changed.delenv("DEV", raising=False)
        changed.setattr(Tensor, "rand", lambda *shape: 1 / 0)
        side.start(3)
        assert Device.DEFAULT == side.settings()["device"] == "CPU", "without LLVM"
    monkeypatch.setenv("DEV", "PYTHON")
    side.start(3)
    assert os.environ["NUM_CPU_THREADS"] == "3" and Device.DEFAULT == "PYTHON"
    assert side.settings() == {"device": "PYTHON", "step": "one TinyJit"} and side.product(2) is side.chain(2) is None
    for title, work in TINY.items():
        write_data(work, tmp_path / "data.npz")
        theirs = computed(side, work, tmp_path / "data.npz")
        with tn.using("reference"):
            mine = computed(peer(OURS), work, tmp_path / "data.npz")
        assert {*mine} == {*theirs}
        for name, array in mine.items():
            np.testing.assert_allclose(theirs[name], array, atol=2e-5, rtol=1e-4, err_msg=f"{title}: {name}")
    network = side.build([("Dropout", {"p": 0.25})] * 2, {}, (20, 20), "product")
    ones = np.ones((20, 20), np.float32)
    kept = network.gradients(side.put(ones), side.put(ones))["x"]
    assert {*np.unique(kept.round(4))} == {0, np.float32(1.7778)} and abs((kept == 0).mean() - 0.4375) < 0.12
    assert (side.numpy(network.forward(side.put(ones))) == 1).all()
    with pytest.raises(KeyError, match="Swirl"):
        side.build([("Swirl", {})], {}, (2, 2), "product").forward(side.put(ones))


def test_a_timed_step_of_ours_clips_nothing() -> None:
    """Adam divides by the size of the gradients, so that the weights do not show it."""
    asked: list[Any] = []
    network: Any = peer(OURS).build([("Dense", {"inputs": 2, "units": 3})], {"0.W": np.ones((2, 3), "float32"),
                                                                            "0.b": np.zeros(3, "float32")}, (1, 2),
                                    "cross_entropy")
    network.train_step = lambda *given: asked.append(given[3:])
    network._step(None, None)
    assert asked == [(network.model, tn.ops.cross_entropy, None)]


def test_without_llvm_tinygrad_compiles_by_clang(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("tinygrad")
    from tinygrad import Tensor

    def fails(*shape: int) -> Any:
        raise RuntimeError("no LLVM")

    device = SimpleNamespace(value="")
    monkeypatch.setattr("tinygrad.helpers.DEV", device)
    monkeypatch.setattr(Tensor, "rand", fails)
    monkeypatch.delenv("DEV", raising=False)
    monkeypatch.setenv("NUM_CPU_THREADS", "1")
    side: Any = peer("tinygrad")
    side.start(1)
    assert (device.value, side.device) == ("CPU", "CPU")


def test_layers_without_a_bias_and_the_options_of_jax() -> None:
    """These functions need no JAX."""
    from benchmarks.peers.jax import _dense

    x, W, b = np.ones((1, 2)), np.array([[1.0], [2.0]]), np.array([4.0])
    assert _dense(x, {"W": W, "b": None}, {}) == 3 and _dense(x, {"W": W, "b": b}, {}) == 7
