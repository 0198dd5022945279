"""Each option of each command of `tinynet` gets to what it is for. Nothing is trained, drawn or served."""

import argparse
import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import tinynet as tn
from tinynet import nn
from tinynet.__main__ import main, parser
from tinynet.commands import evaluate, explain, export, learn, predict, train
from tinynet.from_folder.settings import Settings
from tinynet.learn import checking
from tinynet.nn.module import Module

# --- train ----------------------------------------------------------------------------------------------------------

TRAIN: dict[str, tuple[list[str], Any]] = {
    "size": (["--size", "40"], 40), "epochs": (["--epochs", "7"], 7), "patience": (["--patience", "3"], 3),
    "batch_size": (["--batch-size", "9"], 9), "lr": (["--lr", "0.5"], 0.5), "augment": (["--augment"], True),
    "flip": (["--flip", "both"], "both"), "class_weights": (["--class-weights", "on"], "on"),
    "folds": (["--folds", "4"], 4), "threshold": (["--threshold", "0.25"], 0.25),
    "sensitivity": (["--sensitivity", "0.75"], 0.75), "positive": (["--positive", "cat"], "cat"),
    "groups": (["--groups", r"(\d)"], r"(\d)"), "max_skipped": (["--max-skipped", "0.5"], 0.5),
    "device": (["--device", "gpu:1"], "gpu:1"), "seed": (["--seed", "6"], 6), "out": (["--out", "x"], Path("x")),
    "resume": (["--resume"], True)}


@pytest.fixture
def settings(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What `tinynet train` was to train with."""
    found: list[Settings] = []
    monkeypatch.setattr(train, "run", found.append)
    return found


@pytest.mark.parametrize("name", TRAIN)
def test_an_option_of_train_changes_its_setting_alone(name: str, settings: list[Settings]) -> None:
    words, value = TRAIN[name]
    assert main(["train", "photos"]) == main(["train", "photos", *words]) == 0
    usual, changed = map(vars, settings)
    assert usual == vars(Settings(Path("photos"))) and changed == {**usual, name: value} != usual


def test_every_setting_is_an_option() -> None:
    assert {*TRAIN, "folder"} == {*Settings.__dataclass_fields__}


@pytest.mark.parametrize(("words", "name", "value"), [
    (["--threshold", "balanced"], "threshold", "balanced"), (["--groups", "none"], "groups", None),
    (["--sensitivity", "1"], "sensitivity", 1.0), (["--size", "8"], "size", 8), (["--size", "1024"], "size", 1024),
    (["--folds", "2"], "folds", 2), (["--max-skipped", "1"], "max_skipped", 1.0),
    (["--seed", "0"], "seed", 0), (["--seed", str(2**32 - 1)], "seed", 2**32 - 1), (["--epochs", "1"], "epochs", 1),
    (["--flip", "horizontal"], "flip", "horizontal"), (["--flip", "vertical"], "flip", "vertical"),
    (["--class-weights", "off"], "class_weights", "off"), (["--class-weights", "auto"], "class_weights", "auto")])
def test_values_of_options_of_train(words: list[str], name: str, value: Any, settings: list[Settings]) -> None:
    main(["train", "photos", *words])
    assert getattr(settings[0], name) == value


@pytest.mark.parametrize(("words", "fault"), [
    (["--size", "7"], "error: --size must be in [8, 1024]"), (["--size", "1025"], "error: --size must be in [8, 1024]"),
    (["--folds", "1"], "error: --folds must be at least 2"), (["--epochs", "x"], "invalid int value: 'x'"),
    (["--threshold", "0"], "must be between 0 and 1, or balanced, got 0"), (["--threshold", "1"], "between 0 and 1"),
    (["--seed", "-1"], "must be in [0, 2**32), got -1"), (["--seed", str(2**32)], "must be in [0, 2**32), got 4294967"),
    (["--lr", "inf"], "must be positive, got inf"), (["--lr", "nan"], "must be positive, got nan"),
    (["--max-skipped", "0"], "must be above 0 and at most 1, got 0"), (["--sensitivity", "0"], "must be above 0"),
    (["--sensitivity", "1.01"], "got 1.01"), (["--threshold", "0.3", "--sensitivity", "0.3"], "not allowed with")])
def test_values_that_are_refused(words: list[str], fault: str, settings: list[Settings],
                                 capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stopped:
        main(["train", "photos", *words])
    assert not settings and stopped.value.code == 2 and fault in capsys.readouterr().err


# --- commands that run a model --------------------------------------------------------------------------------------

@pytest.fixture
def model(tmp_path: Path) -> str:
    """A model whose probability of "bright" rises with the mean."""
    made = nn.Sequential(nn.GlobalAveragePool(), nn.Dense(1, 3), input_shape=(4, 4, 1))
    made[1].load_state_dict({"W": np.array([[-4.0, 0.0, 4.0]]), "b": np.array([2.0, 0.0, -2.0])})
    made.classes, made.scaling = ("dark", "grey", "bright"), nn.Scaling()
    tn.save(tmp_path / "model.safetensors", made)
    return str(tmp_path / "model.safetensors")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two dark images, one of which is bright, and three bright ones, one of which is dark; a part `test` of one."""
    for name, level in (("train/dark/1", 0), ("train/dark/2", 250), ("train/bright/1", 255), ("train/bright/2", 240),
                        ("train/bright/3", 20), ("test/dark/4", 10)):
        (tmp_path / "data" / name).parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), level).save(tmp_path / "data" / f"{name}.png")
    return tmp_path / "data"


