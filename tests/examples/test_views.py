"""Views of digits, and the committee whose members see them differently."""

import doctest
import json
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from test_results import N, invented, row

import tinynet as tn

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import mnist_ciresan  # noqa: E402
import results  # noqa: E402
from paper import views  # noqa: E402
from paper.reporting import ciresan, records, report  # noqa: E402
from paper.views import MEMBERS, View  # noqa: E402


def test_examples_in_the_texts() -> None:
    assert doctest.testmod(views).failed == 0


def bar(slope: float, *, middle: float = 13.5, width: int = 4) -> np.ndarray:
    """A bar of 20 rows whose middle moves by `slope` from row to row, uint8 (1, 28, 28)."""
    image = np.zeros((1, 28, 28), np.uint8)
    for y in range(4, 24):
        start = round(middle + slope * (y - 13.5) - width / 2 + 0.5)
        image[0, y, start : start + width] = 255
    return image


def ink(image: np.ndarray) -> tuple[int, int]:
    """The first and the last column with ink."""
    columns = np.flatnonzero((image >= views.INK).any(axis=0))
    return int(columns[0]), int(columns[-1])


@pytest.mark.parametrize("slope", [-0.6, -0.25, 0.0, 0.4])
def test_a_slanted_bar_becomes_upright(slope: float) -> None:
    out = views.upright(bar(slope, middle=11.5))[0].astype(float)
    x, rows = np.arange(28), slice(4, 24)
    means = (out[rows] * x).sum(axis=1) / out[rows].sum(axis=1)
    assert np.abs(means - 13.5).max() < 0.6  # the middle of the image; the bar is drawn in whole pixels
    assert abs(np.polyfit(np.arange(20), means, 1)[0]) < 0.02
    assert out.sum() == pytest.approx(bar(slope).astype(float).sum(), rel=0.02)


@pytest.mark.parametrize("width", [10, 14, 20])
@pytest.mark.parametrize("given", [9, 12, 19])
def test_a_digit_gets_its_width(width: int, given: int) -> None:
    first, last = ink(views.of_width(bar(0, middle=9.5, width=given), width)[0])
    expected = min(width, views.STRETCHED * given)
    assert abs(last - first + 1 - expected) <= 2 and abs((first + last) / 2 - 13.5) <= 0.5


def test_a_narrow_digit_is_stretched_to_twice_its_width_at_most() -> None:
    row = views.of_width(bar(0, width=3), 20)[0, 10]
    assert row[row > 0].tolist() == [64, 191, 255, 255, 255, 255, 191, 64], "at most, between two columns without ink"


def test_a_picture_without_ink_stays_empty() -> None:
    nothing = np.zeros((2, 28, 28, 1), np.uint8)
    for member in MEMBERS:
        assert (member.view(nothing) == 0).all()


def test_views_of_many_are_those_of_each() -> None:
    images = tn.data.load_digits().test_images[:7, ..., None]
    for view in (View(12), View(deskewed=True), View(16, deskewed=True), View(by_columns=True)):
        whole = view(images)
        assert whole.shape == images.shape and whole.dtype == np.uint8
        assert (view(images[3:4]) == whole[3:4]).all()
    assert (View(by_columns=True)(images)[..., 0] == images[..., 0].swapaxes(1, 2)).all()
    assert (View()(images) == images).all()


def test_the_members_are_35_and_different() -> None:
    assert len({member.name for member in MEMBERS}) == len(MEMBERS) == 35
    assert {member.architecture for member in MEMBERS} == {"lstm_cnn", "cnn_lstm"}
    assert {member.seed for member in MEMBERS} == set(range(mnist_ciresan.SEEDS))
    assert {member.make().input_shape for member in MEMBERS[:2]} == {(28, 28, 1)}
    published = {path.stem for path in (EXAMPLES / "results").glob("mnist_ciresan-*.json")}
    assert published == {f"mnist_ciresan-{member.name}-seed{member.seed}" for member in MEMBERS}


def members(**wrong: float) -> list[records.Record]:
    return [records.checked(invented("mnist_ciresan", member.name, member.seed, wrong=wrong.get(member.name, 0.2)))
            for member in MEMBERS]


def test_the_section_of_the_committee() -> None:
    made = members(lstm_cnn_w10=0.5)
    text = report.section("mnist_ciresan", {"mnist_ciresan": made})
    alone = {run["model"]: 100 * run.accuracy for run in made}
    cells = row(text, "10 px")
    assert cells[1:] == [f"{alone[name]:.2f}" for name in
                         ("cnn_lstm_w10", "cnn_lstm_w10_deskewed", "lstm_cnn_w10", "lstm_cnn_w10_columns",
                          "lstm_cnn_w10_deskewed")]
    assert "| width | CNN-LSTM | CNN-LSTM, deskewed | LSTM-CNN | LSTM-CNN, by columns | LSTM-CNN, deskewed |" in text
    assert "| own | " in text and [row(text, name)[1] for name in ("LSTM-CNN", "CNN-LSTM", "all")] == ["21", "14", "35"]
    together = np.mean([run.probabilities for run in made], axis=0).argmax(axis=1)
    assert row(text, "all")[3] == f"{100 * (together == made[0].labels).mean():.2f}"
    assert row(text, "35")[1] == row(text, "all")[3]
    assert "No test image is wrong for all members." in text


