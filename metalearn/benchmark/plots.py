"""The plots of a suite's page, drawn from its report alone: grid, differences, optimisers, generalisation."""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from metalearn.benchmark.report import Difference, DirectCurve, SuiteReport
from metalearn.evaluation.evaluate import MAIN_METHOD
from metalearn.evaluation.plots import BAD, COLOURS, FAINT, GOOD, INK, declutter, draw_report, name_of
from metalearn.evaluation.report import Rate, Return
from metalearn.evaluation.table import DEMO_CONTROLS, TRIAL_CONTROLS

DOTS_PER_INCH = 130
BLUE = COLOURS[MAIN_METHOD]
ATTEMPTS = ("first attempt", "after one own trial")
CONTROLS = {**TRIAL_CONTROLS, "flipped_reward": "after a trial told the opposite", **DEMO_CONTROLS}
Row = tuple[str, str, float, tuple[float, float]]
"""Words, colour, figure and its interval."""
DIRECT = {"search": "#E69F00", "rl": "#D55E00", "rl-from-bc": "#CC79A7"}


def draw_plots(report: SuiteReport, folder: Path) -> list[str]:
    """Draw into `folder` every plot that the report has data for; return the file names, in the order of the page."""
    suite, drawn = report.suite, []
    if report.methods:
        drawn.append(draw_report(report, folder / "curve.png").name)
    if suite.comparisons or report.controls:
        drawn.append(_save(draw_evidence(report), folder / "evidence.png"))
    if suite.grid:
        drawn.append(_save(draw_grid(report), folder / "grid.png"))
    if suite.optimisers:
        drawn.append(_save(draw_optimisers(report), folder / "optimisers.png"))
    if suite.generalisation and (suite.generalisation.sizes or suite.generalisation.steps):
        drawn.append(_save(draw_generalisation(report), folder / "generalisation.png"))
    return drawn


def draw_grid(report: SuiteReport) -> Figure:
    """Success for every number of demonstrations and own trials, as a heat map with its figures."""
    cells = report.suite.grid
    n_demos, n_trials = 1 + max(cell.demos for cell in cells), 1 + max(cell.trials for cell in cells)
    rates = np.full((n_demos, n_trials), np.nan)
    for cell in cells:
        rates[cell.demos, cell.trials] = 100 * cell.success
    figure = _figure(1.6 + 1.0 * n_trials, 1.75 + 0.72 * n_demos, "Demonstrations x own trials", "success, %")
    axes = figure.add_axes(_below_title(figure, left=0.95, bottom=0.6, right=0.25))
    axes.imshow(rates, cmap="Blues", vmin=0, vmax=125, aspect="auto", origin="upper")
    for cell in cells:
        dark = cell.success > 0.62
        half = 50 * (cell.ci95[1] - cell.ci95[0])
        place = (cell.trials, cell.demos)
        _write(axes, f"{100 * cell.success:.0f}", place, 13, "white" if dark else INK, 3.5)
        _write(axes, f"\N{PLUS-MINUS SIGN}{half:.0f}", place, 7.5, "white" if dark else "#4d5d6b", -10)
    axes.set_xticks(range(n_trials), [str(n) for n in range(n_trials)])
    axes.set_yticks(range(n_demos), [str(n) for n in range(n_demos)])
    axes.set_xlabel("own trials before the attempt", loc="left", color=INK)
    axes.set_ylabel("demonstrations", loc="top", color=INK)
    declutter(axes)
    axes.spines["bottom"].set_visible(False)
    return figure


def _write(axes: Axes, text: str, place: tuple[int, int], size: float, colour: str, up: float) -> None:
    axes.annotate(
        text, place, (0, up), textcoords="offset points", ha="center", va="center", fontsize=size, color=colour
    )


