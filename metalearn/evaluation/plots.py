"""A report as one picture: success after each trial, and three tasks as they went; and reliability diagrams.

Draws what it is given; runs nothing. A family that can draw its episodes does so itself.
"""

import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.gridspec import SubplotSpec
from matplotlib.ticker import FixedLocator, MaxNLocator

from metalearn.data.episode import Episode
from metalearn.evaluation.calibration import Bin
from metalearn.evaluation.evaluate import MAIN_METHOD, Story
from metalearn.evaluation.figures import (
    BAD,
    FAINT,
    GOOD,
    INK,
    LABEL,
    SENTENCE,
    End,
    Look,
    declutter,
    figure_of,
    label_ends,
    look_of,
    make_room,
    name_axes,
    name_of,
    new_figure,
    number,
    save,
    wrapped,
)
from metalearn.evaluation.report import MethodReport, Rate, Report
from metalearn.evaluation.table import CONTROLS
from metalearn.tasks.family import Family

RIGHT, WRONG = look_of(MAIN_METHOD), Look("#555555", "D")
"""An attempt with the right context, and with one thing wrong in it."""
STORIES = "Right: tasks whose first attempt failed, whatever became of the second; ring: the hidden target."
DIAGRAMS_PER_ROW = 4
PERCENT = (0.0, 100.0)
WORDS_IN = 2.7


@runtime_checkable
class DrawableFamily(Protocol):
    """A family that draws an episode of a task into matplotlib axes."""

    def draw(self, axes: Any, episode: Episode, index: int) -> None:
        """The whole episode in one picture; a hidden target, if there is one, is ringed in black."""
        ...


def draw_report(report: Report, path: Path, family: Family | None = None, stories: Sequence[Story] = ()) -> Path:
    """Write the picture to `path` (PNG); without a family that draws, or without stories, the curve alone."""
    return save(report_figure(report, family, stories), path)


def report_figure(report: Report, family: Family | None = None, stories: Sequence[Story] = ()) -> Figure:
    """The picture of a report that has methods."""
    told: list[Story] = list(stories[:3]) if isinstance(family, DrawableFamily) else []
    headline, sentence = captions(report)
    several = any(len(method.curve) > 1 for method in report.methods.values())
    on_returns = any(method.returns for method in report.methods.values())
    height = 4.4 if several or on_returns else 0.8 + rows_height(_bars(report))
    figure = new_figure(
        10 if told else 8.4,
        max(height, 3.2, 0.24 * len(report.methods)),
        headline,
        f"{sentence} {STORIES}" if told else sentence,
    )
    places = figure.add_gridspec(1, 2 if told else 1, width_ratios=(1, 1.1) if told else (1,), wspace=0.04)
    axes = figure.add_subplot(places[0])
    if isinstance(family, DrawableFamily) and told:
        draw_stories(figure, places[1], family, told)
    if several or on_returns:
        draw_curves(axes, report, on_returns)
    else:
        draw_bars(axes, report)
    return figure


def captions(report: Report) -> tuple[str, str]:
    """Headline and one sentence, both said by the figures."""
    method = report.methods.get(MAIN_METHOD)
    if method is None:
        return report.manifest.name, f"{report.n_tasks:,} tasks."
    shown = f"Shown once, it succeeds in {100 * method.curve[0].success:.1f}% of {report.n_tasks:,} tasks"
    if len(method.curve) == 1:
        return f"Watch, then act: {report.manifest.name}", f"{shown}."
    if method.returns and method.total_return:
        first, last_return = method.returns[0].mean, method.returns[-1].mean
        sentence = f"Mean return of the first attempt {first:.1f}, of the last one {last_return:.1f}"
        return f"Watch, try, learn: {report.manifest.name}", f"{sentence}; together {method.total_return.mean:.1f}."
    last = method.curve[-1]
    after = "one scored try" if last.trials == 1 else f"{last.trials} scored tries"
    sentence = f"{shown}; after {after}, in {100 * last.success:.1f}%. No gradient step."
    return f"Watch, try, learn: {report.manifest.name}", sentence


@dataclass(frozen=True)
class Curve:
    """A method's attempts: trials before each, the figure, and both ends of its 95% interval."""

    name: str
    look: Look
    trials: Sequence[int]
    values: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


