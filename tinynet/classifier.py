"""A saved model as a classifier of images: probabilities, and figures of how good they are.

    pictures = Classifier(tn.load("model.safetensors"))
    probabilities = pictures.probabilities([read_image(path, size=pictures.size, channels=pictures.channels)])
    found = score(labels, probabilities, pictures.classes);  print(report(found))

`python -m tinynet` uses it.
"""

import unicodedata
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from tinynet import metrics, nn, ops
from tinynet.data.loader import Loader
from tinynet.ensemble import gives_probabilities
from tinynet.errors import DataError, ModelFileError, counted
from tinynet.intervals import by_groups, wilson
from tinynet.nn.module import Module
from tinynet.nn.summary import rows
from tinynet.plain import plain_array
from tinynet.shown import Text, brief, table
from tinynet.tensor import Tensor
from tinynet.training.evaluate import predict


class Classifier:
    """A model of images, with what turns pixels into its inputs and its outputs into probabilities.

    The model takes images (H, W, 1), (H, W, 3) or, if they are grey, (H, W), and gives a score for each class.

    size, channels   of its images, as `tn.data.read_image` takes them
    classes          the model's, or "0", "1", ...
    scaling          the model's, or pixels / 255
    threshold        the model's, or 0.5: of two classes, the second is predicted if its probability is above it

    Errors: ModelFileError for a model of other inputs or outputs.

    >>> from tinynet import nn
    >>> model = nn.Sequential(nn.Flatten(), nn.Dense(4, 2), input_shape=(2, 2, 1))
    >>> model[1].load_state_dict({"W": np.zeros((4, 2)), "b": np.log([3, 1])})
    Dense(inputs=4, units=2)
    >>> Classifier(model).probabilities(np.zeros((1, 2, 2, 1), "uint8")).round(2)
    array([[0.75, 0.25]])
    """

    def __init__(self, model: Module) -> None:
        shape = model.input_shape
        if shape is None or len(shape) not in (2, 3) or shape[2:] not in ((), (1,), (3,)):
            raise ModelFileError(f"classifier: the model must take images, its input_shape be (height, width, 1 or 3), "
                                 f"and it is {shape}; model.input_shape = (28, 28, 1), and save it again")
        layers = rows(model, shape)
        outputs = (layers[-1].shape if layers else shape) or ()
        if len(outputs) != 1 or outputs[0] < 2:
            raise ModelFileError(f"classifier: the model must give a score for each of two or more classes, and gives "
                                 f"{outputs} for an image; end it with a Dense")
        self.model = model
        self.size, self.channels = (shape[0], shape[1]), shape[2] if len(shape) == 3 else 1
        self.classes = model.classes or tuple(map(str, range(outputs[0])))
        self.scaling = model.scaling or nn.Scaling()
        self.threshold = 0.5 if model.decision_threshold is None else model.decision_threshold
        self._is_probability = gives_probabilities(model)

    def __repr__(self) -> str:
        return brief(self, f"{len(self.classes)} classes", size=self.size, channels=self.channels)

    def inputs(self, pixels: Any) -> Any:
        """The model's inputs for images (N,H,W,C) of 0 ... 255."""
        scaled = self.scaling(pixels)
        return scaled.reshape(len(scaled), *(self.model.input_shape or ()))

    def probabilities(self, images: Any, *, batch_size: int = 64) -> np.ndarray:
        """The probability of each class for each image: (N, K), float64.

        images   (N,H,W,C), an array or anything that a `tn.data.Loader` takes, such as a folder's images

        Errors: ModelFileError if an output is not finite.
        """
        batches = Loader(images, batch_size=batch_size, transform=self.inputs)
        scores = predict(self.model, batches).astype(np.float64)
        if not np.isfinite(scores).all():
            raise ModelFileError("classifier: what the model gives must be finite, and is not for some of these "
                                 "images; its weights are damaged, or its training has diverged")
        if self._is_probability:
            return np.asarray(scores)
        return np.asarray(ops.softmax(Tensor(scores)).numpy())

    def decided(self, probabilities: np.ndarray) -> np.ndarray:
        """The predicted class for each row of probabilities (N,K): int64 (N), by the threshold of two classes.

        >>> from tinynet import nn
        >>> model = nn.Sequential(nn.Flatten(), nn.Dense(4, 2), input_shape=(2, 2, 1))
        >>> model.decision_threshold = 0.3
        >>> Classifier(model).decided(np.array([[0.6, 0.4], [0.8, 0.2]]))
        array([1, 0])
        """
        if probabilities.shape[1] == 2:
            return (probabilities[:, 1] > self.threshold).astype(np.int64)
        return probabilities.argmax(axis=1)

    def labels_of(self, labels: np.ndarray, names: Sequence[str]) -> np.ndarray:
        """Labels (N,) that index `names`, turned into labels that index the model's classes.

        Names are compared in the composed form of Unicode (NFC).

        Errors: DataError for a name that is not a class of the model.
        """
        if self.model.classes is None and len(names) == len(self.classes):
            return labels
        number = {_composed(name): index for index, name in enumerate(self.classes)}
        unknown = [name for name in names if _composed(name) not in number]
        if unknown:
            raise DataError(f"classifier: classes must be among those of the model, {_listed(self.classes)}, and "
                            f"{_listed(unknown)} {'is' if len(unknown) == 1 else 'are'} not; rename the folders?")
        return np.array([number[_composed(name)] for name in names])[labels]


