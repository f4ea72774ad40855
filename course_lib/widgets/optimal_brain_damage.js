// One weight on its loss curve with the parabola through it, and where it stands in two rankings.
// `pack` comes once for each weight; while the weight is dragged nothing waits for the kernel.

const WIDTH = 640, HEIGHT = 330;
const PLOT = { left: 62, right: 404, top: 34, bottom: 272 }; // the curve
const RANK = { left: 472, right: 594, top: 52, bottom: 272 }; // the two rankings
const ACTUAL = "#0072B2", FORETOLD = "#D55E00", PAPER = "var(--jp-layout-color0, white)";

const signed = (value) => (value < 0 ? "−" : "+") + Math.abs(value).toPrecision(2);

// ---- the curve: x is how far the weight has moved to zero, y the loss

function scales(data) {
  const all = [...data.losses, ...data.parabola], low = Math.min(...all), high = Math.max(...all);
  const room = (high - low) * 0.08 || 1e-6, from = data.moves[0], to = data.moves[data.moves.length - 1];
  return {
    X: (move) => PLOT.left + (PLOT.right - PLOT.left) * (move - from) / (to - from),
    Y: (loss) => PLOT.bottom - (PLOT.bottom - PLOT.top) * (loss - low + room) / (high - low + 2 * room),
    moveAt: (x) => from + (to - from) * (x - PLOT.left) / (PLOT.right - PLOT.left),
    low, high,
  };
}

function curve(root, data, scale) {
  const { X, Y } = scale, at = (values) => values.map((value, i) => `${X(data.moves[i])},${Y(value)}`).join(" ");
  const { left, right, top, bottom } = PLOT;
  shape("path", { d: `M${left} ${top}V${bottom}H${right}`, fill: "none", stroke: "currentColor", "stroke-opacity": 0.6 }, root);
  for (const value of [scale.low, scale.high]) {
    write(root, left - 6, Y(value) + 4, value.toFixed(4), { "text-anchor": "end", "font-size": 11.5 });
    shape("line", { x1: left, x2: right, y1: Y(value), y2: Y(value), stroke: "currentColor", "stroke-opacity": 0.15 }, root);
  }
  write(root, left, 20, "loss", { "font-weight": 600 });
  for (const [move, words] of [[0, "as trained"], [1, "removed"]]) {
    shape("line", { x1: X(move), x2: X(move), y1: top, y2: bottom, stroke: "currentColor", "stroke-opacity": 0.4, "stroke-dasharray": "2 3" }, root);
    write(root, X(move), bottom + 17, words, { "text-anchor": "middle", "font-weight": 600 });
    write(root, X(move), bottom + 32, move ? "0" : data.w.toFixed(3), { "text-anchor": "middle" });
  }
  shape("polyline", { points: at(data.parabola), fill: "none", stroke: FORETOLD, "stroke-width": 2.2, "stroke-dasharray": "7 4" }, root);
  shape("polyline", { points: at(data.losses), fill: "none", stroke: ACTUAL, "stroke-width": 2.6 }, root);
  shape("path", { d: `M${left + 46} 16h26`, stroke: ACTUAL, "stroke-width": 2.6 }, root);
  write(root, left + 78, 20, "actual");
  shape("path", { d: `M${left + 134} 16h26`, stroke: FORETOLD, "stroke-width": 2.2, "stroke-dasharray": "7 4" }, root);
  write(root, left + 166, 20, "predicted: loss + ½hw²");
}

// ---- two rankings of the same weights: cheap at the bottom, dear at the top

