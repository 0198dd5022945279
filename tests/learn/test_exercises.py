"""The exercises: the library's own lines are right, and typical mistakes are told apart, each in its own line."""

import ast
import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from tinynet.__main__ import main
from tinynet.errors import ArgumentError
from tinynet.learn import checking, exercises, files, trial

# By exercise: equation, a line of the solution, a mistake in its place, and what the check says of the line.
MISTAKES: dict[str, list[tuple[int, str, str, str]]] = {
    "dense": [
        (2, "(dy @ W.T).reshape(x.shape) if need_x else None", "(dy @ W).reshape(x.shape)", "raises ValueError"),
        (2, "(dy @ W.T).reshape(x.shape) if need_x else None", "dy @ W.T / 2", r"off by the factor 0.5|has shape"),
        (3, "x.reshape(R, W.shape[0]).T @ dy if need_W else None", "dy.T @ x.reshape(R, W.shape[0])",
         r"has shape \(2, 3\), must have \(3, 2\); it is transposed"),
        (4, "dy.sum(axis=0) if need_b else None", "dy", r"has shape \(4, 2\), must have \(2,\)"),
        (4, "dy.sum(axis=0) if need_b else None", "dy.mean(axis=0)", "off by the factor 0.25"),
    ],
    "cross_entropy": [
        (2, "return y * (dy - (dy * y).sum(axis=axis, keepdims=True))", "return y * dy", "is wrong: the ratio"),
        (2, "return dy - xp.exp(y) * dy.sum(axis=axis, keepdims=True)",
         "return dy - y * dy.sum(axis=axis, keepdims=True)", "is wrong: the ratio"),
        (6, "dl * (_where_not_0(xp, total, xp.exp(logp)) * total - wq)",
         "dl * (wq - xp.exp(logp))", "has the wrong sign"),
        (6, "dl * (_where_not_0(xp, total, xp.exp(logp)) * total - wq)", "dl * (logp - wq)",
         "is wrong: the ratio"),
        (6, "dl * (_where_not_0(xp, total, xp.exp(logp)) * total - wq)", "xp.exp(logp) - wq",
         "off by the factor 5; right at 1 of 2 calls"),
    ],
    "conv1d": [
        (2, "_side_by_side(dy @ _by_groups(W[i, j], groups).transpose(0, 2, 1))", "dy[0] @ W[i, -1 - j].T",
         r"right at 1 of 5 calls"),
        (2, "_side_by_side(dy @ _by_groups(W[i, j], groups).transpose(0, 2, 1))", "dy[0] @ W[i, j]",
         "raises ValueError"),
        (3, "_side_by_side(pixels.transpose(0, 2, 1) @ dy)", "dy[0].T @ pixels[0]", "raises ValueError"),
        (3, "_side_by_side(pixels.transpose(0, 2, 1) @ dy)", "pixels[0].T @ dy[0] / N", "off by the factor 0.5"),
        (4, "dy.sum(axis=0) if need_b else None", "dy.sum()", r"has shape \(\), must have \(4,\)"),
    ],
    "batch_norm": [
        (5, "dy.sum(axis=others)", "dy.mean(axis=others)", "off by the factor 0.142857"),
        (6, "(dy * xhat).sum(axis=others)", "dy.sum(axis=others)", "is wrong: the ratio"),
        (7, "dy * gamma.reshape(along)", "dy", "is wrong: the ratio"),
        (8, "dvar - (dxhat * xhat).sum(axis=others) / (2 * s * s)",
         "-(dxhat * xhat).sum(axis=others) / (2 * s * s)", "is wrong: the ratio"),
        (10, "dxhat / s.reshape(along) + (dvar * 2 * s / R).reshape(along) * xhat + (dmean / R).reshape(along)",
         "dxhat / s.reshape(along)", "is wrong: the ratio"),
    ],
    "lstm_gates": [
        (7, "dC + dh * o * (1 - tanhC * tanhC)", "dh * o * (1 - tanhC * tanhC)", "is wrong: the ratio"),
        (8, "dC * C[t] * f * (1 - f)", "dC * C[t + 1] * f * (1 - f)", "is wrong: the ratio"),
        (9, "dC * Ctilde * i * (1 - i)", "dC * Ctilde * i * (i - 1)", "has the wrong sign"),
        (10, "dC * i * (1 - Ctilde * Ctilde)", "dC * i * Ctilde * (1 - Ctilde)", "is wrong: the ratio"),
        (11, "dh * tanhC * o * (1 - o)", "dC * tanhC * o * (1 - o)", "is wrong: the ratio"),
    ],
    "lstm_carry": [
        (12, "dz[t] @ W.T", "dz[t] @ W", "raises ValueError"),
        (13, "dC * f", "0 * dC", "is 0"),
        (13, "dC * f", "dC", "is wrong: the ratio"),
        (14, "hx.reshape(T * N, HD).T @ dz if needs[3] else None", "hx[0].T @ dz[:N]", "right at 1 of 2 calls"),
        (14, "dz.sum(axis=0) if needs[4] else None", "2 * dz.sum(axis=0)", "off by the factor 2"),
    ],
    "adam": [
        (2, "(1 - beta1) * g", "beta1 * g", "is wrong|off by the factor 9"),
        (3, "(1 - beta2) * g * g", "(1 - beta2) * g", "is wrong: the ratio"),
        (4, "m / scalar(1 - beta1**step, m), v / scalar(1 - beta2**step, v)", "m, v", "value 1: is off by the factor"),
        (5, "scalar(lr, value) * mhat / (xp.sqrt(vhat) + eps)", "-lr * mhat / (xp.sqrt(vhat) + eps)", "is wrong"),
        (5, "scalar(lr, value) * mhat / (xp.sqrt(vhat) + eps)", "lr * mhat / xp.sqrt(vhat + eps)", "is wrong"),
    ],
    "tape": [
        (2, "other.value, self.value", "self.value, other.value", "value 1: is off by the factor"),
        (3, "1 - y * y", "1 - self.value * self.value", "is off by the factor"),
        (4, "last.gradient = 1.0", "last.gradient = 0.0", "is 0"),
        (5, "range(len(self.numbers) - 1, -1, -1)", "range(len(self.numbers))", "is wrong"),
        (6, "a.gradient += y.gradient * slope", "a.gradient = y.gradient * slope", r"right at 8 of 11 calls"),
    ],
}


