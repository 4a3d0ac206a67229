"""Recorded episodes as training data: all of them at once, or a window of them at a time."""

import hashlib
from typing import Protocol, runtime_checkable

from metalearn.data.dataset import Dataset
from metalearn.data.spec import Spec


@runtime_checkable
class RecordedData(Protocol):
    """Recorded tasks, of which a run holds a window in memory.

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
        """Return the tasks to learn from at gradient step `step`; None if they are those of the call before."""
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
            recorded.update(" ".join(e.digest for e in record.episodes()).encode())
            recorded.update(" ".join(record.sentences).encode())
            for label in record.labels:
                recorded.update(label.tobytes())
        self.digest = recorded.hexdigest()

    def at(self, step: int) -> Dataset | None:
        """Return the whole dataset the first time, then None."""
        dataset, self._dataset = self._dataset, None
        return dataset
