"""The choice of a recipe: candidates on folds, random changes of grey levels, means over epochs and views."""

import doctest
import json
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.errors import DataError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import mnist_deep_selected  # noqa: E402
import mnist_selection  # noqa: E402
import pneumonia_selected  # noqa: E402
import results  # noqa: E402
import xray_selection  # noqa: E402
from paper import appearance, experiment, nets, selection, training  # noqa: E402
from paper.appearance import Appearance  # noqa: E402
from paper.reporting import records  # noqa: E402
from paper.selection import Trial  # noqa: E402


@pytest.mark.parametrize("module", [appearance, selection, xray_selection])
def test_examples_in_the_texts(module: ModuleType) -> None:
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


# --- appearance -----------------------------------------------------------------------------------------------------

def pictures(count: int = 4, side: int = 12) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 200, (count, side, side, 3)).astype(np.uint8)


@pytest.mark.parametrize("options", [{"gamma": 1.0}, {"equalise": 1.0}, {"blur": 1.0}, {"cut": 0.5},
                                     {"gamma": 1.0, "equalise": 1.0, "blur": 1.0, "cut": 0.5}], ids=str)
def test_changes_depend_on_seed_epoch_and_index_alone(options: dict[str, float]) -> None:
    change, images = Appearance(**options), pictures()
    whole = change(images, np.arange(4), 3, 7)
    assert whole.dtype == np.uint8 and whole.shape == images.shape
    assert (change(images[2:], np.array([2, 3]), 3, 7) == whole[2:]).all()
    for epoch, seed in ((4, 7), (3, 8)):
        assert (change(images, np.arange(4), epoch, seed) != whole).any()
    assert (Appearance()(images, np.arange(4), 0, 0) == images).all()


def test_grey_levels_keep_their_order() -> None:
    ramp = np.arange(256, dtype=np.uint8).reshape(1, 16, 16)
    for number in range(5):
        changed = Appearance(gamma=2.0, equalise=1.0)(ramp, np.array([number]), 0, 0).reshape(-1).astype(int)
        assert (np.diff(changed) >= 0).all() and changed[-1] == 255


def test_an_equalised_image_has_equal_shares_of_all_levels() -> None:
    image = (np.arange(1024) // 8).reshape(1, 32, 32).astype(np.uint8)  # dark: 128 levels, 8 pixels each
    change = Appearance(equalise=1.0)
    levels = change._levels(image[0], np.array([0.5, 1.0]))
    assert (levels.reshape(-1) == np.rint(255 * (image.reshape(-1) + 1.0) / 128)).all()


def test_the_blur_is_the_binomial_filter() -> None:
    image = np.zeros((9, 9), np.uint8)
    image[4, 4] = 255
    row = np.array([1, 4, 6, 4, 1]) / 16
    expected = np.zeros((9, 9))
    expected[2:7, 2:7] = np.rint(255 * np.outer(row, row))
    assert np.abs(Appearance(blur=1.0)._blurred(image, 1.0) - expected).max() <= 1
    flat = np.full((9, 9), 77, np.uint8)
    assert (Appearance(blur=1.0)._blurred(flat, 0.7) == 77).all()


def test_the_square_is_the_mean_of_the_image() -> None:
    image = pictures(1, 10)[0]
    changed = Appearance(cut=0.5)._cut(image, np.array([0.8, 0.999, 0.0]))  # 4 of 10 pixels, at the lower left
    assert (changed[6:, :4] == round(float(image.mean()))).all()
    changed[6:, :4] = image[6:, :4]
    assert (changed == image).all()


def test_options_go_to_their_change() -> None:
    assert appearance.augmentation({}) is None
    assert appearance.augmentation({"rotate": 3.0}) == tn.data.Augment(rotate=3.0)
    assert appearance.augmentation({"cut": 0.1}) == Appearance(cut=0.1)
    both = appearance.augmentation({"rotate": 20.0, "gamma": 1.0})
    assert both is not None
    images, index = pictures(), np.arange(4)
    turned = tn.data.Augment(rotate=20.0)(images, index, 2, 5)
    assert (both(images, index, 2, 5) == Appearance(gamma=1.0)(turned, index, 2, 5)).all()


# --- means over epochs and views --------------------------------------------------------------------------------------

def small(**recipe: Any) -> tuple[tn.nn.Sequential, tuple[np.ndarray, np.ndarray], training.Recipe]:
    tn.seed(0)
    model = tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(432, 4), tn.nn.BatchNorm(4), tn.nn.Dense(4, 2))
    return model, (pictures(24), np.arange(24) % 2), training.Recipe(epochs=4, batch_size=8, **recipe)


