"""What does each layer cost? Parameters against multiplications, layer by layer. Lesson 01."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from itertools import count as numbers

import ipywidgets
from matplotlib.figure import Figure

from course_lib.errors import CourseError
from course_lib.measure import LayerCost
from course_lib.viz import BLUE, ORANGE
from course_lib.widgets.cost_bars import cost_bars
from course_lib.widgets.frame import LessonWidget, Memory, Question, View

__all__ = ["cost_explorer", "half_of_the_weights", "ratio_and_speedup"]

NUMBERS = numbers()  # one for each widget
HEAVY = 0.9  # sparsity that the presets set


def cost_explorer(costs: Sequence[LayerCost], *, network: str = "VGG-16") -> LessonWidget:
    """Show each layer's share of parameters and MACs; pull one layer's sparsity and watch both ratios part ways.

    Sparsity is taken over all of a layer's parameters, its few biases included. Layers that multiply nothing
    (normalisation) count in the total and are not drawn.

    Args:
        costs: what `measure.layer_costs` returns; at least two layers that multiply.
        network: its name, for the titles.

    Returns:
        the widget; its controls are `layer` and `sparsity`.

    Raises:
        CourseError: `costs` is no list of LayerCost, or fewer than two layers multiply.

    >>> widget = cost_explorer([LayerCost("conv", 100, 9000, 0), LayerCost("linear", 900, 1000, 0)], network="A toy")
    >>> widget.layer.value, widget.sparsity.value = 1, 0.9
    >>> widget.alt.split(": ")[1]
    'compression ratio 5.3, theoretical speedup 1.1.'

    Lesson 01.
    """
    costs = checked_costs(costs)
    rows = [cost for cost in costs if cost.macs]
    layer = ipywidgets.Dropdown(options=[(cost.name, i) for i, cost in enumerate(rows)], description="layer")
    sparsity = ipywidgets.FloatSlider(0, min=0, max=0.99, step=0.01, description="its sparsity")
    sparsities = Memory(value=(0.0,) * len(rows))
    keep_one_layer_in_hand(layer, sparsity, sparsities)
    return LessonWidget(
        f"{network}, layer by layer: where are the weights, where is the work?",
        controls={"layer": layer, "sparsity": sparsity, "sparsities": sparsities},
        paint=partial(paint, costs, f"sn-gone-{next(NUMBERS)}"),
        presets=presets(rows),
        question=question(costs, network),
        static=lambda: still(costs),
    )


def keep_one_layer_in_hand(layer: ipywidgets.Dropdown, sparsity: ipywidgets.FloatSlider, sparsities: Memory) -> None:
    """Let the slider set the chosen layer's sparsity, and show it whenever another layer or a preset is chosen."""

    def pull(change: dict) -> None:
        values = list(sparsities.value)
        values[layer.value] = change["new"]
        sparsities.value = tuple(values)

    def show(_: dict) -> None:
        sparsity.value = sparsities.value[layer.value]

    sparsity.observe(pull, names="value")
    layer.observe(show, names="value")
    sparsities.observe(show, names="value")


def ratio_and_speedup(costs: Sequence[LayerCost], sparsities: Sequence[float]) -> tuple[float, float]:
    """Return total / non-zero parameters, and MACs / MACs on non-zero weights.

    Args:
        costs: all layers.
        sparsities: 0..1, one for each layer that multiplies, in order.

    >>> ratio_and_speedup([LayerCost("a", 100, 9000, 0), LayerCost("b", 900, 1000, 0)], [0.0, 0.5])
    (1.8181818181818181, 1.0526315789473684)
    """
    rows = [cost for cost in costs if cost.macs]
    removed = sum(cost.parameters * s for cost, s in zip(rows, sparsities, strict=True))
    spared = sum(cost.macs * s for cost, s in zip(rows, sparsities, strict=True))
    parameters, macs = totals(costs)
    return parameters / (parameters - removed), macs / (macs - spared)


def half_of_the_weights(costs: Sequence[LayerCost]) -> list[LayerCost]:
    """Return the largest layers that together come nearest to half of all parameters.

    Of layers of equal size, those with fewer MACs come first.

    >>> costs = [LayerCost("a", 40, 9, 0), LayerCost("b", 48, 5, 0), LayerCost("c", 12, 1, 0)]
    >>> [cost.name for cost in half_of_the_weights(costs)]
    ['b']
    """
    ranked = sorted((cost for cost in costs if cost.macs), key=lambda cost: (-cost.parameters, cost.macs))
    half = totals(costs)[0] / 2
    distances = [abs(half - sum(cost.parameters for cost in ranked[:n])) for n in range(1, len(ranked) + 1)]
    chosen = ranked[: distances.index(min(distances)) + 1]
    return [cost for cost in costs if cost in chosen]


