"""Results: RESULTS.md is what the committed runs say, and runs that are damaged or unequal are refused."""

import argparse
import copy
import dataclasses
import doctest
import importlib
import itertools
import json
import platform
import re
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinynet as tn
from tinynet import intervals
from tinynet.errors import DataError

stats = pytest.importorskip("scipy.stats")
sk = pytest.importorskip("sklearn.metrics")

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import mnist_committee  # noqa: E402
import pneumonia_cnn_lstm  # noqa: E402
import results  # noqa: E402
from paper import experiment, provenance  # noqa: E402
from paper.reporting import (  # noqa: E402
    committees,
    curves,
    figures,
    goals,
    grouping,
    idc,
    pairs,
    records,
    report,
    summary,
    tables,
    xrays,
)
from paper.views import MEMBERS  # noqa: E402

N = 200  # test images of an invented run


def invented(experiment: str, model: str, seed: int, *, wrong: float, classes: int = 10,
             fold: str = "") -> dict[str, Any]:
    """The fields of an invented run, in which the share `wrong` of the predictions is wrong."""
    truth = np.random.default_rng(7).integers(0, classes, N)
    rng = np.random.default_rng([seed, len(model), ord(model[0]), int(1000 * wrong)])
    probabilities = rng.uniform(0, 0.5, (N, classes)) / classes
    said = np.where(rng.uniform(size=N) < wrong, (truth + 1) % classes, truth)
    probabilities[np.arange(N), said] += 1 - probabilities.sum(axis=1)
    curve = np.linspace(0.5, 1 - wrong, 4).tolist()
    parted = f"test: patient {fold}; validation: a strip of the slide of the others" if fold else "by hand"
    fields = {
        "format": records.FORMAT, "experiment": experiment, "model": model, "seed": seed, "fold": fold,
        "command": f"python examples/{experiment}.py", "started": "2020-02-03T04:05:06+00:00", "commit": 40 * "a",
        "hardware": {"processor": "abacus, 2 processors", "instructions": "sse4_2 avx2", "threads": 2, "system": "none",
                     "device": "cpu"},
        "versions": {"tinynet": "0"},
        "settings": {"epochs": 4, "batch_size": 8, "peak": 0.01, "weight_decay": 0.1, "label_smoothing": 0.0,
                     "max_norm": None, "augment": {"shift": 0.1}, "limit": None, "input": [28, 28, 1]},
        "data": {"name": "real", "stand_in": False, "parted": parted, "train": 90, "validation": 10, "test": N},
        "parameters": 1234, "seconds": 60.5, "curves": {name: curve for name in records.CURVES},
        "classes": ["NORMAL", "PNEUMONIA"] if classes == 2 else list("0123456789"),
        "labels": records.digits(truth), "predicted": records.digits(said)}
    if classes == 2:
        fields["scores"] = probabilities[:, 1].round(6).tolist()
    else:
        fields["probabilities"] = records.pack(probabilities)
    return fields


def everything(seeds: int = 5) -> list[dict[str, Any]]:
    """Runs of all experiments."""
    made = [invented("mnist_ciresan", member.name, member.seed, wrong=0.05) for member in MEMBERS[:5]]
    for seed in range(seeds):
        made += [invented("mnist_table1", model, seed, wrong=wrong) for model, wrong in
                 (("lstm_cnn", 0.05), ("cnn_lstm", 0.05), ("lstm", 0.2), ("cnn", 0.01))]
        made += [invented("mnist_deep", "deep_lstm_cnn", seed, wrong=0.004),
                 invented("mnist_deep_selected", "deep_net", seed, wrong=0.1),
                 invented("mnist_committee", "lstm_cnn", seed, wrong=0.05),
                 invented("pneumonia_cnn_lstm", "pneumonia_cnn_lstm", seed, wrong=0.1, classes=2),
                 invented("pneumonia_selected", "xray_net", seed, wrong=0.05, classes=2)]
        made += [invented("idc_table2", f"idc_{model}", seed, wrong=wrong, classes=2, fold=fold)
                 for fold in ("8", "9") for model, wrong in (("lstm_cnn", 0.1), ("lstm", 0.2), ("cnn", 0.2))]
    return made


def write(folder: Path, made: list[dict[str, Any]]) -> Path:
    for fields in made:
        name = records.name_of(fields["model"], fields["seed"], fields["fold"])
        records.write(folder / f"{fields['experiment']}-{name}.json", fields)
    return folder


def test_the_published_results_are_what_the_runs_say() -> None:
    runs = results.load(EXAMPLES / "results")
    selected = results.selections(EXAMPLES / "results")
    assert (EXAMPLES / "RESULTS.md").read_bytes() == results.markdown(runs, selected).encode(), \
        "RESULTS.md is not what the runs say: python examples/results.py"
    for name, made in runs.items():
        assert name in report.SECTIONS
        assert not [run for run in made if run["data"]["stand_in"] or run["settings"]["limit"] is not None]
        assert tables.NOT_REACHED not in report.section(name, runs) or goals.TRIED.get(name), \
            f"{name} misses a target or an aim: say in TRIED of examples/paper/reporting/goals.py what was tried"


def test_the_published_figures_are_there() -> None:
    runs, text = results.load(EXAMPLES / "results"), (EXAMPLES / "RESULTS.md").read_text()
    named = {f"{name}.{kind}" for experiment in runs for name in report.SECTIONS[experiment].figures(runs)
             for kind in ("png", "svg")}
    assert {path.name for path in (EXAMPLES / "figures").iterdir()} == named
    assert all(f"(figures/{name})" in text for name in named)


def test_all_sections_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str],
                                  monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(figures, "PIXELS", 80)  # faster
    folder = write(tmp_path / "results", everything())
    assert results.main(["--results", str(folder), "--out", str(tmp_path)]) == 0
    text = (tmp_path / "RESULTS.md").read_text()
    assert text == results.markdown(results.load(folder))
    for part in ("| LSTM-CNN | 1,234 | 99.8261 | 98.267 |", ">= 99.2: not reached", ">= 99.5: ", "smoke test",
                 "| Cruz-Roa 2014, whole set |  | 84.23 | 71.80 |  |", "always \"negative\"", "Not a diagnostic tool",
                 "precision    recall  f1-score", "![mnist_table1_error](figures/mnist_table1_error.png)", "shift 0.1",
                 "Made on abacus, 2 processors (device: cpu; instruction set: avx2), by",
                 "Seeds 0, 1, 2, 3, 4", "| deep LSTM-CNN | 5 |", "| both | 10 |", "| all | 5 |", "80 runs"):
        assert part in text, part
    printed = capsys.readouterr().out
    named = [name for section in report.SECTIONS.values() for name in section.figures(results.load(folder))]
    assert len(named) == 14 and text.count("What to see: ") == 14
    for name in named:
        assert f"(figures/{name}.png)" in text and f"(figures/{name}.svg)" in text
        if name == "mnist_ciresan_wrong":  # it needs the images of the runs
            continue
        assert f"written: {tmp_path / 'figures' / name}.png" in printed
        assert (tmp_path / "figures" / f"{name}.svg").read_text().rstrip().endswith("</svg>")
        with Image.open(tmp_path / "figures" / f"{name}.png") as picture:
            assert min(picture.size) > 300


def row(text: str, start: str) -> list[str]:
    """The cells of the only table row with this beginning."""
    line, = (line for line in text.splitlines() if line.startswith(f"| {start} |"))
    return line.removeprefix("| ").removesuffix(" |").split(" | ")


