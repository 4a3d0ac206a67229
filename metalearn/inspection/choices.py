"""What a training will choose by itself, and why: asked of `metalearn.training.decisions`. Knows no environments."""

from dataclasses import dataclass
from typing import Any

from metalearn.config import Experiment
from metalearn.data.dataset import Dataset
from metalearn.experiments import own_experiment
from metalearn.tasks.family import Family, tasks_of
from metalearn.training.collect import demonstrate_chunk, demonstration_chunks
from metalearn.training.decisions import Decisions, decide
from metalearn.training.first_decisions import decide_first


@dataclass(frozen=True)
class Choice:
    """A field of the configuration, as `model.n_frames`; what it will be; and why."""

    field: str
    value: Any
    reason: str


def experiment_of(family: Family, name: str, asks: tuple[str, ...] = ()) -> tuple[Experiment, tuple[Choice, ...]]:
    """The experiment that `wtl train --family NAME` begins with, and what was chosen for it.

    Args:
        family: whose tasks it would learn.
        name: of the family.
        asks: that are set with `--set model.asks=...`; none: nothing is set.
    """
    plain = own_experiment(family.name, name)
    if asks:
        plain = plain.model_copy(update={"model": plain.model.model_copy(update={"asks": asks})})
    made = decide_first(plain, family)
    return made.experiment, _choices(made)


def collected(experiment: Experiment, family: Family, n_tasks: int) -> Dataset:
    """Episodes in a few training tasks, as a training collects them before it learns. Raises InvalidConfig."""
    indices = tasks_of(family, "train", n_tasks, experiment.seed)
    chunks = demonstration_chunks(experiment.family, indices, experiment.data, experiment.seed)
    return Dataset(family.spec, tuple(record for chunk in chunks for record in demonstrate_chunk(chunk)))


def choices(experiment: Experiment, dataset: Dataset, *, own_trials: bool) -> tuple[Choice, ...]:
    """What a training of `experiment` will choose once it has seen data like `dataset`."""
    return _choices(decide(experiment, dataset, own_trials=own_trials))


def _choices(made: Decisions) -> tuple[Choice, ...]:
    return tuple(Choice(one.field, one.value, one.reason) for one in made.made)
