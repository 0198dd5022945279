"""The text of every op: its parts are there, it names its inputs and outputs, and its equations are those of the code.

Each rule is a function that returns what it found wrong, so that it can also be shown something that is wrong.
"""

import ast
import re
import sys
from pathlib import Path

import pytest

import tinynet as tn
from tests.support.complete import OPS
from tests.support.op_texts import PARTS, code_of, equations_in_code, equations_in_text, parts, pieces
from tinynet.op import REGISTRY, UPDATES, Op

TOP = "at the top of this file"  # what a derivation says that stands there, for a family of ops or for a long one
LONGEST = 5  # lines of a derivation
TRIVIAL = ["elementwise", "reduce", "shape", "indexing", "matmul", "activation",
           "special"]  # files of ops that need no source
SOURCED = ["softmax"]  # and what needs one nevertheless


def part_faults(text: str, sourced: bool) -> list[str]:
    found = parts(text)
    wanted = [*PARTS, "Source"] if sourced else PARTS
    faults = [f"no {name}" for name in wanted if not found.get(name, "").strip()]
    if [name for name, _ in pieces(text) if name in PARTS] != [name for name in PARTS if name in found]:
        faults.append(f"the parts are not {', '.join(PARTS)} in this order")
    if ">>> " not in text:
        faults.append("no example")
    return faults


def shape_faults(op: Op, text: str) -> list[str]:
    """Inputs and outputs of the contract that the line of shapes does not name, each on its side of the arrow."""
    before, arrow, after = parts(text).get("Shapes", "").partition("→")
    faults = [] if arrow else ["no → in Shapes"]
    for side, arguments in ((before, op.contract.inputs), (after, op.contract.outputs)):
        faults += [f"Shapes does not name {argument.name}" for argument in arguments
                   if not re.search(rf"(?<!\w){argument.name}(?!\w)", side)]
    return faults


def derivation_faults(text: str, top: str) -> list[str]:
    """A derivation has one to five lines and a formula, or stands at the top of the file and names each equation."""
    because, backward = parts(text).get("Because", "").strip(), parts(text).get("Backward", "")
    if TOP not in because:
        return (["the derivation has no formula"] if not re.search("[∂δ=]", because) else []) + (
            [f"the derivation is longer than {LONGEST} lines"] if len(because.split("\n")) > LONGEST else [])
    return [f"({number}) is not derived {TOP}" for number in re.findall(r"^ *\((\d+)\)", backward.strip("\n"), re.M)
            if f"({number})" not in top]


def equation_faults(text: str, source: str) -> list[str]:
    listed = equations_in_text(text)
    faults = [] if listed == list(range(1, len(listed) + 1)) and listed else [f"the numbers in the text are {listed}"]
    faults += [f"({number}) is in the text and not in the code" for number in {*listed} - equations_in_code(source)]
    return faults + [f"({number}) is in the code and not in the text"
                     for number in equations_in_code(source) - {*listed}]


def needs_source(op: Op) -> bool:
    return op.module.rpartition(".")[2] not in TRIVIAL or op.name in SOURCED


@pytest.mark.parametrize("op", OPS.values(), ids=OPS)
def test_text_of_an_op(op: Op) -> None:
    text = op.__doc__ or ""
    assert not part_faults(text, needs_source(op))
    assert not shape_faults(op, text)
    assert not derivation_faults(text, sys.modules[op.module].__doc__ or "")
    assert not equation_faults(text, code_of(op))


@pytest.mark.parametrize("name", ["adam", "sgd", "running_averages"])
def test_derivation_of_an_update_in_place(name: str) -> None:
    assert not derivation_faults(UPDATES[name].__doc__ or "", "")


def test_code_of_an_op_includes_its_helpers() -> None:
    code = code_of(REGISTRY["conv1d"])
    assert "y, cache = _convolve(" in code
    assert "def _convolve" not in code  # bodies
    for line in ("groups)  # (1)", "dW[i, j] =", "return Window(*map(int, (width", "dx[tap] += share"):
        assert line in code
    assert "batch_norm" not in code
    assert "return xp.where(right" in code_of(REGISTRY["lstm"])


# --- what is wrong is found -----------------------------------------------------------------------------------------

TEXT = """A function.

    Shapes    x (N,D) · w (D) or None  →  y (N)
    Forward   (1)  y = x w
    Backward  (2)  δx = δy w
              (3)  δw = δy x
    Because   ∂y/∂x = w, and ∂y/∂w = x
    Cache     x and w
    Source    Gauss 1809

    >>> 1 + 1
    2
    """
