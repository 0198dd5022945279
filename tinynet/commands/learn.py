"""`tinynet learn`: exercises on the backward passes of the library, and their check."""

import argparse
from typing import Any

from tinynet.commands.answers import add_command, show
from tinynet.errors import printable
from tinynet.learn import checking, files
from tinynet.output import json_text

_EXAMPLES = """\
  tinynet learn --exercises my_answers
  tinynet learn --check my_answers/5_lstm_gates.py"""


def add(commands: Any) -> None:
    """Describe the command."""
    made = add_command(commands, "learn", learn, "exercises: write a backward pass, and have each line checked",
                       _EXAMPLES, model=False)
    what = made.add_mutually_exclusive_group(required=True)
    what.add_argument("--exercises", metavar="FOLDER", help="write the files of all exercises to a folder")
    what.add_argument("--check", metavar="FILE", help="check the answers in a file, which is run for at most "
                                                      f"{checking.LIMIT:.0f} seconds")


def learn(options: argparse.Namespace) -> int:
    """Write the exercises, or check an answer: exit code 0 if all is right."""
    if options.exercises:
        paths = files.write(options.exercises)
        show(json_text(paths, indent=1) if options.json else "\n".join(map(printable, paths)))
        return 0
    report = checking.check(options.check)
    answer = {"exercise": report.name, "right": report.is_right, "file": report.whole,
              "lines": [one._asdict() for one in report.findings]}
    show(json_text(answer, indent=1) if options.json else str(report))
    return 0 if report.is_right else 1
