// The histogram of a layer with its shared values to drag, weights sliding to them, and where that leads.
// `pack` comes once for each layer; while a value is dragged, borders and slides are drawn without the kernel.

const WIDTH = 640, HEIGHT = 452;
const PLOT = { left: 16, right: 624, top: 26, base: 176 }; // the histogram
const KNOB = 192, DEPART = 222, ARRIVE = 262; // heights of the knobs, and of the weights before and after
const LOWER = { top: 316, bottom: 412 }, INERTIA = { left: 62, right: 284 }, SIZES = { left: 392, right: 612 };
const ONE = "#0072B2", OTHER = "#56B4E9", VALUE = "#D55E00", PAPER = "var(--jp-layout-color0, white)";
const STEPS = 400; // places a value can be moved to by keyboard and mouse

// Which of the ascending values is nearest; halfway it is the lower one.
function nearest(ordered, x) {
  let best = 0;
  for (let i = 1; i < ordered.length; i++) if (Math.abs(ordered[i] - x) < Math.abs(ordered[best] - x)) best = i;
  return best;
}

// ---- the histogram: bars in two shades, by cluster

function histogram(root, data, X) {
  const tall = (PLOT.base - PLOT.top) / Math.max(...data.counts), wide = (PLOT.right - PLOT.left) / data.counts.length;
  const shades = [ONE, OTHER].map((fill) => shape("path", { fill }, root));
  const borders = shape("path", { stroke: "currentColor", "stroke-opacity": 0.6, "stroke-dasharray": "3 3" }, root);
  shape("line", { x1: PLOT.left, x2: PLOT.right, y1: PLOT.base, y2: PLOT.base, stroke: "currentColor" }, root);
  write(root, PLOT.left, 15, `${data.n.toLocaleString("en-US")} weights of ${data.layer}; the shades show who shares`, { "font-weight": 600 });
  const middles = data.counts.map((_, bin) => data.low + (data.high - data.low) * (bin + 0.5) / data.counts.length);
  return (ordered) => {
    const paths = ["", ""];
    data.counts.forEach((count, bin) => {
      if (count) paths[nearest(ordered, middles[bin]) % 2] += box(PLOT.left + bin * wide, PLOT.base - count * tall, wide - 0.8, count * tall);
    });
    shades.forEach((node, i) => put(node, { d: paths[i] }));
    put(borders, { d: ordered.slice(1).map((c, i) => `M${X((c + ordered[i]) / 2).toFixed(1)} ${PLOT.top}V${PLOT.base}`).join("") });
  };
}

// ---- a sample of the weights, sliding from where they were to the value they share

function slides(root, data, X) {
  const threads = shape("path", { stroke: ONE, "stroke-opacity": 0.35, fill: "none" }, root);
  const dots = shape("path", { fill: ONE }, root);
  write(root, PLOT.left, ARRIVE + 18, "slide 0: as trained; 1: all at their shared value", { "font-size": 11.5 });
  return (ordered, slide) => {
    let lines = "", marks = "";
    for (const weight of data.sample) {
      const from = X(weight), to = X(weight + slide * (ordered[nearest(ordered, weight)] - weight));
      const y = DEPART + slide * (ARRIVE - DEPART);
      lines += `M${from.toFixed(1)} ${DEPART}L${to.toFixed(1)} ${y.toFixed(1)}`;
      marks += `M${(to - 2.2).toFixed(1)} ${y.toFixed(1)}a2.2 2.2 0 1 0 4.4 0a2.2 2.2 0 1 0-4.4 0z`;
    }
    put(threads, { d: lines });
    put(dots, { d: marks });
  };
}

// ---- one knob for each shared value

function knobs(svg, root, model, data, X) {
  const toStep = (value) => Math.round(STEPS * (value - data.low) / (data.high - data.low || 1));
  const toValue = (step) => data.low + (data.high - data.low) * step / STEPS;
  const made = model.get("centroids").map((_, i) => {
    const grip = shape("g", { fill: VALUE, stroke: PAPER, "stroke-width": 1.5 }, root);
    shape("line", { y1: PLOT.top - KNOB, y2: 0, stroke: VALUE, "stroke-width": 2.2 }, grip);
    shape("rect", { x: -10, y: PLOT.top - KNOB, width: 20, height: KNOB - PLOT.top, fill: "transparent", stroke: "none" }, grip);
    shape("circle", { r: 9.5 }, grip);
    shape("path", { d: "M-2-4l-4 4l4 4M2-4l4 4l-4 4", fill: "none" }, grip);
    const told = draggable(svg, grip, {
      label: `shared value ${i + 1}`, low: 0, high: STEPS, step: 1,
      get: () => toStep(model.get("centroids")[i]),
      set: (step) => {
        model.set("centroids", model.get("centroids").map((c, j) => (j === i ? toValue(step) : c)));
        model.save_changes();
      },
      at: (point) => STEPS * (point.x - PLOT.left) / (PLOT.right - PLOT.left),
      say: (step) => toValue(step).toFixed(3),
    });
    return { grip, told };
  });
  return () => model.get("centroids").forEach((value, i) => {
    put(made[i].grip, { transform: `translate(${X(value).toFixed(1)} ${KNOB})` });
    made[i].told();
  });
}

// ---- below: the inertia of every codebook tried, and accuracy over bytes