def student(values: list[float], level: float = 0.95, digits: int = 2) -> tuple[str, str]:
    """The two cells, computed with SciPy."""
    low, high = stats.t.interval(level, len(values) - 1, np.mean(values), stats.sem(values))
    return (f"{np.mean(values):.{digits}f} ± {np.std(values, ddof=1):.{digits}f}",
            f"{low:.{digits}f} to {high:.{digits}f}")


def arrays(made: list[dict[str, Any]], experiment: str, model: str) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Labels, predictions and scores, by seed, the folds one after the other."""
    found: dict[int, list[dict[str, Any]]] = {}
    for run in made:
        if (run["experiment"], run["model"]) == (experiment, model):
            found.setdefault(run["seed"], []).append(run)
    return [tuple(np.array([value for run in found[seed] for value in run.get(name, ())], float)
                  for name in ("labels", "predicted", "scores")) for seed in sorted(found)]


def test_the_numbers_of_table_1_are_right(tmp_path: Path) -> None:
    """Compute them again from the JSON files with SciPy, without results.py."""
    made = everything()
    whole = results.markdown(results.load(write(tmp_path, made)))
    text = whole.partition("## MNIST, the paper's")[2].partition("## MNIST, two more")[0]
    right = {}
    for model, name in (("lstm_cnn", "LSTM-CNN"), ("cnn_lstm", "CNN-LSTM"), ("lstm", "LSTM"), ("cnn", "CNN")):
        right[name] = [labels == predicted for labels, predicted, _ in arrays(made, "mnist_table1", model)]
        cells = row(text, name)
        assert cells[6] == "5" and (cells[7], cells[8]) == student([100 * one.mean() for one in right[name]])
    tests = {}
    for first, second in itertools.combinations(right, 2):
        both = list(zip(right[first], right[second], strict=True))
        tests[first, second] = [(int((a & ~b).sum()), int((b & ~a).sum())) for a, b in both]
    p_values = {pair: [stats.binomtest(one[0], sum(one)).pvalue if sum(one) else 1.0 for one in some]
                for pair, some in tests.items()}
    ranked = sorted(p for some in p_values.values() for p in some)
    for (first, second), some in tests.items():
        cells = row(text, f"{first} - {second}")
        differences = [100 * float(a.mean() - b.mean()) for a, b in zip(right[first], right[second], strict=True)]
        low, high = stats.t.interval(1 - 0.05 / 6, 4, np.mean(differences), stats.sem(differences))
        assert cells[1] == f"{np.mean(differences):+.2f} ± {(high - low) / 2:.2f}"
        assert cells[2] == " : ".join(f"{sum(counts):,}" for counts in zip(*some, strict=True))
        assert cells[3] == ", ".join(f"{p:.2g}" for p in p_values[first, second])
        wins = [0, 0]
        for (a, b), p in zip(some, p_values[first, second], strict=True):
            if max((30 - k) * ranked[k] for k in range(ranked.index(p) + 1)) < 0.05:
                wins[a < b] += 1
        assert cells[4] == f"{wins[0]} : {wins[1]} of 5"
        assert cells[5] == ("not shown" if low <= 0 <= high else f"{first if low > 0 else second} is better")
    assert "it does not: it is better than LSTM, not shown to be better or worse than CNN-LSTM, worse than CNN." in text
    assert "they mean nothing" not in text


def test_the_numbers_of_table_2_are_right(tmp_path: Path) -> None:
    made = everything()
    _, _, text = results.markdown(results.load(write(tmp_path, made))).partition("## IDC")
    text = text.partition("## Chest")[0].partition("| model | accuracy,")[2]
    for model, name in (("idc_lstm_cnn", "LSTM-CNN"), ("idc_lstm", "LSTM"), ("idc_cnn", "CNN")):
        seeds = arrays(made, "idc_table2", model)
        assert all(len(labels) == 2 * N for labels, _, _ in seeds)
        measured = [[100 * measure(labels, scores if measure is sk.average_precision_score else predicted)
                     for labels, predicted, scores in seeds]
                    for measure in (sk.accuracy_score, sk.balanced_accuracy_score, sk.f1_score,
                                    sk.average_precision_score)]
        cells = row(text.partition("\n\n")[0], name)
        assert cells[1:] == [" (".join(student(values)) + ")" for values in measured]


def test_the_numbers_of_all_seeds_together_on_idc_are_right() -> None:
    made = [fields for fields in everything() if fields["experiment"] == "idc_table2"]
    text = report.section("idc_table2", {"idc_table2": list(map(records.checked, made))}).partition("independent")[2]
    seeds = arrays(made, "idc_table2", "idc_cnn")
    labels, predicted = seeds[0][0], np.mean([scores for _, _, scores in seeds], axis=0) > 0.5
    cells = row(text.partition("By the patient")[0], "CNN")[1:]
    for cell, measure in zip(cells, (sk.accuracy_score, sk.balanced_accuracy_score, sk.f1_score), strict=True):
        assert cell.startswith(f"{100 * measure(labels, predicted):.2f} (")
    rng = np.random.default_rng(0)
    drawn = [rng.integers(0, len(labels), len(labels)) for _ in range(1000)]
    ends = np.quantile([sk.f1_score(labels[one], predicted[one]) for one in drawn], [0.025, 0.975])
    low, high = idc.f1_interval(sk.confusion_matrix(labels, predicted))
    assert (low, high) == pytest.approx(ends, abs=0.006)
    assert cells[2].endswith(f"({100 * low:.2f} to {100 * high:.2f})")
    assert idc.f1_of(np.zeros((2, 2), int)) == 0


def test_the_numbers_by_other_thresholds_on_idc_are_right() -> None:
    made = [fields for fields in everything(seeds=2) if fields["experiment"] == "idc_table2"]
    assert "By another rule" not in report.section("idc_table2", {"idc_table2": list(map(records.checked, made))})
    chosen = {("8", 0): 0.2, ("8", 1): 0.8, ("9", 0): 0.03, ("9", 1): 0.4}
    for fields in made:
        fields["threshold"] = chosen[fields["fold"], fields["seed"]]
    text = report.section("idc_table2", {"idc_table2": list(map(records.checked, made))})
    alone, together = text.partition("By another rule")[2].partition("By the patient")[0].split("The mean of the")
    own = {key: records.checked(fields) for fields in made if fields["model"] == "idc_cnn"
           for key in [(fields["fold"], fields["seed"])]}
    labels = np.concatenate([own[fold, 0].labels for fold in ("8", "9")])
    found = [np.concatenate([own[fold, seed].scores > chosen[fold, seed] for fold in ("8", "9")]) for seed in (0, 1)]
    mean = np.concatenate([np.mean([own[fold, seed].scores - chosen[fold, seed] for seed in (0, 1)], axis=0) > 0
                           for fold in ("8", "9")])
    for number, measure in enumerate((sk.accuracy_score, sk.balanced_accuracy_score, sk.f1_score), 1):
        assert row(alone, "CNN")[number].startswith(f"{100 * np.mean([measure(labels, one) for one in found]):.2f} ± ")
        assert row(together, "CNN")[number].startswith(f"{100 * measure(labels, mean):.2f} (")
    with pytest.raises(ValueError, match="threshold must be a probability"):
        records.checked({**made[0], "threshold": 1.5})


def test_the_numbers_of_the_x_rays_are_right(tmp_path: Path) -> None:
    made = everything()
    _, _, text = results.markdown(results.load(write(tmp_path, made))).partition("## Chest")
    text = text.partition("## Chest")[0]
    seeds = arrays(made, "pneumonia_cnn_lstm", "pneumonia_cnn_lstm")
    labels, every = seeds[0][0], np.mean([scores for _, _, scores in seeds], axis=0)
    measures = {
        "accuracy": lambda labels, predicted, scores: 100 * sk.accuracy_score(labels, predicted),
        "sensitivity": lambda labels, predicted, scores: 100 * sk.recall_score(labels, predicted),
        "specificity": lambda labels, predicted, scores: 100 * sk.recall_score(labels, predicted, pos_label=0),
        "balanced accuracy": lambda labels, predicted, scores: 100 * sk.balanced_accuracy_score(labels, predicted),
        "AUC": lambda labels, predicted, scores: sk.roc_auc_score(labels, scores)}
    targets = {"accuracy": (87, 91), "AUC": (0.93, 0.96)}
    first = row(text, "0")
    for column, (name, measure) in enumerate(measures.items(), 1):
        cells, digits = row(text, name), 4 if name == "AUC" else 2
        values = [measure(*one) for one in seeds]
        assert (cells[1], cells[2]) == student(values, digits=digits)
        assert cells[3] == f"{measure(labels, every > 0.5, every):.{digits}f}"
        assert first[column].startswith(f"{values[0]:.{digits}f} (")
        for cell, target in zip(cells[5:], targets.get(name, ()), strict=False):
            assert cell == f">= {target:g}: {'reached' if np.mean(values) >= target else 'not reached'}"
    errors = []
    for _, _, scores in seeds:
        bins = [(scores >= k / 15) & (scores < (k + 1) / 15) for k in range(15)]
        errors.append(sum(abs(labels[one].sum() - scores[one].sum()) for one in bins) / len(labels))
    assert row(text, "calibration error")[1:3] == [*student(errors, digits=4)] and first[6] == f"{errors[0]:.4f}"
    _, predicted, _ = seeds[0]
    for column, kind in ((1, labels >= 0), (2, labels == 1), (3, labels == 0)):
        right = int((labels == predicted)[kind].sum())
        ends = stats.binomtest(right, int(kind.sum())).proportion_ci(0.95, method="wilson")
        assert first[column].endswith(f"({100 * ends.low:.2f} to {100 * ends.high:.2f})")
    report_of_theirs = sk.classification_report(labels, predicted, target_names=["NORMAL", "PNEUMONIA"], digits=4)
    assert report_of_theirs.rstrip() in text


def test_the_table_at_the_top_holds_each_system_once(tmp_path: Path) -> None:
    made = everything()
    text = results.markdown(results.load(write(tmp_path, made))).partition("## How they were made")[0]
    for table, model, name, published in (
            ("mnist_table1", "lstm_cnn", "LSTM-CNN | MNIST", "98.267"),
            ("mnist_table1", "cnn", "CNN | MNIST", "97.273"),
            ("mnist_deep_selected", "deep_net", "deep LSTM-CNN | MNIST, selected recipe", "99.29"),
            ("idc_table2", "idc_cnn", "CNN | IDC, by patient", "82.909"),
            ("pneumonia_cnn_lstm", "pneumonia_cnn_lstm", "CNN + LSTM | chest X-rays", "92.8"),
            ("pneumonia_selected", "xray_net", "CNN + LSTM | chest X-rays, selected recipe", "92.8")):
        cells = row(text, name)[-4:]
        shares = [100 * (labels == predicted).mean() for labels, predicted, _ in arrays(made, table, model)]
        assert cells[0] == published and (cells[1], cells[2]) == student(shares)
    both = [records.checked(fields) for fields in made if fields["experiment"] in ("mnist_committee", "mnist_deep")]
    right = int((np.mean([run.probabilities for run in both], axis=0).argmax(axis=1) == both[0].labels).sum())
    ends = stats.binomtest(right, N).proportion_ci(0.95, method="wilson")
    assert row(text, "committee of 10")[3:5] == [f"{100 * right / N:.2f}",
                                                 f"{100 * ends.low:.2f} to {100 * ends.high:.2f}"]
    for said in ("not shown to be better or worse than CNN-LSTM", "better than LSTM", "worse than CNN"):
        assert said in row(text, "LSTM-CNN | MNIST")[-1]
    assert row(text, "CNN | MNIST")[-1] == "Better than LSTM-CNN."
    assert "smoke test with 2 patients" in row(text, "LSTM | IDC, by patient")[-1]
    assert text.count("\n| ") == 14 + 1  # and the line below the head


def test_a_model_has_one_colour_that_no_other_has() -> None:
    assert set(figures.COLOURS) == set(goals.NAMES.values())
    assert len({*figures.COLOURS.values(), figures.OTHER}) == len(figures.COLOURS) + 1


def test_an_error_of_zero_is_drawn_as_half_an_image_of_all_runs() -> None:
    """The mean is that of the errors, not of what is drawn for them."""
    panel = figures.Panel("", {"CNN": [[0.5, 0.75, 1.0]], "LSTM": [[0.5, 0.98, 1.0], [0.75, 1.0, 1.0]]}, images=100)
    np.testing.assert_allclose(panel.errors("CNN"), 3 * [[50.0, 25.0, 0.5]])
    np.testing.assert_allclose(panel.errors("LSTM"), [[37.5, 1.0, 0.25], [25.0, 0.25, 0.25], [50.0, 2.0, 0.25]])


def test_the_roc_curves_are_enlarged_where_they_differ() -> None:
    labels = np.repeat([0, 1], 100)
    scores = np.concatenate([np.linspace(0, 0.6, 100), np.linspace(0.4, 1, 100)])
    one = figures.Ranked(labels, (scores > 0.5).astype(int), scores)
    assert figures.enlarged([one]) == (0.3, 0.6)  # 95 % of the positives are above 0.43, and 28 % of the negatives
    assert figures.enlarged([one._replace(scores=labels.astype(float))]) == (0.1, 0.9)
    assert figures.enlarged([one._replace(scores=1.0 - labels)]) == (1.0, 0.0)


def test_means_over_epochs_and_views_are_said() -> None:
    fields = invented("mnist_table1", "cnn", 1, wrong=0.1)
    assert "The model is that of the last epoch.\n" in tables.conditions([records.checked(fields)])
    fields["settings"] |= {"average": 5, "views": 4, "estimate_prior": True}
    text = tables.conditions([records.checked(fields)])
    assert "the mean of those of the last 5 epochs. Its probabilities are means over an image and 4 random" in text
    assert "corrected to the share of the classes that is estimated on all test images" in text


def test_the_instruction_set_is_said() -> None:
    fields = invented("mnist_table1", "cnn", 1, wrong=0.1)
    for known, said in (("sse4_2 avx avx2 fma avx512f", "avx512f"), ("sse4_2 avx avx2", "avx2"), ("asimd", "asimd"),
                        ("", "not recorded")):
        fields["hardware"]["instructions"] = known
        assert tables.instruction_set(records.checked(fields)) == said
    assert provenance.hardware("cpu")["instructions"] == " ".join(tn.about().instructions)


def test_the_device_of_a_run_is_the_one_that_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tn, "threads", lambda: 7)
    found = provenance.hardware("gpu-emulated")
    assert found["device"] == tn.devices()[-1].title != found["processor"] == tn.devices()[0].title
    assert found["threads"] == 7 and found["system"] == f"{platform.system()} {platform.machine()}"


@pytest.mark.parametrize("path", [
    path for path in sorted(EXAMPLES.rglob("*.py")) if re.search(r"^ *>>> ", path.read_text(encoding="utf-8"), re.M)],
    ids=lambda path: path.stem)
def test_examples_in_the_texts(path: Path) -> None:
    module = importlib.import_module(".".join(path.relative_to(EXAMPLES).with_suffix("").parts))
    tried = doctest.testmod(module, optionflags=doctest.ELLIPSIS)
    assert tried.attempted and not tried.failed


@pytest.mark.parametrize(("others", "verdict"), [
    ({"cnn_lstm": 0.3, "lstm": 0.2, "cnn": 0.2}, "it does: it is better than CNN-LSTM, LSTM and CNN."),
    ({"cnn_lstm": 0.3, "lstm": 0.2, "cnn": 0.0}, "it does not: it is better than CNN-LSTM and LSTM, worse than CNN."),
    ({"lstm": 0.2, "cnn": 0.2}, "it cannot be said yet: it is better than LSTM and CNN. Not compared: CNN-LSTM."),
    ({"lstm": 0.05}, "it does not: it is not shown to be better or worse than LSTM. Not compared: CNN-LSTM and CNN.")])
@pytest.mark.parametrize("seeds", [1, 5])
def test_the_verdict_on_the_paper(others: dict[str, float], verdict: str, seeds: int) -> None:
    made = [records.checked(invented("mnist_table1", model, seed, wrong=wrong)) for seed in range(seeds)
            for model, wrong in {"lstm_cnn": 0.05, **others}.items()]
    text = tables.comparisons("mnist_table1", made)
    assert f"that the LSTM-CNN is better than CNN-LSTM, LSTM and CNN? Under these equal conditions {verdict}" in text
    assert ("With one seed, one is called better" in text) == (seeds == 1)
    if seeds == 1:
        assert "one run" in tables.accuracies("mnist_table1", made)
    assert ("±" in row(text, "LSTM-CNN - LSTM")[1]) == (seeds > 1)


def test_the_claim_is_about_the_papers_model() -> None:
    """And not about the first model of the table."""
    made = [records.checked(invented("mnist_table1", model, 0, wrong=wrong))
            for model, wrong in {"cnn_lstm": 0.0, "lstm": 0.3}.items()]
    text = tables.comparisons("mnist_table1", made)
    assert "CNN-LSTM is better |" in text and "cannot be said yet. Not compared: CNN-LSTM, LSTM and CNN." in text


def test_models_without_a_seed_in_common_are_not_compared() -> None:
    made = [records.checked(invented("mnist_table1", model, seed, wrong=0.1)) for model, seed in
            (("lstm_cnn", 0), ("cnn", 1))]
    with pytest.raises(DataError, match="lstm_cnn and cnn must have runs with the same seeds to be compared"):
        tables.comparisons("mnist_table1", made)


def test_many_tests_at_once() -> None:
    """A difference that is significant alone, and not among six pairs of five seeds."""
    differences = [0.0009, 0.002, 0.0005, 0.0015, 0.002]
    labels = np.zeros(10_000, np.int64)

    def model(wrong: list[float]) -> dict[int, grouping.Pooled]:
        return {seed: grouping.Pooled(labels, (np.arange(10_000) < round(10_000 * share)).astype(np.int64), None)
                for seed, share in enumerate(wrong)}

    better = [0.005, 0.004, 0.0045, 0.005, 0.0045]
    two = {"a": model(better), "b": model([x + y for x, y in zip(better, differences, strict=True)])}
    alone, among = pairs.compare(two), pairs.compare({**two, "c": two["a"], "d": two["b"]})
    assert alone["a", "b"].verdict == 1 and among["a", "b"].verdict == 0
    mean, _, half = alone["a", "b"].difference
    low, high = stats.t.interval(0.95, 4, mean, stats.sem(differences))
    assert (mean - half, mean + half) == pytest.approx((low, high), rel=1e-9)
    half = among["a", "b"].difference.half
    low, high = stats.t.interval(1 - 0.05 / 6, 4, mean, stats.sem(differences))
    assert (mean - half, mean + half) == pytest.approx((low, high), rel=1e-9)
    assert [test.p for test in alone["a", "b"].tests] == pytest.approx([2**-8, 2**-19, 2**-4, 2**-14, 2**-19])
    assert alone["a", "b"].wins == (4, 0) and among["a", "b"].wins == (3, 0)
    assert among["a", "b"].corrected[0] == pytest.approx(18 * 2**-8)  # 12 of the 30 tests have smaller p


def test_targets_that_are_missed_ask_what_was_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    runs = {"mnist_deep": [records.checked(invented("mnist_deep", "deep_lstm_cnn", 0, wrong=0.1))]}
    assert "\n\nTo reach more: what was tried is not documented.\n" in results.markdown(runs)
    monkeypatch.setitem(goals.TRIED, "mnist_deep", "more of everything was tried, and did not help.")
    assert "\n\nTo reach more: more of everything was tried, and did not help.\n" in results.markdown(runs)
    runs = {"mnist_deep": [records.checked(invented("mnist_deep", "deep_lstm_cnn", 0, wrong=0.0))]}
    assert ">= 99.5: reached" in results.markdown(runs) and "To reach more" not in results.markdown(runs)


def test_a_difference_that_is_rounded_to_0_is_not_negative() -> None:
    made = []
    for model, wrong in (("lstm_cnn", 1), ("cnn", 0)):
        fields = invented("mnist_table1", model, 0, wrong=0.1)
        del fields["probabilities"]
        fields["data"]["test"] = 30_000
        said = "1" * wrong + "0" * (30_000 - wrong)
        made.append(records.checked({**fields, "labels": "0" * 30_000, "predicted": said}))
    assert row(tables.comparisons("mnist_table1", made), "LSTM-CNN - CNN")[1:3] == ["+0.00", "0 : 1"]


def test_what_is_said_of_few_images_and_of_no_augmentation() -> None:
    fields = invented("mnist_table1", "cnn", 1, wrong=0.1)
    fields["settings"] |= {"limit": 1234, "augment": {}, "max_norm": 1.0}
    run = records.checked(fields)
    assert tables.warning([run]) == "**Trained on 1,234 images only.**\n\n"
    text = tables.conditions([run])
    assert "Training images are not augmented. " in text and "smoothing 0.0, gradients clipped to 1. " in text


def test_an_interval_of_shares_ends_at_0_and_1() -> None:
    assert tables.spread(intervals.mean_of([0.0, 0.02]), 2)[1].startswith("0.00 to 13.")
    assert tables.spread(intervals.mean_of([1.0, 0.98]), 2)[1].endswith(" to 100.00")


def test_a_target_is_reached_whatever_the_last_bit_of_a_sum() -> None:
    shares = [0.9862, 0.9884, 0.9924]  # 98.9 percent, and a little less in floats
    assert 100 * np.mean(shares) < 98.9
    assert tables.reached(100 * float(np.mean(shares)), 98.9) == ">= 98.9: reached"
    assert tables.reached(98.8999, 98.9) == ">= 98.9: not reached"


def test_committees() -> None:
    made = [records.checked(invented("mnist_committee", "lstm_cnn", seed, wrong=0.2)) for seed in range(9)]
    found = committees.committee_of(made)
    assert found.mean[0] == pytest.approx(np.mean([run.accuracy for run in made]))
    assert (found.low <= found.mean).all() and (found.mean <= found.high).all()
    assert found.mean[-1] == found.low[-1] == (found.predicted == found.labels).mean() > found.mean[0] + 0.1
    by_hand = np.mean([run.probabilities for run in made], axis=0).argmax(axis=1)
    assert (by_hand == found.predicted).all()
    two = [np.mean([made[i].probabilities, made[j].probabilities], axis=0).argmax(axis=1) == made[0].labels
           for i in range(9) for j in range(i)]
    assert found.mean[1] == pytest.approx(np.mean(two), abs=0.01)  # which differs in ties of rounded numbers


def test_what_the_members_disagree_about() -> None:
    made = [records.checked(invented("mnist_committee", "lstm_cnn", seed, wrong=0.2)) for seed in range(5)]
    votes = mnist_committee.votes_of(made)
    assert votes.shape == (N, 10) and (votes.sum(axis=1) == 5).all()
    assert votes[3, made[1].predicted[3]] == sum(run.predicted[3] == made[1].predicted[3] for run in made)
    order = mnist_committee.most_disputed(votes)
    most = votes.max(axis=1)
    assert (np.diff(most[order]) >= 0).all() and (most[order] < 5).all() and len(order) == (most < 5).sum() > 0


def test_the_worst_mistakes_are_the_surest() -> None:
    run = records.checked(invented("pneumonia_cnn_lstm", "pneumonia_cnn_lstm", 0, wrong=0.2, classes=2))
    order = pneumonia_cnn_lstm.worst(run)
    assert set(order.tolist()) == set(np.flatnonzero(run.labels != run.predicted).tolist())
    assert run.scores is not None
    assert (np.diff(np.abs(run.scores[order] - 0.5)) <= 0).all()


def test_runs_that_are_missing_leave_the_rest() -> None:
    text = results.markdown({})
    for name in report.SECTIONS:
        assert f"No runs yet: `python examples/{name}.py`." in text
    assert "![" not in text


def test_each_mean_says_of_how_many_seeds_it_is() -> None:
    made = [records.checked(invented("mnist_table1", model, seed, wrong=0.1)) for model, seed in
            (("lstm_cnn", 0), ("lstm_cnn", 1), ("lstm_cnn", 7), ("cnn", 1), ("cnn", 7), ("lstm", 1))]
    text = report.section("mnist_table1", {"mnist_table1": made})
    assert "Seeds 0, 1, 7." in text
    assert [row(text, name)[6] for name in ("LSTM-CNN", "LSTM", "CNN")] == ["3", "1", "2"]
    right = int((made[-1].labels == made[-1].predicted).sum())
    ends = stats.binomtest(right, N).proportion_ci(0.95, method="wilson")
    assert row(text, "LSTM")[7:9] == [f"{100 * right / N:.2f}",
                                      f"{100 * ends.low:.2f} to {100 * ends.high:.2f} (one run)"]
    assert row(text, "LSTM-CNN - CNN")[4].endswith("of 2")
    assert "is on one side of 0" in text and "With one seed, one is called better" in text


def folds(*left_out: tuple[str, int, str], **more: Any) -> list[records.Record]:
    """Runs of table II on two patients, without some of them."""
    return [records.checked({**invented("idc_table2", model, seed, wrong=0.1, classes=2, fold=fold), **more})
            for model in ("idc_lstm_cnn", "idc_cnn") for seed in (0, 1) for fold in ("8", "9")
            if (model, seed, fold) not in left_out]


def test_a_seed_without_one_of_its_folds_is_left_out_and_named() -> None:
    """Otherwise it would be compared on other images than the others."""
    text = report.section("idc_table2", {"idc_table2": folds(("idc_cnn", 1, "9"))})
    assert "Left out of tables and figures, because other folds are missing: idc_cnn-8-seed1." in text
    accuracies = text.partition("| model | accuracy,")[0]
    assert [row(accuracies, name)[6] for name in ("LSTM-CNN", "CNN")] == ["2", "1"]
    assert "Left out" not in report.section("idc_table2", {"idc_table2": folds()})
    with pytest.raises(DataError, match="idc_table2 must have runs of all folds of a seed, and has none"):
        grouping.by_model([run for run in folds() if (run["model"], run["fold"]) in (("idc_cnn", "8"),
                                                                                   ("idc_lstm_cnn", "9"))])


def test_what_a_few_patients_can_tell() -> None:
    two = report.section("idc_table2", {"idc_table2": folds()})
    assert "**This is a smoke test: the patches are of 2 patients only" in two
    assert "a model that was not trained on its patient" in two and "p is too small" in two
    facts, slide = folds()[0]["data"], "test and validation: strips of the slide of patient 8, the only one"
    one = report.section("idc_table2", {"idc_table2": [
        records.checked({**run.fields, "fold": "", "data": {**facts, "parted": slide}}) for run in folds()
        if run["fold"] == "8"]})
    assert "**This is a smoke test: the patches are of one patient only" in one
    assert "another part of the training slide" in one and "not trained on its patient" not in one
    many = report.section("idc_table2", {"idc_table2": [
        records.checked({**run.fields, "fold": "", "data": {**facts, "parted": "shares of 20%, by patients"}})
        for run in folds() if run["fold"] == "8"]})
    assert "smoke" not in many and "not trained on its patient" in many
    assert ["the patches of all patients are pooled" in text for text in (two, one, many)] == [True, False, False]
    split = ("All test images, means over the seeds:", "| LSTM-CNN | all | 200 |")
    assert [all(part in text for part in split) for text in (two, one, many)] == [False, True, True]
    assert "By the patient of the test part, means" in two and "| LSTM-CNN | 8 | 200 |" in two


def test_the_figures_of_one_split_name_no_patients() -> None:
    own = [records.checked({**run.fields, "fold": ""}) for run in folds() if run["fold"] == "8"]
    drawing = idc.idc_figures({"idc_table2": own})["idc_table2_confusion"]
    assert list(drawing.paint.keywords["panels"]) == ["LSTM-CNN", "CNN"]  # type: ignore[attr-defined]
    share = np.mean([sk.recall_score(run.labels, run.predicted) for run in own])
    assert drawing.caption == ("A column for each model. What to see: of the positive patches, the models find "
                               f"{100 * share:.2f} % on average.")
    for some, bands in ((own, True), (own[:1], False)):
        assert ("means over the seeds" in curves.error_curves(some, title="").caption) == bands
    own[0]["data"]["validation"] = 0
    assert curves.error_curves(own[:1], title="").paint.keywords["rows"][0][1].images == 1  # type: ignore[attr-defined]


def test_a_patch_at_its_threshold_is_negative() -> None:
    run = folds()[0]
    at = idc.at_threshold(dataclasses.replace(run, fields={"threshold": 0.25}, scores=np.array([0.25, 0.375, 0.125])))
    assert (at.predicted.tolist(), at.scores.tolist()) == ([0, 1, 0], [0.5, 0.625, 0.375])
    some = folds()
    some[0].fields["threshold"] = 0.5
    assert idc.at_thresholds({"idc_cnn": some}, {}) == [], "with a threshold of each run, or not at all"


TITLES = {
    "mnist_table1": ["MNIST: errors over the epochs"], "mnist_deep": ["MNIST, deep LSTM-CNN: errors over the epochs"],
    "mnist_deep_selected": ["MNIST, deep LSTM-CNN: errors over the epochs"],
    "mnist_committee": ["MNIST: committees of LSTM-CNN networks"],
    "mnist_ciresan": ["MNIST: networks that see the digits differently",
                      "MNIST: no test image is wrong for all 5 members"],
    "idc_table2": ["IDC: errors over the epochs", "IDC: test patches, means over the seeds"],
    **{name: [f"CNN + LSTM on chest X-rays: {what}" for what in (
        "errors over the epochs", "test part", "ROC curves, test part")]
       for name in ("pneumonia_cnn_lstm", "pneumonia_selected")}}


def test_each_figure_has_its_title() -> None:
    runs = results.by_experiment(map(records.checked, everything(2)))
    assert {name: [one.paint.keywords["title"] for one in section.figures(runs).values()]  # type: ignore[attr-defined]
            for name, section in report.SECTIONS.items()} == TITLES


def test_what_the_table_at_the_top_says_of_systems_alone() -> None:
    """Without others to compare them with; a committee of one kind; patients that are many."""
    runs = results.by_experiment(map(records.checked, everything(2)))

    def said(experiment: str, own: list[records.Record]) -> list[str]:
        return [line.rstrip(" |").rpartition(" | ")[2] for line in
                summary.summary({experiment: own}).partition("\n\n")[0].splitlines()[2:]]

    models = grouping.by_model(runs["mnist_table1"])
    assert said("mnist_table1", models["lstm_cnn"]) == ["The paper's model: not compared yet."]
    assert said("mnist_table1", models["cnn"]) == ["Not compared yet."]
    assert said("mnist_table1", [*models["lstm"], *models["cnn"]]) == ["Not compared yet."] * 2
    two = said("mnist_table1", [*models["lstm_cnn"], *models["lstm"]])
    assert "ot compared" not in "".join(two) and "LSTM" in two[0] and two[1].endswith(" LSTM-CNN.")
    assert said("mnist_deep", runs["mnist_deep"]) == [
        "Several LSTM-CNN layers instead of one, and stronger augmentation."]
    assert said("mnist_committee", runs["mnist_committee"])[0].startswith("LSTM-CNN networks choose together, and ")
    assert said("mnist_ciresan", runs["mnist_ciresan"])[0].startswith("**Unfinished: 30 of 35 members are still ")
    many = [records.checked({**run.fields, "fold": "", "data": {**run["data"], "parted": "by patients"}})
            for run in folds() if run["fold"] == "8"]
    assert all(text.startswith("Balanced accuracy ") for text in said("idc_table2", many))
    assert summary.summary({}) == ""


def test_the_table_of_a_command_says_what_the_report_says() -> None:
    """Of each model the number of seeds, the mean over them and its interval, also where a seed has several folds."""
    for name, runs in (("idc_table2", folds()), ("mnist_table1", [
            records.checked(invented("mnist_table1", "cnn", seed, wrong=0.1 + seed / 99)) for seed in range(3)])):
        accuracies = report.section(name, {name: runs}).partition("| model | accuracy,")[0]
        heads, *lines = tables.short(runs).splitlines()
        assert re.split(r"  +", heads.strip()) == ["model", "seeds", "test accuracy, %", "95 % interval"]
        for line in lines:
            said = row(accuracies, line.partition("  ")[0])
            assert re.split(r"  +", line)[1:] == [said[6], *said[7:9]]
    one = tables.short([run for run in folds() if run["seed"] == 0]).splitlines()[1:]
    assert len(one) == 2 and all(line.split()[1] == "1" and line.endswith("one run") for line in one)


def test_a_stand_in_is_called_so_in_text_and_figures() -> None:
    for name in report.SECTIONS:
        real = [run for run in map(records.checked, everything(2)) if run["experiment"] == name]
        generated = [records.checked({**run.fields, "data": {**run["data"], "stand_in": True}}) for run in real]
        for made, stand_in in ((real, False), (generated, True)):
            text, drawn = report.section(name, {name: made}), report.SECTIONS[name].figures({name: made})
            assert text.startswith("**These are results on a STAND-IN") == stand_in
            for one in drawn.values():
                assert ("STAND-IN for " in one.paint.keywords["title"]) == stand_in
    with pytest.raises(DataError, match="differ in data"):
        grouping.by_model([*real[:1], *generated[1:]])


def test_no_title_or_label_of_a_figure_is_cut_off(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of a stand-in are the longest."""
    saved = []

    def save(figure: Any, path: Path, vector: bool = False) -> None:
        figure.draw_without_rendering()
        texts = [text for axes in figure.axes for text in (axes.title, axes.xaxis.label, axes.yaxis.label)]
        texts += [figure._suptitle] if figure._suptitle else []
        for text in (text for text in texts if text.get_text()):
            box = text.get_window_extent()
            assert min(box.x0, box.y0) >= 0 and box.x1 <= figure.bbox.x1 and box.y1 <= figure.bbox.y1, text
        saved.append(path.name)

    monkeypatch.setattr(figures, "save", save)
    late = {"stand_in": True}, {name: [0.1, 0.97, 0.98, 0.99] for name in records.CURVES}
    runs = results.by_experiment([records.checked({**fields, "data": {**fields["data"], **late[0]}, "curves": late[1]})
                                  for fields in everything(3)])
    for name in report.SECTIONS:
        report.draw(name, runs, tmp_path)
    image = np.zeros((28, 28, 1), np.uint8)
    digits = experiment.Data(*[([image] * N, np.zeros(N, int))] * 3, tuple("0123456789"), "digits", True, "")
    options = argparse.Namespace(out=tmp_path)
    mnist_committee.draw_disagreement(runs["mnist_committee"], digits, options)
    rays = dataclasses.replace(digits, classes=("NORMAL", "PNEUMONIA"))
    pneumonia_cnn_lstm.draw_mistakes(runs["pneumonia_cnn_lstm"][0], rays, options)
    assert len(saved) == 15  # those of mnist_ciresan_wrong need the images of the runs


