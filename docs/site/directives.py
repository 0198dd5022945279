"""The directives of our pages. Equations come from docstrings, code from files, figures from scripts.

    {op} lstm                        all of an op: contract, equations, verdicts, code, example
    {equations} lstm 7-13            these equations beside their lines of code, linked to the page of the op
    {formula}                        equations in its lines, for what stands in no docstring
    {code} tinynet/ops/lstm.py       lines of a file: :function: dlstm, or :from: and :to: text in the first and last
    {drawing} gates                  the figure that docs/figures/gates.py draws; :widget: marks its place for the lab
    {plain} tinynet.ops.lstm         the text of a module
    {exercise} softmax               the blank of docs/exercises/softmax.py, and the command that checks an answer

The role {eq}`lstm 7` is a link to an equation, and {op}`lstm` one to the page of an op.
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
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from sphinx.application import Sphinx
from sphinx.util.docutils import SphinxDirective, SphinxRole
from sphinx.util.typing import stringify_annotation

from docs.site import op_text
from docs.site.docstrings import to_rst
from docs.site.equations import latex, mathml
from docs.site.palette import style_sheet
from docs.site.verdicts import OpVerdict, judge
from tests.support.op_texts import Function, functions_of
from tinynet.op import REGISTRY, Op, Update
from tinynet.types import ArrayLike

ROOT = Path(__file__).resolve().parents[2]


def page_of(op: Op | Update) -> str:
    """The page that shows an op: one for each file of tinynet/ops, and one for the updates in place."""
    return f"ops/{op_text.file_of(op).stem}" if isinstance(op, Op) else "ops/updates"


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

def equation_row(op: Op | Update, equation: op_text.Equation, page: str, verdict: OpVerdict | None) -> str:
    """A row of a table: number, typeset equation and comment, line of code, verdict."""
    anchor = f"{op.name}-{equation.number}"
    own = f' id="{anchor}"' if verdict else ""
    say = f'<div class="say">{escape(equation.comment)}</div>' if equation.comment else ""
    tex = f"<details class=tex><summary>TeX</summary><code>{escape(latex(equation.formula))}</code></details>"
    lines = "".join(f'<a href="{page}#{op.name}-line-{line.number}" title="{line.path.name}, line {line.number}">'
                    f"<code>{escape(op_text.code(line))}</code></a>" for line in op_text.lines(op)[equation.number])
    return (f'<tr{own}><td class="n"><a href="{page}#{anchor}">({equation.number})</a></td>'
            f'<td class="formula">{mathml(equation.formula)}{say}{tex if verdict else ""}</td>'
            f'<td class="line">{lines}{verdict_of(verdict, equation.number)}</td></tr>')


def verdict_of(verdict: OpVerdict | None, number: int) -> str:
    if not verdict or number not in verdict.equations:
        return ""
    planted, caught = verdict.equations[number]
    name = re.sub(r"^\(\d+\) ", "", planted)
    word = (f'<b class="right">caught</b>: {escape(caught)}' if caught else '<b class="wrong">not caught</b>')
    return f'<div class="verdict">planted “{escape(name)}” {word}</div>'


def equation_table(op: Op | Update, page: str, verdict: OpVerdict | None, only: set[int] | None = None) -> str:
    html = ""
    for part, rows in op_text.text_of(op).equations.items():
        shown = [row for row in rows if only is None or row.number in only]
        if shown:
            say = "".join(f' <span class="say">{escape(row.comment)}</span>' for row in rows if not row.number)
            html += f'<tr class="part"><th colspan="3">{part}{say}</th></tr>'
            html += "".join(equation_row(op, row, page, verdict) for row in shown if row.number)
    return f'<table class="equations">{html}</table>'


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
        page = "../" * self.env.docname.count("/") + page_of(op_text.named(self.text))
        return [raw(f'<a class="reference internal" href="{page}.html#op-{self.text}"><code>{self.text}</code></a>')], []


# --- code -----------------------------------------------------------------------------------------------------------

def source(text: str, first: int, anchor: str = "") -> str:
    """Python as HTML. With an anchor, each line has the id ANCHOR-NUMBER."""
    formatter = HtmlFormatter(linenostart=first, wrapcode=True, **({"linespans": anchor} if anchor else {}))
    html: str = highlight(textwrap.dedent(text), PythonLexer(stripnl=False), formatter)
    return f'<div class="highlight-python notranslate">{html}</div>'


def function_source(name: str, function: Function, anchor: str) -> str:
    """A function without its text."""
    lines = function.body[0].path.read_text("utf-8").split("\n")
    head = next(n for n in range(function.first, function.body[0].number) if lines[n - 1].rstrip().endswith(":"))
    return (source("\n".join(lines[function.first - 1 : head]), function.first, anchor)
            + source("\n".join(line.text for line in function.body), function.body[0].number, anchor))


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
            made.append(raw(f'<p class="standing">Gradients checked by {verdict.method} as this page was made: '
                            f'<b class="right">relative error {verdict.error:.1e}</b>, at most '
                            f"{verdict.tolerance:.0e} allowed. Then once more with a mistake on each line:</p>"))
        made.append(raw(equation_table(op, "", verdict)))
        for part in ("Shapes", "Because", "Cache", "Source"):
            if part in text.parts:
                made += self.part(part, text.parts[part])
        made.append(raw(self.code(op)))
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

    def code(self, op: Op | Update) -> str:
        """The op's functions. Helpers of other files have no line that carries one of its numbers alone."""
        found = functions_of(op) if isinstance(op, Op) else {
            op.name: op_text.functions(op_text.file_of(op))[op.name]}
        numbered = {name: function for name, function in found.items()
                    if name in (op.name, f"d{op.name}") or any(line.equations for line in function.body)}
        files = list(dict.fromkeys(function.body[0].path.relative_to(ROOT) for function in numbered.values()))
        html = "".join(function_source(name, function, f"{op.name}-line") for name, function in numbered.items())
        return f"<details open><summary>{', '.join(map(str, files))}</summary>{html}</details>"


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
        widget = f' data-widget="{escape(self.options["widget"])}"' if "widget" in self.options else ""
        caption = nodes.container(classes=["caption"])
        self.state.nested_parse(self.content, self.content_offset, caption)
        link = f'<a class="copy" href="{self.path_to(f"figures/{name}.svg")}" download>SVG</a>'
        return [raw(f'<figure class="drawing" id="{name}"{widget}>{drawing.svg()}'), caption,
                raw(f"{link}</figure>")]