def states(path: Path, **options: Any) -> tuple[tn.nn.Module, list[dict[str, np.ndarray]]]:
    """A trained model, and its states after each epoch."""
    seen = list[Any]()

    class Keep(tn.callbacks.Callback):
        def on_epoch(self, run: tn.callbacks.Run) -> None:
            seen.append(run.model.state_dict())

    model, part, recipe = small(average=2)
    training.fit(model, training.loader(part, recipe, tn.nn.Scaling(), training=True), recipe, checkpoint=path,
                 callbacks=[Keep()], show=False, **options)
    return model, seen


def test_the_weights_are_the_mean_of_the_last_epochs(tmp_path: Path) -> None:
    model, seen = states(tmp_path / "run.checkpoint")
    assert len(seen) == 4
    for name, value in model.state_dict().items():
        if value.dtype.kind == "f":
            assert np.allclose(value, (seen[2][name] + seen[3][name]) / 2, atol=1e-7)
        else:
            assert value == seen[3][name]


def test_the_mean_of_a_run_that_ended_is_the_same_when_it_is_resumed(tmp_path: Path) -> None:
    first, _ = states(tmp_path / "run.checkpoint")
    again, seen = states(tmp_path / "run.checkpoint", resume=True)
    assert not seen
    assert all((value == again.state_dict()[name]).all() for name, value in first.state_dict().items())


def test_probabilities_are_the_mean_over_views() -> None:
    model, part, recipe = small(augment={"shift": 0.3, "gamma": 1.0}, views=2)
    training.fit(model, training.loader(part, recipe, tn.nn.Scaling(), training=True), recipe, show=False)
    found = training.probabilities(model, part, recipe, tn.nn.Scaling())
    change = appearance.augmentation(recipe.augment)
    assert change is not None
    shown = [part[0], *(change(part[0], np.arange(24), view, training.VIEWS_SEED) for view in range(2))]
    expected = [training.softmax(tn.predict(model, tn.nn.Scaling()(images))) for images in shown]
    assert np.allclose(found, np.mean(expected, axis=0), atol=1e-6)
    assert np.allclose(found.sum(axis=1), 1)


def test_older_records_have_the_settings_of_a_recipe_without_means() -> None:
    assert list(training.Recipe(epochs=3).settings()) == ["epochs", "batch_size", "peak", "weight_decay",
                                                          "label_smoothing", "max_norm", "augment"]
    assert training.Recipe(epochs=3, views=2).settings()["views"] == 2


# --- networks -------------------------------------------------------------------------------------------------------

def test_without_options_the_network_is_that_of_the_project() -> None:
    ours, theirs = nets.xray_net(size=32), tn.models.pneumonia_cnn_lstm(size=32)
    assert [repr(layer) for layer in ours] == [repr(layer) for layer in theirs]
    wide = nets.xray_net(size=32, width=0.5, norm=True, dropout=0.5, standard=True)
    assert wide(tn.Tensor(np.zeros((2, 32, 32, 3), "float32"))).shape == (2, 2)
    assert sum("BatchNorm" in repr(layer) for layer in wide) == 4


def test_an_image_is_standardised() -> None:
    image = np.random.default_rng(1).uniform(2, 5, (2, 8, 8, 3)).astype("float32")
    out = nets.Standardise()(tn.Tensor(image)).numpy()
    assert np.allclose(out.mean(axis=(1, 2, 3)), 0, atol=1e-5) and np.allclose(out.std(axis=(1, 2, 3)), 1, atol=1e-3)
    mean, deviation = (getattr(image, name)(axis=(1, 2, 3), keepdims=True) for name in ("mean", "std"))
    assert np.allclose(out, (image - mean) / deviation, atol=1e-3)


# --- measures -------------------------------------------------------------------------------------------------------

def test_a_prior_that_is_estimated() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.uniform(size=20_000) < 0.8).astype(int)
    x = rng.normal(size=20_000) + 2 * labels  # log odds with equal classes: 2 x - 2
    scores = 1 / (1 + np.exp(2 - 2 * x))
    assert training.estimated_prior(scores, 0.5) == pytest.approx(0.8, abs=0.01)
    right = [((training.corrected(scores, 0.5, prior) > 0.5) == labels).mean() for prior in (0.5, 0.8)]
    assert right[1] > right[0] + 0.02
    assert tn.metrics.calibration_error(labels, training.corrected(scores, 0.5, 0.8)) < 0.01


