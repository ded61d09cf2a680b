"""The command line: ``radiowidgets rank | review | classify | find | export | report | import | data``."""

import argparse
import json
import os
import sys
import warnings
import zlib
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import radiowidgets
from radiowidgets.errors import DataError, MapError, ParameterError, RadioWidgetsError

EXAMPLES = """\
examples:
  radiowidgets rank field.fits -o runs/field        rank the frames of a map
  radiowidgets rank tiles/*.fits -o runs/survey --embed --processes 8
  radiowidgets review runs/field                    look, rate and tag them in JupyterLab
  radiowidgets classify field.fits --catalogue sources.csv --model models/seven --band 12um=w3.fits -o runs/classes
  radiowidgets find field.fits -o sources.csv       find its sources
  radiowidgets export runs/field --format ds9 -o peculiar.reg --min-interest 4
  radiowidgets report runs/field field.html         what was found, on one page
"""
# As in radiowidgets.exchange.regions.FORMATS, which takes a second to import.
EXPORTS = ["csv", "parquet", "votable", "ds9", "moc", "cutouts", "sheet", "summary", "report", "astronomaly"]
LARGE = 100_000  # frames from which on all cores are used, each by a process
# JupyterLab asks nothing of the network and shows no news.
QUIET_LAB = ["--LabApp.news_url=None", "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(
        prog="radiowidgets",
        description="From radio survey maps to a ranked, labelled list of peculiar objects.",
        epilog=EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action="version", version=f"radiowidgets {radiowidgets.__version__}")
    parser.add_argument("--debug", action="store_true", help="show where an unexpected error comes from")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND", required=True)

    ranking = commands.add_parser(
        "rank",
        help="cut maps into frames, measure and rank them into a run folder",
        description="Cut maps into overlapping frames, measure features of each and rank them, most anomalous first. "
        "A run that was stopped goes on when the same command is given again.",
    )
    ranking.add_argument(
        "maps",
        nargs="+",
        metavar="MAP.fits",
        help="maps to rank together (.fits, .fits.gz, .fits.fz), or addresses of plain FITS files (https://, s3://); "
        "those of one name are called by their folders too",
    )
    ranking.add_argument("-o", "--output", required=True, metavar="RUN", help="the run folder to write")
    ranking.add_argument("--size", type=int, default=256, help="side of a frame in pixels (default 256)")
    ranking.add_argument(
        "--step", type=int, help="distance between frames in pixels (default: half of the size)"
    )
    ranking.add_argument("--seed", type=int, default=0, help="seed of the ranking (default 0)")
    ranking.add_argument(
        "--embed",
        action="store_true",
        help="embed the frames too, by the encoder of the package: ratings are learnt by both",
    )
    ranking.add_argument(
        "--processes",
        type=int,
        metavar="N",
        help=f"processes of this machine (default: 1; one a core from {LARGE:,} frames on); the result is the same",
    )
    ranking.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="of a Dask scheduler whose workers see the maps too, tcp://HOST:PORT",
    )
    ranking.add_argument(
        "--skip-unreadable", action="store_true", help="name maps that cannot be read, rank the rest"
    )
    ranking.add_argument("--quiet", action="store_true", help="no progress bar, no table")
    ranking.set_defaults(call=rank_maps)

    review = commands.add_parser(
        "review",
        help="open JupyterLab on a run",
        description="Open JupyterLab on a notebook, made ready in the run folder, that shows the frames in rank order.",
    )
    review.add_argument("run", metavar="RUN", help="a run folder")
    review.add_argument(
        "lab", nargs=argparse.REMAINDER, metavar="...", help="what follows -- is given to jupyter lab"
    )
    review.set_defaults(call=review_run)

    _add_classify(commands)
    _add_find(commands)
    export = commands.add_parser(
        "export",
        help="write the ranked frames with their labels for other tools",
        description="Write one row (region, file, thumbnail) a frame, in rank order. Columns of a table: frame_id, "
        "map, x, y (lower-left pixel, from 0), width, height, ra, dec (degrees), score, rank, tags (joined by ;), "
        "interest (0-5, mean of all), name (IAU), the brightest place, note.",
        epilog="examples of --query: 'rank <= 100', 'peak_snr > 20 and tag == \"ARTEFACT\"', '\"jet\" in note'",
    )
    export.add_argument("run", metavar="RUN", help="a run folder")
    export.add_argument("--format", choices=EXPORTS, help="default: by the suffix of FILE")
    export.add_argument(
        "-o",
        "--output",
        required=True,
        metavar="FILE",
        help="the file to write (.csv .parquet .vot .reg; .fits: MOC; .zip: FITS cutouts; .png: contact sheet; "
        ".md: summary; .html: report); a new folder for astronomaly",
    )
    export.add_argument("--min-interest", type=float, metavar="N", help="only frames rated at least N")
    export.add_argument("--top", type=int, metavar="N", help="only the first N frames")
    export.add_argument("--query", metavar="TEXT", help="only frames of which it is true")
    export.add_argument(
        "--objects", action="store_true", help="one row an object, overlapping frames of it merged"
    )
    export.set_defaults(call=export_run)

    _add_exchange(commands)
    _add_data(commands)
    return parser


