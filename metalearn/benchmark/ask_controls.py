"""What asking is compared with: policies that learn from the same episodes, trained when they are first needed."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np

from metalearn.bundle import Bundle, run_bundle
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Episode
from metalearn.evaluation.protocol import returned
from metalearn.experiments import find_experiment
from metalearn.model.inference import Inference
from metalearn.training.loop import train

NUDGE = 1e-6  # by which observations differ of episodes that are not to count as alike


def trained_on(
    run: Path, experiment: str, dataset: Dataset, asks: tuple[str, ...], steps: int | None = None, *, seed: int = 0
) -> Inference:
    """The policy of an experiment that learnt from other data, without own trials; trained now if it is not.

    Args:
        run: its folder.
        experiment: its name.
        dataset: what it learns from.
        asks: the kinds that it learns to follow.
        steps: of gradient descent; None: those before the experiment's own trials.
        seed: of the training.
    """
    if run_bundle(run) is None:
        usual = find_experiment(experiment)
        update = {"rounds": 0, "trials_per_task": 0, "check_tasks": 0}
        alone = usual.training.model_copy(update=update | ({"warmup_steps": steps} if steps else {}))
        settings = {
            "name": run.name,
            "model": usual.model.model_copy(update={"asks": asks}),
            "training": alone,
            "seed": seed,
        }
        train(usual.model_copy(update=settings), run, dataset=dataset)
    return Inference.load(Bundle.load(run / "bundle"))


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
