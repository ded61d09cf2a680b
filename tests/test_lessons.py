"""The checks of the exercises: they know the right answer, and tell the usual wrong ones apart."""

import re
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest

import radiowidgets as rw
from radiowidgets import lessons
from radiowidgets.errors import ParameterError

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
CHECK = re.compile(r'lessons\.check\("(\d\d\.\d)"')
SOLUTION = re.compile(r"<summary>Solution</summary>\n\n```python\n(.*?)```\n\n</details>", re.DOTALL)
FRAME = re.compile(
    r"# (?P<title>\d\d .+)\n\n"
    r"- \*\*Goal\*\*: (?P<goal>.+)\n- \*\*Time\*\*: (?P<time>.+)\n- \*\*Before\*\*: (?P<before>.+)\n\n"
)


def _says(exercise, answer, *given):
    verdict = lessons.check(exercise, answer, *given)
    assert verdict.right is False and not verdict
    return verdict.text


@pytest.fixture(scope="module")
def sky():
    return rw.simulate("emu", size=512, seed=7)


def test_what_is_open_is_no_error_and_an_unknown_exercise_is():
    for name in lessons._EXERCISES:
        given = (None,) * 4
        if name != "00.2":
            verdict = lessons.check(name, ..., *given[: lessons._EXERCISES[name].__code__.co_argcount - 1])
            assert verdict.right is None and "three dots" in repr(verdict)
    with pytest.raises(ParameterError, match="choose one of"):
        lessons.check("99.1", 1)


def test_quickstart(sky, tmp_path):
    frames = rw.cut_windows(sky, size=128)
    ranked = rw.rank(frames)
    first, last = ranked["rank"].idxmin(), ranked["rank"].idxmax()
    assert lessons.check("00.1", first, ranked)
    assert lessons.check("00.1", [first], ranked)
    assert "larger score" in _says("00.1", last, ranked)
    assert "table" in _says("00.1", ranked.nsmallest(1, "rank"), ranked)
    assert "frame_id" in _says("00.1", 17, ranked)
    assert "these are 5" in _says("00.1", ranked.nsmallest(5, "rank").index, ranked)
    assert "no frame" in _says("00.1", "somewhere", ranked)
    if ranked.index[0] not in {first, last}:
        assert "order of the map" in _says("00.1", ranked.index[0], ranked)

    run = rw.Run.create(tmp_path / "run", frames, scores=ranked)
    five = ranked.nlargest(5, "rank").index
    assert lessons.check("00.2", run, ranked).right is None
    run.labels.record(ranked.nsmallest(5, "rank").index, interest=0)
    assert "top of the ranking" in _says("00.2", run, ranked)
    run.labels.record(five[:2], interest=3)
    assert "3 of the five" in _says("00.2", run, ranked)
    run.labels.record(five, interest=3)
    assert "above 0" in _says("00.2", run, ranked)
    run.labels.record(five, interest=0)
    assert "not tagged" in _says("00.2", run, ranked)
    run.labels.record(five, add=["BACKGROUND"])
    assert lessons.check("00.2", run, ranked)


def test_beam_and_completeness(sky):
    axes = sky.beam.major.to_value("arcsec") * sky.beam.minor.to_value("arcsec") / sky.pixel_scale**2
    assert lessons.check("01.1", 1.133 * axes, sky)
    for wrong, text in (
        (np.pi / 4 * axes, "Gaussian"),
        (axes, "rectangle"),
        (np.pi * axes, "radius"),
        (2 * np.pi * axes, "sigma"),
        (1.133 * axes * sky.pixel_scale**2, "area of a pixel"),
        (2.0, "too small"),
    ):
        assert text in _says("01.1", wrong, sky), text
    pairs = pd.DataFrame({"a": [0, 1, 2, 3], "b": [5, 6, 7, 7]})
    sources, bright = pd.DataFrame(index=range(5)), pd.DataFrame(index=range(10))
    assert lessons.check("01.2", 0.3, pairs, sources, bright)
    for wrong, text in (
        (0.8, "reliability"),
        (0.4, "twice"),
        (0.7, "missed"),
        (30, "per cent"),
        (0.35, "too large"),
    ):
        assert text in _says("01.2", wrong, pairs, sources, bright)
    for wrong, text in (
        ("0.3", "number"),
        ([1, 2], "one number"),
        (np.nan, "nan"),
        (pairs, "give"),
        (True, "number"),
    ):
        assert text.lower() in _says("01.2", wrong, pairs, sources, bright).lower()


