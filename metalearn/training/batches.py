"""Training batches: contexts and imitation targets, sampled from all episodes collected so far.

Episodes are kept once, as frames to condition on and as padded steps to imitate; a batch is made of indices. What is
seen in large pictures is kept compressed, and both refer to the same copy. A target is never in its own context.
"""

import math
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, fields
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Bool, Float, Int, Shaped
from torch import Tensor

from metalearn.config import ModelConfig, TrainingConfig
from metalearn.data.asks import NOTHING, Ask, features_of
from metalearn.data.dataset import Dataset, TaskRecord
from metalearn.data.episode import Array, Episode, PackedEpisode
from metalearn.data.frames import Frames
from metalearn.data.parts import observation_vectors
from metalearn.data.pixels import PackedRows
from metalearn.data.spaces import beside_pictures
from metalearn.data.units import Units
from metalearn.model.dynamics import Dynamics
from metalearn.model.encoder import EpisodeTensors
from metalearn.training.asking import Asking, KnownTask, Shown, alike_of, episodes_with_quality
from metalearn.training.collect import TaskTrials
from metalearn.training.ways import Answer, GoalReader

ABSENT = -1
MOST_TO_FIT = 4096
"""Episodes that the unit of changes is taken from."""
MOST_WITH_PICTURES = 128
"""Episodes that encoders and memories are fitted to whose observations have pictures."""
FEW_PICTURES = 8
"""Of these that are unpacked at once."""
MEMORY_SHARE = 1 / 8
"""Of the tasks, those of which own attempts alone are learnt from, by the memory alone; and as many rows of a batch."""
AFTER_NOTHING, AFTER_FAILURE, AFTER_SUCCESS = 0.5, 1.0, 0.25
"""How often a context of own trials is learnt from beside the others of its task, by how the last of them went, if that
is known: after a success it is repeated, and what to do otherwise is learnt from failures, which become few."""
EXPERT_BESIDE_OWN, EXPERT_BESIDE_RECORDED = 0.15, 0.4
"""How often an expert's episode is the trial of a context: beside own trials, beside recorded ones, which all failed.

A failure tells the opposite of what a success tells: who has learnt from nothing but successes learns to read no trial.
"""
KnownFrom = Literal["demos", "expert", "trials", "asks"]
"""What a context holds: the demos alone; beside them another episode of the expert, or all recorded trials; or what the
episode was an answer to, and nobody's demos."""


