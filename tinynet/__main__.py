"""Use a saved model from the command line.

    tinynet predict MODEL IMAGE...     the classes of images, PNG or JPEG, of any size
    tinynet evaluate MODEL DATA        accuracy, precision and recall on DATA: "mnist", "digits", or a folder of images
                                       with a folder for each class; its part "test", if it has one
    tinynet export MODEL --onnx FILE   the model for other programs, in the ONNX format
    tinynet summary MODEL              layers, shapes, parameters, operations, memory
    tinynet about                      versions, processor, threads, devices

`python -m tinynet` is the same command. All take --json, for programs. MODEL is a file that tn.save has written. It
needs an input_shape, and should have classes and scaling, as examples/train_folder.py saves them; without a scaling,
pixels are divided by 255.

Exit codes: 0 done; 1 a fault of the model, an image or the data, one line on stderr for each, other images being
answered; 2 a wrong option or device; 130 interrupted.
"""

import argparse
import dataclasses
import os
import sys
from functools import partial
from typing import Any

from tinynet.about import __version__, about
from tinynet.classifier import Classifier, report, score
from tinynet.data import load as load_data
from tinynet.data import read_image, scan_folder
from tinynet.data.digits.mnist import find_below
from tinynet.errors import DataError, DeviceError, TinynetError, printable
from tinynet.export.onnx import to_onnx
from tinynet.nn.module import Module
from tinynet.nn.summary import in_bytes, rows
from tinynet.output import finish, json_text, say
from tinynet.saving.models import load

_AT_ONCE = 64  # images

show = partial(say, strict=True)  # the answers: they end where they cannot be written


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
        return complain(f"the answer cannot be written ({error.strerror or error}); is the disk full?", 1)
    except KeyboardInterrupt:
        return complain("interrupted", 130)
    finally:
        finish()


def parser() -> argparse.ArgumentParser:
    """The options."""
    text, _, codes = (__doc__ or "").partition("Exit codes")
    called = "python -m tinynet" if os.path.basename(sys.argv[0]) == "__main__.py" else "tinynet"
    made = argparse.ArgumentParser(called, description=text.partition("\n")[0], epilog=f"Exit codes{codes}")
    made.add_argument("--version", action="version", version=f"tinynet {__version__}")
    commands = made.add_subparsers(required=True, metavar="predict|evaluate|summary|export|about")
    for command, text in ((run_predict, "the classes of images"), (run_evaluate, "figures of a model on data"),
                          (run_summary, "the layers of a model"),
                          (run_export, "the model for other programs"), (run_about, "versions, processor and devices")):
        sub = commands.add_parser(command.__name__.removeprefix("run_"), help=text, description=text.capitalize())
        sub.set_defaults(command=command)
        if command is not run_about:
            sub.add_argument("model", metavar="MODEL", help="a file that tn.save has written")
        if command is run_predict:
            sub.add_argument("images", metavar="IMAGE", nargs="+", help="a PNG or JPEG file")
        if command is run_evaluate:
            sub.add_argument("data", metavar="DATA", help="mnist, digits, or a folder of images")
            sub.add_argument("--part", choices=("all", "train", "val", "test"),
                             help="of a folder that has parts (default: test if it has one, else all)")
        if command is run_export:
            sub.add_argument("--onnx", metavar="FILE", required=True, help="the file to write, in the ONNX format")
            sub.add_argument("--pixels", action="store_true", help="take images as bytes: the scaling is in the file")
            sub.add_argument("--probabilities", action="store_true", help="end with a softmax")
        sub.add_argument("--json", action="store_true", help="print JSON")
        if command in (run_predict, run_evaluate):
            sub.add_argument("--device", default="cpu", help="cpu, gpu, gpu:1 ..., or gpu-emulated (default: cpu)")
            sub.add_argument("--batch-size", type=_positive, default=_AT_ONCE, help="images at once (default: 64)")
    return made


def run_predict(options: argparse.Namespace) -> int:
    """Print the classes of images with their probabilities, the most probable first."""
    pictures = Classifier(load(options.model).to(options.device))
    answers: list[dict[str, Any]] = []  # in the order of the images, those that cannot be read included
    failed = 0
    for start in range(0, len(options.images), options.batch_size):
        read = []
        for path in options.images[start : start + options.batch_size]:
            answers.append({"image": path})
            try:
                read.append((answers[-1], read_image(path, size=pictures.size, channels=pictures.channels)))
            except DataError as error:
                failed = complain(error, 1)
                answers[-1]["error"] = one_line(error)
        if read:
            _answer(pictures, read, options)
    if options.json:
        show(json_text(answers, indent=1))
    return failed