class Exercise(Base):
    def run(self) -> list[nodes.Node]:
        path = ROOT / "docs" / "exercises" / f"{self.arguments[0]}.py"
        self.depends_on(path)
        text = path.read_text("utf-8")
        task = (ast.get_docstring(ast.parse(text)) or "").strip()
        blank = text.partition('"""\n')[2].partition("# --- the check")[0].strip()
        command = f"python -m docs.exercises {self.arguments[0]} my_answer.py"
        box = nodes.container(classes=["exercise"])
        box += nodes.rubric("", "Exercise")
        for paragraph in task.split("\n\n"):
            box += nodes.paragraph("", "", *self.state.inline_text(" ".join(paragraph.split()), self.lineno)[0])
        box += nodes.literal_block(blank, blank, language="python")
        box += nodes.paragraph("", "Copy these lines into my_answer.py, fill in the blanks, and check them:")
        box += nodes.literal_block(command, command, language="sh")
        return [box]


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
    for name, directive in (("op", OpDirective), ("equations", Equations), ("code", Code),
                            ("drawing", DrawingDirective), ("exercise", Exercise), ("plain", Plain), ("formula", Formula)):
        app.add_directive(name, directive, override=True)
    app.add_role("eq", EquationRole(), override=True)
    app.add_role("op", OpRole(), override=True)
    app.connect("autodoc-process-docstring", plain_docstring)
    app.connect("autodoc-process-signature", short_signature)
    app.connect("missing-reference", link_to_op)
    app.connect("build-finished", write_styles)
    return {"version": "1", "parallel_read_safe": True}
