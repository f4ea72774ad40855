// Histograms with a threshold to drag, what it leaves of the first layer, and the accuracies measured so far.
// Every number here comes from `pack` (sent once for each setting); only accuracies wait for the kernel.

const WIDTH = 640, LEFT = 14, RIGHT = 456, SIDE = 470, TOP = 58, GAP = 7; // of the histograms
const MAP = { left: 14, width: 262, height: 190 }; // the first layer
const CHART = { left: 352, right: 624, height: 166 }; // accuracies
const STAYS = "#0072B2", GOES = "#D55E00", RIGHTS = "#009E73", GREY = "#808080", PAPER = "var(--jp-layout-color0, white)";
const SHADES = 16;

// Bytes may start anywhere in a message, numbers may not: copy them.
function numbers(view, Kind) {
  return new Kind(view.buffer.slice(view.byteOffset, view.byteOffset + view.byteLength));
}

function unpack(pack) {
  return {
    ...pack,
    drops: numbers(pack.drops, Int32Array), // (steps + 1, layers)
    thresholds: numbers(pack.thresholds, Float32Array), // (steps + 1, layers)
    deaths: numbers(pack.deaths, Uint8Array), // first step at which each unit of the first layer goes
    greys: pack.first.greys && numbers(pack.first.greys, Uint8Array),
  };
}

// What stays of each place (pixel, or weight of a kernel) of the first layer at a step.
function survivors(data, step) {
  const { kind, n, height, width } = data.first, { weights, units } = data.layers[0];
  const places = kind === "inputs" ? height * width : n * height * width;
  const counts = new Uint32Array(places);
  const all = kind === "inputs" ? units * weights : Math.min(places, units * weights);
  for (let i = 0, unit = 0, inside = 0, input = 0; i < all; i++) {
    if (data.deaths[unit] > step) counts[kind === "inputs" ? input % places : i]++;
    if (++inside === weights) { inside = 0; unit++; }
    if (++input === n) input = 0;
  }
  return counts;
}

