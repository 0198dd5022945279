"""The settings of Sphinx. `python -m docs.site` calls it."""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from tinynet import __version__

project, author, version = "tinynet", "The tinynet authors", __version__
extensions = ["sphinx.ext.autodoc", "myst_parser", "docs.site.directives"]
html_theme, html_title, html_static_path, html_css_files = "furo", "tinynet", ["static"], ["tinynet.css"]
html_js_files = [("lab.js", {"type": "module"})]
html_copy_source = html_show_sourcelink = html_show_sphinx = html_show_copyright = False
html_favicon = "static/favicon.svg"
html_theme_options = {
    "light_css_variables": {"color-brand-primary": "#0060a8", "color-brand-content": "#0060a8"},
    "dark_css_variables": {"color-brand-primary": "#62b2f2", "color-brand-content": "#62b2f2"},
}
default_role, python_use_unqualified_type_names, add_module_names = "py:obj", True, False
autodoc_typehints, autodoc_member_order = "signature", "bysource"
myst_heading_anchors, myst_links_external_new_tab = 4, False
highlight_language = "none"  # of blocks that name no language: output, equations, help
pygments_style, pygments_dark_style = "default", "github-dark"
