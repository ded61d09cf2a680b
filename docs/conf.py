"""The site: `make docs` writes it to build/site. Pages are read where they lie, where links between them hold too.

Nothing is fetched, neither when the site is made nor when it is read. Notebooks are shown as they are stored, without
outputs; with ``DOCS_EXECUTE=force`` they are run first (half an hour), and their tables shown. Widgets and plots live
in a kernel, and are never shown here but in pictures.
"""

import os
import re
import sys
from pathlib import Path

from sphinx.addnodes import pending_xref

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

os.environ.setdefault("TF_ENABLE_ONEDNN_OPTS", "0")  # else TensorFlow tells of it, and of how it tells

import radiowidgets  # noqa: E402

project = "radiowidgets"
author = "The radiowidgets developers"
copyright = author  # noqa: A001
version = release = radiowidgets.__version__

extensions = ["myst_nb", "sphinx.ext.autodoc", "sphinx.ext.autosummary", "sphinx.ext.napoleon"]
root_doc = "docs/index"
include_patterns = ["docs/**", "notebooks/*.ipynb", "notebooks/README.md", "CHANGELOG.md"]
exclude_patterns = [".*", "build", "runs", "notebooks/runs", "radiowidgets", "tests", "**.part"]
nitpicky = False

nb_execution_mode = os.environ.get("DOCS_EXECUTE", "off")
nb_execution_timeout = 1800
nb_execution_in_temp = True  # runs/ is made there
suppress_warnings = ["mystnb.unknown_mime_type"]  # what loads the front end of plots
nb_ipywidgets_js: dict[str, dict[str, str]] = {}  # else pages ask a CDN for them
myst_heading_anchors = 3
myst_enable_extensions = ["colon_fence"]

autodoc_typehints = "none"  # types stand in the docstrings
autodoc_member_order = "bysource"
autodoc_default_options = {"members": True}
autosummary_generate = False
napoleon_google_docstring = False
napoleon_use_ivar = True
napoleon_use_rtype = False
add_module_names = False

html_theme = "pydata_sphinx_theme"
html_title = f"radiowidgets {release}"
html_static_path = ["static"]
html_css_files = ["site.css"]
html_sourcelink_suffix = ""
html_show_sourcelink = False
html_additional_pages = {"index": "redirect.html"}
templates_path = ["templates"]
html_sidebars = {"docs/*": [], "CHANGELOG": []}  # pages without pages below them
html_theme_options = {
    "navbar_align": "left",
    "show_prev_next": True,
    "secondary_sidebar_items": ["page-toc"],
    "navigation_depth": 2,
    "show_toc_level": 2,
    "footer_start": ["copyright"],
    "footer_end": [],
    "pygments_light_style": "default",
}


def link_names(_app, _what, _name, _obj, _options, lines: list[str]) -> None:
    """Make links of the public names between single backquotes in a docstring, and code of the rest."""
    lines[:] = [re.sub(r"(?<![`:\w])`([^`<>]+)`(?![`_])", _linked, line) for line in lines]


def _linked(found: re.Match[str]) -> str:
    name = found[1]
    if name.startswith("radiowidgets."):
        return f":py:obj:`{name}`"
    if name.partition(".")[0] in radiowidgets.__all__:
        return f":py:obj:`{name} <radiowidgets.{name}>`"
    return f"``{name}``"


def list_lessons(_app, name: str, source: list[str]) -> None:
    """Put the notebooks under their index, whose file is for readers of the repository too."""
    if name == "notebooks/README":
        told = "On these pages the lessons stand without what their cells show: open them in JupyterLab to see it."
        if nb_execution_mode == "off":
            source[0] = source[0].replace("\n## Exercises\n", f"\n{told}\n\n## Exercises\n")
        source[0] += "\n```{toctree}\n:hidden:\n:glob:\n\n*\n```\n"


def unlink_words(_app, doctree) -> None:
    """Leave links in the types of parameters to public names: other words, such as size, find some attribute."""
    for node in list(doctree.findall(pending_xref)):
        if node.get("refspecific") and node["reftarget"] not in radiowidgets.__all__:
            node.replace_self(node.children)


def setup(app) -> None:
    """Connect them."""
    app.connect("autodoc-process-docstring", link_names, priority=400)  # before napoleon's
    app.connect("source-read", list_lessons)
    app.connect("doctree-read", unlink_words)
