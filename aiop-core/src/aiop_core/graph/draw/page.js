"use strict";
const data = JSON.parse(document.getElementById("data").textContent);
const { size, nodes, order, root } = data;
const $$ = (id) => document.getElementById(id);
const IN = -1;

// --- The tree of items -------------------------------------------------------------------

const items = [];
const readBy = order.map(() => []);
data.reads.forEach((sources, at) => sources.forEach((source) => readBy[source].push(at)));

(function number(item, parent) {
  Object.assign(item, { id: items.length, parent });
  items.push(item);
  (item.children || []).forEach((child) => number(child, item));
})(root, null);

const opened = new Set();
const setOpen = (test) => { opened.clear(); items.filter((i) => i.children && (i === root || test(i))).forEach((i) => opened.add(i)); };
setOpen((item) => data.expand || item.open);

// --- Places: the same arithmetic as layout.py ---------------------------------------------

/** An item from the point where its input enters: {left, right, height, boxes, lines}. */
function place(item, shifts, run = null) {
  const half = size.BOX_WIDTH / 2;
  const closed = (height) => ({
    left: half, right: half, height, lines: [],
    boxes: [{ item, x: -half, y: 0, width: size.BOX_WIDTH, height, open: false, shifts, run }],
  });
  if (item.kind === "stack") return closed(size.ROW_HEIGHT * (item.hi - item.lo));
  if (item.kind === "run" && !opened.has(item)) {
    const [first] = item.children;
    return place(first, shifts.flatMap((s) => item.children.map((copy) => s + copy.lo - first.lo)), item);
  }
  return opened.has(item) ? group(item, shifts, run) : closed(size.CLOSED_HEIGHT);
}

function group(item, shifts, run) {
  const pieces = item.children.map((child) => place(child, shifts));
  const spots = findSpots(item, pieces, item === root ? 0 : size.HEADER);
  const boxes = [], lines = [];
  pieces.forEach((piece, n) => {
    const [dx, dy] = spots.children[n];
    for (const box of piece.boxes) { box.x += dx; box.y += dy; boxes.push(box); }
    for (const line of piece.lines) { line.points = line.points.map(([x, y]) => [x + dx, y + dy]); lines.push(line); }
  });
  lines.push(...spots.lines);
  const left = spots.left + size.PAD, right = spots.right + size.PAD;
  const height = spots.height + (item === root ? 0 : size.PAD);
  if (item !== root) boxes.unshift({ item, x: -left, y: 0, width: left + right, height, open: true, shifts, run });
  return { left, right, height, boxes, lines };
}

function makeBand(cells, passing, tracks) {
  const lanes = [0, ...cells.map(([lane]) => lane), ...passing], low = Math.min(...lanes), high = Math.max(...lanes);
  const sides = {}, x = { 0: 0 };
  for (let lane = low; lane <= high; lane++) sides[lane] = [0, 0];
  for (const [lane, piece] of cells) sides[lane] = [Math.max(sides[lane][0], piece.left), Math.max(sides[lane][1], piece.right)];
  for (let n = 1; n <= high; n++) x[n] = x[n - 1] + sides[n - 1][1] + size.LANE_GAP + sides[n][0];
  for (let n = -1; n >= low; n--) x[n] = x[n + 1] - sides[n + 1][0] - size.LANE_GAP - sides[n][1];
  const end = x[high] + sides[high][1], gap = Math.min(size.TRACK_GAP, size.BUNDLE / Math.max(tracks, 1));
  const trackX = Array.from({ length: tracks }, (_, n) => end + size.LANE_GAP / 2 + gap * n);
  return { x, trackX, left: sides[low][0] - x[low], right: tracks ? trackX[tracks - 1] : end };
}

