"""A report as one picture: success after each trial beside the bound, and three tasks as they went.

Draws what it is given; runs nothing. A family that can draw its episodes does so itself.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metalearn.data.episode import Episode
from metalearn.evaluation.evaluate import MAIN_METHOD, Story
from metalearn.evaluation.report import MethodReport, Rate, Report
from metalearn.tasks.family import Family

# Okabe and Ito's palette: told apart by colour-blind readers too.
COLOURS = {
    MAIN_METHOD: "#0072B2",
    "wtl-paper": "#E69F00",
    "bc": "#D55E00",
    "mil": "#009E73",
    "mil-first-order": "#44AA99",
    "trial-only": "#882255",
    "replay": "#CC79A7",
    "replay-matched": "#AA4499",
    "expert": "#56B4E9",
}
NAMES = {
    MAIN_METHOD: "watch, try, learn",
    "wtl-paper": "as in the paper",
    "trial-only": "demo alone (trial-only)",
    "bayes": "best possible",
    "bc": "no context (bc)",
    "random": "random",
    "mil-first-order": "mil, first order",
    "replay-matched": "replay, matched",
}
INK, FAINT = "#222222", "#8a8a8a"
GOOD, BAD = "#117733", "#aa3333"
PIXELS_PER_INCH = 200  # twice what a page shows, for dense screens


@runtime_checkable
class DrawableFamily(Protocol):
    """A family that draws an episode of a task into matplotlib axes."""

    def draw(self, axes: Any, episode: Episode, index: int) -> None:
        """The whole episode in one picture; a hidden target, if there is one, is ringed in black."""
        ...


def draw_report(report: Report, path: Path, family: Family | None = None, stories: Sequence[Story] = ()) -> Path:
    """Write the picture to `path` (PNG); without a family that draws, or without stories, the curve alone."""
    told: list[Story] = list(stories) if isinstance(family, DrawableFamily) else []
    figure = Figure(figsize=(10, 5.6) if told else (8.4, 5.4), dpi=PIXELS_PER_INCH, facecolor="white")
    headline, sentence = captions(report)
    margin = 0.4 / figure.get_figwidth()
    figure.text(margin, 0.955, headline, fontsize=15, fontweight="bold", color=INK, va="top")
    figure.text(margin, 0.89, sentence, fontsize=10.5, color=INK, va="top")
    box = (0.085, 0.115, 0.39, 0.64) if told else (0.105, 0.115, 0.86, 0.64)
    axes = figure.add_axes(box)
    several = any(len(method.curve) > 1 for method in report.methods.values())
    if any(method.returns for method in report.methods.values()):
        draw_returns(axes, report)
    else:
        (draw_curves if several else draw_bars)(axes, report)
    if isinstance(family, DrawableFamily) and told:
        draw_stories(figure, family, told)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path


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


def draw_curves(axes: Axes, report: Report) -> None:
    """Success of the attempt over the number of trials before it, with intervals; the bound as dashes."""
    n = max(len(method.curve) for method in report.methods.values())
    ends: list[tuple[float, str, str]] = []
    for name, method in _foremost_last(report.methods):
        if name == "bayes":
            _draw_bound(axes, method)
        elif name != "expert":  # it knows the task, and would lie on the upper edge
            _draw_curve(axes, name, method)
            ends.append((100 * method.curve[-1].success, name_of(name), _colour(name)))
    if "other_task_trial" in report.controls:
        control = 100 * report.controls["other_task_trial"].success
        diamond = axes.plot(
            [1], [control], "D", markersize=7, color=_colour(MAIN_METHOD), markerfacecolor="white", zorder=7
        )
        diamond[0].set_label("after another task's trial")
    axes.set_xlim(-0.12 * n, n - 1 + 0.42 * n)
    axes.set_ylim(-3, 108)
    axes.set_xticks(range(n), [f"{trials}" for trials in range(n)])
    axes.set_xlabel("own trials before the attempt", loc="left", color=INK)
    axes.set_ylabel("success of the attempt, %", loc="top", color=INK)
    _label_ends(axes, n - 1 + 0.08 * n, ends)
    declutter(axes)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(loc="lower left", bbox_to_anchor=(-0.02, 1.0), ncols=2, frameon=False, labelcolor=INK)


def _draw_curve(axes: Axes, name: str, method: MethodReport) -> None:
    trials = [point.trials for point in method.curve]
    success = [100 * point.success for point in method.curve]
    colour, width = _colour(name), 2.8 if name == MAIN_METHOD else 1.6
    axes.plot(trials, success, "-o", color=colour, linewidth=width, markersize=2.6 * width, zorder=4)
    axes.errorbar(trials, success, yerr=_errors(method), fmt="none", ecolor=colour, capsize=3, zorder=5)
    if name == MAIN_METHOD:
        for x, y in zip(trials, success, strict=True):
            axes.annotate(
                f"{y:.1f}", (x, y), xytext=(-7, 5), textcoords="offset points", ha="right", color=colour, weight="bold"
            )


def _draw_bound(axes: Axes, method: MethodReport) -> None:
    reach = 0.07 * len(method.curve)
    for point in method.curve:
        x, y = [point.trials - reach, point.trials + reach], [100 * point.success] * 2
        (dashes,) = axes.plot(x, y, color=INK, linewidth=1.5, linestyle=(0, (3, 1.6)), zorder=6)
    dashes.set_label(NAMES["bayes"])


def draw_returns(axes: Axes, report: Report) -> None:
    """Mean return of the attempt over the number of trials before it, with intervals."""
    measured = [(name, method.returns) for name, method in _foremost_last(report.methods) if method.returns]
    n = max(len(returns) for _, returns in measured)
    lows = [point.mean for name, returns in measured if name != "random" for point in returns]
    ends: list[tuple[float, str, str]] = []
    for name, returns in measured:
        trials, means = [point.trials for point in returns], [point.mean for point in returns]
        errors = [
            [max(0.0, point.mean - point.mean_ci95[0]) for point in returns],
            [max(0.0, point.mean_ci95[1] - point.mean) for point in returns],
        ]
        width = 2.8 if name == MAIN_METHOD else 1.6
        axes.errorbar(trials, means, yerr=errors, fmt="-o", color=_colour(name), linewidth=width, capsize=3)
        ends.append((means[-1], name_of(name), _colour(name)))
    top = max(mean for mean, _, _ in ends)
    bottom = min([*lows, top - 1.0])  # random actions may be far below everything: cut off
    axes.set_ylim(bottom - 0.15 * (top - bottom), top + 0.1 * (top - bottom))
    axes.set_xlim(-0.12 * n, n - 1 + 0.42 * n)
    axes.set_xticks(range(n), [f"{trials}" for trials in range(n)])
    axes.set_xlabel("own trials before the attempt", loc="left", color=INK)
    axes.set_ylabel("mean return of the attempt", loc="top", color=INK)
    seen = [end for end in ends if end[0] >= bottom]
    _label_ends(axes, n - 1 + 0.08 * n, seen, 0.07 * (top - bottom), highest=top, lowest=bottom)
    declutter(axes)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)


def draw_bars(axes: Axes, report: Report) -> None:
    """Draw the only attempt: one line per method, and the control below the method it belongs to."""
    rows: list[tuple[str, str, Rate]] = [
        (name_of(name), _colour(name), method.curve[0]) for name, method in report.methods.items()
    ]
    if "other_task_demo" in report.controls:
        control = report.controls["other_task_demo"]
        rows.insert(1, ("the same after\nanother task's demo", FAINT, control))
    for y, (_, colour, rate) in enumerate(rows):
        low, high = (100 * bound for bound in rate.ci95)
        axes.barh(y, 100 * rate.success, height=0.55, color=colour, alpha=0.9)
        axes.plot([low, high], [y, y], color=INK, linewidth=1.6)
        axes.text(high + 1.5, y, f"{100 * rate.success:.1f}", va="center", fontsize=9.5, color=INK)
    axes.set_yticks(range(len(rows)), [name for name, _, _ in rows])
    axes.invert_yaxis()
    axes.set_xlim(0, 112)
    axes.set_xticks(range(0, 101, 20))
    axes.set_title("success of the attempt after one demonstration, %", loc="left", fontsize=10, color=INK, pad=8)
    declutter(axes)
    box = axes.get_position()
    axes.set_position((box.x0 + 0.17, box.y0, box.width - 0.17, box.height))


def draw_stories(figure: Figure, family: DrawableFamily, stories: Sequence[Story]) -> None:
    """Up to three tasks, a row each: what was shown, the first attempt, the second."""
    left, top, size, gap = 0.575, 0.785, 0.129, 0.008
    height = size * figure.get_figwidth() / figure.get_figheight()
    for row, story in enumerate(stories[:3]):
        for column, (verb, episode) in enumerate(
            (("watch", story.demo), ("try", story.trial), ("learn", story.retrial))
        ):
            x = left + column * (size + gap)
            y = top - (row + 1) * height - row * gap * 1.6
            axes = figure.add_axes((x, y, size, height))
            # The colour of a path says how an attempt went; a demonstration is none.
            family.draw(axes, episode if column else replace(episode, success=None), story.index)
            axes.set(xticks=[], yticks=[], facecolor="#fafafa")
            for spine in axes.spines.values():
                spine.set(color="#cfcfcf", linewidth=0.8)
            if row == 0:
                figure.text(x, top + 0.015, verb, fontsize=10, fontweight="bold", color=INK)
            if column > 0:
                solved = bool(episode.success)
                mark, colour = ("\N{CHECK MARK}", GOOD) if solved else ("\N{BALLOT X}", BAD)
                axes.text(0.95, 0.94, mark, transform=axes.transAxes, color=colour, fontsize=11, ha="right", va="top")
    figure.text(left, 0.03, "Tasks whose first attempt failed. Ring: the target, hidden.", fontsize=9, color=INK)


def _foremost_last(methods: Mapping[str, MethodReport]) -> list[tuple[str, MethodReport]]:
    """In order of drawing: what matters most on top."""
    return sorted(methods.items(), key=lambda item: (item[0] == MAIN_METHOD, item[0] == "bc"))


def name_of(name: str) -> str:
    """The name of a method in plots."""
    return NAMES.get(name, name)


def _colour(name: str) -> str:
    return INK if name == "bayes" else COLOURS.get(name, FAINT)


def _errors(method: MethodReport) -> list[list[float]]:
    below = [100 * max(0.0, point.success - point.ci95[0]) for point in method.curve]
    above = [100 * max(0.0, point.ci95[1] - point.success) for point in method.curve]
    return [below, above]


def _label_ends(
    axes: Axes,
    x: float,
    ends: Sequence[tuple[float, str, str]],
    apart: float = 6.5,
    highest: float = 103.0,
    lowest: float = 0.0,
) -> None:
    """Name each line at its right end; names that would overlap are moved down, and up again from the bottom."""
    ordered = sorted(ends, key=lambda end: (-end[0], end[1] != NAMES[MAIN_METHOD]))
    places, below = [], highest + apart
    for y, _, _ in ordered:
        below = min(y, below - apart)
        places.append(below)
    above = lowest - apart
    for row in reversed(range(len(places))):
        above = places[row] = max(places[row], above + apart)
    for place, (_, name, colour) in zip(places, ordered, strict=True):
        weight = "bold" if name == NAMES[MAIN_METHOD] else "normal"
        axes.text(x, place, name, color=colour, fontsize=9.5, va="center", weight=weight, backgroundcolor="white")


def declutter(axes: Axes) -> None:
    """Leave of the frame only the line at the bottom."""
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set_color("#bbbbbb")
    axes.tick_params(length=0, labelsize=9.5, labelcolor=INK)
    axes.set_axisbelow(True)
