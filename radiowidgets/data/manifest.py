"""The data that the package knows by name: where each set comes from, and how it is fetched and checked.

The list itself is ``data-manifest.yaml`` beside this module, a file for people to read. Only what it names is
fetched, into a cache that paths cannot leave; each file is checked against its sha256 whenever it is asked
for. Archives are not unpacked and nothing that is fetched is ever run.
"""

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NoReturn
from urllib.parse import quote, unquote, urlsplit

import yaml

from radiowidgets.data.download import ResumingDownloader
from radiowidgets.errors import DataError

MANIFEST = Path(__file__).with_name("data-manifest.yaml")

#: What is known of the files of a dataset.
STATES = {
    "made on the spot": "a mock sky; there is nothing to fetch",
    "verified": "the sha256 and size of every file are known beforehand",
    "unverified until first fetch, then pinned": "what the first fetch brings is pinned and checked ever after",
    "by hand": "no file can be named; the entry says where to ask",
}
UNVERIFIED = "unverified until first fetch, then pinned"

#: What reads the files of a dataset.
LOADERS = {
    "simulate": "a mock sky, rw.simulate(name)",
    "map": "one map, rw.SkyMap.open(path)",
    "table": "one catalogue, rw.read_catalogue(path)",
    "rgz": "the sources of Radio Galaxy Zoo, radiowidgets.data.rgz.read_rgz(path)",
    "none": "the paths alone",
}

# One plain name, or several joined by '/': nothing in it can mean another place, on any system.
_NAME = re.compile(r"[a-z0-9][a-z0-9-]*", re.ASCII)
_FILE = re.compile(
    r"(?!.*\.(part|version|damaged|sha256)$)\w([\w.+-]*[\w+-])?(/\w([\w.+-]*[\w+-])?)*", re.ASCII
)
_SHA256 = re.compile(r"[0-9a-f]{64}", re.ASCII)
_DOI = re.compile(r"10\.\d{4,9}/\S+", re.ASCII)


@dataclass(frozen=True)
class DataFile:
    """One file of a dataset.

    Parameters
    ----------
    url : str
        Where it is, http or https.
    name : str
        What it is called in the cache, by default the end of the URL.
    sha256 : str or None
        None until the first fetch, see `STATES`.
    bytes : int or None
    """

    url: str
    name: str = ""
    sha256: str | None = None
    bytes: int | None = None


@dataclass(frozen=True)
class Dataset:
    """One entry of the manifest.

    Parameters
    ----------
    name, title, version : str
    doi : str or None
        That of the data or, failing that, of the paper that describes them.
    state : str
        One of `STATES`.
    licence, citation : str
    loader : str
        One of `LOADERS`.
    files : tuple of DataFile
    where : str
        What to do for data that cannot be named file by file, and other remarks.
    """

    name: str
    title: str
    version: str
    doi: str | None
    state: str
    licence: str
    citation: str
    loader: str
    files: tuple[DataFile, ...] = ()
    where: str = ""


@dataclass(frozen=True)
class Manifest(Mapping[str, Dataset]):
    """The datasets by name, in the order of the file.

    Parameters
    ----------
    datasets : dict of Dataset
    mirror : str
        An address that holds copies of all files as ``<mirror>/<dataset>/<file>``; empty for none.
    """

    datasets: dict[str, Dataset]
    mirror: str = ""

    def __getitem__(self, name: str) -> Dataset:
        if name not in self.datasets:
            raise DataError(f"no dataset is registered as {name!r}; `radiowidgets data list` names all.")
        return self.datasets[name]

    def __contains__(self, name: object) -> bool:
        return name in self.datasets

    def __iter__(self) -> Iterator[str]:
        return iter(self.datasets)

    def __len__(self) -> int:
        return len(self.datasets)


def read_manifest(path: str | os.PathLike[str] | None = None) -> Manifest:
    """Read a manifest, by default that of the package.

    Raises
    ------
    DataError
        Names the file, the line and the entry at fault.
    """
    path = Path(path or MANIFEST)
    try:
        node = yaml.compose(path.read_text("utf-8"), Loader=yaml.SafeLoader)
    except OSError as error:
        raise DataError(f"the manifest {str(path)!r} cannot be read ({error.strerror}).") from error
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        line = f", line {mark.line + 1}" if mark else ""
        reason = getattr(error, "problem", None) or type(error).__name__
        raise DataError(f"{path}{line}: this is not YAML ({reason}). Correct it there.") from error
    return _Reader(path).manifest(node)