def test_the_threshold_of_the_x_rays() -> None:
    """A probability of one half is not above 0.5: for one network, for all together, and in the texts."""
    fields = invented("pneumonia_cnn_lstm", "pneumonia_cnn_lstm", 0, wrong=0.1, classes=2)
    fields["scores"][:2] = [0.5, 0.5000004]
    fields["predicted"] = "01" + fields["predicted"][2:]
    every = xrays.together(grouping.pooled([records.checked(fields)]))
    assert every.predicted[:2].tolist() == [0, 1]
    assert every.predicted[2:].tolist() == list(map(int, fields["predicted"][2:]))
    text = report.section("pneumonia_cnn_lstm", {"pneumonia_cnn_lstm": [records.checked(fields)]})
    assert "counts as PNEUMONIA if its probability is above 0.5" in text


def test_committees_do_not_depend_on_the_order_of_the_files() -> None:
    made = [records.checked(invented("mnist_committee", "lstm_cnn", seed, wrong=0.2)) for seed in range(12)]
    first, second = (committees.committees({"mnist_committee": some})["LSTM-CNN"] for some in
                     (made, sorted(made, key=grouping.title)))
    assert (first.mean == second.mean).all()


def test_a_committee_needs_the_probabilities_of_all_its_members() -> None:
    made = [invented("mnist_committee", "lstm_cnn", seed, wrong=0.2) for seed in range(2)]
    del made[1]["probabilities"]
    with pytest.raises(DataError, match="must hold probabilities, and some do not"):
        committees.committee_of(list(map(records.checked, made)))