def test_each_exercise_has_five_mistakes() -> None:
    assert {name: len(mistakes) for name, mistakes in MISTAKES.items()} == dict.fromkeys(exercises.EXERCISES, 5)


@pytest.mark.parametrize("name", exercises.EXERCISES)
def test_the_library_is_right_and_the_blank_is_to_do(name: str) -> None:
    found, whole = trial.findings(files.solution(name))
    assert {one.verdict for one in found} == {trial.RIGHT} and whole == ""
    assert {one[:2] for one in found} == set(exercises.EXERCISES[name].hints)
    found, _ = trial.findings(files.blank(name))
    assert {one.verdict for one in found} == {trial.BLANK} and not any(one.hint for one in found)


@pytest.mark.parametrize("name", exercises.EXERCISES)
def test_a_blank_holds_no_answer(name: str) -> None:
    """The lines to fill in, and nothing else, differ from the solution."""
    blank, solution = (text.split("\n") for text in (files.blank(name), files.solution(name)))
    assert len(blank) == len(solution)
    pairs = [(one, other) for one, other in zip(blank, solution, strict=True) if one != other]
    assert len(pairs) >= len(exercises.EXERCISES[name].hints)
    for one, other in pairs:
        before, after = re.fullmatch(r"(.*)\.\.\.(  # .*)", one).groups()  # type: ignore[union-attr]
        assert other.startswith(before) and other.endswith(after)


@pytest.mark.parametrize(("name", "number", "line", "mistake", "verdict"), [
    (name, *one) for name, mistakes in MISTAKES.items() for one in mistakes])
def test_a_mistake_is_found_in_its_line(name: str, number: int, line: str, mistake: str, verdict: str) -> None:
    text = files.solution(name)
    assert text.count(line) == 1
    found, _ = trial.findings(text.replace(line, mistake))
    wrong = [one for one in found if one.verdict != trial.RIGHT]
    assert [one.number for one in wrong] == [number]
    assert re.search(verdict, wrong[0].verdict)
    assert wrong[0].hint == exercises.EXERCISES[name].hints[wrong[0][:2]]