function findSpots(grid, pieces, top) {
  const { rows, cells } = grid, out = pieces.length;
  const routes = grid.routes.map(([source, target, lane, track]) => ({
    source, target, lane, track,
    top: source === IN ? 0 : cells[source][0], bottom: target === out ? rows + 1 : cells[target][0],
  }));
  const laneOf = (child) => (child === IN || child === out ? 0 : cells[child][1]);
  const heights = Array(rows + 2).fill(0), widths = Array(rows + 2).fill(0);
  pieces.forEach((piece, n) => {
    const row = cells[n][0];
    heights[row] = Math.max(heights[row], piece.height);
    widths[row] += piece.left + piece.right + size.LANE_GAP;
  });

  const wayOf = (r) => r.lane ?? laneOf(r.source);
  const gaps = Array(rows + 1).fill(0), passing = gaps.map(() => new Set());
  const straight = new Set([0, rows]), tracked = new Set();
  for (const r of routes) {
    for (let row = r.top; row < r.bottom; row++) {
      const before = row === r.top ? laneOf(r.source) : wayOf(r), after = row + 1 === r.bottom ? laneOf(r.target) : wayOf(r);
      const bends = before !== after || (r.track !== null && (row === r.top || row === r.bottom - 1));
      gaps[row] = Math.max(gaps[row], bends ? size.WIDE_GAP : row === rows ? 0 : size.ROW_GAP);
      passing[row].add(r.source);
      if (r.track !== null && !bends) tracked.add(row);
      else if (before === after && before !== 0) straight.add(row);
    }
  }
  const shifts = (row) => row > 0 && row < rows && !straight.has(row);
  for (const row of tracked) if (shifts(row)) gaps[row] = size.WIDE_GAP;

  const sum = (numbers) => numbers.reduce((a, b) => a + b, 0);
  const total = sum(gaps) + sum(heights);
  const area = sum(widths.map((w, row) => w * (heights[row] + size.ROW_GAP)));
  const count = Math.ceil(total / Math.max(size.FOLD_HEIGHT, Math.sqrt(area / size.FOLD_RATIO)));
  const wanted = [0];
  let above = gaps[0];
  for (let row = 1; row <= rows; row++) {
    wanted.push(Math.min(Math.trunc(((above + heights[row] / 2) / total) * count), count - 1));
    above += heights[row] + gaps[row];
  }
  const breaks = new Map(), column = [0, 0], band = [0, 0];
  for (let row = 1; row <= rows; row++) {
    if (row < rows && wanted[row] !== wanted[row + 1]) breaks.set(row, [...passing[row]].sort((a, b) => a - b));
    column.push(column[row] + breaks.has(row));
    band.push(band[row] + (breaks.has(row) || shifts(row)));
  }
  const byBand = Array.from({ length: band[rows + 1] + 1 }, () => []);
  pieces.forEach((piece, n) => byBand[band[cells[n][0]]].push([cells[n][1], piece]));
  const crossed = byBand.map(() => new Set());
  for (const r of routes) {
    for (let row = r.top + 1; row < r.bottom; row++) crossed[band[row]].add(r.track === null ? wayOf(r) : 0);
  }
  const bands = byBand.map((own, n) => makeBand(own, crossed[n], grid.tracks));
  const starts = [], centres = [];
  let end = 0;
  for (let n = 0; n <= column[rows + 1]; n++) {
    const own = bands.filter((_, i) => column[band.indexOf(i, 1)] === n);
    const crossing = Math.max(0, ...[...breaks].filter(([row]) => column[row] === n - 1).map(([, s]) => s.length));
    const left = Math.max(...own.map((b) => b.left));
    starts.push(n ? end + size.LANE_GAP + Math.min(size.STRAND_GAP * crossing, size.BUNDLE) : -left);
    centres.push(starts[n] + left);
    end = centres[n] + Math.max(...own.map((b) => b.right));
  }

  const most = Math.max(0, ...[...breaks.values()].map((s) => s.length));
  const room = breaks.size ? size.WIDE_GAP + Math.min(size.STRAND_GAP * most, size.BUNDLE) : 0;
  const first = top + room, y = [first];
  let height = 0;
  for (let row = 1; row <= rows + 1; row++) {
    y.push(breaks.has(row - 1) ? first + gaps[0] : y[row - 1] + heights[row - 1] + gaps[row - 1]);
    height = Math.max(height, y[row] + heights[row] + room);
  }

  const laneX = (row, lane) => centres[column[row]] + bands[band[row]].x[lane];
  const xOf = (r, row) => {
    if (row === r.top) return laneX(row, laneOf(r.source));
    if (row === r.bottom) return laneX(row, laneOf(r.target));
    return r.track === null ? laneX(row, wayOf(r)) : centres[column[row]] + bands[band[row]].trackX[r.track];
  };
  const lines = routes.map((r) => {
    const points = [r.source === IN ? [0, top] : [xOf(r, r.top), y[r.top] + pieces[r.source].height]];
    for (let row = r.top; row < r.bottom; row++) {
      const here = xOf(r, row), there = xOf(r, row + 1), low = y[row] + heights[row], high = y[row + 1];
      if (breaks.has(row)) {
        const strands = breaks.get(row);
        const step = size.PAD / 2 + Math.min(size.STRAND_GAP, size.BUNDLE / strands.length) * strands.indexOf(r.source);
        const gutter = starts[column[row + 1]] - size.LANE_GAP / 2 - step + size.PAD / 2;
        points.push([here, low], [here, low + step], [gutter, low + step]);
        points.push([gutter, y[0] - step], [there, y[0] - step], [there, high]);
      } else if (row === r.top || row === r.bottom - 1 || here !== there) points.push([here, low], [there, high]);
    }
    if (r.target === out) points.push([points[points.length - 1][0], height], [0, height], [0, height + size.PAD]);
    const moves = points.filter(([x, y], n) => !n || x !== points[n - 1][0] || y !== points[n - 1][1]);
    return { points: moves, arrow: r.target !== out, quiet: r.bottom > r.top + 1 };
  });
  return {
    left: -starts[0], right: end, height, lines,
    children: cells.map(([row, lane]) => [laneX(row, lane), y[row]]),
  };
}

