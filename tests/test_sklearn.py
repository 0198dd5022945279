"""`tn.sklearn.Classifier` as scikit-learn uses its classifiers."""

import pickle
import subprocess
import sys
from typing import Any

import numpy as np
import pytest

pytest.importorskip("sklearn")
from sklearn.base import clone
from sklearn.model_selection import GridSearchCV, cross_val_predict, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.utils.estimator_checks import parametrize_with_checks

import tinynet as tn


def build(input_shape: tuple[int, ...], classes: int) -> tn.nn.Sequential:
    return tn.nn.Sequential(tn.nn.Dense(*input_shape, 32), tn.nn.ReLU(), tn.nn.Dense(32, classes))


def build_cnn(input_shape: tuple[int, ...], classes: int) -> tn.nn.Sequential:
    return tn.nn.Sequential(tn.nn.Conv2D(input_shape[-1], 4, 3), tn.nn.ReLU(), tn.nn.GlobalAveragePool(),
                            tn.nn.Dense(4, classes))


@parametrize_with_checks([tn.sklearn.Classifier(build)])
def test_the_checks_of_scikit_learn(estimator: Any, check: Any) -> None:
    check(estimator)


def blobs(count: int = 240, classes: int = 3) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, count)
    return rng.normal(size=(count, 5)) + 3 * np.eye(5)[labels] * 10, np.array(["cat", "cow", "dog"])[labels]


def test_pipeline_scores_and_clone() -> None:
    X, y = blobs()
    pipeline = make_pipeline(StandardScaler(), tn.sklearn.Classifier(build, epochs=30, lr=1e-2))
    assert cross_val_score(pipeline, X, y, cv=3).min() > 0.95
    one, other = (clone(pipeline).fit(X, y) for _ in range(2))
    np.testing.assert_array_equal(one.predict_proba(X), other.predict_proba(X))
    p = one.predict_proba(X)
    np.testing.assert_allclose(p.sum(axis=1), 1, atol=1e-9)
    np.testing.assert_array_equal(one.predict(X), one.classes_[p.argmax(axis=1)])
    assert not np.array_equal(clone(pipeline).set_params(classifier__seed=1).fit(X, y).predict_proba(X), p)
    assert list(one.named_steps["classifier"].history_[-1]) == ["epoch", "train_loss", "train_accuracy", "seconds",
                                                                "images_per_second"]


def test_processes() -> None:
    X, y = blobs(120)
    model = tn.sklearn.Classifier(build, epochs=5)
    search = GridSearchCV(model, {"lr": [1e-5, 1e-2], "batch_size": [8]}, cv=2, n_jobs=2).fit(X, y)
    assert search.best_params_ == {"lr": 1e-2, "batch_size": 8} and search.best_score_ > 0.9
    alone = cross_val_predict(model, X, y, cv=2, method="predict_proba")
    np.testing.assert_array_equal(cross_val_predict(model, X, y, cv=2, method="predict_proba", n_jobs=2), alone)
    again = pickle.loads(pickle.dumps(search.best_estimator_))
    np.testing.assert_array_equal(again.predict_proba(X), search.best_estimator_.predict_proba(X))


def test_images_and_the_seed_outside() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(60, 8, 8, 1)), np.arange(60) % 2
    X[y == 1] += 1
    tn.seed(7)
    tn.random.next_draw()
    model = tn.sklearn.Classifier(build_cnn, epochs=20, lr=3e-2).fit(X, y)
    assert model.score(X, y) > 0.9 and tn.random.state_dict() == {"seed": 7, "draws": 1}
    first = model.predict_proba(X[:1])
    np.testing.assert_array_equal(model.predict_proba(X)[:1], first)
    for one, told in ((y * 0, "0"), (np.array(["cat"] * 60), "'cat'")):
        with pytest.raises(ValueError, match=f"y must hold at least two classes, got one class, {told}; take samples"):
            tn.sklearn.Classifier(build_cnn).fit(X, one)


def test_a_row_has_the_same_bits_in_any_company() -> None:
    """The model is in evaluation, and the classifier says that it takes arrays of more axes."""
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(130, 300)), np.arange(130) % 3
    model = tn.sklearn.Classifier(build, epochs=1).fit(X, y)
    p = model.predict_proba(X)
    assert p.shape == (130, 3) and not model.model_.training
    for rows in (slice(0, 1), slice(3, 10), slice(60, 124), slice(64, 129)):
        np.testing.assert_array_equal(model.predict_proba(X[rows]), p[rows])
    assert model.__sklearn_tags__().input_tags.three_d_array


def test_the_seed_outside_is_restored_after_an_error() -> None:
    def broken(input_shape: tuple[int, ...], classes: int) -> tn.nn.Module:
        raise OSError("broken")

    tn.seed(7)
    tn.random.next_draw()
    with pytest.raises(OSError, match="broken"):
        tn.sklearn.Classifier(broken, seed=3).fit(np.eye(4), np.arange(4) % 2)
    assert tn.random.state_dict() == {"seed": 7, "draws": 1}


@pytest.mark.parametrize("option", [{}, {"epochs": 3}, {"batch_size": 5}, {"lr": 0.5}, {"seed": 9}], ids=str)
def test_each_option_has_its_effect(option: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    asked: dict[str, Any] = {}
    monkeypatch.setattr("tinynet.sklearn.fit", lambda model, optimizer, batches, **options: asked.update(
        options, model=model, optimizer=optimizer, batches=batches))
    X, y = np.random.default_rng(0).normal(size=(12, 8, 8, 1)), np.arange(12) % 2
    tn.sklearn.Classifier(build_cnn, **option).fit(X, y)
    wanted = {"epochs": 20, "batch_size": 32, "lr": 1e-3, "seed": 0, **option}
    batches = asked["batches"]
    assert (asked["epochs"], batches.batch_size, asked["optimizer"].lr, batches.seed) == (
        wanted["epochs"], wanted["batch_size"], wanted["lr"], wanted["seed"])
    tn.seed(wanted["seed"])
    made = build_cnn((8, 8, 1), 2).parameters()
    assert all((a.numpy() == b.numpy()).all() for a, b in zip(made, asked["model"].parameters(), strict=True))
    assert batches.shuffle and (batches.arrays[0] == X.astype("float32")).all()


def test_it_is_imported_on_first_use_only() -> None:
    code = ("import sys, tinynet as tn; assert 'sklearn' not in sys.modules; assert 'sklearn' not in dir(tn);"
            "tn.sklearn.Classifier; assert 'sklearn' in sys.modules; from tinynet.sklearn import Classifier")
    subprocess.run([sys.executable, "-c", code], check=True, timeout=100)