CODE = "y = x @ w  # (1)\ndx = dy * w  # (2) (3) (N,D)\nreturn dx  # (N,D), so that (9) holds"
OP = Op(lambda xp, x, w=None: (x, None), "x:(N,D) w?:(D) -> y:(N)", [], None, None, True)


def faults(text: str, code: str = CODE, top: str = "From (1) follow (2) and (3).") -> list[str]:
    return part_faults(text, True) + shape_faults(OP, text) + derivation_faults(text, top) + equation_faults(text, code)


def test_a_good_text_has_no_faults() -> None:
    assert not faults(TEXT)


@pytest.mark.parametrize(("old", "new", "fault"), [
    *[(name, "Other ", f"no {name}") for name in [*PARTS, "Source"]],
    ("Cache     x and w", "Cache     ", "no Cache"),
    ("Because   ∂y/∂x = w, and ∂y/∂w = x", "Because   ", "no Because"),
    ("∂y/∂x = w, and ∂y/∂w = x", "it is well known", "the derivation has no formula"),
    ("and ∂y/∂w = x", "and\n\n\n\n\n∂y/∂w = x", "the derivation is longer than 5 lines"),
    (">>> 1 + 1", "1 + 1", "no example"),
    ("Cache     x", "Forward   (1)  y = x w\n    Cache     x", "the parts are not"),
    ("x (N,D) ·", "(N,D) ·", "Shapes does not name x"),
    ("· w (D)", "· W (D)", "Shapes does not name w"),
    ("→  y (N)", "→  (N)", "Shapes does not name y"),
    ("→  y (N)", "y (N)", "no → in Shapes"),
    ("(3)  δw", "(4)  δw", "the numbers in the text are [1, 2, 4]"),
    ("(3)  δw", "     δw", "(3) is in the code and not in the text"),
    ("δy x\n", "δy x\n              (4)  and more\n", "(4) is in the text and not in the code"),
])
def test_a_bad_text_is_found(old: str, new: str, fault: str) -> None:
    assert TEXT.count(old) == 1
    assert fault in "\n".join(faults(TEXT.replace(old, new)))


@pytest.mark.parametrize(("old", "new", "fault"), [
    ("# (1)", "", "(1) is in the text and not in the code"),
    ("# (1)", "# as in (1)", "(1) is in the text and not in the code"),
    ("(3) ", "", "(3) is in the text and not in the code"),
    ("# (1)", "# (1) (7)", "(7) is in the code and not in the text"),
])
def test_code_that_is_numbered_otherwise_is_found(old: str, new: str, fault: str) -> None:
    assert CODE.count(old) == 1
    assert fault in faults(TEXT, CODE.replace(old, new))


def test_a_text_in_another_order_is_found() -> None:
    lines = TEXT.split("\n")
    lines.insert(3, lines.pop(7))
    assert f"the parts are not {', '.join(PARTS)} in this order" in faults("\n".join(lines))


def test_a_derivation_at_the_top_of_the_file_names_each_backward_equation() -> None:
    text = TEXT.replace("∂y/∂x = w, and ∂y/∂w = x", f"the derivation stands {TOP}")
    assert not faults(text)
    assert faults(text, top="From (1) follows (2).") == [f"(3) is not derived {TOP}"]


# --- names that texts and messages give -------------------------------------------------------------------------------

def unknown_names(source: str) -> list[str]:
    """The names `tn.…` in texts and messages of a file that tinynet does not have."""
    strings = [node.value for node in ast.walk(ast.parse(source))
               if isinstance(node, ast.Constant) and isinstance(node.value, str)]
    return [name for string in strings for name in re.findall(r"(?<![\w.])tn(?:\.[A-Za-z_]\w*)+", string)
            if not exists(name.split(".")[1:])]


def exists(names: list[str]) -> bool:
    thing: object = tn
    for name in names:
        thing = getattr(thing, name, None)
    return thing is not None


def test_names_in_texts_and_messages_exist() -> None:
    folder = Path(str(tn.__file__)).parent
    wrong = {str(path.relative_to(folder)): unknown_names(path.read_text(encoding="utf-8"))
             for path in folder.rglob("*.py")}
    assert not {path: names for path, names in wrong.items() if names}
    assert unknown_names("raise ValueError('tn.stack makes a new axis, tn.ops.stack too')") == ["tn.stack"]
