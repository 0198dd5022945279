"""What the subcommands share: how they are described, and what they write to stdout and stderr."""

import argparse
import math
import os
from collections.abc import Callable, Iterable
from functools import partial
from typing import Any

from tinynet.data.images.folder import list_images
from tinynet.data.images.read import USUAL
from tinynet.errors import counted, printable
from tinynet.output import csv_text, say

AT_ONCE = 64  # images

show = partial(say, strict=True)  # the answers: they end where they cannot be written
Run = Callable[[argparse.Namespace], int]  # returns the exit code


def add_command(commands: Any, name: str, run: Run, text: str, examples: str, *, model: bool = True,
                csv: bool = False, json: bool = True) -> argparse.ArgumentParser:
    """Describe a subcommand: one sentence, examples of its use, and the options that all have."""
    made: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}.", epilog=f"examples:\n{examples}",
        formatter_class=argparse.RawDescriptionHelpFormatter)
    made.set_defaults(command=run, csv=False)
    if model:
        made.add_argument("model", metavar="MODEL", help="a file that tn.save has written")
    if json:
        formats = made.add_mutually_exclusive_group()
        formats.add_argument("--json", action="store_true", help="print JSON")
    if csv:
        formats.add_argument("--csv", action="store_true", help="print CSV, with a line of names")
    return made


def add_device(made: argparse.ArgumentParser) -> None:
    """The options of a command that runs a model."""
    made.add_argument("--device", default="cpu", help="cpu, gpu, gpu:1 ..., or gpu-emulated (default: cpu)")
    made.add_argument("--batch-size", type=positive(int), default=AT_ONCE, help=f"images at once (default: {AT_ONCE})")


def csv_line(values: Iterable[Any]) -> str:
    """One line of CSV, without its end. Texts are printable.

    >>> csv_line(["a,b", 0.5, None])
    '"a,b",0.5,'
    """
    return csv_text([values]).removesuffix("\n")


def one_line(error: object) -> str:
    """The message of an error, without line breaks and escape sequences."""
    return printable(" ".join(str(error).split()))


def images_below(folder: str) -> list[str]:
    """The paths of the image files below a folder. Files of other names are counted on stderr.

    Errors: DataError if the folder cannot be read, or holds no image.
    """
    names, others = list_images(folder)
    if others:
        say(f"tinynet: {printable(folder)}: left out {counted(len(others), 'file')} not named {USUAL}, the first is "
            f"{printable(others[0])}; convert it if it is an image", error=True)
    return [os.path.join(folder, name) for name in names]


def complain(error: object, code: int) -> int:
    """Print an error on stderr. Returns the exit code."""
    say(f"tinynet: {one_line(error)}", error=True)
    return code


def positive(kind: type) -> Any:
    """The argparse type of a positive number."""
    def convert(text: str) -> Any:
        value = kind(text)
        if not 0 < value < math.inf:
            raise argparse.ArgumentTypeError(f"must be positive, got {text}")
        return value

    convert.__name__ = kind.__name__
    return convert


def seed(text: str) -> int:
    """The argparse type of a seed."""
    value = int(text)
    if not 0 <= value < 2**32:
        raise argparse.ArgumentTypeError(f"must be in [0, 2**32), got {text}")
    return value
