"""From a map, a catalogue and a trained model to a run."""

import astropy.units as u
import numpy as np
import pandas as pd
import pytest
from radio_beam import Beam
from skies import celestial

import radiowidgets as rw
from radiowidgets import cli
from radiowidgets.data.bands import open_bands
from radiowidgets.data.headers import pixel_coordinates
from radiowidgets.errors import DataError, ParameterError
from radiowidgets.features.photometry import compact_features
from radiowidgets.models.boosting import train_boosting
from radiowidgets.run.classification import classify, load_model

SIDE, BEAM = 160, 8.0
PLACES = [(30, 30), (30, 80), (30, 130), (80, 30), (80, 80), (80, 130), (130, 30), (130, 80), (130, 130)]
BRIGHT = [True, False, True, False, True, False, True, False, True]  # in the infrared


def sky_of(name, fluxes, seed):
    """Point sources on noise, in Jy/beam."""
    y, x = np.mgrid[:SIDE, :SIDE]
    sigma = BEAM / 2 / 2.355
    pixels = np.random.default_rng(seed).normal(0, 1e-4, (SIDE, SIDE))
    for (row, column), flux in zip(PLACES, fluxes, strict=True):
        pixels += flux * np.exp(-((x - column) ** 2 + (y - row) ** 2) / (2 * sigma**2))
    beam = Beam(BEAM * u.arcsec)
    return rw.SkyMap.from_array(
        pixels.astype(np.float32), name=name, wcs=celestial(SIDE, SIDE), beam=beam, unit=u.Jy / u.beam,
        frequency=1.4 * u.GHz,
    )  # fmt: skip


@pytest.fixture(scope="module")
def field():
    radio = sky_of("field", np.full(9, 0.02), 1)
    return radio, {"12um": sky_of("field-12um", np.where(BRIGHT, 0.4, 0.01), 2)}


@pytest.fixture(scope="module")
def trees():
    """A model of what is bright in the infrared and what is not, from a table of its own."""
    rng = np.random.default_rng(0)
    hii = rng.random(300) < 0.5
    colour = np.where(hii, 1.3, -0.3) + rng.normal(0, 0.3, 300)
    table = pd.DataFrame({"colour_12um": colour, "iou_12um": rng.uniform(0.5, 1, 300)})
    labels = np.where(hii, "HII", "RG")
    return train_boosting(table, labels, np.arange(200), np.arange(200, 300))


@pytest.fixture(scope="module")
def found(field, trees, tmp_path_factory):
    radio, others = field
    folder = tmp_path_factory.mktemp("runs")
    trees.save(folder / "model")
    return classify(
        radio, rw.find_sources(radio), folder / "model", folder / "run", bands=others, annotator="ada"
    )


def classes_of(run):
    return pd.read_csv(run.path / "classes.csv")


def test_sources_are_told_apart_and_the_folder_holds_it_all(field, found):
    table = classes_of(found)
    x, y = pixel_coordinates(field[0].wcs, table["ra"].to_numpy(), table["dec"].to_numpy())
    order = [PLACES.index((round(b / 10) * 10, round(a / 10) * 10)) for a, b in zip(x, y, strict=True)]
    assert (table["label"] == np.where(np.array(BRIGHT)[order], "HII", "RG")).all()
    assert (table["probability"] > 0.9).all() and np.allclose(table["p_HII"] + table["p_RG"], 1)
    cutouts = open_bands(found.path / "bands")
    assert len(cutouts) == len(found) == 9 and cutouts.channels == ("radio", "12um")
    features = pd.read_parquet(found.path / "compact_features.parquet")
    again = compact_features(cutouts, inner=2.5 / 6)
    np.testing.assert_allclose(features["colour_12um"], again["colour_12um"])
    assert list(features["name"]) == list(table["name"])


def test_a_review_opens_it_and_classes_are_columns_and_tags(found):
    run = rw.Run.open(found.path, annotator="ada")
    table = classes_of(run)
    np.testing.assert_allclose(run.column("p_HII"), table["p_HII"])
    assert run.find("p_HII > 0.5").sum() == 5
    assert [tag.name for tag in run.schema] == ["HII", "RG"]
    named = run.objects_in(0)[0]
    assert named[1].startswith(f"{table['label'][0]} {table['probability'][0]:.2f}")
    assert list(np.argsort(-table["distance"], kind="stable")[:3]) == list(np.argsort(run.scores["rank"])[:3])
    answers = []
    review = rw.Review(run)
    review.send = lambda content, buffers=(): answers.append((content["kind"], buffers))
    review._receive(None, {"kind": "index"}, [])
    review._receive(None, {"kind": "large", "frame": 0}, [])
    assert [kind for kind, _ in answers] == ["index", "large"]
    assert run.why(0) is not None


