"""Figures are small, and say in words what they show."""

from __future__ import annotations

import io
from html.parser import HTMLParser

import pytest
import torch
from PIL import Image

from course_lib import viz
from course_lib.errors import CourseError
from course_lib.evidence import Summary
from course_lib.viz.picture import MARKERS

LIMIT = 40 * 1024


def weights(n: int = 50_000) -> torch.Tensor:
    return torch.randn(n, generator=torch.Generator().manual_seed(0))


FIGURES = {
    "curves": lambda: viz.curves(
        [1, 2, 5, 10, 50, 100],
        {name: [Summary(0.9 - k / 10 - x / 20, 0.03, 5) for x in range(6)] for k, name in enumerate("abcdefgh")},
        xlabel="compression", ylabel="accuracy", caption="Falls.", percent=True, logx=True, levels={"dense": 0.97},
    ),
    "bars": lambda: viz.paired_bars(
        [f"layer {k}" for k in range(16)], {"weights": [k + 1.0 for k in range(16)], "MACs": [99.0 / (k + 1) for k in range(16)]},
        ylabel="share", caption="Not the same.", logy=True,
    ),
    "histogram": lambda: viz.histogram(weights(), xlabel="weight", caption="A bell.", threshold=0.5),
    "images": lambda: viz.images({f"{k}": torch.rand(28, 28) - 0.5 for k in range(6)}, caption="Noise.", alt="Six noisy squares.", symmetric=True),
}  # fmt: skip


class Tags(HTMLParser):
    """Collect the attributes of every image."""

    def __init__(self) -> None:
        super().__init__()
        self.images: list[dict] = []

    def handle_starttag(self, tag, attrs) -> None:
        if tag == "img":
            self.images.append(dict(attrs))


def alt_in_html(picture: viz.Picture) -> str:
    parser = Tags()
    parser.feed(picture._repr_html_())
    (image,) = parser.images
    return image["alt"]


@pytest.mark.parametrize("name", FIGURES)
def test_figures_are_small_and_described(name):
    picture = FIGURES[name]()
    data = viz.png(picture.figure)
    assert 1000 < len(data) <= LIMIT
    assert Image.open(io.BytesIO(data)).size[0] >= 200
    assert len(picture.alt) > 10
    assert picture.caption
    assert alt_in_html(picture) == picture.alt
    assert len(picture._repr_html_()) < LIMIT * 4 / 3 + 4096
    assert repr(picture) == f"Figure: {picture.caption} {picture.alt}"


@pytest.mark.parametrize("percent", [False, True])
def test_the_alt_text_of_curves_has_the_numbers_shown(percent):
    series = {"ours": [Summary(0.123, 0.1, 3), 0.5, 0.987], "theirs": [0.25, 0.25, 0.25]}
    alt = viz.curves([1, 2, 30], series, xlabel="epoch", ylabel="accuracy", caption="c", percent=percent).alt
    expected = ("12.3 % at 1 to 98.7 % at 30", "25.0 %") if percent else ("0.123 at 1 to 0.987 at 30", "0.25")
    assert "accuracy over epoch" in alt
    assert f"ours: from {expected[0]}" in alt
    assert f"theirs: from {expected[1]} at 1 to {expected[1]} at 30" in alt


def test_the_alt_text_of_bars_and_histograms_has_the_numbers_shown():
    bars = viz.paired_bars(["conv", "fc"], {"weights": [1.5, 20.0], "MACs": [3.0, 4.25]}, ylabel="share", caption="c")
    assert bars.alt == "Bars of share. conv: weights 1.5, MACs 3; fc: weights 20, MACs 4.25."
    values = weights(1000)
    alt = viz.histogram(values.view(10, 100), xlabel="weight", caption="c", threshold=0.25).alt
    assert f"{int((values.abs() < 0.25).sum())} of them within ±0.25" in alt
    assert f"from {values.min():.3g} to {values.max():.3g}, standard deviation {values.std():.3g}" in alt
    assert "within" not in viz.histogram(values, xlabel="weight", caption="c").alt


def test_what_is_drawn_is_what_was_passed():
    picture = viz.curves([1, 2], {"a": [0.25, 0.75]}, xlabel="x", ylabel="y", caption="c", levels={"dense": 0.5})
    (axes,) = picture.figure.axes
    assert [
        line.get_ydata().tolist() for line in axes.lines if len(line.get_xdata()) == 2 and line.get_label() != "dense"
    ][0] == [0.25, 0.75]
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["dense", "a"]
    assert (axes.get_xlabel(), axes.get_ylabel()) == ("x", "y")
    bars = viz.paired_bars(["p", "q"], {"one": [1, 2], "two": [3, 4]}, ylabel="n", caption="c")
    assert [patch.get_height() for patch in bars.figure.axes[0].patches] == [1, 2, 3, 4]
    values = weights(500)
    assert (
        sum(patch.get_height() for patch in viz.histogram(values, xlabel="w", caption="c").figure.axes[0].patches)
        == 500
    )


def test_text_is_escaped():
    picture = viz.images({"a": torch.zeros(2, 2)}, caption="w < 0 & <b>", alt='"dark" <script>alert(1)</script> & more')
    html = picture._repr_html_()
    assert "<script>" not in html
    assert "<b>" not in html
    assert alt_in_html(picture) == picture.alt
    assert "w &lt; 0 &amp; &lt;b&gt;" in html


def test_style_stays_inside_the_figure():
    import matplotlib

    before = dict(matplotlib.rcParams)
    FIGURES["bars"]()
    assert dict(matplotlib.rcParams) == before


def test_colours_and_markers_differ():
    assert len(set(viz.CYCLE)) == len(viz.CYCLE) == len(set(MARKERS))


@pytest.mark.parametrize(
    ("draw", "words"),
    [
        (
            lambda: viz.curves([1, 2], {"a": [1.0]}, xlabel="x", ylabel="y", caption="c"),
            "'a' has 1 values for 2 positions",
        ),
        (lambda: viz.curves([1, 2], {}, xlabel="x", ylabel="y", caption="c"), "no series"),
        (lambda: viz.paired_bars(["a"], {"x": [1.0, 2.0]}, ylabel="y", caption="c"), "each of the 1 labels"),
        (lambda: viz.paired_bars(["a"], {}, ylabel="y", caption="c"), "each of the 1 labels"),
        (lambda: viz.histogram(torch.zeros(0), xlabel="x", caption="c"), "at least two numbers, but you passed 0"),
    ],
)
def test_refusals(draw, words):
    with pytest.raises(CourseError, match=words):
        draw()
