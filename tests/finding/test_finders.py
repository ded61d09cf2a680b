import numpy as np
import pandas as pd
import pytest
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets.errors import ParameterError
from radiowidgets.finding.finders import COLUMNS, FINDERS, Found, find, source_table


def nothing(sky):
    return Found(source_table(sky, [], []))


def test_any_callable_is_a_finder_and_is_timed_and_named():
    found = find(noisy_sky(), nothing)
    assert found.name == "nothing" and found.seconds > 0 and len(found) == 0
    assert list(found.table.columns) == list(COLUMNS)


def test_a_table_has_positions_on_the_sky_and_the_map_s_values():
    sky = noisy_sky()
    table = source_table(sky, [3.2, 400.0], [5.0, 2.0], flux=[1.0, 2.0], island=[1, 2])
    assert table["peak"][0] == pytest.approx(sky.pixels[5, 3]) and np.isnan(table["peak"][1])
    np.testing.assert_allclose(sky.wcs.all_world2pix(table["ra"], table["dec"], 0)[0], table["x"], atol=1e-6)
    assert table["score"].isna().all() and (table["kind"] == "").all() and table["island"].tolist() == [1, 2]


@pytest.mark.parametrize("name", ["islands", "sep"])
def test_finders_by_name_agree_where_they_look(name):
    sky = noisy_sky()
    found = find(sky, name)
    assert name in FINDERS and found.name == name
    assert found.masks.shape == sky.shape
    x, y = np.rint(found.table[["x", "y"]].to_numpy()).astype(int).T
    assert (found.masks[y, x] == found.table["island"]).mean() > 0.9  # a ring's middle is not in its mask
    assert found.table["score"].between(0, 1).all()


def test_sources_above_a_score():
    table = source_table(noisy_sky(), [1, 2, 3], [1, 2, 3], score=[0.2, 0.9, np.nan])
    found = Found(table, patches=[(0, 0, np.ones((1, 1), bool))] * 3).above(0.5)
    assert found.table["x"].tolist() == [2, 3] and len(found.patches) == 2


def test_what_is_wrong_is_said():
    sky = noisy_sky()
    with pytest.raises(ParameterError, match="no column 'ra'"):
        Found(pd.DataFrame({"x": [1.0], "y": [1.0]}), "mine")
    with pytest.raises(ParameterError, match="no column 'island'"):
        Found(source_table(sky, [1], [1]), masks=np.zeros(sky.shape, np.int32))
    with pytest.raises(ParameterError, match="source 1 of finder 'mine' has no position"):
        Found(source_table(sky, [1, np.nan], [1, 2]), "mine")
    with pytest.raises(ParameterError, match="2 patches for 1"):
        Found(source_table(sky, [1], [1]), patches=[(0, 0, np.ones((1, 1), bool))] * 2)
    with pytest.raises(ParameterError, match="must return a Found"):
        find(sky, rw.find_sources)
    with pytest.raises(ParameterError, match="options are for a finder by name"):
        find(sky, nothing, seed=3)
    with pytest.raises(ParameterError, match="choose one of 'islands'"):
        find(sky, "aegean")
    with pytest.raises(ParameterError, match=r"cosmodeep-islands: got an unexpected.*'thresh'.*see help"):
        find(sky, "cosmodeep-islands", thresh=3)
