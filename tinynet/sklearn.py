"""A network as a classifier of scikit-learn. It is imported on the first use of `tn.sklearn`.

    def build(input_shape, classes):
        return tn.nn.Sequential(tn.nn.Dense(*input_shape, 32), tn.nn.ReLU(), tn.nn.Dense(32, classes))

    pipeline = make_pipeline(StandardScaler(), tn.sklearn.Classifier(build))
    search = GridSearchCV(pipeline, {"classifier__lr": [1e-3, 1e-2]})
"""

from collections.abc import Callable
from typing import Any, Self

import numpy as np
from sklearn.base import BaseEstimator, ClassifierMixin
from sklearn.utils.multiclass import check_classification_targets
from sklearn.utils.validation import check_is_fitted, validate_data

from tinynet import ops, random
from tinynet.data.loader import Loader
from tinynet.errors import ArgumentError
from tinynet.nn.module import Module
from tinynet.optim import Adam
from tinynet.plain import plain
from tinynet.tensor import Tensor
from tinynet.training.evaluate import predict
from tinynet.training.fit import fit
from tinynet.types import Array, ArrayLike, Shape

AT_ONCE = 64  # rows; fewer are padded to as many, so that a row has the same bits in any company


class Classifier(ClassifierMixin, BaseEstimator):  # type: ignore[misc]  # scikit-learn has no types
    """A classifier of scikit-learn, trained with Adam on the cross-entropy.

    build        build(input_shape, classes) makes the model: from the shape of one sample and the number of classes, a
                 module with a score for each class. To be pickled, it must be a function of a module, not a lambda
    epochs       passes over the samples
    batch_size   samples in a step
    lr           the learning rate
    seed         of the initial values and of the order of the samples. The seed of `tn.seed` does not change

    X has the shape (N, ...): as float32, it is what the model takes. After `fit`: `model_`, `classes_`,
    `n_features_in_`, and `history_`, the rows of `tn.fit`. `fit` twice gives the same model.

    >>> import tinynet as tn
    >>> def build(input_shape, classes):
    ...     return tn.nn.Sequential(tn.nn.Dense(*input_shape, classes))
    >>> one = Classifier(build, epochs=40, lr=0.1).fit([[0.0, 1.0], [1.0, 0.0]] * 8, ["no", "yes"] * 8)
    >>> one.predict([[0.1, 0.9], [0.8, 0.3]]).tolist()
    ['no', 'yes']
    """

    def __init__(self, build: Callable[[Shape, int], Module], *, epochs: int = 20, batch_size: int = 32,
                 lr: float = 1e-3, seed: int = 0) -> None:
        self.build = build
        self.epochs = epochs
        self.batch_size = batch_size
        self.lr = lr
        self.seed = seed

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Build a model, and train it on samples X (N, ...) of classes y (N).

        Errors: ValueError for samples that are not finite numbers, or of fewer than two classes.
        """
        samples, named = validate_data(self, X, y, dtype=np.float32, allow_nd=True)
        check_classification_targets(named)
        self.classes_, labels = np.unique(named, return_inverse=True)
        if len(self.classes_) < 2:
            raise ArgumentError("Classifier: y must hold at least two classes, got one class, "
                                f"{plain(self.classes_[0])!r}; take samples of another class")
        before = random.state_dict()
        random.seed(self.seed)
        try:
            model = self.build(samples.shape[1:], len(self.classes_))
            batches = Loader(samples, labels.astype(np.int64), batch_size=self.batch_size, shuffle=True, seed=self.seed)
            self.history_ = fit(model, Adam(model.parameters(), lr=self.lr), batches, epochs=self.epochs, show=False)
        finally:
            random.load_state_dict(before)
        self.model_ = model.eval()
        return self

    def predict_proba(self, X: ArrayLike) -> Array:
        """The probability of each class for samples X (N, ...): (N,K), in the order of `classes_`."""
        check_is_fitted(self)
        samples = validate_data(self, X, dtype=np.float32, allow_nd=True, reset=False)
        count = len(samples)
        padded = np.concatenate([samples, np.zeros((-count % AT_ONCE, *samples.shape[1:]), np.float32)])
        scores = predict(self.model_, padded, batch_size=AT_ONCE)[:count]
        return np.asarray(ops.softmax(Tensor(scores.astype(np.float64))).numpy())

    def predict(self, X: ArrayLike) -> Array:
        """The most probable class of each sample: (N)."""
        chosen = self.predict_proba(X).argmax(axis=1)
        return np.asarray(self.classes_[chosen])

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.three_d_array = True
        return tags
