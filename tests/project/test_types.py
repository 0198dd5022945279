"""Types that help an editor: what mypy says of expressions and of a user's module, and that no public signature has a
bare `Any` for an array, a shape or a result."""

import inspect
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

import tinynet as tn
from tests.support.project import ROOT
from tinynet.op import Op, Update

TENSOR, ARRAY = "tinynet.tensor.Tensor", "numpy.ndarray[Any, numpy.dtype[Any]]"
THREE = f"tuple[{TENSOR}, {TENSOR}, {TENSOR}]"

REVEALED = {  # expressions, and their types
    "x": TENSOR,
    "tn.nn.Dense(3, 2)(x)": TENSOR,
    "tn.nn.Sequential(tn.nn.Dense(3, 2), tn.nn.ReLU())(x)": TENSOR,
    "tn.nn.LSTM(3, 2)(x)": TENSOR,
    "tn.nn.LSTM(3, 2, return_state=True)(x)": THREE,
    "tn.nn.Bidirectional(tn.nn.LSTM(3, 2))(x)": TENSOR,
    "tn.nn.Bidirectional(tn.nn.LSTM(3, 2, return_state=True))(x)": f"tuple[{', '.join([TENSOR] * 5)}]",
    "tn.ops.relu(x)": TENSOR,
    "tn.ops.lstm(x, None, None, W, b)": THREE,
    "tn.ops.batch_norm(x, b, b)": THREE,
    "tn.nn.Dense(3, 2).parameters()[0]": "tinynet.nn.parameter.Parameter",
    "tn.nn.Dense(3, 2).parameters()[:1]": "tinynet.nn.parameter.Parameters",
    "x.sum(axis=(0, 1)) + x.data * 2": TENSOR,
    "(x[1:].T == 0).mean()": TENSOR,
    "x.shape": "tuple[int, ...]",
    "x.numpy()": ARRAY,
    "x.grad": f"{ARRAY} | None",
    "tn.predict(tn.nn.ReLU(), x.numpy())": ARRAY,
    "Two()(x, scale=2.0)": f"tuple[{TENSOR}, {TENSOR}]",
}
PROGRAM = """\
import tinynet as tn

x, W, b = tn.Tensor([1.0]), tn.Tensor([1.0]), tn.Tensor([1.0])


class Two(tn.nn.Module):
    rnn: tn.nn.LSTM

    def __init__(self) -> None:
        self.rnn, self.states = tn.nn.LSTM(3, 4), tn.nn.LSTM(4, 4, return_state=True)

    def forward(self, x: tn.Tensor, *, scale: float = 1.0) -> tuple[tn.Tensor, tn.Tensor]:
        y, _, c = self.states(self.rnn(x))
        return tn.ops.tanh(y) * scale, c


@tn.op.op("x:(...) -> y:(...)", cases=[{}])
def half(xp: Any, x: Array) -> tuple[Array, None]:
    return x / 2, None


@half.gradient
def dhalf(xp: Any, dy: Array, *, cache: None, needs: tuple[bool, ...]) -> Array:
    return dy / 2


optimizer = tn.optim.Adam(Two().parameters(), lr=1e-3)
tn.fit(tn.nn.Dense(3, 2), optimizer, tn.data.Loader(x.numpy(), x.numpy(), batch_size=1), epochs=1)
y: tn.Tensor = half([1.0, 2.0])
"""


def check(program: str, folder: Path) -> list[str]:
    """What `mypy --strict` says of a program."""
    pytest.importorskip("mypy")
    path = folder / "program.py"
    path.write_text("from typing import Any\n\nfrom tinynet.types import Array\n" + program, encoding="utf-8")
    command = [sys.executable, "-m", "mypy", "--strict", "--follow-imports=silent", "--config-file=", path.name]
    done = subprocess.run(command, cwd=folder, env={**os.environ, "MYPYPATH": str(ROOT)}, capture_output=True,
                          text=True, timeout=300, check=False)
    assert not done.stderr, done.stderr
    return [line.partition(": ")[2] for line in done.stdout.splitlines()[:-1]]


