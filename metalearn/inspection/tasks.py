"""How tasks differ from each other, and layouts of one task: what there is to learn, or to learn by heart.

Knows families; whether a policy can learn it is for others to say.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool

from metalearn.data.episode import Episode
from metalearn.data.parts import observation_vectors
from metalearn.inspection.environment import SCENES
from metalearn.inspection.evidence import blocks
from metalearn.inspection.looks import called, identifying
from metalearn.inspection.play import Tell, first_observations, play_expert
from metalearn.tasks.family import Family

N_LAYOUTS = 4
LAYOUT = 7_001


@dataclass(frozen=True)
class TasksReport:
    """What tasks there are.

    Attributes:
        sizes: number of tasks in each split.
        overlaps: splits that have tasks in common.
        compared: number of tasks that were compared in one layout.
        kinds: how many different ones are among them: a demonstration and an expert's trial with the same seeds differ.
        held_out: share of as many test tasks that are like none of those; None where most of those differ anyway.
        layouts: whether a task starts differently with another seed.
        same_scene: whether the demonstration and the trial scene give the same episodes with the same seed.
        identifying: numbers of the first observation in a trial that tell the task whatever the seed.
    """

    sizes: dict[str, int]
    overlaps: tuple[str, ...]
    compared: int
    kinds: int | None
    held_out: float | None
    layouts: bool
    same_scene: bool | None
    identifying: tuple[str, ...]


def compare_tasks(
    family: Family, n: int, *, expert: bool, overlaps: tuple[str, ...], tell: Tell
) -> tuple[TasksReport, Bool[np.ndarray, " o"]]:
    """Compare tasks of a family, and say which numbers of a first observation identify a task.

    Raises:
        InvalidConfig: an environment does not work.
    """
    rng = np.random.default_rng(LAYOUT)
    indices = blocks(family, n, rng)
    tell(f"first observations of {len(indices)} tasks")
    firsts = np.stack([observation_vectors(first_observations(family, indices, LAYOUT + i)) for i in range(N_LAYOUTS)])
    leaks = identifying(firsts)
    kinds, held_out, same_scene = None, None, None
    if expert:
        tell(f"how {len(indices)} tasks differ")
        seen, same_scene = _episodes(family, indices)
        kinds = len(set(seen))
        if kinds <= len(indices) / 2:
            others, _ = _episodes(family, blocks(family, len(indices), rng, "test"))
            held_out = float(np.mean([one not in set(seen) for one in others]))
    report = TasksReport(
        sizes={name: len(indices) for name, indices in family.splits.items()},
        overlaps=overlaps,
        compared=len(indices),
        kinds=kinds,
        held_out=held_out,
        layouts=bool((np.ptp(firsts, axis=0) > 0).any()),
        same_scene=same_scene,
        identifying=called(leaks, family.spec),
    )
    return report, leaks


def _episodes(family: Family, indices: list[int]) -> tuple[list[tuple[str, ...]], bool]:
    """What is done in each task in both scenes with the same seed, and whether the scenes are the same."""
    both = [play_expert(family, indices, [LAYOUT] * len(indices), scene) for scene in SCENES]
    same = all(_content(demo) == _content(trial) for demo, trial in zip(*both, strict=True))
    return [(demo.digest, trial.digest) for demo, trial in zip(*both, strict=True)], same


def _content(episode: Episode) -> tuple[bytes, int]:
    return np.ascontiguousarray(episode.observations).tobytes(), len(episode)
