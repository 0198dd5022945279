"""Run an answer beside the library's own code, and compare the lines that carry the numbers of equations.

    python -m tinynet.learn.trial FILE SECONDS        prints the findings as JSON

After each of these lines, its value is compared with that of the library's line at the same call, and is replaced by
it. So each equation is judged alone: a mistake does not spread to those that follow. At last the functions are called
as they stand in the file.
"""

import ast
import faulthandler
import json
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

import numpy as np

from tinynet.learn.exercises import EXERCISES
from tinynet.learn.files import Marked, solution, statements

CLOSE = 1e-9  # the largest error of a right line, relative to the largest element
RIGHT, BLANK = "right", "still to do"
_SETTLE = "_settle"  # the name of the comparison in the code that runs

Place = tuple[str, int, str]  # function, number of the equation, target


class Finding(NamedTuple):
    """What the check says of a line."""

    function: str
    number: int
    target: str
    verdict: str
    hint: str = ""


def name_of(text: str) -> str | None:
    """The exercise that a file answers: what it assigns to EXERCISE. None if that is no exercise, or no Python."""
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError):
        return None
    for node in tree.body:
        match node:
            case ast.Assign(targets=[ast.Name(id="EXERCISE")], value=ast.Constant(value=str(name))):
                return name if name in EXERCISES else None
    return None


def findings(text: str, path: str = "answer") -> tuple[list[Finding], str]:
    """A finding for each equation of the answer, and what is wrong with the file as a whole, "" if nothing is."""
    name = name_of(text)
    assert name is not None
    exercise, right = EXERCISES[name], solution(name)
    truths: dict[Place, list[tuple[Any, bool]]] = {}

    def note(place: Place, value: Any, in_place: bool) -> Any:
        truths.setdefault(place, []).append((_copied(value), in_place))
        return value

    expected = [_run(right, name, "solution", note, call)[0] for call in exercise.calls()]
    trial = _Trial(truths)
    errors = [_run(text, name, path, trial.settle, call)[1] for call in exercise.calls()]
    whole = next((error for error in errors if error), "")
    found = [Finding(*place, trial.verdict(place)) for place in truths]
    found = [one if one.verdict in (RIGHT, BLANK) else one._replace(hint=exercise.hints[one[:2]]) for one in found]
    if all(one.verdict == RIGHT for one in found) and not whole:
        whole = _as_it_stands(text, name, path, expected)
    return found, whole


class _Trial:
    """The values of an answer, line by line."""

    def __init__(self, truths: Mapping[Place, Sequence[tuple[Any, bool]]]) -> None:
        self.truths = truths
        self.seen: dict[Place, list[str]] = {place: [] for place in truths}

    def settle(self, place: Place, value: Any, in_place: bool) -> Any:
        """Note the verdict on a value, and return the true one to go on with."""
        verdicts = self.seen.setdefault(place, [])
        true = self.truths.get(place, [])
        if len(verdicts) >= len(true):
            verdicts.append("runs more often than it must")
            return value
        expected, must_be_in_place = true[len(verdicts)]
        verdict = compare(value, expected)
        if verdict == RIGHT and must_be_in_place and not in_place:
            verdict = f"makes another array, must change {place[2]} in place"
        verdicts.append(verdict)
        if in_place and isinstance(value, np.ndarray) and value.shape == np.shape(expected):
            np.copyto(value, expected)
            return value
        return _copied(expected)

    def verdict(self, place: Place) -> str:
        """What all calls of a line show."""
        verdicts, calls = self.seen[place], len(self.truths[place])
        if not verdicts:
            line = f"return ...  # ({place[1]})" if place[2] == "return" else f"{place[2]} = ...  # ({place[1]})"
            return f"is missing, or never runs: a line such as `{line}`"
        wrong = [verdict for verdict in verdicts if verdict != RIGHT]
        if not wrong:
            return RIGHT if len(verdicts) == calls else f"runs {len(verdicts)} times, must run {calls} times"
        rights = len(verdicts) - len(wrong)
        if rights and wrong[0] != BLANK:
            return f"{wrong[0]}; right at {rights} of {calls} calls"
        return wrong[0]


def compare(value: Any, expected: Any) -> str:
    """What is wrong with a value, in words."""
    if isinstance(value, Exception):
        return f"raises {type(value).__name__}: {value}"
    if value is ...:
        return BLANK
    if isinstance(expected, tuple):
        if not isinstance(value, tuple | list) or len(value) != len(expected):
            return f"must be {len(expected)} values"
        each = [compare(one, other) for one, other in zip(value, expected, strict=True)]
        return next((f"value {place}: {one}" for place, one in enumerate(each, start=1) if one != RIGHT), RIGHT)
    try:
        mine = np.asarray(list(value) if isinstance(value, Iterator | range | list) else value, np.float64)
    except (TypeError, ValueError):
        return f"is of type {type(value).__name__}, must be {'an array' if np.ndim(expected) else 'a number'}"
    true = np.asarray(expected, np.float64)
    if mine.shape != true.shape:
        turned = mine.ndim == 2 and mine.T.shape == true.shape and _close(mine.T, true)
        return f"has shape {mine.shape}, must have {true.shape}" + "; it is transposed" * turned
    if _close(mine, true):
        return RIGHT
    if not np.isfinite(mine).all():
        return "is not finite"
    return _difference(mine, true)


def _close(a: np.ndarray[Any, Any], b: np.ndarray[Any, Any]) -> bool:
    scale = max(np.abs(b).max(initial=0.0), 1e-300)
    return bool(np.isfinite(a).all() and np.abs(a - b).max(initial=0.0) <= CLOSE * scale)


