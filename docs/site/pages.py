"""The sources of the site in one folder: pages of the repository at their places, and pages made from the library.

Links between pages are relative, so they hold here as they do in the repository. Files that pages link to are copied
beside them.
"""

import inspect
import re
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import tinynet as tn
from docs.site.op_html import ROOT, page_of
from docs.site.op_text import file_of, text_of
from tinynet.__main__ import parser
from tinynet.op import REGISTRY, UPDATES

PAGES = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "docs/*.md", "docs/chapters/*.md", "examples/RESULTS.md",
         "benchmarks/README.md", "benchmarks/RESULTS.md", "benchmarks/gpu_predictions.md",
         "tinynet/backend/cuda/README.md")
# The pages of the reference: title, text, and what it documents, by module.
REFERENCE = {
    "tensors": ("Tensors and gradients", "", {"tinynet": ["Tensor", "no_grad", "gradcheck", "Report", "seed", "using",
                                                          "precision", "devices", "threads", "set_threads",
                                                          "from_dlpack", "about"]}),
    "layers": ("Layers", "nn", {"tinynet.nn": tn.nn.__all__, "tinynet.init": "functions"}),
    "models": ("Models", "models", {"tinynet.models": "functions"}),
    "optimizers": ("Optimizers", "optim", {"tinynet.optim": tn.optim.__all__}),
    "data": ("Data", "", {"tinynet.data": tn.data.__all__}),
    "training": ("Training", "", {"tinynet": ["fit", "evaluate", "predict"], "tinynet.callbacks": "own"}),
    "metrics": ("Metrics", "metrics", {"tinynet.metrics": "functions"}),
    "saving": ("Saving", "", {"tinynet": ["save", "load", "to_onnx"]}),
    "exchange": ("Weights of other libraries", "", {"tinynet.exchange": "own"}),
    "errors": ("Errors", "errors", {"tinynet.errors": "own"}),
}


def stage(folder: Path) -> None:
    """Write the sources of the site into a folder. A file that has not changed is left alone."""
    wanted = {**repository(), **ops(), **reference()}
    wanted["index.md"] = front(wanted).encode()
    for path in [path for path in folder.rglob("*") if path.is_file()]:
        if path.relative_to(folder).as_posix() not in wanted:
            path.unlink()
    for name, content in wanted.items():
        path = folder / name
        if not path.exists() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def repository() -> dict[str, bytes]:
    """The pages of the repository, and the files that they link to."""
    pages = [path for pattern in PAGES for path in sorted(ROOT.glob(pattern))]
    found = {path.relative_to(ROOT).as_posix(): path.read_bytes() for path in pages}
    for page in pages:
        text = re.sub(r"```.*?```", "", page.read_text("utf-8"), flags=re.S)
        for link in re.findall(r"\]\(([^)\s#]+)", text):
            target = (page.parent / link).resolve()
            if not link.startswith("http") and target.is_file():
                found.setdefault(target.relative_to(ROOT).as_posix(), target.read_bytes())
    return found


def front(pages: Iterable[str]) -> str:
    """The first page. Pages that it does not list are added to its lists: those of docs/ for use, others to results."""
    text = (ROOT / "docs" / "site" / "front.md").read_text("utf-8")
    listed = {line.partition("<")[2].rstrip(">") or line for line in text.split("\n")}
    rest = [page for page, _, suffix in (name.rpartition(".") for name in pages)
            if suffix == "md" and page not in listed and not page.startswith("docs/chapters/")]
    for last, ours in (("docs/limits", True), ("docs/paper", False)):
        new = "".join(f"{page}\n" for page in rest if page.startswith("docs/") == ours)
        text = text.replace(f"{last}\n", f"{new}{last}\n", 1)
    return text


# --- made from the library ------------------------------------------------------------------------------------------

def heading(text: str, mark: str = "=") -> str:
    return f"{text}\n{mark * len(text)}\n\n"


def ops() -> dict[str, bytes]:
    """A page for each file of tinynet/ops, with all of its ops, and one for the updates in place."""
    pages = dict[str, str]()
    updates = [update for update in UPDATES.values() if text_of(update).equations]
    for op in [*REGISTRY.values(), *updates]:
        name = page_of(op)
        if name not in pages:
            pages[name] = heading(file_of(op).name if name != "ops/updates" else "Updates in place")
            pages[name] += f".. plain:: {op.module}\n\n" * (name != "ops/updates")
        pages[name] += f"{heading(op.name, '-')}.. op:: {op.name}\n\n"
    listing = "\n".join(f"   {name.removeprefix('ops/')}" for name in sorted(pages))
    pages["ops/index"] = heading("Ops") + f".. plain:: tinynet.ops\n\n.. toctree::\n   :maxdepth: 2\n\n{listing}\n"
    return {f"{name}.rst": text.encode() for name, text in pages.items()}


def reference() -> dict[str, bytes]:
    pages = {}
    for name, (title, module, parts) in REFERENCE.items():
        text = heading(title) + (f".. plain:: tinynet.{module}\n\n" if module else "")
        for package, names in parts.items():
            text += "".join(entry(package, each) for each in listed(package, names))
        pages[f"reference/{name}.rst"] = text.encode()
    pages["reference/command.rst"] = command_line().encode()
    return pages


def listed(package: str, names: Any) -> list[str]:
    """The names to document: those given, or all functions and classes of a module, or those defined in it."""
    if not isinstance(names, str):
        return [*names]
    module: Any = tn
    for part in package.split(".")[1:]:
        module = getattr(module, part)
    public = getattr(module, "__all__", None) or [
        name for name, value in vars(module).items() if not name.startswith("_")
        and (inspect.isfunction(value) or inspect.isclass(value)) and value.__module__ == module.__name__]
    return [*public]


def entry(package: str, name: str) -> str:
    module: Any = tn
    for part in package.split(".")[1:]:
        module = getattr(module, part)
    value = getattr(module, name)
    members = "   :members:\n   :exclude-members: forward, op\n" * inspect.isclass(value)
    kind = "class" if inspect.isclass(value) else "function"
    return f".. auto{kind}:: {package}.{name}\n{members}\n"


def command_line() -> str:
    """The help of the command and of its commands."""
    made = parser()
    made.prog = "tinynet"
    commands: Any = next(action for action in made._actions if hasattr(action, "choices") and action.choices)
    text = heading("The command tinynet")
    for name, each in {"": made, **commands.choices}.items():
        each.prog = f"tinynet {name}".strip()
        text += (heading(name, "-") if name else "") + "::\n\n"
        text += "".join(f"   {line}\n" for line in each.format_help().rstrip().split("\n")) + "\n"
    return text


def clean(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)

