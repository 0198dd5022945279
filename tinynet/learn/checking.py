"""The check of an answer, in a process of its own with a time limit: an answer may loop, print, or end Python."""

import json
import re
import subprocess
import sys
from typing import NamedTuple

from tinynet.errors import ArgumentError, printable
from tinynet.learn.exercises import EXERCISES
from tinynet.learn.trial import RIGHT, Finding, name_of

LIMIT = 20.0  # seconds


class Report(NamedTuple):
    """What the check says of a file.

    name       of the exercise, None for a file that is not Python
    findings   one for each line to fill in
    whole      what is wrong with the file as a whole, "" if nothing is
    """

    name: str | None
    findings: list[Finding]
    whole: str

    @property
    def is_right(self) -> bool:
        return not self.whole and all(one.verdict == RIGHT for one in self.findings)

    def __str__(self) -> str:
        lines = []
        if self.name is not None and self.findings:
            right = sum(one.verdict == RIGHT for one in self.findings)
            lines.append(f"Exercise {[*EXERCISES].index(self.name) + 1}, {EXERCISES[self.name].title}: "
                         f"{right} of {len(self.findings)} lines are right.")
            function = max(len(one.function) for one in self.findings)
            target = max(len(one.target) for one in self.findings)
            for one in self.findings:
                before = f"  {one.function:{function}}  {f'({one.number})':5}"
                lines.append(f"{before} {one.target:{target}}  {one.verdict}")
                if one.hint:
                    lines.append(f"{' ' * len(before)} Hint: {one.hint}")
        if self.whole:
            lines.append(f"The file: {self.whole}.")
        return "\n".join(lines)


def check(path: str, limit: float = LIMIT) -> Report:
    """Run an answer, and say of each line whether it is right.

    limit   seconds after which it is stopped

    Errors: ArgumentError for a file that is not there, or that does not name an exercise.
    """
    try:
        with open(path, encoding="utf-8") as file:
            text = file.read()
    except (OSError, ValueError) as error:
        raise ArgumentError(f"learn: {printable(path)} must be a file of `tinynet learn --exercises`, and cannot be "
                            f"read ({error})") from None
    try:
        compile(text, path, "exec")
    except (SyntaxError, ValueError) as error:
        where = f"line {error.lineno}: " if isinstance(error, SyntaxError) else ""
        return Report(None, [], f"{where}{getattr(error, 'msg', error)}")
    name = name_of(text)
    if name is None:
        raise ArgumentError(f'learn: {printable(path)} must hold the line EXERCISE = "NAME" of its exercise, with '
                            f"one of {', '.join(EXERCISES)}; put it back")
    done = subprocess.run([sys.executable, "-m", "tinynet.learn.trial", path, str(limit)], capture_output=True,
                          text=True, errors="replace", stdin=subprocess.DEVNULL, timeout=limit + 30, check=False)
    try:
        findings, whole = json.loads(done.stdout.strip().rpartition("\n")[2])
    except ValueError:
        return Report(name, [], _ended(done.stderr, path, limit))
    return Report(name, [Finding(**one) for one in findings], whole)


def _ended(stderr: str, path: str, limit: float) -> str:
    """Why a process ended without an answer."""
    lines = re.findall(rf'File "{re.escape(path)}", line (\d+)', stderr)
    if "Timeout" in stderr:
        where = f" in line {lines[0]}" if lines else ""
        return f"stopped after {limit:.0f} s{where}; does a loop end?"
    return f"Python ended without an answer ({stderr.strip().rpartition(chr(10))[2] or 'no message'})"