def _difference(mine: np.ndarray[Any, Any], true: np.ndarray[Any, Any]) -> str:
    """In which way an array of the right shape is wrong."""
    if not mine.any():
        return "is 0"
    factor = float((mine * true).sum() / (true * true).sum()) if true.any() else 0.0
    if factor and _close(mine, factor * true):
        return "has the wrong sign" if abs(factor + 1) < CLOSE else f"is off by the factor {factor:.6g}"
    if mine.ndim == 2 and mine.shape[0] == mine.shape[1] and _close(mine.T, true):
        return "is transposed"
    away = np.abs(mine - true) > CLOSE * np.abs(true).max()
    if away.mean() <= 0.5:
        return f"is wrong in {away.sum()} of {away.size} elements"
    nonzero = np.abs(true) > CLOSE * np.abs(true).max()
    ratios = mine[nonzero] / true[nonzero]
    return (f"is wrong: the ratio to the true values is between {ratios.min():.4g} and {ratios.max():.4g}")


# --- running --------------------------------------------------------------------------------------------------------

def _run(text: str, name: str, path: str, settle: Any, call: Any) -> tuple[Any, str]:
    """What a call of the instrumented text returns, and its error, "" if it has none."""
    try:
        names: dict[str, Any] = {"__name__": "exercise", _SETTLE: settle}
        exec(compile(instrumented(text, name), path, "exec"), names)
        return [_copied(one) for one in call(names)], ""
    except Exception as error:
        return None, told(error, path)


def _as_it_stands(text: str, name: str, path: str, expected: Sequence[Any]) -> str:
    """What is wrong with the results of the file itself, whose marked lines are right."""
    for call, results in zip(EXERCISES[name].calls(), expected, strict=True):
        try:
            names: dict[str, Any] = {"__name__": "exercise"}
            exec(compile(text, path, "exec"), names)
            mine = list(call(names))
        except Exception as error:
            return told(error, path)
        if len(mine) != len(results):
            return f"the result has {len(mine)} values, must have {len(results)}; has another line been changed?"
        for place, (one, true) in enumerate(zip(mine, results, strict=True), start=1):
            verdict = RIGHT if true is None and one is None else compare(one, true)
            if verdict != RIGHT:
                return (f"each marked line is right, but value {place} of the result is not: it {verdict}; has another "
                        "line been changed, or is an array replaced that must change in place?")
    return ""


def instrumented(text: str, name: str) -> ast.Module:
    """The code of an answer, with a comparison after each statement that carries the number of an equation."""
    tree = ast.parse(text)
    marked: dict[tuple[int, int], list[Marked]] = {}
    for one in statements(text, EXERCISES[name].hints):
        marked.setdefault((one.node.lineno, one.node.col_offset), []).append(one)

    class Instrument(ast.NodeTransformer):
        def visit_Assign(self, node: ast.Assign) -> Any:
            return self.settled(node, ast.unparse(node.targets[0]))

        def visit_AugAssign(self, node: ast.AugAssign) -> Any:
            return self.settled(node, ast.unparse(node.target))

        def visit_Return(self, node: ast.Return) -> Any:
            return self.settled(node, "return")

        def settled(self, node: Any, target: str) -> Any:
            here = marked.get((node.lineno, node.col_offset))
            if not here:
                return node
            place = here[0].function, here[0].number, target
            return [_located(line, node) for line in _lines(node, target, place)]

    return ast.fix_missing_locations(Instrument().visit(tree))


def _lines(node: Any, target: str, place: Place) -> Sequence[ast.stmt]:
    """The statements that take the place of a marked one."""
    in_place = isinstance(node, ast.AugAssign) and isinstance(node.target, ast.Name)
    settled = f"{_SETTLE}({place!r}, _value, {in_place})"
    if target == "return":
        attempt: list[ast.stmt] = [ast.Assign([ast.Name("_value", ast.Store())], node.value)]
        end: ast.stmt = ast.Return(ast.parse(settled, mode="eval").body)
    else:
        to_do = isinstance(node.value, ast.Constant) and node.value.value is ...
        attempt = ast.parse("_value = ...").body if to_do else [node, *ast.parse(f"_value = {target}").body]
        end = ast.parse(f"{target} = {settled}").body[0]
    guard = ast.parse("try:\n    pass\nexcept Exception as _error:\n    _value = _error").body[0]
    guard.body = attempt  # type: ignore[attr-defined]
    return guard, end


def _located(line: ast.stmt, node: ast.stmt) -> ast.stmt:
    """The statement with the line number of the one that it replaces."""
    number = node.lineno
    for inner in ast.walk(ast.fix_missing_locations(line)):
        if hasattr(inner, "lineno"):
            inner.lineno = inner.end_lineno = number  # type: ignore[attr-defined]
            inner.col_offset = inner.end_col_offset = 0  # type: ignore[attr-defined]
    return line


def told(error: Exception, path: str) -> str:
    """An error, with the line of the answer that it comes from."""
    if isinstance(error, SyntaxError) and error.filename == path:
        return f"line {error.lineno}: {error.msg}"
    lines = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == path]
    where = f"line {lines[-1]}: " if lines else ""
    return f"{where}{type(error).__name__}: {error}"


def _copied(value: Any) -> Any:
    if isinstance(value, tuple):
        return tuple(_copied(one) for one in value)
    return value.copy() if isinstance(value, np.ndarray) else value


def main() -> None:
    path, seconds = sys.argv[1], float(sys.argv[2])
    faulthandler.dump_traceback_later(seconds, exit=True)
    with open(path, encoding="utf-8") as file:
        text = file.read()
    found, whole = findings(text, path)
    answer = json.dumps([[one._asdict() for one in found], whole])
    print(f"\n{answer}")  # the last line: the answer may print, too


if __name__ == "__main__":
    main()
