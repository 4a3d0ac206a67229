"""What is imitated given what: batches of contexts and targets, drawn from everything collected so far.

Episodes are kept once, as frames to condition on and as padded steps to imitate; a batch is made of indices.
A target is never in its own context.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from metalearn.config import ModelConfig, TrainingConfig
from metalearn.data.dataset import Dataset
from metalearn.data.episode import Array
from metalearn.data.frames import Frames
from metalearn.data.spec import Spec
from metalearn.model.encoder import EpisodeTensors
from metalearn.training.collect import TaskTrials

ABSENT = -1


@dataclass(frozen=True, eq=False)
class MetaBatch:
    """Contexts of b tasks (demos and trials), and for each the steps of an episode to imitate."""

    demos: EpisodeTensors
    trials: EpisodeTensors
    observations: Float[Tensor, "b t o"]
    actions: Shaped[Tensor, "b t *a"]
    mask: Bool[Tensor, "b t"]


class Steps:
    """Padded steps to imitate of m episodes: observations `[m t o]`, actions `[m t a]` or `[m t]`, mask `[m t]`."""

    def __init__(self, pairs: Sequence[tuple[Array, Array]], spec: Spec) -> None:
        longest = max(len(actions) for _, actions in pairs)
        m, tail = len(pairs), () if spec.discrete else (spec.action_size,)
        observations = np.zeros((m, longest, spec.observation_size), np.float32)
        actions = np.zeros((m, longest, *tail), np.int64 if spec.discrete else np.float32)
        lengths = np.zeros(m, np.int64)
        start = int(spec.action_space.start) if spec.discrete else 0  # type: ignore[union-attr]
        for i, (seen, done) in enumerate(pairs):
            lengths[i] = len(done)
            observations[i, : len(done)] = seen.reshape(len(seen), -1)
            actions[i, : len(done)] = done - start if spec.discrete else done
        self.observations, self.actions = torch.from_numpy(observations), torch.from_numpy(actions)
        self.lengths = torch.from_numpy(lengths)

    def pick(self, index: Int[Tensor, " b"], n_steps: int, generator: torch.Generator) -> tuple[Tensor, Tensor, Tensor]:
        """Observations, actions and mask of episodes `index`: all steps, or `n_steps` random ones of each."""
        lengths = self.lengths[index]
        if n_steps == 0 or n_steps >= int(lengths.max()):
            longest = int(lengths.max())
            mask = torch.arange(longest) < lengths[:, None]
            return self.observations[index, :longest], self.actions[index, :longest], mask
        steps = (torch.rand((len(index), n_steps), generator=generator) * lengths[:, None]).long()
        return (
            self.observations[index[:, None], steps],
            self.actions[index[:, None], steps],
            torch.ones_like(steps).bool(),
        )


class TrainingSet:
    """Demos, expert episodes and (once collected) own trials of n training tasks."""

    def __init__(self, dataset: Dataset, config: ModelConfig) -> None:
        self._spec, self._config = dataset.spec, config
        records = dataset.tasks
        self.n_tasks = len(records)
        shown = [episode for record in records for episode in record.demos]
        expert = [episode for record in records for episode in record.experts]
        recorded = [episode for record in records for episode in record.trials]
        self._episodes = [*shown, *expert, *recorded]
        self._demo = _table([len(r.demos) for r in records])
        self._expert = _table([len(r.experts) for r in records])
        self._expert_frames = torch.where(self._expert >= 0, self._expert + len(shown), ABSENT)
        self._trial = _table([len(r.trials) for r in records])
        self._trial = torch.where(self._trial >= 0, self._trial + len(shown) + len(expert), ABSENT)
        self._trial_target = torch.full_like(self._trial, ABSENT)
        self._pairs = [pair for record in records for pair in record.targets()]
        self._base = (len(self._episodes), len(self._pairs))
        self._refresh()

    def observations(self) -> Float[Tensor, "n o"]:
        """Every observation to be imitated on, for the normaliser."""
        steps = self._steps
        mask = torch.arange(steps.observations.shape[1]) < steps.lengths[:, None]
        return steps.observations[mask]

    def replace_trials(self, tasks: Sequence[TaskTrials]) -> None:
        """Take newly collected attempts in the place of earlier ones; relabelled attempts become targets."""
        n_episodes, n_pairs = self._base
        attempts = [episode for task in tasks for episode in task.attempts]
        pairs = [
            (episode.observations[:-1], label)
            for task in tasks
            for episode, label in zip(task.attempts, task.labels, strict=False)
        ]
        self._episodes = [*self._episodes[:n_episodes], *attempts]
        self._pairs = [*self._pairs[:n_pairs], *pairs]
        self._trial = _table([len(task.attempts) for task in tasks])
        self._trial_target = _table([len(task.labels) for task in tasks], width=self._trial.shape[1])
        self._trial = torch.where(self._trial >= 0, self._trial + n_episodes, ABSENT)
        self._trial_target = torch.where(self._trial_target >= 0, self._trial_target + n_pairs, ABSENT)
        self._refresh()

    def draw(self, config: TrainingConfig, own_trials: bool, generator: torch.Generator) -> MetaBatch:
        """A batch: contexts of demos alone, with an expert's episode, or (phase II) with 0 .. L own trials."""
        b = min(config.batch_tasks, self.n_tasks)
        task = torch.randint(self.n_tasks, (b,), generator=generator)
        demo = self._draw_demos(task, config.no_demo, generator)
        target, pseudo = self._draw_experts(task, generator)
        with_pseudo = torch.rand(b, generator=generator) < (0.15 if own_trials else config.expert_trial)
        trial = torch.where(with_pseudo, pseudo, ABSENT)[:, None]
        if own_trials and self._trial.shape[1]:
            own, own_target = self._draw_own(task, with_pseudo, generator)
            trial = torch.cat([own, trial], 1)
            imitate_own = (own_target >= 0) & (torch.rand(b, generator=generator) < config.own_target)
            target = torch.where(imitate_own, own_target, target)
        observations, actions, mask = self._steps.pick(target, config.steps_per_episode, generator)
        return MetaBatch(
            demos=EpisodeTensors.gather(self._frames, demo).forget(generator, actions=0.5, rewards=0.5, success=0.5),
            trials=EpisodeTensors.gather(self._frames, trial).forget(generator, actions=0.1, rewards=0.1, success=0.1),
            observations=observations,
            actions=actions,
            mask=mask,
        )

    def _draw_demos(self, task: Tensor, no_demo: float, generator: torch.Generator) -> Int[Tensor, "b k"]:
        """1 .. K of each task's demos, rotated at random, or none with probability `no_demo`."""
        demo, k = self._demo[task], self._demo.shape[1]
        order = torch.argsort(torch.rand(demo.shape, generator=generator), 1)
        count = torch.randint(1, k + 1, (len(task), 1), generator=generator)
        count[torch.rand(len(task), generator=generator) < no_demo] = 0
        return torch.where(torch.arange(k) < count, demo.gather(1, order), ABSENT)

    def _draw_experts(self, task: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A target (index of steps), and another expert episode (index of frames, or absent) as a pseudo-trial."""
        available = (self._expert[task] >= 0).sum(1)
        first = (torch.rand(len(task), generator=generator) * available).long()
        second = (first + 1 + (torch.rand(len(task), generator=generator) * (available - 1)).long()) % available
        other = self._expert_frames[task, second]
        return self._expert[task, first], torch.where(second != first, other, ABSENT)

    def _draw_own(self, task: Tensor, with_pseudo: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The first l own trials of each task, l uniform, and the attempt made on just this context to imitate."""
        own = self._trial[task]
        # Of trials that nobody relabelled none can be a target: all may be in the context.
        available = (own >= 0).sum(1) + (self._trial_target[task] < 0).all(1)
        n_context = torch.where(with_pseudo, 0, (torch.rand(len(task), generator=generator) * available).long())
        context = torch.where(torch.arange(own.shape[1]) < n_context[:, None], own, ABSENT)
        return context, self._trial_target[task, n_context.clamp(max=own.shape[1] - 1)]

    def _refresh(self) -> None:
        self._frames = EpisodeTensors.pool(Frames.of(self._episodes, self._config.n_frames, self._spec))
        self._steps = Steps(self._pairs, self._spec)


def _table(counts: Sequence[int], width: int | None = None) -> Int[Tensor, "n k"]:
    """Where the episodes of each task stand in a pool: row i has the next `counts[i]` integers, padded with ABSENT."""
    table = torch.full((len(counts), max(counts, default=0) if width is None else width), ABSENT)
    start = 0
    for row, count in enumerate(counts):
        table[row, :count] = torch.arange(start, start + count)
        start += count
    return table
