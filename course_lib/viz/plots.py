"""The figures that lessons share: data in, Picture out, with alt text made from the numbers shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from course_lib.errors import CourseError
from course_lib.viz.picture import BLUE, CYCLE, GREY, MARKERS, ORANGE, Picture, new_figure


def curves(
    x: Sequence[float],
    series: Mapping[str, Sequence[object]],
    *,
    xlabel: str,
    ylabel: str,
    caption: str,
    percent: bool = False,
    logx: bool = False,
    levels: Mapping[str, float] | None = None,
) -> Picture:
    """One curve with error bars for each series.

    Args:
        x: positions, in the order of the points.
        series: label -> one value for each x: a number, or a Summary with `.mean` and `.sd` (drawn as the bar).
        xlabel, ylabel: with their units.
        caption: what to see in it, one sentence.
        percent: write the y axis in percent (values are fractions).
        logx: logarithmic x axis.
        levels: label -> height of a dashed horizontal line.

    Raises:
        CourseError: there is no series, or one has another number of values than x.

    >>> curves([0, 1], {"a": [0.5, 0.6]}, xlabel="x", ylabel="y", caption="Up.").alt
    'Curves of y over x. a: from 0.5 at 0 to 0.6 at 1.'

    Lesson 02.
    """
    if not series:
        raise CourseError("There is no series to draw. Pass a dictionary: label -> one value for each x.")
    figure, (axes,) = new_figure()
    for number, (label, values) in enumerate(series.items()):
        if len(values) != len(x):
            raise CourseError(f"The series {label!r} has {len(values)} values for {len(x)} positions.")
        means, spreads = [mean_of(v) for v in values], [getattr(v, "sd", 0.0) for v in values]
        style = {"color": CYCLE[number % len(CYCLE)], "marker": MARKERS[number % len(MARKERS)]}
        bars = spreads if any(spreads) else None
        axes.errorbar(x, means, yerr=bars, label=label, capsize=2.5, markersize=4.5, linewidth=1.5, **style)
    for label, height in (levels or {}).items():
        axes.axhline(height, color=GREY, linestyle="--", linewidth=1, label=label)
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log" if logx else "linear")
    if len(x) <= 10 and all(float(place).is_integer() for place in x) and not logx:
        axes.set_xticks(list(x))
    if percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.legend(fontsize=9, frameon=False)
    return Picture(figure, caption, curves_alt(x, series, xlabel, ylabel, percent))


def mean_of(value: object) -> float:
    """The mean of a Summary, or the number itself."""
    return float(getattr(value, "mean", value))


def curves_alt(
    x: Sequence[float], series: Mapping[str, Sequence[object]], xlabel: str, ylabel: str, percent: bool
) -> str:
    """Curves in words: where each begins and ends."""
    write = (lambda value: f"{100 * value:.1f} %") if percent else (lambda value: f"{value:.3g}")
    ends = [
        f"{label}: from {write(mean_of(values[0]))} at {x[0]:.3g} to {write(mean_of(values[-1]))} at {x[-1]:.3g}"
        for label, values in series.items()
    ]
    return f"Curves of {ylabel} over {xlabel}. {'; '.join(ends)}."


def paired_bars(
    labels: Sequence[str], series: Mapping[str, Sequence[float]], *, ylabel: str, caption: str, logy: bool = False
) -> Picture:
    """Bars side by side, one group for each label, one colour and hatch for each series.

    Args:
        labels: names of the groups.
        series: name -> one number for each label.
        ylabel: with its unit.
        caption: what to see in it.
        logy: logarithmic y axis.

    Raises:
        CourseError: there is no series, or one has another number of values than there are labels.

    >>> paired_bars(["a"], {"one": [1.0], "two": [2.0]}, ylabel="n", caption="Two bars.").alt
    'Bars of n. a: one 1, two 2.'

    Lesson 01.
    """
    if not series or any(len(values) != len(labels) for values in series.values()):
        got = {name: len(values) for name, values in series.items()}
        raise CourseError(f"Each series needs one value for each of the {len(labels)} labels, but you passed {got}.")
    figure, (axes,) = new_figure()
    width = 0.8 / len(series)
    for number, (name, values) in enumerate(series.items()):
        places = [place + (number - (len(series) - 1) / 2) * width for place in range(len(labels))]
        axes.bar(
            places,
            values,
            width,
            label=name,
            color=CYCLE[number % len(CYCLE)],
            hatch=("", "//", "..")[number % 3],
            edgecolor="white",
        )
    axes.set(ylabel=ylabel, yscale="log" if logy else "linear")
    axes.set_xticks(
        range(len(labels)), labels, rotation=45 if len(labels) > 8 else 0, ha="right" if len(labels) > 8 else "center"
    )
    axes.legend(fontsize=9, frameon=False)
    groups = [
        f"{label}: " + ", ".join(f"{name} {values[place]:.3g}" for name, values in series.items())
        for place, label in enumerate(labels)
    ]
    return Picture(figure, caption, f"Bars of {ylabel}. {'; '.join(groups)}.")


def trade_off(
    points: Mapping[str, tuple[float, object]],
    *,
    xlabel: str,
    ylabel: str,
    caption: str,
    percent: bool = False,
    logx: bool = False,
) -> Picture:
    """One point with its error bar for each rival: what it costs to the right, what it is worth upwards.

    Args:
        points: name -> (cost, a number or a Summary with `.mean` and `.sd`).
        xlabel, ylabel: with their units.
        caption: what to see in it.
        percent: write the y axis in percent (values are fractions).
        logx: logarithmic x axis.

    Raises:
        CourseError: there is no point.

    >>> trade_off({"a": (10, 0.5)}, xlabel="cost", ylabel="worth", caption="One rival.").alt
    'Points of worth over cost. a: 0.5 at 10.'

    Lesson 15.
    """
    if not points:
        raise CourseError("There is no point to draw. Pass a dictionary: name -> (cost, value).")
    from matplotlib.ticker import LogLocator, NullLocator

    figure, (axes,) = new_figure()
    for number, (name, (cost, value)) in enumerate(points.items()):
        style = {"color": CYCLE[number % len(CYCLE)], "marker": MARKERS[number % len(MARKERS)], "linestyle": "none"}
        axes.errorbar(cost, mean_of(value), yerr=getattr(value, "sd", None), label=name, capsize=2.5, **style)
    axes.set(xlabel=xlabel, ylabel=ylabel, xscale="log" if logx else "linear")
    if logx:
        axes.xaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:g}")
        axes.xaxis.set_minor_locator(NullLocator())
    if percent:
        axes.yaxis.set_major_formatter(lambda value, _: f"{100 * value:g} %")
    axes.legend(fontsize=9, frameon=False)
    write = (lambda value: f"{100 * value:.1f} %") if percent else (lambda value: f"{value:.3g}")
    told = [f"{name}: {write(mean_of(value))} at {cost:.3g}" for name, (cost, value) in points.items()]
    return Picture(figure, caption, f"Points of {ylabel} over {xlabel}. {'; '.join(told)}.")


def histogram(values: Tensor, *, xlabel: str, caption: str, threshold: float | None = None, bins: int = 81) -> Picture:
    """How often each size of number occurs; what lies within ±threshold is hatched.

    Args:
        values: any shape.
        xlabel: what the numbers are.
        caption: what to see in it.
        threshold: everything nearer to zero is marked.
        bins: how many bars.

    Raises:
        CourseError: fewer than two numbers.

    >>> histogram(torch.tensor([-1.0, 0.1, 2.0]), xlabel="weight", caption="w", threshold=0.5).alt
    'Histogram of 3 numbers (weight), from -1 to 2, standard deviation 1.52; 1 of them within ±0.5.'

    Lesson 02.
    """
    values = values.detach().flatten()
    if len(values) < 2:
        raise CourseError(f"A histogram needs at least two numbers, but you passed {len(values)}.")
    limit = float(values.abs().max())
    figure, (axes,) = new_figure()
    counts, edges = torch.histogram(values.float(), bins, range=(-limit, limit))
    centres, counts, width = ((edges[:-1] + edges[1:]) / 2).numpy(), counts.numpy(), float(edges[1] - edges[0])
    axes.bar(centres, counts, width, color=BLUE)
    alt = f"Histogram of {values.numel():,} numbers ({xlabel}), from {values.min():.3g} to {values.max():.3g}, "
    alt += f"standard deviation {values.std():.3g}"
    if threshold is not None:
        inside = abs(centres) < threshold
        axes.bar(centres[inside], counts[inside], width, color=ORANGE, hatch="///", edgecolor="white", linewidth=0)
        for side in (-threshold, threshold):
            axes.axvline(side, color=ORANGE, linestyle="--")
        alt += f"; {int((values.abs() < threshold).sum()):,} of them within ±{threshold:.3g}"
    axes.set(xlabel=xlabel, ylabel="how many")
    return Picture(figure, caption, alt + ".")


def images(
    pictures: Mapping[str, Tensor], *, caption: str, alt: str, cmap: str = "gray_r", symmetric: bool = False
) -> Picture:
    """Small images side by side, each with its title.

    Args:
        pictures: title -> (height, width).
        caption: what to see in it.
        alt: the images in words.
        cmap: matplotlib's colour map.
        symmetric: put zero in the middle of the colour map.

    >>> images({"a": torch.zeros(2, 2)}, caption="c", alt="white").alt
    'white'

    Lesson 02.
    """
    figure, axes = new_figure(columns=len(pictures), size=(max(2.2, 1.7 * len(pictures)), 2.1))
    for place, (title, picture) in zip(axes, pictures.items(), strict=True):
        limit = float(picture.abs().max()) or 1.0
        place.imshow(picture.detach().numpy(), cmap=cmap, vmin=-limit if symmetric else 0, vmax=limit)
        place.set_title(title, fontsize=9)
        place.grid(False)
        place.set(xticks=[], yticks=[])
    return Picture(figure, caption, alt)
