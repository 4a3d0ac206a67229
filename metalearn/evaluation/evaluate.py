"""Evaluation: every method, the references and the controls on the tasks of one manifest, as a report.

Receives adapters; does not know how they were trained or where they are kept.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

import numpy as np
from jaxtyping import Bool, Float, Shaped

from metalearn.adapter import Adapter
from metalearn.data.episode import Episode
from metalearn.evaluation.controls import COMPARED_WITH, Outcome, run_controls
from metalearn.evaluation.manifest import Manifest
from metalearn.evaluation.protocol import (
    ATTEMPTS,
    DEMOS,
    Player,
    Progress,
    Protocol,
    adapted,
    references,
    returned,
    succeeded,
    with_trials,
)
from metalearn.evaluation.report import (
    Control,
    Gain,
    ManifestRef,
    MethodReport,
    Point,
    Rate,
    Report,
    Return,
    ReturnPoint,
)
from metalearn.evaluation.statistics import (
    interquartile_mean,
    mean_of,
    paired_bootstrap,
    rate_interval,
    return_interval,
)
from metalearn.tasks.family import BoundedFamily, Family

MAIN_METHOD = "wtl"
"""The name of the policy under test, which the controls are run on."""


def evaluate(
    methods: Mapping[str, Adapter],
    family: Family,
    manifest: Manifest,
    *,
    seed: int | None = None,
    n_tasks: int | None = None,
    bundle: str | None = None,
    progress: Progress | None = None,
    clock: Callable[[], float] = time.time,
) -> Report:
    """Measure `methods` beside random, expert (if there is one) and Bayes (if it is known).

    The controls are run on the method `MAIN_METHOD`, if it is among them. `seed` and `n_tasks` default to the
    manifest's. Equal arguments give equal reports, but for `wall_s` and `created`.

    Raises:
        InvalidConfig: the family is not the manifest's, has too few tasks, or no expert to demonstrate.
    """
    started = clock()
    protocol = Protocol.of(family, manifest, seed=seed, n_tasks=n_tasks)
    contexts = protocol.demonstrations(progress)
    players: dict[str, Player] = {name: adapted(adapter) for name, adapter in methods.items()}
    players |= references(family, protocol.indices[0])

    reports: dict[str, MethodReport] = {}
    controls: Mapping[str, Control] = {}
    for name, player in players.items():
        played = protocol.attempts(player, contexts, _counter(progress, name, protocol))
        reports[name] = report_of(protocol, played)
        if name == MAIN_METHOD:
            outcomes = run_controls(protocol, player, contexts, played[0], progress)
            controls = control_reports(protocol, outcomes, [succeeded(episodes) for episodes in played])
    if isinstance(family, BoundedFamily):
        reports["bayes"] = bayes_report(family, manifest.budget.trials)
    return Report(
        bundle=bundle,
        manifest=ManifestRef(name=manifest.name, digest=manifest.digest, held_out=manifest.held_out),
        n_tasks=len(protocol.indices),
        n_episodes=protocol.n_rows,
        seed=protocol.seed,
        methods=reports,
        controls=controls,
        wall_s=round(clock() - started, 3),
        created=datetime.fromtimestamp(clock(), UTC).isoformat(timespec="seconds"),
    )


def control_reports(
    protocol: Protocol, outcomes: Mapping[str, Outcome], real: Sequence[Bool[np.ndarray, " n"]]
) -> dict[str, Control]:
    """Report each control beside the attempt that it copies, `real[t][i]`, over the rows that the control counts."""
    reports = {}
    for name, outcome in outcomes.items():
        rate, copied = rate_of(protocol, outcome), real[COMPARED_WITH[name]]
        right = rate_of(protocol, Outcome(copied, outcome.counted))
        lost = _difference(protocol, copied, outcome.success, outcome.counted)
        reports[name] = Control(**rate.model_dump(), n=int(outcome.counted.sum()), instead_of=right, lost=lost)
    return reports


def report_of(protocol: Protocol, played: Sequence[Sequence[Episode]]) -> MethodReport:
    """Report a method from its episodes `[t][row]`: success, and returns if the manifest measures them."""
    success = [succeeded(episodes) for episodes in played]
    if protocol.manifest.measure == "success":
        return method_report(protocol, success)
    return method_report(protocol, success, [returned(episodes) for episodes in played])


def method_report(
    protocol: Protocol,
    success: Sequence[Bool[np.ndarray, " n"]],
    returns: Sequence[Float[np.ndarray, " n"]] | None = None,
) -> MethodReport:
    """Report a method from the outcomes `success[t][i]` (and `returns[t][i]`) of attempt t in row i."""
    everything = np.ones(protocol.n_rows, bool)
    rates = [rate_of(protocol, Outcome(attempt, everything)) for attempt in success]
    curve = tuple(Point(trials=t, success=rate.success, ci95=rate.ci95) for t, rate in enumerate(rates))
    given_first_failed = None
    if len(success) > 1 and not success[0].all():
        given_first_failed = rate_of(protocol, Outcome(success[1], ~success[0]))
    gain, by_type = _gain(protocol, success), _by_type(protocol, success)
    report = MethodReport(curve=curve, gain=gain, given_first_failed=given_first_failed, by_type=by_type)
    if returns is None:
        return report
    points = [ReturnPoint(trials=t, **return_of(protocol, rows).model_dump()) for t, rows in enumerate(returns)]
    total, gain = return_of(protocol, np.sum(returns, axis=0)), _gain(protocol, returns)
    return report.model_copy(update={"returns": tuple(points), "return_gain": gain, "total_return": total})


def _gain(protocol: Protocol, scores: Sequence[Shaped[np.ndarray, " n"]]) -> Gain | None:
    if len(scores) == 1:
        return None
    return _difference(protocol, scores[1], scores[0], np.ones(protocol.n_rows, bool))


def _difference(
    protocol: Protocol,
    after: Shaped[np.ndarray, " n"],
    before: Shaped[np.ndarray, " n"],
    counted: Bool[np.ndarray, " n"],
) -> Gain:
    """`after` minus `before`, both of the same rows: over tasks, or over types where there are several."""
    of_task = np.tile(np.arange(len(protocol.indices)), protocol.manifest.episodes_per_task)
    clusters = of_task if protocol.clusters is None else protocol.clusters[of_task]
    mean, interval = paired_bootstrap(
        after[counted].astype(np.float64),
        before[counted].astype(np.float64),
        np.random.default_rng(protocol.seed),
        clusters=np.unique(clusters[counted], return_inverse=True)[1],
    )
    return Gain(mean=mean, ci95=interval)


def _by_type(protocol: Protocol, success: Sequence[Bool[np.ndarray, " n"]]) -> Mapping[str, tuple[Point, ...]] | None:
    """The curve of each type, with the interval over its tasks."""
    if protocol.types is None:
        return None
    curves = {}
    for name in sorted(set(protocol.types)):
        rows = [protocol.by_task(attempt)[np.array(protocol.types) == name] for attempt in success]
        intervals = [rate_interval(row, np.ones_like(row), np.random.default_rng(protocol.seed)) for row in rows]
        points = enumerate(zip(rows, intervals, strict=True))
        curves[name] = tuple(Point(trials=t, success=float(row.mean()), ci95=ci95) for t, (row, ci95) in points)
    return curves


def return_of(protocol: Protocol, attempt: Float[np.ndarray, " n"]) -> Return:
    """Mean and interquartile mean of the rows' returns, with the intervals that fit the manifest."""
    scores = protocol.by_task(attempt)
    intervals = [
        return_interval(scores, np.random.default_rng(protocol.seed), statistic)
        for statistic in (interquartile_mean, mean_of)
    ]
    return Return(mean=mean_of(scores), iqm=interquartile_mean(scores), ci95=intervals[0], mean_ci95=intervals[1])


