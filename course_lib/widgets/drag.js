// What every flagship (a figure that is dragged itself) starts with. Nothing is exported: `kit()` pastes its code below.

// Make an SVG shape inside `parent`: shape("rect", { x: 1, width: 9 }, svg).
function shape(name, attributes, parent) {
  const node = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, value] of Object.entries(attributes || {})) node.setAttribute(key, value);
  if (attributes && attributes.text !== undefined) node.textContent = attributes.text;
  if (parent) parent.append(node);
  return node;
}

// Change a shape: attributes, and its text only where it differs.
function put(node, attributes) {
  for (const [key, value] of Object.entries(attributes)) if (key !== "text") node.setAttribute(key, value);
  if (attributes.text !== undefined && node.textContent !== attributes.text) node.textContent = attributes.text;
}

// A line of text inside `parent`.
function write(parent, x, y, text, more) {
  return shape("text", { x, y, text, "font-size": 13, fill: "currentColor", ...more }, parent);
}

// A rectangle as part of a path; a whole number with its thousands apart.
const box = (x, y, width, height) => `M${x.toFixed(2)} ${y.toFixed(2)}h${width.toFixed(2)}v${height.toFixed(2)}h${(-width).toFixed(2)}z`;
const whole = (number) => number.toLocaleString("en-US");

// The <svg> of the figure, which scales with the page. Group, not img: an img would hide the handle inside it.
function sheet(el, width, height) {
  const svg = shape("svg", { viewBox: `0 0 ${width} ${height}`, role: "group", style: "width:100%;height:auto" });
  el.append(svg);
  return svg;
}

// Call after painting: says what is shown, and that a new frame stands.
function painted(el, svg, alt) {
  svg.setAttribute("aria-label", alt);
  el.dataset.frame = String(Number(el.dataset.frame || 0) + 1);
}

// Where a pointer event is, in the drawing's own units.
function pointIn(svg, event) {
  return new DOMPoint(event.clientX, event.clientY).matrixTransform(svg.getScreenCTM().inverse());
}

// Make `handle` (an SVG shape) a slider for mouse, touch, keyboard and screen reader.
//   label: its name;  low, high, step: of its value;  get() -> value;  set(value);
//   at(point) -> value under a point of the drawing;  say(value) -> the value in words.
// Returns a function to call after each paint.
function draggable(svg, handle, { label, low, high, step, get, set, at, say }) {
  const clamp = (value) => Math.min(high, Math.max(low, low + step * Math.round((value - low) / step)));
  const move = (value) => {
    const next = clamp(value);
    if (next !== get()) set(next);
  };
  handle.classList.add("sn-drag");
  const fixed = { role: "slider", tabindex: "0", "aria-label": label, "aria-valuemin": low, "aria-valuemax": high };
  for (const [key, value] of Object.entries(fixed)) handle.setAttribute(key, value);
  handle.setAttribute("data-lm-suppress-shortcuts", "true");
  handle.addEventListener("pointerdown", (event) => {
    handle.setPointerCapture(event.pointerId);
    handle.classList.add("sn-held");
    handle.focus();
    event.preventDefault();
  });
  handle.addEventListener("lostpointercapture", () => handle.classList.remove("sn-held"));
  handle.addEventListener("pointermove", (event) => {
    if (handle.hasPointerCapture(event.pointerId)) move(at(pointIn(svg, event)));
  });
  handle.addEventListener("keydown", (event) => {
    const steps = { ArrowRight: 1, ArrowUp: 1, ArrowLeft: -1, ArrowDown: -1, PageUp: 10, PageDown: -10 }[event.key];
    const ends = { Home: low, End: high };
    if (steps === undefined && ends[event.key] === undefined) return;
    event.preventDefault();
    move(steps === undefined ? ends[event.key] : get() + steps * step);
  });
  return () => {
    handle.setAttribute("aria-valuenow", get());
    handle.setAttribute("aria-valuetext", say(get()));
  };
}

// `build`, which makes the figure anew, but not while a handle in it is held: then as soon as it is let go.
function whenFree(root, build) {
  return () => {
    const held = root.querySelector(".sn-held");
    if (held) held.addEventListener("lostpointercapture", build, { once: true });
    else build();
  };
}
