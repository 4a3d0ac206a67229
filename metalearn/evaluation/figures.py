"""The style of every picture, and what keeps its words apart: headlines, labels beside lines, ticks.

Knows names and colours of methods; knows no reports. All that is drawn becomes a file in `save`.
"""

import textwrap
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from scipy.optimize import isotonic_regression

INK, FAINT, GRID = "#222222", "#757575", "#e6e6e6"
GOOD, BAD = "#117733", "#aa3333"
PIXELS_PER_INCH = 150
HEADLINE, SENTENCE, LABEL = 14.0, 10.0, 9.5
MARGIN_IN, TITLE_IN = 0.25, 2.75
POINTS_PER_LINE = 1.25


@dataclass(frozen=True)
class Look:
    """How a series is told from others: its colour, and without colour its marker and the dashes of its line."""

    colour: str
    marker: str
    dashes: str | tuple[float, tuple[float, ...]] = "-"
    width: float = 1.6


DASHES, DOTS = (0.0, (5.0, 1.6)), (0.0, (1.2, 1.4))
# Okabe and Ito's palette, darkened where it would be too faint on white: told apart by colour-blind readers too.
LOOKS = {
    "wtl": Look("#0072B2", "o", width=2.8),
    "wtl-paper": Look("#C98500", "s"),
    "bc": Look("#D55E00", "v"),
    "mil": Look("#009E73", "^"),
    "mil-first-order": Look("#2E8B80", "^", DOTS),
    "trial-only": Look("#882255", "D"),
    "replay": Look("#B8568F", "P"),
    "replay-matched": Look("#8E2F7F", "P", DOTS),
    "expert": Look("#2F8FC4", "*", DOTS),
    "random": Look(FAINT, "x", DOTS),
    "bayes": Look(INK, "", DASHES),
    "search": Look("#C98500", "s"),
    "rl": Look("#D55E00", "v"),
    "rl-from-bc": Look("#B8568F", "P"),
}
NAMES = {
    "wtl": "watch, try, learn",
    "wtl-paper": "as in the paper",
    "trial-only": "demo alone (trial-only)",
    "bayes": "best possible",
    "bc": "no context (bc)",
    "mil-first-order": "mil, first order",
    "replay-matched": "replay, matched",
}
OTHERS = ("h", "<", ">", "p", "d", "X", "8", "H")
"""Markers of series that have no look of their own."""


def name_of(name: str) -> str:
    """The name of a method in pictures."""
    return NAMES.get(name, name)


def number(value: float, form: str = ".1f") -> str:
    """A number as axes write it: a minus sign, not a hyphen."""
    return f"{value:{form}}".replace("-", "\N{MINUS SIGN}")


def look_of(name: str, number: int = 0) -> Look:
    """The look of a method; of an unknown one, the `number`-th of the grey ones."""
    return LOOKS.get(name) or Look(FAINT, OTHERS[number % len(OTHERS)], DOTS if number >= len(OTHERS) else "-")


def new_figure(width: float, height: float, headline: str, sentence: str) -> Figure:
    """A figure of some inches below its headline and a sentence, which are wrapped, never cut; it grows by them."""
    figure = Figure(figsize=(width, height), dpi=PIXELS_PER_INCH, facecolor="white")
    FigureCanvasAgg(figure)
    lines = [
        (wrapped(figure, text, size, weight), size, weight)
        for text, size, weight in ((headline, HEADLINE, "bold"), (sentence, SENTENCE, "normal"))
    ]
    tall = [(text.count("\n") + 1) * POINTS_PER_LINE * size / 72 for text, size, _ in lines]
    height += sum(tall)
    figure.set_figheight(height)
    top = height - 0.8 * MARGIN_IN
    for (text, size, weight), inches in zip(lines, tall, strict=True):
        given: dict[str, Any] = {
            "x": MARGIN_IN / width, "y": top / height, "fontsize": size, "fontweight": weight, "color": INK,
            "ha": "left", "va": "top", "linespacing": POINTS_PER_LINE - 0.05,
        }  # fmt: skip
        if text is lines[0][0]:
            figure.suptitle(text, **given)
        else:
            figure.text(s=text, **given)
        top -= inches + 0.06
    figure.set_layout_engine(
        "constrained",
        rect=(0.06 / width, 0.06 / height, 1 - 0.12 / width, (top - 0.12) / height),
        w_pad=0.08,
        h_pad=0.06,
    )
    return figure


def wrapped(figure: Figure, text: str, size: float, weight: str = "normal", width_in: float | None = None) -> str:
    """The text in lines that fit the width, which is the figure's if none is given."""
    width_px = (width_in or figure.get_figwidth() - 2 * MARGIN_IN) * figure.dpi
    wide = text_size(figure, text, size, weight)[0]
    if wide <= width_px:
        return text
    longest = max(len(line) for line in text.split("\n"))
    for n_letters in range(max(int(1.3 * longest * width_px / wide), 2), 1, -1):
        broken = "\n".join(textwrap.fill(line, n_letters) for line in text.split("\n"))
        if text_size(figure, broken, size, weight)[0] <= width_px:
            return broken
    return text


