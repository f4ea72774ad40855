// Two convolutions as grids of kernels. Each filter of the first is a column, with its slice of the second below it;
// each filter of the second is a row. A click takes a filter away at once; the numbers follow from the kernel.

const WIDTH = 640, LEFT = 74, TOP = 62, SIDE = 430; // of the grids; SIDE begins the bars
const STAYS = "#0072B2", GOES = "#D55E00", PAPER = "var(--jp-layout-color0, white)";
const SHADES = 12;

const bytes = (view) => new Uint8Array(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));

function hatching(svg, id) {
  const defs = shape("defs", {}, svg);
  const tile = shape("pattern", { id, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, defs);
  shape("rect", { width: 5, height: 5, fill: PAPER }, tile);
  shape("rect", { width: 5, height: 5, fill: GOES, "fill-opacity": 0.16 }, tile);
  shape("line", { x1: 0, y1: 0, x2: 0, y2: 5, stroke: GOES, "stroke-width": 2.4 }, tile);
  return `url(#${id})`;
}

// ---- where everything stands

function layout({ sizes }) {
  const [n, m] = sizes, wide = Math.min(26, (SIDE - LEFT - 86) / n), high = Math.min(wide, 400 / m);
  const first = { x: LEFT, y: TOP, high: Math.max(wide, 22) };
  const second = { x: LEFT, y: TOP + first.high + 50 };
  return { n, m, wide, high, first, second, right: LEFT + n * wide, bottom: second.y + m * high };
}

// The kernels, drawn once: every pixel of a kernel is a square, dark where the weight is large.
function kernels(root, greys, side, columns, rows, at, wide, high) {
  const paths = Array.from({ length: SHADES }, () => "");
  const dx = 0.88 * wide / side, dy = 0.88 * high / side;
  for (let row = 0; row < rows; row++) for (let column = 0; column < columns; column++) for (let i = 0; i < side * side; i++) {
    const grey = greys[(row * columns + column) * side * side + i];
    const [x, y] = at(column, row);
    paths[Math.round(grey / 255 * (SHADES - 1))] += box(x + 0.06 * wide + (i % side) * dx, y + 0.06 * high + Math.floor(i / side) * dy, dx, dy);
  }
  paths.forEach((d, i) => shape("path", { d, fill: STAYS, "fill-opacity": 0.06 + 0.94 * i / (SHADES - 1), "shape-rendering": "crispEdges" }, root));
}

// ---- bars of what is left

function bars(root, place) {
  const rows = [["parameters", whole], ["MACs", whole], ["time", (ms) => `${ms.toFixed(2)} ms`], ["accuracy", (part) => `${(100 * part).toFixed(1)} %`]];
  const drawn = rows.map(([name, say], i) => {
    const y = place + 74 * i;
    write(root, SIDE, y, name === "time" ? "time, measured now" : name === "accuracy" ? "accuracy, not retrained" : name, { "font-weight": 600 });
    shape("rect", { x: SIDE, y: y + 8, width: 196, height: 18, fill: "none", stroke: "currentColor", "stroke-opacity": 0.5 }, root);
    const bar = shape("rect", { x: SIDE, y: y + 8, width: 0, height: 18, fill: STAYS }, root);
    const text = write(root, SIDE, y + 43, "", { "font-size": 12.5 });
    return { name, say, bar, text };
  });
  return (told, waiting) => drawn.forEach(({ name, say, bar, text }) => {
    if (!told[name]) return;
    const [now, before] = told[name], part = before ? now / before : 0;
    put(bar, { width: 196 * Math.min(1, part), "fill-opacity": waiting ? 0.35 : 1 });
    put(text, { text: `${say(now)} of ${say(before)}${name === "accuracy" ? "" : ` (${Math.round(100 * part)} %)`}` });
  });
}

// ---- all together

function render({ model, el }) {
  const pack = model.get("pack"), { n, m, wide, high, first, second, right, bottom } = layout(pack);
  const all = n + m;
  const svg = sheet(el, WIDTH, Math.max(bottom + 20, 400)), hatch = hatching(svg, `sn-cut-${Math.random().toString(36).slice(2)}`);
  const scores = [...pack.scores[0], ...pack.scores[1]];
  const score = (index) => scores[index].toFixed(3);
  write(svg, LEFT, 18, `first layer: ${n} filters`, { "font-weight": 600 });
  const counts = write(svg, LEFT, 36, "", { "font-size": 12.5 });
  const says = write(svg, LEFT, second.y - 26, "", { "font-weight": 600 });
  write(svg, LEFT, second.y - 9, "under each filter its slice; a row is a filter", { "font-size": 12 });
  write(svg, right + 10, second.y - 22, "what reads", { "font-size": 12 });
  write(svg, right + 10, second.y - 8, "each row", { "font-size": 12 });

  const grids = shape("g", {}, svg);
  kernels(grids, bytes(pack.greys[0]), pack.sides[0], n, 1, (column) => [first.x + column * wide, first.y], wide, first.high);
  kernels(grids, bytes(pack.greys[1]), pack.sides[1], n, m, (column, row) => [second.x + column * wide, second.y + row * high], wide, high);
  const columns = Array.from({ length: m }, (_, row) => box(right + 10, second.y + (row + 0.1) * high, 44, 0.8 * high)).join("");
  shape("path", { d: columns, fill: STAYS, "fill-opacity": 0.45 }, svg);

  const struck = shape("path", { fill: hatch, stroke: GOES, "stroke-width": 0.8 }, svg);
  const grip = shape("g", { cursor: "pointer" }, svg);
  shape("rect", { x: first.x, y: first.y - 4, width: n * wide, height: first.high + 8, fill: "transparent" }, grip);
  shape("rect", { x: first.x - 56, y: second.y, width: n * wide + 112, height: m * high, fill: "transparent" }, grip);
  const ring = shape("rect", { rx: 3, fill: "none", stroke: "currentColor", "stroke-width": 2.4 }, grip);
  const tag = write(svg, 0, 0, "", { "font-size": 12, "font-weight": 600, "text-anchor": "end", style: `paint-order:stroke;stroke:${PAPER};stroke-width:3px` });
  const measured = bars(svg, TOP + 6);

  let here = 0, gone = new Set(model.get("gone"));
  const area = (index) => index < n
    ? [box(first.x + index * wide, first.y, wide, first.high), box(second.x + index * wide, second.y, wide, m * high)]
    : [box(second.x, second.y + (index - n) * high, n * wide, high), box(right + 10, second.y + (index - n) * high, 44, high)];
  const left = (layer) => (layer ? m : n) - [...gone].filter((index) => (index >= n) === Boolean(layer)).length;
  const name = (index) => `filter ${index < n ? index : index - n} of the ${index < n ? "first" : "second"} layer`;
  const at = ({ x, y }) => {
    const clamp = (value, count) => Math.min(count - 1, Math.max(0, Math.floor(value)));
    return y < second.y - 10 ? clamp((x - first.x) / wide, n) : n + clamp((y - second.y) / high, m);
  };
  const toggle = (index) => {
    if (!gone.has(index) && left(index >= n) === 1) return; // nothing would flow
    if (!gone.delete(index)) gone.add(index);
    model.set("gone", [...gone].sort((a, b) => a - b));
    model.save_changes();
  };
  const told = draggable(svg, grip, {
    label: "filter", low: 0, high: all - 1, step: 1, get: () => here, set: (value) => { here = value; paint(); }, at,
    say: (index) => `${name(index)}, score ${score(index)}, ${gone.has(index) ? "removed" : "stays"}; press Enter to change that`,
  });
  function paint() {
    const now = model.get("told"), waiting = String(now.for) !== String(model.get("gone"));
    gone = new Set(model.get("gone"));
    put(struck, { d: [...gone].flatMap(area).join("") });
    put(counts, { text: `${left(0)} stay · under the ring: score ${score(here)}` });
    put(says, { text: `second: ${left(1)}/${m} filters × ${left(0)}/${n} inputs` });
    const column = here < n, where = column ? [first.x + here * wide, first.y] : [first.x - 1, second.y + (here - n) * high];
    put(ring, { x: where[0], y: where[1], width: column ? wide : n * wide + 2, height: column ? first.high : high });
    put(tag, { x: LEFT - 8, y: column ? first.y + 16 : second.y + (here - n + 0.5) * high + 4, text: `filter ${column ? here : here - n}` });
    measured(now, waiting);
    told();
    painted(el, svg, model.get("alt"));
  }
  let pressed = null;
  grip.addEventListener("pointerdown", (event) => { pressed = here = at(pointIn(svg, event)); paint(); });
  grip.addEventListener("pointerup", (event) => {
    if (pressed !== null && at(pointIn(svg, event)) === pressed) toggle(pressed);
    pressed = null;
  });
  grip.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" && event.key !== " ") return;
    event.preventDefault();
    toggle(here);
  });
  model.on("change:gone change:told change:alt", paint);
  paint();
  return () => model.off(null, null, null);
}

export default { render };
