"""A report in the terminal: curves with their intervals, then the controls and what they mean in plain words."""

from collections.abc import Iterator, Mapping

from rich import box
from rich.console import Console, Group, RenderableType
from rich.table import Table
from rich.text import Text

from metalearn.evaluation.controls import COMPARED_WITH
from metalearn.evaluation.evaluate import MAIN_METHOD
from metalearn.evaluation.report import Control, MethodReport, Point, Rate, Report, Return

TRIAL_CONTROLS = {
    "other_task_trial": "after another task's trial",
    "same_demo_other_target": "after a trial for another target",
    "flipped_reward": "after a trial told the opposite",
}
DEMO_CONTROLS = {
    "other_task_demo": "after another task's demo",
    "other_type_demo": "after a demo of another type",
}
CONTROLS = {**TRIAL_CONTROLS, **DEMO_CONTROLS}


def render(report: Report) -> RenderableType:
    """Methods by attempts, each figure over its interval; controls; conclusions."""
    n_attempts = max(len(method.curve) for method in report.methods.values())
    title = f"{report.manifest.name}: success in % over {report.n_tasks:,} tasks, with 95% intervals"
    methods = _table()
    methods.add_column("")
    for trials in range(n_attempts):
        methods.add_column(f"{trials} trial{'' if trials == 1 else 's'}", justify="right")
    if n_attempts > 1:
        methods.add_column("gain", justify="right")
    for name, method in report.methods.items():
        methods.add_row(name, *_cells(name, method, n_attempts), style="bold" if name == MAIN_METHOD else "")
    parts: list[RenderableType] = [Text(title, style="bold"), methods]
    if any(method.returns for method in report.methods.values()):
        heading = "Return of the attempt (mean over its 95% interval), and of all attempts together"
        parts += [Text(heading, style="bold"), _returns(report, n_attempts)]
    main = report.methods.get(MAIN_METHOD)
    if main is not None and main.by_type is not None:
        parts += [Text(f"{MAIN_METHOD} in each type of task", style="bold"), _types(main.by_type)]
    if main is not None and main.given_first_failed is not None:
        parts.append(_after_failure(main.given_first_failed))
    if report.controls:
        parts += [Text(f"\nControls: {MAIN_METHOD} with one thing wrong", style="bold"), _controls(report)]
    parts += [Text(f"{question}: {answer}") for question, answer in conclusions(report)]
    return Group(*parts)


def print_report(report: Report, console: Console | None = None) -> None:
    """Write it to the terminal."""
    (console or Console()).print(render(report))


def conclusions(report: Report) -> list[tuple[str, str]]:
    """Return questions and answers in plain words, leaving out those that the results cannot answer."""
    method = report.methods.get(MAIN_METHOD)
    if method is None:
        return []
    said = []
    if "other_task_demo" in report.controls:
        said.append(("watching helps", _verdict(report.controls["other_task_demo"], "another task's demo")))
    if "other_type_demo" in report.controls:
        said.append(("the type is read from the demo", _verdict(report.controls["other_type_demo"], "another type's")))
    if method.gain is not None:
        said.append(("trying helps", _trying(report.controls, method)))
    if "flipped_reward" in report.controls:
        said.append(("it heeds the score", _verdict(report.controls["flipped_reward"], "a flipped score")))
    return said


def _trying(controls: Mapping[str, Control], method: MethodReport) -> str:
    """A gain that a trial of no use to the task cannot give."""
    assert method.gain is not None
    if method.gain.ci95[0] <= 0:
        return "not shown: the interval of the gain does not exclude 0"
    for name in ("other_task_trial", "same_demo_other_target"):
        if name in controls and (verdict := _verdict(controls[name], f"an attempt {TRIAL_CONTROLS[name]}")) != "yes":
            return verdict
    return "yes"


def _verdict(control: Control, what: str) -> str:
    """Say whether the right context does better than the control in the same rows.

    By the interval of the paired difference; in a report without one both rates need to have disjoint intervals,
    which is stricter than a test at 5%.
    """
    if control.instead_of is None:
        return f"not known: {what} was not compared with the right context over the same episodes"
    better = control.ci95[1] < control.instead_of.ci95[0] if control.lost is None else control.lost.ci95[0] > 0
    return "yes" if better else f"no: {what} does as well"


def _after_failure(failed: Rate) -> Text:
    figure = f"{100 * failed.success:.1f} ({_interval(failed.ci95)})"
    return Text(f"{MAIN_METHOD}, second attempt where the first one failed: {figure}")


def _table() -> Table:
    return Table(box=box.SIMPLE_HEAD, pad_edge=False)


def _types(by_type: Mapping[str, tuple[Point, ...]]) -> Table:
    table = _table()
    table.add_column("")
    for trials in range(max(map(len, by_type.values()))):
        table.add_column(f"{trials} trial{'' if trials == 1 else 's'}", justify="right")
    for name, curve in by_type.items():
        table.add_row(name, *(_figure(point.success, point.ci95, exact=False) for point in curve))
    return table


def _controls(report: Report) -> Table:
    controls = _table()
    controls.add_column("")
    controls.add_column("success", justify="right")
    controls.add_column("instead of", justify="right")
    controls.add_column("lost", justify="right")
    controls.add_column("n", justify="right")
    for name in COMPARED_WITH:
        if name in report.controls:
            one = report.controls[name]
            real = "" if one.instead_of is None else f"{100 * one.instead_of.success:.1f}"
            lost = Text() if one.lost is None else _figure(one.lost.mean, one.lost.ci95, exact=False)
            controls.add_row(CONTROLS[name], _figure(one.success, one.ci95, exact=False), real, lost, f"{one.n:,}")
    return controls


def _returns(report: Report, n_attempts: int) -> Table:
    table = _table()
    table.add_column("")
    for trials in range(n_attempts):
        table.add_column(f"{trials} trial{'' if trials == 1 else 's'}", justify="right")
    table.add_column("together", justify="right")
    for name, method in report.methods.items():
        if method.returns is not None and method.total_return is not None:
            cells = [_return_figure(one) for one in (*method.returns, method.total_return)]
            table.add_row(name, *cells, style="bold" if name == MAIN_METHOD else "")
    return table


def _return_figure(one: Return) -> Text:
    low, high = one.mean_ci95
    return Text(f"{one.mean:.2f}").append(f"\n{low:.2f}..{high:.2f}", style="not bold dim")


def _cells(name: str, method: MethodReport, n_attempts: int) -> Iterator[Text]:
    exact = name == "bayes"
    for trials in range(n_attempts):
        if trials >= len(method.curve):
            yield Text()
            continue
        point = method.curve[trials]
        yield _figure(point.success, point.ci95, exact)
    if n_attempts > 1:
        yield Text() if method.gain is None else _figure(method.gain.mean, method.gain.ci95, exact, "+.1f")


def _figure(mean: float, ci95: tuple[float, float], exact: bool, form: str = ".1f") -> Text:
    figure = Text(f"{100 * mean:{form}}")
    return figure if exact else figure.append(f"\n{_interval(ci95, form)}", style="not bold dim")


def _interval(ci95: tuple[float, float], form: str = ".1f") -> str:
    return f"{100 * ci95[0]:{form}}..{100 * ci95[1]:{form}}"
