"""What a benchmark found, as lines that a program reads; ``tools/bench.py`` gathers them in one table."""

import json


def result(
    what: str,
    ours: float,
    peer: float | None = None,
    *,
    unit: str = "s",
    more: bool = False,
    than: str = "",
) -> None:
    """Print one line, ``RESULT`` and a JSON object.

    Parameters
    ----------
    what : str
        What was measured, in a few words, with how many of what.
    ours, peer : float
        The figures of radiowidgets and of the best peer in the same run; None where there is no peer.
    unit : str
        Of both.
    more : bool
        Whether the larger figure is the better one; a time is better where it is small.
    than : str
        Who the peer is, with a version where it is not installed beside us.
    """
    row = {"what": what, "ours": ours, "peer": peer, "unit": unit, "more": more, "than": than}
    print("RESULT " + json.dumps(row), flush=True)
