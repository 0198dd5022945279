"""Images unlike the training set: scores, files, and what the commands say."""

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

import tinynet as tn
from tinynet import novelty
from tinynet.__main__ import main
from tinynet.ensemble import ensemble
from tinynet.errors import ArgumentError, ModelFileError, ShapeError
from tinynet.familiar import COMPONENTS, Familiar, _components, statistics
from tinynet.novelty import remember, unlikeness

rng = np.random.default_rng(0)


def kept(features: np.ndarray, validation: np.ndarray) -> Familiar:
    return Familiar.fit(features, validation, mean=np.zeros(1), deviation=np.ones(1), size=(8, 8))


@pytest.mark.parametrize("features", [3, 60])
def test_the_score_is_the_mahalanobis_distance(features: int) -> None:
    mixing = rng.normal(size=(features, features)) * np.r_[np.full(min(features, 20), 5.0), np.full(features, 0.1)[20:]]
    x, validation, new = (rng.normal(size=(count, features)) @ mixing for count in (4000, 1000, 3000))
    one = kept(x, validation)
    assert (one.score(new) > 1).mean() == pytest.approx(0.005, abs=0.004)
    assert (one.score(validation) > 1).sum() == 5
    if features < COMPONENTS:
        centred = (new - x.mean(axis=0)) @ np.linalg.inv(np.linalg.cholesky(np.cov(x.T))).T
        distance = np.sqrt((centred**2).sum(axis=1))
        assert np.corrcoef(distance, one.score(new))[0, 1] > 0.99
    assert (one.score(new + 30 * x.std(axis=0)) > 1).all()


def test_components_of_few_rows_are_those_of_many_columns() -> None:
    z = rng.normal(size=(30, 50)) * np.linspace(3, 1, 50)
    z -= z.mean(axis=0)
    basis, variances = _components(z, 8)
    expected = np.linalg.svd(z)[2][:8]
    np.testing.assert_allclose(np.abs((basis * expected).sum(axis=1)), 1, atol=1e-9)
    np.testing.assert_allclose(variances, np.linalg.svd(z)[1][:8] ** 2 / 30)
    tall, same = _components(np.concatenate([z, z]), 8)
    np.testing.assert_allclose(np.abs((basis * tall).sum(axis=1)), 1, atol=1e-9)
    np.testing.assert_allclose(same, variances)


def test_few_and_degenerate_images() -> None:
    few = kept(rng.normal(size=(12, 40)), rng.normal(size=(4, 40)))
    assert (few.score(rng.normal(size=(200, 40))) > 1).mean() < 0.5
    assert few.basis.shape == (12 // 4, 40) and kept(rng.normal(size=(300, 60)), few.center[None].repeat(60, 1)[:, :60]
                                                     ).basis.shape == (32, 60)
    same = kept(np.ones((9, 5)), np.ones((9, 5)))
    for name, least in (("scale", 0.01), ("spread", 0.01), ("rest", 0.01), ("limit", 0.001)):
        np.testing.assert_allclose(getattr(same, name), least, rtol=1e-6, err_msg=name)
    assert kept(np.ones((9, 1)), np.ones((9, 1))).basis.shape == (1, 1)
    assert np.isfinite(same.score(np.zeros((2, 5)))).all() and (same.score(np.zeros((2, 5))) > 1).all()
    for some, other in ((0, 5), (5, 0)):
        with pytest.raises(ArgumentError, match="there must be images to train on and to validate"):
            kept(np.ones((some, 3)), np.ones((other, 3)))
    with pytest.raises(ShapeError, match=r"features must be \(N, 5\), got \(2, 4\)"):
        same.score(np.zeros((2, 4)))
    for shape in ((5,), (2, 5, 1)):
        with pytest.raises(ShapeError, match=r"features must be \(N, 5\), got"):
            same.score(np.zeros(shape))


def test_arrays_that_cannot_be_right_are_refused() -> None:
    one = kept(rng.normal(size=(60, 5)), rng.normal(size=(60, 5)))
    for name in ("scale", "spread", "rest", "limit"):
        for number in (0.0, -1.0):
            array = getattr(one, name).copy()
            array[-1] = number
            with pytest.raises(ArgumentError, match="scale, spread, rest and limit must be positive"):
                replace(one, **{name: array})
    with pytest.raises(ShapeError, match="of shapes that fit each other"):
        replace(one, center=one.center[0], scale=one.scale[0], basis=one.basis[:, 0])
    for name, array in one.arrays().items():
        with pytest.raises(ShapeError, match="must be finite"):
            replace(one, **{name: np.full_like(array, np.nan)})
        if name != "deviation":  # its shape is that which the mean must have
            with pytest.raises(ShapeError, match=rf"of shapes that fit each other, and \[.*'{name}'"
                               if name not in ("center", "basis") else "of shapes that fit each other"):
                replace(one, **{name: np.ones((2, 3, *array.shape), np.float32)})


