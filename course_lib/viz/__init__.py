"""Figures: data in, picture out, always with a caption and with alt text made from the numbers shown."""

from course_lib.viz.picture import (
    AMBER,
    BLUE,
    CYCLE,
    GREEN,
    GREY,
    ORANGE,
    PINK,
    SKY,
    YELLOW,
    Picture,
    new_figure,
    png,
)
from course_lib.viz.plots import curves, histogram, images, paired_bars, trade_off

__all__ = [
    "AMBER",
    "BLUE",
    "CYCLE",
    "GREEN",
    "GREY",
    "ORANGE",
    "PINK",
    "SKY",
    "YELLOW",
    "Picture",
    "curves",
    "histogram",
    "images",
    "new_figure",
    "paired_bars",
    "png",
    "trade_off",
]