def test_an_unfinished_committee_of_one_kind() -> None:
    """All are one committee, and the members that are missing are counted."""
    own = [run for run in members() if run["model"].startswith("cnn_lstm_")]
    assert list(ciresan.found({"mnist_ciresan": own})) == ["all"]
    assert "**Unfinished: 21 of 35 members are still missing.** " in ciresan.ciresan({"mnist_ciresan": own})


def test_the_images_that_all_members_get_wrong(monkeypatch: pytest.MonkeyPatch) -> None:
    made = members()
    fields = [json.loads(json.dumps(run.fields)) for run in made]
    for place, one in enumerate(fields):
        one["labels"] = "8" + one["labels"][1:]
        one["predicted"] = ("3" if place < 30 else "5") + one["predicted"][1:]
    changed = list(map(records.checked, fields))
    assert ciresan.all_wrong(changed).tolist() == [0]
    assert ciresan.votes(changed, 0) == {3: 30, 5: 5}
    text = report.section("mnist_ciresan", {"mnist_ciresan": changed})
    assert "1 of 200 test images is wrong for all members:" in text and "| 0 | 8 | 3 (30), 5 (5) |" in text
    for most, more in ((1, ""), (0, "; the first 0 are shown")):
        monkeypatch.setattr(ciresan, "SHOWN", most)
        drawing = ciresan.ciresan_figures({"mnist_ciresan": changed})["mnist_ciresan_wrong"]
        assert drawing.caption.endswith(f" 1 of 200 images is wrong for all members{more}.")
        assert drawing.paint.keywords["title"] == "MNIST: test images that all 35 members get wrong"  # type: ignore[attr-defined]
    assert len(changed[0].labels) == N


def test_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    command = ["--data", "digits", "--epochs", "1", "--limit", "64", "--only", "lstm_cnn_w10", "cnn_lstm_own",
               "--out", str(tmp_path)]
    assert mnist_ciresan.main(command) == 0
    made = [records.read(path) for path in sorted(tmp_path.glob("*.json"))]
    assert [run["model"] for run in made] == ["cnn_lstm_own", "lstm_cnn_w10"]
    assert {run["command"] for run in made} == {"python examples/mnist_ciresan.py --data digits --epochs 1 --limit 64"}
    assert "STAND-IN" in capsys.readouterr().out
    for name in ("mnist_ciresan_size.png", "mnist_ciresan_wrong.png", "mnist_ciresan_wrong.svg"):
        assert (tmp_path / name).is_file()
    model = tn.load(tmp_path / "lstm_cnn_w10-seed0.safetensors")
    shown = View(10)(tn.data.load_digits().test_images[..., None])
    assert (tn.predict(model, model.scaling(shown)).argmax(axis=1) == made[1].predicted).all()
    with pytest.raises(SystemExit):
        mnist_ciresan.main(["--only", "cnn"])


def test_another_committee_has_other_seeds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seeds, counts = list[int](), list[int]()

    def run_all(jobs: Any, options: Any) -> list[Any]:
        seeds.extend(job.seed for job in jobs)
        counts.append(len(options.seeds))
        return []

    monkeypatch.setattr(mnist_ciresan.experiment, "run_all", run_all)
    monkeypatch.setattr(mnist_ciresan.report, "show", lambda *arguments: None)
    mnist_ciresan.main(["--data", "digits", "--seed", "7", "--out", str(tmp_path), "--only", "lstm_cnn_w10",
                        "cnn_lstm_w10"])
    assert seeds == [35, 36]
    mnist_ciresan.main(["--data", "digits", "--out", str(tmp_path), "--only", "cnn_lstm_w10"])
    assert seeds[2:] == [1] and {*counts} == {1}, "one committee, by default the first"
    assert set(results.SECTIONS["mnist_ciresan"].models) == {member.name for member in MEMBERS}


def test_what_is_beyond_the_border_is_black() -> None:
    images = np.full((1, 1, 3), 200, np.uint8)
    for place, value in ((0.0, 200), (2.0, 200), (2.25, 150), (3.0, 0), (9.0, 0), (-0.25, 150), (-1.0, 0), (-9.0, 0)):
        assert views.columns_from(images, np.full((1, 1, 3), place)).tolist() == [[[value] * 3]], place
