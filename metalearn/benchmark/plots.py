"""The pictures of a suite's page, drawn from its report alone: evidence, grid, optimisers, generalisation."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from metalearn.benchmark.report import Difference, DirectCurve, SizePoint, StepPoint, SuiteReport
from metalearn.evaluation.controls import COMPARED_WITH
from metalearn.evaluation.evaluate import MAIN_METHOD
from metalearn.evaluation.figures import (
    BAD,
    FAINT,
    GOOD,
    INK,
    SENTENCE,
    End,
    Look,
    declutter,
    label_ends,
    look_of,
    make_room,
    name_axes,
    name_of,
    new_figure,
    number,
    save,
    set_x_ticks,
)
from metalearn.evaluation.plots import PERCENT, Estimate, Row, draw_report, draw_rows, rows_height, with_n
from metalearn.evaluation.report import Return
from metalearn.evaluation.table import CONTROLS

FIRST, LATER = Look("#5aa5cf", "s", (0.0, (5.0, 1.6))), look_of(MAIN_METHOD)
"""The first attempt, and attempts after trials of one's own."""
KEY = "\N{BLACK CIRCLE} right context   \N{BLACK DIAMOND} one thing wrong"
MARKED = 16
"""Points that are few enough to have a marker each."""


def draw_plots(report: SuiteReport, folder: Path) -> list[str]:
    """Draw into `folder` every plot that the report has data for; return the file names, in the order of the page."""
    suite = report.suite
    drawn = [draw_report(report, folder / "curve.png").name] if report.methods else []
    figures = {
        "evidence.png": draw_evidence(report),
        "grid.png": draw_grid(report) if suite.grid else None,
        "optimisers.png": draw_optimisers(report) if suite.optimisers else None,
        "generalisation.png": draw_generalisation(report),
    }
    return drawn + [save(figure, folder / name).name for name, figure in figures.items() if figure is not None]


def draw_grid(report: SuiteReport) -> Figure:
    """Success for every number of demonstrations and own trials, as a heat map with its figures."""
    cells = report.suite.grid
    n_demos, n_trials = 1 + max(cell.demos for cell in cells), 1 + max(cell.trials for cell in cells)
    rates = np.full((n_demos, n_trials), np.nan)
    for cell in cells:
        rates[cell.demos, cell.trials] = 100 * cell.success
    figure = new_figure(
        max(1.0 + 0.95 * n_trials, 4.0),
        max(0.7 + 0.68 * n_demos, 1.9),
        "How many demonstrations, how many trials?",
        "Success of the attempt in %, with its 95% interval; one set of weights.",
    )
    axes = figure.add_subplot()
    axes.imshow(rates, cmap="Blues", vmin=0, vmax=125, aspect="auto", origin="upper")
    for cell in cells:
        if np.isfinite(cell.success):
            colour = "white" if cell.success > 0.8 else INK
            low, high = (100 * bound for bound in cell.ci95)
            _write(axes, f"{100 * cell.success:.0f}", (cell.trials, cell.demos), 13, colour, 5)
            _write(axes, f"{low:.0f} to {high:.0f}", (cell.trials, cell.demos), 8, colour, -11)
        else:
            _write(axes, "\N{EN DASH}", (cell.trials, cell.demos), 13, INK, 0)
    axes.set_xticks(range(n_trials), [str(n) for n in range(n_trials)])
    axes.set_yticks(range(n_demos), [str(n) for n in range(n_demos)])
    name_axes(axes, "own trials before the attempt", "demonstrations")
    declutter(axes, grid=False)
    axes.spines["bottom"].set_visible(False)
    return figure


def _write(axes: Axes, text: str, place: tuple[int, int], size: float, colour: str, up: float) -> None:
    axes.annotate(
        text, place, (0, up), textcoords="offset points", ha="center", va="center", fontsize=size, color=colour
    )


def draw_evidence(report: SuiteReport) -> Figure | None:
    """Left: `wtl` with the right context and with one thing wrong. Right: `wtl` minus every other method, paired.

    None where neither was measured.
    """
    suite = report.suite
    rows = [row for row in (return_rows if suite.measure == "return" else success_rows)(report) if row.known]
    on_returns = bool(suite.return_comparisons)
    compared = [
        _difference_row(name, one[min(1, len(one) - 1)], 1.0 if on_returns else 100.0)
        for name, one in (suite.return_comparisons or suite.comparisons).items()
        if one and np.isfinite(one[min(1, len(one) - 1)].mean)
    ]
    panels = bool(rows) + bool(compared)
    if not panels:
        return None
    figure = new_figure(
        10.4 if panels == 2 else 6.4,
        max(1.0 + max(map(rows_height, filter(None, (rows, compared)))), 2.4),
        "Does trying help, and does it beat the others?",
        "Thick lines are 95% intervals. What stands in one line is compared on the same n episodes.",
    )
    rooms = []
    if rows:
        axes = figure.add_subplot(1, panels, 1)
        rooms.append((axes, *draw_rows(axes, rows, () if suite.measure == "return" else PERCENT)))
        name_axes(axes, "mean return of wtl" if suite.measure == "return" else "success of wtl, %", title=KEY)
    if compared:
        axes = figure.add_subplot(1, panels, panels)
        axes.axvline(0, color="#999999", linewidth=1, zorder=1)
        rooms.append((axes, *draw_rows(axes, compared, (0.0,), "+.1f")))
        attempt = "after one own trial" if suite.budget.get("trials", 1) else "first attempt"
        unit = "mean return" if on_returns else "points of success"
        name_axes(axes, f"wtl minus the other, {unit}", title=f"{attempt}, n = {report.n_tasks:,}")
    for room in rooms:
        make_room(*room)
    return figure


