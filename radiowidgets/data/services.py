"""Maps of a position from image services: SkyView, hips2fits, FIRST, MAGPIS, IRSA, CASDA and any SIA service.

Requests are built with astroquery and pyvo or as the services document them; the bytes are moved here, so that there is
a limit of time and size, no pickle (astroquery's own cache holds such) and nothing outside of the cache folder. What a
service answers counts only once `SkyMap.open` reads it.

**No fetcher of this module has met its live service.** Requests are compared with those that astroquery and pyvo build;
lists of images are read as the SIA standards describe them; the way from request to file is tested with a server on
the same machine. Of CASDA, the staging of cutouts behind a login is not tested at all. A service may have changed:
`plan_map` shows what would be asked, to be tried in a browser.
"""

import hashlib
import io
import json
import os
import re
import tempfile
import warnings
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from datetime import UTC, datetime
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO
from urllib.parse import urlencode, urlsplit

from astropy import units as u

import radiowidgets
from radiowidgets.data.cards import shorten
from radiowidgets.data.download import CHUNK_BYTES
from radiowidgets.data.manifest import cache_path
from radiowidgets.errors import DataError, MapError, MissingExtraError, ParameterError, check_one_of

if TYPE_CHECKING:
    from astropy.coordinates import SkyCoord

#: The services, and what `survey` is there. None of them was met alive.
SERVICES = {
    "skyview": "a survey as SkyView calls it, such as 'NVSS'; resampled to `pixels`",
    "hips2fits": "a HiPS by its identifier, such as 'CDS/P/DSS2/red'; resampled to `pixels`",
    "first": "none: FIRST at 1.4 GHz, at most 30 arcmin",
    "magpis": "a survey of the MAGPIS server, such as 'gps20'; at most 1024 pixels",
    "irsa": "a collection of IRSA, such as 'wise_allwise' (optional); cut out where IRSA can",
    "casda": "part of the name of a collection (optional); needs astroquery.casda.Casda.login(...) before",
    "sia1": "none: a service of Simple Image Access 1.0 at `address`",
    "sia2": "a collection (optional) of a service of Simple Image Access 2.0 at `address`",
}
RESAMPLED = ("skyview", "hips2fits")
PIXELS = 512
# https://skyview.gsfc.nasa.gov/current/docs/batchpage.html
SKYVIEW = "https://skyview.gsfc.nasa.gov/current/cgi/runquery.pl"
HIPS2FITS = "https://alasky.cds.unistra.fr/hips-image-services/hips2fits"
_LIST_BYTES = 50_000_000
_FIRST_LARGEST = (
    30 * u.arcmin
)  # 1024 pixels of 1.8 arcsec, beyond which the server would cut less than was asked


@dataclass(frozen=True)
class ImageRequest:
    """What is asked of a service.

    Parameters
    ----------
    service, survey : str
    ra, dec : float
        ICRS degrees.
    size : float
        Side of the square, degrees.
    method : str
        'GET' or 'POST'.
    url : str
    parameters : dict of str
    answer : str
        'map': the file itself; 'list': a VOTable of images, which are fetched one by one; 'cubes': a VOTable of what is
        cut out and fetched after a login.
    """

    service: str
    survey: str
    ra: float
    dec: float
    size: float
    method: str
    url: str
    parameters: dict[str, str] = field(default_factory=dict)
    answer: str = "map"

    @property
    def address(self) -> str:
        """The request as one address, which a browser understands (if the method is GET)."""
        joint = "&" if "?" in self.url else "?"
        return f"{self.url.rstrip('?&')}{joint}{urlencode(self.parameters)}"

    def __str__(self) -> str:
        what = {"map": "a map", "list": "a list of images", "cubes": "a list of cubes, cut out after a login"}
        return f"{self.method} {self.address}\nanswers with {what[self.answer]}"


@dataclass(frozen=True)
class _Image:
    """A row of a list: an image that may be fetched."""

    url: str
    title: str
    bytes: int | None = None


