// One image, a teacher's answer to it at the temperature that is dragged, and how well students learned at each.
// Probabilities are computed here from the logits, so the bars follow the mouse without the kernel.

const WIDTH = 640, HEIGHT = 420, STEPS = 60, ONE = 20, TENFOLD = 20; // T = 10^((step - ONE) / TENFOLD)
const IMAGE = { left: 16, top: 34, size: 140 };
const BARS = { left: 196, right: 624, top: 50, base: 174 };
const CHART = { left: 66, right: 500, top: 252, bottom: 376 };
const SURE = "#0072B2", WRONG = "#D55E00", STUDENTS = ["#009E73", "#CC79A7", "#56B4E9", "#E69F00"], PAPER = "var(--jp-layout-color0, white)";

const temperatureAt = (step) => 10 ** ((step - ONE) / TENFOLD);
const stepOf = (temperature) => ONE + TENFOLD * Math.log10(temperature);
const shortly = (number) => String(Number(number.toPrecision(3)));

// softmax(logits / T); the largest is subtracted first, so nothing overflows.
function soften(logits, temperature) {
  const top = Math.max(...logits), parts = logits.map((z) => Math.exp((z - top) / temperature));
  const sum = parts.reduce((a, b) => a + b, 0);
  return parts.map((part) => part / sum);
}

// ---- the image, in sixteen greys that also work on a dark page: ink on white paper

function picture(root) {
  const title = write(root, IMAGE.left, 20, "", { "font-weight": 600 }), layer = shape("g", {}, root);
  return ({ pixels, label, image }) => {
    put(title, { text: `image ${image}: a ${label}` });
    layer.replaceChildren();
    const rows = pixels.length, columns = pixels[0].length, cell = IMAGE.size / Math.max(rows, columns);
    shape("rect", { x: IMAGE.left, y: IMAGE.top, width: columns * cell, height: rows * cell, fill: "white", stroke: "currentColor" }, layer);
    pixels.forEach((line, r) => line.forEach((ink, c) => ink > 0 && shape("rect", {
      x: IMAGE.left + c * cell, y: IMAGE.top + r * cell, width: cell, height: cell, fill: "black", "fill-opacity": Math.min(1, ink).toFixed(3),
      "shape-rendering": "crispEdges" }, layer)));
  };
}

// ---- ten bars; the wrong ones are outlined, and their figures small

function bars(root) {
  const title = write(root, BARS.left, 20, "", { "font-weight": 600 }), layer = shape("g", {}, root);
  shape("line", { x1: BARS.left, x2: BARS.right, y1: BARS.base, y2: BARS.base, stroke: "currentColor" }, root);
  return ({ logits, label }, temperature) => {
    put(title, { text: `the teacher's answer at T = ${shortly(temperature)}` });
    layer.replaceChildren();
    const wide = (BARS.right - BARS.left) / logits.length;
    soften(logits, temperature).forEach((q, digit) => {
      const high = q * (BARS.base - BARS.top), x = BARS.left + digit * wide, right = digit === label;
      shape("rect", { x: x + 4, y: BARS.base - high, width: wide - 8, height: Math.max(high, 0.8), fill: right ? SURE : WRONG,
        stroke: "currentColor", "stroke-width": right ? 0 : 1 }, layer);
      const told = q >= 0.9995 ? "1.000" : q >= 0.001 ? q.toFixed(3) : q >= 1e-9 ? q.toExponential(0) : "0";
      write(layer, x + wide / 2, BARS.base - high - 5, told, { "text-anchor": "middle", "font-size": 11 });
      write(layer, x + wide / 2, BARS.base + 17, String(digit), { "text-anchor": "middle", "font-weight": right ? 700 : 400, "font-size": 14 });
    });
  };
}

// ---- the students: one curve for each alpha, the one in use thick

