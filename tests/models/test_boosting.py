import sys

import numpy as np
import pandas as pd
import pytest

import radiowidgets as rw
from radiowidgets.errors import DataError, MissingExtraError, ParameterError
from radiowidgets.models.boosting import (
    GRID,
    PAPER_BINARY,
    PAPER_SEVEN,
    confusion_shares,
    f1_in_bins,
    import_lightgbm,
    load_boosting,
    repeat_splits,
    scan_parameters,
    train_boosting,
    two_groups,
)
from radiowidgets.models.cards import write_card

pytest.importorskip("lightgbm")
CLASSES = ["HII", "PN", "RG"]


@pytest.fixture(scope="module")
def sources():
    rng = np.random.default_rng(1)
    labels = rng.choice(CLASSES, 900, p=[0.3, 0.2, 0.5])
    shift = {"HII": (2.0, 0.0), "PN": (1.0, 1.5), "RG": (-1.5, 0.0)}
    table = pd.DataFrame(rng.normal(size=(900, 3)), columns=["colour_a", "colour_b", "noise"])
    table[["colour_a", "colour_b"]] += np.array([shift[label] for label in labels])
    table.loc[rng.random(900) < 0.2, "colour_b"] = np.nan  # not observed
    return table.set_index(np.array([f"s{k:03d}" for k in range(900)], object)), labels


@pytest.fixture(scope="module")
def model(sources):
    return train_boosting(*sources, classes=CLASSES, threads=1, data={"survey": "mock"})


def test_classes_are_told_apart_and_missing_bands_borne(sources, model):
    table, labels = sources
    found = model.predict(table)
    assert (found["label"] == labels).mean() > 0.85
    assert list(found.index) == list(table.index)
    np.testing.assert_allclose(found[["p_HII", "p_PN", "p_RG"]].sum(axis=1), 1)
    nothing = model.predict(pd.DataFrame(np.nan, index=["x"], columns=table.columns))
    assert nothing["probability"].between(0, 1).all()
    assert nothing["unlike"].all() and np.isinf(nothing["distance"]).all(), (
        "what is said of it rests on nothing"
    )
    assert model.predict(table.iloc[:0]).empty


def test_a_saved_model_predicts_the_same_and_says_what_it_is(sources, model, tmp_path):
    table, _ = sources
    model.save(tmp_path / "m")
    again = load_boosting(tmp_path / "m")
    pd.testing.assert_frame_equal(model.predict(table), again.predict(table))
    assert again.card.data["survey"] == "mock" and again.card.recipe["trees"] >= 1
    assert "shown" not in again.card.data
    table.attrs |= {"width": 6.0, "shown": 2.5}
    assert train_boosting(table[["colour_a", "noise"]], sources[1]).card.data["shown"] == 2.5
    table.attrs.clear()
    assert sorted(path.name for path in (tmp_path / "m").iterdir()) == ["card.json", "model.txt"]


def test_a_folder_of_something_else_is_refused(model, tmp_path):
    with pytest.raises(DataError, match="holds no trained model"):
        load_boosting(tmp_path)
    (tmp_path / "model.txt").write_text("tree\nnonsense")
    write_card(tmp_path, model.card)
    with pytest.raises(DataError, match=r"LightGBM|features"):
        load_boosting(tmp_path)


def test_what_is_far_away_is_flagged(sources, model):
    table, _ = sources
    assert model.predict(table)["unlike"].mean() < 0.05
    assert model.predict(pd.DataFrame([[9.0, 9.0, 0.0]], columns=table.columns))["unlike"].all()


def test_probabilities_say_how_often_they_are_right(sources):
    table, labels = sources
    half = np.arange(900) < 500
    found = train_boosting(table[half], labels[half], threads=1).predict(table[~half])
    right = found["label"] == labels[~half]
    assert right.mean() == pytest.approx(found["probability"].mean(), abs=0.05)
    assert right[found["probability"] > 0.95].mean() > 0.93


def test_importances_and_contributions(sources, model):
    table, _ = sources
    importance = model.importances(table)
    assert list(importance.index)[-1] == "noise" and importance["gain"].sum() == pytest.approx(1)
    parts = model.contributions(table.iloc[:7])
    assert parts.shape == (7, 3, 4)
    # They add up to the logarithm of the score, but for what the softmax takes off all classes.
    scores = np.exp(parts.sum(axis=2))
    np.testing.assert_allclose(
        scores / scores.sum(axis=1, keepdims=True), model.scores(table.iloc[:7]), rtol=1e-6
    )


