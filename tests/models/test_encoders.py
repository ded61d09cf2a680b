import numpy as np
import pytest

from radiowidgets.errors import ParameterError
from radiowidgets.models.encoders import ENCODERS, make_encoder

WEIGHTS = {"small": (0.3e6, 1.5e6), "resnet18": (11.1e6, 11.3e6), "resnet50": (23.4e6, 23.6e6)}
WIDTHS = {"resnet18": 512, "resnet50": 2048}


@pytest.mark.parametrize("name", ENCODERS)
def test_any_size_from_32_pixels_and_any_channels(name):
    encoder = make_encoder(name, channels=2)
    least, most = WEIGHTS[name]
    assert least < encoder.count_params() < most
    width = WIDTHS.get(name, encoder.output_shape[-1])
    for height, across in ((32, 32), (33, 47)):
        out = np.asarray(encoder(np.zeros((2, height, across, 2), np.float32)))
        assert out.shape == (2, width)
        assert np.isfinite(out).all()


def test_weights_are_seeded():
    first, again, other = (make_encoder("small", seed=seed).get_weights() for seed in (3, 3, 4))
    assert all(np.array_equal(a, b) for a, b in zip(first, again, strict=True))
    assert not np.array_equal(first[0], other[0])


def test_what_does_not_exist_is_named():
    with pytest.raises(ParameterError, match="resnet34"):
        make_encoder("resnet34")
    with pytest.raises(ParameterError, match="channels is 0"):
        make_encoder("small", channels=0)