def success_rows(report: SuiteReport) -> list[Row]:
    """The second attempt beside the first one; then every control beside the attempt that it copies."""
    curve = report.methods[MAIN_METHOD].curve if MAIN_METHOD in report.methods else ()
    rows = []
    if len(curve) > 1:
        rows.append(
            Row(with_n("without a trial", report.n_episodes), Estimate.of(curve[0]), beside=Estimate.of(curve[1]))
        )
    for name, one in report.controls.items():
        words, real = with_n(CONTROLS.get(name, name), one.n), one.instead_of
        if real is None:
            rows.append(Row(f"{words}, unpaired", Estimate.of(one)))
        else:
            rows.append(Row(words, Estimate.of(one), beside=Estimate.of(real)))
    return rows


def return_rows(report: SuiteReport) -> list[Row]:
    """The same for returns, of controls in which every row counts."""
    own = (report.methods[MAIN_METHOD].returns or ()) if MAIN_METHOD in report.methods else ()
    pairs: list[tuple[str, Return, Return]] = [("without a trial", own[0], own[1])] if len(own) > 1 else []
    for name, one in report.suite.control_returns.items():
        copied = COMPARED_WITH[name]
        if copied < len(own):
            pairs.append((CONTROLS[name], one, own[copied]))
    return [
        Row(with_n(words, report.n_episodes), _of_return(wrong), beside=_of_return(right))
        for words, wrong, right in pairs
    ]


def _of_return(one: Return) -> Estimate:
    return Estimate(one.mean, *one.mean_ci95)


def _difference_row(name: str, one: Difference, scale: float) -> Row:
    low, high = one.ci95
    look = Look(GOOD, "^") if low > 0 else Look(BAD, "v") if high < 0 else Look(FAINT, "o")
    return Row(name_of(name), Estimate(scale * one.mean, scale * low, scale * high), look)


def draw_optimisers(report: SuiteReport) -> Figure:
    """Success against episodes used (logarithmic), beside the level of `wtl` after one demo and one trial."""
    suite, on_returns = report.suite, report.suite.measure == "return"
    figure = new_figure(
        8.4,
        max(3.8, 0.3 * len(suite.optimisers)),
        "What does it cost to optimise a task directly?",
        "One task at a time, from its own scored episodes." + ("" if on_returns else " Shaded: 95% over tasks."),
    )
    axes = figure.add_subplot()
    ends = []
    for i, (name, curve) in enumerate(suite.optimisers.items()):
        ends.append(_draw_direct(axes, name, look_of(name, i), curve, on_returns))
    if MAIN_METHOD in report.methods:
        level, shown = _level(report), "demo and trial" if suite.budget["trials"] else "demo"
        axes.axhline(level, color=LATER.colour, linewidth=2.2)
        ends.append(End(1.0, level, f"wtl: one {shown}  {number(level)}", LATER.colour, bold=True, at_edge=True))
    axes.set_xscale("symlog", linthresh=10, linscale=0.5)
    budget = max((point.episodes for one in suite.optimisers.values() for point in one.curve), default=1000)
    axes.set_xlim(-1, 1.15 * budget)
    if on_returns:
        axes.margins(y=0.08)
    else:
        axes.set_ylim(-4, 104)
    ticks = [tick for tick in (0, 10, 30, 100, 300, 1000, 3000, 10_000) if tick <= 1.05 * budget]
    declutter(axes)
    name_axes(axes, "episodes used in the task", "mean return" if on_returns else "success, %")
    label_ends(axes, ends)
    set_x_ticks(axes, ticks)
    return figure


def _draw_direct(axes: Axes, name: str, look: Look, curve: DirectCurve, on_returns: bool) -> End:
    episodes = [point.episodes for point in curve.curve]
    values = [point.mean_return if on_returns else 100 * point.success for point in curve.curve]
    axes.plot(episodes, values, color=look.colour, marker=look.marker, linestyle=look.dashes, linewidth=look.width)
    if not on_returns:
        low, high = ([100 * point.ci95[end] for point in curve.curve] for end in (0, 1))
        axes.fill_between(episodes, low, high, color=look.colour, alpha=0.15, linewidth=0)
    return End(episodes[-1], values[-1], f"{name_of(name)}  {number(values[-1])}", look.colour)


def _level(report: SuiteReport) -> float:
    method = report.methods[MAIN_METHOD]
    if method.returns is not None:
        return method.returns[min(1, len(method.returns) - 1)].mean
    return 100 * method.curve[min(1, len(method.curve) - 1)].success


