"""What asking is compared with: policies that learn from the same episodes, trained when they are first needed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from metalearn.bundle import Bundle, run_bundle
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Episode
from metalearn.evaluation.protocol import returned
from metalearn.training.calibrate import experiment_of
from metalearn.training.loop import train

NUDGE = 1e-6  # by which observations differ of episodes that are not to count as alike


def trained_on(run: Path, subject: Bundle, dataset: Dataset, asks: tuple[str, ...]) -> Bundle:
    """A policy with the settings of another that learnt from other data, without own trials; trained now if it is not.

    Args:
        run: how the name of its folder begins (`folder_beside`).
        subject: whose settings it has; it takes at most as many gradient steps.
        dataset: what it learns from.
        asks: the kinds that it learns to follow.
    """
    folder = folder_beside(run, subject)
    if run_bundle(folder) is None:
        usual = experiment_of(subject)
        alone = {"minutes": None, "steps": steps_of(subject), "trials_per_task": 0, "check_tasks": 0}
        # Only own trials teach a memory.
        own = {"asks": asks, "n_hypotheses": subject.model["n_hypotheses"], "memory": 0}
        sections = {"model": usual.model.model_copy(update=own), "training": usual.training.model_copy(update=alone)}
        train(usual.model_copy(update={"name": run.name, **sections}), folder, dataset=dataset)
    return Bundle.load(folder / "bundle")


def folder_beside(run: Path, subject: Bundle) -> Path:
    """The folder of what is compared with a subject: another one's is not taken for it."""
    return run.with_name(f"{run.name}-{subject.id[:8]}")


def steps_of(bundle: Bundle) -> int:
    """The gradient steps of its training."""
    return int(bundle.provenance["history"][-1]["step"])


def best_tenth(dataset: Dataset) -> Dataset:
    """The tenth of all episodes with the highest returns, as of experts whom nobody watched."""
    every = sorted(everybody(dataset), key=lambda episode: -float(returned([episode])[0]))
    best = every[: max(2, len(every) // 10)]
    return Dataset(dataset.spec, tuple(TaskRecord(f"best/{i}", (), (episode,)) for i, episode in enumerate(best)))


def everybody(dataset: Dataset) -> list[Episode]:
    """Every episode that can be an answer."""
    return [
        episode
        for record in dataset.tasks
        for episode in (*record.experts, *(e for one in record.others for e in one.episodes))
    ]


def unlike(dataset: Dataset) -> Dataset:
    """The same episodes, of which no two count as having begun alike: every return is then its own, luck included."""
    numbers = iter(range(len(everybody(dataset))))

    def own(episode: Episode) -> Episode:
        return replace(episode, observations=episode.observations * np.float32(1 - NUDGE * next(numbers)))

    return _with_episodes(dataset, own)


def shuffled(dataset: Dataset, seed: int) -> Dataset:
    """The same episodes, each with the rewards of another one: what is asked for then says nothing.

    All must have the same number of steps.
    """
    rng = np.random.default_rng([seed, 25])
    every = everybody(dataset)
    givers = iter(rng.permutation(len(every)))

    def other(episode: Episode) -> Episode:
        return replace(episode, rewards=every[next(givers)].rewards)

    return _with_episodes(dataset, other)


def _with_episodes(dataset: Dataset, changed: Callable[[Episode], Episode]) -> Dataset:
    """The same tasks, in which every episode that can be an answer is another one."""

    def of(record: TaskRecord) -> TaskRecord:
        experts = tuple(map(changed, record.experts))
        others = tuple(replace(one, episodes=tuple(map(changed, one.episodes))) for one in record.others)
        return replace(record, experts=experts, others=others)

    return Dataset(dataset.spec, tuple(map(of, dataset.tasks)))