def test_the_measures_of_a_fold() -> None:
    labels = np.array([0, 0, 0, 1, 1])
    fold = selection.Fold((None, np.array([0, 1, 1, 1])), (None, labels))
    scores = np.array([0.1, 0.7, 0.8, 0.6, 0.9])
    found = selection.measures(fold, np.stack([1 - scores, scores], axis=1))
    assert (found["trained accuracy"], found["trained balanced accuracy"]) == (0.6, round(2 / 3, 6))
    assert (found["accuracy"], found["sensitivity"], found["specificity"]) == (0.6, 0.5, round(2 / 3, 6))  # above 0.75
    assert found["AUC"] == round(4 / 6, 6)
    assert selection.score({"balanced accuracy": 0.5, "AUC": 0.75}) == 0.625


# --- the script -----------------------------------------------------------------------------------------------------

def test_the_selection(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--data", "stand-in", "--epochs", "1", "--side", "32", "--seeds", "1", "--candidates", "base", "gamma",
               "--out", str(tmp_path)]
    assert xray_selection.main(command) == 0
    text, printed = (tmp_path / "selection.md").read_text(), capsys.readouterr().out
    assert "trial 8 of 8: gamma-NORMAL2_virus-seed0" in printed and text in printed
    made = json.loads((tmp_path / "selection.json").read_text())
    assert len(made["trials"]) == 8 and selection.markdown(made["trials"]) == text
    row, = (line for line in text.splitlines() if line.startswith("| base | the recipe of pneumonia_cnn_lstm.py | "))
    assert "| 110,050 | 4 |" in row and row.endswith(" | +0.00 ± 0.00 |")
    assert not list(tmp_path.glob("*.npz"))
    stamps = {path: path.stat().st_mtime_ns for path in tmp_path.glob("*-seed0.json")}
    gone = tmp_path / "gamma-IM_virus-seed0.json"
    before = json.loads(gone.read_text())
    gone.unlink()
    assert xray_selection.main(command) == 0
    assert {path for path, stamp in stamps.items() if path.stat().st_mtime_ns != stamp} == {gone}
    assert json.loads(gone.read_text())["scores"] == before["scores"]
    (tmp_path / "results").mkdir()
    for path in (EXAMPLES / "results").glob("mnist_deep-*.json"):
        (tmp_path / "results" / path.name).write_bytes(path.read_bytes())
    published = ["--results", str(tmp_path / "results"), "--out", str(tmp_path / "published")]
    assert results.main([*published, "--add", str(tmp_path)]) == 0 and results.main(published) == 0
    whole = (tmp_path / "published" / "RESULTS.md").read_text()
    assert ("## The choice of the recipe for chest X-rays\n\nMade by `python examples/xray_selection.py`, which says "
            "the rule of the choice. **It is not finished, and has chosen nothing yet.**\n\n") in whole
    assert text.strip() in whole
    (tmp_path / "selection.json").write_text(json.dumps({**made, "experiment": "../x"}))
    assert results.main([*published, "--add", str(tmp_path)]) == 1
    assert "must hold the trials of one of xray_selection and mnist_selection" in capsys.readouterr().err
    assert xray_selection.main([*command[:3], "2", *command[4:]]) == 1
    assert "must be of this candidate, and has other settings" in capsys.readouterr().err


def test_the_folds_share_no_number_and_no_kind(tmp_path: Path) -> None:
    tn.data.write_chest_xray_stand_in(tmp_path / "x", train=80, test=4, size=32, seed=0)
    both = tmp_path / "x" / "train" / "NORMAL" / "NORMAL2-IM-0001-0009.jpeg"  # number 1 is one of IM, too
    both.write_bytes((tmp_path / "x" / "train" / "NORMAL" / "IM-0001-0001.jpeg").read_bytes())
    scanned = tn.data.scan_folder(tmp_path / "x" / "train")
    kinds = np.array([xray_selection.kind_of(name) for name in scanned.names])
    assert len(scanned) == 81
    fold = xray_selection.fold(scanned, lambda side: scanned.images(side).in_memory(), kinds, "IM", "virus", side=32)
    counts = {kind: int((kinds == kind).sum()) for kind in ("IM", "NORMAL2", "bacteria", "virus")}
    assert np.bincount(fold.train[1]).tolist() == [counts["IM"], counts["virus"]]
    assert np.bincount(fold.validation[1]).tolist() == [counts["NORMAL2"] - 1, counts["bacteria"]]
    shared = {image.tobytes() for image in fold.train[0]} & {image.tobytes() for image in fold.validation[0]}
    assert not shared