def _answer(pictures: Classifier, read: list[tuple[dict[str, Any], Any]], options: argparse.Namespace) -> None:
    """Complete the answers, given with their pixels, by class and probabilities, and print them."""
    import numpy as np

    probabilities = pictures.probabilities(np.stack([pixels for _, pixels in read]), batch_size=options.batch_size)
    for (answer, _), row in zip(read, probabilities.tolist(), strict=True):
        ranked = dict(sorted(zip(pictures.classes, row, strict=True), key=lambda pair: -pair[1]))
        best = next(iter(ranked))
        answer.update({"class": best, "probability": ranked[best], "probabilities": ranked})
        if not options.json:
            show(f"{printable(answer['image'])}: "
                 + ", ".join(f"{name} {share:.1%}" for name, share in list(ranked.items())[:5]))


def run_evaluate(options: argparse.Namespace) -> int:
    """Print accuracy, precision and recall of each class, and the confusion matrix."""
    pictures = Classifier(load(options.model).to(options.device))
    images, labels, sentence, skipped = _labelled(pictures, options)
    probabilities = pictures.probabilities(images, batch_size=options.batch_size)
    found = score(labels, probabilities, pictures.classes)
    if options.json:
        show(json_text({"data": sentence, **found, "skipped": skipped}, indent=1))
        return 0
    show(sentence)
    for name, reason in skipped.items():
        show(f"  skipped {printable(name)}: {reason}")
    show(f"\n{report(found)}")
    return 0


def _labelled(pictures: Classifier, options: argparse.Namespace) -> tuple[Any, Any, str, dict[str, str]]:
    """Images (N,H,W,C), labels (N) of the model's classes, a sentence, and the reason for each skipped file."""
    if options.data in ("auto", "mnist", "digits") or find_below(options.data) is not None:
        data, sentence = load_data(options.data)
        size = (*data.test_images.shape[1:], 1)
        if size != (*pictures.size, pictures.channels):
            raise DataError(f"evaluate: {data.name} has images of {size}, and the model takes "
                            f"{(*pictures.size, pictures.channels)}; give a folder of images, which are resized")
        return (data.test_images[..., None], pictures.labels_of(data.test_labels, data.classes),
                f"{sentence} The test part.", {})
    folder = scan_folder(options.data, min_classes=1)
    part = options.part or ("test" if "test" in folder.parts else "all")
    if part != "all":
        folder = folder.select(folder.part_of == part)
        if not len(folder):
            raise DataError(f"evaluate: {printable(options.data)} must have images in its part {part!r}, and has none; "
                            "choose another --part")
    sentence = (f"{printable(options.data)}: {len(folder):,} images, {folder.layout}"
                f"{f', the part {part!r}' if folder.parts else ''}.")
    labels = pictures.labels_of(folder.labels, folder.classes)
    skipped = {one.name: one.reason for one in folder.skipped}
    return folder.images(pictures.size, pictures.channels), labels, sentence, skipped


def run_summary(options: argparse.Namespace) -> int:
    """Print the layers of a model, its input shape, classes and scaling."""
    model = load(options.model)
    if options.json:
        layers = [dataclasses.asdict(row) for row in rows(model, model.input_shape)]
        scaling = None if model.scaling is None else dataclasses.asdict(model.scaling)
        show(json_text({"input_shape": model.input_shape, "classes": model.classes, "scaling": scaling,
                        "parameters": sum(p.size for p in model.parameters()), "layers": layers}, indent=1))
        return 0
    show(f"{model.summary()}\n\n{_uses(model)}")
    return 0


def _uses(model: Module) -> str:
    return "\n".join([f"input     {model.input_shape or 'not said'}",
                      f"classes   {', '.join(model.classes) if model.classes else 'not said'}",
                      f"scaling   {model.scaling or 'not said: pixels / 255'}"])


def run_export(options: argparse.Namespace) -> int:
    """Write a model for other programs."""
    model = load(options.model)
    to_onnx(model, options.onnx, pixels=options.pixels, probabilities=options.probabilities)
    written = os.path.getsize(options.onnx)
    show(json_text({"file": options.onnx, "bytes": written}, indent=1) if options.json else
         f"written to {printable(options.onnx)}: {in_bytes(written)}")
    return 0


def run_about(options: argparse.Namespace) -> int:
    """Print versions, processor, threads and devices."""
    found = about()
    show(json_text(found.as_dict(), indent=1) if options.json else found)
    return 0


def one_line(error: object) -> str:
    """The message of an error, without line breaks and escape sequences."""
    return printable(" ".join(str(error).split()))


def complain(error: object, code: int) -> int:
    """Print an error on stderr. Returns the exit code."""
    say(f"tinynet: {one_line(error)}", error=True)
    return code


def _positive(text: str) -> int:
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


if __name__ == "__main__":
    sys.exit(main())
