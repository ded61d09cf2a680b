// Where the lines of a training lie: panels, limits, paths. Places are px of a panel, y downwards.

import { niceTicks, tickText } from "./viewport.js";

export const EDGES = { left: 46, right: 12, top: 8, bottom: 30 }; // px round the plot
const HEADROOM = 0.06; // of the range of values, above and below them

// What is drawn: the loss, and one score beside it, each with its validation where there is one. `chosen` names the score.
export function panels(lines, chosen) {
  const names = Object.keys(lines).filter((name) => !name.startsWith("val_"));
  const scores = names.filter((name) => name !== "loss" && name !== "learning_rate");
  const score = scores.includes(chosen) ? chosen : scores[0];
  return { scores, drawn: [names.includes("loss") ? "loss" : null, score ?? null].filter(Boolean) };
}

// Lowest and highest value of some lines; a part of the first epochs may lie beyond it: what is far above the rest of a
// loss would press the rest flat.
export function limits(series) {
  const seen = series.flat().filter(Number.isFinite);
  if (!seen.length) return [0, 1];
  const ordered = [...seen].sort((a, b) => a - b);
  let [low, high] = [ordered[0], ordered.at(-1)];
  const usual = ordered[Math.floor(0.9 * (ordered.length - 1))];
  if (ordered.length >= 20 && high - low > 4 * (usual - low)) high = low + 2 * (usual - low || high - low);
  const margin = HEADROOM * (high - low) || 0.05 * Math.abs(high) || 0.5;
  return [low - margin, high + margin];
}

// Functions from epoch and value to px, with ticks; epochs are counted from `first` + 1.
export function scales(first, count, [low, high], width, height) {
  const [x0, x1] = [first + 1, Math.max(first + count, first + 2)];
  const across = (epoch) => EDGES.left + ((epoch - x0) / (x1 - x0)) * (width - EDGES.left - EDGES.right);
  const up = (value) => height - EDGES.bottom - ((value - low) / (high - low)) * (height - EDGES.top - EDGES.bottom);
  const epochs = niceTicks(x0, x1, Math.max(2, width / 70)).filter((tick) => Number.isInteger(tick));
  const values = niceTicks(low, high, Math.max(2, height / 34));
  const step = values.length > 1 ? values[1] - values[0] : 1;
  return { across, up, epochs, values: values.map((value) => [value, tickText(value, step)]),
    epochAt: (x) => Math.round(Math.min(Math.max(x0 + ((x - EDGES.left) / (width - EDGES.left - EDGES.right)) * (x1 - x0), x0), first + Math.max(count, 1))) };
}

// The path of a line in SVG; a gap where a value is missing.
export function path(values, first, { across, up }) {
  let text = "";
  let drawing = false;
  values.forEach((value, k) => {
    if (!Number.isFinite(value)) { drawing = false; return; }
    text += `${drawing ? "L" : "M"}${across(first + 1 + k).toFixed(1)} ${up(value).toFixed(1)}`;
    drawing = true;
  });
  return text;
}

// The place of the best value: the lowest loss or error, the highest score; -1 where there is none.
export function best(name, values) {
  const lower = /loss|error|^m[as]e$/.test(name);
  let found = -1;
  values.forEach((value, k) => {
    if (Number.isFinite(value) && (found < 0 || (lower ? value < values[found] : value > values[found]))) found = k;
  });
  return found;
}

// How far the training is, in words.
export function progressText({ running, epoch, epochs, batch, batches, left, said }) {
  if (!running) return said || "Nothing has been trained yet.";
  const parts = [`epoch ${epoch} of at most ${epochs}`];
  if (batches > 1) parts.push(`batch ${batch} of ${batches}`);
  if (left > 0) parts.push(`at most ${left < 90 ? `${Math.max(1, Math.round(left))} s` : left < 5400 ? `${Math.round(left / 60)} min` : `${(left / 3600).toFixed(1)} h`} more`);
  return parts.join(" · ");
}
