// Coordinates in the browser: positions interpolated on a small grid that the
// kernel computed with the full WCS, and how they are written.

// The grid holds unit vectors (x, y, z) at (columns x rows) points spread over
// the frame from pixel 0 to width-1 and 0 to height-1; between them the vectors
// are interpolated linearly (error below a milliarcsecond for a 10' frame).
export function worldAt(grid, px, py) {
  if (!grid || !grid.vectors) return null;
  const { columns, rows, width, height, vectors } = grid;
  const u = width > 1 ? (px / (width - 1)) * (columns - 1) : 0;
  const v = height > 1 ? (py / (height - 1)) * (rows - 1) : 0;
  const i = Math.max(0, Math.min(columns - 2, Math.floor(u)));
  const j = Math.max(0, Math.min(rows - 2, Math.floor(v)));
  const fu = u - i, fv = v - j;
  const at = (a, b, k) => vectors[3 * (b * columns + a) + k];
  const mix = (k) =>
    (1 - fv) * ((1 - fu) * at(i, j, k) + fu * at(i + 1, j, k)) +
    fv * ((1 - fu) * at(i, j + 1, k) + fu * at(i + 1, j + 1, k));
  const [x, y, z] = [mix(0), mix(1), mix(2)];
  const norm = Math.hypot(x, y, z);
  if (!(norm > 0.5)) return null;  // NaN too: no sky at this pixel
  const ra = (Math.atan2(y, x) * 180) / Math.PI;
  return { ra: (ra + 360) % 360, dec: (Math.asin(z / norm) * 180) / Math.PI };
}

// The three fields of `value` degrees (or hours); rounding carries over, so 59.99 never shows as 60.0.
function fields(value, digits) {
  const scale = 10 ** digits;
  const total = Math.round(Math.abs(value) * 3600 * scale);
  const two = (number) => String(number).padStart(2, "0");
  return {
    units: Math.floor(total / (3600 * scale)),
    minutes: two(Math.floor(total / (60 * scale)) % 60),
    seconds: ((total % (60 * scale)) / scale).toFixed(digits).padStart(digits + 3, "0"),
  };
}

export function formatRA(ra) {
  const { units, minutes, seconds } = fields((((ra % 360) + 360) % 360) / 15, 2);
  return `${String(units % 24).padStart(2, "0")}h${minutes}m${seconds}s`;
}

export function formatDec(dec) {
  const { units, minutes, seconds } = fields(dec, 1);
  return `${dec < 0 ? "−" : "+"}${String(units).padStart(2, "0")}°${minutes}′${seconds}″`;
}

export function formatDegrees(ra, dec) {
  return `${ra.toFixed(5)}, ${dec < 0 ? "−" : "+"}${Math.abs(dec).toFixed(5)}`;
}

// Rotation from ICRS to Galactic coordinates, the one of astropy.
const TO_GALACTIC = [
  [-0.05487565771259163, -0.8734370519556159, -0.48383507361671546],
  [0.4941094371927268, -0.4448297212232952, 0.7469821839866676],
  [-0.8676661375596576, -0.19807633727300053, 0.4559838136873016],
];

export function toGalactic(ra, dec) {
  const [a, d] = [(ra * Math.PI) / 180, (dec * Math.PI) / 180];
  const vector = [Math.cos(d) * Math.cos(a), Math.cos(d) * Math.sin(a), Math.sin(d)];
  const [x, y, z] = TO_GALACTIC.map((row) => row[0] * vector[0] + row[1] * vector[1] + row[2] * vector[2]);
  return { l: ((Math.atan2(y, x) * 180) / Math.PI + 360) % 360, b: (Math.atan2(z, Math.hypot(x, y)) * 180) / Math.PI };
}

export function formatGalactic(ra, dec) {
  const { l, b } = toGalactic(ra, dec);
  return `l ${l.toFixed(4)}° b ${b < 0 ? "−" : "+"}${Math.abs(b).toFixed(4)}°`;
}