RIGHT_WAYS = [
    ("dense", "dx = (dy @ W.T)", "turned = W.T\n    dx = (dy @ turned)"),
    ("lstm_gates", "dC * C[t] * f * (1 - f)", "(dC * C[t]\n            * (f - f * f))"),
    ("cross_entropy", "dl * (_where_not_0(xp, total, xp.exp(logp)) * total - wq)",
     "dl * (xp.exp(logp) - q)"),
    ("conv1d", "_side_by_side(dy @ _by_groups(W[i, j], groups).transpose(0, 2, 1))", "dy[0] @ W[i, j].T"),
    ("tape", "range(len(self.numbers) - 1, -1, -1)", "reversed(range(len(self.numbers)))"),
    ("adam", "value -= scalar(lr, value) * mhat", "value -= lr * mhat"),
    ("tape", "a.gradient += y.gradient * slope", "a.gradient = a.gradient + y.gradient * slope"),
]


@pytest.mark.parametrize(("name", "line", "instead"), RIGHT_WAYS)
def test_other_ways_of_writing_are_right(name: str, line: str, instead: str) -> None:
    text = files.solution(name)
    assert line in text
    found, whole = trial.findings(text.replace(line, instead))
    assert whole == "" and {one.verdict for one in found} == {trial.RIGHT}


FILES = [
    ("dense", "# (2)", "", "is missing, or never runs: a line such as `dx = ...  # (2)`", None),
    ("adam", "value -= scalar", "value = value - scalar", "makes another array, must change value in place",
     None),
    ("dense", "return dx, dW, db", "return dx, dW", None, "the result has 2 values, must have 3"),
    ("dense", "return dx, dW, db", "return dx, dW, 2 * db", None,
     "value 3 of the result is not: it is off by the factor 2"),
    ("lstm_gates", "    f, i, Ctilde, o = gates[t]", "    f, i, o = gates[t]", None,
     r"line \d+: ValueError: too many values"),
    ("lstm_gates", "def dlstm", "def backward", None, "KeyError: 'dlstm'"),
]


@pytest.mark.parametrize(("name", "line", "instead", "verdict", "whole"), FILES)
def test_the_file_as_a_whole(name: str, line: str, instead: str, verdict: str | None, whole: str | None) -> None:
    found, said = trial.findings(files.solution(name).replace(line, instead), "answer")
    assert re.search(whole or "^$", said), said
    assert verdict is None or any(verdict in one.verdict for one in found)


@pytest.mark.parametrize(("name", "number", "line", "instead", "calls"), [
    ("dense", 2, "(dy @ W.T).reshape(x.shape) if need_x else None", "dy @ W.T", "1 of 2"),
    ("batch_norm", 5, "dy.sum(axis=others)", "dy.sum(axis=0)", "1 of 2"),
    ("adam", 4, "m / scalar(1 - beta1**step, m), v / scalar(1 - beta2**step, v)", "m / (1 - beta1), v / (1 - beta2)",
     "1 of 3"),
    ("adam", 2, "(1 - beta1) * g", "(1 - beta1) * g * (step > 1)", "2 of 3")])  # the next step starts from the right m
def test_an_answer_for_one_shape_or_step_alone_is_wrong(name: str, number: int, line: str, instead: str,
                                                        calls: str) -> None:
    text = files.solution(name)
    assert text.count(line) == 1
    wrong = [one for one in trial.findings(text.replace(line, instead))[0] if one.verdict != trial.RIGHT]
    assert [one.number for one in wrong] == [number] and wrong[0].verdict.endswith(f"; right at {calls} calls")