@pytest.mark.parametrize("count", [20, 199, 200, 400])
def test_the_limit_of_few_images_is_no_lower_than_that_of_a_normal_distribution(count: int) -> None:
    """Of logarithms, up to 199 validation images; the 99.5th percentile of more."""
    random = np.random.default_rng(3)
    validation = random.normal(size=(count, 4)) * np.linspace(0.2, 1, count)[:, None]
    one = kept(random.normal(size=(300, 4)), validation)
    distances = one.score(validation) * one.limit[0]
    percentile, logs = np.percentile(distances, 99.5), np.log(distances)
    wide = np.exp(logs.mean() + 2.576 * logs.std())
    assert wide > 1.05 * percentile, "else the data say nothing"
    assert one.limit[0] == pytest.approx(wide if count < 200 else percentile, rel=1e-5)


def test_the_distance_by_its_equation() -> None:
    """Along the components in deviations of each, in all other directions in one deviation."""
    random = np.random.default_rng(4)
    x = random.normal(size=(500, 3)) * [3.0, 1.0, 0.2] + [5.0, 0.0, -1.0]
    one = kept(x, x)
    assert one.basis.shape == (2, 3)
    z = (x - x.mean(axis=0)) / x.std(axis=0)
    variances, vectors = np.linalg.eigh(z.T @ z / 500)
    squares = (z @ vectors[:, ::-1]) ** 2 / variances[::-1]
    np.testing.assert_allclose(one.score(x) * one.limit[0], np.sqrt(squares.sum(axis=1) / 3), rtol=1e-3)


def test_statistics_tell_images_apart() -> None:
    flat, noise = np.full((1, 16, 16, 3), 128, np.uint8), rng.integers(0, 256, (1, 16, 16, 3), dtype=np.uint8)
    red = flat.copy()
    red[..., 0] = 255
    values = statistics(np.concatenate([flat, noise, red]))
    assert values.shape == (3, 27) and np.isfinite(values).all()
    assert (np.abs(values[1:] - values[0]).max(axis=1) > 0.2).all()
    assert statistics(np.zeros((2, 1, 1, 1), np.uint8)).shape == (2, 11)


@pytest.mark.parametrize("channels", [1, 3])
def test_each_statistic_by_its_equation(channels: int) -> None:
    x = np.random.default_rng(1).integers(0, 256, (3, 7, 9, channels), dtype=np.uint8)
    x = (x // np.arange(1, channels + 1)).astype(np.uint8)
    for values, image in zip(statistics(x), x / 255, strict=True):
        grey = image.mean(axis=2)
        expected = [*image.mean(axis=(0, 1)), *image.std(axis=(0, 1)),
                    *np.percentile(image, (1, 25, 50, 75, 99), axis=(0, 1)).ravel(),
                    np.abs(grey[1:] - grey[:-1]).mean(), np.abs(grey[:, 1:] - grey[:, :-1]).mean(),
                    np.abs(grey[2:] - grey[:-2]).mean(), np.abs(grey[:, 2:] - grey[:, :-2]).mean()]
        if channels == 3:
            expected += [np.abs(image[..., k] - image[..., k + 1]).mean() for k in (0, 1)]
        np.testing.assert_allclose(values, expected, atol=1e-6)


def photos(count: int, low: int = 60, high: int = 140, side: int = 12) -> np.ndarray:
    """Smooth grey images."""
    corners = rng.integers(low, high, (count, 4, 4), dtype=np.uint8)
    return np.stack([np.asarray(Image.fromarray(one).resize((side, side), Image.Resampling.BICUBIC))
                     for one in corners])[..., None]


def classifier(classes: int = 2) -> tn.nn.Sequential:
    model = tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(144, 24), tn.nn.Tanh(), tn.nn.Dense(24, classes),
                             input_shape=(12, 12, 1))
    model.classes, model.scaling = tuple("abc"[:classes]), tn.nn.Scaling()
    return model


