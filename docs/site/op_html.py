"""Ops as HTML: tables of their equations, and their code, line by line."""

import re
import textwrap
from html import escape
from pathlib import Path

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer

from docs.site import op_text
from docs.site.equations import latex, mathml
from docs.site.verdicts import OpVerdict
from tests.support.op_texts import Function, functions, functions_of
from tinynet.op import Op, Update

ROOT = Path(__file__).resolve().parents[2]


def page_of(op: Op | Update) -> str:
    """The page that shows an op: one for each file of tinynet/ops, and one for the updates in place."""
    return f"ops/{op_text.file_of(op).stem}" if isinstance(op, Op) else "ops/updates"


def equation_row(op: Op | Update, equation: op_text.Equation, page: str, verdict: OpVerdict | None) -> str:
    """A row of a table: number, typeset equation and comment, line of code, verdict."""
    anchor = f"{op.name}-{equation.number}"
    own = f' id="{anchor}"' if verdict else ""
    say = f'<div class="say">{escape(equation.comment)}</div>' if equation.comment else ""
    tex = f"<details class=tex><summary>TeX</summary><code>{escape(latex(equation.formula))}</code></details>"
    lines = "".join(f'<a href="{page}#{op.name}-line-{line.number}" title="{line.path.name}, line {line.number}">'
                    f"<code>{escape(op_text.code(line))}</code></a>" for line in op_text.lines(op)[equation.number])
    return (f'<tr{own}><td class="n"><a href="{page}#{anchor}">({equation.number})</a></td>'
            f'<td class="formula"><div class="typeset">{mathml(equation.formula)}</div>{say}{tex * bool(verdict)}</td>'
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
    columns = '<colgroup><col class="n"><col><col class="line"></colgroup>'
    return f'<table class="equations">{columns}{html}</table>'


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


def op_code(op: Op | Update) -> str:
    """The op's functions. Helpers of other files have no line that carries one of its numbers alone."""
    found = functions_of(op) if isinstance(op, Op) else {
        op.name: functions(op_text.file_of(op))[op.name]}
    numbered = {name: function for name, function in found.items()
                if name in (op.name, f"d{op.name}") or any(line.equations for line in function.body)}
    files = list(dict.fromkeys(function.body[0].path.relative_to(ROOT) for function in numbered.values()))
    html = "".join(function_source(name, function, f"{op.name}-line") for name, function in numbered.items())
    return f"<details open><summary>{', '.join(map(str, files))}</summary>{html}</details>"