@pytest.mark.parametrize(("value", "expected", "verdict"), [
    (5.0, (1.0, 2.0), "must be 2 values"), ((1.0,), (1.0, 2.0), "must be 2 values"),
    ([1.0, 3.0], (1.0, 2.0), "value 2: is off by the factor 1.5"), ((1.0, 2.0), (1.0, 2.0), "right"),
    ("x", 1.0, "is of type str, must be a number"), ({}, np.ones(2), "is of type dict, must be an array"),
    (range(2, -1, -1), np.array([2, 1, 0]), "right"), (reversed(range(3)), [2, 1, 0], "right"),
    (np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(2, 3).T, "has shape (2, 3), must have (3, 2); it is "
                                                                     "transposed"),
    (np.arange(6.0).reshape(2, 3), np.arange(6.0).reshape(3, 2), "has shape (2, 3), must have (3, 2)"),
    (np.array([[1.0, 2.0], [3.0, 4.0]]), np.array([[1.0, 3.0], [2.0, 4.0]]), "is transposed"),
    ([1.0, np.nan], np.ones(2), "is not finite"), ([1.0, np.inf], np.ones(2), "is not finite"),
    ([0.0, 0.0], np.ones(2), "is 0"), ([0.0, 0.0], np.zeros(2), "right"),
    ([1000.0, 1 + 9e-7], np.array([1000.0, 1.0]), "right"),
    ([1000.0, 1 + 2e-6], np.array([1000.0, 1.0]), "is wrong in 1 of 2 elements"),
    ([-1.0, -2.0], np.array([1.0, 2.0]), "has the wrong sign"),
    ([1.0, 2.0], np.array([3.0, 6.0]), "is off by the factor 0.333333"),
    ([5.0, 2.0, 3.0], np.array([1.0, 2.0, 3.0]), "is wrong in 1 of 3 elements"),
    ([0.0, 4.0, 1.5, 7.0], np.array([1.0, 2.0, 3.0, 0.0]), "is wrong: the ratio to the true values is between 0 and 2"),
    (ValueError("odd"), 1.0, "raises ValueError: odd"), (..., np.ones(2), "still to do")])
def test_what_is_wrong_with_a_value(value: Any, expected: Any, verdict: str) -> None:
    assert trial.compare(value, expected) == verdict


@pytest.mark.parametrize(("name", "number", "line", "before", "verdict"), [
    ("tape", 4, "last.gradient = 1.0", "for _ in range(2): ", "runs more often than it must; right at 1 of 1 calls"),
    ("dense", 2, "dx = (dy", "if R == 4: ", "runs 1 times, must run 2 times")])
def test_a_line_that_runs_more_or_less_often(name: str, number: int, line: str, before: str, verdict: str) -> None:
    found, _ = trial.findings(files.solution(name).replace(line, before + line))
    assert [one.verdict for one in found if one.number == number] == [verdict]


def test_a_line_keeps_its_number_where_it_is_compared() -> None:
    text = files.solution("dense")
    marked = [number for number, line in enumerate(text.split("\n"), 1) if "  # (" in line and " = (" in line]
    before, after = ([getattr(node, "lineno", None) for node in ast.walk(tree)]
                     for tree in (ast.parse(text), trial.instrumented(text, "dense")))
    assert {*before} == {*after} and all(after.count(number) > before.count(number) for number in marked) and marked
    assert trial.name_of(text) == "dense" and trial.name_of(text + "def f(:") is None


@pytest.mark.parametrize(("text", "said"), [
    ("return 5", "line 29: 'return' outside function"),
    ("compile('def f(:', 'other', 'exec')", "line 29: SyntaxError: invalid syntax (other, line 1)")])
def test_a_text_that_does_not_compile(text: str, said: str) -> None:
    assert trial.findings(f"{files.solution('dense')}{text}\n", "answer")[1] == said


def test_each_gradient_is_asked_for_with_the_cache_of_its_own_op(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[str, str]] = []
    monkeypatch.setattr(exercises, "_backward", lambda name, op, shapes, **options: asked.append((name, f"d{op.name}")))
    for exercise in exercises.EXERCISES.values():
        assert [*exercise.calls()]
    assert {name for name, _ in asked} == {"ddense", "dsoftmax", "dlog_softmax", "dcross_entropy", "dbatch_norm",
                                           "dlstm"}
    assert all(name == gradient for name, gradient in asked)


