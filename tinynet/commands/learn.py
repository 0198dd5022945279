"""`tinynet learn`: the lab, in a browser; exercises on the backward passes of the library, and their check."""

import argparse
import threading
import webbrowser
from typing import Any

from tinynet.commands.answers import add_command, show
from tinynet.errors import ArgumentError, printable
from tinynet.learn import checking, files
from tinynet.learn.server import Server
from tinynet.output import json_text

_EXAMPLES = """\
  tinynet learn
  tinynet learn --exercises my_answers
  tinynet learn --check my_answers/5_lstm_gates.py"""


def add(commands: Any) -> None:
    """Describe the command."""
    made = add_command(commands, "learn", learn, "a lab in the browser; exercises, with a check of each line",
                       _EXAMPLES, model=False)
    made.add_argument("--port", type=int, default=0, help="of the lab, on this computer alone (default: any free one)")
    made.add_argument("--no-browser", action="store_true", help="print the address of the lab, and open no browser")
    what = made.add_mutually_exclusive_group()
    what.add_argument("--exercises", metavar="FOLDER", help="write the files of all exercises to a folder")
    what.add_argument("--check", metavar="FILE", help="check the answers in a file, which is run for at most "
                                                      f"{checking.LIMIT:.0f} seconds")


def learn(options: argparse.Namespace) -> int:
    """Serve the lab, write the exercises, or check an answer: exit code 0 if all is right."""
    if options.exercises:
        paths = files.write(options.exercises)
        show(json_text(paths, indent=1) if options.json else "\n".join(map(printable, paths)))
        return 0
    if options.check:
        report = checking.check(options.check)
        answer = {"exercise": report.name, "right": report.is_right, "file": report.whole,
                  "lines": [one._asdict() for one in report.findings]}
        show(json_text(answer, indent=1) if options.json else str(report))
        return 0 if report.is_right else 1
    return serve(options)


def serve(options: argparse.Namespace) -> int:
    """Serve the lab until Ctrl-C."""
    try:
        server = Server(options.port)
    except (OSError, OverflowError) as error:
        raise ArgumentError(f"learn: port {options.port} must be a free port of this computer ({error}); leave --port "
                            "out for any") from None
    with server:
        show(json_text({"address": server.address}) if options.json else
             f"The lab: {server.address}\nCtrl-C ends it. The address holds a password: keep it to yourself.")
        if not options.no_browser:
            threading.Timer(0.2, webbrowser.open, [server.address]).start()
        server.serve_forever()
    return 0
