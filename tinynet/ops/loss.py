"""Losses: softmax cross-entropy on class numbers, and the mean squared error; and the sums of an epoch."""

from typing import Any

from tinynet.errors import ArgumentError, ShapeError
from tinynet.op import Array, Gradients, Update, op
from tinynet.ops.activation import log_of_softmax


def _reduced(name: str, group: str) -> Any:
    """The rule for the shape of a loss: (), or one number for each position. Checks the options too."""
    def sizes(known: dict[str, Any], reduction: str = "mean", **options: Any) -> dict[str, Any]:
        if reduction not in ("mean", "sum", "none"):
            raise ArgumentError(f'{name}: reduction must be "mean", "sum" or "none", got {reduction!r}; '
                                'reduction="mean"?')
        if reduction == "mean" and 0 in known[group]:
            raise ShapeError(f"{name}: a mean needs at least one element, got shape {known[group]}; skip empty batches")
        ignored = options.get("ignore_index")
        if ignored is not None and (isinstance(ignored, bool) or not isinstance(ignored, int)):
            raise ArgumentError(f"{name}: ignore_index must be None or an integer, got {ignored!r}; -100 is usual")
        if not options.get("delta", 1.0) > 0:
            raise ArgumentError(f"{name}: delta must be above 0, got {options['delta']}; 1.0 is usual")
        smoothing = options.get("label_smoothing", 0.0)
        if not 0 <= smoothing <= 1:
            raise ArgumentError(f"{name}: label_smoothing must be in [0, 1], got {smoothing}; 0.1 is usual")
        return {"...L": known[group] if reduction == "none" else ()}
    return sizes


def _check_labels(logits: Array, labels: Array, weight: Array | None, *, sizes: dict[str, Any],
                  ignore_index: int | None = None, **options: Any) -> None:
    K = sizes["K"]
    if ignore_index is not None:
        labels = labels[labels != ignore_index]
    if labels.size and (labels.min() < 0 or labels.max() >= K):
        raise ArgumentError(f"cross_entropy: labels must be in [0, K) = [0, {K}), got values from {labels.min()} to "
                            f"{labels.max()}; do labels count from 1, or are there more classes than logits?")


@op("logits:(...,K) labels:int(...) weight?:(K) -> loss:(...L)", sizes=_reduced("cross_entropy", "..."),
    check=_check_labels, flops=8,
    cases=[{"...": (4,), "K": 5, "weight": None}, {"...": (3,), "K": 4, "weight": "positive"},
           {"...": (2, 3), "K": 4, "weight": "positive", "label_smoothing": 0.2},
           {"...": (4,), "K": 3, "weight": None, "label_smoothing": 0.1, "reduction": "sum"},
           {"...": (3, 4), "K": 2, "weight": "positive", "reduction": "none"}, {"...": (1,), "K": 1, "weight": None},
           {"...": (3, 4), "K": 3, "weight": "positive", "label_smoothing": 0.1, "ignore_index": 1}])