@pytest.mark.parametrize("comment", ["#(7)", "# see (7)", "# (7), the other half of (8)", "# (8) (7)"])
def test_the_mark_of_an_equation_may_stand_anywhere_in_a_comment(comment: str) -> None:
    text = f"def f(x):\n    y = x  {comment}\n    return y  # (9), not wanted\n"
    found = files.statements(text, {("f", 7): "a hint"})
    assert [(one.function, one.number, one.target) for one in found] == [("f", 7, "y")]


def test_a_return_that_is_missing() -> None:
    found, _ = trial.findings(files.solution("cross_entropy").replace("  # (2)", ""))
    assert [one.verdict for one in found][:2] == [
        "is missing, or never runs: a line such as `return ...  # (2)`"] * 2


def test_what_a_report_says() -> None:
    findings = [trial.Finding("ddense", 2, "dx", "right"), trial.Finding("f", 12, "longer", "is 0", "Think.")]
    report = checking.Report("cross_entropy", findings, "line 3: it stops")
    assert not report.is_right and str(report).split("\n") == [
        "Exercise 2, softmax and cross-entropy: p - y: 1 of 2 lines are right.",
        "  ddense  (2)   dx      right", "  f       (12)  longer  is 0", "                Hint: Think.",
        "The file: line 3: it stops."]
    assert str(checking.Report(None, [], "line 1: bad")) == "The file: line 1: bad."


BLANK = '''"""Exercise 1 of 8: the gradients of a matrix product.

`dy` is the gradient of the loss with respect to y, with one row for each position. Compute the gradients with
respect to x, W and b. Begin with one element: y[r,f] = Σ_d x[r,d] W[d,f] + b[f].

Shapes    x (...,D) · W (D,F) · b (F) or None  →  y (...,F)
Forward   (1)  y = x W + b

Replace each `...`. Keep the name before it and the `# (n)` behind it, which tell the check what the line
computes. Add lines of your own where you like. Then run

    tinynet learn --check 1_dense.py
"""

import math

EXERCISE = "dense"


def ddense(xp, dy, *, cache, needs):
    x, W = cache
    need_x, need_W, need_b = needs
    R = math.prod(x.shape[:-1])
    dy = dy.reshape(R, W.shape[1])  # (R,F)
    dx = ...  # (2)
    dW = ...  # (3)
    db = ...  # (4)
    return dx, dW, db
'''


def test_the_text_of_an_exercise() -> None:
    assert files.blank("dense") == BLANK
    assert files.blank("tape").startswith('"""Exercise 8 of 8: a tape in sixty lines.')
    assert "def __init__(self, tape, value, inputs, slopes):\n        self.tape" in files.blank("tape")
    assert "class Tape:\n    def __init__(self):\n        self.numbers = []\n" in files.blank("tape")


