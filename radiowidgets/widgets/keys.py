"""The keys of Review: what each does, and which of them a user may choose."""

from collections.abc import Mapping
from typing import Any

from radiowidgets.errors import ParameterError
from radiowidgets.labels.schema import Schema

# What can be done, by which key, and in which words the cheat sheet says so.
ACTIONS: Mapping[str, tuple[str, str]] = {
    "large": ("Enter", "large view"),
    "note": ("n", "write a note (Enter or Esc ends it)"),
    "undo": ("u", "undo your last action"),
    "next": (" ", "next frame without a rating"),
    "jump": ("#", "go to a rank"),
    "find": ("/", "write a query"),
    "all": ("*", "select all frames shown"),
    "unfold": ("x", "unfold a stack, or fold it"),
    "like": ("s", "order by likeness to this frame"),
    "why": ("w", "why here"),
    "rerank": ("r", "re-rank by what you rated, and go to the top"),
    "moved": ("t", "show what moved up, or all again"),
    "invert": ("i", "invert the colours"),
    "history": ("h", "history of what was done"),
    "help": ("?", "this sheet"),
}

# What always does the same.
_FIXED: Mapping[str, str] = {
    **dict.fromkeys("012345", "rates"),
    **dict.fromkeys(("Backspace", "Delete"), "takes a rating back"),
    **dict.fromkeys(("ArrowLeft", "ArrowRight", "ArrowUp", "ArrowDown"), "moves"),
    **dict.fromkeys(("Home", "End", "PageUp", "PageDown"), "moves"),
    "Escape": "closes what is open",
    "Tab": "moves between the parts of the page",
}
# Keys of the bands and the large view, which static/large.js takes; the sheet leaves out those without words.
LARGE_KEYS: Mapping[str, str] = {
    "b": "next band (Shift: the one before; held down: blink)",
    "B": "",
    "+": "zoom in",
    "=": "",
    "-": "zoom out",
    ".": "show the whole frame",
    ",": "contours on and off",
    "[": "less contrast",
    "]": "more contrast",
}
_NAMED = {"Enter", "Insert", *(f"F{number}" for number in range(1, 13))}


def choose_keys(
    keys: Mapping[str, str | None] | None, schema: Schema, taken: Mapping[str, str] | None = None
) -> dict[str, str | None]:
    """Return the key of each action.

    Parameters
    ----------
    keys : mapping of action to key, optional
        Other keys than those of `ACTIONS`: one character, or the browser's name of a key ("Enter", "F2"). None
        leaves an action without a key.
    schema : Schema
        A key of one of its tags is the tag's, unless it was asked for here.
    taken : mapping of key to what it does, optional
        Further keys that are in use.

    Raises
    ------
    ParameterError
        If an action does not exist, a key is none, or one key would do two things; both are named.
    """
    asked = dict(keys or {})
    fixed = {**_FIXED, **(taken or {})}
    for action, key in asked.items():
        if action not in ACTIONS:
            raise ParameterError(f"keys names the action {action!r}; choose among {', '.join(ACTIONS)}.")
        if key is not None:
            _check(action, key, schema, fixed)
    chosen: dict[str, str | None] = {}
    for action, (usual, _) in ACTIONS.items():
        yields = usual in schema.keys or usual in (taken or {})
        chosen[action] = asked.get(action, None if yields else usual)
    users: dict[str, str] = {}
    for action, given in chosen.items():
        if given is None:
            continue
        if given in users:
            raise ParameterError(
                f"keys gives {action!r} and {users[given]!r} both the key {given!r}; choose another for one of them."
            )
        users[given] = action
    return chosen


def _check(action: str, key: Any, schema: Schema, fixed: Mapping[str, str]) -> None:
    if not isinstance(key, str) or not ((len(key) == 1 and key.isprintable()) or key in (*_NAMED, *fixed)):
        raise ParameterError(
            f"keys gives {action!r} the key {key!r}; give one character, 'Enter', 'Insert' or 'F1' to 'F12'."
        )
    if key in fixed:
        raise ParameterError(f"keys gives {action!r} the key {key!r}, which {fixed[key]}; choose another.")
    if key in schema.keys:
        tag = schema.keys[key].name
        raise ParameterError(
            f"keys gives {action!r} the key {key!r}, which is that of the tag {tag!r}; choose another."
        )
