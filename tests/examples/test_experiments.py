"""The scripts of the paper's experiments, run completely on tiny inputs, killed and resumed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinynet as tn
from tinynet.ensemble import members

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import idc_table2  # noqa: E402
import mnist_ciresan  # noqa: E402
import mnist_committee  # noqa: E402
import mnist_deep  # noqa: E402
import mnist_table1  # noqa: E402
import models  # noqa: E402
import pneumonia_cnn_lstm  # noqa: E402
from paper import experiment, provenance, training  # noqa: E402
from paper.reporting import records  # noqa: E402
from test_results import invented  # noqa: E402

SCRIPTS = {"mnist_table1": mnist_table1, "mnist_deep": mnist_deep, "mnist_committee": mnist_committee,
           "mnist_ciresan": mnist_ciresan, "idc_table2": idc_table2, "pneumonia_cnn_lstm": pneumonia_cnn_lstm}
DIGITS = ["--data", "digits", "--epochs", "2", "--limit", "64"]


def pictures(folder: Path, *names: str) -> None:
    for name in names:
        with Image.open(folder / name) as picture:
            assert min(picture.size) > 200


def written(folder: Path) -> str:
    """The text of an experiment. None of its tables is printed."""
    return (folder / "results.md").read_text(encoding="utf-8")


def runs_in(folder: Path) -> dict[str, records.Record]:
    return {path.stem: records.read(path) for path in sorted(folder.glob("*.json"))}


# --- each script ----------------------------------------------------------------------------------------------------

def test_table_1(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mnist_table1.main([*DIGITS, "--seed", "3", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    for part in ("STAND-IN", "run 4 of 4: cnn-seed3: test accuracy 0.", "they mean nothing", "test accuracy, %",
                 f"written: {tmp_path / 'results.md'}"):
        assert part in printed, part
    for part in ("| LSTM-CNN | 121,676 | 99.8261 | 98.267 |", "| LSTM-CNN - CNN-LSTM |", "Does the paper's claim hold",
                 "shift 0.07", "they mean nothing"):
        assert part in written(tmp_path) and part not in printed.replace("they mean nothing", ""), part
    assert "|" not in printed and "**" not in printed and len(printed.splitlines()) < 40
    pictures(tmp_path, "mnist_table1_error.png")
    made = runs_in(tmp_path)
    assert list(made) == ["cnn-seed3", "cnn_lstm-seed3", "lstm-seed3", "lstm_cnn-seed3"]
    assert not list(tmp_path.glob("*.checkpoint"))
    assert len({json.dumps(run["settings"]) for run in made.values()}) == 1
    digits = tn.data.load_digits()
    run = made["lstm_cnn-seed3"]
    assert (run.labels == digits.test_labels).all()
    assert run["command"] == "python examples/mnist_table1.py --data digits --seed 3 --epochs 2 --limit 64"
    assert run["data"] == {"name": "digits", "stand_in": True, "train": 64, "validation": 144, "test": 360,
                           "parted": "validation: 10% of the training set, at random, the same in all runs"}
    assert run["settings"]["epochs"] == 2
    assert run["settings"]["augment"] == {"shift": 0.07, "rotate": 8.0, "scale": 0.08}
    assert all(len(run["curves"][name]) == 2 for name in records.CURVES)
    assert run["seconds"] > 0 and run["hardware"]["device"] == "cpu" and run["versions"]["numpy"] == np.__version__
    model = tn.load(tmp_path / "lstm_cnn-seed3.safetensors")
    assert model.classes == digits.classes and model.scaling == tn.nn.Scaling()
    scores = tn.predict(model, model.scaling(digits.test_images[..., None]))
    assert (scores.argmax(axis=1) == run.predicted).all()


def test_the_deep_one_learns_nothing_in_two_steps_but_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mnist_deep.main([*DIGITS, "--seed", "0", "--out", str(tmp_path)]) == 0
    assert "| deep LSTM-CNN | 369,868 | 99.7 | 99.29 |" in written(tmp_path)
    assert "deep LSTM-CNN       1" in capsys.readouterr().out
    pictures(tmp_path, "mnist_deep_error.png")
    run, = runs_in(tmp_path).values()
    assert run.probabilities is not None
    assert (run.probabilities.max(axis=1) - run.probabilities[np.arange(360), run.predicted] < 1 / 254).all()


def test_the_committee(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert mnist_committee.main([*DIGITS, "--members", "3", "--out", str(tmp_path)]) == 0
    printed = capsys.readouterr().out
    assert "the 3 members together: test accuracy " in printed and "the 3 members disagree about" in printed
    assert "| LSTM-CNN | 3 |" in written(tmp_path)
    pictures(tmp_path, "mnist_committee_size.png", "disagreement.png")
    made = runs_in(tmp_path)
    assert len({run["predicted"] for run in made.values()}) == 3
    assert {run["command"] for run in made.values()} == {
        "python examples/mnist_committee.py --data digits --epochs 2 --limit 64 --members 3"}


def test_idc_leaves_each_of_two_patients_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert idc_table2.main(["--data", "stand-in", "--epochs", "1", "--seed", "0", "--out", str(tmp_path)]) == 0
    assert "STAND-IN" in capsys.readouterr().out
    printed = written(tmp_path)
    for part in ("STAND-IN", "smoke test", "| LSTM-CNN | 113,336 | 84.548 | 85.017 |", "Cruz-Roa",
                 "always \"negative\"", "| LSTM | 90002 | 60 |"):
        assert part in printed, part
    pictures(tmp_path, "idc_table2_error.png", "idc_table2_confusion.png")
    made = runs_in(tmp_path)
    assert list(made) == sorted(f"{model}-{patient}-seed0" for model in idc_table2.MODELS for patient in (90001, 90002))
    assert all(run["data"]["stand_in"] and run.images == 60 and run.scores is not None for run in made.values())
    assert (tmp_path / "stand-in-idc" / "STAND-IN.txt").is_file()
    fold = experiment.folder(experiment.parse(experiment.parser("idc_table2", "", data=""), [
        "--data", str(tmp_path / "stand-in-idc")]), "idc", 50, lambda place: place, crossed=5)[0]
    model = tn.load(tmp_path / f"idc_cnn-{fold.fold}-seed0.safetensors")
    scores = training.probabilities(model, fold.validation, idc_table2.RECIPE, model.scaling)[:, 1]
    right = [tn.metrics.balanced_accuracy(fold.validation[1], scores > threshold)
             for threshold in (made[f"idc_cnn-{fold.fold}-seed0"]["threshold"], *np.linspace(0.01, 0.99, 99))]
    assert right[0] >= max(right)


def test_idc_with_many_patients_is_in_folds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(idc_table2, "FOLDS", 2)
    monkeypatch.setattr(experiment, "MEMORY", 0)  # patches are read when they are needed
    data = tn.data.write_idc_stand_in(tmp_path / "data" / "idc", patients=4, patches=16, seed=1)
    for path in sorted(data.glob("*/1/*.png"))[::2]:  # the positive class becomes rare
        path.unlink()
    command = ["--data", str(data.parent), "--epochs", "1", "--seed", "0", "--out", str(tmp_path / "o")]
    assert idc_table2.main(command) == 0
    assert "smoke test" not in written(tmp_path / "o")
    made = runs_in(tmp_path / "o")
    assert list(made) == sorted(f"{model}-fold{number}-seed0" for model in idc_table2.MODELS for number in (1, 2))
    for run in made.values():
        assert run["command"] == "python examples/idc_table2.py --data data --seed 0 --epochs 1"
    judged = sum(run.images for name, run in made.items() if name.startswith("idc_cnn-"))
    assert judged == len(list(data.rglob("*.png")))
    said = capsys.readouterr().out
    assert said.startswith(str(tn.data.scan_folder(data).report()))
    assert "weights of the classes in the loss: 0." in said
    for model in idc_table2.MODELS:
        assert len(members(tn.load(tmp_path / "o" / f"{model}-seed0.safetensors"))) == 2


def test_pneumonia(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--data", "stand-in", "--size", "32", "--epochs", "2", "--out", str(tmp_path)]
    assert pneumonia_cnn_lstm.main([*command, "--seed", "5"]) == 0
    assert "STAND-IN" in capsys.readouterr().out
    printed = written(tmp_path)
    for part in ("STAND-IN", "Not a diagnostic tool", "precision    recall  f1-score", "| AUC |",
                 "for images of 32 x 32", ">= 87: ", "by numbers in the file names"):
        assert part in printed, part
    pictures(tmp_path, "pneumonia_error.png", "pneumonia_confusion.png", "pneumonia_roc.png", "mistakes.png")
    run, = runs_in(tmp_path).values()
    assert run["command"].endswith("--data stand-in --seed 5 --epochs 2 --size 32")
    assert run["classes"] == ["NORMAL", "PNEUMONIA"]
    assert run["data"]["train"] + run["data"]["validation"] == 80 and run["data"]["test"] == 20
    assert ((run.scores > 0.5) == run.predicted).all()
    folder = tn.data.scan_folder(tmp_path / "stand-in-chest_xray")
    test = folder.select(folder.part_of == "test")
    model = tn.load(tmp_path / "pneumonia_cnn_lstm-seed5.safetensors")
    scores = tn.predict(model, test.images(32)[:] / np.float32(255))
    assert (scores.argmax(axis=1) == run.predicted).all() and (test.labels == run.labels).all()


@pytest.mark.parametrize("size", [32, 100, 224])
def test_the_pneumonia_model_takes_any_size(size: int) -> None:
    model = models.pneumonia_cnn_lstm(size=size)
    assert f"(N, {size // 16}, {64 * (size // 16)})" in model.summary()
    assert model.input_shape == (size, size, 3)


def test_the_models_of_table_2_are_of_one_size() -> None:
    sizes = {}
    for name in idc_table2.MODELS:
        make: Callable[[], tn.nn.Sequential] = getattr(models, name)
        sizes[name] = sum(parameter.size for parameter in make().parameters())
        assert f"{sizes[name]:,} parameters" in (make.__doc__ or "")
        with tn.no_grad():
            assert make()(tn.Tensor(np.zeros((2, 50, 50, 3), "float32"))).shape == (2, 2)
    assert all(abs(size / sizes["idc_lstm_cnn"] - 1) <= 0.1 for size in sizes.values()), sizes


def test_it_learns(tmp_path: Path) -> None:
    """On easy digits: a wrong scaling, loss or order of the labels would show."""
    command = ["--data", "digits", "--epochs", "8", "--limit", "700", "--seed", "0", "--out", str(tmp_path)]
    assert mnist_committee.main(command) == 0
    assert all(run.accuracy > 0.75 for run in runs_in(tmp_path).values())


# --- data -----------------------------------------------------------------------------------------------------------

def test_no_patient_is_in_two_parts(tmp_path: Path) -> None:
    tn.data.write_chest_xray_stand_in(tmp_path / "x", train=40, test=8, size=32, seed=0)
    options = experiment.parse(experiment.parser("x", "", data=""), ["--data", str(tmp_path / "x"), "--limit", "20"])
    data, = experiment.folder(options, "chest_xray", 32, lambda place: place)
    assert len(data.train[1]) == 20 and len(data.validation[1]) >= 6 and data.fold == ""
    assert np.bincount(data.train[1]).min() >= 5
    shared = {image.tobytes() for image in data.train[0]} & {image.tobytes() for image in data.validation[0]}
    assert not shared
    assert data.facts() == {"name": "chest_xray", "stand_in": True, "parted": data.parted, "train": 20,
                            "validation": len(data.validation[1]), "test": 8}


def test_mnist_is_validated_on_the_same_images_with_every_seed() -> None:
    parts = []
    for seed in ("0", "7"):
        tn.seed(int(seed))
        options = experiment.parse(experiment.parser("x", "", data=""), ["--data", "digits", "--seed", seed])
        parts.append(experiment.mnist(options))
    for part in ("train", "validation", "test"):
        assert (getattr(parts[0], part)[0] == getattr(parts[1], part)[0]).all()
    assert [len(parts[0].train[1]), len(parts[0].validation[1]), len(parts[0].test[1])] == [1293, 144, 360]


def test_a_stand_in_that_was_interrupted_is_made_again(tmp_path: Path) -> None:
    options = experiment.parse(experiment.parser("x", "", data=""), ["--data", "stand-in", "--out", str(tmp_path)])

    def stopped(place: Path) -> Path:
        (place / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        experiment.folder(options, "idc", 50, stopped)
    assert not list(tmp_path.iterdir())
    data = experiment.folder(options, "idc", 50, lambda place: tn.data.write_idc_stand_in(place, patients=2, patches=9))
    assert [one.fold for one in data] == ["90001", "90002"]
    again = experiment.folder(options, "idc", 50, stopped)
    assert (again[0].test[1] == data[0].test[1]).all()


def test_each_data_set_has_a_stand_in_of_its_own(tmp_path: Path) -> None:
    """Even with one output folder for two experiments."""
    options = experiment.parse(experiment.parser("x", "", data=""), ["--data", "stand-in", "--out", str(tmp_path)])
    experiment.folder(options, "idc", 50, lambda place: tn.data.write_idc_stand_in(place, patients=2, patches=9))
    data, = experiment.folder(options, "chest_xray", 32, lambda place: tn.data.write_chest_xray_stand_in(
        place, train=12, test=4, size=32))
    assert data.classes == ("NORMAL", "PNEUMONIA")


def test_the_command_that_is_written_down_can_be_typed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It holds only the names of folders, since published records must not show a user's paths."""
    (tmp_path / "my x-rays").mkdir()
    monkeypatch.chdir(tmp_path / "my x-rays")
    for given, written in ((str(tmp_path / "my x-rays"), "'my x-rays'"), (".", "'my x-rays'"), ("digits", "digits")):
        options = experiment.parse(experiment.parser("x", "", data=""), ["--data", given, "--seed", "7"])
        assert options.command == f"python examples/x.py --data {written} --seed 7"