// Addresses of what others know about a position; `size` in degrees. Nothing is asked before somebody follows one.
export function skyLinks(ra, dec, size = 0.1) {
  const place = encodeURIComponent(`${ra.toFixed(6)} ${dec < 0 ? "" : "+"}${dec.toFixed(6)}`);
  const field = Math.min(5, Math.max(0.01, size)).toFixed(3);
  const radius = Math.min(60, Math.max(0.1, size * 30)).toFixed(2); // half of it, in arcmin
  return {
    "Aladin Lite": `https://aladin.cds.unistra.fr/AladinLite/?target=${place}&fov=${field}`,
    SIMBAD: `https://simbad.cds.unistra.fr/simbad/sim-coo?Coord=${place}&CooFrame=ICRS&Radius=${radius}&Radius.unit=arcmin`,
  };
}

const PREFIXES = [[1e9, "G"], [1e6, "M"], [1e3, "k"], [1, ""], [1e-3, "m"], [1e-6, "µ"], [1e-9, "n"], [1e-12, "p"]];

// The unit with the SI prefix that keeps `value` between 1 and 1000, as radio astronomers write it (µJy, mJy):
// {factor, unit}. What has a prefix already stays as it is.
export function scaledUnit(value, unit) {
  if (!unit || !/^(Jy|K|V|W)/.test(unit)) return { factor: 1, unit: unit || "" };
  const [factor, prefix] = PREFIXES.find(([f]) => Math.abs(value) >= f * 0.9995) ?? (value === 0 ? [1, ""] : PREFIXES.at(-1));
  return { factor, unit: prefix + unit };
}

export function formatValue(value, unit) {
  if (!Number.isFinite(value)) return "blank";
  const scaled = scaledUnit(value, unit);
  const digits = scaled.factor === 1 && !/^(Jy|K|V|W)/.test(unit ?? "") ? String(Number(value.toPrecision(4))) : value === 0 ? "0" : (value / scaled.factor).toPrecision(4);
  return `${digits}${scaled.unit ? ` ${scaled.unit}` : ""}`;
}

// A value and its error in the same unit, to two digits of the error.
export function formatWithError(value, error, unit) {
  if (!Number.isFinite(value)) return "blank";
  const scaled = scaledUnit(Math.max(Math.abs(value), Math.abs(error) || 0), unit);
  const [v, e] = [value / scaled.factor, error / scaled.factor];
  const digits = e > 0 ? Math.min(6, Math.max(0, 1 - Math.floor(Math.log10(e)))) : 3;
  return `${v.toFixed(digits)} ± ${e.toFixed(digits)} ${scaled.unit}`.trim();
}

export function formatFrequency(hertz) {
  if (!Number.isFinite(hertz) || hertz === null) return "";
  if (hertz >= 3e12) return `${Number((299792458e6 / hertz).toPrecision(3))} µm`;
  return hertz >= 1e9 ? `${Number((hertz / 1e9).toPrecision(3))} GHz` : `${Number((hertz / 1e6).toPrecision(3))} MHz`;
}

// An angle in arcsec, as long as it needs to be.
export function formatAngle(arcsec) {
  if (arcsec >= 3600) return `${(arcsec / 3600).toPrecision(3)}°`;
  return arcsec >= 60 ? `${(arcsec / 60).toPrecision(3)}′` : `${arcsec.toPrecision(3)}″`;
}

// A round length for a scale bar that fills at most `share` of `span` (arcseconds).
export function niceAngle(span, share = 0.3) {
  const steps = [0.1, 0.2, 0.5, 1, 2, 5, 10, 20, 30, 60, 120, 300, 600, 1200, 1800, 3600, 7200, 18000, 36000];
  const most = span * share;
  const length = steps.filter((step) => step <= most).pop() ?? steps[0];
  const label = length >= 3600 ? `${length / 3600}°` : length >= 60 ? `${length / 60}′` : `${length}″`;
  return { length, label };
}
