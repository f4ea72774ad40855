// Keeps the controls of one lesson's widget usable by keyboard and by screen reader, also those drawn later.
// JupyterLab takes `x` and `d d` pressed on a slider as "cut the cell" and "delete it", and sliders have no name.

const CONTROLS = "button, input, select, textarea, [tabindex], [contenteditable]";

function put(node, name, value) {
  if (value && node.getAttribute(name) !== value) node.setAttribute(name, value);
}

// ipywidgets writes a zero-width space where a label is empty.
function text(node) {
  return node ? node.textContent.replace(/\u200b/g, "").trim() : "";
}

// The label that ipywidgets draws beside a control: its `description`.
function description(control) {
  const widget = control.closest(".widget-slider, .widget-radio, .widget-toggle-buttons, .widget-inline-hbox, .jupyter-widgets");
  return text(widget && widget.querySelector(".widget-label, .jupyter-widget-label"));
}

function ownText(control) {
  return text(control.tagName === "BUTTON" ? control : control.closest("label"));
}

function nameOf(control) {
  const group = description(control);
  const own = ownText(control);
  if (control.matches(".noUi-handle")) {
    const handles = [...control.closest(".noUi-base").querySelectorAll(".noUi-handle")];
    return handles.length < 2 ? group : `${group}, ${control === handles[0] ? "from" : "to"}`;
  }
  if (control.matches(".widget-readout")) return `${group}, as text`;
  return own && group && own !== group ? `${group}: ${own}` : own || group;
}

// A slider's value as its read-out shows it ("25%"), not as the raw number (0.25).
function valueOf(handle) {
  const widget = handle.closest(".widget-slider");
  const readout = widget && widget.querySelector(".widget-readout");
  return readout ? text(readout) : handle.getAttribute("aria-valuenow");
}

function repair(root, title) {
  put(root, "role", "group");
  put(root, "aria-label", title);
  for (const live of root.querySelectorAll(".sn-formula, .sn-said")) put(live, "aria-live", "polite");
  for (const control of root.querySelectorAll(CONTROLS)) {
    put(control, "data-lm-suppress-shortcuts", "true");
    if (control.closest(".sn-drag")) continue; // it names itself
    put(control, "aria-label", nameOf(control) || title);
    if (control.matches(".noUi-handle")) put(control, "aria-valuetext", valueOf(control));
    if (control.matches(".widget-readout")) put(control, "role", "textbox");
    if (control.matches(".widget-toggle-buttons button, .widget-toggle-button")) {
      put(control, "aria-pressed", String(control.classList.contains("mod-active")));
    }
  }
}

function render({ model, el }) {
  el.classList.add("sn-keeper");
  let waiting = 0;
  let observer = null;
  const attach = () => {
    const root = el.closest(".sn-widget");
    if (!root) {
      waiting = requestAnimationFrame(attach); // not in the page yet
      return;
    }
    const all = { subtree: true, childList: true, characterData: true, attributes: true };
    observer = new MutationObserver(() => repair(root, model.get("title")));
    observer.observe(root, { ...all, attributeFilter: ["aria-valuetext", "aria-valuenow", "class", "tabindex"] });
    repair(root, model.get("title"));
  };
  attach();
  return () => {
    cancelAnimationFrame(waiting);
    if (observer) observer.disconnect();
  };
}

export default { render };