def draw_curves(axes: Axes, report: Report, on_returns: bool) -> None:
    """Success or mean return of the attempt over the number of trials before it, with 95% intervals.

    Methods stand a little beside each other, so that their intervals do. Returns that are far below all others are
    cut off, and their label says so.
    """
    shown = {name: one for name, one in report.methods.items() if one.returns or not on_returns}
    if not on_returns and len(shown) > 1:
        shown.pop("expert", None)  # it knows the task, and would lie on the upper edge
    curves = [_curve(name, look_of(name, i), one, on_returns) for i, (name, one) in enumerate(shown.items())]
    low, high = _return_limits(curves) if on_returns else (-4.0, 104.0)
    n = max(len(curve.trials) for curve in curves)
    ends = []
    for i, curve in enumerate(reversed(curves)):  # the first one on top
        aside = (i - (len(curves) - 1) / 2) * 0.014 * max(n - 1, 1)
        x = np.array(curve.trials) + (0.0 if curve.name == "bayes" else aside)
        _draw_curve(axes, x, curve, zorder=3 + i / len(curves))
        below = " \N{DOWNWARDS ARROW}" if curve.values[-1] < low else ""
        words = f"{name_of(curve.name)}  {number(curve.values[-1])}{below}"
        ends.append(End(float(x[-1]), curve.values[-1], words, curve.look.colour, curve.name == MAIN_METHOD))
    axes.set_ylim(low, high)
    axes.set_xlim(-0.25 * max(n - 1, 1), 1.22 * max(n - 1, 1))
    axes.set_xticks(range(n), [f"{trials}" for trials in range(n)])
    what = "mean return of the attempt" if on_returns else "success of the attempt, %"
    name_axes(axes, "own trials before the attempt", what)
    axes.yaxis.set_major_locator(MaxNLocator(6) if on_returns else FixedLocator(range(0, 101, 20)))
    declutter(axes)
    label_ends(axes, ends)


def _curve(name: str, look: Look, method: MethodReport, on_returns: bool) -> Curve:
    if on_returns and method.returns:
        found = [(one.trials, one.mean, *one.mean_ci95) for one in method.returns]
    else:
        found = [(one.trials, 100 * one.success, 100 * one.ci95[0], 100 * one.ci95[1]) for one in method.curve]
    trials, values, low, high = zip(*found, strict=True)
    return Curve(name, look, trials, values, low, high)


def _draw_curve(axes: Axes, x: np.ndarray, curve: Curve, zorder: float) -> None:
    colour, width = curve.look.colour, curve.look.width
    axes.plot(x, curve.values, linestyle=curve.look.dashes, marker=curve.look.marker or None, color=colour,
              linewidth=width, markersize=3.5 + width, zorder=zorder)  # fmt: skip
    if curve.low != curve.high:
        axes.vlines(x, curve.low, curve.high, color=colour, linewidth=1.2, zorder=zorder)


def _return_limits(curves: Sequence[Curve]) -> tuple[float, float]:
    """Limits that show every method; random actions only if they leave the others half of the room."""

    def reach(shown: Sequence[Curve]) -> tuple[float, float]:
        values = np.array([value for curve in shown for value in (*curve.low, *curve.high, *curve.values)])
        values = values[np.isfinite(values)]
        return (float(values.min()), float(values.max())) if len(values) else (0.0, 1.0)

    low, high = reach(curves)
    others = reach([curve for curve in curves if curve.name != "random"] or curves)
    if high - low > 2 * (others[1] - others[0]) > 0:
        low, high = others
    margin = 0.06 * ((high - low) or max(abs(high), 1.0))
    return low - margin, high + margin


def draw_bars(axes: Axes, report: Report) -> None:
    """Draw the only attempt: one line per method, and the control below the method that it belongs to."""
    room = draw_rows(axes, _bars(report), PERCENT)
    name_axes(axes, "success of the only attempt, %")
    make_room(axes, *room)


def _bars(report: Report) -> "list[Row]":
    rows = [
        Row(name_of(name), Estimate.of(method.curve[0]), look_of(name, i))
        for i, (name, method) in enumerate(report.methods.items())
    ]
    if MAIN_METHOD in report.methods and "other_task_demo" in report.controls:
        control = report.controls["other_task_demo"]
        place = list(report.methods).index(MAIN_METHOD) + 1
        rows.insert(place, Row(with_n(CONTROLS["other_task_demo"], control.n), Estimate.of(control)))
    return rows


@dataclass(frozen=True)
class Estimate:
    """A figure and both ends of its 95% interval."""

    value: float
    low: float
    high: float

    @classmethod
    def of(cls, rate: Rate) -> "Estimate":
        """A rate, in percent."""
        return cls(100 * rate.success, 100 * rate.ci95[0], 100 * rate.ci95[1])


@dataclass(frozen=True)
class Row:
    """A figure, and beside it the one that it is to be compared with, measured on the same episodes."""

    words: str
    estimate: Estimate
    look: Look = WRONG
    beside: Estimate | None = None

    @property
    def known(self) -> bool:
        """True if there is something to draw."""
        return bool(np.isfinite([self.estimate.value, self.beside.value if self.beside else np.nan]).any())


def with_n(words: str, n: int) -> str:
    """The words of a row, and how many episodes it rests on."""
    return f"{words}\nn = {n:,}"


def rows_height(rows: Sequence[Row]) -> float:
    """The inches that `draw_rows` needs for its words, and some air between them."""
    n_lines = max(sum(len(textwrap.wrap(line, 34)) for line in row.words.split("\n")) for row in rows)
    return len(rows) * (0.17 * n_lines + 0.14)


