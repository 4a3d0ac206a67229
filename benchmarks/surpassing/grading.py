"""Episodes of known noise: a clone of bad demonstrations, which acts at random now and then (D-REX, section 4)."""

from collections.abc import Callable, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Shaped
from torch import nn

from benchmarks.surpassing.demonstrating import unscored
from benchmarks.surpassing.locomotion import Degraded, Locomotion, roll_out
from metalearn.adapter import Actor
from metalearn.baselines.rl import within
from metalearn.baselines.search import Scaler
from metalearn.data.dataset import Dataset, Demonstrator, TaskRecord
from metalearn.data.episode import Episode
from metalearn.data.spec import Spec
from metalearn.training.collect import one_thread

LEVELS: Float[np.ndarray, " l"] = np.round(np.arange(0, 1, 0.05), 2)
PER_LEVEL = 5
GRADED_STREAM = 1 << 48


class Clone:
    """Behaviour cloning: squared error and weight decay, since the actions of demonstrations are noisy.

    Four hidden layers, batches and decay as in D-REX's code; its 50,000 steps at a tenth of the learning rate are fewer
    here, and observations are standardised.
    """

    WIDTH, LAYERS, BATCH, DECAY, LEARNING_RATE = 256, 4, 128, 1e-3, 1e-3

    def __init__(self, network: nn.Module, scaler: Scaler, spec: Spec) -> None:
        self._network, self._scaler, self._spec = network, scaler, spec

    @torch.no_grad()
    def act(self, observations: Shaped[np.ndarray, "b *o"]) -> Shaped[np.ndarray, "b *a"]:
        out = self._network(torch.from_numpy(self._scaler(observations).astype(np.float32)))
        return within(self._spec, out.numpy())

    @classmethod
    @one_thread()
    def of(cls, family: Locomotion, demos: Sequence[Episode], steps: int, seed: int) -> "Clone":
        """Of demonstrations alone."""
        scaler = Scaler.of(list(demos))
        seen = torch.from_numpy(np.concatenate([scaler(e.observations[:-1]) for e in demos]).astype(np.float32))
        done = torch.from_numpy(actions_of(demos))
        sizes = [seen.shape[1], *[cls.WIDTH] * cls.LAYERS]
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            hidden = [layer for pair in pairwise(sizes) for layer in (nn.Linear(*pair), nn.ReLU())]
            network = nn.Sequential(*hidden, nn.Linear(cls.WIDTH, done.shape[1]))
            optimiser = torch.optim.Adam(network.parameters(), cls.LEARNING_RATE)
            schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, cls.LEARNING_RATE, steps)
            for _ in range(steps):
                drawn = torch.randint(len(seen), (cls.BATCH,))
                error = (network(seen[drawn]) - done[drawn]).square().sum(1).mean()
                weights = sum(layer.weight.square().sum() for layer in network if isinstance(layer, nn.Linear))
                optimiser.zero_grad()
                (error + cls.DECAY * weights).backward()
                optimiser.step()
                schedule.step()
        return cls(network, scaler, family.spec)


def kept_rounds(
    family: Locomotion,
    acting: Callable[[int], Actor],
    stream: int,
    folder: Path,
    instead: Float[np.ndarray, "n a"] | None = None,
) -> list[list[Episode]]:
    """`PER_LEVEL` rounds of an episode of each of `LEVELS`, in a folder: not made again if they are there.

    Args:
        family: where.
        acting: makes who acts in so many rows.
        stream: of layouts.
        folder: of the episodes.
        instead: what is done instead of the own action (`Degraded`).
    """
    if not (folder / "dataset.json").exists():
        records = []
        for number in range(PER_LEVEL):
            rng = np.random.default_rng([stream, number])
            actor = Degraded(acting(len(LEVELS)), family.spec, LEVELS, rng, instead)
            records.append(
                TaskRecord(str(number), (), tuple(roll_out(family, [(actor, len(LEVELS))], stream + number)))
            )
        Dataset(family.spec, tuple(records)).save(folder)
    return [list(record.experts) for record in Dataset.load(folder).tasks]


def actions_of(episodes: Sequence[Episode]) -> Float[np.ndarray, "n a"]:
    """All actions of some episodes, one after the other."""
    return np.concatenate([episode.actions for episode in episodes if episode.actions is not None])


def to_ask_of(family: Locomotion, demos: Sequence[Episode], rounds: Sequence[Sequence[Episode]]) -> Dataset:
    """Training data of the ask `better`: each round is a task, in which the quality of who acted is 1 - noise.

    The demonstrators are as good as can be, since nobody better is known. Who is shown at a level acted in another
    round, so that nothing is its own context. Nobody knows a reward.
    """
    plain = [unscored(one) for one in rounds]
    shown = unscored(demos)
    records = [
        TaskRecord(
            f"{family.name}/{number}",
            demos=shown,
            experts=shown,
            others=tuple(
                Demonstrator(f"{level:.0%} at random", float(1 - level), (other,), (own,))
                for level, own, other in zip(LEVELS, one, plain[(number + 1) % len(plain)], strict=True)
            ),
        )
        for number, one in enumerate(plain)
    ]
    return Dataset(family.spec, tuple(records))


def flat(rounds: Sequence[Sequence[Episode]]) -> tuple[list[Episode], Float[np.ndarray, " e"]]:
    """All episodes, and the noise of each."""
    return [episode for one in rounds for episode in one], np.tile(LEVELS, len(rounds))
