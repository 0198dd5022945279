"""The equations of docstrings, which are one line of Unicode, as MathML and as LaTeX.

>>> latex("δzₖ = √(σ² + ε)")
'\\\\delta z_{k} = \\\\sqrt{\\\\sigma ^{2} + \\\\varepsilon }'
"""

import re
import unicodedata
from collections.abc import Iterator
from html import escape
from typing import NamedTuple

_BELOW = dict(zip("₀₁₂₃₄₅₆₇₈₉₊₋ₐₑₕᵢⱼₖₘₙₒₚᵣₛₜᵤᵥₓ", "0123456789+−aehijkmnoprstuvx", strict=True))
_ABOVE = dict(zip("⁰¹²³⁴⁵⁶⁷⁸⁹⁺⁻ᵀᵗˣᵖⁿʲⁱᵏʸˢᶻ", "0123456789+−Ttxpnjikysz", strict=True))
_MARKS = {"\u0303": ("~", "tilde"), "\u0302": ("^", "hat"), "\u0304": ("¯", "bar")}
_FUNCTIONS = ("tanh", "max", "min", "ln", "sign", "exp", "count", "mean", "floor", "diag", "Im")
_VARIABLES = ("loss", "low", "high", "index", "label", "condition", "prediction", "target", "delta", "value", "word",
              "momentum", "running", "batch", "step", "lr", "norm", "scale", "velocity", "decay", "carry", "dt")
_LATEX = {"∂": r"\partial", "ε": r"\varepsilon", "λ": r"\lambda", "Σ": r"\sum", "Π": r"\prod", "∫": r"\int",
          "⊙": r"\odot", "←": r"\leftarrow", "→": r"\to", "≥": r"\ge", "≤": r"\le", "≠": r"\ne", "≈": r"\approx",
          "±": r"\pm", "∞": r"\infty", "…": r"\dots", "−": "-", "·": r"\cdot", "×": r"\times", "%": r"\%"}


class Atom(NamedTuple):
    """A symbol with its scripts: kind is name, function, words, number, sign or root; `text`, or `inside` a root."""

    kind: str
    text: str
    below: "list[Atom]"
    above: "list[Atom]"
    inside: "list[Atom]"
    after: str  # the character that follows


def parse(text: str) -> list[Atom]:
    """The atoms of an equation."""
    line = unicodedata.normalize("NFD", text.replace("`", "").replace("≠", "\0")).replace("\0", "≠")
    atoms = list[Atom]()
    for atom in _atoms(line):
        if atom.kind == "words" and atoms and atoms[-1].kind == "words":  # words of one sentence are one text
            atom = atom._replace(text=f"{atoms.pop().text} {atom.text}")
        atoms.append(atom)
    return atoms


def _atoms(line: str) -> Iterator[Atom]:
    at = 0
    while at < len(line):
        if line[at].isspace():
            at += 1
            continue
        if line[at] == "√":
            inside, at = _under_root(line, at + 1)
            yield Atom("root", "", [], [], parse(inside), line[at : at + 1])
            continue
        kind, end = _symbol(line, at)
        text = line[at:end]
        below, above, at = _scripts(line, end)
        yield Atom(kind, text, below, above, [], line[at : at + 1])


def _symbol(line: str, at: int) -> tuple[str, int]:
    """The kind of the symbol at a place, and where it ends."""
    if found := re.compile(r"\d+(\.\d+)?").match(line, at):
        return "number", found.end()
    if not _is_letter(line[at]):
        return "sign", at + 2 if line.startswith("+=", at) else at + 1
    if line[at] in "δ∂Σ" or not _is_letter(line[at + 1 : at + 2]):
        return ("sign" if line[at] == "Σ" else "name"), _with_mark(line, at + 1)
    end = at
    while end < len(line) and (_is_letter(line[end]) or line[end] == "'"):
        end += 1
    word = line[at:end]
    if word in _FUNCTIONS:
        return "function", end
    return ("name" if word in _VARIABLES or line[end : end + 1] in {*_BELOW, *_ABOVE, "_"} else "words"), end


def _is_letter(character: str) -> bool:
    return (character.isalpha() and character not in _BELOW and character not in _ABOVE) or character == "∂"


def _with_mark(line: str, at: int) -> int:
    return at + 1 if line[at : at + 1] in _MARKS else at


def _scripts(line: str, at: int) -> tuple[list[Atom], list[Atom], int]:
    """Subscript and superscript at a place, and where they end: Unicode ones, _f, ^x with scripts of their own."""
    below, above = list[Atom](), list[Atom]()
    while at < len(line):
        table = next((table for table in (_BELOW, _ABOVE) if line[at] in table), None)
        start = at
        if table:
            while at < len(line) and line[at] in table:
                at += 1
            content = "".join(table[c] for c in line[start:at])
        elif found := re.compile(r"[_^](−?\w[\u0302-\u0304]?\w*)").match(line, at):
            content = found[1]
            if line[start] == "_":  # W_hᵀ is W with h below and T above
                content = content[: next((k for k, c in enumerate(content) if c in _ABOVE), len(content))]
            at = start + 1 + len(content)
        else:
            break
        if line[start] in _BELOW or line[start] == "_":
            below = parse(content)
        else:
            above = parse(content)
    return below, above, at


