"""The errors of the package: each says in one line what is wrong, the value seen and what to do."""

from collections.abc import Iterable
from typing import Any


class RadioWidgetsError(Exception):
    """Base of every error that radiowidgets raises on purpose."""

    def _render_traceback_(self) -> list[str]:
        """Notebooks show the line that says what to do; ``%debug`` still tells the whole story."""
        return [f"{type(self).__name__}: {self}"]


class ParameterError(RadioWidgetsError, ValueError):
    """An argument is outside what the function accepts."""


class MapError(RadioWidgetsError, ValueError):
    """A file or an array cannot be read as one map of the sky."""


class DataError(RadioWidgetsError):
    """A dataset is not registered, cannot be fetched or is not what it should be."""


class CatalogueError(RadioWidgetsError, ValueError):
    """A file cannot be read as a table of sources."""


class FrameError(RadioWidgetsError, ValueError):
    """Frames do not fit together, or a frame does not exist."""


class LabelError(RadioWidgetsError):
    """A label cannot be recorded, read or undone."""


class RunError(RadioWidgetsError):
    """A run folder cannot be created, opened or written."""


class ClusterError(RadioWidgetsError):
    """The workers that a job was given to are gone, or cannot be reached."""


class MissingExtraError(RadioWidgetsError, ImportError):
    """A feature needs an optional package that is not installed."""


def check_one_of(name: str, value: Any, options: Iterable[Any]) -> None:
    """Raise `ParameterError` unless `value` is one of `options`."""
    options = list(options)
    if value not in options:
        known = ", ".join(repr(option) for option in options)
        raise ParameterError(f"{name} is {value!r}; choose one of {known}.")