@dataclass(frozen=True, eq=False)
class MetaBatch:
    """Contexts of b tasks (demos, trials and asks), and for each the steps of an episode to imitate.

    `remembered` says how many steps of the episode each one stands for in a memory. `hypothesis` is the one that learns
    while they do not compete, and where a context is `clear`, whatever it shows. `attempts` are own ones for the
    memory, beside all that they were made on.
    """

    demos: EpisodeTensors
    trials: EpisodeTensors
    asks: Float[Tensor, "b n"]
    observations: Float[Tensor, "b t o"]
    actions: Shaped[Tensor, "b t *a"]
    mask: Bool[Tensor, "b t"]
    effects: Float[Tensor, "b t s"]
    changes: Float[Tensor, "b t _o"]
    done: Float[Tensor, "b t _a"]
    remembered: Float[Tensor, "b t"]
    hypothesis: Int[Tensor, " b"]
    clear: Bool[Tensor, " b"]
    attempts: "MetaBatch | None"

    def to(self, device: torch.device) -> "MetaBatch":
        """Move the batch to a device."""
        attempts = self.attempts and self.attempts.to(device)
        return MetaBatch(**{name: value.to(device) for name, value in self._rows()}, attempts=attempts)

    def share(self, number: int, of: int) -> "MetaBatch":
        """Return the rows of rank `number` out of `of`: consecutive, and as even as possible."""
        if of == 1:
            return self
        b = len(self.mask)
        rows = slice(number * b // of, (number + 1) * b // of)
        attempts = self.attempts and self.attempts.share(number, of)
        return MetaBatch(**{name: value[rows] for name, value in self._rows()}, attempts=attempts)

    def _rows(self) -> Iterator[tuple[str, Any]]:
        """Whatever has one of each row, by name."""
        return ((f.name, getattr(self, f.name)) for f in fields(self) if f.name != "attempts")


class KeptObservations:
    """Padded observations `[m t]` as episodes keep them, pictures as uint8; indexing gives vectors `[... o]`."""

    def __init__(self, observations: Shaped[np.ndarray, "m t *o"] | PackedRows) -> None:
        self._observations = observations
        self.shape = observations.shape[:2]

    def __getitem__(self, index: Any) -> Float[Tensor, "*n o"]:
        at = index if isinstance(index, tuple) else (index,)
        picked = self._observations[tuple(one.numpy() if isinstance(one, Tensor) else one for one in at)]
        own = self._observations.shape[2:]
        shape = picked.shape[: picked.ndim - len(own)]
        rows = observation_vectors(picked.reshape(math.prod(shape), *own))
        return torch.from_numpy(rows.reshape(*shape, rows.shape[1]))


class Steps:
    """Padded steps to imitate of m episodes: observations `[m t o]`, actions, mask `[m t]`.

    Actions are `[m t a]`, or choices counted from 0: `[m t]`, or `[m t k]` of k at once.

    A target is an episode and the action to imitate in each of its states. With `changes`, also the actions that
    were done there and how they changed the observation, for `effects` and memories.
    """

    def __init__(self, targets: Sequence[tuple[Episode, Array]], units: Units, *, changes: bool, effects: bool) -> None:
        spec = units.spec
        longest = max(len(actions) for _, actions in targets)
        m, tail = len(targets), units.targets(targets[0][1]).shape[1:]
        dtype, shape = spec.observation_layout
        observations: Array | PackedRows
        if spec.bulky:
            observations = PackedRows.zeros((m, longest + 1), dtype, shape)
        else:
            observations = np.zeros((m, longest + 1, *shape), dtype)
        actions = np.zeros((m, longest, *tail), np.int64 if spec.discrete else np.float32)
        done = np.zeros((m, longest, spec.action_size if changes else 0), np.float32)
        lengths = np.zeros(m, np.int64)
        for i, (episode, wanted) in enumerate(targets):
            n = lengths[i] = len(wanted)
            observations[i, : n + 1] = episode.rows if isinstance(episode, PackedEpisode) else episode.observations
            actions[i, :n] = units.targets(wanted)
            if changes and episode.actions is not None:
                done[i, :n] = units.encode_actions(episode.actions)
        self.observations, self.actions = KeptObservations(observations), torch.from_numpy(actions)
        self.lengths, self._done, self._effects = torch.from_numpy(lengths), torch.from_numpy(done), effects

    def pick(
        self,
        index: Int[Tensor, " b"],
        n_steps: int,
        generator: torch.Generator,
        starts: Int[Tensor, " b"] | None = None,
        ends: Int[Tensor, " b"] | None = None,
        *,
        for_memory: bool = False,
    ) -> dict[str, Tensor]:
        """Steps of episodes `index` from their `starts` to before their `ends`, as the fields of a batch.

        They are all, or `n_steps` of them in their order, one drawn from each of as many equal parts of the episode; of
        episodes that are no longer all, so that a short one counts as what it is. What only a memory reads is there if
        it is `for_memory`.
        """
        lengths = self.lengths[index]
        starts = torch.zeros_like(lengths) if starts is None else starts
        if ends is not None:
            lengths = lengths.minimum(ends)
        longest = int(lengths.max())
        effects = self._earlier_effects(index, longest)
        rows = index[:, None]
        if n_steps == 0 or n_steps >= longest:
            steps = torch.arange(longest).expand(len(index), -1)
            mask = (steps < lengths[:, None]) & (steps >= starts[:, None])
        else:
            among = (lengths - starts)[:, None]
            within = torch.rand((len(index), n_steps), generator=generator) * (among > n_steps)
            steps = ((torch.arange(n_steps) + within) * (among / n_steps).clamp(min=1)).long() + starts[:, None]
            mask = torch.arange(n_steps) < among
        standing_for = steps.diff(dim=1, append=steps[:, -1:] + 1)
        steps = steps.minimum(lengths[:, None] - 1)
        observations = self.observations[rows, steps]
        return {
            "observations": observations,
            "actions": self.actions[rows, steps],
            "mask": mask,
            "remembered": (standing_for * mask).float(),
            "effects": effects[torch.arange(len(index))[:, None], steps],
            "changes": self._changes(rows, steps, observations) if for_memory else observations[..., :0],
            "done": self._done[rows, steps] if for_memory else observations[..., :0],
        }

    def _earlier_effects(self, index: Int[Tensor, " b"], longest: int) -> Float[Tensor, "b t s"]:
        """Return at each step the sums over the steps before it."""
        if not self._effects:
            return torch.zeros(len(index), longest, 0)
        rows, steps = index[:, None], torch.arange(longest).expand(len(index), -1)
        changes = self._changes(rows, steps, self.observations[rows, steps])
        # Beyond the end of an episode there is nothing.
        changes = changes * (steps < self.lengths[rows])[..., None]
        added = Dynamics.sums(changes, self._done[index, :longest])
        return added.cumsum(1) - added

    def _changes(self, rows: Tensor, steps: Tensor, observations: Float[Tensor, "b t o"]) -> Float[Tensor, "b t o"]:
        """How observations changed over steps."""
        return self.observations[rows, steps + 1] - observations


class TrainingSet:
    """Demos, expert episodes and (once collected) own trials of n training tasks.

    Args:
        dataset: what was demonstrated, or recorded.
        config: of the policy that learns from it.
        goals: reads what was achieved; None where nobody says.
        own_trials: whether own trials will come, of which a memory learns in tasks of its own.
    """

    def __init__(
        self, dataset: Dataset, config: ModelConfig, goals: GoalReader | None = None, *, own_trials: bool = False
    ) -> None:
        self._units, self._config = Units(dataset.spec, **dict(config.units)), config
        records = [record.packed() for record in dataset.tasks] if dataset.spec.bulky else dataset.tasks
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
        self._undemonstrated = torch.zeros(self.n_tasks, dtype=torch.bool)
        share = MEMORY_SHARE if config.memory and own_trials else 0.0
        self._learnt, self._for_memory = _split_for_memory(self.n_tasks, share)
        self._attempted, self._expert_beside = self._for_memory[:0], EXPERT_BESIDE_RECORDED
        wanted = [actions for record in records for _, actions in record.targets()]
        self._targets = list(zip(expert, wanted, strict=True))
        self._asking = self._hindsight(records, goals) if config.ask_offers else None
        self._base = (len(self._episodes), len(self._targets))
        self._refresh()

    @property
    def shows(self) -> bool:
        """Whether any context has an episode."""
        return bool(self._episodes)

    @property
    def n_actions(self) -> float:
        """Of an episode to imitate, on average."""
        return float(self._steps.lengths.float().mean())

    def observations(self) -> tuple[Float[Tensor, "n o"], Int[Tensor, " n"]]:
        """Return every observation that has a target, and the number of its episode, to fit the encoder."""
        lengths = self._steps.lengths
        if self._units.spec.pictures:
            lengths = lengths[:MOST_WITH_PICTURES]
        mask = torch.arange(self._steps.observations.shape[1]) < lengths[:, None]
        rows, steps = mask.nonzero(as_tuple=True)
        return self._steps.observations[rows, steps], rows

    def changes(self) -> Float[Tensor, "n c"]:
        """Return how what is no picture changes in one step, in some of the targets, to fit a memory."""
        pictures, plain = bool(self._units.spec.pictures), torch.from_numpy(beside_pictures(self._units.spec.parts))
        index = torch.arange(min(len(self._steps.lengths), MOST_WITH_PICTURES if pictures else MOST_TO_FIT))
        found = []
        for some in index.split(FEW_PICTURES if pictures else MOST_TO_FIT):
            picked = self._steps.pick(some, 0, torch.Generator(), for_memory=True)
            found.append(picked["changes"][picked["mask"]][:, plain])
        return torch.cat(found)

    def effects(self) -> Float[Tensor, "n s"]:
        """Sum the effects of the experts' actions over their steps, per task."""
        frames, there = torch.from_numpy(self._frames.effects), self._expert_frames >= 0
        return (frames[self._expert_frames.clamp(min=0)] * there[..., None]).sum(1)

    def replace_trials(self, tasks: Sequence[TaskTrials], without_demos: Collection[int] = ()) -> None:
        """Replace the own trials by newly collected ones; those with expert labels also become targets.

        `without_demos` are the tasks that were tried without their demonstrations, and are learnt from without.
        """
        n_episodes, n_targets = self._base
        self._undemonstrated[list(without_demos)] = True
        attempts = [episode for task in tasks for episode in task.attempts]
        relabelled = [pair for task in tasks for pair in zip(task.attempts, task.labels, strict=False)]
        self._episodes = [*self._episodes[:n_episodes], *attempts]
        self._targets = [*self._targets[:n_targets], *relabelled]
        if self._asking is not None:
            self._asking.forget_own()
            for known, task in zip(self._asking.tasks, tasks, strict=True):
                known.own = self._answers([(e, None) for e in task.attempts if e.actions is not None])
        self._trial = _table([len(task.attempts) for task in tasks])
        self._trial_target = _table([len(task.labels) for task in tasks], width=self._trial.shape[1])
        self._trial = torch.where(self._trial >= 0, self._trial + n_episodes, ABSENT)
        self._trial_target = torch.where(self._trial_target >= 0, self._trial_target + n_targets, ABSENT)
        self._attempted = self._for_memory[(self._trial_target[self._for_memory] >= 0).any(1)]
        self._expert_beside = EXPERT_BESIDE_OWN
        self._refresh()

    def asks_to_try(self, seed: Sequence[int]) -> list[Ask]:
        """What the policy is to be asked for in each task when it tries: nothing where an expert corrects it."""
        asks = [NOTHING] * self.n_tasks
        if self._asking is not None:
            rng = np.random.default_rng([*seed, 26])
            for task in (self._expert < 0).all(1).nonzero()[:, 0]:
                asks[int(task)] = self._asking.proposal(rng)
        return asks

    def draw(self, config: TrainingConfig, tried: bool, generator: torch.Generator) -> MetaBatch:
        """A batch: contexts of demos alone, with an expert's episode, or if `tried` with 0 .. L trials.

        None of them is in the tasks that are set apart for a memory, of which own attempts come beside them.
        """
        n_plain = b = min(config.batch_tasks, self.n_tasks)
        if self._asking is not None:
            b += max(1, round(config.ask_share * config.batch_tasks))
        task = self._learnt[torch.randint(len(self._learnt), (b,), generator=generator)]
        target, pseudo = self._draw_experts(task, generator)
        share = self._expert_beside if tried else config.expert_trial
        with_pseudo = torch.rand(b, generator=generator) < share
        trial = torch.where(with_pseudo, pseudo, ABSENT)[:, None]
        if tried and self._trial.shape[1]:
            own, own_target = self._draw_own(task, with_pseudo, generator)
            trial = torch.cat([own, trial], 1)
            imitate_own = (own_target >= 0) & (torch.rand(b, generator=generator) < config.own_target)
            target = torch.where(imitate_own, own_target, target)
        demo = self._draw_demos(task, config.demo_dropout, generator)
        starts, ends, asks, clear = None, None, torch.zeros(b, 0), torch.zeros(b, dtype=torch.bool)
        if self._asking is not None:
            asked = self._asking.draw(task, demo, target, n_plain, lambda i: self._targets[i][0], generator)
            demo, target, asks, clear = asked.demo, asked.target, asked.asks, asked.clear
            starts, ends = asked.starts, asked.ends
            trial = torch.where(trial == self._frames_of[target][:, None], ABSENT, trial)
        return MetaBatch(
            demos=EpisodeTensors.gather(self._frames, demo).drop_modalities(
                generator, actions=0.5, rewards=0.5, success=0.5
            ),
            trials=EpisodeTensors.gather(self._frames, trial).drop_modalities(
                generator, actions=0.1, rewards=0.1, success=0.1
            ),
            asks=asks,
            hypothesis=torch.randint(self._config.n_hypotheses, (b,), generator=generator),
            clear=clear,
            **self._steps.pick(target, config.steps_per_episode, generator, starts, ends),
            attempts=self._draw_attempts(b, config, generator) if tried and len(self._attempted) else None,
        )

    def _draw_attempts(self, n_beside: int, config: TrainingConfig, generator: torch.Generator) -> MetaBatch:
        """Own attempts in the tasks that are set apart, each beside all that it was made on, for so many other rows.

        What an expert did tells the task, which nobody who acts is told; and what somebody does tells what he knows, so
        that an attempt may not stand beside less than that. Nor does it tell anything where the context seems to say it
        already, as it does in tasks that are known by heart.
        """
        b = max(1, round(MEMORY_SHARE * n_beside))
        task = self._attempted[torch.randint(len(self._attempted), (b,), generator=generator)]
        trial, target = self._draw_own(task, torch.zeros_like(task, dtype=torch.bool), generator)
        demo = torch.where(self._undemonstrated[task, None], ABSENT, self._demo[task])
        return self._batch(demo, trial, target, config.steps_per_episode, generator, for_memory=True)

    def _batch(
        self,
        demo: Tensor,
        trial: Tensor,
        target: Tensor,
        n_steps: int,
        generator: torch.Generator,
        *,
        for_memory: bool = False,
    ) -> MetaBatch:
        """A batch in which all is known of these demonstrations and trials, and nothing is asked for."""
        nothing = torch.from_numpy(features_of([NOTHING] * len(target), self._config.ask_offers))
        return MetaBatch(
            demos=EpisodeTensors.gather(self._frames, demo),
            trials=EpisodeTensors.gather(self._frames, trial),
            asks=nothing,
            hypothesis=torch.zeros_like(target),
            clear=torch.zeros_like(target, dtype=torch.bool),
            attempts=None,
            **self._steps.pick(target, n_steps, generator, for_memory=for_memory),
        )

    def every_target(self, context: KnownFrom, n_rows: int) -> Iterator[tuple[Int[Tensor, " b"], MetaBatch]]:
        """Every episode to imitate once, all of its steps, as batches of at most `n_rows`, and of which tasks they are.

        The context is all demos of the task and what `context` says. A target for which there is none is left out.
        """
        if context == "asks":
            yield from self._every_answer(n_rows)
            return
        for task, column in _chunks(self._expert >= 0, n_rows):
            target, available = self._expert[task, column], (self._expert[task] >= 0).sum(1)
            trial = self._trial[task]
            if context == "demos":
                trial = torch.full((len(task), 0), ABSENT)
            elif context == "expert":
                other = self._expert_frames[task, (column + 1) % available]
                trial = torch.where(available > 1, other, ABSENT)[:, None]
            there = (trial >= 0).any(1) | (context == "demos")
            if not there.any():
                continue
            shown = self._demo[task][there]
            yield task[there], self._batch(shown, trial[there], target[there], 0, torch.Generator())

    def _every_answer(self, n_rows: int) -> Iterator[tuple[Int[Tensor, " b"], MetaBatch]]:
        """Every episode that was an answer, with everything that it was an answer to."""
        if self._asking is None:
            return
        for task, asked in self._asking.every(n_rows):
            nobody = EpisodeTensors.gather(self._frames, asked.demo)
            steps = self._steps.pick(asked.target, 0, torch.Generator(), asked.starts, asked.ends)
            alike = torch.zeros_like(task)
            yield (
                task,
                MetaBatch(nobody, nobody, asked.asks, hypothesis=alike, clear=asked.clear, attempts=None, **steps),
            )

    def _draw_demos(self, task: Tensor, demo_dropout: float, generator: torch.Generator) -> Int[Tensor, "b k"]:
        """1 .. K of each task's demos, rotated at random, or none with probability `demo_dropout`."""
        demo, k = self._demo[task], self._demo.shape[1]
        if k == 0:
            return demo
        order = torch.argsort(torch.rand(demo.shape, generator=generator), 1)
        count = torch.randint(1, k + 1, (len(task), 1), generator=generator)
        dropped = torch.rand(len(task), generator=generator) < demo_dropout
        count[dropped] = 0
        count[self._undemonstrated[task]] = 0
        return torch.where(torch.arange(k) < count, demo.gather(1, order), ABSENT)

    def _draw_experts(self, task: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A target (index of steps), and another expert episode (index of frames, or absent) as a pseudo-trial."""
        if not self._expert.shape[1]:
            return torch.full_like(task, ABSENT), torch.full_like(task, ABSENT)
        available = (self._expert[task] >= 0).sum(1)
        first = (torch.rand(len(task), generator=generator) * available).long()
        second = (first + 1 + (torch.rand(len(task), generator=generator) * (available - 1)).long()) % available
        other = self._expert_frames[task, second]
        return self._expert[task, first], torch.where(second != first, other, ABSENT)

    def _draw_own(self, task: Tensor, with_pseudo: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """The first l own trials of each task, and the attempt made on just this context to imitate.

        How l is drawn: `AFTER_NOTHING`, `AFTER_FAILURE` and `AFTER_SUCCESS`.
        """
        own = self._trial[task]
        last = torch.cat([torch.full_like(own[:, :1], ABSENT), own], 1)
        outcome = torch.from_numpy(self._frames.success)[last.clamp(min=0)] * (last >= 0)
        weight = torch.tensor([AFTER_FAILURE, AFTER_NOTHING, AFTER_SUCCESS])[1 + outcome.long()]
        # Of trials that nobody relabelled none can be a target: all may be in the context.
        available = (own >= 0).sum(1) + (self._trial_target[task] < 0).all(1)
        weight = weight * (torch.arange(weight.shape[1]) < available.clamp(min=1)[:, None])
        n_context = torch.multinomial(weight, 1, generator=generator)[:, 0]
        n_context = torch.where(with_pseudo, 0, n_context)
        context = torch.where(torch.arange(own.shape[1]) < n_context[:, None], own, ABSENT)
        return context, self._trial_target[task, n_context.clamp(max=own.shape[1] - 1)]

    def _hindsight(self, records: Sequence[TaskRecord], goals: GoalReader | None) -> Asking:
        """What can be asked for in each task: executed actions become targets, demonstrators' demos are encoded."""
        tasks = []
        for record in records:
            known = KnownTask(record.sentences, answers=self._answers(episodes_with_quality(record)))
            rest, others = iter(known.answers[sum(e.actions is not None for e in record.experts) :]), []
            for other in record.others:
                demos = tuple(range(len(self._episodes), len(self._episodes) + len(other.demos)))
                self._episodes.extend(other.demos)
                answers = tuple(next(rest) for e in other.episodes if e.actions is not None)
                if demos:  # who only plays shows nothing
                    others.append(Shown(other.quality, demos, answers))
            known.others = tuple(others)
            tasks.append(known)
        return Asking(self._config.ask_offers, tasks, goals)

    def _answers(self, episodes: Sequence[tuple[Episode, float | None]]) -> list[Answer]:
        """The executed actions of the episodes of one task as further targets."""
        found = []
        for (episode, quality), alike in zip(episodes, alike_of([e for e, _ in episodes]), strict=True):
            assert episode.actions is not None
            self._targets.append((episode, episode.actions))
            found.append(Answer(len(self._targets) - 1, episode, quality, alike))
        return found

    def _refresh(self) -> None:
        config, effects = self._config, self._config.dynamics_rank > 0
        shown = self._episodes or [self._targets[0][0]]  # where nobody shows anything, something to leave out
        self._frames = Frames.of(shown, config.n_frames, self._units, effects=effects, means=config.frame_means)
        changes = effects or config.memory > 0
        self._steps = Steps(self._targets, self._units, changes=changes, effects=effects)
        if self._asking is not None:
            number = {id(episode): i for i, episode in enumerate(self._episodes)}
            self._frames_of = torch.tensor([number.get(id(episode), ABSENT) for episode, _ in self._targets])


def _chunks(there: Bool[Tensor, "n k"], size: int) -> Iterator[tuple[Tensor, Tensor]]:
    """The rows and columns of what is there, at most `size` at a time."""
    rows, columns = there.nonzero(as_tuple=True)
    return zip(rows.split(size), columns.split(size), strict=True)


def _split_for_memory(n_tasks: int, share: float) -> tuple[Int[Tensor, " n"], Int[Tensor, " m"]]:
    """The tasks that are learnt from, and a share of them that is set apart: any of the first, up to twice as many.

    Where there is no time to try all, it is the first that are tried.
    """
    n_first, generator = round(2 * share * n_tasks), torch.Generator().manual_seed(n_tasks)
    for_memory = torch.zeros(n_tasks, dtype=torch.bool)
    for_memory[torch.randperm(n_first, generator=generator)[: n_first // 2]] = True
    return (~for_memory).nonzero()[:, 0], for_memory.nonzero()[:, 0]


def _table(counts: Sequence[int], width: int | None = None) -> Int[Tensor, "n k"]:
    """Index the episodes of each task in a pool: row i has the next `counts[i]` integers, padded with ABSENT."""
    table = torch.full((len(counts), max(counts, default=0) if width is None else width), ABSENT)
    start = 0
    for row, count in enumerate(counts):
        table[row, :count] = torch.arange(start, start + count)
        start += count
    return table
