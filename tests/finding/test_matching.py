import numpy as np
import pandas as pd
import pytest
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets.errors import ParameterError
from radiowidgets.finding import matching
from radiowidgets.finding.finders import Found, find, source_table

SHAPE = (200, 250)


def truth_of(x, y, *, flux=1.0, kind="SFG", shape=SHAPE, ratio=10.0):
    table = pd.DataFrame({"x": np.asarray(x, float), "y": np.asarray(y, float)})
    table["flux"], table["kind"], table["flux_over_rms"] = flux, kind, ratio
    table.attrs = {"rms": 0.1, "shape": shape}
    return table


def found_at(x, y, **columns):
    sky = rw.SkyMap.from_array(np.zeros(SHAPE, np.float32), name="empty")
    return Found(source_table(sky, x, y, **columns), "test")


def random_places(n, seed):
    rng = np.random.default_rng(seed)
    return rng.uniform(0, SHAPE[1] - 1, n), rng.uniform(0, SHAPE[0] - 1, n)


def brute_force(found, truth, radius, factor):
    pairs = []
    for i, f in enumerate(found.itertuples()):
        for j, t in enumerate(truth.itertuples()):
            apart = np.hypot(f.x - t.x, f.y - t.y)
            if apart < radius and (
                factor is None or np.isnan(f.flux) or 1 / factor < f.flux / t.flux < factor
            ):
                pairs.append((apart, i, j))
    taken, given, result = set(), set(), set()
    for _, i, j in sorted(pairs):
        if i not in taken and j not in given:
            taken.add(i), given.add(j), result.add((i, j))
    return result


@pytest.mark.parametrize("factor", [None, 2.0])
def test_pairs_are_those_of_a_slow_loop(factor):
    rng = np.random.default_rng(1)
    small = lambda n: (rng.uniform(0, 40, n), rng.uniform(0, 40, n))  # noqa: E731
    found = found_at(*small(80), flux=np.where(rng.random(80) < 0.2, np.nan, rng.uniform(0.3, 3, 80))).table
    truth = truth_of(*small(120), flux=rng.uniform(0.3, 3, 120))
    pairs = matching.match_sources(found, truth, 3.0, factor)
    assert set(zip(pairs["found"], pairs["truth"], strict=True)) == brute_force(found, truth, 3.0, factor)
    assert pairs["separation"].is_monotonic_increasing


def test_a_perfect_finder_and_an_empty_one():
    x, y = random_places(100, 2)
    truth = truth_of(x, y)
    for rule in matching.RULES:
        row = matching.score_finder(found_at(x, y, flux=1.0), truth, rule=rule).loc["all"]
        assert row[["completeness", "reliability", "f1", "f1_low", "f1_high"]].tolist() == [1.0] * 5
        row = matching.score_finder(found_at([], []), truth, rule=rule).loc["all"]
        assert row["f1"] == 0 and row["completeness"] == 0 and np.isnan(row["reliability"])


def test_one_to_one_counts_a_source_once_and_pixels_do_not():
    truth = truth_of([50], [50])
    found = found_at([50, 52, 51, 100], [50, 50, 51, 100])
    pairs = matching.score_finder(found, truth).loc["all"]
    assert pairs[["tp", "fp", "fn"]].tolist() == [1, 3, 0]
    pixels = matching.score_finder(found, truth, rule="pixels").loc["all"]
    assert pixels[["tp", "fp", "fn"]].tolist() == [3, 1, 0]
    beside = matching.score_finder(found_at([52], [50]), truth, rule="pixels").loc["all"]
    assert beside[["tp", "fp", "fn"]].tolist() == [1, 0, 1]
    assert matching.score_finder(found_at([53], [50]), truth, rule="pixels").loc["all", "tp"] == 0


def test_flux_must_be_within_a_factor_two():
    truth = truth_of([50, 90, 130], [50, 50, 50], flux=1.0)
    found = found_at([50, 90, 130], [50, 50, 50], flux=[1.9, 2.1, np.nan])
    assert matching.score_finder(found, truth).loc["all", "tp"] == 2
    assert matching.score_finder(found, truth, factor=None).loc["all", "tp"] == 3


def test_chance_is_that_of_random_positions():
    truth = truth_of(*random_places(700, 3))
    found = found_at(*random_places(3000, 4))
    row = matching.score_finder(found, truth, rule="pixels", trials=10).loc["all"]
    assert row["tp"] / (row["tp"] + row["fp"]) == pytest.approx(row["at_random"], abs=0.03)
    assert row["chance"] == pytest.approx(1, abs=0.08)
    x, y = truth["x"], truth["y"]
    true = matching.score_finder(found_at(x, y), truth, rule="pixels", trials=10).loc["all"]
    assert true["chance"] == pytest.approx(row["at_random"], abs=0.06)