def draw_evidence(report: SuiteReport) -> Figure:
    """Left: gain and controls of `wtl`. Right: `wtl` minus every other method, paired, with intervals."""
    suite = report.suite
    compared = suite.return_comparisons or suite.comparisons
    rows = max(_n_controls(report), len(compared), 3)
    figure = _figure(10, 1.9 + 0.42 * rows, "Does trying help, and does it beat the others?", _after_one(report))
    left, bottom, width, height = _below_title(figure, left=2.3, bottom=0.55, right=0.3, top=1.1)
    controls = figure.add_axes((left, bottom, 0.5 * width - 0.04, height))
    draw_controls(controls, report)
    if compared:
        differences = figure.add_axes((left + 0.5 * width + 0.145, bottom, 0.5 * width - 0.145, height))
        draw_differences(differences, compared, 1.0 if suite.return_comparisons else 100.0)
    return figure


def _after_one(report: SuiteReport) -> str:
    n_trials = min(1, int(report.suite.budget.get("trials", 1)))
    return f"in the attempt after {n_trials} own trial{'' if n_trials == 1 else 's'}, {report.n_tasks:,} tasks, 95%"


def _n_controls(report: SuiteReport) -> int:
    return 2 + len(report.controls)


def draw_controls(axes: Axes, report: SuiteReport) -> None:
    """The first two attempts, and the same with one thing wrong in the context."""
    on_returns = report.suite.measure == "return"
    rows = _return_rows(report) if on_returns else _success_rows(report)
    for y, (_, colour, mean, (low, high)) in enumerate(rows):
        axes.barh(y, mean, height=0.6, color=colour, alpha=0.9)
        axes.plot([low, high], [y, y], color=INK, linewidth=1.4)
        end, side = (high, "left") if mean >= 0 else (low, "right")
        axes.annotate(
            f"{mean:.1f}", (end, y), (5 if mean >= 0 else -5, 0), textcoords="offset points", ha=side, va="center",
            fontsize=9, color=INK,
        )  # fmt: skip
    axes.set_yticks(range(len(rows)), [words for words, _, _, _ in rows])
    axes.set_ylim(max(len(rows), 1) - 0.5, -0.5)
    if on_returns:
        axes.margins(x=0.2)
    else:
        axes.set_xlim(0, 116)
        axes.set_xticks(range(0, 101, 25))
    axes.set_title("mean return of wtl" if on_returns else "success of wtl, %", loc="left", fontsize=9.5, color=INK)
    declutter(axes)


def _success_rows(report: SuiteReport) -> list[Row]:
    rates: list[tuple[str, str, Rate]] = []
    if MAIN_METHOD in report.methods:
        rates = [(name, BLUE, point) for name, point in zip(ATTEMPTS, report.methods[MAIN_METHOD].curve, strict=False)]
    rates += [(words, FAINT, report.controls[name]) for name, words in CONTROLS.items() if name in report.controls]
    return [(words, shade, 100 * one.success, (100 * one.ci95[0], 100 * one.ci95[1])) for words, shade, one in rates]


def _return_rows(report: SuiteReport) -> list[Row]:
    returns: list[tuple[str, str, Return]] = []
    if MAIN_METHOD in report.methods:
        own = report.methods[MAIN_METHOD].returns or ()
        returns = [(name, BLUE, point) for name, point in zip(ATTEMPTS, own, strict=False)]
    controls = report.suite.control_returns
    returns += [(words, FAINT, controls[name]) for name, words in CONTROLS.items() if name in controls]
    return [(words, shade, one.mean, one.mean_ci95) for words, shade, one in returns]