def test_committees_of_both_kinds_need_the_same_test_images() -> None:
    own = [records.checked(invented("mnist_committee", "lstm_cnn", seed, wrong=0.2)) for seed in range(3)]
    fields = [invented("mnist_deep", "deep_lstm_cnn", seed, wrong=0.2) for seed in range(2)]
    others = [records.checked({**one, "labels": one["labels"][::-1]}) for one in fields]
    found = committees.committees({"mnist_committee": own, "mnist_deep": list(map(records.checked, fields))})
    assert {name: len(one.mean) for name, one in found.items()} == {"LSTM-CNN": 3, "deep LSTM-CNN": 2, "both": 5}
    assert list(committees.committees({"mnist_committee": own, "mnist_deep": others})) == ["LSTM-CNN"]


def changed(**more: Any) -> dict[str, Any]:
    return {**invented("mnist_table1", "cnn", 1, wrong=0.1), **more}


@pytest.mark.parametrize(("other", "what"), [
    (changed(settings={**changed()["settings"], "peak": 0.1}), "differ in settings"),
    (changed(labels=records.digits(np.zeros(N, int))), "differ in test images"),
    (changed(classes=list("abcdefghij")), "differ in classes"),
    (changed(data={**changed()["data"], "train": 91}), "differ in data")])