def plan_map(
    service: str,
    position: "SkyCoord | Sequence[float]",
    size: u.Quantity | str,
    *,
    survey: str | None = None,
    pixels: int | None = None,
    address: str | None = None,
) -> ImageRequest:
    """Return what `fetch_map` would ask; nothing is sent.

    Parameters
    ----------
    service, position, size, survey, pixels, address
        As of `fetch_map`.

    Returns
    -------
    ImageRequest
        Printed, it is the request; `ImageRequest.address` can be opened in a browser.

    Raises
    ------
    ParameterError
        If an argument does not fit the service.
    MissingExtraError
        If astroquery is not installed, for services other than SkyView and hips2fits.

    Examples
    --------
    >>> print(plan_map("skyview", (83.633, 22.014), "12 arcmin", survey="NVSS", pixels=300))
    GET https://skyview.gsfc.nasa.gov/current/cgi/runquery.pl?Position=83.63...%2C22.01...&...
    answers with a map
    """
    check_one_of("service", service, SERVICES)
    centre = _position(position)
    side = _side(size)
    if pixels is not None and (service not in RESAMPLED or not 1 <= int(pixels) <= 10_000):
        raise ParameterError(
            f"pixels is {pixels!r} for {service}; {' and '.join(RESAMPLED)} take 1 to 10000, the others give the"
            " pixels of the survey."
        )
    if service in ("sia1", "sia2"):
        if urlsplit(address or "").scheme not in ("http", "https"):
            raise ParameterError(
                f"address is {address!r}; {service} needs that of the service, https://..., which the registry of the"
                " Virtual Observatory lists."
            )
    elif address is not None:
        raise ParameterError(f"address is {address!r}; only sia1 and sia2 take one.")
    if survey is None and service in (*RESAMPLED, "magpis"):
        raise ParameterError(f"{service} needs a survey: {SERVICES[service]}.")
    if survey is not None and service in ("first", "sia1"):
        raise ParameterError(f"survey is {survey!r}; {service} takes {SERVICES[service]}.")
    method, url, parameters, answer = _ask(service, centre, side, survey, pixels or PIXELS, address)
    texts = {name: str(value) for name, value in parameters.items()}
    ra, dec = float(centre.ra.deg), float(centre.dec.deg)
    return ImageRequest(
        service, survey or "", ra, dec, float(side.to_value(u.deg)), method, url, texts, answer
    )


def _ask(
    service: str, centre: "SkyCoord", side: u.Quantity, survey: str | None, pixels: int, address: str | None
) -> tuple[str, str, dict[str, Any], str]:
    """Return method, URL, parameters and the kind of answer."""
    if service == "skyview":
        j2000 = centre.fk5
        parameters = {
            "Position": f"{j2000.ra.deg:.7f},{j2000.dec.deg:.7f}",
            "Survey": survey,
            "Coordinates": "J2000",
            "Projection": "Tan",
            "Pixels": pixels,
            "Size": f"{side.to_value(u.deg):.7g}",
            "Return": "FITS",
        }
        return "GET", SKYVIEW, parameters, "map"
    if service == "hips2fits":
        parameters = {
            "hips": survey,
            "width": pixels,
            "height": pixels,
            "projection": "TAN",
            "coordsys": "icrs",
        }
        parameters |= {
            "ra": centre.ra.deg,
            "dec": centre.dec.deg,
            "fov": side.to_value(u.deg),
            "format": "fits",
        }
        return "GET", HIPS2FITS, parameters, "map"
    return _ask_astroquery(service, centre, side, survey, address)


