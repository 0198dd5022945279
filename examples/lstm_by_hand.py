"""One digit through an LSTM by hand, row by row, then back through time, with a check of every equation.

    python examples/lstm_by_hand.py                    every equation holds: exit code 0
    python examples/lstm_by_hand.py --break carry      plants a classic mistake (or swap, scale): exit code 1
    python examples/lstm_by_hand.py --model FILE       another trained model: an LSTM, then a Dense layer
    python examples/lstm_by_hand.py --data digits --index 7 --units 16 --seed 0 --out runs/lstm_by_hand

There is no --device: the check needs float64 and complex numbers, in NumPy.

The rows of the digit are the sequence x_1 ... x_28. An LSTM of 16 units that examples/train_small_lstm.py has trained
reads it or, with --units, an untrained one. The loss is the softmax cross-entropy of a Dense layer of the last state
h_T. In an untrained LSTM, h_0 and C_0 are not zero, and there is a recurrent mask m, so that no equation is trivial; in
a trained one h_0 and C_0 are zero and m is one. The equations have the numbers of tinynet/ops/lstm.py, where they are
derived; dz is ∂loss/∂z.

The check: the forward pass runs again with one element of one quantity moved by i·s, s = 1e-20, at one time t. The
imaginary part of the loss, divided by s, is the derivative. No difference is taken, so nothing cancels. This is done
for every element at every time, and compared with the equation in two ways:

    alone          the equation gets measured derivatives: a mistake shows only in its own equation
    in the chain   the equation gets the results of those before it: a mistake shows in all that follow
"""

import argparse
import os
import sys
from collections import namedtuple
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import command
import numpy as np

import tinynet as tn
from tinynet.output import say

MODEL = Path(__file__).parent / "trained" / "lstm_16.safetensors"
STEP = 1e-20  # s, the complex step
TOLERANCE = 1e-12  # the largest relative error allowed, max|a - b| / max(|a|, |b|)
SHADES = " .:-=+*#%@"

Keep = Callable[[str, int, np.ndarray], np.ndarray]
Values = dict[tuple[str, int], np.ndarray]  # by quantity and time; 0 is the start, also for quantities without a time
Step = namedtuple("Step", "h_before C_before hx f i Ctilde C o h")  # inputs and results of a step


class Network(NamedTuple):
    """An LSTM of H units for rows of D pixels, and a Dense layer. A vector is a row (1,H), as in a batch of one."""

    W: np.ndarray  # (H+D,4H), rows [h, x], column blocks f, i, C̃, o
    b: np.ndarray  # (1,4H)
    h0: np.ndarray  # (1,H)
    C0: np.ndarray  # (1,H)
    m: np.ndarray  # (1,H), the recurrent mask
    V: np.ndarray  # (H,10), the Dense layer
    c: np.ndarray  # (1,10), its bias


def untrained(inputs: int, units: int, classes: int, seed: int) -> Network:
    tn.seed(seed)
    lstm, dense = tn.nn.LSTM(inputs, units), tn.nn.Dense(units, classes)
    W, b, V = (parameter.numpy().astype(np.float64) for parameter in (lstm.W, lstm.b, dense.W))
    key = seed, tn.random.stream("lstm_by_hand")
    h0, C0 = 0.5 * tn.random.normal((2, 1, units), key, step=0)
    m = tn.random.keep_mask(np, (1, units), 0.25, key, step=1) / 0.75
    return Network(W, b[None], h0, C0, m, V, np.zeros((1, classes)))


def trained(path: Path, inputs: int, classes: int) -> Network:
    """The network of a saved model. Errors: ArgumentError if it is not an LSTM and a Dense layer of these sizes.

    The LSTM reads forwards, and the Dense layer its last state; both have biases.
    """
    match list(tn.load(path)):
        case [tn.nn.LSTM() as lstm, tn.nn.Dense() as dense] if (
                lstm.inputs == inputs and lstm.b is not None and dense.W.shape == (lstm.units, classes)
                and dense.b is not None and not (lstm.return_sequences or lstm.go_backwards)):
            W, b, V, c = (parameter.numpy().astype(np.float64) for parameter in (lstm.W, lstm.b, dense.W, dense.b))
            zero = np.zeros((1, lstm.units))
            return Network(W, b[None], zero, zero, zero + 1, V, c[None])
    raise tn.errors.ArgumentError(f"lstm_by_hand: --model must be an LSTM of {inputs} inputs, then a Dense layer of "
                                  f"{classes} outputs of its last state, forwards and with biases, and {path.name} is "
                                  "not; see examples/train_small_lstm.py")


