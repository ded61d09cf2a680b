"""Find rows by what they say: a small language of comparisons, read by `ast` and never executed.

Columns are float arrays, or `Words`: any number of short texts a row, such as tags.
"""

import ast
import difflib
import operator
import reprlib
import warnings
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import numpy as np

from radiowidgets.errors import ParameterError

MOST_LETTERS = 2000
MOST_DEPTH = 60

_ORDER: dict[type[ast.cmpop], Callable[[Any, Any], Any]] = {
    ast.Lt: operator.lt,
    ast.LtE: operator.le,
    ast.Gt: operator.gt,
    ast.GtE: operator.ge,
    ast.Eq: operator.eq,
    ast.NotEq: operator.ne,
}
_SUMS: dict[type[ast.operator], Callable[[Any, Any], Any]] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: np.true_divide,
}
_FUNCTIONS = {"abs": np.abs, "sqrt": np.sqrt, "log10": np.log10}
_NEGATED = {ast.NotEq: ast.Eq, ast.NotIn: ast.In, ast.IsNot: ast.Is}


class Words:
    """Texts of rows: none, one or several each.

    Parameters
    ----------
    texts : sequence of str
        The texts, each once or more.
    codes : array of int, shape (m,)
        Which of them is said ...
    rows : array of int, shape (m,), optional
        ... of which row; one of each row in turn if left out.
    """

    def __init__(self, texts: Iterable[str], codes: Any, rows: Any = None):
        self.texts = [str(text).casefold() for text in texts]
        self.codes = np.asarray(codes, dtype=np.int64)
        self.rows = None if rows is None else np.asarray(rows, dtype=np.int64)

    @classmethod
    def gather(cls, pairs: Iterable[tuple[int, str]]) -> "Words":
        """Make a column of (row, text)."""
        known: dict[str, int] = {}
        rows, codes = [], []
        for row, text in pairs:
            rows.append(row)
            codes.append(known.setdefault(text, len(known)))
        return cls(known, codes, rows)

    def where(self, test: Callable[[str], bool], count: int) -> np.ndarray:
        """Return which of `count` rows have a text that passes `test`, as bool (count,)."""
        passed = np.fromiter((test(text) for text in self.texts), dtype=bool, count=len(self.texts))[
            self.codes
        ]
        if self.rows is None:
            return passed
        mask = np.zeros(count, dtype=bool)
        mask[self.rows[passed]] = True
        return mask


def match(
    query: str, columns: Mapping[str, Callable[[], "np.ndarray | Words"]], count: int, known: str = ""
) -> np.ndarray:
    """Return which rows a query is true of.

    Comparisons (``< <= > >= == !=``, also chained), ``and``, ``or``, ``not``, parentheses, ``+ - * /``, ``abs``,
    ``sqrt``, ``log10``; ``"part" in column`` and ``column in ("a", "b")`` for texts, ``column in (4, 5)`` for
    numbers, ``column is None`` or ``isnan(column)`` where nothing is known; ``col("a b")`` for a column whose
    name is no plain word. Capitals and small letters are the same. A column of several texts a row equals a text if
    one of them does. ``!=`` is ``not ==``, so that it holds where nothing is known; other comparisons do not.

    Parameters
    ----------
    query : str
        At most 2,000 letters.
    columns : mapping of name to function
        Each gives its float (count,) array or its `Words` when asked.
    count : int
        Number of rows.
    known : str, optional
        What to say of the columns in an error; by default their names.

    Returns
    -------
    ndarray of bool, shape (count,)

    Raises
    ------
    ParameterError
        If the query is not of this language; it says where. Nothing in a query is ever executed.
    """
    if not isinstance(query, str):
        raise ParameterError(f"A query is a text such as 'rank < 100', not {reprlib.repr(query)}.")
    if not query.strip() or len(query) > MOST_LETTERS:
        raise ParameterError(
            f"The query has {len(query.strip())} letters; write one of 1 to {MOST_LETTERS} such as 'rank < 100'."
        )
    line = " ".join(query.splitlines()).strip()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # the parser's remarks on style
            tree = ast.parse(line, mode="eval")
    except SyntaxError as error:
        raise ParameterError(
            f"The query {reprlib.repr(query)} cannot be read at letter {error.offset or len(line)}: {error.msg}. "
            "Write comparisons joined by and, or, not."
        ) from error
    except (ValueError, RecursionError, MemoryError) as error:
        raise ParameterError(
            f"The query {reprlib.repr(query)} cannot be read; write a shorter, plainer one."
        ) from error
    with np.errstate(all="ignore"):
        return _Reader(line, columns, count, known).truth(tree.body)