def test_unequal_conditions_are_refused(other: dict[str, Any], what: str, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "results", [invented("mnist_table1", "lstm_cnn", 0, wrong=0.1), other])
    assert results.main(["--results", str(tmp_path / "results"), "--out", str(tmp_path)]) == 1
    assert what in capsys.readouterr().err
    assert not (tmp_path / "RESULTS.md").exists()


def test_conditions_are_equal_in_all_folds() -> None:
    other = {**folds()[0]["settings"], "peak": 0.5}
    mixed = [records.checked({**run.fields, "settings": other}) if run["fold"] == "9" else run for run in folds()]
    with pytest.raises(DataError, match="idc_lstm_cnn-8-seed0 and idc_lstm_cnn-9-seed0 differ in settings"):
        grouping.by_model(mixed)
    mixed = folds()
    mixed[-1].fields["data"]["train"] += 1
    with pytest.raises(DataError, match="idc_lstm_cnn-9-seed0 and idc_cnn-9-seed1 differ in data"):
        grouping.by_model(mixed)


def test_a_run_that_is_there_twice(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "results", [changed()])
    (folder / "copy.json").write_bytes((folder / "mnist_table1-cnn-seed1.json").read_bytes())
    assert results.main(["--results", str(folder), "--out", str(tmp_path)]) == 1
    assert "has cnn-seed1 twice" in capsys.readouterr().err
    write(tmp_path / "a", [changed()])
    write(tmp_path / "b", [changed(seconds=1.0)])
    (folder / "copy.json").unlink()
    command = ["--results", str(folder), "--out", str(tmp_path), "--add"]
    assert results.main([*command, str(tmp_path / "a"), str(tmp_path / "b")]) == 1
    assert "must be the only file of cnn-seed1" in capsys.readouterr().err
    assert results.main([*command, str(tmp_path / "a")]) == 0
    assert f"1 runs are in {folder} now, 0 of them replaced others" in capsys.readouterr().out
    assert results.main([*command, str(tmp_path / "b")]) == 0
    assert "1 of them replaced others" in capsys.readouterr().out