def test_an_image_of_no_kind() -> None:
    with pytest.raises(DataError, match=r"NORMAL/1.jpeg must name its kind"):
        xray_selection.kind_of("NORMAL/1.jpeg")


def test_a_file_that_is_no_trial(tmp_path: Path) -> None:
    for content in ("{}", "no json", "[]"):
        (tmp_path / "a-b-seed0.json").write_text(content)
        with pytest.raises(DataError, match="must be the file of a trial"):
            selection.report("xray_selection", tmp_path)


def test_the_selection_on_digits(tmp_path: Path) -> None:
    command = ["--data", "digits", "--epochs", "1", "--folds", "1", "--candidates", "base", "norm", "--out",
               str(tmp_path)]
    assert mnist_selection.main(command) == 0
    text = (tmp_path / "selection.md").read_text()
    assert "| candidate | change | parameters | trials | accuracy | loss | score | gain |" in text
    assert "| base | the recipe of mnist_deep.py | 369,868 | 1 |" in text and "prior" not in text
    found = json.loads((tmp_path / "base-part0-seed0.json").read_text())
    labels = np.array([int(one) for one in found["labels"]])
    said = records.unpack(found["scores"]["last"], (len(labels), 10)).argmax(axis=1)
    assert found["measured"]["last"]["accuracy"] == pytest.approx((said == labels).mean(), abs=0.01)  # but for ties


def test_without_options_the_deep_network_is_that_of_the_paper() -> None:
    ours, theirs = nets.deep_net(), tn.models.deep_lstm_cnn()
    assert [repr(layer) for layer in ours] == [repr(layer) for layer in theirs]
    assert [repr(layer) for layer in nets.deep_net(blocks=1, norm=True)].count("BatchNorm(features=64)") == 1


def test_the_first_fold_of_digits_is_that_of_the_experiments() -> None:
    options = experiment.parse(experiment.parser("x", "", data=""), ["--data", "digits"])
    data, fold = experiment.mnist(options), mnist_selection.fold(tn.data.load_digits(), 0)
    assert (fold.train[0] == data.train[0]).all() and (fold.validation[1] == data.validation[1]).all()
    other = mnist_selection.fold(tn.data.load_digits(), 1)
    assert not np.array_equal(other.validation[0], fold.validation[0])


def trials(**scores: list[float]) -> list[dict[str, Any]]:
    """Invented trials of candidates, one for each fold, with these accuracies."""
    return [{"candidate": name, "fold": str(fold), "seed": 0, "measured": {"last": {"accuracy": value}}}
            for name, values in scores.items() for fold, value in enumerate(values)]


def test_the_changes_that_gain_are_combined() -> None:
    change, base = xray_selection.BASE.changed, xray_selection.BASE.recipe
    candidates = [change("base", ""), change("gamma", "", augment={"gamma": 0.5}),
                  change("norm", "", net={"norm": True}),
                  change("wide", "", net={"width": 2.0}), change("narrow", "", net={"width": 0.5}),
                  change("cut", "", augment={"cut": 0.1, "shift": 0.5}, label_smoothing=0.2)]
    found = trials(base=[0.8, 0.7, 0.6], gamma=[0.82, 0.72, 0.62], norm=[0.9, 0.6, 0.61], wide=[0.85, 0.76, 0.65],
                   narrow=[0.81, 0.71, 0.61], cut=[0.83, 0.74, 0.63])
    best = selection.combined(candidates, found)
    assert best is not None and best.change == "narrow, gamma, cut and wide"  # norm gains less than its error
    assert best.net == {"width": 2.0}  # that of the higher gain
    assert best.recipe.augment == {**base.augment, "gamma": 0.5, "cut": 0.1, "shift": 0.5}
    assert best.recipe.label_smoothing == 0.2 and best.recipe.peak == base.peak
    assert selection.combined(candidates, trials(base=[0.8, 0.7], gamma=[0.8, 0.6])) is None


