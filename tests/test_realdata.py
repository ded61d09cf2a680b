"""The whole path on maps that nobody here made."""

import numpy as np
import pytest

import radiowidgets as rw
from radiowidgets import cli
from radiowidgets.errors import MapError

pytestmark = pytest.mark.realdata


def bubble(sky: rw.SkyMap) -> np.ndarray:
    """The pixels of the largest region that stands out after smoothing by 3 px (above median + 15 MAD-sigma)."""
    from scipy.ndimage import gaussian_filter, label

    pixels = np.nan_to_num(sky.pixels)
    smooth = gaussian_filter(pixels, 3)
    middle = np.median(smooth)
    above = smooth > middle + 15 * 1.4826 * np.median(np.abs(smooth - middle))
    regions, _ = label(above)
    return regions == np.argmax(np.bincount(regions.ravel())[1:]) + 1


def test_the_bubble_of_scorpio_comes_first_and_no_blank_border(realdata):
    sky = rw.SkyMap.open(realdata / "scorpio" / "ScorpioS17Field.fits")
    frames = rw.cut_windows(sky, size=128, step=32)
    ranked = rw.rank(frames)
    inside = bubble(sky)[frames.y + 64, frames.x + 64]
    places = np.sort(ranked["rank"].to_numpy()[inside])
    assert inside.sum() == 28
    assert places[0] <= 0.01 * len(frames)
    assert places[len(places) // 2 - 1] <= 0.1 * len(frames)
    top = frames.noise.blank_fraction[ranked["rank"].to_numpy() <= 20]
    assert (top < 0.05).all()


def test_the_bubble_of_scorpio_is_one_object(realdata, tmp_path):
    sky = rw.SkyMap.open(realdata / "scorpio" / "ScorpioS17Field.fits")
    frames = rw.cut_windows(sky, size=128, step=32)
    run = rw.Run.create(tmp_path / "run", frames)
    shown = bubble(sky)
    inside = shown[frames.y + 64, frames.x + 64]
    table = run.objects(top=84)
    holders = [set(members.split(";")) for members in table["members"]]
    wanted = {
        frame_id for frame_id in frames.frame_ids[inside] if any(frame_id in those for those in holders)
    }
    assert len(wanted) >= 10 and wanted <= holders[0]
    y, x = np.nonzero(shown)
    assert np.hypot(table["x"][0] - x.mean(), table["y"][0] - y.mean()) < 0.05 * np.ptp(x)
    assert table["size"][0] == pytest.approx(np.ptp(x) * sky.pixel_scale, rel=0.25)


@pytest.mark.parametrize(
    ("path", "size"),
    [
        ("scorpio/ScorpioS17Field.fits", 128),
        ("scorpio/ScorpioFaintSNRField.fits", 128),
        ("lotss_dr1/P205+55-mosaic.fits", 64),
    ],
)
def test_rank_and_review_work_on(realdata, tmp_path, path, size):
    run_path = tmp_path / "run"
    assert (
        cli.main(
            [
                "rank",
                str(realdata / path),
                "-o",
                str(run_path),
                "--size",
                str(size),
                "--step",
                "32",
                "--quiet",
            ]
        )
        == 0
    )
    review_answers(rw.Run.open(run_path, annotator="ada"))


@pytest.mark.parametrize("folder", ["small_maps", "yso_radio_maps"])
@pytest.mark.filterwarnings("ignore:.*frames hold sky:UserWarning")
def test_every_map_of_a_folder_is_ranked_or_refused_with_one_line(realdata, tmp_path, folder):
    skies, refused = [], []
    for path in sorted((realdata / folder).rglob("*.fits*")):
        try:
            skies.append(rw.SkyMap.open(path))
        except MapError as error:
            refused.append(str(error))
    assert len(skies) >= 5
    assert all("\n" not in line and len(line) < 400 for line in refused)
    for number, sky in enumerate(skies):
        frames = rw.cut_windows(sky, size=64)
        run = rw.Run.create(tmp_path / f"run{number}", frames, annotator="ada")
        assert np.isfinite(run.features.to_numpy()).all()
        review_answers(run)


def review_answers(run: rw.Run) -> None:
    answers = []
    review = rw.Review(run)
    review.send = lambda content, buffers=(): answers.append((content, buffers))
    few = list(range(min(len(run), 12)))
    for message in (
        {"kind": "index"},
        {"kind": "tiles", "request": 1, "frames": few, "size": 64},
        {"kind": "large", "frame": few[-1]},
        {"kind": "act", "id": "a", "frames": few[:1], "interest": 4},
    ):
        review._receive(None, message, [])
    kinds = [content["kind"] for content, _ in answers]
    assert kinds[:4] == ["index", "tiles", "large", "saved"]
    assert set(kinds[4:]) <= {"order"}  # it follows what was said, in its own time
    tiles = np.frombuffer(answers[1][1][0], np.float16).reshape(len(few), 64, 64)
    frames = run.frames.pixels(few, size=64)[..., 0]
    np.testing.assert_array_equal(np.isnan(tiles[:, ::-1]), np.isnan(frames))
