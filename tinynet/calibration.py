"""Calibration: probabilities that agree with frequencies, and the threshold of a decision between two classes.

    found = calibrate(logp, labels, bias=True)               # from predictions on images that were not trained on
    probabilities = found(logp)
    gained(labels, before, probabilities)                    # how much lower the log loss is on some images; the error
    absorb(model, found)                                     # the model itself gives them from now on
    threshold = balanced_threshold(labels, probabilities[:, 1])

`logp` (N,K) are logarithms of probabilities, or the scores of a model: both differ by a number for each row, which a
softmax ignores.
"""

from collections.abc import Callable
from typing import NamedTuple, TypeVar

import numpy as np

from tinynet.errors import ArgumentError
from tinynet.nn.dense import Dense
from tinynet.nn.module import Module
from tinynet.nn.sequential import Sequential

HOTTEST = 100.0  # the highest temperature: of predictions that say nothing
PRIOR = 10.0  # of the temperature
RIDGE = 1e-6  # keeps the biases of classes without images finite
STEPS, SMALLEST, PRECISION = 100, 1e-6, 1e-9  # of Newton's method: the most, and where it ends

T = TypeVar("T")


class Calibration(NamedTuple):
    """softmax(logp / temperature + bias).

    >>> Calibration(2.0, (0.0, 0.0))(np.log([[0.9, 0.1]])).round(2)
    array([[0.75, 0.25]])
    """

    temperature: float
    bias: tuple[float, ...]

    def __call__(self, logp: np.ndarray) -> np.ndarray:
        """The probabilities (N,K), float64."""
        return _softmax(np.asarray(logp, np.float64) / self.temperature + np.array(self.bias))


def calibrate(logp: np.ndarray, labels: np.ndarray, *, bias: bool = False) -> Calibration:
    """The temperature, and with `bias` a number for each class, of the highest likelihood on labelled images.

    logp     (N,K), of images that the model was not trained on
    labels   int64 (N)
    bias     correct the shares of the classes, too: training with weights of classes changes them

    The targets are smoothed as by one image more of each class, shared among all K: (n + 1/K) / (n + 1) for the label,
    of which there are n images, and (1/K) / (n + 1) for the others. So no probability becomes 0 or 1, even if all
    images are told apart. The logarithm of the temperature has the prior N(0, 1/PRIOR), so that a few images change
    little.

    A temperature is also taken where its gain is within its error: a few images cannot show small gains, and leaving
    them out would cost more than the noise of the temperature does.

    Source: Guo et al. 2017 (temperature); Platt 1999 (smoothed targets); Perks 1947 (one image for all classes).

    Errors: ArgumentError without images.

    >>> calibrate(np.log([[0.99, 0.01]] * 4 + [[0.01, 0.99]] * 4), np.array([0, 0, 0, 1, 1, 1, 1, 0])).temperature > 1.3
    True
    """
    z, (count, classes) = np.asarray(logp, np.float64), np.shape(logp)
    if not count:
        raise ArgumentError("calibrate: there must be at least one image, got none; take more images")
    found = np.bincount(labels, minlength=classes)[labels]
    target = np.repeat(1 / classes / (found + 1)[:, None], classes, axis=1)
    target[np.arange(count), labels] = (found + 1 / classes) / (found + 1)
    z = z - z.mean(axis=1, keepdims=True)
    theta = np.r_[1.0, np.zeros(classes)]  # 1 / temperature, and the biases
    free = np.r_[True, np.full(classes, bias)]

    def loss(theta: np.ndarray) -> float:
        scores = theta[0] * z + theta[1:]
        peak = scores.max(axis=1, keepdims=True)
        logs = scores - peak - np.log(np.exp(scores - peak).sum(axis=1, keepdims=True))
        return float((-(target * logs).sum() + PRIOR / 2 * np.log(theta[0]) ** 2) / count
                     + RIDGE / 2 * theta[1:] @ theta[1:])

    for _ in range(STEPS):
        p = _softmax(theta[0] * z + theta[1:])
        gradient = np.r_[((p - target) * z).sum(), (p - target).sum(axis=0)] / count
        gradient += np.r_[PRIOR / count * np.log(theta[0]) / theta[0], RIDGE * theta[1:]]
        pz = p * z
        mean = pz.sum(axis=1)
        hessian = np.empty((classes + 1, classes + 1))
        hessian[0, 0] = (pz * z).sum() - mean @ mean
        hessian[0, 1:] = hessian[1:, 0] = (pz - p * mean[:, None]).sum(axis=0)
        hessian[1:, 1:] = np.diag(p.sum(axis=0)) - p.T @ p
        hessian = hessian / count + RIDGE * np.eye(classes + 1)
        hessian[0, 0] += PRIOR / count / theta[0] ** 2
        step = np.zeros(classes + 1)
        step[free] = np.linalg.solve(hessian[np.ix_(free, free)], gradient[free])
        size, before = 1.0, loss(theta)
        while size > SMALLEST and loss(_within(theta - size * step)) > before:
            size /= 2
        theta = _within(theta - size * step)
        if size <= SMALLEST or np.abs(step).max() < PRECISION:
            break
    return Calibration(float(1 / theta[0]), tuple((theta[1:] - theta[1:].mean()).tolist()))