@pytest.fixture
def noted(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """The devices of models, and the batch sizes of probabilities."""
    found: dict[str, Any] = {"device": [], "batch_size": []}
    probabilities = predict.Classifier.probabilities

    def counted(self: Any, images: Any, *, batch_size: int = 64) -> np.ndarray:
        found["batch_size"].append(batch_size)
        return probabilities(self, images, batch_size=batch_size)

    monkeypatch.setattr(Module, "to", lambda self, device: found["device"].append(device) or self)
    monkeypatch.setattr(predict.Classifier, "probabilities", counted)
    return found


@pytest.mark.parametrize("command", ["predict", "evaluate"])
def test_device_and_batch_size_are_those_of_the_options(command: str, model: str, folder: Path, noted: dict[str, Any],
                                                        capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, model, str(folder), "--device", "gpu:1", "--batch-size", "3"]) == 0
    assert noted["device"] == ["gpu:1"] and noted["batch_size"] == [3] * (2 if command == "predict" else 1)
    main([command, model, str(folder)])
    assert noted["device"][1:] == ["cpu"] and noted["batch_size"][-1] == 64
    capsys.readouterr()


def test_the_answers_of_predict(model: str, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """As text the most probable class first, in JSON and CSV the same numbers."""
    image = str(folder / "train" / "dark" / "1.png")
    p = np.exp([2.0, 0.0, -2.0]) / np.exp([2.0, 0.0, -2.0]).sum()
    assert main(["predict", model, image]) == 0
    assert capsys.readouterr().out == f"{image}: dark {p[0]:.1%}, grey {p[1]:.1%}, bright {p[2]:.1%}\n"
    main(["predict", model, image, "--json"])
    answer, = json.loads(capsys.readouterr().out)
    assert (answer["class"], answer["probability"]) == ("dark", pytest.approx(p[0]))
    assert list(answer["probabilities"]) == ["dark", "grey", "bright"]
    main(["predict", model, image, "--csv"])
    head, line = capsys.readouterr().out.splitlines()
    assert head == "image,class,probability,p(dark),p(grey),p(bright),error"
    cells = line.split(",")
    assert cells[:2] == [image, "dark"] and cells[-1] == "" and [float(one) for one in cells[2:6]] == pytest.approx(
        [p[0], *p])


@pytest.mark.parametrize(("part", "images", "accuracy"), [("all", 6, 4 / 6), ("train", 5, 3 / 5), ("test", 1, 1.0),
                                                          (None, 1, 1.0)])
def test_the_part_that_is_evaluated(part: str | None, images: int, accuracy: float, model: str, folder: Path,
                                    capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", model, str(folder), "--json", *(["--part", part] if part else [])]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["images"], found["accuracy"]) == (images, pytest.approx(accuracy))
    if part == "train":
        assert found["confusion_matrix"] == [[1, 0, 1], [0, 0, 0], [1, 0, 2]]
        main(["evaluate", model, str(folder), "--csv", "--part", "train"])
        lines = capsys.readouterr().out.splitlines()
        assert lines[0] == "class,precision,recall,f1,images" and lines[1] == "dark,0.5,0.5,0.5,2"
        assert lines[3].split(",")[-1] == "3"


def test_images_that_are_unlike_are_counted(model: str, folder: Path, monkeypatch: pytest.MonkeyPatch,
                                            capsys: pytest.CaptureFixture[str]) -> None:
    """Above 1, not at it."""
    monkeypatch.setattr(evaluate, "unlikeness", lambda model, images: np.array([0.5, 1.0, 1.01, 7.0, 0.0]))
    assert main(["evaluate", model, str(folder), "--part", "train"]) == 0
    assert "\nUnlike the training images: 2 of 5 images.\n" in capsys.readouterr().out
    main(["evaluate", model, str(folder), "--part", "train", "--json"])
    assert json.loads(capsys.readouterr().out)["unlike_training"] == 2
    monkeypatch.setattr(evaluate, "unlikeness", lambda model, images: None)
    main(["evaluate", model, str(folder), "--part", "train", "--json"])
    assert "unlike_training" not in json.loads(capsys.readouterr().out)
    monkeypatch.setattr(predict, "unlikeness", lambda model, images: np.array([1.0, 1.5])[: len(images)])
    main(["predict", model, *[str(folder / "train" / "dark" / f"{i}.png") for i in (1, 2)]])
    assert [line.endswith("; unlike the training images") for line in capsys.readouterr().out.splitlines()] == [
        False, True]


@pytest.mark.parametrize(("threshold", "expected"), [(None, [0, 1, 1]), (0.05, [1, 1, 1]), (0.999, [0, 0, 0])])
def test_commands_decide_by_the_threshold_of_the_model(threshold: float | None, expected: list[int], tmp_path: Path,
                                                       capsys: pytest.CaptureFixture[str]) -> None:
    """The predicted class comes first, whatever its probability. The images of a person are one group."""
    made = nn.Sequential(nn.GlobalAveragePool(), nn.Dense(1, 2), input_shape=(4, 4, 1))
    made[1].load_state_dict({"W": np.array([[-2.0, 2.0]]), "b": np.array([1.0, -1.0])})
    made.classes, made.scaling, made.decision_threshold = ("dark", "bright"), nn.Scaling(), threshold
    tn.save(tmp_path / "two.safetensors", made)
    paths = [tmp_path / "mine" / name for name in ("dark/person1_virus_1.png", "dark/person1_virus_2.png",
                                                   "bright/person2_virus_3.png")]
    for path, level in zip(paths, (0, 160, 255), strict=True):
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), level).save(path)
    model, right = str(tmp_path / "two.safetensors"), np.array(expected) == [0, 0, 1]
    main(["predict", model, *map(str, paths)])
    for line, number in zip(capsys.readouterr().out.splitlines(), expected, strict=True):
        assert line.partition(": ")[2].startswith(made.classes[number])
        assert line.endswith(" (bright is predicted above 5.0%)") == (threshold == 0.05)
    main(["evaluate", model, str(tmp_path / "mine"), "--json"])
    found = json.loads(capsys.readouterr().out)
    assert found["accuracy"] == pytest.approx(right.mean()) and found["threshold"] == threshold
    assert found["interval"] == list(tn.intervals.by_groups(right, np.array([0, 0, 1]))) and found["groups"] == 2
    main(["evaluate", model, str(tmp_path / "mine")])
    said = capsys.readouterr().out
    assert "The interval is resampled by 2 groups of images" in said
    assert ("bright is predicted if" in said) == (threshold is not None)


