"""The source of a run's episodes: demonstrations by the expert, and trials by the policy itself.

Rank 0 collects and stores them; the other ranks read them from the store. Knows nothing about gradients.
"""

import hashlib
import math
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any, TypeVar

import numpy as np
from jaxtyping import Bool, Float

from metalearn.config import Experiment
from metalearn.data.asks import Ask
from metalearn.data.context import Context
from metalearn.data.dataset import FEWEST_TASKS, INDEX_FILE, Dataset, TaskRecord
from metalearn.data.episode import Array
from metalearn.tasks.family import Family, tasks_of
from metalearn.training.collect import (
    STREAM_KEEPING,
    STREAM_PROGRESS,
    STREAM_TRIAL,
    Collector,
    PrefetchingCollector,
    Snapshot,
    TaskTrials,
    demonstrate_chunk,
    demonstration_chunks,
    gathered,
    trial_chunks,
    try_chunk,
)
from metalearn.training.events import Stopped
from metalearn.training.group import Group
from metalearn.training.minutes import DEMONSTRATIONS, LOOK, SEARCH, TRIALS
from metalearn.training.run_store import RunStore
from metalearn.training.searching import Explored, explore_chunk

MOST_EXPLORED = 512  # validation tasks of which it is remembered what solves them
FEWEST_EXPLORED = 32  # fewer would say too little
FEWEST_VALIDATED = 64  # that a look tries, if there are so many: fewer would say too little

T = TypeVar("T")
R = TypeVar("R")
Tell = Callable[[str, int, int], None]
Work = tuple[Iterator[list[T]], int]
"""Results of chunks, in order, and how many chunks there are."""


