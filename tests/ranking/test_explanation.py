import numpy as np
import pandas as pd
import pytest
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets.errors import ParameterError
from radiowidgets.features.frames import CONTEXT, FEATURES, comparable_features
from radiowidgets.ranking.explanation import PLAIN, Explainer, describe, number
from radiowidgets.ranking.isolation import STRUCTURE, fit_forest

SKY = [name for name in FEATURES if name not in CONTEXT]


class Frames:
    """Just enough of a FrameSet: names and noise."""

    def __init__(self, n, blank=()):
        self.frame_ids = np.array([f"m-{i:04d}" for i in range(n)], dtype=object)
        fraction = np.zeros(n, np.float32)
        fraction[list(blank)] = 1
        self.noise = type("Noise", (), {"blank_fraction": fraction, "rms": np.ones(n, np.float32)})
        self.map_codes = np.zeros(n, np.int32)

    def __len__(self):
        return len(self.frame_ids)


def cloud(n=300, seed=0, blank=()):
    """Frames whose features are noise, but for number 17: a large, long island, a bright peak and many islands."""
    rng = np.random.default_rng(seed)
    frames = Frames(n, blank)
    values = rng.normal(size=(n, len(FEATURES))).astype(np.float32) * 0.2 + 1
    features = pd.DataFrame(values, columns=list(FEATURES), index=pd.Index(frames.frame_ids, name="frame_id"))
    features["islands"] = features["islands"].round()
    features["blank_fraction"] = frames.noise.blank_fraction
    features.loc["m-0017", ["log_peak_snr", "islands"]] = 3.5, 9.0
    features.loc["m-0017", ["log_island_beams", "island_elongation"]] = 3.0, 2.0
    return frames, features


def walk(tree, row, value):
    """What each split of one tree adds: plain Python, node by node."""
    moves, node = np.zeros(len(row)), 0
    while tree.children_left[node] != -1:
        feature = tree.feature[node]
        left = np.float32(row[feature]) <= tree.threshold[node]
        child = (tree.children_left if left else tree.children_right)[node]
        moves[feature] += value(child) - value(node)
        node = child
    return moves


def mean_path(tree, node, depth):
    """Mean path length of the training frames of a node, by recursion."""
    n = tree.n_node_samples[node]
    if tree.children_left[node] == -1:
        more = n - 1 if n <= 2 else 2 * (np.log(n - 1) + 0.5772156649) - 2 * (n - 1) / n
        return depth + more
    parts = [(tree.n_node_samples[c], mean_path(tree, c, depth + 1)) for c in children(tree, node)]
    return sum(count * length for count, length in parts) / n


def children(tree, node):
    return tree.children_left[node], tree.children_right[node]


def depth_of(tree, node):
    for parent in range(node):
        if node in children(tree, parent):
            return depth_of(tree, parent) + 1
    return 0


def test_the_contributions_of_an_isolation_forest_are_those_of_a_walk_by_hand():
    frames, features = cloud(60)
    scores = rw.rank(frames, features=features, seed=4, trees=7)
    told = Explainer(frames, features, scores).explain(17)
    values = comparable_features(features).to_numpy(np.float64)
    forest = fit_forest(values, 7, None, 4, SKY)
    moves = np.mean(
        [
            walk(e.tree_, values[17], lambda node, t=e.tree_: mean_path(t, node, depth_of(t, node)))
            for e in forest.estimators_
        ],
        axis=0,
    )
    found = told.contributions.set_index("feature")["contribution"].reindex(SKY).to_numpy()
    np.testing.assert_allclose(found / found.sum(), moves / moves.sum(), atol=1e-9)
    assert told.score == pytest.approx(scores["score"].iloc[17], abs=1e-9)


@pytest.mark.parametrize("learn", [False, True])
@pytest.mark.parametrize("n", [8, 300])
def test_baseline_and_contributions_add_up_to_the_written_score(n, learn):
    frames, features = cloud(n if n > 17 else 18, blank=range(8, 17) if n < 18 else (3,))
    ratings = {f"m-{k:04d}": float(k % 6) for k in (*range(8), 17)} if learn else None
    if n < 18:
        with pytest.warns(UserWarning, match="below 10"):
            scores = rw.rank(frames, labels=ratings, features=features, seed=2)
    else:
        scores = rw.rank(frames, labels=ratings, features=features, seed=2, trees=50, max_samples=0.5)
    explainer = Explainer(frames, features, scores)
    for index in range(len(frames)):
        told = explainer.explain(index)
        assert told.fidelity is None
        assert told.baseline + told.contributions["contribution"].sum() == pytest.approx(told.score)
        assert told.score == pytest.approx(scores["score"].iloc[index], abs=1e-6), index
    assert ("ratings count" in " ".join(told.words)) == learn


def test_what_is_odd_about_a_frame_is_told_first_and_in_its_own_unit():
    frames, features = cloud()
    told = Explainer(frames, features, rw.rank(frames, features=features)).explain(17)
    assert {"log_island_beams", "island_elongation"} <= set(told.contributions["feature"][:3])
    table = told.contributions.set_index("feature")
    first = table.loc["log_island_beams"]
    assert first["value"] == pytest.approx(9990, rel=1e-3) and first["unit"] == "beams"
    assert first["typical"] == pytest.approx(90, rel=0.1) and first["above"] == 0
    assert any(words.startswith("Large island: 9,990 beams, typical 89") for words in told.words[:3])


