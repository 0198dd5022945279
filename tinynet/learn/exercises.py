"""The eight exercises: what each asks, which equations of the library it leaves out, and how the check calls them."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinynet import ops
from tinynet.learn import small_tape
from tinynet.op import Op
from tinynet.ops import conv
from tinynet.optim import adam
from tinynet.random import normal, stream

Outputs = Sequence[Any]
Call = Callable[[Mapping[str, Any]], Outputs]  # takes the names of a file, and returns what its functions compute


class Exercise(NamedTuple):
    """A file with blanks.

    title    what it is about
    task     the question, in words
    source   the library's functions or classes with the lines to fill in
    hints    by function and number of the equation, for each blank: what to think about after a wrong answer
    calls    how the check calls the functions
    shown    an op whose shapes and forward equations the file states
    """

    title: str
    task: str
    source: tuple[Any, ...]
    hints: Mapping[tuple[str, int], str]
    calls: Callable[[], Iterator[Call]]
    shown: Op[Any] | None = None


# --- what the check calls -------------------------------------------------------------------------------------------

def _array(*shape: int, step: int = 0) -> np.ndarray[Any, Any]:
    return normal(shape, (0, stream("exercises")), step=step).astype(np.float64)


def _backward(name: str, op: Op[Any], shapes: Sequence[tuple[int, ...] | np.ndarray[Any, Any] | None],
              **options: Any) -> Call:
    """Call the gradient function `name` of a file with the cache that the library's forward pass makes."""
    def call(names: Mapping[str, Any]) -> Outputs:
        inputs = [_array(*one, step=step) if isinstance(one, tuple) else one for step, one in enumerate(shapes)]
        outputs, cache = op.forward(np, *inputs, **options)
        outputs = outputs if isinstance(outputs, tuple) else (outputs,)
        doutputs = [np.ones(()) if np.ndim(y) == 0 else _array(*y.shape, step=100 + step)
                    for step, y in enumerate(outputs)]
        needs = [isinstance(one, np.ndarray) and one.dtype.kind == "f" for one in inputs]
        needs += [False] * (len(op.contract.inputs) - len(needs))
        found = names[name](np, *doutputs, cache=cache, needs=tuple(needs))
        return found if isinstance(found, tuple) else (found,)
    return call


def _dense() -> Iterator[Call]:
    yield _backward("ddense", ops.dense, [(4, 3), (3, 2), (2,)])
    yield _backward("ddense", ops.dense, [(2, 5, 3), (3, 4), (4,)])


def _cross_entropy() -> Iterator[Call]:
    yield _backward("dsoftmax", ops.softmax, [(3, 5)])
    yield _backward("dlog_softmax", ops.log_softmax, [(3, 5)])
    yield _backward("dcross_entropy", ops.cross_entropy, [(5, 4), np.array([1, 0, 3, 3, 2]), None])
    yield _backward("dcross_entropy", ops.cross_entropy, [(3, 6), np.array([5, 2, 2]), None], reduction="sum")


def _conv1d() -> Iterator[Call]:
    def call(shapes: Sequence[tuple[int, ...]], **options: Any) -> Call:
        def called(names: Mapping[str, Any]) -> Outputs:
            x, W, b = (_array(*shape, step=step) for step, shape in enumerate(shapes))
            y, cache = ops.conv1d.forward(np, x, W, b, **options)
            return tuple(names["_dconvolve"](np, _array(*y.shape, step=100)[:, None], cache, (True, True, True)))
        return called

    yield call([(2, 7, 3), (3, 3, 4), (4,)])
    yield call([(2, 8, 3), (2, 3, 5), (5,)], stride=2, padding="same")


def _batch_norm() -> Iterator[Call]:
    yield _backward("dbatch_norm", ops.batch_norm, [(7, 3), (3,), (3,), None, None, None])
    yield _backward("dbatch_norm", ops.batch_norm, [(2, 5, 4), (4,), (4,), None, None, None])


