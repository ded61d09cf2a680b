"""The encoder that comes with the package, and what it promises."""

import numpy as np
import pandas as pd
import pytest
from astropy.io import fits

import radiowidgets as rw
from radiowidgets.errors import DataError
from radiowidgets.latent.embedding import embed
from radiowidgets.models import shipped
from radiowidgets.models.shipped import WEIGHTS, ShippedEncoder, shipped_encoder

MEGABYTES = 6


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("RADIOWIDGETS_DATA", str(tmp_path))


def test_it_is_small_and_has_a_card():
    encoder = shipped_encoder()
    assert encoder.weights.stat().st_size < MEGABYTES * 1e6
    assert sum(path.stat().st_size for path in WEIGHTS.iterdir()) < MEGABYTES * 1e6
    for entry in ("data", "recipe", "scores", "not_good_for"):
        assert encoder.card[entry]
    assert encoder.model.count_params() == encoder.card["weights"]


def test_it_is_what_embed_takes_by_default():
    frames = rw.cut_windows(rw.simulate("emu", size=256, seed=1), size=96)
    z = embed(frames)
    assert z.shape == (len(frames), shipped_encoder().card["dimensions"])
    assert z.dtype == np.float32 and np.isfinite(z).all()
    assert np.allclose(z, embed(frames, shipped_encoder(), cache=False, batch_size=5), atol=1e-4)


def test_unit_and_level_do_not_matter():
    pixels = rw.simulate("first", size=128, seed=1).pixels
    first, other = embed(rw.FrameSet.from_images([pixels, 1e3 * pixels + 5]))
    assert np.linalg.norm(first - other) < 0.2 * np.linalg.norm(first)


def test_a_card_of_another_input_is_refused(monkeypatch):
    monkeypatch.setattr(shipped, "INPUT", 0)
    with pytest.raises(DataError, match="was trained on input"):
        ShippedEncoder(shipped_encoder().weights, WEIGHTS / f"{shipped.NAME}.yaml")


def test_it_tells_real_radio_galaxies_apart(realdata):
    from radiowidgets.models.evaluate import cross_validate

    folder = realdata / "mirabest_full_derived"
    table = pd.read_csv(folder / "labels.csv")
    table = table[(table["confident"] == 1) & table["fr"].isin(["FRI", "FRII"])]
    images = [fits.getdata(next(folder.rglob(name)), 1).squeeze() for name in table["file"]]
    z = embed(rw.FrameSet.from_images(images))
    groups = table["ra"].round().astype(str) + table["dec"].round().astype(str)
    scores, _ = cross_validate(z, table["fr"].to_numpy(), groups.to_numpy())
    assert scores["accuracy"].mean() > 0.8
