"""Damaged files of every kind are read or refused in a line: no other error, no hang, no memory, no silent number."""

import pytest
from fuzz.damage import KINDS, check, damaged
from hypothesis import HealthCheck, Phase, given, seed, settings

SHORT = 200
#: How many of which kind, where there is time: 100,000 in all.
LONG = {
    "map": 21_000, "gzipped map": 10_000, "tiled map": 12_000, "tiled map of unsafe decoders": 300,
    "catalogue": 16_000, "gzipped catalogue": 6_000, "regions": 5_000, "labels": 10_000, "manifest": 5_000,
    "run": 4_700, "schema": 3_000, "features of sclassifier": 2_000, "data list of sclassifier": 2_000,
    "objects of caesar": 1_000, "scores of Astronomaly": 2_000, "card of a model": 1_000,
}  # fmt: skip
APART = "tiled map of unsafe decoders"  # each in a process of its own


def read_damaged(kind, path, count, start):
    """Read `count` damaged files; return how many were read and how many refused."""
    counts = {True: 0, False: 0}

    @seed(start)
    @settings(
        max_examples=count,
        phases=[Phase.generate, Phase.shrink],
        deadline=None,
        database=None,
        suppress_health_check=list(HealthCheck),
        print_blob=False,
    )
    @given(damaged(kind))
    def read(content):
        counts[check(kind, content, path)] += 1

    read()
    return counts


@pytest.mark.parametrize("kind", KINDS)
def test_whole_files_are_read(kind, tmp_path):
    for content in KINDS[kind][0]():
        assert check(kind, content, tmp_path / "whole.jsonl")


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_read_or_refused(kind, tmp_path):
    count = 6 if kind == APART else SHORT
    counts = read_damaged(kind, tmp_path / "damaged.jsonl", count, 1)
    assert counts[False] >= count // 20  # the damage does harm


@pytest.mark.soak
@pytest.mark.timeout(7200)
@pytest.mark.parametrize("kind", LONG)
def test_a_hundred_thousand_damaged_files_are_read_or_refused(kind, tmp_path):
    assert set(LONG) == set(KINDS) and sum(LONG.values()) == 100_000
    counts = read_damaged(kind, tmp_path / "damaged.jsonl", LONG[kind], 2)
    print(f"{kind}: {counts[True]} read, {counts[False]} refused")
    assert sum(counts.values()) >= 0.9 * LONG[kind]  # hypothesis makes few of them twice
