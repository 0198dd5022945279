"""Losses of classification and of regression, and the sums of an epoch."""

from typing import Any

from tinynet.errors import ArgumentError, ShapeError
from tinynet.op import Array, Gradients, Update, op
from tinynet.ops.activation import log_of_softmax, logistic
from tinynet.ops.axes import broadcast, unbroadcast


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


def _check_labels(logits: Array, labels: Array, weight: Array | None, sample_weight: Array | None, *,
                  sizes: dict[str, Any], ignore_index: int | None = None, **options: Any) -> None:
    K = sizes["K"]
    if labels.dtype.kind not in "iu":
        return
    if ignore_index is not None:
        labels = labels[labels != ignore_index]
    if labels.size and (labels.min() < 0 or labels.max() >= K):
        raise ArgumentError(f"cross_entropy: labels must be in [0, K) = [0, {K}), got values from {labels.min()} to "
                            f"{labels.max()}; do labels count from 1, or are there more classes than logits?")


_SOFT: dict[str, Any] = {"labels": "share", "...": (2, 3), "K": 4}


@op("logits:(...,K) labels:int(...)|(...,K) weight?:(K) sample_weight?:(...) -> loss:(...L)",
    sizes=_reduced("cross_entropy", "..."), check=_check_labels, flops=8,
    cases=[{"...": (4,), "K": 5, "weight": None, "sample_weight": None},
           {"...": (3,), "K": 4, "weight": "positive", "sample_weight": None},
           {"...": (2, 3), "K": 4, "weight": "positive", "sample_weight": None, "label_smoothing": 0.2},
           {"...": (4,), "K": 3, "weight": None, "sample_weight": None, "label_smoothing": 0.1, "reduction": "sum"},
           {"...": (3, 4), "K": 2, "weight": "positive", "sample_weight": "positive", "reduction": "none"},
           {"...": (1,), "K": 1, "weight": None, "sample_weight": None},
           {"...": (3, 4), "K": 3, "weight": "positive", "sample_weight": "positive", "label_smoothing": 0.1,
            "ignore_index": 1},
           {**_SOFT, "weight": None, "sample_weight": None}, {**_SOFT, "weight": "positive", "sample_weight": None},
           {**_SOFT, "weight": "positive", "sample_weight": "positive", "label_smoothing": 0.2},
           {**_SOFT, "weight": None, "sample_weight": "positive", "reduction": "none"}])