def question(costs: Sequence[LayerCost], network: str) -> Question:
    """Ask which share of the MACs is in the layers with half of the weights; the answer comes from `costs`."""
    parameters, macs = totals(costs)
    heavy = half_of_the_weights(costs)
    named = " and ".join(part for part in (", ".join(c.name for c in heavy[:-1]), heavy[-1].name) if part)
    weights = sum(cost.parameters for cost in heavy) / parameters
    verb = "holds" if len(heavy) == 1 else "hold"
    text = f"{named} {verb} {weights:.0%} of {network}'s parameters. Which share of its MACs is there?"
    return Question(text, answer=sum(cost.macs for cost in heavy) / macs)


def presets(rows: Sequence[LayerCost]) -> dict[str, dict[str, object]]:
    """Return telling settings; a convolution is known by using its weights more than once."""
    convolutions = [i for i, cost in enumerate(rows) if cost.macs > cost.parameters]
    cases = {"Dense": [], "All at 0.9": range(len(rows))}
    if len(convolutions) >= 3:
        cases |= {
            "First two convolutions at 0.9": convolutions[:2],
            "Last three convolutions at 0.9": convolutions[-3:],
        }
    return {name: thinned(list(layers), len(rows)) for name, layers in cases.items()}


def thinned(layers: list[int], n_layers: int) -> dict[str, object]:
    """Return the controls' values that thin out `layers`, with the first of them in hand."""
    sparsities = tuple(HEAVY if i in layers else 0.0 for i in range(n_layers))
    chosen = layers[0] if layers else 0
    return {"layer": chosen, "sparsities": sparsities, "sparsity": sparsities[chosen]}


def paint(costs: Sequence[LayerCost], gone: str, layer: int, sparsities: Sequence[float], **_: object) -> View:
    """Draw a row for each layer, parameters to the left and MACs to the right, and the two ratios below.

    `gone` names the hatch of what is removed: one name a widget, as a hatch in a hidden widget does not show elsewhere.
    """
    rows = [cost for cost in costs if cost.macs]
    parameters, macs = totals(costs)
    ratio, speedup = ratio_and_speedup(costs, sparsities)
    shares = [(cost.parameters / parameters, cost.macs / macs) for cost in rows]
    svg, height = cost_bars([cost.name for cost in rows], shares, sparsities, (ratio, speedup), layer, gone)
    ratios = f"compression ratio {ratio:.1f}, theoretical speedup {speedup:.1f}."
    alt = f"Shares of parameters and MACs of {len(rows)} layers: {ratios}"
    return View(formula(parameters, macs, ratio, speedup), alt, svg=svg, size=(640, height))


def formula(parameters: int, macs: int, ratio: float, speedup: float) -> str:
    """Write both ratios with their numbers."""
    kept, used = count(parameters / ratio), count(macs / speedup)
    return (
        f"compression ratio = total / non-zero parameters = {count(parameters)} / {kept} = <b>{ratio:.2f}</b><br>"
        f"theoretical speedup = MACs / MACs on non-zero weights = {count(macs)} / {used} = <b>{speedup:.2f}</b>"
    )


def count(number: float) -> str:
    """Write a large number short.

    >>> count(14_728_266), count(5130)
    ('14.73 M', '5,130')
    """
    digits = 1 if number >= 1e8 else 2
    return f"{number / 1e6:,.{digits}f} M" if number >= 1e5 else f"{number:,.0f}"


def totals(costs: Sequence[LayerCost]) -> tuple[int, int]:
    """Return all parameters and all MACs."""
    return sum(cost.parameters for cost in costs), sum(cost.macs for cost in costs)


def still(costs: Sequence[LayerCost]) -> Figure:
    """Draw the shares of the dense network, for places where no widget runs."""
    rows = [cost for cost in costs if cost.macs]
    parameters, macs = totals(costs)
    figure = Figure(figsize=(6.4, 0.9 + 0.17 * len(rows)), layout="constrained")
    left, right = figure.subplots(1, 2, sharey=True)
    names = [cost.name for cost in rows]
    left.barh(names, [-100 * cost.parameters / parameters for cost in rows], color=BLUE)
    right.barh(names, [100 * cost.macs / macs for cost in rows], color=ORANGE)
    longest = 105 * max(max(cost.parameters / parameters, cost.macs / macs) for cost in rows)
    left.set(title="parameters, %", xlim=(-longest, 0))
    right.set(title="MACs, %", xlim=(0, longest))
    left.xaxis.set_major_formatter(lambda x, _: f"{abs(x):g}")
    left.invert_yaxis()
    for axes in (left, right):
        axes.tick_params(labelsize=7)
        axes.spines[["top", "right", "left"]].set_visible(False)
    return figure


def checked_costs(costs: object) -> list[LayerCost]:
    """Return `costs` as a list if at least two of its layers multiply, else raise a CourseError."""
    fix = "Pass costs=layer_costs(model, input_shape)."
    if not isinstance(costs, Sequence) or not all(isinstance(cost, LayerCost) for cost in costs):
        raise CourseError(f"costs must be a list of LayerCost, but you passed {type(costs).__name__}. {fix}")
    n_rows = sum(bool(cost.macs) for cost in costs)
    if n_rows < 2:
        raise CourseError(f"costs needs at least two layers that multiply, but you passed {n_rows}. {fix}")
    return list(costs)