def test_runs_are_taken_over(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = [fields for fields in everything(2) if fields["experiment"] == "mnist_table1"]
    for fields in made:
        records.write(tmp_path / "runs" / f"{records.name_of(fields['model'], fields['seed'])}.json", fields)
    command = ["--results", str(tmp_path / "results"), "--out", str(tmp_path)]
    assert results.main([*command, "--add", str(tmp_path / "runs")]) == 0
    assert (tmp_path / "results" / "mnist_table1-cnn-seed1.json").is_file()
    before = (tmp_path / "RESULTS.md").read_bytes()
    assert results.main(command) == 0
    assert (tmp_path / "RESULTS.md").read_bytes() == before
    assert results.main([*command, "--add", str(tmp_path / "nowhere")]) == 1
    assert "holds none" in capsys.readouterr().err


@pytest.mark.parametrize(("wrong", "said"), [
    ({"data": {**changed()["data"], "stand_in": True}}, "and is of a stand-in"),
    ({"settings": {**changed()["settings"], "limit": 9}}, "and is of a part of it"),
    ({"command": "python examples/mnist_table1.py --epochs 4"}, "made by `python examples/mnist_table1.py --epochs 4`"),
    ({"command": "python examples/pneumonia_cnn_lstm.py --size 96"}, "without --epochs, --limit and --size"),
    ({"experiment": "mine"}, "and is of cnn in mine"), ({"model": "idc_cnn"}, "and is of idc_cnn in mnist_table1"),
    ({"settings": {**changed()["settings"], "peak": 0.5}}, "differ in settings")], ids=str)
def test_what_is_not_for_publication_changes_nothing(wrong: dict[str, Any], said: str, tmp_path: Path,
                                                     capsys: pytest.CaptureFixture[str]) -> None:
    """Neither a good run beside it is added, nor a file in the folder of results changed."""
    write(tmp_path / "results", [changed(seed=0)])
    records.write(tmp_path / "runs" / "a.json", changed())
    records.write(tmp_path / "runs" / "b.json", changed(seed=2, **wrong))
    command = ["--results", str(tmp_path / "results"), "--out", str(tmp_path)]
    assert results.main([*command, "--add", str(tmp_path / "runs")]) == 1
    assert said in capsys.readouterr().err
    assert [path.name for path in (tmp_path / "results").iterdir()] == ["mnist_table1-cnn-seed0.json"]
    assert not (tmp_path / "RESULTS.md").exists()
    records.write(tmp_path / "results" / "b.json", changed(seed=2, **wrong))
    assert results.main(command) == 1
    assert said in capsys.readouterr().err


def test_a_folder_without_runs_is_no_reason_to_empty_the_results(tmp_path: Path,
                                                                 capsys: pytest.CaptureFixture[str]) -> None:
    assert results.main(["--results", str(tmp_path / "resluts"), "--out", str(tmp_path)]) == 1
    assert "resluts must hold the JSON files of runs" in capsys.readouterr().err
    assert not (tmp_path / "RESULTS.md").exists()


def test_what_a_command_says_at_its_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    """The accuracies, what was written and drawn, and how the first model is used."""
    made = [records.checked(invented("mnist_table1", model, 3, wrong=0.1)) for model in ("lstm_cnn", "cnn")]
    generated = [records.checked({**run.fields, "data": {**run["data"], "stand_in": True}}) for run in made]
    missing = "matplotlib is not installed, so the figures are left out: pip install matplotlib"
    for runs, drawn, said in ((made, ["a.png", "b.png"], "drawn: a.png, b.png"), (generated, [], missing)):
        monkeypatch.setattr(report, "draw", lambda *given, drawn=drawn: drawn)
        report.show("mnist_table1", runs, tmp_path)
        stand_in = ["", "These are results on a STAND-IN for the data: they mean nothing."] * (runs is generated)
        assert capsys.readouterr().out.splitlines() == [
            *stand_in, "", *tables.short(runs).splitlines(), "",
            f"written: {tmp_path / 'results.md'}, with intervals, comparisons and conditions", said,
            f"The runs and their models are in {tmp_path}. To use one: python -m tinynet predict "
            f"{tmp_path / 'lstm_cnn-seed3.safetensors'} IMAGE..."]
        assert (tmp_path / "results.md").read_text().startswith("# MNIST, the paper's table I\n\n")


def test_selections_are_in_one_order(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                     capsys: pytest.CaptureFixture[str]) -> None:
    """However they are added. A trial is a line of a file."""
    monkeypatch.setattr(figures, "available", lambda: False)
    write(tmp_path / "results", [invented("mnist_deep", "deep_lstm_cnn", 0, wrong=0.1)])
    names = ("xray_selection", "mnist_selection")
    for name in names:
        (tmp_path / name).mkdir()
        (tmp_path / name / "selection.json").write_bytes((EXAMPLES / "results/selection" / f"{name}.json").read_bytes())
    command = ["--results", str(tmp_path / "results"), "--out", str(tmp_path)]
    assert results.main([*command, "--add", *(str(tmp_path / name) for name in names)]) == 0
    assert capsys.readouterr().out.splitlines() == [
        f"written: {tmp_path / 'RESULTS.md'}",
        "matplotlib is not installed, so the figures were not updated: pip install matplotlib"]
    text = (tmp_path / "RESULTS.md").read_bytes()
    assert results.main(command) == 0 and (tmp_path / "RESULTS.md").read_bytes() == text
    for name in names:
        assert (tmp_path / "results/selection" / f"{name}.json").read_bytes() == (
            tmp_path / name / "selection.json").read_bytes()
    found = json.loads((tmp_path / name / "selection.json").read_text())
    (tmp_path / name / "selection.json").write_text(json.dumps({**found, "trials": {}}))
    assert results.main([*command, "--add", str(tmp_path / name)]) == 1
    assert "must hold the trials of one of" in capsys.readouterr().err


def test_a_run_that_cannot_be_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"a\.json cannot be read \(No such file or directory\); is it there\?"):
        records.read(tmp_path / "a.json")