def _add_exchange(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add what writes reports and takes labels over."""
    report = commands.add_parser(
        "report",
        help="write what was found, and how, as one page",
        description="Write one HTML page that needs no other file and prints on A4 or letter: the interesting objects "
        "and the first of the ranking, the yield of the looks, labels, agreement, settings, versions and fingerprints.",
    )
    report.add_argument("run", metavar="RUN", help="a run folder")
    report.add_argument("output", metavar="FILE.html", help="the page to write")
    report.add_argument(
        "--threshold", type=int, default=4, metavar="N", help="interest from which a frame counts (default 4)"
    )
    report.add_argument("--top", type=int, default=18, metavar="N", help="objects to show (default 18)")
    report.set_defaults(call=report_run)

    taking = commands.add_parser(
        "import",
        help="take over labels that were given in Astronomaly",
        description="Record the labels in Astronomaly's output folder (ml_scores.csv) as ratings of an annotator of "
        "the run. What cannot be used is counted and listed. Doing so again records only what is new.",
    )
    taking.add_argument("run", metavar="RUN", help="a run folder")
    taking.add_argument("folder", metavar="FOLDER", help="its output folder, or its ml_scores.csv")
    taking.add_argument(
        "--annotator", default="astronomaly", metavar="NAME", help="who rated (default astronomaly)"
    )
    taking.set_defaults(call=import_labels)


def _add_classify(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add what tells the classes of sources."""
    classes = commands.add_parser(
        "classify",
        help="tell the classes of a map's sources by a trained model",
        description="Cut the sources of a catalogue from a radio map (and infrared maps), tell their classes by a "
        "trained model, and make a run of them to review, the least familiar first. RUN/classes.csv holds labels and "
        "probabilities, RUN/bands the cutouts, RUN/compact_features.parquet the features.",
    )
    classes.add_argument("map", metavar="MAP.fits", help="the radio map")
    classes.add_argument(
        "--catalogue",
        required=True,
        metavar="C",
        help="sources: FITS, VOTable, CSV ..., or polygons of DS9 (.reg)",
    )
    classes.add_argument("--model", required=True, metavar="M", help="the folder of a trained model")
    classes.add_argument("-o", "--output", required=True, metavar="RUN", help="the run folder to write")
    classes.add_argument(
        "--band",
        action="append",
        default=[],
        metavar="NAME=MAP",
        help="a further map, such as 12um=wise3.fits",
    )
    classes.add_argument("--quiet", action="store_true", help="no progress bar, no table")
    classes.set_defaults(call=classify_sources)


def _add_find(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add what finds sources."""
    finding = commands.add_parser(
        "find",
        help="find the sources of a map",
        description="Find the sources of a map and write a table of them, one row each: name (IAU), x, y (pixels from "
        "0), ra, dec (degrees), flux (Jy), peak, score (larger is surer), kind, and what else the finder tells.",
        epilog="examples of --set: seed=4 (islands), thresh=3 (sep), thresh_pix=4 (pybdsf), snr=2 (pinpoint); "
        "folder=NET, where a network of yours was saved (convosource, cosmodeep, web-pixels, maskrcnn)",
    )
    finding.add_argument("map", metavar="MAP.fits", help="the map")
    finding.add_argument(
        "--finder", default="islands", metavar="NAME", help="islands (default), pinpoint, sep, pybdsf ..."
    )
    finding.add_argument(
        "--set", action="append", default=[], metavar="NAME=VALUE", help="a setting of the finder"
    )
    finding.add_argument(
        "-o", "--output", required=True, metavar="TABLE", help="the file to write (.csv .parquet .vot .reg)"
    )
    finding.set_defaults(call=find_in_map)


def find_in_map(options: argparse.Namespace) -> None:
    """Find the sources of a map and write their table."""
    import numpy as np

    from radiowidgets.data.maps import SkyMap
    from radiowidgets.exchange.regions import iau_name, write_table
    from radiowidgets.finding.finders import find

    settings = {}
    for text in options.set:
        name, given, value = text.partition("=")
        if not (name.isidentifier() and given and value):
            raise ParameterError(f"--set is {text!r}; give a name and a value, as thresh=4.")
        try:
            settings[name] = json.loads(value)
        except json.JSONDecodeError:
            settings[name] = value
    try:
        found = find(SkyMap.open(options.map), options.finder, **settings)
    except TypeError as error:
        raise ParameterError(f"finder {options.finder} does not take that: {error}.") from error
    table = found.table.assign(tags=found.table["kind"], size=np.nan)
    table.insert(0, "name", iau_name(table["ra"], table["dec"]))
    if Path(options.output).suffix.lower() != ".reg":
        table = table.drop(columns=["tags", "size"])
    path = write_table(table, options.output)
    for note in found.notes:
        print(note, file=sys.stderr)
    print(f"wrote {len(table)} sources to {path}, found by {found.name} in {found.seconds:.1f} s")


def classify_sources(options: argparse.Namespace) -> None:
    """Classify the sources of a map into a run folder."""
    import pandas as pd

    from radiowidgets.run.classification import CLASSES, classify

    bands = {}
    for text in options.band:
        name, found, path = text.partition("=")
        if not (name and found and path) or name in bands:
            raise ParameterError(
                f"--band is {text!r}; give a name and a map, each name once, as 12um=wise3.fits."
            )
        bands[name] = path
    run = classify(
        options.map, options.catalogue, options.model, options.output, bands=bands, progress=not options.quiet
    )
    maps = {name: str(Path(path).resolve()) for name, path in bands.items()}
    notebook = run.path / "review.ipynb"
    if maps and not notebook.exists():
        notebook.write_text(json.dumps(_notebook(run.name, maps), indent=1) + "\n", "utf-8")
    if not options.quiet:
        table = pd.read_csv(run.path / CLASSES)
        counts = table.groupby("label").agg(sources=("label", "size"), unlike=("unlike", "sum"))
        print(f"{len(table)} sources classified; unlike the training data: {table['unlike'].sum()}")
        print(counts.sort_values("sources", ascending=False).to_string())
        print(f"Look at them with: radiowidgets review {options.output}")


def _add_data(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add what lists and fetches public data."""
    data = commands.add_parser(
        "data",
        help="list, fetch and check public data",
        description="Public data by name, kept in a cache (RADIOWIDGETS_DATA moves it) and fetched from its source or "
        "from a mirror (RADIOWIDGETS_MIRROR, an address or a folder).",
    )
    actions = data.add_subparsers(dest="action", metavar="ACTION", required=True)
    listing = actions.add_parser("list", help="name every dataset, its state and its size")
    listing.set_defaults(call=list_data)
    getting = actions.add_parser("get", help="fetch datasets, check them and print their paths")
    getting.add_argument(
        "names", nargs="+", metavar="NAME", help="a dataset, or DATASET/FILE for one of its files"
    )
    getting.add_argument("--quiet", action="store_true", help="no progress bar")
    getting.set_defaults(call=get_data)
    verifying = actions.add_parser("verify", help="check the sha256 of what is in the cache")
    verifying.add_argument("names", nargs="*", metavar="NAME", help="a dataset (default: all)")
    verifying.set_defaults(call=verify_data)
    cutting = actions.add_parser(
        "cutout",
        help="fetch maps of a position from an image service",
        description="Fetch maps of a position from an image service and print their paths, as rw.fetch_map does. No "
        "service was met alive while this was written; --plan shows the request and sends nothing.",
    )
    cutting.add_argument(
        "service", metavar="SERVICE", help="skyview, hips2fits, first, magpis, irsa, casda, sia1 or sia2"
    )
    cutting.add_argument("ra", type=float, metavar="RA", help="degrees, ICRS")
    cutting.add_argument("dec", type=float, metavar="DEC", help="degrees, ICRS")
    cutting.add_argument("size", metavar="SIZE", help="side with its unit, such as '12 arcmin'")
    cutting.add_argument("--survey", help="as the service calls it")
    cutting.add_argument(
        "--pixels", type=int, metavar="N", help="pixels along a side, of skyview and hips2fits"
    )
    cutting.add_argument("--address", help="of the service, for sia1 and sia2")
    cutting.add_argument(
        "--match", default="", metavar="TEXT", help="of several images those that contain this"
    )
    cutting.add_argument("--plan", action="store_true", help="show the request and send nothing")
    cutting.set_defaults(call=cut_data)


def rank_maps(options: argparse.Namespace) -> None:
    """Rank maps into a run folder."""
    from radiowidgets.data.frames import cut_windows
    from radiowidgets.data.headers import slug
    from radiowidgets.data.maps import SkyMap
    from radiowidgets.parallel import available_cores, can_cluster, workers
    from radiowidgets.run import Run

    skies, unread = [], []
    for path in options.maps:
        try:
            skies.append(SkyMap.open(path))
        except MapError as error:
            unread.append(error)
    for reason in unread if options.skip_unreadable else ():
        print(f"skipped: {reason}", file=sys.stderr)
    if unread and not (options.skip_unreadable and skies):
        more = f" ({len(unread)} of {len(options.maps)} cannot be read; --skip-unreadable ranks the others)"
        raise MapError(f"{unread[0]}{more if len(options.maps) > 1 else ''}")
    called = Counter(sky.name for sky in skies)
    for sky in skies:
        if called[sky.name] > 1 and sky.path is not None:  # such as tile-1/image.fits and tile-2/image.fits
            sky.name = slug(f"{sky.path.resolve().parent.name}-{sky.name}")
    if not options.quiet:
        for sky in skies:
            for note in sky.notes:
                print(f"{sky.name}: {note}", file=sys.stderr)
    step = options.step if options.step is not None else max(1, options.size // 2)
    frames = cut_windows(skies, size=options.size, step=step)
    processes = options.processes
    if processes is None and options.scheduler is None and len(frames) >= LARGE and can_cluster():
        processes = available_cores()
    with workers(processes, options.scheduler) as client:
        run = Run.build(
            options.output,
            frames,
            embed=options.embed,
            seed=options.seed,
            parameters={"size": options.size, "step": step},
            client=client,
            progress=not options.quiet,
        )
    if not options.quiet:
        print(f"{len(run)} frames ranked by {run.about['ranking']['method']}; the first five:")
        top = run.table().nsmallest(5, "rank")[["rank", "score", "frame_id", "ra", "dec"]]
        print(top.to_string(index=False, float_format="%.5f"))
        print(f"Look at them with: radiowidgets review {options.output}")


def review_run(options: argparse.Namespace) -> None:
    """Open JupyterLab on a notebook of the run."""
    from importlib.util import find_spec

    if find_spec("jupyterlab") is None:
        raise ParameterError("JupyterLab is not installed; install it with: pip install 'radiowidgets[lab]'.")
    from radiowidgets.run import Run

    run = Run.open(options.run)
    notebook = run.path / "review.ipynb"
    if not notebook.exists():
        try:
            notebook.write_text(json.dumps(_notebook(run.name), indent=1) + "\n", "utf-8")
        except OSError as error:
            raise ParameterError(
                f"{notebook} cannot be written ({error.strerror}); open the run in a notebook of your own: "
                f"rw.Review({str(run.path.resolve())!r})."
            ) from error
    arguments = [*QUIET_LAB, *(argument for argument in options.lab if argument != "--")]
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        arguments.append("--allow-root")
    here = Path.cwd()
    place = notebook.resolve()
    if not place.is_relative_to(here):  # JupyterLab shows only what lies below its root
        here = place.parent
        os.chdir(here)
    os.execv(sys.executable, [sys.executable, "-m", "jupyterlab", str(place.relative_to(here)), *arguments])  # noqa: S606


def _notebook(name: str, bands: dict[str, str] | None = None) -> dict[str, object]:
    def cell(kind: str, source: str) -> dict[str, object]:
        extra: dict[str, object] = {"outputs": [], "execution_count": None} if kind == "code" else {}
        return {
            "cell_type": kind,
            "id": f"cell-{zlib.crc32(source.encode()):08x}",
            "metadata": {},
            "source": source,
            **extra,
        }

    cells = [
        cell(
            "markdown",
            f"# Review of {name}\n\nRun the cells (Shift+Enter), click into the gallery and press `?` for the keys.",
        ),
        cell(
            "code",
            'import radiowidgets as rw\n\nrun = rw.Run.open(".")\nrw.Review(run'
            + (f", bands={bands!r})" if bands else ")"),
        ),
        cell("code", "run.labels.table()"),
        cell("code", 'run.export("peculiar.reg", min_interest=4)'),
    ]
    kernel = {"kernelspec": {"display_name": "Python 3", "language": "python", "name": "python3"}}
    return {"cells": cells, "metadata": kernel, "nbformat": 4, "nbformat_minor": 5}


def export_run(options: argparse.Namespace) -> None:
    """Write a run to a file of another tool."""
    from radiowidgets.run import Run

    run = Run.open(options.run)
    which = {"min_interest": options.min_interest, "top": options.top, "query": options.query}
    path = run.export(options.output, options.format, **which, objects=options.objects)
    chosen = run.selection(**which)
    what = f"the objects of {len(chosen)}" if options.objects else f"{len(chosen)} of {len(run)}"
    what = f"{what} frames"
    print(f"wrote {'a summary' if path.suffix == '.md' else what} to {path}")


def report_run(options: argparse.Namespace) -> None:
    """Write the report of a run."""
    from radiowidgets.run import Run

    run = Run.open(options.run)
    print(f"wrote {run.report(options.output, threshold=options.threshold, top=options.top)}")


def import_labels(options: argparse.Namespace) -> None:
    """Record labels of another tool."""
    from radiowidgets.run import Run

    read = Run.open(options.run).read_labels(options.folder, options.annotator)
    for row in read.problems.to_dict("records"):
        where = f"row {row['row']}, {row['object']}: " if row["row"] else ""
        print(f"{row['file']}: {where}{row['problem']}", file=sys.stderr)
    print(f"{read.recorded} ratings recorded, {read.known} known already, {len(read.problems)} problems")


def list_data(options: argparse.Namespace) -> None:
    """Print the datasets of the manifest."""
    del options
    from radiowidgets.data.manifest import read_manifest

    for dataset in read_manifest().values():
        print(f"{dataset.name:28}{dataset.state}\n    {dataset.title}")
        for file in dataset.files:
            size = "size unknown" if file.bytes is None else f"{file.bytes / 1e6:.1f} MB"
            print(f"    {file.name}, {size}")


def get_data(options: argparse.Namespace) -> None:
    """Fetch datasets and print where they lie."""
    from radiowidgets.data.manifest import fetch, read_manifest

    manifest = read_manifest()
    for name in options.names:
        dataset, _, file = name.partition("/")
        for path in fetch(dataset, [file] if file else None, manifest=manifest, progress=not options.quiet):
            print(path)
        if manifest[dataset].state == "made on the spot":
            print(f'{dataset} is made on the spot: rw.simulate("{dataset}")')


def verify_data(options: argparse.Namespace) -> None:
    """Check what is in the cache; fail if a file is damaged."""
    from radiowidgets.data.manifest import cache_folder, read_manifest, verify

    manifest = read_manifest()
    found = {
        file: state
        for name in options.names or [None]
        for file, state in verify(name, manifest=manifest).items()
        if options.names or state != "not fetched"
    }
    for file, state in found.items():
        print(f"{state:16}{file}")
    damaged = [file for file, state in found.items() if state == "DAMAGED"]
    if damaged:
        raise DataError(
            f"{len(damaged)} damaged in {cache_folder()}; `radiowidgets data get {damaged[0]}` fetches it anew."
        )
    if not found:
        print(f"nothing was fetched into {cache_folder()} so far")


def cut_data(options: argparse.Namespace) -> None:
    """Fetch maps of a position and print where they lie."""
    from radiowidgets.data.services import fetch_map, plan_map

    asked = {"survey": options.survey, "pixels": options.pixels, "address": options.address}
    what = (options.service, (options.ra, options.dec), options.size)
    if options.plan:
        print(plan_map(*what, **asked))
        return
    for path in fetch_map(*what, **asked, match=options.match):
        print(path)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line; a failure is one line and a non-zero code.

    Returns
    -------
    int
        0, or 1 after an error, or 130 when interrupted.
    """
    options = build_parser().parse_args(arguments)
    warnings.showwarning = _one_line
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # what TensorFlow tells of itself helps nobody here
    try:
        options.call(options)
    except BrokenPipeError:
        return 0
    except KeyboardInterrupt:
        print("radiowidgets: stopped; the same command goes on where it was.", file=sys.stderr)
        return 130
    except (RadioWidgetsError, OSError, MemoryError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        print(f"radiowidgets: {text}", file=sys.stderr)
        return 1
    except Exception as error:
        if options.debug:
            raise
        text = " ".join(f"{type(error).__name__}: {error}".split())
        print(f"radiowidgets: this is a fault of ours ({text}); --debug tells more.", file=sys.stderr)
        return 1
    return 0


def _one_line(message: Warning | str, *_: object, **__: object) -> None:
    print(f"radiowidgets: {message}", file=sys.stderr)


if __name__ == "__main__":
    sys.exit(main())