// --- Drawing ---------------------------------------------------------------------------------

const canvas = $$("canvas"), view = $$("view"), card = $$("card"), colour = $$("colour"), legend = $$("legend");
const narrow = matchMedia("(max-width: 700px)");
let scene, most = 0, hits = new Set(), current = null;

const escaped = (text) => String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
const number = (v) => +v.toFixed(1);
/** How many equal blocks a box stands for. */
const copiesOf = (box) => (box.item.kind === "run" ? box.item : box.run)?.children.length ?? 1;
const nodesOf = (box, at) => {
  const positions = at === undefined ? Array.from({ length: box.item.hi - box.item.lo }, (_, n) => box.item.lo + n) : [at];
  return box.shifts.flatMap((shift) => positions.map((p) => order[p + shift]));
};
const total = (name, list) => list.reduce((sum, node) => sum + data.values[name][node], 0);
/** What a box, or its row at position `at`, shows: of all copies that it stands for together. */
const valueOf = (name, box, at) => {
  const known = at === undefined ? data.whole[name] || {} : {};
  const whole = box.shifts.map((s) => known[`${box.item.lo + s}-${box.item.hi + s}`]);
  return whole.includes(undefined) ? total(name, nodesOf(box, at)) : whole.reduce((a, b) => a + b, 0);
};
const shapeOf = (node, which) => [0, 2, 4].map((n) => nodes.resolution[node][n + which]).join("×");
const rowsOf = (item) => Array.from({ length: item.hi - item.lo }, (_, n) => item.lo + n);

function amount(value) {
  for (const [factor, letter] of [[1e12, " T"], [1e9, " G"], [1e6, " M"], [1e3, " k"]]) {
    if (Math.abs(value) >= factor * 0.9995) return +(value / factor).toPrecision(3) + letter;
  }
  return String(+value.toPrecision(3));
}

function heatColour(value) {
  const ramp = value < 0 ? data.ramps.cool : data.ramps.heat;
  const at = (most ? Math.min(Math.sqrt(Math.abs(value) / most), 1) : 0) * (ramp.length - 1);
  const low = Math.min(Math.floor(at), ramp.length - 2);
  return ramp[low].map((a, n) => Math.round(a + (ramp[low + 1][n] - a) * (at - low)));
}

/** The fill of a row or closed block, and the class that keeps its text readable. */
function paint(box, at, kind) {
  if (colour.value === "kind") return kind ? [`var(--${kind})`, kind] : ["var(--closed)", ""];
  const [r, g, b] = heatColour(valueOf(colour.value, box, at));
  return [`rgb(${r} ${g} ${b})`, 0.299 * r + 0.587 * g + 0.114 * b < 140 ? "on-dark" : "on-light"];
}

function path(points) {
  let [x, y] = points[0], d = `M${number(x)} ${number(y)}`;
  for (const [toX, toY] of points.slice(1)) {
    const middle = number((y + toY) / 2);
    d += toX === x || toY === y
      ? `L${number(toX)} ${number(toY)}`
      : `C${number(x)} ${middle} ${number(toX)} ${middle} ${number(toX)} ${number(toY)}`;
    [x, y] = [toX, toY];
  }
  return d;
}

