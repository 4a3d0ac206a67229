"""A suite's page, `README.md` with pictures, made from its report alone."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from metalearn.benchmark.plots import draw_plots
from metalearn.benchmark.report import Interval, SuiteReport, Trained, read_report
from metalearn.benchmark.suites import Suite, find_suite
from metalearn.evaluation.evaluate import MAIN_METHOD
from metalearn.evaluation.manifest import load_manifest, manifest_names
from metalearn.evaluation.report import Control, Gain
from metalearn.evaluation.table import CONTROLS

HTML = "report.html"
"""The same report as a page that opens from disk. Written elsewhere (`wtl.report_page`); linked to if it is there."""

PLOTS = {
    "curve.png": "success of each attempt, every method",
    "evidence.png": "controls, and differences to the other methods",
    "grid.png": "success for every number of demonstrations and trials",
    "optimisers.png": "success of direct optimisation against episodes used",
    "generalisation.png": "held-out success against training tasks and training steps",
}


def results_folder(suite: Suite) -> Path:
    """The default folder of a suite's report and page."""
    return Path("benchmarks/results") / suite.name


def draw_page_again(name: str, out: Path | None = None) -> Path:
    """The page of a suite from its report, which is in `out` or where it usually is. Raises InvalidConfig."""
    folder = out or results_folder(find_suite(name))
    return write_page(read_report(folder / "report.json"), folder)


def write_page(report: SuiteReport, folder: Path) -> Path:
    """Draw the plots and write `folder / "README.md"`."""
    drawn = [*draw_plots(report, folder), *([HTML] if (folder / HTML).is_file() else [])]
    path = folder / "README.md"
    path.write_text(page_text(report, drawn))
    return path


def page_text(report: SuiteReport, drawn: Sequence[str]) -> str:
    """The page in Markdown, with those of `PLOTS` that were drawn, and a link to `HTML` if it is among them."""
    return "\n".join(_lines(report, drawn)).rstrip() + "\n"


def _lines(report: SuiteReport, drawn: Sequence[str]) -> Iterator[str]:
    suite = report.suite
    yield f"# {suite.title}\n"
    yield (
        f"Suite `{suite.name}`: {report.n_tasks:,} test tasks of manifest `{report.manifest.name}` "
        f"(digest `{report.manifest.digest[:12]}`), {_budget(report)}; experiment `{suite.experiment}`. "
        f"{_held_out(report)}All intervals are 95%. Figures without a seed are of training seed 0.\n"
    )
    yield f"Made from `report.json` by `wtl benchmark {suite.name} --page`; run by `wtl benchmark {suite.name}`.\n"
    if HTML in drawn:
        yield f"[{HTML}]({HTML}) has its curves and controls as a page that opens from disk.\n"
    if suite.verdicts:
        yield from _table(("", ""), [(question, answer) for question, answer in suite.verdicts.items()])
    yield from _methods(report, drawn)
    yield from _evidence(report, drawn)
    yield from _grid(report, drawn)
    yield from _tracks(report)
    yield from _optimisers(report, drawn)
    yield from _generalisation(report, drawn)
    yield from _speed(report)
    if suite.left_out:
        yield "## Left out\n"
        yield from _table(("", "why"), list(suite.left_out.items()))


def _held_out(report: SuiteReport) -> str:
    """What is new in the test tasks, by the manifest as it is where the report does not say it."""
    said = report.manifest.held_out
    if not said and report.manifest.name in manifest_names():
        said = load_manifest(report.manifest.name).held_out
    return f"What no training task has: {said}. " if said else ""


def _budget(report: SuiteReport) -> str:
    budget = report.suite.budget
    demos, trials = budget["demos"], budget["trials"]
    seen = "" if budget.get("demo_actions", True) or not demos else " (observations alone)"
    return f"{demos} demonstration{_s(demos)}{seen} and up to {trials} own trial{_s(trials)}"


def _s(n: int) -> str:
    return "" if n == 1 else "s"


def _plot(name: str, drawn: Sequence[str]) -> Iterator[str]:
    if name in drawn:
        yield f"![{PLOTS[name]}]({name})\n"


def _methods(report: SuiteReport, drawn: Sequence[str]) -> Iterator[str]:
    yield "## Methods\n"
    yield from _plot("curve.png", drawn)
    n_attempts = max((len(method.curve) for method in report.methods.values()), default=0)
    head = ["success in %", *(f"{t} trial{_s(t)}" for t in range(n_attempts)), "gain", "training CPU s", "adapting ms"]
    rows = []
    for name, method in report.methods.items():
        curve = [_rate(point.success, point.ci95) for point in method.curve]
        trained = report.suite.trained.get(name)
        cost = _training_s(trained) if trained else ""
        adapting = f"{trained.adaptation_ms:,.1f}" if trained and trained.adaptation_ms is not None else ""
        rows.append((_bold(name), *curve, *[""] * (n_attempts - len(curve)), _gain(method.gain), cost, adapting))
    yield from _table(head, rows)
    if any(method.total_return for method in report.methods.values()):
        yield from _returns(report, n_attempts)
    yield from _types(report)
    yield from _seeds(report)
    described = [(f"`{name}`", trained.what) for name, trained in report.suite.trained.items()]
    if described:
        yield from _table(("method", "what it is"), described)