def _under_root(line: str, at: int) -> tuple[str, int]:
    """What stands under a root that begins at a place, without its brackets, and where it ends."""
    if line[at : at + 1] != "(":
        end = at
        while end < len(line) and not line[end].isspace() and line[end] not in "+-/)":
            end += 1
        return line[at:end], end
    depth, end = 0, at
    while end < len(line):
        depth += (line[end] == "(") - (line[end] == ")")
        end += 1
        if not depth:
            break
    return line[at + 1 : end - 1], end


# --- MathML -----------------------------------------------------------------------------------------------------------

def mathml(text: str) -> str:
    """An equation as MathML, with the docstring's line as its alternative text."""
    return (f'<math xmlns="http://www.w3.org/1998/Math/MathML" alttext="{escape(text)}"><mrow>'
            f"{_mathml_row(parse(text))}</mrow></math>")


def _mathml_row(atoms: list[Atom]) -> str:
    return "".join('<mspace width="0.2em"></mspace>' * gap + _mathml(atom) for gap, atom in _spaced(atoms))


def _spaced(atoms: list[Atom]) -> Iterator[tuple[bool, Atom]]:
    """Each atom, and whether a product stands before it: two factors with a blank between them."""
    for before, atom in zip([None, *atoms], atoms, strict=False):
        factors = before is not None and before.after == " " and before.kind in ("name", "number", "root")
        yield factors and atom.kind in ("name", "number", "root", "function"), atom


def _mathml(atom: Atom) -> str:
    if atom.kind == "root":
        return f"<msqrt><mrow>{_mathml_row(atom.inside)}</mrow></msqrt>"
    base, below, above = _mathml_base(atom), _mathml_row(atom.below), _mathml_row(atom.above)
    if below and above:
        base = f"<msubsup>{base}<mrow>{below}</mrow><mrow>{above}</mrow></msubsup>"
    elif below:
        base = f"<msub>{base}<mrow>{below}</mrow></msub>"
    elif above:
        base = f"<msup>{base}<mrow>{above}</mrow></msup>"
    if atom.kind == "function":
        base += "<mo>&#8289;</mo>" if atom.after in "([" else '<mspace width="0.17em"></mspace>'
    return base


def _mathml_base(atom: Atom) -> str:
    text = escape(atom.text)
    if atom.kind == "words":
        return f"<mtext>&#160;{text}&#160;</mtext>"
    if atom.kind == "number":
        return f"<mn>{text}</mn>"
    if atom.kind == "sign":
        return f'<mo stretchy="false">{"∑" if text == "Σ" else text}</mo>'
    if text[-1] in _MARKS:
        return f'<mover accent="true"><mi>{text[:-1]}</mi><mo>{_MARKS[text[-1]][0]}</mo></mover>'
    return f"<mi>{text}</mi>"


# --- LaTeX ------------------------------------------------------------------------------------------------------------

def latex(text: str) -> str:
    """An equation as LaTeX, for slides and papers."""
    return _latex_row(parse(text)).strip()


def _latex_row(atoms: list[Atom]) -> str:
    return " ".join("\\, " * gap + _latex(atom) for gap, atom in _spaced(atoms))


def _latex(atom: Atom) -> str:
    if atom.kind == "root":
        return rf"\sqrt{{{_latex_row(atom.inside)}}}"
    base = _latex_base(atom)
    base += f"_{{{_latex_row(atom.below)}}}" if atom.below else ""
    return base + (f"^{{{_latex_row(atom.above)}}}" if atom.above else "")


def _latex_base(atom: Atom) -> str:
    text = atom.text
    if atom.kind == "words":
        return rf"\text{{ {text} }}"
    if atom.kind == "function":
        return rf"\{text}" if text in ("tanh", "max", "min", "ln", "exp") else rf"\operatorname{{{text}}}"
    if text[-1] in _MARKS:
        return rf"\{_MARKS[text[-1]][1]}{{{_in_latex(text[:-1])}}}"
    known = _in_latex(text)
    if atom.kind == "name" and len(text) > 1:
        return rf"\mathrm{{{text}}}"
    return f"{known} " if known.startswith("\\") and (atom.below or atom.above or not atom.after.strip()) else known


def _in_latex(symbol: str) -> str:
    """A symbol in LaTeX; a Greek letter by its name in Unicode."""
    name = unicodedata.name(symbol, "") if len(symbol) == 1 else ""
    if symbol in _LATEX or not name.startswith("GREEK"):
        return _LATEX.get(symbol, symbol)
    letter = name.rpartition(" ")[2].lower()
    return "\\" + (letter.capitalize() if "CAPITAL" in name else letter)