def cross_entropy(xp: Any, logits: Array, labels: Array, weight: Array | None = None,
                  sample_weight: Array | None = None, *, label_smoothing: float = 0.0, reduction: str = "mean",
                  ignore_index: int | None = None) -> tuple[Array, Any]:
    """Softmax cross-entropy: −ln p[label], where p is the softmax of the logits; or −Σ t ln p for probabilities t.

    `labels` are class numbers in [0, K), integers; floats of the shape of the logits are probabilities of the classes.
    `weight` holds a weight for each class, `sample_weight` one for each position; the mean is then the weighted mean.
    With probabilities, the weights of classes do not count in the divisor of the mean, as in PyTorch.
    `label_smoothing` moves this share of the target from the true class to all K classes evenly. `reduction` is "mean",
    "sum" or "none". Positions with the label `ignore_index` count as absent: their loss and gradient are 0, and the
    mean is over the others (0 without any). So do positions with a sample weight of 0. No exponential overflows: the
    loss is finite and exact for all finite logits, and a logit of −∞ shuts out a class that is not the label.

    Shapes    logits (...,K) · labels (...) of integers, or (...,K) of floats · weight (K) or None ·
              sample_weight (...) or None  →  loss (), or (...) unreduced
    Forward   (1)  ln pₖ = zₖ − ln Σⱼ e^zⱼ
              (2)  qₖ = (1 − ε) tₖ + ε / K        tₖ = 1[k = label] for class numbers; ε the label smoothing
              (3)  l = −s Σₖ wₖ qₖ ln pₖ          at each position, over the k with s wₖ qₖ ≠ 0; s the sample weight
              (4)  loss = Σ l / S                 S = Σ s ω (mean), 1 (sum); no sum ("none"); ω = w[label] for class
                                                  numbers, 1 for probabilities
    Backward  (5)  δl = δloss / S
              (6)  δz = δl s (p Σⱼ wⱼ qⱼ − w q)
              (7)  δwₖ = −Σ δl s qₖ ln pₖ − δloss loss / S Σ s 1[k = label]     the last term for the mean of class
                                                                                numbers alone
              (8)  δs = −δl Σₖ wₖ qₖ ln pₖ − δloss loss / S ω                   the last term for the mean alone
              (9)  δtₖ = −δl s (1 − ε) wₖ ln pₖ                                 of probabilities
    Because   ∂ ln pⱼ/∂zₖ = 1[j=k] − pₖ (see log_softmax), so (3) has ∂l/∂zₖ = s (−wₖ qₖ + pₖ Σⱼ wⱼ qⱼ), which is (6).
              Without weights Σⱼ wⱼ qⱼ = 1, and (6) is δl (p − q): probabilities minus target, p − y in textbooks.
              Each wₖ occurs in (3), where ∂l/∂wₖ = −s qₖ ln pₖ, and for the mean in S: ∂loss/∂S = −loss / S, and
              ∂S/∂wₖ is the sum of s over the labels k. The two terms are (7). In the same way (8): s occurs in its
              own l, and in S with the factor ω. An ignored position has q = 0. (3) and (2) give (9).
    Cache     ln p, q and t, (...,K) each; the weights; ω; S and the loss
    Source    Bridle 1990; label smoothing: Szegedy et al. 2016

    >>> import tinynet as tn
    >>> round(tn.ops.cross_entropy(tn.Tensor([[0.0, 0.0], [1e4, 0.0]]), tn.Tensor([0, 0])).item(), 4)
    0.3466
    >>> round(tn.ops.cross_entropy(tn.Tensor([[0.0, 0.0]]), tn.Tensor([[0.3, 0.7]])).item(), 4)
    0.6931
    """
    K, is_class = logits.shape[-1], labels.dtype.kind in "iu"
    logp = log_of_softmax(xp, logits, -1)  # (1)
    target = (labels[..., None] == xp.arange(K)).astype(logits.dtype) if is_class else labels  # (...,K)
    q = (1 - label_smoothing) * target + label_smoothing / K  # (2)
    if ignore_index is not None:
        if not is_class:
            raise ArgumentError(f"cross_entropy: ignore_index needs labels that are class numbers, got {labels.dtype}; "
                                "a sample_weight of 0 leaves a position out")
        counts = (labels != ignore_index)[..., None]
        target, q, logp = target * counts, q * counts, xp.where(counts, logp, xp.zeros((), logp.dtype))
    w = xp.ones(K, logits.dtype) if weight is None else weight
    s = None if sample_weight is None else sample_weight[..., None]  # (...,1)
    wq = _times(s, w * q)
    loss = -(wq * _where_not_0(xp, wq, logp)).sum(axis=-1)  # (3) (...)
    omega = w * target if is_class else xp.ones((*logp.shape[:-1], 1), logp.dtype)  # ω, its sum over the last axis
    S = _times(s, omega).sum() if reduction == "mean" else None
    if S is not None and (ignore_index is not None or s is not None):
        is_empty = ~counts.any() if s is None else S == 0
        S = xp.where(is_empty, xp.ones((), S.dtype), S)
    if reduction != "none":
        loss = loss.sum() if S is None else loss.sum() / S  # (4) ()
    return loss, (logp, q, w, s, target, omega, S, loss, label_smoothing)


def _times(s: Array | None, values: Array) -> Array:
    return values if s is None else s * values


def _where_not_0(xp: Any, factor: Array, logp: Array) -> Array:
    """ln p, and 0 where it has the factor 0: 0 · ln 0 counts as 0."""
    return xp.where(factor == 0, xp.zeros((), logp.dtype), logp)


@cross_entropy.gradient
def dcross_entropy(xp: Any, dloss: Array, *, cache: Any, needs: Any) -> Gradients:
    logp, q, w, s, target, omega, S, loss, label_smoothing = cache
    dl = (dloss if S is None else dloss / S)[..., None]  # (5) (...,1), or (1)
    dS = None if S is None else -dloss * loss / S
    wq = _times(s, w * q)
    dlogits = dlabels = dweight = dsample = None
    if needs[0]:
        total = wq.sum(axis=-1, keepdims=True)
        dlogits = dl * (_where_not_0(xp, total, xp.exp(logp)) * total - wq)  # (6)
    if needs[1]:
        dlabels = -dl * (1 - label_smoothing) * (sw := _times(s, w)) * _where_not_0(xp, sw, logp)  # (9)
    if needs[2]:
        positions = tuple(range(logp.ndim - 1))
        dweight = -(dl * _times(s, q) * _where_not_0(xp, q, logp)).sum(axis=positions)  # (7) (K)
        if dS is not None and omega.shape == target.shape:
            dweight += dS * _times(s, target).sum(axis=positions)
    if needs[3]:
        dsample = -(dl * w * q * _where_not_0(xp, w * q, logp)).sum(axis=-1)  # (8) (...)
        if dS is not None:
            dsample += dS * omega.sum(axis=-1)
    return dlogits, dlabels, dweight, dsample


def _binary_sizes(known: dict[str, Any], reduction: str = "mean") -> dict[str, Any]:
    weight, shape = known.get("...P", ()), known["..."]
    if broadcast("binary_cross_entropy", shape, weight) != shape:
        raise ShapeError(f"binary_cross_entropy: pos_weight must be one number, or one for each label, got {weight} "
                         f"for logits of {shape}; pos_weight of shape {shape[-1:]}?")
    return dict(_reduced("binary_cross_entropy", "...")(known, reduction))