def test_data_is_found_in_its_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tn.data.write_idc_stand_in(tmp_path / "idc", patients=2, patches=18)
    monkeypatch.setenv("TINYNET_DATA", str(tmp_path))
    options = experiment.parse(experiment.parser("x", "", data=""), ["--out", str(tmp_path / "out")])
    assert [one.facts()["test"] for one in experiment.folder(options, "idc", 50, lambda place: place)] == [18, 18]
    assert not (tmp_path / "out").exists()


# --- runs that are there already, or by half ------------------------------------------------------------------------

def without_times(path: Path) -> dict[str, Any]:
    fields = dict(records.read(path).fields)
    fields["curves"] = {name: values for name, values in fields["curves"].items() if name != "seconds"}
    return {name: value for name, value in fields.items()
            if name not in ("seconds", "wall_seconds", "started", "commit")}


def test_killed_and_started_again_it_ends_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--data", "digits", "--epochs", "8", "--limit", "300", "--members", "3", "--out"]
    assert mnist_committee.main([*command, str(tmp_path / "whole")]) == 0
    killed = subprocess.Popen([sys.executable, "-u", str(EXAMPLES / "mnist_committee.py"), *command,
                               str(tmp_path / "killed")], env={**os.environ, "PYTHONPATH": str(EXAMPLES.parent)},
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    assert killed.stdout is not None
    second = False
    for line in killed.stdout:
        second = second or line.startswith("run 2 of 3")
        if second and line.startswith("epoch 3/8"):
            break
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    there = sorted(path.name for path in (tmp_path / "killed").iterdir() if not path.name.startswith("."))
    assert there == ["lstm_cnn-seed0.json", "lstm_cnn-seed0.safetensors", "lstm_cnn-seed1.checkpoint"]
    first = (tmp_path / "killed" / "lstm_cnn-seed0.json").read_bytes()
    capsys.readouterr()
    assert mnist_committee.main([*command, str(tmp_path / "killed")]) == 0
    printed = capsys.readouterr().out
    assert "run 1 of 3: lstm_cnn-seed0 is done" in printed and "resumed from" in printed
    assert (tmp_path / "killed" / "lstm_cnn-seed0.json").read_bytes() == first
    assert len(list((tmp_path / "whole").glob("*.json"))) == 3
    for path in (tmp_path / "whole").glob("*.json"):
        assert without_times(path) == without_times(tmp_path / "killed" / path.name)
        weights = path.with_suffix(".safetensors").name
        assert (tmp_path / "whole" / weights).read_bytes() == (tmp_path / "killed" / weights).read_bytes()


def test_runs_that_are_done_are_not_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*DIGITS, "--epochs", "1", "--members", "2", "--out", str(tmp_path)]
    assert mnist_committee.main(command) == 0
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("*.json")}
    (tmp_path / "lstm_cnn-seed1.json").unlink()
    capsys.readouterr()
    assert mnist_committee.main([*command, "--resume"]) == 0
    printed = capsys.readouterr().out
    assert "run 1 of 2: lstm_cnn-seed0 is done" in printed and "run 2 of 2: lstm_cnn-seed1\n" in printed
    assert (tmp_path / "lstm_cnn-seed0.json").stat().st_mtime_ns == before["lstm_cnn-seed0.json"]
    assert mnist_committee.main([*command, "--no-resume"]) == 0
    assert (tmp_path / "lstm_cnn-seed0.json").stat().st_mtime_ns > before["lstm_cnn-seed0.json"]


