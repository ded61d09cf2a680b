"""The Python half of LatentExplorer: every message of the front end and its answer, without a browser."""

import json
import zlib

import numpy as np
import pandas as pd
import pytest
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets.data.query import Words
from radiowidgets.errors import ParameterError
from radiowidgets.widgets import explorer as explorer_module
from radiowidgets.widgets.bundle import module
from radiowidgets.widgets.colouring import colour_by
from radiowidgets.widgets.explorer import LatentExplorer

WHERE = {"plane": "pca", "x": "", "y": "", "colour": "", "log": None}
SIZE = {"width": 300, "height": 200}


@pytest.fixture
def run(tmp_path):
    return rw.Run.create(tmp_path / "run", rw.cut_windows(noisy_sky(), size=64, step=32), annotator="ada")


class Front:
    """Stands in for the browser: sends messages and keeps the answers."""

    def __init__(self, *given, **named):
        self.answers = []
        self.explorer = LatentExplorer(*given, **named)
        self.explorer.send = lambda content, buffers=(): self.answers.append((content, list(buffers)))

    def __call__(self, kind, **content):
        self.explorer._receive(None, {"kind": kind, **WHERE, **content}, [])
        json.dumps(self.answers[-1][0], allow_nan=False)
        return self.answers[-1]

    def lasso_all(self, **content):
        x0, x1, y0, y1 = self("view", range=None, **SIZE, **content)[0]["range"]
        line = [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]
        return self("select", how="line", line=line, **content)[0]


def test_few_points_come_as_dots_with_their_frames(run):
    front = Front(run, plane="pca")
    content, buffers = front("view", range=None, **SIZE, colour="score")
    places = np.frombuffer(buffers[0], np.uint16).reshape(-1, 2) / 65535
    codes, frames = np.frombuffer(buffers[1], np.uint8), np.frombuffer(buffers[3], np.uint32)
    assert content["what"] == "dots" and content["points"] == len(frames) == len(run)
    assert content["legend"]["kind"] == "scale" and not buffers[2]
    assert (codes >= 2).all()
    order = np.argsort(run.order["score"].to_numpy()[frames], kind="stable")
    assert (np.diff(codes[order].astype(int)) >= 0).all()
    x0, x1, _, _ = content["range"]
    projected = run.projection("pca")
    np.testing.assert_allclose(x0 + (x1 - x0) * places[:, 0], projected[frames, 0], atol=1e-3 * (x1 - x0))


def test_many_points_come_as_a_picture_of_the_size_of_the_screen(monkeypatch):
    monkeypatch.setattr(explorer_module, "MOST_DOTS", 100)
    rng = np.random.default_rng(1)
    points = rng.normal(size=(5000, 2)).astype(np.float32)
    front = Front(points, columns={"class": np.where(points[:, 0] > 0, "right", "left")})
    content, buffers = front("view", plane="places", range=None, **SIZE, colour="class")
    layers = np.frombuffer(zlib.decompress(buffers[0]), np.uint8).reshape(2, 200, 300)
    assert content["what"] == "picture" and content["points"] == 5000
    assert ((layers[0] > 0) == (layers[1] > 0)).all()
    names = content["legend"]["names"]
    assert set(layers[1][:, 160:][layers[0][:, 160:] > 0]) == {names.index("right") + 2}
    front("select", plane="places", how="query", query='col("class") == "left"')
    assert (points[front.explorer.selected, 0] <= 0).all() and len(front.explorer.selected) > 2000
    content, buffers = front("view", plane="places", range=None, **SIZE)
    layers = np.frombuffer(zlib.decompress(buffers[0]), np.uint8).reshape(2, 200, 300)
    assert content["marked"] and not content["coded"]
    assert not layers[1][:, 160:].any() and (layers[1][:, :140] > 0).any()


