"""Make the documentation site: `make docs`, or `python -m docs.site`.

    equations    the equations of docstrings as MathML and as LaTeX
    op_text      the parts of an op's docstring, and the line of code behind each equation
    op_html      ops as HTML: tables of equations, code
    verdicts     each equation checked, and checked again with a mistake planted on its line
    drawing      figures as SVG, in the colors of palette.py
    directives   what pages may contain: {op}, {equations}, {formula}, {code}, {drawing}, {exercise}, {number}
    pages        the pages of the site: those of the repository, and those made from the library
    links        dead links and outside requests in the pages that were built
"""
