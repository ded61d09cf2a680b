// What is drawn over an enlarged frame. `pen` is the context of a canvas; `view`: {scale (canvas pixels for one of the
// frame), density (canvas pixels for one of CSS), width, height (of the canvas), at(x, y) -> place on the canvas}.

import { contourLevels, contourLines, traceSmooth } from "./contours.js";
import { formatAngle, niceAngle } from "./sky.js";

const INK = "#fff";

function prepare(pen, density) {
  pen.lineWidth = 1.5 * density;
  pen.font = `${12 * density}px system-ui, sans-serif`;
  pen.shadowColor = "rgba(0,0,0,0.9)";
  pen.shadowBlur = 4 * density;
  pen.strokeStyle = pen.fillStyle = INK;
  pen.textAlign = "center";
  pen.textBaseline = "alphabetic";
}

// Beam at the lower left, scale bar at the lower right, compass at the upper right.
export function drawMarks(pen, { scale, density, width, height }, { beam, pixel_scale, north, east }) {
  const pad = 16 * density;
  pen.save();
  prepare(pen, density);
  if (beam) {
    const [a, b] = [(beam.major * scale) / 2, (beam.minor * scale) / 2];
    pen.beginPath();
    pen.ellipse(pad + a, height - pad - a, a, b, -beam.angle, 0, 2 * Math.PI);
    pen.fillStyle = "rgba(255,255,255,0.25)";
    pen.fill();
    pen.stroke();
    pen.fillStyle = INK;
  }
  if (pixel_scale) {
    const bar = niceAngle((width / scale) * pixel_scale);
    const length = (bar.length / pixel_scale) * scale;
    pen.fillRect(width - pad - length, height - pad, length, 2 * density);
    pen.fillText(bar.label, width - pad - length / 2, height - pad - 6 * density);
  }
  if (north && east) {
    const [x, y, length] = [width - pad - 30 * density, pad + 34 * density, 24 * density];
    pen.textBaseline = "middle";
    for (const [vector, letter] of [[north, "N"], [east, "E"]]) {
      pen.beginPath();
      pen.moveTo(x, y);
      pen.lineTo(x + vector[0] * length, y - vector[1] * length);
      pen.stroke();
      pen.fillText(letter, x + vector[0] * length * 1.4, y - vector[1] * length * 1.4);
    }
  }
  pen.restore();
}

// Contours of an image in sigma as two paths in its pixels: {above, below, levels}.
export function contoursOf({ sigma, width, height }) {
  let [lowest, highest] = [Infinity, -Infinity];
  for (const value of sigma) {
    if (value < lowest) lowest = value;
    if (value > highest) highest = value;
  }
  const levels = contourLevels(lowest, highest);
  const [above, below] = [new Path2D(), new Path2D()];
  for (const level of levels) {
    for (const line of contourLines(sigma, width, height, level)) {
      traceSmooth(level > 0 ? above : below, line, (x, y) => [x + 0.5, height - 0.5 - y]);
    }
  }
  return { above, below, levels };
}

export function drawContours(pen, view, { above, below }) {
  pen.save();
  const [x, y] = view.corner;
  pen.setTransform(view.scale, 0, 0, view.scale, x, y);
  const unit = view.density / view.scale;
  pen.lineJoin = "round";
  for (const [width, colour] of [[2.6, "rgba(0,0,0,0.55)"], [1.2, "#bff4ff"]]) {
    pen.lineWidth = width * unit;
    pen.strokeStyle = colour;
    pen.setLineDash([]);
    pen.stroke(above);
    pen.setLineDash([4 * unit, 3 * unit]);
    pen.stroke(below);
  }
  pen.restore();
}

// Known objects: a ring and a name; names keep clear of each other.
export function drawObjects(pen, view, objects) {
  const { density } = view;
  pen.save();
  prepare(pen, density);
  pen.strokeStyle = pen.fillStyle = "#8ff0a4";
  pen.textAlign = "left";
  pen.textBaseline = "middle";
  const taken = [];
  for (const { name, x, y } of objects) {
    const [px, py] = view.at(x, y);
    pen.beginPath();
    pen.arc(px, py, 9 * density, 0, 2 * Math.PI);
    pen.stroke();
    const text = name.length > 28 ? `${name.slice(0, 27)}…` : name;
    const width = pen.measureText(text).width;
    const left = Math.max(4 * density, px + 13 * density + width > view.width ? px - 13 * density - width : px + 13 * density);
    let line = py;
    while (taken.some(([a, b, w]) => Math.abs(b - line) < 14 * density && left < a + w && a < left + width)) line += 14 * density;
    taken.push([left, line, width]);
    pen.fillText(text, left, line);
  }
  pen.restore();
}

