"""One digit through an LSTM by hand, row by row, then back through time, with a proof of every equation.

    python examples/lstm_by_hand.py                    every equation holds: exit code 0
    python examples/lstm_by_hand.py --break carry      plants a classic mistake (or swap, scale): exit code 1
    python examples/lstm_by_hand.py --data digits --index 7 --units 16 --seed 0 --out runs/lstm_by_hand

The 28 rows of the digit are the sequence x_1 ... x_28. An untrained LSTM reads it; a Dense layer of the last state h_T
and a softmax cross-entropy make the loss. h_0 and C_0 are not zero, and a recurrent mask m is there, so that every
equation has something to say. Their numbers are those of tinynet/ops/lstm.py, where they are derived. δz means
∂loss/∂z, in the code dz.

The proof: for each quantity, at each time t, the forward pass is run again with that quantity moved by i·h, h = 1e-20,
at that time alone. The imaginary part of the loss, divided by h, is the true derivative; no difference is taken, so
nothing cancels. It is compared with what the equation gave, in two ways:

    alone   the equation gets the measured derivatives to work on: a mistake shows in its own equation only
    chain   the equation gets what the equations before it computed: a mistake shows in all that follows from it
"""

import argparse
import math
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

import tinynet as tn

STEP = 1e-20  # the h of the complex step
TOLERANCE = 1e-12  # of a relative error, max|a - b| / max(|a|, |b|)
SHADES = " .:-=+*#%@"

Place = tuple[str, int]  # a quantity and its time t; 0 for what belongs to no time
Values = dict[Place, np.ndarray]


class Network(NamedTuple):
    """An LSTM of H units for rows of D pixels, and a Dense layer. Vectors are rows (1,H), as for a batch of one."""

    W: np.ndarray  # (H+D,4H), rows [h, x], column blocks f, i, C̃, o
    b: np.ndarray  # (1,4H)
    h0: np.ndarray  # (1,H)
    C0: np.ndarray  # (1,H)
    m: np.ndarray  # (1,H), the recurrent mask
    V: np.ndarray  # (H,10), the Dense layer
    a: np.ndarray  # (1,10)


class Step(NamedTuple):
    """What step t started from and what it computed."""

    h_before: np.ndarray
    C_before: np.ndarray
    hx: np.ndarray
    f: np.ndarray
    i: np.ndarray
    Ctilde: np.ndarray
    C: np.ndarray
    o: np.ndarray
    h: np.ndarray


# --- forward --------------------------------------------------------------------------------------------------------

def forward(net: Network, x: np.ndarray, label: int,
            nudge: Callable[[str, int], Any] = lambda name, t: 0.0) -> tuple[np.ndarray, list[Step]]:
    """The loss, and what each step computed. `nudge` is zero, but for one quantity at one time when it is measured."""
    W, b, m = net.W + nudge("W", 0), net.b + nudge("b", 0), net.m + nudge("m", 0)
    h, C, steps = net.h0, net.C0, []
    for t, row in enumerate(x, start=1):
        h_before, C_before = h + nudge("h", t - 1), C + nudge("carry", t - 1)
        hx = join(m * h_before, row) + nudge("hx", t)  # (1,H+D)
        z_f, z_i, z_C, z_o = np.split(hx @ W + b + nudge("z", t), 4, axis=-1)  # (1,H)
        f = sigma(z_f)  # (1)
        i = sigma(z_i)  # (2)
        Ctilde = np.tanh(z_C)  # (3)
        C = f * C_before + i * Ctilde + nudge("C", t)  # (4)
        o = sigma(z_o)  # (5)
        h = o * np.tanh(C)  # (6)
        steps.append(Step(h_before, C_before, hx, f, i, Ctilde, C, o, h))
    return cross_entropy((h + nudge("h_T", len(x))) @ net.V + net.a, label), steps


def sigma(z: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-z))


def join(h: np.ndarray, row: np.ndarray) -> np.ndarray:
    return np.concatenate([h, np.broadcast_to(row, (*h.shape[:-1], row.size))], axis=-1)


