import sys
import threading
import warnings

import numpy as np
import pytest

from radiowidgets.errors import ParameterError
from radiowidgets.latent import projection
from radiowidgets.latent.projection import is_projected, nearest, project


@pytest.fixture
def embedding():
    rng = np.random.default_rng(1)
    groups = rng.integers(0, 3, 300)
    return (6 * np.eye(12)[groups] + rng.normal(size=(300, 12))).astype(np.float32), groups


class Stand:
    """Stands in for UMAP, whose compilation takes half a minute."""

    fits: list = []  # noqa: RUF012

    def __init__(self, *given):
        self.given = given

    def fit_transform(self, rows):
        self.fits.append(len(rows))
        return rows[:, :2] + 100

    def transform(self, rows):
        return rows[:, :2]


def test_pca_keeps_groups_apart_and_no_unit_decides(embedding):
    values, groups = embedding
    places = project(values, "pca")
    assert places.shape == (300, 2) and places.dtype == np.float32
    middles = np.array([places[groups == k].mean(axis=0) for k in range(3)])
    spread = max(places[groups == k].std(axis=0).max() for k in range(3))
    assert min(np.linalg.norm(middles[i] - middles[j]) for i, j in [(0, 1), (0, 2), (1, 2)]) > 2 * spread
    other = values * np.geomspace(1e-6, 1e6, 12, dtype=np.float32)
    np.testing.assert_allclose(project(other, "pca"), places, atol=1e-2)


def test_umap_is_fitted_on_some_and_the_rest_is_placed(embedding, monkeypatch):
    monkeypatch.setattr(projection, "_model", Stand)
    Stand.fits.clear()
    values, _ = embedding
    values[5] = np.nan
    places = project(values, fit_at_most=100, seed=3)
    assert Stand.fits == [100]
    assert (places[:, 0] > 50).sum() == 100 and np.isnan(places[5]).all()
    assert np.isfinite(np.delete(places, 5, axis=0)).all()


def test_what_was_projected_is_kept_by_content_and_parameters(embedding, tmp_path, monkeypatch):
    monkeypatch.setattr(projection, "_model", Stand)
    Stand.fits.clear()
    values, _ = embedding
    assert not is_projected(values, cache=tmp_path)
    first = project(values, cache=tmp_path)
    np.testing.assert_array_equal(project(values.astype(float), cache=tmp_path), first)
    assert len(Stand.fits) == 1 and is_projected(values, cache=tmp_path)
    project(values, seed=1, cache=tmp_path)
    project(values + 1, cache=tmp_path)
    assert len(Stand.fits) == 3 and len(list(tmp_path.iterdir())) == 3
    for place in tmp_path.iterdir():
        place.write_bytes(b"no array")
    np.testing.assert_array_equal(project(values, cache=tmp_path), first)
    assert len(Stand.fits) == 4


@pytest.mark.parametrize("shape", [(0, 4), (1, 4), (2, 1), (5, 3)])
def test_few_rows_and_few_columns(shape):
    places = project(np.random.default_rng(1).normal(size=shape))
    assert places.shape == (shape[0], 2) and np.isfinite(places).all()


def test_importing_umap_leaves_tensorflow_alone():
    import subprocess

    code = (
        "import sys; from radiowidgets.latent.projection import _load_umap; _load_umap().UMAP; "
        "print('tensorflow' in sys.modules, hasattr(sys.modules['umap'], 'ParametricUMAP'))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_warming_up_hides_nobodys_warnings(monkeypatch):
    working, done = threading.Event(), threading.Event()

    class Slow(Stand):
        def set_params(self, **_):
            return self

        def fit(self, rows):
            self.fits.append(len(rows))
            working.set()
            done.wait(10)

    monkeypatch.setattr(projection, "_model", Slow)
    monkeypatch.setattr(projection, "_compiled", None)
    with warnings.catch_warnings(record=True) as shown:
        warnings.simplefilter("always")
        thread = projection.warm_up()
        assert working.wait(10)
        warnings.warn("7 of 8 sources have no frame", stacklevel=1)
        done.set()
        thread.join()
    assert [str(warning.message) for warning in shown] == ["7 of 8 sources have no frame"]


def test_neighbours_are_the_nearest_and_nobody_their_own(embedding):
    values, _ = embedding
    values[1] = values[0]
    found, distances = nearest(values, 5)
    apart = np.linalg.norm(values[:, None] - values, axis=2)
    np.fill_diagonal(apart, np.inf)
    np.testing.assert_allclose(distances, np.sort(apart, axis=1)[:, :5], rtol=1e-5, atol=1e-5)
    assert found[0, 0] == 1 and not (found == np.arange(300)[:, None]).any()
    found, distances = nearest(values, 3, values[:4] + 0.01)
    assert found.shape == (4, 3) and set(found[:2, :2].ravel()) == {0, 1}


def test_neighbours_are_the_nearest_far_from_nought_too(embedding):
    values = embedding[0].copy()
    values[:150, 3] += 1e4
    values += 2000
    apart = np.linalg.norm(values[:, None].astype(float) - values.astype(float), axis=2)
    np.fill_diagonal(apart, np.inf)
    np.testing.assert_allclose(nearest(values, 5)[1], np.sort(apart, axis=1)[:, :5], rtol=1e-5)


def test_rows_that_are_all_alike_have_a_place(monkeypatch):
    monkeypatch.setattr(projection, "_model", Stand)
    assert np.array_equal(project(np.full((20, 4), 3.0)), np.zeros((20, 2)))
    assert np.array_equal(project(np.zeros((20, 0))), np.zeros((20, 2)))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"method": "tsne"}, "choose one of"),
        ({"seed": 0.5}, "seed is 0.5"),
        ({"neighbours": 1}, "from 2"),
        ({"min_distance": 1.5}, "0 to 1"),
    ],
)
def test_what_does_not_fit_is_said(embedding, given, words):
    with pytest.raises(ParameterError, match=words):
        project(embedding[0], **given)
    with pytest.raises(ParameterError, match="shape"):
        project(embedding[0][:, 0])
    with pytest.raises(ParameterError, match="from 1 to 299"):
        nearest(embedding[0], 300)
