"""Finders of sources side by side, in the layout of convosource Figures 5, 8, 10, Tables 6 to 11 and cosmodeep Table 2.

``sources``: on mock `sdc1-*` skies, F1 by class, SNR (total flux density over mean rms: 1, 2, 5) and depth, counted as
the paper does (pixels) and one to one in position and flux; matches by chance beside; kappa between each ConvoSource
and PyBDSF; seconds; completeness of each class at one reliability.
``real``: the same on the public piece of SKA Data Challenge 1, if RADIOWIDGETS_REALDATA (else ../shared/data) has it.
``web``: cosmodeep equation 2 on mock `cosmic-web` images at both readings of its pixel scale, PyBDSF's islands at 1.5
and 3 sigma beside, and images per second.

Networks are read from a folder where it has them (convosource-PRESET-SNR-AUGMENTATION, cosmodeep-SCALE-F_TH-N_PIXELS,
web-pixels- likewise); what is missing is trained and kept there: by default on far less than the papers', with --full
as they did. Thresholds are chosen on skies of other seeds than those that are reported.

    python benchmarks/bench_finders.py [sources real web] [--presets ...] [--networks FOLDER] [--no-training] [--full]
"""

import argparse
import os
import time
from functools import partial
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import pandas as pd
from results import result

import radiowidgets as rw
from radiowidgets.data.simulate.cosmicweb import positive_tiles
from radiowidgets.errors import MissingExtraError, RadioWidgetsError
from radiowidgets.finding import convosource, cosmodeep, matching
from radiowidgets.finding.finders import Found, find

ROOT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("RADIOWIDGETS_REALDATA", ROOT / ".." / "shared" / "data"))
PRESETS = tuple(f"sdc1-{band}-{hours}" for band in ("b1", "b2") for hours in ("8h", "100h", "1000h"))
KINDS = ("SFG", "SS-AGN", "FS-AGN", "all")
SNRS = (1, 2, 5)
TEST, VALIDATION, TRAINING = 101, 201, 301  # seeds
LIKE = ("sdc1-b1-1000h", "sdc1-b1-100h", "sdc1-b1-8h", "sdc1-b2-1000h")  # that pinpoint has thresholds for
PATIENCE = 10.0  # seconds
LOW = {  # to be cut at a score
    "sep": {"thresh": 2.5, "minarea": 1},
    "islands": {"seed": 3.0},
    "pybdsf": {"thresh_isl": 2.5, "thresh_pix": 3.5},
}
PAPER_TABLE_2 = {  # As, Ws, Wv by N_pix and f_th
    (40, 1.0): (0.9088, 0.9827, 0.9974), (40, 0.75): (0.9232, 0.9947, 0.9972),
    (40, 0.5): (0.9159, 0.9958, 0.9960), (40, 0.1): (0.8934, 0.9521, 0.9933),
    (9, 1.0): (0.8800, 0.9710, 0.9957), (9, 0.75): (0.9175, 0.9754, 0.9969),
    (9, 0.5): (0.9022, 0.9797, 0.9948), (9, 0.1): (0.8181, 0.8848, 0.9890),
}  # fmt: skip


def show(title: str, table: pd.DataFrame) -> None:
    print(f"\n{title}\n{table.to_string(float_format=lambda value: f'{value:.3g}')}", flush=True)


def look(sky, name, finder, **options) -> Found | None:
    """Run a finder; None where it is not installed or cannot take this map, which is said.

    What is quick runs twice, and the second time counts: the first compiles.
    """
    try:
        found = find(sky, finder, **options)
        if found.seconds < PATIENCE:
            found = find(sky, finder, **options)
    except (MissingExtraError, RadioWidgetsError) as error:
        print(f"{name} on {sky.name}: {error}", flush=True)
        return None
    print(f"{name} on {sky.name}: {len(found)} sources in {found.seconds:.2f} s", flush=True)
    return found


# --------------------------------------------------------------------------------
# convosource


def convosources(preset: str, options) -> dict[str, object]:
    """Return the networks of one preset, by name and SNR; trained where the folder has none."""
    networks = {}
    for snr in SNRS:
        for augmentation in options.augmentations:
            folder = options.networks / f"convosource-{preset}-{snr}-{augmentation}"
            if not any(folder.glob("*.weights.h5")):
                if not options.training:
                    continue
                train_convosource(preset, snr, augmentation, folder, options)
            networks[f"ConvoSource {augmentation}", snr] = convosource.load_convosource(folder)
    return networks


