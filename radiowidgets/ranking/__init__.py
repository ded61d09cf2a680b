"""Scores: what to look at first."""