def test_at_most_five_classes_of_an_image_are_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made = nn.Sequential(nn.GlobalAveragePool(), nn.Dense(1, 7), input_shape=(4, 4, 1))
    made[1].load_state_dict({"W": np.zeros((1, 7)), "b": np.arange(7.0)})
    tn.save(tmp_path / "seven.safetensors", made)
    Image.new("L", (4, 4), 9).save(tmp_path / "one.png")
    main(["predict", str(tmp_path / "seven.safetensors"), str(tmp_path / "one.png")])
    shown = capsys.readouterr().out.partition(": ")[2].split(", ")
    assert [one.split()[0] for one in shown] == ["6", "5", "4", "3", "2"]
    main(["predict", str(tmp_path / "seven.safetensors"), str(tmp_path / "one.png"), "--json"])
    assert list(json.loads(capsys.readouterr().out)[0]["probabilities"]) == list("6543210")


# --- explain --------------------------------------------------------------------------------------------------------

@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """The pictures of `tinynet explain`: place, title, label and map of each."""
    found: list[dict[str, Any]] = []

    def heat(kind: int) -> Any:
        def made(model: Any, x: Any, target: int) -> np.ndarray:
            assert np.asarray(x).dtype == np.float32 and np.asarray(x).max() <= 1, "scaled as the model takes it"
            return np.full((len(x), *x.shape[1:3]), 100 * kind + target)
        return made

    monkeypatch.setattr(explain, "METHODS", {name: (heat(place), name, signed) for place, (name, (_, _, signed)) in
                                             enumerate(explain.METHODS.items())})
    monkeypatch.setattr(explain, "map_over", lambda place, pixels, heat, **more: found.append(
        {"place": Path(place), "heat": int(heat[0, 0]), "pixel": int(pixels[0, 0, 0]), **more}))
    return found