def _within(theta: np.ndarray) -> np.ndarray:
    """Parameters whose temperature is at most `HOTTEST`."""
    return np.r_[max(theta[0], 1 / HOTTEST), theta[1:]]


def absorb(model: Module, calibration: Calibration) -> None:
    """Change the last layer, so that the model gives calibrated scores: W / temperature, and b / temperature + bias.

    Errors: ArgumentError unless the model is a Sequential that ends in a Dense layer.

    >>> import tinynet as tn
    >>> model = tn.nn.Sequential(tn.nn.Dense(3, 2))
    >>> absorb(model, Calibration(2.0, (0.5, -0.5)))
    >>> model[0].b.numpy()
    array([ 0.5, -0.5], dtype=float32)
    """
    last = model[-1] if isinstance(model, Sequential) and len(model) else None
    if not isinstance(last, Dense):
        raise ArgumentError("absorb: the model must be a Sequential that ends in a Dense layer, and ends in "
                            f"{type(last or model).__name__}; apply the calibration to its outputs")
    state, bias = last.state_dict(), np.array(calibration.bias)
    if last.b is None and bias.any():
        raise ArgumentError("absorb: the last Dense layer must have a bias to take that of a calibration, and has "
                            "none; calibrate(..., bias=False)")
    state = {name: array / calibration.temperature for name, array in state.items()}
    last.load_state_dict({**state, **({"b": state["b"] + bias} if "b" in state else {})})


def log_losses(labels: np.ndarray, probabilities: np.ndarray) -> np.ndarray:
    """The log loss of each image (N): the negative logarithm of the probability (N,K) of its label.

    >>> log_losses(np.array([1]), np.array([[0.75, 0.25]])).round(3).tolist()
    [1.386]
    """
    given = probabilities[np.arange(len(labels)), labels]
    losses: np.ndarray = -np.log(np.maximum(given, np.finfo(np.float64).tiny))
    return losses


def gained(labels: np.ndarray, before: np.ndarray, after: np.ndarray, groups: np.ndarray | None = None
           ) -> tuple[float, float]:
    """How much lower the log loss of the probabilities `after` is than that of `before`, and the standard error.

    before, after   (N,K), of the same images
    groups          (N), what images are alike, such as a patient; None if each image stands alone

    Unlike the calibration error, the log loss has no floor of chance: a difference is that of the probabilities. The
    error is NaN for fewer than two groups.

    >>> before, after = np.array([[0.5, 0.5]] * 4), np.array([[0.8, 0.2]] * 4)
    >>> tuple(round(value, 3) for value in gained(np.array([0, 0, 0, 1]), before, after))
    (0.123, 0.347)
    """
    gains = log_losses(labels, before) - log_losses(labels, after)
    kind = np.arange(len(labels)) if groups is None else np.unique(groups, return_inverse=True)[1]
    sums = np.bincount(kind, weights=gains - gains.mean())
    scale = len(sums) / (len(sums) - 1) if len(sums) > 1 else np.nan
    return float(gains.mean()), float(np.sqrt(scale * (sums @ sums)) / len(gains))


