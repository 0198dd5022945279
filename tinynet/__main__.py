"""Train and use a model from the command line.

    tinynet train FOLDER               a model of a folder of images, with a folder for each class
    tinynet predict MODEL IMAGE...     the classes of images of any size, of folders, and of stdin (-)
    tinynet evaluate MODEL DATA        accuracy, precision and recall on DATA: "mnist", "digits", or a folder of images
                                       with a folder for each class; its part "test", if it has one
    tinynet explain MODEL IMAGE...     pictures of what the model looks at; a page of its worst mistakes in a folder
    tinynet summary MODEL              layers, shapes, parameters, operations, memory
    tinynet export MODEL --onnx FILE   the model for other programs, in the ONNX format
    tinynet learn                      a lab for the LSTM in the browser; exercises, with a check of each line
    tinynet about                      versions, processor, threads, devices

`python -m tinynet` is the same command. All but train take --json, and those that print tables --csv, for programs.
MODEL is a file that train or tn.save has written. It needs an input_shape, and should have classes and scaling, as
train saves them; without a scaling, pixels are divided by 255.

Exit codes: 0 done; 1 a fault of the model, an image or the data, one line on stderr for each, other images being
answered; 2 a wrong option or device. 130 interrupted, 143 by SIGTERM.
"""

import argparse
import os
import sys

from tinynet.about import __version__
from tinynet.commands import evaluate, explain, export, learn, predict, summary, train
from tinynet.commands.answers import complain
from tinynet.errors import DeviceError, Interrupted, TinynetError
from tinynet.output import finish

_COMMANDS = (train.add, predict.add, evaluate.add, explain.add, summary.add, export.add, learn.add, summary.add_about)


def main(arguments: list[str] | None = None) -> int:
    """Run a command. Returns the exit code.

    >>> main(["summary", "nothing.safetensors"])
    1
    """
    options = parser().parse_args(arguments)
    try:
        code: int = options.command(options)
        return code
    except DeviceError as error:
        return complain(error, 2)
    except TinynetError as error:
        return complain(error, 1)
    except MemoryError:
        return complain("there is not enough memory for this model and these images; try a smaller --batch-size", 1)
    except BrokenPipeError:  # `head` has closed the pipe
        return 0
    except OSError as error:
        place = f"{error.filename}: " if error.filename is not None else ""
        return complain(f"{place}the answer cannot be written ({error.strerror or error}); is the disk full?", 1)
    except Interrupted as interrupted:
        return complain(f"{interrupted}: the same command with --resume", interrupted.exit_code)
    except KeyboardInterrupt:
        return complain("interrupted", 130)
    finally:
        finish()


def parser() -> argparse.ArgumentParser:
    """The options of all commands."""
    text, _, codes = (__doc__ or "").partition("Exit codes")
    called = "python -m tinynet" if os.path.basename(sys.argv[0]) == "__main__.py" else "tinynet"
    made = argparse.ArgumentParser(called, description=text.partition("\n")[0], epilog=f"Exit codes{codes}")
    made.add_argument("--version", action="version", version=f"tinynet {__version__}")
    commands = made.add_subparsers(required=True, metavar="train|predict|evaluate|explain|summary|export|learn|about")
    for add in _COMMANDS:
        add(commands)
    return made


if __name__ == "__main__":
    sys.exit(main())
