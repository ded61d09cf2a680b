import numpy as np
import pytest

from radiowidgets.errors import ParameterError
from radiowidgets.models import augment
from radiowidgets.models.augment import PIPELINES, pipeline

ALL = [
    augment.RandomCropResize,
    augment.RandomZoomTurn,
    augment.RandomFlip,
    augment.RandomQuarterTurn,
    augment.ColorJitter,
    augment.RandomContrast,
    augment.RandomGamma,
    augment.RandomNoise,
    augment.GaussianBlur,
    augment.RandomThresholding,
]


@pytest.fixture(scope="module")
def images():
    return np.random.default_rng(0).uniform(0, 1, (12, 32, 32, 3)).astype(np.float32)


def run(layer, images):
    return np.asarray(layer(images, training=True))


@pytest.mark.parametrize("kind", ALL)
def test_contract(kind, images):
    first, again, other = (run(kind(seed=seed), images) for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.array_equal(first, other)
    assert first.shape == images.shape
    assert first.min() >= 0 and first.max() <= 1 + 1e-6
    assert np.array_equal(np.asarray(kind(seed=1)(images)), images), "only training changes images"
    assert np.array_equal(run(kind(probability=0.0, seed=1), images), images)
    copy = kind.from_config(kind(seed=1).get_config())
    assert np.array_equal(run(copy, images), first)


@pytest.mark.parametrize("kind", [augment.GaussianBlur, augment.RandomThresholding, augment.ColorJitter])
def test_probability_is_of_each_image(kind):
    images = np.random.default_rng(0).uniform(0.2, 0.8, (400, 8, 8, 1)).astype(np.float32)
    changed = (run(kind(probability=0.25, seed=3), images) != images).any(axis=(1, 2, 3)).mean()
    assert 0.18 < changed < 0.32


def test_threshold_leaves_the_brighter_half(images):
    out = run(augment.RandomThresholding(40, 60, probability=1.0), images)
    dark = (out == 0).mean(axis=(1, 2))
    assert dark.min() > 0.38 and dark.max() < 0.62
    assert len(np.unique(dark)) > 12, "each channel has its own percentile"
    assert np.array_equal(out[out > 0], images[out > 0])


def test_turns_and_flips_move_pixels_only(images):
    turned = run(augment.RandomQuarterTurn(1.0), images)
    for image, result in zip(images, turned, strict=True):
        assert any(np.array_equal(np.rot90(image, k), result) for k in (1, 2, 3))
    flipped = run(augment.RandomFlip(0.33), np.repeat(images[:1], 300, axis=0))
    kinds = [images[0], images[0][:, ::-1], images[0][::-1]]
    share = [np.mean([np.array_equal(k, f) for f in flipped]) for k in kinds]
    assert sum(share) == 1 and min(share) > 0.2


def test_blur_keeps_a_flat_field_and_spreads_a_point_by_its_sigma():
    flat = np.full((3, 33, 33, 1), 0.7, np.float32)
    assert np.allclose(run(augment.GaussianBlur(2, 2, probability=1.0), flat), 0.7, atol=1e-5)
    point = np.zeros((1, 33, 33, 1), np.float32)
    point[0, 16, 16] = 1
    out = run(augment.GaussianBlur(2, 2, probability=1.0), point)[0, :, :, 0]
    assert out.sum() == pytest.approx(1, abs=1e-3)
    assert (out.sum(0) * (np.arange(33) - 16) ** 2).sum() == pytest.approx(4, rel=0.02)


def test_a_crop_enlarges():
    ramp = np.broadcast_to(np.linspace(0, 1, 64, dtype=np.float32)[None, :, None], (20, 64, 64, 1))
    out = run(augment.RandomCropResize(0.5, 0.5), np.ascontiguousarray(ramp))
    span = out[:, 32, -1, 0] - out[:, 32, 0, 0]
    assert np.allclose(span, 0.5, atol=1e-4)


def test_a_turn_keeps_the_centre():
    image = np.zeros((5, 33, 33, 1), np.float32)
    image[:, 16, 16] = 1
    out = run(augment.RandomZoomTurn(1.0, 1.0), image)
    assert np.allclose(out[:, 16, 16, 0], 1, atol=1e-3)


def test_pipelines_of_the_papers(images):
    table = [(kind.__name__, options.get("probability")) for kind, options in PIPELINES["peculiar-frames"]]
    assert table == [
        ("RandomCropResize", None), ("ColorJitter", None), ("RandomFlip", 0.33), ("RandomQuarterTurn", 0.5),
        ("GaussianBlur", 0.1), ("RandomThresholding", 0.5),
    ]  # fmt: skip
    assert augment.ColorJitter().probability == 0.8
    for name in PIPELINES:
        out = run(pipeline(name, 5), images)
        assert out.shape == images.shape and np.isfinite(out).all()
    assert len(pipeline("peculiar-frames", thresholding=False).layers) == 5
    with pytest.raises(ParameterError, match="choose one of 'peculiar-frames'"):
        pipeline("moco")


def test_bad_parameters_are_named():
    with pytest.raises(ParameterError, match=r"probability is 1\.5"):
        augment.GaussianBlur(probability=1.5)
    with pytest.raises(ParameterError, match="the smaller one first"):
        augment.RandomContrast(2.0, 1.0)
    with pytest.raises(ParameterError, match="8 by 9 pixels cannot be turned"):
        run(augment.RandomQuarterTurn(), np.zeros((2, 8, 9, 1), np.float32))
