"""Experiments where a limit is met exactly, where two models are equal, and where an option has its effect."""

import argparse
import base64
import dataclasses
import json
import sys
import zipfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from test_results import N, everything, invented
from test_runs import DATA, TEST, Trained, images, model, options, record

import tinynet as tn

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import idc_table2  # noqa: E402
import lstm_by_hand  # noqa: E402
import mnist_selection  # noqa: E402
import pneumonia_cnn_lstm  # noqa: E402
import reliability  # noqa: E402
import train_small_lstm  # noqa: E402
import vowels_bilstm_cnn as vowels  # noqa: E402
import vowels_data  # noqa: E402
import xray_selection  # noqa: E402
from paper import experiment, selection, training, views  # noqa: E402
from paper.experiment import Job  # noqa: E402
from paper.reporting import (  # noqa: E402
    ciresan,
    committees,
    curves,
    digits,
    figures,
    grouping,
    idc,
    pairs,
    records,
    report,
    tables,
    xrays,
)
from paper.training import Recipe  # noqa: E402

# --- data and runs --------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("patients", "crossed", "named"), [
    (1, 5, [""]), (2, 5, ["90001", "90002"]), (3, 5, ["90001", "90002", "90003"]), (4, 2, ["fold1", "fold2"]),
    (3, None, [""])])
def test_the_splits_of_a_folder(patients: int, crossed: int | None, named: list[str], tmp_path: Path,
                                monkeypatch: pytest.MonkeyPatch) -> None:
    """By the number of patients; the share to validate on and the seed of the split get to each of them."""
    asked: list[Any] = []
    for name in ("folds", "cross_folds"):
        made = getattr(tn.data, name)
        monkeypatch.setattr(tn.data, name, lambda *words, made=made, **more: asked.append(more) or made(*words, **more))
    tn.data.write_idc_stand_in(tmp_path / "idc", patients=patients, patches=18, seed=0)
    tn.data.write_chest_xray_stand_in(tmp_path / "chest_xray", train=12, test=4, size=32, seed=0)
    given = experiment.parse(experiment.parser("x", "", data=""), ["--data", str(tmp_path)])  # the folder of both
    found = experiment.folder(given, "idc", 50, lambda place: place, validation=0.25, crossed=crossed)
    assert [one.fold for one in found] == named and {one.weighted for one in found} == {crossed is not None}
    assert asked and all(more == {"validation": 0.25, "seed": experiment.SPLIT_SEED} for more in asked)
    for one in found:
        assert one.facts()["train"] == len(one.train[0]) and one.facts()["test"] == len(one.test[0])


@pytest.mark.parametrize("change", [{"average": 2}, {"views": 2}, {"estimate_prior": True}, {"max_norm": 1.0}], ids=str)
def test_a_run_with_more_settings_than_the_job_is_not_taken_for_it(change: dict[str, Any], tmp_path: Path,
                                                                  monkeypatch: pytest.MonkeyPatch) -> None:
    plain = Job("deep_lstm_cnn", model, 0, DATA, Recipe(epochs=2))
    there = {**invented("mnist_deep", "deep_lstm_cnn", 0, wrong=0.1), "data": DATA.facts(), "classes": ["ham", "egg"],
             "settings": experiment.settings(dataclasses.replace(plain, recipe=Recipe(epochs=2, **change)),
                                             options(tmp_path))}
    monkeypatch.setattr(records, "read", lambda path: there)
    (tmp_path / "deep_lstm_cnn-seed0.json").write_text("")
    with pytest.raises(tn.errors.ArgumentError, match=f"{next(iter(change))}: .* there, None here"):
        experiment._existing(plain, options(tmp_path))
    there["settings"] = experiment.settings(plain, options(tmp_path))
    assert experiment._existing(plain, options(tmp_path)) is there


def test_folds_alone_make_an_ensemble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    joined: list[Any] = []
    monkeypatch.setattr(experiment, "run_all", lambda jobs, options: [*jobs])
    monkeypatch.setattr(experiment, "folder", lambda *arguments, **more: [DATA])
    monkeypatch.setattr(experiment, "save_ensemble", lambda jobs, options: joined.append(jobs))
    monkeypatch.setattr(idc_table2.report, "show", lambda *arguments: None)
    assert idc_table2.main(["--out", str(tmp_path)]) == 0 and joined == []


def test_a_side_at_its_limits() -> None:
    assert [pneumonia_cnn_lstm.side(text) for text in ("32", "512")] == [32, 512]
    for text in ("31", "513"):
        with pytest.raises(argparse.ArgumentTypeError, match=r"must be in \[32, 512\]"):
            pneumonia_cnn_lstm.side(text)