# --- forward --------------------------------------------------------------------------------------------------------

def forward(net: Network, x: np.ndarray, label: int,
            nudge: Callable[[str, int], Any] = lambda name, t: 0.0) -> tuple[np.ndarray, list[Step]]:
    """The loss and all steps. `nudge` is 0 except for the quantity and the time being measured."""
    W, b, m = net.W + nudge("W", 0), net.b + nudge("b", 0), net.m + nudge("m", 0)
    h, C, steps = net.h0, net.C0, []
    for t, row in enumerate(x, start=1):
        h_before, C_before = h + nudge("h", t - 1), C + nudge("carry", t - 1)
        hx = join(m * h_before, row) + nudge("hx", t)  # (15) (1,H+D)
        z_f, z_i, z_C, z_o = np.split(product(hx, W) + b + nudge("z", t), 4, axis=-1)  # (1,H)
        f = sigma(z_f)  # (1)
        i = sigma(z_i)  # (2)
        Ctilde = np.tanh(z_C)  # (3)
        C = f * C_before + i * Ctilde + nudge("C", t)  # (4)
        o = sigma(z_o)  # (5)
        h = o * np.tanh(C)  # (6)
        steps.append(Step(h_before, C_before, hx, f, i, Ctilde, C, o, h))
    scores = (h + nudge("last h", len(x))) @ net.V + net.c
    others = np.exp(np.delete(scores - scores[..., label, None], label, axis=-1)).sum(axis=-1)
    return np.log1p(others), steps  # −ln p[label], without the cancellation of p near 1


def product(hx: np.ndarray, W: np.ndarray) -> np.ndarray:
    """hx W. For many rows side by side (64,1,H+D) and one W, it is one product instead of 64."""
    return hx @ W if W.ndim > 2 else (hx.reshape(-1, len(W)) @ W).reshape(*hx.shape[:-1], -1)


