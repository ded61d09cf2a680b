// A window on a plane: which part of it is in view, how it moves, and where things are on the screen.

// A range is [x0, x1, y0, y1] in the plane; on the screen y grows downwards.
export class Viewport {
  constructor(width = 100, height = 100) {
    Object.assign(this, { range: null, home: null, width, height, equal: true });
  }

  get scaleX() { return this.width / (this.range[1] - this.range[0]); }
  get scaleY() { return this.height / (this.range[3] - this.range[2]); }

  toScreen(x, y) { return [(x - this.range[0]) * this.scaleX, (this.range[3] - y) * this.scaleY]; }
  toPlane(px, py) { return [this.range[0] + px / this.scaleX, this.range[3] - py / this.scaleY]; }

  // Where a picture of `range` lies on the screen now: left, top, width, height.
  rectOf([x0, x1, y0, y1]) {
    const [left, top] = this.toScreen(x0, y1);
    const [right, bottom] = this.toScreen(x1, y0);
    return [left, top, right - left, bottom - top];
  }

  pan(dx, dy) {
    const [x, y] = [dx / this.scaleX, dy / this.scaleY];
    this.range = [this.range[0] - x, this.range[1] - x, this.range[2] + y, this.range[3] + y];
  }

  // The place under the pointer stays there.
  zoom(factor, px = this.width / 2, py = this.height / 2) {
    const [x, y] = this.toPlane(px, py);
    const [x0, x1, y0, y1] = this.range;
    const next = [x + (x0 - x) / factor, x + (x1 - x) / factor, y + (y0 - y) / factor, y + (y1 - y) / factor];
    const fine = (low, high) => high - low > 1e-6 * Math.max(Math.abs(low), Math.abs(high), 1e-12); // places have seven digits
    const home = this.home ?? this.range;
    const far = (next[1] - next[0]) / (home[1] - home[0]);
    if (fine(next[0], next[1]) && fine(next[2], next[3]) && far < 20) this.range = next;
  }

  // The middle stays, and with `equal` scales the shape of the plane.
  resize(width, height) {
    if (this.range && this.width && this.height) {
      const [x, y] = [(this.range[0] + this.range[1]) / 2, (this.range[2] + this.range[3]) / 2];
      const [w, h] = [this.range[1] - this.range[0], this.range[3] - this.range[2]];
      const [sx, sy] = this.equal ? [width / this.width, height / this.height] : [1, 1];
      this.range = [x - (w * sx) / 2, x + (w * sx) / 2, y - (h * sy) / 2, y + (h * sy) / 2];
    }
    Object.assign(this, { width, height });
  }

  centreOn(x, y) {
    const [w, h] = [(this.range[1] - this.range[0]) / 2, (this.range[3] - this.range[2]) / 2];
    this.range = [x - w, x + w, y - h, y + h];
  }

  holds(x, y) { return x >= this.range[0] && x <= this.range[1] && y >= this.range[2] && y <= this.range[3]; }
}

// Round numbers between low and high, at most `most` of them.
export function niceTicks(low, high, most = 6) {
  if (!(high > low)) return [];
  const rough = (high - low) / most;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = power * [1, 2, 5, 10].find((digit) => digit * power >= rough * (1 - 1e-9));
  const ticks = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + 1e-9 * step; k++) ticks.push(Number((k * step).toPrecision(12)));
  return ticks;
}

// As few digits as tell `value` from its neighbours at `step`.
export function tickText(value, step) {
  const size = Math.max(Math.abs(value), Math.abs(step));
  if (size >= 1e5 || (size < 1e-3 && size > 0)) return value === 0 ? "0" : value.toExponential(1).replace(".0e", "e").replace("e+", "e").replaceAll("-", "−");
  return value.toFixed(Math.max(0, -Math.floor(Math.log10(step) + 1e-9))).replace("-", "−");
}

// A drawn line without places that say nothing new: closer than `apart` px to the one before.
export function thinned(line, apart = 3) {
  const kept = [];
  for (const point of line) {
    const last = kept.at(-1);
    if (!last || Math.hypot(point[0] - last[0], point[1] - last[1]) >= apart) kept.push(point);
  }
  return kept;
}

export function boxLine([x0, y0], [x1, y1]) { return [[x0, y0], [x1, y0], [x1, y1], [x0, y1]]; }

// Which of the points are shown as thumbnails: in the order given, those that no thumbnail before covers much.
export function spreadOut(points, size, share = 0.25) {
  const room = size * Math.sqrt(1 - share);
  const kept = [];
  const cells = new Map();
  points.forEach(([x, y], i) => {
    const [cx, cy] = [Math.floor(x / size), Math.floor(y / size)];
    for (let a = cx - 1; a <= cx + 1; a++) {
      for (let b = cy - 1; b <= cy + 1; b++) {
        for (const j of cells.get(`${a},${b}`) ?? []) if (Math.max(Math.abs(points[j][0] - x), Math.abs(points[j][1] - y)) < room) return;
      }
    }
    kept.push(i);
    const key = `${cx},${cy}`;
    if (!cells.has(key)) cells.set(key, []);
    cells.get(key).push(i);
  });
  return kept;
}