def test_a_published_run_that_is_written_again_is_the_same(tmp_path: Path) -> None:
    """To the byte, with letters that are not ASCII."""
    path = EXAMPLES / "results" / "mnist_deep-lstm_cnn-seed0.json"
    records.write(tmp_path / "a.json", records.read(path).fields)
    assert (tmp_path / "a.json").read_bytes() == path.read_bytes()
    records.write(tmp_path / "a.json", changed(classes=["ä", *"123456789"]))
    assert ' "classes": ["ä", "1"' in (tmp_path / "a.json").read_text(encoding="utf-8")


def test_a_run_is_read_as_it_was_written(tmp_path: Path) -> None:
    for fields in (invented("mnist_deep", "deep_lstm_cnn", 3, wrong=0.1),
                   invented("idc_table2", "idc_lstm", 3, wrong=0.1, classes=2, fold="9")):
        records.write(tmp_path / "run.json", fields)
        record = records.read(tmp_path / "run.json")
        assert record.fields == fields
        assert record.accuracy == np.mean([a == b for a, b in zip(fields["labels"], fields["predicted"], strict=True)])
        assert (record.scores is None) != (record.probabilities is None)


def damaged(name: str, value: Any) -> Any:
    fields = copy.deepcopy(invented("mnist_table1", "lstm_cnn", 0, wrong=0.1))
    place = fields
    *way, last = name.split("/")
    for step in way:
        place = place[step]
    place[last] = value
    return fields