def test_colours():
    rng = np.random.default_rng(2)
    a = rng.normal(1, 1, 80)
    features = pd.DataFrame({"colour_12um": a, "colour_22um": a + rng.normal(0, 0.5, 80) + 0.5})
    features.loc[3, "colour_22um"] = np.nan
    for band in ("12um", "22um"):
        features[f"limit_{band}"] = rng.random(80) < 0.2
        features.loc[features[f"limit_{band}"], f"colour_{band}"] -= 1
    labels = np.where(rng.random(80) < 0.5, "HII", "RG")
    hii, limits = labels == "HII", features[["limit_12um", "limit_22um"]].to_numpy()
    pair = features[["colour_12um", "colour_22um"]]
    for rows, text in (
        (hii & ~limits.any(axis=1), ""),
        (hii, "upper limits among"),
        (~limits.any(axis=1), "all classes together."),
        (hii & ~limits[:, 1], "at 22 micrometres only"),
    ):
        r = pair[rows].corr().iloc[0, 1]
        if text:
            assert text in _says("02.1", r, features, labels)
        else:
            assert lessons.check("02.1", r, features, labels)

    first, second = features["colour_22um"], features["colour_12um"]
    assert lessons.check("02.2", first - second, features)
    for wrong, text in (
        (second - first, "sign"),
        (first / second, "difference"),
        (10 ** (first - second), "logarithm"),
        (first, "which bands"),
        (first[:10], "these are 10"),
    ):
        assert text in _says("02.2", wrong, features)


def _f1(combine):
    def f1(labels, said, kind):
        both = np.sum((labels == kind) & (said == kind))
        return combine(both / np.sum(said == kind), both / np.sum(labels == kind))

    return f1


def test_classifiers():
    assert lessons.check("03.1", _f1(lambda p, r: 2 * p * r / (p + r)))
    for combine, text in (
        (lambda p, r: (p + r) / 2, "plain mean"),
        (lambda p, r: 0 * p + r, "recall alone"),
        (lambda p, r: p + 0 * r, "precision alone"),
        (lambda p, r: 200 * p * r / (p + r), "per cent"),
        (lambda p, r: p * r / (p + r), "factor of 2"),
        (lambda p, r: np.sqrt(p * r), "geometric"),
    ):
        assert text in _says("03.1", _f1(combine))
    assert "accuracy" in _says("03.1", lambda labels, said, _: np.mean(labels == said))
    assert "function itself" in _says("03.1", 0.5)
    assert "return" in lessons.check("03.1", lambda *_: None).text
    labels = np.array(["a"] * 6 + ["b"] * 4 + ["a", "b", "b", "b"])
    train, test = np.arange(10), np.arange(10, 14)
    assert lessons.check("03.2", 0.25, labels, train, test)
    for wrong, text in (
        (0.5, "equally frequent"),
        (0.6, "training sources"),
        (1, "how many"),
        (25, "per cent"),
    ):
        assert text in _says("03.2", wrong, labels, train, test)


def test_self_supervised():
    assert lessons.check("04.1", np.log(511))
    for wrong, text in (
        (4.844, "64"),
        (np.log(512), "itself"),
        (np.log10(511), "base 10"),
        (511, "logarithm"),
    ):
        assert text in _says("04.1", wrong)
    norm = np.linalg.norm
    assert lessons.check("04.2", lambda a, b: a @ b / norm(a) / norm(b))
    for wrong, text in (
        (lambda a, b: a @ b, "lengths"),
        (lambda a, b: norm(a - b), "ends"),
        (lambda a, b: 1 - a @ b / norm(a) / norm(b), "small for"),
        (lambda a, b: a @ b / norm(a), "one of them"),
    ):
        assert text in _says("04.2", wrong)