def test_the_same_call_again_is_safe_and_what_is_unlike_is_flagged(field, trees, found, tmp_path):
    radio, others = field
    model = found.path.parent / "model"
    again = classify(radio, rw.find_sources(radio), model, found.path, bands=others, annotator="ada")
    assert len(again) == 9
    strange = {"12um": sky_of("strange", np.where(BRIGHT, 400.0, 0.01), 3)}
    odd = classes_of(classify(radio, rw.find_sources(radio), trees, tmp_path / "odd", bands=strange))
    assert odd["unlike"][odd["label"] == "HII"].all() and not classes_of(found)["unlike"].all()


def test_what_the_radio_does_not_show_comes_first_and_is_flagged(field, trees, tmp_path):
    radio, others = field
    sources = pd.DataFrame(rw.find_sources(radio))[["ra", "dec", "radius"]]
    empty = sources.iloc[[0]].assign(dec=sources["dec"].mean() - 0.02, ra=sources["ra"].mean() + 0.012)
    both = pd.concat([sources, empty], ignore_index=True)
    with pytest.warns(UserWarning, match="1 of 10 sources do not show in the radio map"):
        run = classify(radio, both, trees, tmp_path / "run", bands=others)
    table = classes_of(run)
    assert table["unlike"].tolist()[-1] and np.isinf(table["distance"]).tolist() == [False] * 9 + [True]
    assert list(table["frame_id"]) == list(run.frames.frame_ids)
    assert run.scores["rank"].tolist()[-1] == 1 and np.isfinite(run.scores["score"]).all()
    blank = rw.SkyMap.from_array(np.full((SIDE, SIDE), np.nan, np.float32), wcs=radio.wcs, beam=radio.beam,
                                 unit=radio.unit, name="blank")  # fmt: skip
    nothing = classify(radio, sources, trees, tmp_path / "nothing", bands={"12um": blank})
    assert classes_of(nothing)["unlike"].all(), "no band tells anything"


def test_what_a_model_takes_and_nobody_gives_is_said(field, tmp_path):
    radio, others = field
    sources = pd.DataFrame(rw.find_sources(radio))[["ra", "dec", "radius"]]
    rng = np.random.default_rng(1)
    labels = np.repeat(["HII", "RG"], 60)
    table = pd.DataFrame({"colour_12um": np.repeat([1.3, -0.3], 60) + rng.normal(0, 0.3, 120)})
    table["alpha"] = np.repeat([-0.1, -0.8], 60) + rng.normal(0, 0.3, 120)
    table.attrs |= {"width": 8.0, "shown": 3.0}
    model = train_boosting(table, labels)
    with pytest.warns(UserWarning, match="no column alpha"):
        run = classify(radio, sources, model, tmp_path / "a", bands=others)
    assert open_bands(run.path / "bands").sources.attrs["size"] == 8, "cut as its training data were"
    with pytest.raises(ParameterError, match="'alpha' of the catalogue holds no numbers"):
        classify(radio, sources.assign(alpha="steep"), model, tmp_path / "b", bands=others)
    with pytest.raises(ParameterError, match="0 < shown <= width"):
        classify(radio, sources, model, tmp_path / "c", bands=others, shown=9.0)
    strange = train_boosting(table.rename(columns={"alpha": "weather"}), labels)
    with pytest.raises(ParameterError, match="takes weather, which"):
        classify(radio, sources, strange, tmp_path / "d", bands=others)
    with pytest.warns(UserWarning, match="no frame"), pytest.raises(ParameterError, match="in arcsec"):
        classify(radio, sources.assign(radius=300.0), model, tmp_path / "e", bands=others)


def test_a_catalogue_without_radii_takes_those_of_the_islands(field, trees, tmp_path):
    radio, others = field
    sources = rw.find_sources(radio)[["ra", "dec"]].iloc[:4]
    far = pd.DataFrame({"ra": [float(sources["ra"].iloc[0])], "dec": [-30.03]})
    both = pd.concat([pd.DataFrame(sources), far], ignore_index=True)
    with pytest.warns(UserWarning, match="1 of 5 sources are left out: 1 no radius"):
        run = classify(radio, both, trees, tmp_path / "run", bands=others)
    assert len(run) == 4