const rect = (x, y, width, height, more) => `<rect x="${number(x)}" y="${number(y)}" width="${number(width)}" height="${number(height)}" ${more}/>`;
const text = (x, y, words, more = "") => `<text x="${number(x)}" y="${number(y)}" ${more}>${escaped(words)}</text>`;
const marks = (list) => (list.some((n) => hits.has(n)) ? " hit" : "") + (list.includes(current) ? " current" : "");

function drawStack(box, n) {
  return rowsOf(box.item).map((at, row) => {
    const node = order[at], list = nodesOf(box, at), y = box.y + row * size.ROW_HEIGHT;
    const [words, shape] = nodes.caption[node], [fill, style] = paint(box, at, nodes.kind[node]);
    const room = size.BOX_WIDTH - 24 - 6.1 * shape.length;
    const squeeze = 7 * words.length > room ? `textLength="${room.toFixed(0)}" lengthAdjust="spacingAndGlyphs"` : "";
    const arcs = data.reads[at].filter((s) => s >= box.item.lo && s < at - 1).map((s) => {
      const from = box.y + (s - box.item.lo + 0.5) * size.ROW_HEIGHT, to = y + size.ROW_HEIGHT / 2, x = box.x - 12;
      return `<path class="line quiet" d="M${number(box.x)} ${from}C${number(x)} ${from} ${number(x)} ${to} ${number(box.x)} ${to}"/>`;
    });
    return `<g class="row ${style}${marks(list)}" data-box="${n}" data-at="${at}">`
      + rect(box.x, y, box.width, size.ROW_HEIGHT - 1, `rx="3" style="fill:${fill}"`)
      + text(box.x + 8, y + 13.5, words, squeeze)
      + (shape ? text(box.x + box.width - 8, y + 13.5, shape, 'class="shape" text-anchor="end"') : "")
      + arcs.join("") + "</g>";
  }).join("");
}

function drawBlock(box, n) {
  const { item, x, y, width } = box, list = nodesOf(box), isRun = item.kind === "run";
  const copies = copiesOf(box);
  const cost = `${list.length} nodes · ${amount(total("MACs", list))} MACs`;
  const [fill, style] = box.open ? ["", ""] : paint(box, undefined, null);
  const nameEnd = x + 14 + 9 * item.name.length, chip = 27 + 7 * String(copies).length;
  const times = copies < 2 ? "" : `<g class="times" data-run="${(isRun ? item : box.run).id}" role="button" tabindex="0" aria-label="${isRun ? "Fold" : "Show"} all ${copies} copies">`
    + rect(nameEnd, y + 4, chip, 16, 'rx="8"') + text(nameEnd + chip / 2, y + 16, `× ${copies}`) + "</g>";
  const words = text(x + 10, y + 16.5, item.name, 'class="name"') + (box.open
    ? text(x + width - 10, y + 16, cost, 'class="shape" text-anchor="end"')
    : text(x + 10, y + 33, cost, 'class="shape"') + text(x + width - 10, y + 16, shapeOf(order[item.hi - 1 + box.shifts.at(-1)], 1), 'class="shape" text-anchor="end"'));
  const pile = !box.open && copies > 1 ? rect(x + 4, y + 4, width, box.height, 'class="closed" rx="5"') : "";
  const shape = rect(x, y, width, box.height, box.open ? 'class="frame" rx="7"' : `class="closed" rx="5" style="fill:${fill}"`);
  return `<g class="block ${style}${box.open ? "" : marks(list)}" data-box="${n}" data-item="${item.id}" role="button" tabindex="0" aria-expanded="${box.open}" aria-label="Block ${item.name}, ${cost}">${pile}${shape}${words}</g>${times}`;
}