@pytest.mark.parametrize("content", [
    "", "{", "[]", "{}", "null", "[" * 100_000, '{"format": NaN}', b"\xff\xfe",
    *(json.dumps(damaged(name, value)) for name, value in (
        ("format", "tinynet run 9"), ("seed", True), ("seed", "0"), ("labels", ""), ("labels", "12"), ("labels", "12x"),
        ("predicted", "²" * N), ("classes", ["a"]), ("classes", list(range(10))), ("classes", ["a", "b"]),
        ("curves", {}), ("curves/seconds", []), ("curves/seconds", [1.0]), ("curves/train_loss", ["a"] * 4),
        ("curves/train_loss", [1.0]),
        ("seconds", -1.0), ("seconds", 10**400), ("wall_seconds", float("nan")), ("scores", [0.5] * N),
        ("data", {}), ("data/stand_in", 1),
        ("probabilities", 5), ("probabilities", "!"), ("experiment", "../mine"), ("model", "a/b"), ("fold", "a|b"),
        ("seed", 2**32), ("parameters", 10**400), ("curves/train_loss", [10**400] * 4), ("data/train", "many"),
        ("curves/train_accuracy", [1.5] * 4), ("data/test", N + 1), ("settings", {}), ("settings/epochs", 5),
        ("settings/max_norm", "1"), ("settings/limit", "9"), ("settings/augment", []), ("settings/input", 28),
        ("probabilities", "eNr7DwAAAQEBAA=="),
        ("probabilities", records.pack(np.zeros((5000, 5000))))))])
def test_a_damaged_file_is_one_sentence(content: str | bytes, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=r"run\.json must be the file of a run, and is not"):
        records.read(tmp_path / "run.json")
    assert results.main(["--results", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize(("wrong", "said"), [
    *(({name: "0" * (N - 1)}, f"same length, have {' and '.join(lengths)}") for name, lengths in (
        ("predicted", ("200", "199")), ("labels", ("199", "200")))),
    ({"scores": None}, "scores must be present"), ({"scores": [0.5] * (N - 1)}, "scores must be 200 probabilities"),
    ({"scores": [1.5] * N}, "scores must be 200 probabilities"), ({"scores": [10**400] * N}, "200 probabilities"),
    ({"scores": [0.9] * N}, "predicted must be the second class where its score is above 0.5")])
def test_scores_and_predictions_fit_each_other(wrong: dict[str, Any], said: str) -> None:
    fields = invented("idc_table2", "idc_cnn", 0, wrong=0.1, classes=2)
    with pytest.raises(ValueError, match=said):
        records.checked({**fields, **wrong})


def places(fields: dict[str, Any]) -> list[tuple[dict[str, Any], str]]:
    """Every dictionary in a file of a run, and every name in it."""
    inner = [value for value in fields.values() if isinstance(value, dict)]
    return [(fields, name) for name in fields] + [place for value in inner for place in places(value)]


@pytest.mark.parametrize(("name", "model", "classes"), [
    ("mnist_table1", "cnn", 10), ("mnist_committee", "lstm_cnn", 10), ("idc_table2", "idc_cnn", 2),
    ("pneumonia_cnn_lstm", "pneumonia_cnn_lstm", 2)])
@pytest.mark.parametrize("odd", ["missing", None, True, -1, 0, 10**400, "", "`|", [], {"a": 1}, 1e300], ids=str)
def test_what_is_read_can_be_said(name: str, model: str, classes: int, odd: Any) -> None:
    """With any value of one field, the file is refused, or RESULTS.md can be made of it."""
    count = len(places(invented(name, model, 0, wrong=0.1, classes=classes)))
    refused = 0
    for number in range(count):
        fields = invented(name, model, 0, wrong=0.1, classes=classes)
        within, field = places(fields)[number]
        if odd == "missing":
            del within[field]
        else:
            within[field] = odd
        try:
            run = records.checked(fields)
        except ValueError:
            refused += 1
        else:
            if run["experiment"] == name and run["model"] == model:
                with suppress(DataError):  # a committee needs probabilities
                    results.markdown({name: [run]})
    assert refused > 15