def test_published_runs_are_not_made_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = [*DIGITS, "--epochs", "1", "--members", "2", "--out", str(tmp_path / "first")]
    assert mnist_committee.main(command) == 0
    for path in (tmp_path / "first").glob("*.json"):
        record = records.read(path)
        records.write(tmp_path / "published" / records.file_of(record.fields), record.fields)
    (tmp_path / "published" / "mnist_committee-lstm_cnn-seed1.json").unlink()
    text = (tmp_path / "first" / "results.md").read_text()
    capsys.readouterr()
    assert mnist_committee.main([*command[:-1], str(tmp_path / "again"), "--begun", str(tmp_path / "published")]) == 0
    printed = capsys.readouterr().out
    assert "run 1 of 2: lstm_cnn-seed0 is done" in printed and "run 2 of 2: lstm_cnn-seed1\n" in printed
    assert list(runs_in(tmp_path / "again")) == ["lstm_cnn-seed1"]
    again = (tmp_path / "again" / "results.md").read_text()
    assert again.partition("A committee chooses")[2] == text.partition("A committee chooses")[2]


def test_other_settings_than_those_of_the_run_that_is_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--data", "digits", "--limit", "64", "--seed", "0", "--out", str(tmp_path)]
    assert mnist_deep.main([*command, "--epochs", "1"]) == 0
    assert mnist_deep.main([*command, "--epochs", "2"]) == 1
    assert "epochs: 1 there, 2 here; give another --out, or --no-resume" in capsys.readouterr().err
    (tmp_path / "deep_lstm_cnn-seed0.json").write_text("{}")
    assert mnist_deep.main([*command, "--epochs", "1"]) == 1
    assert "must be the file of a run" in capsys.readouterr().err


