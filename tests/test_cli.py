"""The command line: answers, exit codes, one line for each fault, and never a traceback."""

import csv
import io
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.numpy import save as to_bytes

import tinynet as tn
from tests.data.test_data import write_mnist
from tinynet import nn
from tinynet.__main__ import main, parser
from tinynet.classifier import Classifier, report, score
from tinynet.errors import DataError, DeviceError, Interrupted, ModelFileError

ROOT = Path(__file__).parent.parent


@pytest.fixture(autouse=True)
def specification() -> Iterator[None]:
    """Run without kernels: the command line does not depend on them."""
    with tn.using("reference"):
        yield


def brightness(shape: tuple[int, ...] = (8, 8, 3)) -> Any:
    """A model whose probability of "bright" is σ(20 (mean - 1/2))."""
    channels = shape[2] if len(shape) == 3 else 1
    model = nn.Sequential(nn.Reshape((8, 8, channels)), nn.GlobalAveragePool(), nn.Dense(channels, 2),
                          input_shape=shape)
    model[2].W.data[...] = np.array([[-10.0, 10.0]] * channels) / channels
    model[2].b.data[...] = [5.0, -5.0]
    model.classes = ("dark", "bright")
    return model


@pytest.fixture
def model(tmp_path: Path) -> Path:
    tn.save(tmp_path / "model.safetensors", brightness(), scaling=nn.Scaling())
    return tmp_path / "model.safetensors"