def sigma(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def softmax(z: np.ndarray) -> np.ndarray:
    powers = np.exp(z - z.real.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def join(h: np.ndarray, row: np.ndarray) -> np.ndarray:
    return np.concatenate([h, np.broadcast_to(row, (*h.shape[:-1], row.size))], axis=-1)


# --- back through time ----------------------------------------------------------------------------------------------

def backward(net: Network, label: int, steps: list[Step], keep: Keep) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """dm, dW and db. `keep` stores the result of each equation, and returns the value to continue with."""
    H, T = net.h0.size, len(steps)
    p = softmax(steps[-1].h @ net.V + net.c)
    p[0, label] = -np.delete(p, label).sum()  # p − 1, without cancellation
    dh = keep("last h", T, p @ net.V.T)
    dC = np.zeros_like(net.C0)
    dm, dW, db = np.zeros_like(net.m), np.zeros_like(net.W), np.zeros_like(net.b)
    for t in range(T, 0, -1):
        h_before, C_before, hx, f, i, Ctilde, C, o, _ = steps[t - 1]
        dC = keep("C", t, dC + dh * o * (1 - np.tanh(C) ** 2))  # (7)
        dz_f = dC * C_before * f * (1 - f)  # (8)
        dz_i = dC * Ctilde * i * (1 - i)  # (9)
        dz_C = dC * i * (1 - Ctilde**2)  # (10)
        dz_o = dh * np.tanh(C) * o * (1 - o)  # (11)
        dz = keep("z", t, np.concatenate([dz_f, dz_i, dz_C, dz_o], axis=1))
        dhx = keep("hx", t, dz @ net.W.T)  # (12)
        dC = keep("carry", t - 1, dC * f)  # (13)
        dh = keep("h", t - 1, net.m * dhx[:, :H])  # (16)
        dm = dm + h_before * dhx[:, :H]  # (17)
        dW = dW + hx.T @ dz  # (14)
        db = db + dz  # (14)
    return dm, dW, db


def go_back(net: Network, label: int, steps: list[Step], mistake: str | None, truth: Values | None = None) -> Values:
    """The results of the equations: in the chain or, with `truth`, each alone."""
    found: Values = {}
    broken, spoil = MISTAKES[mistake]

    def keep(name: str, t: int, value: np.ndarray) -> np.ndarray:
        found[name, t] = spoil(value) if name == broken else value
        return (truth or found)[name, t]

    dm, dW, db = backward(net, label, steps, keep)
    return {**found, ("m", 0): dm, ("W", 0): dW, ("b", 0): db}


MISTAKES: dict[str | None, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    None: ("nothing", np.copy),
    "carry": ("carry", np.zeros_like),  # in (13)
    "swap": ("z", lambda dz: dz.reshape(4, -1)[[1, 0, 2, 3]].reshape(1, -1)),  # in (8) and (9)
    "scale": ("hx", lambda dhx: 1.0001 * dhx),  # in (12)
}


# --- the check ------------------------------------------------------------------------------------------------------

class Equation(NamedTuple):
    """An equation: its number, and the quantity that it computes; for z, one gate's part of it."""

    number: int
    name: str
    formula: str
    quantity: str
    gate: int | None = None

    def of(self, values: Values) -> np.ndarray:
        """The values that the equation computes, in order of time."""
        given = np.array([value for (quantity, _), value in values.items() if quantity == self.quantity])
        return given if self.gate is None else np.split(given, 4, axis=-1)[self.gate]


EQUATIONS = [
    Equation(7, "dC", "dC + dh * o * (1 - tanh(C)^2)", "C"),
    Equation(8, "dz_f", "dC * C_before * f * (1 - f)", "z", 0),
    Equation(9, "dz_i", "dC * C~ * i * (1 - i)", "z", 1),
    Equation(10, "dz_C", "dC * i * (1 - C~^2)", "z", 2),
    Equation(11, "dz_o", "dh * tanh(C) * o * (1 - o)", "z", 3),
    Equation(12, "d[mh,x]", "dz W^T", "hx"),
    Equation(13, "dC_before", "dC * f, the carry", "carry"),
    Equation(14, "dW", "sum over t of [mh, x]^T dz", "W"),
    Equation(14, "db", "sum over t of dz", "b"),
    Equation(16, "dh_before", "m * d(mh)", "h"),
    Equation(17, "dm", "sum over t of h_before * d(mh)", "m"),
]


def measure(net: Network, x: np.ndarray, label: int, places: Values) -> Values:
    """The derivatives at all places: each element by a complex step in its own forward pass."""
    def slopes(here: tuple[str, int], along: np.ndarray) -> np.ndarray:
        loss, _ = forward(net, x, label, lambda name, t: 1j * STEP * along if (name, t) == here else 0.0)
        return loss.imag[:, 0] / STEP

    truth = {}
    for here, value in places.items():
        parts = np.array_split(np.arange(value.size), -(-value.size // 64))  # 64 passes side by side: (64,1,H)
        along = (np.equal.outer(part, np.arange(value.size)).reshape(-1, *value.shape) for part in parts)
        truth[here] = np.concatenate([slopes(here, part) for part in along]).reshape(value.shape)
    return truth


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    scale = max(np.abs(a).max(), np.abs(b).max())
    return float(np.abs(a - b).max() / scale) if scale != 0 else 0.0


def largest_error(given: np.ndarray, true: np.ndarray) -> float:
    """The largest relative error over the times. Each time has its own scale: at t = 1 the gradients are small."""
    return float(np.max([relative_error(a, b) for a, b in zip(given, true, strict=True)]))


def diagnose(equation: Equation, alone: Values, truth: Values) -> str:
    """The classic mistake in an equation, determined from its numbers alone."""
    given, true = equation.of(alone), equation.of(truth)
    if not given.any():
        return "gives only zeros: a dropped carry or other term"
    for other in EQUATIONS:
        if other.quantity == equation.quantity and relative_error(given, other.of(truth)) <= TOLERANCE:
            return f"gives the values of ({other.number}): swapped gates"
    factor = (given * true).sum() / (true * true).sum()
    if relative_error(given, factor * true) <= TOLERANCE:
        return f"is right but for a factor of {factor:.6g}: a wrong scale"
    return "is wrong, but not by a classic mistake"


# --- output --------------------------------------------------------------------------------------------------

def verdict(error: float) -> str:
    return f"{error:.0e} {'ok' if error <= TOLERANCE else 'WRONG'}"


def show_forward(image: np.ndarray, steps: list[Step]) -> None:
    """Print each row of the digit, with mean and extent (largest - smallest) of the quantities over the units."""
    say(" t " + "row t of the digit".ljust(image.shape[1]) + "".join(
        f"{name:^12}"[:11] for name in ("f", "i", "C~", "o", "C", "h")))
    say("   " + " " * image.shape[1] + "  mean ext." * 6)
    for t, (row, step) in enumerate(zip(image, steps, strict=True), start=1):
        shades = "".join(SHADES[int(pixel) * len(SHADES) // 256] for pixel in row)
        columns = (step.f, step.i, step.Ctilde, step.o, step.C, step.h)
        say(f"{t:2} {shades}" + "".join(f"{value.mean():6.2f}{np.ptp(value):5.2f}" for value in columns))
    say("""
Columns: over the units, the mean, and ext., the largest value minus the smallest.
f near 1 keeps the state C of a unit, i near 1 takes in its candidate C~, o near 1 shows C in h.""")


def show_guesses(net: Network, steps: list[Step], label: int) -> None:
    """Print the prediction after each row: that of the Dense layer of h_t."""
    p = softmax(np.concatenate([step.h for step in steps]) @ net.V + net.c)
    say(f"\nThe class with the largest probability, if the digit ended at row t = 1 ... {len(steps)}:\n"
        f"   {' '.join(map(str, p.argmax(axis=1)))}    (at the end {label} has the probability {p[-1, label]:.3f})")


def show_proof(alone: Values, chain: Values, truth: Values) -> bool:
    """Print the errors of each equation, then the mistakes. Returns whether all equations hold."""
    say(f"\nEach equation against complex steps: the largest relative error of all t.\n"
        f"{'':15}{'alone':13}in the chain")
    failing, right = [], True
    for equation in EQUATIONS:
        errors = [largest_error(equation.of(given), equation.of(truth)) for given in (alone, chain)]
        own, accumulated = map(verdict, errors)
        say(f"{f'({equation.number})':>4} {equation.name:10}{own:13}{accumulated:15}{equation.formula}")
        right = right and np.max(errors) <= TOLERANCE
        if not errors[0] <= TOLERANCE:
            failing.append(f"({equation.number}) {diagnose(equation, alone, truth)}")
    numbers = {equation.number for equation in EQUATIONS}
    say(f"\nAll {len(numbers)} equations hold." if right else f"\nFAILED: {'; '.join(failing)}.")
    return right


def show_library(net: Network, x: np.ndarray, label: int, steps: list[Step], chain: Values) -> bool:
    """Compare all results with tn.ops.lstm, on arrays and on Tensors. Returns whether they agree."""
    H, T = net.h0.size, len(steps)
    ours = {"y": np.stack([step.h for step in steps], axis=1), "h_T": steps[-1].h, "C_T": steps[-1].C,
            "dx": np.stack([chain["hx", t][:, H:] for t in range(1, T + 1)], axis=1), "dh0": chain["h", 0],
            "dC0": chain["carry", 0], "dW": chain["W", 0], "db": chain["b", 0][0], "dm": chain["m", 0]}
    arrays = (x[None], net.h0, net.C0, net.W, net.b[0], net.m)

    outputs, cache = tn.ops.lstm.forward(np, *arrays)
    arriving = np.zeros_like(outputs[0]), chain["last h", T], np.zeros_like(net.C0)
    *gradients, _ = tn.ops.lstm.backward(np, *arriving, cache=cache, needs=(*[True] * len(arrays), False))  # no mask

    tensors = [tn.Tensor(array, requires_grad=True) for array in arrays]
    outputs_too = tn.ops.lstm(*tensors)
    scores = tn.ops.dense(outputs_too[1], tn.Tensor(net.V), tn.Tensor(net.c[0]))
    tn.ops.cross_entropy(scores, np.array([label])).backward()

    say(f"\nThe results against tn.ops.lstm: the relative error.\n{'':10}" + "".join(f"{name:>8}" for name in ours))
    right = True
    for name, theirs in (("arrays", [*outputs, *gradients]),
                         ("Tensors", [y.numpy() for y in outputs_too] + [tensor.grad for tensor in tensors])):
        errors = [relative_error(a, b) for a, b in zip(ours.values(), theirs, strict=True)]
        agree = np.max(errors) <= TOLERANCE
        say(f"on {name:7}" + "".join(f"{error:8.0e}" for error in errors) + ("  ok" if agree else "  WRONG"))
        right = right and agree
    return right


LOOK = """What to look at: f near 1 (yellow) keeps a unit's state over many rows, a straight stripe in C.
Where i opens, C changes. h is the part of the state that o shows. Gradients arrive at the last
row and go up: where f is near 1, |dC| keeps its color, and where f closes, it ends."""
DIFFERENCE = """The last panels: the relative error of the gradients with the mistake. White is right. It begins
at the row and in the quantity of the mistaken equation, and spreads to all rows above, since each
gets its gradient from the one below."""


def differences(chain: Values, truth: Values, T: int) -> list[tuple[str, list[np.ndarray]]]:
    """The errors of gradients in the chain, relative to the largest true gradient of their row."""
    def errors(name: str, times: range) -> list[np.ndarray]:
        return [np.abs(chain[name, t] - truth[name, t]) / max(np.abs(truth[name, t]).max(), 1e-300) for t in times]
    return [("error of dC", errors("C", range(1, T + 1))), ("error of dz: f, i, C~, o", errors("z", range(1, T + 1))),
            ("error of dh, one row up", errors("h", range(T)))]


def draw(path: Path, title: str, image: np.ndarray, steps: list[Step], chain: Values, truth: Values,
         mistake: str | None) -> None:
    """Draw the digit, and the quantities of the LSTM at each of its rows. Time runs downwards in every panel.

    With a mistake, a last row of panels shows the errors of the gradients.
    """
    try:
        from matplotlib.colors import CenteredNorm, LogNorm, Normalize
        from matplotlib.figure import Figure  # pyplot would open a window
    except ImportError:
        say("matplotlib is not installed, so the picture is left out: pip install matplotlib")
        return

    T = len(steps)
    dC = [np.abs(chain["C", t]) for t in range(1, T + 1)]
    dh = [np.abs(chain["h", t]) for t in range(1, T)] + [np.abs(chain["last h", T])]
    gate, back = Normalize(0, 1), LogNorm(np.max(dC) / 1e4, np.max(dC), clip=True)
    panels = [("the digit", "pixel", image, "gray_r", None),
              ("f: what to forget (0) or keep (1)", "unit", [step.f for step in steps], "viridis", gate),
              ("i: what to take in", "unit", [step.i for step in steps], "viridis", gate),
              ("C~: what there is to take in", "unit", [step.Ctilde for step in steps], "RdBu_r", CenteredNorm()),
              ("o: what to show", "unit", [step.o for step in steps], "viridis", gate),
              ("C: the state", "unit", [step.C for step in steps], "RdBu_r", CenteredNorm()),
              ("h: the output", "unit", [step.h for step in steps], "RdBu_r", CenteredNorm()),
              ("|dC|, from the last row back", "unit", dC, "magma", back),
              ("|dh|, from the last row back (black: hardly any)", "unit", dh, "magma", back)]

    if mistake:
        wrong = LogNorm(1e-6, 1, clip=True)
        panels += [(name, "unit", values, "Reds", wrong) for name, values in differences(chain, truth, T)]
    rows, caption = len(panels) // 3, LOOK + f"\n{DIFFERENCE}" * bool(mistake)
    below = 0.75 + 0.17 * caption.count("\n")  # inches
    figure = Figure(figsize=(13, 3.9 * rows + below))
    figure.suptitle(title, y=0.985)
    figure.text(0.05, 0.008, caption, va="bottom", fontsize=10)
    edges = {"left": 0.05, "right": 0.97, "bottom": below / (3.9 * rows + below), "top": 0.94, "hspace": 0.3}
    grid = figure.subplots(rows, 3, gridspec_kw=edges)
    for axes, (name, across, values, colours, norm) in zip(grid.flat, panels, strict=True):
        values = np.reshape(values, (T, -1))
        extent = (0.5, values.shape[1] + 0.5, T + 0.5, 0.5)
        shown = axes.imshow(values, cmap=colours, norm=norm, extent=extent, aspect="auto", interpolation="nearest")
        axes.xaxis.get_major_locator().set_params(integer=True)
        axes.set(title=name, xlabel=across, ylabel="row of the digit, t")
        figure.colorbar(shown, ax=axes)
    temporary = path.with_suffix(".part")
    figure.savefig(temporary, format="png", dpi=100)
    os.replace(temporary, path)
    say(f"\nThe picture is {path}.\n{LOOK}" + f"\n{DIFFERENCE}" * bool(mistake))


# --- the command ------------------------------------------------------------------------------------------------------

def run(options: argparse.Namespace) -> int:
    data, sentence = tn.data.load(options.data)
    images = data.test_images
    if not 0 <= options.index < len(images):
        raise tn.errors.ArgumentError(f"lstm_by_hand: --index must lie in 0 ... {len(images) - 1}, got "
                                      f"{options.index}; try --index 0")
    if options.units is not None and options.units < 1:
        raise tn.errors.ArgumentError(f"lstm_by_hand: --units must be at least 1, got {options.units}; try 16")
    options.out.mkdir(parents=True, exist_ok=True)
    image, label = images[options.index], int(data.test_labels[options.index])
    x, classes = image / 255, len(data.classes)
    net = (trained(options.model, x.shape[1], classes) if options.units is None
           else untrained(x.shape[1], options.units, classes, options.seed))
    kind = "a trained" if options.units is None else "an untrained"
    title = f"Test image {options.index}, a {data.classes[label]}, through {kind} LSTM of {net.h0.size} units"
    title += f", with a mistake: {options.mistake}" if options.mistake else ""

    say(f"{sentence}\n{title}.\n")
    loss, steps = forward(net, x, label)
    show_forward(image, steps)
    if options.units is None:
        show_guesses(net, steps, label)
    say(f"\nThe loss, softmax cross-entropy of a Dense layer of h_{len(x)}, is {loss.item():.4f}.")

    chain = go_back(net, label, steps, options.mistake)
    truth = measure(net, x, label, chain)
    alone = go_back(net, label, steps, options.mistake, truth)
    right = [show_proof(alone, chain, truth), show_library(net, x, label, steps, chain)]
    draw(options.out / "lstm_by_hand.png", title, image, steps, chain, truth, options.mistake)
    return 0 if all(right) else 1


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", default="auto",
                        help="auto, mnist, digits or a folder with the files of MNIST (default: auto)")
    parser.add_argument("--index", type=int, default=0, help="index of the image in the test set (default: 0)")
    parser.add_argument("--model", type=Path, default=MODEL, help="a saved LSTM and Dense layer (default: "
                        "that of examples/train_small_lstm.py)")
    parser.add_argument("--units", type=int, help="an untrained LSTM instead: 16 takes seconds, 64 minutes")
    parser.add_argument("--seed", type=int, default=0, help="of the untrained LSTM (default: 0)")
    parser.add_argument("--break", dest="mistake", choices=[name for name in MISTAKES if name], help="plant a mistake")
    parser.add_argument("--out", type=Path, default=Path("runs/lstm_by_hand"),
                        help="output folder of the picture (default: runs/lstm_by_hand)")
    return command.run(run, parser.parse_args(arguments))


if __name__ == "__main__":
    sys.exit(main())