function traceRegion(pen, view, region) {
  pen.beginPath();
  if (region.kind === "ellipse") {
    const [x, y] = view.at(region.x, region.y);
    pen.ellipse(x, y, region.a * view.scale, region.b * view.scale, -(region.angle ?? 0), 0, 2 * Math.PI);
  } else {
    region.points.forEach(([x, y], k) => (k ? pen.lineTo(...view.at(x, y)) : pen.moveTo(...view.at(x, y))));
    if (region.kind === "polygon") pen.closePath();
  }
}

// A drawn region, or the line of a profile (kind "line").
export function drawRegion(pen, view, region) {
  pen.save();
  traceRegion(pen, view, region);
  for (const [width, colour] of [[4, "rgba(0,0,0,0.75)"], [1.8, "#ffd54a"]]) {
    pen.lineWidth = width * view.density;
    pen.strokeStyle = colour;
    pen.stroke();
  }
  if (region.kind === "line") {
    pen.fillStyle = "#ffd54a";
    for (const [x, y] of region.points) {
      pen.beginPath();
      pen.arc(...view.at(x, y), 3 * view.density, 0, 2 * Math.PI);
      pen.fill();
    }
  }
  pen.restore();
}

export function drawCross(pen, view, [x, y]) {
  const { density } = view;
  const [px, py] = view.at(x, y);
  pen.save();
  prepare(pen, density);
  pen.beginPath();
  for (const [dx, dy] of [[1, 0], [-1, 0], [0, 1], [0, -1]]) {
    pen.moveTo(px + 5 * dx * density, py + 5 * dy * density);
    pen.lineTo(px + 12 * dx * density, py + 12 * dy * density);
  }
  pen.stroke();
  pen.restore();
}

// The whole map at the upper left with a box where the frame is, and a thinner one for what is in sight.
export function drawInset(pen, view, parent, frame, sight) {
  const { density } = view;
  const most = Math.min(112 * density, 0.3 * Math.min(view.width, view.height));
  const [nx, ny] = parent.size;
  const shrink = most / Math.max(nx, ny);
  const [w, h, pad] = [nx * shrink, ny * shrink, 12 * density];
  pen.save();
  pen.globalAlpha = 0.95;
  pen.fillStyle = "#0b0d12";
  pen.fillRect(pad, pad, w, h);
  pen.imageSmoothingEnabled = true;
  pen.drawImage(parent.image, pad, pad, w, h);
  pen.strokeStyle = "rgba(255,255,255,0.7)";
  pen.lineWidth = density;
  pen.strokeRect(pad, pad, w, h);
  const box = ([x, y, width, height]) => [pad + x * shrink, pad + (ny - y - height) * shrink, width * shrink, height * shrink];
  pen.beginPath();
  pen.rect(pad, pad, w, h);
  pen.clip();
  pen.strokeStyle = "#ffd54a";
  pen.lineWidth = 1.5 * density;
  const [x, y, bw, bh] = box(frame);
  const least = 5 * density; // so small a frame is still seen
  pen.strokeRect(x - Math.max(0, least - bw) / 2, y - Math.max(0, least - bh) / 2, Math.max(bw, least), Math.max(bh, least));
  if (sight) {
    pen.strokeStyle = "rgba(255,255,255,0.85)";
    pen.lineWidth = density;
    pen.strokeRect(...box(sight));
  }
  pen.restore();
}

export function describeRegion(region, scale) {
  const angle = (pixels) => (scale ? formatAngle(pixels * scale) : `${pixels.toPrecision(3)} px`);
  if (region.kind === "polygon") return "Outline";
  const [a, b] = [Math.max(region.a, region.b), Math.min(region.a, region.b)];
  return a === b ? `Circle, radius ${angle(a)}` : `Ellipse, ${angle(2 * a)} × ${angle(2 * b)}`;
}