def test_a_lasso_selects_adds_and_takes_away(run):
    front = Front(run)
    everything = front.lasso_all()
    seen = np.isfinite(run.projection("pca")).all(axis=1)
    assert everything["selected"] == seen.sum() and len(everything["shown"]) == 12
    x, y = run.projection("pca")[7].tolist()
    tiny = [[x - 1e-3, y - 1e-3], [x + 1e-3, y - 1e-3], [x, y + 2e-3]]
    front("select", how="line", line=tiny, mode="remove")
    assert 7 not in front.explorer.selected
    front("select", how="none")
    assert front("select", how="line", line=tiny, mode="add")[0]["selected"] == 1
    np.testing.assert_array_equal(front.explorer.selected, [7])
    front.explorer.select("rank <= 5")
    assert len(front.explorer.selected) == 5 and front.answers[-1][0]["kind"] == "selected"
    front.explorer.select([3, 1])
    np.testing.assert_array_equal(front.explorer.selected, [1, 3])


def test_a_selection_is_labelled_at_once_and_undone(run):
    front = Front(run)
    front.explorer.select("rank <= 20")
    serial = front.explorer.serial
    saved, _ = front("act", id="a", serial=serial, add=["PECULIAR"])
    assert saved["kind"] == "saved" and saved["stale"]
    assert len(run.labels.events()) == 1 and run.find('tag == "peculiar"').sum() == 20
    again, _ = front("act", id="a", serial=serial, add=["PECULIAR"])
    assert again["kind"] == "saved" and len(run.labels.events()) == 1
    front("act", id="b", serial=serial, interest=4)
    assert run.find("my_interest == 4").sum() == 20
    front("undo", id="c")
    assert run.find("my_interest == 4").sum() == 0
    front.explorer.select([0])
    refused, _ = front("act", id="d", serial=serial, interest=0)
    assert refused["kind"] == "refused" and "changed" in refused["text"]
    content, _ = front("act", id="e", serial=front.explorer.serial, frame=5, interest=2)
    assert content["kind"] == "saved" and run.column("my_interest")[5] == 2


def test_the_gallery_shows_the_selection_and_rings_where_it_is(run):
    review = rw.Review(run)
    front = Front(run, review=review)
    front.explorer.select("rank <= 9")
    answer, _ = front("review")
    assert not answer["below"]
    query = review.view["filters"]["query"]
    np.testing.assert_array_equal(np.flatnonzero(run.find(query)), front.explorer.selected)
    review.view = {**review.view, "cursor": 3}
    content, _ = front.answers[-1]
    assert content["kind"] == "cursor" and content["frame"] == 3 and len(content["place"]) == 2
    front.explorer.select("rank <= 2")
    front("review")
    assert review.view["filters"]["query"] != query and run.find(review.view["filters"]["query"]).sum() == 2
    own = Front(run)
    own.explorer.select([1])
    assert own("review")[0]["below"] and own.explorer.gallery is not None


def test_hover_and_choice_tell_a_frame_and_what_is_like_it(run):
    front = Front(run)
    x, y = run.projection("pca")[11].tolist()
    content, buffers = front("hover", x_at=x, y_at=y, reach_x=1e-4, reach_y=1e-4, size=64, colour="rms")
    assert content["frame"] == 11 and len(buffers[0]) == 64 * 64 * 2
    assert content["tile"]["frames"] == [11]
    assert dict(content["rows"])["rms"] == f"{run.frames.noise.rms[11]:.4g}"
    content, _ = front("choose", frame=11)
    assert [one["frame"] for one in content["neighbours"]] == run.neighbours(11)[0].tolist()
    assert front.explorer.current == 11
    front("select", how="neighbours", frame=11)
    assert set(front.explorer.selected) == {11, *run.neighbours(11)[0].tolist()}
    assert front("hover", x_at=1e6, y_at=0, reach_x=1, reach_y=1)[0]["frame"] == -1
    front("choose", frame=-1)
    assert front.explorer.current is None


def test_planes_of_the_sky_the_map_and_two_columns(run):
    front = Front(run)
    assert list(front("index")[0]["planes"]) == ["umap", "pca", "sky", "map", "columns"]
    places = front.explorer._plane({"plane": "sky"})[0].places(np.arange(len(run)))
    assert np.corrcoef(places[:, 0], run.frames.ra)[0, 1] < -0.999  # east is to the left
    np.testing.assert_allclose(places[:, 1], run.frames.dec, rtol=1e-6)
    content, _ = front("view", plane="columns", x="score", y="rms", range=None, **SIZE)
    assert (content["plane"]["x"], content["plane"]["equal"]) == ("score", False)