def test_polygons_of_ds9_are_sources_and_masks(field, trees, tmp_path):
    radio, others = field
    sources = rw.find_sources(radio)
    lines = ["icrs"]
    for ra, dec in zip(sources["ra"], sources["dec"], strict=True):
        step = 8 / 3600
        wide = step / np.cos(np.radians(dec))
        corners = [
            (ra - wide, dec - step),
            (ra + wide, dec - step),
            (ra + wide, dec + step),
            (ra - wide, dec + step),
        ]
        lines.append("polygon(" + ",".join(f"{value:.6f}" for corner in corners for value in corner) + ")")
    (tmp_path / "sources.reg").write_text("\n".join(lines) + "\n")
    run = classify(radio, tmp_path / "sources.reg", trees, tmp_path / "run", bands=others)
    assert len(run) == 9
    features = pd.read_parquet(run.path / "compact_features.parquet")
    assert (features["pixels_radio"].between(40, 90)).all(), "16 x 16 arcsec in pixels of 2 arcsec"
    # The same places in pixels of the map, which DS9 counts from 1.
    lines = ["image"]
    for y, x in PLACES:
        corners = [(x - 3, y - 3), (x + 5, y - 3), (x + 5, y + 5), (x - 3, y + 5)]
        lines.append("polygon(" + ",".join(str(value) for corner in corners for value in corner) + ")")
    (tmp_path / "pixels.reg").write_text("\n".join(lines) + "\n")
    run = classify(radio, tmp_path / "pixels.reg", trees, tmp_path / "pixels", bands=others)
    again = pd.read_parquet(run.path / "compact_features.parquet")
    assert len(run) == 9 and again["pixels_radio"].between(40, 90).all()


def test_a_network_is_loaded_by_its_card(field, tmp_path):
    from radiowidgets.models.cnn import NetworkRecipe, train_network

    rng = np.random.default_rng(0)
    labels = np.repeat(["HII", "RG"], 40)
    images = rng.uniform(0, 0.1, (80, 16, 16, 2)).astype(np.float32)
    images[:40, ..., 1] += 0.8
    images[40:, ..., 0] += 0.8
    recipe = NetworkRecipe("4C3P2-4", size=16, batch_size=20, rate=0.02, epochs=12, augmentation="none")
    mixed = rng.permutation(80)
    train, held = mixed[:60], mixed[60:]
    network = train_network(
        images[train], labels[train], (images[held], labels[held]), recipe, bands=("radio", "12um")
    )
    network.save(tmp_path / "model")
    radio, others = field
    run = classify(radio, rw.find_sources(radio), tmp_path / "model", tmp_path / "run", bands=others)
    assert (classes_of(run)["label"] == "HII").sum() == 5
    assert load_model(tmp_path / "model").card.kind == "network"
    with pytest.raises(ParameterError, match="give a map of 12um"):
        classify(radio, rw.find_sources(radio), network, tmp_path / "other")


def test_what_is_missing_is_said(field, trees, tmp_path):
    radio, others = field
    sources = rw.find_sources(radio)
    with pytest.raises(ParameterError, match=r"--band 12um=MAP\.fits"):
        classify(radio, sources, trees, tmp_path / "run")
    with pytest.warns(UserWarning, match="no map of 12um: the trees take it as missing"):
        run = classify(radio, sources, trees, tmp_path / "other", bands={"8um": others["12um"]})
    assert len(run) == 9
    with pytest.raises(DataError, match="holds no trained model"):
        classify(radio, sources, tmp_path, tmp_path / "third")


def test_the_command_says_what_it_found(field, found, tmp_path, capsys, monkeypatch):
    radio, others = field
    monkeypatch.chdir(tmp_path)
    radio.write("field.fits")
    others["12um"].write("w3.fits")
    rw.find_sources(radio)[["ra", "dec", "radius"]].to_csv("sources.csv", index=False)
    model = found.path.parent / "model"
    command = ["classify", "field.fits", "--catalogue", "sources.csv", "--model", str(model), "-o", "run"]
    assert cli.main([*command, "--band", "12um=w3.fits"]) == 0
    assert "9 sources classified" in capsys.readouterr().out
    assert "w3.fits" in (tmp_path / "run" / "review.ipynb").read_text()
    assert len(rw.Run.open("run")) == 9
    assert cli.main([*command, "--band", "w3.fits"]) == 1
    assert "--band is 'w3.fits'" in capsys.readouterr().err
