// A histogram of weights with its grid and a clip to drag; what rounding and clipping cost, and the accuracies measured.
// Every number here comes from `pack` (sent once for each setting) and the clip; only accuracies wait for the kernel.

const WIDTH = 640, LEFT = 14, RIGHT = 626, TOP = 62, BASE = 214; // of the histogram
const CHART = { top: 312, bottom: 470 }, DECIBELS = { left: 48, right: 296 }, RIGHTS = { left: 372, right: 608 };
const INSIDE = "#0072B2", OUTSIDE = "#D55E00", MEASURED = "#009E73", GREY = "#808080", PAPER = "var(--jp-layout-color0, white)";
const HALO = `paint-order:stroke;stroke:${PAPER};stroke-width:4px`;
const MARKS = ["m-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z", "m-3.5-3.5h7v7h-7z", "m0-5l5 5l-5 5l-5-5z", "m0-5l5 9h-10z"];
const MOST = 50; // decibels

function hatching(svg, id) {
  const tile = shape("pattern", { id, width: 5, height: 5, patternUnits: "userSpaceOnUse", patternTransform: "rotate(45)" }, shape("defs", {}, svg));
  shape("rect", { width: 5, height: 5, fill: OUTSIDE, "fill-opacity": 0.16 }, tile);
  shape("line", { x1: 0, y1: 0, x2: 0, y2: 5, stroke: OUTSIDE, "stroke-width": 2.4 }, tile);
  return `url(#${id})`;
}

// The points of the grid at a clip, as real numbers.
function gridOf(data, share) {
  const low = data.low * share, high = data.high * share, last = 2 ** data.bits - 1;
  if (data.grid === "symmetric") {
    const n = 2 ** (data.bits - 1) - 1;
    return Array.from({ length: 2 * n + 1 }, (_, i) => (i - n) * (high / n));
  }
  const scale = (high - low) / last, zero = Math.round(-low / scale);
  return Array.from({ length: last + 1 }, (_, code) => scale * (code - zero));
}

// ---- the histogram, its grid, and the two ends of the clip

function histogram(root, data, hatch) {
  const X = (value) => (LEFT + RIGHT) / 2 + (RIGHT - LEFT) / 2 * (value / data.edge);
  const big = write(root, LEFT, 24, "", { "font-size": 23, "font-weight": 700 });
  const rule = write(root, LEFT, 46, "", { "font-size": 14 });
  shape("rect", { x: 404, y: 9, width: 22, height: 14, fill: INSIDE }, root);
  shape("rect", { x: 404, y: 33, width: 22, height: 14, fill: hatch, stroke: OUTSIDE }, root);
  const kept = write(root, 434, 21, "", { "font-size": 14 }), lost = write(root, 434, 45, "", { "font-size": 14, "font-weight": 700 });
  const lines = shape("path", { fill: "none", stroke: "currentColor", "stroke-opacity": 0.4, "stroke-width": 1 }, root);
  const bars = shape("path", { fill: INSIDE }, root);
  const gone = shape("path", { fill: hatch, stroke: OUTSIDE, "stroke-width": 0.6 }, root);
  const ticks = shape("path", { fill: "none", stroke: "currentColor", "stroke-width": 1.3 }, root);
  shape("line", { x1: LEFT, x2: RIGHT, y1: BASE, y2: BASE, stroke: "currentColor" }, root);
  axis(root, data.edge, X);
  const tall = (BASE - TOP) / Math.sqrt(Math.max(...data.counts)), wide = (RIGHT - LEFT) / data.counts.length;
  const grip = shape("g", {}, root);
  shape("rect", { x: LEFT - 6, y: TOP - 6, width: RIGHT - LEFT + 12, height: BASE - TOP + 26, rx: 5, fill: "transparent" }, grip);
  const ends = [data.low, data.high].map((end) => ({ end, ...handle(grip) }));
  const paint = (step) => {
    const share = step / 100, points = gridOf(data, share), few = points.length <= 33;
    let inside = "", outside = "";
    data.counts.forEach((count, i) => {
      if (!count) return;
      const value = data.edge * (2 * (i + 0.5) / data.counts.length - 1), height = tall * Math.sqrt(count);
      const bar = box(LEFT + i * wide + 0.4, BASE - height, wide - 0.8, height);
      const inner = value - Math.sign(value) * data.edge / data.counts.length; // its end that is nearer to 0
      if (inner < data.low * share || inner > data.high * share) outside += bar; else inside += bar;
    });
    put(bars, { d: inside });
    put(gone, { d: outside });
    put(lines, { d: few ? points.map((p) => `M${X(p).toFixed(2)} ${TOP}V${BASE}`).join("") : "" });
    put(ticks, { d: points.map((p) => `M${X(p).toFixed(2)} ${BASE}v${few ? 11 : 8}`).join("") });
    ends.forEach(({ end, bar, knob }) => {
      const x = X(end * share);
      put(bar, { x1: x, x2: x });
      put(knob, { transform: `translate(${x} ${TOP + 4})` });
    });
    put(big, { text: `${data.bits} bits: ${points.length} grid points` });
    put(rule, { text: `layer ${data.layer.slice(-16)}; the grid covers ${step} % of its range` });
    put(kept, { text: `${whole(data.n - data.outside[step - 1])} weights rounded` });
    put(lost, { text: `${whole(data.outside[step - 1])} weights clipped` });
  };
  // The clip whose end, on the side of a point, is nearest to it.
  const stepAt = (x) => {
    const value = data.edge * (x - (LEFT + RIGHT) / 2) / ((RIGHT - LEFT) / 2);
    const end = value < 0 ? data.low || data.high : data.high || data.low;
    return Math.min(100, Math.max(1, Math.round(100 * value / end)));
  };
  return { grip, paint, stepAt };
}