@pytest.mark.parametrize(("method", "number", "signed"), [("grad_cam", 0, False), ("gradient", 1, True),
                                                          ("occlusion", 2, True)])
def test_the_method_and_the_target(method: str, number: int, signed: bool, model: str, folder: Path,
                                   drawn: list[dict[str, Any]], tmp_path: Path,
                                   capsys: pytest.CaptureFixture[str]) -> None:
    image, out = str(folder / "train" / "dark" / "1.png"), tmp_path / "out"
    assert main(["explain", model, image, "--method", method, "--out", str(out)]) == 0
    assert main(["explain", model, image, "--method", method, "--target", "bright", "--json"]) == 0
    first, second = drawn
    assert (first["heat"], first["label"], first["signed"]) == (100 * number, method, signed)
    assert first["place"] == out / "001-1.png" and first["title"] == "1.png: dark 86.7%"
    assert second["heat"] == 100 * number + 2 and second["place"] == Path("explained/001-1.png")
    assert second["title"] == "1.png: dark 86.7%; map for bright"
    answer, = json.loads(capsys.readouterr().out.partition("\n")[2])
    main(["explain", model, image, "--method", method, "--target", "dark"])
    assert drawn[2]["title"] == "1.png: dark 86.7%" and drawn[2]["heat"] == 100 * number
    renamed = tn.load(model)
    renamed.classes = ("DARK", "grey", "Bright")
    tn.save(tmp_path / "renamed", renamed)
    main(["explain", str(tmp_path / "renamed"), image, "--method", method, "--target", "Bright"])
    assert drawn[3]["title"] == "1.png: DARK 86.7%; map for Bright"
    assert (answer["class"], answer["target"]) == ("dark", "bright") and "true" not in answer
    assert answer["probability"] == pytest.approx(0.867, abs=1e-3)


def test_the_method_by_default_and_its_device(model: str, folder: Path, drawn: list[dict[str, Any]],
                                              noted: dict[str, Any]) -> None:
    main(["explain", model, str(folder / "test" / "dark" / "4.png"), "--device", "gpu"])
    assert drawn[0]["label"] == "grad_cam" and noted["device"] == ["gpu"]