function frame(root, area, title, xlabel) {
  write(root, area.left - 44, LOWER.top - 14, title, { "font-weight": 600 });
  shape("path", { d: `M${area.left} ${LOWER.top}V${LOWER.bottom}H${area.right}`, fill: "none", stroke: "currentColor", "stroke-opacity": 0.6 }, root);
  write(root, (area.left + area.right) / 2, LOWER.bottom + 32, xlabel, { "text-anchor": "middle", "font-size": 12 });
  return shape("g", {}, root);
}

function inertiaChart(root, model) {
  const layer = frame(root, INERTIA, "inertia of the codebooks you tried", "one after the other");
  return () => {
    layer.replaceChildren();
    const seen = model.get("inertias"), least = model.get("least"), most = Math.max(...seen, 1.2 * least);
    const Y = (value) => LOWER.bottom - 0.94 * (LOWER.bottom - LOWER.top) * value / most;
    const at = seen.map((value, i) => [INERTIA.left + 8 + (INERTIA.right - INERTIA.left - 16) * i / Math.max(12, seen.length - 1), Y(value)]);
    shape("line", { x1: INERTIA.left, x2: INERTIA.right, y1: Y(least), y2: Y(least), stroke: "currentColor", "stroke-dasharray": "5 4" }, layer);
    write(layer, INERTIA.right, Y(least) - 6, `least possible ${least.toPrecision(3)}`, { "text-anchor": "end", "font-size": 11.5 });
    shape("polyline", { points: at.join(" "), fill: "none", stroke: ONE, "stroke-width": 1.8 }, layer);
    at.forEach(([x, y], i) => shape("circle", { cx: x, cy: y, r: i === at.length - 1 ? 5 : 2.6, fill: i === at.length - 1 ? VALUE : ONE }, layer));
    write(layer, INERTIA.left - 6, Y(most) + 4, String(Number(most.toPrecision(2))), { "text-anchor": "end", "font-size": 11.5 });
    write(layer, INERTIA.left - 6, LOWER.bottom + 4, "0", { "text-anchor": "end", "font-size": 11.5 });
  };
}

function sizeChart(root, model) {
  const layer = frame(root, SIZES, "codebook sizes: accuracy", "bytes of this layer");
  return () => {
    layer.replaceChildren();
    const trail = model.get("trail"), most = 1.25 * Math.max(...trail.map(([, bytes]) => bytes));
    const lowest = Math.max(0, Math.min(...trail.map(([, , accuracy]) => accuracy)) - 0.02);
    const X = (bytes) => SIZES.left + (SIZES.right - SIZES.left) * bytes / most;
    const Y = (accuracy) => LOWER.bottom - (LOWER.bottom - LOWER.top) * (accuracy - lowest) / (1 - lowest);
    for (const level of [lowest, 1]) write(layer, SIZES.left - 6, Y(level) + 4, `${(100 * level).toFixed(0)} %`, { "text-anchor": "end", "font-size": 11.5 });
    for (const bytes of [0, most / 1.25]) write(layer, X(bytes), LOWER.bottom + 16, Math.round(bytes).toLocaleString("en-US"), { "text-anchor": "middle", "font-size": 11.5 });
    trail.forEach(([bits, bytes, accuracy], i) => {
      const now = i === trail.length - 1;
      shape("circle", { cx: X(bytes), cy: Y(accuracy), r: now ? 6 : 4, fill: now ? VALUE : PAPER, stroke: now ? VALUE : ONE, "stroke-width": 1.8 }, layer);
      write(layer, X(bytes), Y(accuracy) + (accuracy > 0.5 + lowest / 2 ? 19 : -10), `${bits} bit${bits > 1 ? "s" : ""}`, { "text-anchor": "middle", "font-size": 11.5, "font-weight": now ? 700 : 400 });
    });
  };
}

function iterationButton(el, model) {
  const button = document.createElement("button");
  button.className = "lm-Widget jupyter-widgets jupyter-button widget-button";
  button.style.width = "auto";
  button.textContent = "One iteration of k-means";
  button.addEventListener("click", () => {
    model.set("asked", model.get("asked") + 1);
    model.save_changes();
  });
  el.append(button);
}

function render({ model, el }) {
  iterationButton(el, model);
  const svg = sheet(el, WIDTH, HEIGHT), root = shape("g", {}, svg);
  let repaint = () => {}, built = "";
  const kind = () => `${model.get("pack").layer} ${model.get("centroids").length}`;
  const build = () => {
    built = kind();
    root.replaceChildren();
    const data = model.get("pack"), X = (value) => PLOT.left + (PLOT.right - PLOT.left) * (value - data.low) / (data.high - data.low || 1);
    const bars = histogram(root, data, X), sliding = slides(root, data, X);
    const charts = [inertiaChart(root, model), sizeChart(root, model)], places = knobs(svg, root, model, data, X);
    for (const [value, anchor] of [[data.low, "start"], [data.high, "end"]])
      write(root, X(value), PLOT.base + 40, value.toFixed(2), { "text-anchor": anchor, "font-size": 11.5 });
    repaint = () => {
      const ordered = [...model.get("centroids")].sort((a, b) => a - b);
      bars(ordered);
      sliding(ordered, model.get("slide"));
      places();
      charts.forEach((chart) => chart());
      painted(el, svg, model.get("alt"));
    };
    repaint();
  };
  const rebuild = whenFree(root, build), follow = () => (kind() === built ? repaint() : rebuild());
  model.on("change:pack change:centroids change:slide change:inertias change:trail change:alt", follow);
  build();
  return () => model.off(null, null, null);
}

export default { render };
