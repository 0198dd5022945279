"""How good is it? Figures of classification, of many labels, and of regression.

Plain functions of arrays on the host; all sums in float64.

    scores = tn.predict(model, images)                 # (N, K), one row of scores for each image
    predicted = scores.argmax(axis=1)                  # (N,), classes from 0 to K - 1
    print(tn.metrics.classification_report(labels, predicted, names=["ship", "cat", "dog"]))

Classes (classes.py): `labels` and `predicted` are integers of shape (N,), the true and the predicted classes. K is the
highest of them plus one, unless `classes` gives it. A result per class is an array (K,): class k against all others. A
share of nothing, such as the precision of a class that was never predicted, is 0.

Scores (scores.py): a number for each sample: the higher, the more likely it is positive (label 1). Equal scores make
one point of a curve.

Many labels (labels.py): `labels` and `predicted` are 0 and 1, (N,K), such as `logits > 0`. `precision`, `recall` and
`f1` take them, too, and return a number for each label.

Regression (numbers.py): `targets` and `predicted` are numbers, of one shape.

The results are those of scikit-learn, and tests compare them. In `fit` and `evaluate`, a metric is a function of all
labels and all outputs: `metrics={"r2": tn.metrics.r2, "f1": lambda y, z: tn.metrics.f1(y, z > 0).mean()}`.
"""

from typing import TYPE_CHECKING

from tinynet.elsewhere import in_modules
from tinynet.metrics.classes import (
    McNemar,
    accuracy,
    balanced_accuracy,
    classification_report,
    confusion_matrix,
    f1,
    mcnemar,
    per_class,
    precision,
    recall,
    sensitivity,
    specificity,
)
from tinynet.metrics.labels import exact_match, hamming_loss, micro_f1, per_label
from tinynet.metrics.numbers import mean_absolute_error, mean_squared_error, r2, root_mean_squared_error
from tinynet.metrics.scores import average_precision, calibration_error, precision_recall_curve, roc_auc, roc_curve

__all__ = ["McNemar", "accuracy", "average_precision", "balanced_accuracy", "calibration_error",
           "classification_report", "confusion_matrix", "exact_match", "f1", "hamming_loss", "mcnemar",
           "mean_absolute_error", "mean_squared_error", "micro_f1", "per_class", "per_label", "precision",
           "precision_recall_curve", "r2", "recall", "roc_auc", "roc_curve", "root_mean_squared_error", "sensitivity",
           "specificity"]

if not TYPE_CHECKING:
    __getattr__ = in_modules({"tn.metrics": __all__})
