// Contours by marching squares: lines of equal value through the centres of pixels.

const MOST_LEVELS = 12; // of each sign

// +-3 sigma times powers of the square root of 2 up to the brightest and faintest value; where that
// makes too many, only every second, third, ... of them.
export function contourLevels(lowest, highest, first = 3, most = MOST_LEVELS) {
  const side = (reach) => {
    if (!(reach >= first)) return [];
    const count = Math.floor(2 * Math.log2(reach / first) + 1e-9) + 1;
    const step = Math.ceil(count / most);
    return Array.from({ length: Math.ceil(count / step) }, (_, k) => first * Math.SQRT2 ** (k * step));
  };
  return [...side(-lowest).map((level) => -level).reverse(), ...side(highest)];
}

// The lines where `values` (width x height, NaN where blank) equal `level`: arrays [x0, y0, x1, y1, ...] in
// pixels, the centre of the first at (0, 0). A closed line ends where it begins; at blank pixels lines end.
export function contourLines(values, width, height, level) {
  const across = (width - 1) * height; // edges between neighbours along x come first, then those along y
  const links = new Map(); // edge -> the edges it is joined to, at most two
  const link = (a, b) => {
    for (const [from, to] of [[a, b], [b, a]]) {
      const known = links.get(from);
      if (known) known.push(to);
      else links.set(from, [to]);
    }
  };
  for (let y = 0; y < height - 1; y++) {
    for (let x = 0; x < width - 1; x++) {
      const i = y * width + x;
      const a = values[i], b = values[i + 1], c = values[i + width + 1], d = values[i + width];
      const kind = (a > level) + 2 * (b > level) + 4 * (c > level) + 8 * (d > level);
      if (kind === 0 || kind === 15 || Number.isNaN(a + b + c + d)) continue;
      const [south, north] = [y * (width - 1) + x, (y + 1) * (width - 1) + x];
      const west = across + i, east = west + 1;
      if (kind === 5 || kind === 10) { // a saddle: the mean of the corners tells which are joined
        const together = (a + b + c + d) / 4 > level;
        if ((kind === 5) === together) { link(south, east); link(west, north); }
        else { link(south, west); link(east, north); }
      } else if (kind === 1 || kind === 14) link(south, west);
      else if (kind === 2 || kind === 13) link(south, east);
      else if (kind === 4 || kind === 11) link(east, north);
      else if (kind === 8 || kind === 7) link(west, north);
      else if (kind === 3 || kind === 12) link(west, east);
      else link(south, north);
    }
  }
  const crossing = (edge) => {
    if (edge < across) {
      const y = Math.floor(edge / (width - 1)), x = edge - y * (width - 1), i = y * width + x;
      return [x + (level - values[i]) / (values[i + 1] - values[i]), y];
    }
    const i = edge - across, y = Math.floor(i / width);
    return [i - y * width, y + (level - values[i]) / (values[i + width] - values[i])];
  };
  const lines = [];
  const follow = (start) => {
    const line = crossing(start);
    let [previous, edge] = [start, links.get(start)[0]];
    links.get(start).shift();
    for (;;) {
      line.push(...crossing(edge));
      const next = links.get(edge);
      next.splice(next.indexOf(previous), 1);
      if (edge === start || next.length === 0) break;
      previous = edge;
      edge = next.shift();
    }
    lines.push(line);
  };
  for (const [edge, next] of links) if (next.length === 1) follow(edge); // open ends first
  for (const [edge, next] of links) if (next.length === 2) follow(edge);
  return lines;
}

// A path through the middles of a line's pieces, bent at its points: smooth however far it is enlarged.
// `path` is a Path2D or a canvas context; `place` turns pixels into its coordinates.
export function traceSmooth(path, line, place) {
  const count = line.length / 2;
  const closed = count > 3 && line[0] === line.at(-2) && line[1] === line.at(-1);
  const point = (k) => place(line[2 * k], line[2 * k + 1]);
  const middle = (p, q) => [(p[0] + q[0]) / 2, (p[1] + q[1]) / 2];
  const points = Array.from({ length: closed ? count - 1 : count }, (_, k) => point(k));
  if (closed) {
    const last = points.length - 1;
    path.moveTo(...middle(points[last], points[0]));
    points.forEach((p, k) => path.quadraticCurveTo(...p, ...middle(p, points[k === last ? 0 : k + 1])));
    path.closePath();
  } else {
    path.moveTo(...points[0]);
    for (let k = 1; k < points.length - 1; k++) path.quadraticCurveTo(...points[k], ...middle(points[k], points[k + 1]));
    path.lineTo(...points.at(-1));
  }
}