def _ask_astroquery(
    service: str, centre: "SkyCoord", side: u.Quantity, survey: str | None, address: str | None
) -> tuple[str, str, dict[str, Any], str]:
    try:
        from astroquery.casda import Casda
        from astroquery.image_cutouts.first import First
        from astroquery.ipac.irsa import conf as irsa
        from astroquery.magpis import Magpis
        from pyvo.dal import SIAQuery  # type: ignore[import-untyped]
        from pyvo.dal.sia2 import SIA2Query  # type: ignore[import-untyped]
    except ImportError as error:
        raise MissingExtraError(
            "Image services need astroquery; install it with: pip install 'radiowidgets[services]'."
        ) from error
    if service == "first":
        if side > _FIRST_LARGEST:
            raise ParameterError(f"size is {side.to(u.arcmin):.1f}; FIRST cuts out at most {_FIRST_LARGEST}.")
        return "POST", First.URL, First.get_images(centre, image_size=side, get_query_payload=True), "map"
    if service == "magpis":
        check_one_of("survey", survey, Magpis.list_surveys())
        payload = Magpis.get_images(centre, image_size=side, survey=survey, get_query_payload=True)
        return "POST", Magpis.URL, payload, "map"
    if service == "casda":
        return "GET", Casda.URL, Casda.query_region(centre, radius=side / 2, get_query_payload=True), "cubes"
    if service == "sia1":
        query = SIAQuery(address, pos=centre, size=side, format="image/fits")
        return "GET", str(address), dict(query), "list"
    query = SIA2Query(
        irsa.sia_url if service == "irsa" else address,
        pos=(centre, side / 2),
        collection=survey,
        data_type="image",
    )
    return "GET", query.baseurl, {name: _one(value) for name, value in query.items()}, "list"


def _one(value: Any) -> Any:
    """Return the one value of a parameter that may be repeated."""
    return value if isinstance(value, str) else " ".join(map(str, value))


def _position(position: "SkyCoord | Sequence[float]") -> "SkyCoord":
    from astropy.coordinates import SkyCoord

    wrong = f"position is {shorten(str(position))}; give one SkyCoord, or (ra, dec) in ICRS degrees."
    try:
        if not isinstance(position, SkyCoord):
            ra, dec = position
            position = SkyCoord(float(ra), float(dec), unit="deg")
        centre = position.icrs
        good = centre.isscalar and isfinite(centre.ra.deg + centre.dec.deg)
    except (TypeError, ValueError) as error:
        raise ParameterError(wrong) from error
    if not good:
        raise ParameterError(wrong)
    return SkyCoord(centre.ra, centre.dec)


def _side(size: u.Quantity | str) -> u.Quantity:
    try:
        side = u.Quantity(size).to(u.deg)
        good = side.isscalar and 0 < side.value <= 90
    except (TypeError, ValueError) as error:
        raise ParameterError(
            f"size is {size!r}; give one angle with its unit, such as '12 arcmin'."
        ) from error
    if not good:
        raise ParameterError(f"size is {size!r}; give one angle above 0 and up to 90 deg.")
    return side