def test_what_the_first_ranking_does_not_look_at_moves_nothing():
    frames, features = cloud()
    told = Explainer(frames, features, rw.rank(frames, features=features)).explain(17)
    table = told.contributions.set_index("feature")["contribution"]
    assert (table[[name for name in SKY if name not in STRUCTURE]] == 0).all()
    assert (table[["log_island_beams", "island_elongation"]] > 0).all()


def test_a_large_source_is_explained_by_its_extent():
    sky = noisy_sky(nx=512, ny=512, seed=2)
    y, x = np.mgrid[:512, :512]
    pixels = sky.pixels + 20 * sky.pixels.std() * np.exp(-((x - 301) ** 2 + (y - 207) ** 2) / (2 * 10.0**2))
    sky = rw.SkyMap.from_array(pixels.astype(np.float32), name="large", wcs=sky.wcs, beam=sky.beam)
    frames = rw.cut_windows(sky, size=64)
    features = rw.frame_features(frames)
    scores = rw.rank(frames, features=features)
    explainer = Explainer(frames, features, scores)
    with_it = (frames.x <= 295) & (frames.x > 245) & (frames.y <= 201) & (frames.y > 150)
    assert with_it.any()
    for index in np.flatnonzero(with_it):
        assert any("arge island" in words or "scale" in words for words in explainer.explain(index).words[:3])
    quiet = int(scores["rank"].argmax())
    assert explainer.explain(quiet).words[0].startswith("Nothing unusual")


@pytest.mark.parametrize("where", ["embedding", "elsewhere"])
def test_scores_that_no_feature_made_are_explained_by_a_model_that_says_how_good_it_is(where):
    frames, features = cloud(600)
    z = features[["peaks", "peaks"]].to_numpy()
    scores = rw.rank(frames, z)
    if where == "elsewhere":
        scores.attrs, z = {}, None
    explainer = Explainer(frames, features, scores, z)
    top = int(scores["rank"].argmin())
    told = explainer.explain(top)
    r2, order = told.fidelity
    assert 0.6 < r2 < 1 and 0.6 < order < 1
    assert told.contributions["feature"][0] == "peaks"
    assert told.baseline + told.contributions["contribution"].sum() == pytest.approx(told.score)
    assert f"R² {r2:.2f} (rank correlation {order:.2f})" in told.words[-1]
    assert ("an embedding" in told.words[-1]) == (where == "embedding")


def test_scores_by_an_embedding_and_features_are_explained_by_the_features_with_care():
    frames, features = cloud(400)
    z = np.random.default_rng(1).normal(size=(400, 8))
    assert Explainer(frames, features, rw.rank(frames, z, features=features), z).explain(17).fidelity is None
    large = features["starlet_5"].to_numpy()[:40]
    liked = dict(zip(frames.frame_ids[:40], 5.0 * (large > np.median(large)), strict=True))
    scores = rw.rank(frames, z, liked, features=features)
    told = Explainer(frames, features, scores, z).explain(17)
    assert told.fidelity is not None and "an embedding and these features" in told.words[-1]
    assert {"starlet_5", "log_island_beams"} & set(told.contributions["feature"][:3])


def test_what_a_damaged_table_says_of_its_ranking_is_not_believed():
    frames, features = cloud()
    scores = rw.rank(frames, features=features)
    for attrs in ({"ratings": "{"}, {"trees": "many"}, {"seed": 5}, {"max_samples": -3}):
        told = scores.copy()
        told.attrs = {**scores.attrs, **attrs}
        assert Explainer(frames, features, told).explain(17).fidelity is not None
    with pytest.raises(ParameterError, match="300 frames"):
        Explainer(frames, features, scores.iloc[:-1])


def test_blank_frames_and_the_user_s_own_features_are_told_too():
    frames, features = cloud(blank=[3])
    features["my number"] = np.arange(300, dtype=np.float32)
    explainer = Explainer(frames, features, rw.rank(frames, features=features))
    blank = explainer.explain(3)
    assert blank.score == 0 and blank.words[0].startswith("No sky")
    told = explainer.explain(299).contributions.set_index("feature").loc["my number"]
    assert told["value"] == 299 and told["below"] > 0.99
    assert describe("my number", 299, 150, 0.99, 0) == "High my number: 299, typical 150 (highest of all)"


def test_every_feature_that_ranks_has_words():
    assert list(PLAIN) == SKY
    for name in SKY:
        for shares in ((0.9, 0.0), (0.0, 0.9), (0.5, 0.4)):
            assert "{" not in describe(name, PLAIN[name].convert(1.0), PLAIN[name].convert(0.0), *shares)


def test_a_shape_is_compared_with_that_of_other_resolved_islands_only():
    frames, features = cloud()
    features["log_island_beams"] = np.float32(0.1)
    features["island_elongation"] = np.float32(0)
    resolved = features.index[:20]
    features.loc[resolved, "log_island_beams"] = 0.5
    features.loc[resolved, "island_elongation"] = np.linspace(0.2, 0.6, 20, dtype=np.float32)
    explainer = Explainer(frames, features, rw.rank(frames, features=features))
    shape = explainer.explain(19).contributions.set_index("feature").loc["island_elongation"]
    assert shape["value"] == pytest.approx(10**0.6) and 2 < shape["typical"] < 3 and shape["above"] == 0
    assert np.isnan(
        explainer.explain(200).contributions.set_index("feature").loc["island_elongation", "value"]
    )


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (212.4, "212"),
        (4.13, "4.1"),
        (1.0, "1"),
        (0.0123, "0.012"),
        (1e-4, "0"),
        (4626, "4,626"),
        (-21.4, "-21"),
    ],
)
def test_numbers_have_as_many_digits_as_mean_something(value, text):
    assert number(value) == text
