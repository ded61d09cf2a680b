"""Image services: requests beside those of astroquery, lists as the standards write them, a server of our own.

No answer here comes from a live service. The server is on this machine and gives maps that the test has made.
"""

import http.server
import io
import json
import threading
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import numpy as np
import pytest
from astropy import units as u
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.io.votable.tree import Field, Info, Resource, TableElement, VOTableFile
from astropy.wcs import WCS

import radiowidgets as rw
from radiowidgets.data import services
from radiowidgets.data.services import fetch_map, plan_map
from radiowidgets.errors import DataError, MissingExtraError, ParameterError

CRAB = (83.63308, 22.0145)
KIND = "image/fits"


def a_map(value=1.0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval = ["RA---TAN", "DEC--TAN"], CRAB
    wcs.wcs.crpix, wcs.wcs.cdelt = [16, 16], [-1e-3, 1e-3]
    file = io.BytesIO()
    fits.PrimaryHDU(np.full((32, 32), value, np.float32), wcs.to_header()).writeto(file)
    return file.getvalue()


def votable(fields, rows, status="OK"):
    """A VOTable of images, with the columns (name, ucd, type) that the standard requires of it."""
    document = VOTableFile()
    resource = Resource(type="results")
    document.resources.append(resource)
    resource.infos.append(Info(name="QUERY_STATUS", value=status))
    table = TableElement(document)
    resource.tables.append(table)
    for name, ucd, kind in fields:
        size = {"arraysize": "*"} if kind == "char" else {}
        table.fields.append(Field(document, name=name, ucd=ucd, datatype=kind, **size))
    table.create_arrays(len(rows))
    for number, row in enumerate(rows):
        table.array[number] = tuple(row)
    file = io.BytesIO()
    document.to_xml(file)
    return file.getvalue()


def sia1_list(*rows, **options):
    """IVOA Simple Image Access 1.0, section 4.2.2: columns are known by their UCD (VOX:...)."""
    fields = [
        ("name", "VOX:Image_Title", "char"),
        ("ref", "VOX:Image_AccessReference", "char"),
        ("kind", "VOX:Image_Format", "char"),
        ("length", "VOX:Image_FileSize", "int"),
    ]
    return votable(fields, rows, **options)


def sia2_list(*rows, **options):
    """IVOA Simple Image Access 2.0: columns of ObsCore 1.1, known by their name."""
    fields = [
        ("obs_collection", "meta.id", "char"),
        ("obs_id", "meta.id", "char"),
        ("access_url", "meta.ref.url", "char"),
        ("access_format", "meta.code.mime", "char"),
        ("access_estsize", "phys.size;meta.file", "long"),
    ]
    return votable(fields, rows, **options)


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        form = self.rfile.read(int(self.headers.get("Content-Length", 0))).decode()
        self.server.asked.append((self.command, self.path, form))
        answer = self.server.pages.get(urlsplit(self.path).path)
        if answer is None:
            self.send_error(404)
            return
        self.send_response(200)
        self.end_headers()
        self.wfile.write(answer)

    do_POST = do_GET  # noqa: N815

    def log_message(self, *_):
        pass


@pytest.fixture
def server():
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.asked, server.pages = [], {"/map": a_map(), "/empty": a_map(0), "/page": b"<html>\nNo data</html>"}
    server.root = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    folder = tmp_path / "cache"
    monkeypatch.setenv("RADIOWIDGETS_DATA", str(folder))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "elsewhere"))
    return folder


def from_skyview(**options):
    return fetch_map("skyview", CRAB, "2 arcmin", survey="NVSS", **options)


# Requests.


def test_skyview_is_asked_as_it_documents():
    request = plan_map("skyview", SkyCoord(*CRAB, unit="deg"), 0.2 * u.deg, survey="NVSS", pixels=300)
    asked = parse_qs(urlsplit(request.address).query)
    assert asked["Survey"] == ["NVSS"] and asked["Return"] == ["FITS"] and asked["Pixels"] == ["300"]
    assert np.allclose([float(x) for x in asked["Position"][0].split(",")], CRAB, atol=1e-4)
    assert asked["Size"] == ["0.2"] and str(request).startswith("GET https://skyview.gsfc.nasa.gov/")


def test_skyview_goes_where_the_form_goes():
    """The form of SkyView comes with astroquery; its keys are those that we send, in whatever case."""
    path = Path(pytest.importorskip("astroquery").__file__).parent / "skyview/tests/data/query_page.html"
    if not path.exists():
        pytest.skip("this astroquery came without its tests")
    form = path.read_text("latin-1").lower()
    assert f'action="{services.SKYVIEW.rpartition("/")[2]}" method="get"' in form
    for name in ("position", "survey", "coordinates", "projection", "pixels"):
        assert name in form and name in map(
            str.lower, plan_map("skyview", CRAB, "1deg", survey="x").parameters
        )