class _Reader:
    """Turns the nodes of a YAML file into a `Manifest`, so that each fault has its line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.entry = ""

    def fail(self, node: yaml.Node | None, problem: str) -> NoReturn:
        line = f", line {node.start_mark.line + 1}" if node else ""
        entry = f", dataset {self.entry!r}" if self.entry else ""
        raise DataError(f"{self.path}{line}{entry}: {problem}")

    def mapping(self, node: yaml.Node | None, keys: set[str]) -> dict[str, yaml.Node]:
        if not isinstance(node, yaml.MappingNode):
            self.fail(node, f"here should be a mapping with the keys {', '.join(sorted(keys))}.")
        found: dict[str, yaml.Node] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode) or key.value not in keys:
                self.fail(
                    key, f"{key.value!r} is not a key of the manifest; here are {', '.join(sorted(keys))}."
                )
            if key.value in found:
                self.fail(key, f"the key {key.value!r} is given twice.")
            found[key.value] = value
        return found

    def sequence(self, node: yaml.Node) -> list[yaml.Node]:
        if not isinstance(node, yaml.SequenceNode):
            self.fail(node, "here should be a list.")
        return list(node.value)

    def text(self, node: yaml.Node) -> str | None:
        """One scalar as written, so that no version or hash is taken for a number; None for null."""
        if not isinstance(node, yaml.ScalarNode):
            self.fail(node, "here should be one line of text.")
        return None if node.tag.endswith(":null") else str(node.value).strip()

    def manifest(self, node: yaml.Node | None) -> Manifest:
        top = self.mapping(node, {"mirror", "datasets"})
        if "datasets" not in top:
            self.fail(node, "the key 'datasets' is missing.")
        datasets: dict[str, Dataset] = {}
        for entry in self.sequence(top["datasets"]):
            self.entry = ""
            dataset = self.dataset(entry)
            if dataset.name in datasets:
                self.fail(entry, "this name is given twice.")
            datasets[dataset.name] = dataset
        mirror = self.text(top["mirror"]) if "mirror" in top else None
        return Manifest(datasets, mirror or "")

    def dataset(self, node: yaml.Node) -> Dataset:
        keys = [entry.name for entry in fields(Dataset)]
        found = self.mapping(node, set(keys))
        if "name" in found:
            self.entry = self.text(found["name"]) or ""
        for key in keys:
            if key not in found and key not in ("files", "where"):
                self.fail(node, f"the key {key!r} is missing.")
        texts = {key: self.text(value) for key, value in found.items() if key != "files"}
        for key, value in texts.items():
            if not value and key not in ("doi", "where"):
                self.fail(found[key], f"{key} is empty.")
        if not _NAME.fullmatch(self.entry):
            self.fail(found["name"], "a name has small letters, digits and '-' only.")
        if texts["doi"] is not None and not _DOI.fullmatch(texts["doi"]):
            self.fail(found["doi"], f"doi is {texts['doi']!r}; write it as 10.1234/abc, or null.")
        for key, options in (("state", STATES), ("loader", LOADERS)):
            if texts[key] not in options:
                self.fail(
                    found[key], f"{key} is {texts[key]!r}; choose one of {', '.join(map(repr, options))}."
                )
        nodes = self.sequence(found["files"]) if "files" in found else []
        files = tuple(self.file(entry) for entry in nodes)
        self.agree(node, str(texts["state"]), files, texts.get("where") or "")
        return Dataset(
            **{key: value or "" for key, value in texts.items() if key != "doi"},
            doi=texts["doi"],
            files=files,
        )

    def file(self, node: yaml.Node) -> DataFile:
        found = self.mapping(node, {entry.name for entry in fields(DataFile)})
        if "url" not in found:
            self.fail(node, "this file has no url.")
        texts = {key: self.text(value) for key, value in found.items()}
        url = texts["url"] or ""
        try:
            parts = urlsplit(url)
        except ValueError:  # such as http://[
            parts = urlsplit("")
        if parts.scheme not in ("http", "https") or not parts.hostname or re.search(r"[\s\x00-\x1f\\]", url):
            self.fail(found["url"], f"{url!r} is not an address with http:// or https://.")
        name = texts.get("name") or unquote(parts.path.rpartition("/")[2])
        if not _FILE.fullmatch(name):
            self.fail(
                found.get("name", node),
                f"{name!r} cannot be the name of a file in the cache; give a plain 'name'.",
            )
        sha256, size = texts.get("sha256"), texts.get("bytes")
        if sha256 is not None and not _SHA256.fullmatch(sha256):
            self.fail(found["sha256"], f"sha256 is {sha256!r}; it has 64 small hexadecimal digits.")
        if size is not None and not (size.isascii() and size.isdecimal() and len(size) < 20):
            self.fail(found["bytes"], f"bytes is {size!r}; it is a whole number.")
        return DataFile(url, name, sha256, None if size is None else int(size))

    def agree(self, node: yaml.Node, state: str, files: Sequence[DataFile], where: str) -> None:
        """Fail where state and files contradict each other."""
        names = [file.name for file in files]
        if len(set(names)) < len(names):
            self.fail(node, "two files have one name; give them different ones with 'name'.")
        known = [file.sha256 is not None and file.bytes is not None for file in files]
        fits = {
            "verified": bool(files) and all(known),
            UNVERIFIED: bool(files) and not all(known),
            "by hand": not files and bool(where),
            "made on the spot": not files,
        }
        if not fits[state]:
            self.fail(
                node,
                f"its files ({len(files)}, {sum(known)} of them with sha256 and bytes) do not fit state {state!r}.",
            )


def cache_folder() -> Path:
    """Return the folder of fetched files: ``RADIOWIDGETS_DATA``, else the user's cache."""
    import pooch

    return Path(os.environ.get("RADIOWIDGETS_DATA") or pooch.os_cache("radiowidgets")).expanduser()