function rankings(root, data) {
  const { left, right, top, bottom } = RANK, Y = (rank) => bottom - (bottom - top) * (rank - 1) / Math.max(1, data.n - 1);
  write(root, (left + right) / 2, 20, "rank of the weights by", { "text-anchor": "middle", "font-weight": 600 });
  for (const [x, words] of [[left, "magnitude"], [right, "saliency"]]) {
    write(root, x, 38, words, { "text-anchor": "middle" });
    shape("line", { x1: x, x2: x, y1: top, y2: bottom, stroke: "currentColor", "stroke-width": 1.5 }, root);
    write(root, x, bottom + 17, "1", { "text-anchor": "middle", "font-size": 11.5 });
  }
  write(root, (left + right) / 2, bottom + 17, "goes first", { "text-anchor": "middle", "font-size": 11.5 });
  const lines = data.pairs.map(([size, cost]) => `M${left} ${Y(size)}L${right} ${Y(cost)}`).join("");
  shape("path", { d: lines, stroke: "currentColor", "stroke-opacity": 0.22, fill: "none" }, root);
  shape("path", { d: `M${left} ${Y(data.size)}L${right} ${Y(data.cost)}`, stroke: ACTUAL, "stroke-width": 3 }, root);
  for (const [x, rank, anchor, shift] of [[left, data.size, "end", -9], [right, data.cost, "start", 9]]) {
    shape("circle", { cx: x, cy: Y(rank), r: 5.5, fill: ACTUAL, stroke: PAPER, "stroke-width": 1.5 }, root);
    write(root, x + shift, Y(rank) + 4, String(rank), { "text-anchor": anchor, "font-weight": 700, fill: "currentColor" });
  }
}

// ---- the weight itself: a knob on the curve, and its shadow on the parabola

function knob(root, data, scale) {
  const gap = shape("line", { stroke: "currentColor", "stroke-width": 2 }, root);
  const shadow = shape("path", { d: "M0-6l6 6l-6 6l-6-6z", fill: FORETOLD, stroke: PAPER, "stroke-width": 1.2 }, root);
  const grip = shape("g", {}, root);
  shape("rect", { x: PLOT.left, y: PLOT.top, width: PLOT.right - PLOT.left, height: PLOT.bottom - PLOT.top, fill: "transparent", stroke: "none" }, grip);
  const dot = shape("g", { fill: ACTUAL, stroke: PAPER, "stroke-width": 1.5 }, grip);
  shape("circle", { r: 10 }, dot);
  shape("path", { d: "M-2-4l-4 4l4 4M2-4l4 4l-4 4", fill: "none" }, dot);
  const told = write(root, 0, 0, "", { "font-weight": 700, style: `paint-order:stroke;stroke:${PAPER};stroke-width:4px` });
  const paint = (step) => {
    const x = scale.X(data.moves[step]), y = scale.Y(data.losses[step]), z = scale.Y(data.parabola[step]);
    dot.setAttribute("transform", `translate(${x} ${y})`);
    shadow.setAttribute("transform", `translate(${x} ${z})`);
    put(gap, { x1: x, x2: x, y1: y, y2: z });
    const base = data.losses[data.trained], side = data.moves[step] > 0.55 ? -1 : 1;
    const words = `actual ${signed(data.losses[step] - base)}, predicted ${signed(data.parabola[step] - base)}`;
    put(told, { x: x + 16 * side, y: Math.max(PLOT.top + 12, Math.min(y, z) - 12), "text-anchor": side > 0 ? "start" : "end",
      text: step === data.trained ? "drag me to “removed”" : words });
  };
  return { grip, paint };
}

function render({ model, el }) {
  const svg = sheet(el, WIDTH, HEIGHT), root = shape("g", {}, svg);
  let repaint = () => {};
  const build = () => {
    const focused = root.contains(document.activeElement), data = model.get("pack");
    root.replaceChildren();
    const scale = scales(data);
    curve(root, data, scale);
    rankings(root, data);
    const weight = knob(root, data, scale), last = data.moves.length - 1;
    const nearest = (x) => Math.round(Math.min(1, Math.max(0, (scale.moveAt(x) - data.moves[0]) / (data.moves[last] - data.moves[0]))) * last);
    const move = (value) => { model.set("step", value); model.save_changes(); };
    weight.grip.addEventListener("pointerdown", (event) => move(nearest(pointIn(svg, event).x)));
    const told = draggable(svg, weight.grip, {
      label: "the weight", low: 0, high: last, step: 1, get: () => model.get("step"), set: move,
      at: (point) => nearest(point.x),
      say: (step) => `moved ${Math.round(100 * data.moves[step])} % of the way to zero, loss ${data.losses[step].toFixed(5)}, `
        + `predicted ${data.parabola[step].toFixed(5)}`,
    });
    repaint = () => {
      weight.paint(model.get("step"));
      told();
      painted(el, svg, model.get("alt"));
    };
    repaint();
    if (focused) weight.grip.focus();
  };
  model.on("change:pack", whenFree(root, build));
  model.on("change:step change:alt", () => repaint());
  build();
  return () => model.off(null, null, null);
}

export default { render };