function hatching(svg, id) {
  const defs = shape("defs", {}, svg);
  const tile = shape("pattern", { id, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, defs);
  shape("rect", { width: 5, height: 5, fill: GOES, "fill-opacity": 0.16 }, tile);
  shape("line", { x1: 0, y1: 0, x2: 0, y2: 5, stroke: GOES, "stroke-width": 2.4 }, tile);
  return `url(#${id})`;
}

// ---- the histograms, one row a layer; returns what paints them at a step

function histograms(root, data, hatch) {
  const rows = data.layers.length;
  const high = Math.min(58, Math.max(15, 150 / rows)), bottom = TOP + rows * (high + GAP);
  const perBin = (RIGHT - LEFT) / data.layers[0].counts.length;
  const total = data.layers.reduce((sum, layer) => sum + layer.units * layer.weights, 0);
  const big = write(root, LEFT, 24, "", { "font-size": 23, "font-weight": 700 });
  const rule = write(root, LEFT, 45, "", { "font-size": 14 });
  shape("rect", { x: 326, y: 9, width: 22, height: 14, fill: hatch, stroke: GOES }, root);
  shape("rect", { x: 326, y: 33, width: 22, height: 14, fill: STAYS }, root);
  const goes = write(root, 356, 21, "", { "font-size": 14 }), stays = write(root, 356, 45, "", { "font-size": 14, "font-weight": 700 });
  const drawn = data.layers.map((layer, i) => {
    const base = TOP + i * (high + GAP) + high, tall = high / Math.max(...layer.counts);
    const bars = shape("path", { fill: STAYS }, root);
    const gone = shape("path", { fill: hatch, stroke: GOES, "stroke-width": 0.6 }, root);
    shape("line", { x1: LEFT, x2: RIGHT, y1: base, y2: base, stroke: "currentColor", "stroke-opacity": 0.5 }, root);
    const wide = high > 34;
    write(root, SIDE, base - high + (wide ? 14 : high - 3), `layer ${layer.name.slice(-16)}${wide ? `: ${layer.shape}` : ""}`, { "font-weight": 600, "font-size": wide ? 13 : 11 });
    const left = write(root, wide ? SIDE : WIDTH - 4, base - (wide ? high - 32 : 3), "", { "text-anchor": wide ? "start" : "end", "font-size": wide ? 12.5 : 11 });
    return { layer, base, tall, bars, gone, left, wide };
  });
  axis(root, data, bottom);
  const paint = (step) => {
    let kept = 0;
    drawn.forEach(({ layer, base, tall, bars, gone, left, wide }, i) => {
      const drop = data.drops[step * rows + i];
      let open = drop, stay = "", go = "";
      layer.counts.forEach((count, bin) => {
        const dead = Math.min(open, count), x = LEFT + bin * perBin;
        open -= dead;
        if (dead) go += box(x + 0.4, base - dead * tall, perBin - 0.8, dead * tall);
        if (count > dead) stay += box(x + 0.4, base - count * tall, perBin - 0.8, (count - dead) * tall);
      });
      put(bars, { d: stay });
      put(gone, { d: go });
      const alive = layer.units - drop;
      kept += alive * layer.weights;
      put(left, { text: wide ? `${whole(alive)} of ${whole(layer.units)} stay` : `${(100 * alive / layer.units).toFixed(0)} %` });
    });
    const t = data.thresholds[step * rows];
    put(big, { text: `sparsity ${(1 - kept / total).toFixed(3)}` });
    put(rule, { text: data.scope === "global" ? `goes: ${measured(data)} ≤ ${t.toFixed(4)}` : `goes: the lowest ${(100 * step / data.steps).toFixed(1)} % of each layer` });
    put(goes, { text: `${whole(total - kept)} weights go` });
    put(stays, { text: `${whole(kept)} weights stay` });
  };
  return { paint, bottom, rowAt: (y) => Math.min(rows - 1, Math.max(0, Math.floor((y - TOP) / (high + GAP)))), high };
}

const measured = (data) => (data.unit === "weight" ? "|w|" : `mean |w| of a ${data.unit}`);

function axis(root, data, y) {
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5].find((size) => data.top / size <= 6) || data.top / 4;
  write(root, RIGHT, y + 24, `≥ ${data.top.toPrecision(2)}`, { "text-anchor": "end", "font-size": 12 }); // the last bar holds the rest
  for (let value = 0; value <= data.top; value += step) {
    const x = LEFT + (RIGHT - LEFT) * (value / data.top);
    if (x > RIGHT - 60) break;
    shape("line", { x1: x, x2: x, y1: y - GAP, y2: y - GAP + 4, stroke: "currentColor" }, root);
    write(root, x, y + 24, String(Number(value.toFixed(6))), { "text-anchor": value ? "middle" : "start", "font-size": 12 });
  }
  write(root, SIDE, y + 24, measured(data), { "font-size": 12.5 });
}

// ---- the threshold: a line through all rows, or one for each

function threshold(root, data, plot) {
  const rows = data.layers.length, single = data.scope === "global";
  const grip = shape("g", {}, root);
  const area = { x: LEFT - 6, y: TOP - 6, width: RIGHT - LEFT + 12, height: plot.bottom - TOP + 14 };
  shape("rect", { ...area, rx: 5, fill: "transparent" }, grip);
  const cuts = data.layers.map((_, i) => {
    const from = TOP + i * (plot.high + GAP) - (single ? GAP : 1), to = from + plot.high + (single ? GAP : 1);
    const bar = shape("line", { y1: from, y2: to, stroke: "currentColor", "stroke-width": 2.2 }, grip);
    const knob = single && i < rows - 1 ? null : shape("g", { fill: "currentColor", stroke: PAPER, "stroke-width": 1.5 }, grip);
    if (knob) shape("path", { d: "M-9 0a9 9 0 0 1 18 0a9 9 0 0 1-18 0" }, knob);
    if (knob) shape("path", { d: "M-2-4l-4 4l4 4M2-4l4 4l-4 4", fill: "none" }, knob);
    return { bar, knob, y: single ? to + 1 : Math.min(to, from + plot.high / 2 + 1) };
  });
  const place = (step) => cuts.forEach(({ bar, knob, y }, i) => {
    const x = LEFT + (RIGHT - LEFT) * Math.min(1, data.thresholds[step * rows + i] / data.top);
    put(bar, { x1: x, x2: x });
    if (knob) put(knob, { transform: `translate(${x} ${y})` });
  });
  // The step whose threshold, in this row, is nearest to a point.
  const stepAt = (x, row) => {
    const wanted = data.top * (x - LEFT) / (RIGHT - LEFT);
    if (wanted >= data.top) return data.steps;
    let best = 0;
    for (let step = 1; step <= data.steps; step++) {
      const distance = (s) => Math.abs(data.thresholds[s * rows + row] - wanted);
      if (distance(step) < distance(best)) best = step;
    }
    return best;
  };
  return { grip, place, stepAt };
}

