"""What there is in recordings: tasks, roles, outcomes, copies, and what the quality report warns of, counted.

Knows data sets; what is in their episodes is for `looks` and `probe`.
"""

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from metalearn import quality
from metalearn.data.context import Context
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Episode
from metalearn.inspection.findings import FEW_TASKS, Finding, doubtful, note
from metalearn.inspection.probe import FEWEST_TASKS, MOST_TASKS, Probe, probe
from metalearn.inspection.shares import Share

Role = tuple[str, int]
"""What an episode is there for, and how many tasks have none of it."""


@dataclass(frozen=True)
class Remark:
    """A warning of the quality report: its code, how many episodes have it, and its sentence for one of them."""

    code: str
    n: int
    example: str


@dataclass(frozen=True)
class RecordingsReport:
    """What was counted.

    Attributes:
        n_tasks: tasks.
        demos, experts, trials: episodes that show, are imitated, and are tries.
        without_demo, without_second: tasks without a demonstration; without a second episode that could be a trial.
        copies: episodes that are the same as another one, number by number.
        outcomes: episodes of which success is known.
        rewarded: episodes with rewards.
        solved: share that succeeded of those whose outcome is known; None without any.
        steps_median, steps_max: lengths.
        remarks: what the quality report warns of.
    """

    n_tasks: int
    demos: int
    experts: int
    trials: int
    without_demo: int
    without_second: int
    copies: int
    outcomes: int
    rewarded: int
    solved: Share | None
    steps_median: int
    steps_max: int
    remarks: tuple[Remark, ...]


def count(dataset: Dataset) -> RecordingsReport:
    """Look at every episode of a data set."""
    tasks, everything = dataset.tasks, list(episodes_of(dataset))
    known = [episode.success for episode in everything if episode.success is not None]
    lengths = np.array([len(episode) for episode in everything])
    digests = Counter(episode.digest for episode in everything)
    return RecordingsReport(
        n_tasks=len(tasks),
        demos=sum(len(record.demos) for record in tasks),
        experts=sum(len(record.experts) for record in tasks),
        trials=sum(len(record.trials) for record in tasks),
        without_demo=sum(not record.demos for record in tasks),
        without_second=sum(_trial_of(record) is None for record in tasks),
        copies=sum(n - 1 for n in digests.values()),
        outcomes=len(known),
        rewarded=sum(episode.rewards is not None for episode in everything),
        solved=Share.of(known) if known else None,
        steps_median=int(np.median(lengths)),
        steps_max=int(lengths.max()),
        remarks=_remarks(dataset),
    )


def episodes_of(dataset: Dataset) -> Iterator[Episode]:
    """All of them, task after task."""
    for record in dataset.tasks:
        yield from (*record.demos, *record.experts, *record.trials)


def probe_recordings(dataset: Dataset) -> Probe | None:
    """What demonstrations and good trials say of what is imitated; None where too few tasks have all of these."""
    usable = [r for r in dataset.tasks if r.demos and _trial_of(r) is not None][:MOST_TASKS]
    shown = bool(usable)
    if not shown:
        usable = [r for r in dataset.tasks if _trial_of(r) is not None][:MOST_TASKS]
    demos = [record.demos[0] for record in usable] if shown else []
    trials = [trial for record in usable if (trial := _trial_of(record)) is not None]
    targets = [(record.experts[0], next(record.targets())[1]) for record in usable]
    return probe(demos, trials, targets, dataset.spec)


def of_recordings(report: RecordingsReport) -> Iterator[Finding]:
    """Too few tasks, nothing that tells how a try went, copies."""
    if report.n_tasks < FEW_TASKS:
        yield doubtful(
            "few-tasks", f"there are {report.n_tasks} tasks: a few hundred are learnt by heart; record thousands"
        )
    if report.trials == 0 and report.without_second == report.n_tasks:
        yield doubtful(
            "no-trials",
            "no task has a trial, or a second episode that could be one: a policy learns from demonstrations alone",
        )
    elif report.trials == 0:
        yield note(
            "no-failed-trials",
            "no task has a trial that failed: a policy learns what a success tells, and not what a failure does",
        )
    if report.outcomes == 0 and report.rewarded == 0:
        yield doubtful(
            "not-scored", "no episode says whether it succeeded or has rewards: nobody can tell how good a policy is"
        )
    if report.copies:
        yield doubtful(
            "copies", f"{report.copies} episodes are the same as another one, number by number: they add nothing"
        )
    for remark in report.remarks:
        yield note(remark.code, f"{remark.n} episodes: {remark.example}")


def few_for_probe(report: RecordingsReport) -> str:
    """Why a probe says nothing."""
    n = report.n_tasks - report.without_second
    return f"{n} tasks have a second good episode that could be a trial, and {FEWEST_TASKS} are needed to compare them"


def _trial_of(record: TaskRecord) -> Episode | None:
    """A good episode beside the first one that is imitated."""
    good = [*record.experts[1:], *(trial for trial in record.trials if trial.success)]
    return good[0] if good else None


def _remarks(dataset: Dataset) -> tuple[Remark, ...]:
    """Warnings of the quality report by their code; copies are counted apart."""
    found: dict[str, list[str]] = {}
    for record in dataset.tasks:
        context = Context(record.demos, (*record.experts, *record.trials))
        for report in quality.inspect(context, dataset.spec):
            for warning in report.warnings:
                found.setdefault(warning.code, []).append(warning.message)
    return tuple(Remark(code, len(said), said[0]) for code, said in found.items() if code != "duplicate")
