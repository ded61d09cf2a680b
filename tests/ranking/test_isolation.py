import numpy as np
import pandas as pd
import pytest
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets.errors import ParameterError
from radiowidgets.features.frames import CONTEXT, FEATURES
from radiowidgets.ranking.active import learn_from_ratings
from radiowidgets.ranking.isolation import STRUCTURE, fit_forest

SKY = [name for name in FEATURES if name not in CONTEXT]


class Frames:
    """Just enough of a FrameSet: names, and noise that tells which frames are blank."""

    def __init__(self, n, blank=()):
        self.frame_ids = np.array([f"m-{i:04d}" for i in range(n)], dtype=object)
        fraction = np.zeros(n, np.float32)
        fraction[list(blank)] = 1
        self.noise = type("Noise", (), {"blank_fraction": fraction, "rms": np.ones(n, np.float32)})

        self.map_codes = np.zeros(n, np.int32)

    def __len__(self):
        return len(self.frame_ids)


def cloud(n=400, d=5, seed=0):
    values = np.random.default_rng(seed).normal(size=(n, d))
    values[17] = 8
    return values


def test_the_odd_one_comes_first_with_a_score_that_is_the_forest_s_own():
    from sklearn.ensemble import IsolationForest

    values = cloud()
    table = rw.rank(Frames(400), values, seed=3)
    assert table["rank"].idxmin() == "m-0017"
    assert table["score"].between(0, 1).all()
    forest = IsolationForest(n_estimators=200, max_samples=256, random_state=3).fit(values)
    np.testing.assert_array_equal(table["score"], -forest.score_samples(values))
    assert sorted(table["rank"]) == list(range(1, 401))


def test_the_same_seed_gives_the_same_bits_and_another_seed_does_not():
    values = cloud()
    one, two, other = (rw.rank(Frames(400), values, seed=s)["score"].to_numpy() for s in (1, 1, 2))
    assert (one == two).all() and (one != other).any()


def test_max_samples_of_the_paper_is_never_below_256_frames_unless_asked(monkeypatch):
    import sklearn.ensemble

    asked = []
    original = sklearn.ensemble.IsolationForest

    def spy(**keywords):
        asked.append(keywords["max_samples"])
        return original(**keywords)

    monkeypatch.setattr(sklearn.ensemble, "IsolationForest", spy)
    rw.rank(Frames(100), cloud(100))
    rw.rank(Frames(400), cloud(400))
    rw.rank(Frames(20000), cloud(20000, 2))
    rw.rank(Frames(400), cloud(400), max_samples=0.02)
    assert asked == [100, 256, 400, 0.02]


def test_ties_are_broken_by_frame_id():
    values = np.zeros((50, 3))
    frames = Frames(50)
    frames.frame_ids = frames.frame_ids[::-1].copy()
    table = rw.rank(frames, values)
    assert list(table.sort_values("rank").index) == sorted(frames.frame_ids)


def test_blank_frames_stand_last_and_are_counted():
    table = rw.rank(Frames(300, blank=[17, 20]), cloud(300))
    assert set(table.nlargest(2, "rank").index) == {"m-0017", "m-0020"}
    assert table.attrs["blank"] == 2 and (table.loc[["m-0017", "m-0020"], "score"] == 0).all()


def test_padding_without_noise_stands_last():
    frames = Frames(300)
    frames.noise.rms[[3, 4]] = 1e-6
    table = rw.rank(frames, cloud(300))
    assert table.attrs["blank"] == 2
    assert set(table.nlargest(2, "rank").index) == {"m-0003", "m-0004"}


def test_below_ten_frames_a_distance_is_used_and_said():
    values = np.array([[0.0, 1], [0.1, 1.1], [0, 0.9], [9, -9]])
    with pytest.warns(UserWarning, match="4 frames hold sky"):
        table = rw.rank(Frames(4), values)
    assert table["rank"].idxmin() == "m-0003" and table["score"].between(0, 1).all()
    with pytest.warns(UserWarning, match="1 frames hold sky"):
        assert rw.rank(Frames(1), values[:1])["score"].iloc[0] == 0


@pytest.mark.parametrize(
    ("values", "message"),
    [(np.zeros((3, 2)), r"need \(400, d\)"), (np.full((400, 2), np.nan), "of 400 frames are not finite")],
)
def test_what_does_not_fit_is_refused(values, message):
    with pytest.raises(ParameterError, match=message):
        rw.rank(Frames(400), values)