def _lstm() -> Iterator[Call]:
    yield _backward("dlstm", ops.lstm, [(2, 5, 3), (2, 4), (2, 4), (7, 16), (16,), None, None])
    yield _backward("dlstm", ops.lstm, [(3, 1, 2), (3, 5), (3, 5), (7, 20), (20,), None, None])


def _adam() -> Iterator[Call]:
    def call(names: Mapping[str, Any]) -> Outputs:
        value, m, v = _array(6), np.zeros(6), np.zeros(6)
        for step in range(1, 4):
            names["adam"](np, value, _array(6, step=step), m, v, lr=0.1, betas=(0.9, 0.99), eps=1e-3, step=step,
                          weight_decay=0.0, decoupled=False)
        return value, m, v
    yield call


def _tape() -> Iterator[Call]:
    def call(names: Mapping[str, Any]) -> Outputs:
        tape = names["Tape"]()
        a, b, c = tape.number(0.7), tape.number(-1.3), tape.number(0.4)
        d = a * b + c
        y = d.tanh() * d + a * a
        tape.backward(y)
        return tuple(number.gradient for number in (a, b, c, d))
    yield call


# --- the exercises --------------------------------------------------------------------------------------------------

EXERCISES: dict[str, Exercise] = {
    "dense": Exercise(
        "the gradients of a matrix product",
        "`dy` is the gradient of the loss with respect to y, with one row for each position. Compute the gradients "
        "with respect to x, W and b. Begin with one element: y[r,f] = Σ_d x[r,d] W[d,f] + b[f].",
        (ops.dense.backward,),
        {("ddense", 2): "∂y[r,f]/∂x[r,d] is W[d,f]. Which index of dy and W is summed over, and which stay?",
         ("ddense", 3): "W[d,f] occurs at each position r. Its gradient has the shape of W.",
         ("ddense", 4): "b[f] is added at each position. What does a sum over all of them give?"},
        _dense, ops.dense),
    "cross_entropy": Exercise(
        "softmax and cross-entropy: p - y",
        "Write the backward passes of the softmax, of its logarithm, and of the cross-entropy, down to the logits. In "
        "the last one, `logp` is ln p, `wq` is the target distribution times the weights of the classes, here all 1, "
        "and `dl` is the gradient with respect to the loss of each position.",
        (ops.softmax.backward, ops.log_softmax.backward, ops.cross_entropy.backward),
        {("dsoftmax", 2): "Each y depends on each x: ∂yⱼ/∂xᵢ has one form for i = j and another for i ≠ j.",
         ("dlog_softmax", 2): "In xᵢ − ln Σ e^x, the first term has a derivative for i alone, the second one for all.",
         ("dcross_entropy", 6): "Without weights the two textbook symbols are enough: probabilities and target. Is "
                                "`logp` a probability?"},
        _cross_entropy, ops.cross_entropy),
    "conv1d": Exercise(
        "the gradients of a convolution",
        "The forward pass adds x[tap] @ W[i, j] for each element (i, j) of the kernel, where x[tap] are the inputs "
        "that this element reads. A convolution over time has i = 0. Compute what each of these products contributes "
        "to the gradients; `share` is its contribution to dx. The first axis of dy (1,R,F) and of pixels (1,R,C) is "
        "for groups of channels. Here there is one group.",
        (conv._dconvolve,),
        {("_dconvolve", 2): "An input is read by several elements of the kernel. For one of them it is a dense layer.",
         ("_dconvolve", 3): "For one element of the kernel it is the dW of a dense layer with the rows x[tap].",
         ("_dconvolve", 4): "b is added to each output."},
        _conv1d, ops.conv1d),
    "batch_norm": Exercise(
        "back through the statistics of a batch",
        "x̂, s and γ are in the cache. `dmean` and `dvar` are the gradients of the mean and the variance, which are "
        "outputs too. Both depend on x, so x influences y in three ways: directly, through σ² and through μ. Sums run "
        "over the axes `others`, and `.reshape(along)` aligns an array (C) with the channels.",
        (ops.batch_norm.backward,),
        {("dbatch_norm", 5): "β is added to each element of its channel.",
         ("dbatch_norm", 6): "Which array is multiplied by γ in (4)?",
         ("dbatch_norm", 7): "Which array is x̂ multiplied by in (4)?",
         ("dbatch_norm", 8): "x̂ = (x − μ) (σ² + ε)^(−1/2). Its derivative with respect to σ² is x̂, with a factor "
                             "and a power of s.",
         ("dbatch_norm", 9): "In (3), μ is subtracted and divided by s. Through (2) it has no influence: Σ (x − μ) "
                             "= 0.",
         ("dbatch_norm", 10): "Three terms: through (3), (2) and (1). x − μ is x̂ s."},
        _batch_norm, ops.batch_norm),
    "lstm_gates": Exercise(
        "one step back through an LSTM",
        "At step t, `dh` and `dC` are the gradients with respect to h and C from the later steps. Add to dC what comes "
        "through h. Then compute the gradients with respect to the four blocks of z, the inputs of σ and tanh.",
        (ops.lstm.backward,),
        {("dlstm", 7): "h = o ⊙ tanh C contributes a term to the gradient from the next step. tanh' = 1 − tanh².",
         ("dlstm", 8): "Which factor multiplies f in (4)? Then pass through σ, whose derivative is σ (1 − σ).",
         ("dlstm", 9): "Which factor multiplies i in (4)? Then pass through σ.",
         ("dlstm", 10): "Which factor multiplies C̃ in (4)? C̃ comes from tanh, not from σ.",
         ("dlstm", 11): "o occurs in (6), not in (4): does its gradient start from dC or from dh?"},
        _lstm, ops.lstm),
    "lstm_carry": Exercise(
        "from step to step: the carry",
        "The gradients with respect to the four blocks of z at step t are in dz[t]. Compute the gradients with respect "
        "to [h, x] and to the cell state of the previous step, and those of W and b, which all steps share. After the "
        "loop, `hx` and `dz` hold all steps.",
        (ops.lstm.backward,),
        {("dlstm", 12): "z = [h, x] W + b is a dense layer.",
         ("dlstm", 13): "Which factor multiplies the previous C in (4)? Gradients survive many steps while it is "
                        "near 1.",
         ("dlstm", 14): "All steps share W and b. One matrix product sums over steps and sequences."},
        _lstm, ops.lstm),
    "adam": Exercise(
        "Adam",
        "m and v are moving averages of the gradient g and of its square, with the factors beta1 and beta2. They start "
        "at 0, so they are too small at first: at step t, E[m] is (1 − beta1^t) E[g]. Correct both. Then change the "
        "value by the learning rate times the corrected m, divided by the root of the corrected v; `eps` is added to "
        "the root. `scalar(number, m)` gives a number the dtype of m. Change the arrays in place.",
        (adam.adam.specification,),
        {("adam", 2): "The line before is m *= beta1. What does a weighted average add?",
         ("adam", 3): "As (2), with beta2 and the square of the gradient.",
         ("adam", 4): "Divide by the sum of the weights that (2) and (3) have given so far; it depends on `step`.",
         ("adam", 5): "Subtract. eps is added to the root, not under it."},
        _adam),
    "tape": Exercise(
        "a tape in sixty lines",
        "Each operation appends its result to the tape, with its inputs and its derivatives with respect to them. Fill "
        "in these derivatives, the start of the backward pass, the order in which it visits the results, and the chain "
        "rule.",
        (small_tape.Number, small_tape.Tape),
        {("__add__", 1): "By how much does a + b change when a changes by 1?",
         ("__mul__", 2): "By how much does a b change when a changes by 1? The order is that of the inputs.",
         ("tanh", 3): "y is tanh a.",
         ("backward", 4): "What is ∂y/∂y?",
         ("backward", 5): "A number's gradient must be complete before it is passed on to its inputs. Write indices "
                          "into self.numbers.",
         ("backward", 6): "A number may be an input of several results, and each contributes a term."},
        _tape),
}
