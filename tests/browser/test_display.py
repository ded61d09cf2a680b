"""The large view as a person uses it: bands, blink, contours, three colours, the flux density of a region."""

import re

import pytest
from browser.lab import open_notebook, run_cell, save_and_reload, screenshot
from browser.test_review import review
from playwright.sync_api import Locator, Page, expect

CELL = """
import numpy as np, radiowidgets as rw
from astropy import units as u
from astropy.wcs import WCS
from radio_beam import Beam
wcs = WCS(naxis=2)
wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.crpix = ["RA---SIN", "DEC--SIN"], [200, -30], [64.5, 64.5]
wcs.wcs.cdelt = [-2 / 3600, 2 / 3600]
y, x = np.mgrid[:128, :128]
def sky(name, peak, seed, frequency):
    noise = 1e-3 * np.random.default_rng(seed).normal(size=(128, 128))
    source = peak * np.exp(-4 * np.log(2) * ((x - 63.5) ** 2 + (y - 63.5) ** 2) / 6**2)
    return rw.SkyMap.from_array(noise + source, name=name, wcs=wcs, unit="Jy/beam", frequency=frequency * u.GHz,
                                beam=Beam(12 * u.arcsec, 12 * u.arcsec, 0 * u.deg))
frames = rw.cut_windows(sky("low", 1.0, 1, 0.9), size=64, step=16)
run = rw.Run.create("runs/NAME", frames, annotator="ada")
rw.Review(run, bands=[sky("high", 0.25, 2, 5)])
"""
CENTRE = 12  # the frame with the source in its middle
COLOURS = """canvas => {
  const { data } = canvas.getContext("2d").getImageData(canvas.width / 2 - 2, canvas.height / 2 - 2, 4, 4);
  return [0, 1, 2].map((k) => { let sum = 0;
    for (let i = k; i < data.length; i += 4) sum += data[i];
    return sum / 16;
  });
}"""


@pytest.fixture
def large(page: Page, jupyter, request) -> Locator:
    name = request.node.name  # a run remembers what is open: each test has its own
    open_notebook(page, jupyter.write(f"{name}.ipynb", [CELL.replace("NAME", name)]))
    run_cell(page, 0)
    root = review(page)
    root.scroll_into_view_if_needed()
    root.locator(f".rw-tile[data-frame='{CENTRE}']").click()
    page.keyboard.press("Enter")
    expect(root.locator(".rw-large")).to_have_attribute("data-painted", f"{CENTRE}/0")
    return root


def middle(page: Page, large: Locator) -> tuple[float, float]:
    box = large.locator(".rw-large-canvas").bounding_box()
    return box["x"] + box["width"] / 2, box["y"] + box["height"] / 2


def test_bands_contours_colours_and_blink(page, large):
    view, canvas = large.locator(".rw-large"), large.locator(".rw-large-canvas")
    page.keyboard.press("b")
    expect(view).to_have_attribute("data-painted", f"{CENTRE}/1")
    plain = canvas.evaluate("canvas => canvas.toDataURL()")
    large.locator("select[aria-label^=Contours]").select_option("0")
    page.wait_for_function(
        "([canvas, plain]) => canvas.toDataURL() !== plain", arg=[canvas.element_handle(), plain]
    )
    screenshot(page, "contours")
    page.locator("[aria-label^='Three bands']").click()
    expect(view).to_have_attribute("data-painted", f"{CENTRE}/rgb")
    expect(large.locator(".rw-colour-three")).to_contain_text("low")
    page.keyboard.press(",")
    assert max(canvas.evaluate(COLOURS)) > 200
    page.locator("[aria-label^='Three bands']").click()
    page.locator("[aria-label^='Blink between']").click()
    for band in (0, 1, 0):
        expect(view).to_have_attribute("data-painted", f"{CENTRE}/{band}", timeout=3000)
    page.keyboard.press("Escape")  # ends the blinking, not the view
    expect(page.locator("[aria-label^='Blink between']")).to_have_attribute("aria-pressed", "false")
    expect(view).to_be_visible()
    assert not page.traffic.errors

    page.locator("[aria-label^='Three bands']").click()
    page.wait_for_timeout(500)
    save_and_reload(page)
    expect(page.locator(".rw-large")).to_have_attribute("data-painted", f"{CENTRE}/rgb", timeout=60_000)


def test_flux_density_profile_and_contrast(page, large):
    x, y = middle(page, large)
    large.locator("[data-tool=circle]").click()
    size = large.locator(".rw-large-canvas").bounding_box()
    scale = min(size["width"], size["height"]) / 64
    page.mouse.move(x, y)
    page.mouse.down()
    page.mouse.move(x + 12 * scale, y, steps=4)
    page.mouse.up()
    found = re.search(r"([\d.]+) ± ([\d.]+) (m?)Jy", large.locator(".rw-result").inner_text())
    flux, error = (float(found[k]) * (1e-3 if found[3] else 1) for k in (1, 2))
    assert flux == pytest.approx(1.0, abs=4 * error) and error == pytest.approx(
        1e-3 * (144 / 13) ** 0.5, rel=0.3
    )
    page.keyboard.press("Escape")
    expect(large.locator(".rw-result")).to_be_hidden()
    large.locator("[data-tool=line]").click()
    page.mouse.move(x - 20 * scale, y)
    page.mouse.down()
    page.mouse.move(x + 20 * scale, y, steps=4)
    page.mouse.up()
    expect(large.locator(".rw-profile")).to_have_attribute("aria-label", re.compile("Profile of low"))
    page.mouse.move(x, y)
    page.mouse.down(button="right")
    page.mouse.move(x + 60, y - 60, steps=4)
    page.mouse.up(button="right")
    assert float(large.locator("input[aria-label=Contrast]").input_value()) > 1
    assert float(large.locator("input[aria-label=Bias]").input_value()) > 0.5
    link = large.locator("a", has_text="SIMBAD")
    assert link.get_attribute("rel") == "noopener noreferrer" and "Coord=200.0" in link.get_attribute("href")
    assert not page.traffic.errors