function handle(grip) {
  const bar = shape("line", { y1: TOP - 4, y2: BASE + 12, stroke: OUTSIDE, "stroke-width": 2.6 }, grip);
  const knob = shape("g", { fill: OUTSIDE, stroke: PAPER, "stroke-width": 1.5 }, grip);
  shape("path", { d: "M-9 0a9 9 0 0 1 18 0a9 9 0 0 1-18 0" }, knob);
  shape("path", { d: "M-2-4l-4 4l4 4M2-4l4 4l-4 4", fill: "none" }, knob);
  return { bar, knob };
}

function axis(root, edge, X) {
  const step = [0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5].find((size) => 2 * edge / size <= 9) || edge / 4;
  for (let k = Math.ceil(-edge / step); k <= edge / step; k++) {
    write(root, X(k * step), BASE + 30, String(Number((k * step).toFixed(6))), { "text-anchor": "middle", "font-size": 12 });
  }
  write(root, LEFT, BASE + 48, "weight; a bar's height is the square root of its count; the marks below are the grid", { "font-size": 12 });
}

// ---- decibels over the clip: rounding alone, clipping alone, both

function frame(root, place, title, levels) {
  const { top, bottom } = CHART, { left, right } = place;
  write(root, left - 34, top - 20, title, { "font-weight": 600, "font-size": 14 });
  for (const [part, text] of levels) {
    const y = bottom - (bottom - top) * part;
    shape("line", { x1: left, x2: right, y1: y, y2: y, stroke: "currentColor", "stroke-opacity": part ? 0.2 : 0.6 }, root);
    write(root, left - 6, y + 4, text, { "text-anchor": "end", "font-size": 12 });
  }
  for (const share of [0, 50, 100]) {
    write(root, left + (right - left) * share / 100, bottom + 17, `${share} %`, { "text-anchor": "middle", "font-size": 12 });
  }
  write(root, (left + right) / 2, bottom + 33, "of the range covered", { "text-anchor": "middle", "font-size": 12 });
  return shape("line", { y1: top, y2: bottom, stroke: "currentColor", "stroke-dasharray": "2 3" }, root);
}

