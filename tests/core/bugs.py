"""Bugs, one at a time, in the source of an op: the ordinary check of every op has to catch each of them.

A bug is an edit, old text -> new text, of the file that the op stands in, or of a file that it takes a helper from.
There is one for every numbered equation of every op, and more: common mistakes. `test_planted.py` plants them.
"""

import re
import sys
from functools import cache
from pathlib import Path
from typing import NamedTuple

from tinynet.op import REGISTRY


class Bug(NamedTuple):
    op: str
    title: str
    old: str
    new: str
    file: str = ""  # where the text is, if not in the op's own file

    def __str__(self) -> str:
        return f"{self.op}: {self.title}"


BUGS = [
    # --- activations
    Bug("relu", "leaks", "xp.maximum(x, xp.zeros((), x.dtype))", "xp.maximum(x, 0.01 * x)"),
    Bug("relu", "gradient 1 at 0", "x > 0  # (1)", "x >= 0  # (1)"),
    Bug("relu", "gradient where x is negative", "xp.where(positive, dy, xp.zeros((), dy.dtype))", "dy"),
    Bug("sigmoid", "scaled", "y = logistic(xp, x)", "y = logistic(xp, 1.001 * x)"),
    Bug("sigmoid", "its slope as a function of x", "return y, y", "return y, x"),
    Bug("sigmoid", "sigma instead of 1 - sigma", "dy * y * (1 - y)", "dy * y * y"),
    Bug("tanh", "too steep", "y = xp.tanh(x)", "y = xp.tanh(1.001 * x)"),
    Bug("tanh", "overwrites its input", "y = xp.tanh(x)", "y = xp.tanh(x, out=x)"),
    Bug("tanh", "the square is missing", "1 - y * y", "1 - y"),
    Bug("leaky_relu", "the slope is added", "negative_slope * x)", "negative_slope + x)"),
    Bug("leaky_relu", "the slope on both sides", "xp.where(positive, dy, negative_slope * dy)", "negative_slope * dy"),
    Bug("elu", "the 1 is missing", "xp.expm1(xp", "xp.exp(xp"),
    Bug("elu", "alpha forgotten", "alpha * xp", "xp"),
    Bug("elu", "the slope of an exponential without alpha", "dy * (y + alpha)", "dy * (y + 1)"),
    Bug("gelu", "the tail above x", "* _below(xp, x), x", "* _below(xp, -x), x"),
    Bug("gelu", "x times the density is missing", "_below(xp, x) + x * density", "_below(xp, x)"),
    Bug("gelu", "a wrong digit close to 0", "3.77485237685302021e2", "3.77486237685302021e2", "normal"),
    Bug("gelu", "a wrong digit", "8.88314979438837594e0", "8.88315979438837594e0", "normal"),
    Bug("gelu", "scaled far from 0", "(1 / math.sqrt(math.pi)", "(1.01 / math.sqrt(math.pi)", "normal"),
    Bug("silu", "not times x", "_within(xp, x, -_FAR) * logistic(xp, x), x", "logistic(xp, x), x"),
    Bug("silu", "the 1 is missing", "(1 + x * (1 - s))", "(x * (1 - s))"),
    Bug("softmax", "unnormalised", "xp.exp(log_of_softmax(xp, x, axis))", "xp.exp(x)"),
    Bug("softmax", "always over the last axis", "log_of_softmax(xp, x, axis)", "log_of_softmax(xp, x, -1)"),
    Bug("softmax", "only the diagonal of the Jacobian", "y * (dy - (dy * y).sum(axis=axis, keepdims=True))",
        "y * dy * (1 - y)"),
    Bug("softmax", "the sum over the wrong axis", "(dy * y).sum(axis=axis, keepdims=True)",
        "(dy * y).sum(axis=0, keepdims=True)"),
    Bug("softmax", "overwrites the gradient it was given", "return y * (dy - (dy * y).sum(axis=axis, keepdims=True))",
        "dy -= (dy * y).sum(axis=axis, keepdims=True)\n    return y * dy"),
    Bug("log_softmax", "one class more", "log_of_softmax(xp, x, axis)",
        "x - xp.log(1 + xp.exp(x).sum(axis=axis, keepdims=True))"),
    Bug("log_softmax", "dy not summed", "dy - xp.exp(y) * dy.sum(axis=axis, keepdims=True)", "dy - xp.exp(y) * dy"),
    Bug("log_softmax", "y instead of its exponential", "dy - xp.exp(y) *", "dy - y *"),
    # --- arithmetic
    Bug("add", "off by a millionth", "a + b,", "a + b * 1.000001,"),
    Bug("add", "a is not summed back", "da = unbroadcast(xp, dy, shape_a)", "da = dy"),
    Bug("add", "b is not summed back", "db = unbroadcast(xp, dy, shape_b)", "db = dy"),
    Bug("add", "stretched axes averaged", "dy.sum(axis=axes).reshape(shape)", "dy.mean(axis=axes).reshape(shape)",
        "axes"),
    Bug("add", "axes of size 1 forgotten", "if size == 1))", "if size == 1 and False))", "axes"),
    Bug("subtract", "the wrong way round", "return a - b", "return b - a"),
    Bug("subtract", "a with a minus", "unbroadcast(xp, dy, shape_a)", "unbroadcast(xp, -dy, shape_a)"),
    Bug("subtract", "b without its minus", "unbroadcast(xp, -dy, shape_b)", "unbroadcast(xp, dy, shape_b)"),
    Bug("multiply", "absolute", "return a * b", "return a * abs(b)"),
    Bug("multiply", "each its own factor", "dy * b, a.shape", "dy * a, a.shape"),
    Bug("multiply", "off by 0.01 %", "dy * a, b.shape", "1.0001 * dy * a, b.shape"),
    Bug("multiply", "swapped gradients", "return da, db", "return db, da"),
    Bug("divide", "protected from zero", "y = a / b  # (1)", "y = a / (b + 1e-8)  # (1)"),
    Bug("divide", "times instead of over", "dy / b, shape_a", "dy * b, shape_a"),
    Bug("divide", "once over b", "-dy * y / b", "-dy * y"),
    Bug("divide", "the minus is missing", "-dy * y / b", "dy * y / b"),
    Bug("maximum", "the smaller", "return xp.maximum(a, b)", "return xp.minimum(a, b)"),
    Bug("maximum", "a tie to the second", "(a >= b, a.shape", "(a > b, a.shape"),
    Bug("maximum", "a tie to both", "xp.where(first, zero, dy)", "xp.where(first, dy / 2, dy)"),
    Bug("maximum", "the loser's gradient", "xp.where(first, dy, zero)", "xp.where(first, zero, dy)"),
    Bug("maximum", "b takes all", "xp.where(first, zero, dy)", "(dy + zero)"),
    Bug("minimum", "NaN is swallowed", "xp.minimum(a, b)", "xp.fmin(a, b)"),
    Bug("minimum", "a tie to the second", "(a <= b, a.shape", "(a < b, a.shape"),
    Bug("minimum", "halved", "xp.where(first, dy, zero)", "xp.where(first, dy, zero) / 2"),
    Bug("minimum", "the loser's gradient", "xp.where(first, zero, dy)", "xp.where(first, dy, zero)"),
    Bug("where", "the wrong way round", "xp.where(condition, a, b)", "xp.where(condition, b, a)"),
    Bug("where", "a everywhere", "xp.where(condition, dy, zero)", "xp.where(condition, dy, dy)"),
    Bug("where", "b everywhere", "xp.where(condition, zero, dy)", "dy"),
    Bug("where", "float64 from float32", "zero = xp.zeros((), dy.dtype)", "zero = xp.zeros(1)"),
    Bug("negative", "nothing", "return -x", "return +x"),
    Bug("negative", "the minus is missing", "return -dy", "return +dy"),
    Bug("power", "of the absolute value", "return x**exponent", "return abs(x)**exponent"),
    Bug("power", "p is missing", "dy * p * x ** (p - 1)", "dy * x ** (p - 1)"),
    Bug("power", "one power too high", "x ** (p - 1)", "x**p"),
    Bug("power", "1 for a power of 0", "xp.zeros_like(dy)", "xp.ones_like(dy)"),
    Bug("exp", "of another base", "y = xp.exp(x)", "y = xp.exp2(x)"),
    Bug("exp", "the slope 1", "dy * y", "dy"),
    Bug("log", "of another base", "return xp.log(x)", "return xp.log1p(x)"),
    Bug("log", "squared", "dy / x", "dy / (x * x)"),
    Bug("log1p", "rounded", "return xp.log1p(x)", "return xp.log(1.0001 + x)"),
    Bug("log1p", "the 1 is missing", "dy / (1 + x)", "dy / x"),
    Bug("expm1", "the 1 is missing", "y = xp.expm1(x)", "y = xp.exp(x)"),
    Bug("expm1", "y for its slope", "dy * (y + 1)", "dy * y"),
    Bug("sign", "of the square", "return xp.sign(x)", "return xp.sign(x * x)"),
    Bug("sign", "passes the gradient", "xp.zeros_like(dy)", "1 * dy"),
    Bug("sqrt", "the cube's root", "y = xp.sqrt(x)", "y = x ** (1 / 3)"),
    Bug("sqrt", "the 2 is missing", "dy / (2 * y)", "dy / y"),
    Bug("absolute", "the sign is lost", "return xp.abs(x), x", "return xp.abs(x), xp.abs(x)"),
    Bug("absolute", "1 at 0", "sign = xp.sign(x)", "sign = xp.where(x >= 0, 1.0, -1.0).astype(dy.dtype)"),
    Bug("absolute", "x for its sign", "sign = xp.sign(x)", "sign = x"),
    Bug("clip", "from below only", "xp.clip(x, low, high)", "xp.clip(x, low, None)"),
    Bug("clip", "0 at the edge", "(x >= low) & (x <= high)", "(x > low) & (x < high)"),
    Bug("clip", "gradient everywhere", "xp.where(inside, dy, xp.zeros((), dy.dtype))", "dy * 1"),
    Bug("erf", "the other tail", "y, _ = erf_and_erfc(xp, x)", "_, y = erf_and_erfc(xp, x)"),
    Bug("erf", "the factor of the density", "dy * (2 / math.sqrt(math.pi)", "dy * (1 / math.sqrt(math.pi)"),
    Bug("erf", "a wrong digit", "8.88314979438837594e0", "8.88315979438837594e0", "normal"),
    Bug("float_power", "of the absolute value", "y = x**exponent", "y = abs(x)**exponent"),
    Bug("float_power", "one power too high", "** (p - 1)", "** p"),
    Bug("float_power", "half of it for x", "unbroadcast(xp, dy * slope, x", "unbroadcast(xp, dy * slope / 2, x"),
    Bug("float_power", "the logarithm is missing", "dy * y * logarithm", "dy * y"),
    # --- losses
    Bug("cross_entropy", "not normalised", "logp = log_of_softmax(xp, logits, -1)", "logp = logits * 1"),
    Bug("cross_entropy", "the true class is not smoothed", "q = (1 - label_smoothing) * target", "q = target"),
    Bug("cross_entropy", "smoothing not divided by K", "+ label_smoothing / K", "+ label_smoothing"),
    Bug("cross_entropy", "the weights are missing in the loss", "-(wq * _where", "-(q * _where"),
    Bug("cross_entropy", "divided by the number, not by the weights", "omega = w * target if",
        "omega = (w > 0) * target if"),
    Bug("cross_entropy", "the weights of classes divide for probabilities", "omega = w * target if is_class else",
        "omega = w * target if True else"),
    Bug("cross_entropy", "the weights of samples do not divide", "S = _times(s, omega).sum()", "S = omega.sum()"),
    Bug("cross_entropy", "mean for sum", "loss.sum() if S is None", "loss.mean() if S is None"),
    Bug("cross_entropy", "the mean's divisor is missing", "dloss / S)[..., None]", "dloss)[..., None]"),
    Bug("cross_entropy", "p - 1 without the weights", "xp.exp(logp)) * total - wq)", "xp.exp(logp)) - q)"),
    Bug("cross_entropy", "p - 1 without the smoothing", "loss, label_smoothing = cache",
        "loss, label_smoothing = cache\n    q = target"),
    Bug("cross_entropy", "the sum of the weights is missing", "xp.exp(logp)) * total", "xp.exp(logp))"),
    Bug("cross_entropy", "the weight's sign", "dweight = -(dl * _times", "dweight = (dl * _times"),
    Bug("cross_entropy", "the weight's share in the divisor is missing", "dweight += dS", "dweight += 0 * dS"),
    Bug("cross_entropy", "the sample's weight of classes is missing", "-(dl * w * q * _where", "-(dl * q * _where"),
    Bug("cross_entropy", "the sample's share in the divisor is missing", "dsample += dS", "dsample += 0 * dS"),
    Bug("cross_entropy", "the smoothing is missing in the labels", "-dl * (1 - label_smoothing) *", "-dl *"),
    Bug("binary_cross_entropy", "the classes exchanged", "a, b = _softplus(xp, -logits), _softplus(xp, logits)",
        "b, a = _softplus(xp, -logits), _softplus(xp, logits)"),
    Bug("binary_cross_entropy", "no weight for positives", "loss = wt * _where", "loss = t * _where"),
    Bug("binary_cross_entropy", "the sum for the mean", "loss = loss.sum() / R", "loss = loss.sum()"),
    Bug("binary_cross_entropy", "the weight for both", "- w * t * logistic(xp, -z)", "- t * logistic(xp, -z)"),
    Bug("binary_cross_entropy", "the weight is missing for the targets", "(w * a - b)", "(a - b)"),
    Bug("binary_cross_entropy", "the weight's gradient without the targets", "dl * t * _where", "dl * _where"),
    Bug("mse", "half of it", "loss = error * error", "loss = error * error / 2"),
    Bug("mse", "divided by the batch alone", "R = error.size", "R = len(error)"),
    Bug("mse", "the sum for the mean", "loss = loss.sum() / R", "loss = loss.sum()"),
    Bug("mse", "the 2 is missing", "2 * error * (dloss / R)", "error * (dloss / R)"),
    Bug("mse", "no gradient for the target", "-dprediction if needs[1] else None", "0 * dprediction"),
    Bug("mae", "squared", "loss = xp.abs(error)", "loss = error * error"),
    Bug("mae", "the sum for the mean", "loss.sum() / R, (xp.sign(error), R)", "loss.sum(), (xp.sign(error), R)"),
    Bug("mae", "not divided", "slope * (dloss / R)", "slope * dloss"),
    Bug("mae", "no gradient for the target", "dtarget = -dprediction", "dtarget = 0 * dprediction"),
    Bug("huber", "limited from above only", "xp.clip(error, -delta, delta)", "xp.clip(error, None, delta)"),
    Bug("huber", "the half is missing", "c * (error - c / 2)", "c * (error - c)"),
    Bug("huber", "the sum for the mean", "loss.sum() / R, (c, R)", "loss.sum(), (c, R)"),
    Bug("huber", "not divided", "slope * (dloss / R)", "slope * dloss"),
    Bug("huber", "no gradient for the target", "dtarget = -dprediction", "dtarget = 0 * dprediction"),
    # --- reductions
    Bug("sum", "of absolute values", "return x.sum(axis=axes", "return abs(x).sum(axis=axes"),
    Bug("sum", "halved", "dy.reshape(kept(shape, axes))", "dy.reshape(kept(shape, axes)) / 2"),
    Bug("sum", "stretched along the wrong axes", "dy.reshape(kept(shape, axes))",
        "dy.reshape(kept(shape, axes))[..., ::-1]"),
    Bug("mean", "slightly too large", "return x.mean(axis=axes, keepdims=keepdims)",
        "return x.mean(axis=axes, keepdims=keepdims) * 1.0001"),
    Bug("mean", "not divided", "(dy / R).reshape", "dy.reshape"),
    Bug("mean", "divided by all", "R = math.prod(shape[i] for i in axes)", "R = math.prod(shape)"),
    Bug("var", "of a sample", "(centred * centred).mean(axis=axes, keepdims=keepdims)",
        "(centred * centred).sum(axis=axes, keepdims=keepdims) / (x.size - 1 or 1)"),
    Bug("var", "the 2 is missing", "(2 / R)", "(1 / R)"),
    Bug("var", "divided by all", "R = math.prod(centred.shape[i] for i in axes)", "R = centred.size"),
    Bug("var", "overwrites its cache", "return dy.reshape(kept(centred.shape, axes)) * centred * (2 / R)",
        "centred *= 2 / R\n    return dy.reshape(kept(centred.shape, axes)) * centred"),
    Bug("max", "the smallest", "return x.max(axis=axes", "return x.min(axis=axes"),
    Bug("max", "a tie to all", '_first(xp, x, axes, "argmax")', "x == x.max(axis=axes, keepdims=True)"),
    Bug("max", "the smallest takes it", '_first(xp, x, axes, "argmax")', '_first(xp, x, axes, "argmin")'),
    Bug("max", "to everyone", "xp.where(first, dy", "xp.where(first | True, dy"),
    Bug("min", "NaN is swallowed", "x.min(axis=axes, keepdims=keepdims)", "xp.fmin.reduce(x, axes, keepdims=keepdims)"),
    Bug("min", "a tie to the last", "first = xp.arange(rows.shape[-1]) == index",
        "first = xp.arange(rows.shape[-1]) == rows.shape[-1] - 1 - xp.expand_dims("
        "getattr(rows[..., ::-1], which)(axis=-1), -1)"),
    Bug("min", "axes in the wrong order", "back = sorted(range(x.ndim), key=[*others, *axes].__getitem__)",
        "back = sorted(range(x.ndim), key=[*axes, *others].__getitem__)"),
    Bug("min", "to everyone", "xp.where(first, dy", "xp.where(first | True, dy"),
    # --- shapes
    Bug("reshape", "column by column", "x.reshape(shape), x.shape", "x.reshape(shape, order='F'), x.shape"),
    Bug("reshape", "back column by column", "dy.reshape(cache)", "dy.reshape(cache, order='F')"),
    Bug("transpose", "the inverse order", "return x.transpose(axes), axes",
        "return x.transpose(xp.argsort([a % x.ndim for a in axes])), axes"),
    Bug("transpose", "back in the same order", "dy.transpose([order.index(axis) for axis in range(dy.ndim)])",
        "dy.transpose(order)"),
    Bug("logsumexp", "the maximum alone", "y = m + xp.log1p(rest)", "y = m + 0 * xp.log1p(rest)"),
    Bug("logsumexp", "to all alike", "kept(x.shape, axes)) * shares", "kept(x.shape, axes)) * (shares > 0)"),
    Bug("take_along_axis", "backwards", "return x[index], (x.shape", "return x[index][::-1], (x.shape"),
    Bug("take_along_axis", "what was taken twice counts once", "xp.add.at(dx, index, dy)", "dx[index] = dy"),
    Bug("getitem", "backwards", "return x[index], (x.shape, index)", "return x[index][::-1], (x.shape, index)"),
    Bug("getitem", "what was picked twice counts once", "xp.add.at(dx, index, dy)", "dx[index] = dy"),
    Bug("getitem", "a gradient that is empty", "dx[index] = dy  # (2)", "dx[index] += 0 * dy  # (2)"),
    Bug("getitem", "float64 from float32", "xp.zeros(shape, dy.dtype)", "xp.zeros(shape)"),
    Bug("concatenate", "in reverse", "xp.concatenate(xs, axis=axis)", "xp.concatenate(xs[::-1], axis=axis)"),
    Bug("concatenate", "split into equal parts", "xp.split(dy, ends[:-1], axis=axis)",
        "xp.array_split(dy, len(ends), axis=axis)"),
    Bug("concatenate", "each part backwards", "return tuple(xp.split(dy, ends[:-1], axis=axis))",
        "return tuple(d[::-1] for d in xp.split(dy, ends[:-1], axis=axis))"),
    Bug("pad", "always zeros", "constant_values=value", "constant_values=0"),
    Bug("pad", "the margin behind taken for that in front", "slice(before, before + size) for size, (before, _)",
        "slice(after, after + size) for size, (_, after)"),
    Bug("pad", "scaled", "return dy[cache]", "return dy[cache] * 1.01"),
    Bug("astype", "through integers", "return x.astype(dtype), x.dtype", "return x.round(3).astype(dtype), x.dtype"),
    Bug("astype", "keeps the other precision", "dy.astype(cache)", "dy"),
    # --- products
    Bug("matmul", "off by a billionth", "return a @ b, (a, b)", "return a @ b * (1 + 1e-9), (a, b)"),
    Bug("matmul", "a is not summed back", "unbroadcast(xp, dy @ xp.swapaxes(b, -1, -2), a.shape)",
        "dy @ xp.swapaxes(b, -1, -2)"),
    Bug("matmul", "columns in reverse", "xp.swapaxes(a, -1, -2) @ dy", "xp.swapaxes(a, -1, -2) @ dy[..., ::-1]"),
    Bug("matmul", "stretched axes averaged", "dy.sum(axis=axes)", "dy.mean(axis=axes)", "axes"),
    Bug("dense", "the bias is forgotten", "y += b", "y += 0 * b"),
    Bug("dense", "absolute weights", "@ W  # (1) (R,F)", "@ abs(W)  # (1) (R,F)"),
    Bug("dense", "the bias is changed", "        y += b", "        y += b\n        b += 1"),
    Bug("dense", "x gets W's sign", "(dy @ W.T).reshape(x.shape)", "(dy @ abs(W).T).reshape(x.shape)"),
    Bug("dense", "one position only", "x.reshape(R, W.shape[0]).T @ dy", "x.reshape(R, W.shape[0])[:1].T @ dy[:1]"),
    Bug("dense", "the mean over positions", ".T @ dy if need_W", ".T @ dy / len(dy) if need_W"),
    Bug("dense", "the mean for the bias", "dy.sum(axis=0)", "dy.mean(axis=0)"),
    # --- dropout
    Bug("dropout", "not scaled in forward", "return _masked(xp, x, m, factor)", "return _masked(xp, x, m, 1)"),
    Bug("dropout", "1/(1-p) is missing", "return _masked(xp, dy, m, factor)", "return _masked(xp, dy, m, 1)"),
    Bug("dropout", "the mask is missing", "return _masked(xp, dy, m, factor)", "return dy * factor"),
    Bug("dropout", "drops what it should keep", "m = keep_mask(", "m = ~keep_mask("),
    Bug("dropout", "scaled by p", "factor = 1 / (1 - p)", "factor = 1 / p if p else 1"),
    Bug("dropout", "always the first mask", "p, key, counter, first)", "p, key, 0, first)"),
    Bug("dropout", "each part begins with the first word", "p, key, counter, first)", "p, key, counter, 0)"),
    Bug("dropout", "key and stream exchanged", "p, key, counter, first)", "p, key[::-1], counter, first)"),
    # --- batch normalisation
    Bug("batch_norm", "over the wrong axes", "across(xp, x.sum(axis=others), R)",
        "across(xp, x.sum() + 0 * x.sum(axis=others), R)"),
    Bug("batch_norm", "the mean of one element more", "mean = total / R", "mean = total / (R + 1)"),
    Bug("batch_norm", "the variance of a sample", "var = squares / R", "var = squares / (R - 1)"),
    Bug("batch_norm", "eps outside of the root", "s = xp.sqrt(var + eps)", "s = xp.sqrt(var) + eps"),
    Bug("batch_norm", "divided by the variance", "xhat = centred / s.reshape(along)",
        "xhat = centred / (s * s).reshape(along)"),
    Bug("batch_norm", "beta is scaled", "gamma.reshape(along) * xhat + beta.reshape(along)",
        "gamma.reshape(along) * (xhat + beta.reshape(along))"),
    Bug("batch_norm", "the last axis, whichever was asked for", "axis %= x.ndim", "axis = x.ndim - 1"),
    Bug("batch_norm", "(5) the mean", "dbeta = dy.sum(axis=others)", "dbeta = dy.mean(axis=others)"),
    Bug("batch_norm", "(6) with x itself", "dgamma = (dy * xhat)", "dgamma = (dy * xhat * s.reshape(along))"),
    Bug("batch_norm", "(7) gamma is missing", "dxhat = dy * gamma.reshape(along)", "dxhat = dy * 1"),
    Bug("batch_norm", "(8) what arrives at var is lost", "dvar = dvar - (dxhat", "dvar = -(dxhat"),
    Bug("batch_norm", "(8) the 2 is missing", "/ (2 * s * s)", "/ (s * s)"),
    Bug("batch_norm", "(8) over s once", "/ (2 * s * s)", "/ (2 * s)"),
    Bug("batch_norm", "(9) what arrives at the mean is lost", "dmean = dmean - dxhat", "dmean = -dxhat"),
    Bug("batch_norm", "(9) not over s", "dxhat.sum(axis=others) / s", "dxhat.sum(axis=others)"),
    Bug("batch_norm", "(10) the term of the mean is missing", " + (dmean / R).reshape(along)", ""),
    Bug("batch_norm", "(10) the term of the variance is missing",
        " + (dvar * 2 * s / R).reshape(along) * xhat", ""),
    Bug("batch_norm", "(10) R is the batch alone", "R = None, x.size // x.shape[axis]", "R = None, len(x)"),
    Bug("batch_norm", "(11) not over s", "dx = dxhat / s.reshape(along)  # (11)", "dx = dxhat  # (11)"),
    Bug("batch_norm", "(11) evaluation as in training", "    if given:\n", "    if False:\n"),
    Bug("batch_norm", "gamma and beta exchanged", "dgamma, dbeta, None, None, None",
        "dbeta, dgamma, None, None, None"),
    Bug("batch_norm", "R counts the masked steps", "R = real.sum(axis=others)",
        "R = (real | True).sum(axis=others)"),
    Bug("batch_norm", "masked steps count in the sums", "x = _selected(xp, x, real)", "x = 1 * x"),
    Bug("batch_norm", "masked steps count in the variance", "_selected(xp, x - mean.reshape(along), real)",
        "(x - mean.reshape(along))"),
    Bug("batch_norm", "a masked step shows beta", "xhat + beta.reshape(along), real)",
        "xhat + beta.reshape(along), None)"),
    Bug("batch_norm", "masked steps pass their gradient back", "    dy = _selected(xp, dy, real)", "    dy = 1 * dy"),
    Bug("batch_norm", "masked steps get a gradient", "return _selected(xp, dx, real)", "return dx"),
    # --- convolutions and pooling
    Bug("conv1d", "the kernel is flipped", "W[None], b, ONE_ROW", "W[None, ::-1], b, ONE_ROW"),
    Bug("conv1d", "the bias counts twice", "        y += b.reshape(", "        y += 2 * b.reshape("),
    Bug("conv1d", "the same slice for every tap", "start = k * self.dilation", "start = 0", "window"),
    Bug("conv1d", '"same" with the odd element in front', "before, after = total // 2, total - total // 2",
        "before, after = total - total // 2, total // 2", "window"),
    Bug("conv1d", '"causal" looks ahead', "before, after = span - 1, 0", "before, after = 0, span - 1", "window"),
    Bug("conv1d", "dilation is forgotten", "start = k * self.dilation", "start = k", "window"),
    Bug("conv1d", "(2) overlaps overwritten", "dx[tap] += share", "dx[tap] = share"),
    Bug("conv1d", "(2) the flipped kernel, flipped again", "(dy @ _by_groups(W[i, j]",
        "(dy @ _by_groups(W[-1 - i, -1 - j]"),
    Bug("conv1d", "(3) the mean over places", "pixels.transpose(0, 2, 1) @ dy", "pixels.transpose(0, 2, 1) @ dy / R"),
    Bug("conv1d", "(4) the mean over places", "db = dy.sum(axis=0)", "db = dy.mean(axis=0)"),
    Bug("conv1d", "the margin of the gradient is cut at the wrong end",
        "dx[:, rows.before : dx.shape[1] - rows.after, columns.before : dx.shape[2] - columns.after]",
        "dx[:, rows.before : dx.shape[1] - rows.after, columns.after : dx.shape[2] - columns.before]", "window"),
    Bug("conv2d", "the taps of rows and columns exchanged", "@ _by_groups(W[i, j], groups)  # (1)",
        "@ _by_groups(W[i % W.shape[0], -1 - j], groups)  # (1)"),
    Bug("conv2d", "every other channel in a group", "x.reshape(R, groups, columns // groups).transpose(1, 0, 2)",
        "x.reshape(R, columns // groups, groups).transpose(2, 0, 1)"),
    Bug("conv1d", "groups of outputs not put back", "blocks.transpose(1, 0, 2).reshape", "blocks.reshape"),
    Bug("conv2d", "one stride for both axes", ' window(op, "W", image[1], *width_options)',
        ' window(op, "W", image[1], width_options[0], *height_options[1:])', "window"),
    Bug("conv2d", "(2) only the last tap", "dx[tap] += share", "dx[tap] = share"),
    Bug("conv2d", "(2) the kernel upside down", "(dy @ _by_groups(W[i, j]", "(dy @ _by_groups(W[-1 - i, j]"),
    Bug("conv2d", "(3) a transposed kernel", "dW[i, j] = _side", "dW[i, -1 - j] = _side"),
    Bug("conv2d", "(4) the bias of one image", "db = dy.sum(axis=0)", "db = dy[: len(dy) // N].sum(axis=0)"),
    Bug("conv2d", "the gradient of the bias is always asked for W", "if need_b else None", "if need_W else None"),
    Bug("max_pool1d", "the batch backwards", "_max_pool(xp, x[:, None], ONE_ROW, columns)",
        "_max_pool(xp, x[::-1, None], ONE_ROW, columns)"),
    Bug("max_pool1d", "padding is 0", "value=-xp.inf)", "value=0.0)"),
    Bug("max_pool1d", "a tie to the last", "(x[tap] > y)", "(x[tap] >= y)"),
    Bug("max_pool1d", "NaN is swallowed", " | ((x[tap] != x[tap]) & (y == y))", ""),
    Bug("max_pool1d", "to everyone in the window", "xp.where(winner == k, dy", "xp.where(winner >= 0, dy"),
    Bug("max_pool1d", "a winner of two windows is paid once",
        "dx[tap] += xp.where(winner == k, dy, xp.zeros((), dy.dtype))",
        "dx[tap] = xp.where(winner == k, dy, dx[tap])"),
    Bug("max_pool1d", "the stride is 1 unless given", "size if stride is None", "1 if stride is None", "window"),
    Bug("max_pool2d", "the last in the window", "xp.where(better, x[tap], y)", "x[tap]"),
    Bug("max_pool2d", "one size for both axes", 'pool_window(op, "W", image[1], *width_options)',
        'pool_window(op, "W", image[1], height_options[0], *width_options[1:])', "window"),
    Bug("max_pool2d", "a tie to the last", "(x[tap] > y)", "(x[tap] >= y)"),
    Bug("max_pool2d", "the first in the window takes it", "xp.where(winner == k, dy", "xp.where(k == 0, dy"),
    Bug("avg_pool1d", "padding is counted", "R = sum(count[tap] for", "R = sum(1 + 0 * count[tap] for"),
    Bug("avg_pool1d", "the sum", "return total / R", "return total"),
    Bug("avg_pool1d", "the gradient is not divided", "dx[tap] += dy / R", "dx[tap] += dy"),
    Bug("avg_pool2d", "padding is counted", "xp.ones((1, *shape[1:3], 1), x.dtype), rows, columns)",
        "xp.ones((1, *shape[1:3], 1), x.dtype), rows, columns, 1.0)"),
    Bug("avg_pool2d", "float64 from float32", "xp.ones((1, *shape[1:3], 1), x.dtype)", "xp.ones((1, *shape[1:3], 1))"),
    Bug("avg_pool2d", "transposed", "_avg_pool(xp, x, rows, columns)", "_avg_pool(xp, x, columns, rows)"),
    Bug("avg_pool2d", "overlaps overwritten", "dx[tap] += dy / R", "dx[tap] = dy / R"),
    # --- layer normalisation
    Bug("layer_norm", "(1) eps outside of the root", "keepdims=True) + eps)", "keepdims=True)) + eps"),
    Bug("layer_norm", "(2) divided by the variance", "xhat = centred / s", "xhat = centred / (s * s)"),
    Bug("layer_norm", "(3) beta is scaled", "gamma * xhat + beta, (xhat", "gamma * (xhat + beta), (xhat"),
    Bug("layer_norm", "(4) the term of the mean is missing", "d - d.mean(axis=-1, keepdims=True) - xhat", "d - xhat"),
    Bug("layer_norm", "(4) not over s", "(d * xhat).mean(axis=-1, keepdims=True)) / s", "(d * xhat).mean(axis=-1, "
        "keepdims=True))"),
    Bug("layer_norm", "(5) the mean", "(dy * xhat).sum(axis=positions)", "(dy * xhat).sum(axis=positions) / 2"),
    Bug("layer_norm", "(6) of another gradient", ", dy.sum(axis=positions)", ", d.sum(axis=positions)"),
    # --- the GRU
    Bug("gru", "(1) the reset gate is tanh", "r = logistic(xp, a[:, :H]", "r = xp.tanh(1 * a[:, :H]"),
    Bug("gru", "(2) the state has no part in z", "a[:, H : 2 * H] + q[:, H : 2 * H])", "a[:, H : 2 * H])"),
    Bug("gru", "(3) nothing is reset", "r * q[:, 2 * H :])", "q[:, 2 * H :])"),
    Bug("gru", "(4) z the other way round", "n + z * (h[t] - n)", "h[t] + z * (n - h[t])"),
    Bug("gru", "(5) the slope is missing", "dh * (1 - z) * (1 - n * n)", "dh * (1 - z)"),
    Bug("gru", "(5) q_n without r", "da[t, :, 2 * H :] * r  # (5)", "da[t, :, 2 * H :]  # (5)"),
    Bug("gru", "(6) the new state", "dh * (h[t] - n) * z", "dh * (h[t + 1] - n) * z"),
    Bug("gru", "(7) q_n is missing", "da[t, :, 2 * H :] * q_n * r", "da[t, :, 2 * H :] * r"),
    Bug("gru", "(8) the direct way is missing", "dh * z + dq[t] @ W[:H].T", "dq[t] @ W[:H].T"),
    Bug("gru", "(8) through a for q", "dq[t] @ W[:H].T", "da[t] @ W[:H].T"),
    Bug("gru", "(9) through q for a", "(da @ W[H:].T)", "(dq @ W[H:].T)"),
    Bug("gru", "(10) through a for W_h", "h[:T].reshape(T * N, H).T @ dq", "h[:T].reshape(T * N, H).T @ da"),
    Bug("gru", "(10) through q for W_x", "reshape(T * N, D).T @ da", "reshape(T * N, D).T @ dq"),
    Bug("gru", "(10) the mean for b", "db = da.sum(axis=0)", "db = da.mean(axis=0)"),
    Bug("gru", "(10) b for b_h", "db_h = dq.sum(axis=0)", "db_h = da.sum(axis=0)"),
    Bug("gru", "(11) a masked step is multiplied by 0", "x = xp.where(real, x, xp.zeros((), x.dtype))", "x = x * real"),
    Bug("gru", "(12) h goes on", "xp.where(real[:, t], h[t + 1], h[t])", "h[t + 1] * 1"),
    Bug("gru", "(13) a masked step shows the state", "y = xp.where(real, y, xp.zeros((), y.dtype))", "y = y * 1"),
    Bug("gru", "(14) a masked step has a gradient", "xp.where(real[:, t], da[t], xp.zeros((), dy.dtype))", "da[t] * 1"),
    Bug("gru", "(15) the gradient of h ends at a masked step", "xp.where(real[:, t], dh, past)", "dh * 1"),
    # --- the simple recurrent network
    Bug("simple_rnn", "(1) the state has no part", "xp.tanh(h[t] @ W[:H] + a[:, t])", "xp.tanh(a[:, t])"),
    Bug("simple_rnn", "the bias is left out", "a if b is None else a + b", "a"),
    Bug("simple_rnn", "(2) the slope of the state before", "1 - h[t + 1] * h[t + 1]", "1 - h[t] * h[t]"),
    Bug("simple_rnn", "(3) not turned", "da[t] @ W[:H].T", "da[t] @ W[:H]"),
    Bug("simple_rnn", "(4) halved", "(da @ W[H:].T)", "(da @ W[H:].T / 2)"),
    Bug("simple_rnn", "(5) the state after", "h[:T].reshape(T * N, H).T", "h[1:].reshape(T * N, H).T"),
    Bug("simple_rnn", "(5) steps of x out of order", "x.transpose(1, 0, 2).reshape(T * N, D)", "x.reshape(T * N, D)"),
    Bug("simple_rnn", "(5) the mean for b", "db = da.sum(axis=0)", "db = da.mean(axis=0)"),
    Bug("simple_rnn", "(6) a step times 0", "x = xp.where(real, x, xp.zeros((), x.dtype))", "x = x * real"),
    Bug("simple_rnn", "(7) h goes on", "xp.where(real[:, t], h[t + 1], h[t])", "h[t + 1] * 1"),
    Bug("simple_rnn", "(8) a masked step shows the state", "y = xp.where(real, y, xp.zeros((), y.dtype))", "y = y * 1"),
    Bug("simple_rnn", "(9) a gradient", "xp.where(real[:, t], da[t], xp.zeros((), dy.dtype))", "da[t] * 1"),
    Bug("simple_rnn", "(10) the gradient of h ends at a masked step", "xp.where(real[:, t], dh, past)", "dh * 1"),
    # --- the LSTM
    Bug("lstm", "(1) the forget gate is tanh", "f = logistic(xp, z_f)", "f = xp.tanh(z_f)"),
    Bug("lstm", "(2) the input gate is coupled", "i = logistic(xp, z_i)", "i = 1 - f"),
    Bug("lstm", "(3) the candidate is a gate", "Ctilde = xp.tanh(z_C)", "Ctilde = logistic(xp, z_C)"),
    Bug("lstm", "(4) nothing is forgotten", "f * C[t] + i * Ctilde", "C[t] + i * Ctilde"),
    Bug("lstm", "(5) the output gate is tanh", "o = logistic(xp, z_o)", "o = xp.tanh(z_o)"),
    Bug("lstm", "(6) the state is not squashed", "o * xp.tanh(C[t + 1])", "o * C[t + 1]"),
    Bug("lstm", "gates in the order of others", "z_f, z_i, z_C, z_o = z[:, :H], z[:, H : 2 * H]",
        "z_i, z_f, z_C, z_o = z[:, :H], z[:, H : 2 * H]"),
    Bug("lstm", "rows [x, h]", "hx[t] @ W + b", "hx[t] @ xp.concatenate([W[-H:], W[:-H]]) + b"),
    Bug("lstm", "the bias is missing", "hx[t] @ W + b", "hx[t] @ W + 0 * b"),
    Bug("lstm", "the first state is zero", "h[0] = 0 if h0 is None else h0", "h[0] = 0"),
    Bug("lstm", "the first cell is zero", "C[0] = 0 if c0 is None else c0", "C[0] = 0"),
    Bug("lstm", "(15) the mask is forgotten", "h[t] if recurrent_mask is None else recurrent_mask * h[t]", "h[t]"),
    Bug("lstm", "the mask also at the output", "        h[t + 1] = o * xp.tanh(C[t + 1])  # (6)",
        "        h[t + 1] = (1 if recurrent_mask is None else recurrent_mask) * o * xp.tanh(C[t + 1])  # (6)"),
    Bug("lstm", "h and C exchanged", "(y, h[T], C[T])", "(y, C[T], h[T])"),
    Bug("lstm", "the state before the last step", "h[T], C[T])", "h[T], C[max(T - 1, 0)])"),
    Bug("lstm", "(7) the carry is dropped", "dC = dC + dh * o *", "dC = dh * o *"),
    Bug("lstm", "(7) the slope of tanh is missing", "dh * o * (1 - tanhC * tanhC)", "dh * o"),
    Bug("lstm", "(7) the output gate is missing", "dh * o * (1 - tanhC * tanhC)", "dh * (1 - tanhC * tanhC)"),
    Bug("lstm", "(7) the output of this step is missing", "dh = dh + dy[:, t]", "dh = dh + dy[:, t] * (t > 0)"),
    Bug("lstm", "(8) the new state instead of the old", "dC * C[t] * f", "dC * C[t + 1] * f"),
    Bug("lstm", "(8) the slope of the gate is missing", "dC * C[t] * f * (1 - f)", "dC * C[t]"),
    Bug("lstm", "(9) the wrong gate", "dC * Ctilde * i * (1 - i)", "dC * i * i * (1 - i)"),
    Bug("lstm", "(9) the other slope", "dC * Ctilde * i * (1 - i)", "dC * Ctilde * (1 - i * i)"),
    Bug("lstm", "(10) the slope of a gate", "dC * i * (1 - Ctilde * Ctilde)", "dC * i * Ctilde * (1 - Ctilde)"),
    Bug("lstm", "(10) the gate is missing", "dC * i * (1 - Ctilde * Ctilde)", "dC * (1 - Ctilde * Ctilde)"),
    Bug("lstm", "(11) the state is not squashed", "dh * tanhC * o", "dh * C[t + 1] * o"),
    Bug("lstm", "(11) off by 0.01 %", "dh * tanhC * o * (1 - o)", "dh * tanhC * o * (1 - o) * 1.0001"),
    Bug("lstm", "(8) and (9) exchanged", "dz[t, :, :H] = dC * C[t] * f * (1 - f)",
        "dz[t, :, :H] = dC * Ctilde * i * (1 - i)"),
    Bug("lstm", "(12) gradients of h and x exchanged", "dhx = dz[t] @ W.T", "dhx = dz[t] @ W.T[:, ::-1]"),
    Bug("lstm", "(12) the step before forgotten", "dhx[:, :H], dhx[:, H:]", "dhx[:, :H] * (t > 1), dhx[:, H:]"),
    Bug("lstm", "(13) the carry is not gated", "dC = dC * f", "dC = dC * 1"),
    Bug("lstm", "(13) gated by the wrong gate", "dC = dC * f", "dC = dC * i"),
    Bug("lstm", "(16) the mask is missing", "dh = m * dh  # (16)", "dh = 1 * dh  # (16)"),
    Bug("lstm", "(17) the masked state", "dm += h[t] * dh", "dm += m * h[t] * dh"),
    Bug("lstm", "(17) the last step alone", "dm += h[t] * dh", "dm = h[t] * dh"),
    Bug("mask_steps", "multiplied", "xp.where(real, x, xp.full((), value, x.dtype))", "x * real + value * ~real"),
    Bug("mask_steps", "always zero", "xp.full((), value, x.dtype)", "xp.zeros((), x.dtype)"),
    Bug("mask_steps", "a gradient at masked steps", "xp.where(cache, dy, xp.zeros((), dy.dtype))", "dy"),
    Bug("lstm", "(18) a masked step is multiplied by 0", "x = xp.where(real, x, zero)", "x = x * real"),
    Bug("lstm", "(19) h goes on", "h[t + 1] = xp.where(real[:, t], h[t + 1], h[t])", "h[t + 1] = h[t + 1]"),
    Bug("lstm", "(19) C goes on", "C[t + 1] = xp.where(real[:, t], C[t + 1], C[t])", "C[t + 1] = C[t + 1]"),
    Bug("lstm", "(20) a masked step shows the state", "y = xp.where(real, y, zero)", "y = y * 1"),
    Bug("lstm", "(21) a masked step has a gradient", "dz[t] = xp.where(real[:, t], dz[t], zero)", "dz[t] = dz[t]"),
    Bug("lstm", "(22) the gradient of h ends at a masked step", "xp.where(real[:, t], dh, dh_past)", "dh"),
    Bug("lstm", "(22) the gradient of C ends at a masked step", "xp.where(real[:, t], dC, dC_past)", "dC"),
    Bug("lstm", "(14) the mean over time", "hx.reshape(T * N, HD).T @ dz", "hx.reshape(T * N, HD).T @ dz / T"),
    Bug("lstm", "(14) one step only", "hx.reshape(T * N, HD).T @ dz", "hx.reshape(T * N, HD)[:N].T @ dz[:N]"),
    Bug("lstm", "(14) the mean over the batch", "db = dz.sum(axis=0)", "db = dz.mean(axis=0)"),
    Bug("lstm", "gradients of h0 and c0 exchanged", "dh if needs[1] else None, dC if needs[2] else None",
        "dC if needs[1] else None, dh if needs[2] else None"),
    Bug("lstm", "the gradient of c0 only if that of h0 is asked for", "dC if needs[2]", "dC if needs[1]"),
    Bug("lstm", "adds up in its cache", "    dz = dz.reshape(T * N, 4 * H)",
        "    gates += 1e-3\n    dz = dz.reshape(T * N, 4 * H)"),
    Bug("lstm", "the gradient of y is changed", "        dh = dh + dy[:, t]",
        "        dy[:, t] += dh\n        dh = dy[:, t]"),
    Bug("lstm", "works in float64", "gates = xp.empty((T, 4, N, H), x.dtype)", "gates = xp.empty((T, 4, N, H), "
        "xp.result_type(x.dtype, 'float64'))"),
]


