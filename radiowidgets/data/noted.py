"""`NotedTable`: a pandas table that knows its units and what was assumed when it was made."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar

import pandas as pd


class NotedTable(pd.DataFrame):
    """A DataFrame with units and notes, which selections and copies of it keep.

    Attributes
    ----------
    units : dict of str
        Unit of a column, as astropy writes it; columns without one are not in it.
    notes : list of str
        What was missing, assumed, converted or left out, a short line each.
    """

    _metadata: ClassVar[list[str]] = ["units", "notes"]

    units: dict[str, str]
    notes: list[str]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for name in self._metadata:  # past pandas, which would take them for columns
            object.__setattr__(self, name, self._default(name))

    @staticmethod
    def _default(name: str) -> Any:
        return {} if name == "units" else [] if name == "notes" else None

    @property
    def _constructor(self) -> Callable[..., NotedTable]:
        return type(self)
