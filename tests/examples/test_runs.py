"""What the scripts do with their parts, options and numbers, without a training."""

import argparse
import dataclasses
import importlib
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinynet as tn
from tests.support.figures import saved_as_they_are
from tinynet.errors import ArgumentError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import idc_table2  # noqa: E402
import lab_digit  # noqa: E402
import lstm_by_hand  # noqa: E402
import lstm_versions  # noqa: E402
import mnist_ciresan  # noqa: E402
import mnist_committee  # noqa: E402
import mnist_deep  # noqa: E402
import mnist_lstm_cnn  # noqa: E402
import mnist_selection  # noqa: E402
import mnist_table1  # noqa: E402
import pneumonia_selected  # noqa: E402
import reliability  # noqa: E402
import train_small_lstm  # noqa: E402
import vowels_bilstm_cnn as vowels  # noqa: E402
import xray_selection  # noqa: E402
from paper import appearance, experiment, nets, selection, training, views  # noqa: E402
from paper.appearance import Appearance  # noqa: E402
from paper.experiment import Data, Job  # noqa: E402
from paper.reporting import ciresan, figures, records, selections, tables  # noqa: E402
from paper.selection import Trial  # noqa: E402
from paper.training import Recipe  # noqa: E402
from paper.views import View  # noqa: E402


class Trained(Exception):
    """A training that was about to begin."""


def images(*levels: int) -> np.ndarray:
    return np.stack([np.full((4, 4, 1), level, np.uint8) for level in levels])


TRAIN, VALIDATION, TEST = images(10, 20, 30, 40), images(50, 60), images(70, 80, 90)
DATA = Data((TRAIN, np.array([0, 1, 1, 1])), (VALIDATION, np.array([0, 1])), (TEST, np.array([1, 0, 1])),
            ("ham", "egg"), "invented", False, "by hand", weighted=True)


def model() -> tn.nn.Sequential:
    return tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(16, 2), input_shape=(4, 4, 1))


def options(out: Path, **more: Any) -> argparse.Namespace:
    return argparse.Namespace(**{"out": out, "device": "cpu", "resume": True, "begun": None, "epochs": None,
                                 "limit": None, "experiment": "mnist_deep", "command": "a command", **more})


# --- one run --------------------------------------------------------------------------------------------------------