def test_expressions_and_a_module_of_a_user(tmp_path: Path) -> None:
    wrong = ['tn.nn.Dense(3, 2)("x")', "Two()(x)[0].nothing", 'tn.nn.Dense(3, 2).parameters()["W"].shape[0].upper()']
    said = check(PROGRAM + "\n".join([*(f"reveal_type({expression})" for expression in REVEALED), *wrong]), tmp_path)
    revealed = [line.removeprefix('note: Revealed type is "')[:-1] for line in said if "Revealed" in line]
    assert dict(zip(REVEALED, revealed, strict=True)) == REVEALED
    errors = [line for line in said if line.startswith("error: ")]
    assert len(errors) == len(wrong), errors  # none in the program itself


# --- no bare Any ----------------------------------------------------------------------------------------------------

MAY_BE_ANY = {"xp", "cache", "needs"}  # of ops: the module of array functions, and what only backward understands
EXCEPT = {"tn.nn.Module.forward",  # each module says what its own takes and returns
          "tn.ops.getitem(index)", "tn.ops.getitem.forward(index)",  # whatever NumPy takes in brackets
          # Modules of PyTorch: to follow its types takes mypy ten seconds, and it need not be installed.
          "tn.exchange.from_torch_module(module)", "tn.exchange.to_torch_module ->"}


def signature_faults(where: str, function: Callable[..., Any]) -> Iterator[str]:
    """The parameters and the result of a function that are a bare Any."""
    signature = inspect.signature(function)
    yield from (f"{where}({p.name})" for p in signature.parameters.values()
                if p.annotation is Any and p.kind is not p.VAR_KEYWORD and p.name not in MAY_BE_ANY)
    if signature.return_annotation is Any:
        yield f"{where} ->"


def faults(where: str, thing: Any, seen: set[int]) -> Iterator[str]:
    """The faults of what a module, class, op or function offers."""
    if id(thing) in seen or where in EXCEPT:
        return
    seen.add(id(thing))
    parts: dict[str, Any] = {}
    if isinstance(thing, ModuleType):
        own = [name for name, part in vars(thing).items() if getattr(part, "__module__", None) == thing.__name__]
        parts = {name: getattr(thing, name) for name in getattr(thing, "__all__", own) if not name.startswith("_")}
    elif isinstance(thing, type):
        parts = {name: getattr(part, "fget", None) or getattr(part, "__func__", part)
                 for name, part in vars(thing).items() if not re.match(r"_(?!_)", name)}
        parts = {name: part for name, part in parts.items() if inspect.isfunction(part)}
    elif isinstance(thing, Op):
        parts = {"forward": thing.forward, "backward": thing.backward}
    if inspect.isfunction(thing) or isinstance(thing, Op | Update):
        yield from signature_faults(where, thing.specification if isinstance(thing, Update) else thing)
    for name, part in parts.items():
        yield from faults(f"{where}.{name}", part, seen)


def test_no_public_signature_has_a_bare_any() -> None:
    assert not [fault for fault in faults("tn", tn, set()) if fault not in EXCEPT]


def test_a_bare_any_is_found() -> None:
    def bad(x: Any, *, xp: Any, **options: Any) -> Any: ...

    module = ModuleType("module")
    bad.__module__ = module.__name__
    module.bad = bad  # type: ignore[attr-defined]
    module.Class = type("Class", (), {"bad": bad, "_private": bad, "__module__": module.__name__})  # type: ignore[attr-defined]
    assert [*faults("m", module, set())] == ["m.bad(x)", "m.bad ->"]
    assert [*faults("m", module.Class, set())] == ["m.bad(x)", "m.bad ->"]  # type: ignore[attr-defined]


def test_the_signature_of_an_op_speaks_of_tensors() -> None:
    """What help() and the completion of a notebook show."""
    lstm, dense = inspect.signature(tn.ops.lstm), inspect.signature(tn.ops.dense)
    assert lstm.return_annotation == tuple[tn.Tensor, tn.Tensor, tn.Tensor]
    assert [*lstm.parameters] == ["x", "h0", "c0", "W", "b", "recurrent_mask", "mask"]
    assert lstm.parameters["x"].annotation is tn.Tensor and lstm.parameters["h0"].annotation == tn.Tensor | None
    assert dense.return_annotation is tn.Tensor
    assert inspect.signature(tn.ops.softmax).parameters["axis"].annotation is int
