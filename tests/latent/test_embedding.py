import numpy as np
import pytest

import radiowidgets as rw
from radiowidgets.errors import ParameterError
from radiowidgets.latent import embedding
from radiowidgets.latent.embedding import embed


@pytest.fixture(scope="module")
def frames():
    return rw.cut_windows(rw.simulate("emu", size=256, seed=1), size=64)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("RADIOWIDGETS_DATA", str(tmp_path / "cache"))


class Counting:
    """An encoder that counts the frames it sees."""

    fingerprint = "counting-1"

    def __init__(self, stop_after=None):
        self.seen, self.stop_after = 0, stop_after

    def __call__(self, batch):
        if self.stop_after is not None and self.seen >= self.stop_after:
            raise KeyboardInterrupt
        self.seen += len(batch)
        return np.stack([batch.mean((1, 2, 3)), batch.std((1, 2, 3))], 1)


def test_any_callable(frames):
    shapes = []

    def encoder(batch):
        shapes.append(batch.shape)
        return batch.reshape(len(batch), -1)[:, :5].astype(np.float64)

    z = embed(frames, encoder, size=32, batch_size=20)
    assert z.shape == (49, 5) and z.dtype == np.float32
    assert shapes == [(20, 32, 32, 1), (20, 32, 32, 1), (9, 32, 32, 1)]


def test_an_encoder_may_prepare_its_frames(frames):
    class Own:
        def prepare(self, frames):
            return frames.x[:, None].astype(float)

        def __call__(self, batch):
            return batch

    assert np.array_equal(embed(frames, Own())[:, 0], frames.x)


def test_what_was_stopped_goes_on(frames, tmp_path, monkeypatch):
    monkeypatch.setattr(embedding, "CHUNK", 10)
    whole = embed(frames, Counting(), cache=False)
    with pytest.raises(KeyboardInterrupt):
        embed(frames, Counting(stop_after=20), cache=tmp_path)
    rest = Counting()
    assert np.array_equal(embed(frames, rest, cache=tmp_path), whole)
    assert rest.seen == 29
    known = Counting()
    assert np.array_equal(embed(frames, known, cache=tmp_path), whole)
    assert known.seen == 0


def test_the_cache_knows_content_from_content(frames):
    images = frames.pixels(np.arange(4))[..., 0].copy()
    first = embed(rw.FrameSet.from_images(images), Counting())
    images[2, 5, 5] += 1.0
    changed = Counting()
    second = embed(rw.FrameSet.from_images(images), changed)
    assert changed.seen == 4 and not np.array_equal(first, second)
    known = Counting()
    embed(rw.FrameSet.from_images(images), known, size=32)
    assert known.seen == 4, "another size is another embedding"


def test_the_cache_sees_what_was_put_into_a_map(tmp_path):
    pixels = np.random.default_rng(3).normal(size=(512, 512)).astype(np.float32)
    other = pixels.copy()
    other[312:322, 200:210] += 50
    maps = [rw.SkyMap.from_array(array, name="sky") for array in (pixels, other)]
    assert maps[0].fingerprint == maps[1].fingerprint
    seen = [embed(rw.cut_windows(sky, size=64), Counting(), cache=tmp_path) for sky in maps]
    assert not np.array_equal(*seen)
    fits = tmp_path / "sky.fits"
    for sky, first in zip(maps, seen, strict=True):
        sky.write(fits, overwrite=True)
        assert np.array_equal(
            embed(rw.cut_windows(rw.SkyMap.open(fits), size=64), Counting(), cache=tmp_path), first
        )


@pytest.mark.parametrize(("given", "encoder"), [(np.zeros((3, 64, 64)), None), (None, "resnet18")])
def test_what_is_no_frames_or_no_encoder_is_told(frames, given, encoder):
    with pytest.raises(ParameterError, match="give frames"):
        embed(frames if given is None else given, encoder)


def test_without_a_fingerprint_nothing_is_kept(frames, tmp_path):
    embed(frames, lambda batch: batch[:, 0, 0], cache=tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def test_a_damaged_cache_is_made_again(frames, tmp_path):
    whole = embed(frames, Counting(), cache=tmp_path)
    (kept,) = tmp_path.rglob("*.npy")
    kept.write_bytes(kept.read_bytes()[:100])
    assert np.array_equal(embed(frames, Counting(), cache=tmp_path), whole)


@pytest.mark.parametrize(
    ("encoder", "said"),
    [
        (lambda batch: batch, "must be \\(49, d\\)"),
        (lambda batch: np.zeros((len(batch), 0)), "shape \\(49, 0\\)"),
        (lambda batch: np.full((len(batch), 3), np.nan), "not finite for 49 of 49"),
        (lambda batch: np.zeros((len(batch) - 1, 3)), "shape \\(48, 3\\) for 49 frames"),
    ],
)
def test_encoders_that_do_no_good_are_told(frames, encoder, said):
    with pytest.raises(ParameterError, match=said):
        embed(frames, encoder)


def test_no_frames_and_no_batches_are_told(frames):
    with pytest.raises(ParameterError, match="no frames to embed"):
        embed(rw.FrameSet.from_images([]), Counting())
    with pytest.raises(ParameterError, match="batch_size is 0"):
        embed(frames, Counting(), batch_size=0)


def test_turns_make_the_embedding_blind_to_how_a_frame_lies(tmp_path):
    images = np.random.default_rng(0).random((3, 16, 16)).astype(np.float32)
    lying = [np.rot90(image)[::-1] for image in images]

    def corner(batch):
        return batch[:, :4, :6].mean(axis=(1, 2))

    def both(turns):
        return [
            embed(rw.FrameSet.from_images(list(some)), corner, size=16, turns=turns)
            for some in (images, lying)
        ]

    one, other = both(1)
    assert np.abs(one - other).max() > 0.01
    np.testing.assert_allclose(*both(8), rtol=1e-5)
    known = Counting()
    embed(rw.FrameSet.from_images(list(images)), known, cache=tmp_path, turns=4)
    assert known.seen == 12, "each frame four times"
    embed(rw.FrameSet.from_images(list(images)), known, cache=tmp_path)
    assert known.seen == 15, "other turns are another embedding"
    with pytest.raises(ParameterError, match="turns"):
        embed(rw.FrameSet.from_images(list(images)), corner, turns=3)
