import assert from "node:assert/strict";
import test from "node:test";
import { formatDec, formatDegrees, formatGalactic, formatRA, formatValue, niceAngle, skyLinks, toGalactic, worldAt } from "../../../radiowidgets/widgets/static/sky.js";

test("sexagesimal rounding carries over", () => {
  assert.equal(formatRA(15 * (1 + 59 / 60 + 59.999 / 3600)), "02h00m00.00s");
  assert.equal(formatRA(-0.000001), "00h00m00.00s");
  assert.equal(formatRA(187.5), "12h30m00.00s");
  assert.equal(formatDec(-0.5), "−00°30′00.0″");
  assert.equal(formatDec(9.999999), "+10°00′00.0″");
  assert.equal(formatDegrees(10.5, -0.25), "10.50000, −0.25000");
});

test("values carry the prefix that reads best", () => {
  assert.equal(formatValue(3.2e-5, "Jy/beam"), "32.00 µJy/beam");
  assert.equal(formatValue(-0.0012, "Jy/beam"), "-1.200 mJy/beam");
  assert.equal(formatValue(0, "Jy"), "0 Jy");
  assert.equal(formatValue(NaN, "Jy"), "blank");
  assert.equal(formatValue(12.3456, ""), "12.35");
  assert.equal(formatValue(0.5, "MJy/sr"), "0.5 MJy/sr");
});

test("a position between grid points lies between them, also across RA 0", () => {
  const point = (ra, dec) => {
    const [a, d] = [(ra * Math.PI) / 180, (dec * Math.PI) / 180];
    return [Math.cos(d) * Math.cos(a), Math.cos(d) * Math.sin(a), Math.sin(d)];
  };
  const vectors = Float64Array.from([point(0.01, 0), point(359.99, 0), point(0.01, 0.02), point(359.99, 0.02)].flat());
  const middle = worldAt({ columns: 2, rows: 2, width: 101, height: 101, vectors }, 50, 50);
  assert.ok(Math.min(middle.ra, 360 - middle.ra) < 1e-9);
  assert.ok(Math.abs(middle.dec - 0.01) < 1e-6);
  assert.equal(worldAt(null, 0, 0), null);
  assert.equal(worldAt({ columns: 2, rows: 2, width: 2, height: 2, vectors: new Float64Array(12).fill(NaN) }, 0, 0), null);
});

test("scale bars have round lengths", () => {
  assert.deepEqual(niceAngle(256), { length: 60, label: "1′" });
  assert.deepEqual(niceAngle(100), { length: 30, label: "30″" });
  assert.deepEqual(niceAngle(40000), { length: 7200, label: "2°" });
});

test("Galactic coordinates are those of astropy", () => {
  const known = [ // ra, dec, l, b of SkyCoord(ra, dec, unit="deg").galactic
    [0, 0, 96.33728336969006, -60.188551946914465],
    [83.633, 22.0145, 184.55741630955765, -5.784421958594905],
    [10.5, -89.9, 302.93655519130925, -27.22816755868727],
    [359.99, 61.2, 116.77110212368021, -1.0544752882885005],
  ];
  for (const [ra, dec, l, b] of known) {
    const found = toGalactic(ra, dec);
    assert.ok(Math.abs(found.l - l) < 1e-9 && Math.abs(found.b - b) < 1e-9, `${found.l} ${found.b}`);
  }
  assert.equal(formatGalactic(266.4051, -28.936175), "l 0.0001° b −0.0001°");
});

test("links hold the position and nothing else", () => {
  const links = skyLinks(10.5, -3.25, 0.2);
  assert.match(links["Aladin Lite"], /^https:\/\/aladin\.cds\.unistra\.fr\/AladinLite\/\?target=10\.500000%20-3\.250000&fov=0\.200$/);
  assert.match(links.SIMBAD, /Coord=10\.500000%20-3\.250000&CooFrame=ICRS&Radius=6\.00/);
  assert.match(skyLinks(10.5, 3.25).SIMBAD, /%20%2B3\.25/);
});
