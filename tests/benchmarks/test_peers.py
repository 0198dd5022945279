"""The adapters of the peers: each computes what tinynet computes, in training and in evaluation."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

import tinynet as tn
from benchmarks.cases import case, write_data
from benchmarks.peers import OURS, names, peer
from benchmarks.process import ROOT
from tests.support.peer_side import of_folder

nn = tn.nn
CASES = {
    "images": case("", "backward", nn.Sequential(
        nn.Conv2D(1, 2, 3, padding="same"), nn.ReLU(), nn.BatchNorm(2, momentum=0.75), nn.MaxPool2D(2),
        nn.Reshape((2, 4)), nn.LSTM(4, 3), nn.Conv1D(3, 2, 2), nn.ReLU(), nn.LSTM(2, 2, return_sequences=False),
        nn.Dense(2, 3)), 3, (4, 4, 1)),
    "averages": case("", "step", nn.Sequential(nn.BatchNorm(3, momentum=0.75), nn.Flatten(), nn.Dense(15, 3)), 30,
                     (5, 3)),
    "rows": case("", "backward", nn.Sequential(nn.BatchNorm(3, eps=0.1), nn.Conv1D(3, 4, 3, padding="same"),
                                               nn.Flatten(), nn.Dense(20, 2)), 4, (5, 3)),
    "dropout": case("", "backward", nn.Sequential(nn.Dropout(0.25)), 20, (20,)),
    "adam": case("", "update", nn.Sequential(nn.LSTM(2, 3), nn.Conv1D(3, 4, 2), nn.Dense(4, 2)), 1, (5, 2))}
AFTER = 1e-2  # PyTorch's running variance is divided by n - 1
QUICK = {"DEV": "PYTHON"}  # tinygrad without a compiler


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
    subprocess.run([sys.executable, "-m", "tests.support.peer_side", name, str(tmp_path)], cwd=ROOT, check=True,
                   env={**os.environ, **peer(name).environment(tmp_path / "cache"), **QUICK})
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
        assert {*np.unique(share.round(4))} == {0, np.float32(1.3333)} and abs((share == 0).mean() - 0.25) < 0.12
