"""The study of thresholds: groups, importances, the scan, the curves and Table 4."""

import numpy as np
import pandas as pd
import pytest

from radiowidgets.errors import ParameterError
from radiowidgets.ranking.thresholds import (
    GROUPS,
    crossing,
    feature_importances,
    forest_scores,
    group_frames,
    is_interesting,
    scan_forest,
    score_histograms,
    table_4,
    threshold_curves,
)


def tagged(*frames: tuple[str, ...]) -> pd.DataFrame:
    names = ("COMPACT", "EXTENDED", "RADIO-GALAXY", "DIFFUSE", "DIFFUSE-LARGE", "ARTEFACT", "PECULIAR")
    return pd.DataFrame([[name in tags for name in names] for tags in frames], columns=names)


def drawn(
    rng: np.random.Generator, count: int = 600, wide: int = 8
) -> tuple[pd.DataFrame, np.ndarray, np.ndarray]:
    """Values, groups and interest of frames: columns a and b tell complex frames, peculiar ones lie farthest out."""
    kind = rng.choice(["ordinary", "complex", "peculiar"], count, p=[0.8, 0.13, 0.07])
    shift = pd.Series(kind).map({"ordinary": 0.0, "complex": 2.5, "peculiar": 5.0}).to_numpy()
    values = pd.DataFrame(rng.normal(size=(count, wide)), columns=list("abcdefghijkl"[:wide]))
    values["a"] += shift
    values["b"] += 0.5 * shift
    return values, kind, kind != "ordinary"


def test_tags_make_the_groups_of_the_paper():
    tags = tagged(
        ("COMPACT",),
        ("COMPACT", "ARTEFACT"),
        ("COMPACT", "EXTENDED"),
        ("RADIO-GALAXY",),
        ("DIFFUSE-LARGE", "PECULIAR"),
        (),
    )
    assert list(group_frames(tags)) == [
        "compact",
        "ordinary",
        "complex",
        "complex",
        "peculiar",
        "unclassified",
    ]
    assert list(is_interesting(tags)) == [False, False, True, False, True, False]
    with pytest.raises(ParameterError, match="no column PECULIAR"):
        group_frames(tags.drop(columns="PECULIAR"))