def softmax(logits: np.ndarray) -> np.ndarray:
    powers = np.exp(logits - logits.real.max(axis=-1, keepdims=True))
    return powers / powers.sum(axis=-1, keepdims=True)


def cross_entropy(logits: np.ndarray, label: int) -> np.ndarray:
    return -np.log(softmax(logits)[..., label])


# --- back through time ----------------------------------------------------------------------------------------------

def backward(net: Network, label: int, steps: list[Step], keep: Callable[[str, int, np.ndarray], np.ndarray]) -> None:
    """Equations (7) to (17). `keep` takes note of what an equation gave, and says what to go on with."""
    H, T = net.h0.size, len(steps)
    p = softmax(steps[-1].h @ net.V + net.a)
    dh = keep("h_T", T, (p - np.eye(p.size)[label]) @ net.V.T)
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
        dh = keep("h", t - 1, net.m * dhx[:, :H])  # (14)
        dm = dm + h_before * dhx[:, :H]  # (15)
        dW = dW + hx.T @ dz  # (16)
        db = db + dz  # (17)
    for name, gradient in (("m", dm), ("W", dW), ("b", db)):
        keep(name, 0, gradient)


def run_back(net: Network, label: int, steps: list[Step], mistake: str | None, truth: Values | None = None) -> Values:
    """What each equation gives: in the chain, or, given the truth, each alone."""
    found: Values = {}
    broken, spoil = MISTAKES.get(mistake, (None, None))

    def keep(name: str, t: int, value: np.ndarray) -> np.ndarray:
        found[name, t] = spoil(value) if name == broken else value
        return (truth or found)[name, t]

    backward(net, label, steps, keep)
    return found


def swap_gates(dz: np.ndarray) -> np.ndarray:
    dz_f, dz_i, dz_C, dz_o = np.split(dz, 4, axis=1)
    return np.concatenate([dz_i, dz_f, dz_C, dz_o], axis=1)


MISTAKES: dict[str | None, tuple[str, Callable[[np.ndarray], np.ndarray]]] = {
    "carry": ("carry", np.zeros_like),  # (13) hands on nothing
    "swap": ("z", swap_gates),  # (8) and (9) in each other's place
    "scale": ("hx", lambda dhx: 1.0001 * dhx),  # (12) too large by 0.01 %
}


# --- the proof ------------------------------------------------------------------------------------------------------

class Equation(NamedTuple):
    """Where to find what equation (number) gives: the quantity, and which of its four blocks."""

    number: int
    name: str
    formula: str
    quantity: str
    block: int | None = None

    def of(self, values: Values) -> dict[int, np.ndarray]:
        """What belongs to this equation, by time."""
        return {t: value if self.block is None else np.split(value, 4, axis=1)[self.block]
                for (quantity, t), value in values.items() if quantity == self.quantity}


EQUATIONS = [
    Equation(7, "dC", "dC + dh * o * (1 - tanh(C)^2)", "C"),
    Equation(8, "dz_f", "dC * C_before * f * (1 - f)", "z", 0),
    Equation(9, "dz_i", "dC * C~ * i * (1 - i)", "z", 1),
    Equation(10, "dz_C", "dC * i * (1 - C~^2)", "z", 2),
    Equation(11, "dz_o", "dh * tanh(C) * o * (1 - o)", "z", 3),
    Equation(12, "d[mh, x]", "dz W^T", "hx"),
    Equation(13, "dC_before", "dC * f, carried to t-1", "carry"),
    Equation(14, "dh_before", "m * d(mh)", "h"),
    Equation(15, "dm", "sum over t of h_before * d(mh)", "m"),
    Equation(16, "dW", "sum over t of [mh, x]^T dz", "W"),
    Equation(17, "db", "sum over t of dz", "b"),
]