def cache_path(dataset: str, file: str) -> Path:
    """Return where a file of a dataset lies in the cache.

    Raises
    ------
    DataError
        If that would be outside of the cache: by ``..``, an absolute path, a drive or a link.
    """
    if not (_NAME.fullmatch(dataset) and _FILE.fullmatch(file)):
        raise DataError(
            f"{dataset}/{file!r} is not a plain path inside the cache; correct it in the manifest."
        )
    cache = cache_folder().resolve()
    path = cache.joinpath(dataset, *file.split("/"))
    if path.resolve() != path:
        raise DataError(
            f"{path} leads through a link to {path.resolve()}, out of the cache; remove the link and"
            " move the whole cache with RADIOWIDGETS_DATA instead."
        )
    return path


def fetch(
    name: str,
    files: Sequence[str] | None = None,
    *,
    manifest: Manifest | None = None,
    mirror: str | None = None,
    progress: bool = True,
) -> list[Path]:
    """Return the paths of a dataset's files, fetching what is not there and checking all of them.

    Parameters
    ----------
    name : str
        A dataset of the manifest.
    files : sequence of str, optional
        Only these of its files.
    manifest : Manifest, optional
        By default that of the package.
    mirror : str, optional
        Address or folder to fetch from instead, laid out as ``<mirror>/<dataset>/<file>`` like the cache. By
        default ``RADIOWIDGETS_MIRROR``, else the manifest's own. ``file:///media/stick`` needs no network.
    progress : bool
        Show a bar for each download.

    Returns
    -------
    list of Path
        Empty for a mock sky.

    Raises
    ------
    DataError
        If the dataset is not registered, cannot be fetched, or is not what its sha256 says.

    Notes
    -----
    A file whose sha256 is not in the manifest is trusted the first time and pinned: its sha256 is written
    beside it in a ``.sha256`` file (``sha256sum -c`` reads it), and the file is held to it from then on.
    """
    manifest = read_manifest() if manifest is None else manifest
    dataset = manifest[name]
    if dataset.state == "by hand":
        raise DataError(f"{name} cannot be fetched file by file: {dataset.where}")
    wanted = [file.name for file in dataset.files] if files is None else list(files)
    known = {file.name: file for file in dataset.files}
    for file in wanted:
        if file not in known:
            raise DataError(f"{name} has no file {file!r}; it has {', '.join(known) or 'none'}.")
    mirror = mirror or os.environ.get("RADIOWIDGETS_MIRROR") or manifest.mirror
    return [_fetch_file(name, known[file], mirror, progress) for file in wanted]


