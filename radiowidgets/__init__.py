"""From radio survey maps to a ranked, labelled, explained list of peculiar objects."""

__version__ = "0.1.0"