def text_size(figure: Figure, text: str, size: float, weight: str = "normal") -> tuple[float, float]:
    """Width and height of a text, in pixels."""
    artist = figure.text(0, 0, text, fontsize=size, fontweight=weight)
    box = artist.get_window_extent()
    artist.remove()
    return box.width, box.height


def declutter(axes: Axes, grid: bool = True) -> None:
    """Leave of the frame only the line at the bottom; faint lines at the ticks of y, if wanted."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#bbbbbb")
    axes.tick_params(length=0, labelsize=LABEL, labelcolor=INK)
    axes.set_axisbelow(True)
    if grid:
        axes.grid(axis="y", color=GRID, linewidth=0.8)


def name_axes(axes: Axes, x: str = "", y: str = "", title: str = "") -> None:
    """Name both axes where they end, and say above what is shown."""
    if x:
        axes.set_xlabel(x, loc="left", color=INK, fontsize=LABEL)
    if y:
        axes.set_ylabel(y, color=INK, fontsize=LABEL)
    if title:
        title = wrapped(figure_of(axes), title, SENTENCE, width_in=TITLE_IN)
        axes.set_title(title, loc="left", color=INK, fontsize=SENTENCE)


@dataclass(frozen=True)
class End:
    """Where a line ends, in data, and what is written there."""

    x: float
    y: float
    text: str
    colour: str
    bold: bool = False
    at_edge: bool = False
    """True if the line ends at the right edge of the axes, whatever `x` is."""


def label_ends(axes: Axes, ends: Sequence[End]) -> None:
    """Write a label right of the axes for every line, in the order of the lines, none on another.

    Places are the least squares solution: as near to the lines' ends as labels of their height can be. A thin line
    leads from each end to its label. To be called last, when the limits of y stand.
    """
    low, high = sorted(axes.get_ylim())
    figure = figure_of(axes)
    width_in = min(0.33 * figure.get_figwidth(), 2.6)
    ends = [
        replace(end, text=wrapped(figure, end.text, LABEL, "bold" if end.bold else "normal", width_in))
        for end in sorted(ends, key=lambda end: (end.y, end.bold))
        if np.isfinite(end.y)
    ]
    if not ends:
        return
    figure.draw_without_rendering()
    per_pixel = (high - low) / axes.get_window_extent().height
    heights = per_pixel * np.array([text_size(figure, end.text, LABEL)[1] + 4 for end in ends])
    stacked = np.concatenate([[0.0], np.cumsum((heights[:-1] + heights[1:]) / 2)])
    places = np.clip([end.y for end in ends], low, high)
    # Apart by their heights is: never falling, once the heights below are taken off.
    places = isotonic_regression(places - stacked).x
    places = np.clip(places, low, max(low, high - stacked[-1])) + stacked
    for end, place in zip(ends, places, strict=True):
        y = float(np.clip(end.y, low, high))
        axes.annotate(
            end.text, (1.0 if end.at_edge else end.x, y), (1.05, float(place)),
            xycoords=("axes fraction" if end.at_edge else "data", "data"), textcoords=("axes fraction", "data"),
            color=end.colour, fontsize=LABEL, fontweight="bold" if end.bold else "normal", va="center",
            annotation_clip=False,
            arrowprops={"arrowstyle": "-", "color": end.colour, "linewidth": 0.6, "alpha": 0.6, "shrinkA": 2,
                        "shrinkB": 4, "relpos": (0.0, 0.5)},
        )  # fmt: skip


def set_x_ticks(axes: Axes, marks: Sequence[int]) -> None:
    """Ticks of x at those marks whose labels stand apart, the last one among them. To be called last."""
    labels = [f"{mark:,}" for mark in marks]
    figure = figure_of(axes)
    axes.set_xticks([])
    axes.minorticks_off()
    figure.draw_without_rendering()
    at = axes.transData.transform([(mark, 0) for mark in marks])[:, 0]
    half = np.array([text_size(figure, label, LABEL)[0] / 2 + 6 for label in labels])
    kept: list[int] = []
    for i in reversed(range(len(marks))):
        if not kept or at[i] + half[i] < at[kept[-1]] - half[kept[-1]]:
            kept.append(i)
    axes.set_xticks([marks[i] for i in kept[::-1]], [labels[i] for i in kept[::-1]])


def make_room(axes: Axes, ends: Sequence[float], numbers: Sequence[str]) -> None:
    """Limits of x that show `ends`, with room at both sides for the widest number."""
    figure = figure_of(axes)
    figure.draw_without_rendering()
    widest = max((text_size(figure, text, LABEL)[0] for text in numbers), default=0.0) + 12 * figure.dpi / 72
    share = min(widest / axes.get_window_extent().width, 0.45)
    low, high = min(ends), max(ends)
    span = (high - low) or max(abs(high), 1.0)
    margin = span * share / (1 - 2 * share)
    axes.set_xlim(low - margin, high + margin)


def figure_of(axes: Axes) -> Figure:
    """The whole figure that axes are in."""
    figure = axes.get_figure(root=True)
    assert figure is not None
    return figure


def save(figure: Figure, path: Path) -> Path:
    """Write the picture as PNG; folders are made where they are missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path