@pytest.mark.parametrize("script", [mnist_selection, xray_selection], ids=lambda script: script.__name__)
def test_the_published_trials_are_those_of_the_candidates(script: Any) -> None:
    """But for the combination, which depends on the trials."""
    expected = {one.name: json.loads(json.dumps(Trial(one, None, None, "", 0).settings()))  # type: ignore[arg-type]
                for one in script.CANDIDATES}
    path = EXAMPLES / "results" / "selection" / f"{script.EXPERIMENT}.json"
    trials = [one for one in json.loads(path.read_text())["trials"] if not one["candidate"].startswith("combined")]
    assert {one["candidate"] for one in trials} == {*expected}
    for one in trials:
        assert {**one["settings"], **expected[one["candidate"]]} == one["settings"], "size is that of the images"


def test_the_rule_of_halving(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scores = {"base": 0.80, "norm": 0.79, "gamma": 0.82, "combined": 0.83, "combined_160": 0.85, "combined_224": 0.84}
    made = list[tuple[str, int]]()

    def run(trial: selection.Trial, out: Path) -> dict[str, Any]:
        name = trial.candidate.name
        made.append((name, trial.seed))
        return {"format": selection.FORMAT, "candidate": name, "change": "", "fold": trial.fold_name,
                "seed": trial.seed, "settings": trial.settings(), "commit": "", "parameters": 1, "train": 1,
                "seconds": 1.0, "measured": {key: {"accuracy": scores[name]} for key in selection.VARIANTS}}

    monkeypatch.setattr(selection, "run", run)
    monkeypatch.setattr(xray_selection, "CANDIDATES", xray_selection.CANDIDATES[:3])
    command = ["--data", "stand-in", "--side", "32", "--out"]
    assert xray_selection.main([*command, str(tmp_path / "all")]) == 0
    first = [("base", 0), ("norm", 0), ("gamma", 0)]
    others = [(name, seed) for seed in (1, 2) for name in ("base", "gamma")]  # norm does not gain
    together = [("combined", 0), ("combined_160", 0), ("combined_224", 0), ("combined_160", 1), ("combined_160", 2)]
    assert made == [one for one in [*first, *others, *together] for _ in range(4)]
    whole = selection.read(tmp_path / "all" / "selection.json")
    assert not whole["finished"]  # another side
    assert selection.chosen(whole["trials"]).net == {"size": 160}
    selection.write(tmp_path / "begun.json", {**whole, "trials": whole["trials"][:13]})
    made.clear()
    assert xray_selection.main([*command, str(tmp_path / "again"), "--begun", str(tmp_path / "begun.json")]) == 0
    assert len(made) == 4 * 12 - 13
    assert selection.read(tmp_path / "again" / "selection.json")["trials"] == whole["trials"]


def test_the_combination_is_tried_on_larger_images(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xray_selection, "CANDIDATES", xray_selection.CANDIDATES[:2])
    monkeypatch.setattr(xray_selection, "LARGER", (48,))
    monkeypatch.setattr(selection, "combined", lambda candidates, trials: selection.Candidate(
        "combined", "all", candidates[1].recipe, {"size": 32, "norm": True}))
    assert xray_selection.main(["--data", "stand-in", "--epochs", "1", "--side", "32", "--seeds", "1", "--out",
                                str(tmp_path)]) == 0
    made = selection.read(tmp_path / "selection.json")["trials"]
    assert [sum(trial["candidate"] == name for trial in made) for name in
            ("base", "norm", "combined", "combined_48")] == [4] * 4
    parameters = {trial["candidate"]: trial["parameters"] for trial in made}
    assert parameters["norm"] == parameters["combined"] < parameters["combined_48"]


def measured(accuracy: float, prior: float = 0.0) -> dict[str, float]:
    return {"accuracy": accuracy, "balanced accuracy": accuracy, "AUC": accuracy,
            "estimated balanced accuracy": accuracy + prior}


def test_the_best_candidate_is_chosen_with_the_means_that_gain() -> None:
    candidates = {one.name: one for one in xray_selection.CANDIDATES}
    made = []
    for name, last, views in (("base", 0.8, 0.9), ("gamma", 0.85, 0.84), ("long", 0.84, 0.99)):
        for fold in ("a", "b"):
            trial = selection.Trial(candidates[name], nets.xray_net, lambda: None, fold, 0)  # type: ignore[arg-type]
            made.append({"candidate": name, "change": "", "fold": fold, "seed": 0, "settings": trial.settings(),
                         "measured": {"last": measured(last), "views": measured(views), "average": measured(0.86),
                                      "average, views": measured(0.8)}})
    best = selection.chosen(made)
    assert (best.name, best.net) == ("gamma", {})
    assert (best.recipe.average, best.recipe.views, best.recipe.estimate_prior) == (selection.AVERAGE, 0, False)
    assert best.recipe.augment == {**xray_selection.BASE.recipe.augment, "gamma": 1.0}
    for trial in made:
        trial["measured"]["average"] = measured(0.86, prior=0.01)
    assert selection.chosen(made).recipe.estimate_prior
    assert selection.chosen(made[:3]).name == "base"  # gamma has one fold only
    with pytest.raises(DataError, match="there must be trials of the candidate base"):
        selection.chosen(made[4:])


def test_the_deep_recipe_that_was_chosen_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(mnist_deep_selected, "TRIALS", tmp_path / "trials.json")
    command = ["--data", "digits", "--limit", "64", "--epochs", "2", "--seed", "1", "--out", str(tmp_path / "out")]
    assert mnist_deep_selected.main(command) == 1
    assert "must hold all trials of mnist_selection.py, and is not there" in capsys.readouterr().err
    made = []
    for one, accuracy in zip(mnist_selection.CANDIDATES[:2], (0.9, 0.92), strict=True):
        trial = selection.Trial(one, nets.deep_net, lambda: None, "part0", 0)  # type: ignore[arg-type]
        variants = {variant: {"accuracy": accuracy + (variant == "average") / 100, "loss": 0.1}
                    for variant in selection.VARIANTS}
        made.append({"candidate": one.name, "change": "", "fold": "part0", "seed": 0, "settings": trial.settings(),
                     "measured": variants})
    selection.write(tmp_path / "trials.json", {"format": selection.FORMAT, "experiment": "mnist_selection",
                                               "finished": True, "trials": made})
    assert mnist_deep_selected.main(command) == 0
    run = records.read(tmp_path / "out" / "deep_net-seed1.json")
    assert run["settings"]["average"] == 5 and "views" not in run["settings"] and run.probabilities is not None
    assert run["parameters"] == 369_868 + 3 * 2 * 64  # batch normalisation
    assert ">= 99.6: not reached" in (tmp_path / "out" / "results.md").read_text()


def test_the_recipe_that_was_chosen_is_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    recipe = {**xray_selection.BASE.recipe.settings(), "average": 0, "views": 0, "augment": {"gamma": 0.5}}
    variants = {variant: measured(0.8 + 0.1 * (variant == "average, views"), prior=0.01)
                for variant in selection.VARIANTS}
    trial = {"candidate": "base", "change": "", "fold": "a", "seed": 0, "measured": variants,
             "settings": {**recipe, "norm": True, "size": 48}}
    monkeypatch.setattr(pneumonia_selected, "TRIALS", tmp_path / "trials.json")
    command = ["--data", "stand-in", "--epochs", "6", "--seed", "3", "--out", str(tmp_path / "out")]
    assert pneumonia_selected.main(command) == 1
    assert "must hold all trials of xray_selection.py, and is not there" in capsys.readouterr().err
    for finished in (False, True):
        selection.write(tmp_path / "trials.json", {"format": selection.FORMAT, "experiment": "xray_selection",
                                                   "finished": finished, "trials": [trial]})
        if not finished:
            assert pneumonia_selected.main(command) == 1 and "is not finished; finish them" in capsys.readouterr().err
    assert pneumonia_selected.main(command) == 0
    run = records.read(tmp_path / "out" / "xray_net-seed3.json")
    settings = run["settings"]
    assert (settings["average"], settings["views"], settings["estimate_prior"]) == (5, 4, True)
    assert settings["input"] == [48, 48, 3] and settings["augment"] == {"gamma": 0.5}
    assert run["experiment"] == "pneumonia_selected" and run["data"]["validation"] < 0.1 * run["data"]["train"]
    text = (tmp_path / "out" / "results.md").read_text()
    for part in (">= 88.5: ", ">= 86.5: ", ">= 0.945: ", "The weights are the mean of those of the last 5 epochs.",
                 "chosen by `examples/xray_selection.py`"):
        assert part in text, part
    assert (tmp_path / "out" / "pneumonia_selected_roc.svg").is_file()
    assert not list((tmp_path / "out").glob("*.npz"))