def test_hips2fits_is_asked_as_astroquery_does():
    for needed in ("PIL", "matplotlib"):
        pytest.importorskip(needed)
    peer = pytest.importorskip("astroquery.hips2fits")
    from astropy.coordinates import Angle, Latitude, Longitude

    position = {"ra": Longitude(CRAB[0] * u.deg), "dec": Latitude(CRAB[1] * u.deg), "fov": Angle(0.2 * u.deg)}
    theirs = peer.hips2fits.query(
        "CDS/P/NVSS", 100, 100, "TAN", **position, format="fits", get_query_payload=True
    )
    ours = plan_map("hips2fits", CRAB, 0.2 * u.deg, survey="CDS/P/NVSS", pixels=100)
    assert ours.url == peer.hips2fits.server
    for name, value in ours.parameters.items():
        assert value == str(theirs[name]) or float(value) == pytest.approx(theirs[name]), name


@pytest.mark.parametrize(("service", "survey"), [("first", None), ("magpis", "gps20")])
def test_cutout_servers_are_asked_as_astroquery_does(monkeypatch, service, survey):
    requests = pytest.importorskip("requests")
    from astroquery.image_cutouts.first import First
    from astroquery.magpis import Magpis

    sent = []

    def record(self, method, url, **form):
        sent.append((method, url, {key: str(value) for key, value in form["data"].items()}))
        raise requests.ConnectionError

    monkeypatch.setattr(requests.Session, "request", record)
    centre = SkyCoord(*CRAB, unit="deg")
    peer, options = (Magpis, {"survey": survey}) if survey else (First, {})
    with pytest.raises(requests.ConnectionError):
        peer.get_images_async(centre, image_size=2 * u.arcmin, **options)
    request = plan_map(service, CRAB, 2 * u.arcmin, survey=survey)
    assert sent == [(request.method, request.url, request.parameters)]


def test_lists_are_asked_for_as_the_standards_say():
    asked = plan_map("sia1", CRAB, "6 arcmin", address="https://example.org/sia?set=a&").address
    assert asked.startswith(
        "https://example.org/sia?set=a&POS=83.63308%2C22.0145&SIZE=0.1&FORMAT=image%2Ffits"
    )
    request = plan_map("sia2", CRAB, "6 arcmin", survey="b", address="https://example.org/sia")
    shape, *numbers = request.parameters["POS"].split()
    assert shape == "CIRCLE" and np.allclose([float(x) for x in numbers], [*CRAB, 0.05], atol=1e-6)
    assert request.parameters["COLLECTION"] == "b" and request.answer == "list"
    request = plan_map("irsa", CRAB, "6 arcmin", survey="wise_allwise")
    assert request.url == "https://irsa.ipac.caltech.edu/SIA"
    request = plan_map("casda", CRAB, "6 arcmin")
    assert request.url.startswith("https://casda.csiro.au/") and request.parameters["POS"].endswith(" 0.05")
    assert "login" in str(request)


@pytest.mark.parametrize(
    ("service", "position", "size", "options", "message"),
    [
        ("nvss", CRAB, "1 arcmin", {}, "choose one of 'skyview'"),
        ("first", CRAB, 5, {}, "with its unit|one angle"),
        ("first", CRAB, "5 Jy", {}, "with its unit"),
        ("first", CRAB, "0 deg", {}, "above 0"),
        ("first", CRAB, "2 deg", {}, "at most 30"),
        ("first", (83.6, 122.0), "1 arcmin", {}, "ICRS degrees"),
        ("first", (np.nan, 0.0), "1 arcmin", {}, "ICRS degrees"),
        ("first", "M1", "1 arcmin", {}, "ICRS degrees"),
        ("first", SkyCoord([1, 2], [3, 4], unit="deg"), "1 arcmin", {}, "one SkyCoord"),
        ("first", CRAB, "1 arcmin", {"survey": "NVSS"}, "survey is 'NVSS'"),
        ("first", CRAB, "1 arcmin", {"pixels": 100}, "pixels is 100"),
        ("first", CRAB, "1 arcmin", {"address": "https://example.org"}, "only sia1 and sia2"),
        ("skyview", CRAB, "1 arcmin", {}, "needs a survey"),
        ("magpis", CRAB, "1 arcmin", {"survey": "gps7"}, "'gps20'"),
        ("sia1", CRAB, "1 arcmin", {"address": "file:///etc/passwd"}, "https://"),
        ("sia2", CRAB, "1 arcmin", {}, "address is None"),
    ],
)
def test_a_wrong_argument_is_told_in_a_line(service, position, size, options, message):
    with pytest.raises(ParameterError, match=message) as caught:
        plan_map(service, position, size, **options)
    assert "\n" not in str(caught.value)