# --- where they are --------------------------------------------------------------------------------------------------

def helper_module(stem: str) -> str:
    """A module that ops take functions from: in ops/, or beside it."""
    return f"tinynet.ops.{stem}" if f"tinynet.ops.{stem}" in sys.modules else f"tinynet.{stem}"


def file_of(op: str, stem: str = "") -> Path:
    """The file that an op stands in, or one that it takes functions from."""
    file = sys.modules[helper_module(stem) if stem else REGISTRY[op].module].__file__
    assert file
    return Path(file)


def section(source: str, op: str) -> tuple[int, int]:
    """Where the text of one op begins and ends: its decorator, its forward, its backward."""
    at = source.index(f"\ndef {op}(")
    start, end = source.rindex("\n@op(", 0, at), source.find("\n@op(", at)
    return start, end if end >= 0 else len(source)


def edit(bug: Bug) -> tuple[str, int]:
    """The edited source, and where the edit begins: in the op's own section, or else once in the whole file."""
    source = file_of(bug.op, bug.file).read_text(encoding="utf-8")
    start, end = (0, len(source)) if bug.file else section(source, bug.op)
    if source.count(bug.old, start, end) == 0:
        start, end = 0, len(source)
    count = source.count(bug.old, start, end)
    if count != 1:
        raise ValueError(f"{bug.old!r} occurs {count} times in the code, and must occur once")
    at = source.index(bug.old, start)
    return source[:at] + bug.new + source[at + len(bug.old) :], at


def equations(bug: Bug) -> set[int]:
    """The numbers that stand on the line that a bug is planted into."""
    source, at = file_of(bug.op, bug.file).read_text(encoding="utf-8"), edit(bug)[1]
    line = source[source.rindex("\n", 0, at) : source.index("\n", at + len(bug.old.rstrip("\n")))]
    return {int(number) for run in re.findall(r"#((?: \(\d+\))+)", line) for number in re.findall(r"\d+", run)}


@cache
def flaw(bug: Bug) -> str:
    """Why a bug cannot be planted; "" if it can."""
    try:
        compile(edit(bug)[0], str(file_of(bug.op, bug.file)), "exec")
    except SyntaxError as error:
        return f"line {error.lineno} of the op's file is invalid with {bug.new!r} in it"
    except ValueError as error:
        return str(error)
    return ""