def _types(report: SuiteReport) -> Iterator[str]:
    typed = {name: method.by_type for name, method in report.methods.items() if method.by_type}
    if not typed:
        return
    yield (
        "Success in % of each type of task after 0, 1, ... trials. All other intervals on this page are over "
        "types, since tasks of one type are alike.\n"
    )
    types = next(iter(typed.values()))
    rows = [
        (_bold(name), *(" / ".join(f"{100 * point.success:.0f}" for point in by_type[one]) for one in types))
        for name, by_type in typed.items()
    ]
    yield from _table(("", *types), rows)


def _training_s(trained: Trained) -> str:
    """Processor time; wall time, marked so, in a report that has no other."""
    return f"{trained.train_cpu_s[0]:,.0f}" if any(trained.train_cpu_s) else f"({trained.train_wall_s[0]:,.0f} wall)"


def _returns(report: SuiteReport, n_attempts: int) -> Iterator[str]:
    yield "Mean return of each attempt, and of all attempts together:\n"
    head = ["return", *(f"{t} trial{_s(t)}" for t in range(n_attempts)), "together", "gain"]
    rows = []
    for name, method in report.methods.items():
        if method.returns and method.total_return:
            cells = [_plain(one.mean, one.mean_ci95) for one in (*method.returns, method.total_return)]
            gain = "" if method.return_gain is None else _plain(method.return_gain.mean, method.return_gain.ci95)
            rows.append((_bold(name), *cells, gain))
    yield from _table(head, rows)


def _seeds(report: SuiteReport) -> Iterator[str]:
    several = {name: spread for name, spread in report.suite.seeds.items() if len(spread.seeds) > 1}
    if not several:
        return
    n_attempts = max(len(spread.mean) for spread in several.values())
    yield "Mean and standard deviation over training seeds, each with training tasks of its own; the same test tasks:\n"
    head = ["success in %", "seeds", *(f"{t} trial{_s(t)}" for t in range(n_attempts))]
    rows = [
        (
            _bold(name),
            str(len(one.seeds)),
            *(
                f"{100 * mean:.1f} \N{PLUS-MINUS SIGN} {100 * sd:.1f}"
                for mean, sd in zip(one.mean, one.sd, strict=True)
            ),
        )
        for name, one in several.items()
    ]
    yield from _table(head, rows)


def _evidence(report: SuiteReport, drawn: Sequence[str]) -> Iterator[str]:
    if "evidence.png" not in drawn:
        return
    yield "## Evidence\n"
    yield from _plot("evidence.png", drawn)
    if report.controls:
        yield (
            "*Instead of* is the attempt with the right context, over the same episodes as the control; *lost* is "
            "their paired difference.\n"
        )
        head = (f"control: {MAIN_METHOD} with one thing wrong", "episodes", "success in %", "instead of", "lost")
        yield from _table(head, [(CONTROLS[name], *_control(one)) for name, one in report.controls.items()])
    if report.suite.control_returns:
        means = report.suite.control_returns.items()
        returns = [(CONTROLS[name], _plain(one.mean, one.mean_ci95)) for name, one in means]
        yield from _table((f"control: {MAIN_METHOD} with one thing wrong", "mean return"), returns)


def _grid(report: SuiteReport, drawn: Sequence[str]) -> Iterator[str]:
    cells = report.suite.grid
    if not cells:
        return
    yield "## Demonstrations x own trials\n"
    yield "One set of weights; the same number of episodes behind each cell.\n"
    yield from _plot("grid.png", drawn)
    n_trials = 1 + max(cell.trials for cell in cells)
    by_demos: dict[int, list[str]] = {}
    for cell in cells:
        by_demos.setdefault(cell.demos, []).append(_rate(cell.success, cell.ci95))
    head = ["success in %", *(f"{t} trial{_s(t)}" for t in range(n_trials))]
    yield from _table(head, [(f"{demos} demo{_s(demos)}", *row) for demos, row in by_demos.items()])