def test_the_estimated_prior_is_the_fixed_point() -> None:
    """Also for classes that overlap, where the estimate converges slowly."""
    x = np.random.default_rng(0).normal(size=2_000) + 1.0 * (np.arange(2_000) < 400)
    scores = 1 / (1 + np.exp(0.5 - x))
    found = training.estimated_prior(scores, 0.5)
    assert training.corrected(scores, 0.5, found).mean() == pytest.approx(found, abs=1e-5)
    assert training.estimated_prior(np.full(4, 1e-9), 0.5) == pytest.approx(0.01)
    assert training.estimated_prior(np.full(4, 1 - 1e-9), 0.5) == pytest.approx(0.99)


@pytest.mark.parametrize("odd", [np.nan, np.inf])
def test_scores_must_be_finite_for_each_image(odd: float) -> None:
    with pytest.raises(tn.errors.NonFiniteError, match="must be finite, and are not for some test images"):
        training.softmax(np.array([[0.0, 1.0], [odd, 0.0]]))


# --- the choice -----------------------------------------------------------------------------------------------------

def trials(**scores: list[float]) -> list[dict[str, Any]]:
    """Invented trials, one for each fold."""
    return [{"candidate": name, "fold": str(fold), "seed": 0, "measured": {"last": {"accuracy": value}}}
            for name, values in scores.items() for fold, value in enumerate(values)]


def test_who_gains_nothing_is_given_up() -> None:
    candidates = [xray_selection.changed(name, "") for name in ("base", "same", "lower", "higher", "best")]
    found = trials(base=[0.5, 0.75], same=[0.75, 0.5], lower=[0.5, 0.5], higher=[0.25, 1.25], best=[1.0, 1.0])
    assert [one.name for one in selection.gaining(candidates, found)] == ["base", "higher", "best"]
    assert [one.name for one in selection.highest(candidates, found)] == ["best"]
    assert selection.gaining(candidates[1:], found[2:]) == candidates[1:], "without the base, all"
    later = [*found, *trials(best=[0.0, 0.0, 0.0])[2:]]
    assert [one.name for one in selection.gaining(candidates, later)] == ["base", "higher", "best"], \
        "a fold that the base has not does not count"


def test_the_standard_error_is_of_the_folds_that_both_have() -> None:
    """More trials of a candidate alone do not make its gain surer."""
    candidates = [xray_selection.changed("base", ""), xray_selection.changed("gamma", "", augment={"gamma": 1.0})]
    found = trials(base=[0.5, 0.5], gamma=[0.5, 0.6, *[0.6] * 7])  # 0.05 +- 0.05, were it not for rounding
    found[2]["measured"]["last"]["accuracy"] = 0.49
    assert selection.combined(candidates, found) is None
    assert selection.combined(candidates, found[1:2] + found[2:3]) is None, "none in common"
    found[2]["measured"]["last"]["accuracy"] = 0.51
    assert selection.combined(candidates, found) is not None


def test_the_table_of_some_candidates() -> None:
    """Without the base there are no gains; a measure that some trials lack has no column."""
    made = [{"candidate": "gamma", "change": "more", "fold": fold, "seed": 0, "parameters": 5, "measured": {
        variant: {"accuracy": 0.5, "loss": 1.0} for variant in selection.VARIANTS}} for fold in "ab"]
    text = selection.markdown(made)
    assert "| trials | accuracy | loss | score | gain |" in text
    assert "| gamma | more | 5 | 2 | 50.00 | 100.00 | 50.00 |  |" in text
    del made[1]["measured"]["last"]["loss"]  # type: ignore[index]
    assert "| trials | accuracy | score | gain |" in selection.markdown(made)


def test_a_change_to_nothing_is_a_change() -> None:
    """No decay of the weights, no shift, no scale of the network."""
    base = xray_selection.BASE.changed("base", "", net={"width": 2.0})
    assert base.recipe.weight_decay and base.recipe.augment["shift"]
    bare = base.changed("bare", "", augment={"shift": 0.0}, net={"width": 0}, weight_decay=0.0)
    best = selection.combined([base, bare], trials(base=[0.5, 0.5], bare=[0.6, 0.6]))
    assert best is not None and (best.recipe, best.net) == (bare.recipe, bare.net)


def test_restored_trials_do_not_replace_those_that_are_there(tmp_path: Path) -> None:
    """Those that are there have scores."""
    some = [{"candidate": "base", "fold": fold, "seed": 2} for fold in ("a", "b")]
    selection.write(tmp_path / "selection.json", {"format": selection.FORMAT, "experiment": "x", "finished": False,
                                                  "trials": some})
    mine = tmp_path / "out" / "base-a-seed2.json"
    mine.parent.mkdir()
    mine.write_text("mine")
    selection.restore(tmp_path / "selection.json", mine.parent)
    assert mine.read_text() == "mine"
    assert selection.read(mine.parent / "base-b-seed2.json") == {"format": selection.FORMAT, **some[1]}


def scored(scores: dict[str, float], made: list[tuple[str, int]]) -> Any:
    """`selection.run` without training: the accuracy of each candidate is known."""
    def run(trial: selection.Trial, out: Path) -> dict[str, Any]:
        name = trial.candidate.name
        made.append((name, int(trial.fold_name.removeprefix("part")) if "part" in trial.fold_name else trial.seed))
        return {"format": selection.FORMAT, "candidate": name, "change": "", "fold": trial.fold_name,
                "seed": trial.seed, "settings": trial.settings(), "commit": "", "parameters": 1, "train": 1,
                "seconds": 1.0, "measured": {key: {"accuracy": scores[name], "loss": 1.0}
                                             for key in selection.VARIANTS}}
    return run


