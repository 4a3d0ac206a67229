"""Recorded episodes as a run learns from them: all at once, or a window of them at a time."""

import hashlib
from typing import Protocol, runtime_checkable

from metalearn.data.dataset import Dataset
from metalearn.data.spec import Spec


@runtime_checkable
class RecordedData(Protocol):
    """Recorded tasks, of which a run knows some at a time.

    Attributes:
        spec: of their episodes.
        n_tasks: how many there are in all.
        max_trials: trials in the longest recorded sequence of one task.
        digest: changes when what is learnt from them could.
    """

    spec: Spec
    n_tasks: int
    max_trials: int
    digest: str

    def at(self, step: int) -> Dataset | None:
        """The tasks to learn from at gradient step `step`; None: those of the step before, which was asked for."""
        ...


class InMemoryData:
    """A dataset in memory. Raises InvalidData if it cannot be trained on."""

    NOTHING = hashlib.sha256().hexdigest()
    """The digest of no recorded episodes."""

    def __init__(self, dataset: Dataset) -> None:
        self._dataset: Dataset | None = dataset.check()
        self.spec, self.n_tasks = dataset.spec, len(dataset.tasks)
        self.max_trials = max(len(record.trials) for record in dataset.tasks)
        recorded = hashlib.sha256()
        for record in dataset.tasks:
            recorded.update(" ".join(e.digest for e in (*record.demos, *record.experts, *record.trials)).encode())
        self.digest = recorded.hexdigest()

    def at(self, step: int) -> Dataset | None:
        """All of it, the first time."""
        dataset, self._dataset = self._dataset, None
        return dataset