def _tracks(report: SuiteReport) -> Iterator[str]:
    tracks = report.suite.tracks
    if not tracks:
        return
    yield "## Other tracks\n"
    yield f"`{MAIN_METHOD}`, the same weights, on other manifests.\n"
    n_attempts = max(len(track.curve) for track in tracks.values())
    rows = []
    for name, track in tracks.items():
        curve = [_rate(point.success, point.ci95) for point in track.curve]
        total = _plain(track.total_return.mean, track.total_return.mean_ci95) if track.total_return else ""
        rows.append((name, *curve, *[""] * (n_attempts - len(curve)), total))
    head = ["success in %", *(f"{t} trial{_s(t)}" for t in range(n_attempts)), "return, together"]
    n_columns = len(head) if any(row[-1] for row in rows) else len(head) - 1
    yield from _table(head[:n_columns], [row[:n_columns] for row in rows])


def _optimisers(report: SuiteReport, drawn: Sequence[str]) -> Iterator[str]:
    suite = report.suite
    if not suite.optimisers:
        return
    yield "## Optimising a task directly\n"
    yield (
        "One task at a time, from its own scored episodes. A task is matched when the policy found succeeds as often "
        f"as `wtl` in its {_attempt(report)} (the lower end of its interval).\n"
    )
    yield from _plot("optimisers.png", drawn)
    rows = []
    for name, one in suite.optimisers.items():
        last = one.curve[-1]
        matched = sum(episodes is not None for episodes in one.episodes_to_match)
        median = f"> {one.budget:,}" if one.median_to_match is None else f"{one.median_to_match:,}"
        seconds = f"{(one.cpu_s or one.wall_s) / one.n_tasks:,.1f}"
        final = f"{_rate(last.success, last.ci95)} after {last.episodes:,}"
        rows.append((name, one.what, final, median, f"{matched} of {one.n_tasks}", seconds))
    yield from _table(("", "what it is", "success in %", "episodes to match (median)", "matched", "s per task"), rows)


def _attempt(report: SuiteReport) -> str:
    return "attempt after one trial" if report.suite.budget["trials"] else "first attempt"


def _generalisation(report: SuiteReport, drawn: Sequence[str]) -> Iterator[str]:
    found = report.suite.generalisation
    if found is None or not (found.sizes or found.steps):
        return
    yield "## Generalisation\n"
    yield from _plot("generalisation.png", drawn)
    points = [*found.sizes, *([found.after_long] if found.after_long else [])]
    if points:
        n_attempts = max(len(point.curve) for point in points)
        head = ["training tasks", "steps", "training loss", *(f"{t} trial{_s(t)}, %" for t in range(n_attempts))]
        rows = [
            (
                f"{point.tasks:,}",
                f"{point.steps:,}",
                f"{point.train_loss:.3f}",
                *(_rate(p.success, p.ci95) for p in point.curve),
            )
            for point in points
        ]
        yield from _table(head, rows)


def _speed(report: SuiteReport) -> Iterator[str]:
    speed = report.suite.speed
    if not speed:
        return
    words = {
        "collection_steps_per_s": ("environment steps/s while collecting (policy, expert's labels, recording)", ",.0f"),
        "simulator_steps_per_s": ("environment steps/s of the bare simulator loop, same actions", ",.0f"),
        "collection_overhead": ("time of collecting over the bare loop", "+.1%"),
        "learner_steps_per_s": ("gradient steps/s", ",.1f"),
        "samples_per_s": ("imitated steps/s of the learner", ",.0f"),
        "drawing_share": ("share of learning time spent drawing batches", ".1%"),
    }
    yield "## Speed\n"
    yield "Processor time of one thread of the machine that ran the suite.\n"
    yield from _table(
        ("", ""), [(words[name][0], format(speed[name], words[name][1])) for name in words if name in speed]
    )


def _bold(name: str) -> str:
    return f"**{name}**" if name == MAIN_METHOD else name


def _rate(success: float, ci95: Interval) -> str:
    return f"{100 * success:.1f} ({100 * ci95[0]:.1f}..{100 * ci95[1]:.1f})"


def _control(one: Control) -> tuple[str, str, str, str]:
    real = "" if one.instead_of is None else _rate(one.instead_of.success, one.instead_of.ci95)
    return f"{one.n:,}", _rate(one.success, one.ci95), real, _gain(one.lost)


def _plain(mean: float, ci95: Interval) -> str:
    return f"{mean:.2f} ({ci95[0]:.2f}..{ci95[1]:.2f})"


def _gain(gain: Gain | None) -> str:
    return "" if gain is None else f"{100 * gain.mean:+.1f} ({100 * gain.ci95[0]:+.1f}..{100 * gain.ci95[1]:+.1f})"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    yield f"| {' | '.join(head)} |"
    yield "|" + "---|" * len(head)
    for row in rows:
        yield f"| {' | '.join(row)} |"
    yield ""