def test_latent_space():
    rng = np.random.default_rng(5)
    kind = pd.Series(rng.choice(["ring", "fr2", None], 300, p=[0.3, 0.3, 0.4]))
    middle = kind.map({"ring": 0.0, "fr2": 2.0}).fillna(1.0).to_numpy()
    z = rng.normal(middle[:, None], 0.8, (300, 4)).astype(np.float32)
    places = rng.normal(middle[:, None], 3, (300, 2))
    from radiowidgets.latent.projection import nearest

    held, names = kind.notna().to_numpy(), kind.to_numpy(object)

    def share(vectors, of):
        near, _ = nearest(vectors, 1)
        return np.mean([names[near[k, 0]] == names[k] for k in np.flatnonzero(of)])

    assert lessons.check("05.1", share(z, held), z, kind, places)
    assert "plane" in _says("05.1", share(places, held), z, kind, places)
    assert "own neighbour" in _says("05.1", 1.0, z, kind, places)
    assert "only among" in _says(
        "05.1", np.mean(names[held][nearest(z[held], 1)[0][:, 0]] == names[held]), z, kind, places
    )
    missing = np.mean(names[nearest(z, 1)[0][:, 0]] == np.where(held, names, "missing"))
    assert "missing" in _says("05.1", missing, z, kind, places)


def test_ranking():
    rng = np.random.default_rng(6)
    groups = pd.Series(rng.choice(["ordinary", "complex", "peculiar"], 1000, p=[0.6, 0.3, 0.1]))
    ranked = pd.DataFrame({"rank": rng.permutation(1000) + 1})
    first, wanted = ranked["rank"] <= 100, groups == "peculiar"
    right = ((first & wanted).sum() / wanted.sum(), (first & wanted).sum() / 100)
    assert lessons.check("06.1", right, ranked, groups)
    assert lessons.check("06.1", (right[0], ...), ranked, groups).right is None
    assert "swapped" in _says("06.1", right[::-1], ranked, groups)
    assert "per cent" in _says("06.1", tuple(100 * each for each in right), ranked, groups)
    assert "two numbers" in _says("06.1", right[0], ranked, groups)
    rows = (wanted[:100].sum() / wanted.sum(), wanted[:100].sum() / 100)
    assert "order of the map" in _says("06.1", rows, ranked, groups)
    both = groups != "ordinary"
    assert "Complex" in _says(
        "06.1", ((first & both).sum() / both.sum(), (first & both).sum() / 100), ranked, groups
    )
    share = wanted.mean()
    assert lessons.check("06.2", 120 * share, groups)
    for wrong, text in ((share, "their share;"), (100 * share, "per cent"), (wanted.sum(), "at all")):
        assert text in _says("06.2", wrong, groups)


def _kappa(one, other, how="own"):
    kinds = np.unique([*one, *other])
    p, q = (np.array([np.mean(each == kind) for kind in kinds]) for each in (one, other))
    same = np.mean(one == other)
    chance = {"own": p @ q, "even": 1 / len(kinds), "pooled": np.sum(((p + q) / 2) ** 2)}[how]
    return (same - chance) / (1 - chance)


def test_source_finding():
    row = pd.Series({"tp": 60.0, "fp": 20.0, "fn": 40.0})
    assert lessons.check("07.1", 2 / 3, row)
    assert "completeness alone" in _says("07.1", 0.6, row)
    assert "harmonic" in _says("07.1", 0.675, row)
    assert "product" in _says("07.1", 0.45, row)
    assert "twice" in _says("07.1", 0.5, row)
    truth = pd.DataFrame({"flux_over_rms": np.repeat([0.5, 2.0, 7.0], [900, 600, 300])})
    truth.attrs = {"shape": (200, 300)}
    mean = 9 * np.pi * 900 / 60_000
    assert lessons.check("07.2", 1 - np.exp(-mean), truth)
    assert "overlap" in _says("07.2", mean, truth)
    assert "beside" in _says("07.2", np.exp(-mean), truth)
    assert "SNR of 5" in _says("07.2", 1 - np.exp(-mean / 3), truth)


