"""The model of the chapters: its script trains it, and its file is right and small."""

import sys
from pathlib import Path

import pytest

import tinynet as tn
from tests.support.project import ROOT

sys.path.insert(0, str(ROOT / "examples"))  # as for a script

import train_small_lstm


@pytest.mark.parametrize(("units", "right"), [(16, 0.95), (32, 0.98)])
def test_a_model_is_small_and_reads_digits(units: int, right: float) -> None:
    file = ROOT / "examples" / "trained" / f"lstm_{units}.safetensors"
    assert file.stat().st_size < 40_000
    model, (data, _) = tn.load(file), tn.data.load("digits")
    scores = tn.predict(model, data.test_images.astype("float32") / 255)
    assert (scores.argmax(axis=1) == data.test_labels).mean() > right


def test_each_data_set_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path,
                               capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(tn, "fit", lambda *given, **options: None)
    load = tn.data.load
    monkeypatch.setattr(tn.data, "load", lambda name: (load("digits")[0], f"These are {name}."))
    assert train_small_lstm.main(["--data", "digits", "others", "--out", str(tmp_path / "a.safetensors")]) == 0
    first, second, *rest = capsys.readouterr().out.splitlines()
    assert (first, second) == ("These are digits.", "These are others.")
    assert [line.partition(":")[0] for line in rest[:2]] == ["digits", "others"]


@pytest.mark.long
def test_the_script_trains_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert train_small_lstm.main(["--data", "digits", "--epochs", "1", "--out", str(tmp_path / "a.safetensors")]) == 0
    assert "digits: 0." in capsys.readouterr().out
    assert len(tn.load(tmp_path / "a.safetensors")) == 2
