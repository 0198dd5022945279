"""The directives of our pages. Equations come from docstrings, code from files, figures from scripts.

    {op} lstm                        all of an op: contract, equations, verdicts, code, example
    {equations} lstm 7-13            these equations beside their lines of code, linked to the page of the op
    {formula}                        equations in its lines, for what stands in no docstring
    {code} tinynet/ops/lstm.py       lines of a file: :function: dlstm, or :from: and :to: text in the first and last
    {drawing} gates                  the figure that docs/figures/gates.py draws; :widget: marks its place for the lab
    {plain} tinynet.ops.lstm         the text of a module
    {exercise} dense                 an exercise, and the commands that check an answer

The role {eq}`lstm 7` is a link to an equation, and {op}`lstm` one to the page of an op. {number}`roofline packed` is
a number that docs/figures/roofline.py computes, as text: `in_text()["packed"]`.
"""

import ast
import importlib
import inspect
import re
import textwrap
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, ClassVar

from docutils import nodes
from docutils.parsers.rst import directives
from docutils.statemachine import StringList
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.typing import stringify_annotation

from docs.site import op_text
from docs.site.docstrings import to_rst
from docs.site.equations import mathml
from docs.site.op_html import ROOT, equation_table, op_code, page_of
from docs.site.palette import style_sheet
from docs.site.verdicts import OpVerdict, judge
from tinynet.learn import files
from tinynet.learn.exercises import EXERCISES
from tinynet.op import REGISTRY, Op, Update
from tinynet.types import ArrayLike


def raw(html: str) -> nodes.raw:
    return nodes.raw("", html, format="html")


class Base(SphinxDirective):
    """What our directives share."""

    required_arguments = 1
    has_content = False
    final_argument_whitespace = True

    def path_to(self, page: str) -> str:
        """A page or file of the site, as seen from this one."""
        return "../" * self.env.docname.count("/") + page

    def depends_on(self, path: Path) -> None:
        self.env.note_dependency(str(path))

    def plain_text(self, text: str) -> list[nodes.Node]:
        """A docstring's text: only in pages of reStructuredText."""
        box = nodes.container()
        self.state.nested_parse(StringList(to_rst(text.split("\n")), "docstring"), 0, box)
        return box.children


# --- equations ----------------------------------------------------------------------------------------------------

def numbers(text: str) -> set[int]:
    """The numbers of "1-6 14"."""
    found = set[int]()
    for word in text.replace(",", " ").split():
        first, _, last = word.partition("-")
        found |= {*range(int(first), int(last or first) + 1)}
    return found


class Equations(Base):
    def run(self) -> list[nodes.Node]:
        name, _, which = self.arguments[0].partition(" ")
        op = op_text.named(name)
        self.depends_on(op_text.file_of(op))
        only = numbers(which) if which else None
        known = {row.number for rows in op_text.text_of(op).equations.values() for row in rows}
        if only and not only <= known:
            raise self.error(f"{name} has no equations {sorted(only - known)}")
        return [raw(equation_table(op, self.path_to(page_of(op)) + ".html", None, only))]


class Formula(SphinxDirective):
    """Equations of the page's own, one a line, for what stands in no docstring."""

    has_content = True

    def run(self) -> list[nodes.Node]:
        return [raw("".join(f'<div class="formula">{mathml(line)}</div>' for line in self.content if line.strip()))]