def bayes_report(family: BoundedFamily, n_trials: int) -> MethodReport:
    """The bound, which is known exactly. Says nothing about what follows a failure."""
    bounds = [family.bayes_success(t) for t in range(n_trials + 1)]
    curve = tuple(Point(trials=t, success=bound, ci95=(bound, bound)) for t, bound in enumerate(bounds))
    if n_trials == 0:
        return MethodReport(curve=curve)
    mean = bounds[1] - bounds[0]
    return MethodReport(curve=curve, gain=Gain(mean=mean, ci95=(mean, mean)))


@dataclass(frozen=True)
class Story:
    """One task, told by episodes: what was shown, a first attempt that failed, and the second attempt.

    Attributes:
        seeds: what the environment was reset with for each of the three; None where that is not known.
    """

    index: int
    demo: Episode
    trial: Episode
    retrial: Episode
    seeds: tuple[int, int, int] | None = None


def tell_stories(
    adapter: Adapter, family: Family, manifest: Manifest, *, seed: int | None = None, n: int = 3, among: int = 50
) -> list[Story]:
    """The first `n` of `among` tasks whose first attempt failed, whatever became of the second.

    None where the budget has no demonstration or no trial.
    """
    if not (manifest.budget.demos and manifest.budget.trials):
        return []
    among = min(among, manifest.n_tasks)
    protocol = Protocol.of(family, manifest, seed=seed, n_tasks=among)
    contexts = protocol.demonstrations()
    trials = protocol.attempt(adapted(adapter), contexts, 0)
    retrials = protocol.attempt(adapted(adapter), with_trials(contexts, trials), 1)
    demos = [context.demos[0] for context in contexts]
    rows = protocol.rows()
    drawn = (protocol.seeds(rows, kind, number) for kind, number in ((DEMOS, 0), (ATTEMPTS, 0), (ATTEMPTS, 1)))
    return choose_stories([index for index, _ in rows], demos, trials, retrials, n, list(zip(*drawn, strict=True)))


def choose_stories(
    indices: Sequence[int],
    demos: Sequence[Episode],
    trials: Sequence[Episode],
    retrials: Sequence[Episode],
    n: int = 3,
    seeds: Sequence[tuple[int, int, int] | None] | None = None,
) -> list[Story]:
    """The first `n` tasks whose first attempt failed, whatever became of the second: chosen by no one's taste."""
    told = zip(indices, demos, trials, retrials, seeds or [None] * len(indices), strict=True)
    return [Story(*story) for story in told if not story[2].success][:n]


def rate_of(protocol: Protocol, outcome: Outcome) -> Rate:
    """Success over the counted rows, with the interval that fits the manifest."""
    success, counted = protocol.by_task(outcome.success), protocol.by_task(outcome.counted)
    interval = rate_interval(success, counted, np.random.default_rng(protocol.seed), clusters=protocol.clusters)
    return Rate(success=float(success[counted].mean()), ci95=interval)


def _counter(progress: Progress | None, name: str, protocol: Protocol) -> Callable[[int], None] | None:
    if progress is None:
        return None
    total = protocol.n_rows * (protocol.manifest.budget.trials + 1)
    return lambda done: progress(name, done, total)