def directions(name: str, shape: tuple[int, ...]) -> np.ndarray:
    """Along which a quantity is measured: each element by itself; W, which has too many, in six random directions."""
    if name == "W":
        return drawn("directions", (6, *shape), seed=0)
    size = math.prod(shape)
    return np.eye(size).reshape(size, *shape)


def measure(net: Network, x: np.ndarray, label: int, places: Values) -> Values:
    """The true derivative at every place, by complex steps; all directions at once, in a stack of forward passes."""
    def slopes(here: Place, along: np.ndarray) -> np.ndarray:
        loss, _ = forward(net, x, label, lambda name, t: 1j * STEP * along if (name, t) == here else 0.0)
        return loss.imag / STEP

    truth = {here: slopes(here, directions(here[0], value.shape)) for here, value in places.items()}
    return {here: slope if here[0] == "W" else slope.reshape(places[here].shape) for here, slope in truth.items()}


def relative_error(a: np.ndarray, b: np.ndarray) -> float:
    scale = max(np.abs(a).max(), np.abs(b).max())
    return float(np.abs(a - b).max() / scale) if scale != 0 else 0.0


def worst(equation: Equation, found: Values, truth: Values) -> float:
    """The largest error of an equation over all times."""
    pairs = zip(equation.of(found), equation.of(truth), strict=True)
    return float(np.max([relative_error(given, true) for given, true in pairs]))


def diagnose(equation: Equation, found: Values, truth: Values) -> str:
    """Which classic mistake makes an equation give what it gave, judged from the numbers alone."""
    given, true = np.array(equation.of(found)), np.array(equation.of(truth))
    if not given.any():
        return "gives nothing but zeros: a term was dropped"
    for other in EQUATIONS:
        if other.quantity == equation.quantity and relative_error(given, np.array(other.of(truth))) <= TOLERANCE:
            return f"gives what belongs to ({other.number}): two gates are swapped"
    factor = float((given * true).sum() / (true * true).sum())
    if relative_error(given, factor * true) <= TOLERANCE:
        return f"is right but for a factor of {factor:.6g}: a wrong scale"
    return "makes none of the classic mistakes"


# --- what is printed and drawn --------------------------------------------------------------------------------------

def show_forward(image: np.ndarray, steps: list[Step]) -> None:
    """One line for each row of the digit: the row, then mean and extent (largest - smallest) over the units."""
    width = image.shape[1]
    print(f"  t  {'x_t, row t of the digit':{width}}" + "".join(f"{name:>11}" for name in ("f", "i", "C~", "o", "C", "h")))
    print(f"     {'':{width}}" + "   mean ext." * 6)
    for t, (row, step) in enumerate(zip(image, steps, strict=True), start=1):
        shades = "".join(SHADES[int(pixel) * len(SHADES) // 256] for pixel in row)
        gates = (step.f, step.i, step.Ctilde, step.o, step.C, step.h)
        print(f"{t:3}  {shades}" + "".join(f"  {value.mean():5.2f}{np.ptp(value):5.2f}" for value in gates))


def verdict(error: float) -> str:
    return f"{error:.0e} {'ok' if error <= TOLERANCE else 'WRONG'}"


def show_proof(alone: Values, chain: Values, truth: Values) -> list[Equation]:
    """One line for each equation. Returns those whose own check fails."""
    T = len(EQUATIONS[0].of(truth))
    print(f"\nBack through time, t = {T} ... 1. The largest relative error against a complex step, h = {STEP:.0e}:\n")
    print(f"{'':15}{'alone':15}{'in the chain':15}the equation")
    failing = []
    for equation in EQUATIONS:
        error = worst(equation, alone, truth)
        if not error <= TOLERANCE:
            failing.append(equation)
        print(f"{f'({equation.number})':>4} {equation.name:10}{verdict(error):15}"
              f"{verdict(worst(equation, chain, truth)):15}{equation.formula}")
    for name in ("C", "h"):
        sizes = {t: float(np.abs(value).max()) for (quantity, t), value in chain.items()
                 if quantity in (name, f"{name}_T")}
        print(f"")
    return failing