class _Reader:
    """Works out the nodes of one query that it knows, and refuses all others."""

    def __init__(self, query: str, columns: Mapping[str, Any], count: int, known: str):
        self.query, self.columns, self.count = query, columns, count
        self.known = known or ", ".join(columns)
        self.read: dict[str, Any] = {}

    def refuse(self, node: ast.AST, why: str) -> NoReturn:
        text = ast.get_source_segment(self.query, node) or ""
        before = self.query.encode()[: getattr(node, "col_offset", 0)]  # the parser counts bytes
        place = len(before.decode(errors="ignore")) + 1
        raise ParameterError(f"In the query, at letter {place}, {reprlib.repr(text)}: {why}.")

    def truth(self, node: ast.AST, depth: int = 0) -> np.ndarray:
        """Work out what is true or false of each row."""
        if depth > MOST_DEPTH:
            self.refuse(node, "nested too deeply; write a plainer query")
        if isinstance(node, ast.BoolOp):
            parts = [self.truth(part, depth + 1) for part in node.values]
            return (np.logical_and if isinstance(node.op, ast.And) else np.logical_or).reduce(parts)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.Not):
            return ~self.truth(node.operand, depth + 1)
        if isinstance(node, ast.Compare):
            sides = [node.left, *node.comparators]
            pairs = zip(sides, node.ops, sides[1:], strict=False)
            return np.logical_and.reduce([self.compare(a, op, b, depth + 1) for a, op, b in pairs])
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "isnan":
            return self.unknown(self.value(self.argument(node), depth + 1), node)
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.BitAnd | ast.BitOr):
            self.refuse(node, "write and, or instead of &, |")
        return self.refuse(node, "nothing is compared here; write for instance 'rank < 100'")

    def compare(self, left: ast.expr, op: ast.cmpop, right: ast.expr, depth: int) -> np.ndarray:
        if type(op) in _NEGATED:
            return ~self.compare(left, _NEGATED[type(op)](), right, depth)
        nothing = [isinstance(side, ast.Constant) and side.value is None for side in (left, right)]
        if any(nothing) and isinstance(op, ast.Is | ast.Eq):
            column = left if nothing[1] else right
            return self.unknown(self.value(column, depth), column)
        if isinstance(op, ast.Is):
            self.refuse(right, "'is' goes with None only; write ==")
        a = self.value(left, depth)
        if isinstance(op, ast.In):
            return self.within(a, left, right, depth)
        b = self.value(right, depth)
        if isinstance(a, str) and isinstance(b, Words):
            a, b = b, a
        if isinstance(a, Words):
            if not isinstance(b, str) or not isinstance(op, ast.Eq):
                self.refuse(left, "a column of text goes with ==, != or in, and a text in quotes")
            return a.where(b.__eq__, self.count)
        for side, value in ((left, a), (right, b)):
            if isinstance(value, str | Words):
                self.refuse(side, "this is text; compare it with a column of text")
        return self.rows(_ORDER[type(op)](a, b), left)

    def within(self, a: Any, left: ast.expr, right: ast.expr, depth: int) -> np.ndarray:
        """Work out ``"part" in column`` and ``column in (one, other)``."""
        if isinstance(right, ast.Tuple | ast.List | ast.Set):
            parts = [self.compare(left, ast.Eq(), one, depth) for one in right.elts]
            return np.logical_or.reduce(parts) if parts else self.rows(np.zeros(self.count, bool), left)
        b = self.value(right, depth)
        if not isinstance(a, str) or not isinstance(b, Words):
            self.refuse(right, 'write "part" in a column of text, or a column in (one, other)')
        return b.where(lambda text: a in text, self.count)

    def value(self, node: ast.AST, depth: int) -> Any:
        """Work out a column, a number or a text (in small letters)."""
        if depth > MOST_DEPTH:
            self.refuse(node, "nested too deeply; write a plainer query")
        if isinstance(node, ast.Constant):
            return self.constant(node)
        if isinstance(node, ast.Name):
            return self.column(node.id, node)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.UAdd | ast.USub):
            number = self.number(node.operand, depth + 1)
            return -number if isinstance(node.op, ast.USub) else number
        if isinstance(node, ast.BinOp) and type(node.op) in _SUMS:
            sides = self.number(node.left, depth + 1), self.number(node.right, depth + 1)
            return _SUMS[type(node.op)](*sides)
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            inner = self.argument(node)
            if node.func.id == "col" and isinstance(inner, ast.Constant) and isinstance(inner.value, str):
                return self.column(inner.value, node)
            if node.func.id in _FUNCTIONS:
                return _FUNCTIONS[node.func.id](self.number(inner, depth + 1))
        return self.refuse(
            node, f"this is no column, number or text; functions are {', '.join(_FUNCTIONS)}, isnan, col"
        )

    def constant(self, node: ast.Constant) -> float | str:
        value = node.value
        if isinstance(value, str):
            return value.casefold()
        if isinstance(value, bool) or not isinstance(value, int | float):
            self.refuse(node, "give a number, or a text in quotes")
        try:
            return float(value)
        except OverflowError:
            return np.inf

    def number(self, node: ast.AST, depth: int) -> Any:
        value = self.value(node, depth)
        if isinstance(value, str | Words):
            self.refuse(node, "this is text, not a number")
        return value

    def column(self, name: str, node: ast.AST) -> Any:
        if name not in self.columns:
            near = difflib.get_close_matches(name, self.columns, 1)
            hint = f"did you mean {near[0]}? " if near else ""
            self.refuse(node, f"there is no such column; {hint}There are {self.known}")
        if name not in self.read:
            self.read[name] = self.columns[name]()
        return self.read[name]

    def argument(self, node: ast.Call) -> ast.expr:
        if len(node.args) != 1 or node.keywords:
            self.refuse(node, "a function takes one column in parentheses")
        return node.args[0]

    def unknown(self, value: Any, node: ast.AST) -> np.ndarray:
        if isinstance(value, Words):
            return ~value.where(bool, self.count)
        if isinstance(value, str):
            self.refuse(node, "this is a text, not a column")
        return self.rows(np.isnan(value), node)

    def rows(self, value: Any, node: ast.AST) -> np.ndarray:
        if np.shape(value) != (self.count,):
            self.refuse(node, "one side of a comparison must be a column")
        return np.asarray(value, dtype=bool)
