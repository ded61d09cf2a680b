// What a reload brings back: display, filters, order and session, with what they are at first.

import { NO_FILTERS, RATING_FILTERS } from "./arrange.js";

export const DEFAULT_VIEW = { tile: 112, map: "inferno", stretch: "asinh", limits: "shared", lo: -2, hi: 40, contrast: 1, bias: 0.5,
  invert: false, codes: false, filter: "all", filters: NO_FILTERS, sort: { by: "rank", column: "", descending: true, frame: -1 },
  fold: false, follow: true, queries: [], why: false, cursor: null, large: false, noise: "surroundings", look: {},
  session: { goal: 200, random: 0.1, repeats: 0.05, threshold: 3, hidden: false } };

// `given` over `standard`, without what has another type: what was remembered may be damaged.
export function restored(given, standard = DEFAULT_VIEW) {
  const view = structuredClone(standard);
  if (typeof given !== "object" || given === null) return view;
  for (const [name, value] of Object.entries(given)) {
    const usual = standard[name];
    if (usual === undefined || usual === null) view[name] = value;
    else if (Array.isArray(usual)) { if (Array.isArray(value)) view[name] = value.filter((entry) => typeof entry === "string"); }
    else if (typeof usual === "object") view[name] = restored(value, usual);
    else if (typeof value === typeof usual && (typeof value !== "number" || Number.isFinite(value))) view[name] = value;
  }
  if (standard === DEFAULT_VIEW) {
    view.tile = Math.min(320, Math.max(56, view.tile));
    if (!Object.hasOwn(RATING_FILTERS, view.filter) || view.filter === "moved") view.filter = "all"; // what moved is not known yet
  }
  return view;
}