def test_from_blank_to_right(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["learn", "--exercises", str(tmp_path / "deep" / "mine"), "--json"]) == 0
    written = json.loads(capsys.readouterr().out)
    assert written[1] == str(tmp_path / "deep" / "mine" / "2_cross_entropy.py") and len(written) == 8
    assert main(["learn", "--exercises", str(tmp_path / "mine")]) == 0
    paths = sorted((tmp_path / "mine").iterdir())
    assert capsys.readouterr().out.splitlines() == [str(path) for path in paths]
    assert [path.name for path in paths] == [
        "1_dense.py", "2_cross_entropy.py", "3_conv1d.py", "4_batch_norm.py", "5_lstm_gates.py", "6_lstm_carry.py",
        "7_adam.py", "8_tape.py"]
    (tmp_path / "there").mkdir()
    for name in ("notes.txt", "8_tape.py"):  # a folder with other files, and then with a single answer
        (tmp_path / "there" / name).write_text("mine")
        assert main(["learn", "--exercises", str(tmp_path / "there")]) == (1 if name == "8_tape.py" else 0)
        for path in (tmp_path / "there").glob("*_*.py"):
            path.unlink()
    assert "there must not hold an answer already, holds 8_tape.py; give" in capsys.readouterr().err
    assert main(["learn", "--exercises", str(tmp_path / "mine")]) == 1
    assert "must not hold an answer already, holds 1_dense.py" in capsys.readouterr().err
    assert main(["learn", "--check", str(paths[0])]) == 1
    assert "0 of 3 lines are right" in capsys.readouterr().out
    paths[0].write_text(files.solution("dense") + "import sys\nsys.stdout.buffer.write(b'\\xff a text of its own')\n")
    assert main(["learn", "--check", str(paths[0]), "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["right"] and answer["exercise"] == "dense" and len(answer["lines"]) == 3


@pytest.mark.parametrize(("text", "said"), [
    ("input()", "^line 29: EOFError: EOF when reading a line$"),
    ("def f():\n    while True: pass\nf()", r"^stopped after 2 s in line 30; does a loop end\?$"),
    ("import os; os._exit(3)", r"^Python ended without an answer \(no message\)$"),
    ("def f(:", "^line 29: invalid syntax$"), ("\0", "null bytes"),
    ("def f():\n    return 1 / 0\nf()", "^line 30: ZeroDivisionError: division by zero$"),
])
def test_answers_that_do_not_run(text: str, said: str, tmp_path: Path) -> None:
    path = tmp_path / "answer.py"
    path.write_text(files.solution("dense") + text + "\n")
    report = checking.check(str(path), limit=2.0)
    assert re.search(said, report.whole), report.whole
    assert not report.is_right and "The file: " in str(report)


def test_an_answer_has_twenty_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its process has some more, to start and to say where it was stopped."""
    asked: list[Any] = []

    def run(command: list[str], **options: Any) -> Any:
        asked.append((command[-2:], options["timeout"]))
        assert options["stdin"] == subprocess.DEVNULL, "no answer waits for the keyboard"
        return subprocess.CompletedProcess(command, 0, '[[], ""]', "")

    monkeypatch.setattr(checking.subprocess, "run", run)
    path = tmp_path / "answer.py"
    path.write_text(files.solution("dense"))
    for more in ({}, {"limit": 3.0}):
        checking.check(str(path), **more)
    assert asked == [([str(path), "20.0"], 50.0), ([str(path), "3.0"], 33.0)]


def test_why_there_is_no_answer() -> None:
    assert checking._ended("before\nat last\n", "a.py", 2.0) == "Python ended without an answer (at last)"
    assert checking._ended('Timeout\n File "b.py", line 3\n', "a.py", 2.6) == "stopped after 3 s; does a loop end?"


def test_files_that_are_no_answers(tmp_path: Path) -> None:
    with pytest.raises(ArgumentError, match="cannot be read"):
        checking.check(str(tmp_path / "nothing.py"))
    for text in ("EXERCISE = 5\n", "EXERCISE = 'other'\n", "NAME = 'dense'\n", "def f():\n    EXERCISE = 'dense'\n"):
        (tmp_path / "other.py").write_text(text)
        with pytest.raises(ArgumentError, match='must hold the line EXERCISE = "NAME" of its exercise, with one of de'):
            checking.check(str(tmp_path / "other.py"))
    (tmp_path / "other.py").write_bytes(b"EXERCISE = 'dense'  # \xff")
    with pytest.raises(ArgumentError, match=r"must be a file of `tinynet learn --exercises`, and cannot be read \("):
        checking.check(str(tmp_path / "other.py"))


def test_a_blank_compiles_for_python_as_it_stands(tmp_path: Path) -> None:
    [path] = [path for path in files.write(str(tmp_path)) if "8_tape" in path]
    assert subprocess.run([sys.executable, path], check=False).returncode == 0


@pytest.mark.parametrize("name", ["dense", "cross_entropy", "batch_norm", "lstm_gates"])
def test_the_gradients_of_the_outputs_tell_elements_apart(name: str) -> None:
    """With equal ones, a sum over the wrong axis would look right, and so would the gradient of another output."""
    class Stopped(Exception):
        pass

    seen: list[Any] = []

    class Names(dict[str, Any]):
        def __missing__(self, function: str) -> Any:
            def gradient(xp: Any, *douts: Any, **more: Any) -> None:
                seen.append(douts)
                raise Stopped
            return gradient

    for call in exercises.EXERCISES[name].calls():
        with pytest.raises(Stopped):
            call(Names())
    for douts in seen:
        elements = np.concatenate([np.ravel(dout) for dout in douts])
        assert len(np.unique(elements)) == elements.size
    assert seen