function decibels(root, data) {
  const { top, bottom } = CHART, { left, right } = DECIBELS;
  const here = frame(root, DECIBELS, "signal-to-noise, dB", [[0, "0"], [0.4, "20"], [0.8, "40"]]);
  const X = (step) => left + (right - left) * step / 100, Y = (db) => bottom - (bottom - top) * Math.min(1, Math.max(0, db / MOST));
  const looks = [["currentColor", "", 2.4], [INSIDE, "6 3", 1.6], [OUTSIDE, "2 3", 1.8]];
  data.decibels.forEach((values, i) => {
    const points = values.map((db, k) => [X(k + 1), Y(db)]).filter(([, y]) => y > top);
    shape("polyline", { points: points.join(" "), fill: "none", stroke: looks[i][0], "stroke-dasharray": looks[i][1], "stroke-width": looks[i][2] }, root);
  });
  [["both", 0], ["rounding only", 1], ["clipping only", 2]].forEach(([name, i]) => {
    const y = bottom + 54, x = left - 34 + [0, 62, 196][i];
    shape("line", { x1: x, x2: x + 22, y1: y - 4, y2: y - 4, stroke: looks[i][0], "stroke-dasharray": looks[i][1], "stroke-width": looks[i][2] }, root);
    write(root, x + 27, y, name, { "font-size": 12 });
  });
  const dot = shape("circle", { r: 5, fill: "currentColor", stroke: PAPER, "stroke-width": 1.5 }, root);
  return (step) => {
    put(here, { x1: X(step), x2: X(step) });
    put(dot, { cx: X(step), cy: Y(data.decibels[0][step - 1]) });
  };
}

// ---- accuracy where it has been measured; the setting in use last

function accuracies(root, model) {
  const { top, bottom } = CHART, { left, right } = RIGHTS;
  const here = frame(root, RIGHTS, "accuracy, where you have been", [[0, "0 %"], [0.5, "50 %"], [1, "100 %"]]);
  const X = (step) => left + (right - left) * step / 100, Y = (accuracy) => bottom - (bottom - top) * accuracy;
  const layer = shape("g", {}, root);
  const paint = (step) => {
    layer.replaceChildren();
    const trails = model.get("trails").slice(-MARKS.length).reverse();
    trails.forEach(([name, points], i) => {
      const colour = i ? GREY : MEASURED, places = points.map(([s, a]) => [X(s), Y(a)]), y = bottom - 10 - 17 * (trails.length - 1 - i);
      shape("polyline", { points: places.join(" "), fill: "none", stroke: colour, "stroke-opacity": 0.7, "stroke-dasharray": "1 3" }, layer);
      const d = [...places, [left + 12, y]].map(([px, py]) => `M${px} ${py}${MARKS[i]}`).join("");
      shape("path", { d, fill: i ? PAPER : colour, stroke: colour, "stroke-width": 1.6 }, layer);
      write(layer, left + 22, y + 4, name, { "font-size": 12, "font-weight": i ? 400 : 700, style: HALO });
    });
    const now = trails.length && trails[0][1].find(([s]) => s === step), side = step > 50 ? -1 : 1;
    if (now) write(layer, X(step) + 9 * side, Y(now[1]) + (now[1] > 0.85 ? 20 : -8), `${(100 * now[1]).toFixed(1)} %`,
      { "text-anchor": side < 0 ? "end" : "start", "font-weight": 700, "font-size": 14, style: HALO });
  };
  return { follow: (step) => put(here, { x1: X(step), x2: X(step) }), paint };
}

// ---- all together: built anew for each setting, repainted at each step

function render({ model, el }) {
  const svg = sheet(el, WIDTH, CHART.bottom + 62), hatch = hatching(svg, `sn-clip-${Math.random().toString(36).slice(2)}`);
  const root = shape("g", {}, svg);
  let repaint = () => {}, remark = () => {};
  const build = () => {
    const focused = root.contains(document.activeElement), data = model.get("pack");
    root.replaceChildren();
    const plot = histogram(root, data, hatch), noise = decibels(root, data), measured = accuracies(root, model);
    const step = () => Math.min(100, Math.max(1, model.get("step")));
    const set = (value) => { model.set("step", value); model.save_changes(); };
    plot.grip.addEventListener("pointerdown", (event) => set(plot.stepAt(pointIn(svg, event).x)));
    const told = draggable(svg, plot.grip, {
      label: "clip", low: 1, high: 100, step: 1, get: step, set,
      at: (point) => plot.stepAt(point.x),
      say: (value) => `${value} % of the range covered, ${data.outside[value - 1]} weights clipped`,
    });
    remark = () => { measured.paint(step()); painted(el, svg, model.get("alt")); };
    repaint = () => { plot.paint(step()); noise(step()); measured.follow(step()); told(); remark(); };
    repaint();
    if (focused) plot.grip.focus();
  };
  model.on("change:pack", whenFree(root, build));
  model.on("change:step", () => repaint());
  model.on("change:trails change:alt", () => remark());
  build();
  return () => model.off(null, null, null);
}

export default { render };