def test_the_same_seed_gives_the_same_model(sources):
    one, two = (train_boosting(*sources, threads=1, seed=3).scores(sources[0]) for _ in range(2))
    np.testing.assert_array_equal(one, two)


def test_splits_keep_groups_and_surveys_apart(sources):
    table, labels = sources
    groups = np.arange(900) // 2
    f1, predictions = repeat_splits(table, labels, groups=groups, count=2, threads=1)
    assert f1.shape == (2, 4) and f1["ALL"].between(70, 100).all()
    assert set(predictions["split"]) == {0, 1} and 200 < (predictions["split"] == 0).sum() < 340
    askap = np.arange(900) >= 800
    _, predictions = repeat_splits(table, labels, test=askap, count=2, threads=1)
    assert set(predictions["row"]) == set(range(800, 900))
    shares = confusion_shares(predictions, CLASSES)
    np.testing.assert_allclose(shares.sum(axis=1), 100)
    bins = f1_in_bins(predictions, np.arange(900), [800, 850, 900, 950], CLASSES)
    assert bins["share"].tolist() == [50, 50, 0] and np.isnan(bins["ALL"].iloc[2])


def test_the_scan_looks_at_validation_data_alone(sources):
    table, labels = sources
    spoiled = table.copy()
    spoiled.iloc[700:] = 99.0
    grid = {"max_depth": (1, 3), "num_leaves": (2, 8), "min_data_in_leaf": (20,)}
    rows = np.arange(500), np.arange(500, 700)
    scans = [scan_parameters(given, labels, *rows, grid=grid, threads=1) for given in (table, spoiled)]
    pd.testing.assert_frame_equal(*scans)
    assert len(scans[0]) == 3  # a depth of 1 has two leaves
    assert scans[0]["f1"].is_monotonic_decreasing
    assert PAPER_BINARY["max_depth"] in GRID["max_depth"]


def test_two_groups():
    assert two_groups(["HII", "QSO", "X", "RG"]).tolist() == ["GAL", "EGAL", "", "EGAL"]
    rng = np.random.default_rng(2)
    x = rng.normal(size=300)
    labels = np.where(x + 0.3 * rng.normal(size=300) > 0, "GAL", "EGAL")
    two = train_boosting(pd.DataFrame({"x": x}), labels, classes=["GAL", "EGAL"], threads=1)
    assert two.card.recipe["parameters"] == PAPER_BINARY and two.card.name == "binary"
    assert two.predict(pd.DataFrame({"x": [-2.0, 2.0]}))["label"].tolist() == ["EGAL", "GAL"]


def test_errors_say_what_to_do(sources, model):
    table, labels = sources
    with pytest.raises(ParameterError, match="no column noise"):
        model.predict(table[["colour_a", "colour_b"]])
    with pytest.raises(ParameterError, match="only HII"):
        train_boosting(table, ["HII"] * 900)
    with pytest.raises(ParameterError, match="one label a row"):
        train_boosting(table, labels[1:])
    with pytest.raises(ParameterError, match="no number"):
        train_boosting(table.assign(name="a"), labels)
    with pytest.raises(ParameterError, match="no row may do both"):
        train_boosting(table, labels, [0, 1, 2], [2, 3])
    with pytest.raises(ParameterError, match="rows go from 0 to 900"):
        train_boosting(table, labels, [0, 1, 900], [2, 3])
    with pytest.raises(ParameterError, match="one or more, of different names"):
        train_boosting(table[[]], labels)
    with pytest.raises(ParameterError, match="LightGBM cannot be trained"):
        train_boosting(table, labels, parameters={"num_leaves": 1})
    with pytest.raises(ParameterError, match="no combination"):
        scan_parameters(table, labels, [0], [1], grid={"max_depth": (1,), "num_leaves": (8,)})
    with pytest.raises(ParameterError, match="there is no source"):
        model.importances(table.iloc[:0])
    with pytest.raises(ParameterError, match="one split or more"):
        repeat_splits(table, labels, count=0)
    with pytest.raises(ParameterError, match="900 labels and 2 groups"):
        repeat_splits(table, labels, groups=[1, 2])
    told = pd.DataFrame({"row": [5], "label": ["HII"], "predicted": ["HII"]})
    with pytest.raises(ParameterError, match="row 5 was predicted"):
        f1_in_bins(told, [1.0], [0, 2], CLASSES)