def test_strange_images_are_told_and_files_keep_it(tmp_path: Path) -> None:
    model = classifier()
    assert unlikeness(model, photos(2)) is None
    train = photos(500)
    remember(model, train, photos(300), size=(40, 50))
    known = model.familiar[0]
    assert known.mean == pytest.approx(train.mean()) and known.deviation == pytest.approx(train.std(), rel=1e-3)
    assert known.size.tolist() == [40, 50]
    assert len(known.center) == 11 + 24, "statistics, and the last hidden layer"
    noise = rng.integers(0, 256, (50, 12, 12, 1), dtype=np.uint8)
    new = photos(400)
    assert (unlikeness(model, new) > 1).mean() < 0.03
    for strange in (noise, 255 - new[:50] // 2, photos(50) // 3, new[:50] * 0):
        assert (unlikeness(model, strange) > 1).all()
    path = tmp_path / "model.safetensors"
    tn.save(path, model)
    loaded = tn.load(path)
    np.testing.assert_array_equal(unlikeness(loaded, noise), unlikeness(model, noise))
    np.testing.assert_array_equal(tn.predict(loaded, np.ones((1, 12, 12, 1), "float32")),
                                  tn.predict(model, np.ones((1, 12, 12, 1), "float32")))
    plain = classifier()
    tn.save(path, plain)
    assert tn.load(path).familiar is None


def test_of_many_images_equally_spaced_ones_are_looked_at_some_at_a_time(monkeypatch: pytest.MonkeyPatch) -> None:
    model, train, validation = classifier(), photos(20), photos(9)
    train[[0, 3, 6, 9, 12, 15, 19]] //= 2
    chosen = train[[0, 3, 6, 9, 12, 15, 19]].astype(float)
    monkeypatch.setattr(novelty, "MOST", 7)
    monkeypatch.setattr(novelty, "AT_ONCE", 3)
    remember(model, train, validation)
    known = model.familiar[0]
    assert known.size.tolist() == [12, 12]
    np.testing.assert_allclose([known.mean[0], known.deviation[0]], [chosen.mean(), chosen.std()], rtol=1e-5)
    scores = unlikeness(model, validation)
    np.testing.assert_allclose(scores, [unlikeness(model, validation[[i]])[0] for i in range(9)], rtol=1e-4)


def test_the_limit_is_that_of_the_validation_images() -> None:
    """Of 400 images that are less alike than those to train on, two lie beyond it."""
    model, train = classifier(), photos(300, 95, 105)
    validation = np.concatenate([photos(200, 95, 105), photos(200)])
    remember(model, train, validation)
    assert (unlikeness(model, validation) > 1).sum() == 2 and (unlikeness(model, train) <= 1).all()
    none = unlikeness(model, validation[:0])
    assert none.shape == (0,) and none.dtype == np.float64


def test_the_moments_are_those_of_each_channel_and_a_model_without_a_dense_layer_has_statistics_alone() -> None:
    model = tn.nn.Sequential(tn.nn.Conv2D(3, 2, (6, 5)), tn.nn.Flatten(), input_shape=(6, 5, 3))
    train = rng.integers(0, (50, 150, 250), (30, 6, 5, 3)).astype(np.uint8)
    remember(model, train, train[:9])
    known = model.familiar[0]
    np.testing.assert_allclose(known.mean, train.mean(axis=(0, 1, 2)), rtol=1e-6)
    np.testing.assert_allclose(known.deviation, train.std(axis=(0, 1, 2)), rtol=1e-6)
    assert len(known.center) == 27 and known.size.tolist() == [6, 5]


def test_a_layer_is_looked_at_for_one_call_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also if that call fails."""
    model = classifier()
    remember(model, photos(40), photos(20))
    assert "forward" not in vars(model[3])

    def failing(*arguments: object) -> None:
        assert "forward" in vars(model[3])
        raise ZeroDivisionError

    monkeypatch.setattr(novelty, "evaluated", failing)
    with pytest.raises(ZeroDivisionError):
        unlikeness(model, photos(2))
    assert "forward" not in vars(model[3])


def test_an_ensemble_knows_the_images_of_each_member(tmp_path: Path) -> None:
    models = [classifier() for _ in range(2)]
    for model, low in zip(models, (60, 100), strict=True):
        remember(model, photos(300, low, low + 80), photos(200, low, low + 80))
    both = ensemble(models)
    x = photos(20)
    np.testing.assert_allclose(unlikeness(both, x), np.mean([unlikeness(model, x) for model in models], axis=0))
    tn.save(tmp_path / "both.safetensors", both)
    loaded = tn.load(tmp_path / "both.safetensors")
    np.testing.assert_array_equal(unlikeness(loaded, x), unlikeness(both, x))
    loaded.familiar = loaded.familiar[:1]
    with pytest.raises(ModelFileError, match="each of its 2 members, and has those of 1"):
        unlikeness(loaded, x)
    assert ensemble([models[0], classifier()]).familiar is None


def forged(path: Path, change: object) -> None:
    """Write a model whose file is changed by a function of its arrays and its header."""
    from safetensors import safe_open
    from safetensors.numpy import load_file, save_file

    with safe_open(path, "numpy") as file:
        header = json.loads(file.metadata()["tinynet 1"])
    arrays = load_file(path)
    header.pop("crc32", None)
    change(arrays, header)  # type: ignore[operator]
    save_file(arrays, path, {"tinynet 1": json.dumps(header)})


@pytest.mark.parametrize(("change", "message"), [
    (lambda arrays, header: arrays.update({"familiar.0.limit": np.zeros(1, "float32")}), "must be positive"),
    (lambda arrays, header: arrays.update({"familiar.0.basis": np.ones((2, 9), "float32")}), "shapes that fit"),
    (lambda arrays, header: arrays.update({"familiar.0.center": arrays["familiar.0.center"] * np.nan}), "finite"),
    (lambda arrays, header: arrays.pop("familiar.0.rest"), "rest"),
    (lambda arrays, header: arrays.update({"familiar.1.rest": np.ones(1, "float32")}), "arrays of more members"),
    (lambda arrays, header: arrays.update({"familiar.0.other": np.ones(1, "float32")}), "other"),
    (lambda arrays, header: header.update(familiar=0), "a number of members from 1 to 1000"),
    (lambda arrays, header: header.update(familiar=10**9), "a number of members"),
    (lambda arrays, header: header.update(familiar="x"), "a number of members"),
    (lambda arrays, header: header.update(familiar=True), "a number of members"),
    (lambda arrays, header: header.update(familiar=1001), "a number of members"),
    (lambda arrays, header: header.update(familiar=1000), "must hold what its model knows of its training images"),
    (lambda arrays, header: header.pop("familiar"), "must hold only what its layers have"),
    (lambda arrays, header: header.update(decision_threshold=1.5), "decision_threshold must be a probability"),
    (lambda arrays, header: header.update(decision_threshold=None), "decision_threshold must be a probability")])
def test_damaged_and_forged_files(change: object, message: str, tmp_path: Path) -> None:
    model = classifier()
    remember(model, photos(60), photos(60))
    path = tmp_path / "model.safetensors"
    tn.save(path, model)
    forged(path, lambda arrays, header: None)
    assert tn.load(path).familiar is not None
    forged(path, change)
    with pytest.raises(ModelFileError, match=message):
        tn.load(path)


def test_thresholds_are_for_two_classes(tmp_path: Path) -> None:
    model = classifier(3)
    model.decision_threshold = 0.3
    with pytest.raises(ModelFileError, match="decision_threshold must be that of two classes"):
        tn.save(tmp_path / "model.safetensors", model)


def test_predict_and_evaluate_say_it(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    model, path, folder = classifier(), str(tmp_path / "model.safetensors"), tmp_path / "in"
    remember(model, photos(400), photos(300))
    tn.save(path, model)
    for name, image in (("a/usual.png", photos(1)[0]), ("b/noise.png", rng.integers(0, 256, (12, 12, 1), np.uint8))):
        (folder / name).parent.mkdir(parents=True)
        Image.fromarray(image[..., 0]).save(folder / name)
    assert main(["predict", path, str(folder)]) == 0
    usual, noise = capsys.readouterr().out.splitlines()
    assert "unlike" not in usual and noise.endswith("; unlike the training images")
    assert main(["predict", "--json", path, str(folder)]) == 0
    answers = json.loads(capsys.readouterr().out)
    assert [answer["unlike_training"] for answer in answers] == [False, True]
    assert answers[0]["unlikeness"] < 1 < answers[1]["unlikeness"]
    assert main(["predict", "--csv", path, str(folder)]) == 0
    rows = list(csv.DictReader(io.StringIO(capsys.readouterr().out)))
    assert [row["unlike_training"] for row in rows] == ["False", "True"]
    assert main(["predict", "--csv", path, str(folder / "none.png"), str(folder / "b" / "noise.png")]) == 1
    first, second = csv.DictReader(io.StringIO(capsys.readouterr().out))
    assert (first["unlike_training"], first["class"]) == ("", "") and "none.png is not there" in first["error"]
    assert (second["unlike_training"], second["error"]) == ("True", "")
    assert main(["evaluate", path, str(folder)]) == 0
    assert "Unlike the training images: 1 of 2 images." in capsys.readouterr().out