def test_relabelling():
    assert lessons.check("08.1", _kappa)
    assert "share of equal" in _says("08.1", lambda a, b: np.mean(a == b))
    assert "so many kinds" in _says("08.1", lambda a, b: _kappa(a, b, "even"))
    assert "Scott" in _says("08.1", lambda a, b: _kappa(a, b, "pooled"))
    suspects = pd.DataFrame({"index": np.arange(40)[::-1]})
    wrong = np.array([39, 38, 35, 30, 27, 22, 21, 3, 4, 11, 12, 13])
    assert lessons.check("08.2", 7 / 20, suspects, wrong)
    for answer, text in (
        (7 / 12, "all mistakes"),
        (7, "how many"),
        (13 / 20, "in vain"),
        (5 / 20, "column index"),
    ):
        assert text in _says("08.2", answer, suspects, wrong)


def _exercises(notebook):
    """Return, of each exercise, the place of its check, its name and its folded solution."""
    found = []
    for k, cell in enumerate(notebook.cells):
        if cell.cell_type == "code" and (name := CHECK.search(cell.source)):
            (solution,) = SOLUTION.findall(notebook.cells[k - 1].source)
            found.append((k, name[1], solution))
    return found


def test_overlap_of_masks():
    assert lessons.check("09.1", lambda one, other: (one & other).sum() / (one | other).sum())
    for wrong, text in (
        (lambda one, other: (one & other).sum() / (one.sum() + other.sum()), "twice"),
        (lambda one, other: 2 * (one & other).sum() / (one.sum() + other.sum()), "Dice"),
        (lambda one, other: (one & other).sum() / one.sum(), "first mask"),
        (lambda one, other: (one & other).sum() / other.sum(), "second mask"),
        (lambda one, other: (one & other).sum(), "how many pixels"),
        (lambda one, other: 1 - (one & other).sum() / (one | other).sum(), "differ"),
        (0.7, "function itself"),
    ):
        assert text in _says("09.1", wrong)


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_lesson_has_its_frame_and_is_in_the_index(path):
    notebook = nbformat.read(path, as_version=4)
    frame = FRAME.match(notebook.cells[0].source)
    assert frame, "a lesson begins with its title and a list of Goal, Time and Before"
    assert frame["title"][:2] == path.stem[:2]
    index = (ROOT / "notebooks" / "README.md").read_text(encoding="utf-8")
    row = next((line for line in index.splitlines() if f"({path.name})" in line), "")
    cells = [cell.strip() for cell in row.strip("|").split("|")]
    assert cells[1:] == [frame["goal"], frame["time"], frame["before"]], "notebooks/README.md says the same"
    for word in re.findall(r"\*(\d\d [^*]+)\*", frame["before"]):
        assert f"[{word}]" in index


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_exercises_have_hints_solutions_and_checks(path):
    notebook = nbformat.read(path, as_version=4)
    found = _exercises(notebook)
    names = [name for _, name, _ in found]
    assert names == [f"{path.stem[:2]}.{k}" for k in range(1, len(names) + 1)]
    assert set(names) == {name for name in lessons._EXERCISES if name.startswith(path.stem[:2])}
    assert 1 <= len(names) <= 3
    for place, _, solution in found:
        task = notebook.cells[place - 1].source
        assert "### Exercise" in task and "<summary>Hint</summary>" in task
        compile(solution, path.name, "exec")


def test_no_check_is_without_its_notebook():
    assert {name[:2] for name in lessons._EXERCISES} <= {path.stem[:2] for path in NOTEBOOKS}


@pytest.mark.soak
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_lesson_runs_and_its_solutions_are_right(path, tmp_path):
    from nbclient import NotebookClient

    notebook = nbformat.read(path, as_version=4)
    found = _exercises(notebook)
    for place, name, solution in reversed(found):  # after the cell in its open form, which must run too
        check = next(line for line in notebook.cells[place].source.splitlines() if CHECK.search(line))
        cell = nbformat.v4.new_code_cell(f"{solution}\n{check}", id=f"solved-{name.replace('.', '-')}")
        notebook.cells.insert(place + 1, cell)
    NotebookClient(notebook, timeout=1800, resources={"metadata": {"path": str(tmp_path)}}).execute()
    said = [cell.outputs[-1].data["text/plain"] for cell in notebook.cells if cell.id.startswith("solved-")]
    assert [text.split(". ")[0] for text in said] == [f"Exercise {name}: right" for _, name, _ in found], said
    still = [cell.outputs[-1].data["text/plain"] for cell in notebook.cells if cell.id.endswith("-check")]
    assert not [text for text in still if "not yet" in text or "right" in text]