function draw() {
  scene = place(root, [0]);
  const byKind = colour.value !== "kind";
  most = byKind ? Math.max(0, ...scene.boxes.filter((b) => !b.open).flatMap((b) =>
    (b.item.kind === "stack" ? rowsOf(b.item) : [undefined]).map((at) => Math.abs(valueOf(colour.value, b, at))))) : 0;
  const lines = scene.lines.sort((a, b) => b.quiet - a.quiet).map((line) =>
    `<path class="line${line.quiet ? " quiet" : ""}" d="${path(line.points)}"${line.arrow ? ' marker-end="url(#arrow)"' : ""}/>`);
  const drawn = scene.boxes.map((box, n) => [box.open, box.item.kind === "stack" ? drawStack(box, n) : drawBlock(box, n)]);
  const part = (open) => drawn.filter(([isOpen]) => isOpen === open).map(([, markup]) => markup).join("");
  const { item, run } = view.contains(document.activeElement) ? document.activeElement.dataset : {};
  view.innerHTML = part(true) + lines.join("") + part(false);
  if (item || run) (view.querySelector(item ? `[data-item="${item}"]` : `[data-run="${run}"]`) || canvas).focus({ preventScroll: true });
  canvas.classList.toggle("searching", hits.size > 0);
  drawLegend();
}

function drawLegend() {
  const ramp = (stops) => stops.map((c) => `rgb(${c.join(" ")})`).join(",");
  if (colour.value === "kind") {
    legend.innerHTML = "<summary>kind of operation</summary>" + Object.entries(data.kinds)
      .map(([kind, title]) => `<div><i style="background:var(--${kind})"></i>${escaped(title)}</div>`).join("");
    return;
  }
  const signed = data.values[colour.value].some((v) => v < 0);
  const stops = signed ? [...data.ramps.cool].reverse().concat(data.ramps.heat) : data.ramps.heat;
  legend.innerHTML = `<summary>${escaped(colour.value)}</summary><div>${signed ? amount(-most) : 0}`
    + `<span class="ramp" style="background:linear-gradient(to right,${ramp(stops)})"></span>${amount(most)}</div>`
    + `<small>square-root scale; ${colour.value in data.whole ? "a closed block as a whole, copies summed" : "a folded box shows the sum of what it stands for"}</small>`;
}

// --- Moving and zooming ---------------------------------------------------------------------

const camera = { x: 0, y: 0, k: 1 };
const look = () => view.setAttribute("transform", `translate(${camera.x} ${camera.y}) scale(${camera.k})`);
const move = (dx, dy) => { camera.x += dx; camera.y += dy; look(); };

function zoom(factor, x = canvas.clientWidth / 2, y = canvas.clientHeight / 2) {
  const k = Math.min(Math.max(camera.k * factor, 0.01), 8), ratio = k / camera.k;
  Object.assign(camera, { k, x: x - (x - camera.x) * ratio, y: y - (y - camera.y) * ratio });
  look();
}

function fit() {
  const width = scene.left + scene.right, left = narrow.matches ? 0 : legend.offsetWidth + 24;
  const w = canvas.clientWidth - left, h = canvas.clientHeight - (narrow.matches ? 52 : 30);
  const k = Math.min((w - 24) / width, (h - 24) / scene.height, 1.25);
  Object.assign(camera, { k, x: left + (w - width * k) / 2 + scene.left * k, y: (h - scene.height * k) / 2 });
  look();
}

function center(x, y) {
  const k = Math.max(camera.k, 0.8);
  Object.assign(camera, { k, x: canvas.clientWidth / 2 - x * k, y: canvas.clientHeight / 2 - y * k });
  look();
}

const pointers = new Map();
let dragged = false;
const spread = () => { const [a, b] = [...pointers.values()]; return Math.hypot(a.x - b.x, a.y - b.y); };

canvas.addEventListener("wheel", (event) => {
  event.preventDefault();
  const box = canvas.getBoundingClientRect();
  zoom(Math.exp(-event.deltaY * (event.deltaMode ? 0.05 : event.ctrlKey ? 0.01 : 0.0015)), event.clientX - box.x, event.clientY - box.y);
}, { passive: false });
canvas.addEventListener("pointerdown", (event) => { pointers.set(event.pointerId, { x: event.clientX, y: event.clientY }); dragged = false; });
addEventListener("pointermove", (event) => {
  const before = pointers.get(event.pointerId);
  if (!before) return;
  const now = { x: event.clientX, y: event.clientY }, apart = pointers.size > 1 ? spread() : 0;
  if (!dragged && Math.hypot(now.x - before.x, now.y - before.y) < 4) return;
  dragged = true;
  canvas.classList.add("moving");
  pointers.set(event.pointerId, now);
  const box = canvas.getBoundingClientRect();
  if (apart) zoom(spread() / apart, now.x - box.x, now.y - box.y);
  else move(now.x - before.x, now.y - before.y);
});
for (const type of ["pointerup", "pointercancel"]) {
  addEventListener(type, (event) => { pointers.delete(event.pointerId); canvas.classList.remove("moving"); });
}