// ---- the first layer: its inputs as a picture, or its kernels

function firstLayer(root, data, hatch, top) {
  const { kind, n, height, width } = data.first, inputs = kind === "inputs";
  const many = inputs ? 1 : n, layer = data.layers[0];
  const fit = (columns) => Math.min(MAP.width / (columns * (width + 1)), MAP.height / (Math.ceil(many / columns) * (height + 1)));
  let columns = 1;
  for (let c = 2; c <= many; c++) if (fit(c) > fit(columns)) columns = c;
  const cell = inputs ? Math.min(MAP.width / width, MAP.height / height) : fit(columns);
  const at = (place) => {
    const kernel = Math.floor(place / (height * width)), inside = place % (height * width);
    return [MAP.left + cell * ((kernel % columns) * (width + 1) + inside % width),
            top + cell * (Math.floor(kernel / columns) * (height + 1) + Math.floor(inside / width))];
  };
  write(root, MAP.left, top - 26, `first layer: what stays`, { "font-weight": 600, "font-size": 14 });
  const note = write(root, MAP.left, top - 9, "", { "font-size": 12.5 });
  const dead = shape("path", { fill: hatch }, root);
  const shades = Array.from({ length: SHADES }, (_, i) => shape("path", { fill: STAYS, "fill-opacity": 0.12 + 0.88 * (i / (SHADES - 1)), "shape-rendering": "crispEdges" }, root));
  let edges = "";
  for (let k = 0; k < many; k++) edges += box(...at(k * height * width), cell * width, cell * height);
  shape("path", { d: edges, fill: "none", stroke: "currentColor", "stroke-opacity": 0.55, "stroke-width": 0.8 }, root);
  const told = inputs && height * width <= 120 && n <= 120;
  const figures = told ? Array.from({ length: height * width }, (_, i) =>
    write(root, at(i)[0] + cell / 2, at(i)[1] + cell / 2 + 4, "", { "text-anchor": "middle", "font-size": Math.min(11.5, 0.46 * cell) })) : [];
  return (step) => {
    const counts = survivors(data, step), most = Math.max(1, ...counts), paths = shades.map(() => "");
    let gone = "", empty = 0, kept = 0;
    counts.forEach((count, place) => {
      if (place >= many * height * width || (inputs && place >= n)) return;
      kept += count;
      const [x, y] = at(place), share = count && (inputs ? count / most : data.greys[place] / 255);
      if (count) paths[Math.round(share * (SHADES - 1))] += box(x, y, cell, cell);
      else { gone += box(x, y, cell, cell); empty++; }
      if (told) put(figures[place], { text: String(count), fill: share > 0.86 ? "white" : "currentColor" });
    });
    shades.forEach((node, i) => put(node, { d: paths[i] }));
    put(dead, { d: gone });
    const places = Math.min(n, height * width);
    put(note, { text: inputs ? `weights per input; ${empty} of ${places} have none`
      : `${whole(kept)} of ${whole(counts.length)} weights; strong colour: large` });
  };
}

// ---- accuracy where it has been measured; the setting in use last