def train_convosource(preset, snr, augmentation, folder, options) -> None:
    start = time.perf_counter()
    size, epochs = (4000, 200) if options.full else (options.train_size, options.epochs)
    parts = []
    for seed, side in ((TRAINING, size), (VALIDATION, max(size // 2, 400))):
        sky = convosource.corrected(rw.simulate(preset, size=side, seed=seed))
        parts.append(convosource.Blocks.of(sky, matching.truth_table(sky, apparent=False), snr))
    finder = convosource.train_convosource(
        *parts, snr=snr, augmentation=augmentation, epochs=epochs, folder=folder / "training"
    )
    finder.save(folder)
    spent = time.perf_counter() - start
    print(f"trained {folder.name} in {spent:.0f} s: {finder.card.metrics['epochs']} epochs", flush=True)


def finders_of(preset: str, options) -> dict[str, tuple]:
    """Return all finders that are compared, by name: finder, settings, and the SNR that it is for (None: all)."""
    some = {
        "PyBDSF": ("pybdsf", {}, None),
        "sep 5 rms": ("sep", {}, None),
        "sep 3 rms": ("sep", {"thresh": 3.0}, None),
        "islands": ("islands", {}, None),
    }
    other = rw.simulate(preset, size=1000, seed=VALIDATION)
    known = matching.truth_table(other)
    like = preset if preset in LIKE else "any"
    for snr in SNRS:
        some[f"pinpoint {snr}"] = ("pinpoint", {"snr": snr, "like": like}, snr)
        some[f"pinpoint best F1 {snr}"] = ("pinpoint", {"snr": snr, "like": like, "reliability": None}, snr)
        some[f"sep tuned {snr}"] = (tuned("sep", LOW["sep"], other, known, snr), {}, snr)
    for (name, snr), finder in convosources(preset, options).items():
        some[f"{name} {snr}"] = (finder, {}, snr)
    return some


def tuned(name: str, low: dict, other, known: pd.DataFrame, snr: float):
    """Return a finder that is cut where 95 % of what it finds on another sky is real."""
    cut = matching.score_for_reliability(find(other, name, **low), known, 0.95, least=snr, factor=None)
    return lambda sky: find(sky, name, **low).above(cut)


def compare_on(sky, truths: dict[str, pd.DataFrame], finders) -> tuple[pd.DataFrame, dict[str, Found]]:
    """Return the scores of all finders on one map, a row a finder, truth, SNR, rule and kind; and what they found."""
    found, rows = {}, []
    for name, (finder, settings, _) in finders.items():
        what = look(sky, name, finder, **settings)
        if what is not None:
            found[name] = what
    for name, what in found.items():
        only = finders[name][2]
        for snr in SNRS if only is None else (only,):
            for named, truth in truths.items():
                for rule, factor in (("pixels", None), ("one-to-one", None), ("one-to-one", 2.0)):
                    scores = matching.score_finder(what, truth, rule=rule, least=snr, factor=factor, trials=3)
                    words = rule if rule == "pixels" or factor is None else f"{rule}, flux"
                    rows.append(
                        scores.reset_index().assign(
                            finder=name if only is None else name.rsplit(" ", 1)[0],
                            snr=snr,
                            rule=words,
                            truth_of=named,
                            seconds=what.seconds,
                        )
                    )
    return pd.concat(rows, ignore_index=True), found


def kappas(found: dict[str, Found], finders, truth: pd.DataFrame) -> pd.DataFrame:
    """Return kappa of each finder with PyBDSF, exact pixels and true sources."""
    rows = {}
    for name, what in found.items():
        if name == "PyBDSF" or "PyBDSF" not in found:
            continue
        only = finders[name][2]
        for snr in SNRS if only is None else (only,):
            both = matching.agree(what, found["PyBDSF"], truth, least=snr)
            rows[name if only is None else name.rsplit(" ", 1)[0], snr] = {
                f"{kind}{end}": both.loc[kind, column]
                for kind in ("pixels", "sources")
                for end, column in (("", "kappa"), (" low", "low"), (" high", "high"))
            }
    return pd.DataFrame.from_dict(rows, orient="index")


def equal_reliability(preset: str, sky, truth, found) -> pd.DataFrame:
    """Return completeness of each class at one reliability: all finders dare more, and are cut on another sky.

    First where 95 % are real, then at the reliability that PyBDSF has as the paper runs it.
    """
    other = rw.simulate(preset, size=sky.shape[0], seed=VALIDATION)
    known = matching.truth_table(other)
    peer = look(other, "PyBDSF", "pybdsf")
    if peer is None:
        return pd.DataFrame()
    both = {name: [look(place, name, name, **low) for place in (other, sky)] for name, low in LOW.items()}
    rows = []
    for snr in SNRS:
        some = dict(both)
        some["pinpoint"] = [find(place, "pinpoint", snr=snr, reliability=0.9) for place in (other, sky)]
        own = matching.score_finder(peer, known, least=snr, factor=None, trials=0).loc["all", "reliability"]
        rows.append(
            {"wanted": own, "snr": snr, "finder": "PyBDSF as it is", **by_class(found["PyBDSF"], truth, snr)}
        )
        for wanted in (0.95, own):
            for name, (there, here) in some.items():
                cut = matching.score_for_reliability(there, known, wanted, least=snr, factor=None)
                scores = by_class(here.above(cut), truth, snr)
                rows.append({"wanted": wanted, "snr": snr, "finder": name, **scores})
    return pd.DataFrame(rows).set_index(["snr", "wanted", "finder"]).sort_index()


def by_class(found: Found, truth: pd.DataFrame, snr: float) -> dict[str, object]:
    """Return the reliability, and the completeness of each class with its interval."""
    scores = matching.score_finder(found, truth, least=snr, factor=None, trials=0)
    row: dict[str, object] = {"reliability": scores.loc["all", "reliability"]}
    for kind in KINDS:
        if kind in scores.index:
            some = scores.loc[kind]
            values = some[["completeness", "completeness_low", "completeness_high"]]
            row[kind] = "{:.3f} ({:.3f}-{:.3f})".format(*values)
    return row


def bench_sources(options) -> None:
    scores, agreement, equal = [], {}, {}
    for preset in options.presets:
        sky = convosource.corrected(rw.simulate(preset, size=options.size, seed=TEST))
        truth = matching.truth_table(sky, apparent=False)
        finders = finders_of(preset, options)
        some, found = compare_on(sky, {"sky": truth}, finders)
        scores.append(some.assign(preset=preset))
        agreement[preset] = kappas(found, finders, truth)
        if options.equal:
            equal[preset] = equal_reliability(preset, sky, truth, found)
    table = pd.concat(scores, ignore_index=True)
    print_scores(table, "preset")
    if agreement:
        whole = pd.concat(agreement, axis=1)
        show("Tables 6, 8, 10: kappa with PyBDSF (exact pixels; true sources)", whole)
    for preset, part in equal.items():
        show(f"{preset}: completeness by class at one reliability (chosen on another sky)", part)
    seconds = table.groupby(["finder", "preset"], sort=False)["seconds"].first().unstack()
    show(f"Table 11: seconds for {options.size} x {options.size} pixels (no training)", seconds)
    report(table, "preset")


def print_scores(table: pd.DataFrame, by: str) -> None:
    """Print F1 in the layout of Figures 5, 8 and 10 and counts in that of Tables 7 and 9."""
    for snr in SNRS:
        for rule, part in table[table["snr"] == snr].groupby("rule", sort=False):
            for value in ("f1", "completeness", "reliability", "chance"):
                wide = part.pivot_table(value, ["finder"], [by, "kind"], sort=False)
                order = [pair for pair in wide.columns if pair[1] in KINDS]
                figure = {1: 5, 2: 8, 5: 10}[snr]
                show(f"SNR {snr}, {rule}: {value} (Figure {figure})", wide[order])
        part = table[(table["snr"] == snr) & (table["rule"] == "pixels")]
        counts = part.pivot_table(["tp", "fp", "fn"], [by, "finder"], "kind", sort=False)
        counts = counts.swaplevel(axis=1).sort_index(axis=1).round().astype("Int64")
        show(f"SNR {snr}, pixels: counts (Tables 7, 9)", counts)
        whole = part[part["kind"] == "all"].set_index([by, "finder"])
        interval = whole[["truth", "f1", "f1_low", "f1_high", "at_random"]]
        show(f"SNR {snr}, pixels: F1 of all with its 95 % interval; share of the map near a source", interval)


def report(table: pd.DataFrame, by: str) -> None:
    """Print what the best of ours reaches beside PyBDSF, for the table of all benchmarks."""
    whole = table[(table["kind"] == "all") & (table["rule"] == "one-to-one")]
    for (where, snr), part in whole.groupby([by, "snr"], sort=False):
        f1 = part.set_index("finder")["f1"]
        ours = f1[f1.index == "pinpoint"]
        if "PyBDSF" in f1 and len(ours):
            what = f"F1 one to one, {where}, SNR {snr} (pinpoint)"
            result(what, float(ours.max()), float(f1["PyBDSF"]), unit="", more=True, than="PyBDSF")


# --------------------------------------------------------------------------------
# SKA Data Challenge 1


def on_corrected(finder, response: np.ndarray, sky: rw.SkyMap) -> Found:
    """Find on the map divided by its primary beam, as ConvoSource was trained."""
    return finder(convosource.corrected(sky, response))


def bench_real(options) -> None:
    folder = DATA / "sdc1_sim"
    if not folder.is_dir():
        print(f"no {folder}: the real part is left out")
        return
    sky = rw.SkyMap.open(folder / "B1_1000h_0.3tr.fits")
    sky.primary_beam = rw.SkyMap.open(folder / "PrimaryBeam_B1.fits")
    catalogue = matching.read_sdc1(folder / "truth_B1_0.3tr.cat")
    truths = {"flux": matching.truth_table(sky, catalogue, apparent=False)}
    truths["flux under the primary beam"] = matching.truth_table(
        sky, catalogue, rms=truths["flux"].attrs["rms"]
    )
    y, x = (place.ravel() for place in np.indices(sky.shape))
    response = matching.beam_response(sky, *sky.pixel_to_sky(x, y)).reshape(sky.shape)
    finders = finders_of("sdc1-b1-1000h", options)
    for name, (finder, settings, snr) in finders.items():
        if name.startswith("ConvoSource"):
            finders[name] = (partial(on_corrected, finder, response), settings, snr)
    table, found = compare_on(sky, truths, finders)
    print_scores(table, "truth_of")
    columns = ["truth", "f1", "f1_low", "f1_high", "completeness", "reliability", "chance", "seconds"]
    whole = table[(table["kind"] == "all") & (table["rule"] == "one-to-one")]
    show("SDC1 piece, 3 px one to one", whole.set_index(["truth_of", "finder", "snr"])[columns].sort_index())
    show("kappa with PyBDSF", kappas(found, finders, truths["flux"]))
    report(table[table["truth_of"] == "flux"].assign(where="SDC1 piece"), "where")
    if "pinpoint 5" in found and "PyBDSF" in found:
        what = "sources of the SDC1 piece, 1 Mpx (pinpoint)"
        result(what, found["pinpoint 5"].seconds, found["PyBDSF"].seconds, than="PyBDSF")


# --------------------------------------------------------------------------------
# cosmodeep


def web_map(pair, scale: float) -> rw.SkyMap:
    """Return a mock image as a map that any finder takes."""
    from radiowidgets.data.simulate.observation import header_of
    from radiowidgets.data.simulate.presets import preset_named

    like = rw.simulate("cosmic-web", size=64, seed=0)
    header = header_of(preset_named("cosmic-web").but(pixel_scale=min(scale, 5.0)), len(pair[0]))
    for axis in "12":
        header[f"CDELT{axis}"] *= scale / min(scale, 5.0)
    area = np.float32(like.beam.sr.to_value("arcsec2"))
    return rw.SkyMap.from_array(
        pair[0] * area,
        name=f"web-{scale:g}",
        header=header,
        beam=like.beam,
        unit=like.unit,
        frequency=like.frequency,
    )


def web_finders(scale: float, f_th: float, n_pixels: int, options) -> dict[str, object]:
    """Return the networks for one cell of Table 2, trained where the folder has none."""
    some = {}
    for who, load in (("COSMODEEP", cosmodeep.load_cosmodeep), ("web pixels", cosmodeep.load_web_pixels)):
        start = "cosmodeep" if who == "COSMODEEP" else "web-pixels"
        folder = options.networks / f"{start}-{scale:g}-{f_th:g}-{n_pixels}"
        if not any(folder.glob("*.weights.h5")) and options.training:
            begun = time.perf_counter()
            train_web(who, scale, {"f_th": f_th, "n_pixels": n_pixels}, folder, options)
            print(f"trained {folder.name} in {time.perf_counter() - begun:.0f} s", flush=True)
        if any(folder.glob("*.weights.h5")):
            some[who] = load(folder)
    return some


def train_web(who: str, scale: float, labels: dict, folder: Path, options) -> None:
    """Train one network on mock images and keep it."""
    number, epochs, share = options.web_images, options.web_epochs, options.web_noise
    if options.full:
        number, epochs, share = 16, cosmodeep.EPOCHS, 1.0
    pairs = [cosmodeep.mock_images(TRAINING + k, options.web_size, scale) for k in range(number)]
    known = [cosmodeep.mock_images(VALIDATION + k, options.web_size, scale) for k in range(2)]
    kept = folder / "training"
    if who == "COSMODEEP":
        tiles = cosmodeep.Tiles.of(pairs, **labels, noise_share=share)
        finder = cosmodeep.train_cosmodeep(
            tiles, cosmodeep.Tiles.of(known, **labels), **labels, epochs=epochs, folder=kept
        )
    else:
        finder = cosmodeep.train_web_pixels(pairs, known, **labels, folder=kept)
    finder.save(folder)


def bench_web(options) -> None:
    cells = list(PAPER_TABLE_2) if options.full else [(40, 0.75)]
    rows = {}
    for scale in options.scales:
        pairs = [cosmodeep.mock_images(TEST + k, options.web_size, scale) for k in range(options.images)]
        maps = [web_map(pair, scale) for pair in pairs]
        seconds = {}
        marked = {}
        for snr in (1.5, 3.0):
            found = [look(sky, f"PyBDSF islands {snr:g}", "cosmodeep-islands", snr=snr) for sky in maps]
            if all(found):
                marked[f"PyBDSF islands {snr:g} sigma"] = found
        for n_pixels, f_th in cells:
            actual = [positive_tiles(clean, cosmodeep.TILE, f_th, n_pixels) for _, clean in pairs]
            name = f"{scale:g} arcsec, N_pix {n_pixels}, f_th {f_th:g}"
            print(
                f"{name}: {np.mean([tiles.sum() for tiles in actual]):.0f} of {actual[0].size} tiles hold signal"
            )
            here = dict(marked)
            for who, finder in web_finders(scale, f_th, n_pixels, options).items():
                here[who] = [look(sky, who, finder) for sky in maps]
            for who, found in here.items():
                least = 8 if who in marked else 0  # the paper's islands have 9 pixels at least
                tiles = [matching.signal_tiles(f, f.masks.shape, cosmodeep.TILE, least) for f in found]
                scores = matching.score_tiles(tiles, actual)
                rows[name, who] = {
                    kind: "{:.4f} ({:.4f}-{:.4f})".format(*scores.loc[kind, ["value", "low", "high"]])
                    for kind in scores.index
                }
                seconds[who] = float(np.median([f.seconds for f in found]))
            rows[name, "the paper"] = dict(
                zip(("As", "Ws", "Wv"), map("{:.4f}".format, PAPER_TABLE_2[n_pixels, f_th]), strict=True)
            )
        peer = seconds.get("PyBDSF islands 3 sigma")
        for who in set(seconds) - set(marked):
            what = f"{who}, images of {options.web_size} x {options.web_size} a second, {scale:g} arcsec"
            rates = [None if some is None else 1 / some for some in (seconds[who], peer)]
            result(what, *rates, unit="images/s", more=True, than="PyBDSF islands")
    show("cosmodeep Table 2 (the paper: 10.4 images of 2000 x 2000 a second on a P100)", pd.DataFrame(rows).T)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.split("\n\n")[0])
    parser.add_argument("parts", nargs="*", default=["sources", "real", "web"], help="of: sources, real, web")
    parser.add_argument("--presets", nargs="+", default=["sdc1-b1-8h", "sdc1-b1-1000h"], choices=PRESETS)
    parser.add_argument("--augmentations", nargs="*", default=["none"], choices=convosource.AUGMENTATIONS)
    parser.add_argument("--size", type=int, default=1000, help="of the test skies")
    parser.add_argument("--train-size", type=int, default=1500, help="of the sky that ConvoSource trains on")
    parser.add_argument("--epochs", type=int, default=10, help="of ConvoSource, at most")
    parser.add_argument("--web-size", type=int, default=2000)
    parser.add_argument("--web-images", type=int, default=6, help="of the cosmic web, to train on")
    parser.add_argument("--web-epochs", type=int, default=12, help="of COSMODEEP")
    parser.add_argument("--web-noise", type=float, default=0.2, help="share of the tiles without signal")
    parser.add_argument(
        "--scales", type=float, nargs="+", default=list(cosmodeep.SCALES), help="arcsec a pixel"
    )
    parser.add_argument("--images", type=int, default=2, help="of the cosmic web, to test on")
    parser.add_argument(
        "--networks", type=Path, default=ROOT / "build" / "finders", help="where they are kept"
    )
    parser.add_argument(
        "--no-training", dest="training", action="store_false", help="only networks that are there"
    )
    parser.add_argument(
        "--no-equal", dest="equal", action="store_false", help="no comparison at one reliability"
    )
    parser.add_argument(
        "--full", action="store_true", help="all presets, augmentations and cells, as the papers"
    )
    options = parser.parse_args()
    if options.full:
        options.presets, options.augmentations, options.size = PRESETS, convosource.AUGMENTATIONS, 4000
    for part in options.parts:
        {"sources": bench_sources, "real": bench_real, "web": bench_web}[part](options)


if __name__ == "__main__":
    main()