def test_runs_of_one_seed_are_equal_whoever_ran_before(tmp_path: Path) -> None:
    for out, seeds in (("a", ["0"]), ("b", ["4", "0"])):
        for seed in seeds:
            assert mnist_deep.main([*DIGITS, "--seed", seed, "--out", str(tmp_path / out)]) == 0
    name = "deep_lstm_cnn-seed0"
    assert without_times(tmp_path / "a" / f"{name}.json") == without_times(tmp_path / "b" / f"{name}.json")
    assert records.read(tmp_path / "b" / "deep_lstm_cnn-seed4.json")["predicted"] != \
        records.read(tmp_path / "b" / f"{name}.json")["predicted"]


# --- wrong input ----------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
def test_data_that_is_not_there(script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert script.main(["--data", str(tmp_path / "nothing"), "--out", str(tmp_path / "out")]) == 1
    err = capsys.readouterr().err
    assert "nothing" in err and "Traceback" not in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("script", SCRIPTS.values(), ids=SCRIPTS)
@pytest.mark.parametrize("wrong", [["--seed", "-1"], ["--seed", "4294967296"], ["--epochs", "0"], ["--limit", "x"],
                                   ["--members", "-2"], ["--size", "31"], ["--size", "513"], ["--sizes", "9"]])
def test_impossible_options(script: ModuleType, wrong: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        script.main(wrong)
    assert stopped.value.code == 2
    assert wrong[0] in capsys.readouterr().err


def test_three_classes_are_one_too_many(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one", "two", "three"):
        (tmp_path / "data" / name).mkdir(parents=True)
        for number in range(5):
            Image.new("RGB", (8, 8), (number, 0, 0)).save(tmp_path / "data" / name / f"{number}.png")
    assert pneumonia_cnn_lstm.main(["--data", str(tmp_path / "data"), "--out", str(tmp_path / "out")]) == 1
    assert "must hold two classes, and holds one, three, two; examples/train_folder.py" in capsys.readouterr().err


def test_without_a_gpu_or_matplotlib(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    assert mnist_deep.main([*DIGITS, "--device", "gpu", "--out", str(tmp_path)]) == 2
    assert "needs CuPy" in capsys.readouterr().err
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    for script in (mnist_committee, pneumonia_cnn_lstm):
        source = DIGITS if script is mnist_committee else ["--data", "stand-in", "--size", "32", "--epochs", "1"]
        assert script.main([*source, "--seed", "0", "--out", str(tmp_path)]) == 0
        assert "matplotlib is not installed, so the figures are left out" in capsys.readouterr().out
    assert not list(tmp_path.glob("*.png"))


def test_a_folder_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "file").write_text("")
    assert mnist_deep.main([*DIGITS, "--seed", "0", "--out", str(tmp_path / "file" / "out")]) == 1
    assert "cannot be written" in capsys.readouterr().err


@pytest.mark.parametrize("script", SCRIPTS)
def test_a_run_is_trained_by_its_recipe(tmp_path: Path, script: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each number of the recipe gets to the training, and the schedule has as many steps as the training."""
    recipes, runs, recipe_of = list[Any](), list[Any](), experiment.recipe_of

    def kept(*arguments: Any) -> Any:
        recipes.append(recipe_of(*arguments))
        return recipes[-1]

    class Enough(Exception):
        pass

    def fit(*arguments: Any, **options: Any) -> Any:
        runs.append((*arguments, options))
        raise Enough

    monkeypatch.setattr(experiment, "recipe_of", kept)
    monkeypatch.setattr(tn, "fit", fit)
    source = DIGITS if script.startswith("mnist") else ["--data", "stand-in", "--epochs", "2"]
    with pytest.raises(Enough):
        SCRIPTS[script].main([*source, "--out", str(tmp_path)])
    recipe, (model, optimizer, train, options) = recipes[-1], runs[0]
    schedule = options["schedule"]
    assert schedule.optimizer is optimizer and options["epochs"] == recipe.epochs == 2
    assert schedule.length == 2 * len(train) and schedule.peak == recipe.peak
    assert optimizer.weight_decay == recipe.weight_decay and options["max_norm"] == recipe.max_norm
    assert list(optimizer.parameters) == list(model.parameters())
    assert train.batch_size == recipe.batch_size and train.shuffle
    sides = {"idc_table2": (50, 50, 3), "pneumonia_cnn_lstm": (224, 224, 3)}
    assert model.input_shape == sides.get(script, (28, 28, 1))
    scores, labels = tn.Tensor([[1.0, 2.0], [0.5, -3.0]]), tn.Tensor([0, 1])
    assert options["loss"](scores, labels).item() == tn.ops.cross_entropy(
        scores, labels, label_smoothing=recipe.label_smoothing).item()


@pytest.mark.parametrize(("change", "mark"), [
    (None, ""), ("tinynet/a.py", "+"), ("examples/a.py", "+"), ("README.md", ""), ("tinynet/new.py", "")])
def test_changes_of_the_program_are_said(tmp_path: Path, change: str | None, mark: str,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    def git(*words: str) -> str:
        return subprocess.run(["git", "-C", str(tmp_path), "-c", "user.name=a", "-c", "user.email=a@b", *words],
                              capture_output=True, text=True, check=True).stdout.strip()

    for name in ("tinynet/a.py", "examples/a.py", "examples/paper/a.py", "README.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1\n")
    git("init", "-q")
    git("add", ".")
    git("commit", "-qm", "all")
    if change:
        (tmp_path / change).write_text("2\n")
    monkeypatch.setattr(provenance, "__file__", str(tmp_path / "examples" / "paper" / "provenance.py"))
    assert provenance.commit() == git("rev-parse", "HEAD") + "+", "tinynet is not that of this folder"
    monkeypatch.setattr(provenance.tn, "__file__", str(tmp_path / "tinynet" / "__init__.py"))
    assert provenance.commit() == git("rev-parse", "HEAD") + mark
    git("update-ref", "-d", "HEAD")
    assert provenance.commit() == "unknown"


def test_the_commit_and_the_hardware_are_known() -> None:
    commit = provenance.commit()
    assert commit == "unknown" or (len(commit.rstrip("+")) == 40 and int(commit.rstrip("+"), 16))
    found = provenance.hardware("cpu")
    assert found["processor"] in str(tn.devices()[0]) and found["device"] == "cpu"


def test_an_invented_run_has_what_a_run_has(tmp_path: Path) -> None:
    """So that test_results.py tests records of the real form."""
    assert mnist_deep.main([*DIGITS, "--seed", "0", "--out", str(tmp_path)]) == 0
    run, = runs_in(tmp_path).values()
    made = invented("mnist_deep", "deep_lstm_cnn", 0, wrong=0.1)
    assert {*run.fields} - {"wall_seconds"} == {*made}
    assert {*made["settings"]} <= {*run["settings"]}
    assert all({*made[name]} == {*run[name]} for name in ("data", "hardware", "curves"))