class EquationRole(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        name, _, number = self.text.partition(" ")
        op = op_text.named(name)
        if int(number) not in op_text.lines(op):
            raise ValueError(f"{name} has no equation ({number})")
        page = "../" * self.env.docname.count("/") + page_of(op)
        return [raw(f'<a class="reference internal" href="{page}.html#{name}-{number}">({number})</a>')], []


class OpRole(SphinxRole):
    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        name = self.text
        page = "../" * self.env.docname.count("/") + page_of(op_text.named(name))
        return [raw(f'<a class="reference internal" href="{page}.html#op-{name}"><code>{name}</code></a>')], []


class NumberRole(SphinxRole):
    """A number of a figure, from the `in_text()` of its script."""

    def run(self) -> tuple[list[nodes.Node], list[nodes.system_message]]:
        name, _, key = self.text.partition(" ")
        known: dict[str, str] = importlib.import_module(f"docs.figures.{name}").in_text()
        if key not in known:
            raise ValueError(f"docs/figures/{name}.py computes no number {key!r}, but {', '.join(known)}")
        return [nodes.Text(known[key].replace("%", "\xa0%"))], []


# --- code -----------------------------------------------------------------------------------------------------------

class Code(Base):
    option_spec: ClassVar[dict[str, Any]] = {name: directives.unchanged_required
                                             for name in ("function", "from", "to")}

    def run(self) -> list[nodes.Node]:
        path = ROOT / self.arguments[0]
        self.depends_on(path)
        lines = path.read_text("utf-8").split("\n")
        first, last = self.bounds(lines)
        shown = "\n".join(lines[first - 1 : last])
        caption = f'<div class="code-caption">{escape(self.arguments[0])}, lines {first} to {last}</div>'
        language = "python" if path.suffix == ".py" else "c"
        block = nodes.literal_block(shown, textwrap.dedent(shown), language=language)
        return [raw(caption), block]

    def bounds(self, lines: list[str]) -> tuple[int, int]:
        """The first and the last line, from 1."""
        if name := self.options.get("function"):
            node = next((node for node in ast.walk(ast.parse("\n".join(lines)))
                         if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == name), None)
            if not node:
                raise self.error(f"{self.arguments[0]} has no {name}")
            body = node.body[1:] if ast.get_docstring(node) else node.body
            return body[0].lineno, node.end_lineno or 0
        found = []
        for text, start in ((self.options["from"], 0), (self.options["to"], None)):
            start = found[0] if start is None else start
            at = next((k for k in range(start, len(lines)) if text in lines[k]), None)
            if at is None:
                raise self.error(f"{self.arguments[0]} has no line with {text!r}")
            found.append(at)
        return found[0] + 1, found[1] + 1


# --- ops ------------------------------------------------------------------------------------------------------------

class OpDirective(Base):
    def run(self) -> list[nodes.Node]:
        op = op_text.named(self.arguments[0])
        self.depends_on(op_text.file_of(op))
        text = op_text.text_of(op)
        made = [raw(f'<span id="op-{op.name}"></span>'), *self.signature(op), *self.plain_text(text.head)]
        verdict = judge(op.name) if isinstance(op, Op) else OpVerdict("", 0.0, 0.0, {})
        if isinstance(op, Op):
            escaped = [number for number, one in verdict.equations.items() if not one.caught]
            if escaped or verdict.error > verdict.tolerance:
                raise self.error(f"{op.name}: gradient error {verdict.error}, not caught: {escaped}")
            made.append(raw(f'<p class="standing">Gradients checked by {verdict.method} when this page was built: '
                            f'<b class="right">relative error {verdict.error:.1e}</b>, at most '
                            f"{verdict.tolerance:.0e} allowed. Each line was checked again with a mistake planted on "
                            "it:</p>"))
        made.append(raw(equation_table(op, "", verdict)))
        for part in ("Shapes", "Because", "Cache", "Source"):
            if part in text.parts:
                made += self.part(part, text.parts[part])
        made.append(raw(op_code(op)))
        if text.example:
            made += [nodes.rubric("", "Example"), nodes.doctest_block(text.example, text.example, language="pycon")]
        return made

    def signature(self, op: Op | Update) -> list[nodes.Node]:
        if not isinstance(op, Op):
            return []
        call = f"tn.ops.{op.name}{op.__signature__}".replace("tinynet.tensor.", "")
        return [nodes.literal_block(call, call, language="python"),
                raw(f'<p class="contract">contract <code>{escape(op.contract.text)}</code></p>')]

    def part(self, name: str, text: str) -> list[nodes.Node]:
        lines = textwrap.dedent(" " * 10 + text.rstrip()).split("\n")
        if any("  " in line.strip() for line in lines) and name == "Because":
            content: list[nodes.Node] = [nodes.literal_block("\n".join(lines), "\n".join(lines), language="text")]
        else:
            content = self.plain_text(" ".join(line.strip() for line in lines))
        return [nodes.rubric("", name), *content]


class Plain(Base):
    """The text of a module, in pages of reStructuredText."""

    def run(self) -> list[nodes.Node]:
        return self.plain_text(inspect.cleandoc(importlib.import_module(self.arguments[0]).__doc__ or ""))


# --- figures, exercises -----------------------------------------------------------------------------------------------

@cache
def drawn(name: str) -> Any:
    """The Drawing of docs/figures/NAME.py."""
    return importlib.import_module(f"docs.figures.{name}").draw()


class DrawingDirective(Base):
    has_content = True
    option_spec: ClassVar[dict[str, Any]] = {"widget": directives.unchanged_required}

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        self.depends_on(ROOT / "docs" / "figures" / f"{name}.py")
        drawing = drawn(name)
        file = Path(self.env.app.outdir, "figures", f"{name}.svg")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(drawing.svg(fixed=True), "utf-8")
        widget = f' data-place="{escape(self.options["widget"])}"' if "widget" in self.options else ""
        caption = nodes.container(classes=["caption"])
        self.state.nested_parse(self.content, self.content_offset, caption)
        link = f'<a class="copy" href="{self.path_to(f"figures/{name}.svg")}" download>SVG</a>'
        return [raw(f'<figure class="drawing" id="{name}"{widget}>{drawing.svg()}'), caption,
                raw(f"{link}</figure>")]


class Exercise(Base):
    """An exercise: one of `tinynet learn`, which leaves lines of the library out, or one of docs/exercises."""

    def run(self) -> list[nodes.Node]:
        name = self.arguments[0]
        if name in EXERCISES:
            self.depends_on(ROOT / "tinynet" / "learn" / "exercises.py")
            number, task = [*EXERCISES].index(name) + 1, EXERCISES[name].task
            code = files.blank(name).partition('"""\n')[2].partition("EXERCISE = ")[2].partition("\n")[2].strip()
            commands = f"tinynet learn --exercises my_answers\ntinynet learn --check my_answers/{number}_{name}.py"
            say = f"The first command writes this and seven more files, and the second one checks {number}_{name}.py:"
        else:
            path = ROOT / "docs" / "exercises" / "blanks" / f"{name}.py"
            self.depends_on(path)
            text = path.read_text("utf-8")
            task, code = ast.get_docstring(ast.parse(text)) or "", text.partition('"""\n')[2].strip()
            commands = f"python -m docs.exercises {name} my_answer.py"
            say = f"Copy docs/exercises/blanks/{path.name} to my_answer.py, complete and check it:"
        box = nodes.container(classes=["exercise"])
        box += nodes.rubric("", "Exercise")
        for paragraph in task.split("\n\n"):
            box += nodes.paragraph("", "", *self.inline(" ".join(paragraph.split())))
        box += nodes.literal_block(code, code, language="python")
        box += nodes.paragraph("", say)
        box += nodes.literal_block(commands, commands, language="sh")
        return [box]

    @staticmethod
    def inline(text: str) -> list[nodes.Node]:
        """Text in which back quotes mark code."""
        parts = re.split(r"`([^`]+)`", text)
        return [nodes.literal("", part) if k % 2 else nodes.Text(part) for k, part in enumerate(parts)]


# --- Sphinx ---------------------------------------------------------------------------------------------------------

def plain_docstring(app: Sphinx, what: str, name: str, obj: Any, options: Any, lines: list[str]) -> None:
    lines[:] = to_rst(lines)


ARRAY_LIKE = [stringify_annotation(ArrayLike, mode) for mode in ("smart", "fully-qualified-except-typing")]


def short_signature(app: Sphinx, what: str, name: str, obj: Any, options: Any, signature: str | None,
                    returns: str | None) -> tuple[str | None, str | None]:
    """A signature with the name ArrayLike instead of what it stands for."""
    for long in ARRAY_LIKE:
        signature, returns = (text and text.replace(long, "ArrayLike") for text in (signature, returns))
    return signature, returns


def link_to_op(app: Sphinx, env: Any, node: Any, content: nodes.Node) -> nodes.Node | None:
    """`tn.ops.lstm` and `lstm` in back quotes lead to the op."""
    op = REGISTRY.get(node.get("reftarget", "").removeprefix("tn.ops."))
    if not op or not node["reftarget"].startswith("tn.ops."):
        return None
    page = "../" * node["refdoc"].count("/") + page_of(op)
    return nodes.reference("", "", content, refuri=f"{page}.html#op-{op.name}", internal=True)


def write_styles(app: Sphinx, error: Exception | None) -> None:
    if not error:
        own = (Path(__file__).parent / "static" / "tinynet.css").read_text("utf-8")
        Path(app.outdir, "_static", "tinynet.css").write_text(style_sheet() + own, "utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    for name, directive in (("op", OpDirective), ("equations", Equations), ("formula", Formula), ("code", Code),
                            ("drawing", DrawingDirective), ("exercise", Exercise), ("plain", Plain)):
        app.add_directive(name, directive, override=True)
    app.add_role("eq", EquationRole(), override=True)
    app.add_role("op", OpRole(), override=True)
    app.add_role("number", NumberRole(), override=True)
    app.connect("autodoc-process-docstring", plain_docstring)
    app.connect("autodoc-process-signature", short_signature)
    app.connect("missing-reference", link_to_op)
    app.connect("build-finished", write_styles)
    return {"version": "1", "parallel_read_safe": True}
