"""`tinynet explain`: pictures of what a model looks at, and a page of its worst mistakes."""

import argparse
import os
from html import escape
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from tinynet import explain as maps
from tinynet.atomic import write_whole
from tinynet.classifier import Classifier
from tinynet.commands.answers import add_command, complain, images_below, positive, show
from tinynet.data import read_image, scan_folder
from tinynet.drawing import available, map_over
from tinynet.errors import ArgumentError, DataError, counted, printable
from tinynet.output import json_text, say
from tinynet.saving.models import load

MISTAKES = 25  # on the page
METHODS = {
    "grad_cam": (maps.grad_cam, "where features speak for the class (Grad-CAM)", False),
    "gradient": (maps.gradient, "what the score loses without the pixel", True),
    "occlusion": (maps.occlusion, "fall of the probability if it is covered", True)}

_EXAMPLES = """\
  tinynet explain model.safetensors one.jpg two.png
  tinynet explain model.safetensors one.jpg --method occlusion --target dog
  tinynet explain model.safetensors my/images --out explained      # with a page of the worst mistakes"""


class Job(NamedTuple):
    """An image to explain: its path, its true class ("" if unknown), and the probabilities (K)."""

    path: str
    true: str
    shares: np.ndarray


def add(commands: Any) -> None:
    """Describe the command."""
    made = add_command(commands, "explain", explain, "pictures of what a model looks at in images", _EXAMPLES)
    made.add_argument("images", metavar="IMAGE", nargs="+",
                      help="an image file, or a folder; one with a folder for each class gets a page of mistakes")
    made.add_argument("--method", choices=METHODS, default="grad_cam", help="see tn.explain (default: grad_cam)")
    made.add_argument("--target", metavar="CLASS", help="the class to explain (default: the predicted one)")
    made.add_argument("--out", type=Path, default=Path("explained"), help="output folder (default: explained)")
    made.add_argument("--most", type=positive(int), default=100, metavar="N",
                      help="the most pictures of a folder (default: 100)")
    made.add_argument("--device", default="cpu", help="cpu, gpu, gpu:1 ..., or gpu-emulated (default: cpu)")


def explain(options: argparse.Namespace) -> int:
    """Write a picture for each image, with a map over it, and a page of mistakes for a folder with classes."""
    if not available():
        raise DataError("explain: pictures are drawn by matplotlib, which cannot be imported; pip install matplotlib")
    pictures = Classifier(load(options.model).to(options.device))
    if options.target is not None and options.target not in pictures.classes:
        raise ArgumentError(f"explain: --target must be one of {', '.join(map(printable, pictures.classes))}, got "
                            f"{printable(options.target)!r}; leave it out for the predicted class")
    written: list[dict[str, Any]] = []
    failed = 0
    for image in options.images:
        try:
            jobs, wrong, unusable = _jobs(pictures, image)
            failed = max(failed, unusable)
            for job in jobs[: options.most]:
                place = options.out / f"{len(written) + 1:03d}-{_plain(Path(job.path).stem)}.png"
                written.append(_drawn(pictures, job, options, place))
                if not options.json:
                    show(f"{printable(place)}: {written[-1]['title']}")
            if len(jobs) > options.most:
                say(f"{printable(image)}: pictures of {options.most} of {len(jobs):,} images; --most for more",
                    error=options.json)
            if wrong is not None:
                pages = sum("page" in one for one in written)
                page = _page(pictures, image, wrong, options, f"mistakes-{pages + 1}" if pages else "mistakes")
                written.append({"page": str(page), "mistakes": len(wrong)})
                if not options.json:
                    show(f"{printable(page)}: {min(len(wrong), MISTAKES)} of {counted(len(wrong), 'mistake')}, "
                         "the surest first")
        except DataError as fault:
            failed = complain(fault, 1)
    if options.json:
        show(json_text(written, indent=1))
    return failed


