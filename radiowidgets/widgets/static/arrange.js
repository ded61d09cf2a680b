// What the gallery shows and in which order: filters, stacks and the selection, on typed arrays.
// A change costs one pass over the frames; moving about costs nothing.

export const RATING_FILTERS = { all: "all frames", unrated: "not rated yet", rated: "rated", "0": "rated 0", "1": "interest 1 and above",
  "2": "interest 2 and above", interesting: "interest 3 and above", "4": "interest 4 and above", "5": "interest 5", tagged: "with a tag",
  moved: "moved up by your ratings", pending: "not saved" };
export const NO_FILTERS = { with: [], without: [], note: false, annotator: "", map: "", query: "" };

// A test of one frame, or null where nothing is left out. `data`: {interest, tags, notes, pending, blind, maps,
// names (of the tags), mapNames, risen (a set of frames), found (bits of the frames that the kernel found, or null)}.
export function matcher(rating, filters, data) {
  const tests = [];
  const { interest, tags, notes, pending, blind, maps, found } = data;
  // A blind repeat passes for a frame not seen before.
  const given = (frame) => (blind.has(frame) ? -1 : interest[frame]);
  const said = (frame) => blind.get(frame) ?? tags[frame];
  const least = { interesting: 3, 1: 1, 2: 2, 4: 4, 5: 5 }[rating];
  if (rating === "unrated") tests.push((frame) => given(frame) < 0);
  else if (rating === "rated") tests.push((frame) => given(frame) >= 0);
  else if (rating === "0") tests.push((frame) => given(frame) === 0);
  else if (rating === "tagged") tests.push((frame) => said(frame) !== 0);
  else if (rating === "moved") tests.push((frame) => data.risen.has(frame));
  else if (rating === "pending") tests.push((frame) => pending.has(frame));
  else if (least) tests.push((frame) => given(frame) >= least);
  const [wanted, unwanted] = [maskOf(filters.with, data.names), maskOf(filters.without, data.names)];
  if (wanted || unwanted) tests.push((frame) => (said(frame) & wanted) >>> 0 === wanted && (said(frame) & unwanted) === 0);
  if (filters.note) tests.push((frame) => notes.has(frame) && !blind.has(frame));
  const code = filters.map ? data.mapNames.indexOf(filters.map) : -1;
  if (code >= 0) tests.push((frame) => maps[frame] === code);
  if (found) tests.push((frame) => (found[frame >> 3] >> (7 - (frame & 7))) & 1);
  if (!tests.length) return null;
  return tests.length === 1 ? tests[0] : (frame) => tests.every((test) => test(frame));
}

export function maskOf(chosen, names) {
  return names.reduce((mask, name, bit) => (chosen.includes(name) ? mask + 2 ** bit : mask), 0);
}

// The frames of `order` that pass, those of one stack folded into the first of them unless it is unfolded.
// `groups` gives each frame the number of its stack; `sizes` tells how many of a stack passed.
export function arrange(order, test, groups = null, unfolded = new Set()) {
  const kept = test ? order.filter(test) : order;
  if (!groups) return { shown: kept, kept, sizes: null };
  const sizes = new Uint32Array(groups.length);
  const members = new Map([...unfolded].map((group) => [group, []]));
  for (const frame of kept) {
    sizes[groups[frame]] += 1;
    if (members.size) members.get(groups[frame])?.push(frame);
  }
  const seen = new Uint8Array(groups.length);
  const shown = new Uint32Array(kept.length);
  let end = 0;
  for (const frame of kept) {
    const group = groups[frame];
    if (seen[group]) continue;
    seen[group] = 1;
    const all = members.get(group);
    if (all) for (const member of all) shown[end++] = member;
    else shown[end++] = frame;
  }
  return { shown: shown.slice(0, end), kept, sizes };
}

// The frames of each stack among `kept`, the one that is shown first: a function of the stack.
export function stacksOf(kept, groups, sizes) {
  const ends = new Uint32Array(sizes.length);
  sizes.reduce((end, size, group) => (ends[group] = end + size), 0);
  const places = ends.map((end, group) => end - sizes[group]);
  const frames = new Uint32Array(kept.length);
  for (const frame of kept) frames[places[groups[frame]]++] = frame;
  return (group) => frames.subarray(ends[group] - sizes[group], ends[group]);
}

// Place of the next frame for which `wanted` holds, after `from` and round to it again; -1 if there is none.
export function nextPlace(shown, from, wanted) {
  for (let place = from + 1; place < shown.length; place++) if (wanted(shown[place])) return place;
  for (let place = 0; place <= Math.min(from, shown.length - 1); place++) if (wanted(shown[place])) return place;
  return -1;
}

// Two letters for each tag, no two alike: RADIO-GALAXY is RG, COMPACT CO.
export function tagCodes(names) {
  const used = new Set();
  return names.map((name) => {
    const letters = [...name.toUpperCase()].filter((letter) => /[\p{L}\p{N}]/u.test(letter));
    const [first, second] = name.toUpperCase().split(/[^\p{L}\p{N}]+/u).filter(Boolean);
    const tries = [second ? [...first][0] + [...second][0] : null, ...letters.slice(1).map((letter) => letters[0] + letter),
      ...[..."123456789"].map((digit) => (letters[0] ?? "?") + digit)];
    const code = tries.find((one) => one && !used.has(one)) ?? "??";
    used.add(code);
    return code;
  });
}

// The chosen frames: a list, and a mask that says in no time whether a frame is among them.
export class Selection {
  constructor(count = 0) {
    this.mask = new Uint8Array(count);
    this.list = new Uint32Array(0);
    this.version = 0;
  }

  get size() { return this.list.length; }

  has(frame) { return this.mask[frame] === 1; }

  set(frames) {
    for (const frame of this.list) this.mask[frame] = 0;
    this.list = frames;
    for (const frame of frames) this.mask[frame] = 1;
    this.version += 1;
  }

  toggle(frame) {
    const list = this.has(frame) ? this.list.filter((other) => other !== frame) : new Uint32Array(this.size + 1);
    if (!this.has(frame)) { list.set(this.list); list[this.size] = frame; }
    this.set(list);
  }
}

// How many of the frames have each rating and each tag; `interest` and `tags` are functions of the frame.
export function summarise(frames, interest, tags, bits) {
  const [ratings, tagged] = [new Uint32Array(6), new Uint32Array(bits)];
  for (const frame of frames) {
    const given = interest(frame);
    if (given >= 0) ratings[given] += 1;
    for (let left = tags(frame); left; left = (left & (left - 1)) >>> 0) tagged[31 - Math.clz32(left & -left)] += 1;
  }
  return { ratings, tagged };
}
