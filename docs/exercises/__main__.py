"""Check an answer to an exercise: python -m docs.exercises softmax my_answer.py"""

import argparse
import importlib
import runpy
import sys
from pathlib import Path

NAMES = sorted(path.stem for path in Path(__file__).parent.glob("[a-z]*.py") if path.stem != "checking")


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser("python -m docs.exercises", description=(__doc__ or "").partition(":")[0])
    parser.add_argument("name", choices=NAMES)
    parser.add_argument("file", type=Path, help="the file with your answer")
    options = parser.parse_args(arguments)
    exercise = importlib.import_module(f"docs.exercises.{options.name}")
    wrong = 0
    for what, fault in exercise.check(runpy.run_path(str(options.file))):
        print(f"{what}: {fault or 'right'}")
        wrong += bool(fault)
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