class EpisodeSource:
    """The episodes of one run. Every rank of the group calls every method.

    Args:
        experiment: what is trained.
        family: its tasks.
        collector: runs the rollouts of chunks of tasks; only rank 0 uses it.
        store: where demonstrations and trials are kept.
        group: the learners.
        tell: called with the phase, the chunks done and the chunks in all.
        stopping: polled after every chunk; True ends the run.
    """

    def __init__(
        self,
        experiment: Experiment,
        family: Family,
        collector: Collector,
        store: RunStore,
        group: Group,
        tell: Tell,
        stopping: Callable[[], bool],
    ) -> None:
        self._experiment, self._family, self._collector = experiment, family, collector
        self._store, self._group, self._tell, self._stopping = store, group, tell, stopping
        self._begun: Work[TaskTrials] | None = None
        self._episode_s: float | None = None
        self._looked_at = frozenset[int]()

    def demonstrations(self) -> Dataset:
        """Return the expert's episodes, from the store if they were collected before."""
        indices = tasks_of(self._family, "train", self._experiment.data.n_tasks, self._experiment.seed)

        def demonstrate() -> Dataset:
            return Dataset(self._family.spec, tuple(self._demonstrate("demonstrate", indices, DEMONSTRATIONS)))

        return self._kept("dataset", demonstrate)[0]

    def validation(self, n_attempts: int) -> list[TaskRecord]:
        """Return expert episodes of validation tasks on rank 0, which evaluates; nothing on the other ranks.

        They are as many as are asked for, but where minutes count fewer, if a look at `n_attempts` in each is slow.
        """
        found = list[TaskRecord]()

        def demonstrate() -> None:
            n = min(self._affordable(n_attempts), len(self._family.splits["validation"]))
            if n:
                indices = tasks_of(self._family, "validation", n, self._experiment.seed)
                self._looked_at = frozenset(indices)
                found.extend(self._demonstrate("", indices))

        self._group.run_on_rank_zero(demonstrate)
        return found

    def without_demos(self, n_tasks: int) -> frozenset[int]:
        """Which of so many training tasks are tried without demonstrations: as many as learning drops them of.

        They are spread evenly. In phases of given lengths there are none.
        """
        training = self._experiment.training
        share = training.demo_dropout if training.automatic else 0.0
        return frozenset(i for i in range(n_tasks) if int((i + 1) * share) > int(i * share))

    def begin_trials(
        self, dataset: Dataset, policy: Snapshot, round_number: int, n_attempts: int, asks: Sequence[Ask]
    ) -> None:
        """Start to collect attempts of `policy` in every training task, each asked for its own of `asks`.

        `take_trials` waits for them.
        """
        if self._group.rank == 0:
            alone = self.without_demos(len(dataset.tasks))
            shown = [() if i in alone else record.demos for i, record in enumerate(dataset.tasks)]
            contexts = [Context(demos, (), ask) for demos, ask in zip(shown, asks, strict=True)]
            self._begun = self._try(policy, dataset.tasks, contexts, n_attempts, STREAM_TRIAL + 100 * round_number)

    def advance(self) -> None:
        """Let a prefetching collector make progress, without waiting."""
        if isinstance(self._collector, PrefetchingCollector):
            self._collector.advance()

    def take_trials(self, dataset: Dataset, policy: Snapshot, round_number: int) -> tuple[list[TaskTrials], str]:
        """Wait for the trials of `policy` that were started; return them and a digest over all of them."""

        def collect() -> Dataset:
            assert self._begun is not None
            tasks = self._gather("collect", self._begun, TRIALS)
            self._begun = None
            assert {trials.version for trials in tasks} == {policy.version}
            # Where time was up, the tasks that nobody came to have no trials.
            untried = [TaskTrials((), (), policy.version)] * (len(dataset.tasks) - len(tasks))
            records = [
                TaskRecord(record.task, (), trials.attempts, trials.labels)
                for record, trials in zip(dataset.tasks, [*tasks, *untried], strict=True)
            ]
            return Dataset(dataset.spec, tuple(records))

        kept, digest = self._kept(f"trials-{round_number}", collect, afresh=True)
        return _trials(kept), digest

    def earlier_trials(self, round_number: int) -> list[TaskTrials] | None:
        """Return the trials of a round that an earlier process of this run collected, if there are any."""
        name = f"trials-{round_number}"
        found = self._group.run_on_rank_zero(lambda: self._store.fetch(name))
        return _trials(self._load(name)) if found else None

    def success(
        self, policy: Snapshot, records: Sequence[TaskRecord], n_attempts: int, informed: bool
    ) -> dict[str, float]:
        """Measure success on validation tasks: after 0, 1, ... trials and, if `informed`, an expert's."""

        def measure() -> dict[str, float]:
            if not records:
                return {}
            names = ("trial", "retrial", *(f"after_{n}" for n in range(2, n_attempts)))
            solved = self._solved(policy, records, n_attempts, STREAM_PROGRESS)
            rates = dict(zip(names, solved.mean(0).tolist(), strict=False))
            if informed:
                contexts = [Context(record.demos, record.experts[:1]) for record in records]
                after = self._gather("", self._try(policy, records, contexts, 1, STREAM_PROGRESS + 1))
                rates["after_expert"] = float(np.mean([bool(task.attempts[0].success) for task in after]))
            return rates

        return self._group.run_on_rank_zero(measure)

    def share_solved(
        self, policy: Snapshot, records: Sequence[TaskRecord], n_attempts: int, number: int
    ) -> Float[np.ndarray, " n"]:
        """Of each validation task, the share of so many attempts that succeed, each after those before it.

        With each `number` they are others, and none that `success` sees: whoever was chosen for luck has none there.
        """

        def measure() -> Array:
            return self._solved(policy, records, n_attempts, STREAM_KEEPING + 100 * number).mean(1)

        return self._group.run_on_rank_zero(measure)

    def exploration(self, policy: Snapshot) -> list[Explored]:
        """Which behaviours of a policy solve validation tasks that no look tries; on rank 0, which evaluates.

        They are as many as `SEARCH` of the minutes allows; none where these are too few to say anything.
        """
        validation, data, minutes = self._family.splits["validation"], self._experiment.data, self._minutes
        most = min(MOST_EXPLORED, data.n_tasks, len(validation) - len(self._looked_at))
        if minutes is not None and self._episode_s is not None:
            attempts = 1 + 2 * policy.model.n_hypotheses
            most = min(most, int(SEARCH * 60 * minutes / (self._episode_s * attempts)))
        if most < FEWEST_EXPLORED:
            return []
        drawn = tasks_of(self._family, "validation", most + len(self._looked_at), self._experiment.seed + 1)
        indices = [index for index in drawn if index not in self._looked_at][:most]
        shown = data.model_copy(update={"experts_per_task": 0, "graded_per_task": 0, "play_per_task": 0})
        # A chunk of as many episodes as any other; between chunks it is seen whether there is time.
        shown = shown.model_copy(update={"chunk_tasks": max(1, data.chunk_tasks // (2 * policy.model.n_hypotheses))})
        chunks = demonstration_chunks(self._experiment.family, indices, shown, self._experiment.seed)
        work = self._collector.map(partial(explore_chunk, policy), chunks), len(chunks)
        found = self._gather("search", work, SEARCH)
        return found if len(found) >= FEWEST_EXPLORED else []

    # -- chunks -----------------------------------------------------------------------------------------------

    def _demonstrate(self, phase: str, indices: Sequence[int], share: float = math.inf) -> list[TaskRecord]:
        experiment = self._experiment
        chunks = demonstration_chunks(experiment.family, indices, experiment.data, experiment.seed)
        began_s = time.monotonic()
        records = self._gather(phase, (self._collector.map(demonstrate_chunk, chunks), len(chunks)), share)
        n_episodes = sum(len(record.demos) + len(record.experts) for record in records)
        self._episode_s = (time.monotonic() - began_s) / max(1, n_episodes)
        return records

    def _affordable(self, n_attempts: int) -> int:
        most, minutes = self._experiment.training.check_tasks, self._minutes
        if minutes is None or self._episode_s is None:
            return most
        return min(most, max(FEWEST_VALIDATED, int(LOOK * 60 * minutes / (self._episode_s * n_attempts))))

    @property
    def _minutes(self) -> float | None:
        return self._experiment.training.minutes

    def _solved(
        self, policy: Snapshot, records: Sequence[TaskRecord], n_attempts: int, stream: int
    ) -> Bool[np.ndarray, "n l"]:
        contexts = [Context(record.demos) for record in records]
        own = self._gather("", self._try(policy, records, contexts, n_attempts, stream))
        return np.array([[bool(attempt.success) for attempt in task.attempts] for task in own])

    def _try(
        self,
        policy: Snapshot,
        records: Sequence[TaskRecord],
        contexts: Sequence[Context],
        n_attempts: int,
        stream: int,
    ) -> Work[TaskTrials]:
        experiment, size = self._experiment, self._experiment.data.chunk_tasks
        seed = stream + 10_000 * experiment.seed
        chunks = trial_chunks(experiment.family, records, contexts, n_attempts, seed, size=size)
        return self._collector.map(partial(try_chunk, policy), chunks), len(chunks)

    def _gather(self, phase: str, work: Work[R], share: float = math.inf) -> list[R]:
        """The results of all chunks, or of those that are done after a share of the minutes that a run may take."""

        def tell(done: int) -> None:
            if phase:
                self._tell(phase, done, work[1])
            if self._stopping():
                raise Stopped("stopped while collecting episodes; the same command resumes")

        seconds = math.inf if self._minutes is None else share * 60 * self._minutes
        return gathered(work[0], tell, seconds, FEWEST_TASKS)

    # -- what is kept -----------------------------------------------------------------------------------------

    def _kept(self, name: str, make: Callable[[], Dataset], *, afresh: bool = False) -> tuple[Dataset, str]:
        """Load the dataset `name` from the store; rank 0 makes it first if it is missing, or if `afresh`."""
        made: list[Dataset] = []

        def keep() -> str:
            if not afresh and self._store.fetch(name) and (self._store.folder / name / INDEX_FILE).exists():
                return ""
            dataset = make()
            dataset.save(self._store.folder / name)
            self._store.publish(name)
            made.append(dataset)
            return _digest(dataset)

        digest = self._group.run_on_rank_zero(keep)
        return made[0] if made else self._load(name), digest

    def _load(self, name: str) -> Dataset:
        self._store.fetch(name)
        return Dataset.load(self._store.folder / name)


def _trials(dataset: Dataset) -> list[TaskTrials]:
    return [TaskTrials(record.experts, record.labels) for record in dataset.tasks]


def _digest(dataset: Dataset) -> str:
    """Hash every episode, in order."""
    hasher = hashlib.sha256()
    for record in dataset.tasks:
        hasher.update(" ".join(episode.digest for episode in (*record.demos, *record.experts)).encode())
    return hasher.hexdigest()


def summary(policy: Snapshot, steps: int, round_number: int, trials: Sequence[TaskTrials], digest: str) -> Any:
    """Summarise a collection for the provenance: the policy's version, its staleness, the number of episodes."""
    return {
        "round": round_number,
        "version": policy.version,
        "staleness": steps - policy.version,
        "episodes": sum(len(task.attempts) for task in trials),
        "digest": digest,
    }