def draw_differences(axes: Axes, compared: Mapping[str, tuple[Difference, ...]], scale: float) -> None:
    """One line per method: the interval of the difference; right of 0, `wtl` is better."""
    axes.axvline(0, color="#bbbbbb", linewidth=1)
    for y, (_, differences) in enumerate(compared.items()):
        one = differences[min(1, len(differences) - 1)]
        low, mean, high = scale * one.ci95[0], scale * one.mean, scale * one.ci95[1]
        colour = GOOD if low > 0 else BAD if high < 0 else FAINT
        axes.plot([low, high], [y, y], color=colour, linewidth=2.4, solid_capstyle="round")
        axes.plot([mean], [y], "o", color=colour, markersize=6)
        axes.annotate(f"{mean:+.1f}", (mean, y), (0, 6), textcoords="offset points", ha="center", fontsize=8.5)
    axes.set_yticks(range(len(compared)), [name_of(name) for name in compared])
    axes.set_ylim(len(compared) - 0.4, -0.7)
    axes.margins(x=0.18)
    unit = "points of success" if scale > 1 else "return"
    axes.set_title(f"wtl minus the other, {unit}", loc="left", fontsize=9.5, color=INK)
    declutter(axes)


def draw_optimisers(report: SuiteReport) -> Figure:
    """Success against episodes used (logarithmic), beside the level of `wtl` after one demo and one trial."""
    suite, on_returns = report.suite, report.suite.measure == "return"
    what = "mean return" if on_returns else "success, %"
    figure = _figure(8.4, 4.6, "What it costs to optimise a task directly", f"{what}; shaded: 95% over tasks")
    axes = figure.add_axes(_below_title(figure, left=0.75, bottom=0.6, right=1.35))
    for name, curve in suite.optimisers.items():
        _draw_direct(axes, name, curve, on_returns)
    if MAIN_METHOD in report.methods:
        level = _level(report)
        shown = "wtl: one demo,\none trial" if suite.budget["trials"] else "wtl: one demo"
        axes.axhline(level, color=BLUE, linewidth=2.2)
        axes.annotate(
            shown, (1.01, level), xycoords=("axes fraction", "data"), color=BLUE, weight="bold", fontsize=9,
            va="center", annotation_clip=False,
        )  # fmt: skip
    axes.set_xscale("symlog", linthresh=10, linscale=0.5)
    budget = max((point.episodes for one in suite.optimisers.values() for point in one.curve), default=1000)
    ticks = [tick for tick in (0, 10, 30, 100, 300, 1000, 3000, 10_000) if tick <= 1.05 * budget]
    axes.set_xticks(ticks, [f"{tick:,}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlim(-1, 1.1 * budget)
    if not on_returns:
        axes.set_ylim(-3, 106)
    axes.set_xlabel("episodes used in the task", loc="left", color=INK)
    declutter(axes)
    axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    return figure


def _draw_direct(axes: Axes, name: str, curve: DirectCurve, on_returns: bool) -> None:
    colour = DIRECT.get(name, FAINT)
    episodes = [point.episodes for point in curve.curve]
    values = [point.mean_return if on_returns else 100 * point.success for point in curve.curve]
    axes.plot(episodes, values, "-o", color=colour, linewidth=1.8, markersize=4.5)
    if not on_returns:
        low, high = ([100 * point.ci95[end] for point in curve.curve] for end in (0, 1))
        axes.fill_between(episodes, low, high, color=colour, alpha=0.15, linewidth=0)
    axes.annotate(
        name, (episodes[-1], values[-1]), (9, 0), textcoords="offset points", color=colour, fontsize=9.5, va="center",
        annotation_clip=False,
    )  # fmt: skip


def _level(report: SuiteReport) -> float:
    method = report.methods[MAIN_METHOD]
    if method.returns is not None:
        return method.returns[min(1, len(method.returns) - 1)].mean
    return 100 * method.curve[min(1, len(method.curve) - 1)].success


def draw_generalisation(report: SuiteReport) -> Figure:
    """Left: held-out success against the number of training tasks. Right: along a training that goes on and on."""
    found = report.suite.generalisation
    assert found is not None
    figure = _figure(10, 4.4, "What makes it generalise", "held-out success, % (left axes); training loss (dotted)")
    left, bottom, width, height = _below_title(figure, left=0.7, bottom=0.6, right=0.65)
    panels = [figure.add_axes((left + i * 0.53 * width, bottom, 0.42 * width, height)) for i in range(2)]
    n_attempts = max((len(point.curve) for point in found.sizes), default=0)
    for trials in range(n_attempts):
        rates = [point.curve[trials] for point in found.sizes]
        errors = np.array([[100 * (r.success - r.ci95[0]), 100 * (r.ci95[1] - r.success)] for r in rates]).T
        tasks, success = [point.tasks for point in found.sizes], [100 * rate.success for rate in rates]
        panels[0].errorbar(tasks, success, yerr=np.maximum(errors, 0), fmt="-o", color=_shade(trials), capsize=3,
                           label=_attempt(trials))  # fmt: skip
    _loss(panels[0], [point.tasks for point in found.sizes], [point.train_loss for point in found.sizes])
    panels[0].set_xlabel("training tasks (same number of steps)", loc="left", color=INK)
    steps = [point.step for point in found.steps]
    for trials, name in enumerate(("trial", "retrial")):
        values = [100 * getattr(point, name) for point in found.steps]
        panels[1].plot(steps, values, color=_shade(trials), linewidth=1.6, label=_attempt(trials))
    _loss(panels[1], steps, [point.train_loss for point in found.steps])
    panels[1].set_xlabel("gradient steps of one long training", loc="left", color=INK)
    panels[1].axvline(found.usual_steps, color="#bbbbbb", linewidth=1)
    panels[1].text(found.usual_steps, 3, "usual length ", ha="right", fontsize=8.5, color=FAINT)
    for axes, used in zip(panels, (found.sizes, found.steps), strict=True):
        axes.set_ylim(-3, 106)
        if used:
            axes.set_xscale("log")
            marks = [point.tasks for point in found.sizes] if axes is panels[0] else _round_steps(steps)
            axes.set_xticks(marks, [f"{mark:,}" for mark in marks])
            axes.minorticks_off()
        declutter(axes)
        axes.grid(axis="y", color="#e6e6e6", linewidth=0.8)
    panels[0].legend(loc="upper left", frameon=False, labelcolor=INK, fontsize=9)
    return figure


def _round_steps(steps: Sequence[int]) -> list[int]:
    """First, last, and the doublings between them."""
    marks = [steps[0]]
    while 2 * marks[-1] < 0.8 * steps[-1]:
        marks.append(2 * marks[-1])
    return [*marks, steps[-1]] if steps[-1] > marks[-1] else marks


def _loss(axes: Axes, x: Sequence[int], loss: Sequence[float]) -> None:
    if not x:
        return
    beside = axes.twinx()
    beside.plot(x, loss, ":", color=FAINT, linewidth=1.6)
    beside.spines[["top", "left", "right", "bottom"]].set_visible(False)
    beside.tick_params(length=0, labelsize=8.5, labelcolor=FAINT)


def _shade(trials: int) -> str:
    return ("#7fb8d8", BLUE)[min(trials, 1)]


def _attempt(trials: int) -> str:
    return "first attempt" if trials == 0 else f"after {trials} own trial{'' if trials == 1 else 's'}"


def _figure(width: float, height: float, headline: str, sentence: str) -> Figure:
    figure = Figure(figsize=(width, height), dpi=DOTS_PER_INCH, facecolor="white")
    x, top = 0.25 / width, 1 - 0.22 / height
    figure.text(x, top, headline, fontsize=13, fontweight="bold", color=INK, va="top")
    figure.text(x, top - 0.29 / height, sentence, fontsize=9.5, color=INK, va="top")
    return figure


def _below_title(
    figure: Figure, left: float, bottom: float, right: float, top: float = 0.88
) -> tuple[float, float, float, float]:
    """Axes with margins in inches, below headline and sentence."""
    width, height = figure.get_figwidth(), figure.get_figheight()
    return left / width, bottom / height, 1 - (left + right) / width, 1 - (bottom + top) / height


def _save(figure: Figure, path: Path) -> str:
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path)
    return path.name
