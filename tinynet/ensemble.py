"""Several classifiers as one model: the mean of their probabilities."""

from collections.abc import Sequence

from tinynet.errors import ArgumentError
from tinynet.nn.activation import Softmax
from tinynet.nn.branches import Parallel
from tinynet.nn.module import Module
from tinynet.nn.sequential import Sequential


def ensemble(models: Sequence[Module]) -> Sequential:
    """A model whose output is the mean of the probabilities that some classifiers give.

    It has their classes and scaling, and knows the training images of each.

    The models must take inputs of one shape. They become parts of the ensemble, which `tn.save` writes into one file.

    Errors: ArgumentError for no models, or for different input shapes, classes or scalings.

    >>> import tinynet as tn
    >>> make = lambda: tn.nn.Sequential(tn.nn.Dense(3, 2), input_shape=(3,))
    >>> both = ensemble([make(), make()])
    >>> probabilities = both(tn.Tensor([[1.0, 2.0, 3.0]])).numpy()
    >>> probabilities.shape, round(float(probabilities.sum()), 4)
    ((1, 2), 1.0)
    """
    if not models or len({(one.input_shape, one.classes, one.scaling) for one in models}) > 1:
        raise ArgumentError("ensemble: models must be at least one, with equal input_shape, classes and scaling, got "
                            f"{len(models)} with {', '.join(str(one.input_shape) for one in models) or 'none'}; "
                            "train them on the same images")
    branches = [one if gives_probabilities(one) else Sequential(one, Softmax()) for one in models]
    made = Sequential(Parallel(branches, merge_mode="ave"), input_shape=models[0].input_shape)
    made.classes, made.scaling = models[0].classes, models[0].scaling
    known = [one.familiar for one in models]
    made.familiar = None if None in known else tuple(part for one in known for part in one or ())
    return made


def members(model: Module) -> list[Module]:
    """The classifiers of an ensemble, without their softmax, or the model itself.

    >>> import tinynet as tn
    >>> members(ensemble([tn.nn.Dense(3, 2), tn.nn.Dense(3, 2)]))
    [Dense(inputs=3, units=2), Dense(inputs=3, units=2)]
    """
    inner = model.layers[0] if isinstance(model, Sequential) and len(model) == 1 else model
    if not isinstance(inner, Parallel) or not gives_probabilities(inner):
        return [model]
    return [branch.layers[0] if isinstance(branch, Sequential) and len(branch) == 2 else branch
            for branch in inner.branches]


def gives_probabilities(model: Module) -> bool:
    """Whether the outputs are probabilities: it ends in a softmax, or in the mean of modules that do.

    >>> gives_probabilities(Softmax()), gives_probabilities(Sequential())
    (True, False)
    """
    if isinstance(model, Sequential):
        return len(model) > 0 and gives_probabilities(model[-1])
    if isinstance(model, Parallel):
        return model.merge_mode == "ave" and all(map(gives_probabilities, model.branches))
    return isinstance(model, Softmax)