@pytest.mark.parametrize("most", [2, 100])
def test_a_folder_has_most_pictures_and_the_surest_mistakes_first(most: int, model: str, folder: Path,
                                                                  drawn: list[dict[str, Any]], tmp_path: Path,
                                                                  capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    words = ["--most", "2"] if most == 2 else []
    assert main(["explain", model, str(folder / "train"), "--out", str(out), *words]) == 0
    pictures = [one for one in drawn if one["place"].parent == out]
    mistakes = [one for one in drawn if one["place"].parent == out / "mistakes"]
    assert len(pictures) == min(most, 5) and [one["place"].name for one in mistakes] == ["001.png", "002.png"]
    assert [one["pixel"] for one in mistakes] == [250, 20], "the surest first"
    assert mistakes[0]["title"].endswith(", is dark") and mistakes[0]["title"].startswith("2.png: bright ")
    text = (out / "mistakes.html").read_text()
    assert "The 2 surest of 2 mistakes" in text
    assert text.index("dark</strong>, taken") < text.index("bright</strong>, taken")
    assert ("pictures of 2 of 5 images; --most for more" in capsys.readouterr().out) == (most == 2)
    assert parser().parse_args(["explain", "m", "i"]).most == 100


def test_each_method_has_its_map_and_its_label() -> None:
    assert {name: (function, label.split()[0]) for name, (function, label, _) in explain.METHODS.items()} == {
        "grad_cam": (tn.explain.grad_cam, "where"), "gradient": (tn.explain.gradient, "what"),
        "occlusion": (tn.explain.occlusion, "fall")}


@pytest.mark.parametrize("most", [3, 5])
def test_pictures_and_the_page_as_json(most: int, model: str, folder: Path, drawn: list[dict[str, Any]], tmp_path: Path,
                                       capsys: pytest.CaptureFixture[str]) -> None:
    """JSON stands on stdout alone. Of just as many images as are asked for, none is left out."""
    main(["explain", model, str(folder / "train"), "--out", str(tmp_path), "--most", str(most), "--json"])
    told = capsys.readouterr()
    *pictures, page = json.loads(told.out)
    assert [(one["true"], one["class"], Path(one["image"]).name) for one in pictures] == [
        ("bright", "bright", "1.png"), ("bright", "bright", "2.png"), ("bright", "dark", "3.png"),
        ("dark", "dark", "1.png"), ("dark", "bright", "2.png")][:most]
    assert [one["picture"] for one in pictures] == [str(one["place"]) for one in drawn[:most]]
    assert page == {"page": str(tmp_path / "mistakes.html"), "mistakes": 2}
    assert told.err == ("" if most == 5 else f"{folder / 'train'}: pictures of 3 of 5 images; --most for more\n")


def test_a_page_has_the_25_surest_mistakes(model: str, drawn: list[dict[str, Any]], tmp_path: Path,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    """Without a mistake, it says so. A folder of other classes has no page."""
    for number in range(27):
        (tmp_path / "in" / "dark").mkdir(parents=True, exist_ok=True)
        Image.new("L", (4, 4), 200 + number).save(tmp_path / "in" / "dark" / f"{number}.png")
    (tmp_path / "in" / "bright").mkdir()
    Image.new("L", (4, 4), 255).save(tmp_path / "in" / "bright" / "1.png")
    out = tmp_path / "out"
    main(["explain", model, str(tmp_path / "in"), "--out", str(out), "--most", "1"])
    assert capsys.readouterr().out.endswith(f"{out / 'mistakes.html'}: 25 of 27 mistakes, the surest first\n")
    assert [one["pixel"] for one in drawn[1:]] == [*range(226, 201, -1)]
    page = (out / "mistakes.html").read_text()
    assert page.startswith('<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n')
    assert page.count("<figure>") == 25 and f"The 25 surest of 27 mistakes of {model} on {tmp_path / 'in'}." in page
    for path in (tmp_path / "in" / "dark").iterdir():
        Image.new("L", (4, 4), 0).save(path)
    main(["explain", model, str(tmp_path / "in"), "--out", str(out), "--most", "1"])
    assert f"<p>No mistakes of {model} on {tmp_path / 'in'}.</p>" in (out / "mistakes.html").read_text()
    (tmp_path / "in" / "dark").rename(tmp_path / "in" / "pink")
    assert main(["explain", model, str(tmp_path / "in"), "--out", str(tmp_path / "other")]) == 0
    assert len([one for one in drawn if one["place"].parent == tmp_path / "other"]) == 28
    assert not (tmp_path / "other" / "mistakes.html").exists() and drawn[-1]["title"] == "26.png: dark 86.7%"


def test_each_folder_has_a_page_of_its_own(model: str, folder: Path, drawn: list[dict[str, Any]], tmp_path: Path,
                                           capsys: pytest.CaptureFixture[str]) -> None:
    folders = [str(folder / name) for name in ("train", "train/dark/1.png", "train", "te")]
    (folder / "te" / "dark").mkdir(parents=True)
    (folder / "te" / "bright").mkdir()
    Image.new("L", (4, 4), 5).save(folder / "te" / "bright" / "1.png")
    Image.new("L", (4, 4), 7).save(folder / "te" / "dark" / "1.png")
    main(["explain", model, *folders, "--out", str(tmp_path), "--most", "1", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert [(Path(one["page"]).name, one["mistakes"]) for one in found if "page" in one] == [
        ("mistakes.html", 2), ("mistakes-2.html", 2), ("mistakes-3.html", 1)]
    assert 'src="mistakes-3/001.png"' in (tmp_path / "mistakes-3.html").read_text()
    assert [one["place"].parent.name for one in drawn if one["place"].parent != tmp_path] == [
        "mistakes", "mistakes", "mistakes-2", "mistakes-2", "mistakes-3"]


def test_mistakes_are_those_by_the_threshold_of_the_model(folder: Path, drawn: list[dict[str, Any]], tmp_path: Path,
                                                          capsys: pytest.CaptureFixture[str]) -> None:
    """So are the class in a title and the class of a map."""
    made = nn.Sequential(nn.GlobalAveragePool(), nn.Dense(1, 2), input_shape=(4, 4, 1))
    made[1].load_state_dict({"W": np.array([[-2.0, 2.0]]), "b": np.array([1.0, -1.0])})
    made.classes, made.scaling, made.decision_threshold = ("dark", "bright"), nn.Scaling(), 0.05
    tn.save(tmp_path / "two.safetensors", made)
    main(["explain", str(tmp_path / "two.safetensors"), str(folder / "train"), "--out", str(tmp_path), "--json"])
    *pictures, page = json.loads(capsys.readouterr().out)
    assert [one["class"] for one in pictures] == ["bright"] * 5 and page["mistakes"] == 2
    assert drawn[3]["title"] == "1.png: bright 11.9%, is dark" and drawn[3]["heat"] == 1
    assert [one["pixel"] for one in drawn[5:]] == [250, 0], "the surest first"


def test_a_picture_has_a_name_of_letters_and_at_most_80(model: str, drawn: list[dict[str, Any]],
                                                        tmp_path: Path) -> None:
    for name in ("a-b_c 1.é", "x" * 200):
        Image.new("L", (4, 4), 0).save(tmp_path / f"{name}.png")
        main(["explain", model, str(tmp_path / f"{name}.png"), "--out", str(tmp_path / "out")])
    assert [one["place"].name for one in drawn] == ["001-a-b_c_1_é.png", f"001-{'x' * 80}.png"]


def test_pictures_are_numbered_from_argument_to_argument(model: str, folder: Path, drawn: list[dict[str, Any]],
                                                         tmp_path: Path) -> None:
    """So that none overwrites another; and what cannot be read has no number."""
    images = [folder / name for name in ("train/dark/1.png", "train/dark/none.png", "test/dark/4.png", "train",
                                         "train/dark/1.png")]
    assert main(["explain", model, *map(str, images), "--out", str(tmp_path), "--most", "2"]) == 1
    names = [one["place"].name for one in drawn if one["place"].parent == tmp_path]
    assert [name[4:] for name in names] == ["1.png", "4.png", "1.png", "2.png", "1.png"]
    assert names[:2] == ["001-1.png", "002-4.png"] and len({*names}) == 5 and sorted(names) == names


def test_written_names_cannot_talk_to_the_terminal(model: str, folder: Path, drawn: list[dict[str, Any]],
                                                   tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   capsys: pytest.CaptureFixture[str]) -> None:
    """Those of pictures, of pages, of exported models and of exercises, and those of the images in titles."""
    strange = "red\x1b[31m"
    (folder / "train").rename(folder / strange)
    Image.new("L", (4, 4), 9).save(tmp_path / f"{strange}.png")
    monkeypatch.setattr(export, "to_onnx", lambda model, path, **options: Path(path).write_bytes(b"x"))
    for words, lines in ((["explain", model, tmp_path / f"{strange}.png", "--out", tmp_path / f"out{strange}"], 1),
                         (["explain", model, folder / strange, "--most", "1", "--out", tmp_path / f"out{strange}"], 3),
                         (["export", model, "--onnx", tmp_path / f"{strange}.onnx"], 1),
                         (["learn", "--exercises", tmp_path / strange], 8)):
        assert main([str(word) for word in words]) == 0
        out, err = capsys.readouterr()
        assert out.count(r"red\x1b[31m") >= lines == len(out.splitlines()) and "\x1b" not in out + err
    page = next((tmp_path / f"out{strange}").glob("*.html")).read_text()
    assert r"red\x1b[31m" in page and "\x1b" not in page and drawn[0]["title"].startswith(r"red\x1b[31m.png: dark")


def test_what_the_help_of_a_command_says(capsys: pytest.CaptureFixture[str]) -> None:
    """A line in the list of all; the same as a sentence, and examples, in its own."""
    commands = next(one for one in parser()._actions if isinstance(one, argparse._SubParsersAction))
    told = {one.dest: str(one.help) for one in commands._choices_actions}
    assert list(told) == str(commands.metavar).split("|") == list(commands.choices)
    for name, made in commands.choices.items():
        assert made.description == f"{told[name][0].upper()}{told[name][1:]}." and "\n" not in told[name]
        assert str(made.epilog).startswith(f"examples:\n  tinynet {name}")
        options = {word for one in made._actions for word in one.option_strings}
        assert ("--json" in options) == (name != "train") and ("--csv" in options) == (
            name in ("predict", "evaluate", "summary"))
        assert ("--device" in options) == (name in ("train", "predict", "evaluate", "explain"))


# --- export ---------------------------------------------------------------------------------------------------------

@pytest.mark.parametrize("given", [[], ["pixels"], ["probabilities"], ["lengths"]], ids=str)
def test_each_option_of_onnx(given: list[str], model: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                             capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Any] = []

    def to_onnx(model: Any, path: str, **options: Any) -> None:
        asked.append(options)
        Path(path).write_bytes(b"x" * 3000)

    monkeypatch.setattr(export, "to_onnx", to_onnx)
    out = str(tmp_path / "a.onnx")
    assert main(["export", model, "--onnx", out, *(f"--{name}" for name in given)]) == 0
    assert asked == [{name: name in given for name in ("pixels", "probabilities", "lengths")}]
    assert capsys.readouterr().out == f"written to {out}: 3.0 kB\n"
    main(["export", model, "--onnx", out, "--json"])
    assert json.loads(capsys.readouterr().out) == {"file": out, "bytes": 3000}


@pytest.mark.parametrize(("words", "options"), [
    ([], {"title": "model", "runtime_folder": None}),
    (["--title", "A cat?", "--runtime", "there"], {"title": "A cat?", "runtime_folder": "there"})])
def test_each_option_of_the_web_page(words: list[str], options: dict[str, Any], model: str, tmp_path: Path,
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[Any] = []
    monkeypatch.setattr(export, "write_page", lambda model, path, **options: (
        asked.append(options), Path(path).write_text("")))
    assert main(["export", model, "--web", str(tmp_path / "a.html"), *words]) == 0 and asked == [options]


# --- learn, summary -------------------------------------------------------------------------------------------------

@pytest.mark.parametrize(("words", "port", "opened"), [([], 0, 1), (["--port", "8123", "--no-browser"], 8123, 0),
                                                       (["--json"], 0, 1)])
def test_the_lab_is_served(words: list[str], port: int, opened: int, monkeypatch: pytest.MonkeyPatch,
                           capsys: pytest.CaptureFixture[str]) -> None:
    asked: list[Any] = []

    class Server:
        address = "http://127.0.0.1:1/#token"

        def __init__(self, port: int) -> None:
            asked.append(port)

        def __enter__(self) -> "Server":
            return self

        def __exit__(self, *error: object) -> None:
            asked.append("closed")

        def serve_forever(self) -> None:
            asked.append("served")

    timers: list[Any] = []
    monkeypatch.setattr(learn, "Server", Server)
    monkeypatch.setattr(learn.threading, "Timer", lambda seconds, call, arguments: SimpleNamespace(
        start=lambda: timers.append(arguments)))
    assert main(["learn", *words]) == 0
    assert asked == [port, "served", "closed"] and timers == [[Server.address]] * opened
    printed = capsys.readouterr().out
    assert json.loads(printed) == {"address": Server.address} if "--json" in words else Server.address in printed


def test_exercises_are_written_or_checked(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["learn", "--exercises", str(tmp_path / "mine"), "--check", "file.py"])
    assert "not allowed with" in capsys.readouterr().err and not (tmp_path / "mine").exists()


@pytest.mark.parametrize(("verdicts", "whole", "code"), [(["right"], "", 0), (["right", "is 0"], "", 1),
                                                         (["right"], "does not run", 1)])
def test_the_code_of_a_check(verdicts: list[str], whole: str, code: int, monkeypatch: pytest.MonkeyPatch,
                             capsys: pytest.CaptureFixture[str]) -> None:
    findings = [checking.Finding("f", k, "x", verdict) for k, verdict in enumerate(verdicts, 1)]
    monkeypatch.setattr(checking, "check", lambda path: checking.Report("dense", findings, whole))
    assert main(["learn", "--check", "file.py", "--json"]) == code
    found = json.loads(capsys.readouterr().out)
    assert (found["exercise"], found["right"], found["file"]) == ("dense", code == 0, whole)
    assert [one["verdict"] for one in found["lines"]] == verdicts
    main(["learn", "--check", "file.py"])
    first, *lines = capsys.readouterr().out.splitlines()
    assert [line.split()[:3] for line in lines[: len(verdicts)]] == [
        ["f", f"({k})", "x"] for k in range(1, len(verdicts) + 1)]
    assert (lines[-1] == f"The file: {whole}.") == bool(whole)
    assert first == f"Exercise 1, the gradients of a matrix product: 1 of {len(verdicts)} lines are right."


def test_the_columns_of_a_summary(model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["summary", model, "--json"]) == 0
    out = capsys.readouterr().out
    found = json.loads(out)
    assert out.startswith('{\n "input_shape": [\n  4,')
    assert (found["input_shape"], found["classes"], found["parameters"]) == ([4, 4, 1], ["dark", "grey", "bright"], 6)
    assert found["scaling"] == {"mean": [0.0], "scale": [255.0]} and found["decision_threshold"] is None
    assert [layer["parameters"] for layer in found["layers"]] == [0, 6]
    main(["summary", model, "--csv"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "name,layer,shape,parameters,flops,activations"
    assert [line.split(",")[3] for line in lines[1:]] == ["0", "6"] and isinstance(parser(), argparse.ArgumentParser)


def test_a_summary_of_a_model_that_says_little_or_much(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Its shapes, classes and scaling are unknown, or it has a threshold, too."""
    path = str(tmp_path / "model.safetensors")
    made = nn.Dense(3, 2)
    tn.save(path, made)
    main(["summary", path, "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["input_shape"], found["classes"], found["scaling"], found["parameters"]) == (None, None, None, 8)
    main(["summary", path, "--csv"])
    assert capsys.readouterr().out.splitlines()[1].split(",")[1:4] == ["Dense", "", "8"]
    assert main(["summary", path]) == 0 and "threshold" not in capsys.readouterr().out
    made.input_shape, made.classes, made.decision_threshold = (3,), ("a", "b"), 0.123456
    tn.save(path, made)
    main(["summary", path, "--json"])
    assert json.loads(capsys.readouterr().out)["decision_threshold"] == 0.123456
    main(["summary", path])
    assert capsys.readouterr().out.endswith("\nscaling   not said: pixels / 255\nthreshold 0.1235\n")