def picture(path: Path, level: int, size: tuple[int, int] = (8, 8), mode: str = "RGB", **options: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("L", size, level).convert(mode).save(path, **options)
    return path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder in which three of four dark images are dark, and two of two bright ones bright."""
    for name, level in (("dark/1.png", 0), ("dark/2.jpg", 40), ("dark/3.png", 100), ("dark/4.png", 220),
                        ("bright/1.png", 255), ("bright/2.jpg", 200)):
        picture(tmp_path / "data" / name, level, size=(11, 7))
    return tmp_path / "data"


def run(capsys: pytest.CaptureFixture[str], *arguments: Any) -> tuple[int, str, str]:
    code = main([str(one) for one in arguments])
    out, err = capsys.readouterr()
    assert "Traceback" not in err
    return code, out, err


def complaint(capsys: pytest.CaptureFixture[str], *arguments: Any, code: int = 1) -> str:
    """Run a command that fails. Returns the only line it prints, on stderr."""
    found, out, err = run(capsys, *arguments)
    assert found == code
    assert out == ""
    assert err.startswith("tinynet: ")
    assert err.count("\n") == 1 and err.endswith("\n")
    return err


# --- predict --------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("name", "size", "mode"), [
    ("a.png", (8, 8), "RGB"), ("a.jpg", (300, 200), "RGB"), ("a.jpeg", (1, 1), "L"), ("a.png", (3, 500), "L"),
    ("a.png", (9, 9), "RGBA"), ("a.png", (20, 20), "P"), ("a.png", (20, 20), "LA"), ("a.jpg", (20, 20), "CMYK"),
    ("größe mit leer.png", (20, 20), "1"), ("noname", (20, 20), "RGB")])
def test_predict_images_of_any_size_and_kind(name: str, size: tuple[int, int], mode: str, model: Path, tmp_path: Path,
                                             capsys: pytest.CaptureFixture[str]) -> None:
    path = picture(tmp_path / name, 255, size, mode, format="JPEG" if name.endswith(("jpg", "jpeg")) else "PNG")
    code, out, err = run(capsys, "predict", model, path)
    assert (code, err) == (0, "")
    assert out == f"{path}: bright 100.0%, dark 0.0%\n"


def test_probabilities(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    paths = [picture(tmp_path / f"{level}.png", level) for level in (100, 140, 255)]
    code, out, _ = run(capsys, "predict", "--json", "--batch-size", "2", model, *paths)
    assert code == 0
    answers = json.loads(out)
    assert out.startswith('[\n {\n  "image": ')
    assert [answer["image"] for answer in answers] == list(map(str, paths))
    for answer, level in zip(answers, (100, 140, 255), strict=True):
        bright = 1 / (1 + np.exp(-20 * (level / 255 - 0.5)))
        assert answer["probabilities"]["bright"] == pytest.approx(bright, rel=1e-5)
        assert answer["class"] == ("bright" if level > 128 else "dark")
        assert answer["probability"] == answer["probabilities"][answer["class"]]
        assert sum(answer["probabilities"].values()) == pytest.approx(1)


def test_a_name_that_begins_as_an_option(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    picture(Path("-photo.png"), 255)
    assert run(capsys, "predict", model, "--", "-photo.png") == (0, "-photo.png: bright 100.0%, dark 0.0%\n", "")


def test_scaling_is_that_of_the_model(model: Path, tmp_path: Path) -> None:
    """The same answers from a model of inputs -1 ... 1, scaled per channel."""
    other = brightness()
    other[2].W.data /= 2
    other[2].b.data[...] = 0
    other.scaling = nn.Scaling(mean=(127.5,) * 3, scale=127.5)
    pixels = np.random.default_rng(0).integers(0, 256, (5, 8, 8, 3), dtype=np.uint8)
    tn.save(model.parent / "other", other)
    expected = Classifier(tn.load(model)).probabilities(pixels)
    np.testing.assert_allclose(Classifier(tn.load(model.parent / "other")).probabilities(pixels), expected, rtol=1e-5)
    unsaid = brightness()
    assert unsaid.scaling is None
    np.testing.assert_array_equal(Classifier(unsaid).probabilities(pixels), expected)


@pytest.mark.parametrize("shape", [(8, 8, 1), (8, 8)])
def test_grey_models(shape: tuple[int, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tn.save(tmp_path / "grey", brightness(shape))
    path = picture(tmp_path / "x.png", 20, (30, 30))
    assert run(capsys, "predict", tmp_path / "grey", path)[1] == f"{path}: dark 100.0%, bright 0.0%\n"


def test_a_model_that_ends_in_softmax_and_has_no_names(tmp_path: Path) -> None:
    plain, soft = brightness(), brightness()
    soft.layers.append(nn.Softmax())
    soft.classes = plain.classes = None
    pixels = np.full((1, 8, 8, 3), 130, np.uint8)
    np.testing.assert_allclose(Classifier(soft).probabilities(pixels), Classifier(plain).probabilities(pixels), 1e-6)
    assert Classifier(soft).probabilities(pixels).dtype == Classifier(plain).probabilities(pixels).dtype == "float64"
    assert Classifier(soft).classes == ("0", "1")


def test_large_scores_do_not_overflow() -> None:
    model = brightness()
    model[2].W.data *= 1e4
    model[2].b.data *= 0
    np.testing.assert_array_equal(Classifier(model).probabilities(np.full((1, 8, 8, 3), 255, np.uint8)), [[0, 1]])


def test_good_images_are_answered_beside_bad_ones(model: Path, tmp_path: Path,
                                                  capsys: pytest.CaptureFixture[str]) -> None:
    good = picture(tmp_path / "good.png", 255)
    truncated = tmp_path / "truncated.jpg"
    truncated.write_bytes(picture(tmp_path / "whole.jpg", 9, (64, 64)).read_bytes()[:300])
    (tmp_path / "empty.png").write_bytes(b"")
    (tmp_path / "no images").mkdir()
    bad = [truncated, tmp_path / "empty.png", model, tmp_path / "missing.png", tmp_path / "no images"]
    code, out, err = run(capsys, "predict", model, bad[0], good, *bad[1:])
    assert code == 1
    assert out == f"{good}: bright 100.0%, dark 0.0%\n"
    assert [str(path) in line for path, line in zip(bad, err.splitlines(), strict=True)] == [True] * 5
    asked = [good, bad[0], good, bad[1], bad[2], good]
    for size in (1, 2, 4, 64):  # batches without a good image, and answers in the order of the images
        code, out, _ = run(capsys, "predict", "--json", "--batch-size", size, model, *asked)
        assert code == 1
        assert [(one["image"], one.get("class")) for one in json.loads(out)] == [
            (str(path), "bright" if path == good else None) for path in asked]
        assert all(("error" in one) != ("probability" in one) for one in json.loads(out))


def test_names_cannot_talk_to_the_terminal(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    strange = "\x1b[31mred\n"
    assert r"\x1b[31mred\n is not there" in complaint(capsys, "predict", model, tmp_path / strange)
    assert r"\x1b[31mred must be a saved model" in complaint(capsys, "summary", tmp_path / strange)
    out = run(capsys, "predict", model, picture(tmp_path / strange, 0, format="PNG"))[1]
    assert r"\x1b[31mred\n: dark 100.0%" in out
    picture(tmp_path / f"in{strange}" / "dark" / "1.png", 0)
    (tmp_path / f"in{strange}" / strange).write_text("no image")
    assert r"in\x1b[31mred\n: 1 image, a folder" in run(capsys, "evaluate", model, tmp_path / f"in{strange}")[1]
    err = run(capsys, "predict", model, tmp_path / f"in{strange}")[2]
    assert err.count(r"\x1b[31mred\n") == 2 and "\x1b" not in err


def test_folders_and_stdin(model: Path, folder: Path, capsys: pytest.CaptureFixture[str],
                           monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "notes.txt").write_text("no image")
    picture(folder / "dark" / "10.png", 0)
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO((folder / "bright" / "1.png").read_bytes())))
    code, out, err = run(capsys, "predict", model, "--json", "-", folder, "--batch-size", 3)
    assert (code, len(err.splitlines())) == (0, 1)
    assert "left out 1 file not named .png" in err and "the first is notes.txt" in err
    names = ["bright/1.png", "bright/2.jpg", "dark/1.png", "dark/2.jpg", "dark/3.png", "dark/4.png", "dark/10.png"]
    answers = json.loads(out)
    assert [answer["image"] for answer in answers] == ["-", *(str(folder / name) for name in names)]
    assert answers[0]["probabilities"] == answers[1]["probabilities"]
    assert "<stdin>" not in out and "is empty" in complaint(capsys, "predict", model, "-")
    monkeypatch.setattr(sys, "stdin", None)
    assert "stdin" in complaint(capsys, "predict", model, "-")


def test_csv(model: Path, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good, bad = picture(tmp_path / 'a "b",\n.png', 255), tmp_path / "bad.png"
    bad.write_bytes(b"nothing")
    code, out, err = run(capsys, "predict", model, "--csv", good, bad)
    assert code == 1 and err.count("\n") == 1
    header, first, second = csv.reader(out.splitlines())
    assert header == ["image", "class", "probability", "p(dark)", "p(bright)", "error"]
    assert first[:2] == [str(tmp_path / 'a "b",\\n.png'), "bright"] and first[5] == ""
    assert float(first[2]) == float(first[4]) == 1 - float(first[3]) > 0.9
    assert second[:5] == [str(bad), "", "", "", ""] and "must be a PNG, JPEG" in second[5]
    rows = list(csv.reader(run(capsys, "evaluate", model, folder, "--csv")[1].splitlines()))
    assert rows == [["class", "precision", "recall", "f1", "images"],
                    ["dark", "1.0", "0.75", "0.8571428571428571", "4"],
                    ["bright", "0.6666666666666666", "1.0", "0.8", "2"]]
    named = brightness()
    named.classes = ("da,rk", 'bri"ght')
    tn.save(tmp_path / "named", named, scaling=nn.Scaling())
    for name, other in zip(("dark", "bright"), named.classes, strict=True):
        (folder / name).rename(folder / other)
    rows = list(csv.reader(run(capsys, "evaluate", tmp_path / "named", folder, "--csv")[1].splitlines()))
    assert [row[0] for row in rows] == ["class", *named.classes] and {len(row) for row in rows} == {5}
    rows = list(csv.reader(run(capsys, "summary", model, "--csv")[1].splitlines()))
    assert rows[0] == ["name", "layer", "shape", "parameters", "flops", "activations"]
    assert rows[1][:3] == ["0", "Reshape", "8 x 8 x 3"] and rows[3][:4] == ["2", "Dense", "2", "8"]
    for command in ("predict", "evaluate", "summary"):
        with pytest.raises(SystemExit):
            main([command, "--csv", "--json", str(model), str(good)])
    assert "not allowed with" in capsys.readouterr().err


@pytest.mark.parametrize("command", ["train", "predict", "evaluate", "explain", "summary", "export", "learn", "about"])
def test_help_has_examples_that_can_be_parsed(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main([command, "--help"])
    assert stopped.value.code == 0
    examples = re.findall(r"\btinynet ([^>\n]*)", capsys.readouterr().out.partition("examples:\n")[2])
    assert examples and all(words.split()[0] == command for words in examples)
    assert all(parser().parse_args(shlex.split(words, comments=True)).command for words in examples)


# --- evaluate -------------------------------------------------------------------------------------------------------

def test_one_class_of_a_model_is_evaluated(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for path in (folder / "bright").iterdir():
        path.unlink()
    code, out, err = run(capsys, "evaluate", "--json", model, folder)
    assert (code, err) == (0, "")
    found = json.loads(out)
    assert (found["images"], found["accuracy"], found["confusion_matrix"]) == (4, 0.75, [[3, 1], [0, 0]])


REPORT = """\
accuracy 0.8333 on 6 images, 95 % interval 0.4365 to 0.9699, mean recall 0.8750, ROC-AUC 0.8750

class    precision   recall       F1   images
dark        1.0000   0.7500   0.8571        4
bright      0.6667   1.0000   0.8000        2

true \\ predicted   dark   bright
dark                  3        1
bright                0        2
"""


def test_evaluate_a_folder(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """The folder's classes have another order than the model's."""
    code, out, err = run(capsys, "evaluate", model, folder)
    assert (code, err) == (0, "")
    assert out == f"{folder}: 6 images, a folder for each class.\n\n{REPORT}"
    assert run(capsys, "evaluate", "--batch-size", "4", model, folder)[1] == out


def test_evaluate_as_json(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "dark" / "damaged.png").write_bytes((folder / "dark" / "1.png").read_bytes()[:40])
    code, out, _ = run(capsys, "evaluate", model, folder, "--json")
    assert code == 0
    found = json.loads(out)
    assert out.startswith('{\n "data": ')
    assert found["accuracy"] == 5 / 6
    assert found["confusion_matrix"] == [[3, 1], [0, 2]]
    assert found["per_class"]["bright"] == {"precision": 2 / 3, "recall": 1.0, "f1": 0.8, "images": 2}
    assert list(found["skipped"]) == ["dark/damaged.png"]
    assert "\n  skipped dark/damaged.png: " in run(capsys, "evaluate", model, folder)[1]
    code, out, err = run(capsys, "evaluate", model, folder, "--csv")
    assert code == 0 and len(out.splitlines()) == 3
    assert err == f"skipped dark/damaged.png: {found['skipped']['dark/damaged.png']}\n"


def test_evaluate_the_part_that_is_to_be_tested(model: Path, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    for name, level in (("train/dark/1.png", 255), ("train/bright/1.png", 0), ("train/bright/2.png", 255),
                        ("test/dark/1.png", 0), ("test/bright/1.png", 255)):
        picture(tmp_path / "data" / name, level)
    out = run(capsys, "evaluate", model, tmp_path / "data")[1]
    assert "5 images" not in out and "2 images, in parts, the part 'test'." in out and "accuracy 1.0000" in out
    assert "accuracy 0.3333 on 3" in run(capsys, "evaluate", "--part", "train", model, tmp_path / "data")[1]
    out = run(capsys, "evaluate", "--part", "all", model, tmp_path / "data")[1]
    assert "accuracy 0.6000 on 5" in out and "5 images, in parts, the part 'all'." in out
    shutil.rmtree(tmp_path / "data" / "test")
    out = run(capsys, "evaluate", model, tmp_path / "data")[1]
    assert "3 images, in parts, the part 'all'." in out and "accuracy 0.3333 on 3" in out, "without a part `test`"
    for name, level in (("test/dark/1.png", 0), ("test/bright/1.png", 255)):
        picture(tmp_path / "data" / name, level)
    assert "must have images in its part 'val', and has none" in complaint(
        capsys, "evaluate", "--part", "val", model, tmp_path / "data")


def test_evaluate_digits(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model = nn.Sequential(nn.Flatten(), nn.Dense(784, 10), input_shape=(28, 28, 1))
    data = tn.data.load_digits()
    mean = np.stack([data.train_images[data.train_labels == k].mean(axis=0).ravel() for k in range(10)]) / 255
    model[1].W.data[...] = mean.T
    model[1].b.data[...] = -(mean**2).sum(axis=1) / 2  # the nearest mean
    tn.save(tmp_path / "digits", model, classes=data.classes)
    code, out, _ = run(capsys, "evaluate", tmp_path / "digits", "digits", "--json")
    assert code == 0
    found = json.loads(out)
    assert found["accuracy"] > 0.8
    assert found["images"] == len(data.test_labels) == sum(map(sum, found["confusion_matrix"]))
    assert "The test part." in found["data"]


def test_evaluate_mnist_of_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    """The model's classes have another order than those of MNIST."""
    arrays = write_mnist(tmp_path / "here")
    model = nn.Sequential(nn.Flatten(), nn.Dense(784, 10), input_shape=(28, 28, 1))
    tn.save(tmp_path / "model", model, classes=tuple("9876543210"))
    found = json.loads(run(capsys, "evaluate", tmp_path / "model", tmp_path / "here", "--json")[1])
    monkeypatch.setenv("TINYNET_DATA", str(tmp_path / "here"))
    for source in ("mnist", "auto"):
        assert json.loads(run(capsys, "evaluate", tmp_path / "model", source, "--json")[1]) == found
    labels = arrays["t10k-labels-idx1-ubyte"]
    assert found["images"] == 4 and np.sum(found["confusion_matrix"], axis=1).tolist() == np.bincount(
        9 - labels, minlength=10).tolist()


def test_what_cannot_be_evaluated(model: Path, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert "has images of (28, 28, 1), and the model takes (8, 8, 3)" in complaint(capsys, "evaluate", model, "digits")
    coloured = nn.Sequential(nn.GlobalAveragePool(), nn.Dense(3, 10), input_shape=(28, 28, 3))
    tn.save(model.parent / "coloured", coloured)
    assert "and the model takes (28, 28, 3)" in complaint(capsys, "evaluate", model.parent / "coloured", "digits")
    assert "is not there" in complaint(capsys, "evaluate", model, folder / "nowhere")
    assert "scan_folder: " in complaint(capsys, "evaluate", model, folder / "dark")
    (folder / "bright").rename(folder / "shiny")
    assert ("classes must be among those of the model, 'dark', 'bright', and 'shiny' is not; rename"
            in complaint(capsys, "evaluate", model, folder))


# --- summary --------------------------------------------------------------------------------------------------------

def test_summary(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "summary", model)
    assert (code, err) == (0, "")
    assert out.startswith(brightness().summary())
    assert out.endswith("input     (8, 8, 3)\nclasses   dark, bright\nscaling   Scaling(mean=(0.0,), scale=(255.0,))\n")
    found = json.loads(run(capsys, "summary", model, "--json")[1])
    assert found["input_shape"] == [8, 8, 3]
    assert found["classes"] == ["dark", "bright"]
    assert found["scaling"] == {"mean": [0.0], "scale": [255.0]}
    assert found["parameters"] == 8
    assert [layer["layer"] for layer in found["layers"]] == ["Reshape", "GlobalAveragePool", "Dense"]


def test_summary_of_a_model_that_says_little(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tn.save(tmp_path / "model", nn.Dense(3, 2))
    out = run(capsys, "summary", tmp_path / "model")[1]
    assert "output shape" in out and "input     not said\nclasses   not said\nscaling   not said" in out


# --- what is wrong with a model -------------------------------------------------------------------------------------

@pytest.mark.parametrize("command", ["predict", "evaluate", "summary"])
@pytest.mark.parametrize(("damage", "words"), [
    (lambda path: path.unlink(), "is not there"), (lambda path: path.write_bytes(b""), "damaged"),
    (lambda path: path.write_bytes(path.read_bytes()[:-1]), "damaged"),
    (lambda path: path.write_bytes(b"\x80\x04" + os.urandom(100)), "damaged"),
    (lambda path: path.write_bytes(path.read_bytes()[:-1] + b"\x7f"), "checksum"),
    (lambda path: path.write_bytes(to_bytes({"W": np.zeros(2)})), "must be of format"),
    (lambda path: path.write_bytes(to_bytes({}, {"tinynet 1": '{"layer": "Evil"}'})), "names 'Evil'")])
def test_a_bad_model_is_one_line(command: str, damage: Any, words: str, model: Path, folder: Path,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    damage(model)
    more = {"predict": [folder / "dark" / "1.png"], "evaluate": [folder], "summary": []}[command]
    assert words in complaint(capsys, command, model, *more)


@pytest.mark.parametrize(("change", "words"), [
    (lambda m: setattr(m, "input_shape", None), "must take images, its input_shape be (height, width, 1 or 3), and it "
                                                "is None"),
    (lambda m: m.layers.append(nn.Reshape((1, 2))), "a score for each of two or more classes, and gives (1, 2)"),
    (lambda m: m.layers.append(nn.Dense(2, 1)), "and gives (1,) for an image"),
    (lambda m: m[2].b.data.fill(np.nan), "what the model gives must be finite")])
def test_models_that_are_no_classifiers(change: Any, words: str, model: Path, folder: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    made = brightness()
    made.classes = None
    change(made)
    tn.save(model, made)
    assert words in complaint(capsys, "predict", model, folder / "dark" / "1.png")


def test_a_model_of_sequences_is_no_classifier() -> None:
    for shape in ((8,), (8, 8, 2), (2, 2, 2, 2)):
        model = nn.Sequential(nn.Flatten(), nn.Dense(int(np.prod(shape)), 2), input_shape=shape)
        with pytest.raises(ModelFileError, match="must take images"):
            Classifier(model)


# --- the command itself ---------------------------------------------------------------------------------------------

def test_options_that_are_wrong(model: Path, capsys: pytest.CaptureFixture[str],
                                monkeypatch: pytest.MonkeyPatch) -> None:
    for arguments in ([], ["guess"], ["predict"], ["predict", str(model)], ["predict", "--batch-size", "0", "m", "i"],
                      ["evaluate", str(model), "digits", "--part", "x"], ["summary", str(model), "more"]):
        with pytest.raises(SystemExit) as stopped:
            main(arguments)
        assert stopped.value.code == 2
        assert "Traceback" not in capsys.readouterr().err
    with pytest.raises(SystemExit) as stopped:
        main(["--help"])
    assert stopped.value.code == 0
    assert "Exit codes: 0 done; 1 a fault of the model" in capsys.readouterr().out
    for started, called in (("/usr/bin/tinynet", "tinynet"), ("/lib/tinynet/__main__.py", "python -m tinynet")):
        monkeypatch.setattr(sys, "argv", [started])
        with pytest.raises(SystemExit):
            main(["--help"])
        assert capsys.readouterr().out.startswith(f"usage: {called} [-h] [--version]")


def test_devices_that_are_not_there(model: Path, folder: Path, capsys: pytest.CaptureFixture[str],
                                    monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    for device, words in (("gpu", "needs CuPy"), ("tpu", 'must be "cpu", "gpu"')):
        assert words in complaint(capsys, "predict", "--device", device, model, folder / "dark/1.png", code=2)


@pytest.mark.parametrize(("error", "code", "words"), [
    (KeyboardInterrupt(), 130, "interrupted\n"), (MemoryError(), 1, "there is not enough memory for"),
    (Interrupted("stopped by SIGTERM", signal.SIGTERM), 143, "stopped by SIGTERM: the same command with --resume\n"),
    (Interrupted("stopped by SIGINT", signal.SIGINT), 130, "stopped by SIGINT: the same command with --resume\n"),
    (DeviceError("it needs a GPU"), 2, "it needs a GPU\n"), (DataError("no images"), 1, "no images\n"),
    (OSError(28, "No space left", "a/file"), 1, "a/file: the answer cannot be written (No space left)"),
    (OSError("no more files"), 1, "the answer cannot be written (no more files)")])
def test_each_end_has_its_code(error: BaseException, code: int, words: str, model: Path,
                               capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def load(path: Any) -> Any:
        raise error

    monkeypatch.setattr("tinynet.commands.summary.load", load)
    assert complaint(capsys, "summary", model, code=code).startswith(f"tinynet: {words}")


def test_as_a_command(model: Path, folder: Path) -> None:
    def command(*arguments: Any, **options: Any) -> Any:
        return subprocess.run([sys.executable, "-m", "tinynet", *map(str, arguments)], text=True, cwd=ROOT,
                              capture_output=True, timeout=120, **options)

    good = command("summary", model)
    assert (good.returncode, good.stderr) == (0, "")
    bad = command("predict", folder / "dark" / "1.png", model)
    assert bad.returncode == 1
    assert bad.stderr.count("\n") == 1 and "Traceback" not in bad.stderr
    piped = subprocess.run(f"{sys.executable} -m tinynet summary {model} | true", shell=True, text=True, cwd=ROOT,
                           capture_output=True, timeout=120, check=False)
    assert piped.stderr == ""


# --- numbers and text -----------------------------------------------------------------------------------------------

def test_score_and_report() -> None:
    rng = np.random.default_rng(0)
    labels, probabilities = rng.integers(0, 3, 50), rng.dirichlet([1, 1, 1], 50)
    names = ["a", "b$", "a long name"]
    found = score(labels, probabilities, names)
    predicted = probabilities.argmax(axis=1)
    assert found["accuracy"] == (predicted == labels).mean()
    assert np.trace(found["confusion_matrix"]) == (predicted == labels).sum()
    assert [found["per_class"][name]["images"] for name in names] == np.bincount(labels).tolist()
    assert "roc_auc" not in found
    text = report(json.loads(json.dumps(found)))
    assert all(name in text for name in names)
    one_sided = score(np.zeros(4, int), probabilities[:4, :2], ["a", "b"])  # no ROC of one class alone
    assert "roc_auc" not in one_sided and one_sided["per_class"]["b"]["images"] == 0


def test_labels_are_told_by_their_names() -> None:
    pictures = Classifier(brightness())
    np.testing.assert_array_equal(pictures.labels_of(np.array([0, 1, 1]), ["bright", "dark"]), [1, 0, 0])
    np.testing.assert_array_equal(pictures.labels_of(np.array([0, 0]), ["bright"]), [1, 1])
    pictures.classes = ("caf\u00e9", "tea")
    np.testing.assert_array_equal(pictures.labels_of(np.array([0, 1]), ["tea", "cafe\u0301"]), [1, 0])
    with pytest.raises(DataError, match="'x1', 'x2', 'x3', 'x4', 'x5' and 1 more are not"):
        pictures.labels_of(np.array([0]), [f"x{i}" for i in range(1, 7)])


# --- about ----------------------------------------------------------------------------------------------------------

def test_about(capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = run(capsys, "about")
    assert (code, err) == (0, "")
    assert out.startswith("python ") and f"\ntinynet       {tn.__version__}\n" in out
    code, out, _ = run(capsys, "about", "--json")
    assert code == 0
    assert json.loads(out)["versions"] == tn.about().versions and out.startswith('{\n "versions": {\n  "python"')


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["--version"])
    assert stopped.value.code == 0
    assert capsys.readouterr().out == f"tinynet {tn.__version__}\n"


# --- export ---------------------------------------------------------------------------------------------------------

def test_export_to_onnx(model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    running = pytest.importorskip("onnxruntime").InferenceSession
    code, out, err = run(capsys, "export", model, "--onnx", tmp_path / "model.onnx", "--pixels", "--probabilities")
    assert (code, err) == (0, "")
    assert re.fullmatch(r"written to \S+model\.onnx: \d+ B\n", out)
    found, = running(tmp_path / "model.onnx").run(["probabilities"], {"pixels": np.full((1, 8, 8, 3), 255, "uint8")})
    np.testing.assert_allclose(found, [[0, 1]], atol=1e-4)
    code, out, _ = run(capsys, "export", model, "--onnx", tmp_path / "other.onnx", "--json")
    assert json.loads(out) == {"file": str(tmp_path / "other.onnx"), "bytes": (tmp_path / "other.onnx").stat().st_size}


def test_export_to_a_file_that_cannot_be_written(model: Path, tmp_path: Path,
                                                 capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("onnx")
    assert "must be a file that can be written" in complaint(capsys, "export", model, "--onnx", tmp_path)


def test_options_of_the_other_export(model: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for words, fault in ((["--web", "a", "--pixels", "--lengths"], "--pixels, --lengths cannot be combined with --web"),
                         (["--web", "a", "--probabilities"], "--probabilities cannot be combined with --web"),
                         (["--onnx", "a", "--title", "b"], "--title cannot be combined with --onnx"),
                         (["--onnx", "a", "--runtime", "b"], "--runtime cannot be combined with --onnx"),
                         (["--onnx", "a", "--web", "b"], "not allowed with"), ([], "is required")):
        with pytest.raises(SystemExit) as stopped:
            main(["export", str(model), *words])
        assert stopped.value.code == 2
        assert fault in capsys.readouterr().err


def test_export_of_sequences(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    running = pytest.importorskip("onnxruntime").InferenceSession
    tn.save(tmp_path / "model", nn.Sequential(nn.LSTM(3, 2, return_sequences=False), input_shape=(5, 3)))
    assert run(capsys, "export", tmp_path / "model", "--onnx", tmp_path / "model.onnx", "--lengths")[0] == 0
    x = np.random.default_rng(0).normal(size=(1, 5, 3)).astype("float32")
    found, = running(tmp_path / "model.onnx").run(None, {"input": x, "lengths": np.array([2], "int32")})
    np.testing.assert_allclose(found, tn.predict(tn.load(tmp_path / "model"), x[:, :2]), atol=1e-6)