@pytest.mark.parametrize(
    "keywords",
    [
        {"contamination": 0.7},
        {"contamination": "auto"},
        {"max_samples": -1},
        {"max_samples": 2.5},
        {"trees": 0},
        {"seed": -1},
        {"seed": 2**40},
        {"labels": {"m-0001": 9}},
        {"labels": {"m-0001": "high"}},
    ],
)
def test_parameters_out_of_range_are_refused(keywords):
    with pytest.raises(ParameterError):
        rw.rank(Frames(400), cloud(), **keywords)


def test_ratings_pull_their_like_up_and_down():
    rng = np.random.default_rng(5)
    values = rng.normal(size=(500, 4))
    values[:100, 0] += 6  # wanted
    values[100:200, 1] += 6  # artefacts
    ids = Frames(500).frame_ids
    labels = {ids[i]: 5.0 for i in range(5)} | {ids[100 + i]: 0.0 for i in range(5)} | {"elsewhere": 3.0}
    base = rw.rank(Frames(500), values)
    table = rw.rank(Frames(500), values, labels)
    wanted, artefacts = slice(5, 100), slice(105, 200)
    moved = base["rank"].to_numpy() - table["rank"].to_numpy()
    assert moved[wanted].mean() > 20 and moved[artefacts].mean() < -20
    assert "10 ratings" in table.attrs["method"]
    again = rw.rank(Frames(500), values, pd.Series(labels))
    assert (again["score"] == table["score"]).all()


def test_equal_ratings_teach_nothing_and_say_so():
    values = cloud()
    base = rw.rank(Frames(400), values)
    table = rw.rank(Frames(400), values, {"m-0001": 0, "m-0002": 0})
    assert (table["score"] == base["score"]).all() and "nothing to learn" in table.attrs["method"]
    score, note = learn_from_ratings(values, base["score"].to_numpy(), Frames(400).frame_ids, {"other": 3})
    assert (score == base["score"]).all() and "no rated frame" in note


def test_the_ring_is_found_by_the_frame_features():
    frames = rw.cut_windows(noisy_sky(512, 512, seed=4), size=64)
    table = rw.rank(frames)
    ring = (np.abs(frames.x + 32 - 0.7 * 512) < 24) & (np.abs(frames.y + 32 - 0.3 * 512) < 24)
    assert table["rank"].to_numpy()[ring].min() <= 0.05 * len(frames)


def test_the_first_ranking_sees_more_structure_and_nothing_else():
    """Grown on structure alone, a forest scores whole rows as it scores what it was grown on."""
    rng = np.random.default_rng(4)
    values = rng.normal(size=(300, len(SKY)))
    forest = fit_forest(values, 20, None, 1, SKY)
    assert forest.max_samples_ == 16
    alone = values.copy()
    for k, name in enumerate(SKY):
        side, middle = STRUCTURE.get(name, 0), np.median(values[:, k])
        alone[:, k] = np.maximum(values[:, k], middle) if side > 0 else np.minimum(values[:, k], middle)
        if not side:
            alone[:, k] = rng.normal(size=300)
    assert np.array_equal(forest.score_samples(values), forest.score_samples(alone))


def test_features_of_ones_own_are_ranked_as_they_are():
    values = np.random.default_rng(5).normal(size=(300, 3))
    told, untold = fit_forest(values, 20, None, 1, ["a", "b", "c"]), fit_forest(values, 20, None, 1)
    assert np.array_equal(told.score_samples(values), untold.score_samples(values))


def test_features_make_the_first_order_and_ratings_are_learnt_by_both():
    frames = Frames(600)
    rng = np.random.default_rng(2)
    features = pd.DataFrame(rng.normal(size=(600, 3)), columns=list("abc"), index=frames.frame_ids)
    embedding = rng.normal(size=(600, 60))
    features.loc["m-0007"] = 9.0
    embedding[11] = 4.0
    table = rw.rank(frames, embedding, features=features)
    assert table["rank"].idxmin() == "m-0007"
    assert np.array_equal(table["score"], rw.rank(frames, features=features)["score"])
    assert rw.rank(frames, embedding)["rank"].idxmin() == "m-0011"
    assert "frame features" in table.attrs["method"] and "embedding" not in table.attrs["method"]
    for values in (features["a"].to_numpy(), embedding[:, 0]):
        liked = {f"m-{k:04d}": 5.0 * (values[k] > 0) for k in range(60)}
        moved = rw.rank(frames, embedding, liked, features=features)
        assert np.corrcoef(moved["score"][60:], values[60:])[0, 1] > 0.3
        assert "the embedding and the frame features" in moved.attrs["method"]
    with pytest.raises(ParameterError, match="frame features of 1 of 600 frames are not finite"):
        rw.rank(frames, embedding, features=features.mask(features > 8))