@pytest.mark.parametrize(("words", "finished"), [([], True), (["--epochs", "3"], False), (["--folds", "2"], False),
                                                 (["--folds", "1"], False), (["--candidates", "base", "norm"], False)])
def test_the_rule_of_the_selection_on_digits(words: list[str], finished: bool, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    """All on the first fold, those that gain on the others, then the combination; finished without options alone.

    A candidate that takes twice the time is on the first fold alone, and in no combination.
    """
    made: list[tuple[str, int]] = []
    scores = {"base": 0.8, "norm": 0.7, "smooth": 0.9, "strong": 0.9, "wide": 0.95, "combined": 0.85}
    monkeypatch.setattr(mnist_selection, "CANDIDATES", tuple(one for one in mnist_selection.CANDIDATES
                                                             if one.name in scores))
    monkeypatch.setattr(selection, "run", scored(scores, made))
    assert mnist_selection.main(["--data", "digits", "--out", str(tmp_path), *words]) == 0
    folds = {"1": 1, "2": 2}.get(words[-1] if words else "", 3)
    later = range(1, folds)
    first = [(name, 0) for name in ("base", "norm", "smooth", "strong", "wide")[:2 if "norm" in words else 5]]
    kept = [(name, fold) for fold in later for name in ("base", "smooth", "strong") if (name, 0) in first]
    together = [("combined", fold) for fold in range(folds)] if folds > 1 and len(first) == 5 else []
    assert made == [*first, *kept, *together]
    found = selection.read(tmp_path / "selection.json")
    assert found["finished"] is finished and found["experiment"] == "mnist_selection"
    wanted = 3 if "--epochs" in words else mnist_selection.BASE.recipe.epochs
    assert {trial["settings"]["epochs"] for trial in found["trials"]} == {wanted}
    assert {trial["settings"].get("units", 128) for trial in found["trials"]
            if trial["candidate"] == "combined"} <= {128}


def test_one_change_that_gains_is_no_combination(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is a candidate that was tried."""
    made: list[tuple[str, int]] = []
    scores = dict.fromkeys((one.name for one in mnist_selection.CANDIDATES), 0.8) | {"smooth": 0.9, "combined": 0.95}
    monkeypatch.setattr(selection, "run", scored(scores, made))
    assert mnist_selection.main(["--data", "digits", "--out", str(tmp_path)]) == 0
    assert made == [*((one.name, 0) for one in mnist_selection.CANDIDATES),
                    *((name, fold) for fold in (1, 2) for name in ("base", "smooth"))]
    epochs = {trial["candidate"]: trial["settings"]["epochs"]
              for trial in selection.read(tmp_path / "selection.json")["trials"]}
    assert epochs == {one.name: 80 if one.name == "long" else 40 for one in mnist_selection.CANDIDATES}


def test_a_combination_that_does_not_gain_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """After its first fold."""
    made: list[tuple[str, int]] = []
    scores = {"base": 0.8, "smooth": 0.9, "strong": 0.9, "combined": 0.75}
    monkeypatch.setattr(mnist_selection, "CANDIDATES", tuple(one for one in mnist_selection.CANDIDATES
                                                             if one.name in scores))
    monkeypatch.setattr(selection, "run", scored(scores, made))
    assert mnist_selection.main(["--data", "digits", "--out", str(tmp_path)]) == 0
    assert [one for one in made if one[0] == "combined"] == [("combined", 0)]


def test_the_selection_on_digits_goes_on_from_the_trials_of_a_file(tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[str, int]] = []
    monkeypatch.setattr(mnist_selection, "CANDIDATES", mnist_selection.CANDIDATES[:2])
    monkeypatch.setattr(selection, "run", scored({"base": 0.8, "norm": 0.9, "combined": 0.9}, made))
    command = ["--data", "digits", "--folds", "1", "--out"]
    assert mnist_selection.main([*command, str(tmp_path / "begun")]) == 0
    assert made == [("base", 0), ("norm", 0)]
    made.clear()
    published = tmp_path / "begun" / "selection.json"
    assert mnist_selection.main([*command, str(tmp_path / "again"), "--begun", str(published)]) == 0
    assert made == [] and (tmp_path / "again" / "selection.json").read_text() == published.read_text()


@pytest.mark.parametrize(("words", "finished"), [
    ([], True), (["--epochs", "3"], False), (["--seeds", "2"], False), (["--side", "48"], False),
    (["--candidates", "base"], False)])
def test_the_selection_on_x_rays_is_finished_without_options_alone(words: list[str], finished: bool, tmp_path: Path,
                                                                   monkeypatch: pytest.MonkeyPatch,
                                                                   capsys: pytest.CaptureFixture[str]) -> None:
    """The test part plays no part in the choice. A candidate has its own number of epochs."""
    monkeypatch.setattr(xray_selection, "SIDE", 32)
    monkeypatch.setattr(xray_selection, "CANDIDATES", (xray_selection.BASE, xray_selection.CANDIDATES[-1]))
    monkeypatch.setattr(selection, "run", scored({"base": 0.8, "long": 0.7}, []))
    tn.data.write_chest_xray_stand_in(tmp_path / "chest_xray", train=20, test=4, size=32, seed=0)
    assert xray_selection.main(["--data", str(tmp_path), "--out", str(tmp_path / "out"), *words]) == 0
    found = selection.read(tmp_path / "out" / "selection.json")
    assert found["finished"] is finished
    assert {trial["candidate"]: trial["settings"]["epochs"] for trial in found["trials"]} == {
        name: 3 if "--epochs" in words else epochs for name, epochs in (("base", 20), ("long", 40))
        if (name, words[-1:]) != ("long", ["base"])}
    assert f"{tmp_path / 'chest_xray' / 'train'}: 20 images" in capsys.readouterr().out


# --- views of digits ------------------------------------------------------------------------------------------------

def bar(first: int, last: int, level: int = 255) -> np.ndarray:
    image = np.zeros((1, 28, 28), np.uint8)
    image[:, 4:24, first : last + 1] = level
    return image


def test_a_digit_that_is_right_already_stays() -> None:
    """To the bit: upright and in the middle, and of its width; ink begins at INK."""
    for width in (12, 20):
        whole = bar(14 - width // 2, 13 + width // 2)
        assert (views.upright(whole) == whole).all()
        assert (views.upright(whole[:, 2:26]) == whole[:, 2:26]).all(), "of 24 rows and 28 columns"
        assert (views.of_width(whole, width) == whole).all()
    faint = bar(8, 19, views.INK) + bar(5, 7, views.INK - 1)
    assert (views.of_width(faint, 12) == faint).all()
    assert (views.of_width(bar(8, 18), 11)[0, 10] > 0).sum() == 12, "moved by half a pixel"


def test_no_image_is_lost_between_chunks(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views, "CHUNK", 2)
    for count in (2, 5):
        assert views.in_chunks(lambda some: some[:2] + 1, np.arange(count)).tolist() == [*range(1, count + 1)]


def test_grey_levels_between_columns_are_rounded() -> None:
    row = np.array([[[0, 100, 200, 50]]], np.uint8)
    places = np.array([[[1.006, 1.004, 2.0, 3.499]]])
    assert views.columns_from(row, places).tolist() == [[[101, 100, 200, 25]]]


# --- reports --------------------------------------------------------------------------------------------------------

def test_images_of_other_data_are_not_drawn(monkeypatch: pytest.MonkeyPatch) -> None:
    small = tn.data.load_digits()
    own = dataclasses.replace(record(), fields={"data": {"stand_in": True}}, labels=small.test_labels)
    found = ciresan.test_images(own)
    assert found is not None and (found == small.test_images).all()
    assert ciresan.test_images(dataclasses.replace(own, labels=small.test_labels[::-1])) is None
    monkeypatch.setattr(tn.data, "find_mnist", lambda: None)
    real = dataclasses.replace(own, fields={"data": {"stand_in": False}})
    assert ciresan.test_images(real) is None
    monkeypatch.setattr(tn.data, "find_mnist", lambda: Path("there"))
    monkeypatch.setattr(tn.data, "load_mnist", lambda folder: dataclasses.replace(
        small, test_images=np.full_like(small.test_images, 7)) if folder == Path("there") else None)
    assert (ciresan.test_images(real) == 7).all()


def test_what_is_not_drawn_is_not_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def paint(path: Path) -> None:
        path.write_text("")

    drawn = {"a": figures.Drawing(paint, ""), "b": figures.Drawing(lambda path: None, "")}
    section = report.Section("", (), lambda runs: "", lambda runs: drawn)
    monkeypatch.setitem(report.SECTIONS, "mnist_deep", section)
    monkeypatch.setattr(figures, "available", lambda: True)
    assert report.draw("mnist_deep", {}, tmp_path) == [tmp_path / "a.png"]


def test_bands_reach_from_the_lowest_to_the_highest_run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    lines: list[Any] = []
    bands: list[Any] = []
    monkeypatch.setattr("matplotlib.axes.Axes.plot", lambda axes, x, y, **more: lines.append([*y]))
    monkeypatch.setattr("matplotlib.axes.Axes.fill_between",
                        lambda axes, x, low, high, **more: bands.append(([*x], [*low], [*high])))
    monkeypatch.setattr("matplotlib.axes.Axes.legend", lambda axes, **more: None)
    monkeypatch.setattr(figures, "save", lambda *arguments, **more: None)
    panel = figures.Panel("a", {"CNN": [[0.5, 0.75], [0.25, 0.75], [0.75, 0.25]]}, 1000)
    figures.curves(tmp_path / "a.png", [[panel]], title="a")
    assert lines.pop() == [50, pytest.approx(125 / 3)] and bands.pop() == ([1, 2], [25, 25], [75, 75])
    kinds = {"CNN": tuple(np.array(values) for values in ([0.5, 0.75], [0.25, 0.5], [0.75, 1.0]))}
    figures.against_size(tmp_path / "a.png", kinds, title="a")  # type: ignore[arg-type]
    assert lines == [[50, 75]] and bands == [([1, 2], [25, 50], [75, 100])]


def test_the_panels_of_error_curves() -> None:
    """Each of its own part and fold, and with its own number of images."""
    made = [records.checked(fields) for fields in everything(2) if fields["experiment"] == "idc_table2"]
    for run in made:
        shift = (run["seed"] + 1) / 100 + (run["fold"] == "9") / 10
        run["curves"]["train_accuracy"] = [0.5, 0.5 + shift]
        run["curves"]["validation_accuracy"] = [0.25, 0.25 + shift]
    drawing = curves.error_curves(made, title="IDC")
    rows = drawing.paint.keywords["rows"]  # type: ignore[attr-defined]
    assert [[panel.images for panel in row] for row in rows] == [[90, 10]] * 2
    assert [[panel.title for panel in row] for row in rows] == [
        [f"training, while learning, tested on patient {fold}", f"validation, tested on patient {fold}"]
        for fold in "89"]
    for row, shift in zip(rows, (0.0, 0.1), strict=True):
        for panel, base in zip(row, (0.5, 0.25), strict=True):
            assert list(panel.lines) == ["LSTM-CNN", "LSTM", "CNN"]
            assert panel.lines["CNN"] == [[base, base + 0.01 + shift], [base, base + 0.02 + shift]]
    assert ("after the last epoch the training, while learning error" not in drawing.caption
            and "the training error is 43.50 % (LSTM-CNN) to 43.50 %" in drawing.caption
            and "the validation error is 68.50 % (" in drawing.caption)
    two = curves.error_curves([run for run in made if run["model"] != "idc_cnn"], title="IDC")
    assert "the training error is 43.50 % (LSTM-CNN) to 43.50 % (LSTM" in two.caption


def test_each_panel_of_confusions_is_of_its_model_and_fold() -> None:
    made = [records.checked(fields) for fields in everything(2) if fields["experiment"] == "idc_table2"]
    keywords = idc.idc_figures({"idc_table2": made})["idc_table2_confusion"].paint.keywords  # type: ignore[attr-defined]
    assert list(keywords["panels"]) == [f"{name}, patient {fold}" for fold in "89"
                                        for name in ("LSTM-CNN", "LSTM", "CNN")]
    own = [run for run in made if (run["model"], run["fold"]) == ("idc_cnn", "9")]
    assert [one.tolist() for one in keywords["panels"]["CNN, patient 9"]] == [
        tn.metrics.confusion_matrix(run.labels, run.predicted, 2).tolist() for run in own]
    assert keywords["columns"] == 3 and keywords["classes"] == ["NORMAL (negative)", "PNEUMONIA (positive)"]


@pytest.mark.parametrize("seeds", [1, 2])
def test_the_figures_of_the_x_rays_are_of_all_seeds(seeds: int) -> None:
    """Each seed, and with several of them, the mean of their probabilities."""
    name = "pneumonia_cnn_lstm"
    made = [records.checked(invented(name, name, seed, wrong=0.1 + seed / 20, classes=2)) for seed in range(seeds)]
    drawn = xrays.pneumonia_figures({name: made})
    panels, roc = (drawn[f"pneumonia_{kind}"].paint.keywords for kind in ("confusion", "roc"))  # type: ignore[attr-defined]
    scores = np.mean([run.scores for run in made], axis=0)
    each = [tn.metrics.confusion_matrix(run.labels, run.predicted, 2).tolist() for run in made]
    shown = {title: [one.tolist() for one in some] for title, some in panels["panels"].items()}
    whole = tn.metrics.confusion_matrix(made[0].labels, scores > 0.5, 2).tolist()
    assert shown == ({"seed 0": each} if seeds == 1 else {"mean of the seeds": each, "all seeds together": [whole]})
    assert panels["columns"] == len(shown) and len(roc["seeds"]) == seeds
    assert all((one.scores == run.scores).all() for one, run in zip(roc["seeds"], made, strict=True))
    assert roc["together"] is None if seeds == 1 else np.allclose(roc["together"].scores, scores)
    captions = [drawn[f"pneumonia_{kind}"].caption for kind in ("confusion", "roc")]
    assert all(" for " + ("the network" if seeds == 1 else "all seeds together") + ", " in one for one in captions)
    assert captions[1].startswith("The rectangle" if seeds == 1 else "Thin: each seed; thick: the mean of ")


def test_a_band_is_from_the_lowest_to_the_highest() -> None:
    one = committees.Committee(*(np.array(values) for values in ([0], [0], [0.5, 0.6], [0.4, 0.6], [0.7, 0.6])))
    drawing = digits.against_size({"all": one}, "a title")
    mean, low, high = drawing.paint.keywords["kinds"]["all"]  # type: ignore[attr-defined]
    assert (mean.tolist(), low.tolist(), high.tolist()) == ([0.5, 0.6], [0.4, 0.6], [0.7, 0.6])
    assert "50.00 % with one network to 60.00 % with 2 (all)" in drawing.caption


@pytest.mark.parametrize(("second", "verdict"), [([0, 1], 0), ([5, 6], 1), ([0, 2], 0)])
def test_models_that_are_equal_with_each_seed(second: list[int], verdict: int) -> None:
    """Equal differences have no spread; one of 0 shows nothing."""
    labels = np.zeros(100, np.int64)

    def one(wrong: list[int]) -> dict[int, grouping.Pooled]:
        return {seed: grouping.Pooled(labels, (np.arange(100) < count).astype(np.int64), None)
                for seed, count in enumerate(wrong)}

    for names, sign in ((("a", "b"), 1), (("b", "a"), -1)):
        both = {"a": one([0, 1]), "b": one(second)}
        (found,) = pairs.compare({name: both[name] for name in names}).values()
        assert found.verdict == sign * verdict and found.wins == (0, 0)


def test_probabilities_are_packed_to_the_nearest_step() -> None:
    shares = np.linspace(0, 1, 5 * 60).reshape(-1, 5)
    found = records.unpack(records.pack(shares), shares.shape)
    assert np.abs(found - shares).max() <= 0.5 / 255 + 1e-12
    assert found[0, 0] == 0 and found[-1, -1] == 1
    with pytest.raises(ValueError, match="probabilities must be 59 x 5, and are not"):
        records.unpack(records.pack(shares), (59, 5))
    cut = base64.b64encode(base64.b64decode(records.pack(shares))[:-1]).decode()  # without the end of its check sum
    with pytest.raises(ValueError, match="probabilities must be 60 x 5, and are not"):
        records.unpack(cut, (60, 5))


def test_the_enlarged_corner_begins_at_a_share_of_its_own_width() -> None:
    """At 5 % of 0.2, a quarter of the positives are found; at 5 % of the whole, 85 %."""
    scores = np.repeat([0.9, 0.7, 0.3, 0.8, 0.4, 0.1], [25, 60, 15, 3, 17, 80])
    labels = np.repeat([1, 0], 100)
    assert figures.enlarged([figures.Ranked(labels, (scores > 0.5).astype(int), scores)]) == (0.2, 0.2)


@pytest.mark.parametrize(("name", "largest"), [("seed", 2**32 - 1), ("parameters", 2**53), ("seconds", 2.0**53),
                                               ("seconds", 0.0), ("curves", None), ("classes", None)])
def test_a_record_at_its_limits(name: str, largest: Any) -> None:
    fields = invented("mnist_table1", "cnn", 1, wrong=0.1)
    if name == "curves":
        fields["curves"]["train_accuracy"] = [0.0, 0.5, 1.0, 1]
    elif name == "classes":
        fields |= {"classes": ["a", "b"], "labels": "01" * (N // 2), "predicted": "01" * (N // 2),
                   "scores": [0.5000009, 0.5] * (N // 2), "threshold": 1}
        del fields["probabilities"]
    else:
        fields[name] = largest
    assert records.checked(fields).fields == fields
    if name == "seed":
        with pytest.raises(ValueError, match="the seed below"):
            records.checked({**fields, name: largest + 1})


def test_a_file_of_the_largest_size_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    records.write(tmp_path / "a.json", invented("mnist_table1", "cnn", 1, wrong=0.1))
    monkeypatch.setattr(records, "LARGEST", (tmp_path / "a.json").stat().st_size)
    assert records.read(tmp_path / "a.json")["seed"] == 1
    monkeypatch.setattr(records, "LARGEST", records.LARGEST - 1)
    with pytest.raises(tn.errors.DataError, match="it has more than"):
        records.read(tmp_path / "a.json")


def test_a_minute_is_a_minute() -> None:
    assert [tables.minutes(seconds) for seconds in (0.4, 59.0, 60.0, 90.0)] == ["0 s", "59 s", "1.0 min", "1.5 min"]


# --- the LSTM by hand -----------------------------------------------------------------------------------------------

def test_the_mask_of_an_untrained_lstm_keeps_the_mean() -> None:
    net = lstm_by_hand.untrained(2, 400, 3, seed=0)
    assert {round(value, 6) for value in np.unique(net.m)} == {0.0, round(1 / 0.75, 6)}
    assert net.m.mean() == pytest.approx(1, abs=0.1) and net.h0.std() == pytest.approx(0.5, rel=0.1)
    assert net.C0.std() == pytest.approx(0.5, rel=0.1) and not np.array_equal(net.h0, net.C0)


@pytest.mark.parametrize(("inputs", "classes", "lstm", "bias"), [
    (27, 10, {}, True), (28, 9, {}, True), (28, 10, {"bias": False}, True), (28, 10, {}, False),
    (28, 10, {"go_backwards": True}, True), (28, 10, {"return_sequences": True}, True), (28, 10, {}, True)], ids=str)
def test_a_model_that_the_page_cannot_repeat_is_refused(inputs: int, classes: int, lstm: dict[str, bool], bias: bool,
                                                        tmp_path: Path) -> None:
    """Of other sizes, without a bias, or that reads another way; the last one is right."""
    net = tn.nn.Sequential(tn.nn.LSTM(inputs, 3, **{"return_sequences": False, **lstm}),
                           tn.nn.Dense(3, classes, bias=bias))
    tn.save(tmp_path / "a.safetensors", net)
    if (inputs, classes, lstm, bias) == (28, 10, {}, True):
        assert lstm_by_hand.trained(tmp_path / "a.safetensors", 28, 10).c.shape == (1, 10)
        return
    with pytest.raises(tn.errors.ArgumentError, match="must be an LSTM of 28 inputs, then a Dense layer of 10 "):
        lstm_by_hand.trained(tmp_path / "a.safetensors", 28, 10)


def test_the_largest_error_has_a_scale_for_each_time() -> None:
    assert lstm_by_hand.largest_error(np.array([[1.0, 0.5], [1e-9, 2e-9]]), np.array([[1.0, 0.5], [1e-9, 1e-9]])) == 0.5
    assert lstm_by_hand.largest_error(np.zeros((2, 3)), np.zeros((2, 3))) == 0


def test_the_shades_of_a_digit(capsys: pytest.CaptureFixture[str]) -> None:
    """From white to black, in equal parts."""
    step = SimpleNamespace(**dict.fromkeys(("f", "i", "Ctilde", "o", "C", "h"), np.zeros((1, 2))))
    lstm_by_hand.show_forward(np.array([[0, 25, 26, 128, 230, 231, 255]]), [step])
    assert capsys.readouterr().out.splitlines()[2].startswith(" 1   .+%@@ ")


def test_each_panel_of_the_picture_shows_its_quantity(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    figure = pytest.importorskip("matplotlib.figure")
    kept: list[Any] = []

    def savefig(self: Any, path: Path, **more: Any) -> None:
        kept.append(self)
        Path(path).write_bytes(b"")

    monkeypatch.setattr(figure.Figure, "savefig", savefig)
    net = lstm_by_hand.untrained(3, 2, 10, seed=0)
    image = np.arange(12, dtype=np.uint8).reshape(4, 3)
    _, steps = lstm_by_hand.forward(net, image / 255, 1)
    chain = lstm_by_hand.go_back(net, 1, steps, None)
    lstm_by_hand.draw(tmp_path / "a.png", "a title", image, steps, chain, chain, "carry")
    shown = [np.asarray(axes.images[0].get_array()) for axes in kept[0].axes[:12]]
    expected = [image, *(np.concatenate([getattr(step, name) for step in steps])
                         for name in ("f", "i", "Ctilde", "o", "C", "h")),
                np.abs(np.concatenate([chain["C", t] for t in (1, 2, 3, 4)])),
                np.abs(np.concatenate([chain["h", 1], chain["h", 2], chain["h", 3], chain["last h", 4]]))]
    for one, values in zip(shown, [*expected, *[0.0] * 3], strict=True):
        np.testing.assert_array_equal(one, np.broadcast_to(values, one.shape))


# --- vowels and small scripts ---------------------------------------------------------------------------------------

def test_an_utterance_of_the_most_steps_and_a_file_of_the_most_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                                    ) -> None:
    text = "@data\n" + (",".join("1" * 1000) + ":") * 12 + "9\n"
    (tmp_path / "JapaneseVowels_TEST.ts").write_bytes(text.encode())
    monkeypatch.setattr(vowels_data, "MOST_BYTES", len(text))
    (one,), speakers = vowels_data.read_part(tmp_path, "TEST")
    assert one.shape == (1000, 12) and speakers.tolist() == [8]
    monkeypatch.setattr(vowels_data, "MOST_BYTES", len(text) - 1)
    with zipfile.ZipFile(tmp_path / "a.whl", "w") as archive:
        archive.write(tmp_path / "JapaneseVowels_TEST.ts")
    for source in (tmp_path, tmp_path / "a.whl"):
        with pytest.raises(tn.errors.DataError, match="must have at most"):
            vowels_data.read_part(source, "TEST")


def test_channels_are_columns() -> None:
    (one,), _ = vowels_data.parse("@data\n" + ":".join(f"{k},{k + 0.5}" for k in range(12)) + ":1", "a.ts")
    assert one.tolist() == [list(range(12)), [k + 0.5 for k in range(12)]]


def test_the_page_of_vowels_counts_and_ends_at_100(tmp_path: Path) -> None:
    """Sums over seeds of the wrong ones, means of the losses, and an interval of shares."""
    recipe = dataclasses.asdict(vowels.CANDIDATES[vowels.CHOSEN])
    for seed, wrong in enumerate((0, 0, 0, 1, 0)):
        (tmp_path / f"{vowels.CHOSEN}-seed{seed}.json").write_text(json.dumps(
            {"wrong": wrong, "utterances": 50, "loss": 0.5, "recipe": recipe}))
    for seed, (wrong, loss) in enumerate(((3, 0.25), (5, 0.75))):
        (tmp_path / f"cv-plain-seed{seed}.json").write_text(json.dumps(
            {"wrong": wrong, "utterances": 270, "loss": loss}))
    text = vowels.report(tmp_path)
    half = 2.7764 * 2 / 5**0.5 * 5**-0.5  # 2.7764 is Student's t; the deviation is 2 / sqrt(5)
    assert f"| **99.60** ({99.6 - half:.2f} to 100.00) |" in text
    assert "The seeds alone: 100.00, 100.00, 100.00, 98.00, 100.00." in text
    assert "| plain | as usual | 8 of 540 | 0.500 |" in text and "50 to test" in text
    (tmp_path / f"{vowels.CHOSEN}-seed4.json").write_text(json.dumps(
        {"wrong": 0, "utterances": 50, "loss": 0.5, "recipe": {**recipe, "units": 65}}))
    with pytest.raises(tn.errors.DataError, match="must hold the runs of 5 seeds with the recipe"):
        vowels.report(tmp_path)
    (tmp_path / f"{vowels.CHOSEN}-seed4.json").write_text("{")
    with pytest.raises(tn.errors.DataError, match=r"seed4.* must be the JSON file of a run, and cannot be read"):
        vowels.report(tmp_path)


def test_a_small_set_counts_half_as_much_as_the_largest(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    asked: list[Any] = []

    def fit(model: Any, optimizer: Any, train: Any, **more: Any) -> Any:
        asked.append(train)
        raise Trained

    def load(name: str) -> Any:
        count, level = {"large": (40, 51), "small": (9, 255)}[name]
        return SimpleNamespace(train_images=np.full((count, 28, 28), level, np.uint8),
                               train_labels=np.zeros(count, np.int64)), ""

    monkeypatch.setattr(tn, "fit", fit)
    monkeypatch.setattr(tn.data, "load", load)
    with pytest.raises(Trained):
        train_small_lstm.main(["--data", "small", "large", "--out", str(tmp_path / "a")])
    x = asked[0].arrays[0]
    np.testing.assert_allclose(sorted(x[:, 0, 0]), [0.2] * 40 + [1.0] * 18, rtol=1e-6)


# --- reliability ----------------------------------------------------------------------------------------------------

def test_noise_has_all_levels(monkeypatch: pytest.MonkeyPatch) -> None:
    shown: list[Any] = []
    monkeypatch.setattr(reliability, "STRANGE", 4)
    monkeypatch.setattr(reliability, "Classifier", lambda model: SimpleNamespace(size=(8, 8)))
    monkeypatch.setattr(reliability, "resized", lambda some, size: shown.append(some))
    monkeypatch.setattr(reliability, "share_unlike", lambda model, pixels: 0.0)
    folder = SimpleNamespace(images=lambda size: None, part_of=np.array(["test"]), select=lambda rows: folder)
    monkeypatch.setattr(tn.data, "scan_folder", lambda path: folder)
    monkeypatch.setattr(tn.data, "load", lambda place: [SimpleNamespace(test_images=TEST)])
    reliability.unlike_xrays(None, Path("a"), Path("root"))  # type: ignore[arg-type]
    colour, grey = np.array(shown[0][:2]), np.array(shown[0][2:])
    assert np.bincount(colour.reshape(-1), minlength=256).min() > 900, "of 1,176 for each level"
    assert grey.mean() == pytest.approx(122, abs=1) and grey.std() == pytest.approx(54, abs=2)


def test_places_count_by_their_mean() -> None:
    """Covering what is marked lowers the probability more than most places, and less than one that matters more."""
    weights = np.zeros((10, 10, 2), "float32")
    weights[2, :, 1], weights[7, :, 1] = 1, 1.5
    net = tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(100, 2), input_shape=(10, 10, 1))
    net[1].load_state_dict({"W": weights.reshape(100, 2), "b": np.zeros(2, "float32")})
    x = np.zeros((8, 10, 10, 1), "float32")
    x[:, [2, 7]] = 1
    maps = np.zeros((8, 10, 10))
    maps[:, 2] = 1
    assert reliability.falls(net, x, maps).all()


def test_pictures_are_resized_to_height_and_width() -> None:
    wide = np.zeros((6, 20), np.uint8) + np.arange(20, dtype=np.uint8) * 10
    small = reliability.resized([wide, images(7)[0, :, :, 0]], (3, 5))
    assert small.shape == (2, 3, 5, 3) and (np.diff(small[0, 0, :, 0].astype(int)) > 0).all()
    assert (small[1] == 7).all() and (small[..., 0] == small[..., 2]).all()
