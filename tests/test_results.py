"""Results: RESULTS.md is what the committed runs say, and runs that are damaged or unequal are refused."""

import copy
import doctest
import json
import math
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tinynet import metrics
from tinynet.errors import DataError

EXAMPLES = Path(__file__).parent.parent / "examples"
sys.path.insert(0, str(EXAMPLES))

import committees  # noqa: E402
import intervals  # noqa: E402
import mnist_committee  # noqa: E402
import pneumonia_cnn_lstm  # noqa: E402
import records  # noqa: E402
import results  # noqa: E402
import sections  # noqa: E402
import tables  # noqa: E402

N = 200  # test images of an invented run


def invented(experiment: str, model: str, seed: int, *, wrong: float, classes: int = 10,
             fold: str = "") -> dict[str, Any]:
    """The fields of a run that nobody made: `wrong` of its predictions are."""
    truth = np.random.default_rng(7).integers(0, classes, N)
    rng = np.random.default_rng([seed, len(model), int(1000 * wrong)])
    probabilities = rng.uniform(0, 0.5, (N, classes)) / classes
    said = np.where(rng.uniform(size=N) < wrong, (truth + 1) % classes, truth)
    probabilities[np.arange(N), said] += 1 - probabilities.sum(axis=1)
    curve = np.linspace(0.5, 1 - wrong, 4).tolist()
    fields = {
        "format": records.FORMAT, "experiment": experiment, "model": model, "seed": seed, "fold": fold,
        "command": f"python examples/{experiment}.py", "started": "2020-02-03T04:05:06+00:00", "commit": 40 * "a",
        "hardware": {"processor": "abacus, 2 processors", "system": "none", "device": "cpu"},
        "versions": {"tinynet": "0"},
        "settings": {"epochs": 4, "augment": {"shift": 0.1}, "limit": None, "input": [28, 28, 1]},
        "data": {"name": "real", "stand_in": False, "parted": "by hand", "train": 90, "validation": 10, "test": N},
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
    made = []
    for seed in range(seeds):
        made += [invented("mnist_table1", model, seed, wrong=wrong) for model, wrong in
                 (("lstm_cnn", 0.05), ("cnn_lstm", 0.05), ("lstm", 0.2), ("cnn", 0.01))]
        made += [invented("mnist_deep", "deep_lstm_cnn", seed, wrong=0.004),
                 invented("mnist_committee", "lstm_cnn", seed, wrong=0.05),
                 invented("pneumonia_cnn_lstm", "pneumonia_cnn_lstm", seed, wrong=0.1, classes=2)]
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
    assert (EXAMPLES / "RESULTS.md").read_bytes() == results.markdown(runs).encode(), \
        "RESULTS.md is not what the runs say: python examples/results.py"
    for name, made in runs.items():
        assert name in sections.SECTIONS
        assert not [run for run in made if run["data"]["stand_in"] or run["settings"]["limit"] is not None]


def test_the_published_figures_are_there_and_can_be_drawn(tmp_path: Path) -> None:
    runs, text = results.load(EXAMPLES / "results"), (EXAMPLES / "RESULTS.md").read_text()
    for name in runs:
        for path in sections.draw(name, runs, tmp_path):
            assert path.is_file() and f"(figures/{path.name})" in text
            assert (EXAMPLES / "figures" / path.name).is_file()


def test_all_sections_and_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = write(tmp_path / "results", everything())
    assert results.main(["--results", str(folder), "--out", str(tmp_path)]) == 0
    text = (tmp_path / "RESULTS.md").read_text()
    assert text == results.markdown(results.load(folder))
    for part in ("| LSTM-CNN | 1,234 | 99.8261 | 98.267 |", ">= 99.2: not reached", ">= 99.5: ", "smoke test",
                 "| Cruz-Roa 2014, whole set |  | 84.23 | 71.80 |  |", "always \"negative\"", "Not a diagnostic tool",
                 "precision    recall  f1-score", "![figure4](figures/figure4.png)", "shift 0.1",
                 "Made on abacus, 2 processors (device: cpu), by",
                 "Seeds 0, 1, 2, 3, 4", "| deep LSTM-CNN | 5 |", "| both | 10 |", "65 runs"):
        assert part in text, part
    printed = capsys.readouterr().out
    named = [name for section in sections.SECTIONS.values() for name in section.figures(results.load(folder))]
    assert len(named) == 13
    for name in named:
        assert f"(figures/{name})" in text
        assert f"written: {tmp_path / 'figures' / name}" in printed
        with Image.open(tmp_path / "figures" / name) as picture:
            assert min(picture.size) > 300


def test_the_numbers_are_right(tmp_path: Path) -> None:
    """Once more, from the JSON files, with nothing of results.py."""
    made = everything()
    text = results.markdown(results.load(write(tmp_path, made)))

    def shares(experiment: str, model: str) -> list[float]:
        return [np.mean([a == b for a, b in zip(run["labels"], run["predicted"], strict=True)])
                for run in made if (run["experiment"], run["model"]) == (experiment, model)]

    for model, name in (("lstm_cnn", "LSTM-CNN"), ("cnn", "CNN"), ("lstm", "LSTM")):
        of_five = 100 * np.array(shares("mnist_table1", model))
        mean, deviation = of_five.mean(), of_five.std(ddof=1)
        half = 2.7764451 * deviation / math.sqrt(5)
        row = f"| {mean:.2f} ± {deviation:.2f} | {mean - half:.2f} to {mean + half:.2f} |"
        assert any(line.startswith(f"| {name} | 1,234 |") and row in line for line in text.splitlines()), (name, row)

    one = [run for run in made if run["experiment"] == "mnist_table1" and run["seed"] == 0]
    arrays = {run["model"]: np.array(list(map(int, run["predicted"]))) for run in one}
    labels = np.array(list(map(int, one[0]["labels"])))
    p = metrics.mcnemar(labels, arrays["lstm_cnn"], arrays["lstm"]).p
    line, = (line for line in text.splitlines() if line.startswith("| LSTM-CNN - LSTM |") and f" {p:.2g}," in line)
    assert line.endswith("| 5 : 0 of 5 |")
    assert "it is better than LSTM, not shown to be better or worse than CNN-LSTM, worse than CNN." in text
    assert "they mean nothing" not in text


@pytest.mark.parametrize("module", [intervals, records])
def test_examples_in_the_texts(module: ModuleType) -> None:
    assert doctest.testmod(module, optionflags=doctest.ELLIPSIS).failed == 0


def test_student_and_wilson() -> None:
    for freedom, level, value in ((1, 0.95, 12.706205), (4, 0.95, 2.776445), (9, 0.95, 2.262157), (4, 0.99, 4.604095),
                                  (34, 0.95, 2.032245)):
        assert intervals.t_quantile(freedom, level) == pytest.approx(value, abs=2e-6)
    for end in intervals.wilson(9920, 10000):  # where the share that was seen is just not surprising
        assert abs(end - 0.992) == pytest.approx(1.959964 * math.sqrt(end * (1 - end) / 10000), rel=1e-5)
    assert intervals.wilson(0, 10) == pytest.approx((0, 0.277533), abs=1e-6)
    assert intervals.wilson(10, 10)[1] == 1
    found = intervals.mean_of([0.99, 0.992, 0.991])
    assert found == pytest.approx((0.991, 0.001, 4.302653 * 0.001 / math.sqrt(3)), abs=1e-8)
    assert intervals.mean_of([0.5]) == (0.5, 0, 0)


@pytest.mark.parametrize(("others", "verdict"), [
    ({"lstm": 0.2, "cnn": 0.2}, "it does: it is better than LSTM and CNN."),
    ({"lstm": 0.2, "cnn": 0.0}, "it does not: it is better than LSTM, worse than CNN."),
    ({"lstm": 0.05}, "it does not: it is not shown to be better or worse than LSTM.")])
@pytest.mark.parametrize("seeds", [1, 5])
def test_the_verdict_on_the_paper(others: dict[str, float], verdict: str, seeds: int) -> None:
    made = [records.checked(invented("mnist_table1", model, seed, wrong=wrong)) for seed in range(seeds)
            for model, wrong in {"lstm_cnn": 0.05, **others}.items()]
    text = tables.comparisons(made)
    assert text.endswith(verdict)
    if seeds == 1:
        assert "one run" in tables.accuracies("mnist_table1", made)


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
    for name in sections.SECTIONS:
        assert f"No runs yet: `python examples/{name}.py`." in text
    assert "![" not in text


def changed(**more: Any) -> dict[str, Any]:
    return {**invented("mnist_table1", "cnn", 1, wrong=0.1), **more}


@pytest.mark.parametrize(("other", "what"), [
    (changed(settings={"epochs": 5}), "differ in settings"),
    (changed(labels=records.digits(np.zeros(N, int))), "differ in test images"),
    (changed(data={**changed()["data"], "train": 91}), "differ in data")])
def test_unequal_conditions_are_refused(other: dict[str, Any], what: str, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    write(tmp_path / "results", [invented("mnist_table1", "lstm_cnn", 0, wrong=0.1), other])
    assert results.main(["--results", str(tmp_path / "results"), "--out", str(tmp_path)]) == 1
    assert what in capsys.readouterr().err
    assert not (tmp_path / "RESULTS.md").exists()


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
    for wrong in ({"data": {**made[0]["data"], "stand_in": True}}, {"settings": {**made[0]["settings"], "limit": 9}}):
        records.write(tmp_path / "more" / "lstm_cnn-seed7.json", {**made[0], **wrong, "seed": 7})
        assert results.main([*command, "--add", str(tmp_path / "more")]) == 1
        assert "on real data, and on all of it" in capsys.readouterr().err
    assert results.main([*command, "--add", str(tmp_path / "nowhere")]) == 1
    assert "holds none" in capsys.readouterr().err


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
        ("seconds", -1.0), ("seconds", 10**400), ("scores", [0.5] * N), ("data", {}), ("data/stand_in", 1),
        ("probabilities", 5), ("probabilities", "!"), ("probabilities", "eNr7DwAAAQEBAA=="),
        ("probabilities", records.pack(np.zeros((5000, 5000))))))])
def test_a_damaged_file_is_one_sentence(content: str | bytes, tmp_path: Path,
                                        capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "run.json").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(DataError, match=r"run\.json must be the file of a run, and is not"):
        records.read(tmp_path / "run.json")
    assert results.main(["--results", str(tmp_path), "--out", str(tmp_path)]) == 1
    assert "Traceback" not in capsys.readouterr().err
