"""Demonstrators of every skill: PPO on the environment's rewards, looked at while it learns.

Bad demonstrations are those of an early look, as in D-REX; those of all other looks are episodes that nobody who
learns from the former has seen, and which may be better.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from jaxtyping import Float, Int

from benchmarks.surpassing.locomotion import Locomotion, roll_out
from benchmarks.surpassing.optimising import environment_pay, optimise
from metalearn.adapter import Actor
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Episode
from metalearn.evaluation.protocol import returned

BAD = {"HalfCheetah-v5": 188.0, "Hopper-v5": 1079.0}
"""Mean returns of D-REX's own demonstrations, in the files of its code: one episode, and four."""
EVERY, PER_LOOK = 16_384, 5  # environment steps between looks; episodes of each
LOOKS_STREAM = 1 << 47


def looks_of(family: Locomotion, steps: int, seed: int, folder: Path) -> Dataset:
    """Episodes of PPO as it explores, a task record for each look, in a folder: not made again if they are there.

    The name of a record is the number of environment steps before the look.
    """
    if (folder / "dataset.json").exists():
        return Dataset.load(folder)
    records: list[TaskRecord] = []

    def look(used: int, _policy: Actor, exploring: Actor) -> None:
        episodes = roll_out(family, [(exploring, PER_LOOK)], LOOKS_STREAM + 1000 * seed + len(records))
        records.append(TaskRecord(str(used), (), tuple(episodes)))
        print(f"{family.name} PPO {used}: {returned(episodes).mean():.0f}", flush=True)

    optimise(family, environment_pay(), steps, EVERY, seed, look)
    dataset = Dataset(family.spec, tuple(records))
    dataset.save(folder)
    return dataset


def bad_look(means: Float[np.ndarray, " n"], level: float) -> int:
    """The first look whose mean return is at least `level`; the best one if there is none."""
    enough = np.flatnonzero(means >= level)
    return int(enough[0]) if len(enough) else int(means.argmax())


def demonstrations(looks: Dataset, level: float) -> tuple[int, list[Episode]]:
    """The number of the bad look, and its episodes."""
    means = np.array([returned(record.experts).mean() for record in looks.tasks])
    chosen = bad_look(means, level)
    return chosen, list(looks.tasks[chosen].experts)


def unseen(looks: Dataset, chosen: int) -> tuple[list[Episode], Int[np.ndarray, " e"]]:
    """The episodes of all other looks, and the look of each."""
    others = [(i, episode) for i, record in enumerate(looks.tasks) if i != chosen for episode in record.experts]
    return [episode for _, episode in others], np.array([i for i, _ in others])


def unscored(episodes: Sequence[Episode]) -> tuple[Episode, ...]:
    """The same episodes as somebody has them who knows nothing of rewards."""
    return tuple(Episode(e.observations, e.actions) for e in episodes)
