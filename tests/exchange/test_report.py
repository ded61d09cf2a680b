"""The report: one page that needs no other file, in which what people wrote stays text."""

import base64
import io
import re
import xml.etree.ElementTree as ET

import numpy as np
import pytest
from PIL import Image
from skies import noisy_sky

import radiowidgets as rw
from radiowidgets import cli
from radiowidgets.errors import ParameterError
from radiowidgets.exchange.report import _ticks, scale_bar
from radiowidgets.labels.log import LabelLog
from radiowidgets.run.outputs import yield_curves

NASTY = '<script>alert("x")</script>&amp;\u202e</style>'


def parse(page):
    """Return the tree of a page; html5lib stops at the first thing that is no HTML."""
    import html5lib

    parser = html5lib.HTMLParser(strict=True, namespaceHTMLElements=False)
    return parser.parse(page)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    sky = noisy_sky(name="a-field")
    run = rw.Run.create(
        tmp_path_factory.mktemp("runs") / "a run & more", rw.cut_windows(sky, size=64), annotator="ada",
        parameters={"size": 64, "why": NASTY},
    )  # fmt: skip
    ids = list(run.selection(top=9)["frame_id"])
    run.labels.record([ids[0]], interest=5, add=["PECULIAR", "<i>mine</i>"], note=NASTY)
    run.labels.record(ids[1:5], interest=1, add=["ARTEFACT"])
    run.labels.record([ids[5]], interest=4)
    with LabelLog(run.path / "labels", annotator="<b>bob</b>") as log:
        log.record(ids[:3], interest=5)
    run.labels.refresh()
    return run


@pytest.fixture(scope="module")
def page(run, tmp_path_factory):
    path = run.report(tmp_path_factory.mktemp("out") / "report.html", top=8)
    return path.read_text("utf-8")


def test_it_is_one_page_of_html_that_loads_and_runs_nothing(page):
    tree = parse(page)
    tags = {element.tag for element in tree.iter()}
    assert not tags & {"script", "iframe", "object", "link", "form", "b/"}
    for element in tree.iter():
        assert not any(name.startswith("on") for name in element.attrib)
        source = element.get("src") or element.get("href")
        assert source is None or source.startswith("data:image/png;base64,")
    assert "http" not in re.sub(r'http-equiv|"data:[^"]*"', "", page) and "@import" not in page
    policy = tree.find(".//meta[@http-equiv='Content-Security-Policy']").get("content")
    assert "default-src 'none'" in policy


def test_texts_of_people_and_headers_stay_text(page):
    tree = parse(page)
    text = "".join(tree.itertext())
    assert "<script>alert" in text and "<b>bob</b>" in text and "\u202e" not in page
    assert "<script" not in page and "<b>bob" not in page and page.count("</style>") == 1
    assert tree.find(".//h1").text == "a run & more"


def test_it_shows_the_interesting_objects_first_and_then_the_order(run, page):
    tree = parse(page)
    figures = tree.findall(".//figure")
    objects = run.objects(top=60)
    assert len(figures) == 8
    ranks = [int(figure.find(".//span[@class='rank']").text) for figure in figures]
    names = [figure.find(".//div[@class='name']").text for figure in figures]
    assert names[0] in set(objects["name"]) and ranks[0] == 1
    liked = int((objects["interest"] >= 4).sum())
    assert ranks[:liked] == sorted(ranks[:liked]) and ranks[liked:] == sorted(ranks[liked:])
    picture = figures[0].find(".//img").get("src").partition(",")[2]
    image = np.asarray(Image.open(io.BytesIO(base64.b64decode(picture))).convert("RGB"))
    assert image.shape == (200, 200, 3) and image.std() > 5
    tags = [chip.text for chip in figures[0].findall(".//span[@class='tag']")]
    assert "PECULIAR" in tags


def test_it_tells_the_numbers_the_settings_and_the_fingerprints(run, page):
    text = " ".join("".join(parse(page).itertext()).split())
    sky = run.frames.maps["a-field"]
    for told in (run.about["maps"]["a-field"]["fingerprint"], run.about["ranking"]["method"], "size", "0.944 GHz",
                 f"numpy {np.__version__}", "ada: 2 in 6 looks", "3 in 3 looks", "kappa", rw.__version__):  # fmt: skip
        assert told in text, told
    assert str(sky.unit) in text
    curves = yield_curves(run, 4)
    assert curves["ada"].tolist() == [1, 1, 1, 1, 1, 2] and curves["<b>bob</b>"].tolist() == [1, 2, 3]
    chart = parse(page).find(".//{*}svg[@class='chart']")
    lines = [path.get("d") for path in chart.iter() if path.get("stroke-width") == "2"]
    assert len(lines) == 2 and all(ET.canonicalize(f"<p d='{line}'/>") for line in lines)


@pytest.mark.filterwarnings("ignore:.*Isolation Forest says nothing")
def test_a_run_without_labels_coordinates_or_maps_has_a_report_too(tmp_path, capsys):
    images = np.random.default_rng(1).normal(size=(6, 20, 30, 3)).astype(np.float32)
    run = rw.Run.create(tmp_path / "bare", rw.FrameSet.from_images(images))
    assert cli.main(["report", str(run.path), str(tmp_path / "bare.html"), "--top", "3"]) == 0
    assert "bare.html" in capsys.readouterr().out
    page = (tmp_path / "bare.html").read_text("utf-8")
    assert len(parse(page).findall(".//figure")) == 3 and "Nobody has looked" in page
    assert run.export(tmp_path / "again.html").read_text("utf-8").startswith("<!DOCTYPE html>")
    for wrong in ({"top": 0}, {"threshold": 6}, {"top": "many"}):
        with pytest.raises(ParameterError, match=next(iter(wrong))):
            run.report(tmp_path / "x.html", **wrong)
    assert cli.main(["report", str(run.path), str(tmp_path / "x.html"), "--top", "0"]) == 1


@pytest.mark.filterwarnings("ignore:.*Isolation Forest says nothing")
def test_an_undone_look_is_no_look(tmp_path):
    run = rw.Run.create(tmp_path / "run", rw.cut_windows(noisy_sky(), size=128), annotator="ada")
    ids = run.frames.frame_ids
    run.labels.record([ids[0]], interest=5)
    run.labels.undo()
    run.labels.record(ids[1:3], interest=4)
    run.labels.record([ids[1]], interest=0)  # a change of mind
    assert yield_curves(run, 4)["ada"].tolist() == [0, 1]


def test_axes_and_bars_are_round():
    for most in (1, 2, 3, 7, 10, 99, 1234, 55_773):
        ticks = _ticks(most)
        assert ticks[0] == 0 and 2 <= len(ticks) <= 7 and ticks[-1] >= 0.5 * most
    assert scale_bar(192) == (30 / 192, "30″") and scale_bar(600) == (120 / 600, "2′")
    assert scale_bar(float("nan")) is None