@op("logits:(...) targets:any(...) pos_weight?:(...P) -> loss:(...L)", sizes=_binary_sizes, flops=12,
    cases=[{"...": (4, 3), "targets": "share", "pos_weight": None},
           {"...": (3, 2), "...P": (2,), "targets": "share", "pos_weight": "positive"},
           {"...": (5,), "...P": (), "targets": "share", "pos_weight": "positive", "reduction": "sum"},
           {"...": (2, 3), "...P": (2, 1), "targets": "boolean", "pos_weight": "positive", "reduction": "none"}])
def binary_cross_entropy(xp: Any, logits: Array, targets: Array, pos_weight: Array | None = None, *,
                         reduction: str = "mean") -> tuple[Array, Any]:
    """Cross-entropy of independent yes-or-no answers: for two classes with one score, or for many labels at once.

    `targets` are 0 and 1, of any dtype, or probabilities. `pos_weight` multiplies the loss of positives; it is one
    number, or one for each label. The loss is finite and exact for all finite logits.

    Shapes    logits (...) · targets (...) · pos_weight, broadcast to (...), or None  →  loss (), or (...) unreduced
    Forward   (1)  a = −ln σ(z) = ln(1 + e^−z),  b = −ln(1 − σ(z)) = ln(1 + eᶻ)        σ the logistic function
              (2)  l = w t a + (1 − t) b        at each element; a term with the factor 0 counts as 0
              (3)  loss = Σ l / R               R the number of elements (mean), 1 (sum)
    Backward  (4)  δz = δl ((1 − t) σ(z) − w t σ(−z)),  δl = δloss / R
              (5)  δt = δl (w a − b)
              (6)  δw = Σ δl t a                over the elements that have this weight
    Because   ∂a/∂z = −e^−z / (1 + e^−z) = −σ(−z), and ∂b/∂z = eᶻ / (1 + eᶻ) = σ(z), since 1 − σ(z) = σ(−z). With
              w = 1, (4) is δl (σ(z) − t): probability minus target. l is linear in t and in w
    Cache     z, t, a, b and w; R
    Source    Cox 1958

    >>> import tinynet as tn
    >>> tn.ops.binary_cross_entropy(tn.Tensor([0.0, 100.0]), tn.Tensor([1, 1]), reduction="none").numpy().round(4)
    array([0.6931, 0.    ], dtype=float32)
    """
    t = targets if targets.dtype == logits.dtype else targets.astype(logits.dtype)
    w = xp.ones((), logits.dtype) if pos_weight is None else pos_weight
    a, b = _softplus(xp, -logits), _softplus(xp, logits)  # (1)
    wt, rest = w * t, 1 - t
    loss = wt * _where_not_0(xp, wt, a) + rest * _where_not_0(xp, rest, b)  # (2)
    R = loss.size if reduction == "mean" else 1
    if reduction != "none":
        loss = loss.sum() / R  # (3) ()
    return loss, (logits, t, a, b, w, R, targets.dtype)


def _softplus(xp: Any, z: Array) -> Array:
    """ln(1 + eᶻ) = max(z, 0) + ln(1 + e^−|z|): the exponential is at most 1."""
    right = z.real > 0
    return xp.where(right, z, xp.zeros((), z.dtype)) + xp.log1p(xp.exp(xp.where(right, -z, z)))


@binary_cross_entropy.gradient
def dbinary_cross_entropy(xp: Any, dloss: Array, *, cache: Any, needs: Any) -> Gradients:
    z, t, a, b, w, R, dtype = cache
    dl = dloss / R
    dlogits = dl * ((1 - t) * logistic(xp, z) - w * t * logistic(xp, -z)) if needs[0] else None  # (4)
    dtargets = (dl * (w * a - b)).astype(dtype) if needs[1] else None  # (5)
    dweight = unbroadcast(xp, dl * t * _where_not_0(xp, t, a), w.shape) if needs[2] else None  # (6)
    return dlogits, dtargets, dweight


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


@Update
def tally_labels(xp: Any, total: Array, right: Array, loss: Array, logits: Array, targets: Array) -> None:
    """Add a batch of N samples with many labels to the sums of an epoch, 0-d arrays, in place.

      (1)  total ← total + N loss                     loss () the mean loss of the batch
      (2)  right ← right + count of samples           with (logit > 0) = (target > 1/2) for all labels; logits and
                                                      targets (N,...)
    """
    total += loss * len(targets)  # (1)
    right += ((logits > 0) == (targets > 0.5)).reshape(len(targets), -1).all(axis=1).sum()  # (2)


@Update
def tally_errors(xp: Any, total: Array, errors: Array, loss: Array, prediction: Array, target: Array) -> None:
    """Add a batch of N samples to the sums of an epoch of a regression, 0-d arrays, in place.

      (1)  total ← total + N loss                              loss () the mean loss of the batch
      (2)  errors ← errors + N mean |prediction − target|      prediction and target (N,...)
    """
    total += loss * len(target)  # (1)
    errors += xp.abs(prediction - target).mean() * len(target)  # (2)


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
