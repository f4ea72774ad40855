"""A notebook that uses every kind of control of the frame, a flagship, and widgets that are broken on purpose."""

from __future__ import annotations

from pathlib import Path

import nbformat

PICTURES = """
import torch
from sklearn.datasets import load_digits
from course_lib.widgets.start_here import fewer_bits
image = torch.tensor(load_digits().images[12] / 16)
"""

COSTS = """
from course_lib.measure import LayerCost
from course_lib.widgets.measuring import cost_explorer
costs, channels, side = [], 3, 32
for i, out in enumerate((64, 64, 128, 128, 256, 256, 256, 512, 512, 512, 512, 512, 512)):
    weights = 9 * channels * out
    costs.append(LayerCost(f"features.{i}", weights + out, weights * side**2, 4 * out * side**2))
    channels, side = out, side // 2 if i in (1, 3, 6, 9, 12) else side
costs.append(LayerCost("classifier", 5130, 5120, 40))
"""

CONTROLS = """
import ipywidgets
from course_lib.widgets.frame import Canvas, LessonWidget, Question, View, kit
from traitlets import Float

def paint(**values):
    words = ", ".join(f"{name} {value}" for name, value in values.items())
    return View(words, alt=words, svg=f"<text x='9' y='30' fill='currentColor'>{words}</text>", size=(640, 40))

def every_control():
    controls = {
        "amount": ipywidgets.FloatSlider(0.25, min=0, max=1, step=0.05, readout_format=".0%", description="amount"),
        "span": ipywidgets.IntRangeSlider(value=(2, 7), min=0, max=9, description="span"),
        "kind": ipywidgets.Dropdown(options=("one", "two"), description="kind"),
        "scope": ipywidgets.ToggleButtons(options=("global", "layer"), description="scope"),
        "grain": ipywidgets.RadioButtons(options=("weight", "filter"), description="grain"),
        "signed": ipywidgets.Checkbox(False, description="signed"),
        "loud": ipywidgets.ToggleButton(False, description="loud"),
    }
    bet = Question("Which one?", answer="two", choices=("one", "two"))
    presets = {"little": {"amount": 0.1}, "much": {"amount": 0.9}}
    return LessonWidget("Every control", controls=controls, paint=paint, presets=presets, question=bet)
"""

FLAGSHIP = """
class Threshold(Canvas):
    _esm = kit('''
      function render({ model, el }) {
        const svg = sheet(el, 640, 80);
        shape("line", { x1: 20, x2: 620, y1: 40, y2: 40, stroke: "currentColor" }, svg);
        const grip = shape("rect", { y: 15, width: 14, height: 50, rx: 4, fill: "#D55E00" }, svg);
        const told = draggable(svg, grip, {
          label: "threshold", low: 0, high: 1, step: 0.01,
          get: () => model.get("threshold"),
          set: (value) => { model.set("threshold", value); model.save_changes(); },
          at: (point) => (point.x - 20) / 600,
          say: (value) => value.toFixed(2),
        });
        const paint = () => {
          grip.setAttribute("x", 13 + 600 * model.get("threshold"));
          told();
          painted(el, svg, model.get("alt"));
        };
        model.on("change:threshold change:alt", paint);
        paint();
      }
      export default { render };
    ''')
    threshold = Float(0.2).tag(sync=True)

def flagship():
    canvas = Threshold()
    slider = ipywidgets.FloatSlider(0.2, min=0, max=1, step=0.01, description="threshold")
    ipywidgets.link((canvas, "threshold"), (slider, "value"))
    words = lambda threshold: View(f"threshold {threshold:.2f}", alt=f"threshold {threshold:.2f}")
    return LessonWidget("A flagship", controls={"threshold": slider}, paint=words, canvas=canvas,
                        presets={"low": {"threshold": 0.1}, "high": {"threshold": 0.8}})
"""

CLIP = """
import torch
from course_lib.data import load
from course_lib.models import mlp
from course_lib.widgets.uniform_quantization import quantization_clip

seen = load("digits").validation
"""

DEAD = """
def dead():
    slider = ipywidgets.IntSlider(2, min=0, max=9, description="amount")
    return LessonWidget("Dead", controls={"amount": slider}, paint=lambda amount: View("x", alt="x", svg="<g/>"))
"""

RAISING = """
def raising():
    slider = ipywidgets.IntSlider(2, min=0, max=9, description="amount")
    words = lambda amount: View(str(1 / (amount - 3)), alt="x", svg=f"<text>{amount}</text>")
    return LessonWidget("Raising", controls={"amount": slider}, paint=words)
"""


def write_sample(path: Path, setup: str, *shown: str) -> None:
    """Write a notebook: one cell of definitions, then a cell for each expression that shows a widget."""
    cells = [nbformat.v4.new_code_cell(setup.strip(), metadata={"tags": ["setup"]})]
    cells += [nbformat.v4.new_code_cell(expression, metadata={"tags": ["widget"]}) for expression in shown]
    cells.append(nbformat.v4.new_markdown_cell("The end."))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    nbformat.write(nbformat.v4.new_notebook(cells=cells, metadata={"kernelspec": kernel}), path)