def cross_entropy(xp: Any, logits: Array, labels: Array, weight: Array | None = None, *, label_smoothing: float = 0.0,
                  reduction: str = "mean", ignore_index: int | None = None) -> tuple[Array, Any]:
    """Softmax cross-entropy: −ln p[label], where p is the softmax of the logits.

    `labels` are class numbers in [0, K). `weight` holds a weight for each class; the mean is then the weighted mean.
    `label_smoothing` moves this share of the target from the true class to all K classes evenly. `reduction` is "mean",
    "sum" or "none". Positions with the label `ignore_index` count as absent: their loss and gradient are 0, and the
    mean is over the others (0 without any). No exponential overflows: the loss is finite and exact for all finite
    logits, and a logit of −∞ shuts out a class that is not the label.

    Shapes    logits (...,K) · labels (...) of integers · weight (K) or None  →  loss (), or (...) unreduced
    Forward   (1)  ln pₖ = zₖ − ln Σⱼ e^zⱼ
              (2)  qₖ = (1 − ε) 1[k = label] + ε / K        ε the label smoothing
              (3)  l = −Σₖ wₖ qₖ ln pₖ                      at each position, over the k with wₖ qₖ ≠ 0
              (4)  loss = Σ l / S                           S = Σ w[label] (mean), 1 (sum); no sum ("none")
    Backward  (5)  δl = δloss / S
              (6)  δz = δl (p Σⱼ wⱼ qⱼ − w q)
              (7)  δwₖ = −Σ δl qₖ ln pₖ − count(label = k) δloss loss / S        the last term for the mean alone
    Because   ∂ ln pⱼ/∂zₖ = 1[j=k] − pₖ (see log_softmax), so (3) has ∂l/∂zₖ = −wₖ qₖ + pₖ Σⱼ wⱼ qⱼ, which is (6).
              Without weights Σⱼ wⱼ qⱼ = 1, and (6) is δl (p − q): probabilities minus target, p − y in textbooks.
              Each wₖ occurs in (3), where ∂l/∂wₖ = −qₖ ln pₖ, and for the mean in S: ∂loss/∂S = −loss / S, and
              ∂S/∂wₖ is the number of labels k. The two terms are (7). An ignored position has q = 0.
    Cache     ln p and q, (...,K) each; the weights; S and the loss
    Source    Bridle 1990; label smoothing: Szegedy et al. 2016

    >>> import tinynet as tn
    >>> round(tn.ops.cross_entropy(tn.Tensor([[0.0, 0.0], [1e4, 0.0]]), tn.Tensor([0, 0])).item(), 4)
    0.3466
    """
    K = logits.shape[-1]
    logp = log_of_softmax(xp, logits, -1)  # (1)
    target = (labels[..., None] == xp.arange(K)).astype(logits.dtype)  # (...,K)
    q = (1 - label_smoothing) * target + label_smoothing / K  # (2)
    if ignore_index is not None:
        counts = (labels != ignore_index)[..., None]
        target, q, logp = target * counts, q * counts, xp.where(counts, logp, xp.zeros((), logp.dtype))
    w = xp.ones(K, logits.dtype) if weight is None else weight
    wq = w * q
    loss = -(wq * _where_not_0(xp, wq, logp)).sum(axis=-1)  # (3) (...)
    S = (w * target).sum() if reduction == "mean" else None
    if ignore_index is not None and S is not None:
        S = xp.where(counts.any(), S, xp.ones((), S.dtype))
    if reduction != "none":
        loss = loss.sum() if S is None else loss.sum() / S  # (4) ()
    return loss, (logp, q, w, target, S, loss)


def _where_not_0(xp: Any, factor: Array, logp: Array) -> Array:
    """ln p, and 0 where it has the factor 0: 0 · ln 0 counts as 0."""
    return xp.where(factor == 0, xp.zeros((), logp.dtype), logp)


@cross_entropy.gradient
def dcross_entropy(xp: Any, dloss: Array, *, cache: Any, needs: Any) -> Gradients:
    logp, q, w, target, S, loss = cache
    dl = (dloss if S is None else dloss / S)[..., None]  # (5) (...,1), or (1)
    wq = w * q
    dlogits = dl * (xp.exp(logp) * wq.sum(axis=-1, keepdims=True) - wq) if needs[0] else None  # (6)
    dweight = None
    if needs[2]:
        positions = tuple(range(logp.ndim - 1))
        dweight = -(dl * q * _where_not_0(xp, q, logp)).sum(axis=positions)  # (7) (K)
        if S is not None:
            dweight -= dloss * loss / S * target.sum(axis=positions)
    return dlogits, None, dweight


@Update
def tally(xp: Any, total: Array, right: Array, loss: Array, scores: Array, labels: Array) -> None:
    """Add a batch of N samples to the sums of an epoch, 0-d arrays, in place.

      (1)  total ← total + N loss                               loss () the mean loss of the batch
      (2)  right ← right + count(argmax scores = labels) / L    scores (N,...,K), labels (N,...): L labels a sample
    """
    total += loss * len(labels)  # (1)
    each = labels[0].size
    count = (scores.argmax(axis=-1) == labels).sum()
    right += count if each == 1 else count / each  # (2)


@op("prediction:(...) target:(...) -> loss:(...L)", sizes=_reduced("mse", "..."), flops=3,
    cases=[{"...": (4, 3)}, {"...": (5,), "reduction": "sum"}, {"...": (2, 3), "reduction": "none"}])