def fetch_map(
    service: str,
    position: "SkyCoord | Sequence[float]",
    size: u.Quantity | str,
    *,
    survey: str | None = None,
    pixels: int | None = None,
    address: str | None = None,
    match: str = "",
    most: int = 10,
    cache: bool = True,
    limit: float = 500e6,
    timeout: float = 60.0,
    progress: bool = True,
) -> list[Path]:
    """Return paths of maps of a position, fetched from an image service unless they lie in the cache.

    No service was met alive while this was written; see the module. `plan_map` shows the request.

    Parameters
    ----------
    service : str
        One of `SERVICES`: 'skyview', 'hips2fits', 'first', 'magpis', 'irsa', 'casda', 'sia1', 'sia2'.
    position : SkyCoord or (float, float)
        Centre; a pair is right ascension and declination, ICRS degrees.
    size : astropy.units.Quantity or str
        Side of the square, with its unit: ``12 * u.arcmin`` or '12 arcmin'.
    survey : str, optional
        As the service calls it, see `SERVICES`.
    pixels : int, optional
        Pixels along a side, for services that resample (default 512). What is resampled has lost its noise and often
        its beam: look at it, measure on originals.
    address : str, optional
        Of the service, for 'sia1' and 'sia2'.
    match : str
        Of a list of images only those whose title or address contains this, such as 'science' or 'w3-int'. For
        'casda' the default is 'cont.restored'.
    most : int
        A list of more images is an error that names the first of them.
    cache : bool
        Use what was fetched before for the same request. The cache is that of ``radiowidgets data``;
        ``RADIOWIDGETS_DATA`` moves it.
    limit : float
        Largest size of one file, in bytes.
    timeout : float
        Seconds to wait for the next byte.
    progress : bool
        Show a bar when several images are fetched.

    Returns
    -------
    list of Path
        FITS files that `SkyMap.open` reads. Beside them a ``.json`` file says what was asked, when, and the sha256.

    Raises
    ------
    DataError
        If the service does not answer, has nothing there, or gives what is no map. Nothing of it is kept.
    ParameterError
        If an argument does not fit the service.
    MissingExtraError
        If astroquery is not installed.
    """
    request = plan_map(service, position, size, survey=survey, pixels=pixels, address=address)
    if request.answer == "cubes":
        match = match or "cont.restored"
        _check_login()
    key = _key(request, match)
    if cache and (kept := _kept(key)):
        return kept
    if request.answer == "map":
        images = [_Image(request.url, request.survey or request.service)]
    else:
        images = _choose(_list_images(request, timeout), request, match, most)
        if request.answer == "cubes":
            images = _stage(images, request)
    from tqdm.auto import tqdm

    records: list[dict[str, Any]] = []
    for number, image in enumerate(
        tqdm(images, desc=request.service, disable=not progress or len(images) < 2)
    ):
        if image.bytes is not None and image.bytes > limit:
            raise DataError(
                f"{shorten(image.title)} has {image.bytes / 1e6:.0f} MB by the list of {request.service} and limit is"
                f" {limit / 1e6:.0f} MB; raise limit or take another with match."
            )
        form = request.parameters if request.answer == "map" else {}
        method = request.method if request.answer == "map" else "GET"
        name, sha256, length = _fetch_image(
            request, image.url, method, form, f"{key}-{number}", limit, timeout
        )
        # Addresses of staged files are keys to them, so that they are not written down.
        source = "" if request.answer == "cubes" else image.url
        records.append({"file": name, "url": source, "title": image.title, "sha256": sha256, "bytes": length})
    about = {
        "request": asdict(request),
        "match": match,
        "fetched": datetime.now(UTC).isoformat("T", "seconds"),
    }
    record = cache_path("services", f"{key}.json")
    _write(record, json.dumps(about | {"files": records}, indent=1) + "\n")
    return [cache_path("services", entry["file"]) for entry in records]


# ----------------------------------------------------------------------------
# the cache


def _key(request: ImageRequest, match: str) -> str:
    """Return the path in the cache that is the request's own: readable, and a hash for all the rest."""
    told = json.dumps([asdict(request), match], sort_keys=True)
    digest = hashlib.sha256(told.encode()).hexdigest()[:12]
    survey = re.sub(r"[^A-Za-z0-9]+", "-", request.survey).strip("-")[:40] or "map"
    return f"{request.service}/{survey}-{request.ra:.5f}{request.dec:+.5f}-{digest}"


def _kept(key: str) -> list[Path] | None:
    """Return the files of an earlier request, if all are there and unchanged."""
    from pooch import file_hash

    try:
        record = json.loads(cache_path("services", f"{key}.json").read_text("utf-8"))
        entries = [(cache_path("services", entry["file"]), entry["sha256"]) for entry in record["files"]]
    except (FileNotFoundError, ValueError, TypeError, KeyError, DataError):  # made anew
        return None
    if all(path.exists() and file_hash(str(path)) == sha256 for path, sha256 in entries):
        return [path for path, _ in entries]
    return None


def _write(path: Path, text: str) -> None:
    written = path.with_name(path.name + ".part")
    written.write_text(text, "utf-8")
    written.replace(path)


# ----------------------------------------------------------------------------
# moving bytes