def _fetch_file(dataset: str, file: DataFile, mirror: str, progress: bool) -> Path:
    import pooch

    path = cache_path(dataset, file.name)
    sha256 = file.sha256 or read_pin(path)
    if path.exists():
        found = pooch.file_hash(str(path))
        if sha256 in (None, found):
            return path if file.sha256 else _pin(path, found)
        path.replace(path.with_name(path.name + ".damaged"))
    url = _mirrored(mirror, dataset, file.name) if mirror else file.url
    key = f"{dataset}/{file.name}"
    part = path.with_name(path.name + ".part")
    downloader = ResumingDownloader(part, size=file.bytes, progress=progress)
    keeper = pooch.create(cache_folder().resolve(), base_url="", registry={key: sha256}, urls={key: url})
    try:
        keeper.fetch(key, downloader=downloader)
    except ValueError as error:
        pinned = "" if file.sha256 else f", pinned in {path.name}.sha256 beside it when it was first fetched"
        raise DataError(
            f"what {url} gave for {key} is not the file that is registered (sha256 {sha256}{pinned});"
            " nothing was kept. Try again; if it stays so, the source has changed: ask there."
        ) from error
    except OSError as error:
        raise DataError(
            f"{key} could not be fetched from {url} ({' '.join(str(error).split())});"
            " the same call goes on where it stopped."
        ) from error
    return path if file.sha256 else _pin(path, pooch.file_hash(str(path)))


def _mirrored(mirror: str, dataset: str, file: str) -> str:
    """Return the address of a file on a mirror, which may be given as a folder."""
    if urlsplit(mirror).scheme not in ("http", "https", "file"):
        mirror = Path(mirror).expanduser().resolve().as_uri()
    return f"{mirror.rstrip('/')}/{dataset}/{quote(file)}"


def _pin_path(path: Path) -> Path:
    return path.with_name(path.name + ".sha256")


def read_pin(path: Path) -> str | None:
    """Return the sha256 to which a cached file was pinned when it was first fetched, or None."""
    try:
        text = _pin_path(path).read_text("ascii")
    except FileNotFoundError:
        return None
    sha256 = text.partition(" ")[0].strip()
    if not _SHA256.fullmatch(sha256):
        raise DataError(
            f"{_pin_path(path)} holds no sha256; remove it together with {path.name} and fetch anew."
        )
    return sha256


def _pin(path: Path, sha256: str) -> Path:
    pin = _pin_path(path)
    if not pin.exists():
        written = pin.with_name(pin.name + ".part")
        written.write_text(f"{sha256}  {path.name}\n", "ascii")
        written.replace(pin)
    return path


def verify(name: str | None = None, *, manifest: Manifest | None = None) -> dict[str, str]:
    """Check what lies in the cache; nothing is fetched or changed.

    Parameters
    ----------
    name : str, optional
        One dataset; by default all.
    manifest : Manifest, optional
        By default that of the package.

    Returns
    -------
    dict of str
        ``<dataset>/<file>`` to 'well', 'DAMAGED', 'not pinned yet' or 'not fetched'.
    """
    import pooch

    manifest = read_manifest() if manifest is None else manifest
    found: dict[str, str] = {}
    for dataset in manifest.values() if name is None else [manifest[name]]:
        for file in dataset.files:
            path = cache_path(dataset.name, file.name)
            known = file.sha256 or read_pin(path)
            if not path.exists():
                state = "not fetched"
            elif known is None:
                state = "not pinned yet"
            else:
                state = "well" if pooch.file_hash(str(path)) == known else "DAMAGED"
            found[f"{dataset.name}/{file.name}"] = state
    return found


def load(name: str, file: str | None = None, **options: Any) -> Any:
    """Return a dataset as its loader gives it, fetched first where needed.

    Parameters
    ----------
    name : str
        A dataset of the manifest of the package.
    file : str, optional
        Which of its files; needed where there are several. Of a dataset that is got by hand: the path of the file.
    **options
        Given to the loader, see `LOADERS`: for instance ``size`` and ``seed`` of a mock sky.
    """
    dataset = read_manifest()[name]
    if dataset.state == "by hand" and file is not None:
        if not Path(file).is_file():
            raise DataError(f"there is no file {file}; how to get {name}: {dataset.where}")
        return Path(file) if dataset.loader == "none" else _loader(dataset.loader)(file, **options)
    if dataset.loader == "simulate":
        from radiowidgets.data.simulate import simulate

        return simulate(name, **options)
    names = [entry.name for entry in dataset.files]
    if file is None and len(names) > 1:
        raise DataError(
            f"{name} has several files; choose file={names[0]!r} or another of {', '.join(names)}."
        )
    path = fetch(name, None if file is None else [file])[0]
    if dataset.loader == "none":
        return path
    return _loader(dataset.loader)(path, **options)


def _loader(loader: str) -> Callable[..., Any]:
    if loader == "map":
        from radiowidgets.data.maps import SkyMap

        return SkyMap.open
    if loader == "rgz":
        from radiowidgets.data.rgz import read_rgz

        return read_rgz
    from radiowidgets.data.catalogues import read_catalogue

    return read_catalogue