def mse(xp: Any, prediction: Array, target: Array, *, reduction: str = "mean") -> tuple[Array, Any]:
    """The mean squared error.

    Shapes    prediction (...) · target (...)  →  loss (), or (...) unreduced
    Forward   (1)  l = (prediction − target)²        at each element
              (2)  loss = Σ l / R                        R the number of elements (mean), 1 (sum)
    Backward  (3)  δprediction = 2 (prediction − target) δloss / R
              (4)  δtarget = −δprediction
    Because   l = e² with e = prediction − target has ∂l/∂e = 2e; ∂e/∂prediction = 1 and ∂e/∂target = −1. In (2)
              each l has ∂loss/∂l = 1 / R
    Cache     e = prediction − target, and R
    Source    Gauss 1809

    >>> import tinynet as tn
    >>> tn.ops.mse(tn.Tensor([1.0, 2.0]), tn.Tensor([1.0, 4.0])).item()
    2.0
    """
    error = prediction - target
    loss = error * error  # (1)
    R = error.size if reduction == "mean" else 1
    if reduction != "none":
        loss = loss.sum() / R  # (2) ()
    return loss, (error, R)


@mse.gradient
def dmse(xp: Any, dloss: Array, *, cache: Any, needs: Any) -> Gradients:
    error, R = cache
    dprediction = 2 * error * (dloss / R)  # (3)
    return dprediction, -dprediction if needs[1] else None  # (4)


@op("prediction:(...) target:(...) -> loss:(...L)", sizes=_reduced("mae", "..."), analytic=False, flops=2, cases=[
    {**case, "prediction": "distinct", "target": "distinct between"}
    for case in ({"...": (4, 3)}, {"...": (5,), "reduction": "sum"}, {"...": (2, 3), "reduction": "none"})])
def mae(xp: Any, prediction: Array, target: Array, *, reduction: str = "mean") -> tuple[Array, Any]:
    """The mean absolute error.

    Shapes    prediction (...) · target (...)  →  loss (), or (...) unreduced
    Forward   (1)  l = |prediction − target|         at each element
              (2)  loss = Σ l / R                        R the number of elements (mean), 1 (sum)
    Backward  (3)  δprediction = sign(prediction − target) δloss / R
              (4)  δtarget = −δprediction
    Because   l = |e| with e = prediction − target has ∂l/∂e = sign e, at 0 by convention 0; ∂e/∂target = −1
    Cache     e = prediction − target, and R
    Source    Laplace 1774

    >>> import tinynet as tn
    >>> tn.ops.mae(tn.Tensor([1.0, 2.0]), tn.Tensor([1.0, 5.0])).item()
    1.5
    """
    error = prediction - target
    loss = xp.abs(error)  # (1)
    R = error.size if reduction == "mean" else 1
    return loss if reduction == "none" else loss.sum() / R, (xp.sign(error), R)  # (2) ()


@mae.gradient
def dmae(xp: Any, dloss: Array, *, cache: Any, needs: Any) -> Gradients:
    slope, R = cache
    dprediction = slope * (dloss / R)  # (3)
    dtarget = -dprediction if needs[1] else None  # (4)
    return dprediction, dtarget


@op("prediction:(...) target:(...) -> loss:(...L)", sizes=_reduced("huber", "..."), analytic=False, flops=5, cases=[
    {**case, "prediction": "distinct", "target": "distinct between"}
    for case in ({"...": (4, 3)}, {"...": (5,), "reduction": "sum", "delta": 0.7}, {"...": (3,), "reduction": "none"})])
def huber(xp: Any, prediction: Array, target: Array, *, delta: float = 1.0,
          reduction: str = "mean") -> tuple[Array, Any]:
    """The Huber loss: half the squared error up to `delta`, and linear beyond it, so that outliers count less.

    Shapes    prediction (...) · target (...)  →  loss (), or (...) unreduced
    Forward   (1)  l = c (e − c / 2)        with e = prediction − target and c = min(max(e, −delta), delta):
                                            e² / 2 up to delta, delta (|e| − delta / 2) beyond
              (2)  loss = Σ l / R           R the number of elements (mean), 1 (sum)
    Backward  (3)  δprediction = c δloss / R
              (4)  δtarget = −δprediction
    Because   up to delta c = e and ∂l/∂e = e = c; beyond it l = ±delta e − delta² / 2 has ∂l/∂e = ±delta = c
    Cache     c, and R
    Source    Huber 1964

    >>> import tinynet as tn
    >>> tn.ops.huber(tn.Tensor([1.0, 2.0]), tn.Tensor([0.5, 5.0]), reduction="none").numpy()
    array([0.125, 2.5  ], dtype=float32)
    """
    error = prediction - target
    c = xp.clip(error, -delta, delta)
    loss = c * (error - c / 2)  # (1)
    R = error.size if reduction == "mean" else 1
    return loss if reduction == "none" else loss.sum() / R, (c, R)  # (2) ()


huber.gradient(dmae)  # (3) (4), on a cache with the same parts
