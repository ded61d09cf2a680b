"""The pages of docs/ keep their word: names, fields and code are those of the package."""

import ast
import re
import subprocess
import sys
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import yaml

import radiowidgets as rw
from radiowidgets.labels import events, postgres, schema
from radiowidgets.run import files

ROOT = Path(__file__).resolve().parent.parent
DOCS = ROOT / "docs"
PAGES = sorted(path for path in DOCS.rglob("*.md"))
HOWTOS = sorted(path for path in (DOCS / "howto").glob("*.md") if path.stem not in ("index", "offline"))
CODE = re.compile(r"(<!-- not run.*-->\n)?```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def _fields(page: str, heading: str) -> set[str]:
    """Return the names between backquotes in the first column of the table under a heading."""
    text = (DOCS / "formats" / page).read_text(encoding="utf-8")
    part = re.split(r"^#+ ", text.partition(f"# {heading}\n")[2], maxsplit=1, flags=re.MULTILINE)[0]
    first = [line.split("|")[1] for line in part.splitlines() if line.startswith("|")]
    return set(re.findall(r"`([^`]+)`", " ".join(first)))


def test_reference_has_every_public_name_once():
    found = [
        name
        for path in (DOCS / "api").glob("*.md")
        for name in re.findall(
            r"auto(?:class|function|exception):: radiowidgets\.(\w+)$", path.read_text(), re.MULTILINE
        )
    ]
    assert sorted(found) == sorted(rw._HOMES)


def test_reference_has_the_modules_that_lessons_and_howtos_import_by_name():
    listed = set(
        re.findall(
            r"automodule:: radiowidgets\.([\w.]+)$", (DOCS / "api" / "modules.md").read_text(), re.MULTILINE
        )
    )
    sources = [code for page in PAGES for _, code in CODE.findall(page.read_text(encoding="utf-8"))]
    for path in (ROOT / "notebooks").glob("*.ipynb"):
        cells = nbformat.read(path, as_version=4).cells
        sources += [cell.source for cell in cells if cell.cell_type == "code"]
    for node in (node for source in sources for node in ast.walk(ast.parse(source))):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("radiowidgets"):
            module = node.module.partition(".")[2]
            for name in (alias.name for alias in node.names):
                assert {module, f"{module}.{name}".lstrip(".")} & listed, f"{node.module}.{name}"


def test_fields_of_an_event_are_those_of_the_code():
    event = events.Event("a", 1, "ana", frames=(events.FrameRef("m-1"),))
    assert _fields("labels.md", "An event") == event.to_dict().keys()
    assert _fields("labels.md", "A frame in an event") == set(events.FrameRef._fields)
    assert _fields("labels.md", "What is set") == {"interest", "outlines"}
    made = set(re.findall(r"^    (\w+) (?:bigserial|text|timestamptz)", postgres.TABLE, re.MULTILINE))
    assert _fields("labels.md", "On a PostgreSQL") == made
    assert _fields("labels.md", "Tags") == schema.DEFAULT_SCHEMA.to_dict()["tags"][0].keys()
    text = (DOCS / "formats" / "labels.md").read_text()
    for limit in (events.MAX_FRAMES, events.MAX_NOTE, events.MAX_TAGS, events.MAX_NAME, events.MAX_OUTLINES):
        assert f"up to {limit:,}" in text


def test_files_of_a_run_are_those_of_the_code(tmp_path):
    sky = rw.simulate("emu", size=512, seed=1)
    frames = rw.cut_windows(sky, size=128)
    z = np.zeros((len(frames), 2), np.float32)
    run = rw.Run.create(tmp_path / "run", frames, z)
    run.labels.record(frames.frame_ids[0], interest=3)
    run.write_session_scores("session", run.scores)
    assert run.focus.shape == (len(frames), 2)
    text = (DOCS / "formats" / "run.md").read_text()
    for path in run.path.iterdir():
        assert f"`{path.name}" in text, path.name
    for name in (*files.BUILT, *files.ARRAYS):
        assert f"`{name}" in text
    about = yaml.safe_load((run.path / "run.yaml").read_text())
    assert _fields("run.md", "run.yaml") >= about.keys()
    assert set(about["versions"]) <= set(re.findall(r"[\w-]+", text))
    (entry,) = about["maps"].values()
    assert all(f"`{key}`" in text for key in entry)
    assert _fields("run.md", "frames.parquet") == set(pd.read_parquet(run.path / "frames.parquet"))
    assert _fields("run.md", "scores.parquet and scores/\\<session\\>.parquet") == set(
        pd.read_parquet(run.path / "scores.parquet")
    )
    assert {"frame_id", "x", "y"} == set(pd.read_parquet(run.path / "focus.parquet"))


@pytest.mark.parametrize("page", PAGES, ids=lambda path: str(path.relative_to(DOCS)))
def test_links_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\((?!https?://|#)([^)#]+)(?:#[^)]*)?\)", text):
        assert (page.parent / target).exists(), target


@pytest.mark.parametrize("page", HOWTOS, ids=lambda path: path.stem)
def test_code_of_a_howto_runs(page, tmp_path, monkeypatch):
    blocks = [code for skipped, code in CODE.findall(page.read_text(encoding="utf-8")) if not skipped]
    assert blocks
    sky = rw.simulate("emu", size=512, seed=3)
    sky.write(tmp_path / "my-map.fits")
    sky.truth.sources[["ra", "dec"]].head(5).to_csv(tmp_path / "catalogue.csv", index=False)
    monkeypatch.chdir(tmp_path)
    exec(compile("\n".join(blocks), page.name, "exec"), {})


def test_glossary_has_the_words_of_the_package():
    text = (DOCS / "glossary.md").read_text(encoding="utf-8")
    words = (
        "map frame cutout beam rms SNR alpha completeness features embedding score tag interest annotator run"
    )
    for word in words.split():
        assert re.search(rf"\*\*[^*]*\b{word}\b", text, re.IGNORECASE), word
    assert all(tag.name in text for tag in schema.DEFAULT_SCHEMA)


@pytest.mark.soak
def test_the_site_is_made_without_a_warning(tmp_path):
    command = [
        sys.executable,
        "-m",
        "sphinx",
        "-q",
        "-W",
        "--keep-going",
        "-b",
        "html",
        "-c",
        "docs",
        ".",
        str(tmp_path),
    ]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    pages = [*tmp_path.rglob("*.html")]
    assert len(pages) > 20
    for page in pages:
        asked = re.findall(
            r'<(?:script|link|img)[^>]+(?:src|href)="(https?://[^"]+)"', page.read_text(encoding="utf-8")
        )
        assert not asked, f"{page.name} needs the network: {asked}"
