import assert from "node:assert/strict";
import test from "node:test";
import { formatDec, formatDegrees, formatRA, formatValue, niceAngle, worldAt } from "../../../radiowidgets/widgets/static/sky.js";

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