def _bring(
    method: str, url: str, parameters: dict[str, str], file: BinaryIO, limit: float, timeout: float
) -> None:
    """Write what an address answers, up to a limit."""
    import requests

    form: dict[str, Any] = {"params" if method == "GET" else "data": parameters}
    headers = {"User-Agent": f"radiowidgets/{radiowidgets.__version__}", "Accept-Encoding": "identity"}
    where = urlsplit(url).hostname
    if urlsplit(url).scheme not in ("http", "https"):
        raise DataError(f"{shorten(url)} is no address with http:// or https://; it is not asked.")
    try:
        with requests.request(method, url, stream=True, timeout=timeout, headers=headers, **form) as response:
            response.raise_for_status()
            for chunk in response.iter_content(CHUNK_BYTES):
                file.write(chunk)
                if file.tell() > limit:
                    raise DataError(
                        f"{where} gave more than {limit / 1e6:.0f} MB; ask for a smaller size, or raise limit."
                    )
    except requests.RequestException as error:
        reason = " ".join(str(error).split())[:300]
        raise DataError(
            f"{where} did not answer as it should ({reason}); try again later, or look at plan_map(...).address in a"
            " browser."
        ) from error


def _fetch_image(
    request: ImageRequest,
    url: str,
    method: str,
    form: dict[str, str],
    stem: str,
    limit: float,
    timeout: float,
) -> tuple[str, str, int]:
    """Fetch one file, and keep it if it is a map; return its name in the cache, sha256 and size."""
    from pooch import file_hash

    folder = cache_path("services", f"{stem}.fits").parent
    folder.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(".part", dir=folder)
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            _bring(method, url, form, file, limit, timeout)
        _check_map(part, request)
        with part.open("rb") as file:
            suffix = ".fits.gz" if file.read(2) == b"\x1f\x8b" else ".fits"
        result = stem + suffix, file_hash(str(part)), part.stat().st_size
        part.chmod(0o644)
        part.replace(cache_path("services", result[0]))
    finally:
        part.unlink(missing_ok=True)
    return result


def _check_map(path: Path, request: ImageRequest) -> None:
    """Raise unless the file is a map and, if it was cut out for us, has something on it."""
    from radiowidgets.data.maps import SkyMap

    try:
        sky = SkyMap.open(path, name=request.service)
        empty = request.answer == "map" and not (sky.pixels[:] > 0).any() and not (sky.pixels[:] < 0).any()
    except MapError as error:
        with path.open("rb") as file:
            start = file.read(300).decode("latin-1")
        said = "" if start.startswith(("SIMPLE", "\x1f\x8b")) else f"; it begins {shorten(start, 200)}"
        reason = str(error).replace(str(path), "the file")
        raise DataError(
            f"what {request.service} gave is no map{said} ({reason}). Nothing was kept: is the position in the survey,"
            f" and is {request.survey or request.service!r} right?"
        ) from error
    if empty:
        raise DataError(
            f"the map of {request.service} is blank or zero everywhere; {request.survey or request.service!r} does not"
            f" seem to cover {request.ra:.5f} {request.dec:+.5f}. Nothing was kept."
        )


# ----------------------------------------------------------------------------
# lists of images


def _list_images(request: ImageRequest, timeout: float) -> Any:
    """Ask for a list; return pyvo's records."""
    answer = io.BytesIO()
    _bring(request.method, request.url, request.parameters, answer, _LIST_BYTES, timeout)
    answer.seek(0)
    return _read_list(answer, request.service)


def _read_list(answer: BinaryIO, service: str) -> Any:
    """Read a VOTable of images: IVOA's SIA 1.0, or SIA 2.0 (ObsCore)."""
    from astropy.io.votable import parse
    from pyvo.dal import DALQueryError, SIAResults
    from pyvo.dal.exceptions import DALFormatError  # type: ignore[import-untyped]
    from pyvo.dal.sia2 import SIA2Results

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # services keep to the standard more or less
            table = parse(answer, verify="ignore")
            return (SIAResults if service == "sia1" else SIA2Results)(table)
    except DALQueryError as error:
        raise DataError(f"{service} refused the question: {shorten(str(error), 300)}.") from error
    except (DALFormatError, ValueError, TypeError, IndexError, OSError) as error:
        answer.seek(0)
        start = answer.read(200).decode("latin-1")
        raise DataError(
            f"{service} did not answer with a list of images (VOTable); it begins {shorten(start, 200)}."
        ) from error