def score(labels: Any, probabilities: np.ndarray, classes: Sequence[str], *, predicted: np.ndarray | None = None,
          threshold: float | None = None, groups: np.ndarray | None = None) -> dict[str, Any]:
    """Figures of predictions, as a dictionary that JSON can represent.

    predicted   int64 (N), as of `Classifier.decided`; by default the most probable class
    threshold   that of the predictions, if it is not 0.5; only for the report
    groups      (N), such as patients, whose images resemble each other; the interval is then resampled by them

    Keys: `images`, `accuracy`, `interval` (of the accuracy, 95 %; Wilson's without groups), `balanced_accuracy`,
    `per_class` (for each name precision, recall, f1, images), `confusion_matrix` (true classes in rows),
    `calibration_error`, and for two classes `roc_auc`.

    >>> found = score([0, 1, 1], np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), ["cat", "dog"])
    >>> found["accuracy"], found["confusion_matrix"], found["per_class"]["dog"]["recall"]
    (0.6666666666666666, [[1, 0], [1, 1]], 0.5)
    """
    labels, count = plain_array(labels, "score: labels"), len(classes)
    predicted = probabilities.argmax(axis=1) if predicted is None else predicted
    right = labels == predicted
    interval = wilson(int(right.sum()), len(right)) if groups is None else by_groups(right, groups)
    table = metrics.confusion_matrix(labels, predicted, count)
    columns = {name: values.tolist() for name, values in metrics.per_class(table).items()}
    columns["images"] = columns.pop("support")
    found = {"images": len(labels), "accuracy": metrics.accuracy(labels, predicted), "interval": list(interval),
             "groups": None if groups is None else len(np.unique(groups)),
             "balanced_accuracy": float(metrics.balanced_accuracy(labels, predicted)),
             "per_class": {name: {column: values[k] for column, values in columns.items()}
                           for k, name in enumerate(classes)},
             "confusion_matrix": table.tolist(),
             "calibration_error": metrics.calibration_error(labels, probabilities), "threshold": threshold}
    if count == 2 and len(np.unique(labels)) == 2:
        found["roc_auc"] = metrics.roc_auc(labels, probabilities[:, 1])
    return found


def report(found: dict[str, Any]) -> Text:
    """The result of `score`: one line, precision and recall of each class, the confusion matrix.

    A notebook shows it as HTML.

    >>> print(report(score([0, 1, 1], np.array([[0.9, 0.1], [0.2, 0.8], [0.6, 0.4]]), ["cat", "dog"])))
    accuracy 0.6667 on 3 images, 95 % interval 0.2077 to 0.9385, mean recall 0.7500, ROC-AUC 1.0000
    <BLANKLINE>
    class   precision   recall       F1   images
    cat        0.5000   1.0000   0.6667        1
    dog        1.0000   0.5000   0.6667        2
    <BLANKLINE>
    true \\ predicted   cat   dog
    cat                  1     0
    dog                  1     1
    """
    classes = found["per_class"]
    low, high = found["interval"]
    line = (f"accuracy {found['accuracy']:.4f} on {counted(found['images'], 'image')}, "
            f"95 % interval {low:.4f} to {high:.4f}, mean recall {found['balanced_accuracy']:.4f}")
    if "roc_auc" in found:
        line += f", ROC-AUC {found['roc_auc']:.4f}"
    if found["threshold"] is not None:
        line += f"\n{list(classes)[1]} is predicted if its probability is above {found['threshold']:.4f}"
    by_class = [("class", "precision", "recall", "F1", "images")]
    by_class += [(name, *(f"{row[column]:.4f}" for column in ("precision", "recall", "f1")), f"{row['images']:,}")
                 for name, row in classes.items()]
    matrix = [("true \\ predicted", *classes)]
    matrix += [(name, *map(str, counts)) for name, counts in zip(classes, found["confusion_matrix"], strict=True)]
    parts = [Text(line), table(by_class, left=1), table(matrix, left=1)]
    text = Text("\n\n".join(parts))
    text.html = "".join(part._repr_html_() for part in parts)
    return text


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(map(repr, names[:5])) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