def _jobs(pictures: Classifier, image: str) -> tuple[list[Job], list[Job] | None, int]:
    """The images of an argument; the mistakes among them, the surest first, None without classes; the exit code."""
    if not os.path.isdir(image):
        return _unlabelled(pictures, [image])
    try:
        folder = scan_folder(image)
        labels = pictures.labels_of(folder.labels, folder.classes)
    except DataError:
        return _unlabelled(pictures, images_below(image))
    for name, reason in folder.skipped:
        say(f"skipped {printable(name)}: {reason}", error=True)
    p = pictures.probabilities(folder.images(pictures.size, pictures.channels))
    jobs = [Job(str(folder.root / name), pictures.classes[label], row)
            for name, label, row in zip(folder.names, labels, p, strict=True)]
    decided = pictures.decided(p)
    wrong = np.flatnonzero(decided != labels)
    order = wrong[np.argsort(-p[wrong, decided[wrong]], kind="stable")]
    return jobs, [jobs[index] for index in order], 0


def _unlabelled(pictures: Classifier, paths: list[str]) -> tuple[list[Job], None, int]:
    """The images that can be read, no mistakes, and the exit code: 1 if there are others."""
    read, pixels = [], []
    for path in paths:
        try:
            pixels.append(read_image(path, size=pictures.size, channels=pictures.channels))
            read.append(path)
        except DataError as fault:
            complain(fault, 1)
    if not read:
        return [], None, 1
    jobs = [Job(path, "", share) for path, share in zip(read, pictures.probabilities(np.stack(pixels)), strict=True)]
    return jobs, None, int(len(read) < len(paths))


def _drawn(pictures: Classifier, job: Job, options: argparse.Namespace, place: Path) -> dict[str, Any]:
    """Draw one picture. Returns what is said of it."""
    predicted = int(pictures.decided(job.shares[None])[0])
    target = predicted if options.target is None else pictures.classes.index(options.target)
    pixels = read_image(job.path, size=pictures.size, channels=pictures.channels)
    function, label, signed = METHODS[options.method]
    heat = function(pictures.model, pictures.inputs(pixels[None]), target)[0]
    name = pictures.classes[predicted]
    title = f"{printable(Path(job.path).name)}: {name} {job.shares[predicted]:.1%}"
    title += f", is {job.true}" * bool(job.true) + f"; map for {pictures.classes[target]}" * (target != predicted)
    map_over(place, pixels, heat, title=title, label=label, signed=signed)
    return {"image": job.path, "picture": str(place), "title": title, "class": name,
            "probability": float(job.shares[predicted]), "target": pictures.classes[target],
            **({"true": job.true} if job.true else {})}


def _plain(name: str) -> str:
    """A name for a file, of letters, digits, - and _."""
    return "".join(letter if letter.isalnum() or letter in "-_" else "_" for letter in name)[:80]


def _page(pictures: Classifier, folder: str, wrong: list[Job], options: argparse.Namespace, name: str) -> Path:
    """Write the page of the worst mistakes, with a picture of each. `name` is that of the page and of their folder."""
    rows = []
    for number, job in enumerate(wrong[:MISTAKES], 1):
        picture = f"{name}/{number:03d}.png"
        one = _drawn(pictures, job, options, options.out / picture)
        rows.append(f'<figure><img src="{picture}" alt=""><figcaption><strong>{escape(job.true)}</strong>, taken for '
                    f"<strong>{escape(one['class'])}</strong> ({one['probability']:.1%}): "
                    f"{escape(printable(job.path))}</figcaption></figure>")
    text = (f"The {len(rows)} surest of {counted(len(wrong), 'mistake')} of {escape(printable(str(options.model)))} on "
            f"{escape(printable(folder))}. Maps: {escape(METHODS[options.method][1])}." if rows else
            f"No mistakes of {escape(printable(str(options.model)))} on {escape(printable(folder))}.")
    page = Path(options.out, f"{name}.html")
    write_whole(page, _PAGE.format(text=text, rows="\n".join(rows)).encode())
    return page


_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Mistakes</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; margin: 2rem auto; max-width: 60rem; padding: 0 1rem; }}
figure {{ margin: 2rem 0; }}
img {{ max-width: 100%; }}
figcaption {{ overflow-wrap: anywhere; }}
</style>
</head>
<body>
<h1>Mistakes</h1>
<p>{text}</p>
{rows}
</body>
</html>
"""