def _choose(records: Any, request: ImageRequest, match: str, most: int) -> list[_Image]:
    """Return the images of a list that are FITS and match."""
    images, formats = [], set()
    for record in records:
        image, form = _described(record, request)
        formats.add(form)
        if (request.answer == "cubes" or "fits" in form.lower()) and image.url:
            images.append(image)
    if not images:
        found = f"; it has {', '.join(sorted(map(shorten, formats)))}" if formats else ""
        raise DataError(
            f"{request.service} lists no FITS image of {request.survey or 'any survey'} at"
            f" {request.ra:.5f} {request.dec:+.5f}{found}. Is the survey written as there?"
        )
    wanted = [image for image in images if match.lower() in f"{image.title} {image.url}".lower()]
    if request.answer == "cubes":
        wanted = [image for image in wanted if request.survey.lower() in image.title.lower()]
    if 1 <= len(wanted) <= most:
        return wanted
    shown = "; ".join(
        shorten(f"{image.title} {image.url.rpartition('/')[2]}", 100) for image in (wanted or images)[:5]
    )
    raise DataError(
        f"of {len(images)} images of {request.service} {len(wanted)} match {match!r}, and most is {most}: {shown} ..."
        " Choose with match, or raise most."
    )


def _described(record: Any, request: ImageRequest) -> tuple[_Image, str]:
    """Return a row of a list and its format."""
    if request.service == "sia1":
        title, url, form, size = record.title, record.acref, record.format, record.filesize
    else:
        names = ("obs_collection", "dataproduct_subtype", "obs_id", "obs_title")
        title = " ".join(str(record[name]) for name in names if record.get(name) is not None)
        url, form, size = (record.get(name) for name in ("access_url", "access_format", "access_estsize"))
        size = 1000 * size if size is not None else None
    url = str(url or "")
    if urlsplit(url).hostname == "irsa.ipac.caltech.edu" and "/ibe/data/" in url and "?" not in url:
        # https://irsa.ipac.caltech.edu/ibe/cutouts.html; what the list says of the size is that of the whole image
        url += f"?center={request.ra:.7f},{request.dec:.7f}deg&size={request.size:.7g}deg&gzip=false"
        size = None
    known = int(size) if size is not None and size > 0 else None  # 0: not known
    return _Image(url, str(title or ""), known), str(form or "")


# ----------------------------------------------------------------------------
# CASDA, where images are staged behind a login


def _check_login() -> None:
    from astroquery.casda import Casda

    if not Casda.authenticated():
        raise DataError(
            "CASDA gives images to who is logged in; once a session: from astroquery.casda import Casda;"
            " Casda.login(username='...'), which asks for the password (of an ATNF OPAL account)."
        )


def _stage(images: list[_Image], request: ImageRequest) -> list[_Image]:
    """Let CASDA cut out; this waits until it has, often for minutes."""
    import requests
    from astropy.coordinates import SkyCoord
    from astropy.table import Table
    from astroquery.casda import Casda

    rows = Table({"access_url": [image.url for image in images]})
    centre = SkyCoord(request.ra, request.dec, unit="deg")
    try:
        # The box that astroquery would ask for is too narrow away from the equator; a circle is not.
        urls = Casda.cutout(rows, coordinates=centre, radius=request.size / 2 * u.deg)
    except (ValueError, requests.RequestException) as error:
        raise DataError(f"CASDA cut out nothing ({shorten(str(error), 300)}); try again later.") from error
    files = [(url, urlsplit(url).path.rpartition("/")[2]) for url in urls]
    return [_Image(url, name) for url, name in files if not name.endswith(".checksum")]