def test_the_features_that_tell_come_first():
    rng = np.random.default_rng(1)
    values, _, interesting = drawn(rng)
    table = feature_importances(values, interesting, blocks=np.arange(600) // 20, splits=4)
    assert list(table.index[:2]) == ["a", "b"]
    assert table["gain"].sum() == pytest.approx(1)
    assert table["rank"].iloc[0] == 1
    assert 0.7 < table.attrs["f1"] <= 1
    again = feature_importances(values, interesting, blocks=np.arange(600) // 20, splits=4)
    pd.testing.assert_frame_equal(table, again)


def test_overlapping_frames_do_not_stand_on_both_sides():
    """Features that only name the block tell nothing of other blocks."""
    rng = np.random.default_rng(2)
    block = np.repeat(np.arange(60), 10)
    interesting = rng.random(60)[block] < 0.4
    values = pd.DataFrame({"name": rng.permutation(60)[block] + 0.0, "noise": rng.normal(size=600)})
    kept = feature_importances(values, interesting, blocks=block, splits=5)
    leaking = feature_importances(values, interesting, splits=5)
    assert leaking.attrs["f1"] > 0.9
    assert kept.attrs["f1"] < 0.6


@pytest.mark.parametrize(
    ("interesting", "blocks", "said"),
    [(np.zeros(600, bool), None, "cannot be divided"), (np.zeros(5, bool), None, "600 rows")],
)
def test_importances_refuse_what_they_cannot_tell(interesting, blocks, said):
    values, _, _ = drawn(np.random.default_rng(3))
    with pytest.raises(ParameterError, match=said):
        feature_importances(values, interesting, blocks=blocks)


def test_curves_count_what_a_threshold_selects():
    rng = np.random.default_rng(4)
    scores = rng.integers(0, 40, 500) / 40  # with ties
    kinds = rng.choice(GROUPS, 500)
    curves = threshold_curves(scores, kinds)
    assert curves["threshold"].is_monotonic_decreasing
    assert curves["recall"].iloc[-1] == 1
    for row in curves.iloc[::7].itertuples():
        chosen = kinds[scores >= row.threshold]
        known = chosen[chosen != "unclassified"]
        assert row.selected == len(chosen)
        assert row.recall == pytest.approx((chosen == "peculiar").sum() / (kinds == "peculiar").sum())
        assert row.precision == pytest.approx((known == "peculiar").mean())
        assert row.complex == pytest.approx((known == "complex").mean())
        assert row.ordinary == pytest.approx(np.isin(known, ["ordinary", "compact"]).mean())
        assert row.precision_complex == pytest.approx(row.precision + row.complex)
        assert row.unclassified == pytest.approx((chosen == "unclassified").mean())


def test_recall_and_precision_cross_where_as_many_are_selected_as_are_peculiar():
    kinds = np.array(["peculiar"] * 10 + ["complex"] * 20 + ["ordinary"] * 70)
    scores = np.random.default_rng(5).random(100) + 0.3 * (kinds == "peculiar")
    at = crossing(threshold_curves(scores, kinds))
    assert at["selected"] == 10
    assert at["recall"] == at["precision"] > 0
    tied = np.round(scores, 1)  # the first frames are not peculiar, and no threshold selects ten
    tied[20] = 2
    at = crossing(threshold_curves(tied, kinds))
    assert at["recall"] > 0 and 5 < at["selected"] < 20


def test_table_4_has_the_layout_of_the_paper():
    kinds = np.array(["peculiar"] * 4 + ["complex"] * 6 + ["compact"] * 30)
    good = np.r_[[0.9, 0.8, 0.7, 0.3], [0.75, *[0.2] * 5], [0.1] * 30]
    table = table_4({"top2": good, "perfect": np.r_[np.ones(4), np.zeros(36)]}, kinds)
    assert table.index.name == "Features"
    assert list(table.columns) == [
        *("Thr.", "R (%)", "P (%)", "P_pec+complex (%)"),
        *("C_complex (%)", "C_ordinary (%)"),
    ]
    assert list(table.loc["top2"]) == pytest.approx([0.7, 75, 75, 100, 25, 0])
    assert list(table.loc["perfect"]) == pytest.approx([1, 100, 100, 100, 0, 0])


@pytest.mark.parametrize(
    ("scores", "kinds", "said"),
    [
        (np.zeros(3), ["ordinary"] * 3, "No frame is peculiar"),
        (np.zeros(3), ["peculiar"] * 2, "give n of both"),
        (np.array([1.0, np.nan]), ["peculiar"] * 2, "not finite"),
    ],
)
def test_curves_refuse_what_they_cannot_count(scores, kinds, said):
    with pytest.raises(ParameterError, match=said):
        threshold_curves(scores, kinds)


def test_contamination_moves_the_cut_and_not_the_scores():
    from sklearn.ensemble import IsolationForest

    values, kinds, _ = drawn(np.random.default_rng(6), 500, 4)
    table = scan_forest(
        values, kinds, order=["a", "b", "c", "d"], tops=(2, 4), max_samples=("auto", 0.1), trees=30
    )
    assert len(table) == 2 * 2 * 4
    alike = table.groupby(["top", "max_samples"])
    assert (alike[["crossing", "ordinary"]].nunique() == 1).all(axis=None)
    assert (alike["cut"].nunique() == 4).all()
    for row in table[(table["top"] == 2) & (table["max_samples"] == 0.1)].itertuples():
        forest = IsolationForest(
            n_estimators=30, max_samples=0.1, contamination=row.contamination, random_state=0
        )
        outlier = forest.fit_predict(values[["a", "b"]].to_numpy()) == -1
        assert row.selected == outlier.sum()
        assert row.recall == pytest.approx(outlier[kinds == "peculiar"].mean())


def test_scores_that_are_all_alike_cross_nowhere():
    values = pd.DataFrame({"a": np.zeros(100), "b": np.zeros(100)})
    kinds = np.array(["peculiar"] * 10 + ["ordinary"] * 90)
    table = scan_forest(values, kinds, tops=(2,), max_samples=("auto",), trees=5)
    assert (table["crossing"] == 0.1).all()


def test_forests_need_only_what_tells():
    values, kinds, _ = drawn(np.random.default_rng(7), 800, 12)
    table = table_4(
        {"two": forest_scores(values[["a", "b"]]), "all": forest_scores(values, max_samples="auto")}, kinds
    )
    assert table.loc["two", "R (%)"] > table.loc["all", "R (%)"]
    assert np.array_equal(forest_scores(values, seed=3), forest_scores(values, seed=3))


def test_histograms_count_every_frame_once():
    rng = np.random.default_rng(8)
    scores, kinds = rng.random(300), rng.choice(GROUPS, 300)
    table = score_histograms(scores, kinds, bins=20)
    assert table["all"].sum() == 300
    assert (table[["peculiar", "complex", "ordinary", "unclassified"]].sum(axis=1) == table["all"]).all()
    assert table["compact"].sum() == (kinds == "compact").sum()
    assert len(table.attrs["edges"]) == 21