// --- Opening and closing ----------------------------------------------------------------------

/** Redraw with what was touched at the same place on the screen. */
function toggle(item, anchor) {
  const before = scene.boxes[anchor];
  opened.has(item) ? opened.delete(item) : opened.add(item);
  draw();
  const after = scene.boxes.find((box) => box.item === item)
    || scene.boxes.find((box) => box.item.lo <= before.item.lo && before.item.hi <= box.item.hi && !box.item.children?.includes(before.item))
    || scene.boxes[0];
  move((before.x - after.x) * camera.k, (before.y - after.y) * camera.k);
}

function activate(target) {
  const times = target.closest(".times"), block = target.closest(".block");
  if (times) toggle(items[times.dataset.run], +times.previousElementSibling.dataset.box);
  else if (block) toggle(scene.boxes[block.dataset.box].item, +block.dataset.box);
}

canvas.addEventListener("click", (event) => { if (!dragged) activate(event.target); });

function rearrange(test) { setOpen(test); draw(); fit(); }
const commands = {
  expand: () => rearrange(() => true),
  fold: () => rearrange((item) => item.open),
  collapse: () => rearrange(() => false),
  fit,
};
for (const [id, command] of Object.entries(commands)) $$(id).addEventListener("click", command);

// --- Searching ----------------------------------------------------------------------------------

let matches = [], at = -1;

