"""Mock fields of compact sources with their classes."""

import numpy as np
import pytest

from radiowidgets.data.compact import mock_compact
from radiowidgets.data.simulate.galactic import CLASSES
from radiowidgets.errors import ParameterError


def test_a_mock_field_gives_sources_with_classes_in_the_bands_asked_for(tmp_path):
    frames = mock_compact(tmp_path / "field", size=224, seed=2, bands=("radio", "12um"), density=4000)
    assert frames.channels == ("radio", "12um") and len(frames) >= 8
    table = frames.sources
    assert set(table["label"]) <= set(CLASSES) and set(table["population"]) <= set(CLASSES)
    assert (table["snr"] > 3).all() and table["label"].notna().all()
    middle = frames.width // 2
    for k in (0, len(frames) - 1):
        radio = frames[k].pixels[..., 0]
        near = radio[middle[k] - 2 : middle[k] + 3, middle[k] - 2 : middle[k] + 3]
        assert np.nanmax(near) > 3 * np.nanstd(radio[:3]), "the source is in the middle"
    again = mock_compact(tmp_path / "field", size=224, seed=2, bands=("radio", "12um"), density=4000)
    np.testing.assert_array_equal(again.pixels([0]), frames.pixels([0]))
    with pytest.raises(ParameterError, match="band is '24um'"):
        mock_compact(tmp_path / "other", bands=("radio", "24um"))