def test_a_mask_of_rows_is_as_good_as_their_places(sources):
    table, labels = sources
    train = np.arange(900) < 600
    one, two = (
        train_boosting(table, labels, *rows, threads=1).scores(table)
        for rows in ((train, ~train), (np.arange(600), np.arange(600, 900)))
    )
    np.testing.assert_array_equal(one, two)


def logarithm(values):
    values = np.asarray(values, float)
    return np.log10(np.where(values > 0, values, np.nan))


def out_of_fold(table, labels, sure="YSO"):
    from radiowidgets.models.evaluate import make_folds

    chance = np.zeros(len(labels))
    for train, test in make_folds(labels, count=5):
        valid = np.random.default_rng(0).permutation(train)
        few = len(train) // 5
        model = train_boosting(table, labels, valid[few:], valid[:few], parameters=PAPER_SEVEN, threads=1)
        chance[test] = model.predict(table.iloc[test])[f"p_{sure}"]
    return chance


@pytest.mark.realdata
def test_colours_of_rms_separate_hii_regions_from_young_stellar_objects(realdata):
    """Both classes from RMS alone, by MSX and 2MASS colours; then with the radio flux, where MGPS90 has one.

    RMS took the radio flux into account when it told HII regions from young stellar objects: that it helps is no
    discovery.
    """
    from sklearn.linear_model import LogisticRegression
    from sklearn.metrics import roc_auc_score
    from sklearn.model_selection import StratifiedKFold, cross_val_predict

    rms = rw.read_catalogue(realdata / "catalogues" / "rms_allyoung_full_nokda.csv")
    rms = rms[rms["type"].isin(["HII region", "YSO"])].reset_index(drop=True)
    labels = np.where(rms["type"] == "YSO", "YSO", "HII")
    flux = {band: logarithm(rms[f"flux{band}"]) for band in (8, 12, 14, 21)}
    table = pd.DataFrame(
        {
            "12/8": flux[12] - flux[8],
            "14/12": flux[14] - flux[12],
            "21/14": flux[21] - flux[14],
            "J-H": rms["jmag"] - rms["hmag"],
            "H-K": rms["hmag"] - rms["kmag"],
            "21/K": flux[21] + 0.4 * rms["kmag"],
        }
    )
    assert len(table) == 1105
    chance = out_of_fold(table, labels)
    yso = labels == "YSO"
    assert roc_auc_score(yso, chance) > 0.78
    # In one of its fields, MGPS90 adds 20 cm (THOR).
    mgps = rw.read_catalogue(realdata / "catalogues" / "mgps90_concatenated_catalog.ipac")
    pairs = rw.cross_match(rms, mgps, 15.0)
    own, radio = pairs["a"].to_numpy(), logarithm(mgps["Fpeak20cm_THOR"].iloc[pairs["b"]])
    assert len(own) > 50 and 10 < yso[own].sum() < 30
    colours = np.log(chance[own] / (1 - chance[own]))[:, None]
    found = np.isfinite(radio)
    both = np.column_stack([colours, found, np.where(found, radio - flux[21][own], 0)])

    def area(inputs):
        folds = (StratifiedKFold(5, shuffle=True, random_state=seed) for seed in range(5))
        guesses = [
            cross_val_predict(LogisticRegression(), inputs, yso[own], cv=fold, method="predict_proba")[:, 1]
            for fold in folds
        ]
        return roc_auc_score(yso[own], np.mean(guesses, axis=0))

    without, with_radio = area(colours), area(both)
    print(
        f"RMS: {roc_auc_score(yso, chance):.3f}; of {len(own)}: {without:.3f} without radio, {with_radio:.3f} with"
    )
    assert without > 0.6 and with_radio > without


def test_an_openmp_that_is_missing_is_told(tmp_path, monkeypatch):
    (tmp_path / "lightgbm.py").write_text('raise OSError("libgomp.so.1: cannot open shared object file")')
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "lightgbm", raising=False)
    with pytest.raises(MissingExtraError, match=r"libgomp\.so\.1.*apt install libgomp1"):
        import_lightgbm()