@pytest.fixture
def faked(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What a run trains on, remembers and evaluates."""
    seen: dict[str, Any] = {}
    row = {"train_accuracy": 0.5, "train_loss": 1.23456789, "validation_accuracy": 0.25, "validation_loss": 2.0}

    def fit(model: Any, train: Any, recipe: Any, **more: Any) -> list[dict[str, float]]:
        seen.update(more, train=train, recipe=recipe, weights_at_start=model[1].W.numpy().copy())
        return [{**row, "seconds": 1.25}, {**row, "train_loss": 1.0, "seconds": 2.5}]

    def probabilities(model: Any, part: Any, recipe: Any, scaling: Any) -> np.ndarray:
        seen["tested"] = part[0]
        return np.array([[0.3, 0.7], [0.1, 0.9], [0.9, 0.1000004]])

    monkeypatch.setattr(training, "fit", fit)
    monkeypatch.setattr(training, "probabilities", probabilities)
    monkeypatch.setattr(experiment, "remember", lambda model, train, validation: seen.update(
        remembered=(train, validation)))
    return seen


def test_each_part_of_the_data_has_its_use(faked: dict[str, Any], tmp_path: Path,
                                           monkeypatch: pytest.MonkeyPatch) -> None:
    """Models train on the first, are validated on the second, and see the third once, at the end."""
    monkeypatch.setattr(experiment, "time", SimpleNamespace(perf_counter=iter([5.0, 7.5]).__next__))
    job = Job("deep_lstm_cnn", model, 3, DATA, Recipe(epochs=2, batch_size=2), probabilities=True)
    run = experiment.run(job, options(tmp_path))
    assert faked["train"].arrays[0] is TRAIN and faked["validation"].arrays[0] is VALIDATION
    assert faked["remembered"][0] is TRAIN and faked["remembered"][1] is VALIDATION and faked["tested"] is TEST
    assert faked["train"].shuffle and faked["train"].batch_size == 2 and not faked["validation"].shuffle
    np.testing.assert_allclose(faked["weights"], [4 / 2, 4 / 6])
    assert faked["checkpoint"] == tmp_path / "deep_lstm_cnn-seed3.checkpoint" and faked["resume"] is True
    tn.seed(3)
    assert (faked["weights_at_start"] == model()[1].W.numpy()).all()
    assert (run["labels"], run["predicted"], run["scores"]) == ("101", "110", [0.7, 0.9, 0.1])
    assert run["started"].endswith("+00:00") and run["wall_seconds"] == 2.5
    assert (run["seconds"], run["parameters"], run["seed"], run["fold"]) == (3.75, 34, 3, "")
    assert run["curves"]["train_loss"] == [1.234568, 1.0] and run["curves"]["seconds"] == [1.25, 2.5]
    assert run.probabilities is not None and run.probabilities[0].tolist() == pytest.approx([0.3, 0.7], abs=1 / 500)
    assert (run["classes"], run["command"], run["settings"]["input"]) == (["ham", "egg"], "a command", [4, 4, 1])
    kept = tn.load(tmp_path / "deep_lstm_cnn-seed3.safetensors")
    assert kept.classes == ("ham", "egg") and kept.scaling == tn.nn.Scaling()


def test_the_threshold_is_chosen_on_the_validation_images(faked: dict[str, Any], tmp_path: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    p = {3: np.array([[0.3, 0.7], [0.1, 0.9], [0.9, 0.1]]), 2: np.array([[0.9, 0.1], [0.6, 0.4]])}
    monkeypatch.setattr(training, "probabilities", lambda model, part, recipe, scaling: p[len(part[1])])
    job = Job("deep_lstm_cnn", model, 0, DATA, Recipe(epochs=2), threshold=True)
    assert experiment.run(job, options(tmp_path))["threshold"] == 0.25, "between 0.1 and 0.4"


def test_a_run_is_on_its_device_and_its_record_is_written_last(faked: dict[str, Any], tmp_path: Path,
                                                               monkeypatch: pytest.MonkeyPatch) -> None:
    """Since it marks a finished run. A run that is made again replaces it."""
    write, devices, fit = records.write, list[str](), training.fit

    def written(path: Path, fields: dict[str, Any]) -> None:
        assert path.with_suffix(".safetensors").is_file()
        write(path, fields)

    monkeypatch.setattr(records, "write", written)
    monkeypatch.setattr(training, "fit", lambda model, *arguments, **more: devices.append(
        model.parameters()[0].device) or fit(model.to("cpu"), *arguments, **more))
    job = Job("deep_lstm_cnn", model, 3, DATA, Recipe(epochs=2, batch_size=2))
    for device, title in (("cpu", "cpu"), ("gpu-emulated", tn.devices()[-1].title)):
        run = experiment.run(job, options(tmp_path, device=device, resume=False, command=f"on {device}"))
        assert run["command"] == f"on {device}" and run["hardware"]["device"] == title
    assert devices == ["cpu", "gpu-emulated"]


def test_a_run_in_the_output_folder_comes_before_one_that_is_published(faked: dict[str, Any], tmp_path: Path) -> None:
    job = Job("deep_lstm_cnn", model, 3, DATA, Recipe(epochs=2))
    own = experiment.run(job, options(tmp_path))
    records.write(tmp_path / "begun" / records.file_of(own.fields), {**own.fields, "command": "published"})
    given = options(tmp_path, begun=tmp_path / "begun")
    for command in ("a command", "published"):
        there = experiment._existing(job, given)
        assert there is not None and there["command"] == command
        (tmp_path / "deep_lstm_cnn-seed3.json").unlink(missing_ok=True)


def test_without_weights_and_probabilities(faked: dict[str, Any], tmp_path: Path) -> None:
    job = Job("deep_lstm_cnn", model, 0, dataclasses.replace(DATA, weighted=False), Recipe(epochs=2))
    run = experiment.run(job, options(tmp_path, resume=False))
    assert faked["weights"] is None and faked["resume"] is False and run.probabilities is None


def test_the_estimated_prior_is_that_of_the_training_labels(faked: dict[str, Any], tmp_path: Path) -> None:
    job = Job("deep_lstm_cnn", model, 0, DATA, Recipe(epochs=2, estimate_prior=True))
    found = training.probabilities(None, DATA.test, job.recipe, None)  # type: ignore[arg-type]
    expected = training.with_estimated_prior(found, DATA.train[1])[:, 1]
    assert experiment.run(job, options(tmp_path))["scores"] == expected.round(6).tolist()
    before, after = 0.75, training.estimated_prior(found[:, 1], 0.75)
    odds = found[:, 1] / (1 - found[:, 1]) * (after / (1 - after)) / (before / (1 - before))
    np.testing.assert_allclose(expected, odds / (1 + odds), rtol=1e-5)


@pytest.mark.parametrize("change", [
    {"epochs": 3}, {"batch_size": 4}, {"peak": 0.5}, {"weight_decay": 0.5}, {"label_smoothing": 0.5}, {"max_norm": 1.0},
    {"augment": {"shift": 0.2}}, {"average": 2}, {"views": 2}, {"estimate_prior": True}, {"limit": 3},
    {"experiment": "mnist_table1"}, {"train": 1}, {"validation": 1}, {"test": 1}, {"name": "other"},
    {"stand_in": True}, {"parted": "otherwise"}], ids=str)
def test_a_run_of_any_other_setting_is_not_taken_for_this_one(change: dict[str, Any], faked: dict[str, Any],
                                                             tmp_path: Path) -> None:
    job = Job("deep_lstm_cnn", model, 0, DATA, Recipe(epochs=2))
    experiment.run(job, options(tmp_path))
    assert experiment._existing(job, options(tmp_path)) is not None
    assert experiment._existing(job, options(tmp_path, resume=False)) is None
    (name, value), = change.items()
    data, recipe, given = job.data, job.recipe, options(tmp_path)
    if name in ("train", "validation", "test"):
        part = getattr(data, name)
        data = dataclasses.replace(data, **{name: (part[0][value:], part[1][value:])})
    elif name in ("name", "stand_in", "parted"):
        data = dataclasses.replace(data, **change)
    elif name in ("limit", "experiment"):
        given = options(tmp_path, **change)
    else:
        recipe = dataclasses.replace(recipe, **change)
    with pytest.raises(ArgumentError, match=f"they differ in (.*; )?{name}: "):
        experiment._existing(dataclasses.replace(job, data=data, recipe=recipe), given)


def test_the_epochs_of_the_command_replace_those_of_the_recipe(tmp_path: Path) -> None:
    job = Job("deep_lstm_cnn", model, 0, DATA, Recipe(epochs=40))
    assert experiment.recipe_of(job, options(tmp_path)).epochs == 40
    assert experiment.settings(job, options(tmp_path, epochs=7, limit=9)) == {
        **Recipe(epochs=7).settings(), "limit": 9, "input": [4, 4, 1]}


def test_the_state_of_a_finished_run_is_removed(faked: dict[str, Any], tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    job = Job("deep_lstm_cnn", model, 3, DATA, Recipe(epochs=2, average=2))
    states = [tmp_path / f"{job.name}.checkpoint{end}" for end in ("", ".0.npz", ".1.npz")]
    for said in ("run 1 of 1: deep_lstm_cnn-seed3: test accuracy 0.3333 on 3 images",
                 "run 1 of 1: deep_lstm_cnn-seed3 is done: test accuracy 0.3333"):
        for path in states:
            path.write_text("")
        (run,) = experiment.run_all([job], options(tmp_path))
        assert run["seed"] == 3 and said in capsys.readouterr().out
        assert not any(path.exists() for path in states)


def test_where_the_images_of_a_folder_are_looked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In $TINYNET_DATA, if it has them; a folder that is given may be theirs, or that of several."""
    def found(data: str) -> Path | None:
        return experiment._found(options(tmp_path, data=data), "idc")

    monkeypatch.setenv("TINYNET_DATA", str(tmp_path))
    assert found("auto") is None and found(str(tmp_path)) == tmp_path
    (tmp_path / "idc").mkdir()
    assert found("auto") == found(str(tmp_path)) == found(str(tmp_path / "idc")) == tmp_path / "idc"
    assert found("stand-in") is None
    monkeypatch.delenv("TINYNET_DATA")
    assert found("auto") is None


def test_stand_ins_are_told_before_the_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    """And real data are not called so."""
    small, sentence = tn.data.load("digits")
    for name, is_real in (("digits", False), ("mnist", True)):
        found = dataclasses.replace(small, name=name)
        monkeypatch.setattr(tn.data, "load", lambda given, found=found: (found, sentence))
        assert experiment.mnist(options(tmp_path, data=name)).stand_in is not is_real
        said = capsys.readouterr().out.splitlines()
        assert said == [sentence, *["STAND-IN: these digits stand for MNIST, and the results are not results on MNIST."]
                        * (not is_real)]
    tn.data.write_idc_stand_in(tmp_path / "idc", patients=2, patches=9, seed=0)
    for is_real in (False, True):
        if is_real:
            (tmp_path / "idc" / "STAND-IN.txt").unlink()
        assert experiment.folder(options(tmp_path, data=str(tmp_path)), "idc", 50, Path)[0].stand_in is not is_real
        warned = "STAND-IN: these images were generated, and the results say nothing about real ones."
        assert (warned in capsys.readouterr().out.splitlines()) is not is_real


@pytest.mark.parametrize(("script", "words", "expected"), [
    (idc_table2, [], ("idc", 50, {"crossed": 5}, {"patients": 2, "patches": 60, "seed": 0})),
    (pneumonia_selected.pneumonia_cnn_lstm, ["--size", "48"],
     ("chest_xray", 48, {"validation": 0.2}, {"size": 48, "seed": 0})),
    (pneumonia_selected, ["--size", "64"], ("chest_xray", 64, {"validation": 0.05}, {"size": 64, "seed": 0})),
    (xray_selection, ["--side", "64"], ("chest_xray", None, {}, {"size": 64, "seed": 0}))], ids=str)
def test_the_folder_and_the_stand_in_of_a_script(script: Any, words: list[str], expected: Any, tmp_path: Path,
                                                 monkeypatch: pytest.MonkeyPatch) -> None:
    """Its name, the size of its images, its share to validate on, and what is generated without it."""
    asked: list[Any] = []

    def generated(place: Path, **more: Any) -> None:
        assert place == tmp_path
        asked.append(more)
        raise Trained

    def folder(options: Any, name: str, size: int, generate: Any, **more: Any) -> None:
        asked.extend((name, size, more))
        generate(tmp_path)

    for name in ("idc", "chest_xray"):
        monkeypatch.setattr(tn.data, f"write_{name}_stand_in", generated)
    monkeypatch.setattr(experiment, "folder", folder)
    monkeypatch.setattr(experiment, "source", lambda options, name, generate: folder(options, name, None, generate))
    with pytest.raises(Trained):
        script.main(["--out", str(tmp_path), *words])
    assert tuple(asked) == expected


def test_a_limit_is_for_the_images_to_train_on(tmp_path: Path) -> None:
    digits = experiment.mnist(options(tmp_path, data="digits", limit=50))
    tn.data.write_chest_xray_stand_in(tmp_path / "x", train=40, test=8, size=32, seed=0)
    rays = [experiment.folder(options(tmp_path, data=str(tmp_path / "x"), limit=limit), "x", 32, Path)[0].facts()
            for limit in (5, None)]
    assert [digits.facts()[part] for part in ("train", "validation", "test")] == [50, 144, 360]
    assert rays[0] == {**rays[1], "train": 5} and rays[1]["train"] + rays[1]["validation"] == 40
    assert rays[1]["validation"] > 5 and rays[1]["test"] == 8


def test_a_limit_takes_images_from_the_whole_set() -> None:
    assert experiment.limited(np.arange(100, 111), 3).tolist() == [100, 105, 110]
    for limit in (4, None):
        assert experiment.limited(np.arange(4), limit).tolist() == [0, 1, 2, 3]


@pytest.mark.parametrize(("arguments", "seeds"), [([], [0, 1, 2]), (["--seed", "7"], [7]), (["--seed", "0"], [0])])
def test_the_seeds_of_a_command(arguments: list[str], seeds: list[int]) -> None:
    parser = experiment.parser("x", "", data="", seeds=3)
    found = experiment.parse(parser, arguments)
    assert list(found.seeds) == seeds and (found.data, found.device, found.resume) == ("auto", "cpu", True)
    assert found.out == Path("runs/x") and found.epochs is found.limit is None
    assert parser.prog == "x.py" and " (default: 3 of them, from 0)" in " ".join(parser.format_help().split())


def test_a_device_that_is_missing_is_told_before_the_work(monkeypatch: pytest.MonkeyPatch,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    done: list[Any] = []
    monkeypatch.setitem(sys.modules, "cupy", None)
    for device, code in (("gpu", 2), ("cpu", 0)):
        assert experiment.main(experiment.parser("x", "", data=""), done.append, ["--device", device]) == code
    assert len(done) == 1 and "needs CuPy" in capsys.readouterr().err


def test_only_changes_of_the_result_are_in_the_written_command() -> None:
    given = ["--epochs", "3", "--limit", "9", "--device", "gpu", "--out", "there", "--no-resume", "--begun", "here"]
    assert experiment.parse(experiment.parser("x", "", data=""), given).command == \
        "python examples/x.py --device gpu --epochs 3 --limit 9"


def test_a_view_makes_a_digit_upright_and_then_wide() -> None:
    digits = tn.data.load_digits().test_images[:3, ..., None]
    upright = View(deskewed=True)(digits)
    assert (View(12, deskewed=True)(digits) == View(12)(upright)).all() and (upright != digits).any()
    row = np.array([[[0, 100, 200, 0]]], np.uint8)
    places = np.array([[[1.0, 1.25, -0.5, 2.5]]])
    assert views.columns_from(row, places).tolist() == [[[100, 125, 0, 100]]], "linearly, 0 beyond the border"


def test_members_see_all_parts_in_their_view(monkeypatch: pytest.MonkeyPatch) -> None:
    shown = mnist_ciresan.seen(DATA, View(by_columns=True))
    for part in ("train", "validation", "test"):
        pixels, labels = getattr(DATA, part)
        seen, same = getattr(shown, part)
        assert (seen == pixels.swapaxes(1, 2)).all() and same is labels


IDC, IDC_SEEDS = ("idc_lstm_cnn", "idc_lstm", "idc_cnn"), [seed for seed in range(5) for _ in range(2 * 3)]
JOBS: dict[Any, tuple[list[str], list[int], dict[str, bool]]] = {
    mnist_table1: (["lstm_cnn", "cnn_lstm", "lstm", "cnn"] * 5, [seed for seed in range(5) for _ in range(4)], {}),
    mnist_deep: (["deep_lstm_cnn"] * 5, [*range(5)], {"probabilities": True}),
    mnist_committee: (["lstm_cnn"] * 10, [*range(10)], {"probabilities": True}),
    idc_table2: ([*IDC] * 10, IDC_SEEDS, {"threshold": True}),
    pneumonia_selected.pneumonia_cnn_lstm: (["pneumonia_cnn_lstm"] * 5, [*range(5)], {})}


@pytest.mark.parametrize("script", JOBS, ids=lambda script: script.__name__)
def test_the_jobs_of_a_script(script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each model with each seed, on the same data and by the recipe of the script."""
    asked: list[Any] = []

    def run_all(jobs: Any, options: Any) -> Any:
        asked.extend(jobs)
        raise Trained

    folded = [dataclasses.replace(DATA, fold=fold) for fold in ("8", "9")] if script is idc_table2 else [DATA]
    parser, read, said = experiment.parser, list[str](), list[str]()
    monkeypatch.setattr(experiment, "run_all", run_all)
    monkeypatch.setattr(experiment, "parser", lambda *given, data, **more: said.append(data) or parser(
        *given, data=data, **more))
    monkeypatch.setattr(experiment, "mnist", lambda options: read.append(experiment.DIGITS) or DATA)
    monkeypatch.setattr(experiment, "folder", lambda options, name, size, generate, **more: read.append(
        experiment.FOLDER) or folded)
    with pytest.raises(Trained):
        script.main(["--out", str(tmp_path)])
    assert said == read, "the help is that of the data which are read"
    names, seeds, flags = JOBS[script]
    assert [job.model for job in asked] == names and [job.seed for job in asked] == seeds
    assert len({job.name for job in asked}) == len(asked)
    for job in asked:
        assert job.recipe is script.RECIPE and job.data in folded
        assert (job.probabilities, job.threshold) == (flags.get("probabilities", False), flags.get("threshold", False))
        make = getattr(job.make, "func", job.make)
        assert make.__name__ == job.model


@pytest.mark.parametrize("script", [*JOBS, mnist_ciresan], ids=lambda script: script.__name__)
def test_the_published_runs_are_by_the_recipe_of_their_script(script: Any) -> None:
    expected = json.loads(json.dumps(script.RECIPE.settings()))
    published = [json.loads(path.read_text())["settings"]
                 for path in (EXAMPLES / "results").glob(f"{script.EXPERIMENT}-*.json")]
    assert published
    for settings in published:
        del settings["input"]
        assert settings == {**expected, "limit": None}


@pytest.mark.parametrize("script", [*JOBS, mnist_ciresan], ids=lambda script: script.__name__)
def test_a_script_reports_all_its_runs(script: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """And draws what its members or its runs got wrong; the folds of IDC with a seed are an ensemble of a model."""
    asked: list[Any] = []
    shown: list[Any] = []
    drawn: list[Any] = []
    joined: list[Any] = []
    folded = [dataclasses.replace(DATA, fold=fold) for fold in ("8", "9")] if script is idc_table2 else [DATA]
    monkeypatch.setattr(experiment, "run_all", lambda jobs, options: asked.extend(jobs) or [*jobs])
    monkeypatch.setattr(experiment, "mnist", lambda options: DATA)
    monkeypatch.setattr(experiment, "folder", lambda options, name, size, generate, **more: folded)
    monkeypatch.setattr(experiment, "save_ensemble", lambda jobs, options: joined.append(jobs))
    monkeypatch.setattr(script.report, "show", lambda *arguments: shown.append(arguments))
    for name in {"draw_mistakes", "draw_disagreement"} & {*vars(script)}:
        monkeypatch.setattr(script, name, lambda runs, data, options: drawn.append((runs, data)))
    assert script.main(["--out", str(tmp_path)]) == 0
    assert shown == [(script.EXPERIMENT, asked, tmp_path)] and asked
    assert script is not mnist_ciresan or {job.model for job in asked} == {member.name for member in views.MEMBERS}
    if drawn:
        assert drawn == [(asked if script is mnist_committee else asked[0], DATA)]
    if script is idc_table2:
        assert [(jobs[0].model, jobs[0].seed) for jobs in joined] == [(name, seed) for seed in range(5) for name in IDC]
        assert all([job.data.fold for job in jobs] == ["8", "9"] for jobs in joined)
        assert all(len({(job.model, job.seed) for job in jobs}) == 1 for jobs in joined)


@pytest.mark.parametrize("count", [1, 2])
def test_one_member_alone_disagrees_with_none(count: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    drawn: list[Any] = []
    monkeypatch.setattr(experiment, "run_all", lambda jobs, options: [*jobs])
    monkeypatch.setattr(experiment, "mnist", lambda options: DATA)
    monkeypatch.setattr(mnist_committee.report, "show", lambda *arguments: None)
    monkeypatch.setattr(mnist_committee, "draw_disagreement", lambda runs, data, options: drawn.append(len(runs)))
    assert mnist_committee.main(["--members", str(count), "--out", str(tmp_path)]) == 0
    assert drawn == [2] * (count == 2)


# --- training -------------------------------------------------------------------------------------------------------

def test_the_states_of_the_last_epochs_alone_are_kept(tmp_path: Path) -> None:
    """A counter is that of the last epoch."""
    last = training.LastEpochs(tmp_path / "run", 2)
    net = tn.nn.Sequential(tn.nn.Dense(1, 1), tn.nn.Dropout(0.5))
    run = tn.callbacks.Run(net, None, [], epochs=4)  # type: ignore[arg-type]
    for run.epoch in (1, 2, 3, 4):
        net.load_state_dict({"0.W": np.full((1, 1), 10.0**run.epoch), "0.b": np.zeros(1),
                             "1.calls": np.array(run.epoch)})
        last.on_epoch(run)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["run.0.npz", "run.1.npz"]
    found = last.averaged()
    assert found["0.W"] == (10**3 + 10**4) / 2 and found["1.calls"] == 4 and found["0.W"].dtype == np.float32
    last.remove()
    assert not list(tmp_path.iterdir())


def test_the_batches_of_training_and_evaluation() -> None:
    recipe = Recipe(epochs=1, batch_size=3, augment={"shift": 0.2})
    train = training.loader(DATA.train, recipe, tn.nn.Scaling(), training=True)
    assert (train.batch_size, train.shuffle, train.augment) == (3, True, tn.data.Augment(shift=0.2))
    for view, augment in ((None, None), (2, tn.data.Augment(shift=0.2))):
        one = training.loader(DATA.test, recipe, tn.nn.Scaling(), view=view)
        assert (one.batch_size, one.shuffle, one.augment, one.epoch) == (256, False, augment, view or 0)
        assert one.seed == training.VIEWS_SEED
    (x, labels), = training.loader(DATA.test, recipe, tn.nn.Scaling())
    np.testing.assert_allclose(x[:, 0, 0, 0], np.array([70, 80, 90]) / 255, rtol=1e-6)
    assert labels is not None and labels.tolist() == [1, 0, 1]


def test_classes_weigh_in_the_loss_as_they_are_given(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr(tn, "fit", lambda *arguments, **options: asked.update(options))
    recipe = Recipe(epochs=3, label_smoothing=0.25, average=2, max_norm=0.5)
    train = training.loader(DATA.train, recipe, tn.nn.Scaling(), training=True)
    training.fit(model(), train, recipe, weights=np.array([1.0, 3.0]), show=False)
    scores, labels = tn.Tensor([[1.0, 2.0], [0.5, -3.0]]), tn.Tensor([0, 1])
    expected = tn.ops.cross_entropy(scores, labels, tn.Tensor([1.0, 3.0]), label_smoothing=0.25).item()
    assert asked["loss"](scores, labels).item() == expected != tn.ops.cross_entropy(scores, labels).item()
    assert asked["schedule"].length == 3 * len(train) and asked["epochs"] == 3
    training.fit(model().to("gpu-emulated"), train, recipe, weights=np.array([1.0, 3.0]), show=False)
    scores, labels = (tn.Tensor(one.numpy(), device="gpu-emulated") for one in (scores, labels))
    assert asked["loss"](scores, labels).item() == pytest.approx(expected, rel=1e-6), "weights are where the model is"
    training.fit(model(), train, Recipe(epochs=1, batch_size=4), show=False)
    assert asked["schedule"].length == 2, "the least of a cycle"
    training.fit(model(), train, recipe, show=False)
    assert asked["max_norm"] == 0.5 and asked["show"] is False and asked["callbacks"] == [], "without a checkpoint"


def test_a_prior_is_exchanged_for_another() -> None:
    assert training.corrected(np.array([0.5, 0.2]), 0.2, 0.5).round(6).tolist() == [0.8, 0.5]
    np.testing.assert_allclose(training.corrected(np.array([0.0, 1.0, 0.3]), 0.4, 0.4), [0, 1, 0.3], atol=1e-6)
    found = training.with_estimated_prior(np.array([[0.5, 0.5], [0.9, 0.1]]), np.array([1, 1, 0, 0]))
    np.testing.assert_allclose(found.sum(axis=1), 1)
    assert found[0, 1] < 0.5, "fewer of class 1 than in training"


@pytest.mark.parametrize("options", [{"gamma": 1.0}, {"equalise": 1.0}, {"blur": 1.0}, {"cut": 1.0}], ids=str)
def test_changes_are_up_to_their_option(options: dict[str, float]) -> None:
    """By the drawn numbers: from none for 0 (of gamma, 0.5) to all for 1, and both ways for gamma."""
    image = np.random.default_rng(0).integers(0, 200, (8, 8)).astype(np.uint8)
    (name, _), = options.items()
    half = Appearance(**{name: options[name] / 2})
    draws = {"gamma": lambda d: np.array([d, 0]), "equalise": lambda d: np.array([0.5, d])}
    if name in draws:
        assert (half._levels(image, draws[name](0.5 * (name == "gamma"))) == image).all()
        if name == "gamma":
            assert (half._levels(image, np.array([0.0, 0])) >= image).all()
            np.testing.assert_array_equal(half._levels(image, np.array([1.0, 0])),
                                          np.rint(255 * (image / 255) ** 1.5))
        else:
            equal = Appearance(equalise=1.0)._levels(image, np.array([0.5, 0.5]))
            assert (half._levels(image, np.array([0.5, 1.0])) == equal).all()
    elif name == "blur":
        assert (half._blurred(image, 0.0) == image).all()
        assert (half._blurred(image, 1.0) == Appearance(blur=1.0)._blurred(image, 0.5)).all()
    else:
        wide = Appearance(cut=0.5)._cut(np.zeros((8, 4), np.uint8) + np.arange(4, dtype=np.uint8),
                                        np.array([1.0, 0.0, 0.999]))
        assert (wide == np.where((np.arange(8)[:, None] < 4) & (np.arange(4) >= 2), 2, np.arange(4))).all()


def test_the_blur_repeats_the_border() -> None:
    """Of images that are not square, too."""
    image, row = np.random.default_rng(0).integers(0, 256, (5, 9)).astype(np.uint8), np.array([1, 4, 6, 4, 1]) / 16
    padded = np.pad(image.astype(float), 2, mode="edge")
    expected = sum(a * b * padded[i : i + 5, j : j + 9] for i, a in enumerate(row) for j, b in enumerate(row))
    assert np.abs(Appearance(blur=1.0)._blurred(image, 1.0) - expected).max() <= 0.51


# --- networks and recipes -------------------------------------------------------------------------------------------

def test_the_options_of_the_networks() -> None:
    def layers(net: tn.nn.Sequential, kind: str, name: str) -> list[Any]:
        return [getattr(layer, name) for layer in net if type(layer).__name__ == kind]

    wide = nets.xray_net(size=64, width=1.5, dropout=0.4, norm=True)
    assert layers(wide, "Conv2D", "filters") == layers(wide, "BatchNorm", "features") == [24, 48, 96, 96]
    assert layers(wide, "Dropout", "p") == [0.4, 0.4] and layers(wide, "LSTM", "inputs") == [4 * 96]
    assert wide.input_shape == (64, 64, 3)
    assert isinstance(nets.xray_net(size=32, standard=True)[0], nets.Standardise)
    assert not any(isinstance(layer, nets.Standardise) for layer in wide)
    deep = nets.deep_net(blocks=2, units=12, filters=6, dropout=0.4, norm=True)
    assert layers(deep, "LSTM", "units") == [12, 12] and layers(deep, "LSTM", "inputs") == [28, 6]
    assert layers(deep, "Conv1D", "filters") == [6, 6] and layers(deep, "Dropout", "p") == [0.4] * 4
    assert layers(deep, "Dense", "inputs") == [28 * 6] and layers(deep, "BatchNorm", "features") == [1, 6, 6]


def test_a_network_without_options_is_the_model(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tn.init, "orthogonal", tn.init.zeros)  # quicker
    for net, model in ((nets.deep_net(), tn.models.deep_lstm_cnn()),
                       (nets.xray_net(size=64), tn.models.pneumonia_cnn_lstm(size=64))):
        assert [repr(layer) for layer in net] == [repr(layer) for layer in model]
        assert net.input_shape == model.input_shape


@pytest.mark.parametrize("module", [mnist_selection, xray_selection])
def test_a_candidate_is_what_it_says(module: Any) -> None:
    """Numbers in its words are among its values, and it differs from the base in what it names."""
    factors = {"twice": 2, "half": 0.5, "one and a half": 1.5}
    base = module.CANDIDATES[0]
    assert base.name == selection.BASE and base == module.BASE and not base.net
    flat = {**base.recipe.settings(), **base.recipe.augment}
    for one in module.CANDIDATES[1:]:
        changed = {name: value for name, value in {**one.recipe.settings(), **one.recipe.augment, **one.net}.items()
                   if name != "augment" and value != flat.get(name)}
        assert changed, one.name
        for number in map(float, re.findall(r"\b[0-9.]*\d", one.change)):
            assert number in changed.values() or "mean" in one.change, one.change
        for word, factor in factors.items():
            if word in one.change and not (word == "half" and "one and a" in one.change):
                usual = {**flat, "width": 1.0, "units": 128, "filters": 64}
                assert all(value == pytest.approx(factor * usual[name], rel=0.2) for name, value in changed.items())


# --- the choice -----------------------------------------------------------------------------------------------------

def test_a_trial_measures_states_and_views(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """By the validation part alone, in each of the four variants."""
    seen: list[Any] = []

    def fit(model: Any, train: Any, recipe: Any, callbacks: Any, show: bool) -> list[dict[str, float]]:
        seen.append((train.arrays[0], callbacks[0].count, model[1].W.numpy().copy()))
        callbacks[0].averaged = lambda: {"1.W": np.zeros((16, 2)), "1.b": np.array([5.0, 0.0])}
        return [{"train_accuracy": 0.1}, {"train_accuracy": 0.75}]

    def probabilities(model: Any, part: Any, recipe: Any, scaling: Any) -> np.ndarray:
        seen.append((part[0], float(model[1].b.numpy()[0]), recipe.views))
        assert recipe.augment == {"shift": 0.25} and scaling == tn.nn.Scaling()
        return np.array([[0.5, 0.5], [0.2, 0.8123449]])

    monkeypatch.setattr(training, "fit", fit)
    monkeypatch.setattr(training, "probabilities", probabilities)
    monkeypatch.setattr(selection, "time", SimpleNamespace(process_time=iter([5.0, 7.5]).__next__))
    candidate = selection.Candidate("base", "none", Recipe(epochs=3, batch_size=2, augment={"shift": 0.25}), {})
    fold = selection.Fold(DATA.train, DATA.validation)
    found = selection.run(selection.Trial(candidate, model, lambda: fold, "a", 6), tmp_path)
    (train, count, start), *measured = seen
    tn.seed(6)
    assert train is TRAIN and count == 3 and (start == model()[1].W.numpy()).all()
    assert all(part is VALIDATION for part, *_ in measured)
    assert [more for _, *more in measured] == [[0.0, 0], [0.0, 4], [5.0, 0], [5.0, 4]]
    assert list(found["measured"]) == ["last", "views", "average", "average, views"]
    assert (found["train_accuracy"], found["train"], found["labels"], found["seconds"]) == (0.75, 4, "01", 2.5)
    assert found["scores"]["last"] == [0.5, 0.81234] and found["parameters"] == 34 and found["seed"] == 6


def test_there_is_a_report_after_each_trial(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    """So that an interrupted choice can be read. A trial that is there is not made again."""
    def run(trial: Trial, out: Path) -> dict[str, Any]:
        if trial.fold_name == "c":
            raise KeyboardInterrupt
        measured = {"accuracy": 0.25, "balanced accuracy": 0.5, "AUC": 0.75}
        return {"format": selection.FORMAT, "settings": trial.settings(), "seconds": 7.4,
                "measured": {"last": measured, "views": {**measured, "AUC": 1.0}}}

    reports: list[int] = []
    monkeypatch.setattr(selection, "run", run)
    monkeypatch.setattr(selection, "report", lambda experiment, out: reports.append(len([*out.glob("*.json")])))
    candidate = selection.Candidate("base", "none", Recipe(epochs=3), {})
    trials = [Trial(candidate, model, lambda: None, fold, 6) for fold in "abc"]  # type: ignore[arg-type, return-value]
    with pytest.raises(KeyboardInterrupt):
        selection.run_all(trials, "mnist_selection", tmp_path)
    assert reports == [1, 2] and sorted(path.name for path in tmp_path.iterdir()) == [
        "base-a-seed6.json", "base-b-seed6.json"]
    done = "last: 0.6250, views: 0.7500 (7 s of the processor)"
    assert capsys.readouterr().out.splitlines() == [
        "trial 1 of 3: base-a-seed6", done, "trial 2 of 3: base-b-seed6", done, "trial 3 of 3: base-c-seed6"]
    selection.run_all(trials[:2], "mnist_selection", tmp_path)
    assert capsys.readouterr().out == ""


def test_the_measures_of_two_classes_with_each_prior() -> None:
    """By hand: three of four training images are of class 1, so that 0.75 becomes 0.5 for equal classes."""
    labels, scores = np.array([0, 1, 0, 1]), np.array([0.6, 0.75001, 0.9, 0.99])
    found = selection.two_classes(labels, scores, 0.75)
    even = training.corrected(scores, 0.75, 0.5)
    assert even.round(3).tolist() == [0.333, 0.5, 0.75, 0.971]
    assert found["calibration error"] == tn.metrics.calibration_error(labels, even)
    assert (found["sensitivity"], found["specificity"], found["accuracy"]) == (1.0, 0.5, 0.75)
    assert (found["trained accuracy"], found["trained balanced accuracy"]) == (0.5, 0.5)
    half = selection.two_classes(np.array([0, 0, 1, 1]), np.array([0.5, 0.5, 0.5, 0.9]), 0.5)  # 0.5 is not above it
    assert (half["sensitivity"], half["specificity"]) == (0.5, 1)
    assert {half[f"{rule}{name}accuracy"] for rule in ("", "trained ") for name in ("", "balanced ")} == {0.75}
    prior = training.estimated_prior(scores, 0.75)
    said = training.corrected(scores, 0.75, prior) > 0.5
    assert found["estimated accuracy"] == (said == labels).mean() and found["AUC"] == 0.75


def test_the_loss_of_many_classes_is_that_of_the_label() -> None:
    fold = selection.Fold(DATA.train, (None, np.array([2, 0])))
    found = selection.measures(fold, np.array([[0.2, 0.3, 0.5], [0.1, 0.6, 0.3]]))
    assert found == {"accuracy": 0.5, "loss": round(float(-(np.log(0.5) + np.log(0.1)) / 2), 6)}
    found = selection.measures(fold, np.array([[0.0, 0.0, 1.0], [0.0, 1.0, 0.0]]))
    assert found["loss"] == round(-np.log(1e-7) / 2, 6), "a probability of 0 has no logarithm"


@pytest.mark.parametrize(("pair", "verdict", "said"), [
    (("lstm_cnn", "cnn"), 1, "better than CNN"), (("cnn", "lstm_cnn"), -1, "better than CNN"),
    (("cnn", "lstm_cnn"), 1, "worse than CNN"), (("lstm_cnn", "cnn"), 0, "not shown to be better or worse than CNN")])
def test_a_claim_in_any_order_of_the_models(pair: tuple[str, str], verdict: int, said: str) -> None:
    found: Any = {pair: SimpleNamespace(verdict=verdict)}
    assert f": it is {said}. Not compared: " in tables.claim("mnist_table1", found)


@pytest.mark.parametrize(("labels", "part"), [([0, 0, 0, 1], "to train on"), ([0, 1, 0, 0], "to validate on")])
def test_a_fold_of_x_rays_needs_both_classes_in_both_parts(labels: list[int], part: str) -> None:
    scanned: Any = SimpleNamespace(groups=np.arange(4), labels=np.array(labels), root="there")
    kinds = np.array(["IM", "virus", "NORMAL2", "bacteria"])
    with pytest.raises(tn.errors.DataError, match=f"^xray_selection: there .* both classes {part} for IM and virus"):
        xray_selection.fold(scanned, lambda side: kinds, kinds, "IM", "virus", side=32)


@pytest.mark.parametrize(("gains", "is_combined"), [([0.0, 0.01, 0.05], True), ([0.0, 0.0, 0.05], False),
                                                    ([0.01, 0.01, 0.01], True)])
def test_a_gain_must_exceed_its_standard_error(gains: list[float], is_combined: bool) -> None:
    """Which is the deviation by the root of their number."""
    trials = [{"candidate": name, "fold": str(fold), "seed": 0, "measured": {"last": {"accuracy": 0.5 + gain}}}
              for name, some in (("base", [0.0] * 3), ("gamma", gains)) for fold, gain in enumerate(some)]
    candidates = [xray_selection.changed("base", ""), xray_selection.changed("gamma", "", augment={"gamma": 1.0})]
    assert (selection.combined(candidates, trials) is not None) == is_combined
    assert selections._difference([0.01, 0.03]) == "+2.00 ± 1.00" and selections._difference([-0.01]) == "-1.00"


def test_a_report_has_all_trials(tmp_path: Path) -> None:
    for seed, fold in ((0, "a"), (3, "a"), (0, "b")):
        (tmp_path / f"base-{fold}-seed{seed}.json").write_text(json.dumps({
            "format": selection.FORMAT, "candidate": "base", "change": "none", "fold": fold, "seed": seed,
            "settings": {}, "commit": "c", "parameters": 5, "train": 4, "seconds": 1.0, "scores": [1], "labels": "01",
            "measured": {variant: {"accuracy": 0.5 + seed / 10, "loss": 1.0} for variant in selection.VARIANTS}}))
    text = selection.report("mnist_selection", tmp_path, finished=True)
    found = json.loads((tmp_path / "selection.json").read_text())
    assert [(one["fold"], one["seed"]) for one in found["trials"]] == [("a", 0), ("a", 3), ("b", 0)]
    assert found["finished"] is True and found["experiment"] == "mnist_selection"
    assert not {"scores", "labels"} & {*found["trials"][0]}
    assert "| base | none | 5 | 3 | 60.00 |" in text and (tmp_path / "selection.md").read_text() == text


# --- figures --------------------------------------------------------------------------------------------------------

@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Any]]:
    """The axes of figures that are not written."""
    kept: list[Any] = []
    with saved_as_they_are() as note:
        monkeypatch.setattr(figures, "save",
                            lambda figure, path, vector=False: kept.extend(figure.axes) or note(figure))
        yield kept


def test_curves_are_mean_errors_in_bands(drawn: list[Any]) -> None:
    colors = pytest.importorskip("matplotlib.colors")
    panel = figures.Panel("training", {"CNN": [[0.5, 0.9], [0.7, 0.8]], "LSTM": [[0.6, 0.6]]}, images=100)
    figures.curves(Path("x"), [[panel, panel._replace(title="other")]], title="a title")
    axes = drawn[0]
    lines = {line.get_label(): line for line in axes.lines}
    np.testing.assert_allclose(lines["CNN"].get_ydata(), [40, 15])
    assert lines["CNN"].get_xdata().tolist() == [1, 2] and lines["CNN"].get_color() == figures.COLOURS["CNN"]
    band = axes.collections[0].get_paths()[0].vertices
    assert sorted({tuple(point) for point in band.round(6).tolist()}) == [(1, 30), (1, 50), (2, 10), (2, 20)]
    for shade, label in zip(axes.collections, ("CNN", "LSTM"), strict=True):
        np.testing.assert_allclose(shade.get_facecolor(), [colors.to_rgba(figures.COLOURS[label], 0.15)])
    assert axes.get_yscale() == "log" and [one.get_title() for one in drawn] == ["training", "other"]
    assert axes.get_xlabel() == "epoch" and axes.get_ylabel() == "100 - accuracy (%)"


def test_rows_of_curves_have_the_same_scales(drawn: list[Any]) -> None:
    """Labels are at the outer axes, the legend is in the first, and each of few epochs is marked."""
    few = figures.Panel("$a", {"CNN": [[0.5, 0.998]]}, images=1000)
    more = figures.Panel("b", {"CNN": [[0.5, 0.6, 0.7]]}, images=1000)
    figures.curves(Path("x"), [[few, more], [more, more]], title="a title")
    assert [one.lines[0].get_marker() for one in drawn] == ["o", "", "", ""]
    error = "100 - accuracy (%)"
    assert [(one.get_xlabel(), one.get_ylabel()) for one in drawn] == [
        ("", error), ("", ""), ("epoch", error), ("epoch", "")]
    assert [one.get_legend() is not None for one in drawn] == [True, False, False, False]
    assert drawn[0].get_legend()._loc_real == 1, "at the upper right, where errors are small"
    assert all(ticks()[0].gridline.get_visible() for one in drawn
               for ticks in (one.xaxis.get_major_ticks, one.yaxis.get_major_ticks, one.yaxis.get_minor_ticks))
    assert len({(one.get_xlim(), one.get_ylim()) for one in drawn}) == 1
    assert (drawn[0].get_title(), drawn[0].figure.get_suptitle()) == (r"\$a", "a title")
    axis, epochs = drawn[0].yaxis, drawn[3].xaxis.get_major_locator().tick_values(1, 3)
    assert {0.2, 0.5, 1, 2, 5, 10, 20, 50} <= {*axis.get_major_locator().tick_values(0.2, 50).round(6)}
    assert (axis.get_major_formatter()(0.2, 0), axis.get_minor_formatter()(0.3, 0)) == ("0.2", "")
    assert (epochs == epochs.round()).all()


def test_a_committee_is_drawn_in_percent(drawn: list[Any]) -> None:
    colors = pytest.importorskip("matplotlib.colors")
    figures.against_size(Path("x"), {"both": (np.array([0.5, 0.6]), np.array([0.4, 0.6]), np.array([0.7, 0.6]))},
                         title="a title")
    line, = drawn[0].lines
    np.testing.assert_allclose([line.get_xdata(), line.get_ydata()], [[1, 2], [50, 60]])
    band = drawn[0].collections[0].get_paths()[0].vertices
    assert sorted({tuple(point) for point in band.round(6).tolist()}) == [(1, 40), (1, 70), (2, 60)]
    assert [text.get_text() for text in drawn[0].get_legend().get_texts()] == ["both"]
    assert drawn[0].get_legend()._loc_real == 4, "at the lower right"
    np.testing.assert_allclose(drawn[0].collections[0].get_facecolor(), [colors.to_rgba(figures.OTHER, 0.15)])
    assert line.get_color() == figures.OTHER and drawn[0].get_title() == "a title"
    assert (drawn[0].get_xlabel(), drawn[0].get_ylabel()) == ("networks in the committee", "test accuracy (%)")
    sizes = drawn[0].xaxis.get_major_locator().tick_values(1, 2)
    assert (sizes == sizes.round()).all()


def test_cells_of_a_confusion_matrix_are_shares_of_the_true_class(drawn: list[Any]) -> None:
    """Means over runs; rows are true classes."""
    figures.confusions(Path("x"), {"a": [np.array([[8, 2], [3, 1]]), np.array([[7, 3], [3, 1]])]}, ["no", "yes"],
                       title="a title", columns=1)
    axes = drawn[0]
    said = {tuple(map(round, text.get_position())): text.get_text() for text in axes.texts}
    assert said == {(0, 0): "75.0 %\n7.5 of 10", (1, 0): "25.0 %\n2.5 of 10", (0, 1): "75.0 %\n3 of 4",
                    (1, 1): "25.0 %\n1 of 4"}
    assert axes.images[0].get_array().tolist() == [[0.75, 0.25], [0.75, 0.25]]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("predicted", "true")
    assert [one.get_text() for one in axes.get_xticklabels()] == ["no", "yes"]


@pytest.mark.parametrize(("classes", "letters"), [(3, 9), (4, 6)])
def test_a_class_without_images_has_no_share(classes: int, letters: int, drawn: list[Any]) -> None:
    """Letters are small where cells are many."""
    figures.confusions(Path("x"), {"$a": [np.zeros((classes, classes), int)]}, ["c"] * classes, title="t", columns=1)
    axes, colours = drawn
    assert {text.get_text() for text in axes.texts} == {"0.0 %\n0 of 0"}
    assert axes.texts[0].get_fontsize() == letters
    assert axes.images[0].get_array().tolist() == [[0.0] * classes] * classes
    assert (axes.get_title(), axes.figure.get_suptitle()) == (r"\$a", "t")
    assert colours.get_ylabel() == "share of the true class"


def test_a_roc_curve_and_the_point_of_its_rule(drawn: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    framed: list[Any] = []
    monkeypatch.setattr("matplotlib.axes.Axes.indicate_inset", lambda axes, bounds, **more: framed.append(
        (axes, bounds)))
    labels, scores = np.array([0, 0, 0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.8, 0.4, 0.9])
    one = figures.Ranked(labels, (scores > 0.5).astype(int), scores)
    best = one._replace(scores=labels.astype(float))
    figures.roc(Path("x"), [one, best], one, name="CNN", title="a title")
    curve, point = drawn[0].lines[:2]
    assert [text.get_text() for text in drawn[0].get_legend().get_texts()] == [
        "2 seeds: AUC 0.875 to 1.000", "together: AUC 0.875", "where a probability above 0.5 counts", "by chance"]
    assert [(line.get_color(), line.get_linewidth()) for line in drawn[1].lines[:6:2]] == [
        (figures.COLOURS["CNN"], 1.0), (figures.COLOURS["CNN"], 1.0), (figures.OTHER, 2.5)]
    assert point.get_color() == figures.COLOURS["CNN"]
    assert [list(values) for values in drawn[0].lines[-1].get_data()] == [[0, 1], [0, 1]], "by chance"
    right, bottom = figures.enlarged([one, best])
    assert drawn[1].get_xlim() == (-0.01 * right, right)
    assert drawn[1].get_ylim() == (bottom, 1 + 0.01 * (1 - bottom))
    assert [one.get_title() for one in drawn] == ["whole", "enlarged"]
    assert drawn[0].figure.get_suptitle() == "a title" and drawn[0].get_aspect() == 1
    assert drawn[0].get_legend()._loc_real == 4 and drawn[1].get_legend() is None, "at the lower right"
    assert all(axis.get_gridlines()[0].get_visible() for one in drawn[:2] for axis in (one.xaxis, one.yaxis))
    assert framed == [(drawn[0], [0, bottom, right, 1 - bottom])]
    assert (curve.get_xdata()[-1], curve.get_ydata()[-1]) == (1, 1) and curve.get_ydata()[1] == 0.5
    assert (float(np.ravel(point.get_xdata())[0]), float(np.ravel(point.get_ydata())[0])) == (0.25, 0.5)
    assert [axes.get_subplotspec().get_geometry()[:2] for axes in drawn] == [(1, 2)] * 2, "side by side"
    assert (drawn[0].get_xlabel(), drawn[0].get_ylabel()) == ("1 - specificity", "sensitivity")
    figures.roc(Path("x"), [one], None, name="CNN", title="a title")
    assert [text.get_text() for text in drawn[2].get_legend().get_texts()] == [
        "one seed: AUC 0.875", "where a probability above 0.5 counts", "by chance"]


def test_a_figure_has_the_same_bytes_each_time(tmp_path: Path) -> None:
    """They name no date and no program."""
    for name in "ab":
        figure, axes = figures.new(2.0, 1.0)
        axes.plot([0, 1])
        figures.save(figure, tmp_path / f"{name}.png", vector=True)
    for kind in ("png", "svg"):
        assert (tmp_path / f"a.{kind}").read_bytes() == (tmp_path / f"b.{kind}").read_bytes()
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (2 * figures.PIXELS, figures.PIXELS) and "Software" not in picture.info
    text = (tmp_path / "a.svg").read_text()
    assert "<dc:date>" not in text and "<dc:creator>" not in text
    figures.images(tmp_path / "c.png", [TEST[0]], ["a caption"], title="a title", vector=True)
    figures.images(tmp_path / "d.png", [TEST[0]], ["a caption"], title="a title")
    assert {path.name for path in tmp_path.glob("[cd].*")} == {"c.png", "c.svg", "d.png"}


def record(**more: Any) -> records.Record:
    """Four test images of two classes, two of them wrong, as far as pictures need it."""
    fields = {"classes": ["ham", "egg"], "seed": 3, "data": {"stand_in": False}, "model": "lstm_cnn"}
    found = {"labels": np.array([0, 1, 0, 1]), "predicted": np.array([0, 0, 1, 1]),
             "scores": np.array([0.1, 0.2, 0.7, 0.9]), "probabilities": None, **more}
    return records.Record(fields, **found)


@pytest.fixture
def sheets(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """The pictures that are drawn, with their captions and titles."""
    kept: list[Any] = []
    monkeypatch.setattr(figures, "available", lambda: True)
    monkeypatch.setattr(figures, "images", lambda path, pictures, captions, *, title, vector=False: kept.append(
        (path.name, [int(one[0, 0, 0]) if one.ndim == 3 else int(one[0, 0]) for one in pictures], captions, title)))
    return kept


PICTURED = dataclasses.replace(DATA, test=(images(70, 80, 90, 100), np.array([0, 1, 0, 1])))


def test_the_captions_of_the_worst_mistakes(sheets: list[Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    """The probability is that of the wrong class, and the surest mistake comes first."""
    pneumonia_selected.pneumonia_cnn_lstm.draw_mistakes(record(), PICTURED, options(tmp_path))
    monkeypatch.setattr(pneumonia_selected.pneumonia_cnn_lstm, "SHOWN", 1)
    pneumonia_selected.pneumonia_cnn_lstm.draw_mistakes(record(), PICTURED, options(tmp_path))
    (name, shown, captions, title), fewer = sheets
    assert capsys.readouterr().out == 2 * f"drawn: {tmp_path / 'mistakes.png'}\n"
    assert fewer == (name, shown[:1], captions[:1], title)
    assert (name, shown) == ("mistakes.png", [80, 90])
    assert captions == ["egg, taken for\nham (80.0%)", "ham, taken for\negg (70.0%)"]
    assert "CNN + LSTM on chest X-rays, seed 3: the surest of its 2 mistakes on 4 test images." in title


@pytest.mark.parametrize("draw", [
    lambda to: mnist_committee.draw_disagreement(2 * [record(probabilities=np.full((4, 2), 0.5))], PICTURED, to),
    lambda to: pneumonia_selected.pneumonia_cnn_lstm.draw_mistakes(record(), PICTURED, to)])
def test_a_picture_that_cannot_be_drawn_is_not_announced(draw: Any, sheets: list[Any], tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch,
                                                         capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(figures, "available", lambda: False)
    draw(options(tmp_path))
    assert "drawn" not in capsys.readouterr().out and not sheets


def test_the_captions_of_what_members_disagree_about(sheets: list[Any], tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str],
                                                     monkeypatch: pytest.MonkeyPatch) -> None:
    shares = np.array([[1, 0], [1, 0], [0.4, 0.6], [0, 1.0]])
    members = [record(probabilities=shares, predicted=np.array([0, 0, 1, 1])),
               record(probabilities=shares, predicted=np.array([0, 1, 0, 1])),
               record(probabilities=shares, predicted=np.array([0, 0, 0, 1]))]
    mnist_committee.draw_disagreement(members, PICTURED, options(tmp_path))
    printed = capsys.readouterr().out
    monkeypatch.setattr(mnist_committee, "SHOWN", 1)
    mnist_committee.draw_disagreement(members, PICTURED, options(tmp_path))
    (name, shown, captions, title), fewer = sheets
    assert (name, shown) == ("disagreement.png", [80, 90]) and fewer == (name, shown[:1], captions[:1], title)
    assert captions == ["image 1, true egg\nham (2), egg (1)\ntogether: ham",
                        "image 2, true ham\nham (2), egg (1)\ntogether: egg"]
    assert "what 3 LSTM-CNN networks disagree about most\n(2 of 4 test images" in title
    assert "the 3 members together: test accuracy 50.00 %" in printed
    assert "the 3 members disagree about 2 of 4 test images" in printed
    assert printed.endswith(f"\ndrawn: {tmp_path / 'disagreement.png'}\n")


def test_the_captions_of_what_all_members_get_wrong(sheets: list[Any], monkeypatch: pytest.MonkeyPatch) -> None:
    members = [record(predicted=np.array([0, 0, 1, 1])), record(predicted=np.array([1, 0, 1, 1]))]
    monkeypatch.setattr(ciresan, "test_images", lambda run: PICTURED.test[0])
    ciresan.draw_wrong(Path("x.png"), members, "a title")
    monkeypatch.setattr(ciresan, "SHOWN", 1)
    ciresan.draw_wrong(Path("x.png"), members, "a title")
    (name, shown, captions, title), fewer = sheets
    assert (name, shown, title) == ("x.png", [80, 90], "a title") and fewer == (name, shown[:1], captions[:1], title)
    assert captions == ["image 1, true egg\nham (2)", "image 2, true ham\negg (2)"]


# --- reliability ----------------------------------------------------------------------------------------------------

def rates(base: float) -> dict[str, Any]:
    return {"images": 1234, "sensitivity": base, "specificity": base + 0.1, "balanced_accuracy": base + 0.05,
            "calibration_error": base / 10, "roc_auc": 0.9}


def test_the_second_class_is_the_positive_one() -> None:
    found = {"images": 9, "per_class": {"NORMAL": {"recall": 0.25}, "SICK": {"recall": 0.75}}, "roc_auc": 0.9,
             "balanced_accuracy": 0.5, "calibration_error": 0.1}
    assert reliability.rates(found) == {"images": 9, "sensitivity": 0.75, "specificity": 0.25, "roc_auc": 0.9,
                                        "balanced_accuracy": 0.5, "calibration_error": 0.1}


def test_the_tables_of_reliability() -> None:
    runs = [{"data": "xray", "seed": seed, "command": f"tinynet train x --folds 5 --seed {seed}",
             "calibration_error": {"before": 0.1 + seed, "after": 0.2, "by_chance": 0.02,
                                   "pooled": {"before": 0.03, "after": 0.04}}, "temperature": 2.17,
             "threshold": 0.25, "out_of_fold_at_half": rates(0.1 + base), "out_of_fold": rates(0.2 + base),
             "test_at_half": rates(0.3 + base), "test": rates(0.4 + base),
             "maps": {"gradient": 0.5 + base, "grad_cam": 0.7 + base}, "unlike": {"noise": 1.0, "test X-rays": base}}
            for seed, base in ((0, 0.0), (1, 0.2))]
    text = reliability.report(runs)
    half = 100 * 0.1 * 12.706  # of two seeds, 0.2 apart
    for start, level in (("out of fold, at 0.5", 20), ("out of fold, chosen threshold", 30), ("test, at 0.5", 40),
                         ("test, chosen threshold", 50)):
        line, = (one for one in text.splitlines() if one.startswith(f"| {start} |"))
        assert line == (f"| {start} | 1,234 | {level:.1f} ± {half:.1f} | {level + 10:.1f} ± {half:.1f} | "
                        f"{level + 5:.1f} ± {half:.1f} | {level / 1000:.3f} ± {half / 1000:.3f} |")
    for line in ("| 0 | 0.1000 | 0.2000 | 0.0200 | 0.0300 | 0.0400 | 2.17 | 0.250 |",
                 "| 1 | 1.1000 | 0.2000 | 0.0200 | 0.0300 | 0.0400 | 2.17 | 0.250 |",
                 "It falls in 1 of 2 seeds; the mean change is -0.4000 ± 6.3531.",
                 f"| gradient | 60.0 ± {half:.1f} | 50.0 | 70, aim 80 |",
                 f"| grad_cam | 80.0 ± {half:.1f} | 70.0 | 70, aim 80 |",
                 "| X-rays | noise | 100.0 ± 0.0 | at least 95 |",
                 f"| X-rays | test X-rays | 10.0 ± {half:.1f} | at most 10, aim 5 |"):
        assert line in text.splitlines(), line
    assert "`tinynet train x --folds 5`, 2 seeds" in text and "What calibration gains" not in text
    runs[1]["log_loss"] = {"before": 0.5, "after": 0.4, "gain": 0.1, "error": 0.02}
    lines = reliability.report(runs).splitlines()
    assert "| Chest X-rays | 1 | 0.5000 | 0.4000 | 0.1000 ± 0.0200 |" in lines
    assert not any(line.startswith("| Chest X-rays | 0 ") for line in lines)


def test_the_runs_of_reliability(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                 capsys: pytest.CaptureFixture[str]) -> None:
    made: list[Any] = []
    monkeypatch.setattr(reliability, "trained", lambda name, seed, options: made.append((name, seed)) or {})
    monkeypatch.setattr(reliability, "mnist", lambda options, seed: made.append(("mnist", seed)) or {})
    monkeypatch.setattr(reliability, "report", lambda records: "")
    for number, (more, jobs) in enumerate((
            ([], [*(("xray", seed) for seed in range(5)), *(("idc", seed) for seed in range(5)), ("mnist", 0)]),
            (["--only", "idc", "--seed", "3"], [("idc", 3)]), (["--only", "mnist", "--seed", "3"], [("mnist", 0)]))):
        command = ["--data", str(tmp_path), "--records", str(tmp_path / f"{number}" / "reliability"), *more]
        assert reliability.main(command) == 0 and made == jobs
        (name, seed), folder = made[-1], tmp_path / f"{number}" / "reliability"
        found = json.loads((folder / f"{name}-seed{seed}.json").read_text())
        assert (found["data"], found["seed"], found["versions"]) == (name, seed, tn.about().versions)
        assert found["commit"] and len([*folder.iterdir()]) == len(jobs)
        made.clear()
        capsys.readouterr()
        assert reliability.main(command) == 0 and made == []
        assert capsys.readouterr().out.splitlines() == [
            *(f"{folder / f'{name}-seed{seed}.json'} is there" for name, seed in jobs),
            f"written: {folder.parent / 'RELIABILITY.md'}"]


def test_what_a_training_on_a_folder_is_asked_for(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[list[str]] = []
    scores = {"images": 9, "per_class": {"a": {"recall": 0.25}, "b": {"recall": 0.75}}, "roc_auc": 0.9,
              "balanced_accuracy": 0.5, "calibration_error": 0.1}
    found = {"seconds": 3.0, "calibration_error": {"before": 1, "after": 0}, "log_loss": {"gain": 0.5},
             "rule": {"threshold": 0.4, "temperature": 1.5}, "out_of_fold": scores,
             "out_of_fold_at_half": {**scores, "roc_auc": 0.1},
             "test": {**scores, "roc_auc": 0.2, "at_half": {**scores, "roc_auc": 0.3}}}

    def tinynet(line: list[str]) -> int:
        asked.append(line)
        out = Path(line[line.index("--out") + 1])
        out.mkdir(parents=True)
        (out / "results.json").write_text(json.dumps(found))
        (out / "predictions.csv").write_text("image,fold,class,predicted,p(a),p(b)\na.png,1,a,a,1.0,0.0\n")
        return 0

    monkeypatch.setattr(reliability, "tinynet", tinynet)
    made = reliability.trained("idc", 4, argparse.Namespace(out=tmp_path, data=Path("data")))
    assert asked == [["train", str(Path("data/idc")), *reliability.TRAINED["idc"][1].split(), "--seed", "4", "--out",
                      str(tmp_path / "idc-seed4"), "--resume"]]
    assert [made[name]["roc_auc"] for name in ("out_of_fold", "out_of_fold_at_half", "test", "test_at_half")] == [
        0.9, 0.1, 0.2, 0.3]
    assert (made["threshold"], made["temperature"], made["seconds"]) == (0.4, 1.5, 3.0)
    assert made["calibration_error"] == {"before": 1, "after": 0, "by_chance": 0.0}
    assert [made[name]["calibration_error"] for name in ("out_of_fold", "out_of_fold_at_half", "test")] == [0, 0, 0.1]
    assert made["command"].endswith(" --threshold balanced --seed 4") and made["log_loss"] == {"gain": 0.5}
    monkeypatch.setattr(tn, "load", lambda path: path)
    monkeypatch.setattr(reliability, "maps_that_mark", lambda *given: ("maps", *given))
    monkeypatch.setattr(reliability, "unlike_xrays", lambda *given: ("unlike", *given))
    rays = reliability.trained("xray", 2, argparse.Namespace(out=tmp_path, data=Path("data")))
    trained, folder = tmp_path / "xray-seed2" / "model.safetensors", Path("data/chest_xray")
    assert rays["maps"] == ("maps", trained, folder) and rays["unlike"] == ("unlike", trained, folder, Path("data"))
    assert not {"maps", "unlike"} & {*made}, "of X-rays alone"
    found["test"] = None
    given = argparse.Namespace(out=tmp_path, data=Path())
    assert not {"test", "test_at_half"} & {*reliability.trained("idc", 5, given)}
    monkeypatch.setattr(reliability, "tinynet", lambda line: 1)
    with pytest.raises(tn.errors.DataError, match="the training of idc with seed 6 must succeed, and did not"):
        reliability.trained("idc", 6, given)


def test_pages_of_text_are_most_of_them_dark_on_light() -> None:
    """Each of its own size; at least a hundredth is ink."""
    pages = [reliability.page(number) for number in range(2, 14)]
    papers = [int(np.median(page)) for page in pages]
    assert papers[-2:] == [20, 20] and all(225 <= paper <= 255 for paper in papers[:-2])
    for page, paper in zip(pages, papers, strict=True):
        assert 400 <= page.shape[0] < 1200 and 300 <= page.shape[1] < 900 and (page != paper).mean() > 0.01
        assert 225 <= page.max() <= 230 if paper == 20 else page.min() < 60
    assert len({page.shape for page in pages}) == 12


def test_images_that_are_unlike_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reliability, "unlikeness", lambda model, pixels: np.array([0.5, 1.0, 1.5, 0.2]))
    assert reliability.share_unlike(None, None) == 0.25  # type: ignore[arg-type]


class Folder:
    """A scanned folder of six images, each of the level of its number."""

    def __init__(self, chosen: Any = slice(None)) -> None:
        self.chosen = np.arange(6)[chosen]
        self.part_of = np.array(["train", "test", "test", "test", "test", "train"])[chosen]
        self.labels = np.array([1, 1, 1, 0, 1, 0])[chosen]

    def select(self, chosen: np.ndarray) -> "Folder":
        return Folder(self.chosen[chosen])

    def images(self, size: tuple[int, int], channels: int = 3) -> np.ndarray:
        return np.zeros((len(self.chosen), *size, channels), np.uint8) + self.chosen.astype(np.uint8)[:, None, None,
                                                                                                     None]


def test_the_images_that_are_unlike_x_rays(monkeypatch: pytest.MonkeyPatch) -> None:
    """Colour noise and grey noise of X-rays' levels, digits and pages; X-rays are those of the test part."""
    shown: list[np.ndarray] = []
    scanned: list[Path] = []
    digits = np.arange(20, dtype=np.uint8)[:, None, None] + np.zeros((28, 28), np.uint8)
    monkeypatch.setattr(reliability, "STRANGE", 6)
    monkeypatch.setattr(reliability, "Classifier", lambda model: SimpleNamespace(size=(6, 8)))
    monkeypatch.setattr(reliability, "share_unlike", lambda model, pixels: shown.append(pixels) or len(shown))
    monkeypatch.setattr(tn.data, "scan_folder", lambda path: scanned.append(path) or Folder())
    monkeypatch.setattr(tn.data, "load", lambda place: [SimpleNamespace(test_images=digits)])
    found = reliability.unlike_xrays(None, Path("a"), Path("root"))  # type: ignore[arg-type]
    assert found == {"noise": 1, "MNIST digits": 2, "IDC patches": 3, "pages of text": 4, "test X-rays": 5}
    assert {path.name for path in scanned} == {"a", "idc"}
    noise, small, patches, pages, xrays = shown
    assert [one.shape for one in shown] == [(count, 6, 8, 3) for count in (6, 6, 6, 6, 4)]
    assert (noise[:3, ..., 0] != noise[:3, ..., 1]).any() and (noise[3:, ..., 0] == noise[3:, ..., 1]).all()
    assert np.abs(noise.mean(axis=(1, 2, 3)) - 125).max() < 20
    assert small[:, 0, 0, 0].tolist() == [0, 1, 2, 3, 4, 5] and len({page.tobytes() for page in pages}) == 6
    assert patches[:, 0, 0, 0].tolist() == [*range(6)] and xrays[:, 0, 0, 0].tolist() == [1, 2, 3, 4]


def test_maps_are_measured_on_positive_test_images_that_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    pictures = SimpleNamespace(size=(2, 2), channels=3, inputs=lambda pixels: pixels, decided=lambda p: p,
                               probabilities=lambda pixels: (pixels[:, 0, 0, 0] != 2).astype(int))
    monkeypatch.setattr(reliability, "Classifier", lambda model: pictures)
    monkeypatch.setattr(tn.data, "scan_folder", lambda path: Folder())
    for number, method in enumerate(("gradient", "grad_cam")):
        def marked(model: Any, x: np.ndarray, k: int, number: int = number) -> tuple[int, int]:
            return number, k
        marked.__name__ = method
        monkeypatch.setattr(reliability.explain, method, marked)
    monkeypatch.setattr(reliability, "falls", lambda model, x, maps: np.array(
        [x[:, 0, 0, 0].tolist() == [1, 4], maps[1] == 1, True, maps[0] == 0]))
    found = reliability.maps_that_mark(None, Path("a"))  # type: ignore[arg-type]
    assert found == {"images": 2, "gradient": 1.0, "grad_cam": 0.75}


def test_the_run_of_reliability_on_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    """Inverted test digits and plain ones; the model remembers the parts that it learned from and did not."""
    seen: dict[str, Any] = {}
    data = tn.data.load_digits()
    monkeypatch.setattr(tn.data, "load", lambda place: [data])
    monkeypatch.setattr(tn.init, "orthogonal", tn.init.glorot_normal)  # quicker
    monkeypatch.setattr(tn, "fit", lambda model, optimizer, loader, epochs: seen.update(
        model=model, optimizer=optimizer, loader=loader, epochs=epochs, start=model[2].W.numpy().copy()))
    monkeypatch.setattr(reliability, "remember", lambda model, *parts: seen.update(parts=parts))
    monkeypatch.setattr(reliability, "share_unlike", lambda model, pixels: float(pixels.mean()))
    monkeypatch.setattr(reliability, "Classifier", lambda model: SimpleNamespace(
        probabilities=lambda pixels: np.eye(10)[np.where(np.arange(len(pixels)) % 4, data.test_labels, 9)]))
    made = reliability.mnist(argparse.Namespace(data=Path("data")), 3)
    first, second = tn.data.split(len(data.train_images), 0.1)
    assert seen["epochs"] == reliability.MNIST_EPOCHS and seen["loader"].shuffle and seen["loader"].batch_size == 128
    assert seen["optimizer"].lr == 2e-3 and seen["model"].scaling == tn.nn.Scaling()
    tn.seed(3)
    assert (seen["start"] == tn.models.lstm_cnn()[2].W.numpy()).all()
    assert seen["loader"].length == len(first) and next(iter(seen["loader"]))[0].max() == 1.0
    for part, rows in zip(seen["parts"], (first, second), strict=True):
        assert (part[..., 0] == data.train_images[rows]).all()
    plain = data.test_images.mean()
    assert made["unlike"] == {"inverted digits": pytest.approx(255 - plain), "test digits": pytest.approx(plain)}
    right = np.where(np.arange(len(data.test_labels)) % 4, True, data.test_labels == 9).mean()
    assert made["accuracy"] == pytest.approx(right) and str(reliability.MNIST_EPOCHS) in made["command"]


# --- published runs -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("name", ["mnist_table1", "mnist_deep", "mnist_committee", "idc_table2", "pneumonia_cnn_lstm"])
def test_published_runs_have_the_recipe_and_the_network_of_their_script(name: str, monkeypatch: pytest.MonkeyPatch
                                                                        ) -> None:
    monkeypatch.setattr(tn.init, "orthogonal", tn.init.zeros)  # quicker
    recipe, sizes = importlib.import_module(name).RECIPE.settings(), {}
    for path in (EXAMPLES / "results").glob(f"{name}-*.json"):
        run = json.loads(path.read_text())
        model = sizes.setdefault(run["model"], getattr(tn.models, run["model"])())
        assert run["settings"] == {**recipe, "limit": None, "input": list(model.input_shape)}
        assert run["parameters"] == sum(one.size for one in model.parameters())
    assert sizes


def test_published_trials_are_those_of_their_candidates(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of the choice for X-rays, with the side of the script."""
    monkeypatch.setattr(tn.init, "orthogonal", tn.init.zeros)  # quicker
    known = {one.name: one for one in xray_selection.CANDIDATES}
    sizes: dict[str, int] = {}
    for trial in selection.read(EXAMPLES / "results" / "selection" / "xray_selection.json")["trials"]:
        if (one := known.get(trial["candidate"])) is None:
            continue  # a combination
        one = one.changed(one.name, one.change, net={"size": xray_selection.SIDE})
        made = Trial(one, nets.xray_net, lambda: None, trial["fold"], trial["seed"])  # type: ignore[arg-type, return-value]
        assert (trial["settings"], trial["change"]) == (made.settings(), one.change)
        if one.name not in sizes:
            sizes[one.name] = sum(one.size for one in made.make(**one.net).parameters())
        assert trial["parameters"] == sizes[one.name]
    assert selection.BASE in sizes


# --- other scripts --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("more", "expected"), [
    ({}, {"epochs": 30, "batch_size": 128, "lr": 3e-3, "seed": 0, "limit": 1437, "resume": False}),
    ({"epochs": 3}, {}), ({"batch_size": 16}, {}), ({"lr": 0.125}, {}), ({"seed": 5}, {}), ({"limit": 100}, {}),
    ({"resume": None}, {"resume": True}), ({"epochs": 1, "limit": 100}, {})], ids=str)
def test_each_option_of_the_main_job_changes_its_training(more: dict[str, Any], expected: dict[str, Any],
                                                          tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def fit(model: Any, optimizer: Any, train: Any, **options: Any) -> Any:
        asked.update(options, train=train, W=model[2].W.numpy().copy())
        raise Trained

    monkeypatch.setattr(tn, "fit", fit)
    monkeypatch.setattr(tn.init, "orthogonal", tn.init.glorot_normal)  # quicker
    words = [part for name, value in more.items()
             for part in (f"--{name.replace('_', '-')}", *([] if value is None else [str(value)]))]
    with pytest.raises(Trained):
        mnist_lstm_cnn.main(["--data", "digits", "--out", str(tmp_path), *words])
    usual = {"epochs": 30, "batch_size": 128, "lr": 3e-3, "seed": 0, "limit": 1437, "resume": False}
    wanted = {**usual, **{name: value for name, value in more.items() if value is not None}, **expected}
    train, validation = asked["train"], asked["validation"]
    assert asked["epochs"] == wanted["epochs"] and train.batch_size == wanted["batch_size"]
    assert asked["schedule"].peak == wanted["lr"] and asked["schedule"].length == max(
        2, wanted["epochs"] * len(train)), "the least of a cycle is two steps"
    assert train.length + validation.length == wanted["limit"] and validation.length == round(wanted["limit"] / 10)
    assert asked["resume"] == wanted["resume"] and asked["checkpoint"] == tmp_path / "checkpoint.safetensors"
    tn.seed(wanted["seed"])
    assert (asked["W"] == tn.models.lstm_cnn()[2].W.numpy()).all()
    assert train.shuffle and not validation.shuffle
    assert mnist_lstm_cnn.EPOCHS == {"mnist": 10, "digits": 30}


def test_an_interrupted_main_job_says_how_it_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    """Unlike the experiments, it does not resume without being asked."""
    def stopped(model: Any, optimizer: Any, train: Any, **options: Any) -> Any:
        assert model.parameters()[0].device == "gpu-emulated" and optimizer.parameters[0] is model.parameters()[0]
        raise tn.errors.Interrupted("stopped", 2)

    monkeypatch.setattr(tn, "fit", stopped)
    monkeypatch.setattr(tn.init, "orthogonal", tn.init.glorot_normal)  # quicker
    assert mnist_lstm_cnn.main(["--data", "digits", "--device", "gpu-emulated", "--out", str(tmp_path)]) == 130
    assert capsys.readouterr().err == "stopped: the same command with --resume\n"


def test_what_the_main_job_writes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, sheets: list[Any]) -> None:
    """Sums of seconds, means of speeds, the sizes of its parts; the model remembers the parts that it learned from."""
    seen: dict[str, Any] = {}
    rows = [{"seconds": seconds, "images_per_second": speed, "train_accuracy": 0.25 * k, "validation_accuracy": 0.5}
            for k, (seconds, speed) in enumerate(((1.0, 100.0), (3.0, 400.0)), 1)]
    monkeypatch.setattr(tn, "fit", lambda *arguments, **options: rows)
    monkeypatch.setattr(tn, "evaluate", lambda model, batches: seen.update(tested=batches.length) or {
        "accuracy": 0.75, "loss": 1.5, "images": batches.length})
    monkeypatch.setattr(mnist_lstm_cnn, "remember", lambda model, *parts: seen.update(parts=parts))
    monkeypatch.setattr(figures, "curves", lambda path, panels, **more: seen.update(panels=panels, **more))
    monkeypatch.setattr(tn.init, "orthogonal", tn.init.glorot_normal)  # quicker
    assert mnist_lstm_cnn.main(["--data", "digits", "--limit", "100", "--seed", "4", "--out", str(tmp_path)]) == 0
    found = json.loads((tmp_path / "results.json").read_text())
    digits = tn.data.load_digits()
    tn.seed(4)
    first, second = tn.data.split(100, 0.1)
    for part, rows_of in zip(seen["parts"], (first, second), strict=True):
        assert (part[..., 0] == digits.train_images[rows_of]).all()
    assert (found["seconds"], found["images_per_second"], found["parameters"]) == (4.0, 250.0, 121_676)
    assert (found["test_accuracy"], found["test_loss"], found["test_images"], seen["tested"]) == (0.75, 1.5, 360, 360)
    assert (found["train_images"], found["validation_images"], found["data"], found["seed"]) == (90, 10, "digits", 4)
    assert found["settings"]["epochs"] == 30 and found["settings"]["limit"] == 100 and "resume" not in found["settings"]
    (panel,), = [seen["panels"][0][:1]]
    assert panel.images == 90 and panel.lines == {"LSTM-CNN": [[0.25, 0.5]]}
    assert seen["panels"][0][1].images == 10 and seen["panels"][0][1].lines == {"LSTM-CNN": [[0.5, 0.5]]}
    assert [panel.title for panel in seen["panels"][0]] == ["training, while learning", "validation"]
    assert seen["title"] == "digits, seed 4: test accuracy 75.00 % at the end" and seen["vector"] is False


def test_the_times_of_the_versions_are_those_of_a_digit(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    """On one thread but for the last; a version that is off ends the run."""
    asked: list[tuple[float, int]] = []
    for name, size in (("T", 3), ("D", 4), ("H", 5), ("N", 8), ("OPERATIONS", 4 * 10**9)):
        monkeypatch.setattr(lstm_versions, name, size)
    for name in ("loops", "one_product"):
        monkeypatch.setattr(lstm_versions, name, lstm_versions.one_product)
    monkeypatch.setattr(lstm_versions, "compiled", lambda: lstm_versions.one_product)
    monkeypatch.setattr(lstm_versions, "kernel", lambda threads: lstm_versions.one_product)
    monkeypatch.setattr(lstm_versions, "roof", lambda least: {"operations": 1e9, "bytes": 2e9})
    monkeypatch.setattr(tn, "threads", lambda: 3)
    monkeypatch.setattr(lstm_versions, "seconds", lambda work, least, threads=1: asked.append((least, threads)) or 4.0)
    assert lstm_versions.main(["--seconds", "0.5", "--out", str(tmp_path / "out.json")]) == 0
    found = json.loads((tmp_path / "out.json").read_text())
    assert asked == [(0.5, 1)] * 4 + [(0.5, 3)] and found["threads"] == 3
    assert {name: (one["seconds"], one["digits"]) for name, one in found["versions"].items()} == {
        "loops": (4.0, 1), **dict.fromkeys(("product", "numba", "packed", "threads"), (0.5, 8))}
    assert found["roof"] == {"operations": 1e9, "bytes": 2e9} and found["operations"] == lstm_versions.OPERATIONS
    *lines, roof = capsys.readouterr().out.splitlines()
    assert [line.partition(" us a digit, ")[0].split() for line in lines] == [
        ["loops", "4000000.0"], *([name, "500000.0"] for name in ("product", "numba", "packed", "threads"))]
    assert roof == "roof     1 GFLOP/s, 2.0 GB/s" and all("GFLOP/s, error " in line for line in lines)
    speed = [float(line.partition(" a digit,")[2].split()[0]) for line in lines]
    assert speed == [round(lstm_versions.OPERATIONS / each / 1e9, 2) for each in (4.0, *[0.5] * 4)]
    assert found["processor"] == tn.about().processor
    assert lstm_versions.main([]) == 0, "without a file"
    for off in (1e-3, np.nan):
        monkeypatch.setattr(lstm_versions, "kernel", lambda threads, off=off: lambda x: lstm_versions.one_product(x)
                            + off)
        asked.clear()
        assert lstm_versions.main([]) == 1 and asked == [(2.0, 1)] * 3


def test_the_weights_of_the_lab_are_written(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    seen: list[Any] = []
    monkeypatch.setattr(tn, "fit", lambda model, *arguments, **options: seen.append(model))
    monkeypatch.setattr(tn, "evaluate", lambda model, batches: seen.append(batches) or {"accuracy": 0.5})
    assert lab_digit.main(["--data", "digits", "--limit", "64", "--out", str(tmp_path / "digit.npz")]) == 0
    trained, batches = seen
    assert batches.length == 360 and next(iter(batches))[0].max() == 1.0
    said = f"written to {tmp_path / 'digit.npz'}: {(tmp_path / 'digit.npz').stat().st_size:,} bytes"
    assert capsys.readouterr().out.splitlines()[-2:] == ["test accuracy 0.5000 on 360 images", said]
    with np.load(tmp_path / "digit.npz") as found:
        assert {name: array.tolist() for name, array in trained.state_dict().items()} == {
            name: found[name].tolist() for name in found.files}


@pytest.mark.parametrize(("script", "words", "peak", "batch", "epochs", "seed"), [
    (lab_digit, ["--epochs", "3", "--seed", "7", "--limit", "300"], 3e-3, 128, 3, 7), (lab_digit, [], 3e-3, 128, 6, 1),
    (train_small_lstm, ["--epochs", "3", "--seed", "7", "--units", "16"], 5e-3, 64, 3, 7),
    (train_small_lstm, [], 5e-3, 64, 8, 0)])
def test_the_small_trainings_follow_their_options(script: Any, words: list[str], peak: float, batch: int, epochs: int,
                                                  seed: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without options, that by which the files were made that are in the repository."""
    asked: dict[str, Any] = {}

    def fit(model: Any, optimizer: Any, train: Any, **options: Any) -> Any:
        asked.update(options, train=train, model=model)
        raise Trained

    def weights(*arguments: Any) -> Any:
        drawn.append("weights")
        return quicker(*arguments)

    quicker, drawn = tn.init.glorot_normal, list[Any]()
    monkeypatch.setattr(tn, "fit", fit)
    monkeypatch.setattr(tn, "seed", drawn.append)
    monkeypatch.setattr(tn.init, "orthogonal", weights)
    with pytest.raises(Trained):
        script.main(["--data", "digits", *words, "--out", str(tmp_path / "out")])
    train = asked["train"]
    assert (asked["epochs"], asked["schedule"].length, asked["schedule"].peak) == (epochs, epochs * len(train), peak)
    assert drawn[:2] == [seed, "weights"] and seed not in drawn[1:] and train.batch_size == batch and train.shuffle
    assert train.length == (300 if "--limit" in words else 1437)
    assert train.augment == (tn.data.Augment(shift=0.08, rotate=10, scale=0.1) if script is lab_digit else None)
    if script is train_small_lstm:
        assert asked["model"][0].units == (16 if words else 32) and train.arrays[0].max() == 1.0
    else:
        assert (train.arrays[0][..., 0] == tn.data.load_digits().train_images[: train.length]).all(), "the first ones"
        assert (train.arrays[1] == tn.data.load_digits().train_labels[: train.length]).all()
        assert 0.5 < next(iter(train))[0].max() <= 1.0


def test_what_the_small_lstm_gets_right_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    """As a share of the test images. The name of the file has the number of units."""
    digits, seen = tn.data.load_digits(), list[np.ndarray]()
    monkeypatch.setattr(train_small_lstm, "OUT", tmp_path)
    monkeypatch.setattr(tn, "fit", lambda *arguments, **options: None)
    monkeypatch.setattr(tn, "predict", lambda model, x: seen.append(x) or np.eye(10)[
        np.where(np.arange(len(x)) % 4, digits.test_labels, (digits.test_labels + 1) % 10)])
    assert train_small_lstm.main(["--data", "digits", "--units", "3"]) == 0
    np.testing.assert_allclose(seen[0], digits.test_images / 255, rtol=1e-6)
    assert capsys.readouterr().out.splitlines()[-2:] == [
        "digits: 0.7500 of the test images are right", f"written to {tmp_path / 'lstm_3.safetensors'}"]
    assert tn.load(tmp_path / "lstm_3.safetensors")[0].units == 3


def test_the_shortest_time_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    """On one thread the processor's; the call before is not timed."""
    now = {"wall": 0.0, "processor": 0.0}
    times = iter([9.0, 3.0, 1.0, 2.0, 5.0, 5.0])

    def work() -> None:
        passed = next(times)
        now["wall"] += passed
        now["processor"] += passed / 2

    monkeypatch.setattr(lstm_versions, "time", SimpleNamespace(
        perf_counter=lambda: now["wall"], process_time=lambda: now["processor"]))
    assert lstm_versions.seconds(work, 5.5) == 0.5
    assert lstm_versions.seconds(lambda: now.update(wall=now["wall"] + 2.0), 3.0, threads=2) == 2.0
    assert lstm_versions.OPERATIONS == 2 * 28 * (128 + 28) * 4 * 128


def test_all_versions_of_the_lstm_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    """At small sizes, and without compiling the one that Numba compiles."""
    for name, size in (("T", 3), ("D", 4), ("H", 5)):
        monkeypatch.setattr(lstm_versions, name, size)
    monkeypatch.setattr("numba.njit", lambda function: function)
    x = lstm_versions.drawn(2, 3, 4, step=0)
    expected = lstm_versions.one_product(x)
    assert expected.shape == (2, 5) and np.abs(expected).max() > 0.01
    for version in (lstm_versions.loops, lstm_versions.compiled()):
        np.testing.assert_allclose(version(x), expected, atol=1e-6)


def test_a_kernel_is_timed_on_its_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []
    monkeypatch.setattr(tn, "set_threads", asked.append)
    x = lstm_versions.drawn(2, 28, 28, step=0)
    with tn.using("reference"):
        found = [lstm_versions.kernel(threads)(x) for threads in (1, 5)]
    assert asked == [1, 5]
    np.testing.assert_allclose(found[0], lstm_versions.one_product(x), atol=1e-5)


def test_the_roof_is_of_two_gigaflops_and_both_ways(monkeypatch: pytest.MonkeyPatch) -> None:
    times, threads = iter([0.5, 0.25]), list[int]()
    monkeypatch.setattr(lstm_versions, "seconds", lambda work, least: next(times))
    monkeypatch.setattr(tn, "set_threads", threads.append)
    monkeypatch.setattr(lstm_versions.np, "zeros", lambda *shape: SimpleNamespace(nbytes=1 << 28))
    monkeypatch.setattr(lstm_versions.np, "empty", lambda *shape: None)
    monkeypatch.setattr(lstm_versions, "drawn", lambda *shape, step: np.ones((2, 2), np.float32))
    assert lstm_versions.roof(1.0) == {"operations": 2 * 1024**3 / 0.5, "bytes": 2 * 2**28 / 0.25}
    assert threads == [1]


@pytest.mark.parametrize(("words", "size"), [([], 48), (["--size", "64"], 64)])
def test_the_selected_network_takes_the_size_of_the_options(words: list[str], size: int,
                                                            monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    best = selection.Candidate("base", "", Recipe(epochs=3), {"size": 48, "norm": True})
    monkeypatch.setattr(selection, "published", lambda *arguments: [])
    monkeypatch.setattr(selection, "chosen", lambda trials: best)
    monkeypatch.setattr(pneumonia_selected.pneumonia_cnn_lstm, "work", lambda setup, options: asked.append(
        (setup, options.size)))
    assert pneumonia_selected.main(words) == 0
    (setup, given), = asked
    assert given == size and setup.side == 48 and setup.recipe is best.recipe
    assert setup.validation == pneumonia_selected.VALIDATION and setup.experiment == "pneumonia_selected"
    assert sum(isinstance(layer, tn.nn.BatchNorm) for layer in setup.make(size=32)) == 4


def test_what_the_lstm_by_hand_prints_of_each_row(capsys: pytest.CaptureFixture[str]) -> None:
    """Mean and extent over the units, and the class of the highest probability of each h."""
    values = np.array([[0.1, 0.2, 0.9]])
    step = SimpleNamespace(f=values, i=values * 2, Ctilde=values * 3, o=values * 4, C=values * 10, h=values - 1)
    lstm_by_hand.show_forward(np.array([[0, 255]]), [step])
    head, _, line, *_ = capsys.readouterr().out.splitlines()
    assert head.split()[-6:] == ["f", "i", "C~", "o", "C", "h"]
    assert line.split()[-12:] == ["0.40", "0.80", "0.80", "1.60", "1.20", "2.40", "1.60", "3.20", "4.00", "8.00",
                                  "-0.60", "0.80"]
    net = SimpleNamespace(V=np.array([[1.0, 0.0], [0.0, 1.0], [0.0, 0.0]]), c=np.zeros(2))
    steps = [SimpleNamespace(h=np.array([[1.0, 0.0, 0.0]]), C=np.array([[0.0, 9.0, 0.0]])),
             SimpleNamespace(h=np.array([[0.0, np.log(3), 0.0]]), C=np.array([[9.0, 0.0, 0.0]]))]
    lstm_by_hand.show_guesses(net, steps, 1)
    assert "   0 1    (at the end 1 has the probability 0.750)" in capsys.readouterr().out


def test_differences_are_relative_to_the_truth() -> None:
    """To its largest number in a row."""
    truth = {(name, t): np.array([[1.0, -4.0]]) for name in "Czh" for t in range(3)}
    chain = {key: array + (2.0 if key[1] else 0.0) for key, array in truth.items()}
    for (name, errors), first in zip(lstm_by_hand.differences(chain, truth, 2), (1, 1, 0), strict=True):
        assert name.startswith("error of d") and len(errors) == 2
        assert [error.tolist() for error in errors] == [[[0.5 * bool(t)] * 2] for t in (first, first + 1)]


# --- vowels ---------------------------------------------------------------------------------------------------------

def utterances(count: int) -> tuple[list[np.ndarray], np.ndarray]:
    rng = np.random.default_rng(0)
    return [rng.normal(3, 2, (5 + i % 3, 12)).astype("float32") for i in range(count)], np.arange(count) % 9


RECIPE = vowels.Recipe(units=3, filters=4, dropout=0.25, norm=True, noise=0.5, offset=0.25, smoothing=0.125, epochs=7,
                       batch_size=5, average=0.75)


def test_each_number_of_a_recipe_for_vowels_has_its_use(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}

    def fit(model: Any, optimizer: Any, batches: Any, **options: Any) -> None:
        asked.update(options, model=model, optimizer=optimizer, batches=batches)

    monkeypatch.setattr(tn, "fit", fit)
    sequences, speakers = utterances(20)
    made = vowels.train(RECIPE, (sequences, speakers), 3, "cpu")
    batches, model, schedule = asked["batches"], asked["model"], asked["schedule"]
    assert (asked["epochs"], batches.batch_size, batches.shuffle, asked["max_norm"]) == (7, 5, True, 1.0)
    assert (schedule.peak, schedule.length) == (RECIPE.peak, 7 * 4)
    assert asked["optimizer"].weight_decay == RECIPE.weight_decay and asked["callbacks"][0].decay == 0.75
    assert batches.augment == vowels.Voice(0.5, 0.25) and asked["loss"].keywords == {"label_smoothing": 0.125}
    assert [layer.p for layer in model if isinstance(layer, tn.nn.Dropout)] == [0.25, 0.25]
    assert (model[0].layer.units, model[2].filters) == (3, 4)
    frames = np.concatenate(sequences)
    np.testing.assert_allclose(made.scaling.mean, frames.mean(axis=0), rtol=1e-5)  # type: ignore[union-attr]
    np.testing.assert_allclose(made.scaling.scale, frames.std(axis=0), rtol=1e-5)  # type: ignore[union-attr]
    assert made.classes is not None and made.classes[0] == "speaker 1"
    again, other = (vowels.train(RECIPE, (sequences, speakers), seed, "cpu") for seed in (3, 4))
    assert (again[2].W.numpy() == made[2].W.numpy()).all() and (other[2].W.numpy() != made[2].W.numpy()).any()
    vowels.train(dataclasses.replace(RECIPE, noise=0.0, offset=0.0, average=0.0), (sequences, speakers), 3, "cpu")
    assert asked["batches"].augment is None and asked["callbacks"] == []
    vowels.train(RECIPE, (sequences, speakers), 3, "gpu-emulated")
    assert asked["model"].parameters()[0].device == "gpu-emulated"


def test_noise_and_offset_have_their_sizes() -> None:
    x, mask = np.zeros((40, 30, 12), "float32"), np.ones((40, 30), bool)
    noise = vowels.Voice(2.0, 0.0)((x, mask), np.arange(40), 0, 0)[0]
    offset = vowels.Voice(0.0, 3.0)((x, mask), np.arange(40), 0, 0)[0]
    assert noise.std() == pytest.approx(2, rel=0.05) and offset[:, 0].std() == pytest.approx(3, rel=0.1)
    assert (vowels.Voice(2.0, 0.0)((x, mask), np.arange(40), 1, 0)[0] != noise).any()
    assert (vowels.Voice(2.0, 0.0)((x, mask), np.arange(40), 0, 1)[0] != noise).any()
    assert (vowels.Voice(2.0, 0.0)((x, mask), np.arange(40) + 1, 0, 0)[0] != noise).any(), "of another batch"
    assert noise.dtype == np.float32


def test_a_fold_is_scored_by_a_model_that_was_not_trained_on_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                               capsys: pytest.CaptureFixture[str]) -> None:
    """The loss is the mean over utterances."""
    sequences, speakers = utterances(45)
    for number, sequence in enumerate(sequences):
        sequence[0, 0] = number
    asked: list[Any] = []
    trained: list[set[int]] = []
    tested: list[set[int]] = []

    def train(recipe: Any, some: Any, seed: int, device: str) -> None:
        trained.append({int(one[0, 0]) for one in some[0]})
        asked.append((recipe, seed, device))

    def score(model: Any, some: Any) -> dict[str, Any]:
        tested.append({int(one[0, 0]) for one in some[0]})
        return {"utterances": len(some[1]), "wrong": len(tested), "loss": float(len(tested))}

    monkeypatch.setattr(vowels, "read_part", lambda data, part: (sequences, speakers) if part == "TRAIN" else None)
    monkeypatch.setattr(vowels, "train", train)
    monkeypatch.setattr(vowels, "score", score)
    words = ["--cross-validate", "--device", "gpu-emulated", "--out"]
    assert vowels.main([*words, str(tmp_path), "--candidate", vowels.CHOSEN, "--seed", "2"]) == 0
    assert asked == [(vowels.CANDIDATES[vowels.CHOSEN], 2, "gpu-emulated")] * 5
    assert all(not a & b and a | b == set(range(45)) for a, b in zip(trained, tested, strict=True))
    assert sorted(one for some in tested for one in some) == list(range(45))
    sizes = [len(some) for some in tested]
    loss = sum(size * (k + 1) for k, size in enumerate(sizes)) / 45
    assert capsys.readouterr().out.endswith(f"seed 2   15 of 45 wrong  loss {loss:.4f}\n")
    monkeypatch.setattr(vowels, "CANDIDATES", {name: vowels.CANDIDATES[name] for name in ("plain", "norm")})
    assert vowels.main([*words, str(tmp_path / "all")]) == 0, "all candidates, with two seeds each"
    assert {path.name for path in (tmp_path / "all").iterdir()} == {
        f"cv-{name}-seed{seed}.json" for name in ("plain", "norm") for seed in (0, 1)}


@pytest.mark.parametrize(("words", "name", "seeds"), [
    (["--seed", "2", "--device", "gpu-emulated"], vowels.CHOSEN, [2]),
    (["--candidate", "plain"], "plain", [*range(5)])])
def test_the_test_part_of_vowels_is_read_after_training(words: list[str], name: str, seeds: list[int],
                                                       monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    """Once for each seed; the model learns from the training part."""
    seen: list[Any] = []
    made = tn.nn.Sequential(tn.nn.Dense(1, 1))
    monkeypatch.setattr(vowels, "read_part", lambda data, part: seen.append(part) or part)
    monkeypatch.setattr(vowels, "train", lambda *given, show: seen.append((*given, show)) or made)
    monkeypatch.setattr(vowels, "score", lambda model, some: seen.append((model, some)) or {
        "utterances": 10, "wrong": 1, "loss": 0.5})
    assert vowels.main([*words, "--out", str(tmp_path)]) == 0
    assert seen == [one for seed in seeds for one in (
        "TRAIN", (vowels.CANDIDATES[name], "TRAIN", seed, "gpu-emulated" if "--device" in words else "cpu", True),
        "TEST", (made, "TEST"))]
    for seed in seeds:
        assert vowels.record(tmp_path / f"{name}-seed{seed}.json") == {
            "utterances": 10, "wrong": 1, "loss": 0.5, "recipe": dataclasses.asdict(vowels.CANDIDATES[name]),
            "seed": seed, "threads": tn.threads(), "versions": tn.about().versions}
    assert capsys.readouterr().out.splitlines() == [
        f"seed {seed}: 90.00 % of 10 test utterances are right" for seed in seeds]
    assert {path.name for path in tmp_path.iterdir()} == {
        f"{name}-seed{seed}.{kind}" for seed in seeds for kind in ("json", "safetensors")}


def test_a_score_counts_wrong_utterances(monkeypatch: pytest.MonkeyPatch) -> None:
    outputs = np.log(np.array([[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]], "float32"))
    monkeypatch.setattr(tn, "predict", lambda model, inputs: outputs)
    net = SimpleNamespace(scaling=lambda one: one)
    found = vowels.score(net, (utterances(2)[0], np.array([0, 1])))  # type: ignore[arg-type]
    assert (found["utterances"], found["wrong"]) == (2, 1)
    assert found["loss"] == pytest.approx((np.log(2) + np.log(4)) / 2) and vowels.accuracy(found) == 50.0


def test_appearances_are_drawn_for_each_image_and_epoch() -> None:
    """The numbers of a change do not depend on those of another."""
    image = np.random.default_rng(0).integers(0, 200, (1, 12, 12)).astype(np.uint8)
    both = Appearance(gamma=1.0, blur=1.0)(image, np.array([5]), 2, 3)
    gamma = Appearance(gamma=1.0)(image, np.array([5]), 2, 3)
    draws = tn.random.uniform((appearance._DRAWS,), key=(3, tn.random.stream("appearance/2")), step=5)
    assert (gamma[0] == Appearance(gamma=1.0)._levels(image[0], draws)).all()
    assert (both[0] == Appearance(blur=1.0)._blurred(gamma[0], draws[2])).all()
    change, wide = Appearance(gamma=1.0, equalise=1.0, blur=1.0, cut=0.5), image[:, :7]
    step = change._cut(change._blurred(change._levels(wide[0], draws), draws[2]), draws[3:])
    assert (change(wide, np.array([5]), 2, 3)[0] == step).all(), "levels, then blur, then the square"
    assert records.name_of("a", 3, "b") == "a-b-seed3"
