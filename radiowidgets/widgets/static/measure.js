// Measurements in the browser: sums in drawn regions and cuts along drawn lines, on the original pixels.
//
// Places are pixels of the frame: the centre of the lower left pixel is (0, 0), y upwards.

const PARTS = 5; // a pixel at the border of a region counts by how many of PARTS x PARTS points lie inside

// A test of a point and the box around a region: {kind: "ellipse", x, y, a, b, angle?} with semi-axes and the angle
// of the first from +x in radians, or {kind: "polygon", points: [[x, y], ...]}.
function shapeOf(region) {
  if (region.kind === "ellipse") {
    const [cos, sin] = [Math.cos(region.angle ?? 0), Math.sin(region.angle ?? 0)];
    const inside = (x, y) => {
      const [dx, dy] = [x - region.x, y - region.y];
      return ((dx * cos + dy * sin) / region.a) ** 2 + ((dy * cos - dx * sin) / region.b) ** 2 <= 1;
    };
    const [w, h] = [Math.hypot(region.a * cos, region.b * sin), Math.hypot(region.a * sin, region.b * cos)];
    return { inside, box: [region.x - w, region.y - h, region.x + w, region.y + h] };
  }
  const { points } = region;
  const inside = (x, y) => {
    let odd = false;
    for (let i = 0, j = points.length - 1; i < points.length; j = i++) {
      const [[xi, yi], [xj, yj]] = [points[i], points[j]];
      if (yi > y !== yj > y && x < xi + ((y - yi) / (yj - yi)) * (xj - xi)) odd = !odd;
    }
    return odd;
  };
  const [xs, ys] = [points.map((p) => p[0]), points.map((p) => p[1])];
  return { inside, box: [Math.min(...xs), Math.min(...ys), Math.max(...xs), Math.max(...ys)] };
}

// What lies in a region of `image` {pixels, width, height}: {sum, area, blank, peak, at}. Areas are in pixels;
// blank pixels do not count in `area` and `sum`; what lies beyond the frame counts as blank.
export function regionSum(image, region) {
  const { pixels, width, height } = image;
  const { inside, box } = shapeOf(region);
  const found = { sum: 0, area: 0, blank: 0, peak: NaN, at: null };
  const [x0, y0] = [Math.floor(box[0] + 0.5), Math.floor(box[1] + 0.5)];
  const [x1, y1] = [Math.ceil(box[2] - 0.5), Math.ceil(box[3] - 0.5)];
  for (let y = y0; y <= y1; y++) {
    for (let x = x0; x <= x1; x++) {
      let points = 0;
      for (let k = 0; k < PARTS * PARTS; k++) {
        const [dx, dy] = [(k % PARTS) + 0.5, Math.floor(k / PARTS) + 0.5];
        if (inside(x - 0.5 + dx / PARTS, y - 0.5 + dy / PARTS)) points += 1;
      }
      if (!points) continue;
      const share = points / PARTS ** 2;
      const value = x < 0 || y < 0 || x >= width || y >= height ? NaN : pixels[y * width + x];
      if (!Number.isFinite(value)) { found.blank += share; continue; }
      found.sum += share * value;
      found.area += share;
      if (!(value <= found.peak)) [found.peak, found.at] = [value, [x, y]];
    }
  }
  return found;
}

// Flux density (Jy) of a region and its error. `band`: {background, rms, flux (what brings the sum of pixels to Jy,
// 1 / beam area for Jy/beam), beam_area (pixels)}. The error is that of noise correlated over a beam:
// rms * sqrt(number of beams), at least one.
export function fluxOf(image, region, band, subtract = true) {
  const found = regionSum(image, region);
  const beams = found.area / band.beam_area;
  const sum = found.sum - (subtract ? band.background * found.area : 0);
  if (!band.flux || !found.area) return { ...found, beams, flux: NaN, error: NaN };
  const error = band.rms * band.flux * band.beam_area * Math.sqrt(Math.max(1, beams));
  return { ...found, beams, flux: sum * band.flux, error };
}

// Values along a line, at most half a pixel apart, bilinear: {offsets (pixels from its beginning), values}.
export function profileOf({ pixels, width, height }, [x0, y0], [x1, y1]) {
  const length = Math.hypot(x1 - x0, y1 - y0);
  const count = Math.max(2, Math.min(4000, Math.ceil(2 * length) + 1));
  const at = (x, y) => (x < 0 || y < 0 || x >= width || y >= height ? NaN : pixels[y * width + x]);
  const offsets = new Float64Array(count), values = new Float64Array(count);
  for (let k = 0; k < count; k++) {
    const t = k / (count - 1);
    const [x, y] = [x0 + t * (x1 - x0), y0 + t * (y1 - y0)];
    const [i, j] = [Math.floor(x), Math.floor(y)];
    const [fx, fy] = [x - i, y - j];
    let value = 0;
    for (const [dx, dy, weight] of [[0, 0, (1 - fx) * (1 - fy)], [1, 0, fx * (1 - fy)], [0, 1, (1 - fx) * fy], [1, 1, fx * fy]]) {
      if (weight > 0) value += weight * at(i + dx, j + dy);
    }
    offsets[k] = t * length;
    values[k] = value;
  }
  return { offsets, values };
}

// About `count` round numbers from lo to hi.
export function niceTicks(lo, hi, count = 5) {
  const span = hi - lo;
  if (!(span > 0) || !Number.isFinite(span)) return [];
  const rough = span / Math.max(1, count);
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((factor) => factor * power >= rough * 0.999);
  const ticks = [];
  for (let k = Math.ceil(lo / step - 1e-9); k * step <= hi + 1e-9 * span; k++) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}