function chart(root, X) {
  const layer = shape("g", {}, root);
  return ({ curves, labels }, chosen) => {
    layer.replaceChildren();
    const all = [labels, ...curves.flatMap(([, , values]) => values)];
    const low = Math.min(...all) - 0.01, high = Math.max(...all) + 0.01;
    const Y = (value) => CHART.bottom - (CHART.bottom - CHART.top) * (value - low) / (high - low);
    write(layer, 16, CHART.top - 16, "students' accuracy on validation images, by the temperature they were taught at", { "font-weight": 600 });
    shape("path", { d: `M${CHART.left} ${CHART.top}V${CHART.bottom}H${CHART.right}`, fill: "none", stroke: "currentColor", "stroke-opacity": 0.6 }, layer);
    for (const value of [low + 0.01, high - 0.01])
      write(layer, CHART.left - 7, Y(value) + 4, `${(100 * value).toFixed(1)} %`, { "text-anchor": "end", "font-size": 11.5 });
    for (const t of [0.1, 1, 10, 100]) write(layer, X(stepOf(t)), CHART.bottom + 32, String(t), { "text-anchor": "middle", "font-size": 12 });
    write(layer, CHART.right + 14, CHART.bottom + 32, "temperature T", { "font-size": 12 });
    shape("line", { x1: CHART.left, x2: CHART.right, y1: Y(labels), y2: Y(labels), stroke: "currentColor", "stroke-dasharray": "5 4" }, layer);
    const ends = [[Y(labels), "labels only", "currentColor", 400]];
    curves.forEach(([alpha, temperatures, values], i) => {
      const colour = STUDENTS[i % STUDENTS.length], now = Math.abs(alpha - chosen) < 1e-9;
      const at = temperatures.map((t, j) => [X(stepOf(t)), Y(values[j])]);
      shape("polyline", { points: at.join(" "), fill: "none", stroke: colour, "stroke-width": now ? 3 : 1.3, "stroke-dasharray": now ? "none" : "4 3" }, layer);
      at.forEach(([cx, cy]) => shape("circle", { cx, cy, r: now ? 4.5 : 2.5, fill: now ? colour : PAPER, stroke: colour, "stroke-width": 1.5 }, layer));
      ends.push([at[at.length - 1][1], `alpha ${alpha}`, colour, now ? 700 : 400]);
    });
    ends.sort((a, b) => a[0] - b[0]);
    ends.forEach((end, i) => { if (i && end[0] < ends[i - 1][0] + 15) end[0] = ends[i - 1][0] + 15; });
    for (const [y, text, , weight] of ends) write(layer, CHART.right + 14, y + 4, text, { "font-size": 12, "font-weight": weight });
    for (const [y, , colour] of ends) shape("line", { x1: CHART.right + 1, x2: CHART.right + 11, y1: y, y2: y, stroke: colour, "stroke-width": 3 }, layer);
  };
}

function render({ model, el }) {
  const svg = sheet(el, WIDTH, HEIGHT), X = (step) => CHART.left + (CHART.right - CHART.left) * step / STEPS;
  const paintImage = picture(svg), paintBars = bars(svg), paintChart = chart(svg, X);
  const grip = shape("g", { fill: "currentColor", stroke: PAPER, "stroke-width": 1.5 }, svg);
  shape("rect", { x: -12, y: CHART.top - 6, width: 24, height: CHART.bottom - CHART.top + 20, fill: "transparent", stroke: "none" }, grip);
  shape("line", { y1: CHART.top - 6, y2: CHART.bottom, stroke: "currentColor", "stroke-width": 2 }, grip);
  shape("circle", { cy: CHART.bottom + 6, r: 9.5 }, grip);
  shape("path", { d: `M-2 ${CHART.bottom + 2}l-4 4l4 4M2 ${CHART.bottom + 2}l4 4l-4 4`, fill: "none" }, grip);
  const told = draggable(svg, grip, {
    label: "temperature", low: 0, high: STEPS, step: 1, get: () => model.get("step"),
    set: (step) => { model.set("step", step); model.save_changes(); },
    at: (point) => STEPS * (point.x - CHART.left) / (CHART.right - CHART.left),
    say: (step) => `T = ${shortly(temperatureAt(step))}`,
  });
  const follow = () => {
    const step = model.get("step");
    paintBars(model.get("answer"), temperatureAt(step));
    put(grip, { transform: `translate(${X(step).toFixed(1)} 0)` });
    told();
    painted(el, svg, model.get("alt"));
  };
  const rebuild = () => {
    paintImage(model.get("answer"));
    paintChart(model.get("students"), model.get("alpha"));
    follow();
  };
  model.on("change:answer change:students change:alpha", rebuild);
  model.on("change:step change:alt", follow);
  rebuild();
  return () => model.off(null, null, null);
}

export default { render };