def draw_rows(
    axes: Axes, rows: Sequence[Row], within: Sequence[float] = (), form: str = ".1f"
) -> tuple[list[float], list[str]]:
    """One line per row: each figure in its interval, with its number where nothing else is.

    Numbers stand beyond the ends of the intervals: the larger one on the right, the smaller one on the left. A single
    one stands on the side away from 0. `within` holds what the axis has to show besides. Returns what `make_room`
    makes room for, once the whole figure is drawn.
    """
    figure = figure_of(axes)
    axes.set_yticks(range(len(rows)), [wrapped(figure, row.words, LABEL, width_in=WORDS_IN) for row in rows])
    axes.set_ylim(len(rows) - 0.5, -0.5)
    declutter(axes, grid=False)
    ends, numbers = list(within), []
    for y, row in enumerate(rows):
        if y % 2 == 0:
            axes.axhspan(y - 0.5, y + 0.5, color="#f6f6f6", linewidth=0, zorder=0)
        both = [(row.estimate, row.look), *([(row.beside, RIGHT)] if row.beside else [])]
        shown = sorted((one for one in both if np.isfinite(one[0].value)), key=lambda one: one[0].value)
        for one, look in shown:
            axes.plot([one.low, one.high], [y, y], color=look.colour, linewidth=2.6, alpha=0.6, zorder=2)
            axes.plot([one.value], [y], marker=look.marker or "|", color=look.colour, markersize=6.5, zorder=3)
        if shown:
            axes.plot([shown[0][0].value, shown[-1][0].value], [y, y], color="#bdbdbd", linewidth=1.2, zorder=1)
            edges = [edge for one, _ in shown for edge in (one.low, one.value, one.high) if np.isfinite(edge)]
            ends += edges
            for at, (one, look) in enumerate(shown):
                right = at == 1 or (len(shown) == 1 and one.value >= 0)
                numbers.append(number(one.value, form))
                axes.annotate(
                    numbers[-1], (max(edges) if right else min(edges), y), (7 if right else -7, 0),
                    textcoords="offset points", ha="left" if right else "right", va="center", fontsize=LABEL,
                    color=look.colour,
                )  # fmt: skip
    axes.xaxis.set_major_locator(FixedLocator(range(0, 101, 25)) if within == PERCENT else MaxNLocator(4))
    return ends or [0.0, 1.0], numbers


def draw_stories(figure: Figure, place: SubplotSpec, family: DrawableFamily, stories: Sequence[Story]) -> None:
    """Up to three tasks, a row each: what was shown, the first attempt, the second."""
    grid = place.subgridspec(3, 3)
    for row, story in enumerate(stories[:3]):
        told = (("watch", story.demo), ("try", story.trial), ("learn", story.retrial))
        for column, (verb, episode) in enumerate(told):
            axes = figure.add_subplot(grid[row, column])
            # The colour of a path says how an attempt went; a demonstration is none.
            family.draw(axes, episode if column else replace(episode, success=None), story.index)
            axes.set(xticks=[], yticks=[], facecolor="#fafafa")
            for spine in axes.spines.values():
                spine.set(color="#cfcfcf", linewidth=0.8)
            mark, colour = ("", INK) if column == 0 else _mark(bool(episode.success))
            axes.set_title(f"{verb}{mark}", loc="left", fontsize=SENTENCE, color=colour, fontweight="bold", pad=3)


def _mark(solved: bool) -> tuple[str, str]:
    return (" \N{CHECK MARK}", GOOD) if solved else (" \N{BALLOT X}", BAD)


def draw_reliability(panels: Mapping[str, Sequence[Bin]], path: Path) -> Path:
    """Write `reliability_figure` to `path` (PNG)."""
    return save(reliability_figure(panels), path)


def reliability_figure(panels: Mapping[str, Sequence[Bin]]) -> Figure:
    """One reliability diagram per name: rate of success against what was predicted."""
    columns = min(len(panels), DIAGRAMS_PER_ROW)
    rows = -(-len(panels) // columns)
    figure = new_figure(
        max(3.4 * columns, 5.0),
        3.5 * rows,
        "Does an attempt succeed as often as its confidence says?",
        "On the dashed line it does. Vertical lines: 95% intervals; the larger a dot, the more attempts it stands for.",
    )
    for i, (name, bins) in enumerate(panels.items(), 1):
        axes = figure.add_subplot(rows, columns, i)
        total = sum(one.n for one in bins)
        axes.plot([0, 1], [0, 1], color=FAINT, linewidth=1, linestyle="--")
        x, y = [one.predicted for one in bins], [one.success for one in bins]
        axes.vlines(x, [b.ci95[0] for b in bins], [b.ci95[1] for b in bins], color=RIGHT.colour, linewidth=1.4)
        axes.scatter(x, y, [20 + 140 * one.n / total for one in bins], color=RIGHT.colour, zorder=3)
        axes.set(xlim=(-0.06, 1.06), ylim=(-0.06, 1.06), aspect="equal")
        axes.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        axes.set_yticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
        declutter(axes)
        outcome = "success of the attempt" if i % columns == 1 % columns else ""
        name_axes(axes, "confidence before the attempt", outcome, f"{name}, {total:,} attempts")
    return figure
