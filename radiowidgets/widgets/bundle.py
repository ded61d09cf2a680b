"""Joins the small JavaScript modules of a widget into the one module that anywidget loads.

A widget's front end is a string (`_esm`) which cannot import a neighbouring file. The modules in
``static/`` are ordinary ES modules, tested one by one; here they are put one after another in the order
of their imports, without a bundler.
"""

import re
from pathlib import Path

STATIC = Path(__file__).parent / "static"
_IMPORT = re.compile(r'^import \{[^}]*\} from "\./([a-z_]+)\.js";\n', re.MULTILINE)
_EXPORT = re.compile(r"^export (?!default)", re.MULTILINE)


def module(name: str) -> str:
    """Return the source of ``static/<name>.js`` with all it imports, directly or not, in front of it."""
    joined: dict[str, str] = {}

    def join(part: str) -> None:
        source = (STATIC / f"{part}.js").read_text("utf-8")
        for needed in _IMPORT.findall(source):
            if needed not in joined:
                join(needed)
        joined[part] = _EXPORT.sub("", _IMPORT.sub("", source))

    join(name)
    return "\n".join(joined.values())


def style(*names: str) -> str:
    """Return the text of each ``static/<name>.css``, one after another."""
    return "\n".join((STATIC / f"{name}.css").read_text("utf-8") for name in names)
