"""Take single values out of FITS headers, which are untrusted text, without surprises or warnings."""

import contextlib
import math
import threading
import warnings
from collections.abc import Iterator
from typing import Any

from astropy.io import fits

# astropy reports oddities by warnings, and catching those changes state shared by all threads.
_warnings_lock = threading.RLock()


@contextlib.contextmanager
def caught_warnings() -> Iterator[list[warnings.WarningMessage]]:
    """Collect warnings instead of showing them, one thread at a time."""
    with _warnings_lock, warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        yield caught


def shorten(value: Any, length: int = 60) -> str:
    """Return untrusted text quoted, in one printable line of at most `length` characters."""
    text = value if isinstance(value, str) else str(value)
    text = "".join(character if " " <= character <= "~" else "?" for character in text).strip()
    if len(text) > length:
        text = text[: length - 3] + "..."
    return f"'{text}'" if isinstance(value, str) else text


def card(header: fits.Header, key: str, default: Any = None) -> Any:
    """Return the value of a card, or `default` where it is missing, undefined or cannot be parsed."""
    try:
        value = header.get(key, default)
    except (fits.VerifyError, ValueError, TypeError, KeyError, IndexError):
        return default
    return default if isinstance(value, fits.card.Undefined) else value


def number(header: fits.Header, key: str) -> float | None:
    """Return the finite value of a numeric card (also one written as text), else None."""
    value = card(header, key)
    if isinstance(value, bool) or value is None:
        return None
    try:
        result = float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return result if math.isfinite(result) else None