const MARKS = ["m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "m-3.5-3.5h7v7h-7z", "m0-5l5 5l-5 5l-5-5z", "m0-5l5 9h-10z"];
const marks = (i, places) => places.map(([x, y]) => `M${x} ${y}${MARKS[i]}`).join("");

function chart(root, model, steps, top) {
  const { left, right, height } = CHART, bottom = top + height;
  const X = (step) => left + (right - left) * step / steps, Y = (accuracy) => bottom - height * accuracy;
  write(root, left - 36, top - 26, "accuracy, where you have been", { "font-weight": 600, "font-size": 14 });
  for (const part of [0, 0.5, 1]) {
    shape("line", { x1: left, x2: right, y1: Y(part), y2: Y(part), stroke: "currentColor", "stroke-opacity": part ? 0.2 : 0.6 }, root);
    write(root, left - 6, Y(part) + 4, `${100 * part} %`, { "text-anchor": "end", "font-size": 12 });
    write(root, X(part * steps), bottom + 16, String(part), { "text-anchor": "middle", "font-size": 12 });
  }
  write(root, X(steps * 0.5), bottom + 31, "fraction removed", { "text-anchor": "middle", "font-size": 12 });
  const here = shape("line", { y1: top, y2: bottom, stroke: "currentColor", "stroke-dasharray": "2 3" }, root);
  const layer = shape("g", {}, root);
  const follow = (step) => put(here, { x1: X(step), x2: X(step) });
  const paint = (step) => {
    layer.replaceChildren();
    const trails = model.get("trails").slice(-MARKS.length).reverse();
    trails.forEach(([name, points], i) => {
      const colour = i ? GREY : RIGHTS, look = { fill: i ? PAPER : colour, stroke: colour, "stroke-width": 1.6 };
      const places = points.map(([s, a]) => [X(s), Y(a)]), y = bottom - 10 - 17 * (trails.length - 1 - i);
      shape("polyline", { points: places.join(" "), fill: "none", stroke: colour, "stroke-opacity": 0.7, "stroke-dasharray": "1 3" }, layer);
      shape("path", { d: marks(i, [...places, [left + 12, y]]), ...look }, layer);
      write(layer, left + 22, y + 4, name, { "font-size": 12, "font-weight": i ? 400 : 700, style: `paint-order:stroke;stroke:${PAPER};stroke-width:3px` });
    });
    const now = trails.length && trails[0][1].find(([s]) => s === step);
    if (now) write(layer, X(step) + (step > 0.7 * steps ? -9 : 9), Math.max(top + 4, Y(now[1]) - 9), `${(100 * now[1]).toFixed(1)} %`,
      { "text-anchor": step > 0.7 * steps ? "end" : "start", "font-weight": 700, "font-size": 14, style: `paint-order:stroke;stroke:${PAPER};stroke-width:4px` });
  };
  return { follow, paint };
}

// ---- all together: built anew for each setting, repainted at each step

function render({ model, el }) {
  const svg = sheet(el, WIDTH, 500), hatch = hatching(svg, `sn-goes-${Math.random().toString(36).slice(2)}`);
  const root = shape("g", {}, svg);
  let repaint = () => {}, remark = () => {};
  const build = () => {
    const focused = root.contains(document.activeElement);
    root.replaceChildren();
    const data = unpack(model.get("pack"));
    const plot = histograms(root, data, hatch), cut = threshold(root, data, plot), lower = plot.bottom + 82;
    svg.setAttribute("viewBox", `0 0 ${WIDTH} ${lower + MAP.height + 14}`);
    const map = firstLayer(root, data, hatch, lower), measured = chart(root, model, data.steps, lower);
    const step = () => Math.min(data.steps, model.get("step"));
    const set = (value) => { model.set("step", value); model.save_changes(); };
    let row = 0;
    cut.grip.addEventListener("pointerdown", (event) => {
      const point = pointIn(svg, event);
      row = plot.rowAt(point.y);
      set(cut.stepAt(point.x, row));
    });
    const told = draggable(svg, cut.grip, {
      label: "threshold", low: 0, high: data.steps, step: 1, get: step, set,
      at: (point) => cut.stepAt(point.x, row),
      say: (value) => `sparsity ${(value / data.steps).toFixed(3)}${data.scope === "layer" ? " in each layer" : ""}, `
        + `threshold ${data.thresholds[value * data.layers.length + row].toFixed(3)}`,
    });
    repaint = () => {
      plot.paint(step());
      cut.place(step());
      map(step());
      measured.follow(step());
      told();
      painted(el, svg, model.get("alt"));
    };
    remark = () => { measured.paint(step()); painted(el, svg, model.get("alt")); };
    repaint();
    remark();
    if (focused) cut.grip.focus();
  };
  model.on("change:pack", whenFree(root, build));
  model.on("change:step", () => { repaint(); remark(); });
  model.on("change:trails change:alt", () => remark());
  build();
  return () => model.off(null, null, null);
}

export default { render };