def test_without_astroquery_it_says_what_to_install(monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "astroquery.casda", None)
    with pytest.raises(MissingExtraError, match=r"radiowidgets\[services\]"):
        plan_map("first", CRAB, "1 arcmin")
    assert plan_map("skyview", CRAB, "1 arcmin", survey="NVSS").method == "GET"


# From the request to the file.


def test_a_map_is_fetched_once_and_checked_ever_after(server, cache, monkeypatch, tmp_path):
    monkeypatch.setattr(services, "SKYVIEW", f"{server.root}/map")
    (path,) = from_skyview()
    assert path.is_relative_to(cache / "services" / "skyview") and path.read_bytes() == a_map()
    assert rw.SkyMap.open(path).shape == (32, 32) and "Survey=NVSS" in server.asked[0][1]
    assert from_skyview() == [path] and len(server.asked) == 1
    (record,) = path.parent.glob("*.json")
    about = json.loads(record.read_text("utf-8"))
    assert about["request"]["survey"] == "NVSS" and about["files"][0]["file"].endswith(path.name)
    path.write_bytes(b"damaged")
    assert from_skyview() == [path] and path.read_bytes() == a_map() and len(server.asked) == 2
    from_skyview(cache=False)
    assert len(server.asked) == 3 and len(list(path.parent.iterdir())) == 2
    assert from_skyview(pixels=100) != [path]
    assert list((tmp_path / "elsewhere").rglob("*.*")) == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"files": [{"file": "../../x", "sha256": "0"}]}'])
def test_a_damaged_record_is_made_anew(server, cache, monkeypatch, text):
    monkeypatch.setattr(services, "SKYVIEW", f"{server.root}/map")
    (path,) = from_skyview()
    next(path.parent.glob("*.json")).write_text(text)
    assert from_skyview() == [path] and len(server.asked) == 2


@pytest.mark.parametrize(
    ("page", "message"),
    [
        ("page", r"no map; it begins '<html>\?No data</html>'"),
        ("empty", "blank or zero everywhere"),
        ("none", "404"),
        ("map", "more than 0 MB"),
    ],
)
def test_what_is_no_map_is_not_kept(server, cache, monkeypatch, page, message):
    monkeypatch.setattr(services, "SKYVIEW", f"{server.root}/{page}")
    with pytest.raises(DataError, match=message) as caught:
        from_skyview(limit=1000 if page == "map" else 1e6)
    assert "\n" not in str(caught.value)
    assert list((cache / "services" / "skyview").iterdir()) == []


def test_a_form_is_posted(server, monkeypatch):
    first = pytest.importorskip("astroquery.image_cutouts.first")
    monkeypatch.setattr(first.FirstClass, "URL", f"{server.root}/map")
    (path,) = fetch_map("first", CRAB, "2 arcmin")
    assert path.read_bytes() == a_map()
    method, asked, form = server.asked[0]
    assert (method, asked) == ("POST", "/map") and parse_qs(form)["ImageType"] == ["FITS File"]


def test_a_service_that_is_silent_is_not_waited_for(monkeypatch):
    import socket

    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setattr(services, "SKYVIEW", f"http://127.0.0.1:{silent.getsockname()[1]}/")
        with pytest.raises(DataError, match="did not answer"):
            from_skyview(timeout=0.2)


# Lists of images.


def test_images_of_a_list(server, cache):
    rows = [(f"field {x}", f"{server.root}/map?{x}", KIND, 5760) for x in "ab"]
    server.pages["/sia"] = sia1_list(*rows, ("picture", f"{server.root}/page", "image/jpeg", 10))
    options = {"address": f"{server.root}/sia", "progress": False}
    paths = fetch_map("sia1", CRAB, "2 arcmin", **options)
    assert len(paths) == 2 and all(path.read_bytes() == a_map() for path in paths)
    assert [asked for _, asked, _ in server.asked[1:]] == ["/map?a", "/map?b"]
    assert fetch_map("sia1", CRAB, "2 arcmin", **options) == paths and len(server.asked) == 3
    assert len(fetch_map("sia1", CRAB, "2 arcmin", match="FIELD B", **options)) == 1
    with pytest.raises(DataError, match=r"of 2 images of sia1 2 match '', and most is 1: 'field a map\?a'; "):
        fetch_map("sia1", CRAB, "2 arcmin", most=1, **options, cache=False)
    with pytest.raises(DataError, match="0 match 'radio'"):
        fetch_map("sia1", CRAB, "2 arcmin", match="radio", **options)
    with pytest.raises(DataError, match="by the list of sia1 and limit"):
        fetch_map("sia1", CRAB, "2 arcmin", limit=5000, **options, cache=False)