def test_pca_stands_in_until_umap_is_made(run, monkeypatch):
    made = []

    def projection(_run, method, *, seed):
        made.append((method, seed))
        return np.ones((len(run), 2))

    monkeypatch.setattr(rw.Run, "projection", projection)
    front = Front(run)
    first, _ = front("view", plane="umap", range=None, **SIZE)
    assert first["plane"]["waiting"]
    front.explorer._making.join(10)
    assert "ready" in {content["kind"] for content, _ in front.answers}
    assert sorted(made) == [("pca", 0), ("umap", 0)]
    for plane in ("umap", "sky", "map", "pca", "columns", "umap"):  # more than are kept
        shown, _ = front("view", plane=plane, x="rms", y="score", range=None, **SIZE)
        assert "waiting" not in shown["plane"]


def test_pca_stays_where_umap_cannot_be_made(run, monkeypatch):
    def projection(_run, method, *, seed):
        if method == "umap":
            raise ParameterError("no UMAP today")
        return np.ones((len(run), 2))

    monkeypatch.setattr(rw.Run, "projection", projection)
    front = Front(run)
    front("view", plane="umap", range=None, **SIZE)
    front.explorer._making.join(10)
    assert any("no UMAP today" in content.get("error", "") for content, _ in front.answers)
    assert not front("view", plane="umap", range=None, **SIZE)[0]["plane"]["waiting"]


def test_an_embedding_needs_no_run():
    values = np.random.default_rng(1).normal(size=(60, 5))
    front = Front(
        values, columns=pd.DataFrame({"z": values[:, 0], "kind": ["a", "b", None] * 20}), colour="kind"
    )
    content, _ = front("index")
    assert content["planes"].keys() == {"umap", "pca"} and not content["labels"] and not content["pictures"]
    assert front("choose", frame=3)[0]["neighbours"][0]["frame"] != 3
    legend = front("view", range=None, **SIZE, colour="kind")[0]["legend"]
    assert legend["names"] == ["a", "b"] and legend["none"] == 20
    front("select", how="category", code=1, colour="kind")
    np.testing.assert_array_equal(front.explorer.selected, np.arange(1, 60, 3))
    assert "no run" in front("act", id="a", serial=1, interest=3)[0]["text"]


@pytest.mark.parametrize(
    "message",
    [
        {"kind": "nonsense"},
        None,
        {"kind": "view", "plane": "moon"},
        {"kind": "view", **WHERE, **SIZE, "range": [0, 0, 1, 2]},
        {"kind": "view", **WHERE, **SIZE, "range": None, "colour": "nothing"},
        {"kind": "select", **WHERE, "how": "line", "line": [[0, 0]]},
        {"kind": "select", **WHERE, "how": "query", "query": "__import__('os')"},
        {"kind": "choose", **WHERE, "frame": 10**9},
        {"kind": "tiles", "frames": [-1], "size": 64},
        {"kind": "hover", **WHERE},
    ],
)
def test_a_wrong_message_is_answered_with_a_line(run, message):
    front = Front(run)
    front.explorer._receive(None, message, [])
    content, _ = front.answers[-1]
    assert content["kind"] == "error" and content["text"]


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({"data": np.zeros(5)}, "shape"),
        ({"data": np.zeros((5, 2)), "columns": {"a": [1]}}, "1 rows"),
        ({"data": np.zeros((5, 2)), "columns": {"a": np.zeros((5, 2))}}, "2 dimensions"),
        ({"data": np.zeros((5, 2)), "colour": "b"}, "choose one of"),
        ({"data": np.zeros((5, 2)), "plane": "umap"}, "choose one of"),
    ],
)
def test_what_does_not_fit_is_said(given, words):
    with pytest.raises(ParameterError, match=words):
        LatentExplorer(**given)


@pytest.mark.parametrize("frames", [np.ones(3, bool), [1.5], ["x"], [[0, 1]], [5]])
def test_what_cannot_be_selected_is_said(frames):
    with pytest.raises(ParameterError, match="frames "):
        LatentExplorer(np.zeros((5, 2))).select(frames)