def test_turned_blocks_stay_in_place():
    x, y = random_places(2000, 5)
    places = np.rint(np.column_stack([x, y]))
    turned = matching.turn_blocks(places, SHAPE, np.random.default_rng(0))
    np.testing.assert_array_equal(places // 50, np.floor((turned + 1e-6) // 50))
    assert turned.min() > -0.5 and (turned < [249.5, 199.5]).all()
    assert (np.abs(turned - places).max(axis=1) > 0.5).mean() > 0.95
    odd = matching.turn_blocks(np.array([[210.0, 20.0]]), (130, 220), np.random.default_rng(0))
    assert odd.tolist() == [[209.0, 29.0]]  # the last block is 20 wide: it is turned by 180 degrees


def test_intervals_hold_as_often_as_they_say():
    rng = np.random.default_rng(6)
    held = 0
    for _ in range(25):
        x, y = rng.uniform(0, 249, 300), rng.uniform(0, 199, 300)
        seen = rng.random(300) < 0.6
        row = matching.score_finder(found_at(x[seen], y[seen]), truth_of(x, y), trials=0).loc["all"]
        held += row["completeness_low"] <= 0.6 <= row["completeness_high"]
    assert held >= 20


def test_classes_are_counted_apart():
    x, y = random_places(100, 7)
    kinds = np.where(np.arange(100) < 30, "SS-AGN", "SFG")
    truth = truth_of(x, y, kind=kinds)
    scores = matching.score_finder(found_at(np.append(x[:60], 10), np.append(y[:60], 10)), truth)
    assert scores.index.tolist() == ["all", "SFG", "SS-AGN"]
    assert scores["truth"].tolist() == [100, 70, 30]
    assert scores.loc["SS-AGN", "completeness"] == 1 and scores.loc["SFG", "completeness"] == pytest.approx(
        3 / 7
    )
    assert (scores["reliability"] == scores["reliability"]["all"]).all()


def test_completeness_rises_with_flux():
    sky = rw.simulate("sdc1-b1-1000h", size=400, seed=1)
    truth = matching.truth_table(sky)
    found = find(sky, "islands")
    curve = matching.score_by_snr(found, truth)
    whole = curve[(curve["measure"] == "completeness") & (curve["kind"] == "all")]
    assert whole["value"].iloc[-1] > 0.8 and whole["value"].iloc[1] < 0.2
    assert whole["number"].sum() == (truth["flux_over_rms"] >= 1).sum()
    assert (curve["low"].fillna(0) <= curve["value"].fillna(0)).all()
    assert set(curve["kind"]) == {"all", "SFG", "SS-AGN", "FS-AGN"}


def test_the_score_for_a_reliability():
    truth = truth_of([10, 20, 30], [10, 10, 10])
    found = found_at([10, 20, 70, 30, 90], [10] * 5, score=[0.9, 0.8, 0.7, 0.6, 0.5])
    assert matching.score_for_reliability(found, truth, 1.0) == 0.8
    assert matching.score_for_reliability(found, truth, 0.75) == 0.6
    assert matching.score_for_reliability(found_at([99], [99], score=0.5), truth) == np.inf
    assert matching.score_for_reliability(found_at([10], [10]), truth) == -np.inf


def test_mistakes_are_listed_to_look_at():
    truth = truth_of([10, 50, 90, 130], [10, 10, 10, 10], ratio=[20.0, 30.0, 3.0, 6.0])
    found = found_at([10, 90, 170], [10, 10, 10], flux=[1.0, 1.0, 0.4], score=0.5)
    table = matching.mistakes(found, truth)
    assert table["what"].tolist() == ["missed", "missed", "invented"]
    assert table["x"].tolist() == [50, 130, 170]
    assert table["flux_over_rms"].tolist() == pytest.approx([30, 6, 4])
    assert len(matching.mistakes(found_at([], []), truth, least=99)) == 0


def test_masks_pair_by_their_overlap():
    labels = np.zeros(SHAPE, int)
    labels[10:20, 10:20], labels[50:60, 50:60], labels[80:90, 80:90] = 1, 2, 5
    masks = np.zeros(SHAPE, np.int32)
    masks[10:20, 12:20], masks[50:60, 55:65], masks[100:110, 100:110] = 3, 1, 2
    found = Found(found_at([60, 105, 15], [55, 105, 15], island=[1, 2, 3]).table, masks=masks)
    pairs = matching.match_masks(found, labels)
    assert pairs[["found", "truth"]].to_numpy().tolist() == [[2, 1]] and pairs["iou"][0] == pytest.approx(0.8)
    assert (pairs.attrs["tp"], pairs.attrs["fp"], pairs.attrs["fn"]) == (1, 2, 2)
    assert len(matching.match_masks(found, labels, 0.3)) == 2
    patches = [
        (50, 55, np.ones((10, 10), bool)),
        (100, 100, np.ones((10, 10), bool)),
        (10, 12, np.ones((10, 8), bool)),
    ]
    again = matching.match_masks(Found(found.table, patches=patches), labels)
    pd.testing.assert_frame_equal(pairs, again)


def test_tiles_follow_equation_2():
    actual = np.zeros((2, 100), bool)
    predicted = np.zeros((2, 100), bool)
    actual[:, :10], predicted[:, 2:12] = True, True  # 8 hits, 2 misses, 2 inventions, 88 rightly empty
    scores = matching.score_tiles(predicted, actual)
    np.testing.assert_allclose(scores["value"], [8 / 12, 8 / 10, 88 / 90])
    assert (scores["sd"] == 0).all()
    one = matching.score_tiles(predicted[:1], actual[:1])
    assert (one["low"] < one["value"]).all() and (one["value"] < one["high"]).all() and one["sd"].isna().all()
    empty = matching.score_tiles([np.zeros(9)], [np.zeros(9)])
    assert empty.loc["Wv", ["value", "low", "high"]].tolist() == [1, 1, 1]
    assert empty.loc[["As", "Ws"], ["value", "low", "high"]].isna().all(axis=None)


def test_tiles_of_any_finder():
    masks = np.zeros(SHAPE, np.int32)
    masks[0:7, 0:7], masks[45:48, 85:88] = 1, 2
    table = found_at([3, 86], [3, 46], island=[1, 2]).table
    tiles = matching.signal_tiles(Found(table, masks=masks), SHAPE, 40)
    assert tiles.shape == (5, 6) and np.argwhere(tiles).tolist() == [[0, 0], [1, 2]]
    assert np.argwhere(matching.signal_tiles(Found(table, masks=masks), SHAPE, 40, 9)).tolist() == [[0, 0]]
    np.testing.assert_array_equal(matching.signal_tiles(Found(table), SHAPE, 40), tiles)


def test_kappa_between_finders():
    x, y = random_places(200, 8)
    x, y = np.rint(x), np.rint(y)
    truth = truth_of(x, y)
    same = matching.agree(found_at(x[:100], y[:100]), found_at(x[:100], y[:100]), truth)
    assert same["kappa"].tolist() == [1, 1]
    half = matching.agree(found_at(x[:100], y[:100]), found_at(x[50:150], y[50:150]), truth)
    assert half.loc["sources", "kappa"] == pytest.approx(0, abs=0.1)
    assert half.loc["pixels", "kappa"] == pytest.approx(0.5, abs=0.05)
    shifted = matching.agree(found_at(x[:100], y[:100]), found_at(x[:100] + 1, y[:100]), truth)
    assert shifted.loc["sources", "kappa"] > 0.9 and shifted.loc["pixels", "kappa"] < 0.1


def test_kappa_of_pixels_is_that_of_whole_images():
    rng = np.random.default_rng(9)
    images = [rng.random(SHAPE) < share for share in (0.3, 0.4)]
    images[1] |= images[0] & (rng.random(SHAPE) < 0.5)
    found = [found_at(*np.nonzero(image)[::-1]) for image in images]
    row = matching.agree(*found, truth_of([5], [5])).loc["pixels"]
    one, other = (image.mean() for image in images)
    chance = one * other + (1 - one) * (1 - other)
    assert row["kappa"] == pytest.approx(((images[0] == images[1]).mean() - chance) / (1 - chance))
    assert row["neither"] == (~images[0] & ~images[1]).sum() and row["low"] < row["kappa"] < row["high"]


def test_truth_of_a_mock_and_of_a_catalogue():
    sky = rw.simulate("sdc1-b1-1000h", size=256, seed=2, primary_beam=0.05)
    truth = matching.truth_table(sky)
    plain = matching.truth_table(sky, apparent=False)
    assert (truth["flux"] <= plain["flux"] * (1 + 1e-9)).all() and truth["flux"].sum() < 0.95 * plain[
        "flux"
    ].sum()
    sky.primary_beam = rw.SkyMap.from_array(sky.truth.attenuation, name="beam", wcs=sky.wcs)
    catalogue = plain[["ra", "dec", "flux", "kind"]]
    again = matching.truth_table(sky, catalogue, rms=truth.attrs["rms"])
    np.testing.assert_allclose(again[["x", "y"]], truth[["x", "y"]], atol=1e-3)
    np.testing.assert_allclose(again["flux"], truth["flux"], rtol=1e-2)  # the mock takes the nearest pixel's
    assert again.attrs["rms"] == truth.attrs["rms"]
    with pytest.raises(ParameterError, match="is no mock"):
        matching.truth_table(noisy_sky())
    with pytest.raises(ParameterError, match="no column 'flux'"):
        matching.truth_table(sky, catalogue.drop(columns="flux"))
    with pytest.raises(ParameterError, match="make it with truth_table"):
        matching.score_finder(found_at([1], [1]), pd.DataFrame({"x": [1.0], "y": [1.0]}))


@pytest.mark.realdata
def test_sep_on_the_challenge_scores_as_measured_elsewhere(realdata):
    folder = realdata / "sdc1_sim"
    sky = rw.SkyMap.open(folder / "B1_1000h_0.3tr.fits")
    truth = matching.truth_table(sky, matching.read_sdc1(folder / "truth_B1_0.3tr.cat"), apparent=False)
    found = find(sky, "sep")
    for least, f1 in ((1, 0.35), (2, 0.47), (5, 0.70)):
        row = matching.score_finder(found, truth, least=least, factor=None, trials=0).loc["all"]
        assert row["f1"] == pytest.approx(f1, abs=0.01) and row["reliability"] > 0.985
