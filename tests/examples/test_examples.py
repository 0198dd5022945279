"""The examples as a user runs them, on a small set of real digits in files like those of MNIST."""

import argparse
import gzip
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import mnist_lstm_cnn  # noqa: E402
import models  # noqa: E402

MODELS = {name: getattr(models, name)
          for name in ("lstm_cnn", "cnn_lstm", "lstm", "cnn", "deep_lstm_cnn", "pneumonia_cnn_lstm", "idc_lstm_cnn",
                       "idc_lstm", "idc_cnn")}


def idx(array: np.ndarray) -> bytes:
    header = bytes([0, 0, 8, array.ndim]) + np.array(array.shape, ">u4").tobytes()
    return gzip.compress(header + array.astype(np.uint8).tobytes(), mtime=0)


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with 200 training and 100 test images, in files with the names of MNIST."""
    folder: Path = tmp_path_factory.mktemp("digits")
    data = tn.data.load_digits()
    for part, images, labels in (("train", data.train_images[:200], data.train_labels[:200]),
                                 ("t10k", data.test_images[:100], data.test_labels[:100])):
        (folder / f"{part}-images-idx3-ubyte.gz").write_bytes(idx(images))
        (folder / f"{part}-labels-idx1-ubyte.gz").write_bytes(idx(labels))
    return folder


def run(folder: Path, out: Path, *more: str) -> int:
    return mnist_lstm_cnn.main(["--data", str(folder), "--epochs", "2", "--batch-size", "32", "--out", str(out), *more])


def test_the_main_job(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(digits, tmp_path) == 0
    printed = capsys.readouterr().out
    for part in (r"LSTM +\(N, 28, 128\) +80,384", r"total +121,676", r"epoch 2/2  loss [\d.]+  accuracy [\d.]+",
                 r"validation accuracy [\d.]+  [\d,]+ images/s", r"test accuracy 0\.\d+ on 100 images"):
        assert re.search(part, printed), part
    results = json.loads((tmp_path / "results.json").read_text())
    assert results["settings"] == {"device": "cpu", "data": str(digits), "epochs": 2, "batch_size": 32, "lr": 3e-3,
                                   "seed": 0, "limit": None, "out": str(tmp_path)}
    assert (results["train_images"], results["validation_images"], results["test_images"]) == (180, 20, 100)
    assert [row["epoch"] for row in results["epochs"]] == [1, 2]
    assert all(0 <= row[key] <= 1 for row in results["epochs"] for key in ("train_accuracy", "validation_accuracy"))
    assert results["seconds"] > 0 and results["images_per_second"] > 0 and results["seed"] == 0
    assert results["versions"]["numpy"] == np.__version__
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG") and not (tmp_path / "curves.svg").exists()
    assert printed.endswith(f"written to {tmp_path}: results.json, model.safetensors, curves.png\n")

    model = tn.load(tmp_path / "model.safetensors")
    data = tn.data.load_mnist(digits)
    scores = tn.predict(model, data.test_images[..., None].astype("float32") / 255)
    assert (scores.argmax(axis=1) == data.test_labels).mean() == results["test_accuracy"]


def test_it_learns(tmp_path: Path) -> None:
    assert mnist_lstm_cnn.main(["--data", "digits", "--limit", "700", "--epochs", "8", "--batch-size", "64",
                                "--out", str(tmp_path)]) == 0
    assert json.loads((tmp_path / "results.json").read_text())["test_accuracy"] > 0.7


def test_equal_seeds_give_equal_weights_bit_for_bit(digits: Path, tmp_path: Path) -> None:
    for name, seed in (("a", "3"), ("b", "3"), ("c", "4")):
        assert run(digits, tmp_path / name, "--seed", seed, "--limit", "96") == 0
    a, b, c = ((tmp_path / name / "model.safetensors").read_bytes() for name in "abc")
    assert a == b
    assert a != c


def test_limit_takes_the_first_images(digits: Path, tmp_path: Path) -> None:
    assert run(digits, tmp_path, "--limit", "50") == 0
    results = json.loads((tmp_path / "results.json").read_text())
    assert (results["train_images"], results["validation_images"], results["test_images"]) == (45, 5, 100)


def test_without_matplotlib_the_picture_is_left_out(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    assert run(digits, tmp_path, "--limit", "50") == 0
    printed = capsys.readouterr().out
    assert "matplotlib is not installed, so curves.png is left out" in printed
    assert printed.endswith(f"written to {tmp_path}: results.json, model.safetensors\n")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint.safetensors", "model.safetensors",
                                                                 "results.json"]


def test_without_a_gpu(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                       monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert run(digits, tmp_path, "--device", "gpu") == 2
    assert "gpu needs CuPy, which is not installed; pip install cupy-cuda13x 'nvidia" in capsys.readouterr().err
    assert run(digits, tmp_path, "--device", "tpu") == 2
    assert 'must be "cpu", "gpu", "gpu:1" or "gpu-emulated"' in capsys.readouterr().err


def test_the_batches_of_all_parts_are_on_the_device(digits: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    devices = []
    monkeypatch.setattr(tn.data, "Loader", lambda *_, device="cpu", **__: devices.append(device))
    mnist_lstm_cnn.loaders(tn.data.load_mnist(digits), argparse.Namespace(device="gpu:1", limit=None, batch_size=32))
    assert devices == ["gpu:1"] * 3


@pytest.mark.parametrize(("damage", "message"), [
    (lambda folder: (folder / "train-images-idx3-ubyte.gz").write_bytes(b""), "train-images"),
    (lambda folder: (folder / "t10k-labels-idx1-ubyte.gz").unlink(), "t10k-labels"),
    (lambda folder: (folder / "train-labels-idx1-ubyte.gz").write_bytes(idx(np.zeros(7))), "train-labels"),
])
def test_damaged_data_is_one_sentence_and_exit_code_1(damage: Any, message: str, digits: Path, tmp_path: Path) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    for path in digits.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    damage(folder)
    done = subprocess.run([sys.executable, EXAMPLES / "mnist_lstm_cnn.py", "--data", folder, "--out", tmp_path / "out"],
                          capture_output=True, text=True, env={"PYTHONPATH": str(EXAMPLES.parent)}, check=False)
    assert done.returncode == 1
    assert message in done.stderr
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("wrong", [["--epochs", "0"], ["--lr", "-1"], ["--lr", "nan"], ["--batch-size", "many"],
                                   ["--seed", "-1"], ["--limit", "0"]])
def test_impossible_options(wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        mnist_lstm_cnn.main(wrong)
    assert stopped.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(digits: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert run(digits, tmp_path / "file" / "out", "--limit", "50") == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("name", MODELS)
def test_each_model_says_its_size_and_gives_scores(name: str) -> None:
    """And drops a fifth beside each LSTM and before each Dense. A ReLU follows each convolution."""
    model = MODELS[name]()
    layers = [layer for layer in model if not isinstance(layer, tn.nn.BatchNorm)]
    kinds = [type(layer).__name__ for layer in layers]
    assert {layer.p for layer in layers if isinstance(layer, tn.nn.Dropout)} == {0.2}
    for i, kind in enumerate(kinds):
        assert not kind.startswith("Conv") or kinds[i + 1] == "ReLU"
        assert kind != "LSTM" or "Dropout" in (kinds[i + 1], kinds[i - 1])
        assert kind != "Dense" or "Dropout" in kinds[max(i - 3, 0) : i]
    parameters = sum(parameter.size for parameter in model.parameters())
    assert f"{parameters:,} parameters" in (MODELS[name].__doc__ or "")
    classes = 2 if name.startswith(("pneumonia", "idc")) else 10
    assert f"Dense {'(N, ' + str(classes) + ')':>13}".split() == model.summary().splitlines()[-2].split()[:3]
    assert f"{parameters:,}" in model.summary().splitlines()[-1]
    images = np.zeros((2, *(model.input_shape or ())), np.float32)
    with tn.no_grad():
        assert model(tn.Tensor(images)).shape == (2, classes)


def test_the_four_models_of_table_1_are_of_one_size() -> None:
    sizes = {name: sum(parameter.size for parameter in MODELS[name]().parameters())
             for name in ("lstm_cnn", "cnn_lstm", "lstm", "cnn")}
    assert all(abs(size / sizes["lstm_cnn"] - 1) <= 0.1 for size in sizes.values()), sizes