def cross_fitted(parts: np.ndarray, found_in: Callable[[np.ndarray], T], applied: Callable[[T, np.ndarray], np.ndarray]
                 ) -> np.ndarray:
    """Results for each part (N), by what is found in all other parts: of one part, by what is found in itself.

    found_in   (bool (N)) -> what is found in these elements, such as a calibration
    applied    (what was found, bool (N)) -> an array of results for these elements

    >>> values = np.array([1.0, 2.0, 5.0])
    >>> cross_fitted(np.array([0, 0, 1]), lambda some: values[some].mean(), lambda mean, some: values[some] - mean)
    array([-4. , -3. ,  3.5])
    """
    numbers = np.unique(parts)
    results: list[tuple[np.ndarray, np.ndarray]] = []
    for number in numbers:
        own = parts == number
        results.append((own, applied(found_in(~own if len(numbers) > 1 else own), own)))
    out = np.empty((len(parts), *results[0][1].shape[1:]), results[0][1].dtype)
    for own, values in results:
        out[own] = values
    return out


# --- thresholds -----------------------------------------------------------------------------------------------------

def balanced_threshold(labels: np.ndarray, positive: np.ndarray) -> float:
    """The threshold of the highest balanced accuracy; of several, the one that is closest to 0.5.

    labels     0 and 1 (N)
    positive   (N), the probability of class 1, which is predicted above the threshold

    >>> balanced_threshold(np.array([0, 0, 1, 1]), np.array([0.1, 0.2, 0.3, 0.9]))
    0.25
    """
    thresholds, sensitivity, specificity = _operating_points(labels, positive)
    balance = sensitivity + specificity
    best = np.flatnonzero(balance >= balance.max() - 1e-12)
    return float(thresholds[best[np.abs(thresholds[best] - 0.5).argmin()]])


def sensitive_threshold(labels: np.ndarray, positive: np.ndarray, sensitivity: float) -> float:
    """The highest threshold at which the share `sensitivity` of class 1, or more, is predicted as such.

    >>> sensitive_threshold(np.array([0, 1, 0, 1]), np.array([0.1, 0.2, 0.4, 0.9]), 0.5)
    0.65
    """
    if not 0 < sensitivity <= 1:
        raise ArgumentError(f"sensitivity must be above 0 and at most 1, got {sensitivity}; 0.95?")
    thresholds, reached, _ = _operating_points(labels, positive)
    return float(thresholds[reached >= sensitivity - 1e-12].max())


def _operating_points(labels: np.ndarray, positive: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Thresholds between the distinct probabilities, in rising order, with the sensitivity and specificity of each."""
    labels, positive = np.asarray(labels), np.asarray(positive, np.float64)
    counts = np.bincount(labels, minlength=2)
    if len(counts) != 2 or 0 in counts:
        raise ArgumentError("threshold: it is chosen on images of two classes, got "
                            f"{', '.join(map(str, counts))} images of {len(counts)}; take more images, or 0.5")
    edges = np.r_[0.0, np.unique(positive), 1.0]
    thresholds = (edges[:-1] + edges[1:]) / 2
    thresholds = thresholds[(thresholds > 0) & (thresholds < 1)]
    above = [np.searchsorted(np.sort(positive[labels == k]), thresholds, "right") / counts[k] for k in (0, 1)]
    return thresholds, 1 - above[1], above[0]


def _softmax(scores: np.ndarray) -> np.ndarray:
    shares = np.exp(scores - scores.max(axis=1, keepdims=True))
    return np.asarray(shares / shares.sum(axis=1, keepdims=True))