def test_a_scale_is_logarithmic_where_numbers_span_far():
    wide = colour_by("flux", np.geomspace(1e-3, 1e3, 500), 500)
    assert wide.legend["log"] and wide.legend["can_log"]
    assert wide.words(0) == "0.001"
    codes = wide.codes(wide.values)
    assert codes[0] == 2 and codes[-1] == 255 and (np.diff(codes.astype(int)) >= 0).all()
    signed = colour_by("alpha", np.array([-1.0, np.nan, 2.0]), 3)
    assert not signed.legend["log"] and not signed.legend["can_log"]
    assert signed.codes(signed.values).tolist()[1] == 1
    for odd in ([], [np.nan], [3.0, 3.0]):
        colouring = colour_by("odd", np.array(odd), len(odd))
        assert len(colouring.codes(colouring.values)) == len(odd)


def test_numbers_of_any_size_have_a_scale():
    bright = colour_by("luminosity", np.geomspace(1e40, 3e40, 50), 50)
    assert bright.legend["log"] and (np.diff(bright.codes(bright.values).astype(int)) > 0).any()
    same = colour_by("id", np.full(4, 2**63, np.uint64), 4)
    assert same.legend["limits"][0] < same.legend["limits"][1] and (same.codes(same.values) > 1).all()


@pytest.mark.parametrize(
    ("column", "kind", "words"),
    [
        (pd.to_datetime(["2020-01-01", "2020-07-02", None]), "scale", ["2020.0000", "2020.5000", None]),
        (pd.to_datetime(["2021-07-02T12:00"] * 3).tz_localize("UTC"), "scale", ["2021.5000"] * 3),
        (pd.to_timedelta([1, 60, 2], unit="s"), "scale", ["1", "60", "2"]),
        (pd.array([7, None, 9], dtype="Int64"), "scale", ["7", None, "9"]),
        (np.array([1.5, None, 2], object), "scale", ["1.5", None, "2"]),
        (pd.array([True, None, False], dtype="boolean"), "category", ["yes", None, "no"]),
        (pd.Categorical(["a", "b", None]), "category", ["a", "b", None]),
        (pd.Series(["x" * 500, "b", None], index=[7, 8, 9]), "category", ["x" * 59 + "…", "b", None]),
    ],
)
def test_columns_of_any_kind_colour_and_are_told(column, kind, words):
    front = Front(np.arange(6.0).reshape(3, 2), columns={"given": column})
    where = {"plane": "places", "colour": "given"}
    assert front("view", range=None, **SIZE, **where)[0]["legend"]["kind"] == kind
    told = [dict(front("choose", frame=k, **where)[0]["rows"]).get("given") for k in range(3)]
    assert told == words
    assert front("select", how="query", query="given == 7", **where)[0]["kind"] in ("select", "error")


def test_a_hover_colours_by_no_column(monkeypatch):
    columns = {f"c{k}": np.arange(3.0) for k in range(6)}
    front = Front(np.arange(6.0).reshape(3, 2), columns=columns)
    front("view", range=None, **SIZE, plane="places", colour="c0")
    monkeypatch.setattr(explorer_module, "colour_by", None)
    assert len(front("choose", frame=1, plane="places", colour="c0")[0]["rows"]) == 5


def test_of_several_tags_the_rarest_is_shown():
    words = Words.gather([(0, "compact"), (1, "compact"), (0, "peculiar"), (2, "compact")])
    colouring = colour_by("tag", words, 4, colours={"compact": "#112233"}, words={"compact": "COMPACT"})
    assert colouring.legend["names"] == ["COMPACT", "peculiar"]
    assert colouring.values.tolist() == [1, 0, 0, -1]
    many = colour_by("kind", np.array([f"k{i}" for i in range(40)]), 40)
    assert len(many.legend["names"]) == 12 and many.legend["names"][-1] == "29 others"


def test_the_front_end_is_one_module_without_imports_or_markup():
    source = module("explorer")
    assert source.count("export default") == 1 and "\nimport " not in source
    assert "innerHTML" not in source and "insertAdjacentHTML" not in source