def draw_generalisation(report: SuiteReport) -> Figure | None:
    """Success on test tasks over the loss of training: by training tasks, and along a training that goes on.

    None where neither was measured.
    """
    found = report.suite.generalisation
    both = (_by_size(found.sizes), _by_step(found.steps, found.usual_steps)) if found else ()
    columns = [one for one in both if one is not None]
    if not columns:
        return None
    figure = new_figure(
        5.6 * len(columns),
        4.6,
        "What makes it generalise?",
        "Above: success on test tasks, with 95% intervals where there are points. Below: the loss on those that were.",
    )
    grid = figure.add_gridspec(2, len(columns), height_ratios=(3, 1))
    panels = [(figure.add_subplot(grid[0, i]), figure.add_subplot(grid[1, i])) for i in range(len(columns))]
    drawn = [_draw_column(*axes, column, axes is panels[0]) for axes, column in zip(panels, columns, strict=True)]
    for (above, _), ends in zip(panels, drawn, strict=True):
        label_ends(above, ends)
    for (_, below), column in zip(panels, columns, strict=True):
        set_x_ticks(below, column.x if len(column.x) <= MARKED else _doublings(column.x))
    return figure


@dataclass(frozen=True)
class Column:
    """Held-out success and training loss over one x: `success[trials]` are points (x, estimate)."""

    title: str
    x_name: str
    x: Sequence[int]
    loss: Sequence[float]
    success: Mapping[int, Sequence[tuple[int, Estimate]]]
    usual: int | None = None


def _by_size(sizes: Sequence[SizePoint]) -> Column | None:
    sizes = [size for size in sizes if all(np.isfinite(point.success) for point in size.curve)]
    if not sizes:
        return None
    success: dict[int, list[tuple[int, Estimate]]] = {}
    for size in sizes:
        for point in size.curve:
            success.setdefault(point.trials, []).append((size.tasks, Estimate.of(point)))
    x, loss = [one.tasks for one in sizes], [one.train_loss for one in sizes]
    return Column("equally long trainings", "training tasks", x, loss, success)


def _by_step(steps: Sequence[StepPoint], usual: int) -> Column | None:
    steps = [step for step in steps if np.isfinite([step.trial, step.retrial]).all()]
    if not steps:
        return None
    success = {
        trials: [(one.step, Estimate(100 * rate, np.nan, np.nan)) for one in steps for rate in [getattr(one, name)]]
        for trials, name in enumerate(("trial", "retrial"))
    }
    x, loss = [one.step for one in steps], [one.train_loss for one in steps]
    return Column("one long training", "gradient steps", x, loss, success, usual if x[0] < usual < x[-1] else None)


def _draw_column(above: Axes, below: Axes, column: Column, first: bool) -> list[End]:
    ends = []
    marked = len(column.x) <= MARKED
    for trials, points in column.success.items():
        look = FIRST if trials == 0 else LATER
        x, estimates = zip(*points, strict=True)
        above.plot(x, [one.value for one in estimates], color=look.colour, linestyle=look.dashes,
                   marker=look.marker if marked else None, linewidth=2.0, markersize=5)  # fmt: skip
        above.vlines(x, [one.low for one in estimates], [one.high for one in estimates], color=look.colour, lw=1.2)
        ends.append(End(x[-1], estimates[-1].value, _attempt(trials), look.colour, bold=trials > 0))
    below.plot(column.x, column.loss, color=FAINT, marker="." if marked else None, linewidth=1.6)
    above.set_ylim(-4, 104)
    below.sharex(above)
    above.set_xscale("log")
    span = column.x[-1] / column.x[0] if column.x[-1] > column.x[0] > 0 else 2.0
    above.set_xlim(column.x[0] / span**0.06, column.x[-1] * span**0.06)
    name_axes(above, y="success, %" if first else "")
    name_axes(below, column.x_name, "training loss" if first else "")
    above.set_title(column.title, loc="left", color=INK, fontsize=SENTENCE, pad=16)
    if column.usual is not None:
        for axes in (above, below):
            axes.axvline(column.usual, color="#999999", linewidth=1, linestyle=":")
        above.annotate(f"usual length: {column.usual:,}", (column.usual, 1), (0, 2), xycoords=("data", "axes fraction"),
                       textcoords="offset points", ha="center", va="bottom", fontsize=8.5, color=INK)  # fmt: skip
    for axes in (above, below):
        declutter(axes)
    below.yaxis.set_major_locator(MaxNLocator(3))
    above.tick_params(labelbottom=False)
    return ends


def _doublings(steps: Sequence[int]) -> list[int]:
    """First, last, and the doublings between them."""
    marks = [steps[0]]
    while 0 < 2 * marks[-1] < 0.8 * steps[-1]:
        marks.append(2 * marks[-1])
    return [*marks, steps[-1]] if steps[-1] > marks[-1] else marks


def _attempt(trials: int) -> str:
    return "first attempt" if trials == 0 else f"after {trials} own trial{'' if trials == 1 else 's'}"