def test_images_of_a_list_of_version_2(server):
    link = "application/x-votable+xml;content=datalink"
    row = ("survey", "tile 7", f"{server.root}/map", KIND, 6)
    server.pages["/sia"] = sia2_list(row, ("survey", "tile 8", f"{server.root}/page", link, 0))
    options = {"address": f"{server.root}/sia", "survey": "survey"}
    (path,) = fetch_map("sia2", CRAB, "2 arcmin", **options)
    assert path.read_bytes() == a_map() and "COLLECTION=survey" in server.asked[0][1]
    assert "tile 7" in path.with_name(path.name.replace("-0.fits", ".json")).read_text()
    server.pages["/sia"] = sia2_list(("survey", "tile 8", f"{server.root}/page", link, 0))
    with pytest.raises(DataError, match=r"lists no FITS image of survey .*content=datalink"):
        fetch_map("sia2", CRAB, "3 arcmin", **options)


@pytest.mark.parametrize("kind", ["page", "error", "nothing"])
def test_a_list_that_is_none(server, kind):
    server.pages["/sia"] = {"page": b"<html>\ndown</html>", "error": sia2_list(status="ERROR")}.get(
        kind, sia2_list()
    )
    message = {
        "page": "it begins '<html>",
        "error": "refused",
        "nothing": "lists no FITS image of any survey",
    }
    with pytest.raises(DataError, match=message[kind]) as caught:
        fetch_map("sia2", CRAB, "2 arcmin", address=f"{server.root}/sia")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("url", ["file:///etc/passwd", "ftp://example.org/a", "/etc/passwd", "gopher:x"])
def test_a_list_leads_nowhere_but_to_the_web(server, url):
    server.pages["/sia"] = sia2_list(("survey", "tile", url, KIND, 0))
    with pytest.raises(DataError, match="not asked"):
        fetch_map("sia2", CRAB, "2 arcmin", address=f"{server.root}/sia")


def test_irsa_cuts_out_where_it_can():
    """https://irsa.ipac.caltech.edu/ibe/cutouts.html: center and size are appended to addresses of /ibe/data/."""
    whole = "https://irsa.ipac.caltech.edu/ibe/data/a/b.fits"
    other = "https://irsa.ipac.caltech.edu/data/a/b.fits"
    answer = io.BytesIO(sia2_list(("c", "1", whole, KIND, 70_000), ("c", "2", other, KIND, 70_000)))
    request = plan_map("irsa", CRAB, "6 arcmin")
    cut, kept = services._choose(services._read_list(answer, "irsa"), request, "", 10)
    assert cut.url == f"{whole}?center=83.6330800,22.0145000deg&size=0.1deg&gzip=false" and cut.bytes is None
    assert kept.url == other and kept.bytes == 70_000_000


def test_lists_that_come_with_pyvo_and_astroquery():
    """Answers of GAVO, CADC and CASDA, kept by those who wrote the clients."""
    from importlib.resources import files

    for package, file, service, urls in (
        ("pyvo", "dal/tests/data/sia/dataset.xml", "sia1", 2),
        ("pyvo", "dal/tests/data/sia2/dataset.xml", "sia2", 0),
        ("astroquery", "casda/tests/data/cone.xml", "casda", 1),
    ):
        path = Path(str(files(package).joinpath(file)))
        if not path.exists():
            pytest.skip(f"this {package} came without its tests")
        address = "https://example.org" if service.startswith("sia") else None
        request = plan_map(service, CRAB, "1 arcmin", address=address)
        records = services._read_list(io.BytesIO(path.read_bytes()), service)
        match = "cont.restored" if service == "casda" else ""
        if urls:
            images = services._choose(records, request, match, 10)
            assert len(images) == urls and all(image.url.startswith("http") for image in images)
        else:
            with pytest.raises(DataError, match="datalink"):
                services._choose(records, request, match, 10)


def test_casda_asks_for_a_login_before_anything_else():
    pytest.importorskip("astroquery")
    with pytest.raises(DataError, match=r"Casda.login\(username"):
        fetch_map("casda", CRAB, "2 arcmin")


def test_casda_is_asked_for_a_circle(monkeypatch):
    """The names of files are those in astroquery's own tests; what a live CASDA gives was not seen."""
    casda = pytest.importorskip("astroquery.casda").Casda
    asked = {}

    def cutout(table, **where):
        asked.update(where, url=table["access_url"][0])
        return [f"http://casda.csiro.au/download/web/1/cutout.fits{end}" for end in (".checksum", "")]

    monkeypatch.setattr(casda, "cutout", cutout)
    image = services._Image("https://data.csiro.au/x", "EMU")
    (found,) = services._stage([image], plan_map("casda", CRAB, "6 arcmin"))
    assert found.url.endswith("/cutout.fits") and asked["url"] == image.url
    assert asked["radius"].to_value(u.arcmin) == pytest.approx(3)
    assert asked["coordinates"].separation(SkyCoord(*CRAB, unit="deg")) < 1e-6 * u.deg