function find() {
  const query = $$("query").value.trim().toLowerCase().replace(/(\d)x(?=\d)/g, "$1×"), numbered = query.match(/^#(\d+)$/);
  const words = query.split(/\s+/).filter(Boolean);
  const says = (node) => {
    const told = `${nodes.caption[node][0]} ${shapeOf(node, 0)} ${shapeOf(node, 1)}`.toLowerCase();
    return words.every((word) => told.includes(word) || String(node) === word);
  };
  const wanted = (node) => (numbered ? node === +numbered[1] : says(node));
  const positions = query ? order.map((_, p) => p).filter((p) => wanted(order[p])) : [];
  hits = new Set(positions.map((p) => order[p]));
  matches = numbered ? positions : [...new Set(positions.map(shownFor))];
  at = -1;
  current = null;
  draw();
  $$("found").value = query ? `${hits.size} found` : "";
}

/** The position that stands for ``p`` where runs are folded. */
function shownFor(p) {
  for (let item = root; item.children;) {
    const child = item.children.find((c) => c.lo <= p && p < c.hi);
    if (item.kind === "run" && !opened.has(item)) {
      p += item.lo - child.lo;
      [item] = item.children;
    } else item = child;
  }
  return p;
}

/** Open what hides position ``p`` and bring it to the middle. */
function reveal(p) {
  for (let item = root; item; item = item.children?.find((c) => c.lo <= p && p < c.hi)) {
    if (item.kind === "block" || (item.kind === "run" && p >= item.children[0].hi)) opened.add(item);
  }
  current = order[p];
  draw();
  const box = scene.boxes.find((b) => b.item.kind === "stack" && b.item.lo <= p && p < b.item.hi);
  center(box.x + box.width / 2, box.y + (p - box.item.lo + 0.5) * size.ROW_HEIGHT);
}

function step(by) {
  if (!matches.length) return;
  at = (at + by + (at < 0 && by < 0 ? 1 : 0) + matches.length) % matches.length;
  reveal(matches[at]);
  $$("found").value = `${at + 1} / ${matches.length}`;
}

let waiting;
$$("query").addEventListener("input", () => { clearTimeout(waiting); waiting = setTimeout(find, 120); });
$$("query").addEventListener("keydown", (event) => { if (event.key === "Enter" && event.shiftKey) { event.preventDefault(); step(-1); } });
$$("search").addEventListener("submit", (event) => { event.preventDefault(); if (waiting) { clearTimeout(waiting); waiting = null; find(); } step(1); });
$$("previous").addEventListener("click", () => step(-1));

// --- What pointing at something says ------------------------------------------------------------

function facts(box, p) {
  const list = nodesOf(box, p), row = p !== undefined, node = order[p];
  const share = (name) => {
    const all = data.values[name].reduce((a, b) => a + b, 0), own = valueOf(name, box, p);
    return amount(own) + (all > 0 && !data.values[name].some((v) => v < 0) ? ` (${((100 * own) / all).toFixed(1)} %)` : "");
  };
  const some = (positions) => positions.slice(0, 8).map((q) => `#${order[q]}`).join(" ") + (positions.length > 8 ? " …" : "");
  const told = [];
  if (row) {
    told.push(["in", shapeOf(node, 0)], ["out", shapeOf(node, 1)]);
    if (nodes.kernel[node].some(Boolean)) told.push(["kernel", nodes.kernel[node].join("×")], ["stride", nodes.stride[node].join("×")]);
    if (nodes.groups[node] > 1) told.push(["groups", nodes.groups[node]]);
    if (nodes.params[node]) told.push(["bias", nodes.bias[node] ? "yes" : "no"]);
    told.push(["reads", some(data.reads[p])], ["read by", some(readBy[p])]);
  } else {
    told.push(["nodes", list.length], ["out", shapeOf(order[box.item.hi - 1], 1)]);
  }
  told.push(...Object.keys(data.values).map((name) => [name, share(name)]));
  if (box.shifts.length > 1) told.push(["stands for", `${box.shifts.length} ${row ? "nodes" : "blocks"}, costs summed`]);
  return told.filter(([, value]) => value !== "");
}

function show(event) {
  const element = !pointers.size && event.target.closest?.("[data-box]");
  card.hidden = !element;
  if (!element) return;
  const box = scene.boxes[element.dataset.box], p = element.dataset.at === undefined ? undefined : +element.dataset.at;
  const title = p === undefined ? `Block ${box.item.name}${copiesOf(box) > 1 ? ` × ${copiesOf(box)}` : ""}` : `${nodes.caption[order[p]][0]}  #${order[p]}`;
  card.innerHTML = `<h2>${escaped(title)}</h2><dl>${facts(box, p).map(([k, v]) => `<dt>${escaped(k)}</dt><dd>${escaped(v)}</dd>`).join("")}</dl>`;
  const area = canvas.getBoundingClientRect(), x = event.clientX - area.x, y = event.clientY - area.y;
  card.style.left = `${x + 18 + card.offsetWidth > area.width ? Math.max(x - 18 - card.offsetWidth, 0) : x + 18}px`;
  card.style.top = `${Math.max(Math.min(y + 12, area.height - card.offsetHeight - 8), 0)}px`;
}
canvas.addEventListener("pointermove", show);
canvas.addEventListener("pointerleave", () => { card.hidden = true; });

// --- Keys, and the first picture ----------------------------------------------------------------

const keys = {
  f: fit, e: commands.expand, r: commands.fold, c: commands.collapse, "+": () => zoom(1.25), "=": () => zoom(1.25), "-": () => zoom(0.8),
  "/": () => $$("query").focus(), n: () => step(1), p: () => step(-1),
  ArrowLeft: () => move(80, 0), ArrowRight: () => move(-80, 0), ArrowUp: () => move(0, 80), ArrowDown: () => move(0, -80),
};
addEventListener("keydown", (event) => {
  if (event.key === "Escape") { $$("query").value = ""; find(); canvas.focus(); return; }
  if (event.target.matches("input, select") || event.ctrlKey || event.metaKey || event.altKey) return;
  if ((event.key === "Enter" || event.key === " ") && event.target.matches(".block, .times")) {
    event.preventDefault();
    activate(event.target);
    return;
  }
  if (keys[event.key]) { event.preventDefault(); keys[event.key](); }
});
colour.innerHTML = ["kind", ...Object.keys(data.values)].map((name) => `<option value="${escaped(name)}">${escaped(name === "kind" ? "kind of operation" : name)}</option>`).join("");
colour.value = data.colour;
colour.addEventListener("change", draw);
addEventListener("resize", fit);
/** A narrow window has no room for a legend beside the graph: it waits below, closed. */
function arrange() { legend.open = !narrow.matches; fit(); }
narrow.addEventListener("change", arrange);
draw();
arrange();
