"""Temperature, biases and thresholds, against searches and known answers."""

from itertools import pairwise

import numpy as np
import pytest

import tinynet as tn
from tinynet.calibration import (
    HOTTEST,
    PRIOR,
    Calibration,
    absorb,
    balanced_threshold,
    calibrate,
    cross_fitted,
    gained,
    log_losses,
    sensitive_threshold,
)
from tinynet.ensemble import ensemble, gives_probabilities, members
from tinynet.errors import ArgumentError, ShapeError

optimize = pytest.importorskip("scipy.optimize")


def samples(count: int, classes: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Scores (N,K) and labels (N) that are drawn from their softmax."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0, 2, (count, classes))
    p = tn.ops.softmax(tn.Tensor(scores)).numpy()
    return scores, (rng.random((count, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)


@pytest.mark.parametrize("classes", [2, 5])
def test_a_known_temperature_and_bias_are_found(classes: int) -> None:
    scores, labels = samples(40_000, classes)
    shift = np.linspace(-1, 1, classes)
    found = calibrate(3 * (scores - shift), labels, bias=True)
    assert found.temperature == pytest.approx(3, rel=0.05)
    np.testing.assert_allclose(found.bias, shift - shift.mean(), atol=0.08)
    alone = calibrate(scores / 2, labels)
    assert alone.temperature == pytest.approx(0.5, rel=0.05) and alone.bias == (0.0,) * classes
    before, after = (tn.metrics.calibration_error(labels, tn.ops.softmax(tn.Tensor(3 * scores)).numpy()),
                     tn.metrics.calibration_error(labels, calibrate(3 * scores, labels)(3 * scores)))
    assert after < 0.02 < before


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize(("count", "classes"), [(3, 2), (40, 3), (200, 4)])
def test_it_is_the_minimum_that_a_search_finds(count: int, classes: int, bias: bool) -> None:
    scores, labels = samples(count, classes, seed=count)
    labels[:classes] = np.arange(classes)[: len(labels)]
    counts = np.bincount(labels, minlength=classes)[labels]
    target = np.repeat(1 / classes / (counts + 1)[:, None], classes, axis=1)
    target[np.arange(count), labels] = (counts + 1 / classes) / (counts + 1)

    def loss(theta: np.ndarray) -> float:
        z = np.exp(theta[0]) * scores + (theta[1:] if bias else 0)
        return float(-(target * (z - np.log(np.exp(z).sum(axis=1, keepdims=True)))).sum(axis=1).mean()
                     + PRIOR / 2 * theta[0] ** 2 / count)

    best = optimize.minimize(loss, np.zeros(1 + classes), method="Nelder-Mead",
                             options={"maxiter": 20_000, "maxfev": 20_000, "xatol": 1e-8, "fatol": 1e-12})
    found = calibrate(scores, labels, bias=bias)
    assert loss(np.r_[-np.log(found.temperature), found.bias]) <= best.fun + 1e-6


@pytest.mark.parametrize("classes", [2, 6, 20])
def test_it_costs_little_where_nothing_is_to_be_gained_and_gains_where_something_is(classes: int) -> None:
    """How much worse than the true probabilities others are, in nats, as a mean over many small calibrations."""
    rng = np.random.default_rng(classes)
    cost: dict[str, list[float]] = {name: [] for name in ("calibrated", "overconfident", "overconfident as it is")}
    for _ in range(10):
        scores = rng.normal(size=(4300, classes))
        scores[np.arange(4300), rng.integers(0, classes, 4300)] += 4
        p = tn.ops.softmax(tn.Tensor(scores)).numpy()
        labels = (rng.random((4300, 1)) > p.cumsum(axis=1)).sum(axis=1).clip(0, classes - 1)
        for name, factor in (("calibrated", 1.0), ("overconfident", 1.3)):
            found = calibrate(factor * scores[:300], labels[:300])
            cost[name].append(divergence(p[300:], found(factor * scores[300:])))
        as_it_is = Calibration(1.0, (0.0,) * classes)(1.3 * scores[300:])
        cost["overconfident as it is"].append(divergence(p[300:], as_it_is))
    few, many, unchanged = (float(np.mean(values)) for values in cost.values())
    assert few < 0.015 and many < 0.015 and unchanged > 0.008 and many < 0.2 * unchanged


def divergence(p: np.ndarray, q: np.ndarray) -> float:
    return float((p * np.log(p / q)).sum(axis=1).mean())


def test_the_gain_and_its_error() -> None:
    rng = np.random.default_rng(0)
    labels, patients = rng.integers(0, 3, 600), np.repeat(np.arange(60), 10)
    before, after = (rng.dirichlet([5, 5, 5], 600) for _ in range(2))
    gains = np.log(after / before)[np.arange(600), labels]
    assert gained(labels, before, after) == pytest.approx((gains.mean(), gains.std(ddof=1) / 600**0.5))
    sums = gains.reshape(60, 10).sum(axis=1)  # patients with equal numbers of images
    assert gained(labels, before, after, patients) == pytest.approx((gains.mean(), sums.std(ddof=1) / 60**0.5 / 10))
    assert gained(labels, before, before) == (0.0, 0.0)
    single = np.where(np.arange(600) < 300, 0, np.arange(600))  # a patient of 300 images, and 300 of one
    sums = np.bincount(single, weights=gains - gains.mean())[np.r_[0, 300:600]]
    error = (301 / 300 * (sums @ sums)) ** 0.5 / 600
    assert gained(labels, before, after, single) == pytest.approx((gains.mean(), error))
    assert gained(labels, before, after, single.astype(str)) == pytest.approx((gains.mean(), error))
    assert np.isnan(gained(labels, before, after, np.zeros(600, int))[1])
    assert np.isfinite(gained(np.array([0, 0]), np.array([[0.0, 1.0]] * 2), np.array([[1.0, 0.0]] * 2))[0])


def test_the_loss_of_a_very_improbable_class_is_not_cut_off() -> None:
    assert log_losses(np.array([1, 0]), np.array([[1.0, 1e-200], [0.25, 0.75]])) == pytest.approx(
        [200 * np.log(10), np.log(4)])
    assert 700 < log_losses(np.array([1]), np.array([[1.0, 0.0]]))[0] < np.inf


def test_degenerate_images() -> None:
    apart = np.log([[0.999, 0.001]] * 5 + [[0.001, 0.999]] * 5)
    labels = np.repeat([0, 1], 5)
    p = calibrate(apart, labels, bias=True)(apart)
    assert (p[np.arange(10), labels] < 0.999).all() and p[0, 0] > 0.9  # not 1
    assert 3 < calibrate(apart, 1 - labels).temperature <= HOTTEST
    assert calibrate(np.tile(apart, (500, 1)), np.tile(1 - labels, 500)).temperature > 20
    assert np.isfinite(calibrate(apart[:1], labels[:1], bias=True)(apart)).all()  # a class without images
    assert np.isfinite(calibrate(np.array([[-1e4, 1e4], [1e4, -1e4]]), np.array([0, 1]), bias=True).temperature)
    assert calibrate(1000 * apart, 1 - labels).temperature == pytest.approx(100)  # the highest
    three = calibrate(np.log([[0.7, 0.2, 0.1]] * 3 + [[0.2, 0.6, 0.2]] * 2), np.array([0, 0, 1, 1, 0]), bias=True)
    assert three.temperature == pytest.approx(1.0929047, rel=1e-6)
    assert three.bias == pytest.approx((0.2637248, 0.1054675, -0.3691923), rel=1e-5)  # the last is without images
    with pytest.raises(ArgumentError, match="at least one image"):
        calibrate(np.zeros((0, 2)), np.zeros(0, int))


def test_a_model_absorbs_it() -> None:
    tn.seed(0)
    model = tn.nn.Sequential(tn.nn.Dense(4, 6), tn.nn.Tanh(), tn.nn.Dense(6, 3))
    model[2].load_state_dict({**model[2].state_dict(), "b": np.array([1.0, -2.0, 0.5])})
    x = np.random.default_rng(0).normal(size=(9, 4)).astype("float32")
    calibration, scores = Calibration(2.5, (0.5, -0.25, -0.25)), tn.predict(model, x)
    absorb(model, calibration)
    np.testing.assert_allclose(tn.ops.softmax(tn.Tensor(tn.predict(model, x))).numpy(), calibration(scores), atol=1e-6)
    for other, last in ((tn.nn.Sequential(tn.nn.Dense(2, 2), tn.nn.Softmax()), "Softmax"),
                        (tn.nn.Sequential(), "Sequential"), (tn.nn.LSTM(2, 2), "LSTM")):
        with pytest.raises(ArgumentError, match=f"must be a Sequential that ends in a Dense .* and ends in {last};"):
            absorb(other, calibration)
    plain = tn.nn.Sequential(tn.nn.Dense(2, 2, bias=False))
    weights = plain[0].W.numpy().copy()
    absorb(plain, Calibration(2.0, (0.0, 0.0)))
    np.testing.assert_array_equal(plain[0].W.numpy(), weights / 2)
    with pytest.raises(ArgumentError, match="must have a bias"):
        absorb(plain, Calibration(2.0, (0.5, -0.5)))


def test_thresholds() -> None:
    rng = np.random.default_rng(0)
    labels = (rng.random(3000) < 0.2).astype(int)
    p = np.clip(rng.normal(0.2 + 0.2 * labels, 0.1), 0, 1).round(2)  # many ties
    tried = np.linspace(0.001, 0.999, 4000)
    balance = [tn.metrics.balanced_accuracy(labels, (p > t).astype(int)) for t in tried]
    chosen = balanced_threshold(labels, p)
    assert tn.metrics.balanced_accuracy(labels, (p > chosen).astype(int)) == pytest.approx(max(balance))
    for wanted in (0.5, 0.95, 1.0):
        chosen = sensitive_threshold(labels, p, wanted)
        reached = [tn.metrics.sensitivity(labels, (p > t).astype(int)) for t in (chosen, chosen + 0.01)]
        assert reached[0] >= wanted > reached[1]
    for one in (np.zeros(4, int), np.ones(4, int), np.zeros(0, int), np.arange(3)):
        with pytest.raises(ArgumentError, match="images of two classes"):
            balanced_threshold(one, np.full(len(one), 0.5))
    with pytest.raises(ArgumentError, match="sensitivity must be above 0"):
        sensitive_threshold(labels, p, 0.0)


def test_what_is_found_in_a_part_is_not_applied_to_it() -> None:
    parts = np.array([2, 0, 1, 0])
    seen = cross_fitted(parts, lambda some: parts[some].tolist(),
                        lambda found, own: np.repeat(sum(10**part for part in found), own.sum()))
    assert seen.tolist() == [12, 110, 102, 110] and seen.dtype == np.int64  # how often 2, 1 and 0 were seen
    assert cross_fitted(np.zeros(3, int), np.sum, lambda total, own: np.full(own.sum(), total)).tolist() == [3, 3, 3]


def test_an_ensemble_is_the_mean_of_probabilities(tmp_path: object) -> None:
    tn.seed(0)
    models = [tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(12, 3), input_shape=(2, 2, 3)) for _ in range(3)]
    for model in models:
        model.classes, model.scaling = ("a", "b", "c"), tn.nn.Scaling()
    both = ensemble(models)
    x = np.random.default_rng(0).normal(size=(5, 2, 2, 3)).astype("float32")
    mean = np.mean([tn.ops.softmax(tn.Tensor(tn.predict(model, x))).numpy() for model in models], axis=0)
    np.testing.assert_allclose(tn.predict(both, x), mean, atol=1e-6)
    assert members(both) == models and members(models[0]) == [models[0]]
    assert gives_probabilities(both) and not gives_probabilities(models[0])
    for mode, expected in (("ave", True), ("sum", False), ("mul", False), ("concat", False)):
        branches = [tn.nn.Sequential(model, tn.nn.Softmax()) for model in models]
        assert gives_probabilities(tn.nn.Parallel(branches, merge_mode=mode)) == expected
    assert not gives_probabilities(tn.nn.Parallel([branches[0], models[1]], merge_mode="ave"))
    path = f"{tmp_path}/ensemble.safetensors"
    tn.save(path, both)
    np.testing.assert_array_equal(tn.predict(tn.load(path), x), tn.predict(both, x))
    assert tn.load(path).classes == ("a", "b", "c") and len(members(tn.load(path))) == 3
    models[1].classes = ("a", "b", "d")
    scaled, reshaped = (tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(12, 3), input_shape=shape)
                        for shape in ((2, 2, 3), (2, 6, 1)))
    scaled.classes = reshaped.classes = ("a", "b", "c")
    scaled.scaling, reshaped.scaling = tn.nn.Scaling(0.5), tn.nn.Scaling()
    for some in (models, [models[0], scaled], [models[0], reshaped], []):
        with pytest.raises(ArgumentError, match="equal input_shape, classes and scaling"):
            ensemble(some)


def test_an_ensemble_of_models_that_give_probabilities() -> None:
    """They get no second softmax. A model that goes on after its branches is no ensemble, nor is a sum of them."""
    soft = [tn.nn.Sequential(tn.nn.Flatten(), tn.nn.Dense(12, 3), tn.nn.Softmax(), input_shape=(2, 2, 3))
            for _ in range(2)]
    both, x = ensemble(soft), np.random.default_rng(0).normal(size=(5, 2, 2, 3)).astype("float32")
    np.testing.assert_allclose(tn.predict(both, x), np.mean([tn.predict(model, x) for model in soft], axis=0),
                               atol=1e-6)
    assert members(both) == soft and members(ensemble([both, soft[0]])) == [both, soft[0]]
    for other in (tn.nn.Sequential(both[0], tn.nn.Dense(3, 2)), tn.nn.Sequential(both[0], tn.nn.Softmax()),
                  tn.nn.Sequential(tn.nn.Parallel(soft, merge_mode="sum"))):
        assert members(other) == [other]
    with pytest.raises(ArgumentError, match=r"must be at least one, .* got 0 with none; train them on the same images"):
        ensemble([])


def test_the_calibration_error() -> None:
    rng = np.random.default_rng(0)
    p = rng.random(20_000)
    labels = (rng.random(20_000) < p).astype(int)
    both = np.stack([1 - p, p], axis=1)
    assert tn.metrics.calibration_error(labels, p) < 0.02
    assert tn.metrics.calibration_error(labels, both) < 0.02
    assert tn.metrics.calibration_error(np.zeros(20_000, int), p) == pytest.approx(p.mean())
    edges = np.linspace(0, 1, 16)
    sure, right = both.max(axis=1) ** 0.5, both.argmax(axis=1) == labels
    shrunk = np.stack([np.where(p > 0.5, 1 - sure, sure), np.where(p > 0.5, sure, 1 - sure)], axis=1)
    by_hand = sum(abs(sure[inside].mean() - right[inside].mean()) * inside.mean()
                  for low, high in pairwise(edges)
                  if (inside := (sure >= low) & (sure < high)).any())
    assert tn.metrics.calibration_error(labels, shrunk) == pytest.approx(by_hand)
    model = rng.integers(0, 3, 20_000)
    each = [tn.metrics.calibration_error(labels[model == k], shrunk[model == k]) for k in range(3)]
    assert tn.metrics.calibration_error(labels, shrunk, models=model) == pytest.approx(
        np.average(each, weights=np.bincount(model)))
    mixed = np.repeat([[0.9, 0.1], [0.6, 0.4]], 20, axis=0)  # of two models, both right in 15 of 20 cases
    right, model = np.tile(np.repeat([0, 1], [15, 5]), 2), np.repeat([0, 1], 20)
    assert tn.metrics.calibration_error(right, mixed, 1) == pytest.approx(0)
    for bins in (1, 50):
        assert tn.metrics.calibration_error(right, mixed, bins, models=model) == pytest.approx(0.15)
    assert tn.metrics.calibration_error([0, 1], [1.0, 0.95]) == pytest.approx(0.475)  # 1 is in the last bin
    assert tn.metrics.calibration_error([1], [1 + 5e-7]) == pytest.approx(0, abs=1e-6)  # rounded up
    with pytest.raises(ShapeError, match="models must be"):
        tn.metrics.calibration_error([0, 1], [0.5, 0.5], models=[0])
    for wrong in ([0.5], [[0.5, 0.5]], [1.5, 0.0], [np.nan, 0.0]):
        with pytest.raises((ArgumentError, ValueError), match="calibration_error"):
            tn.metrics.calibration_error([0, 1], wrong)


def test_of_equally_good_thresholds_that_closest_to_a_half_is_taken() -> None:
    labels, p = np.array([0, 1, 0, 1]), np.array([0.1, 0.3, 0.5, 0.9])  # 0.2 and 0.7 are equally good
    assert balanced_threshold(labels, p) == pytest.approx(0.7)
    assert balanced_threshold(1 - labels, 1 - p) == pytest.approx(0.3)


def test_shares_that_are_equal_but_for_rounding_are_equal() -> None:
    """1 + 1/3 and 1/2 + 5/6; a fifth, and 1 less four fifths."""
    labels, p = np.array([0, 0, 1, 0, 0, 0, 1, 0]), np.array([0.1, 0.35, 0.45, 0.55, 0.65, 0.7, 0.8, 0.9])
    assert balanced_threshold(labels, p) == pytest.approx(0.4), "0.75 is further from a half"
    labels, p = np.array([1, 0, 1, 1, 1, 1]), np.array([0.1, 0.2, 0.3, 0.5, 0.7, 0.9])
    assert sensitive_threshold(labels, p, 0.2) == pytest.approx(0.8)


def test_a_threshold_lies_between_0_and_1_where_probabilities_are_0_or_1() -> None:
    for p in (np.array([0.0, 0.0, 0.0, 0.5]), np.array([0.0, 1.0, 1.0, 1.0]), np.array([0.0, 0.0, 1.0, 1.0])):
        for labels in (np.array([0, 0, 1, 1]), np.array([1, 1, 0, 0])):
            chosen = balanced_threshold(labels, p)
            assert 0 < chosen < 1 and chosen not in p
    assert sensitive_threshold(np.array([0, 1, 1]), np.array([0.0, 1.0, 1.0]), 0.5) == 0.5
    with pytest.raises(ArgumentError, match="sensitivity must be"):
        sensitive_threshold(np.array([0, 1]), np.array([0.2, 0.8]), 1.5)
