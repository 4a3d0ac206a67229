"""Recorded episodes as a data set to train on: which of them belong to one task, and what each of them is there for.

Of a task's episodes those that did not fail are demonstrations and episodes to imitate, and those that failed are its
trials. Does not know files: episodes come as `Recorded`, by the names of their tasks.
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from metalearn.data.dataset import FEWEST_TASKS, Dataset, TaskRecord
from metalearn.data.episode import Episode
from metalearn.data.errors import InvalidData
from metalearn.data.formats.selection import Recorded, Skipped
from metalearn.data.spec import Spec


@dataclass(frozen=True)
class TaskRule:
    """What the episodes of a task are used for.

    Attributes:
        demos: of the episodes that did not fail, the first so many are demonstrations and the others are imitated.
        held_out: share of the tasks, 0 .. 1, that are put aside.
        seed: of which tasks these are.
    """

    demos: int = 1
    held_out: float = 0.0
    seed: int = 0


@dataclass(frozen=True)
class TaskSet:
    """A data set to train on, the tasks that were put aside (None: none were), and the tasks that cannot be used."""

    training: Dataset
    held_out: Dataset | None
    skipped: tuple[Skipped, ...]


def by_task(recorded: Recorded) -> dict[str, Recorded]:
    """The episodes of a recording, apart for each task that it names, in its order."""
    rows: dict[str, list[int]] = defaultdict(list)
    for i, task in enumerate(recorded.tasks):
        rows[task].append(i)
    return {
        task: replace(
            recorded,
            episodes=tuple(recorded.episodes[i] for i in own),
            remarks=tuple(recorded.remarks[i] for i in own),
            tasks=(),
            skipped=(),
        )
        for task, own in rows.items()
    }


def make_task_set(named: Mapping[str, Sequence[Episode]], spec: Spec, rule: TaskRule) -> TaskSet:
    """The tasks of these episodes, which fit `spec`, as data to train on.

    Raises:
        InvalidData: too few tasks can be used; what is wrong with the others is said.
    """
    records, skipped = [], []
    for task, episodes in named.items():
        good = [episode for episode in episodes if episode.success is not False and episode.actions is not None]
        failed = tuple(episode for episode in episodes if episode.success is False)
        if len(good) <= rule.demos:
            needed = f"{rule.demos + 1} episodes with actions that did not fail"
            skipped.append(Skipped(task, f"it needs {needed}, to show and to imitate, and has {len(good)}"))
            continue
        records.append(TaskRecord(task, tuple(good[: rule.demos]), tuple(good[rule.demos :]), trials=failed))
    n_aside = round(rule.held_out * len(records))
    if len(records) - n_aside < FEWEST_TASKS:
        got = f"{len(records)}, of which {n_aside} are held out" if n_aside else str(len(records))
        why = f" ({skipped[0].episode}: {skipped[0].reason})" if skipped else ""
        hint = "; name more recordings, or say with --task-by which of their episodes are one task" * (not skipped)
        raise InvalidData("tasks", f"at least {FEWEST_TASKS} to train on{hint}", f"{got}{why}")
    aside = set(np.random.default_rng(rule.seed).permutation(len(records))[:n_aside].tolist())
    parts = [tuple(r for i, r in enumerate(records) if (i in aside) is wanted) for wanted in (False, True)]
    held_out = Dataset(spec, parts[1]) if aside else None
    return TaskSet(Dataset(spec, parts[0]).check(), held_out, tuple(skipped))
